//! What a `Lint` knows of one request, and how it comes to know it.
//!
//! A [`Watch`] looks in four ways: at the environ before the call, through the hooks of the start_response, through what it puts
//! around a body that is made block by block, and through `on_close`. Bodies that are all there keep their form. Nothing is
//! held back: faults go to the sink when they show.
//!
//! With a `Lint` on both sides of middleware, the outer one lays an [`Inside`] into the environ. The inner one reads there what was
//! wrong before, and notes what it has found, so that the outer one knows what the middleware has done itself.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::rules::{Fault, check_environ, check_fields, check_status};
use super::tap::{Count, Tap};
use super::{Culprit, Finding, Place, Sink};
use crate::cause::Cause;
use crate::gateway::{Block, Body, Environ, Errors, Headers, Kind, StartError, StartResponse, Status, discard_panic};

/// What one `Lint` and those further inside tell each other.
struct Inside {
    /// Rules that the environ broke before it came in.
    environ: Vec<&'static str>,
    notes: Mutex<Notes>,
}

/// What those further inside have seen.
#[derive(Default)]
struct Notes {
    calls: usize,
    /// The rules of the response that were broken further inside, and reported there.
    rules: Vec<&'static str>,
    /// How many blocks were taken from bodies that are made block by block.
    blocks: u64,
    /// How many bodies are not closed yet.
    open: usize,
}

/// One request under observation.
pub(super) struct Watch {
    request: String,
    is_head: bool,
    sink: Sink,
    errors: Errors,
    /// CONTENT_LENGTH and what was read of it, where content was announced.
    content: Option<(u64, Arc<Count>)>,
    inside: Arc<Inside>,
    outside: Option<Arc<Inside>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The application is at work; other calls are those of middleware outside.
    is_calling: bool,
    head: Option<Head>,
    /// Somebody outside has called `start` already, so a second start is not the application's fault.
    is_started_outside: bool,
    /// A call of `start` was wrong, and no later one has mended it.
    is_refused: bool,
    /// `restart` was called when the head was out.
    is_late: bool,
    /// Written and returned so far.
    bytes: u64,
    blocks: u64,
    is_over: bool,
    said: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy)]
struct Head {
    code: u16,
    has_type: bool,
    length: Option<u64>,
}

impl Head {
    fn has_content(self) -> bool {
        !matches!(self.code, 204 | 205 | 304)
    }
}

impl Watch {
    /// Looks at an environ, and makes the one that the application gets.
    pub(super) fn begin(environ: &Environ, sink: Sink) -> (Arc<Watch>, Environ) {
        let path = [environ.script_name(), environ.path_info()].concat();
        let method = environ.bytes("REQUEST_METHOD").unwrap_or_default();
        let outside = environ.extension::<Arc<Inside>>().cloned();
        let faults = check_environ(environ);
        let rules = faults.iter().map(|fault| fault.rule).collect();
        let inside = Arc::new(Inside { environ: rules, notes: Mutex::default() });

        let mut inner = environ.clone();
        inner.insert_extension(Arc::clone(&inside));
        let content = environ.content_length().filter(|length| *length > 0).map(|length| {
            let count = Arc::new(Count::default());
            inner.set_input(Tap::new(environ.clone(), Arc::clone(&count)));
            (length, count)
        });
        let watch = Watch {
            request: format!("{} {}", method.escape_ascii(), path.escape_ascii()),
            is_head: method == b"HEAD",
            sink,
            errors: environ.errors().clone(),
            content,
            inside,
            outside,
            state: Mutex::default(),
        };
        watch.outside(|notes| notes.calls += 1);
        for fault in faults {
            match &watch.outside {
                Some(outside) if outside.environ.contains(&fault.rule) => {}
                Some(_) => watch.tell(Culprit::Middleware, Place::Environ, fault),
                None => watch.tell(Culprit::Server, Place::Environ, fault),
            }
        }
        (Arc::new(watch), inner)
    }

