//! What the request says and how it reached the application, as CGI variables: the `environ` of PEP 3333.
//!
//! PEP 3333, "environ Variables"; RFC 3875 section 4.1. Values are bytes (P-ENV-20), names are upper case, `SCRIPT_NAME` and
//! `PATH_INFO` together are the path decoded exactly once (P-ENV-05). A clone is cheap and may be edited: it shares the store
//! until the first edit and the input for ever (P-ENV-01, P-IN-11). Who fills it, and from what, is the door's affair.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use super::errors::Silent;
use super::input::{Input, Slot};
use super::{Errors, Variables};
use crate::scan::decimal;

/// What is the same for every request that comes through one door of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The protocol by which requests arrive: `http`, `uwsgi`, `scgi`, `fastcgi`, `cgi` or `test`.
    pub door: &'static str,
    /// `wsgi.url_scheme`: whether the client used TLS, as far as the server knows.
    pub https: bool,
    /// `wsgi.multithread`: the application may be called by several threads of this process at once.
    pub multithread: bool,
    /// `wsgi.multiprocess`: another process may run the same application at the same time.
    pub multiprocess: bool,
    /// `wsgi.run_once`: the server expects to call the application once in the life of the process (CGI).
    pub run_once: bool,
}

/// Plain HTTP, several threads, one process.
impl Default for Gateway {
    fn default() -> Gateway {
        Gateway { door: "http", https: false, multithread: true, multiprocess: false, run_once: false }
    }
}

/// A request as CGI variables, with typed accessors.
///
/// [`bytes`](Environ::bytes) is the truth; everything else is read from it. An application that maps paths to files or
/// compares secrets uses bytes.
///
/// | variable | what it is |
/// |---|---|
/// | `REQUEST_METHOD` | the method as it was sent; never empty |
/// | `SCRIPT_NAME`, `PATH_INFO` | the path, percent-decoded once, split where the application is mounted |
/// | `QUERY_STRING` | what stands behind the first `?`, not decoded; `""` if nothing does |
/// | `REQUEST_URI` | the target as it was sent, where the door knows it |
/// | `CONTENT_TYPE`, `CONTENT_LENGTH` | as sent; absent when they were not; no length with chunked content |
/// | `SERVER_NAME`, `SERVER_PORT`, `SERVER_PROTOCOL` | where and how the request arrived; never empty |
/// | `REMOTE_ADDR`, `REMOTE_PORT` | the peer; absent on a Unix socket |
/// | `HTTPS` | `on` where the client used TLS, otherwise absent |
/// | `GATEWAY_INTERFACE`, `SERVER_SOFTWARE` | `CGI/1.1`, and the name and version of the server |
/// | `HTTP_*` | the other fields, upper case, `-` as `_`; repeats joined by `", "`, cookies by `"; "` |
///
/// ```
/// use doorway::testing::Request;
///
/// let environ = Request::get("/caf%C3%A9?x=%20").header("User-Agent", "curl/8").environ();
/// assert_eq!(environ.method(), "GET");
/// assert_eq!(environ.path(), "/café");
/// assert_eq!(environ.query_string(), "x=%20");
/// assert_eq!(environ.header("user-agent").as_deref(), Some("curl/8"));
/// assert_eq!(environ.get("HTTP_USER_AGENT").as_deref(), Some("curl/8"));
/// assert_eq!(environ.bytes("CONTENT_LENGTH"), None);
/// ```
#[derive(Clone)]
pub struct Environ {
    pub(crate) vars: Arc<Vars>,
    input: Arc<Mutex<Slot>>,
    errors: Errors,
}

#[derive(Clone, Default)]
pub(crate) struct Vars {
    pub(crate) variables: Variables,
    gateway: Gateway,
    extensions: Vec<Arc<dyn Any + Send + Sync>>,
}

impl Environ {
    /// An environ without variables and without content, for servers and tests to fill.
    pub fn new(gateway: Gateway) -> Environ {
        Environ {
            vars: Arc::new(Vars { gateway, ..Vars::default() }),
            input: Arc::new(Mutex::new(Some(Box::new(io::empty())))),
            errors: Errors::new(Arc::new(Silent)),
        }
    }

