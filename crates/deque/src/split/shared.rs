//! What the two ends of a split deque share. The invariants and orderings are those of `split.rs`.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use stealyard_sync::CachePadded;
use stealyard_sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::index::Index;
use crate::batch::drop_all;
use crate::word::{Items, Word};

/// The limit while a thief wants the owner's attention: above every position.
pub(super) const ASKED: u64 = u64::MAX;

pub(super) struct Shared<T: Word> {
    /// One past the newest item's position. Written by the owner at each push and pop; read by thieves
    /// only when they force.
    bottom: CachePadded<AtomicU64>,
    /// What the owner looks at in each push and pop, and thieves write when they find nothing.
    signals: CachePadded<Signals>,
    /// An [`Index`]. Exchanged by thieves at each steal, by the owner when it moves the split.
    index: CachePadded<AtomicU64>,
    /// A power of two of them. The pointer and the length are never written.
    slots: Box<[AtomicPtr<()>]>,
    items: Items<T>,
}

struct Signals {
    /// The owner pops nothing below it without a look at the index. `ASKED`, or the split.
    limit: AtomicU64,
    /// The owner pushes nothing at or above it without a look at the index. Zero if a thief asked, else
    /// a position at which there was room for certain.
    ceiling: AtomicU64,
}

impl<T: Word> Shared<T> {
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

    /// The index, and with it what its writer had done before: to the owner, that those who took the
    /// items before `top` have read their slots; to a thief, the shared items.
    #[inline]
    pub(super) fn index(&self) -> Index {
        // Ordering: Acquire (SO4); a thief sees the items that the owner (SO2) or a force (SO3) shared.
        Index::from_bits(self.index.load(Ordering::Acquire))
    }

    /// A thief takes the `taken` oldest items, if the index is still `seen`.
    #[inline]
    pub(super) fn take(&self, seen: Index, taken: u64) -> bool {
        let (old, new) = (seen.bits(), seen.stolen(taken).bits());
        // Ordering: Release on success (SO5): the slots have been read when the owner finds them free.
        // Relaxed on failure: nothing was read that counts.
        // Unmodelled: to do harm, the thief's load of a slot would have to return a word stored later on
        // account of this exchange (load buffering), which loom does not explore.
        self.index
            .compare_exchange(old, new, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// A thief shares private items so that `count` are shared, if the index is still `seen`.
    pub(super) fn raise(&self, seen: Index, count: u64) -> bool {
        let (old, new) = (seen.bits(), seen.forced(count).bits());
        // Ordering: Release on success (SO3): passes on the items that the load of `bottom` brought (SO1).
        // Relaxed on failure: nothing follows from it.
        self.index
            .compare_exchange(old, new, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// The owner makes `top..split` the shared part, if the index is still `seen`. Afterwards the owner
    /// holds what is above; its limit is `split` and its ceiling is right for `top`, or they tell of a request newer
    /// than that, or not answered (SP4, SP7). If the index has changed, both signals ask for another attempt.
    ///
    /// The caller sees to it that something is shared afterwards, or the queue is empty (SP7).
    pub(super) fn settle(&self, seen: Index, top: u64, split: u64) -> bool {
        debug_assert!(top <= split, "{top}..{split} after {seen:?}");
        // Ordering: Relaxed; a force that this overwrites read the index before the exchange below, and
        // will fail (SP4); one that reads it afterwards writes the limit afterwards, by SO2 and SO4.
        self.limit().store(split, Ordering::Relaxed);
        // With nothing to answer with, a request stands in the ceiling, which is not too high for a later `top`.
        if split > top {
            // Ordering: Relaxed; as above, of any request (SP7).
            self.ceiling()
                .store(top + self.capacity() as u64, Ordering::Relaxed);
        }
        let (old, new) = (seen.bits(), seen.moved(top, split - top).bits());
        // Ordering: Release on success (SO2): the items in `top..split`, the signals above, and `bottom` as
        // it is now. Relaxed on failure: the caller looks again.
        let settled = self
            .index
            .compare_exchange(old, new, Ordering::Release, Ordering::Relaxed)
            .is_ok();
        if !settled {
            // Ordering: Relaxed; raising it is always safe, and keeps SP3 until the next attempt.
            self.limit().store(ASKED, Ordering::Relaxed);
            // Ordering: Relaxed; as a thief would write it: no request is lost (SP7).
            self.ceiling().store(0, Ordering::Relaxed);
        }
        settled
    }

    /// A thief wants something to be shared: the owner's next push or pop goes its slow way, and answers (SP7).
    /// What `force` needs beyond that is in its heavy barrier (SO6).
    pub(super) fn ask(&self) {
        // Each is looked at first, so that thieves in search of work do not take the line from a busy owner.
        // Ordering: Relaxed; it stands until a settle whose exchange is later than this thief's look at the index.
        if self.limit().load(Ordering::Relaxed) != ASKED {
            // Ordering: Relaxed; as above.
            self.limit().store(ASKED, Ordering::Relaxed);
        }
        // Ordering: Relaxed; as above. It can be set while the limit is not, and the other way round.
        if self.ceiling().load(Ordering::Relaxed) != 0 {
            // Ordering: Relaxed; as above. An exchange, as in `push_slow`: of the two, the later sees the other.
            self.ceiling().swap(0, Ordering::Relaxed);
        }
    }

    #[inline]
    fn slot(&self, position: u64) -> &AtomicPtr<()> {
        let slot = position as usize & (self.slots.len() - 1);
        // SAFETY: 1. the number of slots is a power of two, so it is more than any number masked by it
        // minus one.
        unsafe { self.slots.get_unchecked(slot) }
    }

    #[inline]
    pub(super) fn write(&self, position: u64, word: NonNull<()>) {
        // Ordering: Relaxed; published by the store of `bottom` (SO1) or the exchange of the index (SO2).
        self.slot(position).store(word.as_ptr(), Ordering::Relaxed);
    }

    /// The word in a slot: the item of `position` if it is there and the caller's, else anything.
    #[inline]
    pub(super) fn read(&self, position: u64) -> *mut () {
        // Ordering: Relaxed; for a thief its load of the index (SO4) made the item visible; the owner wrote
        // it itself.
        self.slot(position).load(Ordering::Relaxed)
    }

    /// The item of `position`.
    ///
    /// # Safety
    /// 1. `word` was [read](Self::read) from a position that had been written.
    /// 2. The caller has claimed that position since, or already held it, and brings each item back once.
    #[inline]
    pub(super) unsafe fn item(word: *mut ()) -> T {
        debug_assert!(!word.is_null(), "an item's position has been written");
        // SAFETY: 1. by obligation 1: no word is null.
        let word = unsafe { NonNull::new_unchecked(word) };
        // SAFETY: 1. by obligation 1, the word came from `into_word`; 2. by obligation 2.
        unsafe { T::from_word(word) }
    }
}

impl<T: Word> Drop for Shared<T> {
    fn drop(&mut self) {
        // Ordering: Relaxed; this is the last handle, and what the others did is ordered before by their
        // reference count.
        let bottom = self.bottom().load(Ordering::Relaxed);
        let top = self.index().top_before(bottom);
        drop_all((top..bottom).map(|position| {
            let word = self.read(position);
            // SAFETY: 1. `top..bottom` are written; 2. no other handle is left, and each is visited once.
            unsafe { Self::item(word) }
        }));
    }
}
