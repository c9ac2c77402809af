//! `ConditionalGet`: tags of content, 304 and 412 in the order of RFC 9110 section 13.2.2, and everything else left alone.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use doorway::middleware::ConditionalGet;
use doorway::testing::{Request, Response};
use doorway::{Body, Environ, StartResponse, simple};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

fn page(environ: &Environ) -> doorway::Response {
    let response = doorway::Response::text(format!("about {}", environ.query_string())).with_header("Vary", "Accept");
    match environ.path().as_ref() {
        "/own" => response.with_header("ETag", "\"own\"").with_header("Last-Modified", DATE),
        "/weak" => response.with_header("ETag", "W/\"weak\""),
        "/date" => response.with_header("Last-Modified", DATE).with_header("Cache-Control", "private, NO-STORE"),
        "/secret" => response.with_header("Cache-Control", "no-store"),
        "/missing" => response.with_status("404 Not Found"),
        "/empty" => doorway::Response::text(()),
        _ => response,
    }
}

fn ask(request: Request) -> Response {
    request.call(&ConditionalGet::new(simple(page)))
}

fn tag(target: &str) -> Option<String> {
    ask(Request::get(target)).headers.get("ETag").map(|tag| tag.into_owned())
}

#[test]
fn rfc9110_8_8_3_a_tag_is_made_of_the_content_and_of_nothing_else() {
    let first = tag("/?a").unwrap();
    assert!(first.starts_with('"') && first.ends_with('"') && first.len() > 34, "{first}");
    assert_eq!(tag("/?a"), Some(first.clone()));
    assert_ne!(tag("/?b"), Some(first));
    assert_eq!(tag("/own").as_deref(), Some("\"own\""));
    assert!(tag("/empty").is_some());
    for target in ["/missing", "/secret", "/date"] {
        assert_eq!(tag(target), None, "{target}");
    }
    let long = |limit| {
        let application = ConditionalGet::new(simple(|_: &Environ| doorway::Response::text("12345"))).limit(limit);
        let response = Request::get("/").call(&application);
        (response.headers.contains("ETag"), response.text())
    };
    assert_eq!((long(5), long(4)), ((true, "12345".into()), (false, "12345".into())));
}

#[test]
fn rfc9110_13_2_2_conditions_are_evaluated_in_their_order() {
    let made = tag("/?a").unwrap();
    let weak = format!("W/{made}");
    let list = format!("\"x\", {made}");
    for (target, fields, expected) in [
        ("/?a", &[("If-None-Match", &*made)][..], 304),
        ("/?a", &[("If-None-Match", &weak)], 304),
        ("/?a", &[("If-None-Match", &list)], 304),
        ("/?a", &[("If-None-Match", "*")], 304),
        ("/?b", &[("If-None-Match", &made)], 200),
        ("/?a", &[("If-None-Match", "\"x\"")], 200),
        ("/?a", &[("If-Match", &made)], 200),
        ("/?a", &[("If-Match", "*")], 200),
        ("/?a", &[("If-Match", "\"x\"")], 412),
        ("/?a", &[("If-Match", &weak)], 412),
        ("/weak", &[("If-Match", "W/\"weak\"")], 412),
        ("/weak", &[("If-None-Match", "W/\"weak\"")], 304),
        ("/?a", &[("If-Match", "\"x\""), ("If-None-Match", &made)], 412),
        ("/?a", &[("If-Match", &made), ("If-None-Match", &made)], 304),
        ("/own", &[("If-Modified-Since", DATE)], 304),
        ("/own", &[("If-Modified-Since", BEFORE)], 200),
        ("/own", &[("If-Modified-Since", "yesterday")], 200),
        ("/own", &[("If-None-Match", "\"x\""), ("If-Modified-Since", DATE)], 200),
        ("/own", &[("If-Unmodified-Since", DATE)], 200),
        ("/own", &[("If-Unmodified-Since", BEFORE)], 412),
        ("/own", &[("If-Match", "\"own\""), ("If-Unmodified-Since", BEFORE)], 200),
        ("/date", &[("If-Modified-Since", DATE)], 304),
        ("/date", &[("If-None-Match", "\"x\"")], 200),
        ("/missing", &[("If-None-Match", "*")], 404),
    ] {
        let request = fields.iter().fold(Request::get(target), |request, (name, value)| request.header(name, value));
        assert_eq!(ask(request).status.code(), expected, "{target} {fields:?}");
    }
}

#[test]
fn rfc9110_15_4_5_a_304_has_the_fields_of_the_response_and_none_of_its_content() {
    let made = tag("/?a").unwrap();
    let response = ask(Request::get("/?a").header("If-None-Match", &made));
    assert_eq!(
        (response.headers.get("ETag").as_deref(), response.headers.get("Vary").as_deref()),
        (Some(&*made), Some("Accept"))
    );
    assert!(!response.headers.contains("Content-Type") && response.body().is_empty() && response.error.is_none());
}

#[test]
fn a_head_gets_the_tag_of_the_get_or_none() {
    assert_eq!(ask(Request::new("HEAD", "/?a")).headers.get("ETag").as_deref(), tag("/?a").as_deref());
    assert!(
        !ask(Request::new("HEAD", "/empty")).headers.contains("ETag"),
        "the application may have left the content out"
    );
}

#[test]
fn what_may_change_something_goes_through_untouched_and_what_streams_is_not_waited_for() {
    let put = ask(Request::new("PUT", "/?a").header("If-Match", "\"x\""));
    assert_eq!((put.status.code(), put.headers.contains("ETag")), (200, false));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let stream = move |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[("Content-Type", "text/event-stream")]);
        let count = Arc::clone(&count);
        Body::blocks((0..3).map(move |n| {
            count.fetch_add(1, Ordering::SeqCst);
            n.to_string()
        }))
    };
    let response = doorway::Response::of(&ConditionalGet::new(stream), &Request::get("/").environ());
    assert_eq!((asked.load(Ordering::SeqCst), response.body.known_len()), (0, None), "nothing was asked for");
    assert_eq!(response.body.into_blocks().count(), 3);
}

#[test]
fn p_wr_02_what_is_written_is_a_part_of_the_response() {
    let application = ConditionalGet::new(|_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]).write_all(b"written ").unwrap();
        "and returned"
    });
    let response = Request::get("/").call(&application);
    assert_eq!((&*response.text(), response.error), ("written and returned", None));
}
