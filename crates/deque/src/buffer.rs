//! The slots of a queue that grows and shrinks: a circular buffer, and the cell that holds the
//! current one.
//!
//! The owner alone replaces the buffer. A thief may still read the old one. So the old one goes to
//! this crate's collector (`collector.rs`), which frees it when every thread that was pinned at
//! that time has unpinned. All the unsafe code for this is in this file.
//!
//! # Invariants
//! - **B1** (old buffers live long enough) Only the owner replaces the current buffer. What it
//!   replaced is freed only after every guard that existed at that time is gone.
//! - **B2** (old buffers are constant) A buffer that was replaced is never written again.
//!
//! # Orderings
//! | label | operation                               | partner | publishes                    |
//! | ----- | --------------------------------------- | ------- | ---------------------------- |
//! | BO1   | owner stores the new buffer, Release    | BO2     | its slots and their contents |
//! | BO2   | thief loads the current buffer, Acquire | BO1     | –                            |

use core::ptr::{self, NonNull};

use crossbeam_epoch::{Atomic, Guard, Owned};
use stealyard_sync::atomic::{AtomicPtr, Ordering};

/// A replaced buffer with more slots than this (64 KiB) is offered to the collector at once, and
/// not only when a thread's bag of garbage is full.
const FLUSH_SLOTS: usize = 64 * 1024 / size_of::<AtomicPtr<()>>();

/// The slots; their number is a power of two. Position `p` is in slot `p` modulo that number.
pub(crate) struct Buffer {
    slots: Box<[AtomicPtr<()>]>,
}

/// The cell that holds the current buffer.
pub(crate) struct CurrentBuffer {
    /// The current buffer; never null.
    buffer: Atomic<Buffer>,
}

/// The owner's shortcut to the slots of the current buffer.
#[derive(Clone, Copy)]
pub(crate) struct OwnerView {
    first: NonNull<AtomicPtr<()>>,
    mask: usize,
}

// SAFETY: 1. it is a pointer to atomics, which any thread may use while they live; that they live
// is the obligation of `CurrentBuffer::view`.
unsafe impl Send for OwnerView {}

impl Buffer {
    pub(crate) fn new(capacity: usize) -> Self {
        assert!(
            capacity.is_power_of_two(),
            "a capacity of {capacity} is not a power of two"
        );
        let empty = || AtomicPtr::new(ptr::null_mut());
        Self {
            slots: (0..capacity).map(|_| empty()).collect(),
        }
    }

    /// Returns the word in the slot of `position`. It is an item's only if the caller holds that
    /// position, or claims it afterwards.
    pub(crate) fn read(&self, position: u64) -> *mut () {
        let slot = position as usize & (self.slots.len() - 1);
        // Ordering: Relaxed; the position was published by `bottom`, or the buffer by BO1.
        self.slots[slot].load(Ordering::Relaxed)
    }

    /// Writes a slot, before any other thread sees the buffer.
    fn write(&self, position: u64, word: *mut ()) {
        let slot = position as usize & (self.slots.len() - 1);
        // Ordering: Relaxed; published with the buffer (BO1).
        self.slots[slot].store(word, Ordering::Relaxed);
    }
}

