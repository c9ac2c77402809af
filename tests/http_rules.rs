//! How doorway reads HTTP/1.1: one strict reading, row by row of the framing policy, each as a pair of forbidden and allowed.
//!
//! RFC 9110 and RFC 9112; rules P-ENV and P-CONN-02 of docs/rules.md. Every input arrives in three deliveries: at
//! once over a socket, byte by byte, and cut in two at every position; the verdict must be the same. Behind every input stands
//! another request: it must be answered where the input is allowed, and never be seen where it is not.

mod apps;
mod support;

use std::io::ErrorKind;

use apps::{Call, Recorder};
use doorway::{Cause, Settings};
use support::{House, Response, cuts, in_memory_with, is_head, orders, parse_all, serve_with, show};

/// What stands behind every input. It ends the connection, so that each delivery ends by itself.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: next\r\nConnection: close\r\n\r\n";

/// A server with an application that keeps what it saw, and the settings that connections in memory have as well.
struct Rules {
    house: House,
    recorder: Recorder,
    change: fn(&mut Settings),
}

/// What a connection came to: its responses and what the application saw.
#[derive(Debug, PartialEq)]
struct Verdict {
    responses: Vec<Response>,
    calls: Vec<Call>,
}

impl Rules {
    fn new() -> Rules {
        Rules::with(|_| {})
    }

    /// With settings of its own.
    fn with(change: fn(&mut Settings)) -> Rules {
        let recorder = Recorder::default();
        let house = serve_with(recorder.clone(), change);
        Rules { house, recorder, change }
    }

    /// Every delivery of some bytes, behind which the client sends nothing more. All must come to the same.
    #[track_caller]
    fn verdict(&self, bytes: &[u8]) -> Verdict {
        let mut client = self.house.client();
        client.send(bytes);
        client.stop_sending();
        let at_once = self.read(&client.until_close(), bytes, self.recorder.take());
        let each: Vec<&[u8]> = bytes.chunks(1).collect();
        let (out, calls, causes) = self.delivered(&each);
        assert_eq!(self.read(&out, bytes, calls.clone()), at_once, "byte by byte: {}", show(bytes));
        assert_eq!(causes, self.house.log.causes(), "byte by byte: {}", show(bytes));
        for cut in cuts(bytes.len()) {
            let (front, back) = bytes.split_at(cut);
            let (other, seen, named) = self.delivered(&[front, back]);
            // Equal bytes need not be read again.
            if without_dates(&other) != without_dates(&out) || seen != calls {
                assert_eq!(self.read(&other, bytes, seen), at_once, "cut at {cut}: {}", show(bytes));
            }
            assert_eq!(named, causes, "cut at {cut}: {}", show(bytes));
        }
        at_once
    }

    /// What a connection in memory is answered, what the application saw of it, and what the log was told.
    fn delivered(&self, pieces: &[&[u8]]) -> (Vec<u8>, Vec<Call>, Vec<Cause>) {
        let recorder = Recorder::default();
        let (out, log) = in_memory_with(pieces.iter().copied(), recorder.clone(), self.change);
        (out, recorder.take(), log.causes())
    }

    #[track_caller]
    fn read(&self, out: &[u8], bytes: &[u8], calls: Vec<Call>) -> Verdict {
        let responses = parse_all(out, &[is_head(bytes)]);
        // Whether the client is told to go on depends on what has arrived, so on the delivery.
        let responses = responses.into_iter().filter(|response| response.status != 100);
        Verdict { responses: responses.map(Response::timeless).collect(), calls }
    }

    /// The server refuses it: this status, `Connection: close`, closed, logged under its number, and the application is not called.
    #[track_caller]
    fn refused(&self, status: u16, cause: Cause, input: impl AsRef<[u8]>) -> Response {
        self.refused_after(0, status, cause, input)
    }

    /// As `refused`, after so many good requests on the same connection.
    #[track_caller]
    fn refused_after(&self, good: usize, status: u16, cause: Cause, input: impl AsRef<[u8]>) -> Response {
        let input = input.as_ref();
        let mut verdict = self.verdict(&[input, NEXT].concat());
        assert_eq!(verdict.calls.len(), good, "{}: {verdict:?}", show(input));
        self.is_refusal(&mut verdict, good, status, cause, input)
    }

    /// The server refuses it while the application reads the content: the application sees this error, the client this status.
    #[track_caller]
    fn broken(&self, status: u16, cause: Cause, kind: ErrorKind, input: impl AsRef<[u8]>) {
        let input = input.as_ref();
        self.broken_bytes(status, cause, kind, &[input, NEXT].concat());
    }

    /// As `broken`, where the client stops sending behind the input.
    #[track_caller]
    fn truncated(&self, input: impl AsRef<[u8]>) {
        self.broken_bytes(400, Cause::ContentTruncated, ErrorKind::UnexpectedEof, input.as_ref());
    }

    #[track_caller]
    fn broken_bytes(&self, status: u16, cause: Cause, kind: ErrorKind, bytes: &[u8]) {
        let mut verdict = self.verdict(bytes);
        assert_eq!(verdict.calls.len(), 1, "{}: {verdict:?}", show(bytes));
        assert_eq!(verdict.calls[0].content, Err(kind), "{}", show(bytes));
        self.is_refusal(&mut verdict, 0, status, cause, bytes);
    }

    #[track_caller]
    fn is_refusal(&self, verdict: &mut Verdict, good: usize, status: u16, cause: Cause, input: &[u8]) -> Response {
        assert_eq!(verdict.responses.len(), good + 1, "{}: {verdict:?}", show(input));
        assert_eq!(cause.status(), Some(status), "{cause}");
        let response = verdict.responses.remove(good);
        assert_eq!(response.status, status, "{}", show(input));
        assert!(response.closes(), "{}: {response:?}", show(input));
        if !is_head(input) {
            // Nothing of the request comes back to the client, and nothing of the reason.
            assert_eq!(response.text(), format!("{}\n", response.reason));
        }
        let seen = self.house.log.take(cause);
        assert_eq!(self.house.log.causes(), [], "{}", show(input));
        assert!(seen.line.starts_with(&format!("{} {}:", cause.number(), cause.name())));
        response
    }

    /// Every request of the input is answered 200, and so is what stands behind it. Gives what the application saw.
    #[track_caller]
    fn served(&self, input: impl AsRef<[u8]>) -> Vec<Call> {
        let input = input.as_ref();
        let mut verdict = self.verdict(&[input, NEXT].concat());
        let last = verdict.calls.pop();
        let last = last.unwrap_or_else(|| panic!("not served: {}: {verdict:?}", show(input)));
        assert_eq!(last.get("PATH_INFO"), Some("/next"), "{}: {verdict:?}", show(input));
        assert_eq!(verdict.responses.len(), verdict.calls.len() + 1, "{}", show(input));
        let (next, own) = verdict.responses.split_last().unwrap();
        assert!(next.status == 200 && next.closes(), "{}: {next:?}", show(input));
        for response in own {
            assert!(response.status == 200 && !response.closes(), "{}: {response:?}", show(input));
        }
        assert_eq!(self.house.log.reports(), [], "{}", show(input));
        verdict.calls
    }

    /// As `served`, for one request.
    #[track_caller]
    fn served_one(&self, input: impl AsRef<[u8]>) -> Call {
        let mut calls = self.served(&input);
        assert_eq!(calls.len(), 1, "{}: {calls:?}", show(input.as_ref()));
        calls.remove(0)
    }

    /// The only request is answered 200 with `Connection: close`, and what stands behind it is not looked at.
    #[track_caller]
    fn served_last(&self, input: impl AsRef<[u8]>) -> Call {
        let input = input.as_ref();
        let mut verdict = self.verdict(&[input, NEXT].concat());
        assert_eq!((verdict.calls.len(), verdict.responses.len()), (1, 1), "{}: {verdict:?}", show(input));
        assert!(verdict.responses[0].status == 200 && verdict.responses[0].closes(), "{}", show(input));
        assert_eq!(self.house.log.reports(), [], "{}", show(input));
        verdict.calls.remove(0)
    }
}

/// The bytes with the value of every Date blanked.
fn without_dates(out: &[u8]) -> Vec<u8> {
    const DATE: &[u8] = b"\r\nDate: ";
    let mut blanked = out.to_vec();
    let mut from = 0;
    while let Some(at) = blanked[from..].windows(DATE.len()).position(|part| part == DATE) {
        from += at + DATE.len();
        blanked[from..from + 29].fill(b' ');
    }
    blanked
}

