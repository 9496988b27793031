//! How much the engine remembers, entry by entry. Whatever peers send, each of these
//! numbers has a bound (`docs/sip.md`), and when the calls are over all go back to
//! what the registrations alone need.

use serde::{Deserialize, Serialize};

use super::Engine;

/// Entries of all that grows by what peers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    /// Calls, ended ones that are still listed among them, and what finds them.
    pub calls: usize,
    /// What is remembered of the calls: requests of our own, messages that may come
    /// again, offers that are open, codecs that were tried, shifts of numbers.
    pub of_calls: usize,
    /// Legs with thin clients, those that still end among them.
    pub legs: usize,
    /// Transactions with thin clients, and answers for when a request comes again.
    pub transactions: usize,
    /// Registrations, nonces that were used, answers to REGISTERs.
    pub registrar: usize,
    /// Gateways of H.248 and MGCP with their transactions.
    pub gateway_control: usize,
    /// Faults that were reported, and calls of messages that could not be read.
    pub faults: usize,
    /// Timers of calls and anchors.
    pub timers: usize,
}

impl Held {
    /// All of them.
    pub fn total(&self) -> usize {
        let Self {
            calls,
            of_calls,
            legs,
            transactions,
            registrar,
            gateway_control,
            faults,
            timers,
        } = self;
        calls + of_calls + legs + transactions + registrar + gateway_control + faults + timers
    }
}

impl Engine {
    /// How much is remembered now.
    pub fn held(&self) -> Held {
        let tc = self.tc.held();
        Held {
            calls: self
                .calls
                .len()
                .max(self.by_call_id.len())
                .max(self.occupancy.len())
                + self.control.len(),
            of_calls: self.calls.values().map(|call| call.held()).sum(),
            legs: tc.legs,
            transactions: tc.transactions,
            registrar: self.registrar.held(),
            gateway_control: self.control.held(),
            faults: self.faults.len() + self.nonsense.len(),
            timers: self.deadlines.len() + self.anchors.in_use() + self.waiting.len(),
        }
    }
}