    /// The application is called as long as this lives, even if it panics.
    pub(super) fn calling(&self) -> Calling<'_> {
        self.state().is_calling = true;
        Calling(self)
    }

    /// Looks at what the application does with the start_response.
    pub(super) fn look_at_calls(watch: &Arc<Watch>, start_response: &mut StartResponse) {
        watch.state().is_started_outside = start_response.status().is_some();
        let looking = Arc::clone(watch);
        start_response.on_start(move |status, headers| looking.started(status, headers));
        let looking = Arc::clone(watch);
        start_response.on_refused(move |error, headers| looking.refused(error, headers));
        let looking = Arc::clone(watch);
        start_response.on_write(move |block| {
            looking.see(Place::Write, |watch, state, faults| {
                if state.is_calling {
                    watch.take_content(state, block.len() as u64, true, faults);
                }
            });
            Ok(block)
        });
    }

    /// Looks at what the application returned, now and until it is closed.
    pub(super) fn look_at_body(watch: Arc<Watch>, body: Body) -> Body {
        watch.outside(|notes| notes.open += 1);
        let body = Watch::look_at_form(&watch, body);
        body.on_close(move || watch.closed())
    }

    fn look_at_form(watch: &Arc<Watch>, mut body: Body) -> Body {
        let known = body.known_len();
        let looking = Arc::clone(watch);
        let form = body.kind();
        *form = match (std::mem::take(form), known) {
            (Kind::Deferred(make), _) => Kind::Deferred(Box::new(move |start_response| {
                let calling = looking.calling();
                let made = make(start_response);
                drop(calling);
                Watch::look_at_form(&looking, made)
            })),
            (Kind::Failed(error), _) => Kind::Failed(error),
            (Kind::Blocks(mut next), _) => {
                watch.returned(1);
                Kind::Blocks(Box::new(move || looking.came(next())))
            }
            (Kind::Channel(receiver), _) => {
                watch.returned(1);
                Kind::Channel(receiver.change(Box::new(move |next| looking.came(next))))
            }
            (form, known) => {
                watch.returned(u64::from(!matches!(form, Kind::Empty)));
                watch.whole(known.unwrap_or_default());
                form
            }
        };
        body
    }

    /// A head was stored, for the first time or instead of another.
    fn started(&self, status: &Status, headers: &Headers) {
        self.see(Place::Start, |_, state, faults| {
            if !state.is_calling {
                return;
            }
            faults.extend(check_fields(headers));
            let has_type = headers.contains("Content-Type");
            if has_type && matches!(status.code(), 204 | 304) {
                faults
                    .push(Fault::warning("V-32", format!("Content-Type with {}, which has no content", status.code())));
            }
            state.head = Some(Head { code: status.code(), has_type, length: headers.content_length() });
            state.is_refused = false;
        });
    }

    /// A call of `start` or `restart` was wrong.
    fn refused(&self, error: &StartError, headers: &Headers) {
        self.see(Place::Start, |_, state, faults| {
            if !state.is_calling {
                return;
            }
            match error.cause() {
                Cause::HeadSent => state.is_late = true,
                Cause::StartedTwice if state.is_started_outside => {}
                Cause::StartedTwice => faults.push(Fault::error("P-SR-07", "start was called a second time")),
                Cause::StatusInvalid => faults.push(check_status(error.detail())),
                _ => faults.extend(check_fields(headers)),
            }
            state.is_refused |= error.cause() != Cause::HeadSent;
        });
    }

    /// A body came back that did not fail; middleware may have taken so many blocks for it.
    fn returned(&self, allowed: u64) {
        self.see(Place::Body, |watch, state, faults| {
            if state.is_late {
                faults.push(Fault::error("P-SR-09", "the error of a restart that came too late was not returned"));
            }
            watch.check_gathering(allowed, faults);
        });
    }

    /// A body is all there.
    fn whole(&self, length: u64) {
        self.see(Place::Body, |watch, state, faults| {
            watch.take_content(state, length, false, faults);
            watch.end(state, faults);
        });
    }

    /// What a body gives next: a block, an error or its end.
    fn came(&self, next: Option<io::Result<Block>>) -> Option<io::Result<Block>> {
        match &next {
            Some(Ok(block)) => self.block(block.len()),
            Some(Err(_)) => {}
            None => self.ended(),
        }
        next
    }

    /// A block came out of a body.
    fn block(&self, length: usize) {
        self.outside(|notes| notes.blocks += 1);
        self.see(Place::Body, |watch, state, faults| {
            state.blocks += 1;
            watch.check_gathering(state.blocks, faults);
            watch.take_content(state, length as u64, true, faults);
        });
    }

    /// A body came to its end.
    fn ended(&self) {
        self.see(Place::Body, |watch, state, faults| {
            watch.check_gathering(state.blocks, faults);
            watch.end(state, faults);
        });
    }

    /// The request is over, however it went.
    fn closed(&self) {
        self.outside(|notes| notes.open = notes.open.saturating_sub(1));
        self.see(Place::Close, |watch, state, faults| {
            // An answer from 400 on may well refuse the content unread.
            let is_content = state.is_over && state.head.is_some_and(|head| head.code < 400);
            if let (true, Some((length, count))) = (is_content, &watch.content) {
                let read = count.read();
                if read < *length && !count.has_failed() {
                    faults.push(Fault::info("V-43", format!("{read} of the {length} bytes of content were read")));
                }
            }
            if locked(&watch.inside.notes).open > 0 {
                faults.push(Fault::error("V-26", "the body of the application inside is not closed"));
            }
        });
    }

    /// V-32, V-33, V-37, and V-38 for a body that is too long.
    fn take_content(&self, state: &mut State, length: u64, is_made: bool, faults: &mut Vec<Fault>) {
        if length == 0 {
            return;
        }
        let Some(head) = state.head else {
            if !state.is_refused {
                faults.push(Fault::error("V-33", "a block came and start was never called"));
            }
            return;
        };
        state.bytes = state.bytes.saturating_add(length);
        if !head.has_content() {
            faults.push(Fault::warning("V-37", format!("content with {}, which has none", head.code)));
            return;
        }
        if !head.has_type {
            faults.push(Fault::warning("V-32", "content without Content-Type"));
        }
        if self.is_head {
            if is_made {
                faults.push(Fault::info("V-37", "a block was made for a HEAD, which drops it"));
            }
            return;
        }
        if let Some(promised) = head.length.filter(|promised| *promised < state.bytes) {
            faults.push(Fault::error("V-38", format!("Content-Length promises {promised} bytes, and more came")));
        }
    }

    /// V-40, and V-38 for a body that is too short.
    fn end(&self, state: &mut State, faults: &mut Vec<Fault>) {
        state.is_over = true;
        if state.is_refused {
            return;
        }
        match state.head {
            None => {
                let is_said = |rule: &str| state.said.iter().any(|(said, _)| *said == rule);
                if !is_said("V-33") && faults.iter().all(|fault| fault.rule != "V-33") {
                    faults.push(Fault::error("V-40", "the body ended and start was never called"));
                }
            }
            Some(head) if head.has_content() && !self.is_head => {
                if let Some(promised) = head.length.filter(|promised| *promised > state.bytes) {
                    let text = format!("Content-Length promises {promised} bytes, {} came", state.bytes);
                    faults.push(Fault::error("V-38", text));
                }
            }
            Some(_) => {}
        }
    }

    /// V-41: more blocks were taken from inside than have come out.
    fn check_gathering(&self, given: u64, faults: &mut Vec<Fault>) {
        if locked(&self.inside.notes).blocks > given {
            faults.push(Fault::error("V-41", "a block of the application inside was taken and none was given for it"));
        }
    }

    /// Runs a check, and reports what it found when no lock is held any more.
    fn see(&self, place: Place, check: impl FnOnce(&Watch, &mut State, &mut Vec<Fault>)) {
        let mut faults = Vec::new();
        let mut state = self.state();
        check(self, &mut state, &mut faults);
        faults.retain(|fault| {
            let is_new = !state.said.iter().any(|(rule, text)| *rule == fault.rule && *text == fault.text);
            if is_new {
                state.said.push((fault.rule, fault.text.clone()));
            }
            is_new
        });
        drop(state);
        for fault in faults {
            self.report(place, fault);
        }
    }

    /// Finds the culprit of a fault in the response.
    fn report(&self, place: Place, fault: Fault) {
        let is_between = matches!(fault.rule, "V-26" | "V-41");
        let (calls, is_known) = {
            let notes = locked(&self.inside.notes);
            (notes.calls, notes.rules.contains(&fault.rule))
        };
        self.outside(|notes| notes.rules.push(fault.rule));
        if is_between || (calls > 0 && !is_known) {
            self.tell(Culprit::Middleware, place, fault);
        } else if !is_known {
            self.tell(Culprit::Application, place, fault);
        }
    }

    fn tell(&self, culprit: Culprit, place: Place, fault: Fault) {
        let Fault { rule, level, text } = fault;
        let finding = Finding { rule, culprit, level, request: self.request.clone(), place, text };
        let telling = catch_unwind(AssertUnwindSafe(|| match &self.sink {
            Sink::Errors => self.errors.write(&format!("lint: {finding}\n")),
            Sink::Function(sink) => sink(&finding),
        }));
        telling.unwrap_or_else(discard_panic);
    }

    /// Notes something for the `Lint` outside, where there is one.
    fn outside(&self, note: impl FnOnce(&mut Notes)) {
        if let Some(outside) = &self.outside {
            note(&mut locked(&outside.notes));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

/// As long as it lives, what happens to the start_response is the application's doing.
pub(super) struct Calling<'watch>(&'watch Watch);

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        self.0.state().is_calling = false;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
