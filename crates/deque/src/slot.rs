//! The run-next slot: one place beside the queue for the item that should run next.
//!
//! A task that makes another one ready (by a message, or as a finished child) usually waits for it,
//! and its data are warm in the cache. So the other task should run next, on the same worker. Go's
//! `runnext` is one such place in front of the queue; the item that it held before moves to the
//! queue.
//!
//! Thieves may take from the slot, but late: only on their last pass and after a grace time,
//! because its owner is about to run the item. A [`SlotPolicy`] decides exactly when a thief may;
//! [`LastPass`] is Go's rule.
//!
//! # Operations
//! | operation  | caller | progress                          | cost                          |
//! | ---------- | ------ | --------------------------------- | ----------------------------- |
//! | `put`      | owner  | wait-free                         | one RMW                       |
//! | `take`     | owner  | wait-free                         | a load, and one RMW if filled |
//! | `steal`    | any    | wait-free                         | a load, and one RMW if filled |
//! | `steal_by` | any    | waits for the policy's grace time | the same, and reading a clock |
//!
//! # Invariants
//! - **S1** (one taker) A word is in the slot from its `put` until the first swap that returns it.
//!   So one caller gets it, and no other does.
//!
//! # Orderings
//! | label | operation                        | partner | publishes          |
//! | ----- | -------------------------------- | ------- | ------------------ |
//! | N1    | `put` swaps the word in, Release | N2      | the item's content |
//! | N2    | any thread swaps it out, Acquire | N1      | –                  |
//!
//! # Foreign code
//! Code of the user runs at these places. At each of them it may use the slot.
//! - `into_word` runs before `put` looks at the slot.
//! - `from_word` runs after an operation is over.
//! - A policy's `grace` runs before `steal_by` looks at the slot. A panic of it changes nothing.
//! - The destructor of a remaining item runs when no handle is left.
//!
//! # Why not …
//! *Waiting for the grace time and then taking whatever is there*: if the slot has been filled
//! again meanwhile, its owner is at work and will run that item too. So a counter of puts tells
//! whether it is the same item. The word would not tell, because a task that is put again has the
//! same word.
//!
//! # References
//! `runnext` in Go's `runtime/proc.go`.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use stealyard_sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use stealyard_sync::time::Duration;
use stealyard_sync::{CachePadded, Patience, thread};

use crate::steal::Steal;
use crate::word::{Items, Word};

/// Decides when a thief may take from a slot. Thieves go over their victims in several passes.
pub trait SlotPolicy {
    /// Returns how long the item must have stayed in the slot before it may be taken on pass number
    /// `pass` (from 0) of `passes`. Returns `None` if it may not be taken on this pass at all.
    fn grace(&self, pass: u32, passes: u32) -> Option<Duration>;
}

/// Go's rule: a thief may take the item on its last pass only, if the owner leaves it in the slot
/// for the grace time.
///
/// The owner is about to run the item in the slot, and its data are warm there. If thieves took it
/// at once, two tasks that wake each other in turn would be torn apart at every turn. If thieves
/// never took it, it would wait behind a long task while other workers are idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastPass {
    /// How long the owner has to run the item. The default is 3 µs, as in Go: longer than an owner
    /// between two tasks needs, and shorter than a wake-up takes.
    pub grace: Duration,
}

impl Default for LastPass {
    fn default() -> Self {
        Self {
            grace: Duration::from_micros(3),
        }
    }
}

impl SlotPolicy for LastPass {
    fn grace(&self, pass: u32, passes: u32) -> Option<Duration> {
        (pass.saturating_add(1) >= passes).then_some(self.grace)
    }
}

/// The rule that the slot is its owner's alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeverSteal;

impl SlotPolicy for NeverSteal {
    fn grace(&self, _pass: u32, _passes: u32) -> Option<Duration> {
        None
    }
}

/// A place for one item, empty at first. If it holds an item when it is dropped, the item is
/// dropped with it.
pub struct Slot<T: Word> {
    state: CachePadded<SlotState>,
    items: Items<T>,
}

struct SlotState {
    /// The item's word; null if the slot is empty. Written by the owner and by thieves.
    word: AtomicPtr<()>,
    /// The number of puts. Written by the owner.
    puts: AtomicU32,
}

