//! The way out of the daemon's namespace, and the sockets inside it.

use aya_ebpf::{
    bindings::BPF_F_INGRESS,
    helpers::{bpf_ktime_get_ns, bpf_redirect},
    macros::{classifier, sk_lookup},
    programs::{SkLookupContext, TcContext},
};
use aya_log_ebpf::warn;
use sidestep_abi::{
    counter::Counter,
    door::{DOOR_LISTENERS, Neighbour, NeighbourKey, Side},
};

use crate::{
    connections, counters,
    maps::{DOOR_NS, DOOR_SOCKETS, DOORS, LOGGED, NEIGHBOURS, VMS},
    packet::{Fragment, Frame, Window},
    tap::own_mark,
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
/// had: out of the Vm door to the VM, out of the Net door as if the VM had sent
/// it. Any IPv4 protocol, fragments and options included.
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
    let Ok(mut frame) = Frame::ipv4(&window) else {
        return Err(Refusal::DoorForeign);
    };
    let ip = frame.ip();
    let (vm_be, remote_be) = match side {
        Side::Vm => (ip.dst_be, ip.src_be),
        Side::Net => (ip.src_be, ip.dst_be),
    };
    let Some((tap, neighbour)) = way_back(vm_be, remote_be) else {
        log_no_neighbour(ctx, vm_be, remote_be);
        return Err(Refusal::NoNeighbour);
    };
    forget_if_reset(&frame, &window, side);
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
#[inline(always)]
fn forget_if_reset(frame: &Frame, window: &Window, side: Side) {
    if !frame.is_tcp() || !matches!(frame.fragment(window), Ok(Fragment::Whole)) {
        return;
    }
    let Ok(segment) = frame.tcp(window) else {
        return;
    };
    if segment.resets() {
        // Out of its own door the VM gets it, out of the other it seems to send it.
        let seen = match side {
            Side::Vm => Side::Net,
            Side::Net => Side::Vm,
        };
        connections::forget(&connections::key(&segment, seen));
        counters::count(Counter::ConnectionReset);
    }
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
fn way_back(vm_be: u32, remote_be: u32) -> Option<(u32, Neighbour)> {
    // SAFETY: one aligned word.
    let tap = unsafe { VMS.get(vm_be) }?.ifindex;
    if tap == 0 {
        return None;
    }
    for remote_be in [remote_be, 0] {
        // SAFETY: twelve bytes, written whole when they change; a frame with torn
        // MACs is lost like any other and sent again.
        if let Some(neighbour) = unsafe { NEIGHBOURS.get(NeighbourKey { vm_be, remote_be }) } {
            return Some((tap, *neighbour));
        }
    }
    None
}

/// Somebody will wonder why: a line in the log, at most one a second.
#[inline(always)]
fn log_no_neighbour(ctx: &TcContext, vm_be: u32, remote_be: u32) {
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
    warn!(
        ctx,
        "door: no tap or MAC known for VM {:i} toward {:i}: frame dropped",
        u32::from_be(vm_be),
        u32::from_be(remote_be)
    );
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
