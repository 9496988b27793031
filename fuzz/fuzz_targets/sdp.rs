#![no_main]
//! A session description: read, answered, and given other media.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidestep_fuzz::sdp(bytes));
