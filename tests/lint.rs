//! `middleware::Lint` finds every sin of the kit, each once and nothing else, finds nothing in what is well done, and changes nothing.
//!
//! The applications are called without a socket, and over one, because what the client gets is what must not change.

mod shown;
mod sins;
mod support;

use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use doorway::middleware::{
    AccessLog, Buffered, Culprit, ErrorPages, Finding, HostAllowList, Level, Lint, Mount, Normalize, TrustProxy,
};
use doorway::testing::{Request, Response};
use doorway::{Application, Body, Environ, StartResponse, app};

use shown::{embedded, form, hello, lint, middleware, mount, peer, probe, stream, upload};
use sins::Expected;
use support::{House, locked, serve};

/// Findings, kept. Clones share them.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Finding>>>);

impl Kept {
    fn lint<A: Application>(&self, application: A) -> Lint<A> {
        let kept = self.clone();
        Lint::with(application, move |finding: &Finding| locked(&kept.0).push(finding.clone()))
    }

    fn take(&self) -> Vec<Finding> {
        std::mem::take(&mut locked(&self.0))
    }

    #[track_caller]
    fn are(&self, name: &str, expected: &[Expected]) {
        let findings = self.take();
        assert_eq!(findings.iter().map(Expected::of).collect::<Vec<_>>(), expected, "{name}: {findings:#?}");
    }
}

fn request(method: &str, target: &str, content: &str) -> Request {
    let request = Request::new(method, target);
    if content.is_empty() { request } else { request.content(content) }
}

/// The same request as bytes, which ends its connection.
fn bytes(method: &str, target: &str, content: &str) -> Vec<u8> {
    let length = if content.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", content.len()) };
    format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n{content}").into_bytes()
}

/// Everything that a client gets, without the line that the clock writes, and what the server logs.
fn wire(house: &House, request: &[u8]) -> (Vec<u8>, Vec<String>) {
    let mut client = house.client();
    client.send(request);
    let mut bytes = client.until_end();
    if let Some(at) = bytes.windows(6).position(|six| six == b"Date: ") {
        bytes.drain(at..at + 6 + 29);
    }
    // Logged when the body is closed, so after the last finding.
    house.log.take_accesses(1);
    let reports = house.log.reports().iter().map(|seen| format!("{:?} {}", seen.cause, seen.detail)).collect();
    (bytes, reports)
}

#[track_caller]
fn same(name: &str, left: &Response, right: &Response) {
    assert_eq!(left.status, right.status, "{name}");
    assert!(left.headers.iter().eq(right.headers.iter()), "{name}: {left:?} and {right:?}");
    assert_eq!((&left.blocks, &left.error, &left.errors), (&right.blocks, &right.error, &right.errors), "{name}");
}

#[test]
fn every_sin_of_an_application_is_found_once_and_the_answer_stays_the_same() {
    for sin in sins::application::ALL {
        let kept = Kept::default();
        let plain = request(sin.method, "/", sin.content).call(&sin.application);
        let seen = request(sin.method, "/", sin.content).call(&kept.lint(sin.application));
        same(sin.name, &plain, &seen);
        kept.are(sin.name, &[sin.expected()]);
    }
}

#[test]
fn every_sin_of_an_application_is_found_once_over_a_socket_and_the_client_gets_the_same_bytes() {
    for sin in sins::application::ALL {
        let kept = Kept::default();
        let request = bytes(sin.method, "/", sin.content);
        let plain = wire(&serve(sin.application), &request);
        let seen = wire(&serve(kept.lint(sin.application)), &request);
        assert_eq!(plain, seen, "{}", sin.name);
        kept.are(sin.name, &[sin.expected()]);
    }
}

#[test]
fn with_a_lint_on_both_sides_of_middleware_an_application_is_blamed_once() {
    for sin in sins::application::ALL {
        let kept = Kept::default();
        let application = kept.lint(middleware::timed(kept.lint(kept.lint(sin.application))));
        request(sin.method, "/", sin.content).call(&application);
        kept.are(sin.name, &[sin.expected()]);
    }
}

#[test]
fn every_sin_of_middleware_is_found_once_and_is_not_blamed_on_the_application() {
    for sin in sins::middleware::ALL {
        let kept = Kept::default();
        let application = kept.lint((sin.around)(Box::new(kept.lint(sins::middleware::three_blocks))));
        let seen = Request::get("/").call(&application);
        kept.are(sin.name, &[sin.expected()]);
        same(sin.name, &Request::get("/").call(&(sin.around)(Box::new(sins::middleware::three_blocks))), &seen);

        let house = serve(application);
        let plain = serve((sin.around)(Box::new(sins::middleware::three_blocks)));
        let request = bytes("GET", "/", "");
        assert_eq!(wire(&plain, &request), wire(&house, &request), "{}", sin.name);
        kept.are(sin.name, &[sin.expected()]);
    }
}

