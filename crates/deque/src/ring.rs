//! A bounded run queue, first in, first out, with one owner and many thieves at once.
//!
//! The shape is that of Go's processor queue: a ring of slots between two positions. A thief copies
//! up to half of the items straight into its own ring and then claims them all with one
//! compare-and-swap.
//!
//! What differs from Go:
//! - The slots are atomics, so the copy before the claim is no data race. That is why items are one
//!   [`Word`].
//! - Positions are 64 bits wide and only grow, so a thief that sleeps through any number of
//!   operations cannot mistake one round for another.
//! - The capacity is the user's choice.
//! - The owner *claims* several items with one compare-and-swap and pops them with plain loads and
//!   stores. A thief that found nothing else may revoke what remains of a claim.
//!
//! # Operations
//! | operation                | caller | progress  | cost                                    |
//! | ------------------------ | ------ | --------- | --------------------------------------- |
//! | `push`                   | owner  | wait-free | no RMW, but see below                   |
//! | `push_or_overflow`, full | owner  | lock-free | one RMW for the half that leaves        |
//! | `pop`                    | owner  | lock-free | one RMW per claim; else a light barrier |
//! | `steal`                  | any    | lock-free | one RMW an attempt                      |
//! | `steal_batch`, …         | any    | lock-free | one RMW an attempt, for the whole batch |
//! | `force_steal`            | any    | lock-free | two RMWs and a heavy barrier            |
//! | `len`                    | any    | wait-free | loads                                   |
//!
//! A `push` with a claim outstanding and the ring full costs at most two RMWs for each claimed
//! item.
//!
//! # Layout
//! ```text
//!        cursor     end          head                 tail
//!          v         v            v                    v
//!   [ ][ ][a][b][c][ ][ ][ ][ ][d][e][f][g][h][i][j][ ][ ]    position p: slot p mod capacity
//!          ^^^^^^^^^ ^^^^^^^^^^^^ ^^^^^^^^^^^^^^^^^^^^
//!          claimed   stolen       visible to thieves
//! ```
//! The owner pops `cursor..end`. When that is used up, it moves `head` by half of what is visible,
//! at most by 8, and what `head` passed is its next claim. One word describes a claim: `ClaimWord`,
//! drawn in `ring/claim.rs`. It holds the claim's end, whether a thief contests it, and which of
//! its items were taken while it was contested.
//!
//! # Invariants
//! - **R1** (order of positions) `cursor <= end <= head <= tail <= cursor + capacity`.
//! - **R2** (positions only grow) `head`, `tail` and `end` only grow. The item at a position of
//!   `head..tail` does not change until `head` has passed it.
//! - **R3** (one writer) Only the owner writes `tail`, `cursor` and the slots. It writes a slot
//!   only when no item is at its position: outside `cursor..end` and `head..tail`.
//! - **R4** (one owner for a claim) The thread that moves `head` from `p` to `q` by a successful
//!   compare-and-swap owns the items of `p..q`, and no other thread does.
//! - **R5** (one owner for a claimed item) While its claim is not contested, the owner owns
//!   `cursor..end`. Once it is contested, an item of the claim belongs to the thread that sets its
//!   bit in the claim's word. A thief sets bits only of positions that the cursor had not passed
//!   after the thief's heavy barrier. The owner sets the bit of the item that it pops.
//! - **R6** (claims differ) No two claims with more than one item have the same end, and a claim is
//!   published after its cursor.
//!
//! # Orderings
//! | label | operation                              | partner  | publishes                       |
//! | ----- | -------------------------------------- | -------- | ------------------------------- |
//! | RO1   | owner stores `tail`, Release           | RO2      | the items before it             |
//! | RO2   | thief loads `tail`, Acquire            | RO1      | –                               |
//! | RO3   | a thread moves `head`, Release         | RO4, RO5 | see below                       |
//! | RO4   | thief loads `head`, Acquire            | RO3      | –                               |
//! | RO5   | owner loads `head`, Acquire            | RO3      | –                               |
//! | RO6   | owner stores the claim's word, Release | RO7      | `cursor`, and the claimed slots |
//! | RO7   | thief loads the claim's word, Acquire  | RO6      | –                               |
//! | RO8   | thief sets bits in the word, Release   | RO9      | that the slots have been read   |
//! | RO9   | owner loads a contested word, Acquire  | RO8      | –                               |
//! | RO10  | owner's light barrier in `pop`         | RO11     | `cursor` before the word (R5)   |
//! | RO11  | thief's heavy barrier                  | RO10     | the word before `cursor` (R5)   |
//!
//! RO3 publishes the `tail` under which the items were taken, and that the slots have been read.
//!
//! The proofs of R4 and R5, platforms, and the rejected designs follow (`ring/proof.md`).

