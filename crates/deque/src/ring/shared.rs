//! The state that the two ends of a [`Ring`](crate::Ring) share. The invariants and orderings are
//! those of `ring.rs`.

use core::iter;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use stealyard_sync::CachePadded;
use stealyard_sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::claim::ClaimWord;
use crate::batch::drop_all;
use crate::word::{Items, Word};

pub(super) struct RingShared<T: Word> {
    /// The oldest visible item's position. Written by the thread that takes it.
    pub(super) head: CachePadded<AtomicU64>,
    /// One past the newest item's position. Written by the owner, read by thieves.
    pub(super) tail: CachePadded<AtomicU64>,
    /// The owner's claim. Thieves read its cache line only when they revoke a claim.
    owner: CachePadded<OwnerState>,
    /// The slots; their number is a power of two.
    slots: Box<[AtomicPtr<()>]>,
    items: Items<T>,
}

struct OwnerState {
    /// The position that the owner pops next, if it is before the claim's end. No item is below it.
    /// Written by the owner.
    cursor: AtomicU64,
    /// A [`ClaimWord`]. Written by the owner for a new claim, and by both sides while it is
    /// contested.
    claim: AtomicU64,
}

impl<T: Word> RingShared<T> {
    pub(super) fn new(capacity: usize, position: u64) -> Self {
        debug_assert!(capacity.is_power_of_two(), "{capacity} slots");
        Self {
            head: CachePadded::new(AtomicU64::new(position)),
            tail: CachePadded::new(AtomicU64::new(position)),
            owner: CachePadded::new(OwnerState {
                cursor: AtomicU64::new(position),
                claim: AtomicU64::new(ClaimWord::fresh(position).0),
            }),
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

    /// Returns the position that the owner pops next.
    #[inline]
    pub(super) fn cursor(&self) -> &AtomicU64 {
        &self.owner.cursor
    }

    /// Returns the word that describes the owner's claim.
    #[inline]
    pub(super) fn claim_word(&self) -> &AtomicU64 {
        &self.owner.claim
    }

    /// Returns the tail, for the owner.
    #[inline]
    pub(super) fn owner_tail(&self) -> u64 {
        // Ordering: Relaxed; only the owner writes it (R3).
        self.tail.load(Ordering::Relaxed)
    }

    /// Returns the cursor, for the owner.
    #[inline]
    pub(super) fn owner_cursor(&self) -> u64 {
        // Ordering: Relaxed; only the owner writes it (R3).
        self.owner.cursor.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn set_cursor(&self, cursor: u64) {
        // Ordering: Relaxed; a thief reads it after RO7 (its load of the claim's word) or after its
        // barrier (RO11), and either gives the thief what it needs.
        self.owner.cursor.store(cursor, Ordering::Relaxed);
    }

    /// Returns how many items fit between the owner's `tail` and what its cursor protects.
    #[inline]
    pub(super) fn room_above_cursor(&self, tail: u64) -> usize {
        let used = tail.wrapping_sub(self.owner_cursor()) as usize;
        debug_assert!(used <= self.capacity(), "R1: {used} slots are in use");
        self.capacity() - used
    }

    /// Returns the oldest visible position and the number of items from there on. This is exact for
    /// the owner, except that thieves may have taken some items since.
    #[inline]
    pub(super) fn owner_view(&self) -> (u64, usize) {
        // Ordering: Acquire (RO5); the readers of the slots below it have finished with them.
        // Unmodelled: without it, a reader's load would have to return a value that is stored later
        // because of that very load (load buffering), which loom does not explore.
        let head = self.head.load(Ordering::Acquire);
        let visible = self.owner_tail().wrapping_sub(head) as usize;
        debug_assert!(
            visible <= self.capacity(),
            "R1: {visible} items are visible"
        );
        (head, visible)
    }

    /// Returns the oldest visible position and the number of items from there on, as a thief sees
    /// them; `None` if there are no items.
    pub(super) fn view(&self) -> Option<(u64, usize)> {
        // Ordering: Acquire (RO4); the tail below is at least the one under which this head was
        // taken. So R1 (order of positions) holds between the two, and "empty" was true when the
        // tail was read.
        let head = self.head.load(Ordering::Acquire);
        // Ordering: Acquire (RO2); the items up to it are visible.
        let tail = self.tail.load(Ordering::Acquire);
        let visible = tail.wrapping_sub(head);
        debug_assert!(visible < 1 << 63, "R1: tail {tail} behind head {head}");
        // More items than fit mean that `head` is from a time long before `tail`. Then the claim
        // will fail.
        let visible = visible.min(self.slots.len() as u64);
        (visible > 0).then_some((head, visible as usize))
    }

    /// Moves `head` by `count`. Returns whether the items in between are now the caller's (R4).
    #[inline]
    pub(super) fn claim(&self, head: u64, count: usize) -> bool {
        let next = head.wrapping_add(count as u64);
        // Ordering: Release on success (RO3), for the thieves' RO4 and the owner's RO5. Relaxed on
        // failure; the caller starts again or gives up.
        self.head
            .compare_exchange(head, next, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    #[inline]
    fn slot(&self, position: u64) -> &AtomicPtr<()> {
        let index = position as usize & (self.slots.len() - 1);
        // SAFETY: 1. the length is a power of two, so the mask keeps the index below it.
        unsafe { self.slots.get_unchecked(index) }
    }

    /// Writes a slot. Only the owner does (R3).
    #[inline]
    pub(super) fn write(&self, position: u64, word: NonNull<()>) {
        // Ordering: Relaxed; published by the store of `tail` (RO1) or of the claim's word (RO6).
        self.slot(position).store(word.as_ptr(), Ordering::Relaxed);
    }

    /// Returns the word in the slot of `position`. It is the item of that position only if a claim
    /// from there succeeds afterwards. The slot has been written before: the caller has seen a tail
    /// or a claim beyond it.
    #[inline]
    pub(super) fn read(&self, position: u64) -> NonNull<()> {
        // Ordering: Relaxed; the thief's load of `tail` (RO2) or of the claim's word (RO7) made the
        // item visible.
        let word = self.slot(position).load(Ordering::Relaxed);
        debug_assert!(!word.is_null(), "nothing was ever at position {position}");
        // SAFETY: 1. only `write` writes slots, never with null, and this slot was written before,
        // as the caller has seen.
        unsafe { NonNull::new_unchecked(word) }
    }

    /// Returns the number of items that thieves can see.
    pub(super) fn visible(&self) -> usize {
        self.view().map_or(0, |(_, visible)| visible)
    }

    /// Returns the number of items that the owner has claimed and no thread has taken.
    pub(super) fn claimed(&self) -> usize {
        // Ordering: Relaxed on both; a moment's view.
        let word = ClaimWord(self.owner.claim.load(Ordering::Relaxed));
        let cursor = self.owner.cursor.load(Ordering::Relaxed);
        word.untaken(word.remaining(cursor)).count_ones() as usize
    }
}

impl<T: Word> Drop for RingShared<T> {
    fn drop(&mut self) {
        // The untaken items of the claim are those before the first that a thief took.
        let first = self.owner_cursor();
        let claimed = (0..self.claimed() as u64).map(|offset| first.wrapping_add(offset));
        // Ordering: Relaxed; this is the last handle, and the reference count orders before this
        // that the others were dropped.
        let mut head = self.head.load(Ordering::Relaxed);
        let visible = iter::from_fn(|| {
            let position = head;
            head = head.wrapping_add(1);
            (position != self.owner_tail()).then_some(position)
        });
        drop_all(claimed.chain(visible.fuse()).map(|position| {
            let word = self.read(position);
            // SAFETY: 1. the word came from `push`; 2. no other thread can take it any more, and
            // each position is visited once.
            unsafe { T::from_word(word) }
        }));
    }
}
