//! The sans-IO core of Sidestep.
//!
//! What comes in: datagrams with their addresses, timers that have run out,
//! answers of the datapath; time is an argument. What goes out: datagrams to
//! send, datapath actions and events. Nothing here opens a socket, reads a
//! clock or knows the kernel.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bypass;
pub mod call;
pub mod control;
mod deadlines;
pub mod decode;
mod digits;
pub mod engine;
pub mod h248;
pub mod media;
pub mod mgcp;
mod occupancy;
pub mod registrar;
pub mod sdp;
pub mod sip;
mod splice;
pub mod stream;
pub mod tc;
pub mod time;
pub mod websocket;
