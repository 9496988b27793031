//! Changed information, hold, the end: in a call that is up.

use sidestep_core::engine::{Path, PathChoice};
use sidestep_core::sip::Method;

use crate::connection::*;
use crate::scene::{
    audio, body, config, config_with, gateway_sdp, is_request, is_response, sdp, vm_sdp,
};

/// Steps 305, 503, 607: the TC answers with another port than it registered. The
/// gateway hears it by a ModifyConnection of ours; the VM hears nothing.
#[test]
fn a_tc_that_answers_from_elsewhere() {
    let (mut scene, tc, invite) = created_call(config());
    let answer = sdp("10.71.2.21:9400", "0 101", 1, "");
    scene.tc_sends(tc.response(&invite, 200, &answer));
    is_request(&scene.at_tc(), Method::Ack);
    let own = at_gateway(&mut scene);
    let head = own.lines().take(3).collect::<Vec<_>>().join("\n");
    assert_eq!(
        head,
        format!("MDCX 500000000 {ENDPOINT} MGCP 1.0\nC: A3c4\nI: F1")
    );
    assert_eq!(audio_of(&own), "10.71.2.21:9400 0 101");
    // Of the VM's session, changed: its version has risen.
    assert!(own.contains("o=- 7000 2 IN IP4 10.71.1.11\r\n"), "{own}");
    gateway(&mut scene, "200 500000000 OK\r\n");
    scene.silence();
    scene.is("up", Path::Direct, None);
    assert!(scene.flow_lines()[0].contains("10.71.2.21:9400"));
}

/// Step 611: the gateway's reply to that brings another port of its own, which goes
/// to the TC.
#[test]
fn a_gateway_that_moves_when_it_hears_of_it() {
    let (mut scene, tc, invite) = created_call(config());
    let answer = sdp("10.71.2.21:9400", "0 101", 1, "");
    scene.tc_sends(tc.response(&invite, 200, &answer));
    scene.at_tc();
    at_gateway(&mut scene);
    let moved = sdp("10.71.3.31:8400", "0 101", 2, "");
    gateway(&mut scene, &format!("200 500000000 OK\r\n\r\n{moved}"));
    let again = scene.at_tc();
    is_request(&again, Method::Invite);
    assert_eq!(audio(&again), "10.71.3.31:8400 0 101");
    scene.tc_sends(tc.response(&again, 200, &answer));
    is_request(&scene.at_tc(), Method::Ack);
    scene.silence();
    scene.is("up", Path::Direct, None);
    assert!(scene.flow_lines()[0].starts_with("gateway->tc 10.71.3.31:8400 > 10.71.2.21:9400"));
}

/// The VM modifies the connection, and the gateway's reply has changed information.
#[test]
fn a_gateway_that_moves_in_the_call() {
    let (mut scene, tc) = up(config());
    let command = mdcx(5, "sendrecv", &sdp("10.71.1.11:7000", "0 8", 2, ""));
    agent(&mut scene, &command);
    assert_eq!(audio_of(&at_gateway(&mut scene)), "10.71.2.21:9000 0 101");
    let moved = sdp("10.71.3.31:8400", "0", 2, "");
    gateway(&mut scene, &format!("200 5 OK\r\n\r\n{moved}"));
    assert_eq!(at_vm(&mut scene), format!("200 5 OK\r\n\r\n{moved}"));
    let again = scene.at_tc();
    assert_eq!(audio(&again), "10.71.3.31:8400 0");
    scene.tc_sends(tc.response(&again, 200, &sdp("10.71.2.21:9000", "0", 2, "")));
    is_request(&scene.at_tc(), Method::Ack);
    scene.silence();
}

