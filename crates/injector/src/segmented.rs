//! A lock-free global queue of linked blocks: many producers, many consumers, first in, first out.
//!
//! Producers reserve slots at the back, and consumers claim them at the front, each with one
//! compare-and-swap of a position, a whole batch as cheaply as a single item. A producer that was
//! interrupted between reserving and writing holds nobody up: the consumer waits for it a little, then
//! declares the slot dead and goes on, and the producer puts its item further back. Such poisoned slots
//! are the idea of LCRQ and of the array queue with fetch-and-add; here slots hold any `T`, slots of a
//! cache line share one state word so that a batch is published with one read-modify-write a line, and
//! a batch that lost a slot moves its remainder as a whole, so that its order holds. Positions beside
//! block pointers, so that a successful exchange proves the pointer right, are crossbeam's.
//!
//! # Operations
//! | operation    | caller | progress  | read-modify-writes                                        |
//! |--------------|--------|-----------|-----------------------------------------------------------|
//! | `push`       | anyone | lock-free | one to reserve, one to publish                            |
//! | `push_batch` | anyone | lock-free | one per block to reserve, one per line to publish         |
//! | `pop`        | anyone | lock-free | one to claim, one to count; none if empty                 |
//! | `pop_batch`  | anyone | lock-free | one per block to claim, one to count; none if empty       |
//! | `len`        | anyone | wait-free | none                                                      |
//! | `is_empty`   | anyone | lock-free | none, but for dead slots at the front, which it passes    |
//!
//! What lock-free means here: a push starts over when another push was faster, or when a consumer killed
//! its slot, which it does after some microseconds of waiting and some calls of `yield_now`; a pop starts
//! over when another pop was faster, or after it killed a slot. All of them allocate or free blocks now
//! and then, and the allocator may lock.
//!
//! # Layout
//! ```text
//!   head: index, block            tail: index, block
//!          |                             |
//!          v                             v
//!   [xxxxxxxxx....] --> [............] --> [.....       ] --> (linked ahead of need)
//!             ^ claimed up to here             ^ reserved up to here
//!
//!   position   bit 8..63: number of the block    bit 0..7: slot, 0..251; 252: every slot is given out
//! ```
//!
//! # Invariants
//! - **G1** An end's `block` is the one that its `index` speaks of, or, while `index` stands at the
//!   block's end, the one after. So whoever moves `index` from a value that it read before it read
//!   `block`, and not to a block's end and on, has read the right block.
//! - **G2** Whoever gives out a block's last slot moves that end on to the next block, first `block`, then
//!   `index`; and does so before it is finished with the slot (S5).
//! - **G3** A block is handed to the epoch collector when every slot is finished with (S5), so not before
//!   both ends have left it (G2). Hence a slot that is not finished keeps its block alive without a
//!   pin; and what an end's `block` showed to a pinned thread stays alive while the pin lasts.
//! - **G4** `dead` is the number of slots that producers gave up and consumers did not pass yet,
//!   when no call is under way.
//! - **G5** Freeing a block drops no item: those were taken by who claimed them. No code of a user runs
//!   while the thread is pinned or holds an unfinished slot: the collector is this crate's own, so that what
//!   runs in a pin is the freeing of blocks (`segmented/collector.rs`).
//!
//! Only those who find an end standing at a block's end, and those who free a block, pin: both once in
//! 252 items. A pin each time would cost as much as the rest of a single push.
//!
//! # Orderings
//! | label | operation                             | partner | publishes                          |
//! |-------|---------------------------------------|---------|------------------------------------|
//! | G6    | swing: `block` moved on, Release      | G7      | the fields of the next block, and that `index` had reached the end |
//! | G7    | load `block`, Acquire                 | G6      | –                                  |
//! | G8    | swing: `index` moved on, Release      | G9      | that `block` was moved on before   |
//! | G9    | load `index`, Acquire                 | G8      | –                                  |
//! | G10   | `index` given out; the other end's `index`; `dead`: Relaxed | – | only the numbers: values travel by S6 and S7 |
//!
//! G10 is enough for a pop that finds nothing: a push that happened before it had moved the tail's index,
//! and what the pop read of the head's index is not newer than the moment at which that is compared. A
//! producer that pushes and then asks whether somebody sleeps, and a consumer that says it will sleep
//! and then asks whether there is something, need a store–load barrier each; it is theirs to make.
//!
//! # Foreign code
//! | what runs             | in           | what it may see                                                   |
//! |-----------------------|--------------|-------------------------------------------------------------------|
//! | the caller's iterator | `push_batch` | the queue before the call: no slot is reserved until all is drawn. If it panics, what it gave is dropped |
//! | the caller's sink     | `pop_batch`  | the queue after the call: every slot that was claimed is finished. If it panics, the rest of the share is dropped |
//! | destructors of items  | where the caller or its sink drops them, and when the queue is dropped | no call under way; after a panic the others are dropped too |
//! | the allocator         | every push; `pop` and `pop_batch` at a block's end | slots may be reserved and not written, or claimed and not taken: what it does to the same queue is right all the same, as another thread's calls are |
//! | closures that other libraries defer to crossbeam-epoch | never | the collector here has none of them (G5)     |
//!
//! # Why not …
//! The default collector of crossbeam-epoch: every pin may run other libraries' closures, which may panic in the
//! middle of a batch, and a guard that one of them forgets keeps every block (`segmented/collector.rs`).
//!
//! A consumer that waits for a slot's producer as long as it takes, as in crossbeam's `SegQueue` and
//! `Injector`: publishing a single item becomes cheaper (a store would do), but a producer that loses its
//! core between reserving and writing stops everybody for a time slice. An epoch pin around every call, so
//! that slots need not be counted: measured, 43 ns for a push and a pop against 17. A fetch-and-add
//! on a counter in the block: needs that pin, because the block is touched before anything in it is
//! owned.
//!
//! # References
//! A. Morrison, Y. Afek, *Fast concurrent queues for x86 processors*, PPoPP 2013. P. Ramalhete,
//! *FAAArrayQueue*, 2016. crossbeam-deque, `Injector`.

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

