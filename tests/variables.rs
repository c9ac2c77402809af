//! What becomes of a head: every variable that the application sees, beside those of the naive reading in `reference/`, request after request
//! on one connection, so that what was kept of one head for the next would show.
//!
//! A variable may be a place in the bytes that were received. So the heads here are those that shift places: fields that come again and are
//! joined, before, between and behind others, names in any case and order, and lengths around powers of two. `DOORWAY_CASES=1000000` runs
//! more than the usual number.

// What several of these share is used by none of them in full.
mod readings;
mod reference;
mod support;

mod apps;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use doorway::{Application, Body, Environ, Settings, StartResponse};
use readings::served::is_of_request;
use reference::Policy;
use reference::connection::read_all;
use reference::generator::{Random, TCHARS};
use support::{in_memory_with, locked, orders, show};

/// Variables of a request by their names.
type Variables = BTreeMap<String, Vec<u8>>;

/// Compares the variables of one call after the other with those that are expected, the next at the end, and keeps the first difference.
#[derive(Clone, Default)]
struct Comparing(Arc<Mutex<(Vec<Variables>, Option<String>)>>);

impl Application for Comparing {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let mut state = locked(&self.0);
        if let (Some(expected), None) = (state.0.pop(), &state.1) {
            state.1 = difference(environ, &expected);
        }
        start_response.start("200 OK", &[]);
        Body::empty()
    }
}

/// What is not as expected, in words.
fn difference(environ: &Environ, expected: &Variables) -> Option<String> {
    let all: Vec<_> = environ.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    let seen: Variables = all.iter().cloned().collect();
    if seen.len() != all.len() {
        return Some(format!("a name stands twice in {all:?}"));
    }
    let of_request = |all: &Variables| all.clone().into_iter().filter(|(name, _)| is_of_request(name)).collect();
    let seen: Variables = of_request(&seen);
    if seen != *expected {
        return Some(format!("{seen:?}\ninstead of {expected:?}"));
    }
    let mut edited = environ.clone();
    edited.remove("HTTP_HOST");
    edited.set("HTTP_ACCEPT", "another");
    edited.set("SERVER_SOFTWARE", "another");
    for (name, value) in expected {
        let field = name.strip_prefix("HTTP_").or(name.starts_with("CONTENT_").then_some(name));
        let by_field = field.map(|name| environ.header_bytes(&name.to_lowercase().replace('_', "-")));
        let kept = edited.bytes(name) == Some(value) || matches!(&**name, "HTTP_HOST" | "HTTP_ACCEPT");
        if environ.bytes(name) != Some(value) || by_field.is_some_and(|found| found != Some(value)) || !kept {
            return Some(format!("{name} is looked up as {:?}, {by_field:?}", environ.bytes(name)));
        }
    }
    let edits = [("HTTP_HOST", None), ("HTTP_ACCEPT", Some(&b"another"[..])), ("SERVER_SOFTWARE", Some(b"another"))];
    let wrong = edits.into_iter().find(|(name, value)| edited.bytes(name) != *value);
    let twice = edited.iter().filter(|(name, _)| *name == "SERVER_SOFTWARE").count() != 1;
    (wrong.is_some() || twice).then(|| format!("after an edit {wrong:?}, twice {twice}"))
}

/// Has doorway read the heads as requests of one connection. Panics where a variable is not that of the naive reading.
fn compare(heads: &[Vec<u8>], policy: &Policy, configure: fn(&mut Settings)) {
    let mut expected = Vec::new();
    for head in heads {
        let mut read = read_all(head, policy, true);
        let call = read.calls.pop().filter(|_| read.calls.is_empty() && read.fault().is_none());
        expected.push(call.unwrap_or_else(|| panic!("{:?}: {}", read.answers, show(head))).variables);
    }
    expected.reverse();
    let comparing = Comparing::default();
    locked(&comparing.0).0 = expected;
    let (_, log) = in_memory_with(heads.iter().map(|head| &head[..]), comparing.clone(), configure);
    let (left, difference) = std::mem::take(&mut *locked(&comparing.0));
    assert_eq!(difference, None);
    assert!(left.is_empty(), "{} were not answered: {:?}", left.len(), log.causes());
}

fn request(target: &str, lines: &[String]) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: a:1\r\n{}\r\n", lines.concat()).into_bytes()
}

fn usual(_: &mut Settings) {}

#[test]
fn p_env_12_what_follows_a_repeated_field_keeps_its_value_in_every_order() {
    for repeated in [["Accept: first", "Accept: second"], ["Cookie: a=1", "cookie: b=2"], ["X-Own: 1", "x-OWN: 22"]] {
        let others = ["Referer: http://a/", "X-Other: other", "User-Agent: agent", "Connection: keep-alive"];
        let lines = [&repeated[..], &others[..]].concat();
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let heads: Vec<_> = orders(&lines).iter().map(|lines| request("/a%20path?query", lines)).collect();
        compare(&heads, &Policy::default(), usual);
    }
}

