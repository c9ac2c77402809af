//! What a connection counts for while it is open: the phases of its life as an operator sees them, and the memory that it holds.

use super::{Connection, Phase};
use crate::log;

impl Connection {
    /// Is counted among those that do the same.
    pub(in crate::server) fn count_phase(&mut self) {
        let phase = match self.phase {
            _ if self.queued.is_some() => log::Phase::Queued,
            Phase::Idle if self.is_first => log::Phase::Fresh,
            Phase::Idle => log::Phase::Idle,
            Phase::Head => log::Phase::Head,
            Phase::Gathering { .. } => log::Phase::Content,
            Phase::Sending => log::Phase::Sending,
            Phase::Draining { .. } | Phase::Lingering { .. } => log::Phase::Closing,
        };
        self.place.iter_mut().for_each(|place| place.enter(phase));
    }

    /// Counts the memory that it holds at the moment: what has arrived of a request and what has not been taken of a response.
    pub(in crate::server) fn count_memory(&mut self) {
        let received = if self.buffer.is_empty() { 0 } else { self.buffer.capacity() };
        let call = self.call.as_mut().map_or(0, |call| call.memory());
        self.hold(received + call + self.queue.memory());
    }

    /// Is counted to hold so much. Without a place it counts for nothing.
    pub(in crate::server) fn hold(&mut self, bytes: usize) {
        self.place.iter_mut().for_each(|place| place.hold(bytes));
    }

    /// How much it is counted to hold.
    pub(in crate::server) fn held(&self) -> usize {
        self.place.as_ref().map_or(0, |place| place.memory)
    }
}
