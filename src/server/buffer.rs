//! The bytes a connection has received and not yet used, in memory that is used again.
//!
//! A buffer starts at 4 KiB, enough for most requests, and grows only as far as its reader asks, which is never further than a
//! limit in the settings. A connection that waits with nothing received gives its memory back to a [`Reserve`].

use std::io;
use std::sync::Mutex;

use super::shared::lock;
use super::socket::Socket;

/// What a buffer starts with.
const START: usize = 4 * 1024;

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

    /// Reads once from the socket behind what is there. The buffer holds at most `most` bytes; there must be room.
    pub(super) fn fill(&mut self, socket: &Socket, most: usize, reserve: &Reserve) -> io::Result<usize> {
        self.make_room(most, reserve);
        let most = most.saturating_sub(self.len());
        let room = self.memory.split_at_mut(self.end).1;
        let room = room.split_at_mut(most.min(room.len())).0;
        if room.is_empty() {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "the buffer is full"));
        }
        let received = socket.read(room)?;
        self.end += received;
        Ok(received)
    }

    fn make_room(&mut self, most: usize, reserve: &Reserve) {
        if self.memory.is_empty() {
            self.memory = reserve.take();
        }
        if self.end < self.memory.len() {
            return;
        }
        if self.start > 0 {
            self.memory.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        } else if self.memory.len() < most {
            // Doubled, so that a client which sends byte by byte does not have its bytes copied at each.
            self.memory.resize((self.memory.len() * 2).min(most), 0);
        }
    }

    /// Gives the memory back if nothing is in it.
    pub(super) fn release(&mut self, reserve: &Reserve) {
        if self.is_empty() && !self.memory.is_empty() {
            reserve.give(std::mem::take(&mut self.memory));
        }
    }
}

/// Memory of buffers that nobody uses at the moment, kept so that the steady state allocates nothing.
#[derive(Default)]
pub(super) struct Reserve(Mutex<Vec<Vec<u8>>>);

impl Reserve {
    /// More than this many are given back to the system.
    const MOST: usize = 64;

    fn take(&self) -> Vec<u8> {
        lock(&self.0).pop().unwrap_or_else(|| vec![0; START])
    }

    fn give(&self, memory: Vec<u8>) {
        let mut free = lock(&self.0);
        // One that has grown would keep its size for ever.
        if memory.len() == START && free.len() < Reserve::MOST {
            free.push(memory);
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
        let reserve = Reserve::default();
        let mut buffer = Buffer::default();
        while buffer.len() < 10_000 {
            buffer.fill(&socket, 10_000, &reserve).unwrap();
        }
        assert_eq!(buffer.capacity(), 10_000);
        assert!(buffer.fill(&socket, 10_000, &reserve).is_err());
        buffer.consume(9_999);
        assert_eq!(buffer.fill(&socket, 10_000, &reserve).unwrap(), 9_999);
        assert_eq!(buffer.len(), 10_000);
    }

    #[test]
    fn memory_is_used_again_and_a_grown_buffer_is_not_kept() {
        let reserve = Reserve::default();
        let mut buffer = Buffer::default();
        buffer.make_room(START, &reserve);
        buffer.release(&reserve);
        assert_eq!((buffer.capacity(), reserve.0.lock().unwrap().len()), (0, 1));
        buffer.make_room(START, &reserve);
        assert_eq!(reserve.0.lock().unwrap().len(), 0);
        buffer.end = START;
        buffer.make_room(2 * START, &reserve);
        buffer.consume(START);
        buffer.release(&reserve);
        assert_eq!(reserve.0.lock().unwrap().len(), 0);
    }
}
