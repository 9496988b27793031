//! Packets of no flow that are sent to an anchor: dropped, and the daemon hears of them
//! once in a while, since it may learn from one where a thin client behind a NAT sends
//! from. At the uplinks and at the taps.
//!
//! In: a datagram of no flow. Out: why it is refused; sometimes an event.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use sidestep_abi::{
    counter::EventKind,
    flow::{AnchorKey, FlowKind},
};

use crate::{
    events,
    maps::{ANCHORS, FOREIGN_SEEN},
    packet::{Datagram, FiveTuple, Ip},
    rtp_stats::Met,
    verdict::Refusal,
};

const LEARN: u8 = FlowKind::Learn as u8;

/// At most one event about foreign packets per anchor in this time.
const FOREIGN_EVENT_NS: u64 = 1_000_000_000;

/// The same about packets to be learned from: shorter than between two of a stream, so
/// that a late packet of another port is not told of in their place.
const UNLEARNED_EVENT_NS: u64 = 10_000_000;

/// A packet of no flow: none of ours unless it is sent to an anchor.
#[inline(always)]
pub fn meet<I: Ip>(datagram: &Datagram<I>, ifindex: u32) -> Refusal {
    let anchor = AnchorKey {
        addr: datagram.packet.ip().dst(),
        port_be: datagram.key().dst_port_be(),
        told: 0,
    };
    // SAFETY: one aligned word.
    let Some(call) = (unsafe { ANCHORS.get(anchor) }) else {
        return Refusal::NotOurs;
    };
    if at_anchor(anchor, &datagram.key(), *call, ifindex) {
        return Refusal::Unlearned;
    }
    Refusal::ForeignAtAnchor
}

/// The daemon hears of it once in a while; true: the thin client may have sent it,
/// from a port that is to be learned.
#[inline(never)]
fn at_anchor<K: FiveTuple>(mut anchor: AnchorKey, key: &K, call: u32, ifindex: u32) -> bool {
    let unlearned = match key.with_any_source_port().action() {
        Some(action) => action.kind == LEARN,
        None => false,
    };
    let (kind, pause_ns) = if unlearned {
        (EventKind::Unlearned, UNLEARNED_EVENT_NS)
    } else {
        (EventKind::Foreign, FOREIGN_EVENT_NS)
    };
    anchor.told = kind as u16;
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    // SAFETY: one aligned word.
    let told_lately = match unsafe { FOREIGN_SEEN.get(anchor) } {
        Some(told_ns) => now_ns.wrapping_sub(*told_ns) < pause_ns,
        None => false,
    };
    if !told_lately {
        // When the map refuses, the next such packet is told of too.
        let _ = FOREIGN_SEEN.insert(anchor, now_ns, 0);
        events::tell(kind, 0, call, key, Met { now_ns, ifindex });
    }
    unlearned
}
