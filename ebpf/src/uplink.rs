//! XDP of an uplink: media flows are counted and sent on (`direct`), or
//! rewritten and sent on (`steered`). Everything else passes.

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup, bpf_fib_lookup__bindgen_ty_1,
        bpf_fib_lookup__bindgen_ty_2, bpf_fib_lookup__bindgen_ty_3, bpf_fib_lookup__bindgen_ty_4,
        bpf_fib_lookup__bindgen_ty_5, xdp_action,
    },
    helpers::{bpf_fib_lookup as fib_lookup, bpf_ktime_get_ns, bpf_redirect},
    macros::xdp,
    programs::XdpContext,
};
use sidestep_abi::{
    counter::{Counter, EventKind},
    flow::{AnchorKey, FlowAction, FlowKey, FlowKind},
};

use crate::{
    events,
    maps::{ANCHORS, FLOWS, FOREIGN_SEEN, UPLINKS},
    packet::{Datagram, Fragment, Frame, Key, Window},
    rewrite::{self, Hop},
    rtp_stats::{self, Met},
    verdict::{self, Handled, Refusal, Verdict},
    wide::load_8,
};

const DIRECT: u8 = FlowKind::Direct as u8;
const STEERED: u8 = FlowKind::Steered as u8;

/// At most one event about foreign packets per anchor in this time.
const FOREIGN_EVENT_NS: u64 = 1_000_000_000;

const AF_INET: u8 = 2;
const NO_MAC: u64 = 0;

#[xdp]
pub fn uplink(ctx: XdpContext) -> xdp_action::Type {
    verdict::xdp(meet(&ctx))
}

#[inline(always)]
fn meet(ctx: &XdpContext) -> Verdict {
    let window = Window::of_xdp(ctx);
    let frame = Frame::ipv4(&window)?;
    let fragment = frame.udp_fragment(&window)?;
    if fragment == Fragment::Later {
        return Err(Refusal::NotOurs);
    }
    let datagram = frame.udp(&window)?;
    let key = datagram.key();
    // SAFETY: the daemon replaces an action as a whole; one packet may meet the
    // old or the new one.
    let Some(action) = (unsafe { FLOWS.get(key.flow()) }) else {
        return no_flow(ctx, key.flow());
    };
    if fragment == Fragment::First {
        return Err(Refusal::MediaFragment);
    }
    match action.kind {
        DIRECT => direct(ctx, &window, datagram, &key, action),
        STEERED => steered(ctx, &window, datagram, &key, action),
        // The tap programs' business.
        _ => Err(Refusal::NotOurs),
    }
}

#[inline(always)]
fn direct(
    ctx: &XdpContext,
    window: &Window,
    mut datagram: Datagram,
    key: &Key,
    action: &FlowAction,
) -> Verdict {
    count(ctx, window, &datagram, key.flow(), action);
    if !is_for_this_host(ctx, &datagram.frame) {
        return Ok(Handled::Passed(Counter::DirectPassed));
    }
    if datagram.frame.ip().ttl <= 1 {
        return Err(Refusal::TtlExpired);
    }
    forward(ctx, &mut datagram)?;
    Ok(Handled::Redirected(Counter::DirectForwarded))
}

#[inline(always)]
fn steered(
    ctx: &XdpContext,
    window: &Window,
    mut datagram: Datagram,
    key: &Key,
    action: &FlowAction,
) -> Verdict {
    // SAFETY: the action ends two octets after its MAC, which are zero.
    let anchor_mac = unsafe { load_8(&raw const action.anchor_mac) };
    let turns_around = anchor_mac != NO_MAC;
    let arrived = if turns_around {
        datagram.frame.dst_mac() == anchor_mac
    } else {
        is_for_this_host(ctx, &datagram.frame)
    };
    if !arrived {
        return Err(Refusal::SteeredTransit);
    }
    count(ctx, window, &datagram, key.flow(), action);
    if datagram.frame.ip().ttl <= 1 {
        return Err(Refusal::TtlExpired);
    }
    if turns_around {
        // One hop further too: two anchors that point at each other must not
        // send a packet to and fro for ever.
        rewrite::steer(&mut datagram, key, action, Hop::Taken);
        datagram.frame.swap_macs();
        return Ok(Handled::Returned(Counter::SteeredTx));
    }
    rewrite::steer(&mut datagram, key, action, Hop::Left);
    forward(ctx, &mut datagram)?;
    Ok(Handled::Redirected(Counter::SteeredForwarded))
}

