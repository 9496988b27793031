//! What is worked out from counters: the facts of RTCP reports that passed, and an
//! estimate of how a listener would judge the speech.
//!
//! In: statistics of a call's flows. Out: numbers of rows, `None` where nothing
//! tells.

use sidestep_abi::flow::{FlowStats, SEEN_SHIFT, STATE_REPORT};
use sidestep_core::engine::{Leg, ReceiverReport, Reception};
use sidestep_core::media::Encoding;

/// What a report block (RFC 3550 §6.4.1) of the receiver's says of a flow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// RTP packets lost up to the receiver, since it began. Negative: it got some
    /// twice.
    pub lost: i32,
    /// Of the interval before the report, %.
    pub loss_percent: f64,
    /// Its interarrival jitter, clock units.
    pub jitter: u32,
    /// From this host to the receiver and back, ms; if one of the last two sender
    /// reports is the one that it answers.
    pub round_trip_ms: Option<f64>,
}

/// The receiver's last report, which passed in `back`'s direction, of what was sent
/// in `sent`'s; the statistics are those of where RTCP goes.
pub fn report(sent: Option<&FlowStats>, back: &FlowStats) -> Option<Report> {
    if back.state & STATE_REPORT == 0 {
        return None;
    }
    // RFC 3550 §6.4.1: 8 bits of fraction, 24 of a signed number.
    let lost = (back.report_lost << 8).cast_signed() >> 8;
    Some(Report {
        lost,
        loss_percent: f64::from(back.report_lost >> 24) / 256.0 * 100.0,
        jitter: back.report_jitter,
        round_trip_ms: sent.and_then(|sent| round_trip_ms(sent, back)),
    })
}

/// What has passed of one direction's RTP, and what its receiver says of it in the
/// RTCP that comes back.
pub fn reception<'a>(
    leg: Leg,
    sent: &FlowStats,
    back: impl Iterator<Item = &'a FlowStats> + Clone,
) -> Reception {
    let reports = back.clone().filter(|stats| stats.state & STATE_REPORT != 0);
    let last = reports.max_by_key(|stats| stats.rtcp_packets);
    Reception {
        leg,
        passed: sent.rtp_packets,
        payload_type: (sent.rtp_packets > 0).then_some(sent.payload_type),
        rtcp: back.map(|stats| stats.rtcp_packets).sum(),
        report: last.map(|stats| ReceiverReport {
            fraction_lost: (stats.report_lost >> 24) as u8,
            highest: stats.report_highest,
        }),
    }
}

/// RFC 3550 §6.4.1, as if this host had sent the sender report: it passed when it
/// passed, its answer too, and the receiver held it for DLSR.
fn round_trip_ms(sent: &FlowStats, back: &FlowStats) -> Option<f64> {
    /// One unit of the programs' times, ms.
    const UNIT_MS: f64 = (1u64 << SEEN_SHIFT) as f64 / 1e6;
    if back.report_lsr == 0 {
        return None;
    }
    let answered = sent.sr_ntp.iter().position(|ntp| *ntp == back.report_lsr)?;
    let passed = back.report_seen.wrapping_sub(*sent.sr_seen.get(answered)?);
    let held_ms = f64::from(back.report_dlsr) / 65.536;
    // Never negative: two clocks, and their units.
    Some((f64::from(passed) * UNIT_MS - held_ms).max(0.0))
}

/// The band of speech that a score is of. The two are no measure of each other: each
/// compares with the best that its band has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// ITU-T G.107.
    Narrowband,
    /// ITU-T G.107.1.
    Wideband,
}

impl Scale {
    /// As rows have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Narrowband => "narrowband",
            Self::Wideband => "wideband",
        }
    }

    /// R of a connection without delay, codec and loss, all else as these
    /// recommendations take it to be by default.
    const fn best(self) -> f64 {
        match self {
            Self::Narrowband => 93.2,
            Self::Wideband => 129.0,
        }
    }

    /// As a rating of G.107, Annex B: G.107.1 has it by this.
    const fn divisor(self) -> f64 {
        match self {
            Self::Narrowband => 1.0,
            Self::Wideband => 1.29,
        }
    }
}

