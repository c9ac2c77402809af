//! A body whose blocks another thread sends: a broadcaster, a job, a timer.
//!
//! PEP 3333 knows only blocks that are asked for (P-BODY-01). Here they come when they come, and in between the response waits without a
//! thread. The queue between the two is bounded: a sender that is ahead of its client waits, or is told so. A body that is dropped (the
//! client is gone, the server stops) is an error of the next `send`. It knows no server: whoever is to be woken says how.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::mpsc::{SendError, TrySendError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use super::{Block, Body, Kind};

/// Sends the blocks of a body made by [`Body::channel`]. Dropping it ends the body.
pub struct Sender(Arc<Channel>);

/// What a body of [`Body::channel`] takes its blocks from.
pub(crate) struct Receiver {
    channel: Arc<Channel>,
    changes: Vec<Change>,
}

/// What middleware does to every block, to the error that comes instead, and at the end.
pub(crate) type Change = Box<dyn FnMut(Option<io::Result<Block>>) -> Option<io::Result<Block>> + Send>;

/// How what waits is woken: a body for a block, a request for a seat, a connection for its client.
pub(crate) trait Wake: Send + Sync {
    /// What has this number there may go on.
    fn wake(self: Arc<Self>, number: u64);
}

#[derive(Default)]
struct Channel {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Behind them may come an error.
    blocks: VecDeque<io::Result<Block>>,
    bound: usize,
    sender_is_gone: bool,
    body_is_gone: bool,
    waiter: Option<(Arc<dyn Wake>, u64)>,
}

impl State {
    /// Whether the receiver has nothing to give for the moment.
    fn is_quiet(&self) -> bool {
        self.blocks.is_empty() && !self.sender_is_gone
    }

    /// Whether the sender has to wait.
    fn is_full(&self) -> bool {
        self.blocks.len() >= self.bound && !self.body_is_gone
    }
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as the state is so.
    fn wait_while(&self, is_so: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.lock(), |state| is_so(state)).unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a block into the queue, unless it is full or the body is gone.
    fn push(&self, mut state: MutexGuard<'_, State>, block: Block) -> Result<(), TrySendError<Block>> {
        match *state {
            State { body_is_gone: true, .. } => return Err(TrySendError::Disconnected(block)),
            _ if state.is_full() => return Err(TrySendError::Full(block)),
            _ => state.blocks.push_back(Ok(block)),
        }
        self.tell(state);
        Ok(())
    }

    /// Tells the receiver that something has come.
    fn tell(&self, mut state: MutexGuard<'_, State>) {
        let waiter = state.waiter.take();
        drop(state);
        self.changed.notify_all();
        if let Some((waiter, number)) = waiter {
            waiter.wake(number);
        }
    }
}

impl Body {
    /// A body whose blocks come from another thread, at most `bound` of them (at least 1) ahead of the client. It holds no thread while it
    /// waits for a block or for its client, so that thousands of event streams and long polls need no more threads than a server has anyway.
    ///
    /// The first block that is not empty sends the head, so send one soon: a comment, in an event stream. A client that has gone away
    /// is noticed by what is sent to it. The body ends with its [`Sender`].
    ///
    /// ```
    /// use doorway::{Body, Environ, StartResponse};
    ///
    /// fn clock(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    ///     let (sender, body) = Body::channel(4);
    ///     std::thread::spawn(move || {
    ///         for tick in 0..3 {
    ///             if sender.send(format!("data: {tick}\n\n").into_bytes()).is_err() {
    ///                 break; // the client has left
    ///             }
    ///         }
    ///     });
    ///     start_response.start("200 OK", &[("Content-Type", "text/event-stream")]);
    ///     body
    /// }
    /// # assert_eq!(doorway::testing::Request::get("/").call(&clock).text(), "data: 0\n\ndata: 1\n\ndata: 2\n\n");
    /// ```
    pub fn channel(bound: usize) -> (Sender, Body) {
        let state = State { bound: bound.max(1), ..State::default() };
        let channel = Arc::new(Channel { state: Mutex::new(state), changed: Condvar::new() });
        let receiver = Receiver { channel: Arc::clone(&channel), changes: Vec::new() };
        (Sender(channel), Body::of_kind(Kind::Channel(receiver)))
    }
}

impl Sender {
    /// Puts a block into the queue, waiting for room in it. A client that takes nothing for `Settings::response_stall` is cut, so this does
    /// not wait for longer.
    ///
    /// # Errors
    /// The body is gone, with the client or the server; the block comes back.
    pub fn send(&self, block: impl Into<Block>) -> Result<(), SendError<Block>> {
        let block = block.into();
        let sent = self.0.push(self.0.wait_while(State::is_full), block);
        sent.map_err(|(TrySendError::Full(block) | TrySendError::Disconnected(block))| SendError(block))
    }

