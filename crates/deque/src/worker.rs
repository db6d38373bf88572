//! The traits of local run queues: what every queue offers, and what each one promises.
//!
//! The two ends of a queue are two types. The [`Worker`] is the owner's end: one thread at a time
//! pushes and pops. The [`Stealer`] is the thieves' end: it can be cloned, sent and shared.
//!
//! A scheduler that is generic over `W: Worker` can run on any queue of this crate or on one of
//! yours. The [`PROMISES`](Worker::PROMISES) tell it what to count on, and the conformance suite
//! (feature `conformance`) checks that a queue keeps them.

use core::fmt;

use crate::steal::Steal;

/// The owner's end of a local run queue.
///
/// The methods take `&self`, so that a worker can be used from within callbacks. Only one thread at
/// a time may call them; the queues of this crate ensure that by being `Send` and not `Sync`. After
/// the worker is dropped, its items can be stolen until the last stealer is dropped.
///
/// # What an implementor promises
/// - **P1** (no loss, no copy) Every item pushed is handed out exactly once: by `pop`, by a steal,
///   or by the destructor of the queue, which drops the remaining items when the last of its
///   handles goes.
/// - **P2** (the owner's order) `pop` returns items in the owner's [`Order`] of all the items in
///   the queue, hidden ones included. It returns `None` only if the queue was empty at some moment
///   during the call.
/// - **P3** (the thieves' order) Thieves take the oldest of the items that they can see. A batch
///   keeps its order in `dest`. [`Hidden`] bounds what thieves may fail to see.
/// - **P4** (`Empty` and `Retry`) A `steal` returns `Empty` only if thieves could see nothing at
///   some moment during the call, or if `dest` had no room. It returns `Retry` only if another
///   thread changed the queue during the call: a thread that is alone is never asked to retry.
/// - **P5** (size of a batch) A batch takes at least one item on success, and at most what
///   [`MaxSteal`], the caller's limit and the room in `dest` allow.
/// - **P6** (capacity) A [`Bounded`](Capacity::Bounded) queue takes at least `capacity` items, and
///   returns an item that it cannot take. There is one exception: after a forced steal that had to
///   leave some of what it found, the queue may take fewer items, by what `Hidden` allows, until
///   the owner has popped those. A [`Growable`](Capacity::Growable) queue never refuses an item,
///   except at a limit that the user set.
/// - **P7** (visibility) A steal sees what was pushed by an operation that happened before the
///   steal (subject to `Hidden`), and with it everything that the pusher did before.
/// - **P8** (force) On a queue that is not empty and whose owner is between operations,
///   [`force_steal`](Stealer::force_steal) succeeds, or returns `Retry` because another thief was
///   quicker.
pub trait Worker: Send + Sized {
    /// The type of the queue's items.
    type Item: Send;

    /// The thieves' end.
    type Stealer: Stealer<Item = Self::Item, Worker = Self>;

    /// The promises of this queue. The conformance suite checks them.
    const PROMISES: Promises;

    /// Pushes `item` as the newest.
    ///
    /// # Errors
    /// Returns `item` if the queue is full, by the rule of capacity (P6).
    fn push(&self, item: Self::Item) -> Result<(), Self::Item>;

    /// Pushes `item` as the newest. If the queue is full, a batch leaves instead: some of the
    /// oldest items that thieves can see, and then `item`, go to `overflow`, oldest first, in one
    /// call each.
    ///
    /// If `overflow` panics, the rest of the batch is dropped. It may use this worker.
    fn push_or_overflow(&self, item: Self::Item, overflow: impl FnMut(Self::Item));

    /// Takes the next item in the owner's order (P2).
    fn pop(&self) -> Option<Self::Item>;

    /// Returns the number of items in the queue, hidden ones included. While thieves are at work,
    /// the result was right at some moment during the call, or is too high.
    fn len(&self) -> usize;

