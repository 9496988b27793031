//! What Sidestep's kernel programs and its daemon say to each other: keys and
//! values of the pinned maps, the actions of a flow, the counters.
//!
//! Addresses and ports stand in network byte order, as they stand in a packet
//! (fields say `be`), so the programs compare without swapping. Every type is
//! `#[repr(C)]` without implicit padding: the kernel compares map keys byte by
//! byte, and a padding byte would be a key nobody can look up.

#![no_std]

pub mod counter;
pub mod door;
pub mod flow;
pub mod table;

/// Version of everything in this crate. Maps and links are pinned below a
/// directory of this name, so that a daemon never reads maps of another layout.
pub const VERSION: u32 = 5;

/// Name of each map, as the object file, the pins and the tests know it.
pub mod map {
    /// Which record a media flow's five-tuple has, see [`crate::table`].
    pub const FLOW_BUCKETS: &str = "FLOW_BUCKETS";
    /// Every media flow: its exact five-tuple, what to do with it.
    pub const FLOW_RECORDS: &str = "FLOW_RECORDS";
    /// How five-tuples hash: one [`crate::table::TableShape`], for those who come later.
    /// The programs have it in [`crate::TABLE_SHAPE`].
    pub const FLOW_SHAPE: &str = "FLOW_SHAPE";
    /// Statistics of each flow, by [`crate::flow::FlowAction::stats`].
    pub const FLOW_STATS: &str = "FLOW_STATS";
    /// Anchor ports in use: (address, port) → number of the call (`u32`).
    pub const ANCHORS: &str = "ANCHORS";
    /// When a packet of no flow at an anchor was last told of; the programs' own.
    pub const FOREIGN_SEEN: &str = "FOREIGN_SEEN";
    /// MAC of each uplink (6 octets), by interface index.
    pub const UPLINKS: &str = "UPLINKS";
    /// VLANs of the host's on uplinks, by [`crate::flow::VlanKey`] → the other end.
    pub const VLANS: &str = "VLANS";
    /// Signalling ports (`u16`, big endian) that the tap programs take → class (`u8`).
    pub const SIGNALLING_PORTS: &str = "SIGNALLING_PORTS";
    /// The VMs, by address.
    pub const VMS: &str = "VMS";
    /// MACs learned from taken frames.
    pub const NEIGHBOURS: &str = "NEIGHBOURS";
    /// TCP connections that are taken, by [`crate::door::ConnectionKey`] → when a
    /// segment came last (`u64`).
    pub const CONNECTIONS: &str = "CONNECTIONS";
    /// Signalling that cannot be read, by [`crate::door::UnreadKey`] →
    /// [`crate::door::UnreadSeen`].
    pub const UNREAD: &str = "UNREAD";
    /// First fragments taken lately → when (`u64`, bpf_ktime_get_ns).
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// The two door links.
    pub const DOORS: &str = "DOORS";
    /// Interface index (`u32`) of each door's namespace end, by
    /// [`crate::door::Side`], for `sk_lookup`; 0: not there.
    pub const DOOR_NS: &str = "DOOR_NS";
    /// Deadline (`u64`, bpf_ktime_get_ns) until which the daemon vouches for itself.
    pub const LEASE: &str = "LEASE";
    /// One 64-bit counter per [`crate::counter::Counter`], per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// Rare events.
    pub const EVENTS: &str = "EVENTS";
    /// The sockets behind the door, for `sk_lookup`: of datagrams by
    /// [`crate::door::Side`], of connections [`crate::door::DOOR_LISTENERS`] further.
    pub const DOOR_SOCKETS: &str = "DOOR_SOCKETS";
}

/// Name of the constant in the object file that the loader sets to the
/// [`table::TableShape`] of the maps.
pub const TABLE_SHAPE: &str = "TABLE_SHAPE";

/// Name of each program in the object file.
pub mod program {
    /// tcx ingress of a tap: frames from the VM.
    pub const TAP_FROM_VM: &str = "tap_from_vm";
    /// tcx egress of a tap: frames to the VM.
    pub const TAP_TO_VM: &str = "tap_to_vm";
    /// tcx ingress of the host ends of both doors: frames from the namespace.
    pub const DOOR_OUT: &str = "door_out";
    /// XDP of an uplink.
    pub const UPLINK: &str = "uplink";
    /// sk_lookup of the namespace.
    pub const DOOR_SOCKET: &str = "door_socket";
}
