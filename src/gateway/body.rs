//! What an application returns: the body of a response, sent block by block.
//!
//! PEP 3333, "Buffering and Streaming" (P-BODY-01 to P-BODY-08), "Optional Platform-Specific File Handling" (P-FILE-01 to
//! P-FILE-08). A body is dropped exactly once, whatever happens to the response; its `on_close` functions run then. How a
//! block travels is the server's affair.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use super::StartResponse;
use super::channel::Receiver;
use super::file_range::FileRange;
use super::upgrade::Upgrade;

/// One block of a body: borrowed for ever (`&'static`) or owned.
pub type Block = Cow<'static, [u8]>;

/// How much of a reader or file goes into one block: large enough that a system call costs little beside the bytes.
pub(crate) const READ_BLOCK: usize = 64 * 1024;

/// The body of a response.
///
/// | made from | Content-Length | sent |
/// |---|---|---|
/// | `&'static str`, `String`, `Vec<u8>`, `Cow`, `()` | set by the server | with the head, in one piece |
/// | [`Body::list`] | set by the server (the sum) | with the head, gathered |
/// | `File` | set by the server for a regular file | from its position to its end, in large blocks |
/// | [`Body::file_range`] | set by the server (the length asked for) | as a `File` |
/// | [`Body::blocks`], [`Body::reader`] | only if the application gives it | each block at once; small ones within 0.1 ms of the last are gathered for 3 ms at most |
/// | [`Body::channel`] | only if the application gives it | each block when it was sent, without a thread that waits |
/// | [`Body::deferred`] | as the body it makes | as the body it makes |
/// | [`Body::upgrade`] | none | nothing: the connection is the application's behind the head |
/// | `Result<_, E>` | as the body inside | an `Err` is logged and answered 500 |
///
/// ```
/// use doorway::{Body, Environ, StartResponse};
///
/// fn countdown(_environ: &Environ, start_response: &mut StartResponse) -> Body {
///     start_response.start("200 OK", &[("Content-Type", "text/plain")]);
///     Body::blocks((0..3).rev().map(|n| format!("{n}\n")))
///         .on_close(|| { /* runs once, even if the client goes away */ })
/// }
/// # assert_eq!(doorway::testing::Request::get("/").call(&countdown).text(), "2\n1\n0\n");
/// ```
#[must_use = "a body that is dropped sends nothing"]
pub struct Body {
    kind: Kind,
    on_close: Vec<Box<dyn FnOnce() + Send>>,
}

/// The forms a body can have; the server decides by them how to send it (P-FILE-07).
#[derive(Default)]
pub(crate) enum Kind {
    #[default]
    Empty,
    Bytes(Block),
    List(std::vec::IntoIter<Block>),
    /// Asked for each; a table of all that an `Iterator` has would be longer than most of them are.
    Blocks(Box<dyn FnMut() -> Option<io::Result<Block>> + Send>),
    Range(FileRange),
    /// Blocks that another thread sends.
    Channel(Receiver),
    Deferred(Box<dyn FnOnce(&mut StartResponse) -> Body + Send>),
    Failed(Box<dyn Error + Send + Sync>),
    Upgrade(Upgrade),
}

impl Kind {
    /// The next block; `None` at the end.
    pub(crate) fn next_block(&mut self) -> Option<io::Result<Block>> {
        match self {
            Kind::List(blocks) => return blocks.next().map(Ok),
            Kind::Blocks(next) => return next(),
            Kind::Range(range) => return range.next_block(Vec::new()),
            Kind::Channel(receiver) => return receiver.next_block(),
            Kind::Empty | Kind::Upgrade(_) => return None,
            Kind::Bytes(_) | Kind::Deferred(_) | Kind::Failed(_) => {}
        }
        match std::mem::take(self) {
            Kind::Bytes(bytes) => Some(Ok(bytes)),
            // As it came, with its kind and its cause.
            Kind::Failed(error) => Some(Err(error.downcast().map_or_else(io::Error::other, |error| *error))),
            Kind::Deferred(_) => Some(Err(io::Error::other("a deferred body has no blocks before it is resolved"))),
            _ => None,
        }
    }

    /// The same, where it is not waited for another thread that sends it.
    pub(crate) fn poll_block(&mut self) -> Poll<Option<io::Result<Block>>> {
        match self {
            Kind::Channel(receiver) => receiver.take(),
            kind => Poll::Ready(kind.next_block()),
        }
    }
}

