//! The registrar, rule by rule.

mod authentication;
mod bindings;
mod client;
mod media;
mod mutations;
