//! Takes files of any size with PUT or POST, and sends bodies of any size, in constant memory.
//!
//! A file appears under its name only when it is whole: the content goes to a file beside it, which is renamed at the end.
//!
//! Run: `cargo run --release --example upload` (or `-- 8001 FOLDER`; the folder is `uploads` unless you say otherwise)
//! Try: `curl -T big.iso http://127.0.0.1:8000/` and `curl -o /dev/null http://127.0.0.1:8000/download/1073741824`
//!
//! Anybody who reaches the port may write into the folder: this is for a network you trust.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use doorway::{Application, Body, Environ, Server, StartResponse};

const BLOCK: usize = 64 * 1024;

/// 1 TiB: a download is limited so that a slip of the finger ends some day.
const LARGEST_DOWNLOAD: u64 = 1 << 40;

pub struct Upload {
    folder: PathBuf,
}

impl Application for Upload {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let path = environ.path();
        if let Some(size) = path.strip_prefix("/download/") {
            return download(size, start_response);
        }
        match (environ.method(), file_name(&path)) {
            ("PUT" | "POST", Some(name)) => self.store(name, environ, start_response).into(),
            ("PUT" | "POST", None) => {
                start_response.start("400 Bad Request", &[("Content-Type", "text/plain")]);
                Body::from(
                    "A name is letters, digits, '.', '-' and '_', not more than 100, and does not begin with '.'.\n",
                )
            }
            _ => {
                let headers = [("Content-Type", "text/plain"), ("Allow", "PUT, POST")];
                start_response.start("405 Method Not Allowed", &headers);
                Body::from("PUT a file, or GET /download/SIZE.\n")
            }
        }
    }
}

impl Upload {
    /// Stores files in a folder, which it creates.
    pub fn to(folder: impl Into<PathBuf>) -> io::Result<Upload> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        Ok(Upload { folder })
    }

    fn store(&self, name: &str, environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
        let mut part = Part::create(&self.folder, name)?;
        let mut input = environ.input();
        let mut buffer = vec![0; BLOCK];
        let mut size = 0;
        loop {
            // A client that breaks off is an error and not an end, so half a file is never kept.
            let length = input.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            part.file.write_all(&buffer[..length])?;
            size += length as u64;
        }
        part.keep_as(&self.folder.join(name))?;
        start_response.start("201 Created", &[("Content-Type", "text/plain")]);
        Ok(Body::from(format!("{name}: {size} bytes\n")))
    }
}

/// The name of a file from a path of one segment. Everything that could lead out of the folder, hide a file or mean something
/// to a shell is refused, rather than repaired.
fn file_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix('/')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_safe = (1..=100).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain);
    is_safe.then_some(name)
}

/// A file that is not whole yet. It goes away unless it is kept.
struct Part {
    file: File,
    path: PathBuf,
}

impl Part {
    fn create(folder: &Path, name: &str) -> io::Result<Part> {
        // Two clients may send the same name at the same time: the last one to finish wins, and neither spoils the other's.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".{name}.{}-{number}.part", std::process::id()));
        let file = File::create_new(&path)?;
        Ok(Part { file, path })
    }

    fn keep_as(self, path: &Path) -> io::Result<()> {
        // Otherwise a power cut could leave the name with nothing behind it.
        self.file.sync_all()?;
        fs::rename(&self.path, path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After a rename there is nothing to remove, and nobody to tell if it does not work.
        let _ = fs::remove_file(&self.path);
    }
}

/// So many dots, made block by block as the client takes them.
fn download(size: &str, start_response: &mut StartResponse) -> Body {
    let Some(size) = size.parse::<u64>().ok().filter(|size| *size <= LARGEST_DOWNLOAD) else {
        start_response.start("404 Not Found", &[("Content-Type", "text/plain")]);
        return Body::from("Ask for /download/SIZE, up to 1 TiB.\n");
    };
    let length = size.to_string();
    let headers = [("Content-Type", "application/octet-stream"), ("Content-Length", &*length)];
    start_response.start("200 OK", &headers);
    Body::blocks((0..size).step_by(BLOCK).map(move |at| {
        let length = usize::try_from(size - at).map_or(BLOCK, |left| left.min(BLOCK));
        vec![b'.'; length]
    }))
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next();
    let upload = Upload::to(arguments.next().as_deref().unwrap_or("uploads"))?;
    let server = Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?
        // Nothing here grows with the content, so it needs no limit.
        .configure(|settings| settings.max_content = None);
    for address in server.addrs() {
        println!("{}", address.url());
    }
    server.serve(upload)
}
