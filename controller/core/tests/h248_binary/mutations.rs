//! What holds of any octets: no panic, no change no difference, and what is read can
//! be written. Seeds are fixed, so a failure comes again.

use sidestep_core::h248::{Change, Side, binary};

use super::fixture::{all, meaning, parse};

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Octets that the reader looks at: tags, lengths and their forms.
const TELLING: &[u8] = &[
    0x00, 0x01, 0x02, 0x04, 0x16, 0x1f, 0x20, 0x24, 0x30, 0x7f, 0x80, 0x81, 0x82, 0x84, 0x85, 0x8f,
    0x9f, 0xa0, 0xa1, 0xa2, 0xa3, 0xbf, 0xff,
];

fn mutate(random: &mut Random, original: &[u8]) -> Vec<u8> {
    let mut octets = original.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(octets.len() + 1);
        match random.below(6) {
            0 => octets.truncate(at),
            1 => octets.insert(at, TELLING[random.below(TELLING.len())]),
            2 | 3 if at < octets.len() => octets[at] = TELLING[random.below(TELLING.len())],
            4 => {
                let end = (at + random.below(12)).min(octets.len());
                octets.drain(at..end);
            }
            _ => {
                let end = (at + random.below(40)).min(octets.len());
                let part = octets[at..end].to_vec();
                let to = random.below(octets.len() + 1);
                octets.splice(to..to, part);
            }
        }
    }
    octets
}

/// Everything that may be done with octets; whether they are a message.
fn exercise(octets: &[u8]) -> bool {
    let message = match binary::parse(octets) {
        Ok(message) => message,
        Err(error) => {
            assert!(error.offset <= octets.len(), "{error}");
            assert!(!error.construct.is_empty() && !error.what.is_empty());
            return false;
        }
    };
    let same = binary::change(octets, &message, &[]).unwrap();
    assert_eq!(same, octets);
    if let Ok(written) = binary::write(&message) {
        assert_eq!(meaning(&parse(&written)), meaning(&message));
    }
    for (place, stream) in message.streams() {
        for (side, there) in [(Side::Local, &stream.local), (Side::Remote, &stream.remote)] {
            if there.is_none() {
                continue;
            }
            let sdp = b"v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 4000 RTP/AVP 8\r\n".to_vec();
            let change = Change::Description { place, side, sdp };
            let changed = binary::change(octets, &message, &[change]).unwrap();
            let again = parse(&changed);
            let stream = again.stream(place).unwrap();
            let new = match side {
                Side::Local => stream.local.as_ref(),
                Side::Remote => stream.remote.as_ref(),
            };
            assert!(
                new.unwrap()
                    .octets
                    .starts_with(b"v=0\r\nc=IN IP4 192.0.2.7\r\n")
            );
        }
    }
    for transaction in 0..message.transactions().len() {
        let changed = binary::change(octets, &message, &[Change::Drop { transaction }]).unwrap();
        let left = parse(&changed).transactions().len();
        assert_eq!(left + 1, message.transactions().len());
    }
    true
}

#[test]
fn mutated_messages_are_read_or_refused() {
    let mut random = Random(0x2946_0000_5eed);
    let mut read = 0;
    for (_, original) in all() {
        for _ in 0..20_000 {
            read += usize::from(exercise(&mutate(&mut random, &original)));
        }
    }
    // Enough of them are still messages that the rest was exercised.
    assert!(read > 2_000, "{read}");
}

#[test]
fn cut_messages_are_refused() {
    for (name, original) in all() {
        for end in 0..original.len() {
            assert!(!exercise(&original[..end]), "{name}, {end}");
        }
    }
}

#[test]
fn random_octets_are_refused() {
    let mut random = Random(0x2946_0001_5eed);
    for _ in 0..20_000 {
        let mut octets: Vec<u8> = (0..random.below(64))
            .map(|_| TELLING[random.below(TELLING.len())])
            .collect();
        octets.insert(0, 0x30);
        exercise(&octets);
    }
}

#[test]
fn nesting_without_end_is_refused_quickly() {
    for tag in [0x30, 0xa0, 0xa1, 0x24] {
        let octets = [tag, 0x80].repeat(32_000);
        assert!(!exercise(&octets));
        let mut within = vec![0x30, 0x80];
        within.extend(&octets);
        assert!(!exercise(&within));
    }
}
