//! One Python process that runs the application: how it is started, heard and ended.
//!
//! File descriptor 0 is a listening socket of its own, in a folder that nobody else can enter. File descriptor 1 is a pair of sockets over
//! which the program of the worker comes (nothing is read from a file at run time), and over which it says that it is ready; the end of it is
//! the end of the worker, whatever becomes of us. Standard error is read line by line.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Plan;
use crate::{console, threads};

/// The program of a worker.
const PROGRAM: &str = include_str!("worker.py");

/// What Python is told on its command line: to get the program from us. The rest are its arguments.
const BEGIN: &str = "import socket,sys;c=socket.socket(fileno=1);f=c.makefile('rb');\
    exec(compile(f.read(int(f.readline())),'<doorway>','exec'));main(c,sys.argv[1],int(sys.argv[2]),int(sys.argv[3]),float(sys.argv[4]))";

/// How long an application may take to be imported.
const START: Duration = Duration::from_secs(60);

/// How long a worker that hangs may take to show where.
const SHOW: Duration = Duration::from_millis(500);

/// How long its last words may take to arrive.
const SETTLED: Duration = Duration::from_millis(300);

/// How many of the last lines are kept, for whoever wants to know why it ended.
const LAST_LINES: usize = 3;

/// How much of a line is kept.
const MAX_LINE: u64 = 16 * 1024;

/// A worker.
pub struct Process {
    pub id: u32,
    /// Where it listens.
    pub socket: PathBuf,
    control: UnixStream,
    child: Mutex<Child>,
    said: Arc<Said>,
    shown: (Mutex<bool>, Condvar),
    is_killed: AtomicBool,
}

/// What it has said last.
#[derive(Default)]
struct Said(Mutex<VecDeque<String>>);

impl Said {
    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rest of a start: what has to be waited for.
pub struct Starting {
    pub process: Arc<Process>,
    lines: BufReader<UnixStream>,
    listening: JoinHandle<()>,
}

impl Process {
    /// Starts a process; the application is not there yet.
    pub fn start(plan: &Plan, number: usize) -> io::Result<Starting> {
        let socket = plan.folder.join(format!("{number}.sock"));
        let listener = UnixListener::bind(&socket)?;
        let (control, theirs) = UnixStream::pair()?;
        let mut command = Command::new(&plan.python);
        command.arg("-c").arg(BEGIN).arg(&plan.application);
        command.args([plan.threads.to_string(), plan.workers.to_string(), plan.timeout.as_secs().to_string()]);
        command.stdin(OwnedFd::from(listener)).stdout(OwnedFd::from(theirs)).stderr(Stdio::piped());
        // Ctrl-C is for the command, which ends its workers when they have done what they do.
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| not_started(plan, &error))?;
        // Our ends of what is the worker's are closed with it, so that its end is seen here.
        drop(command);
        let said = Arc::new(Said::default());
        let (stderr, heard) = (child.stderr.take(), Arc::clone(&said));
        let listening =
            threads::start("wsgi-stderr", move || stderr.into_iter().for_each(|stderr| hear(stderr, &heard)))?;
        let lines = BufReader::new(control.try_clone()?);
        let id = child.id();
        let shown = (Mutex::new(false), Condvar::new());
        let process =
            Process { id, socket, control, child: Mutex::new(child), said, shown, is_killed: AtomicBool::new(false) };
        // A process that has ended already says why below.
        let _ = (&process.control).write_all(format!("{}\n{PROGRAM}", PROGRAM.len()).as_bytes());
        Ok(Starting { process: Arc::new(process), lines, listening })
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn kill(&self) {
        self.is_killed.store(true, Ordering::Relaxed);
        // It may be gone already.
        let _ = self.child().kill();
    }

    /// Tells it to end when it has done what it does.
    pub fn end(&self) {
        let _ = self.control.shutdown(Shutdown::Write);
    }

    /// Kills it, when it has said where it hangs or does not even do that.
    pub fn show_and_kill(&self) {
        let asked = (&self.control).write_all(b"?").is_ok();
        let shown = self.shown.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked {
            let _ = self.shown.1.wait_timeout_while(shown, SHOW, |shown| !*shown);
        }
        self.kill();
    }

    /// The last lines that it has said, for the report of its end; nothing where it was killed here, because that has been said.
    pub fn last_words(&self) -> String {
        let lines = self.said.lines();
        let last: Vec<&str> = lines.iter().map(String::as_str).collect();
        match last.is_empty() || self.is_killed.load(Ordering::Relaxed) {
            true => String::new(),
            false => format!("; it said last:\n    {}", last.join("\n    ")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Starting {
    /// Waits until the application is there. The error is the reason why it is not, in one line.
    pub fn wait(mut self) -> Result<Started, String> {
        let _ = self.process.control.set_read_timeout(Some(START));
        let mut line = String::new();
        let reason = match self.lines.read_line(&mut line) {
            Ok(_) if line == "ready\n" => {
                let _ = self.process.control.set_read_timeout(None);
                let Starting { process, lines, listening } = self;
                return Ok(Started { process, lines, listening });
            }
            Ok(length) if length > 0 => line.trim_end().to_owned(),
            Ok(_) => String::new(),
            Err(_) => format!("it was not there after {} s", START.as_secs()),
        };
        self.process.kill();
        let status = self.process.child().wait();
        settle(&self.listening);
        match (reason.is_empty(), status) {
            (false, _) => Err(reason),
            (true, Ok(status)) => Err(format!("the process {}", ended(status))),
            (true, Err(error)) => Err(error.to_string()),
        }
    }
}

/// A worker whose application is there.
pub struct Started {
    pub process: Arc<Process>,
    lines: BufReader<UnixStream>,
    listening: JoinHandle<()>,
}

impl Started {
    /// Waits until it has ended, and says how. Tells the number of the last call of each connection that the worker closes until then.
    pub fn wait(mut self, closed: impl Fn(u64)) -> String {
        let mut line = String::new();
        while self.lines.read_line(&mut line).is_ok_and(|length| length > 0) {
            if line == "shown\n" {
                *self.process.shown.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
                self.process.shown.1.notify_all();
            } else if let Ok(number) = line.trim_end().parse() {
                closed(number);
            }
            line.clear();
        }
        let status = loop {
            // Not with the lock held all the time: somebody may have to kill it.
            match self.process.child().try_wait() {
                Ok(None) => {}
                other => break other,
            }
            thread::sleep(Duration::from_millis(5));
        };
        settle(&self.listening);
        match status {
            Ok(Some(status)) => ended(status),
            _ => "ended".into(),
        }
    }
}

/// What a worker has said comes before what is said about its end; but a process that it has left behind may go on saying more.
fn settle(listening: &JoinHandle<()>) {
    let begin = Instant::now();
    while !listening.is_finished() && begin.elapsed() < SETTLED {
        thread::sleep(Duration::from_millis(2));
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => format!("ended: {status}"),
    }
}

fn not_started(plan: &Plan, error: &io::Error) -> io::Error {
    let python = plan.python.display();
    let advice = match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such program; install Python 3, or name it with --python PATH".to_owned()
        }
        io::ErrorKind::PermissionDenied => "it may not be executed; name another with --python PATH".to_owned(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("cannot run {python}: {advice}"))
}

/// Passes on what a worker says, line by line.
fn hear(stderr: ChildStderr, said: &Said) {
    let mut stderr = BufReader::new(stderr);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match stderr.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = console::printable(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
        console::say(&format!("{line}\n"));
        let mut lines = said.lines();
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}
