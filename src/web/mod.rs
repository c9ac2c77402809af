//! What most applications need on top of the contract: forms, cookies, URLs, HTML, whole responses, dates that were received.
//!
//! No server needs any of it: the room stands on [`gateway`](crate::gateway) and the parser in [`http`](crate::http), adds methods to
//! [`Environ`](crate::Environ) and [`Headers`](crate::Headers), and can be left out of a copy.
//!
//! | for | here |
//! |---|---|
//! | the request | [`Environ::query_pairs`](crate::Environ::query_pairs), [`Environ::form`](crate::Environ::form) and [`form_pairs`], [`Environ::cookies`](crate::Environ::cookies), [`multipart`] for forms with files, [`Environ::content`](crate::Environ::content) |
//! | what it is for, and from whom | [`is_navigation`], [`base64_decode`] and [`base64_encode`] |
//! | its URL (`wsgiref.util`) | [`Environ::request_uri`](crate::Environ::request_uri), [`Environ::shift_path`](crate::Environ::shift_path), [`percent_encode`] |
//! | the response | [`Response`] and [`simple`], [`SetCookie`], [`random_token`], [`escape_html`], [`json_string`], [`Event`] |
//! | that of another application, for middleware | [`Response::of`], [`Response::content`] |
//! | its fields (`wsgiref.headers`) | [`Headers::add_header`](crate::Headers::add_header), [`Headers::set_default`](crate::Headers::set_default) |
//! | who asks another server, or is asked under conditions | [`response_head`], [`date`] |

pub mod date;
pub(crate) mod entity_tags;
pub mod multipart;
pub mod response_head;
pub(crate) mod weights;

mod base64;
mod collected;
pub(crate) mod content;
mod cookie;
mod event;
mod form;
mod headers;
mod html;
mod json;
mod navigation;
mod percent;
mod response;
pub(crate) mod token;
mod url;

pub use base64::{base64_decode, base64_encode};
pub use cookie::{CookieError, SameSite, SetCookie};
pub use event::Event;
pub use form::{Form, form_bytes, form_pairs};
pub use html::escape_html;
pub use json::json_string;
pub use navigation::is_navigation;
pub use percent::percent_encode;
pub use response::{Response, simple};
pub use token::random_token;
