//! What the tests of this room share: seeded random numbers and small changes to bytes. No library code.

/// Marsaglia's xorshift: the same cases on every run, so that a failure can be repeated.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 16) % end as u64) as usize
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    /// One of the given.
    pub fn pick<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
        from[self.below(from.len())]
    }

    /// Changes up to three places of `bytes`: a byte replaced, taken out, doubled or put in; or the end cut off.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>, favourites: &[u8]) {
        for _ in 0..self.below(4) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            let byte = if self.below(3) == 0 { self.byte() } else { favourites[self.below(favourites.len())] };
            match self.below(9) {
                0..=2 => bytes[at] = byte,
                3..=4 => bytes.insert(at, byte),
                5..=6 => drop(bytes.remove(at)),
                7 => bytes.insert(at, bytes[at]),
                _ => bytes.truncate(at),
            }
        }
    }
}
