//! The examples do what they say: each application is called without a socket, and over one where the wire matters.
//!
//! The files of `examples/` are modules here, so that this builds with rustc alone; their `main` is never called.

mod shown;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use doorway::testing::Request;
use doorway::{Application, Body, Cause, Environ, Handle, Server, StartResponse};
use shown::{embedded, form, hello, middleware, mount, peer, probe, stream, upload};

/// Longer than anything here takes: a test that hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(5);

fn serve(application: impl Application) -> Handle {
    let server = Server::bind("127.0.0.1:0").unwrap().threads(2);
    server.configure(|settings| settings.max_content = None).spawn(application).unwrap()
}

fn connect(handle: &Handle) -> TcpStream {
    let client = TcpStream::connect(handle.addr()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Sends a request as it stands and reads until the server closes.
fn exchange(handle: &Handle, request: &[u8]) -> String {
    let mut client = connect(handle);
    client.write_all(request).unwrap();
    let mut response = Vec::new();
    client.read_to_end(&mut response).unwrap();
    String::from_utf8_lossy(&response).into_owned()
}

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("doorway-examples-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn hello_says_hello_to_every_path() {
    for path in ["/", "/any?thing"] {
        let response = Request::get(path).call(&hello::application);
        assert_eq!(response.status.code(), 200);
        assert_eq!(response.headers.get("content-type").as_deref(), Some("text/html"));
        assert_eq!(response.text(), "<h1>Hello, web!</h1>");
    }
}

#[test]
fn middleware_adds_its_time_to_those_the_application_gives() {
    let inner = |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[("Server-Timing", "db;dur=1")]);
    };
    let response = Request::get("/").call(&middleware::timed(inner));
    let times: Vec<_> = response.headers.get_all("server-timing").collect();
    assert_eq!(times.len(), 2);
    assert_eq!(times[0], "db;dur=1");
    let time = times[1].strip_prefix("app;dur=").unwrap();
    assert!(time.parse::<f64>().is_ok(), "{time}");
}

#[test]
fn middleware_changes_what_is_written_as_well_as_what_is_returned_and_removes_the_length() {
    for path in ["/", "/written"] {
        let response = Request::get(path).call(&middleware::shout(middleware::greeting));
        assert_eq!(response.text(), "Hello, web!!\n", "{path}");
        assert_eq!(response.headers.len(), 1, "{path}: {:?}", response.headers);
        assert!(response.error.is_none(), "{path}");
    }
}

#[test]
fn middleware_passes_a_block_on_for_each_block() {
    let inner = |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        Body::list(vec![&b"one!"[..], b"", b"two"])
    };
    let response = Request::get("/").call(&middleware::shout(inner));
    assert_eq!(response.blocks, [&b"one!!"[..], b"", b"two"]);
}

#[test]
fn middleware_is_whole_on_the_wire() {
    let handle = serve(middleware::timed(middleware::shout(middleware::greeting)));
    for path in ["/", "/written"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let response = exchange(&handle, request.as_bytes());
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nServer-Timing: app;dur="), "{response}");
        assert!(!head.to_lowercase().contains("content-length"), "{response}");
        let whole = ["d\r\nHello, web!!\n\r\n0\r\n\r\n", "7\r\nHello, \r\n6\r\nweb!!\n\r\n0\r\n\r\n"];
        assert!(whole.contains(&body), "{response}");
    }
}

#[test]
fn mount_splits_the_path_where_a_prefix_ends_at_a_slash_or_the_end() {
    for (path, status, answer) in [
        ("/api", 200, "api at \"/api\", asked for \"\"\n"),
        ("/api/", 200, "api at \"/api\", asked for \"/\"\n"),
        ("/api/x?q", 200, "api at \"/api\", asked for \"/x\"\n"),
        ("/api//x", 200, "api at \"/api\", asked for \"//x\"\n"),
        ("/apix", 404, "Nothing is mounted here.\n"),
        ("/", 404, "Nothing is mounted here.\n"),
        ("/API", 404, "Nothing is mounted here.\n"),
        ("/blog", 200, "<a href=\"/blog/first\">The first post</a>\n"),
        ("/blog/first", 200, "Hello!\n"),
        ("/blog/second", 404, "No such post.\n"),
    ] {
        let response = Request::get(path).call(&mount::site());
        assert_eq!((response.status.code(), &*response.text()), (status, answer), "{path}");
    }
}

