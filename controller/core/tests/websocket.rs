//! SIP over WebSocket (RFC 7118): what is found in a connection's two streams, and that
//! everything else passes as it came.

use std::sync::Arc;

use sidestep_core::stream::{Framer, Limits, Part, Stream};
use sidestep_core::websocket::{Masks, WebSocketFramer};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: gw.example.net\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.net\r\nSec-WebSocket-Protocol: sip, other\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: sip\r\n\r\n";
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

const FIRST: u8 = 0x00;
const LAST: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PING: u8 = 9;

const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";

/// A frame as RFC 6455 §5.2 draws it; masked where a client sends it.
fn frame(begin: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![begin];
    match payload.len() {
        length if length < 126 => frame.push(masked | length as u8),
        length if length < 65_536 => {
            frame.extend([masked | 126, (length >> 8) as u8, length as u8]);
        }
        length => {
            frame.push(masked | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask.unwrap_or_default().iter().take(mask.map_or(0, |_| 4)));
    let mask = mask.unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, k)| b ^ k));
    frame
}

fn masked(begin: u8, payload: &[u8]) -> Vec<u8> {
    frame(begin, payload, Some([0x37, 0xfa, 0x21, 0x3d]))
}

/// The streams of the client and of the server.
fn streams(limits: Limits) -> [Stream; 2] {
    let masks = Arc::new(Masks::new([7; 32]));
    WebSocketFramer::pair(limits, &masks).map(|framer| {
        let framer: Box<dyn Framer> = Box::new(framer);
        Stream::new(Some(framer))
    })
}

fn push(stream: &mut Stream, bytes: &[u8], segment: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    for segment in bytes.chunks(segment) {
        stream.push(segment);
        parts.extend(std::iter::from_fn(|| stream.next_part()));
    }
    parts
}

/// Streams whose handshake is through.
fn open(limits: Limits) -> [Stream; 2] {
    let [mut client, mut server] = streams(limits);
    push(&mut client, REQUEST.as_bytes(), 9_000);
    push(&mut server, ANSWER.as_bytes(), 9_000);
    [client, server]
}

fn messages(parts: &[Part]) -> Vec<&[u8]> {
    fn message(part: &Part) -> Option<&[u8]> {
        match part {
            Part::Message(bytes) => Some(bytes),
            Part::Untouched { .. } => None,
        }
    }
    parts.iter().filter_map(message).collect()
}

fn untouched(parts: &[Part]) -> Vec<u8> {
    let bytes = |part: &Part| match part {
        Part::Untouched { bytes, .. } => bytes.clone(),
        Part::Message(_) => Vec::new(),
    };
    parts.iter().flat_map(bytes).collect()
}

fn reasons(parts: &[Part]) -> Vec<&'static str> {
    let reason = |part: &Part| match part {
        Part::Untouched { why, .. } => *why,
        Part::Message(_) => None,
    };
    parts.iter().filter_map(reason).collect()
}

#[test]
fn messages_are_found_wherever_segments_end() {
    let large = [OPTIONS, &[b'x'; 70_000]].concat();
    let limits = Limits {
        message: 100_000,
        ..Limits::default()
    };
    let (one, two) = OPTIONS.split_at(20);
    type Maker = fn(u8, &[u8]) -> Vec<u8>;
    let plain: Maker = |begin, payload| frame(begin, payload, None);
    for (end, make) in [(0, masked as Maker), (1, plain)] {
        let ping = make(LAST | PING, b"are you there?");
        let bytes = [
            make(LAST | TEXT, OPTIONS),
            make(FIRST | BINARY, one),
            ping.clone(),
            make(FIRST | CONTINUATION, b""),
            make(LAST | CONTINUATION, two),
            make(LAST | BINARY, &large),
            make(LAST | TEXT, b"\r\n\r\n"),
        ]
        .concat();
        for segment in [1, 2, 3, 7, 1460, bytes.len()] {
            let stream = &mut open(limits)[end];
            let parts = push(stream, &bytes, segment);
            assert_eq!(messages(&parts), [OPTIONS, OPTIONS, &large]);
            // Control frames and keep-alives, as they came.
            let expected = [ping.clone(), make(LAST | TEXT, b"\r\n\r\n")].concat();
            assert_eq!(untouched(&parts), expected, "segments of {segment}");
            assert_eq!(reasons(&parts), [""; 0]);
        }
    }
}

