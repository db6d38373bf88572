//! The trait family: what every local run queue offers, and what each one promises.
//!
//! The two ends of a queue are two types. The [`Worker`] is its owner's: one thread at a time pushes and
//! pops. The [`Stealer`] is everybody else's: it can be cloned, sent and shared. A scheduler that is
//! generic over `W: Worker` can run on any queue of this crate or on one of yours; the
//! [`PROMISES`](Worker::PROMISES) tell it what to count on, and the conformance suite (feature
//! `conformance`) checks that they are kept.

use core::fmt;

use crate::Steal;

/// The owner's end of a local run queue.
///
/// The methods take `&self` so that a worker can be used from within callbacks; only one thread at a
/// time may call them, which the queues of this crate ensure by being `Send` and not `Sync`. Items stay
/// stealable when the worker is dropped, until the last stealer goes.
///
/// # What an implementor promises
/// - **P1** Every item pushed is handed out exactly once: by `pop`, by a steal, or by the destructor of
///   the queue (which drops what is left when the last of its handles goes).
/// - **P2** `pop` gives items in the owner's [`Order`] of all the items in the queue, hidden ones
///   included. It says `None` only if the queue was empty at some moment during the call.
/// - **P3** Thieves take the oldest of the items they can see; a batch keeps its order in `dest`. What
///   they may fail to see is bounded by [`Hidden`].
/// - **P4** A `steal` says `Empty` only if thieves could see nothing at some moment during the call (or
///   `dest` had no room), and `Retry` only if another thread changed the queue during the call: alone, it
///   never asks for a retry.
/// - **P5** A batch takes at least one item on success, and at most what [`MaxSteal`], the caller's limit
///   and the room in `dest` allow.
/// - **P6** A [`Bounded`](Capacity::Bounded) queue takes at least `capacity` items, and gives back what it
///   can't take (after a forced steal that had to leave some of what it found, it may take fewer by what
///   `Hidden` allows, until the owner has popped that). A [`Growable`](Capacity::Growable) one never refuses, except at a limit the user set.
/// - **P7** What was pushed by an operation that happened before a steal is seen by that steal (subject
///   to `Hidden`), and with it everything that its pusher did before.
/// - **P8** On a queue that is not empty and whose owner is between operations,
///   [`force_steal`](Stealer::force_steal) succeeds, or says `Retry` because another thief was quicker.
pub trait Worker: Send + Sized {
    /// What the queue holds.
    type Item: Send;

    /// The thieves' end.
    type Stealer: Stealer<Item = Self::Item, Worker = Self>;

    /// What this queue promises; checked by the conformance suite.
    const PROMISES: Promises;

    /// Adds `item` as the newest.
    ///
    /// # Errors
    /// Gives `item` back if the queue is full (P6).
    fn push(&self, item: Self::Item) -> Result<(), Self::Item>;

    /// Adds `item` as the newest; if the queue is full, a batch leaves instead: some of the oldest items
    /// that thieves can see, and then `item`, go to `overflow`, one after the other, oldest first.
    ///
    /// If `overflow` panics, the rest of the batch is dropped. It may use this worker.
    fn push_or_overflow(&self, item: Self::Item, overflow: impl FnMut(Self::Item));

    /// Takes the next item in the owner's order (P2).
    fn pop(&self) -> Option<Self::Item>;

    /// How many items the queue holds, hidden ones included. With thieves at work this is what was true
    /// at some moment during the call, or more.
    fn len(&self) -> usize;

    /// Whether the queue holds nothing, hidden items included (see [`Worker::len`]).
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items the queue can hold, if that is limited.
    fn capacity(&self) -> Option<usize>;

    /// A new handle for thieves.
    fn stealer(&self) -> Self::Stealer;
}

/// The thieves' end of a local run queue. Any thread may call it, also the owner.
pub trait Stealer: Clone + Send + Sync {
    /// What the queue holds.
    type Item: Send;

    /// The owner's end, of this queue or of the thief's own.
    type Worker: Worker<Item = Self::Item>;

    /// Takes the oldest item that thieves can see (P3, P4).
    fn steal(&self) -> Steal<Self::Item>;

