//! The run-next slot: one place beside the queue for the item that should run next.
//!
//! A task that makes another one ready (a message, a finished child) usually waits for it, and the
//! data are warm: the other should run next, on the same worker. Go's `runnext` is one such place in
//! front of the queue; what it held before moves to the queue. Thieves may take from it, but late:
//! only on their last pass and after a grace time, because its owner is about to run it. *When* a
//! thief may is the scheduler's decision; this is the place itself.
//!
//! # Operations
//! | operation | caller | progress  | cost                          |
//! |-----------|--------|-----------|-------------------------------|
//! | `put`     | owner  | wait-free | one RMW                       |
//! | `take`    | owner  | wait-free | a load, and one RMW if filled |
//! | `steal`   | anyone | wait-free | a load, and one RMW if filled |
//!
//! # Invariants
//! - **S1** A word is in the slot from its `put` to the first swap that returns it; so one caller gets
//!   it, and one only.
//!
//! # Orderings
//! | label | operation                      | partner | publishes             |
//! |-------|--------------------------------|---------|-----------------------|
//! | N1    | `put` swaps the word in, Release | N2    | what the item owns    |
//! | N2    | anyone swaps it out, Acquire   | N1      | –                     |
//!
//! # References
//! `runnext` in Go's `runtime/proc.go`.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use stealyard_sync::CachePadded;
use stealyard_sync::atomic::{AtomicPtr, Ordering};

use crate::word::Word;

/// A place for one item; empty at first. What is in it when it is dropped is dropped with it.
pub struct Slot<T: Word> {
    word: CachePadded<AtomicPtr<()>>,
    items: PhantomData<fn() -> T>,
}

impl<T: Word> Slot<T> {
    /// An empty slot.
    #[must_use]
    pub fn new() -> Self {
        Self {
            word: CachePadded::new(AtomicPtr::new(ptr::null_mut())),
            items: PhantomData,
        }
    }

    /// Puts `item` in and gives back what it displaced.
    #[inline]
    #[must_use = "the displaced item belongs in the queue"]
    pub fn put(&self, item: T) -> Option<T> {
        // Ordering: AcqRel (N1, N2); whoever takes the item sees what it owns, and we see what the
        // displaced one owns. Unmodelled: the Acquire half; the displaced item was put by the same
        // owner, or handed over with the slot, which orders the two already.
        let before = self.word.swap(item.into_word().as_ptr(), Ordering::AcqRel);
        Self::item(before)
    }

    /// Takes what is in, for the owner.
    #[inline]
    pub fn take(&self) -> Option<T> {
        self.steal()
    }

    /// Takes what is in, for a thief.
    #[inline]
    pub fn steal(&self) -> Option<T> {
        // Ordering: Relaxed; only spares the swap of an empty slot.
        if self.word.load(Ordering::Relaxed).is_null() {
            return None;
        }
        // Ordering: Acquire (N2); what the item owns is visible.
        let before = self.word.swap(ptr::null_mut(), Ordering::Acquire);
        Self::item(before)
    }

    /// True if the slot was empty at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Ordering: Relaxed; a moment's view.
        self.word.load(Ordering::Relaxed).is_null()
    }

    #[inline]
    fn item(word: *mut ()) -> Option<T> {
        NonNull::new(word).map(|word| {
            // SAFETY: 1. only `put` writes words other than zero; 2. the swap that returned it made
            // the caller the only one who has it (S1).
            unsafe { T::from_word(word) }
        })
    }
}

impl<T: Word> Drop for Slot<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T: Word> Default for Slot<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Word> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("is_empty", &self.is_empty())
            .finish()
    }
}
