//! A bounded run queue: first in, first out; one owner, many thieves at once.
//!
//! The shape is that of Go's processor queue: a ring of slots between two positions, where a thief
//! copies up to half of the items straight into its own ring and then claims them all with one
//! compare-and-swap. What differs: the slots are atomics, so that the copy before the claim is no data
//! race (items are one [`Word`] for that reason); positions are 64 bits wide and only grow, so that a
//! thief which sleeps through any number of operations cannot mistake one round for another; the
//! capacity is the user's choice; and the owner *claims* several items with one compare-and-swap and pops
//! them with plain loads and stores. A thief that found nothing else may revoke what is left of a claim.
//!
//! # Operations
//! | operation                  | caller | progress  | cost                                        |
//! |----------------------------|--------|-----------|---------------------------------------------|
//! | `push`                     | owner  | wait-free | no RMW (with a claim outstanding and the ring full: at most two for each item claimed) |
//! | `push_or_overflow`, full   | owner  | lock-free | one RMW for the half that leaves            |
//! | `pop`                      | owner  | lock-free | one RMW for up to 8 items, a light barrier for the others |
//! | `steal`                    | anyone | lock-free | one RMW an attempt                          |
//! | `steal_batch`, `…_and_pop` | anyone | lock-free | one RMW an attempt, for the whole batch     |
//! | `force_steal`              | anyone | lock-free | two RMWs and a heavy barrier                |
//! | `len`                      | anyone | wait-free | loads                                       |
//!
//! # Layout
//! ```text
//!        cursor     end          head                 tail
//!          v         v            v                    v
//!   [ ][ ][a][b][c][ ][ ][ ][ ][d][e][f][g][h][i][j][ ][ ]      position p is in slot p mod capacity
//!          ^^^^^^^^^ ^^^^^^^^^^^^ ^^^^^^^^^^^^^^^^^^^^
//!          claimed   stolen       visible to thieves
//! ```
//! The owner pops `cursor..end`; when that is used up, it moves `head` by half of what is visible, at most
//! by 8, and what it passed is its next claim. A claim is described by one word, `ClaimWord`, drawn in
//! `ring/claim.rs`: its end, whether a thief contests it, and which of its items were taken while contested.
//!
//! # Invariants
//! - **R1** `cursor <= end <= head <= tail <= cursor + capacity`.
//! - **R2** `head`, `tail` and `end` only grow; the item at a position of `head..tail` never changes while
//!   `head` has not passed it.
//! - **R3** Only the owner writes `tail`, `cursor` and the slots, and a slot only when no item is at its
//!   position: outside `cursor..end` and `head..tail`.
//! - **R4** Whoever moves `head` from `p` to `q` by a successful compare-and-swap owns the items of
//!   `p..q`, and nobody else does.
//! - **R5** While its claim is not contested, the owner owns `cursor..end`. Once it is contested, an item of
//!   it belongs to whoever sets its bit in the claim's word: a thief sets bits only of positions that the
//!   cursor had not passed after the thief's heavy barrier, and the owner sets the bit of what it pops.
//! - **R6** No two claims with more than one item have the same end, and a claim is published after its
//!   cursor.
//!
//! Why R4: a compare-and-swap from `p` succeeds only while `head` is still `p` (it never returns to
//! `p`, by R2), so the copies that were made after reading `p` are of the items at those positions.
//!
//! Why R5: the owner's pop stores `cursor = c + 1`, executes a light barrier and loads the claim's word; a
//! thief marks the word contested, executes a heavy barrier and loads the cursor. Either the owner's light
//! barrier comes first: then the thief sees `cursor > c` and does not touch `c`, whatever the owner saw.
//! Or the thief's heavy barrier comes first: then the owner sees a contested word, and both must set
//! the bit of `c` in it, which only one can. A thief that comes too late finds a word with another end (R6),
//! so its compare-and-swap fails.
//!
//! # Orderings
//! | label | operation                                 | partner    | publishes                          |
//! |-------|-------------------------------------------|------------|------------------------------------|
//! | O1    | owner stores `tail`, Release              | O2         | the slots before it, and what they own |
//! | O2    | thief loads `tail`, Acquire               | O1         | –                                  |
//! | O3    | anyone moves `head`, Release              | O4, O5     | the `tail` it was taken under; that the slots have been read |
//! | O4    | thief loads `head`, Acquire               | O3         | –                                  |
//! | O5    | owner loads `head`, Acquire               | O3         | –                                  |
//! | O6    | owner stores the claim's word, Release    | O7         | `cursor`, and the claimed slots    |
//! | O7    | thief loads the claim's word, Acquire     | O6         | –                                  |
//! | O8    | thief sets bits in the word, Release      | O9         | that the slots have been read      |
//! | O9    | owner loads a contested word, Acquire     | O8         | –                                  |
//! | O10   | owner's light barrier in `pop`            | O11        | `cursor` before the word (R5)      |
//! | O11   | thief's heavy barrier                     | O10        | the word before `cursor` (R5)      |
//!
//! # Foreign code
//! | where                             | what                            | what it may see |
//! |-----------------------------------|---------------------------------|-----------------|
//! | `push`, first                     | `into_word`                     | the queue before the push |
//! | `push` to a full queue, `pop`, steals that give an item, last | `from_word` | the queue after the operation |
//! | `push_or_overflow`, last          | the sink; if it panics, the destructors of what it did not take | the queue after the batch has left it |
//! | destruction                       | the items' destructors          | nothing: no handle is left |
//!
//! At each place it may call any operation of this queue, `push_or_overflow` included. A panic of `into_word` or
//! `from_word` loses that item, as [`Word`] says, and changes nothing else. A destructor that panics leaves the
//! others to run (`batch.rs`).
//!
//! # Where membarrier is not to be had
//! There a light barrier is a full fence and costs the owner as much as a compare-and-swap. So a ring made
//! in a process without membarrier claims one item at a time, as Go does, and hides nothing.
//!
//! # On 32-bit targets
//! Positions are 64 bits there too, and need 64-bit atomics (as i686 and ARMv7 have them); a target
//! without them is not supported. The claim's word keeps 55 bits of its end, on every target: a thief would
//! have to sleep through 2^55 pops to be deceived, eleven years of one every ten nanoseconds.
//!
//! # Why not …
//! Two positions packed in one word, as tokio and st3 have: they need them because they read slots
//! after the claim, and pay with a window in which no other thief may enter. 32-bit positions, as Go
//! has: a thief that sleeps through 2^32 pops would claim what it has not seen. A lock between the owner
//! and a thief that revokes: the owner would wait for a thief that is not running. Moving `head` back over
//! the claim: thieves may have taken what lies between, and R2 would be lost.
//!
//! # References
//! `runqput`, `runqget` and `runqgrab` in Go's `runtime/proc.go`; D. Hendler and N. Shavit,
//! *Non-blocking steal-half work queues*, 2002; T. van Dijk and J. van de Pol, *Lace: non-blocking split
//! deque for work-stealing*, 2014, for the part that the owner keeps to itself.

