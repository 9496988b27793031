//! A request of the peer's.

use std::time::Duration;

use super::timing::{LONG_TIMER, LONGEST_REPEAT};
use crate::time::Time;

/// A request that is or was answered, kept so that it is done at most once.
#[derive(Debug, Clone)]
pub(super) struct Served {
    state: State,
    /// Pending has been sent: its reply is to be acknowledged (D.1.2).
    pub(super) was_pending: bool,
    forgotten: Time,
}

#[derive(Debug, Clone)]
enum State {
    Executing,
    Replied {
        reply: Vec<u8>,
        /// Until its acknowledgement has come.
        repeat: Option<(Time, Duration)>,
    },
    /// The peer has the reply; a late copy of its request is not answered.
    Acknowledged,
}

/// What a request that comes again gets.
pub(super) enum Again<'a> {
    Pending,
    Reply(&'a [u8]),
    Nothing,
}

impl Served {
    pub(super) fn new(now: Time) -> Self {
        Self {
            state: State::Executing,
            was_pending: false,
            forgotten: now + LONG_TIMER,
        }
    }

    pub(super) fn is_executing(&self) -> bool {
        matches!(self.state, State::Executing)
    }

    pub(super) fn replied(&mut self, now: Time, reply: Vec<u8>, repeat: Option<Duration>) {
        self.state = State::Replied {
            reply,
            repeat: repeat.map(|after| (now + after, after)),
        };
        self.forgotten = now + LONG_TIMER;
    }

    pub(super) fn again(&self) -> Again<'_> {
        match &self.state {
            State::Executing => Again::Pending,
            State::Replied { reply, .. } => Again::Reply(reply),
            State::Acknowledged => Again::Nothing,
        }
    }

    pub(super) fn acknowledged(&mut self) {
        if !self.is_executing() {
            self.state = State::Acknowledged;
        }
    }

    /// One that is being done is kept until its user has replied.
    pub(super) fn next(&self) -> Option<Time> {
        match &self.state {
            State::Executing => None,
            State::Replied {
                repeat: Some((at, _)),
                ..
            } => Some((*at).min(self.forgotten)),
            _ => Some(self.forgotten),
        }
    }

    /// The reply, if it is to be repeated; `None` in the second place: it goes on.
    pub(super) fn run(&mut self, now: Time) -> (Option<&[u8]>, bool) {
        if !self.is_executing() && now >= self.forgotten {
            return (None, true);
        }
        if let State::Replied {
            reply,
            repeat: Some((at, interval)),
        } = &mut self.state
            && now >= *at
        {
            *interval = (*interval * 2).min(LONGEST_REPEAT);
            *at = now + *interval;
            return (Some(reply), false);
        }
        (None, false)
    }

    /// Whether its acknowledgement is still waited for.
    pub(super) fn wants_acknowledgement(&self) -> bool {
        matches!(
            self.state,
            State::Replied {
                repeat: Some(_),
                ..
            }
        )
    }
}
