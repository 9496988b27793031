//! G.711 A-law and µ-law, by tables computed at compile time from the
//! segments of ITU-T G.711, tables 1a/1b and 2a/2b.

/// The two encodings, with their static payload types (RFC 3551 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// µ-law, `PCMU`, payload type 0.
    Mu,
    /// A-law, `PCMA`, payload type 8.
    A,
}

/// Added to a µ-law magnitude (16 bit scale) so that segments start at powers of two.
const MU_BIAS: i32 = 0x84;
/// The largest magnitude µ-law can carry, 16 bit scale.
const MU_CLIP: i32 = 32_635;
/// A-law inverts the even bits (G.711 §3.2, table 1a, note 2).
const A_INVERT: u8 = 0x55;

const MU_DECODE: [i16; 256] = decode_table(Law::Mu);
const A_DECODE: [i16; 256] = decode_table(Law::A);

/// 14 bit (µ) and 13 bit (A) samples to codes; the index is the sample's upper
/// bits as unsigned.
static MU_ENCODE: [u8; 1 << 14] = mu_encode_table();
static A_ENCODE: [u8; 1 << 13] = a_encode_table();

const fn decode_table(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = match law {
            Law::Mu => mu_expand(code as u8),
            Law::A => a_expand(code as u8),
        };
        code += 1;
    }
    table
}

const fn mu_encode_table() -> [u8; 1 << 14] {
    let mut table = [0; 1 << 14];
    let mut index = 0;
    while index < table.len() {
        table[index] = mu_compress(((index as u16) << 2) as i16);
        index += 1;
    }
    table
}

const fn a_encode_table() -> [u8; 1 << 13] {
    let mut table = [0; 1 << 13];
    let mut index = 0;
    while index < table.len() {
        table[index] = a_compress(((index as u16) << 3) as i16);
        index += 1;
    }
    table
}

const fn mu_expand(code: u8) -> i16 {
    let code = !code;
    let segment = (code >> 4) & 7;
    let mantissa = (code & 0x0F) as i32;
    let magnitude = (((mantissa << 3) + MU_BIAS) << segment) - MU_BIAS;
    (if code & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }) as i16
}

const fn mu_compress(sample: i16) -> u8 {
    let sample = sample as i32;
    let (sign, magnitude) = if sample < 0 {
        (0x80, -sample)
    } else {
        (0, sample)
    };
    let clipped = if magnitude > MU_CLIP {
        MU_CLIP
    } else {
        magnitude
    };
    let biased = clipped + MU_BIAS;
    // The highest set bit lies between 7 (segment 0) and 14 (segment 7).
    let segment = (31 - biased.leading_zeros()) as i32 - 7;
    let mantissa = (biased >> (segment + 3)) & 0x0F;
    !(sign | (segment << 4) | mantissa) as u8
}

const fn a_expand(code: u8) -> i16 {
    let code = code ^ A_INVERT;
    let segment = (code >> 4) & 7;
    let mantissa = (code & 0x0F) as i32;
    let magnitude = match segment {
        0 => (mantissa << 4) + 8,
        segment => ((mantissa << 4) + 0x108) << (segment - 1),
    };
    (if code & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }) as i16
}

const fn a_compress(sample: i16) -> u8 {
    // 13 bits; a negative value is the ones' complement, so -1 is the first
    // negative step as 0 is the first positive one.
    let sample = (sample >> 3) as i32;
    let (sign, magnitude) = if sample < 0 {
        (0, !sample)
    } else {
        (0x80, sample)
    };
    let top = (32 - (magnitude as u32).leading_zeros()) as i32;
    let code = if top <= 5 {
        magnitude >> 1
    } else {
        let segment = top - 5;
        (segment << 4) | ((magnitude >> segment) & 0x0F)
    };
    (sign | code) as u8 ^ A_INVERT
}

