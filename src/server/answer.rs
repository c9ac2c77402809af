//! What a thread does for a connection: it answers the requests that have arrived, or goes on with the call that waits there.
//!
//! docs/rules.md P-CONN-01 to P-CONN-04. Answers to pipelined requests are gathered into one write as long as the application is known to be
//! quick, so that none of them waits long for the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::{Call, Produced};
use super::connection::Connection;
use super::send::Flushed;
use super::shared::Shared;
use crate::door::Room;
use crate::log::Score;

/// How many answers to pipelined requests go into one write at most.
const GATHERED: usize = 32;

/// The calls of one thread, one after the other.
pub(super) struct Calls {
    shared: Arc<Shared>,
    /// The call that was done with last, for the next request; gathered answers are in it.
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
            call.response().waits_in_connection = false;
            self.score.begin(now, &call.environ);
            let produced = call.go_on(connection);
            return self.settle(call, produced, connection, now).0;
        }
        let (mut lasted, mut has_gathered) = (Duration::ZERO, false);
        for _ in 0..GATHERED {
            let Some((took, is_gathered)) = self.answer(connection, now + lasted, gathers, has_gathered) else { break };
            lasted += took;
            if !is_gathered {
                return lasted;
            }
            has_gathered = true;
        }
        if has_gathered {
            self.send_gathered(connection);
        }
        lasted
    }

    /// Answers one request. Gives the time that it took, and whether the answer is gathered; `None` where there is no request, or where
    /// gathered answers must go out before it.
    fn answer(
        &mut self,
        connection: &mut Connection,
        now: Instant,
        gathers: bool,
        has_gathered: bool,
    ) -> Option<(Duration, bool)> {
        if self.shared.is_over() {
            // The grace of a stop is over: what is looked at next ends.
            return None;
        }
        let mut call = self.spare.take().unwrap_or_else(|| Box::new(Call::new(&self.shared)));
        let Calls { shared, room, .. } = self;
        let ready = connection.examine(&shared.policy, room).map(|(request, facts)| {
            let is_here = facts.is_all_here(connection.buffer.len());
            // It waits without a thread for its turn to be waited for in one.
            let seat = if is_here || has_gathered { None } else { shared.seats.try_take() };
            let begins = is_here || seat.is_some();
            if begins {
                call.fill(&request, connection);
            }
            (facts, seat, begins)
        });
        match ready {
            Ok((facts, seat, true)) => {
                connection.queued = None;
                let gathers = gathers && seat.is_none();
                self.score.begin(now, &call.environ);
                let produced = call.start(connection, facts, seat, gathers, now);
                return Some(self.settle(call, produced, connection, now));
            }
            // The connection is looked at again when the gathered answers are out.
            _ if has_gathered => {}
            Ok(_) => connection.wait_in_line(now),
            Err(why) => connection.put_off(why, shared, now),
        }
        self.spare = Some(call);
        None
    }

    /// The call is done with, or waits in its connection. Gives the time that it took, and whether its answer is gathered.
    fn settle(
        &mut self,
        mut call: Box<Call>,
        produced: Produced,
        connection: &mut Connection,
        begin: Instant,
    ) -> (Duration, bool) {
        self.score.end();
        let lasted = call.answered.saturating_duration_since(begin);
        if call.leaves() {
            // The connection is the application's, and whoever runs this sees to that.
            connection.call = Some(call);
            return (lasted, false);
        }
        if produced == Produced::Waits {
            connection.wait_with(call, &self.shared, Instant::now());
            return (lasted, false);
        }
        let after = call.finish(connection);
        let is_gathered = after.is_gathered;
        connection.finish_call(after, &self.shared, call.answered);
        if !call.is_spoiled() {
            self.spare = Some(call);
        }
        (lasted, is_gathered)
    }

    /// Sends what was gathered; what the client does not take at once stays with the connection.
    fn send_gathered(&self, connection: &mut Connection) {
        let Some(call) = &self.spare else { return };
        let mut response = call.response();
        match response.queue.flush(&connection.socket) {
            Ok(Flushed::Whole) => {}
            Ok(_) => connection.send_first(std::mem::take(&mut response.queue), &self.shared, Instant::now()),
            Err(_) => {
                response.queue.clear();
                connection.socket.shutdown(std::net::Shutdown::Both);
            }
        }
    }
}
