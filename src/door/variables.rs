//! What the doors share that get variables from a front server: uwsgi, SCGI, FastCGI and CGI.
//!
//! docs/rules.md G-02 to G-07, P-ENV-03 to P-ENV-17, P-ENV-30. A front server has read a request already and says what it found as
//! names and values; they differ between front servers, so the rules here bring them to one form: one rule for the path, one
//! value for each name, nothing that is the business of the connection between client and front server. Variables are data: no name
//! has an effect on the server. It knows no packet: a [`Block`] brings the function that takes the next pair off it.

use super::{Door, Examined, Facts, Filling, NotReady, Policy, Reply, http};
use crate::cause::Cause;
use crate::gateway::{Gateway, Name, percent_decode};
use crate::http::framing::{Content, push_decimal};
use crate::http::head::Version;
use crate::http::scan;

/// More variables than that are refused. nginx sends about 20 and the fields of the request, which it bounds itself.
const MAX_VARIABLES: usize = 512;

/// A name, its value, and what follows; nothing where the bytes break the format.
pub(super) type Pair<'buf> = (&'buf [u8], &'buf [u8], &'buf [u8]);

/// Bytes that hold pairs.
#[derive(Clone, Copy)]
pub(crate) struct Block<'buf> {
    pub(super) bytes: &'buf [u8],
    pub(super) next: fn(&[u8]) -> Option<Pair<'_>>,
}

impl<'buf> Block<'buf> {
    /// Every pair. Bytes that break the format end it: [`Request::read`] has refused them.
    pub(super) fn pairs(self) -> impl Iterator<Item = (&'buf [u8], &'buf [u8])> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (name, value, behind) = (self.next)(rest)?;
            rest = behind;
            Some((name, value))
        })
    }
}

/// A request in variables.
#[derive(Clone, Copy)]
pub(crate) struct Request<'buf> {
    block: Block<'buf>,
    said: Said<'buf>,
    path: Path<'buf>,
    query: &'buf [u8],
    length: Option<u64>,
    door: Door,
    head_len: usize,
}

/// The variables that mean something to the server.
#[derive(Clone, Copy, Default)]
struct Said<'buf> {
    method: &'buf [u8],
    script_name: &'buf [u8],
    path_info: &'buf [u8],
    document_uri: &'buf [u8],
    request_uri: &'buf [u8],
    query: Option<&'buf [u8]>,
    length: &'buf [u8],
    /// HTTP_CONTENT_LENGTH and HTTP_TRANSFER_ENCODING: the fields as the client sent them.
    length_field: &'buf [u8],
    coding: &'buf [u8],
    https: &'buf [u8],
    scheme: &'buf [u8],
    server_name: &'buf [u8],
    server_port: &'buf [u8],
    protocol: &'buf [u8],
    host: &'buf [u8],
    scgi: &'buf [u8],
}

/// Where the path comes from (G-03).
#[derive(Clone, Copy)]
enum Path<'buf> {
    /// SCRIPT_NAME and PATH_INFO, one behind the other, or DOCUMENT_URI.
    Decoded(&'buf [u8], &'buf [u8]),
    /// The path of REQUEST_URI.
    Encoded(&'buf [u8]),
    /// SCRIPT_NAME and PATH_INFO as they were sent, for CGI.
    AsSent(&'buf [u8], &'buf [u8]),
}

impl<'buf> Request<'buf> {
    /// Reads the variables of a request. `head_len` is where its content begins.
    pub(super) fn read(block: Block<'buf>, door: Door, head_len: usize, policy: &Policy) -> Result<Self, Cause> {
        let said = Said::gather(block)?;
        if !scan::is_token(said.method) {
            return Err(if said.method.is_empty() { Cause::VariableMissing } else { Cause::Method });
        }
        // Caddy says so of content in chunks.
        let is_unknown = said.length == b"-1" && door.protocol().shows_end_of_content();
        let length = if is_unknown { None } else { read_length(said.length)? };
        // A CGI program stands alone: no front server has read ahead for it or knows its paths better.
        let as_sent = !door.protocol().has_addresses();
        // nginx up to 1.29 with scgi_request_buffering off says how much it has read so far, and the field says the truth: the rest
        // would be lost without a word.
        if !said.length_field.is_empty() && read_length(said.length_field)? != length && !as_sent {
            return Err(Cause::LengthContradicted);
        }
        policy.admit(length.unwrap_or(0))?;
        let (path, query) = said.find_path(as_sent)?;
        // As in a target of HTTP: the query is text that is still encoded.
        if !query.iter().all(u8::is_ascii_graphic) {
            return Err(Cause::TargetByte);
        }
        Ok(Request { block, said, path, query, length, door, head_len })
    }

