//! Statistics of a flow: packets, octets, and of RTP what RFC 3550 A.1, A.3 and
//! A.8 keep, plus a window of 64 sequence numbers that tells late from duplicate;
//! of RTCP what its reports say.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use sidestep_abi::{
    counter::{Counter, EventKind},
    flow::{
        FLOW_RTCP, FlowAction, FlowStats, GAP_NS, SEEN_SHIFT, STATE_LATE, STATE_REPORT,
        STATE_SECOND_SR,
    },
};

use crate::{
    counters, events,
    maps::FLOW_STATS,
    packet::{Datagram, Ip, Payload, ReportBlock, Rtp, SenderReport, Window},
};

/// A copy on another interface within this time of the last packet is not counted.
const ELSEWHERE_NS: u64 = 1_000_000_000;

/// RFC 3550 A.1: a jump ahead of this or more is not loss but another sequence.
const MAX_DROPOUT: i16 = 3_000;

/// RFC 3550 A.1: so is one further back than this.
const MAX_MISORDER: i16 = 100;

/// Where and when a packet was met.
#[derive(Clone, Copy)]
pub struct Met {
    /// bpf_ktime_get_ns.
    pub now_ns: u64,
    /// The interface.
    pub ifindex: u32,
}

impl Met {
    /// Now, by an interface.
    #[inline(always)]
    fn now(ifindex: u32) -> Self {
        Self {
            now_ns: now_ns(),
            ifindex,
        }
    }
}

/// The time.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// An RTP packet that has been counted, but for when it came.
#[derive(Clone, Copy)]
pub struct Untimed {
    stats: *mut FlowStats,
    clock_rate: u32,
    timestamp: u32,
    place: Place,
    marked: bool,
}

/// Where a packet stands in its sequence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The first of its flow.
    First,
    /// The first of another SSRC.
    FirstOfItsSource,
    /// Somewhere.
    Within,
    /// Of no sequence yet.
    Apart,
}

/// Counts a packet of a flow. Whatever comes of it, the packet goes its way. What is left
/// to be done is [`time`]: reading the clock makes a processor wait for all before it, so
/// that is best done when the packet is ready to go.
#[inline(always)]
pub fn count<I: Ip>(
    action: &FlowAction,
    datagram: &Datagram<I>,
    window: &Window,
    ifindex: u32,
) -> Option<Untimed> {
    let Some(stats) = FLOW_STATS.get_ptr_mut(action.stats) else {
        counters::count(Counter::NoStats);
        return None;
    };
    // SAFETY: a five-tuple has one receive queue, so its entry one writer; the
    // daemon reads only.
    let stats = unsafe { &mut *stats };

    if stats.packets == 0 {
        let met = Met::now(ifindex);
        stats.first_seen_ns = met.now_ns;
        stats.ifindex = ifindex;
        events::tell(EventKind::FirstPacket, 0, action.call, &datagram.key(), met);
    } else if stats.ifindex != ifindex {
        if now_ns().wrapping_sub(last_seen_ns(stats)) < ELSEWHERE_NS {
            counters::count(Counter::SeenElsewhere);
            return None;
        }
        stats.ifindex = ifindex;
    }
    let octets = datagram.packet.ip().octets() as u64;
    stats.packets += 1;
    stats.bytes += octets;

    let payload = datagram.payload(window);
    if let Payload::Rtp(rtp) = payload
        && action.flags & FLOW_RTCP == 0
    {
        // SAFETY: `payload` checked the bounds.
        let rtp = unsafe { &*rtp };
        let place = count_rtp(stats, rtp);
        if place == Place::FirstOfItsSource {
            let (kind, met) = (EventKind::SsrcChanged, Met::now(ifindex));
            events::tell(kind, stats.ssrc, action.call, &datagram.key(), met);
        }
        return Some(Untimed {
            stats,
            clock_rate: action.clock_rate,
            timestamp: rtp.timestamp(),
            place,
            marked: rtp.is_marked(),
        });
    }
    count_other(stats, payload, action, octets, Met::now(ifindex));
    None
}

