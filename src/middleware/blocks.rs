//! How middleware looks at the blocks of a body, or changes them, as they are asked for.
//!
//! PEP 3333, "Middleware: Components that Play Both Sides" (P-MW-03, P-MW-06): a block comes out for every block that goes in, and
//! nothing is asked for before it is wanted. Functions given to `on_close` stay with the body.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::gateway::{Block, Body, Kind, Upgrade, Upgraded};

impl Body {
    /// Tells a function the size of every block as it is asked for, or the error that comes instead; the body stays as it is. One
    /// whose length is known keeps its form, to be sent in one piece, and is told at once as one block; so is the error of
    /// [`failure`](Body::failure). Of a connection that the application takes over ([`Body::upgrade`]) every write is told.
    ///
    /// ```
    /// use doorway::Body;
    ///
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let body = Body::from("abc").inspect_blocks(move |size| tell.send(size.ok()).unwrap_or_default());
    /// assert_eq!((body.known_len(), told.recv()), (Some(3), Ok(Some(3))));
    /// ```
    pub fn inspect_blocks(
        self,
        see: impl FnMut(Result<u64, &(dyn Error + Send + Sync + 'static)>) + Send + 'static,
    ) -> Body {
        self.inspected(Box::new(see))
    }

    fn inspected(mut self, mut see: Box<SeeAll>) -> Body {
        let known = self.known_len();
        *self.kind() = match (std::mem::take(self.kind()), known) {
            (Kind::Failed(error), _) => {
                see(Err(&*error));
                Kind::Failed(error)
            }
            (Kind::Deferred(make), _) => {
                Kind::Deferred(Box::new(move |start_response| make(start_response).inspected(see)))
            }
            (Kind::Upgrade(Upgrade { protocol, run }), _) => {
                let see: Arc<Mutex<See>> = Arc::new(Mutex::new(move |sent| see(Ok(sent))));
                Kind::Upgrade(Upgrade { protocol, run: Box::new(|connection| run(Box::new(Seen { connection, see }))) })
            }
            (kind, Some(known)) => {
                see(Ok(known));
                kind
            }
            (Kind::Channel(receiver), _) => {
                Kind::Channel(receiver.change(Box::new(move |next| next.inspect(|block| tell(&mut *see, block)))))
            }
            (mut kind, None) => {
                Kind::Blocks(Box::new(move || kind.next_block().inspect(|block| tell(&mut *see, block))))
            }
        };
        self
    }

    /// Passes every block through a function, one for one, as middleware must (P-MW-03). The length is no longer known;
    /// `on_close` functions stay.
    ///
    /// ```
    /// use doorway::Body;
    ///
    /// let body = Body::from("abc").map_blocks(|block| Ok(block.to_ascii_uppercase().into()));
    /// let blocks: Vec<_> = body.into_blocks().map(Result::unwrap).collect();
    /// assert_eq!(blocks, [&b"ABC"[..]]);
    /// ```
    pub fn map_blocks(mut self, mut change: impl FnMut(Block) -> io::Result<Block> + Send + 'static) -> Body {
        *self.kind() = match std::mem::take(self.kind()) {
            kind @ (Kind::Failed(_) | Kind::Upgrade(_)) => kind,
            Kind::Deferred(make) => {
                Kind::Deferred(Box::new(move |start_response| make(start_response).map_blocks(change)))
            }
            Kind::Channel(receiver) => {
                Kind::Channel(receiver.change(Box::new(move |next| next.map(|block| block.and_then(&mut change)))))
            }
            mut kind => Kind::Blocks(Box::new(move || kind.next_block().map(|block| block.and_then(&mut change)))),
        };
        self
    }
}

/// Told the size of every block, or the error that comes instead.
type SeeAll = dyn FnMut(Result<u64, &(dyn Error + Send + Sync + 'static)>) + Send;

fn tell(see: &mut SeeAll, block: &io::Result<Block>) {
    match block {
        Ok(block) => see(Ok(block.len() as u64)),
        Err(error) => see(Err(error)),
    }
}

/// Told how much was sent.
type See = dyn FnMut(u64) + Send;

/// A connection that an application has taken over, with somebody who is told what it sends.
struct Seen {
    connection: Box<dyn Upgraded>,
    see: Arc<Mutex<See>>,
}

impl Read for Seen {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.connection.read(room)
    }
}

impl Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.connection.write(bytes)?;
        (self.see.lock().unwrap_or_else(PoisonError::into_inner))(sent as u64);
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.flush()
    }
}

impl Upgraded for Seen {
    fn try_clone(&self) -> io::Result<Box<dyn Upgraded>> {
        Ok(Box::new(Seen { connection: self.connection.try_clone()?, see: Arc::clone(&self.see) }))
    }

    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.connection.set_read_timeout(time)
    }

    fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.connection.set_write_timeout(time)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.connection.shutdown(how)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn p_mw_03_map_blocks_gives_one_block_for_one_block() {
        let body =
            Body::list(vec!["a".as_bytes(), b"", b"b"]).map_blocks(|block| Ok([&block[..], b"!"].concat().into()));
        let blocks: Vec<Block> = body.into_blocks().map(Result::unwrap).collect();
        assert_eq!(blocks, [&b"a!"[..], b"!", b"b!"]);
    }

    #[test]
    fn p_mw_06_inspecting_tells_every_size_and_error_and_keeps_form_and_length() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let inspect = |body: Body| {
            let told = Arc::clone(&told);
            body.inspect_blocks(move |size| told.lock().unwrap().push(size.map_err(ToString::to_string)))
        };
        assert!(matches!(inspect(Body::list(vec!["a".as_bytes(), b"bc"])).kind(), Kind::List(_)));
        assert_eq!(inspect(Body::empty()).known_len(), Some(0));
        let blocks = vec![Ok(Block::Borrowed(b"d")), Ok(Block::Borrowed(b"")), Err(io::Error::other("torn"))];
        assert_eq!(inspect(Body::blocks(blocks)).into_blocks().count(), 3);
        assert_eq!(inspect(Err::<Body, _>("no").into()).failure().map(ToString::to_string).as_deref(), Some("no"));
        let expected = [Ok(3), Ok(0), Ok(1), Ok(0), Err("torn".into()), Err("no".into())];
        assert_eq!(*told.lock().unwrap(), expected);
    }

    #[test]
    fn p_body_04_what_runs_on_close_runs_once_however_often_a_body_is_wrapped() {
        let closed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&closed);
        let body = Body::from("x").on_close(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        drop(body.map_blocks(Ok).inspect_blocks(|_| ()).map_blocks(Ok));
        assert_eq!(closed.load(Ordering::SeqCst), 1);
    }
}
