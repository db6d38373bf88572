//! How near two CPUs are, as a small integer.
//!
//! | rank | the two CPUs |
//! |------|--------------|
//! | 0 | are the same |
//! | 1 | are SMT siblings: one core |
//! | 2 | share an L2, or a cluster of cores |
//! | 3 | share an L3, or the last cache there is |
//! | 4 | are on one NUMA node |
//! | 5… | are on two nodes: a rank for every different SLIT distance, nearest first |
//!
//! A node's rank to another is the mean of both directions: firmware tables are not always
//! symmetric, and a cache line goes both ways. Ranks are for comparing, not for adding: 4 is not
//! twice 2.
//!
//! # Layout
//! Not a matrix of all CPUs, which would be 64 MiB for 8192 of them: each CPU's core, L2, L3 and
//! node, and a matrix of nodes. A lookup is two array reads and at most four compares. [`Matrix`]
//! is the small one, of workers, that policies take.

mod matrix;

use crate::{CpuSet, Topology};

/// Ranks of nearness between the online CPUs of a [`Topology`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distances {
    /// By CPU number; `None` for CPUs that are not online.
    places: Vec<Option<Place>>,
    /// `nodes * nodes` ranks; those of a node to itself are `NODE`.
    node_ranks: Vec<u8>,
    nodes: usize,
}

/// Where a CPU is; equal numbers mean the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    node: u32,
    last: u32,
    near: u32,
    core: u32,
}

/// Stands for "has none": no two CPUs share it.
const NONE: u32 = u32::MAX;

const SAME: u8 = 0;
const SIBLING: u8 = 1;
const SHARED_L2: u8 = 2;
const SHARED_L3: u8 = 3;
const NODE: u8 = 4;

impl Topology {
    /// Ranks of nearness between the online CPUs.
    #[must_use]
    pub fn distances(&self) -> Distances {
        Distances::new(self)
    }
}

impl Distances {
    fn new(topology: &Topology) -> Self {
        let length = topology.online().last().map_or(0, |last| last + 1);
        let mut places = vec![None; length];
        for cpu in topology.cpus() {
            let cache = |level| {
                cpu.caches.iter().copied().find(|&c| {
                    let cache = &topology.caches()[c];
                    cache.level == level && cache.kind != crate::CacheKind::Instruction
                })
            };
            let l2 = cache(2).filter(|&c| topology.caches()[c].cpus.len() > 1);
            // A cluster and a shared L2 count alike; their indexes must not be mistaken for each
            // other.
            let near = match (cpu.cluster, l2) {
                (Some(cluster), _) => (topology.caches().len() + cluster) as u32,
                (None, Some(l2)) => l2 as u32,
                (None, None) => NONE,
            };
            let last = cpu.caches.iter().copied().filter(|&c| {
                let cache = &topology.caches()[c];
                cache.level >= 3 && cache.kind != crate::CacheKind::Instruction
            });
            let last = last
                .max_by_key(|&c| topology.caches()[c].level)
                .map_or(NONE, |c| c as u32);
            places[cpu.id] = Some(Place {
                core: cpu.core as u32,
                near,
                last,
                node: cpu.node as u32,
            });
        }
        let nodes = topology.nodes().len();
        Self {
            places,
            node_ranks: node_ranks(topology),
            nodes,
        }
    }

    /// Returns the rank of `to` seen from `from`; symmetric. `None` if either is not online.
    #[must_use]
    pub fn rank(&self, from: usize, to: usize) -> Option<u8> {
        let (a, b) = (self.place(from)?, self.place(to)?);
        Some(match () {
            () if from == to => SAME,
            () if a.core == b.core => SIBLING,
            () if a.near == b.near && a.near != NONE => SHARED_L2,
            () if a.last == b.last && a.last != NONE => SHARED_L3,
            () => self.node_ranks[a.node as usize * self.nodes + b.node as usize],
        })
    }

    /// Returns the rank of a whole set seen from another: that of the farthest pair, because a
    /// thread may be anywhere in its set. `None` if a set has no online CPU.
    #[must_use]
    pub fn rank_of_sets(&self, from: &CpuSet, to: &CpuSet) -> Option<u8> {
        let (from, to) = (matrix::heaps(self, from), matrix::heaps(self, to));
        let known = !from.is_empty() && !to.is_empty();
        known.then(|| matrix::farthest(self, &from, &to))
    }