#![doc = include_str!("ring/proof.md")]
#![doc = include_str!("foreign_code.md")]

use core::cell::Cell;
use core::fmt;
use core::panic::RefUnwindSafe;

use stealyard_sync::Arc;
use stealyard_sync::asymmetric;
use stealyard_sync::atomic::Ordering;

use crate::batch::{Batch, MAX_OVERFLOW};
use crate::capacity::{self, CapacityError};
use crate::word::Word;
use crate::worker::{
    Callers, Capacity, Hidden, MaxSteal, Order, Progress, Promises, Worker, forward_worker_methods,
};

mod claim;
mod shared;
mod stealer;

use claim::{ClaimWord, MAX_CLAIM};
use shared::RingShared;
pub use stealer::RingStealer;

/// The capacity of [`Ring::new`], which is Go's. Half of it is a batch that is worth a trip to the
/// global queue.
const DEFAULT_CAPACITY: usize = 256;

/// The greatest capacity. Beyond it the ring's memory, not its bound, is the question.
const MAX_CAPACITY: usize = 1 << 30;

/// The owner's end of a bounded first-in-first-out run queue; see the [crate's](crate) overview.
///
/// It can be sent to another thread, and only one thread at a time may use it: it is `Send` and not
/// `Sync`. When it and all its stealers are dropped, the remaining items are dropped.
///
/// The algorithm is Go's ring with a claim for the owner. The file `ring.rs` has its proof.
pub struct Ring<T: Word> {
    shared: Arc<RingShared<T>>,
    /// The end of the owner's claim, which begins at the shared cursor. The `Cell` makes this type
    /// `!Sync`.
    end: Cell<u64>,
    /// The most items that one claim takes.
    max_claim: u64,
}

impl<T: Word> Ring<T> {
    /// Creates an empty queue for 256 items.
    #[must_use]
    pub fn new() -> Self {
        Self::build(DEFAULT_CAPACITY, 0)
    }

    /// Creates an empty queue for `capacity` items.
    ///
    /// # Errors
    /// If `capacity` is not a power of two from 2 to 2^30.
    pub fn with_capacity(capacity: usize) -> Result<Self, CapacityError> {
        capacity::checked(capacity, MAX_CAPACITY).map(|capacity| Self::build(capacity, 0))
    }

    /// Returns this queue with claims of at most `most` items; less than 1 counts as 1, and more
    /// than 8 as 8.
    ///
    /// The owner returns the first item of a claim at once. So up to `most - 1` items are hidden
    /// from thieves until they [force](RingStealer::force_steal) them out. With 1, everything is
    /// visible at all times, and each pop costs a compare-and-swap. The default is 8 where
    /// membarrier is allowed, else 1. A greater number is sound there, but costs a full fence for
    /// each pop.
    #[must_use]
    pub fn claiming(mut self, most: usize) -> Self {
        self.max_claim = (most as u64).clamp(1, MAX_CLAIM);
        self
    }

    /// Creates a queue whose positions start at `position`, for tests of what happens far from
    /// zero.
    ///
    /// # Panics
    /// If [`with_capacity`](Self::with_capacity) does not accept `capacity`.
    #[doc(hidden)]
    #[must_use]
    pub fn starting_at(capacity: usize, position: u64) -> Self {
        Self::build(capacity::checked_or_panic(capacity, MAX_CAPACITY), position)
    }

    fn build(capacity: usize, position: u64) -> Self {
        let max_claim = match asymmetric::mode() {
            asymmetric::Mode::Membarrier => MAX_CLAIM,
            asymmetric::Mode::Fence => 1,
        };
        Self {
            shared: Arc::new(RingShared::new(capacity, position)),
            end: Cell::new(position),
            max_claim,
        }
    }

    /// Pushes `item` at the back. Wait-free.
    ///
    /// # Errors
    /// Returns `item` if the queue is full. A forced steal may have taken some items of a claim and
    /// left the rest, because of its limit or its room. Then the slots of what it took, at most 6,
    /// stay in use until the owner has popped the rest.
    #[inline]
    pub fn push(&self, item: T) -> Result<(), T> {
        // Comes first, because it may be foreign code, which may use this queue.
        let word = item.into_word();
        let shared = &*self.shared;
        let tail = shared.owner_tail();
        if shared.room_above_cursor(tail) == 0 && self.make_room(tail) == 0 {
            // SAFETY: 1. the word was made above; 2. it is in no slot, so this is the only copy.
            return Err(unsafe { T::from_word(word) });
        }
        shared.write(tail, word);
        self.publish(tail, 1);
        Ok(())
    }

