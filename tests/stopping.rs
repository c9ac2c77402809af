//! Nothing is lost when the command stops: whatever a client had sent by then, and on every connection that was accepted, is answered.

#![cfg(unix)]

mod serving;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serving::{PATIENCE, Serving};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn send(signal: &str, serving: &Serving) {
    assert!(Command::new("kill").args([signal, &serving.child.id().to_string()]).status().unwrap().success());
}

fn connect(address: &str) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Reads one response, to its end or to that of the connection.
fn response(client: &mut TcpStream) -> String {
    let mut response = Vec::new();
    let mut room = [0; 4096];
    while !response.ends_with(b"</h1>") {
        match client.read(&mut room) {
            // By a debugger, or whatever else stops a process and lets it go on.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(length) => response.extend_from_slice(&room[..length]),
        }
    }
    String::from_utf8_lossy(&response).into_owned()
}

/// A command that stands still has got requests on connections that it has kept, on others that it has only accepted, and on some that
/// wait for that. It is told to stop before it goes on: how many were answered.
fn answered_of_sixty(mut serving: Serving, address: &str) -> usize {
    let mut clients: Vec<TcpStream> = (0..40).map(|_| connect(address)).collect();
    for kept in &mut clients[..20] {
        kept.write_all(REQUEST).unwrap();
        let response = response(kept);
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }
    send("-STOP", &serving);
    clients.extend((0..20).map(|_| connect(address)));
    clients.iter_mut().for_each(|client| client.write_all(REQUEST).unwrap());
    send("-TERM", &serving);
    send("-CONT", &serving);
    let is_whole = |response: &String| response.starts_with("HTTP/1.1 200 ") && response.ends_with("</h1>");
    let answered = clients.iter_mut().map(response).filter(is_whole).count();
    drop(clients);
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    answered
}

#[test]
fn sixty_requests_at_a_command_that_stands_still_are_answered_though_it_is_told_to_stop() {
    let folder = serving::Folder::new(&[("index.html", "<h1>home</h1>")]);
    for round in 0..50 {
        let serving = Serving::folder(folder.path(), &["--quiet"]);
        let address = serving.address().to_owned();
        assert_eq!(answered_of_sixty(serving, &address), 60, "round {round}, a socket of its own");

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
        command.args(["--quiet", "--stdin"]).arg(folder.path()).stdin(OwnedFd::from(listener));
        assert_eq!(answered_of_sixty(Serving::with(&mut command), &address), 60, "round {round}, an inherited socket");
    }
}

#[test]
fn what_was_connected_a_moment_before_a_stop_is_answered_when_it_asks() {
    let mut serving = Serving::start(&["--demo", "--port=0", "--quiet"]);
    let mut kept = connect(serving.address());
    kept.write_all(REQUEST).unwrap();
    assert!(kept.read(&mut [0; 4096]).unwrap() > 0);
    let mut new = connect(serving.address());
    send("-TERM", &serving);
    // A listener that is closed says that the stop has begun: the connections were looked at for it, or are in this moment.
    while TcpStream::connect(serving.address()).is_ok() {
        std::thread::yield_now();
    }
    for client in [&mut kept, &mut new] {
        client.write_all(REQUEST).unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        assert!(response.contains("\r\nConnection: close\r\n"), "{response}");
    }
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_old_process_leaves_a_shared_socket_at_once_however_quick_another_is_to_accept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
        Serving::with(
            command
                .args(["--demo", "--quiet", "--stdin"])
                .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap()))),
        )
    };
    let mut old = start();
    for _ in 0..20 {
        let new = start();
        let begin = Instant::now();
        send("-TERM", &old);
        assert_eq!(old.child.wait().unwrap().code(), Some(0));
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        assert!(new.get("/").starts_with("HTTP/1.1 200 "));
        old = new;
    }
}

#[test]
fn threads_that_cannot_be_started_are_named_and_numbered() {
    // An emulator would need the memory itself.
    if !serving::is_program() {
        return;
    }
    let binary = env!("CARGO_BIN_EXE_doorway");
    // Address space for ten stacks of this size. What is left beside them is enough for what the threads that did start allocate: where they
    // find nothing either, std ends the process.
    let script = format!("ulimit -v 1000000 && RUST_MIN_STACK=100000000 exec {binary} --demo --port=0 --threads=1000");
    let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("threads can be started") && !text.contains("only 0 of"), "{text}");
}
