//! The memory that all connections hold between calls, counted: each connection's part, and the sum that the settings bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A connection's part in the sum of what all connections hold.
pub(super) struct Held {
    counted: usize,
    sum: Arc<AtomicUsize>,
}

impl Held {
    pub(super) fn new(sum: &Arc<AtomicUsize>) -> Held {
        Held { counted: 0, sum: Arc::clone(sum) }
    }

    pub(super) fn counted(&self) -> usize {
        self.counted
    }

    /// Says how many bytes it is now.
    pub(super) fn count(&mut self, bytes: usize) {
        if bytes > self.counted {
            self.sum.fetch_add(bytes - self.counted, Ordering::Relaxed);
        } else if bytes < self.counted {
            self.sum.fetch_sub(self.counted - bytes, Ordering::Relaxed);
        }
        self.counted = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.count(0);
    }
}
