//! Promise: a rush that is longer than the pool can serve is answered: with what was asked for by whoever waits shorter than `queue_timeout`, and 503 after that.
//!
//! A small rush by default. `DOORWAY_RUSH=1 cargo test --release --test rush -- --nocapture` is the one of docs/performance.md: 16 threads, calls of
//! 0.25 s, twice as many requests as that is for 10 s, from clients that come at random. It prints a line for each time.

mod reference;
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use doorway::{Environ, StartResponse};
use reference::generator::Random;
use support::{PATIENCE, serve_with};

/// What comes: clients at random moments, twice as many as the threads can serve meanwhile.
struct Rush {
    threads: usize,
    call: Duration,
    lasts: Duration,
}

/// When the clients come, from the beginning on: the time between two is that of independent clients (exponential).
fn arrivals(rush: &Rush, random: &mut Random) -> Vec<Duration> {
    let rate = 2.0 * rush.threads as f64 / rush.call.as_secs_f64();
    let mut next = 0.0;
    let times = std::iter::repeat_with(|| {
        next -= ((random.below(1_000_000) + 1) as f64 / 1_000_000.0).ln() / rate;
        Duration::from_secs_f64(next)
    });
    times.take_while(|time| *time < rush.lasts).collect()
}

/// Asks, and gives the status and how long that took.
fn ask(address: SocketAddr) -> (String, Duration) {
    let begin = Instant::now();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(4 * PATIENCE)).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().to_owned(), begin.elapsed())
}

/// Prints how many were answered and refused, and after how long; gives how many were refused.
fn run(rush: &Rush, timeout: Duration) -> usize {
    let call = rush.call;
    let application = move |_: &Environ, start_response: &mut StartResponse| {
        // The application that is asked is slow: nothing is waited for here.
        std::thread::sleep(call);
        start_response.start("200 OK", &[]);
        "done"
    };
    let house = serve_with(application, |settings| {
        (settings.threads, settings.queue_timeout) = (rush.threads, timeout);
    });
    let address = house.tcp();
    let arrivals = arrivals(rush, &mut Random(18));
    let start = Instant::now();
    let client = |time: Duration| {
        // A client comes when it comes.
        std::thread::sleep((start + time).saturating_duration_since(Instant::now()));
        ask(address)
    };
    let answers: Vec<(String, Duration)> = std::thread::scope(|scope| {
        let small = || std::thread::Builder::new().stack_size(128 * 1024);
        let threads = arrivals.iter().map(|time| small().spawn_scoped(scope, || client(*time)).unwrap());
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let times = |status: &str| {
        let mut times: Vec<Duration> =
            answers.iter().filter(|(other, _)| other == status).map(|(_, time)| *time).collect();
        times.sort_unstable();
        times
    };
    let (answered, refused) = (times("200"), times("503"));
    assert_eq!(answered.len() + refused.len(), arrivals.len(), "{answers:?}");
    let text = |times: &[Duration]| match times {
        [] => "none".to_owned(),
        _ => format!("{}, median {:.1?}, longest {:.1?}", times.len(), times[times.len() / 2], times[times.len() - 1]),
    };
    println!("queue_timeout {timeout:?}: answered {}; refused {}", text(&answered), text(&refused));
    refused.len()
}

#[test]
fn whoever_waits_shorter_than_queue_timeout_is_answered_and_a_rush_that_ends_sooner_refuses_nobody() {
    let rush = match std::env::var_os("DOORWAY_RUSH") {
        Some(_) => Rush { threads: 16, call: Duration::from_millis(250), lasts: Duration::from_secs(10) },
        None => Rush { threads: 4, call: Duration::from_millis(25), lasts: Duration::from_secs(1) },
    };
    let refused = run(&rush, rush.lasts / 10);
    assert!(refused > 0, "twice as many as can be served");
    run(&rush, rush.lasts / 2);
    // A machine that is busy with other things serves fewer, but all of them.
    let refused = run(&rush, PATIENCE.max(3 * rush.lasts));
    assert_eq!(refused, 0);
}
