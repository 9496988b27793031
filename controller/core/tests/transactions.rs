//! The transactions of RFC 3261 §17: every transition, by the name of its timer,
//! and how messages find their transaction.

use std::fmt::Debug;
use std::time::Duration;

use sidestep_core::engine::Transport;
use sidestep_core::sip::transaction::{
    Addresses, ClientKey, ClientTransaction, Effect, Expired, InviteClient, InviteServer,
    NonInviteClient, NonInviteServer, RequestFate, ResponseFate, ServerKey, Timers, Transactions,
    cancel_of,
};
use sidestep_core::sip::{Message, Method, Name};
use sidestep_core::time::Time;

fn at(ms: u64) -> Time {
    Time::from_origin(Duration::from_millis(ms))
}

#[derive(Debug, Clone, Copy)]
enum Input {
    /// A response has come.
    Response(u16),
    /// Time passes.
    Tick,
    /// The request has come again.
    Request,
    /// Its ACK has come.
    Ack,
    /// The TU answers.
    Respond(u16),
}
use Input::{Ack, Request, Respond, Response, Tick};

/// When (ms), what, and then: what is done, the state, the timers that run.
type Step = (u64, Input, &'static str, &'static str, &'static str);

fn shown(effects: &[Effect]) -> String {
    let words: Vec<String> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Send(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Effect::Deliver => "up".into(),
            Effect::TimedOut => "timeout".into(),
        })
        .collect();
    words.join(" ")
}

fn running(timers: &Timers) -> String {
    let words: Vec<String> = timers
        .running()
        .map(|timer| {
            let end = timers.get(timer).expect("it runs");
            format!("{timer:?}@{}", end.since_origin().as_millis())
        })
        .collect();
    words.join(" ")
}

fn check(step: &Step, effects: &[Effect], state: impl Debug, timers: &Timers) {
    let got = (
        shown(effects),
        format!("{state:?}").to_lowercase(),
        running(timers),
    );
    let wanted = (step.2.into(), step.3.into(), step.4.into());
    assert_eq!(got, wanted, "after {:?} at {} ms", step.1, step.0);
}

fn invite_client(steps: &[Step]) {
    let (mut machine, first) = InviteClient::start(at(0), b"INVITE".to_vec());
    assert_eq!(shown(&first), "INVITE");
    for step in steps {
        let effects = match step.1 {
            Response(status) => machine.response(at(step.0), status, || b"ACK".to_vec()),
            Tick => machine.timeout(at(step.0)),
            _ => unreachable!("not an input of a client"),
        };
        check(step, &effects, machine.state(), machine.timers());
    }
}

#[test]
fn invite_client_timers_a_and_b() {
    invite_client(&[
        (0, Tick, "", "calling", "A@500 B@32000"),
        (499, Tick, "", "calling", "A@500 B@32000"),
        (500, Tick, "INVITE", "calling", "A@1500 B@32000"),
        (1500, Tick, "INVITE", "calling", "A@3500 B@32000"),
        (3500, Tick, "INVITE", "calling", "A@7500 B@32000"),
        (7500, Tick, "INVITE", "calling", "A@15500 B@32000"),
        (15500, Tick, "INVITE", "calling", "A@31500 B@32000"),
        (31500, Tick, "INVITE", "calling", "B@32000 A@63500"),
        (32000, Tick, "timeout", "terminated", ""),
        (32001, Response(200), "", "terminated", ""),
    ]);
}

#[test]
fn invite_client_refused_timer_d() {
    invite_client(&[
        (100, Response(100), "up", "proceeding", ""),
        (200, Response(180), "up", "proceeding", ""),
        // Neither A nor B in proceeding: it rings as long as it likes.
        (60_000, Tick, "", "proceeding", ""),
        (60_000, Response(486), "ACK up", "completed", "D@92000"),
        (60_500, Response(486), "ACK", "completed", "D@92000"),
        (60_600, Response(180), "", "completed", "D@92000"),
        (60_700, Response(200), "", "completed", "D@92000"),
        (92_000, Tick, "", "terminated", ""),
    ]);
    invite_client(&[
        (100, Response(302), "ACK up", "completed", "D@32100"),
        (32_100, Tick, "", "terminated", ""),
    ]);
}

