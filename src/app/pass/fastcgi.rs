//! FastCGI outward: the records of a request, and those of its answer taken apart.
//!
//! FastCGI Specification 1.0 sections 3.3 to 3.5, 5 and 6.2. One request a connection at a time, each with the next id, so that what comes
//! late for the one before is nobody's answer. A connection is kept when its request has ended as it should, unless a request of ours still
//! waits for its first byte: that one may wait at the server's door for a process that only waits for us (PHP-FPM has one process for a
//! connection, however idle).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::app::relay::exchange::Envelope;
use crate::app::relay::link::{Kept, Link};
use crate::app::relay::stream::Stream;
use crate::app::relay::{Fault, log_line};
use crate::cause::Cause;
use crate::gateway::Errors;

/// What stands before the content of a record.
const HEADER: usize = 8;

/// The most content a record can have.
const MAX_CONTENT: usize = u16::MAX as usize;

const BEGIN_REQUEST: u8 = 1;
const ABORT_REQUEST: u8 = 2;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// How much of a line of STDERR is kept until its end comes.
const MAX_LINE: usize = 8 * 1024;

/// So many records in a row without anything for the client are no answer.
const MAX_SILENT: usize = 10_000;

fn header(kind: u8, id: u16, content: usize) -> [u8; HEADER] {
    let [high_id, low_id] = id.to_be_bytes();
    let [high, low] = u16::try_from(content).unwrap_or(u16::MAX).to_be_bytes();
    [1, kind, high_id, low_id, high, low, 0, 0]
}

fn push_records(out: &mut Vec<u8>, kind: u8, id: u16, content: &[u8]) {
    for part in content.chunks(MAX_CONTENT) {
        out.extend_from_slice(&header(kind, id, part.len()));
        out.extend_from_slice(part);
    }
}

/// The beginning of a request, with its variables and the end of them.
pub(super) fn begin<'a>(id: u16, variables: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut pairs = Vec::new();
    for (name, value) in variables {
        for text in [name, value] {
            push_length(&mut pairs, text.len());
        }
        pairs.extend_from_slice(name);
        pairs.extend_from_slice(value);
    }
    // A responder (section 6.2) on a connection that is to stay.
    const RESPONDER: [u8; 8] = [0, 1, 1, 0, 0, 0, 0, 0];
    let mut out = Vec::with_capacity(pairs.len() + 64);
    push_records(&mut out, BEGIN_REQUEST, id, &RESPONDER);
    push_records(&mut out, PARAMS, id, &pairs);
    out.extend_from_slice(&header(PARAMS, id, 0));
    out
}

/// One byte below 128, otherwise four with the highest bit set (section 3.4).
fn push_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 128 => out.push(short),
        _ => out.extend_from_slice(&(u32::try_from(length).unwrap_or(u32::MAX) | 1 << 31).to_be_bytes()),
    }
}

/// Puts content into records of STDIN; nothing is the end of it.
pub(super) fn stdin(id: u16, content: &[u8], out: &mut Vec<u8>) {
    if content.is_empty() {
        out.extend_from_slice(&header(STDIN, id, 0));
    }
    push_records(out, STDIN, id, content);
}

/// A request, on whichever connection it is made. Until the first byte of its answer it counts among those that wait for that.
pub(super) struct Asked {
    kept: Arc<Kept>,
    is_heard: AtomicBool,
}

impl Asked {
    /// One more, and a connection for it where one is kept. It counts before it looks, so that whoever puts one back meanwhile knows of it, or
    /// it finds that one.
    pub(super) fn new(kept: &Arc<Kept>) -> (Arc<Asked>, Option<Link>) {
        kept.unanswered.fetch_add(1, Ordering::SeqCst);
        (Arc::new(Asked { kept: Arc::clone(kept), is_heard: AtomicBool::new(false) }), kept.take())
    }

    pub(super) fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::SeqCst)
    }

    fn hear(&self) {
        if !self.is_heard.swap(true, Ordering::SeqCst) {
            self.kept.unanswered.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.hear();
    }
}

/// The answer to one request, in records.
pub(super) struct Records {
    asked: Arc<Asked>,
    id: u16,
    errors: Errors,
    /// Who says what stands in STDERR.
    name: String,
    line: Vec<u8>,
    silent: usize,
    has_ended: bool,
}

impl Records {
    pub(super) fn new(asked: Arc<Asked>, id: u16, errors: Errors, name: String) -> Records {
        Records { asked, id, errors, name, line: Vec::new(), silent: 0, has_ended: false }
    }

    fn log(&mut self, text: &[u8]) {
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        log_line(&self.errors, &self.name, &std::mem::take(&mut self.line));
    }

    fn end(&mut self, content: &[u8]) -> Result<(), Fault> {
        self.end_line();
        self.has_ended = true;
        match content.get(4) {
            Some(0) => Ok(()),
            Some(1 | 2) => Err(Fault::new(Cause::UpstreamBusy, "it says that it is overloaded")),
            _ => Err(Fault::new(Cause::UpstreamInvalid, "it does not know the role of a responder")),
        }
    }
}

