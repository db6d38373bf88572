//! Places where a task would rather run: a worker, or the workers of a NUMA node.
//!
//! A place is a hint. Another worker takes the task in its last pass, before it would sleep.

use core::fmt;

use stealyard_task::Task;

use crate::search::ready;
use crate::state::SchedulerState;

/// Where a task would rather run; a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The worker with this number, from 0.
    Worker(usize),
    /// A worker of the NUMA node that the kernel calls by this number. Without a placement the
    /// scheduler does not tell nodes apart: then this is the global queue, whatever the number.
    Node(usize),
}

/// The scheduler has no such place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchPlace {
    /// The place that was asked for.
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

/// Queues a new task where it would rather run. The place exists.
pub(crate) fn submit(shared: &SchedulerState, place: Place, task: Task) {
    match place {
        Place::Worker(worker) => ready::submit_to_worker(shared, worker, task),
        Place::Node(node) => ready::submit_to_node(shared, node, task),
    }
}

/// Whether there is such a place.
pub(crate) fn check(shared: &SchedulerState, place: Place) -> Result<(), NoSuchPlace> {
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
