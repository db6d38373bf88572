//! The state that the two ends of a Chase–Lev deque share. The invariants and orderings are those
//! of `chase_lev.rs`.

use core::iter;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crossbeam_epoch::Guard;
use stealyard_sync::CachePadded;
use stealyard_sync::atomic::{AtomicU64, Ordering, fence};

use super::Discipline;
use crate::batch::drop_all;
use crate::buffer::CurrentBuffer;
use crate::collector;
use crate::steal::Steal;
use crate::word::{Items, Word};
use crate::worker::Order;

pub(super) struct ChaseLevShared<T: Word> {
    /// The oldest item's position. Exchanged by the thread that takes from that end.
    top: CachePadded<AtomicU64>,
    /// One past the newest item's position. Written by the owner.
    bottom: CachePadded<AtomicU64>,
    /// Replaced when the queue grows or shrinks.
    pub(super) current: CurrentBuffer,
    items: Items<T>,
}

/// Where a thief saw the oldest item, and how many items it saw (at least one).
pub(super) struct Snapshot {
    pub(super) top: u64,
    pub(super) count: u64,
}

impl<T: Word> ChaseLevShared<T> {
    pub(super) fn new(capacity: usize, position: u64) -> Self {
        Self {
            top: CachePadded::new(AtomicU64::new(position)),
            bottom: CachePadded::new(AtomicU64::new(position)),
            current: CurrentBuffer::new(capacity),
            items: PhantomData,
        }
    }

    #[inline]
    pub(super) fn top(&self) -> &AtomicU64 {
        &self.top
    }

    #[inline]
    pub(super) fn bottom(&self) -> &AtomicU64 {
        &self.bottom
    }

    /// Returns the oldest position for the owner, which may overwrite whatever is before it.
    #[inline]
    pub(super) fn top_for_writing(&self) -> u64 {
        // Ordering: Acquire (CO4); the thieves that took what is before it have read their slots.
        // Unmodelled: without it, a thief's load of a slot would have to return a word that is
        // stored later because of that thief's exchange (load buffering), which loom does not
        // explore.
        self.top.load(Ordering::Acquire)
    }

    /// Moves `top` from `from` by `count`. Returns whether the claim, a thief's or the owner's,
    /// succeeded.
    #[inline]
    pub(super) fn claim(&self, from: u64, count: u64) -> bool {
        let to = from.wrapping_add(count);
        // Ordering: Release on success; the slots have been read when the owner writes them again
        // (CO4), and a thief that sees the new top sees a bottom no older than this thread's (CO5).
        // Relaxed on failure; nothing was read that counts.
        self.top
            .compare_exchange(from, to, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Returns what a thief finds; `None` if the queue is empty.
    pub(super) fn snapshot<D: Discipline>(&self) -> Option<Snapshot> {
        // Ordering: Acquire (CO5); the bottom loaded below is no older than this top.
        let top = self.top.load(Ordering::Acquire);
        // A FIFO owner claims what it pops, so its thieves need no fence.
        if D::ORDER == Order::Lifo {
            // Ordering: SeqCst (CO3); its partner is the fence in `pop`. Either that pop sees this
            // top, or the load below sees its bottom (C4).
            fence(Ordering::SeqCst);
        }
        // Ordering: Acquire (CO1); the items up to it are visible.
        let bottom = self.bottom.load(Ordering::Acquire);
        let count = distance(top, bottom);
        (count > 0).then_some(Snapshot { top, count })
    }

    /// Takes the oldest word.
    pub(super) fn steal_word<D: Discipline>(&self, guard: &Guard) -> Steal<*mut ()> {
        let Some(Snapshot { top, .. }) = self.snapshot::<D>() else {
            return Steal::Empty;
        };
        let word = self.current.load(guard).read(top);
        if self.claim(top, 1) {
            Steal::Success(word)
        } else {
            Steal::Retry
        }
    }

    /// Turns a word back into its item.
    ///
    /// # Safety
    /// 1. `word` was read from a position that had been written.
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

impl<T: Word> Drop for ChaseLevShared<T> {
    fn drop(&mut self) {
        // Ordering: Relaxed; this is the last handle, and the reference count orders before this
        // what the other handles did.
        let mut position = self.top.load(Ordering::Relaxed);
        // Ordering: Relaxed; as above.
        let bottom = self.bottom.load(Ordering::Relaxed);
        let guard = collector::pin();
        let words = iter::from_fn(|| {
            let word = (position != bottom).then(|| self.current.load(&guard).read(position))?;
            position = position.wrapping_add(1);
            Some(word)
        });
        // SAFETY: 1. `top..bottom` are written (C1); 2. no other handle is left, and each position
        // is visited once.
        drop_all(words.map(|word| unsafe { Self::item(word) }));
    }
}

/// Returns the number of positions from `top` to `bottom`. It is zero if `bottom` is before `top`,
/// as it is for a moment in a pop, or where the two were read at different times.
#[inline]
pub(super) fn distance(top: u64, bottom: u64) -> u64 {
    let signed = bottom.wrapping_sub(top).cast_signed();
    u64::try_from(signed).unwrap_or(0)
}
