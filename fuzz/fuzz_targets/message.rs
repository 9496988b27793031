#![no_main]
//! A SIP message: read, and changed in every kind of span.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidestep_fuzz::message(bytes));