    /// Returns the rank of one node seen from another, by index; of a node from itself, that of two
    /// CPUs on it that share nothing closer.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn node_rank(&self, from: usize, to: usize) -> u8 {
        assert!(
            from < self.nodes && to < self.nodes,
            "nodes {from} and {to} of {}",
            self.nodes
        );
        self.node_ranks[from * self.nodes + to]
    }

    /// Computes the matrix between workers, given the CPUs each may run on. Sets without an online
    /// CPU count as farther than any other.
    ///
    /// A byte for each pair; the time is that of writing them where workers keep to a core each, or
    /// share few different sets.
    #[must_use]
    pub fn matrix(&self, workers: &[CpuSet]) -> Matrix {
        Matrix {
            ranks: matrix::ranks(self, workers),
            workers: workers.len(),
        }
    }

    fn place(&self, cpu: usize) -> Option<Place> {
        self.places.get(cpu).copied().flatten()
    }
}

/// Ranks of nearness between the workers `0..len` of a scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// `workers * workers` ranks, a row for each worker.
    ranks: Vec<u8>,
    workers: usize,
}

impl Matrix {
    /// Makes a matrix in which all workers are equally near: for tests, and where nothing is
    /// pinned.
    ///
    /// # Panics
    /// If `workers` squared is more than a `usize` holds.
    #[must_use]
    pub fn uniform(workers: usize) -> Self {
        let entries = workers.checked_mul(workers);
        let Some(entries) = entries else {
            panic!("a matrix of {workers} workers has more entries than can be counted");
        };
        let rank = |at: usize| {
            if at / workers == at % workers {
                SAME
            } else {
                NODE
            }
        };
        Self {
            ranks: (0..entries).map(rank).collect(),
            workers,
        }
    }

    /// Returns how many workers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.workers
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers == 0
    }

    /// Returns the rank of worker `to` seen from worker `from`.
    ///
    /// # Panics
    /// If there is no such worker.
    #[must_use]
    pub fn rank(&self, from: usize, to: usize) -> u8 {
        self.row(from)[to]
    }

    /// Returns the ranks of all workers seen from `from`; its own is 0.
    ///
    /// # Panics
    /// If there is no such worker.
    #[must_use]
    pub fn row(&self, from: usize) -> &[u8] {
        assert!(from < self.workers, "worker {from} of {}", self.workers);
        &self.ranks[from * self.workers..][..self.workers]
    }

    /// Returns the other workers, nearest first and in ascending order among equals, with their
    /// ranks.
    ///
    /// # Panics
    /// If there is no such worker.
    #[must_use]
    pub fn nearest_first(&self, from: usize) -> Vec<(usize, u8)> {
        let row = self.row(from);
        // There are few ranks and many workers: count, then put each where its rank begins.
        let mut begins = [0usize; 257];
        for &rank in row {
            begins[usize::from(rank) + 1] += 1;
        }
        for rank in 0..256 {
            begins[rank + 1] += begins[rank];
        }
        let mut order = vec![(0, 0); row.len()];
        for (worker, &rank) in row.iter().enumerate() {
            let at = &mut begins[usize::from(rank)];
            order[*at] = (worker, rank);
            *at += 1;
        }
        order.retain(|&(worker, _)| worker != from);
        order
    }
}

/// Ranks between nodes: `NODE` for itself, then one more for every larger mean distance.
fn node_ranks(topology: &Topology) -> Vec<u8> {
    let nodes = topology.nodes();
    let sum = |a: usize, b: usize| nodes[a].distances[b] + nodes[b].distances[a];
    let count = nodes.len();
    let pairs = || (0..count * count).map(move |at| (at / count, at % count));
    let mut sums: Vec<u32> = pairs()
        .filter(|(a, b)| a != b)
        .map(|(a, b)| sum(a, b))
        .collect();
    sums.sort_unstable();
    sums.dedup();
    let rank = |(a, b): (usize, usize)| {
        if a == b {
            return NODE;
        }
        let above = sums.partition_point(|&other| other < sum(a, b)) + 1;
        u8::try_from(usize::from(NODE) + above).unwrap_or(u8::MAX)
    };
    pairs().map(rank).collect()
}

#[cfg(feature = "serde")]
impl serde::Serialize for Matrix {
    /// Writes a list of ranks for each worker.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..self.workers).map(|worker| self.row(worker)))
    }
}
