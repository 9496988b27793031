//! MGCP thin clients. Numbers of steps are those of Fig. 5 and Fig. 6, which are
//! drawn for H.248; what MGCP has in each place is in the tests.

use sidestep_core::engine::{Event, Protocol};
use sidestep_core::mgcp::{Packet, Parameter, StartLine};
use sidestep_core::registrar::{Access, Signalling};
use sidestep_core::tc::{CallProgress, TcEvent};

use super::bench::*;

fn bench() -> Bench {
    let access = Access::Mgcp {
        endpoint: "aaln/1@tc17".into(),
        from: office(),
    };
    Bench::new(Protocol::Mgcp, access, 3)
}

/// A command that the thin client got.
struct Got {
    verb: String,
    transaction: u32,
    text: String,
    packet: Packet,
}

impl Got {
    fn parameter(&self, name: Parameter) -> Option<String> {
        let message = self.packet.messages().next().unwrap();
        message.parameter(name).map(text)
    }

    fn description(&self) -> Option<String> {
        let message = self.packet.messages().next().unwrap();
        message.descriptions().next().map(text)
    }

    fn events(&self) -> [Option<String>; 2] {
        [
            self.parameter(Parameter::REQUESTED_EVENTS),
            self.parameter(Parameter::SIGNAL_REQUESTS),
        ]
    }
}

fn got(bench: &mut Bench) -> Got {
    let bytes = bench.got();
    let packet = Packet::parse(&bytes).expect("MGCP");
    let message = packet.messages().next().unwrap();
    let StartLine::Command { verb, endpoint, .. } = message.start() else {
        panic!("a command, not {}", text(&bytes));
    };
    assert_eq!(endpoint.written, b"aaln/1@tc17");
    Got {
        verb: verb.to_string(),
        transaction: message.transaction(),
        text: text(&bytes),
        packet: packet.clone(),
    }
}

fn expect(bench: &mut Bench, verb: &str) -> Got {
    let got = got(bench);
    assert_eq!(got.verb, verb, "{}", got.text);
    got
}

/// A response; `lines` with their line ends, then perhaps a description.
fn respond(bench: &mut Bench, command: &Got, code: u16, lines: &str, sdp: &str) {
    let body = match sdp {
        "" => String::new(),
        sdp => format!("\r\n{sdp}"),
    };
    bench.hear(format!("{code} {} X\r\n{lines}{body}", command.transaction));
}

fn status(bench: &mut Bench) -> String {
    text(&bench.got())
}

/// A thin client that has registered (501, 601).
fn registered() -> Bench {
    let mut bench = bench();
    bench.hear("RSIP 1200 *@tc17 MGCP 1.0\r\nRM: restart\r\n");
    assert_eq!(status(&mut bench), "200 1200 OK\r\n");
    let audit = expect(&mut bench, "AUEP");
    let capabilities = "A: a:PCMU;PCMA;G729, p:10-40, v:L;G, m:sendrecv;recvonly\r\n";
    respond(&mut bench, &audit, 200, capabilities, "");
    bench.quiet();
    bench
}

/// To 503: the thin client has described itself first.
fn described() -> (Bench, Got) {
    let mut bench = registered();
    bench.invite(None);
    let create = expect(&mut bench, "CRCX");
    respond(&mut bench, &create, 200, "I: FDE\r\n", LOCAL);
    bench.answered();
    bench.quiet();
    (bench, create)
}

/// To 607 and its acknowledgement: it has answered the gateway's offer.
fn answered() -> Bench {
    let mut bench = registered();
    bench.invite(Some(GATEWAY));
    let create = expect(&mut bench, "CRCX");
    respond(&mut bench, &create, 200, "I: FDE\r\n", LOCAL);
    bench.answered();
    bench.agent.ack_with(bench.now, LEG, None);
    bench.quiet();
    bench
}

#[test]
fn fig5_step_501_rsip_is_answered_and_the_codecs_are_asked_for() {
    let mut bench = bench();
    bench.hear("RSIP 1200 aaln/*@TC17 MGCP 1.0\r\nRM: restart\r\n");
    assert_eq!(status(&mut bench), "200 1200 OK\r\n");
    assert!(bench.bound.is_none(), "not before its codecs are known");
    let audit = expect(&mut bench, "AUEP");
    assert_eq!(
        audit.parameter(Parameter::REQUESTED_INFO).as_deref(),
        Some("A")
    );
    respond(
        &mut bench,
        &audit,
        200,
        "A: a:PCMU;G729, p:20\r\nA: a:opus\r\n",
        "",
    );
    let bound = bench.bound.clone().expect("registered");
    let Signalling::Mgcp { endpoint, codecs } = &bound.signalling else {
        panic!("{bound:?}");
    };
    let codecs: Vec<String> = codecs.iter().map(ToString::to_string).collect();
    assert_eq!(endpoint, "aaln/1@tc17");
    assert_eq!(codecs, ["PCMU/8000", "G729/8000", "opus/48000/2"]);
    assert_eq!((bound.vm, bound.address), (0, address(TC)));
    assert_eq!(bound.media, None);
    bench.quiet();
}

