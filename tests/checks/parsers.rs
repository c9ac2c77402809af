//! Every parser of bytes that somebody else chose: it panics on none, its verdict does not depend on how they were cut, and where a
//! naive reading of the same grammar stands in `tests/reference`, both agree.

use std::io::BufReader;

use doorway::http::date;
use doorway::http::head::{self, Progress, Spans, may_be_decided};
use doorway::http::response_head::{self, Parsed};
use doorway::http::scan::is_target_byte;
use doorway::http::target;
use doorway::multipart::Limits;
use doorway::testing::Request;
use doorway::{Headers, SetCookie, escape_html, form_bytes, form_pairs, percent_decode, percent_encode};

use super::Input;
use crate::readings::form::parts_with;
use crate::readings::{
    Cuts, Variant, Verdict, both_read_target, cause_of, decoded, doorway_reads, limits_of, reference_reads, variants,
};
use crate::reference::{self, Policy, Stop};

/// How many parsers there are to choose from.
pub const PARSERS: usize = 11;

pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(PARSERS) {
        0 => head(&mut input, 0),
        1 => head(&mut input, 1),
        2 => chunked(&mut input, 0),
        3 => chunked(&mut input, 1),
        4 => targets(&mut input),
        5 => response(&mut input),
        6 => dates(&mut input),
        7 => forms(&mut input),
        8 => cookies(&mut input),
        9 => fields(&mut input),
        _ => files(&mut input),
    }
}

/// A place to cut, chosen by two bytes.
fn place(input: &mut Input<'_>) -> usize {
    let at = usize::from(input.byte()) << 8 | usize::from(input.byte());
    at % (input.rest.len() + 1)
}

// ------------------------------------------------------------------------------------------------------------ heads

fn head(input: &mut Input<'_>, number: usize) {
    let variant: &Variant = &variants()[number];
    let cut = place(input);
    let (bytes, limits, spans) = (input.rest, limits_of(&variant.policy), &mut Spans::new());
    let whole = doorway_reads(bytes, &limits, spans);
    let expected = reference_reads(bytes, &variant.policy);
    assert!(whole == expected, "doorway says {whole:?}\nthe reference says {expected:?}");
    let (beginning, _) = bytes.split_at(cut);
    let early = doorway_reads(beginning, &limits, spans);
    assert!(early == Verdict::Incomplete || early == whole, "of {cut} bytes {early:?}, of all {whole:?}");
    if let Verdict::Accepted(request) = &whole {
        let length = request.head.length;
        assert!(early == whole || cut < length, "{cut} bytes hold the whole head of {length} and are undecided");
        // The gate may wait for the end of a line to refuse, but never with a head that is whole.
        let mut progress = Progress::default();
        may_be_decided(&bytes[..cut.min(length - 1)], &mut progress, &limits);
        assert!(may_be_decided(&bytes[..length], &mut progress, &limits), "the head is whole, and nobody is told");
    }
}

fn chunked(input: &mut Input<'_>, number: usize) {
    let policy = Policy { content: None, ..variants()[number].policy };
    let cut = place(input);
    let bytes = input.rest;
    let whole = decoded(bytes, &policy, Cuts::Nowhere);
    let expected = match reference::chunked::read_chunked(bytes, &policy) {
        Ok(read) => (Ok(read.content), Some(read.length)),
        Err(Stop::More) => (Err(None), Some(bytes.len())),
        Err(Stop::Fault(fault)) => (Err(Some(cause_of(fault))), None),
    };
    let agrees = whole.0 == expected.0 && expected.1.is_none_or(|length| length == whole.1);
    assert!(agrees, "doorway says {whole:?}\nthe reference says {expected:?}");
    for cuts in [Cuts::After(cut), Cuts::Everywhere] {
        assert_eq!(decoded(bytes, &policy, cuts), whole, "{cuts:?}");
    }
}

fn targets(input: &mut Input<'_>) {
    let method: &[u8] = [&b"GET"[..], b"OPTIONS", b"CONNECT", b"get"][input.below(4)];
    let text: Vec<u8> = input.rest.iter().copied().filter(|byte| is_target_byte(*byte)).collect();
    let [found, expected] = both_read_target(&text, method);
    assert_eq!(found, expected);
    assert_eq!(target::is_host(input.rest), reference::target::is_host(input.rest, false), "is it a host");
}

