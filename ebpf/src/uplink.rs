//! XDP of an uplink: media flows are counted and sent on (`direct`), or
//! rewritten and sent on (`steered`). Everything else passes.

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup, bpf_fib_lookup__bindgen_ty_1,
        bpf_fib_lookup__bindgen_ty_2, bpf_fib_lookup__bindgen_ty_3, bpf_fib_lookup__bindgen_ty_4,
        bpf_fib_lookup__bindgen_ty_5, xdp_action,
    },
    helpers::{bpf_fib_lookup as fib_lookup, bpf_redirect},
    macros::xdp,
    programs::XdpContext,
};
use sidestep_abi::{
    counter::Counter,
    flow::{Address, FLOW_DSCP, FLOW_TO_IPV6, FlowAction, FlowKind, VlanKey},
};

use crate::{
    cross, errors,
    maps::{UPLINKS, VLANS},
    packet::{
        Content, Datagram, FiveTuple, Fragment, Frame, Ip, Ipv4, Ipv6, PROTOCOL_UDP, Parsed,
        UNTAGGED, Window,
    },
    rewrite::{self, Hop},
    rtp_stats::{self, Untimed, now_ns},
    strangers,
    verdict::{self, Handled, Refusal, Verdict},
    vlan::{self, Leaves},
    wide::{load_6, load_8},
};

const DIRECT: u8 = FlowKind::Direct as u8;
const STEERED: u8 = FlowKind::Steered as u8;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const NO_MAC: u64 = 0;
const NO_INTERFACE: u32 = 0;

#[xdp]
pub fn uplink(ctx: XdpContext) -> xdp_action::Type {
    let window = Window::of_xdp(&ctx);
    let verdict = match Frame::of(&window) {
        Ok(frame) => match frame.content() {
            Content::Ipv4 => meet::<Ipv4, true>(&ctx, &window, frame, UNTAGGED),
            // These have less in common with the hot path than it has registers.
            Content::Ipv6 => return off_the_hot_path::<Ipv6>(&ctx, &window, UNTAGGED),
            Content::Tag => return tagged(&ctx),
            Content::Other => Err(Refusal::NotOurs),
        },
        Err(refusal) => Err(refusal),
    };
    verdict::xdp(verdict)
}

/// Behind one tag or two (IEEE 802.1Q): what is turned around or passes leaves with them,
/// what is routed with those of where it goes.
#[inline(never)]
fn tagged(ctx: &XdpContext) -> xdp_action::Type {
    let window = Window::of_xdp(ctx);
    let inner = |l3: usize| match window.at::<u16>(l3 - 2) {
        // SAFETY: `at` checked the bounds.
        Some(ethertype) => Content::of(unsafe { *ethertype }),
        None => Content::Other,
    };
    match inner(UNTAGGED + 4) {
        Content::Ipv4 => off_the_hot_path::<Ipv4>(ctx, &window, UNTAGGED + 4),
        Content::Ipv6 => off_the_hot_path::<Ipv6>(ctx, &window, UNTAGGED + 4),
        Content::Tag => match inner(UNTAGGED + 8) {
            Content::Ipv4 => off_the_hot_path::<Ipv4>(ctx, &window, UNTAGGED + 8),
            Content::Ipv6 => off_the_hot_path::<Ipv6>(ctx, &window, UNTAGGED + 8),
            Content::Tag => verdict::xdp(Err(Refusal::Tagged)),
            Content::Other => verdict::xdp(Err(Refusal::NotOurs)),
        },
        Content::Other => verdict::xdp(Err(Refusal::NotOurs)),
    }
}

/// One after the other: the stack is not deep enough for all.
#[inline(always)]
fn off_the_hot_path<I: Ip>(ctx: &XdpContext, window: &Window, l3: usize) -> xdp_action::Type {
    match window.at::<I>(l3) {
        // SAFETY: `at` checked the bounds.
        Some(ip) if unsafe { (*ip).is_icmp() } => verdict::xdp(errors::meet::<I>(ctx, l3)),
        _ => meet_apart::<I>(ctx, l3),
    }
}

