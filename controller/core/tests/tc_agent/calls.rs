//! A call's begin and end.

use sidestep_core::sip::{Message, Method, Name};
use sidestep_core::tc::TcEvent;

use crate::phone::{ANSWER, LEG, OFFER, Phone, answered, binding};

fn text(message: &Message, name: &'static str) -> String {
    let value = message.header(Name::new(name)).unwrap_or_default();
    String::from_utf8(value.to_vec()).unwrap()
}

#[test]
fn the_tc_is_called_with_the_gateways_offer_steps_304_305() {
    let mut phone = Phone::new();
    let invite = phone.call(Some(OFFER));
    assert_eq!(
        invite.uri(),
        Some(&b"sip:tc18-0x55d0c8@10.71.2.22:5060"[..])
    );
    assert_eq!(invite.from_uri(), b"sip:sidestep@10.71.1.11");
    assert!(invite.from_tag().is_some() && invite.to_tag().is_none());
    assert_eq!(
        invite.contact_uri(),
        Some(&b"sip:sidestep@10.71.1.11:5070"[..])
    );
    assert_eq!(invite.top_via().sent_by, b"10.71.1.11:5070");
    assert_eq!(invite.top_via().rport, Some(None));
    assert!(invite.top_via().branch.unwrap().starts_with(b"z9hG4bKss"));
    assert_eq!(invite.body(), OFFER.as_bytes());
    // All three ways to ask for an automatic answer.
    assert!(text(&invite, "Call-Info").ends_with(";answer-after=0"));
    assert!(text(&invite, "Alert-Info").contains(";info=alert-autoanswer"));
    assert_eq!(text(&invite, "Answer-Mode"), "Auto");

    phone.answer(&invite, 100, None);
    phone.quiet();
    phone.answer(&invite, 180, None);
    phone.answer(&invite, 180, None);
    assert_eq!(phone.event(), Some(TcEvent::Ringing));
    phone.answer(&invite, 200, Some(ANSWER));
    assert_eq!(phone.event(), Some(answered()));
    phone.quiet();
    // The ACK waits for the caller; the 200 comes again meanwhile.
    phone.answer(&invite, 200, Some(ANSWER));
    phone.quiet();
    phone.agent.ack_with(phone.now, LEG, None);
    let ack = phone.got_request(Method::Ack);
    assert_eq!(ack.cseq().0, invite.cseq().0);
    assert_eq!(ack.to_tag(), Some(&b"phone"[..]));
    assert_eq!(ack.from_tag(), invite.from_tag());
    assert_eq!(ack.body(), b"");
    assert_ne!(ack.top_via().branch, invite.top_via().branch);
    // Each 200 that comes again gets the same ACK again, and nothing else.
    for _ in 0..3 {
        phone.answer(&invite, 200, Some(ANSWER));
        assert_eq!(phone.got_request(Method::Ack), ack);
    }
    phone.quiet();
    // And the call stays up.
    phone.wait(3_600_000);
    phone.quiet();
}

#[test]
fn without_an_offer_the_ack_has_the_answer_rfc_3725() {
    let mut phone = Phone::new();
    let invite = phone.call(None);
    assert_eq!((invite.body(), invite.content_type()), (&b""[..], None));
    phone.answer(&invite, 200, Some(ANSWER));
    assert_eq!(phone.event(), Some(answered()));
    phone
        .agent
        .ack_with(phone.now, LEG, Some(OFFER.as_bytes().to_vec()));
    let ack = phone.got_request(Method::Ack);
    assert!(ack.is_sdp());
    assert_eq!(ack.body(), OFFER.as_bytes());
    phone.answer(&invite, 200, Some(ANSWER));
    assert_eq!(phone.got_request(Method::Ack), ack);
}