    /// Pushes `item` at the back. If the queue is full, the older half of what thieves can see
    /// leaves, at most 128 items: these and then `item` go to `overflow`, oldest first, in one call
    /// each.
    ///
    /// If `overflow` panics, the rest of the batch is dropped and the queue stays whole. `overflow`
    /// may push to this queue.
    #[inline]
    pub fn push_or_overflow(&self, item: T, overflow: impl FnMut(T)) {
        if let Err(item) = self.push(item) {
            self.spill(item, overflow);
        }
    }

    #[cold]
    fn spill(&self, item: T, mut overflow: impl FnMut(T)) {
        let mut item = item;
        loop {
            if let Some(batch) = self.take_older_half() {
                batch.for_each(&mut overflow);
                overflow(item);
                return;
            }
            match self.push(item) {
                Ok(()) => return,
                Err(back) => item = back,
            }
        }
    }

    /// Claims the older half of what is visible in a full queue. Returns `None` if there is room
    /// now, or if a thief was quicker, which makes room.
    fn take_older_half(&self) -> Option<Batch<T>> {
        let shared = &*self.shared;
        let (head, visible) = shared.owner_view();
        let claimed = self.end.get().wrapping_sub(shared.owner_cursor()) as usize;
        if visible + claimed < shared.capacity() {
            return None;
        }
        let count = visible.min(shared.capacity() / 2).min(MAX_OVERFLOW);
        debug_assert!(count > 0, "{self:?} is full, and a claim leaves half of it");
        if !shared.claim(head, count) {
            return None;
        }
        let word = |offset: usize| shared.read(head.wrapping_add(offset as u64));
        // SAFETY: 1. the words came from `push`; 2. the claim made them the owner's (R4), and they
        // go nowhere else.
        Some(unsafe { Batch::new(count, word) })
    }

    /// Takes the oldest item. Lock-free: a claim is tried again only if a thief took something.
    #[inline]
    pub fn pop(&self) -> Option<T> {
        let shared = &*self.shared;
        let cursor = shared.owner_cursor();
        let end = self.end.get();
        if cursor == end {
            return self.claim_and_pop();
        }
        shared.set_cursor(cursor.wrapping_add(1));
        // Ordering: a light barrier (RO10); the cursor is stored before the word is looked at (R5).
        asymmetric::light();
        // Ordering: Relaxed; ordered by the barrier, and only compared.
        let word = ClaimWord(shared.claim_word().load(Ordering::Relaxed));
        if word != ClaimWord::fresh(end) && !self.take_contested(cursor, end) {
            return self.claim_and_pop();
        }
        let word = shared.read(cursor);
        // SAFETY: 1. the word came from `push`; 2. the claim was not contested, or the bit of this
        // position is the owner's: no other thread has the item (R5).
        Some(unsafe { T::from_word(word) })
    }

    /// Claims the next items and pops the first of them.
    #[inline(never)]
    fn claim_and_pop(&self) -> Option<T> {
        let shared = &*self.shared;
        let tail = shared.owner_tail();
        // If no thief took anything, the last claim ended at `head`. If a thief did, the attempt
        // from there fails and tells.
        let mut head = self.end.get();
        while head != tail {
            let visible = tail.wrapping_sub(head);
            let count = visible.div_ceil(2).min(self.max_claim);
            let first = shared.read(head);
            if shared.claim(head, count as usize) {
                self.install(head.wrapping_add(1), count - 1);
                // SAFETY: 1. the word came from `push`; 2. the claim made it the owner's alone
                // (R4), and the cursor has passed it.
                return Some(unsafe { T::from_word(first) });
            }
            (head, _) = shared.owner_view();
        }
        self.install(head, 0);
        None
    }

    /// Sets up the claim of `count` items from `cursor`, which `head` has passed.
    fn install(&self, cursor: u64, count: u64) {
        let end = cursor.wrapping_add(count);
        self.shared.set_cursor(cursor);
        self.end.set(end);
        if count > 0 {
            // Ordering: Release (RO6); a thief that sees this word sees the cursor and the items.
            self.shared
                .claim_word()
                .store(ClaimWord::fresh(end).0, Ordering::Release);
        }
    }

