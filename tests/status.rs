//! Promise: a server says how it is, and what it says is true: what its clients did is what it has counted, in forms that people, balancers and
//! collectors read, and to nobody else.

mod browsing;
mod serving;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use browsing::Browser;
use doorway::app::{Status, demo};
use doorway::log::{Log, Report};
use doorway::testing::{Request, Response};
use doorway::{Body, Environ, Phase, Server, StartResponse, Stats};
use serving::{Folder, Serving};
use support::{House, PATIENCE, locked, serve, serve_over, serve_with};

/// A server, and what says how it is without being asked over a connection.
fn watched() -> (House, Status) {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let observer = server.observer();
    let status = Status::new(move || observer.stats());
    (serve_over(server, demo, |_| {}), status)
}

fn asked(status: &Status, path: &str) -> Response {
    Request::get(path).call(status)
}

fn count(stats: &Stats, wanted: Phase) -> usize {
    stats.phases().find_map(|(phase, count)| (phase == wanted).then_some(count)).unwrap()
}

#[test]
fn connections_are_counted_by_what_they_do() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let application = move |environ: &Environ, start_response: &mut StartResponse| {
        if environ.path() == "/held" {
            let _ = locked(&held).recv();
        }
        start_response.start("200 OK", &[]);
        if environ.path() == "/large" { Body::from(vec![b'l'; 16 << 20]) } else { Body::from("a") }
    };
    let long = Duration::from_secs(3_600);
    let house = serve_with(application, |settings| {
        settings.held = usize::MAX;
        (settings.first_byte_deadline, settings.head_deadline, settings.response_stall) = (long, long, long);
        (settings.content_stall, settings.content_rate_after, settings.queue_timeout) = (long, long, long);
    });
    // Goes before the house, should the test fail: that waits for the call.
    let release = release;
    let mut clients: Vec<TcpStream> = Vec::new();
    let mut open = |count: usize, begin: &str| {
        for _ in 0..count {
            let mut client = TcpStream::connect(house.tcp()).unwrap();
            client.write_all(begin.as_bytes()).unwrap();
            clients.push(client);
        }
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    open(2, "");
    open(3, &get("/"));
    open(4, "GET / HTTP/1.1\r\n");
    open(5, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    open(1, &get("/held"));
    open(6, &get("/large"));
    let wanted = [
        (Phase::Fresh, 2),
        (Phase::Idle, 3),
        (Phase::Head, 4),
        (Phase::Content, 5),
        (Phase::Queued, 0),
        (Phase::Call, 1),
        (Phase::Sending, 6),
        (Phase::Closing, 0),
        (Phase::Upgraded, 0),
    ];
    house.until("all are where they should be", |stats| stats.phases().eq(wanted));
    let stats = house.handle.stats();
    assert_eq!((stats.open, stats.busy, stats.threads), (21, 1, 2));
    // Both threads are held now, so the next waits for one.
    let mut waiting: Vec<TcpStream> = Vec::new();
    for _ in 0..3 {
        let mut client = TcpStream::connect(house.tcp()).unwrap();
        client.write_all(get("/held").as_bytes()).unwrap();
        waiting.push(client);
    }
    house.until("two wait", |stats| count(stats, Phase::Queued) == 2 && stats.queued == 2);
    drop(release);
    house.until("nobody is in a call", |stats| count(stats, Phase::Call) == 0 && count(stats, Phase::Idle) == 7);
    drop((clients, waiting));
    house.until("all are gone", |stats| stats.open == 0 && stats.phases().all(|(_, count)| count == 0));
}

/// Keeps whoever reports, until the test lets go.
struct Stuck(mpsc::Sender<String>, Mutex<mpsc::Receiver<()>>);

impl Log for Stuck {
    fn error(&self, _: &Report<'_>) {
        let _ = self.0.send(std::thread::current().name().unwrap_or_default().to_owned());
        let _ = locked(&self.1).recv();
    }
}

#[test]
fn a_watchdog_sees_that_the_monitor_looks_around_when_it_is_asked_and_that_it_does_not_when_it_is_stuck() {
    let (reports, said) = mpsc::channel();
    let (go_on, kept) = mpsc::channel();
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let server = Server::bind("127.0.0.1:0").unwrap().threads(1).log(Stuck(reports, Mutex::new(kept)));
    let server = server.configure(|settings| settings.queue_timeout = Duration::from_millis(1));
    let observer = server.observer();
    let application = move |environ: &Environ, start_response: &mut StartResponse| {
        let _ = locked(&held).recv();
        demo(environ, start_response)
    };
    let handle = server.spawn(application).unwrap();
    // Should the test fail, these go before the handle, which waits for the call.
    let (go_on, release) = (go_on, release);
    let looks = || observer.stats().unwrap().looks;
    let looks_again = || {
        let (before, give_up) = (looks(), Instant::now() + PATIENCE);
        while looks() == before {
            assert!(Instant::now() < give_up, "it does not look");
            std::thread::yield_now();
        }
    };
    // Nothing is going on: it would sleep for ever.
    (0..20).for_each(|_| looks_again());
    let ask = || {
        let mut client = TcpStream::connect(handle.addr()).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        client
    };
    let clients = [ask(), ask()];
    assert_eq!(
        said.recv_timeout(PATIENCE).unwrap(),
        "doorway-monitor",
        "the second has waited for a thread for too long"
    );
    let before = looks();
    for _ in 0..1_000 {
        std::thread::yield_now();
        assert_eq!(looks(), before);
    }
    drop((go_on, release, clients));
    looks_again();
}

#[test]
fn a_request_is_counted_below_the_power_of_two_that_it_lasted() {
    let application = |environ: &Environ, start_response: &mut StartResponse| {
        let begin = Instant::now();
        // An application that computes.
        while environ.path() == "/slow" && begin.elapsed() < Duration::from_millis(5) {}
        start_response.start("200 OK", &[]);
        "a"
    };
    let house = serve(application);
    let mut client = house.client();
    for path in ["/quick", "/quick", "/slow"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        client.response();
    }
    house.until("three are served", |stats| stats.served == 3);
    let stats = house.handle.stats();
    let durations: Vec<_> = stats.durations().collect();
    assert_eq!(durations.iter().map(|(_, count)| count).sum::<u64>(), 3);
    let powers = (0..27).map(|power| Duration::from_micros(1 << power)).chain([Duration::MAX]);
    assert!(durations.iter().map(|(bound, _)| *bound).eq(powers));
    let longest = durations.iter().rposition(|(_, count)| *count > 0).unwrap();
    let longest = durations[longest].0;
    assert!(longest > Duration::from_millis(5) && stats.duration >= Duration::from_millis(5));
    assert!(stats.duration < 3 * longest);
}

#[test]
fn health_is_503_before_the_server_serves_while_it_stops_and_afterwards() {
    let (begins, has_begun) = mpsc::channel();
    let (release, held) = mpsc::channel::<()>();
    let (begins, held) = (Mutex::new(begins), Mutex::new(held));
    let application = move |_: &Environ, start_response: &mut StartResponse| {
        let _ = locked(&begins).send(());
        let _ = locked(&held).recv();
        start_response.start("200 OK", &[]);
        "a"
    };
    let server = Server::bind("127.0.0.1:0").unwrap();
    let observer = server.observer();
    let status = Status::new(move || observer.stats());
    let health = || {
        let response = asked(&status, "/health");
        (response.status.code(), response.text())
    };
    assert_eq!(health(), (503, "not serving\n".into()));
    let house = serve_over(server, application, |_| {});
    let release = release;
    assert_eq!(health(), (200, "ok\n".into()));
    let mut client = house.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    has_begun.recv().unwrap();
    house.handle.stopper().stop();
    assert_eq!(health(), (503, "stopping\n".into()));
    assert_eq!(asked(&status, "/metrics").status.code(), 200);
    drop(release);
    assert_eq!(client.response().status, 200);
    house.handle.join();
    assert_eq!(health(), (503, "not serving\n".into()));
}

#[test]
fn only_the_machine_itself_may_ask_and_whom_the_operator_adds() {
    let (_house, status) = watched();
    let code = |request: Request| request.call(&status).status.code();
    let from = |address: &str| Request::get("/").variable("REMOTE_ADDR", address);
    for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(code(from(own)), 200, "{own}");
    }
    // The last is a Unix socket, where a front server is the usual peer.
    for other in ["10.0.0.7", "::ffff:10.0.0.7", "2001:db8::1", "unix:", ""] {
        assert_eq!(code(from(other)), 403, "{other}");
    }
    for field in ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"] {
        assert_eq!(code(from("127.0.0.1").header(field, "for=10.0.0.7")), 403, "{field}");
    }
    let status = status.allow(|environ: &Environ| environ.remote_addr() == "10.0.0.7".parse().ok());
    for (address, expected) in [("127.0.0.1", 200), ("10.0.0.7", 200), ("10.0.0.8", 403)] {
        assert_eq!(from(address).call(&status).status.code(), expected, "{address}");
    }
}

