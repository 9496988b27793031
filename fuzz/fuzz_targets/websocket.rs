#![no_main]
//! A WebSocket with SIP in it, however its segments end.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidestep_fuzz::websocket(bytes));
