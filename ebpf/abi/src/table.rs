//! The table of flows: which record a five-tuple has.
//!
//! The kernel's hash maps cost a call and a hash that was made for long keys, on every
//! packet. Here a program reads one cache line of [`Bucket`] and the record it points
//! to, both without a call, since they stand in arrays:
//!
//! - A five-tuple hashes ([`TableShape`]) to a bucket and a tag of 32 bits.
//! - A bucket has [`SLOTS`] slots; one is a tag and the number of a record, in 64 bits
//!   that are written at once. What finds no room in its bucket goes to the
//!   partner ([`partner`]); the last slot of a bucket is not zero as long as one of its
//!   own is there.
//! - A record ([`FlowRecord`]) has the whole five-tuple, which is compared, and the action.
//!
//! A record is never changed while a slot points to it. A flow that gets another action
//! gets another record, and the slot is written last: a program meets the old action or
//! the new one, as a whole. The daemon alone writes (`writer`, feature `user`).

use crate::flow::{FlowAction, FlowKey, MAPPED};

#[cfg(feature = "user")]
pub mod writer;

/// Slots of a bucket: a cache line.
pub const SLOTS: usize = 8;

/// The last slot, looked at before the partner is.
pub const LAST: usize = SLOTS - 1;

/// Slots, each zero or a tag (upper half) and a record; see [`slot`].
pub type Bucket = [u64; SLOTS];

/// Buckets for so many flows: with every flow there, half a bucket is used or less, and
/// a bucket and its partner both without room are not to be expected (17 of what are 2
/// in the mean).
pub const fn buckets(flows: u32) -> u32 {
    let buckets = flows.next_power_of_two();
    // A bucket has a partner.
    if buckets < 2 { 2 } else { buckets }
}

/// Records beyond one for each flow: what was replaced rests before it is used again.
pub const RESTING: u32 = 64;

/// How five-tuples hash; the only element of its map, where it stays as long as flows do.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableShape {
    /// Nobody outside knows it, so nobody can name addresses that meet in one bucket.
    pub seed: u64,
    /// Number of buckets, a power of two, less one.
    pub mask: u32,
    /// Zero.
    pub reserved: u32,
}

/// Of a five-tuple: the lower half has the bucket ([`TableShape::mask`]), the upper
/// the tag.
pub type Hash = u64;

impl TableShape {
    /// Of an IPv4 five-tuple, in words as they stand in the packet.
    #[inline(always)]
    pub const fn ipv4(&self, addresses: u64, ports: u32) -> Hash {
        finish(mix(self.seed, addresses), ports)
    }

    /// Of an IPv6 five-tuple.
    #[inline(always)]
    pub const fn ipv6(&self, addresses: &[u64; 4], ports: u32) -> Hash {
        let [a, b, c, d] = *addresses;
        finish(mix(mix(mix(mix(self.seed, a), b), c), d), ports)
    }

    /// The bucket where a flow is looked for first.
    #[inline(always)]
    pub const fn bucket(&self, hash: Hash) -> u32 {
        hash as u32 & self.mask
    }
}

/// Odd numbers without a pattern (the golden ratio, and 64 bits of π).
const SPREAD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0x243f_6a88_85a3_08d3];

#[inline(always)]
const fn mix(state: u64, word: u64) -> u64 {
    let [spread, _] = SPREAD;
    let mixed = (state ^ word).wrapping_mul(spread);
    mixed ^ mixed >> 29
}

#[inline(always)]
const fn finish(state: u64, ports: u32) -> Hash {
    let [_, spread] = SPREAD;
    let mixed = (state ^ ports as u64).wrapping_mul(spread);
    mixed ^ mixed >> 32
}

/// The bucket where what has no room in `bucket` is.
#[inline(always)]
pub const fn partner(bucket: u32) -> u32 {
    bucket ^ 1
}

/// The tag, as a slot has it: never zero, and never that of [`GONE`].
#[inline(always)]
pub const fn tag(hash: Hash) -> u32 {
    (hash >> 32) as u32 | 1
}

/// In the last slot: what was there is gone, but others are in the partner.
pub const GONE: u64 = 2 << 32;

/// A slot's record is in the partner of its bucket.
const ELSEWHERE: u32 = 1 << 31;