/// What an encoding does to speech (ITU-T G.113).
struct Impairment {
    scale: Scale,
    /// Ie, or Ie,wb.
    equipment: f64,
    /// Bpl, where one is published.
    robustness: Option<f64>,
}

/// The band that an encoding's score is of.
pub const fn scale(encoding: Encoding) -> Scale {
    impairment(encoding).scale
}

/// Mean opinion score (ITU-T G.107, Annex B; G.107.1) of speech in an encoding, when of its
/// packets so many are lost, at random, and it takes so long from mouth to ear; `None`: some
/// are lost, and what that does to this encoding is not published.
pub fn mos(encoding: Encoding, loss_percent: f64, delay_ms: f64) -> Option<f64> {
    let Impairment {
        scale,
        equipment,
        robustness,
    } = impairment(encoding);
    let equipment = match robustness {
        // G.107 §7.5, with losses at random (BurstR 1).
        Some(robustness) => {
            equipment + (95.0 - equipment) * loss_percent / (loss_percent + robustness)
        }
        None if loss_percent > 0.0 => return None,
        None => equipment,
    };
    let rating = (scale.best() - delay_impairment(delay_ms) - equipment) / scale.divisor();
    Some(match rating {
        rating if rating <= 0.0 => 1.0,
        rating if rating >= 100.0 => 4.5,
        rating => {
            let cubic = rating * (rating - 60.0) * (100.0 - rating) * 7e-6;
            // The cubic dips below 1 for the worst.
            (1.0 + 0.035 * rating + cubic).max(1.0)
        }
    })
}

/// Ie and Bpl of ITU-T G.113, Appendix I, with the codec's packet-loss concealment and
/// random loss; Ie,wb of Appendix IV.
const fn impairment(encoding: Encoding) -> Impairment {
    let (scale, equipment, robustness) = match encoding {
        Encoding::Pcm => (Scale::Narrowband, 0.0, Some(25.1)),
        // At 6.3 kbit/s.
        Encoding::G723 => (Scale::Narrowband, 15.0, Some(16.1)),
        // Annex A.
        Encoding::G729 => (Scale::Narrowband, 11.0, Some(19.0)),
        Encoding::GsmEfr => (Scale::Narrowband, 5.0, Some(10.0)),
        Encoding::Gsm => (Scale::Narrowband, 20.0, None),
        Encoding::G726At40 => (Scale::Narrowband, 2.0, None),
        Encoding::G726At32 => (Scale::Narrowband, 7.0, None),
        Encoding::G726At24 => (Scale::Narrowband, 25.0, None),
        Encoding::G726At16 => (Scale::Narrowband, 50.0, None),
        Encoding::G728 => (Scale::Narrowband, 7.0, None),
        // At 64 kbit/s, the only rate that RTP has (RFC 3551 §4.5.2).
        Encoding::G722 => (Scale::Wideband, 13.0, None),
    };
    Impairment {
        scale,
        equipment,
        robustness,
    }
}

