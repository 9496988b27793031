//! Steered packets that change their IP version (RFC 7915 §4.1, §5.1): another
//! header in the place of the old one, twenty octets longer or shorter.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_check_mtu, bpf_skb_load_bytes, bpf_xdp_adjust_head, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use sidestep_abi::flow::FlowAction;

use crate::{
    packet::{Ip, Ipv4, Ipv6, PROTOCOL_UDP, UNTAGGED, Udp, VERSION_4_IHL_5, Window},
    rewrite::{self, Hop, fold},
    verdict::Refusal,
    wide::{load_4, load_8, opaque, store_4, store_8},
};

pub const LONGER: i32 = (size_of::<Ipv6>() - size_of::<Ipv4>()) as i32;

/// A datagram without a checksum is summed up to this length, UDP header
/// included: 1,500 octets of IPv4.
const SUMMED: usize = 1_480;

/// In pieces of this length.
const PIECE: usize = 64;

/// A packet whose octets can be copied.
pub trait Octets {
    /// Copies `len` octets from `at` on; false: it has not so many.
    ///
    /// # Safety
    ///
    /// There is room for them.
    unsafe fn copy(&self, at: usize, to: *mut u8, len: usize) -> bool;
}

impl Octets for XdpContext {
    #[inline(always)]
    unsafe fn copy(&self, at: usize, to: *mut u8, len: usize) -> bool {
        // SAFETY: by the caller's word.
        unsafe { bpf_xdp_load_bytes(self.ctx, at as u32, to.cast(), len as u32) >= 0 }
    }
}

impl Octets for TcContext {
    #[inline(always)]
    unsafe fn copy(&self, at: usize, to: *mut u8, len: usize) -> bool {
        // SAFETY: by the caller's word.
        unsafe { bpf_skb_load_bytes(self.as_ptr(), at as u32, to.cast(), len as u32) >= 0 }
    }
}

/// MACs and tags.
#[derive(Clone, Copy)]
pub struct Link {
    macs: u64,
    macs_end: u32,
    tags: u64,
}

impl Link {
    #[inline(always)]
    pub fn read(window: &Window, l3: usize) -> Option<Self> {
        let start = window.at::<[u8; UNTAGGED]>(0)?.cast_const().cast::<u8>();
        // SAFETY: `at` checked the bounds, here and of the tags.
        unsafe {
            Some(Self {
                macs: load_8(start),
                macs_end: load_4(start.add(8)),
                tags: match l3 - UNTAGGED {
                    4 => u64::from(load_4(window.at::<[u8; 4]>(12)?)),
                    8 => load_8(window.at::<[u8; 8]>(12)?),
                    _ => 0,
                },
            })
        }
    }

    #[inline(always)]
    pub fn write(&self, window: &Window, l3: usize, ethertype: u16) -> Option<()> {
        let start = window.at::<[u8; UNTAGGED]>(0)?.cast::<u8>();
        // SAFETY: as for `read`.
        unsafe {
            store_8(start, self.macs);
            store_4(start.add(8), self.macs_end);
            match l3 - UNTAGGED {
                4 => store_4(window.at::<[u8; 4]>(12)?, self.tags as u32),
                8 => store_8(window.at::<[u8; 8]>(12)?, self.tags),
                _ => {}
            }
            *window.at::<u16>(l3 - 2)? = ethertype.to_be();
        }
        Some(())
    }
}

