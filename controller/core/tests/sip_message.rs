//! SIP messages: what is read, what an edit changes, what we write.

use sidestep_core::decode::{MessageView, RewriteError, SdpView, rewrite_media};
use sidestep_core::sdp::{AudioError, SessionDescription};
use sidestep_core::sip::{
    Message, MessageEdit, Method, Name, RequestBuilder, ResponseBuilder, SipError, StartLine,
};

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

fn message(name: &str) -> Message {
    Message::parse(&fixture(name)).unwrap()
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// `original` with one span replaced, which must be there once.
fn replaced(original: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let found: Vec<usize> = original
        .windows(from.len())
        .enumerate()
        .filter_map(|(at, window)| (window == from).then_some(at))
        .collect();
    let [at] = found[..] else {
        panic!("{} times: {}", found.len(), String::from_utf8_lossy(from));
    };
    [&original[..at], to, &original[at + from.len()..]].concat()
}

#[test]
fn reads_an_invite() {
    let message = message("sip/invite.sip");
    let StartLine::Request { method, uri } = message.start() else {
        panic!("a request")
    };
    assert_eq!((method, uri), (Method::Invite, &b"sip:200@10.71.3.31"[..]));
    assert_eq!(message.call_id(), b"a84b4c76e66710@10.71.1.11");
    assert_eq!(message.cseq(), (314159, Method::Invite));
    assert_eq!(message.from_tag(), Some(&b"1928301774"[..]));
    assert_eq!(message.to_tag(), None);
    assert_eq!(message.from_uri(), b"sip:desk17@10.71.1.11");
    assert_eq!(
        message.contact_uri(),
        Some(&b"sip:desk17@10.71.1.11:5060;ob"[..])
    );
    assert_eq!(message.headers(Name::CONTACT).count(), 2);
    let via = message.top_via();
    assert_eq!(
        (via.transport, via.host, via.port),
        (&b"UDP"[..], &b"10.71.1.11"[..], Some(5060))
    );
    assert_eq!(via.branch, Some(&b"z9hG4bK776asdhds"[..]));
    assert_eq!((via.rport, via.received), (Some(None), None));
    assert!(message.supports("timer") && message.requires("100rel") && !message.requires("timer"));
    assert_eq!(message.content_type(), Some(&b"application/sdp"[..]));
    assert_eq!(message.body(), fixture("sdp/softphone.sdp"));
    assert!(message.sdp().unwrap().unwrap().audio().is_ok());
}

#[test]
fn reads_compact_folded_and_odd_bytes() {
    let message = message("sip/compact_folded.sip");
    assert_eq!(
        message.uri(),
        Some(&b"tel:+34-91-555;phone-context=example.com"[..])
    );
    let vias: Vec<_> = message.vias().collect();
    assert_eq!(vias.len(), 3);
    assert_eq!(vias[0].branch, Some(&b"z9hG4bKa"[..]));
    assert_eq!(
        (vias[1].transport, vias[1].host, vias[1].port),
        (&b"TCP"[..], &b"2001:db8::1"[..], Some(5062))
    );
    assert_eq!(vias[1].branch, Some(&b"\"quoted,;branch\""[..]));
    assert_eq!(
        (vias[1].rport, vias[1].received),
        (Some(Some(4711)), Some(&b"192.0.2.3"[..]))
    );
    assert_eq!(
        (vias[2].host, vias[2].branch, vias[2].rport),
        (&b"last.example"[..], None, None)
    );
    assert_eq!(message.from_tag(), Some(&b"88"[..]));
    assert_eq!(message.to_tag(), Some(&b"not-a-uri-parameter"[..]));
    assert_eq!(message.call_id(), b"\xffcall");
    assert_eq!(message.cseq(), (1, Method::Invite));
    let routes: Vec<&[u8]> = message.headers(Name::RECORD_ROUTE).collect();
    assert_eq!(
        routes,
        [
            &b"<sip:p1.example;lr>"[..],
            b"<sip:p2.example;lr>",
            b"<sip:p3.example;lr;x=a,b>"
        ]
    );
    assert!(message.is_sdp());
    // Lines that are no headers are kept, and have no name.
    assert_eq!(
        message
            .all_headers()
            .filter(|(name, _)| name.is_empty())
            .count(),
        2
    );
}

#[test]
fn reads_unknown_methods_and_fields() {
    for name in ["sip/unknown_method.sip", "sip/lf_and_keepalive.sip"] {
        let message = message(name);
        assert_eq!(message.method(), &Method::Other("XYZZY-1".into()));
        assert_eq!(message.expires(), Some(60));
        assert!(
            message
                .header(Name::REPLACES)
                .unwrap()
                .starts_with(b"98732@")
        );
        let credentials: Vec<&[u8]> = message.header_values(Name::AUTHORIZATION).collect();
        assert!(credentials.len() == 1 && credentials[0].ends_with(b"response=\"0\""));
        assert_eq!(message.body(), b"");
        assert!(message.sdp().is_none());
    }
}

#[test]
fn without_content_length_the_body_is_the_rest() {
    let message = message("sip/no_content_length.sip");
    let StartLine::Response { status, reason } = message.start() else {
        panic!("a response")
    };
    assert_eq!((status, reason), (200, &b"OK"[..]));
    assert_eq!(message.top_via().rport, Some(Some(5060)));
    assert_eq!(message.body(), fixture("sdp/softphone.sdp"));
}

#[test]
fn a_shorter_content_length_cuts_the_body_and_keeps_the_rest() {
    let original = [fixture("sip/invite.sip"), bytes("\r\nrest")].concat();
    let message = Message::parse(&original).unwrap();
    assert_eq!(message.body(), fixture("sdp/softphone.sdp"));
    assert_eq!(message.trailing(), b"\r\nrest");
    assert_eq!(MessageEdit::new(&message).finish(), original);
    let edited = MessageEdit::new(&message).set_body("v=0\r\n").finish();
    assert!(edited.ends_with(b"\r\n\r\nv=0\r\n\r\nrest"));
}

#[test]
fn multipart_bodies_are_left_whole() {
    let message = message("sip/multipart.sip");
    assert!(!message.is_sdp() && message.sdp().is_none());
    assert!(message.body().starts_with(b"--b\r\n") && message.body().ends_with(b"--b--\r\n"));
    assert_eq!(message.trailing(), b"");
    for (header, session) in [
        ("Content-Encoding: gzip", false),
        ("e: identity", true),
        (
            "Content-Disposition: early-session;handling=optional",
            false,
        ),
        ("Content-Disposition: session", true),
        ("Content-Type: text/plain", false),
    ] {
        let header = format!("CSeq: 314159 INVITE\r\n{header}\r\n");
        let original = fixture("sip/invite.sip");
        let message = replaced(&original, b"CSeq: 314159 INVITE\r\n", header.as_bytes());
        assert_eq!(
            Message::parse(&message).unwrap().is_sdp(),
            session,
            "{header}"
        );
    }
}

#[test]
fn keep_alives_are_no_messages() {
    for keep_alive in [&b""[..], b"\r\n\r\n", b"\r\n", b"\0\0\0\0", b"\n"] {
        assert_eq!(Message::parse(keep_alive), Err(SipError::KeepAlive));
    }
}

#[test]
fn errors_say_where() {
    let head =
        "Via: SIP/2.0/UDP h;branch=z\r\nTo: <sip:a@b>\r\nFrom: <sip:c@d>;tag=1\r\nCall-ID: x\r\n";
    let good = format!("OPTIONS sip:a SIP/2.0\r\n{head}CSeq: 1 OPTIONS\r\n\r\n");
    assert!(Message::parse(good.as_bytes()).is_ok());
    for (from, to, line, what) in [
        (
            "OPTIONS sip:a SIP/2.0\r\n",
            "OPTIONS sip:a SIP/2.0",
            1,
            "the start line does not name SIP/2.0",
        ),
        (
            "OPTIONS sip:a SIP/2.0",
            "\u{1}\u{2}",
            1,
            "the start line is neither a request's nor a response's",
        ),
        (
            "SIP/2.0\r",
            "SIP/2.1\r",
            1,
            "the start line does not name SIP/2.0",
        ),
        (
            "OPTIONS sip:a SIP/2.0",
            "OPT(IONS sip:a SIP/2.0",
            1,
            "the method is not a token",
        ),
        (
            "OPTIONS sip:a SIP/2.0",
            "OPTIONS SIP/2.0",
            1,
            "the request has no URI",
        ),
        (
            "OPTIONS sip:a SIP/2.0",
            "SIP/2.0 099 low",
            1,
            "the status code is not 100 to 699",
        ),
        (
            "OPTIONS sip:a SIP/2.0",
            "SIP/2.0 2000 OK",
            1,
            "the status code is not 100 to 699",
        ),
        (
            "OPTIONS sip:a SIP/2.0",
            "SIP/2.0 20",
            1,
            "the status code is not 100 to 699",
        ),
        ("\r\n\r\n", "\r\n", 7, "no empty line ends the header"),
        (
            "SIP/2.0\r\nVia",
            "SIP/2.0\r\n Via",
            2,
            "a fold that continues no header",
        ),
        ("Via: SIP/2.0/UDP h;branch=z\r\n", "", 6, "no Via header"),
        (
            "SIP/2.0/UDP h",
            "SIP/2.0/UDP",
            2,
            "the topmost Via cannot be read",
        ),
        (
            "UDP h;",
            "UDP h:99999;",
            2,
            "the topmost Via cannot be read",
        ),
        ("To: <sip:a@b>\r\n", "", 6, "no To header"),
        ("To: <sip:a@b>", "To: <sip:a@b", 3, "To cannot be read"),
        ("From: <sip:c@d>;tag=1\r\n", "", 6, "no From header"),
        ("Call-ID: x\r\n", "", 6, "no Call-ID header"),
        (
            "Call-ID: x\r\n",
            "Call-ID: x\r\ni: y\r\n",
            6,
            "two different Call-ID headers",
        ),
        ("CSeq: 1 OPTIONS\r\n", "", 6, "no CSeq header"),
        ("1 OPTIONS", "1", 6, "CSeq is not a number and a method"),
        (
            "1 OPTIONS",
            "2147483648 OPTIONS",
            6,
            "CSeq is not a number and a method",
        ),
        (
            "1 OPTIONS",
            "-1 OPTIONS",
            6,
            "CSeq is not a number and a method",
        ),
        (
            "1 OPTIONS",
            "1 INVITE",
            6,
            "CSeq names another method than the request",
        ),
        (
            "OPTIONS\r\n\r\n",
            "OPTIONS\r\nl: 1\r\n\r\n",
            7,
            "the body is shorter than its Content-Length",
        ),
        (
            "OPTIONS\r\n\r\n",
            "OPTIONS\r\nl: -1\r\n\r\n",
            7,
            "Content-Length is not a number",
        ),
        (
            "OPTIONS\r\n\r\n",
            "OPTIONS\r\nl: 99999999999999999999\r\n\r\n",
            7,
            "Content-Length is not a number",
        ),
        (
            "OPTIONS\r\n\r\n",
            "OPTIONS\r\nl: 0\r\nContent-Length: 1\r\n\r\nx",
            8,
            "two different Content-Lengths",
        ),
    ] {
        let bad = replaced(good.as_bytes(), from.as_bytes(), to.as_bytes());
        match Message::parse(&bad) {
            Err(SipError::Malformed {
                line: at,
                what: why,
                offset,
            }) => {
                assert_eq!((at, why), (line, what), "{to:?}");
                assert!(offset <= bad.len());
            }
            other => panic!("{to:?}: {other:?}"),
        }
    }
}

/// RFC 4475, with what Sidestep makes of each message: `None` is understood,
/// anything else is forwarded byte for byte for this reason.
const TORTURE: &[(&str, Option<&str>)] = &[
    ("wsinv", None),
    ("intmeth", None),
    ("esc01", None),
    ("escnull", None),
    ("esc02", None),
    ("lwsdisp", None),
    ("dblreq", None),
    ("semiuri", None),
    ("transports", None),
    ("unreason", None),
    ("noreason", None),
    ("badinv01", None),
    ("clerr", Some("the body is shorter than its Content-Length")),
    ("ncl", Some("Content-Length is not a number")),
    ("scalar02", Some("CSeq is not a number and a method")),
    ("quotbal", Some("To cannot be read")),
    ("ltgtruri", None),
    ("lwsruri", None),
    ("lwsstart", None),
    ("trws", None),
    ("escruri", None),
    ("baddate", None),
    ("regbadct", None),
    ("badaspec", None),
    ("baddn", None),
    ("badvers", Some("the start line does not name SIP/2.0")),
    (
        "mismatch01",
        Some("CSeq names another method than the request"),
    ),
    (
        "mismatch02",
        Some("CSeq names another method than the request"),
    ),
    ("bigcode", Some("the status code is not 100 to 699")),
    ("insuf", Some("no From header")),
    ("unkscm", None),
    ("novelsc", None),
    ("unksm2", None),
    ("bext01", None),
    ("invut", None),
    ("regaut01", None),
    ("multi01", Some("two different From headers")),
    ("mcl01", Some("two different Content-Lengths")),
    ("bcast", None),
    ("zeromf", None),
    ("cparam01", None),
    ("sdp01", None),
    ("inv2543", None),
    ("longreq", None),
    ("badbranch", None),
    ("cparam02", None),
    ("regescrt", None),
    ("mpart01", None),
    ("scalarlg", Some("CSeq is not a number and a method")),
];

/// RFC 5118: IPv6 in SIP.
const TORTURE_IPV6: &[(&str, Option<&str>)] = &[
    ("ipv6-good", None),
    ("ipv6-bad", None),
    ("port-ambiguous", None),
    ("port-unambiguous", None),
    ("via-received-with-delim", None),
    ("via-received-no-delim", None),
    ("ipv6-in-sdp", None),
    ("mult-ip-in-header", None),
    ("mult-ip-in-sdp", None),
    ("ipv4-mapped-ipv6", None),
    ("ipv6-bug-abnf-3-colons", None),
];

#[test]
fn torture_messages() {
    survives("torture", TORTURE);
    survives("torture6", TORTURE_IPV6);
}

fn survives(directory: &str, table: &[(&str, Option<&str>)]) {
    let path = format!("{}/tests/data/{directory}", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(std::fs::read_dir(path).unwrap().count(), table.len());
    for (name, expected) in table {
        let original = fixture(&format!("{directory}/{name}.sip"));
        let result = Message::parse(&original);
        let what = result.as_ref().err().map(SipError::what);
        assert_eq!(what, *expected, "{name}");
        let Ok(message) = result else { continue };
        assert_eq!(MessageEdit::new(&message).finish(), original, "{name}");
        // Still understood after an edit of every kind of span.
        let edited = MessageEdit::new(&message)
            .set_cseq(7)
            .set_body("v=0\r\n")
            .remove_first_element(Name::VIA)
            .prepend_header(Name::VIA, "SIP/2.0/UDP h;branch=z9hG4bKss")
            .finish();
        let again = Message::parse(&edited).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(again.cseq().0, 7, "{name}");
        assert_eq!(again.body(), b"v=0\r\n", "{name}");
        assert_eq!(again.vias().count(), message.vias().count(), "{name}");
        assert_eq!(again.top_via().branch, Some(&b"z9hG4bKss"[..]), "{name}");
    }
}

#[test]
fn details_of_torture_messages() {
    let wsinv = message("torture/wsinv.sip");
    assert_eq!(wsinv.cseq(), (9, Method::Invite));
    assert_eq!(wsinv.to_tag(), Some(&b"1918181833n"[..]));
    assert_eq!(wsinv.from_tag(), Some(&b"98asjd8"[..]));
    let branches: Vec<_> = wsinv.vias().map(|via| via.branch.unwrap()).collect();
    assert_eq!(
        branches,
        [&b"390skdjuw"[..], b"z9hG4bK9ikj8", b"z9hG4bK30239"]
    );
    assert_eq!(wsinv.contact_uri(), Some(&b"sip:jdrosen@example.com"[..]));
    assert_eq!(
        wsinv.header(Name::new("NewFangledHeader")),
        Some(&b"newfangled value continued newfangled value"[..])
    );
    assert!(wsinv.sdp().unwrap().is_ok());
    let intmeth = message("torture/intmeth.sip");
    assert_eq!(intmeth.from_tag(), Some(&b"_token~1'+`*%!-."[..]));
    assert_eq!(
        message("torture/dblreq.sip").trailing(),
        fixture("sip/unknown_method.sip")
    );
    assert_eq!(message("torture/noreason.sip").status(), Some(100));
    assert_eq!(message("torture/inv2543.sip").top_via().branch, None);
}

#[test]
fn no_edit_leaves_every_byte() {
    for name in [
        "invite",
        "compact_folded",
        "no_content_length",
        "multipart",
        "unknown_method",
        "lf_and_keepalive",
    ] {
        let original = fixture(&format!("sip/{name}.sip"));
        let message = Message::parse(&original).unwrap();
        assert_eq!(MessageEdit::new(&message).finish(), original, "{name}");
        let same = MessageEdit::new(&message).set_body(message.body()).finish();
        let length_is_written = message.header(Name::CONTENT_LENGTH).is_some();
        assert_eq!(same == original, length_is_written, "{name}");
    }
}

#[test]
fn a_body_takes_its_length_along_in_whatever_form_it_stands() {
    let sdp = fixture("sdp/softphone.sdp");
    let invite = fixture("sip/invite.sip");
    let length = format!("Content-Length:    {}  \r\n\r\n", sdp.len());
    let edited = MessageEdit::new(&message("sip/invite.sip"))
        .set_body("abc")
        .finish();
    let expected = replaced(
        &invite,
        &[length.as_bytes(), &sdp].concat(),
        b"Content-Length:    3  \r\n\r\nabc",
    );
    assert_eq!(edited, expected);

    let compact = fixture("sip/compact_folded.sip");
    let edited = MessageEdit::new(&message("sip/compact_folded.sip"))
        .set_body("abc")
        .finish();
    let tail = [format!("L: {}\r\n\r\n", sdp.len()).as_bytes(), &sdp].concat();
    assert_eq!(edited, replaced(&compact, &tail, b"L: 3\r\n\r\nabc"));

    let without = fixture("sip/no_content_length.sip");
    let edited = MessageEdit::new(&message("sip/no_content_length.sip"))
        .set_body("abc")
        .finish();
    let tail = [b"SDP\r\n\r\n", sdp.as_slice()].concat();
    assert_eq!(
        edited,
        replaced(&without, &tail, b"SDP\r\nContent-Length: 3\r\n\r\nabc")
    );

    // A body where there was none, and none where there was one.
    let edited = MessageEdit::new(&message("sip/lf_and_keepalive.sip"))
        .set_body("v=0\n")
        .set_content_type("application/sdp")
        .finish();
    let expected = replaced(
        &fixture("sip/lf_and_keepalive.sip"),
        b"Content-Length: 0\n\n",
        b"Content-Length: 4\nContent-Type: application/sdp\n\nv=0\n",
    );
    assert_eq!(edited, expected);
    let emptied = MessageEdit::new(&message("sip/multipart.sip"))
        .set_body("")
        .finish();
    assert!(emptied.ends_with(b"Content-Length: 0\r\n\r\n"));
}

#[test]
fn edits_of_headers() {
    let original = fixture("sip/compact_folded.sip");
    let message = Message::parse(&original).unwrap();
    let edit = || MessageEdit::new(&message);
    let folded_via: &[u8] = b" SIP / 2.0 / TCP\r\n [2001:db8::1]:5062 ;branch=\"quoted,;branch\" ; received=192.0.2.3\r\n\t;rport=4711";
    for (edited, from, to) in [
        (
            edit().set_cseq(2147483647),
            &b"00001\r\n INVITE"[..],
            &b"2147483647\r\n INVITE"[..],
        ),
        (
            edit().set_uri("sip:new@h"),
            b"tel:+34-91-555;phone-context=example.com",
            b"sip:new@h",
        ),
        (
            edit().set_header_value(Name::CONTACT, "<sip:x@y>"),
            b"M: sip:desk17@10.71.1.11",
            b"M: <sip:x@y>",
        ),
        (edit().set_header_value(Name::EXPIRES, "5"), b"L: ", b"L: "),
        (
            edit().remove_header(Name::CONTACT),
            b"M: sip:desk17@10.71.1.11\r\n",
            b"",
        ),
        (
            edit().remove_first_element(Name::VIA),
            b"SIP/2.0/UDP 10.71.1.11;branch=z9hG4bKa, SIP",
            b"SIP",
        ),
        (
            edit().remove_first_element(Name::CONTACT),
            b"M: sip:desk17@10.71.1.11\r\n",
            b"",
        ),
        (
            edit().set_first_element(Name::VIA, "SIP/2.0/UDP new"),
            b"SIP/2.0/UDP 10.71.1.11;branch=z9hG4bKa,",
            b"SIP/2.0/UDP new,",
        ),
        (
            edit().prepend_header(Name::VIA, "SIP/2.0/UDP us"),
            b"SIP/2.0\r\nv: SIP",
            b"SIP/2.0\r\nVia: SIP/2.0/UDP us\r\nv: SIP",
        ),
        (
            edit().insert_header_after(Name::VIA, Name::ROUTE, "<sip:r;lr>"),
            b"last.example\r\n",
            b"last.example\r\nRoute: <sip:r;lr>\r\n",
        ),
        // Twice the same span: the last counts.
        (edit().set_cseq(4).set_cseq(5), b"00001", b"5"),
        // A value cannot become a header.
        (
            edit().set_header_value(Name::CONTACT, "a\r\nEvil: b"),
            b"sip:desk17@10.71.1.11\r\nX",
            b"a  Evil: b\r\nX",
        ),
    ] {
        let finished = edited.finish();
        if from == to {
            assert!(finished.windows(12).any(|w| w == b"Expires: 5\r\n"));
            continue;
        }
        assert_eq!(
            String::from_utf8_lossy(&finished),
            String::from_utf8_lossy(&replaced(&original, from, to))
        );
    }
    assert!(original.windows(folded_via.len()).any(|w| w == folded_via));
    assert_eq!(
        edit()
            .set_header_value(Name::new("X"), "")
            .remove_header(Name::new("X-None"))
            .finish()
            .len(),
        original.len() + 5
    );
}

#[test]
fn media_is_rewritten_by_the_same_path_in_sip_and_sdp() {
    let media = "10.71.2.21:20000".parse().unwrap();
    let sdp = fixture("sdp/softphone.sdp");
    let new_sdp = rewrite_media(&sdp, media).unwrap();
    let expected = String::from_utf8(sdp.clone())
        .unwrap()
        .replace("c=IN IP4 10.71.1.11", "c=IN IP4 10.71.2.21")
        .replace("m=audio 4000", "m=audio 20000")
        .replace("a=rtcp:4001", "a=rtcp:20001");
    assert_eq!(String::from_utf8(new_sdp.clone()).unwrap(), expected);
    for name in ["sip/invite.sip", "sip/compact_folded.sip"] {
        let original = fixture(name);
        let edited = rewrite_media(&original, media).unwrap();
        let old_length = format!("{}", sdp.len());
        let new_length = format!("{}", new_sdp.len());
        let at = original
            .windows(3)
            .rposition(|w| w == old_length.as_bytes())
            .unwrap();
        let mut expected = original[..original.len() - sdp.len()].to_vec();
        expected.splice(at..at + old_length.len(), new_length.bytes());
        expected.extend_from_slice(&new_sdp);
        assert_eq!(edited, expected, "{name}");
    }
    // A hold stays one.
    let hold = rewrite_media(&fixture("sdp/hold_null.sdp"), media).unwrap();
    assert!(SessionDescription::parse(&hold).unwrap().is_hold());
    assert_eq!(
        rewrite_media(&fixture("sip/multipart.sip"), media),
        Err(RewriteError::NoSdp)
    );
    assert_eq!(
        rewrite_media(&fixture("sdp/srtp.sdp"), media),
        Err(RewriteError::Audio(AudioError::Encrypted))
    );
    assert!(matches!(
        rewrite_media(b"v=1\r\nm=x\r\n", media),
        Err(RewriteError::Sdp(_))
    ));
    assert!(matches!(
        rewrite_media(b"\x80", media),
        Err(RewriteError::Sip(_))
    ));
}

#[test]
fn views_have_stable_names() {
    let view = serde_json::to_value(MessageView::new(&message("sip/compact_folded.sip"))).unwrap();
    assert_eq!(view["kind"], "request");
    assert_eq!(view["method"], "INVITE");
    assert_eq!(view["uri"], "tel:+34-91-555;phone-context=example.com");
    assert_eq!(view["cseq"], 1);
    assert_eq!(view["from"]["tag"], "88");
    assert_eq!(view["vias"][1]["rport"], 4711);
    assert_eq!(view["headers"][0]["name"], "Via");
    assert_eq!(view["record_routes"][2]["uri"], "sip:p3.example;lr;x=a,b");
    assert_eq!(view["body_length"], fixture("sdp/softphone.sdp").len());
    assert_eq!(view["sdp"]["audio"]["rtp"], "10.71.1.11:4000");
    assert_eq!(view["sdp"]["media"][0]["codecs"][0]["name"], "PCMU");
    assert_eq!(view["sdp_error"], serde_json::Value::Null);
    let sdp = SessionDescription::parse(&fixture("sdp/several.sdp")).unwrap();
    let view = serde_json::to_value(SdpView::new(&sdp)).unwrap();
    assert_eq!(view["origin"]["sess_version"], u64::MAX);
    assert_eq!(view["media"][0]["connection_inherited"], true);
    assert_eq!(view["media"][0]["hold"], true);
    assert_eq!(view["media"][3]["port"], 0);
    assert_eq!(view["audio"]["direction"], "sendonly");
    let response =
        serde_json::to_value(MessageView::new(&message("sip/no_content_length.sip"))).unwrap();
    assert_eq!(
        (&response["status"], &response["uri"]),
        (&200.into(), &serde_json::Value::Null)
    );
}

#[test]
fn writes_requests_and_responses_that_read_back() {
    let request = RequestBuilder::new(Method::Invite, "sip:tc17@10.71.2.21:5062")
        .via("10.71.1.11:5070", "z9hG4bKss1")
        .max_forwards()
        .header(Name::FROM, "<sip:sidestep@10.71.1.11>;tag=1")
        .header(Name::TO, "<sip:tc17@10.71.1.11>")
        .header(Name::SUBJECT, "a call\r\nEvil: x")
        .header(Name::CALL_ID, "c")
        .cseq(7)
        .header(Name::RECORD_ROUTE, "<sip:p1;lr>")
        .header(Name::RECORD_ROUTE, "<sip:p2;lr>")
        .typed(rsip::headers::Expires::from(30))
        .sdp(fixture("sdp/static.sdp"))
        .build();
    let request = Message::parse(&request).unwrap();
    assert_eq!(request.cseq(), (7, Method::Invite));
    assert_eq!(request.top_via().rport, Some(None));
    assert_eq!(request.expires(), Some(30));
    assert_eq!(request.header(Name::new("Evil")), None);
    assert_eq!(request.body(), fixture("sdp/static.sdp"));
    assert_eq!(request.trailing(), b"");

    for (status, to_tag, record_routes) in [
        (100, None, 0),
        (180, Some("t"), 2),
        (200, Some("t"), 2),
        (486, Some("t"), 0),
    ] {
        let response = ResponseBuilder::new(&request, status, Some("t")).build();
        let response = Message::parse(&response).unwrap();
        assert_eq!(response.status(), Some(status));
        assert_eq!(response.to_tag(), to_tag.map(str::as_bytes));
        assert_eq!(response.from_tag(), Some(&b"1"[..]));
        assert_eq!(response.top_via(), request.top_via());
        assert_eq!(response.cseq(), request.cseq());
        assert_eq!(response.headers(Name::RECORD_ROUTE).count(), record_routes);
        assert_eq!(response.header(Name::CONTENT_LENGTH), Some(&b"0"[..]));
    }
    // A tag that the request has already stays; all Vias go back, folds or not.
    let odd = message("sip/compact_folded.sip");
    let response = ResponseBuilder::new(&odd, 200, Some("t"))
        .sdp("v=0\r\n")
        .build();
    let response = Message::parse(&response).unwrap();
    assert_eq!(response.to_tag(), odd.to_tag());
    assert_eq!(
        response.vias().collect::<Vec<_>>(),
        odd.vias().collect::<Vec<_>>()
    );
    assert_eq!(response.call_id(), odd.call_id());
}
