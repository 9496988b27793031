//! Rare events, through the ring buffer.

use sidestep_abi::{
    counter::{Counter, Event, EventKind},
    flow::FlowKey,
};

use crate::{counters, maps::EVENTS};

/// Tells the daemon; when the ring buffer is full the event is counted as lost.
#[inline(always)]
pub fn tell(kind: EventKind, now_ns: u64, call: u32, key: &FlowKey, ifindex: u32, detail: u32) {
    match EVENTS.reserve::<Event>(0) {
        Some(mut entry) => {
            entry.write(Event {
                at_ns: now_ns,
                call,
                kind: kind as u32,
                key: *key,
                ifindex,
                detail,
                reserved: 0,
            });
            entry.submit(0);
        }
        None => counters::count(Counter::EventLost),
    }
}
