//! What a call plays.

use std::path::Path;

use super::SAMPLE_RATE;
use super::queue::SampleQueue;

/// Amplitude of the tone: -13 dBFS RMS, as loud as speech.
const TONE_AMPLITUDE: f64 = 10_000.0;

/// A file that cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Not there, not readable, or not a WAV file.
    #[error("{path}: {source}")]
    Wav {
        /// The file.
        path: String,
        /// What hound says about it.
        source: hound::Error,
    },
    /// No samples in it.
    #[error("{path}: the file holds no samples")]
    Empty {
        /// The file.
        path: String,
    },
}

/// Where the samples to be sent come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Digital silence.
    Silence,
    /// A sine.
    Tone {
        /// Radians per sample.
        step: f64,
        /// Radians.
        phase: f64,
    },
    /// A file, over and over.
    Wav {
        /// All of it, 8 kHz mono.
        samples: std::sync::Arc<[i16]>,
        /// Next sample.
        at: usize,
    },
    /// What others put there: the peer itself (echo), a microphone.
    Queue(SampleQueue),
}

impl Source {
    /// A sine of `hertz`.
    pub fn tone(hertz: u32) -> Self {
        Self::Tone {
            step: std::f64::consts::TAU * f64::from(hertz) / f64::from(SAMPLE_RATE),
            phase: 0.0,
        }
    }

    /// A WAV file of any rate, integer or float, any number of channels (their
    /// mean is played); played again from its start when it ends.
    pub fn wav(path: &Path) -> Result<Self, SourceError> {
        let named = path.display().to_string();
        let wav = |source| SourceError::Wav {
            path: named.clone(),
            source,
        };
        let mut reader = hound::WavReader::open(path).map_err(wav)?;
        let spec = reader.spec();
        let interleaved: Vec<f64> = match spec.sample_format {
            hound::SampleFormat::Float => reader
                .samples::<f32>()
                .map(|sample| sample.map(|sample| f64::from(sample) * 32_767.0))
                .collect::<Result<_, _>>(),
            hound::SampleFormat::Int => {
                let scale = 32_768.0 / f64::from(spec.bits_per_sample - 1).exp2();
                reader
                    .samples::<i32>()
                    .map(|sample| sample.map(|sample| f64::from(sample) * scale))
                    .collect::<Result<_, _>>()
            }
        }
        .map_err(wav)?;
        let mono: Vec<f64> = interleaved
            .chunks_exact(usize::from(spec.channels))
            .map(|frame| frame.iter().sum::<f64>() / frame.len() as f64)
            .collect();
        if mono.is_empty() {
            return Err(SourceError::Empty { path: named });
        }
        Ok(Self::Wav {
            samples: resample(&mono, spec.sample_rate).into(),
            at: 0,
        })
    }

    /// Fills one packet's worth.
    pub fn fill(&mut self, frame: &mut [i16]) {
        match self {
            Self::Silence => frame.fill(0),
            Self::Tone { step, phase } => {
                for sample in frame {
                    *sample = (phase.sin() * TONE_AMPLITUDE).round() as i16;
                    *phase = (*phase + *step) % std::f64::consts::TAU;
                }
            }
            Self::Wav { samples, at } => {
                for sample in frame {
                    *sample = samples[*at];
                    *at = (*at + 1) % samples.len();
                }
            }
            Self::Queue(queue) => queue.pop(frame),
        }
    }
}

/// To 8 kHz, linearly. Good enough for prompts; no filter, so material far
/// above 4 kHz folds back.
fn resample(samples: &[f64], rate: u32) -> Vec<i16> {
    let clip = |sample: f64| sample.round().clamp(-32_768.0, 32_767.0) as i16;
    let ratio = f64::from(rate) / f64::from(SAMPLE_RATE);
    let length = ((samples.len() as f64 / ratio).round() as usize).max(1);
    (0..length)
        .map(|at| {
            let position = at as f64 * ratio;
            let left = (position as usize).min(samples.len() - 1);
            let right = (left + 1).min(samples.len() - 1);
            let weight = position - left as f64;
            clip(samples[left] * (1.0 - weight) + samples[right] * weight)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::meter::Meter;
    use super::*;

    #[test]
    fn a_file_of_another_rate_and_two_channels_keeps_its_pitch_and_repeats() {
        let path = std::env::temp_dir().join(format!("thin-client-{}.wav", std::process::id()));
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(&path, spec).expect("temporary file");
        for at in 0..16_000 {
            let phase = std::f64::consts::TAU * 700.0 * f64::from(at) / 16_000.0;
            for _ in 0..2 {
                writer
                    .write_sample((phase.sin() * 9_000.0) as i16)
                    .expect("written");
            }
        }
        writer.finalize().expect("finished");
        let mut source = Source::wav(&path).expect("a WAV file");
        std::fs::remove_file(&path).expect("removed");
        let mut frame = vec![0; 12_000];
        source.fill(&mut frame);
        let mut meter = Meter::default();
        meter.hear(&frame);
        assert_eq!(meter.tone_hz(), Some(700));
        assert_eq!(frame[..4_000], frame[8_000..]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Source::wav(Path::new("/nonexistent.wav")).expect_err("not there");
        assert!(
            error.to_string().starts_with("/nonexistent.wav: "),
            "{error}"
        );
    }
}
