//! The rules of PEP 3333 that no other test has, each named after its id in `docs/rules.md`, and the check that the page is complete.
//!
//! Over a socket where a rule shows on the wire, otherwise through `doorway::testing`.

mod apps;
mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use apps::{Recorder, hello};
use doorway::log::{Answer, Lines};
use doorway::testing::Request;
use doorway::{Application, Body, Cause, Environ, Headers, Server, StartError, StartResponse};
use support::{Collected, Delimiter, PATIENCE, Response, locked, parse_all, serve, serve_over, serve_with};

const GET_11: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const KEEP_11: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn app<R: Into<Body>>(call: impl Fn(&Environ, &mut StartResponse) -> R + Send + Sync + 'static) -> impl Application {
    call
}

fn post(fields: &str, content: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n{content}").into_bytes()
}

/// A file of this test alone, with this text, that goes away with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str, text: impl AsRef<[u8]>) -> Place {
        let path = std::env::temp_dir().join(format!("doorway-pep3333-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Place(path)
    }

    fn open(&self) -> File {
        File::open(&self.0).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Says when it is dropped.
#[derive(Clone, Default)]
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// -------------------------------------------------------------------------------------------------------- the page

/// The ids: so many of each kind.
const IDS: [(&str, usize); 19] = [
    ("APP", 5),
    ("ENV", 32),
    ("IN", 11),
    ("EL", 6),
    ("SR", 13),
    ("HDR", 6),
    ("WR", 6),
    ("BODY", 8),
    ("LEN", 7),
    ("ERR", 6),
    ("EXP", 4),
    ("CONN", 3),
    ("UP", 5),
    ("FILE", 8),
    ("MW", 9),
    ("THR", 3),
    ("EXT", 2),
    ("CFG", 2),
    ("URL", 3),
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the tables of a page, without those of dashes and what stands above them.
fn rows(page: &str) -> Vec<Vec<String>> {
    let text = read(page);
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    cells.map(|line| line.split(" | ").map(str::to_owned).collect()).collect()
}

/// What stands in back quotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// `file.rs::name` is a function with `#[test]`; `file.rs: compile_fail` is a doc test that names the id.
#[track_caller]
fn is_there(test: &str, id: &str) {
    if let Some(file) = test.strip_suffix(": compile_fail") {
        let text = read(file);
        let mut blocks = text.split("```compile_fail").skip(1).filter_map(|rest| rest.split("```").next());
        assert!(blocks.any(|block| block.contains(&format!("// {id}\n"))), "{id}: no such doc test in {file}");
        return;
    }
    let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{id}: {test} is no test"));
    let text = read(file);
    let at = text.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("{id}: no {name} in {file}"));
    let before = text[..at].trim_end();
    assert!(before.ends_with("#[test]"), "{id}: {name} is no test");
}

#[test]
fn every_rule_has_a_level_a_sentence_and_a_test_that_exists() {
    let rows: Vec<_> = rows("docs/rules.md").into_iter().filter(|row| row[0].starts_with("P-")).collect();
    let ids: Vec<String> =
        IDS.iter().flat_map(|(kind, last)| (1..=*last).map(move |n| format!("P-{kind}-{n:02}"))).collect();
    let listed: Vec<_> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(listed, ids);
    let of_doors: Vec<_> = self::rows("docs/rules.md").into_iter().filter(|row| row[0].starts_with("G-")).collect();
    let listed: Vec<_> = of_doors.iter().map(|row| row[0].clone()).collect();
    assert_eq!(listed, (1..=10).map(|n| format!("G-{n:02}")).collect::<Vec<_>>());
    for row in rows.iter().chain(&of_doors) {
        assert_eq!(row.len(), 4, "{row:?}");
        let id = &row[0];
        assert!(["MUST", "SHOULD", "MAY", "ours"].contains(&&*row[1]), "{id}: {}", row[1]);
        assert!(row[2].ends_with('.') && row[2].matches(". ").count() == 0, "{id}: one sentence: {}", row[2]);
        let tests: Vec<_> = quoted(&row[3]).collect();
        // What does not apply says why instead.
        assert_eq!(tests.is_empty(), row[3].starts_with("does not apply: "), "{id}: {}", row[3]);
        for test in tests {
            is_there(test, id);
        }
    }
}

#[test]
fn every_test_that_is_named_after_a_rule_stands_in_the_page() {
    let page = read("docs/rules.md");
    for file in ["pep3333", "exchange", "http_rules", "connection", "pipelining", "wsgiref"]
        .map(|name| format!("tests/{name}.rs"))
    {
        for name in read(&file).split("\nfn p_").skip(1).filter_map(|rest| rest.split('(').next()) {
            // Those without a number are about more than one rule.
            if name.split('_').nth(1).is_some_and(|number| number.parse::<u8>().is_ok()) {
                assert!(page.contains(&format!("`{file}::p_{name}`")), "{file}::p_{name}");
            }
        }
    }
}

#[test]
fn every_cell_of_the_comparison_has_a_test() {
    let rows: Vec<_> = rows("docs/comparison.md").into_iter().filter(|row| row[0].starts_with("P-")).collect();
    assert_eq!(rows.len(), 16);
    for row in rows {
        assert_eq!(row.len(), 9, "{row:?}");
        let id = row[0].as_str();
        assert_eq!(row[2], "ok", "{id}");
        let tests: Vec<_> = quoted(&row[8]).collect();
        assert!(!tests.is_empty(), "{id}");
        for test in tests {
            is_there(test, id);
        }
    }
}

// ----------------------------------------------------------------------------------------------------- application

struct Object(&'static str);

impl Application for Object {
    fn call(&self, _environ: &Environ, start_response: &mut StartResponse) -> Body {
        start_response.start("200 OK", &[]);
        Body::from(self.0)
    }
}

#[test]
fn p_app_01_anything_that_can_be_called_is_an_application() {
    let greeting = String::from("hello");
    let closure = app(move |_, start_response| {
        start_response.start("200 OK", &[]);
        greeting.clone()
    });
    let shared = Arc::new(Object("hello"));
    let applications: [Box<dyn Application>; 6] = [
        Box::new(hello),
        Box::new(closure),
        Box::new(Object("hello")),
        Box::new(Arc::clone(&shared)),
        Box::new(shared as Arc<dyn Application>),
        Box::new(Box::new(hello) as Box<dyn Application>),
    ];
    for application in applications {
        assert_eq!(serve(application).ask_one(GET_11).text(), "hello");
    }
}

#[test]
fn p_app_02_an_application_can_be_called_again_and_again_by_many_threads() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let application = Arc::new(app(move |environ, start_response| {
        count.fetch_add(1, Ordering::SeqCst);
        start_response.start("200 OK", &[]);
        environ.query_string().to_owned()
    }));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let application = Arc::clone(&application);
            scope.spawn(move || {
                for n in 0..250 {
                    let response = Request::get(&format!("/?{thread}-{n}")).call(&application);
                    assert_eq!(response.text(), format!("{thread}-{n}"));
                }
            });
        }
    });
    assert_eq!(calls.load(Ordering::SeqCst), 1_000);
    let house = serve(Arc::clone(&application));
    let mut client = house.client();
    client.send(&KEEP_11.repeat(100));
    for _ in 0..100 {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1_100);
}

