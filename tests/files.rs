//! What `app::Files` promises to whoever asks for a file, over real sockets: methods, types, validators and preconditions, ranges, siblings,
//! directories, routes and error pages. What hostile trees and hostile clients try is in `files_hostile.rs`.

mod support;

use std::io::Write;

use doorway::app::Files;
use doorway::middleware::{Lint, Mount};
use support::tree::{Tree, WRITTEN, WRITTEN_DATE, date};
use support::{House, Response, serve};

fn ask(house: &House, method: &str, target: &str, fields: &str) -> Response {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    house.ask_one(head.as_bytes())
}

fn get(house: &House, target: &str, fields: &str) -> Response {
    ask(house, "GET", target, fields)
}

fn status(house: &House, target: &str, fields: &str) -> u16 {
    get(house, target, fields).status
}

fn files(tree: &Tree) -> Files {
    Files::new(tree.root()).unwrap()
}

/// The answer to HEAD is that to GET without its content.
fn check_head(house: &House, target: &str, fields: &str) {
    let (got, head) = (get(house, target, fields).timeless(), ask(house, "HEAD", target, fields).timeless());
    assert_eq!((got.status, &got.fields), (head.status, &head.fields), "{target} {fields}");
    assert!(head.body.is_empty());
}

#[test]
fn a_file_is_sent_with_type_length_validators_and_without_sniffing() {
    let tree = Tree::new();
    tree.write("a/page.html", "<p>caf\u{e9}");
    let house = serve(files(&tree));
    let response = get(&house, "/a/page.html", "");
    assert_eq!((response.status, response.text()), (200, "<p>caf\u{e9}"));
    for (name, value) in [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", "8"),
        ("Last-Modified", WRITTEN_DATE),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
    ] {
        assert_eq!(response.field(name), Some(value), "{name}");
    }
    assert!(response.field("ETag").unwrap().starts_with("W/\""));
    assert!(response.field("Cache-Control").is_none() && response.field("Vary").is_none());
}

#[test]
fn the_types_that_browsers_insist_on_are_right() {
    let tree = Tree::new();
    tree.write("program", "\x7fELF\0");
    tree.write("stream.ts", [b"G".as_slice(), &[0; 187], b"G", &[0; 187]].concat());
    let house = serve(files(&tree).content_type("glsl", "text/x-own"));
    assert_eq!(get(&house, "/program", "").field("Content-Type"), Some("application/octet-stream"));
    let part = get(&house, "/stream.ts", "Range: bytes=187-188\r\n");
    assert_eq!((part.field("Content-Type"), part.text()), (Some("video/mp2t"), "\0G"));
    for (name, content_type) in [
        ("m.mjs", "text/javascript; charset=utf-8"),
        ("m.js", "text/javascript; charset=utf-8"),
        ("m.wasm", "application/wasm"),
        ("m.js.map", "application/json; charset=utf-8"),
        ("m.CSS", "text/css; charset=utf-8"),
        ("m.woff2", "font/woff2"),
        ("m.unheard", "application/octet-stream"),
        ("Makefile", "text/plain; charset=utf-8"),
        ("app.ts", "text/plain; charset=utf-8"),
        ("own.glsl", "text/x-own"),
    ] {
        tree.write(name, "x");
        assert_eq!(get(&house, &format!("/{name}"), "").field("Content-Type"), Some(content_type));
    }
}

#[test]
fn rfc9110_9_3_2_head_is_get_without_content() {
    let tree = Tree::new();
    tree.write("a.txt", "0123456789");
    tree.write("empty", "");
    tree.write("sub/b", "");
    tree.write("z.txt", "0123");
    tree.write("z.txt.gz", "gz");
    let house = serve(files(&tree).listing(true).precompressed(true));
    for (target, fields) in [
        ("/a.txt", ""),
        ("/empty", ""),
        ("/sub", ""),
        ("/sub/", ""),
        ("/", "Accept: application/json\r\n"),
        ("/none", ""),
        ("/a.txt/", ""),
        ("/a.txt", "If-None-Match: *\r\n"),
        ("/a.txt", "If-Match: \"x\"\r\n"),
        ("/z.txt", "Accept-Encoding: gzip\r\n"),
    ] {
        check_head(&house, target, fields);
    }
    // A range is one of GET alone (section 14.2).
    let head = ask(&house, "HEAD", "/a.txt", "Range: bytes=0-1\r\n");
    assert_eq!((head.status, head.field("Content-Length"), head.field("Content-Range")), (200, Some("10"), None));
}

