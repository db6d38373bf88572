//! An unbounded run queue whose items are all visible to thieves: Chase and Lev's deque.
//!
//! The owner pushes and pops at one end, thieves take the oldest at the other. The orderings are those of
//! Lê, Pop, Cohen and Zappella Nardelli. What differs: slots are atomics of one word, so that a thief's copy
//! before its claim is no data race; the buffer also shrinks; replaced buffers are crossbeam-epoch's to
//! free; growth can be limited; and the owner may choose to take the oldest items itself.
//!
//! # Operations
//! | operation             | caller | progress  | cost                                                  |
//! |-----------------------|--------|-----------|-------------------------------------------------------|
//! | `push`                | owner  | lock-free | a load, two stores; amortised, a copy of all items    |
//! | `push_or_overflow`, at the limit | owner | lock-free | one RMW for the half that leaves            |
//! | `pop`, last in        | owner  | wait-free | a full fence; one RMW for the last item; a copy, amortised |
//! | `pop`, first in       | owner  | wait-free | one RMW; a copy, amortised                            |
//! | `steal`               | anyone | lock-free | a pin, one RMW an attempt; if last in, a full fence   |
//! | `steal_batch`, `…_and_pop` | anyone | lock-free | the same, for the batch or for each item in it   |
//! | `len`                 | anyone | wait-free | loads; if last in, a full fence                       |
//!
//! # Layout
//! ```text
//!          top                  bottom
//!           v                     v
//!   [ ][ ] [a][b][c][d][e][f][g] [ ][ ]      position p is in slot p modulo the buffer's capacity
//!           ^ thieves; a FIFO owner ^ the owner pushes, a LIFO owner pops
//! ```
//! Positions are 64 bits and wrap around. The owner's handle keeps a shortcut to the slots, the position up to
//! which there is room for certain, and the length under which it shrinks, so that a push or pop looks at
//! nothing that thieves write unless it has to.
//!
//! # Invariants
//! - **C1** `top <= bottom`, and the positions between are written, in the current buffer and in every older
//!   one that a thief may have loaded after it saw that `top`. (During a pop that finds nothing, `bottom` may be
//!   one less, or `top` one more: then nobody takes anything.)
//! - **C2** Only the owner writes `bottom`, the slots and the current buffer; a slot only when its position is
//!   outside `top..bottom`. `top` only grows, but for a step that a FIFO owner takes back.
//! - **C3** The thread that moves `top` from `p` to `q` owns the items of `p..q`, if it has seen `bottom` at `q` or
//!   beyond since it read `p`, and the owner takes none of them without moving `top`: `q` is `p + 1`, or the owner
//!   is FIFO, or it is the owner that moves `top`. So what is counted and what is claimed begin at the same `p`.
//! - **C4** A LIFO owner takes the item at `p` without moving `top` only if, after lowering `bottom` to `p`
//!   and a fence, it sees `top` below `p`. Then no thief takes `p`.
//!
//! Why C4: a thief that takes `p` has read `top` as `p`, passed its fence and read `bottom` as more than `p`.
//! If its fence is before the owner's, the owner would have seen `top` at `p`. If it is after, it sees
//! `bottom` at `p` or as a later push left it; then the item at `p` is that push's, and the thief sees it and
//! its buffer by CO1.
//!
//! Why a thief of a FIFO owner needs no fence: that owner never lowers `bottom` and claims what it pops, so a
//! `bottom` beyond `p` stays true, however old, and the exchange of `top` alone decides (C3).
//!
//! Why C1 holds for old buffers: the item at `top` is written once for each value of `top`, since taking it
//! moves `top`; what the owner pops and pushes above does not matter to a claim of `top`. A thief that read
//! an old buffer or a copied one finds the same word there if its claim succeeds.
//!
//! # Growing and shrinking
//! A full buffer is doubled. One of which less than a quarter is in use is replaced by the smallest that is at most
//! three quarters full, but not below the first capacity: so between two replacements there are at least an
//! eighth as many operations as the new buffer has slots. The owner looks at each pop, and after each quarter of the
//! buffer's pushes, where it shrinks only what was sparse at the look before as well: what thieves have emptied is
//! given back after half a buffer of pushes at the latest. A thief never replaces a buffer, so the queue
//! of an owner that does neither keeps what it has.
//!
//! Garbage is what was replaced while some thread stayed pinned to this crate's collector (`collector.rs`). Only
//! steals and replacements pin it, for a few instructions; a thread that dies or sleeps in the middle delays
//! freeing, and delays nothing else.
//!
//! # Foreign code
//! | where                             | what                            | what it may see |
//! |-----------------------------------|---------------------------------|-----------------|
//! | `push`, first                     | `into_word`                     | the queue before the push |
//! | `push` at the limit, `pop`, steals that give an item, last | `from_word` | the queue after the operation |
//! | `push_or_overflow`, last          | the sink; if it panics, the destructors of what it did not take | the queue after the batch has left it |
//! | destruction                       | the items' destructors          | nothing: no handle is left |
//!
//! At each place it may call any operation of this queue, `push_or_overflow` included. A panic of `into_word` or
//! `from_word` loses that item, as [`Word`] says, and changes nothing else. A destructor that panics leaves the
//! others to run (`batch.rs`). Pinning and flushing the collector runs none: see `collector.rs`.
//!
//! # Orderings
//! | label | operation                              | partner | publishes                                |
//! |-------|----------------------------------------|---------|------------------------------------------|
//! | CO1   | owner stores `bottom`, Release; thief loads it, Acquire | – | the items below it, and the buffer |
//! | CO2   | see BO1 and BO2 in `buffer.rs`         | –       | the copied slots                         |
//! | CO3   | `pop`: store `bottom`, fence, load `top`; thief: load `top`, fence, load `bottom` | each other | C4 |
//! | CO4   | whoever claims moves `top`, Release; the owner loads it before it writes, Acquire | – | that the slots have been read |
//! | CO5   | a claim moves `top`, Release; a thief loads it before `bottom`, Acquire | – | the `bottom` that the claim was made under |
//!
//! Without CO5 a thief of a FIFO queue, whose look has no fence, could find a new `top` beside an old `bottom`
//! and take for empty a queue that never was. It costs neither side an instruction on x86-64.
//!
//! # Why not …
//! The fence that pinning an epoch contains in place of CO3's, for thieves of a LIFO owner: it is there only in the outermost pin of a
//! thread, and is no part of what crossbeam-epoch promises. Its default collector: see `collector.rs`. A compare-and-swap for a FIFO owner's pop: it
//! would be a loop where an addition, taken back if the queue was empty, is one step. Keeping all
//! old buffers until the end: a queue that swings between sizes would never stop taking memory.
//!
//! # References
//! D. Chase and Y. Lev, *Dynamic circular work-stealing deque*, 2005; N. M. Lê et al., *Correct and efficient
//! work-stealing for weak memory models*, 2013.