/// ConnectionMode says which way media may go; the TC hears it as it hears of a hold
/// (RFC 3264 §8.4).
#[test]
fn hold_by_mode_and_back() {
    let (mut scene, tc) = up(config());
    for (id, mode, direction) in [
        (2, "inactive", "a=inactive"),
        (3, "sendrecv", "a=sendrecv"),
        (4, "recvonly", "a=recvonly"),
        (5, "sendonly", "a=sendonly"),
        (6, "confrnce", "a=sendrecv"),
    ] {
        passes_to_gateway(&mut scene, &mdcx(id, mode, ""));
        assert!(scene.tc.is_empty(), "not before the gateway has agreed");
        passes_to_vm(&mut scene, &format!("200 {id} OK\r\n"));
        let invite = scene.at_tc();
        is_request(&invite, Method::Invite);
        assert!(
            body(&invite).contains(direction),
            "{mode}: {}",
            body(&invite)
        );
        let answer = sdp("10.71.2.21:9000", "0 101", id, "");
        scene.tc_sends(tc.response(&invite, 200, &answer));
        is_request(&scene.at_tc(), Method::Ack);
        scene.silence();
    }
    // A mode of tests is none of the TC's business.
    for (id, mode) in [
        (7, "loopback"),
        (8, "conttest"),
        (9, "netwloop"),
        (10, "netwtest"),
    ] {
        passes_to_gateway(&mut scene, &mdcx(id, mode, ""));
        passes_to_vm(&mut scene, &format!("200 {id} OK\r\n"));
        scene.silence();
    }
}

/// A hold by a null address stays one: it never becomes the TC's.
#[test]
fn hold_by_null_address() {
    let (mut scene, tc) = up(config());
    agent(
        &mut scene,
        &mdcx(2, "sendonly", &sdp("0.0.0.0:7000", "0", 2, "")),
    );
    let sent = at_gateway(&mut scene);
    assert!(sent.contains("c=IN IP4 0.0.0.0\r\n"), "{sent}");
    passes_to_vm(&mut scene, "200 2 OK\r\n");
    let invite = scene.at_tc();
    assert!(body(&invite).contains("a=inactive"));
    scene.tc_sends(tc.response(&invite, 200, &sdp("10.71.2.21:9000", "0 101", 2, "")));
    is_request(&scene.at_tc(), Method::Ack);
    agent(&mut scene, &mdcx(3, "sendrecv", &vm_sdp()));
    assert_eq!(audio_of(&at_gateway(&mut scene)), "10.71.2.21:9000 0 101");
    passes_to_vm(&mut scene, "200 3 OK\r\n");
    assert!(body(&scene.at_tc()).contains("a=sendrecv"));
}

/// The TC moves by a re-INVITE of its own (509): the gateway first, then its answer.
#[test]
fn a_tc_that_moves() {
    let (mut scene, mut tc) = up(config());
    scene.tc_sends(tc.request("INVITE", &sdp("10.71.2.21:9800", "0 101", 2, "")));
    let own = at_gateway(&mut scene);
    assert_eq!(audio_of(&own), "10.71.2.21:9800 0 101");
    assert!(
        scene
            .tc
            .pop_front()
            .is_none_or(|d| d.payload.starts_with(b"SIP/2.0 100"))
    );
    gateway(&mut scene, "200 500000000 OK\r\n");
    let ok = scene.at_tc();
    is_response(&ok, 200, Method::Invite);
    assert_eq!(audio(&ok), "10.71.3.31:8000 0 101");
    scene.tc_sends(tc.request("ACK", ""));
    scene.silence();
    assert!(scene.flow_lines()[0].contains("10.71.2.21:9800"));
}

/// DLCX of the agent (F.5): the TC is hung up, the statistics are the gateway's own,
/// which are those of the media with the TC, and the guard goes last.
#[test]
fn deleted_by_the_agent() {
    let (mut scene, _) = up(config());
    passes_to_gateway(&mut scene, &dlcx(7));
    is_request(&scene.at_tc(), Method::Bye);
    scene.is("ending", Path::Direct, None);
    passes_to_vm(
        &mut scene,
        "250 7 OK\r\nP: PS=1245, OS=62345, PR=0, OR=0, PL=0, JI=0, LA=48\r\n",
    );
    scene.is("ended", Path::Direct, None);
    assert!(!scene.flows.is_empty());
    scene.wait(1100);
    assert!(scene.flows.is_empty());
    scene.is_clean();
}

