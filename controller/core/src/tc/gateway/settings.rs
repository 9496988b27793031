//! What is wanted of a gateway in a leg.

use serde::{Deserialize, Serialize};

use crate::media::{Direction, Media};
use crate::tc::CallProgress;

/// The mode (RFC 3435 §2.3.5 `M:`; H.248.1 §7.1.7 `Mode`) toward a peer that
/// describes itself so, as the gateway sees it: receiving is from the network. One
/// on hold by a null address hears nothing, and nobody is to speak to it.
fn toward(peer: &Media) -> Direction {
    if peer.is_null_address() {
        return Direction::Inactive;
    }
    match peer.direction {
        Direction::SendOnly => Direction::RecvOnly,
        Direction::RecvOnly => Direction::SendOnly,
        both_or_neither => both_or_neither,
    }
}

/// What a gateway is to have set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::tc) struct Settings {
    /// The other end's description; `None`: not known yet, or on hold by a null
    /// address, which must never become a live one.
    pub(in crate::tc) remote: Option<Media>,
    /// Mode, as the gateway sees it.
    pub(in crate::tc) mode: Direction,
    /// What its user hears of the call's progress.
    pub(in crate::tc) progress: CallProgress,
}

impl Settings {
    /// Before the other end is known.
    pub(super) fn alone() -> Self {
        Self {
            remote: None,
            mode: Direction::RecvOnly,
            progress: CallProgress::Quiet,
        }
    }

    /// Takes what the other end says of itself.
    pub(super) fn hear(&mut self, peer: &Media) {
        self.mode = toward(peer);
        if !peer.is_null_address() {
            self.remote = Some(peer.clone());
        }
    }

    /// What has to be changed to get here `from` there.
    pub(super) fn since(&self, from: &Self) -> Change {
        let other_end = |one: &Option<Media>| {
            let one = one.as_ref()?;
            Some((one.rtp, one.rtcp, one.ptime, one.codecs.clone()))
        };
        let moved = other_end(&self.remote) != other_end(&from.remote);
        Change {
            remote: self.remote.clone().filter(|_| moved),
            mode: (self.mode != from.mode).then_some(self.mode),
            progress: (self.progress != from.progress).then_some(self.progress),
            rearm: false,
        }
    }
}

/// What is to be changed; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::tc) struct Change {
    /// The other end's description.
    pub(in crate::tc) remote: Option<Media>,
    /// Mode.
    pub(in crate::tc) mode: Option<Direction>,
    /// What its user hears.
    pub(in crate::tc) progress: Option<CallProgress>,
    /// Events are to be asked for again, since one has happened (RFC 3435 §4.4.1:
    /// one notification for each request).
    pub(in crate::tc) rearm: bool,
}

impl Change {
    /// Whether nothing is to be changed.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
