//! TCP connections with signalling in them: which are taken.
//!
//! A connection is terminated in the daemon's namespace, and another one leads on
//! from there; the two count octets differently. So a connection is taken from its
//! first segment on or not at all, and once taken until it is over: see
//! [`ConnectionKey`].

use sidestep_abi::door::{ConnectionKey, Side, VM_CONNECTIONS, Vm};

use crate::{
    maps::CONNECTIONS,
    packet::{Ip, Segment},
    verdict::Refusal,
};

/// An entry's time is written again when it is this old: not by every segment.
const REFRESH_NS: u64 = 1_000_000_000;

/// The connection of a segment that the VM sends (`Side::Vm`) or gets
/// (`Side::Net`).
#[inline(always)]
pub fn key<I: Ip>(segment: &Segment<I>, side: Side) -> ConnectionKey {
    let (ip, tcp) = (segment.packet.ip(), segment.tcp());
    match side {
        Side::Vm => ConnectionKey {
            vm: ip.src(),
            remote: ip.dst(),
            vm_port_be: tcp.src_port_be,
            remote_port_be: tcp.dst_port_be,
        },
        Side::Net => ConnectionKey {
            vm: ip.dst(),
            remote: ip.src(),
            vm_port_be: tcp.dst_port_be,
            remote_port_be: tcp.src_port_be,
        },
    }
}

/// A connection begins: it is taken from here on, unless there are too many.
#[inline(always)]
pub fn begin(key: &ConnectionKey, vm: &Vm, now_ns: u64) -> Result<(), Refusal> {
    // Its SYN again, or another connection of the same two ports.
    if go_on(key, now_ns).is_ok() {
        return Ok(());
    }
    if vm.flags & VM_CONNECTIONS == 0 {
        return Err(Refusal::ConnectionLimit);
    }
    match CONNECTIONS.insert(key, now_ns, 0) {
        Ok(()) => Ok(()),
        Err(_) => Err(Refusal::ConnectionLimit),
    }
}

/// Another segment of a connection that is taken.
#[inline(always)]
pub fn go_on(key: &ConnectionKey, now_ns: u64) -> Result<(), Refusal> {
    let Some(last_ns) = CONNECTIONS.get_ptr_mut(key) else {
        return Err(Refusal::ConnectionNotTaken);
    };
    // SAFETY: one aligned word, whatever the other CPUs do with it meanwhile; an
    // entry that is given away meanwhile gets a time that is right for it too.
    unsafe {
        if now_ns.wrapping_sub(*last_ns) > REFRESH_NS {
            *last_ns = now_ns;
        }
    }
    Ok(())
}

/// A connection is over, or is not taken after all.
#[inline(always)]
pub fn forget(key: &ConnectionKey) {
    // There may be no such entry.
    let _ = CONNECTIONS.remove(key);
}