mod shared;
mod stealer;

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::panic::RefUnwindSafe;
use core::ptr::NonNull;

use stealyard_sync::Arc;
use stealyard_sync::atomic::{Ordering, fence};

use self::shared::{Shared, distance};
pub use self::stealer::ChaseLevStealer;
use crate::batch::{Batch, MAX_OVERFLOW};
use crate::buffer::View;
use crate::collector;
use crate::word::Word;
use crate::worker::{Callers, Capacity, Hidden, MaxSteal, Order, Progress, Promises, Worker};

/// The first capacity, and the least: 512 bytes.
const LEAST_CAPACITY: usize = 64;

/// The most items in one batch: a first-in-first-out thief copies them all before it claims.
pub(crate) const MAX_BATCH: usize = 32;

/// Which end the owner of a [`ChaseLev`] pops: [`Lifo`] or [`Fifo`].
pub trait Discipline: sealed::Sealed + 'static {
    /// The same as a value.
    const ORDER: Order;
}

/// The owner pops the newest item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifo;

/// The owner pops the oldest item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fifo;

mod sealed {
    #[expect(unnameable_types, reason = "so that nobody adds a third discipline")]
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

/// The owner's end of an unbounded run queue, [`Lifo`] or [`Fifo`]; see the [crate's](crate) overview.
///
/// It can be sent to another thread, and must not be used by two at once: it is `Send` and not `Sync`.
/// When it and all its stealers are dropped, the items left in it are dropped.
pub struct ChaseLev<T: Word, D: Discipline = Lifo> {
    shared: Arc<Shared<T>>,
    /// Of the current buffer, always. Like the other cells, it also makes this `!Sync`.
    view: Cell<View>,
    /// The position up to which a push need not look: there is room for certain, and it is at most a quarter of the
    /// buffer away, so that the owner sees in time what thieves have emptied.
    room_end: Cell<u64>,
    /// With fewer items than this the buffer shrinks; zero if it is the least.
    shrink_below: Cell<i64>,
    /// Whether a push that looked found the buffer sparse.
    was_sparse: Cell<bool>,
    /// The buffer does not shrink below it.
    least: usize,
    /// The most items, as the user set it.
    limit: u64,
    discipline: PhantomData<fn() -> D>,
}

impl<T: Word> ChaseLev<T> {
    /// An empty queue whose owner pops the newest item.
    #[must_use]
    pub fn lifo() -> Self {
        Self::default()
    }