/// When it came.
#[inline(always)]
pub fn time(untimed: Option<Untimed>, now_ns: impl FnOnce() -> u64) {
    let Some(packet) = untimed else {
        return;
    };
    let now_ns = now_ns();
    // SAFETY: `count` has it from its map.
    let stats = unsafe { &mut *packet.stats };
    let transit = arrival(now_ns, packet.clock_rate).wrapping_sub(packet.timestamp);
    match packet.place {
        Place::First | Place::FirstOfItsSource => {
            stats.jitter_q4 = 0;
            stats.transit = transit;
        }
        Place::Within => stats.add_transit(transit),
        Place::Apart => {}
    }
    let silence_ns = now_ns.wrapping_sub(stats.last_rtp_ns);
    let goes_on = matches!(packet.place, Place::FirstOfItsSource | Place::Within);
    if silence_ns > GAP_NS && goes_on && !packet.marked {
        add_gap(stats, silence_ns);
    }
    stats.last_rtp_ns = now_ns;
}

/// Counts what is no RTP, or what is where RTCP goes.
#[inline(always)]
fn count_other(
    stats: &mut FlowStats,
    payload: Payload,
    action: &FlowAction,
    octets: u64,
    met: Met,
) {
    stats.last_other_ns = met.now_ns;
    match payload {
        Payload::Other | Payload::Rtp(_) if action.flags & FLOW_RTCP == 0 => {
            return counters::count(Counter::NotRtp);
        }
        // Where RTCP goes, all is RTCP, SRTCP included.
        Payload::Other | Payload::Rtp(_) | Payload::Rtcp => {}
        Payload::SenderReport(report, block) => {
            // SAFETY: `payload` checked the bounds.
            take_sender_report(stats, unsafe { &*report }, met);
            if let Some(block) = block {
                // SAFETY: as above.
                take_report_block(stats, unsafe { &*block }, met);
            }
        }
        // SAFETY: as above.
        Payload::ReceiverReport(block) => take_report_block(stats, unsafe { &*block }, met),
    }
    stats.rtcp_packets = stats.rtcp_packets.wrapping_add(1);
    stats.rtcp_bytes += octets;
}

#[inline(always)]
const fn last_seen_ns(stats: &FlowStats) -> u64 {
    if stats.last_rtp_ns > stats.last_other_ns {
        stats.last_rtp_ns
    } else {
        stats.last_other_ns
    }
}

/// When RTCP was seen.
#[inline(always)]
const fn seen(met: Met) -> u32 {
    (met.now_ns >> SEEN_SHIFT) as u32
}

/// The two latest are kept: a report block may still answer the one before.
#[inline(always)]
fn take_sender_report(stats: &mut FlowStats, report: &SenderReport, met: Met) {
    stats.state ^= STATE_SECOND_SR;
    let [first, second] = stats.sr_ntp;
    let [first_seen, second_seen] = stats.sr_seen;
    if stats.state & STATE_SECOND_SR != 0 {
        stats.sr_ntp = [first, report.middle_ntp()];
        stats.sr_seen = [first_seen, seen(met)];
    } else {
        stats.sr_ntp = [report.middle_ntp(), second];
        stats.sr_seen = [seen(met), second_seen];
    }
}

#[inline(always)]
fn take_report_block(stats: &mut FlowStats, block: &ReportBlock, met: Met) {
    stats.report_seen = seen(met);
    stats.report_lost = u32::from_be(block.lost_be);
    stats.report_highest = u32::from_be(block.highest_seq_be);
    stats.report_jitter = u32::from_be(block.jitter_be);
    stats.report_lsr = u32::from_be(block.lsr_be);
    stats.report_dlsr = u32::from_be(block.dlsr_be);
    stats.state |= STATE_REPORT;
}

/// Takes in an RTP packet.
#[inline(always)]
fn count_rtp(stats: &mut FlowStats, rtp: &Rtp) -> Place {
    let seq = u16::from_be(rtp.seq_be);
    let ssrc = rtp.ssrc();
    let payload_type = rtp.marker_payload_type & 0x7f;

    let place = if stats.rtp_packets == 0 {
        stats.payload_type = payload_type;
        stats.ssrc = ssrc;
        stats.open_sequence(seq);
        Place::First
    } else if stats.ssrc != ssrc {
        stats.ssrc_changes = stats.ssrc_changes.saturating_add(1);
        stats.close_sequence();
        stats.ssrc = ssrc;
        stats.open_sequence(seq);
        Place::FirstOfItsSource
    } else if stats.take(seq) {
        Place::Within
    } else {
        return Place::Apart;
    };
    if rtp.is_marked() {
        stats.talk_spurts = stats.talk_spurts.wrapping_add(1);
    }
    stats.rtp_packets += 1;
    if stats.payload_type != payload_type {
        stats.payload_type = payload_type;
        stats.payload_type_changes = stats.payload_type_changes.saturating_add(1);
    }
    place
}

