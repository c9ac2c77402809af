//! Rounds of looks at the connections of a shard that wait for their clients, and its rests on the [`bell`](crate::server::bell) behind them.
//!
//! In a round a peek at each tells who has something to say, and nobody else is moved. Without a bell a round follows the other after the longest
//! time between two looks. With one the shard *rests* behind a round: everybody was looked at since the bell said something, so as long as it says
//! the same nobody need be looked at again. The monitor ends a rest when it says something else, and if nothing is hot a round begins. That is paid
//! for by the time that passes: in the long run no more rounds begin so than without a bell, however often it rings.
//!
//! A segment is counted a moment before its socket has it, so a look behind a ring may come too early: the first rest is as short as if there were
//! no bell. A round that finds the bell silent begins a long one, and what the next finds though it still is proves the bell wrong.
//!
//! Thousands of peeks take milliseconds. So a round goes on by [`LOOKS`] of them in every sweep: whoever has something, is brought, is hot or due
//! waits for no more.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Shard, State};
use crate::cause::Cause;
use crate::server::settings::SELDOM;
use crate::server::shared::Shared;

/// How many looks go into one sweep. Each takes a tenth of a request's time.
const LOOKS: usize = 16;

/// When rounds begin, and how far one has come.
#[derive(Default)]
pub(super) struct Rounds {
    /// When the last ended.
    last: Option<Instant>,
    /// When a ring may begin the next: the longer ago, the more was spared.
    pub(super) earliest: Option<Instant>,
    /// How many in a row have found the bell silent since the one before.
    silent: u32,
    pub(super) under_way: Option<Round>,
}

pub(super) struct Round {
    /// What the bell had said before the first look.
    heard: usize,
    /// The numbers of those that are still to be looked at. Who is parked later has another.
    left: Range<u64>,
}

impl State {
    /// When the next round begins, if it is for anybody. The bell always rings where something is hot.
    pub(super) fn round_due(&self, shard: &Shard, now: Instant) -> Option<Instant> {
        let Rounds { last, earliest, silent, .. } = self.rounds;
        let rests = shard.rests_on() != 0;
        let time = if rests && silent > 0 { SELDOM } else { self.longest() };
        let due = if rests || !self.hot.is_empty() { last.map(|last| last + time) } else { earliest };
        (self.quiet > 0).then(|| due.unwrap_or(now))
    }

    /// Looks at those who wait for their clients, when it is time: peeks at the idle ones, so that nothing of them changes. Those that have
    /// something are hot then, those whose look is another, and all that sleepers are free for. If it `may_wait` a part of that is left to
    /// the next sweep.
    pub(super) fn go_round(&mut self, shard: &Shard, shared: &Shared, now: Instant, may_wait: bool) {
        let under_way = self.rounds.under_way.take();
        if self.quiet == 0 && shard.rests_on() != 0 {
            // Nobody rests for nobody.
            shard.rests_on.store(0, Ordering::SeqCst);
        }
        let Some(due) = self.round_due(shard, now) else { return };
        let round = under_way.or_else(|| (due <= now).then(|| self.begin_round(shard, shared)));
        let Some(mut round) = round else { return };
        let most = if may_wait { LOOKS } else { usize::MAX };
        let may_sleep = self.quiet <= shared.sleepers.free();
        let (mut looks, mut wanted) = (0, Vec::new());
        for (number, parked) in self.parked.range(round.left.clone()).take(most) {
            (looks, round.left.start) = (looks + 1, number + 1);
            let connection = &parked.connection;
            if parked.due.is_some() && connection.waits_for_client() {
                let says = connection.is_idle() && connection.socket.peek();
                if says && parked.is_quiet && self.rounds.silent > 1 && shared.bell.turns_out_wrong(round.heard) {
                    shared.report(Cause::BellWrong, "");
                }
                if says || may_sleep || !connection.is_idle() {
                    wanted.push(*number);
                }
            }
        }
        wanted.into_iter().for_each(|number| self.make_hot(number));
        if looks == most {
            self.rounds.under_way = Some(round);
        } else {
            self.end_round(round.heard, shard, shared, now);
        }
    }