#[inline(never)]
fn meet_apart<I: Ip>(ctx: &XdpContext, l3: usize) -> xdp_action::Type {
    let window = Window::of_xdp(ctx);
    verdict::xdp(Frame::of(&window).and_then(|frame| meet::<I, false>(ctx, &window, frame, l3)))
}

#[inline(always)]
fn meet<I: Ip, const HOT: bool>(
    ctx: &XdpContext,
    window: &Window,
    frame: Frame,
    l3: usize,
) -> Verdict {
    let packet = frame.packet::<I>(window, l3)?;
    if HOT && packet.ip().is_icmp() {
        return errors::meet::<I>(ctx, l3);
    }
    let parsed = packet.parse(window)?;
    if parsed.fragment == Fragment::Later {
        return Err(Refusal::NotOurs);
    }
    let datagram = packet.udp(window, &parsed)?;
    let action = if HOT {
        datagram.key().hot_action()
    } else {
        datagram.key().action()
    };
    let Some(action) = action else {
        let ifindex = ctx.ingress_ifindex() as u32;
        return Err(strangers::meet(&datagram, ifindex));
    };
    if parsed.fragment == Fragment::First {
        return Err(Refusal::MediaFragment);
    }
    match action.kind {
        DIRECT => direct::<I, HOT>(ctx, window, datagram, action, l3),
        STEERED => steered::<I, HOT>(ctx, window, datagram, action, l3),
        // The tap programs' business.
        _ => Err(Refusal::NotOurs),
    }
}

#[inline(always)]
fn direct<I: Ip, const HOT: bool>(
    ctx: &XdpContext,
    window: &Window,
    mut datagram: Datagram<I>,
    action: &FlowAction,
    l3: usize,
) -> Verdict {
    let counted = count::<I, HOT>(ctx, window, &datagram, action, l3);
    rtp_stats::time(counted, now_ns);
    mark(&mut datagram, action);
    let interface = addressed_to(ctx, &datagram.packet.frame, l3);
    if interface == NO_INTERFACE {
        return Ok(Handled::Passed(Counter::DirectPassed));
    }
    if datagram.packet.ip().hops() <= 1 {
        return Err(Refusal::TtlExpired);
    }
    if datagram.is_unfinished() {
        return Err(Refusal::ChecksumUnfinished);
    }
    forward::<I>(ctx, l3, interface)?;
    Ok(Handled::Redirected(Counter::DirectForwarded))
}

#[inline(always)]
fn steered<I: Ip, const HOT: bool>(
    ctx: &XdpContext,
    window: &Window,
    mut datagram: Datagram<I>,
    action: &FlowAction,
    l3: usize,
) -> Verdict {
    // SAFETY: two octets of zero follow the MAC.
    let anchor_mac = unsafe { load_8(&raw const action.anchor_mac) };
    let turns_around = anchor_mac != NO_MAC;
    let mut interface = NO_INTERFACE;
    let arrived = if turns_around {
        datagram.packet.frame.dst_mac() == anchor_mac
    } else {
        interface = addressed_to(ctx, &datagram.packet.frame, l3);
        interface != NO_INTERFACE
    };
    if !arrived {
        return Err(Refusal::SteeredTransit);
    }
    let counted = count::<I, HOT>(ctx, window, &datagram, action, l3);
    let crosses = (action.flags & FLOW_TO_IPV6 != 0) != I::IS_IPV6;
    let expired = datagram.packet.ip().hops() <= 1;
    if turns_around && !crosses && !expired {
        mark(&mut datagram, action);
        // One hop further too: two anchors that point at each other must not
        // send a packet to and fro for ever.
        rewrite::steer(&mut datagram, action, Hop::Taken);
        datagram.packet.frame.swap_macs();
        rtp_stats::time(counted, now_ns);
        return Ok(Handled::Returned(Counter::SteeredTx));
    }
    rtp_stats::time(counted, now_ns);
    if expired {
        return Err(Refusal::TtlExpired);
    }
    // As it came it gets to the VM's tap, and is steered there.
    if !turns_around && datagram.is_unfinished() {
        return Err(Refusal::ChecksumUnfinished);
    }
    mark(&mut datagram, action);
    if crosses {
        return crossed::<I>(ctx, action, interface, l3);
    }
    rewrite::steer(&mut datagram, action, Hop::Left);
    forward::<I>(ctx, l3, interface)?;
    Ok(Handled::Redirected(Counter::SteeredForwarded))
}