impl<T: Word> Slot<T> {
    /// Creates an empty slot.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: CachePadded::new(SlotState {
                word: AtomicPtr::new(ptr::null_mut()),
                puts: AtomicU32::new(0),
            }),
            items: PhantomData,
        }
    }

    /// Puts `item` in, and returns the item that it displaced.
    #[inline]
    #[must_use = "the displaced item belongs in the queue"]
    pub fn put(&self, item: T) -> Option<T> {
        // Comes first, because it may be foreign code, which may use this slot.
        let word = item.into_word();
        // Ordering: Relaxed on both; only the owner writes it, and thieves take it as a hint.
        let puts = self.state.puts.load(Ordering::Relaxed);
        self.state
            .puts
            .store(puts.wrapping_add(1), Ordering::Relaxed);
        // Ordering: AcqRel (N1, N2); the thread that takes the item sees its content, and the owner
        // sees the content of the displaced item. Unmodelled: the Acquire half; the displaced item
        // was put by the same owner, or handed over with the slot, which orders the two already.
        let before = self.state.word.swap(word.as_ptr(), Ordering::AcqRel);
        Self::item(before)
    }

    /// Takes the item, for the owner.
    #[inline]
    pub fn take(&self) -> Option<T> {
        self.steal()
    }

    /// Takes the item, for a thief.
    #[inline]
    pub fn steal(&self) -> Option<T> {
        // Ordering: Relaxed; it only saves the swap of an empty slot.
        if self.state.word.load(Ordering::Relaxed).is_null() {
            return None;
        }
        // Ordering: Acquire (N2); the item's content is visible.
        let before = self.state.word.swap(ptr::null_mut(), Ordering::Acquire);
        Self::item(before)
    }

    /// Takes the item, for a thief on pass number `pass` (from 0) of `passes`, if `policy` allows
    /// it.
    ///
    /// Waits for the policy's grace time, yielding the processor, and takes the item only if the
    /// owner has not put another one meanwhile. In that case, returns `Retry`.
    pub fn steal_by(&self, policy: &impl SlotPolicy, pass: u32, passes: u32) -> Steal<T> {
        let Some(grace) = policy.grace(pass, passes) else {
            return Steal::Empty;
        };
        if self.is_empty() {
            return Steal::Empty;
        }
        // Ordering: Relaxed; a hint: whatever is in the slot when the thief takes it is a whole
        // item.
        let before = self.state.puts.load(Ordering::Relaxed);
        if !grace.is_zero() {
            wait(grace);
        }
        // Ordering: Relaxed; as above.
        if self.state.puts.load(Ordering::Relaxed) != before {
            return Steal::Retry;
        }
        self.steal().map_or(Steal::Empty, Steal::Success)
    }

    /// Whether the slot was empty at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Ordering: Relaxed; a moment's view.
        self.state.word.load(Ordering::Relaxed).is_null()
    }

    #[inline]
    fn item(word: *mut ()) -> Option<T> {
        NonNull::new(word).map(|word| {
            // SAFETY: 1. only `put` writes words other than null; 2. the swap that returned the
            // word made the caller the only one that has it (S1).
            unsafe { T::from_word(word) }
        })
    }
}

/// Lets other threads run, at least once, until `grace` is over. A model has no time, so there it
/// lets them run once.
fn wait(grace: Duration) {
    let mut patience = Patience::new(grace);
    loop {
        thread::yield_now();
        if !patience.pause() {
            return;
        }
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

#[cfg(all(test, not(stealyard_loom)))]
mod tests {
    //! Goal: the slot's own behaviour and Go's rule. Method: one thread, and another thread that
    //! refills the slot while the thief waits.

    use stealyard_sync::Arc;
    use stealyard_sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_put_displaces_the_item_before_it() {
        let slot = Slot::new();
        assert!(slot.is_empty());
        assert_eq!(slot.put(1_u32), None);
        assert_eq!(slot.put(2), Some(1));
        assert!(!slot.is_empty());
        assert_eq!(slot.take(), Some(2));
        assert_eq!(slot.take(), None);
        assert_eq!(format!("{slot:?}"), "Slot { is_empty: true }");
    }

    #[test]
    fn an_item_in_a_dropped_slot_is_dropped() {
        let counted = Arc::new(());
        let slot = Slot::new();
        assert!(slot.put(Arc::clone(&counted)).is_none());
        drop(slot);
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    #[test]
    fn thieves_wait_for_the_last_pass() {
        let slot = Slot::new();
        assert!(slot.put(7_u32).is_none());
        for pass in 0..3 {
            assert!(slot.steal_by(&LastPass::default(), pass, 4).is_empty());
        }
        assert!(slot.steal_by(&NeverSteal, 3, 4).is_empty());
        assert_eq!(slot.steal_by(&LastPass::default(), 3, 4), Steal::Success(7));
        assert!(slot.steal_by(&LastPass::default(), 3, 4).is_empty());
    }

    #[test]
    fn an_item_put_again_during_the_grace_time_is_not_stolen() {
        let slot = Slot::new();
        assert!(slot.put(7_u32).is_none());
        let patient = LastPass {
            grace: Duration::from_millis(200),
        };
        let outcome = while_it_is_put_again(&slot, || slot.steal_by(&patient, 0, 1));
        assert!(outcome.is_retry());
        assert_eq!(slot.take(), Some(7));
    }

    /// Runs `thief` while another thread takes the item and puts it again, over and over.
    fn while_it_is_put_again(slot: &Slot<u32>, thief: impl FnOnce() -> Steal<u32>) -> Steal<u32> {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Ordering: Relaxed; only a signal.
                while !stop.load(Ordering::Relaxed) {
                    let item = slot.take().expect("the thief leaves it alone");
                    assert!(slot.put(item).is_none());
                    thread::yield_now();
                }
            });
            let outcome = thief();
            // Ordering: Relaxed; only a signal.
            stop.store(true, Ordering::Relaxed);
            outcome
        })
    }
}
