//! What is counted beyond loss and jitter: gaps, talk-spurts, broken order, RTCP's
//! reports, RTP and RTCP on one port; flows on several CPUs at once; and all of it
//! held against tshark's analysis of a capture of the same packets.

use std::fs;
use std::process::Command;
use std::time::Duration;

use sidestep_abi::counter::Counter;
use sidestep_abi::flow::{
    FLOW_RTCP, FlowAction, FlowKind, FlowStats, SEEN_SHIFT, STATE_REPORT, STATE_SECOND_SR,
};
use sidestep_tests::packet::{HIGHEST, Packet};
use sidestep_tests::program::{Programs, action, isolated, now_ns};

const TC: &str = "10.71.2.21:20000";
const GATEWAY: &str = "10.71.3.31:30000";
const STATS: u32 = 3;
const SSRC: u32 = 0xfeed_0001;
const MARKED: u8 = 0x80;

fn programs(flags: u8) -> Programs {
    let mut programs = Programs::load();
    let action = FlowAction {
        flags,
        ..action(FlowKind::Direct, STATS)
    };
    programs.set_flow(GATEWAY, TC, action);
    programs
}

fn packet() -> Packet {
    Packet::udp4(GATEWAY, TC)
}

#[test]
fn silence_is_a_gap_unless_a_talk_spurt_begins() {
    isolated(|| {
        let mut programs = programs(0);
        let mut send = |seq, payload_type, silence_ms: u64| {
            let mut stats = programs.stats(STATS);
            if stats.packets > 0 {
                stats.last_rtp_ns = now_ns() - silence_ms * 1_000_000;
                programs.set_stats(STATS, stats);
            }
            programs.uplink(&packet().rtp(seq, 0, SSRC, payload_type).bytes());
            let stats = programs.stats(STATS);
            (stats.gaps, stats.talk_spurts, stats.longest_gap_ms)
        };
        assert_eq!(send(1, MARKED, 0), (0, 1, 0));
        assert_eq!(send(2, 0, 20), (0, 1, 0));
        assert_eq!(send(3, 0, 90), (0, 1, 0));
        let (gaps, spurts, longest) = send(4, 0, 150);
        assert_eq!((gaps, spurts), (1, 1));
        assert!((150..190).contains(&longest), "{longest} ms");
        // Comfort noise ends, or silence was suppressed: no packet is missing.
        assert_eq!(send(5, MARKED, 3_000), (1, 2, longest));
        let (gaps, _, longest) = send(6, 0, 400);
        assert_eq!(gaps, 2);
        assert!((400..440).contains(&longest), "{longest} ms");
    });
}

#[test]
fn order_is_broken_once_by_late_packets_in_a_row() {
    isolated(|| {
        let mut programs = programs(0);
        for (seq, reordered, late) in [
            (1, 0, 0),
            (2, 0, 0),
            (6, 0, 0),
            (3, 1, 1),
            (4, 1, 2),
            (5, 1, 3),
            (7, 1, 3),
            (9, 1, 3),
            (8, 2, 4),
        ] {
            programs.uplink(&packet().rtp(seq, 0, SSRC, 0).bytes());
            let stats = programs.stats(STATS);
            assert_eq!(
                (u64::from(stats.reordered), stats.late),
                (reordered, late),
                "{seq}"
            );
        }
    });
}

#[test]
fn reports_are_read_in_passing() {
    isolated(|| {
        for flags in [FLOW_RTCP, 0] {
            let mut programs = programs(flags);
            let block = [64 << 24 | 5, 80, 0x1111_2222, 65_536];
            let report = packet().sender_report(SSRC, (0x1234_5678, 0x9abc_def0), block);
            let before = now_ns();
            programs.uplink(&report.bytes());
            let stats = programs.stats(STATS);
            assert_eq!(stats.sr_ntp[1], 0x5678_9abc);
            let seen = stats.sr_seen[1];
            let window = (before >> SEEN_SHIFT) as u32..=(now_ns() >> SEEN_SHIFT) as u32;
            assert!(window.contains(&seen));
            assert_eq!(
                (stats.report_lost, stats.report_jitter, stats.report_lsr),
                (64 << 24 | 5, 80, 0x1111_2222)
            );
            assert_eq!((stats.report_dlsr, stats.report_seen), (65_536, seen));
            assert_eq!(stats.report_highest, HIGHEST);
            assert_eq!(stats.state, STATE_REPORT | STATE_SECOND_SR);

            // The next sender report beside it, then in its place.
            let again = packet().sender_report(SSRC, (1, 0), block);
            programs.uplink(&again.bytes());
            assert_eq!(programs.stats(STATS).sr_ntp, [1 << 16, 0x5678_9abc]);
            programs.uplink(&again.bytes());
            assert_eq!(programs.stats(STATS).sr_ntp, [1 << 16, 1 << 16]);

            let receiver = packet().receiver_report(SSRC, [7, 8, 9, 10]);
            programs.uplink(&receiver.bytes());
            let stats = programs.stats(STATS);
            assert_eq!((stats.report_lost, stats.report_dlsr), (7, 10));
            let octets = 3 * report.ip_len() + receiver.ip_len();
            assert_eq!((stats.rtcp_packets, stats.rtcp_bytes), (4, octets as u64));
            assert_eq!((stats.rtp_packets, stats.packets), (0, 4));
            assert_eq!(programs.counted(), [(Counter::DirectPassed, 4)]);
        }
    });
}

