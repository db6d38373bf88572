//! A lock-free global queue of linked blocks: many producers, many consumers, first in, first out.
//!
//! Producers reserve slots at the back, and consumers claim them at the front. Each does so with
//! one compare-and-swap of a position, and a whole batch costs no more than a single item.
//!
//! A producer that is interrupted between reserving and writing does not hold up any other thread:
//! 1. The consumer of its slot waits a little.
//! 2. Then the consumer kills the slot: it declares the slot dead, and goes on.
//! 3. The producer, when it comes back, puts its item further back in the queue.
//!
//! Such poisoned slots are the idea of LCRQ and of the array queue with fetch-and-add. What differs
//! here:
//! - Slots hold any `T`.
//! - Slots of a cache line share one state word, so that a batch is published with one
//!   read-modify-write for each line.
//! - A batch that lost a slot moves its remainder as a whole, so that it keeps its order.
//!
//! Positions stand beside block pointers, so that a successful exchange proves that the pointer is
//! right. That is crossbeam's idea.
//!
//! # Operations
//! | operation    | caller | progress  | read-modify-writes                                     |
//! | ------------ | ------ | --------- | ------------------------------------------------------ |
//! | `push`       | any    | lock-free | one to reserve, one to publish                         |
//! | `push_batch` | any    | lock-free | one per block to reserve, one per line to publish      |
//! | `pop`        | any    | lock-free | one to claim, one to count; none if empty              |
//! | `pop_batch`  | any    | lock-free | one per block to claim, one to count; none if empty    |
//! | `len`        | any    | wait-free | none                                                   |
//! | `is_empty`   | any    | lock-free | none, but for dead slots at the front, which it passes |
//!
//! # Layout
//! ```text
//!   head: index, block            tail: index, block
//!          |                             |
//!          v                             v
//!   [xxxxxxxxx....] --> [............] --> [.....       ] --> (linked ahead of need)
//!             ^ claimed up to here             ^ reserved up to here
//!
//!   position   bit 8..63: number of the block   bit 0..7: slot, 0..251; 252: all are given out
//! ```
//!
//! # Invariants
//! - **G1** (block and index agree) An end's `block` is the one that its `index` refers to. While
//!   `index` stands at the block's end, `block` may be the next one. So a thread has read the right
//!   block if it read `index` before it read `block`, and then moves `index` from the value that it
//!   read, and not on from a block's end.
//! - **G2** (order of the swing) The thread that gives out a block's last slot moves that end on to
//!   the next block: first `block`, then `index`. It does so before it is finished with the slot
//!   (S5).
//! - **G3** (blocks live long enough) A block is handed to the epoch collector when every slot is
//!   finished with (S5), so not before both ends have left it (G2). Hence a slot that is not
//!   finished keeps its block alive without a pin; and what an end's `block` showed to a pinned
//!   thread stays alive while the pin lasts.
//! - **G4** (dead slots are counted) `dead_slots` is the number of slots that producers gave up and
//!   consumers have not passed yet, when no call is under way.
//! - **G5** (no foreign code) Freeing a block drops no item: the consumers that claimed the items
//!   took them. No code of a user runs while the thread is pinned or holds an unfinished slot. The
//!   collector is this crate's own, so that all that runs in a pin is the freeing of blocks
//!   (`segmented/collector.rs`).
//!
//! Labels S1 to S9 are those of `segmented/block.rs`.
//!
//! # Orderings
//! - **G6** A swing moves `block` on, Release. Partner: G7. Publishes the fields of the next block,
//!   and that `index` had reached the end.
//! - **G7** A thread loads `block`, Acquire. Partner: G6.
//! - **G8** A swing moves `index` on, Release. Partner: G9. Publishes that `block` was moved on
//!   before.
//! - **G9** A thread loads `index`, Acquire. Partner: G8.
//! - **G10** A thread gives out slots by `index`, reads the other end's `index`, or counts
//!   `dead_slots`, all Relaxed. They carry only the numbers: values travel by S6 and S7.
//!
//! What lock-free means here, why G10 is enough, and the rejected designs follow
//! (`segmented/proof.md`).

