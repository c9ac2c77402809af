//! Promise: a binary of doorway is a CGI program and a FastCGI server on descriptor 0, started as RFC 3875 and the FastCGI specification say.

mod packets;
mod support;

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use doorway::Door;
use packets::{fastcgi, get, read_reply};
use support::Client;

/// The example, where there is cargo to build it.
fn program() -> Option<Command> {
    let mut command = Command::new(support::example::example("cgi_script")?);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command)
}

fn run(command: &mut Command, content: &[u8]) -> (Vec<u8>, String, bool) {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // Kept open: a server need not close it (RFC 3875 section 4.2).
    let mut input = child.stdin.take().unwrap();
    input.write_all(content).unwrap();
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    (out, errors, child.wait().unwrap().success())
}

#[test]
fn rfc3875_a_request_is_the_environment_and_the_answer_is_on_standard_output() {
    let Some(mut command) = program() else { return };
    command.envs([
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", "/cgi-bin/hello"),
        ("PATH_INFO", "/ada"),
        ("SERVER_NAME", "example.org"),
    ]);
    let (out, errors, success) = run(&mut command, b"");
    assert_eq!((errors.as_str(), success), ("", true));
    let reply = read_reply(Door::Cgi, &out).unwrap();
    assert_eq!(reply.text(), "Hello, ada! This is cgi at example.org.\n");
    assert_eq!(reply.field("Content-Length"), Some("40"));
}

