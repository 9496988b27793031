//! A request of ours.

use std::collections::BTreeSet;
use std::time::Duration;

use super::timing::{LONG_TIMER, LONGEST_REPEAT};
use crate::h248::model::Segment;
use crate::time::Time;

/// A request that waits for its reply.
#[derive(Debug, Clone)]
pub(super) struct Request<U> {
    pub(super) user: U,
    message: Vec<u8>,
    sent: Time,
    /// Nothing is repeated over a transport that loses nothing.
    repeat: Option<(Time, Duration)>,
    repeated: bool,
    pending: bool,
    gives_up: Time,
    /// Of a reply that comes in segments: those that have come, and the last.
    segments: BTreeSet<u16>,
    last_segment: Option<u16>,
}

/// What is due.
pub(super) enum Due<'a> {
    Repeat(&'a [u8]),
    GivesUp,
    Nothing,
}

/// What a reply is to the request.
pub(super) enum Answered {
    /// Its only or last part; `Some`: after so long, and to be learned from.
    Whole(Option<Duration>),
    /// A segment, others are to come.
    Part,
    /// A segment that has come before.
    Again,
}

impl<U> Request<U> {
    pub(super) fn new(
        now: Time,
        message: Vec<u8>,
        first_repeat: Option<Duration>,
        user: U,
    ) -> Self {
        Self {
            user,
            message,
            sent: now,
            repeat: first_repeat.map(|after| (now + after, after)),
            repeated: false,
            pending: false,
            gives_up: now + LONG_TIMER,
            segments: BTreeSet::new(),
            last_segment: None,
        }
    }

    /// The peer is working on it (§8.2.3): it is asked again rarely, in case its
    /// reply is lost, and for as long again.
    pub(super) fn pending(&mut self, now: Time) {
        self.pending = true;
        self.gives_up = now + LONG_TIMER;
        self.repeat = self.repeat.map(|_| (now + LONGEST_REPEAT, LONGEST_REPEAT));
    }

    pub(super) fn replied(&mut self, now: Time, segment: Option<Segment>) -> Answered {
        let Some(segment) = segment else {
            let clean = !self.repeated && !self.pending;
            return Answered::Whole(clean.then(|| now.since(self.sent)));
        };
        if !self.segments.insert(segment.number) {
            return Answered::Again;
        }
        if segment.complete {
            self.last_segment = Some(segment.number);
        }
        self.gives_up = now + LONG_TIMER;
        let whole = self
            .last_segment
            .is_some_and(|last| self.segments.len() >= usize::from(last));
        if whole {
            Answered::Whole(None)
        } else {
            Answered::Part
        }
    }

    pub(super) fn next(&self) -> Time {
        match self.repeat {
            Some((at, _)) => at.min(self.gives_up),
            None => self.gives_up,
        }
    }

    pub(super) fn run(&mut self, now: Time) -> Due<'_> {
        if now >= self.gives_up {
            return Due::GivesUp;
        }
        match &mut self.repeat {
            Some((at, interval)) if now >= *at => {
                *interval = (*interval * 2).min(LONGEST_REPEAT);
                *at = now + *interval;
                self.repeated = true;
                Due::Repeat(&self.message)
            }
            _ => Due::Nothing,
        }
    }
}
