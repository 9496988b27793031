//! H.248 thin clients: the thin client's side of Fig. 5 and Fig. 6, step by step.
//! What the agent sends is compared in the compact form of Annex B, without the
//! head; what it is sent is written in either.

use sidestep_core::engine::{Event, Protocol};
use sidestep_core::h248::model::{Body, Transaction};
use sidestep_core::h248::{self, Encoding};
use sidestep_core::registrar::{Access, Signalling};
use sidestep_core::tc::{CallProgress, TcEvent};

use super::bench::*;

const HEAD: &str = "!/1 [10.71.1.11]:5070 ";

fn access(termination: Option<&str>) -> Access {
    Access::H248 {
        mid: "[10.71.2.21]:2944".into(),
        termination: termination.map(str::to_owned),
        from: office(),
    }
}

pub fn bench() -> Bench {
    let mut bench = Bench::new(Protocol::H248, access(None), 3);
    bench.source = address("10.71.2.21:2944");
    bench
}

/// The next request: its number, and its actions in compact form.
pub fn got(bench: &mut Bench) -> (u32, String) {
    let bytes = bench.got();
    let message = h248::parse(&bytes).unwrap_or_else(|e| panic!("{e}: {}", text(&bytes)));
    let Body::Transactions(transactions) = &message.body else {
        panic!("{}", text(&bytes));
    };
    let [Transaction::Request(request)] = transactions.as_slice() else {
        panic!("a request, not {}", text(&bytes));
    };
    let id = request.id;
    let compact = text(&h248::write(&message, Encoding::Compact));
    let actions = compact
        .trim_end()
        .strip_prefix(&format!("{HEAD}T={id}{{"))
        .and_then(|rest| rest.strip_suffix('}'));
    let actions = actions.unwrap_or_else(|| panic!("another head: {compact}"));
    (id, without_request_ids(actions))
}

/// `E=123{` has a number that the agent draws: it shows as `E=#{`.
fn without_request_ids(text: &str) -> String {
    let mut parts = text.split("E=");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += "E=#";
        out += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out
}

pub fn expect(bench: &mut Bench, actions: &str) -> u32 {
    let (id, got) = got(bench);
    assert_eq!(got, actions);
    id
}

/// A reply, in the words of Annex B.
pub fn reply(bench: &mut Bench, id: u32, actions: &str) {
    bench.hear(format!("!/1 [10.71.2.21]:2944 P={id}{{{actions}}}"));
}

/// What a gateway says back of a new context.
pub fn added(local: &str) -> String {
    format!("C=2000{{A=tel/1,A=rtp/7{{M{{ST=1{{L{{{local}}}}}}}}}}}")
}

pub const RESTART: &str = "MEGACO/1 [10.71.2.21]:2944 Transaction = 9998 {\n Context = - {\n  \
                       ServiceChange = ROOT { Services { Method = Restart, \
                       ServiceChangeAddress = 2944, Reason = 901, Version = 1 } } } }";
/// The only reply to it.
pub const RESTARTED: &str = "!/1 [10.71.1.11]:5070 P=9998{C=-{SC=ROOT{SV{V=1}}}}";
const CODECS: &str = "v=0\nc=IN IP4 $\nm=audio $ RTP/AVP 0 8 18\n";
/// Events and signals of the telephone's termination.
const TELEPHONE: &str = "A=tel/1{M{ST=1{O{MO=SR}}},E=#{al/of,al/on}}";
pub const SUBTRACT: &str = "C=2000{S=tel/1{AT{}},S=rtp/7{AT{}}}";

/// The next message, in compact form.
pub fn said(bench: &mut Bench) -> String {
    let bytes = bench.got();
    let message = h248::parse(&bytes).expect("H.248");
    text(&h248::write(&message, Encoding::Compact))
        .trim_end()
        .to_owned()
}

/// 501, 601.
fn registered() -> Bench {
    let mut bench = bench();
    register(&mut bench);
    bench
}

pub fn register(bench: &mut Bench) {
    bench.hear(RESTART);
    assert_eq!(said(bench), RESTARTED);
    let audit = expect(bench, "C=-{AV=*{AT{}}}");
    reply(bench, audit, "C=-{AV=ROOT{},AV=tel/1{},AV=tel/2{}}");
    let audit = expect(bench, "C=-{AC=*{AT{M}}}");
    reply(
        bench,
        audit,
        &format!("C=-{{AC=tel/1{{M{{ST=1{{L{{{CODECS}}}}}}}}}}}"),
    );
    bench.quiet();
}

