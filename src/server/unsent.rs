//! What of a response the socket has not taken yet: sent as the socket takes it, with or without a thread that waits.
//!
//! The front (head, chunk sizes, small bodies) is copied into one run of memory, so that a small response is one write. Behind
//! it stands the rest as it came from the application: bytes, blocks, or a file that is read at positions, one block at a time,
//! so that a waiting transfer holds no block in memory (P-FILE-08 says why not `std::io::copy`).

use std::fs::File;
use std::io::{self, IoSlice};

use super::transport::Transport;
use crate::door::fastcgi::{MAX_CONTENT, stdout_header};
use crate::gateway::{Block, read_at, shorter};

/// Bodies up to this size are copied behind their head: one plain write is cheaper than a gathering one.
pub(super) const COPIED: usize = 16 * 1024;

/// How much of a file is read for one write.
const FILE_BLOCK: usize = 64 * 1024;

/// How much is offered to the system in one write: the system copies it, and half a MiB is still in the cache when the client reads it. CPU
/// for a response of 1 MiB from memory, medians of six runs with a load that reads on the other core: 177 µs when all is offered, 145 µs
/// with this, 168 µs with a quarter of a MiB, 246 µs with an eighth; a thread for each connection that blocks: 145 µs.
const OFFERED: usize = 512 * 1024;

/// How much one connection may move before the others have their turn.
pub(super) const SHARE: usize = 256 * 1024;

/// The unsent part of a response.
#[derive(Default)]
pub(super) struct Unsent {
    front: Vec<u8>,
    front_sent: usize,
    back: Back,
    tail: &'static [u8],
    /// In a box, so that a response without them stays small.
    records: Option<Box<Records>>,
}

/// The back goes out in records of FastCGI: each has a header, which is put into the front when its turn comes.
struct Records {
    id: u16,
    /// Content of the present record, and of those behind it, that is still to be sent.
    left: usize,
    behind: u64,
    /// What stands behind the last.
    end: Vec<u8>,
    end_sent: usize,
}

/// What follows the front.
#[derive(Default)]
pub(super) enum Back {
    #[default]
    Nothing,
    /// One block, sent from a position on.
    Bytes { block: Block, sent: usize },
    /// Blocks that are all there, the first of them taken out already.
    List { block: Block, sent: usize, rest: std::vec::IntoIter<Block>, left: u64 },
    /// `left` bytes of a file from `position` on.
    File { file: File, position: u64, left: u64 },
}

/// How a flush ended that met no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything is with the system.
    Whole,
    /// The socket takes no more at the moment; this many bytes went.
    Partly(u64),
    /// The socket would take more, but a [`SHARE`] has gone: others may be waiting for the thread.
    Share,
}

impl Unsent {
    /// The run of memory to write a head or a frame to, behind what is there.
    pub(super) fn front(&mut self) -> &mut Vec<u8> {
        &mut self.front
    }

    /// Puts a block behind the front; small ones are copied to it.
    pub(super) fn push(&mut self, block: Block) {
        if block.len() <= COPIED {
            self.front.extend_from_slice(&block);
        } else {
            self.back = Back::Bytes { block, sent: 0 };
        }
    }

    pub(super) fn set_back(&mut self, back: Back) {
        self.back = back;
    }

    /// Puts fixed bytes behind everything.
    pub(super) fn push_tail(&mut self, tail: &'static [u8]) {
        match self.back {
            Back::Nothing => self.front.extend_from_slice(tail),
            _ => self.tail = tail,
        }
    }

