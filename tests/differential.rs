//! What an application sees of a request is what somebody else reads in the same bytes: Python's `http.server` reads the head, and
//! its `http.client` the chunks.
//!
//! Only requests that doorway serves are compared: what it refuses, others may well serve. One python process reads all of them; where
//! there is none, the test says so and passes.

mod apps;
mod reference;
mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use apps::{Call, Recorder};
use reference::generator::{Random, Room, valid};
use support::{in_memory, show};

/// How many requests are compared.
const CASES: usize = 1_500;

/// Reads cases from standard input, each as its length in a line and its bytes; writes one line for each part of each.
const PYTHON: &str = r#"
import http.client, http.server, io, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, bytes):
        self.rfile, self.wfile = io.BytesIO(bytes), io.BytesIO()
        self.client_address = ("", 0)

    def log_message(self, *arguments):
        pass

    def read(self):
        # Empty lines before a request line are not its business.
        self.raw_requestline = b"\r\n"
        while self.raw_requestline == b"\r\n":
            self.raw_requestline = self.rfile.readline(65537)
        if not self.parse_request():
            return say("E", self.wfile.getvalue()[:80])
        method, target, version = self.requestline.split()
        say("M", self.command.encode()), say("U", target.encode("latin-1")), say("V", self.request_version.encode())
        if self.command != method:
            say("E", b"method")
        for name, value in self.headers.items():
            say("F", name.encode("latin-1"), value.rstrip(" \t").encode("latin-1"))
        if self.headers.get("Transfer-Encoding"):
            # http.client reads responses; its chunks are those of requests.
            response = http.client.HTTPResponse(Socket(self.rfile))
            response.begin()
            say("B", response.read())
        else:
            say("B", self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        say("R", self.rfile.read())

class Socket:
    """Says that a response begins, and goes on with the content of a request."""
    def __init__(self, file):
        self.file, self.head = file, io.BytesIO(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    def makefile(self, mode):
        return self

    def readline(self, *most):
        return self.head.readline(*most) or self.file.readline(*most)

    def read(self, *most):
        return self.file.read(*most)

    def readinto(self, room):
        return self.file.readinto(room)

    def flush(self):
        pass

    def close(self):
        pass

def say(kind, *parts):
    print(kind, *(part.hex() or "-" for part in parts))

while line := sys.stdin.buffer.readline():
    try:
        Handler(sys.stdin.buffer.read(int(line))).read()
    except Exception as error:
        say("E", repr(error).encode())
    print("END")
"#;

/// What Python makes of one request.
#[derive(Debug, Default)]
struct Read {
    method: Vec<u8>,
    target: Vec<u8>,
    version: Vec<u8>,
    fields: Vec<(String, Vec<u8>)>,
    content: Vec<u8>,
    rest: Vec<u8>,
    error: Option<Vec<u8>>,
}

fn python_reads(cases: &[Vec<u8>]) -> Option<Vec<Read>> {
    let python = ["python3", "python"].into_iter().find(|name| {
        let mut version = Command::new(name);
        version.args(["-c", "import sys; assert sys.version_info >= (3, 8)"]).stderr(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    })?;
    let mut child = Command::new(python)
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts, as it did a moment ago");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input: Vec<u8> =
        cases.iter().flat_map(|case| [format!("{}\n", case.len()).as_bytes(), case].concat()).collect();
    let writing = std::thread::spawn(move || stdin.write_all(&input).expect("python reads"));
    let output = child.wait_with_output().expect("python ends");
    writing.join().expect("a writer");
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).expect("hexadecimal lines");
    let mut all = vec![Read::default()];
    for line in text.lines() {
        let parts: Vec<&str> = line.split(' ').collect();
        let read = all.last_mut().expect("one at least");
        match parts[..] {
            ["END"] => all.push(Read::default()),
            ["M", method] => read.method = bytes(method),
            ["U", target] => read.target = bytes(target),
            ["V", version] => read.version = bytes(version),
            ["F", name, value] => read.fields.push((String::from_utf8(bytes(name)).expect("a token"), bytes(value))),
            ["B", content] => read.content = bytes(content),
            ["R", rest] => read.rest = bytes(rest),
            ["E", error] => read.error = Some(bytes(error)),
            _ => panic!("python said {line:?}"),
        }
    }
    all.pop();
    Some(all)
}

fn bytes(hex: &str) -> Vec<u8> {
    let hex = hex.trim_matches('-');
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits")).collect()
}

/// The variables of the fields that an application may see.
fn variables(read: &Read) -> BTreeMap<String, Vec<u8>> {
    let withheld = "connection keep-alive proxy-connection te trailer transfer-encoding upgrade expect proxy";
    let mut all = BTreeMap::<String, Vec<u8>>::new();
    for (name, value) in &read.fields {
        let lower = name.to_ascii_lowercase();
        if withheld.split(' ').any(|other| other == lower) || name.contains(['_', '.']) {
            continue;
        }
        let variable = match &*lower {
            "content-type" => "CONTENT_TYPE".to_owned(),
            "content-length" => "CONTENT_LENGTH".to_owned(),
            _ => format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_")),
        };
        let separator: &[u8] = if lower == "cookie" { b"; " } else { b", " };
        all.entry(variable).and_modify(|joined| *joined = [joined, separator, value].concat()).or_insert(value.clone());
    }
    all
}

#[test]
fn what_the_application_saw_is_what_python_reads() {
    let room = Room { target: 8_190, field_line: 8_190, fields: 30, head: 65_536, content: 4_096 };
    let mut cases = Vec::new();
    let mut calls = Vec::<Call>::new();
    let mut random = Random(42);
    while cases.len() < CASES {
        let bytes = valid(&mut random, &room, false).bytes();
        let recorder = Recorder::default();
        in_memory([&bytes[..]], recorder.clone());
        let mut seen = recorder.take();
        // `OPTIONS *` is the server's own business.
        if let Some(call) = seen.pop() {
            assert!(seen.is_empty() && call.content.is_ok(), "{}", show(&bytes));
            calls.push(call);
            cases.push(bytes);
        }
    }
    let Some(reads) = python_reads(&cases) else {
        println!("skipped: there is no python3 to compare with");
        return;
    };
    assert_eq!(reads.len(), cases.len());
    for ((case, call), read) in cases.iter().zip(&calls).zip(&reads) {
        let what = format!("{}\ndoorway: {call:?}\npython: {read:?}", show(case));
        assert_eq!(read.error.as_deref().map(show), None, "{what}");
        assert_eq!(call.bytes("REQUEST_METHOD"), Some(&read.method[..]), "{what}");
        assert_eq!(call.bytes("REQUEST_URI"), Some(&read.target[..]), "{what}");
        // Python keeps the later minor versions, which count as 1.1.
        let version: &[u8] = if read.version == b"HTTP/1.0" { b"HTTP/1.0" } else { b"HTTP/1.1" };
        assert_eq!(call.bytes("SERVER_PROTOCOL"), Some(version), "{what}");
        let is_field = |name: &str| name.starts_with("HTTP_") || name.starts_with("CONTENT_");
        let mut seen: BTreeMap<_, _> = call.vars.clone().into_iter().filter(|(name, _)| is_field(name)).collect();
        let mut expected = variables(read);
        if !read.target.starts_with(b"/") {
            // The authority of an absolute target replaces Host, which Python leaves to its applications.
            let authority = read.target.split(|byte| *byte == b'/' || *byte == b'?').nth(2).map(<[u8]>::to_vec);
            assert_eq!(seen.remove("HTTP_HOST"), authority, "{what}");
            expected.remove("HTTP_HOST");
        }
        assert_eq!(seen, expected, "{what}");
        assert_eq!(call.content(), read.content, "{what}");
        assert_eq!(show(&read.rest), "", "{what}");
    }
    println!("{} requests are read alike", cases.len());
}
