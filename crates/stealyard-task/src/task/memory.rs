//! Where tasks live: blocks of 64, 128 and 256 bytes out of slabs, and a slab of its own for
//! anything larger.
//!
//! A worker allocates from and frees to lists of its own, without an atomic operation. It exchanges
//! whole batches with the scheduler's pool when a list runs empty or full. So memory that is freed
//! on another core than it was allocated on flows back by the batch (Bonwick's magazines, Go's
//! lists of dead goroutines). Threads that are no workers take and give single blocks, under the
//! pool's lock.
//!
//! The slabs are also the register of all tasks. A block keeps its state word when it is free, so
//! shutdown walks the slabs and claims every idle task it meets. Spawning and completing pay
//! nothing for that. And the slabs keep the scheduler's shared part alive: the pool holds one
//! reference to it while any block is out. So a task reaches its scheduler as long as there is a
//! waker or a handle, and no spawn counts a reference.
//!
//! # Operations
//! | operation                | caller     | cost                                              |
//! |--------------------------|------------|---------------------------------------------------|
//! | `LocalMemory::allocate`  | the worker | two loads, two stores; the lock once in a batch   |
//! | `LocalMemory::free`      | the worker | two loads, three stores; the lock once in a batch |
//! | `TaskMemory::allocate`   | any thread | the lock                                          |
//! | `TaskMemory::free`       | any thread | the lock                                          |
//! | `TaskMemory::claim_idle` | shutdown   | the lock, a read of every block ever used         |
//! | `TaskMemory::alive`      | shutdown   | the same                                          |
//!
//! # Layout
//! ```text
//!  slab, 64 KiB at a multiple of 64 KiB
//!  +-------------+-------+-------+-----+-------+---------------------+
//!  | slab header | block | block | ... | block | not yet carved      |
//!  +-------------+-------+-------+-----+-------+---------------------+
//!  pool:   chains of a batch each | free blocks of each slab | carve | slabs
//!  worker: one list for each size, at most two batches long
//! ```
//!
//! # Invariants
//! - **M1** A block is in one place: a task's, one worker's list, or the pool (in a chain or in its
//!   slab's list).
//! - **M2** `out` is the number of blocks not in the pool; the pool holds a reference to the
//!   scheduler if and only if it is not zero.
//! - **M3** A slab is given back only when all blocks carved from it are in the pool; under the
//!   lock, so that no walk over the slabs meets one that is gone.
//! - **M4** Every carved block has a valid header, whether it holds a task or not.
//!
//! # Why not …
//! - *An intrusive list of all tasks, one for each worker:* two words a task, two neighbours
//!   written on spawn and completion, and a way to leave a list that another worker owns.
//! - *A block from the allocator for each task:* 10 to 50 ns, 130 to 200 when it is freed on
//!   another core, and 16 bytes more.
//!
//! # References
//! J. Bonwick, J. Adams, *Magazines and Vmem*, 2001. Go, `runtime/proc.go` (`gfput`).

use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::ptr::NonNull;

use stealyard_sync::{Arc, Mutex, MutexGuard, unpoisoned};

use super::header::Header;
use super::id::Ids;
use super::state::Wake;
use super::{Schedule, Task};

mod slab;

use slab::Slab;

/// The sizes of blocks, in bytes; a model's atomics are larger.
const SIZES: [usize; 3] = if stealyard_sync::MODELLED {
    [512, 1024, 2048]
} else {
    [64, 128, 256]
};
/// How much memory a batch is, in bytes: large enough that the lock is noise (512 blocks of 64),
/// small enough that an idle worker keeps little (two of them for each size).
const BATCH_BYTES: usize = 32 * 1024;
/// Free blocks in the pool, in bytes, that are never worth giving back.
const SPARE_BYTES: usize = 1024 * 1024;

/// Which size of block a task needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// One of `SIZES`, by index.
    Small(usize),
    /// A slab of its own.
    Large(Layout),
}

impl Class {
    /// Returns the class for a task of this layout.
    pub(super) const fn of(layout: Layout) -> Self {
        let mut index = 0;
        while index < SIZES.len() {
            if layout.size() <= SIZES[index] && layout.align() <= SIZES[0] {
                return Self::Small(index);
            }
            index += 1;
        }
        Self::Large(layout)
    }
}

