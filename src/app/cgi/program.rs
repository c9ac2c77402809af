//! One process that answers one request.
//!
//! Its standard input and output are pipes, as programs expect (`/dev/stdin` cannot be opened where it is a socket). std has no deadline
//! for a pipe, so two threads copy between them and a pair of sockets, which have one; a third reads its standard error. A fourth waits for the end
//! of the output, and for no longer than the program may run, and reaps the process, so that none is left behind whatever becomes of the client,
//! and of the answer: one that is whole with its head ends nothing, and a program does what it has left to do.
//!
//! A program has a process group of its own. std can kill a process and no group, so `kill`, a program of every Unix, does that; where it is missing only
//! the program itself is killed. A process that has left the group and keeps the output open keeps a thread until it ends.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::places::Place;
use crate::app::pass::variables;
use crate::app::relay::exchange::Envelope;
use crate::app::relay::stream::Stream;
use crate::app::relay::{Failure, Fault, log_line};
use crate::cause::Cause;
use crate::gateway::{Environ, Errors};

/// What of our own environment a program gets: where programs and libraries are, how text is written, what time it is.
pub(super) const KEPT: &[&str] =
    &["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "HOME"];

/// How much of a line of standard error is kept.
const MAX_LINE: u64 = 8 * 1024;

/// How long the end of the output waits for the end of the process, which says whether it was a good one.
const SHORT_WHILE: Duration = Duration::from_millis(100);

/// Those that run in this process, of whichever application: what ends with it ends all of them.
static RUNNING: Mutex<AllThatRun> = Mutex::new(AllThatRun { is_over: false, programs: Vec::new() });

struct AllThatRun {
    /// All were killed, and so is what is started from then on: the places of those that were wait for it.
    is_over: bool,
    programs: Vec<Arc<Process>>,
}

fn all_that_run() -> MutexGuard<'static, AllThatRun> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a program may be silent, and how long it may run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) silent: Duration,
    pub(crate) total: Duration,
}

/// What is run for a request.
pub(super) fn command(
    file: &Path,
    environ: &Environ,
    length: u64,
    own: &[(String, String)],
) -> Result<Command, Failure> {
    let mut command = Command::new(file);
    command.env_clear();
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for (name, value) in variables::of(environ) {
        if value.contains(&0) {
            return Err(Failure::Refused("400 Bad Request", "a variable that no environment can hold"));
        }
        let is_absent = name == b"HTTP_AUTHORIZATION" || (value.is_empty() && name == b"PATH_INFO");
        if !is_absent {
            command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
        }
    }
    if length > 0 {
        command.env("CONTENT_LENGTH", length.to_string());
    }
    command.envs(own.iter().map(|(name, value)| (name, value)));
    if let Some(folder) = file.parent() {
        command.current_dir(folder);
    }
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if length > 0 { Stdio::piped() } else { Stdio::null() });
    Ok(command)
}

/// A program that runs, as the exchange sees it.
pub(super) struct Program {
    process: Arc<Process>,
}

struct Process {
    running: Mutex<Running>,
    /// Told when it is over.
    over: Condvar,
    id: u32,
    begin: Instant,
    total: Duration,
}

struct Running {
    child: Child,
    /// Its output has ended, or it was killed.
    is_over: bool,
    /// It was killed because it ran for too long.
    is_late: bool,
    /// Its number may be somebody else's from then on.
    is_reaped: bool,
}

/// Starts it. What is written to the stream is its input, what is read from it its output.
pub(super) fn start(
    mut command: Command,
    file: &Path,
    length: u64,
    errors: &Errors,
    limits: Limits,
    place: Place,
) -> Result<(Stream, Program), Fault> {
    let broken = |error: io::Error| Fault::new(Cause::UpstreamUnreachable, error);
    let (ours, theirs) = UnixStream::pair().map_err(broken)?;
    let theirs = Arc::new(theirs);
    let mut child = command.spawn().map_err(|error| not_started(file, &error))?;
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let name = format!("{name}[{}]", child.id());
    let (id, input, output, said) = (child.id(), child.stdin.take(), child.stdout.take(), child.stderr.take());
    let running = Mutex::new(Running { child, is_over: false, is_late: false, is_reaped: false });
    let process = Arc::new(Process { running, over: Condvar::new(), id, begin: Instant::now(), total: limits.total });
    let mut all = all_that_run();
    all.programs.push(Arc::clone(&process));
    if all.is_over {
        process.kill();
    }
    drop(all);
    let end = End {
        process: Arc::clone(&process),
        place,
        theirs: Arc::clone(&theirs),
        errors: errors.clone(),
        name: name.clone(),
    };
    let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.to_owned()).stack_size(128 * 1024).spawn(work).map_err(broken)
    };
    if let Some(said) = said {
        let errors = errors.clone();
        start("cgi-stderr", Box::new(move || log_lines(said, &name, &errors)))?;
    }
    if let Some(mut input) = input {
        let theirs = Arc::clone(&theirs);
        let feed = move || {
            // A program may leave the rest of its input unread.
            let _ = io::copy(&mut (&*theirs).take(length), &mut input);
            // Whoever still sends hears that nobody reads it.
            let _ = theirs.shutdown(Shutdown::Read);
            // What was sent before that is taken, because a socket that is closed with something unread resets the answer.
            let _ = io::copy(&mut &*theirs, &mut io::sink());
        };
        start("cgi-stdin", Box::new(feed))?;
    }
    if let Some(mut output) = output {
        let process = Arc::clone(&process);
        let copy = move || {
            // It fails when nobody wants the rest.
            let _ = io::copy(&mut output, &mut &*theirs);
            process.end();
        };
        start("cgi-stdout", Box::new(copy))?;
    }
    let reap = move || {
        end.process.wait_until_over();
        drop(end);
    };
    start("cgi-end", Box::new(reap))?;
    Ok((Stream::Unix(ours), Program { process }))
}