#[test]
fn rfc9110_15_5_6_other_methods_are_405_with_allow_and_options_is_204() {
    let tree = Tree::new();
    tree.write("a.txt", "x");
    let house = serve(files(&tree));
    for method in ["POST", "PUT", "DELETE", "PATCH", "get", "PROPFIND"] {
        let response = ask(&house, method, "/a.txt", "Content-Length: 0\r\n");
        assert_eq!((response.status, response.field("Allow")), (405, Some("GET, HEAD")), "{method}");
    }
    let response = ask(&house, "OPTIONS", "/a.txt", "");
    assert_eq!((response.status, response.field("Allow")), (204, Some("GET, HEAD")));
    assert_eq!(std::fs::read(tree.root().join("a.txt")).unwrap(), b"x");
}

#[test]
fn rfc9110_13_preconditions_give_304_and_412_over_the_wire() {
    let tree = Tree::new();
    let path = tree.write("a.txt", "x");
    let house = serve(files(&tree).cache_control("no-cache"));
    let first = get(&house, "/a.txt", "");
    let etag = first.field("ETag").unwrap();

    let unchanged = get(&house, "/a.txt", &format!("If-None-Match: \"x\", {etag}\r\n"));
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    for name in ["ETag", "Last-Modified", "Cache-Control"] {
        assert_eq!(unchanged.field(name), first.field(name), "{name}");
    }
    assert!(unchanged.field("Content-Type").is_none());
    for (fields, expected) in [
        // The file has an old date and is new all the same.
        (format!("If-Modified-Since: {WRITTEN_DATE}\r\n"), 200),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:38 GMT\r\n".into(), 200),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {WRITTEN_DATE}\r\n"), 200),
        ("If-None-Match: *\r\n".into(), 304),
        ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n".into(), 412),
        ("If-Match: *\r\n".into(), 200),
        ("If-Match: \"x\"\r\n".into(), 412),
        (format!("If-Match: \"x\"\r\nIf-None-Match: {etag}\r\n"), 412),
        // A failed precondition comes before a range, and what is not there has none to fail.
        ("If-Match: \"x\"\r\nRange: bytes=0-0\r\n".into(), 412),
        (format!("If-None-Match: {etag}\r\nRange: bytes=0-0\r\n"), 304),
    ] {
        assert_eq!(status(&house, "/a.txt", &fields), expected, "{fields}");
    }
    assert_eq!(status(&house, "/none", "If-None-Match: *\r\n"), 404);

    // A change of length or time is a change of the tag, and so is one that leaves both as they were.
    std::fs::write(&path, "xy").unwrap();
    date(&path, WRITTEN);
    assert_eq!(status(&house, "/a.txt", &format!("If-None-Match: {etag}\r\n")), 200);
    std::fs::write(&path, "y").unwrap();
    date(&path, WRITTEN + 1);
    let second = get(&house, "/a.txt", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((second.status, second.text()), (200, "y"));
}

#[cfg(unix)]
#[test]
fn rfc9110_8_8_3_other_bytes_of_the_same_length_and_date_have_another_tag() {
    let tree = Tree::new();
    let path = tree.write("a.txt", "one");
    let house = serve(files(&tree));
    let mut tag = get(&house, "/a.txt", "").field("ETag").unwrap().to_owned();
    // As `tar -x`, `cp -p` and builds with SOURCE_DATE_EPOCH do it: in place, and with a new file under the old name.
    let in_place = || std::fs::write(&path, "two").unwrap();
    let renamed = || std::fs::rename(tree.write("new", "six"), &path).unwrap();
    for (change, content) in [(&in_place as &dyn Fn(), "two"), (&renamed, "six")] {
        change();
        date(&path, WRITTEN);
        for fields in [format!("If-None-Match: {tag}\r\n"), format!("If-Modified-Since: {WRITTEN_DATE}\r\n")] {
            let response = get(&house, "/a.txt", &fields);
            assert_eq!((response.status, response.text()), (200, content), "{fields}");
        }
        tag = get(&house, "/a.txt", "").field("ETag").unwrap().to_owned();
    }
}

