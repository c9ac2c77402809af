//! doorway is the WSGI idea (PEP 3333) for Rust: a plain function is a web application, and a server that is nothing but the
//! standard library runs it.
//!
//! ```no_run
//! use doorway::{Body, Environ, Server, StartResponse};
//!
//! fn application(_environ: &Environ, start_response: &mut StartResponse) -> Body {
//!     start_response.start("200 OK", &[("Content-Type", "text/html")]);
//!     Body::from("<h1>Hello, web!</h1>")
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     Server::bind("127.0.0.1:8000")?.serve(application)
//! }
//! ```
//!
//! No dependency, no `unsafe`, no async, no macros. An application is a blocking function; a fixed pool of threads calls it. A thread is
//! held by an application that runs, never by a client that waits: idle, slow and lingering connections cost memory, not threads.
//!
//! # What do you want to do?
//!
//! | | |
//! |---|---|
//! | read what was asked | [`Environ::method`], [`Environ::path`], [`Environ::query_value`], [`Environ::header`], [`Environ::cookie`] |
//! | read a form | [`Environ::form`]; with files: [`multipart::Parts`] |
//! | read any other content | [`Environ::content`] when it is small, [`Environ::input`] as it arrives |
//! | answer a page, text, JSON, a redirect | [`Response`], made an application by [`simple`]; [`escape_html`], [`json_string`] |
//! | set a cookie, open a session | [`SetCookie`], [`random_token`] |
//! | send a file, or a folder of them | [`Body`] is made from a `File`; [`app::Files`] |
//! | stream | [`Body::blocks`], [`Body::reader`]; to an `EventSource` in a page: [`Body::events`] of [`Event`]s |
//! | speak another protocol, such as WebSocket | [`Body::upgrade`] |
//! | say that something went wrong | return an `Err`: it is logged and answered 500, or as its [`Cause`] says |
//! | do the same for every request | [`middleware`], or a function that calls [`Application::call`]; the whole response in hand: [`Response::of`] |
//! | keep other sites away from a tool of your own | [`middleware::local_only`] |
//! | test it | [`testing::Request`], without a socket |
//! | serve it | [`Server::bind`] and [`Server::serve`], in the background [`Server::spawn`]; one request: [`Server::handle_one`] |
//! | bound it | [`Settings`], by [`Server::configure`] |
//! | see how it is | [`app::Status`]; [`Stats`] |
//! | deploy it | [`Server::door`] for uwsgi, SCGI and FastCGI, [`Server::serve_cgi`], [`Server::inherited`]; [`middleware::TrustProxy`] behind a front server |
//! | bring a stream of your own (TLS, a serial line) | [`serve_connection`] |
//! | know why a request was refused | the numbered [`Cause`] in the log |
//!
//! `docs/guide.md` goes the way from a socket that answers to a running site. Three objects carry everything: [`Environ`] says what was asked,
//! [`StartResponse`] begins the answer, [`Body`] is the answer.
//!
//! # The house
//! ```text
//!     client ──▶ listener ──▶ connection ──▶ door: head parser ──▶ Environ ─┐
//!                    │            ▲  │                                        ▼
//!                  limits         │  └─◀── door: response framing ◀── StartResponse + Body ◀── application
//!                                 │                                                             (middleware around it)
//!                              shards ◀─▶ pool of threads
//! ```
//!
//! | room | what it is for | what it knows |
//! |---|---|---|
//! | `scan` | which bytes may stand in a field and a target | nothing |
//! | [`gateway`] | the contract between server and application | no socket; of HTTP only what `scan` says |
//! | [`http`] | HTTP/1.1 on the wire: bytes in, values out | no socket, no thread, no clock; `scan` |
//! | `door` | how a request becomes an environ and a response goes back, one file for each protocol ([`Door`]) | `gateway`, `http` |
//! | [`log`] | what a server says about its work: counts of it, and lines | `gateway`, and `http` for the date |
//! | `server` | sockets, threads, time, and every limit ([`Settings`]) | `door`, `http`, `gateway`, `log` |
//! | [`web`] | what most applications need on top of the contract | `gateway`, and `http` as the parser that is public |
//! | [`middleware`] | applications around applications | `web`, `gateway`, and `http` for the date |
//! | [`app`] | applications worth shipping | `web`, `gateway`, `http`, `log` |
//! | `process` | a server in a process that somebody else starts: CGI, an inherited socket | `server`, `door`, `gateway` |
//! | [`testing`] | applications without a socket | `gateway` |
//!
//! Arrows point one way: `server → door → http`, `door → gateway`, `server → log`, `app → web → gateway`, and so on as the table says.
//! Every room may name a [`Cause`]. From `web` on they are leaves: no server needs them, and they can be taken out of a copy. Tests
//! keep all of this so. The core is `scan`, `gateway`, `http`, `door` for HTTP, and `server`.
//!
//! # The server, file by file
//! In the order in which a request meets them:
//!
//! | file | what it does |
//! |---|---|
//! | `listener`, `accept` | opens addresses; brings connections in |
//! | `shedding` | which connections are closed where there are too many, or they hold too much |
//! | `shard` | where connections wait, and who attends them: the sweep |
//! | `sleepers`, `bell` | waiting without looking: a thread for a quiet connection; a counter of the system for all of them |
//! | `connection` | one connection's life as phases and deadlines: `step` says wait, more, job or end |
//! | `pool` | the worker's loop: lock, take mail, sweep, a job?, run it, come back |
//! | `answer`, `call` | one request and its response: start, go on, finish |
//! | `reader` | content as the application reads it: pace, `100 Continue` |
//! | `response`, `send` | head and framing; what is unsent |
//! | `engine`, `monitor` | starts and ends the threads; looks after calls that last |
//! | `bounds`, `settings` | places, memory, seats; every limit |
//! | `upgrade` | connections that have left all this: the application speaks on them |
//! | `socket`, `buffer`, `shared` | what the others stand on |
//!
//! # How a connection lives
//! A connection is one state machine that no thread owns while it waits. It belongs to a shard, one a core. A worker attends the shard: it holds
//! its lock and looks at the connections in turn, at hot ones in every sweep and at cold ones after a time proportional to how long they have
//! been quiet. A few of the cold ones have a sleeper instead, a thread that blocks on one until its client says something; the others are
//! looked at in rounds, as soon as a counter of the system tells, where there is one, that anything has arrived at all. A sweep calls no application and reads no file. What needs a thread is a job: a request that is whole (head, and content up to
//! 16 KiB), or a response of which everything so far was taken and more is to be made. The worker lets go of the lock, runs the job itself, so
//! that a fast application costs no hand-over between threads, and comes back by one compare-and-swap of the shard's one word. When a call lasts
//! longer than 3 ms, the monitor takes the shard over by the same compare-and-swap and an idle worker goes on with it; where calls are slow as
//! a rule, or the last one for the same connection was, that is done before the call. `docs/performance.md` says what this costs beside other
//! servers, and what was given up for it.
//!
//! When the client does not take what was sent, the whole call moves into the connection: body, unsent bytes, environ, input. It waits there
//! without a thread, and goes on in whichever worker finds that everything was taken; so `on_close` and the rest of a body may run in another thread
//! than the call. A body of [`Body::channel`] waits for its sender in the same way.
//!
//! So a thread is held only by an application that runs: in its call, in its iterator, in [`Environ::input`] or [`Writer`]. Where it has to wait
//! for a client there (content above 16 KiB, a `Writer`), and while an iterator or a file is asked for more than its first block, it has one of the
//! seats, which are three quarters of the pool; a quarter always answers requests.
//!
//! # Five doors
//! A call (environ, application, framing, clean-up, logging) exists once; a protocol is a file in `door` that says where a request head
//! ends, what it says, and how a response head is written. At the gateway doors a front server has read the request; what it passes on is
//! brought to one form, so that an application sees the same request at every door:
//!
//! | | HTTP | uwsgi | SCGI | FastCGI | CGI |
//! |---|---|---|---|---|---|
//! | path | decoded from the target | one rule for `SCRIPT_NAME`, `PATH_INFO`, `DOCUMENT_URI`, `REQUEST_URI` | same | same | as sent |
//! | who the client is | the peer | what the front server says | same | same | same |
//! | content ends | length or last chunk | length | length | length or end of the stream | length |
//! | response head | status line, Date, Server | status line | `Status:` | `Status:` | `Status:` |
//! | response of unknown length | chunked | end of the connection | same | records | end of the stream |
//! | another protocol behind 101 | yes | no | no | no | no |
//! | connection stays | yes | no | no | as the front server asks | no |
//! | a response that fails half-way is visible | yes, but with a length to HTTP/1.0 | with a length | with a length | with a length, or no END_REQUEST | with a length |
//!
//! # What doorway is not
//! No TLS, no HTTP/2, no frames of WebSocket, no async, no routing: a front server does the first two, an application what is spoken behind
//! [`Body::upgrade`], and the last. Of the system,
//! std offers no signals, no `SO_REUSEPORT` and a listen queue of 128 connections.
//!
//! # Panics
//! The library does not panic on anything a client sends or an application passes. A panic of the application is caught, answered 500
//! and logged; a program built with `panic = "abort"` gives that up.
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
pub mod log;
pub mod middleware;
mod process;
mod scan;
mod server;
pub mod testing;
pub mod web;

pub use cause::Cause;
pub use door::Door;
pub use gateway::{
    Application, Block, Body, Environ, ErrorStream, Errors, Gateway, Headers, Input, Sender, StartError, StartResponse,
    Status, Transmit, Upgraded, Writer, is_hop_by_hop, percent_decode,
};
pub use log::{Phase, Stats};
pub use server::{Address, Handle, Listener, Observer, Server, Settings, Stopper, serve_connection};
pub use web::{
    CookieError, Event, Form, Response, SameSite, SetCookie, escape_html, form_bytes, form_pairs, json_string,
    multipart, percent_encode, random_token, simple,
};

/// The name and version under which the server speaks of itself. Not taken from the build, because a vendored copy is built under another
/// name; a test compares it with the package.
pub const VERSION: &str = "0.1.0";

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/front-servers.md")]
struct FrontServers;

#[cfg(doctest)]
#[doc = include_str!("../docs/operations.md")]
struct Operations;

#[cfg(doctest)]
#[doc = include_str!("../docs/small-systems.md")]
struct SmallSystems;
