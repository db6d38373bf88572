//! The thieves' end of a [`Ring`]. The invariants and orderings are those of `ring.rs`.

use core::fmt;
use core::ptr::{self, NonNull};

use stealyard_sync::Arc;
use stealyard_sync::asymmetric;
use stealyard_sync::atomic::Ordering;

use super::Ring;
use super::claim::{ClaimWord, MAX_CLAIM};
use super::shared::RingShared;
use crate::steal::Steal;
use crate::word::Word;
use crate::worker::{Stealer, forward_stealer_methods};

/// The thieves' end of a [`Ring`].
pub struct RingStealer<T: Word> {
    shared: Arc<RingShared<T>>,
}

impl<T: Word> RingStealer<T> {
    pub(super) fn new(shared: Arc<RingShared<T>>) -> Self {
        Self { shared }
    }

    /// Takes the oldest visible item.
    pub fn steal(&self) -> Steal<T> {
        let shared = &*self.shared;
        let Some((head, _)) = shared.view() else {
            return Steal::Empty;
        };
        let word = shared.read(head);
        if shared.claim(head, 1) {
            // SAFETY: 1. the word came from `push`; 2. the claim made it this thread's alone (R4).
            Steal::Success(unsafe { T::from_word(word) })
        } else {
            Steal::Retry
        }
    }

    /// Moves half of the visible items, rounded up, to the back of `dest`, in order and with one
    /// claim. Moves at most `limit` items and no more than fit. Returns how many were moved.
    ///
    /// Returns `Empty` if `limit` is zero, if `dest` is full, or if `dest` is the owner's end of
    /// this very queue.
    pub fn steal_batch(&self, dest: &Ring<T>, limit: usize) -> Steal<usize> {
        self.claim_batch(dest, limit, 0).map(|(_, moved)| moved)
    }

    /// Does the same as [`steal_batch`](Self::steal_batch), but returns the oldest item of the
    /// batch; the others go to `dest`.
    pub fn steal_batch_and_pop(&self, dest: &Ring<T>, limit: usize) -> Steal<T> {
        match self.claim_batch(dest, limit, 1) {
            Steal::Success((Some(word), _)) => {
                // SAFETY: 1. the word came from `push`; 2. `claim_batch` claimed it and put it
                // nowhere else.
                Steal::Success(unsafe { T::from_word(word) })
            }
            Steal::Success((None, _)) | Steal::Empty => Steal::Empty,
            Steal::Retry => Steal::Retry,
        }
    }

    /// Does the same as [`steal_batch_and_pop`](Self::steal_batch_and_pop). If nothing is visible,
    /// takes what the owner has claimed for itself and not popped yet: up to 7 items, which would
    /// otherwise wait until the owner is done with its current task.
    ///
    /// This costs a full fence without membarrier. With it, it costs a system call that interrupts
    /// every core which runs this process. So it is for a thief that is about to park.
    pub fn force_steal(&self, dest: &Ring<T>, limit: usize) -> Steal<T> {
        match self.steal_batch_and_pop(dest, limit) {
            Steal::Empty => self.revoke(dest, limit),
            found => found,
        }
    }

    /// Claims a batch. The first `keep` items (zero or one) go to the caller, the others to `dest`.
    fn claim_batch(
        &self,
        dest: &Ring<T>,
        limit: usize,
        keep: usize,
    ) -> Steal<(Option<NonNull<()>>, usize)> {
        let shared = &*self.shared;
        if self.is_stealer_of(dest) {
            return Steal::Empty;
        }
        let Some((head, visible)) = shared.view() else {
            return Steal::Empty;
        };
        let wanted = visible.div_ceil(2).min(limit);
        let dest_tail = dest.shared.owner_tail();
        let count = wanted.min(dest.room_for(dest_tail, wanted) + keep);
        if count == 0 {
            return Steal::Empty;
        }
        let first = (keep == 1).then(|| shared.read(head));
        for offset in keep..count {
            let word = shared.read(head.wrapping_add(offset as u64));
            dest.shared
                .write(dest_tail.wrapping_add((offset - keep) as u64), word);
        }
        if !shared.claim(head, count) {
            // What was written beyond the tail of `dest` belongs to no one, and will be
            // overwritten.
            return Steal::Retry;
        }
        dest.publish(dest_tail, count - keep);
        Steal::Success((first, count - keep))
    }