#[test]
fn every_sin_of_a_server_is_found_once() {
    for sin in sins::server::ALL {
        let kept = Kept::default();
        let application = kept.lint(middleware::timed(kept.lint(hello::application)));
        // The request is built from the environ, with all that is wrong in it.
        let environ = sin.environ();
        let mut start_response = StartResponse::new(Box::new(sins::middleware::Nowhere));
        let body = application.call(&environ, &mut start_response);
        assert_eq!(body.known_len(), Some(20), "{}", sin.name);
        drop(body);
        kept.are(sin.name, &[sin.expected()]);
    }
}

#[test]
fn the_table_of_checks_is_whole_and_the_kit_has_a_sin_for_each() {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/middleware/lint.rs")).unwrap();
    let rows: Vec<(&str, &str)> = source
        .lines()
        .filter_map(|line| line.strip_prefix("/// | V-"))
        .map(|row| {
            let mut cells = row.split(" | ");
            (cells.next().unwrap(), cells.nth(1).unwrap())
        })
        .collect();
    let numbers: Vec<String> = (1..=43).map(|number| format!("{number:02}")).collect();
    assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), numbers);

    let rules = sins::application::ALL.iter().map(|sin| sin.rule);
    let rules = rules.chain(sins::middleware::ALL.iter().map(|sin| sin.rule));
    let rules: Vec<&str> = rules.chain(sins::server::ALL.iter().map(|sin| sin.rule)).collect();
    for (number, here) in rows {
        let is_kept = here.starts_with("kept by type: ") || here.starts_with("does not apply: ");
        assert!(is_kept || here.starts_with("checked: "), "V-{number}: {here}");
        assert_ne!(is_kept, rules.contains(&&*format!("V-{number}")), "V-{number}");
    }
    for rule in rules.iter().filter(|rule| rule.starts_with("P-")) {
        assert!(source.contains(&format!("{rule} (")), "{rule} is not explained");
    }
}

