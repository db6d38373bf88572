//! The global queue: one lane for each node that has workers.
//!
//! Tasks from outside and what overflows a worker's own queue wait here. With one node it is a single
//! `stealyard_injector::Locked`. With several, a worker puts into its own node's lane and takes from it
//! first, so that tasks and their memory stay near; a thread from outside uses the lane of the node it
//! runs on. A worker whose lane is empty takes from the others in the order of their distance, so no lane
//! starves while any worker looks at the global queue.

use stealyard_injector::Locked;
use stealyard_topology::current_cpu;

use crate::task::Task;

/// A lane, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneId(pub(crate) usize);

#[derive(Debug)]
pub(crate) struct Global {
    lanes: Box<[Locked<Task>]>,
    /// For each lane, all lanes, nearest first.
    orders: Box<[Box<[usize]>]>,
    /// The lane of each kernel node, for threads from outside and for hints.
    lane_of_node: Box<[usize]>,
}

impl Global {
    /// One lane for each row of `orders`, which lists all lanes, nearest first, itself the first.
    pub(crate) fn new(orders: Vec<Vec<usize>>, lane_of_node: Vec<usize>) -> Self {
        debug_assert!(!orders.is_empty(), "a global queue has at least one lane");
        Self {
            lanes: orders.iter().map(|_| Locked::new()).collect(),
            orders: orders.into_iter().map(Vec::into_boxed_slice).collect(),
            lane_of_node: lane_of_node.into(),
        }
    }

    /// The lane of the node that the calling thread runs on.
    pub(crate) fn lane_here(&self) -> LaneId {
        if self.lanes.len() == 1 {
            return LaneId(0);
        }
        let node = current_cpu().map_or(0, |(_, node)| node as usize);
        LaneId(self.lane_of_node.get(node).copied().unwrap_or(0))
    }

    /// The lane of the node that the kernel calls by this number.
    pub(crate) fn lane_of(&self, node: usize) -> Option<LaneId> {
        self.lane_of_node.get(node).copied().map(LaneId)
    }

    /// Kernel nodes have numbers below this.
    pub(crate) fn nodes(&self) -> usize {
        self.lane_of_node.len()
    }

    pub(crate) fn push(&self, lane: LaneId, task: Task) {
        self.lanes[lane.0].push(task);
    }

    pub(crate) fn push_batch(&self, lane: LaneId, tasks: impl IntoIterator<Item = Task>) {
        self.lanes[lane.0].push_batch(tasks);
    }

    /// Takes one task, from the nearest lane that has any.
    #[inline]
    pub(crate) fn pop(&self, lane: LaneId) -> Option<Task> {
        self.orders[lane.0]
            .iter()
            .find_map(|&near| self.lanes[near].pop())
    }

    /// Takes a worker's share of the nearest lane that has any.
    pub(crate) fn pop_batch(
        &self,
        lane: LaneId,
        max: usize,
        workers: usize,
        mut sink: impl FnMut(Task),
    ) -> usize {
        for &near in &self.orders[lane.0] {
            let count = self.lanes[near].pop_batch(max, workers, &mut sink);
            if count > 0 {
                return count;
            }
        }
        0
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.iter().map(Locked::len).sum()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.iter().all(Locked::is_empty)
    }
}
