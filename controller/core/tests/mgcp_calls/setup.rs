//! How a connection gets the thin client's media, in each order in which the three
//! parties may say what they have.

use sidestep_core::engine::{Path, PathChoice};
use sidestep_core::sip::Method;

use crate::connection::*;
use crate::scene::{
    Scene, Ua, audio, body, config, config_with, gateway_sdp, is_request, sdp, tc_sdp, vm_sdp,
};

/// CRCX with the VM's media (§2.3.5); the TC has registered its own (steps 504, 505,
/// 508, 509).
#[test]
fn registered_media_goes_into_the_create() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let command = crcx(1, "sendrecv", &vm_sdp());
    agent(&mut scene, &command);
    assert_eq!(at_gateway(&mut scene), with_tc(&command));
    scene.is("setup", Path::Pending, None);

    // The reply reaches the VM as the gateway wrote it.
    let reply = created(1, &gateway_sdp());
    passes_to_vm(&mut scene, &reply);
    let invite = scene.at_tc();
    is_request(&invite, Method::Invite);
    assert_eq!(audio(&invite), "10.71.3.31:8000 0 101");
    scene.is("up", Path::Pending, None);

    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    scene.tc_sends(Ua::tc().response(&invite, 200, &answer));
    is_request(&scene.at_tc(), Method::Ack);
    scene.silence();
    scene.is("up", Path::Direct, None);
    assert_eq!(
        scene.flow_lines(),
        [
            "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9000 direct",
            "tc->gateway 10.71.2.21:9000 > 10.71.3.31:8000 direct",
            "vm->gateway 10.71.1.11:7000 > 10.71.3.31:8000 guard",
            "gateway->tc 10.71.3.31:8001 > 10.71.2.21:9001 direct rtcp",
            "tc->gateway 10.71.2.21:9001 > 10.71.3.31:8001 direct rtcp",
            "vm->gateway 10.71.1.11:7001 > 10.71.3.31:8001 guard rtcp",
        ]
    );
    let call = scene.call();
    assert_eq!(
        (
            call.protocol,
            call.call_id.as_str(),
            call.gateway.to_string()
        ),
        ("mgcp", "A3c4", GATEWAY.to_owned())
    );
    // The VM's softphone hears now and then that there is media.
    scene.wait(100);
    let heard = scene.keep_alive.first().expect("keep-alive");
    assert_eq!(heard.src.to_string(), "10.71.3.31:8000");
    assert_eq!(heard.dst.to_string(), "10.71.1.11:7000");
}

/// A stock SIP phone as TC: the create waits for its offer (RFC 3725 flow I), and is
/// answered by its 200's ACK.
#[test]
fn a_create_waits_for_a_tc_that_has_to_offer() {
    let mut scene = Scene::registered(config(), None);
    let command = crcx(1, "sendrecv", &vm_sdp());
    agent(&mut scene, &command);
    assert!(scene.gateway.is_empty());
    let invite = scene.at_tc();
    assert_eq!(body(&invite), "");
    // The agent's retransmission hears that it is being worked at (§3.5.6).
    agent(&mut scene, &command);
    assert_eq!(at_vm(&mut scene), "100 1 In progress\r\n");
    scene.silence();

    scene.tc_sends(Ua::tc().response(&invite, 200, &tc_sdp()));
    assert_eq!(at_gateway(&mut scene), with_tc(&command));
    assert!(scene.tc.is_empty(), "its ACK has the answer");
    passes_to_vm(&mut scene, &created(1, &gateway_sdp()));
    let ack = scene.at_tc();
    is_request(&ack, Method::Ack);
    assert_eq!(audio(&ack), "10.71.3.31:8000 0 101");
    scene.is("up", Path::Direct, None);
    scene.silence();
}

/// CRCX without a far end, MDCX with it (F.3, F.4): the gateway's description is
/// known, so a TC whose media is not is called with it.
#[test]
fn a_modify_waits_for_a_tc_that_is_called_with_the_gateways_description() {
    let mut scene = Scene::registered(config(), None);
    passes_to_gateway(&mut scene, &crcx(1, "recvonly", ""));
    passes_to_vm(&mut scene, &created(1, &gateway_sdp()));
    assert_eq!(scene.engine.calls(), Vec::new());

    let command = mdcx(2, "sendrecv", &vm_sdp());
    agent(&mut scene, &command);
    assert!(scene.gateway.is_empty());
    let invite = scene.at_tc();
    assert_eq!(audio(&invite), "10.71.3.31:8000 0 101");
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    scene.tc_sends(Ua::tc().response(&invite, 200, &answer));
    is_request(&scene.at_tc(), Method::Ack);
    assert_eq!(audio_of(&at_gateway(&mut scene)), "10.71.2.21:9000 0 101");
    passes_to_vm(&mut scene, "200 2 OK\r\n");
    scene.is("up", Path::Direct, None);
    scene.silence();
}

