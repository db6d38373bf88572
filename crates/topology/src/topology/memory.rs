//! Kinds of memory, and the CPUs near it.

use super::Topology;
use crate::CpuSet;
use core::fmt;

/// What the memory of a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum MemoryKind {
    /// That of a node with CPUs: on most machines all memory.
    Main,
    /// On the package, with a higher bandwidth than main memory (HBM).
    HighBandwidth,
    /// Behind a CXL link.
    Cxl,
    /// Persistent memory that is used as memory.
    Persistent,
    /// Of a node without CPUs, and nothing says what it is.
    Other,
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "main memory",
            Self::HighBandwidth => "high-bandwidth memory",
            Self::Cxl => "CXL memory",
            Self::Persistent => "persistent memory",
            Self::Other => "memory without CPUs",
        })
    }
}

/// What a reader found of the memory of a node without CPUs.
#[derive(Debug)]
pub(crate) struct DraftMemory {
    pub(crate) kind: MemoryKind,
    /// The ids of the nodes that reach it best; empty where distances have to tell.
    pub(crate) initiators: CpuSet,
}

/// Memory of a node, as the topology keeps it.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(super) struct Memory {
    pub(super) kind: MemoryKind,
    /// The indexes of the nodes with CPUs that are nearest: itself, for one with CPUs.
    pub(super) nearest: Vec<usize>,
}

/// Builds the memory of every node, by index.
pub(super) fn finish(
    nodes: &[super::Node],
    found: &std::collections::BTreeMap<u32, DraftMemory>,
) -> Vec<Memory> {
    let memory = |(index, node): (usize, &super::Node)| {
        if !node.cpus.is_empty() {
            return Memory {
                kind: MemoryKind::Main,
                nearest: vec![index],
            };
        }
        let draft = found.get(&node.id);
        let with_cpus = || (0..nodes.len()).filter(|&other| !nodes[other].cpus.is_empty());
        let named = |other: &usize| {
            draft.is_some_and(|draft| draft.initiators.contains(nodes[*other].id as usize))
        };
        let mut nearest: Vec<usize> = with_cpus().filter(named).collect();
        if nearest.is_empty() {
            let least = with_cpus().map(|other| node.distances[other]).min();
            let near = |other: &usize| Some(node.distances[*other]) == least;
            nearest = with_cpus().filter(near).collect();
        }
        Memory {
            kind: draft.map_or(MemoryKind::Other, |draft| draft.kind),
            nearest,
        }
    };
    nodes.iter().enumerate().map(memory).collect()
}

impl Topology {
    /// Returns what the memory of the node at index `node` is; `None` if there is no such node.
    ///
    /// Kinds are read on Linux only, and are no part of what makes two machines equal.
    #[must_use]
    pub fn memory_kind(&self, node: usize) -> Option<MemoryKind> {
        self.memories.get(node).map(|memory| memory.kind)
    }

    /// Returns the online CPUs nearest to the memory of the node at index `node`: its own; for a
    /// node of memory alone, those of the nodes that firmware names for it, or else that have the
    /// least distance.
    #[must_use]
    pub fn nearest_cpus(&self, node: usize) -> Option<CpuSet> {
        let memory = self.memories.get(node)?;
        let sets = memory.nearest.iter().map(|&near| &self.nodes[near].cpus);
        Some(sets.fold(CpuSet::new(), |all, set| &all | set))
    }

    /// Returns the index of the nearest node that has main memory, seen from the node at index
    /// `node`: itself, if it has any or nothing is known of its memory.
    #[must_use]
    pub fn memory_near(&self, node: usize) -> Option<usize> {
        let distances = &self.nodes.get(node)?.distances;
        let has = |&other: &usize| {
            self.nodes[other].memory != Some(0) && self.memories[other].kind == MemoryKind::Main
        };
        (0..self.nodes.len())
            .filter(has)
            .min_by_key(|&other| (other != node, distances[other], other))
    }
}
