//! Content up to the next delimiter, found as it arrives.
//!
//! RFC 2046 section 5.1.1. What was received stands in one buffer, and of it no more than may be the beginning of a delimiter waits there for
//! the next bytes. Invariant: where the input was cut changes nothing. What stands behind a delimiter is read by [`Parts`](super::Parts).

use std::io::{self, BufRead, Read};
use std::ops::Range;

use super::delimiter::Delimiter;
use super::refused;
use crate::cause::Cause;

/// So much is received at once: in pieces of 4 KiB the calls of the system cost more than all else.
const AHEAD: usize = 32 * 1024;

const LINE_END: &[u8; 2] = b"\r\n";

pub(super) struct Delimited<R> {
    input: R,
    /// How many more bytes of the input there may be.
    left: u64,
    delimiter: Delimiter,
    buffer: Box<[u8]>,
    /// Where in the buffer stands what was received and not taken. There is room for a line end before it.
    held: Range<usize>,
    /// How many of these bytes are known to be content, so that none is compared twice.
    clear: usize,
    /// How many were put back: they may be the beginning of a delimiter, and are no content.
    put_back: usize,
}

impl<R: Read> Delimited<R> {
    /// Stands at the beginning of the content, where a delimiter needs no line end before it.
    pub(super) fn new(input: R, boundary: &[u8], most: u64) -> Delimited<R> {
        let (delimiter, buffer) = (Delimiter::of(boundary), vec![0; AHEAD].into_boxed_slice());
        let held = LINE_END.len()..LINE_END.len();
        let mut delimited = Delimited { input, left: most, delimiter, buffer, held, clear: 0, put_back: 0 };
        delimited.begin();
        delimited
    }

    /// Begins to look for the next delimiter, right behind a line end, which may be that of the delimiter.
    pub(super) fn begin(&mut self) {
        let start = self.held.start - LINE_END.len();
        self.buffer.iter_mut().skip(start).zip(LINE_END).for_each(|(place, byte)| *place = *byte);
        (self.held.start, self.put_back) = (start, LINE_END.len());
    }

    fn held(&self) -> &[u8] {
        self.buffer.split_at(self.held.end).0.split_at(self.held.start).1
    }

    /// Receives more behind what is held; whether there was more.
    fn receive(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.held.clone(), LINE_END.len());
        self.held = LINE_END.len()..LINE_END.len() + self.held.len();
        let room = self.buffer.split_at_mut(self.held.end).1;
        // Where nothing more may come, one byte tells whether it does.
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).clamp(1, room.len());
        let length = loop {
            match self.input.read(room.split_at_mut(most).0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                length => break length?,
            }
        };
        self.left = self.left.checked_sub(length as u64).ok_or_else(|| refused(Cause::ContentLong))?;
        self.held.end += length;
        Ok(length > 0)
    }

    /// The next byte of the input itself.
    pub(super) fn byte(&mut self) -> io::Result<Option<u8>> {
        if self.held.is_empty() && !self.receive()? {
            return Ok(None);
        }
        let byte = self.held().first().copied();
        self.held.start += 1;
        Ok(byte)
    }

    /// Takes what is left before the delimiter, at most so much of it, and the delimiter.
    pub(super) fn pass(&mut self, most: u64) -> io::Result<()> {
        let mut left = most;
        loop {
            let length = self.fill_buf()?.len();
            if length == 0 {
                self.held.start += self.delimiter.len();
                return Ok(());
            }
            left = left.checked_sub(length as u64).ok_or_else(|| refused(Cause::ContentLong))?;
            self.consume(length);
        }
    }
}

impl<R: Read> Read for Delimited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = Read::read(&mut self.fill_buf()?, buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl<R: Read> BufRead for Delimited<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.clear == 0 {
            match self.delimiter.place_in(self.held()) {
                0 if self.held.len() >= self.delimiter.len() => return Ok(&[]),
                0 if !self.receive()? => return Err(refused(Cause::MultipartTruncated)),
                0 => {}
                place => {
                    self.clear = place - self.put_back;
                    self.held.start += self.put_back;
                    self.put_back = 0;
                }
            }
        }
        Ok(self.held().split_at(self.clear).0)
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.clear);
        self.clear -= amount;
        self.held.start += amount;
    }
}
