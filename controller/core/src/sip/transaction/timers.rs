//! The timers of RFC 3261 §17 and appendix A, and those of RFC 6026.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Estimate of the round trip (§17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// Longest interval between retransmissions of anything but an INVITE.
pub const T2: Duration = Duration::from_secs(4);
/// How long a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);

/// How long a transaction waits for its peer: timers B, F, H, J, L and M.
pub const WAIT: Duration = Duration::from_millis(64 * 500);

/// Timer D over an unreliable transport: at least 32 s.
pub(super) const WAIT_D: Duration = Duration::from_secs(32);

/// A timer, by its name in RFC 3261 appendix A (L and M: RFC 6026 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// INVITE request retransmission.
    A,
    /// INVITE client gives up.
    B,
    /// INVITE client absorbs retransmitted final responses.
    D,
    /// Non-INVITE request retransmission.
    E,
    /// Non-INVITE client gives up.
    F,
    /// INVITE final response retransmission.
    G,
    /// INVITE server gives up waiting for the ACK.
    H,
    /// INVITE server absorbs retransmitted ACKs.
    I,
    /// Non-INVITE server absorbs retransmitted requests.
    J,
    /// Non-INVITE client absorbs retransmitted responses.
    K,
    /// INVITE server absorbs retransmitted INVITEs after a 2xx.
    L,
    /// INVITE client passes on retransmitted 2xx responses.
    M,
}

/// The timers that are running in one transaction: at most two.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timers(Vec<(Time, Timer)>);

impl Timers {
    /// Starts `timer`, again if it is running.
    pub(super) fn start(&mut self, timer: Timer, at: Time) {
        self.0.retain(|(_, running)| *running != timer);
        self.0.push((at, timer));
        self.0.sort();
    }

    /// Stops `timer`.
    pub(super) fn stop(&mut self, timer: Timer) {
        self.0.retain(|(_, running)| *running != timer);
    }

    /// Stops all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes the first timer that has run out by `now`.
    pub(super) fn take_due(&mut self, now: Time) -> Option<Timer> {
        let (at, timer) = *self.0.first()?;
        if at > now {
            return None;
        }
        self.0.remove(0);
        Some(timer)
    }

    /// When the next one runs out.
    pub fn next(&self) -> Option<Time> {
        self.0.first().map(|(at, _)| *at)
    }

    /// When `timer` runs out, if it is running.
    pub fn get(&self, timer: Timer) -> Option<Time> {
        self.0
            .iter()
            .find(|(_, running)| *running == timer)
            .map(|(at, _)| *at)
    }

    /// The names of those running, in the order of their ends.
    pub fn running(&self) -> impl Iterator<Item = Timer> + '_ {
        self.0.iter().map(|(_, timer)| *timer)
    }
}
