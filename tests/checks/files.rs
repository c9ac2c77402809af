//! `app::Files` with paths, ranges and conditions that the input chooses.
//!
//! What must hold: no panic; nothing of what lies outside the root is ever sent; the content is as long as `Content-Length` says; HEAD
//! says what GET says; a 206 is the very bytes of the file, and those that a naive reading of `Range` finds; a precondition is decided as
//! a naive reading of RFC 9110 section 13 decides it; an answer that a cache may keep names its validators.

use std::sync::OnceLock;

use doorway::app::Files;
use doorway::http::date::imf_fixdate;
use doorway::testing::{Request, Response};

use super::Input;
use crate::support::show;
use crate::support::tree::{Tree, WRITTEN, WRITTEN_DATE};

const TEXT: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const SECRET: &[u8] = b"a secret that lies outside";

/// What is served, and the strong entity tag of `/t.txt`.
struct Site {
    files: Files,
    long: Vec<u8>,
    tag: String,
    _tree: Tree,
}

fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let tree = Tree::new();
        let long: Vec<u8> = (0..2_000).map(|at: u32| (at % 251) as u8).collect();
        tree.write("t.txt", TEXT);
        tree.write("long.bin", &long);
        tree.write("empty", "");
        tree.write("d/index.html", "<p>index");
        tree.write("d/e/f", "deep");
        tree.write(".unseen", "unseen");
        tree.write(".well-known/x", "known");
        tree.write("a.js", "script");
        tree.write("a.js.gz", "zipped");
        std::fs::write(tree.outside().join("secret"), SECRET).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(tree.outside().join("secret"), tree.root().join("link")).unwrap();
        let files = Files::new(tree.root()).unwrap().listing(true).precompressed(true);
        // A file that has just been written has a weak tag; the strong one is that of a file that was left alone for a while.
        let tag = || Request::get("/t.txt").call(&files).headers.get("etag").unwrap().into_owned();
        let tag = std::iter::repeat_with(tag).find(|tag| !tag.starts_with("W/")).unwrap();
        Site { files, long, tag, _tree: tree }
    })
}

pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(3) {
        0 => paths(&mut input),
        1 => ranges(&mut input),
        _ => conditions(&mut input),
    }
}

/// A path of any bytes, with any fields.
fn paths(input: &mut Input<'_>) {
    let site = site();
    let method = ["GET", "HEAD", "OPTIONS", "POST"][input.below(4)];
    let path = input.until(0);
    let names = ["Range", "If-Match", "If-None-Match", "If-Range", "If-Modified-Since", "Accept-Encoding", "Accept"];
    let request = |method: &str, mut rest: Input<'_>| {
        let mut request = Request::new(method, "/").variable("PATH_INFO", path);
        while !rest.rest.is_empty() {
            request = request.header(names[rest.below(names.len())], rest.until(0));
        }
        request.call(&site.files)
    };
    let response = request(method, Input::new(input.rest));
    let status = response.status.code();
    assert!([200, 204, 206, 302, 304, 404, 405, 412, 416].contains(&status), "{status} {}", show(path));
    assert!(response.error.is_none(), "{:?} {}", response.error, show(path));
    let body = response.body();
    let holds = |secret: &[u8]| body.windows(secret.len()).any(|part| part == secret);
    assert!(!holds(SECRET) && !holds(b"unseen"), "{}", show(path));
    if let Some(length) = response.headers.get("content-length").filter(|_| method == "GET") {
        assert_eq!(length.parse::<usize>().unwrap(), response.body().len(), "{}", show(path));
    }
    if let Some(location) = response.headers.get("location") {
        let is_here = location.starts_with("./") || (location.starts_with('/') && !location.starts_with("//"));
        assert!(status == 302 && is_here, "{location}");
        assert!(location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{location}");
    }
    if method == "GET" {
        let head = request("HEAD", Input::new(input.rest));
        let is_ranged = [206, 416].contains(&status);
        let said = |response: &Response| {
            let fields = response.headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec()));
            (response.status.code(), fields.collect::<Vec<_>>())
        };
        assert!(is_ranged || said(&head) == said(&response), "{:?}\n{:?}", said(&head), said(&response));
    }
}

/// A Range of any bytes.
fn ranges(input: &mut Input<'_>) {
    let site = site();
    let (name, file) = [("/t.txt", TEXT), ("/long.bin", &site.long), ("/empty", b"")][input.below(3)];
    let field = input.rest;
    let response = Request::get(name).header("Range", field).call(&site.files);
    let whole = file.len() as u64;
    match read_range(field, whole) {
        None => assert_eq!((response.status.code(), &response.body()[..]), (200, file), "{}", show(field)),
        Some(asked) if asked.is_empty() => {
            assert_eq!(response.status.code(), 416, "{}", show(field));
            assert_eq!(response.headers.get("content-range").as_deref(), Some(&*format!("bytes */{whole}")));
        }
        Some(asked) => {
            assert_eq!(response.status.code(), 206, "{}", show(field));
            let parts = parts_of(&response, whole);
            for (start, bytes) in &parts {
                assert!(file[*start as usize..].starts_with(bytes) && !bytes.is_empty(), "{}", show(field));
            }
            let sent =
                |at: u64| parts.iter().filter(move |(start, bytes)| at >= *start && at < start + bytes.len() as u64);
            // Every byte that was asked for comes, and none of them twice.
            for (first, last) in &asked {
                assert!((*first..=*last).all(|at| sent(at).count() == 1), "{} {asked:?} {parts:?}", show(field));
            }
        }
    }
}

