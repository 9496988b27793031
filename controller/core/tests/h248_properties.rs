//! What holds of any H.248 text: no panic, no change no difference, and a change
//! touches its own bytes only. Seeds are fixed, so a failure comes again.

mod mutation;

use mutation::{Random, fixtures, mutate_with};
use sidestep_core::h248::{Change, Encoding, Side, text};

fn messages() -> Vec<Vec<u8>> {
    let folders = ["h248/appendix_i", "h248/more"];
    let files = folders.into_iter().flat_map(fixtures);
    files.map(|(_, bytes)| bytes).collect()
}

/// Bytes that the reader looks at.
const TELLING: &[u8] = b"{}[]<>=,:;#\"\\$*-/!&\r\n \t0129AMSTv\0\x7f\x80\xff";

/// Everything that may be done with a message, if it is one.
fn read(bytes: &[u8]) -> bool {
    let message = match text::parse(bytes) {
        Ok(message) => message,
        Err(error) => {
            assert!(error.offset <= bytes.len(), "{error}");
            return false;
        }
    };
    let same = text::change(bytes, &message, &[]).unwrap();
    assert_eq!(same, bytes);
    let meaning = serde_json::to_value(&message).unwrap();
    for encoding in [Encoding::Pretty, Encoding::Compact] {
        let written = text::write(&message, encoding);
        let again =
            text::parse(&written).unwrap_or_else(|e| panic!("{e}: {}", written.escape_ascii()));
        assert_eq!(
            serde_json::to_value(&again).unwrap(),
            meaning,
            "{}",
            bytes.escape_ascii()
        );
    }
    for (place, stream) in message.streams() {
        for (side, description) in [(Side::Local, &stream.local), (Side::Remote, &stream.remote)] {
            let Some(description) = description else {
                continue;
            };
            let sdp = b"v=0\r\nc=IN IP4 192.0.2.1\r\na=}\r\n".to_vec();
            let changed =
                text::change(bytes, &message, &[Change::Description { place, side, sdp }]).unwrap();
            let span = description.span;
            assert_eq!(changed[..span.start], bytes[..span.start]);
            assert!(changed.ends_with(&bytes[span.end..]));
            let again = text::parse(&changed).unwrap();
            let stream = again.stream(place).unwrap();
            let description = match side {
                Side::Local => &stream.local,
                Side::Remote => &stream.remote,
            };
            let description = description.as_ref().unwrap();
            assert_eq!(
                description.unescaped().trim_ascii(),
                b"v=0\r\nc=IN IP4 192.0.2.1\r\na=}"
            );
        }
    }
    true
}

#[test]
fn mutated_messages_never_panic_and_what_is_read_is_kept() {
    let messages = messages();
    let mut random = Random(0x2481_2481_2481_2481);
    let mut understood = 0;
    for round in 0..20_000 {
        let original = &messages[round % messages.len()];
        understood += usize::from(read(&mutate_with(&mut random, original, TELLING)));
    }
    // Neither all nor none: the mutations reach both sides.
    assert!((400..15_000).contains(&understood), "{understood}");
}

#[test]
fn a_cut_message_is_refused_at_the_cut_or_before() {
    for bytes in messages() {
        let end = bytes.trim_ascii_end().len();
        for cut in (0..end).step_by(3) {
            let prefix = &bytes[..cut];
            match text::parse(prefix) {
                Err(error) => assert!(error.offset <= cut),
                // Whole transactions are a message.
                Ok(_) => assert!(
                    matches!(prefix.trim_ascii_end().last(), Some(b'}'))
                        || prefix.contains(&b';')
                        || prefix.windows(7).any(|w| w == b"Segment")
                ),
            }
        }
    }
}

#[test]
fn bytes_of_any_kind_never_panic() {
    let mut random = Random(7);
    for _ in 0..3_000 {
        let length = random.below(200);
        let mut bytes = b"!/1 <x> T=1{C=1{A=t{".to_vec();
        bytes.extend((0..length).map(|_| {
            if random.below(4) == 0 {
                random.next() as u8
            } else {
                TELLING[random.below(TELLING.len())]
            }
        }));
        read(&bytes);
        read(&bytes[random.below(21)..]);
    }
}
