//! The records of FastCGI: read one off the front of some bytes, and write those that a responder sends.
//!
//! FastCGI Specification 1.0 sections 3.3, 4, 5 and 8. A record is `version type id:u16 content:u16 padding reserved`, its content and
//! its padding; numbers have their highest byte first. Padding is passed over, whatever it holds.

use crate::cause::Cause;
use crate::door::variables::Block;

/// What stands before the content.
pub(super) const HEADER: usize = 8;

/// The most content a record can have.
pub(super) const MAX_CONTENT: usize = u16::MAX as usize;

/// Of GET_VALUES in the middle of content so many bytes are read; the names that are known take 52.
const MAX_ASKED: usize = 512;

/// The role that doorway has (section 6.2).
pub(super) const RESPONDER: u16 = 1;

/// What a record is. Not an enum: a type of tomorrow is no fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(u8);

impl Kind {
    pub(super) const BEGIN_REQUEST: Kind = Kind(1);
    pub(super) const ABORT_REQUEST: Kind = Kind(2);
    const END_REQUEST: Kind = Kind(3);
    pub(super) const PARAMS: Kind = Kind(4);
    pub(super) const STDIN: Kind = Kind(5);
    const STDOUT: Kind = Kind(6);
    const GET_VALUES: Kind = Kind(9);
    const GET_VALUES_RESULT: Kind = Kind(10);
    const UNKNOWN_TYPE: Kind = Kind(11);
}

/// How a request ended (section 5.5).
const COMPLETE: u8 = 0;
const CANT_MPX_CONN: u8 = 1;
const OVERLOADED: u8 = 2;
const UNKNOWN_ROLE: u8 = 3;

/// A whole record.
pub(super) struct Record<'buf> {
    pub(super) kind: Kind,
    pub(super) id: u16,
    pub(super) content: &'buf [u8],
}

/// What a header says.
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) id: u16,
    pub(super) content: usize,
    pub(super) padding: usize,
}

impl Header {
    /// How many bytes of the content say what the answer must be, so that a look at the header alone does not do.
    pub(super) fn telling(&self) -> usize {
        if (self.kind, self.id) == (Kind::GET_VALUES, 0) { self.content.min(MAX_ASKED) } else { 0 }
    }

    /// Reads a header, if it is there.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Header>, Cause> {
        match *bytes {
            [1, kind, high_id, low_id, high, low, padding, _, ..] => Ok(Some(Header {
                kind: Kind(kind),
                id: u16::from_be_bytes([high_id, low_id]),
                content: usize::from(u16::from_be_bytes([high, low])),
                padding: usize::from(padding),
            })),
            [version, ..] if version != 1 => Err(Cause::PacketFormat),
            _ => Ok(None),
        }
    }

    /// Bytes of the whole record.
    pub(super) fn whole(&self) -> usize {
        HEADER + self.content + self.padding
    }

    /// Takes the record with this header off the front, if it is whole.
    pub(super) fn take<'buf>(&self, bytes: &mut &'buf [u8]) -> Option<Record<'buf>> {
        let (record, rest) = bytes.split_at_checked(self.whole())?;
        *bytes = rest;
        Some(Record { kind: self.kind, id: self.id, content: record.split_at(HEADER).1.split_at(self.content).0 })
    }
}

