//! Rounds of looks at the quiet connections of a shard, and its rests on the [`bell`](crate::server::bell) behind them.
//!
//! In a round a peek at each tells who has something to say, and nobody else is moved. Without a bell a round follows the other after the longest
//! time between two looks. With one the shard *rests* behind a round: everybody was looked at since the bell said something, so as long as it says
//! the same nobody need be looked at again. The monitor ends a rest when it says something else, and if nothing is hot a round begins. That is paid
//! for by the time that passes: in the long run no more rounds begin so than without a bell, however often it rings.
//!
//! A segment is counted a moment before its socket has it, so a look behind a ring may come too early: the first rest is as short as if there were
//! no bell. A round that finds the bell silent begins a long one, and what the next finds though it still is proves the bell wrong.
//!
//! Thousands of peeks take milliseconds. So a round is made of pieces: whoever has something, is brought, is hot or due waits for
//! [`LOOKS`] of them.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Shard, State};
use crate::cause::Cause;
use crate::server::settings::SELDOM;
use crate::server::shared::Shared;

/// So many looks of a round go into one sweep that has something else to do. Each takes a tenth of a request's time.
const LOOKS: usize = 16;

/// When rounds begin, and how far one has come.
#[derive(Default)]
pub(super) struct Rounds {
    /// When a ring may begin the next at the earliest, the longer ago the more was spared; and when it begins in any case.
    pub(super) earliest: Option<Instant>,
    latest: Option<Instant>,
    /// Whether the bell was silent before the last.
    was_silent: bool,
    pub(super) under_way: Option<Round>,
}

pub(super) struct Round {
    /// What the bell had said before the first look, and whether it had said the same before the last round.
    heard: usize,
    is_silent: bool,
    /// The last that was parked before that: who was parked behind it was looked at since.
    parked: usize,
    /// Whether somebody had something to say.
    speaks: bool,
    /// Who was looked at last, of the cold and of the quiet.
    behind: [Option<(Instant, usize)>; 2],
}

impl State {
    /// When the next round begins, if there is anybody for it, or a rest to be ended. The bell always rings where something is hot.
    pub(super) fn round_due(&self, shard: &Shard, now: Instant) -> Option<Instant> {
        let rests = shard.rests_on() != 0;
        let due = if rests || !self.hot.is_empty() { self.rounds.latest } else { self.rounds.earliest };
        (rests || !self.quiet.is_empty()).then(|| due.unwrap_or(now))
    }

    /// Looks at everybody who waits for a client, when it is time: peeks at the idle ones, so that nothing of them changes. Those that have
    /// something are hot then, those whose look is another, and all that sleepers are free for. What is not done when something else is to be is
    /// left to the next sweep, if that `may_wait`. Tells whether there is something to do now that was not there before.
    pub(super) fn go_round(&mut self, shard: &Shard, shared: &Shared, now: Instant, may_wait: bool) -> bool {
        if shard.rests_on() == 0 {
            // Of a long rest that has ended before its time.
            self.rounds.latest = self.rounds.latest.min(Some(now + self.longest()));
        }
        let is_due = self.round_due(shard, now).is_some_and(|due| due <= now);
        let under_way = self.rounds.under_way.take();
        let round = under_way.or_else(|| is_due.then(|| self.begin_round(shard, shared)));
        let Some(mut round) = round else { return false };
        let was_busy = self.hot.len() + self.ready.len() + self.begun.len() > 0;
        // One that is cold may be due meanwhile.
        let has_others = was_busy || !self.cold.is_empty();
        let may_sleep = self.quiet.len() <= shared.sleepers.free();
        let (mut is_whole, mut looks, mut wanted) = (true, 0, Vec::new());
        for (parked, behind) in [&mut self.cold, &mut self.quiet].into_iter().zip(&mut round.behind) {
            for (key, connection) in parked.range((behind.map_or(Unbounded, Excluded), Unbounded)) {
                let has_else = || has_others || self.hot.len() + wanted.len() > 0 || shard.has_mail();
                if !is_whole || may_wait && looks >= LOOKS && has_else() {
                    is_whole = false;
                    break;
                }
                (*behind, looks) = (Some(*key), looks + 1);
                let was_looked_at = key.1.wrapping_sub(round.parked).wrapping_sub(1) < usize::MAX / 2;
                if !was_looked_at && connection.waits_for_client() {
                    let says = connection.is_idle() && connection.socket.wait_to_read();
                    round.speaks |= says;
                    if says || may_sleep || !connection.is_idle() {
                        wanted.push(*key);
                    }
                }
            }
            self.hot.extend(wanted.drain(..).filter_map(|key| parked.remove(&key)));
        }
        if is_whole {
            self.end_round(&round, shard, shared, now);
        } else {
            self.rounds.under_way = Some(round);
        }
        !was_busy && (!self.hot.is_empty() || shard.has_mail())
    }

