//! `Mount`: several applications in one server, each under its own prefix of the path.
//!
//! PEP 3333, "environ Variables"; docs/rules.md P-MW-09. What matched moves from `PATH_INFO` to `SCRIPT_NAME`, so that the two
//! together are still the decoded path (P-ENV-05) and an application below builds right links without knowing where it is. The
//! prefixes are the deployer's and never come from a request: a front server's deny rules could be passed by a field that said
//! otherwise. Methods, hosts and patterns in paths are a router's affair and not looked at.

use crate::gateway::{Application, Body, Environ, StartResponse};

/// Calls the application whose prefix fits the path best, and answers 404 where none does.
///
/// | prefix | path | `SCRIPT_NAME` | `PATH_INFO` |
/// |---|---|---|---|
/// | `/api` | `/api` | `/api` | |
/// | `/api` | `/api/users` | `/api` | `/users` |
/// | `/api` | `/apix` | does not match | |
/// | `/` | `/apix` | | `/apix` |
///
/// ```
/// use doorway::{Body, Environ, StartResponse, middleware::Mount, testing::Request};
///
/// fn whereabouts(environ: &Environ, start_response: &mut StartResponse) -> Body {
///     start_response.start("200 OK", &[("Content-Type", "text/plain")]);
///     Body::from(format!("{} + {}", String::from_utf8_lossy(environ.script_name()), environ.path()))
/// }
///
/// let site = Mount::new().at("/api", whereabouts).at("/api/v2", whereabouts);
/// assert_eq!(Request::get("/api/users").call(&site).text(), "/api + /users");
/// assert_eq!(Request::get("/api/v2/users").call(&site).text(), "/api/v2 + /users");
/// assert_eq!(Request::get("/apix").call(&site).status.code(), 404);
/// ```
#[derive(Default)]
pub struct Mount {
    /// Longest prefix first; none ends in a slash.
    places: Vec<(String, Box<dyn Application>)>,
}

impl Mount {
    /// Nothing mounted: 404 for everything.
    pub fn new() -> Mount {
        Mount::default()
    }

    /// Mounts an application at a prefix of the decoded path. Slashes at its end do not count, and one at its beginning is added
    /// where it is missing; `/` takes everything that no longer prefix takes. Of equal prefixes the first one counts.
    pub fn at(self, prefix: &str, application: impl Application) -> Mount {
        self.place(prefix, Box::new(application))
    }

    fn place(mut self, prefix: &str, application: Box<dyn Application>) -> Mount {
        let prefix = prefix.trim_end_matches('/');
        let slash = if prefix.is_empty() || prefix.starts_with('/') { "" } else { "/" };
        let prefix = format!("{slash}{prefix}");
        let place = self.places.partition_point(|(other, _)| other.len() >= prefix.len());
        self.places.insert(place, (prefix, application));
        self
    }
}

impl Application for Mount {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        for (prefix, application) in &self.places {
            let Some(rest) = below(environ.path_info(), prefix.as_bytes()) else {
                continue;
            };
            // The copy shares the content of the request, and the environ of whoever called stays as it was (P-ENV-01).
            let mut inner = environ.clone();
            inner.set("SCRIPT_NAME", [environ.script_name(), prefix.as_bytes()].concat());
            inner.set("PATH_INFO", rest);
            return application.call(&inner, start_response);
        }
        start_response.start("404 Not Found", &[("Content-Type", "text/plain")]);
        Body::from("Not Found\n")
    }
}

/// What is left of a path below a prefix. A prefix ends where a segment ends: `/apix` is not below `/api`. Bytes, because a path
/// need not be UTF-8.
fn below<'path>(path: &'path [u8], prefix: &[u8]) -> Option<&'path [u8]> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}
