//! The lab, the drivers of real peers and packet fixtures.

pub mod bench;
pub mod certificates;
pub mod connection;
pub mod demo;
pub mod lab;
pub mod packet;
pub mod peers;
pub mod pinned;
pub mod program;
pub mod relay;
pub mod rtp;
pub mod soak;
pub mod sockets;
pub mod stage;
pub mod wait;
pub mod wire;
