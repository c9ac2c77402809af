//! A run of bytes of an open file, read at positions of its own.
//!
//! RFC 9110 section 14 has ranges, docs/rules.md P-FILE-04 and P-FILE-08 the rest. The handle's own position is neither used nor moved
//! on Unix, so that one handle can serve several runs. The length is what was said: where the file ends earlier, reading fails,
//! so that a response is never padded; what a file grew by meanwhile is not read.

use std::fs::File;
use std::io;

use super::Block;
use super::body::{READ_BLOCK, uninterrupted};

/// `left` bytes from `position` on.
pub(crate) struct FileRange {
    pub(crate) file: File,
    pub(crate) position: u64,
    pub(crate) left: u64,
}

impl FileRange {
    /// The next block, read into memory that may have been used; `None` at the end of the range.
    pub(crate) fn next_block(&mut self, mut memory: Vec<u8>) -> Option<io::Result<Block>> {
        memory.resize(usize::try_from(self.left).unwrap_or(READ_BLOCK).min(READ_BLOCK), 0);
        (self.left > 0).then(|| self.read(memory).map(Block::Owned))
    }

    fn read(&mut self, mut piece: Vec<u8>) -> io::Result<Vec<u8>> {
        let read = uninterrupted(|| read_at(&self.file, &mut piece, self.position))?;
        piece.truncate(read);
        self.position += read as u64;
        self.left = self.left.saturating_sub(read as u64);
        if read == 0 { Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter")) } else { Ok(piece) }
    }

    /// Goes back: so many of the bytes that were read last are read again.
    pub(crate) fn rewind(&mut self, bytes: u64) {
        self.position -= bytes;
        self.left += bytes;
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, position)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_file_04_a_range_is_read_in_blocks_from_its_position_and_never_past_its_length() {
        let path = std::env::temp_dir().join(format!("doorway-range-{}", std::process::id()));
        let content: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &content).unwrap();
        let read = |position: u64, left: u64| {
            let mut range = FileRange { file: File::open(&path).unwrap(), position, left };
            let blocks: Vec<Block> = std::iter::from_fn(|| range.next_block(Vec::new()).transpose().unwrap()).collect();
            assert!(blocks.iter().all(|block| block.len() <= READ_BLOCK));
            blocks.concat()
        };
        assert_eq!(read(0, 200_000), content);
        assert_eq!(read(70_000, 100_000), content[70_000..170_000]);
        assert_eq!(read(199_999, 1), content[199_999..]);
        assert_eq!(read(5, 0), b"");

        let mut beyond = FileRange { file: File::open(&path).unwrap(), position: 199_990, left: 11 };
        assert_eq!(beyond.next_block(Vec::new()).unwrap().unwrap().len(), 10);
        assert_eq!(beyond.next_block(Vec::new()).unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        std::fs::remove_file(&path).unwrap();
    }
}