#[test]
fn rfc9110_13_1_5_a_file_that_has_been_still_has_a_strong_tag_by_which_a_download_goes_on() {
    let tree = Tree::new();
    let path = tree.root().join("a.txt");
    std::fs::write(&path, "0123456789").unwrap();
    let house = serve(files(&tree));
    let begin = std::time::Instant::now();
    let etag = loop {
        let etag = get(&house, "/a.txt", "").field("ETag").unwrap().to_owned();
        if !etag.starts_with("W/") {
            break etag;
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(10), "{etag} stays weak");
    };
    assert!(begin.elapsed() > std::time::Duration::from_secs(1), "strong at once");
    let modified = get(&house, "/a.txt", "").field("Last-Modified").unwrap().to_owned();
    for (fields, expected) in [
        (format!("Range: bytes=4-\r\nIf-Range: {etag}\r\n"), 206),
        (format!("Range: bytes=4-\r\nIf-Range: {modified}\r\n"), 206),
        (format!("Range: bytes=4-\r\nIf-Range: W/{etag}\r\n"), 200),
        (format!("If-Match: {etag}\r\n"), 200),
        (format!("If-Match: W/{etag}\r\n"), 412),
        (format!("If-None-Match: W/{etag}\r\n"), 304),
        // The second in which it was written: it could have been written again within it.
        (format!("If-Modified-Since: {modified}\r\n"), 200),
    ] {
        assert_eq!(status(&house, "/a.txt", &fields), expected, "{fields}");
    }
}

#[test]
fn rfc9110_14_a_single_range_is_206_with_the_bytes_that_were_asked_for() {
    let tree = Tree::new();
    tree.write("a.txt", "0123456789");
    let house = serve(files(&tree));
    for (range, bytes, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
        ("bytes=0-1,2-3", "0123", "bytes 0-3/10"),
        ("bytes=2-4,50-60", "234", "bytes 2-4/10"),
    ] {
        let response = get(&house, "/a.txt", &format!("Range: {range}\r\n"));
        assert_eq!((response.status, response.text()), (206, bytes), "{range}");
        assert_eq!(response.field("Content-Range"), Some(content_range));
        assert_eq!(response.field("Content-Length"), Some(&*bytes.len().to_string()));
        assert_eq!(response.field("Content-Type"), Some("text/plain; charset=utf-8"));
    }
    for range in
        ["bytes=5-4", "lines=0-1", "bytes=x", "bytes=0-99999999999999999999", "bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-"]
    {
        let response = get(&house, "/a.txt", &format!("Range: {range}\r\n"));
        assert_eq!((response.status, response.text()), (200, "0123456789"), "{range}");
        assert_eq!(response.field("Content-Range"), None);
    }
}

#[test]
fn rfc9110_15_5_17_a_range_outside_is_416_and_says_how_long_the_file_is() {
    let tree = Tree::new();
    tree.write("a.txt", "0123456789");
    tree.write("empty", "");
    let house = serve(files(&tree));
    for (target, range, content_range) in [
        ("/a.txt", "bytes=10-", "bytes */10"),
        ("/a.txt", "bytes=-0", "bytes */10"),
        ("/a.txt", "bytes=10-,11-12", "bytes */10"),
        ("/empty", "bytes=0-", "bytes */0"),
    ] {
        let response = get(&house, target, &format!("Range: {range}\r\n"));
        assert_eq!((response.status, response.field("Content-Range")), (416, Some(content_range)), "{range}");
        assert!(!response.text().contains("0123"));
    }
}

