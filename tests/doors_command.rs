//! Promise: the `doorway` command serves its application at the doors of front servers, several at a time, and is a CGI program where
//! it is started as one.

mod packets;
mod serving;
mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use doorway::Door;
use packets::{DOORS, get, packet, read_reply, variables};
use serving::Running;
use support::Client;

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
    command.env_remove("GATEWAY_INTERFACE").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts it, and reads so many lines of where it listens.
fn start(arguments: &[&str], lines: usize) -> (Running, Vec<String>) {
    let mut command = command();
    serving::serve_as_root(command.args(arguments));
    let mut child = command.spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let running = Running(child);
    (running, out.lines().take(lines).map(Result::unwrap).collect())
}

#[test]
fn doors_are_served_several_at_a_time_beside_http_where_that_is_asked_for() {
    let arguments = ["--uwsgi", "127.0.0.1:0", "--scgi=127.0.0.1:0", "--fastcgi", "127.0.0.1:0"];
    let (_running, lines) = start(&[&arguments[..], &["--port", "0", "--host", "127.0.0.1"]].concat(), 4);
    assert!(lines[0].starts_with("http://127.0.0.1:"), "{lines:?}");
    for (door, line) in DOORS.into_iter().zip(&lines[1..]) {
        let address = line.strip_prefix(&format!("{} ", door.name())).unwrap_or_else(|| panic!("{lines:?}"));
        let mut client = Client::connect(address.parse().unwrap());
        client.send(&packet(door, &get("/"), b""));
        assert_eq!(read_reply(door, &client.until_close()).unwrap().code(), 200, "{door:?}");
    }
    let (_running, lines) = start(&["--uwsgi", "127.0.0.1:0"], 1);
    assert!(lines[0].starts_with("uwsgi 127.0.0.1:"), "{lines:?}");
}

#[test]
fn beside_a_door_browsers_are_answered_by_the_names_of_this_machine_alone() {
    let (_running, lines) = start(&["--scgi", "127.0.0.1:0", "--port", "0", "--host", "127.0.0.1"], 2);
    let web = lines[0].strip_prefix("http://").unwrap().trim_end_matches('/');
    let ask = |host: &str| serving::ask(web, format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    assert!(ask("rebound.example").starts_with("HTTP/1.1 421 ") && ask("localhost").starts_with("HTTP/1.1 200 "));
    let mut client = Client::connect(lines[1].strip_prefix("scgi ").unwrap().parse().unwrap());
    let request = [get("/"), variables(&[("HTTP_HOST", "site.example")])].concat();
    client.send(&packet(Door::Scgi, &request, b""));
    assert_eq!(read_reply(Door::Scgi, &client.until_close()).unwrap().code(), 200);
}

#[cfg(unix)]
#[test]
fn a_door_may_be_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("doorway-command-{}", std::process::id()));
    let address = format!("unix:{}", path.display());
    let (_running, lines) = start(&["--scgi", &address], 1);
    assert_eq!(lines, [format!("scgi {address}")]);
    let mut client = Client::over(std::os::unix::net::UnixStream::connect(&path).unwrap());
    client.send(&packet(Door::Scgi, &get("/"), b""));
    assert_eq!(read_reply(Door::Scgi, &client.until_close()).unwrap().code(), 200);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn g_01_a_door_that_others_can_reach_is_refused_with_what_to_do() {
    let mut command = command();
    serving::serve_as_root(command.args(["--uwsgi", "0.0.0.0:0"]));
    let out = command.output().unwrap();
    let errors = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{errors}");
    assert!(errors.contains("uwsgi at 0.0.0.0:") && errors.contains("loopback"), "{errors}");
}

#[test]
fn rfc3875_4_4_with_gateway_interface_it_is_a_cgi_program_and_its_arguments_are_ignored() {
    let mut child = command();
    // The folder it serves without flags is the one it is started in.
    child.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packets"));
    child.args(["--help", "--port", "x"]).env("GATEWAY_INTERFACE", "CGI/1.1");
    let mut child = child.env("REQUEST_METHOD", "GET").env("PATH_INFO", "/mod.rs").spawn().unwrap();
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    assert!(child.wait().unwrap().success());
    let reply = read_reply(Door::Cgi, &out).unwrap();
    assert_eq!(reply.code(), 200);
    assert!(reply.content == include_bytes!("packets/mod.rs"));
}
