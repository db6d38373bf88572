//! A lock-free unbounded global queue: first in, first out; linked blocks of slots.
//!
//! Positions are handed out by counters, items live in blocks of 64 slots, and the blocks form a
//! list. A push claims its whole range of positions with one fetch-and-add, however long the batch,
//! and then fills the slots at leisure; a slot says by a flag of its own that it is filled. A pop
//! claims a range of *filled* slots with one compare-and-swap, so it never owns an item that it would
//! have to wait for. Blocks that are used up are reclaimed through epochs.
//!
//! # Operations
//! | operation    | caller | progress                                     | cost                          |
//! |--------------|--------|----------------------------------------------|-------------------------------|
//! | `push`       | anyone | lock-free (it may have to append a block)    | one RMW, an epoch pin         |
//! | `push_batch` | anyone | lock-free                                    | one RMW for all, an epoch pin |
//! | `pop`        | anyone | lock-free, but see below                     | one RMW, an epoch pin         |
//! | `pop_batch`  | anyone | as `pop`                                     | one RMW for each block touched |
//! | `len`        | anyone | wait-free                                    | two loads                     |
//!
//! A pop that meets a position which was claimed by a push and is not filled yet cannot say "empty",
//! since pushes behind it may have ended. It waits, and yields its time slice while it does: a
//! producer stopped between its claim and its last store holds up the consumers. This is the price of
//! strict order, and crossbeam's queues pay it too. [`try_pop_batch`](Segmented::try_pop_batch) does
//! not wait and says so.
//!
//! # Layout
//! ```text
//!   head (next to take)                 tail (next to hand out)
//!     v                                   v
//!   [ . . c d ] -> [ e f _ h ] -> [ i _ . . ]          _ claimed by a push, not filled yet
//!     ^ head_block                  ^ tail_block        blocks are linked by `next`
//! ```
//!
//! # Invariants
//! - **G1** `head <= tail`; both only grow.
//! - **G2** A position belongs to the push whose fetch-and-add passed it, until the slot is filled; then to
//!   nobody, until the pop whose compare-and-swap passes it; then to that pop. So a slot is written once
//!   and read once.
//! - **G3** `head` passes filled slots only.
//! - **G4** A block is retired when `head` has passed its last slot, after `tail_block` and `head_block`
//!   have left it for good; so whoever holds a claimed, unfilled position can reach its block from
//!   `head_block`.
//!
//! # Orderings
//! | label | operation                                  | partner | publishes                      |
//! |-------|--------------------------------------------|---------|--------------------------------|
//! | G5    | push sets `filled`, Release                | G6      | the item                       |
//! | G6    | pop reads `filled`, Acquire                | G5      | –                              |
//! | G7    | a block is linked or a hint moved, Release | G8      | the block's header and slots   |
//! | G8    | `next` and the hints are loaded, Acquire   | G7      | –                              |
//!
//! `head` and `tail` themselves publish nothing: Relaxed throughout.
//!
//! # Why not …
//! A claim by consumers with fetch-and-add, as LCRQ has it: a consumer then owns positions that may
//! never be filled and has to poison them. Reclaiming blocks by marks in their slots, as crossbeam's
//! `Injector` does: one RMW an item, against one pin a batch.
//!
//! # References
//! A. Morrison, Y. Afek, *Fast concurrent queues for x86 processors*, PPoPP 2013 (positions by
//! fetch-and-add); K. Fraser, *Practical lock-freedom*, 2004 (epochs).

mod block;

use core::fmt;

use crossbeam_epoch::{self as epoch, Atomic, Guard, Shared};
use stealyard_sync::atomic::{AtomicU64, Ordering};
use stealyard_sync::{CachePadded, hint, thread};

use crate::injector::{Injector, share};
use block::{BLOCK, Block};

/// A lock-free unbounded global queue; first in, first out. See the [crate's](crate) overview.
pub struct Segmented<T> {
    /// The next position to take.
    head: CachePadded<AtomicU64>,
    /// The next position to hand out.
    tail: CachePadded<AtomicU64>,
    /// A block at or before `head`'s.
    head_block: CachePadded<Atomic<Block<T>>>,
    /// A block at or before `tail`'s: where pushes start to look.
    tail_block: CachePadded<Atomic<Block<T>>>,
}