#[test]
fn p_app_03_an_application_is_called_once_for_a_request_and_never_for_a_refusal() {
    let recorder = Recorder::default();
    let house = serve_with(recorder.clone(), |settings| settings.max_content = Some(5));
    for (status, request) in [
        (400, &b"GET / HTTP/1.1\r\n\r\n"[..]),
        (400, b"GET /\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"),
        (417, b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"),
        (505, b"GET / HTTP/2.0\r\n\r\n"),
        (405, b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
        (204, b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    ] {
        let out = house.ask(request);
        assert_eq!(out.iter().map(|response| response.status).collect::<Vec<_>>(), [status]);
        assert_eq!(recorder.take(), []);
    }
    house.ask_one(GET_11);
    assert_eq!(recorder.take().len(), 1);
}

// --------------------------------------------------------------------------------------------------------- environ

#[test]
fn p_env_01_what_middleware_changes_is_seen_inside_and_not_outside() {
    let inner = app(|environ, start_response| {
        start_response.start("200 OK", &[]);
        format!("{:?} {:?} {:?}", environ.get("A"), environ.get("HTTP_B"), environ.extension::<u8>())
    });
    let house = serve(app(move |environ, start_response| {
        let mut changed = environ.clone();
        changed.set("A", "1");
        changed.remove("HTTP_B");
        changed.insert_extension(7_u8);
        let body = inner.call(&changed, start_response);
        assert_eq!((environ.get("A"), environ.get("HTTP_B").as_deref()), (None, Some("2")));
        assert!(environ.extension::<u8>().is_none());
        body
    }));
    let mut client = house.client();
    for _ in 0..2 {
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nB: 2\r\n\r\n");
        assert_eq!(client.response().text(), "Some(\"1\") None Some(7)");
    }
}

#[test]
fn p_env_03_04_the_path_begins_with_a_slash_and_the_mount_is_empty() {
    let recorder = Recorder::default();
    let house = serve(recorder.clone());
    for target in ["/", "//", "/a", "/?b", "http://a", "http://a?b", "/%2F", "/."] {
        house.ask_one(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
        let call = recorder.take().remove(0);
        assert_eq!(call.get("SCRIPT_NAME"), Some(""), "{target}");
        assert!(call.get("PATH_INFO").is_some_and(|path| path.starts_with('/')), "{target}");
    }
}

#[test]
fn p_env_08_the_type_of_the_content_is_what_was_sent_or_absent() {
    let recorder = Recorder::default();
    let house = serve(recorder.clone());
    for (field, expected) in
        [("", None), ("Content-Type:\r\n", Some("")), ("content-type: Text/X; y=\"z\"\r\n", Some("Text/X; y=\"z\""))]
    {
        house.ask_one(&post(&format!("{field}Content-Length: 1\r\n"), "x"));
        assert_eq!(recorder.take()[0].get("CONTENT_TYPE"), expected);
    }
}

/// What the application is told in these variables, `-` where one is absent.
fn tells(names: &'static [&'static str]) -> impl Application {
    app(move |environ, start_response| {
        start_response.start("200 OK", &[]);
        names.iter().map(|name| environ.get(name).unwrap_or("-".into()).into_owned()).collect::<Vec<_>>().join(" ")
    })
}

#[test]
fn p_env_10_the_name_and_port_of_the_server_are_never_empty() {
    const NAMES: &[&str] = &["SERVER_NAME", "SERVER_PORT"];
    let house = serve(tells(NAMES));
    let port = house.tcp().port();
    for (request, name) in [
        ("GET / HTTP/1.0\r\n\r\n", "localhost"),
        ("GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", "localhost"),
        ("GET / HTTP/1.1\r\nHost: www.example:99\r\nConnection: close\r\n\r\n", "www.example"),
        ("GET / HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n", "[::1]"),
        ("GET http://b:1/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "b"),
    ] {
        assert_eq!(house.ask_one(request.as_bytes()).text(), format!("{name} {port}"), "{request}");
    }
    let house = serve_with(tells(NAMES), |settings| settings.server_name = "tool".into());
    assert_eq!(house.ask_one(b"GET / HTTP/1.0\r\n\r\n").text(), format!("tool {}", house.tcp().port()));
    // Over a stream that knows no address it is the port of the scheme.
    for (https, expected) in [(false, "localhost 80"), (true, "localhost 443")] {
        let (out, _) = support::in_memory_with([&b"GET / HTTP/1.0\r\n\r\n"[..]], tells(NAMES), |settings| {
            settings.https = https;
        });
        assert_eq!(parse_all(&out, &[])[0].text(), expected);
    }
}

#[test]
fn p_env_11_the_protocol_is_that_of_the_request() {
    let house = serve(tells(&["SERVER_PROTOCOL"]));
    for (version, host) in [("1.0", ""), ("1.1", "Host: a\r\nConnection: close\r\n")] {
        let response = house.ask_one(format!("GET / HTTP/{version}\r\n{host}\r\n").as_bytes());
        assert_eq!(response.text(), format!("HTTP/{version}"));
    }
}

#[test]
fn p_env_17_other_variables_of_cgi_are_there_or_left_out_and_never_empty() {
    let recorder = Recorder::default();
    let house = serve(recorder.clone());
    house.ask_one(GET_11);
    let call = recorder.take().remove(0);
    assert_eq!(call.get("GATEWAY_INTERFACE"), Some("CGI/1.1"));
    assert_eq!(call.get("SERVER_SOFTWARE"), Some(&*format!("doorway/{}", doorway::VERSION)));
    assert_eq!(call.get("REQUEST_URI"), Some("/"));
    for name in ["AUTH_TYPE", "PATH_TRANSLATED", "REMOTE_HOST", "REMOTE_IDENT", "REMOTE_USER"] {
        assert_eq!(call.get(name), None);
    }
    let empty = |name: &str| call.get(name).is_some_and(str::is_empty);
    assert!(call.vars.keys().all(|name| !empty(name) || ["SCRIPT_NAME", "QUERY_STRING"].contains(&&**name)));
    let (out, _) = support::in_memory_with([GET_11], tells(&["REMOTE_ADDR", "REMOTE_PORT"]), |_| {});
    assert_eq!(parse_all(&out, &[])[0].text(), "- -");
}

#[test]
fn p_env_18_22_behind_tls_the_scheme_is_https_and_the_variable_is_on() {
    for (https, expected) in [(true, "https on"), (false, "http -")] {
        let application = app(|environ, start_response| {
            start_response.start("200 OK", &[]);
            format!("{} {}", environ.url_scheme(), environ.get("HTTPS").unwrap_or("-".into()))
        });
        let house = serve_with(application, |settings| settings.https = https);
        assert_eq!(house.ask_one(GET_11).text(), expected);
    }
}

#[test]
fn p_env_21_to_29_what_the_gateway_says_of_itself() {
    let house = serve(app(|environ, start_response| {
        assert_eq!((environ.version(), environ.url_scheme(), environ.door()), ((1, 0), "http", "http"));
        assert_eq!((environ.multithread(), environ.multiprocess(), environ.run_once()), (true, false, false));
        assert!(environ.input_terminated());
        assert_eq!(environ.input().read(&mut [0; 1]).unwrap(), 0);
        environ.errors().write("seen");
        doorway::app::demo(environ, start_response)
    }));
    let response = house.ask_one(GET_11);
    for line in [
        "doorway.door = \"http\"",
        "wsgi.input_terminated = true",
        "wsgi.multiprocess = false",
        "wsgi.multithread = true",
        "wsgi.run_once = false",
        "wsgi.url_scheme = \"http\"",
        "wsgi.version = (1, 0)",
    ] {
        assert!(response.text().lines().any(|other| other == line), "{line}: {}", response.text());
    }
    assert_eq!(house.log.texts(), ["seen"]);
}

#[test]
fn p_env_31_every_variable_is_documented() {
    let recorder = Recorder::default();
    let house = serve_with(recorder.clone(), |settings| settings.https = true);
    house.ask_one(&post("Content-Type: a/b\r\nContent-Length: 1\r\n", "x"));
    let source = read("src/gateway/environ.rs");
    let table: String = source.lines().filter(|line| line.starts_with("/// | `")).collect();
    let call = recorder.take().remove(0);
    // The recorder leaves these out.
    let of_connection = ["REMOTE_ADDR", "REMOTE_PORT", "SERVER_PORT"];
    let names = call.vars.keys().map(|name| &**name).chain(of_connection);
    for name in names.filter(|name| !name.starts_with("HTTP_")) {
        assert!(table.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn p_env_32_the_environment_of_the_process_stays_outside() {
    let recorder = Recorder::default();
    let server = Server::bind("127.0.0.1:0").unwrap().env("MODE", "test");
    let house = serve_over(server, recorder.clone(), |_| {});
    house.ask_one(GET_11);
    let call = recorder.take().remove(0);
    assert_eq!(call.get("MODE"), Some("test"));
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_none_or(|_| call.get("CARGO_MANIFEST_DIR").is_none()));
    assert_eq!(call.get("PATH"), None);
}

// --------------------------------------------------------------------------------------------------------- streams

#[test]
fn p_in_01_03_the_input_reads_so_many_bytes_lines_with_a_cap_and_everything() {
    let house = serve(app(|environ, start_response| -> io::Result<Body> {
        let mut input = environ.input();
        let mut three = [0; 3];
        input.read_exact(&mut three)?;
        let mut parts = vec![three.to_vec()];
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line)?;
        parts.push(std::mem::take(&mut line));
        // readline(4): a cap that ends in the middle of a line.
        (&mut input).take(4).read_until(b'\n', &mut line)?;
        parts.push(std::mem::take(&mut line));
        let mut text = String::new();
        input.read_line(&mut text)?;
        parts.push(text.into());
        parts.extend((&mut input).lines().take(2).map(|line| line.unwrap().into_bytes()));
        input.read_to_end(&mut line)?;
        parts.push(line);
        start_response.start("200 OK", &[]);
        Ok(Body::from(parts.iter().map(|part| part.escape_ascii().to_string()).collect::<Vec<_>>().join("|")))
    }));
    let content = "abcde\n123456\n\nx\nthe rest\nand its end";
    let expected = r"abc|de\n|1234|56\n||x|the rest\nand its end";
    let chunk = |part: &[u8]| format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part));
    let chunks: String = content.as_bytes().chunks(4).map(chunk).collect();
    for request in [
        post(&format!("Content-Length: {}\r\n", content.len()), content),
        post("Transfer-Encoding: chunked\r\n", &(chunks + "0\r\n\r\n")),
    ] {
        assert_eq!(house.ask_one(&request).text(), expected);
    }
}

#[test]
fn p_el_02_03_any_text_is_written_before_the_call_returns() {
    const TEXT: &str = "nul \0, bell \u{7}, \u{e4}, \u{FFFD}, \u{10FFFF}, two\nlines";
    let (written, is_written) = channel();
    let (go, wait) = channel::<()>();
    let (written, wait) = (Mutex::new(written), Mutex::new(wait));
    let house = serve(app(move |environ, start_response| {
        environ.errors().write(TEXT);
        environ.errors().flush();
        locked(&written).send(()).unwrap();
        locked(&wait).recv_timeout(PATIENCE).unwrap();
        hello(environ, start_response)
    }));
    let mut client = house.client();
    client.send(KEEP_11);
    is_written.recv_timeout(PATIENCE).unwrap();
    assert_eq!(house.log.texts(), [TEXT]);
    go.send(()).unwrap();
    assert_eq!(client.response().text(), "hello");
}

/// A place to write to that takes a byte at a time, so that pieces would mix if they could.
#[derive(Clone, Default)]
struct Dribble(Arc<Mutex<Vec<u8>>>);

impl Write for Dribble {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(1);
        locked(&self.0).extend_from_slice(&bytes[..length]);
        std::thread::yield_now();
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn p_el_05_06_pieces_of_several_threads_are_not_mixed_and_go_where_the_log_goes() {
    let place = Dribble::default();
    let application = app(|environ, start_response| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for n in 0..20 {
                        environ.errors().writelines([format!("begin {thread} "), format!("{n} end\n")]);
                    }
                });
            }
        });
        hello(environ, start_response)
    });
    let server = Server::bind("127.0.0.1:0").unwrap().log(Lines::errors(place.clone()));
    let handle = server.threads(1).spawn(application).unwrap();
    let mut client = support::Client::connect(*match handle.addr() {
        doorway::Address::Tcp(address) => address,
        other => panic!("{other}"),
    });
    client.send(GET_11);
    assert_eq!(client.response().status, 200);
    drop(handle);
    let expected: BTreeSet<String> = (0..80).map(|n| format!("begin {} {} end", n / 20, n % 20)).collect();
    // The log is written by a thread of its own, and here byte by byte.
    let length = expected.iter().map(|line| line.len() + 1).sum();
    while locked(&place.0).len() < length {
        std::thread::yield_now();
    }
    let text = String::from_utf8(locked(&place.0).clone()).unwrap();
    let lines: BTreeSet<&str> = text.lines().collect();
    assert!(lines.iter().copied().eq(expected.iter().map(String::as_str)), "{text}");
}