#[test]
fn a_refusal_ends_the_leg() {
    for status in [302, 401, 407, 415, 486, 488, 503, 603] {
        let mut phone = Phone::new();
        let invite = phone.call(Some(OFFER));
        phone.answer(&invite, status, None);
        let ack = phone.got_request(Method::Ack);
        assert_eq!(ack.top_via().branch, invite.top_via().branch);
        assert_eq!(phone.event(), Some(TcEvent::Refused { status }));
        // Nothing that the caller still says matters.
        phone.agent.ack_with(phone.now, LEG, None);
        phone.agent.bye(phone.now, LEG);
        phone.quiet();
        // The refusal again: the ACK again.
        phone.answer(&invite, status, None);
        assert_eq!(phone.got_request(Method::Ack), ack);
        phone.wait(100_000);
        phone.quiet();
        assert_eq!(phone.agent.poll_timeout(), None, "nothing is left");
    }
}

#[test]
fn an_answer_without_a_description_is_no_answer() {
    for (offer, sdp) in [
        (Some(OFFER), None),
        (None, None),
        (Some(OFFER), Some("rubbish")),
    ] {
        let mut phone = Phone::new();
        let invite = phone.call(offer);
        phone.answer(&invite, 200, sdp);
        phone.got_request(Method::Ack);
        let bye = phone.got_request(Method::Bye);
        assert_eq!(phone.event(), Some(TcEvent::Refused { status: 488 }));
        phone.answer(&bye, 200, None);
        phone.quiet();
    }
}

#[test]
fn a_phone_that_is_silent_does_not_answer_in_time() {
    let mut phone = Phone::new();
    phone.call(Some(OFFER));
    phone.wait(3_999);
    // Timer A: at 0.5, 1.5 and 3.5 s.
    for _ in 0..3 {
        phone.got_request(Method::Invite);
    }
    assert_eq!(phone.event(), None);
    phone.wait(1);
    assert_eq!(phone.event(), Some(TcEvent::NoAnswer));
    // Without a provisional response nothing may be cancelled (§9.1).
    phone.wait(100_000);
    assert!(phone.sent.iter().all(|m| *m.method() == Method::Invite));
    assert_eq!(phone.event(), None);
    assert_eq!(phone.agent.poll_timeout(), None);
}

#[test]
fn a_phone_that_only_rings_is_cancelled() {
    let mut phone = Phone::new();
    let invite = phone.call(Some(OFFER));
    phone.answer(&invite, 180, None);
    assert_eq!(phone.event(), Some(TcEvent::Ringing));
    phone.wait(3_900);
    phone.answer(&invite, 183, None);
    phone.quiet();
    phone.wait(100);
    let cancel = phone.got_request(Method::Cancel);
    assert_eq!(cancel.top_via().branch, invite.top_via().branch);
    assert_eq!(cancel.cseq().0, invite.cseq().0);
    assert_eq!(phone.event(), Some(TcEvent::NoAnswer));
    phone.answer(&cancel, 200, None);
    phone.answer(&invite, 487, None);
    phone.got_request(Method::Ack);
    phone.wait(100_000);
    phone.quiet();
    assert_eq!(phone.agent.poll_timeout(), None);
}

#[test]
fn a_provisional_response_after_the_end_is_cancelled() {
    let mut phone = Phone::new();
    let invite = phone.call(Some(OFFER));
    phone.agent.bye(phone.now, LEG);
    phone.quiet();
    phone.answer(&invite, 180, None);
    phone.got_request(Method::Cancel);
    phone.answer(&invite, 180, None);
    phone.quiet();
}

#[test]
fn a_late_200_is_acknowledged_and_hung_up() {
    for rings in [true, false] {
        let mut phone = Phone::new();
        let invite = phone.call(Some(OFFER));
        if rings {
            phone.answer(&invite, 180, None);
        }
        phone.wait(4_000);
        if rings {
            let cancel = phone.got_request(Method::Cancel);
            phone.answer(&cancel, 200, None);
        }
        phone.sent.clear();
        phone.events.clear();
        // It crosses the CANCEL, or the phone has slept.
        phone.answer(&invite, 200, Some(ANSWER));
        let ack = phone.got_request(Method::Ack);
        let bye = phone.got_request(Method::Bye);
        assert_eq!(bye.to_tag(), Some(&b"phone"[..]));
        assert_eq!(bye.cseq().0, invite.cseq().0 + 1);
        phone.answer(&invite, 200, Some(ANSWER));
        assert_eq!(phone.got_request(Method::Ack), ack);
        phone.answer(&bye, 200, None);
        phone.wait(100_000);
        phone.quiet();
        assert_eq!(phone.agent.poll_timeout(), None);
    }
}