impl Law {
    /// The encoding a static payload type means, if it is one of these.
    pub fn from_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Mu),
            8 => Some(Self::A),
            _ => None,
        }
    }

    /// The encoding of an SDP encoding name, without regard to case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Mu, Self::A]
            .into_iter()
            .find(|law| law.name().eq_ignore_ascii_case(name))
    }

    /// Name in SDP (RFC 3551 §6, table 4).
    pub fn name(self) -> &'static str {
        match self {
            Self::Mu => "PCMU",
            Self::A => "PCMA",
        }
    }

    /// Static payload type.
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Mu => 0,
            Self::A => 8,
        }
    }

    /// One sample to its code.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => MU_ENCODE[usize::from(sample as u16 >> 2)],
            Self::A => A_ENCODE[usize::from(sample as u16 >> 3)],
        }
    }

    /// One code to its sample.
    pub fn decode(self, code: u8) -> i16 {
        match self {
            Self::Mu => MU_DECODE[usize::from(code)],
            Self::A => A_DECODE[usize::from(code)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decision and output values from G.711's own tables (13/14 bit values
    /// there, times 8 or 4 here).
    #[test]
    fn known_codes_decode_to_the_tables_of_the_recommendation() {
        for (law, code, sample) in [
            (Law::Mu, 0xFF, 0),
            (Law::Mu, 0x7F, 0),
            (Law::Mu, 0xFE, 8),
            (Law::Mu, 0x7E, -8),
            (Law::Mu, 0x80, 32_124),
            (Law::Mu, 0x00, -32_124),
            (Law::Mu, 0xF0, 120),
            (Law::Mu, 0xEF, 132),
            (Law::A, 0xD5, 8),
            (Law::A, 0x55, -8),
            (Law::A, 0xD4, 24),
            (Law::A, 0xAA, 32_256),
            (Law::A, 0x2A, -32_256),
            (Law::A, 0xC5, 264),
            (Law::A, 0xF5, 528),
        ] {
            assert_eq!(law.decode(code), sample, "{law:?} {code:#04x}");
        }
    }

    #[test]
    fn every_code_survives_decoding_and_encoding() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=255u8 {
                // µ-law has two zeros; negative zero comes back as the positive one.
                let expected = if law == Law::Mu && code == 0x7F {
                    0xFF
                } else {
                    code
                };
                assert_eq!(
                    law.encode(law.decode(code)),
                    expected,
                    "{law:?} {code:#04x}"
                );
            }
        }
    }

    #[test]
    fn the_error_stays_within_half_a_step_of_the_segment() {
        for law in [Law::Mu, Law::A] {
            for sample in (-32_000..=32_000).step_by(7) {
                let error = (i32::from(law.decode(law.encode(sample))) - i32::from(sample)).abs();
                let bound = 16 + i32::from(sample).abs() / 32;
                assert!(error <= bound, "{law:?} {sample}: error {error} > {bound}");
            }
        }
    }

    #[test]
    fn the_extremes_are_clipped_not_wrapped() {
        assert_eq!(Law::Mu.encode(i16::MAX), 0x80);
        assert_eq!(Law::Mu.encode(i16::MIN), 0x00);
        assert_eq!(Law::A.encode(i16::MAX), 0xAA);
        assert_eq!(Law::A.encode(i16::MIN), 0x2A);
    }

    /// The digital milliwatt of G.711 §4, table 5: 1 kHz at 0 dBm0.
    #[test]
    fn the_digital_milliwatt_has_its_level() {
        let milliwatt = [0x1E, 0x0B, 0x0B, 0x1E, 0x9E, 0x8B, 0x8B, 0x9E];
        let power: f64 = milliwatt
            .iter()
            .map(|&code| f64::from(Law::Mu.decode(code)).powi(2))
            .sum::<f64>()
            / 8.0;
        let dbfs = 10.0 * (power / 32_768f64.powi(2)).log10();
        // 0 dBm0 is 3.17 dB below a full-scale µ-law sine, itself -3.2 dBFS RMS.
        assert!((-6.4..=-6.0).contains(&dbfs), "{dbfs}");
    }
}
