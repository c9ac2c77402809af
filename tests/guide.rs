//! docs/guide.md and docs/from-tiny-http.md, done as they say: every program is compiled, started, asked with the commands below it, and must print what stands there.
//!
//! A block `rust` is a program. `sh` behind it are commands for while it runs, `text` behind those is what they print; `text` right behind a program is
//! what it prints itself. A block `rust,compile_fail,E...` fails with that error, and the compiler says the lines of the `text` behind it. `rust,ignore` is a program of another library.

mod support;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::PATIENCE;
use support::pages::{fences, read};
use support::rustc::{Compiled, compile, library};

/// A running program, killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Compiles a program that says `127.0.0.1:8000` for another port.
fn program(library: &Path, folder: &Path, number: usize, text: &str, port: u16) -> Option<PathBuf> {
    let text = text.replace("127.0.0.1:8000", &format!("127.0.0.1:{port}"));
    match compile(library, &folder.join(number.to_string()), &text, false)? {
        Compiled::Program(program) => Some(program),
        Compiled::Errors(errors) => panic!("program {number} of the guide:\n{text}\n{errors}"),
    }
}

fn printed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A program that has just been started does not listen yet. To connect and see would be a client already, so each command itself is tried again.
const UNTIL_IT_LISTENS: &str = "curl() {
    for try in $(seq 1 1000); do
        command curl \"$@\" && return 0
        status=$?
        # 7: no connection
        [ $status = 7 ] || return $status
    done
}
";

/// What the commands print while the program runs.
fn asked(program: &Path, commands: &str, port: u16) -> String {
    let folder = program.parent().unwrap();
    let _running = Running(Command::new(program).current_dir(folder).stderr(Stdio::null()).spawn().unwrap());
    let commands = commands.replace("127.0.0.1:8000", &format!("127.0.0.1:{port}"));
    printed(Command::new("sh").arg("-ec").arg(format!("{UNTIL_IT_LISTENS}{commands}")).current_dir(folder))
}

#[test]
fn every_program_of_the_guide_compiles_runs_and_answers_as_it_says_there() {
    if let Some((programs, mistakes)) = done("guide") {
        assert!(programs >= 10 && mistakes >= 5, "{programs} programs, {mistakes} mistakes");
    }
}

#[test]
fn every_program_for_those_who_come_from_tiny_http_does_what_theirs_did() {
    if let Some((programs, _)) = done("from-tiny-http") {
        assert!(programs >= 6, "{programs} programs");
    }
}

/// Does everything that a page says; gives the number of programs and of mistakes, or `None`, with a word about it, without a compiler.
fn done(name: &str) -> Option<(usize, usize)> {
    let library = library()?;
    let has_curl = Command::new("curl").arg("--version").output().is_ok();
    if !has_curl {
        println!("skipped: curl is not installed, so the programs are compiled and not asked");
    }
    let page = read(&format!("docs/{name}.md"));
    let folder = std::env::temp_dir().join(format!("doorway-{name}-{}", std::process::id()));
    let blocks = fences(&page);
    let mut rest = &blocks[..];
    let (mut programs, mut mistakes) = (0, 0);
    while let [(language, text), behind @ ..] = rest {
        let port = free_port();
        rest = match (&**language, behind) {
            ("rust", [(sh, commands), (printed, expected), behind @ ..]) if sh == "sh" && printed == "text" => {
                let program = program(&library, &folder, programs, text, port)?;
                if has_curl {
                    assert_eq!(asked(&program, commands, port), *expected, "{text}\n{commands}");
                }
                programs += 1;
                behind
            }
            ("rust", [(kind, expected), behind @ ..]) if kind == "text" => {
                let program = program(&library, &folder, programs, text, port)?;
                assert_eq!(printed(&mut Command::new(program)), *expected, "{text}");
                programs += 1;
                behind
            }
            (language, [(kind, lines), behind @ ..])
                if language.starts_with("rust,compile_fail,") && kind == "text" =>
            {
                let number = language.rsplit(',').next().unwrap();
                let errors = match compile(&library, &folder.join("mistake"), text, true) {
                    None => return None,
                    Some(Compiled::Program(_)) => panic!("it compiles:\n{text}"),
                    Some(Compiled::Errors(errors)) => errors,
                };
                let is_said = lines.lines().all(|line| errors.contains(line));
                assert!(errors.contains(&format!("error[{number}]")) && is_said, "{text}\n{errors}");
                mistakes += 1;
                behind
            }
            ("rust,ignore", behind) => behind,
            _ => panic!("a block of {language:?} that nobody runs:\n{text}"),
        };
    }
    fs::remove_dir_all(&folder).unwrap();
    Some((programs, mistakes))
}

#[test]
fn one_at_a_time_answers_as_the_tutorial_says() {
    use std::io::{Read, Write};

    let (mut client, served) = pair();
    let server = std::thread::spawn(move || one_at_a_time::answer(served, &doorway::app::demo));
    // In two pieces, as a network may deliver it.
    for piece in ["POST /caf%C3%A9?a=b HTTP/1.1\r\nHost: x\r\nContent-Le", "ngth: 3\r\n\r\nabc"] {
        client.write_all(piece.as_bytes()).unwrap();
    }
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    server.join().unwrap().unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\n"), "{response}");
    for line in ["Hello world!", "PATH_INFO = \"/caf\\xc3\\xa9\"", "CONTENT_LENGTH = \"3\"", "QUERY_STRING = \"a=b\""] {
        assert!(response.contains(line), "{line}\n{response}");
    }
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
        ("GET / HTTP/3\r\n\r\n", "HTTP/1.1 400 "),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 501 "),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", "HTTP/1.1 413 "),
    ] {
        let (mut client, served) = pair();
        client.write_all(request.as_bytes()).unwrap();
        let server = std::thread::spawn(move || one_at_a_time::answer(served, &doorway::app::demo));
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        server.join().unwrap().unwrap();
        assert!(response.starts_with(status), "{request}\n{response}");
    }
}

#[allow(dead_code, reason = "main is for those who run it")]
#[path = "../examples/one_at_a_time.rs"]
mod one_at_a_time;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    (client, listener.accept().unwrap().0)
}