use core::cell::Cell;
use core::fmt;
use core::panic::RefUnwindSafe;

use stealyard_sync::Arc;
use stealyard_sync::asymmetric;
use stealyard_sync::atomic::Ordering;

use crate::batch::{Batch, MAX_OVERFLOW};
use crate::capacity::{self, CapacityError};
use crate::word::Word;
use crate::worker::{Callers, Capacity, Hidden, MaxSteal, Order, Progress, Promises, Worker};

mod claim;
mod shared;
mod stealer;

use claim::{ClaimWord, MAX_CLAIM};
use shared::Shared;
pub use stealer::RingStealer;

/// The default capacity: Go's. Half of it is a batch that is worth a trip to the global queue.
const DEFAULT_CAPACITY: usize = 256;

/// The greatest capacity: beyond it the ring's memory, not its bound, is the question.
const MAX_CAPACITY: usize = 1 << 30;

/// The owner's end of a bounded first-in-first-out run queue; see the [crate's](crate) overview.
///
/// It can be sent to another thread, and must not be used by two at once: it is `Send` and not `Sync`.
/// When it and all its stealers are dropped, the items left in it are dropped.
///
/// The algorithm is Go's ring with a claim for the owner; the file `ring.rs` has its proof.
pub struct Ring<T: Word> {
    shared: Arc<Shared<T>>,
    /// Where the owner's claim ends; it begins at the shared cursor. Also what makes this `!Sync`.
    end: Cell<u64>,
    /// How many items one claim takes at most.
    claim_most: u64,
}

impl<T: Word> Ring<T> {
    /// An empty queue for 256 items.
    #[must_use]
    pub fn new() -> Self {
        Self::build(DEFAULT_CAPACITY, 0)
    }

    /// An empty queue for `capacity` items.
    ///
    /// # Errors
    /// If `capacity` is not a power of two from 2 to 2^30.
    pub fn with_capacity(capacity: usize) -> Result<Self, CapacityError> {
        capacity::checked(capacity, MAX_CAPACITY).map(|capacity| Self::build(capacity, 0))
    }

