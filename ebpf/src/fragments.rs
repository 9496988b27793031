//! Later fragments of taken signalling: they have no ports, so they follow
//! their first (RFC 791 §3.2, RFC 8200 §4.5: source, destination, protocol,
//! identification).
//!
//! A later fragment that overtakes its first passes on to the VM or gateway,
//! where it times out; the datagram is then sent again by SIP's own timers.

use sidestep_abi::door::{FRAGMENT_LIFETIME_NS, FragmentKey, Side};

use crate::{
    maps::FRAGMENTS,
    packet::{Ip, Parsed},
};

#[inline(always)]
fn key<I: Ip>(ip: &I, parsed: &Parsed, side: Side) -> FragmentKey {
    FragmentKey {
        src: ip.src(),
        dst: ip.dst(),
        id_be: parsed.id_be,
        protocol: parsed.protocol,
        side: side as u8,
        reserved: 0,
    }
}

/// Remembers a first fragment that was taken on `side`.
#[inline(always)]
pub fn remember<I: Ip>(ip: &I, parsed: &Parsed, side: Side, now_ns: u64) {
    // When the map refuses, the rest of this datagram passes: one retransmission.
    let _ = FRAGMENTS.insert(key(ip, parsed, side), now_ns, 0);
}

/// Whether the first fragment of this datagram was taken lately on `side`.
#[inline(always)]
pub fn first_was_taken<I: Ip>(ip: &I, parsed: &Parsed, side: Side, now_ns: u64) -> bool {
    // SAFETY: the value is one aligned word; an entry reused meanwhile reads as
    // another first fragment's time, which is as recent.
    match unsafe { FRAGMENTS.get(key(ip, parsed, side)) } {
        Some(taken_ns) => now_ns.wrapping_sub(*taken_ns) < FRAGMENT_LIFETIME_NS,
        None => false,
    }
}
