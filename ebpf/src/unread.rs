//! Signalling that passes because nobody here can read it: noted by VM and reason, so
//! that the operator knows why its calls are not seen.

use sidestep_abi::{
    door::{Unread, UnreadKey, UnreadSeen},
    flow::Address,
};

use crate::{maps::UNREAD, verdict::Refusal};

/// An entry's time is written again when it is this old: not by every packet.
const REFRESH_NS: u64 = 1_000_000_000;

/// Notes a packet of it; with `begins` it is the first of a connection. The packet
/// passes.
#[inline(always)]
pub fn note(vm: Address, why: Unread, begins: bool, now_ns: u64) -> Refusal {
    let key = UnreadKey {
        vm,
        why: why as u32,
    };
    if let Some(seen) = UNREAD.get_ptr_mut(key) {
        // SAFETY: two aligned words; connections that begin on two CPUs at the same
        // moment may be counted here as one (the counter has both).
        unsafe {
            (*seen).begun += begins as u64;
            if begins || now_ns.wrapping_sub((*seen).last_ns) > REFRESH_NS {
                (*seen).last_ns = now_ns;
            }
        }
    } else {
        let seen = UnreadSeen {
            begun: begins as u64,
            last_ns: now_ns,
        };
        // When the map refuses, the next packet tries again.
        let _ = UNREAD.insert(key, seen, 0);
    }
    match (begins, why) {
        (false, _) => Refusal::NotOurs,
        (true, Unread::Encrypted) => Refusal::SignallingEncrypted,
        (true, Unread::Sctp) => Refusal::SignallingSctp,
    }
}