/// Distance between the starts of two blocks: more than a block, a power of two.
const STRIDE: u64 = if MODELLED { 8 } else { 256 };
/// The slot in a position.
const SLOT: u64 = STRIDE - 1;
/// Whoever gets this slot links the next block, so that it is there when it is needed.
const LINKS_NEXT: usize = BLOCK / 4 * 3;
/// Blocks from this many bytes on are given to the collector at once, not with the next 63.
const LARGE_BLOCK: usize = 8192;

const _: () = assert!(STRIDE.is_power_of_two() && BLOCK < STRIDE as usize);

/// A lock-free, unbounded global queue; first in, first out. See the [crate's](crate) overview.
///
/// Blocks that are empty are given back to the allocator by a collector that the queues of this crate share. Up to
/// 64 of them per thread may wait there until that thread uses such a queue again.
pub struct Segmented<T> {
    head: CachePadded<Head<T>>,
    tail: CachePadded<End<T>>,
    /// Slots that are reserved and will never hold anything (G4); touched only when that happens.
    dead: CachePadded<AtomicUsize>,
}

/// Where slots are claimed.
struct Head<T> {
    end: End<T>,
    /// A value of the tail's `index`, which may have grown since: what lies before it needs no look at the tail, whose
    /// line the producers keep busy.
    seen: AtomicU64,
}

/// Where slots are given out.
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

// SAFETY: 1. items are moved in by one thread and out by another, which `T: Send` allows; 2. no reference
// to an item is ever given out, so `T: Sync` is not needed.
unsafe impl<T: Send> Send for Segmented<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Segmented<T> {}

// A panic leaves no operation half done.
impl<T> UnwindSafe for Segmented<T> {}
impl<T> RefUnwindSafe for Segmented<T> {}

