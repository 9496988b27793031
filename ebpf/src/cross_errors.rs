//! ICMP errors about steered packets that had changed their IP version: both headers
//! and what the error says become the other version's (RFC 7915 §4.2, §4.3, §5.2,
//! §5.3). A link's MTU is told as it is for the packets that the sender sends.
//!
//! In: an error of one version, the flow whose packets come the other way. Out: the
//! error of the other version, forty octets longer or shorter. What that version cannot
//! say passes as it came.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_check_mtu, bpf_csum_diff},
    programs::XdpContext,
};
use sidestep_abi::flow::FlowAction;

use crate::{
    cross::{Link, grow, ipv4_header, ipv6_header},
    errors::Icmp,
    packet::{Ip, Ipv4, Ipv6, Udp, Window},
    rewrite::{self, fold},
    verdict::Refusal,
};

/// Two headers of twenty octets in the place of two of forty.
const LONGER: i32 = 2 * (size_of::<Ipv6>() - size_of::<Ipv4>()) as i32;

/// RFC 4443 §2.4: an error is no longer than this; what is left of it is IPv4.
const LONGEST_IPV4: usize = 1_280 - size_of::<Ipv6>();

/// What RFC 8200 §5 demands of every link.
const LEAST_MTU: u32 = 1_280;

/// The plateau of RFC 1191 §7 below a packet of up to 2,002 octets.
const PLATEAU: u32 = 1_492;

/// The octets of an error that change, behind the outer header.
const fn changed<I>() -> usize {
    size_of::<Icmp>() + size_of::<I>() + size_of::<Udp>()
}

/// What an error says: type, code, and the four octets after the checksum as they stand
/// in the packet.
type Said = (u8, u8, u32);

/// Makes an error one of the other version.
#[inline(always)]
pub fn cross<I: Ip>(ctx: &XdpContext, l3: usize, action: &FlowAction) -> Result<(), Refusal> {
    if I::IS_IPV6 {
        to_ipv4(ctx, l3, action)
    } else {
        to_ipv6(ctx, l3, action)
    }
}

/// An ICMPv6 error to IPv4. Its IP begins at `l3`; it is about a UDP packet of
/// `action`'s flow, the other way round.
#[inline(never)]
fn to_ipv4(ctx: &XdpContext, l3: usize, action: &FlowAction) -> Result<(), Refusal> {
    let window = Window::of_xdp(ctx);
    let icmp_at = l3 + size_of::<Ipv6>();
    let (Some(link), Some(ip), Some(icmp), Some(inner), Some(udp)) = (
        Link::read(&window, l3),
        window.at::<Ipv6>(l3),
        window.at::<Icmp>(icmp_at),
        window.at::<Ipv6>(icmp_at + size_of::<Icmp>()),
        window.at::<Udp>(icmp_at + size_of::<Icmp>() + size_of::<Ipv6>()),
    ) else {
        return Err(Refusal::Truncated);
    };
    // SAFETY: `at` checked the bounds, and what is added up lies between them.
    let (outer, said, inner, udp, old) = unsafe {
        let icmp_len = (*ip).payload_len_be;
        // RFC 4443 §2.3: the pseudo-header is in the checksum.
        let pseudo = u64::from((*ip).addresses_complement())
            + u64::from(!icmp_len)
            + u64::from(!u16::from_ne_bytes([0, Ipv6::ERRORS]));
        let old = pseudo + u64::from(without(icmp, changed::<Ipv6>()));
        let said = ((*icmp).kind, (*icmp).code, (*icmp).rest);
        let outer = (
            (*ip).traffic_class(),
            u16::from_be(icmp_len),
            (*ip).hop_limit,
        );
        let len = u16::from_be((*inner).payload_len_be);
        let inner = ((*inner).traffic_class(), len, (*inner).hop_limit);
        (outer, said, inner, *udp, fold(old))
    };
    if outer.2 <= 1 {
        return Err(Refusal::TtlExpired);
    }
    let Some(said) = in_ipv4(said, mtu_here(ctx)) else {
        return Err(Refusal::NotOurs);
    };
    let Some(inner_len) = inner.1.checked_add(size_of::<Ipv4>() as u16) else {
        return Err(Refusal::NotOurs);
    };
    grow(ctx, LONGER)?;

    let window = Window::of_xdp(ctx);
    let icmp_at = l3 + size_of::<Ipv4>();
    let (Some(()), Some(new_ip), Some(new_icmp), Some(new_inner), Some(new_udp)) = (
        link.write(&window, l3, 0x0800),
        window.at::<Ipv4>(l3),
        window.at::<Icmp>(icmp_at),
        window.at::<Ipv4>(icmp_at + size_of::<Icmp>()),
        window.at::<Udp>(icmp_at + size_of::<Icmp>() + size_of::<Ipv4>()),
    ) else {
        return Err(Refusal::Truncated);
    };
    // SAFETY: `at` checked the bounds, and nothing else refers to the packet.
    unsafe {
        // One header's octets less in it, one header's fewer before it.
        let (class, total_len, hops) = outer;
        ipv4_header(
            &mut *new_ip,
            class,
            total_len,
            hops,
            Ipv4::ERRORS,
            &action.new_addresses,
            1,
        );
        let (class, _, hops) = inner;
        let protocol = crate::packet::PROTOCOL_UDP;
        let sent = Ipv4::swapped(&action.new_addresses);
        ipv4_header(&mut *new_inner, class, inner_len, hops, protocol, &sent, 0);
        *new_udp = sent_udp(udp, action);
        *new_icmp = saying(said);
        let new = with(old.into(), new_icmp, changed::<Ipv4>());
        (*new_icmp).checksum = !fold(new.into());
    }
    Ok(())
}

