//! Middleware: applications that take an application, and stand between it and the server.
//!
//! PEP 3333, "Middleware: Components that Play Both Sides" (P-MW-01 to P-MW-09). To the server each of these is an application,
//! to the application it is the server, and it keeps the rules of both sides. Whoever does not use them pays nothing for them.

mod access_log;
mod basic_auth;
mod blocks;
mod buffered;
mod conditional_get;
mod cors;
mod error_pages;
mod host_allow_list;
mod lint;
mod mount;
mod normalize;
mod trust_proxy;

pub use access_log::AccessLog;
pub use basic_auth::BasicAuth;
pub use buffered::Buffered;
pub use conditional_get::ConditionalGet;
pub use cors::Cors;
pub use error_pages::ErrorPages;
pub use host_allow_list::{HostAllowList, local_only};
pub use lint::{Culprit, Finding, Level, Lint, Place};
pub use mount::Mount;
pub use normalize::Normalize;
pub use trust_proxy::{Network, NetworkError, TrustProxy, XForwarded};