#![doc = include_str!("segmented/proof.md")]

mod block;
mod collector;
mod leftover;

use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};

use crossbeam_epoch::Shared;
use stealyard_sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use stealyard_sync::{CachePadded, MODELLED, Patience};

use crate::injector::{Injector, drop_all, share};
use block::{BLOCK, Block, Taken};
use collector::pin;
use leftover::Leftover;

/// The distance between the starts of two blocks: more than a block, and a power of two.
const STRIDE: u64 = if MODELLED { 8 } else { 256 };
/// The mask of the slot in a position.
const SLOT: u64 = STRIDE - 1;
/// The thread that gets this slot links the next block, so that it is there when it is needed.
const LINKS_NEXT: usize = BLOCK / 4 * 3;
/// Blocks of at least this many bytes go to the collector at once, and not with the next 63.
const LARGE_BLOCK: usize = 8192;

const _: () = assert!(STRIDE.is_power_of_two() && BLOCK < STRIDE as usize);

/// A lock-free, unbounded global queue; first in, first out. See the [crate's](crate) overview.
///
/// Empty blocks are given back to the allocator by a collector that the queues of this crate share.
/// Up to 64 of them per thread may wait there until that thread uses such a queue again.
pub struct Segmented<T> {
    head: CachePadded<Head<T>>,
    tail: CachePadded<End<T>>,
    /// The number of slots that are reserved and will never hold anything (G4). Touched only when
    /// that happens.
    dead_slots: CachePadded<AtomicUsize>,
}

/// The end at which slots are claimed.
struct Head<T> {
    end: End<T>,
    /// A value of the tail's `index`, which may have grown since. For what lies before it, a
    /// consumer need not read the tail, whose cache line the producers keep busy.
    known_tail: AtomicU64,
}

/// A position and its block, from which slots are given out.
struct End<T> {
    index: AtomicU64,
    block: AtomicPtr<Block<T>>,
}

/// Slots of one block that are the caller's, and keep the block alive until they are finished (G3).
struct Slots<T> {
    block: *mut Block<T>,
    from: usize,
    to: usize,
}

// SAFETY: 1. items are moved in by one thread and out by another, which `T: Send` allows; 2. no
// reference to an item is ever given out, so `T: Sync` is not needed.
unsafe impl<T: Send> Send for Segmented<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Segmented<T> {}

// A panic leaves no operation half done.
impl<T> UnwindSafe for Segmented<T> {}
impl<T> RefUnwindSafe for Segmented<T> {}

