//! The proxy before an upstream; `tests/checks/proxy.rs` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::checks::proxy::check(bytes));
