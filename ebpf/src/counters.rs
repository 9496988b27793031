//! Counting what the programs do, per CPU.

use sidestep_abi::counter::Counter;

use crate::maps::COUNTERS;

/// One more of `counter`.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the slot belongs to this CPU, and a program is not interrupted
        // by itself on it.
        unsafe { *value += 1 }
    }
}