#[test]
fn a_thin_client_that_tells_no_codecs_is_registered_all_the_same() {
    let mut bench = bench();
    bench.hear("RSIP 1 aaln/1@tc17 MGCP 1.0\r\nRM: restart\r\n");
    status(&mut bench);
    let audit = expect(&mut bench, "AUEP");
    respond(&mut bench, &audit, 504, "", "");
    assert!(bench.bound.is_some());
    bench.invite(None);
    let create = expect(&mut bench, "CRCX");
    assert_eq!(
        create
            .parameter(Parameter::LOCAL_CONNECTION_OPTIONS)
            .as_deref(),
        Some("")
    );
}

#[test]
fn registrations_of_others_are_refused() {
    for (name, source, vm, why) in [
        ("aaln/1@tc18", TC, VM, "no thin client has this name"),
        ("aaln/2@tc17", TC, VM, "no thin client has this name"),
        ("aaln@tc17", TC, VM, "no thin client has this name"),
        (
            "*@tc17",
            "10.9.9.9:2427",
            VM,
            "it may not register from this address",
        ),
        ("*@tc17", TC, OTHER_VM, "the account belongs to another VM"),
    ] {
        let mut bench = bench();
        bench.source = address(source);
        bench.hear_at(vm, format!("RSIP 7 {name} MGCP 1.0\r\nRM: restart\r\n"));
        bench.pump();
        let reply = bench.sent.pop_front().expect("a response");
        assert_eq!(text(&reply.payload), "500 7 No such endpoint\r\n");
        bench.quiet();
        assert!(bench.bound.is_none());
        let [Event::RegistrationRefused { why: said, .. }] = bench.notes.as_slice() else {
            panic!("{:?}", bench.notes);
        };
        assert_eq!(said, why, "{name} from {source} at {vm}");
    }
}

/// At-most-once (RFC 3435 §3.5.1).
#[test]
fn a_repeated_rsip_is_answered_as_before_and_done_once() {
    let mut bench = registered();
    bench.hear("RSIP 1200 *@tc17 MGCP 1.0\r\nRM: restart\r\n");
    assert_eq!(status(&mut bench), "200 1200 OK\r\n");
    bench.quiet();
}

#[test]
fn fig5_step_502_crcx_without_the_other_end_only_listens() {
    let mut bench = registered();
    bench.invite(None);
    let create = expect(&mut bench, "CRCX");
    let is = |name| create.parameter(name);
    assert_eq!(is(Parameter::CONNECTION_MODE).as_deref(), Some("recvonly"));
    let options = is(Parameter::LOCAL_CONNECTION_OPTIONS);
    assert_eq!(options.as_deref(), Some("a:PCMU;PCMA;G729"));
    let entity = is(Parameter::NOTIFIED_ENTITY);
    assert_eq!(entity.as_deref(), Some("sidestep@[10.71.1.11]:5070"));
    let events = create.events();
    assert_eq!(
        events,
        [Some("L/hd(N), L/hu(N)".into()), Some(String::new())]
    );
    assert!(is(Parameter::CALL_ID).is_some_and(|call| call.len() <= 32));
    assert_eq!(create.description(), None);
    bench.quiet();
}

#[test]
fn fig5_step_503_the_response_is_the_thin_clients_offer() {
    let mut bench = registered();
    bench.invite(None);
    let create = expect(&mut bench, "CRCX");
    // Changed information: one codec less than 501 told.
    respond(&mut bench, &create, 200, "I: FDE\r\n", LOCAL);
    assert_eq!(
        audio(&bench.answered()),
        "c=IN IP4 10.71.2.21 m=audio 9000 RTP/AVP 0 8 a=sendrecv"
    );
    bench.quiet();
}