impl CurrentBuffer {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            buffer: Atomic::new(Buffer::new(capacity)),
        }
    }

    /// Returns the current buffer, for as long as `guard` keeps it from being freed.
    pub(crate) fn load<'g>(&self, guard: &'g Guard) -> &'g Buffer {
        // Ordering: Acquire (BO2); the slots that the owner copied are visible.
        let shared = self.buffer.load(Ordering::Acquire, guard);
        // SAFETY:
        // 1. It is never null.
        // 2. It was current after `guard` was made, so it outlives it (B1).
        // 3. Its maker's writes are visible (BO2).
        unsafe { shared.deref() }
    }

    /// Returns the owner's shortcut to the current buffer.
    ///
    /// # Safety
    /// 1. The caller is the owner, and uses the view only while the buffer is current: until it
    ///    calls [`replace`](Self::replace), and while this cell lives.
    pub(crate) unsafe fn view(&self) -> OwnerView {
        // SAFETY: 1. only the owner replaces the buffer, and the guard is not used beyond this
        // call.
        let guard = unsafe { crossbeam_epoch::unprotected() };
        let buffer = self.load(guard);
        OwnerView {
            first: NonNull::from(&*buffer.slots).cast(),
            mask: buffer.slots.len() - 1,
        }
    }

    /// Makes a buffer of `capacity` slots the current one, with the words of `positions` copied
    /// from `old`. Returns the owner's shortcut to it, with the obligation of [`view`](Self::view).
    ///
    /// # Safety
    /// 1. The caller is the owner, and `old` is its view of the current buffer.
    /// 2. It does not use `old` afterwards, nor any copy of it.
    pub(crate) unsafe fn replace(
        &self,
        old: OwnerView,
        capacity: usize,
        positions: (u64, u64),
        guard: &Guard,
    ) -> OwnerView {
        let new = Buffer::new(capacity);
        let (mut position, end) = positions;
        while position != end {
            new.write(position, old.read(position));
            position = position.wrapping_add(1);
        }
        // Ordering: Release (BO1); a thief that sees the buffer sees its slots. The old buffer was
        // the owner's own, so there is nothing to acquire.
        let replaced = self.buffer.swap(Owned::new(new), Ordering::Release, guard);
        // SAFETY: 1. it was current until now, and no new reader can reach it; 2. only the owner
        // replaces buffers, so it is retired once (B1).
        unsafe { guard.defer_destroy(replaced) };
        // Frees buffers and runs nothing else: see `collector.rs`.
        if capacity.max(old.capacity()) >= FLUSH_SLOTS {
            guard.flush();
        }
        // The view is taken only now, because a pointer into a box does not outlive the box's move.
        // SAFETY: 1. by obligation 1, passed on to the caller.
        unsafe { self.view() }
    }
}

impl Drop for CurrentBuffer {
    fn drop(&mut self) {
        let buffer = core::mem::replace(&mut self.buffer, Atomic::null());
        // SAFETY: 1. it is not null; 2. the cell is being dropped, so no thread can reach the
        // buffer any more, and the replaced ones are the collector's.
        drop(unsafe { buffer.into_owned() });
    }
}

impl OwnerView {
    #[inline]
    pub(crate) fn capacity(self) -> usize {
        self.mask + 1
    }

    #[inline]
    fn slot(&self, position: u64) -> &AtomicPtr<()> {
        // SAFETY: 1. the mask is the number of slots minus one, so the sum is within them.
        let slot = unsafe { self.first.add(position as usize & self.mask) };
        // SAFETY: 1. the buffer lives while the view may be used: see `CurrentBuffer::view` and
        // `replace`.
        unsafe { slot.as_ref() }
    }

    #[inline]
    pub(crate) fn write(&self, position: u64, word: *mut ()) {
        // Ordering: Relaxed; published by the store of `bottom`, or with the buffer (BO1).
        self.slot(position).store(word, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn read(&self, position: u64) -> *mut () {
        // Ordering: Relaxed; the owner wrote it.
        self.slot(position).load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    //! Goal: what is copied to a buffer of another size is found at the same positions, also across
    //! the wrap-around of positions (Q8). Method: grow and shrink at the edges, read back through
    //! both ends.

    use super::CurrentBuffer;
    use crate::collector;

    fn word(number: u64) -> *mut () {
        core::ptr::without_provenance_mut(number as usize + 1)
    }

    #[test]
    fn q8_items_keep_their_positions_when_the_buffer_is_replaced() {
        for start in [0, 3, u64::MAX - 2] {
            let current = CurrentBuffer::new(4);
            // SAFETY: 1. this test is the owner, and drops each view at the next `replace`.
            let view = unsafe { current.view() };
            for number in 0..4 {
                view.write(start.wrapping_add(number), word(number));
            }
            let middle = start.wrapping_add(2);
            let end = start.wrapping_add(4);
            let guard = collector::pin();
            // SAFETY: 1. the view is of the current buffer; 2. it is not used again.
            let view = unsafe { current.replace(view, 8, (start, end), &guard) };
            assert_eq!(view.capacity(), 8);
            // SAFETY: 1. the view is of the current buffer; 2. it is not used again.
            let view = unsafe { current.replace(view, 2, (middle, end), &guard) };
            for number in 2..4 {
                let position = start.wrapping_add(number);
                assert_eq!(view.read(position), word(number));
                assert_eq!(current.load(&guard).read(position), word(number));
            }
        }
    }
}
