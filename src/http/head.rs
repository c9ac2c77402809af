//! The head of a request: request line and field lines, parsed in place.
//!
//! RFC 9112 sections 2.2, 3 and 5. Invariants: the parser reads from left to right and raises a fault at the first byte
//! that makes the head wrong, so a prefix of a head is [`Parsed::Incomplete`] or has the verdict of the whole, however
//! the network cut it. Where one byte is both illegal and past the limit of its part, the byte is named, not the limit;
//! [`Limits::head`] alone comes before everything. Nothing is repaired: bare LF, bare CR, folding and white space before
//! a colon are refused. It does not say what a field or a target means; [`request`](super::request) does.

use super::field::{Beginning, COUNT, Known};
use super::scan;
use crate::cause::Cause;

/// The longest method. The longest registered one has 17 bytes.
pub const MAX_METHOD: usize = 32;

/// How many empty lines may stand before a request line (RFC 9112 section 2.2 asks for at least one).
pub const MAX_EMPTY_LINES: usize = 2;

/// How long the parts of a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request target; more is [`Cause::TargetLong`].
    pub target: usize,
    /// Bytes of one field line without its CRLF; more is [`Cause::FieldLong`].
    pub field_line: usize,
    /// Field lines; more is [`Cause::FieldCount`].
    pub fields: usize,
    /// Bytes of the whole head, with empty lines before it and the empty line that ends it; more is
    /// [`Cause::HeadLong`]. A buffer of this size is large enough for every verdict.
    pub head: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { target: 8_190, field_line: 8_190, fields: 100, head: 65_536 }
    }
}

/// The version in a request line, as far as it matters: a minor version above 1 is answered as 1.1
/// (RFC 9110 section 2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1 and any later 1.x.
    #[default]
    Http11,
}

impl Version {
    /// The name, as in SERVER_PROTOCOL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

/// Where one field stands in the buffer, and which one it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) known: Known,
    name: (usize, usize),
    pub(crate) value: (usize, usize),
}

// The bytes are those for which the parser made the span.
impl Span {
    #[inline]
    pub(crate) fn name<'buf>(&self, bytes: &'buf [u8]) -> &'buf [u8] {
        part(bytes, self.name)
    }

    #[inline]
    pub(crate) fn value<'buf>(&self, bytes: &'buf [u8]) -> &'buf [u8] {
        part(bytes, self.value)
    }
}

#[inline]
fn part(bytes: &[u8], (start, end): (usize, usize)) -> &[u8] {
    bytes.split_at(end).0.split_at(start).1
}

/// Room for the positions of the fields, used again for head after head so that parsing allocates nothing.
///
/// A new one is made for the default limit of fields; the default is empty and grows with what it holds, never past the limit of that.
#[derive(Debug, Default)]
pub struct Spans {
    pub(crate) places: Vec<Span>,
    /// Which name came behind which the last time: the next is likely to be the same. Empty before the first head.
    follows: Vec<&'static Beginning>,
}

impl Spans {
    /// Makes the room: the only allocation.
    pub fn new() -> Spans {
        Spans { places: Vec::with_capacity(Limits::default().fields), follows: Vec::with_capacity(COUNT + 1) }
    }
}

/// The answer of [`parse`], and of whatever else parses a head.
#[derive(Clone, Copy, Debug)]
pub enum Parsed<H> {
    /// No fault so far, and no end.
    Incomplete,
    /// The head is wrong and no further byte can mend it.
    Invalid(Cause),
    /// The head is whole.
    Complete(H),
}

/// A syntactically valid head, borrowed from the buffer.
#[derive(Clone, Copy, Debug)]
pub struct Head<'buf> {
    pub(crate) bytes: &'buf [u8],
    pub(crate) spans: &'buf [Span],
    method: &'buf [u8],
    target: &'buf [u8],
    version: Version,
}

impl<'buf> Head<'buf> {
    /// The method: a token of 1 to 32 bytes, case-sensitive (RFC 9110 section 9.1).
    pub const fn method(&self) -> &'buf [u8] {
        self.method
    }

    /// The request target as it came: visible ASCII without `#`, not empty (RFC 9112 section 3.2). What its form allows is for
    /// [`target::parse`](super::target::parse).
    pub const fn target(&self) -> &'buf [u8] {
        self.target
    }

    /// The version (RFC 9112 section 2.3).
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The fields in the order of arrival: name as spelt, value without the white space around it.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&'buf [u8], &'buf [u8])> + Clone + use<'buf> {
        fields(self.bytes, self.spans)
    }

    /// The number of bytes of the head, with empty lines before it and the empty line that ends it: the content or
    /// the next request starts there.
    #[expect(clippy::len_without_is_empty, reason = "a head is never empty")]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// The fields that stand in `bytes` where the spans say.