impl<'buf> Record<'buf> {
    /// Takes the record in front, if it is whole.
    pub(super) fn take(bytes: &mut &'buf [u8]) -> Result<Option<Record<'buf>>, Cause> {
        Ok(Header::read(bytes)?.and_then(|header| header.take(bytes)))
    }

    /// The role and whether the connection is to stay, of BEGIN_REQUEST.
    pub(super) fn begin(&self) -> Option<(u16, bool)> {
        match *self.content {
            [high, low, flags, _, _, _, _, _] => Some((u16::from_be_bytes([high, low]), flags & 1 != 0)),
            _ => None,
        }
    }

    /// Says what is to be said to a record that belongs to no active request: mostly nothing.
    pub(super) fn answer(&self, threads: usize, out: &mut Vec<u8>) {
        if let Some(note) = Note::of(self.kind, self.id, self.content) {
            note.answer(threads, out);
        }
    }
}

/// What is to be said to a record that belongs to no active request. It is small, so that it can wait until there is room to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Section 5.1: the beginning of a second request while one is active.
    Second(u16),
    /// Section 4.1: which of [`NAMES`] are asked for.
    Values([bool; NAMES.len()]),
    /// Section 4.2: a management record of a type that is not known.
    Unknown(u8),
}

/// The names whose values are known.
const NAMES: [&[u8]; 3] = [b"FCGI_MAX_CONNS", b"FCGI_MAX_REQS", b"FCGI_MPXS_CONNS"];

impl Note {
    pub(super) fn of(kind: Kind, id: u16, content: &[u8]) -> Option<Note> {
        let asks_for = |known| Block { bytes: content, next: super::next }.pairs().any(|(name, _)| name == known);
        match (id, kind) {
            (0, Kind::GET_VALUES) => Some(Note::Values(NAMES.map(asks_for))),
            (0, Kind(kind)) => Some(Note::Unknown(kind)),
            (id, Kind::BEGIN_REQUEST) => Some(Note::Second(id)),
            _ => None,
        }
    }

    pub(super) fn answer(self, threads: usize, out: &mut Vec<u8>) {
        match self {
            Note::Second(id) => out.extend_from_slice(&ended(id, CANT_MPX_CONN)),
            Note::Values(asked) => answer_values(out, asked, threads),
            Note::Unknown(kind) => {
                out.extend([header(Kind::UNKNOWN_TYPE, 0, 8), [kind, 0, 0, 0, 0, 0, 0, 0]].as_flattened());
            }
        }
    }
}

/// A front server that keeps more connections than there are threads makes its requests wait.
fn answer_values(out: &mut Vec<u8>, asked: [bool; NAMES.len()], threads: usize) {
    let threads = threads.to_string();
    let values = [threads.as_bytes(), threads.as_bytes(), b"0"];
    let pairs = || NAMES.into_iter().zip(values).zip(asked).filter_map(|(pair, asked)| asked.then_some(pair));
    let length: usize = pairs().map(|(name, value)| 2 + name.len() + value.len()).sum();
    out.extend_from_slice(&header(Kind::GET_VALUES_RESULT, 0, length));
    for (name, value) in pairs() {
        for text in [name, value] {
            out.push(u8::try_from(text.len()).unwrap_or(0));
        }
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
}

/// The end of a request for another role.
pub(super) fn refused_role(id: u16) -> Vec<u8> {
    ended(id, UNKNOWN_ROLE)
}

/// The header of a record of STDOUT.
pub(super) fn stdout_header(id: u16, content: usize) -> [u8; HEADER] {
    header(Kind::STDOUT, id, content)
}

/// The end of STDOUT and of the request.
pub(super) fn end_request(id: u16, is_overloaded: bool) -> Vec<u8> {
    let protocol_status = if is_overloaded { OVERLOADED } else { COMPLETE };
    [stdout_header(id, 0).to_vec(), ended(id, protocol_status)].concat()
}

/// END_REQUEST with the application's status 0.
fn ended(id: u16, protocol_status: u8) -> Vec<u8> {
    [header(Kind::END_REQUEST, id, 8), [0, 0, 0, 0, protocol_status, 0, 0, 0]].concat()
}

fn header(Kind(kind): Kind, id: u16, content: usize) -> [u8; HEADER] {
    let [high_id, low_id] = id.to_be_bytes();
    let [high, low] = u16::try_from(content).unwrap_or(u16::MAX).to_be_bytes();
    [1, kind, high_id, low_id, high, low, 0, 0]
}
