//! The FastCGI door: records over a connection that may stay.
//!
//! FastCGI Specification 1.0. What arrives is a row of records: BEGIN_REQUEST, PARAMS until an empty one, STDIN until an empty one. An id is
//! active from BEGIN_REQUEST to END_REQUEST; records of others are passed over, as the specification asks (section 3.3), so what a
//! front server still sends of an answered request does no harm. One request at a time: a second is told so (CANT_MPX_CONN). Role:
//! responder. Management records are answered when they arrive, and in the middle of a request with its answer.
//!
//! Bounds: 128 KiB of PARAMS, 10,000 records a request, and whatever a length in them claims, memory grows with the bytes that came.

mod record;
mod stdin;

use std::borrow::Cow;

use super::variables::{self, Block, Pair, addressee, write_cgi_head};
use super::{
    Content, Door, Examined, Facts, Framer, NotReady, Policy, Progress, Protocol, Reply, Request, Room, http, mistaken,
};
use crate::cause::Cause;
use record::{Header, Kind, Record};
use stdin::Stdin;

/// FastCGI.
pub(crate) struct FastCgi;

/// Bytes of PARAMS, lengths included.
const MAX_PARAMS: usize = 128 * 1024;

/// Records until the application is called, empty and ignored ones included.
pub(super) const MAX_RECORDS: usize = 10_000;

/// Records of content that are gathered before the call. Front servers send 32 KiB in one; each is a look at the whole request.
const MAX_GATHERED: usize = 64;

/// Bytes of the records of a head: PARAMS in small records with full padding still fit.
const MAX_HEAD: usize = 4 * MAX_PARAMS;

#[allow(non_upper_case_globals, reason = "a door reads like a variant of an enum wherever it is used")]
impl Door {
    /// FastCGI, for nginx (`fastcgi_pass`), lighttpd, and servers that start their applications.
    pub const FastCgi: Door = Door { name: "fastcgi", protocol: &FastCgi };
}

impl Protocol for FastCgi {
    fn longest_head(&self, _policy: &Policy) -> usize {
        MAX_HEAD
    }

    /// Goes on from the record where it stopped, and opens the gate when one is whole that may end a head or needs an answer. Once a
    /// request has begun, only its own records do: 10,000 of others would have the head read as often.
    fn may_be_decided(&self, bytes: &[u8], progress: &mut Progress, _policy: &Policy) -> bool {
        loop {
            let rest = bytes.get(progress.searched..).unwrap_or_default();
            let record = match Record::read(rest) {
                Ok(Some(record)) => record,
                Ok(None) => return bytes.len() >= MAX_HEAD,
                // What it is may still depend on bytes to come: it is asked again for new ones.
                Err(_) => return std::mem::replace(&mut progress.seen, bytes.len()) < bytes.len(),
            };
            progress.searched += record.whole;
            match progress.id {
                0 if record.kind == Kind::BEGIN_REQUEST => {
                    progress.id = record.id;
                    return true;
                }
                0 => return true,
                id if id == record.id && (record.kind != Kind::PARAMS || record.content.is_empty()) => return true,
                _ => {}
            }
        }
    }

    fn examine<'buf>(&self, bytes: &'buf [u8], policy: &Policy, room: &'buf mut Room) -> Examined<'buf> {
        let mut replies = Vec::new();
        let begun = match Begun::find(bytes, room.is_first, policy.threads) {
            Ok(Found::Begun(begun)) => begun,
            Ok(Found::Nothing) if bytes.len() >= MAX_HEAD => return Err(NotReady::Refused(Cause::PacketLong)),
            Ok(Found::Nothing) => return Err(NotReady::Incomplete),
            Ok(Found::Answered { consumed, reply, ends }) => return Err(NotReady::Answered { consumed, reply, ends }),
            Err(cause) => return Err(NotReady::Refused(cause)),
        };
        let head_len = match begun.gather_params(bytes, policy.threads, &mut room.params, &mut replies) {
            Ok(Params::Whole(head_len)) => head_len,
            Ok(Params::Incomplete) if bytes.len() >= MAX_HEAD => return Err(NotReady::Refused(Cause::PacketLong)),
            Ok(Params::Incomplete) => return Err(NotReady::Incomplete),
            Ok(Params::Aborted(consumed)) => return begun.aborted(consumed, replies),
            Err(cause) => return Err(NotReady::Refused(cause)),
        };
        let block = Block { bytes: &room.params, next };
        let request = match variables::Request::read(block, Door::FastCgi, head_len, policy) {
            Ok(request) => request,
            Err(cause) => return Err(NotReady::Refused(cause)),
        };
        let mut later = Vec::new();
        let (content, head_len) = match begun.look_at_stdin(bytes, head_len, request.length(), policy, &mut later) {
            Waiting::Not(content) => content,
            Waiting::For(whole) => return Err(NotReady::Gather(whole)),
            Waiting::Aborted(consumed) => {
                replies.append(&mut later);
                return begun.aborted(consumed, replies);
            }
        };
        // Other content is read once more, by [`Stdin`], and with it what stands in between.
        if let Content::None = content {
            replies.append(&mut later);
        }
        let framer: Option<Box<dyn Framer>> = Some(Box::new(Stdout { id: begun.id, before: replies }));
        let facts = Facts { head_len, content, keep_alive: begun.keeps, framer, ..request.facts() };
        Ok((Request::Variables(Box::new(request)), facts))
    }

