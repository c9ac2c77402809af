//! `app::Pass` before a program that says by uwsgi, SCGI or FastCGI what the input says; `upstream` has what must hold.
//!
//! Besides: a head in the form of CGI is read as a naive reading of RFC 3875 section 6 reads it; an answer of FastCGI without its end, or
//! with a record that is none, never looks whole; what is said to STDERR is one line of the log after the other, and no control of it.
//!
//! The first byte chooses the protocol, and for FastCGI whether the rest is records or is put into some.

use std::sync::OnceLock;
use std::time::Duration;

use doorway::app::Pass;

use super::Input;
use super::upstream::{Scene, Told, Upstream, check_response, is_refusal, read_answer};
use crate::packets::record;
use crate::support::show;

pub fn check(bytes: &[u8]) {
    static PASSES: OnceLock<(Upstream, [Pass; 3])> = OnceLock::new();
    let (upstream, passes) = PASSES.get_or_init(|| {
        let (upstream, limit) = (Upstream::new(), Duration::from_secs(15));
        let passes = [Pass::uwsgi, Pass::scgi, Pass::fastcgi].map(|protocol| {
            let pass = protocol(&upstream.address().to_string()).unwrap();
            pass.connect_deadline(limit).first_byte_deadline(limit).progress_deadline(limit)
        });
        (upstream, passes)
    });
    let mut input = Input::new(bytes);
    let (protocol, shape) = (input.below(4), usize::from(input.byte()));
    let scene = Scene::of(&mut input, |rest| if protocol == 3 { in_records(rest, shape) } else { rest.to_vec() });
    let response = upstream.ask(&passes[protocol.min(2)], &scene);
    let is_text = |byte: u8| byte >= b' ' && byte != 0x7F || matches!(byte, b'\t' | b'\n');
    assert!(response.errors.bytes().all(is_text), "{}\n{}", response.errors, show(&scene.said));
    if protocol < 2 {
        let is_http = scene.said.starts_with(b"HTTP/");
        let told = if is_http { read_answer(&scene.said, scene.is_head()) } else { read_cgi(&scene.said, &scene) };
        return check_response(&response, &told, &scene);
    }
    let records = read_records(&scene.said);
    let told = read_cgi(&records.content, &scene);
    // What ends by its own length, or with an END_REQUEST that something follows, may have gone before the rest came.
    let is_short = scene.is_head() || response.headers.contains("content-length");
    let is_decided = records.has_ended || is_short || matches!(response.status.code(), 204 | 304);
    if records.is_clean || (!is_refusal(&response) && is_decided) {
        check_response(&response, &told, &scene);
    } else {
        assert!(is_refusal(&response), "{} looks whole: {}", response.status.code(), show(&scene.said));
    }
}

/// An answer as a program of FastCGI sends it, in records of a size and with padding.
fn in_records(bytes: &[u8], shape: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in bytes.chunks(1 + shape % 60) {
        out.extend(record(6, 1, part, (shape / 4) as u8));
    }
    out.extend(record(6, 1, b"", 0));
    out.extend(record(3, 1, &[0; 8], 0));
    out
}

struct Records {
    content: Vec<u8>,
    has_ended: bool,
    /// It has ended, and nothing follows.
    is_clean: bool,
}

/// What stands in STDOUT up to the end, or to what is no record of this request (FastCGI 3.3, 5.5).
fn read_records(mut rest: &[u8]) -> Records {
    let mut records = Records { content: Vec::new(), has_ended: false, is_clean: false };
    while let [1, kind, high_id, low_id, high, low, padding, _, behind @ ..] = rest {
        let (id, length) = ([*high_id, *low_id], usize::from(u16::from_be_bytes([*high, *low])));
        let (Some(data), Some(behind)) = (behind.get(..length), behind.get(length + usize::from(*padding)..)) else {
            break;
        };
        rest = behind;
        match (kind, id) {
            (_, [0, 0]) => {}
            (3, [0, 1]) => {
                records.has_ended = data.get(4) == Some(&0);
                records.is_clean = records.has_ended && rest.is_empty();
                break;
            }
            (6, [0, 1]) => records.content.extend_from_slice(data),
            (_, [0, 1]) => {}
            _ => break,
        }
    }
    records
}

/// Reads an answer in the form of CGI (RFC 3875 section 6): as one of HTTP, with the status that it names.
fn read_cgi(bytes: &[u8], scene: &Scene) -> Told {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line_end: &[u8] = if first.ends_with(b"\r") { b"\r\n" } else { b"\n" };
    let Some(at) = bytes.windows(line_end.len() * 2).position(|part| part == line_end.repeat(2)) else {
        return Told::Broken;
    };
    let (head, content) = bytes.split_at(at + line_end.len());
    let (mut statuses, mut locations, mut lines) = (Vec::new(), 0, Vec::new());
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let Some(line) = line.strip_suffix(line_end).filter(|line| !line.contains(&b'\r')) else { return Told::Broken };
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Told::Broken };
        match &line[..colon].to_ascii_lowercase()[..] {
            b"status" => statuses.push(line[colon + 1..].trim_ascii()),
            b"location" => locations += 1,
            b"transfer-encoding" => return Told::Broken,
            _ => {}
        }
        lines.extend_from_slice(&[line, b"\r\n"].concat());
    }
    let status: &[u8] = match (&statuses[..], locations) {
        ([], 0) => b"200 OK",
        ([], 1) => b"302 Found",
        ([status], 0 | 1) => status,
        _ => return Told::Broken,
    };
    match status {
        [b'2'..=b'5', digits @ ..] if digits.iter().take_while(|byte| **byte != b' ').count() == 2 => {}
        _ => return Told::Broken,
    }
    let as_http = [b"HTTP/1.1 ", status, b"\r\n", &lines, b"\r\n", &content[line_end.len()..]].concat();
    read_answer(&as_http, scene.is_head())
}
