//! The order in which CPUs are taken, from what contains what.
//!
//! # How nearness becomes an order
//! Nodes, packages, dies, last-level caches, clusters and shared L2s are sets of CPUs. Which of
//! them holds which differs between machines: a node may hold several packages, or a package
//! several nodes. So the levels have no fixed order here. Each CPU has a *chain*: the sets that
//! hold it, the largest first, down to its core and its place within the core. Sorted by their
//! chains, CPUs that share much are next to each other, however they are numbered: the order of
//! `Compact`. Dealing out the sets of each depth in turn, depth by depth from the outside, gives
//! the order of `Spread`. It takes its next CPU from the node with the fewest so far, and from
//! first threads of all cores before second threads, so that no core is used twice while another is
//! free.
//!
//! Sets are ordered by their first CPU, and CPUs by their nodes first: the node with the lowest
//! index, then always the one with the least SLIT distance to those before it.
//!
//! # Invariants
//! - **P4** No two sets of the chains cross: of two that would, the one of the later level is left
//!   out, in the order of the list above. So two CPUs with a set in common have all larger sets in
//!   common.
//!
//! All of it is O(n log n) in the CPUs.

use crate::{CpuSet, Topology};
use core::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Nodes, packages, dies, last-level caches, clusters, L2s.
const LEVELS: usize = 6;

/// Sets of a chain: the levels, the core, and the place within it.
const DEPTH: usize = LEVELS + 2;

/// The sets that hold a CPU, each as the position of its first CPU; the last is the place within
/// the core.
type Chain = [u32; DEPTH];

/// A CPU in its order.
#[derive(Clone, Copy, Debug)]
struct Placed {
    chain: Chain,
    cpu: usize,
    core: usize,
    node: usize,
}

pub(super) fn compact(topology: &Topology, allowed: &CpuSet) -> Vec<usize> {
    chained(topology, allowed)
        .into_iter()
        .map(|placed| placed.cpu)
        .collect()
}

pub(super) fn spread(topology: &Topology, allowed: &CpuSet) -> Vec<usize> {
    dealt(&chained(topology, allowed))
}

/// Returns the first CPUs of `Spread`, in the order of `Compact`.
pub(super) fn balanced(topology: &Topology, allowed: &CpuSet, workers: usize) -> Vec<usize> {
    let chained = chained(topology, allowed);
    let used: CpuSet = dealt(&chained).into_iter().take(workers).collect();
    let order = chained.iter().map(|placed| placed.cpu);
    order.filter(|&cpu| used.contains(cpu)).collect()
}

/// Returns the order of `Spread`, of CPUs in the order of `Compact`.
fn dealt(chained: &[Placed]) -> Vec<usize> {
    let thread = |placed: &Placed| placed.chain[DEPTH - 1];
    let threads = chained.iter().map(|placed| thread(placed) + 1).max();
    let mut by_node: BTreeMap<usize, Vec<Placed>> = BTreeMap::new();
    for &placed in chained {
        by_node.entry(placed.node).or_default().push(placed);
    }
    // The first CPU of every node stands for it, so that nodes are dealt as the sets around them
    // are.
    let mut first: Vec<Placed> = by_node.values().map(|cpus| cpus[0]).collect();
    first.sort_unstable_by_key(|placed| (placed.chain, placed.cpu));
    let node_of: BTreeMap<usize, usize> = first.iter().map(|p| (p.cpu, p.node)).collect();
    let nodes: Vec<usize> = deal(&first, 0).iter().map(|cpu| node_of[cpu]).collect();
    let mut order = Vec::with_capacity(chained.len());
    let mut taken = vec![0usize; nodes.len()];
    for number in 0..threads.unwrap_or(0) {
        let hand = |node: &usize| {
            let those = by_node[node].iter().filter(|p| thread(p) == number);
            deal(&those.copied().collect::<Vec<_>>(), 0).into_iter()
        };
        let mut hands: Vec<std::vec::IntoIter<usize>> = nodes.iter().map(hand).collect();
        // The node with the fewest CPUs so far gives the next one.
        let waiting = (0..nodes.len()).map(|at| Reverse((taken[at], at)));
        let mut waiting: BinaryHeap<Reverse<(usize, usize)>> = waiting.collect();
        while let Some(Reverse((count, at))) = waiting.pop() {
            if let Some(cpu) = hands[at].next() {
                order.push(cpu);
                taken[at] = count + 1;
                waiting.push(Reverse((count + 1, at)));
            }
        }
    }
    order
}