#[test]
fn mount_prefers_the_longest_prefix_and_can_be_mounted_itself() {
    let inner = mount::Mount::default().at("/v1", mount::api).at("/v1/old", mount::blog);
    let site = mount::Mount::default().at("/api", inner);
    let response = Request::get("/api/v1/users").call(&site);
    assert_eq!(response.text(), "api at \"/api/v1\", asked for \"/users\"\n");
    let response = Request::get("/api/v1/old").call(&site);
    assert_eq!(response.text(), "<a href=\"/api/v1/old/first\">The first post</a>\n");
}

#[test]
fn mount_shares_the_content_of_the_request_and_leaves_the_outer_environ_alone() {
    let echo = |environ: &Environ, start_response: &mut StartResponse| -> std::io::Result<String> {
        let mut content = String::new();
        environ.input().read_to_string(&mut content)?;
        start_response.start("200 OK", &[]);
        Ok(content)
    };
    let site = mount::Mount::default().at("/echo", echo);
    let outer = move |environ: &Environ, start_response: &mut StartResponse| {
        let body = site.call(environ, start_response);
        assert_eq!((environ.script_name(), environ.path_info()), (&b""[..], &b"/echo/x"[..]));
        body
    };
    assert_eq!(Request::post("/echo/x", "content").call(&outer).text(), "content");
}

#[test]
fn mount_sees_decoded_paths_on_the_wire() {
    let handle = serve(mount::site());
    let response = exchange(&handle, b"GET /a%70i/%7Eada HTTP/1.0\r\n\r\n");
    assert!(response.ends_with("api at \"/api\", asked for \"/~ada\"\n"), "{response}");
    let response = exchange(&handle, b"GET /apix HTTP/1.0\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 404 Not Found\r\n"), "{response}");
}

#[test]
fn upload_keeps_what_was_sent_with_a_length_or_in_chunks() {
    let folder = Folder::new("round-trip");
    let handle = serve(upload::Upload::to(&folder.0).unwrap());
    let content: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();

    let mut request = format!("PUT /a.bin HTTP/1.0\r\nContent-Length: {}\r\n\r\n", content.len()).into_bytes();
    request.extend_from_slice(&content);
    let response = exchange(&handle, &request);
    assert!(response.starts_with("HTTP/1.1 201 Created\r\n"), "{response}");
    assert!(response.ends_with("\r\n\r\na.bin: 300000 bytes\n"), "{response}");

    let mut request = b"POST /b.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".to_vec();
    request.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
    for chunk in content.chunks(70_000) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let response = exchange(&handle, &request);
    assert!(response.ends_with("\r\n\r\nb.bin: 300000 bytes\n"), "{response}");

    assert!(fs::read(folder.0.join("a.bin")).unwrap() == content);
    assert!(fs::read(folder.0.join("b.bin")).unwrap() == content);
    assert_eq!(folder.names().len(), 2);
}

