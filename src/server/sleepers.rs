//! Threads that each block on one idle connection, so that nobody looks at it meanwhile and its client is answered at once.
//!
//! The system's `poll` is out of reach of std, a blocking `peek` is not. A sleeper has a small stack and nothing of a connection but its
//! socket: the connection stays in its shard, which closes it by limits and at a stop like every other. It is woken by its number when
//! something has arrived, when its deadline has come, and when its socket was shut down.
//!
//! Where there are more quiet connections than sleepers, those that spoke last have them, for a turn: whoever has been quiet for long is likely to
//! be so for longer. With pauses as they are when people read pages, of 50 connections 24 of 100 that spoke again had one of 32
//! sleepers when each kept its own, and 85 this way; of 200, 3 and 62.
//!
//! Invariants: only the shard changes how the socket waits, before the sleep and after it, so a read of the shard's never blocks and a late
//! peek returns at once. What is handed to a sleeper wakes its connection whatever becomes of it. No thread is started before it is needed; where
//! none can be, the shard goes on looking.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use super::connection::Connection;
use super::settings::{SELDOM, SLEEP};
use super::shard::Shard;
use super::shared::{lock, wait};
use super::socket::Socket;
use crate::gateway::Wake;

/// The sleepers of a server.
pub(super) struct Sleepers {
    stack: usize,
    beds: Mutex<Beds>,
    signal: Condvar,
}

#[derive(Default)]
struct Beds {
    /// None at the end.
    most: usize,
    threads: Vec<JoinHandle<()>>,
    /// How many of them have a connection, or will.
    taken: usize,
    watches: VecDeque<Watch>,
    /// When one was wanted last that was not there.
    refused: Option<Instant>,
}

/// A socket that is to be slept on. Whatever ends that wakes the connection.
struct Watch {
    socket: Arc<Socket>,
    shard: Arc<Shard>,
    number: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        Arc::clone(&self.shard).wake(self.number);
    }
}

impl Sleepers {
    pub(super) fn new(most: usize, stack: usize) -> Arc<Sleepers> {
        let beds = Mutex::new(Beds { most, ..Beds::default() });
        Arc::new(Sleepers { stack, beds, signal: Condvar::new() })
    }

    /// Sleeps on a connection until its deadline, or for a turn, if a sleeper is free and the socket allows it. At the end it is
    /// woken by its number.
    pub(super) fn watch(
        self: &Arc<Sleepers>,
        connection: &Connection,
        now: Instant,
        (shard, number): (&Arc<Shard>, u64),
    ) -> bool {
        let mut beds = lock(&self.beds);
        let is_crowded = beds.refused.is_some_and(|last| now.saturating_duration_since(last) < 2 * SELDOM);
        let is_old = is_crowded && now.saturating_duration_since(connection.since) > SLEEP;
        if beds.taken >= if is_old { beds.most / 2 } else { beds.most } {
            beds.refused = if is_old { beds.refused } else { Some(now) };
            return false;
        }
        let left = connection.deadline.saturating_duration_since(now);
        let is_there = beds.taken < beds.threads.len() || self.start(&mut beds);
        let time = if is_crowded { left.min(SLEEP) } else { left };
        if !is_there || connection.socket.set_peeking(time).is_err() {
            return false;
        }
        beds.taken += 1;
        beds.watches.push_back(Watch { socket: Arc::clone(&connection.socket), shard: Arc::clone(shard), number });
        self.signal.notify_one();
        true
    }

    /// How many more connections could be slept on.
    pub(super) fn free(&self) -> usize {
        let beds = lock(&self.beds);
        beds.most.saturating_sub(beds.taken)
    }

    /// Starts one more. If the system does not give it, there are no more than there are.
    fn start(self: &Arc<Sleepers>, beds: &mut Beds) -> bool {
        let (own, started) = (Arc::clone(self), beds.threads.len());
        let thread = Builder::new().name(format!("doorway-sleeper-{started}")).stack_size(self.stack);
        beds.threads.extend(thread.spawn(Box::new(move || own.sleep()) as Box<dyn FnOnce() + Send>));
        beds.most = if beds.threads.len() > started { beds.most } else { started };
        started < beds.most
    }