    /// Whether the queue holds no item, hidden ones included (see [`Worker::len`]).
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many items the queue can hold, if that is limited.
    fn capacity(&self) -> Option<usize>;

    /// Returns a new handle for thieves.
    fn stealer(&self) -> Self::Stealer;
}

/// The thieves' end of a local run queue. Any thread may use it, the owner included.
pub trait Stealer: Clone + Send + Sync {
    /// The type of the queue's items.
    type Item: Send;

    /// The owner's end of this queue, or of the thief's own.
    type Worker: Worker<Item = Self::Item>;

    /// Takes the oldest item that thieves can see (P3, P4).
    fn steal(&self) -> Steal<Self::Item>;

    /// Moves items, oldest first, to the newest end of `dest`: half of those that thieves can see
    /// (rounded up, see [`MaxSteal`]), at most `limit`, and no more than fit. Returns how many, at
    /// least one (P3, P4, P5).
    ///
    /// Returns `Empty` also if `dest` has no room (then there is work at hand anyway), if `dest` is
    /// the queue's own worker, or if `limit` is zero.
    fn steal_batch(&self, dest: &Self::Worker, limit: usize) -> Steal<usize>;

    /// Takes a batch as [`steal_batch`](Stealer::steal_batch) does and returns its oldest item; the
    /// others go to `dest`. The item that it returns counts towards `limit` but needs no room.
    fn steal_batch_and_pop(&self, dest: &Self::Worker, limit: usize) -> Steal<Self::Item>;

    /// Does the same as [`steal_batch_and_pop`](Stealer::steal_batch_and_pop), but also reaches
    /// items that the owner keeps to itself (P8), so that they are not stuck behind a long task.
    ///
    /// This may cost a system call and interrupt the owner. A thief calls it once, when it found
    /// nothing anywhere and is about to park. Queues that hide nothing need not implement it.
    fn force_steal(&self, dest: &Self::Worker, limit: usize) -> Steal<Self::Item> {
        self.steal_batch_and_pop(dest, limit)
    }

    /// Returns the number of items that thieves can see. The result was right at some moment during
    /// the call, or is too high.
    fn len(&self) -> usize;

    /// Whether thieves can see no item. It is `true` only if that was so at some moment during the
    /// call.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Forwards the methods of [`Worker`] to the inherent methods of the same names, which have the
/// queue's own documentation. `capacity` is left out, because not every queue has one.
macro_rules! forward_worker_methods {
    () => {
        #[inline]
        fn push(&self, item: Self::Item) -> Result<(), Self::Item> {
            self.push(item)
        }

        #[inline]
        fn push_or_overflow(&self, item: Self::Item, overflow: impl FnMut(Self::Item)) {
            self.push_or_overflow(item, overflow);
        }

        #[inline]
        fn pop(&self) -> Option<Self::Item> {
            self.pop()
        }

        fn len(&self) -> usize {
            self.len()
        }

        fn is_empty(&self) -> bool {
            self.is_empty()
        }

        fn stealer(&self) -> Self::Stealer {
            self.stealer()
        }
    };
}
pub(crate) use forward_worker_methods;

/// Forwards the methods of [`Stealer`] to the inherent methods of the same names. `force_steal` is
/// left out, because not every queue has one.
macro_rules! forward_stealer_methods {
    () => {
        fn steal(&self) -> Steal<Self::Item> {
            self.steal()
        }

        fn steal_batch(&self, dest: &Self::Worker, limit: usize) -> Steal<usize> {
            self.steal_batch(dest, limit)
        }

        fn steal_batch_and_pop(&self, dest: &Self::Worker, limit: usize) -> Steal<Self::Item> {
            self.steal_batch_and_pop(dest, limit)
        }

        fn len(&self) -> usize {
            self.len()
        }

        fn is_empty(&self) -> bool {
            self.is_empty()
        }
    };
}
pub(crate) use forward_stealer_methods;

/// The promises of a queue, as data: for a scheduler's choices, for tables, and for the conformance
/// suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// The item that the owner gets next.
    pub order: Order,
    /// Whether the queue can be full.
    pub capacity: Capacity,
    /// The items that thieves may fail to see.
    pub hidden: Hidden,
    /// The most items that one batch takes.
    pub max_steal: MaxSteal,
    /// The progress of `push`.
    pub push: Progress,
    /// The progress of `pop`.
    pub pop: Progress,
    /// The progress of the stealing operations.
    pub steal: Progress,
    /// The threads that may push and pop.
    pub owner: Callers,
    /// The threads that may steal.
    pub thieves: Callers,
}