#[inline(always)]
fn count(
    ctx: &XdpContext,
    window: &Window,
    datagram: &Datagram,
    key: &FlowKey,
    action: &FlowAction,
) {
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    rtp_stats::count(action, key, datagram, window, Met::by_xdp(ctx, now_ns));
}

/// Whether the frame is addressed to the uplink it came in by.
#[inline(always)]
fn is_for_this_host(ctx: &XdpContext, frame: &Frame) -> bool {
    let ifindex = ctx.ingress_ifindex() as u32;
    // SAFETY: six bytes that the daemon writes when the interface appears.
    match unsafe { UPLINKS.get(ifindex) } {
        Some(mac) => frame.eth().dst == *mac,
        None => false,
    }
}

/// Routes a packet as the kernel would: next hop, MACs, TTL. Without a next hop
/// it stays as it is, and the stack routes it and resolves the neighbour.
#[inline(always)]
fn forward(ctx: &XdpContext, datagram: &mut Datagram) -> Result<(), Refusal> {
    let ip = datagram.frame.ip();
    let mut route = bpf_fib_lookup {
        family: AF_INET,
        l4_protocol: ip.protocol,
        sport: datagram.udp().src_port_be,
        dport: datagram.udp().dst_port_be,
        __bindgen_anon_1: bpf_fib_lookup__bindgen_ty_1 {
            tot_len: u16::from_be(ip.total_len_be),
        },
        ifindex: ctx.ingress_ifindex() as u32,
        __bindgen_anon_2: bpf_fib_lookup__bindgen_ty_2 {
            rt_metric: u32::from_ne_bytes([ip.tos, 0, 0, 0]),
        },
        __bindgen_anon_3: bpf_fib_lookup__bindgen_ty_3 {
            ipv6_src: [ip.src_be, 0, 0, 0],
        },
        __bindgen_anon_4: bpf_fib_lookup__bindgen_ty_4 {
            ipv6_dst: [ip.dst_be, 0, 0, 0],
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
    rewrite::decrement_ttl(datagram.frame.ip_mut());
    datagram.frame.set_macs(&route.dmac, &route.smac);
    // SAFETY: a helper that takes integers.
    if unsafe { bpf_redirect(route.ifindex, 0) } != i64::from(xdp_action::XDP_REDIRECT) {
        return Err(Refusal::KernelRefused);
    }
    Ok(())
}

/// A packet of no flow: dropped if it is sent to an anchor, else none of ours.
#[inline(always)]
fn no_flow(ctx: &XdpContext, key: &FlowKey) -> Verdict {
    let anchor = AnchorKey {
        addr_be: key.dst_be,
        port_be: key.dst_port_be,
        reserved: 0,
    };
    // SAFETY: one aligned word.
    let Some(call) = (unsafe { ANCHORS.get(anchor) }) else {
        return Err(Refusal::NotOurs);
    };
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    // SAFETY: one aligned word.
    let told_lately = match unsafe { FOREIGN_SEEN.get(anchor) } {
        Some(told_ns) => now_ns.wrapping_sub(*told_ns) < FOREIGN_EVENT_NS,
        None => false,
    };
    if !told_lately {
        // When the map refuses, the next foreign packet is told of too.
        let _ = FOREIGN_SEEN.insert(anchor, now_ns, 0);
        let ifindex = ctx.ingress_ifindex() as u32;
        events::tell(EventKind::Foreign, now_ns, *call, key, ifindex, 0);
    }
    Err(Refusal::ForeignAtAnchor)
}
