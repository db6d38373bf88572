//! A bounded run queue: last in, first out for its owner, at the price of a `Vec`.
//!
//! Most items of a fork-join computation are popped by the worker that pushed them, so the shape is Lace's:
//! the older items are *shared* and taken by compare-and-swap, the newer ones are the owner's *private*
//! stack, which costs no fence and no read-modify-write. A thief that finds nothing shared leaves a
//! request, and the owner answers at its next push or pop by moving the split. What differs from Lace:
//! items are words in atomic slots, so that a thief may copy before it claims; a batch is one claim; and
//! a thief may *force* the private part out, so that nothing is stuck behind an owner that is busy with a
//! long task.
//!
//! # Operations
//! | operation                  | caller | progress  | cost                                          |
//! |----------------------------|--------|-----------|-----------------------------------------------|
//! | `push`                     | owner  | wait-free | two loads, two stores                         |
//! | `push_or_overflow`, full   | owner  | lock-free | one RMW for the half that leaves              |
//! | `pop`                      | owner  | lock-free | three loads, a store, a light barrier         |
//! | `push`, `pop`, asked or at the split | owner | as above | one RMW more, two in a `push`        |
//! | `steal`, `steal_batch`, `…_and_pop` | anyone | lock-free | one RMW an attempt, for a whole batch  |
//! | `force`                    | anyone | lock-free | one RMW and a heavy barrier                   |
//! | `len`                      | anyone | wait-free | loads                                         |
//!
//! # Layout
//! ```text
//!               top               split              bottom
//!                v                  v                   v
//!   [ ][ ][ ][ ][a][b][c][d][e][f][g][h][i][j][k][l][m][ ][ ]     position p is in slot p mod capacity
//!                ^^^^^^^^^^^^^^^^^^ ^^^^^^^^^^^^^^^^^^^
//!                shared: thieves    private: the owner pops here
//! ```
//! `bottom` is a 64-bit word that only the owner writes. `top` and the number of shared items are packed
//! with a tag in one word, the index, drawn in `split/index.rs`; the split is their sum. The owner does not
//! look at the index in a push or pop, but at two signals: it pops nothing below `limit`, and pushes nothing
//! at or above `ceiling`, without taking the slow way. `limit` is the split and `ceiling` a position with
//! room, or else the greatest and the least number there are, which say that a thief asks for more.
//!
//! # Invariants
//! - **SP1** `top <= split <= bottom <= top + capacity`, and the positions `top..bottom` are written. (During
//!   a pop, `bottom` may be one below the split; no position is taken on account of that.)
//! - **SP2** Only the owner writes `bottom` and the slots, and a slot only when its position is outside
//!   `top..bottom`.
//! - **SP3** While the owner is outside `settle`, `limit` is at least the split, or a force has raised the split
//!   since and `limit` was `ASKED` when it did.
//! - **SP4** If a force succeeds, the owner has not lowered `limit` between the force's first look and its
//!   exchange, or has lowered it and will fail to settle.
//! - **SP5** The thread that takes `top..top + n` by a successful exchange of the index owns those items, and no
//!   other does. The index never takes a value that it had before (short of a whole round of its tag, see
//!   `split/index.rs`).
//! - **SP6** The owner owns the position it has lowered `bottom` to, if after a light barrier that position
//!   is not below `limit`, or if it has settled a split that is not above that position.
//! - **SP7** A request stands, in `limit` and in `ceiling`, until the owner settles; and a settle leaves something
//!   shared, or the queue empty and the request in `ceiling`. Nothing else lowers `limit`, or overwrites a zero in
//!   `ceiling` for good.
//!
//! Why SP4: `settle` writes the limit, then exchanges the index, counting up its tag. A force reads the
//! index, then asks (it writes `ASKED` to the limit, or has seen it there), then exchanges what it read. Say
//! the owner's write of the limit comes after the force's. Had the force read the index after the owner's
//! exchange, then by SO2 and SO4 the owner's write would come before the force's. So it read before, and of
//! the two exchanges the later fails.
//!
//! Why SP6, without a settle: say that the owner lowered `bottom` to `p` and saw a limit of at most `p`, while
//! a force shared `p`. The light barrier is before or after the heavy one. If before, the force's second
//! look saw `bottom` at `p`, or where a later push or pop put it, which saw the same: it did not share `p`.
//! If after, the owner saw `ASKED`, or the limit of a later settle; by SP4 the force or that settle failed. A
//! failed settle leaves `ASKED`. With a settle: a force that read the index before it fails; one that read
//! it afterwards sees, by SO2, `bottom` at `p`, and shares what is below.
//!
//! Why SP5: a steal alone raises `top`; whatever else changes the index, a settle or a force, gives it a new tag.
//! So the copies that were made after reading the index are of the items that were at those positions when
//! the exchange succeeded.
//!
//! Why SP7 means that a request is answered at the owner's next push or pop: the thief read the index, found
//! nothing shared, and asked. Say that a settle overwrote the request. If the thief read the index before that
//! settle's exchange, the settle came after its look and answers it. If after, then by SO2 and SO4 what the
//! settle wrote to `limit` and `ceiling` is before what the thief wrote or saw there, and overwrote nothing of
//! it. So a request that no settle has answered stands in both words; a pop is below the limit, a push at the
//! ceiling, and each settles: a pop always, unless it finds the queue empty; a push unless there is only one
//! private item, which is left alone and the request standing, for it would be popped next. A pop that takes the last
//! item has nothing to answer with: then the request waits in the ceiling for what comes in first, by pushes or in a
//! batch that the owner steals. A settle fails only
//! if another thread was served, and leaves the request standing. A push that was at its ceiling without a
//! request exchanges the ceiling for the new one, so that it sees one that came meanwhile.
//!
//! # How much is shared
//! Asked with `n` private items, the owner shares half: rounded up when it pops, for then it has one in its
//! hands; rounded down when it pushes, for then it will pop soon. At the split it takes back half of what is
//! shared, rounded up. An overflow leaves half of what stays shared, if it was not so before. A force shares
//! everything: its owner is busy, and each force costs a barrier.
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
//! # Orderings
//! | label | operation                                   | partner  | publishes                            |
//! |-------|---------------------------------------------|----------|--------------------------------------|
//! | SO1   | owner stores `bottom`, Release; a force loads it, Acquire | – | the items below it            |
//! | SO2   | owner exchanges the index, Release          | SO4      | the items below the split; `bottom`; that `limit` and `ceiling` were written |
//! | SO3   | a force exchanges the index, Release        | SO4      | the items that SO1 gave it           |
//! | SO4   | anyone loads the index, Acquire             | SO2, SO3, SO5 | –                               |
//! | SO5   | a thief exchanges the index, Release        | SO4      | that the slots it took have been read |
//! | SO6   | `pop`: store `bottom`, light barrier, load `limit`; force: store `limit`, heavy barrier, load `bottom` | each other | one of the two sees the other |
//!
//! Every write of the index is a read-modify-write, so each continues the release sequences of those before.
//!
//! # Why not …
//! A lock around force and the owner's slow way, as a first version had: the owner would wait for a thief that
//! sits in a system call, or has lost its core. A limit that a force raises only as far as it shares: two
//! forces would have to agree, where `ASKED` is the same for all. Growing: measured and rejected, see
//! `docs/decisions/0003-split-bounded.md`. Chase–Lev with the barrier on the thieves' side: a heavy barrier for each steal.
//!
//! # References
//! T. van Dijk and J. van de Pol, *Lace: non-blocking split deque for work-stealing*, 2014; U. A. Acar,
//! A. Charguéraud and M. Rainey, *Scheduling parallel programs by work stealing with private deques*, 2013.

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
use self::shared::Shared;
pub use self::stealer::SplitStealer;
use crate::batch::{Batch, MAX_OVERFLOW};
use crate::capacity::{self, CapacityError};
use crate::word::Word;
use crate::worker::{Callers, Capacity, Hidden, MaxSteal, Order, Progress, Promises, Worker};

