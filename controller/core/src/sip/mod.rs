//! SIP: messages, transactions, digest authentication.

pub mod digest;
pub mod transaction;
pub mod uri;