impl<T: Send> Segmented<T> {
    /// Creates an empty queue with one block of memory: 252 slots, some 2.5 KiB for items of a
    /// word.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(0)
    }

    /// Creates an empty queue whose positions start at `start`, a multiple of 256; they wrap. For
    /// tests of what happens where they do.
    ///
    /// # Panics
    /// If `start` is not a multiple of 256.
    #[doc(hidden)]
    #[must_use]
    pub fn starting_at(start: u64) -> Self {
        assert!(
            start & SLOT == 0,
            "positions start with a block, at a multiple of {STRIDE}, not at {start}"
        );
        let first = Box::into_raw(Block::allocate(start));
        let end = || End {
            index: AtomicU64::new(start),
            block: AtomicPtr::new(first),
        };
        Self {
            head: CachePadded::new(Head {
                end: end(),
                known_tail: AtomicU64::new(start),
            }),
            tail: CachePadded::new(end()),
            dead_slots: CachePadded::new(AtomicUsize::new(0)),
        }
    }

    /// Pushes `item` at the back.
    pub fn push(&self, item: T) {
        let mut item = item;
        loop {
            let slots = self.reserve(1);
            // SAFETY: 1. this thread's slot is not finished (G3).
            let block = unsafe { &*slots.block };
            // SAFETY: 1. the slot was reserved just now.
            match unsafe { block.publish(slots.from, item) } {
                Ok(()) => return,
                Err(overtaken) => item = overtaken,
            }
            slots.finish(1);
        }
    }

    /// Pushes all of `items` at the back, in their order. Items of other threads may come between
    /// where the batch crosses from one block of 252 slots into the next, and where a consumer
    /// overtook it.
    pub fn push_batch(&self, items: impl IntoIterator<Item = T>) {
        let mut items: Vec<T> = items.into_iter().collect();
        let total = items.len();
        // From here on the queue takes the items over, and nothing panics; a failed allocation
        // aborts.
        // SAFETY: 1. zero is never too long.
        unsafe { items.set_len(0) };
        let mut done = 0;
        while done < total {
            let slots = self.reserve(total - done);
            // SAFETY: 1. this thread's slots are not finished (G3).
            let block = unsafe { &*slots.block };
            // SAFETY: 1. `done` is less than the number of items in the buffer.
            let rest = unsafe { items.as_ptr().add(done) };
            // SAFETY:
            // 1. The slots were reserved just now.
            // 2. At least as many items remain.
            // 3. The buffer forgot them.
            let published = unsafe { block.publish_batch(slots.from..slots.to, rest) };
            done += published.count;
            if published.given_up > 0 {
                // Ordering: Relaxed (G10).
                self.dead_slots
                    .fetch_add(published.given_up, Ordering::Relaxed);
            }
            slots.finish(published.to_finish);
        }
    }

    /// Reserves at least one slot and at most `count`, all in one block.
    #[inline]
    fn reserve(&self, count: usize) -> Slots<T> {
        let mut patience = Patience::backing_off();
        loop {
            let index = self.tail.index();
            let free = BLOCK - slot(index);
            if free == 0 {
                self.tail.help(index);
                continue;
            }
            let Some(slots) = self.tail.give_out(index, count.min(free)) else {
                // The cache line is left to the winner for a moment, so that each thread gets
                // several exchanges done at a time.
                patience.yield_to_winner();
                continue;
            };
            if (slots.from..slots.to).contains(&LINKS_NEXT) {
                // SAFETY: 1. this thread's slots are not finished (G3).
                unsafe { &*slots.block }.next_or_link(STRIDE);
            }
            return slots;
        }
    }

    /// Takes the oldest item.
    pub fn pop(&self) -> Option<T> {
        // Waiting once is enough: a stalled producer of a batch is as late for each of its slots.
        let mut patience = true;
        loop {
            let slots = self.claim(1)?;
            // SAFETY: 1. this thread's slot is not finished (G3).
            let block = unsafe { &*slots.block };
            // SAFETY: 1. the slot was claimed just now.
            let taken = unsafe { block.take(slots.from, patience) };
            patience &= !matches!(taken, Taken::Killed);
            if let Some(item) = self.finish_one(taken, &slots) {
                return Some(item);
            }
        }
    }

    /// Finishes the one slot of `slots`, from which `taken` came. Returns the item, if there is
    /// one.
    fn finish_one(&self, taken: Taken<T>, slots: &Slots<T>) -> Option<T> {
        match taken {
            Taken::Item(item) => {
                slots.finish(1);
                return Some(item);
            }
            Taken::GivenUp => {
                // Ordering: Relaxed (G10).
                self.dead_slots.fetch_sub(1, Ordering::Relaxed);
                slots.finish(1);
            }
            Taken::Killed => {}
        }
        None
    }

    /// Takes one worker's share, `min(max, len / workers + 1)`, oldest first, and gives it to
    /// `sink`. Returns how many items that were. They may be fewer while other threads push and
    /// pop; they are none only if the queue was empty or `max` is 0.
    ///
    /// If `sink` panics, the items that were taken and not yet given are dropped.
    pub fn pop_batch(&self, max: usize, workers: usize, sink: impl FnMut(T)) -> usize {
        if max == 0 {
            return 0;
        }
        let wanted = if max == 1 {
            1
        } else {
            share(self.span(), max, workers)
        };
        if wanted == 1 {
            return self.pop().map(sink).map_or(0, |()| 1);
        }
        let mut batch = Vec::with_capacity(wanted);
        while batch.len() < wanted {
            let Some(slots) = self.claim(wanted - batch.len()) else {
                break;
            };
            self.take_all(&slots, &mut batch);
        }
        let count = batch.len();
        batch.into_iter().for_each(sink);
        count
    }

    /// Takes the items in `slots`, for which `batch` has room.
    fn take_all(&self, slots: &Slots<T>, batch: &mut Vec<T>) {
        // SAFETY: 1. this thread's slots are not finished (G3).
        let block = unsafe { &*slots.block };
        let before = batch.len();
        let mut given_up = 0;
        let mut killed = 0;
        let mut at = slots.from;
        while at < slots.to {
            // SAFETY: 1. the slots were claimed, and each is taken once.
            let run = unsafe { block.take_run(at, slots.to, batch) };
            at += run;
            if run > 0 {
                continue;
            }
            // Waiting once is enough: a stalled producer of a batch is as late for each of its
            // slots.
            // SAFETY: 1. the slots were claimed, and each is taken once.
            match unsafe { block.take(at, killed == 0) } {
                Taken::Item(item) => batch.push(item),
                Taken::GivenUp => given_up += 1,
                Taken::Killed => killed += 1,
            }
            at += 1;
        }
        if given_up > 0 {
            // Ordering: Relaxed (G10).
            self.dead_slots.fetch_sub(given_up, Ordering::Relaxed);
        }
        slots.finish(batch.len() - before + given_up);
    }

    /// Claims at least one slot and at most `count`, all in one block. Returns `None` if no slot is
    /// reserved.
    #[inline]
    fn claim(&self, count: usize) -> Option<Slots<T>> {
        let mut patience = Patience::backing_off();
        let head = &self.head.end;
        loop {
            let index = head.index();
            let available = self.reserved(index, count);
            if available == 0 {
                return None;
            }
            let remaining = BLOCK - slot(index);
            if remaining == 0 {
                head.help(index);
            } else if let Some(slots) = head.give_out(index, count.min(available).min(remaining)) {
                return Some(slots);
            } else {
                // The cache line is left to the winner for a moment, so that each thread gets
                // several exchanges done at a time.
                patience.yield_to_winner();
            }
        }
    }

    /// Returns how many slots behind `index` are reserved. There may be more of them, if there are
    /// `enough`.
    #[inline]
    fn reserved(&self, index: u64, enough: usize) -> usize {
        // Ordering: Relaxed (G10); it was the tail's index once, and that only grows.
        let available = span(index, self.head.known_tail.load(Ordering::Relaxed));
        if available >= enough {
            return available;
        }
        // Ordering: Relaxed (G10).
        let tail = self.tail.index.load(Ordering::Relaxed);
        let available = span(index, tail);
        if available > enough {
            // Ordering: Relaxed (G10); if this overwrites a newer value, no thread misses that.
            self.head.known_tail.store(tail, Ordering::Relaxed);
        }
        available
    }

    /// Returns the number of items at this moment. What producers have reserved and not yet written
    /// counts.
    #[must_use]
    pub fn len(&self) -> usize {
        // The numbers are read at different moments, so they may contradict each other a little.
        // Ordering: Relaxed (G10).
        self.span()
            .saturating_sub(self.dead_slots.load(Ordering::Relaxed))
    }

    /// Whether the queue was empty at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        loop {
            if self.span() == 0 {
                return true;
            }
            // Ordering: Relaxed (G10).
            if self.dead_slots.load(Ordering::Relaxed) == 0 || !self.pass_dead() {
                return false;
            }
        }
    }

    /// Returns the number of slots that are reserved and not claimed.
    fn span(&self) -> usize {
        let head = self.head.end.index();
        // Ordering: Relaxed (G10).
        span(head, self.tail.index.load(Ordering::Relaxed))
    }

    /// Passes the slot at the front if its producer gave it up. Returns `false` if there is no such
    /// slot.
    #[cold]
    fn pass_dead(&self) -> bool {
        let _guard = pin();
        let head = &self.head.end;
        let index = head.index();
        if slot(index) == BLOCK {
            head.help(index);
            return true;
        }
        // SAFETY: 1. it is an end's block, read while pinned (G3).
        let block = unsafe { &*head.block() };
        // If it is another block than the index's, the index has moved, and the claim fails (G1).
        if !block.is_dead(slot(index)) {
            return false;
        }
        if let Some(slots) = head.give_out(index, 1) {
            // SAFETY: 1. the slot was claimed just now.
            let taken = unsafe { block.take(slots.from, false) };
            let item = self.finish_one(taken, &slots);
            debug_assert!(item.is_none(), "a dead slot held an item");
        }
        true
    }
}