impl Envelope for Records {
    fn open(&mut self, raw: &mut Vec<u8>, received: &mut Vec<u8>) -> Result<bool, Fault> {
        self.asked.hear();
        let all = std::mem::take(raw);
        let mut rest = all.as_slice();
        while let Some((header, behind)) = rest.split_first_chunk::<HEADER>().filter(|_| !self.has_ended) {
            let [version, kind, high_id, low_id, high, low, padding, _] = *header;
            if version != 1 {
                return Err(Fault::new(Cause::UpstreamInvalid, "it does not speak FastCGI"));
            }
            let length = usize::from(u16::from_be_bytes([high, low]));
            let Some((content, behind)) = behind.split_at_checked(length) else { break };
            let Some((_, behind)) = behind.split_at_checked(usize::from(padding)) else { break };
            rest = behind;
            let id = u16::from_be_bytes([high_id, low_id]);
            self.silent += 1;
            match (kind, id) {
                // Management records are nobody's answer.
                (_, 0) => {}
                (_, id) if id != self.id => {
                    return Err(Fault::new(Cause::UpstreamInvalid, "it answers a request that nobody has made"));
                }
                (STDOUT, _) if !content.is_empty() => {
                    received.extend_from_slice(content);
                    self.silent = 0;
                }
                (STDERR, _) => self.log(content),
                (END_REQUEST, _) => self.end(content)?,
                _ => {}
            }
            if self.silent > MAX_SILENT {
                return Err(Fault::new(Cause::UpstreamInvalid, "it sends records without end that say nothing"));
            }
        }
        raw.extend_from_slice(rest);
        if self.has_ended && !raw.is_empty() {
            return Err(Fault::new(Cause::UpstreamInvalid, "it goes on behind the end of its answer"));
        }
        Ok(self.has_ended)
    }

    fn closed(&mut self) -> Result<(), Fault> {
        self.end_line();
        match self.has_ended {
            true => Ok(()),
            false => Err(Fault::new(Cause::UpstreamTruncated, "without END_REQUEST")),
        }
    }

    fn abort(&mut self, stream: &mut Stream) {
        // Section 5.4. Whoever does not take it sees the connection end.
        let _ = std::io::Write::write(stream, &header(ABORT_REQUEST, self.id, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Records {
        let errors = crate::testing::Request::get("/").environ().errors().clone();
        Records::new(Asked::new(&Arc::default()).0, 1, errors, "test".into())
    }

    fn record(kind: u8, content: &[u8], padding: u8) -> Vec<u8> {
        let mut bytes = header(kind, 1, content.len()).to_vec();
        bytes[6] = padding;
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len() + usize::from(padding), 0xff);
        bytes
    }

    #[test]
    fn fastcgi_3_5_a_connection_that_comes_back_is_closed_if_a_request_has_looked_for_one_and_waits() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let link = || {
            let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (Link::new(Stream::Tcp(stream)).unwrap(), listener.accept().unwrap())
        };
        let (kept, (first, _first), (second, _second)) = (Arc::<Kept>::default(), link(), link());
        let (asked, none) = Asked::new(&kept);
        assert!(none.is_none());
        kept.put(first);
        assert!(Asked::new(&kept).1.is_none(), "it waits, and may do so for the process of that one");
        asked.hear();
        kept.put(second);
        drop(asked);
        assert!(Asked::new(&kept).1.is_some());
        assert_eq!(kept.unanswered.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn fastcgi_3_3_an_answer_is_the_same_however_its_records_arrive() {
        let all = [
            record(STDOUT, b"A: b\r\n\r\n", 3),
            record(STDERR, b"oops", 0),
            record(STDOUT, b"hello", 255),
            record(STDOUT, b"", 0),
            record(END_REQUEST, &[0; 8], 0),
        ]
        .concat();
        for size in [1, 7, all.len()] {
            let (mut records, mut raw, mut received) = (records(), Vec::new(), Vec::new());
            let mut ended = Vec::new();
            for piece in all.chunks(size) {
                raw.extend_from_slice(piece);
                ended.push(records.open(&mut raw, &mut received).unwrap());
            }
            assert_eq!(received, b"A: b\r\n\r\nhello");
            assert_eq!(ended.iter().filter(|ended| **ended).count(), 1);
            assert!(ended.last() == Some(&true) && records.closed().is_ok());
        }
    }

    #[test]
    fn fastcgi_5_5_what_is_no_answer_is_a_fault() {
        let mut other = record(STDOUT, b"x", 0);
        other[3] = 2;
        for (bytes, cause) in [
            (b"HTTP/1.1 200 OK\r\n".to_vec(), Cause::UpstreamInvalid),
            (other, Cause::UpstreamInvalid),
            (record(END_REQUEST, &[0, 0, 0, 0, 2, 0, 0, 0], 0), Cause::UpstreamBusy),
            (record(END_REQUEST, &[0, 0, 0, 0, 3, 0, 0, 0], 0), Cause::UpstreamInvalid),
            (record(END_REQUEST, b"", 0), Cause::UpstreamInvalid),
            ([record(END_REQUEST, &[0; 8], 0), vec![1]].concat(), Cause::UpstreamInvalid),
            (record(STDERR, b"", 0).repeat(MAX_SILENT + 1), Cause::UpstreamInvalid),
        ] {
            let fault = records().open(&mut bytes.clone(), &mut Vec::new()).unwrap_err();
            assert_eq!(fault.cause, cause, "{fault}");
        }
        assert_eq!(records().closed().unwrap_err().cause, Cause::UpstreamTruncated);
    }

    #[test]
    fn fastcgi_3_4_lengths_have_one_byte_or_four_and_pairs_may_straddle_records() {
        let long = vec![b'x'; 70_000];
        let bytes = begin(1, [(b"A".as_slice(), b"b".as_slice()), (b"L", &long)].into_iter());
        assert_eq!(&bytes[..16], &[1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(&bytes[16..28], &[1, 4, 0, 1, 255, 255, 0, 0, 1, 1, b'A', b'b']);
        assert_eq!(&bytes[28..33], &[1, 0x80, 1, 0x11, 0x70]);
        assert_eq!(&bytes[bytes.len() - 8..], &header(PARAMS, 1, 0));
    }
}
