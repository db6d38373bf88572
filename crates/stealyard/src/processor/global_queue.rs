//! The global queue: one lane for each node that has workers.
//!
//! Tasks from outside and what overflows a worker's own queue wait here. With one node it is a
//! single `stealyard_injector::Locked`. With several, a worker puts into its own node's lane and
//! takes from it first, so that tasks and their memory stay near; a thread from outside uses the
//! lane of the node it runs on. A worker whose lane is empty takes from the others in the order of
//! their distance.
//!
//! - **GL1** *No lane starves while any worker runs tasks*, though its own workers may all be busy
//!   or missing: every fourth time that a worker looks at the global queue it begins with one of
//!   the other lanes, each in turn, and takes one task. It looks once in an interval at least
//!   (`processor/order.rs`, P2), so with `n` lanes the head of any runs after at most `4 · (n - 1)`
//!   intervals of any one worker.

use stealyard_injector::Locked;
use stealyard_task::Task;
use stealyard_topology::current_cpu;

/// Every so many looks begin with another lane than the worker's own (GL1): seldom enough that what
/// is near stays so.
const FAR: usize = 4;

/// A lane, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneId(pub(crate) usize);

#[derive(Debug)]
pub(crate) struct GlobalQueue {
    lanes: Box<[Locked<Task>]>,
    /// For each lane, all lanes, nearest first.
    orders: Box<[Box<[usize]>]>,
    /// The lane of each kernel node, for threads from outside and for hints.
    lane_of_node: Box<[usize]>,
}

impl GlobalQueue {
    /// Makes a lane for each row of `orders`, which lists all lanes, nearest first, itself the
    /// first.
    pub(crate) fn new(orders: Vec<Vec<usize>>, lane_of_node: Vec<usize>) -> Self {
        debug_assert!(!orders.is_empty(), "a global queue has at least one lane");
        Self {
            lanes: orders.iter().map(|_| Locked::new()).collect(),
            orders: orders.into_iter().map(Vec::into_boxed_slice).collect(),
            lane_of_node: lane_of_node.into(),
        }
    }

    /// Returns the lane of the node that the calling thread runs on.
    pub(crate) fn lane_here(&self) -> LaneId {
        if self.lanes.len() == 1 {
            return LaneId(0);
        }
        let node = current_cpu().map_or(0, |(_, node)| node as usize);
        LaneId(self.lane_of_node.get(node).copied().unwrap_or(0))
    }

    /// Returns the lane of the node that the kernel calls by this number.
    pub(crate) fn lane_of(&self, node: usize) -> Option<LaneId> {
        self.lane_of_node.get(node).copied().map(LaneId)
    }

    /// Returns a number that is greater than that of any kernel node.
    pub(crate) fn nodes(&self) -> usize {
        self.lane_of_node.len()
    }

    pub(crate) fn push(&self, lane: LaneId, task: Task) {
        self.lanes[lane.0].push(task);
    }

    pub(crate) fn push_batch(&self, lane: LaneId, tasks: impl IntoIterator<Item = Task>) {
        self.lanes[lane.0].push_batch(tasks);
    }

    /// Takes one task of the lane that a worker begins with the `look`th time, if that is not its
    /// own (GL1).
    #[inline]
    pub(crate) fn pop_far(&self, lane: LaneId, look: usize) -> Option<Task> {
        let first = first_of(look, self.lanes.len());
        if first == 0 {
            return None;
        }
        self.lanes[self.orders[lane.0][first]].pop()
    }

    /// Takes one task, from the nearest lane that has any.
    #[inline]
    pub(crate) fn pop(&self, lane: LaneId) -> Option<Task> {
        self.orders[lane.0]
            .iter()
            .find_map(|&near| self.lanes[near].pop())
    }

    /// Takes one task from any lane, whichever thread asks: for the end, when no lane is near.
    pub(crate) fn pop_any(&self) -> Option<Task> {
        self.lanes.iter().find_map(Locked::pop)
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

/// Returns the lane, counted by distance, that a worker begins with the `look`th time (GL1).
#[inline]
fn first_of(look: usize, lanes: usize) -> usize {
    if lanes > 1 && look % FAR == FAR - 1 {
        1 + look / FAR % (lanes - 1)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::{FAR, first_of};

    #[test]
    fn gl1_each_lane_is_the_first_within_four_looks_for_each_other_lane() {
        for lanes in 1..6_usize {
            let round = (FAR * (lanes - 1)).max(1);
            for start in 0..3 * round {
                let first: Vec<usize> = (start..start + round)
                    .map(|look| first_of(look, lanes))
                    .collect();
                assert!(
                    (0..lanes).all(|lane| first.contains(&lane)),
                    "{lanes} lanes from look {start}: {first:?}"
                );
            }
        }
    }
}
