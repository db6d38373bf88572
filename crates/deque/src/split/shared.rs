//! The state that the two ends of a [`Split`](crate::Split) share. The invariants and orderings are
//! those of `split.rs`.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use stealyard_sync::CachePadded;
use stealyard_sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::index::Index;
use crate::batch::drop_all;
use crate::word::{Items, Word};

/// The value of the limit while a thief wants the owner's attention. It is above every position.
pub(super) const ASKED: u64 = u64::MAX;

pub(super) struct SplitShared<T: Word> {
    /// One past the newest item's position. The owner writes it at each push and pop; thieves read
    /// it only in a force.
    bottom: CachePadded<AtomicU64>,
    /// What the owner reads in each push and pop, and thieves write when they find nothing.
    signals: CachePadded<Signals>,
    /// An [`Index`]. Thieves exchange it at each steal, the owner when it moves the split.
    index: CachePadded<AtomicU64>,
    /// The slots; their number is a power of two. The pointer and the length are never written.
    slots: Box<[AtomicPtr<()>]>,
    items: Items<T>,
}

struct Signals {
    /// The owner pops nothing below it without a look at the index. It is `ASKED` or the split.
    limit: AtomicU64,
    /// The owner pushes nothing at or above it without a look at the index. It is zero if a thief
    /// asked, else a position at which there was certainly room.
    ceiling: AtomicU64,
}

impl<T: Word> SplitShared<T> {
    pub(super) fn new(capacity: usize, tag: u32, position: u64) -> Self {
        debug_assert!(capacity.is_power_of_two(), "{capacity} slots");
        debug_assert!(position > 0, "a pop looks one position below");
        Self {
            bottom: CachePadded::new(AtomicU64::new(position)),
            signals: CachePadded::new(Signals {
                limit: AtomicU64::new(position),
                ceiling: AtomicU64::new(position + capacity as u64),
            }),
            index: CachePadded::new(AtomicU64::new(Index::new(tag, position, 0).bits())),
            slots: (0..capacity)
                .map(|_| AtomicPtr::new(ptr::null_mut()))
                .collect(),
            items: PhantomData,
        }
    }

    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(super) fn bottom(&self) -> &AtomicU64 {
        &self.bottom
    }

    #[inline]
    pub(super) fn limit(&self) -> &AtomicU64 {
        &self.signals.limit
    }

    #[inline]
    pub(super) fn ceiling(&self) -> &AtomicU64 {
        &self.signals.ceiling
    }

    /// Returns the index, and makes visible what its writer had done before. To the owner that is
    /// that the threads which took the items before `top` have read their slots; to a thief it is
    /// the shared items.
    #[inline]
    pub(super) fn index(&self) -> Index {
        // Ordering: Acquire (SO4); a thief sees the items that the owner (SO2) or a force (SO3)
        // shared.
        Index::from_bits(self.index.load(Ordering::Acquire))
    }

