//! The URL of a request, rebuilt from its environ, and the path of it, split segment by segment.
//!
//! PEP 3333, "URL Reconstruction" (P-URL-01 to P-URL-03); `wsgiref.util`. Quoting is over bytes, so what a client sent as `%E4` is
//! `%E4` again. What is rebuilt may be spelt in another way than what the client typed, and behind a front server that does not
//! pass the Host on it is the front server's idea of it.

use super::percent_encode;
use crate::gateway::Environ;

impl Environ {
    /// The URL of the application: scheme, host and `SCRIPT_NAME`, or `/` where that is empty.
    ///
    /// The host is the `Host` of the request, or else `SERVER_NAME`, with `SERVER_PORT` unless it is the scheme's own.
    ///
    /// ```
    /// use doorway::testing::Request;
    ///
    /// let environ = Request::get("/users").variable("SCRIPT_NAME", "/api").environ();
    /// assert_eq!(environ.application_uri(), "http://localhost:8000/api");
    /// ```
    pub fn application_uri(&self) -> String {
        let mut uri = self.origin();
        match self.script_name() {
            b"" => uri.push('/'),
            path => percent_encode(path, b"/", &mut uri),
        }
        uri
    }

    /// The URL of the request, with the query behind it or without.
    ///
    /// ```
    /// use doorway::testing::Request;
    ///
    /// let environ = Request::get("/a%20b?c=%20").environ();
    /// assert_eq!(environ.request_uri(true), "http://localhost:8000/a%20b?c=%20");
    /// assert_eq!(environ.request_uri(false), "http://localhost:8000/a%20b");
    /// ```
    pub fn request_uri(&self, include_query: bool) -> String {
        let mut uri = self.application_uri();
        let path = self.path_info();
        // The slash of an application at the root is the first of the path, not one more.
        let path = if self.script_name().is_empty() { path.strip_prefix(b"/").unwrap_or(path) } else { path };
        percent_encode(path, b"/;=,", &mut uri);
        if include_query && !self.query_string().is_empty() {
            uri.push('?');
            uri.push_str(self.query_string());
        }
        uri
    }

    /// `https` where the variable `HTTPS` is `on`, `yes` or `1`, otherwise `http`: how a gateway that is told nothing else guesses
    /// [`url_scheme`](Environ::url_scheme).
    ///
    /// ```
    /// let mut environ = doorway::testing::Request::get("/").variable("HTTPS", "on").environ();
    /// environ.set_https(environ.guess_scheme() == "https");
    /// assert_eq!(environ.url_scheme(), "https");
    /// ```
    pub fn guess_scheme(&self) -> &'static str {
        match self.bytes("HTTPS") {
            Some(b"on" | b"yes" | b"1") => "https",
            _ => "http",
        }
    }

    /// Moves one segment of the path from `PATH_INFO` to `SCRIPT_NAME` and gives it; `None` when there is no more. This is how an
    /// application passes a request on to one of several below it.
    ///
    /// Empty segments and `.` in the middle are skipped, and `..` is given to the caller while it shortens `SCRIPT_NAME`, as
    /// `wsgiref` does it. A path that ends in a slash gives `""` last, and `SCRIPT_NAME` has the slash then.
    ///
    /// ```
    /// let mut environ = doorway::testing::Request::get("/api/users/7").environ();
    /// assert_eq!(environ.shift_path().as_deref(), Some(&b"api"[..]));
    /// assert_eq!((environ.script_name(), environ.path_info()), (&b"/api"[..], &b"/users/7"[..]));
    /// ```
    pub fn shift_path(&mut self) -> Option<Vec<u8>> {
        let mut segments: Vec<&[u8]> = self.path_info().strip_prefix(b"/")?.split(|byte| *byte == b'/').collect();
        let last = segments.pop().unwrap_or_default();
        segments.retain(|segment| !matches!(*segment, b"" | b"."));
        segments.push(last);
        let mut segments = segments.into_iter();
        let segment = segments.next().unwrap_or_default().to_vec();

        let mut path_info = Vec::new();
        for rest in segments {
            path_info.push(b'/');
            path_info.extend_from_slice(rest);
        }
        let mut script_name = Vec::new();
        let above = self.script_name().split(|byte| *byte == b'/');
        for part in above.chain([&segment[..]]) {
            match part {
                b"" | b"." => {}
                b".." => {
                    let parent = script_name.iter().rposition(|byte| *byte == b'/');
                    script_name.truncate(parent.unwrap_or_default());
                }
                part => {
                    script_name.push(b'/');
                    script_name.extend_from_slice(part);
                }
            }
        }
        if segment.is_empty() {
            script_name.push(b'/');
        }
        self.set("SCRIPT_NAME", script_name);
        self.set("PATH_INFO", path_info);
        // The last segment is not skipped above, so that a slash at the end is kept.
        (segment != b".").then_some(segment)
    }

    /// Scheme and host.
    fn origin(&self) -> String {
        let scheme = self.url_scheme();
        if let Some(host) = self.get("HTTP_HOST").filter(|host| !host.is_empty()) {
            return format!("{scheme}://{host}");
        }
        let name = self.server_name();
        // An IPv6 address would run into the port.
        let is_bare = name.contains(':') && !name.starts_with('[');
        let mut origin = if is_bare { format!("{scheme}://[{name}]") } else { format!("{scheme}://{name}") };
        let own = if scheme == "https" { 443 } else { 80 };
        if let Some(port) = self.server_port().filter(|port| *port != own) {
            origin.push(':');
            origin.push_str(&port.to_string());
        }
        origin
    }
}
