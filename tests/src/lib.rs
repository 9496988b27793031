//! The lab, the drivers of real peers and packet fixtures.

pub mod lab;
