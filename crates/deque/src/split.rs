//! A bounded run queue whose owner works last in, first out, at about the cost of a `Vec`.
//!
//! In a fork-join computation, the worker that pushes an item usually pops it as well. So the queue
//! has two parts, as in Lace. The older items are *shared*, and taken by compare-and-swap. The
//! newer items are *private*: they are the owner's stack, which costs no fence and no
//! read-modify-write. A thief that finds nothing shared leaves a *request*. The owner answers it at
//! its next push or pop, by moving the boundary between the two parts, the *split*.
//!
//! What differs from Lace:
//! - Items are words in atomic slots, so that a thief may copy them before it claims them.
//! - A batch is one claim.
//! - A thief may *force* the private part out, so that no item is stuck behind an owner that is
//!   busy with a long task.
//!
//! # Operations
//! | operation                           | caller | progress  | cost                             |
//! | ----------------------------------- | ------ | --------- | -------------------------------- |
//! | `push`                              | owner  | wait-free | two loads, two stores            |
//! | `push_or_overflow`, full            | owner  | lock-free | one RMW for the half that leaves |
//! | `pop`                               | owner  | lock-free | loads, a store, a light barrier  |
//! | `push` on request or at the ceiling | owner  | wait-free | two RMWs more                    |
//! | `pop` on request or at the split    | owner  | lock-free | one RMW more                     |
//! | `steal`, `steal_batch`, …           | any    | lock-free | one RMW an attempt or a batch    |
//! | `force`                             | any    | lock-free | one RMW and a heavy barrier      |
//! | `len`                               | any    | wait-free | loads                            |
//!
//! # Layout
//! ```text
//!               top               split              bottom
//!                v                  v                   v
//!   [ ][ ][ ][ ][a][b][c][d][e][f][g][h][i][j][k][l][m][ ][ ]   position p: slot p mod capacity
//!                ^^^^^^^^^^^^^^^^^^ ^^^^^^^^^^^^^^^^^^^
//!                shared: thieves    private: the owner pops here
//! ```
//! `bottom` is a 64-bit word that only the owner writes. `top` and the number of shared items are
//! packed, with a tag, into one word, the index (drawn in `split/index.rs`). The split is the sum
//! of the two.
//!
//! The owner does not read the index in an ordinary push or pop. It reads one of two signals:
//! - `limit`: a pop of a position below it takes the slow path. It holds the split, or `ASKED`, the
//!   greatest number there is.
//! - `ceiling`: a push at or above it takes the slow path. It holds a position below which there is
//!   room, or zero.
//!
//! `ASKED` and zero say that a thief asks for more to be shared.
//!
//! # Invariants
//! - **SP1** (order of positions) `top <= split <= bottom <= top + capacity`, and the positions
//!   `top..bottom` are written. During a pop, `bottom` may be one below the split; no position is
//!   taken because of that.
//! - **SP2** (one writer) Only the owner writes `bottom` and the slots. It writes a slot only while
//!   the slot's position is outside `top..bottom`.
//! - **SP3** (the limit covers the split) While the owner is outside `settle`, `limit` is at least
//!   the split, or a force has raised the split since and `limit` was `ASKED` when it did.
//! - **SP4** (force or settle) If a force succeeds, the owner has not lowered `limit` between the
//!   force's first look and its exchange, or it has lowered `limit` and will fail to settle.
//! - **SP5** (one owner for a claim) The thread that takes `top..top + n` by a successful exchange
//!   of the index owns those items, and no other thread does. The index never takes a value that it
//!   had before (until its tag wraps around, see `split/index.rs`).
//! - **SP6** (one owner for a pop) The owner owns the position to which it has lowered `bottom` if,
//!   after a light barrier, that position is not below `limit`. It also owns the position if it has
//!   settled a split that is not above it.
//! - **SP7** (requests persist) A request stands, in `limit` and in `ceiling`, until the owner
//!   settles. A settle leaves something shared, or it leaves the queue empty and the request in
//!   `ceiling`. Nothing else lowers `limit`, and nothing else overwrites a zero in `ceiling` for
//!   good.
//!
//! # Orderings
//! - **SO1** The owner stores `bottom`, Release; a force loads it, Acquire. Publishes the items
//!   below it.
//! - **SO2** The owner exchanges the index, Release. Partner: SO4. Publishes the items below the
//!   split, `bottom`, and that `limit` and `ceiling` were written.
//! - **SO3** A force exchanges the index, Release. Partner: SO4. Publishes the items that SO1 gave
//!   it.
//! - **SO4** A thread loads the index, Acquire. Partners: SO2, SO3, SO5.
//! - **SO5** A thief exchanges the index, Release. Partner: SO4. Publishes that the slots it took
//!   have been read.
//! - **SO6** `pop` stores `bottom`, passes a light barrier and loads `limit`. A force stores
//!   `limit`, passes a heavy barrier and loads `bottom`. One of the two sees the other.
//!
//! Every write of the index is a read-modify-write, so each continues the release sequences of
//! those before it.
//!
//! The proofs of SP4 to SP7, how much is shared, and the rejected designs follow
//! (`split/proof.md`).

