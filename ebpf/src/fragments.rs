//! Later fragments of taken signalling: they have no ports, so they follow
//! their first (RFC 791 §3.2: source, destination, protocol, identification).
//!
//! A later fragment that overtakes its first passes on to the VM or gateway,
//! where it times out; the datagram is then sent again by SIP's own timers.

use sidestep_abi::door::{FRAGMENT_LIFETIME_NS, FragmentKey, Side};

use crate::{maps::FRAGMENTS, packet::Ipv4};

#[inline(always)]
fn key(ip: &Ipv4, side: Side) -> FragmentKey {
    FragmentKey {
        src_be: ip.src_be,
        dst_be: ip.dst_be,
        id_be: ip.id_be,
        protocol: ip.protocol,
        side: side as u8,
    }
}

/// Remembers a first fragment that was taken on `side`.
#[inline(always)]
pub fn remember(ip: &Ipv4, side: Side, now_ns: u64) {
    // When the map refuses, the rest of this datagram passes: one retransmission.
    let _ = FRAGMENTS.insert(key(ip, side), now_ns, 0);
}

/// Whether the first fragment of this datagram was taken lately on `side`.
#[inline(always)]
pub fn first_was_taken(ip: &Ipv4, side: Side, now_ns: u64) -> bool {
    // SAFETY: the value is one aligned word; an entry reused meanwhile reads as
    // another first fragment's time, which is as recent.
    match unsafe { FRAGMENTS.get(key(ip, side)) } {
        Some(taken_ns) => now_ns.wrapping_sub(*taken_ns) < FRAGMENT_LIFETIME_NS,
        None => false,
    }
}
