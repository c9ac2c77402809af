//! Promise: nothing that an application passes can split a response or put a connection out of step. After whatever it did, the next
//! response on the connection is intact, or the connection is closed.
//!
//! RFC 9112 section 6, docs/rules.md P-SR-02, P-SR-03, P-HDR-03, P-HDR-06, P-LEN and P-WR. Two requests go out together over one
//! socket; everything that comes back is read by a strict client. What each wrong call is answered with stands in `exchange.rs`.

mod support;

use std::io::{self, Cursor, Write};
use std::sync::Arc;

use doorway::{Body, Cause, Environ, StartResponse};
use support::{Delimiter, House, Response, in_memory, orders, parse, parse_all, serve_with, show};

/// How the body is given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Whole,
    List,
    Blocks,
    Reader,
    Deferred,
    /// Some blocks, then a panic.
    Panics,
    /// Some blocks, then an error.
    Fails,
}

const FORMS: [Form; 7] =
    [Form::Whole, Form::List, Form::Blocks, Form::Reader, Form::Deferred, Form::Panics, Form::Fails];

/// What an application does with one request.
#[derive(Clone, Debug)]
struct Plan {
    status: String,
    fields: Vec<(String, String)>,
    /// Written before the body is returned.
    written: Vec<Vec<u8>>,
    blocks: Vec<Vec<u8>>,
    form: Form,
}

impl Plan {
    fn new(status: &str, fields: &[(&str, &str)], blocks: &[&str], form: Form) -> Plan {
        Plan {
            status: status.to_owned(),
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            written: Vec::new(),
            blocks: blocks.iter().map(|block| block.as_bytes().to_vec()).collect(),
            form,
        }
    }

    fn writing(mut self, blocks: &[&str]) -> Plan {
        self.written = blocks.iter().map(|block| block.as_bytes().to_vec()).collect();
        self
    }

    /// Everything that it says, if nothing stops it.
    fn content(&self) -> Vec<u8> {
        [self.written.concat(), self.blocks.concat()].concat()
    }

    fn act(&self, start_response: &mut StartResponse) -> io::Result<Body> {
        let fields: Vec<(&str, &str)> = self.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        if self.form == Form::Deferred {
            let plan = Plan { form: Form::Whole, ..self.clone() };
            return Ok(Body::deferred(move |start_response| plan.act(start_response)));
        }
        let mut writer = start_response.start(&self.status, &fields);
        for block in &self.written {
            // An application that does not look at its errors, as most do not.
            let _ = writer.write_all(block);
        }
        let blocks = self.blocks.clone();
        Ok(match self.form {
            Form::Whole => Body::from(blocks.concat()),
            Form::List => Body::list(blocks),
            Form::Reader => Body::reader(Cursor::new(blocks.concat())),
            Form::Blocks => Body::blocks(blocks),
            Form::Fails => {
                let end = std::iter::once_with(|| Err(io::Error::other("the source broke")));
                Body::blocks(blocks.into_iter().map(Ok).chain(end))
            }
            Form::Panics | Form::Deferred => {
                let end = std::iter::once_with(|| -> io::Result<Vec<u8>> { panic!("on purpose") });
                Body::blocks(blocks.into_iter().map(Ok).chain(end))
            }
        })
    }
}

/// Serves each plan at its number, and something that is always the same at `/fine`.
fn serve(plans: Vec<Plan>) -> House {
    let plans = Arc::new(plans);
    let application = move |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
        match environ.path().trim_start_matches('/').parse::<usize>() {
            Ok(number) => plans[number].act(start_response),
            Err(_) => {
                start_response.start("200 Fine", &[("X-Fine", "yes")]);
                Ok(Body::from("all is well"))
            }
        }
    };
    serve_with(application, |_| {})
}

/// What came back for a plan and the request behind it.
struct Came {
    /// `None` where it was cut.
    response: Option<Response>,
    closed: bool,
}

