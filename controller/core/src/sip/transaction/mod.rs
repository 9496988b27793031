//! SIP transactions (RFC 3261 §17): over UDP, and those of a client over TCP.
//!
//! What comes in: requests to send, messages that have come, timers that have
//! run out; time is an argument. What goes out: the bytes to send, in order, and
//! what the transaction user (TU) has to be told. A machine knows bytes and
//! status codes only, never a message's insides.
//!
//! | machine | states | timers |
//! | --- | --- | --- |
//! | [`InviteClient`] §17.1.1 | calling, proceeding, completed, accepted | A B D, M |
//! | [`NonInviteClient`] §17.1.2 | trying, proceeding, completed | E F K |
//! | [`InviteServer`] §17.2.1 | proceeding, completed, confirmed, accepted | G H I, L |
//! | [`NonInviteServer`] §17.2.2 | trying, proceeding, completed | J |
//!
//! The accepted states with their timers L and M are those of RFC 6026, which
//! corrects §17: a transaction outlives its 2xx, so that a retransmitted INVITE
//! is not taken for a new one and a second 2xx still finds its way.
//!
//! [`Transactions`] holds many of them, matches messages to them (§17.1.3,
//! §17.2.3) and runs their timers.

mod ack;
mod client;
mod key;
mod server;
mod table;
mod timers;

pub use ack::{ack_of_failure, cancel_of};
pub use client::{ClientTransaction, InviteClient, InviteClientState};
pub use client::{NonInviteClient, NonInviteClientState};
pub use key::{ClientKey, ServerKey};
pub use server::{InviteServer, InviteServerState, ServerTransaction};
pub use server::{NonInviteServer, NonInviteServerState};
pub use table::{Addresses, Expired, RequestFate, ResponseFate, Transactions};
pub(crate) use table::{Alive, Kept};
pub use timers::{T1, T2, T4, Timer, Timers, WAIT};

/// What a machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send these bytes to the peer.
    Send(Vec<u8>),
    /// The message that was put in is the TU's business.
    Deliver,
    /// Nothing came in time: timer B, F or H has run out. The transaction is over.
    TimedOut,
}