#[test]
fn fig5_step_508_ringback_and_the_gateways_media_are_one_mdcx() {
    let (mut bench, create) = described();
    bench.agent.progress(bench.now, LEG, CallProgress::Ringback);
    bench.agent.ack_with(bench.now, LEG, Some(GATEWAY.into()));
    let modify = expect(&mut bench, "MDCX");
    let is = |name| modify.parameter(name);
    assert_eq!(is(Parameter::CALL_ID), create.parameter(Parameter::CALL_ID));
    assert_eq!(is(Parameter::CONNECTION_ID).as_deref(), Some("FDE"));
    assert_eq!(is(Parameter::CONNECTION_MODE).as_deref(), Some("sendrecv"));
    assert_eq!(modify.events()[1].as_deref(), Some("G/rt"));
    let sdp = modify.description().expect("the gateway's");
    assert_eq!(
        audio(&sdp),
        "c=IN IP4 10.71.3.31 m=audio 8000 RTP/AVP 0 18 a=sendrecv"
    );
    bench.quiet();
}

#[test]
fn fig5_step_509_the_response_changes_nothing_or_is_told() {
    let (mut bench, _) = described();
    bench.agent.ack_with(bench.now, LEG, Some(GATEWAY.into()));
    let modify = expect(&mut bench, "MDCX");
    respond(&mut bench, &modify, 200, "", LOCAL);
    bench.quiet();

    let (mut bench, _) = described();
    bench.agent.ack_with(bench.now, LEG, Some(GATEWAY.into()));
    let modify = expect(&mut bench, "MDCX");
    respond(&mut bench, &modify, 200, "", MOVED);
    let changed = bench.changed();
    assert!(changed.contains("m=audio 9100 "), "{changed}");
    assert!(
        changed.contains("o=- ") && changed.contains(" 2 IN IP4"),
        "{changed}"
    );
    // The gateway has been told, and is where it was: nothing more for the TC.
    bench
        .agent
        .answer_reinvite(bench.now, LEG, Ok(GATEWAY.into()));
    bench.quiet();
}

/// The call machine is busy (491): it is told again.
#[test]
fn fig5_step_509_changed_information_waits_for_a_busy_call() {
    let (mut bench, _) = described();
    bench.agent.ack_with(bench.now, LEG, Some(GATEWAY.into()));
    let modify = expect(&mut bench, "MDCX");
    respond(&mut bench, &modify, 200, "", MOVED);
    let first = bench.changed();
    bench.agent.answer_reinvite(bench.now, LEG, Err(491));
    bench.quiet();
    bench.wait(1_000);
    assert_eq!(bench.changed(), first);
    // A gateway that will not have it leaves the thin client without media.
    bench.agent.answer_reinvite(bench.now, LEG, Err(488));
    assert_eq!(bench.event(), Some(TcEvent::Refused { status: 488 }));
}

#[test]
fn fig5_steps_514_and_515_ringback_stops() {
    let (mut bench, _) = described();
    bench.agent.progress(bench.now, LEG, CallProgress::Ringback);
    let ringback = expect(&mut bench, "RQNT");
    assert_eq!(ringback.events()[1].as_deref(), Some("G/rt"));
    respond(&mut bench, &ringback, 200, "", "");
    bench.agent.progress(bench.now, LEG, CallProgress::Quiet);
    let quiet = expect(&mut bench, "RQNT");
    assert_eq!(
        quiet.events(),
        [Some("L/hd(N), L/hu(N)".into()), Some(String::new())]
    );
    respond(&mut bench, &quiet, 200, "", "");
    bench.quiet();
}

/// What is asked for while a command is under way is the next one.
#[test]
fn commands_of_a_leg_wait_for_one_another() {
    let mut bench = registered();
    bench.invite(None);
    let create = expect(&mut bench, "CRCX");
    bench.agent.progress(bench.now, LEG, CallProgress::Ringback);
    bench.quiet();
    respond(&mut bench, &create, 200, "I: FDE\r\n", LOCAL);
    bench.answered();
    let ringback = expect(&mut bench, "RQNT");
    bench.agent.progress(bench.now, LEG, CallProgress::Quiet);
    bench.agent.ack_with(bench.now, LEG, Some(GATEWAY.into()));
    bench.quiet();
    respond(&mut bench, &ringback, 200, "", "");
    let modify = expect(&mut bench, "MDCX");
    assert_eq!(modify.events()[1].as_deref(), Some(""));
    assert!(modify.description().is_some());
    bench.quiet();
}

