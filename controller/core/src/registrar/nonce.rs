//! Nonces that need no memory until someone has used one rightly (RFC 7616 §3.3
//! and §5.4), and the memory of those used, which is bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::sip::digest::{Credentials, hex, same};
use crate::time::Time;

/// How long a nonce is good for.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);

/// How many nonces of one account are remembered with their counts.
const REMEMBERED: usize = 8;

/// What a nonce in credentials is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nonce {
    /// Made here and fresh.
    Good(Stamp),
    /// Made here once, or by an earlier run, or by nobody: the client tries
    /// again with a new one.
    Stale,
}

/// When a nonce was made; the counter tells those of the same millisecond apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    made_ms: u64,
    number: u32,
}

/// Makes nonces and knows them again: `time number hash`, the hash keyed.
#[derive(Debug, Clone)]
pub(super) struct NonceMint {
    key: [u8; 32],
    next: u32,
}

impl NonceMint {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key, next: 0 }
    }

    /// How many have been made.
    pub(super) fn made(&self) -> u32 {
        self.next
    }

    /// Leaves out what an earlier run has made.
    pub(super) fn skip_to(&mut self, made: u32) {
        self.next = self.next.max(made);
    }

    pub(super) fn make(&mut self, now: Time) -> String {
        let stamp = Stamp {
            made_ms: milliseconds(now),
            number: self.next,
        };
        self.next = self.next.wrapping_add(1);
        self.text(stamp)
    }

    pub(super) fn check(&self, nonce: &str, now: Time) -> Nonce {
        let (Some(made), Some(number)) = (nonce.get(..16), nonce.get(16..24)) else {
            return Nonce::Stale;
        };
        let (Ok(made_ms), Ok(number)) = (
            u64::from_str_radix(made, 16),
            u32::from_str_radix(number, 16),
        ) else {
            return Nonce::Stale;
        };
        let stamp = Stamp { made_ms, number };
        let age = milliseconds(now).checked_sub(made_ms);
        let fresh = age.is_some_and(|age| u128::from(age) < LIFETIME.as_millis());
        if fresh && same(self.text(stamp).as_bytes(), nonce.as_bytes()) {
            Nonce::Good(stamp)
        } else {
            Nonce::Stale
        }
    }

    fn text(&self, stamp: Stamp) -> String {
        // What follows the key always has the same length, so a plain hash of
        // both is a sound keyed hash: nothing can be appended.
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(stamp.made_ms.to_be_bytes());
        hash.update(stamp.number.to_be_bytes());
        let tag = hash.finalize();
        format!(
            "{:016x}{:08x}{}",
            stamp.made_ms,
            stamp.number,
            hex(&tag[..16])
        )
    }
}

/// The nonces that one account has used with right credentials, and how often.
#[derive(Debug, Clone, Default)]
pub(super) struct UsedNonces {
    counts: BTreeMap<Stamp, u32>,
    /// Nonces up to this one are forgotten and so refused.
    forgotten: Option<Stamp>,
}

impl UsedNonces {
    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// Takes this use of a nonce. False: its count has been used before (a
    /// replay), or the nonce is too old to know.
    ///
    /// Credentials without `qop` have no count; they may use a nonce once.
    pub(super) fn take(&mut self, stamp: Stamp, credentials: &Credentials) -> bool {
        let count = match (&credentials.qop, credentials.nonce_count()) {
            (None, _) => 1,
            (Some(_), Some(count)) => count,
            (Some(_), None) => return false,
        };
        if self.forgotten.is_some_and(|forgotten| stamp <= forgotten) {
            return false;
        }
        let used = self.counts.get(&stamp).copied().unwrap_or(0);
        if count <= used {
            return false;
        }
        self.counts.insert(stamp, count);
        if self.counts.len() > REMEMBERED {
            self.forgotten = self.counts.pop_first().map(|(oldest, _)| oldest);
        }
        true
    }
}

fn milliseconds(now: Time) -> u64 {
    u64::try_from(now.since_origin().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Time {
        Time::from_origin(Duration::from_secs(s))
    }

    fn credentials(nc: Option<u32>) -> Credentials {
        let tail = nc.map_or(String::new(), |nc| {
            format!(",qop=auth,nc={nc:08x},cnonce=c")
        });
        Credentials::parse(
            format!("Digest username=u,realm=r,nonce=n,uri=x,response=0{tail}").as_bytes(),
        )
        .unwrap()
    }

    #[test]
    fn a_nonce_is_good_until_its_lifetime_ends() {
        let mut mint = NonceMint::new([1; 32]);
        let nonce = mint.make(at(100));
        assert!(matches!(mint.check(&nonce, at(100)), Nonce::Good(_)));
        assert!(matches!(mint.check(&nonce, at(399)), Nonce::Good(_)));
        assert_eq!(mint.check(&nonce, at(400)), Nonce::Stale);
        // From the future: another run's origin.
        assert_eq!(mint.check(&nonce, at(99)), Nonce::Stale);
    }

    #[test]
    fn a_forged_nonce_is_stale() {
        let mut mint = NonceMint::new([1; 32]);
        let nonce = mint.make(at(1));
        assert_ne!(nonce, mint.make(at(1)), "two of one millisecond differ");
        for index in 0..nonce.len() {
            let mut forged = nonce.clone().into_bytes();
            forged[index] = if forged[index] == b'7' { b'8' } else { b'7' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(mint.check(&forged, at(1)), Nonce::Stale, "{index}");
        }
        assert_eq!(NonceMint::new([2; 32]).check(&nonce, at(1)), Nonce::Stale);
        for odd in ["", "x", "é".repeat(12).as_str(), &nonce[..40]] {
            assert_eq!(mint.check(odd, at(1)), Nonce::Stale);
        }
    }

    #[test]
    fn a_count_is_used_once_and_memory_is_bounded() {
        let stamp = |made_ms| Stamp { made_ms, number: 0 };
        let mut used = UsedNonces::default();
        assert!(used.take(stamp(1), &credentials(Some(1))));
        assert!(!used.take(stamp(1), &credentials(Some(1))));
        assert!(used.take(stamp(1), &credentials(Some(3))));
        assert!(!used.take(stamp(1), &credentials(Some(2))));
        assert!(used.take(stamp(2), &credentials(None)));
        assert!(!used.take(stamp(2), &credentials(None)));
        for made_ms in 3..1000 {
            assert!(used.take(stamp(made_ms), &credentials(Some(1))));
            assert!(used.counts.len() <= REMEMBERED);
        }
        assert!(!used.take(stamp(1), &credentials(Some(9))), "forgotten");
    }
}
