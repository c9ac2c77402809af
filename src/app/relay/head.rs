//! The head of an answer as one of this server: what a server of HTTP says, and what a program says in the form of CGI.
//!
//! RFC 9110 sections 7.6.1 and 15.2, RFC 9112 sections 4 and 5, RFC 3875 section 6. No socket here: bytes in, values out. A head of
//! CGI is brought to the form of HTTP and read by the same strict parser, so that nothing passes here that could be read in two ways. Its
//! lines end in CRLF or in LF (RFC 3875 section 6 leaves that to the system), but all of them in the same.

use super::reading::Reading;
use super::{Answer, Failure, Fault, TakeHead};
use crate::cause::Cause;
use crate::gateway::{Headers, is_hop_by_hop};
use crate::http::head::{Limits, Spans, Version};
use crate::http::scan;
use crate::web::response_head::{self, Content, Parsed, ResponseHead};

/// How many interim responses (1xx) may come before the answer.
const MAX_INTERIM: usize = 16;

/// What an upstream's head may be: a field line as long as servers of applications send them (16 KiB is what Node.js takes for a whole head), for
/// cookies and policies; for the rest as a request.
const LIMITS: Limits = Limits { target: 0, field_line: 16_384, fields: 100, head: 65_536 };

/// Where a redirect leads that is to be rewritten; `None` leaves it as it is.
type Rewrite<'call> = Box<dyn Fn(&[u8]) -> Option<String> + 'call>;

fn invalid(detail: impl std::fmt::Display) -> Failure {
    Fault::new(Cause::UpstreamInvalid, detail).into()
}

/// Reads heads of HTTP until the final one is whole.
pub(crate) struct HttpHead<'call> {
    to_head: bool,
    rewrite: Rewrite<'call>,
    /// The protocol that it was asked to switch to.
    upgrade: Option<String>,
    interim: usize,
}

impl<'call> HttpHead<'call> {
    /// `to_head` says that the request was a HEAD.
    pub(crate) fn new(to_head: bool, rewrite: impl Fn(&[u8]) -> Option<String> + 'call) -> HttpHead<'call> {
        HttpHead { to_head, rewrite: Box::new(rewrite), upgrade: None, interim: 0 }
    }

    /// It may switch to this protocol.
    pub(crate) fn or_upgrade(mut self, protocol: Option<&str>) -> HttpHead<'call> {
        self.upgrade = protocol.map(str::to_owned);
        self
    }

    /// RFC 9110 section 7.8: 101 says which protocol it is, and it is none that was not asked for.
    fn switched(&self, head: &ResponseHead<'_>) -> Result<Answer, Failure> {
        let asked = self.upgrade.as_deref().ok_or_else(|| invalid("it switches protocols, which nobody asked for"))?;
        let mut said = head.values("upgrade");
        match (said.next(), said.next()) {
            (Some(said), None) if said.eq_ignore_ascii_case(asked.as_bytes()) => {}
            _ => return Err(invalid(format_args!("it switches to something else than {asked}"))),
        }
        Ok(Answer { upgrade: Some(asked.to_owned()), ..answer(head, self.to_head, &self.rewrite)? })
    }
}

impl TakeHead for HttpHead<'_> {
    /// Interim responses are for whoever asked the upstream, and end here.
    fn take(&mut self, received: &mut Vec<u8>) -> Result<Option<Answer>, Failure> {
        let mut spans = Spans::new();
        loop {
            let (length, answer) = match response_head::parse(received, &LIMITS, &mut spans) {
                Parsed::Incomplete => return Ok(None),
                Parsed::Invalid(cause) => return Err(invalid(cause)),
                Parsed::Complete(head) if head.status() == 101 => (head.len(), Some(self.switched(&head)?)),
                Parsed::Complete(head) if head.status() < 200 => (head.len(), None),
                Parsed::Complete(head) => (head.len(), Some(answer(&head, self.to_head, &self.rewrite)?)),
            };
            received.drain(..length);
            if answer.is_some() {
                return Ok(answer);
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(invalid("it sends interim responses without end"));
            }
        }
    }
}

