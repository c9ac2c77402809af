//! How an application takes a connection over to speak another protocol on it, such as WebSocket.
//!
//! RFC 9110 sections 7.8 and 15.2.2. The client offers, in a variable that only a server sets; the application answers
//! `101 Switching Protocols` and says what it does with the connection then. One without the other is a wrong call. What a connection is made of, who
//! runs the function and how many there may be is the server's affair; the protocol itself is the application's.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use super::{Body, Environ, Kind, Status};

/// A connection that an application has taken over. Clones read and write the same one, each in a thread of its own.
///
/// What the client sent behind its request is read first. A read or a write that takes longer than its timeout is an error of the kind
/// `WouldBlock` or `TimedOut`. A server sets timeouts before it hands a connection over, so that a client which falls silent ends it.
pub trait Upgraded: Read + Write + Send + Sync {
    /// A second handle of the connection.
    ///
    /// # Errors
    /// Where the stream under it has only one, as one of [`serve_connection`](crate::serve_connection).
    fn try_clone(&self) -> io::Result<Box<dyn Upgraded>>;

    /// How long one read may wait; `None` for ever.
    ///
    /// # Errors
    /// A time of 0, or a stream that has no timeouts.
    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()>;

    /// How long one write may wait; `None` for ever.
    ///
    /// # Errors
    /// As [`set_read_timeout`](Upgraded::set_read_timeout).
    fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()>;

    /// Ends one direction or both, for every clone.
    ///
    /// # Errors
    /// Where the stream cannot.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

/// A timeout that every system takes: one of 0 would be none, and a clock cannot hold them all.
pub(crate) fn bounded(time: Duration) -> Duration {
    const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    time.clamp(Duration::from_millis(1), A_YEAR)
}

/// What becomes of a connection behind `101 Switching Protocols`.
pub(crate) struct Upgrade {
    pub(crate) protocol: String,
    pub(crate) run: Box<dyn FnOnce(Box<dyn Upgraded>) + Send>,
}

impl Body {
    /// No body: behind the head, which must be `101 Switching Protocols`, the connection is given to a function, in a thread of its own.
    /// `protocol` must be one that the client offers ([`Environ::offers_upgrade`]); the server says it in the fields `Upgrade` and
    /// `Connection`. When the function returns, the connection ends, whatever clones of it there are. Functions of
    /// [`on_close`](Body::on_close) run after it.
    ///
    /// More than [`Settings::upgrades`](crate::Settings::upgrades) at once are answered 503, and their functions dropped.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use doorway::{Body, Environ, StartResponse};
    ///
    /// fn echo(environ: &Environ, start_response: &mut StartResponse) -> Body {
    ///     if !environ.offers_upgrade("echo") {
    ///         start_response.start("400 Bad Request", &[("Content-Type", "text/plain")]);
    ///         return Body::from("Only with `Upgrade: echo`.\n");
    ///     }
    ///     start_response.start("101 Switching Protocols", &[]);
    ///     Body::upgrade("echo", |mut connection| {
    ///         let mut room = [0; 1024];
    ///         // Nothing is left to do for a client that has gone or is silent.
    ///         while let Ok(length @ 1..) = connection.read(&mut room) {
    ///             if connection.write_all(&room[..length]).is_err() {
    ///                 break;
    ///             }
    ///         }
    ///     })
    /// }
    /// # let request = || doorway::testing::Request::get("/");
    /// # assert_eq!(request().call(&echo).status.code(), 400);
    /// # assert_eq!(request().offer_upgrade("a, Echo").call(&echo).status.code(), 101);
    /// ```
    pub fn upgrade(protocol: &str, run: impl FnOnce(Box<dyn Upgraded>) + Send + 'static) -> Body {
        Body::of_kind(Kind::Upgrade(Upgrade { protocol: protocol.to_owned(), run: Box::new(run) }))
    }

    /// The protocol in which the connection goes on behind the head, if it does. An error says what is wrong: the status, or that nobody asked
    /// for it. The function stays: what nobody runs is dropped with the body, in one place, where it may panic.
    pub(crate) fn upgrades_to(
        &mut self,
        status: Option<&Status>,
        environ: &Environ,
    ) -> Result<Option<&str>, &'static str> {
        let is_101 = status.is_some_and(|status| status.code() == 101);
        match self.kind() {
            Kind::Upgrade(_) if !is_101 => Err("Body::upgrade, and the status is not 101"),
            Kind::Upgrade(Upgrade { protocol, .. }) if environ.offers_upgrade(protocol) => Ok(Some(protocol)),
            Kind::Upgrade(_) => Err("the client has not offered this protocol"),
            _ if is_101 => Err("101 without Body::upgrade"),
            _ => Ok(None),
        }
    }
}

impl Environ {
    /// Whether the client would go on in this protocol behind this request, as `doorway.upgrade` says: the field Upgrade of an HTTP/1.1
    /// request without content whose Connection names it. At other doors than HTTP, nobody can.
    pub fn offers_upgrade(&self, protocol: &str) -> bool {
        let mut offered = self.bytes("doorway.upgrade").unwrap_or_default().split(|byte| *byte == b',');
        !protocol.is_empty() && offered.any(|one| one.trim_ascii().eq_ignore_ascii_case(protocol.as_bytes()))
    }
}