/// Method, target and content.
type Asked = (&'static str, &'static str, &'static str);

/// Calls an application with a `Lint` on both sides of nothing, with and without a socket.
#[track_caller]
fn is_well_done(name: &str, make: impl Fn() -> Box<dyn Application>, asked: &[Asked]) {
    let kept = Kept::default();
    let (plain, house) = (serve(make()), serve(kept.lint(kept.lint(make()))));
    for (method, target, content) in asked {
        let typed = |request: Request| request.header("Content-Type", "application/x-www-form-urlencoded");
        // The test client knows origin-form only.
        if target.starts_with('/') {
            typed(request(method, target, content)).call(&kept.lint(kept.lint(make())));
        }
        kept.are(&format!("{name} {target}"), &[]);
        let request = bytes(method, target, content);
        let (plain, seen) = (wire(&plain, &request), wire(&house, &request));
        let show = |(bytes, log): &(Vec<u8>, Vec<String>)| (String::from_utf8_lossy(bytes).into_owned(), log.clone());
        assert_eq!(show(&plain).1, show(&seen).1, "{name} {target}");
        assert_eq!(without_numbers(&show(&plain).0), without_numbers(&show(&seen).0), "{name} {target}");
        kept.are(&format!("{name} {target} over a socket"), &[]);
    }
}

/// Ports and times differ between two runs.
fn without_numbers(text: &str) -> String {
    let mut kept: Vec<char> = text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    kept.dedup_by(|a, b| *a == '0' && *b == '0');
    kept.into_iter().collect()
}

#[test]
fn nothing_is_found_in_the_applications_that_are_shipped() {
    let odd: &[Asked] = &[
        ("GET", "/", ""),
        ("HEAD", "/a%2Fb//..?x=%00", ""),
        ("OPTIONS", "/%E4", ""),
        ("GET", "http://example.org", ""),
        ("DELETE", "//x", ""),
    ];
    is_well_done("demo", || Box::new(app::demo), odd);
    is_well_done("hello", || Box::new(hello::application), odd);
    is_well_done("embedded", || Box::new(embedded::status(Arc::default())), odd);
    // Over a socket the POST has no type, and is refused unread, which is no sin.
    let asked: &[Asked] =
        &[("GET", "/", ""), ("HEAD", "/", ""), ("PUT", "/", ""), ("POST", "/", "name=Ada&colour=red")];
    is_well_done("form", || Box::new(form::application), asked);
    let written: &[Asked] = &[("GET", "/", ""), ("GET", "/written", ""), ("HEAD", "/", "")];
    is_well_done("timed", || Box::new(middleware::timed(middleware::greeting)), written);
    is_well_done("shout", || Box::new(middleware::shout(middleware::greeting)), &written[..2]);
    let mounted: &[Asked] = &[("GET", "/api/users", ""), ("GET", "/blog", ""), ("GET", "/", ""), ("HEAD", "/api", "")];
    is_well_done("mount", || Box::new(mount::site()), mounted);
    let peer: &[Asked] =
        &[("GET", "/hello", ""), ("POST", "/echo", "hello"), ("GET", "/stream", ""), ("GET", "/x", "")];
    is_well_done("peer", || Box::new(peer::application), peer);
    let probed: &[Asked] = &[
        ("POST", "/", "hello"),
        ("GET", "/length", ""),
        ("GET", "/stream", ""),
        ("GET", "/empty", ""),
        ("GET", "/status/204", ""),
        ("GET", "/status/304", ""),
        ("HEAD", "/big", ""),
        ("GET", "/cookies", ""),
    ];
    is_well_done("probe", || Box::new(probe::application), probed);
    let ticker = || -> Box<dyn Application> { Box::new(stream::ticker(3, std::time::Duration::ZERO)) };
    is_well_done("stream", ticker, &[("GET", "/", "")]);
    let folder = std::env::temp_dir().join(format!("doorway-lint-{}", std::process::id()));
    let upload = || -> Box<dyn Application> { Box::new(upload::Upload::to(&folder).unwrap()) };
    is_well_done("upload", upload, &[("PUT", "/a", "hello"), ("GET", "/download/70000", ""), ("PUT", "/.x", "hello")]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn nothing_is_found_between_two_lints_around_good_middleware() {
    for around in [
        |inner| -> Box<dyn Application> { Box::new(middleware::shout(inner)) },
        |inner| -> Box<dyn Application> { Box::new(middleware::timed(inner)) },
    ] {
        let kept = Kept::default();
        let application = kept.lint(around(kept.lint(sins::middleware::three_blocks)));
        assert_eq!(Request::get("/").call(&application).blocks, [b"12", b"34", b"56"]);
        kept.are("middleware", &[]);
    }
    let kept = Kept::default();
    let inner = kept.lint(form::application);
    let site = kept.lint(mount::Mount::default().at("/form", inner).at("/blog", mount::blog));
    let request = Request::post("/form", "name=Ada").header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(request.call(&site).text(), "<p>Hello, Ada! You chose no colour.\n");
    kept.are("mount", &[]);
}

#[test]
fn nothing_is_found_between_two_lints_around_the_middleware_that_is_shipped() {
    type Inner = Lint<fn(&Environ, &mut StartResponse) -> Body>;
    type Around = fn(Inner) -> Box<dyn Application>;
    let shipped: [(&str, Around); 8] = [
        ("AccessLog", |inner| Box::new(AccessLog::combined(inner, std::io::sink()))),
        ("Buffered", |inner| Box::new(Buffered::new(inner))),
        ("ErrorPages", |inner| Box::new(ErrorPages::new(inner))),
        ("HostAllowList", |inner| Box::new(HostAllowList::new(inner, ["localhost"]))),
        ("HostAllowList", |inner| Box::new(HostAllowList::new(inner, ["example.org"]))),
        ("Mount", |inner| Box::new(Mount::new().at("/a", inner))),
        ("Normalize", |inner| Box::new(Normalize::new(inner))),
        ("TrustProxy", |inner| Box::new(TrustProxy::forwarded(inner))),
    ];
    for (name, around) in shipped {
        for (number, good) in sins::good::ALL.into_iter().enumerate() {
            for (method, target) in
                [("GET", "/a/b"), ("GET", "/a"), ("GET", "//a/../a/./b"), ("GET", "/x"), ("POST", "/a")]
            {
                let kept = Kept::default();
                let content = if method == "POST" && number == 1 { "content" } else { "" };
                request(method, target, content).call(&kept.lint(around(kept.lint(good))));
                kept.are(&format!("{name} around {number}: {method} {target}"), &[]);
            }
        }
    }
}

/// A way to read the content.
type Way = fn(&Environ) -> std::io::Result<Vec<u8>>;

#[test]
fn v_43_content_that_is_read_in_any_way_is_read() {
    let ways: [Way; 4] = [
        |environ| environ.input().bytes().collect(),
        |environ| environ.input().split(b'\n').collect::<Result<Vec<_>, _>>().map(|lines| lines.join(&b'\n')),
        |environ| {
            let mut content = Vec::new();
            environ.input().read_until(b'-', &mut content)?;
            environ.clone().input().read_to_end(&mut content)?;
            Ok(content)
        },
        |environ| {
            let mut input = environ.input();
            let mut content = Vec::new();
            while let Some(byte) = input.fill_buf()?.first().copied() {
                content.push(byte);
                input.consume(1);
            }
            Ok(content)
        },
    ];
    for read in ways {
        let kept = Kept::default();
        let echo = move |environ: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[("Content-Type", "text/plain")]);
            read(environ)
        };
        let content = "a line\nand - another".repeat(500);
        assert_eq!(Request::post("/", &content).call(&kept.lint(kept.lint(echo))).text(), content);
        let house = serve(kept.lint(echo));
        assert!(wire(&house, &bytes("POST", "/", &content)).0.ends_with(content.as_bytes()));
        kept.are("reading", &[]);
    }
}

#[test]
fn v_43_content_may_be_read_while_the_body_is_made_and_may_break_off() {
    let kept = Kept::default();
    let late = |environ: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[("Content-Type", "text/plain")]);
        let environ = environ.clone();
        Body::blocks((0..1).map(move |_| {
            let mut content = Vec::new();
            environ.input().read_to_end(&mut content).map(|_| content)
        }))
    };
    assert_eq!(Request::post("/", "hello").call(&kept.lint(late)).text(), "hello");
    kept.are("late", &[]);

    let careless = |environ: &Environ, start_response: &mut StartResponse| {
        let read = environ.input().read_to_end(&mut Vec::new());
        start_response.start("200 OK", &[("Content-Type", "text/plain")]);
        format!("read: {}", read.is_ok())
    };
    let house = serve(kept.lint(careless));
    let mut client = house.client();
    // More than the server would wait for before it calls the application.
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\nhello");
    client.stop_sending();
    assert!(client.until_end().ends_with(b"read: false"));
    house.log.take_accesses(1);
    kept.are("broken off", &[]);
}