/// A report that says it has a block, or is one, but ends before.
#[test]
fn a_cut_report_is_only_counted() {
    isolated(|| {
        let mut programs = programs(FLOW_RTCP);
        let whole = packet().sender_report(SSRC, (1, 1), [1, 1, 1, 1]).bytes();
        let rtcp = &whole[42..];
        for len in [8, 12, 27, 28, 51] {
            programs.uplink(&packet().payload(&rtcp[..len]).bytes());
        }
        let stats = programs.stats(STATS);
        assert_eq!(stats.rtcp_packets, 5);
        // Of these two the sender report is whole, its block is not.
        assert_eq!(stats.sr_ntp, [1 << 16, 1 << 16]);
        assert_eq!(stats.state & STATE_REPORT, 0);
    });
}

/// One port for all: told apart by the second octet (RFC 5761 §4), or by the first
/// (RFC 7983 §7), and none disturbs another's numbers.
#[test]
fn rtp_rtcp_stun_and_dtls_share_a_port() {
    isolated(|| {
        let mut programs = programs(0);
        let stun = [&[0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42][..], &[7; 20]].concat();
        let dtls = [&[22, 0xfe, 0xfd, 0, 0][..], &[7; 30]].concat();
        for packet in [
            packet().rtp(1, 0, SSRC, 8),
            packet().rtcp(200, 5),
            packet().payload(&stun),
            packet().rtp(2, 160, SSRC, 8),
            packet().rtcp(203, 5),
            packet().payload(&dtls),
            packet().rtp(3, 320, SSRC, MARKED | 8),
        ] {
            programs.uplink(&packet.bytes());
        }
        let stats = programs.stats(STATS);
        assert_eq!(
            (stats.packets, stats.rtp_packets, stats.rtcp_packets),
            (7, 3, 2)
        );
        assert_eq!((stats.lost(), stats.late, stats.ssrc_changes), (0, 0, 0));
        assert_eq!((stats.payload_type, stats.payload_type_changes), (8, 0));
        assert_eq!(
            programs.counted(),
            [(Counter::DirectPassed, 7), (Counter::NotRtp, 2)]
        );
    });
}

/// Each flow has its receive queue, and so its CPU; what they count is exact.
#[test]
fn flows_on_several_cpus_at_once_are_counted_exactly() {
    const PACKETS: u16 = 2_000;
    isolated(|| {
        let mut programs = Programs::load();
        let from = |flow: u32| format!("10.9.0.{flow}:4000");
        for flow in 0..4 {
            programs.set_flow(&from(flow), TC, action(FlowKind::Direct, flow));
        }
        let shared = &programs;
        std::thread::scope(|scope| {
            for flow in 0..4 {
                scope.spawn(move || {
                    for seq in 0..PACKETS {
                        let packet = Packet::udp4(&from(flow), TC);
                        // Every tenth is missing.
                        if seq % 10 != 5 {
                            shared.uplink(&packet.rtp(seq, 0, flow, 0).bytes());
                        }
                    }
                });
            }
        });
        for flow in 0..4 {
            let stats = programs.stats(flow);
            let sent = u64::from(PACKETS) / 10 * 9;
            assert_eq!((stats.packets, stats.rtp_packets), (sent, sent));
            assert_eq!((stats.lost(), stats.bytes), (sent / 9, sent * 200));
        }
        assert_eq!(
            programs.counted(),
            [(Counter::DirectPassed, u64::from(PACKETS) / 10 * 9 * 4)]
        );
    });
}

