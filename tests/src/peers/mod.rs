//! Drivers of real peers: programs that nobody here wrote (SIPp, baresip,
//! linphone, Kamailio, osmo-mgw, Erlang/OTP's megaco, tcpdump), and the project's own
//! two (`sidestep`, `thin-client`).
//!
//! Each runs in a box of the lab, logs into the lab's directory, and dies with
//! its value.

pub mod audio;
pub mod baresip;
pub mod call_agent;
pub mod capture;
pub mod desk;
pub mod kamailio;
pub mod ladder;
pub mod linphone;
pub mod load;
pub mod megaco;
pub mod numbers;
pub mod osmo_mgw;
mod process;
mod segments;
pub mod sidestep;
pub mod sipp;
pub mod speaker;
pub mod thin_client;

pub use process::{Process, own_program};