/// A channel with blocks in it whose sender has gone.
fn channel(blocks: &[&'static str]) -> Body {
    let (sender, body) = Body::channel(blocks.len());
    blocks.iter().for_each(|block| sender.send(block.as_bytes()).unwrap());
    body
}

#[test]
fn v_38_what_comes_through_a_channel_is_judged_block_by_block_and_at_its_end() {
    let kept = Kept::default();
    for (length, text) in [
        ("5", ""),
        ("3", "Content-Length promises 3 bytes, and more came"),
        ("9", "Content-Length promises 9 bytes, 5 came"),
    ] {
        let application = move |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[("Content-Type", "text/plain"), ("Content-Length", length)]);
            channel(&["ab", "cde"])
        };
        Request::get("/").call(&kept.lint(application));
        assert_eq!(kept.take().iter().map(|finding| &*finding.text).collect::<String>(), text);
    }
}

/// Makes a body, the same each time.
type Form = Box<dyn Fn() -> Body + Send + Sync>;

#[test]
fn every_form_of_a_body_goes_out_as_it_would_without_lint() {
    let path = std::env::temp_dir().join(format!("doorway-lint-file-{}", std::process::id()));
    std::fs::write(&path, "0123456789").unwrap();
    let file = {
        let path = path.clone();
        move || Body::from(File::open(&path).unwrap())
    };
    let forms: Vec<(&str, Form, Option<u64>)> = vec![
        ("empty", Box::new(Body::empty), Some(0)),
        ("bytes", Box::new(|| Body::from("bytes")), Some(5)),
        ("list", Box::new(|| Body::list(vec!["a".as_bytes(), b"", b"list"])), Some(5)),
        ("file", Box::new(file), Some(10)),
        ("reader", Box::new(|| Body::reader(&b"reader"[..])), None),
        ("blocks", Box::new(|| Body::blocks(["a", "", "b"].map(|text| text))), None),
        ("deferred", Box::new(|| Body::deferred(|_| "deferred")), None),
        ("failed", Box::new(|| Err::<Body, _>("no").into()), None),
        ("channel", Box::new(|| channel(&["a", "", "b"])), None),
        ("torn", Box::new(|| Body::blocks([Ok("a"), Err(std::io::Error::other("torn"))])), None),
    ];
    for (name, form, known) in forms {
        let form = Arc::new(form);
        let make = || {
            let form = Arc::clone(&form);
            move |_: &Environ, start_response: &mut StartResponse| {
                start_response.start("200 OK", &[("Content-Type", "text/plain")]);
                form()
            }
        };
        let kept = Kept::default();
        let environ = Request::get("/").environ();
        let body = kept.lint(make()).call(&environ, &mut StartResponse::new(Box::new(sins::middleware::Nowhere)));
        assert_eq!(body.known_len(), known, "{name}");
        drop(body);
        same(name, &Request::get("/").call(&make()), &Request::get("/").call(&kept.lint(make())));
        for request in [bytes("GET", "/", ""), b"GET / HTTP/1.0\r\n\r\n".to_vec()] {
            let (plain, seen) = (wire(&serve(make()), &request), wire(&serve(kept.lint(make())), &request));
            assert_eq!(plain, seen, "{name}");
            if let Some(known) = known {
                let length = format!("\r\nContent-Length: {known}\r\n");
                assert!(seen.0.windows(length.len()).any(|part| part == length.as_bytes()), "{name}");
            }
        }
        kept.are(name, &[]);
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_panic_passes_through_lint_and_one_of_the_sink_does_not() {
    fn falls(_: &Environ, start_response: &mut StartResponse) -> Body {
        start_response.start("200 OK", &[]);
        panic!("the application falls");
    }
    let kept = Kept::default();
    let request = bytes("GET", "/", "");
    assert_eq!(wire(&serve(falls), &request), wire(&serve(kept.lint(falls)), &request));
    kept.are("panic", &[]);

    let application = Lint::with(sins::application::no_type, |_: &Finding| panic!("the sink falls"));
    assert_eq!(wire(&serve(sins::application::no_type), &request), wire(&serve(application), &request));
}

#[test]
fn what_middleware_outside_does_is_not_the_application_s_fault() {
    fn good(_: &Environ, start_response: &mut StartResponse) -> Body {
        start_response.start("200 OK", &[("Content-Type", "text/plain"), ("Content-Length", "4")]);
        Body::from("good")
    }
    let kept = Kept::default();
    let inner = kept.lint(good);
    let spoils = move |environ: &Environ, start_response: &mut StartResponse| {
        start_response.on_start(|_, headers| headers.add("Upgrade", "x"));
        drop(inner.call(environ, start_response));
        let written = start_response.restart("200", &[], "wrong").map(|mut writer| writer.write_all(b"x"));
        drop(written);
        start_response.start("200 OK", &[("Connection", "close")]);
        "never sent"
    };
    assert_eq!(Request::get("/").call(&spoils).status.code(), 500);
    kept.are("outside", &[]);

    let inner = kept.lint(good);
    let writes = move |environ: &Environ, start_response: &mut StartResponse| -> std::io::Result<()> {
        drop(inner.call(environ, start_response));
        start_response.restart("200 OK", &[], "another").map_err(std::io::Error::other)?.write_all(b"more than good")
    };
    assert_eq!(Request::get("/").call(&writes).text(), "more than good");
    kept.are("written outside", &[]);
}

#[test]
fn each_middleware_is_blamed_for_its_own_sin_of_the_same_kind() {
    let kept = Kept::default();
    let inner = kept.lint(sins::middleware::joins_two_blocks(Box::new(kept.lint(sins::middleware::three_blocks))));
    let application = kept.lint(sins::middleware::joins_two_blocks(Box::new(inner)));
    assert_eq!(Request::get("/").call(&application).blocks, [b"123456"]);
    let rules: Vec<_> = kept.take().iter().map(|finding| (finding.rule, finding.culprit)).collect();
    assert_eq!(rules, [("V-41", Culprit::Middleware); 2]);
}

/// One block, of unknown length.
fn one_block(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    Body::blocks(["12"])
}

#[test]
fn v_41_middleware_that_took_a_block_may_give_a_body_of_one_piece_and_not_an_empty_one() {
    for (makes, rules) in [(Body::from as fn(&'static str) -> Body, &[][..]), (|_| Body::empty(), &["V-41"][..])] {
        let kept = Kept::default();
        let inner = kept.lint(one_block);
        let application = kept.lint(move |environ: &Environ, start_response: &mut StartResponse| {
            assert!(inner.call(environ, start_response).into_blocks().next().is_some());
            makes("12")
        });
        Request::get("/").call(&application);
        assert_eq!(kept.take().iter().map(|finding| finding.rule).collect::<Vec<_>>(), rules);
    }
}

#[test]
fn a_rule_that_is_broken_in_two_ways_is_told_twice_and_each_way_once() {
    let kept = Kept::default();
    let application = kept.lint(|_: &Environ, start_response: &mut StartResponse| {
        let fields = [("Content-Type", "a/b"), ("Content-Type", "a/b"), ("Location", "/"), ("Location", "/")];
        start_response.start("201 Created", &fields);
        // What the first call did wrong is not told again when it is looked at once more.
        start_response.start("201 Created", &fields);
        "done"
    });
    Request::get("/").call(&application);
    let texts: Vec<_> =
        kept.take().into_iter().filter(|finding| finding.rule == "V-42").map(|found| found.text).collect();
    assert_eq!(texts, ["Content-Type stands more than once", "Location stands more than once"]);
}

#[test]
fn a_wrong_start_that_restart_mends_does_not_excuse_what_comes_after() {
    let kept = Kept::default();
    let application = kept.lint(|_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200", &[]);
        let headers = [("Content-Type", "text/plain"), ("Content-Length", "9")];
        start_response.restart("500 Oops", &headers, "mended").map(|_| "short")
    });
    assert_eq!(Request::get("/").call(&application).text(), "short");
    let rules: Vec<_> = kept.take().iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["V-28", "V-38"]);
}

#[test]
fn v_38_and_v_43_do_not_judge_what_nobody_asked_for() {
    fn promises(_: &Environ, start_response: &mut StartResponse) -> Body {
        start_response.start("200 OK", &[("Content-Type", "text/plain"), ("Content-Length", "9")]);
        Body::blocks([""; 0])
    }
    fn unchanged(_: &Environ, start_response: &mut StartResponse) -> Body {
        start_response.start("304 Not Modified", &[("Content-Length", "9")]);
        Body::empty()
    }
    let kept = Kept::default();
    Request::new("HEAD", "/").call(&kept.lint(promises));
    Request::get("/").call(&kept.lint(unchanged));
    kept.are("no content", &[]);
    // The client is gone before the first block: who knows what the body would have read.
    let environ = Request::post("/", "hello").environ();
    drop(kept.lint(promises).call(&environ, &mut StartResponse::new(Box::new(sins::middleware::Nowhere))));
    kept.are("dropped", &[]);
}

#[cfg(unix)]
#[test]
fn a_file_without_a_length_is_looked_at_like_a_reader() {
    let kept = Kept::default();
    let application = || {
        |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[("Content-Type", "text/plain"), ("Content-Length", "9")]);
            File::open("/dev/null")
        }
    };
    let request = bytes("GET", "/", "");
    assert_eq!(wire(&serve(application()), &request), wire(&serve(kept.lint(application())), &request));
    assert_eq!(kept.take().iter().map(|finding| finding.rule).collect::<Vec<_>>(), ["V-38"]);
}