    /// Puts a block into the queue if there is room in it.
    ///
    /// # Errors
    /// The queue is full, or the body is gone; the block comes back.
    pub fn try_send(&self, block: impl Into<Block>) -> Result<(), TrySendError<Block>> {
        let block = block.into();
        self.0.push(self.0.lock(), block)
    }

    /// Ends the body with an error, which is logged: 500 if nothing was sent, otherwise a visible abort.
    pub fn fail(self, error: impl Into<Box<dyn Error + Send + Sync>>) {
        self.0.lock().blocks.push_back(Err(io::Error::other(error)));
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.sender_is_gone = true;
        self.0.tell(state);
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("waiting", &self.0.lock().blocks.len()).finish_non_exhaustive()
    }
}

impl Receiver {
    /// What is there: a block, an error, `None` at the end, or nothing for the moment.
    pub(crate) fn take(&mut self) -> Poll<Option<io::Result<Block>>> {
        let mut state = self.channel.lock();
        if state.is_quiet() {
            return Poll::Pending;
        }
        let next = state.blocks.pop_front();
        drop(state);
        self.channel.changed.notify_all();
        Poll::Ready(self.changes.iter_mut().fold(next, |next, change| change(next)))
    }

    /// The next block, waiting for it; `None` at the end.
    pub(crate) fn next_block(&mut self) -> Option<io::Result<Block>> {
        loop {
            if let Poll::Ready(block) = self.take() {
                return block;
            }
            self.wait_here();
        }
    }

    /// Waits until it would give something.
    pub(crate) fn wait_here(&self) {
        drop(self.channel.wait_while(State::is_quiet));
    }

    /// Has everything changed that comes.
    pub(crate) fn change(mut self, change: Change) -> Receiver {
        self.changes.push(change);
        self
    }

    /// Whether it would give something.
    pub(crate) fn is_ready(&self) -> bool {
        !self.channel.lock().is_quiet()
    }

    /// How many bytes wait in it.
    pub(crate) fn memory(&self) -> usize {
        self.channel.lock().blocks.iter().flatten().map(|block| block.len()).sum()
    }

    /// Has `waiter` woken when something comes. Tells whether it must wait for that.
    pub(crate) fn register(&self, waiter: &Arc<impl Wake + 'static>, number: u64) -> bool {
        let mut state = self.channel.lock();
        if state.is_quiet() {
            state.waiter = Some((Arc::clone(waiter) as Arc<dyn Wake>, number));
        }
        state.is_quiet()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.channel.lock();
        *state = State { body_is_gone: true, ..State::default() };
        self.channel.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(body: Body) -> Vec<String> {
        body.into_blocks()
            .map(|block| {
                block.map_or_else(|error| error.to_string(), |block| String::from_utf8_lossy(&block).into_owned())
            })
            .collect()
    }

    #[test]
    fn blocks_come_in_the_order_in_which_they_were_sent_and_end_with_their_sender() {
        let (sender, body) = Body::channel(1);
        std::thread::scope(|scope| {
            scope.spawn(move || (0..100).for_each(|n: u32| sender.send(n.to_string().into_bytes()).unwrap()));
            assert_eq!(blocks(body), (0..100).map(|n: u32| n.to_string()).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_full_queue_and_a_body_that_is_gone_give_the_block_back() {
        let (sender, body) = Body::channel(2);
        sender.try_send(&b"a"[..]).unwrap();
        sender.send(&b"b"[..]).unwrap();
        assert_eq!(sender.try_send(&b"c"[..]), Err(TrySendError::Full(Block::Borrowed(b"c"))));
        drop(body);
        assert_eq!(sender.try_send(&b"d"[..]), Err(TrySendError::Disconnected(Block::Borrowed(b"d"))));
        assert_eq!(sender.send(&b"e"[..]), Err(SendError(Block::Borrowed(b"e"))));
    }

    #[test]
    fn a_failure_comes_behind_what_was_sent_before_it() {
        let (sender, body) = Body::channel(2);
        sender.send(&b"a"[..]).unwrap();
        sender.fail("torn");
        assert_eq!(blocks(body), ["a", "torn"]);
    }

    #[test]
    fn p_mw_03_middleware_changes_every_block_as_it_comes() {
        let (sender, body) = Body::channel(2);
        let body = body.map_blocks(|block| Ok([&block[..], b"!"].concat().into()));
        let body = body.map_blocks(|block| Ok([&block[..], b"?"].concat().into()));
        sender.send(&b"a"[..]).unwrap();
        drop(sender);
        assert_eq!(blocks(body), ["a!?"]);
    }
}
