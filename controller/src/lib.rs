//! The Sidestep daemon and its command line.
//!
//! Dependencies point one way: cli → daemon parts → `sidestep-core`.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod datapath;
pub mod doctor;
pub mod door;
pub mod journal;
mod sockets;
pub mod watch;
