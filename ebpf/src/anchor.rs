//! Steering at a VM's own tap. What comes to an anchor there has not been steered at an
//! uplink: its sender is on this host, behind another tap or in a container, or its next
//! hop is not the one that it came by, which an uplink could not know.
//!
//! In: a frame for the VM, at one of its anchors. Out: the same rewritten, and sent as if
//! the VM had sent it: with its MAC, to the MAC by which it reaches the destination, in by
//! its tap. So a switch learns nothing that is not so, and the host routes for a routed VM
//! as it always does. Frames here are socket buffers: a checksum that is left to a card
//! (CHECKSUM_PARTIAL) is kept so by the kernel's own helper, and made on the way out.

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_INGRESS, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    helpers::{
        bpf_check_mtu, bpf_redirect, bpf_skb_change_proto, bpf_skb_vlan_pop, bpf_skb_vlan_push,
    },
    programs::TcContext,
};
use sidestep_abi::{
    counter::Counter,
    door::{Neighbour, NeighbourKey, UNTAGGED as NO_TAG},
    flow::{Address, FLOW_DSCP, FLOW_TO_IPV6, FlowAction, FlowKind},
};

use crate::{
    cross::{self, LONGER},
    errors,
    maps::{NEIGHBOURS, VMS},
    packet::{
        Datagram, FiveTuple, Fragment, Frame, Ip, Ipv4, Ipv6, PROTOCOL_UDP, Parsed, UNTAGGED, Udp,
        Window, mapped,
    },
    rewrite::{self, Change, Hop},
    rtp_stats, strangers, tap,
    verdict::{Handled, Refusal, Verdict},
    wide::{load_4, load_8},
};

const STEERED: u8 = FlowKind::Steered as u8;

const TC_ACT_REDIRECT: i64 = 7;

/// Where UDP's checksum stands in its header.
const CHECKSUM: usize = 6;

/// Whether a flow is one that is steered here, if no uplink has done it.
#[inline(always)]
pub fn is_for(action: &FlowAction) -> bool {
    action.kind == STEERED
}

/// A datagram that may be at an anchor.
#[inline(never)]
pub fn meet<I: Ip>(ctx: &TcContext, ifindex: u32) -> Verdict {
    let Some(action) = flow::<I>(ctx) else {
        return stranger::<I>(ctx, ifindex);
    };
    arrive::<I>(ctx, action, ifindex)?;
    rewrite::<I>(ctx, action)?;
    leave(ctx, action, ifindex, Counter::SteeredAtTap)
}

/// An ICMP error that may be about a steered packet.
#[inline(never)]
pub fn meet_error<I: Ip>(ctx: &TcContext, ifindex: u32) -> Verdict {
    let Some(action) = about::<I>(ctx) else {
        return Err(Refusal::NotOurs);
    };
    translate::<I>(ctx, action, ifindex)?;
    leave(ctx, action, ifindex, Counter::ErrorTranslated)
}

/// What is to be done with a datagram of a steered flow. (A pointer alone, here and below:
/// the verifier would not know it out of a `Result` any more.)
#[inline(never)]
fn flow<I: Ip>(ctx: &TcContext) -> Option<&'static FlowAction> {
    let window = Window::of_skb(ctx).ok()?;
    let packet = Frame::of(&window)
        .ok()?
        .packet::<I>(&window, UNTAGGED)
        .ok()?;
    let parsed = packet.parse(&window).ok()?;
    let action = packet.udp(&window, &parsed).ok()?.key().action()?;
    is_for(action).then_some(action)
}

#[inline(never)]
fn about<I: Ip>(ctx: &TcContext) -> Option<&'static FlowAction> {
    let window = Window::of_skb(ctx).ok()?;
    errors::about::<I>(&window, UNTAGGED).ok()
}

/// A datagram of no flow: dropped at an anchor.
#[inline(never)]
fn stranger<I: Ip>(ctx: &TcContext, ifindex: u32) -> Verdict {
    let window = Window::of_skb(ctx)?;
    let packet = Frame::of(&window)?.packet::<I>(&window, UNTAGGED)?;
    let parsed = packet.parse(&window)?;
    let datagram = packet.udp(&window, &parsed)?;
    is_of_tap(datagram.packet.ip().dst(), ifindex)?;
    tap::not_for_others(datagram.packet.frame)?;
    Err(strangers::meet(&datagram, ifindex))
}