    fn begin_round(&self, shard: &Shard, shared: &Shared) -> Round {
        // Before the looks, so that what comes after one makes the bell say something else.
        let heard = shared.bell.listen();
        let rested_on = shard.rests_on.swap(0, Ordering::SeqCst);
        let is_silent = heard != 0 && heard == rested_on;
        Round { heard, is_silent, parked: self.parked, speaks: false, behind: [None; 2] }
    }

    fn end_round(&mut self, round: &Round, shard: &Shard, shared: &Shared, now: Instant) {
        if round.speaks && round.is_silent && self.rounds.was_silent && shared.bell.has_missed(round.heard) {
            shared.report(Cause::BellWrong, "");
        }
        // The bell says nothing of Unix sockets, which have no address.
        let may_rest = self.quiet.values().all(|connection| connection.peer.address.is_some());
        let rests_on = if may_rest && !self.quiet.is_empty() { round.heard } else { 0 };
        let longest = self.longest();
        let rounds = &mut self.rounds;
        rounds.latest = Some(now + if round.is_silent { SELDOM } else { longest });
        // Of what a rest has spared no more is made up for than this.
        let price = if round.is_silent { Duration::ZERO } else { longest };
        let paid = rounds.earliest.max(now.checked_sub(SELDOM)).unwrap_or(now) + price;
        rounds.earliest = if rests_on == 0 { rounds.latest } else { Some(paid) };
        rounds.was_silent = round.is_silent;
        if rests_on != 0 {
            shard.rests_on.store(rests_on, Ordering::SeqCst);
            shared.monitor.notice();
        }
    }
}

