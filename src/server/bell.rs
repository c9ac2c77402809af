//! Whether anything has arrived over TCP since the last look, from one counter of the system (Linux).
//!
//! `Tcp: InSegs` of `/proc/net/snmp` counts every segment that reaches this network namespace, of IPv4 and IPv6, ends of connections
//! included. To read it costs as much as to look at ten sockets, however many wait. It counts what others get as well: a ring only moves looks
//! earlier, as far as the looks that a [shard](super::shard) has spared go.
//!
//! Where bytes have come and the counter stands (the sockets are of another namespace, or the system only pretends), it is no bell, and is
//! never asked again. Where there is no such file there is none. It does not speak for Unix sockets.

use std::fs::File;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The counter, and whether it has been found wrong.
#[derive(Default)]
pub(super) struct Bell {
    /// Opened when it is first asked for.
    counter: OnceLock<Option<File>>,
    is_wrong: AtomicBool,
}

impl Bell {
    /// What the counter says; 0 when there is none to rely on.
    pub(super) fn listen(&self) -> usize {
        if self.is_wrong.load(Ordering::Relaxed) {
            return 0;
        }
        self.counter.get_or_init(|| File::open("/proc/net/snmp").ok()).as_ref().and_then(segments).unwrap_or(0)
    }

    /// Bytes have come for a connection that had none when the counter had said this. Whether that has found the bell wrong, just now.
    pub(super) fn turns_out_wrong(&self, heard: usize) -> bool {
        self.listen() == heard && !self.is_wrong.swap(true, Ordering::Relaxed)
    }
}

#[cfg(unix)]
fn segments(counter: &File) -> Option<usize> {
    use std::os::unix::fs::FileExt;

    let mut room = [0; 4096];
    let read = counter.read_at(&mut room, 0).ok()?;
    in_segments(std::str::from_utf8(room.get(..read)?).ok()?)
}

#[cfg(not(unix))]
fn segments(_: &File) -> Option<usize> {
    None
}

/// Finds it in the table: a line of names, then a line of values.
fn in_segments(table: &str) -> Option<usize> {
    let mut lines = table.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let (_, value) = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "InSegs")?;
    value.parse::<u64>().ok().map(|count| count as usize)
}

#[cfg(test)]
#[cfg(unix)]
pub(super) mod tests {
    use std::io::{self, Read, Write};
    use std::net::TcpStream;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::cause::Cause;
    use crate::gateway::{Environ, StartResponse, Variables};
    use crate::log::Lines;
    use crate::server::engine::Engine;
    use crate::server::listener::Listener;
    use crate::server::settings::Settings;
    use crate::server::shared::Shared;

    /// The table of a system that the test speaks for.
    fn table(segments: usize) -> String {
        format!(
            "Ip: Forwarding InReceives\nIp: 1 7\nTcp: RtoMin MaxConn InSegs OutSegs\nTcp: 200 -1 {segments:5} 9\nUdp: A\nUdp: 1\n"
        )
        .replace("-1     ", "-1 ")
    }

    /// A table of one's own.
    pub(in crate::server) struct Counter(File, File);

    impl Counter {
        pub(in crate::server) fn new(name: &str) -> Counter {
            let path = std::env::temp_dir().join(format!("doorway-bell-{name}-{}", std::process::id()));
            std::fs::write(&path, table(10_000)).unwrap();
            let counter = Counter(File::open(&path).unwrap(), File::options().write(true).open(&path).unwrap());
            std::fs::remove_file(path).unwrap();
            counter
        }

        pub(in crate::server) fn says(&self, segments: usize) {
            self.1.write_at(table(segments).as_bytes(), 0).unwrap();
        }

        pub(in crate::server) fn bell(&self) -> Bell {
            let bell = Bell { counter: OnceLock::from(self.0.try_clone().ok()), ..Bell::default() };
            assert_eq!(bell.listen(), 10_000);
            bell
        }
    }

