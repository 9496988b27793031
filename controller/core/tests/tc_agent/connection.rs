//! A phone that has registered by a connection (RFC 3261 §18): what goes to it goes by
//! that, nothing is sent twice, and when it is gone the leg is.

use sidestep_core::engine::{ConnectionId, Transport};
use sidestep_core::sip::{Method, Name};
use sidestep_core::tc::TcEvent;

use crate::phone::{ANSWER, LEG, OFFER, Phone, answered, body};

const FIRST: ConnectionId = ConnectionId(7);
const SECOND: ConnectionId = ConnectionId(8);

fn connected() -> Phone {
    let mut phone = Phone::new();
    phone.source = "10.71.2.22:40001".parse().unwrap();
    phone.expected = phone.source;
    phone.transport = Transport::Tcp(FIRST);
    phone
}

#[test]
fn requests_say_how_they_travel_and_are_not_repeated() {
    let mut phone = connected();
    let invite = phone.call(Some(OFFER));
    let header = |name| String::from_utf8(invite.header(name).unwrap().to_vec()).unwrap();
    assert!(header(Name::VIA).starts_with("SIP/2.0/TCP 10.71.1.11:5070;"));
    assert_eq!(
        header(Name::CONTACT),
        "<sip:sidestep@10.71.1.11:5070;transport=tcp>"
    );
    phone.wait(3_900);
    phone.quiet();
    phone.answer(&invite, 200, Some(ANSWER));
    assert_eq!(phone.event(), Some(answered()));
    // The Contact of its answer is none that it can be connected to: the ACK goes back.
    phone.agent.ack_with(phone.now, LEG, None);
    phone.got_request(Method::Ack);
    phone.agent.bye(phone.now, LEG);
    phone.got_request(Method::Bye);
    phone.wait(10_000);
    phone.quiet();
}

#[test]
fn a_refusal_is_not_repeated() {
    let mut phone = connected().stands();
    assert_eq!(phone.ask("INVITE", &body(OFFER)), 100);
    assert!(matches!(phone.event(), Some(TcEvent::Reinvite { .. })));
    phone.agent.answer_reinvite(phone.now, LEG, Err(488));
    assert_eq!(phone.got_status(), 488);
    phone.wait(10_000);
    phone.quiet();
}

#[test]
fn a_leg_is_lost_with_its_connection() {
    let mut phone = connected().stands();
    phone.agent.closed(phone.now, SECOND);
    phone.quiet();
    phone.agent.closed(phone.now, FIRST);
    assert_eq!(phone.event(), Some(TcEvent::Lost));
    phone.wait(100_000);
    phone.quiet();
    // Before it has answered, too.
    let mut phone = connected();
    phone.call(None);
    phone.agent.closed(phone.now, FIRST);
    assert_eq!(phone.event(), Some(TcEvent::Lost));
    phone.wait(100_000);
    phone.quiet();
}

/// It has connected anew, and says something in the dialog by the new connection.
#[test]
fn a_leg_goes_on_by_another_connection() {
    let mut phone = connected().stands();
    phone.transport = Transport::Tcp(SECOND);
    phone.source = "10.71.2.22:40002".parse().unwrap();
    phone.expected = phone.source;
    assert_eq!(phone.ask("OPTIONS", ""), 200);
    phone.agent.closed(phone.now, FIRST);
    phone.quiet();
    phone.agent.bye(phone.now, LEG);
    phone.got_request(Method::Bye);
}

/// After the daemon's death its connection is gone, and its leg is not: it registers by a
/// new one.
#[test]
fn a_leg_goes_on_by_the_connection_of_a_new_registration() {
    let mut phone = connected().stands();
    phone.transport = Transport::Tcp(SECOND);
    phone.source = "10.71.2.22:40002".parse().unwrap();
    phone.expected = phone.source;
    let ends = phone.ends();
    phone.agent.reached("tc18", ends);
    phone.agent.bye(phone.now, LEG);
    phone.got_request(Method::Bye);
}
