//! One place that names everything the programs count, and the rare events.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// What a program did with a packet, or why it left it alone. The index
        /// in the `COUNTERS` map.
        #[repr(u32)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Counter {
            $($(#[$doc])* $name = $value,)*
        }

        impl Counter {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Counter] = &[$(Counter::$name,)*];

            /// The name that people and JSON see.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Counter::$name => $text,)*
                }
            }
        }
    };
}

counters! {
    /// Tap: signalling from the VM, into the door.
    TakenFromVm = 0, "taken-from-vm";
    /// Tap: signalling to the VM, into the door.
    TakenToVm = 1, "taken-to-vm";
    /// Tap: later fragment that followed its first into the door.
    TakenFragment = 2, "taken-fragment";
    /// Tap: later fragment of no known first; passed.
    FragmentUnknown = 3, "fragment-unknown";
    /// Tap: signalling passed because the daemon's lease is stale.
    LeaseStale = 4, "lease-stale";
    /// Tap: signalling passed because a door link is not there.
    DoorMissing = 5, "door-missing";
    /// Tap: signalling from an address that is no configured VM of this tap; passed.
    NotOurVm = 6, "not-our-vm";
    /// Door: frame sent on toward the network.
    DoorToNet = 7, "door-to-net";
    /// Door: frame sent on toward a VM.
    DoorToVm = 8, "door-to-vm";
    /// Door: no tap or no MAC known for the frame; dropped.
    DoorNoNeighbour = 9, "door-no-neighbour";
    /// Door: neither IPv4 nor IPv6 between hosts; dropped, nothing else has business there.
    DoorForeign = 10, "door-foreign";
    /// Tap: bypassed VM's own media, dropped.
    Guarded = 11, "guarded";
    /// Tap: relayed media, counted and passed.
    Relayed = 12, "relayed";
    /// Uplink: direct media passed to the bridge or stack.
    DirectPassed = 13, "direct-passed";
    /// Uplink: direct media forwarded by FIB lookup.
    DirectForwarded = 14, "direct-forwarded";
    /// Uplink: steered media turned around on its interface.
    SteeredTx = 15, "steered-tx";
    /// Uplink: steered media forwarded by FIB lookup.
    SteeredForwarded = 16, "steered-forwarded";
    /// Uplink: steered flow's frame in transit to its anchor, not yet there; passed.
    SteeredTransit = 17, "steered-transit";
    /// Uplink: packet to an anchor port from a source that is no flow; dropped.
    ForeignAtAnchor = 18, "foreign-at-anchor";
    /// Uplink: FIB lookup found no neighbour, no route, or another interface than an
    /// uplink; passed to the stack.
    FibPassed = 19, "fib-passed";
    /// Uplink: TTL would run out; passed to the stack, which answers.
    TtlExpired = 20, "ttl-expired";
    /// Any: fragment on the media path; passed.
    MediaFragment = 21, "media-fragment";
    /// Any: IPv4 header with options; passed.
    IpOptions = 22, "ip-options";
    /// Any: frame shorter than its headers say; passed.
    Truncated = 23, "truncated";
    /// Any: media packet of a flow that is not RTP version 2; counted, sent on.
    NotRtp = 24, "not-rtp";
    /// Any: statistics index out of range; the packet went its way uncounted.
    NoStats = 25, "no-stats";
    /// Uplink: packet of a counted flow seen again on another interface; sent on uncounted.
    SeenElsewhere = 26, "seen-elsewhere";
    /// Door: rewriting or redirecting a frame failed in the kernel; dropped or passed as the program says.
    KernelRefused = 27, "kernel-refused";
    /// Any: ring buffer full, event lost.
    EventLost = 28, "event-lost";
    /// Any: frame with more tags (802.1Q, 802.1ad) than are looked behind; passed.
    Tagged = 29, "tagged";
    /// Tap: TCP segment of a connection that was not taken when it began; passed.
    ConnectionNotTaken = 30, "connection-not-taken";
    /// Tap: TCP connection that began beyond a limit; passed.
    ConnectionLimit = 31, "connection-limit";
    /// Door: TCP connection reset by the daemon, or by its death.
    ConnectionReset = 32, "connection-reset";
    /// Any: IPv6 extension header other than a fragment's; passed.
    ExtensionHeader = 33, "extension-header";
    /// Uplink: steered packet too long for its next link once it is IPv6; passed.
    TooBig = 34, "too-big";
    /// Uplink: steered IPv4 packet without a UDP checksum, which IPv6 must have
    /// (RFC 8200 §8.1), and too long to make one; dropped (RFC 7915 §4.5).
    NoUdpChecksum = 35, "no-udp-checksum";
    /// Uplink: ICMP error about a steered packet, translated and sent to whom it
    /// concerns.
    ErrorTranslated = 36, "error-translated";
    /// Tap: connection with TLS that nobody here may read; passed.
    SignallingEncrypted = 37, "signalling-encrypted";
    /// Tap: association of SCTP between signalling ports; passed.
    SignallingSctp = 38, "signalling-sctp";
    /// Uplink: packet to an anchor from where its thin client registered, but from
    /// another port than it said; dropped, and the daemon told.
    Unlearned = 39, "unlearned-at-anchor";
    /// Tap: steered media of a sender that no uplink had before, sent on as if the VM had
    /// sent it.
    SteeredAtTap = 40, "steered-at-tap";
    /// Tap: the same, but the next hop of its destination is not known yet; dropped
    /// uncounted in its flow.
    AnchorNoNeighbour = 41, "anchor-no-neighbour";
    /// Uplink: media of a sender on this host that leaves the UDP checksum to its card;
    /// passed to the stack, which makes it.
    ChecksumUnfinished = 42, "checksum-unfinished";
}

/// Size of the `COUNTERS` array.
pub const COUNTERS_LEN: u32 = 64;

/// A rare event, as it stands in the ring buffer.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// bpf_ktime_get_ns (CLOCK_MONOTONIC).
    pub at_ns: u64,
    /// The call, 0 if none.
    pub call: u32,
    /// An [`EventKind`].
    pub kind: u32,
    /// Five-tuple of the packet.
    pub key: crate::flow::FlowKey,
    /// Interface it came in by.
    pub ifindex: u32,
    /// Kind's own: new SSRC, …
    pub detail: u32,
    /// Zero.
    pub reserved: u32,
}

/// What happened.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// First packet of a flow.
    FirstPacket = 1,
    /// A flow's SSRC changed; detail: the new one.
    SsrcChanged = 2,
    /// First foreign packet at an anchor in a while (at most one a second and anchor).
    Foreign = 3,
    /// Packet of a flow whose port is to be learned (at most one in 10 ms and anchor).
    Unlearned = 4,
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), no padding, every bit pattern is a value; `kind` is a plain integer.
    unsafe impl aya::Pod for super::Event {}
}