#[test]
fn invite_client_accepted_timer_m() {
    invite_client(&[
        (100, Response(200), "up", "accepted", "M@32100"),
        (600, Response(200), "up", "accepted", "M@32100"),
        (700, Response(486), "", "accepted", "M@32100"),
        (700, Response(180), "", "accepted", "M@32100"),
        (32_100, Tick, "", "terminated", ""),
    ]);
    invite_client(&[
        (100, Response(183), "up", "proceeding", ""),
        (200, Response(202), "up", "accepted", "M@32200"),
    ]);
}

fn non_invite_client(steps: &[Step]) {
    let (mut machine, first) = NonInviteClient::start(at(0), b"BYE".to_vec());
    assert_eq!(shown(&first), "BYE");
    for step in steps {
        let effects = match step.1 {
            Response(status) => machine.response(at(step.0), status),
            Tick => machine.timeout(at(step.0)),
            _ => unreachable!("not an input of a client"),
        };
        check(step, &effects, machine.state(), machine.timers());
    }
}

#[test]
fn non_invite_client_timers_e_and_f() {
    non_invite_client(&[
        (500, Tick, "BYE", "trying", "E@1500 F@32000"),
        (1500, Tick, "BYE", "trying", "E@3500 F@32000"),
        (3500, Tick, "BYE", "trying", "E@7500 F@32000"),
        // T2 is the longest.
        (7500, Tick, "BYE", "trying", "E@11500 F@32000"),
        (11_500, Tick, "BYE", "trying", "E@15500 F@32000"),
        (32_000, Tick, "BYE timeout", "terminated", ""),
    ]);
}

#[test]
fn non_invite_client_in_proceeding_repeats_at_t2() {
    non_invite_client(&[
        (100, Response(100), "up", "proceeding", "E@500 F@32000"),
        (500, Tick, "BYE", "proceeding", "E@4500 F@32000"),
        (4500, Tick, "BYE", "proceeding", "E@8500 F@32000"),
        (4600, Response(182), "up", "proceeding", "E@8500 F@32000"),
        (32_000, Tick, "BYE timeout", "terminated", ""),
    ]);
}

#[test]
fn non_invite_client_timer_k() {
    for status in [200, 302, 404, 503, 603] {
        non_invite_client(&[
            (100, Response(status), "up", "completed", "K@5100"),
            (600, Response(status), "", "completed", "K@5100"),
            (700, Response(100), "", "completed", "K@5100"),
            (5100, Tick, "", "terminated", ""),
            (5200, Response(200), "", "terminated", ""),
        ]);
    }
}

fn invite_server(steps: &[Step]) {
    let mut machine = InviteServer::default();
    for step in steps {
        let now = at(step.0);
        let effects = match step.1 {
            Request => machine.request(),
            Ack => machine.ack(now),
            Respond(status) => machine.respond(now, status, status.to_string().into_bytes()),
            Tick => machine.timeout(now),
            Response(_) => unreachable!("not an input of a server"),
        };
        check(step, &effects, machine.state(), machine.timers());
    }
}

#[test]
fn invite_server_refuses_timers_g_h_i() {
    invite_server(&[
        (0, Request, "", "proceeding", ""),
        (10, Respond(100), "100", "proceeding", ""),
        (500, Request, "100", "proceeding", ""),
        (600, Respond(180), "180", "proceeding", ""),
        (1500, Request, "180", "proceeding", ""),
        (1500, Ack, "", "proceeding", ""),
        (2000, Respond(486), "486", "completed", "G@2500 H@34000"),
        (2500, Tick, "486", "completed", "G@3500 H@34000"),
        (3000, Request, "486", "completed", "G@3500 H@34000"),
        (3500, Tick, "486", "completed", "G@5500 H@34000"),
        (5500, Tick, "486", "completed", "G@9500 H@34000"),
        // T2 is the longest.
        (9500, Tick, "486", "completed", "G@13500 H@34000"),
        (9600, Respond(200), "", "completed", "G@13500 H@34000"),
        (10_000, Ack, "", "confirmed", "I@15000"),
        (10_100, Ack, "", "confirmed", "I@15000"),
        (10_100, Request, "", "confirmed", "I@15000"),
        (15_000, Tick, "", "terminated", ""),
    ]);
}

