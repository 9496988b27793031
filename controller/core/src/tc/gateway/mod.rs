//! Thin clients that are media gateways, of which Sidestep is the controller
//! (H.248) or call agent (MGCP): what both have in common.
//!
//! In: what the call machine wants of a leg, what has come of each command, what
//! the thin client's user did, time. Out: the next [`Command`] of a leg, one at a
//! time, and what has become of it ([`TcEvent`]).
//!
//! A leg is what is wanted of the gateway beside what it has been told
//! ([`Settings`]). Where they differ a command is due, so that what is asked for
//! in one go is one command (step 508: ringback and the gateway's media), and what
//! is asked for while one is under way is the next.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `leg` | one leg: commands out, outcomes in |
//! | `legs` | all legs of one protocol |
//! | `settings` | what is wanted of a gateway |
//! | `described` | its session description, told as offer or answer |
//! | `client` | a thin client: its account, its registration |
//! | `agent` | all of it, over a protocol's [`Wire`] |
//! | `kept` | what of the legs outlives a run |
//! | `wire` | what a protocol has to know: its words for all this |
//!
//! [`TcEvent`]: super::TcEvent

mod agent;
mod client;
mod described;
mod kept;
mod leg;
mod legs;
mod settings;
mod wire;

pub(super) use self::agent::Agent;
pub(super) use self::kept::{KeptLeg, LegEntry, Numbers};
pub(super) use self::leg::Command;
pub(super) use self::settings::{Change, Settings};
pub use self::wire::NotUnderstood;
pub(super) use self::wire::{Association, Method, Question, Read, Reply, Said, Want, Wire};

/// What a thin client's user did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    /// Picked up (al/of, L/hd).
    Off,
    /// Hung up (al/on, L/hu).
    On,
}

/// What has come of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome<H> {
    /// It was done.
    Done {
        /// What the gateway calls the leg; only of a Create.
        handle: Option<H>,
        /// Its session description, where it told one.
        local: Option<Vec<u8>>,
    },
    /// It was not.
    Failed(Failure),
}

/// Why a command was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// No codec suits, or the description is not understood.
    Codec,
    /// It has not the signals or events that were asked for.
    Signals,
    /// The gateway does not know the leg (any more).
    Gone,
    /// It wants to be asked in another way, which it will be now.
    Again,
    /// Anything else.
    Other,
}
