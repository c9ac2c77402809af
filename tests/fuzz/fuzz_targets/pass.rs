//! Those who pass requests on by a gateway protocol; `tests/checks/pass.rs` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::checks::pass::check(bytes));
