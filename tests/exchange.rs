//! The rules of the gateway that show on the wire: what an application may do, and what the client gets when it does otherwise.
//!
//! PEP 3333; docs/rules.md P-SR, P-HDR, P-WR, P-BODY, P-LEN, P-ERR, P-EXP, P-IN. The table of docs/comparison.md is here rule by
//! rule: five Python servers break at least one each. Blocks are ordered by channels, never by time.

mod apps;
mod support;

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apps::{Recorder, echo, hello, starts_with};
use doorway::log::Answer;
use doorway::{Application, Body, Cause, Environ, Headers, StartResponse};
use support::{Client, Delimiter, House, PATIENCE, Response, in_memory, locked, parse_all, serve, serve_with};

const GET_11: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const GET_10: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const HEAD_11: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const KEEP_11: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// An application that calls the function given here; types for closures.
fn app<R: Into<Body>>(call: impl Fn(&Environ, &mut StartResponse) -> R + Send + Sync + 'static) -> impl Application {
    call
}

/// What the client gets is a plain 500, the log has the cause, and the next request on the connection is served.
#[track_caller]
fn is_500(application: impl Application, cause: Cause) {
    let house = serve(application);
    let mut client = house.client();
    for _ in 0..2 {
        client.send(KEEP_11);
        let response = client.response();
        assert_eq!((response.status, response.text()), (500, "Internal Server Error\n"));
        assert_eq!(response.field("Content-Type"), Some("text/plain"));
        let names: Vec<_> = response.fields.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["Content-Type", "Content-Length", "Server", "Date"], "nothing of the application's");
        let seen = house.log.take(cause);
        assert_eq!(seen.answer, Answer::Status(500));
        assert_eq!(seen.request, b"GET /");
    }
    assert_eq!(house.log.causes(), []);
}

/// The response to a plain GET.
#[track_caller]
fn answer(application: impl Application) -> Response {
    let house = serve(application);
    let response = house.ask_one(GET_11);
    assert_eq!(house.log.reports(), []);
    response
}

// -------------------------------------------------------------------------------------------------- start_response

#[test]
fn p_sr_02_a_status_is_three_digits_a_space_and_a_reason_without_controls() {
    for status in [
        "200 OK\r\nSet-Cookie: evil=1",
        "200 O\nK",
        "200 O\rK",
        "200 O\0K",
        "200 \x7F",
        "200 \t",
        "200",
        "200OK",
        "20 OK",
        "2000 OK",
        "",
        " 200 OK",
        "abc OK",
        "+20 OK",
        "199 X",
        "100 Continue",
        "600 X",
        "000 X",
        "\u{0662}00 OK",
    ] {
        is_500(starts_with(status, &[]), Cause::StatusInvalid);
    }
    for (status, code, reason) in [("200 ", 200, ""), ("299 So so", 299, "So so"), ("599 \u{e9}", 599, "\u{e9}")] {
        let response = answer(starts_with(status, &[]));
        assert_eq!((response.status, &*response.reason), (code, reason));
    }
}

#[test]
fn p_sr_03_a_field_name_is_a_token_and_a_value_has_no_controls() {
    const NAMES: [&[(&str, &str)]; 7] = [
        &[("X A", "b")],
        &[("X:", "b")],
        &[("", "b")],
        &[("X\r\nY", "b")],
        &[("X\u{e9}", "b")],
        &[("X\0", "b")],
        &[("X\t", "b")],
    ];
    for fields in NAMES {
        is_500(starts_with("200 OK", fields), Cause::HeaderName);
    }
    const VALUES: [&[(&str, &str)]; 5] =
        [&[("X", "a\r\nb")], &[("X", "a\nb")], &[("X", "a\rb")], &[("X", "\0")], &[("Ok", "fine"), ("X", "a\x7Fb")]];
    for fields in VALUES {
        is_500(starts_with("200 OK", fields), Cause::HeaderValue);
    }
    is_500(apps::header_crlf, Cause::HeaderValue);
    let response = answer(starts_with("200 OK", &[("X-A", "a\tb"), ("x!~9", "c")]));
    assert_eq!((response.field("X-A"), response.field("X!~9")), (Some("a\tb"), Some("c")));
}

#[test]
fn p_sr_05_06_start_sends_nothing_and_the_head_waits_for_the_first_block_that_is_not_empty() {
    // Had anything been sent, the error could not become a 500 any more.
    is_500(
        app(|_, start_response| {
            start_response.start("200 OK", &[("X", "y")]);
            Body::blocks([Ok(""), Ok(""), Err(io::Error::other("late"))])
        }),
        Cause::BodyFailed,
    );
    is_500(apps::panics_before_the_first_block, Cause::ApplicationPanic);
    let house = serve(app(|_, start_response| {
        let mut writer = start_response.start("200 OK", &[("X", "y")]);
        writer.write_all(b"").and_then(|()| writer.flush()).unwrap();
        assert!(start_response.restart("202 Accepted", &[], "an empty write sends nothing").is_ok());
        "late"
    }));
    let response = house.ask_one(GET_11);
    assert_eq!((response.status, response.text(), response.field("X")), (202, "late", None));
}

#[test]
fn p_sr_07_a_second_start_is_fatal_even_after_a_failed_one() {
    is_500(apps::start_twice, Cause::StartedTwice);
    is_500(
        app(|_, start_response| {
            assert!(start_response.try_start("bad", &[]).is_err());
            assert!(start_response.try_start("200 OK", &[]).is_err());
            "x"
        }),
        Cause::StatusInvalid,
    );
    let house = serve(app(|_, start_response| {
        assert!(start_response.try_start("bad", &[("X", "y")]).is_err());
        assert!(start_response.restart("200 OK", &[("Y", "z")], "mended").is_ok());
        "x"
    }));
    let response = house.ask_one(GET_11);
    assert_eq!((response.status, response.field("X"), response.field("Y")), (200, None, Some("z")));
}

#[test]
fn p_sr_08_restart_replaces_status_and_all_fields_and_logs_the_error() {
    let house = serve(app(|_, start_response| {
        start_response.start("200 OK", &[("Set-Cookie", "a=b"), ("Content-Length", "5")]);
        start_response.restart("502 Bad Gateway", &[("X", "y")], "the database is away").unwrap();
        "sorry"
    }));
    let response = house.ask_one(GET_11);
    assert_eq!((response.status, response.text()), (502, "sorry"));
    assert_eq!((response.field("Set-Cookie"), response.field("X")), (None, Some("y")));
    let seen = house.log.take(Cause::ApplicationError);
    assert!(seen.detail.contains("the database is away") && seen.answer == Answer::Status(502), "{seen:?}");
}

#[test]
fn p_sr_09_restart_after_the_head_is_an_error_and_the_response_is_cut() {
    let house = serve(app(|_, start_response| -> Result<Body, apps::Failed> {
        start_response.start("200 OK", &[]).write_all(b"out")?;
        start_response.restart("500 Oops", &[], "the original error")?;
        Ok(Body::from("never"))
    }));
    let mut client = house.client();
    client.send(KEEP_11);
    let out = client.until_close();
    assert!(out.ends_with(b"\r\n\r\n3\r\nout\r\n"), "{}", support::show(&out));
    let seen = house.log.take(Cause::HeadSent);
    assert!(seen.answer == Answer::Cut && seen.detail.contains("the original error"), "{seen:?}");
}

