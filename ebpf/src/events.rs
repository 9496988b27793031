//! Rare events, through the ring buffer.

use sidestep_abi::counter::{Counter, Event, EventKind};

use crate::{counters, maps::EVENTS, packet::FiveTuple, rtp_stats::Met};

/// Tells the daemon; when the ring buffer is full the event is counted as lost.
#[inline(always)]
pub fn tell<K: FiveTuple>(kind: EventKind, detail: u32, call: u32, key: &K, met: Met) {
    let what = (kind as u64) << 32 | detail as u64;
    write(what, call, key, met.now_ns, met.ifindex);
}

/// Apart from the hot path, and with as few arguments as a call can have.
#[inline(never)]
fn write<K: FiveTuple>(what: u64, call: u32, key: &K, now_ns: u64, ifindex: u32) {
    match EVENTS.reserve::<Event>(0) {
        Some(mut entry) => {
            entry.write(Event {
                at_ns: now_ns,
                call,
                kind: (what >> 32) as u32,
                key: key.flow(),
                ifindex,
                detail: what as u32,
                reserved: 0,
            });
            entry.submit(0);
        }
        None => counters::count(Counter::EventLost),
    }
}
