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

use super::variables::{self, Block, Pair, addressee, write_cgi_head};
use super::{
    Door, Examined, Facts, Filling, Framer, NotReady, Policy, Progress, Protocol, Reply, Room, http, mistaken,
};
use crate::cause::Cause;
use crate::http::framing::Content;
use record::{Header, Kind, Record};
use stdin::Stdin;

/// FastCGI.
pub(crate) struct FastCgi;

/// Bytes of PARAMS, lengths included.
const MAX_PARAMS: usize = 128 * 1024;

/// As much memory for them stays for the next request: few have more.
const MAX_KEPT: usize = 16 * 1024;

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
        let mut rest = bytes.split_at(progress.searched).1;
        loop {
            let record = match Record::take(&mut rest) {
                Ok(Some(record)) => record,
                Ok(None) => return bytes.len() >= MAX_HEAD,
                // What it is may still depend on bytes to come: it is asked again for new ones.
                Err(_) => return std::mem::replace(&mut progress.seen, bytes.len()) < bytes.len(),
            };
            progress.searched = bytes.len() - rest.len();
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

    fn examine(&self, bytes: &[u8], policy: &Policy, room: &mut Room, filling: Option<Filling<'_>>) -> Examined {
        let bounded = |not_ready| match not_ready {
            NotReady::Incomplete if bytes.len() >= MAX_HEAD => Cause::PacketLong.into(),
            _ => not_ready,
        };
        let mut begun = Begun::find(bytes, room.is_first, policy.threads).map_err(bounded)?;
        begun.gather_params(&mut room.params).map_err(bounded)?;
        let (content_at, replies) = (begun.at(), begun.replies.len());
        let block = Block { bytes: &room.params, next };
        let request = variables::Request::read(block, Door::FastCgi, content_at, policy)?;
        let facts = match begun.look_at_stdin(request.length(), policy)? {
            Ahead::Nothing => Facts { head_len: begun.at(), is_here: true, ..request.facts(filling) },
            Ahead::Content { is_here } => {
                // It is read once more, by [`Stdin`], and with it what stands in between.
                begun.replies.truncate(replies);
                let reader = Box::new(Stdin::new(begun.id, request.length(), policy.threads));
                Facts { content: Content::Chunked, is_here, reader: Some(reader), ..request.facts(filling) }
            }
        };
        let framer: Option<Box<dyn Framer>> = Some(Box::new(Stdout { id: begun.id, before: begun.replies }));
        Ok(Facts { keep_alive: begun.keeps, framer, ..facts })
    }

    fn addressee(&self, bytes: &[u8], is_first: bool) -> Option<Facts> {
        if is_first && mistaken::is_http(bytes) {
            return http::Http.addressee(bytes, true);
        }
        let begun = Begun::find(bytes, is_first, 1).ok()?;
        let framer: Option<Box<dyn Framer>> = Some(Box::new(Stdout { id: begun.id, before: Vec::new() }));
        Some(Facts { framer, ..addressee(Door::FastCgi, Block { bytes: &begun.readable_params(), next }) })
    }

    fn request_line(&self, bytes: &[u8]) -> Vec<u8> {
        match Begun::find(bytes, true, 1) {
            Ok(begun) => variables::request_line(Block { bytes: &begun.readable_params(), next }),
            Err(NotReady::Refused(_)) => http::Http.request_line(bytes),
            Err(_) => Vec::new(),
        }
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
        record::end_request(self.id, is_overloaded)
    }
}

/// A request that has begun.
struct Begun<'buf> {
    id: u16,
    keeps: bool,
    /// Calls at the same time, which is said to those who ask.
    threads: usize,
    /// All that has arrived, and what of it is not read yet.
    bytes: &'buf [u8],
    rest: &'buf [u8],
    /// What is to be said to records of others.
    replies: Vec<u8>,
}

/// What follows the variables.
enum Ahead {
    Nothing,
    /// Content, and whether all of it has arrived.
    Content {
        is_here: bool,
    },
}

