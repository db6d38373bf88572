//! The thieves' end of a [`Split`]. The invariants and orderings are those of `split.rs`.

use core::fmt;
use core::ptr::NonNull;

use stealyard_sync::Arc;
use stealyard_sync::asymmetric;
use stealyard_sync::atomic::Ordering;

use super::Split;
use super::index::Index;
use super::shared::SplitShared;
use crate::steal::Steal;
use crate::word::Word;
use crate::worker::{Stealer, forward_stealer_methods};

/// The thieves' end of a [`Split`].
pub struct SplitStealer<T: Word> {
    pub(super) shared: Arc<SplitShared<T>>,
}

/// The result of claiming a batch: the word kept for the caller, if one was wanted, and the number
/// of items moved.
struct StolenBatch {
    kept: Option<*mut ()>,
    moved: u64,
}

impl<T: Word> SplitStealer<T> {
    /// Takes the oldest shared item. If nothing is shared, asks the owner to share some items at
    /// its next push or pop.
    ///
    /// Lock-free: `Retry` means that another operation on the shared part succeeded.
    pub fn steal(&self) -> Steal<T> {
        let shared = &*self.shared;
        let index = shared.index();
        if index.count() == 0 {
            shared.ask();
            return Steal::Empty;
        }
        let word = shared.read(index.top());
        if shared.take(index, 1) {
            // SAFETY: 1. shared positions are written (SP1); 2. the claim made the item this
            // thread's alone (SP5).
            Steal::Success(unsafe { SplitShared::item(word) })
        } else {
            Steal::Retry
        }
    }

    /// Moves half of the shared items, rounded up, to the newest end of `dest`, in order and with
    /// one claim. Moves at most `limit` items and no more than fit. Returns how many were moved.
    ///
    /// Returns `Empty` if `limit` is zero, if `dest` is full, or if `dest` is the owner's end of
    /// this very queue. Asks the owner to share if nothing is shared. Lock-free.
    pub fn steal_batch(&self, dest: &Split<T>, limit: usize) -> Steal<usize> {
        self.claim_batch(dest, limit, 0)
            .map(|batch| batch.moved as usize)
    }

    /// Does the same as [`steal_batch`](Self::steal_batch), but returns the oldest item of the
    /// batch; the others go to `dest`.
    pub fn steal_batch_and_pop(&self, dest: &Split<T>, limit: usize) -> Steal<T> {
        match self.claim_batch(dest, limit, 1) {
            Steal::Success(StolenBatch {
                kept: Some(word), ..
            }) => {
                // SAFETY: 1. shared positions are written (SP1); 2. `claim_batch` claimed it and
                // put it nowhere.
                Steal::Success(unsafe { SplitShared::item(word) })
            }
            Steal::Success(_) | Steal::Empty => Steal::Empty,
            Steal::Retry => Steal::Retry,
        }
    }

    /// Claims a batch. The first `keep` items (zero or one) go to the caller, the others to `dest`.
    fn claim_batch(&self, dest: &Split<T>, limit: usize, keep: u64) -> Steal<StolenBatch> {
        let (shared, to) = (&*self.shared, &*dest.shared);
        if Arc::ptr_eq(&self.shared, &dest.shared) || limit == 0 {
            return Steal::Empty;
        }
        let index = shared.index();
        if index.count() == 0 {
            shared.ask();
            return Steal::Empty;
        }
        // Ordering: Relaxed; the caller owns `dest`, and only an owner writes its bottom (SP2).
        let bottom = to.bottom().load(Ordering::Relaxed);
        let room = to.capacity() as u64 - to.index().items(bottom, to.capacity());
        let half = index.count().div_ceil(2);
        let count = half.min(limit as u64).min(room + keep);
        if count == 0 {
            return Steal::Empty;
        }
        let kept = (keep == 1).then(|| shared.read(index.top()));
        for offset in keep..count {
            let word = shared.read(index.top() + offset);
            let Some(word) = NonNull::new(word) else {
                // This cannot be seen, by SP1 (order of positions); and nothing is claimed yet.
                return Steal::Retry;
            };
            to.write(bottom + offset - keep, word);
        }
        if !shared.take(index, count) {
            // What was written above the bottom of `dest` belongs to no one, and will be
            // overwritten.
            return Steal::Retry;
        }
        let moved = count - keep;
        // Ordering: Release (SO1); a thread that forces `dest` and sees the new bottom sees the
        // items.
        to.bottom().store(bottom + moved, Ordering::Release);
        // Ordering: Relaxed; zero is the whole message.
        if moved > 0 && to.ceiling().load(Ordering::Relaxed) == 0 {
            dest.answer_request(bottom + moved);
        }
        Steal::Success(StolenBatch { kept, moved })
    }

