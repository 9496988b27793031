//! What a protocol has to know: its words for all this.

use std::fmt::Debug;
use std::net::SocketAddr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::leg::Command;
use super::{Failure, Hook};
use crate::control::message::Segment;
use crate::h248::model::TerminationId;
use crate::media::Codec;
use crate::registrar::Signalling;

/// A protocol: reads what thin clients send, writes what they are asked.
pub(in crate::tc) trait Wire {
    /// What a gateway calls a leg.
    type Handle: Clone + Debug + Serialize + DeserializeOwned;
    /// What has to be remembered of a thin client.
    type Client: Debug;

    /// The protocol's name.
    const NAME: &'static str;
    /// Whether events have to be asked for again when one has happened.
    const REARMS: bool;
    /// What is asked when a thin client registers, in this order.
    const QUESTIONS: &'static [Question];

    /// Reads a message that came from `from` to `local`.
    ///
    /// # Errors
    ///
    /// It is none of this protocol's, or not understood.
    fn read(&self, local: SocketAddr, bytes: &[u8]) -> Result<Read<Self::Handle>, NotUnderstood>;

    /// Whether a thin client is meant by a name.
    fn is_named(&self, client: &Self::Client, name: &str) -> bool;

    /// A thin client has registered with this message: how it speaks.
    fn meet(&self, client: &mut Self::Client, association: &Association);

    /// What it answered to a question is to be remembered. `Err`: it cannot be
    /// used, and why.
    fn learn(
        &self,
        client: &mut Self::Client,
        question: Question,
        reply: &Reply<Self::Handle>,
    ) -> Result<(), &'static str>;

    /// A command of a leg, as transaction `transaction` from `local`.
    fn command(
        &mut self,
        client: &mut Self::Client,
        local: SocketAddr,
        transaction: u32,
        ordered: (Option<&Self::Handle>, &Command, bool),
        codecs: &[Codec],
    ) -> Vec<u8>;

    /// A question, as transaction `transaction` from `local`.
    fn question(
        &mut self,
        client: &mut Self::Client,
        local: SocketAddr,
        transaction: u32,
        question: Question,
    ) -> Vec<u8>;

    /// What a reply with an error means for the way in which this thin client is
    /// asked; [`Failure::Again`]: it is asked otherwise from now on.
    fn failure(&self, client: &mut Self::Client, code: u16) -> Failure;

    /// A thin client's user did something.
    fn hooked(&self, client: &mut Self::Client, hook: Hook);

    /// What a binding of an earlier run says of the client is to be remembered, and
    /// its codecs. `None`: it is none of this protocol's.
    fn resume(&self, client: &mut Self::Client, signalling: &Signalling) -> Option<Vec<Codec>>;

    /// Its telephone may be in a call that nothing is known of.
    fn entangled(&self, _client: &mut Self::Client) {}

    /// How many names and numbers were drawn.
    fn drawn(&self) -> u64;

    /// Leaves out what an earlier run has drawn.
    fn skip_to(&mut self, drawn: u64);

    /// What a binding says of the client, with its codecs.
    fn signalling(&self, client: &Self::Client, codecs: &[Codec]) -> Signalling;
}

/// A question to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tc) enum Question {
    /// Which terminations it has (AuditValue).
    Terminations,
    /// What it can do (AuditCapabilities, AUEP).
    Capabilities,
    /// Whether it is there.
    Alive,
    /// It is to let go of whatever calls it still has, of which nothing is known here
    /// any more. What it says to that does not matter.
    Release,
}

/// Why bytes cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUnderstood {
    /// In words that do not vary with the message.
    pub kind: &'static str,
    /// What exactly, and where.
    pub detail: String,
    /// What its sender gets, where the protocol has something for it.
    pub(in crate::tc) answer: Option<Vec<u8>>,
}

/// How the sender of a message speaks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::tc) struct Association {
    /// H.248: how it writes.
    pub(in crate::tc) encoding: Option<crate::h248::Encoding>,
    /// H.248: version of the protocol.
    pub(in crate::tc) version: u8,
}

/// A message.
#[derive(Debug)]
pub(in crate::tc) struct Read<H> {
    /// How its sender speaks.
    pub(in crate::tc) association: Association,
    /// What it says, in order.
    pub(in crate::tc) said: Vec<Said<H>>,
}

/// What a message says.
#[derive(Debug)]
pub(in crate::tc) enum Said<H> {
    /// It wants something.
    Request {
        /// Number of its transaction.
        transaction: u32,
        /// Whose it is.
        name: String,
        /// What it wants.
        wants: Vec<Want>,
        /// The reply, where it is granted.
        granted: Vec<u8>,
        /// The reply, where it is not: nobody is known by this name there.
        refused: Vec<u8>,
    },
    /// It has done what was asked, or not.
    Reply {
        /// Number of our transaction.
        transaction: u32,
        /// What it says.
        reply: Reply<H>,
        /// Which segment of it this is, where it comes in several.
        segment: Option<Segment>,
        /// What is owed for it: an acknowledgement that it wants.
        acknowledgement: Option<Vec<u8>>,
    },
    /// It works on it.
    Pending {
        /// Number of our transaction.
        transaction: u32,
    },
}

/// What is wanted of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tc) enum Want {
    /// It goes into service, or out of it.
    Register {
        /// Which.
        method: Method,
        /// Port that it wants to be asked at, where it is not the one it sends
        /// from.
        port: Option<u16>,
    },
    /// Its user did something.
    Hook(Hook),
    /// Nothing that matters here.
    Nothing,
}

/// How a gateway comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tc) enum Method {
    /// In service; whatever was is forgotten.
    Restart,
    /// Heard again; whatever was still is.
    Disconnected,
    /// Out of service when its calls have ended.
    Graceful,
    /// Out of service.
    Forced,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tc) struct Reply<H> {
    /// Error code; `None`: it was done.
    pub(in crate::tc) error: Option<u16>,
    /// What the gateway calls the new leg.
    pub(in crate::tc) handle: Option<H>,
    /// Its description.
    pub(in crate::tc) local: Option<Vec<u8>>,
    /// What it can decode.
    pub(in crate::tc) codecs: Vec<Codec>,
    /// H.248: terminations that it names.
    pub(in crate::tc) terminations: Vec<TerminationId<'static>>,
}

impl<H> Reply<H> {
    /// A reply that says nothing.
    pub(in crate::tc) fn empty() -> Self {
        Self {
            error: None,
            handle: None,
            local: None,
            codecs: Vec::new(),
            terminations: Vec::new(),
        }
    }

    /// This, and what the next segment of the same reply says.
    pub(super) fn and(mut self, next: Self) -> Self {
        self.error = self.error.or(next.error);
        self.handle = self.handle.or(next.handle);
        self.local = self.local.or(next.local);
        for codec in next.codecs {
            if !self.codecs.iter().any(|known| known.same_encoding(&codec)) {
                self.codecs.push(codec);
            }
        }
        self.terminations.extend(next.terminations);
        self
    }
}