#[test]
fn p_env_12_fields_that_take_turns_are_each_joined_in_their_order() {
    let line = |name: &str, value: &str| format!("{name}: {value}\r\n");
    let lines = ["Accept", "X-Own", "Cookie", "X-Own", "Accept", "X-Last", "Cookie", "X-Own", "Accept", "X-Last"];
    let counted = lines.iter().enumerate().map(|(at, name)| line(name, &at.to_string()));
    let mut heads = vec![request("/", &counted.collect::<Vec<_>>())];
    for length in [0, 1, 30, 5_000] {
        let long = lines.iter().map(|name| line(name, &"x".repeat(length)));
        heads.push(request("/", &long.collect::<Vec<_>>()));
    }
    compare(&heads, &Policy::default(), usual);
}

#[test]
fn variables_of_every_length_around_powers_of_two_are_whole() {
    let policy = Policy { target: 70_000, field_line: 70_000, head: 300_000, ..Policy::default() };
    let configure = |settings: &mut Settings| {
        (settings.max_target, settings.max_field_line, settings.max_head) = (70_000, 70_000, 300_000);
    };
    let mut heads = Vec::new();
    for power in [0, 3, 4, 5, 7, 8, 12, 15, 16] {
        for length in [(1usize << power).saturating_sub(1), 1 << power, (1 << power) + 1] {
            let text = "v".repeat(length);
            let name = "n".repeat(length.clamp(1, 60_000));
            let lines = [format!("X-Before: {text}\r\n"), format!("{name}: {length}\r\n"), "Accept: behind\r\n".into()];
            heads.push(request(&format!("/{}?{}", "p".repeat(length / 3), "q".repeat(length / 3)), &lines));
            let twice = [format!("Accept: {text}\r\n"), format!("accept: {text}\r\n"), "X-Behind: behind\r\n".into()];
            heads.push(request(&format!("/%41{}", "p".repeat(length / 2)), &twice));
        }
    }
    compare(&heads, &policy, configure);
}

/// A head that doorway serves, made of names that are known everywhere and of others, in any case, some more than once.
fn random_head(random: &mut Random) -> Vec<u8> {
    const NAMES: &str = "Accept Accept-Encoding Accept-Language Accept-Charset Access-Control-Request-Headers Access-Control-Request-Method \
        Cookie User-Agent Referer Origin Cache-Control Pragma DNT Priority Range From Forwarded Via Save-Data Traceparent If-Match If-Range \
        If-None-Match If-Modified-Since If-Unmodified-Since Sec-Fetch-Site Sec-Fetch-Mode Sec-Fetch-User Sec-Fetch-Dest Sec-GPC sec-ch-ua \
        sec-ch-ua-mobile sec-ch-ua-platform Sec-WebSocket-Key Sec-WebSocket-Version Upgrade-Insecure-Requests X-CSRF-Token X-Forwarded-For \
        X-Forwarded-Host X-Forwarded-Port X-Forwarded-Proto X-Real-IP X-Request-ID X-Requested-With Connection Keep-Alive TE Trailer Proxy \
        Proxy-Connection Proxy-Authorization Upgrade X-Own X Y Host-Name Content-Language Content-Encoding Content-Typ Acceptor Sec-Fetch-Sitf";
    let names: Vec<&str> = NAMES.split_whitespace().collect();
    let mut head = Vec::new();
    let target: &[u8] = random.pick(&[&b"/"[..], b"/hello", b"/a%2Fb?c=d", b"/a?b?c", b"http://b:2/c", b"http://d?e"]);
    let method: &[u8] = random.pick(&[&b"GET"[..], b"HEAD", b"DELETE", b"X-OWN"]);
    head.extend_from_slice(&[method, b" ", target, b" HTTP/1.1\r\n"].concat());
    let mut lines =
        vec![[&random.any_case("Host")[..], b": ", random.pick(&[&b"a"[..], b"a:80", b"[::1]:8080"])].concat()];
    for once in ["Authorization", "Content-Type", "Content-Length"] {
        if random.once_in(4) {
            let value: &[u8] = if once == "Content-Length" { b"0" } else { b"some/thing" };
            lines.push([&random.any_case(once)[..], b":", value].concat());
        }
    }
    for _ in 0..random.below(14) {
        let mut name = if random.once_in(5) {
            let length = random.between(1, 20);
            random.run(length, TCHARS)
        } else {
            {
                let name = random.pick(&names);
                random.any_case(name)
            }
        };
        // Of these some values end the connection, and some are refused.
        if ["host", "expect", "content-type"].iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes())) {
            name.push(b'x');
        }
        let most = if random.once_in(10) { 300 } else { 12 };
        let length = random.below(most);
        let value = random.run(length, b"aZ09 ,;=\"\t\xe4-/");
        let space: &[u8] = random.pick(&[&b""[..], b" ", b" ", b"\t "]);
        lines.push([&name[..], &b":"[..], space, &value[..], random.pick(&[&b""[..], b"", b" "])].concat());
    }
    for at in (1..lines.len()).rev() {
        lines.swap(at, random.below(at + 1));
    }
    for line in lines {
        head.extend_from_slice(&[&line, &b"\r\n"[..]].concat());
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[test]
fn every_variable_of_random_heads_is_that_of_the_naive_reading() {
    const EACH: usize = 100;
    let cases = std::env::var("DOORWAY_CASES").map_or(6_000, |cases| cases.replace('_', "").parse().unwrap());
    let mut random = Random(12);
    for _ in 0..cases / EACH {
        let heads: Vec<_> = (0..EACH).map(|_| random_head(&mut random)).collect();
        compare(&heads, &Policy::default(), usual);
    }
}
