//! The HTTP/1.1 door: a request head becomes an environ, a status and fields become a response head.
//!
//! RFC 9112, RFC 3875 section 4.1, docs/rules.md P-ENV-01 to P-ENV-32. What is dropped on the way in is a fixed list: fields of the
//! connection, `Proxy` (httpoxy), and names with an underscore, which would collide with names with a hyphen. The rules are those
//! of `http`; here are the ones that depend on the settings: which schemes, names and lengths are served. It does not decide about
//! framing (`http::framing`) and writes to no socket.

use std::sync::LazyLock;

use super::{Door, Examined, Facts, Filling, NotReady, Policy, Progress, Protocol, Reply, Room};
use crate::cause::Cause;
use crate::gateway::{Name, Variables, percent_decode, variable_byte};
use crate::http::field::{self, Known};
use crate::http::framing::{self, Content, push_decimal};
use crate::http::head::{self, Parsed, Span, Version};
use crate::http::request::{self, Request};
use crate::http::target::Target;

/// HTTP/1.1.
pub(crate) struct Http;

#[allow(non_upper_case_globals, reason = "a door reads like a variant of an enum wherever it is used")]
impl Door {
    /// HTTP/1.1 and HTTP/1.0, for clients of every kind.
    pub const Http: Door = Door { name: "http", protocol: &Http };
}

impl Protocol for Http {
    fn longest_head(&self, policy: &Policy) -> usize {
        policy.head.head
    }

    /// As many empty lines as may stand before a request are the beginning of none (RFC 9112 section 2.2).
    fn has_begun(&self, bytes: &[u8]) -> bool {
        !b"\r\n\r\n\r".starts_with(bytes)
    }

    fn may_be_decided(&self, bytes: &[u8], progress: &mut Progress, policy: &Policy) -> bool {
        head::may_be_decided(bytes, &mut progress.head, &policy.head)
    }

    fn examine(&self, bytes: &[u8], policy: &Policy, room: &mut Room, filling: Option<Filling<'_>>) -> Examined {
        let head = match head::parse(bytes, &policy.head, &mut room.spans) {
            Parsed::Incomplete => return Err(NotReady::Incomplete),
            Parsed::Invalid(cause) => return Err(cause.into()),
            Parsed::Complete(head) => head,
        };
        let request = request::read_after(head, &mut room.host)?;
        if matches!(request.target, Target::Absolute { https: true, .. }) && !policy.https {
            return Err(Cause::TargetScheme.into());
        }
        if policy.refuse_underscores && head.fields().any(|(name, _)| name.contains(&b'_')) {
            return Err(Cause::FieldUnderscore.into());
        }
        let is_here = match request.content {
            Content::None => true,
            Content::Length(length) => {
                policy.admit(length)?;
                match policy.gather(head.len(), length, bytes.len()) {
                    Err(_) if request.expects_continue => false,
                    gathered => gathered?,
                }
            }
            Content::Chunked => false,
        };
        Ok(Facts {
            head_len: head.len(),
            version: head.version(),
            is_head: head.method() == b"HEAD",
            content: request.content,
            is_here,
            expects_continue: request.expects_continue,
            keep_alive: request.keep_alive,
            is_options_asterisk: matches!(request.target, Target::Asterisk),
            offers_upgrade: request.upgrade.is_some(),
            dropped: filling.map_or(0, |filling| fill_environ(&request, filling)),
            ..Facts::default()
        })
    }

    /// Whatever is wrong with it, a client of HTTP reads a status.
    fn addressee(&self, bytes: &[u8], _is_first: bool) -> Option<Facts> {
        // Only what the parser skips may stand before it: bytes behind the fault have no say.
        let is_head = [&b"HEAD "[..], b"\r\nHEAD ", b"\r\n\r\nHEAD "].iter().any(|start| bytes.starts_with(start));
        Some(Facts { is_head, ..Facts::default() })
    }

    fn request_line(&self, bytes: &[u8]) -> Vec<u8> {
        let mut lines = bytes.split(|byte| matches!(byte, b'\r' | b'\n'));
        let line = lines.find(|line| !line.is_empty()).unwrap_or_default();
        line.get(..200).unwrap_or(line).to_vec()
    }