const fn batch(index: usize) -> usize {
    if stealyard_sync::MODELLED {
        2
    } else {
        BATCH_BYTES / SIZES[index]
    }
}

/// A list of free blocks, which belong to the holder of this value.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: *mut Header,
    len: usize,
}

impl Chain {
    const EMPTY: Self = Self {
        first: core::ptr::null_mut(),
        len: 0,
    };

    fn pop(&mut self) -> Option<NonNull<Header>> {
        let block = NonNull::new(self.first)?;
        // SAFETY: 1. a chain links valid blocks (M4).
        let header = unsafe { block.as_ref() };
        // SAFETY: 1. it is free and the chain is ours (M1).
        self.first = unsafe { header.next() };
        self.len -= 1;
        Some(block)
    }

    /// Puts a block in front.
    ///
    /// # Safety
    /// 1. `block` is free, and the caller owns it.
    unsafe fn push(&mut self, block: NonNull<Header>) {
        // SAFETY: 1. it is a valid block (M4).
        let header = unsafe { block.as_ref() };
        // SAFETY: 1. it is the caller's (1).
        unsafe { header.set_next(self.first) };
        self.first = block.as_ptr();
        self.len += 1;
    }
}

/// A worker's own free blocks of task memory. Give them back with [`flush`](Self::flush) before the
/// worker ends.
pub struct LocalMemory {
    lists: [Cell<Chain>; SIZES.len()],
}

// SAFETY: 1. the blocks in the lists are owned by this value alone (M1) and tied to no thread.
unsafe impl Send for LocalMemory {}

impl LocalMemory {
    /// Makes empty lists.
    ///
    /// # Safety
    /// 1. It is used with one [`TaskMemory`] only. That scheduler's
    ///    [`with_local`](Schedule::with_local) may lend it, the spawning functions get it with that
    ///    scheduler only, and it is flushed to that memory only.
    pub unsafe fn new() -> Self {
        Self {
            lists: [const { Cell::new(Chain::EMPTY) }; SIZES.len()],
        }
    }

    #[inline(always)]
    pub(super) fn allocate<S: Schedule>(&self, home: &Arc<S>, class: Class) -> NonNull<Header> {
        let Class::Small(index) = class else {
            return home.memory().allocate(home, class);
        };
        let mut list = self.lists[index].get();
        let block = match list.pop() {
            Some(block) => block,
            None => return self.refill(home, index),
        };
        self.lists[index].set(list);
        block
    }

    #[cold]
    fn refill<S: Schedule>(&self, home: &Arc<S>, index: usize) -> NonNull<Header> {
        let mut chain = home.memory().take_chain(home, index, batch(index));
        let block = chain.pop().expect("the pool gives at least one block");
        self.lists[index].set(chain);
        block
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// 1. `block` is of `class`, vacant, and the caller owns it.
    /// 2. It came from this `memory`, and so did all blocks in these lists.
    #[inline(always)]
    pub(super) unsafe fn free<S: Schedule>(
        &self,
        memory: &TaskMemory<S>,
        class: Class,
        block: NonNull<Header>,
    ) -> LastReference<S> {
        let Class::Small(index) = class else {
            // SAFETY: 1. and 2. as the caller promises.
            return unsafe { memory.free(class, block) };
        };
        let mut list = self.lists[index].get();
        // SAFETY: 1. as the caller promises.
        unsafe { list.push(block) };
        self.lists[index].set(list);
        if list.len < 2 * batch(index) {
            return LastReference(None);
        }
        self.hand_back(memory, index)
    }

    /// Returns the older half of a full list to the pool.
    #[cold]
    fn hand_back<S: Schedule>(&self, memory: &TaskMemory<S>, index: usize) -> LastReference<S> {
        let mut rest = self.lists[index].get();
        let mut chain = Chain::EMPTY;
        for _ in 0..batch(index) {
            let Some(block) = rest.pop() else { break };
            // SAFETY: 1. just popped off our own list.
            unsafe { chain.push(block) };
        }
        self.lists[index].set(rest);
        memory.give_chain(index, chain)
    }

    /// Returns all blocks to the pool they came from. The caller keeps the scheduler alive.
    pub fn flush<S: Schedule>(&self, memory: &TaskMemory<S>) {
        for index in 0..SIZES.len() {
            let chain = self.lists[index].replace(Chain::EMPTY);
            if chain.len > 0 {
                drop(memory.give_chain(index, chain));
            }
        }
    }
}

impl Drop for LocalMemory {
    fn drop(&mut self) {
        debug_assert!(
            self.lists.iter().all(|list| list.get().len == 0)
                || stealyard_sync::thread::panicking(),
            "a worker's task memory is flushed before it is dropped"
        );
    }
}

impl fmt::Debug for LocalMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let free = self.lists.each_ref().map(|list| list.get().len);
        f.debug_struct("LocalMemory").field("free", &free).finish()
    }
}

