//! The recipes for HTTPS in docs/command.md, each run as it stands there with other ports, and asked over TLS by curl. Where a program is not
//! installed, it says so.
#![cfg(unix)]

#[path = "support/pages.rs"]
mod pages;
mod serving;

use std::io::Read;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use pages::block;
use serving::{Folder, PATIENCE, Serving, free_port, is_there};

/// The lines of the recipe that names a program.
fn recipe(program: &str) -> [String; 2] {
    let lines: Vec<String> = block("docs/command.md", program).lines().map(str::to_owned).collect();
    lines.try_into().expect("a recipe of two lines")
}

/// A shell with all it has started, ended with the test.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["--", &format!("-{}", self.0.id())]).status();
        let _ = self.0.wait();
    }
}

/// Runs both lines of a recipe and asks through what it opens.
fn check(program: &str) {
    use std::os::unix::process::CommandExt;
    let [first, second] = recipe(program);
    let flags =
        first.strip_prefix("doorway --port 8000 ").and_then(|rest| rest.strip_suffix(" &")).expect("the command");
    let site = Folder::new(&[("index.html", "<p>private")]);
    let serving = Serving::folder(site.path(), &flags.split(' ').collect::<Vec<_>>());
    let (_, port) = serving.address().rsplit_once(':').unwrap();
    let secure = free_port();
    let certificate = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=machine.local"];
    let place = Folder::new(&[]);
    let made = Command::new("openssl")
        .args(certificate)
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(place.path())
        .output();
    assert!(made.unwrap().status.success());
    let both = ["key.pem", "cert.pem"].map(|name| std::fs::read_to_string(place.path().join(name)).unwrap()).concat();
    place.write("machine.pem", both);
    let line = second.replace("127.0.0.1:8000", &format!("127.0.0.1:{port}")).replace("8443", &secure.to_string());
    let mut command = Command::new("sh");
    command.args(["-c", &line]).current_dir(place.path()).env("HOME", place.path()).env("XDG_DATA_HOME", place.path());
    command
        .env("XDG_CONFIG_HOME", place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut shell = Shell(command.spawn().unwrap());
    let begin = Instant::now();
    let url = format!("https://machine.local:{secure}/");
    let resolve = format!("machine.local:{secure}:127.0.0.1");
    loop {
        if let Ok(Some(status)) = shell.0.try_wait() {
            let mut said = String::new();
            shell.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("{line}: {status}: {said}");
        }
        // Somebody listens before the certificate is there.
        if TcpStream::connect(("127.0.0.1", secure)).is_ok() {
            let output =
                Command::new("curl").args(["-sSk", "--max-time", "10", "--resolve", &resolve, &url]).output().unwrap();
            if output.stdout == b"<p>private" {
                return;
            }
        }
        assert!(begin.elapsed() < PATIENCE, "{line}: no answer");
        std::thread::yield_now();
    }
}

#[test]
fn the_recipe_with_caddy_serves_a_folder_by_https() {
    if is_there("caddy", "version") && is_there("curl", "--version") && is_there("openssl", "version") {
        check("caddy");
    }
}

#[test]
fn the_recipe_with_stunnel_serves_a_folder_by_https() {
    if is_there("stunnel", "-version") && is_there("curl", "--version") && is_there("openssl", "version") {
        check("stunnel");
    }
}
