//! Content up to the next delimiter, found as it arrives: nothing is kept but a count.
//!
//! RFC 2046 section 5.1.1. A delimiter is CRLF, two hyphens and the boundary. It may arrive in any number of pieces, so what may be its
//! beginning is held back until the next bytes decide. Those bytes are the delimiter's own, so they need no place: how many they are is
//! enough. Invariant: where the input was cut changes nothing. CR stands in a delimiter once, at its beginning, so that two possible
//! beginnings never overlap, and each byte is compared a fixed number of times however hostile the content is. What stands behind a
//! delimiter is read by [`Parts`](super::Parts).

use std::io::{self, BufRead};
use std::ops::Range;

use super::refused;
use crate::cause::Cause;

/// How every delimiter begins.
const BEGINNING: &[u8; 4] = b"\r\n--";

/// So many places are looked at in one go.
const BLOCK: usize = 64;

pub(super) struct Delimited<R> {
    input: Bounded<R>,
    delimiter: Vec<u8>,
    /// How much of the delimiter the bytes taken so far end with.
    matched: usize,
    /// How much of `matched` was given out before, and so is not given out again: the line end of a head may be that of a delimiter.
    shown: usize,
    /// The part of the delimiter that was taken for a beginning and turned out to be content.
    owed: Range<usize>,
    /// How many bytes of the input are known to be content, so that none is compared twice.
    clear: usize,
}

/// The input, of which no more than so much is taken.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: BufRead> Bounded<R> {
    /// What has arrived and was not taken, whatever it means; empty at the end.
    fn arrived(&mut self) -> io::Result<&[u8]> {
        let bytes = self.inner.fill_buf()?;
        match usize::try_from(self.left) {
            Ok(0) if !bytes.is_empty() => Err(refused(Cause::ContentLong)),
            Ok(left) => Ok(bytes.get(..left).unwrap_or(bytes)),
            Err(_) => Ok(bytes),
        }
    }

    fn take(&mut self, amount: usize) {
        self.left = self.left.saturating_sub(amount as u64);
        self.inner.consume(amount);
    }
}

/// What comes next.
enum Next {
    Owed,
    Input(usize),
    End,
}

impl<R: BufRead> Delimited<R> {
    /// Stands at the beginning of the content, where a delimiter needs no line end before it.
    pub(super) fn new(inner: R, boundary: &[u8], most: u64) -> Delimited<R> {
        let delimiter = [BEGINNING, boundary].concat();
        Delimited { input: Bounded { inner, left: most }, delimiter, matched: 2, shown: 2, owed: 0..0, clear: 0 }
    }

    /// Begins to look for the next delimiter, right behind a line end.
    pub(super) fn begin(&mut self) {
        (self.matched, self.shown) = (2, 2);
    }

    /// The next byte of the input itself.
    pub(super) fn byte(&mut self) -> io::Result<Option<u8>> {
        let byte = loop {
            match self.input.arrived() {
                Ok(bytes) => break bytes.first().copied(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        self.input.take(usize::from(byte.is_some()));
        Ok(byte)
    }

    fn next(&mut self) -> io::Result<Next> {
        loop {
            if !self.owed.is_empty() {
                return Ok(Next::Owed);
            }
            if self.clear > 0 {
                return Ok(Next::Input(self.clear));
            }
            if self.matched == self.delimiter.len() {
                return Ok(Next::End);
            }
            match Seen::of(self.input.arrived()?, &self.delimiter, self.matched) {
                Seen::Nothing => return Err(refused(Cause::MultipartTruncated)),
                Seen::Content(clear) => self.clear = clear,
                Seen::Delimiter { length, is_refuted } => {
                    self.input.take(length);
                    self.matched += length;
                    if is_refuted {
                        self.owed = self.shown..self.matched;
                        (self.matched, self.shown) = (0, 0);
                    }
                }
            }
        }
    }

    /// Takes what is left before the delimiter, at most so much of it.
    pub(super) fn skip(&mut self, most: u64) -> io::Result<()> {
        let mut left = most;
        loop {
            let length = match self.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(bytes) => bytes.len(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            left = left.checked_sub(length as u64).ok_or_else(|| refused(Cause::ContentLong))?;
            self.consume(length);
        }
    }
}

impl<R: BufRead> io::Read for Delimited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = io::Read::read(&mut self.fill_buf()?, buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Delimited<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.next()? {
            Next::End => Ok(&[]),
            Next::Owed => Ok(self.delimiter.split_at(self.owed.end).0.split_at(self.owed.start).1),
            Next::Input(length) => Ok(self.input.arrived()?.split_at(length).0),
        }
    }

    fn consume(&mut self, amount: usize) {
        if self.owed.is_empty() {
            let amount = amount.min(self.clear);
            self.clear -= amount;
            self.input.take(amount);
        } else {
            self.owed.start += amount.min(self.owed.len());
        }
    }
}

/// What a look at the bytes that have arrived says.
enum Seen {
    Nothing,
    /// So many bytes of content.
    Content(usize),
    /// So many bytes go on with the delimiter; the next one may refute it.
    Delimiter {
        length: usize,
        is_refuted: bool,
    },
}

impl Seen {
    fn of(bytes: &[u8], delimiter: &[u8], matched: usize) -> Seen {
        if bytes.is_empty() {
            return Seen::Nothing;
        }
        if matched == 0 {
            let clear = beginning(bytes, delimiter);
            if clear > 0 {
                return Seen::Content(clear);
            }
        }
        let rest = delimiter.iter().skip(matched);
        let length = bytes.iter().zip(rest).take_while(|(byte, expected)| byte == expected).count();
        Seen::Delimiter { length, is_refuted: length < bytes.len() && matched + length < delimiter.len() }
    }
}

/// The first place where the delimiter begins or, at the end of the bytes, may begin; their length where it does not.
fn beginning(bytes: &[u8], delimiter: &[u8]) -> usize {
    let (mut start, mut rest) = (0, bytes);
    while let Some(block) = rest.first_chunk::<{ BLOCK + BEGINNING.len() - 1 }>() {
        if may_hold_beginning(block) {
            let windows = block.windows(BEGINNING.len()).map(<[u8]>::first_chunk).enumerate();
            for (place, _) in windows.filter(|(_, window)| *window == Some(BEGINNING)) {
                if rest.get(place..).is_some_and(|there| agree(there, delimiter)) {
                    return start + place;
                }
            }
        }
        start += BLOCK;
        rest = rest.split_at(BLOCK).1;
    }
    let mut places = (0..rest.len()).filter_map(|place| Some((place, rest.get(place..)?)));
    let place = places.find(|(_, there)| there.first() == BEGINNING.first() && agree(there, delimiter));
    start + place.map_or(rest.len(), |(place, _)| place)
}

/// Whether [`BEGINNING`] may stand at one of the first [`BLOCK`] places, by its two bytes in the middle, which are rare beside each other: without
/// a branch for a byte, so that compilers make vectors of it.
fn may_hold_beginning(block: &[u8; BLOCK + BEGINNING.len() - 1]) -> bool {
    block[1..].iter().zip(&block[2..]).fold(false, |found, (one, next)| found | ((*one == b'\n') & (*next == b'-')))
}

/// Whether one begins with the other.
fn agree(bytes: &[u8], delimiter: &[u8]) -> bool {
    bytes.starts_with(delimiter) || delimiter.starts_with(bytes)
}
