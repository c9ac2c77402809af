//! Lines on their way to a log that may be slow, full or stuck: whoever says one never waits for it.
//!
//! A pipe that nobody reads, a terminal on hold and a full disk keep whoever writes there. So lines go to memory, at most [`MOST`] bytes of
//! them, and a thread of the queue's own writes them, many at a time. What does not fit, or cannot be written, is dropped and counted, and the
//! log says how many when it takes anything again. More than [`FEW`] reports of one cause in a second, from one kind of address, are a flood:
//! of those behind them the log gets the number.
//!
//! Invariants: nobody but the thread touches the writer, and it holds no lock meanwhile. While no line is taken, none is
//! made either, so that a log which is stuck or full costs a counter. The thread starts with the first line, so that a
//! queue which says nothing costs nothing, and ends with the last clone of the queue and the last line.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::lines::{Stamp, push_access};
use super::{Access, Report};
use crate::cause::Cause;
use crate::gateway::discard_panic;

/// Bytes that wait: some thousand lines.
const MOST: usize = 1024 * 1024;

/// Bytes for which there is room from the first line on, one more line included, so that a log allocates nothing however late the thread comes; the
/// system gives memory for what of it is used.
const ROOM: usize = MOST + 64 * 1024;

/// Reports of one cause, from one kind of address, that are shown in a second.
const FEW: u64 = 5;

const SECOND: Duration = Duration::from_secs(1);

/// How long lines gather behind those that were just written: a busy server's thread is woken by the clock, a hundred times a second, and by
/// no request.
const GATHER: Duration = Duration::from_millis(10);

/// How long nothing is tried after a write that failed, nor any line taken.
const RETRY: Duration = Duration::from_millis(100);

/// How long a queue that is dropped waits for its last lines.
const LAST: Duration = Duration::from_millis(500);

/// Takes lines and never waits for the writer behind it.
///
/// [`Lines`](super::Lines) has one inside. As a writer it stands between whatever writes whole lines, such as
/// [`AccessLog`](crate::middleware::AccessLog), and a place that may block: each `write` takes all, or drops it and counts. Clones are the same
/// queue; the last one that goes waits for the writer half a second at most.
///
/// ```
/// use doorway::{app, log::Queue, middleware::AccessLog};
///
/// let application = AccessLog::json(app::demo, Queue::new(std::io::stderr()));
/// ```
#[derive(Clone)]
pub struct Queue(Arc<End>);

/// The end of those who say lines.
struct End(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Tells the thread that there is something to do, and whoever waits for it that there is nothing left.
    work: Condvar,
    done: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// No line is taken: one did not fit, or the last write failed a moment ago.
    is_shut: bool,
    dropped: u64,
    stamp: Stamp,
    floods: Vec<Flood>,
    /// Until there is a thread for it.
    writer: Option<Box<dyn Write + Send>>,
    is_asleep: bool,
    is_closed: bool,
}

/// A flood from one kind of address must not hide what comes from another, and there are few kinds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Loopback,
    Private,
    Public,
}

/// Reports of one cause and kind within a second.
struct Flood {
    cause: Cause,
    kind: Kind,
    since: Instant,
    count: u64,
}

impl Queue {
    /// A queue before a writer.
    pub fn new(writer: impl Write + Send + 'static) -> Queue {
        let state = State { writer: Some(Box::new(writer)), is_asleep: true, ..State::default() };
        Queue(Arc::new(End(Arc::new(Shared { state: Mutex::new(state), ..Shared::default() }))))
    }

    /// Says the line of an answered request, as [`Access`] displays it.
    pub fn access(&self, access: &Access<'_>) {
        self.with(&mut |state| {
            state.add(1, |lines, stamp| {
                push_access(lines, access, stamp, SystemTime::now());
                lines.push(b'\n');
            });
        });
    }

    /// Says a line.
    pub fn line(&self, line: &dyn fmt::Display) {
        self.with(&mut |state| state.push(line));
    }

    /// Says a line about a report, unless too many like it were said within a second.
    pub fn report(&self, report: &Report<'_>, line: &dyn fmt::Display) {
        self.with(&mut |state| {
            if state.admits(report, Instant::now()) {
                state.push(line);
            }
        });
    }

