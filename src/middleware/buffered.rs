//! `Buffered`: the whole content of a request is received before the application is called.
//!
//! PEP 3333, "Input and Error Streams"; docs/rules.md P-IN-04, P-IN-05, P-IN-07. It is for applications that hold something while
//! they read (a lock, a row of a database), that want a length for everything, or that are handed to code which reads twice. The
//! content is kept in memory up to a limit and beyond it in a temporary file. How long it may be is the limit of the server or a lower
//! one of its own, so the folder wants room for that many times the number of threads.
//!
//! A content that fails to arrive never reaches the application: the error is returned, and the server answers 400, 408 or 413.
//! Reading is what asks a client for the content it announced by `Expect: 100-continue`, so an application that would refuse some of
//! them by the head alone should do so outside of this.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, Write};
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::cause::Cause;
use crate::gateway::{Application, Body, Environ, StartResponse};
use crate::web::content;
use crate::web::token::unforeseen;

/// Receives the content first, and then calls the application with an input that never waits. `CONTENT_LENGTH` is its length then,
/// for chunked content too.
///
/// ```
/// use std::io::{self, Read};
/// use doorway::{Body, Environ, StartResponse, middleware::Buffered, testing::Request};
///
/// fn length(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
///     let mut content = Vec::new();
///     environ.input().read_to_end(&mut content)?;
///     start_response.start("200 OK", &[("Content-Type", "text/plain")]);
///     Ok(Body::from(format!("{:?}, {} bytes", environ.content_length(), content.len())))
/// }
///
/// let application = Buffered::new(length).memory(64 * 1024);
/// let upload = Request::post("/", vec![b'x'; 100_000]);
/// assert_eq!(upload.call(&application).text(), "Some(100000), 100000 bytes");
/// ```
pub struct Buffered<A> {
    inner: A,
    memory: usize,
    limit: u64,
    folder: PathBuf,
}

impl<A: Application> Buffered<A> {
    /// Puts itself around an application: 256 KiB in memory, the rest in the system's folder for temporary files.
    pub fn new(inner: A) -> Buffered<A> {
        Buffered { inner, memory: 256 * 1024, limit: u64::MAX, folder: env::temp_dir() }
    }

    /// How many bytes of one content are kept in memory. What is longer goes to a file as a whole.
    pub fn memory(mut self, bytes: usize) -> Buffered<A> {
        self.memory = bytes;
        self
    }

    /// How many bytes one content may have, for a server whose own limit (`Settings::max_content`) is higher. More is answered with 413:
    /// where it is announced before any of it is asked for, otherwise when it has come, and nothing of it is kept.
    pub fn limit(mut self, bytes: u64) -> Buffered<A> {
        self.limit = bytes;
        self
    }

    /// The folder for the files. They are created readable by their owner only and have no name, or lose it with the request.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Buffered<A> {
        self.folder = folder.into();
        self
    }

    /// Receives everything; gives the content and its length.
    fn receive(&self, environ: &Environ) -> io::Result<(Box<dyn BufRead + Send>, u64)> {
        let mut input = environ.input();
        let announced = environ.content_length().unwrap_or(0);
        if announced > self.limit {
            return Err(content::refused(Cause::ContentLong));
        }
        let most = u64::try_from(self.memory).unwrap_or(u64::MAX).min(self.limit);
        // In one piece from the beginning, where there is so much; what has been announced and does not come takes up addresses and no memory.
        let mut memory = Vec::new();
        let _ = memory.try_reserve_exact(usize::try_from(announced.min(most)).unwrap_or(0));
        let length = content::read(&mut input, most, &mut memory)? as u64;
        if input.fill_buf()?.is_empty() {
            return Ok((Box::new(Cursor::new(memory)), length));
        }
        if length == self.limit {
            return Err(content::refused(Cause::ContentLong));
        }
        // In this order: a failure below closes the file before its name is removed.
        let (name, mut file) = temporary_file(&self.folder, unpredictable)?;
        file.write_all(&memory).map_err(of_file)?;
        let length = length + spool(&mut input, &mut file, self.limit - length)?;
        file.rewind()?;
        Ok((Box::new(Spooled { file: BufReader::new(file), _name: name }), length))
    }
}

impl<A: Application> Application for Buffered<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let (content, length) = match self.receive(environ) {
            Ok(received) => received,
            Err(error) => return Err::<Body, _>(error).into(),
        };
        if length == 0 {
            return self.inner.call(environ, start_response);
        }
        let mut inner = environ.clone();
        inner.set("CONTENT_LENGTH", length.to_string());
        inner.set_input(content);
        self.inner.call(&inner, start_response)
    }
}

/// A file to read, which is closed before its name is removed: some systems remove no open file.
struct Spooled {
    file: BufReader<File>,
    _name: Option<Name>,
}

impl Read for Spooled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl BufRead for Spooled {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.file.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.file.consume(amount);
    }
}

/// The name of a file that could not be removed while it was open.
struct Name(PathBuf);

