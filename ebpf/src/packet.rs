//! Frames as the programs read them: Ethernet, IPv4 without options, UDP or TCP, RTP.
//!
//! Without options every header stands at a constant offset, which keeps the
//! verifier's bounds checks few and the compiler from losing them.

use aya_ebpf::programs::{TcContext, XdpContext};
use sidestep_abi::flow::FlowKey;

use crate::{
    verdict::Refusal,
    wide::{first_6, load_4, load_8, store_4, store_8},
};

/// Ethernet II.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Ethernet {
    pub dst: [u8; 6],
    pub src: [u8; 6],
    pub ethertype_be: u16,
}

/// RFC 791 §3.1, no options.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Ipv4 {
    pub version_ihl: u8,
    pub tos: u8,
    pub total_len_be: u16,
    pub id_be: u16,
    pub fragment_be: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: u16,
    pub src_be: u32,
    pub dst_be: u32,
}

/// RFC 768.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Udp {
    pub src_port_be: u16,
    pub dst_port_be: u16,
    pub len_be: u16,
    pub checksum: u16,
}

/// RFC 9293 §3.1, without options.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Tcp {
    pub src_port_be: u16,
    pub dst_port_be: u16,
    pub seq_be: u32,
    pub ack_be: u32,
    pub data_offset: u8,
    pub flags: u8,
    pub window_be: u16,
    pub checksum: u16,
    pub urgent_be: u16,
}

/// RFC 3550 §5.1, the fixed header.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Rtp {
    pub version_flags: u8,
    pub marker_payload_type: u8,
    pub seq_be: u16,
    pub timestamp_be: u32,
    pub ssrc_be: u32,
}

/// RFC 3550 §6.4, what all RTCP packets start with.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Rtcp {
    pub version_flags: u8,
    pub packet_type: u8,
    pub length_be: u16,
    pub ssrc_be: u32,
}

const IPV4_AT: usize = size_of::<Ethernet>();
const UDP_AT: usize = IPV4_AT + size_of::<Ipv4>();
const RTP_AT: usize = UDP_AT + size_of::<Udp>();

/// What the programs read of a frame, at most.
const HEADERS_LEN: usize = RTP_AT + size_of::<Rtp>();
const _: () = assert!(UDP_AT + size_of::<Tcp>() <= HEADERS_LEN);

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_8021Q: u16 = 0x8100;
const ETHERTYPE_8021AD: u16 = 0x88a8;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const VERSION_4_IHL_5: u8 = 0x45;

/// The part of a frame that can be read directly, and the length of all of it.
#[derive(Clone, Copy)]
pub struct Window {
    data: usize,
    data_end: usize,
    len: usize,
}

impl Window {
    /// Of an XDP frame, which is linear.
    #[inline(always)]
    pub fn of_xdp(ctx: &XdpContext) -> Self {
        let (data, data_end) = (ctx.data(), ctx.data_end());
        Self {
            data,
            data_end,
            len: data_end - data,
        }
    }

    /// Of an skb, whose headers are pulled into its linear part if they are not
    /// there. Pointers of an earlier window are void afterwards.
    #[inline(always)]
    pub fn of_skb(ctx: &TcContext) -> Result<Self, Refusal> {
        let len = ctx.len() as usize;
        let wanted = if len < HEADERS_LEN { len } else { HEADERS_LEN };
        if ctx.data() + wanted > ctx.data_end() && ctx.pull_data(wanted as u32).is_err() {
            return Err(Refusal::KernelRefused);
        }
        Ok(Self {
            data: ctx.data(),
            data_end: ctx.data_end(),
            len,
        })
    }

    /// A header at a constant offset, if the frame has it whole.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        if self.data + offset + size_of::<T>() > self.data_end {
            return None;
        }
        Some((self.data + offset) as *mut T)
    }
}

/// An Ethernet frame with IPv4 in it, bounds checked.
#[derive(Clone, Copy)]
pub struct Frame {
    eth: *mut Ethernet,
    ip: *mut Ipv4,
}

/// Where a packet stands in its datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fragment {
    /// It is all of it.
    Whole,
    /// The first fragment: it has the UDP header.
    First,
    /// A later one: it has no ports.
    Later,
}