    fn begin_round(&mut self, shard: &Shard, shared: &Shared) -> Round {
        // Before the looks, so that what comes after one makes the bell say something else.
        let heard = shared.bell.listen();
        let is_silent = shard.rests_on.swap(0, Ordering::SeqCst) == heard && heard != 0;
        self.rounds.silent = if is_silent { self.rounds.silent + 1 } else { 0 };
        Round { heard, left: 0..self.last + 1 }
    }

    fn end_round(&mut self, heard: usize, shard: &Shard, shared: &Shared, now: Instant) {
        let rests = heard != 0 && self.quiet > 0;
        // Of what a rest has spared no more is made up for than this.
        let spared = self.rounds.earliest.max(now.checked_sub(SELDOM)).filter(|_| rests);
        self.rounds.earliest = Some(spared.unwrap_or(now) + self.longest());
        self.rounds.last = Some(now);
        if rests {
            shard.rests_on.store(heard, Ordering::SeqCst);
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
    use std::time::Duration;

    use super::*;
    use crate::door::Peer;
    use crate::log::Lines;
    use crate::server::answer::Calls;
    use crate::server::bell::Bell;
    use crate::server::bell::tests::Counter;
    use crate::server::bounds::Place;
    use crate::server::connection::Connection;
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
            let (parked, mut rounds) = (self.shard.lock().last, 0);
            for _ in 0..milliseconds {
                every(self);
                let before = self.shard.lock().rounds.last;
                assert!(matches!(self.sweep(Duration::from_millis(1)), Found::Nothing(_)));
                rounds += usize::from(self.shard.lock().rounds.last != before);
            }
            rounds * COUNT + (self.shard.lock().last - parked) as usize
        }

        /// Rests for long: until long after the bell has been silent for two rounds.
        fn come_to_rest(&mut self) {
            self.looks(100, Self::listen);
            assert!(self.shard.rests_on() != 0 && self.shard.lock().rounds.silent == 1);
        }

        /// The last of them.
        fn take_one(&self) -> Box<Connection> {
            let mut state = self.shard.lock();
            let number = *state.parked.iter().rfind(|(_, parked)| parked.is_quiet).unwrap().0;
            state.unpark(number).unwrap()
        }

        fn make_one_hot(&mut self) {
            let mut hot = self.take_one();
            hot.since = self.now;
            self.shard.lock().hot.push_back(hot);
        }

        /// How many sweeps a round takes that has begun, what is found aside.
        fn sweeps_to_its_end(&mut self) -> usize {
            let mut sweeps = 0;
            while self.shard.lock().rounds.under_way.is_some() {
                self.sweep(Duration::ZERO);
                sweeps += 1;
                assert!(sweeps < 1_000, "it goes on");
            }
            sweeps
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
        assert!(bell.turns_out_wrong(10_000), "it is none");
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
        let parked = quiet.shard.lock().last;
        let longest = quiet.shard.lock().longest();
        assert!(longest == LONGEST_EACH * COUNT as u32 && longest > LONGEST.0);
        quiet.speak();
        quiet.ring(&counter, 10_001);
        assert!(
            matches!(quiet.sweep(Duration::from_millis(1)), Found::Job(_)),
            "it is served before the rest are looked at"
        );
        assert_eq!(quiet.sweeps_to_its_end(), COUNT / LOOKS);
        let state = quiet.shard.lock();
        assert_eq!((state.hot.len(), state.quiet, state.last), (0, COUNT - 1, parked));
    }

    /// What is hot when a round begins, and how many sweeps go by until that ends: each serves it.
    fn sweeps_beside<const COUNT: usize>(quiet: &mut Quiet<COUNT>) -> usize {
        let (mut calls, now, mut sweeps) = (Calls::new(&quiet.shared), quiet.now + SELDOM, 0);
        let mut busy = quiet.take_one();
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
        assert!(matches!(all, Found::Nothing(_)) && quiet.shard.lock().rounds.under_way.is_none());
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
        assert_eq!(quiet.sweeps_to_its_end(), COUNT / LOOKS - 1);
    }

    #[test]
    fn a_limit_closes_those_that_are_left_to_the_rounds_and_nobody_rests_for_nobody() {
        let mut quiet = Quiet::<2>::new(Counter::new("limit").bell());
        quiet.come_to_rest();
        let mut state = quiet.shard.lock();
        state.close(Cause::ConnectionLimit, |_| true, &quiet.shared);
        assert!(state.all().next().is_none());
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
            assert_eq!((state.parked.len(), state.timers.len(), state.quiet), (2, 2 - slept_on, 2 - slept_on));
        }
    }