#![doc = include_str!("split/proof.md")]
#![doc = include_str!("foreign_code.md")]

mod index;
mod shared;
mod stealer;

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::panic::RefUnwindSafe;
use core::ptr::NonNull;

use stealyard_sync::Arc;
use stealyard_sync::asymmetric;
use stealyard_sync::atomic::Ordering;

use self::index::{Index, MAX_CAPACITY};
use self::shared::SplitShared;
pub use self::stealer::SplitStealer;
use crate::batch::{Batch, MAX_OVERFLOW};
use crate::capacity::{self, CapacityError};
use crate::word::Word;
use crate::worker::{
    Callers, Capacity, Hidden, MaxSteal, Order, Progress, Promises, Worker, forward_worker_methods,
};

/// The capacity of [`Split::new`]: 2 KiB of slots, many times more than the deepest recursion by
/// halves needs.
const DEFAULT_CAPACITY: usize = if MAX_CAPACITY < 256 {
    MAX_CAPACITY
} else {
    256
};

/// The first position. It is not zero, because a pop from an empty queue looks one below.
const FIRST_POSITION: u64 = 1;

/// The owner's end of a bounded last-in-first-out run queue whose newer items are private; see the
/// [crate's](crate) overview.
///
/// It can be sent to another thread, and only one thread at a time may use it: it is `Send` and not
/// `Sync`. When it is dropped, its private items become visible to thieves. When it and all its
/// stealers are dropped, the remaining items are dropped.
pub struct Split<T: Word> {
    shared: Arc<SplitShared<T>>,
    /// The `Cell` makes the handle `!Sync`: its methods take `&self` and assume one caller at a
    /// time.
    owner: PhantomData<Cell<()>>,
}

impl<T: Word> Split<T> {
    /// Creates an empty queue for 256 items.
    #[must_use]
    pub fn new() -> Self {
        Self::build(DEFAULT_CAPACITY, 0, FIRST_POSITION)
    }

    /// Creates an empty queue for `capacity` items.
    ///
    /// # Errors
    /// If `capacity` is not a power of two from 2 to 2^15.
    pub fn with_capacity(capacity: usize) -> Result<Self, CapacityError> {
        capacity::checked(capacity, MAX_CAPACITY)
            .map(|capacity| Self::build(capacity, 0, FIRST_POSITION))
    }

    /// Creates a queue whose positions start at `position` and whose tags start at `tag`, for tests
    /// of what happens where they wrap around.
    ///
    /// # Panics
    /// If [`with_capacity`](Self::with_capacity) does not accept `capacity`, or if `position` is
    /// not from 1 to 2^63: whole positions do not wrap here, and a pop looks one below.
    #[doc(hidden)]
    #[must_use]
    pub fn starting_at(capacity: usize, tag: u32, position: u64) -> Self {
        assert!(
            (FIRST_POSITION..=1 << 63).contains(&position),
            "a first position of {position} is not from 1 to 2^63"
        );
        Self::build(
            capacity::checked_or_panic(capacity, MAX_CAPACITY),
            tag,
            position,
        )
    }

    fn build(capacity: usize, tag: u32, position: u64) -> Self {
        // Makes the light barrier in `pop` light from the first call on.
        asymmetric::mode();
        Self {
            shared: Arc::new(SplitShared::new(capacity, tag, position)),
            owner: PhantomData,
        }
    }

