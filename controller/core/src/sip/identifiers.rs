//! Branches, tags and Call-IDs: unguessable with a random seed, the same every
//! time with a fixed one.

use sha2::{Digest as _, Sha256};

use super::digest::hex;

/// The begin of every branch that Sidestep makes; RFC 3261's magic cookie is in it.
pub const BRANCH_PREFIX: &str = "z9hG4bKss";

/// A source of identifiers.
#[derive(Debug, Clone)]
pub(crate) struct Identifiers {
    key: [u8; 32],
    drawn: u64,
}

impl Identifiers {
    /// Sources of the same seed for different purposes have nothing in common.
    pub(crate) fn new(seed: [u8; 32], purpose: &str) -> Self {
        Self {
            key: derive(seed, purpose),
            drawn: 0,
        }
    }

    /// How many have been drawn.
    pub(crate) fn drawn(&self) -> u64 {
        self.drawn
    }

    /// Leaves out what an earlier run has drawn.
    pub(crate) fn skip_to(&mut self, drawn: u64) {
        self.drawn = self.drawn.max(drawn);
    }

    fn draw(&mut self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(self.drawn.to_be_bytes());
        self.drawn += 1;
        hash.finalize().into()
    }

    /// A branch of a new transaction (RFC 3261 §8.1.1.7).
    pub(crate) fn branch(&mut self) -> String {
        format!("{BRANCH_PREFIX}{}", hex(&self.draw()[..12]))
    }

    /// A tag or the local part of a Call-ID (§19.3, §8.1.1.4).
    pub(crate) fn token(&mut self) -> String {
        hex(&self.draw()[..12])
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let [a, b, c, d, ..] = self.draw();
        u32::from_be_bytes([a, b, c, d]) % bound.max(1)
    }
}

/// A key for one purpose from the seed of all.
pub(crate) fn derive(seed: [u8; 32], purpose: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed);
    hash.update(purpose.as_bytes());
    hash.finalize().into()
}