/// With a bell of the test's, and a clock of the test's.
#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::cell::Cell;
    use std::io::{self, Write};
    use std::net::TcpStream;
    use std::sync::Arc;

    use super::*;
    use crate::door::Peer;
    use crate::log::Lines;
    use crate::server::answer::Calls;
    use crate::server::bell::Bell;
    use crate::server::bell::tests::Counter;
    use crate::server::settings::{LONGEST, LONGEST_EACH, SLEEPER_STACK, Settings};
    use crate::server::shard::Found;
    use crate::server::shard::tests::{clients, hello};
    use crate::server::sleepers::Sleepers;

    /// A shard with connections that have been quiet for long.
    struct Quiet<const COUNT: usize> {
        shared: Arc<Shared>,
        shard: Arc<Shard>,
        now: Instant,
        clients: [TcpStream; COUNT],
    }

    impl<const COUNT: usize> Quiet<COUNT> {
        fn new(bell: Bell) -> Quiet<COUNT> {
            let first_byte_deadline = Duration::from_secs(3_600);
            let settings = Settings { sleepers: 0, first_byte_deadline, ..Settings::default() };
            let mut shared = Shared::new(settings, Box::new(hello), Arc::new(Lines::errors(io::sink())));
            shared.bell = bell;
            let shard = Arc::new(Shard::default());
            let clients = clients::<COUNT>(&shared, "").map(|(client, connection)| {
                shard.deliver(connection);
                client
            });
            Quiet { shared: Arc::new(shared), shard, now: Instant::now() + Duration::from_secs(5), clients }
        }

        /// Lets so much time pass as the worker would sleep for at most, and sweeps.
        fn sweep(&mut self, passes: Duration) -> Found {
            self.now += passes;
            self.shard.sweep(None, &self.shared, self.now, None)
        }

        /// The monitor listens.
        fn listen(&self) {
            self.shard.ring(self.shared.bell.listen());
        }

        /// The bell says something else, and the monitor hears it.
        fn ring(&self, counter: &Counter, segments: usize) {
            counter.says(segments);
            self.listen();
        }

        /// How many looks so many milliseconds take, if this is done at every one of them.
        fn looks(&mut self, milliseconds: u32, mut every: impl FnMut(&Self)) -> usize {
            let (parked, mut rounds) = (self.shard.lock().parked, 0);
            for _ in 0..milliseconds {
                every(self);
                let before = self.shard.lock().rounds.latest;
                assert!(matches!(self.sweep(Duration::from_millis(1)), Found::Nothing(_)));
                rounds += usize::from(self.shard.lock().rounds.latest != before);
            }
            rounds * COUNT + self.shard.lock().parked - parked
        }

        /// Rests for long: until long after the bell has been silent for two rounds.
        fn come_to_rest(&mut self) {
            self.looks(100, Self::listen);
            assert!(self.shard.rests_on() != 0 && self.shard.lock().rounds.was_silent);
        }

        fn make_one_hot(&mut self) {
            let mut state = self.shard.lock();
            let mut hot = state.quiet.pop_last().unwrap().1;
            hot.since = self.now;
            state.hot.push_back(hot);
        }

        fn speak(&mut self) {
            self.clients[0].write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        }

        fn wrong(&self) -> u64 {
            self.shared.counters.read(&self.shared.places.phases).count(Cause::BellWrong)
        }
    }

    /// Whoever else is sent something in this system must not make a server look without end.
    #[test]
    fn rings_without_end_cause_no_more_looks_than_there_are_without_a_bell_and_were_spared() {
        let (counter, segments) = (Counter::new("often"), Cell::new(10_000));
        let bell = counter.bell();
        assert!(bell.has_missed(10_000), "it is none");
        let without = Quiet::<3>::new(bell).looks(10_000, |_| {});
        let mut quiet = Quiet::<3>::new(counter.bell());
        let mut others = |quiet: &Quiet<3>| {
            segments.set(segments.get() + 1);
            quiet.ring(&counter, segments.get());
        };
        let in_turn = |time: Duration| 3 * (time.as_millis() / LONGEST.0.as_millis()) as usize;
        assert!(without <= in_turn(Duration::from_secs(10)) + 9, "{without}");
        for _ in 0..2 {
            for spared in [in_turn(SELDOM), 0] {
                let with = quiet.looks(10_000, &mut others);
                let most = without + spared + 9;
                assert!(with > without / 2 && with <= most, "{with} with a bell, {without} without");
            }
            let silent = quiet.looks(10_000, Quiet::listen);
            assert!(silent <= 3 * (10 / SELDOM.as_secs() as usize + 2), "{silent} in silence");
        }
    }

    #[test]
    fn a_round_moves_only_those_that_have_something_and_costs_a_time_that_is_due_to_so_many() {
        const COUNT: usize = 220;
        let counter = Counter::new("many");
        let mut quiet = Quiet::<COUNT>::new(counter.bell());
        quiet.come_to_rest();
        let parked = quiet.shard.lock().parked;
        quiet.speak();
        quiet.ring(&counter, 10_001);
        assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Nothing(Some(Duration::ZERO))));
        let state = quiet.shard.lock();
        assert_eq!((state.hot.len(), state.quiet.len(), state.parked), (1, COUNT - 1, parked));
        assert!(state.longest() == LONGEST_EACH * COUNT as u32 && state.longest() > LONGEST.0);
        drop(state);
        assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Job(_)));
    }

    /// What is hot when a round begins, and how many sweeps go by until that ends: each serves it.
    fn sweeps_beside<const COUNT: usize>(quiet: &mut Quiet<COUNT>) -> usize {
        let (mut calls, now, mut sweeps) = (Calls::new(&quiet.shared), quiet.now + SELDOM, 0);
        let mut busy = quiet.shard.lock().quiet.pop_last().unwrap().1;
        loop {
            quiet.clients[COUNT - 1].write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let found = quiet.shard.sweep(Some(busy), &quiet.shared, now, None);
            let Found::Job(mut job) = found else { panic!("it is not served") };
            calls.run(&mut job, now);
            (busy, sweeps) = (job, sweeps + 1);
            if quiet.shard.lock().rounds.under_way.is_none() {
                return sweeps;
            }
        }
    }

    #[test]
    fn a_round_of_many_keeps_nobody_waiting_who_has_something_to_do() {
        const COUNT: usize = 5 * LOOKS + 2;
        let mut quiet = Quiet::<COUNT>::new(Counter::new("pieces").bell());
        quiet.come_to_rest();
        assert_eq!(sweeps_beside(&mut quiet), COUNT.div_ceil(LOOKS));
        // The monitor, which serves nobody, does it in one.
        quiet.now += 2 * SELDOM;
        quiet.make_one_hot();
        let all = quiet.shard.sweep(None, &quiet.shared, quiet.now, Some(1));
        assert!(matches!(all, Found::Alone(..)) && quiet.shard.lock().rounds.under_way.is_none());
    }

    #[test]
    fn a_round_ends_though_some_of_those_it_meets_are_parked_behind_it_again() {
        const COUNT: usize = 2 * LOOKS;
        let mut quiet = Quiet::<COUNT>::new(Counter::new("again").bell());
        quiet.come_to_rest();
        // Slow heads: a look at them is a read.
        for client in &mut quiet.clients[..LOOKS] {
            client.write_all(b"GET").unwrap();
        }
        let (mut calls, mut passes) = (Calls::new(&quiet.shared), SELDOM);
        for _ in 0..5_000 {
            quiet.listen();
            match quiet.sweep(std::mem::take(&mut passes)) {
                Found::Job(mut job) => {
                    // What it is cannot be told before it is read.
                    calls.run(&mut job, quiet.now);
                    quiet.shard.deliver(job);
                }
                Found::Alone(connection, _) => quiet.shard.deliver(connection),
                Found::Nothing(_) => passes = Duration::from_millis(1),
            }
        }
        assert_eq!(quiet.shard.lock().all().filter(|connection| !connection.is_idle()).count(), LOOKS);
        // One that was served just now is hot, and says nothing.
        quiet.now += SELDOM;
        quiet.make_one_hot();
        quiet.sweep(Duration::ZERO);
        let mut sweeps = 1;
        while quiet.shard.lock().rounds.under_way.is_some() {
            quiet.sweep(Duration::ZERO);
            sweeps += 1;
            assert!(sweeps <= 2 * COUNT / LOOKS, "it goes on");
        }
        assert!(sweeps > 1);
    }

    #[test]
    fn a_limit_closes_those_that_are_left_to_the_rounds_and_nobody_rests_for_nobody() {
        let mut quiet = Quiet::<2>::new(Counter::new("limit").bell());
        quiet.come_to_rest();
        let mut state = quiet.shard.lock();
        let mut close = || state.close_one(Cause::ConnectionLimit, |_| true, &quiet.shared);
        assert_eq!([close(), close(), close()], [true, true, false]);
        drop(state);
        assert!(quiet.shard.rests_on() != 0 && matches!(quiet.sweep(SELDOM), Found::Nothing(None)));
        assert_eq!(quiet.shard.rests_on(), 0);
    }

    #[test]
    fn a_sleeper_that_is_free_again_has_a_connection_that_was_left_to_the_rounds_and_says_nothing() {
        let mut quiet = Quiet::<2>::new(Counter::new("free").bell());
        quiet.come_to_rest();
        for (sleepers, slept_on) in [(1, 0), (2, 2)] {
            Arc::get_mut(&mut quiet.shared).unwrap().sleepers = Sleepers::new(sleepers, SLEEPER_STACK);
            quiet.sweep(SELDOM);
            quiet.sweep(Duration::from_millis(1));
            let state = quiet.shard.lock();
            assert_eq!((state.called.len(), state.quiet.len()), (slept_on, 2 - slept_on));
        }
    }

    #[test]
    fn a_shard_with_something_hot_goes_its_rounds_as_if_nothing_had_rung_and_begins_one_when_that_is_cold() {
        let counter = Counter::new("hot");
        let mut quiet = Quiet::<2>::new(counter.bell());
        quiet.come_to_rest();
        let mut busy = quiet.shard.lock().quiet.pop_first().unwrap().1;
        busy.since = quiet.now;
        let latest = quiet.shard.lock().rounds.latest;
        quiet.ring(&counter, 10_001);
        let sweep = |busy| quiet.shard.sweep(Some(busy), &quiet.shared, quiet.now, None);
        let Found::Alone(busy, due) = sweep(busy) else { panic!("a round was begun") };
        assert!(due == Some(quiet.now + LONGEST.0) && due < latest, "and not at the end of the rest");
        let Found::Alone(..) = sweep(busy) else { panic!("a round was begun") };
        assert!(quiet.shard.rests_on() == 0 && quiet.shard.lock().rounds.earliest < Some(quiet.now));
        assert!(matches!(quiet.sweep(Duration::ZERO), Found::Nothing(_)));
        assert_eq!(quiet.shard.rests_on(), 10_001);
    }

    #[test]
    fn a_segment_behind_a_round_ends_the_rest() {
        let counter = Counter::new("behind");
        let mut quiet = Quiet::<1>::new(counter.bell());
        quiet.come_to_rest();
        counter.says(10_001);
        quiet.speak();
        assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Nothing(_)), "nobody has told it");
        quiet.listen();
        assert!(quiet.shard.rests_on() == 0 && quiet.shard.has_mail());
        assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Nothing(Some(Duration::ZERO))));
        assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Job(_)));
    }

    /// The system counts first, and may be kept from the rest for a while.
    #[test]
    fn a_segment_that_is_counted_before_its_socket_has_it_is_found_soon_and_proves_nothing() {
        let counter = Counter::new("early");
        let mut quiet = Quiet::<1>::new(counter.bell());
        quiet.come_to_rest();
        quiet.ring(&counter, 10_001);
        assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Nothing(Some(_))));
        assert_eq!(quiet.shard.rests_on(), 10_001, "it was looked at");
        quiet.speak();
        quiet.listen();
        assert!(matches!(quiet.sweep(LONGEST.0), Found::Nothing(Some(Duration::ZERO))));
        assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Job(_)));
        assert_eq!(quiet.wrong(), 0);
    }

    #[test]
    fn what_is_found_though_the_bell_was_silent_for_two_rounds_proves_it_wrong() {
        let counter = Counter::new("wrong");
        let mut quiet = Quiet::<1>::new(counter.bell());
        quiet.come_to_rest();
        quiet.speak();
        quiet.listen();
        assert!(matches!(quiet.sweep(SELDOM), Found::Nothing(Some(Duration::ZERO))));
        assert_eq!((quiet.wrong(), quiet.shared.bell.listen()), (1, 0));
        assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Job(_)));
    }

    #[test]
    fn a_deadline_is_kept_though_the_shard_rests_and_nobody_rests_beside_a_unix_socket() {
        let counter = Counter::new("others");
        let mut quiet = Quiet::<2>::new(counter.bell());
        quiet.come_to_rest();
        let mut connection = quiet.shard.lock().quiet.pop_first().unwrap().1;
        connection.deadline = quiet.now + Duration::from_millis(500);
        connection.place = Some(quiet.shared.places.take());
        quiet.shard.deliver(connection);
        for passed in 0..500 {
            assert_eq!(quiet.shared.places.open(), 1, "{passed}");
            quiet.sweep(Duration::from_millis(1));
        }
        assert_eq!(quiet.shared.places.open(), 0);
        // As over a Unix socket.
        let mut state = quiet.shard.lock();
        let mut connection = state.quiet.pop_first().unwrap().1;
        connection.peer = Peer::default();
        state.hot.push_back(connection);
        drop(state);
        let looks = quiet.looks(10_000, Quiet::listen);
        let most = 2 * 10_000 / LONGEST.0.as_millis() as usize;
        assert!(looks > most / 2 && looks < most + 9 && quiet.shard.rests_on() == 0, "{looks}");
    }
}