/// A steered packet that leaves by the other IP version than it came.
#[inline(always)]
fn crossed<I: Ip>(ctx: &XdpContext, action: &FlowAction, interface: u32, l3: usize) -> Verdict {
    let turns_around = interface == NO_INTERFACE;
    let hop = if turns_around { Hop::Taken } else { Hop::Left };
    if I::IS_IPV6 {
        cross::to_ipv4(ctx, l3, action, hop)?;
    } else {
        cross::to_ipv6(ctx, l3, action, hop)?;
    }
    if turns_around {
        // What was known of the packet is void.
        let window = Window::of_xdp(ctx);
        Frame::of(&window)?.swap_macs();
        return Ok(Handled::Returned(Counter::SteeredTx));
    }
    if I::IS_IPV6 {
        forward::<Ipv4>(ctx, l3, interface)?;
    } else {
        forward::<Ipv6>(ctx, l3, interface)?;
    }
    Ok(Handled::Redirected(Counter::SteeredForwarded))
}

/// The DSCP that the operator wants media to have.
#[inline(always)]
fn mark<I: Ip>(datagram: &mut Datagram<I>, action: &FlowAction) {
    if action.flags & FLOW_DSCP != 0 {
        datagram.packet.ip_mut().set_dscp(action.dscp);
    }
}

/// Counts a packet: in line on the hot path, IPv4 without tags. Elsewhere apart
/// from the rest, which the verifier then has to follow from one state only.
#[inline(always)]
fn count<I: Ip, const HOT: bool>(
    ctx: &XdpContext,
    window: &Window,
    datagram: &Datagram<I>,
    action: &FlowAction,
    l3: usize,
) -> Option<Untimed> {
    if HOT {
        return rtp_stats::count(action, datagram, window, ctx.ingress_ifindex() as u32);
    }
    count_apart::<I>(ctx, action, l3);
    None
}

#[inline(never)]
fn count_apart<I: Ip>(ctx: &XdpContext, action: &FlowAction, l3: usize) {
    let window = Window::of_xdp(ctx);
    let datagram = Frame::of(&window)
        .and_then(|frame| frame.packet::<I>(&window, l3))
        .and_then(|packet| packet.udp(&window, &Parsed::whole::<I>(l3)));
    if let Ok(datagram) = datagram {
        let ifindex = ctx.ingress_ifindex() as u32;
        let counted = rtp_stats::count(action, &datagram, &window, ifindex);
        rtp_stats::time(counted, now_ns);
    }
}

/// The host's interface that the frame is addressed to: the uplink that it came in by,
/// or behind tags one in that VLAN.
#[inline(always)]
fn addressed_to(ctx: &XdpContext, frame: &Frame, l3: usize) -> u32 {
    if l3 != UNTAGGED {
        return vlan::addressed_to(ctx, l3);
    }
    let ifindex = ctx.ingress_ifindex() as u32;
    // SAFETY: six bytes that the daemon writes when the interface appears.
    match unsafe { UPLINKS.get(ifindex).map(|mac| load_6(mac)) } {
        Some(mac) if frame.dst_mac() == mac => ifindex,
        _ => NO_INTERFACE,
    }
}

