//! The contract between a server and an application (PEP 3333, carried over to Rust).
//!
//! Everything an application or middleware touches is here. This room knows no socket, and of HTTP only what a field may be made of: a server
//! fills an [`Environ`], hands over a [`StartResponse`] and sends the [`Body`] it gets back, whatever the protocol.
//!
//! | PEP 3333 | here |
//! |---|---|
//! | the application callable | [`Application`], implemented for every plain function of the right shape |
//! | `environ` | [`Environ`]: CGI variables and typed accessors |
//! | `wsgi.input` | [`Environ::input`] gives an [`Input`], which is `Read + BufRead` |
//! | `wsgi.errors` | [`Environ::errors`] gives [`Errors`] |
//! | `start_response(status, headers)` | [`StartResponse::start`] |
//! | `start_response(status, headers, exc_info)` | [`StartResponse::restart`] |
//! | the `write()` callable | [`Writer`], which is `std::io::Write` |
//! | the returned iterable, `close()` | [`Body`], [`Body::on_close`] |
//! | `wsgiref.headers`, `wsgiref.util` | [`Headers`]; [`Environ::shift_path`], [`Environ::request_uri`], [`is_hop_by_hop`] |
//!
//! On top stands what most applications need, in the room [`web`](crate::web).

mod application;
mod body;
mod channel;
mod environ;
mod errors;
mod file_range;
mod headers;
mod input;
mod percent;
mod start_response;
mod status;
mod upgrade;
mod variables;

pub use application::Application;
pub use body::{Block, Body};
pub use channel::Sender;
pub use environ::{Environ, Gateway};
pub use errors::{ErrorStream, Errors};
pub use headers::{Headers, is_hop_by_hop};
pub use input::Input;
pub use percent::percent_decode;
pub use start_response::{StartError, StartResponse, Transmit, Writer};
pub use status::Status;
pub use upgrade::Upgraded;

pub(crate) use body::{Kind, READ_BLOCK, discard_panic, is_not_yet, uninterrupted};
pub(crate) use channel::{Receiver, Wake};
pub(crate) use environ::{Vars, network, variable_byte};
pub(crate) use file_range::FileRange;
pub(crate) use upgrade::{Upgrade, bounded};
pub(crate) use variables::{Name, Variables};