impl Frame {
    /// Ethernet and the 20 octets of IPv4 that every packet has.
    #[inline(always)]
    pub fn ipv4(window: &Window) -> Result<Self, Refusal> {
        let Some(eth) = window.at::<Ethernet>(0) else {
            return Err(Refusal::Truncated);
        };
        // SAFETY: `at` checked the bounds; frames start on even addresses.
        match u16::from_be(unsafe { (*eth).ethertype_be }) {
            ETHERTYPE_IPV4 => {}
            ETHERTYPE_8021Q | ETHERTYPE_8021AD => return Err(Refusal::Tagged),
            _ => return Err(Refusal::NotOurs),
        }
        let Some(ip) = window.at::<Ipv4>(IPV4_AT) else {
            return Err(Refusal::Truncated);
        };
        Ok(Self { eth, ip })
    }

    /// The destination, in the order of its octets, and two octets of zero.
    #[inline(always)]
    pub fn dst_mac(&self) -> u64 {
        // SAFETY: the source's first two octets follow it, within bounds.
        first_6(unsafe { load_8(self.eth.cast_const()) })
    }

    /// Other MACs. (Octet by octet: assigning arrays would call `memmove`.)
    #[inline(always)]
    pub fn set_macs(&mut self, dst: &[u8; 6], src: &[u8; 6]) {
        // SAFETY: bounds checked by `ipv4`, which is the only way to a Frame.
        let eth = unsafe { &mut *self.eth };
        let [a, b, c, d, e, f] = *dst;
        eth.dst = [a, b, c, d, e, f];
        let [a, b, c, d, e, f] = *src;
        eth.src = [a, b, c, d, e, f];
    }

    /// Back to where it came from.
    #[inline(always)]
    pub fn swap_macs(&mut self) {
        let macs = self.eth.cast::<[[u16; 3]; 2]>();
        // SAFETY: destination and source are the first twelve octets of Ethernet,
        // which is aligned to two.
        unsafe {
            let [dst, src] = *macs;
            *macs = [src, dst];
        }
    }

    #[inline(always)]
    pub fn eth(&self) -> &Ethernet {
        // SAFETY: bounds checked by `ipv4`, which is the only way to a Frame.
        unsafe { &*self.eth }
    }

    #[inline(always)]
    pub fn ip_mut(&mut self) -> &mut Ipv4 {
        // SAFETY: as for `eth`.
        unsafe { &mut *self.ip }
    }

    #[inline(always)]
    pub fn ip(&self) -> &Ipv4 {
        // SAFETY: as for `eth`.
        unsafe { &*self.ip }
    }

    /// Whether TCP is in it.
    #[inline(always)]
    pub fn is_tcp(&self) -> bool {
        self.ip().protocol == PROTOCOL_TCP
    }

    /// Whether this is UDP with a plain header, as long as it says it is, and
    /// which part of its datagram.
    #[inline(always)]
    pub fn udp_fragment(&self, window: &Window) -> Result<Fragment, Refusal> {
        if self.ip().protocol != PROTOCOL_UDP {
            return Err(Refusal::NotOurs);
        }
        self.fragment(window)
    }

    /// Whether the header of IPv4 is plain and the packet as long as it says, and
    /// which part of its datagram it is.
    #[inline(always)]
    pub fn fragment(&self, window: &Window) -> Result<Fragment, Refusal> {
        let ip = self.ip();
        if ip.version_ihl != VERSION_4_IHL_5 {
            return Err(match (ip.version_ihl >> 4, ip.version_ihl & 0xf) {
                (4, 6..) => Refusal::IpOptions,
                (4, _) => Refusal::Truncated,
                _ => Refusal::NotOurs,
            });
        }
        let total_len = u16::from_be(ip.total_len_be) as usize;
        if total_len < size_of::<Ipv4>() || window.len < IPV4_AT + total_len {
            return Err(Refusal::Truncated);
        }
        // RFC 791 §3.1: DF, MF, 13 bits of offset.
        let fragment = u16::from_be(ip.fragment_be);
        Ok(if fragment & 0x1fff != 0 {
            Fragment::Later
        } else if fragment & 0x2000 != 0 {
            Fragment::First
        } else {
            Fragment::Whole
        })
    }

    /// The UDP header of a packet that is not a later fragment.
    #[inline(always)]
    pub fn udp(self, window: &Window) -> Result<Datagram, Refusal> {
        let Some(udp) = window.at::<Udp>(UDP_AT) else {
            return Err(Refusal::Truncated);
        };
        if (u16::from_be(self.ip().total_len_be) as usize) < size_of::<Ipv4>() + size_of::<Udp>() {
            return Err(Refusal::Truncated);
        }
        Ok(Datagram { frame: self, udp })
    }

