//! Streams of connections, however they are cut: every message is found, and all
//! parts together are the stream.

use sidestep_core::sip::{Message, SipFramer};
use sidestep_core::stream::{Framer, Limits, Part, Stream};

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

fn sip() -> Stream {
    sip_within(Limits::default())
}

fn sip_within(limits: Limits) -> Stream {
    let framer: Box<dyn Framer> = Box::new(SipFramer::new(limits));
    Stream::new(Some(framer))
}

/// All parts, of a stream that comes in segments of this length.
fn parts(mut stream: Stream, bytes: &[u8], segment: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    for segment in bytes.chunks(segment) {
        stream.push(segment);
        parts.extend(std::iter::from_fn(|| stream.next_part()));
    }
    parts
}

fn bytes_of(parts: &[Part]) -> Vec<u8> {
    let bytes = |part: &Part| match part {
        Part::Message(bytes) | Part::Untouched { bytes, .. } => bytes.clone(),
    };
    parts.iter().flat_map(bytes).collect()
}

fn messages(parts: &[Part]) -> Vec<Vec<u8>> {
    let messages = parts.iter().filter_map(|part| match part {
        Part::Message(bytes) => Some(bytes.clone()),
        Part::Untouched { .. } => None,
    });
    messages.collect()
}

fn reasons(parts: &[Part]) -> Vec<&'static str> {
    let reasons = parts.iter().filter_map(|part| match part {
        Part::Untouched { why, .. } => *why,
        Part::Message(_) => None,
    });
    reasons.collect()
}

fn with_body(length: usize) -> Vec<u8> {
    let head = format!(
        "MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKx\r\nFrom: <sip:c@d>;tag=1\r\n\
         To: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 1 MESSAGE\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), &vec![b'x'; length]].concat()
}

fn with_headers(count: usize) -> Vec<u8> {
    let extra = "X-Extra: y\r\n".repeat(count);
    let text = String::from_utf8(with_body(3)).unwrap();
    text.replace("CSeq:", &format!("{extra}CSeq:")).into_bytes()
}

#[test]
fn a_stream_is_cut_where_its_messages_end() {
    let expected = [
        fixture("sip/invite.sip"),
        fixture("sip/unknown_method.sip"),
        fixture("sip/multipart.sip"),
        fixture("sip/compact_folded.sip"),
    ];
    let stream = [
        &b"\r\n\r\n"[..],
        &expected[0],
        &expected[1],
        b"\r\n",
        &expected[2],
        &expected[3],
        b"\r\n\r\n",
    ]
    .concat();
    for segment in [1, 2, 3, 7, 100, 1460, stream.len()] {
        let parts = parts(sip(), &stream, segment);
        assert_eq!(messages(&parts), expected, "segments of {segment}");
        assert_eq!(bytes_of(&parts), stream);
    }
    assert!(
        expected
            .iter()
            .all(|message| Message::parse(message).is_ok())
    );
}

/// RFC 5626 §4.4.1: a ping is answered in time only if it comes in time.
#[test]
fn a_keep_alive_waits_for_no_message() {
    let mut stream = sip();
    stream.push(b"\r\n\r\n");
    let untouched = |bytes: &[u8]| {
        Some(Part::Untouched {
            bytes: bytes.to_vec(),
            why: None,
        })
    };
    assert_eq!(stream.next_part(), untouched(b"\r\n\r\n"));
    stream.push(b"\r\n");
    assert_eq!(stream.next_part(), untouched(b"\r\n"));
    assert_eq!(stream.next_part(), None);
    assert!(!stream.is_untouched());
}

/// The framer agrees with the datagram parser: what a stream of RFC 4475's
/// messages is cut into are these messages, as long as each says its length.
#[test]
fn torture_messages_are_framed_as_they_are_parsed() {
    let directory = format!("{}/tests/data/torture", env!("CARGO_MANIFEST_DIR"));
    let mut framed = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let message = std::fs::read(&path).unwrap();
        let parsed = Message::parse(&message);
        for segment in [1, 5, message.len()] {
            let parts = parts(sip(), &message, segment);
            let name = path.display();
            assert!(message.starts_with(&bytes_of(&parts)), "{name}");
            let Ok(parsed) = &parsed else { continue };
            if parsed
                .header(sidestep_core::sip::Name::CONTENT_LENGTH)
                .is_none()
            {
                continue;
            }
            let end = parsed.bytes().len() - parsed.trailing().len();
            let first = messages(&parts).into_iter().next();
            assert_eq!(first.as_deref(), parsed.bytes().get(..end), "{name}");
            framed += 1;
        }
    }
    assert!(framed > 60, "{framed}");
}

