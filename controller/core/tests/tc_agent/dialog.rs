//! What a dialog keeps: route, target, sequence (RFC 3261 §12).

use sidestep_core::sip::{Method, Name};
use sidestep_core::tc::TcEvent;

use crate::phone::{ANSWER, LEG, OFFER, Phone, answered};

/// Calls; the phone's 200 has these headers more.
fn call_answered_with(headers: &[(Name, &str)], next_hop: &str) -> Phone {
    let mut phone = Phone::new();
    let invite = phone.call(Some(OFFER));
    let mut ok = sidestep_core::sip::ResponseBuilder::new(&invite, 200, Some("phone")).sdp(ANSWER);
    for (name, value) in headers {
        ok = ok.header(*name, value);
    }
    phone.deliver(&ok.build());
    assert_eq!(phone.event(), Some(answered()));
    phone.expected = next_hop.parse().unwrap();
    phone.agent.ack_with(phone.now, LEG, None);
    phone
}

#[test]
fn requests_follow_the_route_set() {
    let headers = [
        (Name::CONTACT, "<sip:tc18@10.71.2.22:5066>"),
        (
            Name::RECORD_ROUTE,
            "<sip:10.9.9.2;lr>, <sip:10.9.9.1:5080;lr>",
        ),
    ];
    let mut phone = call_answered_with(&headers, "10.9.9.1:5080");
    let ack = phone.got_request(Method::Ack);
    assert_eq!(ack.uri(), Some(&b"sip:tc18@10.71.2.22:5066"[..]));
    let routes: Vec<&[u8]> = ack.headers(Name::ROUTE).collect();
    assert_eq!(
        routes,
        [b"<sip:10.9.9.1:5080;lr>".as_slice(), b"<sip:10.9.9.2;lr>"]
    );
}

#[test]
fn a_strict_router_gets_the_request_uri() {
    let headers = [
        (Name::CONTACT, "<sip:tc18@10.71.2.22:5066>"),
        (Name::RECORD_ROUTE, "<sip:10.9.9.2;lr>"),
        (Name::RECORD_ROUTE, "<sip:10.9.9.1>"),
    ];
    let mut phone = call_answered_with(&headers, "10.9.9.1:5060");
    let ack = phone.got_request(Method::Ack);
    assert_eq!(ack.uri(), Some(&b"sip:10.9.9.1"[..]));
    let routes: Vec<&[u8]> = ack.headers(Name::ROUTE).collect();
    assert_eq!(
        routes,
        [
            b"<sip:10.9.9.2;lr>".as_slice(),
            b"<sip:tc18@10.71.2.22:5066>"
        ]
    );
}

#[test]
fn the_target_is_reached_whatever_its_contact_says() {
    let table = [
        // Contact of the 200, Request-URI of the ACK, where it is sent
        (
            "<sip:tc18@10.71.2.22:5077>",
            "sip:tc18@10.71.2.22:5077",
            "10.71.2.22:5077",
        ),
        // Names, private addresses and third parties: where the 200 came from.
        (
            "<sip:tc18@phone.example>",
            "sip:tc18@phone.example",
            "10.71.2.22:5060",
        ),
        (
            "<sip:tc18@192.168.0.9:7>",
            "sip:tc18@192.168.0.9:7",
            "10.71.2.22:5060",
        ),
        // What cannot be a Request-URI changes nothing.
        (
            "<tel:+49>",
            "sip:tc18-0x55d0c8@10.71.2.22:5060",
            "10.71.2.22:5060",
        ),
        ("*", "sip:tc18-0x55d0c8@10.71.2.22:5060", "10.71.2.22:5060"),
    ];
    for (contact, uri, to) in table {
        let mut phone = call_answered_with(&[(Name::CONTACT, contact)], to);
        let ack = phone.got_request(Method::Ack);
        assert_eq!(ack.uri(), Some(uri.as_bytes()), "{contact}");
    }
    let mut phone = call_answered_with(&[], "10.71.2.22:5060");
    let ack = phone.got_request(Method::Ack);
    assert_eq!(ack.uri(), Some(&b"sip:tc18-0x55d0c8@10.71.2.22:5060"[..]));
}