fn response(input: &mut Input<'_>) {
    let is_small = input.below(2) == 1;
    let to_head = input.below(2) == 1;
    let limits = if is_small { limits_of(&variants()[1].policy) } else { head::Limits::default() };
    let cut = place(input);
    let (bytes, mut spans, mut others) = (input.rest, Spans::new(), Spans::new());
    let early = response_head::parse(&bytes[..cut], &limits, &mut others);
    match (response_head::parse(bytes, &limits, &mut spans), early) {
        (Parsed::Incomplete, Parsed::Incomplete) => {}
        (Parsed::Invalid(cause), Parsed::Invalid(early)) => assert_eq!(cause, early),
        (Parsed::Invalid(_), Parsed::Incomplete) => {}
        (Parsed::Complete(head), early) => {
            assert!(head.len() <= bytes.len() && head.len() <= limits.head && head.fields().len() <= limits.fields);
            assert!((100..=999).contains(&head.status()));
            match early {
                Parsed::Complete(early) => assert_eq!((early.len(), early.status()), (head.len(), head.status())),
                Parsed::Incomplete => assert!(cut < head.len()),
                Parsed::Invalid(cause) => panic!("{cause} of {cut} bytes of a valid head"),
            }
            // The fields, put together again, are the same fields.
            let mut again = b"HTTP/1.1 200 OK\r\n".to_vec();
            for (name, value) in head.fields() {
                assert!(head.values(std::str::from_utf8(name).expect("a token")).any(|other| other == value));
                again.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
            }
            again.extend_from_slice(b"\r\n");
            match response_head::parse(&again, &head::Limits::default(), &mut others) {
                Parsed::Complete(other) => assert!(other.fields().eq(head.fields())),
                // Two bytes behind a colon that had none can make a line too long.
                other => assert!(matches!(other, Parsed::Invalid(_)), "{other:?}"),
            }
            let content = response_head::content(&head, to_head);
            if to_head || matches!(head.status(), 100..=199 | 204 | 304) {
                assert_eq!(content, Ok(response_head::Content::None));
            }
        }
        (whole, early) => panic!("of {cut} bytes {early:?}, of all {whole:?}"),
    }
}

// ------------------------------------------------------------------------------------------------ what applications use

fn dates(input: &mut Input<'_>) {
    let mut number = || (0..6).fold(0u64, |number, _| number << 8 | u64::from(input.byte()));
    // The naive reading walks there month by month.
    let (at, now) = (number() % 8_000_000_000, number() % 8_000_000_000);
    let civil = date::civil(at);
    let moment = reference::date::moment(at);
    assert_eq!(u64::from(civil.year), moment.0, "{at}");
    let found = [civil.month, civil.day, civil.hour, civil.minute, civil.second].map(u64::from);
    assert_eq!(found, [moment.1, moment.2, moment.3, moment.4, moment.5], "{at}");
    let written = date::imf_fixdate(at);
    assert_eq!(date::parse_http_date(&written, now), Some(at));
    let (expected, is_close) = reference::date::read(input.rest, now);
    let found = date::parse_http_date(input.rest, now);
    assert!(found == expected || is_close, "{found:?} not {expected:?}, now {now}");
}

fn forms(input: &mut Input<'_>) {
    let bytes = input.rest;
    let pairs: Vec<_> = form_bytes(bytes).collect();
    assert_eq!(pairs.len(), bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).count());
    assert_eq!(form_pairs(bytes).count(), pairs.len());
    // Written again, it is read as the same.
    let mut again = String::new();
    for (at, (name, value)) in pairs.iter().enumerate() {
        again.push_str(if at == 0 { "" } else { "&" });
        percent_encode(name, b"", &mut again);
        again.push('=');
        percent_encode(value, b"", &mut again);
    }
    assert!(form_bytes(&again).eq(pairs.iter().cloned()));
    let mut plain = Vec::new();
    percent_decode(bytes, &mut plain);
    assert_eq!(plain, reference::target::decode(bytes));
    let text = String::from_utf8_lossy(bytes);
    let escaped = escape_html(&text);
    assert!(!escaped.contains(['<', '>', '"', '\'']));
    let back = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    assert_eq!(back.replace("&amp;", "&"), text);
}