impl<T> End<T> {
    #[inline]
    fn index(&self) -> u64 {
        // Ordering: Acquire (G9).
        self.index.load(Ordering::Acquire)
    }

    #[inline]
    fn block(&self) -> *mut Block<T> {
        // Ordering: Acquire (G7).
        self.block.load(Ordering::Acquire)
    }

    /// Takes `count` slots from `index` on, which the block must have left. Returns `None` if
    /// `index` has moved.
    #[inline]
    fn give_out(&self, index: u64, count: usize) -> Option<Slots<T>> {
        let block = self.block();
        let past = index.wrapping_add(count as u64);
        self.index
            // Ordering: Relaxed on both (G10); the pointer to the block was acquired before (G7).
            .compare_exchange(index, past, Ordering::Relaxed, Ordering::Relaxed)
            .ok()?;
        let from = slot(index);
        let to = from + count;
        if to == BLOCK {
            // SAFETY: 1. by G1 (block and index agree); 2. this thread's slots are not finished
            // (G3).
            unsafe { self.swing(past, block) };
        }
        Some(Slots { block, from, to })
    }

    /// Moves this end from `index`, the end of `block`, to the next block (G2), as far as no other
    /// thread has done so.
    ///
    /// # Safety
    /// 1. `block` is the one that `index` refers to.
    /// 2. The caller keeps it alive, by an unfinished slot or a pin.
    unsafe fn swing(&self, index: u64, block: *mut Block<T>) {
        // SAFETY: 1. the block is alive (obligation 2).
        let next = unsafe { &*block }.next_or_link(STRIDE);
        let start = (index & !SLOT).wrapping_add(STRIDE);
        // No block comes to the same address while the caller keeps this one alive.
        let _ = self
            .block
            // Ordering: Release (G6); if the exchange fails, another thread did it, and Relaxed is
            // enough.
            .compare_exchange(block, next, Ordering::Release, Ordering::Relaxed);
        let _ = self
            .index
            // Ordering: Release (G8); if the exchange fails, another thread did it, and Relaxed is
            // enough.
            .compare_exchange(index, start, Ordering::Release, Ordering::Relaxed);
    }