/// Where thin client and gateway do not reach each other, each is told the anchor.
#[test]
fn steered() {
    let mut scene = Scene::registered(config_with(PathChoice::Steered), Some(&tc_sdp()));
    agent(&mut scene, &crcx(1, "sendrecv", &vm_sdp()));
    assert_eq!(
        audio_of(&at_gateway(&mut scene)),
        "10.71.1.11:40000 0 8 101"
    );
    passes_to_vm(&mut scene, &created(1, &gateway_sdp()));
    let invite = scene.at_tc();
    assert_eq!(audio(&invite), "10.71.1.11:40000 0 101");
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    scene.tc_sends(Ua::tc().response(&invite, 200, &answer));
    is_request(&scene.at_tc(), Method::Ack);
    scene.is("up", Path::Steered, None);
    assert_eq!(
        scene.flow_lines()[..2],
        [
            "gateway->tc 10.71.3.31:8000 > 10.71.1.11:40000 steered 10.71.1.11:40000 > 10.71.2.21:9000",
            "tc->gateway 10.71.2.21:9000 > 10.71.1.11:40000 steered 10.71.1.11:40000 > 10.71.3.31:8000",
        ]
    );
    passes_to_gateway(&mut scene, &dlcx(9));
    passes_to_vm(&mut scene, "250 9 OK\r\n");
    is_request(&scene.at_tc(), Method::Bye);
    scene.wait(1100);
    assert_eq!(scene.engine.anchors_in_use(), 0);
}

/// LocalConnectionOptions that leave the TC no codec are changed to its own (M8);
/// others stay.
#[test]
fn codecs_that_the_command_allows() {
    let mut scene = Scene::registered(config(), Some(&sdp("10.71.2.21:9000", "18", 1, "")));
    agent(&mut scene, &crcx(1, "sendrecv", &vm_sdp()));
    let sent = at_gateway(&mut scene);
    assert!(sent.contains("L: p:20, a:G729\r\n"), "{sent}");
    assert_eq!(audio_of(&sent), "10.71.2.21:9000 18");
}

/// A gateway that chooses what the VM never offered: the VM is told a codec of its
/// own, at the gateway's own address.
#[test]
fn the_reply_is_valid_for_the_vm() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    agent(
        &mut scene,
        &crcx(1, "sendrecv", &sdp("10.71.1.11:7000", "18", 1, "")),
    );
    at_gateway(&mut scene);
    gateway(&mut scene, &created(1, &gateway_sdp()));
    assert_eq!(audio_of(&at_vm(&mut scene)), "10.71.3.31:8000 18");
    assert_eq!(audio(&scene.at_tc()), "10.71.3.31:8000 0 101");
}

/// Profiles of MGCP (NCS 1.0, TGCP 1.0) are bypassed like it; a command of ours speaks
/// as the agent does.
#[test]
fn profiles() {
    for version in ["MGCP 1.0 NCS 1.0", "MGCP 1.0 TGCP 1.0", "mgcp 1.0"] {
        let mut scene = Scene::registered(config(), Some(&tc_sdp()));
        let command = crcx(1, "sendrecv", &vm_sdp()).replace("MGCP 1.0", version);
        agent(&mut scene, &command);
        assert_eq!(at_gateway(&mut scene), with_tc(&command));
        passes_to_vm(&mut scene, &created(1, &gateway_sdp()));
        let invite = scene.at_tc();
        let elsewhere = sdp("10.71.2.21:9400", "0 101", 1, "");
        scene.tc_sends(Ua::tc().response(&invite, 200, &elsewhere));
        is_request(&scene.at_tc(), Method::Ack);
        let own = at_gateway(&mut scene);
        let head = format!("MDCX 500000000 {ENDPOINT} {version}\r\n");
        assert!(own.starts_with(&head), "{own}");
        gateway(&mut scene, "200 500000000 OK\r\n");
        scene.is("up", Path::Direct, None);
    }
}

/// Two endpoints in one datagram, and a response beside them (§3.5.5): each its own
/// call.
#[test]
fn piggybacked_creates() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let second = crcx(2, "inactive", &vm_sdp()).replace("aaln/1", "aaln/2");
    let together = format!(
        "200 77 OK\r\n.\r\n{}.\r\n{second}",
        crcx(1, "sendrecv", &vm_sdp())
    );
    agent(&mut scene, &together);
    let sent = at_gateway(&mut scene);
    assert!(sent.starts_with("200 77 OK\r\n.\r\nCRCX 1 "), "{sent}");
    assert_eq!(sent.matches("c=IN IP4 10.71.2.21\r\n").count(), 2, "{sent}");
    assert!(!sent.contains("c=IN IP4 10.71.1.11"), "{sent}");
    assert_eq!(scene.engine.calls().len(), 2);
}