/// A datagram of a flow is counted.
#[inline(never)]
fn arrive<I: Ip>(ctx: &TcContext, action: &FlowAction, ifindex: u32) -> Result<(), Refusal> {
    let window = Window::of_skb(ctx)?;
    let packet = Frame::of(&window)?.packet::<I>(&window, UNTAGGED)?;
    let parsed = packet.parse(&window)?;
    let mut datagram = packet.udp(&window, &parsed)?;
    is_of_tap(datagram.packet.ip().dst(), ifindex)?;
    tap::not_for_others(datagram.packet.frame)?;
    if parsed.fragment != Fragment::Whole {
        return Err(Refusal::MediaFragment);
    }
    learn(ctx, &datagram);
    next_hop(action)?;
    let counted = rtp_stats::count(action, &datagram, &window, ifindex);
    rtp_stats::time(counted, rtp_stats::now_ns);
    if datagram.packet.ip().hops() <= 1 {
        return Err(Refusal::TtlExpired);
    }
    if action.flags & FLOW_DSCP != 0 {
        datagram.packet.ip_mut().set_dscp(action.dscp);
    }
    Ok(())
}

/// An error is put right, if it is known where it goes on to.
#[inline(never)]
fn translate<I: Ip>(ctx: &TcContext, action: &FlowAction, ifindex: u32) -> Result<(), Refusal> {
    let window = Window::of_skb(ctx)?;
    let packet = Frame::of(&window)?.packet::<I>(&window, UNTAGGED)?;
    is_of_tap(packet.ip().dst(), ifindex)?;
    next_hop(action)?;
    errors::translate::<I, false>(&window, UNTAGGED)?;
    Ok(())
}

/// A switch that does not know the VM's port yet floods its frames to every tap.
#[inline(always)]
fn is_of_tap(anchor: Address, ifindex: u32) -> Result<(), Refusal> {
    // SAFETY: two aligned words, written together.
    match unsafe { VMS.get(anchor) } {
        Some(vm) if vm.ifindex == ifindex => Ok(()),
        _ => Err(Refusal::NotOurs),
    }
}

/// Whoever sends to the anchor is reached by where its frames come from, where the VM has
/// not chosen otherwise, and nothing else is known.
#[inline(always)]
fn learn<I: Ip>(ctx: &TcContext, datagram: &Datagram<I>) {
    let ip = datagram.packet.ip();
    let key = NeighbourKey {
        vm: ip.dst(),
        remote: ip.src(),
    };
    // SAFETY: only whether it is there.
    if unsafe { NEIGHBOURS.get(key) }.is_some() {
        return;
    }
    let eth = datagram.packet.frame.eth();
    let seen = Neighbour {
        vm_mac: eth.dst,
        peer_mac: eth.src,
        seen_mac: eth.src,
        chosen_by_vm: 0,
        tag: tap::tag(ctx),
    };
    // When the map refuses, the next packet tries again.
    let _ = NEIGHBOURS.insert(key, seen, 0);
}

/// The MACs by which the VM sends what leaves its anchor.
#[inline(always)]
fn next_hop(action: &FlowAction) -> Result<&'static Neighbour, Refusal> {
    let start = action.new_addresses.as_ptr();
    // SAFETY: 32 octets are there, and an address has sixteen of them, or four.
    let key = unsafe {
        if action.flags & FLOW_TO_IPV6 != 0 {
            let address = |at: usize| -> Address {
                core::mem::transmute([load_8(start.add(at)), load_8(start.add(at + 8))])
            };
            NeighbourKey {
                vm: address(0),
                remote: address(16),
            }
        } else {
            NeighbourKey {
                vm: mapped(load_4(start)),
                remote: mapped(load_4(start.add(4))),
            }
        }
    };
    // SAFETY: two dozen bytes, written whole when they change; a frame with torn MACs is
    // lost like any other.
    match unsafe { NEIGHBOURS.get(key) } {
        Some(neighbour) => Ok(neighbour),
        None => Err(Refusal::NoNextHopAtTap),
    }
}

