//! Responses of late, so that a retransmitted REGISTER gets the same bytes again
//! (RFC 3261 §17.2.2, timer J) and does not count as a replay.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::engine::Datagram;
use crate::time::Time;

/// Timer J.
const LIFETIME: Duration = Duration::from_secs(32);

/// How many are kept; beyond, the oldest go. Losing one costs the client one
/// more challenge.
pub(super) const CAPACITY: usize = 1024;

/// A request, known by all its bytes and where it came from: who sends other
/// bytes or from elsewhere gets nothing out of a response given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(src: SocketAddr, dst: SocketAddr, bytes: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(format!("{src} {dst} "));
        hash.update(bytes);
        Self(hash.finalize().into())
    }
}

/// The responses of the last 32 s.
#[derive(Debug, Default)]
pub(super) struct Answered {
    replies: BTreeMap<Fingerprint, Datagram>,
    order: VecDeque<(Time, Fingerprint)>,
}

impl Answered {
    /// The response to the same datagram, if it was answered within timer J.
    pub(super) fn get(&mut self, now: Time, request: Fingerprint) -> Option<&Datagram> {
        self.expire(now);
        self.replies.get(&request)
    }

    /// Forgets what is older than timer J.
    pub(super) fn expire(&mut self, now: Time) {
        self.forget(|at, _| at + LIFETIME <= now);
    }

    /// Keeps a response to a request that has none yet.
    pub(super) fn put(&mut self, now: Time, request: Fingerprint, reply: Datagram) {
        self.forget(|_, kept| kept >= CAPACITY);
        if self.replies.insert(request, reply).is_none() {
            self.order.push_back((now, request));
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    fn forget(&mut self, too_much: impl Fn(Time, usize) -> bool) {
        while let Some((at, request)) = self.order.front().copied()
            && too_much(at, self.order.len())
        {
            self.order.pop_front();
            self.replies.remove(&request);
        }
    }
}
