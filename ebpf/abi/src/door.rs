//! The door: what the tap programs take, and how frames find back.
//!
//! Nothing here is on the way of media: IPv4 addresses stand mapped, in the same
//! maps as IPv6 ones.

use crate::flow::Address;

/// Class of a signalling port, the value of `SIGNALLING_PORTS` (the key is the
/// port, big endian).
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortClass {
    /// SIP, H.248 or MGCP between a VM and its gateways: taken in both
    /// directions, whichever end has the port. Which protocol it is, the daemon
    /// knows.
    Gateway = 1,
    /// The registrar for thin clients, datagrams and connections: taken only toward a
    /// VM's address, and only by destination port.
    Registrar = 2,
    /// As `Gateway`, but only datagrams: no connection to such a port is taken.
    GatewayDatagrams = 3,
    /// TLS between a VM and its gateways that nobody here may read: it passes, and
    /// is noted in `UNREAD`.
    Encrypted = 4,
}

/// Key of signalling that passes because it cannot be read: whose, and why.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnreadKey {
    /// The VM's address.
    pub vm: Address,
    /// An [`Unread`].
    pub why: u32,
}

/// Why signalling cannot be read.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unread {
    /// TLS, without the operator's certificates.
    Encrypted = 1,
    /// SCTP (RFC 9260).
    Sctp = 2,
}

impl Unread {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Encrypted, Self::Sctp];
}

/// How much signalling passed so.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadSeen {
    /// Connections, or associations, that have begun.
    pub begun: u64,
    /// When anything of them was seen last, ns of bpf_ktime_get_ns, to a second or
    /// so.
    pub last_ns: u64,
}

/// A VM, by each of its addresses: which tap it is on.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vm {
    /// Interface index of its tap; 0 while the tap is not there.
    pub ifindex: u32,
    /// [`VM_CONNECTIONS`], or 0.
    pub flags: u32,
}

/// [`Vm::flags`]: connections that begin now are taken. Without it they pass, and
/// those taken before go on.
pub const VM_CONNECTIONS: u32 = 1;

/// Key of a TCP connection whose segments are taken, as the VM sees it. The value
/// (`u64`) is when one came last, ns of bpf_ktime_get_ns, to a second or so.
///
/// Its first segment decides: without an entry, segments other than a SYN pass, so
/// that a connection from before, or from a time without a daemon, is never cut in
/// two. With an entry they are taken even when the lease is stale: a daemon that is
/// only slow must not have the two ends meet, who count octets differently.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// The VM's address.
    pub vm: Address,
    /// The far address.
    pub remote: Address,
    /// The VM's port, big endian.
    pub vm_port_be: u16,
    /// The far port, big endian.
    pub remote_port_be: u16,
}

/// Where a socket behind the door stands in `DOOR_SOCKETS`: that of datagrams by
/// its [`Side`], the listener of connections this much further.
pub const DOOR_LISTENERS: u32 = 2;

/// Key of a learned neighbourhood: the VM's address and the far one. With `remote`
/// all zero: whatever the VM talked to last, for remotes not yet seen.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NeighbourKey {
    /// The VM's address.
    pub vm: Address,
    /// The far address.
    pub remote: Address,
}

/// MACs and VLAN of a neighbourhood, as frames on the tap have them.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The VM's MAC.
    pub vm_mac: [u8; 6],
    /// The MAC through which the VM reaches the far address.
    pub peer_mac: [u8; 6],
    /// The MAC by which frames from there come; zero before the first, and for
    /// remotes not yet seen. Routers that share an address (VRRP, RFC 9568) have another
    /// here than above.
    pub seen_mac: [u8; 6],
    /// 1: the VM itself has sent there, and its choice of a next hop stands. 0:
    /// only what others sent is known, and the last of it counts.
    pub chosen_by_vm: u16,
    /// The tag that the VM's guest puts on its frames.
    pub tag: Tag,
}

/// A VLAN tag (IEEE 802.1Q): all zero where a frame has none.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tag {
    /// Its type, 0x8100 or 0x88a8, big endian.
    pub protocol_be: u16,
    /// Priority, drop eligibility and VLAN identifier.
    pub control: u16,
}

/// No tag.
pub const UNTAGGED: Tag = Tag {
    protocol_be: 0,
    control: 0,
};

/// A datagram whose later fragments have to follow the first.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Source address.
    pub src: Address,
    /// Destination address.
    pub dst: Address,
    /// Identification, big endian: of IPv4 16 bits, of IPv6 32 (RFC 8200 §4.5).
    pub id_be: u32,
    /// IP protocol.
    pub protocol: u8,
    /// A [`Side`].
    pub side: u8,
    /// Zero.
    pub reserved: u16,
}

/// Which side of the VM a frame is on.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Between the VM and its tap: frames the VM sent, frames for the VM.
    Vm = 0,
    /// Between the tap and the network: frames as if the VM had sent them,
    /// frames others sent to it.
    Net = 1,
}

/// One of the two door links, by [`Side`]: a veth pair whose far end lies in
/// the daemon's namespace.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// Interface index of the host end; 0: not there.
    pub ifindex: u32,
    /// MAC of the namespace end, which taken frames must carry.
    pub mac: [u8; 6],
    /// Zero.
    pub reserved: u16,
}

/// How long a first fragment is remembered, ns (RFC 791's reassembly timeout is
/// 15 s; both kernels here reassemble within 30 s, but fragments of one
/// datagram follow each other).
pub const FRAGMENT_LIFETIME_NS: u64 = 5_000_000_000;

/// How long a lease lasts from its renewal, ns. The daemon renews it every
/// 500 ms; calls go untouched within 3 s of its death.
pub const LEASE_NS: u64 = 2_000_000_000;

/// Upper half of the mark that `door_out` sets on a frame it sends back through
/// a tap, so that the tap's program lets it pass and clears the mark. The lower
/// half is the low 16 bits of that tap's interface index: another VM's tap on
/// the same bridge takes the frame as anyone's.
pub const MARK: u32 = 0x51de_0000;

#[cfg(feature = "user")]
mod pod {
    use super::{
        ConnectionKey, Door, FragmentKey, Neighbour, NeighbourKey, UnreadKey, UnreadSeen, Vm,
    };

    const _: () = assert!(size_of::<super::Neighbour>() == 24);

    // SAFETY: repr(C), no padding, every bit pattern is a value.
    unsafe impl aya::Pod for Vm {}
    // SAFETY: as above.
    unsafe impl aya::Pod for NeighbourKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ConnectionKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Neighbour {}
    // SAFETY: as above; `side` is a plain byte.
    unsafe impl aya::Pod for FragmentKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Door {}
    // SAFETY: as above.
    unsafe impl aya::Pod for UnreadKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for UnreadSeen {}
}
