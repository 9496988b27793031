//! Frames as the programs read them: Ethernet with up to two tags, IPv4 without
//! options or IPv6 without extension headers, UDP or TCP, RTP.
//!
//! Each header stands at an offset that is a constant wherever the verifier gets
//! to it, which keeps its bounds checks few and the compiler from losing them.

use aya_ebpf::programs::{TcContext, XdpContext};
use sidestep_abi::flow::{Address, FlowAction, FlowKey};

use crate::{
    flows::{self, Asked},
    rewrite::fold,
    verdict::Refusal,
    wide::{first_6, load_4, load_8, store_4, store_8},
};

mod ipv4;
mod ipv6;
mod media;

pub use ipv4::{Ipv4, VERSION_4_IHL_5, mapped};
pub use ipv6::Ipv6;
pub use media::{Payload, ReportBlock, Rtp, SenderReport};

/// Of a network card.
pub type Mac = [u8; 6];

/// Ethernet II.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Ethernet {
    pub dst: [u8; 6],
    pub src: [u8; 6],
    pub ethertype_be: u16,
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

/// The common header of RFC 9260 §3.1, and the type of the first chunk.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Sctp {
    pub src_port_be: u16,
    pub dst_port_be: u16,
    pub tag_be: u32,
    pub checksum: u32,
    pub chunk: u8,
    pub chunk_flags: u8,
}

/// Where IP begins in a frame without tags.
pub const UNTAGGED: usize = size_of::<Ethernet>();

/// What the programs read of an skb, at most: tags stand beside it, but one of
/// two.
const HEADERS_LEN: usize = UNTAGGED
    + 4
    + size_of::<Ipv6>()
    + size_of::<ipv6::FragmentHeader>()
    + size_of::<Udp>()
    + size_of::<SenderReport>()
    + size_of::<ReportBlock>();

/// The protocols that are looked into.
pub const PROTOCOL_SCTP: u8 = 132;
pub const PROTOCOL_TCP: u8 = 6;
pub const PROTOCOL_UDP: u8 = 17;

/// What is in a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Ipv4,
    Ipv6,
    /// A tag of four octets, then more.
    Tag,
    Other,
}

impl Content {
    #[inline(always)]
    pub const fn of(ethertype_be: u16) -> Self {
        match u16::from_be(ethertype_be) {
            0x0800 => Self::Ipv4,
            0x86dd => Self::Ipv6,
            0x8100 | 0x88a8 => Self::Tag,
            _ => Self::Other,
        }
    }
}

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

    /// A header at an offset, if the frame has it whole.
    #[inline(always)]
    pub fn at<T>(&self, offset: usize) -> Option<*mut T> {
        if self.data + offset + size_of::<T>() > self.data_end {
            return None;
        }
        Some((self.data + offset) as *mut T)
    }

    /// The frame's octets.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.len
    }
}

/// An Ethernet frame, bounds checked.
#[derive(Clone, Copy)]
pub struct Frame {
    eth: *mut Ethernet,
}

impl Frame {
    #[inline(always)]
    pub fn of(window: &Window) -> Result<Self, Refusal> {
        match window.at::<Ethernet>(0) {
            Some(eth) => Ok(Self { eth }),
            None => Err(Refusal::Truncated),
        }
    }

    #[inline(always)]
    pub fn content(&self) -> Content {
        Content::of(self.eth().ethertype_be)
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
        // SAFETY: bounds checked by `of`, which is the only way to a Frame.
        let eth = unsafe { &mut *self.eth };
        let [a, b, c, d, e, f] = *dst;
        eth.dst = [a, b, c, d, e, f];
        let [a, b, c, d, e, f] = *src;
        eth.src = [a, b, c, d, e, f];
    }

    /// Another IP version.
    #[inline(always)]
    pub fn set_content(&mut self, is_ipv6: bool) {
        // SAFETY: bounds checked by `of`, which is the only way to a Frame.
        let eth = unsafe { &mut *self.eth };
        eth.ethertype_be = if is_ipv6 { 0x86ddu16 } else { 0x0800 }.to_be();
    }

    /// Back to where it came from.
    #[inline(always)]
    pub fn swap_macs(&mut self) {
        let end = self.eth.cast::<u8>().wrapping_add(8);
        // SAFETY: destination and source are the first twelve octets of Ethernet.
        unsafe {
            let [a, b, c, d, e, f, g, h] = load_8(self.eth.cast_const()).to_ne_bytes();
            let [i, j, k, l] = load_4(end.cast_const()).to_ne_bytes();
            store_8(self.eth, u64::from_ne_bytes([g, h, i, j, k, l, a, b]));
            store_4(end, u32::from_ne_bytes([c, d, e, f]));
        }
    }

    #[inline(always)]
    pub fn eth(&self) -> &Ethernet {
        // SAFETY: bounds checked by `of`, which is the only way to a Frame.
        unsafe { &*self.eth }
    }