    /// This queue, with claims of at most `most` items; less than 1 counts as 1, more than 8 as 8.
    ///
    /// The owner returns the first item of a claim at once, so up to `most - 1` items are hidden from
    /// thieves until they [force](RingStealer::force_steal) them out. With 1 everything is visible at
    /// all times, and each pop costs a compare-and-swap. The default is 8 where membarrier is allowed, else
    /// 1; a greater number is sound there, but pays a full fence for each pop.
    #[must_use]
    pub fn claiming(mut self, most: usize) -> Self {
        self.claim_most = (most as u64).clamp(1, MAX_CLAIM);
        self
    }

    /// A queue whose positions start at `position`: for tests of what happens far from zero.
    ///
    /// # Panics
    /// If `capacity` is not one that [`with_capacity`](Self::with_capacity) takes.
    #[doc(hidden)]
    #[must_use]
    pub fn starting_at(capacity: usize, position: u64) -> Self {
        match capacity::checked(capacity, MAX_CAPACITY) {
            Ok(capacity) => Self::build(capacity, position),
            Err(error) => panic!("{error}"),
        }
    }

    fn build(capacity: usize, position: u64) -> Self {
        let claim_most = match asymmetric::mode() {
            asymmetric::Mode::Membarrier => MAX_CLAIM,
            asymmetric::Mode::Fence => 1,
        };
        Self {
            shared: Arc::new(Shared::new(capacity, position)),
            end: Cell::new(position),
            claim_most,
        }
    }

    /// Puts `item` at the back. Wait-free.
    ///
    /// # Errors
    /// The item itself, if the queue is full. (Where a forced steal took some of a claim and its limit
    /// or its room made it leave the rest, the slots of what it took, at most 6, stay in use until the
    /// owner has popped the rest.)
    #[inline]
    pub fn push(&self, item: T) -> Result<(), T> {
        // First of all: it may be foreign code, which may use this queue.
        let word = item.into_word();
        let shared = &*self.shared;
        let tail = shared.own_tail();
        if shared.room_above_cursor(tail) == 0 && self.make_room(tail) == 0 {
            // SAFETY: 1. made above; 2. it is in no slot: this is the only copy.
            return Err(unsafe { T::from_word(word) });
        }
        shared.write(tail, word);
        self.publish(tail, 1);
        Ok(())
    }

    /// Puts `item` at the back. If the queue is full, the older half of what thieves can see leaves (at
    /// most 128 items): those and then `item` go to `overflow`, oldest first, one call after the other.
    ///
    /// If `overflow` panics, the rest of the batch is dropped and the queue stays whole. `overflow` may
    /// push to this queue.
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

    /// Claims the older half of what is visible in a full queue; none if there is room now, or a thief was
    /// quicker, which makes room.
    fn take_older_half(&self) -> Option<Batch<T>> {
        let shared = &*self.shared;
        let (head, visible) = shared.own_view();
        let claimed = self.end.get().wrapping_sub(shared.own_cursor()) as usize;
        if visible + claimed < shared.capacity() {
            return None;
        }
        let count = visible.min(shared.capacity() / 2).min(MAX_OVERFLOW);
        debug_assert!(count > 0, "{self:?} is full, and a claim leaves half of it");
        if !shared.claim(head, count) {
            return None;
        }
        let word = |place: usize| shared.read(head.wrapping_add(place as u64));
        // SAFETY: 1. the words came from `push`; 2. the claim made them ours (R4), and they go nowhere else.
        Some(unsafe { Batch::new(count, word) })
    }

    /// Takes the oldest item. Lock-free: a claim is tried again only if a thief took something.
    #[inline]
    pub fn pop(&self) -> Option<T> {
        let shared = &*self.shared;
        let cursor = shared.own_cursor();
        let end = self.end.get();
        if cursor == end {
            return self.claim_and_pop();
        }
        shared.set_cursor(cursor.wrapping_add(1));
        // Ordering: a light barrier (O10); the cursor is stored before the word is looked at (R5).
        asymmetric::light();
        // Ordering: Relaxed; ordered by the barrier, and only compared.
        let word = ClaimWord(shared.claim_word().load(Ordering::Relaxed));
        if word != ClaimWord::fresh(end) && !self.win(cursor, end) {
            return self.claim_and_pop();
        }
        let word = shared.read(cursor);
        // SAFETY: 1. the word came from `push`; 2. the claim was not contested, or the bit of this
        // position is ours: nobody else has the item (R5).
        Some(unsafe { T::from_word(word) })
    }

