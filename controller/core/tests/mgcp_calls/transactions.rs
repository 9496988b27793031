//! Transactions (§3.5): what comes again leaves again with the same bytes and does
//! nothing twice; our own are nobody's business.

use sidestep_core::sip::Method;

use crate::connection::*;
use crate::scene::{Scene, Ua, config, gateway_sdp, is_request, sdp, tc_sdp, vm_sdp};

/// §3.5.1: a repeated command and a repeated response, alone or piggybacked.
#[test]
fn what_comes_again_leaves_with_the_same_bytes() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let command = crcx(1, "sendrecv", &sdp("10.71.1.11:7000", "18", 1, ""));
    agent(&mut scene, &command);
    let sent = at_gateway(&mut scene);
    agent(&mut scene, &command);
    assert_eq!(at_gateway(&mut scene), sent);
    let reply = created(1, &gateway_sdp());
    gateway(&mut scene, &reply);
    let heard = at_vm(&mut scene);
    is_request(&scene.at_tc(), Method::Invite);
    for _ in 0..2 {
        gateway(&mut scene, &reply);
        assert_eq!(at_vm(&mut scene), heard);
    }
    // With something else in the same datagram.
    agent(&mut scene, &format!("200 9 OK\r\n.\r\n{command}"));
    assert_eq!(at_gateway(&mut scene), format!("200 9 OK\r\n.\r\n{sent}"));
    scene.silence();
    assert_eq!(scene.engine.calls().len(), 1);
}

/// After T-HIST an id is new again: another connection.
#[test]
fn an_id_that_serves_again() {
    let (mut scene, tc) = up(config());
    passes_to_gateway(&mut scene, &dlcx(2));
    let bye = scene.at_tc();
    scene.tc_sends(tc.response(&bye, 200, ""));
    passes_to_vm(&mut scene, "250 2 OK\r\n");
    scene.wait(31_000);
    agent(&mut scene, &crcx(1, "sendrecv", &vm_sdp()));
    assert_eq!(audio_of(&at_gateway(&mut scene)), "10.71.2.21:9000 0 8 101");
    passes_to_vm(&mut scene, &created(1, &gateway_sdp()));
    assert_eq!(scene.engine.calls().len(), 2);
}

/// Our commands' responses are absorbed, also from between others, and acknowledged
/// where the gateway wants that (§3.5.6).
#[test]
fn responses_to_us_are_absorbed() {
    let (mut scene, tc, invite) = created_call(config());
    scene.tc_sends(tc.response(&invite, 200, &sdp("10.71.2.21:9400", "0 101", 1, "")));
    scene.at_tc();
    at_gateway(&mut scene);
    gateway(&mut scene, "100 500000000 wait\r\n");
    scene.silence();
    let notify = format!("NTFY 5 {ENDPOINT} MGCP 1.0\r\nX: 1\r\nO: D/1\r\n");
    gateway(
        &mut scene,
        &format!("{notify}.\r\n200 500000000 OK\r\nK:\r\n"),
    );
    assert_eq!(at_vm(&mut scene), notify);
    assert_eq!(at_gateway(&mut scene), "000 500000000 Acknowledged\r\n");
    // It comes again: acknowledged again, and nothing else.
    gateway(&mut scene, "200 500000000 OK\r\nK:\r\n");
    assert_eq!(at_gateway(&mut scene), "000 500000000 Acknowledged\r\n");
    scene.silence();
}

/// Ids of ours are half of all ids away from the VM's, around the end too.
#[test]
fn ids_of_ours_are_none_of_the_vms() {
    for (last, ours) in [
        (1, 500_000_000),
        (499_999_999, 999_999_998),
        (600_000_000, 100_000_000),
        (999_999_999, 499_999_999),
    ] {
        let mut scene = Scene::registered(config(), Some(&tc_sdp()));
        agent(&mut scene, &crcx(last, "sendrecv", &vm_sdp()));
        at_gateway(&mut scene);
        gateway(&mut scene, &created(last, &gateway_sdp()));
        at_vm(&mut scene);
        let invite = scene.at_tc();
        scene.tc_sends(Ua::tc().response(&invite, 200, &sdp("10.71.2.21:9400", "0 101", 1, "")));
        let own = at_gateway(&mut scene);
        assert!(own.starts_with(&format!("MDCX {ours} ")), "{own}");
    }
}
