//! What an application can do wrong.

use std::io::Write;

use doorway::middleware::{Culprit, Level, Place};
use doorway::{Body, Environ, StartResponse};

use super::Expected;

pub struct Sin {
    pub name: &'static str,
    pub rule: &'static str,
    pub level: Level,
    pub place: Place,
    /// With this the sin shows.
    pub method: &'static str,
    pub content: &'static str,
    pub application: fn(&Environ, &mut StartResponse) -> Body,
}

impl Sin {
    pub fn expected(&self) -> Expected {
        Expected { rule: self.rule, culprit: Culprit::Application, level: self.level, place: self.place }
    }

    const fn by(self, method: &'static str, content: &'static str) -> Sin {
        Sin { method, content, ..self }
    }
}

macro_rules! sins {
    ($($rule:literal $level:ident $place:ident $name:ident $(by $method:literal $content:literal)?;)+) => {
        pub const ALL: &[Sin] = &[$(
            Sin {
                name: stringify!($name),
                rule: $rule,
                level: Level::$level,
                place: Place::$place,
                method: "GET",
                content: "",
                application: $name,
            }$(.by($method, $content))?,
        )+];
    };
}

sins! {
    "V-27" Error Start code_of_two_digits;
    "V-27" Error Start code_below_200;
    "V-28" Error Start no_space_behind_the_code;
    "V-29" Error Start field_called_status;
    "V-30" Error Start name_with_a_space;
    "V-30" Warning Start name_with_a_point;
    "V-31" Error Start value_with_a_newline;
    "V-31" Info Start value_with_a_tab;
    "V-32" Warning Body no_type;
    "V-32" Warning Write nothing_typed_and_written;
    "V-32" Warning Start type_with_204;
    "V-33" Error Body block_without_start;
    "V-33" Error Body made_block_without_start;
    "V-36" Error Start hop_by_hop;
    "V-36" Error Start hop_by_hop_that_restart_mends;
    "V-36" Error Start hop_by_hop_too_late_to_see;
    "V-37" Warning Body content_with_204;
    "V-37" Warning Body content_with_205;
    "V-37" Warning Body made_content_with_304;
    "V-37" Info Body blocks_for_a_head by "HEAD" "";
    "V-38" Error Body too_short;
    "V-38" Error Body too_long;
    "V-38" Error Body list_too_short;
    "V-38" Error Body blocks_too_short;
    "V-38" Error Body blocks_too_long;
    "V-38" Error Body reader_too_short;
    "V-38" Error Body reader_too_long;
    "V-38" Error Body written_too_little;
    "V-38" Error Write written_too_much;
    "V-38" Error Body nothing_of_what_was_promised;
    "V-40" Error Body never_started;
    "V-40" Error Body never_started_and_empty_blocks;
    "V-40" Error Body never_started_though_deferred;
    "V-42" Error Start two_types;
    "V-42" Error Start two_lengths;
    "V-42" Error Start two_locations;
    "V-43" Info Close content_unread by "POST" "hello";
    "V-43" Info Close content_half_read by "POST" "hello";
    "P-SR-02" Error Start newline_in_the_status;
    "P-SR-07" Error Start started_twice;
    "P-SR-09" Error Body error_of_a_late_restart_kept;
    "P-SR-09" Error Body error_of_a_late_restart_kept_and_more_made;
    "P-HDR-06" Error Start length_with_a_sign;
}

const TEXT: (&str, &str) = ("Content-Type", "text/plain");

/// Starts with text and these fields besides.
fn text_and(start_response: &mut StartResponse, fields: &[(&str, &str)]) -> Body {
    start_response.start("200 OK", &[&[TEXT], fields].concat());
    Body::from("12345")
}

fn made(blocks: &'static [&'static str]) -> Body {
    Body::blocks(blocks.iter().copied())
}

pub fn code_of_two_digits(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("20 OK", &[TEXT]);
    Body::from("12345")
}

pub fn code_below_200(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("103 Early Hints", &[TEXT]);
    Body::empty()
}

pub fn no_space_behind_the_code(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200", &[TEXT]);
    Body::from("12345")
}

pub fn field_called_status(_: &Environ, start_response: &mut StartResponse) -> Body {
    text_and(start_response, &[("Status", "404 Not Found")])
}

pub fn name_with_a_space(_: &Environ, start_response: &mut StartResponse) -> Body {
    text_and(start_response, &[("X Y", "1")])
}

pub fn name_with_a_point(_: &Environ, start_response: &mut StartResponse) -> Body {
    text_and(start_response, &[("X.Y", "1")])
}

pub fn value_with_a_newline(_: &Environ, start_response: &mut StartResponse) -> Body {
    text_and(start_response, &[("X", "1\r\nSet-Cookie: a=b")])
}

pub fn value_with_a_tab(_: &Environ, start_response: &mut StartResponse) -> Body {
    text_and(start_response, &[("X", "1\t2")])
}

pub fn no_type(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[]);
    Body::from("12345")
}

pub fn nothing_typed_and_written(_: &Environ, start_response: &mut StartResponse) -> Body {
    let written = start_response.start("200 OK", &[]).write_all(b"12345");
    written.map(|()| Body::empty()).into()
}