/// To 503.
fn described() -> Bench {
    let mut bench = registered();
    bench.invite(None);
    let (add, _) = got(&mut bench);
    reply(&mut bench, add, &added(LOCAL));
    bench.answered();
    bench.quiet();
    bench
}

/// To 607 and its acknowledgement.
fn answered() -> Bench {
    let mut bench = registered();
    bench.invite(Some(GATEWAY));
    let (add, _) = got(&mut bench);
    reply(&mut bench, add, &added(LOCAL));
    bench.answered();
    bench.agent.ack_with(bench.now, LEG, None);
    bench.quiet();
    bench
}

/// The gateway's Remote.
fn remote(port: u16) -> String {
    format!(
        "v=0\r\nc=IN IP4 10.71.3.31\r\nm=audio {port} RTP/AVP 0 18\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:18 G729/8000\r\n"
    )
}

/// Without white space at ends of lines, so that both sides compare.
fn flat(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace("{\n", "{")
        .replace("\n}", "}")
}

#[test]
fn fig5_step_501_service_change_then_audits_of_terminations_and_codecs() {
    let mut bench = registered();
    let bound = bench.bound.clone().expect("registered");
    let Signalling::H248 {
        mid,
        termination,
        codecs,
        ..
    } = &bound.signalling
    else {
        panic!("{bound:?}");
    };
    let codecs: Vec<String> = codecs.iter().map(ToString::to_string).collect();
    assert_eq!(
        (mid.as_str(), termination.as_str()),
        ("[10.71.2.21]:2944", "tel/1")
    );
    assert_eq!(codecs, ["PCMU/8000", "PCMA/8000", "G729/8000"]);
    // At-most-once (Annex D.1.1).
    bench.hear(RESTART);
    assert_eq!(said(&mut bench), RESTARTED);
    bench.quiet();
}

#[test]
fn the_operator_may_say_which_termination_is_the_telephone() {
    for (configured, listed, termination) in [
        ("tel/2", "C=-{AV=tel/1{},AV=tel/2{}}", "tel/2"),
        // One that tells none of its terminations.
        ("tel/9", "C=-{AV=ROOT{}}", "tel/9"),
        ("tel/9", "ER=501{}", "tel/9"),
    ] {
        let mut bench = Bench::new(Protocol::H248, access(Some(configured)), 3);
        bench.source = address("10.71.2.21:2944");
        bench.hear(RESTART);
        said(&mut bench);
        let (audit, _) = got(&mut bench);
        reply(&mut bench, audit, listed);
        let (audit, _) = got(&mut bench);
        reply(&mut bench, audit, "C=-{ER=501{}}");
        let Some(Signalling::H248 {
            termination: is, ..
        }) = bench.bound.as_ref().map(|bound| &bound.signalling)
        else {
            panic!("{:?}", bench.bound);
        };
        assert_eq!(is, termination);
    }
    // Without either there is nobody to call.
    let mut bench = bench();
    bench.hear(RESTART);
    said(&mut bench);
    let (audit, _) = got(&mut bench);
    reply(&mut bench, audit, "C=-{AV=ROOT{}}");
    assert!(bench.bound.is_none());
    assert!(matches!(
        bench.notes.as_slice(),
        [Event::RegistrationRefused { why, .. }] if why.contains("no termination")
    ));
}

#[test]
fn registrations_of_others_are_refused() {
    for (mid, source, vm) in [
        ("[10.71.2.22]:2944", "10.71.2.21:2944", VM),
        ("<tc17>", "10.71.2.21:2944", VM),
        ("[10.71.2.21]:2944", "10.9.9.9:2944", VM),
        ("[10.71.2.21]:2944", "10.71.2.21:2944", OTHER_VM),
    ] {
        let mut bench = bench();
        bench.source = address(source);
        bench.hear_at(
            vm,
            RESTART.replace("[10.71.2.21]:2944 T", &format!("{mid} T")),
        );
        let reply = bench.sent.pop_front().expect("a reply");
        assert!(
            text(&reply.payload).contains("402"),
            "{}",
            text(&reply.payload)
        );
        bench.quiet();
        assert!(bench.bound.is_none());
        assert!(matches!(
            bench.notes.as_slice(),
            [Event::RegistrationRefused { .. }]
        ));
    }
}

