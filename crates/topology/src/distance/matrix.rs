//! The ranks between workers, computed by what contains what instead of pair by pair.
//!
//! 8,192 workers have 67 million ranks. Where every worker keeps to one core, rows are copied from
//! each other, from the outside in:
//!
//! 1. The row of a node holds the ranks between nodes.
//! 2. The row of a last-level cache is that of its node, with the workers under the cache
//!    overwritten.
//! 3. The row of an L2 or cluster is that of its cache, with the workers under it overwritten.
//! 4. The row of a worker is that of its L2, with the workers of its core overwritten and its own
//!    entry cleared.
//!
//! So a row is a copy and a few writes. Workers with larger sets (a node each, a cache each) have
//! few different sets: ranks are computed between those, from a summary of each, and rows are
//! copied.

use super::{Distances, NONE, Place, SAME, SHARED_L2, SHARED_L3, SIBLING};
use crate::CpuSet;
use std::collections::BTreeMap;

/// Where a worker is that keeps to one core.
#[derive(Clone, Copy, Debug)]
struct Spot {
    place: Place,
    /// The CPU, if it is only one.
    cpu: Option<usize>,
}

/// Computes the ranks between workers with these sets, row by row.
pub(super) fn ranks(distances: &Distances, workers: &[CpuSet]) -> Vec<u8> {
    let spots: Option<Vec<Spot>> = workers.iter().map(|set| spot(distances, set)).collect();
    match spots {
        Some(spots) => between_spots(distances, &spots),
        None => between_sets(distances, workers),
    }
}

fn spot(distances: &Distances, set: &CpuSet) -> Option<Spot> {
    let mut places = set.iter().filter_map(|cpu| distances.place(cpu));
    let place = places.next()?;
    let same = places.all(|other| other == place);
    same.then_some(Spot {
        place,
        cpu: set.single(),
    })
}

/// Workers by the object that they share.
fn peers<K: Ord>(spots: &[Spot], key: impl Fn(&Spot) -> Option<K>) -> BTreeMap<K, Vec<usize>> {
    let mut peers: BTreeMap<K, Vec<usize>> = BTreeMap::new();
    for (worker, spot) in spots.iter().enumerate() {
        if let Some(key) = key(spot) {
            peers.entry(key).or_default().push(worker);
        }
    }
    peers
}

fn between_spots(distances: &Distances, spots: &[Spot]) -> Vec<u8> {
    let count = spots.len();
    let known = |number: u32| (number != NONE).then_some(number);
    let by_last = peers(spots, |spot| known(spot.place.last));
    let by_near = peers(spots, |spot| known(spot.place.near));
    let by_core = peers(spots, |spot| Some(spot.place.core));
    let by_cpu = peers(spots, |spot| spot.cpu);
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_unstable_by_key(|&worker| (spots[worker].place, worker));
    let mut ranks = vec![SAME; count * count];
    // The rows of the node, the last cache and the L2 that the last worker had, and whose they are.
    let mut rows: [Vec<u8>; 3] = [vec![0; count], vec![0; count], vec![0; count]];
    let mut current: Option<Place> = None;
    for &worker in &order {
        let Spot { place, cpu } = spots[worker];
        let [node, last, near] = &mut rows;
        if current.is_none_or(|current| current.node != place.node) {
            for (rank, spot) in node.iter_mut().zip(spots) {
                *rank = distances.node_rank(place.node as usize, spot.place.node as usize);
            }
        }
        let same_last = |current: Place| (current.node, current.last) == (place.node, place.last);
        if !current.is_some_and(same_last) {
            overwrite(last, node, by_last.get(&place.last), SHARED_L3);
        }
        let same_near = |current: Place| same_last(current) && current.near == place.near;
        if !current.is_some_and(same_near) {
            overwrite(near, last, by_near.get(&place.near), SHARED_L2);
        }
        current = Some(place);
        let row = &mut ranks[worker * count..][..count];
        overwrite(row, near, by_core.get(&place.core), SIBLING);
        for &peer in cpu.and_then(|cpu| by_cpu.get(&cpu)).into_iter().flatten() {
            row[peer] = SAME;
        }
        row[worker] = SAME;
    }
    ranks
}

