//! What the two ends of a ring share. The invariants and orderings are those of `ring.rs`.

use core::iter;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use stealyard_sync::CachePadded;
use stealyard_sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::claim::ClaimWord;
use crate::batch::drop_all;
use crate::word::{Items, Word};

pub(super) struct Shared<T: Word> {
    /// The oldest visible item's position. Written by whoever takes.
    pub(super) head: CachePadded<AtomicU64>,
    /// One past the newest item's position. Written by the owner, read by thieves.
    pub(super) tail: CachePadded<AtomicU64>,
    /// What the owner pops next. Its line is read by thieves only when they revoke a claim.
    own: CachePadded<Own>,
    /// A power of two of them.
    slots: Box<[AtomicPtr<()>]>,
    items: Items<T>,
}

struct Own {
    /// The position that the owner pops next, if it is before the claim's end; no item is below it.
    /// Written by the owner.
    cursor: AtomicU64,
    /// A [`ClaimWord`]. Written by the owner for a new claim, by both sides while it is contested.
    claim: AtomicU64,
}

impl<T: Word> Shared<T> {
    pub(super) fn new(capacity: usize, position: u64) -> Self {
        debug_assert!(capacity.is_power_of_two(), "{capacity} slots");
        Self {
            head: CachePadded::new(AtomicU64::new(position)),
            tail: CachePadded::new(AtomicU64::new(position)),
            own: CachePadded::new(Own {
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

    /// The position that the owner pops next.
    #[inline]
    pub(super) fn cursor(&self) -> &AtomicU64 {
        &self.own.cursor
    }

    /// The word that describes the owner's claim.
    #[inline]
    pub(super) fn claim_word(&self) -> &AtomicU64 {
        &self.own.claim
    }

    /// The owner's tail, for the owner.
    #[inline]
    pub(super) fn own_tail(&self) -> u64 {
        // Ordering: Relaxed; only the owner writes it (R3).
        self.tail.load(Ordering::Relaxed)
    }

    /// The owner's cursor, for the owner.
    #[inline]
    pub(super) fn own_cursor(&self) -> u64 {
        // Ordering: Relaxed; only the owner writes it (R3).
        self.own.cursor.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn set_cursor(&self, cursor: u64) {
        // Ordering: Relaxed; a thief reads it after O7 or after its barrier (O11), which give it what
        // it needs.
        self.own.cursor.store(cursor, Ordering::Relaxed);
    }

    /// How many items fit between the owner's `tail` and what its cursor protects.
    #[inline]
    pub(super) fn room_above_cursor(&self, tail: u64) -> usize {
        let used = tail.wrapping_sub(self.own_cursor()) as usize;
        debug_assert!(used <= self.capacity(), "R1: {used} slots are in use");
        self.capacity() - used
    }

    /// The oldest visible position and the number of items from there, exact for the owner, except that
    /// thieves may have taken some since.
    #[inline]
    pub(super) fn own_view(&self) -> (u64, usize) {
        // Ordering: Acquire (O5); the readers of the slots below it have finished with them. Unmodelled:
        // without it a reader's load would have to return a value stored later on account of that very
        // load (load buffering), which loom does not explore.
        let head = self.head.load(Ordering::Acquire);
        let visible = self.own_tail().wrapping_sub(head) as usize;
        debug_assert!(
            visible <= self.capacity(),
            "R1: {visible} items are visible"
        );
        (head, visible)
    }

    /// The oldest visible position and the number of items from there, as a thief sees them; none if
    /// there are none.
    pub(super) fn view(&self) -> Option<(u64, usize)> {
        // Ordering: Acquire (O4); the tail below is at least the one under which this was taken, so
        // that R1 holds between the two, and "empty" was true when the tail was read.
        let head = self.head.load(Ordering::Acquire);
        // Ordering: Acquire (O2); the items up to it are visible.
        let tail = self.tail.load(Ordering::Acquire);
        let visible = tail.wrapping_sub(head);
        debug_assert!(visible < 1 << 63, "R1: tail {tail} behind head {head}");
        // More than fit means that `head` is from a time long before `tail`: the claim will fail.
        let visible = visible.min(self.slots.len() as u64);
        (visible > 0).then_some((head, visible as usize))
    }

    /// Moves `head` by `count`; true if the items in between are now the caller's (R4).
    #[inline]
    pub(super) fn claim(&self, head: u64, count: usize) -> bool {
        let next = head.wrapping_add(count as u64);
        // Ordering: Release (O3) on success, for the thieves' O4 and the owner's O5; Relaxed on
        // failure: the caller starts again or gives up.
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

    /// Writes a slot; only the owner does (R3).
    #[inline]
    pub(super) fn write(&self, position: u64, word: NonNull<()>) {
        // Ordering: Relaxed; published by the store of `tail` (O1) or of the claim's word (O6).
        self.slot(position).store(word.as_ptr(), Ordering::Relaxed);
    }

    /// The word in a slot: the item of `position` only if a claim from there succeeds afterwards. The
    /// slot has been written before: the caller has seen a tail or a claim beyond it.
    #[inline]
    pub(super) fn read(&self, position: u64) -> NonNull<()> {
        // Ordering: Relaxed; the thief's load of `tail` (O2) or of the claim's word (O7) made the item
        // visible.
        let word = self.slot(position).load(Ordering::Relaxed);
        debug_assert!(!word.is_null(), "nothing was ever at position {position}");
        // SAFETY: 1. only `write` writes slots, never null, and this one was written before, as the
        // caller has seen.
        unsafe { NonNull::new_unchecked(word) }
    }

    /// How many items thieves can see.
    pub(super) fn visible(&self) -> usize {
        self.view().map_or(0, |(_, visible)| visible)
    }

    /// How many items the owner has claimed and nobody has taken.
    pub(super) fn claimed(&self) -> usize {
        // Ordering: Relaxed on both; a moment's view.
        let word = ClaimWord(self.own.claim.load(Ordering::Relaxed));
        let cursor = self.own.cursor.load(Ordering::Relaxed);
        word.free(word.left(cursor)).count_ones() as usize
    }
}

impl<T: Word> Drop for Shared<T> {
    fn drop(&mut self) {
        // The claim's items that no thread has taken are those before the first that a thief took.
        let first = self.own_cursor();
        let claimed = (0..self.claimed() as u64).map(|offset| first.wrapping_add(offset));
        // Ordering: Relaxed; this is the last handle, and dropping the others is ordered before by
        // their reference count.
        let mut head = self.head.load(Ordering::Relaxed);
        let visible = iter::from_fn(|| {
            let position = head;
            head = head.wrapping_add(1);
            (position != self.own_tail()).then_some(position)
        });
        drop_all(claimed.chain(visible.fuse()).map(|position| {
            let word = self.read(position);
            // SAFETY: 1. the word came from `push`; 2. nobody else can take it any more, and each
            // position is visited once.
            unsafe { T::from_word(word) }
        }));
    }
}
