//! Search: how a task is made ready, and how a worker without one finds it.

pub(crate) mod find;
pub(crate) mod monitor;
pub(crate) mod ready;
pub(crate) mod share;
pub(crate) mod steal;

use crate::machine::Machine;
use crate::processor::Processor;
use crate::state::SchedulerState;

/// A worker: a machine with its P, for one step. It must not be kept across user code that a task
/// runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worker<'a> {
    pub(crate) shared: &'a SchedulerState,
    pub(crate) machine: &'a Machine,
    pub(crate) processor: &'a Processor,
}

impl Worker<'_> {
    /// Whether something waits that is meant for this worker: a local task, or a task in its inbox.
    pub(crate) fn has_own(&self) -> bool {
        !self.machine.remote.local_ready.is_empty() || !self.processor.remote.inbox.is_empty()
    }

    /// Whether anything waits in this worker's own queues.
    pub(crate) fn has_tasks(&self) -> bool {
        self.processor.has_tasks() || !self.machine.remote.local_ready.is_empty()
    }
}
