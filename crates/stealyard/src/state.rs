//! State: what all threads of a scheduler share, as plain data.
//!
//! Its methods count, look, and call code of the user's; no protocol between threads is here. Those
//! are in `search` (how a task is made ready and found) and in `run` (how threads begin and end).
//! Things of one thread are in `machine`; things that go with the right to run tasks are in
//! `processor`.
//!
//! A worker is a machine with a P. Here machine `i` holds P `i`, and both are found by the worker's
//! number.

pub(crate) mod blocking_pool;
pub(crate) mod lifecycle;
pub(crate) mod monitor_post;

use core::any::Any;
use core::fmt;

use stealyard_park::Idle;
use stealyard_sync::Arc;
use stealyard_task::fork_join::Boards;
use stealyard_task::running::{self, Code};
use stealyard_task::{Task, TaskMemory};

use crate::config::Config;
use crate::machine_remote::MachineRemote;
use crate::metrics::wake_timer::WakeTimer;
use crate::metrics::{Metrics, SharedCounts, WorkerMetrics};
use crate::processor::global_queue::GlobalQueue;
use crate::processor::remote::Remote;
use crate::user_code::{Panic, Quiet, catch, discard, dispose, tell};
use blocking_pool::BlockingPool;
use lifecycle::Lifecycle;
use monitor_post::MonitorPost;

/// What all threads of a scheduler share; kept by its handles, its threads and its tasks.
pub(crate) struct SchedulerState {
    pub(crate) config: Quiet<Config>,
    /// One for each P, by the number of its worker.
    pub(crate) remotes: Box<[Arc<Remote>]>,
    /// One for each machine, by the number of its worker.
    pub(crate) machines: Box<[Arc<MachineRemote>]>,
    pub(crate) idle: Idle,
    /// Where scopes show their jobs.
    pub(crate) boards: Arc<Boards>,
    pub(crate) global: GlobalQueue,
    pub(crate) monitor: MonitorPost,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) blocking: BlockingPool,
    pub(crate) memory: TaskMemory<Self>,
    pub(crate) wake_timer: WakeTimer,
    pub(crate) counts: SharedCounts,
}

impl SchedulerState {
    /// Whether any queue seems to hold a task that a thief could take, run-next slots left out.
    pub(crate) fn any_work(&self) -> bool {
        let holds = |remote: &Arc<Remote>| remote.stealer.len() > 0 || !remote.inbox.is_empty();
        let offers = |machine: &Arc<MachineRemote>| machine.joins.has_offer();
        !self.global.is_empty()
            || self.remotes.iter().any(holds)
            || self.machines.iter().any(offers)
    }

    /// Returns how many tasks wait at a worker now, local ones included.
    pub(crate) fn queued_at(&self, worker: usize) -> usize {
        self.remotes[worker].len() + self.machines[worker].local_ready.len()
    }

    /// Wakes a worker for a reason other than work for any: if it sleeps, it looks around.
    pub(crate) fn wake_worker(&self, worker: usize) {
        self.idle.wake_worker(worker);
    }

    /// Wakes every worker, as [`wake_worker`](Self::wake_worker).
    pub(crate) fn wake_all_workers(&self) {
        self.idle.wake_all_workers();
    }

    /// Calls code of the user's. Returns `None` if it panicked, which is counted and told to the
    /// panic hook.
    pub(crate) fn call_user<R>(&self, code: Code, call: impl FnOnce() -> R) -> Option<R> {
        match running::within(code, || catch(call)) {
            Ok(result) => Some(result),
            Err(panic) => {
                self.caught(panic);
                None
            }
        }
    }

    /// Calls a hook of a worker's.
    pub(crate) fn call_hook(&self, code: Code, worker: usize) {
        if let Some(hook) = self.config.hooks.of_worker(code) {
            // A hook that panics is as if it had returned.
            let _ = self.call_user(code, || hook(worker));
        }
    }

    /// Counts a panic of the user's code that is no task's result, and tells the hook. Does not
    /// unwind.
    #[cold]
    pub(crate) fn caught(&self, panic: Panic) {
        self.count_panic(&*panic);
        dispose(panic);
    }

    /// Counts a panic and tells the hook. Does not unwind.
    pub(crate) fn count_panic(&self, payload: &(dyn Any + Send)) {
        self.counts.panics.add_shared(1);
        if let Some(hook) = &self.config.hooks.on_panic
            && let Err(panic) = running::within(Code::OnPanic, || catch(|| hook(payload)))
        {
            // Not told to the hook, or one that always panics would be called for ever.
            self.counts.panics.add_shared(1);
            dispose(panic);
        }
    }

    /// Drops what a caller passed in vain.
    #[cold]
    pub(crate) fn drop_unwanted<T>(&self, value: T) {
        if let Some(panic) = discard(value) {
            self.caught(panic);
        }
    }

    /// Cancels a task that came when the scheduler takes none. Without a handle to say so, an event
    /// does where it could not be expected.
    #[cold]
    pub(crate) fn refuse(&self, task: Task, has_handle: bool) {
        self.counts.refused.add_shared(1);
        if !has_handle && self.lifecycle.is_copy() {
            tell(|| {
                tracing::error!(
                    scheduler = %self.config.name,
                    "spawn_detached: this process was forked from the one with the scheduler's workers, so the task is \
                     cancelled: build a scheduler after the fork"
                );
            });
        }
        task.cancel();
    }

    /// Ends a task that was not run, or not to its end: at once, or if this thread is deep inside
    /// of destructors, when the innermost has returned (`stealyard_task::trampoline`).
    pub(crate) fn cancel(&self, task: Task) {
        self.lifecycle.cancelled.add_shared(1);
        task.cancel();
    }

    /// Returns a picture of what the scheduler did and does.
    pub(crate) fn metrics(&self) -> Metrics {
        let blocking = self.blocking.stats();
        let read = |(worker, remote): (usize, &Arc<Remote>)| remote.metrics(self.queued_at(worker));
        let workers: Vec<WorkerMetrics> = self.remotes.iter().enumerate().map(read).collect();
        let injector_depth = self.global.len();
        // The tasks that came out of the global queue or are in it, less those that workers put in.
        let sum = |count: fn(&WorkerMetrics) -> u64| workers.iter().map(count).sum::<u64>();
        let passed = sum(|worker| worker.tasks_injected) + injector_depth as u64;
        let pushed_from_outside = passed.saturating_sub(sum(|worker| worker.tasks_overflowed));
        Metrics {
            workers,
            injector_depth,
            pushed_from_outside,
            wakes_from_outside: self.counts.outside_wakes.get(),
            searching: self.idle.searching(),
            sleeping: self.idle.sleeping(),
            blocking_threads: blocking.threads,
            blocking_idle: blocking.idle,
            blocking_queued: blocking.queued,
            thread_start_failures: self.counts.start_failures.get() + blocking.start_failures,
            panics: self.counts.panics.get(),
            refused: self.counts.refused.get(),
        }
    }
}

impl fmt::Debug for SchedulerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerState")
            .field("name", &self.config.name)
            .field("workers", &self.remotes.len())
            .field("idle", &self.idle.sleeping())
            .field("global", &self.global.len())
            .field("life", &self.lifecycle)
            .finish_non_exhaustive()
    }
}
