//! The worker's own queue: which kind, chosen per scheduler.
//!
//! The kinds differ in type, and a scheduler is one type, so a queue is an enum and each operation
//! a `match` whose branch is always the same in one program: it is predicted, and costs less than
//! can be measured beside the operation itself. A type parameter of the scheduler would reach into
//! every signature of its users. Only a queue of the user's own is behind a trait object.

use core::fmt;

use stealyard_deque::{
    ChaseLev, ChaseLevStealer, Fifo, Lifo, Order, Ring, RingStealer, Split, SplitStealer, Steal,
};
use stealyard_task::Task;

use crate::config::local_queue::{AnyStealer, AnyWorker, LocalQueue};
use crate::user_code::Quiet;

/// How many tasks are taken at once into a queue that has no bound of its own.
const BATCH: usize = 256;

/// The owner's end.
pub(crate) enum Queue {
    Ring(Ring<Task>),
    Split(Split<Task>),
    Lifo(ChaseLev<Task, Lifo>),
    Fifo(ChaseLev<Task, Fifo>),
    Custom(Quiet<Box<dyn AnyWorker>>),
}

/// The thieves' end.
pub(crate) enum QueueStealer {
    Ring(RingStealer<Task>),
    Split(SplitStealer<Task>),
    Lifo(ChaseLevStealer<Task, Lifo>),
    Fifo(ChaseLevStealer<Task, Fifo>),
    Custom(Quiet<Box<dyn AnyStealer>>),
}

impl Queue {
    /// Makes a queue of this kind, which was validated.
    pub(crate) fn new(kind: &LocalQueue) -> Self {
        let made = match kind {
            LocalQueue::Ring { capacity } => Ring::with_capacity(*capacity).map(Queue::Ring),
            LocalQueue::Split { capacity } => Split::with_capacity(*capacity).map(Queue::Split),
            LocalQueue::ChaseLev { order: Order::Lifo } => Ok(Queue::Lifo(ChaseLev::lifo())),
            LocalQueue::ChaseLev { order: Order::Fifo } => {
                Ok(Queue::Fifo(ChaseLev::<Task>::fifo()))
            }
            LocalQueue::Custom(custom) => Ok(Queue::Custom(Quiet::new(custom.make()))),
        };
        match made {
            Ok(queue) => queue,
            Err(error) => unreachable!("validated: {error}"),
        }
    }

    #[inline(always)]
    pub(crate) fn push_or_overflow(&self, task: Task, mut overflow: impl FnMut(Task)) {
        match self {
            Self::Ring(ring) => ring.push_or_overflow(task, overflow),
            Self::Split(split) => split.push_or_overflow(task, overflow),
            Self::Lifo(deque) => deque.push_or_overflow(task, overflow),
            Self::Fifo(deque) => deque.push_or_overflow(task, overflow),
            Self::Custom(custom) => custom.push_or_overflow(task, &mut overflow),
        }
    }

    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<Task> {
        match self {
            Self::Ring(ring) => ring.pop(),
            Self::Split(split) => split.pop(),
            Self::Lifo(deque) => deque.pop(),
            Self::Fifo(deque) => deque.pop(),
            Self::Custom(custom) => custom.pop(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ring(ring) => ring.len(),
            Self::Split(split) => split.len(),
            Self::Lifo(deque) => deque.len(),
            Self::Fifo(deque) => deque.len(),
            Self::Custom(custom) => custom.len(),
        }
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Ring(ring) => ring.is_empty(),
            Self::Split(split) => split.is_empty(),
            Self::Lifo(deque) => deque.is_empty(),
            Self::Fifo(deque) => deque.is_empty(),
            Self::Custom(custom) => custom.len() == 0,
        }
    }

    /// Returns which task the owner gets next.
    #[inline(always)]
    pub(crate) fn order(&self) -> Order {
        match self {
            Self::Ring(_) | Self::Fifo(_) => Order::Fifo,
            Self::Split(_) | Self::Lifo(_) => Order::Lifo,
            Self::Custom(custom) => custom.order(),
        }
    }

    /// Returns how many tasks a batch from elsewhere may bring.
    pub(crate) fn room(&self) -> usize {
        let capacity = match self {
            Self::Ring(ring) => ring.capacity(),
            Self::Split(split) => split.capacity(),
            Self::Lifo(_) | Self::Fifo(_) => return BATCH,
            Self::Custom(custom) => custom.capacity().unwrap_or(BATCH),
        };
        capacity.saturating_sub(self.len())
    }

    pub(crate) fn stealer(&self) -> QueueStealer {
        match self {
            Self::Ring(ring) => QueueStealer::Ring(ring.stealer()),
            Self::Split(split) => QueueStealer::Split(split.stealer()),
            Self::Lifo(deque) => QueueStealer::Lifo(deque.stealer()),
            Self::Fifo(deque) => QueueStealer::Fifo(deque.stealer()),
            Self::Custom(custom) => QueueStealer::Custom(Quiet::new(custom.stealer())),
        }
    }
}

impl QueueStealer {
    /// Takes what thieves can see.
    pub(crate) fn steal(&self, to: &Queue, limit: usize) -> Steal<Task> {
        match (self, to) {
            (Self::Ring(from), Queue::Ring(to)) => from.steal_batch_and_pop(to, limit),
            (Self::Split(from), Queue::Split(to)) => from.steal_batch_and_pop(to, limit),
            (Self::Lifo(from), Queue::Lifo(to)) => from.steal_batch_and_pop(to, limit),
            (Self::Fifo(from), Queue::Fifo(to)) => from.steal_batch_and_pop(to, limit),
            (Self::Custom(from), Queue::Custom(to)) => from.steal(&***to, limit, false),
            _ => unreachable!("all queues of a scheduler are of one kind"),
        }
    }

    /// Takes also what the owner keeps to itself; may interrupt it.
    pub(crate) fn force(&self, to: &Queue, limit: usize) -> Steal<Task> {
        match (self, to) {
            (Self::Ring(from), Queue::Ring(to)) => from.force_steal(to, limit),
            (Self::Split(from), Queue::Split(to)) => from.force_steal(to, limit),
            (Self::Custom(from), Queue::Custom(to)) => from.steal(&***to, limit, true),
            // The others hide nothing.
            _ => self.steal(to, limit),
        }
    }

    /// Returns how many tasks thieves can see.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ring(ring) => ring.len(),
            Self::Split(split) => split.len(),
            Self::Lifo(deque) => deque.len(),
            Self::Fifo(deque) => deque.len(),
            Self::Custom(custom) => custom.len(),
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks", self.len())
    }
}

impl fmt::Debug for QueueStealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks to steal", self.len())
    }
}
