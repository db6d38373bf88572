//! An unbounded run queue whose items are all visible to thieves: Chase and Lev's deque.
//!
//! The owner pushes and pops at one end, and thieves take the oldest item at the other. The
//! orderings are those of Lê, Pop, Cohen and Zappella Nardelli.
//!
//! What differs from theirs:
//! - Slots are atomics of one word, so a thief's copy before its claim is no data race.
//! - The buffer also shrinks, and crossbeam-epoch frees the replaced buffers.
//! - Growth can be limited.
//! - The owner may choose to take the oldest items itself.
//!
//! # Operations
//! | operation          | caller | progress  | cost                                               |
//! | ------------------ | ------ | --------- | -------------------------------------------------- |
//! | `push`             | owner  | lock-free | a load, two stores; a copy of all items, amortised |
//! | `push_or_overflow` | owner  | lock-free | at the limit, one RMW for the half that leaves     |
//! | `pop`, last in     | owner  | wait-free | a fence; an RMW for the last; a copy, amortised    |
//! | `pop`, first in    | owner  | wait-free | one RMW; a copy, amortised                         |
//! | `steal`, last in   | any    | lock-free | a pin, a full fence, one RMW an attempt            |
//! | `steal`, first in  | any    | lock-free | a pin, one RMW an attempt                          |
//! | `steal_batch`, …   | any    | lock-free | the same, for the batch or for each of its items   |
//! | `len`              | any    | wait-free | loads; for a thief, last in, a full fence          |
//!
//! # Layout
//! ```text
//!          top                  bottom
//!           v                     v
//!   [ ][ ] [a][b][c][d][e][f][g] [ ][ ]      position p: slot p modulo the buffer's capacity
//!           ^ thieves; a FIFO owner ^ the owner pushes, a LIFO owner pops
//! ```
//! Positions are 64 bits wide and wrap around. The owner's handle keeps a shortcut to the slots,
//! the position up to which there is certainly room, and the length below which the buffer shrinks.
//! So an ordinary push or pop does not look at anything that thieves write.
//!
//! # Invariants
//! - **C1** (order of positions) `top <= bottom`. The positions between are written, in the current
//!   buffer and in every older one that a thief may have loaded after it saw that `top`. During a
//!   pop that finds nothing, `bottom` may be one less, or `top` one more; then no thread takes
//!   anything.
//! - **C2** (one writer) Only the owner writes `bottom`, the slots and the current buffer. It
//!   writes a slot only when the slot's position is outside `top..bottom`. `top` only grows, except
//!   for a step that a FIFO owner takes back.
//! - **C3** (one owner for a claim) The thread that moves `top` from `p` to `q` owns the items of
//!   `p..q`, if it has seen `bottom` at `q` or beyond since it read `p`, and if the owner takes
//!   none of them without moving `top`. The latter holds in three cases: `q` is `p + 1`, or the
//!   owner is FIFO, or it is the owner that moves `top`. So what is counted and what is claimed
//!   begin at the same `p`.
//! - **C4** (a pop without a claim) A LIFO owner takes the item at `p` without moving `top` only
//!   if, after lowering `bottom` to `p` and a fence, it sees `top` below `p`. Then no thief takes
//!   `p`.
//!
//! # Orderings
//! - **CO1** The owner stores `bottom`, Release; a thief loads it, Acquire. Publishes the items
//!   below it, and the buffer.
//! - **CO2** The owner replaces the buffer; see BO1 and BO2 in `buffer.rs`. Publishes the copied
//!   slots.
//! - **CO3** `pop` stores `bottom`, passes a fence and loads `top`. A thief loads `top`, passes a
//!   fence and loads `bottom`. One of the two sees the other (C4).
//! - **CO4** The thread that claims moves `top`, Release; the owner loads it before it writes,
//!   Acquire. Publishes that the slots have been read.
//! - **CO5** The thread that claims moves `top`, Release; a thief of a FIFO queue loads it before
//!   it loads `bottom`, Acquire. Publishes the `bottom` that the claim was made under.
//!
//! The proofs of C4 and C1, growing and shrinking, and the rejected designs follow
//! (`chase_lev/proof.md`).

