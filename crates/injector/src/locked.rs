//! A global queue behind a lock: the baseline, and hard to beat while few threads meet at it.
//!
//! It is a list of chunks. A batch is built into a chunk of its own before the lock is taken, and
//! linked in with one operation under it. So the lock is held for a few instructions, however large
//! the batch. The number of items is kept in an atomic beside the lock, so that a worker that only
//! asks whether there is an item does not take the lock.
//!
//! # Operations
//! | operation                  | caller | progress                     | under the lock         |
//! | -------------------------- | ------ | ---------------------------- | ---------------------- |
//! | `push`                     | any    | blocking                     | one item moved         |
//! | `push_batch`, `push_front` | any    | blocking                     | one chunk linked, O(1) |
//! | `pop`                      | any    | blocking; wait-free if empty | one item moved         |
//! | `pop_batch`                | any    | blocking; wait-free if empty | the share moved        |
//! | `len`                      | any    | wait-free                    | nothing: one load      |
//!
//! # Layout
//! ```text
//!   front                              back
//!   [a b c] -> [d] -> [e f g h ...]    [x y _ _]    singles go to the last chunk, up to 64
//!   list                               last
//! ```
//! While no batches come and little is queued, the list is empty and everything happens in the last
//! chunk, which stays where it is.
//!
//! # Invariants
//! - **K1** (order) Items leave in the order in which they, or the batch they came in, entered. A
//!   batch that is pushed to the front leaves before everything that was there, in its own order.
//! - **K2** (no empty chunk) No chunk in the list is empty. The last chunk may be; what is in it
//!   comes after the list.
//! - **K3** (exact length) `len` is written under the lock and is the number of items whenever the
//!   lock is free.
//!
//! # Orderings
//! | label | operation              | partner | publishes                                      |
//! | ----- | ---------------------- | ------- | ---------------------------------------------- |
//! | K4    | `len` stores and loads | –       | only the number: the lock hands the items over |
//!
//! There is one thing that the queue leaves to its users. A producer pushes and then asks whether a
//! thread sleeps. A consumer says that it will sleep and then asks whether there is an item. Each
//! of the two needs a store–load barrier between its two steps: see the idle protocol of
//! `stealyard-park`.
//!
//! # Foreign code
//! Code of the user runs at these places:
//! - *The caller's iterator*, in `push_batch` and `push_front`. It sees the queue before the call.
//!   The lock is free.
//! - *The caller's sink*, in `pop_batch`. It sees the queue without the whole share. The lock is
//!   free. If it panics, the rest of the share is dropped.
//! - *Destructors of items*, where the caller or its sink drops them, and when the queue is
//!   dropped. The lock is free. After a panic the other items are dropped too, as by `VecDeque`.
//! - *The allocator*, in every push and in `pop_batch`. The lock is held, so an allocator must not
//!   use the queue.
//!
//! So no other code of a user runs under the lock. A count that would overflow, of items without a
//! size, can panic there; it is looked at before anything is changed.
//!
//! # References
//! `globrunqputbatch` and `globrunqget` in Go's `runtime/proc.go`.

use core::fmt;
use std::collections::VecDeque;

use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::{CachePadded, Mutex, MutexGuard, unpoisoned};

use crate::injector::{Injector, share};

/// The number of items up to which single pushes fill a chunk.
const CHUNK: usize = 64;
/// Shares of at most this many items leave the lock on the taker's stack, one by one. Larger shares
/// leave as chunks.
const SMALL: usize = 32;

/// A global queue behind a lock; first in, first out. See the [crate's](crate) overview.
pub struct Locked<T> {
    len: CachePadded<AtomicUsize>,
    chunks: Mutex<Chunks<T>>,
}

/// The list of chunks, the last chunk, and one emptied chunk that is kept for when the last one is
/// full.
struct Chunks<T> {
    list: VecDeque<VecDeque<T>>,
    last: VecDeque<T>,
    spare: VecDeque<T>,
}

impl<T: Send> Locked<T> {
    /// Creates an empty queue. It allocates nothing before the first push.
    #[must_use]
    pub fn new() -> Self {
        let chunks = Chunks {
            list: VecDeque::new(),
            last: VecDeque::new(),
            spare: VecDeque::new(),
        };
        Self {
            len: CachePadded::new(AtomicUsize::new(0)),
            chunks: Mutex::new(chunks),
        }
    }

    /// Pushes `item` at the back.
    ///
    /// # Panics
    /// If there are `usize::MAX` items already, which is possible only for items without a size.
    /// Then, and in the other pushes, the queue stays as it was.
    pub fn push(&self, item: T) {
        let mut chunks = self.lock();
        let len = self.len_with(1);
        chunks.push(item);
        self.set_len(len);
    }

    /// Pushes all of `items` at the back, together and in their order; O(1) under the lock.
    ///
    /// # Panics
    /// If there would be more than `usize::MAX` items, as [`push`](Self::push).
    pub fn push_batch(&self, items: impl IntoIterator<Item = T>) {
        self.link(items.into_iter().collect(), Chunks::push_back);
    }

    /// Pushes all of `items` in front of everything that is there, in their order; O(1) under the
    /// lock. This is for the queue of a processor that retires, because its tasks have waited
    /// longest.
    ///
    /// # Panics
    /// If there would be more than `usize::MAX` items, as [`push`](Self::push).
    pub fn push_front(&self, items: impl IntoIterator<Item = T>) {
        self.link(items.into_iter().collect(), Chunks::push_front);
    }