/// The item that the owner gets next. Thieves always take the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The oldest: fair, and right for tasks that wake each other.
    Fifo,
    /// The newest: warm in the cache, and right for fork-join.
    Lifo,
}

/// Whether a queue can be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capacity {
    /// It can: its capacity is set when it is made, and a push to a full queue returns the item.
    Bounded,
    /// It cannot, because it grows, unless the user set a limit.
    Growable,
}

/// The items that thieves may fail to see, until they use [`Stealer::force_steal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hidden {
    /// None: a pushed item can be stolen at once.
    Nothing,
    /// At most this many of the oldest items, which the owner has set aside to pop next.
    Oldest(usize),
    /// Any number of the newest, which the owner has not shared yet.
    Newest,
}

impl Hidden {
    /// Returns how many of the oldest items thieves may fail to see.
    #[must_use]
    pub const fn most(self) -> usize {
        match self {
            Self::Nothing | Self::Newest => 0,
            Self::Oldest(most) => most,
        }
    }
}

/// The most items that one batch takes, of those that thieves can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MaxSteal {
    /// One item.
    One,
    /// Half, rounded up.
    Half,
    /// Half, rounded up, but at most this many.
    HalfUpTo(usize),
}

impl MaxSteal {
    /// Returns the most items that a batch takes when thieves see `visible` items.
    #[inline]
    #[must_use]
    pub const fn of(self, visible: usize) -> usize {
        let half = visible.div_ceil(2);
        match self {
            Self::One => {
                if visible == 0 {
                    0
                } else {
                    1
                }
            }
            Self::Half => half,
            Self::HalfUpTo(most) => {
                if half < most {
                    half
                } else {
                    most
                }
            }
        }
    }
}

/// The progress guarantee of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Progress {
    /// The operation may wait for another thread, as with a lock: a thread that is off its core can
    /// hold it up.
    Blocking,
    /// The operation ends, or another thread's operation succeeds meanwhile: no thread can hold up
    /// all others.
    LockFree,
    /// The operation ends after a bounded number of steps, whatever the other threads do.
    WaitFree,
}

/// The threads that may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Callers {
    /// One thread at a time; the types enforce it.
    OneAtATime,
    /// Any number of threads at once, but only one of them succeeds at a time; the others get
    /// `Retry`.
    ManyOneWins,
    /// Any number of threads at once, none of which waits for another.
    Many,
}

impl fmt::Display for Promises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "order {:?}, capacity {:?}, hidden {:?}, greatest steal {:?}, push {:?}, pop {:?}, steal {:?}",
            self.order, self.capacity, self.hidden, self.max_steal, self.push, self.pop, self.steal
        )
    }
}

#[cfg(test)]
mod tests {
    //! Goal: the arithmetic of the greatest steal. Method: small cases written out.

    use super::MaxSteal;

    #[test]
    fn the_largest_batch_rounds_up_and_stops_at_its_limit() {
        assert_eq!(
            [0, 1, 2, 3, 8].map(|n| MaxSteal::Half.of(n)),
            [0, 1, 1, 2, 4]
        );
        assert_eq!([0, 1, 9].map(|n| MaxSteal::One.of(n)), [0, 1, 1]);
        assert_eq!([0, 3, 9].map(|n| MaxSteal::HalfUpTo(4).of(n)), [0, 2, 4]);
    }
}
