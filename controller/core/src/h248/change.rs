//! What Sidestep changes in a message of somebody else's, whatever its encoding.

use super::model::ContextId;

/// Which of a stream's two descriptors (H.248.1 §7.1.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Local: what the gateway receives.
    Local,
    /// Remote: what the gateway sends, and to whom.
    Remote,
}

/// Where a stream stands in a message: indexes into
/// [`Message`](super::model::Message), from the outside inward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Of the transaction.
    pub transaction: usize,
    /// Of its action.
    pub action: usize,
    /// Of the action's command.
    pub command: usize,
    /// Of the command's descriptor, which is a Media.
    pub descriptor: usize,
    /// Of the Media's stream.
    pub stream: usize,
}

/// One change. Everything it does not name leaves as it came: in text byte for
/// byte, in binary, but for the lengths of what encloses it, as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The content of a stream's Local or Remote, which is there: session
    /// descriptions (RFC 4566, with `$` where a value is to be chosen) one after
    /// the other, each beginning with `v=`. In text, escaped as needed.
    Description {
        /// The stream.
        place: Place,
        /// Which of its two.
        side: Side,
        /// The session descriptions.
        sdp: Vec<u8>,
    },
    /// The id of a transaction: request, reply, pending or segment (§8.2.1).
    TransactionId {
        /// Index of the transaction.
        transaction: usize,
        /// Its new id.
        id: u32,
    },
    /// The context of an action, request or reply (§6.2).
    Context {
        /// Index of the transaction.
        transaction: usize,
        /// Index of the action.
        action: usize,
        /// Its new context.
        context: ContextId,
    },
    /// The whole transaction goes: it was for us. A message that has none left is
    /// not to be sent.
    Drop {
        /// Index of the transaction.
        transaction: usize,
    },
}
