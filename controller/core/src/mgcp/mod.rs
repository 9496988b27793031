//! MGCP 1.0 (RFC 3435), with the packages of RFC 3660 by name.
//!
//! In: the bytes of one datagram. Out: the messages in it, piggybacked ones too
//! ([`Packet`], [`Message`]), what their parameters say ([`value`]), the same
//! bytes with single spans changed ([`PacketEdit`]), or messages of our own
//! ([`CommandBuilder`], [`ResponseBuilder`]).
//!
//! Messages of others are read tolerantly and never written anew: verbs and
//! parameters that are not known, any case, any line end, profiles such as NCS 1.0
//! and TGCP 1.0, and bytes that are not UTF-8 leave as they came.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `parse` | from bytes to spans |
//! | `message` | a datagram, its messages, their parameters and descriptions |
//! | `verb`, `parameter` | names |
//! | `endpoint` | endpoint names and their wildcards |
//! | `value` | values of parameters |
//! | `edit`, `write` | the same with changes; our own |

mod edit;
mod endpoint;
mod message;
mod parameter;
mod parse;
pub mod value;
mod verb;
mod write;

pub use edit::PacketEdit;
pub use endpoint::{Domain, EndpointName};
pub use message::{Message, Packet, StartLine};
pub use parameter::Parameter;
pub use parse::MgcpError;
pub use verb::Verb;
pub use write::{CommandBuilder, ResponseBuilder, response_text};

/// Port of gateways (RFC 3435 §3.5).
pub const GATEWAY_PORT: u16 = 2427;
/// Port of call agents (RFC 3435 §3.5).
pub const CALL_AGENT_PORT: u16 = 2727;