/// Returns the allowed CPUs of each core that has any, in the order of `Compact`.
pub(super) fn cores(topology: &Topology, allowed: &CpuSet) -> Vec<CpuSet> {
    let mut order: Vec<usize> = chained(topology, allowed)
        .iter()
        .map(|placed| placed.core)
        .collect();
    order.dedup();
    order
        .into_iter()
        .map(|core| &topology.cores()[core].cpus & allowed)
        .collect()
}

/// Takes one CPU of each set of this depth in turn, each set being dealt the same way by the sets
/// within. `cpus` is sorted by chain.
fn deal(cpus: &[Placed], depth: usize) -> Vec<usize> {
    if depth == DEPTH - 1 || cpus.len() < 2 {
        return cpus.iter().map(|placed| placed.cpu).collect();
    }
    let groups = cpus.chunk_by(|a, b| a.chain[depth] == b.chain[depth]);
    let mut hands: Vec<std::vec::IntoIter<usize>> = groups
        .map(|group| deal(group, depth + 1).into_iter())
        .collect();
    if hands.len() == 1 {
        return hands.remove(0).collect();
    }
    let mut order = Vec::with_capacity(cpus.len());
    while !hands.is_empty() {
        order.extend(hands.iter_mut().filter_map(Iterator::next));
        hands.retain(|hand| hand.len() > 0);
    }
    order
}

/// Returns the allowed CPUs with their chains, in the order of `Compact`.
fn chained(topology: &Topology, allowed: &CpuSet) -> Vec<Placed> {
    let nodes = node_order(topology, allowed);
    let cpus = topology.cpus();
    // Positions: by node, then by number.
    let mut order: Vec<usize> = (0..cpus.len()).collect();
    order.sort_unstable_by_key(|&index| (nodes[cpus[index].node], cpus[index].id));
    let mut position = vec![0u32; cpus.len()];
    for (at, &index) in order.iter().enumerate() {
        position[index] = u32::try_from(at).unwrap_or(u32::MAX);
    }
    let levels = levels(topology, &position);
    let core_first = firsts(cpus.iter().map(|cpu| Some(cpu.core)), &position);
    let mut placed: Vec<Placed> = Vec::new();
    for (index, cpu) in cpus
        .iter()
        .enumerate()
        .filter(|(_, cpu)| allowed.contains(cpu.id))
    {
        let core = topology.cores()[cpu.core].cpus.len();
        // The largest first; of equal sets the one of the earlier level, because the sort is
        // stable.
        let mut sets: [Option<Set>; LEVELS] =
            core::array::from_fn(|level| levels[level][index].filter(|set| set.size > core));
        sets.sort_by_key(|set| Reverse(set.map_or(0, |set| set.size)));
        let mut chain = [core_first[index]; DEPTH];
        for (slot, set) in chain.iter_mut().zip(sets.iter().flatten()) {
            *slot = set.first;
        }
        chain[DEPTH - 1] = 0;
        placed.push(Placed {
            chain,
            cpu: cpu.id,
            core: cpu.core,
            node: cpu.node,
        });
    }
    placed.sort_unstable_by_key(|placed| (placed.chain, placed.cpu));
    for at in 1..placed.len() {
        if placed[at].core == placed[at - 1].core {
            placed[at].chain[DEPTH - 1] = placed[at - 1].chain[DEPTH - 1] + 1;
        }
    }
    placed
}

/// A set of a level, as seen from a CPU in it.
#[derive(Clone, Copy, Debug)]
struct Set {
    /// The position of its first CPU.
    first: u32,
    /// How many CPUs it has.
    size: usize,
}