    /// What outlives the variables, which are filled in. Whoever unpacks the content at the front server knows no chunks: a length, or the
    /// end of the connection.
    pub(super) fn facts(&self, filling: Option<Filling<'_>>) -> Facts {
        Facts {
            head_len: self.head_len,
            version: Version::Http10,
            is_head: self.said.method == b"HEAD",
            content: self.length.map_or(Content::None, Content::Length),
            is_options_asterisk: self.said.method == b"OPTIONS"
                && matches!(self.path, Path::Decoded(b"", b"*") | Path::Encoded(b"*")),
            door: self.door,
            dropped: filling.map_or(0, |filling| self.fill_environ(filling)),
            ..Facts::default()
        }
    }

    /// CONTENT_LENGTH, as far as the protocol lets it be left out.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Takes SCRIPT_NAME off PATH_INFO where that is the whole path.
    pub(super) fn split_path(mut self) -> Self {
        if let Path::Decoded(script_name, path_info) = self.path {
            let rest = path_info.strip_prefix(script_name).filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
            self.path = Path::Decoded(script_name, rest.unwrap_or(path_info));
        }
        self
    }

    /// Whether the variable SCGI says that it is that protocol.
    pub(super) fn is_scgi(&self) -> bool {
        self.said.scgi == b"1"
    }

    /// Whether all of the content is there, as short content must be before the call.
    pub(super) fn gather(&self, received: usize, policy: &Policy) -> Result<bool, NotReady> {
        self.length.map_or(Ok(true), |length| policy.gather(self.head_len, length, received))
    }

    /// G-06: what the front server says about TLS in HTTPS, else by the scheme, else what the settings say.
    fn gateway(&self, gateway: Gateway) -> Gateway {
        let is = |value: &[u8], names: &[&str]| names.iter().any(|name| value.eq_ignore_ascii_case(name.as_bytes()));
        let https = match (self.said.https, self.said.scheme) {
            (https, _) if is(https, &["on", "1", "yes", "true"]) => true,
            (https, _) if is(https, &["off", "0", "no", "false"]) => false,
            (_, scheme) if is(scheme, &["http", "https"]) => is(scheme, &["https"]),
            _ => gateway.https,
        };
        Gateway { https, ..gateway }
    }

    /// SSI of RFC 3875 section 4.1.16 has INCLUDED; some front servers say nothing.
    fn protocol(&self) -> &'buf [u8] {
        match self.said.protocol {
            b"" => b"HTTP/1.1",
            // Nothing longer: it stands in log lines, and applications compare it.
            protocol if is_version(protocol) => protocol,
            _ => b"HTTP/1.0",
        }
    }

    /// Fills the variables of a request. Gives the number of those that were dropped for their names.
    fn fill_environ(&self, Filling { environ, origin, .. }: Filling<'_>) -> u64 {
        let (said, head, gateway) = (&self.said, self.block.bytes, self.gateway(origin.gateway));
        let variables = environ.refill(gateway, head, &origin.variables);
        let name = [said.server_name, http::host_of(said.host), origin.server_name.as_bytes()];
        variables.push_part(head, b"REQUEST_METHOD", said.method);
        variables.push_part(head, b"QUERY_STRING", self.query);
        variables.push_part(head, b"SERVER_PROTOCOL", self.protocol());
        let name = name.into_iter().find(|name| !name.is_empty()).unwrap_or(b"localhost");
        variables.push_part(head, b"SERVER_NAME", name);
        if !said.server_port.is_empty() {
            variables.set(b"SERVER_PORT", said.server_port);
        }
        let path = variables.append(|text| match self.path {
            Path::Decoded(before, behind) => text.extend([before, behind].into_iter().flatten()),
            Path::Encoded(path) => percent_decode(path, text),
            Path::AsSent(_, path_info) => text.extend_from_slice(path_info),
        });
        variables.push(b"PATH_INFO", path);
        if let Path::AsSent(script_name, _) = self.path {
            variables.set(b"SCRIPT_NAME", script_name);
        }
        if gateway.https {
            variables.push_part(head, b"HTTPS", b"on");
        }
        if let Some(length @ 1..) = self.length {
            let length = variables.append(|text| push_decimal(text, length));
            variables.push(b"CONTENT_LENGTH", length);
        }
        let mut dropped = 0;
        // Taken off the block once: a client that repeats two hundred names would have all of its bytes searched for each.
        let pairs: Vec<_> = self.block.pairs().collect();
        for &(name, value) in &pairs {
            match kept_as(name) {
                KeptAs::Nothing => {}
                KeptAs::Foreign => dropped += 1,
                KeptAs::Front => variables.set(b"doorway.front", value),
                // The last of one name wins, as a deployer's line behind an included file of parameters should.
                // P-ENV-17: what does not apply is left out. Front servers fill it with nothing.
                KeptAs::Variable if value.is_empty() => variables.remove(name),
                KeptAs::Variable => variables.set(name, value),
                KeptAs::Field if name == b"HTTP_HOST" => variables.set(name, value),
                KeptAs::Field => {
                    let separator: &[u8] = if name == b"HTTP_COOKIE" { b"; " } else { b", " };
                    let all = pairs.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value);
                    let field = (Name::Text(variables.place(head, name)), variables.place(head, value));
                    variables.push_field(field, separator, all);
                }
            }
        }
        variables.set_all(&origin.deployed);
        dropped
    }
}

