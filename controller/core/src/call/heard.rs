//! A message as it came, with where it came from.

use std::net::SocketAddr;

use crate::digits::number;
use serde::{Deserialize, Serialize};

use crate::engine::{Datagram, Side, Transport};
use crate::sip::dialog::opposite;
use crate::sip::{Message, Method, Name};

/// A message and its addresses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) side: Side,
    pub(crate) transport: Transport,
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) message: Message,
}

/// What a transaction is known by (RFC 3261 §17.1.3, §17.2.3): the side whose
/// request began it, its branch and its method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    side: Side,
    #[serde(with = "serde_bytes")]
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

    /// The session description that it carries: its body, or a part of it. What an
    /// OPTIONS or an INFO describes is not the session (RFC 3261 §11.2).
    pub(crate) fn sdp(&self) -> Option<&[u8]> {
        let method = self.message.method();
        let session = [Method::Invite, Method::Ack, Method::Prack, Method::Update];
        self.message.session().filter(|_| session.contains(method))
    }

    /// RSeq of a provisional response that is sent reliably (RFC 3262 §3).
    pub(crate) fn rseq(&self) -> Option<u32> {
        let reliable = self.message.requires("100rel");
        number(self.message.header(Name::RSEQ)?).filter(|_| reliable)
    }

    /// RAck of a PRACK: RSeq, and number of the INVITE (RFC 3262 §7.2).
    pub(crate) fn rack(&self) -> Option<(u32, u32)> {
        let mut parts = self
            .message
            .header(Name::RACK)?
            .split(u8::is_ascii_whitespace)
            .filter(|part| !part.is_empty());
        let (rseq, invite, method) = (parts.next()?, parts.next()?, parts.next()?);
        let ours = method == Method::Invite.as_str().as_bytes();
        Some((number(rseq)?, number(invite)?)).filter(|_| ours)
    }

    /// Tag of whoever sent it: of the gateway, which branch of a fork it is.
    pub(crate) fn sender_tag(&self) -> Option<&[u8]> {
        if self.message.is_request() {
            self.message.from_tag()
        } else {
            self.message.to_tag()
        }
    }

    /// Tag of whom it is for.
    pub(crate) fn receiver_tag(&self) -> Option<&[u8]> {
        if self.message.is_request() {
            self.message.to_tag()
        } else {
            self.message.from_tag()
        }
    }

    /// A final response that succeeds.
    pub(crate) fn is_success(&self) -> bool {
        self.message
            .status()
            .is_some_and(|s| (200..300).contains(&s))
    }
}
