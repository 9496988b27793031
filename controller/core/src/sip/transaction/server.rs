//! Server transactions (RFC 3261 §17.2).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Effect;
use super::timers::{T1, T2, T4, Timer, Timers, WAIT};
use crate::time::Time;

/// States of the INVITE server transaction (§17.2.1, figure 7; RFC 6026 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InviteServerState {
    /// The INVITE has come; nothing final has been answered.
    Proceeding,
    /// A 3xx to 6xx has been answered.
    Completed,
    /// It has been acknowledged.
    Confirmed,
    /// A 2xx has been answered; repeating it until its ACK is the TU's.
    Accepted,
    /// Over.
    Terminated,
}

/// INVITE server transaction (§17.2.1). The TU answers 100 itself where its
/// final response may take more than 200 ms.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InviteServer {
    state: InviteServerState,
    timers: Timers,
    /// Timer G's next value.
    interval: Duration,
    /// Nothing is lost on the way: timer G is never started (§17.2.1).
    #[serde(default)]
    reliable: bool,
    /// The last response; empty until there is one.
    #[serde(with = "serde_bytes")]
    response: Vec<u8>,
}

impl Default for InviteServer {
    fn default() -> Self {
        Self {
            state: InviteServerState::Proceeding,
            timers: Timers::default(),
            interval: T1,
            reliable: false,
            response: Vec::new(),
        }
    }
}

impl InviteServer {
    /// An INVITE has come, over a transport that loses nothing or one that may.
    pub fn new(reliable: bool) -> Self {
        Self {
            reliable,
            ..Self::default()
        }
    }

    /// The INVITE has come again.
    pub fn request(&mut self) -> Vec<Effect> {
        use InviteServerState::{Accepted, Completed, Confirmed, Proceeding, Terminated};
        match self.state {
            Proceeding | Completed => resend(&self.response),
            Confirmed | Accepted | Terminated => Vec::new(),
        }
    }

    /// An ACK that matches has come. In state accepted it is the TU's.
    pub fn ack(&mut self, now: Time) -> Vec<Effect> {
        use InviteServerState::{Accepted, Completed, Confirmed, Proceeding, Terminated};
        match self.state {
            Completed => {
                self.enter(Confirmed);
                self.timers.start(Timer::I, now + T4);
                Vec::new()
            }
            Accepted => vec![Effect::Deliver],
            Proceeding | Confirmed | Terminated => Vec::new(),
        }
    }

    /// The TU answers.
    pub fn respond(&mut self, now: Time, status: u16, response: Vec<u8>) -> Vec<Effect> {
        use InviteServerState::{Accepted, Completed, Confirmed, Proceeding, Terminated};
        match (self.state, status) {
            (Proceeding, 100..=199) => {}
            (Proceeding, 200..=299) => {
                self.enter(Accepted);
                self.timers.start(Timer::L, now + WAIT);
            }
            (Accepted, 200..=299) => {}
            (Proceeding, 300..) => {
                self.enter(Completed);
                if !self.reliable {
                    self.timers.start(Timer::G, now + T1);
                }
                self.timers.start(Timer::H, now + WAIT);
            }
            (Proceeding | Completed | Confirmed | Accepted | Terminated, _) => return Vec::new(),
        }
        self.response = response;
        resend(&self.response)
    }

    /// Runs the timers that have run out by `now`.
    pub fn timeout(&mut self, now: Time) -> Vec<Effect> {
        use InviteServerState::{Accepted, Completed, Confirmed, Proceeding, Terminated};
        let mut effects = Vec::new();
        while let Some(timer) = self.timers.take_due(now) {
            match (self.state, timer) {
                (Completed, Timer::G) => {
                    self.interval = (self.interval * 2).min(T2);
                    self.timers.start(Timer::G, now + self.interval);
                    effects.push(Effect::Send(self.response.clone()));
                }
                (Completed, Timer::H) => {
                    self.enter(Terminated);
                    effects.push(Effect::TimedOut);
                }
                (Confirmed, Timer::I) | (Accepted, Timer::L) => self.enter(Terminated),
                (Proceeding | Completed | Confirmed | Accepted | Terminated, _) => {}
            }
        }
        effects
    }