    /// Waits a little for the thread that should move this end on from `index`, then does it in its
    /// place.
    #[cold]
    fn help(&self, index: u64) {
        let mut patience = Patience::backing_off();
        while patience.pause() {
            // Ordering: Relaxed; a hint when to stop waiting.
            if self.index.load(Ordering::Relaxed) != index {
                return;
            }
        }
        let _guard = pin();
        let block = self.block();
        // SAFETY: 1. it is an end's block, read while pinned (G3).
        let start = unsafe { &*block }.start();
        if start == index & !SLOT {
            // SAFETY: 1. the two were compared just now; 2. by the pin.
            unsafe { self.swing(index, block) };
        } else {
            // `block` was moved on; `index` may wait to be moved.
            let next = (index & !SLOT).wrapping_add(STRIDE);
            let _ = self
                .index
                // Ordering: Release (G8); if the exchange fails, another thread did it, and Relaxed
                // is enough.
                .compare_exchange(index, next, Ordering::Release, Ordering::Relaxed);
        }
    }
}

impl<T> Slots<T> {
    /// Counts `count` of the slots as finished (S5), and has the block freed if they were its last.
    /// The caller does not touch the block afterwards.
    #[inline]
    fn finish(&self, count: usize) {
        // SAFETY: 1. this thread's slots are not finished (G3); if `count` is 0, none becomes so.
        if unsafe { &*self.block }.finish(count) {
            retire(self.block);
        }
    }
}

