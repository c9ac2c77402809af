//! Forms with files: `multipart/form-data`, read part by part as it arrives.
//!
//! RFC 7578, RFC 2046 section 5.1. [`Parts`] gives one [`Part`] after the other, each of which is a reader, so that a file of any size
//! passes through without being held. Everything a client can make grow has a limit ([`Limits`]); passing one is an error that answers 413
//! by itself where an application passes it on with `?`, and what breaks the format answers 400. Nothing is repaired: a bare LF, a folded
//! field, a part without a name, two names, or text behind a boundary could each be read in two ways, and so is refused.
//!
//! What is not done: a `Content-Transfer-Encoding` is not decoded (RFC 7578 section 4.7 deprecates it, and no browser sends one), names are
//! given as they were sent (browsers write `%22` for a quote), and nested `multipart/mixed` is a part like any other.

mod delimited;
mod delimiter;
mod file_name;
mod parameters;

use std::io::{self, BufRead, Read};

pub(crate) use file_name::is_device;
pub use file_name::safe_file_name;

use self::delimited::Delimited;
use self::parameters::Parameters;
use super::content::{is_of_type, read_all, refused};
use crate::cause::Cause;
use crate::gateway::{Environ, Headers, Input};
use crate::http::head::{self, Spans};

/// RFC 2046 section 5.1.1.
const LONGEST_BOUNDARY: usize = 70;

/// White space behind a boundary, which no client sends.
const LONGEST_PADDING: usize = 128;

/// How much of a form is read.
///
/// ```
/// use doorway::multipart::Limits;
///
/// let limits = Limits { parts: 20, ..Limits::default() };
/// assert_eq!((limits.head, limits.content), (8 * 1024, u64::MAX));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many parts there may be. 1,000.
    pub parts: usize,
    /// How many bytes the head of a part may have: its fields and the empty line behind them. 8 KiB.
    pub head: usize,
    /// How many fields the head of a part may have. 20.
    pub fields: usize,
    /// How many bytes may stand before the first boundary. 8 KiB.
    pub preamble: u64,
    /// How many bytes the whole may have. No limit but that of the server (`Settings::max_content`).
    pub content: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { parts: 1_000, head: 8 * 1024, fields: 20, preamble: 8 * 1024, content: u64::MAX }
    }
}

/// The parts of a form, one after the other.
///
/// ```
/// use std::io;
/// use doorway::multipart::{Limits, Parts};
/// use doorway::{Environ, Response, simple};
///
/// fn upload(environ: &Environ) -> io::Result<Response> {
///     let mut answer = String::new();
///     let mut parts = Parts::of(environ, Limits::default())?;
///     while let Some(mut part) = parts.next_part()? {
///         let name = part.name().to_owned();
///         match part.safe_file_name() {
///             // A real program copies it to a file.
///             Some(file_name) => {
///                 let length = io::copy(&mut part, &mut io::sink())?;
///                 answer.push_str(&format!("{name}: {length} bytes for {file_name}\n"));
///             }
///             None => answer.push_str(&format!("{name}={}\n", part.text(1_000)?)),
///         }
///     }
///     Ok(Response::text(answer))
/// }
/// # let form = "--x\r\nContent-Disposition: form-data; name=\"who\"\r\n\r\nAda\r\n\
/// #     --x\r\nContent-Disposition: form-data; name=\"what\"; filename=\"../notes.txt\"\r\nContent-Type: text/plain\r\n\r\n1843\r\n--x--\r\n";
/// # let request = || doorway::testing::Request::post("/", form).header("Content-Type", "multipart/form-data; boundary=x");
/// # assert_eq!(request().call(&simple(upload)).text(), "who=Ada\nwhat: 4 bytes for notes.txt\n");
/// # let response = request().content(&form[..90]).call(&simple(upload));
/// # assert_eq!(response.status.code(), 400);
/// ```
pub struct Parts<R> {
    content: Delimited<R>,
    limits: Limits,
    count: usize,
    place: Place,
    head: Vec<u8>,
    spans: Spans,
}

