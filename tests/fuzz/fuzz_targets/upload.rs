//! Files that clients send; `tests/checks/upload.rs` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::checks::upload::check(bytes));