#[test]
fn fig6_step_606_crcx_carries_the_gateways_media() {
    let mut bench = registered();
    bench.invite(Some(GATEWAY));
    let create = expect(&mut bench, "CRCX");
    let is = |name| create.parameter(name);
    assert_eq!(is(Parameter::CONNECTION_MODE).as_deref(), Some("sendrecv"));
    // Of the gateway's codecs those that 601 told, in the gateway's order.
    let options = is(Parameter::LOCAL_CONNECTION_OPTIONS);
    assert_eq!(options.as_deref(), Some("a:PCMU;G729"));
    let sdp = create.description().expect("the gateway's");
    assert!(audio(&sdp).starts_with("c=IN IP4 10.71.3.31 m=audio 8000 RTP/AVP 0 18"));
    bench.quiet();
}

#[test]
fn fig6_step_607_the_response_is_the_answer_whatever_it_is_now() {
    for (local, port) in [(LOCAL, 9000), (MOVED, 9100)] {
        let mut bench = registered();
        bench.invite(Some(GATEWAY));
        let create = expect(&mut bench, "CRCX");
        respond(&mut bench, &create, 200, "I: FDE\r\n", local);
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
    let ring = expect(&mut bench, "RQNT");
    assert_eq!(
        ring.events(),
        [Some("L/hd(N), L/hu(N)".into()), Some("L/rg".into())]
    );
    respond(&mut bench, &ring, 200, "", "");
    bench.quiet();
}

#[test]
fn fig6_step_611_changed_information_of_the_gateway_is_an_mdcx() {
    let mut bench = answered();
    let moved = GATEWAY.replace("m=audio 8000", "m=audio 8100");
    bench.agent.reinvite(bench.now, LEG, moved.into());
    let modify = expect(&mut bench, "MDCX");
    assert!(
        modify
            .description()
            .is_some_and(|sdp| sdp.contains("m=audio 8100"))
    );
    // No description: the thin client is what it was.
    respond(&mut bench, &modify, 200, "", "");
    let answer = bench.answered();
    assert!(answer.contains("m=audio 9000 RTP/AVP 0 8"), "{answer}");
    bench.agent.ack_with(bench.now, LEG, None);
    bench.quiet();
}

/// Signals end with the event; one notification for each request (§4.4.1).
#[test]
fn fig6_step_612_off_hook_ends_the_ringing_and_on_hook_is_asked_for() {
    let mut bench = answered();
    bench.agent.progress(bench.now, LEG, CallProgress::Alerting);
    let ring = expect(&mut bench, "RQNT");
    respond(&mut bench, &ring, 200, "", "");
    bench.hear("NTFY 88 aaln/1@tc17 MGCP 1.0\r\nX: 1\r\nO: L/hd\r\n");
    assert_eq!(status(&mut bench), "200 88 OK\r\n");
    let again = expect(&mut bench, "RQNT");
    assert_eq!(
        again.events(),
        [Some("L/hu(N)".into()), Some(String::new())]
    );
    respond(&mut bench, &again, 200, "", "");
    bench.quiet();
    // 612 comes back from the VM, too: there is nothing left to stop.
    bench.agent.progress(bench.now, LEG, CallProgress::Quiet);
    bench.quiet();
}

#[test]
fn on_hook_ends_the_leg() {
    let mut bench = answered();
    bench.hear("NTFY 89 aaln/1@tc17 MGCP 1.0\r\nX: 1\r\nO: l/HU\r\n");
    assert_eq!(status(&mut bench), "200 89 OK\r\n");
    let delete = expect(&mut bench, "DLCX");
    assert_eq!(
        delete.parameter(Parameter::CONNECTION_ID).as_deref(),
        Some("FDE")
    );
    assert_eq!(bench.event(), Some(TcEvent::Bye));
    respond(&mut bench, &delete, 250, "P: PS=1, OS=160\r\n", "");
    bench.quiet();
}

#[test]
fn hold_is_a_mode_and_a_null_address_never_becomes_a_live_one() {
    let mut bench = answered();
    for (sdp, mode, told) in [
        (
            GATEWAY.replace("sendrecv", "sendonly"),
            "recvonly",
            "a=recvonly",
        ),
        (
            GATEWAY.replace("sendrecv", "inactive"),
            "inactive",
            "a=inactive",
        ),
        (
            GATEWAY.replace("10.71.3.31", "0.0.0.0"),
            "inactive",
            "a=inactive",
        ),
        (GATEWAY.to_owned(), "sendrecv", "a=sendrecv"),
    ] {
        bench.agent.reinvite(bench.now, LEG, sdp.into());
        let modify = expect(&mut bench, "MDCX");
        assert_eq!(
            modify.parameter(Parameter::CONNECTION_MODE).as_deref(),
            Some(mode)
        );
        assert!(!modify.text.contains("0.0.0.0"), "{}", modify.text);
        respond(&mut bench, &modify, 200, "", "");
        let answer = bench.answered();
        assert!(answer.contains(told), "{answer}");
    }
}

#[test]
fn a_leg_ends_by_dlcx_and_its_telephone_falls_silent() {
    let mut bench = answered();
    bench.agent.progress(bench.now, LEG, CallProgress::Alerting);
    let ring = expect(&mut bench, "RQNT");
    respond(&mut bench, &ring, 200, "", "");
    bench.agent.bye(bench.now, LEG);
    let delete = expect(&mut bench, "DLCX");
    assert_eq!(delete.events()[1].as_deref(), Some(""));
    respond(&mut bench, &delete, 250, "", "");
    bench.quiet();
}

/// It has one telephone: the next call waits for the end of the last.
#[test]
fn a_new_leg_waits_until_the_former_is_deleted() {
    let mut bench = answered();
    bench.invite(None);
    let delete = expect(&mut bench, "DLCX");
    bench.quiet();
    respond(&mut bench, &delete, 250, "", "");
    expect(&mut bench, "CRCX");
    bench.quiet();
}

#[test]
fn a_thin_client_that_does_not_answer_is_given_up_and_cleaned_up_later() {
    let mut bench = registered();
    bench.invite(None);
    let create = expect(&mut bench, "CRCX");
    bench.wait(4_000);
    assert_eq!(bench.event(), Some(TcEvent::NoAnswer));
    // Repeated with the same bytes all the while.
    let repeats: Vec<String> = bench.sent.drain(..).map(|d| text(&d.payload)).collect();
    assert!(
        repeats.len() >= 3 && repeats.iter().all(|r| *r == create.text),
        "{repeats:?}"
    );
    respond(&mut bench, &create, 200, "I: FDE\r\n", LOCAL);
    let delete = expect(&mut bench, "DLCX");
    respond(&mut bench, &delete, 250, "", "");
    bench.quiet();
}

#[test]
fn one_that_is_gone_loses_its_legs_and_its_registration() {
    let mut bench = answered();
    bench.agent.progress(bench.now, LEG, CallProgress::Ringback);
    expect(&mut bench, "RQNT");
    bench.wait(20_000);
    assert_eq!(bench.event(), Some(TcEvent::Lost));
    assert!(bench.bound.is_none());
    bench.sent.clear();
    bench.wait(1_000_000);
    bench.quiet();
}

#[test]
fn it_is_asked_every_minute_whether_it_is_there() {
    let mut bench = registered();
    let expires = bench.bound.as_ref().unwrap().expires;
    bench.wait(60_000);
    let audit = expect(&mut bench, "AUEP");
    respond(&mut bench, &audit, 200, "", "");
    assert!(bench.bound.as_ref().unwrap().expires > expires);
    bench.wait(60_000);
    expect(&mut bench, "AUEP");
    bench.wait(19_000);
    assert!(bench.bound.is_some());
    bench.wait(2_000);
    assert!(bench.bound.is_none());
}

#[test]
fn restarts_and_goodbyes() {
    for (method, still_bound, lost) in [
        ("restart", true, true),
        ("disconnected", true, false),
        ("graceful", false, false),
        ("forced", false, true),
        ("x-odd", true, true),
    ] {
        let mut bench = answered();
        bench.hear(format!("RSIP 99 aaln/1@tc17 MGCP 1.0\r\nRM: {method}\r\n"));
        assert_eq!(status(&mut bench), "200 99 OK\r\n", "{method}");
        let event = lost.then_some(TcEvent::Lost);
        assert_eq!(bench.event(), event, "{method}");
        assert_eq!(bench.bound.is_some(), still_bound, "{method}");
    }
}

#[test]
fn errors_say_whether_another_codec_would_do() {
    for (code, status) in [(534, 488), (505, 488), (506, 488), (502, 500), (400, 500)] {
        let mut bench = registered();
        bench.invite(Some(GATEWAY));
        let create = expect(&mut bench, "CRCX");
        respond(&mut bench, &create, code, "", "");
        assert_eq!(bench.event(), Some(TcEvent::Refused { status }), "{code}");
        bench.quiet();
    }
    let mut bench = answered();
    bench.agent.reinvite(bench.now, LEG, GATEWAY.into());
    let modify = expect(&mut bench, "MDCX");
    respond(&mut bench, &modify, 534, "", "");
    assert_eq!(bench.event(), Some(TcEvent::Refused { status: 488 }));
    bench.agent.reinvite(bench.now, LEG, GATEWAY.into());
    let modify = expect(&mut bench, "MDCX");
    respond(&mut bench, &modify, 515, "", "");
    assert_eq!(bench.event(), Some(TcEvent::Lost));
    bench.quiet();
}

/// A gateway with a hook refuses the event that it is in (RFC 3660 §2.4).
#[test]
fn hooks_are_learned_from_refusals() {
    for (code, events) in [(401, "L/hu(N)"), (402, "L/hd(N)")] {
        let mut bench = registered();
        bench.invite(Some(GATEWAY));
        let create = expect(&mut bench, "CRCX");
        respond(&mut bench, &create, code, "", "");
        let again = expect(&mut bench, "CRCX");
        assert_eq!(again.events()[0].as_deref(), Some(events));
        assert_ne!(again.transaction, create.transaction);
        respond(&mut bench, &again, 200, "I: FDE\r\n", LOCAL);
        bench.answered();
    }
}

/// As osmo-mgw, which has no telephones: 539 to `R:`.
#[test]
fn a_gateway_without_hooks_and_bells_serves_without_them() {
    for code in [539, 518, 522] {
        let mut bench = registered();
        bench.invite(Some(GATEWAY));
        let create = expect(&mut bench, "CRCX");
        respond(&mut bench, &create, code, "", "");
        let again = expect(&mut bench, "CRCX");
        assert_eq!(again.events(), [None, None]);
        respond(&mut bench, &again, 200, "I: FDE\r\n", LOCAL);
        bench.answered();
        bench.agent.progress(bench.now, LEG, CallProgress::Alerting);
        bench.quiet();
        bench.agent.bye(bench.now, LEG);
        let delete = expect(&mut bench, "DLCX");
        assert_eq!(delete.events(), [None, None]);
    }
}

/// Three-way handshake (RFC 3435 §3.5.6), provisional responses.
#[test]
fn provisional_responses_and_acknowledgements() {
    let mut bench = registered();
    bench.invite(None);
    let create = expect(&mut bench, "CRCX");
    respond(&mut bench, &create, 100, "", "");
    respond(&mut bench, &create, 200, "K:\r\nI: FDE\r\n", LOCAL);
    assert_eq!(
        status(&mut bench),
        format!("000 {} Acknowledged\r\n", create.transaction)
    );
    bench.answered();
    bench.quiet();
}

#[test]
fn nobody_else_speaks_for_a_thin_client() {
    let mut bench = registered();
    bench.invite(None);
    let create = expect(&mut bench, "CRCX");
    bench.source = address("10.71.2.99:2427");
    respond(&mut bench, &create, 200, "I: FDE\r\n", LOCAL);
    bench.hear("NTFY 5 aaln/1@tc17 MGCP 1.0\r\nX: 1\r\nO: L/hu\r\n");
    let reply = bench.sent.pop_front().expect("a response");
    assert!(reply.payload.starts_with(b"500 5 "));
    bench.quiet();
}

/// Whatever comes, nothing panics, and a thin client that speaks well is served.
#[test]
fn mutated_messages() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % 1_000_003).unwrap() % bound
    };
    let texts = [
        "RSIP 1200 *@tc17 MGCP 1.0\r\nRM: restart\r\n".to_owned(),
        format!("200 12 OK\r\nI: FDE\r\nK:\r\nA: a:PCMU;PCMA, p:10-40\r\n\r\n{LOCAL}"),
        "NTFY 88 aaln/1@tc17 MGCP 1.0\r\nX: 1\r\nO: L/hd, L/hu(+)\r\n.\r\n100 3 Wait\r\n"
            .to_owned(),
    ];
    let mut bench = registered();
    for round in 0..6_000 {
        let mut bytes = texts[next(texts.len())].clone().into_bytes();
        for _ in 0..next(6) {
            let at = next(bytes.len());
            match next(3) {
                0 => bytes[at] = u8::try_from(next(256)).unwrap(),
                1 => {
                    bytes.truncate(at.max(1));
                }
                _ => bytes.insert(at, b"\r\n .:,"[next(6)]),
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
    bench.hear("RSIP 777001 *@tc17 MGCP 1.0\r\nRM: restart\r\n");
    assert_eq!(status(&mut bench), "200 777001 OK\r\n");
    expect(&mut bench, "AUEP");
}
