//! What the machine wants of a protocol.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::message::{Dialect, Edit, Part, Place, Segment};
use crate::engine::Protocol;
use crate::media::Direction;

/// A protocol of gateway control: reads messages, and writes those of our own.
/// Without state; what a command of ours has to repeat of the VM's is in its
/// [`Connection`].
pub trait Codec: fmt::Debug {
    /// Which it is.
    fn protocol(&self) -> Protocol;

    /// Reads a datagram.
    ///
    /// # Errors
    ///
    /// It is no message of this protocol, or not to be understood. The machine
    /// forwards it as it came.
    fn read(&self, bytes: &[u8]) -> Result<Box<dyn Message>, Unreadable>;

    /// A command in the VM's name that changes the Remote description (and the
    /// mode, where one is given) of a connection: Modify, ModifyConnection.
    fn modify(
        &self,
        id: u32,
        connection: &Connection,
        remote: &[u8],
        mode: Option<Direction>,
    ) -> Vec<u8>;

    /// The largest transaction id; the smallest is 1.
    fn largest_id(&self) -> u32;

    /// Whether an error code means that the descriptions have no codec in common.
    fn is_for_codecs(&self, code: u16) -> bool;

    /// What is left of the request `part` of a message from its operation `from` on,
    /// as a transaction of its own with this id, after the reply `index` of `first` to
    /// what came before. `None`: it cannot be said, or a transaction is one operation.
    fn rest(
        &self,
        _message: &[u8],
        (_part, _from): (usize, usize),
        (_first, _index): (&[u8], usize),
        _id: u32,
    ) -> Option<Vec<u8>> {
        None
    }

    /// The reply to the whole transaction `id`: that of `first` without its refusal,
    /// and those of `rest`, one or the segments of one, to what was left; with their
    /// indexes in their messages. Where `first` is a segment, this is, as the last.
    fn joined(
        &self,
        _first: (&[u8], usize),
        _rest: &[(&[u8], usize)],
        _id: u32,
    ) -> Option<Vec<u8>> {
        None
    }

    /// Tells the sender of a transaction that it is being worked at:
    /// TransactionPending, a provisional response.
    fn pending(&self, id: u32, dialect: &Dialect) -> Vec<u8>;

    /// Tells the sender of a reply that it has come: TransactionResponseAck, 000.
    fn acknowledge(&self, id: u32, dialect: &Dialect) -> Vec<u8>;

    /// Tells the sender of a reply's segment that it has come: SegmentReply. `None`:
    /// the protocol has no segments.
    fn acknowledge_segment(
        &self,
        _id: u32,
        _segment: Segment,
        _dialect: &Dialect,
    ) -> Option<Vec<u8>> {
        None
    }
}

/// A message that was read.
pub trait Message: fmt::Debug {
    /// Its transactions, in their order.
    fn parts(&self) -> &[Part];

    /// The message with these edits, and everything else as it came; byte for
    /// byte the original where there is none. An edit of something that is not
    /// there changes nothing.
    fn edited(&self, edits: &[Edit]) -> Vec<u8>;
}

/// A connection of a gateway, as a command of our own names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// How the VM writes.
    pub dialect: Dialect,
    /// Where it is; nothing of it is a wildcard any more.
    pub place: Place,
    /// Its stream.
    pub stream: u16,
}

/// Why bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What is wrong, in a few words that do not vary with the message.
    pub kind: &'static str,
    /// What exactly, and where.
    pub detail: String,
}
