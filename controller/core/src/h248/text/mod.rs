//! The text encoding (H.248.1 Annex B), versions 1 to 3, pretty and compact.
//!
//! In: the bytes of a message. Out: the model ([`parse`]), which borrows from
//! them; the same bytes with some things changed ([`change`]); or a
//! message of our own in either form ([`write`]).
//!
//! Reading is one pass over the bytes: tokens are found by hash, names and values
//! are slices of the message, a session description is found by its closing
//! brace and not looked into.

mod change;
mod cursor;
mod read;
mod token;
mod write;

pub use change::change;
pub(super) use change::escaped;
pub use read::parse;
pub use write::write;
