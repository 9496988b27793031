//! Transactions of H.248.1 Annex D.1 between two associations, over a link that
//! loses and repeats what it is told to.

use std::net::Ipv4Addr;
use std::time::Duration;

use sidestep_core::h248::model::{
    ActionRequest, CommandKind, CommandRequest, ContextId, ContextProperties, ErrorDescriptor, Mid,
    ReplyResult, Span, TerminationId, Transaction,
};
use sidestep_core::h248::transaction::{
    Association, Expired, FIRST_REPEAT, Incoming, LONG_TIMER, LONGEST_REPEAT, Voice,
};
use sidestep_core::h248::{Encoding, text};
use sidestep_core::time::Time;

fn at(ms: u64) -> Time {
    Time::from_origin(Duration::from_millis(ms))
}

fn association(last: u8, reliable: bool) -> Association<&'static str> {
    let voice = Voice {
        mid: Mid::Ip {
            address: Ipv4Addr::new(192, 0, 2, last).into(),
            port: None,
        },
        version: 1,
        encoding: Encoding::Compact,
    };
    Association::new(voice, reliable, 100)
}

fn subtract() -> Vec<ActionRequest<'static>> {
    vec![ActionRequest {
        context: ContextId(7),
        properties: ContextProperties::default(),
        audit: None,
        commands: vec![CommandRequest {
            optional: false,
            wildcard_response: false,
            kind: CommandKind::Subtract,
            terminations: vec![TerminationId::Path("t1".into())],
            descriptors: Vec::new(),
            span: Span::default(),
        }],
        context_span: Span::default(),
    }]
}

fn done() -> ReplyResult<'static> {
    ReplyResult::Actions(Vec::new())
}

fn refused() -> ReplyResult<'static> {
    ReplyResult::Error(ErrorDescriptor {
        code: 501,
        text: None,
    })
}

fn sent(association: &mut Association<&'static str>) -> Vec<String> {
    std::iter::from_fn(|| association.poll_outgoing())
        .map(|message| String::from_utf8(message).unwrap().trim_end().to_owned())
        .collect()
}

fn hears(
    association: &mut Association<&'static str>,
    now: Time,
    message: &str,
) -> Vec<Incoming<&'static str>> {
    association.handle(now, &text::parse(message.as_bytes()).unwrap())
}

#[test]
fn a_request_is_repeated_ever_more_rarely_until_it_is_given_up() {
    let mut controller = association(1, false);
    controller.request(at(0), subtract(), "s");
    let first = sent(&mut controller);
    assert_eq!(first, ["!/1 [192.0.2.1] T=100{C=7{S=t1}}"]);
    let mut times = Vec::new();
    let expired = loop {
        let now = controller.next_timeout().unwrap();
        let expired = controller.handle_timeout(now);
        if !expired.is_empty() {
            assert_eq!(now, at(0) + LONG_TIMER);
            break expired;
        }
        assert_eq!(sent(&mut controller), first);
        times.push(now.since_origin().as_millis());
    };
    assert_eq!(expired, [Expired::Request("s")]);
    assert_eq!(times[..5], [500, 1500, 3500, 7500, 11500]);
    assert!(controller.is_empty() && controller.next_timeout().is_none());
    assert!(FIRST_REPEAT < LONGEST_REPEAT);
}

#[test]
fn over_tcp_nothing_is_repeated() {
    let mut controller = association(1, true);
    controller.request(at(0), subtract(), "s");
    assert_eq!(sent(&mut controller).len(), 1);
    assert_eq!(controller.next_timeout(), Some(at(0) + LONG_TIMER));
    assert_eq!(
        controller.handle_timeout(at(0) + LONG_TIMER),
        [Expired::Request("s")]
    );
    assert!(sent(&mut controller).is_empty());
}

#[test]
fn the_first_repeat_follows_the_measured_round_trip() {
    let mut controller = association(1, false);
    for (start, id) in [
        (0, 100),
        (1_000, 101),
        (2_000, 102),
        (3_000, 103),
        (4_000, 104),
    ] {
        assert_eq!(controller.request(at(start), subtract(), "s"), id);
        let came = hears(
            &mut controller,
            at(start + 40),
            &format!("!/1 <g> P={id}{{C=7{{S=t1}}}}"),
        );
        assert_eq!(
            came,
            [Incoming::Reply {
                user: "s",
                index: 0,
                complete: true
            }]
        );
    }
    controller.request(at(10_000), subtract(), "s");
    let next = controller.next_timeout().unwrap();
    assert!(next <= at(10_110), "{next:?}");
}