    /// Pushes `item` as the newest. It is private, unless a thief has asked for more.
    ///
    /// # Errors
    /// Returns `item` if the queue is full.
    #[inline]
    pub fn push(&self, item: T) -> Result<(), T> {
        // Comes first, because it may be foreign code, which may use this queue.
        let word = item.into_word();
        let shared = &*self.shared;
        // Ordering: Relaxed; only the owner writes it (SP2).
        let bottom = shared.bottom().load(Ordering::Relaxed);
        // Ordering: Relaxed; a hint: what the owner wrote there holds, and zero means "look".
        if bottom >= shared.ceiling().load(Ordering::Relaxed) {
            return self.push_slow(bottom, word);
        }
        self.append(bottom, word);
        Ok(())
    }

    #[inline]
    fn append(&self, bottom: u64, word: NonNull<()>) {
        self.shared.write(bottom, word);
        // Ordering: Release (SO1); a force that sees the new bottom sees the item.
        self.shared.bottom().store(bottom + 1, Ordering::Release);
    }

    /// Pushes where the queue may be full, or a thief has asked.
    #[cold]
    fn push_slow(&self, bottom: u64, word: NonNull<()>) -> Result<(), T> {
        let shared = &*self.shared;
        let ceiling = shared.index().top_before(bottom) + shared.capacity() as u64;
        let full = bottom >= ceiling;
        if !full {
            self.append(bottom, word);
        }
        // Ordering: Relaxed on both; zero is the whole message. The exchange sees a request that
        // came after the first look, where a store would overwrite it (SP7).
        let asked = shared.ceiling().load(Ordering::Relaxed) == 0
            || !full && shared.ceiling().swap(ceiling, Ordering::Relaxed) == 0;
        if asked {
            self.answer_request(bottom + u64::from(!full));
        }
        if full {
            // SAFETY: 1. `push` made the word from an item; 2. it is in no slot, so this is the
            // only copy.
            return Err(unsafe { T::from_word(word) });
        }
        Ok(())
    }

    /// Answers a thief's request, with the newest item just below `bottom`. Shares some items,
    /// unless that would share the only one, or another thread was served meanwhile: then the
    /// request stays (SP7).
    fn answer_request(&self, bottom: u64) {
        let shared = &*self.shared;
        let index = shared.index();
        let top = index.top_before(bottom);
        let split = top + index.count();
        let private = bottom - split;
        if index.count() > 0 {
            shared.settle(index, top, split);
        } else if private > 1 {
            shared.settle(index, top, split + private / 2);
        } else {
            // Ordering: Relaxed; the same write as a thief's request.
            shared.ceiling().store(0, Ordering::Relaxed);
        }
    }