#[test]
fn asking_is_by_get_or_head_at_one_of_four_places() {
    let (_house, status) = watched();
    for (path, expected) in
        [("/", 200), ("/health", 200), ("/json", 200), ("/metrics", 200), ("/other", 404), ("/health/", 404)]
    {
        assert_eq!(asked(&status, path).status.code(), expected, "{path}");
    }
    let response = Request::post("/health", "a").call(&status);
    assert_eq!((response.status.code(), response.headers.get("allow").as_deref()), (405, Some("GET, HEAD")));
    let kind = |accept: &str| {
        let response = Request::get("/").header("Accept", accept).call(&status);
        response.headers.get("content-type").unwrap().into_owned()
    };
    assert_eq!(kind("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), "text/html; charset=utf-8");
    assert_eq!(kind("*/*"), "text/plain; charset=utf-8");
}

#[test]
fn what_people_read_names_the_figures() {
    let (house, status) = watched();
    house.ask_one(b"GET / HTTP/1.0\r\n\r\n");
    house.ask_one(b"GET / HTTP/1.1\r\n\r\n");
    house.until("both are counted", |stats| (stats.served, stats.refused) == (1, 1));
    let text = asked(&status, "/").text();
    for part in
        ["doorway ", "serving", "0 of 2 work", "1 answered, 1 refused", "half in less than ", "1031 host-missing"]
    {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

/// Whatever is not read as it was meant raises.
const COLLECT: &str = r#"
import json, math, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
text, other = sys.stdin.read().split("\0")
other = json.loads(other)
found = {}
for family in text_string_to_metric_families(text):
    assert family.documentation, family
    for sample in family.samples:
        found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
one = lambda sample, **labels: found["doorway_" + sample, tuple(sorted(labels.items()))]
assert one("requests_refused_total") == other["refused"] == 1
assert one("connections_accepted_total") == other["accepted"] == 2
assert one("content_bytes_total") == other["content"] > 0
assert one("threads") == other["threads"] == 2
assert {phase: one("connections", phase=phase) for phase in other["phases"]} == other["phases"]
assert one("causes_total", number="1031", name="host-missing") == other["causes"]["host-missing"] == 1
assert one("request_duration_seconds_count") == other["served"] == 1
assert math.isclose(one("request_duration_seconds_sum"), other["duration"])
buckets = [value for (name, labels), value in found.items() if name.endswith("_bucket")]
assert len(buckets) == len(other["durations"]) == 28 and buckets[-1] == 1 and buckets == sorted(buckets)
print("read", len(found))
"#;

#[test]
fn metrics_are_what_collectors_read_and_say_the_same_as_json() {
    let (house, status) = watched();
    house.ask_one(b"GET / HTTP/1.0\r\n\r\n");
    house.ask_one(b"GET / HTTP/1.1\r\n\r\n");
    house.until("both are counted", |stats| (stats.served, stats.refused, stats.open) == (1, 1, 0));
    let metrics = asked(&status, "/metrics").text();
    let both = format!("{metrics}\0{}", asked(&status, "/json").text());
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    let has_parser = Command::new(&python).args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if has_parser.is_ok_and(|status| status.success()) {
        let said = given(Command::new(&python).args(["-c", COLLECT]), &both);
        assert!(said.starts_with("read "), "{said}");
    } else {
        println!("skipped: prometheus_client is not in target/venv");
    }
    if Command::new("promtool").arg("--version").output().is_ok() {
        // What Prometheus itself reads with: samples that were collected some time ago, and so have their time.
        let timed =
            |line: &str| if line.starts_with('#') { format!("{line}\n") } else { format!("{line} 1700000000\n") };
        let folder = Folder::new(&[]);
        folder.write("metrics", metrics.lines().map(timed).collect::<String>());
        let mut promtool = Command::new("promtool");
        promtool.args(["tsdb", "create-blocks-from", "openmetrics", "metrics", "blocks"]).current_dir(folder.path());
        let said = given(&mut promtool, "");
        assert!(said.contains("NUM SAMPLES"), "{said}");
    } else {
        println!("skipped: promtool is not installed");
    }
}

/// What a program says that is given a text; it must succeed.
fn given(command: &mut Command, text: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn the_command_says_how_it_is_at_the_place_that_was_named_and_nowhere_else() {
    let folder = Folder::new(&[("index.html", "home")]);
    let serving = Serving::folder(folder.path(), &["--status", "/how/it/is"]);
    assert!(serving.get("/how/it/is").contains("1 accepted"));
    assert!(serving.get("/how/it/is/health").ends_with("\r\n\r\nok\n"));
    assert!(serving.get("/how/it").starts_with("HTTP/1.1 404 "));
    assert!(serving.get("/").ends_with("home"));
    for (value, advice) in [("/", "--status"), ("status", "begins with one slash"), ("/a=b", "write it as /status")] {
        let (code, _, err) = serving::run(&["--status", value]);
        assert!(code == Some(2) && err.contains(advice), "{value}: {err}");
    }
    let (code, _, err) = serving::run(&["--status", "/a", "--mount", "/a=."]);
    assert!(code == Some(2) && err.contains("two things at /a"), "{err}");
}

#[test]
fn the_page_draws_what_is_counted_and_fits_a_telephone_in_both_colours() {
    let Some(browser) = Browser::start() else { return };
    let folder = Folder::new(&[("index.html", "home")]);
    let serving = Serving::folder(folder.path(), &["--status", "/status"]);
    let mut idle: Vec<TcpStream> = Vec::new();
    for _ in 0..40 {
        let mut client = TcpStream::connect(serving.address()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let _ = client.read(&mut [0; 1024]).unwrap();
        idle.push(client);
    }
    serving.ask("GET / HTTP/1.1\r\n\r\n");
    for (name, size) in [
        ("wide", "{\"width\":1280,\"height\":900,\"deviceScaleFactor\":1,\"mobile\":false}"),
        ("phone", "{\"width\":390,\"height\":844,\"deviceScaleFactor\":2,\"mobile\":true}"),
    ] {
        browser.devtools("Emulation.setDeviceMetricsOverride", size);
        for scheme in ["light", "dark"] {
            let feature = format!("{{\"features\":[{{\"name\":\"prefers-color-scheme\",\"value\":\"{scheme}\"}}]}}");
            browser.devtools("Emulation.setEmulatedMedia", &feature);
            browser.open(&format!("{}/status", serving.url()));
            browser.until(
                "return document.querySelector('#phases tr:nth-child(2) td:last-child')?.textContent >= '40'",
                "true",
            );
            browser.until("return document.querySelector('#causes th')?.textContent", "host-missing");
            browser.until("return document.querySelector('#rate').textContent === '–'", "false");
            assert_eq!(browser.run("return document.documentElement.scrollWidth <= innerWidth"), "true", "{name}");
            let background = browser.run("return getComputedStyle(document.body).backgroundColor");
            assert_eq!(background == "rgb(255, 255, 255)", scheme == "light", "{background}");
            if let Some(place) = std::env::var_os("DOORWAY_PICTURES") {
                let picture = browser.picture();
                std::fs::write(Path::new(&place).join(format!("status-{name}-{scheme}.png")), picture).unwrap();
            }
        }
    }
}
