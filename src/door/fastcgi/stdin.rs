//! The content of a FastCGI request: the data of its STDIN records, read off a buffer that holds any part of them.
//!
//! FastCGI Specification 1.0 sections 5.3 to 5.5 and 6.2. Like the decoder of chunks it moves no data and resumes at every byte. The end is the
//! empty record or CONTENT_LENGTH, whichever comes first; the empty record before CONTENT_LENGTH is a content cut short, as section 6.2
//! asks a responder to notice. What comes in between for others is passed over; a second request and a management record are noted, to be
//! answered behind the response.

use super::record::{HEADER, Header, Kind, Note};
use crate::cause::Cause;
use crate::door::ContentReader;
use crate::http::chunked::Step;

/// How far the content has been read.
pub(super) struct Stdin {
    id: u16,
    /// What is said about calls at the same time.
    threads: usize,
    /// What CONTENT_LENGTH leaves to come.
    left: Option<u64>,
    /// Data of the present record still to come.
    data: usize,
    /// Bytes behind it that mean nothing here.
    skip: usize,
    /// The empty record was seen, or what is left of the present record is all that is still wanted.
    last: bool,
    records: u16,
    notes: [Option<Note>; MAX_NOTES],
}

/// How many records of others in one content are answered: more are no mistake any more.
const MAX_NOTES: usize = 8;

impl Stdin {
    /// The content of the request with this id, at its first record.
    pub(super) fn new(id: u16, left: Option<u64>, threads: usize) -> Stdin {
        Stdin { id, threads, left, data: 0, skip: 0, last: false, records: 0, notes: [None; MAX_NOTES] }
    }

    /// Takes off the bytes what is no data.
    fn pass(&mut self, bytes: &mut &[u8]) -> Result<Step, Cause> {
        loop {
            if self.data > 0 && self.left != Some(0) {
                let len = bytes.len().min(usize::try_from(self.remaining()).unwrap_or(self.data));
                return Ok(if len == 0 { Step::Incomplete } else { Step::Data { len } });
            }
            if self.left == Some(0) && !self.last {
                return Ok(Step::End);
            }
            // What passes CONTENT_LENGTH is nobody's.
            self.skip += std::mem::take(&mut self.data);
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            *bytes = bytes.split_at(skipped).1;
            if self.skip > 0 {
                return Ok(Step::Incomplete);
            }
            if self.last {
                let is_short = self.left.is_some_and(|left| left > 0);
                return if is_short { Err(Cause::ContentTruncated) } else { Ok(Step::End) };
            }
            let Some(header) = Header::read(bytes)? else { return Ok(Step::Incomplete) };
            let behind = bytes.split_at(HEADER).1;
            let Some((telling, _)) = behind.split_at_checked(header.telling()) else { return Ok(Step::Incomplete) };
            *bytes = behind;
            self.take(&header, telling)?;
        }
    }

    fn take(&mut self, header: &Header, telling: &[u8]) -> Result<(), Cause> {
        self.records += u16::from(header.content == 0 || header.id != self.id);
        if usize::from(self.records) > super::MAX_RECORDS {
            return Err(Cause::PacketFormat);
        }
        match (header.kind, header.id == self.id) {
            (Kind::STDIN, true) => {
                self.data = header.content;
                self.skip = header.padding;
                self.last = header.content == 0;
            }
            (Kind::ABORT_REQUEST, true) => return Err(Cause::RequestAborted),
            (Kind::BEGIN_REQUEST | Kind::PARAMS, true) => return Err(Cause::PacketFormat),
            (_, is_own) => {
                self.skip = header.content + header.padding;
                let note = if is_own { None } else { Note::of(header.kind, header.id, telling) };
                if note.is_some() {
                    *self.notes.iter_mut().find(|place| place.is_none()).ok_or(Cause::PacketFormat)? = note;
                }
            }
        }
        Ok(())
    }
}

impl ContentReader for Stdin {
    fn step(&mut self, bytes: &[u8]) -> (usize, Step) {
        let mut rest = bytes;
        let step = self.pass(&mut rest).unwrap_or_else(Step::Invalid);
        (bytes.len() - rest.len(), step)
    }

    fn advance(&mut self, taken: u64) {
        self.data = self.data.saturating_sub(usize::try_from(taken).unwrap_or(usize::MAX));
        self.left = self.left.map(|left| left.saturating_sub(taken));
    }

    fn remaining(&self) -> u64 {
        (self.data as u64).min(self.left.unwrap_or(u64::MAX))
    }

    fn is_end(&self) -> bool {
        self.last && self.data == 0 && self.skip == 0
    }

    /// The request is answered: of its content only the present record is still in the way (section 3.3: what follows belongs to no
    /// active request and is passed over).
    fn finish(&mut self) {
        self.skip += std::mem::take(&mut self.data);
        self.left = None;
        self.last = true;
    }

    fn replies(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.notes.iter().flatten().for_each(|note| note.answer(self.threads, &mut out));
        out
    }
}