/// The pool's reference to its scheduler, if the last block has come back (M2). It may be the last
/// reference there is, so drop it when nothing of the scheduler is borrowed any more.
#[must_use = "dropping it may drop the scheduler: do so where nothing of it is borrowed"]
pub(super) struct LastReference<S>(Option<Arc<S>>);

impl<S> fmt::Debug for LastReference<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LastReference")
            .field(&self.0.is_some())
            .finish()
    }
}

/// One scheduler's pool of task memory; a field of what implements [`Schedule`].
pub struct TaskMemory<S> {
    pool: Mutex<Pool<S>>,
    ids: Ids,
}

struct Pool<S> {
    sizes: [Size; SIZES.len()],
    slabs: Vec<NonNull<Slab>>,
    /// The number of blocks that are not in the pool (M2).
    out: usize,
    /// The scheduler, while any block is out (M2).
    home: Option<Arc<S>>,
}

/// The pool of one size.
#[derive(Debug)]
struct Size {
    /// Batches as workers gave them.
    chains: Vec<Chain>,
    /// Slabs that have free blocks of their own (after a trim).
    partial: Vec<NonNull<Slab>>,
    /// The slab that new blocks are carved from.
    carve: Option<NonNull<Slab>>,
    /// Free blocks in `chains` and `partial`.
    free: usize,
    /// Blocks carved and not in the pool.
    out: usize,
    /// `free` is not looked at again before it reaches this.
    trim_at: usize,
}

// SAFETY: 1. slabs and blocks in the pool are owned by it (M1) and tied to no thread; 2. `S` is
// shared through an `Arc`, which asks for both bounds.
unsafe impl<S: Send + Sync> Send for Pool<S> {}

impl<S: Schedule> TaskMemory<S> {
    /// Makes an empty pool.
    pub fn new() -> Self {
        Self {
            pool: Mutex::new(Pool {
                sizes: core::array::from_fn(|index| Size {
                    chains: Vec::new(),
                    partial: Vec::new(),
                    carve: None,
                    free: 0,
                    out: 0,
                    trim_at: SPARE_BYTES / SIZES[index],
                }),
                slabs: Vec::new(),
                out: 0,
                home: None,
            }),
            ids: Ids::default(),
        }
    }

    /// Returns the register of the numbers of its tasks.
    pub(super) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Returns the number of blocks that are out of the pool: tasks, and what workers keep in their
    /// lists. Takes the lock.
    pub fn out(&self) -> usize {
        self.lock().out
    }

    /// Returns the size of all slabs, in bytes. Takes the lock.
    pub fn slab_bytes(&self) -> usize {
        let pool = self.lock();
        // SAFETY: 1. slabs in the list are valid, and the lock keeps them so (M3).
        pool.slabs
            .iter()
            .map(|&slab| unsafe { Slab::bytes(slab) })
            .sum()
    }

    /// Claims every task that sleeps, marks it cancelled, and hands it to `sink`, which runs or
    /// drops it. This is for a scheduler that has closed: a task that is queued or being run has a
    /// holder, which meets the closed scheduler later.
    ///
    /// Takes the lock, but not while `sink` runs, and reads every block that was ever used.
    pub fn claim_idle(&self, mut sink: impl FnMut(Task)) {
        let mut claimed = Vec::new();
        let pool = self.lock();
        for slab in &pool.slabs {
            // SAFETY: 1. slabs in the list are valid, and the lock keeps them so (M3).
            for block in unsafe { Slab::blocks(*slab) } {
                // SAFETY: 1. carved blocks have valid headers (M4).
                let header = unsafe { block.as_ref() };
                if header.state.claim_idle() == Wake::Schedule {
                    claimed.push(block);
                }
            }
        }
        drop(pool);
        for block in claimed {
            // SAFETY: 1. we made it active just now (`state.rs`, S1).
            sink(unsafe { Task::from_header(block) });
        }
    }

