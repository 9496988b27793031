//! Reception statistics of one source (RFC 3550 §6.4.1, A.1, A.3, A.8).

use std::time::Duration;

use super::rtp::Header;

/// A step of more than this backwards is a source that started anew (A.1's
/// MAX_MISORDER is meant for 50 packets per second; so is this).
const MISORDER: i32 = 3_000;

/// How a packet relates to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The next one, or one after a gap.
    InOrder,
    /// New, but a later one came before it.
    Late,
    /// Seen before.
    Duplicate,
}

/// Running statistics of one SSRC.
#[derive(Debug, Clone)]
pub struct Reception {
    /// The source.
    pub ssrc: u32,
    /// Payload type of the newest packet.
    pub payload_type: u8,
    base: u32,
    highest: u32,
    /// Which of the 64 sequence numbers up to `highest` came; bit 0 is `highest`.
    seen: u64,
    /// Packets that were not duplicates.
    unique: u64,
    late: u64,
    duplicate: u64,
    transit: Option<u32>,
    /// Times 16.
    jitter_q4: u32,
    expected_reported: u64,
    unique_reported: u64,
}

impl Reception {
    /// Starts with a source's first packet.
    pub fn new(first: &Header) -> Self {
        let base = u32::from(first.sequence) + 0x1_0000;
        Self {
            ssrc: first.ssrc,
            payload_type: first.payload_type,
            base,
            highest: base - 1,
            seen: 0,
            unique: 0,
            late: 0,
            duplicate: 0,
            transit: None,
            jitter_q4: 0,
            expected_reported: 0,
            unique_reported: 0,
        }
    }

    /// Takes a packet of this source that came at `arrival`, since any fixed
    /// origin. `clock_rate` in Hz.
    pub fn receive(&mut self, header: &Header, arrival: Duration, clock_rate: u32) -> Arrival {
        let step = i32::from(header.sequence.wrapping_sub(self.highest as u16) as i16);
        let verdict = if step > 0 {
            self.highest = self.highest.wrapping_add(step as u32);
            self.seen = self.seen.checked_shl(step as u32).unwrap_or(0) | 1;
            Arrival::InOrder
        } else if step < -MISORDER {
            self.restart(header);
            Arrival::InOrder
        } else {
            let bit = 1u64.checked_shl(step.unsigned_abs()).unwrap_or(0);
            if self.seen & bit != 0 {
                self.duplicate += 1;
                return Arrival::Duplicate;
            }
            self.seen |= bit;
            let sequence = self.highest.wrapping_sub(step.unsigned_abs());
            if self.base.wrapping_sub(sequence) as i32 > 0 {
                self.base = sequence;
            }
            self.late += 1;
            Arrival::Late
        };
        self.unique += 1;
        self.payload_type = header.payload_type;
        let units = arrival.as_nanos() * u128::from(clock_rate) / 1_000_000_000;
        let transit = (units as u32).wrapping_sub(header.timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let change = (transit.wrapping_sub(before) as i32).unsigned_abs();
            self.jitter_q4 = self
                .jitter_q4
                .saturating_add(change)
                .saturating_sub((self.jitter_q4 + 8) >> 4);
        }
        verdict
    }

    /// The same source counts from another number: what was expected so far
    /// stays expected.
    fn restart(&mut self, header: &Header) {
        let expected = self.highest.wrapping_sub(self.base).wrapping_add(1);
        let base = u32::from(header.sequence) + 0x1_0000;
        self.highest = base;
        self.base = base.wrapping_sub(expected);
        self.seen = 1;
        self.transit = None;
    }

    /// Sequence numbers expected so far (A.3).
    pub fn expected(&self) -> u64 {
        u64::from(self.highest.wrapping_sub(self.base).wrapping_add(1))
    }