impl Body {
    /// No body: Content-Length 0.
    pub fn empty() -> Body {
        Body::of_kind(Kind::Empty)
    }

    /// Blocks from an iterator: of text, of bytes, of whatever a body is made from, or of a `Result` of one of them. Each is on its way before
    /// the next is asked for (P-BODY-01): it is sent at once, or, where small blocks come less than 0.1 ms after one another, with those behind
    /// it, by another thread within about 3 ms should they keep it waiting. An `Err` ends the response: with 500 if nothing was sent, otherwise
    /// by a visible abort.
    pub fn blocks(blocks: impl IntoIterator<Item: Into<Body>, IntoIter: Send + 'static>) -> Body {
        let (mut blocks, mut open) = (blocks.into_iter(), Body::empty());
        Body::of_kind(Kind::Blocks(Box::new(move || {
            open.kind.next_block().or_else(|| {
                open = blocks.next()?.into();
                // An empty block is one, too: whoever has nothing yet is not asked again and again in here.
                Some(open.kind.next_block().unwrap_or_else(|| Ok(Block::default())))
            })
        })))
    }

    /// Blocks that are all there, so that the length is known.
    pub fn list(blocks: Vec<impl Into<Block>>) -> Body {
        let blocks: Vec<Block> = blocks.into_iter().map(Into::into).collect();
        Body::of_kind(Kind::List(blocks.into_iter()))
    }

    /// Everything a reader gives, in blocks of at most 64 KiB, each sent as it is read.
    pub fn reader(mut reader: impl Read + Send + 'static) -> Body {
        Body::of_kind(Kind::Blocks(Box::new(move || read_block(&mut reader).transpose())))
    }

    /// `length` bytes of a regular file from `position` on, whatever the position of the handle. Sent like a whole file: in large blocks, and
    /// to a slow client without a thread. A file that turns out to be shorter ends the response visibly; nothing is padded.
    ///
    /// ```
    /// use doorway::Body;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let body = Body::file_range(std::fs::File::open("Cargo.toml")?, 1, 7);
    /// # let blocks: Vec<_> = body.into_blocks().collect::<Result<_, _>>()?;
    /// # assert_eq!(blocks.concat(), b"package");
    /// # Ok(())
    /// # }
    /// ```
    pub fn file_range(file: File, position: u64, length: u64) -> Body {
        if length == 0 { Body::empty() } else { Body::of_kind(Kind::Range(FileRange { file, position, left: length })) }
    }

    /// A body that is made when the server asks for the first block. The function may call `start_response` then: PEP 3333
    /// allows an application to start its response that late.
    pub fn deferred<R: Into<Body>>(make: impl FnOnce(&mut StartResponse) -> R + Send + 'static) -> Body {
        Body::of_kind(Kind::Deferred(Box::new(|start_response| make(start_response).into())))
    }

    /// Runs a function when the server is done with this body: everything sent, failed, or the client gone; exactly once, and before the
    /// next request on the connection. Several run in the order in which they were added. For a slow client that is later, and in another
    /// thread than the call's.
    pub fn on_close(mut self, close: impl FnOnce() + Send + 'static) -> Body {
        self.on_close.push(Box::new(close));
        self
    }

    /// The number of bytes, where it is known without producing them.
    pub fn known_len(&self) -> Option<u64> {
        match &self.kind {
            Kind::Empty | Kind::Upgrade(_) => Some(0),
            Kind::Bytes(bytes) => Some(bytes.len() as u64),
            Kind::List(blocks) => Some(blocks.as_slice().iter().map(|block| block.len() as u64).sum()),
            Kind::Range(range) => Some(range.left),
            Kind::Blocks(_) | Kind::Channel(_) | Kind::Deferred(_) | Kind::Failed(_) => None,
        }
    }

    /// The error of an application that returned `Err`; the server answers for it unless middleware does.
    pub fn failure(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        match &self.kind {
            Kind::Failed(error) => Some(&**error),
            _ => None,
        }
    }

    /// The blocks, for middleware and tests; dropping them closes the body. A deferred body gives one error: [`resolve`](Body::resolve) it
    /// first.
    pub fn into_blocks(mut self) -> impl Iterator<Item = io::Result<Block>> + Send {
        std::iter::from_fn(move || self.kind.next_block())
    }