#[test]
fn fig5_step_502_add_of_the_telephone_and_of_an_rtp_termination() {
    let mut bench = registered();
    bench.invite(None);
    let (_, add) = got(&mut bench);
    assert_eq!(
        flat(&add),
        format!(
            "C=${{{TELEPHONE},A=${{M{{ST=1{{O{{MO=RC,RV=ON}},L{{v=0\nc=IN IP4 $\n\
             m=audio $ RTP/AVP 0 8 18\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\n\
             a=rtpmap:18 G729/8000}}}}}}}}}}"
        )
    );
    bench.quiet();
}

#[test]
fn fig5_step_503_the_reply_is_the_thin_clients_offer() {
    let mut bench = registered();
    bench.invite(None);
    let (add, _) = got(&mut bench);
    // Changed information: one codec less than 501 told.
    reply(&mut bench, add, &added(LOCAL));
    assert_eq!(
        audio(&bench.answered()),
        "c=IN IP4 10.71.2.21 m=audio 9000 RTP/AVP 0 8 a=sendrecv"
    );
    bench.quiet();
}

#[test]
fn fig5_step_508_ringback_and_the_gateways_media_are_one_transaction() {
    let mut bench = described();
    bench.agent.progress(bench.now, LEG, CallProgress::Ringback);
    bench.agent.ack_with(bench.now, LEG, Some(GATEWAY.into()));
    let (_, modify) = got(&mut bench);
    assert_eq!(
        flat(&modify),
        flat(&format!(
            "C=2000{{MF=tel/1{{SG{{cg/rt}}}},MF=rtp/7{{M{{ST=1{{O{{MO=SR}},R{{{}}}}}}}}}}}",
            remote(8000)
        ))
    );
    bench.quiet();
}

#[test]
fn fig5_step_509_the_reply_changes_nothing_or_is_told() {
    for (local, port) in [(None, 0), (Some(LOCAL), 0), (Some(MOVED), 9100)] {
        let mut bench = described();
        bench.agent.ack_with(bench.now, LEG, Some(GATEWAY.into()));
        let (modify, _) = got(&mut bench);
        let local = local.map(|local| format!("{{M{{ST=1{{L{{{local}}}}}}}}}"));
        let actions = format!("C=2000{{MF=rtp/7{}}}", local.unwrap_or_default());
        reply(&mut bench, modify, &actions);
        if port > 0 {
            let changed = bench.changed();
            assert!(changed.contains(&format!("m=audio {port} ")), "{changed}");
            let answer = Ok(GATEWAY.into());
            bench.agent.answer_reinvite(bench.now, LEG, answer);
        }
        bench.quiet();
    }
}

#[test]
fn fig5_steps_514_and_515_ringback_stops() {
    let mut bench = described();
    bench.agent.progress(bench.now, LEG, CallProgress::Ringback);
    let modify = expect(&mut bench, "C=2000{MF=tel/1{SG{cg/rt}}}");
    reply(&mut bench, modify, "C=2000{MF=tel/1}");
    bench.agent.progress(bench.now, LEG, CallProgress::Quiet);
    let modify = expect(&mut bench, "C=2000{MF=tel/1{SG}}");
    reply(&mut bench, modify, "C=2000{MF=tel/1}");
    bench.quiet();
}

#[test]
fn fig6_step_606_add_carries_the_gateways_media() {
    let mut bench = registered();
    bench.invite(Some(GATEWAY));
    let (_, add) = got(&mut bench);
    // Of the gateway's codecs those that 601 told.
    assert_eq!(
        flat(&add),
        flat(&format!(
            "C=${{{TELEPHONE},A=${{M{{ST=1{{O{{MO=SR,RV=ON}},L{{v=0\nc=IN IP4 $\n\
             m=audio $ RTP/AVP 0 18\na=rtpmap:0 PCMU/8000\na=rtpmap:18 G729/8000\n}},\
             R{{{}}}}}}}}}}}",
            remote(8000)
        ))
    );
    bench.quiet();
}

#[test]
fn fig6_step_607_the_reply_is_the_answer_whatever_it_is_now() {
    for (local, port) in [(LOCAL, 9000), (MOVED, 9100)] {
        let mut bench = registered();
        bench.invite(Some(GATEWAY));
        let (add, _) = got(&mut bench);
        reply(&mut bench, add, &added(local));
        let answer = bench.answered();
        assert!(
            answer.contains(&format!("m=audio {port} RTP/AVP 0 8")),
            "{answer}"
        );
        bench.agent.ack_with(bench.now, LEG, None);
        bench.quiet();
    }
}