/// Other addresses and ports, and of the other IP version where it is to be. What fails
/// from here on leaves a frame that is nobody's.
#[inline(never)]
fn rewrite<I: Ip>(ctx: &TcContext, action: &FlowAction) -> Result<(), Refusal> {
    let udp_at = UNTAGGED + size_of::<I>();
    let crosses = (action.flags & FLOW_TO_IPV6 != 0) != I::IS_IPV6;
    let mut made = 0;
    if crosses && !I::IS_IPV6 {
        made = grows(ctx, udp_at)?;
    }
    change_checksum::<I>(ctx, udp_at, action)?;
    if crosses {
        if I::IS_IPV6 {
            return to_ipv4(ctx, action);
        }
        return to_ipv6(ctx, action, made);
    }
    let window = Window::of_skb(ctx).map_err(broken)?;
    let mut datagram = Frame::of(&window)
        .and_then(|frame| frame.packet::<I>(&window, UNTAGGED))
        .and_then(|packet| packet.udp(&window, &Parsed::whole::<I>(UNTAGGED)))
        .map_err(broken)?;
    rewrite::readdress(&mut datagram, action, Hop::Taken);
    Ok(())
}

#[inline(always)]
fn broken(_: Refusal) -> Refusal {
    Refusal::KernelRefusedAtDoor
}

/// Has the kernel change UDP's checksum as the frame needs it: one that is complete by
/// addresses and ports, one that is left to a card by addresses only, since the card sums up
/// the ports. Zero stays zero (RFC 768).
#[inline(always)]
fn change_checksum<I: Ip>(
    ctx: &TcContext,
    udp_at: usize,
    action: &FlowAction,
) -> Result<(), Refusal> {
    let window = Window::of_skb(ctx)?;
    let Some(udp) = window.at::<Udp>(udp_at) else {
        return Err(Refusal::Truncated);
    };
    // SAFETY: `at` checked the bounds.
    let old = unsafe { *udp };
    let ports = Change::none()
        .word(old.src_port_be, action.new_src_port_be)
        .word(old.dst_port_be, action.new_dst_port_be)
        .sum();
    let zero = u64::from(BPF_F_MARK_MANGLED_0);
    let addresses = zero | u64::from(BPF_F_PSEUDO_HDR);
    for (change, flags) in [
        (u64::from(action.addresses_change), addresses),
        (u64::from(ports), zero),
    ] {
        if ctx
            .l4_csum_replace(udp_at + CHECKSUM, 0, change, flags)
            .is_err()
        {
            return Err(Refusal::KernelRefusedAtDoor);
        }
    }
    Ok(())
}

/// Whether a packet may become IPv6, and the checksum that its sender has not made; zero
/// where it has.
#[inline(never)]
fn grows(ctx: &TcContext, udp_at: usize) -> Result<u16, Refusal> {
    let mut mtu = 0u32;
    // SAFETY: the pointers are to live memory; interface 0 is the frame's own.
    let fits = unsafe { bpf_check_mtu(ctx.as_ptr(), 0, &raw mut mtu, LONGER, 0) };
    if fits > 0 {
        return Err(Refusal::TooBig);
    }
    let window = Window::of_skb(ctx)?;
    let (Some(ip), Some(udp)) = (window.at::<Ipv4>(UNTAGGED), window.at::<Udp>(udp_at)) else {
        return Err(Refusal::Truncated);
    };
    // SAFETY: `at` checked the bounds.
    let (ip, udp) = unsafe { (*ip, *udp) };
    if udp.checksum != 0 {
        return Ok(0);
    }
    cross::made(ctx, &ip, udp_at)
}

/// RFC 7915 §4.1. `made`: the checksum, of before, that was missing.
#[inline(always)]
fn to_ipv6(ctx: &TcContext, action: &FlowAction, made: u16) -> Result<(), Refusal> {
    let window = Window::of_skb(ctx)?;
    let Some(ip) = window.at::<Ipv4>(UNTAGGED) else {
        return Err(Refusal::Truncated);
    };
    // SAFETY: `at` checked the bounds.
    let ip = unsafe { *ip };
    let window = change_version(ctx, true)?;
    let (Some(new_ip), Some(udp)) = (
        window.at::<Ipv6>(UNTAGGED),
        window.at::<Udp>(UNTAGGED + size_of::<Ipv6>()),
    ) else {
        return Err(Refusal::KernelRefusedAtDoor);
    };
    // SAFETY: `at` checked the bounds, and nothing else refers to the packet.
    let (new_ip, udp) = unsafe { (&mut *new_ip, &mut *udp) };
    let len = (ip.octets() as u16).wrapping_sub(size_of::<Ipv4>() as u16);
    let addresses = &action.new_addresses;
    cross::ipv6_header(new_ip, ip.tos, len, ip.ttl, PROTOCOL_UDP, addresses, 1);
    put_ports(udp, action);
    if made != 0 {
        udp.checksum = rewrite::changed(made, action);
    }
    Ok(())
}