/// Hands `block`, which every thread has left (S5), to the collector.
#[cold]
fn retire<T>(block: *mut Block<T>) {
    const {
        // A model's cells have destructors, which check them.
        assert!(MODELLED || !core::mem::needs_drop::<Block<T>>(), "G5");
    }
    // SAFETY: 1. the block is not freed yet.
    unsafe { &*block }.check_no_accesses();
    let guard = pin();
    // SAFETY:
    // 1. Only one thread is told that it finished the last slot.
    // 2. Neither end leads to the block any more (G3).
    // 3. It came from a box.
    // 4. Nothing but memory is freed (G5).
    unsafe { guard.defer_destroy(Shared::from(block.cast_const())) };
    if size_of::<Block<T>>() >= LARGE_BLOCK {
        guard.flush();
    }
}

/// Returns the slot that the position `index` names; [`BLOCK`] at a block's end.
#[inline]
fn slot(index: u64) -> usize {
    (index & SLOT) as usize
}

/// Returns the number of slots from `head` to `tail`; zero if `tail` is not ahead.
#[inline]
fn span(head: u64, tail: u64) -> usize {
    let strides = (tail & !SLOT).wrapping_sub(head & !SLOT).cast_signed() >> STRIDE.ilog2();
    let slots = strides * BLOCK as i64 + slot(tail) as i64 - slot(head) as i64;
    usize::try_from(slots).unwrap_or(0)
}

impl<T> Drop for Segmented<T> {
    fn drop(&mut self) {
        // Ordering: Relaxed; the caller got `&mut self` by something that orders all calls before
        // this.
        let tail = self.tail.index.load(Ordering::Relaxed);
        // Ordering: Relaxed; as above.
        let index = self.head.end.index.load(Ordering::Relaxed);
        // SAFETY: 1. no call is under way, so the ends have been moved on (G2), and this is the
        // head's block (G1); 2. by `&mut self`: what lies before the block is with the collector.
        let mut leftover = unsafe { Leftover::new(self.head.end.block(), index, tail) };
        drop_all(&mut leftover);
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

    fn is_empty(&self) -> bool {
        self.is_empty()
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

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    use super::*;

    /// Goal: positions may wrap, in debug builds too, and the length is right across the wrap.
    /// Method: a queue that starts three blocks before the end.
    #[test]
    fn q8_q9_positions_wrap() {
        let queue = Segmented::starting_at(0_u64.wrapping_sub(3 * STRIDE));
        for round in 0..20 {
            queue.push_batch(0..100);
            queue.push(100);
            assert_eq!(queue.len(), 101, "round {round}");
            let mut got = Vec::new();
            while queue.pop_batch(40, 1, |item| got.push(item)) > 0 {}
            assert!(got.into_iter().eq(0..=100));
            assert!(queue.is_empty());
        }
    }

    /// Goal: slots that a producer gave up are neither counted nor in the way (G4). Method: a batch
    /// whose first slots a consumer killed, as it would after waiting.
    #[test]
    fn g4_given_up_slots_do_not_count() {
        let queue = Segmented::new();
        let late = queue.reserve(10);
        assert!(!queue.is_empty(), "reserved counts");
        let slots = queue.claim(1).unwrap();
        // SAFETY: 1. this thread's slot is not finished.
        let block = unsafe { &*slots.block };
        // SAFETY: 1. the slot was claimed just now.
        let taken = unsafe { block.take(slots.from, true) };
        assert!(matches!(taken, Taken::Killed), "after waiting");
        assert!(queue.finish_one(taken, &slots).is_none());
        let items: Vec<u32> = (0..10).collect();
        // SAFETY:
        // 1. The slots were reserved above.
        // 2. There are ten items.
        // 3. Numbers may be copied.
        let published = unsafe { block.publish_batch(late.from..late.to, items.as_ptr()) };
        assert_eq!((published.count, published.given_up), (0, 9));
        // Ordering: Relaxed; one thread.
        queue
            .dead_slots
            .fetch_add(published.given_up, Ordering::Relaxed);
        late.finish(published.to_finish);
        assert_eq!(queue.len(), 0);
        queue.push(10);
        assert_eq!(queue.len(), 1);
        assert!(!queue.is_empty());
        assert_eq!(queue.pop(), Some(10));
        assert!(queue.is_empty());
        assert_eq!(queue.pop(), None);
    }
}
