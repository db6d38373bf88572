//! Tasks that would rather run at a certain place, and tasks that must.
//!
//! | spawned by      | waits in                   | who takes it                                             |
//! |-----------------|----------------------------|----------------------------------------------------------|
//! | `spawn_on` a worker | that worker's `mail`   | that worker; another in its last pass, before it would sleep |
//! | `spawn_on` a node   | the node's lane of the global queue | as any task there: its own workers first        |
//! | `spawn_local`   | the worker's `bound` queue | that worker's thread only                                |
//!
//! A worker looks at both queues of its own whenever the global queue has its turn (P2), when it has nothing
//! else, and after each sleep.
//!
//! # Invariants
//! - **PL1** *Mail is seen.* Whoever puts mail announces it, as any work (V1); the last look before a sleep covers
//!   all mail (D1). If its worker sleeps, that one is nudged instead: a nudge leaves a token, so it will look.
//! - **PL2** *A bound task is touched by one thread.* The thread that made it is the only one that takes from
//!   `bound`; wakers and `abort` elsewhere only put it there, and nudge. A token is left each time, so the
//!   worker looks before its next sleep ends.
//! - **PL3** *None is left.* A worker that leaves cancels its bound tasks, queued and asleep, until none is
//!   alive; `alive` is counted by that thread alone, down when the future is dropped. A waker of a bound
//!   task that is used afterwards finds a task that is complete.
//!
//! When a P will move between threads, `bound` stays with the thread, and `mail` with the P.
//!
//! # Why not …
//! One queue for both: thieves would have to put back what they may not run. A task's own thread number in
//! every task, looked at by every thief: users of neither would pay.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use stealyard_sync::atomic::{AtomicUsize, Ordering, fence};
use stealyard_sync::{Arc, thread};

use crate::current::{self, Role};
use crate::processor::Processor;
use crate::shared::Shared;
use crate::task::{self, JoinHandle, Local, Memory, Schedule, Task, Why};
use crate::user_code::refuse;

/// Where a task would rather run; a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The worker with this number, from 0.
    Worker(usize),
    /// A worker of the NUMA node that the kernel calls by this number. Without a placement the scheduler
    /// does not tell nodes apart: then this is the global queue, whatever the number.
    Node(usize),
}

/// The scheduler has no such place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchPlace {
    /// What was asked for.
    pub place: Place,
    /// Numbers below this one exist.
    pub count: usize,
}

impl fmt::Display for NoSuchPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, number, count) = match self.place {
            Place::Worker(number) => ("worker", number, self.count),
            Place::Node(number) => ("node", number, self.count),
        };
        let last = count.saturating_sub(1);
        write!(
            f,
            "{what} {number}: this scheduler has {what}s 0 to {last} (a placement tells nodes apart)"
        )
    }
}

impl core::error::Error for NoSuchPlace {}

/// Puts a new task where it would rather run.
pub(crate) fn submit(shared: &Arc<Shared>, place: Place, task: Task) {
    match place {
        Place::Worker(worker) => {
            let remote = &shared.remotes[worker];
            remote.mail.push(task);
            // Ordering: SeqCst (PL1); partner: the fence behind which a worker that says "awake" takes its mail (G5):
            // it is seen awake, or sees the task. Unmodelled: the mail's own lock orders it on every machine
            // that the models know.
            fence(Ordering::SeqCst);
            // PL1; a worker that falls asleep in this moment looks at all mail before.
            if remote.asleep.get() {
                shared.idle.wake_worker(worker);
            } else {
                shared.idle.announce_from(worker, 1);
            }
        }
        Place::Node(node) => {
            let lane = shared.global.lane_of(node).unwrap_or_default();
            shared.global.push(lane, task);
            let near = shared.remotes.iter().position(|remote| remote.lane == lane);
            match near {
                Some(worker) => shared.idle.announce_from(worker, 1),
                None => shared.idle.announce(1),
            };
        }
    }
    shared.life.after_submit(shared);
}

/// Whether there is such a place.
pub(crate) fn check(shared: &Shared, place: Place) -> Result<(), NoSuchPlace> {
    let (number, count) = match place {
        Place::Worker(worker) => (worker, shared.remotes.len()),
        Place::Node(node) => (node, shared.global.nodes()),
    };
    if number < count {
        Ok(())
    } else {
        Err(NoSuchPlace { place, count })
    }
}

/// What a worker's bound tasks have in common: their memory, and where they are put when they are woken.
pub(crate) struct Bound {
    shared: Arc<Shared>,
    worker: usize,
    memory: Memory<Self>,
}

