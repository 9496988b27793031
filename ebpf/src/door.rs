//! The way out of the daemon's namespace, and the sockets inside it.

use aya_ebpf::{
    bindings::BPF_F_INGRESS,
    helpers::{bpf_ktime_get_ns, bpf_redirect, bpf_skb_vlan_push},
    macros::{classifier, sk_lookup},
    programs::{SkLookupContext, TcContext},
};
use aya_log_ebpf::warn;
use sidestep_abi::{
    counter::Counter,
    door::{DOOR_LISTENERS, Neighbour, NeighbourKey, Side},
    flow::Address,
};

use crate::{
    connections, counters,
    maps::{DOOR_NS, DOOR_SOCKETS, DOORS, LOGGED, NEIGHBOURS, VMS},
    packet::{Content, Fragment, Frame, Ip, Ipv4, Ipv6, UNTAGGED, Window},
    tap::{ANYWHERE, own_mark},
    verdict::{self, Handled, Refusal, Verdict},
};

/// At most one line in this time.
const LOG_NS: u64 = 1_000_000_000;

const TC_ACT_REDIRECT: i64 = 7;
const SK_PASS: u32 = 1;
const PROTOCOL_TCP: u32 = 6;
const PROTOCOL_UDP: u32 = 17;

/// tcx ingress of both host ends: the daemon sent this, as the VM or as whom the
/// VM talks to. It goes through the VM's tap with the MACs that taken frames
/// and tag had: out of the Vm door to the VM, out of the Net door as if the VM had
/// sent it. Any protocol, fragments, options and extension headers included.
#[classifier]
pub fn door_out(ctx: TcContext) -> i32 {
    verdict::tcx(leave(&ctx))
}

#[inline(always)]
fn leave(ctx: &TcContext) -> Verdict {
    // SAFETY: a field of the context that every kernel has.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    let Some(side) = side_of(ifindex) else {
        return Err(Refusal::DoorForeign);
    };
    let Ok(window) = Window::of_skb(ctx) else {
        return Err(Refusal::KernelRefusedAtDoor);
    };
    let Ok(frame) = Frame::of(&window) else {
        return Err(Refusal::DoorForeign);
    };
    let content = frame.content();
    let Some((src, dst)) = (match content {
        Content::Ipv4 => addresses::<Ipv4>(&window, frame),
        Content::Ipv6 => addresses::<Ipv6>(&window, frame),
        _ => None,
    }) else {
        return Err(Refusal::DoorForeign);
    };
    let (vm, remote) = match side {
        Side::Vm => (dst, src),
        Side::Net => (src, dst),
    };
    let Some((tap, neighbour)) = way_back(vm, remote) else {
        log_no_neighbour(ctx, vm, remote);
        return Err(Refusal::NoNeighbour);
    };
    // What it cannot understand goes its way.
    let _ = match content {
        Content::Ipv6 => forget_if_reset::<Ipv6>(ctx, side),
        _ => forget_if_reset::<Ipv4>(ctx, side),
    };
    let tag = neighbour.tag;
    if tag.protocol_be != 0 {
        // SAFETY: a helper that takes the context and integers.
        let pushed = unsafe { bpf_skb_vlan_push(ctx.skb.skb, tag.protocol_be, tag.control) };
        if pushed != 0 {
            return Err(Refusal::KernelRefusedAtDoor);
        }
    }
    // The packet may have been moved meanwhile.
    let Ok(mut frame) = Window::of_skb(ctx).and_then(|window| Frame::of(&window)) else {
        return Err(Refusal::KernelRefusedAtDoor);
    };
    let (flags, counter) = match side {
        Side::Vm => {
            frame.set_macs(&neighbour.vm_mac, &neighbour.peer_mac);
            (0, Counter::DoorToVm)
        }
        Side::Net => {
            frame.set_macs(&neighbour.peer_mac, &neighbour.vm_mac);
            (u64::from(BPF_F_INGRESS), Counter::DoorToNet)
        }
    };
    ctx.set_mark(own_mark(tap));
    // SAFETY: a helper that takes integers.
    if unsafe { bpf_redirect(tap, flags) } != TC_ACT_REDIRECT {
        return Err(Refusal::KernelRefusedAtDoor);
    }
    Ok(Handled::Redirected(counter))
}