#[test]
fn a_request_that_comes_again_is_done_once_and_answered_alike() {
    let mut gateway = association(2, false);
    let request = "!/1 <c> T=5{C=7{S=t1}}";
    assert_eq!(
        hears(&mut gateway, at(0), request),
        [Incoming::Request { id: 5, index: 0 }]
    );
    gateway.reply(at(10), 5, refused());
    let reply = sent(&mut gateway);
    assert_eq!(reply, ["!/1 [192.0.2.2] P=5{ER=501{}}"]);
    for again in [500, 1_500, 29_000] {
        assert_eq!(hears(&mut gateway, at(again), request), []);
        assert_eq!(sent(&mut gateway), reply);
    }
    // A second reply is none.
    gateway.reply(at(29_000), 5, done());
    assert!(sent(&mut gateway).is_empty());
    // After the long timer the id may be used again.
    assert_eq!(gateway.next_timeout(), Some(at(10) + LONG_TIMER));
    assert_eq!(gateway.handle_timeout(at(10) + LONG_TIMER), []);
    assert_eq!(
        hears(&mut gateway, at(40_000), request),
        [Incoming::Request { id: 5, index: 0 }]
    );
}

#[test]
fn a_request_that_takes_long_is_pending_and_its_reply_acknowledged() {
    let mut controller = association(1, false);
    let mut gateway = association(2, false);
    controller.request(at(0), subtract(), "s");
    let request = sent(&mut controller).remove(0);
    hears(&mut gateway, at(20), &request);
    // It comes again before it is done: pending, once for each.
    assert_eq!(hears(&mut gateway, at(520), &request), []);
    let pending = sent(&mut gateway);
    assert_eq!(pending, ["!/1 [192.0.2.2] PN=100{}"]);
    assert_eq!(
        hears(&mut controller, at(540), &pending[0]),
        [Incoming::Pending { user: "s" }]
    );
    // The controller asks again rarely, and is patient.
    assert_eq!(controller.next_timeout(), Some(at(540) + LONGEST_REPEAT));

    gateway.reply(at(3_000), 100, done());
    let reply = sent(&mut gateway);
    assert_eq!(reply, ["!/1 [192.0.2.2] P=100{IA}"]);
    // It is lost, and repeated until its acknowledgement comes.
    let again = gateway.next_timeout().unwrap();
    assert!(again <= at(3_500));
    assert_eq!(gateway.handle_timeout(again), []);
    assert_eq!(sent(&mut gateway), reply);
    assert_eq!(
        hears(&mut controller, at(3_600), &reply[0]),
        [Incoming::Reply {
            user: "s",
            index: 0,
            complete: true
        }]
    );
    let acknowledgement = sent(&mut controller);
    assert_eq!(acknowledgement, ["!/1 [192.0.2.1] K{100}"]);
    // The acknowledgement is lost: the next copy is acknowledged, and no more.
    assert_eq!(hears(&mut controller, at(4_600), &reply[0]), []);
    assert_eq!(sent(&mut controller), acknowledgement);
    hears(&mut gateway, at(4_620), &acknowledgement[0]);
    assert_eq!(gateway.next_timeout(), Some(at(3_000) + LONG_TIMER));
    // A late copy of the request finds it done, and is not answered.
    assert_eq!(hears(&mut gateway, at(5_000), &request), []);
    assert!(sent(&mut gateway).is_empty());
    assert_eq!(gateway.handle_timeout(at(40_000)), []);
    assert!(gateway.is_empty() && controller.is_empty());
}

#[test]
fn a_reply_that_is_never_acknowledged_is_told() {
    let mut gateway = association(2, false);
    hears(&mut gateway, at(0), "!/1 <c> T=5{C=7{S=t1}}");
    gateway.pending(5);
    gateway.reply(at(0), 5, done());
    let mut replies = 0;
    loop {
        replies += sent(&mut gateway).len();
        let now = gateway.next_timeout().unwrap();
        let expired = gateway.handle_timeout(now);
        if !expired.is_empty() {
            assert_eq!(expired, [Expired::Acknowledgement(5)]);
            break;
        }
    }
    assert!((8..15).contains(&replies), "{replies}");
}

#[test]
fn ranges_acknowledge_what_was_answered() {
    let mut gateway = association(2, false);
    for id in 5..9 {
        hears(
            &mut gateway,
            at(0),
            &format!("!/1 <c> T={id}{{C=7{{S=t1}}}}"),
        );
        gateway.pending(id);
        gateway.reply(at(0), id, done());
    }
    sent(&mut gateway);
    hears(&mut gateway, at(10), "!/1 <c> K{5,7-8,9-3}");
    gateway.handle_timeout(at(600));
    assert_eq!(sent(&mut gateway), ["!/1 [192.0.2.2] P=6{IA}"]);
}

