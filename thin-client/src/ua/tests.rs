//! The peer in these tests is written out by hand: what it sends is what a
//! controller or a stock user agent sends.

use super::*;
use crate::media::stream::Peer;
use crate::report;
use sidestep_core::sip::digest::Credentials;

const CONTROLLER: &str = "10.71.1.11:5070";
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 10.71.3.31\r\ns=-\r\nc=IN IP4 10.71.3.31\r\nt=0 0\r\n\
                     m=audio 30000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

struct Bench {
    agent: UserAgent,
    now: Time,
}

fn config(media: &str, more: &str) -> Config {
    crate::config::parse(&format!(
        "server: {CONTROLLER}\nuser: tc17\npassword: secret\nbind: 10.71.2.21:5062\n\
         media: {{address: {media}, port: 20000}}\n{more}\n"
    ))
    .expect("a valid configuration")
}

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

impl Bench {
    /// A client that has already registered, its output taken.
    fn new(more: &str) -> Self {
        let mut bench = Self::unregistered(more);
        let register = bench.only();
        bench.reply(&register, 200, "Expires: 600\r\n", "");
        while bench.agent.poll_event().is_some() {}
        bench
    }

    fn unregistered(more: &str) -> Self {
        Self::unregistered_at("10.71.2.21", more)
    }

    /// With its media at this address.
    fn unregistered_at(media: &str, more: &str) -> Self {
        let mut bench = Self {
            agent: UserAgent::new(config(media, more), Time::ZERO),
            now: Time::ZERO,
        };
        bench.agent.handle_timeout(bench.now);
        bench
    }

