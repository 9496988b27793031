//! Media flows: one entry per direction and transport address pair.
//!
//! Userspace knows one kind of key, [`FlowKey`], whose addresses have 128 bits
//! (IPv4 as RFC 4291 §2.5.5.2 maps it). How the programs find a flow by its
//! five-tuple is [`crate::table`]'s matter.

use core::mem::offset_of;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address in network order, IPv4 mapped (`::ffff:a.b.c.d`).
pub type Address = [u8; 16];

/// What precedes the four octets of an IPv4 address in an [`Address`].
pub const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// An address as the maps have it.
pub fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// An address out of the maps.
pub fn ip(address: Address) -> IpAddr {
    Ipv6Addr::from(address).to_canonical()
}

/// Exact five-tuple (the protocol is UDP) of a media flow, as the packet has it
/// when it meets the program. Two exceptions: the source port of a guard
/// ([`FlowKind::Guard`]) may be zero, for all of the VM's ports, until the VM has
/// said which one it uses; that of [`FlowKind::Learn`] is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Source address.
    pub src: Address,
    /// Destination address.
    pub dst: Address,
    /// Source port, big endian.
    pub src_port_be: u16,
    /// Destination port, big endian.
    pub dst_port_be: u16,
}

impl FlowKey {
    /// The key of packets from `src` to `dst`.
    pub fn new(src: SocketAddr, dst: SocketAddr) -> Self {
        Self {
            src: address(src.ip()),
            dst: address(dst.ip()),
            src_port_be: src.port().to_be(),
            dst_port_be: dst.port().to_be(),
        }
    }

    /// Where its packets come from.
    pub fn from(&self) -> SocketAddr {
        SocketAddr::new(ip(self.src), u16::from_be(self.src_port_be))
    }

    /// Where its packets go to.
    pub fn to(&self) -> SocketAddr {
        SocketAddr::new(ip(self.dst), u16::from_be(self.dst_port_be))
    }
}

/// What the programs do with a packet of a flow.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowKind {
    /// Uplink: TC ⇄ gateway crossing this host; count and send on.
    Direct = 1,
    /// Uplink: count, rewrite to [`FlowAction`]'s addresses and send on.
    Steered = 2,
    /// Tap, from the VM: the bypassed VM's own media; count and drop.
    Guard = 3,
    /// Tap, both directions: media relayed by the VM; count and pass.
    Relay = 4,
    /// Uplink, to an anchor, whatever the source port (the key's is zero): drop, and
    /// tell the daemon, which may learn from it where a thin client behind a NAT sends
    /// from.
    Learn = 5,
}

/// Which way a flow goes, seen from the call. `*Vm` legs exist only for calls
/// on the `vm` path and for guarded media.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowLeg {
    /// From the gateway to the thin client.
    GatewayToTc = 1,
    /// From the thin client to the gateway.
    TcToGateway = 2,
    /// From the gateway to the VM.
    GatewayToVm = 3,
    /// From the VM to the gateway.
    VmToGateway = 4,
}

/// [`FlowAction::flags`]: RTCP; no RTP header is read.
pub const FLOW_RTCP: u8 = 1;
/// [`FlowAction::flags`]: steered packets leave as IPv6, whatever they came as.
pub const FLOW_TO_IPV6: u8 = 2;
/// [`FlowAction::flags`]: [`FlowAction::dscp`] is written into the packets.
pub const FLOW_DSCP: u8 = 4;

/// [`FlowAction::anchor_mac`] of a flow that no uplink turns around or forwards, since
/// its next hop is not the one that it came by, or is on this host: no frame with media is
/// sent to this (a group address), so that all pass to the VM's tap and are steered there.
pub const AT_TAP: [u8; 6] = [0x01, 0, 0, 0, 0, 0];