#[test]
fn rfc9110_13_1_5_if_range_sends_the_part_of_what_the_client_has_or_everything() {
    let tree = Tree::new();
    let path = tree.write("a.txt", "0123456789");
    let house = serve(files(&tree));
    let etag = get(&house, "/a.txt", "").field("ETag").unwrap().to_owned();
    let with = |if_range: &str| status(&house, "/a.txt", &format!("Range: bytes=0-1\r\nIf-Range: {if_range}\r\n"));
    // A weak tag never says that bytes are the same, and neither does a date that was given to a file later.
    assert_eq!((with(&etag), with("\"x\""), with("yesterday")), (200, 200, 200));
    assert_eq!((with(WRITTEN_DATE), with("Sun, 06 Nov 1994 08:49:38 GMT")), (200, 200));
    date(&path, WRITTEN + 60);
    assert_eq!(with(WRITTEN_DATE), 200);
}

#[test]
fn rfc9110_14_6_several_ranges_are_parts_with_their_place_in_order() {
    let tree = Tree::new();
    let content: Vec<u8> = (0..200_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    tree.write("a.bin", &content);
    let house = serve(files(&tree));
    let response = get(&house, "/a.bin", "Range: bytes=500000-699999,0-9,-100\r\n");
    assert_eq!(response.status, 206);
    let boundary = response.field("Content-Type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut expected = Vec::new();
    for (start, end) in [(500_000, 700_000), (0, 10), (799_900, 800_000)] {
        write!(
            expected,
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {start}-{}/800000\r\n\r\n",
            end - 1
        )
        .unwrap();
        expected.extend_from_slice(&content[start..end]);
    }
    write!(expected, "\r\n--{boundary}--\r\n").unwrap();
    assert!(response.body == expected, "{} bytes, not {}", response.body.len(), expected.len());
    assert_eq!(response.field("Content-Length"), Some(&*expected.len().to_string()));
    assert!(response.field("Content-Range").is_none());
    // Nobody can foretell it, so nobody can write it into a file.
    let again = get(&house, "/a.bin", "Range: bytes=0-9,500000-500009\r\n");
    assert!(boundary.len() >= 32 && !again.field("Content-Type").unwrap().contains(boundary));
}

#[test]
fn rfc9110_8_4_a_sibling_in_br_or_gzip_is_sent_to_those_who_take_it() {
    let tree = Tree::new();
    tree.write("a.js", "plain");
    tree.write("a.js.gz", "gzipped");
    tree.write("a.js.br", "brotli");
    tree.write("b.js", "plain");
    let old = tree.write("b.js.gz", "older");
    date(&old, WRITTEN - 1);
    tree.write("c.js", "plain");
    std::fs::create_dir(tree.root().join("c.js.gz")).unwrap();
    let house = serve(files(&tree).precompressed(true));
    for (target, accepted, body, coding) in [
        ("/a.js", "gzip, deflate, br", "brotli", Some("br")),
        ("/a.js", "gzip", "gzipped", Some("gzip")),
        ("/a.js", "br;q=0.1, gzip;q=0.9", "gzipped", Some("gzip")),
        ("/a.js", "br;q=0, gzip;q=0.0", "plain", None),
        ("/a.js", "identity", "plain", None),
        ("/a.js", "", "plain", None),
        ("/b.js", "gzip", "plain", None),
        ("/c.js", "gzip", "plain", None),
    ] {
        let response = get(&house, target, &format!("Accept-Encoding: {accepted}\r\n"));
        assert_eq!((response.text(), response.field("Content-Encoding")), (body, coding), "{target} {accepted}");
        assert_eq!(response.field("Content-Type"), Some("text/javascript; charset=utf-8"));
        // Also where there is no sibling: there may be one tomorrow, and a cache must not mix them up.
        assert_eq!(response.field("Vary"), Some("Accept-Encoding"));
    }
    let tag = |accepted: &str| {
        let response = get(&house, "/a.js", &format!("Accept-Encoding: {accepted}\r\n"));
        response.field("ETag").unwrap().to_owned()
    };
    let tags = [tag("br"), tag("gzip"), tag("")];
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2], "{tags:?}");
    let unchanged = get(&house, "/a.js", &format!("Accept-Encoding: br\r\nIf-None-Match: {}\r\n", tags[0]));
    assert_eq!((unchanged.status, unchanged.field("Vary")), (304, Some("Accept-Encoding")));
    assert_eq!(status(&house, "/a.js", &format!("Accept-Encoding: gzip\r\nIf-None-Match: {}\r\n", tags[0])), 200);
    // A range is one of the bytes that are sent, and counted in them.
    let part = get(&house, "/a.js", "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\n");
    assert_eq!((part.text(), part.field("Content-Range")), ("gz", Some("bytes 0-1/7")));

    let house = serve(files(&tree));
    let response = get(&house, "/a.js", "Accept-Encoding: gzip\r\n");
    assert_eq!((response.text(), response.field("Vary")), ("plain", None));
}