/// A request that is answered without more ado. Content whose end nobody tells would be lost without a word.
pub(super) fn ready(request: Request<'_>, is_here: bool, filling: Option<Filling<'_>>) -> Examined {
    if request.length.is_none() && !request.said.coding.is_empty() {
        return Err(Cause::LengthMissing.into());
    }
    Ok(Facts { is_here, ..request.facts(filling) })
}

/// `HTTP/` and a digit, or two with a point between them: front servers say `HTTP/2.0` and `HTTP/3`.
fn is_version(protocol: &[u8]) -> bool {
    match protocol.strip_prefix(b"HTTP/") {
        Some([major]) => major.is_ascii_digit(),
        Some([major, b'.', minor]) => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    }
}

/// The method and the target, for a log: as far as the packet can be read.
pub(super) fn request_line(block: Block<'_>) -> Vec<u8> {
    let value_of = |name: &[u8]| {
        let pair = block.pairs().take(MAX_VARIABLES).find(|(other, value)| *other == name && !value.is_empty());
        pair.map(|(_, value)| value)
    };
    let mut line = value_of(b"REQUEST_METHOD").unwrap_or_default().to_vec();
    let targets: [&[u8]; 3] = [b"REQUEST_URI", b"PATH_INFO", b"DOCUMENT_URI"];
    if let Some(target) = targets.into_iter().find_map(value_of) {
        line.push(b' ');
        line.extend_from_slice(target);
    }
    line.truncate(200);
    line
}

/// Whom a refusal answers: all that matters is whether it may have content.
pub(super) fn addressee(door: Door, block: Block<'_>) -> Facts {
    let is_head = block.pairs().take(MAX_VARIABLES).any(|pair| pair == (b"REQUEST_METHOD", b"HEAD"));
    Facts { door, is_head, ..Facts::default() }
}

impl<'buf> Said<'buf> {
    /// Goes through all pairs once, and refuses those that break the format or contradict one another.
    fn gather(block: Block<'buf>) -> Result<Said<'buf>, Cause> {
        let mut said = Said::default();
        let mut rest = block.bytes;
        let mut count = 0;
        while !rest.is_empty() {
            let (name, value, behind) = (block.next)(rest).ok_or(Cause::PacketFormat)?;
            rest = behind;
            count += 1;
            if count > MAX_VARIABLES {
                return Err(Cause::VariableCount);
            }
            if name.starts_with(b"HTTP_") && value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
                return Err(Cause::FieldValue);
            }
            let place = match name {
                b"REQUEST_METHOD" => &mut said.method,
                b"SCRIPT_NAME" => &mut said.script_name,
                b"PATH_INFO" => &mut said.path_info,
                b"DOCUMENT_URI" => &mut said.document_uri,
                b"REQUEST_URI" => &mut said.request_uri,
                b"HTTPS" => &mut said.https,
                b"REQUEST_SCHEME" => &mut said.scheme,
                b"SERVER_NAME" => &mut said.server_name,
                b"SERVER_PORT" => &mut said.server_port,
                b"SERVER_PROTOCOL" => &mut said.protocol,
                b"SCGI" => &mut said.scgi,
                b"HTTP_TRANSFER_ENCODING" => &mut said.coding,
                b"QUERY_STRING" => {
                    said.query = Some(value);
                    continue;
                }
                // G-04: of two different lengths, or two different hosts, nobody can know which the front server went by.
                b"CONTENT_LENGTH" => once(&mut said.length, value)?,
                b"HTTP_CONTENT_LENGTH" => once(&mut said.length_field, value)?,
                b"HTTP_HOST" => once(&mut said.host, value)?,
                _ => continue,
            };
            *place = value;
        }
        Ok(said)
    }

