//! The kinds of queue that a worker can have for its own tasks, and how a user's own kind joins in.

use core::any::Any;
use core::fmt;

use stealyard_deque::{Order, Steal, Stealer, Worker};
use stealyard_sync::Arc;
use stealyard_task::Task;

use crate::config::validate::Row;

/// The largest ring takes 8 MiB for each worker; where more tasks than that are to stay with their
/// worker, a `ChaseLev` grows as needed.
const RING_MAX: usize = 1 << 20;
/// The most that its index can count.
const SPLIT_MAX: usize = 1 << 15;

/// The kind of queue each worker has for its own tasks.
#[derive(Clone)]
#[non_exhaustive]
pub enum LocalQueue {
    /// A bounded queue, first in, first out, as Go's. When it is full, half of it goes to the
    /// global queue. The default, because it is fair: no task waits behind tasks that came later.
    Ring {
        /// How many tasks it holds; a power of two from 2 to 2^20. Default: 256, as Go: 2 KiB, and
        /// an overflow is rare.
        capacity: usize,
    },
    /// A bounded stack, last in, first out, which costs its owner no more than a `Vec`. Thieves
    /// take the oldest task. For tasks that split further and are not waited for in order. It is
    /// not fair: under a steady flood of new tasks the old ones wait for a thief.
    Split {
        /// How many tasks it holds; a power of two from 2 to 2^15.
        capacity: usize,
    },
    /// A queue without a bound: it grows, and nothing overflows to the global queue. Every task is
    /// visible to thieves at once. First in, first out it is as fair as the ring.
    ChaseLev {
        /// Which task the owner gets next.
        order: Order,
    },
    /// A queue of the user's own; see [`LocalQueue::custom`].
    Custom(CustomQueue),
}

/// Makes queues of the user's own kind; see [`LocalQueue::custom`].
#[derive(Clone)]
pub struct CustomQueue(Arc<Make>);

type Make = Box<dyn Fn() -> Box<dyn AnyWorker> + Send + Sync>;

impl LocalQueue {
    /// Takes queues of the user's own kind: any type that implements `stealyard_deque::Worker` for
    /// this crate's [`Task`]. The conformance suite of `stealyard-deque` (feature `conformance`)
    /// tells whether it keeps the promises that the scheduler relies on. Each operation costs an
    /// indirect call.
    ///
    /// It must not panic. A panic in the worker's loop ends that worker's thread, and the others
    /// run its tasks; when the last worker's thread has ended so, the scheduler has ended.
    ///
    /// ```
    /// use stealyard::{Builder, LocalQueue, Task};
    ///
    /// let queue = LocalQueue::custom(|| stealyard_deque::Ring::<Task>::new().claiming(1));
    /// let scheduler = Builder::new().parallelism(2).local_queue(queue).build()?;
    /// assert_eq!(scheduler.spawn(async { 1 }).join().unwrap(), 1);
    /// # Ok::<(), stealyard::BuildError>(())
    /// ```
    pub fn custom<W>(make: impl Fn() -> W + Send + Sync + 'static) -> Self
    where
        W: Worker<Item = Task> + 'static,
        W::Stealer: 'static,
    {
        Self::Custom(CustomQueue(Arc::new(Box::new(move || Box::new(make())))))
    }

    /// Returns the row of its capacity, if it has one. Builds nothing: on a small machine there
    /// might not be the memory for the largest.
    pub(super) fn row(&self) -> Option<Row> {
        let (capacity, max) = match *self {
            Self::Ring { capacity } => (capacity, RING_MAX),
            Self::Split { capacity } => (capacity, SPLIT_MAX),
            Self::ChaseLev { .. } | Self::Custom(_) => return None,
        };
        let fits = capacity.is_power_of_two() && (2..=max).contains(&capacity);
        let wanted = format!("of a capacity that is a power of two from 2 to {max}");
        Some(Row::new("local_queue", format!("{self:?}"), fits, wanted))
    }
}

/// The owner's end, of whatever type.
pub(crate) trait AnyWorker: Send {
    fn push_or_overflow(&self, task: Task, overflow: &mut dyn FnMut(Task));
    fn pop(&self) -> Option<Task>;
    fn len(&self) -> usize;
    fn capacity(&self) -> Option<usize>;
    fn order(&self) -> Order;
    fn stealer(&self) -> Box<dyn AnyStealer>;
    fn as_any(&self) -> &dyn Any;
}

/// The thieves' end, of whatever type.
pub(crate) trait AnyStealer: Send + Sync {
    fn steal(&self, to: &dyn AnyWorker, limit: usize, force: bool) -> Steal<Task>;
    fn len(&self) -> usize;
}

impl<W> AnyWorker for W
where
    W: Worker<Item = Task> + 'static,
    W::Stealer: 'static,
{
    fn push_or_overflow(&self, task: Task, overflow: &mut dyn FnMut(Task)) {
        Worker::push_or_overflow(self, task, overflow);
    }

    fn pop(&self) -> Option<Task> {
        Worker::pop(self)
    }

    fn len(&self) -> usize {
        Worker::len(self)
    }

    fn capacity(&self) -> Option<usize> {
        Worker::capacity(self)
    }

    fn order(&self) -> Order {
        W::PROMISES.order
    }

    fn stealer(&self) -> Box<dyn AnyStealer> {
        Box::new(CustomStealer::<W>(Worker::stealer(self)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct CustomStealer<W: Worker>(W::Stealer);

impl<W> AnyStealer for CustomStealer<W>
where
    W: Worker<Item = Task> + 'static,
{
    fn steal(&self, to: &dyn AnyWorker, limit: usize, force: bool) -> Steal<Task> {
        let Some(to) = to.as_any().downcast_ref::<W>() else {
            unreachable!("all queues of a scheduler are of one kind");
        };
        if force {
            self.0.force_steal(to, limit)
        } else {
            self.0.steal_batch_and_pop(to, limit)
        }
    }

    fn len(&self) -> usize {
        Stealer::len(&self.0)
    }
}

impl fmt::Debug for LocalQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring { capacity } => write!(f, "Ring of {capacity}"),
            Self::Split { capacity } => write!(f, "Split of {capacity}"),
            Self::ChaseLev { order } => write!(f, "ChaseLev, {order:?}"),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

impl CustomQueue {
    /// Makes a queue.
    pub(crate) fn make(&self) -> Box<dyn AnyWorker> {
        self.0()
    }
}

impl fmt::Debug for CustomQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomQueue")
    }
}
