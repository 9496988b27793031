//! The Sidestep daemon and its command line.
//!
//! Dependencies point one way: cli → daemon parts → `sidestep-core`.

pub mod cli;
pub mod config;
