//! What is unsent: a queue of bytes, sent as the socket takes them, with or without a thread that waits.
//!
//! Heads, frames and small blocks are copied into one run of memory in front, so that a small response is one write. Behind it stand larger
//! blocks as they came from the application, and all of them together are one gathering write.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::socket::Socket;
use crate::gateway::{Block, READ_BLOCK, is_not_yet};

/// Blocks up to this size are copied behind their head: one plain write is cheaper than a gathering one.
pub(super) const COPIED: usize = 16 * 1024;

/// How much is copied together before it is sent: half of it makes a stream of small blocks cost a third more, twice of it saves a twentieth.
pub(super) const FLAT: usize = 2 * COPIED;

/// How much is offered to the system in one write: it copies it, and so much is still in the cache when the client reads it.
const OFFERED: usize = 512 * 1024;

/// How many pieces are offered in one write.
const PIECES: usize = 16;

/// How much one connection may move before the others have their turn.
pub(super) const QUANTUM: usize = 256 * 1024;

/// Bytes in the order in which they will be sent.
#[derive(Default)]
pub(super) struct SendQueue {
    front: Vec<u8>,
    blocks: VecDeque<Block>,
    /// Bytes of the first of these that are sent already; fewer than it has.
    sent: usize,
    /// The memory of a block that was sent, for the next piece of a file.
    spare: Vec<u8>,
}

