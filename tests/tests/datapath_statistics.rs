//! Statistics of a flow, against RFC 3550's appendix A: loss (A.3), restarts
//! (A.1), jitter (A.8), and the window that tells late from duplicate.

use std::f64::consts::PI;

use sidestep_abi::counter::EventKind;
use sidestep_abi::flow::{FlowKind, FlowStats};
use sidestep_tests::packet::Packet;
use sidestep_tests::program::{Programs, action, isolated};

const TC: &str = "10.71.2.21:20000";
const GATEWAY: &str = "10.71.3.31:30000";
const STATS: u32 = 3;
const SSRC: u32 = 0xfeed_0001;

fn programs(clock_rate: u32) -> Programs {
    let mut programs = Programs::load();
    let mut action = action(FlowKind::Direct, STATS);
    action.clock_rate = clock_rate;
    programs.set_flow(GATEWAY, TC, action);
    programs
}

fn packet() -> Packet {
    Packet::udp4(GATEWAY, TC)
}

/// Sequence numbers in the order they come, and what they amount to.
fn statistics_of(seqs: &[u16]) -> FlowStats {
    let mut programs = programs(8_000);
    for seq in seqs {
        let rtp = packet().rtp(*seq, u32::from(*seq).wrapping_mul(160), SSRC, 0);
        programs.uplink(&rtp.bytes());
    }
    let stats = programs.stats(STATS);
    assert_eq!(stats.packets, seqs.len() as u64);
    stats
}

struct Case {
    what: &'static str,
    seqs: Vec<u16>,
    rtp_packets: u64,
    lost: u64,
    late: u64,
    duplicate: u64,
}

fn case(
    what: &'static str,
    seqs: impl IntoIterator<Item = u16>,
    [rtp_packets, lost, late, duplicate]: [u64; 4],
) -> Case {
    Case {
        what,
        seqs: seqs.into_iter().collect(),
        rtp_packets,
        lost,
        late,
        duplicate,
    }
}

#[test]
fn what_comes_out_of_order_out_of_turn_or_not_at_all() {
    let cases = [
        // RTP packets, lost, late, duplicate.
        case("one packet", [7], [1, 0, 0, 0]),
        case("all in order", 1..=200, [200, 0, 0, 0]),
        case("one lost", [1, 2, 4, 5], [4, 1, 0, 0]),
        case("a burst lost", [1, 2, 40, 41], [4, 37, 0, 0]),
        case("two swapped", [1, 3, 2, 4], [4, 0, 1, 0]),
        case("the first two swapped", [2, 1, 3], [3, 0, 1, 0]),
        case(
            "late by 63",
            (1..=64).filter(|s| *s != 1).chain([1]),
            [64, 0, 1, 0],
        ),
        case("late by more than the window", [1, 2, 70, 3], [4, 66, 1, 0]),
        case("twice in a row", [1, 2, 2, 3], [4, 0, 0, 1]),
        case("again 63 later", (1..=64).chain([1]), [65, 0, 0, 1]),
        case("thrice", [1, 2, 3, 1, 1], [5, 0, 0, 2]),
        case("late, then again", [1, 3, 2, 2], [4, 0, 1, 1]),
        case(
            "lost, and a duplicate does not make up for it",
            [1, 3, 3],
            [3, 1, 0, 1],
        ),
        case("wraps", [65_534, 65_535, 0, 1], [4, 0, 0, 0]),
        case("wraps with loss", [65_533, 65_535, 1], [3, 2, 0, 0]),
        case("late across the wrap", [65_534, 0, 65_535, 1], [4, 0, 1, 0]),
        case(
            "duplicate across the wrap",
            [65_535, 0, 65_535],
            [3, 0, 0, 1],
        ),
        case(
            "the first is late across the wrap",
            [0, 65_535, 1],
            [3, 0, 1, 0],
        ),
        case(
            "a jump just short of a restart",
            [1, 3_000],
            [2, 2_998, 0, 0],
        ),
        case("one stray far ahead", [1, 2, 9_000, 3], [3, 0, 0, 0]),
        case(
            "one stray far behind",
            [5_000, 5_001, 4_000, 5_002],
            [3, 0, 0, 0],
        ),
        case(
            "starts over, and loses one before and after",
            [1, 3, 20_000, 20_001, 20_002, 20_004],
            [5, 2, 0, 0],
        ),
    ];
    isolated(|| {
        for case in cases {
            let stats = statistics_of(&case.seqs);
            assert_eq!(
                (stats.rtp_packets, stats.lost(), stats.late, stats.duplicate),
                (case.rtp_packets, case.lost, case.late, case.duplicate),
                "{}: {stats:?}",
                case.what
            );
            assert_eq!((stats.ssrc, stats.ssrc_changes), (SSRC, 0), "{}", case.what);
        }
    });
}

