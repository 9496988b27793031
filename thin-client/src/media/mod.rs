//! RTP and RTCP of one call (RFC 3550, RFC 3551).
//!
//! [`stream`] is the whole of it without I/O: datagrams and time in, datagrams
//! and statistics out. [`session`] gives it sockets, a clock and two threads.

pub mod reception;
pub mod rtcp;
pub mod rtp;
pub mod session;
pub mod stream;