impl Bound {
    /// Futures that have not been dropped (PL3).
    fn alive(&self) -> &AtomicUsize {
        &self.shared.remotes[self.worker].bound_alive
    }
}

// SAFETY: 1. the pool is a field, made for these tasks; 2. they never use a worker's own lists; 4. no code of the
// user's is called, but by `Shared::task_panicked`, which catches its panics.
unsafe impl Schedule for Bound {
    fn schedule(&self, task: Task, _why: Why) {
        self.shared.remotes[self.worker].bound.push(task);
        let own = current::with_worker(|worker| {
            let processor = worker.and_then(|worker| worker.processor_of(&self.shared));
            processor.is_some_and(|processor| processor.index == self.worker)
        });
        if !own {
            self.shared.idle.wake_worker(self.worker);
        }
    }

    fn memory(&self) -> &Memory<Self> {
        &self.memory
    }

    fn with_local<R>(&self, f: impl FnOnce(Option<&Local>) -> R) -> R {
        f(None)
    }

    fn task_panicked(&self, payload: &(dyn core::any::Any + Send)) {
        self.shared.task_panicked(payload);
    }
}

/// A bound future, counted as long as it lives.
struct Counted<F> {
    future: F,
    _alive: Alive,
}

/// Counts a future out when it is dropped, on its own thread.
struct Alive(Arc<Bound>);

impl Alive {
    fn new(home: &Arc<Bound>) -> Self {
        // Ordering: Relaxed; only this thread counts.
        home.alive().fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(home))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // Ordering: Relaxed; only this thread counts.
        self.0.alive().fetch_sub(1, Ordering::Relaxed);
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: 1. the future is pinned with `self`: it is never moved out, and `Counted` has no destructor
        // of its own and no other way to reach it.
        let future = unsafe { self.map_unchecked_mut(|counted| &mut counted.future) };
        future.poll(context)
    }
}

/// Spawns a task that only this thread runs.
///
/// # Panics
/// If this thread runs no worker of a scheduler, or one that has stopped.
#[track_caller]
pub(crate) fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    current::with_worker(|worker| {
        let held = worker.and_then(|worker| {
            let processor = worker.processor_of(worker.shared())?;
            Some((worker.shared(), processor))
        });
        let Some((shared, processor)) = held else {
            refuse(future, no_worker(worker.is_some()));
        };
        let home = processor.bound.get_or_init(|| {
            Arc::new(Bound {
                shared: Arc::clone(shared),
                worker: processor.index,
                memory: Memory::new(),
            })
        });
        let counted = Counted {
            future,
            _alive: Alive::new(home),
        };
        // SAFETY: 1. its tasks go to `bound` alone, from where only this thread takes them (PL2), and none is left
        // when it leaves (PL3); 2. a `JoinHandle` is `Send` only if the output is; 3. both are `'static`.
        let (task, handle) = unsafe { task::spawn_unchecked(home, None, counted) };
        processor.counters().spawned.add(1);
        processor.remote.bound.push(task);
        handle
    })
}

/// Why `spawn_local` cannot be called here.
fn no_worker(has_stopped: bool) -> &'static str {
    if has_stopped {
        return "spawn_local: the scheduler is at its end, and this worker has run its last task: spawn in a task, before \
                the end";
    }
    match current::role() {
        Some(Role::Blocking) => {
            "spawn_local: this thread runs a blocking call and is no worker's, so a task bound to it would never run: \
             call it inside a task"
        }
        Some(Role::Guest | Role::Worker) => {
            "spawn_local: this thread is inside block_on and is no worker's, so a task bound to it would never run: \
             call it inside a task"
        }
        Some(Role::Entered) | None => {
            "spawn_local: this thread is no worker's, or not any more, and a task bound to it would never run: call \
             it inside a task"
        }
    }
}

/// Runs one bound task of this worker, if any is ready.
pub(crate) fn take_bound(processor: &Processor) -> Option<Task> {
    // A plain load where nobody uses them.
    processor.remote.bound.pop()
}

/// PL3: the worker's thread leaves.
pub(crate) fn cancel_bound(processor: &Processor, mut cancel: impl FnMut(Task)) {
    let Some(home) = processor.bound.get() else {
        return;
    };
    // Ordering: Relaxed; only this thread counts.
    while home.alive().load(Ordering::Relaxed) > 0 {
        while let Some(task) = processor.remote.bound.pop() {
            cancel(task);
        }
        home.memory.claim_idle(&mut cancel);
        // A waker on another thread may have claimed a task and not put it into the queue yet.
        thread::yield_now();
    }
}
