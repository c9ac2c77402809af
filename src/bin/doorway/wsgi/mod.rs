//! `--wsgi`: Python WSGI applications, run by worker processes that the command starts, feeds and replaces.
//!
//! | file | what it is for |
//! |---|---|
//! | `worker.py` | the program of a worker: PEP 3333 in Python |
//! | `process` | one worker: how it is started, heard and ended |
//! | `workers` | all of them: who is started again, who replaces whom |
//! | `workers/calls` | one request: who gets it, and until when |
//! | `watch` | `--reload`: new workers when a `.py` file has changed |
//!
//! Requests go to the workers by SCGI ([`Pass`](doorway::app::Pass)) over connections that are kept, each to one that has a thread free: a worker never has more requests
//! than threads, so whoever dies takes no other request along, and nobody waits behind a call that hangs. Content is received whole first, and answers
//! up to 1 MiB are taken off the worker's hands, so that slow clients cost it nothing.

#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod watch;
#[cfg(unix)]
mod workers;

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(not(unix))]
pub use elsewhere::Workers;
#[cfg(unix)]
pub use workers::Workers;

/// What is run, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `module:callable`.
    pub application: String,
    pub python: PathBuf,
    pub workers: usize,
    pub threads: usize,
    /// How long a worker may be silent in a call.
    pub timeout: Duration,
    /// After how many requests a worker is replaced.
    pub max_requests: Option<u64>,
    /// Whether to go on where the application cannot be imported, and to say so on every page.
    pub reload: bool,
    pub quiet: bool,
    /// For the sockets; nobody else may enter it.
    pub folder: PathBuf,
}

/// A number that nobody can foresee. The keys of hash tables are the only ones of that kind in std.
pub fn unforeseen() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// The Python of the virtual environment that is active, or of the one in this folder, or the system's.
pub fn default_python() -> PathBuf {
    let active = std::env::var_os("VIRTUAL_ENV").unwrap_or_else(|| ".venv".into());
    let all = [active.as_os_str(), ".venv".as_ref(), "venv".as_ref()];
    let found = all.iter().map(|venv| Path::new(venv).join("bin/python")).find(|python| python.exists());
    // Absolute, but not where its links lead: Python finds its environment by the path it is called by.
    found.and_then(|python| std::path::absolute(python).ok()).unwrap_or_else(|| Path::new("python3").to_owned())
}