    fn link(&self, chunk: VecDeque<T>, put: fn(&mut Chunks<T>, VecDeque<T>)) {
        let count = chunk.len();
        if count > 0 {
            let mut chunks = self.lock();
            let len = self.len_with(count);
            put(&mut chunks, chunk);
            self.set_len(len);
        }
    }

    /// Takes the oldest item. An empty queue costs one load.
    pub fn pop(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let mut chunks = self.lock();
        let item = chunks.pop()?;
        self.shrink(1);
        Some(item)
    }

    /// Takes one worker's share, `min(max, len / workers + 1)`, oldest first, and gives it to
    /// `sink` after the lock is free again. Returns how many items that were. An empty queue costs
    /// one load.
    pub fn pop_batch(&self, max: usize, workers: usize, sink: impl FnMut(T)) -> usize {
        if self.is_empty() {
            return 0;
        }
        let mut chunks = self.lock();
        // Ordering: Relaxed (K4); under the lock it is exact (K3).
        let count = share(self.len.load(Ordering::Relaxed), max, workers);
        self.shrink(count);
        if count <= SMALL {
            let mut batch = [const { None }; SMALL];
            for slot in &mut batch[..count] {
                *slot = chunks.pop();
            }
            drop(chunks);
            batch.into_iter().map_while(|item| item).for_each(sink);
        } else {
            let batch = chunks.take(count);
            drop(chunks);
            batch.into_iter().flatten().for_each(sink);
        }
        count
    }

    /// Returns the number of items at this moment; one load.
    #[must_use]
    pub fn len(&self) -> usize {
        // Ordering: Relaxed (K4); a moment's view.
        self.len.load(Ordering::Relaxed)
    }

    /// Whether the queue was empty at this moment; one load.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Chunks<T>> {
        // No code of a user runs under the lock, and a panic there leaves the list whole.
        unpoisoned::lock(&self.chunks)
    }

    /// Returns the length with `count` more items. The caller holds the lock (K3).
    fn len_with(&self, count: usize) -> usize {
        // Ordering: Relaxed (K4).
        let len = self.len.load(Ordering::Relaxed);
        if size_of::<T>() > 0 {
            return len + count; // memory is full before
        }
        len.checked_add(count)
            .expect("a queue holds at most usize::MAX items")
    }

    /// Sets the length. The caller holds the lock (K3), so a store is enough.
    fn set_len(&self, len: usize) {
        // Ordering: Relaxed (K4).
        self.len.store(len, Ordering::Relaxed);
    }

    /// Lowers the length by `count`. The caller holds the lock (K3).
    fn shrink(&self, count: usize) {
        // Ordering: Relaxed (K4).
        self.set_len(self.len.load(Ordering::Relaxed) - count);
    }
}

impl<T> Chunks<T> {
    fn push(&mut self, item: T) {
        if self.last.len() >= CHUNK {
            self.move_last_to_list();
        }
        self.last.push_back(item);
    }

    /// Links a chunk that is not empty behind everything.
    fn push_back(&mut self, chunk: VecDeque<T>) {
        if !self.last.is_empty() {
            self.move_last_to_list();
        }
        self.list.push_back(chunk);
    }

    /// Links a chunk that is not empty before everything.
    fn push_front(&mut self, chunk: VecDeque<T>) {
        self.list.push_front(chunk);
    }

    /// Moves the last chunk, which is not empty, to the list.
    fn move_last_to_list(&mut self) {
        let fresh = core::mem::take(&mut self.spare);
        let full = core::mem::replace(&mut self.last, fresh);
        self.list.push_back(full);
    }

    fn pop(&mut self) -> Option<T> {
        let Some(first) = self.list.front_mut() else {
            return self.last.pop_front();
        };
        let item = first.pop_front();
        if first.is_empty() {
            self.spare = self.list.pop_front().unwrap_or_default();
            // A chunk that came as a large batch is not worth keeping.
            self.spare.shrink_to(2 * CHUNK);
        }
        item
    }

    /// Takes the first `count` items, in chunks. Whole chunks of the list are not copied; of other
    /// chunks, the items that are taken are.
    fn take(&mut self, count: usize) -> Vec<VecDeque<T>> {
        let mut batch = Vec::new();
        let mut missing = count;
        while missing > 0 {
            let Some(mut first) = self.list.pop_front() else {
                batch.push(self.last.drain(..missing).collect());
                break;
            };
            if first.len() > missing {
                batch.push(first.drain(..missing).collect());
                self.list.push_front(first);
                break;
            }
            missing -= first.len();
            batch.push(first);
        }
        batch
    }
}

impl<T: Send> Injector<T> for Locked<T> {
    fn push(&self, item: T) {
        self.push(item);
    }

    fn push_batch(&self, items: impl IntoIterator<Item = T>) {
        self.push_batch(items);
    }

    fn pop(&self) -> Option<T> {
        self.pop()
    }

    fn pop_batch(&self, max: usize, workers: usize, sink: impl FnMut(T)) -> usize {
        self.pop_batch(max, workers, sink)
    }

    fn len(&self) -> usize {
        self.len()
    }
}

impl<T: Send> Default for Locked<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send> fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").field("len", &self.len()).finish()
    }
}
