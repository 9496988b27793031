//! IPv6 (RFC 8200), without extension headers but a fragment's.

use sidestep_abi::{
    flow::{Address, FlowKey},
    table::{Hash, IPV6, RecordKey, TableShape},
};

use super::{
    FiveTuple, Fragment, Ip, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP, Parsed, Udp, Window,
    with_version, without_source,
};
use crate::{
    flows::Asked,
    rewrite::fold,
    verdict::Refusal,
    wide::{load_4, load_8, store_8},
};

/// RFC 8200 §3.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Ipv6 {
    /// Version, traffic class, flow label.
    pub version_class_label: [u8; 4],
    pub payload_len_be: u16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub src: [u16; 8],
    pub dst: [u16; 8],
}

/// RFC 8200 §4.5.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct FragmentHeader {
    pub next_header: u8,
    pub reserved: u8,
    /// 13 bits of offset, two reserved, M.
    pub offset_be: u16,
    pub id_be: u32,
}

const NEXT_FRAGMENT: u8 = 44;

/// Whether a next header is an extension (RFC 7045 §4), behind which UDP or TCP may be.
const fn is_extension(next_header: u8) -> bool {
    // Hop-by-hop, routing, ESP, AH, destination options, mobility, HIP, Shim6.
    matches!(next_header, 0 | 43 | 50 | 51 | 60 | 135 | 139 | 140)
}

impl Ipv6 {
    /// The second to ninth of twelve bits: version, traffic class.
    #[inline(always)]
    const fn class(&self) -> u8 {
        let [first, second, ..] = self.version_class_label;
        first << 4 | second >> 4
    }
}

/// An IPv6 five-tuple, in words: what [`FlowKey`] is in memory, and as it stands
/// in the packet and in a [`RecordKey`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Key6 {
    /// Source, then destination.
    addresses: [u64; 4],
    /// Source, then destination.
    ports: u32,
}

impl Key6 {
    #[inline(always)]
    fn fields(&self) -> &FlowKey {
        const { assert!(size_of::<FlowKey>() == 36 && size_of::<Self>() >= 36) };
        // SAFETY: both are two addresses and two ports without padding before
        // their end, and this is aligned more strictly.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }
}

impl Asked for Key6 {
    #[inline(always)]
    fn hash(&self, shape: &TableShape) -> Hash {
        shape.ipv6(&self.addresses, self.ports)
    }

    #[inline(always)]
    fn is(&self, key: &RecordKey) -> bool {
        let [a, b, c, d] = self.addresses;
        let start = key.addresses.as_ptr();
        // SAFETY: 32 octets of addresses; the version follows the ports.
        unsafe {
            load_8(start) == a
                && load_8(start.add(8)) == b
                && load_8(start.add(16)) == c
                && load_8(start.add(24)) == d
                && load_8(&raw const key.src_port_be) == with_version(self.ports, IPV6)
        }
    }
}

impl FiveTuple for Key6 {
    #[inline(always)]
    fn flow(&self) -> FlowKey {
        *self.fields()
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
        self.fields().src_port_be
    }

    #[inline(always)]
    fn dst_port_be(&self) -> u16 {
        self.fields().dst_port_be
    }
}

/// Sixteen octets at a time: built octet by octet it would take the stack twice.
#[inline(always)]
fn address(words: &[u16; 8]) -> Address {
    let start = words.as_ptr().cast::<u8>();
    // SAFETY: sixteen octets are there, and both types have so many.
    unsafe { core::mem::transmute([load_8(start), load_8(start.add(8))]) }
}

impl Ip for Ipv6 {
    type Key = Key6;

    const IS_IPV6: bool = true;

    #[inline(always)]
    fn octets(&self) -> usize {
        size_of::<Self>() + u16::from_be(self.payload_len_be) as usize
    }

    const ERRORS: u8 = 58;

    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        // RFC 4443 §3: unreachable, too big, time exceeded, parameter problem.
        matches!(kind, 1..=4)
    }

    #[inline(always)]
    fn is_icmp(&self) -> bool {
        self.next_header == Self::ERRORS
    }

    #[inline(always)]
    fn is_plain_udp(&self) -> bool {
        self.version_class_label[0] >> 4 == 6 && self.next_header == PROTOCOL_UDP
    }

    #[inline(always)]
    unsafe fn reverse_key(ip: *const Self, udp: *const Udp) -> Key6 {
        // SAFETY: as for `key`.
        let there = unsafe { Self::key(ip, udp) };
        let [a, b, c, d] = there.addresses;
        Key6 {
            addresses: [c, d, a, b],
            ports: there.ports.rotate_left(16),
        }
    }

