//! `doorway --reload` as a browser's requests see it: what a page gets, what its questions are answered, and what they cost.
//! What the script then does is tested in a browser, in `tests/browser.rs`.

mod serving;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serving::{Folder, PATIENCE, Serving};

fn site() -> (Folder, Serving) {
    let folder = Folder::new(&[("index.html", "<p>one"), ("style.css", "p {}"), ("data.json", "{}"), ("big.html", "")]);
    folder.write("big.html", vec![b'x'; 5 * 1024 * 1024]);
    let serving = Serving::folder(folder.path(), &["--reload"]);
    (folder, serving)
}

/// What a browser gets that opens a page, over plain HTTP at an address of the network: there it does not say what for.
fn opened(serving: &Serving, path: &str) -> String {
    fetched(serving, path, "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n")
}

fn fetched(serving: &Serving, path: &str, fields: &str) -> String {
    serving.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"))
}

fn stamp(serving: &Serving) -> (String, String) {
    let response = serving.get("/.doorway/stamp");
    assert!(response.contains("\r\nCache-Control: no-store\r\n"), "{response}");
    let (_, stamp) = response.split_once("\r\n\r\n").unwrap();
    let (page, sheets) = stamp.split_once(' ').unwrap();
    assert!(page.len() == 16 && sheets.len() == 16, "{stamp}");
    (page.to_owned(), sheets.to_owned())
}

/// Asks until the answer is another one.
fn changed(serving: &Serving, from: &(String, String)) -> (String, String) {
    let begin = Instant::now();
    loop {
        let now = stamp(serving);
        if now != *from {
            return now;
        }
        assert!(begin.elapsed() < PATIENCE, "no change is seen");
    }
}

#[test]
fn a_page_ends_in_the_script_and_is_as_long_as_it_says() {
    let (_folder, serving) = site();
    let (page, sheets) = stamp(&serving);
    for (path, begin) in [("/", "<p>one"), ("/big.html", "xxx")] {
        // By HTTP/1.0 a page whose length is not said ends with the connection.
        let response = serving.ask(&format!("GET {path} HTTP/1.0\r\nAccept: text/html\r\n\r\n"));
        let (head, content) = response.split_once("\r\n\r\n").unwrap();
        let end = format!("<script src=\"/.doorway/reload.js\" data-stamp=\"{page} {sheets}\"></script>\n");
        assert!(content.starts_with(begin) && content.ends_with(&end), "{path}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        assert!(length.is_none_or(|length| length == content.len().to_string()), "{path}: {head}");
        assert!(path != "/" || length.is_some(), "{head}");
        assert!(head.contains("\r\nCache-Control: no-store") && !head.contains("ETag"), "{head}");
    }
    let script = serving.get("/.doorway/reload.js");
    assert!(script.contains("\r\nContent-Type: text/javascript; charset=utf-8\r\n"), "{script}");
}

#[test]
fn what_a_script_fetches_and_what_is_no_page_stays_as_it_is() {
    let (_folder, serving) = site();
    let html = "Accept: text/html, */*;q=0.5\r\n";
    for fields in [
        "Sec-Fetch-Dest: empty\r\n".to_owned(),
        format!("Sec-Fetch-Dest: empty\r\n{html}"),
        // Where browsers do not say: what fetch() and htmx send, and others that mark what they ask for.
        "Accept: */*\r\n".to_owned(),
        "Accept: */*\r\nHX-Request: true\r\n".to_owned(),
        format!("{html}HX-Request: true\r\n"),
        format!("{html}X-Requested-With: XMLHttpRequest\r\n"),
        String::new(),
    ] {
        assert!(fetched(&serving, "/", &fields).ends_with("\r\n\r\n<p>one"), "{fields}");
    }
    for fields in ["Sec-Fetch-Dest: document\r\n", "Sec-Fetch-Dest: iframe\r\n", html] {
        assert!(fetched(&serving, "/", fields).ends_with("</script>\n"), "{fields}");
    }
    assert!(opened(&serving, "/data.json").ends_with("\r\n\r\n{}"));
    let missing = fetched(&serving, "/missing.js", "Sec-Fetch-Dest: script\r\n");
    assert!(missing.starts_with("HTTP/1.1 404 ") && !missing.contains("reload.js"), "{missing}");
}

#[test]
fn a_page_that_is_missing_for_a_moment_has_the_script_too() {
    let (folder, serving) = site();
    let own = "Not Found: there is no <strong>/missing.html</strong> here";
    assert!(opened(&serving, "/missing.html").contains(own));
    folder.write("404.html", "<p>gone");
    folder.write("other.html", "<p>other");
    let with_page = Serving::folder(folder.path(), &["--reload", "--error-page", "other.html"]);
    for (serving, text) in [(&serving, "<p>gone<script "), (&with_page, "<p>other<script ")] {
        let response = opened(serving, "/missing.html");
        assert!(response.starts_with("HTTP/1.1 404 ") && response.ends_with("</script>\n"), "{response}");
        assert!(response.contains(text) && response.contains("\r\nContent-Type: text/html"), "{response}");
    }
}

#[test]
fn the_policy_of_a_listing_lets_the_script_in_and_that_of_a_page_stays() {
    let folder = Folder::new(&[("a.txt", "x"), ("own/index.html", "<p>one")]);
    let policy = |serving: &Serving, path: &str| {
        let response = opened(serving, path);
        assert!(response.ends_with("</script>\n"), "{response}");
        response.lines().find_map(|line| line.strip_prefix("Content-Security-Policy: ")).unwrap_or_default().to_owned()
    };
    let serving = Serving::folder(folder.path(), &["--reload"]);
    let listing = policy(&serving, "/");
    assert!(listing.starts_with("default-src 'none'; "), "{listing}");
    assert!(listing.contains("; script-src 'self' 'sha256-") && listing.contains("; connect-src 'self';"), "{listing}");
    assert_eq!(policy(&serving, "/own/"), "");
    // A policy that somebody wrote means what it says.
    let own = "--header=Content-Security-Policy: default-src 'none'";
    assert_eq!(policy(&Serving::folder(folder.path(), &["--reload", own]), "/"), "default-src 'none'");
}

#[test]
fn a_page_is_sent_whole_to_a_browser_that_has_an_older_one() {
    let (_folder, serving) = site();
    let ask = |path: &str| {
        serving.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nSec-Fetch-Dest: document\r\n\
            If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\nIf-None-Match: *\r\nRange: bytes=0-1\r\n\r\n"
        ))
    };
    let response = ask("/");
    assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("</script>\n"), "{response}");
}

