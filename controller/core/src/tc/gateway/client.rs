//! A thin client: its account, and how far its registration is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::engine::{Datagram, Network, Transport};
use crate::media::Codec;
use crate::time::Time;

/// An account of the configuration, and what is known of it.
#[derive(Debug)]
pub(super) struct Client<C> {
    /// User name.
    pub(super) user: String,
    /// Index of its VM.
    pub(super) vm: usize,
    /// Address of its VM.
    pub(super) vm_address: Ipv4Addr,
    /// Where it may register from.
    pub(super) from: Network,
    /// What its protocol remembers.
    pub(super) protocol: C,
    /// Where it is, once it has registered.
    pub(super) place: Option<Place>,
    /// What it can decode.
    pub(super) codecs: Vec<Codec>,
    pub(super) stage: Stage,
}

/// Where a thin client is, and how its messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    pub(super) transport: Transport,
}

/// How far a registration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is none.
    Absent,
    /// It is being asked what it can do: the question of this index.
    Asked(usize),
    /// It takes calls.
    Bound {
        /// Since when.
        since: Time,
    },
    /// Its calls go on, and it takes no new ones.
    Leaving,
}

/// Why a thin client may not register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// No account has this name.
    #[error("no thin client has this name")]
    Unknown,
    /// The name is right, but not where it comes from.
    #[error("it may not register from this address")]
    Elsewhere,
    /// The account belongs to another VM.
    #[error("the account belongs to another VM")]
    OtherVm,
}

impl<C> Client<C> {
    /// Whether it may register from `src` at `dst`, the VM's own address.
    pub(super) fn admit(&self, src: SocketAddr, dst: SocketAddr) -> Result<(), Refusal> {
        if dst.ip() != IpAddr::V4(self.vm_address) {
            Err(Refusal::OtherVm)
        } else if !self.from.contains(src.ip()) {
            Err(Refusal::Elsewhere)
        } else {
            Ok(())
        }
    }

    /// Whether it has registered from where this comes from: from that address, and by
    /// the same connection.
    pub(super) fn has_sent(&self, datagram: &Datagram) -> bool {
        self.place.is_some_and(|place| {
            place.address.ip() == datagram.src.ip() && place.transport == datagram.transport
        })
    }
}