/// Room for the deepest recursion that divides in halves, many times over; 2 KiB.
const DEFAULT_CAPACITY: usize = if MAX_CAPACITY < 256 {
    MAX_CAPACITY
} else {
    256
};

/// Where positions start: a pop from an empty queue looks one below.
const FIRST_POSITION: u64 = 1;

/// The owner's end of a bounded last-in-first-out run queue whose newer items are private; see the
/// [crate's](crate) overview.
///
/// It can be sent to another thread, and must not be used by two at once: it is `Send` and not `Sync`. When
/// it is dropped, what it kept private becomes visible to thieves; when it and all its stealers are dropped,
/// the items left in it are dropped.
pub struct Split<T: Word> {
    shared: Arc<Shared<T>>,
    /// `Cell` makes the handle `!Sync`: its methods take `&self` and assume one caller at a time.
    owner: PhantomData<Cell<()>>,
}

impl<T: Word> Split<T> {
    /// An empty queue for 256 items.
    #[must_use]
    pub fn new() -> Self {
        Self::build(DEFAULT_CAPACITY, 0, FIRST_POSITION)
    }

    /// An empty queue for `capacity` items.
    ///
    /// # Errors
    /// If `capacity` is not a power of two from 2 to 2^15.
    pub fn with_capacity(capacity: usize) -> Result<Self, CapacityError> {
        capacity::checked(capacity, MAX_CAPACITY)
            .map(|capacity| Self::build(capacity, 0, FIRST_POSITION))
    }