/// A GET with this request line and a Host.
fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    [line.as_ref(), b"\r\nHost: a\r\n\r\n"].concat()
}

/// A GET with a Host and these field lines, each with its CRLF.
fn fields(lines: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: a\r\n", lines.as_ref(), b"\r\n"].concat()
}

/// A POST with these framing fields and bytes behind the head.
fn post(lines: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Vec<u8> {
    let head: &[&[u8]] = &[b"POST / HTTP/1.1\r\nHost: a\r\n", lines.as_ref(), b"\r\n", content.as_ref()];
    head.concat()
}

fn chunked(content: impl AsRef<[u8]>) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", content)
}

// ------------------------------------------------------------------------------------------------ request line (9112 §3)

#[test]
fn rfc9112_2_2_two_empty_lines_before_the_request_line_are_skipped_and_three_refused() {
    let rules = Rules::new();
    for empty in ["", "\r\n", "\r\n\r\n"] {
        rules.served_one(format!("{empty}GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let behind = format!("{}{empty}{}", "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(rules.served(behind).len(), 2);
    }
    rules.refused(400, Cause::EmptyLines, "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    rules.refused_after(
        1,
        400,
        Cause::EmptyLines,
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
}

#[test]
fn rfc9112_2_2_a_bare_lf_anywhere_in_the_head_is_refused() {
    let rules = Rules::new();
    for input in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\n: b\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\n/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\nHTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        rules.refused(400, Cause::BareLf, input);
    }
    rules.served_one("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\r\n");
}

#[test]
fn rfc9112_2_2_a_bare_cr_anywhere_in_the_head_is_refused() {
    let rules = Rules::new();
    for input in [
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n",
        "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\r/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\rY: b\r\n\r\n",
    ] {
        rules.refused(400, Cause::BareCr, input);
    }
}

#[test]
fn rfc9112_3_the_parts_of_a_request_line_are_parted_by_one_space_each() {
    let rules = Rules::new();
    for (input, cause) in [
        ("GET  / HTTP/1.1", Cause::TargetByte),
        ("GET /  HTTP/1.1", Cause::RequestLine),
        (" GET / HTTP/1.1", Cause::RequestLine),
        ("GET / HTTP/1.1 ", Cause::RequestLine),
        ("GET\t/ HTTP/1.1", Cause::RequestLine),
        ("GET /\tHTTP/1.1", Cause::TargetByte),
        ("GET / HTTP/1.1\t", Cause::RequestLine),
        ("\tGET / HTTP/1.1", Cause::RequestLine),
        ("GET / x HTTP/1.1", Cause::Version),
        ("GET / HTTP/1.1 x", Cause::RequestLine),
        ("GET", Cause::RequestLine),
        ("GET ", Cause::RequestLine),
        ("GET / ", Cause::RequestLine),
    ] {
        rules.refused(400, cause, line(input));
    }
    rules.served_one(line("GET / HTTP/1.1"));
}

#[test]
fn rfc9110_9_1_a_method_is_a_token_of_at_most_32_bytes() {
    let rules = Rules::new();
    for method in ["G@T", "G(T", "G\"T", "G/T", "G{T", "G\u{e9}T", "G\x01T", "G\0T", "[GET"] {
        rules.refused(400, Cause::Method, line(format!("{method} / HTTP/1.1")));
    }
    for length in [1, 31, 32] {
        let method = "M".repeat(length);
        let call = rules.served_one(line(format!("{method} / HTTP/1.1")));
        assert_eq!(call.get("REQUEST_METHOD"), Some(&*method));
    }
    rules.refused(501, Cause::MethodLong, line(format!("{} / HTTP/1.1", "M".repeat(33))));
    rules.refused(501, Cause::MethodLong, line(format!("{} / HTTP/1.1", "M".repeat(5_000))));
}

#[test]
fn rfc9110_9_1_unknown_methods_reach_the_application_and_lower_case_stays_lower_case() {
    let rules = Rules::new();
    for method in ["BREW", "get", "Post", "!#$%&'*+-.^_`|~09aZ", "PRI"] {
        let call = rules.served_one(line(format!("{method} / HTTP/1.1")));
        assert_eq!(call.get("REQUEST_METHOD"), Some(method));
    }
}

#[test]
fn rfc9112_3_2_a_target_is_visible_ascii_without_a_fragment() {
    let rules = Rules::new();
    for byte in (0u8..0x21).chain([0x7F, 0x80, 0xC3, 0xFF, b'#']) {
        let (input, cause) = match byte {
            b'\n' => (line(b"GET /a\nb HTTP/1.1"), Cause::BareLf),
            b'\r' => (line(b"GET /a\rb HTTP/1.1"), Cause::BareCr),
            b' ' => (line(b"GET /a b HTTP/1.1"), Cause::Version),
            byte => (line([b"GET /a", &[byte][..], b"b HTTP/1.1"].concat()), Cause::TargetByte),
        };
        rules.refused(400, cause, input);
    }
    rules.refused(400, Cause::TargetByte, line("GET #x HTTP/1.1"));
    for byte in (0x21..0x7Fu8).filter(|byte| !b"#?%\\".contains(byte)) {
        let call = rules.served_one(line([b"GET /a", &[byte][..], b"b HTTP/1.1"].concat()));
        assert_eq!(call.bytes("PATH_INFO"), Some(&[b'/', b'a', byte, b'b'][..]));
    }
}

#[test]
fn rfc9112_3_a_target_of_8190_bytes_is_served_and_one_more_is_414() {
    let rules = Rules::new();
    for length in [8_189, 8_190] {
        let target = format!("/{}", "a".repeat(length - 1));
        let call = rules.served_one(line(format!("GET {target} HTTP/1.1")));
        assert_eq!(call.get("REQUEST_URI"), Some(&*target));
    }
    for length in [8_191, 8_192, 60_000] {
        let target = format!("/{}", "a".repeat(length - 1));
        rules.refused(414, Cause::TargetLong, line(format!("GET {target} HTTP/1.1")));
    }
}

#[test]
fn rfc9110_2_5_every_minor_version_of_http_1_is_served_and_above_1_as_1_1() {
    let rules = Rules::new();
    for (version, seen) in [("1.1", "HTTP/1.1"), ("1.2", "HTTP/1.1"), ("1.9", "HTTP/1.1")] {
        let call = rules.served_one(line(format!("GET / HTTP/{version}")));
        assert_eq!(call.get("SERVER_PROTOCOL"), Some(seen));
    }
    let call = rules.served_last(line("GET / HTTP/1.0"));
    assert_eq!(call.get("SERVER_PROTOCOL"), Some("HTTP/1.0"));
}

#[test]
fn rfc9112_2_3_other_major_versions_are_505() {
    let rules = Rules::new();
    for version in ["2.0", "3.0", "0.9", "0.0", "9.9", "2.1"] {
        rules.refused(505, Cause::VersionUnsupported, line(format!("GET / HTTP/{version}")));
    }
    rules.refused(505, Cause::VersionUnsupported, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

#[test]
fn rfc9112_3_a_request_line_without_a_version_is_refused() {
    let rules = Rules::new();
    rules.refused(400, Cause::RequestLine, "GET /\r\n");
    rules.refused(400, Cause::RequestLine, line("GET /"));
    rules.refused(400, Cause::RequestLine, line("GET /index.html"));
}

#[test]
fn rfc9112_2_3_the_version_is_spelt_exactly() {
    let rules = Rules::new();
    for version in [
        "http/1.1",
        "Http/1.1",
        "HTTP/1.10",
        "HTTP/01.1",
        "HTTP/ 1.1",
        "HTTP/1. 1",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP 1.1",
        "HTTP/1,1",
        "HTTPS/1.1",
        "HTTP/1.1x",
        "HTTP/x.1",
        "HTTP/1.x",
        "HTTP//1.1",
        "HTTP/+1.1",
        "FTP/1.1",
        "HTTP/11",
        "HTTP",
        "HTTP/",
    ] {
        rules.refused(400, Cause::Version, line(format!("GET / {version}")));
    }
}

// --------------------------------------------------------------------------------------------- target forms (9112 §3.2)

#[test]
fn rfc9112_3_2_1_the_path_is_decoded_once_and_the_raw_target_kept() {
    let rules = Rules::new();
    let rows: [(&str, &[u8], &str); 12] = [
        ("/", b"/", ""),
        ("/a%2Fb%20c", b"/a/b c", ""),
        ("/%E4", b"/\xE4", ""),
        ("/%C3%A4", "/ä".as_bytes(), ""),
        ("/%25%41", b"/%A", ""),
        ("/%2541", b"/%41", ""),
        ("/%0d%0A%7f", b"/\r\n\x7F", ""),
        ("/a?b=%20&c", b"/a", "b=%20&c"),
        ("/a??b", b"/a", "?b"),
        ("/a?", b"/a", ""),
        ("/a%3Fb?c%23", b"/a?b", "c%23"),
        ("/a;p=1,2/b+c?q+r", b"/a;p=1,2/b+c", "q+r"),
    ];
    for (target, path, query) in rows {
        let call = rules.served_one(line(format!("GET {target} HTTP/1.1")));
        assert_eq!(call.bytes("PATH_INFO"), Some(path), "{target}");
        assert_eq!(call.get("QUERY_STRING"), Some(query), "{target}");
        assert_eq!(call.get("REQUEST_URI"), Some(target));
        assert_eq!(call.get("SCRIPT_NAME"), Some(""));
    }
}

#[test]
fn p_env_05_bad_escapes_stay_literal_and_an_encoded_nul_is_refused() {
    let rules = Rules::new();
    for path in ["/%", "/%4", "/%zz", "/%4g", "/%%41", "/a%"] {
        let call = rules.served_one(line(format!("GET {path} HTTP/1.1")));
        let expected = path.replace("%41", "A");
        assert_eq!(call.get("PATH_INFO"), Some(&*expected));
    }
    for path in ["/%00", "/a%00b", "/%00?x", "http://a/%00"] {
        rules.refused(400, Cause::TargetNul, line(format!("GET {path} HTTP/1.1")));
    }
    let call = rules.served_one(line("GET /?%00 HTTP/1.1"));
    assert_eq!(call.get("QUERY_STRING"), Some("%00"));
    let call = rules.served_one(line("GET /%2500 HTTP/1.1"));
    assert_eq!(call.get("PATH_INFO"), Some("/%00"));
}

#[test]
fn rfc9112_3_2_2_the_authority_of_an_absolute_target_replaces_host() {
    let rules = Rules::new();
    for (target, path, query, host, name) in [
        ("http://example.org/p?q", "/p", "q", "example.org", "example.org"),
        ("http://example.org:81/p", "/p", "", "example.org:81", "example.org"),
        ("HTTP://example.org/", "/", "", "example.org", "example.org"),
        ("http://example.org", "/", "", "example.org", "example.org"),
        ("http://example.org?q", "/", "q", "example.org", "example.org"),
        ("http://[::1]:80/p", "/p", "", "[::1]:80", "[::1]"),
        ("http://example.org//p", "//p", "", "example.org", "example.org"),
    ] {
        let call = rules.served_one(line(format!("GET {target} HTTP/1.1")));
        assert_eq!((call.get("PATH_INFO"), call.get("QUERY_STRING")), (Some(path), Some(query)), "{target}");
        assert_eq!((call.get("HTTP_HOST"), call.get("SERVER_NAME")), (Some(host), Some(name)), "{target}");
        assert_eq!(call.get("REQUEST_URI"), Some(target));
    }
}

#[test]
fn rfc9112_3_2_2_an_absolute_target_of_http_1_0_needs_no_host_field() {
    let rules = Rules::new();
    let call = rules.served_last("GET http://example.org:81/p HTTP/1.0\r\n\r\n");
    assert_eq!((call.get("HTTP_HOST"), call.get("PATH_INFO")), (Some("example.org:81"), Some("/p")));
}

#[test]
fn rfc9112_3_2_2_other_schemes_userinfo_and_empty_hosts_are_refused() {
    let rules = Rules::new();
    for (target, cause) in [
        ("ftp://a/", Cause::TargetScheme),
        ("ws://a/", Cause::TargetScheme),
        ("file:///etc/passwd", Cause::TargetScheme),
        ("http://user@a/", Cause::TargetUserinfo),
        ("http://user:pass@a/", Cause::TargetUserinfo),
        ("http://@a/", Cause::TargetUserinfo),
        ("http:///p", Cause::HostInvalid),
        ("http://", Cause::HostInvalid),
        ("http://a:x/", Cause::HostInvalid),
        ("http://a:99999/", Cause::HostInvalid),
        ("http://[::1/", Cause::HostInvalid),
        ("http:/a", Cause::TargetForm),
        ("http:a", Cause::TargetForm),
        ("://a/", Cause::TargetForm),
        ("index.html", Cause::TargetForm),
        ("?q", Cause::TargetForm),
        ("a/b", Cause::TargetForm),
    ] {
        rules.refused(400, cause, line(format!("GET {target} HTTP/1.1")));
    }
}

#[test]
fn rfc9112_3_2_2_an_https_target_is_served_only_where_the_server_is_configured_so() {
    let rules = Rules::new();
    rules.refused(400, Cause::TargetScheme, line("GET https://example.org/p HTTP/1.1"));
    let rules = Rules::with(|settings| settings.https = true);
    let call = rules.served_one(line("GET https://example.org/p HTTP/1.1"));
    assert_eq!((call.get("HTTP_HOST"), call.get("PATH_INFO")), (Some("example.org"), Some("/p")));
    assert_eq!(call.get("HTTPS"), Some("on"));
}

#[test]
fn rfc9112_3_2_4_options_asterisk_is_answered_by_the_server_and_asterisk_otherwise_refused() {
    let rules = Rules::new();
    let verdict = rules.verdict(&[&line("OPTIONS * HTTP/1.1")[..], NEXT].concat());
    assert_eq!(verdict.calls.len(), 1, "the application was called for OPTIONS *");
    assert_eq!(verdict.calls[0].get("PATH_INFO"), Some("/next"));
    let [own, next] = &verdict.responses[..] else { panic!("{verdict:?}") };
    assert_eq!((own.status, next.status), (204, 200));
    assert!(own.field("Allow").is_some_and(|allow| allow.contains("GET")) && !own.closes(), "{own:?}");

    // Its content belongs to it and is skipped.
    let input = "OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let verdict = rules.verdict(&[input.as_bytes(), NEXT].concat());
    assert_eq!((verdict.calls.len(), verdict.responses.len()), (1, 2), "{verdict:?}");

    for method in ["GET", "POST", "options", "HEAD"] {
        rules.refused(400, Cause::TargetForm, line(format!("{method} * HTTP/1.1")));
    }
    rules.refused(400, Cause::TargetForm, line("OPTIONS ** HTTP/1.1"));
    assert_eq!(rules.served_one(line("OPTIONS / HTTP/1.1")).get("REQUEST_METHOD"), Some("OPTIONS"));
}

#[test]
fn rfc9112_3_2_3_connect_is_405_and_the_authority_form_otherwise_refused() {
    let rules = Rules::new();
    let response = rules.refused(405, Cause::ConnectRefused, line("CONNECT a:80 HTTP/1.1"));
    assert!(response.field("Allow").is_some(), "RFC 9110 section 15.5.6: {response:?}");
    // RFC 9110 section 9.3.6: a tunnel needs a port.
    for target in ["/", "*", "a", "http://a/", "a:x", ":80", "a:", "[::1]:"] {
        rules.refused(400, Cause::TargetForm, line(format!("CONNECT {target} HTTP/1.1")));
    }
    for method in ["GET", "POST", "connect"] {
        rules.refused(400, Cause::TargetForm, line(format!("{method} a:80 HTTP/1.1")));
    }
}

#[test]
fn rfc3986_3_3_a_raw_backslash_is_no_byte_of_a_path_and_one_in_a_query_is_what_browsers_send() {
    let rules = Rules::new();
    for target in ["/\\", "/a\\b", "/a\\..\\b?c", "/..\\", "//a\\", "http://a/\\", "http://a/b\\?c", "/\\%00"] {
        rules.refused(400, Cause::TargetByte, line(format!("GET {target} HTTP/1.1")));
    }
    rules.refused(400, Cause::HostInvalid, line("GET http://a\\b/ HTTP/1.1"));
    rules.refused(400, Cause::TargetForm, line("GET \\ HTTP/1.1"));
    let call = rules.served_one(line("GET /%5C?a\\b HTTP/1.1"));
    assert_eq!((call.get("PATH_INFO"), call.get("QUERY_STRING")), (Some("/\\"), Some("a\\b")));
    let call = rules.served_one(line("GET http://a?\\ HTTP/1.1"));
    assert_eq!((call.get("PATH_INFO"), call.get("QUERY_STRING")), (Some("/"), Some("\\")));
}

#[test]
fn p_env_06_dots_and_slashes_reach_the_application_as_they_were_sent() {
    let rules = Rules::new();
    for path in ["/a/../b", "/./", "/..", "//a", "/a//b/", "///", "/a/./b/..", "/%2E%2E/a"] {
        let call = rules.served_one(line(format!("GET {path} HTTP/1.1")));
        assert_eq!(call.get("PATH_INFO"), Some(&*path.replace("%2E", ".")));
        assert_eq!(call.get("REQUEST_URI"), Some(path));
    }
}

// ------------------------------------------------------------------------------------------- fields (9112 §5, 9110 §5)

#[test]
fn rfc9112_5_1_a_field_name_is_a_token_directly_before_its_colon() {
    let rules = Rules::new();
    for (input, cause) in [
        ("X@Y: 1\r\n", Cause::FieldName),
        (": 1\r\n", Cause::FieldName),
        ("X\u{e9}: 1\r\n", Cause::FieldName),
        ("X\0: 1\r\n", Cause::FieldName),
        ("\"X\": 1\r\n", Cause::FieldName),
        ("X(Y): 1\r\n", Cause::FieldName),
        ("X/Y: 1\r\n", Cause::FieldName),
        ("X : 1\r\n", Cause::FieldSpace),
        ("X\t: 1\r\n", Cause::FieldSpace),
        ("X Y: 1\r\n", Cause::FieldSpace),
        ("Content-Length : 5\r\n", Cause::FieldSpace),
        ("Transfer-Encoding : chunked\r\n", Cause::FieldSpace),
    ] {
        rules.refused(400, cause, fields(input));
    }
    let call = rules.served_one(fields("X-Y:1\r\nx!#$%&'*+^`|~9: 2\r\n"));
    assert_eq!(call.get("HTTP_X_Y"), Some("1"));
    assert_eq!(call.get("HTTP_X!#$%&'*+^`|~9"), Some("2"));
}

#[test]
fn rfc9112_5_2_a_line_without_a_colon_and_a_folded_line_are_refused() {
    let rules = Rules::new();
    rules.refused(400, Cause::FieldColon, fields("X\r\n"));
    rules.refused(400, Cause::FieldColon, fields("Host\r\n"));
    for fold in [" ", "\t", "  "] {
        rules.refused(400, Cause::FieldFold, fields(format!("X: a\r\n{fold}b\r\n")));
        rules.refused(400, Cause::FieldFold, fields(format!("X: a\r\n{fold}Y: b\r\n")));
        rules.refused(400, Cause::FieldFold, fields(format!("X: a\r\n{fold}\r\n")));
        // RFC 9112 section 2.2: white space between the request line and the first field.
        rules.refused(400, Cause::FieldFold, format!("GET / HTTP/1.1\r\n{fold}Host: a\r\n\r\n"));
    }
}

#[test]
fn rfc9110_5_5_a_field_value_has_no_control_but_tab_and_keeps_the_bytes_above_ascii() {
    let rules = Rules::new();
    for byte in (0u8..0x20).chain([0x7F]) {
        let cause = match byte {
            b'\t' => continue,
            b'\n' => Cause::BareLf,
            b'\r' => Cause::BareCr,
            _ => Cause::FieldValue,
        };
        for value in [&[b'a', byte, b'b'][..], &[byte, b'b']] {
            rules.refused(400, cause, fields([b"X: ", value, b"\r\n"].concat()));
        }
    }
    let high: Vec<u8> = (0x80..=0xFF).collect();
    let call = rules.served_one(fields([b"X: a\tb", &high[..], b"\r\n"].concat()));
    assert_eq!(call.bytes("HTTP_X"), Some(&[b"a\tb", &high[..]].concat()[..]));
}

#[test]
fn rfc9112_5_1_white_space_around_a_value_is_not_part_of_it() {
    let rules = Rules::new();
    let call = rules.served_one(fields("A:\t a b \t\r\nB:\r\nC: \t \r\nContent-Type:  text/x \r\n"));
    assert_eq!((call.get("HTTP_A"), call.get("HTTP_B"), call.get("HTTP_C")), (Some("a b"), Some(""), Some("")));
    assert_eq!(call.get("CONTENT_TYPE"), Some("text/x"));
}

#[test]
fn rfc9110_5_4_a_field_line_of_8190_bytes_is_served_and_one_more_is_431() {
    let rules = Rules::new();
    for length in [8_189, 8_190] {
        let value = "v".repeat(length - 3);
        let call = rules.served_one(fields(format!("X: {value}\r\n")));
        assert_eq!(call.get("HTTP_X"), Some(&*value));
    }
    for length in [8_191, 8_192, 40_000] {
        rules.refused(431, Cause::FieldLong, fields(format!("X: {}\r\n", "v".repeat(length - 3))));
    }
    let name = "n".repeat(8_189);
    rules.served_one(fields(format!("{name}:\r\n")));
    rules.refused(431, Cause::FieldLong, fields(format!("{name}n:\r\n")));
}

#[test]
fn rfc9110_5_4_100_fields_are_served_and_one_more_is_431() {
    let rules = Rules::new();
    let some = |count: usize| (0..count - 1).map(|at| format!("X{at}: {at}\r\n")).collect::<String>();
    for count in [99, 100] {
        let call = rules.served_one(fields(some(count)));
        assert_eq!(call.vars.keys().filter(|name| name.starts_with("HTTP_")).count(), count);
    }
    rules.refused(431, Cause::FieldCount, fields(some(101)));
    rules.refused(431, Cause::FieldCount, fields(some(500)));
}

#[test]
fn rfc9110_5_4_a_head_of_65536_bytes_is_served_and_one_more_is_431() {
    let rules = Rules::new();
    let head = |length: usize| {
        let mut text = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
        for at in 0.. {
            // The last line takes what is missing to the length, less the empty line.
            let rest = length - 2 - text.len();
            let line = if rest > 2_000 { 1_000 } else { rest };
            text += &format!("X{at:03}: {}\r\n", "v".repeat(line - 8));
            if line == rest {
                break;
            }
        }
        text += "\r\n";
        assert_eq!(text.len(), length);
        text
    };
    for length in [65_535, 65_536] {
        rules.served_one(head(length));
    }
    rules.refused(431, Cause::HeadLong, head(65_537));
    rules.refused(431, Cause::HeadLong, head(65_600));
}

#[test]
fn the_limits_of_a_head_are_settings() {
    let rules = Rules::with(|settings| {
        settings.max_target = 10;
        settings.max_field_line = 20;
        settings.max_fields = 3;
    });
    rules.served_one(line("GET /234567890 HTTP/1.1"));
    rules.refused(414, Cause::TargetLong, line("GET /2345678901 HTTP/1.1"));
    rules.served_one(fields("X: 45678901234567890\r\n"));
    rules.refused(431, Cause::FieldLong, fields("X: 456789012345678901\r\n"));
    rules.served_one(fields("A: 1\r\nB: 2\r\n"));
    rules.refused(431, Cause::FieldCount, fields("A: 1\r\nB: 2\r\nC: 3\r\n"));
    // A request line of 16, fields of 9, 22 and so much that the empty line ends the head.
    let head = |length: usize| {
        let front = "GET / HTTP/1.1\r\nHost: a\r\nX: 45678901234567890\r\nY:";
        format!("{front}{}\r\n\r\n", "v".repeat(length - front.len() - 4))
    };
    for length in [66, 67, 68] {
        let rules = Rules::with(|settings| settings.max_head = 67);
        if length <= 67 {
            rules.served_one(head(length));
        } else {
            rules.refused(431, Cause::HeadLong, head(length));
        }
    }
}

#[test]
fn rfc9110_5_3_repeated_fields_are_joined_in_order_and_cookies_with_semicolons() {
    let rules = Rules::new();
    let call = rules.served_one(fields(
        "Accept: a\r\nCookie: x=1\r\nX: 1\r\naccept: b\r\ncookie: y=2\r\nX:\r\nACCEPT: c\r\nX: 3\r\n",
    ));
    assert_eq!(call.get("HTTP_ACCEPT"), Some("a, b, c"));
    assert_eq!(call.get("HTTP_COOKIE"), Some("x=1; y=2"));
    assert_eq!(call.get("HTTP_X"), Some("1, , 3"));
}

#[test]
fn rfc9110_5_3_of_repeated_fields_among_others_in_every_order_each_value_stays_its_own() {
    let rules = Rules::new();
    // Names that begin alike, values of every length, one that is empty, and what has no place among the joined.
    let lines = [
        ("X-A", "1"),
        ("x-a", "a value that is longer than all the others together"),
        ("X-A", ""),
        ("X-AB", "22"),
        ("Cookie", "c=1"),
        ("cookie", "d=2"),
        ("Content-Type", "text/plain"),
    ];
    let orders = orders(&lines);
    assert_eq!(orders.len(), 5_040);
    for order in orders {
        let text: String = order.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (_, calls, causes) = rules.delivered(&[&fields(&text)]);
        let [call] = &calls[..] else { panic!("{text}: {causes:?}") };
        let joined = |wanted: &str, separator| {
            let of_name = order.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            of_name.map(|(_, value)| *value).collect::<Vec<_>>().join(separator)
        };
        for (variable, name, separator) in
            [("HTTP_X_A", "X-A", ", "), ("HTTP_X_AB", "X-AB", ", "), ("HTTP_COOKIE", "Cookie", "; ")]
        {
            assert_eq!(call.get(variable), Some(&*joined(name, separator)), "{text}");
        }
        assert_eq!((call.get("CONTENT_TYPE"), call.get("HTTP_HOST")), (Some("text/plain"), Some("a")), "{text}");
        assert_eq!((call.get("REQUEST_METHOD"), call.get("PATH_INFO")), (Some("GET"), Some("/")), "{text}");
    }
}

#[test]
fn rfc9110_5_3_fields_of_one_value_are_refused_when_repeated() {
    let rules = Rules::new();
    for (name, value) in [
        ("Host", "a"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Type", "text/plain"),
        ("Expect", "100-continue"),
        ("Authorization", "Basic YTpi"),
    ] {
        let others = if name == "Host" { "" } else { "Host: a\r\n" };
        let lower = name.to_lowercase();
        rules.refused(
            400,
            Cause::FieldRepeated,
            format!("POST / HTTP/1.1\r\n{others}{name}: {value}\r\nX: y\r\n{lower}: {value}\r\n\r\n"),
        );
    }
    rules.refused(400, Cause::FieldRepeated, post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"));
    rules.refused(400, Cause::FieldRepeated, fields("Host: b\r\n"));
    let call = rules.served_one(fields("Content-Type: text/plain\r\nAuthorization: Basic YTpi\r\n"));
    assert_eq!((call.get("CONTENT_TYPE"), call.get("HTTP_AUTHORIZATION")), (Some("text/plain"), Some("Basic YTpi")));
}

#[test]
fn p_env_14_names_with_an_underscore_are_dropped_or_refused_by_setting() {
    let rules = Rules::new();
    let call = rules
        .served_one(fields("X_A: bad\r\nX-A: good\r\nX_B: bad\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n"));
    assert_eq!((call.get("HTTP_X_A"), call.get("HTTP_X_B")), (Some("good"), None));
    assert_eq!((call.get("CONTENT_LENGTH"), call.get("HTTP_CONTENT_LENGTH")), (None, None));
    assert_eq!(rules.house.handle.stats().fields_dropped, 4);
    let rules = Rules::with(|settings| settings.refuse_underscores = true);
    rules.refused(400, Cause::FieldUnderscore, fields("X_A: bad\r\n"));
    rules.served_one(fields("X-A: good\r\n"));
}

#[test]
fn p_env_15_proxy_is_dropped() {
    let rules = Rules::new();
    for name in ["Proxy", "proxy", "PROXY"] {
        let call = rules.served_one(fields(format!("{name}: http://evil/\r\nProxy-Authorization: kept\r\n")));
        assert_eq!((call.get("HTTP_PROXY"), call.get("HTTP_PROXY_AUTHORIZATION")), (None, Some("kept")));
    }
}

#[test]
fn p_env_13_16_30_fields_of_the_connection_and_names_with_points_do_not_reach_the_environ() {
    let rules = Rules::new();
    let call = rules.served_one(post(
        "Connection: X-Named, Authorization\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X\r\n\
         Upgrade: websocket\r\nExpect: 100-continue\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\
         X-Named: kept\r\nAuthorization: kept\r\nwsgi.url_scheme: https\r\ndoorway.x: y\r\n",
        "hi",
    ));
    let seen: Vec<&str> = call.vars.keys().map(|name| &**name).filter(|name| name.starts_with("HTTP_")).collect();
    assert_eq!(seen, ["HTTP_AUTHORIZATION", "HTTP_HOST", "HTTP_X_NAMED"]);
    assert!(!call.vars.keys().any(|name| name.contains('.')), "{call:?}");
    assert_eq!((call.get("CONTENT_TYPE"), call.get("CONTENT_LENGTH")), (Some("text/plain"), Some("2")));
}

#[test]
fn rfc9112_3_2_http_1_1_needs_a_valid_host() {
    let rules = Rules::new();
    rules.refused(400, Cause::HostMissing, "GET / HTTP/1.1\r\n\r\n");
    rules.refused(400, Cause::HostMissing, "GET / HTTP/1.2\r\n\r\n");
    rules.refused(400, Cause::HostMissing, "GET http://a/ HTTP/1.1\r\n\r\n");
    rules.refused(400, Cause::HostMissing, "OPTIONS * HTTP/1.1\r\n\r\n");
    rules.refused(400, Cause::HostInvalid, "GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n");
    for host in [
        "a b", "a/b", "a, b", "user@a", "a:x", "a:80:80", ":80", "a?b", "a#b", "http://a", "[::1", "::1", "a:99999",
        ":", "a::", "a\\b", "a%zz", "[g]", "a:-1", "a:+1",
    ] {
        rules.refused(400, Cause::HostInvalid, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        rules.refused(400, Cause::HostInvalid, format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n"));
    }
    for (host, name) in [
        ("a", "a"),
        ("A.example:8080", "A.example"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        // RFC 3986 section 3.2.3: port = *DIGIT.
        ("a:", "a"),
        ("[::1]:", "[::1]"),
        ("a_b-c.d", "a_b-c.d"),
        ("a%41", "a%41"),
    ] {
        let call = rules.served_one(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!((call.get("HTTP_HOST"), call.get("SERVER_NAME")), (Some(host), Some(name)));
    }
}

#[test]
fn rfc9112_3_2_an_empty_host_is_served_where_the_target_has_no_authority() {
    let rules = Rules::new();
    let call = rules.served_one("GET / HTTP/1.1\r\nHost:\r\n\r\n");
    assert_eq!((call.get("HTTP_HOST"), call.get("SERVER_NAME")), (Some(""), Some("localhost")));
}

#[test]
fn rfc9112_3_2_http_1_0_without_host_is_served() {
    let rules = Rules::new();
    let call = rules.served_last("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((call.get("HTTP_HOST"), call.get("SERVER_NAME")), (None, Some("localhost")));
}

// ------------------------------------------------------------------------------------------------ content (9112 §6, §7)

#[test]
fn rfc9112_6_3_a_content_length_is_1_to_19_digits() {
    let rules = Rules::new();
    for value in [
        "",
        "+5",
        "-1",
        "-0",
        "0x5",
        "5 5",
        "3, 3",
        "3,3",
        "5,",
        "5;",
        "5.0",
        "1e3",
        "a",
        "5a",
        "\"5\"",
        "00000000000000000005",
        "18446744073709551616",
        "99999999999999999999",
        "123456789012345678901",
        "\u{0665}",
    ] {
        rules.refused(400, Cause::ContentLength, post(format!("Content-Length: {value}\r\n"), "hello"));
    }
    for value in ["5", "05", "0000000000000000005", " 5\t"] {
        let call = rules.served_one(post(format!("Content-Length:{value}\r\n"), "hello"));
        assert_eq!(call.content(), b"hello", "{value}");
    }
    let call = rules.served_one(post("Content-Length: 0\r\n", ""));
    assert_eq!((call.content(), call.get("CONTENT_LENGTH")), (&b""[..], Some("0")));
}

#[test]
fn rfc9110_15_5_14_content_over_the_limit_is_413() {
    let rules = Rules::new();
    for value in ["16777217", "9223372036854775808", "9999999999999999999"] {
        rules.refused(413, Cause::ContentLong, post(format!("Content-Length: {value}\r\n"), "hello"));
    }
    let rules = Rules::with(|settings| settings.max_content = Some(10));
    for length in [9, 10] {
        let call = rules.served_one(post(format!("Content-Length: {length}\r\n"), "x".repeat(length)));
        assert_eq!(call.content().len(), length);
        let call = rules.served_one(chunked(format!(
            "5\r\nhello\r\n{:x}\r\n{}\r\n0\r\n\r\n",
            length - 5,
            "x".repeat(length - 5)
        )));
        assert_eq!(call.content().len(), length);
    }
    rules.refused(413, Cause::ContentLong, post("Content-Length: 11\r\n", "x".repeat(11)));
    rules.broken(413, Cause::ContentLong, ErrorKind::FileTooLarge, chunked("b\r\nhello world\r\n0\r\n\r\n"));
    rules.broken(413, Cause::ContentLong, ErrorKind::FileTooLarge, chunked("5\r\nhello\r\n6\r\nhello!\r\n0\r\n\r\n"));
    rules.broken(413, Cause::ContentLong, ErrorKind::FileTooLarge, chunked("ffffffffffffffff\r\nhello"));
}

#[test]
fn rfc9110_10_1_1_content_over_the_limit_is_413_and_never_100() {
    let rules = Rules::with(|settings| settings.max_content = Some(10));
    let out = {
        let mut client = rules.house.client();
        client.send(&post("Content-Length: 11\r\nExpect: 100-continue\r\n", ""));
        client.until_close()
    };
    assert!(out.starts_with(b"HTTP/1.1 413 "), "{}", show(&out));
    assert_eq!(parse_all(&out, &[]).len(), 1);
    assert_eq!(rules.recorder.take(), []);
}

#[test]
fn rfc9112_6_3_content_without_a_limit_is_served_where_the_setting_says_so() {
    let rules = Rules::with(|settings| settings.max_content = None);
    let content = "x".repeat(100_000);
    assert_eq!(rules.served_one(post("Content-Length: 100000\r\n", &content)).content().len(), 100_000);
}

#[test]
fn rfc9112_6_3_content_length_with_transfer_encoding_is_refused() {
    let rules = Rules::new();
    for both in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        // Judged before either is looked at.
        "Content-Length: x\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: gzip\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        "Content-Length: 5\r\nTransfer-Encoding:\r\n",
    ] {
        rules.refused(400, Cause::LengthAndCoding, post(both, "0\r\n\r\n"));
    }
    rules.refused(
        400,
        Cause::LengthAndCoding,
        "POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    );
}

#[test]
fn rfc9112_7_1_chunked_in_any_case_is_read() {
    let rules = Rules::new();
    for coding in ["chunked", "Chunked", "CHUNKED", "  chunked\t"] {
        let call = rules.served_one(post(format!("Transfer-Encoding:{coding}\r\n"), "5\r\nhello\r\n0\r\n\r\n"));
        assert_eq!((call.content(), call.get("CONTENT_LENGTH")), (&b"hello"[..], None));
        assert_eq!(call.get("HTTP_TRANSFER_ENCODING"), None);
    }
}

#[test]
fn rfc9112_6_1_an_unknown_transfer_coding_is_501() {
    let rules = Rules::new();
    for coding in ["gzip", "identity", "xchunked", "chunkedx", "deflate", "x-chunked", "chunke"] {
        rules.refused(501, Cause::CodingUnknown, post(format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"));
    }
}

#[test]
fn rfc9112_6_1_any_other_fault_of_transfer_encoding_is_refused() {
    let rules = Rules::new();
    for coding in [
        "",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,",
        ", chunked",
        ",chunked",
        "chunked;a=b",
        "chunked ; a",
        "chunked chunked",
        "\"chunked\"",
        "'chunked', x",
        "chunked\t,identity",
        "ch unked",
    ] {
        rules.refused(400, Cause::CodingInvalid, post(format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"));
    }
    for coding in ["\x0bchunked", "chunked\x0c", "chunked\0"] {
        rules.refused(400, Cause::FieldValue, post(format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"));
    }
    rules.refused(
        400,
        Cause::FieldRepeated,
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
    );
}

#[test]
fn rfc9112_6_1_transfer_encoding_in_http_1_0_is_refused() {
    let rules = Rules::new();
    for coding in ["chunked", "gzip"] {
        rules.refused(
            400,
            Cause::CodingVersion,
            format!("POST / HTTP/1.0\r\nTransfer-Encoding: {coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        );
    }
    let call = rules.served_last("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(call.content(), b"hello");
}

#[test]
fn rfc9112_6_3_without_framing_fields_there_is_no_content_and_the_next_byte_is_the_next_request() {
    let rules = Rules::new();
    for method in ["POST", "PUT", "GET"] {
        let call = rules.served_one(line(format!("{method} / HTTP/1.1")));
        assert_eq!((call.content(), call.get("CONTENT_LENGTH")), (&b""[..], None));
    }
    rules.refused_after(1, 400, Cause::RequestLine, post("", "hello\r\n"));
}

#[test]
fn rfc9110_9_3_content_with_any_method_is_read() {
    let rules = Rules::new();
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "PUT", "BREW", "TRACE"] {
        let call = rules.served_one(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"));
        assert_eq!(call.content(), b"hello", "{method}");
        let call = rules.served_one(format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ));
        assert_eq!(call.content(), b"hello", "{method}");
    }
}

#[test]
fn p_in_02_content_of_every_length_ends_where_it_ends() {
    let rules = Rules::new();
    for length in [1, 2, 1_000, 16_383, 16_384, 16_385, 65_536, 200_000] {
        let content: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        let call = rules.served_one(post(format!("Content-Length: {length}\r\n"), &content));
        assert_eq!(call.content(), content);
        let whole = [format!("{length:x}\r\n").as_bytes(), &content, b"\r\n0\r\n\r\n"].concat();
        assert_eq!(rules.served_one(chunked(whole)).content(), content);
    }
}

#[test]
fn the_largest_head_and_the_largest_gathered_content_fit_together() {
    let rules = Rules::new();
    let fields: String = (0..8).map(|at| format!("X{at}: {}\r\n", "v".repeat(8_000))).collect();
    let content = "c".repeat(16_384);
    let call = rules.served_one(post(format!("Content-Length: 16384\r\n{fields}"), &content));
    assert_eq!(call.content(), content.as_bytes());
}

#[test]
fn rfc9112_7_1_a_chunk_size_is_1_to_16_hexadecimal_digits_and_crlf() {
    let rules = Rules::new();
    for size in [
        "",
        "0x5",
        "+5",
        "-5",
        " 5",
        "\t5",
        "g",
        "5g",
        "5_0",
        "5\u{0660}",
        "00000000000000005",
        ";ext",
        "\"5\"",
        "5,5",
        "5.",
    ] {
        rules.broken(400, Cause::ChunkSize, ErrorKind::InvalidData, chunked(format!("{size}\r\nhello\r\n0\r\n\r\n")));
    }
    rules.broken(400, Cause::BareLf, ErrorKind::InvalidData, chunked("5\nhello\r\n0\r\n\r\n"));
    rules.broken(400, Cause::BareCr, ErrorKind::InvalidData, chunked("5\rhello\r\n0\r\n\r\n"));
    rules.broken(400, Cause::BareCr, ErrorKind::InvalidData, chunked("5\r\r\nhello\r\n0\r\n\r\n"));
    // Past 64 bits it is too long, not small.
    rules.broken(400, Cause::ChunkSize, ErrorKind::InvalidData, chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"));
    for size in ["5", "05", "0000000000000005"] {
        assert_eq!(rules.served_one(chunked(format!("{size}\r\nhello\r\n0\r\n\r\n"))).content(), b"hello");
    }
    for (size, length) in [("a", 10), ("A", 10), ("1f", 31), ("1F", 31)] {
        let data = "x".repeat(length);
        assert_eq!(rules.served_one(chunked(format!("{size}\r\n{data}\r\n0\r\n\r\n"))).content().len(), length);
    }
    for zero in ["0", "00", "0000000000000000"] {
        assert_eq!(rules.served_one(chunked(format!("{zero}\r\n\r\n"))).content(), b"");
    }
}

#[test]
fn rfc9110_5_6_3_bad_white_space_in_a_chunk_extension_is_taken_and_ignored() {
    let rules = Rules::new();
    for extension in ["; a", " ;a", "\t;\ta", ";a =b", ";a= b", ";a \t = \t \"b\" ; c;d", ";a ;b"] {
        let call = rules.served_one(chunked(format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n")));
        assert_eq!(call.content(), b"hello", "{extension}");
    }
    // It counts as what it stands in.
    let long = format!("5 {};a\r\nhello\r\n0\r\n\r\n", " ".repeat(256));
    rules.broken(400, Cause::ChunkExtensionLong, ErrorKind::InvalidData, chunked(long));
}

#[test]
fn rfc9112_7_1_1_chunk_extensions_are_checked_by_the_grammar_and_ignored() {
    let rules = Rules::new();
    for extension in [";a", ";a=b", ";a=\"b c;\\\"\\\\\"", ";a;b=c;d=\"\"", ";a=\"\t\u{e9}\"", ";!#$%&'*+-.^_`|~=!#"] {
        let call = rules.served_one(chunked(format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n")));
        assert_eq!(call.content(), b"hello", "{extension}");
    }
    for extension in [
        ";",
        ";;",
        ";a=",
        ";=b",
        "; ",
        ";a ",
        ";a = ",
        ";a b",
        ";a=b c",
        ";a=\"b\" ",
        " ",
        "\t",
        " a",
        " 5",
        ";a=\"b",
        ";a=\"b\"c",
        ";a=b=c",
        ";a\0",
        ";a=\"\x01\"",
        ";a=\"\\\x01\"",
        ";(a)",
        ";a,b",
    ] {
        rules.broken(
            400,
            Cause::ChunkExtension,
            ErrorKind::InvalidData,
            chunked(format!("5{extension}\r\nhello\r\n0\r\n\r\n")),
        );
    }
    for extension in [";a\n", ";a=\"b\nc\"", ";\n", ";a=\n", " \n", "; \n", ";a \n"] {
        rules.broken(
            400,
            Cause::BareLf,
            ErrorKind::InvalidData,
            chunked(format!("5{extension}\r\nhello\r\n0\r\n\r\n")),
        );
    }
}

#[test]
fn rfc9112_7_1_1_a_bare_cr_in_a_chunk_extension_is_refused() {
    let rules = Rules::new();
    rules.broken(400, Cause::BareCr, ErrorKind::InvalidData, chunked("5;a\rb\r\nhello\r\n0\r\n\r\n"));
    rules.broken(400, Cause::BareCr, ErrorKind::InvalidData, chunked("5;a=b\r\r\nhello\r\n0\r\n\r\n"));
    rules.broken(400, Cause::ChunkExtension, ErrorKind::InvalidData, chunked("5;a=\"b\r\n\"\r\nhello\r\n0\r\n\r\n"));
}

#[test]
fn rfc9112_7_1_1_chunk_extensions_have_at_most_256_bytes_a_chunk_and_16_kib_in_all() {
    let rules = Rules::new();
    let one = |length: usize| chunked(format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(length - 1)));
    for length in [255, 256] {
        rules.served_one(one(length));
    }
    rules.broken(400, Cause::ChunkExtensionLong, ErrorKind::InvalidData, one(257));
    rules.broken(400, Cause::ChunkExtensionLong, ErrorKind::InvalidData, one(5_000));
    // 64 chunks of 256 bytes are 16 KiB. The data outweighs them, so that nothing else is at fault.
    let many = |last: usize| {
        let chunk = |extension: usize| format!("100;{}\r\n{}\r\n", "a".repeat(extension - 1), "x".repeat(256));
        chunked(format!("{}{}0\r\n\r\n", chunk(256).repeat(63), chunk(last)))
    };
    for last in [255, 256] {
        assert_eq!(rules.served_one(many(last)).content().len(), 64 * 256);
    }
    let more = |last: usize| {
        let chunk = |extension: usize| format!("100;{}\r\n{}\r\n", "a".repeat(extension - 1), "x".repeat(256));
        chunked(format!("{}{}0\r\n\r\n", chunk(256).repeat(64), chunk(last)))
    };
    rules.broken(400, Cause::ChunkExtensionLong, ErrorKind::InvalidData, more(1 + 1));
}

#[test]
fn rfc9112_7_1_chunk_data_is_followed_by_crlf() {
    let rules = Rules::new();
    for content in [
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\rX0\r\n\r\n",
        "5\r\nhello\r\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "6\r\nhello\r\n0\r\n\r\n",
    ] {
        rules.broken(400, Cause::ChunkEnd, ErrorKind::InvalidData, chunked(content));
    }
    let call = rules.served_one(chunked("1\r\nh\r\n4\r\nello\r\n0\r\n\r\n"));
    assert_eq!(call.content(), b"hello");
}

#[test]
fn rfc9112_7_1_2_trailers_obey_the_field_rules_and_are_not_merged() {
    let rules = Rules::new();
    let call = rules.served_one(chunked(
        "5\r\nhello\r\n0\r\nX-T: 1\r\nHost: evil\r\nContent-Length: 3\r\nAuthorization: x\r\nEmpty:\r\n\r\n",
    ));
    assert_eq!((call.content(), call.get("HTTP_HOST")), (&b"hello"[..], Some("a")));
    for name in ["HTTP_X_T", "HTTP_AUTHORIZATION", "CONTENT_LENGTH", "HTTP_EMPTY"] {
        assert_eq!(call.get(name), None);
    }
    for trailer in
        ["X : 1\r\n", "X\r\n", ": 1\r\n", " X: 1\r\n", "X: 1\r\n Y: 2\r\n", "X: a\0b\r\n", "X@: 1\r\n", "X: \x7F\r\n"]
    {
        rules.broken(400, Cause::Trailer, ErrorKind::InvalidData, chunked(format!("5\r\nhello\r\n0\r\n{trailer}\r\n")));
    }
    for trailer in ["X: 1\n", "\n", "X\n"] {
        rules.broken(400, Cause::BareLf, ErrorKind::InvalidData, chunked(format!("5\r\nhello\r\n0\r\n{trailer}\r\n")));
    }
    for trailer in ["X: 1\rY: 2\r\n", "\rX"] {
        rules.broken(400, Cause::BareCr, ErrorKind::InvalidData, chunked(format!("5\r\nhello\r\n0\r\n{trailer}\r\n")));
    }
}

#[test]
fn rfc9112_7_1_2_trailers_have_the_limits_of_fields() {
    let rules = Rules::new();
    let with = |trailers: String| chunked(format!("5\r\nhello\r\n0\r\n{trailers}\r\n"));
    let many = |count: usize| with((0..count).map(|at| format!("X{at}: 1\r\n")).collect());
    let long = |length: usize| with(format!("X: {}\r\n", "v".repeat(length - 3)));
    for fine in [many(99), many(100), long(8_189), long(8_190)] {
        assert_eq!(rules.served_one(fine).content(), b"hello");
    }
    for bad in [many(101), long(8_191)] {
        rules.broken(431, Cause::TrailerLong, ErrorKind::InvalidData, bad);
    }
    let whole = |last: usize| {
        let line = |length: usize| format!("X: {}\r\n", "v".repeat(length - 5));
        with(line(8_192).repeat(7) + &line(last))
    };
    assert_eq!(rules.served_one(whole(8_190)).content(), b"hello");
    rules.broken(431, Cause::TrailerLong, ErrorKind::InvalidData, whole(8_192));
}

#[test]
fn p_in_07_content_that_breaks_off_fails_and_never_ends_quietly() {
    let rules = Rules::new();
    // Small content is gathered before the application is called.
    for input in [post("Content-Length: 5\r\n", ""), post("Content-Length: 5\r\n", "hell")] {
        let mut verdict = rules.verdict(&input);
        assert_eq!(verdict.calls, []);
        rules.is_refusal(&mut verdict, 0, 400, Cause::ContentTruncated, &input);
    }
    rules.truncated(post("Content-Length: 20000\r\n", "x".repeat(19_999)));
    rules.truncated(post("Content-Length: 20000\r\n", ""));
    for content in
        ["", "5", "5\r", "5\r\n", "5\r\nhel", "5\r\nhello", "5\r\nhello\r", "5\r\nhello\r\n", "5\r\nhello\r\n0"]
    {
        rules.truncated(chunked(content));
    }
    // P-IN-05: without the last CRLF it is not the end (gunicorn #3382).
    for content in ["0\r\n", "0\r\n\r", "0\r\nX: 1\r\n", "0\r\nX: 1\r\n\r", "0;a"] {
        rules.truncated(chunked(content));
    }
    let verdict = rules.verdict(&post("Content-Length: 5\r\nConnection: close\r\n", "hello"));
    assert_eq!(verdict.calls[0].content(), b"hello");
}

#[test]
fn p_in_07_a_head_that_breaks_off_is_refused_and_silence_is_no_fault() {
    let rules = Rules::new();
    for input in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r"] {
        let mut verdict = rules.verdict(input.as_bytes());
        assert_eq!(verdict.calls, []);
        rules.is_refusal(&mut verdict, 0, 400, Cause::HeadTruncated, input.as_bytes());
    }
    // RFC 9112 section 2.2: an empty line is the beginning of no request.
    for input in ["", "\r\n", "\r", "\r\n\r\n"] {
        let verdict = rules.verdict(input.as_bytes());
        assert_eq!((verdict.calls.len(), verdict.responses.len()), (0, 0), "{input:?}");
    }
    assert_eq!(rules.house.log.causes(), []);
}

#[test]
fn tiny_chunks_with_more_overhead_than_data_over_64_kib_are_refused() {
    let rules = Rules::new();
    // A chunk of one byte has five bytes around it: 13,107 of them are 65,535 bytes, and the last chunk makes it more.
    let tiny = |count: usize| chunked(format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(count)));
    assert_eq!(rules.served_one(tiny(13_106)).content().len(), 13_106);
    rules.broken(400, Cause::ChunkOverhead, ErrorKind::InvalidData, tiny(13_200));
    // The same overhead with as much data is nothing special.
    let large = format!("{}20000\r\n{}\r\n0\r\n\r\n", "1\r\nx\r\n".repeat(13_000), "y".repeat(0x20000));
    assert_eq!(rules.served_one(chunked(large)).content().len(), 13_000 + 0x20000);
}

// ------------------------------------------------------------- Expect, Connection, pipelining (9110 §10.1.1, 9112 §9)

#[test]
fn rfc9110_10_1_1_an_expectation_of_1_0_is_ignored_and_an_unknown_one_is_417() {
    let rules = Rules::new();
    for value in ["x", "100-continue, x", "100", "100-continues", "", "200-ok", "\"100-continue\"", "100-continue;a"] {
        rules.refused(417, Cause::ExpectUnknown, post(format!("Content-Length: 5\r\nExpect: {value}\r\n"), "hello"));
        let call = rules.served_last(format!("POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: {value}\r\n\r\nhello"));
        assert_eq!(call.content(), b"hello");
    }
    for value in ["100-continue", "100-Continue", " 100-CONTINUE "] {
        let call = rules.served_one(post(format!("Content-Length: 5\r\nExpect:{value}\r\n"), "hello"));
        assert_eq!(call.content(), b"hello");
        rules.served_one(fields(format!("Expect:{value}\r\n")));
    }
}

#[test]
fn rfc9112_9_3_connection_says_whether_it_persists() {
    let rules = Rules::new();
    for close in
        ["close", "Close", "CLOSE", "keep-alive, close", "close, keep-alive", "x,close", "close,,", "x , close ,y"]
    {
        rules.served_last(fields(format!("Connection: {close}\r\n")));
    }
    rules.served_last(fields("Connection: keep-alive\r\nConnection: close\r\n"));
    rules.served_last(fields("Connection: close\r\nX: y\r\nconnection: keep-alive\r\n"));
    for keep in ["keep-alive", "Keep-Alive", "closed", "x", "", "close-not", "\"close\""] {
        rules.served_one(fields(format!("Connection: {keep}\r\n")));
    }
}

#[test]
fn rfc9112_9_3_http_1_0_persists_only_with_keep_alive_and_is_told_so() {
    let rules = Rules::new();
    for close in
        ["", "Connection: close\r\n", "Connection: x\r\n", "Connection: keep-alive, close\r\n", "Keep-Alive: 5\r\n"]
    {
        rules.served_last(format!("GET / HTTP/1.0\r\n{close}\r\n"));
    }
    for keep in ["keep-alive", "Keep-Alive", "x, keep-alive"] {
        let input = format!("GET / HTTP/1.0\r\nConnection: {keep}\r\n\r\n");
        let verdict = rules.verdict(&[input.as_bytes(), NEXT].concat());
        assert_eq!(verdict.calls.len(), 2);
        assert_eq!(verdict.responses[0].field("Connection"), Some("keep-alive"));
    }
    // HTTP/1.1 is not told what it knows.
    let verdict = rules.verdict(&[&fields("Connection: keep-alive\r\n")[..], NEXT].concat());
    assert_eq!(verdict.responses[0].field("Connection"), None);
}

#[test]
fn rfc9110_7_8_upgrade_is_an_offer_and_no_field_of_the_request() {
    let rules = Rules::new();
    let call = rules
        .served_one(fields("Upgrade: websocket, h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n"));
    assert_eq!((call.get("HTTP_UPGRADE"), call.get("HTTP_CONNECTION")), (None, None));
    assert_eq!(call.get("doorway.upgrade"), Some("websocket, h2c"));
}

#[test]
fn rfc9112_9_3_2_pipelined_requests_are_answered_in_order() {
    let rules = Rules::new();
    let calls = rules.served(
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
         POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n\r\n\
         GET /4 HTTP/1.1\r\nHost: a\r\n\r\nDELETE /5 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    );
    let seen: Vec<_> = calls.iter().map(|call| (call.get("PATH_INFO").unwrap(), call.content())).collect();
    let expected: [(&str, &[u8]); 5] = [("/1", b""), ("/2", b"hello"), ("/3", b"abc"), ("/4", b""), ("/5", b"")];
    assert_eq!(seen, expected);
}

#[test]
fn rfc9112_9_3_2_an_error_ends_the_sequence_and_nothing_behind_it_is_interpreted() {
    let rules = Rules::new();
    let good = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    rules.refused_after(2, 400, Cause::FieldSpace, format!("{good}{good}GET /bad HTTP/1.1\r\nHost : a\r\n\r\n{good}"));
    rules.refused_after(1, 505, Cause::VersionUnsupported, format!("{good}GET /bad HTTP/2.0\r\nHost: a\r\n\r\n{good}"));
    let verdict =
        rules.verdict(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n{good}{good}").as_bytes());
    assert_eq!((verdict.calls.len(), verdict.responses.len()), (1, 1));
}

#[test]
fn p_conn_01_smuggled_requests_are_never_seen() {
    let rules = Rules::new();
    // What a front server takes for content must never be taken for a request here, whatever the trick.
    for (status, cause, trick) in [
        (400, Cause::LengthAndCoding, "Content-Length: 47\r\nTransfer-Encoding: chunked\r\n"),
        (400, Cause::FieldSpace, "Transfer-Encoding : chunked\r\n"),
        (400, Cause::FieldFold, "X: y\r\n Transfer-Encoding: chunked\r\n"),
        (400, Cause::BareLf, "X: y\nTransfer-Encoding: chunked\r\n"),
        (400, Cause::BareCr, "X: y\rTransfer-Encoding: chunked\r\n"),
        (400, Cause::FieldRepeated, "Content-Length: 47\r\nContent-Length: 0\r\n"),
        (400, Cause::FieldRepeated, "Content-Length: 47\r\nContent-Length: 47\r\n"),
        (400, Cause::ContentLength, "Content-Length: 0, 47\r\n"),
        (400, Cause::FieldValue, "Transfer-Encoding: \x0bchunked\r\n"),
        (501, Cause::CodingUnknown, "Transfer-Encoding: xchunked\r\n"),
    ] {
        rules.refused(status, cause, post(trick, "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"));
    }
}

#[test]
fn refusals_of_head_requests_have_no_content() {
    let rules = Rules::new();
    let response = rules.refused(400, Cause::HostMissing, "HEAD / HTTP/1.1\r\n\r\n");
    assert_eq!(response.body, b"");
    rules.refused(400, Cause::FieldFold, "HEAD / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n");
}

#[test]
fn refusals_carry_date_server_and_a_plain_reason() {
    let rules = Rules::new();
    let mut client = rules.house.client();
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    let responses = parse_all(&client.until_close(), &[]);
    let [response] = &responses[..] else { panic!("{responses:?}") };
    assert_eq!((response.field("Server"), response.field("Content-Type")), (Some("doorway"), Some("text/plain")));
    assert!(response.field("Date").is_some_and(|date| date.len() == 29 && date.ends_with(" GMT")), "{response:?}");
    let seen = rules.house.log.take(Cause::HostMissing);
    assert_eq!((seen.request, seen.answer), (b"GET / HTTP/1.1".to_vec(), doorway::log::Answer::Status(400)));
}