/// What to do with a flow. Replaced as a whole by the daemon; never written by
/// the programs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowAction {
    /// Index in the statistics array.
    pub stats: u32,
    /// Number of the call, as `sidestep calls` shows it.
    pub call: u32,
    /// A [`FlowKind`].
    pub kind: u8,
    /// A [`FlowLeg`].
    pub leg: u8,
    /// `FLOW_*` bits.
    pub flags: u8,
    /// With [`FLOW_DSCP`]: the DSCP, 0 to 63 (RFC 2474 §3).
    pub dscp: u8,
    /// RTP clock rate, Hz (8,000 to 192,000); jitter is measured in its units.
    pub clock_rate: u32,
    /// Steered: source and destination to write, one after the other as the IP
    /// header has them: 2 × 4 octets and zeros, or, with [`FLOW_TO_IPV6`], 2 × 16.
    pub new_addresses: [u8; 32],
    /// Steered: source port to write, big endian.
    pub new_src_port_be: u16,
    /// Steered: destination port to write, big endian.
    pub new_dst_port_be: u16,
    /// Steered: what the change of addresses adds to the one's complement sum
    /// that the IPv4 header's checksum is of (RFC 1624 §3: `~m + m'`), in the
    /// octets' order.
    pub addresses_change: u32,
    /// The same of addresses and ports, for UDP's checksum. The two pseudo-headers
    /// (RFC 768, RFC 8200 §8.1) differ in nothing else that counts.
    pub udp_change: u32,
    /// How often the flow has been given other addresses while its counters went on;
    /// the daemon's own.
    pub moves: u32,
    /// Steered, anchor at a bridged VM's address: the VM's MAC. A frame sent to
    /// it turns around on the interface it came in by, its MACs swapped. All
    /// zero where the host itself routes for the VM. [`AT_TAP`] where no uplink is to
    /// touch it.
    pub anchor_mac: [u8; 6],
    /// Zero. The programs read it together with `anchor_mac`.
    pub reserved: u16,
    /// When that was last, ns of bpf_ktime_get_ns; 0: never.
    pub moved_ns: u64,
}

impl FlowAction {
    /// Has packets of `key` rewritten to come from `src` and go to `dst`, which
    /// are of one IP version.
    pub fn rewrite(&mut self, key: &FlowKey, src: SocketAddr, dst: SocketAddr) {
        let mut new = [0; 32];
        self.flags &= !FLOW_TO_IPV6;
        match (src.ip(), dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                for (to, octet) in new.iter_mut().zip(src.octets().iter().chain(&dst.octets())) {
                    *to = *octet;
                }
            }
            (src, dst) => {
                self.flags |= FLOW_TO_IPV6;
                for (to, octet) in new.iter_mut().zip(address(src).iter().chain(&address(dst))) {
                    *to = *octet;
                }
            }
        }
        self.new_addresses = new;
        self.new_src_port_be = src.port().to_be();
        self.new_dst_port_be = dst.port().to_be();
        let addresses = |sum: u64, ip: IpAddr, sign: fn(u16) -> u16| match ip {
            IpAddr::V4(v4) => add(sum, &v4.octets(), sign),
            IpAddr::V6(v6) => add(sum, &v6.octets(), sign),
        };
        let mut change = 0;
        for old in [ip(key.src), ip(key.dst)] {
            change = addresses(change, old, |word| !word);
        }
        for new in [src.ip(), dst.ip()] {
            change = addresses(change, new, |word| word);
        }
        self.addresses_change = fold(change);
        for old in [key.src_port_be, key.dst_port_be] {
            change += u64::from(!old);
        }
        change += u64::from(self.new_src_port_be) + u64::from(self.new_dst_port_be);
        self.udp_change = fold(change);
    }

    /// Source and destination that steered packets leave with.
    pub fn rewritten(&self) -> (SocketAddr, SocketAddr) {
        let at = |start: usize| -> IpAddr {
            let octets = |from: usize| self.new_addresses.get(from..).and_then(<[u8]>::first_chunk);
            if self.flags & FLOW_TO_IPV6 != 0 {
                IpAddr::V6(Ipv6Addr::from(
                    octets(start * 16).copied().unwrap_or([0; 16]),
                ))
            } else {
                let v4 = self.new_addresses.get(start * 4..);
                let v4 = v4.and_then(<[u8]>::first_chunk).copied();
                IpAddr::V4(Ipv4Addr::from(v4.unwrap_or([0; 4])))
            }
        };
        (
            SocketAddr::new(at(0), u16::from_be(self.new_src_port_be)),
            SocketAddr::new(at(1), u16::from_be(self.new_dst_port_be)),
        )
    }
}