    /// The value of a variable, byte for byte.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.vars.variables.find(|other| other == name.as_bytes())
    }

    /// The value of a variable as text: borrowed when it is UTF-8, with U+FFFD for bytes that are not.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.bytes(name).map(String::from_utf8_lossy)
    }

    /// Every variable, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.vars.variables.iter().map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value))
    }

    /// `REQUEST_METHOD`, exactly as it was sent: methods are case-sensitive (RFC 9110 section 9.1).
    pub fn method(&self) -> &str {
        match self.bytes("REQUEST_METHOD").unwrap_or_default() {
            // Whether bytes are text takes longer to see than that they are these.
            b"GET" => "GET",
            b"POST" => "POST",
            method => std::str::from_utf8(method).unwrap_or_default(),
        }
    }

    /// `SCRIPT_NAME`: the part of the path that led to this application; empty or starting with `/`, never ending in `/`.
    pub fn script_name(&self) -> &[u8] {
        self.bytes("SCRIPT_NAME").unwrap_or_default()
    }

    /// `PATH_INFO`: the rest of the path, decoded, as bytes.
    pub fn path_info(&self) -> &[u8] {
        self.bytes("PATH_INFO").unwrap_or_default()
    }

    /// `PATH_INFO` as text, which is what a dispatch table compares.
    pub fn path(&self) -> Cow<'_, str> {
        let path = self.path_info();
        std::str::from_utf8(path).map_or_else(|_| String::from_utf8_lossy(path), Cow::Borrowed)
    }

    /// `QUERY_STRING`: what stands behind the first `?`, still encoded and so always ASCII; empty if there is none.
    pub fn query_string(&self) -> &str {
        self.text("QUERY_STRING")
    }

    /// `CONTENT_TYPE`, where the client sent one.
    pub fn content_type(&self) -> Option<Cow<'_, str>> {
        self.get("CONTENT_TYPE")
    }

    /// `CONTENT_LENGTH` in bytes. `None` means no content or content of unknown length (chunked): reading to the end of
    /// [`input`](Environ::input) is right in every case.
    pub fn content_length(&self) -> Option<u64> {
        decimal(self.bytes("CONTENT_LENGTH")?)
    }

    /// `SERVER_NAME`: the name in the request, or the one the server goes by.
    pub fn server_name(&self) -> &str {
        self.text("SERVER_NAME")
    }

    /// `SERVER_PORT`, as a number.
    pub fn server_port(&self) -> Option<u16> {
        self.text("SERVER_PORT").parse().ok()
    }

    /// `SERVER_PROTOCOL`: the version of the request, such as `HTTP/1.1`.
    pub fn server_protocol(&self) -> &str {
        self.text("SERVER_PROTOCOL")
    }

    /// `REMOTE_ADDR`: the address of the peer, which is the front server where there is one.
    pub fn remote_addr(&self) -> Option<IpAddr> {
        self.text("REMOTE_ADDR").parse().ok()
    }

    /// A request field by its name on the wire, whatever its case.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.header_bytes(name).map(String::from_utf8_lossy)
    }

    /// A request field by its name on the wire, byte for byte.
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        let bare = ["content-type", "content-length"].iter().any(|other| other.eq_ignore_ascii_case(name));
        let prefix: &[u8] = if bare { b"" } else { b"HTTP_" };
        self.vars.variables.find(|variable| {
            variable.strip_prefix(prefix).is_some_and(|rest| rest.iter().copied().eq(name.bytes().map(variable_byte)))
        })
    }

    /// The content of the request. Only one reader may be alive at a time.
    pub fn input(&self) -> Input<'_> {
        Input::new(&self.input)
    }

    /// Where to write what the operator should read.
    pub fn errors(&self) -> &Errors {
        &self.errors
    }

    /// `wsgi.version`.
    pub fn version(&self) -> (u32, u32) {
        (1, 0)
    }

    /// `wsgi.url_scheme`: `http` or `https`.
    pub fn url_scheme(&self) -> &'static str {
        if self.vars.gateway.https { "https" } else { "http" }
    }

    /// `wsgi.multithread`: whether several threads may call this application at once.
    pub fn multithread(&self) -> bool {
        self.vars.gateway.multithread
    }

    /// `wsgi.multiprocess`: whether other processes run this application too.
    pub fn multiprocess(&self) -> bool {
        self.vars.gateway.multiprocess
    }

    /// `wsgi.run_once`: a hint that this is the only call.
    pub fn run_once(&self) -> bool {
        self.vars.gateway.run_once
    }

    /// `wsgi.input_terminated`: the input always ends where the content ends.
    pub fn input_terminated(&self) -> bool {
        true
    }

    /// `doorway.door`: the protocol by which the request arrived.
    pub fn door(&self) -> &'static str {
        self.vars.gateway.door
    }

    /// A typed value that middleware or the server has added.
    ///
    /// ```
    /// struct User(String);
    ///
    /// let mut environ = doorway::testing::Request::get("/").environ();
    /// environ.insert_extension(User("ada".into()));
    /// assert_eq!(environ.extension::<User>().unwrap().0, "ada");
    /// ```
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.vars.extensions.iter().find_map(|value| (**value).downcast_ref())
    }

    /// Adds a typed value, or replaces the one of the same type, in this environ and the clones made of it later.
    pub fn insert_extension<T: Any + Send + Sync>(&mut self, value: T) {
        let extensions = &mut Arc::make_mut(&mut self.vars).extensions;
        extensions.retain(|other| !(**other).is::<T>());
        extensions.push(Arc::new(value));
    }

    /// Sets a variable in this environ and the clones made of it later; others keep what they had.
    ///
    /// ```
    /// let environ = doorway::testing::Request::get("/api/users").environ();
    /// let mut inner = environ.clone();
    /// inner.set("SCRIPT_NAME", "/api");
    /// inner.set("PATH_INFO", "/users");
    /// assert_eq!((inner.path(), environ.path()), ("/users".into(), "/api/users".into()));
    /// ```
    ///
    /// Every variable is bytes; what is not has its place among the extensions:
    ///
    /// ```compile_fail,E0277
    /// let mut environ = doorway::testing::Request::get("/").environ();
    /// environ.set("REMOTE_PORT", 8000); // P-ENV-19
    /// ```
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        Arc::make_mut(&mut self.vars).variables.set(name.as_bytes(), value.as_ref());
    }

    /// Removes a variable; no error when it is not there.
    pub fn remove(&mut self, name: &str) {
        Arc::make_mut(&mut self.vars).variables.remove(name.as_bytes());
    }

    /// Sets `wsgi.url_scheme`, for middleware that learns it from a trusted front server.
    pub fn set_https(&mut self, https: bool) {
        Arc::make_mut(&mut self.vars).gateway.https = https;
    }

    /// Gives this environ a content of its own, which ends where `content` ends. The clones it came from keep theirs.
    pub fn set_input(&mut self, content: impl BufRead + Send + 'static) {
        self.input = Arc::new(Mutex::new(Some(Box::new(content))));
    }

    /// Sets the error stream.
    pub fn set_errors(&mut self, errors: Errors) {
        self.errors = errors;
    }

    /// Begins the next request: its variables are filled from the head, which is copied, beside those that are shared. Nothing is allocated
    /// unless the last application has kept a clone.
    pub(crate) fn refill(&mut self, gateway: Gateway, head: &[u8], shared: &Arc<Variables>) -> &mut Variables {
        let vars = Arc::make_mut(&mut self.vars);
        vars.gateway = gateway;
        vars.extensions.clear();
        vars.variables.refill(head, shared);
        &mut vars.variables
    }

    /// How many bytes of memory its variables hold.
    pub(crate) fn memory(&self) -> usize {
        self.vars.variables.memory()
    }

    /// Lays out the content of the next request.
    pub(crate) fn open_input(&mut self, content: Option<Box<dyn BufRead + Send>>) {
        // Nothing has no size, so its box needs no memory.
        let slot: Slot = content.or_else(|| Some(Box::new(io::empty())));
        match Arc::get_mut(&mut self.input) {
            // A reader that was forgotten has locked its place for ever.
            Some(place) if place.try_lock().is_ok() => *place.get_mut().unwrap_or_else(PoisonError::into_inner) = slot,
            _ => self.input = Arc::new(Mutex::new(slot)),
        }
    }

    /// Ends the call: what was laid out is dropped, unless a reader is still alive somewhere, and clones that the application has kept read
    /// an error from now on. Tells whether it was.
    pub(crate) fn close_input(&self) -> bool {
        self.input().slot.map(|mut slot| *slot = None).is_some()
    }

    fn text(&self, name: &str) -> &str {
        self.bytes(name).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
    }
}

