//! The files of a directory; `tests/checks/files.rs` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::checks::files::check(bytes));
