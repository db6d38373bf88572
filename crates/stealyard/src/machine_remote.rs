//! What other threads see of a machine: what stays with the thread, whichever P it holds.
//!
//! Thieves reach the joins of a thread through here, so that a P which moves does not hide them;
//! wakers put the thread's local tasks here.

use stealyard_injector::Locked;
use stealyard_park::SpinConfig;
use stealyard_sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use stealyard_task::Task;
use stealyard_task::fork_join::JoinStack;

/// What other threads see of a machine.
#[derive(Debug)]
pub(crate) struct MachineRemote {
    /// Joins that are under way on the thread. Their frames are on its stack and cannot move.
    pub(crate) joins: JoinStack,
    /// Local tasks that are ready: put by any thread, taken by this one (`machine/local_tasks.rs`).
    pub(crate) local_ready: Locked<Task>,
    /// Local futures that have not been dropped (`local_tasks.rs`, LT2); written by the
    /// thread.
    local_alive: AtomicUsize,
    /// Whether the thread runs nothing: it looks for a task, or sleeps. Written by the thread.
    idle: AtomicBool,
}

impl MachineRemote {
    /// Makes that of a machine whose joins spin within the bounds of `spin`.
    pub(crate) fn new(spin: SpinConfig) -> Self {
        Self {
            joins: JoinStack::with_spin(spin),
            local_ready: Locked::new(),
            local_alive: AtomicUsize::new(0),
            idle: AtomicBool::new(true),
        }
    }

    /// Whether the thread runs nothing. A view of the moment.
    pub(crate) fn is_idle(&self) -> bool {
        // Ordering: Relaxed; a worker that finds a task in this moment is waited for until it meets
        // the close.
        self.idle.load(Ordering::Relaxed)
    }

    /// Records whether the thread runs nothing.
    pub(crate) fn set_idle(&self, idle: bool) {
        // Ordering: Relaxed; a view of the moment, for a thread that ends the scheduler.
        self.idle.store(idle, Ordering::Relaxed);
    }

    /// Counts a local future in, by the thread itself.
    pub(crate) fn local_begins(&self) {
        // Ordering: Relaxed; only the thread itself counts.
        self.local_alive.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts out a local future that is dropped, by the thread itself.
    pub(crate) fn local_ends(&self) {
        // Ordering: Relaxed; only the thread itself counts.
        self.local_alive.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns how many local futures have not been dropped. A view of the moment, but for the
    /// thread itself.
    pub(crate) fn local_alive(&self) -> usize {
        // Ordering: Relaxed; only the thread itself counts.
        self.local_alive.load(Ordering::Relaxed)
    }
}