/// Waits so long for all programs that run, and kills those that still do then, with their groups.
pub(super) fn end_all(within: Duration) {
    let begin = Instant::now();
    loop {
        let mut all = all_that_run();
        let left = within.saturating_sub(begin.elapsed());
        if left.is_zero() {
            all.is_over = true;
            return all.programs.iter().for_each(|process| process.kill());
        }
        if all.programs.is_empty() {
            return;
        }
        drop(all);
        thread::sleep(left.min(Duration::from_millis(10)));
    }
}

/// Why the system did not start it, and what to do.
fn not_started(file: &Path, error: &io::Error) -> Fault {
    // ENOEXEC is 8 on every Unix.
    let advice = match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::NotFound, _) => "the interpreter that its first line names is not there",
        (io::ErrorKind::PermissionDenied, _) => "it may not be executed: chmod +x, and its interpreter too",
        (_, Some(8)) => "it is no program, and has no first line such as #!/bin/sh",
        (io::ErrorKind::ArgumentListTooLong, _) => "the request has more variables than an environment can hold",
        _ => "it cannot be started",
    };
    Fault::new(Cause::UpstreamUnreachable, format_args!("{}: {advice} ({error})", file.display()))
}

/// What is left to do when the output of a program has ended, or the program should have.
struct End {
    process: Arc<Process>,
    /// Held until the process is reaped.
    #[expect(dead_code, reason = "it is there to be dropped")]
    place: Place,
    theirs: Arc<UnixStream>,
    errors: Errors,
    name: String,
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.process.running().is_over {
            // No thread could be started for it.
            self.process.kill();
        }
        let since = Instant::now();
        let (mut pause, mut is_told) = (Duration::from_micros(200), false);
        let status = loop {
            let status = self.process.status();
            if let Ok(None) = status {
                if since.elapsed() > SHORT_WHILE && !is_told {
                    // It runs on, and has no more to say to the client.
                    is_told = self.theirs.shutdown(Shutdown::Write).is_ok();
                }
                if self.process.left().is_zero() {
                    self.process.kill();
                }
                // std waits for a process for ever or not at all.
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
                continue;
            }
            break status.ok().flatten();
        };
        all_that_run().programs.retain(|other| !Arc::ptr_eq(other, &self.process));
        if let Some(status) = status.filter(|status| !status.success()) {
            self.errors.write(&format!("{}: {}\n", self.name, ended(status)));
        }
        let _ = self.theirs.shutdown(Shutdown::Write);
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => format!("ended: {status}"),
    }
}

impl Process {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it has ended, if it has; it is reaped then.
    fn status(&self) -> io::Result<Option<ExitStatus>> {
        let mut running = self.running();
        let status = running.child.try_wait();
        running.is_reaped |= !matches!(status, Ok(None));
        status
    }

    /// How long it may still run.
    fn left(&self) -> Duration {
        self.total.saturating_sub(self.begin.elapsed())
    }

    /// Its output has ended.
    fn end(&self) {
        self.running().is_over = true;
        self.over.notify_one();
    }

    /// Waits until its output has ended or it was killed, and kills it where it has run for too long.
    fn wait_until_over(&self) {
        let mut running = self.running();
        while !running.is_over {
            let left = self.left();
            if left.is_zero() {
                running.is_late = true;
                drop(running);
                return self.kill();
            }
            running = self.over.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Kills the process and all of its group. One that has ended and not been reaped still stands for its group.
    fn kill(&self) {
        let mut running = self.running();
        if running.is_reaped {
            return;
        }
        let group = format!("-{}", self.id);
        let mut kill = Command::new("kill");
        kill.args(["-KILL", "--", &group]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if !kill.status().is_ok_and(|status| status.success()) {
            // It may be gone already.
            let _ = running.child.kill();
        }
        running.is_over = true;
        self.over.notify_one();
    }
}

impl Program {
    fn check_time(&self) -> Result<(), Fault> {
        match self.process.running().is_late {
            false => Ok(()),
            true => Err(Fault::new(Cause::UpstreamDeadline, "it runs for too long")),
        }
    }
}

impl Envelope for Program {
    fn open(&mut self, raw: &mut Vec<u8>, received: &mut Vec<u8>) -> Result<bool, Fault> {
        received.append(raw);
        self.check_time().map(|()| false)
    }

    fn closed(&mut self) -> Result<(), Fault> {
        self.check_time()?;
        match self.process.status() {
            Ok(Some(status)) if status.signal().is_some() => Err(Fault::new(Cause::UpstreamTruncated, ended(status))),
            _ => Ok(()),
        }
    }

    fn abort(&mut self, _stream: &mut Stream) {
        self.process.kill();
    }
}

/// Writes each line to the log, with whoever says it.
fn log_lines(said: ChildStderr, name: &str, errors: &Errors) {
    let mut said = BufReader::new(said);
    let mut line = Vec::new();
    loop {
        line.clear();
        match said.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => log_line(errors, name, &line),
        }
    }
}
