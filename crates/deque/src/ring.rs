//! A bounded run queue: first in, first out; one owner, many thieves at once.
//!
//! The shape is that of Go's processor queue: a ring of slots between two positions, where a thief
//! copies up to half of the items straight into its own ring and then claims them all with one
//! compare-and-swap. What differs: the slots are atomics, so that the copy before the claim is no data
//! race (items are one [`Word`] for that reason); positions are 64 bits wide and only grow, so that a
//! thief which sleeps through any number of operations cannot mistake one round for another; and the
//! capacity is the user's choice.
//!
//! # Operations
//! | operation                | caller | progress  | cost                              |
//! |--------------------------|--------|-----------|-----------------------------------|
//! | `push`                   | owner  | wait-free | two loads, two stores, no RMW     |
//! | `push_or_overflow`, full | owner  | lock-free | one RMW for the half that leaves  |
//! | `pop`                    | owner  | lock-free | one RMW                           |
//! | `steal`                  | anyone | lock-free | one RMW an attempt                |
//! | `steal_batch`, `…_and_pop` | anyone | lock-free | one RMW an attempt, for the batch |
//! | `len`                    | anyone | wait-free | two loads                         |
//!
//! # Layout
//! ```text
//!             head                      tail
//!              v                         v
//!   slots ... [ ][a][b][c][d][e][ ][ ] ...      position p is in slot p & (capacity - 1)
//!              ^ owner and thieves take here     ^ only the owner writes here
//! ```
//!
//! # Invariants
//! - **R1** `head <= tail <= head + capacity`.
//! - **R2** Positions only grow; the item at a position never changes while `head` has not passed it.
//! - **R3** Only the owner writes `tail` and the slots, and a slot only when its position is outside
//!   `head..tail`.
//! - **R4** Whoever moves `head` from `p` to `q` by a successful compare-and-swap owns the items of
//!   `p..q`, and nobody else does.
//!
//! Why R4: a compare-and-swap from `p` succeeds only while `head` is still `p` (it never returns to
//! `p`, by R2), so the copies that were made after reading `p` are of the items at those positions.
//!
//! # Orderings
//! | label | operation                             | partner | publishes                             |
//! |-------|---------------------------------------|---------|---------------------------------------|
//! | O1    | owner stores `tail`, Release          | O2      | the slots before it, and what they own |
//! | O2    | thief loads `tail`, Acquire           | O1      | –                                     |
//! | O3    | anyone moves `head`, Release          | O4, O5  | the `tail` it was taken under; that the slots have been read |
//! | O4    | thief loads `head`, Acquire           | O3      | –                                     |
//! | O5    | owner loads `head` to find room, Acquire | O3   | –                                     |
//!
//! # Why not …
//! Two positions packed in one word, as tokio and st3 have: they need them because they read slots
//! after the claim, and pay with a window in which no other thief may enter. 32-bit positions, as Go
//! has: a thief that sleeps through 2^32 pops would claim what it has not seen.
//!
//! # References
//! `runqput`, `runqget` and `runqgrab` in Go's `runtime/proc.go`; D. Hendler and N. Shavit,
//! *Non-blocking steal-half work queues*, 2002.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use stealyard_sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use stealyard_sync::{Arc, CachePadded};

use crate::steal::Steal;
use crate::word::Word;
use crate::worker::{
    Callers, Capacity, Hidden, MaxSteal, Order, Progress, Promises, Stealer, Worker,
};

/// The default capacity: Go's. Half of it is a batch that is worth a trip to the global queue.
pub(crate) const DEFAULT_CAPACITY: usize = 256;

/// The greatest capacity: beyond it the ring's memory, not its bound, is the question.
const MAX_CAPACITY: usize = 1 << 30;

/// The owner's end of a bounded first-in-first-out run queue; see the [crate's](crate) overview.
///
/// It can be sent to another thread, and must not be used by two at once: it is `Send` and not `Sync`.
/// When it and all its stealers are dropped, the items left in it are dropped.
pub struct Ring<T: Word> {
    shared: Arc<Shared<T>>,
    /// `Cell` makes the handle `!Sync`: its methods take `&self` and assume one caller at a time.
    owner: PhantomData<Cell<()>>,
}

