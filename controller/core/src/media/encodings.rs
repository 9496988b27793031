//! Which encoding a payload type of a flow stands for, as far as anybody has published how
//! that encoding sounds (ITU-T G.113).
//!
//! In: the codecs that a call's two ends describe. Out: a small table to go with the flow.

use serde::{Deserialize, Serialize};

use super::Codec;

/// A speech encoding, by the names of RFC 3551 §4.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encoding {
    /// G.711, either law.
    Pcm,
    /// G.722, wideband. Its RTP clock is 8,000 Hz all the same (RFC 3551 §4.5.2).
    G722,
    /// G.723.1.
    G723,
    /// G.726 at 40 kbit/s.
    G726At40,
    /// G.726 at 32 kbit/s.
    G726At32,
    /// G.726 at 24 kbit/s.
    G726At24,
    /// G.726 at 16 kbit/s.
    G726At16,
    /// G.728.
    G728,
    /// G.729.
    G729,
    /// GSM full rate (06.10).
    Gsm,
    /// GSM enhanced full rate (06.60).
    GsmEfr,
}

impl Encoding {
    /// That of a codec; `None`: one that nobody has published values of, or whose rate
    /// nobody but its sender knows, as AMR's.
    pub fn of(codec: &Codec) -> Option<Self> {
        const NAMES: [(&str, Encoding); 12] = [
            ("PCMU", Encoding::Pcm),
            ("PCMA", Encoding::Pcm),
            ("G722", Encoding::G722),
            ("G723", Encoding::G723),
            ("G726-40", Encoding::G726At40),
            ("G726-32", Encoding::G726At32),
            ("G726-24", Encoding::G726At24),
            ("G726-16", Encoding::G726At16),
            ("G728", Encoding::G728),
            ("G729", Encoding::G729),
            ("GSM", Encoding::Gsm),
            ("GSM-EFR", Encoding::GsmEfr),
        ];
        // All of these have this clock; a name with another is something else.
        if codec.clock_rate != 8_000 || codec.channels.unwrap_or(1) != 1 {
            return None;
        }
        let known = |(name, _): &&(&str, Self)| codec.name.eq_ignore_ascii_case(name);
        NAMES.iter().find(known).map(|(_, encoding)| *encoding)
    }
}

/// How many payload types a flow's table has room for: those of a description that are
/// known here are seldom more.
const ROOM: usize = 6;

/// Payload types and what they stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Encodings([Option<(u8, Encoding)>; ROOM]);

impl Encodings {
    /// Of these codecs; where two have one payload type the first counts.
    pub fn of<'a>(codecs: impl Iterator<Item = &'a Codec>) -> Self {
        let mut table = Self::default();
        let mut taken = [false; 128];
        let mut room = table.0.iter_mut();
        for codec in codecs {
            let Some(taken) = taken.get_mut(usize::from(codec.payload_type)) else {
                continue;
            };
            if std::mem::replace(taken, true) {
                continue;
            }
            if let Some(encoding) = Encoding::of(codec)
                && let Some(slot) = room.next()
            {
                *slot = Some((codec.payload_type, encoding));
            }
        }
        table
    }

    /// What a payload type stands for; `None`: nothing that is known here.
    pub fn get(&self, payload_type: u8) -> Option<Encoding> {
        let known = self.0.iter().flatten();
        let mut of = known.filter(|(known, _)| *known == payload_type);
        of.next().map(|(_, encoding)| *encoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(payload_type: u8, name: &str, clock_rate: u32) -> Codec {
        Codec {
            payload_type,
            name: name.to_owned(),
            clock_rate,
            channels: None,
            fmtp: None,
        }
    }

    #[test]
    fn a_payload_type_is_what_its_description_says() {
        let codecs = [
            codec(9, "G722", 8_000),
            codec(96, "g726-32", 8_000),
            codec(97, "PCMA", 8_000),
            codec(98, "PCMA", 16_000),
            codec(99, "AMR", 8_000),
            codec(111, "opus", 48_000),
            codec(101, "telephone-event", 8_000),
            // Another says that 96 and 99 are something else: the first counts.
            codec(96, "GSM-EFR", 8_000),
            codec(99, "GSM-EFR", 8_000),
            codec(100, "GSM-EFR", 8_000),
            codec(255, "PCMU", 8_000),
        ];
        let table = Encodings::of(codecs.iter());
        for (payload_type, encoding) in [
            (9, Some(Encoding::G722)),
            (96, Some(Encoding::G726At32)),
            (97, Some(Encoding::Pcm)),
            (98, None),
            (99, None),
            (100, Some(Encoding::GsmEfr)),
            (101, None),
            (111, None),
            (0, None),
            (255, None),
        ] {
            assert_eq!(table.get(payload_type), encoding, "{payload_type}");
        }
        let two = Codec {
            channels: Some(2),
            ..codec(96, "PCMU", 8_000)
        };
        assert_eq!(Encoding::of(&two), None);
    }

    /// A description may name more than there is room for: the last are not known.
    #[test]
    fn a_long_description_fills_the_table_and_no_more() {
        let codecs: Vec<Codec> = (96..=127).map(|pt| codec(pt, "PCMU", 8_000)).collect();
        let table = Encodings::of(codecs.iter());
        let known = (96..=127).filter(|pt| table.get(*pt).is_some()).count();
        assert_eq!(known, ROOM);
        assert_eq!(table.get(96), Some(Encoding::Pcm));
    }
}