    /// The IP header at `l3`, and the packet behind it as far as the frame has it.
    #[inline(always)]
    pub fn packet<I: Ip>(self, window: &Window, l3: usize) -> Result<Packet<I>, Refusal> {
        match window.at::<I>(l3) {
            Some(ip) => Ok(Packet {
                frame: self,
                l3,
                ip,
            }),
            None => Err(Refusal::Truncated),
        }
    }
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

/// A packet of UDP or TCP, or a fragment of one, as long as it says it is.
#[derive(Clone, Copy)]
pub struct Parsed {
    pub protocol: u8,
    pub fragment: Fragment,
    /// Offset of the protocol's header, unless it is a later fragment.
    pub l4: usize,
    /// Identification of a fragment, big endian.
    pub id_be: u32,
}

impl Parsed {
    /// A packet that has been found to be UDP, whole and plain.
    #[inline(always)]
    pub const fn whole<I: Ip>(l3: usize) -> Self {
        Self {
            fragment: Fragment::Whole,
            protocol: PROTOCOL_UDP,
            l4: l3 + size_of::<I>(),
            id_be: 0,
        }
    }
}

/// What the two versions of IP have in common.
pub trait Ip: Copy {
    /// A five-tuple as the packets have it, and as the flow map does.
    type Key: FiveTuple;

    /// Whether this is IPv6.
    const IS_IPV6: bool;

    /// Octets of the packet, header included.
    fn octets(&self) -> usize;

    /// Whether TCP is in it, and nothing between.
    fn is_tcp(&self) -> bool;

    /// Whether SCTP is in it, and nothing between.
    fn is_sctp(&self) -> bool;

    /// The protocol that errors about this version come by.
    const ERRORS: u8;

    /// Whether an ICMP message of this type is an error about a packet in it.
    fn is_error(kind: u8) -> bool;

    /// Whether ICMP is in it, and nothing between.
    fn is_icmp(&self) -> bool;

    /// Whether UDP is right behind a plain header, in a first or only fragment.
    fn is_plain_udp(&self) -> bool;

    /// The five-tuple of what comes the other way.
    ///
    /// # Safety
    ///
    /// Both headers are within bounds.
    unsafe fn reverse_key(ip: *const Self, udp: *const Udp) -> Self::Key;

    /// The header's own checksum, if it has one.
    fn header_checksum(&self) -> u16;

    /// The sum of the complements of both addresses' words.
    fn addresses_complement(&self) -> u16;

    /// Addresses in the order of the header, the other way round.
    fn swapped(addresses: &[u8; 32]) -> [u8; 32];

    /// Looks at the header: is it this protocol, and can it be understood?
    fn parse(&self, window: &Window, l3: usize, protocol: u8) -> Result<Parsed, Refusal>;

    /// The five-tuple.
    ///
    /// # Safety
    ///
    /// Both headers are within bounds.
    unsafe fn key(ip: *const Self, udp: *const Udp) -> Self::Key;

    /// Source address.
    fn src(&self) -> Address;

    /// Destination address.
    fn dst(&self) -> Address;

    /// Time to live, or hop limit.
    fn hops(&self) -> u8;

    /// One hop further; at least one must be left.
    fn take_hop(&mut self);

    /// TOS octet (RFC 2474), or traffic class.
    fn traffic_class(&self) -> u8;

    /// Another DSCP; the other two bits stay (RFC 3168).
    fn set_dscp(&mut self, dscp: u8);

    /// Other addresses, in the order of the header, and so many hops further;
    /// `change` is what the addresses add to a checksum over them.
    fn readdress(&mut self, addresses: &[u8; 32], change: u32, hops: u8);
}

/// A five-tuple.
pub trait FiveTuple: Asked + Copy {
    /// The same as userspace has it.
    fn flow(&self) -> FlowKey;

    /// What is to be done with the flow.
    #[inline(always)]
    fn action(&self) -> Option<&'static FlowAction> {
        flows::action_apart(self)
    }

    /// The same in line, for the hot path.
    #[inline(always)]
    fn hot_action(&self) -> Option<&'static FlowAction> {
        flows::action(self)
    }

    /// The same, whatever the source port.
    fn with_any_source_port(self) -> Self;

    /// Source port, big endian.
    fn src_port_be(&self) -> u16;

    /// Destination port, big endian.
    fn dst_port_be(&self) -> u16;
}