/// Adds `octets`, an even number of them, in words as they stand in memory.
fn add(mut sum: u64, octets: &[u8], sign: fn(u16) -> u16) -> u64 {
    for pair in octets.chunks_exact(2) {
        if let [a, b] = *pair {
            sum += u64::from(sign(u16::from_ne_bytes([a, b])));
        }
    }
    sum
}

/// To 16 bits.
fn fold(mut sum: u64) -> u32 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u32
}

// What the programs read in one go stands side by side.
const _: () = {
    assert!(size_of::<FlowKey>() == 36);
    assert!(size_of::<FlowAction>() == 80);
    assert!(offset_of!(FlowAction, new_dst_port_be) == offset_of!(FlowAction, new_src_port_be) + 2);
    assert!(offset_of!(FlowAction, reserved) == offset_of!(FlowAction, anchor_mac) + 6);
};

/// Statistics of a flow; written by the programs only. One five-tuple lives on
/// one receive queue, so a flow has one writer at a time.
///
/// What every RTP packet changes stands in the first 64 octets, a cache line.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowStats {
    /// Packets, all kinds.
    pub packets: u64,
    /// Octets of IP packets (header and payload).
    pub bytes: u64,
    /// bpf_ktime_get_ns (CLOCK_MONOTONIC) of the last RTP packet.
    pub last_rtp_ns: u64,
    /// Which of the 64 sequence numbers up to `max_seq` were seen; bit 0 is `max_seq`.
    pub seen: u64,
    /// Highest extended sequence number (cycles in the upper half).
    pub max_seq: u32,
    /// Current SSRC, host order.
    pub ssrc: u32,
    /// RFC 3550 A.8 jitter, in units of 1/16 of the clock's.
    pub jitter_q4: u32,
    /// RFC 3550 A.8 relative transit time of the last packet, clock units.
    pub transit: u32,
    /// Interface of the packets counted; a copy seen on another is not counted.
    pub ifindex: u32,
    /// Payload type of the last RTP packet.
    pub payload_type: u8,
    /// `STATE_*` bits.
    pub state: u8,
    /// After a jump too wide to be loss (RFC 3550 A.1): the sequence number that
    /// would prove that the source has started over.
    pub bad_seq: u16,
    /// RTP packets taken into account here, over all SSRCs. A single packet far
    /// out of sequence (RFC 3550 A.1: 3,000 ahead or 100 behind) is in `packets`
    /// only.
    pub rtp_packets: u64,

    /// bpf_ktime_get_ns of the first packet; 0: none yet.
    pub first_seen_ns: u64,
    /// The same of the last packet that was not RTP.
    pub last_other_ns: u64,
    /// RTP packets that came after a higher sequence number, and were new.
    pub late: u64,
    /// RTP packets whose sequence number had been seen (within the last 64).
    pub duplicate: u64,
    /// Sequence numbers expected under earlier SSRCs, or before the source
    /// started over (RFC 3550 A.3).
    pub expected_before: u64,
    /// First extended sequence number of this SSRC.
    pub base_seq: u32,
    /// Times the SSRC changed.
    pub ssrc_changes: u32,
    /// Times the payload type changed.
    pub payload_type_changes: u32,
    /// Times the order was broken: a late packet right after one that was not.
    pub reordered: u32,

    /// Octets of RTCP packets, as in `bytes`.
    pub rtcp_bytes: u64,
    /// RTCP packets.
    pub rtcp_packets: u32,
    /// Talk-spurts begun: RTP packets with the marker bit (RFC 3551 §4.1).
    pub talk_spurts: u32,
    /// Times more than [`GAP_NS`] passed between two RTP packets, unless the
    /// second began a talk-spurt.
    pub gaps: u32,
    /// The longest of them, ms.
    pub longest_gap_ms: u32,
    /// The last two sender reports: the middle 32 bits of each NTP timestamp
    /// (RFC 3550 §6.4.1), as the report's `LSR` has it.
    pub sr_ntp: [u32; 2],
    /// When they were seen, in [`SEEN_SHIFT`] units.
    pub sr_seen: [u32; 2],
    /// When the last report block was seen, in the same units; valid if
    /// [`STATE_REPORT`].
    pub report_seen: u32,
    /// Its fraction lost (upper 8 bits) and cumulative number lost.
    pub report_lost: u32,
    /// Its interarrival jitter, clock units.
    pub report_jitter: u32,
    /// Its last SR timestamp.
    pub report_lsr: u32,
    /// Its delay since last SR, in 1/65536 s.
    pub report_dlsr: u32,
    /// Its extended highest sequence number received.
    pub report_highest: u32,
    /// Zero: three cache lines in all.
    pub reserved: [u32; 2],
}

