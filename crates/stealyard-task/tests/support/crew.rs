//! A crew for tests: the test's own thread is the one that joins. Thieves ask it, and each other,
//! for halves of joins all the time.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

use stealyard_task::fork_join::{Boards, JoinHost, JoinStack};
use stealyard_task::{Ran, Task};

thread_local! {
    /// The number of the worker that this thread is.
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

struct Shared {
    boards: Arc<Boards>,
    stacks: Vec<JoinStack>,
    queue: Mutex<VecDeque<Task>>,
    stop: AtomicBool,
    pause: AtomicBool,
    /// Thieves take what is offered, and force nothing out.
    wait_for_offers: AtomicBool,
    /// How often each thief went through its loop.
    rounds: Vec<AtomicUsize>,
}

fn count(rounds: &AtomicUsize) -> usize {
    // Ordering: Acquire; a thief that has gone round has seen the flags set before.
    rounds.load(Ordering::Acquire)
}

// SAFETY: 1. no method unwinds; 2. the boards are a field, and the numbers are below what they were
// made for.
unsafe impl JoinHost for Shared {
    fn announce_offer(&self) {}

    fn has_idle_worker(&self) -> bool {
        // Ordering: Relaxed; a hint.
        self.stacks.len() > 1 && !self.pause.load(Ordering::Relaxed)
    }

    fn push(&self, task: Task) {
        self.queue.lock().unwrap().push_back(task);
    }

    fn boards(&self) -> &Arc<Boards> {
        &self.boards
    }

    fn index(&self) -> usize {
        WORKER.get()
    }
}

impl Shared {
    fn steal(&self, own: usize) -> Option<Task> {
        if let Some(task) = self.queue.lock().unwrap().pop_front() {
            return Some(task);
        }
        // Ordering: Relaxed; a hint.
        if self.pause.load(Ordering::Relaxed) {
            return None;
        }
        for (index, stack) in self.stacks.iter().enumerate() {
            if index != own {
                if let Some(task) = stack.steal() {
                    return Some(task);
                }
                stack.request_offer();
            }
        }
        None
    }

    fn force(&self, own: usize) -> Option<Task> {
        let others = self
            .stacks
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != own);
        others.filter_map(|(_, stack)| stack.force()).next()
    }

    fn may_force(&self) -> bool {
        // Ordering: Relaxed; a hint.
        let paused = self.pause.load(Ordering::Relaxed);
        // Ordering: Relaxed; set before the thieves' rounds are counted.
        !paused && !self.wait_for_offers.load(Ordering::Relaxed)
    }

    fn thief(&self, index: usize) {
        WORKER.set(index);
        // SAFETY: 1. each thread its own; 2. dropped at the end of this function; 3. `Crew` joins
        // the threads before the stacks are dropped.
        let _entered = unsafe { self.stacks[index].enter(self) };
        let mut misses = 0;
        // Ordering: Relaxed; a flag of its own.
        while !self.stop.load(Ordering::Relaxed) {
            // Ordering: Release; see `count`.
            self.rounds[index - 1].fetch_add(1, Ordering::Release);
            let found = self.steal(index).or_else(|| {
                misses += 1;
                // As a worker does before it sleeps.
                (misses % 20 == 0 && self.may_force()).then(|| self.force(index))?
            });
            match found {
                Some(task) => assert!(matches!(task.run(), Ran::Done)),
                None => std::thread::yield_now(),
            }
        }
    }
}

/// The threads; the one that installs is the first worker.
pub(crate) struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    stack: usize,
}

impl Crew {
    pub(crate) fn new(thieves: usize) -> Self {
        Self::with_stack(thieves, 8 * 1024 * 1024)
    }

    pub(crate) fn with_stack(thieves: usize, stack: usize) -> Self {
        let shared = Arc::new(Shared {
            boards: Arc::new(Boards::new(thieves + 1)),
            stacks: (0..=thieves).map(|_| JoinStack::new()).collect(),
            queue: Mutex::default(),
            stop: AtomicBool::new(false),
            pause: AtomicBool::new(false),
            wait_for_offers: AtomicBool::new(false),
            rounds: (0..thieves).map(|_| AtomicUsize::new(0)).collect(),
        });
        let threads = (1..=thieves)
            .map(|index| {
                let shared = Arc::clone(&shared);
                Builder::new()
                    .stack_size(stack)
                    .spawn(move || shared.thief(index))
                    .unwrap()
            })
            .collect();
        Self {
            shared,
            threads,
            stack,
        }
    }

    /// Runs `f` on a worker's thread of its own.
    pub(crate) fn install<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|threads| {
            let worker = Builder::new()
                .stack_size(self.stack)
                .spawn_scoped(threads, || {
                    // SAFETY: 1. one install at a time, by the test; 2. dropped here; 3. as in
                    // `thief`.
                    let _entered = unsafe { self.shared.stacks[0].enter(&*self.shared) };
                    let result = f();
                    // What is left in the queue are tickets that come late.
                    let left = std::mem::take(&mut *self.shared.queue.lock().unwrap());
                    drop(left);
                    result
                });
            match worker.unwrap().join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    pub(crate) fn pause_thieves(&self, pause: bool) {
        // Ordering: Relaxed; a hint.
        self.shared.pause.store(pause, Ordering::Relaxed);
    }

    /// Pauses the thieves, or not, and waits until all of them have seen it.
    pub(crate) fn settle(&self, pause: bool) {
        self.pause_thieves(pause);
        if pause {
            self.wait_for_rounds();
        }
    }

    /// Has thieves take only what is offered to them from now on, and waits until each has asked.
    pub(crate) fn only_offers(&self) {
        // Ordering: Relaxed; a hint, and two rounds are waited for.
        self.shared.wait_for_offers.store(true, Ordering::Relaxed);
        self.wait_for_rounds();
    }

    /// Waits until each thief has gone through a whole round.
    fn wait_for_rounds(&self) {
        let rounds: Vec<_> = self.shared.rounds.iter().map(count).collect();
        for (thief, before) in self.shared.rounds.iter().zip(rounds) {
            while count(thief) < before + 2 {
                std::thread::yield_now();
            }
        }
    }

    /// Returns how many joins the joining thread has offered.
    pub(crate) fn offers(&self) -> u64 {
        self.shared.stacks[0].offers()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        // Ordering: Relaxed; a flag of its own.
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}