// -------------------------------------------------------------------------------------------------- start_response

#[test]
fn p_sr_01_start_takes_status_fields_and_error_and_gives_a_writer() {
    let application = app(|environ, start_response| -> Result<Body, StartError> {
        let mut writer = start_response.try_start("200 OK", &[("A", "1")])?;
        if environ.path() == "/again" {
            writer = start_response.restart("502 Bad Gateway", &[("B", "2")], "an error")?;
        }
        writer.write_all(b"written ").unwrap();
        Ok(Body::from("returned"))
    });
    for (path, status, field) in [("/", 200, "A"), ("/again", 502, "B")] {
        let response = Request::get(path).call(&application);
        assert_eq!((response.status.code(), response.headers.len()), (status, 1));
        assert!(response.headers.contains(field) && response.text() == "written returned");
    }
}

#[test]
fn p_sr_04_a_wrong_call_is_an_error_at_the_call_and_500_for_the_client() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let house = serve(app(move |_, start_response| {
        let error = start_response.try_start("200 OK", &[("X", "secret\r\nY: z")]).map(|_| ()).unwrap_err();
        locked(&tell).send((error.cause(), error.detail().to_owned())).unwrap();
        "never seen"
    }));
    let response = house.ask_one(GET_11);
    assert_eq!(told.try_recv(), Ok((Cause::HeaderValue, "\"X\"".into())), "while the application ran");
    assert_eq!((response.status, response.text()), (500, "Internal Server Error\n"));
    assert_eq!(house.log.take(Cause::HeaderValue).answer, Answer::Status(500));
}