/// The daemon, or its death, has reset a connection: what its ends still send goes
/// past the door, and whoever has not heard of the reset hears it from the other.
#[inline(never)]
fn forget_if_reset<I: Ip>(ctx: &TcContext, side: Side) -> Result<(), Refusal> {
    let window = Window::of_skb(ctx)?;
    let packet = Frame::of(&window)?.packet::<I>(&window, UNTAGGED)?;
    if !packet.ip().is_tcp() {
        return Ok(());
    }
    let parsed = packet.parse_tcp(&window)?;
    if parsed.fragment != Fragment::Whole {
        return Ok(());
    }
    let segment = packet.tcp(&window, &parsed)?;
    if segment.resets() {
        // Out of its own door the VM gets it, out of the other it seems to send it.
        let seen = match side {
            Side::Vm => Side::Net,
            Side::Net => Side::Vm,
        };
        connections::forget(&connections::key(&segment, seen));
        counters::count(Counter::ConnectionReset);
    }
    Ok(())
}

/// Source and destination; `None`: not IP, or what an IPv6 stack has to say to its
/// link (RFC 4861, RFC 3810), where there is nobody.
#[inline(always)]
fn addresses<I: Ip>(window: &Window, frame: Frame) -> Option<(Address, Address)> {
    let packet = frame.packet::<I>(window, UNTAGGED).ok()?;
    let (src, dst) = (packet.ip().src(), packet.ip().dst());
    let is_local = |address: &Address| {
        let [first, second, ..] = *address;
        // Multicast, fe80::/10.
        first == 0xff || first == 0xfe && second & 0xc0 == 0x80
    };
    if I::IS_IPV6 && (is_local(&src) || is_local(&dst) || src == ANYWHERE) {
        return None;
    }
    Some((src, dst))
}

/// Which door has this host end.
#[inline(always)]
fn side_of(ifindex: u32) -> Option<Side> {
    for side in [Side::Vm, Side::Net] {
        if let Some(door) = DOORS.get(side as u32)
            && door.ifindex == ifindex
        {
            return Some(side);
        }
    }
    None
}

/// The VM's tap and the MACs to use there: those of this pair of addresses, else
/// those of whatever the VM talked to last.
#[inline(always)]
fn way_back(vm: Address, remote: Address) -> Option<(u32, Neighbour)> {
    // SAFETY: one aligned word.
    let tap = unsafe { VMS.get(vm) }?.ifindex;
    if tap == 0 {
        return None;
    }
    for remote in [remote, ANYWHERE] {
        // SAFETY: two dozen bytes, written whole when they change; a frame with torn
        // MACs is lost like any other and sent again.
        if let Some(neighbour) = unsafe { NEIGHBOURS.get(NeighbourKey { vm, remote }) } {
            return Some((tap, *neighbour));
        }
    }
    None
}

/// Somebody will wonder why: a line in the log, at most one a second.
#[inline(always)]
fn log_no_neighbour(ctx: &TcContext, vm: Address, remote: Address) {
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let Some(last_ns) = LOGGED.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: one aligned word; two CPUs at once write two lines.
    unsafe {
        if *last_ns != 0 && now_ns.wrapping_sub(*last_ns) < LOG_NS {
            return;
        }
        *last_ns = now_ns;
    }
    // Sixteen octets each would be more than the stack takes.
    let tail = |address: Address| {
        let [.., a, b, c, d] = address;
        u32::from_be_bytes([a, b, c, d])
    };
    if vm[0] == 0 {
        warn!(
            ctx,
            "door: no tap or MAC known for VM {:i} toward {:i}: frame dropped",
            tail(vm),
            tail(remote)
        );
    } else {
        warn!(
            ctx,
            "door: no tap or MAC known for VM …{:x} toward …{:x} (IPv6): frame dropped",
            tail(vm),
            tail(remote)
        );
    }
}

/// sk_lookup of the namespace: every UDP datagram, whatever its port, goes to the
/// one socket of the side it came in by, every connection that begins to the one
/// listener. Connected sockets come before this program; sockets that are only
/// bound, even to the very address and port, after it.
#[sk_lookup]
pub fn door_socket(ctx: SkLookupContext) -> u32 {
    // SAFETY: fields of the context that every kernel with tcx has.
    let (protocol, ifindex) = unsafe { ((*ctx.lookup).protocol, (*ctx.lookup).ingress_ifindex) };
    let first = match protocol {
        PROTOCOL_UDP => Some(0),
        PROTOCOL_TCP => Some(DOOR_LISTENERS),
        _ => None,
    };
    if let Some(first) = first {
        for side in [Side::Vm, Side::Net] {
            if DOOR_NS.get(side as u32).copied() == Some(ifindex)
                && DOOR_SOCKETS
                    .redirect_sk_lookup(&ctx, first + side as u32, 0)
                    .is_err()
            {
                counters::count(Counter::KernelRefused);
            }
        }
    }
    SK_PASS
}
