//! Offers and answers while the call stands (RFC 3261 §14, RFC 3264, RFC 3311).

use std::time::Duration;

use sidestep_core::sip::{Message, Method, Name};
use sidestep_core::tc::TcEvent;

use crate::phone::{ANSWER, LEG, OFFER, Phone, answered, body};

fn sdp(port: u16) -> String {
    OFFER.replace("30000", &port.to_string())
}

fn offer(phone: &mut Phone, port: u16) {
    let sdp = sdp(port).into_bytes();
    phone.agent.reinvite(phone.now, LEG, sdp);
}

fn reinvited(port: u16) -> Option<TcEvent> {
    Some(TcEvent::Reinvite {
        sdp: Some(sdp(port).into_bytes()),
    })
}

#[test]
fn we_offer_again() {
    let mut phone = Phone::up();
    offer(&mut phone, 30002);
    let invite = phone.got_request(Method::Invite);
    assert_eq!(invite.to_tag(), Some(&b"phone"[..]));
    assert_eq!(invite.cseq().0, 2);
    assert_eq!(invite.body(), sdp(30002).as_bytes());
    assert_eq!(invite.header(Name::new("Call-Info")), None);
    phone.answer(&invite, 100, None);
    phone.answer(&invite, 180, None);
    phone.quiet();
    phone.answer(&invite, 200, Some(ANSWER));
    assert_eq!(phone.event(), Some(answered()));
    phone.agent.ack_with(phone.now, LEG, None);
    let ack = phone.got_request(Method::Ack);
    assert_eq!(ack.cseq().0, 2);
    phone.answer(&invite, 200, Some(ANSWER));
    assert_eq!(phone.got_request(Method::Ack), ack);
}

#[test]
fn of_the_offers_that_wait_the_newest_is_made() {
    let mut phone = Phone::up();
    for port in [30002, 30004, 30006] {
        offer(&mut phone, port);
    }
    let first = phone.got_request(Method::Invite);
    phone.quiet();
    phone.answer(&first, 200, Some(ANSWER));
    assert_eq!(phone.event(), Some(answered()));
    phone.quiet();
    phone.agent.ack_with(phone.now, LEG, None);
    phone.got_request(Method::Ack);
    let second = phone.got_request(Method::Invite);
    assert_eq!(second.body(), sdp(30006).as_bytes());
}

#[test]
fn an_offer_before_the_ack_waits_for_it() {
    let mut phone = Phone::new();
    let invite = phone.call(None);
    offer(&mut phone, 30002);
    phone.answer(&invite, 200, Some(ANSWER));
    assert_eq!(phone.event(), Some(answered()));
    phone.quiet();
    phone.agent.ack_with(phone.now, LEG, Some(OFFER.into()));
    phone.got_request(Method::Ack);
    assert_eq!(
        phone.got_request(Method::Invite).body(),
        sdp(30002).as_bytes()
    );
}

#[test]
fn a_refused_offer_leaves_the_session_as_it_was() {
    for status in [488, 415, 500, 603] {
        let mut phone = Phone::up();
        offer(&mut phone, 30002);
        let invite = phone.got_request(Method::Invite);
        phone.answer(&invite, status, None);
        phone.got_request(Method::Ack);
        assert_eq!(phone.event(), Some(TcEvent::Refused { status }));
        assert_eq!(phone.ask("OPTIONS", ""), 200);
        offer(&mut phone, 30004);
        phone.got_request(Method::Invite);
    }
}

#[test]
fn a_dialog_that_the_phone_has_lost_is_over() {
    for status in [481, 408] {
        let mut phone = Phone::up();
        offer(&mut phone, 30002);
        let invite = phone.got_request(Method::Invite);
        phone.answer(&invite, status, None);
        phone.got_request(Method::Ack);
        phone.got_request(Method::Bye);
        assert_eq!(phone.event(), Some(TcEvent::Lost));
    }
}

#[test]
fn a_phone_that_does_not_answer_an_offer_is_lost() {
    for rings in [false, true] {
        let mut phone = Phone::up();
        offer(&mut phone, 30002);
        let invite = phone.got_request(Method::Invite);
        if rings {
            phone.answer(&invite, 180, None);
        }
        phone.wait(3_999);
        assert_eq!(phone.event(), None);
        phone.sent.clear();
        phone.wait(1);
        if rings {
            phone.got_request(Method::Cancel);
        }
        phone.got_request(Method::Bye);
        assert_eq!(phone.event(), Some(TcEvent::Lost));
        // Its 200 comes after all.
        phone.sent.clear();
        phone.answer(&invite, 200, Some(ANSWER));
        phone.got_request(Method::Ack);
        phone.quiet();
    }
}