    /// A queue whose positions start at `position` and whose tags at `tag`: for tests of what happens where
    /// they wrap around.
    ///
    /// # Panics
    /// If `capacity` is not one that [`with_capacity`](Self::with_capacity) takes, or `position` is not from 1 to
    /// 2^63: whole positions do not wrap here, and a pop looks one below.
    #[doc(hidden)]
    #[must_use]
    pub fn starting_at(capacity: usize, tag: u32, position: u64) -> Self {
        assert!(
            (FIRST_POSITION..=1 << 63).contains(&position),
            "a first position of {position} is not from 1 to 2^63"
        );
        match capacity::checked(capacity, MAX_CAPACITY) {
            Ok(capacity) => Self::build(capacity, tag, position),
            Err(error) => panic!("{error}"),
        }
    }

    fn build(capacity: usize, tag: u32, position: u64) -> Self {
        // So that the light barrier in `pop` is light from the first call.
        asymmetric::mode();
        Self {
            shared: Arc::new(Shared::new(capacity, tag, position)),
            owner: PhantomData,
        }
    }

    /// Puts `item` on top, private unless a thief has asked.
    ///
    /// # Errors
    /// The item itself, if the queue is full.
    #[inline]
    pub fn push(&self, item: T) -> Result<(), T> {
        // First of all: it may be foreign code, which may use this queue.
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

    /// The queue may be full, or a thief has asked.
    #[cold]
    fn push_slow(&self, bottom: u64, word: NonNull<()>) -> Result<(), T> {
        let shared = &*self.shared;
        let ceiling = shared.index().top_before(bottom) + shared.capacity() as u64;
        let full = bottom >= ceiling;
        if !full {
            self.append(bottom, word);
        }
        // Ordering: Relaxed on both; zero is the whole message. The exchange sees a request that came after
        // the first look, where a store would overwrite it (SP7).
        let asked = shared.ceiling().load(Ordering::Relaxed) == 0
            || !full && shared.ceiling().swap(ceiling, Ordering::Relaxed) == 0;
        if asked {
            self.answer(bottom + u64::from(!full));
        }
        if full {
            // SAFETY: 1. `push` made it from an item; 2. it is in no slot: this is the only copy.
            return Err(unsafe { T::from_word(word) });
        }
        Ok(())
    }

    /// A thief has asked, and the newest item is below `bottom`: shares some, unless it would be the only one or
    /// a thread was served meanwhile. Then the request goes on standing (SP7).
    fn answer(&self, bottom: u64) {
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
            // Ordering: Relaxed; as a thief would write it.
            shared.ceiling().store(0, Ordering::Relaxed);
        }
    }

