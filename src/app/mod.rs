//! Applications worth shipping. Each is an ordinary [`Application`](crate::Application), usable at any door and under any mount.

mod demo;
mod files;
mod os;
mod proxy;

pub use demo::demo;
pub use files::{Files, Uploads};
pub use proxy::{Proxy, UpstreamError};