    /// Makes all private items visible to thieves, and returns the number of items that are visible
    /// now. Returns `Empty` if there are none, and `Retry` if the owner or another thief was
    /// quicker.
    ///
    /// If something is private, this costs a barrier on all cores that run this process (several
    /// microseconds where that is `membarrier`), and it sends the owner's next push or pop down its
    /// slow path. Call it when the owner has left a request unanswered and nothing else is left to
    /// do but to park. Lock-free.
    pub fn force(&self) -> Steal<usize> {
        let shared = &*self.shared;
        let index = shared.index();
        // Ordering: Relaxed; it only tells whether a barrier may be worth its price.
        let bottom = shared.bottom().load(Ordering::Relaxed);
        if index.items(bottom, shared.capacity()) <= index.count() {
            return visible_items(index);
        }
        shared.ask();
        // Ordering: SO6; the request comes before the barrier and the second look after it. Its
        // partner is the light barrier in `pop`, which is between lowering `bottom` and looking at
        // the limit.
        asymmetric::heavy();
        // Ordering: Acquire (SO1); the items up to it are visible, and `raise` passes them on.
        let bottom = shared.bottom().load(Ordering::Acquire);
        match index.items(bottom, shared.capacity()) {
            items if items <= index.count() => visible_items(index),
            items if shared.raise(index, items) => Steal::Success(items as usize),
            _ => Steal::Retry,
        }
    }

    /// Does the same as [`steal_batch_and_pop`](Self::steal_batch_and_pop). If nothing is shared,
    /// [forces](Self::force) once and tries again.
    pub fn force_steal(&self, dest: &Split<T>, limit: usize) -> Steal<T> {
        let first = self.steal_batch_and_pop(dest, limit);
        if !first.is_empty() || limit == 0 || Arc::ptr_eq(&self.shared, &dest.shared) {
            return first;
        }
        match self.force() {
            Steal::Success(_) => match self.steal_batch_and_pop(dest, limit) {
                // Another thread took what was visible a moment ago.
                Steal::Empty => Steal::Retry,
                outcome => outcome,
            },
            Steal::Empty => Steal::Empty,
            Steal::Retry => Steal::Retry,
        }
    }

    /// Returns the number of items that thieves can see at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.index().count() as usize
    }

    /// Whether thieves could see nothing at some moment during the call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Returns what thieves can see, when there is nothing more to share.
fn visible_items(index: Index) -> Steal<usize> {
    match index.count() {
        0 => Steal::Empty,
        count => Steal::Success(count as usize),
    }
}

impl<T: Word> Stealer for SplitStealer<T> {
    type Item = T;
    type Worker = Split<T>;

    forward_stealer_methods!();

    fn force_steal(&self, dest: &Split<T>, limit: usize) -> Steal<T> {
        self.force_steal(dest, limit)
    }
}

impl<T: Word> Clone for SplitStealer<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T: Word> fmt::Debug for SplitStealer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitStealer")
            .field("index", &self.shared.index())
            .finish_non_exhaustive()
    }
}