#[test]
fn invite_server_without_an_ack_timer_h() {
    invite_server(&[
        (0, Respond(404), "404", "completed", "G@500 H@32000"),
        (31_900, Tick, "404", "completed", "H@32000 G@32900"),
        (32_000, Tick, "timeout", "terminated", ""),
        (32_000, Request, "", "terminated", ""),
    ]);
}

#[test]
fn invite_server_accepts_timer_l() {
    invite_server(&[
        (0, Respond(200), "200", "accepted", "L@32000"),
        // The TU repeats it; the INVITE that comes again is absorbed.
        (500, Request, "", "accepted", "L@32000"),
        (500, Respond(200), "200", "accepted", "L@32000"),
        (600, Respond(486), "", "accepted", "L@32000"),
        (700, Ack, "up", "accepted", "L@32000"),
        (32_000, Tick, "", "terminated", ""),
    ]);
}

fn non_invite_server(steps: &[Step]) {
    let mut machine = NonInviteServer::default();
    for step in steps {
        let now = at(step.0);
        let effects = match step.1 {
            Request => machine.request(),
            Respond(status) => machine.respond(now, status, status.to_string().into_bytes()),
            Tick => machine.timeout(now),
            _ => unreachable!("not an input of this server"),
        };
        check(step, &effects, machine.state(), machine.timers());
    }
}

#[test]
fn non_invite_server_timer_j() {
    non_invite_server(&[
        (0, Request, "", "trying", ""),
        (100, Respond(182), "182", "proceeding", ""),
        (200, Request, "182", "proceeding", ""),
        (300, Respond(183), "183", "proceeding", ""),
        (1000, Respond(200), "200", "completed", "J@33000"),
        (1500, Request, "200", "completed", "J@33000"),
        (1600, Respond(500), "", "completed", "J@33000"),
        (1700, Request, "200", "completed", "J@33000"),
        (33_000, Tick, "", "terminated", ""),
        (33_000, Request, "", "terminated", ""),
    ]);
    non_invite_server(&[(0, Respond(481), "481", "completed", "J@32000")]);
}

// ---- matching ----

fn addresses() -> Addresses {
    Addresses {
        local: "10.0.0.1:5070".parse().unwrap(),
        remote: "10.0.0.2:5060".parse().unwrap(),
        transport: Transport::Udp,
    }
}

fn request(method: &str, via: &str, rest: &str) -> Message {
    let cseq = if rest.contains("CSeq") {
        String::new()
    } else {
        format!("CSeq: 7 {method}\r\n")
    };
    let text = format!(
        "{method} sip:tc@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nFrom: <sip:a@b>;tag=f\r\n\
         To: <sip:c@d>\r\nCall-ID: one\r\n{cseq}{rest}\r\n"
    );
    Message::parse(text.as_bytes()).expect("a request")
}

fn response(status: u16, branch: &str, method: &str) -> Message {
    let text = format!(
        "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP 10.0.0.1:5070;branch={branch}\r\n\
         From: <sip:a@b>;tag=f\r\nTo: <sip:c@d>;tag=t{status}\r\nCall-ID: one\r\n\
         CSeq: 7 {method}\r\n\r\n"
    );
    Message::parse(text.as_bytes()).expect("a response")
}

fn sent(table: &mut Transactions<&'static str>) -> Vec<String> {
    std::iter::from_fn(|| table.poll_outgoing())
        .map(|(to, bytes)| {
            assert_eq!(to, addresses());
            String::from_utf8(bytes).expect("text")
        })
        .collect()
}