#[test]
fn the_handshake_passes_but_for_extensions() {
    for request in [
        REQUEST.replace("Origin:", &format!("{OFFER}Origin:")),
        REQUEST.replace("Origin:", &format!("{OFFER} ; folded\r\nOrigin:")),
        REQUEST.replace("Upgrade: w", &format!("{}Upgrade: w", OFFER.to_lowercase())),
        REQUEST.to_owned(),
    ] {
        for segment in [1, 5, request.len()] {
            let [mut client, mut server] = streams(Limits::default());
            let parts = push(&mut client, request.as_bytes(), segment);
            assert_eq!(String::from_utf8_lossy(&untouched(&parts)), REQUEST);
            let parts = push(&mut server, ANSWER.as_bytes(), segment);
            assert_eq!(untouched(&parts), ANSWER.as_bytes());
            assert_eq!(reasons(&parts), [""; 0]);
        }
    }
}

/// What the client sends, what the server answers: none of it is read, and both
/// directions stay as they are to their end.
#[test]
fn whatever_else_comes_passes_byte_for_byte() {
    let chat = |text: &str| text.replace("sip", "chat");
    let deflate = "Sec-WebSocket-Accept: x\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    let message = masked(LAST | TEXT, OPTIONS);
    let answer = frame(LAST | TEXT, OPTIONS, None);
    let cases = [
        (chat(REQUEST), chat(ANSWER)),
        (REQUEST.to_owned(), chat(ANSWER)),
        (
            REQUEST.to_owned(),
            ANSWER.replace("Sec-WebSocket-Accept: s3", &format!("{deflate}X: ")),
        ),
        (REQUEST.to_owned(), ANSWER.replace("101 Sw", "401 Sw")),
        (REQUEST.replace("GET", "POST"), ANSWER.to_owned()),
        (
            REQUEST.replace("Upgrade: websocket", "Upgrade: h2c"),
            ANSWER.to_owned(),
        ),
        ("\u{16}\u{3}\u{1} TLS".to_owned(), "\u{15}\u{3}".to_owned()),
        (
            String::from_utf8_lossy(OPTIONS).into_owned(),
            "SIP/2.0 200 OK\r\n\r\n".to_owned(),
        ),
    ];
    for (request, reply) in cases {
        let [mut client, mut server] = streams(Limits::default());
        let mut parts = push(&mut client, request.as_bytes(), 10);
        let mut replies = push(&mut server, reply.as_bytes(), 10);
        for _ in 0..3 {
            parts.extend(push(&mut client, &message, 10));
            replies.extend(push(&mut server, &answer, 10));
        }
        assert_eq!(messages(&parts), [b""; 0], "{request}");
        assert_eq!(messages(&replies), [b""; 0], "{request}");
        let sent = [request.as_bytes(), &message.repeat(3)].concat();
        assert_eq!(untouched(&parts), sent, "{request}");
        let sent = [reply.as_bytes(), &answer.repeat(3)].concat();
        assert_eq!(untouched(&replies), sent, "{request}");
        let told = reasons(&parts).len() + reasons(&replies).len();
        assert_eq!(told, 1, "it is said once: {request}");
    }
}

#[test]
fn what_breaks_the_rules_of_frames_goes_on_as_it_came() {
    let good = masked(LAST | TEXT, OPTIONS);
    let huge = [&[LAST | TEXT, 0xff][..], &[0xff; 8], &[0; 4]].concat();
    for bad in [
        masked(LAST | 0x40 | TEXT, OPTIONS),
        frame(LAST | TEXT, OPTIONS, None),
        masked(LAST | 3, OPTIONS),
        masked(LAST | CONTINUATION, OPTIONS),
        masked(FIRST | PING, b"half"),
        [masked(FIRST | TEXT, b"OPT"), masked(LAST | TEXT, b"IONS")].concat(),
        huge,
    ] {
        let [mut client, mut server] = open(Limits::default());
        let bytes = [good.clone(), bad.clone(), good.clone()].concat();
        let parts = push(&mut client, &bytes, 11);
        assert_eq!(messages(&parts), [OPTIONS]);
        assert_eq!(untouched(&parts), [bad, good.clone()].concat());
        assert_eq!(reasons(&parts).len(), 1);
        // And so does the other direction.
        let answer = frame(LAST | TEXT, OPTIONS, None);
        assert_eq!(untouched(&push(&mut server, &answer, 11)), answer);
    }
}

