//! MGCP as RFC 3435 writes it, and as others do. The files of `data/mgcp` are its
//! examples, by section, and oddities.

mod mutation;

use mutation::{Random, fixtures, mutate};
use sidestep_core::decode::{PacketView, rewrite_mgcp};
use sidestep_core::media::Direction;
use sidestep_core::mgcp::value::{
    ConnectionMode, ConnectionParameters, RestartMethod, acknowledged, codecs, options,
    package_name, with_codecs,
};
use sidestep_core::mgcp::{
    CommandBuilder, Domain, EndpointName, Message, Packet, PacketEdit, Parameter, ResponseBuilder,
    StartLine, Verb,
};

fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/mgcp/{name}.mgcp", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn packet(name: &str) -> Packet {
    Packet::parse(&file(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A message in a line: what a reader of the trace would note.
fn line(message: &Message<'_>) -> String {
    let start = match message.start() {
        StartLine::Command { verb, endpoint, .. } => format!(
            "{verb} {} {}",
            message.transaction(),
            endpoint.written.escape_ascii()
        ),
        StartLine::Response { code, .. } => format!("{code:03} {}", message.transaction()),
    };
    let names = message.parameters().map(|(name, _)| {
        let long = Parameter::long_form(name);
        String::from_utf8_lossy(long).into_owned()
    });
    let names: Vec<String> = names.collect();
    format!(
        "{start} [{}] {}",
        names.join(" "),
        message.descriptions().len()
    )
}

#[test]
fn every_example_by_section() {
    let table = [
        (
            "F.1-notification-request",
            "RQNT 1201 aaln/1@rgw-2567.whatever.net [NotifiedEntity RequestIdentifier RequestedEvents SignalRequests] 0",
        ),
        (
            "F.1-digit-map",
            "RQNT 1202 aaln/1@rgw-2567.whatever.net [NotifiedEntity RequestIdentifier RequestedEvents DigitMap SignalRequests DetectEvents] 0",
        ),
        (
            "F.2-notify",
            "NTFY 2002 aaln/1@rgw-2567.whatever.net [NotifiedEntity RequestIdentifier ObservedEvents] 0",
        ),
        (
            "F.3-create-connection",
            "CRCX 1204 aaln/1@rgw-2567.whatever.net [CallId LocalConnectionOptions ConnectionMode] 0",
        ),
        ("F.3-created", "200 1204 [ConnectionId] 1"),
        (
            "F.3-with-remote",
            "CRCX 1205 aaln/1@rgw-2569.whatever.net [CallId LocalConnectionOptions ConnectionMode RequestIdentifier RequestedEvents SignalRequests] 1",
        ),
        ("F.3-provisional", "100 1206 [ConnectionId] 1"),
        (
            "F.3-final-after-provisional",
            "200 1206 [ResponseAck ConnectionId] 1",
        ),
        ("F.3-acknowledged", "000 1206 [] 0"),
        (
            "F.4-modify-connection",
            "MDCX 1209 aaln/1@rgw-2567.whatever.net [CallId ConnectionId NotifiedEntity ConnectionMode] 1",
        ),
        (
            "F.5-delete-connection",
            "DLCX 1210 aaln/1@rgw-2567.whatever.net [CallId ConnectionId] 0",
        ),
        ("F.5-deleted", "250 1210 [ConnectionParameters] 0"),
        (
            "F.6-deleted-by-gateway",
            "DLCX 9210 aaln/1@rgw-2567.whatever.net [CallId ConnectionId ReasonCode ConnectionParameters] 0",
        ),
        (
            "F.7-delete-all",
            "DLCX 1210 aaln/*@rgw-2567.whatever.net [CallId] 0",
        ),
        (
            "F.8-audit-endpoint",
            "AUEP 1201 aaln/1@rgw-2567.whatever.net [RequestedInfo] 0",
        ),
        (
            "F.8-audited",
            "200 1201 [Capabilities Capabilities ConnectionId RequestIdentifier RequestedEvents DigitMap SignalRequests NotifiedEntity] 0",
        ),
        (
            "F.9-audit-connection",
            "AUCX 2003 aaln/1@rgw-2567.whatever.net [ConnectionId RequestedInfo] 0",
        ),
        (
            "F.9-audited",
            "200 2003 [CallId NotifiedEntity LocalConnectionOptions ConnectionMode ConnectionParameters] 2",
        ),
        (
            "F.10-restart",
            "RSIP 1200 aaln/*@rgw-2567.whatever.net [RestartMethod RestartDelay] 0",
        ),
        (
            "F.10-restart-one",
            "RSIP 1204 aaln/1@rgw-2567.whatever.net [RestartMethod RestartDelay] 0",
        ),
        ("F.10-redirected", "521 1204 [NotifiedEntity] 0"),
        (
            "2.3.5-second-endpoint",
            "CRCX 1301 aaln/1@gw.example [CallId ConnectionMode SecondEndpointId] 0",
        ),
        (
            "2.3.5-bridged",
            "200 1301 [ConnectionId SecondEndpointId SecondConnectionId] 2",
        ),
        (
            "ncs",
            "CRCX 77 aaln/2@mta-1.cable.example [CallId LocalConnectionOptions ConnectionMode X+S8] 0",
        ),
        (
            "odd",
            "CRCX 78 ds/s-1/$@TGW.example [ConnectionMode CallId LocalConnectionOptions  BearerInformation] 1",
        ),
        ("unknown-verb", "XFOO 5 *@gw [PKG/par] 0"),
        ("package-code", "501 12 [] 0"),
    ];
    for (name, expected) in table {
        let packet = packet(name);
        let lines: Vec<String> = packet.messages().map(|m| line(&m)).collect();
        assert_eq!(lines, [expected], "{name}");
    }
}

/// §3.5.5: several messages, a line with a dot between them.
#[test]
fn piggybacked_messages() {
    let packet = packet("3.5.5-three");
    let lines: Vec<String> = packet.messages().map(|m| line(&m)).collect();
    assert_eq!(
        lines,
        [
            "200 2005 [] 0",
            "CRCX 1245 ds/e1-1/5@[128.96.41.9] [CallId ConnectionMode] 1",
            "RQNT 1246 ds/e1-1/5@[128.96.41.9] [RequestIdentifier] 0",
        ]
    );
    let second = packet.messages().nth(1).unwrap();
    let description = second.descriptions().next().unwrap();
    assert!(description.starts_with(b"v=0\r\n") && description.ends_with(b"RTP/AVP 0\r\n"));
}

#[test]
fn what_is_written_oddly_is_understood() {
    let packet = packet("odd");
    let message = packet.messages().next().unwrap();
    let StartLine::Command { verb, version, .. } = message.start() else {
        panic!("a command");
    };
    assert_eq!(*verb, Verb::CreateConnection);
    assert_eq!(version, b"mgcp 1.0 TGCP 1.0");
    assert_eq!(message.parameter(Parameter::CALL_ID), Some(&b"ff"[..]));
    let mode = message.parameter(Parameter::CONNECTION_MODE).unwrap();
    assert_eq!(
        ConnectionMode::parse(mode),
        ConnectionMode::Media(Direction::SendRecv)
    );
    let wanted = message.parameter(Parameter::LOCAL_CONNECTION_OPTIONS);
    assert_eq!(
        codecs(wanted.unwrap()),
        Some(vec!["PCMA".to_owned(), "G729".to_owned()])
    );
    assert_eq!(
        with_codecs(wanted.unwrap(), &["PCMU".to_owned()]),
        b"A:PCMU ,P:20"
    );
}

#[test]
fn values() {
    assert_eq!(
        options(b"p:20, a:PCMU, sc-rtcp:81/70;\"a,b\", e"),
        [
            (&b"p"[..], &b"20"[..]),
            (b"a", b"PCMU"),
            (b"sc-rtcp", b"81/70;\"a,b\""),
            (b"e", b""),
        ]
    );
    assert_eq!(
        acknowledged(b"6234-6255, 6257,x, 9-y"),
        [6234..=6255, 6257..=6257]
    );
    let packet = packet("F.5-deleted");
    let deleted = packet.messages().next().unwrap();
    let statistics = deleted.parameter(Parameter::CONNECTION_PARAMETERS).unwrap();
    assert_eq!(
        ConnectionParameters::parse(statistics),
        ConnectionParameters {
            packets_sent: Some(1245),
            octets_sent: Some(62345),
            packets_received: Some(780),
            octets_received: Some(45123),
            packets_lost: Some(10),
            jitter_ms: Some(27),
            latency_ms: Some(48),
        }
    );
    for (written, mode) in [
        ("SENDONLY", Some(Direction::SendOnly)),
        ("recvonly", Some(Direction::RecvOnly)),
        ("sendrecv", Some(Direction::SendRecv)),
        ("inactive", Some(Direction::Inactive)),
        ("confrnce", Some(Direction::SendRecv)),
        ("loopback", None),
        ("conttest", None),
    ] {
        let parsed = ConnectionMode::parse(written.as_bytes());
        assert_eq!(parsed.direction(), mode, "{written}");
    }
    for (written, method) in [
        ("Restart", RestartMethod::Restart),
        ("forced", RestartMethod::Forced),
        ("graceful", RestartMethod::Graceful),
        ("disconnected", RestartMethod::Disconnected),
        ("cancel-graceful", RestartMethod::CancelGraceful),
        ("X-nap", RestartMethod::Other("x-nap".into())),
    ] {
        assert_eq!(RestartMethod::parse(written.as_bytes()), method);
    }
    assert_eq!(package_name(b"l"), Some("Line"));
    assert_eq!(package_name(b"G:1"), Some("Generic Media"));
    assert_eq!(package_name(b"Zz"), None);
}

#[test]
fn endpoint_names() {
    let name = EndpointName::new(b"ds/e1-1/$@[10.0.0.9]");
    assert_eq!(name.terms().last(), Some(&b"$"[..]));
    assert!(name.is_any() && !name.is_all());
    assert_eq!(name.domain(), Domain::Ip("10.0.0.9".parse().unwrap()));
    let name = EndpointName::new(b"*@gw.example");
    assert!(name.is_all() && !name.is_any());
    assert_eq!(name.domain(), Domain::Name(b"gw.example"));
    assert_eq!(EndpointName::new(b"aaln/1").domain, b"");
    assert!(EndpointName::new(b"ds/e1-[1-4]/*@gw").is_all());
}

#[test]
fn faults_name_place_and_construct() {
    let table: [(&[u8], usize, usize, &str); 10] = [
        (b"", 0, 1, "no message"),
        (b"\r\n\r\n", 0, 1, "no message"),
        (b"INVITE sip:a@b SIP/2.0\r\n", 0, 1, "neither a verb nor"),
        (b"CRCX\r\n", 4, 1, "transaction id"),
        (b"CRCX 1234567890 a@b MGCP 1.0\r\n", 5, 1, "transaction id"),
        (b"CRCX x1 a@b MGCP 1.0\r\n", 5, 1, "transaction id"),
        (b"CRCX 1\r\n", 6, 1, "no endpoint name"),
        (b"CRCX 1 a@b 1.0\r\n", 11, 1, "does not name MGCP"),
        (b"CRCX 1 a@b MGCP x\r\n", 11, 1, "no version"),
        (b"200 1 OK\r\n.\r\n20 2 OK\r\n", 13, 3, "three digits"),
    ];
    for (bytes, offset, line, what) in table {
        let error = Packet::parse(bytes).expect_err(what);
        assert_eq!(
            (error.offset, error.line),
            (offset, line),
            "{}",
            bytes.escape_ascii()
        );
        assert!(error.what.contains(what), "{error}");
    }
}

/// One description and one parameter are changed, everything else stays.
#[test]
fn an_edit_changes_its_spans_only() {
    let original = file("3.5.5-three");
    let packet = Packet::parse(&original).unwrap();
    let mut edit = PacketEdit::new(&packet);
    edit.description(1, 0, b"v=0\r\nm=audio 1 RTP/AVP 8\r\n");
    edit.parameter(1, Parameter::CONNECTION_MODE, b"sendrecv");
    edit.parameter(1, Parameter::DIGIT_MAP, b"not there");
    edit.description(0, 0, b"not there");
    edit.description(7, 7, b"not there");
    let text = String::from_utf8(original.clone()).unwrap();
    let (before, rest) = text.split_once("inactive\r\n\r\n").unwrap();
    let (_, after) = rest.split_once("RTP/AVP 0\r\n").unwrap();
    assert_eq!(
        String::from_utf8(edit.finish()).unwrap(),
        format!("{before}sendrecv\r\n\r\nv=0\r\nm=audio 1 RTP/AVP 8\r\n{after}")
    );
}

/// What was for us goes; the others keep their bytes.
#[test]
fn a_message_is_left_out() {
    let packet = packet("3.5.5-three");
    let all: Vec<Vec<u8>> = [
        &[][..],
        &[0],
        &[1],
        &[2],
        &[0, 1],
        &[1, 2],
        &[0, 2],
        &[0, 1, 2],
    ]
    .iter()
    .map(|removed| {
        let mut edit = PacketEdit::new(&packet);
        removed.iter().for_each(|m| edit.remove(*m));
        edit.finish()
    })
    .collect();
    let lines = |bytes: &[u8]| -> Vec<u32> {
        Packet::parse(bytes)
            .map(|packet| packet.messages().map(|m| m.transaction()).collect())
            .unwrap_or_default()
    };
    let left: Vec<Vec<u32>> = all.iter().map(|bytes| lines(bytes)).collect();
    assert_eq!(
        left,
        [
            vec![2005, 1245, 1246],
            vec![1245, 1246],
            vec![2005, 1246],
            vec![2005, 1245],
            vec![1246],
            vec![2005],
            vec![1245],
            vec![],
        ]
    );
    assert_eq!(all[5], b"200 2005 OK\r\n");
    assert_eq!(all[7], b"");
}

#[test]
fn our_own_are_read_back() {
    let command = CommandBuilder::new(
        &Verb::ModifyConnection,
        500_000_001,
        b"aaln/1@gw",
        b"MGCP 1.0 NCS 1.0",
    )
    .parameter(Parameter::CALL_ID, "A1")
    .parameter(Parameter::CONNECTION_ID, "7")
    .description("v=0\r\n")
    .build();
    assert_eq!(
        String::from_utf8(command).unwrap(),
        "MDCX 500000001 aaln/1@gw MGCP 1.0 NCS 1.0\r\nC: A1\r\nI: 7\r\n\r\nv=0\r\n"
    );
    let response = ResponseBuilder::new(0, 1206).build();
    assert_eq!(response, b"000 1206 Acknowledged\r\n");
    let response = ResponseBuilder::new(200, 9)
        .parameter(Parameter::CONNECTION_ID, "1")
        .description("v=0\r\n")
        .description("v=0\r\n")
        .build();
    let response = Packet::parse(&response).unwrap();
    assert_eq!(response.messages().next().unwrap().descriptions().len(), 2);
}

/// `decode --media`: only the address of the audio changes.
#[test]
fn other_media_in_its_place() {
    let original = file("F.4-modify-connection");
    let rewritten = rewrite_mgcp(&original, "10.71.2.21:9000".parse().unwrap()).unwrap();
    let expected = String::from_utf8(original)
        .unwrap()
        .replace("c=IN IP4 128.96.63.25", "c=IN IP4 10.71.2.21")
        .replace("m=audio 1296", "m=audio 9000");
    assert_eq!(String::from_utf8(rewritten).unwrap(), expected);
    let media = "10.71.2.21:9000".parse().unwrap();
    assert!(rewrite_mgcp(&file("F.5-delete-connection"), media).is_err());
}

/// Any cut and any change of a message: read or refused, never a panic; bytes that
/// nothing was done to stay; what is edited reads again.
#[test]
fn any_bytes() {
    let files = fixtures("mgcp");
    for (name, bytes) in &files {
        for end in 0..=bytes.len() {
            check(&bytes[..end], &mut Random(1), name);
        }
    }
    let mut random = Random(0x5ee0_0003);
    for _ in 0..20_000 {
        let (name, bytes) = &files[random.below(files.len())];
        let bytes = mutate(&mut random, bytes);
        check(&bytes, &mut random, name);
    }
}

fn check(bytes: &[u8], random: &mut Random, name: &str) {
    let packet = match Packet::parse(bytes) {
        Ok(packet) => packet,
        Err(error) => {
            assert!(error.offset <= bytes.len(), "{name}: {error}");
            return;
        }
    };
    let _ = PacketView::new(&packet);
    assert_eq!(PacketEdit::new(&packet).finish(), bytes);
    let count = packet.messages().len();
    let at = random.below(count);
    let sdp = b"v=0\r\nc=IN IP4 10.9.8.7\r\nm=audio 2000 RTP/AVP 0\r\n";
    let mut edit = PacketEdit::new(&packet);
    edit.description(at, 0, sdp);
    let edited = edit.finish();
    let again = Packet::parse(&edited).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(again.messages().len(), count);
    for (index, (new, old)) in again.messages().zip(packet.messages()).enumerate() {
        assert_eq!(new.start(), old.start());
        assert!(new.parameters().eq(old.parameters()));
        let first = new.descriptions().next();
        if index == at && old.descriptions().next().is_some() {
            assert_eq!(first, Some(&sdp[..]), "{name}");
        } else {
            assert_eq!(first, old.descriptions().next());
        }
    }
    let mut edit = PacketEdit::new(&packet);
    edit.remove(at);
    let left = Packet::parse(&edit.finish()).map_or(0, |packet| packet.messages().len());
    assert_eq!(left, count - 1, "{name}: {}", bytes.escape_ascii());
}