    /// G-03: the one rule for the path. What the front server has decoded and normalised goes before what the client typed: the front
    /// server's access rules were applied to the former.
    fn find_path(&self, as_sent: bool) -> Result<(Path<'buf>, &'buf [u8]), Cause> {
        let (uri, uri_query) = match self.request_uri.iter().position(|byte| *byte == b'?') {
            Some(mark) => self.request_uri.split_at(mark),
            None => (self.request_uri, &b""[..]),
        };
        let query = self.query.or(uri_query.strip_prefix(b"?")).unwrap_or_default();
        // A script name that is only the slash is none (P-ENV-03).
        let script_name = if self.script_name == b"/" { &b""[..] } else { self.script_name };
        let path = match (script_name, self.path_info) {
            (script_name, path_info) if as_sent => {
                let script_name = script_name.strip_suffix(b"/").unwrap_or(script_name);
                // P-ENV-04: one of them says where the request is.
                let path_info = if script_name.is_empty() && path_info.is_empty() { &b"/"[..] } else { path_info };
                Path::AsSent(script_name, path_info)
            }
            // Alone it says that the request is for the root, whatever the client has typed to get there.
            (b"", b"") if self.script_name == b"/" => Path::Decoded(b"", b"/"),
            (b"", b"") if !self.document_uri.is_empty() => Path::Decoded(b"", self.document_uri),
            (b"", b"") => Path::Encoded(path_of(uri)),
            (script_name, path_info) if path_info.starts_with(b"/") => {
                Path::Decoded(script_name.strip_suffix(b"/").unwrap_or(script_name), path_info)
            }
            (script_name, path_info) => Path::Decoded(script_name, path_info),
        };
        let is_rooted = |path: &[u8]| path.is_empty() || path.starts_with(b"/");
        match path {
            Path::Decoded(b"", b"*") | Path::Encoded(b"*") if self.method == b"OPTIONS" => {}
            Path::Encoded(b"") => return Err(Cause::VariableMissing),
            Path::Encoded(path) if !path.starts_with(b"/") => return Err(Cause::TargetForm),
            Path::Encoded(path) if path.windows(3).any(|escape| escape == b"%00") => return Err(Cause::TargetNul),
            Path::Encoded(path) if path.contains(&0) => return Err(Cause::TargetNul),
            Path::Encoded(_) => {}
            Path::Decoded(first, rest) | Path::AsSent(first, rest) => {
                if first.contains(&0) || rest.contains(&0) {
                    return Err(Cause::TargetNul);
                }
                // What a script name ends with, the rest goes on from; alone it must start at the root.
                if !is_rooted(first) || (!is_rooted(rest) && (first.is_empty() || as_sent)) {
                    return Err(Cause::TargetForm);
                }
            }
        }
        Ok((path, query))
    }
}

/// The path of a target that may be absolute.
fn path_of(uri: &[u8]) -> &[u8] {
    if uri.starts_with(b"/") {
        return uri;
    }
    let Some(at) = uri.windows(3).position(|part| part == b"://") else { return uri };
    let authority = uri.split_at(at + 3).1;
    match authority.iter().position(|byte| *byte == b'/') {
        Some(slash) => authority.split_at(slash).1,
        None => b"/",
    }
}

fn once<'a, 'buf>(place: &'a mut &'buf [u8], value: &[u8]) -> Result<&'a mut &'buf [u8], Cause> {
    if place.is_empty() || *place == value { Ok(place) } else { Err(Cause::VariableRepeated) }
}

