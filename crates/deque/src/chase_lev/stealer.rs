//! The thieves' end of a Chase–Lev deque. The invariants and orderings are those of `chase_lev.rs`.

use core::fmt;
use core::marker::PhantomData;

use crossbeam_epoch::Guard;
use stealyard_sync::Arc;

use super::shared::{ChaseLevShared, Snapshot};
use super::{ChaseLev, Discipline, Lifo, MAX_BATCH};
use crate::collector;
use crate::steal::Steal;
use crate::word::Word;
use crate::worker::{MaxSteal, Order, Stealer, forward_stealer_methods};

/// The thieves' end of a [`ChaseLev`].
pub struct ChaseLevStealer<T: Word, D: Discipline = Lifo> {
    pub(super) shared: Arc<ChaseLevShared<T>>,
    pub(super) discipline: PhantomData<fn() -> D>,
}

impl<T: Word, D: Discipline> ChaseLevStealer<T, D> {
    /// Takes the oldest item.
    ///
    /// Lock-free: `Retry` means that another thread took an item meanwhile.
    pub fn steal(&self) -> Steal<T> {
        let guard = collector::pin();
        let stolen = self.shared.steal_word::<D>(&guard);
        // SAFETY: 1. the position was before `bottom`, so it is written (C1); 2. the claim made the
        // item this thread's alone (C3).
        stolen.map(|word| unsafe { ChaseLevShared::item(word) })
    }

    /// Moves half of the items, rounded up, to the back of `dest`, in order. Moves at most 32
    /// items, at most `limit`, and no more than fit. Returns how many were moved.
    ///
    /// With a first-in-first-out owner that is one claim. With a last-in-first-out owner it is one
    /// claim for each item, because the owner takes from the other end without a claim. Then the
    /// batch ends early if another thread comes in between.
    ///
    /// Returns `Empty` if `limit` is zero, if `dest` is full, or if `dest` is the owner's end of
    /// this very queue.
    pub fn steal_batch(&self, dest: &ChaseLev<T, D>, limit: usize) -> Steal<usize> {
        self.claim_batch(dest, limit, 0)
            .map(|(_, moved)| moved as usize)
    }

    /// Does the same as [`steal_batch`](Self::steal_batch), but returns the oldest item of the
    /// batch; the others go to `dest`.
    pub fn steal_batch_and_pop(&self, dest: &ChaseLev<T, D>, limit: usize) -> Steal<T> {
        match self.claim_batch(dest, limit, 1) {
            Steal::Success((Some(word), _)) => {
                // SAFETY: 1. the position was before `bottom`, so it is written (C1);
                // 2. `claim_batch` claimed it and put it nowhere else.
                Steal::Success(unsafe { ChaseLevShared::item(word) })
            }
            Steal::Success((None, _)) | Steal::Empty => Steal::Empty,
            Steal::Retry => Steal::Retry,
        }
    }

    /// Claims a batch. The first `keep` items (zero or one) go to the caller, the others to `dest`.
    fn claim_batch(
        &self,
        dest: &ChaseLev<T, D>,
        limit: usize,
        keep: u64,
    ) -> Steal<(Option<*mut ()>, u64)> {
        if Arc::ptr_eq(&self.shared, &dest.shared) || limit == 0 {
            return Steal::Empty;
        }
        let guard = collector::pin();
        let Some(snapshot) = self.shared.snapshot::<D>() else {
            return Steal::Empty;
        };
        let half = MaxSteal::HalfUpTo(MAX_BATCH)
            .of(snapshot.count as usize)
            .min(limit) as u64;
        let count = half.min(dest.room_for(half).saturating_add(keep));
        if count == 0 {
            return Steal::Empty;
        }
        match D::ORDER {
            Order::Fifo => self.claim_at_once(&snapshot, count, keep, dest, &guard),
            Order::Lifo => self.steal_one_by_one(count, keep, dest, &guard),
        }
    }

    /// Claims all `count` items with one exchange. A FIFO owner claims what it pops, so a claim of
    /// several items that succeeds is a claim of each (C3).
    fn claim_at_once(
        &self,
        snapshot: &Snapshot,
        count: u64,
        keep: u64,
        dest: &ChaseLev<T, D>,
        guard: &Guard,
    ) -> Steal<(Option<*mut ()>, u64)> {
        let buffer = self.shared.current.load(guard);
        let kept = (keep == 1).then(|| buffer.read(snapshot.top));
        for offset in keep..count {
            dest.stage(
                offset - keep,
                buffer.read(snapshot.top.wrapping_add(offset)),
            );
        }
        if !self.shared.claim(snapshot.top, count) {
            // What was staged beyond the bottom of `dest` belongs to no one, and will be
            // overwritten.
            return Steal::Retry;
        }
        dest.publish(count - keep);
        Steal::Success((kept, count - keep))
    }

    /// Claims up to `count` items, one exchange for each. A LIFO owner may pop any item but the
    /// oldest without a claim, so each steal takes the oldest only (C4).
    fn steal_one_by_one(
        &self,
        count: u64,
        keep: u64,
        dest: &ChaseLev<T, D>,
        guard: &Guard,
    ) -> Steal<(Option<*mut ()>, u64)> {
        let first = match self.shared.steal_word::<D>(guard) {
            Steal::Success(word) => word,
            Steal::Empty => return Steal::Empty,
            Steal::Retry => return Steal::Retry,
        };
        let kept = (keep == 1).then_some(first);
        let mut moved = 0;
        if keep == 0 {
            dest.stage(0, first);
            moved = 1;
        }
        while moved + keep < count {
            let Steal::Success(word) = self.shared.steal_word::<D>(guard) else {
                break;
            };
            dest.stage(moved, word);
            moved += 1;
        }
        dest.publish(moved);
        Steal::Success((kept, moved))
    }

    /// Returns the number of items at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared
            .snapshot::<D>()
            .map_or(0, |snapshot| snapshot.count as usize)
    }

    /// Whether there was nothing to steal at some moment during the call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Word, D: Discipline> Stealer for ChaseLevStealer<T, D> {
    type Item = T;
    type Worker = ChaseLev<T, D>;

    forward_stealer_methods!();
}

impl<T: Word, D: Discipline> Clone for ChaseLevStealer<T, D> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            discipline: PhantomData,
        }
    }
}

impl<T: Word, D: Discipline> fmt::Debug for ChaseLevStealer<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaseLevStealer")
            .field("order", &D::ORDER)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