#[test]
fn p_sr_10_start_may_be_called_as_late_as_the_first_block() {
    let late = app(|environ, _| {
        let is_wrong = environ.path() == "/wrong";
        Body::deferred(move |start_response| {
            start_response.start("202 Accepted", &[("X", "y")]);
            if is_wrong {
                start_response.start("200 OK", &[]);
            }
            Body::blocks(["", "late ", "block"])
        })
    });
    let house = serve(late);
    let response = house.ask_one(GET_11);
    assert_eq!((response.status, response.field("X"), response.text()), (202, Some("y"), "late block"));
    let response = house.ask_one(b"GET /wrong HTTP/1.0\r\n\r\n");
    assert_eq!((response.status, response.field("X")), (500, None));
    house.log.take(Cause::StartedTwice);
    let never = serve(app(|_, _| Body::deferred(|_| "x")));
    assert_eq!(never.ask_one(GET_11).status, 500);
    never.log.take(Cause::NotStarted);
}

#[test]
fn p_sr_12_nothing_of_an_error_is_kept_after_the_call() {
    struct Failure(Dropped);
    impl std::fmt::Display for Failure {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            assert!(!self.0.0.load(Ordering::SeqCst));
            f.write_str("a failure")
        }
    }
    let response = Request::get("/").call(&app(|_, start_response| {
        let failure = Failure(Dropped::default());
        let dropped = Arc::clone(&failure.0.0);
        assert!(start_response.restart("500 Oops", &[], failure).is_ok());
        assert!(dropped.load(Ordering::SeqCst));
        "mended"
    }));
    assert_eq!((response.status.code(), &*response.text()), (500, "mended"));
}

