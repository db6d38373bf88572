//! Fork-join on threads of one's own: each worker has a stack of pending joins, and a worker
//! without work steals halves from the stacks of the others.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

// The standard library's, but in a model.
use stealyard_sync::Arc;
use stealyard_task::fork_join::{Boards, JoinHost, JoinStack};
use stealyard_task::{Ran, Task, join, scope};

thread_local! {
    /// The number of the worker that this thread is.
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

/// What the workers share.
struct Workers {
    stacks: Vec<JoinStack>,
    boards: Arc<Boards>,
    queue: Mutex<VecDeque<Task>>,
    is_over: AtomicBool,
}

// SAFETY: 1. nothing unwinds; 2. the boards are a field, made for as many workers as there are
// stacks, and each worker has a number below that.
unsafe impl JoinHost for Workers {
    fn announce_offer(&self) {
        // The other workers never sleep here. Workers that do would have to be woken.
    }

    fn has_idle_worker(&self) -> bool {
        self.stacks.len() > 1
    }

    fn push(&self, task: Task) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(task);
    }

    fn boards(&self) -> &Arc<Boards> {
        &self.boards
    }

    fn index(&self) -> usize {
        WORKER.get()
    }
}

impl Workers {
    fn new(count: usize) -> Self {
        Self {
            stacks: (0..count).map(|_| JoinStack::new()).collect(),
            boards: Arc::new(Boards::new(count)),
            queue: Mutex::default(),
            is_over: AtomicBool::new(false),
        }
    }

    /// Takes a task from the queue, or half of a join from another worker.
    fn find(&self, own: usize) -> Option<Task> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queued = queue.pop_front();
        drop(queue);
        queued.or_else(|| {
            let others = self.stacks.iter().enumerate();
            let mut others = others.filter(|(index, _)| *index != own);
            others.find_map(|(_, stack)| {
                let half = stack.steal();
                if half.is_none() {
                    stack.request_offer();
                }
                half
            })
        })
    }

    /// Helps worker 0 until its work is over.
    fn help(&self, index: usize) {
        WORKER.set(index);
        // SAFETY: 1. each thread has a number of its own; 2. dropped at the end of this function;
        // 3. the threads end, with all they run, before `run` returns, and the workers outlive it.
        let _entered = unsafe { self.stacks[index].enter(self) };
        // Ordering: Relaxed; a flag of its own.
        while !self.is_over.load(Ordering::Relaxed) {
            match self.find(index) {
                Some(task) => assert!(matches!(task.run(), Ran::Done)),
                None => std::thread::yield_now(),
            }
        }
    }

    /// Runs `work` as worker 0, with the help of the others.
    fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        std::thread::scope(|threads| {
            for index in 1..self.stacks.len() {
                threads.spawn(move || self.help(index));
            }
            // SAFETY: 1. worker 0 is this thread; 2. dropped below; 3. as in `help`.
            let entered = unsafe { self.stacks[0].enter(self) };
            let result = work();
            drop(entered);
            // Ordering: Relaxed; a flag of its own.
            self.is_over.store(true, Ordering::Relaxed);
            result
        })
    }
}

fn sum(numbers: &[u64]) -> u64 {
    if numbers.len() < 1_000 {
        return numbers.iter().sum();
    }
    let (left, right) = numbers.split_at(numbers.len() / 2);
    let (left, right) = join(|| sum(left), || sum(right));
    left + right
}

fn main() {
    let numbers: Vec<u64> = (1..=1_000_000).collect();
    assert_eq!(Workers::new(4).run(|| sum(&numbers)), 500_000_500_000);

    let mut squares = [0; 100];
    Workers::new(4).run(|| {
        scope(|scope| {
            for (number, square) in squares.iter_mut().enumerate() {
                scope.spawn(move |_| *square = number * number);
            }
        });
    });
    assert_eq!(squares[99], 9_801);
}
