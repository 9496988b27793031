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
//!
//! **Whose media.** A Remote description with the VM's own address is the VM's user;
//! all others (gateway to gateway, local bridges) are none of Sidestep's business. A
//! call is one stream of one connection that has, or had, such a description. It is
//! listed beside SIP's, in the same series of numbers.
//!
//! **What the VM sees.** Its own descriptions wherever it asks (audits), and the
//! gateway's own in replies: the guard at the tap keeps its media from arriving
//! there. So going back to the VM is one command to the gateway, and none to the VM.
//! Codecs that the VM does not know are taken out of a reply. Statistics (of a
//! deleted connection, in audits) pass: the gateway counts what it exchanges with
//! the thin client, which are the very figures wanted.
//!
//! **What has to wait.** Where the thin client's media is not known, the VM's command
//! waits with its whole datagram until it is, and the VM hears a provisional
//! response when it asks again. What waited is then looked at anew.
//!
//! **What comes again.** Requests and replies are remembered for T-HIST with their
//! changes: repeated, they leave with the same bytes and do nothing twice. Commands
//! of our own carry ids far from the VM's; their replies go no further.
//!
//! **What fails.** Before a command has gone it goes as the VM wrote it. A create
//! that the gateway refuses for what stands in it now goes again as the VM wrote it,
//! under an id of our own, and only that answer reaches the VM. Later, a command of
//! our own tells the gateway the VM's media again. When a thin client hangs up, the
//! call goes back to the VM: neither protocol lets a gateway end what its controller
//! has made without looking broken.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `message`, `codec` | the neutral words, and what is wanted of a protocol |
//! | `mgcp` | MGCP in them |
//! | `room` | the way of each datagram: its parts, its calls, its changes |
//! | `line` | what is remembered between a VM and a gateway |
//! | `call` | one call: who knows what of whom |
//! | `requests` | our own commands, sent again until answered |
//! | `replies` | our own replies, the same again for the same request |
//! | `kept` | what of a call outlives a run |

mod call;
pub mod codec;
pub mod h248;
mod kept;
mod line;
pub mod message;
pub mod mgcp;
pub mod replies;
pub mod requests;
mod room;

pub(crate) use kept::{CallEntry, KeptCall};
pub(crate) use room::{Numbers, Room};