    fn addressee(&self, bytes: &[u8], is_first: bool) -> Option<Facts> {
        if is_first && mistaken::is_http(bytes) {
            return http::Http.addressee(bytes, true);
        }
        let Ok(Found::Begun(begun)) = Begun::find(bytes, is_first, 1) else { return None };
        let params = begun.readable_params(bytes);
        let block = Block { bytes: &params, next };
        let framer: Option<Box<dyn Framer>> = Some(Box::new(Stdout { id: begun.id, before: Vec::new() }));
        Some(Facts { framer, ..addressee(Door::FastCgi, block) })
    }

    fn request_line<'buf>(&self, bytes: &'buf [u8]) -> Cow<'buf, [u8]> {
        match Begun::find(bytes, true, 1) {
            Ok(Found::Begun(begun)) => {
                let params = begun.readable_params(bytes);
                variables::request_line(Block { bytes: &params, next }).into()
            }
            Ok(_) => Cow::Borrowed(b""),
            Err(_) => http::Http.request_line(bytes),
        }
    }

    fn mistake(&self, bytes: &[u8]) -> Option<String> {
        mistaken::mistake(bytes, "FastCGI")
    }

    fn shows_end_of_content(&self) -> bool {
        true
    }

    fn write_head(&self, out: &mut Vec<u8>, reply: &Reply<'_>) {
        write_cgi_head(out, reply);
    }
}

/// The records of a response.
struct Stdout {
    id: u16,
    /// What is said first to what came inside of the head.
    before: Vec<u8>,
}

impl Framer for Stdout {
    fn most(&self) -> usize {
        record::MAX_CONTENT
    }

    fn enclose(&mut self, out: &mut Vec<u8>, start: usize) {
        let content = out.split_off(start.min(out.len()));
        out.append(&mut self.before);
        for part in content.chunks(record::MAX_CONTENT) {
            out.extend_from_slice(&record::stdout_header(self.id, part.len()));
            out.extend_from_slice(part);
        }
    }

    fn header(&self, length: usize) -> Vec<u8> {
        record::stdout_header(self.id, length).to_vec()
    }

    fn end(&self, is_overloaded: bool) -> Vec<u8> {
        record::end_request(self.id, is_overloaded).to_vec()
    }
}

/// A request that has begun.
struct Begun {
    id: u16,
    keeps: bool,
    /// Where the record behind BEGIN_REQUEST starts.
    start: usize,
}

enum Found {
    Nothing,
    Begun(Begun),
    /// Records before any request: passed over, with what is said to them.
    Answered {
        consumed: usize,
        reply: Vec<u8>,
        ends: bool,
    },
}

enum Params {
    Incomplete,
    Whole(usize),
    Aborted(usize),
}

enum Waiting {
    /// The content as it will be read, and where it starts.
    Not((Content, usize)),
    For(usize),
    Aborted(usize),
}