    /// Makes a deferred body now; any other body is returned as it is.
    pub fn resolve(mut self, start_response: &mut StartResponse) -> Body {
        while matches!(self.kind, Kind::Deferred(_)) {
            let Kind::Deferred(make) = std::mem::take(&mut self.kind) else { break };
            let mut made = make(start_response);
            made.on_close.append(&mut self.on_close);
            self = made;
        }
        self
    }

    pub(crate) fn kind(&mut self) -> &mut Kind {
        &mut self.kind
    }

    /// Whether nothing is left in it that could do anything when it closes: most bodies have been sent by then.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.kind, Kind::Empty) && self.on_close.is_empty()
    }

    /// Drops what is left and runs the `on_close` functions. Gives the number of panics in them.
    pub(crate) fn close(&mut self) -> usize {
        let (kind, closes) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.on_close));
        usize::from(panics(|| drop(kind))) + closes.into_iter().map(panics).filter(|panics| *panics).count()
    }

    /// The body with other content. What is left of its own goes when it is closed, before all else, where a panic is seen.
    pub(crate) fn with_kind(mut self, kind: Kind) -> Body {
        let replaced = std::mem::replace(&mut self.kind, kind);
        self.on_close.insert(0, Box::new(move || drop(replaced)));
        self
    }

    pub(crate) fn of_kind(kind: Kind) -> Body {
        Body { kind, on_close: Vec::new() }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.is_closed() {
            self.close();
        }
    }
}

/// Whether a function of the application's panics.
fn panics(run: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(run)).map_err(discard_panic).is_err()
}

/// Throws the value of a panic away. One that is no text may panic itself when it is dropped, so it is forgotten instead.
pub(crate) fn discard_panic(panic: Box<dyn Any + Send>) {
    if !panic.is::<&str>() && !panic.is::<String>() {
        std::mem::forget(panic);
    }
}

/// The next block of a reader; `None` at its end.
fn read_block(reader: &mut impl Read) -> io::Result<Option<Block>> {
    let mut block = vec![0; READ_BLOCK];
    let length = uninterrupted(|| reader.read(&mut block))?;
    block.truncate(length);
    Ok((length > 0).then(|| block.into()))
}