    /// Decides between the owner and thieves for the item at `position` of a contested claim that
    /// ends at `end`; the cursor has passed it. Returns whether the owner got the item. If a thief
    /// got it, the claim is used up, because thieves take from its end.
    #[cold]
    fn take_contested(&self, position: u64, end: u64) -> bool {
        let shared = &*self.shared;
        loop {
            // Ordering: Acquire (RO9); a thief that set bits has read their slots, which the owner
            // may reuse. Unmodelled: without it, a thief's load of a slot would have to return what
            // is stored later because of that very load (load buffering), which loom does not
            // explore.
            let word = ClaimWord(shared.claim_word().load(Ordering::Acquire));
            debug_assert!(word.is_contested(), "{word:?} ended a claim up to {end}");
            let Some(taken) = word.with_taken(end.wrapping_sub(position)) else {
                shared.set_cursor(end);
                return false;
            };
            // Ordering: Relaxed; the bit is the message.
            let set = shared.claim_word().compare_exchange(
                word.0,
                taken.0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if set.is_ok() {
                return true;
            }
        }
    }

    /// Looks again how many items fit. Moves the claim out of the way if need be.
    #[cold]
    fn make_room(&self, tail: u64) -> usize {
        let shared = &*self.shared;
        let (head, _) = shared.owner_view();
        let (cursor, end) = (shared.owner_cursor(), self.end.get());
        if cursor == end {
            self.install(head, 0);
        } else if end != head || self.is_revoked(cursor) {
            self.move_claim_up(cursor, end, head);
        }
        shared.room_above_cursor(tail)
    }

    /// Whether thieves have taken all that the claim holds from `cursor` on.
    fn is_revoked(&self, cursor: u64) -> bool {
        // Ordering: Relaxed; `move_claim_up` looks again.
        let word = ClaimWord(self.shared.claim_word().load(Ordering::Relaxed));
        word.untaken(word.remaining(cursor)) == 0
    }

    /// Moves what remains of the claim up to `head`. Thieves have emptied the slots between, which
    /// would stay out of use for as long as the claim does.
    fn move_claim_up(&self, cursor: u64, end: u64, head: u64) {
        let shared = &*self.shared;
        let remaining = end.wrapping_sub(cursor);
        let mine = loop {
            // Ordering: Acquire (RO9); as in `take_contested`. Unmodelled: as in `take_contested`.
            let word = ClaimWord(shared.claim_word().load(Ordering::Acquire));
            let free = word.untaken(remaining);
            let closed = word.contested().with_bits(free);
            // Ordering: Relaxed; from here on no thief can take anything of this claim (R5).
            let set = shared.claim_word().compare_exchange(
                word.0,
                closed.0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if set.is_ok() {
                break u64::from(free.count_ones());
            }
        };
        let moved_to = head.wrapping_sub(mine);
        // Copies from the last to the first, since the two ranges may overlap.
        for offset in (0..mine).rev() {
            let word = shared.read(cursor.wrapping_add(offset));
            shared.write(moved_to.wrapping_add(offset), word);
        }
        self.install(moved_to, mine);
    }

    /// Returns how many items fit beyond `tail`. Looks twice if that is fewer than `wanted`.
    fn room_for(&self, tail: u64, wanted: usize) -> usize {
        let room = self.shared.room_above_cursor(tail);
        if room < wanted {
            self.make_room(tail)
        } else {
            room
        }
    }

    /// Makes the `count` items visible that were written from `tail` on.
    #[inline]
    fn publish(&self, tail: u64, count: usize) {
        if count > 0 {
            let next = tail.wrapping_add(count as u64);
            // Ordering: Release (RO1); a thief of this queue that sees the new tail sees the items.
            self.shared.tail.store(next, Ordering::Release);
        }
    }

    /// Returns the number of items, claimed ones included. Thieves may take some of them at any
    /// moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.visible() + self.shared.claimed()
    }

    /// Whether there is nothing to pop. Only this handle's own pushes can make it false.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let shared = &*self.shared;
        let end = self.end.get();
        // The claim is used up and ends at the tail, so the head is there as well, by R1 (order of
        // positions). That is two loads, where counting takes six and some arithmetic.
        shared.owner_cursor() == end && shared.owner_tail() == end || self.len() == 0
    }

    /// Returns the greatest number of items that the queue can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity()
    }

    /// Returns a new handle for a thief.
    #[must_use]
    pub fn stealer(&self) -> RingStealer<T> {
        RingStealer::new(Arc::clone(&self.shared))
    }
}

impl<T: Word> Worker for Ring<T> {
    type Item = T;
    type Stealer = RingStealer<T>;

    const PROMISES: Promises = Promises {
        order: Order::Fifo,
        capacity: Capacity::Bounded,
        hidden: Hidden::Oldest(MAX_CLAIM as usize - 1),
        max_steal: MaxSteal::Half,
        push: Progress::WaitFree,
        pop: Progress::LockFree,
        steal: Progress::LockFree,
        owner: Callers::OneAtATime,
        thieves: Callers::Many,
    };

    forward_worker_methods!();

    fn capacity(&self) -> Option<usize> {
        Some(self.capacity())
    }
}

/// The cells alone would rule this out, but foreign code that panics finds the queue whole and
/// leaves it whole.
impl<T: Word> RefUnwindSafe for Ring<T> {}

impl<T: Word> Default for Ring<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Word> fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("len", &self.len())
            .field("claimed", &self.shared.claimed())
            .field("capacity", &self.capacity())
            .finish()
    }
}
