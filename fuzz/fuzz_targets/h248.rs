#![no_main]
//! An H.248 message, text or BER: read, and changed where it describes media.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidestep_fuzz::h248(bytes));