#![doc = include_str!("chase_lev/proof.md")]
#![doc = include_str!("foreign_code.md")]

mod shared;
mod stealer;

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::panic::RefUnwindSafe;
use core::ptr::NonNull;

use stealyard_sync::Arc;
use stealyard_sync::atomic::{Ordering, fence};

use self::shared::{ChaseLevShared, distance};
pub use self::stealer::ChaseLevStealer;
use crate::batch::{Batch, MAX_OVERFLOW};
use crate::buffer::OwnerView;
use crate::collector;
use crate::word::Word;
use crate::worker::{
    Callers, Capacity, Hidden, MaxSteal, Order, Progress, Promises, Worker, forward_worker_methods,
};

/// The first capacity, which is also the smallest: 512 bytes.
const MIN_CAPACITY: usize = 64;

/// The most items in one batch. A first-in-first-out thief copies them all before it claims.
pub(crate) const MAX_BATCH: usize = 32;

/// The end that the owner of a [`ChaseLev`] pops: [`Lifo`] or [`Fifo`].
pub trait Discipline: sealed::Sealed + 'static {
    /// The discipline as a value.
    const ORDER: Order;
}

/// The owner pops the newest item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifo;

/// The owner pops the oldest item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fifo;

mod sealed {
    #[expect(
        unnameable_types,
        reason = "so that no other crate adds a third discipline"
    )]
    pub trait Sealed {}
    impl Sealed for super::Lifo {}
    impl Sealed for super::Fifo {}
}

impl Discipline for Lifo {
    const ORDER: Order = Order::Lifo;
}

impl Discipline for Fifo {
    const ORDER: Order = Order::Fifo;
}

/// The owner's end of an unbounded run queue, [`Lifo`] or [`Fifo`]; see the [crate's](crate)
/// overview.
///
/// It can be sent to another thread, and only one thread at a time may use it: it is `Send` and not
/// `Sync`. When it and all its stealers are dropped, the remaining items are dropped.
pub struct ChaseLev<T: Word, D: Discipline = Lifo> {
    shared: Arc<ChaseLevShared<T>>,
    /// Always a view of the current buffer. Like the other cells, it also makes this type `!Sync`.
    view: Cell<OwnerView>,
    /// The position up to which a push need not look, because there is certainly room. It is at
    /// most a quarter of the buffer away, so that the owner sees in time what thieves have emptied.
    room_end: Cell<u64>,
    /// The buffer shrinks when it has fewer items than this. Zero if it is as small as it may be.
    shrink_below: Cell<i64>,
    /// Whether the last push that looked found the buffer sparse.
    was_sparse: Cell<bool>,
    /// The capacity below which the buffer does not shrink.
    min_capacity: usize,
    /// The most items, as the user set it.
    limit: u64,
    discipline: PhantomData<fn() -> D>,
}

impl<T: Word> ChaseLev<T> {
    /// Creates an empty queue whose owner pops the newest item.
    #[must_use]
    pub fn lifo() -> Self {
        Self::default()
    }

    /// Creates an empty queue whose owner pops the oldest item.
    #[must_use]
    pub fn fifo() -> ChaseLev<T, Fifo> {
        ChaseLev::default()
    }
}

impl<T: Word, D: Discipline> ChaseLev<T, D> {
    /// Creates a queue with `capacity` slots, which is also its smallest capacity, and whose
    /// positions start at `position`. For models, and for tests of what happens far from zero.
    ///
    /// # Panics
    /// If `capacity` is not a power of two.
    #[doc(hidden)]
    #[must_use]
    pub fn starting_at(capacity: usize, position: u64) -> Self {
        let shared = Arc::new(ChaseLevShared::new(capacity, position));
        // SAFETY: 1. this handle is the owner; it keeps the view as long as the shared part, and
        // exchanges it in `resize`.
        let view = unsafe { shared.current.view() };
        Self {
            shared,
            view: Cell::new(view),
            room_end: Cell::new(position),
            shrink_below: Cell::new(0),
            was_sparse: Cell::new(false),
            min_capacity: capacity,
            limit: u64::MAX,
            discipline: PhantomData,
        }
    }

