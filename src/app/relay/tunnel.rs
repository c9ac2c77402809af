//! Both directions of a connection that speaks something else than HTTP by now: bytes pass as they are.
//!
//! RFC 9110 section 7.8. Where one side stops sending, the other is told so and may go on (a half-close). A direction that breaks ends both,
//! and so does a time in which nothing moved in either; once one side has stopped, that time is short, because it may be gone. Two threads are
//! held until then: the one that comes here, and one that is started.

use std::io;
use std::net::Shutdown;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, scope};
use std::time::{Duration, Instant};

use super::link::BLOCK;
use crate::gateway::{Upgraded, is_not_yet};

/// How long a side may be silent when the other has stopped sending.
const HALF: Duration = Duration::from_secs(30);

/// Passes on what either side says until both have ended. `received` is what `upstream` has said already.
///
/// # Errors
/// It could not begin. How it ended is the affair of the two.
pub(crate) fn run(client: &dyn Upgraded, upstream: &dyn Upgraded, received: &[u8], idle: Duration) -> io::Result<()> {
    let tunnel = Tunnel { state: Mutex::new((Instant::now(), idle)) };
    let (mut from_client, mut to_client) = (client.try_clone()?, client.try_clone()?);
    let (mut from_upstream, mut to_upstream) = (upstream.try_clone()?, upstream.try_clone()?);
    to_client.set_write_timeout(Some(idle))?;
    to_upstream.set_write_timeout(Some(idle))?;
    let breaks = |direction: io::Result<()>| {
        if direction.is_err() {
            // The other direction waits for one of them.
            let _ = (client.shutdown(Shutdown::Both), upstream.shutdown(Shutdown::Both));
        }
    };
    scope(|scope| {
        let up = Builder::new().name("doorway-tunnel".into());
        up.spawn_scoped(scope, || breaks(tunnel.pass(&mut *from_client, &mut *to_upstream)))?;
        let first = to_client.write_all(received);
        breaks(first.and_then(|()| tunnel.pass(&mut *from_upstream, &mut *to_client)));
        Ok(())
    })
}

struct Tunnel {
    /// When something moved last, in either direction, and how long ago that may be.
    state: Mutex<(Instant, Duration)>,
}

impl Tunnel {
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