/// An ICMP error to IPv6. As [`to_ipv4`].
#[inline(never)]
fn to_ipv6(ctx: &XdpContext, l3: usize, action: &FlowAction) -> Result<(), Refusal> {
    let window = Window::of_xdp(ctx);
    let icmp_at = l3 + size_of::<Ipv4>();
    let (Some(link), Some(ip), Some(icmp), Some(inner), Some(udp)) = (
        Link::read(&window, l3),
        window.at::<Ipv4>(l3),
        window.at::<Icmp>(icmp_at),
        window.at::<Ipv4>(icmp_at + size_of::<Icmp>()),
        window.at::<Udp>(icmp_at + size_of::<Icmp>() + size_of::<Ipv4>()),
    ) else {
        return Err(Refusal::Truncated);
    };
    // SAFETY: as in `to_ipv4`.
    let (outer, said, inner, udp, old) = unsafe {
        let old = u64::from(without(icmp, changed::<Ipv4>()));
        let said = ((*icmp).kind, (*icmp).code, (*icmp).rest);
        let outer = ((*ip).tos, (*ip).octets(), (*ip).ttl);
        let inner = ((*inner).tos, (*inner).octets(), (*inner).ttl);
        (outer, said, inner, *udp, fold(old))
    };
    let (class, icmp_len, hops) = outer;
    if hops <= 1 {
        return Err(Refusal::TtlExpired);
    }
    let (inner_class, inner_octets, inner_hops) = inner;
    if icmp_len > LONGEST_IPV4 || inner_octets < size_of::<Ipv4>() {
        return Err(Refusal::NotOurs);
    }
    let Some(said) = in_ipv6(said, mtu_here(ctx)) else {
        return Err(Refusal::NotOurs);
    };
    grow(ctx, -LONGER)?;

    let window = Window::of_xdp(ctx);
    let icmp_at = l3 + size_of::<Ipv6>();
    let (Some(()), Some(new_ip), Some(new_icmp), Some(new_inner), Some(new_udp)) = (
        link.write(&window, l3, 0x86dd),
        window.at::<Ipv6>(l3),
        window.at::<Icmp>(icmp_at),
        window.at::<Ipv6>(icmp_at + size_of::<Icmp>()),
        window.at::<Udp>(icmp_at + size_of::<Icmp>() + size_of::<Ipv6>()),
    ) else {
        return Err(Refusal::Truncated);
    };
    // SAFETY: as in `to_ipv4`.
    unsafe {
        let new_ip = &mut *new_ip;
        let icmp_len = icmp_len as u16;
        let addresses = &action.new_addresses;
        ipv6_header(new_ip, class, icmp_len, hops, Ipv6::ERRORS, addresses, 1);
        let len = (inner_octets - size_of::<Ipv4>()) as u16;
        let protocol = crate::packet::PROTOCOL_UDP;
        let sent = Ipv6::swapped(addresses);
        let new_inner = &mut *new_inner;
        ipv6_header(new_inner, inner_class, len, inner_hops, protocol, &sent, 0);
        *new_udp = sent_udp(udp, action);
        *new_icmp = saying(said);
        let pseudo = u64::from(!new_ip.addresses_complement())
            + u64::from(icmp_len.to_be())
            + u64::from(u16::from_ne_bytes([0, Ipv6::ERRORS]));
        let sum = fold(u64::from(old) + pseudo);
        let new = with(sum.into(), new_icmp, changed::<Ipv6>());
        (*new_icmp).checksum = !fold(new.into());
    }
    Ok(())
}

/// The UDP header in the error, as its sender has sent it.
#[inline(always)]
fn sent_udp(udp: Udp, action: &FlowAction) -> Udp {
    Udp {
        src_port_be: action.new_dst_port_be,
        dst_port_be: action.new_src_port_be,
        len_be: udp.len_be,
        checksum: match udp.checksum {
            0 => 0,
            checksum => rewrite::changed(checksum, action),
        },
    }
}