/// Id for echo-free connections, in the usual straight lines for G.107 §7.4.
fn delay_impairment(delay_ms: f64) -> f64 {
    0.024 * delay_ms + 0.11 * (delay_ms - 177.3).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_and_its_round_trip_measured() {
        let second = 1_000_000_000u64;
        let seen = |ns: u64| (ns >> SEEN_SHIFT) as u32;
        let sent = FlowStats {
            sr_ntp: [0x0001_8000, 0x0006_8000],
            sr_seen: [seen(70 * second), seen(75 * second)],
            ..FlowStats::default()
        };
        let mut back = FlowStats {
            state: STATE_REPORT,
            // A quarter of the interval, 5 in all.
            report_lost: 64 << 24 | 5,
            report_jitter: 80,
            report_lsr: 0x0001_8000,
            // Held for 1.5 s of the 1.54 s.
            report_dlsr: 65_536 * 3 / 2,
            report_seen: seen(71 * second + 540_000_000),
            ..FlowStats::default()
        };
        let report_of = |back: &FlowStats| report(Some(&sent), back).unwrap();
        let read = report_of(&back);
        assert_eq!((read.lost, read.loss_percent, read.jitter), (5, 25.0, 80));
        let round_trip = read.round_trip_ms.unwrap();
        assert!((round_trip - 40.0).abs() < 0.05, "{round_trip} ms");

        // Duplicates: -3 in 24 bits.
        back.report_lost = 0x00ff_fffd;
        assert_eq!(report_of(&back).lost, -3);
        // A sender report that was not seen, or none.
        for lsr in [0x0002_0000, 0] {
            back.report_lsr = lsr;
            assert_eq!(report_of(&back).round_trip_ms, None);
        }
        assert_eq!(report(Some(&sent), &FlowStats::default()), None);
    }

    /// RTCP at a port of its own and at RTP's; the one that reports is heard.
    #[test]
    fn what_a_receiver_says_of_what_has_passed() {
        let sent = FlowStats {
            rtp_packets: 500,
            payload_type: 18,
            ..FlowStats::default()
        };
        let own = FlowStats {
            rtcp_packets: 3,
            state: STATE_REPORT,
            report_lost: 255 << 24 | 7,
            report_highest: 0x1_0005,
            ..FlowStats::default()
        };
        let rtp = FlowStats {
            rtp_packets: 400,
            ..FlowStats::default()
        };
        let heard = reception(Leg::GatewayToTc, &sent, [rtp, own].iter());
        assert_eq!(
            (heard.passed, heard.payload_type, heard.rtcp),
            (500, Some(18), 3)
        );
        let report = heard.report.unwrap();
        assert_eq!((report.fraction_lost, report.highest), (255, 0x1_0005));
        let silent = reception(Leg::TcToGateway, &FlowStats::default(), [rtp].iter());
        assert_eq!((silent.payload_type, silent.report), (None, None));
    }

    #[test]
    fn speech_is_judged_as_the_recommendations_tables_have_it() {
        use Encoding::{G722, G723, G726At16, G726At32, G728, G729, Gsm, GsmEfr, Pcm};
        // Encoding, loss in %, delay in ms: the score.
        for (encoding, loss, delay, expected) in [
            // G.107: R = 93.2 is 4.41.
            (Pcm, 0.0, 0.0, Some(4.41)),
            // R = 82.2 and 78.2.
            (G729, 0.0, 0.0, Some(4.1)),
            (G723, 0.0, 0.0, Some(3.95)),
            // R = 88.2; with 1 % lost 88.2 - 90 / 11.
            (GsmEfr, 0.0, 0.0, Some(4.29)),
            (GsmEfr, 1.0, 0.0, Some(4.02)),
            // R = 86.2, 73.2 and 43.2.
            (G726At32, 0.0, 0.0, Some(4.24)),
            (G728, 0.0, 0.0, Some(4.24)),
            (Gsm, 0.0, 0.0, Some(3.74)),
            (G726At16, 0.0, 0.0, Some(2.22)),
            // What loss does to these is not published.
            (G726At32, 0.1, 0.0, None),
            (Gsm, 0.1, 0.0, None),
            (G722, 0.1, 0.0, None),
            // G.107.1: R = 116, which is 89.9 of G.107's; 100 ms take 2.4 from it.
            (G722, 0.0, 0.0, Some(4.34)),
            (G722, 0.0, 100.0, Some(4.29)),
            // Never below 1.
            (Pcm, 100.0, 2_000.0, Some(1.0)),
        ] {
            let judged = mos(encoding, loss, delay).map(|mos| (mos * 100.0).round() / 100.0);
            assert_eq!(judged, expected, "{encoding:?}, {loss} %, {delay} ms");
        }
        // Worse with loss, and with delay.
        assert!(mos(Pcm, 5.0, 0.0) < mos(Pcm, 1.0, 0.0));
        assert!(mos(Pcm, 0.0, 400.0) < mos(Pcm, 0.0, 100.0));
        assert_eq!(scale(G722), Scale::Wideband);
        assert_eq!(scale(Pcm), Scale::Narrowband);
    }
}
