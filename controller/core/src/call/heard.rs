//! A message as it came, with where it came from.

use std::net::SocketAddr;

use crate::engine::{Datagram, Side, Transport};
use crate::sip::dialog::opposite;
use crate::sip::{Message, Method};

/// A message and its addresses.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) side: Side,
    pub(crate) transport: Transport,
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) message: Message,
}

/// What a transaction is known by (RFC 3261 §17.1.3, §17.2.3): the side whose
/// request began it, its branch and its method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    side: Side,
    branch: Vec<u8>,
    method: Method,
}

impl Key {
    pub(crate) fn new(side: Side, branch: &[u8], method: Method) -> Self {
        Self {
            side,
            branch: branch.to_vec(),
            method,
        }
    }
}

impl Heard {
    /// Where the message would be if nobody stood between.
    pub(crate) fn onward(&self, payload: Vec<u8>) -> Datagram {
        Datagram {
            side: opposite(self.side),
            transport: self.transport,
            src: self.src,
            dst: self.dst,
            payload,
        }
    }

    /// The transaction it belongs to.
    pub(crate) fn key(&self) -> Key {
        let side = if self.message.is_request() {
            self.side
        } else {
            opposite(self.side)
        };
        Key::new(side, self.branch(), self.message.cseq().1)
    }

    /// Branch of the topmost Via; empty in messages older than RFC 3261.
    pub(crate) fn branch(&self) -> &[u8] {
        self.message.top_via().branch.unwrap_or_default()
    }

    /// Body, if all of it is a session description.
    pub(crate) fn sdp(&self) -> Option<&[u8]> {
        self.message.is_sdp().then(|| self.message.body())
    }

    /// A final response that succeeds.
    pub(crate) fn is_success(&self) -> bool {
        self.message
            .status()
            .is_some_and(|s| (200..300).contains(&s))
    }
}
