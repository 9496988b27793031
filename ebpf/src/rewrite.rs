//! Writing new addresses, ports and TTL into a packet, with its checksums
//! updated by what changed (RFC 1624 §3, equation 3: `HC' = ~(~HC + ~m + m')`).
//!
//! One's complement sums do not depend on byte order (RFC 1071 §2.B), so
//! everything is added as it stands in the packet. What a flow's new addresses
//! and ports add is the same for every packet, and stands in its action.

use sidestep_abi::flow::FlowAction;

use crate::{
    packet::{Datagram, Ip},
    wide::{load_4, store_4},
};

/// A one's complement sum of changes, not yet folded.
#[derive(Clone, Copy)]
pub struct Change(u64);

impl Change {
    #[inline(always)]
    pub const fn none() -> Self {
        Self(0)
    }

    /// A sum made before.
    #[inline(always)]
    pub const fn of(sum: u32) -> Self {
        Self(sum as u64)
    }

    #[inline(always)]
    pub const fn word(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// Another sum made before, too.
    #[inline(always)]
    pub const fn and(self, sum: u32) -> Self {
        Self(self.0 + sum as u64)
    }

    /// As a sum of words.
    #[inline(always)]
    pub const fn sum(self) -> u16 {
        fold(self.0)
    }

    /// The checksum after the change.
    #[inline(always)]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold(self.0 + (!checksum) as u64)
    }
}

/// A sum of words, at most 2^36, to 16 bits.
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// What becomes of the TTL of a steered packet.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Hop {
    /// One hop further; it must be above 1.
    Taken = 1,
    /// Whoever sends the packet on takes it.
    Left = 0,
}

/// The addresses and ports of a steered flow that keeps its IP version.
#[inline(always)]
pub fn steer<I: Ip>(datagram: &mut Datagram<I>, action: &FlowAction, hop: Hop) {
    readdress(datagram, action, hop);
    let udp = datagram.udp_mut();
    // RFC 768: zero means that the sender made none; it stays so. In IPv6 that is
    // between the endpoints too (RFC 6936 §5).
    if udp.checksum != 0 {
        udp.checksum = changed(udp.checksum, action);
    }
}

/// The same, but UDP's checksum stays as it is.
#[inline(always)]
pub fn readdress<I: Ip>(datagram: &mut Datagram<I>, action: &FlowAction, hop: Hop) {
    let ip = datagram.packet.ip_mut();
    ip.readdress(&action.new_addresses, action.addresses_change, hop as u8);
    let udp = datagram.udp_mut();
    // SAFETY: the new ports stand side by side, and so do the header's.
    unsafe {
        let ports = load_4(&raw const action.new_src_port_be);
        store_4(&raw mut udp.src_port_be, ports);
    }
}

/// A UDP checksum with the new addresses and ports.
#[inline(always)]
pub const fn changed(checksum: u16, action: &FlowAction) -> u16 {
    match Change::of(action.udp_change).apply(checksum) {
        // RFC 768: a sum of zero is sent as all ones.
        0 => 0xffff,
        checksum => checksum,
    }
}