// SAFETY: 1. items are moved in by one thread and out by another, one owner at a time (G2); nothing
// hands out a reference to one.
unsafe impl<T: Send> Send for Segmented<T> {}
// SAFETY: 1. as above; all shared state is atomic.
unsafe impl<T: Send> Sync for Segmented<T> {}

/// What a pop that does not wait has found.
#[must_use = "a pending push may hide items"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryPop {
    /// So many items were taken, at least one.
    Taken(usize),
    /// There was nothing.
    Empty,
    /// The oldest item's push has not ended yet.
    Pending,
}

impl<T: Send> Segmented<T> {
    /// An empty queue with one block.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(0)
    }

    /// A queue whose positions start at `position`, a multiple of the block's size: for tests of what
    /// happens far from zero.
    #[doc(hidden)]
    #[must_use]
    pub fn starting_at(position: u64) -> Self {
        debug_assert_eq!(position % BLOCK as u64, 0, "positions start with a block");
        let first = Block::boxed(position);
        let head_block = Atomic::from(first);
        // Ordering: Relaxed; nobody else has the queue yet.
        let guard = epoch::pin();
        let tail_block = Atomic::from(head_block.load(Ordering::Relaxed, &guard).as_raw());
        Self {
            head: CachePadded::new(AtomicU64::new(position)),
            tail: CachePadded::new(AtomicU64::new(position)),
            head_block: CachePadded::new(head_block),
            tail_block: CachePadded::new(tail_block),
        }
    }

    /// Puts `item` at the back.
    pub fn push(&self, item: T) {
        let guard = &epoch::pin();
        // Ordering: Relaxed; the position is all that it gives (G2).
        let position = self.tail.fetch_add(1, Ordering::Relaxed);
        self.block_for_push(position, guard).fill(position, item);
    }

    /// Puts all of `items` at the back, together and in their order, with one claim for all.
    pub fn push_batch(&self, items: impl IntoIterator<Item = T>) {
        let items: Vec<T> = items.into_iter().collect();
        if items.is_empty() {
            return;
        }
        let guard = &epoch::pin();
        // Ordering: Relaxed; the positions are all that it gives (G2).
        let first = self.tail.fetch_add(items.len() as u64, Ordering::Relaxed);
        let mut block = self.block_for_push(first, guard);
        for (position, item) in (first..).zip(items) {
            if !block.holds(position) {
                block = block.next_or_append(guard);
            }
            block.fill(position, item);
        }
        self.move_tail_hint(block.start(), guard);
    }

    /// The block of a position that this thread has claimed for a push.
    fn block_for_push<'g>(&self, position: u64, guard: &'g Guard) -> &'g Block<T> {
        // Ordering: Acquire (G8); the block is whole.
        let hint = self.tail_block.load(Ordering::Acquire, guard);
        // SAFETY: 1. never null; 2. the guard was pinned before it was loaded (G4).
        let mut block = unsafe { hint.deref() };
        if block.start() > position {
            // Others have moved the hint past our block; from the head it can be reached (G4).
            // Ordering: Relaxed; by G4 it is a block before the hint's, and whoever linked that one had
            // seen those before it, so the load of the hint has made it visible.
            let first = self.head_block.load(Ordering::Relaxed, guard);
            // SAFETY: 1. and 2. as above.
            block = unsafe { first.deref() };
        }
        let walked = !block.holds(position);
        while !block.holds(position) {
            block = block.next_or_append(guard);
        }
        if walked {
            self.move_tail_hint(block.start(), guard);
        }
        block
    }

    /// Moves the tail hint forward until it is at `start`'s block or beyond. It never moves back.
    fn move_tail_hint(&self, start: u64, guard: &Guard) {
        loop {
            // Ordering: Acquire (G8); the block is whole.
            let hint = self.tail_block.load(Ordering::Acquire, guard);
            // SAFETY: 1. never null; 2. the guard was pinned before it was loaded (G4).
            let block = unsafe { hint.deref() };
            if block.start() >= start {
                return;
            }
            let next = block.next_or_append(guard);
            // Ordering: Release (G7); whoever starts from the hint sees a whole block. On failure
            // Relaxed: somebody else moved it, look again.
            let _ = self.tail_block.compare_exchange(
                hint,
                Shared::from(core::ptr::from_ref(next)),
                Ordering::Release,
                Ordering::Relaxed,
                guard,
            );
        }
    }

    /// Takes the oldest item; waits for a push that has begun, see the file's essay.
    pub fn pop(&self) -> Option<T> {
        let mut taken = None;
        self.pop_batch(1, 1, |item| taken = Some(item));
        taken
    }

    /// Takes one worker's share, `min(max, len / workers + 1)`, oldest first, and gives it to `sink`.
    /// Returns how many. Waits for a push that has begun if nothing older is there, see the file's
    /// essay. A batch within a block is one claim.
    pub fn pop_batch(&self, max: usize, workers: usize, mut sink: impl FnMut(T)) -> usize {
        let mut waited = 0_u32;
        loop {
            match self.try_pop_batch(max, workers, &mut sink) {
                TryPop::Taken(count) => return count,
                TryPop::Empty => return 0,
                TryPop::Pending => wait(&mut waited),
            }
        }
    }

    /// As [`pop_batch`](Self::pop_batch), but does not wait for a push that has begun.
    pub fn try_pop_batch(&self, max: usize, workers: usize, mut sink: impl FnMut(T)) -> TryPop {
        if max == 0 || self.is_empty() {
            return TryPop::Empty;
        }
        let guard = &epoch::pin();
        let wanted = share(self.len(), max, workers);
        let mut taken = 0;
        while taken < wanted {
            match self.claim(wanted - taken, guard) {
                Claim::Range(block, first, count) => {
                    taken += count;
                    block.take(first, count, &mut sink);
                    if !block.holds(first + count as u64) {
                        self.retire_passed(guard);
                    }
                }
                Claim::Empty => break,
                Claim::Pending if taken > 0 => break,
                Claim::Pending => return TryPop::Pending,
            }
        }
        if taken > 0 {
            TryPop::Taken(taken)
        } else {
            TryPop::Empty
        }
    }

    /// Claims up to `count` filled positions of one block, from the head.
    fn claim<'g>(&self, count: usize, guard: &'g Guard) -> Claim<'g, T> {
        loop {
            // Ordering: Relaxed; a stale one only makes the claim fail.
            let head = self.head.load(Ordering::Relaxed);
            let filled = match self.block_at_head(head, guard) {
                Place::Block(block) => (block, block.filled_from(head, count)),
                Place::Passed => continue,
                Place::NotYet => {
                    if self.is_pending(head) {
                        return Claim::Pending;
                    }
                    return Claim::Empty;
                }
            };
            let (block, ready) = filled;
            if ready == 0 {
                // Ordering: Relaxed; if the head has moved, what we saw is of the past.
                if self.head.load(Ordering::Relaxed) != head {
                    continue;
                }
                return if self.is_pending(head) {
                    Claim::Pending
                } else {
                    Claim::Empty
                };
            }
            let next = head + ready as u64;
            // Ordering: Relaxed on both; it publishes nothing: what is behind the claimed positions
            // was published by `filled` (G5), and the block is kept by the guard.
            let claimed =
                self.head
                    .compare_exchange(head, next, Ordering::Relaxed, Ordering::Relaxed);
            if claimed.is_ok() {
                return Claim::Range(block, head, ready);
            }
        }
    }

    /// True if a push has claimed `head` (and had not filled it when we looked).
    fn is_pending(&self, head: u64) -> bool {
        // Ordering: Relaxed; only the number counts.
        self.tail.load(Ordering::Relaxed) > head
    }

    /// The block that holds `head`, from the head hint onward.
    fn block_at_head<'g>(&self, head: u64, guard: &'g Guard) -> Place<'g, T> {
        // Ordering: Acquire (G8); the block is whole.
        let hint = self.head_block.load(Ordering::Acquire, guard);
        // SAFETY: 1. never null; 2. the guard was pinned before it was loaded (G4).
        let mut block = unsafe { hint.deref() };
        if block.start() > head {
            return Place::Passed;
        }
        while !block.holds(head) {
            match block.next(guard) {
                Some(next) => block = next,
                None => return Place::NotYet,
            }
        }
        Place::Block(block)
    }

    /// Moves the head hint over blocks that the head has passed, and retires them.
    #[cold]
    fn retire_passed(&self, guard: &Guard) {
        loop {
            // Ordering: Acquire (G8); the block is whole.
            let hint = self.head_block.load(Ordering::Acquire, guard);
            // SAFETY: 1. never null; 2. the guard was pinned before it was loaded (G4).
            let block = unsafe { hint.deref() };
            let end = block.start() + BLOCK as u64;
            // Ordering: Relaxed; the head only grows, so a stale one only leaves the block for later.
            if self.head.load(Ordering::Relaxed) < end {
                return;
            }
            self.move_tail_hint(end, guard);
            let next = Shared::from(core::ptr::from_ref(block.next_or_append(guard)));
            // Ordering: Release (G7); whoever starts from the hint sees a whole block. On failure
            // Relaxed: somebody else moved it and retires it.
            let moved = self.head_block.compare_exchange(
                hint,
                next,
                Ordering::Release,
                Ordering::Relaxed,
                guard,
            );
            if moved.is_ok() {
                // SAFETY: 1. both hints have left it for good, and no `next` leads to it from a block
                // that is not retired itself (G4); 2. only who moved the head hint retires it.
                unsafe { guard.defer_destroy(hint) };
            }
        }
    }

    /// How many items there were at this moment, those whose push has not ended included.
    #[must_use]
    pub fn len(&self) -> usize {
        // Ordering: Relaxed on both; a moment's view. The head first: it never passes the tail, so
        // that the difference is not negative unless the tail read is older, which gives zero.
        let head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Relaxed);
        usize::try_from(tail.saturating_sub(head)).unwrap_or(usize::MAX)
    }

    /// True if the queue was empty at this moment; two loads.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a claim has got.