/// Without a checksum yet.
#[inline(always)]
const fn saying((kind, code, rest): Said) -> Icmp {
    Icmp {
        kind,
        code,
        checksum: 0,
        rest,
    }
}

/// MTU of the interface that the error came by, and leaves by; 0: not known.
#[inline(always)]
fn mtu_here(ctx: &XdpContext) -> u32 {
    let mut mtu = 0u32;
    // SAFETY: the pointers are to live memory; interface 0 is the frame's own.
    let _ = unsafe { bpf_check_mtu(ctx.as_ptr().cast(), 0, &raw mut mtu, 0, 0) };
    mtu
}

/// RFC 7915 §5.2.
#[inline(always)]
fn in_ipv4((kind, code, rest): Said, mtu_here: u32) -> Option<Said> {
    let told = u32::from_be(rest);
    Some(match (kind, code) {
        // No route; beyond the source's scope; unreachable: the host is.
        (1, 0 | 2 | 3) => (3, 1, 0),
        // Prohibited.
        (1, 1) => (3, 10, 0),
        // The port.
        (1, 4) => (3, 3, 0),
        // Too big: what is twenty octets shorter would fit.
        (2, _) => {
            let mtu = if told < mtu_here || mtu_here == 0 {
                told
            } else {
                mtu_here
            };
            let mtu = mtu.saturating_sub(20);
            (3, 4, if mtu > 0xffff { 0xffff } else { mtu }.to_be())
        }
        // Time exceeded.
        (3, code) => (11, code, 0),
        // A header's field is wrong, at an offset.
        (4, 0) => (12, 0, (pointer_in_ipv4(told)? << 24).to_be()),
        // Its next header is not known.
        (4, 1) => (3, 2, 0),
        _ => return None,
    })
}

/// RFC 7915 §4.2.
#[inline(always)]
fn in_ipv6((kind, code, rest): Said, mtu_here: u32) -> Option<Said> {
    let told = u32::from_be(rest);
    Some(match (kind, code) {
        // Network, host, source route, and what else is not reached.
        (3, 0 | 1 | 5..=8 | 11 | 12) => (1, 0, 0),
        // Prohibited.
        (3, 9 | 10 | 13 | 15) => (1, 1, 0),
        // The protocol, which is named at offset 6.
        (3, 2) => (4, 1, 6u32.to_be()),
        // The port.
        (3, 3) => (1, 4, 0),
        // Too big: what is twenty octets longer would fit; never below IPv6's least.
        (3, 4) => {
            let told = match told & 0xffff {
                0 => PLATEAU,
                told => told,
            };
            let fits = told + 20;
            let mtu = if fits < mtu_here || mtu_here == 0 {
                fits
            } else {
                mtu_here
            };
            (2, 0, if mtu < LEAST_MTU { LEAST_MTU } else { mtu }.to_be())
        }
        // Time exceeded.
        (11, code) => (3, code, 0),
        // A header's field is wrong, at an offset; a bad length.
        (12, 0 | 2) => (4, 0, pointer_in_ipv6(told >> 24)?.to_be()),
        _ => return None,
    })
}

/// RFC 7915 §5.2, figure 6: a field of IPv6's header in IPv4's.
#[inline(always)]
const fn pointer_in_ipv4(offset: u32) -> Option<u32> {
    match offset {
        // Version and traffic class.
        0 | 1 => Some(offset),
        // Payload length.
        4 | 5 => Some(2),
        // Next header, hop limit.
        6 => Some(9),
        7 => Some(8),
        // Addresses.
        8..=23 => Some(12),
        24..=39 => Some(16),
        _ => None,
    }
}

/// RFC 7915 §4.2, figure 3: the other way round.
#[inline(always)]
const fn pointer_in_ipv6(offset: u32) -> Option<u32> {
    match offset {
        0 | 1 => Some(offset),
        2 | 3 => Some(4),
        8 => Some(7),
        9 => Some(6),
        12..=15 => Some(8),
        16..=19 => Some(24),
        _ => None,
    }
}

/// What is to be taken out of a checksum that is made without these octets of the
/// packet: their complements, added up.
///
/// # Safety
///
/// So many octets are within bounds, a multiple of four.
#[inline(always)]
unsafe fn without(from: *mut Icmp, octets: usize) -> u32 {
    // SAFETY: by the caller's word.
    unsafe { bpf_csum_diff(from.cast(), octets as u32, core::ptr::null_mut(), 0, 0) as u32 }
}

/// A sum with these octets of the packet, too.
///
/// # Safety
///
/// As for [`without`].
#[inline(always)]
unsafe fn with(sum: u32, from: *mut Icmp, octets: usize) -> u32 {
    // SAFETY: by the caller's word.
    unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, from.cast(), octets as u32, sum) as u32 }
}
