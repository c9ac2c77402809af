//! A connection to another server as it is used: read under limits, into room that is made once, and kept for the next request where the
//! other side goes on listening to it.
//!
//! The system is told a limit only when it is another one than before: on a kept connection, whose requests have all the same, never again.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Fault;
use super::stream::Stream;
use crate::cause::Cause;

/// How much is read at once.
pub(crate) const BLOCK: usize = 64 * 1024;

/// For how long the other side takes nothing before it is looked whether it has answered.
const MOMENT: Duration = Duration::from_millis(20);

/// As good as no limit.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How many connections are kept that nobody uses.
const KEPT: usize = 8;

/// A connection, of which this is the only user.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: Stream,
    /// What is read into: made once, because to clear it costs more than to copy what has come.
    room: Vec<u8>,
    /// How long a read may take, as the system has been told.
    limit: Option<Duration>,
}

impl Link {
    pub(crate) fn new(stream: Stream) -> Result<Link, Fault> {
        stream.set_write_timeout(Some(MOMENT)).map_err(|error| Fault::new(Cause::UpstreamUnreachable, error))?;
        Ok(Link { stream, room: vec![0; BLOCK], limit: None })
    }

    /// Adds what is there to `place`, or waits for the first byte of it.
    pub(crate) fn read(&mut self, limit: Duration, place: &mut Vec<u8>) -> io::Result<usize> {
        // A limit of 0 would be none, and not every system takes one that its clock cannot hold. In whole milliseconds it is the same for each
        // request, a moment after whose begin it is told.
        let micros = limit.clamp(Duration::from_millis(1), A_YEAR).as_micros() as u64;
        let limit = Some(Duration::from_millis(micros.div_ceil(1000)));
        if self.limit != limit {
            self.stream.set_read_timeout(limit)?;
            self.limit = limit;
        }
        loop {
            match self.stream.read(&mut self.room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(length) => {
                    let (came, _) = self.room.split_at_checked(length).unwrap_or_default();
                    place.extend_from_slice(came);
                    return Ok(length);
                }
            }
        }
    }

    /// The same connection for somebody else; this one has no room any more.
    pub(super) fn hand_over(&mut self) -> io::Result<Link> {
        Ok(Link { stream: self.stream.try_clone()?, room: std::mem::take(&mut self.room), limit: self.limit })
    }
}

/// Connections that wait for their next request.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<VecDeque<Link>>);

impl Kept {
    fn idle(&self) -> MutexGuard<'_, VecDeque<Link>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that is still open and has nothing to say. It is the one that was used least recently: whoever has answered a moment ago may still be
    /// busy with what comes behind an answer.
    pub(crate) fn take(&self) -> Option<Link> {
        loop {
            // The lock is not held while it is looked at.
            let mut link = self.idle().pop_front()?;
            if link.stream.is_quiet() {
                return Some(link);
            }
        }
    }

    pub(crate) fn put(&self, link: Link) {
        let mut idle = self.idle();
        if idle.len() < KEPT {
            idle.push_back(link);
        }
    }

    pub(crate) fn close_all(&self) {
        self.idle().clear();
    }
}