    /// Moves items, oldest first, to the new end of `dest`: half of those that thieves can see (rounded
    /// up, see [`MaxSteal`]), at most `limit`, and no more than fit. Says how many, at least one (P3, P4,
    /// P5).
    ///
    /// `Empty` also if `dest` has no room (then there is work at hand anyway), if it is the queue's own
    /// worker, or if `limit` is zero.
    fn steal_batch(&self, dest: &Self::Worker, limit: usize) -> Steal<usize>;

    /// Takes a batch as [`steal_batch`](Stealer::steal_batch) does, returns its oldest item, which counts
    /// for `limit` but needs no room, and moves the others to `dest`.
    fn steal_batch_and_pop(&self, dest: &Self::Worker, limit: usize) -> Steal<Self::Item>;

    /// Like [`steal_batch_and_pop`](Stealer::steal_batch_and_pop), but also gets at items that the owner
    /// keeps to itself (P8), so that they are not stuck behind a long task.
    ///
    /// This may cost a system call and interrupt the owner: a thief calls it once, when it found nothing
    /// anywhere and is about to park. Queues that hide nothing need not implement it.
    fn force_steal(&self, dest: &Self::Worker, limit: usize) -> Steal<Self::Item> {
        self.steal_batch_and_pop(dest, limit)
    }

    /// How many items thieves can see: what was true at some moment during the call, or more.
    fn len(&self) -> usize;

    /// Whether thieves can see nothing. `true` only if that was so at some moment during the call.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a queue promises, as data: for a scheduler's choices, for tables, for the conformance suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// Which item the owner gets next.
    pub order: Order,
    /// Whether the queue can be full.
    pub capacity: Capacity,
    /// Which items thieves may fail to see.
    pub hidden: Hidden,
    /// How many items one batch takes at most.
    pub max_steal: MaxSteal,
    /// How `push` makes progress.
    pub push: Progress,
    /// How `pop` makes progress.
    pub pop: Progress,
    /// How the stealing operations make progress.
    pub steal: Progress,
    /// Who may push and pop.
    pub owner: Callers,
    /// Who may steal.
    pub thieves: Callers,
}

/// Which item the owner gets next. Thieves always take the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The oldest: fair, right for tasks that wake each other.
    Fifo,
    /// The newest: warm in the cache, right for fork-join.
    Lifo,
}

/// Whether a queue can be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capacity {
    /// Yes: its capacity is set when it is made, and a push to a full one gives the item back.
    Bounded,
    /// No, unless the user set a limit: it grows.
    Growable,
}

/// Which items thieves may fail to see, until they use [`Stealer::force_steal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hidden {
    /// None: a pushed item can be stolen at once.
    Nothing,
    /// At most so many of the oldest, which the owner has set aside to pop next.
    Oldest(usize),
    /// Any number of the newest, which the owner has not shared yet.
    Newest,
}

impl Hidden {
    /// How many of the oldest items thieves may fail to see.
    #[must_use]
    pub const fn most(self) -> usize {
        match self {
            Self::Nothing | Self::Newest => 0,
            Self::Oldest(most) => most,
        }
    }
}

/// How many items one batch takes at most, of those that thieves can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MaxSteal {
    /// One.
    One,
    /// Half, rounded up.
    Half,
    /// Half, rounded up, but at most so many.
    HalfUpTo(usize),
}

impl MaxSteal {
    /// The most that a batch takes when thieves see `visible` items.
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

/// What an operation promises about its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Progress {
    /// It may wait for another thread, as with a lock: a descheduled thread can hold it up.
    Blocking,
    /// It ends, or another thread's operation succeeds meanwhile: nobody can hold up everybody.
    LockFree,
    /// It ends after a bounded number of steps, whatever the others do.
    WaitFree,
}

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Callers {
    /// One thread at a time; the types see to it.
    OneAtATime,
    /// Any number of threads at once, but only one of them succeeds at a time; the rest get `Retry`.
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
    fn the_greatest_steal_rounds_up_and_stops_at_its_limit() {
        assert_eq!(
            [0, 1, 2, 3, 8].map(|n| MaxSteal::Half.of(n)),
            [0, 1, 1, 2, 4]
        );
        assert_eq!([0, 1, 9].map(|n| MaxSteal::One.of(n)), [0, 1, 1]);
        assert_eq!([0, 3, 9].map(|n| MaxSteal::HalfUpTo(4).of(n)), [0, 2, 4]);
    }
}
