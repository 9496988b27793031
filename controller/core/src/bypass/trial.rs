//! Whether both ends decode what they are sent, where a thin client's codecs are not
//! known beforehand (claims 9, 10; M9).
//!
//! In: what passed of each direction's RTP, and what its receiver says of it in its
//! RTCP reports ([`crate::engine::Engine::media_received`], asked for by
//! [`crate::engine::Datapath::Look`]). Out: a direction whose receiver gets nothing
//! out of what is sent to it ([`Verdict::Deaf`]).
//!
//! A receiver that drops what it cannot decode before it counts it says in its reports
//! that nothing has come (RFC 3550 §6.4): the highest sequence number stands still, or
//! all is lost, or, of a thin client, there is no report block at all. Two reports must
//! say so in a row, each about so many packets that passed here. One that says
//! otherwise ends the trial: both decode.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::{Leg, Reception};
use crate::media::Codec;
use crate::time::Time;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long a codec is watched: some five intervals of RTCP (RFC 3550 §6.2).
const PATIENCE: Duration = Duration::from_secs(60);
/// Packets that a report has to be about, to say anything: half a second's.
const PACKETS: u64 = 25;
/// Reports in a row that say that nothing was received.
const REPORTS: u8 = 2;
/// Of the interval before a report, in 1/256: as good as all is lost.
const ALL_LOST: u8 = 243;

/// What the reports say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing yet.
    Open,
    /// A receiver gets nothing out of packets of this payload type.
    Deaf(Option<u8>),
}

/// The watch over the codec that is tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// What is tried; `None`: nothing is agreed.
    codec: Option<Codec>,
    /// When to look, and until when.
    look: Option<(Time, Time)>,
    down: Direction,
    up: Direction,
}

/// One direction.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Direction {
    /// What was counted when its receiver last reported.
    before: Option<Before>,
    deaf: u8,
    /// A report has said that it receives.
    decodes: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Before {
    passed: u64,
    highest: Option<u32>,
    rtcp: u32,
}

impl Trial {
    /// Nothing is agreed yet.
    pub(crate) fn new() -> Self {
        Self {
            codec: None,
            look: None,
            down: Direction::default(),
            up: Direction::default(),
        }
    }

    /// What is tried now, after every change of the call; `None`: nothing, or nothing
    /// that can be watched.
    pub(crate) fn follow(&mut self, now: Time, codec: Option<&Codec>) {
        if self.codec.as_ref() == codec {
            return;
        }
        *self = Self {
            codec: codec.cloned(),
            look: codec.map(|_| (now + INTERVAL, now + PATIENCE)),
            ..Self::new()
        };
    }

    /// The call is over: nothing is looked at any more.
    pub(crate) fn rest(&mut self) {
        self.look = None;
    }

    /// Whether the thin client has said that it receives what is tried now.
    pub(crate) fn is_decoded(&self) -> bool {
        self.down.decodes
    }

    /// When to look.
    pub(crate) fn due(&self) -> Option<Time> {
        self.look.map(|(at, _)| at)
    }

    /// Whether it is to be asked what has been counted.
    pub(crate) fn wants_look(&mut self, now: Time) -> bool {
        let Some((at, until)) = self.look.filter(|(at, _)| *at <= now) else {
            return false;
        };
        self.look = (at < until).then(|| (now + INTERVAL, until));
        true
    }

    /// What has been counted.
    pub(crate) fn hear(&mut self, receptions: &[Reception]) -> Verdict {
        if self.codec.is_none() {
            return Verdict::Open;
        }
        for reception in receptions {
            let (direction, needs_block) = match reception.leg {
                Leg::GatewayToTc => (&mut self.down, false),
                Leg::TcToGateway => (&mut self.up, true),
                Leg::GatewayToVm | Leg::VmToGateway => continue,
            };
            if direction.hear(reception, needs_block) {
                return Verdict::Deaf(reception.payload_type);
            }
        }
        if self.down.decodes && self.up.decodes {
            self.look = None;
        }
        Verdict::Open
    }
}

