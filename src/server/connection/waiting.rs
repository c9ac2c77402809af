//! What a connection waits for while no thread has it: its client, a block of another thread, or its turn for a thread.

use std::time::Instant;

use super::{Connection, Phase};
use crate::cause::Cause;
use crate::door::{NotReady, Room};
use crate::gateway::Receiver;
use crate::server::settings::after;
use crate::server::shared::Shared;

impl Connection {
    /// Whether it waits for its client to begin a request.
    pub(in crate::server) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Whether a thread with nothing better to do may stay with it for a moment: a request is likely to come soon.
    pub(in crate::server) fn is_worth_waiting_for(&self) -> bool {
        self.is_idle() || matches!(self.phase, Phase::Head | Phase::Gathering { .. })
    }

    /// Where its next block comes from, if it waits for another thread to send it and for nothing else.
    pub(in crate::server) fn receiver(&mut self) -> Option<&mut Receiver> {
        let call = self.call.as_deref_mut().filter(|call| call.response().queue.is_empty())?;
        call.receiver()
    }

    /// Whether it goes on as soon as its client sends or takes something, and not before its deadline otherwise.
    pub(in crate::server) fn waits_for_client(&self) -> bool {
        self.phase != Phase::Seat && self.call.as_ref().is_none_or(|call| !call.response().queue.is_empty())
    }

    /// What may be a request waits for a thread, if it is one, there is room for one more, and it has not waited for too long.
    pub(in crate::server) fn wait_for_thread(&mut self, has_room: bool, shared: &Shared, now: Instant) {
        let examined = match self.queued {
            Some(_) if self.has_waited_too_long(shared, now) => Err(NotReady::Refused(Cause::QueueTimeout)),
            Some(_) => return,
            None => self.examine(&shared.policy, &mut Room::default()).map(drop),
        };
        let room = if has_room { Ok(()) } else { Err(NotReady::Refused(Cause::QueueFull)) };
        if let Err(why) = examined.and(room) {
            return self.put_off(why, shared, now);
        }
        self.queued = Some(now);
        self.count_phase();
    }

    /// Whether its request has waited for a thread or a seat for longer than it may.
    pub(super) fn has_waited_too_long(&self, shared: &Shared, now: Instant) -> bool {
        self.queued.is_some_and(|since| now >= after(since, shared.settings.queue_timeout))
    }
}
