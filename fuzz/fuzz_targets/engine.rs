#![no_main]
//! Datagrams of VM, gateway and thin client: nothing is lost, nothing panics.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidestep_fuzz::engine(bytes));
