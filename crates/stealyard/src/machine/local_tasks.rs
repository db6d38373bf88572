//! Local tasks: those that only the thread which spawned them may run.
//!
//! `spawn_local` puts a task into its machine's `local_ready` queue; only that machine's thread
//! takes it from there. A worker looks there whenever the global queue has its turn
//! (`processor/order.rs`, P2), when it has nothing else, and after each sleep.
//!
//! # Invariants
//! - **LT1** *A local task is touched by one thread.* The thread that made it is the only one that
//!   takes from `local_ready`. Wakers and `abort` on other threads only put it there, and wake the
//!   worker. A token is left each time, so the worker looks before its next sleep ends.
//! - **LT2** *No local task outlives its worker.* A worker that leaves cancels its local tasks,
//!   queued and asleep, until none is alive. Only the worker's own thread changes `local_alive`; it
//!   decrements it when a future is dropped. A waker that is used later finds a completed task and
//!   does nothing.
//!
//! Local tasks belong to the machine: when a P moves to another thread, they stay, and its inbox
//! moves.
//!
//! # Why not …
//! One queue for these and for the inbox: thieves would have to put back what they may not run. The
//! number of its thread in every task, looked at by every thief: users of neither would pay.

use core::pin::Pin;
use core::task::{Context, Poll};

use stealyard_sync::{Arc, thread};
use stealyard_task::{self as task, JoinHandle, LocalMemory, Schedule, Task, TaskMemory, Why};

use crate::machine::Machine;
use crate::machine::current::{self, Role};
use crate::machine_remote::MachineRemote;
use crate::state::SchedulerState;
use crate::user_code::refuse;

/// What a worker's local tasks have in common: their memory, and where they are put when they are
/// woken.
pub(crate) struct LocalTasks {
    shared: Arc<SchedulerState>,
    worker: usize,
    machine: Arc<MachineRemote>,
    memory: TaskMemory<Self>,
}

// SAFETY: 1. the pool is a field, made for these tasks; 2. they never use a worker's own lists; 4.
// no code of the user's is called, but by `SchedulerState::count_panic`, which catches its panics.
unsafe impl Schedule for LocalTasks {
    fn schedule(&self, task: Task, _why: Why) {
        self.machine.local_ready.push(task);
        let own = current::with_worker(|machine| {
            machine.is_some_and(|machine| {
                Arc::ptr_eq(&machine.remote, &self.machine) && machine.processor().is_some()
            })
        });
        if !own {
            self.shared.wake_worker(self.worker);
        }
    }

    fn memory(&self) -> &TaskMemory<Self> {
        &self.memory
    }

    fn with_local<R>(&self, f: impl FnOnce(Option<&LocalMemory>) -> R) -> R {
        f(None)
    }

    fn task_panicked(&self, payload: &(dyn core::any::Any + Send)) {
        self.shared.count_panic(payload);
    }
}

/// A local future, counted as long as it lives.
struct Counted<F> {
    future: F,
    _alive: Alive,
}

/// Counts a future out when it is dropped, on its own thread.
struct Alive(Arc<MachineRemote>);

impl Alive {
    fn new(machine: &Arc<MachineRemote>) -> Self {
        machine.local_begins();
        Self(Arc::clone(machine))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.local_ends();
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: 1. the future is pinned with `self`: it is never moved out, and `Counted` has no
        // destructor of its own and no other way to reach it.
        let future = unsafe { self.map_unchecked_mut(|counted| &mut counted.future) };
        future.poll(context)
    }
}

/// Spawns a task that only this thread runs.
///
/// # Panics
/// If this thread runs no worker of a scheduler, or one that has stopped.
#[track_caller]
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    current::with_worker(|worker| {
        let held = worker.and_then(|machine| Some((machine, machine.processor()?)));
        let Some((machine, processor)) = held else {
            refuse(future, no_worker(worker.is_some()));
        };
        let home = machine.local_tasks.get_or_init(|| {
            Arc::new(LocalTasks {
                shared: Arc::clone(machine.shared()),
                worker: machine.index,
                machine: Arc::clone(&machine.remote),
                memory: TaskMemory::new(),
            })
        });
        let counted = Counted {
            future,
            _alive: Alive::new(&machine.remote),
        };
        // SAFETY: 1. its tasks go to `local_ready` alone, from where only this thread takes them
        // (LT1), and none is left when it leaves (LT2); 2. a `JoinHandle` is `Send` only if the
        // output is; 3. both are `'static`.
        let (task, handle) = unsafe { task::spawn_unchecked(home, None, counted) };
        processor.counters().spawned.add(1);
        machine.remote.local_ready.push(task);
        handle
    })
}

/// Returns why `spawn_local` cannot be called here.
fn no_worker(has_stopped: bool) -> &'static str {
    if has_stopped {
        return "spawn_local: the scheduler is at its end, and this worker has run its last task: spawn in a task, before \
                the end";
    }
    match current::role() {
        Some(Role::Blocking) => {
            "spawn_local: this thread runs a blocking call and is no worker's, so a local task of it would never run: \
             call it inside a task"
        }
        Some(Role::Guest | Role::Worker) => {
            "spawn_local: this thread is inside block_on and is no worker's, so a local task of it would never run: \
             call it inside a task"
        }
        Some(Role::Guard) | None => {
            "spawn_local: this thread is no worker's, or not any more, and a local task of it would never run: call \
             it inside a task"
        }
    }
}

/// Takes a local task of this machine, if any is ready.
pub(crate) fn take(machine: &Machine) -> Option<Task> {
    // A plain load where none was ever spawned.
    machine.remote.local_ready.pop()
}

/// Cancels all local tasks, queued and asleep, until none is alive (LT2): the worker's thread
/// leaves.
pub(crate) fn cancel_all(machine: &Machine, mut cancel: impl FnMut(Task)) {
    let Some(home) = machine.local_tasks.get() else {
        return;
    };
    while machine.remote.local_alive() > 0 {
        while let Some(task) = take(machine) {
            cancel(task);
        }
        home.memory.claim_idle(&mut cancel);
        // A waker on another thread may have claimed a task and not put it into the queue yet.
        thread::yield_now();
    }
}