#[test]
fn what_is_coded_by_its_own_name_says_so_and_a_coded_form_stands_for_a_name_that_is_not_there() {
    let tree = Tree::new();
    for name in ["game.js.br", "game.wasm.gz", "game.data.br", "backup.tar.gz", "data.json.gz", "alone.css.gz"] {
        tree.write(name, "coded");
    }
    for precompressed in [false, true] {
        let house = serve(files(&tree).precompressed(precompressed));
        for (target, content_type, coding) in [
            ("/game.js.br", "text/javascript; charset=utf-8", Some("br")),
            ("/game.wasm.gz", "application/wasm", Some("gzip")),
            ("/game.data.br", "application/octet-stream", Some("br")),
            ("/backup.tar.gz", "application/gzip", None),
            ("/data.json.gz", "application/gzip", None),
        ] {
            let response = get(&house, target, "Accept-Encoding: gzip, br\r\n");
            assert_eq!((response.status, response.text()), (200, "coded"), "{target}");
            assert_eq!(
                (response.field("Content-Type"), response.field("Content-Encoding")),
                (Some(content_type), coding)
            );
        }
        let alone = get(&house, "/alone.css", "Accept-Encoding: gzip\r\n");
        match precompressed {
            true => assert_eq!(
                (alone.field("Content-Encoding"), alone.field("Vary")),
                (Some("gzip"), Some("Accept-Encoding"))
            ),
            false => assert_eq!(alone.status, 404),
        }
        assert_eq!(status(&house, "/alone.css", ""), 404, "it does not take that coding");
    }
}

#[test]
fn a_directory_is_its_index_behind_a_redirect_to_its_slash() {
    let tree = Tree::new();
    tree.write("index.html", "top");
    tree.write("a b/index.html", "<p>");
    tree.write("other/start.htm", "other");
    tree.write("none/x", "");
    let house = serve(Mount::new().at("/m", files(&tree)).at("/", files(&tree).index(&["start.htm", "index.html"])));
    let location = |target: &str| {
        let response = get(&house, target, "");
        (response.status, response.field("Location").unwrap_or_default().to_owned())
    };
    // Relative: a front server may have taken a prefix away.
    assert_eq!(location("/a%20b"), (302, "./a%20b/".into()));
    assert_eq!(location("/a%20b?x=%20&y=/../"), (302, "./a%20b/?x=%20&y=/../".into()));
    assert_eq!(location("/m"), (302, "./m/".into()));
    assert_eq!(location("/m/a%20b?q"), (302, "./a%20b/?q".into()));
    assert_eq!(location("/m%2Fa%20b?q"), (302, "/m/a%20b/?q".into()));
    let index = get(&house, "/a%20b/?x", "");
    assert_eq!(
        (index.status, index.text(), index.field("Content-Type")),
        (200, "<p>", Some("text/html; charset=utf-8"))
    );
    assert_eq!((get(&house, "/m/", "").text(), get(&house, "/other/", "").text()), ("top", "other"));
    // An index by a path, and none that leads out.
    let deep = serve(files(&tree).index(&["../root/index.html", "/etc/passwd", "", "a b/index.html"]));
    assert_eq!(get(&deep, "/", "").text(), "<p>");
    // Without an index and without listings there is nothing to see.
    assert_eq!((status(&house, "/none/", ""), status(&house, "/m/other/", "")), (404, 404));
    assert_eq!(status(&house, "/", "If-None-Match: *\r\n"), 304);
}