#[inline(always)]
fn add_gap(stats: &mut FlowStats, silence_ns: u64) {
    stats.gaps = stats.gaps.wrapping_add(1);
    let ms = (silence_ns / 1_000_000) as u32;
    if ms > stats.longest_gap_ms {
        stats.longest_gap_ms = ms;
    }
}

/// The arrival time in units of the RTP clock, modulo 2^32.
///
/// `rate / 10^9` as a fixed-point number with 32 fractional bits: off by at most
/// 15 parts in a million (8 kHz), less than two crystals differ, and without the
/// two 64-bit divisions that an exact one takes. The product may wrap: bits 32 to
/// 63 of it are right modulo 2^32 all the same.
#[inline(always)]
fn arrival(now_ns: u64, clock_rate: u32) -> u32 {
    /// 2^64 / 10^9 = 4.294967296 · 2^32, less its whole part.
    const FRACTION: u64 = 1_266_874_890;
    let rate = clock_rate as u64;
    let factor = rate * 4 + ((rate * FRACTION + (1 << 31)) >> 32);
    (now_ns.wrapping_mul(factor) >> 32) as u32
}

/// The sequence numbers of one source.
trait Sequence {
    /// Starts at `seq`, which has come.
    fn open_sequence(&mut self, seq: u16);
    /// Keeps what was expected so far, before another is opened.
    fn close_sequence(&mut self);
    /// Takes in one more packet; false if it belongs to no sequence yet.
    fn take(&mut self, seq: u16) -> bool;
    /// RFC 3550 A.8.
    fn add_transit(&mut self, transit: u32);
}

impl Sequence for FlowStats {
    #[inline(always)]
    fn open_sequence(&mut self, seq: u16) {
        self.base_seq = seq as u32;
        self.max_seq = seq as u32;
        self.seen = 1;
        self.bad_seq = seq;
    }

    #[inline(always)]
    fn close_sequence(&mut self) {
        self.expected_before += self.max_seq.wrapping_sub(self.base_seq) as u64 + 1;
    }

    #[inline(always)]
    fn take(&mut self, seq: u16) -> bool {
        let ahead = seq.wrapping_sub(self.max_seq as u16) as i16;
        if ahead > 0 && ahead < MAX_DROPOUT {
            self.seen = if ahead < 64 {
                self.seen << ahead | 1
            } else {
                1
            };
            self.max_seq = self.max_seq.wrapping_add(ahead as u32);
            self.state &= !STATE_LATE;
        } else if ahead <= 0 && ahead > -MAX_MISORDER {
            let behind = (-ahead) as u32;
            let bit = if behind < 64 { 1u64 << behind } else { 0 };
            if self.seen & bit != 0 {
                self.duplicate += 1;
            } else {
                self.seen |= bit;
                self.late += 1;
                if self.state & STATE_LATE == 0 {
                    self.state |= STATE_LATE;
                    self.reordered = self.reordered.saturating_add(1);
                }
                // Older than the first that came: it was expected too.
                let extended = self.max_seq.wrapping_sub(behind);
                if (extended.wrapping_sub(self.base_seq) as i32) < 0 {
                    self.base_seq = extended;
                }
            }
        } else if seq == self.bad_seq {
            // Two in a row: the source has started over.
            self.close_sequence();
            self.open_sequence(seq);
        } else {
            self.bad_seq = seq.wrapping_add(1);
            return false;
        }
        true
    }

    #[inline(always)]
    fn add_transit(&mut self, transit: u32) {
        let difference = transit.wrapping_sub(self.transit) as i32;
        self.transit = transit;
        let difference = difference.unsigned_abs();
        // A.8's integer form: jitter in 1/16 units, rounded.
        self.jitter_q4 = self
            .jitter_q4
            .wrapping_add(difference)
            .wrapping_sub((self.jitter_q4.wrapping_add(8)) >> 4);
    }
}