#[test]
fn p_sr_10_a_deferred_body_may_start_late_and_must_start_at_all() {
    let late = app(|_, _| {
        Body::deferred(|start_response| {
            start_response.start("202 Accepted", &[]);
            "late"
        })
    });
    let response = answer(late);
    assert_eq!((response.status, response.text()), (202, "late"));
    is_500(app(|_, _| Body::deferred(|_| "never started")), Cause::NotStarted);
}

#[test]
fn p_sr_11_a_response_that_was_never_started_is_a_500() {
    is_500(apps::never_starts, Cause::NotStarted);
    is_500(app(|_, _| ()), Cause::NotStarted);
    is_500(app(|_, _| Body::blocks(["x"])), Cause::NotStarted);
    is_500(app(|_, _| Body::blocks([""; 0])), Cause::NotStarted);
    is_500(app(|_, _| Body::reader(&b"x"[..])), Cause::NotStarted);
}

// ---------------------------------------------------------------------------------------------------------- fields

#[test]
fn p_hdr_01_date_and_server_are_added_and_the_applications_own_win() {
    let response = answer(hello);
    assert_eq!(response.field("Server"), Some("doorway"));
    let date = response.field("Date").expect("a date");
    let parts: Vec<&str> = date.split([' ', ':', ',']).collect();
    // IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    assert_eq!((date.len(), lengths), (29, vec![3, 0, 2, 3, 4, 2, 2, 2, 3]), "{date}");
    assert!(date.ends_with(" GMT"));

    let response = answer(starts_with("200 OK", &[("date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("SERVER", "mine/1")]));
    assert_eq!(response.field("Date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    assert_eq!(response.field("Server"), Some("mine/1"));

    let house = serve_with(hello, |settings| {
        settings.server_field = None;
        settings.date_field = false;
    });
    let response = house.ask_one(GET_11);
    assert_eq!((response.field("Server"), response.field("Date")), (None, None));
}

#[test]
fn p_hdr_02_fields_go_out_in_the_order_and_spelling_and_number_in_which_they_were_given() {
    let given = [
        ("x-B", "1"),
        ("ETag", "\"e\""),
        ("Set-Cookie", "a=1"),
        ("X-a", "2"),
        ("set-cookie", "b=2"),
        ("cONTENT-lENGTH", "5"),
        ("x-B", "3"),
    ];
    let house = serve(app(move |_, start_response| {
        start_response.start("200 OK", &given);
        "hello"
    }));
    let response = house.ask_one(GET_11);
    let seen: Vec<_> =
        response.fields.iter().map(|(name, value)| (&**name, std::str::from_utf8(value).unwrap())).collect();
    assert_eq!(seen[..given.len()], given);
}

#[test]
fn p_hdr_03_04_hop_by_hop_fields_and_status_are_fatal() {
    const FIELDS: [&[(&str, &str)]; 10] = [
        &[("Connection", "close")],
        &[("Keep-Alive", "5")],
        &[("Proxy-Authenticate", "x")],
        &[("Proxy-Authorization", "x")],
        &[("Proxy-Connection", "x")],
        &[("TE", "trailers")],
        &[("Trailer", "X")],
        &[("Transfer-Encoding", "chunked")],
        &[("Upgrade", "h2c")],
        &[("Content-Length", "5"), ("transfer-encoding", "chunked")],
    ];
    for fields in FIELDS {
        is_500(starts_with("200 OK", fields), Cause::HopByHop);
    }
    is_500(starts_with("200 OK", &[("status", "404 Not Found")]), Cause::StatusHeader);
}

#[test]
fn p_hdr_05_values_and_content_go_out_byte_for_byte() {
    let every: Vec<u8> = (0..=255).collect();
    let content = every.clone();
    let response = answer(app(move |_, start_response| {
        let mut headers = Headers::new();
        headers.add("X", [b"a", &content[0x80..]].concat());
        start_response.start_with("200 OK", &headers);
        content.clone()
    }));
    assert_eq!(response.all("X"), [&[b"a", &every[0x80..]].concat()[..]]);
    assert_eq!(response.body, every);
}

#[test]
fn p_hdr_06_a_content_length_is_one_number() {
    const FIELDS: [&[(&str, &str)]; 9] = [
        &[("Content-Length", "")],
        &[("Content-Length", "+5")],
        &[("Content-Length", "-5")],
        &[("Content-Length", "0x5")],
        &[("Content-Length", "5 5")],
        &[("Content-Length", "5, 5")],
        &[("Content-Length", "99999999999999999999")],
        &[("Content-Length", "5"), ("Content-Length", "5")],
        &[("Content-Length", "5"), ("content-length", "6")],
    ];
    for fields in FIELDS {
        is_500(starts_with("200 OK", fields), Cause::HeaderLength);
    }
    assert_eq!(answer(starts_with("200 OK", &[("Content-Length", "5")])).text(), "hello");
}

// ----------------------------------------------------------------------------------------------------------- write

#[test]
fn p_wr_02_06_what_is_written_comes_first_and_turns_the_length_off() {
    let house = serve(apps::writes);
    let response = house.ask_one(GET_11);
    assert_eq!((response.delimiter, response.text()), (Delimiter::Chunked, "w1w2it"));
    assert_eq!(response.chunks, [b"w1", b"w2", b"it"]);
    let response = house.ask_one(GET_10);
    assert_eq!((response.delimiter, response.text()), (Delimiter::Close, "w1w2it"));
}

#[test]
fn p_wr_01_a_written_block_is_at_the_client_before_write_returns_to_much_else() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let house = serve(app(move |_, start_response| -> io::Result<Body> {
        let mut writer = start_response.start("200 OK", &[]);
        writer.write_all(b"first ")?;
        locked(&wait).recv_timeout(PATIENCE).expect("the client has seen it");
        writer.write_all(b"second")?;
        Ok(Body::empty())
    }));
    let mut client = house.client();
    client.send(KEEP_11);
    client.until(b"first ");
    go.send(()).unwrap();
    assert_eq!(client.response().text(), "first second");
}

#[test]
fn p_wr_05_writing_past_the_content_length_is_an_error() {
    let (sender, results) = channel();
    let sender = Mutex::new(sender);
    let house = serve(app(move |_, start_response| {
        let mut writer = start_response.start("200 OK", &[("Content-Length", "5")]);
        let results =
            [writer.write_all(b"abc").is_ok(), writer.write_all(b"defg").is_ok(), writer.write_all(b"h").is_ok()];
        locked(&sender).send(results).unwrap();
        Body::empty()
    }));
    let mut client = house.client();
    for _ in 0..2 {
        client.send(KEEP_11);
        assert_eq!(client.response().text(), "abcde");
        assert_eq!(results.recv_timeout(PATIENCE).unwrap(), [true, false, false]);
        house.log.take(Cause::BodyLong);
    }
    assert_eq!(house.log.causes(), []);
}

#[test]
fn p_wr_a_wrongly_started_response_cannot_be_written_to() {
    is_500(
        app(|_, start_response| {
            assert!(start_response.start("bad", &[]).write_all(b"x").is_err());
            "y"
        }),
        Cause::StatusInvalid,
    );
}

// ------------------------------------------------------------------------------------------------------------ body

/// Blocks that are made one at a time, each when the test has said so.
fn on_demand(blocks: Receiver<&'static str>) -> impl Application {
    let blocks = Arc::new(Mutex::new(blocks));
    app(move |_, start_response| {
        start_response.start("200 OK", &[]);
        let blocks = Arc::clone(&blocks);
        Body::blocks(std::iter::from_fn(move || {
            let block = locked(&blocks).recv_timeout(PATIENCE).expect("the test goes on");
            (block != "end").then_some(block)
        }))
    })
}

#[test]
fn p_body_01_a_block_is_at_the_client_before_the_next_is_asked_for() {
    for request in [KEEP_11, GET_10] {
        let (sender, blocks) = channel();
        let house = serve(on_demand(blocks));
        let mut client = house.client();
        client.send(request);
        for block in ["one", "two", "three"] {
            sender.send("").unwrap();
            sender.send(block).unwrap();
            client.until(block.as_bytes());
        }
        sender.send("end").unwrap();
        assert_eq!(client.response().text(), "onetwothree");
    }
}

#[test]
fn p_body_01_blocks_in_quick_succession_are_at_the_client_while_the_application_is_busy_with_the_next() {
    // Several times, so that the monitor is met asleep and awake; with a pause before, so that the shard has been given away.
    for round in 0..20 {
        let (sender, blocks) = channel();
        let house = serve(on_demand(blocks));
        let mut client = house.client();
        client.send(if round % 2 == 0 { KEEP_11 } else { GET_10 });
        if round % 4 > 1 {
            // No wait for something to happen: the driver is replaced after 3 ms or is not, and both ways must pass.
            std::thread::sleep(Duration::from_millis(10));
        }
        for block in ["one", "two", "three", "four"] {
            sender.send(block).unwrap();
        }
        client.until(b"four");
        sender.send("five").unwrap();
        sender.send("end").unwrap();
        assert_eq!(client.response().text(), "onetwothreefourfive");
        // The next response on the connection has nothing of the last.
        if round % 2 == 0 {
            client.send(KEEP_11);
            ["a", "b", "c", "end"].into_iter().for_each(|block| sender.send(block).unwrap());
            assert_eq!(client.response().text(), "abc");
        }
    }
}

#[test]
fn p_body_01_p_err_04_blocks_in_quick_succession_before_a_failure_are_at_the_client() {
    for panics in [false, true] {
        let house = serve(app(move |_, start_response| {
            start_response.start("200 OK", &[]);
            Body::blocks((0..10).map(move |number| match number {
                9 if panics => panic!("on purpose"),
                9 => Err(std::io::Error::other("on purpose")),
                _ => Ok(vec![b'0' + number]),
            }))
        }));
        let mut client = house.client();
        client.send(KEEP_11);
        let out = client.until_close();
        assert!(out.ends_with(b"1\r\n7\r\n1\r\n8\r\n"), "{}", support::show(&out));
    }
}

#[test]
fn p_body_02_03_blocks_are_not_merged_and_empty_ones_send_nothing() {
    let response = answer(app(|_, start_response| {
        start_response.start("200 OK", &[]);
        Body::blocks(["", "a", "", "", "bc", "def", ""])
    }));
    assert_eq!(response.chunks, [&b"a"[..], b"bc", b"def"]);
    let response = answer(app(|_, start_response| {
        start_response.start("200 OK", &[]);
        Body::blocks(["", ""])
    }));
    assert_eq!((response.delimiter, response.text()), (Delimiter::Length(0), ""));
    let response = answer(app(|_, start_response| {
        start_response.start("200 OK", &[]);
        Body::list(vec!["", "a", "", "bc", ""].into_iter().map(str::as_bytes).collect())
    }));
    assert_eq!((response.delimiter, response.text()), (Delimiter::Length(3), "abc"));
    let response = answer(app(|_, start_response| {
        start_response.start("200 OK", &[]);
        let (sender, body) = Body::channel(8);
        ["", "a", "", "", "bc", "def", ""].iter().for_each(|block| sender.send(block.as_bytes()).unwrap());
        body
    }));
    assert_eq!(response.chunks, [&b"a"[..], b"bc", b"def"]);
    let response = answer(app(|_, start_response| {
        start_response.start("200 OK", &[]);
        let (sender, body) = Body::channel(2);
        ["", ""].iter().for_each(|block| sender.send(block.as_bytes()).unwrap());
        body
    }));
    assert_eq!((response.delimiter, response.text()), (Delimiter::Length(0), ""));
}

/// Counts the ends of bodies.
#[derive(Clone, Default)]
struct Closed(Arc<AtomicUsize>);

impl Closed {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn on(&self, body: Body) -> Body {
        let count = Arc::clone(&self.0);
        body.on_close(move || {
            count.fetch_add(1, Ordering::SeqCst);
        })
    }
}

#[test]
fn p_body_04_on_close_runs_once_and_before_the_next_request() {
    let closed = Closed::default();
    let seen = closed.clone();
    let house = serve(app(move |environ, start_response| {
        let before = seen.count();
        let status = if environ.path() == "/204" { "204 No Content" } else { "200 OK" };
        let before = before.to_string();
        let fields = [("X-Before", &*before), ("Content-Length", "5")];
        let declared = if environ.path() == "/long" { 2 } else { 1 };
        start_response.start(status, &fields[..declared]);
        let blocks = || ["he", "llo", " world"];
        seen.on(match &*environ.path() {
            "/empty" => Body::empty(),
            "/list" => Body::list(vec!["a".as_bytes(), b"b"]),
            "/reader" => Body::reader(&b"hello"[..]),
            "/blocks" | "/long" => Body::blocks(blocks()),
            "/deferred" => Body::deferred(|_| "late"),
            "/failed" => Body::from(Err::<Body, _>("failed")),
            "/broken" => Body::blocks([Err::<Body, _>("broken")]),
            _ => Body::from("hello"),
        })
    }));
    let mut client = house.client();
    let mut count = 0;
    for method in ["GET", "HEAD"] {
        for path in [
            "/bytes",
            "/empty",
            "/list",
            "/reader",
            "/blocks",
            "/long",
            "/204",
            "/deferred",
            "/failed",
            "/broken",
            "/bytes",
        ] {
            client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            let response = client.response_to(method);
            if response.status < 500 {
                assert_eq!(response.field("X-Before"), Some(&*count.to_string()), "{method} {path}");
            }
            count += 1;
        }
    }
    house.until("the last call has ended", |stats| stats.served == count as u64);
    house.handle.shutdown(PATIENCE);
    assert_eq!(closed.count(), count);
}

/// It is sent before its body closes, though others are behind it.
#[test]
fn p_body_04_an_answer_to_a_pipelined_request_does_not_wait_until_its_body_has_closed() {
    for in_memory in [true, false] {
        let (go, wait) = channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let house = serve(app(move |_, start_response| {
            start_response.start("200 OK", &[("Content-Length", "5")]);
            let body = if in_memory { Body::from("hello") } else { Body::blocks(["hello"]) };
            let wait = Arc::clone(&wait);
            body.on_close(move || {
                let _ = locked(&wait).recv_timeout(PATIENCE);
            })
        }));
        let mut client = house.client();
        client.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.send(&KEEP_11.repeat(3));
        for _ in 0..3 {
            assert_eq!(client.response().text(), "hello");
            go.send(()).unwrap();
        }
    }
}

#[test]
fn p_body_04_a_panic_in_on_close_is_caught_and_the_others_run() {
    let closed = Closed::default();
    let seen = closed.clone();
    let house = serve(app(move |_, start_response| {
        start_response.start("200 OK", &[]);
        seen.on(seen.on(Body::from("hello")).on_close(|| panic!("on purpose")))
    }));
    let mut client = house.client();
    for _ in 0..3 {
        client.send(KEEP_11);
        assert_eq!(client.response().text(), "hello");
        house.log.take(Cause::ClosePanic);
    }
    drop(client);
    house.handle.shutdown(PATIENCE);
    assert_eq!((closed.count(), house.log.causes()), (6, vec![]));
}

#[test]
fn p_body_04_07_a_client_that_goes_away_ends_the_body() {
    let (sender, ends) = channel();
    let sender = Mutex::new(sender);
    let closed = Closed::default();
    let seen = closed.clone();
    let house = serve(app(move |_, start_response| {
        start_response.start("200 OK", &[]);
        let sender = locked(&sender).clone();
        seen.on(Body::blocks(std::iter::repeat_with(|| vec![b'x'; 65_536])).on_close(move || {
            let _ = sender.send(());
        }))
    }));
    let mut client = house.client();
    client.send(KEEP_11);
    client.until(b"xxx");
    drop(client);
    ends.recv_timeout(PATIENCE).expect("the body ends");
    let seen = house.log.take(Cause::ClientGone);
    assert_eq!(seen.answer, Answer::Cut);
    house.until("the thread is free", |stats| stats.busy == 0 && stats.open == 0);
    assert_eq!((closed.count(), house.log.causes()), (1, vec![]));
}

/// A client that has gone is found by what is written, which the application ignores or passes on.
#[test]
fn p_body_07_behind_a_write_that_failed_no_block_is_asked_for_and_the_application_is_not_at_fault() {
    for passes_on in [false, true] {
        let (closed, asked) = (Closed::default(), Arc::new(AtomicUsize::new(0)));
        let (seen, counted) = (closed.clone(), Arc::clone(&asked));
        let house = serve(app(move |_, start_response| -> io::Result<Body> {
            let mut writer = start_response.start("200 OK", &[]);
            while writer.write_all(&[b'x'; 65_536]).is_ok() {}
            let again = writer.write_all(b"y");
            assert!(again.is_err());
            if passes_on {
                again?;
            }
            let counted = Arc::clone(&counted);
            Ok(seen.on(Body::blocks(std::iter::repeat_with(move || {
                counted.fetch_add(1, Ordering::SeqCst);
                "z"
            }))))
        }));
        let mut client = house.client();
        client.send(KEEP_11);
        client.until(b"xxx");
        drop(client);
        assert_eq!(house.log.take(Cause::ClientGone).answer, Answer::Cut, "{passes_on}");
        house.until("the connection is gone", |stats| stats.open == 0);
        let seen = (house.log.causes(), asked.load(Ordering::SeqCst), closed.count());
        assert_eq!(seen, (vec![], 0, usize::from(!passes_on)));
    }
}

// ---------------------------------------------------------------------------------------------------------- length

/// One application for every form of a body, by its path.
fn forms(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    start_response.start("200 OK", &[]);
    Ok(match &*environ.path() {
        "/empty" => Body::empty(),
        "/bytes" => Body::from("hello"),
        "/list" => Body::list(vec!["he".as_bytes(), b"", b"llo"]),
        "/file" => Body::from(std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))?),
        "/blocks" => Body::blocks(["he", "llo"]),
        "/reader" => Body::reader(&b"hello"[..]),
        _ => Body::blocks([""; 0]),
    })
}

#[test]
fn p_len_01_04_a_known_length_is_said_and_an_unknown_one_is_chunked_or_ends_with_the_connection() {
    let house = serve(forms);
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    for (path, body, known) in [
        ("/empty", &b""[..], true),
        ("/bytes", b"hello", true),
        ("/list", b"hello", true),
        ("/file", &file, true),
        ("/none", b"", true),
        ("/blocks", b"hello", false),
        ("/reader", b"hello", false),
    ] {
        let mut client = house.client();
        for version in ["1.1", "1.0"] {
            let request = format!("GET {path} HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
            client.send(request.as_bytes());
            let response = client.response();
            let delimiter = match (known, version) {
                (true, _) => Delimiter::Length(body.len()),
                (false, "1.1") => Delimiter::Chunked,
                (false, _) => Delimiter::Close,
            };
            assert_eq!((response.delimiter, &response.body[..]), (delimiter, body), "{path} {version}");
            // RFC 9112 section 9.3: where the end of the connection is the end of the content, it must be said.
            let connection = match (delimiter, version) {
                (Delimiter::Close, _) => Some("close"),
                (_, "1.0") => Some("keep-alive"),
                _ => None,
            };
            assert_eq!(response.field("Connection"), connection, "{path} {version}");
        }
    }
    assert_eq!(house.log.causes(), []);
}

#[test]
fn p_len_01_blocks_with_a_declared_length_are_not_chunked() {
    let house = serve(app(|_, start_response| {
        start_response.start("200 OK", &[("Content-Length", "5")]);
        Body::blocks(["he", "llo"])
    }));
    let mut client = house.client();
    for _ in 0..2 {
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = client.response();
        assert_eq!((response.delimiter, response.text()), (Delimiter::Length(5), "hello"));
    }
}

#[test]
fn p_len_02_a_body_longer_than_its_length_is_cut_there_and_the_connection_stays() {
    let asked = Arc::new(AtomicUsize::new(0));
    for (application, most) in [
        (Box::new(apps::long_length(Arc::clone(&asked))) as Box<dyn Application>, 2),
        (Box::new(apps::long_length_whole), 0),
        (
            Box::new(app(|_, start_response| {
                start_response.start("200 OK", &[("Content-Length", "5")]);
                Body::list(vec!["hel".as_bytes(), b"lo wo", b"rld"])
            })),
            0,
        ),
    ] {
        let house = serve(application);
        let mut client = house.client();
        for request in [KEEP_11, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", KEEP_11] {
            asked.store(0, Ordering::SeqCst);
            client.send(request);
            let response = client.response();
            assert_eq!((response.delimiter, response.body.len()), (Delimiter::Length(5), 5));
            assert_eq!(house.log.take(Cause::BodyLong).answer, Answer::Sent);
            assert!(asked.load(Ordering::SeqCst) <= most, "asked on after the end");
        }
        assert_eq!(house.log.causes(), [], "logged once each");
    }
}

#[test]
fn p_len_03_a_body_shorter_than_its_length_ends_the_connection() {
    for application in [Box::new(apps::short_length) as Box<dyn Application>, Box::new(apps::short_length_whole)] {
        let house = serve(application);
        for request in [KEEP_11, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"] {
            let mut client = house.client();
            client.send(request);
            let out = client.until_close();
            let text = String::from_utf8(out).unwrap();
            assert!(text.contains("\r\nContent-Length: 10\r\n") && text.ends_with("\r\n\r\nhello"), "{text}");
            house.log.take(Cause::BodyShort);
        }
        assert_eq!(house.log.causes(), []);
    }
}

#[test]
fn rfc9110_6_4_1_a_body_with_a_status_that_has_none_is_dropped_and_the_log_says_so() {
    let forms: [fn(&'static str) -> Body; 3] =
        [|text| Body::from(text), |text| Body::list(vec![b"", text.as_bytes()]), |text| Body::blocks(["", text])];
    for status in ["204 No Content", "205 Reset Content", "304 Not Modified"] {
        for form in forms {
            let house = serve(move |environ: &Environ, start_response: &mut StartResponse| {
                start_response.start(status, &[]);
                form(if environ.path() == "/empty" { "" } else { "hello" })
            });
            let mut client = house.client();
            for (method, path) in [("GET", "/empty"), ("HEAD", "/"), ("GET", "/"), ("GET", "/empty"), ("GET", "/")] {
                client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
                assert!(status.starts_with(&client.response_to(method).status.to_string()));
            }
            // What was said of a request is there before what is said of the next.
            (0..2).for_each(|_| drop(house.log.take(Cause::BodyDropped)));
            assert_eq!(house.log.causes(), [], "{status}");
        }
    }
}

#[test]
fn p_len_05_head_has_the_head_of_get_and_no_content() {
    let house = serve(forms);
    for path in ["/empty", "/bytes", "/list", "/file", "/blocks", "/reader", "/none"] {
        let mut client = house.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let get = client.response();
        // Two in a row: a byte of content between them would show.
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(2).as_bytes());
        let heads = [client.response_to("HEAD"), client.response_to("HEAD")];
        for head in heads {
            assert_eq!((head.status, head.field("Transfer-Encoding")), (200, None), "{path}");
            let length = match get.delimiter {
                Delimiter::Length(length) if length > 0 => Some(length.to_string()),
                _ => None,
            };
            assert_eq!(head.field("Content-Length"), length.as_deref(), "{path}");
        }
    }
    // CPython #3839: an application that knows HEAD gives the length and an empty body.
    let house = serve(app(|_, start_response| {
        start_response.start("200 OK", &[("Content-Length", "1234")]);
        Body::empty()
    }));
    assert_eq!(house.ask_one(HEAD_11).field("Content-Length"), Some("1234"));
    assert_eq!(house.log.causes(), []);
}

#[test]
fn p_len_05_the_body_of_a_head_request_is_not_asked_for_more_than_needed() {
    let closed = Closed::default();
    let seen = closed.clone();
    let house = serve(app(move |_, start_response| {
        start_response.start("200 OK", &[]);
        seen.on(Body::blocks(std::iter::repeat_with(|| "endless")))
    }));
    assert_eq!(house.ask_one(HEAD_11).status, 200);
    house.handle.shutdown(PATIENCE);
    assert_eq!(closed.count(), 1);
}

#[test]
fn p_len_06_statuses_without_content_have_none() {
    for (status, declared, expected) in [
        ("204 No Content", None, None),
        ("204 No Content", Some("5"), None),
        ("304 Not Modified", None, None),
        ("304 Not Modified", Some("5"), Some("5")),
        ("205 Reset Content", None, Some("0")),
        ("205 Reset Content", Some("5"), Some("0")),
    ] {
        for blocks in [false, true] {
            let house = serve(app(move |_, start_response| {
                let fields = declared.map(|length| ("Content-Length", length));
                start_response.start(status, fields.as_slice());
                if blocks { Body::blocks(["hello"]) } else { Body::from("hello") }
            }));
            let mut client = house.client();
            for method in ["GET", "HEAD", "GET"] {
                for (version, connection) in [("1.1", None), ("1.0", Some("keep-alive"))] {
                    let request = format!("{method} / HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
                    client.send(request.as_bytes());
                    let response = client.response_to(method);
                    assert_eq!(&status[..3], response.status.to_string());
                    assert_eq!(response.field("Content-Length"), expected, "{status} {method} {version}");
                    assert_eq!((&response.body[..], response.field("Connection")), (&b""[..], connection));
                }
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------- errors

#[test]
fn a_panic_of_middleware_that_changes_the_blocks_of_a_channel_is_the_applications() {
    let application = |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        let (sender, body) = Body::channel(1);
        sender.send(b"block").unwrap();
        body.map_blocks(|_| panic!("middleware"))
    };
    is_500(app(application), Cause::ApplicationPanic);
}

#[test]
fn p_err_01_02_a_panic_is_a_500_with_its_text_in_the_log_alone() {
    is_500(apps::panics, Cause::ApplicationPanic);
    let house = serve(apps::panics);
    house.ask_one(GET_11);
    let seen = house.log.take(Cause::ApplicationPanic);
    assert!(seen.detail.contains("on purpose") && seen.line.contains("127.0.0.1:"), "{seen:?}");
}

#[test]
fn p_err_02_an_error_is_a_500_with_its_text_in_the_log_alone() {
    is_500(apps::returns_an_error, Cause::ApplicationError);
    let house = serve(apps::returns_an_error);
    house.ask_one(GET_11);
    assert!(house.log.take(Cause::ApplicationError).detail.contains("secret text"));
    // Started or not.
    is_500(
        app(|_, start_response| -> Result<Body, apps::Failed> {
            start_response.start("200 OK", &[("X", "y")]);
            Err("after all".into())
        }),
        Cause::ApplicationError,
    );
}

#[test]
fn p_err_02_a_500_to_head_has_no_content() {
    let house = serve(apps::panics);
    let response = house.ask_one(HEAD_11);
    assert_eq!((response.status, &response.body[..]), (500, &b""[..]));
}

#[test]
fn p_err_04_a_failure_in_the_middle_of_a_body_is_a_visible_abort() {
    let chunked = [
        (Box::new(apps::panics_mid_body(None)) as Box<dyn Application>, Cause::ApplicationPanic),
        (Box::new(apps::fails_mid_body), Cause::BodyFailed),
    ];
    for (application, cause) in chunked {
        let house = serve(application);
        let mut client = house.client();
        client.send(KEEP_11);
        let out = client.until_close();
        assert!(out.ends_with(b"\r\n\r\n5\r\nhello\r\n"), "no last chunk, no text: {}", support::show(&out));
        assert_eq!(house.log.take(cause).answer, Answer::Cut);
    }
    let house = serve(apps::panics_mid_body(Some("10")));
    for request in [KEEP_11, GET_10] {
        let mut client = house.client();
        client.send(request);
        let out = client.until_close();
        assert!(out.ends_with(b"\r\n\r\nhello"), "{}", support::show(&out));
        assert_eq!(house.log.take(Cause::ApplicationPanic).answer, Answer::Cut);
    }
    assert_eq!(house.log.causes(), []);
}

#[test]
fn p_err_04_a_panic_after_a_write_is_a_visible_abort() {
    let house = serve(app(|_, start_response| -> Body {
        start_response.start("200 OK", &[]).write_all(b"hello").unwrap();
        panic!("on purpose")
    }));
    let mut client = house.client();
    client.send(KEEP_11);
    assert!(client.until_close().ends_with(b"5\r\nhello\r\n"));
    assert_eq!(house.log.take(Cause::ApplicationPanic).answer, Answer::Cut);
}

#[test]
fn p_err_06_fifty_panics_do_not_cost_a_thread() {
    let house = serve(app(|environ, start_response| {
        assert!(environ.path() != "/panic", "on purpose");
        hello(environ, start_response)
    }));
    let threads = house.handle.threads();
    for at in 0..50 {
        let mut client = house.client();
        client.send(b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((client.response().status, client.response().status), (500, 200), "panic {at}");
    }
    assert_eq!((house.handle.threads(), house.log.causes().len()), (threads, 50));
}

/// An error that cannot even be shown, and things that cannot even be dropped.
#[derive(Debug)]
struct Bomb;

impl std::fmt::Display for Bomb {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("on purpose, while shown")
    }
}

impl std::error::Error for Bomb {}

#[derive(Debug)]
struct DropBomb;

impl std::fmt::Display for DropBomb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an error that can be shown")
    }
}

impl std::error::Error for DropBomb {}

impl Drop for DropBomb {
    fn drop(&mut self) {
        // A second panic in the same thread would be an abort.
        assert!(std::thread::panicking(), "on purpose, while dropped");
    }
}

/// An application whose values panic where one does not expect it, by its path.
fn bombs(environ: &Environ, start_response: &mut StartResponse) -> Result<Body, Bomb> {
    start_response.start("200 OK", &[]);
    match &*environ.path() {
        "/shown" => Err(Bomb),
        "/shown-late" => Ok(Body::blocks([Err::<Body, _>(Bomb)])),
        "/dropped-error" => Ok(Err::<Body, _>(DropBomb).into()),
        "/dropped-error-late" => Ok(Body::blocks([Err::<Body, _>(DropBomb)])),
        "/dropped-error-sent" => {
            let (sender, body) = Body::channel(1);
            sender.fail(DropBomb);
            Ok(body)
        }
        "/payload" => std::panic::panic_any(DropBomb),
        "/payload-late" => Ok(Body::blocks(std::iter::from_fn(|| -> Option<Body> { std::panic::panic_any(DropBomb) }))),
        "/payload-at-close" => Ok(Body::from("hello").on_close(|| std::panic::panic_any(DropBomb))),
        "/dropped" => {
            let (bomb, mut first) = (DropBomb, true);
            Ok(Body::blocks(std::iter::from_fn(move || {
                let _kept = &bomb;
                std::mem::take(&mut first).then_some("hello")
            })))
        }
        _ => Ok(Body::from("hello")),
    }
}

/// The client gets this status, more often than there are threads, and the server goes on.
#[track_caller]
fn costs_no_thread(path: &str, status: u16, cause: Cause) {
    let house = serve(bombs);
    for _ in 0..3 {
        let mut client = house.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
        let responses = parse_all(&client.until_end(), &[]);
        assert!(responses.len() == 1 && responses[0].status == status, "{path}: {responses:?}");
        house.log.take(cause);
    }
    assert_eq!(house.ask_one(GET_11).text(), "hello");
}

#[test]
fn p_err_06_an_error_that_panics_when_shown_costs_no_thread() {
    costs_no_thread("/shown", 500, Cause::ApplicationError);
    costs_no_thread("/shown-late", 500, Cause::BodyFailed);
}

#[test]
fn p_err_06_an_error_that_panics_when_dropped_is_a_500_like_any_other() {
    costs_no_thread("/dropped-error", 500, Cause::ApplicationError);
    costs_no_thread("/dropped-error-late", 500, Cause::ApplicationPanic);
    costs_no_thread("/dropped-error-sent", 500, Cause::ApplicationPanic);
}

#[test]
fn p_err_06_a_panic_whose_payload_panics_costs_no_thread() {
    costs_no_thread("/payload", 500, Cause::ApplicationPanic);
    costs_no_thread("/payload-late", 500, Cause::ApplicationPanic);
    costs_no_thread("/payload-at-close", 200, Cause::ClosePanic);
}

#[test]
fn p_err_06_blocks_that_panic_when_dropped_cost_no_thread_and_are_logged() {
    costs_no_thread("/dropped", 200, Cause::ClosePanic);
}

// -------------------------------------------------------------------------------------------------- failures of input

fn post(fields: &str, content: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{content}").into_bytes()
}

/// Sends a request and ends the sending side, gives the only response.
fn ask_truncated(house: &House, request: &[u8]) -> Response {
    let mut client = house.client();
    client.send(request);
    client.stop_sending();
    let mut responses = parse_all(&client.until_close(), &[]);
    assert_eq!(responses.len(), 1, "{responses:?}");
    responses.remove(0)
}

#[test]
fn p_err_when_the_input_fails_its_failure_decides_the_status() {
    let truncated = post("Content-Length: 50000\r\n", "too few");
    let malformed = post("Transfer-Encoding: chunked\r\n", "5\r\nhelloXX");
    let long = post("Transfer-Encoding: chunked\r\n", "64\r\nx");
    for application in [
        // Passed on, panicked over, or replaced by an error of the application's own.
        Box::new(echo) as Box<dyn Application>,
        Box::new(app(|environ, _| -> Body {
            environ.input().read_to_end(&mut Vec::new()).unwrap();
            unreachable!()
        })),
        Box::new(app(|environ, start_response| -> Result<Body, apps::Failed> {
            start_response.start("200 OK", &[]);
            environ.input().read_to_end(&mut Vec::new()).map_err(|_| "own error")?;
            unreachable!()
        })),
        Box::new(app(|environ, start_response| {
            start_response.start("200 OK", &[]);
            let environ = environ.clone();
            Body::blocks(std::iter::once_with(move || -> io::Result<Body> {
                environ.input().read_to_end(&mut Vec::new())?;
                unreachable!()
            }))
        })),
    ] {
        let house = serve_with(application, |settings| settings.max_content = Some(60_000));
        for (request, status, cause) in [(&truncated, 400, Cause::ContentTruncated), (&malformed, 400, Cause::ChunkEnd)]
        {
            let response = ask_truncated(&house, request);
            assert!(response.status == status && response.closes(), "{response:?}");
            assert_eq!(house.log.take(cause).answer, Answer::Status(status));
        }
        assert_eq!(house.log.causes(), []);
    }
    let house = serve_with(echo, |settings| settings.max_content = Some(99));
    assert_eq!(ask_truncated(&house, &long).status, 413);
}

#[test]
fn p_in_07_an_application_may_answer_after_a_failed_read_and_the_connection_ends() {
    let house = serve(app(|environ, start_response| {
        let kind = environ.input().read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        let again = environ.input().read(&mut [0; 9]).map_err(|error| error.kind());
        start_response.start("200 OK", &[]);
        format!("{kind:?} {again:?}")
    }));
    let response = ask_truncated(&house, &post("Content-Length: 50000\r\n", "too few"));
    assert_eq!((response.status, response.text()), (200, "Err(UnexpectedEof) Err(UnexpectedEof)"));
    assert!(response.closes());
    let malformed = [&post("Transfer-Encoding: chunked\r\n", "x\r\n")[..], KEEP_11].concat();
    let response = ask_truncated(&house, &malformed);
    assert_eq!((response.text(), response.closes()), ("Err(InvalidData) Err(InvalidData)", true));
}

// ----------------------------------------------------------------------------------------------------------- input

#[test]
fn p_in_02_reads_after_the_end_give_nothing_for_ever() {
    let house = serve(app(|environ, start_response| {
        let mut content = String::new();
        environ.input().read_to_string(&mut content).unwrap();
        let rest: usize = (0..3).map(|_| environ.input().read(&mut [0; 9]).unwrap()).sum();
        start_response.start("200 OK", &[]);
        format!("{content} {rest}")
    }));
    let mut client = house.client();
    client.send(
        &[
            post("Content-Length: 5\r\n", "hello"),
            post("Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n"),
            post("", ""),
        ]
        .concat(),
    );
    assert_eq!(
        [client.response(), client.response(), client.response()].map(|r| r.text().to_owned()),
        ["hello 0", "hi 0", " 0"]
    );
}

#[test]
fn p_in_03_lines_are_read_across_chunks_whichever_way_they_are_cut() {
    let lines = app(|environ, start_response| -> io::Result<Body> {
        start_response.start("200 OK", &[]);
        let lines = environ.input().lines().collect::<io::Result<Vec<String>>>()?;
        Ok(Body::from(format!("{lines:?}")))
    });
    let lines = Arc::new(lines);
    let content = "one\ntwo\n\nlast";
    let length = post(&format!("Content-Length: {}\r\n", content.len()), content);
    let mut requests = vec![length];
    for cut in 1..content.len() {
        let (front, back) = content.split_at(cut);
        let chunks = format!("{:x}\r\n{front}\r\n{:x}\r\n{back}\r\n0\r\n\r\n", front.len(), back.len());
        requests.push(post("Transfer-Encoding: chunked\r\n", &chunks));
    }
    let single: String = content.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    requests.push(post("Transfer-Encoding: chunked\r\n", &(single + "0\r\n\r\n")));
    for request in requests {
        let out = in_memory([&request[..]], Arc::clone(&lines));
        let responses = parse_all(&out, &[]);
        assert_eq!(responses[0].text(), r#"["one", "two", "", "last"]"#);
        let each: Vec<&[u8]> = request.chunks(1).collect();
        assert_eq!(parse_all(&in_memory(each, Arc::clone(&lines)), &[])[0].body, responses[0].body);
    }
}

#[test]
fn p_in_03_a_line_can_be_read_before_the_next_chunk_has_come() {
    let (sender, seen) = channel();
    let sender = Mutex::new(sender);
    let house = serve(app(move |environ, start_response| -> io::Result<Body> {
        for line in environ.input().lines() {
            locked(&sender).send(line?).unwrap();
        }
        start_response.start("200 OK", &[]);
        Ok(Body::from("done"))
    }));
    let mut client = house.client();
    client.send(&post("Transfer-Encoding: chunked\r\n", "6\r\none\ntw\r\n"));
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), "one");
    client.send(b"3\r\no\n3\r\n");
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), "two");
    client.send(b"0\r\n\r\n");
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), "3");
    assert_eq!(client.response().text(), "done");
}

#[test]
fn p_in_11_clones_share_the_position_and_read_an_error_after_the_call() {
    let kept: Arc<Mutex<Vec<Environ>>> = Arc::default();
    let keeper = Arc::clone(&kept);
    let house = serve(app(move |environ, start_response| -> io::Result<Body> {
        let clone = environ.clone();
        let mut three = [0; 3];
        clone.input().read_exact(&mut three)?;
        let mut rest = Vec::new();
        environ.input().read_to_end(&mut rest)?;
        locked(&keeper).push(clone);
        start_response.start("200 OK", &[]);
        Ok(Body::from(format!("{} {}", three.escape_ascii(), rest.escape_ascii())))
    }));
    let mut client = house.client();
    for _ in 0..3 {
        client.send(&post("Content-Length: 6\r\n", "abcdef"));
        assert_eq!(client.response().text(), "abc def");
    }
    house.until("the calls have ended", |stats| stats.served == 3);
    for environ in locked(&kept).iter() {
        assert!(environ.input().read(&mut [0; 1]).is_err());
    }
}

#[test]
fn p_in_11_a_reader_that_outlives_the_call_ends_the_connection_and_nothing_else() {
    let (release, wait) = channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let house = serve(app(move |environ, start_response| {
        let (ready, is_ready) = channel();
        let (clone, wait) = (environ.clone(), Arc::clone(&wait));
        std::thread::spawn(move || {
            let _input = clone.input();
            ready.send(()).unwrap();
            let _ = locked(&wait).recv_timeout(PATIENCE);
        });
        is_ready.recv_timeout(PATIENCE).unwrap();
        start_response.start("200 OK", &[]);
        "hello"
    }));
    let mut client = house.client();
    client.send(&[&post("Content-Length: 5\r\n", "hello")[..], KEEP_11].concat());
    assert_eq!(client.response().text(), "hello");
    assert_eq!(client.until_end(), b"");
    release.send(()).unwrap();
    let mut client = house.client();
    client.send(KEEP_11);
    assert_eq!(client.response().text(), "hello");
    release.send(()).unwrap();
}

#[test]
fn p_in_11_a_reader_that_was_forgotten_is_in_the_way_of_no_later_request() {
    let forgets = app(|environ, start_response| {
        if environ.path() == "/forget" {
            std::mem::forget(environ.input());
        }
        let mut content = String::new();
        let read = environ.input().read_to_string(&mut content);
        start_response.start("200 OK", &[]);
        read.map_or_else(|error| error.kind().to_string(), |_| content)
    });
    let house = serve_with(forgets, |settings| settings.threads = 1);
    let ask = |path: &str, content: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{content}", content.len());
        house.ask_one(request.as_bytes()).text().to_owned()
    };
    for forgotten in ["abc", ""] {
        assert_eq!(ask("/forget", forgotten), "resource busy");
        assert_eq!(ask("/", "hello"), "hello");
    }
}

#[test]
fn p_el_01_05_what_an_application_reports_reaches_the_log_in_one_piece() {
    let house = serve(app(|environ, start_response| {
        write!(environ.errors(), "no such thing: {} \u{1F6AA}", environ.path());
        environ.errors().writelines(["a\n", "b\n"]);
        hello(environ, start_response)
    }));
    house.ask_one(GET_11);
    assert_eq!(house.log.texts(), ["no such thing: / \u{1F6AA}", "a\nb\n"]);
}

#[test]
fn cfg_02_variables_of_the_deployer_are_in_every_environ() {
    let recorder = Recorder::default();
    let server = doorway::Server::bind("127.0.0.1:0").unwrap().env("APP_MODE", "test");
    let house = support::serve_over(server, recorder.clone(), |_| {});
    house.ask_one(GET_11);
    let calls = recorder.take();
    assert_eq!(calls[0].get("APP_MODE"), Some("test"));
    assert_eq!((calls[0].get("GATEWAY_INTERFACE"), calls[0].get("SCRIPT_NAME")), (Some("CGI/1.1"), Some("")));
    assert!(calls[0].get("SERVER_SOFTWARE").is_some_and(|name| name.starts_with("doorway/")));
}

// ---------------------------------------------------------------------------------------------------------- expect

/// An echo that tells when it is called and begins to read when it is told to.
fn waits_before_reading() -> (impl Application, Receiver<()>, std::sync::mpsc::Sender<()>) {
    let (called, is_called) = channel();
    let (go, wait) = channel::<()>();
    let (called, wait) = (Mutex::new(called), Mutex::new(wait));
    let application = app(move |environ, start_response| {
        locked(&called).send(()).unwrap();
        locked(&wait).recv_timeout(PATIENCE).unwrap();
        echo(environ, start_response)
    });
    (application, is_called, go)
}

/// Whether the client has received anything; what was sent before something it knows of is there.
fn has_received(client: &Client<TcpStream>) -> bool {
    client.stream.set_nonblocking(true).unwrap();
    let peeked = client.stream.peek(&mut [0; 1]);
    client.stream.set_nonblocking(false).unwrap();
    !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[test]
fn p_exp_01_the_client_is_told_to_continue_when_the_application_first_reads() {
    for (fields, content) in [
        ("Content-Length: 5\r\n", "hello"),
        ("Content-Length: 000000000000020000\r\n", &*"x".repeat(20_000)),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let (application, called, go) = waits_before_reading();
        let house = serve(application);
        let mut client = house.client();
        for _ in 0..2 {
            client.send(&post(&format!("Expect: 100-continue\r\n{fields}"), ""));
            called.recv_timeout(PATIENCE).unwrap();
            assert!(!has_received(&client), "told before the application has read");
            go.send(()).unwrap();
            client.until(CONTINUE);
            client.send(content.as_bytes());
            let told = client.response();
            assert_eq!((told.status, told.fields.len()), (100, 0));
            let response = client.response();
            assert!(response.status == 200 && response.body.len() == if content.len() > 99 { 20_000 } else { 5 });
            assert!(!response.closes());
        }
        assert_eq!(house.log.causes(), []);
    }
}

#[test]
fn p_exp_01_content_that_is_there_already_needs_no_100() {
    for (fields, content) in
        [("Content-Length: 5\r\n", "hello"), ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")]
    {
        let request = post(&format!("Expect: 100-continue\r\n{fields}"), content);
        let responses = parse_all(&in_memory([&request[..]], echo), &[]);
        assert_eq!(responses.len(), 1, "{responses:?}");
        assert_eq!(responses[0].text(), "hello");
        // Even where only its first byte is.
        let (front, back) = request.split_at(request.len() - content.len() + 1);
        let responses = parse_all(&in_memory([front, back], echo), &[]);
        assert_eq!((responses.len(), responses[0].text()), (1, "hello"));
    }
}

#[test]
fn p_exp_01_there_is_no_100_without_content() {
    for fields in ["", "Content-Length: 0\r\n"] {
        let request = post(&format!("Expect: 100-continue\r\n{fields}"), "");
        let responses = parse_all(&in_memory([&request[..], KEEP_11], echo), &[]);
        let statuses: Vec<u16> = responses.iter().map(|response| response.status).collect();
        assert_eq!(statuses, [200, 200]);
    }
}

#[test]
fn p_exp_01_an_answer_without_reading_is_no_100_and_ends_the_connection() {
    for application in [Box::new(hello) as Box<dyn Application>, Box::new(apps::panics), Box::new(apps::no_length)] {
        let house = serve(application);
        let mut client = house.client();
        client.send(&post("Expect: 100-continue\r\nContent-Length: 5\r\n", ""));
        let response = client.response();
        assert!(response.status != 100 && response.closes(), "{response:?}");
        // The client may send the content all the same, or the next request: neither is interpreted.
        let _ = client.stream.write_all(KEEP_11);
        client.is_closed();
        drop(client);
        house.until("the connection is gone", |stats| stats.open == 0);
        assert_eq!(house.handle.stats().served, 1);
    }
}

#[test]
fn p_exp_01_there_is_no_100_behind_the_head() {
    let house = serve(app(|environ, start_response| -> io::Result<Body> {
        let mut writer = start_response.start("200 OK", &[]);
        writer.write_all(b"first ")?;
        let mut content = Vec::new();
        environ.input().read_to_end(&mut content)?;
        Ok(Body::from(content))
    }));
    let mut client = house.client();
    client.send(&post("Expect: 100-continue\r\nContent-Length: 5\r\n", ""));
    client.until(b"first ");
    client.send(b"hello");
    let response = client.response();
    assert!(response.status == 200 && response.text() == "first hello" && response.closes(), "{response:?}");
    assert_eq!(client.until_end(), b"");
}

#[test]
fn p_exp_02_http_1_0_is_never_told_to_continue() {
    let (application, called, go) = waits_before_reading();
    let house = serve(application);
    let mut client = house.client();
    client.send(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 20000\r\n\r\n");
    called.recv_timeout(PATIENCE).unwrap();
    go.send(()).unwrap();
    client.send("x".repeat(20_000).as_bytes());
    let response = client.response();
    assert_eq!((response.status, response.body.len()), (200, 20_000));
}

#[test]
fn p_exp_03_any_other_expectation_is_417() {
    let house = serve(hello);
    let response = ask_truncated(&house, &post("Expect: 200-ok\r\nContent-Length: 5\r\n", ""));
    assert!(response.status == 417 && response.closes());
    house.log.take(Cause::ExpectUnknown);
}

#[test]
fn p_cfg_02_a_client_cannot_add_to_a_variable_of_the_deployer() {
    let server = doorway::Server::bind("127.0.0.1:0").unwrap().env("HTTP_X_ROLE", "trusted").env("SCRIPT_NAME", "/app");
    let seen = |environ: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        let is_asked = |name: &str| ["HTTP_X_ROLE", "SCRIPT_NAME"].contains(&name);
        let mut roles: Vec<_> = environ.iter().filter(|(name, _)| is_asked(name)).collect();
        roles.sort_unstable();
        Body::from(format!("{roles:?}"))
    };
    let house = support::serve_over(server, seen, |_| {});
    let mut client = house.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Role: a\r\nX-Role: b\r\n\r\n");
    let both = [("HTTP_X_ROLE", &b"trusted"[..]), ("SCRIPT_NAME", b"/app")];
    assert_eq!(client.response().text(), format!("{both:?}"));
}

#[test]
fn p_body_04_the_time_that_a_close_takes_is_not_taken_from_the_client() {
    let application = |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        // The application that is tested with is slow to close.
        Body::from("ok").on_close(|| std::thread::sleep(Duration::from_millis(1500)))
    };
    let house = serve_with(application, |settings| settings.idle_deadline = Duration::from_secs(1));
    let mut client = house.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    // The log has its line when the close is over; the client may be silent for a second from then on. A deadline that counts from before
    // the close is over at the first look at the connection.
    house.log.take_accesses(1);
    house.until("it was looked at and waits", |stats| stats.parked == 1 && stats.busy == 0);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
}
