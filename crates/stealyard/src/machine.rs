//! Machines: the threads that run tasks (the M of G, M, P), and what stays with each of them.
//!
//! A machine is a worker's thread. It holds a P while it runs tasks, and keeps what cannot move
//! with the P to another thread:
//! - the parker, and what it learned about sleeping: how long to spin, what the barrier before a
//!   sleep costs;
//! - the joins that are under way, whose frames are on its stack ([`MachineRemote`]);
//! - local tasks, which only this thread may run ([`local_tasks`]);
//! - its context: which scheduler it works for and in what role, and the P that it holds
//!   ([`current`]);
//! - the budget of the task that it runs.
//!
//! All of it is reached through one thread-local, the list of contexts in [`current`]. The task
//! that a thread runs at this moment, and whether it may block, are in a thread-local of the tasks'
//! own (`stealyard_task::running`), because tasks also run by hand on threads that no scheduler
//! knows.

pub(crate) mod current;
pub(crate) mod local_tasks;

use core::cell::{Cell, OnceCell};
use core::fmt;

use stealyard_park::{Parker, Spin, SpinWait};
use stealyard_sync::Arc;
use stealyard_sync::time::Duration;

use crate::machine_remote::MachineRemote;
use crate::processor::Processor;
use crate::state::SchedulerState;
use current::{Context, Role};
use local_tasks::LocalTasks;

/// A worker's thread; see the file's essay. It never leaves the thread that made it.
pub(crate) struct Machine {
    /// The number of its worker.
    pub(crate) index: usize,
    pub(crate) context: Context,
    pub(crate) remote: Arc<MachineRemote>,
    pub(crate) parker: Parker,
    /// What the barrier on the way to sleep costs, as measured: it interrupts every core that runs
    /// this process.
    barrier: Cell<Spin>,
    /// When it was last woken to search, by the scheduler's clock.
    pub(crate) woken_at: Cell<Option<Duration>>,
    /// The home of its local tasks, once there is one.
    local_tasks: OnceCell<Arc<LocalTasks>>,
    /// Operations left to the running task; see `handle/coop.rs`.
    pub(crate) budget: Cell<u32>,
}

impl Machine {
    /// Makes the calling thread's machine, which works as worker `index`.
    pub(crate) fn new(shared: Arc<SchedulerState>, index: usize, parker: Parker) -> Self {
        let config = &shared.config;
        Self {
            index,
            remote: Arc::clone(&shared.machines[index]),
            parker,
            barrier: Cell::new(Spin::new(config.spin.unwrap_or_default())),
            woken_at: Cell::new(None),
            local_tasks: OnceCell::new(),
            budget: Cell::new(config.budget),
            context: Context::new(shared, Role::Worker),
        }
    }

    /// Returns the state of the scheduler that it works for.
    #[inline(always)]
    pub(crate) fn shared(&self) -> &Arc<SchedulerState> {
        self.context.shared()
    }

    /// Returns the P, if the thread holds one. For one step: it must not be kept across user code.
    #[inline(always)]
    pub(crate) fn processor(&self) -> Option<&Processor> {
        self.context.processor()
    }

    /// Begins a wait that looks for work as long as that is cheaper than going to sleep and being
    /// woken, beside `running` workers.
    pub(crate) fn wait_for_work(&self, running: usize) -> SpinWait {
        self.parker.spin_wait(running, self.barrier.get().budget())
    }

    /// Learns how long the barrier on the way to sleep took.
    pub(crate) fn barrier_took(&self, time: Duration) {
        self.barrier.set(self.barrier.get().after_wake(time));
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("index", &self.index)
            .field("context", &self.context)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}
