//! A thin client behind a NAT: its description names an address of its own network,
//! and it registers, and sends, from the NAT's. Where from is learned once, from the
//! right address only; who sends from elsewhere, or later, moves nothing.

mod scene;

use scene::outgoing::{Outgoing, up};
use scene::*;
use sidestep_core::engine::PathChoice;
use sidestep_core::sip::Message;
use sidestep_core::time::Time;

/// Where RTP and RTCP of a steered call come to.
const ANCHOR: &str = "10.71.1.11:40000";
const RTCP_ANCHOR: &str = "10.71.1.11:40001";

/// What the anchor does for RTP, by where the thin client is thought to be.
fn steered_to(tc: &str) -> [String; 2] {
    [
        format!("gateway->tc 10.71.3.31:8000 > {ANCHOR} steered {ANCHOR} > {tc}"),
        format!("tc->gateway {tc} > {ANCHOR} steered {ANCHOR} > 10.71.3.31:8000"),
    ]
}

/// The same for RTCP.
fn rtcp_steered_to(tc: &str) -> [String; 2] {
    [
        format!("gateway->tc 10.71.3.31:8001 > {RTCP_ANCHOR} steered {RTCP_ANCHOR} > {tc} rtcp"),
        format!("tc->gateway {tc} > {RTCP_ANCHOR} steered {RTCP_ANCHOR} > 10.71.3.31:8001 rtcp"),
    ]
}

fn has(call: &Outgoing, lines: &[String; 2], what: &str) {
    let flows = call.scene.flow_lines();
    for line in lines {
        assert!(flows.contains(line), "{what}: not {line}\nbut {flows:#?}");
    }
}

/// A steered call whose thin client describes another network's address than it has
/// registered from, which is 10.71.2.21.
fn behind_nat() -> Outgoing {
    let mut call = up(config_with(PathChoice::Steered));
    moves(&mut call, "192.168.7.9:9000", 2);
    call
}

/// The thin client describes its media anew, by a re-INVITE.
fn moves(call: &mut Outgoing, rtp: &str, version: u32) {
    let offer = sdp(rtp, "0 101", version, "");
    let reinvite = Message::parse(call.tc.request("INVITE", &offer).as_bytes()).unwrap();
    call.scene.tc_sends(reinvite.bytes());
    // The gateway has its anchor already, so there may be nothing to tell it.
    if !call.scene.gateway.is_empty() {
        let at_gateway = call.scene.at_gateway();
        let answer = sdp("10.71.3.31:8000", "0 101", version, "");
        call.scene
            .gateway_sends(call.gateway.response(&at_gateway, 200, &answer));
        call.scene.at_gateway();
    }
    while !call.scene.tc.is_empty() {
        call.scene.at_tc();
    }
    call.scene.tc_sends(call.tc.request("ACK", ""));
    call.scene.silence();
}

/// A packet comes to an anchor, of no flow; whether anything was learned from it.
/// `expected`: when the port that is described was last heard.
fn heard(call: &mut Outgoing, at: &str, from: &str, expected: Option<Time>) -> bool {
    call.scene.wait(20);
    let (now, ends) = (call.scene.now, (address(at), address(from)));
    let learned = call.scene.engine.media_from(now, 1, ends, expected);
    call.scene.drain();
    learned
}

#[test]
fn the_first_packet_from_where_it_registered_is_learned_from() {
    let mut call = behind_nat();
    has(&call, &steered_to("192.168.7.9:9000"), "as it is described");
    assert_eq!(
        call.scene.unlearned(),
        [
            format!("tc->gateway 10.71.2.21:0 > {ANCHOR} learn"),
            format!("tc->gateway 10.71.2.21:0 > {RTCP_ANCHOR} learn rtcp"),
        ]
    );
    assert!(heard(&mut call, ANCHOR, "10.71.2.21:61000", None));
    has(&call, &steered_to("10.71.2.21:61000"), "RTP is learned");
    has(&call, &rtcp_steered_to("192.168.7.9:9001"), "RTCP is not");
    // The NAT has another port for RTCP.
    assert!(heard(&mut call, RTCP_ANCHOR, "10.71.2.21:52345", None));
    has(&call, &rtcp_steered_to("10.71.2.21:52345"), "both are");
    assert_eq!(call.scene.unlearned(), [""; 0]);
    call.scene.silence();
}