#[test]
fn fig6_steps_608_and_609_the_telephone_rings() {
    let mut bench = answered();
    bench.agent.progress(bench.now, LEG, CallProgress::Alerting);
    let modify = expect(&mut bench, "C=2000{MF=tel/1{SG{al/ri}}}");
    reply(&mut bench, modify, "C=2000{MF=tel/1}");
    bench.quiet();
}

#[test]
fn fig6_step_611_changed_information_of_the_gateway_is_a_modify() {
    let mut bench = answered();
    let moved = GATEWAY.replace("m=audio 8000", "m=audio 8100");
    bench.agent.reinvite(bench.now, LEG, moved.into());
    let (modify, actions) = got(&mut bench);
    assert_eq!(
        flat(&actions),
        flat(&format!(
            "C=2000{{MF=rtp/7{{M{{ST=1{{R{{{}}}}}}}}}}}",
            remote(8100)
        ))
    );
    reply(&mut bench, modify, "C=2000{MF=rtp/7}");
    let answer = bench.answered();
    assert!(answer.contains("m=audio 9000 RTP/AVP 0 8"), "{answer}");
    bench.quiet();
}

fn notify(bench: &mut Bench, id: u32, event: &str) {
    bench.hear(format!(
        "MEGACO/1 [10.71.2.21]:2944 Transaction={id}{{Context=2000{{Notify=tel/1{{\
         ObservedEvents=1{{20261124T06000000:{event}}}}}}}}}"
    ));
    assert_eq!(
        said(bench),
        format!("!/1 [10.71.1.11]:5070 P={id}{{C=2000{{N=tel/1}}}}")
    );
}

/// Signals end with the event (§7.1.11); the events stay asked for.
#[test]
fn fig6_step_612_off_hook_ends_the_ringing() {
    let mut bench = answered();
    bench.agent.progress(bench.now, LEG, CallProgress::Alerting);
    let modify = expect(&mut bench, "C=2000{MF=tel/1{SG{al/ri}}}");
    reply(&mut bench, modify, "C=2000{MF=tel/1}");
    notify(&mut bench, 10_001, "al/of");
    bench.quiet();
    bench.agent.progress(bench.now, LEG, CallProgress::Quiet);
    bench.quiet();
}

#[test]
fn on_hook_ends_the_leg() {
    let mut bench = answered();
    notify(&mut bench, 10_002, "al/on");
    assert_eq!(bench.event(), Some(TcEvent::Bye));
    let subtract = expect(&mut bench, SUBTRACT);
    reply(&mut bench, subtract, "C=2000{S=tel/1,S=rtp/7}");
    bench.quiet();
}

#[test]
fn a_leg_ends_by_subtract_and_its_telephone_falls_silent() {
    let mut bench = answered();
    bench.agent.progress(bench.now, LEG, CallProgress::Alerting);
    let (modify, _) = got(&mut bench);
    reply(&mut bench, modify, "C=2000{MF=tel/1}");
    bench.agent.bye(bench.now, LEG);
    let silent = SUBTRACT.replace("C=2000{", "C=2000{MF=tel/1{SG},");
    let subtract = expect(&mut bench, &silent);
    reply(&mut bench, subtract, "C=2000{MF=tel/1,S=tel/1,S=rtp/7}");
    bench.quiet();
}

/// A physical termination is in one context at a time (§6.2).
#[test]
fn a_new_leg_waits_until_the_former_is_subtracted() {
    let mut bench = answered();
    bench.invite(None);
    let subtract = expect(&mut bench, SUBTRACT);
    bench.quiet();
    reply(&mut bench, subtract, "C=2000{S=tel/1,S=rtp/7}");
    let (_, add) = got(&mut bench);
    assert!(add.starts_with("C=${A=tel/1"), "{add}");
}

#[test]
fn errors_in_a_reply() {
    for (error, event) in [
        ("ER=515{}", 488),
        ("C=${ER=515{\"no\"}}", 488),
        ("C=2000{A=tel/1,A=$,ER=449{}}", 488),
        ("C=${ER=510{}}", 500),
    ] {
        let mut bench = registered();
        bench.invite(Some(GATEWAY));
        let (add, _) = got(&mut bench);
        reply(&mut bench, add, error);
        assert_eq!(
            bench.event(),
            Some(TcEvent::Refused { status: event }),
            "{error}"
        );
        bench.quiet();
    }
    // The context is gone.
    let mut bench = answered();
    bench.agent.reinvite(bench.now, LEG, GATEWAY.into());
    let (modify, _) = got(&mut bench);
    reply(&mut bench, modify, "C=2000{ER=411{}}");
    assert_eq!(bench.event(), Some(TcEvent::Lost));
    bench.quiet();
}

