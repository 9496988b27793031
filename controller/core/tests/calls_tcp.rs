//! Calls whose signalling is in connections: what goes on goes the way it came, and
//! what Sidestep adds goes by the connection of the party it stands for.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{ConnectionId, Datagram, Event, Path, Side, Transport};
use sidestep_core::sip::{Message, Method};

fn connection(number: u64) -> Transport {
    Transport::Tcp(ConnectionId(number))
}

/// A scene whose messages come by connection 7.
fn connected() -> Scene {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    scene.transport = connection(7);
    scene
}

fn way_of(datagram: &Datagram) -> Transport {
    datagram.transport
}

fn up() -> outgoing::Outgoing {
    let mut call = outgoing::called(connected());
    let invite = outgoing::answered(&mut call);
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&invite, 200, &answer));
    call.scene.at_tc();
    assert_eq!(way_of(&call.scene.vm[0]), connection(7));
    let ok = call.scene.at_vm();
    call.vm.learn(&ok);
    call.scene.vm_sends(call.vm.request("ACK", ""));
    assert_eq!(way_of(&call.scene.gateway[0]), connection(7));
    call.scene.at_gateway();
    call.scene.is("up", Path::Direct, None);
    call
}

/// RFC 3261 §18.1.1, §17.1.1.2.
#[test]
fn what_is_added_goes_by_the_same_connection_and_is_not_repeated() {
    let mut call = up();
    call.scene.engine.shutdown(call.scene.now);
    call.scene.drain();
    let sent = call.scene.gateway[0].clone();
    assert_eq!(way_of(&sent), connection(7));
    let reinvite = call.scene.at_gateway();
    is_request(&reinvite, Method::Invite);
    assert_eq!(reinvite.top_via().transport, b"TCP");
    call.scene.wait(20_000);
    assert!(call.scene.gateway.is_empty());
    let answer = sdp("10.71.3.31:8000", "8 101", 2, "");
    call.scene
        .gateway_sends(call.gateway.response(&reinvite, 200, &answer));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let sent = call.scene.vm[0].clone();
    assert_eq!(way_of(&sent), connection(7));
    let to_vm = call.scene.at_vm();
    is_request(&to_vm, Method::Invite);
    assert_eq!(to_vm.top_via().transport, b"TCP");
}

/// A party that has opened another connection is asked by that one (RFC 5923 §1).
#[test]
fn a_later_connection_takes_over() {
    let mut call = up();
    call.scene.transport = connection(8);
    call.scene.vm_sends(call.vm.request("INFO", ""));
    assert_eq!(way_of(&call.scene.gateway[0]), connection(8));
    let info = call.scene.at_gateway();
    call.scene
        .gateway_sends(call.gateway.response(&info, 200, ""));
    call.scene.at_vm();
    call.scene.engine.shutdown(call.scene.now);
    call.scene.drain();
    assert_eq!(way_of(&call.scene.gateway[0]), connection(8));
}

/// The VM speaks UDP to a proxy on one side, TCP comes from the other: each answer
/// goes the way of its request.
#[test]
fn an_answer_goes_back_the_way_its_request_came() {
    let mut call = up();
    call.scene.transport = connection(9);
    let bye = call.gateway.request("BYE", "");
    call.scene.gateway_sends(&bye);
    assert_eq!(way_of(&call.scene.vm[0]), connection(9));
    let bye = call.scene.at_vm();
    call.scene.vm_sends(call.vm.response(&bye, 200, ""));
    assert_eq!(way_of(&call.scene.gateway[0]), connection(9));
    call.scene.at_gateway();
}

/// What was left alone in the stream is of a call all the same.
#[test]
fn a_call_whose_message_is_left_alone_says_so() {
    let mut scene = connected();
    let invite = outgoing::called(connected()).invite;
    let begin = Datagram {
        side: Side::Vm,
        transport: connection(7),
        src: address(VM),
        dst: address(GATEWAY),
        payload: invite.bytes()[..invite.body_offset()].to_vec(),
    };
    let now = scene.now;
    scene
        .engine
        .handle_untouched(now, &begin, "a message over the size limit");
    scene.drain();
    assert!(scene.gateway.is_empty(), "the door sends it on");
    let counted: Vec<_> = scene.engine.malformed_counts().collect();
    assert_eq!(counted, [("a message over the size limit", 1)]);
    assert!(matches!(scene.events.last(), Some(Event::Malformed { .. })));
    // The gateway's answer comes in a message that can be read.
    let gateway = Ua::gateway();
    let ok = gateway.response(
        &Message::parse(invite.bytes()).unwrap(),
        200,
        &gateway_sdp(),
    );
    scene.gateway_sends(ok);
    assert_eq!(scene.vm.len(), 1);
    scene.is("up", Path::Vm, Some(Reason::SipNotUnderstood));
}
