//! What a thread does for a connection: it answers the requests that have arrived, or goes on with the call that waits there.
//!
//! docs/rules.md P-CONN-01 to P-CONN-04. Answers to pipelined requests are gathered into one write; should the next
//! call last, the monitor sends what waits for it.

use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use super::call::Call;
use super::connection::Connection;
use super::shared::Shared;
use crate::door::Room;
use crate::log::Score;

/// How many answers to pipelined requests go into one write at most.
pub(super) const GATHERED: usize = 32;

/// The calls of one thread, one after the other.
pub(super) struct Calls {
    shared: Arc<Shared>,
    /// The call that was done with last, for the next request.
    spare: Option<Box<Call>>,
    room: Room,
    /// What this thread is called for.
    score: Arc<Score>,
}

impl Calls {
    pub(super) fn new(shared: &Arc<Shared>) -> Calls {
        let score = shared.monitor.scoreboard.score();
        Calls { shared: Arc::clone(shared), spare: None, room: Room::default(), score }
    }

    /// Does what a connection needs a thread for. Gives when the application was done.
    pub(super) fn run(&mut self, connection: &mut Connection, mut now: Instant) -> Instant {
        if let Some(mut call) = connection.call.take() {
            self.score.begin(now, &call.environ);
            let progress = call.go_on(connection);
            return self.settle(call, progress, connection);
        }
        for _ in 0..GATHERED {
            let Some(answered) = self.answer(connection, now) else { break };
            now = answered;
            if !connection.has_gathered() {
                return now;
            }
        }
        if connection.has_gathered() {
            connection.send_gathered(&self.shared, Instant::now());
        }
        now
    }

    /// Answers one request. Gives when the application was done; `None` where there is no request, or where gathered answers must go out before it.
    fn answer(&mut self, connection: &mut Connection, now: Instant) -> Option<Instant> {
        if self.shared.is_over() {
            // The grace of a stop is over: what is looked at next ends.
            return None;
        }
        let mut call = self.spare.take().unwrap_or_else(|| Box::new(Call::new(&self.shared)));
        let come = connection.seat.take();
        let Calls { shared, room, .. } = self;
        let ready = match connection.examine(&shared.policy, room) {
            Ok((ref request, facts)) => {
                let is_here = facts.is_all_here(connection.buffer.len());
                // It waits without a thread for its turn to be waited for in one.
                let seat =
                    if is_here || connection.has_gathered() { None } else { come.or_else(|| shared.seats.try_take()) };
                Ok((is_here || seat.is_some()).then(|| call.fill(request, facts, seat, connection)))
            }
            Err(why) => Err(why),
        };
        match ready {
            Ok(Some(())) => {
                connection.queued = None;
                self.score.begin(now, &call.environ);
                let progress = call.start(connection, now);
                return Some(self.settle(call, progress, connection));
            }
            // The connection is looked at again when the gathered answers are out.
            _ if connection.has_gathered() => {}
            Ok(None) => connection.wait_for_seat(shared, now),
            Err(why) => connection.put_off(why, shared, now),
        }
        self.spare = Some(call);
        None
    }

    /// The call is done with, or waits in its connection. Gives when the application was done.
    fn settle(&mut self, mut call: Box<Call>, progress: Poll<()>, connection: &mut Connection) -> Instant {
        self.score.end();
        let answered = call.answered;
        if call.leaves() {
            // The connection is the application's, and whoever runs this sees to that.
            connection.call = Some(call);
        } else if progress.is_pending() {
            connection.wait_with(call, &self.shared, Instant::now());
        } else {
            call.finish(connection);
            if !call.is_spoiled() {
                self.spare = Some(call);
            }
        }
        answered
    }
}
