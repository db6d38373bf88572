//! The two ends of a local queue, as traits that every queue here implements.
//!
//! A scheduler written against these can be given any of the queues, or one of its user's own. What a
//! queue promises beyond the calls themselves is in associated constants, so that a program can check
//! it and a test can hold the queue to it.

use crate::steal::Steal;

/// In which order the owner gets back what it pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Fifo,
    /// Newest first.
    Lifo,
}

/// The owner's end of a local queue: one thread at a time pushes and pops.
pub trait Worker: Send + Sized {
    /// What the queue holds.
    type Item: Send;
    /// The thieves' end.
    type Stealer: Stealer<Item = Self::Item, Worker = Self>;

    /// The owner's order. Thieves always take the oldest.
    const ORDER: Order;

    /// Puts `item` in.
    ///
    /// # Errors
    /// The item itself, if a bounded queue is full.
    fn push(&self, item: Self::Item) -> Result<(), Self::Item>;

    /// Puts `item` in; a bounded queue that is full gives half of its items, and then `item`, to
    /// `overflow` instead, oldest first, as one batch.
    fn push_or_overflow(&self, item: Self::Item, overflow: impl FnMut(Self::Item));

    /// Takes the next item in the owner's order.
    fn pop(&self) -> Option<Self::Item>;

    /// How many items there are: exact if no thief is at work, else a moment's view.
    fn len(&self) -> usize;

    /// True if there is nothing to pop.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The greatest number of items, if there is one.
    fn capacity(&self) -> Option<usize>;

    /// A new handle for a thief.
    fn stealer(&self) -> Self::Stealer;
}

/// The thieves' end of a local queue: any number of threads at once.
pub trait Stealer: Clone + Send + Sync {
    /// What the queue holds.
    type Item: Send;
    /// The owner's end, for a thief that steals into a queue of its own.
    type Worker: Worker<Item = Self::Item>;

    /// Takes the oldest item.
    fn steal(&self) -> Steal<Self::Item>;

    /// Moves up to half of the items (rounded up), at most `limit`, and no more than fit, to `to`,
    /// keeping their order. Gives the number moved, at least one.
    fn steal_batch(&self, to: &Self::Worker, limit: usize) -> Steal<usize>;

    /// As [`steal_batch`](Self::steal_batch), but gives the oldest item of the batch to the caller.
    fn steal_batch_and_pop(&self, to: &Self::Worker, limit: usize) -> Steal<Self::Item>;

    /// How many items could be stolen at this moment.
    fn len(&self) -> usize;

    /// True if there was nothing to steal at some moment during the call.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
