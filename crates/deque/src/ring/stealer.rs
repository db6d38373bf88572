//! The thieves' end of a ring. The invariants and orderings are those of `ring.rs`.

use core::fmt;
use core::ptr::{self, NonNull};

use stealyard_sync::Arc;
use stealyard_sync::asymmetric;
use stealyard_sync::atomic::Ordering;

use super::Ring;
use super::claim::{ClaimWord, MAX_CLAIM};
use super::shared::Shared;
use crate::steal::Steal;
use crate::word::Word;
use crate::worker::Stealer;

/// The thieves' end of a [`Ring`].
pub struct RingStealer<T: Word> {
    shared: Arc<Shared<T>>,
}

impl<T: Word> RingStealer<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
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
            // SAFETY: 1. the word came from `push`; 2. the claim made it ours alone (R4).
            Steal::Success(unsafe { T::from_word(word) })
        } else {
            Steal::Retry
        }
    }

    /// Moves half of the visible items (rounded up), at most `limit` and no more than fit, to the back
    /// of `to`, keeping their order, with one claim. Gives the number moved.
    ///
    /// Stealing from `to`'s own queue moves nothing and gives `Empty`, as does a `limit` of zero or a
    /// full `to`.
    pub fn steal_batch(&self, to: &Ring<T>, limit: usize) -> Steal<usize> {
        self.grab(to, limit, 0).map(|(_, moved)| moved)
    }

    /// As [`steal_batch`](Self::steal_batch), but gives the oldest item of the batch to the caller; the
    /// others go to `to`.
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

    /// As [`steal_batch_and_pop`](Self::steal_batch_and_pop), and if nothing is visible, takes what the
    /// owner has claimed for itself and not popped yet: up to 7 items, which would otherwise wait for
    /// the end of what the owner runs now.
    ///
    /// Without membarrier this costs a full fence, with it a system call that interrupts every core
    /// which runs this process: for a thief that is about to park.
    pub fn force_steal(&self, to: &Ring<T>, limit: usize) -> Steal<T> {
        match self.steal_batch_and_pop(to, limit) {
            Steal::Empty => self.revoke(to, limit),
            found => found,
        }
    }

    /// Claims a batch: the first `keep` (zero or one) go to the caller, the rest to `to`.
    fn grab(&self, to: &Ring<T>, limit: usize, keep: usize) -> Steal<(Option<NonNull<()>>, usize)> {
        let shared = &*self.shared;
        if self.is_of(to) {
            return Steal::Empty;
        }
        let Some((head, visible)) = shared.view() else {
            return Steal::Empty;
        };
        let wanted = visible.div_ceil(2).min(limit);
        let to_tail = to.shared.own_tail();
        let count = wanted.min(to.room_for(to_tail, wanted) + keep);
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
        to.publish(to_tail, count - keep);
        Steal::Success((first, count - keep))
    }

    /// Takes what is left of the owner's claim, at most `limit` and no more than fit (R5): the oldest of
    /// it goes to the caller, the rest to `to`.
    #[cold]
    fn revoke(&self, to: &Ring<T>, limit: usize) -> Steal<T> {
        let shared = &*self.shared;
        if self.is_of(to) {
            return Steal::Empty;
        }
        // Ordering: Acquire (O7); the cursor and the items of this claim are visible.
        let seen = ClaimWord(shared.claim_word().load(Ordering::Acquire));
        // Ordering: Relaxed; not older than the claim (O7), and looked at again after the barrier.
        let cursor = shared.cursor().load(Ordering::Relaxed);
        let left = seen.left(cursor);
        let end = cursor.wrapping_add(left);
        if limit == 0 || seen.free(left) == 0 {
            return Steal::Empty;
        }
        let mut words = [NonNull::dangling(); MAX_CLAIM as usize];
        for (bit, word) in words.iter_mut().enumerate().take(left as usize) {
            *word = shared.read(end.wrapping_sub(1 + bit as u64));
        }
        if !self.contest(seen) {
            return Steal::Retry;
        }
        let to_tail = to.shared.own_tail();
        let most = limit.min(to.room_for(to_tail, left as usize) + 1);
        let Some(bits) = self.take_free(seen, most) else {
            return Steal::Retry;
        };
        let oldest = bits.ilog2();
        let rest = (0..oldest).rev().filter(|bit| bits & (1 << bit) != 0);
        let mut moved = 0;
        for bit in rest {
            to.shared
                .write(to_tail.wrapping_add(moved), words[bit as usize]);
            moved += 1;
        }
        to.publish(to_tail, moved as usize);
        // SAFETY: 1. the word came from `push`; 2. its bit is ours: nobody else has the item (R5).
        Steal::Success(unsafe { T::from_word(words[oldest as usize]) })
    }

    /// Marks the claim as contested, unless another thief has; false if it is over.
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
        // Ordering: a heavy barrier (O11); an owner that has not seen the mark has its cursor seen.
        asymmetric::heavy();
        true
    }

    /// Sets up to `most` bits of a contested claim, from its end, of positions that the cursor has not
    /// passed; none if there are none left.
    fn take_free(&self, seen: ClaimWord, most: usize) -> Option<u64> {
        let shared = &*self.shared;
        // Ordering: Relaxed; after the barrier (O11) it is past everything that the owner took unmarked.
        let left = seen.left(shared.cursor().load(Ordering::Relaxed));
        // Ordering: Relaxed; the exchange below checks it.
        let mut now = ClaimWord(shared.claim_word().load(Ordering::Relaxed));
        loop {
            if !now.same_claim(seen) || now.free(left) == 0 {
                return None;
            }
            let bits = lowest(now.free(left), most);
            // Ordering: Release (O8); the slots have been read before the owner reuses them. Unmodelled:
            // see its partner O9.
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

    fn is_of(&self, ring: &Ring<T>) -> bool {
        ptr::eq(&raw const *self.shared, &raw const *ring.shared)
    }

    /// How many items could be stolen at this moment, without force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.visible()
    }

    /// True if there was nothing to steal, without force, at some moment during the call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.view().is_none()
    }
}

/// The `count` lowest bits that are set in `bits`.
fn lowest(bits: u64, count: usize) -> u64 {
    let mut rest = bits;
    for _ in 0..count {
        rest &= rest.wrapping_sub(1);
    }
    bits & !rest
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

    fn force_steal(&self, to: &Ring<T>, limit: usize) -> Steal<T> {
        self.force_steal(to, limit)
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
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