    #[test]
    fn a_shard_with_something_hot_goes_its_rounds_as_if_nothing_had_rung_and_begins_one_when_that_is_cold() {
        let counter = Counter::new("hot");
        let mut quiet = Quiet::<2>::new(counter.bell());
        quiet.come_to_rest();
        let mut busy = quiet.take_one();
        busy.since = quiet.now;
        let next = Some(quiet.now + LONGEST.0);
        quiet.ring(&counter, 10_001);
        let sweep = |busy| quiet.shard.sweep(Some(busy), &quiet.shared, quiet.now, None);
        let Found::Alone(busy, due) = sweep(busy) else { panic!("it is not alone") };
        assert!(quiet.shard.rests_on() == 10_001 && due == next, "the last was long ago");
        quiet.ring(&counter, 10_002);
        let Found::Alone(_, due) = sweep(busy) else { panic!("it is not alone") };
        assert!(quiet.shard.rests_on() == 0 && due == next, "a round was begun");
        assert!(matches!(quiet.sweep(Duration::ZERO), Found::Nothing(_)));
        assert_eq!(quiet.shard.rests_on(), 10_002);
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
        assert!(matches!(quiet.sweep(LONGEST.0), Found::Job(_)));
        assert_eq!(quiet.wrong(), 0);
    }

    #[test]
    fn what_is_found_though_the_bell_was_silent_for_two_rounds_proves_it_wrong() {
        let counter = Counter::new("wrong");
        let mut quiet = Quiet::<1>::new(counter.bell());
        quiet.come_to_rest();
        quiet.speak();
        quiet.listen();
        assert!(matches!(quiet.sweep(SELDOM), Found::Job(_)));
        assert_eq!((quiet.wrong(), quiet.shared.bell.listen()), (1, 0));
    }

    #[test]
    fn a_deadline_is_kept_though_the_shard_rests() {
        let counter = Counter::new("others");
        let mut quiet = Quiet::<2>::new(counter.bell());
        quiet.come_to_rest();
        let mut connection = quiet.take_one();
        connection.deadline = quiet.now + Duration::from_millis(500);
        connection.place = Some(Place::new(&quiet.shared.places));
        quiet.shard.deliver(connection);
        for passed in 0..500 {
            assert_eq!(quiet.shared.open(), 1, "{passed}");
            quiet.sweep(Duration::from_millis(1));
        }
        assert_eq!(quiet.shared.open(), 0);
    }

    #[test]
    fn a_unix_socket_is_looked_at_in_turn_though_the_others_rest_and_proves_nothing_about_the_bell() {
        let counter = Counter::new("unix");
        let mut quiet = Quiet::<2>::new(counter.bell());
        quiet.come_to_rest();
        let mut unix = quiet.take_one();
        unix.peer = Peer::default();
        quiet.shard.deliver(unix);
        let looks = quiet.looks(10_000, Quiet::listen);
        let in_turn = 10_000 / LONGEST.0.as_millis() as usize;
        assert!((in_turn - 9..in_turn + 20).contains(&looks) && quiet.shard.rests_on() != 0, "{looks}");
        // Found by a round that goes before its turn.
        quiet.clients[1].write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(matches!(quiet.sweep(SELDOM), Found::Job(_)) && quiet.shard.lock().rounds.silent > 1);
        assert_eq!((quiet.wrong(), quiet.shared.bell.listen()), (0, 10_000));
    }
}