#[derive(Clone, Copy)]
enum Place {
    /// Before the first boundary.
    Preamble,
    /// In a part, or at its end.
    Part,
    /// Behind the last boundary.
    End,
    /// What came makes no sense, nor does anything behind it.
    Broken(Cause),
}

impl<'environ> Parts<Input<'environ>> {
    /// The parts of the content of a request.
    ///
    /// # Errors
    /// `CONTENT_TYPE` is not `multipart/form-data` with one boundary ([`Cause::ContentType`], 415).
    pub fn of(environ: &'environ Environ, limits: Limits) -> io::Result<Parts<Input<'environ>>> {
        let content_type = environ.bytes("CONTENT_TYPE").unwrap_or_default();
        let parameters = Parameters::of(content_type).filter(|_| is_of_type(environ, "multipart/form-data"));
        match parameters.as_ref().and_then(|parameters| parameters.get("boundary")) {
            Some(boundary) => Parts::new(environ.input(), boundary, limits),
            None => Err(refused(Cause::ContentType)),
        }
    }
}

impl<R: Read> Parts<R> {
    /// The parts of anything that can be read, 32 KiB at a time, such as content that was kept. For a request, [`of`](Parts::of) finds the boundary.
    ///
    /// # Errors
    /// The boundary is not 1 to 70 of the characters of RFC 2046, or ends in a space ([`Cause::ContentType`], 415).
    pub fn new(content: R, boundary: &[u8], limits: Limits) -> io::Result<Parts<R>> {
        let is_valid = (1..=LONGEST_BOUNDARY).contains(&boundary.len())
            && boundary.iter().all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte))
            && !boundary.ends_with(b" ");
        if !is_valid {
            return Err(refused(Cause::ContentType));
        }
        let content = Delimited::new(content, boundary, limits.content);
        Ok(Parts { content, limits, count: 0, place: Place::Preamble, head: Vec::new(), spans: Spans::new() })
    }

    /// The next part, after what was not read of the last one; `None` behind the last boundary. What a client sends behind that is not
    /// looked at.
    ///
    /// # Errors
    /// Those of the input, and [`Cause::ContentLong`] (413) where a limit is passed, [`Cause::MultipartTruncated`] (400) where the
    /// content ends before its last boundary, [`Cause::MultipartBoundary`] and [`Cause::PartHead`] (400) for what breaks the format. Each
    /// is an [`io::Error`] whose cause [`Cause::of`] tells. What is behind a break is not read: the error comes again.
    pub fn next_part(&mut self) -> io::Result<Option<Part<'_, R>>> {
        let fields = match self.advance() {
            Ok(fields) => fields,
            Err(error) => {
                if let Some(cause) = Cause::of(&error) {
                    self.place = Place::Broken(cause);
                }
                return Err(error);
            }
        };
        Ok(fields.map(|fields| Part { content: &mut self.content, fields }))
    }

    fn advance(&mut self) -> io::Result<Option<PartFields>> {
        match self.place {
            Place::Preamble => self.content.pass(self.limits.preamble)?,
            Place::Part => self.content.pass(u64::MAX)?,
            Place::End => return Ok(None),
            Place::Broken(cause) => return Err(refused(cause)),
        }
        // An input that fails in the lines that follow may go on, but in the middle of one.
        self.place = Place::Broken(Cause::MultipartTruncated);
        if self.is_last()? {
            self.place = Place::End;
            return Ok(None);
        }
        if self.count == self.limits.parts {
            return Err(refused(Cause::ContentLong));
        }
        self.count += 1;
        self.read_head()?;
        let fields = self.parse_head().ok_or_else(|| refused(Cause::PartHead))?;
        self.content.begin();
        self.place = Place::Part;
        Ok(Some(fields))
    }

    /// Reads the rest of the line of a boundary; whether it was the last one.
    ///
    /// ```text
    /// encapsulation   = delimiter transport-padding CRLF
    /// close-delimiter = delimiter "--"     ; then transport-padding, and the end or CRLF epilogue
    /// ```
    fn is_last(&mut self) -> io::Result<bool> {
        let broken = |byte: Option<u8>| match byte {
            Some(_) => refused(Cause::MultipartBoundary),
            None => refused(Cause::MultipartTruncated),
        };
        let mut byte = self.content.byte()?;
        let is_last = byte == Some(b'-');
        if is_last {
            match self.content.byte()? {
                Some(b'-') => byte = self.content.byte()?,
                other => return Err(broken(other)),
            }
        }
        let mut padding = 0;
        while matches!(byte, Some(b' ' | b'\t')) && padding < LONGEST_PADDING {
            byte = self.content.byte()?;
            padding += 1;
        }
        match byte {
            Some(b'\r') => match self.content.byte()? {
                Some(b'\n') => Ok(is_last),
                other => Err(broken(other)),
            },
            None if is_last => Ok(true),
            other => Err(broken(other)),
        }
    }

    /// Reads the fields of a part and the empty line that ends them.
    fn read_head(&mut self) -> io::Result<()> {
        self.head.clear();
        while !self.head.ends_with(b"\r\n\r\n") && self.head != b"\r\n" {
            if self.head.len() == self.limits.head {
                return Err(refused(Cause::ContentLong));
            }
            self.head.push(self.content.byte()?.ok_or_else(|| refused(Cause::MultipartTruncated))?);
        }
        Ok(())
    }

    fn parse_head(&mut self) -> Option<PartFields> {
        let Limits { head, fields, .. } = self.limits;
        let limits = head::Limits { target: 0, field_line: head, fields, head };
        head::parse_fields(&self.head, &self.head, &limits, &mut self.spans).ok()?;
        let own = || head::fields(&self.head, &self.spans.places);
        let mut dispositions = own().filter(|(name, _)| name.eq_ignore_ascii_case(b"Content-Disposition"));
        let (_, disposition) = dispositions.next().filter(|_| dispositions.next().is_none())?;
        let disposition = Parameters::of(disposition)?;
        if !disposition.value.eq_ignore_ascii_case(b"form-data") {
            return None;
        }
        let (name, file_name) = (disposition.text("name")?, disposition.text("filename"));
        let mut headers = Headers::new();
        own().for_each(|(name, value)| headers.add(name, value));
        Some(PartFields { name, file_name, headers })
    }
}