#[test]
fn a_route_of_a_single_page_application_is_its_page_and_a_missing_script_is_404() {
    let tree = Tree::new();
    tree.write("index.html", "app");
    tree.write("assets/app.js", "js");
    let house = serve(files(&tree).spa("index.html"));
    let html = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    for target in ["/users/7", "/users/7?x=1", "/a/", "/assets/", "/%C3%A4"] {
        let response = get(&house, target, html);
        assert_eq!((response.status, response.text()), (200, "app"), "{target}");
        assert_eq!(response.field("Vary"), Some("Accept"));
        assert_eq!(response.field("Content-Type"), Some("text/html; charset=utf-8"));
    }
    for (target, fields) in [
        ("/assets/gone.js", html),
        ("/users/7.json", html),
        ("/users/7", "Accept: */*\r\n"),
        ("/users/7", "Accept: application/json\r\n"),
        ("/users/7", "Accept: text/html;q=0\r\n"),
        ("/users/7", ""),
        ("/.git/config", html),
        ("/../x", html),
    ] {
        let response = get(&house, target, fields);
        assert_eq!((response.status, response.field("Vary")), (404, Some("Accept")), "{target} {fields}");
    }
    // A name with a point is a route where a browser opens it, unless it ends as what pages load does.
    let opened = "Sec-Fetch-Dest: document\r\n";
    for (target, fields, expected) in [
        ("/items/1.1", html.to_owned(), 200),
        ("/u/jane@x.org", html.to_owned(), 200),
        ("/u/jane@x.org", format!("{html}{opened}"), 200),
        ("/u/jane@x.org", format!("{html}Sec-Fetch-Dest: empty\r\n"), 404),
        ("/u/jane@x.org", format!("{html}HX-Request: true\r\n"), 404),
        ("/items/1.1", "Accept: */*\r\n".into(), 404),
        ("/main.js", format!("{html}{opened}"), 404),
        ("/main.js", "Accept: */*\r\nSec-Fetch-Dest: script\r\n".into(), 404),
    ] {
        assert_eq!(status(&house, target, &fields), expected, "{target} {fields}");
    }
    assert_eq!(ask(&house, "POST", "/users/7", html).status, 405);
    assert_eq!(get(&house, "/assets/app.js", html).text(), "js");
}

