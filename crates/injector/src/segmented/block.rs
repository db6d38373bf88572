//! One block of [`Segmented`](crate::Segmented): its slots, and which thread may touch them when.
//! All access to slots is here.
//!
//! # Layout
//! ```text
//!   block  | start | next | done | group 0 | group 1 | ... |   252 slots
//!   group  | state | slot 0 ... slot 6 |                       one cache line for one-word items
//!   state  bit 0..6   written: the slot holds an item, for the thread that claims it
//!          bit 8..14  dead: the slot will never hold an item for any thread
//! ```
//!
//! # Invariants
//! Every slot has one producer, the thread that reserved it, and one consumer, the thread that
//! claimed it.
//! - **S1** (one writer) A slot's value is written only by its producer, before it sets `written`,
//!   and once.
//! - **S2** (one reader) A slot's value is taken only by its consumer, after it saw `written` and
//!   no `dead`.
//! - **S3** (the first bit decides) The first bit of a slot decides. After `written`, the item is
//!   the consumer's. After `dead`, it is the producer's. `dead` is set by a consumer that waited in
//!   vain, or by a producer that gives up.
//! - **S4** (a batch keeps its order) A producer never sets `written` behind a slot of the same
//!   batch that is dead. The rest of the batch goes to later slots, so that its order is kept.
//! - **S5** (the second one counts) Of a slot's producer and consumer, the second to be finished
//!   with the slot counts it in `done`, and neither touches it afterwards. So when `done` is the
//!   number of slots, no thread is in the block, and the thread that brought `done` there may have
//!   the block freed.
//!
//! # Orderings
//! - **S6** `publish` sets `written`, Release. Partner: S7. Publishes the slot's value.
//! - **S7** `take` loads the state, Acquire. Partner: S6.
//! - **S8** A thread adds to `done`, AcqRel. Partner: itself. Publishes, to the thread that frees
//!   the block, that the slots are finished with.
//! - **S9** A thread links `next`, Release; another loads it, Acquire. Publishes the fields of the
//!   next block.

use core::mem::{ManuallyDrop, MaybeUninit};
use core::ops::Range;
use core::ptr;

use stealyard_sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use stealyard_sync::cell::UnsafeCell;
use stealyard_sync::{CachePadded, MODELLED, Patience};

/// The number of slots that share a state word. It is small under a model, so that ends of groups
/// and blocks are reached.
const SLOTS: usize = if MODELLED { 2 } else { 7 };
const GROUPS: usize = if MODELLED { 2 } else { 36 };
/// The number of slots in a block.
pub(super) const BLOCK: usize = SLOTS * GROUPS;
/// The position of the first dead bit.
const DEAD: u32 = 8;

const _: () = assert!(SLOTS <= DEAD as usize, "written bits run into dead bits");

pub(super) struct Block<T> {
    header: Header<T>,
    groups: [Group<T>; GROUPS],
}

struct Header<T> {
    /// The position of slot 0.
    start: u64,
    /// The next block, or null. Written once.
    next: AtomicPtr<Block<T>>,
    /// The number of slots with which both sides are finished (S5).
    done: CachePadded<AtomicUsize>,
}

/// With one-word items, a group is exactly one cache line.
#[repr(C, align(64))]
struct Group<T> {
    state: AtomicU32,
    slots: [UnsafeCell<MaybeUninit<T>>; SLOTS],
}

/// The content of a slot, as the consumer that claimed it found it.
#[derive(Debug)]
#[must_use]
pub(super) enum Taken<T> {
    /// The slot held this item. The consumer is the second at this slot (S5).
    Item(T),
    /// The producer gave the slot up. The consumer is the second at this slot.
    GivenUp,
    /// The slot held no item, and will hold none now. The producer will be the second.
    Killed,
}

/// The outcome for a producer's slots.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Published {
    /// The number of items that are in: all of them, or those before the first dead slot.
    pub(super) count: usize,
    /// The number of dead slots at which the producer is the second (S5), and which it must count
    /// as finished.
    pub(super) to_finish: usize,
    /// The number of dead slots at which the producer is the first: it gave them up.
    pub(super) given_up: usize,
}