    /// Waits until all that was said is written, or the time is over. Tells whether it is.
    pub fn finish(&self, within: Duration) -> bool {
        self.0.finish(within)
    }

    fn with(&self, change: &mut dyn FnMut(&mut State)) {
        let shared = &self.0.0;
        let mut state = shared.lock();
        change(&mut state);
        if let Some(writer) = state.writer.take() {
            state.lines.reserve(ROOM);
            let shared = Arc::clone(shared);
            let work: Box<dyn FnOnce() + Send> = Box::new(move || shared.write_to(writer));
            // Without a thread there is no log: whoever wrote here would have to wait.
            let _ = std::thread::Builder::new().name("doorway-log".into()).spawn(work);
        }
        shared.call(&mut state);
    }
}

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(&mut |state| state.add(count_lines(bytes), |lines, _| lines.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl End {
    fn finish(&self, within: Duration) -> bool {
        let mut state = self.0.lock();
        if state.writer.is_some() {
            return true;
        }
        state.end_floods(None);
        self.0.call(&mut state);
        let waited =
            self.0.done.wait_timeout_while(state, within, |state| !(state.is_asleep && state.lines.is_empty()));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.finish(LAST);
        let mut state = self.0.lock();
        state.is_closed = true;
        self.0.call(&mut state);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread if there is something for it.
    fn call(&self, state: &mut State) {
        if state.is_asleep && (state.has_work() || state.is_closed) {
            state.is_asleep = false;
            self.work.notify_one();
        }
    }

    /// The life of the thread.
    fn write_to(&self, mut writer: Box<dyn Write + Send>) {
        let (mut lines, mut lost, mut is_torn) = (Vec::with_capacity(ROOM), 0, false);
        while let Some(dropped) = self.take(&mut lines) {
            lost += dropped;
            if is_torn {
                lines.insert(0, b'\n');
            }
            let length = lines.len();
            if lost > 0 {
                push_line(&mut lines, &format_args!("{lost} lines dropped: the log did not take them"));
            }
            let written = write_to(&mut *writer, &lines);
            let is_whole = written == lines.len();
            // What stands behind the end of the line that was torn.
            let begin = written.max(usize::from(is_torn));
            lost = if is_whole { 0 } else { lost + count_lines(lines.iter().take(length).skip(begin)) };
            is_torn = lines.get(..written).and_then(<[u8]>::last).map_or(is_torn, |last| *last != b'\n');
            lines.clear();
            lines.shrink_to(ROOM);
            if is_whole {
                std::thread::sleep(GATHER);
            } else {
                self.lock().is_shut = true;
                std::thread::sleep(RETRY);
                self.lock().is_shut = false;
            }
        }
    }

    /// Sleeps until there is something to write, and takes the lines. Gives how many were dropped; nothing when the queue has gone.
    fn take(&self, lines: &mut Vec<u8>) -> Option<u64> {
        let mut state = self.lock();
        while !state.has_work() {
            if state.is_closed {
                return None;
            }
            state.is_asleep = true;
            self.done.notify_all();
            // A flood that is over is told, though nobody says anything more. What it hides meanwhile wakes nobody.
            let time = if state.floods.is_empty() { Duration::MAX } else { SECOND };
            state = self.work.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0;
            state.is_asleep = false;
            state.end_floods(Some(Instant::now()));
        }
        std::mem::swap(&mut state.lines, lines);
        state.is_shut = false;
        Some(std::mem::take(&mut state.dropped))
    }
}

impl State {
    fn has_work(&self) -> bool {
        !self.lines.is_empty() || self.dropped > 0
    }

    fn push(&mut self, line: &dyn fmt::Display) {
        self.add(1, |lines, _| push_line(lines, line));
    }

    /// Takes what is added, which are so many lines, or drops it. Behind one that does not fit nothing is taken until the thread has made room.
    fn add(&mut self, count: u64, add: impl FnOnce(&mut Vec<u8>, &mut Stamp)) {
        let before = self.lines.len();
        if !self.is_shut {
            add(&mut self.lines, &mut self.stamp);
            self.is_shut = self.lines.len() > MOST;
        }
        if self.is_shut {
            self.lines.truncate(before);
            self.dropped += count;
        }
    }

    /// Whether a report is shown. It may be the first after a flood.
    fn admits(&mut self, report: &Report<'_>, now: Instant) -> bool {
        self.end_floods(Some(now));
        let (cause, kind) = (report.cause, Kind::of(report));
        match self.floods.iter_mut().find(|flood| flood.cause == cause && flood.kind == kind) {
            Some(flood) => {
                flood.count += 1;
                flood.count <= FEW
            }
            None => {
                self.floods.push(Flood { cause, kind, since: now, count: 1 });
                true
            }
        }
    }

    /// Says of every flood that is a second old how much was hidden; of all, where there is no time.
    fn end_floods(&mut self, now: Option<Instant>) {
        for flood in std::mem::take(&mut self.floods) {
            if now.is_some_and(|now| now.saturating_duration_since(flood.since) < SECOND) {
                self.floods.push(flood);
            } else if flood.count > FEW {
                self.push(&format_args!("{} and {} more within a second", flood.cause, flood.count - FEW));
            }
        }
    }
}

impl Kind {
    fn of(report: &Report<'_>) -> Kind {
        match report.peer {
            None => Kind::None,
            Some((address, _)) if address.is_loopback() => Kind::Loopback,
            Some((IpAddr::V4(address), _)) if address.is_private() || address.is_link_local() => Kind::Private,
            Some((IpAddr::V6(address), _)) if address.is_unique_local() || address.is_unicast_link_local() => {
                Kind::Private
            }
            Some(_) => Kind::Public,
        }
    }
}

/// Writes as much as is taken, and gives how much that is.
fn write_to(writer: &mut dyn Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        // The writer is somebody else's: one that panics has not taken it.
        let wrote = catch_unwind(AssertUnwindSafe(|| writer.write(rest)));
        match wrote.map_err(discard_panic) {
            Ok(Ok(length)) if length > 0 => written += length,
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody who shares the terminal or the pipe has set it so.
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(GATHER),
            _ => break,
        }
    }
    let _ = catch_unwind(AssertUnwindSafe(|| writer.flush())).map_err(discard_panic);
    written
}

fn push_line(lines: &mut Vec<u8>, line: &dyn fmt::Display) {
    // Memory takes all there is.
    let _ = writeln!(lines, "{line}");
}

fn count_lines<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    bytes.into_iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::log::Answer;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A place that takes each piece when it is allowed to, and says what it took.
    struct Place {
        allowed: Receiver<io::Result<usize>>,
        taken: Sender<String>,
    }

    impl Write for Place {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = self.allowed.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            assert!(most > 0, "it was told to panic");
            let _ = self.taken.send(String::from_utf8_lossy(&bytes[..most]).into_owned());
            Ok(most)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn place() -> (Queue, Sender<io::Result<usize>>, Receiver<String>) {
        let ((allow, allowed), (sender, taken)) = (channel(), channel());
        (Queue::new(Place { allowed, taken: sender }), allow, taken)
    }

    fn report(address: [u8; 4]) -> Report<'static> {
        let peer = Some((address.into(), 1));
        Report { cause: Cause::ClientGone, peer, request: b"", answer: Answer::Cut, detail: "" }
    }

    #[test]
    fn whoever_says_a_line_never_waits_and_what_does_not_fit_is_counted() {
        let (queue, allow, taken) = place();
        let line = "x".repeat(99);
        for _ in 0..30_000 {
            queue.line(&line);
        }
        assert!(!queue.finish(Duration::from_millis(1)), "nobody has read anything");
        drop(allow);
        assert!(queue.finish(PATIENCE));
        let text: String = taken.try_iter().collect();
        let shown = text.lines().filter(|other| *other == line).count();
        let dropped = text.lines().filter_map(|line| line.split_once(" lines dropped")?.0.parse::<usize>().ok());
        assert_eq!(shown + dropped.sum::<usize>(), 30_000);
        assert!(shown * 100 <= 3 * MOST);
    }

    /// A line that counts how often it was made.
    struct Counted<'a>(&'a Cell<usize>, &'a str);

    impl fmt::Display for Counted<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.set(self.0.get() + 1);
            f.write_str(self.1)
        }
    }

    #[test]
    fn a_line_that_does_not_fit_is_made_once_and_none_behind_it() {
        let (queue, allow, _taken) = place();
        let (made, text) = (Cell::new(0), "x".repeat(1_999));
        (0..100_000).for_each(|_| queue.line(&Counted(&made, &text)));
        // Those that wait, those that the thread has, and for each of the two the one that did not fit.
        assert!(made.get() <= 2 * (MOST / 2_000 + 1), "{} were made", made.get());
        drop(allow);
    }

    #[test]
    fn a_place_that_fails_is_tried_a_few_times_a_second_and_hardly_a_line_is_made_meanwhile() {
        struct Failing(Sender<()>);

        impl Write for Failing {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                let _ = self.0.send(());
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let (sender, tries) = channel();
        let (queue, made, begin) = (Queue::new(Failing(sender)), Cell::new(0), Instant::now());
        let (mut said, mut tried) = (0, 0);
        while tried < 4 {
            queue.line(&Counted(&made, "line"));
            said += 1;
            tried += tries.try_iter().count();
        }
        assert!(begin.elapsed() >= 3 * RETRY, "{:?}", begin.elapsed());
        assert!(made.get() < said / 2, "{} of {said} were made", made.get());
    }

    #[test]
    fn a_place_that_is_full_loses_lines_and_says_so_when_it_has_room() {
        let (queue, allow, taken) = place();
        allow.send(Ok(3)).unwrap();
        allow.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        queue.line(&"one\ntwo");
        assert!(queue.finish(PATIENCE));
        allow.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        queue.line(&"three");
        assert!(queue.finish(PATIENCE));
        drop(allow);
        queue.line(&"four");
        assert!(queue.finish(PATIENCE));
        let text: String = taken.try_iter().collect();
        assert_eq!(text, "one\nfour\n3 lines dropped: the log did not take them\n");
    }

    #[test]
    fn a_place_that_panics_loses_what_it_was_given_and_nothing_behind_it() {
        let (queue, allow, taken) = place();
        allow.send(Ok(0)).unwrap();
        queue.line(&"one");
        assert!(queue.finish(PATIENCE));
        drop(allow);
        queue.line(&"two");
        assert!(queue.finish(PATIENCE));
        assert_eq!(taken.try_iter().collect::<String>(), "two\n1 lines dropped: the log did not take them\n");
    }

    #[test]
    fn a_flood_of_one_cause_is_a_few_lines_and_a_number_and_hides_nothing_else() {
        let (queue, allow, taken) = place();
        drop(allow);
        let outside = report([192, 0, 2, 7]);
        (0..1_000).for_each(|_| queue.report(&outside, &"outside"));
        queue.report(&report([127, 0, 0, 1]), &"own");
        queue.report(&Report { cause: Cause::FieldValue, ..outside }, &"other");
        assert!(queue.finish(PATIENCE));
        let text: String = taken.try_iter().collect();
        let count = |begin: &str| text.lines().filter(|line| line.starts_with(begin)).count();
        assert_eq!((count("own"), count("other")), (1, 1), "{text}");
        // A slow machine may take more than a second for it.
        assert!((5..100).contains(&count("outside")), "{text}");
        let hidden = text.lines().filter_map(|line| line.split_once(" and ")?.1.split_once(" more within a second"));
        let hidden: usize = hidden.map(|(number, _)| number.parse::<usize>().unwrap()).sum();
        assert_eq!(hidden + count("outside"), 1_000, "{text}");
    }

    #[test]
    fn a_flood_that_is_over_is_told_by_itself_though_its_first_lines_were_written_before_the_others_came() {
        let (queue, allow, taken) = place();
        drop(allow);
        let flood = |count| (0..count).for_each(|_| queue.report(&report([10, 0, 0, 1]), &"line"));
        flood(FEW);
        while !queue.0.0.lock().is_asleep {
            std::thread::yield_now();
        }
        flood(2);
        let mut text = String::new();
        while !text.contains(" and 2 more within a second\n") {
            text.push_str(&taken.recv_timeout(PATIENCE).unwrap());
        }
    }
}