/// The same packets as a capture, with the times at which the program saw them.
struct Recording {
    pcap: Vec<u8>,
    jitter: Vec<f64>,
}

impl Recording {
    fn new() -> Self {
        let mut pcap = Vec::new();
        // Nanoseconds, version 2.4, Ethernet.
        pcap.extend(0xa1b2_3c4du32.to_ne_bytes());
        pcap.extend(2u16.to_ne_bytes());
        pcap.extend(4u16.to_ne_bytes());
        for word in [0, 0, 65_535, 1u32] {
            pcap.extend(word.to_ne_bytes());
        }
        Self {
            pcap,
            jitter: Vec::new(),
        }
    }

    fn add(&mut self, frame: &[u8], stats: &FlowStats) {
        let at = stats.last_rtp_ns;
        let len = frame.len() as u32;
        for word in [
            (at / 1_000_000_000) as u32,
            (at % 1_000_000_000) as u32,
            len,
            len,
        ] {
            self.pcap.extend(word.to_ne_bytes());
        }
        self.pcap.extend(frame);
        self.jitter.push(stats.jitter_ms(8_000));
    }
}

/// What `tshark -z rtp,streams` says of the only stream: packets, lost, mean and
/// highest jitter in ms.
fn tshark(pcap: &[u8]) -> (u64, u64, f64, f64) {
    let file = std::env::temp_dir().join(format!("quality-{}.pcap", std::process::id()));
    fs::write(&file, pcap).unwrap();
    let output = Command::new("tshark")
        .args([
            "-n",
            "-q",
            "-d",
            "udp.port==30000,rtp",
            "-z",
            "rtp,streams",
            "-r",
        ])
        .arg(&file)
        .output()
        .expect("tshark (Debian package tshark)");
    fs::remove_file(&file).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text
        .lines()
        .find(|line| line.contains("0xFEED0001"))
        .unwrap_or_else(|| panic!("no stream in {text}"));
    // … SSRC, payload, packets, lost, (percent), three of delta, three of jitter.
    let words: Vec<&str> = line.split_whitespace().collect();
    let percent = words
        .iter()
        .position(|word| word.starts_with('('))
        .unwrap_or_else(|| panic!("no loss in {line}"));
    let number = |at: usize| {
        words[at]
            .parse::<f64>()
            .unwrap_or_else(|_| panic!("{line}"))
    };
    (
        number(percent - 2) as u64,
        number(percent - 1) as u64,
        number(percent + 5),
        number(percent + 6),
    )
}

#[test]
fn tshark_says_the_same_of_the_same_packets() {
    isolated(|| {
        let mut programs = programs(0);
        let mut recording = Recording::new();
        let mut random = 12_345u32;
        let mut draw = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) % below
        };
        let mut seqs: Vec<u16> = (65_400..=65_535).chain(0..200).collect();
        // Some lost, none of the ends; some a place too late.
        seqs.retain(|seq| ![65_410, 65_411, 7, 100, 101, 102].contains(seq));
        for at in [20, 60, 150] {
            seqs.swap(at, at + 1);
        }
        for seq in &seqs {
            let sent = u32::from(seq.wrapping_sub(65_400)) * 160;
            let frame = packet().rtp(*seq, sent, SSRC, 8).bytes();
            // They come faster than they were sent, and unevenly: jitter all the same.
            std::thread::sleep(Duration::from_micros(u64::from(200 + draw(6_000))));
            programs.uplink(&frame);
            recording.add(&frame, &programs.stats(STATS));
        }
        let stats = programs.stats(STATS);
        let (packets, lost, mean, highest) = tshark(&recording.pcap);
        assert_eq!((stats.rtp_packets, stats.lost()), (packets, lost));
        assert_eq!((stats.rtp_packets, stats.lost()), (seqs.len() as u64, 6));
        assert_eq!((stats.late, stats.reordered), (3, 3));
        let ours = recording.jitter.iter().sum::<f64>() / recording.jitter.len() as f64;
        let our_highest = recording.jitter.iter().copied().fold(0.0, f64::max);
        for (what, ours, theirs) in [("mean", ours, mean), ("highest", our_highest, highest)] {
            assert!(
                (ours - theirs).abs() <= theirs * 0.05,
                "{what} jitter: {ours} ms, tshark says {theirs} ms"
            );
        }
    });
}