pub(crate) fn fields<'buf>(
    bytes: &'buf [u8],
    spans: &'buf [Span],
) -> impl ExactSizeIterator<Item = (&'buf [u8], &'buf [u8])> + Clone {
    spans.iter().map(move |span| (span.name(bytes), span.value(bytes)))
}

/// Why the parser stopped before the end of the head.
pub(crate) enum Stop {
    Incomplete,
    Invalid(Cause),
}

/// Parses the head at the start of `bytes`; what follows it is not looked at.
///
/// ```
/// use doorway::http::head::{Limits, Parsed, Spans, parse};
///
/// let mut spans = Spans::new();
/// let bytes = b"GET /hello HTTP/1.1\r\nHost: example.org\r\n\r\nnext";
/// let Parsed::Complete(head) = parse(bytes, &Limits::default(), &mut spans) else { panic!("a valid head") };
/// assert_eq!((head.method(), head.target(), head.len()), (&b"GET"[..], &b"/hello"[..], bytes.len() - 4));
/// assert_eq!(head.fields().next(), Some((&b"Host"[..], &b"example.org"[..])));
/// ```
pub fn parse<'buf>(bytes: &'buf [u8], limits: &Limits, spans: &'buf mut Spans) -> Parsed<Head<'buf>> {
    parse_within(bytes, limits, |allowed| parse_allowed(allowed, limits, spans))
}

/// Parses as many bytes as a head may have.
pub(crate) fn parse_within<'buf, H>(
    bytes: &'buf [u8],
    limits: &Limits,
    parse: impl FnOnce(&'buf [u8]) -> Result<H, Stop>,
) -> Parsed<H> {
    let allowed = bytes.get(..limits.head).unwrap_or(bytes);
    match parse(allowed) {
        Ok(head) => Parsed::Complete(head),
        // With every byte it may have, the head has no end: the next byte, whatever it is, is one too many.
        Err(Stop::Incomplete) if allowed.len() == limits.head => Parsed::Invalid(Cause::HeadLong),
        Err(Stop::Incomplete) => Parsed::Incomplete,
        Err(Stop::Invalid(cause)) => Parsed::Invalid(cause),
    }
}

// HTTP-message = start-line CRLF *( field-line CRLF ) CRLF [ message-body ]
fn parse_allowed<'buf>(bytes: &'buf [u8], limits: &Limits, spans: &'buf mut Spans) -> Result<Head<'buf>, Stop> {
    let rest = skip_empty_lines(bytes)?;
    // request-line   = method SP request-target SP HTTP-version
    // method         = token
    // request-target = origin-form / absolute-form / authority-form / asterisk-form
    let most = (MAX_METHOD, Cause::MethodLong);
    let (method, rest) = match rest.split_at_checked(4) {
        // Most requests have it.
        Some((b"GET ", behind)) => (rest.split_at(3).0, behind),
        _ => split_at_space(rest, scan::token_end(rest, 0), most, |byte| match byte {
            b' ' | b'\t' => Cause::RequestLine,
            _ => Cause::Method,
        })?,
    };
    let most = (limits.target, Cause::TargetLong);
    let (target, rest) = split_at_space(rest, scan::target_end(rest, 0), most, |_| Cause::TargetByte)?;
    let (version, rest) = parse_version(rest)?;
    let behind = parse_fields(bytes, rest, limits, spans)?;
    let bytes = bytes.split_at(bytes.len() - behind.len()).0;
    Ok(Head { bytes, spans: &spans.places, method, target, version })
}

