//! `Cgi`: a program that is run for each request.
//!
//! RFC 3875. For scripts on small machines, `git http-backend`, and whatever else has been a CGI program for thirty years.
//!
//! | file | what it is for |
//! |---|---|
//! | `program` | one process: how it is started, fed, listened to, ended and reaped |
//! | `places` | how many may run at once, and who waits |
//!
//! A program gets a clean environment: the variables of the request, and of our own a few that programs need to find others
//! (`program::KEPT`). `HTTP_PROXY` is never among them, `Authorization` neither (RFC 3875 section 4.1.18), and the query never becomes arguments: it could
//! be taken for options. What goes out and what comes back is the affair of `relay`.
//!
//! What it does not do: programs that write whole responses (NPH); SSI; another user for the program (that is the system's: `sudo`, systemd).

mod places;
mod program;

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::relay::exchange::{Content, Exchange, Outgoing};
use super::relay::head::{CgiHead, Form};
use super::relay::link::Link;
use super::relay::{Deadlines, Failure, Fault, content};
use super::script::{Script, Scripts};
use crate::cause::Cause;
use crate::gateway::{Application, Body, Environ, StartResponse, percent_decode};
use places::Places;
use program::Limits;

/// How often a program may answer with another path of this server.
const MAX_REDIRECTS: usize = 10;

/// Runs a program for each request, by CGI/1.1. On Unix systems.
///
/// The program is started in its own directory with the variables of RFC 3875 as its environment, gets the content of the request at its
/// standard input and answers on its standard output: a head with `Content-Type`, `Status` or `Location`, an empty line, the content. What
/// it writes to standard error goes to the error log, line by line, with its name and process number.
///
/// Content streams both ways, but what is short ([`gather_answer`](Cgi::gather_answer)) waits for a slow client without a program. The response ends with the
/// output of the program; one that a signal ended is cut visibly, or a 502 where nothing of it was sent. Where it is whole before that (HEAD, 204, as long as
/// its Content-Length) the program goes on to its end. When the client leaves or a deadline passes, the
/// program is killed with all of its process group, and it is always reaped. Only the end of this process leaves programs behind, unless it calls
/// [`end_all`](Cgi::end_all) before.
///
/// | what happens | answer | cause in the log |
/// |---|---|---|
/// | no such program in the directory, or none that may be executed | 404 | – |
/// | it cannot be started (no interpreter, no permission) | 502 | [`Cause::UpstreamUnreachable`] |
/// | it answers without a head, with a status line (NPH), or in a way that could be read in two | 502 | [`Cause::UpstreamInvalid`] |
/// | it ends before its head | 502 | [`Cause::UpstreamTruncated`] |
/// | it is silent for too long, or runs for too long | 504 | [`Cause::UpstreamDeadline`] |
/// | as many as may run are running, and nobody ends in time | 503 | [`Cause::UpstreamBusy`] |
/// | `Location: /path` and no other field, below where this is mounted | the answer to GET for that path, when the program has ended | – |
///
/// A local redirect to anywhere else goes to the client as a 302, because this application knows no other. A request holds a thread of the
/// pool as in [`Proxy`](super::Proxy), and the program three small ones until it ends, or four where it has content.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use doorway::{app::Cgi, testing::Request};
///
/// let folder = std::env::temp_dir().join(format!("doorway-cgi-doc-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// let script = folder.join("hello");
/// std::fs::write(&script, "#!/bin/sh\necho 'Content-Type: text/plain'; echo; echo \"hello, $QUERY_STRING\"\n")?;
/// # use std::os::unix::fs::PermissionsExt;
/// std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
///
/// let response = Request::get("/hello?web").call(&Cgi::directory(&folder)?);
/// assert_eq!(response.text(), "hello, web\n");
/// # std::fs::remove_dir_all(folder)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cgi {
    what: What,
    places: Arc<Places>,
    queue: Duration,
    limits: Limits,
    gather: usize,
    gather_answer: usize,
    variables: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
enum What {
    Program(PathBuf),
    Directory(Scripts),
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

impl Cgi {
    fn new(what: What) -> Cgi {
        Cgi {
            what,
            places: Arc::new(Places::new(16)),
            queue: Duration::from_secs(10),
            limits: Limits { silent: Duration::from_secs(60), total: Duration::from_secs(3600) },
            gather: 1024 * 1024,
            gather_answer: 1024 * 1024,
            variables: Vec::new(),
        }
    }

