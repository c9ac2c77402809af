//! Small content as a whole, and errors that answer by themselves.
//!
//! An [`io::Error`] that holds a [`Cause`] is answered with the status of that cause where an application passes it on with `?`: 413 for
//! content over a limit, 415 for a type that is not read, 400 for what breaks its format. The server's own limit
//! (`Settings::max_content`) holds as well.

use std::io::{self, Read};

use super::{Form, form_pairs};
use crate::cause::Cause;
use crate::gateway::Environ;

impl Environ {
    /// The whole content, which must not be longer than `limit` bytes.
    ///
    /// Content that is announced as longer is refused before any of it is read, so a client that waits for `100 Continue` sends none.
    ///
    /// # Errors
    /// Those of [`Input`](crate::Input), and [`Cause::ContentLong`] (413).
    ///
    /// ```
    /// use std::io;
    /// use doorway::{Environ, Response, simple};
    ///
    /// fn shout(environ: &Environ) -> io::Result<Response> {
    ///     let content = environ.content(1_000)?;
    ///     Ok(Response::text(content.to_ascii_uppercase()))
    /// }
    /// # use doorway::testing::Request;
    /// # assert_eq!(Request::post("/", "abc").call(&simple(shout)).text(), "ABC");
    /// # assert_eq!(Request::post("/", "x".repeat(1_001)).call(&simple(shout)).status.code(), 413);
    /// ```
    pub fn content(&self, limit: usize) -> io::Result<Vec<u8>> {
        if self.content_length().is_some_and(|length| length > limit as u64) {
            return Err(refused(Cause::ContentLong));
        }
        read_all(&mut self.input(), limit)
    }

    /// The names and values of a form of at most `limit` bytes, as [`form_pairs`] reads them.
    ///
    /// # Errors
    /// Those of [`content`](Environ::content), and [`Cause::ContentType`] (415) for content that is no such form. A form with files is read by
    /// [`multipart`](crate::web::multipart).
    ///
    /// ```
    /// use std::io;
    /// use doorway::{Environ, Response, simple};
    ///
    /// fn greet(environ: &Environ) -> io::Result<Response> {
    ///     let form = environ.form(10_000)?;
    ///     Ok(Response::text(format!("Hello, {}!", form.get("name").unwrap_or("web"))))
    /// }
    /// # use doorway::testing::Request;
    /// # let form = || Request::post("/", "name=Ada+Lovelace");
    /// # let typed = form().header("Content-Type", "application/x-www-form-urlencoded");
    /// # assert_eq!(typed.call(&simple(greet)).text(), "Hello, Ada Lovelace!");
    /// # assert_eq!(form().header("Content-Type", "text/plain").call(&simple(greet)).status.code(), 415);
    /// ```
    pub fn form(&self, limit: usize) -> io::Result<Form> {
        if !self.is_form() {
            return Err(refused(Cause::ContentType));
        }
        let content = self.content(limit)?;
        Ok(Form { pairs: form_pairs(&content).map(|(name, value)| (name.into_owned(), value.into_owned())).collect() })
    }
}

/// Everything that a reader gives, unless it is more than `limit` bytes.
pub(super) fn read_all(reader: &mut dyn Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    // One byte more tells what just fits from what does not.
    let most = (limit as u64).saturating_add(1);
    read(reader, most, &mut content)?;
    if content.len() > limit { Err(refused(Cause::ContentLong)) } else { Ok(content) }
}

/// Adds what a reader gives to `content`, `most` bytes at most. Of all readers, because std's reading to the end is generic and long.
pub(crate) fn read(reader: &mut dyn Read, most: u64, content: &mut Vec<u8>) -> io::Result<usize> {
    reader.take(most).read_to_end(content)
}

/// Whether the content is of a media type, in any case and with any parameters.
pub(super) fn is_of_type(environ: &Environ, media_type: &str) -> bool {
    let content_type = environ.bytes("CONTENT_TYPE").unwrap_or_default();
    let sent = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    sent.trim_ascii().eq_ignore_ascii_case(media_type.as_bytes())
}

/// The error that answers with the status of a cause.
pub(crate) fn refused(cause: Cause) -> io::Error {
    let kind = match cause {
        Cause::ContentLong => io::ErrorKind::FileTooLarge,
        Cause::MultipartTruncated => io::ErrorKind::UnexpectedEof,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, cause)
}