/// [`FlowStats::state`]: the last RTP packet was late.
pub const STATE_LATE: u8 = 1;
/// [`FlowStats::state`]: a report block has been seen.
pub const STATE_REPORT: u8 = 2;
/// [`FlowStats::state`]: the second of the two sender reports is the later.
pub const STATE_SECOND_SR: u8 = 4;

/// Longer than this between two RTP packets is a gap, ns.
pub const GAP_NS: u64 = 100_000_000;

/// Times of RTCP are kept as bpf_ktime_get_ns shifted right by this: 16.384 µs.
pub const SEEN_SHIFT: u32 = 14;

const _: () = assert!(offset_of!(FlowStats, first_seen_ns) == 64);
const _: () = assert!(size_of::<FlowStats>() == 192);

/// Address of an anchor port in use.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnchorKey {
    /// The anchor's address.
    pub addr: Address,
    /// The anchor's port, big endian.
    pub port_be: u16,
    /// Zero; in `FOREIGN_SEEN` the [`crate::counter::EventKind`] that was told.
    pub told: u16,
}

impl AnchorKey {
    /// The anchor at `at`.
    pub fn new(at: SocketAddr) -> Self {
        Self {
            addr: address(at.ip()),
            port_be: at.port().to_be(),
            told: 0,
        }
    }

    /// Where it is.
    pub fn at(&self) -> SocketAddr {
        SocketAddr::new(ip(self.addr), u16::from_be(self.port_be))
    }
}

/// Key of a VLAN on an uplink. By the uplink and the tags that its frames have there:
/// the host's interface in that VLAN. By that interface, and no tags: the uplink and the
/// tags.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VlanKey {
    /// Interface index.
    pub ifindex: u32,
    /// Up to two tags, outer first, as [`vlan_tag`] has them; zero: none.
    pub tags: [u32; 2],
}

/// The other end of it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vlan {
    /// Interface index.
    pub ifindex: u32,
    /// The tags that frames have on the uplink.
    pub tags: [u32; 2],
    /// MAC of the host's interface in the VLAN.
    pub mac: [u8; 6],
    /// Zero.
    pub reserved: u16,
}

/// A tag, as its four octets stand in a frame, without priority and drop eligibility
/// (IEEE 802.1Q): its type (0x8100, 0x88a8) and the VLAN's identifier (0 to 4095).
pub const fn vlan_tag(protocol: u16, id: u16) -> u32 {
    let [a, b] = protocol.to_be_bytes();
    let [c, d] = (id & 0xfff).to_be_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

impl FlowStats {
    /// bpf_ktime_get_ns of the last packet; 0: none yet.
    pub fn last_seen_ns(&self) -> u64 {
        self.last_rtp_ns.max(self.last_other_ns)
    }

    /// Sequence numbers expected so far, over all SSRCs (RFC 3550 A.3).
    pub fn expected(&self) -> u64 {
        if self.rtp_packets == 0 {
            return 0;
        }
        self.expected_before + u64::from(self.max_seq.wrapping_sub(self.base_seq)) + 1
    }

    /// RTP packets lost: expected, less those that came once. Never negative.
    pub fn lost(&self) -> u64 {
        self.expected()
            .saturating_sub(self.rtp_packets - self.duplicate.min(self.rtp_packets))
    }

    /// Jitter in milliseconds at `clock_rate` Hz.
    pub fn jitter_ms(&self, clock_rate: u32) -> f64 {
        if clock_rate == 0 {
            return 0.0;
        }
        f64::from(self.jitter_q4) / 16.0 * 1000.0 / f64::from(clock_rate)
    }
}

#[cfg(feature = "user")]
mod pod {
    use super::{AnchorKey, FlowStats, Vlan, VlanKey};

    // SAFETY: repr(C), no padding, every bit pattern is a value.
    unsafe impl aya::Pod for FlowStats {}
    // SAFETY: as above.
    unsafe impl aya::Pod for AnchorKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for VlanKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Vlan {}
}
