//! A thin client for Sidestep: the telephone on the desk. It registers the
//! media address and codecs of its configuration (steps 301, 401), answers the
//! calls that the controller places to it (steps 304/305, 403/404), and
//! exchanges RTP with the media gateway (steps 306, 406).
//!
//! [`ua`] is the SIP user agent, [`gateway`] an H.248 or MGCP gateway with one
//! telephone, and [`media::stream`] the media, all without I/O; [`run`] gives them
//! sockets, a clock and signals.

pub mod agent;
pub mod audio;
pub mod config;
pub mod gateway;
mod link;
pub mod media;
mod negotiation;
pub mod report;
pub mod run;
pub mod ua;