    /// Takes what remains of the owner's claim, at most `limit` items and no more than fit (R5).
    /// The oldest goes to the caller, the others to `dest`.
    #[cold]
    fn revoke(&self, dest: &Ring<T>, limit: usize) -> Steal<T> {
        let shared = &*self.shared;
        if self.is_stealer_of(dest) {
            return Steal::Empty;
        }
        // Ordering: Acquire (RO7); the cursor and the items of this claim are visible.
        let seen = ClaimWord(shared.claim_word().load(Ordering::Acquire));
        // Ordering: Relaxed; not older than the claim (RO7), and looked at again after the barrier.
        let cursor = shared.cursor().load(Ordering::Relaxed);
        let remaining = seen.remaining(cursor);
        let end = cursor.wrapping_add(remaining);
        if limit == 0 || seen.untaken(remaining) == 0 {
            return Steal::Empty;
        }
        let mut words = [NonNull::dangling(); MAX_CLAIM as usize];
        for (bit, word) in words.iter_mut().enumerate().take(remaining as usize) {
            *word = shared.read(end.wrapping_sub(1 + bit as u64));
        }
        if !self.contest(seen) {
            return Steal::Retry;
        }
        let dest_tail = dest.shared.owner_tail();
        let max = limit.min(dest.room_for(dest_tail, remaining as usize) + 1);
        let Some(bits) = self.take_untaken(seen, max) else {
            return Steal::Retry;
        };
        let oldest = bits.ilog2();
        let rest = (0..oldest).rev().filter(|bit| bits & (1 << bit) != 0);
        let mut moved = 0;
        for bit in rest {
            dest.shared
                .write(dest_tail.wrapping_add(moved), words[bit as usize]);
            moved += 1;
        }
        dest.publish(dest_tail, moved as usize);
        // SAFETY: 1. the word came from `push`; 2. its bit is this thread's, so no other thread has
        // the item (R5).
        Steal::Success(unsafe { T::from_word(words[oldest as usize]) })
    }

    /// Marks the claim as contested, unless another thief has done so. Returns `false` if the claim
    /// is over.
    fn contest(&self, seen: ClaimWord) -> bool {
        if !seen.is_contested() {
            // Ordering: Relaxed; the barrier below orders it before the cursor is looked at again.
            let marked = self.shared.claim_word().compare_exchange(
                seen.0,
                seen.contested().0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if let Err(now) = marked
                && !(ClaimWord(now).is_contested() && ClaimWord(now).same_claim(seen))
            {
                return false;
            }
        }
        // Ordering: a heavy barrier (RO11); afterwards either the owner sees that the claim is
        // contested, or this thread sees how far the owner's cursor has moved.
        asymmetric::heavy();
        true
    }

    /// Sets up to `max` bits of a contested claim, from its end on, of positions that the cursor
    /// has not passed. Returns the bits, or `None` if there are none left.
    fn take_untaken(&self, seen: ClaimWord, max: usize) -> Option<u64> {
        let shared = &*self.shared;
        // Ordering: Relaxed; after the barrier (RO11), the cursor is past everything that the owner
        // took without seeing the mark.
        let remaining = seen.remaining(shared.cursor().load(Ordering::Relaxed));
        // Ordering: Relaxed; the exchange below checks it.
        let mut now = ClaimWord(shared.claim_word().load(Ordering::Relaxed));
        loop {
            if !now.same_claim(seen) || now.untaken(remaining) == 0 {
                return None;
            }
            let bits = lowest_bits(now.untaken(remaining), max);
            // Ordering: Release (RO8); the slots have been read before the owner reuses them.
            // Unmodelled: see its partner RO9, the owner's load of a contested word.
            let set = shared.claim_word().compare_exchange(
                now.0,
                now.with_bits(bits).0,
                Ordering::Release,
                Ordering::Relaxed,
            );
            match set {
                Ok(_) => return Some(bits),
                Err(changed) => now = ClaimWord(changed),
            }
        }
    }

    fn is_stealer_of(&self, ring: &Ring<T>) -> bool {
        ptr::eq(&raw const *self.shared, &raw const *ring.shared)
    }

    /// Returns the number of items that could be stolen at this moment, without force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.visible()
    }

    /// Whether there was nothing to steal, without force, at some moment during the call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.view().is_none()
    }
}

/// Returns the `count` lowest bits that are set in `bits`.
fn lowest_bits(bits: u64, count: usize) -> u64 {
    let mut rest = bits;
    for _ in 0..count {
        rest &= rest.wrapping_sub(1);
    }
    bits & !rest
}

impl<T: Word> Stealer for RingStealer<T> {
    type Item = T;
    type Worker = Ring<T>;

    forward_stealer_methods!();

    fn force_steal(&self, dest: &Ring<T>, limit: usize) -> Steal<T> {
        self.force_steal(dest, limit)
    }
}

impl<T: Word> Clone for RingStealer<T> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl<T: Word> fmt::Debug for RingStealer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingStealer")
            .field("len", &self.len())
            .finish()
    }
}