    /// Expected and never seen.
    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.unique)
    }

    /// New packets that came after a later one.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Packets seen before.
    pub fn duplicate(&self) -> u64 {
        self.duplicate
    }

    /// Extended highest sequence number.
    pub fn highest(&self) -> u32 {
        // The first cycle is kept as 1 so that late packets before the first
        // do not underflow.
        self.highest.wrapping_sub(0x1_0000)
    }

    /// Interarrival jitter, in timestamp units (A.8).
    pub fn jitter(&self) -> u32 {
        self.jitter_q4 >> 4
    }

    /// Interarrival jitter, in timestamp units, to a sixteenth.
    pub fn jitter_exact(&self) -> f64 {
        f64::from(self.jitter_q4) / 16.0
    }

    /// Fraction lost since the last call, in 1/256 (A.3).
    pub fn fraction_lost(&mut self) -> u8 {
        let expected = self.expected() - self.expected_reported;
        let received = self.unique - self.unique_reported;
        self.expected_reported = self.expected();
        self.unique_reported = self.unique;
        match expected.checked_sub(received) {
            Some(lost) if lost > 0 => u8::try_from(lost * 256 / expected).unwrap_or(u8::MAX),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(sequences: &[u16]) -> (Reception, Vec<Arrival>) {
        let header = |sequence| Header {
            marker: false,
            payload_type: 0,
            sequence,
            timestamp: u32::from(sequence.wrapping_sub(sequences[0])) * 160,
            ssrc: 7,
        };
        let mut reception = Reception::new(&header(sequences[0]));
        let arrivals = sequences
            .iter()
            .enumerate()
            .map(|(at, &sequence)| {
                let arrival = Duration::from_millis(20 * at as u64);
                reception.receive(&header(sequence), arrival, 8_000)
            })
            .collect();
        (reception, arrivals)
    }

    #[test]
    fn each_arrival_is_counted_as_what_it_is() {
        for (sequences, lost, late, duplicate) in [
            (&[1, 2, 3][..], 0, 0, 0),
            (&[65_534, 65_535, 0, 1], 0, 0, 0),
            (&[1, 2, 5], 2, 0, 0),
            (&[1, 3, 2, 4], 0, 1, 0),
            (&[1, 2, 2, 3, 1], 0, 0, 2),
            (&[5, 4, 6], 0, 1, 0),
            (&[0, 65_535, 1], 0, 1, 0),
            (&[1, 200, 2], 197, 1, 0),
            (&[30_000, 30_001, 10, 11], 0, 0, 0),
        ] {
            let (reception, _) = receive(sequences);
            assert_eq!(
                (reception.lost(), reception.late(), reception.duplicate()),
                (lost, late, duplicate),
                "{sequences:?}"
            );
        }
    }

    #[test]
    fn the_highest_number_is_extended_by_its_cycles() {
        assert_eq!(receive(&[65_535, 0, 1]).0.highest(), 0x1_0001);
        assert_eq!(receive(&[3, 4]).0.highest(), 4);
    }

    #[test]
    fn jitter_follows_the_algorithm_of_a_8() {
        let (even, _) = receive(&[1, 2, 3, 4]);
        assert_eq!(even.jitter(), 0);
        // One packet 20 ms (160 units) late and the next on time: 160/16, then
        // 160/16 more less a sixteenth of what was there.
        let mut reception = even;
        for (sequence, arrival) in [(5u16, 100), (6, 100)] {
            let header = Header {
                marker: false,
                payload_type: 0,
                sequence,
                timestamp: u32::from(sequence - 1) * 160,
                ssrc: 7,
            };
            reception.receive(&header, Duration::from_millis(arrival), 8_000);
        }
        assert_eq!(reception.jitter_q4, 160 + 160 - ((160 + 8) >> 4));
    }

    #[test]
    fn the_fraction_lost_is_of_the_interval() {
        let (mut reception, _) = receive(&[1, 2, 4, 5]);
        assert_eq!(reception.fraction_lost(), 51);
        assert_eq!(reception.fraction_lost(), 0);
    }
}
