//! The traits by which queues and schedulers are measured. Each subject has an adapter in its own
//! file.
//!
//! An adapter adds no cost that the subject's users would not pay as well: no boxing, no extra
//! lock, no check. Items are numbers from 1, one word each.

pub(crate) mod async_executor;
pub(crate) mod concurrent_queue;
pub(crate) mod crossbeam;
pub(crate) mod foreign;
pub(crate) mod injectors;
pub(crate) mod mutex;
pub(crate) mod ours;
pub(crate) mod parking;
pub(crate) mod plain;
pub(crate) mod rayon;
pub(crate) mod st3;
pub(crate) mod tokio;

/// A local queue, as its owner sees it.
pub(crate) trait LocalQueue: Sized {
    /// The name in tables.
    const NAME: &'static str;
    /// The thieves' end.
    type Thief: Thief<Self> + Send + 'static;

    /// Creates a queue for at least 256 items.
    fn new() -> Self;
    /// Puts an item in. The queue is never full in a workload.
    fn push(&self, item: usize);
    /// Takes an item.
    fn pop(&self) -> Option<usize>;
    /// Returns an end for a thief.
    fn thief(&self) -> Self::Thief;
}

/// A local queue, as a thief sees it.
pub(crate) trait Thief<Q> {
    /// Takes one item, trying again as long as another thief is quicker.
    fn steal(&self) -> Option<usize>;
    /// Moves a batch into the thief's own queue. Returns a lower bound of the items there now, and
    /// zero for none.
    fn steal_batch(&self, own: &Q) -> bool;
}

/// A thread's sleep, as the sleeping thread sees it.
pub(crate) trait Sleep: Sized + 'static {
    /// The name in tables.
    const NAME: &'static str;
    /// The other end.
    type Wake: Wake;

    /// Creates a sleep for the calling thread, and the end that wakes it.
    fn new() -> (Self, Self::Wake);
    /// Sleeps until the thread is woken, and returns only if it was woken since the last return.
    fn sleep(&self);
}

/// A thread's sleep, as a waking thread sees it.
pub(crate) trait Wake: Send + 'static {
    /// Wakes the thread, or makes its next sleep return at once.
    fn wake(&self);
}

/// A scheduler of futures.
pub(crate) trait Runtime: Sized + 'static {
    /// The name in tables.
    const NAME: &'static str;
    /// The type that spawns, from inside and outside.
    type Spawner: Spawner;

    /// Starts it with `workers` workers.
    fn start(workers: usize) -> Self;
    /// Returns the value that spawns.
    fn spawner(&self) -> Self::Spawner;
}

/// A value that spawns futures on a scheduler.
pub(crate) trait Spawner: Clone + Send + Sync + 'static {
    /// The handle that gives a task's output.
    type Join<T: Send + 'static>: Future<Output = T> + Send + 'static;

    /// Spawns a future and returns its handle.
    fn spawn<F>(&self, future: F) -> Self::Join<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static;

    /// Spawns a future without a handle.
    fn spawn_detached<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static;
}

/// A scheduler of futures, as a waiting thread outside its workers sees it.
pub(crate) trait Guest: Runtime {
    /// Polls `future` on the calling thread until it is ready.
    fn block_on<F: Future>(&self, future: F) -> F::Output;

    /// Waits for a task. A scheduler without a call of its own for this blocks on the handle.
    fn join<T: Send + 'static>(&self, task: <Self::Spawner as Spawner>::Join<T>) -> T {
        self.block_on(task)
    }
}

/// A pool of threads for fork-join.
pub(crate) trait ForkJoin: Sized + 'static {
    /// The name in tables.
    const NAME: &'static str;

    /// Starts it with `workers` workers.
    fn start(workers: usize) -> Self;
    /// Runs `work` on a worker.
    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R;
    /// Runs both closures, perhaps at the same time.
    fn join<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send)
    -> (A, B);
}
