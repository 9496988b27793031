//! The registrar, rule by rule.

mod authentication;
mod bindings;
mod client;
mod connection;
mod media;
mod mutations;
