//! Branches, tags and numbers: unguessable with a random seed, the same every
//! time with a fixed one.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::sip::digest::hex;
use crate::tc::BRANCH_PREFIX;

/// A source of them.
#[derive(Debug)]
pub(crate) struct Random {
    key: [u8; 32],
    drawn: u64,
}

impl Random {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self {
            key: seed,
            drawn: 0,
        }
    }

    fn draw(&mut self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"calls");
        hash.update(self.key);
        hash.update(self.drawn.to_be_bytes());
        self.drawn += 1;
        hash.finalize().into()
    }

    /// A branch that is known as ours (RFC 3261 §8.1.1.7).
    pub(crate) fn branch(&mut self) -> String {
        format!("{BRANCH_PREFIX}{}", hex(&self.draw()[..12]))
    }

    /// A number.
    pub(crate) fn number(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.draw();
        u32::from_be_bytes([a, b, c, d])
    }

    /// Between two times, in steps of 10 ms.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let steps = (most.saturating_sub(least).as_millis() / 10).max(1);
        let step = u128::from(self.number()) % steps;
        least + Duration::from_millis(10) * u32::try_from(step).unwrap_or(0)
    }
}