impl<T: Send> Segmented<T> {
    /// An empty queue, with one block of memory: 252 slots, some 2.5 KiB for items of a word.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(0)
    }

    /// An empty queue whose positions start at `start`, a multiple of 256; they wrap. For tests of what
    /// happens where they do.
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
                seen: AtomicU64::new(start),
            }),
            tail: CachePadded::new(end()),
            dead: CachePadded::new(AtomicUsize::new(0)),
        }
    }

    /// Puts `item` at the back.
    pub fn push(&self, item: T) {
        let mut item = item;
        loop {
            let slots = self.reserve(1);
            // SAFETY: 1. our slot is not finished (G3).
            let block = unsafe { &*slots.block };
            // SAFETY: 1. reserved just now.
            match unsafe { block.publish(slots.from, item) } {
                Ok(()) => return,
                Err(overtaken) => item = overtaken,
            }
            slots.finish(1);
        }
    }

    /// Puts all of `items` at the back, in their order. Others' items may come between where the batch
    /// crosses from one block of 252 slots into the next, and where a consumer overtook it.
    pub fn push_batch(&self, items: impl IntoIterator<Item = T>) {
        let mut items: Vec<T> = items.into_iter().collect();
        let total = items.len();
        // From here on the queue takes the items over, and nothing panics; a failed allocation aborts.
        // SAFETY: 1. zero is never too long.
        unsafe { items.set_len(0) };
        let mut done = 0;
        while done < total {
            let slots = self.reserve(total - done);
            // SAFETY: 1. our slots are not finished (G3).
            let block = unsafe { &*slots.block };
            // SAFETY: 1. `done` is less than the number of items in the buffer.
            let rest = unsafe { items.as_ptr().add(done) };
            // SAFETY: 1. reserved just now; 2. at least as many are left; 3. the buffer forgot them.
            let published = unsafe { block.publish_batch(slots.from..slots.to, rest) };
            done += published.count;
            if published.given_up > 0 {
                // Ordering: Relaxed (G10).
                self.dead.fetch_add(published.given_up, Ordering::Relaxed);
            }
            slots.finish(published.second);
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
                // The line is the winner's for a moment, so that each gets several done at a time.
                patience.yield_to_winner();
                continue;
            };
            if (slots.from..slots.to).contains(&LINKS_NEXT) {
                // SAFETY: 1. our slots are not finished (G3).
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
            // SAFETY: 1. our slot is not finished (G3).
            let block = unsafe { &*slots.block };
            // SAFETY: 1. claimed just now.
            let taken = unsafe { block.take(slots.from, patience) };
            patience &= !matches!(taken, Taken::Killed);
            if let Some(item) = self.settle(taken, &slots) {
                return Some(item);
            }
        }
    }

    /// Finishes the one slot of `slots`, from which `taken` came.
    fn settle(&self, taken: Taken<T>, slots: &Slots<T>) -> Option<T> {
        match taken {
            Taken::Item(item) => {
                slots.finish(1);
                return Some(item);
            }
            Taken::GivenUp => {
                // Ordering: Relaxed (G10).
                self.dead.fetch_sub(1, Ordering::Relaxed);
                slots.finish(1);
            }
            Taken::Killed => {}
        }
        None
    }

    /// Takes one worker's share, `min(max, len / workers + 1)`, oldest first, and gives it to `sink`.
    /// Returns how many. It may be fewer while others push and pop; it is none only if the queue was
    /// empty or `max` is 0.
    ///
    /// If `sink` panics, what was taken and not yet given is dropped.
    pub fn pop_batch(&self, max: usize, workers: usize, sink: impl FnMut(T)) -> usize {
        if max == 0 {
            return 0;
        }
        let want = if max == 1 {
            1
        } else {
            share(self.span(), max, workers)
        };
        if want == 1 {
            return self.pop().map(sink).map_or(0, |()| 1);
        }
        let mut batch = Vec::with_capacity(want);
        while batch.len() < want {
            let Some(slots) = self.claim(want - batch.len()) else {
                break;
            };
            self.take_all(&slots, &mut batch);
        }
        let count = batch.len();
        batch.into_iter().for_each(sink);
        count
    }

    /// Takes what is in `slots`, for which `batch` has room.
    fn take_all(&self, slots: &Slots<T>, batch: &mut Vec<T>) {
        // SAFETY: 1. our slots are not finished (G3).
        let block = unsafe { &*slots.block };
        let before = batch.len();
        let mut given_up = 0;
        let mut killed = 0;
        let mut at = slots.from;
        while at < slots.to {
            // SAFETY: 1. claimed, and each taken once.
            let run = unsafe { block.take_run(at, slots.to, batch) };
            at += run;
            if run > 0 {
                continue;
            }
            // Waiting once is enough: a stalled producer of a batch is as late for each of its slots.
            // SAFETY: 1. claimed, and each taken once.
            match unsafe { block.take(at, killed == 0) } {
                Taken::Item(item) => batch.push(item),
                Taken::GivenUp => given_up += 1,
                Taken::Killed => killed += 1,
            }
            at += 1;
        }
        if given_up > 0 {
            // Ordering: Relaxed (G10).
            self.dead.fetch_sub(given_up, Ordering::Relaxed);
        }
        slots.finish(batch.len() - before + given_up);
    }

    /// Claims at least one slot and at most `count`, all in one block; none if nothing is reserved.
    #[inline]
    fn claim(&self, count: usize) -> Option<Slots<T>> {
        let mut patience = Patience::backing_off();
        let head = &self.head.end;
        loop {
            let index = head.index();
            let there = self.reserved(index, count);
            if there == 0 {
                return None;
            }
            let left = BLOCK - slot(index);
            if left == 0 {
                head.help(index);
            } else if let Some(slots) = head.give_out(index, count.min(there).min(left)) {
                return Some(slots);
            } else {
                // The line is the winner's for a moment, so that each gets several done at a time.
                patience.yield_to_winner();
            }
        }
    }

    /// How many slots behind `index` are reserved; perhaps more, if there are `enough`.
    #[inline]
    fn reserved(&self, index: u64, enough: usize) -> usize {
        // Ordering: Relaxed (G10); it was the tail's index once, and that only grows.
        let there = span(index, self.head.seen.load(Ordering::Relaxed));
        if there >= enough {
            return there;
        }
        // Ordering: Relaxed (G10).
        let tail = self.tail.index.load(Ordering::Relaxed);
        let there = span(index, tail);
        if there > enough {
            // Ordering: Relaxed (G10); a newer value that is overwritten is missed by nobody.
            self.head.seen.store(tail, Ordering::Relaxed);
        }
        there
    }

    /// How many items there were at this moment; what producers have reserved and not yet written counts.
    #[must_use]
    pub fn len(&self) -> usize {
        // Read at different moments, the numbers may contradict each other a little.
        // Ordering: Relaxed (G10).
        self.span()
            .saturating_sub(self.dead.load(Ordering::Relaxed))
    }

    /// True if the queue was empty at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        loop {
            if self.span() == 0 {
                return true;
            }
            // Ordering: Relaxed (G10).
            if self.dead.load(Ordering::Relaxed) == 0 || !self.pass_dead() {
                return false;
            }
        }
    }

    /// Slots that are reserved and not claimed.
    fn span(&self) -> usize {
        let head = self.head.end.index();
        // Ordering: Relaxed (G10).
        span(head, self.tail.index.load(Ordering::Relaxed))
    }

    /// Passes the slot at the front if its producer gave it up. False if there is none such.
    #[cold]
    fn pass_dead(&self) -> bool {
        let _guard = pin();
        let head = &self.head.end;
        let index = head.index();
        if slot(index) == BLOCK {
            head.help(index);
            return true;
        }
        // SAFETY: 1. an end's block, read while pinned (G3).
        let block = unsafe { &*head.block() };
        // If it is another block than the index's, the index has moved, and the claim fails (G1).
        if !block.is_dead(slot(index)) {
            return false;
        }
        if let Some(slots) = head.give_out(index, 1) {
            // SAFETY: 1. claimed just now.
            let taken = unsafe { block.take(slots.from, false) };
            let item = self.settle(taken, &slots);
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

    /// Gives out `count` slots from `index` on, which the block must have left; none if `index` has moved.
    #[inline]
    fn give_out(&self, index: u64, count: usize) -> Option<Slots<T>> {
        let block = self.block();
        let past = index.wrapping_add(count as u64);
        self.index
            // Ordering: Relaxed on both (G10); what leads to the block was acquired with it (G7).
            .compare_exchange(index, past, Ordering::Relaxed, Ordering::Relaxed)
            .ok()?;
        let from = slot(index);
        let to = from + count;
        if to == BLOCK {
            // SAFETY: 1. by G1; 2. our slots are not finished (G3).
            unsafe { self.swing(past, block) };
        }
        Some(Slots { block, from, to })
    }

    /// Moves this end from `index`, the end of `block`, to the next block (G2), as far as nobody has.
    ///
    /// # Safety
    /// 1. `block` is the one that `index` speaks of.
    /// 2. The caller keeps it alive, by an unfinished slot or a pin.
    unsafe fn swing(&self, index: u64, block: *mut Block<T>) {
        // SAFETY: 1. alive (obligation 2).
        let next = unsafe { &*block }.next_or_link(STRIDE);
        let start = (index & !SLOT).wrapping_add(STRIDE);
        // No block comes to the same address while the caller keeps this one alive.
        let _ = self
            .block
            // Ordering: Release (G6); if it fails somebody else did it, and Relaxed does.
            .compare_exchange(block, next, Ordering::Release, Ordering::Relaxed);
        let _ = self
            .index
            // Ordering: Release (G8); if it fails somebody else did it, and Relaxed does.
            .compare_exchange(index, start, Ordering::Release, Ordering::Relaxed);
    }

    /// Waits a little for whoever should move this end on from `index`, then does it.
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
        // SAFETY: 1. an end's block, read while pinned (G3).
        let start = unsafe { &*block }.start();
        if start == index & !SLOT {
            // SAFETY: 1. compared just now; 2. by the pin.
            unsafe { self.swing(index, block) };
        } else {
            // `block` was moved on; `index` may wait for it.
            let next = (index & !SLOT).wrapping_add(STRIDE);
            let _ = self
                .index
                // Ordering: Release (G8); if it fails somebody else did it, and Relaxed does.
                .compare_exchange(index, next, Ordering::Release, Ordering::Relaxed);
        }
    }
}