/// The ranges that lie in the file, first and last byte; `None` where the field is ignored: no range of bytes by the grammar, more than
/// eight, or (which has no Content-Range) the last bytes of nothing.
fn read_range(field: &[u8], whole: u64) -> Option<Vec<(u64, u64)>> {
    let text = std::str::from_utf8(field).ok()?;
    let (unit, set) = text.split_at_checked(6)?;
    let specs: Vec<&str> = set.split(',').map(|spec| spec.trim_matches([' ', '\t', '\n', '\r', '\x0c'])).collect();
    let specs: Vec<&str> = specs.into_iter().filter(|spec| !spec.is_empty()).collect();
    if !unit.eq_ignore_ascii_case("bytes=") || specs.is_empty() || specs.len() > 8 {
        return None;
    }
    let number = |text: &str| {
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_digits { text.parse::<u64>().ok() } else { None }
    };
    let mut asked = Vec::new();
    for spec in &specs {
        let (first, last) = spec.split_once('-')?;
        let range = match (first, last) {
            ("", length) => {
                let length = number(length)?.min(whole);
                if length == 0 { None } else { Some((whole - length, whole - 1)) }
            }
            (first, "") => Some((number(first)?, whole.saturating_sub(1))),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return None;
                }
                Some((first, last.min(whole.saturating_sub(1))))
            }
        };
        asked.extend(range.filter(|(first, _)| *first < whole));
    }
    let is_suffix = |spec: &&str| spec.strip_prefix('-').and_then(number).is_some_and(|length| length > 0);
    if whole == 0 && specs.iter().any(is_suffix) { None } else { Some(asked) }
}

/// The parts of a 206: where each begins, and its bytes.
fn parts_of(response: &Response, whole: u64) -> Vec<(u64, Vec<u8>)> {
    let bounds = |text: &str| {
        let (first, rest) = text.strip_prefix("bytes ").unwrap().split_once('-').unwrap();
        let (last, complete) = rest.split_once('/').unwrap();
        assert_eq!(complete.parse::<u64>().unwrap(), whole);
        (first.parse::<u64>().unwrap(), last.parse::<u64>().unwrap())
    };
    if let Some(range) = response.headers.get("content-range") {
        let (first, last) = bounds(&range);
        assert_eq!(last + 1 - first, response.body().len() as u64);
        return vec![(first, response.body())];
    }
    let kind = response.headers.get("content-type").unwrap().into_owned();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap().trim_matches('"');
    let (open, close) = (format!("--{boundary}\r\n"), format!("\r\n--{boundary}--\r\n"));
    let body = response.body();
    let mut rest = &body[..];
    let mut parts = Vec::new();
    while rest != close.as_bytes() {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
        rest = rest.strip_prefix(open.as_bytes()).unwrap_or_else(|| panic!("{}", show(rest)));
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        let range = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Range: ")).unwrap();
        let (first, last) = bounds(range);
        let (bytes, behind) = rest[end + 4..].split_at((last + 1 - first) as usize);
        parts.push((first, bytes.to_vec()));
        rest = behind;
    }
    parts
}

/// Preconditions made of tags and dates that the input chooses.
fn conditions(input: &mut Input<'_>) {
    let site = site();
    let weak = format!("W/{}", site.tag);
    let date = |at: u64| String::from_utf8(imf_fixdate(at).to_vec()).unwrap();
    let dates = [WRITTEN_DATE.to_owned(), date(WRITTEN - 1), date(WRITTEN + 1), "yesterday".to_owned()];
    let tags = [site.tag.clone(), weak, "\"a\"".to_owned(), "W/\"a,b\"".to_owned(), "*".to_owned()];
    let list = |input: &mut Input<'_>| {
        let count = input.below(4);
        (0..count).map(|_| tags[input.below(4)].clone()).collect::<Vec<_>>()
    };
    let (matches, none_matches) = (list(input), list(input));
    let any = [input.below(5) == 0, input.below(5) == 0];
    let (unmodified, modified) = (input.below(6), input.below(6));
    let if_range = input.below(9);
    let mut request = Request::get("/t.txt").header("Range", "bytes=1-2");
    let field = |list: &[String], any: bool| if any { "*".to_owned() } else { list.join(", ") };
    let has = |list: &[String], any: bool| any || !list.is_empty();
    if has(&matches, any[0]) {
        request = request.header("If-Match", field(&matches, any[0]));
    }
    if has(&none_matches, any[1]) {
        request = request.header("If-None-Match", field(&none_matches, any[1]));
    }
    if let Some(date) = dates.get(unmodified) {
        request = request.header("If-Unmodified-Since", date);
    }
    if let Some(date) = dates.get(modified) {
        request = request.header("If-Modified-Since", date);
    }
    let validator = tags.iter().take(4).chain(&dates).nth(if_range);
    if let Some(validator) = validator {
        request = request.header("If-Range", validator);
    }
    let opaque = |tag: &str| tag.trim_start_matches("W/").to_owned();
    // Section 13.2.2, in its order.
    let is_failed = if has(&matches, any[0]) { !any[0] && !matches.contains(&site.tag) } else { unmodified == 1 };
    let is_known = if has(&none_matches, any[1]) {
        any[1] || none_matches.iter().any(|tag| opaque(tag) == opaque(&site.tag))
    } else {
        // The file was given its date later. Where the system says when, no date before that counts.
        cfg!(not(unix)) && modified == 2
    };
    let is_ranged =
        validator.is_none_or(|validator| *validator == site.tag || (cfg!(not(unix)) && validator == WRITTEN_DATE));
    let expected = match (is_failed, is_known, is_ranged) {
        (true, _, _) => 412,
        (_, true, _) => 304,
        (_, _, true) => 206,
        _ => 200,
    };
    let response = request.call(&site.files);
    assert_eq!(
        response.status.code(),
        expected,
        "{matches:?} {none_matches:?} {any:?} {unmodified} {modified} {if_range}"
    );
}
