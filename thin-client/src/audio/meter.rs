//! Level and tone of what was heard: how a test, or a person reading the
//! report, knows that it was the right audio.

use super::SAMPLE_RATE;

/// Samples looked at for the tone: 100 ms, so 10 Hz resolution.
const WINDOW: usize = 800;
/// Tones looked for, Hz.
const TONES: std::ops::RangeInclusive<u32> = 50..=3_900;
/// Part of the window's power that one frequency must have to be the tone.
const DOMINANT: f64 = 0.5;
/// Level of digital silence, dBFS (as RFC 6464 §3 has it).
const SILENCE_DBFS: f64 = -127.0;

/// Gathers samples as they are decoded.
#[derive(Debug, Default)]
pub struct Meter {
    window: Vec<i16>,
    next: usize,
    square_sum: f64,
    samples: u64,
}

impl Meter {
    /// Takes the samples of one packet.
    pub fn hear(&mut self, samples: &[i16]) {
        for &sample in samples {
            self.square_sum += f64::from(sample) * f64::from(sample);
            self.samples += 1;
            if self.window.len() < WINDOW {
                self.window.push(sample);
            } else {
                self.window[self.next] = sample;
                self.next = (self.next + 1) % WINDOW;
            }
        }
    }

    /// RMS level of everything heard, dB relative to a full-scale square wave
    /// (a full-scale sine is -3.01). `None`: nothing heard yet.
    pub fn level_dbfs(&self) -> Option<f64> {
        if self.samples == 0 {
            return None;
        }
        let power = self.square_sum / self.samples as f64 / 32_768f64.powi(2);
        Some((10.0 * power.log10()).max(SILENCE_DBFS))
    }

    /// Frequency, Hz, to 10 Hz, of the tone that makes up most of the last
    /// 100 ms heard; `None` where there is no such tone.
    pub fn tone_hz(&self) -> Option<u32> {
        if self.window.len() < WINDOW {
            return None;
        }
        let samples: Vec<f64> = (0..WINDOW)
            .map(|at| f64::from(self.window[(self.next + at) % WINDOW]))
            .collect();
        let total: f64 = samples.iter().map(|sample| sample * sample).sum();
        // Below about -60 dBFS it is a codec's idle noise.
        if total < WINDOW as f64 * 32.0 * 32.0 {
            return None;
        }
        let (tone, power) = TONES
            .step_by((SAMPLE_RATE as usize) / WINDOW)
            .map(|tone| (tone, goertzel(&samples, tone)))
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        // A pure tone at a bin's centre has N/2 times the window's energy.
        (power >= total * DOMINANT * WINDOW as f64 / 2.0).then_some(tone)
    }
}

/// Squared magnitude of one frequency's DFT bin, by Goertzel's recurrence.
fn goertzel(samples: &[f64], tone: u32) -> f64 {
    let coefficient =
        2.0 * (std::f64::consts::TAU * f64::from(tone) / f64::from(SAMPLE_RATE)).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in samples {
        let state = sample + coefficient * last - before;
        before = last;
        last = state;
    }
    last * last + before * before - coefficient * last * before
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::*;

    fn heard(mut source: Source, samples: usize) -> Meter {
        let mut meter = Meter::default();
        let mut frame = vec![0; samples];
        source.fill(&mut frame);
        meter.hear(&frame);
        meter
    }

    #[test]
    fn tones_are_recognised_to_ten_hertz() {
        for tone in [50, 440, 441, 1_000, 3_400] {
            let measured = heard(Source::tone(tone), 1_234).tone_hz();
            let measured = measured.unwrap_or_else(|| panic!("{tone} Hz not recognised"));
            assert!(measured.abs_diff(tone) <= 5, "{tone}: {measured}");
        }
    }

    #[test]
    fn noise_and_silence_are_no_tone() {
        let mut noise = Meter::default();
        let mut state = 1u32;
        let samples: Vec<i16> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16
        })
        .take(WINDOW)
        .collect();
        noise.hear(&samples);
        assert_eq!(noise.tone_hz(), None);
        assert_eq!(heard(Source::Silence, WINDOW).tone_hz(), None);
    }

    #[test]
    fn levels_are_relative_to_full_scale() {
        let mut square = Meter::default();
        square.hear(&[16_384, -16_384]);
        let level = square.level_dbfs().expect("heard something");
        assert!((level + 6.02).abs() < 0.01, "{level}");
        assert_eq!(heard(Source::Silence, 10).level_dbfs(), Some(-127.0));
        assert_eq!(Meter::default().level_dbfs(), None);
    }
}
