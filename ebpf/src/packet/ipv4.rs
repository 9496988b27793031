//! IPv4 (RFC 791), without options.

use sidestep_abi::{
    flow::{Address, FlowKey},
    table::{Hash, IPV4, RecordKey, TableShape},
};

use super::{
    FiveTuple, Fragment, Ip, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP, Parsed, Udp, Window,
    with_version, without_source,
};
use crate::{
    flows::Asked,
    rewrite::{Change, fold},
    verdict::Refusal,
    wide::{load_4, load_8, store_8},
};

/// RFC 791 §3.1, no options.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Ipv4 {
    pub version_ihl: u8,
    pub tos: u8,
    pub total_len_be: u16,
    pub id_be: u16,
    pub fragment_be: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: u16,
    pub src_be: u32,
    pub dst_be: u32,
}

/// Version 4, five words of header.
pub const VERSION_4_IHL_5: u8 = 0x45;

impl Ipv4 {
    /// The TTL and the protocol, as the checksum sees them.
    #[inline(always)]
    const fn ttl_word(&self) -> u16 {
        u16::from_ne_bytes([self.ttl, self.protocol])
    }

    /// Version and TOS, as the checksum sees them.
    #[inline(always)]
    const fn tos_word(&self) -> u16 {
        u16::from_ne_bytes([self.version_ihl, self.tos])
    }
}

/// An IPv4 five-tuple as two words, as it stands in the packet and at the beginning of
/// a [`RecordKey`].
#[derive(Clone, Copy)]
pub struct Key4 {
    /// Source, then destination.
    addresses: u64,
    /// Source, then destination.
    ports: u32,
}

impl Asked for Key4 {
    #[inline(always)]
    fn hash(&self, shape: &TableShape) -> Hash {
        shape.ipv4(self.addresses, self.ports)
    }

    #[inline(always)]
    fn is(&self, key: &RecordKey) -> bool {
        // SAFETY: eight octets of addresses; the version follows the ports.
        let (addresses, rest) = unsafe {
            (
                load_8(&raw const key.addresses),
                load_8(&raw const key.src_port_be),
            )
        };
        addresses == self.addresses && rest == with_version(self.ports, IPV4)
    }
}

impl FiveTuple for Key4 {
    #[inline(always)]
    fn flow(&self) -> FlowKey {
        let [a, b, c, d, e, f, g, h] = self.addresses.to_ne_bytes();
        FlowKey {
            src: mapped(u32::from_ne_bytes([a, b, c, d])),
            dst: mapped(u32::from_ne_bytes([e, f, g, h])),
            src_port_be: self.src_port_be(),
            dst_port_be: self.dst_port_be(),
        }
    }

    #[inline(always)]
    fn with_any_source_port(self) -> Self {
        Self {
            ports: without_source(self.ports),
            ..self
        }
    }

    #[inline(always)]
    fn src_port_be(&self) -> u16 {
        let [a, b, ..] = self.ports.to_ne_bytes();
        u16::from_ne_bytes([a, b])
    }

    #[inline(always)]
    fn dst_port_be(&self) -> u16 {
        let [.., c, d] = self.ports.to_ne_bytes();
        u16::from_ne_bytes([c, d])
    }
}

/// As the maps have it (see [`sidestep_abi::flow::MAPPED`]).
#[inline(always)]
pub fn mapped(address_be: u32) -> Address {
    let [a, b, c, d] = address_be.to_ne_bytes();
    let end = u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d]);
    // SAFETY: both types have sixteen octets.
    unsafe { core::mem::transmute([0, end]) }
}

impl Ip for Ipv4 {
    type Key = Key4;

    const IS_IPV6: bool = false;

    #[inline(always)]
    fn octets(&self) -> usize {
        u16::from_be(self.total_len_be) as usize
    }

