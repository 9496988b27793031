//! DTLS-SRTP (RFC 5763, RFC 8122): the TC's fingerprint and the gateway's reach each
//! other, and who begins the handshake is said once. The VM's answers are valid in its
//! own terms, but lead to no key.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{EngineConfig, Path, PathChoice};
use sidestep_core::sip::Method;

const VM_PRINT: &str = "sha-256 11:11:11";
const TC_PRINT: &str = "sha-256 22:22:22";
const GATEWAY_PRINT: &str = "sha-256 33:33:33";

/// A description of DTLS-SRTP with this fingerprint and word on who begins.
fn dtls(sdp: &str, print: &str, setup: &str) -> String {
    sdp.replace("RTP/AVP", "UDP/TLS/RTP/SAVP")
        + &format!("a=fingerprint:{print}\r\na=setup:{setup}\r\n")
}

fn vm_offer(version: u32, line: &str) -> String {
    let plain = sdp("10.71.1.11:7000", "96 0 8 101", version, line);
    dtls(&plain, VM_PRINT, "actpass")
}

fn gateway_says(version: u32, setup: &str) -> String {
    let plain = sdp("10.71.3.31:8000", "0 101", version, "");
    dtls(&plain, GATEWAY_PRINT, setup)
}

fn tc_says(setup: &str) -> String {
    dtls(&tc_sdp(), TC_PRINT, setup)
}

/// Transport, fingerprints and setup of a description.
fn shown(sdp: &str) -> (String, Vec<&str>, Vec<&str>) {
    let of = |name: &'static str| -> Vec<&str> {
        let lines = sdp.lines().filter_map(|line| line.strip_prefix("a="));
        lines.filter_map(|line| line.strip_prefix(name)).collect()
    };
    let media = sdp.lines().find(|line| line.starts_with("m=audio"));
    let proto = media.and_then(|line| line.split(' ').nth(2)).unwrap();
    (proto.to_owned(), of("fingerprint:"), of("setup:"))
}

fn is(sdp: &str, print: &str, setup: &str) {
    let expected = ("UDP/TLS/RTP/SAVP".to_owned(), vec![print], vec![setup]);
    assert_eq!(shown(sdp), expected, "{sdp}");
}