#[test]
fn a_reply_in_segments_is_whole_when_all_have_come() {
    let mut controller = association(1, false);
    controller.request(at(0), subtract(), "s");
    sent(&mut controller);
    let reply = |complete| {
        vec![Incoming::Reply {
            user: "s",
            index: 0,
            complete,
        }]
    };
    for (message, expected, answer) in [
        ("P=100/1{C=7{S=t1}}", reply(false), "SM=100/1"),
        ("P=100/1{C=7{S=t1}}", vec![], "SM=100/1"),
        ("P=100/3/&{C=7{S=t3}}", reply(false), "SM=100/3/&"),
        ("P=100/2{C=7{S=t2}}", reply(true), "SM=100/2"),
    ] {
        let came = hears(&mut controller, at(100), &format!("!/3 <g> {message}"));
        assert_eq!(came, expected, "{message}");
        assert_eq!(
            sent(&mut controller),
            [format!("!/1 [192.0.2.1] {answer}")],
            "{message}"
        );
    }
    assert!(controller.is_empty());
}

#[test]
fn what_nobody_asked_for_is_nobodys() {
    let mut controller = association(1, false);
    for message in ["P=1{C=7}", "PN=1{}", "K{1}", "SM=1/1", "P=1/1/&{C=7}"] {
        assert_eq!(
            hears(&mut controller, at(0), &format!("!/3 <g> {message}")),
            []
        );
    }
    assert!(controller.is_empty());
    // But a reply that asks for it is acknowledged, for its sender's sake.
    sent(&mut controller);
    hears(&mut controller, at(0), "!/1 <g> P=9{IA,C=7}");
    assert_eq!(sent(&mut controller), ["!/1 [192.0.2.1] K{9}"]);
}

#[test]
fn ids_go_round_without_0() {
    let voice = association(1, false).voice().clone();
    let mut controller = Association::new(voice, false, u32::MAX);
    assert_eq!(controller.request(at(0), subtract(), "a"), u32::MAX);
    assert_eq!(controller.request(at(0), subtract(), "b"), 1);
    controller.abandon(u32::MAX);
    let message = controller.poll_outgoing().unwrap();
    let message = text::parse(&message).unwrap();
    assert!(matches!(
        message.transactions(),
        [Transaction::Request(request)] if request.id == u32::MAX
    ));
    assert_eq!(controller.len(), 1);
}

/// Two that ask each other over a link that loses every third message and repeats
/// every fifth: all is done exactly once.
#[test]
fn over_a_bad_link_everything_is_done_exactly_once() {
    let mut ends = [association(1, false), association(2, false)];
    let mut done = [Vec::new(), Vec::new()];
    let mut answered = [0, 0];
    let mut number = 0_u32;
    for (index, end) in ends.iter_mut().enumerate() {
        for _ in 0..20 {
            end.request(at(index as u64), subtract(), "s");
        }
    }
    let mut now = at(1);
    loop {
        for index in 0..2 {
            while let Some(message) = ends[index].poll_outgoing() {
                number += 1;
                let copies = match number {
                    n if n % 3 == 0 => 0,
                    n if n % 5 == 0 => 2,
                    _ => 1,
                };
                for _ in 0..copies {
                    let message = text::parse(&message).unwrap();
                    for incoming in ends[1 - index].handle(now, &message) {
                        match incoming {
                            Incoming::Request { id, .. } => {
                                done[1 - index].push(id);
                                if id % 4 == 0 {
                                    ends[1 - index].pending(id);
                                }
                                ends[1 - index].reply(now, id, refused());
                            }
                            Incoming::Reply { .. } => answered[1 - index] += 1,
                            Incoming::Pending { .. } => {}
                        }
                    }
                }
            }
        }
        let idle = ends.iter_mut().all(|end| end.is_empty());
        if idle {
            break;
        }
        let next = ends.iter().filter_map(|end| end.next_timeout()).min();
        if let Some(next) = next {
            now = now.max(next);
        }
        for end in &mut ends {
            assert_eq!(end.handle_timeout(now), []);
        }
    }
    let all: Vec<u32> = (100..120).collect();
    for mut done in done {
        done.sort_unstable();
        assert_eq!(done, all);
    }
    assert_eq!(answered, [20, 20]);
}
