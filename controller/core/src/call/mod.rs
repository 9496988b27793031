//! Calls.

pub mod reason;

pub use reason::Reason;