    /// Returns the number of tasks that have not ended, whether they are queued, asleep or being
    /// run. A task that begins or ends during the count may be in it or not.
    ///
    /// Takes the lock, and reads every block that was ever used.
    pub fn alive(&self) -> usize {
        let pool = self.lock();
        let alive = pool.slabs.iter().map(|&slab| {
            // SAFETY: 1. slabs in the list are valid, and the lock keeps them so (M3).
            let blocks = unsafe { Slab::blocks(slab) };
            // SAFETY: 1. carved blocks have valid headers (M4).
            let alive = blocks.filter(|block| unsafe { block.as_ref() }.state.is_alive());
            alive.count()
        });
        alive.sum()
    }

    fn lock(&self) -> MutexGuard<'_, Pool<S>> {
        // A panic under the lock (out of memory in a `Vec`) leaves the lists whole.
        unpoisoned::lock(&self.pool)
    }

    pub(super) fn allocate(&self, home: &Arc<S>, class: Class) -> NonNull<Header> {
        match class {
            Class::Small(index) => {
                let mut chain = self.take_chain(home, index, 1);
                chain.pop().expect("the pool gives at least one block")
            }
            Class::Large(layout) => {
                let (slab, block) = Slab::large(layout);
                let mut pool = self.lock();
                pool.add_slab(slab);
                pool.went_out(home, 1);
                block
            }
        }
    }

    /// Takes up to `max` blocks, and at least one.
    fn take_chain(&self, home: &Arc<S>, index: usize, max: usize) -> Chain {
        let mut pool = self.lock();
        let chain = pool.take(index, max);
        pool.sizes[index].out += chain.len;
        pool.went_out(home, chain.len);
        chain
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// 1. `block` is of `class`, vacant, and the caller owns it.
    /// 2. It came from this pool.
    pub(super) unsafe fn free(&self, class: Class, block: NonNull<Header>) -> LastReference<S> {
        match class {
            Class::Small(index) => {
                let mut chain = Chain::EMPTY;
                // SAFETY: 1. as the caller promises.
                unsafe { chain.push(block) };
                self.give_chain(index, chain)
            }
            Class::Large(layout) => {
                // SAFETY: 1. a large block's slab is found by its layout.
                let slab = unsafe { Slab::of_large(block, layout) };
                let mut pool = self.lock();
                pool.remove_slab(slab);
                let last = pool.came_back(1);
                drop(pool);
                // SAFETY: 1. it has left the list, and its only block is ours.
                unsafe { Slab::release(slab) };
                last
            }
        }
    }

    fn give_chain(&self, index: usize, chain: Chain) -> LastReference<S> {
        let mut pool = self.lock();
        let size = &mut pool.sizes[index];
        size.free += chain.len;
        size.out -= chain.len;
        match size.chains.last_mut() {
            // Single blocks, from threads that are no workers, are gathered into batches.
            Some(top) if chain.len == 1 && top.len < batch(index) => {
                let mut single = chain;
                while let Some(block) = single.pop() {
                    // SAFETY: 1. just popped off a chain of ours.
                    unsafe { top.push(block) };
                }
            }
            _ => size.chains.push(chain),
        }
        if size.free >= size.trim_at {
            pool.trim(index);
        }
        pool.came_back(chain.len)
    }
}

impl<S> Pool<S> {
    fn went_out(&mut self, home: &Arc<S>, count: usize) {
        if self.out == 0 {
            self.home = Some(Arc::clone(home));
        }
        self.out += count;
    }

    fn came_back(&mut self, count: usize) -> LastReference<S> {
        self.out -= count;
        LastReference(if self.out == 0 {
            self.home.take()
        } else {
            None
        })
    }

    fn add_slab(&mut self, slab: NonNull<Slab>) {
        // SAFETY: 1. a new slab, which no other thread knows.
        unsafe { Slab::set_position(slab, self.slabs.len()) };
        self.slabs.push(slab);
    }

