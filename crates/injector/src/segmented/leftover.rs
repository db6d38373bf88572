//! What a queue that is dropped still holds.

use super::block::{BLOCK, Block, Taken};
use super::{STRIDE, slot, span};

/// Gives the items that are left, oldest first, and frees each block behind them. After the last item no block
/// is left; nothing is freed when this is dropped earlier.
pub(super) struct Leftover<T> {
    block: *mut Block<T>,
    index: u64,
    tail: u64,
}

impl<T> Leftover<T> {
    /// What lies between the positions `index` and `tail`, from `block` on.
    ///
    /// # Safety
    /// 1. `block` is the one that `index` speaks of, and both ends' positions are these.
    /// 2. No other thread uses the queue any longer, and its blocks are freed by this alone.
    pub(super) unsafe fn new(block: *mut Block<T>, index: u64, tail: u64) -> Self {
        Self { block, index, tail }
    }
}

impl<T> Iterator for Leftover<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        // SAFETY: 1. linked, so not freed: whatever lies before `index` is finished and with the collector; 2. no
        // other thread is there (obligation 2 of `new`).
        while let Some(block) = unsafe { self.block.as_ref() } {
            let end = block.start().wrapping_add(BLOCK as u64);
            while self.index != end && span(self.index, self.tail) > 0 {
                let at = slot(self.index);
                self.index = self.index.wrapping_add(1);
                // SAFETY: 1. no other thread claims, and each slot is taken once.
                if let Taken::Item(item) = unsafe { block.take(at, false) } {
                    return Some(item);
                }
            }
            if self.index == end {
                self.index = block.start().wrapping_add(STRIDE);
            }
            let next = block.next();
            // SAFETY: 1. it came from a box; 2. freed once: `self.block` leads to the next from here on.
            drop(unsafe { Box::from_raw(self.block) });
            self.block = next;
        }
        None
    }
}
