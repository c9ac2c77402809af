//! The larger examples do what they say, called without a socket, and over one where the wire matters. See `tests/examples.rs`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use doorway::testing::{Request, Response};
use doorway::web::base64_encode;
use doorway::{Application, Handle, Server};

#[allow(dead_code, reason = "main is for those who run it")]
#[path = "../examples/api.rs"]
mod api;
#[allow(dead_code, reason = "main is for those who run it")]
#[path = "../examples/events.rs"]
mod events;
#[allow(dead_code, reason = "main is for those who run it")]
#[path = "../examples/files.rs"]
mod files;
#[allow(dead_code, reason = "main is for those who run it")]
#[path = "../examples/garden.rs"]
mod garden;
#[allow(dead_code, reason = "main is for those who run it")]
#[path = "../examples/microframework.rs"]
mod microframework;
#[allow(dead_code, reason = "main is for those who run it")]
#[path = "../examples/tls.rs"]
mod tls;
#[allow(dead_code, reason = "main is for those who run it")]
#[path = "../examples/todo.rs"]
mod todo;

/// Longer than anything here takes: a test that hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(10);

const FORM: &str = "application/x-www-form-urlencoded";

fn serve(application: impl Application) -> Handle {
    Server::bind("127.0.0.1:0").unwrap().threads(4).spawn(application).unwrap()
}