/// A slot with a record.
pub const fn slot(hash: Hash, record: u32, elsewhere: bool) -> u64 {
    let record = record | if elsewhere { ELSEWHERE } else { 0 };
    (tag(hash) as u64) << 32 | record as u64
}

/// The tag of a slot; zero: there is nothing.
pub const fn tag_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

/// The record of a slot that has one.
#[inline(always)]
pub const fn record_of(slot: u64) -> u32 {
    slot as u32 & !ELSEWHERE
}

/// Whether a slot has a record that did not find room in the bucket it belongs to.
pub const fn is_elsewhere(slot: u64) -> bool {
    slot as u32 & ELSEWHERE != 0
}

/// A five-tuple as the table has it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordKey {
    /// Source and destination, one after the other as the IP header has them: 2 × 4
    /// octets and zeros, or 2 × 16.
    pub addresses: [u8; 32],
    /// Source port, big endian.
    pub src_port_be: u16,
    /// Destination port, big endian.
    pub dst_port_be: u16,
    /// [`IPV4`] or [`IPV6`].
    pub version: u32,
}

/// [`RecordKey::version`].
pub const IPV4: u32 = 4;
/// [`RecordKey::version`].
pub const IPV6: u32 = 6;

/// A flow: two cache lines.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowRecord {
    /// Its five-tuple.
    pub key: RecordKey,
    /// What to do with it.
    pub action: FlowAction,
    /// Zero.
    pub reserved: u64,
}

const _: () = {
    assert!(size_of::<Bucket>() == 64);
    assert!(size_of::<RecordKey>() == 40);
    assert!(size_of::<FlowRecord>() == 128);
};

impl RecordKey {
    /// Its hash.
    pub fn hash(&self, shape: &TableShape) -> Hash {
        let word = |at: usize| {
            let octets = self.addresses.get(8 * at..).and_then(<[u8]>::first_chunk);
            u64::from_ne_bytes(octets.copied().unwrap_or_default())
        };
        let [a, b] = self.src_port_be.to_ne_bytes();
        let [c, d] = self.dst_port_be.to_ne_bytes();
        let ports = u32::from_ne_bytes([a, b, c, d]);
        if self.version == IPV4 {
            shape.ipv4(word(0), ports)
        } else {
            shape.ipv6(&[word(0), word(1), word(2), word(3)], ports)
        }
    }
}

impl From<&FlowKey> for RecordKey {
    fn from(key: &FlowKey) -> Self {
        let mut addresses = [0; 32];
        let mut put = |octets: &mut dyn Iterator<Item = &u8>| {
            for (to, octet) in addresses.iter_mut().zip(octets) {
                *to = *octet;
            }
        };
        let v4 = [&key.src, &key.dst].map(|address| address.strip_prefix(&MAPPED));
        let version = if let [Some(src), Some(dst)] = v4 {
            put(&mut src.iter().chain(dst));
            IPV4
        } else {
            put(&mut key.src.iter().chain(&key.dst));
            IPV6
        };
        Self {
            addresses,
            src_port_be: key.src_port_be,
            dst_port_be: key.dst_port_be,
            version,
        }
    }
}

impl From<&RecordKey> for FlowKey {
    fn from(key: &RecordKey) -> Self {
        let octets = if key.version == IPV4 { 4 } else { 16 };
        let address = |at: usize| {
            let mut address = [0; 16];
            let prefix = MAPPED.iter().take(16 - octets);
            let of = key.addresses.iter().skip(at * octets).take(octets);
            for (to, octet) in address.iter_mut().zip(prefix.chain(of)) {
                *to = *octet;
            }
            address
        };
        Self {
            src: address(0),
            dst: address(1),
            src_port_be: key.src_port_be,
            dst_port_be: key.dst_port_be,
        }
    }
}

#[cfg(feature = "user")]
mod pod {
    use super::{FlowRecord, TableShape};

    // SAFETY: repr(C), no padding, every bit pattern is a value; `kind` and `leg` of the
    // action are plain bytes, not enums.
    unsafe impl aya::Pod for FlowRecord {}
    // SAFETY: as above.
    unsafe impl aya::Pod for TableShape {}
}