    fn enter(&mut self, state: InviteServerState) {
        self.state = state;
        self.timers.clear();
    }

    /// The state.
    pub fn state(&self) -> InviteServerState {
        self.state
    }

    /// The timers that are running.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }
}

/// States of the non-INVITE server transaction (§17.2.2, figure 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NonInviteServerState {
    /// Nothing has been answered.
    Trying,
    /// A provisional response has been answered.
    Proceeding,
    /// A final response has been answered.
    Completed,
    /// Over.
    Terminated,
}

/// Non-INVITE server transaction (§17.2.2).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NonInviteServer {
    state: NonInviteServerState,
    timers: Timers,
    /// The last response; empty until there is one.
    #[serde(with = "serde_bytes")]
    response: Vec<u8>,
}

impl Default for NonInviteServer {
    fn default() -> Self {
        Self {
            state: NonInviteServerState::Trying,
            timers: Timers::default(),
            response: Vec::new(),
        }
    }
}

impl NonInviteServer {
    /// The request has come again.
    pub fn request(&mut self) -> Vec<Effect> {
        use NonInviteServerState::{Completed, Proceeding, Terminated, Trying};
        match self.state {
            Proceeding | Completed => resend(&self.response),
            Trying | Terminated => Vec::new(),
        }
    }

    /// The TU answers.
    pub fn respond(&mut self, now: Time, status: u16, response: Vec<u8>) -> Vec<Effect> {
        use NonInviteServerState::{Completed, Proceeding, Terminated, Trying};
        match (self.state, status) {
            (Trying | Proceeding, 100..=199) => self.state = Proceeding,
            (Trying | Proceeding, 200..) => {
                self.state = Completed;
                self.timers.start(Timer::J, now + WAIT);
            }
            (Trying | Proceeding | Completed | Terminated, _) => return Vec::new(),
        }
        self.response = response;
        resend(&self.response)
    }

    /// Runs the timers that have run out by `now`.
    pub fn timeout(&mut self, now: Time) -> Vec<Effect> {
        if let Some(Timer::J) = self.timers.take_due(now) {
            self.state = NonInviteServerState::Terminated;
        }
        Vec::new()
    }

    /// The state.
    pub fn state(&self) -> NonInviteServerState {
        self.state
    }

    /// The timers that are running.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }
}

fn resend(response: &[u8]) -> Vec<Effect> {
    match response {
        [] => Vec::new(),
        bytes => vec![Effect::Send(bytes.to_vec())],
    }
}

/// A server transaction of either kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ServerTransaction {
    /// Of an INVITE.
    Invite(InviteServer),
    /// Of anything else (an ACK has none).
    NonInvite(NonInviteServer),
}

impl ServerTransaction {
    /// The request has come again.
    pub fn request(&mut self) -> Vec<Effect> {
        match self {
            Self::Invite(machine) => machine.request(),
            Self::NonInvite(machine) => machine.request(),
        }
    }

    /// The TU answers.
    pub fn respond(&mut self, now: Time, status: u16, response: Vec<u8>) -> Vec<Effect> {
        match self {
            Self::Invite(machine) => machine.respond(now, status, response),
            Self::NonInvite(machine) => machine.respond(now, status, response),
        }
    }

    /// Runs the timers that have run out by `now`.
    pub fn timeout(&mut self, now: Time) -> Vec<Effect> {
        match self {
            Self::Invite(machine) => machine.timeout(now),
            Self::NonInvite(machine) => machine.timeout(now),
        }
    }

    /// The timers that are running.
    pub fn timers(&self) -> &Timers {
        match self {
            Self::Invite(machine) => machine.timers(),
            Self::NonInvite(machine) => machine.timers(),
        }
    }

    /// Whether it is over.
    pub fn is_terminated(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.state() == InviteServerState::Terminated,
            Self::NonInvite(machine) => machine.state() == NonInviteServerState::Terminated,
        }
    }
}