impl<'buf> Begun<'buf> {
    /// Looks for the beginning of a request. What stands before it is answered or passed over.
    fn find(bytes: &'buf [u8], is_first: bool, threads: usize) -> Result<Begun<'buf>, NotReady> {
        let (mut rest, mut reply) = (bytes, Vec::new());
        loop {
            let consumed = bytes.len() - rest.len();
            let record = match Record::take(&mut rest) {
                Ok(Some(record)) => record,
                // What stands before a fault is answered before that is looked at.
                Ok(None) | Err(_) if consumed > 0 => return Err(NotReady::Answered { consumed, reply, ends: false }),
                Ok(None) => return Err(NotReady::Incomplete),
                Err(cause) if is_first => {
                    let cause = mistaken::judge(bytes, Door::FastCgi, cause);
                    return Err(cause.map_or(NotReady::Incomplete, NotReady::Refused));
                }
                Err(cause) => return Err(cause.into()),
            };
            if record.kind != Kind::BEGIN_REQUEST || record.id == 0 {
                record.answer(threads, &mut reply);
                continue;
            }
            if !reply.is_empty() {
                return Err(NotReady::Answered { consumed, reply, ends: false });
            }
            let (role, keeps) = record.begin().ok_or(Cause::PacketFormat)?;
            let mut begun = Begun { id: record.id, keeps, threads, bytes, rest, replies: Vec::new() };
            return if role == record::RESPONDER {
                Ok(begun)
            } else {
                Err(begun.ended(&record::refused_role(record.id)))
            };
        }
    }

    /// Where it is read on.
    fn at(&self) -> usize {
        self.bytes.len() - self.rest.len()
    }

    /// Puts the contents of PARAMS one behind the other: a pair may straddle records.
    fn gather_params(&mut self, params: &mut Vec<u8>) -> Result<(), NotReady> {
        params.clear();
        params.shrink_to(MAX_KEPT);
        for _ in 0..MAX_RECORDS {
            let record = Record::take(&mut self.rest)?.ok_or(NotReady::Incomplete)?;
            match (record.kind, record.id == self.id) {
                (Kind::PARAMS, true) if record.content.is_empty() => return Ok(()),
                (Kind::PARAMS, true) if params.len() + record.content.len() > MAX_PARAMS => {
                    return Err(Cause::PacketLong.into());
                }
                (Kind::PARAMS, true) => params.extend_from_slice(record.content),
                (Kind::ABORT_REQUEST, true) => return Err(self.ended(&record::end_request(self.id, false))),
                // Content before the variables are whole, or a second beginning: there is no way to read that.
                (_, true) => return Err(Cause::PacketFormat.into()),
                (_, false) => record.answer(self.threads, &mut self.replies),
            }
        }
        Err(Cause::PacketFormat.into())
    }

    /// The same as far as it goes, for a log and a refusal.
    fn readable_params(mut self) -> Vec<u8> {
        let mut params = Vec::new();
        let _as_far_as_it_goes = self.gather_params(&mut params);
        params
    }

    /// Whether the call must wait for content. CONTENT_LENGTH or the empty STDIN ends it, whichever comes first; a front server that
    /// passes an upload of unknown length on sends no CONTENT_LENGTH.
    fn look_at_stdin(&mut self, length: Option<u64>, policy: &Policy) -> Result<Ahead, NotReady> {
        let most = policy.gathered_content as u64;
        match length {
            // What stands behind a request that is whole has no say.
            Some(0) => return Ok(Ahead::Content { is_here: true }),
            Some(length) if length > most => return Ok(Ahead::Content { is_here: false }),
            _ => {}
        }
        // Whether the application is called must not depend on how much has arrived: what is too long to wait for is known from the
        // headers, and a fault in content is met by its reader.
        let (mut received, mut passed) = (0u64, 0u64);
        for _ in 0..MAX_GATHERED {
            let header = match Header::read(self.rest) {
                Ok(Some(header)) => header,
                // The first byte already shows a fault.
                Ok(None) if self.rest.is_empty() => return Err(NotReady::Gather(self.at() + 1)),
                Ok(None) => return Err(NotReady::Gather(self.at() + record::HEADER)),
                Err(_) => break,
            };
            passed += header.content as u64;
            if passed > most {
                break;
            }
            let whole = self.at() + header.whole();
            let record = header.take(&mut self.rest).ok_or(NotReady::Gather(whole))?;
            match (record.kind, record.id == self.id) {
                (Kind::STDIN, true) if record.content.is_empty() => {
                    // All of it is here, down to the end.
                    let is_nothing = received == 0 && length.is_none();
                    return Ok(if is_nothing { Ahead::Nothing } else { Ahead::Content { is_here: true } });
                }
                (Kind::STDIN, true) => received += record.content.len() as u64,
                (Kind::ABORT_REQUEST, true) => return Err(self.ended(&record::end_request(self.id, false))),
                (_, true) => {}
                (_, false) => record.answer(self.threads, &mut self.replies),
            }
            if length.is_some_and(|length| received >= length) {
                return Ok(Ahead::Content { is_here: true });
            }
        }
        Ok(Ahead::Content { is_here: false })
    }

    /// It is over without a call: what came in between has its own answers.
    fn ended(&mut self, last: &[u8]) -> NotReady {
        let mut reply = std::mem::take(&mut self.replies);
        reply.extend_from_slice(last);
        NotReady::Answered { consumed: self.at(), reply, ends: !self.keeps }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[1, kind, 0, 1, high, low, 0, 0][..], content].concat()
    }

    #[test]
    fn g_08_memory_of_unusual_variables_is_given_back() {
        let mut params = Vec::new();
        for length in [60_000, 100] {
            let bytes = [record(1, &[0, 1, 0, 0, 0, 0, 0, 0]), record(4, &vec![b'x'; length]), record(4, b"")].concat();
            let mut begun = Begun::find(&bytes, true, 1).ok().unwrap();
            assert!(begun.gather_params(&mut params).is_ok() && params.len() == length);
        }
        assert!(params.capacity() <= MAX_KEPT, "{}", params.capacity());
    }
}