    /// Status line, the application's fields as they came, then what HTTP asks for.
    fn write_head(&self, out: &mut Vec<u8>, reply: &Reply<'_>) {
        // RFC 9112 section 2.3: the server's own version, also to an HTTP/1.0 client.
        // P-HDR-01: the application's own value wins.
        let [mut has_date, mut has_server] = [false; 2];
        write_fields(out, b"HTTP/1.1 ", reply, |name| {
            has_date |= name.eq_ignore_ascii_case(b"date");
            has_server |= name.eq_ignore_ascii_case(b"server");
        });
        if reply.framing.delimiter == framing::Delimiter::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        match (reply.upgrade, reply.keep_alive, reply.version) {
            (Some(protocol), ..) => {
                let parts: [&[u8]; 3] = [b"Connection: Upgrade\r\nUpgrade: ", protocol.as_bytes(), b"\r\n"];
                parts.iter().for_each(|part| out.extend_from_slice(part));
            }
            (None, false, _) => out.extend_from_slice(b"Connection: close\r\n"),
            (None, true, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
            // That it stays is the default: nothing is said.
            (None, true, Version::Http11) => {}
        }
        if !has_date && !has_server {
            return out.extend_from_slice(reply.end);
        }
        for line in reply.end.split_inclusive(|byte| *byte == b'\n') {
            if !(has_date && line.starts_with(b"Date:") || has_server && line.starts_with(b"Server:")) {
                out.extend_from_slice(line);
            }
        }
    }
}

/// Writes the end of every head of one second: Server and Date, where they are sent, and the empty line.
pub(crate) fn write_end(out: &mut Vec<u8>, server: Option<&str>, date: Option<[u8; 29]>) {
    let fields = [("Server", server.map(str::as_bytes)), ("Date", date.as_ref().map(<[u8; 29]>::as_slice))];
    for (name, value) in fields.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
        [name.as_bytes(), b": ", value, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part));
    }
    out.extend_from_slice(b"\r\n");
}

/// What the server answers `OPTIONS *` and CONNECT with: the methods it passes on.
pub(crate) const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Fills the variables of a request. Gives the number of fields that were dropped for their underscore.
fn fill_environ(request: &Request<'_>, Filling { environ, origin, peer }: Filling<'_>) -> u64 {
    let head = &request.head;
    let (path, query) = match request.target {
        Target::Origin { path, query } | Target::Absolute { path, query, .. } => (path, query.unwrap_or_default()),
        // Answered by the server itself; no application sees it.
        Target::Asterisk => (&b"/"[..], &b""[..]),
    };

    // What applications look for most stands first: the search for a variable goes through them in order.
    let bytes = head.bytes;
    let variables = environ.refill(origin.gateway, bytes, &origin.variables);
    variables.push_part(bytes, b"REQUEST_METHOD", head.method());
    if path.contains(&b'%') {
        let decoded = variables.append(|text| percent_decode(path, text));
        variables.push(b"PATH_INFO", decoded);
    } else {
        variables.push_part(bytes, b"PATH_INFO", path);
    }
    variables.push_part(bytes, b"QUERY_STRING", query);
    variables.push_part(bytes, b"REQUEST_URI", head.target());
    variables.push_part(bytes, b"SERVER_PROTOCOL", head.version().as_str().as_bytes());
    variables.push_part(bytes, b"SERVER_NAME", request.host.map_or(origin.server_name.as_bytes(), host_of));
    if peer.address.is_some() {
        let (start, end) = variables.append(|text| text.extend_from_slice(&peer.text));
        variables.push(b"REMOTE_ADDR", (start, start + peer.port));
        variables.push(b"REMOTE_PORT", (start + peer.port, end));
    }
    let dropped = fill_fields(bytes, head.spans, variables);
    if let Target::Absolute { authority, .. } = request.target {
        // It replaces the field (RFC 9112 section 3.2.2), without which a request of HTTP/1.0 may come.
        variables.set(b"HTTP_HOST", authority);
    }
    if let Some(offered) = request.upgrade {
        variables.push_part(bytes, b"doorway.upgrade", offered);
    }
    // Last, so that a name of the deployer's stands once, with the deployer's value: a client must not add to it.
    variables.set_all(&origin.deployed);
    dropped
}

