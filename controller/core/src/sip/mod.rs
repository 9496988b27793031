//! SIP (RFC 3261).
//!
//! In: the bytes of one message. Out: what they say ([`Message`], [`SipUri`],
//! [`Via`]), the same bytes with single spans changed ([`MessageEdit`]), or
//! messages of our own ([`RequestBuilder`], [`ResponseBuilder`]).
//!
//! Messages of others are read tolerantly and never written anew: folded and
//! compact headers, unknown methods, `tel:` URIs and bytes that are not UTF-8
//! leave as they came.

pub mod dialog;
pub mod digest;
pub mod received;
pub mod transaction;
pub mod uri;

mod edit;
mod framer;
mod header;
pub(crate) mod identifiers;
pub mod message;
mod method;
mod multipart;
mod parse;
mod write;

pub use edit::MessageEdit;
pub use framer::SipFramer;
pub(crate) use framer::head_fields;
pub use header::{HeaderField, Name, Via, parameter, split_list};
pub use identifiers::BRANCH_PREFIX;
pub use message::{Message, StartLine};
pub use method::Method;
pub use parse::SipError;
pub use uri::{NameAddr, SipUri};
pub use write::{RequestBuilder, ResponseBuilder, reason_phrase};
