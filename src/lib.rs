//! doorway: WSGI for Rust.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::todo,
    clippy::unimplemented,
    clippy::print_stdout,
    clippy::print_stderr
)]

pub mod app;
mod cause;
mod door;
pub mod gateway;
pub mod http;
mod server;
pub mod testing;

pub use cause::Cause;
pub use gateway::{
    Application, Block, Blocks, Body, Content, Environ, ErrorStream, Errors, Gateway, Headers, Input, StartError,
    StartResponse, Status, Transmit, Writer, is_hop_by_hop, percent_decode,
};
pub use server::{Address, Handle, Listener, Server, Settings, Stats, Stopper, log, serve_connection};
