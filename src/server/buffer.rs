//! The bytes a connection has received and not yet used, in memory that is used again.
//!
//! A buffer starts at 4 KiB, enough for most requests, and grows only as far as its reader asks, which is never further than a
//! limit in the settings. A connection that waits with nothing received gives its memory up.

use std::cell::Cell;
use std::io;

use super::socket::Socket;

/// What a buffer starts with.
const START: usize = 4 * 1024;

thread_local! {
    /// The memory of the last buffer that was given up in this thread, for the next that begins in it: with a connection for each request, zeros
    /// in its place would be a third of all instructions.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Received bytes: a filled part in a run of initialised memory.
#[derive(Default)]
pub(super) struct Buffer {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn filled(&self) -> &[u8] {
        self.memory.split_at(self.end).0.split_at(self.start).1
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How much memory it holds.
    pub(super) fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Forgets the first bytes.
    pub(super) fn consume(&mut self, amount: usize) {
        self.start = self.end.min(self.start + amount);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Takes the first bytes out, where so many are here.
    pub(super) fn take(&mut self, length: u64) -> Option<Vec<u8>> {
        let taken = self.filled().split_at_checked(usize::try_from(length).ok()?)?.0.to_vec();
        self.consume(taken.len());
        Some(taken)
    }

    /// Reads once from the socket behind what is there. For more than `most` bytes the buffer does not grow; there must be room.
    pub(super) fn fill(&mut self, socket: &Socket, most: usize) -> io::Result<usize> {
        self.make_room(most);
        let room = self.memory.split_at_mut(self.end).1;
        if room.is_empty() {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "the buffer is full"));
        }
        let received = socket.read(room)?;
        self.end += received;
        Ok(received)
    }

    fn make_room(&mut self, most: usize) {
        if self.memory.is_empty() {
            self.memory = SPARE.try_with(Cell::take).unwrap_or_default();
            self.memory.resize(START, 0);
        }
        if self.end < self.memory.len() {
            return;
        }
        if self.start > 0 {
            self.memory.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        } else if self.memory.len() < most {
            // Doubled, so that a client which sends byte by byte does not have its bytes copied at each.
            let length = (self.memory.len() * 2).min(most);
            self.memory.reserve_exact(length - self.memory.len());
            self.memory.resize(length, 0);
        }
    }

    /// Gives the memory up if nothing is in it.
    pub(super) fn release(&mut self) {
        if self.is_empty() {
            *self = Buffer::default();
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // One that has grown would keep its size for ever.
        if self.memory.len() == START {
            let memory = std::mem::take(&mut self.memory);
            let _ = SPARE.try_with(|spare| spare.set(memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_buffer_grows_to_its_bound_and_not_further() {
        let socket = Socket::over(Cursor::new(vec![7; 20_000]));
        let mut buffer = Buffer::default();
        while buffer.len() < 10_000 {
            buffer.fill(&socket, 10_000).unwrap();
        }
        assert_eq!((buffer.capacity(), buffer.memory.capacity()), (10_000, 10_000));
        assert!(buffer.fill(&socket, 10_000).is_err());
        buffer.consume(9_999);
        assert_eq!(buffer.fill(&socket, 10_000).unwrap(), 9_999);
        assert_eq!(buffer.len(), 10_000);
    }

    #[test]
    fn content_is_taken_out_when_all_of_it_is_here_and_leaves_what_is_behind_it() {
        let (socket, mut buffer) = (Socket::over(Cursor::new(b"abcdef".to_vec())), Buffer::default());
        buffer.fill(&socket, START).unwrap();
        assert_eq!((buffer.take(7), buffer.take(u64::MAX)), (None, None));
        assert_eq!(buffer.take(4).as_deref(), Some(&b"abcd"[..]));
        assert_eq!(buffer.filled(), b"ef");
        assert_eq!((buffer.take(2).unwrap().len(), buffer.take(0).unwrap().len(), buffer.len()), (2, 0, 0));
    }

    #[test]
    fn memory_is_used_again_and_a_grown_buffer_is_not_kept() {
        let mut buffer = Buffer::default();
        buffer.make_room(START);
        buffer.release();
        let spare = SPARE.take();
        assert_eq!((buffer.capacity(), spare.len()), (0, START));
        let place = spare.as_ptr();
        SPARE.set(spare);
        buffer.make_room(START);
        assert!(buffer.memory.as_ptr() == place && SPARE.take().is_empty());
        buffer.end = START;
        buffer.make_room(2 * START);
        assert_eq!(buffer.capacity(), 2 * START);
        drop(buffer);
        assert!(SPARE.take().is_empty());
    }
}