pub fn type_with_204(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("204 No Content", &[TEXT]);
    Body::empty()
}

pub fn block_without_start(_: &Environ, _: &mut StartResponse) -> Body {
    Body::from("12345")
}

pub fn made_block_without_start(_: &Environ, _: &mut StartResponse) -> Body {
    made(&["", "12345", "6"])
}

pub fn hop_by_hop(_: &Environ, start_response: &mut StartResponse) -> Body {
    text_and(start_response, &[("Transfer-Encoding", "chunked")])
}

pub fn hop_by_hop_that_restart_mends(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Connection", "close")]);
    start_response.restart("500 Internal Server Error", &[TEXT], "mended").map(|_| "12345").into()
}

pub fn hop_by_hop_too_late_to_see(_: &Environ, _: &mut StartResponse) -> Body {
    Body::deferred(|start_response| text_and(start_response, &[("Keep-Alive", "timeout=5")]))
}

pub fn content_with_204(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("204 No Content", &[]);
    Body::from("12345")
}

pub fn content_with_205(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("205 Reset Content", &[]);
    Body::list(vec!["123".as_bytes(), b"45"])
}

pub fn made_content_with_304(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("304 Not Modified", &[("ETag", "\"1\"")]);
    made(&["123", "45"])
}

pub fn blocks_for_a_head(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[TEXT]);
    made(&["123", "45"])
}

pub fn too_short(_: &Environ, start_response: &mut StartResponse) -> Body {
    text_and(start_response, &[("Content-Length", "6")])
}

pub fn too_long(_: &Environ, start_response: &mut StartResponse) -> Body {
    text_and(start_response, &[("Content-Length", "4")])
}

pub fn list_too_short(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[TEXT, ("Content-Length", "6")]);
    Body::list(vec!["123".as_bytes(), b"45"])
}

pub fn blocks_too_short(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[TEXT, ("Content-Length", "6")]);
    made(&["123", "", "45"])
}

pub fn blocks_too_long(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[TEXT, ("Content-Length", "4")]);
    made(&["123", "45", "6", "7"])
}

pub fn reader_too_short(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[TEXT, ("Content-Length", "6")]);
    Body::reader(&b"12345"[..])
}

pub fn reader_too_long(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[TEXT, ("Content-Length", "4")]);
    Body::reader(&b"12345"[..])
}

pub fn written_too_little(_: &Environ, start_response: &mut StartResponse) -> Body {
    let written = start_response.start("200 OK", &[TEXT, ("Content-Length", "6")]).write_all(b"123");
    written.map(|()| "45").into()
}

pub fn written_too_much(_: &Environ, start_response: &mut StartResponse) -> Body {
    let mut writer = start_response.start("200 OK", &[TEXT, ("Content-Length", "4")]);
    let written = writer.write_all(b"123").and_then(|()| writer.write_all(b"45"));
    written.map(|()| Body::empty()).into()
}

pub fn nothing_of_what_was_promised(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[TEXT, ("Content-Length", "5")]);
    Body::empty()
}

pub fn never_started(_: &Environ, _: &mut StartResponse) -> Body {
    Body::empty()
}

pub fn never_started_and_empty_blocks(_: &Environ, _: &mut StartResponse) -> Body {
    made(&["", ""])
}

pub fn never_started_though_deferred(_: &Environ, _: &mut StartResponse) -> Body {
    Body::deferred(|_| Body::deferred(|_| Body::empty()))
}

pub fn two_types(_: &Environ, start_response: &mut StartResponse) -> Body {
    text_and(start_response, &[("content-type", "text/html")])
}

pub fn two_lengths(_: &Environ, start_response: &mut StartResponse) -> Body {
    text_and(start_response, &[("Content-Length", "5"), ("content-length", "5")])
}

pub fn two_locations(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("303 See Other", &[("Location", "/a"), ("Location", "/b")]);
    Body::empty()
}

pub fn content_unread(_: &Environ, start_response: &mut StartResponse) -> Body {
    text_and(start_response, &[])
}

pub fn content_half_read(environ: &Environ, start_response: &mut StartResponse) -> Body {
    let mut three = [0; 3];
    let read = std::io::Read::read_exact(&mut environ.input(), &mut three);
    read.map(|()| text_and(start_response, &[])).into()
}

pub fn newline_in_the_status(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK\r\nSet-Cookie: a=b", &[TEXT]);
    Body::from("12345")
}

pub fn started_twice(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[TEXT]);
    start_response.start("404 Not Found", &[TEXT]);
    Body::from("12345")
}

pub fn error_of_a_late_restart_kept(_: &Environ, start_response: &mut StartResponse) -> Body {
    let written = start_response.start("200 OK", &[TEXT]).write_all(b"123");
    let _kept = start_response.restart("500 Internal Server Error", &[TEXT], "too late");
    written.map(|()| "45").into()
}

pub fn error_of_a_late_restart_kept_and_more_made(environ: &Environ, start_response: &mut StartResponse) -> Body {
    drop(error_of_a_late_restart_kept(environ, start_response));
    made(&["45"])
}

pub fn length_with_a_sign(_: &Environ, start_response: &mut StartResponse) -> Body {
    text_and(start_response, &[("Content-Length", "+5")])
}
