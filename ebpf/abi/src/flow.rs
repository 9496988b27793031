//! Media flows: one entry per direction and transport address pair.

use core::mem::offset_of;

/// Exact five-tuple (the protocol is UDP) of an IPv4 media flow, as the packet
/// has it when it meets the program. One exception: the source port of a guard
/// ([`FlowKind::Guard`]) may be zero, for all of the VM's ports, until the VM has
/// said which one it uses.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Source address, big endian.
    pub src_be: u32,
    /// Destination address, big endian.
    pub dst_be: u32,
    /// Source port, big endian.
    pub src_port_be: u16,
    /// Destination port, big endian.
    pub dst_port_be: u16,
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

/// [`FlowAction::flags`]: RTCP; packets and bytes are counted, no RTP header read.
pub const FLOW_RTCP: u8 = 1;

/// What to do with a flow. Replaced as a whole by the daemon; never written by
/// the programs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Zero.
    pub reserved: u8,
    /// RTP clock rate, Hz (8,000 to 192,000); jitter is measured in its units.
    pub clock_rate: u32,
    /// Steered: source address to write, big endian.
    pub new_src_be: u32,
    /// Steered: destination address to write, big endian.
    pub new_dst_be: u32,
    /// Steered: source port to write, big endian.
    pub new_src_port_be: u16,
    /// Steered: destination port to write, big endian.
    pub new_dst_port_be: u16,
    /// Steered, anchor at a bridged VM's address: the VM's MAC. A frame sent to
    /// it turns around on the interface it came in by, its MACs swapped. All
    /// zero where the host itself routes for the VM.
    pub anchor_mac: [u8; 6],
    /// Zero. The programs read it together with `anchor_mac`.
    pub reserved2: u16,
}

// What the programs read in one go stands side by side.
const _: () = {
    assert!(size_of::<FlowKey>() == 12);
    assert!(size_of::<FlowAction>() == 36);
    assert!(offset_of!(FlowAction, new_dst_be) == offset_of!(FlowAction, new_src_be) + 4);
    assert!(offset_of!(FlowAction, new_dst_port_be) == offset_of!(FlowAction, new_src_port_be) + 2);
    assert!(offset_of!(FlowAction, reserved2) == offset_of!(FlowAction, anchor_mac) + 6);
};

/// Statistics of a flow; written by the programs only. One five-tuple lives on
/// one receive queue, so a flow has one writer at a time.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowStats {
    /// Packets, all kinds.
    pub packets: u64,
    /// Octets of IP packets (header and payload).
    pub bytes: u64,
    /// bpf_ktime_get_ns (CLOCK_MONOTONIC) of the first packet; 0: none yet.
    pub first_seen_ns: u64,
    /// The same of the last packet.
    pub last_seen_ns: u64,
    /// RTP packets taken into account below, over all SSRCs. A single packet far
    /// out of sequence (RFC 3550 A.1: 3,000 ahead or 100 behind) is in `packets`
    /// only.
    pub rtp_packets: u64,
    /// RTP packets that came after a higher sequence number, and were new.
    pub late: u64,
    /// RTP packets whose sequence number had been seen (within the last 64).
    pub duplicate: u64,
    /// Sequence numbers expected under earlier SSRCs, or before the source
    /// started over (RFC 3550 A.3).
    pub expected_before: u64,
    /// Which of the 64 sequence numbers up to `max_seq` were seen; bit 0 is `max_seq`.
    pub seen: u64,
    /// First extended sequence number of this SSRC.
    pub base_seq: u32,
    /// Highest extended sequence number (cycles in the upper half).
    pub max_seq: u32,
    /// Current SSRC, host order.
    pub ssrc: u32,
    /// Times the SSRC changed.
    pub ssrc_changes: u32,
    /// RFC 3550 A.8 jitter, in units of 1/16 of the clock's.
    pub jitter_q4: u32,
    /// RFC 3550 A.8 relative transit time of the last packet, clock units.
    pub transit: u32,
    /// Interface of the packets counted; a copy seen on another is not counted.
    pub ifindex: u32,
    /// Payload type of the last RTP packet.
    pub payload_type: u8,
    /// Times the payload type changed.
    pub payload_type_changes: u8,
    /// After a jump too wide to be loss (RFC 3550 A.1): the sequence number that
    /// would prove that the source has started over.
    pub bad_seq: u16,
}

/// Address of an anchor port in use.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnchorKey {
    /// The anchor's address, big endian.
    pub addr_be: u32,
    /// The anchor's port, big endian.
    pub port_be: u16,
    /// Zero.
    pub reserved: u16,
}

impl FlowStats {
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
    use super::{AnchorKey, FlowAction, FlowKey, FlowStats};

    // SAFETY: repr(C), no padding, every bit pattern is a value.
    unsafe impl aya::Pod for FlowKey {}
    // SAFETY: as above; `kind` and `leg` are plain bytes, not enums.
    unsafe impl aya::Pod for FlowAction {}
    // SAFETY: as above.
    unsafe impl aya::Pod for FlowStats {}
    // SAFETY: as above.
    unsafe impl aya::Pod for AnchorKey {}
}