/// A byte of a field name as it stands in the name of a variable.
pub(crate) fn variable_byte(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }
}

/// Method and path only: other variables may be secrets.
impl fmt::Debug for Environ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environ").field("method", &self.method()).field("path", &self.path()).finish_non_exhaustive()
    }
}

/// An address as far as it names a client: of IPv6 a host has 64 bits to choose from.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    #[test]
    fn p_env_01_an_edit_is_seen_in_later_clones_and_not_outside() {
        let mut outer = Environ::new(Gateway::default());
        outer.set("A", "1");
        let mut inner = outer.clone();
        inner.set("A", "2");
        inner.set("B", "3");
        inner.remove("none");
        assert_eq!((outer.bytes("A"), outer.bytes("B")), (Some(&b"1"[..]), None));
        assert_eq!((inner.clone().bytes("A"), inner.bytes("B")), (Some(&b"2"[..]), Some(&b"3"[..])));
        inner.remove("A");
        assert_eq!((inner.bytes("A"), outer.bytes("A")), (None, Some(&b"1"[..])));
    }

    #[test]
    fn typed_accessors_say_what_the_variables_and_the_gateway_say() {
        let gateway =
            |flag| Gateway { door: "cgi", https: flag, multithread: !flag, multiprocess: flag, run_once: flag };
        for flag in [false, true] {
            let mut environ = Environ::new(gateway(flag));
            assert_eq!((environ.content_length(), environ.server_port(), environ.remote_addr()), (None, None, None));
            environ.set("CONTENT_LENGTH", "+42");
            assert_eq!(environ.content_length(), None);
            environ.set("CONTENT_LENGTH", "42");
            environ.set("SERVER_NAME", "example.org");
            environ.set("SERVER_PORT", "8080");
            environ.set("REMOTE_ADDR", "192.0.2.7");
            environ.set("REQUEST_METHOD", "PUT");
            assert_eq!((environ.content_type(), environ.server_protocol()), (None, ""));
            environ.set("CONTENT_TYPE", "text/plain");
            environ.set("SERVER_PROTOCOL", "HTTP/1.0");
            assert_eq!((environ.content_type(), environ.server_protocol()), (Some("text/plain".into()), "HTTP/1.0"));
            assert_eq!((environ.content_length(), environ.server_port()), (Some(42), Some(8080)));
            assert_eq!((environ.server_name(), environ.remote_addr()), ("example.org", "192.0.2.7".parse().ok()));
            assert_eq!((environ.version(), environ.door(), environ.input_terminated()), ((1, 0), "cgi", true));
            assert_eq!((environ.multithread(), environ.multiprocess(), environ.run_once()), (!flag, flag, flag));
            assert_eq!(environ.url_scheme(), if flag { "https" } else { "http" });
            environ.set_https(!flag);
            assert_eq!(environ.url_scheme(), if flag { "http" } else { "https" });
            assert!(format!("{environ:?}").contains("PUT"));
        }
    }

    #[test]
    fn every_variable_is_iterated_over_once_with_its_last_value() {
        let mut environ = Environ::new(Gateway::default());
        assert_eq!(environ.iter().count(), 0);
        for (name, value) in [("A", "1"), ("B", "2"), ("A", "3")] {
            environ.set(name, value);
        }
        let mut variables: Vec<_> = environ.iter().collect();
        variables.sort_unstable();
        assert_eq!(variables, [("A", &b"3"[..]), ("B", b"2")]);
    }

    #[test]
    fn extensions_are_found_by_their_type_and_replaced_by_one_of_the_same() {
        let mut environ = Environ::new(Gateway::default());
        environ.insert_extension(1_u8);
        environ.insert_extension("text");
        environ.insert_extension(2_u8);
        assert_eq!((environ.extension::<u8>(), environ.extension::<&str>()), (Some(&2), Some(&"text")));
        assert_eq!(environ.extension::<u16>(), None);
    }

    #[test]
    fn p_env_20_values_are_bytes_and_text_is_never_absent_because_of_them() {
        let mut environ = Environ::new(Gateway::default());
        environ.set("PATH_INFO", b"/\xE4");
        assert_eq!(environ.path_info(), b"/\xE4");
        assert_eq!(environ.path(), "/\u{FFFD}");
        assert_eq!(environ.get("PATH_INFO").as_deref(), Some("/\u{FFFD}"));
    }

    #[test]
    fn p_in_11_clones_share_one_input_and_its_position() {
        let mut environ = Environ::new(Gateway::default());
        environ.set_input(Cursor::new(b"abcdef"));
        let clone = environ.clone();
        let mut three = [0; 3];
        clone.input().read_exact(&mut three).unwrap();
        let mut rest = String::new();
        environ.input().read_to_string(&mut rest).unwrap();
        assert_eq!((&three, &*rest), (b"abc", "def"));
        assert_eq!(environ.input().read(&mut three).unwrap(), 0);
    }

    #[test]
    fn p_in_11_a_second_live_reader_reads_an_error() {
        let mut environ = Environ::new(Gateway::default());
        environ.set_input(Cursor::new(b"abc"));
        let clone = environ.clone();
        let _first = environ.input();
        assert!(clone.input().read(&mut [0; 1]).is_err());
    }

    #[test]
    fn an_environ_that_was_kept_reads_an_error_after_the_call_and_never_the_next_request() {
        let mut environ = Environ::new(Gateway::default());
        environ.open_input(Some(Box::new(Cursor::new(b"first"))));
        let kept = environ.clone();
        environ.close_input();
        environ.open_input(Some(Box::new(Cursor::new(b"second"))));
        assert!(kept.input().read(&mut [0; 9]).is_err());
        assert_eq!(environ.input().read(&mut [0; 9]).unwrap(), 6);
    }

    #[test]
    fn header_finds_fields_by_their_name_on_the_wire() {
        let mut environ = Environ::new(Gateway::default());
        environ.set("HTTP_X_REQUEST_ID", "7");
        environ.set("CONTENT_TYPE", "text/plain");
        assert_eq!(environ.header("x-request-ID").as_deref(), Some("7"));
        assert_eq!(environ.header("Content-Type").as_deref(), Some("text/plain"));
        assert_eq!(environ.header("x-request"), None);
    }
}
