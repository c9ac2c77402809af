//! What the tests of Python's `wsgiref` demand, as data: `Headers`, `util`, and what a handler sends for its trivial applications.
//!
//! Lib/test/test_wsgiref.py. Where doorway differs on purpose, the test says so and why.

mod support;

use std::io::{self, Cursor, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use doorway::testing::Request;
use doorway::{Application, Body, Cause, Environ, Gateway, Headers, Server, StartResponse, is_hop_by_hop};
use support::{Collected, Delimiter, locked, parse_all, serve};

fn app<R: Into<Body>>(call: impl Fn(&Environ, &mut StartResponse) -> R + Send + Sync + 'static) -> impl Application {
    call
}

// --------------------------------------------------------------------------------------------------------- headers

#[test]
fn headers_have_the_whole_interface_of_a_mapping() {
    assert_eq!(Headers::new().len(), 0);
    assert!(Headers::new().is_empty());
    let one = Headers::from(&[("x", "y")]);
    assert_eq!(one.len(), 1);
    assert_eq!(one.keys().collect::<Vec<_>>(), [b"x"]);
    assert_eq!(one.values().collect::<Vec<_>>(), [b"y"]);
    assert_eq!(one.iter().collect::<Vec<_>>(), [(&b"x"[..], &b"y"[..])]);

    let mut headers = Headers::new();
    headers.remove("foo");
    headers.set("Foo", "bar");
    for name in ["foo", "Foo", "FOO"] {
        assert!(headers.contains(name) && headers.get(name).is_some() && headers.get_all(name).next().is_some());
    }
    assert!(!headers.contains("bar") && headers.get("bar").is_none() && headers.get_all("bar").next().is_none());
    assert_eq!(headers.get("foo").as_deref(), Some("bar"));
    headers.set("foo", "baz");
    assert_eq!(headers.get("FOO").as_deref(), Some("baz"));
    assert_eq!(headers.get_all("foo").collect::<Vec<_>>(), ["baz"]);
    assert_eq!(headers.get("foo").unwrap_or("whee".into()), "baz");
    assert_eq!(headers.get("zoo").unwrap_or("whee".into()), "whee");
    assert_eq!(headers.set_default("foo", "whee"), "baz");
    assert_eq!(headers.set_default("zoo", "whee"), "whee");
    assert_eq!(headers.get("foo").as_deref(), Some("baz"));
    assert_eq!(headers.get("zoo").as_deref(), Some("whee"));
    headers.remove("FOO");
    assert_eq!(headers.to_string(), "zoo: whee\r\n\r\n");
}

#[test]
fn headers_are_shown_as_they_stand_in_a_head() {
    let mut headers = Headers::new();
    assert_eq!((headers.to_string(), headers.to_bytes()), ("\r\n".into(), b"\r\n".to_vec()));
    headers.add_header("foo", "bar", &[("baz", Some("spam"))]);
    assert_eq!(headers.get("foo").as_deref(), Some("bar; baz=\"spam\""));
    assert_eq!(headers.to_string(), "foo: bar; baz=\"spam\"\r\n\r\n");
    headers.add_header("Foo", "bar", &[("cheese", None)]);
    assert_eq!(headers.get_all("foo").collect::<Vec<_>>(), ["bar; baz=\"spam\"", "bar; cheese"]);
    assert_eq!(headers.to_bytes(), b"foo: bar; baz=\"spam\"\r\nFoo: bar; cheese\r\n\r\n");
}

#[test]
fn parameters_of_a_header_are_quoted_and_escaped() {
    let mut headers = Headers::new();
    let parameters = [("name", Some(r#"a"b\c"#)), ("empty", Some("")), ("bare", None)];
    headers.add_header("A", "form-data", &parameters);
    headers.add_header("B", "", &[("q", Some("1")), ("r", None)]);
    headers.add_header("C", "plain", &[]);
    assert_eq!(headers.get("a").as_deref(), Some(r#"form-data; name="a\"b\\c"; empty=""; bare"#));
    assert_eq!(headers.get("b").as_deref(), Some(r#"q="1"; r"#));
    assert_eq!(headers.get("c").as_deref(), Some("plain"));
    // What could leave the field is refused where the response starts.
    let mut headers = Headers::new();
    headers.add_header("A", "b", &[("c", Some("d\r\nSet-Cookie: evil=1"))]);
    assert_eq!(headers.check().map_err(|(cause, _)| cause), Err(Cause::HeaderValue));
}

#[test]
fn hop_by_hop_names_are_known_in_any_case() {
    const NAMES: &str = "Connection Keep-Alive Proxy-Authenticate Proxy-Authorization TE Transfer-Encoding Upgrade \
        Trailer Proxy-Connection";
    for name in NAMES.split(' ') {
        for name in [name.to_owned(), name.to_uppercase(), name.to_lowercase()] {
            assert!(is_hop_by_hop(&name), "{name}");
        }
    }
    // wsgiref lists `Trailers`, which no RFC knows, and lets `Trailer` pass.
    for name in "Accept Cache-Control Date Pragma Via Warning Trailers".split(' ') {
        assert!(!is_hop_by_hop(name), "{name}");
    }
}

// ------------------------------------------------------------------------------------------------------------ util

/// Names and values.
type Variables = &'static [(&'static str, &'static [u8])];

fn environ(variables: &[(&str, &[u8])]) -> Environ {
    let mut environ = Environ::new(Gateway::default());
    for (name, value) in variables {
        environ.set(name, value);
    }
    environ
}

#[test]
fn p_mw_09_shift_path_moves_one_segment() {
    // SCRIPT_NAME and PATH_INFO before, the segment, both after.
    const SHIFTS: [(&str, &str, Option<&str>, &str, &str); 16] = [
        ("", "/", Some(""), "/", ""),
        ("", "/x", Some("x"), "/x", ""),
        ("/", "", None, "/", ""),
        ("/a", "/x/y", Some("x"), "/a/x", "/y"),
        ("/a", "/x/", Some("x"), "/a/x", "/"),
        ("/a/b", "/../y", Some(".."), "/a", "/y"),
        ("", "/../y", Some(".."), "", "/y"),
        ("/a/b", "//y", Some("y"), "/a/b/y", ""),
        ("/a/b", "//y/", Some("y"), "/a/b/y", "/"),
        ("/a/b", "/./y", Some("y"), "/a/b/y", ""),
        ("/a/b", "/./y/", Some("y"), "/a/b/y", "/"),
        ("/a/b", "///./..//y/.//", Some(".."), "/a", "/y/"),
        ("/a/b", "///", Some(""), "/a/b/", ""),
        ("/a/b", "/.//", Some(""), "/a/b/", ""),
        ("/a/b", "/x//", Some("x"), "/a/b/x", "/"),
        ("/a/b", "/.", None, "/a/b", ""),
    ];
    for (script_name, path_info, segment, script_after, path_after) in SHIFTS {
        let mut environ = environ(&[("SCRIPT_NAME", script_name.as_bytes()), ("PATH_INFO", path_info.as_bytes())]);
        assert_eq!(environ.shift_path().as_deref(), segment.map(str::as_bytes), "{script_name} {path_info}");
        let after = (environ.script_name(), environ.path_info());
        assert_eq!(after, (script_after.as_bytes(), path_after.as_bytes()), "{script_name} {path_info}");
    }
    // Nothing to shift leaves nothing behind, and a path that begins with no slash is no path of a request.
    for path in ["", "x/y"] {
        let mut environ = environ(&[("PATH_INFO", path.as_bytes())]);
        assert_eq!(environ.shift_path(), None);
        assert_eq!((environ.bytes("SCRIPT_NAME"), environ.path_info()), (None, path.as_bytes()));
    }
    // Two slashes in front would make a link of SCRIPT_NAME lead to another host.
    let mut environ = environ(&[("SCRIPT_NAME", b"//a"), ("PATH_INFO", b"/b\xE4")]);
    assert_eq!(environ.shift_path().as_deref(), Some(&b"b\xE4"[..]));
    assert_eq!(environ.script_name(), b"/a/b\xE4");
}

/// A request as `setup_testing_defaults` makes it, with changes.
fn by_default(changes: &[(&str, &[u8])]) -> Environ {
    let mut environ = environ(&[
        ("SERVER_NAME", b"127.0.0.1"),
        ("HTTP_HOST", b"127.0.0.1"),
        ("SERVER_PORT", b"80"),
        ("SCRIPT_NAME", b""),
        ("PATH_INFO", b"/"),
    ]);
    for (name, value) in changes {
        environ.set(name, value);
    }
    environ.set_https(environ.guess_scheme() == "https");
    environ
}

#[test]
fn p_url_01_02_the_url_of_the_application_is_rebuilt() {
    let uris: [(&str, Variables); 14] = [
        ("http://127.0.0.1/", &[]),
        ("http://127.0.0.1/spam", &[("SCRIPT_NAME", b"/spam")]),
        ("http://127.0.0.1/sp%E4m", &[("SCRIPT_NAME", b"/sp\xE4m")]),
        ("http://spam.example.com:2071/", &[("HTTP_HOST", b"spam.example.com:2071"), ("SERVER_PORT", b"2071")]),
        ("http://spam.example.com/", &[("SERVER_NAME", b"spam.example.com"), ("HTTP_HOST", b"")]),
        ("http://127.0.0.1/", &[("HTTP_HOST", b"127.0.0.1"), ("SERVER_NAME", b"spam.example.com")]),
        ("https://127.0.0.1/", &[("HTTPS", b"on")]),
        ("http://127.0.0.1:8000/", &[("SERVER_PORT", b"8000"), ("HTTP_HOST", b"")]),
        ("https://127.0.0.1/", &[("HTTPS", b"on"), ("SERVER_PORT", b"443"), ("HTTP_HOST", b"")]),
        ("https://127.0.0.1:80/", &[("HTTPS", b"on"), ("HTTP_HOST", b"")]),
        ("http://127.0.0.1:443/", &[("SERVER_PORT", b"443"), ("HTTP_HOST", b"")]),
        // Behind a front server that passes the Host on, the port of this server is nobody's business.
        ("http://example.org/", &[("HTTP_HOST", b"example.org"), ("SERVER_PORT", b"8000")]),
        ("http://[::1]:8000/", &[("SERVER_NAME", b"::1"), ("SERVER_PORT", b"8000"), ("HTTP_HOST", b"")]),
        ("http://127.0.0.1/%3Bham/%3D%2C", &[("SCRIPT_NAME", b"/;ham/=,")]),
    ];
    for (uri, changes) in uris {
        assert_eq!(by_default(changes).application_uri(), uri);
    }
}

#[test]
fn p_url_01_02_the_url_of_the_request_is_rebuilt() {
    let uris: [(&str, bool, Variables); 13] = [
        ("http://127.0.0.1/", true, &[]),
        ("http://127.0.0.1/spam", true, &[("SCRIPT_NAME", b"/spam"), ("PATH_INFO", b"")]),
        ("http://127.0.0.1/sp%E4m", true, &[("SCRIPT_NAME", b"/sp\xE4m"), ("PATH_INFO", b"")]),
        ("http://127.0.0.1/spammity/spam", true, &[("SCRIPT_NAME", b"/spammity"), ("PATH_INFO", b"/spam")]),
        ("http://127.0.0.1/spammity/sp%E4m", true, &[("SCRIPT_NAME", b"/spammity"), ("PATH_INFO", b"/sp\xE4m")]),
        ("http://127.0.0.1/spammity/spam;ham", true, &[("SCRIPT_NAME", b"/spammity"), ("PATH_INFO", b"/spam;ham")]),
        (
            "http://127.0.0.1/spammity/spam;cookie=1234,5678",
            true,
            &[("SCRIPT_NAME", b"/spammity"), ("PATH_INFO", b"/spam;cookie=1234,5678")],
        ),
        ("http://127.0.0.1/spam?say=ni", true, &[("PATH_INFO", b"/spam"), ("QUERY_STRING", b"say=ni")]),
        ("http://127.0.0.1/spam?s%E4y=ni", true, &[("PATH_INFO", b"/spam"), ("QUERY_STRING", b"s%E4y=ni")]),
        ("http://127.0.0.1/spam", false, &[("PATH_INFO", b"/spam"), ("QUERY_STRING", b"say=ni")]),
        ("http://127.0.0.1/spam", true, &[("PATH_INFO", b"/spam"), ("QUERY_STRING", b"")]),
        ("http://127.0.0.1/%3Fa%20%25/%2B", true, &[("PATH_INFO", b"/?a %/+")]),
        ("http://127.0.0.1//x", true, &[("PATH_INFO", b"//x")]),
    ];
    for (uri, include_query, changes) in uris {
        assert_eq!(by_default(changes).request_uri(include_query), uri);
    }
}

#[test]
fn guess_scheme_reads_https() {
    assert_eq!(environ(&[]).guess_scheme(), "http");
    for (value, scheme) in [
        ("foo", "http"),
        ("", "http"),
        ("off", "http"),
        ("ON", "http"),
        ("on", "https"),
        ("yes", "https"),
        ("1", "https"),
    ] {
        assert_eq!(environ(&[("HTTPS", value.as_bytes())]).guess_scheme(), scheme, "{value}");
    }
}

#[test]
fn an_environ_for_tests_has_everything_that_must_be_there_and_keeps_what_is_set() {
    let environ = Request::get("/").environ();
    for (name, value) in [
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", "8000"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("HTTP_HOST", "localhost:8000"),
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", "/"),
        ("QUERY_STRING", ""),
    ] {
        assert_eq!(environ.get(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!((environ.version(), environ.url_scheme(), environ.run_once()), ((1, 0), "http", false));
    assert_eq!(environ.input().read(&mut [0; 1]).unwrap(), 0);
    let environ = Request::get("/").variable("SERVER_NAME", "foo.bar").header("Host", "foo.bar").environ();
    assert_eq!(environ.request_uri(true), "http://foo.bar/");
}

#[test]
fn p_file_04_a_file_wrapper_gives_every_byte_in_blocks() {
    let (long, short) = ("xyz".repeat(50_000), "xyz".repeat(300));
    let slow = OneByOne(Cursor::new(short.clone().into()));
    for (body, text) in [(Body::reader(Cursor::new(long.clone())), long), (Body::reader(slow), short)] {
        let blocks: Vec<_> = body.into_blocks().map(Result::unwrap).collect();
        assert_eq!(blocks.concat(), text.as_bytes());
        assert!(blocks.iter().all(|block| !block.is_empty()));
    }
}

/// A reader that gives a byte at a time and is interrupted before each.
struct OneByOne(Cursor<Vec<u8>>);

impl Read for OneByOne {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        if CALLS.fetch_add(1, Ordering::Relaxed) % 2 == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let one = room.len().min(1);
        self.0.read(&mut room[..one])
    }
}

// -------------------------------------------------------------------------------------------------------- handlers

#[test]
fn p_len_01_the_length_is_set_where_it_is_known_and_never_over_the_applications_own() {
    let one = app(|environ, start_response| {
        start_response.start("200 OK", &[]);
        environ.url_scheme()
    });
    let written = app(|environ, start_response| {
        start_response.start("200 OK", &[]).write_all(environ.url_scheme().as_bytes()).unwrap();
    });
    let cyrillic = app(|_, start_response| {
        start_response.start("200 OK", &[]);
        "\u{442}\u{435}\u{441}\u{442}"
    });
    let nothing = app(|_, start_response| {
        start_response.start("200 OK", &[]);
    });
    // As it answers a HEAD request.
    let head = app(|_, start_response| {
        start_response.start("200 OK", &[("Content-Length", "12345")]);
    });
    let applications: [(Box<dyn Application>, Delimiter, &str); 4] = [
        (Box::new(one), Delimiter::Length(4), "http"),
        (Box::new(written), Delimiter::Chunked, "http"),
        (Box::new(cyrillic), Delimiter::Length(8), "\u{442}\u{435}\u{441}\u{442}"),
        (Box::new(nothing), Delimiter::Length(0), ""),
    ];
    for (application, delimiter, text) in applications {
        let house = serve(application);
        let response = house.ask_one(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!((response.delimiter, response.text()), (delimiter, text));
    }
    let response = serve(head).ask_one(b"HEAD / HTTP/1.0\r\n\r\n");
    assert_eq!((response.field("Content-Length"), response.text()), (Some("12345"), ""));
}

#[test]
fn a_wrong_status_is_500_and_says_which() {
    for status in ["200", "20X OK", "200OK", "TOTALLY"] {
        let response = Request::get("/").call(&app(move |_, start_response| {
            start_response.start(status, &[("Content-Type", "text/plain")]);
            "x"
        }));
        let detail = format!("{status:?}");
        assert_eq!((response.status.code(), response.error), (500, Some((Cause::StatusInvalid, detail))));
    }
}

#[test]
fn a_request_line_of_65537_bytes_is_414() {
    let house = serve(doorway::app::demo);
    let response = house.ask_one(format!("GET /{} HTTP/1.1\r\n", "x".repeat(65_537)).as_bytes());
    assert_eq!((response.status, &*response.reason), (414, "URI Too Long"));
}

#[test]
fn a_path_is_bytes_and_a_raw_byte_beyond_ascii_is_400() {
    let echo = app(|environ, start_response| {
        start_response.start("200 OK", &[]);
        environ.path_info().to_vec()
    });
    let house = serve(echo);
    assert_eq!(house.ask_one(b"GET /%80%80 HTTP/1.0\r\n\r\n").body, b"/\x80\x80");
    // wsgiref takes the byte itself too. No URI holds one (RFC 3986), and a front server may read it in another way.
    assert_eq!(house.ask_one(b"GET /\x80%80 HTTP/1.0\r\n\r\n").status, 400);
}

/// A client in memory whose side of writing the test makes up.
struct Made<W> {
    request: Cursor<&'static [u8]>,
    write: W,
}

impl<W: FnMut(&[u8]) -> io::Result<usize>> Read for Made<W> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.request.read(room)
    }
}

impl<W: FnMut(&[u8]) -> io::Result<usize>> Write for Made<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.write)(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Serves one request whose answer goes to `write`; gives the log.
fn serve_made(
    application: impl Application,
    write: impl FnMut(&[u8]) -> io::Result<usize> + Send + 'static,
) -> Collected {
    let log = Collected::default();
    let request = Cursor::new(&b"GET / HTTP/1.0\r\n\r\n"[..]);
    Server::unbound().log(log.clone()).serve_connection(Made { request, write }, application);
    log
}

#[test]
fn writes_that_are_interrupted_or_partial_still_send_everything() {
    let content: Vec<u8> = (0..300_000_u32).map(|n| n.to_be_bytes()[n as usize % 4]).collect();
    let (sent, mut calls) = (Arc::new(Mutex::new(Vec::new())), 0_usize);
    let (out, body) = (Arc::clone(&sent), content.clone());
    let log = serve_made(
        app(move |_, start_response| {
            start_response.start("200 OK", &[]);
            body.clone()
        }),
        move |bytes| {
            calls += 1;
            if calls % 3 == 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let length = bytes.len().min(1 + calls % 7_000);
            locked(&out).extend_from_slice(&bytes[..length]);
            Ok(length)
        },
    );
    assert_eq!(log.reports(), []);
    let responses = parse_all(&locked(&sent), &[]);
    assert!(responses.len() == 1 && responses[0].body == content);
}

#[test]
fn p_body_04_07_a_client_that_is_gone_closes_the_body_and_is_no_fault_of_the_application() {
    for kind in [io::ErrorKind::ConnectionAborted, io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset] {
        let closed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&closed);
        let application = app(move |_, start_response| {
            start_response.start("200 OK", &[]);
            let count = Arc::clone(&count);
            Body::blocks(std::iter::repeat_with(|| "block")).on_close(move || {
                count.fetch_add(1, Ordering::SeqCst);
            })
        });
        let log = serve_made(application, move |_| Err(kind.into()));
        assert_eq!(closed.load(Ordering::SeqCst), 1);
        assert_eq!(log.causes(), [Cause::ClientGone]);
    }
}

#[test]
fn p_body_04_a_body_that_fails_is_closed() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&closed);
    let sent = Arc::new(Mutex::new(Vec::new()));
    let out = Arc::clone(&sent);
    let log = serve_made(
        app(move |_, start_response| {
            start_response.start("200 OK", &[]);
            let count = Arc::clone(&count);
            Body::blocks([Err::<Body, _>("on purpose")]).on_close(move || {
                count.fetch_add(1, Ordering::SeqCst);
            })
        }),
        move |bytes| {
            locked(&out).extend_from_slice(bytes);
            Ok(bytes.len())
        },
    );
    assert_eq!((closed.load(Ordering::SeqCst), log.causes()), (1, vec![Cause::BodyFailed]));
    let responses = parse_all(&locked(&sent), &[]);
    assert_eq!((responses[0].status, responses[0].text()), (500, "Internal Server Error\n"));
}