#[test]
fn a_message_over_a_limit_is_left_alone_and_the_next_is_not() {
    let limits = Limits {
        message: 2_000,
        headers: 20,
    };
    let next = with_body(10);
    for (large, why) in [
        (with_body(2_000), "a message over the size limit"),
        (with_body(300_000), "a message over the size limit"),
        (with_headers(20), "a message over the limit of headers"),
    ] {
        let stream = [next.clone(), large, next.clone()].concat();
        for segment in [1, 1460, stream.len()] {
            let parts = parts(sip_within(limits), &stream, segment);
            assert_eq!(messages(&parts), [next.clone(), next.clone()]);
            assert_eq!(reasons(&parts), [why]);
            assert_eq!(bytes_of(&parts), stream);
        }
    }
}

#[test]
fn a_stream_that_cannot_be_divided_goes_on_as_it_is() {
    let after = |text: &[u8]| [with_body(5), text.to_vec(), with_body(5)].concat();
    let no_length = fixture("sip/no_content_length.sip");
    let length = |value: &str| {
        let text = String::from_utf8(with_body(0)).unwrap();
        let text = text.replace("Length: 0", &format!("Length: {value}"));
        text.into_bytes()
    };
    for (bad, why) in [
        (no_length, "no Content-Length header in a stream"),
        (length("-1"), "Content-Length is not a number"),
        (
            length("18446744073709551615"),
            "Content-Length is not a number",
        ),
        (length("1\r\nl: 2"), "two different Content-Lengths"),
        (b"\x16\x03\x01\x02".to_vec(), "what comes is not SIP"),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            "what comes is not SIP",
        ),
    ] {
        let stream = after(&bad);
        for segment in [1, 11, stream.len()] {
            let parts = parts(sip(), &stream, segment);
            assert_eq!(messages(&parts), [with_body(5)], "{why}");
            assert_eq!(reasons(&parts), [why]);
            assert_eq!(bytes_of(&parts), stream);
        }
    }
}

/// What waits is bounded, and work is not done again for each segment.
#[test]
fn a_header_without_an_end_does_not_wait_for_ever() {
    let line = [
        b"INVITE sip:x SIP/2.0\r\n".to_vec(),
        b"x: y\r\n".repeat(12_000),
    ]
    .concat();
    for endless in [vec![b'x'; 70_000], line] {
        let mut stream = sip();
        let mut most = 0;
        let mut out = Vec::new();
        for byte in endless.chunks(1) {
            stream.push(byte);
            most = most.max(stream.waiting());
            out.extend(std::iter::from_fn(|| stream.next_part()));
        }
        assert!(stream.is_untouched());
        assert!(most <= Limits::default().message + 1, "{most}");
        assert_eq!(reasons(&out), ["the header is too long"]);
        assert_eq!(bytes_of(&out), endless);
    }
}

/// Half a message is all there will be: it is nobody's to keep.
#[test]
fn what_waits_when_the_stream_ends_goes_on() {
    let whole = with_body(100);
    let mut stream = sip();
    stream.push(&whole[..150]);
    assert_eq!(stream.next_part(), None);
    let rest = Part::Untouched {
        bytes: whole[..150].to_vec(),
        why: None,
    };
    assert_eq!(stream.end(), Some(rest));
    assert_eq!(stream.end(), None);
}

#[test]
fn without_a_framer_everything_goes_on() {
    let mut stream = Stream::new(None);
    stream.push(b"INVITE");
    assert_eq!(bytes_of(&[stream.next_part().unwrap()]), b"INVITE");
    assert_eq!(stream.next_part(), None);
}
