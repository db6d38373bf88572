//! The machine as plain data: packages, dies, clusters, nodes, caches, cores, CPUs.
//!
//! # The value
//! ```text
//! package ── die ── cluster? ── core ── cpu        each level a list, ordered by its lowest CPU
//! node (memory, distances), cache (level, kind)    sets of CPUs across those levels
//! ```
//! Objects refer to each other by **index**, the position in the list of their level, which is
//! dense and the same for every reader. Their **id** is the kernel's own number, which has gaps,
//! repeats (core 0 of every package) or is missing. CPUs are the exception users know: a CPU is
//! always named by the kernel's number, as in [`CpuSet`], and [`Topology::cpu`] finds it.
//!
//! # Invariants
//! - **T1** Every online CPU is in exactly one core, one die, one package and one node.
//! - **T2** A core lies within one die, a die within one package, a cluster within one die.
//! - **T3** A die is always there: a package without dies is its own die. A cluster is there only
//!   where it says something: more than one core and not the whole die. Where the reader names no
//!   clusters, cores that share an L2 are one. So two readers that word it differently agree.
//! - **T4** Caches of one level and kind are disjoint.
//! - **T5** `allowed ⊆ online`, and `online` is never empty.
//! - **T6** Nodes are ordered by id; a node may have no CPUs (memory only) or no memory.
//!
//! They are established in one place, `draft.rs`, for every reader.

mod draft;
mod memory;

pub(crate) use draft::{Draft, DraftCache, DraftNode, Group};
pub(crate) use memory::DraftMemory;
pub use memory::MemoryKind;

use crate::{CpuSet, Note};
use core::fmt;
use std::path::PathBuf;

/// A machine: its parts, what they share, and which of it this process may use.
///
/// Two values are equal if they describe the same machine, whichever reader it came from:
/// [`Topology::source`], [`Topology::notes`], [`Topology::kind_source`] and
/// [`Topology::memory_kind`] do not take part.
#[derive(Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Topology {
    source: Source,
    kind_source: Option<KindSource>,
    notes: Vec<Note>,
    online: CpuSet,
    offline: CpuSet,
    allowed: CpuSet,
    packages: Vec<Package>,
    dies: Vec<Die>,
    clusters: Vec<Cluster>,
    cores: Vec<Core>,
    cpus: Vec<Cpu>,
    nodes: Vec<Node>,
    caches: Vec<Cache>,
    /// By the index of the node.
    memories: Vec<memory::Memory>,
}

/// Where a [`Topology`] came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Source {
    /// A `/sys` tree under this directory; `/` is the live machine.
    Sysfs(PathBuf),
    /// A synthetic description.
    Synthetic(String),
    /// libhwloc; the text says what it was given.
    Hwloc(String),
    /// Calls of the system, other than Linux's; the text names them.
    System(String),
    /// Nothing but a number of CPUs was known; the text says why.
    Flat(String),
}

/// A physical processor package (socket).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Package {
    /// The kernel's number, where it has one.
    pub id: Option<u32>,
    /// Its online CPUs.
    pub cpus: CpuSet,
}

/// A die of a package; a package that is one piece is one die.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Die {
    /// Its online CPUs.
    pub cpus: CpuSet,
    /// Index of its package.
    pub package: usize,
}

/// Cores within a die that share something smaller than the die, an L2 for instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Cluster {
    /// Its online CPUs.
    pub cpus: CpuSet,
    /// Index of its die.
    pub die: usize,
}

/// A physical core; its CPUs are SMT siblings of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Core {
    /// The kernel's number, where it has one; unique only within a package.
    pub id: Option<u32>,
    /// Its online CPUs.
    pub cpus: CpuSet,
    /// Index of its package.
    pub package: usize,
    /// Index of its die.
    pub die: usize,
    /// Index of its cluster, if the machine has any there.
    pub cluster: Option<usize>,
    /// Index of the node of its first CPU.
    pub node: usize,
    /// Performance or efficiency core.
    pub kind: CoreKind,
}

/// What a core of a hybrid machine is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum CoreKind {
    /// One of the fast cores; on a machine of equal cores, every core.
    Performance,
    /// One of the small cores.
    Efficiency,
}

/// What tells performance cores from efficiency cores; in the order in which the sources are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum KindSource {
    /// The performance counters of small cores, under `devices/cpu_atom` or `devices/cpu_lowpower`;
    /// on systems other than Linux, the system's own classes.
    Pmu,
    /// The kernel's relative capacity, `cpu_capacity`.
    Capacity,
    /// The firmware's highest performance, `acpi_cppc/highest_perf`.
    HighestPerf,
    /// The frequency without turbo, `cpufreq/base_frequency`.
    BaseFrequency,
}