impl Direction {
    /// True: its receiver gets nothing. `needs_block`: reports without a block say
    /// nothing of it; there are gateways that count nothing.
    fn hear(&mut self, new: &Reception, needs_block: bool) -> bool {
        let highest = new.report.map(|report| report.highest);
        let now = Before {
            passed: new.passed,
            highest,
            rtcp: new.rtcp,
        };
        let Some(before) = self.before else {
            self.before = Some(now);
            return false;
        };
        let passed = new.passed.saturating_sub(before.passed);
        if new.rtcp == before.rtcp || passed < PACKETS {
            return false;
        }
        self.before = Some(now);
        let receives = match (new.report, before.highest) {
            (None, _) if needs_block => return false,
            (None, _) => false,
            (Some(report), None) => report.fraction_lost < ALL_LOST,
            (Some(report), Some(highest)) => {
                let got = u64::from(report.highest.wrapping_sub(highest));
                report.fraction_lost < ALL_LOST && got.saturating_mul(20) >= passed
            }
        };
        self.decodes |= receives;
        self.deaf = if receives { 0 } else { self.deaf + 1 };
        self.deaf >= REPORTS && !self.decodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ReceiverReport;

    fn codec(name: &str) -> Codec {
        Codec {
            payload_type: 0,
            name: name.into(),
            clock_rate: 8000,
            channels: None,
            fmtp: None,
        }
    }

    fn at(s: u64) -> Time {
        Time::from_origin(Duration::from_secs(s))
    }

    fn of(leg: Leg, passed: u64, rtcp: u32, report: Option<(u8, u32)>) -> Reception {
        Reception {
            leg,
            passed,
            payload_type: Some(8),
            rtcp,
            report: report.map(|(fraction_lost, highest)| ReceiverReport {
                fraction_lost,
                highest,
            }),
        }
    }

    /// Packets and RTCP packets so far, and the last report.
    type Row = (u64, u32, Option<(u8, u32)>);

    fn verdicts(leg: Leg, rows: &[Row]) -> (Vec<bool>, bool) {
        let mut trial = Trial::new();
        trial.follow(at(0), Some(&codec("PCMA")));
        let deaf = rows
            .iter()
            .map(|(passed, rtcp, report)| {
                trial.hear(&[of(leg, *passed, *rtcp, *report)]) == Verdict::Deaf(Some(8))
            })
            .collect();
        (deaf, trial.down.decodes || trial.up.decodes)
    }

    /// Packets, RTCP packets and the report so far; each what the receiver says.
    #[test]
    fn reports_say_who_receives() {
        use Leg::{GatewayToTc as Down, TcToGateway as Up};
        for (what, leg, rows, expected, decodes) in [
            (
                "numbers rise",
                Down,
                vec![
                    (0, 0, None),
                    (250, 1, Some((0, 1250))),
                    (500, 2, Some((0, 1500))),
                ],
                vec![false; 3],
                true,
            ),
            (
                "numbers stand still",
                Down,
                vec![(0, 0, None), (250, 1, None), (500, 2, None)],
                vec![false, false, true],
                false,
            ),
            (
                "the gateway's without a block",
                Up,
                vec![(0, 0, None), (250, 1, None), (500, 2, None), (750, 3, None)],
                vec![false; 4],
                false,
            ),
            (
                "the gateway's numbers stand still",
                Up,
                vec![
                    (0, 0, Some((0, 7))),
                    (250, 1, Some((0, 7))),
                    (500, 2, Some((0, 7))),
                ],
                vec![false, false, true],
                false,
            ),
            (
                "all is lost",
                Down,
                vec![
                    (0, 0, None),
                    (250, 1, Some((255, 250))),
                    (500, 2, Some((255, 500))),
                ],
                vec![false, false, true],
                false,
            ),
            (
                "too few packets to say anything",
                Down,
                vec![(0, 0, None), (10, 1, None), (20, 2, None), (24, 3, None)],
                vec![false; 4],
                false,
            ),
            (
                "one report is none",
                Down,
                vec![
                    (0, 0, None),
                    (250, 1, None),
                    (500, 2, Some((0, 490))),
                    (750, 3, Some((0, 490))),
                    (900, 4, Some((0, 490))),
                ],
                vec![false; 5],
                true,
            ),
        ] {
            assert_eq!(verdicts(leg, &rows), (expected, decodes), "{what}");
        }
    }

    /// Another codec is another trial; each is watched for a minute.
    #[test]
    fn each_codec_is_watched_for_a_while() {
        let mut trial = Trial::new();
        assert_eq!(trial.due(), None);
        trial.follow(at(0), Some(&codec("PCMA")));
        let mut looks = 0;
        while let Some(due) = trial.due() {
            assert!(trial.wants_look(due) && !trial.wants_look(due));
            looks += 1;
        }
        assert_eq!(looks, 30);
        trial.hear(&[of(Leg::GatewayToTc, 0, 0, None)]);
        trial.hear(&[of(Leg::GatewayToTc, 100, 1, None)]);
        trial.follow(at(90), Some(&codec("PCMU")));
        assert_eq!(trial.due(), Some(at(92)));
        // What the one said is not held against the other.
        let said = trial.hear(&[of(Leg::GatewayToTc, 200, 2, None)]);
        assert_eq!(said, Verdict::Open);
        trial.follow(at(95), None);
        assert_eq!(trial.due(), None);
    }
}