    /// An empty queue whose owner pops the oldest item.
    #[must_use]
    pub fn fifo() -> ChaseLev<T, Fifo> {
        ChaseLev::default()
    }
}

impl<T: Word, D: Discipline> ChaseLev<T, D> {
    /// A queue with `capacity` slots at first and at least, whose positions start at `position`: for models,
    /// and for tests of what happens far from zero.
    ///
    /// # Panics
    /// If `capacity` is not a power of two.
    #[doc(hidden)]
    #[must_use]
    pub fn starting_at(capacity: usize, position: u64) -> Self {
        let shared = Arc::new(Shared::new(capacity, position));
        // SAFETY: 1. this handle is the owner; it keeps the view as long as the shared part, and exchanges it
        // in `resize`.
        let view = unsafe { shared.current.view() };
        Self {
            shared,
            view: Cell::new(view),
            room_end: Cell::new(position),
            shrink_below: Cell::new(0),
            was_sparse: Cell::new(false),
            least: capacity,
            limit: u64::MAX,
            discipline: PhantomData,
        }
    }

    /// This queue, which from now on takes no item beyond `limit`; zero counts as one.
    ///
    /// Items that it has already, and what a batch steal brings, are not refused; a batch brings no more than
    /// there is room for.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit.max(1) as u64;
        self.find_room();
        self
    }

