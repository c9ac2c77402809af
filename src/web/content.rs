//! Small content as a whole, and errors that answer by themselves.
//!
//! An [`io::Error`] that holds a [`Cause`] is answered with the status of that cause where an application passes it on with `?`: 413 for
//! content over a limit, 415 for a type that is not read, 400 for what breaks its format. The server's own limit
//! (`Settings::max_content`) holds as well.

use std::io::{self, Read};

use super::{Form, form_pairs};
use crate::cause::Cause;
use crate::gateway::Environ;

/// How many fields a [`Form`] has, as one with files has parts: a field may be two bytes of the content, and takes forty times that in memory.
const MOST_FIELDS: usize = 1_000;

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

    /// The names and values of a form of at most `limit` bytes and 1,000 fields, as [`form_pairs`] reads them. An application with larger forms reads
    /// the pairs of its [`content`](Environ::content) one by one.
    ///
    /// # Errors
    /// Those of [`content`](Environ::content), among them [`Cause::ContentLong`] (413) for more fields too, and [`Cause::ContentType`] (415) for content
    /// that is no such form. A form with files is read by [`multipart`](crate::web::multipart).
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
        let (content, mut pairs) = (self.content(limit)?, Vec::new());
        for (name, value) in form_pairs(&content) {
            if pairs.len() == MOST_FIELDS {
                return Err(refused(Cause::ContentLong));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Form { pairs })
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

#[cfg(test)]
mod tests {
    use super::MOST_FIELDS;
    use crate::cause::Cause;
    use crate::testing::Request;

    #[test]
    fn a_form_has_a_thousand_fields_at_most_because_each_takes_more_memory_than_it_is_long() {
        let read = |fields: usize| {
            let request = Request::post("/", "a&".repeat(fields));
            request.header("Content-Type", "application/x-www-form-urlencoded").environ().form(usize::MAX)
        };
        assert_eq!(read(MOST_FIELDS).map(|form| form.pairs.len()).ok(), Some(MOST_FIELDS));
        assert_eq!(read(MOST_FIELDS + 1).map_err(|error| Cause::of(&error)), Err(Some(Cause::ContentLong)));
    }
}
