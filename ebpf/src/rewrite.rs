//! Writing new addresses, ports and TTL into a packet, with its checksums
//! updated by what changed (RFC 1624 §3, equation 3: `HC' = ~(~HC + ~m + m')`).
//!
//! One's complement sums do not depend on byte order (RFC 1071 §2.B), so
//! everything is added as it stands in the packet.

use sidestep_abi::flow::FlowAction;

use crate::packet::{Datagram, Ethernet, Ipv4};

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
    let old = ttl_word(ip);
    ip.ttl = ip.ttl.wrapping_sub(1);
    ip.checksum = Change::none().word(old, ttl_word(ip)).apply(ip.checksum);
}

/// The addresses and ports of a steered flow.
#[inline(always)]
pub fn steer(datagram: &mut Datagram, action: &FlowAction) {
    let ip = datagram.frame.ip_mut();
    let addresses = Change::none()
        .words(ip.src_be, action.new_src_be)
        .words(ip.dst_be, action.new_dst_be);
    ip.src_be = action.new_src_be;
    ip.dst_be = action.new_dst_be;
    ip.checksum = addresses.apply(ip.checksum);

    let udp = datagram.udp_mut();
    // RFC 768: zero means that the sender made none; it stays so.
    if udp.checksum != 0 {
        let checksum = addresses
            .word(udp.src_port_be, action.new_src_port_be)
            .word(udp.dst_port_be, action.new_dst_port_be)
            .apply(udp.checksum);
        // RFC 768: a sum of zero is sent as all ones.
        udp.checksum = if checksum == 0 { 0xffff } else { checksum };
    }
    udp.src_port_be = action.new_src_port_be;
    udp.dst_port_be = action.new_dst_port_be;
}

/// Back to where it came from.
#[inline(always)]
pub fn swap_macs(eth: &mut Ethernet) {
    let dst = eth.dst;
    eth.dst = eth.src;
    eth.src = dst;
}
