//! What becomes of a packet: every refusal of every program is turned into an
//! action and a counter here, and nowhere else.
//!
//! Whatever is not ours or not understood goes on as if the program were not
//! there. Only what is certainly wrong is dropped.

use aya_ebpf::bindings::xdp_action;
use sidestep_abi::counter::Counter;

use crate::counters;

/// What a program did with a packet that it took in hand.
#[derive(Clone, Copy)]
pub enum Handled {
    /// Counted, if at all, and on its way as if the program were not there.
    Passed(Counter),
    /// Dropped on purpose.
    Dropped(Counter),
    /// Sent out by the interface it came in by (XDP only).
    Returned(Counter),
    /// Redirected to another interface.
    Redirected(Counter),
}

/// Why a program took a packet no further.
#[derive(Clone, Copy)]
pub enum Refusal {
    /// Nothing that the program is for.
    NotOurs,
    /// More tags (802.1Q, 802.1ad) than are looked behind.
    Tagged,
    /// Shorter than its headers say.
    Truncated,
    /// IPv4 options.
    IpOptions,
    /// An IPv6 extension header.
    ExtensionHeader,
    /// A fragment of a media packet.
    MediaFragment,
    /// A later fragment whose first was not taken.
    FragmentUnknown,
    /// Signalling, but the daemon has not renewed its lease.
    LeaseStale,
    /// Signalling, but one of the doors is not there.
    DoorMissing,
    /// Signalling, but of no configured VM of this tap.
    NotOurVm,
    /// A segment of a connection that was not taken when it began.
    ConnectionNotTaken,
    /// A connection begins, but there are as many as there may be.
    ConnectionLimit,
    /// A connection with TLS begins that nobody here may read.
    SignallingEncrypted,
    /// An association of SCTP begins between signalling ports.
    SignallingSctp,
    /// A frame from the namespace whose tap or MACs are not known.
    NoNeighbour,
    /// A frame from the namespace that is not IP between hosts.
    DoorForeign,
    /// A steered flow's frame that is not addressed to its anchor yet.
    SteeredTransit,
    /// Sent to an anchor by a source that is no flow.
    ForeignAtAnchor,
    /// Sent to an anchor from where the thin client is, whose port is not known yet.
    Unlearned,
    /// For an anchor, by a tap, and the next hop of where it goes is not known.
    NoNextHopAtTap,
    /// No next hop known, or not by an uplink.
    NoNextHop,
    /// Its UDP checksum is left to a card that it does not pass.
    ChecksumUnfinished,
    /// The TTL would run out.
    TtlExpired,
    /// Too long for the next link once it is IPv6.
    TooBig,
    /// It has no UDP checksum, needs one, and is too long to make it.
    NoUdpChecksum,
    /// The kernel refused what the program asked of it; the packet is whole.
    KernelRefused,
    /// The same for a frame from the namespace, which cannot go on by itself, or one that is
    /// not whole any more.
    KernelRefusedAtDoor,
}

/// What a program decided.
pub type Verdict = Result<Handled, Refusal>;

enum Action {
    Pass,
    Drop,
}