/// CONTENT_LENGTH: empty says that there is none (nginx sends it so with GET).
fn read_length(value: &[u8]) -> Result<Option<u64>, Cause> {
    if value.is_empty() { Ok(None) } else { scan::decimal(value).map(Some).ok_or(Cause::ContentLength) }
}

enum KeptAs {
    Variable,
    Field,
    /// The front server's own name.
    Front,
    /// Said in another way already, or not the application's business.
    Nothing,
    /// A name that no variable has.
    Foreign,
}

/// Names of what is kept as nothing.
const NOTHING: &[&[u8]] = &[
    b"REQUEST_METHOD",
    b"SCRIPT_NAME",
    b"PATH_INFO",
    b"QUERY_STRING",
    b"SERVER_PROTOCOL",
    b"SERVER_NAME",
    b"SERVER_PORT",
    b"HTTPS",
    b"CONTENT_LENGTH",
    b"GATEWAY_INTERFACE",
    b"SCGI",
    b"HTTP_CONTENT_TYPE",
    b"HTTP_CONTENT_LENGTH",
];

/// What becomes of a variable (G-02, G-05).
fn kept_as(name: &[u8]) -> KeptAs {
    match name {
        // P-ENV-16. The content arrives without its transfer coding: decoding it again would corrupt it.
        _ if NOTHING.contains(&name) || http::is_hidden(name) => KeptAs::Nothing,
        b"SERVER_SOFTWARE" => KeptAs::Front,
        // To uWSGI these are orders to load code or to read files.
        _ if name.starts_with(b"UWSGI_") => KeptAs::Foreign,
        // A name with a point in it is the gateway's own (P-ENV-30); others no shell and no CGI program could have.
        _ if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') => KeptAs::Foreign,
        _ if name.starts_with(b"HTTP_") => KeptAs::Field,
        _ => KeptAs::Variable,
    }
}

/// The head of a response of CGI, which SCGI and FastCGI took over (RFC 3875 section 6.2). The status always stands in it: without
/// one, a path in Location would be taken for an order to run another request (RFC 3875 section 6.2.2).
pub(super) fn write_cgi_head(out: &mut Vec<u8>, reply: &Reply<'_>) {
    write_head(out, b"Status: ", reply);
}

/// The head of a response, for a front server that adds what HTTP asks for besides (P-HDR-01): a Date or a Connection from here would
/// replace or confuse its own.
pub(super) fn write_head(out: &mut Vec<u8>, before: &[u8], reply: &Reply<'_>) {
    http::write_fields(out, before, reply, |_| {});
    out.extend_from_slice(b"\r\n");
}

/// Names and values that each end in NUL, as in SCGI.
pub(super) fn next_of_nul(bytes: &[u8]) -> Option<Pair<'_>> {
    let (name, rest) = split_at_nul(bytes)?;
    let (value, rest) = split_at_nul(rest)?;
    (!name.is_empty()).then_some((name, value, rest))
}

fn split_at_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::door::{Origin, Peer};
    use crate::gateway::{Environ, Variables};
    use crate::http::head::Limits;

    #[test]
    fn g_04_names_that_come_twice_are_joined_without_a_walk_through_the_block_for_each() {
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        fn next(bytes: &[u8]) -> Option<Pair<'_>> {
            TAKEN.fetch_add(1, Ordering::Relaxed);
            next_of_nul(bytes)
        }
        let mut bytes = b"REQUEST_METHOD\0GET\0PATH_INFO\0/\0".to_vec();
        (0..400).for_each(|number| bytes.extend_from_slice(format!("HTTP_A{}\0{number}\0", number % 200).as_bytes()));
        let policy = Policy {
            head: Limits::default(),
            max_content: None,
            gathered_content: 0,
            refuse_underscores: false,
            https: false,
            threads: 1,
        };
        let origin = Origin::new(Door::Scgi, Gateway::default(), String::new(), None, Variables::default());
        let mut environ = Environ::new(Gateway::default());
        let filling = Filling { environ: &mut environ, origin: &origin, peer: &Peer::default() };
        Request::read(Block { bytes: &bytes, next }, Door::Scgi, 0, &policy).unwrap().facts(Some(filling));
        assert_eq!(environ.bytes("HTTP_A7"), Some(&b"7, 207"[..]));
        let taken = TAKEN.load(Ordering::Relaxed);
        assert!(taken < 1_000, "{taken}");
    }
}