fn answer(head: &ResponseHead<'_>, to_head: bool, rewrite: &Rewrite<'_>) -> Result<Answer, Failure> {
    let content = response_head::content(head, to_head).map_err(invalid)?;
    if head.status() > 599 {
        return Err(invalid(format_args!("there is no status {}", head.status())));
    }
    // A reason is text for people; what is no text of theirs is left out.
    let reason: String = String::from_utf8_lossy(head.reason()).chars().filter(|c| !c.is_control()).collect();
    let mut headers = Headers::new();
    for (name, value) in head.fields() {
        // `Status` is a field at the CGI-shaped doors only, and would change the status there.
        let is_own = name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"status");
        if is_own || is_hop_by_hop(name) || is_named_by_connection(head, name) {
            continue;
        }
        let rewritten = name.eq_ignore_ascii_case(b"location").then(|| rewrite(value)).flatten();
        headers.add(name, rewritten.as_deref().map_or(value, str::as_bytes));
    }
    let length = match content {
        Content::Length(length) => Some(length),
        // RFC 9110 section 8.6: with HEAD and 304, the length that GET would have had.
        Content::None => only_length(head),
        Content::Chunked | Content::Close => None,
    };
    if let Some(length) = length {
        headers.add("Content-Length", length.to_string());
    }
    // RFC 9112 section 9.3.
    let is_last = head.version() == Version::Http10 || is_named_by_connection(head, b"close");
    let status = format!("{} {reason}", head.status());
    Ok(Answer { status, headers, reading: Reading::of(content), is_last, upgrade: None })
}

// RFC 9110 section 7.6.1: fields that Connection names are for this connection.
fn is_named_by_connection(head: &ResponseHead<'_>, name: &[u8]) -> bool {
    let mut options = head.values("connection").flat_map(|value| value.split(|byte| *byte == b','));
    options.any(|option| scan::trim_ows(option).eq_ignore_ascii_case(name))
}

fn only_length(head: &ResponseHead<'_>) -> Option<u64> {
    let mut values = head.values("content-length");
    let value = values.next().filter(|value| value.len() <= 19 && value.iter().all(u8::is_ascii_digit))?;
    if values.next().is_some() { None } else { std::str::from_utf8(value).ok()?.parse().ok() }
}

/// Which forms besides the one of CGI are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A status line too, as uWSGI and servers of SCGI write it.
    CgiOrHttp,
    /// Nothing else: FastCGI.
    Cgi,
    /// Nothing else, and a path alone in Location is another request to this server (RFC 3875 section 6.2.2).
    CgiOfProgram,
}

/// Reads a head in the form of CGI.
pub(crate) struct CgiHead {
    to_head: bool,
    form: Form,
    /// Up to here there is no end of the head.
    looked: usize,
    /// Reads the rest of what began with a status line, interim responses before the answer too.
    http: Option<HttpHead<'static>>,
}

impl CgiHead {
    /// `to_head` says that the request was a HEAD.
    pub(crate) fn new(to_head: bool, form: Form) -> CgiHead {
        CgiHead { to_head, form, looked: 0, http: None }
    }

    /// Where the content begins: behind the first empty line.
    fn end(&mut self, received: &[u8]) -> Option<usize> {
        let mut from = self.looked;
        while let Some(at) = received.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
            from += at + 1;
            match received.get(from..) {
                Some([b'\n', ..]) => return Some(from + 1),
                Some([b'\r', b'\n', ..]) => return Some(from + 2),
                Some([] | [b'\r']) => {
                    self.looked = from - 1;
                    return None;
                }
                _ => {}
            }
        }
        self.looked = received.len();
        None
    }
}