fn cookies(input: &mut Input<'_>) {
    let (line, name, value) = (input.until(0), input.until(0), input.until(0));
    let environ = Request::get("/").header("Cookie", line).environ();
    for (name, value) in environ.cookies() {
        assert!(!name.contains(['=', ';']) && !value.contains(';'), "{name:?} {value:?}");
    }
    let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    let (path, domain) = (String::from_utf8_lossy(input.until(0)), String::from_utf8_lossy(input.rest));
    let cookie = SetCookie::new(&*name, &*value).path(path).domain(domain).secure();
    if let Ok(text) = cookie.build() {
        // No part has become another part, and what a browser sends back is read as what was set.
        assert_eq!(text.matches(';').count(), 3, "{text}");
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
        let sent = text.split(';').next().unwrap_or_default();
        let environ = Request::get("/").header("Cookie", sent).environ();
        assert_eq!(environ.cookie(&name).as_deref(), Some(&*value));
    }
}

/// A form with files, however its reader is filled.
fn files(input: &mut Input<'_>) {
    let (is_small, most) = (input.below(2) == 1, 1 + usize::from(input.byte()));
    let mut limits = Limits::default();
    if is_small {
        (limits.parts, limits.head, limits.fields, limits.preamble) = (3, 100, 2, 20);
    }
    let whole = parts_with(input.rest, "b", limits);
    for most in [most, 1] {
        let cut = parts_with(BufReader::with_capacity(most, input.rest), "b", limits);
        assert_eq!(cut, whole, "{most} bytes at once");
    }
}

/// Operations on fields of a response, held against a list of pairs.
fn fields(input: &mut Input<'_>) {
    let mut headers = Headers::new();
    let mut list: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut doubled = 0;
    let names: [&[u8]; 6] = [b"A", b"a", b"Vary", b"vary", b"Set-Cookie", b"Content-Length"];
    while !input.rest.is_empty() {
        let (what, name) = (input.below(6), names[input.below(6)]);
        let value = input.until(b'\n');
        let is = |(other, _): &(Vec<u8>, Vec<u8>)| other.eq_ignore_ascii_case(name);
        match what {
            0 | 1 => {
                headers.add(name, value);
                list.push((name.to_vec(), value.to_vec()));
            }
            2 => {
                headers.set(name, value);
                let at = list.iter().position(is);
                let pair = (name.to_vec(), value.to_vec());
                match at {
                    Some(at) => {
                        let behind = list.split_off(at);
                        list.push(pair);
                        list.extend(behind.into_iter().filter(|pair| !is(pair)));
                    }
                    None => list.push(pair),
                }
            }
            3 => {
                headers.remove(name);
                list.retain(|pair| !is(pair));
            }
            4 => {
                headers.set_default(name, value);
                if !list.iter().any(is) {
                    list.push((name.to_vec(), value.to_vec()));
                }
            }
            // Doubled again and again it would not end.
            _ if doubled < 4 => {
                let copy = headers.clone();
                headers.extend(&copy);
                list.extend(list.clone());
                doubled += 1;
            }
            _ => {
                headers.clear();
                list.clear();
            }
        }
        assert!(headers.iter().eq(list.iter().map(|(name, value)| (&name[..], &value[..]))), "{headers:?}");
    }
    if headers.check().is_ok() {
        let bytes = [b"HTTP/1.1 200 OK\r\n", &headers.to_bytes()[..]].concat();
        let mut spans = Spans::new();
        let mut limits = head::Limits::default();
        (limits.field_line, limits.fields, limits.head) = (bytes.len(), list.len(), bytes.len() + 1);
        match response_head::parse(&bytes, &limits, &mut spans) {
            Parsed::Complete(head) => assert!(head.len() == bytes.len() && head.fields().len() == list.len()),
            Parsed::Invalid(cause) => panic!("{cause}"),
            Parsed::Incomplete => panic!("fields that passed the check are no head"),
        }
    }
}
