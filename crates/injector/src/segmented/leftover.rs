//! The items that a queue still holds when it is dropped.

use super::block::{BLOCK, Block, Taken};
use super::{STRIDE, slot, span};

/// Yields the remaining items, oldest first, and frees each block behind them. After the last item
/// no block is left. If this is dropped earlier, the remaining blocks are not freed.
pub(super) struct Leftover<T> {
    block: *mut Block<T>,
    index: u64,
    tail: u64,
}

impl<T> Leftover<T> {
    /// Creates an iterator over the items between the positions `index` and `tail`, from `block`
    /// on.
    ///
    /// # Safety
    /// 1. `block` is the one that `index` refers to, and both ends' positions are these.
    /// 2. No other thread uses the queue any longer, and its blocks are freed by this alone.
    pub(super) unsafe fn new(block: *mut Block<T>, index: u64, tail: u64) -> Self {
        Self { block, index, tail }
    }
}

impl<T> Iterator for Leftover<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        // SAFETY: 1. the block is linked, so it is not freed: whatever lies before `index` is
        // finished and with the collector; 2. no other thread is there (obligation 2 of `new`).
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
            // SAFETY: 1. the pointer came from a box; 2. it is freed once: `self.block` leads to
            // the next block from here on.
            drop(unsafe { Box::from_raw(self.block) });
            self.block = next;
        }
        None
    }
}