    /// Puts bytes behind everything that goes out in records.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        match &mut self.records {
            Some(records) => records.end.extend_from_slice(bytes),
            None => self.front.extend_from_slice(bytes),
        }
    }

    /// Sends the back, of so many bytes, in records of FastCGI. Small ones are copied to the front, as [`push`](Unsent::push) does.
    pub(super) fn cut_into_records(&mut self, id: u16, length: u64) {
        match std::mem::take(&mut self.back) {
            Back::Bytes { block, sent } if block.len() <= COPIED => {
                self.front.extend_from_slice(&stdout_header(id, block.len()));
                self.front.extend_from_slice(block.get(sent..).unwrap_or_default());
            }
            back => {
                self.back = back;
                let records = Records { id, left: 0, behind: length, end: Vec::new(), end_sent: 0 };
                self.records = Some(Box::new(records));
            }
        }
    }

    /// Begins the next record when the last is out.
    fn begin_record(&mut self) {
        if let Some(Records { id, left: left @ 0, behind: behind @ 1.., .. }) = self.records.as_deref_mut() {
            *left = usize::try_from(*behind).map_or(MAX_CONTENT, |behind| behind.min(MAX_CONTENT));
            *behind -= *left as u64;
            self.front.extend_from_slice(&stdout_header(*id, *left));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.front_sent == self.front.len() && self.is_flat()
    }

    /// Bytes of the front that have not been sent.
    pub(super) fn len(&self) -> usize {
        self.front.len() - self.front_sent
    }

    /// Whether all of it stands in the front, so that more can be put behind it.
    pub(super) fn is_flat(&self) -> bool {
        matches!(self.back, Back::Nothing)
            && self.tail.is_empty()
            && self.records.as_ref().is_none_or(|records| records.end_sent == records.end.len())
    }

    /// Keeps only so many bytes of the front.
    pub(super) fn truncate(&mut self, len: usize) {
        self.front.truncate(self.front_sent + len);
        self.forget_back();
    }

    /// How many bytes of memory it holds.
    pub(super) fn held(&self) -> usize {
        let back = match &self.back {
            Back::Nothing | Back::File { .. } => 0,
            Back::Bytes { block, .. } => owned(block),
            Back::List { block, rest, .. } => owned(block) + rest.as_slice().iter().map(owned).sum::<usize>(),
        };
        self.front.capacity() + back
    }

    /// Forgets everything but the memory of the front.
    pub(super) fn clear(&mut self) {
        self.front.clear();
        self.front_sent = 0;
        self.forget_back();
    }

    fn forget_back(&mut self) {
        self.back = Back::Nothing;
        self.tail = &[];
        self.records = None;
    }

    /// Sends until everything is gone, the socket takes no more, or a share has gone. `scratch` is where file blocks are read to.
    ///
    /// # Errors
    /// Those of the transport and of the file; a file that ends before its length is `UnexpectedEof`.
    pub(super) fn flush(&mut self, transport: &dyn Transport, scratch: &mut Vec<u8>) -> io::Result<Flushed> {
        let mut gone = 0;
        while !self.is_empty() {
            if gone >= SHARE as u64 {
                return Ok(Flushed::Share);
            }
            self.begin_record();
            match self.write_once(transport, scratch) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => gone += self.taken(written),
                Err(error) if super::transport::is_not_yet(&error) => return Ok(Flushed::Partly(gone)),
                Err(error) => return Err(error),
            }
        }
        self.clear();
        Ok(Flushed::Whole)
    }

    fn write_once(&self, transport: &dyn Transport, scratch: &mut Vec<u8>) -> io::Result<usize> {
        let front = self.front.get(self.front_sent..).unwrap_or_default();
        let back = match &self.back {
            Back::Nothing => &[][..],
            Back::Bytes { block, sent } | Back::List { block, sent, .. } => block.get(*sent..).unwrap_or_default(),
            Back::File { file, position, left } => {
                let want = usize::try_from(*left).unwrap_or(FILE_BLOCK).min(FILE_BLOCK);
                scratch.resize(FILE_BLOCK, 0);
                let room = scratch.get_mut(..want).unwrap_or_default();
                let read = read_at(file, room, *position)?;
                if read == 0 && want > 0 {
                    return Err(shorter());
                }
                scratch.get(..read).unwrap_or_default()
            }
        };
        let (back, tail) = match self.records.as_deref() {
            None => (back, self.tail),
            Some(records) => {
                (back.get(..records.left).unwrap_or(back), records.end.get(records.end_sent..).unwrap_or_default())
            }
        };
        let back = back.get(..OFFERED).unwrap_or(back);
        // The tail may only go out behind the whole back.
        let tail = if self.ends_with(back.len()) { tail } else { &[] };
        match (front.is_empty(), back.is_empty(), tail.is_empty()) {
            (_, true, true) => transport.write(&[IoSlice::new(front)]),
            (true, _, true) => transport.write(&[IoSlice::new(back)]),
            _ => transport.write(&[IoSlice::new(front), IoSlice::new(back), IoSlice::new(tail)]),
        }
    }

    /// Whether `offered` bytes of the back are all that is left of it.
    fn ends_with(&self, offered: usize) -> bool {
        match &self.back {
            Back::Nothing => true,
            Back::Bytes { block, sent } => block.len() - sent == offered,
            Back::List { left, .. } | Back::File { left, .. } => *left == offered as u64,
        }
    }

    /// Notes what the socket took.
    fn taken(&mut self, written: usize) -> u64 {
        let mut rest = written;
        let of_front = rest.min(self.front.len() - self.front_sent);
        self.front_sent += of_front;
        rest -= of_front;
        let of_back = match &mut self.back {
            Back::Nothing => 0,
            Back::Bytes { block, sent } => {
                let taken = rest.min(block.len() - *sent);
                *sent += taken;
                if *sent == block.len() {
                    self.back = Back::Nothing;
                }
                taken
            }
            Back::List { block, sent, rest: blocks, left } => {
                let taken = rest.min(block.len() - *sent);
                *sent += taken;
                *left = left.saturating_sub(taken as u64);
                if *sent == block.len() {
                    match blocks.find(|block| !block.is_empty()) {
                        Some(mut next) if *left > 0 => {
                            // A declared length below the sum ends the list early (P-LEN-02).
                            shorten(&mut next, *left);
                            *block = next;
                            *sent = 0;
                        }
                        _ => self.back = Back::Nothing,
                    }
                }
                taken
            }
            Back::File { position, left, .. } => {
                let taken = rest.min(usize::try_from(*left).unwrap_or(rest));
                *position += taken as u64;
                *left = left.saturating_sub(taken as u64);
                if *left == 0 {
                    self.back = Back::Nothing;
                }
                taken
            }
        };
        rest -= of_back.min(rest);
        match &mut self.records {
            None => self.tail = self.tail.get(rest..).unwrap_or_default(),
            Some(records) => {
                records.left = records.left.saturating_sub(of_back);
                records.end_sent = records.end.len().min(records.end_sent + rest);
            }
        }
        written as u64
    }
}

/// Cuts a block to at most `length` bytes.
pub(super) fn shorten(block: &mut Block, length: u64) {
    let Ok(length) = usize::try_from(length) else { return };
    match block {
        Block::Borrowed(bytes) => *bytes = bytes.get(..length).unwrap_or(bytes),
        Block::Owned(bytes) => bytes.truncate(length),
    }
}

fn owned(block: &Block) -> usize {
    match block {
        Block::Borrowed(_) => 0,
        Block::Owned(bytes) => bytes.capacity(),
    }
}
