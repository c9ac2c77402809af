//! What must hold for every input of a fuzz target, as plain functions that panic where it does not.
//!
//! The targets in `tests/fuzz` hand them what a fuzzer makes; `tests/fuzzed.rs` hands them what fuzzers have found and what stands
//! in `tests/corpus`, so that no find comes back. The first bytes of an input choose (which parser, where to cut, what the
//! application does), the rest is what goes over the wire; an input that is too short chooses 0.

// The targets use one of these each.
#![allow(dead_code)]

pub mod connection;
pub mod files;
pub mod parsers;
pub mod pass;
pub mod proxy;
pub mod upload;
pub mod upstream;

/// The input of a fuzz target: choices from its front, then the bytes themselves.
pub struct Input<'a> {
    pub rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { rest: bytes }
    }

    pub fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *byte
    }

    /// A choice out of `count`.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// Everything up to the first byte of this kind, which is taken too; all that is left where there is none.
    pub fn until(&mut self, end: u8) -> &'a [u8] {
        let at = self.rest.iter().position(|byte| *byte == end);
        let (part, rest) = self.rest.split_at(at.unwrap_or(self.rest.len()));
        self.rest = rest.get(1..).unwrap_or_default();
        part
    }
}