/// The VM calls; the gateway's answer says who begins.
fn outgoing_up(config: EngineConfig, setup: &str) -> outgoing::Outgoing {
    let mut call = outgoing::Outgoing {
        scene: Scene::registered(config, Some(&tc_sdp())),
        vm: Ua::vm(),
        gateway: Ua::gateway(),
        tc: Ua::tc(),
        invite: sidestep_core::sip::Message::parse(Ua::vm().request("INVITE", "").as_bytes())
            .unwrap(),
    };
    call.scene
        .vm_sends(call.vm.request("INVITE", &vm_offer(1, "")));
    // What it has registered is no certificate of this call: it is asked.
    let at_tc = call.scene.at_tc();
    assert_eq!(body(&at_tc), "");
    call.tc.learn(&at_tc);
    call.scene
        .tc_sends(call.tc.response(&at_tc, 200, &tc_says("actpass")));
    call.invite = call.scene.at_gateway();
    call.gateway.learn(&call.invite);
    is(&body(&call.invite), TC_PRINT, "actpass");
    let ok = call
        .gateway
        .response(&call.invite, 200, &gateway_says(1, setup));
    call.scene.gateway_sends(ok);
    let ack = call.scene.at_tc();
    is_request(&ack, Method::Ack);
    is(&body(&ack), GATEWAY_PRINT, setup);
    let ok = call.scene.at_vm();
    call.vm.learn(&ok);
    call.scene.vm_sends(call.vm.request("ACK", ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.silence();
    // The VM waits for a handshake that nobody begins.
    let told = body(&ok);
    let (proto, prints, setups) = shown(&told);
    assert_eq!(
        (proto.as_str(), setups),
        ("UDP/TLS/RTP/SAVP", vec!["active"])
    );
    let [print] = prints.as_slice() else {
        panic!("{told}");
    };
    assert_eq!(print.len(), "sha-256 ".len() + 32 * 3 - 1, "{print}");
    assert!(![VM_PRINT, TC_PRINT, GATEWAY_PRINT].contains(print));
    call
}

#[test]
fn the_vm_calls() {
    for (config, path) in [
        (config(), Path::Direct),
        (config_with(PathChoice::Steered), Path::Steered),
    ] {
        for setup in ["active", "passive"] {
            let call = outgoing_up(config.clone(), setup);
            call.scene.is("up", path, None);
        }
    }
}

/// Hold and resume of either side keep the association: fingerprints and roles stay,
/// and a refresh asks nobody.
#[test]
fn a_hold_keeps_the_association() {
    for (gateways, tcs) in [("active", "passive"), ("passive", "active")] {
        let mut call = outgoing_up(config(), gateways);
        let told = |call: &mut outgoing::Outgoing, version, line: &str, role: &str| {
            call.scene
                .vm_sends(call.vm.request("INVITE", &vm_offer(version, line)));
            let invite = call.scene.at_gateway();
            is(&body(&invite), TC_PRINT, role);
            let answer = gateway_says(version, gateways);
            call.scene
                .gateway_sends(call.gateway.response(&invite, 200, &answer));
        };
        told(&mut call, 2, "a=sendonly\r\n", "actpass");
        let at_tc = call.scene.at_tc();
        is(&body(&at_tc), GATEWAY_PRINT, gateways);
        assert!(body(&at_tc).contains("a=inactive"));
        let held = tc_says(tcs) + "a=inactive\r\n";
        call.scene.tc_sends(call.tc.response(&at_tc, 200, &held));
        is_request(&call.scene.at_tc(), Method::Ack);
        let first = body(&call.scene.at_vm());
        call.scene.vm_sends(call.vm.request("ACK", ""));
        call.scene.gateway.clear();
        // Since it has answered, its role is known, and said.
        told(&mut call, 3, "", tcs);
        let at_tc = call.scene.at_tc();
        call.scene
            .tc_sends(call.tc.response(&at_tc, 200, &tc_says(tcs)));
        is_request(&call.scene.at_tc(), Method::Ack);
        let second = body(&call.scene.at_vm());
        call.scene.vm_sends(call.vm.request("ACK", ""));
        call.scene.gateway.clear();
        // The VM is told the same certificate each time.
        assert_eq!(shown(&first).1, shown(&second).1);

        // The gateway refreshes: its offer goes to the VM, the answer is the TC's.
        let refresh = gateway_says(4, "actpass");
        call.scene
            .gateway_sends(call.gateway.request("INVITE", &refresh));
        let at_vm = call.scene.at_vm();
        is(&body(&at_vm), GATEWAY_PRINT, "actpass");
        let plain = sdp("10.71.1.11:7000", "0 101", 4, "");
        let vms = dtls(&plain, VM_PRINT, "active");
        call.scene.vm_sends(call.vm.response(&at_vm, 200, &vms));
        assert!(call.scene.tc.is_empty(), "the TC knows");
        let ok = call.scene.at_gateway();
        is(&body(&ok), TC_PRINT, tcs);
        call.scene.is("up", Path::Direct, None);
    }
}

/// The TC offers, with the same certificate or another one.
#[test]
fn a_fingerprint_that_changes_is_told() {
    let mut call = outgoing_up(config(), "active");
    // The same: answered from what is known, and the gateway still begins.
    call.scene
        .tc_sends(call.tc.request("INVITE", &tc_says("actpass")));
    let mut ok = call.scene.at_tc();
    if ok.status() == Some(100) {
        ok = call.scene.at_tc();
    }
    is_response(&ok, 200, Method::Invite);
    is(&body(&ok), GATEWAY_PRINT, "active");
    call.scene.tc_sends(call.tc.request("ACK", ""));
    assert!(call.scene.gateway.is_empty());
    // Another: the gateway hears of it, and its answer, with another one, reaches the TC.
    let new = dtls(&tc_sdp(), "sha-256 44:44", "actpass");
    call.scene.tc_sends(call.tc.request("INVITE", &new));
    let invite = call.scene.at_gateway();
    is(&body(&invite), "sha-256 44:44", "actpass");
    let plain = sdp("10.71.3.31:8000", "0 101", 2, "");
    let answer = dtls(&plain, "sha-256 55:55", "passive");
    call.scene
        .gateway_sends(call.gateway.response(&invite, 200, &answer));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let mut ok = call.scene.at_tc();
    if ok.status() == Some(100) {
        ok = call.scene.at_tc();
    }
    is(&body(&ok), "sha-256 55:55", "passive");
    assert!(call.scene.vm.is_empty());
}

/// The gateway calls: the TC answers, and its word on who begins goes out.
#[test]
fn the_gateway_calls() {
    for (offered, answered) in [
        ("actpass", "active"),
        ("actpass", "passive"),
        ("active", "passive"),
    ] {
        let scene = Scene::registered(config(), Some(&tc_sdp()));
        let mut call = incoming::called_with(scene, &gateway_says(1, offered));
        is(&body(&call.invite), GATEWAY_PRINT, offered);
        let vms = dtls(&incoming::vm_answer(), VM_PRINT, "active");
        call.scene
            .vm_sends(call.vm.response(&call.invite, 200, &vms));
        let at_tc = call.scene.at_tc();
        is(&body(&at_tc), GATEWAY_PRINT, offered);
        call.tc.learn(&at_tc);
        call.scene
            .tc_sends(call.tc.response(&at_tc, 200, &tc_says(answered)));
        is_request(&call.scene.at_tc(), Method::Ack);
        let ok = call.scene.at_gateway();
        is(&body(&ok), TC_PRINT, answered);
        call.scene.is("up", Path::Direct, None);
    }
}

/// A TC that has none: nothing is decrypted for its sake, nor keyed in another way.
#[test]
fn a_tc_without_dtls_leaves_the_call_to_the_vm() {
    let sdes = |sdp: &str| {
        sdp.replace("RTP/AVP", "RTP/SAVP") + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:tc\r\n"
    };
    for tc_offers in [tc_sdp(), sdes(&tc_sdp())] {
        let mut scene = Scene::registered(config(), None);
        let (mut vm, mut tc) = (Ua::vm(), Ua::tc());
        let sent = vm.request("INVITE", &vm_offer(1, ""));
        scene.vm_sends(&sent);
        let at_tc = scene.at_tc();
        tc.learn(&at_tc);
        scene.tc_sends(tc.response(&at_tc, 200, &tc_offers));
        assert_eq!(text(scene.at_gateway().bytes()), sent);
        scene.is("setup", Path::Vm, Some(Reason::MediaEncrypted));
    }
    let scene = Scene::registered(config(), None);
    let mut call = incoming::called_with(scene, &gateway_says(1, "actpass"));
    let vms = dtls(&incoming::vm_answer(), VM_PRINT, "active");
    let answer = call.vm.response(&call.invite, 200, &vms);
    call.scene.vm_sends(&answer);
    let at_tc = call.scene.at_tc();
    call.tc.learn(&at_tc);
    call.scene.tc_sends(call.tc.response(&at_tc, 488, ""));
    assert_eq!(text(call.scene.at_gateway().bytes()), answer);
    call.scene.is("up", Path::Vm, Some(Reason::MediaEncrypted));
}

/// A TC that encrypts by DTLS what the VM would not; and its transport with feedback,
/// fingerprints of the session level, `tls-id`, candidates and a bundle of one, as
/// browsers write them.
#[test]
fn every_attribute_of_an_end_goes_with_it() {
    let mut scene = Scene::registered(config(), None);
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    let browser = tc_sdp().replace("RTP/AVP", "UDP/TLS/RTP/SAVPF").replace(
        "t=0 0\r\n",
        "t=0 0\r\na=group:BUNDLE 0\r\na=fingerprint:sha-256 22:22:22\r\na=setup:actpass\r\n",
    ) + "a=mid:0\r\na=tls-id:tctctctctctctctctctc\r\na=ice-ufrag:tcuf\r\na=ice-pwd:tcpw\r\n\
           a=candidate:1 1 UDP 1 10.71.2.21 9000 typ host\r\n";
    scene.tc_sends(tc.response(&at_tc, 200, &browser));
    let invite = scene.at_gateway();
    let told = body(&invite);
    is(&told, TC_PRINT, "actpass");
    for line in [
        "a=tls-id:tctctctctctctctctctc",
        "a=ice-ufrag:tcuf",
        "a=candidate:1 1 UDP",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    gateway.learn(&invite);
    let answer = gateway_says(1, "active") + "a=tls-id:gwgwgwgwgwgwgwgwgwgw\r\n";
    scene.gateway_sends(gateway.response(&invite, 200, &answer));
    let ack = body(&scene.at_tc());
    assert!(ack.contains("m=audio 8000 UDP/TLS/RTP/SAVPF "), "{ack}");
    assert!(ack.contains("a=tls-id:gwgwgwgwgwgwgwgwgwgw"), "{ack}");
    // The VM hears nothing of all that.
    let ok = body(&scene.at_vm());
    assert_eq!(shown(&ok).0, "RTP/AVP");
    for word in ["fingerprint", "setup", "tls-id", "ice"] {
        assert!(!ok.contains(word), "{word}: {ok}");
    }
    // And a VM with all of it gets an answer in kind.
    let mut scene = Scene::registered(config(), None);
    let offer = vm_offer(1, "a=tls-id:vmvmvmvmvmvmvmvmvmvm\r\n");
    let (mut vm, mut tc) = (Ua::vm(), Ua::tc());
    scene.vm_sends(vm.request("INVITE", &offer));
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    scene.tc_sends(tc.response(&at_tc, 200, &tc_says("actpass")));
    let invite = scene.at_gateway();
    assert!(!body(&invite).contains("vmvm"), "{}", body(&invite));
    let ok = Ua::gateway().response(&invite, 200, &gateway_says(1, "active"));
    scene.gateway_sends(ok);
    let ok = body(&scene.at_vm());
    let id = ok.lines().find_map(|line| line.strip_prefix("a=tls-id:"));
    assert!(id.is_some_and(|id| id.len() >= 20), "{ok}");
}

/// Back to the VM in the call: the gateway is told the VM's own certificate, and the VM
/// the gateway's, with the role that is left for it.
#[test]
fn a_call_that_goes_back_keys_anew() {
    let mut call = outgoing_up(config(), "active");
    call.scene
        .engine
        .datapath_refused(call.scene.now, 1, Reason::DatapathRefused);
    call.scene.drain();
    let back = call.scene.at_gateway();
    is(&body(&back), VM_PRINT, "actpass");
    let answer = gateway_says(2, "active");
    call.scene
        .gateway_sends(call.gateway.response(&back, 200, &answer));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let at_vm = call.scene.at_vm();
    is(&body(&at_vm), GATEWAY_PRINT, "active");
    call.scene.is("up", Path::Vm, Some(Reason::DatapathRefused));
}
