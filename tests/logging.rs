//! A log that is stuck, full or gone keeps nothing: no request, no stop.

#![cfg(unix)]

mod serving;

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serving::{PATIENCE, Serving};

fn send(signal: &str, serving: &Serving) {
    assert!(Command::new("kill").args([signal, &serving.child.id().to_string()]).status().unwrap().success());
}

/// Asks so many times on one connection.
fn ask_often(address: &str, count: usize) {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut room, mut tail) = ([0; 8192], Vec::new());
    for request in 0..count {
        client.write_all(b"GET /a-path-that-makes-a-line-longer HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        tail.clear();
        while !tail.ends_with(b"gone\n") {
            let length = client.read(&mut room).unwrap_or_else(|error| panic!("request {request}: {error}"));
            assert!(length > 0, "request {request}");
            tail.extend_from_slice(&room[..length]);
        }
    }
}

/// Serves a page without a file behind it, and a log to `stderr`; that is left as it is while many requests are answered.
fn serves_and_stops(stderr: Stdio, flags: &[&str]) -> Serving {
    let folder = serving::Folder::new(&[("404.html", "gone\n")]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
    command.args(["--port=0", "--log=common"]).args(flags).arg(folder.path()).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
    let mut serving =
        Serving { out: std::io::BufReader::new(child.stdout.take().unwrap()), child, first_line: String::new() };
    std::io::BufRead::read_line(&mut serving.out, &mut serving.first_line).unwrap();
    ask_often(serving.address(), 3_000);
    let begin = Instant::now();
    send("-TERM", &serving);
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    serving
}

#[test]
fn a_log_that_nobody_reads_keeps_neither_requests_nor_the_end() {
    // The reading end is kept, and never read.
    let serving = serves_and_stops(Stdio::piped(), &[]);
    drop(serving);
}

#[test]
fn a_log_on_a_full_disk_and_one_that_is_closed_keep_nothing_either() {
    if let Ok(full) = OpenOptions::new().write(true).open("/dev/full") {
        serves_and_stops(full.into(), &[]);
    } else {
        println!("skipped in part: there is no /dev/full");
    }
    let mut shell = Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_doorway");
    shell.args(["-c", &format!("exec {binary} --port=0 --demo 2>&-")]).stdin(Stdio::null());
    let mut serving = Serving::with(&mut shell);
    assert!(serving.get("/").starts_with("HTTP/1.1 200 "));
    send("-TERM", &serving);
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_was_said_before_the_end_is_in_the_log() {
    let mut serving = Serving::start(&["--demo", "--port=0", "--log=common"]);
    let mut log = serving.log();
    (0..100).for_each(|number| drop(serving.get(&format!("/{number}"))));
    send("-TERM", &serving);
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    (0..100).for_each(|number| assert!(text.contains(&format!("\"GET /{number} HTTP/1.1\" 200 ")), "{number}: {text}"));
    assert!(text.contains("doorway: stopping"));
}

#[test]
fn signals_that_programs_send_to_servers_end_nothing() {
    for signal in ["-HUP", "-USR1"] {
        let mut serving = Serving::start(&["--demo", "--port=0"]);
        let mut log = std::io::BufReader::new(serving.child.stderr.take().unwrap());
        send(signal, &serving);
        let mut line = String::new();
        while !line.contains(&format!("SIG{}", &signal[1..])) {
            line.clear();
            assert!(std::io::BufRead::read_line(&mut log, &mut line).unwrap() > 0);
        }
        assert!(serving.get("/").starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn the_file_of_the_log_survives_its_rotation_by_rename() {
    let folder = serving::Folder::new(&[("log", "here before\n")]);
    let (file, old) = (folder.path().join("log"), folder.path().join("log.1"));
    let mut serving = Serving::start(&["--demo", "--port=0", "--log-file", file.to_str().unwrap()]);
    let wait_for = |path: &std::path::Path, text: &str| {
        let until = Instant::now() + PATIENCE;
        while !std::fs::read_to_string(path).is_ok_and(|log| log.contains(text)) {
            assert!(Instant::now() < until, "no {text} in {}", path.display());
            std::thread::yield_now();
        }
    };
    serving.get("/first");
    wait_for(&file, "\"GET /first HTTP/1.1\" 200 ");
    std::fs::rename(&file, &old).unwrap();
    serving.get("/second");
    wait_for(&old, "\"GET /second HTTP/1.1\" 200 ");
    send("-USR1", &serving);
    wait_for(&file, "SIGUSR1");
    serving.get("/third");
    send("-TERM", &serving);
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    let (old, new) = (std::fs::read_to_string(&old).unwrap(), std::fs::read_to_string(&file).unwrap());
    assert!(old.starts_with("here before\n") && !old.contains("/third"), "{old}");
    assert!(new.contains("\"GET /third HTTP/1.1\" 200 ") && new.contains("doorway: stopping"), "{new}");
}

#[test]
fn every_answer_has_a_line_in_every_format_and_the_fields_that_every_response_has() {
    let folder = serving::Folder::new(&[("page.html", "page")]);
    let asked = [
        ("GET /page.html HTTP/1.0\r\nHost: localhost\r\n", "/page.html", "200"),
        ("GET /rebound HTTP/1.0\r\nHost: evil.example\r\n", "/rebound", "421"),
        ("OPTIONS /page HTTP/1.0\r\nOrigin: http://a\r\nAccess-Control-Request-Method: GET\r\n", "/page", "204"),
        ("GET /status HTTP/1.0\r\nHost: localhost\r\n", "/status", "200"),
        ("GET /last HTTP/1.0\r\nHost: localhost\r\n", "/last", "404"),
    ];
    for format in ["short", "common", "combined", "json"] {
        let flags = ["--cors", "--status=/status", "--header=X-Own: 1", "--log", format];
        let mut serving = Serving::folder(folder.path(), &flags);
        let mut log = serving.requests();
        for (request, path, status) in asked {
            let answer = serving.ask(&format!("{request}\r\n"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{format} {path}: {answer}");
            assert!(answer.contains("\r\nX-Own: 1\r\n"), "{format} {path}: {answer}");
        }
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.contains("/last")) {
            lines.push(log.next().unwrap());
        }
        for (_, path, status) in asked {
            let is_told = lines.iter().any(|line| line.contains(path) && line.contains(status));
            assert!(is_told, "{format} {path}: {lines:#?}");
        }
    }
}

#[test]
fn what_live_reload_asks_has_lines_where_there_is_no_live_reload() {
    let folder = serving::Folder::new(&[("page.html", "page")]);
    for format in ["short", "common", "combined", "json"] {
        for (reload, expected) in [(false, 2), (true, 1)] {
            let flags = ["--log", format, "--reload"];
            let mut serving = Serving::folder(folder.path(), if reload { &flags } else { &flags[..2] });
            let mut log = serving.requests();
            serving.get("/.doorway/stamp");
            serving.get("/last");
            let mut count = 1;
            while !log.next().unwrap().contains("/last") {
                count += 1;
            }
            assert_eq!(count, expected, "{format} {reload}");
        }
    }
}