#[test]
fn p_sr_13_the_fields_that_were_handed_over_stay_the_applications_own() {
    let response = Request::get("/").call(&app(|_, start_response| {
        start_response.on_start(|_, headers| headers.add("Added", "1"));
        let mut headers = Headers::from(&[("A", "1")]);
        start_response.start_with("200 OK", &headers);
        assert_eq!(headers.len(), 1);
        headers.add("Late", "1");
    }));
    assert_eq!(response.headers.keys().collect::<Vec<_>>(), [&b"A"[..], b"Added"]);
}

// ------------------------------------------------------------------------------------------------------------ body

/// Two blocks from an iterator that lies about its size and can do nothing but `next`.
struct OnlyNext(usize);

impl Iterator for OnlyNext {
    type Item = io::Result<doorway::Block>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0 += 1;
        (self.0 < 3).then(|| Ok(format!("block {} ", self.0).into_bytes().into()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (1, Some(1))
    }

    fn nth(&mut self, _: usize) -> Option<Self::Item> {
        unreachable!("used more than next")
    }

    fn count(self) -> usize {
        unreachable!("used more than next")
    }
}

#[test]
fn p_body_05_06_only_the_next_block_is_asked_for_and_a_count_of_blocks_is_not_believed() {
    let house = serve(app(|_, start_response| {
        start_response.start("200 OK", &[]);
        Body::blocks(OnlyNext(0))
    }));
    let response = house.ask_one(GET_11);
    assert_eq!((response.delimiter, response.text()), (Delimiter::Chunked, "block 1 block 2 "));
}

#[test]
fn p_body_08_content_is_neither_cut_nor_coded_by_the_server() {
    let text = "0123456789".repeat(10_000);
    let copy = text.clone();
    let house = serve(app(move |_, start_response| {
        start_response.start("200 OK", &[("Content-Type", "text/plain")]);
        copy.clone()
    }));
    let fields = "Host: a\r\nConnection: close\r\nRange: bytes=0-4\r\nAccept-Encoding: gzip, br\r\nTE: gzip\r\n";
    let response = house.ask_one(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes());
    assert_eq!((response.status, response.field("Content-Encoding")), (200, None));
    assert!(response.body == text.as_bytes());
}

#[test]
fn p_err_03_an_error_of_the_error_page_ends_the_connection_and_does_not_loop() {
    struct Deaf(Cursor<&'static [u8]>, Arc<AtomicUsize>);
    impl Read for Deaf {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            self.0.read(room)
        }
    }
    impl Write for Deaf {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (log, writes, calls) = (Collected::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&calls);
    let panics = app(move |_, _| -> Body {
        count.fetch_add(1, Ordering::SeqCst);
        panic!("on purpose")
    });
    let requests = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let stream = Deaf(Cursor::new(requests), Arc::clone(&writes));
    Server::unbound().log(log.clone()).serve_connection(stream, panics);
    assert_eq!(calls.load(Ordering::SeqCst), 1, "nothing behind it is served");
    assert!(writes.load(Ordering::SeqCst) <= 2);
    assert!(log.causes().contains(&Cause::ApplicationPanic), "{:?}", log.reports());
}

// ----------------------------------------------------------------------------------------------------------- files

#[test]
fn p_file_01_04_05_a_file_goes_from_its_position_to_its_end_or_its_length() {
    let place = Arc::new(Place::new("position", "0123456789"));
    let house = serve(app(move |environ, start_response| -> io::Result<Body> {
        let mut file = place.open();
        let position = environ.query_value("from").and_then(|at| at.parse().ok()).unwrap_or(0);
        file.seek(SeekFrom::Start(position))?;
        match environ.query_value("length") {
            Some(length) => start_response.start("200 OK", &[("Content-Length", &length)]),
            None => start_response.start("200 OK", &[]),
        };
        Ok(Body::from(file))
    }));
    for (target, text) in [
        ("/", "0123456789"),
        ("/?from=4", "456789"),
        ("/?from=10", ""),
        ("/?from=99", ""),
        ("/?length=3", "012"),
        ("/?from=4&length=6", "456789"),
    ] {
        let mut client = house.client();
        for _ in 0..2 {
            client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            let response = client.response();
            assert_eq!((response.delimiter, response.text()), (Delimiter::Length(text.len()), text), "{target}");
        }
    }
}

#[test]
fn p_file_02_03_a_file_that_is_thrown_away_sends_nothing_and_is_closed() {
    let dropped = Dropped::default();
    let flag = Arc::clone(&dropped.0);
    let dropped = Mutex::new(Some(dropped));
    let application = app(move |_, start_response| {
        struct Reader(Cursor<&'static [u8]>, Option<Dropped>);
        impl Read for Reader {
            fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
                assert!(self.1.is_some());
                self.0.read(room)
            }
        }
        start_response.start("200 OK", &[]);
        Body::reader(Reader(Cursor::new(b"from the wrapper"), locked(&dropped).take()))
    });
    let house = serve(app(move |environ, start_response| {
        drop(application.call(environ, start_response));
        "from the middleware"
    }));
    assert_eq!(house.ask_one(GET_11).text(), "from the middleware");
    assert!(flag.load(Ordering::SeqCst));
}

/// Whether this process has the file open.
#[cfg(target_os = "linux")]
fn has_open(path: &Path) -> bool {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).any(|target| target == path)
}

#[cfg(target_os = "linux")]
#[test]
fn p_file_03_a_file_is_closed_when_it_is_sent_and_when_the_client_is_gone() {
    let place = Arc::new(Place::new("closed", vec![b'x'; 8 << 20]));
    let path = place.0.canonicalize().unwrap();
    let files = Arc::clone(&place);
    let house = serve(app(move |_, start_response| {
        start_response.start("200 OK", &[]);
        files.open()
    }));
    assert_eq!(house.ask_one(GET_11).body.len(), 8 << 20);
    house.until("the file is closed", |_| !has_open(&path));
    let mut client = house.client();
    client.send(KEEP_11);
    client.until(b"xxx");
    drop(client);
    house.until("the file is closed", |_| !has_open(&path));
}

#[cfg(unix)]
#[test]
fn p_file_06_what_is_no_regular_file_is_sent_by_plain_reads() {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    let house = serve(app(|_, start_response| -> io::Result<Body> {
        let (mut here, there) = UnixStream::pair()?;
        here.write_all(b"through a socket")?;
        drop(here);
        start_response.start("200 OK", &[]);
        Ok(Body::from(File::from(OwnedFd::from(there))))
    }));
    let response = house.ask_one(GET_11);
    assert_eq!((response.delimiter, response.text()), (Delimiter::Chunked, "through a socket"));
}

#[test]
fn p_file_07_a_file_that_middleware_changes_is_an_ordinary_iterable() {
    let place = Arc::new(Place::new("wrapped", "small letters"));
    let house = serve(app(move |_, start_response| {
        start_response.start("200 OK", &[]);
        Body::from(place.open()).map_blocks(|block| Ok(block.to_ascii_uppercase().into()))
    }));
    let response = house.ask_one(GET_11);
    assert_eq!((response.delimiter, response.text()), (Delimiter::Chunked, "SMALL LETTERS"));
}

#[test]
fn p_file_08_a_file_is_read_in_large_blocks() {
    let place = Place::new("blocks", vec![b'x'; 300_000]);
    let sizes: Vec<usize> = Body::from(place.open()).into_blocks().map(|block| block.unwrap().len()).collect();
    let (last, full) = sizes.split_last().unwrap();
    assert!(full.iter().all(|size| (64 * 1024..=256 * 1024).contains(size)) && *last > 0, "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 300_000);
}

// ------------------------------------------------------------------------------------------------------ middleware

/// Adds a field and doubles every byte, as middleware is written.
fn doubled(inner: impl Application) -> impl Application {
    app(move |environ, start_response| {
        let path = environ.path().into_owned();
        start_response.on_start(move |_, headers| {
            headers.remove("Content-Length");
            headers.set("X-Path", &path);
        });
        let double = |block: doorway::Block| Ok(block.iter().flat_map(|byte| [*byte; 2]).collect::<Vec<u8>>().into());
        start_response.on_write(double);
        inner.call(environ, start_response).map_blocks(double)
    })
}

#[test]
fn p_mw_01_06_08_middleware_keeps_the_rules_of_both_sides() {
    let inner = app(|environ, start_response| -> io::Result<Body> {
        let mut writer = start_response.start("200 OK", &[("Content-Length", "2")]);
        match &*environ.path() {
            "/written" => writer.write_all(b"w")?,
            "/mended" => {
                writer = start_response.restart("502 Bad Gateway", &[("Content-Length", "1")], "x").unwrap();
                writer.flush()?;
            }
            "/twice" => drop(start_response.start("200 OK", &[])),
            "/fails" => return Err(io::Error::other("inside")),
            _ => {}
        }
        Ok(Body::from("y"))
    });
    let house = serve(doubled(doubled(inner)));
    let mut client = house.client();
    for (path, status, text) in [
        ("/", 200, "yyyy"),
        ("/written", 200, "wwwwyyyy"),
        ("/mended", 502, "yyyy"),
        ("/twice", 500, "Internal Server Error\n"),
        ("/fails", 500, "Internal Server Error\n"),
        ("/", 200, "yyyy"),
    ] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let response = client.response();
        assert_eq!((response.status, response.text()), (status, text), "{path}");
        // What it adds is made of this request and nobody else's.
        assert_eq!(response.field("X-Path"), (status != 500).then_some(path));
        let own_length = response.delimiter == Delimiter::Length(text.len());
        assert!(response.delimiter == Delimiter::Chunked || own_length, "{response:?}");
    }
}

#[test]
fn p_mw_02_03_middleware_gives_a_block_for_a_block_before_the_next_is_made() {
    let (sender, blocks) = channel::<&'static str>();
    let blocks = Arc::new(Mutex::new(blocks));
    let house = serve(doubled(app(move |_, start_response| {
        start_response.start("200 OK", &[]);
        let blocks = Arc::clone(&blocks);
        Body::blocks(std::iter::from_fn(move || {
            let block = locked(&blocks).recv_timeout(PATIENCE).expect("the test goes on");
            (block != "end").then_some(block)
        }))
    })));
    let mut client = house.client();
    client.send(KEEP_11);
    for (block, seen) in [("a", "2\r\naa\r\n"), ("bc", "4\r\nbbcc\r\n")] {
        sender.send("").unwrap();
        sender.send(block).unwrap();
        client.until(seen.as_bytes());
    }
    sender.send("end").unwrap();
    assert_eq!(client.response().chunks, [&b"aa"[..], b"bbcc"]);
}

#[test]
fn p_mw_04_what_is_yielded_inside_is_yielded_outside_and_only_what_is_written_is_written() {
    let inner = app(|environ, start_response| -> io::Result<Body> {
        let mut writer = start_response.start("200 OK", &[]);
        if environ.path() == "/written" {
            writer.write_all(b"w")?;
        }
        // Nothing that is yielded was sent while the application or its middleware ran.
        Ok(Body::from("y"))
    });
    let outer = doubled(inner);
    let application = app(move |environ, start_response| {
        let body = outer.call(environ, start_response);
        assert_eq!(start_response.is_sent(), environ.path() == "/written");
        body
    });
    assert_eq!(Request::get("/").call(&application).blocks, [b"yy"]);
    assert_eq!(Request::get("/written").call(&application).blocks, [b"ww", b"yy"]);
}

#[test]
fn p_mw_05_the_end_of_the_inner_body_is_passed_on_once() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&closed);
    let inner = app(move |environ, start_response| {
        start_response.start("200 OK", &[]);
        let count = Arc::clone(&count);
        let body = match &*environ.path() {
            "/blocks" => Body::blocks([Ok("x"), Err(io::Error::other("broken"))]),
            "/deferred" => Body::deferred(|_| "late"),
            "/failed" => Body::from(Err::<Body, _>("failed")),
            _ => Body::from("whole"),
        };
        body.on_close(move || {
            count.fetch_add(1, Ordering::SeqCst);
        })
    });
    let application = doubled(doubled(inner));
    for (at, path) in ["/", "/blocks", "/deferred", "/failed"].into_iter().enumerate() {
        let _ = Request::get(path).call(&application);
        assert_eq!(closed.load(Ordering::SeqCst), at + 1, "{path}");
    }
}