    /// Claims the next items and pops the first of them.
    #[inline(never)]
    fn claim_and_pop(&self) -> Option<T> {
        let shared = &*self.shared;
        let tail = shared.own_tail();
        // As long as no thief took anything, the last claim ended at `head`; if one did, the attempt
        // from there fails and tells.
        let mut head = self.end.get();
        while head != tail {
            let visible = tail.wrapping_sub(head);
            let count = visible.div_ceil(2).min(self.claim_most);
            let first = shared.read(head);
            if shared.claim(head, count as usize) {
                self.install(head.wrapping_add(1), count - 1);
                // SAFETY: 1. the word came from `push`; 2. the claim made it ours alone (R4), and the
                // cursor has passed it.
                return Some(unsafe { T::from_word(first) });
            }
            (head, _) = shared.own_view();
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
            // Ordering: Release (O6); a thief that sees this word sees the cursor and the items.
            self.shared
                .claim_word()
                .store(ClaimWord::fresh(end).0, Ordering::Release);
        }
    }

    /// Settles with the thieves who gets the item at `position` of a contested claim that ends at `end`;
    /// the cursor has passed it. If a thief got it, the claim is used up: thieves take what they take from
    /// its end.
    #[cold]
    fn win(&self, position: u64, end: u64) -> bool {
        let shared = &*self.shared;
        loop {
            // Ordering: Acquire (O9); a thief that set bits has read their slots, which we may reuse.
            // Unmodelled: without it a thief's load of a slot would have to return what is stored later
            // on account of that very load (load buffering), which loom does not explore.
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

    /// Looks again how many items fit, moving the claim out of the way if need be.
    #[cold]
    fn make_room(&self, tail: u64) -> usize {
        let shared = &*self.shared;
        let (head, _) = shared.own_view();
        let (cursor, end) = (shared.own_cursor(), self.end.get());
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
        word.free(word.left(cursor)) == 0
    }

    /// Moves what is left of the claim up to `head`: thieves have emptied the slots between, which
    /// would stay out of use for as long as the claim does.
    fn move_claim_up(&self, cursor: u64, end: u64, head: u64) {
        let shared = &*self.shared;
        let left = end.wrapping_sub(cursor);
        let mine = loop {
            // Ordering: Acquire (O9); as in `win`. Unmodelled: as in `win`.
            let word = ClaimWord(shared.claim_word().load(Ordering::Acquire));
            let free = word.free(left);
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
        // From the last to the first, since the two ranges may overlap.
        for offset in (0..mine).rev() {
            let word = shared.read(cursor.wrapping_add(offset));
            shared.write(moved_to.wrapping_add(offset), word);
        }
        self.install(moved_to, mine);
    }

    /// How many items fit beyond `tail`; looks twice if that is fewer than `wanted`.
    fn room_for(&self, tail: u64, wanted: usize) -> usize {
        let room = self.shared.room_above_cursor(tail);
        if room < wanted {
            self.make_room(tail)
        } else {
            room
        }
    }

    /// Makes the `count` items that were written from `tail` visible.
    #[inline]
    fn publish(&self, tail: u64, count: usize) {
        if count > 0 {
            let next = tail.wrapping_add(count as u64);
            // Ordering: Release (O1); a thief of ours that sees the new tail sees the items.
            self.shared.tail.store(next, Ordering::Release);
        }
    }

    /// How many items there are, claimed ones included; thieves may take some of them at any moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.visible() + self.shared.claimed()
    }

    /// True if there is nothing to pop. Nothing but this handle's own pushes can make it false.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let shared = &*self.shared;
        let end = self.end.get();
        // The claim is used up and ends at the tail, so the head is there as well (R1): two loads, where
        // counting takes six and some arithmetic.
        shared.own_cursor() == end && shared.own_tail() == end || self.len() == 0
    }

    /// The greatest number of items.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity()
    }

    /// A new handle for a thief.
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

    #[inline]
    fn push(&self, item: T) -> Result<(), T> {
        self.push(item)
    }

    #[inline]
    fn push_or_overflow(&self, item: T, overflow: impl FnMut(T)) {
        self.push_or_overflow(item, overflow);
    }

    #[inline]
    fn pop(&self) -> Option<T> {
        self.pop()
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.capacity())
    }

    fn stealer(&self) -> RingStealer<T> {
        self.stealer()
    }
}

/// Its cells alone would deny it; but foreign code that panics finds the queue whole and leaves it so.
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