#[test]
fn findings_go_to_the_error_stream_line_by_line_and_to_the_log_of_a_server() {
    let application = || Lint::new(sins::application::too_short);
    let line = "lint: V-38 error of the application, GET /a%20b\\xe4, body: Content-Length promises 6 bytes, 5 came";
    let line = line.replace("a%20b", "a b");
    assert_eq!(Request::get("/a%20b%E4").call(&application()).errors, format!("{line}\n"));
    let house = serve(application());
    wire(&house, &bytes("GET", "/a%20b%E4", ""));
    assert_eq!(house.log.texts(), [format!("{line}\n")]);
}

#[test]
fn the_example_reports_every_sin_it_shows() {
    let report = lint::report();
    for (path, sin) in lint::SINS {
        assert!(report.contains(&format!("{path}: {sin}\n")), "{report}");
    }
    let blamed = |culprit: Culprit| report.matches(&format!("of the {culprit}, GET /")).count();
    let counts = [Culprit::Server, Culprit::Application, Culprit::Middleware].map(blamed);
    assert_eq!(counts, [0, lint::SINS.len() - 1, 1], "{report}");
    assert!(report.matches(&format!(" {} of the ", Level::Error)).count() == lint::SINS.len() - 2, "{report}");
    let application = lint::application();
    assert_eq!(Request::get("/well").call(&application).errors, "");
}
