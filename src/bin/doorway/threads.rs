//! Threads of the command, which have names.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread.
pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // In a box: std has the start of a thread once for every type, a KiB each.
    let work: Box<dyn FnOnce() + Send> = Box::new(work);
    Builder::new().name(name.to_owned()).spawn(work)
}
