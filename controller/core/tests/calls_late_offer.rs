//! INVITEs that begin a call without an offer: the callee offers in its answer,
//! the caller answers in its ACK (RFC 3261 §13.2.1), or in a reliable provisional
//! response and its PRACK (RFC 3262 §5).

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{Path, PathChoice};
use sidestep_core::sip::{Message, Method};

/// The VM's INVITE without an offer, at the gateway.
fn vm_asks(scene: &mut Scene, vm: &mut Ua, gateway: &mut Ua) -> Message {
    let sent = vm.request("INVITE", "");
    scene.vm_sends(&sent);
    let invite = scene.at_gateway();
    assert_eq!(text(invite.bytes()), sent);
    gateway.learn(&invite);
    invite
}

/// The gateway's, at the VM.
fn gateway_asks(scene: &mut Scene, vm: &mut Ua, gateway: &mut Ua) -> Message {
    let sent = gateway.request("INVITE", "");
    scene.gateway_sends(&sent);
    let invite = scene.at_vm();
    assert_eq!(text(invite.bytes()), sent);
    vm.learn(&invite);
    invite
}

/// The gateway's offer is held until the TC agrees; the VM's answer, in its ACK,
/// is the TC's.
#[test]
fn the_vm_calls_without_an_offer() {
    for registered in [Some(tc_sdp()), None] {
        let mut scene = Scene::registered(config(), registered.as_deref());
        let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
        let invite = vm_asks(&mut scene, &mut vm, &mut gateway);
        scene.gateway_sends(gateway.response(&invite, 180, ""));
        is_response(&scene.at_vm(), 180, Method::Invite);
        let offer = sdp("10.71.3.31:8000", "18 0 101", 1, "");
        let ok = gateway.response(&invite, 200, &offer);
        scene.gateway_sends(&ok);
        let at_tc = scene.at_tc();
        assert_eq!(audio(&at_tc), "10.71.3.31:8000 18 0 101");
        tc.learn(&at_tc);
        // The gateway repeats itself meanwhile.
        scene.gateway_sends(&ok);
        scene.silence();
        let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
        scene.tc_sends(tc.response(&at_tc, 200, &answer));
        is_request(&scene.at_tc(), Method::Ack);
        let at_vm = scene.at_vm();
        assert_eq!(text(at_vm.bytes()), ok);
        // It may send at once.
        assert_eq!(
            scene.flow_lines()[0],
            "vm->gateway 10.71.1.11:0 > 10.71.3.31:8000 guard"
        );
        vm.learn(&at_vm);
        let answer = sdp("10.71.1.11:7000", "18 101", 1, "");
        let ack = vm.request("ACK", &answer);
        scene.vm_sends(&ack);
        let at_gateway = scene.at_gateway();
        is_request(&at_gateway, Method::Ack);
        assert_eq!(audio(&at_gateway), "10.71.2.21:9000 0 101");
        // Either comes again: the same bytes.
        scene.gateway_sends(&ok);
        assert_eq!(scene.at_vm().bytes(), at_vm.bytes());
        scene.vm_sends(&ack);
        assert_eq!(scene.at_gateway().bytes(), at_gateway.bytes());
        scene.silence();
        scene.is("up", Path::Direct, None);
        assert_eq!(
            scene.flow_lines()[..3],
            [
                "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9000 direct",
                "tc->gateway 10.71.2.21:9000 > 10.71.3.31:8000 direct",
                "vm->gateway 10.71.1.11:7000 > 10.71.3.31:8000 guard",
            ]
        );
        scene.vm_sends(vm.request("BYE", ""));
        is_request(&scene.at_gateway(), Method::Bye);
        scene.is_clean();
    }
}