    /// The life of a sleeper.
    fn sleep(&self) {
        let mut beds = lock(&self.beds);
        while beds.most > 0 {
            let Some(watch) = beds.watches.pop_front() else {
                beds = wait(&self.signal, beds, None);
                continue;
            };
            drop(beds);
            watch.socket.peek();
            drop(watch);
            beds = lock(&self.beds);
            beds.taken -= 1;
        }
    }

    /// Ends every sleeper: no connection is left, so none blocks.
    pub(super) fn close(&self) {
        let mut beds = lock(&self.beds);
        beds.most = 0;
        let threads = std::mem::take(&mut beds.threads);
        drop(beds);
        self.signal.notify_all();
        // Nothing of the application's runs there: none has panicked.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;
    use crate::cause::Cause;
    use crate::door::{Door, Origin, Peer};
    use crate::gateway::{Environ, Gateway, StartResponse, Variables};
    use crate::log::Lines;
    use crate::server::engine::Engine;
    use crate::server::listener::Listener;
    use crate::server::settings::{SLEEPER_STACK, Settings};
    use crate::server::shared::Shared;
    use crate::server::socket::Socket;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    fn hello(_: &Environ, start_response: &mut StartResponse) -> &'static str {
        start_response.start("200 OK", &[]);
        "hello"
    }

    /// Runs with a server, and ends it. Its threads have ended then, and so have its connections.
    fn with_engine(listener: Listener, sleepers: Arc<Sleepers>, settings: Settings, run: impl FnOnce(&Engine)) {
        let settings = Settings { threads: 4, ..settings };
        let mut shared = Shared::new(settings, Box::new(hello), Arc::new(Lines::errors(io::sink())));
        shared.sleepers = Arc::clone(&sleepers);
        let (engine, threads) = Engine::start(Arc::new(shared), vec![listener], &Variables::default()).unwrap();
        run(&engine);
        engine.stop(Duration::from_secs(5));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(lock(&sleepers.beds).threads.is_empty());
        assert_eq!(engine.shared.open(), 0);
    }

    fn with_tcp(most: usize, settings: Settings, run: impl FnOnce(&Engine)) {
        with_engine(
            Listener::open_tcp("127.0.0.1:0").unwrap().remove(0),
            Sleepers::new(most, SLEEPER_STACK),
            settings,
            run,
        );
    }

    fn until(what: &str, holds: impl Fn() -> bool) {
        let give_up = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(Instant::now() < give_up, "never {what}");
            // To spin would take the core from whoever it is waited for.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn until_taken(engine: &Engine, taken: usize) {
        until(&format!("{taken} taken"), || lock(&engine.shared.sleepers.beds).taken == taken);
    }

    /// Clients that have asked once.
    fn clients(engine: &Engine, count: usize) -> Vec<TcpStream> {
        let connect = |_| {
            let mut client = TcpStream::connect(&engine.acceptors[0].listener.address).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            ask(&mut client);
            client
        };
        (0..count).map(connect).collect()
    }

    fn ask(client: &mut (impl Read + Write)) {
        client.write_all(GET).unwrap();
        assert!(answer(client).ends_with("\r\n\r\nhello"));
    }

    fn answer(client: &mut impl Read) -> String {
        let (mut answer, mut byte) = (String::new(), [0]);
        while !answer.ends_with("\r\n\r\nhello") && client.read(&mut byte).unwrap() == 1 {
            answer.push(byte[0] as char);
        }
        answer
    }

    #[test]
    fn idle_connections_are_slept_on_as_far_as_there_are_sleepers_and_all_are_answered() {
        with_tcp(3, Settings::default(), |engine| {
            let mut clients = clients(engine, 5);
            assert!(lock(&engine.shared.sleepers.beds).threads.len() <= 3);
            for _ in 0..3 {
                until_taken(engine, 3);
                clients.iter_mut().for_each(ask);
            }
            drop(clients);
            until_taken(engine, 0);
        });
    }

    #[test]
    fn a_connection_that_ends_gives_its_sleeper_back() {
        with_tcp(3, Settings::default(), |engine| {
            let mut clients = clients(engine, 2);
            until_taken(engine, 2);
            drop(clients.pop());
            until_taken(engine, 1);
            until("one is left", || engine.shared.open() == 1);
        });
    }

    #[test]
    fn a_deadline_ends_a_connection_that_is_slept_on() {
        let settings = Settings { idle_deadline: Duration::from_millis(300), ..Settings::default() };
        with_tcp(3, settings, |engine| {
            let mut client = clients(engine, 1).remove(0);
            until_taken(engine, 1);
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            until_taken(engine, 0);
            assert_eq!(engine.stats().count(Cause::IdleDeadline), 1);
        });
    }

