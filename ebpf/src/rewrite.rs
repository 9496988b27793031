//! Writing new addresses, ports and TTL into a packet, with its checksums
//! updated by what changed (RFC 1624 §3, equation 3: `HC' = ~(~HC + ~m + m')`).
//!
//! One's complement sums do not depend on byte order (RFC 1071 §2.B), so
//! everything is added as it stands in the packet.

use sidestep_abi::flow::FlowAction;

use crate::{
    packet::{Datagram, Ipv4, Key},
    wide::{load_4, load_8},
};

/// A one's complement sum of changes, not yet folded.
#[derive(Clone, Copy)]
struct Change(u64);

impl Change {
    #[inline(always)]
    const fn none() -> Self {
        Self(0)
    }

    #[inline(always)]
    const fn word(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// Two words at once: 2^16 is 1 modulo 2^16 - 1.
    #[inline(always)]
    const fn words(self, old: u32, new: u32) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// Both changes.
    #[inline(always)]
    const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Four words at once.
    #[inline(always)]
    const fn long_words(self, old: u64, new: u64) -> Self {
        self.words(old as u32, new as u32)
            .words((old >> 32) as u32, (new >> 32) as u32)
    }

    /// The checksum after the change.
    #[inline(always)]
    const fn apply(self, checksum: u16) -> u16 {
        let mut sum = self.0 + (!checksum) as u64;
        // At most 2^36: three folds leave 16 bits.
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        !(sum as u16)
    }
}

/// The TTL and the protocol, as the checksum sees them.
#[inline(always)]
fn ttl_word(ip: &Ipv4) -> u16 {
    u16::from_ne_bytes([ip.ttl, ip.protocol])
}

/// One hop further. The TTL must be above 1.
#[inline(always)]
pub fn decrement_ttl(ip: &mut Ipv4) {
    ip.checksum = take_hop(ip).apply(ip.checksum);
}

/// Takes one off the TTL; what that changes.
#[inline(always)]
fn take_hop(ip: &mut Ipv4) -> Change {
    let old = ttl_word(ip);
    ip.ttl = ip.ttl.wrapping_sub(1);
    Change::none().word(old, ttl_word(ip))
}

/// What becomes of the TTL of a steered packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// One hop further; it must be above 1.
    Taken,
    /// Whoever sends the packet on takes it.
    Left,
}

/// The addresses and ports of a steered flow.
#[inline(always)]
pub fn steer(datagram: &mut Datagram, key: &Key, action: &FlowAction, hop: Hop) {
    // SAFETY: the new addresses stand side by side, and so do the new ports.
    let (new_addresses, new_ports) = unsafe {
        (
            load_8(&raw const action.new_src_be),
            load_4(&raw const action.new_src_port_be),
        )
    };
    datagram.readdress(new_addresses, new_ports);
    let addresses = Change::none().long_words(key.addresses, new_addresses);
    let ip = datagram.frame.ip_mut();
    let hop = match hop {
        Hop::Taken => take_hop(ip),
        Hop::Left => Change::none(),
    };
    ip.checksum = addresses.and(hop).apply(ip.checksum);

    let udp = datagram.udp_mut();
    // RFC 768: zero means that the sender made none; it stays so.
    if udp.checksum != 0 {
        let checksum = addresses.words(key.ports, new_ports).apply(udp.checksum);
        // RFC 768: a sum of zero is sent as all ones.
        udp.checksum = if checksum == 0 { 0xffff } else { checksum };
    }
}
