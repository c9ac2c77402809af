//! What a thread does for a connection: it answers the requests that have arrived, or goes on with the call that waits there.
//!
//! docs/rules.md P-CONN-01 to P-CONN-04. Answers to pipelined requests are gathered into one write as long as the application is known to be
//! quick, so that none of them waits long for the next.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::call::Call;
use super::connection::Connection;
use super::shared::Shared;
use crate::door::Room;
use crate::log::Score;

/// How many answers to pipelined requests go into one write at most.
const GATHERED: usize = 32;

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

    /// Does what a connection needs a thread for. Gives the time that the application took.
    pub(super) fn run(&mut self, connection: &mut Connection, now: Instant, gathers: bool) -> Duration {
        if let Some(mut call) = connection.call.take() {
            self.score.begin(now, &call.environ);
            let progress = call.go_on(connection);
            return self.settle(call, progress, connection, now);
        }
        let mut lasted = Duration::ZERO;
        for _ in 0..GATHERED {
            let Some(took) = self.answer(connection, now + lasted, gathers) else { break };
            lasted += took;
            if !connection.has_gathered() {
                return lasted;
            }
        }
        if connection.has_gathered() {
            connection.send_gathered(&self.shared, Instant::now());
        }
        lasted
    }

    /// Answers one request. Gives the time that it took; `None` where there is no request, or where gathered answers must go out before it.
    fn answer(&mut self, connection: &mut Connection, now: Instant, gathers: bool) -> Option<Duration> {
        if self.shared.is_over() {
            // The grace of a stop is over: what is looked at next ends.
            return None;
        }
        let mut call = self.spare.take().unwrap_or_else(|| Box::new(Call::new(&self.shared)));
        let Calls { shared, room, .. } = self;
        let ready = connection.examine(&shared.policy, room).map(|(request, facts)| {
            let is_here = facts.is_all_here(connection.buffer.len());
            // It waits without a thread for its turn to be waited for in one.
            let seat = if is_here || connection.has_gathered() { None } else { shared.seats.try_take() };
            let begins = is_here || seat.is_some();
            if begins {
                call.fill(&request, facts, seat, connection);
            }
            begins
        });
        match ready {
            Ok(true) => {
                connection.queued = None;
                self.score.begin(now, &call.environ);
                let progress = call.start(connection, gathers, now);
                return Some(self.settle(call, progress, connection, now));
            }
            // The connection is looked at again when the gathered answers are out.
            _ if connection.has_gathered() => {}
            Ok(false) => connection.wait_in_line(now),
            Err(why) => connection.put_off(why, shared, now),
        }
        self.spare = Some(call);
        None
    }

    /// The call is done with, or waits in its connection. Gives the time that it took.
    fn settle(
        &mut self,
        mut call: Box<Call>,
        progress: Poll<()>,
        connection: &mut Connection,
        begin: Instant,
    ) -> Duration {
        self.score.end();
        let lasted = call.answered.saturating_duration_since(begin);
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
        lasted
    }
}
