//! An executor of another kind: one queue under a lock, and threads that take from it. What it
//! needs of this crate is an implementation of `Schedule` and a loop that runs what it takes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::JoinHandle as Thread;

// The standard library's, but in a model.
use stealyard_sync::Arc;
use stealyard_task::running::{Duty, enter_duty};
use stealyard_task::{JoinHandle, LocalMemory, Ran, Schedule, Task, TaskMemory, Why};

/// What the tasks know of their executor.
#[derive(Debug)]
struct Shared {
    /// None once the executor is closed.
    queue: Mutex<Option<VecDeque<Task>>>,
    is_filled: Condvar,
    memory: TaskMemory<Self>,
}

// SAFETY: 1. the memory is a field; 2. no worker's memory is lent; 3. no thread says that it keeps
// the executor; 4. nothing here unwinds.
unsafe impl Schedule for Shared {
    fn schedule(&self, task: Task, _why: Why) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.as_mut() {
            Some(queue) => queue.push_back(task),
            None => {
                // A destructor may call back: without the lock.
                drop(queue);
                return task.cancel();
            }
        }
        self.is_filled.notify_one();
    }

    fn memory(&self) -> &TaskMemory<Self> {
        &self.memory
    }

    fn with_local<R>(&self, f: impl FnOnce(Option<&LocalMemory>) -> R) -> R {
        f(None)
    }
}

impl Shared {
    /// Takes the next task, and waits for one. `None` once the executor is closed.
    fn next(&self) -> Option<Task> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(task) = queue.as_mut()?.pop_front() {
                return Some(task);
            }
            queue = self
                .is_filled
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self) {
        // Code that would block in here is told so.
        let _duty = enter_duty(Duty::Worker);
        while let Some(task) = self.next() {
            match task.run() {
                Ran::Done | Ran::Pending => {}
                Ran::Again(task) => self.schedule(task, Why::Woken),
            }
        }
    }
}

/// The executor: dropping it cancels the tasks that have not ended.
#[derive(Debug)]
pub struct Executor {
    shared: Arc<Shared>,
    threads: Vec<Thread<()>>,
}

impl Executor {
    /// Starts an executor with so many threads.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Some(VecDeque::new())),
            is_filled: Condvar::new(),
            memory: TaskMemory::new(),
        });
        let start = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.work())
        };
        let threads = (0..threads).map(start).collect();
        Self { shared, threads }
    }

    /// Spawns a future; the handle is a future of its output, and can be joined.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (task, handle) = stealyard_task::spawn(&self.shared, None, future);
        self.shared.schedule(task, Why::Woken);
        handle
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let mut queue = self
            .shared
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let queued = queue.take();
        drop(queue);
        self.shared.is_filled.notify_all();
        for thread in self.threads.drain(..) {
            thread.join().expect("no task's panic ends a worker");
        }
        // Those that were queued, and then those that sleep, wherever their wakers are.
        drop(queued);
        self.shared.memory.claim_idle(Task::cancel);
    }
}

fn main() {
    let executor = Executor::new(2);
    let squares: Vec<_> = (1..=10u64)
        .map(|n| executor.spawn(async move { n * n }))
        .collect();
    let sum = executor.spawn(async move {
        let mut sum = 0;
        for square in squares {
            sum += square.await.expect("no square panics");
        }
        sum
    });
    assert_eq!(sum.join().unwrap(), 385);

    let sleeper = executor.spawn(std::future::pending::<()>());
    drop(executor);
    assert!(sleeper.join().unwrap_err().is_cancelled());
}