#[test]
fn a_gateway_without_hooks_and_bells_serves_without_them() {
    for code in [440, 451, 512] {
        let mut bench = registered();
        bench.invite(None);
        let (add, _) = got(&mut bench);
        reply(&mut bench, add, &format!("C=${{ER={code}{{}}}}"));
        let (add, actions) = got(&mut bench);
        assert!(
            actions.starts_with("C=${A=tel/1{M{ST=1{O{MO=SR}}}},A=$"),
            "{actions}"
        );
        reply(&mut bench, add, &added(LOCAL));
        bench.answered();
        bench.agent.progress(bench.now, LEG, CallProgress::Ringback);
        bench.quiet();
    }
}

/// Left over from an earlier run of ours, or a Subtract that was lost.
#[test]
fn a_telephone_in_another_context_is_taken_out_of_it_first() {
    let mut bench = registered();
    bench.invite(None);
    let (add, _) = got(&mut bench);
    reply(&mut bench, add, "C=${ER=433{}}");
    let (add, actions) = got(&mut bench);
    assert!(
        actions.starts_with("C=*{O-S=tel/1{AT{}}},C=${A=tel/1"),
        "{actions}"
    );
    reply(
        &mut bench,
        add,
        &format!("C=1999{{S=tel/1}},{}", added(LOCAL)),
    );
    assert!(bench.answered().contains("m=audio 9000 "));
    let (_, modify) = {
        bench.agent.ack_with(bench.now, LEG, Some(GATEWAY.into()));
        got(&mut bench)
    };
    assert!(modify.starts_with("C=2000{MF=rtp/7"), "{modify}");

    // It cannot be had.
    let mut bench = registered();
    bench.invite(None);
    for _ in 0..2 {
        let (add, _) = got(&mut bench);
        reply(&mut bench, add, "C=${ER=433{}}");
    }
    assert_eq!(bench.event(), Some(TcEvent::Refused { status: 500 }));
    bench.quiet();
}

#[test]
fn restarts_and_goodbyes() {
    for (method, still_bound, lost) in [
        ("Restart", true, true),
        ("Disconnected", true, false),
        ("Graceful", false, false),
        ("Forced", false, true),
    ] {
        let mut bench = answered();
        bench.hear(format!(
            "MEGACO/1 [10.71.2.21]:2944 Transaction=77{{Context=-{{ServiceChange=ROOT{{\
             Services{{Method={method},Reason=\"905 Termination taken out of service\"}}}}}}}}"
        ));
        assert_eq!(said(&mut bench), "!/1 [10.71.1.11]:5070 P=77{C=-{SC=ROOT}}");
        assert_eq!(bench.event(), lost.then_some(TcEvent::Lost), "{method}");
        assert_eq!(bench.bound.is_some(), still_bound, "{method}");
    }
}

#[test]
fn it_is_asked_every_minute_whether_it_is_there() {
    let mut bench = registered();
    bench.wait(60_000);
    let audit = expect(&mut bench, "C=-{AV=ROOT{AT{}}}");
    reply(&mut bench, audit, "C=-{AV=ROOT{}}");
    assert!(bench.bound.is_some());
    bench.wait(81_000);
    assert!(bench.bound.is_none());
}

/// Pending, and a reply that wants its acknowledgement (Annex D.1.2).
#[test]
fn pending_and_the_three_way_handshake() {
    let mut bench = registered();
    bench.invite(None);
    let (add, _) = got(&mut bench);
    bench.hear(format!("!/1 [10.71.2.21]:2944 PN={add}{{}}"));
    bench.hear(format!(
        "!/1 [10.71.2.21]:2944 P={add}{{IA,{}}}",
        added(LOCAL)
    ));
    assert_eq!(
        said(&mut bench),
        format!("!/1 [10.71.1.11]:5070 K{{{add}}}")
    );
    bench.answered();
    bench.quiet();
}

#[test]
fn commands_that_are_a_controllers_are_refused() {
    let mut bench = registered();
    bench.hear("!/1 [10.71.2.21]:2944 T=5{C=${A=x}}");
    let bytes = text(&bench.got());
    assert!(bytes.contains("443"), "{bytes}");
    bench.quiet();
}

