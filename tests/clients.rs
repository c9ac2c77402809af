//! Clients that people really use, against a server in this process: curl, Python's http.client, wrk and ab.
//!
//! Each test says so and passes where its client is not installed.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use doorway::{Body, Environ, Handle, Server, StartResponse, app};

/// What a client printed; `None`, with a word about it, where the client is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    run_with(program, arguments, "")
}

/// The same with `input` on its standard input.
fn run_with(program: &str, arguments: &[&str], input: &str) -> Option<Output> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: {program} is not installed");
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    // A client that does not read its input has closed it, and its own words are worth more than this error.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{out}\n{err}", output.status);
    Some(output)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn demo() -> (Handle, String) {
    serve(app::demo)
}

fn serve(application: impl doorway::Application) -> (Handle, String) {
    let handle = Server::bind("127.0.0.1:0").unwrap().spawn(application).unwrap();
    let url = format!("http://{}/", handle.addr());
    (handle, url)
}

/// Answers with the number of bytes that arrived, and how they were announced.
fn count(environ: &Environ, start_response: &mut StartResponse) -> std::io::Result<Body> {
    let received = std::io::copy(&mut environ.input(), &mut std::io::sink())?;
    start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    Ok(format!("{} {received} of {:?}\n", environ.method(), environ.content_length()).into())
}

const MEGABYTE: usize = 1024 * 1024;

/// A file that a test sends, removed when the test is over.
struct Sent(PathBuf);

impl Sent {
    fn of(size: usize, name: &str) -> Sent {
        let path = std::env::temp_dir().join(format!("doorway-{}-{name}", std::process::id()));
        std::fs::write(&path, vec![b'x'; size]).unwrap();
        Sent(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn curl_gets_a_page_and_keeps_the_connection() {
    let (handle, url) = demo();
    let Some(output) = run("curl", &["-sS", "-i", &format!("{url}a?b=c"), &url]) else { return };
    let pages = text(&output);
    assert!(pages.starts_with("HTTP/1.1 200 OK\r\n"), "{pages}");
    assert!(pages.contains("\r\n\r\nHello world!\n") && pages.contains("QUERY_STRING = \"b=c\"\n"), "{pages}");
    assert_eq!(pages.matches("Hello world!").count(), 2, "{pages}");
    assert_eq!(handle.stats().accepted, 1);
}

#[test]
fn curl_gets_a_head_without_a_body() {
    let (_handle, url) = demo();
    let Some(output) = run("curl", &["-sS", "-I", &url]) else { return };
    let head = text(&output);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\ncontent-length: "), "{head}");
    assert!(!head.contains("Hello"), "{head}");
}

#[test]
fn curl_speaks_http_1_0() {
    let (_handle, url) = demo();
    let Some(output) = run("curl", &["-sS", "-i", "--http1.0", &url]) else { return };
    let page = text(&output);
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("SERVER_PROTOCOL = \"HTTP/1.0\"\n"), "{page}");
    assert!(!page.to_ascii_lowercase().contains("transfer-encoding"), "{page}");
}

#[test]
fn curl_uploads_a_file_whole() {
    let (_handle, url) = serve(count);
    let file = Sent::of(MEGABYTE, "upload");
    let Some(output) = run("curl", &["-sS", "-T", file.path(), &url]) else { return };
    assert_eq!(text(&output), format!("PUT {MEGABYTE} of Some({MEGABYTE})\n"));
    let chunked = ["-sS", "-H", "Transfer-Encoding: chunked", "-T", file.path(), &url];
    let output = run("curl", &chunked).unwrap();
    assert_eq!(text(&output), format!("PUT {MEGABYTE} of None\n"));
}

#[test]
fn curl_reads_the_answer_to_an_upload_that_the_application_left_unread() {
    let (_handle, url) = demo();
    let file = Sent::of(MEGABYTE, "unread");
    for expect in ["Expect: 100-continue", "Expect:"] {
        let arguments = ["-sS", "-H", expect, "-w", "\n%{http_code}", "-T", file.path(), &url];
        let Some(output) = run("curl", &arguments) else { return };
        let page = text(&output);
        assert!(page.starts_with("Hello world!\n") && page.ends_with("\n200"), "{expect} {page}");
    }
}

#[test]
fn curl_waits_for_100_continue_and_gets_it() {
    let (_handle, url) = serve(count);
    let file = Sent::of(100_000, "expect");
    let data = format!("@{}", file.path());
    // An impatient curl would send its content after a second all the same; this one has an hour.
    let arguments =
        ["-sS", "-i", "-H", "Expect: 100-continue", "--expect100-timeout", "3600", "--data-binary", &data, &url];
    let Some(output) = run("curl", &arguments) else { return };
    let responses = text(&output);
    assert!(responses.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{responses}");
    assert!(responses.ends_with("\r\n\r\nPOST 100000 of Some(100000)\n"), "{responses}");
}

#[test]
fn python_keeps_a_connection_and_uploads_in_chunks() {
    let (handle, url) = serve(count);
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    let program = r#"
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1])
connection.request("GET", "/")
response = connection.getresponse()
assert response.read() == b"GET 0 of None\n"
socket = connection.sock
connection.request("POST", "/", body=iter([b"x" * 1000] * 100), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
response = connection.getresponse()
assert (response.status, response.read()) == (200, b"POST 100000 of None\n")
connection.request("PUT", "/", body=b"y" * 50000)
assert connection.getresponse().read() == b"PUT 50000 of Some(50000)\n"
assert connection.sock is socket, "the connection was not kept"
print("done")
"#;
    let Some(output) = run_with("python3", &["-", authority], program) else { return };
    assert_eq!(text(&output).trim_end(), "done");
    assert_eq!(handle.stats().accepted, 1);
}

#[test]
fn wrk_with_100_connections_sees_no_error() {
    let (handle, url) = demo();
    let Some(output) = run("wrk", &["-t", "2", "-c", "100", "-d", "1s", &url]) else { return };
    let report = text(&output);
    assert!(report.contains("requests in"), "{report}");
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    let stats = handle.stats();
    assert!(stats.accepted >= 100, "{stats:?}\n{report}");
}

#[test]
fn ab_with_http_1_0_keep_alive_has_no_failed_request() {
    let (_handle, url) = demo();
    // -l: the page tells the port of the client, so its length varies.
    let Some(output) = run("ab", &["-q", "-k", "-l", "-n", "2000", "-c", "20", &url]) else { return };
    let report = text(&output);
    let value = |name: &str| report.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    assert_eq!(value("Complete requests:"), Some("2000"), "{report}");
    assert_eq!(value("Failed requests:"), Some("0"), "{report}");
    assert_eq!(value("Keep-Alive requests:"), Some("2000"), "{report}");
    assert_eq!(value("Non-2xx responses:"), None, "{report}");
}
