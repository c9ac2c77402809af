//! Which hosts are answered: a guard against DNS rebinding.
//!
//! Whoever owns a name can have it resolve to 127.0.0.1, and a page of that name then reads what is served here, as its own, through the
//! browser of the person at work. The browser still says in Host which name it believes. So names of this machine are answered, addresses
//! (nobody can have those resolve to something else), and the names that were given. A request without Host, by HTTP/1.0, comes from no browser, and
//! no browser speaks at a door: a front server may ask there by any name, unless names were given.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use doorway::{Application, Body, Door, Environ, StartResponse};

/// How long nothing is said of another host behind the last of which it was: whoever asks for them must not fill the log.
const QUIET: Duration = Duration::from_secs(60);

/// Answers 421 to requests for other hosts.
pub struct Hosts<A> {
    inner: A,
    names: Vec<String>,
    said: Mutex<Option<Instant>>,
}

impl<A: Application> Hosts<A> {
    /// Allows these names too, in small letters; `*.example.org` stands for all names below it.
    pub fn new(inner: A, names: &[String]) -> Hosts<A> {
        Hosts { inner, names: names.to_vec(), said: Mutex::default() }
    }

    fn allows(&self, host: &str) -> bool {
        let is_v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::parse::<Ipv6Addr>);
        if is_v6.is_some_and(|parsed| parsed.is_ok()) || host.parse::<SocketAddr>().is_ok() {
            return true;
        }
        let name = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        let is_below =
            |suffix: &str| name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1);
        let is_listed = |listed: &String| listed.strip_prefix("*.").map_or(*listed == name, is_below);
        let is_own = name == "localhost" || is_below("localhost") || name.parse::<Ipv4Addr>().is_ok();
        is_own || self.names.iter().any(is_listed)
    }
}

impl<A: Application> Application for Hosts<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let is_at_a_door = [Door::Uwsgi, Door::Scgi, Door::FastCgi].iter().any(|door| door.name() == environ.door());
        let is_open = is_at_a_door && self.names.is_empty();
        let host = environ.bytes("HTTP_HOST").map(String::from_utf8_lossy);
        let Some(host) = host.filter(|host| !is_open && !self.allows(host)) else {
            return self.inner.call(environ, start_response);
        };
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|last| last.elapsed() > QUIET) {
            *said = Some(Instant::now());
            environ.errors().write(&format!("{host} is not answered here; --allow-host with its name changes that\n"));
        }
        drop(said);
        start_response.start("421 Misdirected Request", &[("Content-Type", "text/plain; charset=utf-8")]);
        Body::from("Misdirected Request: doorway answers to localhost, addresses, and names that --allow-host gives.\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorway::app::demo;

    #[test]
    fn requests_for_other_hosts_are_all_refused_and_spoken_of_once() {
        let hosts = Hosts::new(demo, &[]);
        let answers = ["evil.example", "other.example", "evil.example"].map(|host| {
            let response = doorway::testing::Request::get("/").header("Host", host).call(&hosts);
            assert_eq!(response.status.code(), 421);
            response.errors
        });
        assert!(answers[0].starts_with("evil.example is not answered here"), "{answers:?}");
        assert!(answers[1..].iter().all(String::is_empty), "{answers:?}");
    }

    #[test]
    fn a_name_is_compared_as_a_whole_without_case_port_and_last_point() {
        let hosts = Hosts::new(demo, &["site.example".to_owned(), "*.wild.example".to_owned()]);
        for host in ["localhost", "A.LOCALHOST.:80", "site.example:80", "a.b.wild.example", "127.1.2.3:80", "[::1]:80"]
        {
            assert!(hosts.allows(host), "{host}");
        }
        for host in [
            "",
            ".",
            ":80",
            ".localhost",
            "xlocalhost",
            "wild.example",
            ".wild.example",
            "[::1",
            "[a]",
            "1.2.3",
            "a.site.example",
        ] {
            assert!(!hosts.allows(host), "{host}");
        }
    }
}