#[test]
fn sequence_numbers_go_round_many_times() {
    isolated(|| {
        let mut programs = programs(8_000);
        // Every 512th packet, 300 times: over two rounds.
        for step in 0..300u32 {
            let rtp = packet().rtp((step * 512) as u16, step * 512 * 160, SSRC, 0);
            programs.uplink(&rtp.bytes());
        }
        let stats = programs.stats(STATS);
        assert_eq!(stats.expected(), 299 * 512 + 1);
        assert_eq!(stats.lost(), 299 * 511);
        assert_eq!(stats.max_seq >> 16, 2);
    });
}

#[test]
fn another_ssrc_starts_a_new_sequence_and_keeps_what_was_lost() {
    isolated(|| {
        let mut programs = programs(8_000);
        for seq in [10, 11, 13] {
            programs.uplink(&packet().rtp(seq, 0, SSRC, 0).bytes());
        }
        let jitter = programs.stats(STATS).jitter_q4;
        programs.events();
        for seq in [60_000, 60_001, 60_003, 60_004] {
            programs.uplink(&packet().rtp(seq, 0x8000_0000, 0xbeef, 0).bytes());
        }
        let stats = programs.stats(STATS);
        assert_eq!((stats.ssrc, stats.ssrc_changes), (0xbeef, 1));
        assert_eq!(
            (stats.rtp_packets, stats.expected(), stats.lost()),
            (7, 9, 2)
        );
        assert_eq!((stats.late, stats.duplicate), (0, 0));
        assert_eq!(stats.base_seq, 60_000);
        // The new source's timestamps have nothing to do with the old one's.
        assert!(
            stats.jitter_q4 < 16_000,
            "{} after {jitter}",
            stats.jitter_q4
        );

        let [event] = programs.events()[..] else {
            panic!("one event");
        };
        assert_eq!(event.kind, EventKind::SsrcChanged as u32);
        assert_eq!((event.call, event.detail), (7, 0xbeef));
    });
}

#[test]
fn payload_types_and_their_changes() {
    isolated(|| {
        let mut programs = programs(8_000);
        for (seq, payload_type) in [(1, 8), (2, 8), (3, 0x80 | 8), (4, 101), (5, 8)] {
            programs.uplink(&packet().rtp(seq, 0, SSRC, payload_type).bytes());
        }
        let stats = programs.stats(STATS);
        assert_eq!((stats.payload_type, stats.payload_type_changes), (8, 2));
    });
}

#[test]
fn octets_are_those_of_ip_packets() {
    isolated(|| {
        let mut programs = programs(8_000);
        let rtp = packet().rtp(1, 0, SSRC, 0);
        programs.uplink(&rtp.bytes());
        // Ethernet's padding is no part of them.
        let mut padded = packet().payload(&[0x80; 12]).bytes();
        padded.resize(60, 0);
        programs.uplink(&padded);
        assert_eq!(programs.stats(STATS).bytes, (20 + 8 + 172) + (20 + 8 + 12));
    });
}

/// RFC 3550 A.8 as it is written there, in floating point.
#[derive(Default)]
struct Jitter {
    transit: Option<f64>,
    jitter: f64,
}

impl Jitter {
    /// `arrival` in units of the RTP clock.
    fn add(&mut self, arrival: f64, timestamp: f64) {
        let transit = arrival - timestamp;
        if let Some(before) = self.transit {
            self.jitter += ((transit - before).abs() - self.jitter) / 16.0;
        }
        self.transit = Some(transit);
    }
}

