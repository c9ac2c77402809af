//! Both directions of a connection that speaks something else than HTTP by now: bytes pass as they are.
//!
//! RFC 9110 section 7.8. Where one side stops sending, the other is told so and may go on (a half-close). A direction that breaks ends both,
//! and so does a time in which nothing moved in either; once one side has stopped, that time is short, because it may be gone. Two threads are
//! held until then: the one that comes here, and one that is started.

use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::link::BLOCK;
use crate::gateway::{Upgraded, discard_panic, is_not_yet};

/// How long a side may be silent when the other has stopped sending.
const HALF: Duration = Duration::from_secs(30);

/// Passes on what either side says until both have ended. `received` is what `upstream` has said already.
///
/// # Errors
/// It could not begin. How it ended is the affair of the two.
pub(crate) fn run(client: &dyn Upgraded, upstream: &dyn Upgraded, received: &[u8], idle: Duration) -> io::Result<()> {
    let tunnel = Arc::new(Tunnel { state: Mutex::new((Instant::now(), idle)) });
    let (mut from_client, mut to_client) = (client.try_clone()?, client.try_clone()?);
    let (mut from_upstream, mut to_upstream) = (upstream.try_clone()?, upstream.try_clone()?);
    to_client.set_write_timeout(Some(idle))?;
    to_upstream.set_write_timeout(Some(idle))?;
    let up = Arc::clone(&tunnel);
    let work: Box<dyn FnOnce() + Send> = Box::new(move || up.carry(&mut *from_client, &mut *to_upstream, b""));
    let thread = Builder::new().name("doorway-tunnel".into()).spawn(work)?;
    tunnel.carry(&mut *from_upstream, &mut *to_client, received);
    thread.join().unwrap_or_else(discard_panic);
    Ok(())
}

struct Tunnel {
    /// When something moved last, in either direction, and how long ago that may be.
    state: Mutex<(Instant, Duration)>,
}

impl Tunnel {
    /// One direction to its end, behind what has come already. Where it breaks the other one ends too, which waits for one of the two.
    fn carry(&self, from: &mut dyn Upgraded, to: &mut dyn Upgraded, received: &[u8]) {
        if to.write_all(received).and_then(|()| self.pass(from, to)).is_err() {
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        }
    }

    fn pass(&self, from: &mut dyn Upgraded, to: &mut dyn Upgraded) -> io::Result<()> {
        let mut room = vec![0; BLOCK];
        loop {
            let (last, idle) = *self.locked();
            let left = idle.saturating_sub(last.elapsed());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // A wait that has begun does not hear that it has become shorter.
            from.set_read_timeout(Some(left.min(HALF)))?;
            match from.read(&mut room) {
                // A side that has gone altogether is found by the other direction.
                Ok(0) => {
                    let mut state = self.locked();
                    *state = (Instant::now(), state.1.min(HALF));
                    return to.shutdown(Shutdown::Write).or(Ok(()));
                }
                Ok(length) => {
                    to.write_all(room.split_at(length).0)?;
                    self.locked().0 = Instant::now();
                }
                Err(error) if is_not_yet(&error) || error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, (Instant, Duration)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