impl Drop for Name {
    fn drop(&mut self) {
        // Nobody is left to be told; the folder is one that the system cleans.
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes what is left of the content, `most` bytes of it; gives its length.
fn spool(input: &mut impl BufRead, file: &mut impl Write, most: u64) -> io::Result<u64> {
    let mut length = 0;
    loop {
        let block = match input.fill_buf() {
            Ok([]) => return Ok(length),
            Ok(block) => block,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if block.len() as u64 > most - length {
            return Err(content::refused(Cause::ContentLong));
        }
        file.write_all(block).map_err(of_file)?;
        let written = block.len();
        input.consume(written);
        length += written as u64;
    }
}

/// An error of the file, in a kind that no server takes for one of the content: a disk that is full or slow is not the client's fault.
fn of_file(error: io::Error) -> io::Error {
    io::Error::other(format!("a temporary file cannot be written: {error}"))
}

/// How many names are tried for one file. With 64 unpredictable bits the second is one too many already.
const ATTEMPTS: u32 = 16;

/// A name that nobody can foresee.
fn unpredictable(_attempt: u32) -> String {
    format!("doorway-{:016x}", unforeseen())
}

/// Creates a file, and removes its name where the system allows that at once, so that it cannot outlive the process either.
fn temporary_file(folder: &Path, name_of: impl Fn(u32) -> String) -> io::Result<(Option<Name>, File)> {
    let mut options = OpenOptions::new();
    // Exclusively: a file or link that somebody has put there is never opened.
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut result = Err(io::ErrorKind::AlreadyExists.into());
    for attempt in 0..ATTEMPTS {
        let path = folder.join(name_of(attempt));
        result = match options.open(&path) {
            Ok(file) if fs::remove_file(&path).is_ok() => Ok((None, file)),
            Ok(file) => Ok((Some(Name(path)), file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => Err(error),
        };
        break;
    }
    let place = folder.display();
    result.map_err(|error: io::Error| io::Error::new(error.kind(), format!("no temporary file in {place}: {error}")))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_temporary_file_is_its_owners_alone_and_leaves_nothing_behind() {
        let folder = env::temp_dir().join(format!("doorway-buffered-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (name, file) = temporary_file(&folder, unpredictable).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            assert_eq!((file.metadata().unwrap().mode() & 0o7777, name.is_none()), (0o600, true));
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        }
        drop(file);
        drop(name);
        fs::write(folder.join("kept"), "").unwrap();
        drop(Name(folder.join("kept")));
        fs::remove_dir(&folder).expect("empty");
        let error = temporary_file(&folder, unpredictable).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains(&folder.display().to_string()), "{error}");
    }

    #[test]
    fn a_file_or_link_that_somebody_has_put_there_is_never_opened() {
        let folder = env::temp_dir().join(format!("doorway-buffered-taken-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let place = |attempt: u32| folder.join(attempt.to_string());
        fs::write(place(0), "theirs").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.join("elsewhere"), place(1)).unwrap();
        let asked = Cell::new(0);
        let name_of = |attempt: u32| {
            asked.set(asked.get() + 1);
            attempt.to_string()
        };
        let (name, mut file) = temporary_file(&folder, name_of).unwrap();
        file.write_all(b"ours").unwrap();
        assert_eq!(asked.get(), if cfg!(unix) { 3 } else { 2 });
        assert_eq!((fs::read(place(0)).unwrap(), folder.join("elsewhere").exists()), (b"theirs".to_vec(), false));
        drop((file, name));

        asked.set(0);
        let full = |attempt: u32| {
            name_of(attempt);
            "0".to_owned()
        };
        let error = temporary_file(&folder, full).map(|_| ()).unwrap_err();
        assert_eq!((error.kind(), asked.get()), (io::ErrorKind::AlreadyExists, ATTEMPTS));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn p_in_07_an_error_of_the_file_is_not_taken_for_one_of_the_content() {
        /// A disk that fails like a client.
        struct Disk;
        impl Write for Disk {
            fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::TimedOut.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        /// A client that is interrupted, sends, and fails.
        struct Client(u8);
        impl Read for Client {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 => Err(io::ErrorKind::Interrupted.into()),
                    2 => (&b"abc"[..]).read(buffer),
                    _ => Err(io::ErrorKind::TimedOut.into()),
                }
            }
        }
        assert_eq!(spool(&mut &b"abc"[..], &mut Disk, 3).unwrap_err().kind(), io::ErrorKind::Other);
        let mut kept = Vec::new();
        let error = spool(&mut BufReader::new(Client(0)), &mut kept, 9).unwrap_err();
        assert_eq!((error.kind(), &*kept), (io::ErrorKind::TimedOut, &b"abc"[..]));
        assert_eq!(spool(&mut &b"abc"[..], &mut kept, 3).unwrap(), 3);
        assert_eq!(kept, b"abcabc");
    }

    #[test]
    fn two_names_are_never_the_same() {
        assert_ne!(unpredictable(0), unpredictable(0));
    }
}
