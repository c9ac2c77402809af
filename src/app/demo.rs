//! The first application to try: a greeting and the sorted environ, as `wsgiref.simple_server.demo_app` shows it.
//!
//! It reflects what the client sent, cookies included, so it is for trying things out and not for the public.

use std::fmt::{Display, Write};

use crate::gateway::{Body, Environ, StartResponse};

/// Answers every request with `Hello world!`, the variables of its environ, one a line, and what to try next, as plain text.
///
/// ```
/// let response = doorway::testing::Request::get("/?a=1").call(&doorway::app::demo);
/// assert!(response.text().starts_with("Hello world!\n\n"));
/// assert!(response.text().contains("\nQUERY_STRING = \"a=1\"\n"));
/// ```
pub fn demo(environ: &Environ, start_response: &mut StartResponse) -> Body {
    // Sorted as they come: they are few.
    let mut lines: Vec<String> = Vec::new();
    let mut add = |name: &str, value: &dyn Display| {
        let line = format!("{name} = {value}\n");
        lines.insert(lines.partition_point(|other| *other < line), line);
    };
    environ.iter().for_each(|(name, value)| add(name, &format_args!("\"{}\"", value.escape_ascii())));
    add("doorway.door", &format_args!("{:?}", environ.door()));
    add("wsgi.input_terminated", &environ.input_terminated());
    add("wsgi.multiprocess", &environ.multiprocess());
    add("wsgi.multithread", &environ.multithread());
    add("wsgi.run_once", &environ.run_once());
    add("wsgi.url_scheme", &format_args!("{:?}", environ.url_scheme()));
    add("wsgi.version", &format_args!("{:?}", environ.version()));
    let mut text = format!("Hello world!\n\n{}", lines.concat());
    let top = environ.application_uri();
    let top = top.trim_end_matches('/');
    let _ = write!(
        text,
        "\nTry, and look at what changes:\n{top}/hello?name=web\ncurl -d name=web {top}/form\ncurl -T FILE {top}/upload\n"
    );
    start_response.start("200 OK", &[("Content-Type", "text/plain; charset=utf-8")]);
    Body::from(text)
}