/// The packets come when they come; their timestamps are made so that they seem
/// to have been sent as the case says. The arrival time is the one that the
/// program itself took.
fn jitter_is_right(clock_rate: u32, start: u32, deviation_ms: impl Fn(u32) -> f64) {
    let mut programs = programs(clock_rate);
    let mut reference = Jitter::default();
    let clock = f64::from(clock_rate);
    let mut origin = None;
    for number in 0..150u32 {
        let now = sidestep_tests::program::now_ns();
        let origin = *origin.get_or_insert(now);
        let sent = (now - origin) as f64 / 1e9 * clock;
        let sent = (sent + deviation_ms(number) / 1e3 * clock).round();
        let timestamp = start.wrapping_add(sent as i64 as u32);
        programs.uplink(&packet().rtp(number as u16, timestamp, SSRC, 0).bytes());
        let arrived = programs.stats(STATS).last_seen_ns();
        reference.add((arrived - origin) as f64 / 1e9 * clock, sent);
    }
    let measured = f64::from(programs.stats(STATS).jitter_q4) / 16.0;
    // Whole clock units per packet on one side, fractions on the other.
    assert!(
        (measured - reference.jitter).abs() < 1.0,
        "{clock_rate} Hz: {measured} units, RFC 3550 A.8 says {}",
        reference.jitter
    );
    let in_ms = programs.stats(STATS).jitter_ms(clock_rate);
    assert!((in_ms - reference.jitter / clock * 1e3).abs() < 1.0 / clock * 1e3);
}

#[test]
fn jitter_is_that_of_rfc_3550() {
    isolated(|| {
        for clock_rate in [8_000, 16_000, 48_000, 90_000, 192_000] {
            // None; a sawtooth of 20 ms; a slow swing; timestamps that wrap.
            jitter_is_right(clock_rate, 0, |_| 0.0);
            jitter_is_right(clock_rate, 77, |number| f64::from(number % 7) * 3.0);
            jitter_is_right(clock_rate, 1 << 31, |number| {
                (f64::from(number) / 40.0 * PI).sin() * 12.0
            });
            jitter_is_right(clock_rate, u32::MAX - 40, |number| {
                if number % 2 == 0 { 0.0 } else { 5.0 }
            });
        }
    });
}

#[test]
fn without_a_clock_rate_there_is_no_division_by_it() {
    isolated(|| {
        let mut programs = programs(0);
        for seq in [1, 2, 4] {
            programs.uplink(&packet().rtp(seq, 0, SSRC, 0).bytes());
        }
        let stats = programs.stats(STATS);
        assert_eq!((stats.lost(), stats.jitter_q4), (1, 0));
        assert_eq!(stats.jitter_ms(0), 0.0);
    });
}

/// A trunk's flow may stand for weeks: what counts for ever has 64 bits.
#[test]
fn what_counts_for_ever_goes_on_past_32_bits() {
    isolated(|| {
        const FULL: u64 = u32::MAX as u64;
        let mut programs = programs(8_000);
        programs.uplink(&packet().rtp(1, 160, SSRC, 0).bytes());
        let started = programs.stats(STATS);
        programs.set_stats(
            STATS,
            FlowStats {
                packets: FULL,
                bytes: FULL,
                rtp_packets: FULL,
                late: FULL,
                duplicate: FULL,
                expected_before: FULL,
                ..started
            },
        );
        // One that comes next, the same again, and one that comes late.
        for seq in [3, 3, 2] {
            programs.uplink(&packet().rtp(seq, 160, SSRC, 0).bytes());
        }
        let stats = programs.stats(STATS);
        assert_eq!((stats.packets, stats.rtp_packets), (FULL + 3, FULL + 3));
        assert_eq!(stats.bytes, FULL + 3 * 200);
        assert_eq!((stats.late, stats.duplicate), (FULL + 1, FULL + 1));
        assert_eq!(stats.expected(), FULL + 3);
        // Another source: what was expected of this one is kept.
        programs.uplink(&packet().rtp(9, 160, SSRC + 1, 0).bytes());
        assert_eq!(programs.stats(STATS).expected_before, FULL + 3);
    });
}