#[test]
fn the_phone_offers() {
    let mut phone = Phone::up();
    let invite = phone.request("INVITE", &body(&sdp(20002)));
    phone.deliver(&invite);
    assert_eq!(phone.got_status(), 100);
    assert_eq!(phone.event(), reinvited(20002));
    phone.deliver(&invite);
    assert_eq!(phone.got_status(), 100);
    phone.quiet();
    phone
        .agent
        .answer_reinvite(phone.now, LEG, Ok(sdp(30002).into()));
    let ok = phone.got();
    assert_eq!((ok.status(), ok.body()), (Some(200), sdp(30002).as_bytes()));
    assert_eq!(ok.contact_uri(), Some(&b"sip:sidestep@10.71.1.11:5070"[..]));
    // Until its ACK the 200 is repeated: T1, doubling to T2.
    let mut intervals = Vec::new();
    let start = phone.now;
    while phone.now < start + Duration::from_millis(16_000) {
        phone.wait(100);
        if let Some(again) = phone.sent.pop_front() {
            assert_eq!(again, ok);
            intervals.push((phone.now - start).as_millis());
        }
    }
    assert_eq!(intervals, [500, 1500, 3500, 7500, 11500, 15500]);
    let cseq = Message::parse(&invite).unwrap().cseq().0;
    let ack = phone.request_numbered("ACK", cseq, "");
    phone.deliver(&ack);
    phone.wait(100_000);
    phone.quiet();
    // And it may offer again, as we may.
    assert_eq!(phone.ask("INVITE", &body(&sdp(20004))), 100);
    assert_eq!(phone.event(), reinvited(20004));
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_the_leg() {
    let mut phone = Phone::up();
    phone.ask("INVITE", &body(&sdp(20002)));
    phone.events.clear();
    phone
        .agent
        .answer_reinvite(phone.now, LEG, Ok(sdp(30002).into()));
    phone.wait(31_999);
    assert_eq!(phone.event(), None);
    phone.sent.clear();
    phone.wait(1);
    phone.got_request(Method::Bye);
    assert_eq!(phone.event(), Some(TcEvent::Lost));
}

#[test]
fn the_phone_asks_for_our_offer() {
    let mut phone = Phone::up();
    let invite = phone.request("INVITE", "");
    phone.deliver(&invite);
    assert_eq!(phone.got_status(), 100);
    assert_eq!(phone.event(), Some(TcEvent::Reinvite { sdp: None }));
    phone
        .agent
        .answer_reinvite(phone.now, LEG, Ok(sdp(30002).into()));
    assert_eq!(phone.got_status(), 200);
    let cseq = Message::parse(&invite).unwrap().cseq().0;
    // Another ACK is not it.
    let stray = phone.request_numbered("ACK", cseq - 1, &body(ANSWER));
    phone.deliver(&stray);
    phone.quiet();
    let ack = phone.request_numbered("ACK", cseq, &body(ANSWER));
    phone.deliver(&ack);
    assert_eq!(phone.event(), Some(answered()));
    phone.deliver(&ack);
    phone.quiet();

    // An ACK without the answer: no session can come of it.
    let mut phone = Phone::up();
    let invite = phone.request("INVITE", "");
    phone.deliver(&invite);
    phone
        .agent
        .answer_reinvite(phone.now, LEG, Ok(sdp(30002).into()));
    phone.pump();
    phone.sent.clear();
    phone.events.clear();
    let cseq = Message::parse(&invite).unwrap().cseq().0;
    let ack = phone.request_numbered("ACK", cseq, "");
    phone.deliver(&ack);
    phone.got_request(Method::Bye);
    assert_eq!(phone.event(), Some(TcEvent::Lost));
}

#[test]
fn we_refuse_the_phones_offer() {
    for (asked, status) in [(488, 488), (491, 491), (200, 488), (999, 488)] {
        let mut phone = Phone::up();
        let invite = phone.request("INVITE", &body(&sdp(20002)));
        phone.deliver(&invite);
        phone.got_status();
        phone.events.clear();
        phone.agent.answer_reinvite(phone.now, LEG, Err(asked));
        assert_eq!(phone.got_status(), status);
        // Timer G, until the ACK.
        phone.wait(500);
        assert_eq!(phone.got_status(), status);
        let ack = String::from_utf8(invite).unwrap();
        let ack = ack
            .replace("INVITE sip", "ACK sip")
            .replace(" INVITE\r\n", " ACK\r\n");
        phone.deliver(ack.as_bytes());
        phone.wait(100_000);
        phone.quiet();
        assert_eq!(phone.ask("OPTIONS", ""), 200);
    }
}

#[test]
fn a_caller_without_a_word_does_not_leave_the_phone_waiting() {
    for method in ["INVITE", "UPDATE"] {
        let mut phone = Phone::up();
        let asked = phone.request(method, &body(&sdp(20002)));
        phone.deliver(&asked);
        phone.wait(31_999);
        phone.sent.clear();
        phone.wait(1);
        assert_eq!(phone.got_status(), 500);
        phone.sent.clear();
        // It may offer again; an answer that comes now is of no use.
        phone.events.clear();
        let answer = Ok(sdp(30002).into());
        phone.agent.answer_reinvite(phone.now, LEG, answer);
        phone.quiet();
        let again = phone.request(method, &body(&sdp(20004)));
        phone.deliver(&again);
        assert_eq!(phone.event(), reinvited(20004));
    }
}

#[test]
fn an_update_with_an_offer_is_answered_at_once() {
    let mut phone = Phone::up();
    let update = phone.request("UPDATE", &body(&sdp(20002)));
    phone.deliver(&update);
    assert_eq!(phone.event(), reinvited(20002));
    phone.quiet();
    phone
        .agent
        .answer_reinvite(phone.now, LEG, Ok(sdp(30002).into()));
    let ok = phone.got();
    assert_eq!((ok.status(), ok.body()), (Some(200), sdp(30002).as_bytes()));
    // It needs no ACK.
    phone.wait(100_000);
    phone.quiet();
    offer(&mut phone, 30004);
    phone.got_request(Method::Invite);
}

#[test]
fn our_offer_waits_while_the_phones_is_open() {
    let mut phone = Phone::up();
    let invite = phone.request("INVITE", &body(&sdp(20002)));
    phone.deliver(&invite);
    phone.got_status();
    phone.events.clear();
    offer(&mut phone, 30002);
    phone.quiet();
    phone
        .agent
        .answer_reinvite(phone.now, LEG, Ok(sdp(30000).into()));
    assert_eq!(phone.got_status(), 200);
    phone.quiet();
    let cseq = Message::parse(&invite).unwrap().cseq().0;
    let ack = phone.request_numbered("ACK", cseq, "");
    phone.deliver(&ack);
    assert_eq!(
        phone.got_request(Method::Invite).body(),
        sdp(30002).as_bytes()
    );
}

#[test]
fn a_second_offer_of_the_phone_waits_its_turn() {
    let mut phone = Phone::up();
    phone.ask("INVITE", &body(&sdp(20002)));
    phone.events.clear();
    let second = phone.request("INVITE", &body(&sdp(20004)));
    phone.deliver(&second);
    let refused = phone.got();
    assert_eq!(refused.status(), Some(500));
    let after = refused.header(Name::RETRY_AFTER).expect("when again");
    let after: u32 = std::str::from_utf8(after).unwrap().parse().unwrap();
    assert!(after <= 10);
    assert_eq!(phone.event(), None);
}

#[test]
fn glare() {
    // The phone's offer meets ours: 491 to it.
    let mut phone = Phone::up();
    offer(&mut phone, 30002);
    let ours = phone.got_request(Method::Invite);
    assert_eq!(phone.ask("INVITE", &body(&sdp(20002))), 491);
    assert_eq!(phone.ask("UPDATE", &body(&sdp(20002))), 491);
    // And ours meets its: 491 to us.
    phone.sent.clear();
    phone.answer(&ours, 491, None);
    phone.got_request(Method::Ack);
    // We own the Call-ID: again after 2.1 to 4 s (§14.1).
    phone.wait(2_099);
    assert!(phone.sent.iter().all(|message| !message.is_request()));
    assert_eq!(phone.event(), None);
    phone.wait(1_901);
    phone.sent.retain(Message::is_request);
    let again = phone.got_request(Method::Invite);
    assert_eq!(again.body(), sdp(30002).as_bytes());
    assert_eq!(again.cseq().0, ours.cseq().0 + 1);
    phone.answer(&again, 200, Some(ANSWER));
    assert_eq!(phone.event(), Some(answered()));
}

#[test]
fn the_pause_after_a_glare_is_one_of_rfc_3261s() {
    let mut pauses: Vec<u64> = (0..=255)
        .map(|seed| {
            let mut phone = Phone::with_seed(seed).stands();
            offer(&mut phone, 30002);
            let ours = phone.got_request(Method::Invite);
            phone.answer(&ours, 491, None);
            phone.got_request(Method::Ack);
            let mut pause = 0;
            while phone.sent.is_empty() {
                phone.wait(10);
                pause += 10;
            }
            pause
        })
        .collect();
    pauses.sort_unstable();
    let (first, last) = (pauses[0], pauses[255]);
    assert!((2_100..2_150).contains(&first), "{first} ms");
    assert!((3_950..=4_000).contains(&last), "{last} ms");
}

#[test]
fn in_the_pause_after_a_glare_the_phone_may_offer() {
    let mut phone = Phone::up();
    offer(&mut phone, 30002);
    let ours = phone.got_request(Method::Invite);
    phone.answer(&ours, 491, None);
    phone.got_request(Method::Ack);
    let theirs = phone.request("INVITE", &body(&sdp(20002)));
    phone.deliver(&theirs);
    assert_eq!(phone.got_status(), 100);
    assert_eq!(phone.event(), reinvited(20002));
    phone
        .agent
        .answer_reinvite(phone.now, LEG, Ok(sdp(30000).into()));
    assert_eq!(phone.got_status(), 200);
    let cseq = Message::parse(&theirs).unwrap().cseq().0;
    let ack = phone.request_numbered("ACK", cseq, "");
    phone.deliver(&ack);
    // Ours is made then.
    assert_eq!(
        phone.got_request(Method::Invite).body(),
        sdp(30002).as_bytes()
    );
}

#[test]
fn a_glare_without_end_is_a_refusal() {
    let mut phone = Phone::up();
    offer(&mut phone, 30002);
    let mut sent = 0;
    while phone.events.is_empty() {
        let invite = phone.got_request(Method::Invite);
        sent += 1;
        phone.sent.clear();
        phone.answer(&invite, 491, None);
        phone.got_request(Method::Ack);
        phone.wait(4_000);
    }
    assert_eq!(sent, 6);
    assert_eq!(phone.event(), Some(TcEvent::Refused { status: 491 }));
    assert_eq!(phone.ask("OPTIONS", ""), 200);
}

#[test]
fn a_cancelled_offer_still_gets_its_answer() {
    let mut phone = Phone::up();
    let invite = phone.request("INVITE", &body(&sdp(20002)));
    phone.deliver(&invite);
    phone.got_status();
    phone.events.clear();
    let cancel = String::from_utf8(invite).unwrap();
    let cancel = cancel
        .replace("INVITE sip", "CANCEL sip")
        .replace(" INVITE\r\n", " CANCEL\r\n");
    phone.deliver(cancel.as_bytes());
    assert_eq!(phone.got_status(), 200);
    phone
        .agent
        .answer_reinvite(phone.now, LEG, Ok(sdp(30002).into()));
    assert_eq!(phone.got_status(), 200);
    phone.quiet();
}

#[test]
fn hanging_up_while_an_offer_is_open() {
    // Ours: the BYE goes, and a late 200 is acknowledged.
    let mut phone = Phone::up();
    offer(&mut phone, 30002);
    let invite = phone.got_request(Method::Invite);
    phone.agent.bye(phone.now, LEG);
    phone.got_request(Method::Bye);
    phone.answer(&invite, 200, Some(ANSWER));
    phone.got_request(Method::Ack);
    phone.quiet();
    // The phone's: 487 to it.
    let mut phone = Phone::up();
    phone.ask("INVITE", &body(&sdp(20002)));
    phone.agent.bye(phone.now, LEG);
    assert_eq!(phone.got_status(), 487);
    phone.got_request(Method::Bye);
    // And when it hangs up itself.
    let mut phone = Phone::up();
    phone.ask("INVITE", &body(&sdp(20002)));
    phone.events.clear();
    let bye = phone.request("BYE", "");
    phone.deliver(&bye);
    assert_eq!(phone.got_status(), 487);
    assert_eq!(phone.got_status(), 200);
    assert_eq!(phone.event(), Some(TcEvent::Bye));
}