/// Asks for a plan and for something behind it, and looks at every byte.
#[track_caller]
fn ask(house: &House, number: usize, method: &str, version: &str) -> Came {
    let keep = if version == "1.0" { "Connection: keep-alive\r\n" } else { "" };
    let mut client = house.client();
    client.send(
        format!(
            "{method} /{number} HTTP/{version}\r\nHost: a\r\n{keep}\r\nGET /fine HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        .as_bytes(),
    );
    let out = client.until_end();
    let what = format!("{method} {version} {number}: {}", show(&out));
    assert!(out.starts_with(b"HTTP/1.1 "), "{what}");
    let Some((response, used)) = parse(&out, method == "HEAD", true) else {
        // Cut: the client knows, and nothing of another response can be taken for the rest.
        assert!(!out.windows(8).any(|part| part == b"200 Fine"), "{what}");
        return Came { response: None, closed: true };
    };
    for field in ["X-Split", "Set-Cookie"] {
        assert!(response.all(field).is_empty(), "{what}");
    }
    assert!(method != "HEAD" || response.body.is_empty(), "{what}");
    let rest = &out[used..];
    if rest.is_empty() || response.delimiter == Delimiter::Close {
        // The request behind was not answered, so the response must have said so, or been cut.
        assert!(response.closes(), "{what}");
        return Came { response: Some(response), closed: true };
    }
    assert!(!response.closes(), "{what}");
    let next = parse_all(rest, &[]);
    assert_eq!(next.len(), 1, "{what}");
    assert_eq!((next[0].status, &*next[0].reason, next[0].text()), (200, "Fine", "all is well"), "{what}");
    assert_eq!(next[0].field("X-Fine"), Some("yes"), "{what}");
    Came { response: Some(response), closed: false }
}

/// All four ways to ask.
const WAYS: [(&str, &str); 4] = [("GET", "1.1"), ("HEAD", "1.1"), ("GET", "1.0"), ("HEAD", "1.0")];

/// Texts that would begin something new if they went out as they are.
const SPLITS: [&str; 10] = [
    "a\r\nX-Split: 1",
    "a\nX-Split: 1",
    "a\rX-Split: 1",
    "a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "\r\n",
    "\n",
    "\r",
    "a\0",
    "\u{1}",
    "\u{7f}",
];

#[test]
fn no_status_name_or_value_begins_a_new_line() {
    let mut plans = Vec::new();
    for split in SPLITS {
        plans.push((Cause::StatusInvalid, Plan::new(&format!("200 {split}"), &[], &["x"], Form::Whole)));
        plans.push((Cause::StatusInvalid, Plan::new(&format!("200 OK{split}"), &[("A", "b")], &["x"], Form::Blocks)));
        plans.push((Cause::HeaderValue, Plan::new("200 OK", &[("X-A", split)], &["x"], Form::Whole)));
        plans.push((Cause::HeaderValue, Plan::new("200 OK", &[("X-A", &format!("b{split}c"))], &["x"], Form::Reader)));
        plans.push((Cause::HeaderName, Plan::new("200 OK", &[(split, "b")], &["x"], Form::Whole)));
        plans.push((Cause::HeaderName, Plan::new("200 OK", &[(&format!("X{split}"), "b")], &["x"], Form::Deferred)));
        let written = Plan::new("200 OK", &[("Location", split)], &["x"], Form::Whole).writing(&["y"]);
        plans.push((Cause::HeaderValue, written));
    }
    for name in ["", " X", "X ", "X Y", "X:", ":", "X\t", "X(", "\u{e4}", "X/Y", "\"X\""] {
        plans.push((Cause::HeaderName, Plan::new("200 OK", &[(name, "b")], &["x"], Form::Whole)));
    }
    for status in ["", "200", "20 OK", "2000 OK", "abc", "100 Continue", "199 X", "600 X", "-20 OK"] {
        plans.push((Cause::StatusInvalid, Plan::new(status, &[], &["x"], Form::Whole)));
    }
    plans.push((Cause::UpgradeMisused, Plan::new("101 Switching Protocols", &[], &["x"], Form::Whole)));
    are_all_500(plans);
}

#[test]
fn no_field_of_the_application_frames_a_response_or_rules_the_connection() {
    let mut plans = Vec::new();
    for (name, value) in [
        ("Transfer-Encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("TRANSFER-ENCODING", "gzip, chunked"),
        ("Connection", "close"),
        ("connection", "keep-alive"),
        ("Keep-Alive", "timeout=5"),
        ("Upgrade", "websocket"),
        ("Trailer", "X"),
        ("TE", "trailers"),
        ("Proxy-Connection", "keep-alive"),
    ] {
        plans.push((Cause::HopByHop, Plan::new("200 OK", &[(name, value)], &["0\r\n\r\n"], Form::Blocks)));
        plans.push((
            Cause::HopByHop,
            Plan::new("200 OK", &[("Content-Length", "5"), (name, value)], &["hello"], Form::Whole),
        ));
        plans.push((Cause::HopByHop, Plan::new("200 OK", &[(name, value)], &[], Form::Whole).writing(&["x"])));
    }
    for value in ["", " ", "5 ", " 5", "+5", "-5", "0x5", "5, 5", "5;", "5\t", "99999999999999999999", "five"] {
        plans.push((Cause::HeaderLength, Plan::new("200 OK", &[("Content-Length", value)], &["hello"], Form::Whole)));
    }
    for second in ["5", "6", "0"] {
        let fields = [("Content-Length", "5"), ("CONTENT-LENGTH", second)];
        plans.push((Cause::HeaderLength, Plan::new("200 OK", &fields, &["hello"], Form::Blocks)));
    }
    plans.push((Cause::StatusHeader, Plan::new("200 OK", &[("Status", "302 Found")], &["hello"], Form::Whole)));
    are_all_500(plans);
}

/// Each is refused at the call: a plain 500 with nothing of the application's in it, and the connection goes on.
#[track_caller]
fn are_all_500(plans: Vec<(Cause, Plan)>) {
    let house = serve(plans.iter().map(|(_, plan)| plan.clone()).collect());
    for (number, (cause, plan)) in plans.iter().enumerate() {
        for (method, version) in WAYS {
            let came = ask(&house, number, method, version);
            let response = came.response.unwrap_or_else(|| panic!("cut: {plan:?}"));
            assert_eq!(
                (response.status, &*response.reason, came.closed),
                (500, "Internal Server Error", false),
                "{plan:?}"
            );
            let names: Vec<&str> = response.fields.iter().map(|(name, _)| &**name).collect();
            let own = ["Content-Type", "Content-Length", "Connection", "Server", "Date"];
            assert!(names.iter().all(|name| own.contains(name)), "{plan:?}: {names:?}");
            if method == "GET" {
                assert_eq!(response.text(), "Internal Server Error\n", "{plan:?}");
            }
            house.log.take(*cause);
        }
    }
    assert_eq!(house.log.causes(), []);
}

#[test]
fn a_status_without_content_has_none_whatever_the_body_is() {
    let mut plans = Vec::new();
    for status in ["204 No Content", "205 Reset Content", "304 Not Modified"] {
        for form in [Form::Whole, Form::List, Form::Blocks, Form::Reader, Form::Deferred] {
            for length in [None, Some("0"), Some("5"), Some("7")] {
                let fields: Vec<_> = length.map(|length| ("Content-Length", length)).into_iter().collect();
                let injected = "HTTP/1.1 200 OK\r\n\r\n";
                plans.push(Plan::new(status, &fields, &["hello", injected], form));
                plans.push(Plan::new(status, &fields, &[], form));
                plans.push(Plan::new(status, &fields, &["hello"], form).writing(&["before", injected]));
            }
        }
    }
    let house = serve(plans.clone());
    for (number, plan) in plans.iter().enumerate() {
        for (method, version) in WAYS {
            let came = ask(&house, number, method, version);
            let response = came.response.unwrap_or_else(|| panic!("cut: {plan:?}"));
            assert!(plan.status.starts_with(&response.status.to_string()), "{plan:?}: {response:?}");
            assert!(response.body.is_empty() && !came.closed, "{plan:?}: {response:?}");
            let length = response.field("Content-Length");
            match response.status {
                204 => assert_eq!(length, None, "{plan:?}"),
                205 => assert_eq!(length, Some("0"), "{plan:?}"),
                _ => assert_eq!(length, plan.fields.first().map(|(_, value)| &**value), "{plan:?}"),
            }
        }
    }
}

#[test]
fn a_wrong_content_length_cuts_the_content_or_the_connection() {
    let content = ["hel", "", "lo wor", "ld"];
    let mut plans = Vec::new();
    for form in [Form::Whole, Form::List, Form::Blocks, Form::Reader, Form::Deferred] {
        for length in [0, 1, 3, 10, 11, 12, 1_000] {
            let length = length.to_string();
            plans.push(Plan::new("200 OK", &[("Content-Length", &length)], &content, form));
            let written = Plan::new("200 OK", &[("Content-Length", &length)], &content[2..], form);
            plans.push(written.writing(&content[..2]));
        }
    }
    let house = serve(plans.clone());
    for (number, plan) in plans.iter().enumerate() {
        let length: usize = plan.fields[0].1.parse().unwrap();
        for (method, version) in [("GET", "1.1"), ("GET", "1.0")] {
            let came = ask(&house, number, method, version);
            if length > 11 {
                // Too short: the client waits for more and sees the end instead.
                assert!(came.response.is_none() && came.closed, "{plan:?}");
                continue;
            }
            let response = came.response.unwrap_or_else(|| panic!("cut: {plan:?}"));
            assert_eq!(response.field("Content-Length"), Some(&*plan.fields[0].1), "{plan:?}");
            assert_eq!(response.text(), &"hello world"[..length], "{plan:?}");
            assert!(!came.closed, "{plan:?}");
        }
        let came = ask(&house, number, "HEAD", "1.1");
        let response = came.response.unwrap_or_else(|| panic!("cut: {plan:?}"));
        assert_eq!(response.field("Content-Length"), Some(&*plan.fields[0].1), "{plan:?}");
    }
}

/// The same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % end as u64) as usize
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

#[test]
fn whatever_an_application_does_the_next_response_is_intact_or_the_connection_closed() {
    let random = &mut Random(1);
    let statuses = ["200 OK", "200 ", "201 Created", "204 X", "205 X", "206 X", "304 X", "404 X", "500 X", "599 X"];
    let blocks = ["", "a", "hello", "0\r\n\r\n", "\r\n\r\n", "HTTP/1.1 200 OK\r\nX-Split: 1\r\n\r\n", "5\r\nhello\r\n"];
    let mut plans = Vec::new();
    for _ in 0..600 {
        let status = match random.below(15) {
            0 => format!("200 {}", SPLITS[random.below(SPLITS.len())]),
            1 => "101 Switching Protocols".to_owned(),
            _ => statuses[random.below(statuses.len())].to_owned(),
        };
        let mut plan = Plan::new(&status, &[], &[], FORMS[random.below(FORMS.len())]);
        let some =
            |random: &mut Random| (0..random.below(5)).map(|_| blocks[random.below(7)].as_bytes().to_vec()).collect();
        plan.blocks = some(random);
        if random.once_in(4) {
            plan.written = some(random);
        }
        match random.below(5) {
            0 => plan.fields.push(("Content-Length".into(), plan.content().len().to_string())),
            1 => plan.fields.push(("content-length".into(), random.below(30).to_string())),
            _ => {}
        }
        let wrong = [
            ("Transfer-Encoding", "chunked"),
            ("X-A", "b\r\nX-Split: 1"),
            ("Content-Length", "3"),
            ("Connection", "close"),
        ];
        if random.once_in(8) {
            let (name, value) = wrong[random.below(4)];
            plan.fields.push((name.into(), value.into()));
        }
        if random.once_in(2) {
            plan.fields.insert(0, ("X-Plan".into(), "\tvalue \u{e4}".into()));
        }
        plans.push(plan);
    }
    let house = serve(plans.clone());
    let (mut whole, mut cut) = (0, 0);
    for (number, plan) in plans.iter().enumerate() {
        let (method, version) = WAYS[number % 4];
        let came = ask(&house, number, method, version);
        let has_content = !["204", "205", "304", "101"].iter().any(|code| plan.status.starts_with(code));
        let is_right = statuses.contains(&&*plan.status)
            && !matches!(plan.form, Form::Panics | Form::Fails)
            && plan
                .fields
                .iter()
                .filter(|(name, _)| name != "X-Plan")
                .all(|(name, value)| name == "Content-Length" && *value == plan.content().len().to_string())
            && plan.fields.iter().filter(|(name, _)| name == "Content-Length").count() < 2;
        match &came.response {
            Some(response) if is_right => {
                whole += 1;
                assert!(plan.status.starts_with(&response.status.to_string()), "{plan:?}: {response:?}");
                if method == "GET" && has_content {
                    assert_eq!(response.body, plan.content(), "{plan:?}: {response:?}");
                }
            }
            None => {
                cut += 1;
                assert!(!is_right, "cut: {plan:?}");
            }
            Some(_) => {}
        }
    }
    println!("{whole} right and whole, {cut} cut, of {}", plans.len());
    assert!(whole > 100 && cut > 10);
}

#[test]
fn p_hdr_02_repeated_fields_among_others_go_out_in_every_order_they_are_given_in() {
    let fields =
        [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("set-cookie", ""), ("Vary", "Accept"), ("X-Long", LONG)];
    for order in orders(&fields) {
        let given = order.clone();
        let application = move |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &given);
            Body::from("x")
        };
        let out = in_memory([&b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"[..]], application);
        let [response] = &parse_all(&out, &[])[..] else { panic!("{}", show(&out)) };
        let came: Vec<(&str, &[u8])> = response.fields.iter().map(|(name, value)| (&**name, &value[..])).collect();
        let sent: Vec<(&str, &[u8])> = order.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        assert!(came.starts_with(&sent), "{order:?}: {came:?}");
    }
}

const LONG: &str = "a value that is longer than all the others of this response are together";