    /// Returns this queue with a limit: from now on, a push beyond `limit` items is refused; zero
    /// counts as one.
    ///
    /// Items that it has already, and those that a batch steal brings, are not refused. A batch
    /// brings no more than there is room for.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit.max(1) as u64;
        self.find_room();
        self
    }

    /// Pushes `item` at the back. Grows if there is no room.
    ///
    /// # Errors
    /// Returns `item` if the queue is at the limit that the user set.
    #[inline]
    pub fn push(&self, item: T) -> Result<(), T> {
        // Comes first, because it may be foreign code, which may use this queue.
        let word = item.into_word();
        // Ordering: Relaxed; only the owner writes it (C2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        if bottom == self.room_end.get() && !self.make_room() {
            // SAFETY: 1. the word was made above; 2. it is in no slot, so this is the only copy.
            return Err(unsafe { T::from_word(word) });
        }
        self.view.get().write(bottom, word.as_ptr());
        // Ordering: Release (CO1); a thief that sees the new bottom sees the item and its buffer.
        self.shared
            .bottom()
            .store(bottom.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    /// Looks how far thieves have come, and shrinks or grows if need be. Returns `false` at the
    /// limit.
    #[cold]
    fn make_room(&self) -> bool {
        // Waits for a second look, because the next burst would only make the buffer grow again.
        let is_sparse = (self.len() as i64) < self.shrink_below.get();
        if self.was_sparse.replace(is_sparse) && is_sparse {
            self.shrink();
        }
        if self.find_room() > 0 {
            return true;
        }
        if self.len() as u64 >= self.limit {
            return false;
        }
        self.resize(self.view.get().capacity() * 2);
        debug_assert!(self.find_room() > 0, "twice the slots have room");
        true
    }

    /// Returns how many more items the buffer and the limit allow, and remembers the next of them.
    fn find_room(&self) -> u64 {
        // Ordering: Relaxed; only the owner writes it (C2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        let top = self.shared.top_for_writing();
        let capacity = self.view.get().capacity();
        let most = self.limit.min(capacity as u64);
        let room = most.saturating_sub(distance(top, bottom));
        let unchecked = if capacity > self.min_capacity {
            room.min(capacity.div_ceil(4) as u64)
        } else {
            room
        };
        self.room_end.set(bottom.wrapping_add(unchecked));
        room
    }

    /// Moves the items to a buffer of `capacity` slots.
    fn resize(&self, capacity: usize) {
        // Pinned before anything is looked at. It runs no foreign code, and would be in time if it
        // did.
        let guard = collector::pin();
        // Ordering: Relaxed; only the owner writes it (C2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        let top = self.shared.top_for_writing();
        let old = self.view.get();
        let current = &self.shared.current;
        // SAFETY: 1. this handle is the owner, and its view is always of the current buffer; 2. the
        // view is exchanged at once.
        let new = unsafe { current.replace(old, capacity, (top, bottom), &guard) };
        self.view.set(new);
        let quarter = if capacity > self.min_capacity {
            capacity / 4
        } else {
            0
        };
        self.shrink_below.set(quarter as i64);
        self.find_room();
    }

    #[inline]
    fn shrink_if_sparse(&self, items: i64) {
        if items < self.shrink_below.get() {
            self.shrink();
        }
    }

    /// Shrinks to the smallest buffer that is at most three quarters full.
    #[cold]
    fn shrink(&self) {
        let (items, mut capacity) = (self.len(), self.min_capacity);
        while items > capacity * 3 / 4 {
            capacity *= 2;
        }
        if capacity < self.view.get().capacity() {
            self.resize(capacity);
        }
    }

    /// Takes the newest or the oldest item, as the queue's [`Discipline`] says.
    #[inline]
    pub fn pop(&self) -> Option<T> {
        let word = match D::ORDER {
            Order::Lifo => self.pop_newest()?,
            Order::Fifo => self.pop_oldest()?,
        };
        // SAFETY: 1. the position was in `top..bottom`, so it is written (C1); 2. the item is the
        // owner's by C3 (a claim) or C4 (a pop without one).
        Some(unsafe { ChaseLevShared::item(word) })
    }

    #[inline]
    fn pop_newest(&self) -> Option<*mut ()> {
        let (top, bottom) = (self.shared.top(), self.shared.bottom());
        // Ordering: Relaxed; only the owner writes it (C2).
        let end = bottom.load(Ordering::Relaxed);
        // Ordering: Relaxed; `top` only grows, so a queue that looks empty is empty.
        if end.wrapping_sub(top.load(Ordering::Relaxed)).cast_signed() <= 0 {
            self.shrink_if_sparse(0);
            return None;
        }
        let newest = end.wrapping_sub(1);
        // Ordering: Release (CO1); a thief that sees this bottom sees the items below it.
        bottom.store(newest, Ordering::Release);
        // Ordering: SeqCst (CO3); its partner is the fence in `snapshot`. Either the load below
        // sees that thief's top, or the thief sees the bottom stored above (C4).
        fence(Ordering::SeqCst);
        // Ordering: Relaxed; ordered by the fence.
        let oldest = top.load(Ordering::Relaxed);
        let remaining = newest.wrapping_sub(oldest).cast_signed();
        if remaining <= 0 {
            return self.pop_last(oldest, newest);
        }
        let word = self.view.get().read(newest);
        self.shrink_if_sparse(remaining);
        Some(word)
    }

    /// Pops the item at `newest`, which is the last one, or gone. Thieves may be after it.
    #[inline]
    fn pop_last(&self, oldest: u64, newest: u64) -> Option<*mut ()> {
        let won = oldest == newest && self.shared.claim(oldest, 1);
        let word = self.view.get().read(newest);
        // Ordering: Relaxed; `bottom` returns to where it was, and there are no items below it.
        self.shared
            .bottom()
            .store(newest.wrapping_add(1), Ordering::Relaxed);
        won.then_some(word)
    }

    #[inline]
    fn pop_oldest(&self) -> Option<*mut ()> {
        let top = self.shared.top();
        // Ordering: Relaxed; only the owner writes it (C2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        // Ordering: Relaxed; `top` only grows, so a queue that looks empty is empty.
        if bottom
            .wrapping_sub(top.load(Ordering::Relaxed))
            .cast_signed()
            <= 0
        {
            self.shrink_if_sparse(0);
            return None;
        }
        // Ordering: Release (CO5); a thief that sees the new top sees a bottom no older than this
        // owner's. A read-modify-write passes on CO4 (that the slots have been read).
        let oldest = top.fetch_add(1, Ordering::Release);
        let remaining = bottom.wrapping_sub(oldest).cast_signed() - 1;
        if remaining < 0 {
            // A thief took the last item in between. While `top` is beyond `bottom`, no thief moves
            // it.
            // Ordering: Relaxed; a read-modify-write passes on CO4 and CO5.
            top.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let word = self.view.get().read(oldest);
        self.shrink_if_sparse(remaining);
        Some(word)
    }

    /// Pushes `item` at the back. At the limit that the user set, the older half leaves, at most
    /// 128 items: these and then `item` go to `overflow`, oldest first, in one call each. Without a
    /// limit nothing ever overflows.
    ///
    /// If `overflow` panics, the rest of the batch is dropped and the queue stays whole. `overflow`
    /// may use this queue.
    pub fn push_or_overflow(&self, item: T, mut overflow: impl FnMut(T)) {
        let mut item = item;
        while let Err(back) = self.push(item) {
            item = back;
            if let Some(batch) = self.take_older_half() {
                batch.for_each(&mut overflow);
                return overflow(item);
            }
        }
    }

    /// Claims the older half of a queue at its limit. Returns `None` if there is room now, or if a
    /// thief was quicker, which makes room.
    fn take_older_half(&self) -> Option<Batch<T>> {
        let top = self.shared.top_for_writing();
        // Ordering: Relaxed; only the owner writes it (C2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        // Counted from the very position at which the claim starts. Thieves may have emptied the
        // queue since the push was refused, and a count of another moment would take `top` past
        // `bottom`.
        let items = distance(top, bottom);
        if items < self.limit {
            return None;
        }
        let count = (items / 2).clamp(1, MAX_OVERFLOW as u64);
        if !self.shared.claim(top, count) {
            return None;
        }
        let word = |offset: usize| {
            let word = self.view.get().read(top.wrapping_add(offset as u64));
            debug_assert!(!word.is_null(), "an item's position has been written");
            // SAFETY: 1. the positions `top..bottom` are written (C1), never with null.
            unsafe { NonNull::new_unchecked(word) }
        };
        // SAFETY: 1. the words came from `push`; 2. the claim made them the owner's, because the
        // owner was here and took none of them otherwise (C3).
        Some(unsafe { Batch::new(count as usize, word) })
    }

    /// Returns how many of `wanted` items a thief may bring, and makes room for them.
    fn room_for(&self, wanted: u64) -> u64 {
        let allowed = self.limit.saturating_sub(self.len() as u64).min(wanted);
        while self.find_room() < allowed {
            self.resize(self.view.get().capacity() * 2);
        }
        allowed
    }

    /// Writes a word beyond the back, where [`room_for`](Self::room_for) made room.
    fn stage(&self, offset: u64, word: *mut ()) {
        // Ordering: Relaxed; only the owner writes it (C2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        self.view.get().write(bottom.wrapping_add(offset), word);
    }

    /// Turns the `count` words that were staged into items of this queue.
    fn publish(&self, count: u64) {
        // Ordering: Relaxed; only the owner writes it (C2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        // Ordering: Release (CO1); a thief that sees the new bottom sees the items.
        self.shared
            .bottom()
            .store(bottom.wrapping_add(count), Ordering::Release);
        // `bottom` may have passed the end of the room that was remembered.
        self.find_room();
    }

    /// Returns the number of items. Thieves may take some of them at any moment.
    #[must_use]
    pub fn len(&self) -> usize {
        // Ordering: Relaxed; only the owner writes it (C2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        // Ordering: Relaxed; a stale top gives a number from a moment before.
        let top = self.shared.top().load(Ordering::Relaxed);
        distance(top, bottom) as usize
    }

    /// Whether there is nothing to pop. Only this handle's own pushes can make it false.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many items fit before the next growth. It changes as the queue grows and
    /// shrinks.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        self.view.get().capacity()
    }

    /// Returns a new handle for a thief.
    #[must_use]
    pub fn stealer(&self) -> ChaseLevStealer<T, D> {
        ChaseLevStealer {
            shared: Arc::clone(&self.shared),
            discipline: PhantomData,
        }
    }
}