/// The VM's offer, in its 2xx, becomes the TC's; the gateway's answer, in its
/// ACK, goes to the TC.
#[test]
fn the_gateway_calls_without_an_offer() {
    for (registered, path) in [
        (Some(tc_sdp()), PathChoice::Direct),
        (None, PathChoice::Direct),
        (Some(tc_sdp()), PathChoice::Steered),
    ] {
        let mut scene = Scene::registered(config_with(path), registered.as_deref());
        let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
        let invite = gateway_asks(&mut scene, &mut vm, &mut gateway);
        scene.vm_sends(vm.response(&invite, 180, ""));
        is_response(&scene.at_gateway(), 180, Method::Invite);
        let ok = vm.response(&invite, 200, &vm_sdp());
        scene.vm_sends(&ok);
        if registered.is_none() {
            // The TC offers first.
            let at_tc = scene.at_tc();
            assert_eq!(body(&at_tc), "");
            tc.learn(&at_tc);
            scene.vm_sends(&ok);
            scene.silence();
            scene.tc_sends(tc.response(&at_tc, 200, &tc_sdp()));
        }
        let at_gateway = scene.at_gateway();
        is_response(&at_gateway, 200, Method::Invite);
        let steered = path == PathChoice::Steered;
        let tc_rtp = if steered {
            "10.71.1.11:40000"
        } else {
            "10.71.2.21:9000"
        };
        assert_eq!(audio(&at_gateway), format!("{tc_rtp} 0 8 101"));
        scene.vm_sends(&ok);
        assert_eq!(scene.at_gateway().bytes(), at_gateway.bytes());
        gateway.learn(&at_gateway);
        // The gateway chooses what the TC has and the VM has not offered first.
        let answer = sdp("10.71.3.31:8000", "8 101", 1, "");
        scene.gateway_sends(gateway.request("ACK", &answer));
        let ack = scene.at_vm();
        is_request(&ack, Method::Ack);
        assert_eq!(audio(&ack), "192.0.2.1:7000 0 101");
        let at_tc = scene.at_tc();
        let gateway_rtp = if steered {
            "10.71.1.11:40000"
        } else {
            "10.71.3.31:8000"
        };
        assert_eq!(audio(&at_tc), format!("{gateway_rtp} 8 101"));
        if registered.is_none() {
            is_request(&at_tc, Method::Ack);
        } else {
            tc.learn(&at_tc);
            let answer = sdp("10.71.2.21:9000", "8 101", 1, "");
            scene.tc_sends(tc.response(&at_tc, 200, &answer));
            is_request(&scene.at_tc(), Method::Ack);
        }
        scene.silence();
        scene.is(
            "up",
            if steered { Path::Steered } else { Path::Direct },
            None,
        );
        assert!(
            scene
                .flow_lines()
                .contains(&"vm->gateway 10.71.1.11:7000 > 192.0.2.1:7000 guard".into())
        );
        scene.gateway_sends(gateway.request("BYE", ""));
        is_request(&scene.at_vm(), Method::Bye);
        scene.is_clean();
    }
}

/// What the gateway offers suits the TC not, or the TC does not answer: nothing
/// has been promised, and VM and gateway hear each other's own words.
#[test]
fn a_tc_that_fails_a_late_offer_costs_nothing() {
    type Failure = fn(&mut Scene, &Ua, &Message);
    let table: [(Failure, Reason); 3] = [
        (
            |scene, tc, invite| scene.tc_sends(tc.response(invite, 486, "")),
            Reason::TcRefused,
        ),
        (
            |scene, tc, invite| scene.tc_sends(tc.response(invite, 488, "")),
            Reason::NoCommonCodec,
        ),
        (|scene, _, _| scene.wait(4_000), Reason::TcNoAnswer),
    ];
    for (fail, reason) in table {
        let mut scene = Scene::registered(config(), Some(&tc_sdp()));
        let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
        let invite = vm_asks(&mut scene, &mut vm, &mut gateway);
        let ok = gateway.response(&invite, 200, &gateway_sdp());
        scene.gateway_sends(&ok);
        let at_tc = scene.at_tc();
        tc.learn(&at_tc);
        fail(&mut scene, &tc, &at_tc);
        assert_eq!(text(scene.at_vm().bytes()), ok);
        let ack = vm.request("ACK", &incoming::vm_answer());
        scene.vm_sends(&ack);
        assert_eq!(text(scene.at_gateway().bytes()), ack);
        scene.is("up", Path::Vm, Some(reason));
    }
}

/// The TC fails when the gateway has its media already: the call is handed back.
#[test]
fn a_tc_that_fails_after_a_late_offer_is_handed_back() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    let invite = gateway_asks(&mut scene, &mut vm, &mut gateway);
    scene.vm_sends(vm.response(&invite, 200, &vm_sdp()));
    gateway.learn(&scene.at_gateway());
    scene.gateway_sends(gateway.request("ACK", &gateway_sdp()));
    is_request(&scene.at_vm(), Method::Ack);
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    scene.tc_sends(tc.response(&at_tc, 486, ""));
    scene.tc.clear();
    let to_gateway = scene.at_gateway();
    is_request(&to_gateway, Method::Invite);
    assert_eq!(audio(&to_gateway), "10.71.1.11:7000 96 0 8 101");
    scene.gateway_sends(gateway.response(&to_gateway, 200, &gateway_sdp()));
    is_request(&scene.at_gateway(), Method::Ack);
    let to_vm = scene.at_vm();
    assert_eq!(audio(&to_vm), "10.71.3.31:8000 0 101");
    scene.is("up", Path::Vm, Some(Reason::TcRefused));
}

/// The gateway's CANCEL crosses the VM's 2xx, which waits for the TC's offer.
#[test]
fn a_cancel_lets_a_late_offer_go() {
    let mut scene = Scene::registered(config(), None);
    let (mut vm, mut gateway) = (Ua::vm(), Ua::gateway());
    let invite = gateway_asks(&mut scene, &mut vm, &mut gateway);
    let ok = vm.response(&invite, 200, &vm_sdp());
    scene.vm_sends(&ok);
    is_request(&scene.at_tc(), Method::Invite);
    scene.gateway_sends(gateway.request("CANCEL", ""));
    assert_eq!(text(scene.at_gateway().bytes()), ok);
    is_request(&scene.at_vm(), Method::Cancel);
    scene.is("up", Path::Vm, Some(Reason::TcNoAnswer));

    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway) = (Ua::vm(), Ua::gateway());
    let invite = vm_asks(&mut scene, &mut vm, &mut gateway);
    let ok = gateway.response(&invite, 200, &gateway_sdp());
    scene.gateway_sends(&ok);
    is_request(&scene.at_tc(), Method::Invite);
    scene.vm_sends(vm.request("CANCEL", ""));
    assert_eq!(text(scene.at_vm().bytes()), ok);
    is_request(&scene.at_gateway(), Method::Cancel);
    scene.is("up", Path::Vm, Some(Reason::TcNoAnswer));
}