impl<T> Slots<T> {
    /// Counts `count` of the slots as finished (S5), and has the block freed if they were its last. The
    /// caller does not touch the block afterwards.
    #[inline]
    fn finish(&self, count: usize) {
        // SAFETY: 1. our slots are not finished (G3); if `count` is 0 nothing is.
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
    // SAFETY: 1. not freed yet.
    unsafe { &*block }.is_left();
    let guard = pin();
    // SAFETY: 1. only one thread is told that it finished the last slot; 2. neither end leads to it any
    // more (G3); 3. it came from a box; 4. nothing but memory is freed (G5).
    unsafe { guard.defer_destroy(Shared::from(block.cast_const())) };
    if size_of::<Block<T>>() >= LARGE_BLOCK {
        guard.flush();
    }
}

/// The slot that the position `index` names; [`BLOCK`] at a block's end.
#[inline]
fn slot(index: u64) -> usize {
    (index & SLOT) as usize
}

/// How many slots there are from `head` to `tail`; none if `tail` is not ahead.
#[inline]
fn span(head: u64, tail: u64) -> usize {
    let strides = (tail & !SLOT).wrapping_sub(head & !SLOT).cast_signed() >> STRIDE.ilog2();
    let slots = strides * BLOCK as i64 + slot(tail) as i64 - slot(head) as i64;
    usize::try_from(slots).unwrap_or(0)
}

impl<T> Drop for Segmented<T> {
    fn drop(&mut self) {
        // Ordering: Relaxed; `&mut self` came here by something that orders all calls before this.
        let tail = self.tail.index.load(Ordering::Relaxed);
        // Ordering: Relaxed; as above.
        let index = self.head.end.index.load(Ordering::Relaxed);
        // SAFETY: 1. no call is under way, so the ends have been moved on (G2), and this is the head's block (G1);
        // 2. by `&mut self`; what lies before it is with the collector.
        let mut left = unsafe { Leftover::new(self.head.end.block(), index, tail) };
        drop_all(&mut left);
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

    /// Goal: positions may wrap, in debug builds too, and the length is right across it. Method: a queue
    /// that starts three blocks before the end.
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

    /// Goal: slots that a producer gave up are neither counted nor in the way (G4). Method: a batch whose
    /// first slots a consumer killed, as it would after waiting.
    #[test]
    fn g4_given_up_slots_do_not_count() {
        let queue = Segmented::new();
        let late = queue.reserve(10);
        assert!(!queue.is_empty(), "reserved counts");
        let slots = queue.claim(1).unwrap();
        // SAFETY: 1. our slot is not finished.
        let block = unsafe { &*slots.block };
        // SAFETY: 1. claimed just now.
        let taken = unsafe { block.take(slots.from, true) };
        assert!(matches!(taken, Taken::Killed), "after waiting");
        assert!(queue.settle(taken, &slots).is_none());
        let items: Vec<u32> = (0..10).collect();
        // SAFETY: 1. reserved above; 2. ten; 3. numbers may be copied.
        let published = unsafe { block.publish_batch(late.from..late.to, items.as_ptr()) };
        assert_eq!((published.count, published.given_up), (0, 9));
        // Ordering: Relaxed; one thread.
        queue.dead.fetch_add(published.given_up, Ordering::Relaxed);
        late.finish(published.second);
        assert_eq!(queue.len(), 0);
        queue.push(10);
        assert_eq!(queue.len(), 1);
        assert!(!queue.is_empty());
        assert_eq!(queue.pop(), Some(10));
        assert!(queue.is_empty());
        assert_eq!(queue.pop(), None);
    }
}