#[test]
fn a_clean_url_is_its_page_where_nothing_else_has_that_name() {
    let tree = Tree::new();
    for name in
        ["about.html", "both", "both.html", "dir/index.html", "dir.html", "v1.0.html", "sub/page.html", ".secret.html"]
    {
        tree.write(name, name);
    }
    let house = serve(files(&tree).clean_urls(true));
    for (target, expected) in [
        ("/about", "about.html"),
        ("/about?x", "about.html"),
        ("/about.html", "about.html"),
        ("/both", "both"),
        ("/dir/", "dir/index.html"),
        ("/v1.0", "v1.0.html"),
        ("/sub/page", "sub/page.html"),
    ] {
        let response = get(&house, target, "");
        assert_eq!((response.status, response.text()), (200, expected), "{target}");
    }
    let response = get(&house, "/about", "");
    assert_eq!(response.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(status(&house, "/dir", ""), 302, "a directory is there");
    for target in ["/about/", "/none", "/.secret", "/about.htm", "/sub/../about", "/about%00"] {
        assert_ne!(status(&house, target, ""), 200, "{target}");
    }
    check_head(&house, "/about", "");
    assert_eq!(status(&serve(files(&tree)), "/about", ""), 404, "unless it is wanted");
}

#[test]
fn what_is_not_there_is_a_page_that_leads_up_for_a_browser_and_a_line_for_a_program() {
    let tree = Tree::new();
    let house = serve(files(&tree));
    let page = get(&house, "/a%3Cb%3E/c", "Accept: text/html\r\n");
    assert_eq!((page.status, page.field("Content-Type")), (404, Some("text/html; charset=utf-8")));
    assert!(
        page.text().contains("there is no <strong>/a&lt;b&gt;/c</strong> here")
            && page.text().contains("<a href=\"./../\">To the top</a>")
    );
    assert_eq!(page.field("Content-Security-Policy"), Some(Files::LISTING_POLICY));
    for fields in ["", "Accept: */*\r\n", "Accept: text/html\r\nHX-Request: true\r\n"] {
        assert_eq!(get(&house, "/a", fields).text(), "Not Found\n", "{fields}");
    }
}

#[test]
fn an_error_has_the_page_that_the_deployer_gave_or_one_line() {
    let tree = Tree::new();
    tree.write("404.html", "<h1>gone");
    tree.write("a.txt", "x");
    let house = serve(files(&tree).error_page(404, "404.html").error_page(405, "missing.html"));
    let response = get(&house, "/none", "");
    assert_eq!((response.status, response.text()), (404, "<h1>gone"));
    assert_eq!(response.field("Content-Type"), Some("text/html; charset=utf-8"));
    // The page is of the error and not of the address: nothing to keep or to cut.
    assert!(["ETag", "Last-Modified", "Accept-Ranges"].iter().all(|name| response.field(name).is_none()));
    assert_eq!(status(&house, "/none", "Range: bytes=0-1\r\n"), 404);
    check_head(&house, "/none", "");
    assert_eq!(ask(&house, "PUT", "/a.txt", "").text(), "Method Not Allowed\n");
}

#[test]
fn fields_of_the_deployer_stand_on_every_answer_and_win() {
    let tree = Tree::new();
    tree.write("a.txt", "x");
    tree.write("sub/b", "");
    let app = files(&tree)
        .precompressed(true)
        .cache_control("max-age=60")
        .header("Cross-Origin-Opener-Policy", "same-origin")
        .header("Link", "</a.css>; rel=preload")
        .header("Link", "</b.css>; rel=preload")
        .header("X-Content-Type-Options", "off")
        .header("Vary", "Origin");
    let house = serve(app);
    for (method, target, fields) in [
        ("GET", "/a.txt", ""),
        ("GET", "/a.txt", "If-None-Match: *\r\n"),
        ("GET", "/a.txt", "Range: bytes=0-0\r\n"),
        ("GET", "/none", ""),
        ("GET", "/sub", ""),
        ("PUT", "/a.txt", ""),
        ("OPTIONS", "/a.txt", ""),
    ] {
        let response = ask(&house, method, target, fields);
        assert_eq!(response.field("Cross-Origin-Opener-Policy"), Some("same-origin"), "{target}");
        assert_eq!(response.field("Cache-Control"), Some("max-age=60"));
        assert_eq!(response.field("X-Content-Type-Options"), Some("off"));
        assert_eq!(response.all("Link").len(), 2);
        assert!(response.all("Vary").contains(&&b"Origin"[..]));
    }
    assert_eq!(get(&house, "/a.txt", "").all("Vary"), [&b"Accept-Encoding"[..], b"Origin"]);
}

#[test]
fn lint_finds_nothing_in_any_kind_of_answer() {
    let tree = Tree::new();
    tree.write("a.txt", "0123456789");
    tree.write("b.bin", vec![7; 1000]);
    tree.write("sub/x", "");
    tree.write("empty", "");
    let house = serve(Lint::new(files(&tree).listing(true).precompressed(true)));
    for (target, fields) in [
        ("/a.txt", ""),
        ("/empty", ""),
        ("/a.txt", "If-None-Match: *\r\n"),
        ("/a.txt", "If-Match: \"x\"\r\n"),
        ("/a.txt", "Range: bytes=1-2\r\n"),
        ("/a.txt", "Range: bytes=50-\r\n"),
        ("/b.bin", "Range: bytes=0-1,500-501\r\n"),
        ("/", ""),
        ("/", "Accept: application/json\r\n"),
        ("/sub", ""),
        ("/none", ""),
    ] {
        get(&house, target, fields);
        ask(&house, "HEAD", target, fields);
    }
    ask(&house, "POST", "/a.txt", "");
    ask(&house, "OPTIONS", "/a.txt", "");
    assert_eq!((house.log.reports(), house.log.texts()), (vec![], vec![]));
}

#[test]
fn what_is_no_directory_is_an_error_of_the_deployer_at_once() {
    let tree = Tree::new();
    let file = tree.write("a.txt", "x");
    assert_eq!(Files::new(&file).unwrap_err().kind(), std::io::ErrorKind::NotADirectory);
    assert_eq!(Files::new(tree.root().join("none")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
}