/// The gateway offers in a reliable 183, the VM answers in its PRACK, and the 200
/// says nothing more.
#[test]
fn a_late_offer_in_a_reliable_provisional_response() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    let invite = vm_asks(&mut scene, &mut vm, &mut gateway);
    let reliable = "Require: 100rel\r\nRSeq: 7\r\n";
    let progress = gateway.response_with(&invite, 183, reliable, &gateway_sdp());
    scene.gateway_sends(&progress);
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    scene.gateway_sends(&progress);
    scene.silence();
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    scene.tc_sends(tc.response(&at_tc, 200, &answer));
    is_request(&scene.at_tc(), Method::Ack);
    let at_vm = scene.at_vm();
    assert_eq!(text(at_vm.bytes()), progress);
    vm.learn(&at_vm);
    let prack = vm.request_with("PRACK", "RAck: 7 1 INVITE\r\n", &incoming::vm_answer());
    scene.vm_sends(prack);
    let prack = scene.at_gateway();
    assert_eq!(audio(&prack), "10.71.2.21:9000 0 101");
    scene.is("early", Path::Direct, None);
    scene.gateway_sends(gateway.response(&prack, 200, ""));
    is_response(&scene.at_vm(), 200, Method::Prack);
    let ok = gateway.response(&invite, 200, "");
    scene.gateway_sends(&ok);
    assert_eq!(text(scene.at_vm().bytes()), ok);
    scene.vm_sends(vm.request("ACK", ""));
    is_request(&scene.at_gateway(), Method::Ack);
    scene.silence();
    scene.is("up", Path::Direct, None);
}

/// The VM, called, offers early: its early media is its own, and the TC takes over
/// when the call is up.
#[test]
fn an_early_offer_of_the_vm_is_taken_over_later() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    let invite = gateway_asks(&mut scene, &mut vm, &mut gateway);
    let reliable = "Require: 100rel\r\nRSeq: 1\r\n";
    let progress = vm.response_with(&invite, 183, reliable, &vm_sdp());
    scene.vm_sends(&progress);
    let at_gateway = scene.at_gateway();
    assert_eq!(text(at_gateway.bytes()), progress);
    gateway.learn(&at_gateway);
    let prack = gateway.request_with("PRACK", "RAck: 1 1 INVITE\r\n", &gateway_sdp());
    scene.gateway_sends(&prack);
    assert_eq!(text(scene.at_vm().bytes()), prack);
    let ok = vm.response(&invite, 200, "");
    scene.vm_sends(&ok);
    assert_eq!(text(scene.at_gateway().bytes()), ok);
    scene.is("up", Path::Vm, Some(Reason::SdpNotUnderstood));
    scene.gateway_sends(gateway.request("ACK", ""));
    is_request(&scene.at_vm(), Method::Ack);
    let at_tc = scene.at_tc();
    assert_eq!(audio(&at_tc), "10.71.3.31:8000 0 101");
    tc.learn(&at_tc);
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    scene.tc_sends(tc.response(&at_tc, 200, &answer));
    is_request(&scene.at_tc(), Method::Ack);
    let taken = scene.at_gateway();
    is_request(&taken, Method::Invite);
    assert_eq!(audio(&taken), "10.71.2.21:9000 0 101");
    let moved = sdp("10.71.3.31:8000", "0 101", 2, "");
    scene.gateway_sends(gateway.response(&taken, 200, &moved));
    is_request(&scene.at_gateway(), Method::Ack);
    scene.silence();
    scene.is("up", Path::Direct, None);
}

/// The first INVITE is challenged (RFC 3261 §22), the second has credentials.
#[test]
fn a_challenged_call_without_an_offer() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway) = (Ua::vm(), Ua::gateway());
    let invite = vm_asks(&mut scene, &mut vm, &mut gateway);
    scene.gateway_sends(gateway.response(&invite, 401, ""));
    let challenge = scene.at_vm();
    scene.vm_sends(vm.ack_refusal(&challenge));
    is_request(&scene.at_gateway(), Method::Ack);
    vm.remote = format!("<sip:peer@{GATEWAY}>");
    let sent = vm.request_with("INVITE", "Authorization: Digest x=\"y\"\r\n", "");
    scene.vm_sends(&sent);
    let invite = scene.at_gateway();
    assert_eq!(text(invite.bytes()), sent);
    scene.gateway_sends(gateway.response(&invite, 200, &gateway_sdp()));
    is_request(&scene.at_tc(), Method::Invite);
    scene.is("setup", Path::Pending, None);
}