/// The cells alone would rule this out, but foreign code that panics finds the queue whole and
/// leaves it whole.
impl<T: Word, D: Discipline> RefUnwindSafe for ChaseLev<T, D> {}

impl<T: Word, D: Discipline> Default for ChaseLev<T, D> {
    fn default() -> Self {
        Self::starting_at(MIN_CAPACITY, 0)
    }
}

impl<T: Word, D: Discipline> fmt::Debug for ChaseLev<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaseLev")
            .field("order", &D::ORDER)
            .field("len", &self.len())
            .field("buffer_len", &self.buffer_len())
            .finish_non_exhaustive()
    }
}

impl<T: Word, D: Discipline> Worker for ChaseLev<T, D> {
    type Item = T;
    type Stealer = ChaseLevStealer<T, D>;

    const PROMISES: Promises = Promises {
        order: D::ORDER,
        capacity: Capacity::Growable,
        hidden: Hidden::Nothing,
        max_steal: MaxSteal::HalfUpTo(MAX_BATCH),
        push: Progress::LockFree,
        pop: Progress::LockFree,
        steal: Progress::LockFree,
        owner: Callers::OneAtATime,
        thieves: Callers::Many,
    };

    forward_worker_methods!();

    fn capacity(&self) -> Option<usize> {
        usize::try_from(self.limit)
            .ok()
            .filter(|limit| *limit < usize::MAX)
    }
}
