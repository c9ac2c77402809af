//! Promise: a process that has no descriptors left goes on. It closes the connection that has waited longest, says so once, and answers
//! whoever comes (EMFILE, accept(2)).
//!
//! The limit is the process's, so the server runs in a process of its own: this test program again, started under a lower limit.

#![cfg(unix)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use doorway::Cause;
use support::{Client, serve_with};

/// What the process may have open: its own files, the listener, and so about a dozen connections.
const DESCRIPTORS: &str = "24";

/// The server's process.
struct Limited {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Limited {
    fn start(program: &Path) -> Limited {
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n \"$1\" && shift && exec \"$@\"", "sh", DESCRIPTORS])
            .arg(program)
            .args(["--ignored", "--exact", "the_server_of_the_other_test", "--nocapture", "--test-threads=1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Limited { child, said }
    }

    /// The rest of the first line that holds `what`.
    fn says(&mut self, what: &str) -> String {
        let mut line = String::new();
        while self.said.read_line(&mut line).unwrap() > 0 {
            if let Some((_, rest)) = line.split_once(what) {
                return rest.trim().to_owned();
            }
            line.clear();
        }
        panic!("the server never said {what:?}");
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "a part of the other test, which starts it under a limit of descriptors"]
fn the_server_of_the_other_test() {
    let house = serve_with(doorway::app::demo, |settings| {
        settings.threads = 2;
        // More than there are descriptors: the limit that is met is the system's.
        settings.max_connections = 1_000;
    });
    println!("listening at {}", house.tcp());
    // Until the other test has seen enough.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    let lines = house.log.causes().iter().filter(|cause| **cause == Cause::AcceptFailed).count();
    println!("failures {} lines {lines}", house.handle.stats().count(Cause::AcceptFailed));
}

#[test]
fn without_descriptors_the_longest_waiting_goes_and_newcomers_are_answered() {
    let Some(program) = support::itself() else { return };
    let mut server = Limited::start(&program);
    let address: SocketAddr = server.says("listening at ").parse().unwrap();
    // Four times what can be open. They say nothing.
    let crowd: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    for _ in 0..20 {
        let mut client = Client::<TcpStream>::connect(address);
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response().status, 200);
    }
    drop(crowd);
    let mut client = Client::<TcpStream>::connect(address);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 200);
    server.child.stdin.take().unwrap().flush().unwrap();
    // One line, however often it happened.
    assert_eq!(server.says("failures "), "1 lines 1");
}
