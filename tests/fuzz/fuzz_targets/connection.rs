//! A whole connection at each door; `tests/checks/connection.rs` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::checks::connection::check(bytes));