/// Makes `row` a copy of the `outer` one, with `rank` for the `peers`.
fn overwrite(row: &mut [u8], outer: &[u8], peers: Option<&Vec<usize>>, rank: u8) {
    row.copy_from_slice(outer);
    for &peer in peers.into_iter().flatten() {
        row[peer] = rank;
    }
}

/// The CPUs of a set that share L2, last cache and node: what other CPUs see as one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heap {
    place: Place,
    cpu: usize,
    cores: bool,
    cpus: bool,
}

pub(super) fn heaps(distances: &Distances, set: &CpuSet) -> Vec<Heap> {
    let mut heaps: BTreeMap<(u32, u32, u32), Heap> = BTreeMap::new();
    for (cpu, place) in set
        .iter()
        .filter_map(|cpu| Some((cpu, distances.place(cpu)?)))
    {
        let heap = heaps.entry((place.node, place.last, place.near));
        let heap = heap.or_insert(Heap {
            place,
            cpu,
            cores: false,
            cpus: false,
        });
        heap.cpus |= cpu != heap.cpu;
        heap.cores |= place.core != heap.place.core;
    }
    heaps.into_values().collect()
}

fn between_sets(distances: &Distances, workers: &[CpuSet]) -> Vec<u8> {
    let mut distinct: BTreeMap<&CpuSet, usize> = BTreeMap::new();
    let mut summaries = Vec::new();
    let mut index = Vec::with_capacity(workers.len());
    for set in workers {
        let next = distinct.len();
        let at = *distinct.entry(set).or_insert(next);
        if at == next {
            summaries.push(heaps(distances, set));
        }
        index.push(at);
    }
    let (count, sets) = (workers.len(), summaries.len());
    let mut between = vec![SAME; sets * sets];
    for (i, a) in summaries.iter().enumerate() {
        for (j, b) in summaries.iter().enumerate().take(i + 1) {
            let rank = farthest(distances, a, b);
            between[i * sets + j] = rank;
            between[j * sets + i] = rank;
        }
    }
    let mut ranks = Vec::with_capacity(count * count);
    let mut first_row: Vec<Option<usize>> = vec![None; sets];
    for (worker, &set) in index.iter().enumerate() {
        let start = ranks.len();
        match first_row[set] {
            // The row of a worker with the same set, whose own entry is not the rank between the
            // two.
            Some(other) => {
                ranks.extend_from_within(other * count..(other + 1) * count);
                ranks[start + other] = between[set * sets + set];
            }
            None => {
                first_row[set] = Some(worker);
                ranks.extend(index.iter().map(|&other| between[set * sets + other]));
            }
        }
        ranks[start + worker] = SAME;
    }
    ranks
}

/// Returns the rank of the farthest pair; the farthest of all if a set has no online CPU.
pub(super) fn farthest(distances: &Distances, a: &[Heap], b: &[Heap]) -> u8 {
    // Heaps are in order of their nodes.
    let nodes = |heaps: &[Heap]| -> Vec<usize> {
        let mut nodes: Vec<usize> = heaps.iter().map(|heap| heap.place.node as usize).collect();
        nodes.dedup();
        nodes
    };
    let (from, to) = (nodes(a), nodes(b));
    let pairs = from.iter().flat_map(|&x| to.iter().map(move |&y| (x, y)));
    let Some(limit) = pairs.map(|(x, y)| distances.node_rank(x, y)).max() else {
        return u8::MAX;
    };
    let mut most = SAME;
    for x in a {
        for y in b {
            most = most.max(between_heaps(distances, x, y));
            if most == limit {
                return most;
            }
        }
    }
    most
}

fn between_heaps(distances: &Distances, x: &Heap, y: &Heap) -> u8 {
    let (a, b) = (x.place, y.place);
    if !x.cores && !y.cores && a.core == b.core {
        return match x.cpus || y.cpus || x.cpu != y.cpu {
            true => SIBLING,
            false => SAME,
        };
    }
    match () {
        () if a.near == b.near && a.near != NONE => SHARED_L2,
        () if a.last == b.last && a.last != NONE => SHARED_L3,
        () => distances.node_rank(a.node as usize, b.node as usize),
    }
}
