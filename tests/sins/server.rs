//! What a server can do wrong: environs that no door of doorway makes.

use doorway::Environ;
use doorway::middleware::{Culprit, Level, Place};
use doorway::testing::Request;

use super::Expected;

pub struct Sin {
    pub name: &'static str,
    pub rule: &'static str,
    pub level: Level,
    pub spoil: fn(&mut Environ),
}

impl Sin {
    pub fn environ(&self) -> Environ {
        let mut environ = Request::get("/path").environ();
        (self.spoil)(&mut environ);
        environ
    }

    pub fn expected(&self) -> Expected {
        Expected { rule: self.rule, culprit: Culprit::Server, level: self.level, place: Place::Environ }
    }
}

const fn error(name: &'static str, rule: &'static str, spoil: fn(&mut Environ)) -> Sin {
    Sin { name, rule, level: Level::Error, spoil }
}

const fn warning(name: &'static str, rule: &'static str, spoil: fn(&mut Environ)) -> Sin {
    Sin { name, rule, level: Level::Warning, spoil }
}

pub const ALL: &[Sin] = &[
    error("no_method", "V-16", |environ| environ.remove("REQUEST_METHOD")),
    error("no_server_name", "V-16", |environ| environ.remove("SERVER_NAME")),
    error("an_empty_port", "V-16", |environ| environ.set("SERVER_PORT", "")),
    error("no_protocol", "V-16", |environ| environ.remove("SERVER_PROTOCOL")),
    error("a_type_with_http", "V-17", |environ| environ.set("HTTP_CONTENT_TYPE", "text/plain")),
    error("a_length_with_http", "V-17", |environ| environ.set("HTTP_CONTENT_LENGTH", "0")),
    warning("no_query_string", "V-18", |environ| environ.remove("QUERY_STRING")),
    warning("an_unknown_method", "V-20", |environ| environ.set("REQUEST_METHOD", "get")),
    error("a_path_of_an_asterisk", "V-21", |environ| environ.set("PATH_INFO", "*")),
    error("a_script_without_slash", "V-21", |environ| environ.set("SCRIPT_NAME", "app")),
    error("an_empty_path", "V-22", |environ| environ.set("PATH_INFO", "")),
    error("no_path", "V-22", |environ| environ.remove("PATH_INFO")),
    error("a_script_of_a_slash", "V-23", |environ| environ.set("SCRIPT_NAME", "/")),
    error("a_negative_length", "V-24", |environ| environ.set("CONTENT_LENGTH", "-1")),
    error("two_lengths_in_one", "V-24", |environ| environ.set("CONTENT_LENGTH", "3, 3")),
];