/// Source and destination port, then which version of IP it is, as in a record's key.
#[inline(always)]
const fn with_version(ports: u32, version: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (ports.to_ne_bytes(), version.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// Source and destination port, the source's zero.
#[inline(always)]
const fn without_source(ports: u32) -> u32 {
    let [_, _, c, d] = ports.to_ne_bytes();
    u32::from_ne_bytes([0, 0, c, d])
}

/// A frame with an IP header in it, bounds checked.
#[derive(Clone, Copy)]
pub struct Packet<I> {
    pub frame: Frame,
    l3: usize,
    ip: *mut I,
}

impl<I: Ip> Packet<I> {
    #[inline(always)]
    pub fn ip_mut(&mut self) -> &mut I {
        // SAFETY: bounds checked by `Frame::packet`, the only way to a Packet.
        unsafe { &mut *self.ip }
    }

    #[inline(always)]
    pub fn ip(&self) -> &I {
        // SAFETY: as above.
        unsafe { &*self.ip }
    }

    /// Whether this is UDP, and which part of its datagram.
    #[inline(always)]
    pub fn parse(&self, window: &Window) -> Result<Parsed, Refusal> {
        self.ip().parse(window, self.l3, PROTOCOL_UDP)
    }

    /// Whether this is TCP, and which part of its datagram.
    #[inline(always)]
    pub fn parse_tcp(&self, window: &Window) -> Result<Parsed, Refusal> {
        self.ip().parse(window, self.l3, PROTOCOL_TCP)
    }

    /// Whether this is SCTP, and which part of its datagram.
    #[inline(always)]
    pub fn parse_sctp(&self, window: &Window) -> Result<Parsed, Refusal> {
        self.ip().parse(window, self.l3, PROTOCOL_SCTP)
    }

    /// The SCTP header of a packet that is not a later fragment.
    #[inline(always)]
    pub fn sctp(&self, window: &Window, parsed: &Parsed) -> Result<&'static Sctp, Refusal> {
        match window.at::<Sctp>(parsed.l4) {
            // SAFETY: bounds checked by `at`; it is read before the packet can move.
            Some(sctp) => Ok(unsafe { &*sctp }),
            None => Err(Refusal::Truncated),
        }
    }

    /// Whether this is ICMP, and which part of its datagram.
    #[inline(always)]
    pub fn parse_error(&self, window: &Window) -> Result<Parsed, Refusal> {
        self.ip().parse(window, self.l3, I::ERRORS)
    }

    /// The TCP header of a packet that is not a later fragment.
    #[inline(always)]
    pub fn tcp(self, window: &Window, parsed: &Parsed) -> Result<Segment<I>, Refusal> {
        let Some(tcp) = window.at::<Tcp>(parsed.l4) else {
            return Err(Refusal::Truncated);
        };
        if self.l3 + self.ip().octets() < parsed.l4 + size_of::<Tcp>() {
            return Err(Refusal::Truncated);
        }
        Ok(Segment { packet: self, tcp })
    }

    /// The UDP header of a packet that is not a later fragment.
    #[inline(always)]
    pub fn udp(self, window: &Window, parsed: &Parsed) -> Result<Datagram<I>, Refusal> {
        let Some(udp) = window.at::<Udp>(parsed.l4) else {
            return Err(Refusal::Truncated);
        };
        if self.l3 + self.ip().octets() < parsed.l4 + size_of::<Udp>() {
            return Err(Refusal::Truncated);
        }
        Ok(Datagram {
            packet: self,
            udp,
            payload_at: parsed.l4 + size_of::<Udp>(),
        })
    }
}

/// A TCP segment, or its first fragment, bounds checked.
#[derive(Clone, Copy)]
pub struct Segment<I> {
    pub packet: Packet<I>,
    tcp: *mut Tcp,
}

impl<I: Ip> Segment<I> {
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    #[inline(always)]
    pub fn tcp(&self) -> &Tcp {
        // SAFETY: bounds checked by `Packet::tcp`, the only way to a Segment.
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

/// A UDP datagram, or the first fragment of one, bounds checked.
#[derive(Clone, Copy)]
pub struct Datagram<I> {
    pub packet: Packet<I>,
    udp: *mut Udp,
    payload_at: usize,
}

impl<I: Ip> Datagram<I> {
    /// Whether its checksum is still to be made: a sender on this host that leaves it to
    /// its card puts the sum of the pseudo-header there (Linux's CHECKSUM_PARTIAL), which is
    /// all that an XDP program sees of that. One whole packet in 65,536 looks the same.
    #[inline(always)]
    pub fn is_unfinished(&self) -> bool {
        let pseudo = u64::from(!self.packet.ip().addresses_complement())
            + u64::from(self.udp().len_be)
            + u64::from(u16::from_ne_bytes([0, PROTOCOL_UDP]));
        self.udp().checksum == fold(pseudo)
    }

    #[inline(always)]
    pub fn udp_mut(&mut self) -> &mut Udp {
        // SAFETY: bounds checked by `Packet::udp`, the only way to a Datagram.
        unsafe { &mut *self.udp }
    }

    #[inline(always)]
    pub fn udp(&self) -> &Udp {
        // SAFETY: as above.
        unsafe { &*self.udp }
    }

    /// The five-tuple.
    #[inline(always)]
    pub fn key(&self) -> I::Key {
        // SAFETY: both are within bounds, see `Frame::packet` and `Packet::udp`.
        unsafe { I::key(self.packet.ip, self.udp) }
    }
}
