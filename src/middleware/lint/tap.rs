//! Counts what an application reads of the content, without taking a byte more from it than the application does (V-43).
//!
//! It stands in the environ that the application gets and reads from the one that came in, so that whoever reads further on, the
//! server or middleware outside, goes on exactly where the application stopped (P-IN-11).

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::gateway::Environ;

/// The most that is shown of the outer buffer at a time: it is copied at each look.
const LOOK: usize = 8 * 1024;

/// How far the content was read, shared with the watch.
#[derive(Default)]
pub(super) struct Count {
    read: Mutex<u64>,
    failed: AtomicBool,
}

impl Count {
    pub(super) fn read(&self) -> u64 {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a read failed, after which nobody is blamed for what is left.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn note(&self, read: Result<usize, &io::Error>) {
        match read {
            Ok(read) => *self.read.lock().unwrap_or_else(PoisonError::into_inner) += read as u64,
            Err(_) => self.failed.store(true, Ordering::Relaxed),
        }
    }
}

/// The content as the application reads it.
pub(super) struct Tap {
    outer: Environ,
    /// A copy of what the outer input has in its buffer, because that one cannot be borrowed beyond a call.
    seen: Vec<u8>,
    count: Arc<Count>,
}

impl Tap {
    pub(super) fn new(outer: Environ, count: Arc<Count>) -> Tap {
        Tap { outer, seen: Vec::new(), count }
    }
}

impl Read for Tap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.outer.input().read(buffer);
        self.count.note(result.as_ref().copied());
        result
    }
}

impl BufRead for Tap {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let mut input = self.outer.input();
        let available = input.fill_buf().inspect_err(|error| self.count.note(Err(error)))?;
        self.seen.clear();
        self.seen.extend_from_slice(available.get(..LOOK).unwrap_or(available));
        Ok(&self.seen)
    }

    fn consume(&mut self, amount: usize) {
        self.outer.input().consume(amount);
        self.count.note(Ok(amount));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::gateway::Gateway;

    #[test]
    fn a_tap_takes_what_is_consumed_and_leaves_the_rest_in_the_outer_input() {
        let mut outer = Environ::new(Gateway::default());
        outer.set_input(Cursor::new([b"one\ntwo\n".repeat(4096), b"rest".to_vec()].concat()));
        let count = Arc::new(Count::default());
        let mut inner = outer.clone();
        inner.set_input(Tap::new(outer.clone(), Arc::clone(&count)));
        let mut line = String::new();
        for _ in 0..8192 {
            line.clear();
            inner.input().read_line(&mut line).unwrap();
        }
        assert_eq!((&*line, count.read()), ("two\n", 32 * 1024));
        let mut two = [0; 2];
        inner.input().read_exact(&mut two).unwrap();
        let mut rest = String::new();
        outer.input().read_to_string(&mut rest).unwrap();
        assert_eq!((&two, &*rest, count.read(), count.has_failed()), (b"re", "st", 32 * 1024 + 2, false));
    }

    #[test]
    fn a_tap_passes_errors_on() {
        let outer = Environ::new(Gateway::default());
        let mut inner = outer.clone();
        let count = Arc::new(Count::default());
        inner.set_input(Tap::new(outer.clone(), Arc::clone(&count)));
        let _alive = outer.input();
        let error = inner.input().read(&mut [0; 1]).unwrap_err();
        assert_eq!((error.kind(), count.has_failed()), (io::ErrorKind::ResourceBusy, true));
    }
}
