//! A whole search loop: run-next slot, own queue, global queue, a steal from the others, and a
//! forced steal before going idle.
//!
//! Four threads count the nodes of a tree; each node is a task that makes two more.
//! Run with `cargo run --release -p stealyard-deque --example find_task`.
#![expect(clippy::print_stdout, reason = "an example reports what it did")]

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use stealyard_deque::{Ring, RingStealer, Slot, Steal};

/// A subtree of this depth.
type Task = Box<u32>;

/// The queues in which one thread looks for tasks.
struct Worker<'a> {
    next: Slot<Task>,
    queue: Ring<Task>,
    others: Vec<RingStealer<Task>>,
    global: &'a Mutex<VecDeque<Task>>,
}

impl Worker<'_> {
    fn find_task(&self) -> Option<Task> {
        self.next
            .take()
            .or_else(|| self.queue.pop())
            .or_else(|| self.global.lock().unwrap().pop_front())
            .or_else(|| self.search(|victim| victim.steal_batch_and_pop(&self.queue, usize::MAX)))
            .or_else(|| self.search(|victim| victim.force_steal(&self.queue, usize::MAX)))
    }

    /// Tries every victim until all are empty. One `Retry` means that there was something.
    fn search(&self, attempt: impl Fn(&RingStealer<Task>) -> Steal<Task>) -> Option<Task> {
        loop {
            match self.others.iter().map(&attempt).collect() {
                Steal::Success(task) => return Some(task),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    fn spawn(&self, task: Task) {
        // The newest task runs next. The task that waited there goes to the queue, and half of a
        // full queue goes to the global one.
        if let Some(displaced) = self.next.put(task) {
            self.queue.push_or_overflow(displaced, |task| {
                self.global.lock().unwrap().push_back(task);
            });
        }
    }
}

fn main() {
    const DEPTH: u32 = 20;
    let global = Mutex::new(VecDeque::from([Box::new(DEPTH)]));
    let queues: Vec<Ring<Task>> = (0..4).map(|_| Ring::new()).collect();
    let stealers: Vec<_> = queues.iter().map(Ring::stealer).collect();
    let (remaining, ran) = (AtomicU64::new((2 << DEPTH) - 1), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for queue in queues {
            let (global, remaining, ran) = (&global, &remaining, &ran);
            let others = stealers.clone();
            scope.spawn(move || {
                let worker = Worker {
                    next: Slot::new(),
                    queue,
                    others,
                    global,
                };
                while remaining.load(Ordering::Relaxed) > 0 {
                    let Some(depth) = worker.find_task() else {
                        std::thread::yield_now();
                        continue;
                    };
                    for _ in 0..2 * u32::from(*depth > 0) {
                        worker.spawn(Box::new(*depth - 1));
                    }
                    ran.fetch_add(1, Ordering::Relaxed);
                    remaining.fetch_sub(1, Ordering::Relaxed);
                }
            });
        }
    });
    let ran = ran.into_inner();
    assert_eq!(ran, (2 << DEPTH) - 1, "every task ran once");
    println!("{ran} tasks ran, each once");
}