#[test]
fn p_mw_07_middleware_may_replace_the_response_of_an_error_by_its_own() {
    let inner = app(|environ, start_response| -> Result<Body, StartError> {
        start_response.start("200 OK", &[("Set-Cookie", "a=b")]);
        if environ.path() == "/broken" {
            start_response.restart("500 Oops", &[], "the disk is full")?;
        }
        Ok(Body::from("of the application"))
    });
    let pages = app(move |environ, start_response| -> Result<Body, StartError> {
        let failed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&failed);
        start_response.on_start(move |status, _| seen.store(status.code() >= 500, Ordering::SeqCst));
        let body = inner.call(environ, start_response);
        if !failed.load(Ordering::SeqCst) || start_response.is_sent() {
            return Ok(body);
        }
        start_response.restart("503 Service Unavailable", &[("Retry-After", "9")], "replaced")?;
        Ok(Body::from("of the middleware"))
    });
    let response = Request::get("/").call(&pages);
    assert_eq!((response.status.code(), &*response.text()), (200, "of the application"));
    let response = Request::get("/broken").call(&pages);
    assert_eq!((response.status.code(), &*response.text()), (503, "of the middleware"));
    assert_eq!(response.headers.keys().collect::<Vec<_>>(), [b"Retry-After"]);
}

