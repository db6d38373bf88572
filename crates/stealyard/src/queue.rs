//! The worker's own queue: which kind, chosen per scheduler.
//!
//! The kinds differ in type, and a scheduler is one type, so a queue is an enum and each operation a
//! `match` whose branch is always the same in one program: it is predicted, and costs less than can be
//! measured beside the operation itself. A trait object would cost an indirect call, and a type parameter
//! of the scheduler would reach into every signature of its users.

use stealyard_deque::{Ring, RingStealer, Steal};

use crate::error::BuildError;
use crate::task::Task;

/// The kind of queue each worker has for its own tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalQueue {
    /// First in, first out, bounded: Go's. When it is full, half of it goes to the global queue. The
    /// default, because it is fair: no task waits behind tasks that came later.
    Ring {
        /// How many tasks it holds; a power of two from 2 to 2^30. Default: 256, as Go: 2 KiB, and an
        /// overflow is rare.
        capacity: usize,
    },
}

impl LocalQueue {
    pub(crate) fn validate(&self) -> Result<(), BuildError> {
        match *self {
            Self::Ring { capacity } => {
                Ring::<Task>::with_capacity(capacity).map_err(|error| BuildError::Config {
                    field: "local_queue",
                    value: format!("{self:?}"),
                    wanted: format!("another capacity: {error}"),
                })?;
            }
        }
        Ok(())
    }

    /// A queue of this kind. The configuration was validated.
    pub(crate) fn make(&self) -> Queue {
        match *self {
            Self::Ring { capacity } => match Ring::with_capacity(capacity) {
                Ok(ring) => Queue::Ring(ring),
                Err(error) => unreachable!("validated: {error}"),
            },
        }
    }
}

/// The owner's end.
#[derive(Debug)]
pub(crate) enum Queue {
    Ring(Ring<Task>),
}

/// The thieves' end.
#[derive(Clone, Debug)]
pub(crate) enum QueueStealer {
    Ring(RingStealer<Task>),
}

impl Queue {
    #[inline(always)]
    pub(crate) fn push_or_overflow(&self, task: Task, overflow: impl FnMut(Task)) {
        match self {
            Self::Ring(ring) => ring.push_or_overflow(task, overflow),
        }
    }

    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<Task> {
        match self {
            Self::Ring(ring) => ring.pop(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ring(ring) => ring.len(),
        }
    }

    /// How many tasks a batch from elsewhere may bring.
    pub(crate) fn room(&self) -> usize {
        match self {
            Self::Ring(ring) => ring.capacity() - ring.len(),
        }
    }

    pub(crate) fn stealer(&self) -> QueueStealer {
        match self {
            Self::Ring(ring) => QueueStealer::Ring(ring.stealer()),
        }
    }
}

impl QueueStealer {
    pub(crate) fn steal_batch_and_pop(&self, to: &Queue, limit: usize) -> Steal<Task> {
        match (self, to) {
            (Self::Ring(from), Queue::Ring(to)) => from.steal_batch_and_pop(to, limit),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ring(ring) => ring.len(),
        }
    }
}