/// Whether an error only says that the time was too short. A stream with a timeout says either, depending on the system.
pub(crate) fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Reads again as long as a signal comes in between.
pub(crate) fn uninterrupted(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl From<()> for Body {
    fn from((): ()) -> Body {
        Body::empty()
    }
}

impl From<Block> for Body {
    fn from(bytes: Block) -> Body {
        if bytes.is_empty() { Body::empty() } else { Body::of_kind(Kind::Bytes(bytes)) }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::from(Block::Owned(bytes))
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Body {
        Body::from(Block::Borrowed(bytes))
    }
}

impl<const LENGTH: usize> From<&'static [u8; LENGTH]> for Body {
    fn from(bytes: &'static [u8; LENGTH]) -> Body {
        Body::from(Block::Borrowed(bytes.as_slice()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body::from(text.into_bytes())
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Body::from(text.as_bytes())
    }
}

impl From<Cow<'static, str>> for Body {
    fn from(text: Cow<'static, str>) -> Body {
        match text {
            Cow::Borrowed(text) => Body::from(text),
            Cow::Owned(text) => Body::from(text),
        }
    }
}

/// From the position of the handle to the end of a regular file (P-FILE-05). Anything else (a pipe, a device) has no length.
impl From<File> for Body {
    fn from(mut file: File) -> Body {
        let length = file.metadata().ok().filter(Metadata::is_file).map(|metadata| metadata.len());
        match length.zip(file.stream_position().ok()) {
            Some((length, position)) => Body::file_range(file, position, length.saturating_sub(position)),
            None => Body::reader(file),
        }
    }
}

/// With this, `?` works in an application. The server logs the error and answers 500 (or what the failure of the request's
/// content asks for: 400, 408, 413); its text never reaches the client.
impl<T: Into<Body>, E: Into<Box<dyn Error + Send + Sync>>> From<Result<T, E>> for Body {
    fn from(result: Result<T, E>) -> Body {
        match result {
            Ok(body) => body.into(),
            Err(error) => Body::of_kind(Kind::Failed(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn text(body: Body) -> String {
        let blocks: Vec<Block> = body.into_blocks().map(Result::unwrap).collect();
        String::from_utf8(blocks.concat()).unwrap()
    }

    #[test]
    fn p_body_04_on_close_runs_once_however_a_body_ends() {
        let closed = Arc::new(AtomicUsize::new(0));
        let body = |kind: fn() -> Body| {
            let closed = Arc::clone(&closed);
            kind().on_close(move || {
                closed.fetch_add(1, Ordering::SeqCst);
            })
        };
        drop(body(Body::empty));
        drop(body(|| "x".into()));
        assert_eq!(text(body(|| "x".into())), "x");
        drop(body(|| Body::list(vec![&b"a"[..], b"b"])).into_blocks().next());
        drop(body(|| Err::<Body, _>("no").into()));
        assert_eq!(closed.load(Ordering::SeqCst), 5);
    }

    #[test]
    fn p_body_04_a_panic_in_one_on_close_function_does_not_keep_the_next_from_running() {
        let closed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&closed);
        let mut body = Body::empty().on_close(|| panic!("in on_close")).on_close(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(body.close(), 1);
        drop(body);
        assert_eq!(closed.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn p_body_01_a_block_is_anything_that_a_body_is_made_from_and_an_error_stays_what_it_is() {
        fn taken<B: Into<Body> + Send + 'static>(blocks: Vec<B>) -> Vec<Result<String, io::ErrorKind>> {
            let text = |block: Block| String::from_utf8(block.into_owned()).unwrap();
            Body::blocks(blocks).into_blocks().map(|block| block.map(text).map_err(|error| error.kind())).collect()
        }
        let bytes = |text: &'static str| Ok(text.to_owned());
        assert_eq!(taken(vec!["a", "", "b"]), ["a", "", "b"].map(bytes));
        assert_eq!(taken(vec!["a".to_owned()]), [bytes("a")]);
        assert_eq!(taken(vec![b"a".to_vec()]), [bytes("a")]);
        assert_eq!(taken(vec![Block::Borrowed(b"a")]), [bytes("a")]);
        assert_eq!(taken(vec![Cow::Borrowed("a"), Cow::Owned("b".into())]), ["a", "b"].map(bytes));
        assert_eq!(taken(vec![Body::list(vec![&b"a"[..], b"b"]), "c".into()]), ["a", "b", "c"].map(bytes));
        let torn = Err(io::Error::from(io::ErrorKind::TimedOut));
        assert_eq!(taken(vec![Ok("a"), torn]), [bytes("a"), Err(io::ErrorKind::TimedOut)]);
    }

    #[test]
    fn p_body_06_a_length_is_known_only_where_it_is_exact() {
        assert_eq!(Body::from(()).known_len(), Some(0));
        assert_eq!(Body::from("abc").known_len(), Some(3));
        assert_eq!(Body::list(vec!["a".as_bytes(), b"bc"]).known_len(), Some(3));
        assert_eq!(Body::blocks(["abc"]).known_len(), None);
        assert_eq!(Body::reader(&b"abc"[..]).known_len(), None);
    }

    #[test]
    fn p_file_04_a_file_starts_at_its_position_and_ends_at_its_end() {
        let path = std::env::temp_dir().join(format!("doorway-body-{}", std::process::id()));
        std::fs::write(&path, "0123456789").unwrap();
        let mut file = File::open(&path).unwrap();
        file.seek(io::SeekFrom::Start(4)).unwrap();
        let body = Body::from(file);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(body.known_len(), Some(6));
        assert_eq!(text(body), "456789");
    }

    #[test]
    fn a_read_that_was_interrupted_is_tried_again_and_any_other_error_is_the_last_block() {
        struct Faulty(Vec<io::ErrorKind>);
        impl Read for Faulty {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.pop() {
                    Some(kind) => Err(kind.into()),
                    None => io::Cursor::new(b"abc").read(buffer),
                }
            }
        }
        let first = |faults: Vec<io::ErrorKind>| Body::reader(Faulty(faults)).into_blocks().next().unwrap();
        assert_eq!(first(vec![io::ErrorKind::Interrupted; 2]).unwrap(), &b"abc"[..]);
        assert_eq!(first(vec![io::ErrorKind::BrokenPipe]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