    fn remove_slab(&mut self, slab: NonNull<Slab>) {
        // SAFETY: 1. slabs in the list are valid (M3).
        let position = unsafe { Slab::position(slab) };
        self.slabs.swap_remove(position);
        if let Some(&moved) = self.slabs.get(position) {
            // SAFETY: 1. as above.
            unsafe { Slab::set_position(moved, position) };
        }
    }

    fn take(&mut self, index: usize, max: usize) -> Chain {
        if let Some(top) = self.sizes[index].chains.last_mut() {
            let chain = if top.len <= max {
                self.sizes[index].chains.pop().unwrap_or(Chain::EMPTY)
            } else {
                let mut part = Chain::EMPTY;
                while part.len < max {
                    let Some(block) = top.pop() else { break };
                    // SAFETY: 1. just popped off a chain of ours.
                    unsafe { part.push(block) };
                }
                part
            };
            self.sizes[index].free -= chain.len;
            return chain;
        }
        if let Some(slab) = self.sizes[index].partial.pop() {
            // SAFETY: 1. slabs in the list are valid (M3).
            let mut chain = unsafe { Slab::take_free(slab) };
            self.sizes[index].free -= chain.len;
            if chain.len > max {
                let mut part = Chain::EMPTY;
                while part.len < max {
                    let Some(block) = chain.pop() else { break };
                    // SAFETY: 1. just popped off a chain of ours.
                    unsafe { part.push(block) };
                }
                self.sizes[index].free += chain.len;
                self.sizes[index].chains.push(chain);
                return part;
            }
            return chain;
        }
        self.carve(index, max)
    }

    fn carve(&mut self, index: usize, max: usize) -> Chain {
        if let Some(slab) = self.sizes[index].carve {
            // SAFETY: 1. slabs in the list are valid (M3).
            let chain = unsafe { Slab::carve(slab, SIZES[index], max) };
            if chain.len > 0 {
                return chain;
            }
        }
        let slab = Slab::small();
        self.add_slab(slab);
        self.sizes[index].carve = Some(slab);
        // SAFETY: 1. as above.
        unsafe { Slab::carve(slab, SIZES[index], max) }
    }

    /// Sorts the free blocks into their slabs and releases the slabs that have all of theirs (M3).
    fn trim(&mut self, index: usize) {
        let size = &mut self.sizes[index];
        let mut touched = core::mem::take(&mut size.partial);
        for mut chain in core::mem::take(&mut size.chains) {
            while let Some(block) = chain.pop() {
                let slab = Slab::of_small(block);
                // SAFETY: 1. blocks of these sizes lie in slabs, valid while one is carved (M3).
                // 2. the block is free and was just popped off a chain of ours.
                if unsafe { Slab::give(slab, block) } == 1 {
                    touched.push(slab);
                }
            }
        }
        let mut released = Vec::new();
        for slab in touched {
            // SAFETY: 1. slabs in the list are valid (M3).
            if size.carve != Some(slab) && unsafe { Slab::is_whole(slab) } {
                released.push(slab);
            } else {
                size.partial.push(slab);
            }
        }
        for slab in released {
            // SAFETY: 1. as above.
            self.sizes[index].free -= unsafe { Slab::free_len(slab) };
            self.remove_slab(slab);
            // SAFETY: 1. it has left the list, and all its blocks are in it.
            unsafe { Slab::release(slab) };
        }
        // The next look comes when the free blocks have grown by as much as is in use, or by the
        // spare. So the sorting costs each freed block a constant.
        let size = &mut self.sizes[index];
        size.trim_at = size.free + size.out.max(SPARE_BYTES / SIZES[index]);
    }
}

impl<S> Drop for Pool<S> {
    fn drop(&mut self) {
        debug_assert_eq!(self.out, 0, "M2: blocks that are out keep the pool");
        for slab in self.slabs.drain(..) {
            // SAFETY: 1. all its blocks are in the pool (M2), which goes away.
            unsafe { Slab::release(slab) };
        }
    }
}

impl<S: Schedule> Default for TaskMemory<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for TaskMemory<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskMemory").finish_non_exhaustive()
    }
}
