//! The `doorway` command as a script sees it: its first line, its log, its exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

/// A running command, with the first line it printed. It is killed however the test ends.
struct Serving {
    child: Child,
    out: BufReader<ChildStdout>,
    first_line: String,
}

impl Serving {
    fn start(arguments: &[&str]) -> Serving {
        let mut child = Command::new(env!("CARGO_BIN_EXE_doorway"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut serving = Serving { child, out, first_line: String::new() };
        serving.out.read_line(&mut serving.first_line).unwrap();
        serving
    }

    fn address(&self) -> &str {
        self.first_line.strip_prefix("http://").and_then(|url| url.strip_suffix("/\n")).expect("a URL")
    }

    fn ask(&self, request: &str) -> String {
        let mut client = TcpStream::connect(self.address()).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        response
    }

    fn log(&mut self) -> BufReader<ChildStderr> {
        BufReader::new(self.child.stderr.take().unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command that ends by itself says. One that serves instead is killed, and fails the test.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut serving = Serving::start(arguments);
    assert!(!serving.first_line.starts_with("http://"), "{arguments:?} serves at {}", serving.first_line);
    let (mut out, mut err) = (std::mem::take(&mut serving.first_line), String::new());
    serving.out.read_to_string(&mut out).unwrap();
    serving.log().read_to_string(&mut err).unwrap();
    (serving.child.wait().unwrap().code(), out, err)
}

#[test]
fn the_first_line_of_output_is_the_url_and_the_demo_application_is_behind_it() {
    let serving = Serving::start(&["--port", "0"]);
    assert!(!serving.address().ends_with(":0"), "{}", serving.first_line);
    assert!(serving.address().starts_with("127.0.0.1:"), "{}", serving.first_line);
    let response = serving.ask("GET /here HTTP/1.0\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains("\r\n\r\nHello world!\n"), "{response}");
    assert!(response.contains("PATH_INFO = \"/here\"\n"), "{response}");
}

#[test]
fn each_request_is_one_line_on_standard_error() {
    let mut serving = Serving::start(&["--port=0", "--threads", "2"]);
    let mut log = serving.log();
    for path in ["/first", "/second"] {
        serving.ask(&format!("GET {path} HTTP/1.0\r\n\r\n"));
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
        assert!(line.contains(&format!("\"GET {path} HTTP/1.0\" 200 ")), "{line}");
    }
}

#[test]
fn a_refused_request_is_one_line_with_the_number_of_its_cause() {
    let mut serving = Serving::start(&["--port", "0"]);
    let mut log = serving.log();
    assert!(serving.ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    assert!(line.starts_with("1031 host-missing: "), "{line}");
}

#[test]
fn a_taken_port_is_one_clear_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (_, port) = address.split_once(':').unwrap();
    let (code, out, err) = run(&["--port", port]);
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(
        err.starts_with("doorway: ") && err.contains(&address) && err.contains("another program listens there"),
        "{err}"
    );
}

#[test]
fn an_address_that_this_machine_does_not_have_is_one_clear_line_and_exit_code_1() {
    // TEST-NET-1 of RFC 5737, which no machine has.
    let (code, out, err) = run(&["--host", "192.0.2.1", "--port", "0"]);
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    assert!(err.lines().count() == 1 && err.contains("192.0.2.1"), "{err}");
}

#[test]
fn wrong_usage_says_what_is_wrong_and_exits_with_2() {
    for (arguments, part) in [
        (&["--prot", "1"][..], "did you mean --port?"),
        (&["--port"], "--port needs a value"),
        (&["--port", "eighty"], "a port is a number"),
        (&["folder"], "unknown argument folder"),
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, &*out), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.contains(part) && err.contains("--help"), "{arguments:?}: {err}");
    }
}

#[test]
fn help_and_version_go_to_standard_output_and_exit_with_0() {
    let (code, out, err) = run(&["--help"]);
    assert_eq!((code, &*err), (Some(0), ""));
    assert!(
        ["Usage: doorway", "--port", "--host", "--threads", "--version"].iter().all(|part| out.contains(part)),
        "{out}"
    );
    assert_eq!(run(&["-h"]).1, out);
    let version = concat!("doorway ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(run(&["--version"]), (Some(0), version.to_owned(), String::new()));
}