    /// Puts `item` at the back; grows if there is no room.
    ///
    /// # Errors
    /// The item itself, if the queue is at the limit that the user set.
    #[inline]
    pub fn push(&self, item: T) -> Result<(), T> {
        // First of all: it may be foreign code, which may use this queue.
        let word = item.into_word();
        // Ordering: Relaxed; only the owner writes it (C2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        if bottom == self.room_end.get() && !self.make_room() {
            // SAFETY: 1. made above; 2. it is in no slot: this is the only copy.
            return Err(unsafe { T::from_word(word) });
        }
        self.view.get().write(bottom, word.as_ptr());
        // Ordering: Release (CO1); a thief that sees the new bottom sees the item and its buffer.
        self.shared
            .bottom()
            .store(bottom.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    /// Looks how far thieves have come, and shrinks or grows if need be. False at the limit.
    #[cold]
    fn make_room(&self) -> bool {
        // Not at once: the next burst would only make it grow again.
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

    /// How many more items the buffer and the limit allow; remembers the next of them.
    fn find_room(&self) -> u64 {
        // Ordering: Relaxed; only the owner writes it (C2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        let top = self.shared.top_for_writing();
        let capacity = self.view.get().capacity();
        let most = self.limit.min(capacity as u64);
        let room = most.saturating_sub(distance(top, bottom));
        let unseen = if capacity > self.least {
            room.min(capacity.div_ceil(4) as u64)
        } else {
            room
        };
        self.room_end.set(bottom.wrapping_add(unseen));
        room
    }

    /// Moves the items to a buffer of `capacity` slots.
    fn resize(&self, capacity: usize) {
        // Before anything is looked at. It runs no foreign code, and would be in time if it did.
        let guard = collector::pin();
        // Ordering: Relaxed; only the owner writes it (C2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        let top = self.shared.top_for_writing();
        let old = self.view.get();
        let current = &self.shared.current;
        // SAFETY: 1. this handle is the owner, and its view is always of the current buffer; 2. the view is
        // exchanged at once.
        let new = unsafe { current.replace(old, capacity, (top, bottom), &guard) };
        self.view.set(new);
        let quarter = if capacity > self.least {
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

    /// To the smallest buffer that is at most three quarters full.
    #[cold]
    fn shrink(&self) {
        let (items, mut capacity) = (self.len(), self.least);
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
        // SAFETY: 1. its position was in `top..bottom`, so it is written (C1); 2. it is ours by C3 or C4.
        Some(unsafe { Shared::item(word) })
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
        // Ordering: SeqCst (CO3); its partner is the fence in `look`: either the load below sees that
        // thief's top, or the thief sees the bottom stored above (C4).
        fence(Ordering::SeqCst);
        // Ordering: Relaxed; ordered by the fence.
        let oldest = top.load(Ordering::Relaxed);
        let left = newest.wrapping_sub(oldest).cast_signed();
        if left <= 0 {
            return self.pop_last(oldest, newest);
        }
        let word = self.view.get().read(newest);
        self.shrink_if_sparse(left);
        Some(word)
    }

    /// The item at `newest` is the last, or gone; thieves may be after it.
    #[inline]
    fn pop_last(&self, oldest: u64, newest: u64) -> Option<*mut ()> {
        let won = oldest == newest && self.shared.claim(oldest, 1);
        let word = self.view.get().read(newest);
        // Ordering: Relaxed; back to where it was, and there are no items below it.
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
        // Ordering: Release (CO5); a thief that sees the new top sees a bottom no older than this owner's. A
        // read-modify-write hands on CO4.
        let oldest = top.fetch_add(1, Ordering::Release);
        let left = bottom.wrapping_sub(oldest).cast_signed() - 1;
        if left < 0 {
            // A thief took the last item in between. While `top` is beyond `bottom` no thief moves it.
            // Ordering: Relaxed; a read-modify-write hands on CO4 and CO5.
            top.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let word = self.view.get().read(oldest);
        self.shrink_if_sparse(left);
        Some(word)
    }

    /// Puts `item` at the back. At the limit that the user set, the older half leaves (at most 128 items): those
    /// and then `item` go to `overflow`, oldest first, one call after the other. Without a limit nothing ever
    /// overflows.
    ///
    /// If `overflow` panics, the rest of the batch is dropped and the queue stays whole. `overflow` may use this
    /// queue.
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

    /// Claims the older half of a queue at its limit; none if there is room now, or a thief was quicker, which
    /// makes room.
    fn take_older_half(&self) -> Option<Batch<T>> {
        let top = self.shared.top_for_writing();
        // Ordering: Relaxed; only the owner writes it (C2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        // Counted from the very position that the claim starts from: thieves may have emptied the queue since the
        // push was refused, and a count of another moment would take `top` past `bottom`.
        let items = distance(top, bottom);
        if items < self.limit {
            return None;
        }
        let count = (items / 2).clamp(1, MAX_OVERFLOW as u64);
        if !self.shared.claim(top, count) {
            return None;
        }
        let word = |place: usize| {
            let word = self.view.get().read(top.wrapping_add(place as u64));
            debug_assert!(!word.is_null(), "an item's position has been written");
            // SAFETY: 1. `top..bottom` are written (C1), never with null.
            unsafe { NonNull::new_unchecked(word) }
        };
        // SAFETY: 1. the words came from `push`; 2. the claim made them ours, as the owner was here and took none
        // otherwise (C3).
        Some(unsafe { Batch::new(count as usize, word) })
    }

    /// How many of `wanted` items a thief may bring.
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

    /// Makes the `count` words that were staged items of this queue.
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

    /// How many items there are; thieves may take some of them at any moment.
    #[must_use]
    pub fn len(&self) -> usize {
        // Ordering: Relaxed; only the owner writes it (C2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        // Ordering: Relaxed; a stale top gives a number from a moment before.
        let top = self.shared.top().load(Ordering::Relaxed);
        distance(top, bottom) as usize
    }

    /// True if there is nothing to pop. Nothing but this handle's own pushes can make it false.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items fit before the next growth; it changes as the queue grows and shrinks.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        self.view.get().capacity()
    }

    /// A new handle for a thief.
    #[must_use]
    pub fn stealer(&self) -> ChaseLevStealer<T, D> {
        ChaseLevStealer {
            shared: Arc::clone(&self.shared),
            discipline: PhantomData,
        }
    }
}

/// Its cells alone would deny it; but foreign code that panics finds the queue whole and leaves it so.
impl<T: Word, D: Discipline> RefUnwindSafe for ChaseLev<T, D> {}

impl<T: Word, D: Discipline> Default for ChaseLev<T, D> {
    fn default() -> Self {
        Self::starting_at(LEAST_CAPACITY, 0)
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
        usize::try_from(self.limit)
            .ok()
            .filter(|limit| *limit < usize::MAX)
    }

    fn stealer(&self) -> ChaseLevStealer<T, D> {
        self.stealer()
    }
}
