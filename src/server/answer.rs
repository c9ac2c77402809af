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

/// How many answers to pipelined requests go into one write at most.
const GATHERED: usize = 32;

/// The calls of one thread, one after the other.
pub(super) struct Calls {
    shared: Arc<Shared>,
    call: Box<Call>,
    /// One that is done with, for when the present one waits in its connection.
    spare: Option<Box<Call>>,
    room: Room,
    pub(super) scratch: Vec<u8>,
}

impl Calls {
    pub(super) fn new(shared: &Arc<Shared>) -> Calls {
        Calls {
            shared: Arc::clone(shared),
            call: Box::new(Call::new(shared)),
            spare: None,
            room: Room::default(),
            scratch: Vec::new(),
        }
    }

    /// Does what a connection needs a thread for. Gives the time that the application took.
    pub(super) fn run(&mut self, connection: &mut Connection, now: Instant, gathers: bool) -> Duration {
        if let Some(call) = connection.call.take() {
            self.spare = Some(std::mem::replace(&mut self.call, call));
            let produced = self.call.go_on(connection);
            let lasted = self.call.answered.saturating_duration_since(now);
            self.settle(produced, connection);
            return lasted;
        }
        let mut lasted = Duration::ZERO;
        for _ in 0..GATHERED {
            let Some(took) = self.answer(connection, now + lasted, gathers) else { break };
            lasted += took;
            if !self.has_gathered() {
                return lasted;
            }
        }
        self.send_gathered(connection);
        lasted
    }

    /// Answers one request. `None` where there is none, or where gathered answers must go out before it.
    fn answer(&mut self, connection: &mut Connection, now: Instant, gathers: bool) -> Option<Duration> {
        let has_gathered = self.has_gathered();
        if self.shared.is_over() {
            // The grace of a stop is over: what is looked at next ends.
            return None;
        }
        let Calls { shared, call, room, .. } = self;
        let ready = connection.examine(&shared.policy, room).map(|(request, facts)| {
            let is_here = facts.is_all_here(connection.buffer.len());
            // It waits without a thread for its turn to be waited for in one.
            let seat = if is_here { None } else { shared.seats.try_take() };
            let begins = if has_gathered { is_here } else { is_here || seat.is_some() };
            if begins {
                call.fill(&request, connection);
            }
            (facts, seat, begins)
        });
        match ready {
            Ok((facts, seat, true)) => {
                connection.queued = None;
                let gathers = gathers && seat.is_none();
                let produced = call.start(connection, facts, seat, gathers, now);
                let lasted = call.answered.saturating_duration_since(now);
                self.settle(produced, connection);
                return Some(lasted);
            }
            // The connection is looked at again when the gathered answers are out.
            _ if has_gathered => {}
            Ok((_, _, false)) => connection.wait_in_line(now),
            Err(why) => connection.put_off(why, shared, now),
        }
        None
    }

    /// The call is done with, or waits in its connection.
    fn settle(&mut self, produced: Produced, connection: &mut Connection) {
        match produced {
            Produced::All => {
                let after = self.call.finish(connection);
                connection.finish_call(after, &self.shared, self.call.answered);
                if self.call.is_spoiled() {
                    *self.call = Call::new(&self.shared);
                }
            }
            Produced::Waits => {
                let spare = self.spare.take().unwrap_or_else(|| Box::new(Call::new(&self.shared)));
                let call = std::mem::replace(&mut self.call, spare);
                let now = Instant::now();
                connection.wait_with(call, &self.shared, now);
            }
        }
    }

    /// Whether answers are gathered that have not been sent.
    fn has_gathered(&self) -> bool {
        !self.call.response().queue.is_empty()
    }

    /// Sends what was gathered; what the client does not take at once stays with the connection.
    fn send_gathered(&mut self, connection: &mut Connection) {
        let mut response = self.call.response();
        match response.queue.flush(&connection.socket) {
            Ok(Flushed::Whole) => {}
            Ok(Flushed::Partly(_) | Flushed::Turn) => {
                let queue = std::mem::take(&mut response.queue);
                drop(response);
                connection.send_first(queue, &self.shared, Instant::now());
            }
            Err(_) => {
                response.queue.clear();
                connection.socket.shutdown(std::net::Shutdown::Both);
            }
        }
    }
}