enum Claim<'g, T> {
    /// So many positions from this one, in this block.
    Range(&'g Block<T>, u64, usize),
    Empty,
    Pending,
}

/// Where the head's block is.
enum Place<'g, T> {
    Block(&'g Block<T>),
    /// The head has moved on since it was read.
    Passed,
    /// No push has come as far as to link it.
    NotYet,
}

/// Waits for another thread's few instructions, or for its time slice.
#[cold]
fn wait(waited: &mut u32) {
    if *waited < 64 {
        *waited += 1;
        hint::spin_loop();
    } else {
        thread::yield_now();
    }
}

impl<T> Drop for Segmented<T> {
    fn drop(&mut self) {
        // SAFETY: 1. nobody else has the queue any more.
        let guard = unsafe { epoch::unprotected() };
        // Ordering: Relaxed throughout; dropping the last handle is ordered after all else.
        let head = self.head.load(Ordering::Relaxed);
        let mut hint = self.head_block.load(Ordering::Relaxed, guard);
        while !hint.is_null() {
            // SAFETY: 1. it came from a box, and only this list has it (G4).
            let block = unsafe { hint.into_owned() };
            hint = block.next_raw(guard);
            block.drop_items(head);
        }
    }
}

impl<T: Send> Injector<T> for Segmented<T> {
    fn push(&self, item: T) {
        self.push(item);
    }

    fn push_batch(&self, items: impl IntoIterator<Item = T>) {
        self.push_batch(items);
    }

    fn pop(&self) -> Option<T> {
        self.pop()
    }

    fn pop_batch(&self, max: usize, workers: usize, sink: impl FnMut(T)) -> usize {
        self.pop_batch(max, workers, sink)
    }

    fn len(&self) -> usize {
        self.len()
    }
}

impl<T: Send> Default for Segmented<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send> fmt::Debug for Segmented<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segmented")
            .field("len", &self.len())
            .finish()
    }
}