/// One part of a form: a reader that ends where the part ends. What is not read is passed over by [`Parts::next_part`].
pub struct Part<'parts, R> {
    content: &'parts mut Delimited<R>,
    fields: PartFields,
}

struct PartFields {
    name: String,
    file_name: Option<String>,
    headers: Headers,
}

impl<R: Read> Part<'_, R> {
    /// The name of the field, as sent; U+FFFD stands for bytes that are not UTF-8.
    pub fn name(&self) -> &str {
        &self.fields.name
    }

    /// The name of the file as the client says it; `None` for a field that is no file, `""` where a file was not chosen. It may be a path, or
    /// anything else: [`safe_file_name`](Part::safe_file_name) is the one to store a file under.
    pub fn file_name(&self) -> Option<&str> {
        self.fields.file_name.as_deref()
    }

    /// The name of the file made harmless, see [`safe_file_name()`].
    pub fn safe_file_name(&self) -> Option<String> {
        safe_file_name(self.file_name()?)
    }

    /// The media type that the client guessed, as sent, such as `image/png`.
    pub fn content_type(&self) -> Option<&str> {
        self.fields.headers.get_bytes("Content-Type").and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The fields of the head.
    pub fn headers(&self) -> &Headers {
        &self.fields.headers
    }

    /// The rest of the part, which must not be longer than `limit` bytes.
    ///
    /// # Errors
    /// Those of reading, and [`Cause::ContentLong`] (413).
    pub fn content(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        read_all(self, limit)
    }

    /// As [`content`](Part::content), as text; U+FFFD stands for bytes that are not UTF-8.
    ///
    /// # Errors
    /// As [`content`](Part::content).
    pub fn text(&mut self, limit: usize) -> io::Result<String> {
        let content = self.content(limit)?;
        Ok(String::from_utf8(content).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }
}

impl<R: Read> Read for Part<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer)
    }
}

impl<R: Read> BufRead for Part<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.content.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.content.consume(amount);
    }
}