/// Returns, for each level, the set of each CPU by index, without the sets that cross one of an
/// earlier level (P4).
fn levels(topology: &Topology, position: &[u32]) -> [Vec<Option<Set>>; LEVELS] {
    let cpus = topology.cpus();
    let cache_of = |cpu: &crate::Cpu, level: Option<u8>| {
        let caches = cpu.caches.iter().copied();
        let data = caches.filter(|&index| {
            let cache = &topology.caches()[index];
            cache.kind != crate::CacheKind::Instruction
                && level.is_none_or(|level| cache.level == level)
        });
        data.max_by_key(|&index| topology.caches()[index].level)
    };
    let mut names: [Vec<Option<usize>>; LEVELS] = [
        cpus.iter().map(|cpu| Some(cpu.node)).collect(),
        cpus.iter().map(|cpu| Some(cpu.package)).collect(),
        cpus.iter().map(|cpu| Some(cpu.die)).collect(),
        cpus.iter().map(|cpu| cache_of(cpu, None)).collect(),
        cpus.iter().map(|cpu| cpu.cluster).collect(),
        cpus.iter().map(|cpu| cache_of(cpu, Some(2))).collect(),
    ];
    for level in 1..LEVELS {
        let (earlier, later) = names.split_at_mut(level);
        for other in earlier {
            leave_out_crossing(&mut later[0], other);
        }
    }
    names.map(|level| {
        let length = level.iter().flatten().max().map_or(0, |last| last + 1);
        let mut sizes = vec![0; length];
        level.iter().flatten().for_each(|&name| sizes[name] += 1);
        let first = firsts(level.iter().copied(), position);
        let set = |(index, name): (usize, &Option<usize>)| {
            name.map(|name| Set {
                first: first[index],
                size: sizes[name],
            })
        };
        level.iter().enumerate().map(set).collect()
    })
}

/// Whether all CPUs of a set of `level` are in one set of `other`, by the set's name.
fn within_one(level: &[Option<usize>], other: &[Option<usize>]) -> Vec<bool> {
    let length = level.iter().flatten().max().map_or(0, |last| last + 1);
    let mut seen: Vec<Option<Option<usize>>> = vec![None; length];
    let mut within = vec![true; length];
    for (name, around) in level.iter().zip(other) {
        if let Some(name) = *name {
            let first = *seen[name].get_or_insert(*around);
            within[name] &= around.is_some() && first == *around;
        }
    }
    within
}

/// Takes out of `level` the sets that share some CPUs, not all of either, with a set of `other`.
fn leave_out_crossing(level: &mut [Option<usize>], other: &[Option<usize>]) {
    let (own, theirs) = (within_one(level, other), within_one(other, level));
    let mut crosses = vec![false; own.len()];
    for (name, around) in level.iter().zip(other) {
        if let (Some(name), Some(around)) = (*name, *around) {
            crosses[name] |= !own[name] && !theirs[around];
        }
    }
    for name in level.iter_mut() {
        *name = name.filter(|&name| !crosses[name]);
    }
}

/// Returns, for each CPU by index, the least position in the set that it names; 0 for none.
fn firsts(names: impl Iterator<Item = Option<usize>> + Clone, position: &[u32]) -> Vec<u32> {
    let length = names.clone().flatten().max().map_or(0, |last| last + 1);
    let mut first = vec![u32::MAX; length];
    for (name, &at) in names.clone().zip(position) {
        if let Some(name) = name {
            first[name] = at.min(first[name]);
        }
    }
    names
        .map(|name| name.map_or(0, |name| first[name]))
        .collect()
}

/// Returns the place of each node, by index, in an order in which near nodes follow each other: the
/// first node with allowed CPUs, then always the one with the least distance to all before it;
/// nodes without come last.
fn node_order(topology: &Topology, allowed: &CpuSet) -> Vec<usize> {
    let nodes = topology.nodes();
    let mut place = vec![usize::MAX; nodes.len()];
    let mut left: Vec<usize> = (0..nodes.len())
        .filter(|&node| !nodes[node].cpus.is_disjoint(allowed))
        .collect();
    let mut sums = vec![0u64; nodes.len()];
    for at in 0..left.len() {
        let Some(next) = left.iter().copied().min_by_key(|&node| (sums[node], node)) else {
            break;
        };
        place[next] = at;
        left.retain(|&node| node != next);
        for &node in &left {
            let both = nodes[node].distances[next] + nodes[next].distances[node];
            sums[node] += u64::from(both);
        }
    }
    place
}