/// Parses the fields, with which `rest` begins, the end of `bytes`. Gives what stands behind the empty line that ends them.
/// Not a part of what calls it: the loop needs the registers.
#[inline(never)]
pub(crate) fn parse_fields<'buf>(
    bytes: &[u8],
    mut rest: &'buf [u8],
    limits: &Limits,
    spans: &mut Spans,
) -> Result<&'buf [u8], Stop> {
    spans.places.clear();
    spans.follows.resize(COUNT + 1, Known::OTHER.beginning());
    let mut last = Known::OTHER;
    // field-line = field-name ":" OWS field-value OWS
    loop {
        let may_come = spans.places.len() < limits.fields;
        #[expect(clippy::indexing_slicing, reason = "it has a place for every known name and for others")]
        let guess = &mut spans.follows[last.index()];
        let value = match guess.strip(rest) {
            Some(value) if may_come => value,
            _ if rest.first() == Some(&b'\r') => return expect_crlf(rest),
            _ => {
                let (known, value) = split_at_colon(rest, may_come, limits)?;
                *guess = known.beginning();
                value
            }
        };
        last = guess.known;
        let name = (bytes.len() - rest.len(), bytes.len() - value.len() - 1);
        let behind = scan::behind_field_value(value);
        if rest.len() - behind.len() > limits.field_line {
            return Err(Stop::Invalid(Cause::FieldLong));
        }
        rest = behind.strip_prefix(b"\r\n").ok_or_else(|| fault(behind, Cause::BareCr, |_| Cause::FieldValue))?;
        let (start, end) = (bytes.len() - value.len(), bytes.len() - behind.len());
        let value = match value.split_at(end - start).0 {
            // Most have one space before them and nothing behind them.
            value @ [b' ', b'!'..=0xFF, ..] if value.last() > Some(&b' ') => (start + 1, end),
            value => without_ows(value, start),
        };
        spans.places.push(Span { known: last, name, value });
    }
}

/// Where a value is without the white space around it, of which it can have SP and HTAB, so that what ASCII has is what OWS has.
#[inline(never)]
fn without_ows(value: &[u8], start: usize) -> (usize, usize) {
    let start = start + value.len() - value.trim_ascii_start().len();
    (start, start + value.trim_ascii().len())
}

/// What stands behind the CRLF that must come: there is a CR, or no byte more.
pub(crate) fn expect_crlf(rest: &[u8]) -> Result<&[u8], Stop> {
    match rest {
        [b'\r', b'\n', behind @ ..] => Ok(behind),
        [] | [b'\r'] => Err(Stop::Incomplete),
        // Smuggling: some recipients take a lone CR for a line end, some for a space.
        _ => Err(Stop::Invalid(Cause::BareCr)),
    }
}

/// The fault of the first byte of `rest`, which may not stand there: a bare LF or CR is named as such, a proper line end is too `early`,
/// and `otherwise` names the fault of any other byte.
#[cold]
fn fault(rest: &[u8], early: Cause, otherwise: impl Fn(u8) -> Cause) -> Stop {
    match rest {
        [] => Stop::Incomplete,
        [b'\n', ..] => Stop::Invalid(Cause::BareLf),
        [b'\r', ..] => expect_crlf(rest).err().unwrap_or(Stop::Invalid(early)),
        [byte, ..] => Stop::Invalid(otherwise(*byte)),
    }
}

// RFC 9112 section 2.2: a server SHOULD ignore at least one empty line (CRLF) before the request line.
fn skip_empty_lines(bytes: &[u8]) -> Result<&[u8], Stop> {
    let mut rest = bytes;
    while rest.first() == Some(&b'\r') {
        let behind = expect_crlf(rest)?;
        if bytes.len() - rest.len() == 2 * MAX_EMPTY_LINES {
            return Err(Stop::Invalid(Cause::EmptyLines));
        }
        rest = behind;
    }
    Ok(rest)
}

/// The method or target, which is so long, and what stands behind the space that must follow it. It is neither empty nor past the limit.
#[inline]
fn split_at_space(
    rest: &[u8],
    length: usize,
    most: (usize, Cause),
    other: fn(u8) -> Cause,
) -> Result<(&[u8], &[u8]), Stop> {
    match rest.split_at(length) {
        _ if length > most.0 => Err(Stop::Invalid(most.1)),
        (part, [b' ', behind @ ..]) if length > 0 => Ok((part, behind)),
        // A CRLF behind the target is the simple request of HTTP/0.9, which has no version.
        (_, behind) => Err(fault(behind, Cause::RequestLine, other)),
    }
}