impl SendQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty() && self.blocks.is_empty()
    }

    /// How many bytes are still to be sent.
    pub(super) fn len(&self) -> usize {
        self.front.len() + self.blocks.iter().map(|block| block.len()).sum::<usize>() - self.sent
    }

    /// How many bytes of memory it holds; those of blocks that are borrowed for ever are nobody's.
    pub(super) fn memory(&self) -> usize {
        let owned = |block: &Block| if let Block::Owned(bytes) = block { bytes.capacity() } else { 0 };
        self.front.capacity() + self.spare.capacity() + self.blocks.iter().map(owned).sum::<usize>()
    }

    /// Whether all of it stands in one run of memory.
    pub(super) fn is_flat(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The run of memory to write a head to: what is there stands in it.
    pub(super) fn flatten(&mut self) -> &mut Vec<u8> {
        // Larger blocks are rare before a head: an earlier response that goes out with this one has none.
        while let Some(block) = self.blocks.pop_front() {
            self.front.extend_from_slice(&block);
        }
        &mut self.front
    }

    /// Puts a block behind everything; a small one is copied as long as all stands in one run of memory.
    pub(super) fn push(&mut self, block: Block) {
        if self.is_flat() && self.front.len() <= FLAT && block.len() <= COPIED {
            self.front.extend_from_slice(&block);
        } else if !block.is_empty() {
            self.blocks.push_back(block);
        }
    }

    /// Puts a copy of some bytes behind everything.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        if self.is_flat() {
            self.front.extend_from_slice(bytes);
        } else {
            self.push(Block::Owned(bytes.to_vec()));
        }
    }

    /// Memory for a block to be pushed.
    pub(super) fn take_spare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare)
    }

    /// Takes the end of the only block back, all but `keep` bytes of what is unsent. Gives how many bytes that were.
    pub(super) fn take_back(&mut self, keep: usize) -> usize {
        match (self.front.is_empty(), self.blocks.len(), self.blocks.front_mut()) {
            (true, 1, Some(Block::Owned(block))) if block.len() > self.sent + keep => {
                let taken = block.len() - self.sent - keep;
                // Copied: shrunk in its place, it would leave a gap too small for the next piece.
                let kept = block.split_at(self.sent).1.split_at(keep).0.to_vec();
                (*block, self.sent) = (kept, 0);
                taken
            }
            _ => 0,
        }
    }

    /// Gives memory up that nothing unsent stands in.
    pub(super) fn release(&mut self) {
        self.spare = Vec::new();
        // Copied, as what is taken back is.
        self.front = self.front.to_vec();
    }

    /// Gives memory back that few responses need.
    pub(super) fn shrink(&mut self) {
        self.front.shrink_to(2 * FLAT);
    }

    /// Sends until everything is gone, the socket takes no more, or a [`QUANTUM`] is over: others may be waiting for the thread. Gives how many
    /// bytes went.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn flush(&mut self, socket: &Socket) -> io::Result<usize> {
        let mut gone = 0;
        while !self.is_empty() && gone < QUANTUM {
            match self.write(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    gone += written;
                    self.advance(written);
                }
                Err(error) if is_not_yet(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(gone)
    }

    fn write(&self, socket: &Socket) -> io::Result<usize> {
        if self.blocks.is_empty() {
            return socket.write(&[IoSlice::new(self.front.split_at(self.sent).1)]);
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        let (mut count, mut left, mut skip) = (0, OFFERED, self.sent);
        let pieces = std::iter::once(&*self.front).chain(self.blocks.iter().map(|block| &**block));
        for (slice, piece) in slices.iter_mut().zip(pieces.filter(|piece| !piece.is_empty())) {
            let piece = piece.split_at(std::mem::take(&mut skip)).1;
            let piece = piece.split_at(left.min(piece.len())).0;
            *slice = IoSlice::new(piece);
            (count, left) = (count + 1, left - piece.len());
            if left == 0 {
                break;
            }
        }
        socket.write(slices.split_at(count).0)
    }

    /// Notes what the socket took.
    fn advance(&mut self, written: usize) {
        self.sent += written;
        if self.sent < self.front.len() {
            return;
        }
        self.sent -= self.front.len();
        self.front.clear();
        while self.blocks.front().is_some_and(|block| self.sent >= block.len()) {
            let Some(block) = self.blocks.pop_front() else { break };
            self.sent -= block.len();
            match block {
                Block::Owned(memory) if memory.capacity() <= 2 * READ_BLOCK => self.spare = memory,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A client that takes so many bytes at a time and keeps them.
    #[derive(Clone)]
    struct Client(Arc<Mutex<Vec<u8>>>, usize);

    impl Read for Client {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }

    impl Write for Client {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.1);
            self.0.lock().unwrap().extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(self.1).collect();
            self.write(&all)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_pushed_goes_out_in_order_however_little_the_socket_takes() {
        for takes in [1, 7, COPIED, 100_000, usize::MAX] {
            let client = Client(Arc::default(), takes);
            let socket = Socket::over(client.clone());
            let (mut queue, mut expected) = (SendQueue::default(), Vec::new());
            for round in 0..3_usize {
                for (index, length) in [3, 0, COPIED + 1, 1, 40_000, 2].into_iter().enumerate() {
                    let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + index + round) as u8).collect();
                    expected.extend_from_slice(&bytes);
                    if index % 2 == 0 { queue.push(Block::Owned(bytes)) } else { queue.push_bytes(&bytes) }
                }
                assert_eq!(queue.len() + client.0.lock().unwrap().len(), expected.len());
                while queue.flush(&socket).unwrap() > 0 {}
                assert_eq!((queue.is_empty(), queue.len()), (true, 0));
            }
            assert!(*client.0.lock().unwrap() == expected, "{takes}");
        }
    }

    #[test]
    fn what_is_taken_back_is_not_held_and_what_is_kept_goes_out() {
        let client = Client(Arc::default(), 10_000);
        let socket = Socket::over(client.clone());
        let mut queue = SendQueue::default();
        let piece: Vec<u8> = (0..READ_BLOCK).map(|at| at as u8).collect();
        queue.push(Block::Owned(piece.clone()));
        queue.advance(1_000);
        assert_eq!(queue.take_back(4_000), READ_BLOCK - 5_000);
        assert_eq!((queue.len(), queue.memory()), (4_000, 4_000));
        assert_eq!((queue.take_back(4_000), queue.flush(&socket).unwrap(), queue.is_empty()), (0, 4_000, true));
        assert!(*client.0.lock().unwrap() == piece[1_000..5_000]);
    }

    #[test]
    fn one_turn_moves_little_more_than_its_share() {
        let client = Client(Arc::default(), 10_000);
        let socket = Socket::over(client.clone());
        let mut queue = SendQueue::default();
        queue.push(Block::Owned(vec![7; 2 * QUANTUM]));
        let sent = queue.flush(&socket).unwrap();
        assert!((QUANTUM..QUANTUM + 10_000).contains(&sent) && client.0.lock().unwrap().len() == sent, "{sent}");
    }
}