impl fmt::Display for KindSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pmu => "devices/cpu_atom",
            Self::Capacity => "cpu_capacity",
            Self::HighestPerf => "acpi_cppc/highest_perf",
            Self::BaseFrequency => "cpufreq/base_frequency",
        })
    }
}

/// An online CPU: a hardware thread the kernel can run something on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Cpu {
    /// The kernel's number.
    pub id: usize,
    /// Index of its package.
    pub package: usize,
    /// Index of its die.
    pub die: usize,
    /// Index of its cluster, if the machine has any there.
    pub cluster: Option<usize>,
    /// Index of its core.
    pub core: usize,
    /// Index of its NUMA node.
    pub node: usize,
    /// Indexes of its caches, the nearest first.
    pub caches: Vec<usize>,
    /// Performance or efficiency core.
    pub kind: CoreKind,
    /// The kernel's relative capacity (1024 is the fastest), where it gives one.
    pub capacity: Option<u32>,
}

/// A NUMA node: memory, and the CPUs near it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Node {
    /// The kernel's number.
    pub id: u32,
    /// Its online CPUs; empty for a node of memory alone.
    pub cpus: CpuSet,
    /// Bytes of memory, where known; 0 for a node of CPUs alone.
    pub memory: Option<u64>,
    /// SLIT distances to every node, by index; 10 means local.
    pub distances: Vec<u32>,
}

/// A cache and the CPUs that share it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Cache {
    /// 1 for the nearest.
    pub level: u8,
    /// What it holds.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub kind: CacheKind,
    /// Bytes, where known.
    pub size: Option<u64>,
    /// The online CPUs that share it.
    pub cpus: CpuSet,
}

/// What a cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum CacheKind {
    /// Data only.
    Data,
    /// Instructions only.
    Instruction,
    /// Both.
    Unified,
}

impl Topology {
    /// Makes a machine of one package and one node, whose `cpus` are each a core; `why` becomes a
    /// note. An empty set counts as CPU 0.
    #[must_use]
    pub fn flat(cpus: &CpuSet, why: &str) -> Self {
        let cpus = if cpus.is_empty() {
            CpuSet::from([0])
        } else {
            cpus.clone()
        };
        draft::flat(&cpus, why)
    }

    /// Returns where the value came from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Returns what was missing, malformed or contradictory in the source, and what was assumed in
    /// its place. Empty for a machine that was read without a doubt.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns what told performance cores from efficiency cores; `None` where all count as
    /// performance cores.
    #[must_use]
    pub fn kind_source(&self) -> Option<KindSource> {
        self.kind_source
    }

    /// Returns the CPUs the machine runs. Never empty.
    #[must_use]
    pub fn online(&self) -> &CpuSet {
        &self.online
    }

    /// Returns the CPUs that are there but switched off.
    #[must_use]
    pub fn offline(&self) -> &CpuSet {
        &self.offline
    }

    /// Returns the online CPUs this process may use; all, for a machine that is not this one.
    #[must_use]
    pub fn allowed(&self) -> &CpuSet {
        &self.allowed
    }

    /// Returns the packages, by lowest CPU.
    #[must_use]
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// Returns the dies, by lowest CPU.
    #[must_use]
    pub fn dies(&self) -> &[Die] {
        &self.dies
    }

    /// Returns the clusters, by lowest CPU; often none.
    #[must_use]
    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// Returns the cores, by lowest CPU.
    #[must_use]
    pub fn cores(&self) -> &[Core] {
        &self.cores
    }

    /// Returns the online CPUs, ascending.
    #[must_use]
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// Returns the NUMA nodes, by id; at least one.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the caches, by level, kind and lowest CPU.
    #[must_use]
    pub fn caches(&self) -> &[Cache] {
        &self.caches
    }

    /// Returns the online CPU the kernel calls `id`. O(log CPUs).
    #[must_use]
    pub fn cpu(&self, id: usize) -> Option<&Cpu> {
        let position = self.cpus.binary_search_by_key(&id, |cpu| cpu.id).ok()?;
        Some(&self.cpus[position])
    }

    /// Returns the cache of this level that holds `cpu`'s data.
    #[must_use]
    pub fn data_cache(&self, cpu: &Cpu, level: u8) -> Option<&Cache> {
        let mut caches = cpu.caches.iter().map(|&index| &self.caches[index]);
        caches.find(|cache| cache.level == level && cache.kind != CacheKind::Instruction)
    }

    /// Returns the largest level of a data or unified cache that `cpu` has, and that cache.
    #[must_use]
    pub fn last_level_cache(&self, cpu: &Cpu) -> Option<&Cache> {
        let caches = cpu.caches.iter().map(|&index| &self.caches[index]);
        caches
            .filter(|cache| cache.kind != CacheKind::Instruction)
            .max_by_key(|cache| cache.level)
    }