#[test]
fn upload_keeps_the_old_file_and_no_part_of_the_new_one_when_the_client_breaks_off() {
    let folder = Folder::new("broken");
    let handle = serve(upload::Upload::to(&folder.0).unwrap());
    fs::write(folder.0.join("a.txt"), "old").unwrap();

    let mut client = connect(&handle);
    client.write_all(b"PUT /a.txt HTTP/1.0\r\nContent-Length: 100000\r\n\r\n").unwrap();
    client.write_all(&[b'x'; 50_000]).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();

    assert!(response.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{response}");
    assert_eq!(fs::read(folder.0.join("a.txt")).unwrap(), b"old");
    assert_eq!(folder.names(), ["a.txt"]);
}

#[test]
fn upload_replaces_a_file_of_the_same_name() {
    let folder = Folder::new("replace");
    let upload = upload::Upload::to(&folder.0).unwrap();
    for content in ["one", ""] {
        let response = Request::new("PUT", "/a").content(content).call(&upload);
        assert_eq!((response.status.code(), response.text()), (201, format!("a: {} bytes\n", content.len())));
        assert_eq!(fs::read(folder.0.join("a")).unwrap(), content.as_bytes());
    }
}

#[test]
fn upload_refuses_every_name_that_could_lead_elsewhere() {
    let folder = Folder::new("names");
    let upload = upload::Upload::to(&folder.0).unwrap();
    let long = format!("/{}", "a".repeat(101));
    let names =
        ["/", "/..", "/../x", "/a/b", "/%2e%2e%2fx", "/a%5Cb", "/.hidden", "/a%00", "/a%20b", "/%C3%A4", "a", &long];
    for name in names {
        let response = Request::new("PUT", name).content("x").call(&upload);
        assert_eq!(response.status.code(), 400, "{name}");
    }
    assert_eq!(Request::get("/a").call(&upload).status.code(), 405);
    assert!(folder.names().is_empty());
}

#[test]
fn upload_sends_downloads_of_the_size_that_was_asked_for() {
    let folder = Folder::new("download");
    let upload = upload::Upload::to(&folder.0).unwrap();
    for size in [0, 1, 65_536, 65_537, 200_000] {
        let response = Request::get(&format!("/download/{size}")).call(&upload);
        assert_eq!(response.headers.get("content-length"), Some(size.to_string().into()));
        assert_eq!(response.body().len(), size);
        assert!(response.blocks.iter().all(|block| block.len() <= 65_536));
        assert!(response.error.is_none());
    }
    for size in ["", "-1", "x", "1e9", "1099511627777", "99999999999999999999"] {
        let response = Request::get(&format!("/download/{size}")).call(&upload);
        assert_eq!(response.status.code(), 404, "{size}");
    }

    let handle = serve(upload);
    let response = exchange(&handle, b"GET /download/200000 HTTP/1.0\r\n\r\n");
    assert_eq!(response.split_once("\r\n\r\n").unwrap().1, ".".repeat(200_000));
}

#[test]
fn stream_makes_one_block_for_each_line() {
    let response = Request::get("/").call(&stream::ticker(3, Duration::from_millis(1)));
    assert_eq!(response.text(), "line 1 of 3\nline 2 of 3\nline 3 of 3\n");
    assert_eq!(response.blocks.len(), 3);
    assert!(!response.headers.contains("content-length"));
}

#[test]
fn stream_sends_each_line_before_the_next_is_made() {
    // It never ends, so whatever arrives was sent while the rest was still to be made.
    let handle = serve(stream::ticker(u64::MAX, Duration::from_millis(2)));
    let mut client = connect(&handle);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut lines = BufReader::new(client).lines().map(Result::unwrap);
    let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    assert!(head.iter().any(|line| line == "Transfer-Encoding: chunked"), "{head:?}");
    for number in 1..=3 {
        let line = format!("line {number} of {}", u64::MAX);
        // A chunk for each line: its size, the line, and an empty line where the chunk ends.
        assert_eq!(lines.next(), Some(format!("{:x}", line.len() + 1)));
        assert_eq!(lines.next(), Some(line));
        assert_eq!(lines.next(), Some(String::new()));
    }
    // The client goes away: the next line notices, and the server can end.
    drop(lines);
    handle.shutdown(PATIENCE);
}

#[test]
fn form_shows_itself_and_greets_whoever_sends_it() {
    let response = Request::get("/").call(&form::application);
    assert_eq!(response.status.code(), 200);
    assert!(response.text().contains("<form method=\"post\">"));

    let response = Request::post("/", "name=Ada+Lovelace&colour=%23c0ffee")
        .header("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
        .call(&form::application);
    assert_eq!(response.text(), "<p>Hello, Ada Lovelace! You chose #c0ffee.\n");
}

#[test]
fn form_shows_markup_and_never_runs_it() {
    let response = Request::post("/", "name=%3Cscript%3Ealert(1)%3C/script%3E&colour=%22'%26")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .call(&form::application);
    let expected = "<p>Hello, &lt;script&gt;alert(1)&lt;/script&gt;! You chose &quot;&#39;&amp;.\n";
    assert_eq!(response.text(), expected);
}

#[test]
fn form_refuses_what_is_too_long_or_no_form_or_without_a_name() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let fitting = format!("name={}", "x".repeat(8 * 1024 - 5));
    for (content_type, content, status) in [
        (FORM, fitting.clone(), 200),
        (FORM, format!("{fitting}x"), 413),
        (FORM, "colour=red".into(), 422),
        (FORM, "name=+".into(), 422),
        ("application/json", "{}".into(), 415),
        ("", "name=x".into(), 415),
    ] {
        let length = content.len();
        let response = Request::post("/", content).header("Content-Type", content_type).call(&form::application);
        assert_eq!(response.status.code(), status, "{content_type} {length}");
    }
    let response = Request::new("DELETE", "/").call(&form::application);
    assert_eq!((response.status.code(), response.headers.contains("allow")), (405, true));
}

#[test]
fn embedded_counts_primes_and_shows_how_far_it_is() {
    let progress = Arc::new(embedded::Progress::default());
    embedded::work(100, &progress);
    assert_eq!(progress.primes.load(Ordering::Relaxed), 25);
    let response = Request::get("/").call(&embedded::status(progress));
    assert_eq!(response.text(), "examined 98\nprimes 25\n");
}

#[test]
fn embedded_serves_while_the_program_works_and_is_gone_after_it() {
    let progress = Arc::new(embedded::Progress::default());
    let handle = embedded::serve("127.0.0.1:0", Arc::clone(&progress)).unwrap();
    let address = handle.addr().clone();
    embedded::work(10, &progress);
    let response = exchange(&handle, b"GET / HTTP/1.0\r\n\r\n");
    assert!(response.ends_with("\r\n\r\nexamined 8\nprimes 4\n"), "{response}");
    let response = exchange(&handle, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");

    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.served, stats.refused), (2, 1, 1));
    // A client that stays connected does not keep it.
    let mut idle = connect(&handle);
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut idle = BufReader::new(idle);
    let mut line = String::new();
    while line != "primes 4\n" {
        line.clear();
        assert_ne!(idle.read_line(&mut line).unwrap(), 0);
    }
    handle.shutdown(PATIENCE);
    assert_eq!(idle.read(&mut [0; 1]).unwrap(), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn probe_describes_the_request() {
    let response = Request::post("/echo%20?a=%20&id=describes", "hello")
        .header("X-Two", "a%b")
        .header("Content-Type", "text/plain")
        .call(&probe::application);
    let text = response.text();
    assert_eq!(response.status.code(), 404);
    let lines: Vec<_> = text.lines().collect();
    let first = [
        "method: POST",
        "target: /echo%2520?a=%2520&id=describes",
        "path: /echo%20",
        "query: a=%2520&id=describes",
        "version: HTTP/1.1",
    ];
    assert_eq!(lines[..5], first);
    for header in ["host=localhost:8000", "x-two=a%25b", "content-type=text/plain", "content-length=5"] {
        assert!(lines.contains(&&*format!("header: {header}")), "{text}");
    }
    assert!(text.ends_with("body-length: 5\nbody-fnv1a64: a430d84680aabd0b\n"), "{text}");
}

#[test]
fn probe_counts_who_came_in_and_who_read_to_the_end() {
    for request in [
        Request::get("/length?id=counts"),
        Request::get("/noread?x&id=counts&id=other"),
        Request::post("/", "x").header("X-Probe-Id", "counts"),
        Request::get("/"),
    ] {
        assert_eq!(request.call(&probe::application).status.code(), 200);
    }
    let response = Request::get("/count?id=counts").call(&probe::application);
    assert_eq!(response.text(), "seen 3 done 2\n");
    let response = Request::get("/count?id=other").call(&probe::application);
    assert_eq!(response.text(), "seen 0 done 0\n");
}

#[test]
fn probe_answers_each_path_as_its_contract_says() {
    for (path, status, length, body) in [
        ("/length", 200, Some("26"), "abcdefghijklmnopqrstuvwxyz"),
        ("/stream", 200, None, "block-1\nblock-2\nblock-3\nblock-4\nblock-5\n"),
        ("/empty", 200, None, ""),
        ("/status/204", 204, None, ""),
        ("/status/304", 304, None, ""),
        ("/body204", 204, None, "must-not-appear"),
        ("/noread", 200, Some("7"), "noread\n"),
        ("/short", 200, Some("26"), "abcdefghij"),
        ("/long", 200, Some("10"), "abcdefghijklmnopqrstuvwxyz"),
        ("/cookies", 200, Some("3"), "ok\n"),
    ] {
        let response = Request::get(path).call(&probe::application);
        assert_eq!((response.status.code(), &*response.text()), (status, body), "{path}");
        assert_eq!(response.headers.get("content-length").as_deref(), length, "{path}");
    }
    let response = Request::get("/big").call(&probe::application);
    assert_eq!((response.blocks.len(), response.body().len()), (16, 1_048_576));
    let response = Request::get("/bad-header").call(&probe::application);
    assert_eq!((response.status.code(), response.error.unwrap().0), (500, Cause::HeaderValue));
}

#[test]
fn peer_keeps_the_contract_of_the_benchmark() {
    let response = Request::get("/hello").call(&peer::application);
    assert_eq!((response.status.code(), &*response.text()), (200, "Hello, World!"));
    let response = Request::post("/echo", "x".repeat(1024)).call(&peer::application);
    assert_eq!(response.body(), [b'x'; 1024]);
    for size in [0, 1, 65_536, 1_048_576] {
        let response = Request::get(&format!("/file/{size}")).call(&peer::application);
        assert_eq!(response.body().len(), size);
    }
    let response = Request::get("/stream").call(&peer::application);
    assert!(!response.headers.contains("content-length"));
    assert!(response.blocks.iter().all(|block| block.len() == 1024));
    assert_eq!(response.blocks.len(), 64);
    for path in ["/", "/file/", "/file/-1", "/file/99999999999", "/file/1/2"] {
        assert_eq!(Request::get(path).call(&peer::application).status.code(), 404, "{path}");
    }
    assert_eq!(Request::post("/hello", "").call(&peer::application).status.code(), 404);
}