impl TakeHead for CgiHead {
    fn take(&mut self, received: &mut Vec<u8>) -> Result<Option<Answer>, Failure> {
        const LINE: &[u8] = b"HTTP/";
        if let Some(http) = &mut self.http {
            return http.take(received);
        }
        let beginning = received.get(..LINE.len()).unwrap_or(received);
        if beginning == LINE {
            return match self.form {
                Form::CgiOrHttp => self.http.insert(HttpHead::new(self.to_head, |_| None)).take(received),
                Form::Cgi => Err(invalid("it begins with a status line, where FastCGI has a field Status")),
                Form::CgiOfProgram => Err(invalid(
                    "it begins with a status line: a program that writes whole responses (NPH) cannot run here; let it \
                     write a field Status",
                )),
            };
        }
        if LINE.starts_with(beginning) {
            return Ok(None);
        }
        // Fields behind it would be seen as such by some and as content by others.
        if received.starts_with(b"\n") || received.starts_with(b"\r\n") {
            return Err(invalid("it begins with an empty line"));
        }
        let most = LIMITS.head;
        let Some(end) = self.end(received).filter(|end| *end <= most) else {
            return if received.len() < most { Ok(None) } else { Err(invalid(Cause::HeadLong)) };
        };
        let (head, _) = received.split_at(end);
        let as_http = self.as_http(head)?;
        let mut spans = Spans::new();
        let limits = Limits { head: as_http.len(), ..LIMITS };
        let taken = match response_head::parse(&as_http, &limits, &mut spans) {
            Parsed::Invalid(cause) => return Err(invalid(cause)),
            Parsed::Incomplete => return Err(invalid("it has no head")),
            Parsed::Complete(head) if head.values("transfer-encoding").next().is_some() => {
                return Err(invalid("it has a transfer coding, which is the server's"));
            }
            Parsed::Complete(head) => answer(&head, self.to_head, &(Box::new(|_: &[u8]| None) as Rewrite<'_>))?,
        };
        received.drain(..end);
        // No form of CGI says what comes behind an answer.
        Ok(Some(Answer { is_last: true, ..taken }))
    }
}

impl CgiHead {
    /// The same head behind a status line, with lines that end in CRLF.
    fn as_http(&self, head: &[u8]) -> Result<Vec<u8>, Failure> {
        let is_bare = !head.iter().take_while(|byte| **byte != b'\n').any(|byte| *byte == b'\r');
        let mut lines = Vec::with_capacity(head.len() + 64);
        let (mut status, mut location, mut fields) = (None, None, 0);
        for line in head.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            if is_bare && text.contains(&b'\r') {
                return Err(invalid("its lines end in LF, and there is a CR"));
            }
            lines.extend_from_slice(text);
            lines.extend_from_slice(if is_bare { b"\r\n" } else { b"\n" });
            let Some(colon) = text.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = text.split_at(colon);
            let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
            fields += 1;
            let place = if name.eq_ignore_ascii_case(b"status") {
                &mut status
            } else if name.eq_ignore_ascii_case(b"location") {
                &mut location
            } else {
                continue;
            };
            if place.replace(value).is_some() {
                return Err(invalid(Cause::FieldRepeated));
            }
        }
        if fields == 0 {
            return Err(invalid("it has no head"));
        }
        let status = match (status, location) {
            (Some(status), _) => status_line(status)?,
            // RFC 3875 sections 6.2.2 and 6.2.3: with another field, a cookie, it is for the client.
            (None, Some(path)) if self.form == Form::CgiOfProgram && fields == 1 && path.starts_with(b"/") => {
                return Err(Failure::Elsewhere(path.to_vec()));
            }
            (None, Some(_)) => b"302 Found".as_slice(),
            (None, None) => b"200 OK",
        };
        Ok([b"HTTP/1.1 ", status, b"\r\n", &lines].concat())
    }
}

/// A final status of three digits, alone or with a reason behind a space.
fn status_line(status: &[u8]) -> Result<&[u8], Failure> {
    match status {
        [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'] | [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', b' ', ..] => Ok(status),
        _ => Err(invalid(format_args!("there is no status {:?}", String::from_utf8_lossy(status)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(form: Form, bytes: &[u8]) -> Result<Option<(String, usize, Vec<u8>)>, String> {
        let mut received = bytes.to_vec();
        match CgiHead::new(false, form).take(&mut received) {
            Ok(answer) => Ok(answer.map(|answer| (answer.status, answer.headers.len(), received))),
            Err(Failure::Upstream(fault)) => Err(fault.to_string()),
            Err(Failure::Elsewhere(path)) => Err(format!("elsewhere {}", String::from_utf8_lossy(&path))),
            Err(_) => panic!("no such failure"),
        }
    }

    #[test]
    fn rfc3875_6_a_head_has_a_status_or_one_that_follows_from_its_fields() {
        for (head, status, fields) in [
            ("Content-Type: text/plain\r\n\r\n", "200 OK", 1),
            ("Content-Type: text/plain\n\n", "200 OK", 1),
            ("Status: 404 Not Found\r\nA: b\r\n\r\n", "404 Not Found", 1),
            ("status:404\nA: b\n\n", "404 ", 1),
            ("Location: http://a/\r\n\r\n", "302 Found", 1),
            ("Location: /a\nStatus: 303 See Other\n\n", "303 See Other", 1),
            ("Content-Length: 4\r\nConnection: close\r\n\r\n", "200 OK", 1),
        ] {
            for form in [Form::Cgi, Form::CgiOrHttp, Form::CgiOfProgram] {
                let whole = format!("{head}rest");
                assert_eq!(
                    taken(form, whole.as_bytes()),
                    Ok(Some((status.into(), fields, b"rest".to_vec()))),
                    "{head:?}"
                );
                for end in 0..head.len() {
                    assert_eq!(taken(form, &head.as_bytes()[..end]), Ok(None), "{head:?} at {end}");
                }
            }
        }
    }

    #[test]
    fn the_same_head_is_found_one_byte_at_a_time() {
        for head in ["A: b\r\nStatus: 201 Made\r\n\r\n", "A: b\nStatus: 201 Made\n\n"] {
            let (mut received, mut reader) = (Vec::new(), CgiHead::new(false, Form::Cgi));
            for (at, byte) in head.bytes().enumerate() {
                received.push(byte);
                let taken = reader.take(&mut received).ok().expect("a valid head");
                assert_eq!(taken.map(|answer| answer.status).as_deref(), (at + 1 == head.len()).then_some("201 Made"));
            }
        }
    }

    #[test]
    fn a_head_that_could_be_read_in_two_ways_is_refused_with_its_cause() {
        let long = format!("A: {}\r\n\r\n", "x".repeat(70_000));
        for (head, part) in [
            ("A: b\r\nB: c\n\r\n", "bare-lf"),
            ("A: b\nB: c\r\n\n", "there is a CR"),
            ("A: b\n\r\n", "there is a CR"),
            ("Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "field-repeated"),
            ("Content-Length: x\n\n", "content-length"),
            ("Content-Length: 1\nTransfer-Encoding: chunked\n\n", "the server's"),
            ("Transfer-Encoding: chunked\n\n", "the server's"),
            ("Status: 200 OK\nStatus: 404 Not Found\n\n", "field-repeated"),
            ("Status: 100 Continue\n\n", "no status"),
            ("Status: 2000\n\n", "no status"),
            ("Status: OK\n\n", "no status"),
            ("Status: 200 O\x01K\n\n", "status-line"),
            ("A b\n\n", "no head"),
            ("A: b\nhello\n\n", "field-colon"),
            ("A : b\n\n", "field-space"),
            ("A: b\n c\n\n", "field-fold"),
            ("A: \0\n\n", "field-value"),
            ("\r\n\r\n", "empty line"),
            ("\nA: b\n\n", "empty line"),
            ("\r\nA: b\r\n\r\n", "empty line"),
            (&long, "head-long"),
        ] {
            let error = taken(Form::Cgi, head.as_bytes()).expect_err(head);
            assert!(error.contains(part) && error.starts_with("5003 "), "{head:?}: {error}");
        }
    }

    #[test]
    fn a_status_line_is_for_servers_that_may_write_one() {
        let line = b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nrest";
        assert_eq!(taken(Form::CgiOrHttp, line), Ok(Some(("404 Not Found".into(), 1, b"rest".to_vec()))));
        assert!(taken(Form::Cgi, line).unwrap_err().contains("status line"));
        assert!(taken(Form::CgiOfProgram, line).unwrap_err().contains("NPH"));
        assert!(taken(Form::CgiOrHttp, b"HTTP/1.1 200 OK\nA: b\n\n").unwrap_err().contains("status-line"));
        assert_eq!(taken(Form::CgiOrHttp, b"HTT"), Ok(None));
    }

    #[test]
    fn rfc9110_15_2_what_follows_an_interim_response_is_http_too_however_it_is_cut() {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        for (rest, is_taken) in [(&b"HTTP/1.1 200 OK\r\n\r\n"[..], true), (b"Status: 200\r\n\r\n", false)] {
            let whole = [interim, rest].concat();
            for cut in 0..whole.len() {
                let (mut reader, mut received) = (CgiHead::new(false, Form::CgiOrHttp), whole[..cut].to_vec());
                let early = reader.take(&mut received);
                received.extend_from_slice(&whole[cut..]);
                let is_answer = early.and_then(|_| reader.take(&mut received)).is_ok_and(|answer| answer.is_some());
                assert_eq!(is_answer, is_taken, "{cut} {}", rest.escape_ascii());
            }
        }
        let (mut reader, mut received) = (CgiHead::new(false, Form::CgiOrHttp), Vec::new());
        let is_refused = |_| {
            received.extend_from_slice(interim);
            reader.take(&mut received).is_err()
        };
        assert!((0..=MAX_INTERIM).any(is_refused), "interim responses without end");
    }

    #[test]
    fn rfc3875_6_2_2_a_path_alone_is_another_request_for_a_program_only() {
        assert_eq!(taken(Form::CgiOfProgram, b"Location: /a?b\n\n"), Err("elsewhere /a?b".into()));
        assert!(taken(Form::Cgi, b"Location: /a?b\n\n").is_ok());
        let with_a_cookie = taken(Form::CgiOfProgram, b"Location: /a\nSet-Cookie: b=c\n\n");
        assert_eq!(with_a_cookie, Ok(Some(("302 Found".into(), 2, Vec::new()))));
    }
}