/// Statistics are the gateway's alone: none are invented where it gives none, and those
/// of its own DLCX pass, too.
#[test]
fn statistics_are_the_gateways() {
    let (mut scene, _) = up(config());
    passes_to_gateway(&mut scene, &dlcx(7));
    is_request(&scene.at_tc(), Method::Bye);
    passes_to_vm(&mut scene, "250 7 OK\r\n");
    scene.is("ended", Path::Direct, None);

    let (mut scene, _) = up(config());
    let command = format!(
        "DLCX 70 {ENDPOINT} MGCP 1.0\r\nC: A3c4\r\nI: F1\r\nE: 901 - on-hook\r\n\
         P: PS=1245, OS=62345, PR=780, OR=45123, PL=10, JI=27, LA=48, X-a/b=7\r\n"
    );
    passes_to_vm(&mut scene, &command);
    is_request(&scene.at_tc(), Method::Bye);
    passes_to_gateway(&mut scene, "250 70 OK\r\n");
    scene.is("ended", Path::Direct, None);
}

/// Beside the call's, other connections of its endpoint: to another gateway, to another
/// endpoint (a local bridge, §2.3.5), and a second one of the VM's, a call of its own.
#[test]
fn connections_of_one_endpoint() {
    let (mut scene, tc) = up(config());
    let other = sdp("10.71.3.99:4000", "0", 1, "");
    passes_to_gateway(&mut scene, &crcx(20, "sendrecv", &other));
    let reply = |id: u32, name: &str, port: u16| {
        let local = sdp(&format!("10.71.3.31:{port}"), "0", 1, "");
        created(id, &local).replace("I: F1", &format!("I: {name}"))
    };
    passes_to_vm(&mut scene, &reply(20, "F2", 8010));
    let bridge = format!(
        "CRCX 21 {ENDPOINT} MGCP 1.0\r\nC: A3c4\r\nM: sendrecv\r\nZ2: aaln/2@gw.example\r\n"
    );
    passes_to_gateway(&mut scene, &bridge);
    passes_to_vm(
        &mut scene,
        "200 21 OK\r\nI: F3\r\nZ2: aaln/2@gw.example\r\nI2: F4\r\n",
    );
    scene.silence();
    assert_eq!(scene.engine.calls().len(), 1);

    agent(&mut scene, &crcx(22, "sendrecv", &vm_sdp()));
    assert_eq!(audio_of(&at_gateway(&mut scene)), "10.71.2.21:9000 0 8 101");
    passes_to_vm(&mut scene, &reply(22, "F5", 8020));
    let invite = scene.at_tc();
    assert_eq!(audio(&invite), "10.71.3.31:8020 0");
    scene.tc_sends(tc.response(&invite, 200, &sdp("10.71.2.21:9020", "0", 1, "")));
    is_request(&scene.at_tc(), Method::Ack);
    let own = at_gateway(&mut scene);
    assert!(
        own.starts_with("MDCX 5000000") && own.contains("I: F5\r\n"),
        "{own}"
    );
    let id = own.split(' ').nth(1).unwrap();
    gateway(&mut scene, &format!("200 {id} OK\r\n"));
    scene.silence();

    // Each ends by itself.
    for (id, name, states) in [
        (30, "F2", ["up", "up"]),
        (31, "F3", ["up", "up"]),
        (32, "F5", ["up", "ended"]),
        (33, "F1", ["ended", "ended"]),
    ] {
        passes_to_gateway(
            &mut scene,
            &dlcx(id).replace("I: F1", &format!("I: {name}")),
        );
        passes_to_vm(&mut scene, &format!("250 {id} OK\r\n"));
        let calls = scene.engine.calls();
        let now: Vec<_> = calls.iter().map(|call| call.state).collect();
        assert_eq!(now, states, "{name}");
    }
}

/// DLCX of the gateway (F.6), and of all connections of a call (F.7).
#[test]
fn deleted_by_the_gateway_and_by_wildcards() {
    let (mut scene, _) = up(config());
    let command = format!("DLCX 70 {ENDPOINT} MGCP 1.0\r\nC: a3C4\r\nI: f1\r\nE: 900 - broken\r\n");
    passes_to_vm(&mut scene, &command);
    is_request(&scene.at_tc(), Method::Bye);
    passes_to_gateway(&mut scene, "200 70 OK\r\n");
    scene.is("ended", Path::Direct, None);

    for command in [
        "DLCX 7 aaln/*@gw.example MGCP 1.0\r\n".to_owned(),
        "DLCX 7 *@GW.example MGCP 1.0\r\nC: A3C4\r\n".to_owned(),
        format!("DLCX 7 {ENDPOINT} MGCP 1.0\r\n"),
    ] {
        let (mut scene, _) = up(config());
        passes_to_gateway(&mut scene, &command);
        is_request(&scene.at_tc(), Method::Bye);
        passes_to_vm(&mut scene, "250 7 OK\r\n");
        scene.is("ended", Path::Direct, None);
    }
    // Of another call, another connection, another endpoint.
    let (mut scene, _) = up(config());
    for command in [
        "DLCX 8 *@gw.example MGCP 1.0\r\nC: FF\r\n".to_owned(),
        format!("DLCX 9 {ENDPOINT} MGCP 1.0\r\nC: A3c4\r\nI: F2\r\n"),
        "DLCX 10 aaln/2@gw.example MGCP 1.0\r\n".to_owned(),
    ] {
        passes_to_gateway(&mut scene, &command);
    }
    scene.silence();
    scene.is("up", Path::Direct, None);
}