    /// Returns the node with the fewest SLIT units from the node at `index` that has CPUs of
    /// `among`; itself, if it has any. Ties go to the lower index.
    #[must_use]
    pub fn nearest_node_with(&self, index: usize, among: &CpuSet) -> Option<usize> {
        let has = |node: &usize| !self.nodes[*node].cpus.is_disjoint(among);
        let distances = &self.nodes.get(index)?.distances;
        (0..self.nodes.len())
            .filter(has)
            .min_by_key(|&node| (node != index, distances[node], node))
    }

    /// The same machine with only `cpus` (of those allowed before) allowed.
    ///
    /// # Errors
    /// The value unchanged, if nothing would remain.
    #[expect(
        clippy::result_large_err,
        reason = "a failed operation gives its value back"
    )]
    pub fn restricted_to(mut self, cpus: &CpuSet) -> Result<Self, Self> {
        let allowed = &self.allowed & cpus;
        if allowed.is_empty() {
            return Err(self);
        }
        self.allowed = allowed;
        Ok(self)
    }

    /// Returns the allowed CPUs that are on performance cores.
    #[must_use]
    pub fn performance_cpus(&self) -> CpuSet {
        let performance = self
            .cpus
            .iter()
            .filter(|cpu| cpu.kind == CoreKind::Performance);
        &performance.map(|cpu| cpu.id).collect::<CpuSet>() & &self.allowed
    }

    /// Whether the machine has both kinds of core.
    #[must_use]
    pub fn is_hybrid(&self) -> bool {
        self.cores
            .iter()
            .any(|core| core.kind == CoreKind::Efficiency)
    }

    /// Returns where two descriptions of a machine differ, one line each; empty if they are equal.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, left: &dyn fmt::Debug, right: &dyn fmt::Debug| {
            let (left, right) = (format!("{left:?}"), format!("{right:?}"));
            if left != right {
                found.push(format!("{what}: {left} against {right}"));
            }
        };
        compare("online", &self.online, &other.online);
        compare("offline", &self.offline, &other.offline);
        compare("allowed", &self.allowed, &other.allowed);
        compare_lists("package", &self.packages, &other.packages, &mut compare);
        compare_lists("die", &self.dies, &other.dies, &mut compare);
        compare_lists("cluster", &self.clusters, &other.clusters, &mut compare);
        compare_lists("core", &self.cores, &other.cores, &mut compare);
        compare_lists("node", &self.nodes, &other.nodes, &mut compare);
        compare_lists("cache", &self.caches, &other.caches, &mut compare);
        compare_lists("cpu", &self.cpus, &other.cpus, &mut compare);
        found
    }

    /// Replaces the allowed CPUs, which the caller has checked to be online and not empty (T5).
    pub(crate) fn set_allowed(&mut self, allowed: CpuSet) {
        self.allowed = allowed;
    }

    /// Replaces the distances, which the caller has checked.
    pub(crate) fn set_node_distances(mut self, rows: &[Vec<u32>]) -> Self {
        for (node, row) in self.nodes.iter_mut().zip(rows) {
            node.distances.clone_from(row);
        }
        self.notes
            .retain(|note| note.assumed != draft::ASSUMED_DISTANCES);
        self
    }
}

fn compare_lists<T: fmt::Debug>(
    level: &str,
    left: &[T],
    right: &[T],
    compare: &mut dyn FnMut(&str, &dyn fmt::Debug, &dyn fmt::Debug),
) {
    compare(&format!("number of {level}s"), &left.len(), &right.len());
    for (index, (left, right)) in left.iter().zip(right).enumerate() {
        compare(&format!("{level} {index}"), left, right);
    }
}

impl PartialEq for Topology {
    fn eq(&self, other: &Self) -> bool {
        self.online == other.online
            && self.offline == other.offline
            && self.allowed == other.allowed
            && self.packages == other.packages
            && self.dies == other.dies
            && self.clusters == other.clusters
            && self.cores == other.cores
            && self.cpus == other.cpus
            && self.nodes == other.nodes
            && self.caches == other.caches
    }
}

impl Eq for Topology {}

impl fmt::Debug for Topology {
    /// Writes a summary; the parts have their own `Debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topology")
            .field("source", &self.source)
            .field("packages", &self.packages.len())
            .field("dies", &self.dies.len())
            .field("clusters", &self.clusters.len())
            .field("cores", &self.cores.len())
            .field("nodes", &self.nodes.len())
            .field("caches", &self.caches.len())
            .field("online", &self.online)
            .field("offline", &self.offline)
            .field("allowed", &self.allowed)
            .finish()
    }
}
