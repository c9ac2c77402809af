//! What applications share that get their answer from somebody else: another server ([`Proxy`](super::Proxy), [`Pass`](super::Pass)) or a
//! program ([`Cgi`](super::Cgi)).
//!
//! | file | what it is for |
//! |---|---|
//! | `stream` | a connection, TCP or Unix, and how it is made |
//! | `link` | one as it is used, and those that are kept for the next request |
//! | `exchange` | the request goes out, the response comes in, each step under a deadline |
//! | `reading` | the content of a response, taken out of what was received |
//! | `head` | the head of a response, of HTTP or in the form of CGI |
//! | `tunnel` | both directions of a connection that has switched to another protocol |
//! | `content` | how much content a request has, for protocols that want to know that first |
//!
//! RFC 9110 sections 15.6.3 and 15.6.5. What goes wrong between here and there is answered 502 or 504 with a [`Cause`] in the log; the
//! client learns the cause and nothing about the other side.

pub(crate) mod content;
pub(crate) mod exchange;
pub(crate) mod head;
pub(crate) mod link;
pub(crate) mod reading;
pub(crate) mod stream;
mod tunnel;

use std::fmt;
use std::io;
use std::time::Duration;

use crate::cause::Cause;
use crate::gateway::{Body, Errors, Headers, StartResponse};
use reading::Reading;

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    pub(crate) connect: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) progress: Duration,
    /// Without a byte in either direction of a connection that has switched to another protocol.
    pub(crate) tunnel: Duration,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(60),
            progress: Duration::from_secs(60),
            // A page that waits for its developer's next change says nothing, and loads itself anew when it is cut off.
            tunnel: Duration::from_secs(3600),
        }
    }
}

/// The head of an answer, ready to be started with.
pub(crate) struct Answer {
    pub(crate) status: String,
    pub(crate) headers: Headers,
    pub(crate) reading: Reading,
    /// Nothing comes behind it on its connection.
    pub(crate) is_last: bool,
    /// The protocol in which the connection goes on behind this head.
    pub(crate) upgrade: Option<String>,
}

/// What can read the head of an answer.
pub(crate) trait TakeHead {
    /// Takes a whole head out of `received`; `None` when more is needed.
    fn take(&mut self, received: &mut Vec<u8>) -> Result<Option<Answer>, Failure>;
}

/// Writes a line that the other side says of itself to the log, with its name. It may hold what a client has sent, so that controls are
/// shown and not obeyed.
pub(crate) fn log_line(errors: &Errors, name: &str, line: &[u8]) {
    let mut text = String::new();
    for letter in String::from_utf8_lossy(line.trim_ascii_end()).chars() {
        match u32::from(letter) {
            code if letter.is_control() && letter != '\t' => text.push_str(&format!("\\x{code:02X}")),
            _ => text.push(letter),
        }
    }
    if !text.is_empty() {
        errors.write(&format!("{name}: {text}\n"));
    }
}

/// Why a request was not passed on, or no answer came back.
pub(crate) enum Failure {
    /// The content of the request could not be read.
    OfContent(io::Error),
    /// The request is not for this application: status and detail, which the client is told.
    Refused(&'static str, &'static str),
    Upstream(Fault),
    /// The response has been started, and has no content.
    Answered,
    /// The answer is that of this path of the same server (RFC 3875 section 6.2.2).
    Elsewhere(Vec<u8>),
}

impl Failure {
    /// Answers for it. Who the other side was, and what it did, is for the log and not for the client.
    pub(crate) fn answer(self, upstream: &dyn fmt::Display, start_response: &mut StartResponse) -> Body {
        match self {
            // The server knows whether the client was too slow, too long-winded or gone.
            Failure::OfContent(error) => Body::from(Err::<Body, _>(error)),
            Failure::Refused(status, detail) => {
                start_response.start(status, &[("Content-Type", "text/plain")]);
                Body::from(format!("{status}: {detail}\n"))
            }
            Failure::Answered => Body::empty(),
            // Whoever cannot ask for it here lets the client do that.
            Failure::Elsewhere(path) => {
                let mut headers = Headers::new();
                headers.add("Location", path);
                start_response.start_with("302 Found", &headers);
                Body::empty()
            }
            Failure::Upstream(fault) => {
                let status = status_of(fault.cause);
                let said = format!("{status}:{}\n", fault.cause.sentence());
                let logged = format!("{upstream}: {fault}");
                match start_response.restart(status, &[("Content-Type", "text/plain")], logged) {
                    Ok(_) => Body::from(said),
                    Err(error) => Body::from(Err::<Body, _>(error)),
                }
            }
        }
    }
}

fn status_of(cause: Cause) -> &'static str {
    match cause {
        Cause::UpstreamDeadline => "504 Gateway Timeout",
        Cause::UpgradeRefused => "501 Not Implemented",
        Cause::ProxyLoop => "508 Loop Detected",
        Cause::UpstreamBusy => "503 Service Unavailable",
        _ => "502 Bad Gateway",
    }
}

/// What was wrong between here and the other side.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) cause: Cause,
    /// What the system called it, where it was the system.
    pub(crate) kind: io::ErrorKind,
    detail: String,
}

impl Fault {
    pub(crate) fn new(cause: Cause, detail: impl fmt::Display) -> Fault {
        Fault { cause, kind: io::ErrorKind::Other, detail: detail.to_string() }
    }

    /// One that the system has reported.
    pub(crate) fn of(cause: Cause, error: &io::Error, detail: impl fmt::Display) -> Fault {
        Fault { kind: error.kind(), ..Fault::new(cause, detail) }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Upstream(fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cause, self.detail)
    }
}

impl std::error::Error for Fault {
    /// By this the server knows what to answer.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}
