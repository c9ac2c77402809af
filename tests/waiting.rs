//! Promise: a connection that has been quiet is answered like any other, whether a thread sleeps on it, the bell is listened to for it, or it is
//! looked at in turn; and it costs nothing to speak of while it says nothing. What happens inside is tested in `src/server`; how soon and how
//! cheap is measured by `benches/idle/compare`.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use doorway::{Body, Environ, Server, StartResponse};
use support::{Client, House, serve_over, serve_with};

fn path(environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[]);
    Body::from(environ.path().into_owned())
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// Stands still for a time that is another for every client and every turn. Those that are tested with are slow: this is no wait for something
/// to happen.
fn pause(client: usize, turn: usize) {
    const TIMES: [u64; 7] = [0, 5, 20, 45, 70, 150, 450];
    std::thread::sleep(Duration::from_millis(TIMES[(client + turn * 3) % TIMES.len()]));
}

/// Clients that come back after pauses of all lengths, up to those after which a connection is left to a sleeper or to the bell.
fn come_back(house: &House, clients: usize, rounds: usize) {
    std::thread::scope(|scope| {
        for number in 0..clients {
            scope.spawn(move || {
                let mut client = house.client();
                for round in 0..rounds {
                    pause(number, round);
                    let name = format!("/{number}/{round}");
                    let (bytes, at) = (get(&name), 1 + (number + round) % 20);
                    client.send(&bytes[..at]);
                    if round % 2 == 0 {
                        pause(round, number);
                    }
                    client.send(&bytes[at..]);
                    assert_eq!(client.response().text(), name);
                }
                if number % 2 == 0 {
                    client.stop_sending();
                    client.is_closed();
                }
            });
        }
    });
    house.until("all have gone", |stats| (stats.open, stats.parked) == (0, 0));
    assert_eq!(house.handle.stats().served, (clients * rounds) as u64);
    assert_eq!(house.log.causes(), []);
}

#[test]
fn whoever_comes_back_is_answered_with_no_sleeper_with_a_few_and_with_enough() {
    for sleepers in [0, 3, 32] {
        let house = serve_with(path, |settings| {
            settings.sleepers = sleepers;
            settings.shards = 2;
        });
        come_back(&house, 12, 6);
    }
}

#[test]
fn p_conn_what_had_arrived_on_quiet_connections_before_a_stop_is_answered_and_the_stop_does_not_wait_for_the_rest() {
    for sleepers in [0, 3, 32] {
        let house = serve_with(path, |settings| settings.sleepers = sleepers);
        let mut clients: Vec<_> = (0..8).map(|_| house.client()).collect();
        for client in &mut clients {
            client.send(&get("/first"));
            assert_eq!(client.response().text(), "/first");
        }
        // Long enough for a thread to sleep on each that it can; shorter or longer must make no difference.
        std::thread::sleep(Duration::from_millis(100));
        clients.iter_mut().skip(2).for_each(|client| client.send(&get("/last")));
        house.handle.stopper().stop();
        for client in clients.iter_mut().skip(2) {
            let response = client.response();
            assert_eq!(response.text(), "/last", "{sleepers} sleepers");
        }
        clients.iter_mut().for_each(|client| client.is_closed());
        // It returns when every thread has ended, those that slept among them.
        assert_eq!(house.handle.shutdown(Duration::from_secs(30)).open, 0);
    }
}

#[test]
fn limits_close_quiet_connections_and_whoever_comes_instead_is_answered() {
    const MOST: usize = 6;
    for sleepers in [0, 3, 32] {
        let house = serve_with(path, |settings| {
            settings.sleepers = sleepers;
            settings.max_connections = MOST;
        });
        let answered = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for number in 0..3 {
                let (house, answered) = (&house, &answered);
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for turn in 0..20 {
                        let mut client = house.client();
                        client.send(&get("/new"));
                        assert_eq!(client.response().text(), "/new");
                        answered.fetch_add(1, Ordering::Relaxed);
                        kept.push(client);
                        pause(number, turn);
                    }
                });
            }
        });
        assert_eq!(answered.into_inner(), 60);
        let stats = house.handle.stats();
        assert!(stats.open <= MOST, "{stats:?}");
        house.until("all have gone", |stats| stats.open == 0);
    }
}

#[test]
#[cfg(unix)]
fn a_unix_socket_and_a_tcp_socket_of_one_server_are_waited_for_beside_each_other() {
    let place = std::env::temp_dir().join(format!("doorway-waiting-{}", std::process::id()));
    let server = Server::bind("127.0.0.1:0").unwrap().and(Server::bind_unix(&place).unwrap());
    let house = serve_over(server, path, |settings| settings.sleepers = 1);
    let mut over_tcp: Vec<_> = (0..3).map(|_| house.client()).collect();
    let mut over_unix = Client::over(std::os::unix::net::UnixStream::connect(&place).unwrap());
    for round in 0..4 {
        let name = format!("/{round}");
        for client in &mut over_tcp {
            client.send(&get(&name));
            assert_eq!(client.response().text(), name);
        }
        over_unix.send(&get(&name));
        assert_eq!(over_unix.response().text(), name);
        // The clients that are tested with are slow: this is no wait for something to happen.
        std::thread::sleep(Duration::from_millis(150 * round));
    }
}