impl<T> Block<T> {
    /// Creates a block without items. The block is built in place, because it may be larger than a
    /// stack.
    pub(super) fn allocate(start: u64) -> Box<Self> {
        let mut memory = Box::<Self>::new_uninit();
        let block = memory.as_mut_ptr();
        let fresh = Header {
            start,
            next: AtomicPtr::new(ptr::null_mut()),
            done: CachePadded::new(AtomicUsize::new(0)),
        };
        // SAFETY: 1. `block` points to memory of the right layout that is this call's alone.
        let header = unsafe { &raw mut (*block).header };
        // SAFETY: 1. as above.
        let groups = unsafe { &raw mut (*block).groups };
        // SAFETY: 1. it is a field of the new block.
        unsafe { header.write(fresh) };
        for number in 0..GROUPS {
            // SAFETY: 1. `number` is within the array.
            let group = unsafe { groups.cast::<Group<T>>().add(number) };
            // SAFETY: 1. it is in the new block.
            unsafe { Group::start(group) };
        }
        // SAFETY: 1. every field was written above.
        unsafe { memory.assume_init() }
    }

    /// Returns the position of slot 0.
    pub(super) fn start(&self) -> u64 {
        self.header.start
    }

    /// Returns the next block, or null.
    pub(super) fn next(&self) -> *mut Self {
        // Ordering: Acquire (S9).
        self.header.next.load(Ordering::Acquire)
    }

    /// Returns the next block, and links one first if there is none. `stride` is the distance
    /// between the starts of two blocks.
    pub(super) fn next_or_link(&self, stride: u64) -> *mut Self {
        let next = self.next();
        if !next.is_null() {
            return next;
        }
        let fresh = Box::into_raw(Self::allocate(self.start().wrapping_add(stride)));
        // Ordering: Release on success (S9). Acquire on failure (S9); the block that another thread
        // linked is passed on.
        let linked = self.header.next.compare_exchange(
            ptr::null_mut(),
            fresh,
            Ordering::Release,
            Ordering::Acquire,
        );
        let Err(theirs) = linked else {
            return fresh;
        };
        // SAFETY: 1. the pointer is from `into_raw` above; 2. it was never shared.
        drop(unsafe { Box::from_raw(fresh) });
        theirs
    }

    /// Counts `slots` slots as finished with (S5). Returns whether those were the last. If so, the
    /// caller has the block freed, and every other thread has left it.
    #[must_use]
    pub(super) fn finish(&self, slots: usize) -> bool {
        // Ordering: AcqRel (S8).
        slots > 0 && self.header.done.fetch_add(slots, Ordering::AcqRel) + slots == BLOCK
    }

    /// Checks that all accesses to the slots are over (S5), where a model checks accesses;
    /// otherwise does nothing.
    pub(super) fn check_no_accesses(&self) {
        for group in &self.groups {
            for slot in &group.slots {
                slot.with_mut(|_| ());
            }
        }
    }

    /// Puts `item` into the slot `at`. If the slot is dead, returns the item; then the caller is
    /// the second there (S5). After success, the caller must not touch the block.
    ///
    /// # Safety
    /// 1. The caller reserved `at` and has not published it before.
    pub(super) unsafe fn publish(&self, at: usize, item: T) -> Result<(), T> {
        let (group, bit) = self.group(at);
        let item = ManuallyDrop::new(item);
        group.slots[at % SLOTS].with_mut(|slot| {
            // SAFETY:
            // 1. `item` is readable.
            // 2. No other thread writes (obligation 1, S1) or reads (S2: `written` is not set).
            // 3. Only one of the two copies will be used (S3).
            unsafe { slot.copy_from_nonoverlapping((&raw const item).cast(), 1) };
        });
        // An addition sets the bit, which is clear (S1). x86 has one instruction for it, and none
        // for an `or` that returns the old value.
        // Ordering: Release (S6).
        let before = group.state.fetch_add(bit, Ordering::Release);
        if before & (bit << DEAD) == 0 {
            Ok(())
        } else {
            Err(ManuallyDrop::into_inner(item))
        }
    }

    /// Copies items from `items` into the slots `range`. Stops at the first dead slot and gives up
    /// those behind it (S4). If all items are published, the caller must not touch the block
    /// afterwards.
    ///
    /// # Safety
    /// 1. The caller reserved `range` and has not published it before.
    /// 2. `items` points to as many readable items as `range` is long.
    /// 3. What is published is no longer the caller's.
    pub(super) unsafe fn publish_batch(&self, range: Range<usize>, items: *const T) -> Published {
        let mut at = range.start;
        while at < range.end {
            let end = ((at / SLOTS + 1) * SLOTS).min(range.end);
            let (group, first) = self.group(at);
            // SAFETY: 1. it is in the range of obligation 2.
            let mut item = unsafe { items.add(at - range.start) };
            for slot in &group.slots[at % SLOTS..][..end - at] {
                slot.with_mut(|slot| {
                    // SAFETY:
                    // 1. `item` is readable (obligation 2).
                    // 2. No other thread touches the slot (obligation 1, S1, S2).
                    // 3. Only one of the two copies will be used (S3).
                    unsafe { slot.copy_from_nonoverlapping(item.cast(), 1) };
                });
                // SAFETY: 1. the pointer is within the items or just past them.
                item = unsafe { item.add(1) };
            }
            let mask = first * ((1 << (end - at)) - 1);
            if !group.publish_all(mask) {
                let given_up = self.give_up(at..range.end);
                return Published {
                    count: at - range.start,
                    to_finish: range.end - at - given_up,
                    given_up,
                };
            }
            at = end;
        }
        Published {
            count: range.len(),
            to_finish: 0,
            given_up: 0,
        }
    }