    /// The TCP header of a packet that is not a later fragment.
    #[inline(always)]
    pub fn tcp(self, window: &Window) -> Result<Segment, Refusal> {
        let Some(tcp) = window.at::<Tcp>(UDP_AT) else {
            return Err(Refusal::Truncated);
        };
        if (u16::from_be(self.ip().total_len_be) as usize) < size_of::<Ipv4>() + size_of::<Tcp>() {
            return Err(Refusal::Truncated);
        }
        Ok(Segment { frame: self, tcp })
    }
}

/// A TCP segment over IPv4, or its first fragment, bounds checked.
#[derive(Clone, Copy)]
pub struct Segment {
    pub frame: Frame,
    tcp: *mut Tcp,
}

impl Segment {
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    #[inline(always)]
    pub fn tcp(&self) -> &Tcp {
        // SAFETY: bounds checked by `Frame::tcp`, the only way to a Segment.
        unsafe { &*self.tcp }
    }

    /// The first segment of a connection (RFC 9293 §3.5).
    #[inline(always)]
    pub fn opens(&self) -> bool {
        self.tcp().flags & (Self::SYN | Self::ACK | Self::RST) == Self::SYN
    }

    /// It ends the connection at once (RFC 9293 §3.5.2).
    #[inline(always)]
    pub fn resets(&self) -> bool {
        self.tcp().flags & Self::RST != 0
    }
}

/// A UDP datagram over IPv4, or the first fragment of one, bounds checked.
#[derive(Clone, Copy)]
pub struct Datagram {
    pub frame: Frame,
    udp: *mut Udp,
}

/// A five-tuple as two words: what [`FlowKey`] is in memory, and as it stands in
/// the packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Key {
    /// Source, then destination.
    pub addresses: u64,
    /// Source, then destination.
    pub ports: u32,
}

impl Key {
    /// The same, field by field.
    #[inline(always)]
    pub fn flow(&self) -> &FlowKey {
        const { assert!(size_of::<FlowKey>() == 12 && size_of::<Self>() >= 12) };
        // SAFETY: both are two addresses and two ports without padding before
        // their end, and a Key is aligned more strictly.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }
}

/// What a media packet carries (RFC 3550 §5.1, RFC 5761 §4).
#[derive(Clone, Copy)]
pub enum Payload {
    /// RTP version 2.
    Rtp(*const Rtp),
    /// RTCP on the port of RTP.
    Rtcp,
    /// Neither.
    Other,
}

impl Datagram {
    #[inline(always)]
    pub fn udp_mut(&mut self) -> &mut Udp {
        // SAFETY: bounds checked by `Frame::udp`, the only way to a Datagram.
        unsafe { &mut *self.udp }
    }

    #[inline(always)]
    pub fn udp(&self) -> &Udp {
        // SAFETY: as above.
        unsafe { &*self.udp }
    }

    /// The five-tuple.
    #[inline(always)]
    pub fn key(&self) -> Key {
        let ip = self.frame.ip;
        // SAFETY: the addresses end the IP header, the ports begin the UDP one,
        // both within bounds.
        unsafe {
            Key {
                addresses: load_8(&raw const (*ip).src_be),
                ports: load_4(self.udp.cast_const()),
            }
        }
    }

    /// Other addresses and ports, in the octets' order of [`Key`].
    #[inline(always)]
    pub fn readdress(&mut self, addresses: u64, ports: u32) {
        // SAFETY: as for `key`; `self` is the only way to them.
        unsafe {
            store_8(&raw mut (*self.frame.ip).src_be, addresses);
            store_4(self.udp, ports);
        }
    }

    /// What it carries. Packet types 192–223 in the second octet are RTCP
    /// (RFC 5761 §4): RTP payload types 64–95 with the marker bit are not used.
    #[inline(always)]
    pub fn payload(&self, window: &Window) -> Payload {
        let len = (u16::from_be(self.udp().len_be) as usize).saturating_sub(size_of::<Udp>());
        // The shortest RTCP packet is shorter than RTP's header.
        let Some(rtcp) = window.at::<Rtcp>(RTP_AT) else {
            return Payload::Other;
        };
        // SAFETY: `at` checked the bounds.
        let (first, second) = unsafe { ((*rtcp).version_flags, (*rtcp).packet_type) };
        if first >> 6 != 2 || len < size_of::<Rtcp>() {
            return Payload::Other;
        }
        if (192..=223).contains(&second) {
            return Payload::Rtcp;
        }
        match window.at::<Rtp>(RTP_AT) {
            Some(rtp) if len >= size_of::<Rtp>() => Payload::Rtp(rtp),
            _ => Payload::Other,
        }
    }
}
