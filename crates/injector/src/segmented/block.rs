//! A block of slots; all access to the items is here.

use core::mem::MaybeUninit;

use crossbeam_epoch::{Atomic, Guard, Owned, Shared};
use stealyard_sync::MODELLED;
use stealyard_sync::atomic::{AtomicBool, Ordering};
use stealyard_sync::cell::UnsafeCell;

/// Slots in a block: a batch from a full local queue fills two; a model sees the boundary often.
pub(super) const BLOCK: usize = if MODELLED { 2 } else { 64 };

/// `BLOCK` slots for the positions from `start`, and the way to the next ones.
pub(super) struct Block<T> {
    /// A cell only so that a model sees whether its readers come after its maker.
    start: UnsafeCell<u64>,
    next: Atomic<Self>,
    slots: [Slot<T>; BLOCK],
}

struct Slot<T> {
    item: UnsafeCell<MaybeUninit<T>>,
    filled: AtomicBool,
}

impl<T> Block<T> {
    /// An empty block, made in place on the heap: a block of large items would not fit on a stack.
    pub(super) fn boxed(start: u64) -> Owned<Self> {
        let mut place = Box::<Self>::new_uninit();
        let block = place.as_mut_ptr();
        // SAFETY: 1. in the bounds of the allocation.
        let start_at = unsafe { &raw mut (*block).start };
        // SAFETY: 1. as above.
        let next_at = unsafe { &raw mut (*block).next };
        // SAFETY: 1. the memory is ours alone and of the right layout.
        unsafe { start_at.write(UnsafeCell::new(0)) };
        // SAFETY: 1. written just now, and still ours alone.
        unsafe { &*start_at }.with_mut(|place| {
            // SAFETY: 1. nobody else has the block.
            unsafe { place.write(start) }
        });
        // SAFETY: 1. as above.
        unsafe { next_at.write(Atomic::null()) };
        for index in 0..BLOCK {
            // SAFETY: 1. in the bounds of the allocation.
            let filled_at = unsafe { &raw mut (*block).slots[index].filled };
            // SAFETY: 1. the memory is ours alone and of the right layout.
            unsafe { filled_at.write(AtomicBool::new(false)) };
            if MODELLED {
                // A model's cell keeps a record of its own; a real one is valid as it is.
                // SAFETY: 1. in the bounds of the allocation.
                let item_at = unsafe { &raw mut (*block).slots[index].item };
                // SAFETY: 1. the memory is ours alone and of the right layout.
                unsafe { item_at.write(UnsafeCell::new(MaybeUninit::uninit())) };
            }
        }
        // SAFETY: 1. every field is initialised; the items may be uninitialised memory.
        Owned::from(unsafe { place.assume_init() })
    }

    /// Its first position.
    pub(super) fn start(&self) -> u64 {
        self.start.with(|start| {
            // SAFETY: 1. it is only written before the block is linked, and a reference to a block is had
            // by the link (G7, G8).
            unsafe { *start }
        })
    }

    /// True if `position` is one of this block's.
    pub(super) fn holds(&self, position: u64) -> bool {
        position.wrapping_sub(self.start()) < BLOCK as u64
    }

    fn slot(&self, position: u64) -> &Slot<T> {
        &self.slots[(position - self.start()) as usize]
    }

    /// Fills the slot of a position that the caller has claimed for a push.
    pub(super) fn fill(&self, position: u64, item: T) {
        let slot = self.slot(position);
        slot.item.with_mut(|place| {
            // SAFETY: 1. the position is the caller's until the slot is filled (G2), so nobody else
            // touches it.
            unsafe { place.write(MaybeUninit::new(item)) }
        });
        // Ordering: Release (G5); who sees the flag sees the item.
        slot.filled.store(true, Ordering::Release);
    }

    /// How many of the up to `count` slots from `position` on are filled without a gap.
    pub(super) fn filled_from(&self, position: u64, count: usize) -> usize {
        let from = (position - self.start()) as usize;
        self.slots[from..]
            .iter()
            .take(count)
            // Ordering: Acquire (G6); the item is visible.
            .take_while(|slot| slot.filled.load(Ordering::Acquire))
            .count()
    }

    /// Moves the items of claimed positions to `sink`. If `sink` panics, the rest of them is dropped
    /// when unwinding, not leaked.
    pub(super) fn take(&self, first: u64, count: usize, sink: &mut impl FnMut(T)) {
        let mut rest = Rest {
            block: self,
            next: first,
            end: first + count as u64,
        };
        while let Some(item) = rest.take() {
            sink(item);
        }
    }

    /// The block after this one, if it is linked.
    pub(super) fn next<'g>(&self, guard: &'g Guard) -> Option<&'g Self> {
        // Ordering: Acquire (G8); the block is whole.
        let next = self.next.load(Ordering::Acquire, guard);
        // SAFETY: 1. it is null or a block that cannot be reclaimed while the guard of whoever holds
        // this one is pinned (G4).
        unsafe { next.as_ref() }
    }

    /// The block after this one, linked now if it was not.
    pub(super) fn next_or_append<'g>(&self, guard: &'g Guard) -> &'g Self {
        if let Some(next) = self.next(guard) {
            return next;
        }
        let fresh = Self::boxed(self.start() + BLOCK as u64);
        // Ordering: Release (G7) on success, the block is whole for who follows the link; Acquire (G8)
        // on failure, we follow somebody else's.
        let linked = self.next.compare_exchange(
            Shared::null(),
            fresh,
            Ordering::Release,
            Ordering::Acquire,
            guard,
        );
        let next = match linked {
            Ok(ours) => ours,
            Err(theirs) => theirs.current,
        };
        // SAFETY: 1. not null, and kept by the guard as above.
        unsafe { next.deref() }
    }

    /// The next block or null, for the queue's drop.
    pub(super) fn next_raw<'g>(&self, guard: &'g Guard) -> Shared<'g, Self> {
        // Ordering: Relaxed; the caller is alone.
        self.next.load(Ordering::Relaxed, guard)
    }

    /// Drops the filled items from `head` on, for the queue's drop.
    pub(super) fn drop_items(&self, head: u64) {
        for (position, slot) in (self.start()..).zip(&self.slots) {
            // Ordering: Relaxed; the caller is alone.
            if position >= head && slot.filled.load(Ordering::Relaxed) {
                slot.item.with_mut(|place| {
                    // SAFETY: 1. it is filled; 2. no pop has passed it, and nobody else is about.
                    unsafe { place.cast::<T>().drop_in_place() }
                });
            }
        }
    }
}

/// Claimed positions whose items have not been moved out yet.
struct Rest<'a, T> {
    block: &'a Block<T>,
    next: u64,
    end: u64,
}

impl<T> Rest<'_, T> {
    fn take(&mut self) -> Option<T> {
        if self.next == self.end {
            return None;
        }
        let slot = self.block.slot(self.next);
        self.next += 1;
        slot.item.with(|place| {
            // SAFETY: 1. it was filled when it was claimed (G3); 2. the claim made it ours alone, and
            // `next` has moved on, so it is read once (G2).
            Some(unsafe { place.cast::<T>().read() })
        })
    }
}

impl<T> Drop for Rest<'_, T> {
    fn drop(&mut self) {
        while let Some(item) = self.take() {
            drop(item);
        }
    }
}