    /// Takes the `taken` oldest items for a thief, if the index is still `seen`.
    #[inline]
    pub(super) fn take(&self, seen: Index, taken: u64) -> bool {
        let (old, new) = (seen.bits(), seen.stolen(taken).bits());
        // Ordering: Release on success (SO5); the slots have been read when the owner finds them
        // free. Relaxed on failure; nothing was read that counts. Unmodelled: to do harm, the
        // thief's load of a slot would have to return a word that was stored later because of this
        // exchange (load buffering), which loom does not explore.
        self.index
            .compare_exchange(old, new, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Shares private items for a thief, so that `count` items are shared, if the index is still
    /// `seen`.
    pub(super) fn raise(&self, seen: Index, count: u64) -> bool {
        let (old, new) = (seen.bits(), seen.forced(count).bits());
        // Ordering: Release on success (SO3); it passes on the items that the load of `bottom`
        // brought (SO1). Relaxed on failure; nothing follows from it.
        self.index
            .compare_exchange(old, new, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Makes `top..split` the shared part for the owner, if the index is still `seen`. The caller
    /// ensures that something is shared afterwards, or that the queue is empty (SP7).
    ///
    /// Afterwards the owner holds what is above `split`. Its limit is `split` and its ceiling is
    /// right for `top`, or they tell of a request that is newer than this, or not answered (SP4,
    /// SP7). If the index has changed, both signals ask for another attempt.
    pub(super) fn settle(&self, seen: Index, top: u64, split: u64) -> bool {
        debug_assert!(top <= split, "{top}..{split} after {seen:?}");
        // Ordering: Relaxed; a force whose signal this overwrites read the index before the
        // exchange below, and will fail (SP4). A force that reads the index afterwards writes the
        // limit afterwards, by SO2 and SO4.
        self.limit().store(split, Ordering::Relaxed);
        // With nothing to answer with, a request stands in the ceiling. That is not too high for a
        // later `top`.
        if split > top {
            // Ordering: Relaxed; as above, for any request (SP7).
            self.ceiling()
                .store(top + self.capacity() as u64, Ordering::Relaxed);
        }
        let (old, new) = (seen.bits(), seen.moved(top, split - top).bits());
        // Ordering: Release on success (SO2); the items in `top..split`, the signals above, and
        // `bottom` as it is now. Relaxed on failure; the caller looks again.
        let settled = self
            .index
            .compare_exchange(old, new, Ordering::Release, Ordering::Relaxed)
            .is_ok();
        if !settled {
            // Ordering: Relaxed; raising the limit is always safe, and keeps SP3 (the limit covers
            // the split) until the next attempt.
            self.limit().store(ASKED, Ordering::Relaxed);
            // Ordering: Relaxed; the same write as a thief's request, so that no request is lost
            // (SP7).
            self.ceiling().store(0, Ordering::Relaxed);
        }
        settled
    }

    /// Asks, for a thief, that something be shared: the owner's next push or pop takes its slow
    /// path, and answers (SP7). What `force` needs beyond that is in its heavy barrier (SO6).
    pub(super) fn ask(&self) {
        // Each signal is read first, so that thieves in search of work do not take the cache line
        // from a busy owner.
        // Ordering: Relaxed; `ASKED` stands until a settle whose exchange is later than this
        // thief's look at the index.
        if self.limit().load(Ordering::Relaxed) != ASKED {
            // Ordering: Relaxed; as above.
            self.limit().store(ASKED, Ordering::Relaxed);
        }
        // Ordering: Relaxed; as above. Either signal can be set while the other is not.
        if self.ceiling().load(Ordering::Relaxed) != 0 {
            // Ordering: Relaxed; as above. It is an exchange, as in `push_slow`: of the two
            // exchanges, the later sees the other.
            self.ceiling().swap(0, Ordering::Relaxed);
        }
    }

    #[inline]
    fn slot(&self, position: u64) -> &AtomicPtr<()> {
        let slot = position as usize & (self.slots.len() - 1);
        // SAFETY: 1. the number of slots is a power of two, so it is greater than any number masked
        // by it minus one.
        unsafe { self.slots.get_unchecked(slot) }
    }

    #[inline]
    pub(super) fn write(&self, position: u64, word: NonNull<()>) {
        // Ordering: Relaxed; published by the store of `bottom` (SO1) or the exchange of the index
        // (SO2).
        self.slot(position).store(word.as_ptr(), Ordering::Relaxed);
    }

    /// Returns the word in the slot of `position`. It is the item of that position if an item is
    /// there and the caller owns it; otherwise it may be anything.
    #[inline]
    pub(super) fn read(&self, position: u64) -> *mut () {
        // Ordering: Relaxed; a thief's load of the index (SO4) made the item visible, and the owner
        // wrote it itself.
        self.slot(position).load(Ordering::Relaxed)
    }

    /// Turns a word back into its item.
    ///
    /// # Safety
    /// 1. `word` was [read](Self::read) from a position that had been written.
    /// 2. The caller has claimed that position since, or already held it, and brings each item back
    ///    once.
    #[inline]
    pub(super) unsafe fn item(word: *mut ()) -> T {
        debug_assert!(!word.is_null(), "an item's position has been written");
        // SAFETY: 1. by obligation 1: no word is null.
        let word = unsafe { NonNull::new_unchecked(word) };
        // SAFETY: 1. by obligation 1, the word came from `into_word`; 2. by obligation 2.
        unsafe { T::from_word(word) }
    }
}

impl<T: Word> Drop for SplitShared<T> {
    fn drop(&mut self) {
        // Ordering: Relaxed; this is the last handle, and the reference count orders before this
        // what the other handles did.
        let bottom = self.bottom().load(Ordering::Relaxed);
        let top = self.index().top_before(bottom);
        drop_all((top..bottom).map(|position| {
            let word = self.read(position);
            // SAFETY: 1. `top..bottom` are written (SP1); 2. no other handle is left, and each
            // position is visited once.
            unsafe { Self::item(word) }
        }));
    }
}
