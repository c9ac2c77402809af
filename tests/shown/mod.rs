//! The examples as modules, for tests that call them without a process of their own.

// Their `main` is for those who run them, and each test file uses a part of this.
#![allow(dead_code)]

#[path = "../../examples/embedded.rs"]
pub mod embedded;
#[path = "../../examples/form.rs"]
pub mod form;
#[path = "../../examples/hello.rs"]
pub mod hello;
#[path = "../../examples/lint.rs"]
pub mod lint;
#[path = "../../examples/middleware.rs"]
pub mod middleware;
#[path = "../../examples/mount.rs"]
pub mod mount;
#[path = "../../examples/peer.rs"]
pub mod peer;
#[path = "../../examples/probe.rs"]
pub mod probe;
#[path = "../../examples/stream.rs"]
pub mod stream;
#[path = "../../examples/upload.rs"]
pub mod upload;
