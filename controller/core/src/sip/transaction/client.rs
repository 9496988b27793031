//! Client transactions (RFC 3261 §17.1).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Effect;
use super::timers::{T1, T2, T4, Timer, Timers, WAIT, WAIT_D};
use crate::sip::Method;
use crate::time::Time;

/// States of the INVITE client transaction (§17.1.1.2, figure 5; RFC 6026 §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InviteClientState {
    /// Sent, nothing has come.
    Calling,
    /// A provisional response has come.
    Proceeding,
    /// A 3xx to 6xx has come and is acknowledged.
    Completed,
    /// A 2xx has come; acknowledging it is the TU's.
    Accepted,
    /// Over.
    Terminated,
}

/// INVITE client transaction (§17.1.1).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InviteClient {
    state: InviteClientState,
    timers: Timers,
    /// Timer A's next value.
    interval: Duration,
    reliable: bool,
    /// Empty when it need not be sent again.
    #[serde(with = "serde_bytes")]
    request: Vec<u8>,
    /// The ACK of a 3xx to 6xx, once there is one.
    #[serde(with = "serde_bytes")]
    ack: Vec<u8>,
}

impl InviteClient {
    /// Sends the request and starts timers A and B.
    pub fn start(now: Time, request: Vec<u8>) -> (Self, Vec<Effect>) {
        let mut timers = Timers::default();
        timers.start(Timer::A, now + T1);
        timers.start(Timer::B, now + WAIT);
        let effects = vec![Effect::Send(request.clone())];
        let machine = Self {
            state: InviteClientState::Calling,
            timers,
            interval: T1,
            reliable: false,
            request,
            ack: Vec::new(),
        };
        (machine, effects)
    }

    /// Sends the request over a transport that loses nothing: timer A is never
    /// started, and D is zero (§17.1.1.2).
    pub fn start_reliable(now: Time, request: Vec<u8>) -> (Self, Vec<Effect>) {
        let (mut machine, effects) = Self::start(now, request);
        machine.reliable = true;
        machine.timers.stop(Timer::A);
        (machine, effects)
    }

    /// A response that matches has come. `ack` makes the ACK of a 3xx to 6xx
    /// (§17.1.1.3); it is called for the first of them only.
    pub fn response(
        &mut self,
        now: Time,
        status: u16,
        ack: impl FnOnce() -> Vec<u8>,
    ) -> Vec<Effect> {
        use InviteClientState::{Accepted, Calling, Completed, Proceeding, Terminated};
        match (self.state, status) {
            (Calling | Proceeding, 100..=199) => {
                self.enter(Proceeding, None);
                vec![Effect::Deliver]
            }
            (Calling | Proceeding, 200..=299) => {
                self.enter(Accepted, Some((Timer::M, now + WAIT)));
                self.request = Vec::new();
                vec![Effect::Deliver]
            }
            (Calling | Proceeding, 300..) => {
                let wait = if self.reliable {
                    Duration::ZERO
                } else {
                    WAIT_D
                };
                self.enter(Completed, Some((Timer::D, now + wait)));
                self.request = Vec::new();
                self.ack = ack();
                vec![Effect::Send(self.ack.clone()), Effect::Deliver]
            }
            (Completed, 300..) => vec![Effect::Send(self.ack.clone())],
            (Accepted, 200..=299) => vec![Effect::Deliver],
            (Calling | Proceeding | Completed | Accepted | Terminated, _) => Vec::new(),
        }
    }

    /// Runs the timers that have run out by `now`.
    pub fn timeout(&mut self, now: Time) -> Vec<Effect> {
        use InviteClientState::{Accepted, Calling, Completed, Proceeding, Terminated};
        let mut effects = Vec::new();
        while let Some(timer) = self.timers.take_due(now) {
            match (self.state, timer) {
                (Calling, Timer::A) => {
                    self.interval *= 2;
                    self.timers.start(Timer::A, now + self.interval);
                    effects.push(Effect::Send(self.request.clone()));
                }
                (Calling, Timer::B) => {
                    self.enter(Terminated, None);
                    effects.push(Effect::TimedOut);
                }
                (Completed, Timer::D) | (Accepted, Timer::M) => self.enter(Terminated, None),
                (Calling | Proceeding | Completed | Accepted | Terminated, _) => {}
            }
        }
        effects
    }

    fn enter(&mut self, state: InviteClientState, timer: Option<(Timer, Time)>) {
        self.state = state;
        self.timers.clear();
        if let Some((timer, at)) = timer {
            self.timers.start(timer, at);
        }
    }

    /// The state.
    pub fn state(&self) -> InviteClientState {
        self.state
    }

    /// The timers that are running.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }
}

/// States of the non-INVITE client transaction (§17.1.2.2, figure 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NonInviteClientState {
    /// Sent, nothing has come.
    Trying,
    /// A provisional response has come.
    Proceeding,
    /// A final response has come.
    Completed,
    /// Over.
    Terminated,
}