#[test]
fn responses_match_by_branch_and_method() {
    let mut table = Transactions::default();
    let branch = "z9hG4bKss1";
    let invite = request(
        "INVITE",
        "10.0.0.1:5070;branch=z9hG4bKss1;rport",
        "Route: <sip:r1;lr>, <sip:r2;lr>\r\nContact: <sip:x>\r\n",
    );
    // A body is not part of the ACK.
    let invite = [invite.bytes(), b"v="].concat();
    let key = |method| ClientKey::new(branch, &method);
    table.send(
        at(0),
        key(Method::Invite),
        addresses(),
        invite.clone(),
        "call",
    );
    let cancel = cancel_of(&invite);
    table.send(
        at(0),
        key(Method::Cancel),
        addresses(),
        cancel.clone(),
        "cancel",
    );
    assert_eq!(sent(&mut table).len(), 2);
    assert_eq!(table.next_timeout(), Some(at(500)));

    let mut got = |status, branch, method| {
        let fate = table.response(at(10), &response(status, branch, method));
        (fate, sent(&mut table))
    };
    let (fate, _) = got(200, "z9hG4bKother", "INVITE");
    assert_eq!(fate, ResponseFate::Unmatched);
    let (fate, _) = got(200, branch, "BYE");
    assert_eq!(fate, ResponseFate::Unmatched);
    let (fate, out) = got(200, branch, "CANCEL");
    assert_eq!((fate, out.len()), (ResponseFate::Deliver("cancel"), 0));
    let (fate, out) = got(487, branch, "INVITE");
    assert_eq!(fate, ResponseFate::Deliver("call"));

    // §17.1.1.3
    let ack = Message::parse(out[0].as_bytes()).expect("an ACK");
    let original = Message::parse(&invite).expect("an INVITE");
    assert_eq!(ack.method(), &Method::Ack);
    assert_eq!(ack.cseq(), (7, Method::Ack));
    assert_eq!(ack.uri(), original.uri());
    assert_eq!(ack.header(Name::VIA), original.header(Name::VIA));
    assert_eq!(ack.header(Name::FROM), original.header(Name::FROM));
    assert_eq!(ack.header(Name::TO), Some(&b"<sip:c@d>;tag=t487"[..]));
    assert_eq!(ack.header(Name::ROUTE), original.header(Name::ROUTE));
    assert_eq!((ack.body().len(), ack.header(Name::CONTACT)), (0, None));

    // §9.1
    let cancel = Message::parse(&cancel).expect("a CANCEL");
    assert_eq!(cancel.cseq(), (7, Method::Cancel));
    assert_eq!(cancel.header(Name::VIA), original.header(Name::VIA));
    assert_eq!(cancel.header(Name::TO), original.header(Name::TO));
    assert_eq!(cancel.header(Name::ROUTE), original.header(Name::ROUTE));

    // The refusal again: the ACK again, and nothing for the TU.
    let (fate, again) = got(487, branch, "INVITE");
    assert_eq!((fate, again), (ResponseFate::Absorbed, out));
    assert_eq!(table.timeout(at(60_000)), vec![]);
    assert!(table.is_empty() && table.next_timeout().is_none());
}

#[test]
fn a_request_that_nobody_answers_expires() {
    let mut table = Transactions::default();
    let key = ClientKey::new("z9hG4bKss1", &Method::Bye);
    table.send(
        at(0),
        key.clone(),
        addresses(),
        b"BYE sip:x SIP/2.0\r\n\r\n".to_vec(),
        "bye",
    );
    assert!(table.is_pending(&key));
    let mut expired = Vec::new();
    while let Some(next) = table.next_timeout() {
        expired.extend(table.timeout(next));
    }
    assert_eq!(expired, vec![Expired::Request("bye")]);
    // At 0, .5, 1.5, 3.5, then every 4 s to 31.5.
    assert_eq!(sent(&mut table).len(), 11);
    assert!(table.is_empty() && !table.is_pending(&key));
}

fn new(fate: RequestFate) -> ServerKey {
    match fate {
        RequestFate::New(key) => key,
        other => panic!("not a new transaction: {other:?}"),
    }
}