// HTTP-version = HTTP-name "/" DIGIT "." DIGIT
// HTTP-name    = %s"HTTP"
fn parse_version(rest: &[u8]) -> Result<(Version, &[u8]), Stop> {
    if let Some(behind) = rest.strip_prefix(b"HTTP/1.1\r\n") {
        return Ok((Version::Http11, behind));
    }
    let fits = |&(byte, pattern): &(&u8, &u8)| byte == pattern || (*pattern == b'0' && byte.is_ascii_digit());
    let length = rest.iter().zip(b"HTTP/0.0").take_while(fits).count();
    let (version, behind) = rest.split_at(length);
    if length < 8 || behind.first() != Some(&b'\r') {
        let early = if length == 0 { Cause::RequestLine } else { Cause::Version };
        return Err(fault(behind, early, |byte| match byte {
            // A space too many before or behind the version.
            b' ' | b'\t' if length == 0 || length == 8 => Cause::RequestLine,
            _ => Cause::Version,
        }));
    }
    let behind = expect_crlf(behind)?;
    match version {
        b"HTTP/1.0" => Ok((Version::Http10, behind)),
        [.., b'1', b'.', _] => Ok((Version::Http11, behind)),
        // HTTP/0.9, HTTP/2.0 with its preface (PRI * HTTP/2.0), HTTP/3.0.
        _ => Err(Stop::Invalid(Cause::VersionUnsupported)),
    }
}

/// Which name it is that `rest` begins with, and what stands behind its colon. Not a part of the loop, whose registers it would take.
#[inline(never)]
fn split_at_colon<'buf>(rest: &'buf [u8], may_come: bool, limits: &Limits) -> Result<(Known, &'buf [u8]), Stop> {
    let (name, behind) = rest.split_at(scan::token_end(rest, 0));
    match behind {
        _ if !name.is_empty() && !may_come => Err(Stop::Invalid(Cause::FieldCount)),
        _ if name.len() > limits.field_line => Err(Stop::Invalid(Cause::FieldLong)),
        [b':', value @ ..] if !name.is_empty() => Ok((Known::of(name), value)),
        _ => Err(fault(behind, Cause::FieldColon, |byte| match byte {
            // RFC 9112 section 5.2 (obs-fold) and, at the first field line, section 2.2: white space there is an old way
            // to smuggle a field past a filter.
            b' ' | b'\t' if name.is_empty() => Cause::FieldFold,
            // RFC 9112 section 5.1: a server MUST reject white space between name and colon.
            b' ' | b'\t' => Cause::FieldSpace,
            _ => Cause::FieldName,
        })),
    }
}

/// How far an incomplete head has been searched for line ends. Start each head with the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    searched: usize,
    line: usize,
}

/// Whether [`parse`] may know more now than when it was last asked: a cheap gate, so that a client that sends one byte
/// at a time does not have its head parsed at each.
///
/// `bytes` are all bytes of the head so far. The gate is open the first time there are any (which answers a client that
/// speaks another protocol at once), when a line end is among the new ones, and when a line or the head has become longer
/// than any may be. Each byte is looked at once.
///
/// ```
/// use doorway::http::head::{Limits, Progress, may_be_decided};
///
/// let (mut progress, limits) = (Progress::default(), Limits::default());
/// assert!(may_be_decided(b"G", &mut progress, &limits));
/// assert!(!may_be_decided(b"GET / HTTP/1.1\r", &mut progress, &limits));
/// assert!(may_be_decided(b"GET / HTTP/1.1\r\n", &mut progress, &limits));
/// ```
pub fn may_be_decided(bytes: &[u8], progress: &mut Progress, limits: &Limits) -> bool {
    if progress.searched == 0 {
        // What arrives first is mostly a whole head: not even searched. Its first byte ends no line of one.
        progress.searched = bytes.len().min(1);
        return !bytes.is_empty();
    }
    let new = bytes.get(progress.searched..).unwrap_or(&[]);
    let line_end = new.iter().rposition(|&byte| byte == b'\n');
    if let Some(at) = line_end {
        progress.line = progress.searched + at + 1;
    }
    progress.searched = bytes.len();
    // A request line without its LF has at most the method, the target, two SP, the version and CR.
    let request_line = limits.target.saturating_add(MAX_METHOD + 2 + 8 + 1);
    let longest = request_line.max(limits.field_line.saturating_add(1));
    line_end.is_some() || bytes.len() - progress.line > longest || bytes.len() >= limits.head
}

#[cfg(test)]
mod tests;