/// The one place that says what a refusal means.
#[inline(always)]
const fn refused(refusal: Refusal) -> (Action, Option<Counter>) {
    match refusal {
        Refusal::NotOurs => (Action::Pass, None),
        Refusal::Tagged => (Action::Pass, Some(Counter::Tagged)),
        Refusal::Truncated => (Action::Pass, Some(Counter::Truncated)),
        Refusal::IpOptions => (Action::Pass, Some(Counter::IpOptions)),
        Refusal::ExtensionHeader => (Action::Pass, Some(Counter::ExtensionHeader)),
        Refusal::TooBig => (Action::Pass, Some(Counter::TooBig)),
        Refusal::NoUdpChecksum => (Action::Drop, Some(Counter::NoUdpChecksum)),
        Refusal::MediaFragment => (Action::Pass, Some(Counter::MediaFragment)),
        Refusal::FragmentUnknown => (Action::Pass, Some(Counter::FragmentUnknown)),
        Refusal::LeaseStale => (Action::Pass, Some(Counter::LeaseStale)),
        Refusal::DoorMissing => (Action::Pass, Some(Counter::DoorMissing)),
        Refusal::NotOurVm => (Action::Pass, Some(Counter::NotOurVm)),
        Refusal::ConnectionNotTaken => (Action::Pass, Some(Counter::ConnectionNotTaken)),
        Refusal::ConnectionLimit => (Action::Pass, Some(Counter::ConnectionLimit)),
        Refusal::SignallingEncrypted => (Action::Pass, Some(Counter::SignallingEncrypted)),
        Refusal::SignallingSctp => (Action::Pass, Some(Counter::SignallingSctp)),
        Refusal::NoNeighbour => (Action::Drop, Some(Counter::DoorNoNeighbour)),
        Refusal::DoorForeign => (Action::Drop, Some(Counter::DoorForeign)),
        Refusal::SteeredTransit => (Action::Pass, Some(Counter::SteeredTransit)),
        Refusal::ForeignAtAnchor => (Action::Drop, Some(Counter::ForeignAtAnchor)),
        Refusal::Unlearned => (Action::Drop, Some(Counter::Unlearned)),
        Refusal::NoNextHopAtTap => (Action::Drop, Some(Counter::AnchorNoNeighbour)),
        Refusal::NoNextHop => (Action::Pass, Some(Counter::FibPassed)),
        Refusal::ChecksumUnfinished => (Action::Pass, Some(Counter::ChecksumUnfinished)),
        Refusal::TtlExpired => (Action::Pass, Some(Counter::TtlExpired)),
        Refusal::KernelRefused => (Action::Pass, Some(Counter::KernelRefused)),
        Refusal::KernelRefusedAtDoor => (Action::Drop, Some(Counter::KernelRefused)),
    }
}

/// `TCX_NEXT`: other programs on the same hook see the frame too.
const TCX_NEXT: i32 = -1;
/// `TCX_DROP`.
const TCX_DROP: i32 = 2;
/// `TCX_REDIRECT`.
const TCX_REDIRECT: i32 = 7;

/// Counts a verdict and turns it into a tcx program's return value.
#[inline(always)]
pub fn tcx(verdict: Verdict) -> i32 {
    let (action, counter) = match verdict {
        Ok(Handled::Passed(counter)) => (TCX_NEXT, Some(counter)),
        Ok(Handled::Dropped(counter)) => (TCX_DROP, Some(counter)),
        Ok(Handled::Returned(counter) | Handled::Redirected(counter)) => {
            (TCX_REDIRECT, Some(counter))
        }
        Err(refusal) => match refused(refusal) {
            (Action::Pass, counter) => (TCX_NEXT, counter),
            (Action::Drop, counter) => (TCX_DROP, counter),
        },
    };
    if let Some(counter) = counter {
        counters::count(counter);
    }
    action
}

/// Counts a verdict and turns it into an XDP program's return value.
#[inline(always)]
pub fn xdp(verdict: Verdict) -> xdp_action::Type {
    let (action, counter) = match verdict {
        Ok(Handled::Passed(counter)) => (xdp_action::XDP_PASS, Some(counter)),
        Ok(Handled::Dropped(counter)) => (xdp_action::XDP_DROP, Some(counter)),
        Ok(Handled::Returned(counter)) => (xdp_action::XDP_TX, Some(counter)),
        Ok(Handled::Redirected(counter)) => (xdp_action::XDP_REDIRECT, Some(counter)),
        Err(refusal) => match refused(refusal) {
            (Action::Pass, counter) => (xdp_action::XDP_PASS, counter),
            (Action::Drop, counter) => (xdp_action::XDP_DROP, counter),
        },
    };
    if let Some(counter) = counter {
        counters::count(counter);
    }
    action
}