    #[inline(always)]
    fn header_checksum(&self) -> u16 {
        0
    }

    #[inline(always)]
    fn addresses_complement(&self) -> u16 {
        let start = self.src.as_ptr();
        let mut sum = 0;
        let mut at = 0;
        while at < 16 {
            // SAFETY: both addresses stand side by side.
            sum += u64::from(!unsafe { load_4(start.add(at)) });
            at += 2;
        }
        fold(sum)
    }

    #[inline(always)]
    fn swapped(addresses: &[u8; 32]) -> [u8; 32] {
        let from = addresses.as_ptr();
        // SAFETY: 32 octets are there, and both types have so many.
        unsafe {
            core::mem::transmute([
                load_8(from.add(16)),
                load_8(from.add(24)),
                load_8(from),
                load_8(from.add(8)),
            ])
        }
    }

    #[inline(always)]
    fn is_tcp(&self) -> bool {
        self.next_header == PROTOCOL_TCP
    }

    #[inline(always)]
    fn is_sctp(&self) -> bool {
        self.next_header == PROTOCOL_SCTP
    }

    #[inline(always)]
    fn parse(&self, window: &Window, l3: usize, protocol: u8) -> Result<Parsed, Refusal> {
        if self.version_class_label[0] >> 4 != 6 {
            return Err(Refusal::NotOurs);
        }
        let next = l3 + size_of::<Self>();
        let mut parsed = Parsed {
            protocol,
            fragment: Fragment::Whole,
            l4: next,
            id_be: 0,
        };
        match self.next_header {
            next_header if next_header == protocol => {}
            NEXT_FRAGMENT => {
                let Some(header) = window.at::<FragmentHeader>(next) else {
                    return Err(Refusal::Truncated);
                };
                // SAFETY: `at` checked the bounds.
                let header = unsafe { *header };
                if header.next_header != protocol {
                    return Err(Refusal::NotOurs);
                }
                let offset = u16::from_be(header.offset_be);
                parsed = Parsed {
                    protocol,
                    // An only fragment (RFC 6946) is no whole packet to us: what
                    // is rewritten has no fragment header.
                    fragment: if offset & 0xfff8 != 0 {
                        Fragment::Later
                    } else {
                        Fragment::First
                    },
                    l4: next + size_of::<FragmentHeader>(),
                    id_be: header.id_be,
                };
            }
            next_header if is_extension(next_header) => return Err(Refusal::ExtensionHeader),
            _ => return Err(Refusal::NotOurs),
        }
        if window.len() < l3 + self.octets() {
            return Err(Refusal::Truncated);
        }
        Ok(parsed)
    }

    #[inline(always)]
    unsafe fn key(ip: *const Self, udp: *const Udp) -> Key6 {
        // SAFETY: the addresses end the IP header, the ports begin the UDP one,
        // both within bounds by the caller's word.
        unsafe {
            let src = (&raw const (*ip).src).cast::<u8>();
            Key6 {
                addresses: [
                    load_8(src),
                    load_8(src.add(8)),
                    load_8(src.add(16)),
                    load_8(src.add(24)),
                ],
                ports: load_4(udp),
            }
        }
    }

    #[inline(always)]
    fn src(&self) -> Address {
        address(&self.src)
    }

    #[inline(always)]
    fn dst(&self) -> Address {
        address(&self.dst)
    }

    #[inline(always)]
    fn hops(&self) -> u8 {
        self.hop_limit
    }

    #[inline(always)]
    fn take_hop(&mut self) {
        self.hop_limit = self.hop_limit.wrapping_sub(1);
    }

    #[inline(always)]
    fn traffic_class(&self) -> u8 {
        self.class()
    }

    #[inline(always)]
    fn set_dscp(&mut self, dscp: u8) {
        let class = dscp << 2 | self.traffic_class() & 3;
        self.version_class_label[0] = 0x60 | class >> 4;
        self.version_class_label[1] = class << 4 | self.version_class_label[1] & 0xf;
    }

    #[inline(always)]
    fn readdress(&mut self, addresses: &[u8; 32], _change: u32, hops: u8) {
        self.hop_limit = self.hop_limit.wrapping_sub(hops);
        let to = (&raw mut self.src).cast::<u8>();
        let from = addresses.as_ptr();
        // SAFETY: 32 octets on both sides; `self` is the only way to them.
        unsafe {
            store_8(to, load_8(from));
            store_8(to.add(8), load_8(from.add(8)));
            store_8(to.add(16), load_8(from.add(16)));
            store_8(to.add(24), load_8(from.add(24)));
        }
    }
}
