//! Monotonic time, as the core, the kernel's programs and people have it.

use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};
use sidestep_core::time::Time;

/// CLOCK_MONOTONIC now: what `bpf_ktime_get_ns` reads, and the core's time.
pub fn now() -> Time {
    // The kernel always has this clock; a failure would stop time, not lie.
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    Time::from_origin(time)
}

/// Nanoseconds of a time, as the maps have it.
pub fn nanoseconds(time: Time) -> u64 {
    u64::try_from(time.since_origin().as_nanos()).unwrap_or(u64::MAX)
}

/// Both clocks at one moment, to tell people when something was.
#[derive(Debug, Clone, Copy)]
pub struct Wall {
    monotonic: Time,
    system: SystemTime,
}

impl Wall {
    /// Both clocks now.
    pub fn now() -> Self {
        Self {
            monotonic: now(),
            system: SystemTime::now(),
        }
    }

    /// A monotonic time as RFC 3339 in UTC, to the millisecond.
    pub fn rfc3339(&self, time: Time) -> String {
        let system = if time >= self.monotonic {
            self.system.checked_add(time - self.monotonic)
        } else {
            self.system.checked_sub(self.monotonic - time)
        };
        humantime::format_rfc3339_millis(system.unwrap_or(self.system)).to_string()
    }

    /// The same of a map's nanoseconds; zero is never.
    pub fn of_nanoseconds(&self, ns: u64) -> Option<String> {
        (ns != 0).then(|| self.rfc3339(Time::from_origin(Duration::from_nanos(ns))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_and_after_now_are_told() {
        let wall = Wall {
            monotonic: Time::from_origin(Duration::from_secs(100)),
            system: SystemTime::UNIX_EPOCH + Duration::from_secs(86_400),
        };
        assert_eq!(
            wall.rfc3339(Time::from_origin(Duration::from_millis(98_500))),
            "1970-01-01T23:59:58.500Z"
        );
        assert_eq!(
            wall.of_nanoseconds(101_000_000_000).as_deref(),
            Some("1970-01-02T00:00:01.000Z")
        );
        assert_eq!(wall.of_nanoseconds(0), None);
    }
}