    /// One program for every request that gets here: `SCRIPT_NAME` is where it is mounted, `PATH_INFO` the rest.
    ///
    /// # Errors
    /// When there is no such file, or it may not be executed.
    pub fn program(path: impl AsRef<Path>) -> io::Result<Cgi> {
        let path = path.as_ref().canonicalize()?;
        if !is_executable(&path) {
            let text = format!("{} is not an executable file", path.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        Ok(Cgi::new(What::Program(path)))
    }

    /// The programs of a directory and below: `/name/rest` runs `name` with `PATH_INFO` `/rest`. Only executable regular files inside of it
    /// are programs, and none on whose path a name begins with a dot.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn directory(path: impl AsRef<Path>) -> io::Result<Cgi> {
        Ok(Cgi::new(What::Directory(Scripts::new(path.as_ref(), None, is_executable)?)))
    }

    /// Sets a variable in the environment of every program, in place of one of the request.
    pub fn env(mut self, name: &str, value: &str) -> Cgi {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How many programs run at once; the default is 16. Further requests wait.
    pub fn programs(mut self, most: usize) -> Cgi {
        self.places = Arc::new(Places::new(most));
        self
    }

    /// How long a request may wait for its program to be started; the default is 10 seconds. Then it is a 503.
    pub fn queue_deadline(mut self, limit: Duration) -> Cgi {
        self.queue = limit;
        self
    }

    /// How long a program whose answer is not whole may write nothing and read nothing; the default is 60 seconds.
    pub fn silent_deadline(mut self, limit: Duration) -> Cgi {
        self.limits.silent = limit;
        self
    }

    /// How long a program may run at all, whatever it does and whether anybody waits for it; the default is one hour.
    pub fn total_deadline(mut self, limit: Duration) -> Cgi {
        self.limits.total = limit;
        self
    }

    /// How many bytes of content without a length are received before a program is started; the default is 1 MiB. More is a 411.
    pub fn gather(mut self, bytes: usize) -> Cgi {
        self.gather = bytes;
        self
    }

    /// How many bytes of an answer wait for a slow client in memory, so that its program ends and gives its place to the next; the default is 1 MiB.
    /// Where the answer is longer, or not whole within 100 ms of its head, it streams, and the program runs for as long as its client takes it.
    pub fn gather_answer(mut self, bytes: usize) -> Cgi {
        self.gather_answer = bytes;
        self
    }

    /// Waits for the programs that any `Cgi` has started, and kills those that still run after this time, with their process groups, and whatever is
    /// started from then on. For a program that is about to end: nobody keeps the deadlines of what it has started then.
    pub fn end_all(within: Duration) {
        program::end_all(within);
    }

    fn answer(&self, environ: &Environ, start_response: &mut StartResponse) -> Result<Body, Failure> {
        let mut environ = environ.clone();
        for _ in 0..MAX_REDIRECTS {
            match self.run(environ.clone(), start_response) {
                Err(Failure::Elsewhere(path)) => match redirected(&environ, &path) {
                    Some(inner) => environ = inner,
                    None => return Err(Failure::Elsewhere(path)),
                },
                other => return other,
            }
        }
        Err(Fault::new(Cause::UpstreamInvalid, "it redirects to itself without end").into())
    }

    fn run(&self, mut environ: Environ, start_response: &mut StartResponse) -> Result<Body, Failure> {
        let file = match &self.what {
            What::Program(file) => file.clone(),
            What::Directory(scripts) => {
                let nothing = "there is no such program, or none that may be executed";
                let script = scripts.find(&environ).or_answer(start_response, nothing)?;
                locate(&script, scripts.root(), &mut environ);
                script.file
            }
        };
        if file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"nph-")) {
            let detail = "a program called nph- writes whole responses (NPH), which cannot run here";
            return Err(Fault::new(Cause::UpstreamInvalid, detail).into());
        }
        let length = content::measure(&mut environ, self.gather)?;
        let place = Places::take(&self.places, self.queue)
            .ok_or_else(|| Fault::new(Cause::UpstreamBusy, "as many programs as may run are running"))?;
        let command = program::command(&file, &environ, length, &self.variables)?;
        let (stream, program) = program::start(command, &file, length, environ.errors(), self.limits, place)?;
        let silent = self.limits.silent;
        let deadlines = Deadlines {
            connect: silent,
            first_byte: silent.min(self.limits.total),
            progress: silent,
            ..Deadlines::default()
        };
        let head = CgiHead::new(environ.method() == "HEAD", Form::CgiOfProgram);
        let outgoing = Outgoing { head: Vec::new(), content: Content::Length(length) };
        let exchange = Exchange::new(Link::new(stream)?, deadlines, head).in_envelope(program);
        exchange.gathering(self.gather_answer).run(&outgoing, &environ, start_response)
    }
}

/// Says which program it is, and where its path leads in the directory (RFC 3875 sections 4.1.5, 4.1.6 and 4.1.13).
fn locate(script: &Script, root: &Path, environ: &mut Environ) {
    environ.set("SCRIPT_NAME", [environ.script_name(), &script.name].concat());
    environ.set("SCRIPT_FILENAME", script.file.as_os_str().as_encoded_bytes());
    environ.set("PATH_INFO", &script.rest);
    if !script.rest.is_empty() {
        environ.set("PATH_TRANSLATED", [root.as_os_str().as_encoded_bytes(), &script.rest].concat());
    }
}

/// The request for another path below the same mount; `None` where it leads elsewhere (RFC 3875 section 6.2.2).
fn redirected(environ: &Environ, target: &[u8]) -> Option<Environ> {
    let mark = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(mark);
    let mut decoded = Vec::new();
    percent_decode(path, &mut decoded);
    let inner = decoded.strip_prefix(environ.script_name())?;
    if !inner.starts_with(b"/") || inner.contains(&0) || !target.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let mut environ = environ.clone();
    environ.set("REQUEST_METHOD", if environ.method() == "HEAD" { "HEAD" } else { "GET" });
    environ.set("PATH_INFO", inner);
    environ.set("QUERY_STRING", query.strip_prefix(b"?").unwrap_or(query));
    environ.remove("CONTENT_LENGTH");
    environ.remove("CONTENT_TYPE");
    environ.set_input(io::empty());
    Some(environ)
}

impl Application for Cgi {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        self.answer(environ, start_response).unwrap_or_else(|failure| failure.answer(&self, start_response))
    }
}

/// The program or the directory: `cgi /srv/cgi-bin`.
impl fmt::Display for Cgi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match &self.what {
            What::Program(path) => path,
            What::Directory(scripts) => scripts.root(),
        };
        write!(f, "cgi {}", path.display())
    }
}
