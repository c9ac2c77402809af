//! What is no sin, though it may look like one: the other half of the kit.

use std::io::{self, Read, Write};

use doorway::{Body, Environ, StartResponse};

/// Applications that do all the things that middleware may stumble over, and none of them wrongly.
pub const ALL: [fn(&Environ, &mut StartResponse) -> Body; 7] = [
    super::middleware::three_blocks,
    |environ, start_response| {
        start_response.start("200 OK", &[("Content-Type", "text/plain")]);
        let mut content = Vec::new();
        environ.input().read_to_end(&mut content).map(|_| content).into()
    },
    |_, start_response| {
        start_response.start("404 Not Found", &[("Content-Type", "text/plain")]);
        Body::blocks(["", "not ", "", "here"])
    },
    |_, start_response| {
        let mut writer = start_response.start("200 OK", &[("Content-Type", "text/plain"), ("Content-Length", "8")]);
        writer.write_all(b"written ").map(|()| Body::empty()).into()
    },
    |_, _| {
        Body::deferred(|start_response| {
            start_response.start("200 OK", &[("Content-Type", "text/plain")]);
            start_response.restart("500 Oops", &[("Content-Type", "text/plain")], "on the way").map(|_| "deferred")
        })
    },
    |_, start_response| {
        start_response.start("503 Service Unavailable", &[]);
        Body::empty()
    },
    |_, start_response| {
        start_response.start("200 OK", &[("Content-Type", "text/plain")]);
        Body::blocks([Ok("a"), Err(io::Error::other("torn"))])
    },
];