#[test]
fn a_cancel_that_is_never_answered_leaves_nothing() {
    let mut phone = Phone::new();
    let invite = phone.call(Some(OFFER));
    phone.answer(&invite, 180, None);
    phone.agent.bye(phone.now, LEG);
    phone.got_request(Method::Cancel);
    phone.wait(100_000);
    assert!(phone.sent.iter().all(|m| *m.method() == Method::Cancel));
    assert_eq!(phone.agent.poll_timeout(), None);
}

#[test]
fn we_hang_up() {
    let mut phone = Phone::up();
    phone.agent.bye(phone.now, LEG);
    let bye = phone.got_request(Method::Bye);
    phone.wait(600);
    assert_eq!(phone.got_request(Method::Bye), bye, "timer E");
    phone.answer(&bye, 200, None);
    // Its own BYE crosses ours.
    assert_eq!(phone.ask("BYE", ""), 200);
    assert_eq!(phone.ask("INFO", ""), 481);
    phone.wait(100_000);
    phone.quiet();
    assert_eq!(phone.agent.poll_timeout(), None);
}

#[test]
fn we_hang_up_before_the_ack() {
    let mut phone = Phone::new();
    let invite = phone.call(Some(OFFER));
    phone.answer(&invite, 200, Some(ANSWER));
    assert_eq!(phone.event(), Some(answered()));
    phone.agent.bye(phone.now, LEG);
    phone.got_request(Method::Ack);
    phone.got_request(Method::Bye);
    phone.quiet();
}

#[test]
fn the_phone_hangs_up() {
    let mut phone = Phone::up();
    let bye = phone.request("BYE", "");
    phone.deliver(&bye);
    let ok = phone.got();
    assert_eq!(ok.status(), Some(200));
    assert_eq!(phone.event(), Some(TcEvent::Bye));
    // Its BYE again: the same bytes.
    phone.deliver(&bye);
    assert_eq!(phone.got(), ok);
    phone.agent.bye(phone.now, LEG);
    phone.quiet();
}

#[test]
fn the_number_may_be_used_again_at_once() {
    let mut phone = Phone::new();
    let first = phone.call(Some(OFFER));
    phone.answer(&first, 180, None);
    assert_eq!(phone.event(), Some(TcEvent::Ringing));
    // Ends the first.
    phone.agent.invite(phone.now, LEG, &binding(), None);
    phone.got_request(Method::Cancel);
    let second = phone.got_request(Method::Invite);
    assert_ne!(second.call_id(), first.call_id());
    phone.answer(&first, 486, None);
    phone.got_request(Method::Ack);
    phone.quiet();
    phone.answer(&second, 200, Some(ANSWER));
    assert_eq!(phone.event(), Some(answered()));
}

#[test]
fn a_second_fork_is_acknowledged_and_hung_up() {
    let mut phone = Phone::new();
    let invite = phone.call(Some(OFFER));
    phone.answer(&invite, 200, Some(ANSWER));
    assert_eq!(phone.event(), Some(answered()));
    phone.agent.ack_with(phone.now, LEG, None);
    phone.got_request(Method::Ack);
    let fork = sidestep_core::sip::ResponseBuilder::new(&invite, 200, Some("other"))
        .header(Name::CONTACT, "<sip:other@10.71.2.22:5060>")
        .sdp(ANSWER)
        .build();
    phone.deliver(&fork);
    let ack = phone.got_request(Method::Ack);
    assert_eq!(ack.to_tag(), Some(&b"other"[..]));
    let bye = phone.got_request(Method::Bye);
    assert_eq!(bye.uri(), Some(&b"sip:other@10.71.2.22:5060"[..]));
    assert_eq!(bye.to_tag(), Some(&b"other"[..]));
    phone.answer(&bye, 200, None);
    // The first call is not touched.
    phone.wait(100_000);
    phone.quiet();
    assert_eq!(phone.ask("OPTIONS", ""), 200);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let invite = |_| Phone::new().call(Some(OFFER)).bytes().to_vec();
    assert_eq!(invite(1), invite(2));
}