/// The thieves' end of a [`Ring`].
pub struct RingStealer<T: Word> {
    shared: Arc<Shared<T>>,
}

/// A capacity that a [`Ring`] cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityError {
    /// The capacity that was asked for.
    pub capacity: usize,
}

struct Shared<T: Word> {
    /// The oldest item's position. Written by whoever takes.
    head: CachePadded<AtomicU64>,
    /// One past the newest item's position. Written by the owner.
    tail: CachePadded<AtomicU64>,
    slots: Box<[AtomicPtr<()>]>,
    items: PhantomData<fn() -> T>,
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
        let fits = capacity.is_power_of_two() && (2..=MAX_CAPACITY).contains(&capacity);
        if fits {
            Ok(Self::build(capacity, 0))
        } else {
            Err(CapacityError { capacity })
        }
    }

    /// A queue whose positions start at `position`: for tests of what happens far from zero.
    #[doc(hidden)]
    #[must_use]
    pub fn starting_at(capacity: usize, position: u64) -> Self {
        Self::build(capacity, position)
    }

    fn build(capacity: usize, position: u64) -> Self {
        let shared = Shared {
            head: CachePadded::new(AtomicU64::new(position)),
            tail: CachePadded::new(AtomicU64::new(position)),
            slots: (0..capacity)
                .map(|_| AtomicPtr::new(ptr::null_mut()))
                .collect(),
            items: PhantomData,
        };
        Self {
            shared: Arc::new(shared),
            owner: PhantomData,
        }
    }

    /// Puts `item` at the back.
    ///
    /// # Errors
    /// The item itself, if the queue is full.
    #[inline]
    pub fn push(&self, item: T) -> Result<(), T> {
        let shared = &*self.shared;
        // Ordering: Relaxed; only the owner writes it (R3).
        let tail = shared.tail.load(Ordering::Relaxed);
        if shared.room(tail) == 0 {
            return Err(item);
        }
        shared.write(tail, item.into_word());
        // Ordering: Release (O1); a thief that sees the new tail sees the item.
        shared.tail.store(tail.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    /// Puts `item` at the back. If the queue is full, its older half leaves: those items and then
    /// `item` go to `overflow`, oldest first, in one batch.
    pub fn push_or_overflow(&self, item: T, mut overflow: impl FnMut(T)) {
        let mut item = item;
        while let Err(back) = self.push(item) {
            item = back;
            let half = self.shared.slots.len() / 2;
            let Some(batch) = self.take_oldest(half) else {
                continue;
            };
            batch.for_each(&mut overflow);
            overflow(item);
            return;
        }
    }

    /// Claims the `count` oldest items of a full queue; none if a thief has made room meanwhile.
    fn take_oldest(&self, count: usize) -> Option<impl Iterator<Item = T> + use<'_, T>> {
        let shared = &*self.shared;
        // Ordering: Relaxed; only the owner writes it (R3).
        let tail = shared.tail.load(Ordering::Relaxed);
        let head = tail.wrapping_sub(shared.slots.len() as u64);
        if !shared.claim(head, count) {
            return None;
        }
        let positions = (0..count as u64).map(move |offset| head.wrapping_add(offset));
        Some(positions.map(move |position| {
            let word = shared.read(position);
            // SAFETY: 1. the word came from `push`; 2. the claim above made this position ours (R4),
            // and each is visited once. A panic of the caller's closure leaks the rest, no more.
            unsafe { T::from_word(word) }
        }))
    }

    /// Takes the oldest item.
    #[inline]
    pub fn pop(&self) -> Option<T> {
        let shared = &*self.shared;
        // Ordering: Relaxed; only the owner writes it (R3).
        let tail = shared.tail.load(Ordering::Relaxed);
        // Ordering: Relaxed; a stale head only makes the claim fail.
        let mut head = shared.head.load(Ordering::Relaxed);
        while head != tail {
            let word = shared.read(head);
            if shared.claim(head, 1) {
                // SAFETY: 1. the word came from `push`; 2. the claim made it ours alone (R4).
                return Some(unsafe { T::from_word(word) });
            }
            // Ordering: Relaxed; as above.
            head = shared.head.load(Ordering::Relaxed);
        }
        None
    }

    /// How many items there are; thieves may take some of them at any moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// True if there is nothing to pop. Nothing but this handle's own pushes can make it false.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The greatest number of items.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }

    /// A new handle for a thief.
    #[must_use]
    pub fn stealer(&self) -> RingStealer<T> {
        RingStealer {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T: Word> RingStealer<T> {
    /// Takes the oldest item.
    pub fn steal(&self) -> Steal<T> {
        let shared = &*self.shared;
        let Some((head, _)) = shared.view() else {
            return Steal::Empty;
        };
        let word = shared.read(head);
        if shared.claim(head, 1) {
            // SAFETY: 1. the word came from `push`; 2. the claim made it ours alone (R4).
            Steal::Success(unsafe { T::from_word(word) })
        } else {
            Steal::Retry
        }
    }

    /// Moves half of the items (rounded up), at most `limit` and no more than fit, to the back of
    /// `to`, keeping their order, with one claim. Gives the number moved.
    ///
    /// Stealing from `to`'s own queue moves nothing and gives `Empty`, as does a `limit` of zero or a
    /// full `to`.
    pub fn steal_batch(&self, to: &Ring<T>, limit: usize) -> Steal<usize> {
        self.grab(to, limit, 0).map(|(_, moved)| moved)
    }

    /// As [`steal_batch`](Self::steal_batch), but gives the oldest item of the batch to the caller;
    /// the others go to `to`.
    pub fn steal_batch_and_pop(&self, to: &Ring<T>, limit: usize) -> Steal<T> {
        match self.grab(to, limit, 1) {
            Steal::Success((Some(word), _)) => {
                // SAFETY: 1. the word came from `push`; 2. `grab` claimed it and put it nowhere else.
                Steal::Success(unsafe { T::from_word(word) })
            }
            Steal::Success((None, _)) | Steal::Empty => Steal::Empty,
            Steal::Retry => Steal::Retry,
        }
    }

    /// Claims a batch: the first `keep` (zero or one) go to the caller, the rest to `to`.
    fn grab(&self, to: &Ring<T>, limit: usize, keep: usize) -> Steal<(Option<NonNull<()>>, usize)> {
        let shared = &*self.shared;
        if ptr::eq(shared, &raw const *to.shared) {
            return Steal::Empty;
        }
        let Some((head, available)) = shared.view() else {
            return Steal::Empty;
        };
        // Ordering: Relaxed; we own `to`, and only its owner writes its tail (R3).
        let to_tail = to.shared.tail.load(Ordering::Relaxed);
        let room = to.shared.room(to_tail) + keep;
        let count = available.div_ceil(2).min(limit).min(room);
        if count == 0 {
            return Steal::Empty;
        }
        let first = (keep == 1).then(|| shared.read(head));
        for offset in keep..count {
            let word = shared.read(head.wrapping_add(offset as u64));
            to.shared
                .write(to_tail.wrapping_add((offset - keep) as u64), word);
        }
        if !shared.claim(head, count) {
            // What was written beyond `to`'s tail is nobody's, and will be written over.
            return Steal::Retry;
        }
        let moved = count - keep;
        // Ordering: Release (O1); a thief of ours that sees the new tail sees the items.
        to.shared
            .tail
            .store(to_tail.wrapping_add(moved as u64), Ordering::Release);
        Steal::Success((first, moved))
    }

    /// How many items could be stolen at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// True if there was nothing to steal at some moment during the call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Word> Shared<T> {
    /// The oldest position and the number of items from there, as a thief sees them; none if empty.
    fn view(&self) -> Option<(u64, usize)> {
        // Ordering: Acquire (O4); the tail below is at least the one under which this was taken, so
        // that R1 holds between the two.
        let head = self.head.load(Ordering::Acquire);
        // Ordering: Acquire (O2); the items up to it are visible.
        let tail = self.tail.load(Ordering::Acquire);
        let available = tail.wrapping_sub(head);
        // More than fit means that `head` is from a time long before `tail`: the claim would fail.
        let sane = available.min(self.slots.len() as u64);
        debug_assert!(available < 1 << 63, "R1: tail {tail} behind head {head}");
        (sane > 0).then_some((head, sane as usize))
    }

    /// How many items fit beyond the owner's `tail`.
    #[inline]
    fn room(&self, tail: u64) -> usize {
        // Ordering: Acquire (O5); the readers of the slots that are free now have finished with them.
        // Unmodelled: without it a reader's load would have to return a value stored later on account
        // of that very load (load buffering), which loom does not explore.
        let head = self.head.load(Ordering::Acquire);
        self.slots.len() - tail.wrapping_sub(head) as usize
    }

    /// Moves `head` by `count`; true if the items in between are now the caller's (R4).
    #[inline]
    fn claim(&self, head: u64, count: usize) -> bool {
        let next = head.wrapping_add(count as u64);
        // Ordering: Release (O3) on success, for the thieves' O4 and the owner's O5; Relaxed on
        // failure: the caller starts again or gives up.
        self.head
            .compare_exchange(head, next, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    #[inline]
    fn slot(&self, position: u64) -> &AtomicPtr<()> {
        &self.slots[position as usize & (self.slots.len() - 1)]
    }

    #[inline]
    fn write(&self, position: u64, word: NonNull<()>) {
        // Ordering: Relaxed; published by the store of `tail` (O1).
        self.slot(position).store(word.as_ptr(), Ordering::Relaxed);
    }

    /// The word in a slot: the item of `position` only if a claim from there succeeds afterwards.
    #[inline]
    fn read(&self, position: u64) -> NonNull<()> {
        // Ordering: Relaxed; the thief's load of `tail` (O2) made the item visible.
        let word = self.slot(position).load(Ordering::Relaxed);
        NonNull::new(word).expect("a slot before the tail has been written")
    }

    fn len(&self) -> usize {
        self.view().map_or(0, |(_, available)| available)
    }
}

impl<T: Word> Drop for Shared<T> {
    fn drop(&mut self) {
        // Ordering: Relaxed on both; this is the last handle, and dropping the others' is ordered
        // before by their reference count.
        let (mut head, tail) = (
            self.head.load(Ordering::Relaxed),
            self.tail.load(Ordering::Relaxed),
        );
        while head != tail {
            let word = self.read(head);
            // SAFETY: 1. the word came from `push`; 2. nobody else can take it, and each is visited
            // once.
            drop(unsafe { T::from_word(word) });
            head = head.wrapping_add(1);
        }
    }
}

impl<T: Word> Worker for Ring<T> {
    type Item = T;
    type Stealer = RingStealer<T>;

    const PROMISES: Promises = Promises {
        order: Order::Fifo,
        capacity: Capacity::Bounded,
        hidden: Hidden::Nothing,
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

    fn capacity(&self) -> Option<usize> {
        Some(self.capacity())
    }

    fn stealer(&self) -> RingStealer<T> {
        self.stealer()
    }
}

impl<T: Word> Stealer for RingStealer<T> {
    type Item = T;
    type Worker = Ring<T>;

    fn steal(&self) -> Steal<T> {
        self.steal()
    }

    fn steal_batch(&self, to: &Ring<T>, limit: usize) -> Steal<usize> {
        self.steal_batch(to, limit)
    }

    fn steal_batch_and_pop(&self, to: &Ring<T>, limit: usize) -> Steal<T> {
        self.steal_batch_and_pop(to, limit)
    }

    fn len(&self) -> usize {
        self.len()
    }
}

impl<T: Word> Default for Ring<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Word> Clone for RingStealer<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T: Word> fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish()
    }
}

impl<T: Word> fmt::Debug for RingStealer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingStealer")
            .field("len", &self.len())
            .finish()
    }
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capacity } = self;
        write!(
            f,
            "a capacity of {capacity} is not a power of two from 2 to {MAX_CAPACITY}"
        )?;
        match capacity.checked_next_power_of_two() {
            Some(next) if (2..=MAX_CAPACITY).contains(&next) => write!(f, ": take {next}"),
            _ if *capacity < 2 => write!(f, ": take 2"),
            _ => write!(f, ": take {MAX_CAPACITY}"),
        }
    }
}

impl core::error::Error for CapacityError {}
