//! A real browser for tests: Chromium, headless, driven through WebDriver by chromedriver (Debian: `chromium` and `chromium-driver`).
//!
//! Where they are not installed, a test prints that it was skipped. Nothing here sleeps: what must happen is asked for until it has happened.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use doorway::web::base64_decode;

use crate::serving::Folder;

/// A browser starts slowly on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One browser at a time: each has a dozen processes.
static ONE: Mutex<()> = Mutex::new(());

/// A browser and its driver, with a profile of its own. Both end with the test.
pub struct Browser {
    driver: Child,
    address: String,
    session: String,
    _profile: Folder,
    _one: MutexGuard<'static, ()>,
}

/// Starts chromedriver. Gives its port, unless it ends without having one.
fn driver() -> Option<(Child, String)> {
    let mut command = Command::new("chromedriver");
    let mut driver = command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port_of = |line: String| Some(line.split_once("successfully on port ")?.1.trim_end_matches('.').to_owned());
    let Some(port) = lines.find_map(|line| port_of(line.unwrap())) else {
        driver.wait().unwrap();
        return None;
    };
    Some((driver, port))
}

impl Browser {
    /// `None`, with a word about it, where there is none.
    pub fn start() -> Option<Browser> {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let is_there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
        let Some(binary) = names.iter().find(|name| is_there(name)) else {
            println!("skipped: chromium is not installed");
            return None;
        };
        if Command::new("chromedriver").arg("--version").output().is_err() {
            println!("skipped: chromedriver is not installed");
            return None;
        }
        // It takes a port of IPv4 and then the same of IPv6, which somebody may have: then it ends.
        let mut drivers = std::iter::repeat_with(driver).take(5);
        let (driver, port) = drivers.find_map(|driver| driver).expect("chromedriver says its port");
        let profile = Folder::new(&[]);
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--autoplay-policy=no-user-gesture-required",
            &format!("--user-data-dir={}", profile.path().display()),
        ]
        .map(quoted)
        .join(",");
        let path = String::from_utf8(Command::new("which").arg(binary).output().unwrap().stdout).unwrap();
        let options = format!("{{\"binary\":{},\"args\":[{flags}]}}", quoted(path.trim()));
        let mut browser = Browser {
            driver,
            address: format!("127.0.0.1:{port}"),
            session: String::new(),
            _profile: profile,
            _one: one,
        };
        let body = format!("{{\"capabilities\":{{\"alwaysMatch\":{{\"goog:chromeOptions\":{options}}}}}}}");
        let answer = browser.ask("POST", "/session", &body);
        browser.session = text_of(&answer, "sessionId").unwrap_or_else(|| panic!("no session: {answer}"));
        Some(browser)
    }

    /// One command, and what it answers. A command that fails ends the test.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        for line in reader.by_ref().lines() {
            let line = line.unwrap().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        reader.take(length).read_to_string(&mut answer).unwrap();
        assert!(!answer.starts_with("{\"value\":{\"error\""), "{method} {path} {body}: {answer}");
        answer
    }

    pub fn session(&self) -> &str {
        &self.session
    }

    pub fn command(&self, path: &str, body: &str) -> String {
        self.ask("POST", &format!("/session/{}{path}", self.session), body)
    }

    /// A command of the browser's own protocol, for what WebDriver has none.
    pub fn devtools(&self, command: &str, parameters: &str) -> String {
        self.command("/goog/cdp/execute", &format!("{{\"cmd\":{},\"params\":{parameters}}}", quoted(command)))
    }

    /// What is seen, as a PNG file.
    pub fn picture(&self) -> Vec<u8> {
        let answer = self.ask("GET", &format!("/session/{}/screenshot", self.session), "");
        let text = text_of(&answer, "value").unwrap_or_else(|| panic!("no picture: {answer}"));
        base64_decode(text.as_bytes()).expect("base64")
    }

    /// Opens a page and waits until it has loaded.
    pub fn open(&self, url: &str) {
        self.command("/url", &format!("{{\"url\":{}}}", quoted(url)));
    }

    /// What a function body returns or promises, as text.
    pub fn run(&self, script: &str) -> String {
        let script =
            format!("return Promise.resolve((async () => {{ {script} }})()).then(String, (e) => `failed: ${{e}}`)");
        let answer = self.command("/execute/sync", &format!("{{\"script\":{},\"args\":[]}}", quoted(&script)));
        text_of(&answer, "value").unwrap_or_else(|| panic!("no text: {answer}"))
    }

    /// Asks until a function body returns this.
    #[track_caller]
    pub fn until(&self, script: &str, wanted: &str) {
        let begin = Instant::now();
        loop {
            let got = self.run(script);
            if got == wanted {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{script} is {got:?} and never {wanted:?}");
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Killing the driver alone would leave the browser running; and a test that has failed already must not fail again here.
        if !self.session.is_empty() {
            let request =
                format!("DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", self.session);
            let mut answer = [0];
            let _ = TcpStream::connect(&self.address).and_then(|mut stream| {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(request.as_bytes())?;
                // It answers when the browser has ended.
                stream.read(&mut answer)
            });
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A text as JSON has it.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            letter if letter < ' ' => out.push_str(&format!("\\u{:04x}", letter as u32)),
            letter => out.push(letter),
        }
    }
    out + "\""
}

/// The text behind a name in JSON.
pub fn text_of(json: &str, name: &str) -> Option<String> {
    let mut letters = json.split_once(&format!("\"{name}\":\""))?.1.chars();
    let mut text = String::new();
    loop {
        match letters.next()? {
            '"' => return Some(text),
            '\\' => match letters.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'u' => {
                    let code: String = letters.by_ref().take(4).collect();
                    text.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
                }
                letter => text.push(letter),
            },
            letter => text.push(letter),
        }
    }
}
