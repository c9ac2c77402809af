//! Every parser of the library; `tests/checks/parsers.rs` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::checks::parsers::check(bytes));