fn connect(handle: &Handle) -> TcpStream {
    let client = TcpStream::connect(handle.addr()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Sends a request as it stands and reads until the server closes.
fn exchange(mut client: impl Read + Write, request: &str) -> String {
    client.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    response
}

fn status(response: &Response) -> u16 {
    assert!(response.error.is_none(), "{response:?}");
    response.status.code()
}

#[test]
fn every_example_is_short_and_says_how_to_run_it() {
    for (name, most) in
        [("todo", 150), ("api", 150), ("microframework", 99), ("events", 150), ("tls", 150), ("files", 50)]
    {
        let path = format!("{}/examples/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.lines().count() <= most, "{name}: {}", text.lines().count());
        assert!(text.contains(&format!("//! Run: `cargo run --example {name}` (or `-- 8001` for another port)\n")));
        assert!(text.contains("//! Try: ") && text.contains("`curl "), "{name}");
    }
}

// ------------------------------------------------------------------------------------------------------------ todo

/// Sends a form, and gives what came of it.
fn send(todo: &impl Application, path: &str, form: &str) -> Response {
    Request::post(path, form).header("Content-Type", FORM).call(todo)
}

#[test]
fn todo_keeps_a_list() {
    let todo = todo::todo();
    for text in ["Buy+milk", "%3Cscript%3E+%26+more"] {
        let response = send(&todo, "/add", &format!("text={text}"));
        assert_eq!((status(&response), response.headers.get("location").as_deref()), (303, Some("./")));
    }
    assert_eq!(status(&send(&todo, "/done", "item=0")), 303);
    let page = Request::get("/").call(&todo);
    assert_eq!(page.headers.get("content-type").as_deref(), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("<li><s>Buy milk</s>\n"), "{}", page.text());
    assert!(page.text().contains(">&lt;script&gt; &amp; more <button name=item value=1>"), "{}", page.text());
    assert!(!page.text().contains("<script"));
    assert!(page.text().contains("value=open>Hide what is done<"));
}

#[test]
fn todo_remembers_in_a_cookie_what_to_show() {
    let todo = todo::todo();
    for form in ["text=first", "text=second"] {
        send(&todo, "/add", form);
    }
    send(&todo, "/done", "item=0");
    let response = send(&todo, "/show", "show=open");
    let cookie = response.headers.get("set-cookie").unwrap().into_owned();
    assert_eq!(cookie, "show=open; Max-Age=31536000; HttpOnly; SameSite=Lax");
    let page = Request::get("/").header("Cookie", "other=1; show=open").call(&todo).text();
    assert!(!page.contains("first") && page.contains("second") && page.contains("Show all"), "{page}");
    assert_eq!(status(&send(&todo, "/show", "show=%3B")), 422);
}

#[test]
fn todo_refuses_what_it_does_not_know() {
    let todo = todo::todo();
    for (path, form, expected) in [
        ("/add", "text=+", 422),
        ("/add", "", 422),
        ("/done", "item=0", 404),
        ("/done", "item=-1", 404),
        ("/other", "", 404),
        ("/", "text=x", 405),
    ] {
        assert_eq!(status(&send(&todo, path, form)), expected, "{path} {form}");
    }
    // These two answer by the error of reading the form.
    let long = send(&todo, "/add", &format!("text={}", "x".repeat(8 * 1024)));
    let untyped = Request::post("/add", "text=x").call(&todo);
    assert_eq!((long.status.code(), untyped.status.code()), (413, 415));
    let response = Request::get("/add").call(&todo);
    assert_eq!((status(&response), response.headers.get("allow").as_deref()), (405, Some("POST")));
    assert_eq!(response.headers.get("x-frame-options").as_deref(), Some("DENY"));
    let from = |site| Request::post("/add", "text=x").header("Content-Type", FORM).header("Sec-Fetch-Site", site);
    assert_eq!(status(&from("cross-site").call(&todo)), 403);
    assert_eq!(status(&from("same-origin").call(&todo)), 303);
    for _ in 0..999 {
        send(&todo, "/add", "text=x");
    }
    assert_eq!(status(&send(&todo, "/add", "text=x")), 422);
}

#[test]
fn todo_is_whole_on_the_wire() {
    let handle = serve(todo::todo());
    let form = format!("Host: a\r\nConnection: close\r\nContent-Type: {FORM}\r\nContent-Length: 6\r\n\r\ntext=x");
    let response = exchange(connect(&handle), &format!("POST /add HTTP/1.1\r\n{form}"));
    assert!(response.starts_with("HTTP/1.1 303 See Other\r\nLocation: ./\r\n"), "{response}");
    let response = exchange(connect(&handle), "GET / HTTP/1.0\r\n\r\n");
    assert!(response.contains(">x <button name=item value=0>"), "{response}");
}

// ------------------------------------------------------------------------------------------------------------- api

fn post(api: &impl Application, json: impl AsRef<[u8]>) -> Response {
    Request::post("/notes", json).header("Content-Type", "application/json; charset=utf-8").call(api)
}

#[test]
fn api_keeps_notes() {
    let api = api::api();
    assert_eq!(Request::get("/notes").call(&api).text(), "[]\n");
    let response = post(&api, r#" { "text" : "a \"b\"\n\u00e4 \ud83e\udd80", "x": "" } "#);
    assert_eq!(status(&response), 201);
    assert_eq!(response.headers.get("location").as_deref(), Some("http://localhost:8000/notes/1"));
    let note = "{\"number\":1,\"text\":\"a \\\"b\\\"\\u000a\u{e4} \u{1F980}\"}";
    assert_eq!(response.text(), format!("{note}\n"));
    assert_eq!(Request::get("/notes/1").call(&api).text(), format!("{note}\n"));
    assert_eq!(status(&post(&api, r#"{"text":"two"}"#)), 201);
    assert_eq!(Request::get("/notes").call(&api).text(), format!("[{note},{{\"number\":2,\"text\":\"two\"}}]\n"));
    let response = Request::new("DELETE", "/notes/1").call(&api);
    assert_eq!((status(&response), response.text()), (204, String::new()));
    assert_eq!(status(&Request::get("/notes/1").call(&api)), 404);
}

#[test]
fn api_answers_errors_as_problem_details() {
    let api = api::api();
    for path in ["/", "/notesx", "/notes/", "/notes/x", "/notes/7", "/notes/99999999999999999999"] {
        let response = Request::get(path).call(&api);
        assert_eq!(status(&response), 404, "{path}");
        assert_eq!(response.headers.get("content-type").as_deref(), Some("application/problem+json"));
        let text = response.text();
        assert!(text.starts_with("{\"status\":404,\"title\":\"Not Found\",\"detail\":\"There "), "{text}");
    }
    for (json, expected) in [
        ("", 422),
        ("{}", 422),
        ("{\"text\":1}", 422),
        ("{\"text\":\"x\"", 422),
        ("[\"text\"]", 422),
        (&*"x".repeat(64 * 1024 + 1), 413),
    ] {
        assert_eq!(status(&post(&api, json)), expected, "{}", json.len());
    }
    assert_eq!(status(&post(&api, b"{\"text\":\"\xFF\"}")), 422);
    assert_eq!(status(&Request::post("/notes", "{}").header("Content-Type", "text/plain").call(&api)), 415);
    let response = Request::new("PUT", "/notes").call(&api);
    assert_eq!((status(&response), response.headers.get("allow").as_deref()), (405, Some("GET, HEAD, POST")));
}

#[test]
fn api_reads_and_writes_json_strings() {
    for (json, expected) in [
        (r#"{}"#, Some(vec![])),
        (r#"{"a":"b"}"#, Some(vec![("a", "b")])),
        ("\t{ \"a\" : \"\" ,\r\n\"c\":\"d\" }\n", Some(vec![("a", ""), ("c", "d")])),
        (r#"{"a":"\n\r\t\b\f\"\\\/A"}"#, Some(vec![("a", "\n\r\t\u{8}\u{c}\"\\/A")])),
        (r#"{"a":"\u0000\uD83E\uDD80"}"#, Some(vec![("a", "\0\u{1F980}")])),
        (r#"{"a":"b","a":"c"}"#, Some(vec![("a", "c")])),
        (r#"{"a":"b",}"#, None),
        (r#"{,"a":"b"}"#, None),
        (r#"{"a":"b"}}"#, None),
        (r#"{"a":"b"} x"#, None),
        (r#"{"a" "b"}"#, None),
        (r#"{"a":"\x"}"#, None),
        (r#"{"a":"\u+123"}"#, None),
        (r#"{"a":"\u12"}"#, None),
        (r#"{"a":"\uD83E"}"#, None),
        ("{\"a\":\"\n\"}", None),
        (r#"{"a":null}"#, None),
        ("", None),
        ("{", None),
    ] {
        let expected = expected.map(|pairs| pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect());
        assert_eq!(api::object(json), expected, "{json}");
    }
    let every: String = (0..0x300).filter_map(char::from_u32).chain(['\u{FFFF}', '\u{1F980}']).collect();
    let json = format!("{{\"a\":{}}}", api::quoted(&every));
    assert_eq!(api::object(&json).unwrap()["a"], every);
}

// -------------------------------------------------------------------------------------------------- microframework

#[test]
fn microframework_finds_the_handler_by_method_and_segments() {
    let site = microframework::site();
    for (method, path, expected, text) in [
        ("GET", "/", 200, "Try http://localhost:8000/users/ada\n"),
        ("GET", "/users/ada", 200, "I am ada.\n"),
        ("GET", "/users/%C3%A4%20b", 200, "I am \u{e4} b.\n"),
        ("PUT", "/users/ada", 204, ""),
        ("GET", "/users/ada/posts/7", 200, "post 7 of ada\n"),
        ("HEAD", "/users/ada/posts/7", 200, "post 7 of ada\n"),
        ("GET", "/users/ada/posts/x", 404, "Nothing is here.\n"),
        ("GET", "/users", 404, "Nothing is here.\n"),
        ("GET", "/users/", 404, "Nothing is here.\n"),
        ("GET", "/users//posts/7", 404, "Nothing is here.\n"),
        ("GET", "/users/ada/", 404, "Nothing is here.\n"),
        ("GET", "//", 404, "Nothing is here.\n"),
        ("DELETE", "/nothing", 404, "Nothing is here.\n"),
    ] {
        let response = Request::new(method, path).call(&site);
        assert_eq!((status(&response), &*response.text()), (expected, text), "{method} {path}");
    }
    for (method, path, allow) in [("DELETE", "/users/ada", "GET, HEAD, PUT"), ("get", "/", "GET, HEAD")] {
        let response = Request::new(method, path).call(&site);
        assert_eq!((status(&response), response.headers.get("allow").as_deref()), (405, Some(allow)));
    }
}

#[test]
fn microframework_answers_head_without_content_on_the_wire() {
    let handle = serve(microframework::site());
    let response = exchange(connect(&handle), "HEAD /users/ada HTTP/1.0\r\n\r\n");
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nContent-Length: 10") && body.is_empty(), "{response}");
}

// ---------------------------------------------------------------------------------------------------------- events

/// The lines of a stream that is open.
fn watch(handle: &Handle, fields: &str) -> impl Iterator<Item = String> {
    let mut client = connect(handle);
    client.write_all(format!("GET /events HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()).unwrap();
    let lines = BufReader::new(client).lines().map(Result::unwrap);
    // Without those of the chunks, and without comments.
    lines.filter(|line| line.starts_with("HTTP/") || line.find(':').is_some_and(|colon| colon > 0))
}

fn say(handle: &Handle, text: &str) {
    let request = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    assert!(exchange(connect(handle), &request).starts_with("HTTP/1.1 204 "));
}

#[test]
fn events_reach_everybody_who_watches() {
    let handle = serve(events::application(Arc::default()));
    let mut watchers = [watch(&handle, ""), watch(&handle, "")];
    for watcher in &mut watchers {
        let head: Vec<_> = watcher.take_while(|line| line != "retry: 1000").collect();
        assert_eq!(head[0], "HTTP/1.1 200 OK");
        assert!(head.contains(&"Content-Type: text/event-stream".to_owned()), "{head:?}");
    }
    let expected = [&["id: 1", "data: one"][..], &["id: 2", "data: two", "data: lines", "data: ", "data: id: 9"]];
    for (text, expected) in ["one", "two\r\nlines\n\nid: 9"].into_iter().zip(expected) {
        say(&handle, text);
        for watcher in &mut watchers {
            assert_eq!(watcher.take(expected.len()).collect::<Vec<_>>(), expected);
        }
    }
    // Who comes back gets what it has missed.
    let missed: Vec<_> = watch(&handle, "Last-Event-ID: 1\r\n").skip_while(|line| line != "id: 2").take(2).collect();
    assert_eq!(missed, ["id: 2", "data: two"]);
}

#[test]
fn events_hold_no_thread_however_many_watch_and_the_clock_ticks_for_all() {
    let events = Arc::<events::Events>::default();
    let handle = serve(events::application(Arc::clone(&events)));
    let mut watchers: Vec<_> = (0..100).map(|_| watch(&handle, "")).collect();
    for watcher in &mut watchers {
        assert!(watcher.any(|line| line == "retry: 1000"));
    }
    assert!(exchange(connect(&handle), "GET / HTTP/1.0\r\n\r\n").contains("new EventSource"));
    // Who has left is let go, and costs the others nothing.
    drop(watchers.split_off(50));
    for second in 0..3 {
        events.tick(second);
        for watcher in &mut watchers {
            assert_eq!(watcher.next().as_deref(), Some("event: clock"));
            assert_eq!(watcher.next(), Some(format!("data: {second}")));
        }
    }
}

// ------------------------------------------------------------------------------------------------------------- tls

#[test]
fn tls_serves_what_was_accepted_and_the_application_knows() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (socket, peer) = listener.accept().unwrap();
        tls::serve(tls::Secured::accept(socket).unwrap(), peer, tls::application());
    });
    let request = "GET /a%20b?c HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n";
    let response = exchange(TcpStream::connect(address).unwrap(), request);
    assert!(response.ends_with("\r\n\r\nhttps://example.org/a%20b?c by none from 127.0.0.1\n"), "{response}");
    server.join().unwrap();
}

/// A stream that hides every byte, as TLS does.
struct Veiled<S>(S);

impl<S: Read> Read for Veiled<S> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let length = self.0.read(room)?;
        room[..length].iter_mut().for_each(|byte| *byte ^= 0x55);
        Ok(length)
    }
}

impl<S: Write> Write for Veiled<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes.iter().map(|byte| byte ^ 0x55).collect::<Vec<u8>>())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn tls_serves_a_stream_that_changes_every_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (socket, peer) = listener.accept().unwrap();
        tls::serve(tls::Secured::accept(Veiled(socket)).unwrap(), peer, tls::application());
    });
    let client = Veiled(TcpStream::connect(address).unwrap());
    let response = exchange(client, "GET / HTTP/1.0\r\nHost: veiled\r\n\r\n");
    assert!(response.ends_with("\r\n\r\nhttps://veiled/ by none from 127.0.0.1\n"), "{response}");
    server.join().unwrap();
}

#[test]
fn files_shows_a_directory_and_lets_browsers_ask_again() {
    let site = files::site(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
    let listing = Request::get("/").call(&site);
    assert!(status(&listing) == 200 && listing.text().contains("./rules.md"));
    let page = Request::get("/rules.md").header("Range", "bytes=0-10").call(&site);
    assert_eq!((status(&page), &*page.text()), (206, "# The rules"));
    assert_eq!(page.headers.get("cache-control").as_deref(), Some("no-cache"));
    assert_eq!(status(&Request::get("/../README.md").call(&site)), 404);
}

#[test]
fn garden_answers_what_it_read() {
    let request = Request::post("/a%20b?c", "\0\u{ff}").header("X-A", "b").header("Content-Type", "text/plain");
    let response = request.call(&garden::application);
    assert_eq!(status(&response), 200);
    let pair = |name: &str, value: &str| {
        format!(r#"["{}","{}"]"#, base64_encode(name.as_bytes()), base64_encode(value.as_bytes()))
    };
    let text = response.text();
    for (name, value) in [("X_A", "b"), ("CONTENT_TYPE", "text/plain"), ("CONTENT_LENGTH", "3")] {
        assert!(text.contains(&pair(name, value)), "{text}");
    }
    let behind = r#"],"body":"AMO/","version":"SFRUUC8xLjE=","uri":"L2EgYj9j","method":"UE9TVA=="}"#;
    assert!(text.starts_with(r#"{"headers":["#) && text.ends_with(behind), "{text}");
}
