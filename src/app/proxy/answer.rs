//! The answer of the upstream: its head as one of this server, and its content taken out of what was received.
//!
//! RFC 9110 sections 7.6.1 and 15.2, RFC 9112 sections 6 and 7. No socket here: bytes in, values out.

use super::Fault;
use super::upstream::Upstream;
use crate::cause::Cause;
use crate::gateway::{Headers, is_hop_by_hop};
use crate::http::chunked::{Decoder, Step};
use crate::http::head::{Limits, Spans};
use crate::http::scan;
use crate::web::response_head::{self, Content, Parsed, ResponseHead};

/// How many interim responses (1xx) may come before the answer.
const MAX_INTERIM: usize = 16;

/// What an upstream's head may be: a field line as long as servers of applications send them (16 KiB is what Node.js takes for a whole head), for
/// cookies and policies; for the rest as a request.
const LIMITS: Limits = Limits { target: 0, field_line: 16_384, fields: 100, head: 65_536 };

/// The head of an answer, ready to be started with.
pub(super) struct Answer {
    pub(super) status: String,
    pub(super) headers: Headers,
    pub(super) reading: Reading,
}

/// Reads heads until the final one is whole.
#[derive(Default)]
pub(super) struct HeadReader {
    interim: usize,
}

impl HeadReader {
    /// Takes a whole head out of `received`; `None` when more is needed. Interim responses are for this proxy, and end here.
    pub(super) fn take(
        &mut self,
        received: &mut Vec<u8>,
        to_head: bool,
        upstream: &Upstream,
        script: &[u8],
    ) -> Result<Option<Answer>, Fault> {
        let mut spans = Spans::new();
        loop {
            let (length, answer) = match response_head::parse(received, &LIMITS, &mut spans) {
                Parsed::Incomplete => return Ok(None),
                Parsed::Invalid(cause) => return Err(Fault::new(Cause::UpstreamInvalid, cause)),
                Parsed::Complete(head) if head.status() == 101 => {
                    return Err(Fault::new(Cause::UpstreamInvalid, "it switches protocols, which nobody asked for"));
                }
                Parsed::Complete(head) if head.status() < 200 => (head.len(), None),
                Parsed::Complete(head) => (head.len(), Some(answer(&head, to_head, upstream, script)?)),
            };
            received.drain(..length);
            if answer.is_some() {
                return Ok(answer);
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(Fault::new(Cause::UpstreamInvalid, "it sends interim responses without end"));
            }
        }
    }
}

fn answer(head: &ResponseHead<'_>, to_head: bool, upstream: &Upstream, script: &[u8]) -> Result<Answer, Fault> {
    let content = response_head::content(head, to_head).map_err(|cause| Fault::new(Cause::UpstreamInvalid, cause))?;
    if head.status() > 599 {
        return Err(Fault::new(Cause::UpstreamInvalid, format_args!("there is no status {}", head.status())));
    }
    // A reason is text for people; what is no text of theirs is left out.
    let reason: String = String::from_utf8_lossy(head.reason()).chars().filter(|c| !c.is_control()).collect();
    let mut headers = Headers::new();
    for (name, value) in head.fields() {
        // `Status` is a field at the CGI-shaped doors only, and would change the status there.
        let is_own = name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"status");
        if is_own || is_hop_by_hop(name) || is_named_by_connection(head, name) {
            continue;
        }
        let rewritten =
            name.eq_ignore_ascii_case(b"location").then(|| upstream.rewrite_location(value, script)).flatten();
        headers.add(name, rewritten.as_deref().map_or(value, str::as_bytes));
    }
    let length = match content {
        Content::Length(length) => Some(length),
        // RFC 9110 section 8.6: with HEAD and 304, the length that GET would have had.
        Content::None => only_length(head),
        Content::Chunked | Content::Close => None,
    };
    if let Some(length) = length {
        headers.add("Content-Length", length.to_string());
    }
    let reading = match content {
        Content::None => Reading::Length(0),
        Content::Length(length) => Reading::Length(length),
        Content::Chunked => Reading::Chunked(Box::new(Decoder::default().of_tiny_chunks())),
        Content::Close => Reading::Close,
    };
    Ok(Answer { status: format!("{} {reason}", head.status()), headers, reading })
}

// RFC 9110 section 7.6.1: fields that Connection names are for this connection.
fn is_named_by_connection(head: &ResponseHead<'_>, name: &[u8]) -> bool {
    let mut options = head.values("connection").flat_map(|value| value.split(|byte| *byte == b','));
    options.any(|option| scan::trim_ows(option).eq_ignore_ascii_case(name))
}

fn only_length(head: &ResponseHead<'_>) -> Option<u64> {
    let mut values = head.values("content-length");
    let value = values.next().filter(|value| value.len() <= 19 && value.iter().all(u8::is_ascii_digit))?;
    if values.next().is_some() { None } else { std::str::from_utf8(value).ok()?.parse().ok() }
}

/// How much of the content is still to come.
pub(super) enum Reading {
    /// As many bytes.
    Length(u64),
    /// As the coding says.
    Chunked(Box<Decoder>),
    /// Everything until the connection ends.
    Close,
    /// It ended with the connection.
    Closed,
}

impl Reading {
    /// Whether the content is whole.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Reading::Length(left) => *left == 0,
            Reading::Chunked(decoder) => decoder.is_end(),
            Reading::Close => false,
            Reading::Closed => true,
        }
    }

    /// Bytes still to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Reading::Length(left) => Some(*left),
            _ => None,
        }
    }

    /// Takes the content that is there out of `received`; empty when there is none. Bytes behind the content belong to nobody.
    pub(super) fn take(&mut self, received: &mut Vec<u8>) -> Result<Vec<u8>, Fault> {
        match self {
            Reading::Length(left) => {
                let taken = usize::try_from(*left).map_or(received.len(), |left| left.min(received.len()));
                *left -= taken as u64;
                received.truncate(taken);
                Ok(std::mem::take(received))
            }
            Reading::Chunked(decoder) => decode(decoder, received),
            Reading::Close | Reading::Closed => Ok(std::mem::take(received)),
        }
    }

    /// The connection has ended.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        if let Reading::Close = self {
            *self = Reading::Closed;
        }
        if self.is_whole() {
            return Ok(());
        }
        Err(Fault::new(Cause::UpstreamTruncated, "in the middle of the content"))
    }
}

fn decode(decoder: &mut Decoder, received: &mut Vec<u8>) -> Result<Vec<u8>, Fault> {
    let (mut data, mut rest) = (Vec::new(), received.as_slice());
    loop {
        let (consumed, step) = decoder.step(rest);
        rest = rest.get(consumed..).unwrap_or_default();
        match step {
            Step::Data { len } => {
                let (block, behind) = rest.split_at_checked(len).unwrap_or((rest, &[]));
                data.extend_from_slice(block);
                decoder.advance(block.len() as u64);
                rest = behind;
            }
            Step::Incomplete | Step::End => break,
            // What came before the fault is held back too: the response is cut, and visibly so.
            Step::Invalid(cause) => return Err(Fault::new(Cause::UpstreamInvalid, cause)),
        }
    }
    // The decoder has seen every byte that is no data, so nothing of them is left to keep.
    received.clear();
    Ok(data)
}
