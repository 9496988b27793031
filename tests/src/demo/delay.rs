//! One-way delay: the same packet captured at both ends, by one clock.

use std::collections::HashMap;
use std::time::Duration;

use crate::peers::capture::Stream;

/// How long packets of a stream were on their way.
#[derive(Debug, Clone, Copy)]
pub struct Delay {
    /// Half took no longer.
    pub median: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
}

impl Delay {
    /// Compares what was sent with what arrived, by sequence number.
    pub fn between(sent: &Stream, received: &Stream) -> Option<Self> {
        let left: HashMap<u16, Duration> = sent
            .sequences
            .iter()
            .copied()
            .zip(sent.times.iter().copied())
            .collect();
        let delays = received
            .sequences
            .iter()
            .zip(&received.times)
            .filter_map(|(sequence, &at)| at.checked_sub(*left.get(sequence)?))
            .collect();
        Self::of(delays)
    }

    /// Of these.
    fn of(mut delays: Vec<Duration>) -> Option<Self> {
        delays.sort();
        let last = delays.len().checked_sub(1)?;
        Some(Self {
            median: delays[last / 2],
            p99: delays[last * 99 / 100],
        })
    }
}
