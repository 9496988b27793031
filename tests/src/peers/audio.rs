//! Tones to send and tones to find: how a test knows that the audio that
//! arrived is the audio that was sent.

use std::f64::consts::TAU;
use std::path::Path;

use anyhow::{Context, Result};

/// Samples a second, of everything here.
pub const RATE: u32 = 8000;

/// Half of full scale: loud, not clipped.
const AMPLITUDE: f64 = 12_000.0;

/// A sine of `hz`, one second long, which loops without a click where `hz` is
/// whole.
pub fn tone(hz: f64) -> Vec<i16> {
    (0..RATE)
        .map(|n| (AMPLITUDE * (TAU * hz * f64::from(n) / f64::from(RATE)).sin()) as i16)
        .collect()
}

/// Writes `seconds` of a tone as a WAV file (RIFF, 16 bit PCM, mono, 8 kHz).
pub fn write_tone_wav(path: &Path, hz: f64, seconds: usize) -> Result<()> {
    let samples = tone(hz).repeat(seconds);
    let data_len = u32::try_from(samples.len() * 2).context("a WAV file this long")?;
    let mut file = Vec::with_capacity(samples.len() * 2 + 44);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + data_len).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16u32.to_le_bytes());
    file.extend_from_slice(&1u16.to_le_bytes());
    file.extend_from_slice(&1u16.to_le_bytes());
    file.extend_from_slice(&RATE.to_le_bytes());
    file.extend_from_slice(&(RATE * 2).to_le_bytes());
    file.extend_from_slice(&2u16.to_le_bytes());
    file.extend_from_slice(&16u16.to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&data_len.to_le_bytes());
    for sample in samples {
        file.extend_from_slice(&sample.to_le_bytes());
    }
    std::fs::write(path, file).with_context(|| format!("writing {}", path.display()))
}

/// G.711 µ-law, decoded (ITU-T G.711 table 2a).
pub fn decode_ulaw(octet: u8) -> i16 {
    let inverted = !octet;
    let exponent = (inverted >> 4) & 7;
    let mantissa = i16::from(inverted & 15);
    let magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    if inverted & 0x80 != 0 {
        -magnitude
    } else {
        magnitude
    }
}

/// G.711 A-law, decoded (ITU-T G.711 table 1a).
pub fn decode_alaw(octet: u8) -> i16 {
    let octet = octet ^ 0x55;
    let exponent = (octet >> 4) & 7;
    let mantissa = i16::from(octet & 15);
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    if octet & 0x80 != 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// The nearest code of a sample in a law, by trying all of them: slow, short
/// and certainly the inverse.
fn encode(sample: i16, decode: fn(u8) -> i16) -> u8 {
    (0..=u8::MAX)
        .min_by_key(|&code| (i32::from(decode(code)) - i32::from(sample)).unsigned_abs())
        .unwrap_or(0)
}

/// One second of a tone in A-law.
pub fn tone_alaw(hz: f64) -> Vec<u8> {
    tone(hz)
        .into_iter()
        .map(|s| encode(s, decode_alaw))
        .collect()
}

/// Share of the signal's energy that lies at `hz`: 1 for a clean tone, near 0
/// for silence, noise or another tone (Goertzel).
pub fn purity(samples: &[i16], hz: f64) -> f64 {
    let energy: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum();
    if samples.is_empty() || energy < f64::from(RATE) {
        return 0.0;
    }
    // In blocks, so that a packet lost or slipped does not turn the phase.
    let block = 400;
    let found: f64 = samples
        .chunks_exact(block)
        .map(|chunk| {
            let coefficient = 2.0 * (TAU * hz / f64::from(RATE)).cos();
            let (mut one, mut two) = (0.0, 0.0);
            for &sample in chunk {
                let zero = f64::from(sample) + coefficient * one - two;
                two = one;
                one = zero;
            }
            (one * one + two * two - coefficient * one * two) * 2.0 / block as f64
        })
        .sum();
    (found / energy).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_found_and_another_is_not() {
        let samples = tone(440.0);
        assert!(purity(&samples, 440.0) > 0.98);
        assert!(purity(&samples, 1000.0) < 0.02);
        assert!(purity(&vec![0; 8000], 440.0) < 0.01);
    }

    #[test]
    fn g711_keeps_a_tone() {
        let heard: Vec<i16> = tone_alaw(700.0).into_iter().map(decode_alaw).collect();
        assert!(purity(&heard, 700.0) > 0.98);
        // ITU-T G.711 tables: the codes of the smallest and largest values.
        assert_eq!(decode_alaw(0xd5), 8);
        assert_eq!(decode_alaw(0x55), -8);
        assert_eq!(decode_alaw(0xaa), 32256);
        assert_eq!(decode_ulaw(0xff), 0);
        assert_eq!(decode_ulaw(0x80), 32124);
        assert_eq!(decode_ulaw(0x00), -32124);
    }
}