    /// Pushes `item` as the newest. If the queue is full, its older half leaves, at most 128 items:
    /// these and then `item` go to `overflow`, oldest first, in one call each.
    ///
    /// If `overflow` panics, the rest of the batch is dropped and the queue stays whole. `overflow`
    /// may use this queue.
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
                return overflow(item);
            }
            match self.push(item) {
                Ok(()) => return,
                Err(back) => item = back,
            }
        }
    }

    /// Claims the older half of a full queue, shared or private. Returns `None` if there is room
    /// now, or if a thief was quicker, which makes room.
    fn take_older_half(&self) -> Option<Batch<T>> {
        let shared = &*self.shared;
        // Ordering: Relaxed; only the owner writes it (SP2).
        let bottom = shared.bottom().load(Ordering::Relaxed);
        let index = shared.index();
        let top = index.top_before(bottom);
        if bottom - top < shared.capacity() as u64 {
            return None;
        }
        let count = MAX_OVERFLOW.min(shared.capacity() / 2);
        let middle = top + count as u64;
        let split = if top + index.count() > middle {
            top + index.count()
        } else {
            middle + (bottom - middle).div_ceil(2)
        };
        if !shared.settle(index, middle, split) {
            return None;
        }
        let word = |offset: usize| {
            let word = shared.read(top + offset as u64);
            debug_assert!(!word.is_null(), "an item's position has been written");
            // SAFETY: 1. the positions `top..bottom` are written (SP1), never with null.
            unsafe { NonNull::new_unchecked(word) }
        };
        // SAFETY: 1. the words came from `push`; 2. the settle made them the owner's (SP5).
        Some(unsafe { Batch::new(count, word) })
    }

    /// Takes the newest item.
    #[inline]
    pub fn pop(&self) -> Option<T> {
        let shared = &*self.shared;
        // Ordering: Relaxed; only the owner writes it (SP2).
        let newest = shared.bottom().load(Ordering::Relaxed) - 1;
        // Ordering: Release (SO1); a force that sees this bottom sees the items below it.
        shared.bottom().store(newest, Ordering::Release);
        // Ordering: SO6; the store above comes before the barrier and the load below after it. Its
        // partner is the heavy barrier in `force`.
        asymmetric::light();
        // Ordering: Relaxed; ordered by the barrier (SO6).
        if newest < shared.limit().load(Ordering::Relaxed) {
            return self.pop_slow(newest);
        }
        let word = shared.read(newest);
        // SAFETY: 1. the position is not below the limit, so it was below `bottom` and is written
        // (SP1); 2. the owner owns it (SP6), and `bottom` is not above it any more.
        Some(unsafe { SplitShared::item(word) })
    }

    /// Pops after `bottom` has been lowered to `newest`. The item there may be shared, absent, or
    /// wanted by a force.
    #[cold]
    fn pop_slow(&self, newest: u64) -> Option<T> {
        let shared = &*self.shared;
        loop {
            let index = shared.index();
            let top = index.top_before(newest + 1);
            if top > newest {
                // Ordering: Relaxed; `bottom` returns to where it was, and there are no items below
                // it.
                shared.bottom().store(newest + 1, Ordering::Relaxed);
                return None;
            }
            let split = Self::split_for_pop(index, top, newest);
            if shared.settle(index, top, split) {
                let word = shared.read(newest);
                // SAFETY: 1. it is in `top..bottom` as the pop found it, so it is written (SP1); 2.
                // the owner owns it by the settle (SP6), and `bottom` is not above it any more.
                return Some(unsafe { SplitShared::item(word) });
            }
        }
    }

    /// Returns where the split goes when the owner takes `newest`. It is not above `newest`; see
    /// "How much is shared".
    fn split_for_pop(index: Index, top: u64, newest: u64) -> u64 {
        let split = top + index.count();
        if newest < split {
            top + index.count() / 2
        } else if index.count() == 0 {
            split + (newest - split).div_ceil(2)
        } else {
            split
        }
    }

    /// Returns the number of items, private ones included. Thieves may take some of them at any
    /// moment.
    #[must_use]
    pub fn len(&self) -> usize {
        // Ordering: Relaxed; only the owner writes it (SP2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        let top = self.shared.index().top_before(bottom);
        (bottom - top) as usize
    }

    /// Whether there is nothing to pop. Only this handle's own pushes can make it false.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the greatest number of items that the queue can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity()
    }

    /// Returns a new handle for a thief.
    #[must_use]
    pub fn stealer(&self) -> SplitStealer<T> {
        SplitStealer {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The cells alone would rule this out, but foreign code that panics finds the queue whole and
/// leaves it whole.
impl<T: Word> RefUnwindSafe for Split<T> {}

impl<T: Word> Default for Split<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Word> Drop for Split<T> {
    /// Shares everything, because no owner is left to answer requests.
    fn drop(&mut self) {
        let shared = &*self.shared;
        // Ordering: Relaxed; only the owner writes it (SP2).
        let bottom = shared.bottom().load(Ordering::Relaxed);
        loop {
            let index = shared.index();
            let top = index.top_before(bottom);
            if top + index.count() == bottom || shared.settle(index, top, bottom) {
                return;
            }
        }
    }
}

impl<T: Word> fmt::Debug for Split<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Split")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("index", &self.shared.index())
            .finish_non_exhaustive()
    }
}

impl<T: Word> Worker for Split<T> {
    type Item = T;
    type Stealer = SplitStealer<T>;

    const PROMISES: Promises = Promises {
        order: Order::Lifo,
        capacity: Capacity::Bounded,
        hidden: Hidden::Newest,
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
