//! Gateway control: the VM runs a media gateway controller (H.248) or a call agent
//! (MGCP), and tells a gateway where to send media. Where it names its own address,
//! its user's softphone is meant, and the thin client takes that place.
//!
//! In: datagrams between a VM and a gateway, what becomes of the thin client's leg,
//! time. Out: the same datagrams (byte for byte where nothing needs change), one
//! descriptor of each put in another's place, commands of our own to the gateway,
//! the thin client's leg, flows, events.
//!
//! ```text
//!            bytes                         Message: parts, edits
//! engine ───────────► codec (h248, mgcp) ───────────────────────► machine
//! ```
//!
//! The machine knows no protocol. What it reads are the neutral words of
//! [`message`]: transactions of operations (create, modify, delete, …) at a place,
//! with Local and Remote descriptions as SDP and a mode, and their replies. What it
//! wants changed it says as [`message::Edit`]s, and its own commands it has written
//! by the [`codec::Codec`]. A protocol joins by implementing [`codec::Codec`] and
//! [`codec::Message`] over its parser.
//!
//! | here | H.248.1 | MGCP (RFC 3435) |
//! | --- | --- | --- |
//! | transaction | TransactionRequest | command |
//! | operation | command of an action | the command itself |
//! | `Kind::Create` | Add | CreateConnection |
//! | `Kind::Modify` | Modify | ModifyConnection |
//! | `Kind::Move` | Move | none |
//! | `Kind::Delete` | Subtract | DeleteConnection, of either side |
//! | `Kind::Audit` | AuditValue, AuditCapabilities | AuditConnection, AuditEndpoint |
//! | `Kind::Restart` | ServiceChange | RestartInProgress |
//! | `Place::termination` | TerminationID | endpoint name |
//! | `Place::connection` | none: a termination is in one context | ConnectionId |
//! | `Place::context` | ContextID | CallId |
//! | stream | StreamDescriptor | the connection, stream 1 |
//! | Local, Remote | LocalDescriptor, RemoteDescriptor | LocalConnectionDescriptor, RemoteConnectionDescriptor |
//! | `Mode` | Mode of LocalControl | ConnectionMode |
//! | `Part::Pending` | TransactionPending | provisional response |

pub mod codec;
pub mod h248;
pub mod message;
pub mod mgcp;
