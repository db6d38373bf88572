//! What a queue or a scheduler offers to be measured; one adapter a file.
//!
//! An adapter adds nothing that its subject's users would not pay as well: no boxing, no extra lock,
//! no check. Items are numbers from 1, one word each.

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

/// A local queue, seen from its owner.
pub(crate) trait LocalQueue: Sized {
    /// How tables call it.
    const NAME: &'static str;
    /// The thieves' end.
    type Thief: Thief<Self> + Send + 'static;

    /// A queue for at least 256 items.
    fn new() -> Self;
    /// Puts an item in; the queue is never full in a workload.
    fn push(&self, item: usize);
    /// Takes an item.
    fn pop(&self) -> Option<usize>;
    /// An end for a thief.
    fn thief(&self) -> Self::Thief;
}

/// A local queue, seen from a thief.
pub(crate) trait Thief<Q> {
    /// Takes one item, trying again as long as another thief is quicker.
    fn steal(&self) -> Option<usize>;
    /// Moves a batch into the thief's own queue; gives at least how many are there now, zero for none.
    fn steal_batch(&self, own: &Q) -> bool;
}

/// A thread's sleep, seen from the thread that sleeps.
pub(crate) trait Sleep: Sized + 'static {
    /// How tables call it.
    const NAME: &'static str;
    /// The other end.
    type Wake: Wake;

    /// A sleep for the calling thread, and the end that wakes it.
    fn new() -> (Self, Self::Wake);
    /// Returns when, and only when, it was woken since it returned last.
    fn sleep(&self);
}

/// A thread's sleep, seen from a thread that wakes it.
pub(crate) trait Wake: Send + 'static {
    /// Wakes it, or has its next sleep return at once.
    fn wake(&self);
}

/// A scheduler of futures.
pub(crate) trait Runtime: Sized + 'static {
    /// How tables call it.
    const NAME: &'static str;
    /// What spawns from inside and outside.
    type Spawner: Spawner;

    /// Starts it with so many workers.
    fn start(workers: usize) -> Self;
    /// What spawns.
    fn spawner(&self) -> Self::Spawner;
}

/// What spawns futures on a scheduler.
pub(crate) trait Spawner: Clone + Send + Sync + 'static {
    /// What gives a task's output.
    type Join<T: Send + 'static>: Future<Output = T> + Send + 'static;

    /// Spawns a future and gives its handle.
    fn spawn<F>(&self, future: F) -> Self::Join<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static;

    /// Spawns a future that nobody joins.
    fn spawn_detached<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static;
}

/// A scheduler of futures, seen from a thread that is none of its workers and waits.
pub(crate) trait Guest: Runtime {
    /// Polls `future` on the calling thread until it is ready.
    fn block_on<F: Future>(&self, future: F) -> F::Output;

    /// Waits for a task; a scheduler that has nothing of its own for it blocks on the handle.
    fn join<T: Send + 'static>(&self, task: <Self::Spawner as Spawner>::Join<T>) -> T {
        self.block_on(task)
    }
}

/// A pool of threads for fork-join.
pub(crate) trait ForkJoin: Sized + 'static {
    /// How tables call it.
    const NAME: &'static str;

    /// Starts it with so many workers.
    fn start(workers: usize) -> Self;
    /// Runs `work` on a worker.
    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R;
    /// Runs both, perhaps at once.
    fn join<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send)
    -> (A, B);
}
