//! How the server is, for people, for balancers and for what collects figures.
//!
//! Everything is counted by the server at any rate ([`Stats`]); a request here reads the counters, which takes no lock, and writes them in one of four
//! forms. Nothing of a request, a client or a file stands in an answer: numbers, and names that are ours. There is no history and there are no
//! rates: whoever asks twice has both (RFC 9110 section 9.2.1: asking changes nothing).

mod forms;

use std::time::Instant;

use crate::gateway::{Application, Body, Environ, StartResponse};
use crate::log::Stats;
use crate::web::Response;

/// Answers how a server is.
///
/// | below its mount | what |
/// |---|---|
/// | nothing, or `/` | a page that draws it, for browsers; text for everybody else |
/// | `/health` | 200, and 503 when the server stops or does not serve yet, so that a balancer sends nothing more |
/// | `/json` | everything there is |
/// | `/metrics` | the same as OpenMetrics text, for Prometheus and its kind |
///
/// ```
/// use doorway::app::{Status, demo};
/// use doorway::{Server, middleware::Mount};
///
/// # fn main() -> std::io::Result<()> {
/// let server = Server::bind("127.0.0.1:0")?;
/// let observer = server.observer();
/// let status = Status::new(move || observer.stats());
/// let handle = server.spawn(Mount::new().at("/status", status).at("/", demo))?;
/// # Ok(())
/// # }
/// ```
///
/// Only the machine itself may ask, and whom [`allow`](Status::allow) adds. A request is the machine's own when it comes from a loopback address and
/// carries no field of a front server (`Forwarded`, `X-Forwarded-For`, `X-Real-IP`, `Via`). A front server on the same machine that adds no such field
/// makes every client look like the machine itself: let it pass nothing on to this place.
pub struct Status {
    stats: Box<dyn Fn() -> Option<Stats> + Send + Sync>,
    may_ask: Box<dyn Fn(&Environ) -> bool + Send + Sync>,
    begin: Instant,
}

/// The page is the same for everybody: what it draws it fetches itself, and writes as text.
const PAGE: &str = include_str!("page.html");
const POLICY: &str = "default-src 'none'; style-src 'sha256-P/h9df0RH8ift1vuU6s4SIzmcKeljZOqzWqm3GjX20g='; \
    script-src 'sha256-TkATpoHZsvPcYYEWtQi2PuEGP1zrPQJlsGbbxNf0d5g='; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl Status {
    /// Says what `stats` gives, which is what an [`Observer`](crate::Observer) says of its server.
    pub fn new(stats: impl Fn() -> Option<Stats> + Send + Sync + 'static) -> Status {
        Status { stats: Box::new(stats), may_ask: Box::new(|_| false), begin: Instant::now() }
    }

    /// Who may ask besides the machine itself.
    ///
    /// ```
    /// use doorway::app::Status;
    /// use doorway::{Environ, Server};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let observer = Server::bind("127.0.0.1:0")?.observer();
    /// let collector = "10.0.0.7".parse().ok();
    /// let status = Status::new(move || observer.stats()).allow(move |environ: &Environ| environ.remote_addr() == collector);
    /// # Ok(())
    /// # }
    /// ```
    pub fn allow(mut self, may_ask: impl Fn(&Environ) -> bool + Send + Sync + 'static) -> Status {
        self.may_ask = Box::new(may_ask);
        self
    }

    fn answer(&self, environ: &Environ) -> Response {
        if !is_of_this_machine(environ) && !(self.may_ask)(environ) {
            return Response::text("Forbidden: the server's own machine may ask.\n").with_status("403 Forbidden");
        }
        if !matches!(environ.method(), "GET" | "HEAD") {
            let response = Response::text("Method Not Allowed\n").with_status("405 Method Not Allowed");
            return response.with_header("Allow", "GET, HEAD");
        }
        let unavailable = |text: &'static str| Response::text(text).with_status("503 Service Unavailable");
        let Some(stats) = (self.stats)() else { return unavailable("not serving\n") };
        match environ.path_info() {
            b"" | b"/" if environ.header_bytes("accept").is_some_and(takes_html) => {
                Response::html(PAGE).with_header("Content-Security-Policy", POLICY)
            }
            b"" | b"/" => Response::text(forms::text(&stats, self.begin.elapsed())),
            b"/health" if stats.stopping => unavailable("stopping\n"),
            b"/health" => Response::text("ok\n"),
            b"/json" => Response::json(forms::json(&stats, self.begin.elapsed())),
            b"/metrics" => Response::text(forms::metrics(&stats)).with_header("Content-Type", forms::METRICS),
            _ => Response::text("Not Found\n").with_status("404 Not Found"),
        }
    }
}

impl Application for Status {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let response = self.answer(environ).with_header("Cache-Control", "no-store").with_header("Vary", "Accept");
        response.with_header("X-Content-Type-Options", "nosniff").start(start_response)
    }
}

fn is_of_this_machine(environ: &Environ) -> bool {
    let is_passed_on = |name: &&str| environ.header_bytes(name).is_some();
    environ.remote_addr().is_some_and(|address| address.to_canonical().is_loopback())
        && !["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(is_passed_on)
}

/// Browsers name it; programs do not, or take anything.
fn takes_html(accept: &[u8]) -> bool {
    accept.split(|byte| *byte == b',').any(|member| member.trim_ascii().starts_with(b"text/html"))
}

#[cfg(test)]
mod tests {
    use super::{PAGE, POLICY};
    use crate::app::sha256_of;

    #[test]
    fn the_policy_lets_in_this_style_and_this_script_and_no_other() {
        for name in ["style", "script"] {
            let (_, behind) = PAGE.split_once(&format!("<{name}>")).unwrap();
            let (text, _) = behind.split_once(&format!("</{name}>")).unwrap();
            let Some(hash) = sha256_of(text) else { return };
            let directive = format!("{name}-src ");
            let named = POLICY.split("; ").find_map(|part| part.trim_start().strip_prefix(&directive));
            assert_eq!(named, Some(format!("'sha256-{hash}'").as_str()));
        }
    }
}