    #[test]
    fn the_counter_is_found_by_its_name_and_by_nothing_else() {
        assert_eq!(in_segments(&table(12_345)), Some(12_345));
        for other in
            ["", "Tcp: InSegs\n", "Tcp: InSegs\nTcp: many\n", "Tcp: OutSegs\nTcp: 1\n", "Udp: InSegs\nUdp: 1\n"]
        {
            assert_eq!(in_segments(other), None, "{other:?}");
        }
    }

    #[test]
    fn it_is_wrong_only_if_it_stands() {
        let counter = Counter::new("rings");
        let bell = counter.bell();
        counter.says(10_001);
        assert!(!bell.turns_out_wrong(10_000), "it has rung");
        assert!(bell.turns_out_wrong(10_001) && !bell.turns_out_wrong(10_001), "said once");
        assert_eq!(bell.listen(), 0);
    }

    fn hello(_: &Environ, start_response: &mut StartResponse) -> &'static str {
        start_response.start("200 OK", &[]);
        "hello"
    }

    fn ask(client: &mut TcpStream) {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\nhello") && client.read(&mut byte).unwrap() == 1 {
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }

    /// Runs with a server that has this bell and no sleepers, and with a client of it that has asked once.
    fn with_engine(bell: Bell, run: impl FnOnce(&Engine, TcpStream)) {
        let settings = Settings { sleepers: 0, ..Settings::default() };
        let mut shared = Shared::new(settings, Box::new(hello), Arc::new(Lines::errors(io::sink())));
        shared.bell = bell;
        let listener = Listener::open_tcp("127.0.0.1:0").unwrap().remove(0);
        let mut client = TcpStream::connect(&listener.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (engine, threads) = Engine::start(Arc::new(shared), vec![listener], &Variables::default()).unwrap();
        ask(&mut client);
        run(&engine, client);
        engine.stop(Duration::from_secs(5));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let give_up = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(Instant::now() < give_up, "never {what}");
            // To spin would take the core from whoever it is waited for.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn wrong(engine: &Engine) -> u64 {
        engine.stats().count(Cause::BellWrong)
    }

    #[test]
    fn a_counter_that_stands_while_requests_come_is_given_up_and_the_log_says_so_once() {
        let counter = Counter::new("stands");
        with_engine(counter.bell(), |engine, mut client| {
            until("it is found out", || {
                if engine.listens() {
                    // The client that is tested with is slow: nothing is proved by what comes just behind a ring.
                    std::thread::sleep(Duration::from_millis(100));
                    ask(&mut client);
                }
                wrong(engine) == 1
            });
            // From now on as without a bell.
            for _ in 0..3 {
                until("nobody listens", || !engine.listens());
                ask(&mut client);
            }
            assert_eq!((wrong(engine), engine.shared.bell.listen()), (1, 0));
        });
    }

    #[test]
    fn a_ring_has_every_connection_looked_at_and_the_bell_is_listened_to_again() {
        let counter = Counter::new("every");
        with_engine(counter.bell(), |engine, mut client| {
            for segments in 10_001..10_005 {
                until("the bell is listened to", || engine.listens());
                client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n").unwrap();
                counter.says(segments);
                client.read_exact(&mut [0; 16]).unwrap();
                client.write_all(b"\r\n").unwrap();
                let (mut answers, mut byte) = (Vec::new(), [0]);
                while answers.windows(5).filter(|part| part == b"hello").count() < 2
                    && client.read(&mut byte).unwrap() == 1
                {
                    answers.push(byte[0]);
                }
            }
            assert_eq!((wrong(engine), engine.shared.bell.listen()), (0, 10_004));
        });
    }

    #[test]
    fn a_bell_is_listened_to_as_long_as_somebody_rests_on_it() {
        let counter = Counter::new("needs");
        with_engine(counter.bell(), |engine, client| {
            until("somebody rests", || engine.listens());
            let looks = engine.stats().looks;
            until("the bell is listened to", || engine.stats().looks > looks + 5);
            drop(client);
            until("nobody listens", || !engine.listens());
        });
    }
}