/// The HTTP_* variables, CONTENT_TYPE and CONTENT_LENGTH. Of nearly all fields the loop does all that is to do; the rest is a function of its
/// own, because the loop needs the registers. The request is not given: all of it would be laid out in memory for that.
fn fill_fields(bytes: &[u8], spans: &[Span], variables: &mut Variables) -> u64 {
    // Names that are more than to be put down: hidden, not known, or there already.
    let (mut taken, mut dropped) = (HIDDEN | 1 << Known::OTHER.index(), 0);
    let known_variables = &*VARIABLES;
    for span in spans {
        let this = 1 << span.known.index();
        match known_variables.get(span.known.index()) {
            Some(variable) if taken & this == 0 => variables.push(variable, span.value),
            _ => dropped += u64::from(fill_other(bytes, spans, span, variables)),
        }
        taken |= this;
    }
    dropped
}

/// The variable of a field whose name is not known, or comes again. Tells whether it was dropped for its underscore.
fn fill_other(bytes: &[u8], spans: &[Span], span: &Span, variables: &mut Variables) -> bool {
    let field = span.name(bytes);
    let name = match VARIABLES.get(span.known.index()) {
        Some(_) if HIDDEN & 1 << span.known.index() != 0 => return false,
        Some(variable) => Name::Fixed(variable),
        // P-ENV-30: a variable with a point in it is the gateway's own.
        None if field.iter().any(|byte| matches!(byte, b'.' | b'_')) => return field.contains(&b'_'),
        None => Name::Text(variables.append(|text| write_variable(field, text))),
    };
    let separator: &[u8] = if span.known == Known::COOKIE { b"; " } else { b", " };
    let all = head::fields(bytes, spans).filter(|(name, _)| name.eq_ignore_ascii_case(field)).map(|(_, value)| value);
    variables.push_field((name, span.value), separator, all);
    false
}

fn write_variable(field: &[u8], text: &mut Vec<u8>) {
    text.extend_from_slice(b"HTTP_");
    text.extend(field.iter().copied().map(variable_byte));
}

/// The known names that no application sees: of this connection and acted on already (P-ENV-16), or Proxy (httpoxy: HTTP_PROXY would be taken
/// for a setting of the environment).
const HIDDEN: u64 = (2 << Known::PROXY.index()) - (1 << Known::TRANSFER_ENCODING.index());

/// Whether a variable is that of such a field.
pub(super) fn is_hidden(variable: &[u8]) -> bool {
    (0..).zip(&*VARIABLES).any(|(at, other)| HIDDEN & 1 << at != 0 && variable == other)
}

/// The variables of known names.
static VARIABLES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let variables = field::names().map(|name| {
        let mut variable = Vec::new();
        write_variable(name, &mut variable);
        match variable.strip_prefix(b"HTTP_") {
            Some(bare @ (b"CONTENT_TYPE" | b"CONTENT_LENGTH")) => bare.to_vec(),
            _ => variable,
        }
    });
    variables.collect()
});

/// The host of an authority, without its port.
pub(super) fn host_of(authority: &[u8]) -> &[u8] {
    match authority.iter().rposition(|byte| *byte == b':') {
        // The colons inside of brackets belong to an IPv6 address.
        Some(colon) if !authority.ends_with(b"]") => authority.split_at(colon).0,
        _ => authority,
    }
}

/// What stands before the status, the status, the application's fields as they came, each name being shown, and the length that the
/// response has.
pub(super) fn write_fields(out: &mut Vec<u8>, before: &[u8], reply: &Reply<'_>, mut look: impl FnMut(&[u8])) {
    out.extend_from_slice(before);
    out.extend_from_slice(reply.status.as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut length = reply.framing.content_length;
    for (name, line) in reply.headers.lines() {
        if !name.eq_ignore_ascii_case(b"content-length") {
            look(name);
            out.extend_from_slice(line);
        } else if let Some(length) = length.take() {
            write_length(out, line.split_at(name.len() + 2).0, length);
        }
    }
    if let Some(length) = length {
        write_length(out, b"Content-Length: ", length);
    }
}

/// The name is there with its colon and space.
fn write_length(out: &mut Vec<u8>, name: &[u8], length: u64) {
    out.extend_from_slice(name);
    push_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}