/// Routes the packet whose IP begins at `l3` as the kernel would that has got it by
/// `interface`: next hop, MACs, tags, TTL. Without a next hop it stays as it is, and the
/// stack routes it and resolves the neighbour.
#[inline(never)]
fn forward<I: Ip>(ctx: &XdpContext, l3: usize, interface: u32) -> Result<(), Refusal> {
    let window = Window::of_xdp(ctx);
    let packet = Frame::of(&window)?.packet::<I>(&window, l3)?;
    let mut datagram = packet.udp(&window, &Parsed::whole::<I>(l3))?;
    let ip = datagram.packet.ip();
    let (src, dst) = (ip.src(), ip.dst());
    let mut route = bpf_fib_lookup {
        family: if I::IS_IPV6 { AF_INET6 } else { AF_INET },
        l4_protocol: PROTOCOL_UDP,
        sport: datagram.udp().src_port_be,
        dport: datagram.udp().dst_port_be,
        __bindgen_anon_1: bpf_fib_lookup__bindgen_ty_1 {
            tot_len: ip.octets() as u16,
        },
        ifindex: interface,
        __bindgen_anon_2: bpf_fib_lookup__bindgen_ty_2 {
            rt_metric: if I::IS_IPV6 {
                // The flow information, big endian; no label.
                u32::from_ne_bytes([ip.traffic_class() >> 4, ip.traffic_class() << 4, 0, 0])
            } else {
                u32::from_ne_bytes([ip.traffic_class(), 0, 0, 0])
            },
        },
        __bindgen_anon_3: bpf_fib_lookup__bindgen_ty_3 {
            ipv6_src: if I::IS_IPV6 {
                words(src)
            } else {
                ipv4_words(src)
            },
        },
        __bindgen_anon_4: bpf_fib_lookup__bindgen_ty_4 {
            ipv6_dst: if I::IS_IPV6 {
                words(dst)
            } else {
                ipv4_words(dst)
            },
        },
        __bindgen_anon_5: bpf_fib_lookup__bindgen_ty_5 { tbid: 0 },
        smac: [0; 6],
        dmac: [0; 6],
    };
    // SAFETY: the pointers are to live memory of the size given.
    let found = unsafe {
        fib_lookup(
            ctx.ctx.cast(),
            &raw mut route,
            size_of::<bpf_fib_lookup>() as i32,
            0,
        )
    };
    if found < 0 {
        return Err(Refusal::KernelRefused);
    }
    if found != i64::from(BPF_FIB_LKUP_RET_SUCCESS) {
        return Err(Refusal::NoNextHop);
    }
    let (by, tags) = leaves_by(route.ifindex)?;
    datagram.packet.ip_mut().take_hop();
    if l3 == UNTAGGED && by == route.ifindex {
        datagram.packet.frame.set_macs(&route.dmac, &route.smac);
    } else {
        let leaves = Leaves {
            dst: route.dmac,
            src: route.smac,
            tags,
            ethertype_be: if I::IS_IPV6 { 0x86ddu16 } else { 0x0800 }.to_be(),
        };
        vlan::leave(ctx, l3, &leaves)?;
    }
    // SAFETY: a helper that takes integers.
    if unsafe { bpf_redirect(by, 0) } != i64::from(xdp_action::XDP_REDIRECT) {
        return Err(Refusal::KernelRefused);
    }
    Ok(())
}

/// The uplink by which packets to one of the host's interfaces leave, and their tags. What
/// is no uplink may not take frames of XDP at all: they would vanish.
#[inline(always)]
fn leaves_by(ifindex: u32) -> Result<(u32, [u32; 2]), Refusal> {
    // SAFETY: read as a word at most, by whether it is there.
    if unsafe { UPLINKS.get(ifindex) }.is_some() {
        return Ok((ifindex, [0; 2]));
    }
    let key = VlanKey {
        ifindex,
        tags: [0; 2],
    };
    // SAFETY: written as a whole by the daemon, when an interface appears.
    match unsafe { VLANS.get(key) } {
        Some(vlan) => Ok((vlan.ifindex, vlan.tags)),
        None => Err(Refusal::NoNextHop),
    }
}

/// An address as the kernel's structure has it.
#[inline(always)]
const fn words(address: Address) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
    [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
        u32::from_ne_bytes([i, j, k, l]),
        u32::from_ne_bytes([m, n, o, p]),
    ]
}

/// An IPv4 address as the kernel's structure has it.
#[inline(always)]
const fn ipv4_words(address: Address) -> [u32; 4] {
    let [_, _, _, address] = words(address);
    [address, 0, 0, 0]
}