    /// Kills the producer's slots `range`. Returns the number of slots at which the producer was
    /// the first.
    fn give_up(&self, range: Range<usize>) -> usize {
        range
            .filter(|&at| {
                let (group, bit) = self.group(at);
                // Ordering: Relaxed; there is no value to publish: the bit itself is the message
                // (S3).
                let before = group.state.fetch_or(bit << DEAD, Ordering::Relaxed);
                before & (bit << DEAD) == 0
            })
            .count()
    }

    /// Takes what is in the slot `at`. If the slot holds no item yet, waits a little, or not at all
    /// without `patience`, and then kills the slot.
    ///
    /// # Safety
    /// 1. The caller claimed `at`, and has not taken it before.
    #[inline]
    pub(super) unsafe fn take(&self, at: usize, patience: bool) -> Taken<T> {
        let (group, bit) = self.group(at);
        // Ordering: Acquire (S7).
        let state = group.state.load(Ordering::Acquire);
        if state & (bit | bit << DEAD) == bit {
            // SAFETY: 1. the slot is written and not dead; 2. it is this thread's, and taken once
            // (obligation 1).
            return Taken::Item(unsafe { Group::read(&group.slots[at % SLOTS]) });
        }
        // SAFETY: 1. the caller's obligation.
        unsafe { self.take_late(at, patience) }
    }

    /// Takes the slots from `at` on that lie in one group and before `to`, and puts their items
    /// into `batch`, which has the room. Returns the number of slots, or 0 if one of them is not
    /// ready. The consumer is the second at all of them.
    ///
    /// # Safety
    /// 1. The caller claimed `at..to`, and has taken none of them before.
    #[inline]
    pub(super) unsafe fn take_run(&self, at: usize, to: usize, batch: &mut Vec<T>) -> usize {
        let (group, first) = self.group(at);
        let within = (to - at).min(SLOTS - at % SLOTS);
        let mask = first * ((1 << within) - 1);
        // Ordering: Acquire (S7).
        let state = group.state.load(Ordering::Acquire);
        if state & (mask | mask << DEAD) != mask {
            return 0;
        }
        let run = &group.slots[at % SLOTS..][..within];
        // SAFETY: 1. the slots are written and not dead, seen by Acquire; 2. they are this
        // thread's, and taken once (obligation 1).
        batch.extend(run.iter().map(|slot| unsafe { Group::read(slot) }));
        within
    }

    /// Does the rest of `take`.
    ///
    /// # Safety
    /// 1. As for `take`.
    #[cold]
    unsafe fn take_late(&self, at: usize, patience: bool) -> Taken<T> {
        let (group, bit) = self.group(at);
        let mut wait = Patience::backing_off();
        while patience && wait.pause() {
            // Ordering: Relaxed; a hint when to stop waiting, looked at again below.
            if group.state.load(Ordering::Relaxed) & (bit | bit << DEAD) != 0 {
                break;
            }
        }
        // Both bits may be set now, and the one that was there before counts (S3). A producer that
        // comes later finds `dead` if and only if this exchange found no item.
        // Ordering: Acquire (S7), for the case that the item came meanwhile.
        let before = group.state.fetch_or(bit << DEAD, Ordering::Acquire);
        if before & (bit << DEAD) != 0 {
            Taken::GivenUp
        } else if before & bit != 0 {
            // SAFETY: 1. the slot was written before it was dead; 2. it is this thread's, and taken
            // once (obligation 1).
            Taken::Item(unsafe { Group::read(&group.slots[at % SLOTS]) })
        } else {
            Taken::Killed
        }
    }

    /// Whether the slot `at` is dead. If no consumer has claimed it, its producer has given it up.
    pub(super) fn is_dead(&self, at: usize) -> bool {
        let (group, bit) = self.group(at);
        // Ordering: Relaxed; nothing is taken.
        group.state.load(Ordering::Relaxed) & (bit << DEAD) != 0
    }