    fn sent(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.agent.poll_output())
            .map(|(_, bytes)| Message::parse(&bytes).expect("a valid message"))
            .collect()
    }

    fn only(&mut self) -> Message {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.agent.poll_event()).collect()
    }

    fn receive(&mut self, text: &str) {
        let now = self.now;
        self.agent
            .handle_datagram(now, at(CONTROLLER), text.as_bytes());
    }

    fn reply(&mut self, request: &Message, status: u16, headers: &str, body: &str) {
        let line =
            |name| String::from_utf8_lossy(request.header(name).expect("there")).into_owned();
        let (via, from, to) = (line(Name::VIA), line(Name::FROM), line(Name::TO));
        let (call_id, cseq) = (line(Name::CALL_ID), line(Name::CSEQ));
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        self.receive(&format!(
            "SIP/2.0 {status} X\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq}\r\n{headers}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    /// A request of the call `c1`; `to_tag` of the dialog or empty.
    fn request(&mut self, method: &str, cseq: u32, branch: &str, to_tag: &str, body: &str) {
        let tag = if to_tag.is_empty() {
            String::new()
        } else {
            format!(";tag={to_tag}")
        };
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        self.receive(&format!(
            "{method} sip:tc17@10.71.2.21:5062 SIP/2.0\r\n\
             Via: SIP/2.0/UDP {CONTROLLER};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:desk@10.71.1.11>;tag=ff\r\nTo: <sip:tc17@10.71.2.21>{tag}\r\n\
             Call-ID: c1\r\nCSeq: {cseq} {method}\r\nContact: <sip:sidestep@{CONTROLLER}>\r\n{kind}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    /// A call answered and acknowledged; its tag.
    fn call(&mut self, offer: &str) -> String {
        self.request("INVITE", 1, "i1", "", offer);
        let ok = self.only();
        assert_eq!(ok.status(), Some(200));
        let tag = String::from_utf8_lossy(ok.to_tag().expect("a tag")).into_owned();
        self.request("ACK", 1, "a1", &tag, "");
        tag
    }

    fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        self.agent.handle_timeout(self.now);
    }
}

fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

fn peer(bench: &mut Bench) -> Option<(SocketAddr, Peer)> {
    bench
        .events()
        .into_iter()
        .rev()
        .find_map(|event| match event {
            Event::Media { local, peer } => Some((local, peer)),
            _ => None,
        })
}

#[test]
fn steps_301_and_401_register_what_the_variant_says() {
    for (register, line) in [
        ("codecs", Some("m=audio 20000 RTP/AVP 0 8\r\n")),
        ("address", Some("m=audio 20000 RTP/AVP *\r\n")),
        ("none", None),
    ] {
        let request = Bench::unregistered(&format!("register: {register}")).only();
        assert_eq!(request.method(), &Method::Register);
        assert_eq!(request.is_sdp(), line.is_some(), "{register}");
        let sdp = body(&request);
        assert!(
            line.is_none_or(|line| sdp.contains(line)),
            "{register}: {sdp}"
        );
        assert!(
            line.is_none() || sdp.contains("c=IN IP4 10.71.2.21\r\n"),
            "{sdp}"
        );
    }
}

#[test]
fn media_with_ipv6_is_registered_as_that() {
    for register in ["codecs", "address"] {
        let more = format!("register: {register}");
        let request = Bench::unregistered_at("\"fd71:2::21\"", &more).only();
        let sdp = body(&request);
        assert!(sdp.contains("c=IN IP6 fd71:2::21\r\n"), "{register}: {sdp}");
    }
}

#[test]
fn a_challenge_is_answered_and_the_registration_refreshed_and_removed() {
    let mut bench = Bench::unregistered("");
    let first = bench.only();
    let challenges = "WWW-Authenticate: Digest realm=\"sidestep\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"\r\n\
                      WWW-Authenticate: Digest realm=\"sidestep\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n";
    bench.reply(&first, 401, challenges, "");
    let second = bench.only();
    assert_eq!(second.cseq().0, first.cseq().0 + 1);
    let header = second.header(Name::AUTHORIZATION).expect("credentials");
    let credentials = Credentials::parse(header).expect("readable");
    assert!(credentials.verify("secret", "REGISTER"));
    assert_eq!(credentials.algorithm.name(), "SHA-256");
    bench.reply(
        &second,
        200,
        "Contact: <sip:tc17@10.71.2.21:5062>;expires=100\r\n",
        "",
    );
    let expected = report::Registration {
        registered: true,
        status: Some(200),
        expires: Some(100),
        accepted: 1,
    };
    assert_eq!(bench.events().pop(), Some(Event::Registration(expected)));

    bench.advance(Duration::from_secs(79));
    assert!(bench.sent().is_empty());
    bench.advance(Duration::from_secs(2));
    let refresh = bench.only();
    let header = refresh.header(Name::AUTHORIZATION).expect("credentials");
    let credentials = Credentials::parse(header).expect("readable");
    assert_eq!(
        credentials.nonce_count(),
        Some(2),
        "the nonce is used again"
    );
    bench.reply(&refresh, 200, "Expires: 100\r\n", "");

    bench.agent.stop(bench.now);
    let removal = bench.only();
    assert_eq!(removal.expires(), Some(0));
    assert!(!bench.agent.is_stopped(bench.now));
    bench.reply(&removal, 200, "", "");
    assert!(bench.agent.is_stopped(bench.now));
}

#[test]
fn a_wrong_password_is_tried_again_later_and_not_at_once() {
    let mut bench = Bench::unregistered("");
    let challenge = "WWW-Authenticate: Digest realm=\"s\", nonce=\"n\", qop=\"auth\"\r\n";
    let request = bench.only();
    bench.reply(&request, 401, challenge, "");
    let request = bench.only();
    bench.reply(&request, 401, challenge, "");
    assert!(bench.sent().is_empty());
    bench.advance(Duration::from_secs(1));
    assert!(bench.only().header(Name::AUTHORIZATION).is_none());
}

#[test]
fn too_short_an_expiry_is_raised() {
    let mut bench = Bench::unregistered("expires: 10");
    let request = bench.only();
    assert_eq!(request.expires(), Some(10));
    bench.reply(&request, 423, "Min-Expires: 60\r\n", "");
    assert_eq!(bench.only().expires(), Some(60));
}

#[test]
fn steps_304_and_305_an_offer_is_answered_with_the_common_codecs() {
    let mut bench = Bench::new("");
    bench.request("INVITE", 1, "i1", "", OFFER);
    let ok = bench.only();
    assert_eq!(ok.status(), Some(200));
    let answer = body(&ok);
    assert!(answer.contains("m=audio 20000 RTP/AVP 8 0\r\n"), "{answer}");
    let events = bench.events();
    assert!(matches!(events[0], Event::Invited { .. }), "{events:?}");
    let Event::Media { local, peer } = &events[1] else {
        panic!("{events:?}");
    };
    assert_eq!(*local, at("10.71.2.21:20000"));
    assert_eq!(peer.rtp, at("10.71.3.31:30000"));
    assert_eq!(peer.rtcp, at("10.71.3.31:30001"));
    assert_eq!(peer.formats[0].0, 8);
    assert!(peer.send);
}

#[test]
fn the_200_is_repeated_until_its_ack_and_then_given_up() {
    let mut bench = Bench::new("");
    bench.request("INVITE", 1, "i1", "", OFFER);
    let ok = bench.only();
    bench.request("INVITE", 1, "i1", "", OFFER);
    assert!(bench.sent().is_empty(), "the repetition is the timer's");
    bench.advance(Duration::from_millis(500));
    assert_eq!(bench.only().bytes(), ok.bytes());
    bench.advance(Duration::from_millis(1_000));
    assert_eq!(bench.only().bytes(), ok.bytes());
    let mut last = Vec::new();
    while last.is_empty() || last.iter().all(|message: &Message| !message.is_request()) {
        bench.advance(Duration::from_secs(1));
        last = bench.sent();
        assert!(bench.now < Time::from_origin(Duration::from_secs(60)));
    }
    assert_eq!(last[0].method(), &Method::Bye);
    assert_eq!(
        bench.events().pop(),
        Some(Event::Ended { reason: "no-ack" })
    );

    let mut bench = Bench::new("");
    bench.call(OFFER);
    assert!(bench.events().contains(&Event::Confirmed));
    bench.advance(Duration::from_secs(10));
    assert!(bench.sent().is_empty());
}

#[test]
fn without_an_offer_the_200_offers_and_the_ack_answers() {
    let mut bench = Bench::new("");
    bench.request("INVITE", 1, "i1", "", "");
    let ok = bench.only();
    assert!(body(&ok).contains("m=audio 20000 RTP/AVP 0 8\r\n"));
    assert!(
        !bench
            .events()
            .iter()
            .any(|event| matches!(event, Event::Media { .. }))
    );
    let tag = String::from_utf8_lossy(ok.to_tag().expect("a tag")).into_owned();
    bench.request("ACK", 1, "a1", &tag, &OFFER.replace("8 0 101", "8"));
    let (_, peer) = peer(&mut bench).expect("media");
    assert_eq!(peer.formats.len(), 1);
    assert_eq!(peer.rtp, at("10.71.3.31:30000"));
}

#[test]
fn a_reinvite_moves_holds_and_resumes_the_peer() {
    let mut bench = Bench::new("");
    let tag = bench.call(OFFER);
    let version = |message: &Message| {
        let description = message.sdp().expect("SDP").expect("readable");
        description.origin().expect("o=").sess_version
    };
    let moved = OFFER.replace("30000", "30100");
    let mut versions = Vec::new();
    for (cseq, offer, sends) in [
        (2, moved.clone(), true),
        (3, moved.clone() + "a=sendonly\r\n", false),
        (
            4,
            moved.replace("c=IN IP4 10.71.3.31", "c=IN IP4 0.0.0.0"),
            false,
        ),
        (5, moved, true),
    ] {
        bench.request("INVITE", cseq, &format!("r{cseq}"), &tag, &offer);
        let ok = bench.only();
        assert_eq!(ok.status(), Some(200), "{cseq}");
        versions.push(version(&ok));
        bench.request("ACK", cseq, &format!("ra{cseq}"), &tag, "");
        let (_, peer) = peer(&mut bench).expect("media");
        assert_eq!(peer.send, sends, "{cseq}");
        assert_eq!(peer.rtp.port(), 30_100);
    }
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
}

#[test]
fn requests_that_do_not_fit_are_refused_by_their_kind() {
    let mut bench = Bench::new("");
    bench.call(OFFER);
    for (method, cseq, tag, status) in [
        ("INVITE", 9, "other", 481),
        ("BYE", 9, "other", 481),
        ("CANCEL", 9, "", 200),
        ("OPTIONS", 9, "", 200),
        ("PUBLISH", 9, "", 405),
        ("INVITE", 9, "", 486),
    ] {
        let branch = format!("x{method}{tag}");
        bench.request(method, cseq, &branch, tag, "");
        assert_eq!(bench.only().status(), Some(status), "{method} {tag}");
    }
}

#[test]
fn a_ringing_call_can_be_cancelled() {
    let mut bench = Bench::new("answer: {delay_ms: 2000}");
    bench.request("INVITE", 1, "i1", "", OFFER);
    assert_eq!(bench.only().status(), Some(180));
    bench.advance(Duration::from_millis(1_900));
    assert!(bench.sent().is_empty());
    bench.request("CANCEL", 1, "i1", "", "");
    let sent = bench.sent();
    let statuses: Vec<_> = sent
        .iter()
        .map(|m| (m.status(), m.method().clone()))
        .collect();
    assert_eq!(
        statuses,
        [(Some(200), Method::Cancel), (Some(487), Method::Invite)]
    );
    assert_eq!(
        bench.events().pop(),
        Some(Event::Ended { reason: "cancel" })
    );

    let mut bench = Bench::new("answer: {delay_ms: 2000}");
    bench.request("INVITE", 1, "i1", "", OFFER);
    bench.advance(Duration::from_millis(2_000));
    assert_eq!(bench.sent().pop().and_then(|m| m.status()), Some(200));
}

#[test]
fn calls_are_refused_or_ignored_as_configured() {
    let mut bench = Bench::new("answer: {refuse: 480}");
    bench.request("INVITE", 1, "i1", "", OFFER);
    assert_eq!(bench.only().status(), Some(480));
    bench.request("ACK", 1, "i1", "t", "");
    bench.advance(Duration::from_secs(3));
    assert!(bench.sent().is_empty(), "acknowledged");

    let mut bench = Bench::new("answer: silent");
    bench.request("INVITE", 1, "i1", "", OFFER);
    assert!(bench.sent().is_empty() && bench.events().is_empty());

    let mut bench = Bench::new("");
    bench.request("INVITE", 1, "i1", "", &OFFER.replace("8 0 101", "18"));
    assert_eq!(bench.only().status(), Some(488));
}

#[test]
fn both_sides_can_hang_up() {
    let mut bench = Bench::new("");
    let tag = bench.call(OFFER);
    bench.request("BYE", 2, "b1", &tag, "");
    assert_eq!(bench.only().status(), Some(200));
    assert_eq!(bench.events().pop(), Some(Event::Ended { reason: "bye" }));

    let mut bench = Bench::new("hangup_after_ms: 1500");
    bench.call(OFFER);
    bench.advance(Duration::from_millis(1_500));
    let bye = bench.only();
    assert_eq!(bye.method(), &Method::Bye);
    assert_eq!(bye.uri(), Some(&b"sip:sidestep@10.71.1.11:5070"[..]));
    assert_eq!(bye.to_tag(), Some(&b"ff"[..]));
    assert_eq!(
        bench.events().pop(),
        Some(Event::Ended { reason: "hangup" })
    );
}

#[test]
fn step_305_can_name_another_port_than_the_registration() {
    let mut bench = Bench::new("answer_media: {port: 20100}");
    bench.request("INVITE", 1, "i1", "", OFFER);
    assert!(body(&bench.only()).contains("m=audio 20100 RTP/AVP"));
    let (local, _) = peer(&mut bench).expect("media");
    assert_eq!(local, at("10.71.2.21:20100"));
}

#[test]
fn a_call_is_offered_anew_and_moves_when_that_is_answered() {
    let mut bench = Bench::new("reinvite: {after_ms: 1000, port: 20200}");
    bench.call(OFFER);
    bench.events();
    bench.advance(Duration::from_millis(1_000));
    let offer = bench.only();
    assert_eq!((offer.method(), offer.cseq().0), (&Method::Invite, 1));
    assert!(body(&offer).contains("m=audio 20200 RTP/AVP 0 8\r\n"));
    assert!(bench.events().is_empty());
    let contact = format!("Contact: <sip:moved@{CONTROLLER}>\r\n");
    bench.reply(&offer, 200, &contact, &OFFER.replace("30000", "30300"));
    let ack = bench.only();
    assert_eq!((ack.method(), ack.cseq().0), (&Method::Ack, 1));
    assert_eq!(
        ack.uri(),
        Some(format!("sip:moved@{CONTROLLER}").as_bytes())
    );
    let (local, moved) = peer(&mut bench).expect("media");
    assert_eq!((local.port(), moved.rtp.port()), (20_200, 30_300));
    bench.reply(&offer, 200, &contact, OFFER);
    assert_eq!(
        bench.only().bytes(),
        ack.bytes(),
        "a repeated 200 is acknowledged again"
    );
    assert!(bench.events().is_empty());
}

#[test]
fn glare_is_tried_again_and_a_refusal_changes_nothing() {
    let mut bench = Bench::new("reinvite: {after_ms: 1000, port: 20200}");
    bench.call(OFFER);
    bench.advance(Duration::from_millis(1_000));
    let offer = bench.only();
    bench.reply(&offer, 491, "", "");
    assert_eq!(bench.only().method(), &Method::Ack);
    bench.advance(Duration::from_secs(2));
    let again = bench.only();
    assert_eq!(again.method(), &Method::Invite);
    bench.reply(&again, 488, "", "");
    bench.events();
    bench.advance(Duration::from_secs(20));
    assert!(bench.sent().iter().all(|m| *m.method() != Method::Bye));
    assert!(bench.events().is_empty());
}

#[test]
fn rubbish_is_no_reason_to_stop() {
    let mut bench = Bench::new("");
    for rubbish in [
        "",
        "\r\n\r\n",
        "INVITE",
        "SIP/2.0 200 OK\r\n\r\n",
        "\u{0}\u{1}",
    ] {
        bench.receive(rubbish);
    }
    bench.request("INVITE", 1, "i1", "", "not SDP");
    assert_eq!(bench.only().status(), Some(400));
    assert!(matches!(
        bench.events().pop(),
        Some(Event::Ended {
            reason: "unacceptable"
        })
    ));
}

/// The report that nothing can be decoded (M9): to who takes it, once for what is
/// agreed.
#[test]
fn what_cannot_be_decoded_is_reported() {
    let mut bench = Bench::new("");
    let tag = bench.call(OFFER);
    bench.agent.undecodable(bench.now, 18);
    assert_eq!(bench.sent().len(), 0, "the INVITE does not ask for it");
    bench.request("BYE", 2, "b1", &tag, "");
    bench.sent();

    bench.receive(&format!(
        "INVITE sip:tc17@10.71.2.21:5062 SIP/2.0\r\nVia: SIP/2.0/UDP {CONTROLLER};branch=z9hG4bKi2;rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:desk@10.71.1.11>;tag=ff\r\nTo: <sip:tc17@10.71.2.21>\r\n\
         Call-ID: c1\r\nCSeq: 1 INVITE\r\nContact: <sip:sidestep@{CONTROLLER}>\r\n\
         Recv-Info: weather, Undecodable\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{OFFER}",
        OFFER.len()
    ));
    let ok = bench.only();
    let tag = String::from_utf8_lossy(ok.to_tag().expect("a tag")).into_owned();
    bench.agent.undecodable(bench.now, 18);
    assert_eq!(bench.sent().len(), 0, "the call is not up");
    bench.request("ACK", 1, "a2", &tag, "");
    for _ in 0..2 {
        bench.agent.undecodable(bench.now, 18);
    }
    let info = bench.only();
    assert_eq!(*info.method(), Method::Info);
    assert_eq!(
        info.header(Name::new("Info-Package")),
        Some(b"undecodable".as_slice())
    );
    assert_eq!(info.body(), b"18");
    bench.reply(&info, 200, "", "");
    // Another codec is agreed, and is no better.
    bench.request("INVITE", 2, "i3", &tag, OFFER);
    bench.sent();
    bench.request("ACK", 2, "a3", &tag, "");
    bench.agent.undecodable(bench.now, 18);
    assert_eq!(*bench.only().method(), Method::Info);
}