/// As on a router: the program lies in `cgi-bin`, and a web server that was there before starts it.
#[cfg(unix)]
#[test]
fn busybox_starts_a_program_in_cgi_bin_and_passes_its_answer_on() {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;

    let Some(example) = support::example::example("cgi_script") else { return };
    if Command::new("busybox").args(["httpd", "-d", "a"]).output().is_err() {
        println!("skipped: busybox is not installed");
        return;
    }
    let folder = std::env::temp_dir().join(format!("doorway-busybox-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("cgi-bin")).unwrap();
    std::fs::copy(example, folder.join("cgi-bin/program")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let connection = OwnedFd::from(listener.accept().unwrap().0);
    let mut busybox = Command::new("busybox");
    // As inetd starts it, for one connection.
    busybox.args(["httpd", "-i", "-h"]).arg(&folder).stdin(connection.try_clone().unwrap()).stdout(connection);
    let mut running = busybox.spawn().unwrap();
    drop(busybox);
    client.write_all(b"GET /cgi-bin/program/ada HTTP/1.1\r\nHost: router\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    running.wait().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("Hello, ada! This is cgi at "), "{answer}");
}

#[test]
fn p_env_15_what_the_process_has_as_http_proxy_is_dropped() {
    let Some(example) = support::example::example("five_doors") else { return };
    let ask = |name: &str| {
        let mut command = Command::new(&example);
        command.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs([("GATEWAY_INTERFACE", "CGI/1.1"), ("REQUEST_METHOD", "GET"), ("PATH_INFO", "/"), (name, "evil")]);
        let (out, ..) = run(&mut command, b"");
        read_reply(Door::Cgi, &out).unwrap().text().to_owned()
    };
    assert!(ask("HTTP_PROXY").contains("\nproxy absent\n") && ask("HTTP_X_A").contains("\nx-a evil\n"));
}

#[test]
fn rfc3875_4_4_arguments_are_not_looked_at() {
    let Some(mut command) = program() else { return };
    command.envs([("GATEWAY_INTERFACE", "CGI/1.1"), ("REQUEST_METHOD", "GET"), ("PATH_INFO", "/ada")]);
    let (out, ..) = run(command.args(["--help", "-d", "allow_url_include=on"]), b"");
    assert!(read_reply(Door::Cgi, &out).unwrap().text().starts_with("Hello, ada!"));
}

#[test]
fn rfc3875_a_request_that_cannot_be_read_is_a_status_and_success() {
    let Some(mut command) = program() else { return };
    let (out, errors, success) = run(command.env("GATEWAY_INTERFACE", "CGI/1.1"), b"");
    assert_eq!((read_reply(Door::Cgi, &out).unwrap().code(), success), (400, true));
    assert!(errors.contains("1046 variable-missing"), "{errors}");
}

#[test]
fn g_10_a_refusal_of_cgi_says_nothing_of_another_protocol() {
    let Some(mut command) = program() else { return };
    // The first variable, as SCGI has it.
    command.env("CONTENT_LENGTH", "abc").env("GATEWAY_INTERFACE", "CGI/1.1").env("REQUEST_METHOD", "POST");
    let (out, errors, success) = run(command.env("PATH_INFO", "/"), b"");
    assert_eq!((read_reply(Door::Cgi, &out).unwrap().code(), success), (400, true));
    assert!(errors.contains("content-length") && !errors.contains("SCGI"), "{errors}");
}

#[test]
fn a_program_that_was_started_in_no_known_way_says_so() {
    let Some(mut command) = program() else { return };
    let (out, errors, success) = run(&mut command, b"");
    assert_eq!((&out[..], success), (&b""[..], false));
    assert!(errors.contains("GATEWAY_INTERFACE") && errors.contains("spawn-fcgi"), "{errors}");
}

#[cfg(unix)]
mod descriptor_0 {
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::Child;

    use super::*;

    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    fn greeting(out: &[u8]) -> String {
        read_reply(Door::FastCgi, out).expect("an answer").text().to_owned()
    }

    #[test]
    fn fastcgi_2_2_a_listening_tcp_socket_on_descriptor_0_is_served() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let Some(mut command) = program() else { return };
        let _running = Running(command.stdin(OwnedFd::from(listener)).spawn().unwrap());
        let mut client = Client::connect(address);
        client.send(&fastcgi(1, false, &get("/tcp"), b""));
        assert!(greeting(&client.until_close()).starts_with("Hello, tcp! This is fastcgi"));
    }

    #[test]
    fn fastcgi_2_2_a_listening_unix_socket_on_descriptor_0_is_served() {
        let path = std::env::temp_dir().join(format!("doorway-fd0-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let Some(mut command) = program() else { return };
        let _running = Running(command.stdin(OwnedFd::from(listener)).spawn().unwrap());
        let mut client = Client::over(UnixStream::connect(&path).unwrap());
        std::fs::remove_file(path).unwrap();
        client.send(&fastcgi(1, false, &get("/unix"), b""));
        assert!(greeting(&client.until_close()).starts_with("Hello, unix! This is fastcgi"));
    }

    #[test]
    fn fastcgi_3_2_only_the_addresses_of_web_servers_may_connect() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let Some(mut command) = program() else { return };
        command.env("FCGI_WEB_SERVER_ADDRS", "192.0.2.7,192.0.2.8").stdin(OwnedFd::from(listener));
        let _running = Running(command.spawn().unwrap());
        assert!(Client::connect(address).until_end().is_empty());
    }

    #[test]
    fn fastcgi_2_2_a_connected_socket_is_no_listener() {
        let (_ours, theirs) = UnixStream::pair().unwrap();
        let Some(mut command) = program() else { return };
        let mut child = command.stdin(OwnedFd::from(theirs)).spawn().unwrap();
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn spawn_fcgi_starts_it() {
        let path = std::env::temp_dir().join(format!("doorway-spawn-{}", std::process::id()));
        let Some(example) = support::example::example("cgi_script") else { return };
        let mut command = Command::new("spawn-fcgi");
        command.arg("-n").arg("-s").arg(&path).arg("--").arg(example);
        let Ok(child) = command.env_clear().env("PATH", "/usr/bin:/bin").stderr(Stdio::null()).spawn() else {
            println!("skipped: spawn-fcgi is not installed");
            return;
        };
        let _running = Running(child);
        let give_up = std::time::Instant::now() + support::PATIENCE;
        let stream = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break stream,
                Err(error) => assert!(std::time::Instant::now() < give_up, "{error}"),
            }
            std::thread::yield_now();
        };
        std::fs::remove_file(&path).unwrap();
        let mut client = Client::over(stream);
        client.send(&fastcgi(1, false, &get("/spawned"), b""));
        assert!(greeting(&client.until_close()).starts_with("Hello, spawned! This is fastcgi"));
    }
}
