//! The maps, under the names of [`sidestep_abi::map`]. All are pinned by name, in
//! the directory that the loader gives, but `LOGGED`, which nobody needs to find
//! again; the flow table and `FLOW_STATS` get their configured size from it.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, SockMap},
};
use sidestep_abi::{
    counter::COUNTERS_LEN,
    door::{ConnectionKey, Door, FragmentKey, Neighbour, NeighbourKey, UnreadKey, UnreadSeen, Vm},
    flow::{Address, AnchorKey, FlowStats, Vlan, VlanKey},
    table::{Bucket, FlowRecord, RESTING, TableShape, buckets},
};

/// Entries of the flow maps and of `FLOW_STATS` unless the loader says otherwise.
const MAX_FLOWS: u32 = 131_072;

// The daemon writes single slots of it.
#[map]
pub static FLOW_BUCKETS: Array<Bucket> = Array::pinned(buckets(MAX_FLOWS), BPF_F_MMAPABLE);

#[map]
pub static FLOW_RECORDS: Array<FlowRecord> = Array::pinned(MAX_FLOWS + RESTING, 0);

// The programs have it as a constant.
#[map]
pub static FLOW_SHAPE: Array<TableShape> = Array::pinned(1, 0);

#[map]
pub static FLOW_STATS: Array<FlowStats> = Array::pinned(MAX_FLOWS, 0);

#[map]
pub static ANCHORS: HashMap<AnchorKey, u32> = HashMap::pinned(65_536, 0);

#[map]
pub static FOREIGN_SEEN: LruHashMap<AnchorKey, u64> = LruHashMap::pinned(4_096, 0);

#[map]
pub static UPLINKS: HashMap<u32, [u8; 6]> = HashMap::pinned(256, 0);

#[map]
pub static VLANS: HashMap<VlanKey, Vlan> = HashMap::pinned(2_048, BPF_F_NO_PREALLOC);

#[map]
pub static SIGNALLING_PORTS: HashMap<u16, u8> = HashMap::pinned(256, 0);

#[map]
pub static VMS: HashMap<Address, Vm> = HashMap::pinned(4_096, 0);

#[map]
pub static NEIGHBOURS: LruHashMap<NeighbourKey, Neighbour> = LruHashMap::pinned(65_536, 0);

// Not an LRU map: under a flood of SYNs that would push out connections which live.
#[map]
pub static CONNECTIONS: HashMap<ConnectionKey, u64> = HashMap::pinned(32_768, 0);

#[map]
pub static UNREAD: LruHashMap<UnreadKey, UnreadSeen> = LruHashMap::pinned(8_192, 0);

#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, u64> = LruHashMap::pinned(4_096, 0);

#[map]
pub static DOORS: Array<Door> = Array::pinned(2, 0);

#[map]
pub static DOOR_NS: Array<u32> = Array::pinned(2, 0);

#[map]
pub static DOOR_SOCKETS: SockMap = SockMap::pinned(4, 0);

#[map]
pub static LEASE: Array<u64> = Array::pinned(1, 0);

#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::pinned(COUNTERS_LEN, 0);

#[map]
pub static LOGGED: Array<u64> = Array::with_max_entries(1, 0);

#[map]
pub static EVENTS: RingBuf = RingBuf::pinned(256 * 1024, 0);