#[test]
fn requests_match_by_branch_sent_by_and_method() {
    let mut table: Transactions<&str> = Transactions::default();
    let invite = request("INVITE", "10.0.0.2:5060;branch=z9hG4bKa", "");
    let key = new(table.request(at(0), &invite, addresses()));
    table.respond(at(0), &key, 486, b"refused".to_vec());
    assert_eq!(sent(&mut table), ["refused"]);

    // The same again.
    assert_eq!(
        table.request(at(1), &invite, addresses()),
        RequestFate::Absorbed
    );
    assert_eq!(sent(&mut table), ["refused"]);
    // Another branch, sent-by or method is another transaction.
    for other in [
        request("INVITE", "10.0.0.2:5060;branch=z9hG4bKb", ""),
        request("INVITE", "10.0.0.2:5061;branch=z9hG4bKa", ""),
        request("CANCEL", "10.0.0.2:5060;branch=z9hG4bKa", ""),
    ] {
        new(table.request(at(1), &other, addresses()));
    }
    let cancel = request("CANCEL", "10.0.0.2:5060;branch=z9hG4bKa", "");
    assert_eq!(ServerKey::cancelled_by(&cancel), Some(key));
    // The ACK of the refusal has the INVITE's branch and stops timer G.
    let ack = request("ACK", "10.0.0.2:5060;branch=z9hG4bKa", "");
    assert_eq!(
        table.request(at(2), &ack, addresses()),
        RequestFate::Absorbed
    );
    table.timeout(at(3000));
    assert_eq!(sent(&mut table), [""; 0]);
    // That of a 2xx has a branch of its own and is the TU's.
    let ack = request("ACK", "10.0.0.2:5060;branch=z9hG4bKc", "");
    assert_eq!(table.request(at(2), &ack, addresses()), RequestFate::Ack);
}

#[test]
fn without_the_cookie_requests_match_as_in_rfc_2543() {
    for via in ["10.0.0.2:5060", "10.0.0.2:5060;branch=1"] {
        let mut table: Transactions<&str> = Transactions::default();
        let invite = request("INVITE", via, "");
        let key = new(table.request(at(0), &invite, addresses()));
        assert!(matches!(key, ServerKey::Rfc2543 { .. }));
        table.respond(at(0), &key, 404, b"refused".to_vec());
        assert_eq!(
            table.request(at(1), &invite, addresses()),
            RequestFate::Absorbed
        );
        // Another CSeq, Via or Call-ID: another transaction.
        let cseq = request("INVITE", via, "CSeq: 8 INVITE\r\n");
        new(table.request(at(1), &cseq, addresses()));
        new(table.request(at(1), &request("INVITE", "10.0.0.3", ""), addresses()));
        new(table.request(at(1), &request("BYE", via, ""), addresses()));
        // The ACK takes its To from the response; it matches all the same.
        let text = String::from_utf8(request("ACK", via, "").bytes().to_vec()).unwrap();
        let ack = text.replace("To: <sip:c@d>", "To: <sip:c@d>;tag=mine");
        let ack = Message::parse(ack.as_bytes()).unwrap();
        assert_eq!(
            table.request(at(2), &ack, addresses()),
            RequestFate::Absorbed
        );
        sent(&mut table);
        table.timeout(at(2500));
        assert_eq!(sent(&mut table), [""; 0], "timer G has stopped");
    }
}

#[test]
fn an_unacknowledged_refusal_expires() {
    let mut table: Transactions<&str> = Transactions::default();
    let invite = request("INVITE", "h;branch=z9hG4bKa", "");
    let key = new(table.request(at(0), &invite, addresses()));
    table.respond(at(0), &key, 486, b"refused".to_vec());
    let mut expired = Vec::new();
    while let Some(next) = table.next_timeout() {
        expired.extend(table.timeout(next));
    }
    assert_eq!(expired, vec![Expired::Ack(key)]);
    assert!(table.is_empty());
}

/// RFC 3261 §17.1.1.2, §17.1.2.2: over TCP nothing is sent again, and nothing is
/// waited for at the end.
#[test]
fn nothing_is_repeated_over_a_reliable_transport() {
    for method in [Method::Invite, Method::Bye] {
        let (mut machine, first) =
            ClientTransaction::start(at(0), &method, b"request".to_vec(), true);
        assert_eq!(first, [Effect::Send(b"request".to_vec())]);
        assert_eq!(machine.timeout(at(31_999)), []);
        assert_eq!(machine.timeout(at(32_000)), [Effect::TimedOut]);

        let (mut machine, _) = ClientTransaction::start(at(0), &method, b"request".to_vec(), true);
        machine.response(at(10), 486, || b"ACK".to_vec());
        machine.timeout(at(10));
        assert!(machine.is_terminated(), "{method}");
    }
}
