//! Applications worth shipping. Each is an ordinary [`Application`](crate::Application), usable at any door and under any mount.

#[cfg(unix)]
mod cgi;
mod demo;
mod files;
mod os;
mod pass;
mod path;
mod proxy;
mod relay;
mod script;
mod status;

#[cfg(unix)]
pub use cgi::Cgi;
pub use demo::demo;
pub use files::{Files, Uploads};
pub use pass::Pass;
pub use proxy::{Proxy, UpstreamError};
pub use status::Status;
