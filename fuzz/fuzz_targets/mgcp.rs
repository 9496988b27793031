#![no_main]
//! MGCP: read, changed, and between a call agent, its gateway and a thin client.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidestep_fuzz::mgcp(bytes));
