//! The chunked transfer coding: a decoder that resumes at every byte, and the pieces of an encoder.
//!
//! RFC 9112 section 7.1. Invariants: the decoder moves no data, keeps no bytes and allocates nothing; each fault is raised
//! at the byte that makes it, so the verdict does not depend on how the bytes were cut; what follows the end is never
//! consumed. Extensions, with the bad white space that a recipient must take (RFC 9110 section 5.6.3), and trailers are checked
//! and discarded.

use super::{head::Limits, scan};
use crate::cause::Cause;

/// How many hexadecimal digits a chunk size may have: what 64 bits hold.
pub const MAX_SIZE_DIGITS: u8 = 16;

/// How many bytes the extensions of one chunk may have.
pub const MAX_EXTENSION: usize = 256;

/// How many bytes all extensions of one content may have.
pub const MAX_EXTENSIONS: usize = 16 * 1024;

/// How many bytes of sizes, extensions and line ends are tolerated even where they outweigh the data.
pub const MAX_OVERHEAD: u64 = 64 * 1024;

/// What ends the data of a chunk.
pub const CRLF: &[u8] = b"\r\n";

/// What ends a content: the last chunk and an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What [`Decoder::step`] found behind the bytes it consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed; all that were given are consumed. Where [`Decoder::remaining`] is not 0, the next ones are
    /// data and may be read straight into their place.
    Incomplete,
    /// Right behind the consumed bytes stand `len` bytes of data, at least one. Report those taken with
    /// [`Decoder::advance`].
    Data {
        /// How many of the given bytes are data.
        len: usize,
    },
    /// The content is whole; the next byte belongs to the next request.
    End,
    /// The coding is broken, for good.
    Invalid(Cause),
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    SizeMore,
    ExtensionName,
    ExtensionNameMore,
    /// White space behind a name: a value or another extension must come.
    ExtensionNameEnd,
    ExtensionValue,
    ExtensionToken,
    /// White space behind a size or a value: another extension must come.
    ExtensionEnd,
    Quoted,
    QuotedPair,
    QuotedEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Line,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
    Broken(Cause),
}

/// A decoder of the chunked coding. It only counts: the bytes stay where the caller has them.
///
/// ```
/// use doorway::http::chunked::{Decoder, Step};
///
/// let mut bytes = &b"5\r\nhello\r\n0\r\n\r\nnext"[..];
/// let (mut decoder, mut content) = (Decoder::default(), Vec::new());
/// loop {
///     let (consumed, step) = decoder.step(bytes);
///     bytes = &bytes[consumed..];
///     match step {
///         Step::Data { len } => {
///             content.extend_from_slice(&bytes[..len]);
///             decoder.advance(len as u64);
///             bytes = &bytes[len..];
///         }
///         Step::End => break,
///         Step::Incomplete | Step::Invalid(_) => panic!("a whole content"),
///     }
/// }
/// assert_eq!((&content[..], bytes), (&b"hello"[..], &b"next"[..]));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    limits: Limits,
    state: State,
    /// How many digits the present size has so far.
    digits: u8,
    /// While the size line is read, the size so far; then the data bytes still to come.
    remaining: u64,
    announced: u64,
    overhead: u64,
    /// Whether overhead is no reason to refuse, however little the data.
    tiny_chunks: bool,
    extension: usize,
    extensions: usize,
    trailer_line: usize,
    trailer_fields: usize,
    trailer_bytes: usize,
}

impl Decoder {
    /// A decoder at the first byte of a content. The trailers have the limits of the fields of a head.
    pub fn new(limits: Limits) -> Decoder {
        Decoder { limits, ..Decoder::default() }
    }

    /// The same for a sender that the deployer has chosen: tiny chunks without end are a stream (of tokens, of log lines) and no attack.
    pub(crate) const fn of_tiny_chunks(mut self) -> Decoder {
        self.tiny_chunks = true;
        self
    }

    /// How many bytes of data of the present chunk are still to come; 0 outside of data.
    pub const fn remaining(&self) -> u64 {
        if let State::Data = self.state { self.remaining } else { 0 }
    }

