//! How long to wait.

use std::time::Duration;

/// How long a message may wander: a request is repeated, a reply remembered, for so
/// long (Annex D.1.1 LONG-TIMER; recommended: 30 s).
pub const LONG_TIMER: Duration = Duration::from_secs(30);
/// The first repeat, before any round trip is known.
pub const FIRST_REPEAT: Duration = Duration::from_millis(500);
/// The longest interval between two repeats (Annex D.1.3).
pub const LONGEST_REPEAT: Duration = Duration::from_secs(4);

/// The shortest: below, a gateway that is only busy would be asked twice.
const SHORTEST_REPEAT: Duration = Duration::from_millis(100);

/// The round trip, as Annex D.1.3 has it: average acknowledgement delay and its
/// average deviation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RoundTrip {
    measured: Option<(Duration, Duration)>,
}

impl RoundTrip {
    /// A request was answered after `delay`, without having been repeated.
    pub(super) fn learn(&mut self, delay: Duration) {
        self.measured = Some(match self.measured {
            None => (delay, delay / 2),
            Some((average, deviation)) => (
                average * 7 / 8 + delay / 8,
                deviation * 3 / 4 + average.abs_diff(delay) / 4,
            ),
        });
    }

    /// When to repeat for the first time.
    pub(super) fn first_repeat(&self) -> Duration {
        self.measured
            .map_or(FIRST_REPEAT, |(average, deviation)| average + deviation * 4)
            .clamp(SHORTEST_REPEAT, LONGEST_REPEAT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_repeat_follows_the_round_trip() {
        let ms = Duration::from_millis;
        let mut trip = RoundTrip::default();
        assert_eq!(trip.first_repeat(), FIRST_REPEAT);
        trip.learn(ms(200));
        assert_eq!(trip.first_repeat(), ms(200 + 4 * 100));
        // A steady delay brings the deviation down.
        for _ in 0..50 {
            trip.learn(ms(200));
        }
        assert!((ms(199)..=ms(205)).contains(&trip.first_repeat()));
        for _ in 0..50 {
            trip.learn(ms(1));
        }
        assert_eq!(trip.first_repeat(), SHORTEST_REPEAT);
        trip.learn(ms(60_000));
        assert_eq!(trip.first_repeat(), LONGEST_REPEAT);
    }
}