/// Non-INVITE client transaction (§17.1.2).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NonInviteClient {
    state: NonInviteClientState,
    timers: Timers,
    /// Timer E's next value.
    interval: Duration,
    reliable: bool,
    /// Empty when it need not be sent again.
    #[serde(with = "serde_bytes")]
    request: Vec<u8>,
}

impl NonInviteClient {
    /// Sends the request and starts timers E and F.
    pub fn start(now: Time, request: Vec<u8>) -> (Self, Vec<Effect>) {
        let mut timers = Timers::default();
        timers.start(Timer::E, now + T1);
        timers.start(Timer::F, now + WAIT);
        let effects = vec![Effect::Send(request.clone())];
        let machine = Self {
            state: NonInviteClientState::Trying,
            timers,
            interval: T1,
            reliable: false,
            request,
        };
        (machine, effects)
    }

    /// Sends the request over a transport that loses nothing: timer E is never
    /// started, and K is zero (§17.1.2.2).
    pub fn start_reliable(now: Time, request: Vec<u8>) -> (Self, Vec<Effect>) {
        let (mut machine, effects) = Self::start(now, request);
        machine.reliable = true;
        machine.timers.stop(Timer::E);
        (machine, effects)
    }

    /// A response that matches has come.
    pub fn response(&mut self, now: Time, status: u16) -> Vec<Effect> {
        use NonInviteClientState::{Completed, Proceeding, Terminated, Trying};
        match (self.state, status) {
            // Timers E and F go on running.
            (Trying | Proceeding, 100..=199) => {
                self.state = Proceeding;
                vec![Effect::Deliver]
            }
            (Trying | Proceeding, 200..) => {
                self.state = Completed;
                self.timers.clear();
                let wait = if self.reliable { Duration::ZERO } else { T4 };
                self.timers.start(Timer::K, now + wait);
                self.request = Vec::new();
                vec![Effect::Deliver]
            }
            (Trying | Proceeding | Completed | Terminated, _) => Vec::new(),
        }
    }

    /// Runs the timers that have run out by `now`.
    pub fn timeout(&mut self, now: Time) -> Vec<Effect> {
        use NonInviteClientState::{Completed, Proceeding, Terminated, Trying};
        let mut effects = Vec::new();
        while let Some(timer) = self.timers.take_due(now) {
            match (self.state, timer) {
                (Trying | Proceeding, Timer::E) => {
                    self.interval = match self.state {
                        Trying => (self.interval * 2).min(T2),
                        _ => T2,
                    };
                    self.timers.start(Timer::E, now + self.interval);
                    effects.push(Effect::Send(self.request.clone()));
                }
                (Trying | Proceeding, Timer::F) => {
                    self.state = Terminated;
                    self.timers.clear();
                    effects.push(Effect::TimedOut);
                }
                (Completed, Timer::K) => self.state = Terminated,
                (Trying | Proceeding | Completed | Terminated, _) => {}
            }
        }
        effects
    }

    /// The state.
    pub fn state(&self) -> NonInviteClientState {
        self.state
    }

    /// The timers that are running.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }
}

/// A client transaction of either kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ClientTransaction {
    /// Of an INVITE.
    Invite(InviteClient),
    /// Of anything else (an ACK has none).
    NonInvite(NonInviteClient),
}

impl ClientTransaction {
    /// Sends a request of this method: see [`InviteClient::start`] and
    /// [`NonInviteClient::start`].
    pub fn start(
        now: Time,
        method: &Method,
        request: Vec<u8>,
        reliable: bool,
    ) -> (Self, Vec<Effect>) {
        if *method == Method::Invite {
            let start = match reliable {
                true => InviteClient::start_reliable,
                false => InviteClient::start,
            };
            let (machine, effects) = start(now, request);
            (Self::Invite(machine), effects)
        } else {
            let start = match reliable {
                true => NonInviteClient::start_reliable,
                false => NonInviteClient::start,
            };
            let (machine, effects) = start(now, request);
            (Self::NonInvite(machine), effects)
        }
    }

    /// See [`InviteClient::response`].
    pub fn response(
        &mut self,
        now: Time,
        status: u16,
        ack: impl FnOnce() -> Vec<u8>,
    ) -> Vec<Effect> {
        match self {
            Self::Invite(machine) => machine.response(now, status, ack),
            Self::NonInvite(machine) => machine.response(now, status),
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
            Self::Invite(machine) => machine.state() == InviteClientState::Terminated,
            Self::NonInvite(machine) => machine.state() == NonInviteClientState::Terminated,
        }
    }

    /// Whether no final response has come yet.
    pub fn is_pending(&self) -> bool {
        match self {
            Self::Invite(machine) => matches!(
                machine.state(),
                InviteClientState::Calling | InviteClientState::Proceeding
            ),
            Self::NonInvite(machine) => matches!(
                machine.state(),
                NonInviteClientState::Trying | NonInviteClientState::Proceeding
            ),
        }
    }
}
