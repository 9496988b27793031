//! Messages and their transactions (H.248.1 §8).

use serde::Serialize;

use super::command::{ActionReply, ActionRequest, ErrorDescriptor};
use super::name::Mid;
use super::value::{Octets, Span};

/// A message (H.248.1 §8.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message<'a> {
    /// Authentication header (§10.2); `None` where there is none.
    pub authentication: Option<Authentication<'a>>,
    /// Protocol version, 1 to 99; 1, 2 and 3 are known.
    pub version: u8,
    /// Who sends it.
    pub mid: Mid<'a>,
    /// What it carries.
    pub body: Body<'a>,
    /// Where each of its transactions stands; none where it carries an error.
    #[serde(skip)]
    pub spans: Vec<Span>,
}

impl<'a> Message<'a> {
    /// Its transactions; none where it carries an error.
    pub fn transactions(&self) -> &[Transaction<'a>] {
        match &self.body {
            Body::Transactions(transactions) => transactions,
            Body::Error(_) => &[],
        }
    }
}

/// Authentication header (H.248.1 §10.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authentication<'a> {
    /// Security parameters index.
    pub spi: u32,
    /// Sequence number.
    pub sequence: u32,
    /// Integrity check value, 12 to 32 octets, in hexadecimal digits.
    pub data: Octets<'a>,
}

impl Authentication<'_> {
    /// Whether the check value says something: one of zeros stands where another layer
    /// authenticates.
    pub fn is_in_use(&self) -> bool {
        self.data.iter().any(|digit| *digit != b'0')
    }
}

/// Body of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Body<'a> {
    /// The message before could not be read at all (§8.3).
    Error(ErrorDescriptor<'a>),
    /// Transactions, each independent of the others.
    Transactions(Vec<Transaction<'a>>),
}

/// A transaction (H.248.1 §8.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transaction<'a> {
    /// TransactionRequest (§8.2.1).
    Request(Request<'a>),
    /// TransactionReply (§8.2.2).
    Reply(Reply<'a>),
    /// TransactionPending (§8.2.3).
    Pending {
        /// The request that is being worked on.
        id: u32,
        /// Where the id stands.
        #[serde(skip)]
        id_span: Span,
    },
    /// TransactionResponseAck (§8.2.4, Annex D.1.2).
    ResponseAck(Vec<AckRange>),
    /// Acknowledgement of a reply's segment (version 3, §8.2.5).
    Segment(SegmentReply),
}

/// TransactionRequest (H.248.1 §8.2.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request<'a> {
    /// Transaction id, 1 to 2³² − 1; chosen by its sender.
    pub id: u32,
    /// Actions, done in this order.
    pub actions: Vec<ActionRequest<'a>>,
    /// Where the id stands.
    #[serde(skip)]
    pub id_span: Span,
}

/// TransactionReply (H.248.1 §8.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reply<'a> {
    /// Id of the request that it answers.
    pub id: u32,
    /// Which segment of the reply this is (version 3, §8.2.5).
    pub segment: Option<Segment>,
    /// `ImmAckRequired`: it wants its TransactionResponseAck at once (Annex
    /// D.1.5).
    pub immediate_ack: bool,
    /// What came of the request.
    pub result: ReplyResult<'a>,
    /// Where the id stands.
    #[serde(skip)]
    pub id_span: Span,
}

impl<'a> Reply<'a> {
    /// The replies to its actions; none where the whole transaction failed.
    pub fn actions(&self) -> &[ActionReply<'a>] {
        match &self.result {
            ReplyResult::Actions(actions) => actions,
            ReplyResult::Error(_) => &[],
        }
    }
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyResult<'a> {
    /// No action was done.
    Error(ErrorDescriptor<'a>),
    /// Its actions, in the request's order, up to the first that failed.
    Actions(Vec<ActionReply<'a>>),
}

/// Number of a reply's segment (version 3, §8.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// Number, from 1.
    pub number: u16,
    /// Whether it is the last.
    pub complete: bool,
}

/// Acknowledgement of a segment (version 3, §8.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SegmentReply {
    /// Transaction id.
    pub id: u32,
    /// The segment.
    pub segment: Segment,
    /// Where the id stands.
    #[serde(skip)]
    pub id_span: Span,
}

/// Replies that have arrived, by their transaction ids (H.248.1 §8.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AckRange {
    /// First id.
    pub first: u32,
    /// Last id; the first where it is one.
    pub last: u32,
}