// ------------------------------------------------------------------------------------------------------------- URL

/// What a client that follows the rebuilt URL would get.
fn rebuilt(target: &str) -> (String, Response) {
    let house = serve(app(|environ, start_response| {
        start_response.start("200 OK", &[]);
        environ.request_uri(true)
    }));
    let host = house.tcp().to_string();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    (host, house.ask_one(request.as_bytes()))
}

#[test]
fn p_url_03_a_rebuilt_url_may_be_spelt_in_another_way_than_the_one_that_was_sent() {
    for (sent, expected) in [
        ("/a/b?c=%20d", "/a/b?c=%20d"),
        ("/a;b=c,d", "/a;b=c,d"),
        ("/%E4%c3", "/%E4%C3"),
        ("/%7Eada/%2B", "/~ada/%2B"),
        ("/a%2Fb", "/a/b"),
        ("/a+b'(c)", "/a%2Bb%27%28c%29"),
        ("/100%", "/100%25"),
        ("/?", "/"),
    ] {
        let (host, response) = rebuilt(sent);
        assert_eq!(response.text(), format!("http://{host}{expected}"), "{sent}");
    }
}

#[test]
fn p_url_01_a_rebuilt_url_leads_back_to_the_same_path() {
    for target in ["/", "//a/../b", "/%E4/%25%41?x=%FF", "/%3Fa%23?b", "/%0D%0A%7F"] {
        let (host, response) = rebuilt(target);
        let again = response.text().strip_prefix(&format!("http://{host}")).unwrap().to_owned();
        let path = |target: &str| Request::get(target).environ().path_info().to_vec();
        assert_eq!(path(&again), path(target), "{target} as {again}");
    }
}