/// Whatever comes, nothing panics, and a thin client that speaks well is served.
#[test]
fn mutated_messages() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % 1_000_003).unwrap() % bound
    };
    let texts = [
        RESTART.to_owned(),
        format!("!/1 [10.71.2.21]:2944 P=12{{IA,{}}}", added(LOCAL)),
        "!/1 [10.71.2.21]:2944 T=88{C=2000{N=tel/1{OE=1{al/of,al/on}}}}".to_owned(),
    ];
    let mut bench = registered();
    for round in 0..4_000 {
        let mut bytes = texts[next(texts.len())].clone().into_bytes();
        for _ in 0..next(6) {
            let at = next(bytes.len());
            match next(3) {
                0 => bytes[at] = u8::try_from(next(256)).unwrap(),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b"{},= \n"[next(6)]),
            }
        }
        if round % 50 == 0 && bench.bound.is_some() {
            bench.invite(if round % 100 == 0 {
                None
            } else {
                Some(GATEWAY)
            });
        }
        bench.hear(&bytes);
        bench.wait(u64::try_from(next(400)).unwrap());
        bench.events.clear();
        bench.sent.clear();
    }
    bench.wait(100_000);
    bench.sent.clear();
    bench.events.clear();
    bench.hear(RESTART.replace("9998", "777001"));
    assert!(said(&mut bench).contains("P=777001{"));
    expect(&mut bench, "C=-{AV=*{AT{}}}");
}

/// A segment of a reply; its acknowledgement is checked.
fn segment(bench: &mut Bench, id: u32, number: &str, actions: &str) {
    bench.hear(format!(
        "!/3 [10.71.2.21]:2944 P={id}/{number}{{{actions}}}"
    ));
    let acknowledged = said(bench);
    assert!(
        acknowledged.ends_with(&format!("SM={id}/{}", number.replace("END", "&"))),
        "{acknowledged}"
    );
}

#[test]
fn replies_in_segments_are_put_together_in_any_order() {
    for order in [[0, 1], [1, 0]] {
        let mut bench = bench();
        bench.hear(RESTART);
        said(&mut bench);
        let audit = expect(&mut bench, "C=-{AV=*{AT{}}}");
        let parts = [("1", "C=-{AV=ROOT{}}"), ("2/END", "C=-{AV=tel/1{}}")];
        for at in order {
            let (number, actions) = parts[at];
            segment(&mut bench, audit, number, actions);
            if at == order[0] {
                // It comes again: it is acknowledged again.
                segment(&mut bench, audit, number, actions);
            }
        }
        let audit = expect(&mut bench, "C=-{AC=*{AT{M}}}");
        let local = |payload: u8| {
            format!(
                "C=-{{AC=tel/1{{M{{ST=1{{L{{v=0\nc=IN IP4 $\nm=audio $ RTP/AVP {payload}\n}}}}}}}}}}"
            )
        };
        let parts = [("1", local(0)), ("2/END", local(18))];
        for at in order {
            let (number, actions) = &parts[at];
            segment(&mut bench, audit, number, actions);
        }
        bench.quiet();
        let bound = bench.bound.clone().expect("registered");
        let Signalling::H248 { codecs, .. } = &bound.signalling else {
            panic!("{bound:?}");
        };
        let codecs: Vec<String> = codecs.iter().map(ToString::to_string).collect();
        assert_eq!(codecs, ["PCMU/8000", "G729/8000"], "{order:?}");
    }
}

#[test]
fn a_leg_whose_add_is_answered_in_segments() {
    let mut bench = registered();
    bench.invite(Some(GATEWAY));
    let (add, _) = got(&mut bench);
    segment(&mut bench, add, "1", "C=2000{A=tel/1}");
    // While the rest is to come the Add is not sent again at once.
    bench.wait(3_000);
    bench.quiet();
    let rtp = format!("C=2000{{A=rtp/7{{M{{ST=1{{L{{{LOCAL}}}}}}}}}}}");
    segment(&mut bench, add, "2/END", &rtp);
    bench.answered();
    bench.agent.ack_with(bench.now, LEG, None);
    bench.agent.bye(bench.now, LEG);
    let subtract = expect(&mut bench, SUBTRACT);
    // An error in the last of them is one of the whole.
    segment(&mut bench, subtract, "1", "C=2000{S=tel/1}");
    segment(&mut bench, subtract, "2/END", "C=2000{ER=430{}}");
    bench.quiet();
}