/// RestartInProgress (§2.3.12, F.10): what the method says of the connections.
#[test]
fn restarts() {
    for (method, over) in [
        ("RM: restart\r\n", true),
        ("RM: forced\r\nRD: 0\r\n", true),
        ("", true),
        ("RM: graceful\r\nRD: 300\r\n", false),
        ("RM: disconnected\r\n", false),
        ("RM: cancel-graceful\r\n", false),
    ] {
        let (mut scene, _) = up(config_with(PathChoice::Steered));
        passes_to_vm(
            &mut scene,
            &format!("RSIP 90 aaln/*@gw.example MGCP 1.0\r\n{method}"),
        );
        assert_eq!(scene.call().state == "ended", over, "{method}");
        assert_eq!(!scene.tc.is_empty(), over, "{method}");
        passes_to_gateway(&mut scene, "200 90 OK\r\n");
        scene.wait(1100);
        assert_eq!(scene.engine.anchors_in_use() == 0, over, "{method}");
    }
}

/// AuditConnection (F.9) shows the VM what it has said itself, whichever
/// descriptions it asks for.
#[test]
fn an_audit_shows_what_the_vm_said() {
    let (mut scene, _) = up(config());
    let local = gateway_sdp();
    let remote = with_tc(&crcx(1, "sendrecv", &vm_sdp()));
    let remote = &remote[remote.find("v=0").unwrap()..];
    for (id, asks, bodies, shown) in [
        (
            20,
            "LC, RC",
            format!("\r\n{local}\r\n{remote}"),
            format!("\r\n{local}\r\n{}", vm_sdp()),
        ),
        (
            21,
            "C,rc",
            format!("\r\n{remote}"),
            format!("\r\n{}", vm_sdp()),
        ),
        (22, "LC", format!("\r\n{local}"), format!("\r\n{local}")),
    ] {
        passes_to_gateway(
            &mut scene,
            &format!("AUCX {id} {ENDPOINT} MGCP 1.0\r\nI: F1\r\nF: {asks}\r\n"),
        );
        gateway(&mut scene, &format!("200 {id} OK\r\nC: A3c4\r\n{bodies}"));
        assert_eq!(
            at_vm(&mut scene),
            format!("200 {id} OK\r\nC: A3c4\r\n{shown}"),
            "{asks}"
        );
    }
}

/// The VM gives the connection another far end: the TC has no part in it any more;
/// given back, it has again.
#[test]
fn a_connection_that_leaves_the_vm_and_comes_back() {
    let (mut scene, tc) = up(config());
    let other = mdcx(2, "sendrecv", &sdp("10.71.3.99:4000", "0", 1, ""));
    passes_to_gateway(&mut scene, &other);
    let bye = scene.at_tc();
    is_request(&bye, Method::Bye);
    scene.tc_sends(tc.response(&bye, 200, ""));
    passes_to_vm(&mut scene, "200 2 OK\r\n");
    scene.wait(1100);
    assert!(scene.flows.is_empty());
    agent(&mut scene, &mdcx(3, "sendrecv", &vm_sdp()));
    assert_eq!(audio_of(&at_gateway(&mut scene)), "10.71.2.21:9000 0 8 101");
    passes_to_vm(&mut scene, "200 3 OK\r\n");
    assert_eq!(audio(&scene.at_tc()), "10.71.3.31:8000 0 101");
    assert_eq!(scene.engine.calls().len(), 2);
}
