#![no_main]
//! A stream of SIP: cut into messages however its segments end.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidestep_fuzz::framer(bytes));
