//! How far a scheduler's life has come, and how many of its workers are left.
//!
//! The steps of its end, and why they come in that order, are in `run/shutdown.rs`.
//!
//! # Invariants
//! - **LC1** *The phase only grows*: `Running`, `Draining`, `Closed`, `Gone`.
//! - **LC2** *A task in the global queue or an inbox of a scheduler that is `Gone` is cancelled.*
//!   The thread that pushed it looks at the phase behind a light fence, and the last worker looks
//!   at the queues behind a heavy one, after it has written `Gone` (see
//!   `stealyard_sync::asymmetric`). One of the two sees the other.
//!
//! # Orderings
//! | label | operation                                         | partner | publishes                        |
//! |-------|---------------------------------------------------|---------|----------------------------------|
//! | LC3   | a submission: push; light fence; load `phase`     | LC4     | the task, or else `Gone` is seen |
//! | LC4   | the last worker: store `Gone`; heavy fence; sweep | LC3     | `Gone`, or else the task is seen |
//! | LC5   | a worker stops: `running` minus one, AcqRel       | itself  | its work, to the last one        |

use core::fmt;

use stealyard_park::idle::Announced;
use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::time::Instant;
use stealyard_sync::{Condvar, Mutex, asymmetric, fork, unpoisoned};

use crate::metrics::counter::Counter;

/// How far a scheduler's life has come (LC1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub(crate) enum Phase {
    /// It takes tasks from everywhere.
    Running,
    /// It takes tasks from inside only.
    Draining,
    /// Its workers stop at the next task boundary.
    Closed,
    /// No worker will look into a queue again.
    Gone,
}

/// Proof of a fence between a push and the look at the phase (LC3): a light one at least.
pub(crate) trait FencePassed {}

impl FencePassed for Announced {}

/// Proof of a full fence of the caller's own.
pub(crate) struct FullFence(());

impl FullFence {
    /// Makes the proof. To be called behind the fence.
    pub(crate) fn passed() -> Self {
        Self(())
    }
}

impl FencePassed for FullFence {}

/// The phase of a scheduler's life, and its workers that are left.
pub(crate) struct Lifecycle {
    phase: AtomicUsize,
    /// The generation of the process in which its threads are.
    born: u32,
    /// Workers that may still put tasks into queues.
    running: AtomicUsize,
    /// Workers that have not ended their last step.
    alive: Mutex<usize>,
    ended: Condvar,
    /// Tasks that its end cancelled.
    pub(crate) cancelled: Counter,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self {
            phase: AtomicUsize::new(Phase::Running as usize),
            born: fork::watch(),
            running: AtomicUsize::new(0),
            alive: Mutex::new(0),
            ended: Condvar::new(),
            cancelled: Counter::default(),
        }
    }

    /// Whether workers are to stop.
    #[inline(always)]
    pub(crate) fn is_closed(&self) -> bool {
        // Ordering: Relaxed; a worker that sleeps is woken with a token, which publishes it, and
        // one that runs sees it at some task boundary soon.
        self.phase.load(Ordering::Relaxed) >= Phase::Closed as usize
    }

    /// Whether new tasks from outside are taken.
    pub(crate) fn is_open(&self) -> bool {
        // Ordering: Relaxed; a task that comes in the same moment may be taken or not.
        self.phase.load(Ordering::Relaxed) == Phase::Running as usize && !self.is_copy()
    }

    /// Whether the last worker has gone, so that a task which was just pushed is the caller's to
    /// cancel (LC2).
    #[inline]
    pub(crate) fn is_gone(&self, _passed: impl FencePassed) -> bool {
        // Ordering: Relaxed (LC3); behind the fence that `_passed` stands for, partner LC4.
        self.phase.load(Ordering::Relaxed) == Phase::Gone as usize
    }

    /// Whether this is a forked child's copy: the workers are in the parent, and locks that they
    /// held at that moment are held for ever.
    #[inline]
    pub(crate) fn is_copy(&self) -> bool {
        fork::generation() != self.born
    }

    /// Moves the phase on, unless it is further already (LC1).
    pub(crate) fn raise(&self, to: Phase) {
        let to = to as usize;
        // Ordering: Relaxed on both; what must see it is told so by other means (`is_closed`, LC4).
        let mut now = self.phase.load(Ordering::Relaxed);
        while now < to {
            match self
                .phase
                .compare_exchange(now, to, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(newer) => now = newer,
            }
        }
    }

    /// Moves the phase to its end: pushes that do not see it are seen by the caller's next look
    /// (LC2).
    pub(crate) fn raise_to_gone(&self) {
        self.raise(Phase::Gone);
        // Ordering: LC4, partner: the light fence of LC3.
        asymmetric::heavy();
    }

    /// Counts a worker that is about to be started. Undone by `worker_failed`, or by
    /// `worker_stopped` and `worker_ended`.
    pub(crate) fn worker_joins(&self) {
        // Ordering: Relaxed; the thread is started afterwards.
        self.running.fetch_add(1, Ordering::Relaxed);
        *unpoisoned::lock(&self.alive) += 1;
    }

    /// Counts out a worker whose thread could not be started.
    pub(crate) fn worker_failed(&self) {
        // Ordering: Relaxed; it never did anything.
        self.running.fetch_sub(1, Ordering::Relaxed);
        *unpoisoned::lock(&self.alive) -= 1;
    }

    /// Counts out a worker that puts no more tasks into queues. Returns whether it was the last.
    pub(crate) fn worker_stopped(&self) -> bool {
        // Ordering: AcqRel (LC5); the last one sees what the others put into the global queue, and
        // the tasks that fell asleep on them. Unmodelled: the models with two workers pass without
        // it, at 0 preemptions and at 1, since leaving `Idle` before happens to order the same;
        // kept so that the end does not rest on the inside of another crate.
        self.running.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Counts out a worker that has done its last step.
    pub(crate) fn worker_ended(&self) {
        let mut alive = unpoisoned::lock(&self.alive);
        *alive -= 1;
        // Also the threads that wait for some of the workers.
        self.ended.notify_all();
    }

    /// Returns how many workers may still put tasks into queues.
    pub(crate) fn workers_running(&self) -> usize {
        // Ordering: Relaxed; a worker that is being started in this moment has nothing yet.
        self.running.load(Ordering::Relaxed)
    }

    /// Waits until all workers have ended, until `deadline` at the latest. Returns how many have
    /// not.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> usize {
        self.wait_for_all_but(0, deadline)
    }

    /// Waits until at most `rest` workers have not ended, until `deadline` at the latest. Returns
    /// how many have not.
    pub(crate) fn wait_for_all_but(&self, rest: usize, deadline: Option<Instant>) -> usize {
        let mut alive = unpoisoned::lock(&self.alive);
        while *alive > rest {
            let Some(deadline) = deadline else {
                alive = unpoisoned::wait(&self.ended, alive);
                continue;
            };
            let now = Instant::now();
            if now >= deadline {
                break;
            }
            let pause = deadline.saturating_duration_since(now);
            alive = unpoisoned::wait_timeout(&self.ended, alive, pause);
        }
        *alive
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ordering: Relaxed; a moment's view.
        let phase = self.phase.load(Ordering::Relaxed);
        f.write_str(match phase {
            phase if phase == Phase::Running as usize => "running",
            phase if phase == Phase::Draining as usize => "draining",
            phase if phase == Phase::Closed as usize => "closed",
            _ => "gone",
        })
    }
}