#[test]
fn nobody_else_moves_the_flow() {
    let mut call = behind_nat();
    let foreign = ["10.66.6.6:61000", "10.71.3.31:8000", "192.168.7.9:61000"];
    for from in foreign {
        let what = format!("{from} before the first packet");
        assert!(!heard(&mut call, ANCHOR, from, None), "{what}");
        has(&call, &steered_to("192.168.7.9:9000"), &what);
    }
    assert!(heard(&mut call, ANCHOR, "10.71.2.21:61000", None));
    // In mid-call, from anywhere, also from another port of the same NAT.
    for from in [foreign[0], foreign[1], foreign[2], "10.71.2.21:61002"] {
        let what = format!("{from} in mid-call");
        assert!(!heard(&mut call, ANCHOR, from, None), "{what}");
        has(&call, &steered_to("10.71.2.21:61000"), &what);
    }
    // Nor at an anchor of no call, nor in a call that is none.
    assert!(!heard(
        &mut call,
        "10.71.1.11:40002",
        "10.71.2.21:61002",
        None
    ));
    let ends = (address(ANCHOR), address("10.71.2.21:61002"));
    assert!(!call.scene.engine.media_from(call.scene.now, 9, ends, None));
}

/// The thin client describes another port: its packets are learned anew, and neither a
/// stranger's nor a late one of the port before is taken for it.
#[test]
fn after_a_reinvite_only_the_new_port_is_learned() {
    let mut call = behind_nat();
    assert!(heard(&mut call, ANCHOR, "10.71.2.21:61000", None));
    let counted = call.scene.now;
    moves(&mut call, "192.168.7.9:9400", 3);
    has(&call, &steered_to("192.168.7.9:9400"), "as it is described");
    // Late, of the port before; the flow counted them until now.
    for from in ["10.71.2.21:61000", "10.66.6.6:9400", "192.168.7.9:9000"] {
        assert!(!heard(&mut call, ANCHOR, from, Some(counted)), "{from}");
    }
    has(&call, &steered_to("192.168.7.9:9400"), "still");
    assert!(heard(&mut call, ANCHOR, "10.71.2.21:61777", Some(counted)));
    has(&call, &steered_to("10.71.2.21:61777"), "the new one");
    assert!(!heard(&mut call, ANCHOR, "10.71.2.21:61000", None));
    has(&call, &steered_to("10.71.2.21:61777"), "and it stays");
    // The same description again teaches nothing new.
    moves(&mut call, "192.168.7.9:9400", 4);
    has(&call, &steered_to("10.71.2.21:61777"), "refreshed");
    assert!(!heard(&mut call, ANCHOR, "10.71.2.21:61999", None));
    // Back to the first port: what was late then is its own now.
    moves(&mut call, "192.168.7.9:9000", 5);
    assert!(!heard(&mut call, ANCHOR, "10.71.2.21:61777", None));
    assert!(heard(&mut call, ANCHOR, "10.71.2.21:61000", None));
    has(&call, &steered_to("10.71.2.21:61000"), "back");
}

/// Without a NAT the first packet comes from the port that was described: nothing is
/// to be learned after it, whoever sends from the thin client's own address.
#[test]
fn the_described_port_is_a_first_packet_too() {
    let mut call = up(config_with(PathChoice::Steered));
    call.scene.wait(100);
    let counted = call.scene.now;
    call.scene.wait(5_000);
    assert!(!heard(&mut call, ANCHOR, "10.71.2.21:61000", Some(counted)));
    has(&call, &steered_to("10.71.2.21:9000"), "as described");
}

/// What was learned outlives the daemon.
#[test]
fn a_learned_port_is_known_after_a_restart() {
    let mut call = behind_nat();
    assert!(heard(&mut call, ANCHOR, "10.71.2.21:61000", None));
    call.scene.restart();
    call.scene.engine.renew_flows();
    call.scene.drain();
    has(&call, &steered_to("10.71.2.21:61000"), "restored");
    assert!(!heard(&mut call, ANCHOR, "10.71.2.21:61002", None));
    has(&call, &steered_to("10.71.2.21:61000"), "still");
}

/// Where thin client and gateway reach each other there is no anchor to learn at.
#[test]
fn a_direct_call_learns_nothing() {
    let mut call = up(config_with(PathChoice::Direct));
    assert_eq!(call.scene.unlearned(), [""; 0]);
    assert!(!heard(&mut call, ANCHOR, "10.71.2.21:61000", None));
}