    /// Returns the group of slot `at`, and the slot's `written` bit.
    #[inline]
    fn group(&self, at: usize) -> (&Group<T>, u32) {
        (&self.groups[at / SLOTS], 1 << (at % SLOTS))
    }
}

impl<T> Group<T> {
    /// Makes an empty group in place.
    ///
    /// # Safety
    /// 1. `group` points to memory for a group that is the caller's.
    unsafe fn start(group: *mut Self) {
        // SAFETY: 1. the caller's memory.
        let state = unsafe { &raw mut (*group).state };
        // SAFETY: 1. the caller's memory.
        let slots = unsafe { &raw mut (*group).slots };
        // SAFETY: 1. a field of the caller's group.
        unsafe { state.write(AtomicU32::new(0)) };
        let first: *mut UnsafeCell<MaybeUninit<T>> = slots.cast();
        for number in 0..SLOTS {
            // SAFETY: 1. `number` is within the array.
            let slot = unsafe { first.add(number) };
            // SAFETY: 1. it is in the caller's group.
            unsafe { slot.write(UnsafeCell::new(MaybeUninit::uninit())) };
        }
    }

    /// Sets all `written` bits of `mask`, unless one of the slots is dead. Returns whether it set
    /// them.
    fn publish_all(&self, mask: u32) -> bool {
        // Ordering: Relaxed; a first guess for the loop.
        let mut state = self.state.load(Ordering::Relaxed);
        while state & (mask << DEAD) == 0 {
            // Ordering: Release on success (S6). Relaxed on failure; the state is only another
            // guess.
            match self.state.compare_exchange_weak(
                state,
                state | mask,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Moves the value out of a slot.
    ///
    /// # Safety
    /// 1. The slot is written, which the caller has seen by Acquire.
    /// 2. It is the caller's, and read once.
    #[inline]
    unsafe fn read(slot: &UnsafeCell<MaybeUninit<T>>) -> T {
        slot.with(|value| {
            // SAFETY: 1. by obligations 1 and 2; 2. no thread writes after `written` (S1).
            unsafe { value.cast::<T>().read() }
        })
    }
}

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_words_is_a_cache_line() {
        assert_eq!(size_of::<Group<usize>>(), 64);
        assert_eq!(size_of::<Group<Box<u8>>>(), 64);
    }

    /// Takes the slots from 0 on. Those that held no item are `None`.
    fn taken(block: &Block<usize>, slots: usize) -> Vec<Option<usize>> {
        (0..slots)
            // SAFETY: 1. no other thread takes from this block, and each slot is taken once.
            .map(|at| match unsafe { block.take(at, false) } {
                Taken::Item(item) => Some(item),
                Taken::GivenUp | Taken::Killed => None,
            })
            .collect()
    }

    #[test]
    fn s3_an_item_written_before_the_slot_was_killed_is_taken() {
        let block = Block::allocate(0);
        let items: Vec<usize> = (0..20).collect();
        // SAFETY:
        // 1. No other thread writes.
        // 2. There are 20 items.
        // 3. Numbers may be copied.
        let published = unsafe { block.publish_batch(0..20, items.as_ptr()) };
        assert_eq!(published.count, 20);
        let expected: Vec<Option<usize>> = (0..20).map(Some).chain([None]).collect();
        assert_eq!(taken(&block, 21), expected);
        // SAFETY: 1. no other thread writes.
        let late = unsafe { block.publish(20, 20) };
        assert_eq!(late, Err(20), "killed by the consumer");
    }

    #[test]
    fn s4_items_behind_a_killed_slot_are_not_published() {
        let block = Block::allocate(0);
        assert_eq!(taken(&block, 3), [None; 3]);
        let items: Vec<usize> = (0..30).collect();
        // SAFETY:
        // 1. No other thread writes.
        // 2. There are 30 items.
        // 3. Numbers may be copied.
        let published = unsafe { block.publish_batch(0..30, items.as_ptr()) };
        let expected = Published {
            count: 0,
            to_finish: 3,
            given_up: 27,
        };
        assert_eq!(published, expected);
        assert!(block.is_dead(29) && !block.is_dead(30));
    }

    #[test]
    fn s5_the_last_to_finish_is_told() {
        let block = Block::<u8>::allocate(0);
        assert!(!block.finish(BLOCK - 1));
        assert!(!block.finish(0));
        assert!(block.finish(1));
    }
}