#[test]
fn a_changed_stylesheet_changes_its_number_only_and_any_other_file_the_other_one() {
    let (folder, serving) = site();
    let first = stamp(&serving);
    folder.write("style.css", "p { color: red }");
    let second = changed(&serving, &first);
    assert_eq!((&second.0, second.1 == first.1), (&first.0, false));
    folder.write("index.html", "<p>another");
    let third = changed(&serving, &second);
    assert_eq!((third.0 == second.0, &third.1), (false, &second.1));
    folder.write("deep/down/new.js", "1");
    let fourth = changed(&serving, &third);
    // Other bytes of the same length under the same date, as builds with SOURCE_DATE_EPOCH write them.
    let page = folder.path().join("index.html");
    let date = std::fs::metadata(&page).unwrap().modified().unwrap();
    folder.write("index.html", "<p>tomorrow".get(..10).unwrap());
    std::fs::File::options().write(true).open(&page).unwrap().set_modified(date).unwrap();
    if cfg!(unix) {
        changed(&serving, &fourth);
    }
}

#[cfg(unix)]
#[test]
fn a_folder_behind_a_link_is_watched_where_the_link_leads_now() {
    let folder = Folder::new(&[("r1/index.html", "one"), ("r2/index.html", "two")]);
    let link = |to: &str| {
        let _ = std::fs::remove_file(folder.path().join("new"));
        std::os::unix::fs::symlink(to, folder.path().join("new")).unwrap();
        std::fs::rename(folder.path().join("new"), folder.path().join("current")).unwrap();
    };
    link("r1");
    let serving = Serving::folder(&folder.path().join("current"), &["--reload"]);
    let first = stamp(&serving);
    assert!(serving.get("/").ends_with("\r\n\r\none"));
    link("r2");
    let second = changed(&serving, &first);
    std::fs::remove_dir_all(folder.path().join("r1")).unwrap();
    assert!(serving.get("/").ends_with("\r\n\r\ntwo"));
    folder.write("r2/index.html", "three");
    changed(&serving, &second);
}

#[test]
fn the_numbers_are_the_same_after_a_restart() {
    let (folder, serving) = site();
    let first = stamp(&serving);
    drop(serving);
    assert_eq!(stamp(&Serving::folder(folder.path(), &["--reload"])), first);
}

#[test]
fn questions_hold_no_thread_and_do_not_fill_the_log() {
    let folder = Folder::new(&[("index.html", "<p>one")]);
    let mut serving = Serving::folder(folder.path(), &["--reload", "--threads", "1"]);
    let mut lines = serving.requests();
    // More tabs than threads, each with its connection kept open.
    let mut tabs: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(serving.address()).unwrap()).collect();
    for tab in &mut tabs {
        tab.set_read_timeout(Some(PATIENCE)).unwrap();
        tab.write_all(b"GET /.doorway/stamp HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let (mut answer, mut room) = (Vec::new(), [0; 512]);
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") || answer.last() == Some(&b'\n') {
            let length = tab.read(&mut room).unwrap();
            assert!(length > 0);
            answer.extend_from_slice(&room[..length]);
        }
    }
    assert!(opened(&serving, "/").ends_with("</script>\n"));
    let line = lines.next().unwrap();
    assert!(line.contains("\"GET / HTTP/1.1\" 200 "), "{line}");
}

#[test]
fn without_the_flag_nothing_of_it_is_there() {
    let folder = Folder::new(&[("index.html", "<p>one")]);
    let serving = Serving::folder(folder.path(), &[]);
    assert!(serving.get("/").ends_with("\r\n\r\n<p>one"));
    assert!(serving.get("/.doorway/stamp").starts_with("HTTP/1.1 404 "));
}