    /// Puts `item` on top. If the queue is full, its older half leaves (at most 128 items): those and then `item`
    /// go to `overflow`, oldest first, one call after the other.
    ///
    /// If `overflow` panics, the rest of the batch is dropped and the queue stays whole. `overflow` may use this
    /// queue.
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

    /// Claims the older half of a full queue, shared or private; none if there is room now, or a thief was
    /// quicker, which makes room.
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
        let word = |place: usize| {
            let word = shared.read(top + place as u64);
            debug_assert!(!word.is_null(), "an item's position has been written");
            // SAFETY: 1. `top..bottom` are written (SP1), never with null.
            unsafe { NonNull::new_unchecked(word) }
        };
        // SAFETY: 1. the words came from `push`; 2. the settle made them ours (SP5).
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
        // Ordering: SO6: the store above is before it, the load below after it. Its partner is the heavy
        // barrier in `force`.
        asymmetric::light();
        // Ordering: Relaxed; ordered by the barrier (SO6).
        if newest < shared.limit().load(Ordering::Relaxed) {
            return self.pop_slow(newest);
        }
        let word = shared.read(newest);
        // SAFETY: 1. it is not below the limit, so it was below `bottom` and is written (SP1); 2. it is
        // ours (SP6), and `bottom` is below it now.
        Some(unsafe { Shared::item(word) })
    }

    /// `bottom` has been lowered to `newest`, which may be shared, absent, or wanted by a force.
    #[cold]
    fn pop_slow(&self, newest: u64) -> Option<T> {
        let shared = &*self.shared;
        loop {
            let index = shared.index();
            let top = index.top_before(newest + 1);
            if top > newest {
                // Ordering: Relaxed; back to where it was, and there are no items below it.
                shared.bottom().store(newest + 1, Ordering::Relaxed);
                return None;
            }
            let split = Self::split_for_pop(index, top, newest);
            if shared.settle(index, top, split) {
                let word = shared.read(newest);
                // SAFETY: 1. it is in `top..bottom` as the pop found it, so it is written (SP1); 2. it is
                // ours by the settle (SP6), and `bottom` is below it now.
                return Some(unsafe { Shared::item(word) });
            }
        }
    }

    /// Where the split goes when the owner takes `newest`: not above it. See "How much is shared".
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

    /// How many items there are, private ones included; thieves may take some of them at any moment.
    #[must_use]
    pub fn len(&self) -> usize {
        // Ordering: Relaxed; only the owner writes it (SP2).
        let bottom = self.shared.bottom().load(Ordering::Relaxed);
        let top = self.shared.index().top_before(bottom);
        (bottom - top) as usize
    }

    /// True if there is nothing to pop. Nothing but this handle's own pushes can make it false.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The greatest number of items.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity()
    }

    /// A new handle for a thief.
    #[must_use]
    pub fn stealer(&self) -> SplitStealer<T> {
        SplitStealer {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// Its cells alone would deny it; but foreign code that panics finds the queue whole and leaves it so.
impl<T: Word> RefUnwindSafe for Split<T> {}

impl<T: Word> Default for Split<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Word> Drop for Split<T> {
    /// Shares everything: there is no owner left to answer requests.
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

    fn stealer(&self) -> SplitStealer<T> {
        self.stealer()
    }
}
