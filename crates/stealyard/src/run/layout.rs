//! The layout of a scheduler on its machine: where each worker runs, how far the workers are from
//! each other, and the lanes of the global queue.

use stealyard_topology::{Distances, Matrix, Placement, Plan, Seat, Source, Topology};

use crate::config::Config;
use crate::config::error::BuildError;
use crate::processor::global_queue::LaneId;

/// Where the workers run, and what follows from that.
pub(super) struct Layout {
    /// For each worker, the CPUs that it is bound to, if it is.
    pub(super) seats: Vec<Option<Seat>>,
    /// How far the workers are from each other.
    pub(super) distances: Matrix,
    pub(super) lanes: Lanes,
}

/// The lanes of the global queue: one for each NUMA node that has workers.
pub(super) struct Lanes {
    /// For each worker, its lane.
    pub(super) of_workers: Vec<LaneId>,
    /// For each lane, all lanes, nearest first.
    pub(super) orders: Vec<Vec<usize>>,
    /// For each node, by the kernel's number, its lane.
    pub(super) of_nodes: Vec<usize>,
}

impl Layout {
    /// Plans where so many workers run.
    pub(super) fn new(config: &Config, workers: usize) -> Result<Self, BuildError> {
        // A machine that was not asked for need not be looked at.
        if config.placement == Placement::None && config.topology.is_none() {
            return Ok(Self::flat(workers));
        }
        let topology = topology(config);
        let plan = config.placement.plan(&topology, workers);
        let plan = plan.map_err(BuildError::Placement)?;
        let distances = topology.distances();
        Ok(Self {
            seats: seats_to_take(&plan, &topology),
            distances: plan.matrix(&distances),
            lanes: Lanes::new(&plan, &topology, &distances),
        })
    }

    /// Makes a layout of equally near workers, with one lane and no worker bound.
    fn flat(workers: usize) -> Self {
        Self {
            seats: vec![None; workers],
            distances: Matrix::uniform(workers),
            lanes: Lanes {
                of_workers: vec![LaneId(0); workers],
                orders: vec![vec![0]],
                of_nodes: vec![0],
            },
        }
    }
}

/// Returns the configured machine, or the one that this process runs on.
fn topology(config: &Config) -> Topology {
    if let Some(topology) = &config.topology {
        return topology.clone();
    }
    let (topology, problem) = Topology::detect_or_flat();
    if let Some(error) = problem {
        tracing::warn!(%error, "the machine could not be read: it is taken to be flat");
    } else if let Some(note) = topology.notes().first() {
        let notes = topology.notes().len();
        tracing::info!(notes, first = %note, "the machine was read with doubts");
    }
    topology
}

/// Returns the seats that workers are to be bound to. CPUs of a synthetic machine are not there.
fn seats_to_take(plan: &Plan, topology: &Topology) -> Vec<Option<Seat>> {
    let real = !matches!(topology.source(), Source::Synthetic(_));
    let take = |seat: &Seat| (real && seat.bound).then(|| seat.clone());
    plan.seats().iter().map(take).collect()
}

impl Lanes {
    fn new(plan: &Plan, topology: &Topology, distances: &Distances) -> Self {
        let seats = plan.seats().iter();
        let nodes: Vec<usize> = seats.map(|seat| seat.node.unwrap_or(0)).collect();
        let mut used = nodes.clone();
        used.sort_unstable();
        used.dedup();
        let of_workers = nodes.iter().map(|&node| LaneId(lane_of(&used, node)));
        Self {
            of_workers: of_workers.collect(),
            orders: used
                .iter()
                .map(|&from| nearest_first(&used, from, distances))
                .collect(),
            of_nodes: lanes_of_kernel_nodes(&used, topology),
        }
    }
}

/// Returns the lane of `node`, or of the next node that has one: the `used` nodes are in order.
fn lane_of(used: &[usize], node: usize) -> usize {
    let at = used.partition_point(|&other| other < node);
    at.min(used.len() - 1)
}

/// Returns the lanes of all `used` nodes by their distance from the node `from`, its own the first.
fn nearest_first(used: &[usize], from: usize, distances: &Distances) -> Vec<usize> {
    let mut order: Vec<usize> = (0..used.len()).collect();
    order.sort_by_key(|&to| {
        let is_own = used[to] == from;
        (!is_own, distances.node_rank(from, used[to]), to)
    });
    order
}

/// Returns the lane of each node by the kernel's number, which may leave gaps.
fn lanes_of_kernel_nodes(used: &[usize], topology: &Topology) -> Vec<usize> {
    let nodes = topology.nodes();
    let greatest = nodes.iter().map(|node| node.id as usize).max();
    let lane = |id: usize| {
        let index = nodes.iter().position(|node| node.id as usize == id);
        index.map_or(0, |node| lane_of(used, node))
    };
    (0..=greatest.unwrap_or(0)).map(lane).collect()
}
