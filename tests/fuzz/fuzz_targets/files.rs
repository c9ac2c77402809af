//! The files of a directory; `tests/checks/files.rs` says what must hold.
#![no_main]

#[path = "../../apps/mod.rs"]
mod apps;
#[path = "../../checks/mod.rs"]
mod checks;
#[path = "../../packets/mod.rs"]
mod packets;
#[path = "../../readings/mod.rs"]
mod readings;
#[path = "../../reference/mod.rs"]
mod reference;
#[path = "../../support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::files::check(bytes));
