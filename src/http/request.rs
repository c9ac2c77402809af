//! What a syntactically valid head asks for: target, host, content and the fate of the connection.
//!
//! RFC 9110 sections 7.2, 7.6.1 and 10.1.1, RFC 9112 sections 3.2, 6 and 9.3. One pass over the fields, no allocation.
//! Invariant: where a head has several faults, the first in this order is named, whatever the order of the fields:
//! target, repeated fields, Host, content, Expect. It does not interpret any other field.

use super::{
    framing::{self, Content},
    head::{Head, Version},
    scan,
    target::{self, Target},
};
use crate::cause::Cause;

/// A valid request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'buf> {
    /// The head it was read from.
    pub head: Head<'buf>,
    /// The request target, taken apart.
    pub target: Target<'buf>,
    /// The authority the request is for: that of an absolute target, else the Host field; `None` where that is missing
    /// (HTTP/1.0) or empty.
    pub host: Option<&'buf [u8]>,
    /// How the content is delimited.
    pub content: Content,
    /// The client waits for `100 Continue` before it sends the content.
    pub expects_continue: bool,
    /// The connection may persist as far as the client is concerned.
    pub keep_alive: bool,
    /// The client speaks HTTP/1.0 and asked for it, so that a response that keeps the connection must say
    /// `Connection: keep-alive`.
    pub keep_alive_named: bool,
}

/// Reads a request from its head.
///
/// ```
/// use doorway::http::{head::{Limits, Parsed, Spans, parse}, request::read};
///
/// let mut spans = Spans::new();
/// let bytes = b"GET /hello HTTP/1.1\r\nHost: example.org\r\n\r\n";
/// let Parsed::Complete(head) = parse(bytes, &Limits::default(), &mut spans) else { panic!("a valid head") };
/// let request = read(head).unwrap();
/// assert_eq!((request.host, request.keep_alive), (Some(&b"example.org"[..]), true));
/// ```
pub fn read<'buf>(head: Head<'buf>) -> Result<Request<'buf>, Cause> {
    let version = head.version();
    let target = target::parse(head.target(), head.method())?;
    let mut once = Once::default();
    let (mut close, mut keep_alive) = (false, false);
    for (name, value) in head.fields() {
        once.note(name, value)?;
        if name.eq_ignore_ascii_case(b"connection") {
            // Connection = #connection-option
            for option in value.split(|&byte| byte == b',').map(scan::trim_ows) {
                close |= option.eq_ignore_ascii_case(b"close");
                keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }
    let host = read_host(version, &target, once.host)?;
    let content = framing::content(version, once.content_length, once.transfer_encoding)?;
    // RFC 9110 section 10.1.1: no 100 where no content will follow.
    let has_content = !matches!(content, Content::None | Content::Length(0));
    let expects_continue = read_expect(version, once.expect)? && has_content;
    // RFC 9112 section 9.3: close is stronger than everything, HTTP/1.1 persists, HTTP/1.0 on request.
    let keep_alive_named = version == Version::Http10 && keep_alive && !close;
    Ok(Request {
        head,
        target,
        host,
        content,
        expects_continue,
        keep_alive: keep_alive_named || (version == Version::Http11 && !close),
        keep_alive_named,
    })
}

/// The fields that may stand once. Two values would leave it to each recipient which to believe.
#[derive(Default)]
struct Once<'buf> {
    host: Option<&'buf [u8]>,
    content_length: Option<&'buf [u8]>,
    transfer_encoding: Option<&'buf [u8]>,
    content_type: Option<&'buf [u8]>,
    expect: Option<&'buf [u8]>,
    authorization: Option<&'buf [u8]>,
}

impl<'buf> Once<'buf> {
    fn note(&mut self, name: &[u8], value: &'buf [u8]) -> Result<(), Cause> {
        // The length tells the names apart; most fields end here.
        let (known, place): (&[u8], _) = match name.len() {
            4 => (b"host", &mut self.host),
            6 => (b"expect", &mut self.expect),
            12 => (b"content-type", &mut self.content_type),
            13 => (b"authorization", &mut self.authorization),
            14 => (b"content-length", &mut self.content_length),
            17 => (b"transfer-encoding", &mut self.transfer_encoding),
            _ => return Ok(()),
        };
        if name.eq_ignore_ascii_case(known) && place.replace(value).is_some() {
            return Err(Cause::FieldRepeated);
        }
        Ok(())
    }
}

// RFC 9112 section 3.2: 400 for a request of HTTP/1.1 without Host and for any with an invalid one. In section 3.2.2 the
// authority of an absolute target replaces the field, which must be sent and valid all the same.
fn read_host<'buf>(
    version: Version,
    target: &Target<'buf>,
    field: Option<&'buf [u8]>,
) -> Result<Option<&'buf [u8]>, Cause> {
    match (target, field) {
        (_, None) if version == Version::Http11 => Err(Cause::HostMissing),
        (_, Some(host)) if !host.is_empty() && !target::is_host(host) => Err(Cause::HostInvalid),
        // Empty means that the target has no authority, so here it contradicts the target.
        (Target::Absolute { .. }, Some(b"")) => Err(Cause::HostInvalid),
        (Target::Absolute { authority, .. }, _) => Ok(Some(*authority)),
        (_, field) => Ok(field.filter(|host| !host.is_empty())),
    }
}

// Expect = #expectation, of which 100-continue is the only one.
fn read_expect(version: Version, field: Option<&[u8]>) -> Result<bool, Cause> {
    match (version, field) {
        (_, None) | (Version::Http10, _) => Ok(false),
        (Version::Http11, Some(value)) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        (Version::Http11, Some(_)) => Err(Cause::ExpectUnknown),
    }
}

/// Whether the field concerns one connection only and belongs to the server, not to the application
/// (RFC 9110 section 7.6.1, PEP 3333).
///
/// ```
/// use doorway::http::request::is_hop_by_hop;
///
/// assert!(is_hop_by_hop(b"TE") && is_hop_by_hop(b"trailer") && !is_hop_by_hop(b"Date"));
/// ```
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 9] = [
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}