/// RFC 7915 §5.1.
#[inline(always)]
fn to_ipv4(ctx: &TcContext, action: &FlowAction) -> Result<(), Refusal> {
    let window = Window::of_skb(ctx)?;
    let Some(ip) = window.at::<Ipv6>(UNTAGGED) else {
        return Err(Refusal::Truncated);
    };
    // SAFETY: `at` checked the bounds.
    let (class, len, hops) = unsafe {
        (
            (*ip).traffic_class(),
            (*ip).octets() - size_of::<Ipv6>() + size_of::<Ipv4>(),
            (*ip).hop_limit,
        )
    };
    let window = change_version(ctx, false)?;
    let (Some(new_ip), Some(udp)) = (
        window.at::<Ipv4>(UNTAGGED),
        window.at::<Udp>(UNTAGGED + size_of::<Ipv4>()),
    ) else {
        return Err(Refusal::KernelRefusedAtDoor);
    };
    // SAFETY: `at` checked the bounds, and nothing else refers to the packet.
    let (new_ip, udp) = unsafe { (&mut *new_ip, &mut *udp) };
    let addresses = &action.new_addresses;
    cross::ipv4_header(new_ip, class, len as u16, hops, PROTOCOL_UDP, addresses, 1);
    put_ports(udp, action);
    Ok(())
}

/// Room for another IP header, and the frame's type.
#[inline(always)]
fn change_version(ctx: &TcContext, is_ipv6: bool) -> Result<Window, Refusal> {
    let ethertype: u16 = if is_ipv6 { 0x86dd } else { 0x0800 };
    // SAFETY: a helper that takes the context and integers; no pointer of before is used.
    let changed = unsafe { bpf_skb_change_proto(ctx.skb.skb, ethertype.to_be(), 0) };
    if changed != 0 {
        return Err(Refusal::KernelRefusedAtDoor);
    }
    let window = Window::of_skb(ctx).map_err(broken)?;
    Frame::of(&window).map_err(broken)?.set_content(is_ipv6);
    Ok(window)
}

#[inline(always)]
fn put_ports(udp: &mut Udp, action: &FlowAction) {
    udp.src_port_be = action.new_src_port_be;
    udp.dst_port_be = action.new_dst_port_be;
}

/// In by the tap, as if the VM had sent it; the tap's mark has it pass there.
#[inline(never)]
fn leave(ctx: &TcContext, action: &FlowAction, ifindex: u32, counter: Counter) -> Verdict {
    let neighbour = *next_hop(action)?;
    // SAFETY: fields of the context, and helpers that take it and integers.
    unsafe {
        let skb = ctx.skb.skb;
        if (*skb).vlan_present != 0 && bpf_skb_vlan_pop(skb) != 0 {
            return Err(Refusal::KernelRefusedAtDoor);
        }
        let tag = neighbour.tag;
        if tag != NO_TAG && bpf_skb_vlan_push(skb, tag.protocol_be, tag.control) != 0 {
            return Err(Refusal::KernelRefusedAtDoor);
        }
    }
    let window = Window::of_skb(ctx).map_err(broken)?;
    let mut frame = Frame::of(&window).map_err(broken)?;
    frame.set_macs(&neighbour.peer_mac, &neighbour.vm_mac);
    ctx.set_mark(tap::own_mark(ifindex));
    // SAFETY: a helper that takes integers.
    if unsafe { bpf_redirect(ifindex, u64::from(BPF_F_INGRESS)) } != TC_ACT_REDIRECT {
        return Err(Refusal::KernelRefusedAtDoor);
    }
    Ok(Handled::Redirected(counter))
}
