//! What a thread does for a connection: it answers the requests that have arrived, or goes on with the call that waits there.
//!
//! docs/rules.md P-CONN-01 to P-CONN-04. Answers to pipelined requests wait for each other and go in one write; should the next
//! call last, the monitor sends what waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::Call;
use super::connection::Connection;
use super::failure::Failure;
use super::shared::Shared;
use crate::door::Room;
use crate::log::Score;

/// How many answers to pipelined requests go into one write at most.
pub(super) const PIPELINED: usize = 32;

/// The calls of one thread, one after the other.
pub(super) struct Calls {
    shared: Arc<Shared>,
    /// The call that was done with last, for the next request.
    spare: Option<Box<Call>>,
    room: Room,
    /// What this thread is called for, and has answered.
    pub(super) score: Arc<Score>,
}

impl Calls {
    pub(super) fn new(shared: &Arc<Shared>) -> Calls {
        let score = shared.counters.scoreboard.score();
        Calls { shared: Arc::clone(shared), spare: None, room: Room::default(), score }
    }

    /// Does what a connection needs a thread for. Gives how long that took the application.
    pub(super) fn run(&mut self, connection: &mut Connection, mut now: Instant) -> Duration {
        // It waits no longer, and could not be closed for what it holds.
        connection.hold(0);
        let begin = now;
        if let Some(call) = connection.call.take() {
            now = self.work(call, Call::go_on, connection, now);
        } else {
            for _ in 0..PIPELINED {
                let Some(answered) = self.answer(connection, now) else { break };
                now = answered;
                if connection.queue.is_empty() {
                    break;
                }
            }
        }
        now.saturating_duration_since(begin)
    }

    /// Answers one request. Gives until when that took the application; `None` where there is no request, or where answers that wait must go out before it.
    fn answer(&mut self, connection: &mut Connection, now: Instant) -> Option<Instant> {
        let mut call = self.spare.take().unwrap_or_else(|| Box::new(Call::new(&self.shared, &self.score)));
        match call.begin(connection, &mut self.room, now) {
            Ok(true) => return Some(self.work(call, Call::start, connection, now)),
            // The connection is looked at again when the answers are out.
            _ if !connection.queue.is_empty() => {}
            Ok(false) => connection.wait_for_seat(&self.shared, now),
            Err(why) => connection.put_off(why, &self.shared, now),
        }
        self.spare = Some(call);
        None
    }

    /// Has a call do what it can: it is done with then, or waits in its connection. Gives until when that took the application.
    fn work(
        &mut self,
        mut call: Box<Call>,
        what: impl FnOnce(&mut Call) -> Result<bool, Failure>,
        connection: &mut Connection,
        now: Instant,
    ) -> Instant {
        self.score.begin(now, &call.environ, connection.place.as_ref().map(|place| place.phase));
        let is_done = what(&mut call).unwrap_or_else(|failure| call.fail(failure, connection));
        self.score.end();
        let answered = call.answered;
        if !is_done {
            connection.wait_with(call, &self.shared, Instant::now());
        } else if call.leaves() {
            // The connection is the application's, and whoever runs this sees to that.
            connection.call = Some(call);
        } else {
            call.finish(connection);
            if !call.is_spoiled() {
                self.spare = Some(call);
            }
        }
        answered
    }
}
