//! Says in the log when every thread has been in a call for long, and in which: then whoever asks waits, and finally gets 503.
//!
//! Each thread has a place of its own for what it is called for, so calls do not wait for one another here. Whoever takes the last free thread wakes
//! the watcher, which otherwise sleeps. It looks once a second, and says one line until a thread was found free again.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Thread};
use std::time::{Duration, Instant};

use doorway::{Application, Body, Environ, StartResponse};

use crate::console;

/// How long no thread may be free until it is said.
const LONG: Duration = Duration::from_secs(10);

/// A call that runs: since when, and for what.
type Place = Arc<Mutex<Option<(Instant, String)>>>;

#[derive(Default)]
struct Calls {
    places: Mutex<Vec<Place>>,
    count: AtomicUsize,
}

thread_local! {
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// The application with somebody who watches over its threads.
pub fn watched(inner: impl Application, threads: usize) -> io::Result<impl Application> {
    let calls = Arc::new(Calls::default());
    let watcher = Builder::new().name("busy".into()).spawn({
        let calls = Arc::clone(&calls);
        move || calls.watch(threads)
    })?;
    let watcher: Thread = watcher.thread().clone();
    Ok(move |environ: &Environ, start_response: &mut StartResponse| -> Body {
        let _call = calls.begin(environ);
        if calls.count.load(Ordering::Relaxed) >= threads {
            watcher.unpark();
        }
        inner.call(environ, start_response)
    })
}

/// A call, which ends with this however it ends.
struct Call<'a>(&'a Calls, Place);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        *lock(&self.1) = None;
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Calls {
    fn begin(&self, environ: &Environ) -> Call<'_> {
        let place = PLACE.with_borrow_mut(|place| {
            let make = || {
                let place = Place::default();
                lock(&self.places).push(Arc::clone(&place));
                place
            };
            Arc::clone(place.get_or_insert_with(make))
        });
        *lock(&place) = Some((Instant::now(), format!("{} {}", environ.method(), environ.path().escape_debug())));
        self.count.fetch_add(1, Ordering::Relaxed);
        Call(self, place)
    }

    fn watch(&self, threads: usize) {
        let is_busy = || self.count.load(Ordering::Relaxed) >= threads;
        loop {
            std::thread::park();
            let since = Instant::now();
            // That it lasts is what is watched for; the calls themselves only count.
            while is_busy() && since.elapsed() < LONG {
                std::thread::sleep(LONG / 10);
            }
            if is_busy() {
                console::say(&format!("doorway: all {threads} threads are in calls{}\n", self.longest()));
            }
            while is_busy() {
                std::thread::sleep(LONG / 10);
            }
        }
    }

    /// The call that has lasted longest.
    fn longest(&self) -> String {
        let longest = lock(&self.places).iter().filter_map(|place| lock(place).clone()).min();
        longest.map_or_else(String::new, |(since, what)| {
            format!("; the longest for {} s: {what}", since.elapsed().as_secs())
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorway::testing::Request;

    #[test]
    fn of_the_calls_that_run_the_longest_is_told_and_none_that_has_ended() {
        let calls = Calls::default();
        let first = calls.begin(&Request::get("/report\n?secret").environ());
        std::thread::scope(|scope| {
            scope.spawn(|| drop(calls.begin(&Request::get("/other").environ())));
        });
        assert_eq!(
            (calls.count.load(Ordering::Relaxed), &*calls.longest()),
            (1, "; the longest for 0 s: GET /report\\n")
        );
        drop(first);
        assert_eq!((calls.count.load(Ordering::Relaxed), &*calls.longest()), (0, ""));
    }
}