    #[test]
    fn a_limit_closes_a_connection_that_is_slept_on() {
        let settings = Settings { max_connections: 2, ..Settings::default() };
        with_tcp(3, settings, |engine| {
            let mut clients = clients(engine, 2);
            until_taken(engine, 2);
            ask(&mut self::clients(engine, 1)[0]);
            assert_eq!(clients[0].read(&mut [0]).unwrap(), 0);
            ask(&mut clients[1]);
            assert_eq!(engine.stats().count(Cause::ConnectionLimit), 1);
        });
    }

    #[test]
    fn a_stop_answers_what_had_arrived_on_connections_that_are_slept_on_and_ends_the_others() {
        for round in 0..10 {
            with_tcp(4, Settings::default(), |engine| {
                let mut clients = clients(engine, 6);
                until_taken(engine, 4);
                clients.iter_mut().take(5).for_each(|client| client.write_all(GET).unwrap());
                engine.stop(Duration::from_secs(20));
                for client in clients.iter_mut().take(5) {
                    assert!(answer(client).starts_with("HTTP/1.1 200"), "{round}");
                }
                assert_eq!(clients[5].read(&mut [0]).unwrap(), 0);
            });
        }
    }

    #[test]
    fn of_more_connections_than_sleepers_those_that_spoke_last_have_them() {
        let log = Arc::new(Lines::errors(io::sink()));
        let shared = Shared::new(Settings::default(), Box::new(hello), log);
        let origin = Arc::new(Origin::new(Door::Http, Gateway::default(), "a".into(), None, Variables::default()));
        let (listener, began) = (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), Instant::now());
        let connection = |since| {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let socket = Socket::accepted(listener.accept().unwrap().0).unwrap();
            (Connection::new(socket, Peer::default(), Arc::clone(&origin), &shared, None, since), client)
        };
        let (sleepers, shard) = (Sleepers::new(2, SLEEPER_STACK), Arc::new(Shard::default()));
        let watch = |one: &(Box<Connection>, _), now| sleepers.watch(&one.0, now, (&shard, 1));
        let taken = |count| until(&format!("{count} taken"), || lock(&sleepers.beds).taken == count);
        let mut all: Vec<_> = (0..3).map(|_| connection(began)).collect();
        assert_eq!(all.iter().map(|one| watch(one, began)).collect::<Vec<_>>(), [true, true, false]);
        all[0].1.write_all(b"G").unwrap();
        taken(1);
        // Somebody was refused a moment ago: half of them are for those that were quiet for no longer than a turn.
        let later = began + SLEEP * 3 / 2;
        let recent = connection(later);
        assert!(!watch(&all[2], later) && watch(&recent, later));
        all[1].1.write_all(b"G").unwrap();
        taken(1);
        // Nobody has been refused for long.
        assert!(watch(&all[2], later + 3 * SELDOM));
        drop((all, recent));
        taken(0);
        sleepers.close();
    }

    #[test]
    fn where_the_system_gives_no_thread_connections_are_looked_at_in_turn() {
        let listener = Listener::open_tcp("127.0.0.1:0").unwrap().remove(0);
        // No system has that much to give, not even one of 32 bits.
        with_engine(listener, Sleepers::new(3, usize::MAX / 8 * 7), Settings::default(), |engine| {
            let mut clients = clients(engine, 2);
            until("it was tried", || lock(&engine.shared.sleepers.beds).most == 0);
            clients.iter_mut().for_each(ask);
        });
    }

    #[test]
    #[cfg(unix)]
    fn a_unix_socket_is_slept_on_like_any_other() {
        let path = std::env::temp_dir().join(format!("doorway-sleepers-{}", std::process::id()));
        with_engine(
            Listener::open_unix(&path).unwrap(),
            Sleepers::new(3, SLEEPER_STACK),
            Settings::default(),
            |engine| {
                let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
                for _ in 0..3 {
                    ask(&mut client);
                    until_taken(engine, 1);
                }
                drop(client);
                until_taken(engine, 0);
                let _left = std::os::unix::net::UnixStream::connect(&path).unwrap();
                until_taken(engine, 1);
            },
        );
    }
}
