//! What signals do to a command that serves: end it, or have it go on with something new.
//!
//! | signal | |
//! |---|---|
//! | SIGINT, SIGTERM | ends it when what runs is done; a second one at once |
//! | SIGHUP | starts the workers anew, which load their applications again; where its terminal has gone, ends it |
//! | SIGUSR1 | opens the file of the log anew |
//! | SIGUSR2 | has the program that is now in the place of this one take over, and ends |
//!
//! The limit of an end begins before anything is said about it, and nothing here waits for a log.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use doorway::Stopper;

use crate::signals::{HANGUP, Signals, USER_1, USER_2};
use crate::wsgi::Workers;
use crate::{GRACE, behind, console, log_file, notify, pid_file, sockets, threads};

/// How long the process may last when the grace is over: an application that does not return would keep it for as long as it likes.
const LAST: Duration = Duration::from_millis(500);

/// How long Python may take to end when it has nothing to do.
pub const END_OF_WORKERS: Duration = Duration::from_secs(2);

/// Held by whoever ends the process, for ever: without workers the server ends by itself, and would say that nothing was cut.
static ENDING: Mutex<()> = Mutex::new(());

/// A server that runs, and what there is to say to it.
#[derive(Clone)]
pub struct Running {
    pub stopper: Stopper,
    pub workers: Vec<Workers>,
    /// How long what runs may take to end.
    pub grace: Duration,
    pub pid_file: Option<PathBuf>,
    pub has_log_file: bool,
    /// Whether it was started from a terminal.
    pub has_terminal: bool,
    pub quiet: bool,
}

impl Running {
    /// Does what signals say, in a thread of its own.
    pub fn obey(self, mut signals: Signals) -> io::Result<()> {
        threads::start("signals", move || {
            let mut upgrade = None;
            loop {
                match signals.wait(None) {
                    // Its terminal was closed, and nobody would ever end it.
                    Some(HANGUP) if self.has_terminal && File::open("/dev/tty").is_err() => break,
                    Some(HANGUP) => drop(self.meanwhile(Running::reload)),
                    Some(USER_1) => self.reopen(),
                    Some(USER_2) if upgrade.as_ref().is_none_or(JoinHandle::is_finished) => {
                        upgrade = self.meanwhile(Running::upgrade);
                    }
                    Some(USER_2) => self.say("SIGUSR2: the new process is not ready yet"),
                    Some(_) => break,
                    None => return,
                }
            }
            // First: without anything to do the server has ended, and the process with it, before the next line.
            sockets::end_successor();
            self.stopper.stop_within(self.grace);
            notify::say("STOPPING=1");
            self.say("stopping; once more stops at once");
            let limit = Instant::now() + self.last();
            let last = loop {
                match signals.wait(Some(limit.saturating_duration_since(Instant::now()))) {
                    Some(HANGUP | USER_1 | USER_2) => {}
                    last => break last,
                }
            };
            self.end(last.map_or(0, |number| 128 + i32::from(number)))
        })?;
        Ok(())
    }

    /// Ends it when standard input does.
    pub fn end_with_stdin(self) -> io::Result<()> {
        threads::start("until-eof", move || {
            let mut room = [0; 512];
            while io::stdin().read(&mut room).is_ok_and(|length| length > 0) {}
            self.stop();
        })?;
        Ok(())
    }

    fn stop(&self) -> ! {
        self.stopper.stop_within(self.grace);
        // Whoever ends in time ends the process from `main`; this is for calls that do not.
        std::thread::sleep(self.last());
        self.end(0)
    }

    /// Does what lasts in a thread of its own: other signals are heard meanwhile.
    fn meanwhile(&self, work: fn(&Running)) -> Option<JoinHandle<()>> {
        let running = self.clone();
        // Where there is none, they wait.
        threads::start("signal", move || work(&running)).map_err(|_| work(self)).ok()
    }

    /// Has the program that is now where this one was take over, and ends when that serves. If it does not, this goes on.
    fn upgrade(&self) {
        match sockets::start_successor(&self.stopper) {
            Ok(Some(number)) => {
                notify::say(&format!("MAINPID={number}"));
                self.say(&format!("SIGUSR2: process {number} serves now, and this one ends"));
                self.stop()
            }
            Ok(None) => {}
            Err(error) => no_successor(error),
        }
    }

    fn reload(&self) {
        match self.workers.is_empty() {
            true => self.say("SIGHUP: there is nothing to reload; files are read anew for every request"),
            false => {
                notify::say("RELOADING=1");
                self.workers.iter().for_each(Workers::reload);
                notify::say("READY=1");
            }
        }
    }

    fn reopen(&self) {
        log_file::reopen();
        match self.has_log_file {
            true => self.say("SIGUSR1: the log goes on in this file"),
            false => self.say("SIGUSR1: there is no file to open anew; --log-file names one"),
        }
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            console::say(&format!("doorway: {text}\n"));
        }
    }

    /// How long the process may last.
    fn last(&self) -> Duration {
        let end = if self.workers.is_empty() { Duration::ZERO } else { END_OF_WORKERS };
        self.grace.saturating_add(end).saturating_add(LAST)
    }

    /// Ends the process, whatever still runs.
    fn end(&self, code: i32) -> ! {
        let _ending = ENDING.lock();
        self.workers.iter().for_each(Workers::kill);
        behind::end_programs(Duration::ZERO);
        self.pid_file.iter().for_each(|path| pid_file::remove(path));
        console::queue().finish(LAST);
        std::process::exit(code)
    }
}

fn no_successor(error: io::Error) {
    console::say(&format!("doorway: SIGUSR2: {error}; this process goes on\n"));
}

/// What remains to be done when the server has ended by itself.
pub fn finish(workers: &[Workers]) {
    workers.iter().for_each(|workers| workers.stop(END_OF_WORKERS));
    // A program whose answer is whole may have something left to do.
    behind::end_programs(GRACE);
    console::queue().finish(LAST);
    drop(ENDING.lock());
}