/// From IPv4 to IPv6. Its IP begins at `l3`; it is whole UDP, and its TTL above 1
/// where a hop is taken.
#[inline(never)]
pub fn to_ipv6(ctx: &XdpContext, l3: usize, action: &FlowAction, hop: Hop) -> Result<(), Refusal> {
    let window = Window::of_xdp(ctx);
    let udp_at = l3 + size_of::<Ipv4>();
    let (Some(link), Some(ip), Some(udp)) = (
        Link::read(&window, l3),
        window.at::<Ipv4>(l3),
        window.at::<Udp>(udp_at),
    ) else {
        return Err(Refusal::Truncated);
    };
    // SAFETY: `at` checked the bounds.
    let (ip, udp) = unsafe { (*ip, *udp) };
    let checksum = if udp.checksum != 0 {
        udp.checksum
    } else {
        made(ctx, &ip, udp_at)?
    };

    let mut mtu = 0u32;
    // SAFETY: the pointers are to live memory; interface 0 is the frame's own.
    let fits = unsafe { bpf_check_mtu(ctx.as_ptr().cast(), 0, &raw mut mtu, LONGER, 0) };
    if fits > 0 {
        return Err(Refusal::TooBig);
    }
    grow(ctx, -LONGER)?;

    let window = Window::of_xdp(ctx);
    let (Some(()), Some(new_ip), Some(new_udp)) = (
        link.write(&window, l3, 0x86dd),
        window.at::<Ipv6>(l3),
        window.at::<Udp>(l3 + size_of::<Ipv6>()),
    ) else {
        return Err(Refusal::Truncated);
    };
    // SAFETY: `at` checked the bounds, and nothing else refers to the packet.
    let (new_ip, new_udp) = unsafe { (&mut *new_ip, &mut *new_udp) };
    let len = (ip.octets() as u16).wrapping_sub(size_of::<Ipv4>() as u16);
    let addresses = &action.new_addresses;
    ipv6_header(
        new_ip,
        ip.tos,
        len,
        ip.ttl,
        PROTOCOL_UDP,
        addresses,
        hop as u8,
    );
    put_udp(new_udp, action, checksum);
    Ok(())
}

/// From IPv6 to IPv4. As [`to_ipv6`].
#[inline(never)]
pub fn to_ipv4(ctx: &XdpContext, l3: usize, action: &FlowAction, hop: Hop) -> Result<(), Refusal> {
    let window = Window::of_xdp(ctx);
    let (Some(link), Some(ip), Some(udp)) = (
        Link::read(&window, l3),
        window.at::<Ipv6>(l3),
        window.at::<Udp>(l3 + size_of::<Ipv6>()),
    ) else {
        return Err(Refusal::Truncated);
    };
    // SAFETY: `at` checked the bounds.
    let (class, len, hop_limit, checksum) = unsafe {
        (
            (*ip).traffic_class(),
            u16::from_be((*ip).payload_len_be),
            (*ip).hop_limit,
            (*udp).checksum,
        )
    };
    let Some(total_len) = len.checked_add(size_of::<Ipv4>() as u16) else {
        return Err(Refusal::TooBig);
    };
    grow(ctx, LONGER)?;

    let window = Window::of_xdp(ctx);
    let (Some(()), Some(new_ip), Some(new_udp)) = (
        link.write(&window, l3, 0x0800),
        window.at::<Ipv4>(l3),
        window.at::<Udp>(l3 + size_of::<Ipv4>()),
    ) else {
        return Err(Refusal::Truncated);
    };
    // SAFETY: `at` checked the bounds, and nothing else refers to the packet.
    let (new_ip, new_udp) = unsafe { (&mut *new_ip, &mut *new_udp) };
    let addresses = &action.new_addresses;
    ipv4_header(
        new_ip,
        class,
        total_len,
        hop_limit,
        PROTOCOL_UDP,
        addresses,
        hop as u8,
    );
    put_udp(new_udp, action, checksum);
    Ok(())
}

/// A header of `hop_limit` less `hops`, with these addresses (RFC 7915 §4.1).
#[inline(always)]
pub fn ipv6_header(
    ip: &mut Ipv6,
    class: u8,
    payload_len: u16,
    hop_limit: u8,
    next_header: u8,
    addresses: &[u8; 32],
    hops: u8,
) {
    ip.version_class_label = [0x60 | class >> 4, class << 4, 0, 0];
    ip.payload_len_be = payload_len.to_be();
    ip.next_header = next_header;
    ip.hop_limit = hop_limit;
    ip.readdress(addresses, 0, hops);
}