#[test]
fn a_target_refresh_moves_the_target() {
    let mut phone = Phone::up();
    let moved = "Contact: <sip:tc18@10.71.2.22:5099>\r\n";
    assert_eq!(phone.ask("UPDATE", moved), 200);
    phone.expected = "10.71.2.22:5099".parse().unwrap();
    phone.agent.bye(phone.now, LEG);
    let bye = phone.got_request(Method::Bye);
    assert_eq!(bye.uri(), Some(&b"sip:tc18@10.71.2.22:5099"[..]));
    // INFO is none.
    let mut phone = Phone::up();
    assert_eq!(phone.ask("INFO", moved), 200);
    phone.agent.bye(phone.now, LEG);
    phone.got_request(Method::Bye);
}

#[test]
fn a_lower_cseq_is_refused_and_changes_nothing() {
    let mut phone = Phone::up();
    let first = phone.request_numbered("OPTIONS", 50, "");
    phone.deliver(&first);
    assert_eq!(phone.got_status(), 200);
    for number in [50, 49, 0] {
        let bye = phone.request_numbered("BYE", number, "");
        phone.deliver(&bye);
        assert_eq!(phone.got_status(), 500);
        phone.quiet();
    }
    // A retransmission is none: the same bytes.
    phone.deliver(&first);
    assert_eq!(phone.got_status(), 200);
    // A gap is allowed.
    let bye = phone.request_numbered("BYE", 1000, "");
    phone.deliver(&bye);
    assert_eq!(phone.got_status(), 200);
    assert_eq!(phone.event(), Some(TcEvent::Bye));
}

#[test]
fn tags_tell_dialogs_apart() {
    let mut phone = Phone::up();
    let bye = String::from_utf8(phone.request("BYE", "")).unwrap();
    for (from, to) in [
        (";tag=phone", ";tag=other"),
        (";tag=phone", ""),
        ("Call-ID: ", "Call-ID: x"),
        (
            "sip:sidestep@10.71.1.11>;tag=",
            "sip:sidestep@10.71.1.11>;tag=x",
        ),
    ] {
        let stray = bye.replace(from, to);
        assert_ne!(stray, bye);
        phone.deliver(stray.as_bytes());
        assert_eq!(phone.got_status(), 481, "{to}");
    }
    phone.quiet();
    phone.deliver(bye.as_bytes());
    assert_eq!(phone.got_status(), 200);
}

#[test]
fn what_a_phone_says_in_a_call() {
    let table = [
        ("OPTIONS", "", 200),
        (
            "INFO",
            "Content-Type: application/dtmf-relay\r\n\r\nSignal=1\r\n",
            200,
        ),
        ("MESSAGE", "Content-Type: text/plain\r\n\r\nhello", 200),
        ("NOTIFY", "Event: refer\r\n", 200),
        ("UPDATE", "", 200),
        ("PRACK", "RAck: 1 1 INVITE\r\n", 481),
        ("REFER", "Refer-To: <sip:x@y>\r\n", 405),
        ("SUBSCRIBE", "Event: x\r\n", 405),
        ("PUBLISH", "", 405),
        ("FLY", "", 501),
        ("INVITE", "Require: 100rel\r\n", 420),
        ("INVITE", "Content-Type: text/plain\r\n\r\nhello", 415),
        ("INVITE", "Content-Type: application/sdp\r\n\r\nhello", 400),
        ("UPDATE", "Content-Type: application/sdp\r\n\r\nhello", 400),
        ("CANCEL", "", 481),
    ];
    for (method, lines, status) in table {
        let mut phone = Phone::up();
        assert_eq!(phone.ask(method, lines), status, "{method} {lines}");
        phone.quiet();
        // The call stands.
        phone.wait(100_000);
        phone.sent.clear();
        assert_eq!(phone.ask("OPTIONS", ""), 200);
        assert_eq!(phone.event(), None);
    }
    let mut phone = Phone::up();
    let options = phone.request("OPTIONS", "");
    phone.deliver(&options);
    let ok = phone.got();
    assert!(ok.header(Name::ALLOW).is_some());
    assert_eq!(ok.top_via().rport, Some(Some(5060)));
    // A registration is not for this agent.
    let register = phone.request("REGISTER", "");
    assert!(!phone.deliver(&register));
    phone.quiet();
}
