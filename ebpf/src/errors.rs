//! ICMP errors about steered packets: whoever could not send one on tells the
//! anchor, since that is the source it saw. The sender it concerns is another, and
//! knows the packet by other addresses: both are put right, and the error goes on to
//! it (RFC 5508 §4.2, as a NAT does it).
//!
//! In: an error addressed to an anchor, with the packet it is about in it. Out: the
//! same error from the other anchor to the sender, about the packet as it sent it.
//! Errors that would have to change their IP version pass.

use aya_ebpf::programs::XdpContext;
use sidestep_abi::{
    counter::Counter,
    flow::{FLOW_TO_IPV6, FlowAction, FlowKind},
};

use crate::{
    packet::{FiveTuple, Fragment, Frame, Ip, Udp, Window},
    rewrite::{self, Change, fold},
    verdict::{Handled, Refusal, Verdict},
    wide::{load_4, load_8, opaque},
};

const STEERED: u8 = FlowKind::Steered as u8;

/// RFC 792, RFC 4443 §2.1.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
struct Icmp {
    kind: u8,
    code: u8,
    checksum: u16,
    rest: u32,
}

/// The error whose IP begins at `l3`.
#[inline(never)]
pub fn meet<I: Ip>(ctx: &XdpContext, l3: usize) -> Verdict {
    // Else the compiler would pass the frame's ends instead of the context, which the
    // verifier does not let it.
    let ctx = &XdpContext::new(opaque(ctx.ctx as usize) as *mut _);
    let window = Window::of_xdp(ctx);
    let mut frame = Frame::of(&window)?;
    let mut packet = frame.packet::<I>(&window, l3)?;
    let parsed = packet.parse_error(&window)?;
    let inner_at = parsed.l4 + size_of::<Icmp>();
    let (Some(icmp), Some(inner), Some(udp)) = (
        window.at::<Icmp>(parsed.l4),
        window.at::<I>(inner_at),
        window.at::<Udp>(inner_at + size_of::<I>()),
    ) else {
        return Err(Refusal::NotOurs);
    };
    // SAFETY: `at` checked the bounds; nothing else refers to these headers.
    let (icmp, inner, udp) = unsafe { (&mut *icmp, &mut *inner, &mut *udp) };
    if parsed.fragment != Fragment::Whole || !I::is_error(icmp.kind) || !inner.is_plain_udp() {
        return Err(Refusal::NotOurs);
    }
    // What comes the other way in the flow is rewritten to the sender's addresses.
    // SAFETY: both headers are within bounds.
    let key = unsafe { I::reverse_key(inner, udp) };
    let Some(action) = key.action() else {
        return Err(Refusal::NotOurs);
    };
    let same_version = (action.flags & FLOW_TO_IPV6 != 0) == I::IS_IPV6;
    if action.kind != STEERED || !same_version || packet.ip().dst() != inner.src() {
        return Err(Refusal::NotOurs);
    }
    if packet.ip().hops() <= 1 {
        return Err(Refusal::TtlExpired);
    }

    let outer_change = packet.ip().addresses_complement() as u64 + new_sum(action);
    packet
        .ip_mut()
        .readdress(&action.new_addresses, fold(outer_change) as u32, 1);
    // The packet in it: back to front what the flow's packets get.
    let inner_checksum = inner.header_checksum();
    inner.readdress(
        &I::swapped(&action.new_addresses),
        action.addresses_change,
        0,
    );
    udp.src_port_be = action.new_dst_port_be;
    udp.dst_port_be = action.new_src_port_be;
    let udp_checksum = udp.checksum;
    if udp_checksum != 0 {
        udp.checksum = rewrite::changed(udp_checksum, action);
    }
    let mut change = Change::of(action.udp_change)
        .word(inner_checksum, inner.header_checksum())
        .word(udp_checksum, udp.checksum);
    if I::IS_IPV6 {
        // RFC 4443 §2.3: the pseudo-header is in it.
        change = change.and(fold(outer_change) as u32);
    }
    icmp.checksum = change.apply(icmp.checksum);

    // SAFETY: the action ends two octets after its MAC, which are zero.
    let anchor_mac = unsafe { load_8(&raw const action.anchor_mac) };
    if anchor_mac != 0 && frame.dst_mac() == anchor_mac {
        frame.swap_macs();
        return Ok(Handled::Returned(Counter::ErrorTranslated));
    }
    // The stack routes it.
    Ok(Handled::Passed(Counter::ErrorTranslated))
}

/// The new addresses, added up.
#[inline(always)]
fn new_sum(action: &FlowAction) -> u64 {
    let mut sum = 0;
    let mut at = 0;
    while at < 32 {
        // SAFETY: 32 octets are there.
        sum += u64::from(unsafe { load_4(action.new_addresses.as_ptr().add(at)) });
        at += 4;
    }
    sum
}