#[test]
fn a_message_over_a_limit_goes_on_as_it_came() {
    let limits = Limits {
        message: 100,
        headers: 5,
    };
    let many = [
        OPTIONS.strip_suffix(b"\r\n").unwrap(),
        &b"X: 1\r\n".repeat(4),
        b"\r\n",
    ]
    .concat();
    let good = masked(LAST | TEXT, OPTIONS);
    let in_fragments = [
        masked(FIRST | TEXT, &[b'x'; 60]),
        masked(FIRST | CONTINUATION, &[b'x'; 60]),
        masked(LAST | PING, b"now"),
        masked(LAST | CONTINUATION, &[b'x'; 60]),
    ];
    for (bytes, why) in [
        (
            masked(LAST | TEXT, &[b'x'; 300]),
            "a message over the size limit",
        ),
        (in_fragments.concat(), "a message over the size limit"),
        (
            masked(LAST | TEXT, &many),
            "a message over the limit of headers",
        ),
        (
            masked(FIRST | TEXT, b"")
                .repeat(1)
                .into_iter()
                .chain(masked(FIRST | CONTINUATION, b"").repeat(400))
                .chain(masked(LAST | CONTINUATION, OPTIONS))
                .collect(),
            "a message over the size limit",
        ),
    ] {
        for segment in [1, 13, bytes.len()] {
            let stream = &mut open(limits)[0];
            let parts = push(stream, &bytes, segment);
            assert_eq!(untouched(&parts), bytes, "{why}");
            assert_eq!(reasons(&parts), [why]);
            assert!(!stream.is_amid());
            assert_eq!(messages(&push(stream, &good, segment)), [OPTIONS]);
        }
    }
    let stream = &mut open(limits)[0];
    push(stream, &in_fragments[..2].concat(), 50);
    assert!(stream.is_amid(), "nothing else can be sent before its end");
}

#[test]
fn a_message_that_never_ends_goes_on_as_it_came() {
    let begun = [masked(FIRST | TEXT, b"OPTIONS"), vec![LAST, 0xff, 0]].concat();
    let stream = &mut open(Limits::default())[0];
    assert_eq!(push(stream, &begun, 4), []);
    let rest = stream.end();
    assert_eq!(
        rest,
        Some(Part::Untouched {
            bytes: begun,
            why: None
        })
    );
}

/// Sidestep's frames are read by the other end: masked toward the server, each with a
/// mask of its own; text as text and binary as binary.
#[test]
fn messages_go_on_as_the_other_end_would_send_them() {
    let [mut client, mut server] = open(Limits::default());
    let large = vec![b'x'; 66_000];
    for payload in [&b"short"[..], &[b'y'; 126], &large] {
        assert_eq!(
            client.wrap(payload.to_vec()),
            frame(LAST | TEXT, payload, None)
        );
        let (one, two) = (server.wrap(payload.to_vec()), server.wrap(payload.to_vec()));
        assert_ne!(one, two, "masks do not repeat");
        let at = one.len() - payload.len();
        let mask = *one[at - 4..at].first_chunk().unwrap();
        assert_eq!(one, frame(LAST | TEXT, payload, Some(mask)));
    }
    let odd = b"\xff\xfe".to_vec();
    assert_eq!(client.wrap(odd.clone()), frame(LAST | BINARY, &odd, None));
    push(&mut client, &masked(LAST | BINARY, OPTIONS), 100);
    assert_eq!(server.wrap(b"x".to_vec())[0], LAST | BINARY);
    assert_eq!(client.wrap(b"x".to_vec())[0], LAST | TEXT);
    push(&mut server, &frame(LAST | BINARY, OPTIONS, None), 100);
    assert_eq!(client.wrap(b"x".to_vec())[0], LAST | BINARY);
}

/// Octets changed anywhere: nothing is lost, nothing panics, and the parts do not
/// depend on where the stream is cut.
#[test]
fn spoiled_streams_lose_nothing() {
    let good = [
        masked(FIRST | TEXT, b"OPTIONS sip:a@b "),
        masked(LAST | PING, b"p"),
        masked(LAST | CONTINUATION, b"SIP/2.0\r\n\r\n"),
        masked(LAST | BINARY, OPTIONS),
    ]
    .concat();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    for _ in 0..20_000 {
        let mut bytes = [REQUEST.as_bytes(), &good].concat();
        for _ in 0..random(4) {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        let run = |segment: usize| {
            let [mut client, mut server] = streams(Limits::default());
            let (request, frames) = bytes.split_at(REQUEST.len());
            let mut parts = push(&mut client, request, segment);
            push(&mut server, ANSWER.as_bytes(), 1_000);
            parts.extend(push(&mut client, frames, segment));
            parts.extend(client.end());
            (untouched(&parts), parts)
        };
        let (passed, parts) = run(bytes.len());
        let (as_passed, as_parts) = run(1 + random(20));
        assert_eq!(passed, as_passed);
        assert_eq!(messages(&parts), messages(&as_parts));
        // Control frames may overtake fragments (RFC 6455 §5.4); all octets are there.
        let sorted = |mut bytes: Vec<u8>| {
            bytes.sort_unstable();
            bytes
        };
        if messages(&parts).is_empty() {
            assert_eq!(sorted(passed), sorted(bytes));
        }
    }
}