    const ERRORS: u8 = 1;

    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        // RFC 792: unreachable, time exceeded, parameter problem.
        matches!(kind, 3 | 11 | 12)
    }

    #[inline(always)]
    fn is_icmp(&self) -> bool {
        self.protocol == Self::ERRORS
    }

    #[inline(always)]
    fn is_plain_udp(&self) -> bool {
        self.version_ihl == VERSION_4_IHL_5
            && self.protocol == PROTOCOL_UDP
            && u16::from_be(self.fragment_be) & 0x1fff == 0
    }

    #[inline(always)]
    unsafe fn reverse_key(ip: *const Self, udp: *const Udp) -> Key4 {
        // SAFETY: as for `key`.
        unsafe {
            Key4 {
                addresses: load_8(&raw const (*ip).src_be).rotate_left(32),
                ports: load_4(udp).rotate_left(16),
            }
        }
    }

    #[inline(always)]
    fn header_checksum(&self) -> u16 {
        self.checksum
    }

    #[inline(always)]
    fn addresses_complement(&self) -> u16 {
        fold(u64::from(!self.src_be) + u64::from(!self.dst_be))
    }

    #[inline(always)]
    fn swapped(addresses: &[u8; 32]) -> [u8; 32] {
        // SAFETY: eight octets are there, and both types have 32.
        unsafe {
            let both = load_8(addresses.as_ptr()).rotate_left(32);
            core::mem::transmute([both, 0, 0, 0])
        }
    }

    #[inline(always)]
    fn is_tcp(&self) -> bool {
        self.protocol == PROTOCOL_TCP
    }

    #[inline(always)]
    fn is_sctp(&self) -> bool {
        self.protocol == PROTOCOL_SCTP
    }

    #[inline(always)]
    fn parse(&self, window: &Window, l3: usize, protocol: u8) -> Result<Parsed, Refusal> {
        if self.protocol != protocol {
            return Err(Refusal::NotOurs);
        }
        if self.version_ihl != VERSION_4_IHL_5 {
            return Err(match (self.version_ihl >> 4, self.version_ihl & 0xf) {
                (4, 6..) => Refusal::IpOptions,
                (4, _) => Refusal::Truncated,
                _ => Refusal::NotOurs,
            });
        }
        let total_len = self.octets();
        if total_len < size_of::<Self>() || window.len() < l3 + total_len {
            return Err(Refusal::Truncated);
        }
        // RFC 791 §3.1: DF, MF, 13 bits of offset.
        let fragment = u16::from_be(self.fragment_be);
        Ok(Parsed {
            protocol,
            fragment: if fragment & 0x1fff != 0 {
                Fragment::Later
            } else if fragment & 0x2000 != 0 {
                Fragment::First
            } else {
                Fragment::Whole
            },
            l4: l3 + size_of::<Self>(),
            id_be: self.id_be as u32,
        })
    }

    #[inline(always)]
    unsafe fn key(ip: *const Self, udp: *const Udp) -> Key4 {
        // SAFETY: the addresses end the IP header, the ports begin the UDP one,
        // both within bounds by the caller's word.
        unsafe {
            Key4 {
                addresses: load_8(&raw const (*ip).src_be),
                ports: load_4(udp),
            }
        }
    }

    #[inline(always)]
    fn src(&self) -> Address {
        mapped(self.src_be)
    }

    #[inline(always)]
    fn dst(&self) -> Address {
        mapped(self.dst_be)
    }

    #[inline(always)]
    fn hops(&self) -> u8 {
        self.ttl
    }

    #[inline(always)]
    fn take_hop(&mut self) {
        let old = self.ttl_word();
        self.ttl = self.ttl.wrapping_sub(1);
        self.checksum = Change::none()
            .word(old, self.ttl_word())
            .apply(self.checksum);
    }

    #[inline(always)]
    fn traffic_class(&self) -> u8 {
        self.tos
    }

    #[inline(always)]
    fn set_dscp(&mut self, dscp: u8) {
        let old = self.tos_word();
        self.tos = dscp << 2 | self.tos & 3;
        self.checksum = Change::none()
            .word(old, self.tos_word())
            .apply(self.checksum);
    }

    #[inline(always)]
    fn readdress(&mut self, addresses: &[u8; 32], change: u32, hops: u8) {
        // SAFETY: the action has eight octets there, and the header two addresses
        // side by side; `self` is the only way to them.
        unsafe {
            store_8(&raw mut self.src_be, load_8(addresses.as_ptr()));
        }
        let old = self.ttl_word();
        self.ttl = self.ttl.wrapping_sub(hops);
        self.checksum = Change::of(change)
            .word(old, self.ttl_word())
            .apply(self.checksum);
    }
}
