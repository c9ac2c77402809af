//! What a connection waits for while no thread has it: its client, or its turn for a thread, a seat or a block.

use std::sync::Arc;
use std::time::Instant;

use super::{Connection, Phase, Step};
use crate::cause::Cause;
use crate::door::{NotReady, Room};
use crate::gateway::Receiver;
use crate::server::settings::after;
use crate::server::shard::Shard;
use crate::server::shared::Shared;

/// What a connection waits for that could do nothing when it was looked at last.
pub(in crate::server) enum WaitsFor {
    /// To be woken, by whoever sends it a block or leaves it a seat.
    Waker,
    /// That has come meanwhile.
    Nothing,
    /// Its client, or its time.
    Client,
}

impl Connection {
    /// Whether it waits for its client to begin a request.
    pub(in crate::server) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Whether a thread with nothing better to do may stay with it for a moment: a request is likely to come soon.
    pub(in crate::server) fn is_worth_waiting_for(&self) -> bool {
        self.queued.is_none() && matches!(self.phase, Phase::Idle | Phase::Head | Phase::Gathering { .. })
    }

    /// Whether it goes on as soon as its client sends or takes something, and not before its deadline otherwise.
    pub(in crate::server) fn waits_for_client(&self) -> bool {
        self.queued.is_none() && self.call.as_ref().is_none_or(|call| !call.response().queue.is_empty())
    }

    /// What may be a request waits for a thread, if it is one and there is room for one more.
    pub(in crate::server) fn wait_for_thread(&mut self, has_room: bool, shared: &Shared, now: Instant) {
        if self.queued.is_some() {
            return;
        }
        let examined = self.examine(&shared.policy, &mut Room::default(), None).map(drop);
        let room = if has_room { Ok(()) } else { Err(NotReady::Refused(Cause::QueueFull)) };
        if let Err(why) = examined.and(room) {
            return self.put_off(why, shared, now);
        }
        self.queued = Some(now);
        self.count_phase();
    }

    /// Its content would have to be waited for, and no seat is free.
    pub(in crate::server) fn wait_for_seat(&mut self, shared: &Shared, now: Instant) {
        self.queued.get_or_insert(now);
        self.seat = Some(shared.seats.ask());
    }

    /// A request waits for a thread or a seat.
    pub(super) fn wait_for_turn(&mut self, shared: &Shared, now: Instant) -> Option<Step> {
        if self.late(shared).is_some_and(|late| now >= late) {
            return self.refuse(Cause::QueueTimeout, shared, now);
        }
        Some(if self.seat.as_ref().is_none_or(|seat| seat.has_come()) { Step::Job } else { Step::Wait })
    }

    /// When its request will have waited for a thread and a seat for as long as it may.
    pub(in crate::server) fn late(&self, shared: &Shared) -> Option<Instant> {
        self.queued.map(|since| after(since, shared.settings.queue_timeout))
    }

    /// Has it woken by its number when a block or a seat comes, if it waits for that and for nothing else.
    pub(in crate::server) fn register(&mut self, shard: &Arc<Shard>, number: u64) -> WaitsFor {
        let is_to_come = match &self.seat {
            Some(seat) => Some(seat.register(shard, number)),
            None => self.receiver().map(|receiver| receiver.register(shard, number)),
        };
        match is_to_come {
            Some(true) => WaitsFor::Waker,
            Some(false) => WaitsFor::Nothing,
            None => WaitsFor::Client,
        }
    }

    /// Where its next block comes from, if it waits for another thread to send it and for nothing else.
    pub(in crate::server) fn receiver(&mut self) -> Option<&mut Receiver> {
        let call = self.call.as_deref_mut().filter(|call| call.response().queue.is_empty())?;
        call.receiver()
    }
}