    /// The sum of all chunk sizes so far, so that a content over a limit is refused before its data arrives.
    pub const fn announced(&self) -> u64 {
        self.announced
    }

    /// Whether the content is whole.
    pub const fn is_end(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Counts `taken` bytes of data as delivered, at most [`Decoder::remaining`].
    pub const fn advance(&mut self, taken: u64) {
        if let State::Data = self.state {
            self.remaining = self.remaining.saturating_sub(taken);
            if self.remaining == 0 {
                self.state = State::DataCr;
            }
        }
    }

    /// Consumes everything up to the next data byte, the end or a fault; returns how many bytes that were.
    pub fn step(&mut self, bytes: &[u8]) -> (usize, Step) {
        let mut at = 0;
        loop {
            match (self.state, bytes.get(at)) {
                (State::End, _) => return (at, Step::End),
                (State::Broken(cause), _) => return (at, Step::Invalid(cause)),
                (_, None) => return (at, Step::Incomplete),
                (State::Data, _) => {
                    let given = bytes.len() - at;
                    let len = usize::try_from(self.remaining).map_or(given, |remaining| remaining.min(given));
                    return (at, Step::Data { len });
                }
                (_, Some(&byte)) => match self.next(byte) {
                    Ok(state) => (self.state, at) = (state, at + 1),
                    Err(cause) => self.state = State::Broken(cause),
                },
            }
        }
    }

    /// The state behind one byte, which is counted: an illegal byte is named as that, also where it is past a limit.
    fn next(&mut self, byte: u8) -> Result<State, Cause> {
        self.overhead = self.overhead.saturating_add(1);
        let state = following(self.state, byte)?;
        let Limits { field_line, fields, head, .. } = self.limits;
        match state {
            State::Size => (self.digits, self.extension) = (0, 0),
            State::SizeMore if self.digits >= MAX_SIZE_DIGITS => return Err(Cause::ChunkSize),
            State::SizeMore => {
                self.digits += 1;
                self.remaining = (self.remaining << 4) | u64::from(char::from(byte).to_digit(16).unwrap_or(0));
            }
            State::SizeLf | State::DataCr | State::DataLf | State::Broken(_) => {}
            State::Data => {
                self.announced = self.announced.saturating_add(self.remaining);
                // A client that sends one byte a chunk makes the recipient work five times as hard as the data is worth.
                if !self.tiny_chunks && self.overhead > MAX_OVERHEAD && self.overhead > self.announced {
                    return Err(Cause::ChunkOverhead);
                }
                return Ok(if self.remaining == 0 { State::Line } else { State::Data });
            }
            State::Line | State::TrailerName | State::TrailerValue | State::TrailerLf | State::EndLf | State::End => {
                self.trailer_bytes += 1;
                match (self.state, state) {
                    (State::Line, State::TrailerName) => {
                        (self.trailer_fields, self.trailer_line) = (self.trailer_fields + 1, 1);
                    }
                    (_, State::TrailerName | State::TrailerValue) => self.trailer_line += 1,
                    _ => {}
                }
                if self.trailer_line > field_line || self.trailer_fields > fields || self.trailer_bytes > head {
                    return Err(Cause::TrailerLong);
                }
            }
            _ => {
                (self.extension, self.extensions) = (self.extension + 1, self.extensions + 1);
                // CVE-2023-39326 and its kind: extensions cost the sender nothing and the recipient a walk over all of them.
                if self.extension > MAX_EXTENSION || self.extensions > MAX_EXTENSIONS {
                    return Err(Cause::ChunkExtensionLong);
                }
            }
        }
        Ok(state)
    }
}

/// What the grammar says of a byte: where it leads, or which fault it is.
// chunked-body    = *chunk last-chunk trailer-section CRLF
// chunk           = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
// chunk-size      = 1*HEXDIG
// last-chunk      = 1*("0") [ chunk-ext ] CRLF
// chunk-ext       = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
// chunk-ext-name  = token
// chunk-ext-val   = token / quoted-string
// quoted-string   = DQUOTE *( qdtext / quoted-pair ) DQUOTE
// qdtext          = HTAB / SP / %x21 / %x23-5B / %x5D-7E / obs-text
// quoted-pair     = "\" ( HTAB / SP / VCHAR / obs-text )
// trailer-section = *( field-line CRLF )
fn following(state: State, byte: u8) -> Result<State, Cause> {
    Ok(match (state, byte) {
        (State::Size | State::SizeMore, _) if byte.is_ascii_hexdigit() => State::SizeMore,
        (State::SizeMore | State::ExtensionNameMore | State::ExtensionToken | State::QuotedEnd, b'\r') => State::SizeLf,
        // Behind it, a size of 0 is that of the last chunk.
        (State::SizeLf, b'\n') => State::Data,
        (State::DataCr, b'\r') => State::DataLf,
        (State::DataLf, b'\n') => State::Size,

        (State::Quoted, b'"') => State::QuotedEnd,
        (State::Quoted, b'\\') => State::QuotedPair,
        (State::Quoted | State::QuotedPair, _) if scan::is_field_value(byte) => State::Quoted,
        // BWS = OWS, on both sides of ";" and "=", and nowhere before the line end.
        (State::ExtensionName | State::ExtensionValue, b' ' | b'\t') => state,
        (State::ExtensionNameMore | State::ExtensionNameEnd, b' ' | b'\t') => State::ExtensionNameEnd,
        (State::SizeMore | State::ExtensionToken | State::QuotedEnd | State::ExtensionEnd, b' ' | b'\t') => {
            State::ExtensionEnd
        }
        (State::ExtensionName | State::ExtensionNameMore, _) if scan::is_tchar(byte) => State::ExtensionNameMore,
        (State::ExtensionNameMore | State::ExtensionNameEnd, b'=') => State::ExtensionValue,
        (State::ExtensionValue, b'"') => State::Quoted,
        (State::ExtensionValue | State::ExtensionToken, _) if scan::is_tchar(byte) => State::ExtensionToken,
        (
            State::SizeMore
            | State::ExtensionNameMore
            | State::ExtensionNameEnd
            | State::ExtensionToken
            | State::QuotedEnd
            | State::ExtensionEnd,
            b';',
        ) => State::ExtensionName,

        (State::Line, b'\r') => State::EndLf,
        (State::EndLf, b'\n') => State::End,
        (State::Line | State::TrailerName, _) if scan::is_tchar(byte) => State::TrailerName,
        (State::TrailerName, b':') => State::TrailerValue,
        (State::TrailerValue, _) if scan::is_field_value(byte) => State::TrailerValue,
        (State::TrailerValue, b'\r') => State::TrailerLf,
        (State::TrailerLf, b'\n') => State::Line,

        (State::DataCr | State::DataLf, _) => return Err(Cause::ChunkEnd),
        (State::SizeLf | State::TrailerLf | State::EndLf, _) => return Err(Cause::BareCr),
        // Smuggling: TERM.EXT and its kind, where one recipient ends the line at the LF and another reads on.
        (_, b'\n') => return Err(Cause::BareLf),
        (State::Size | State::SizeMore, _) => return Err(Cause::ChunkSize),
        // Folding, white space before the colon, no colon, control bytes.
        (State::Line | State::TrailerName | State::TrailerValue, _) => return Err(Cause::Trailer),
        _ => return Err(Cause::ChunkExtension),
    })
}

/// The line before the data of a chunk of `len` bytes: its size and CRLF, written into `room`.
///
/// For a `len` of 0 the line is empty: an empty chunk would end the content, so there must be none.
///
/// ```
/// assert_eq!(doorway::http::chunked::size_line(255, &mut [0; 18]), b"ff\r\n");
/// ```
pub fn size_line(len: usize, room: &mut [u8; 18]) -> &[u8] {
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    *room = *b"0000000000000000\r\n";
    for (place, digit) in (0..digits).zip(room.iter_mut().rev().skip(CRLF.len())) {
        let value = (len >> (4 * place)) as u8 & 15;
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
    }
    if len == 0 { &[] } else { room.split_at(16 - digits as usize).1 }
}

#[cfg(test)]
mod tests;
