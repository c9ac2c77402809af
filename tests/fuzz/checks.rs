//! What must hold, for every target: `tests/checks`, with what that asks.

#[path = "../apps/mod.rs"]
mod apps;
#[path = "../checks/mod.rs"]
pub mod checks;
#[path = "../packets/mod.rs"]
mod packets;
#[path = "../readings/mod.rs"]
mod readings;
#[path = "../reference/mod.rs"]
mod reference;
#[path = "../support/mod.rs"]
mod support;

/// What costs too much to be done for every input is done for a few.
const IS_FUZZER: bool = true;