impl Begun {
    /// Looks for the beginning of a request. What stands before it is answered or passed over.
    fn find(bytes: &[u8], is_first: bool, threads: usize) -> Result<Found, Cause> {
        let (mut at, mut reply) = (0, Vec::new());
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let record = match Record::read(rest) {
                Ok(Some(record)) => record,
                // What stands before a fault is answered before that is looked at.
                Ok(None) | Err(_) if at > 0 => return Ok(Found::Answered { consumed: at, reply, ends: false }),
                Ok(None) => return Ok(Found::Nothing),
                Err(cause) if is_first => {
                    return mistaken::judge(bytes, "FastCGI", cause).map_or(Ok(Found::Nothing), Err);
                }
                Err(cause) => return Err(cause),
            };
            if record.kind == Kind::BEGIN_REQUEST && record.id != 0 {
                if at > 0 && !reply.is_empty() {
                    return Ok(Found::Answered { consumed: at, reply, ends: false });
                }
                let (role, keeps) = record.begin().ok_or(Cause::PacketFormat)?;
                let start = at + record.whole;
                if role != record::RESPONDER {
                    record::refuse_role(&mut reply, record.id);
                    return Ok(Found::Answered { consumed: start, reply, ends: !keeps });
                }
                return Ok(Found::Begun(Begun { id: record.id, keeps, start }));
            }
            record.answer(threads, &mut reply);
            at += record.whole;
        }
    }

    /// Puts the contents of PARAMS one behind the other: a pair may straddle records.
    fn gather_params(
        &self,
        bytes: &[u8],
        threads: usize,
        params: &mut Vec<u8>,
        replies: &mut Vec<u8>,
    ) -> Result<Params, Cause> {
        params.clear();
        let mut at = self.start;
        for _ in 0..MAX_RECORDS {
            let Some(record) = Record::read(bytes.get(at..).unwrap_or_default())? else {
                return Ok(Params::Incomplete);
            };
            at += record.whole;
            match (record.kind, record.id == self.id) {
                (Kind::PARAMS, true) if record.content.is_empty() => return Ok(Params::Whole(at)),
                (Kind::PARAMS, true) => {
                    if params.len() + record.content.len() > MAX_PARAMS {
                        return Err(Cause::PacketLong);
                    }
                    params.extend_from_slice(record.content);
                }
                (Kind::ABORT_REQUEST, true) => return Ok(Params::Aborted(at)),
                // Content before the variables are whole, or a second beginning: there is no way to read that.
                (_, true) => return Err(Cause::PacketFormat),
                (_, false) => record.answer(threads, replies),
            }
        }
        Err(Cause::PacketFormat)
    }

    /// The same as far as it goes, for a log and a refusal.
    fn readable_params(&self, bytes: &[u8]) -> Vec<u8> {
        let mut params = Vec::new();
        let _as_far_as_it_goes = self.gather_params(bytes, 1, &mut params, &mut Vec::new());
        params
    }

    /// Whether the call must wait for content. CONTENT_LENGTH or the empty STDIN ends it, whichever comes first; a front server that
    /// passes an upload of unknown length on sends no CONTENT_LENGTH. What is to be said to others goes to `replies`.
    fn look_at_stdin(
        &self,
        bytes: &[u8],
        head_len: usize,
        length: Option<u64>,
        policy: &Policy,
        replies: &mut Vec<u8>,
    ) -> Waiting {
        let most = policy.gathered_content as u64;
        let stdin = |is_here| {
            let reader = Box::new(Stdin::new(self.id, length, policy.threads));
            Waiting::Not((Content::Door { reader, is_here }, head_len))
        };
        match length {
            // What stands behind a request that is whole has no say.
            Some(0) => return stdin(true),
            Some(length) if length > most => return stdin(false),
            _ => {}
        }
        // Whether the application is called must not depend on how much has arrived: what is too long to wait for is known from the
        // headers, and a fault in content is met by its reader.
        let (mut at, mut received, mut passed) = (head_len, 0u64, 0u64);
        for _ in 0..MAX_GATHERED {
            let rest = bytes.get(at..).unwrap_or_default();
            let header = match Header::read(rest) {
                Ok(Some(header)) => header,
                // The first byte already shows a fault.
                Ok(None) if rest.is_empty() => return Waiting::For(at + 1),
                Ok(None) => return Waiting::For(at + record::HEADER),
                Err(_) => break,
            };
            passed += header.content as u64;
            if passed > most {
                break;
            }
            let Some(record) = header.record(rest) else { return Waiting::For(at + header.whole()) };
            at += record.whole;
            match (record.kind, record.id == self.id) {
                (Kind::STDIN, true) if record.content.is_empty() => {
                    // All of it is here, down to the end.
                    if received == 0 && length.unwrap_or(0) == 0 {
                        return Waiting::Not((Content::None, at));
                    }
                    return stdin(true);
                }
                (Kind::STDIN, true) => received += record.content.len() as u64,
                (Kind::ABORT_REQUEST, true) => return Waiting::Aborted(at),
                (_, true) => {}
                (_, false) => record.answer(policy.threads, replies),
            }
            if length.is_some_and(|length| received >= length && length > 0) {
                return stdin(true);
            }
        }
        stdin(false)
    }

    /// The front server wants no answer any more; what came in between has its own.
    fn aborted(&self, consumed: usize, mut reply: Vec<u8>) -> Examined<'static> {
        reply.extend_from_slice(&record::end_request(self.id, false));
        Err(NotReady::Answered { consumed, reply, ends: !self.keeps })
    }
}

/// A length has one byte below 128, else four with the highest bit set; both lengths stand before the name.
fn next(bytes: &[u8]) -> Option<Pair<'_>> {
    let (name, rest) = next_length(bytes)?;
    let (value, rest) = next_length(rest)?;
    let (name, rest) = rest.split_at_checked(name)?;
    let (value, rest) = rest.split_at_checked(value)?;
    (!name.is_empty()).then_some((name, value, rest))
}

fn next_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((usize::from(first), rest));
    }
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_be_bytes(*length) & 0x7fff_ffff).ok()?, rest))
}
