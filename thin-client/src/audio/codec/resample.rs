//! Between 8 and 16 kHz, for G.722.

/// Taps on either side of the middle.
const SIDE: usize = 15;
const TAPS: usize = 2 * SIDE + 1;

/// A half-band low-pass filter with its memory; for one direction.
#[derive(Debug)]
pub(super) struct Resampler {
    taps: [f64; TAPS],
    memory: Vec<f64>,
}

impl Default for Resampler {
    /// A sinc of half the band, under a Hann window.
    fn default() -> Self {
        let taps = std::array::from_fn(|at| {
            let x = at as f64 - SIDE as f64;
            let sinc = match x {
                0.0 => 1.0,
                x => (std::f64::consts::FRAC_PI_2 * x).sin() / (std::f64::consts::FRAC_PI_2 * x),
            };
            let window = (std::f64::consts::PI * x / (SIDE as f64 + 1.0) / 2.0)
                .cos()
                .powi(2);
            0.5 * sinc * window
        });
        Self {
            taps,
            memory: vec![0.0; TAPS - 1],
        }
    }
}

impl Resampler {
    /// 8 kHz to 16 kHz.
    pub(super) fn double(&mut self, samples: &[i16]) -> Vec<i16> {
        let stuffed = samples.iter().flat_map(|&s| [2.0 * f64::from(s), 0.0]);
        self.filter(stuffed.collect())
    }

    /// 16 kHz to 8 kHz.
    pub(super) fn halve(&mut self, samples: &[i16]) -> Vec<i16> {
        let filtered = self.filter(samples.iter().copied().map(f64::from).collect());
        filtered.into_iter().step_by(2).collect()
    }

    fn filter(&mut self, samples: Vec<f64>) -> Vec<i16> {
        self.memory.extend(samples);
        let filtered = self
            .memory
            .windows(TAPS)
            .map(|window| {
                let sum: f64 = window.iter().zip(&self.taps).map(|(s, t)| s * t).sum();
                sum.round().clamp(-32_768.0, 32_767.0) as i16
            })
            .collect();
        let old = self.memory.len() - (TAPS - 1);
        self.memory.drain(..old);
        filtered
    }
}