/// The same of IPv4 (RFC 7915 §5.1): no fragment, so that DF stands and no
/// identification is needed (RFC 6864 §4.1); whoever cannot send it on says so.
#[inline(always)]
pub fn ipv4_header(
    ip: &mut Ipv4,
    tos: u8,
    total_len: u16,
    ttl: u8,
    protocol: u8,
    addresses: &[u8; 32],
    hops: u8,
) {
    ip.version_ihl = VERSION_4_IHL_5;
    ip.tos = tos;
    ip.total_len_be = total_len.to_be();
    ip.id_be = 0;
    ip.fragment_be = 0x4000u16.to_be();
    ip.ttl = ttl;
    ip.protocol = protocol;
    // Of what stands in the header now, its addresses zero; they are the change.
    let words = u64::from(u16::from_ne_bytes([VERSION_4_IHL_5, tos]))
        + u64::from(ip.total_len_be)
        + u64::from(ip.fragment_be)
        + u64::from(u16::from_ne_bytes([ttl, protocol]));
    ip.checksum = !fold(words);
    // SAFETY: eight octets are there.
    let both = unsafe { load_8(addresses.as_ptr()) };
    let change = fold((both & 0xffff_ffff) + (both >> 32));
    ip.readdress(addresses, u32::from(change), hops);
}

/// New ports, and the checksum that goes with them; zero stays zero.
#[inline(always)]
fn put_udp(udp: &mut Udp, action: &FlowAction, checksum: u16) {
    udp.src_port_be = action.new_src_port_be;
    udp.dst_port_be = action.new_dst_port_be;
    udp.checksum = if checksum == 0 {
        0
    } else {
        rewrite::changed(checksum, action)
    };
}

/// The frame begins so many octets later.
#[inline(always)]
pub fn grow(ctx: &XdpContext, later: i32) -> Result<(), Refusal> {
    // SAFETY: the context is the program's own; no pointer of before is used after.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, later) } != 0 {
        return Err(Refusal::KernelRefused);
    }
    Ok(())
}

/// The checksum that the sender has not made (RFC 768), as it would be with the
/// packet's present addresses and ports.
#[inline(always)]
pub fn made<C: Octets>(ctx: &C, ip: &Ipv4, udp_at: usize) -> Result<u16, Refusal> {
    let len = ip.octets().wrapping_sub(size_of::<Ipv4>());
    let pseudo = u64::from(ip.src_be)
        + u64::from(ip.dst_be)
        + u64::from((len as u16).to_be())
        + u64::from(u16::from_ne_bytes([0, PROTOCOL_UDP]));
    sum(ctx, pseudo, udp_at, len)
}

#[inline(never)]
fn sum<C: Octets>(ctx: &C, pseudo: u64, udp_at: usize, len: usize) -> Result<u16, Refusal> {
    if len > SUMMED {
        return Err(Refusal::NoUdpChecksum);
    }
    // Copied piece by piece: the verifier follows a length in a helper's argument
    // with less effort than in a packet's pointer.
    let mut sum = pseudo;
    let mut at = 0;
    while at < SUMMED {
        if at + PIECE > len {
            break;
        }
        sum = add(ctx, sum, udp_at + at, PIECE)?;
        at += PIECE;
    }
    // One at least, and fewer than a piece: the compiler knows, the verifier is to
    // see it.
    let left = len.wrapping_sub(at);
    if left != 0 {
        let octets = (opaque(left.wrapping_sub(1)) & (PIECE - 1)) + 1;
        sum = add(ctx, sum, udp_at + at, octets)?;
    }
    Ok(match !fold(sum) {
        0 => 0xffff,
        checksum => checksum,
    })
}

/// Adds octets of the packet, not more than a piece; an odd one is followed by zero.
#[inline(always)]
fn add<C: Octets>(ctx: &C, mut sum: u64, at: usize, octets: usize) -> Result<u64, Refusal> {
    let mut piece = [0u64; PIECE / 8];
    // SAFETY: the piece has room for so many.
    if !unsafe { ctx.copy(at, piece.as_mut_ptr().cast(), octets) } {
        return Err(Refusal::Truncated);
    }
    let mut index = 0;
    while index < PIECE / 8 {
        sum += (piece[index] & 0xffff_ffff) + (piece[index] >> 32);
        index += 1;
    }
    Ok(sum)
}
