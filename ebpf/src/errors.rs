//! ICMP errors about steered packets: whoever could not send one on tells the
//! anchor, since that is the source it saw. The sender it concerns is another, and
//! knows the packet by other addresses: both are put right, and the error goes on to
//! it (RFC 5508 §4.2, as a NAT does it).
//!
//! In: an error addressed to an anchor, with the packet it is about in it. Out: the
//! same error from the other anchor to the sender, about the packet as it sent it; of
//! the other IP version, where that is the sender's ([`cross_errors`]).

use aya_ebpf::programs::XdpContext;
use sidestep_abi::{
    counter::Counter,
    flow::{AT_TAP, FLOW_TO_IPV6, FlowAction, FlowKind},
};

use crate::{
    cross_errors,
    packet::{FiveTuple, Fragment, Frame, Ip, Packet, Udp, Window},
    rewrite::{self, Change, fold},
    verdict::{Handled, Refusal, Verdict},
    wide::{load_4, load_8, opaque},
};

const STEERED: u8 = FlowKind::Steered as u8;

/// RFC 792, RFC 4443 §2.1.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Icmp {
    pub kind: u8,
    pub code: u8,
    pub checksum: u16,
    pub rest: u32,
}

/// An error about a steered packet.
struct Error<I: Ip> {
    packet: Packet<I>,
    icmp: *mut Icmp,
    /// The packet that it is about.
    inner: *mut I,
    udp: *mut Udp,
    /// What is done with what comes the other way in the flow: it is rewritten to the
    /// sender's addresses.
    action: &'static FlowAction,
}

impl<I: Ip> Error<I> {
    /// `AT_UPLINK`: those of flows that only a tap steers are left to it.
    #[inline(always)]
    fn find<const AT_UPLINK: bool>(window: &Window, l3: usize) -> Result<Self, Refusal> {
        let packet = Frame::of(window)?.packet::<I>(window, l3)?;
        let parsed = packet.parse_error(window)?;
        let inner_at = parsed.l4 + size_of::<Icmp>();
        let (Some(icmp), Some(inner), Some(udp)) = (
            window.at::<Icmp>(parsed.l4),
            window.at::<I>(inner_at),
            window.at::<Udp>(inner_at + size_of::<I>()),
        ) else {
            return Err(Refusal::NotOurs);
        };
        // SAFETY: `at` checked the bounds.
        let (kind, about) = unsafe { ((*icmp).kind, &*inner) };
        if parsed.fragment != Fragment::Whole || !I::is_error(kind) || !about.is_plain_udp() {
            return Err(Refusal::NotOurs);
        }
        // SAFETY: both headers are within bounds.
        let key = unsafe { I::reverse_key(inner, udp) };
        let Some(action) = key.action() else {
            return Err(Refusal::NotOurs);
        };
        if action.kind != STEERED || packet.ip().dst() != about.src() {
            return Err(Refusal::NotOurs);
        }
        if AT_UPLINK && action.anchor_mac == AT_TAP {
            return Err(Refusal::NotOurs);
        }
        Ok(Self {
            packet,
            icmp,
            inner,
            udp,
            action,
        })
    }
}

/// The error whose IP begins at `l3`. (Two functions, one after the other: the stack is
/// not deep enough for one within the other.)
#[inline(always)]
pub fn meet<I: Ip>(ctx: &XdpContext, l3: usize) -> Verdict {
    match other_version::<I>(ctx, l3) {
        Some(action) => {
            cross_errors::cross::<I>(ctx, l3, action)?;
            let window = Window::of_xdp(ctx);
            send(Frame::of(&window)?, action)
        }
        None => same_version::<I>(ctx, l3),
    }
}

/// What is done with an error that has to change its IP version.
#[inline(never)]
fn other_version<I: Ip>(ctx: &XdpContext, l3: usize) -> Option<&'static FlowAction> {
    let ctx = &seen(ctx);
    let window = Window::of_xdp(ctx);
    match Error::<I>::find::<true>(&window, l3) {
        Ok(error) if (error.action.flags & FLOW_TO_IPV6 != 0) != I::IS_IPV6 => Some(error.action),
        _ => None,
    }
}

/// Else the compiler would pass the frame's ends instead of the context, which the
/// verifier does not let it.
#[inline(always)]
fn seen(ctx: &XdpContext) -> XdpContext {
    XdpContext::new(opaque(ctx.ctx as usize) as *mut _)
}

#[inline(never)]
fn same_version<I: Ip>(ctx: &XdpContext, l3: usize) -> Verdict {
    let ctx = &seen(ctx);
    let (frame, action) = translate::<I, true>(&Window::of_xdp(ctx), l3)?;
    send(frame, action)
}

/// What is done with what comes to the anchor that the error whose IP begins at `l3` is
/// addressed to, where that is of the same IP version as the sender.
#[inline(always)]
pub fn about<I: Ip>(window: &Window, l3: usize) -> Result<&'static FlowAction, Refusal> {
    let error = Error::<I>::find::<false>(window, l3)?;
    if (error.action.flags & FLOW_TO_IPV6 != 0) != I::IS_IPV6 {
        return Err(Refusal::NotOurs);
    }
    Ok(error.action)
}

/// The error whose IP begins at `l3`, put right for the sender that it concerns, unless that
/// one is of the other IP version; and what is done with what comes to this one's anchor.
#[inline(always)]
pub fn translate<I: Ip, const AT_UPLINK: bool>(
    window: &Window,
    l3: usize,
) -> Result<(Frame, &'static FlowAction), Refusal> {
    let Error {
        mut packet,
        icmp,
        inner,
        udp,
        action,
    } = Error::<I>::find::<AT_UPLINK>(window, l3)?;
    let frame = packet.frame;
    // SAFETY: `find` checked the bounds; nothing else refers to these headers.
    let (icmp, inner, udp) = unsafe { (&mut *icmp, &mut *inner, &mut *udp) };
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
    Ok((frame, action))
}

/// Back by the interface it came in by, or to the stack.
#[inline(always)]
fn send(mut frame: Frame, action: &FlowAction) -> Verdict {
    // SAFETY: two octets of zero follow the MAC.
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
