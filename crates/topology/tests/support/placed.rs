//! What every placement keeps on every machine, checked one property at a time.

#![expect(unreachable_pub, reason = "every test file uses its part of this")]

use std::collections::{BTreeMap, BTreeSet};
use stealyard_topology::{CacheKind, CpuSet, Placement, Plan, Topology};

/// Checks every policy for several numbers of workers; `name` is the machine's.
pub fn check(machine: &Topology, name: &str) {
    let cpus = machine.allowed().len();
    let cores: Vec<CpuSet> = usable(machine, machine.cores().iter().map(|core| &core.cpus));
    for (policy, room) in [
        (Placement::Compact, cpus),
        (Placement::Spread, cpus),
        (Placement::Balanced, cpus),
        (Placement::OnePerCore, cores.len()),
    ] {
        for workers in numbers(room) {
            let plan = policy.plan(machine, workers).expect("there is room");
            let what = format!("{policy} of {workers} on {name}");
            allowed_online_disjoint(machine, &plan, workers, &what);
            if policy == Placement::Spread && workers <= cores.len() {
                fair_over_nodes(machine, &plan, &cores, &what);
            }
            matrix_is_that_of_all_pairs(machine, &plan, &what);
        }
        assert!(
            policy.plan(machine, room + 1).is_err(),
            "{policy} on {name}"
        );
    }
    near_first(machine, name);
    balanced_is_spread_in_another_order(machine, name);
    per_node_by_size(machine, name);
}

/// Some numbers of workers up to `room`.
fn numbers(room: usize) -> BTreeSet<usize> {
    [1, 2, 3, 4, 5, 7, room / 2, room.saturating_sub(1), room]
        .into_iter()
        .filter(|&number| number <= room)
        .collect()
}

fn usable<'a>(machine: &Topology, sets: impl Iterator<Item = &'a CpuSet>) -> Vec<CpuSet> {
    sets.map(|set| set & machine.allowed())
        .filter(|set| !set.is_empty())
        .collect()
}

fn allowed_online_disjoint(machine: &Topology, plan: &Plan, workers: usize, what: &str) {
    assert_eq!(plan.seats().len(), workers, "{what}");
    let mut taken = CpuSet::new();
    for seat in plan.seats() {
        assert!(!seat.cpus.is_empty(), "P1: {what}");
        assert!(seat.cpus.is_subset(machine.allowed()), "P1: {what}");
        assert!(seat.cpus.is_subset(machine.online()), "P1: {what}");
        assert!(seat.cpus.is_disjoint(&taken), "P2: {what}");
        taken = &taken | &seat.cpus;
    }
}

/// A node has two workers more than another only if that has no core left.
fn fair_over_nodes(machine: &Topology, plan: &Plan, cores: &[CpuSet], what: &str) {
    let used: CpuSet = plan
        .seats()
        .iter()
        .filter_map(|seat| seat.cpus.first())
        .collect();
    let mut of_node: BTreeMap<usize, (usize, bool)> = BTreeMap::new();
    for core in cores {
        let node = machine
            .cpu(core.first().expect("not empty"))
            .expect("online")
            .node;
        let (count, free) = of_node.entry(node).or_default();
        *count += (core & &used).len();
        *free |= core.is_disjoint(&used);
    }
    let most = of_node.values().map(|(count, _)| *count).max().unwrap_or(0);
    for (node, (count, free)) in &of_node {
        assert!(
            !free || count + 1 >= most,
            "{what}: node {node} has {count} of {of_node:?}"
        );
    }
}

/// `Compact` fills a core, a cache, a package and a node before it begins the next of them.
fn near_first(machine: &Topology, name: &str) {
    let plan = Placement::Compact.plan(machine, machine.allowed().len());
    let order: Vec<usize> = plan
        .expect("there is room")
        .seats()
        .iter()
        .filter_map(|seat| seat.cpus.first())
        .collect();
    let nodes: Vec<CpuSet> = machine
        .nodes()
        .iter()
        .map(|node| node.cpus.clone())
        .collect();
    let packages: Vec<CpuSet> = machine.packages().iter().map(|p| p.cpus.clone()).collect();
    let dies: Vec<CpuSet> = machine.dies().iter().map(|die| die.cpus.clone()).collect();
    let last = machine
        .cpus()
        .iter()
        .filter_map(|cpu| machine.last_level_cache(cpu));
    let caches = last.filter(|cache| cache.kind != CacheKind::Instruction);
    let caches: Vec<CpuSet> = caches.map(|cache| cache.cpus.clone()).collect();
    let cores: Vec<CpuSet> = machine
        .cores()
        .iter()
        .map(|core| core.cpus.clone())
        .collect();
    let mut before: Vec<CpuSet> = Vec::new();
    for (level, sets) in [
        ("node", nodes),
        ("package", packages),
        ("die", dies),
        ("cache", caches),
        ("core", cores),
    ] {
        for set in &sets {
            // A set that crosses one that counts more can't be filled in one go.
            let crosses = |other: &CpuSet| {
                !other.is_disjoint(set) && !other.is_subset(set) && !set.is_subset(other)
            };
            if before.iter().any(crosses) {
                continue;
            }
            let inside: Vec<bool> = order.iter().map(|&cpu| set.contains(cpu)).collect();
            let begins = inside.windows(2).filter(|pair| !pair[0] && pair[1]).count();
            let begins = begins + usize::from(inside.first() == Some(&true));
            assert!(
                begins <= 1,
                "Compact on {name} comes back to {level} {set}: {order:?}"
            );
        }
        before.extend(sets);
    }
}

fn balanced_is_spread_in_another_order(machine: &Topology, name: &str) {
    for workers in numbers(machine.allowed().len()) {
        let used = |policy: Placement| -> CpuSet {
            let plan = policy.plan(machine, workers).expect("there is room");
            plan.seats()
                .iter()
                .filter_map(|seat| seat.cpus.first())
                .collect()
        };
        assert_eq!(
            used(Placement::Balanced),
            used(Placement::Spread),
            "{workers} on {name}"
        );
    }
}

/// Every node has a worker before one has two, and then none is more crowded than another by a
/// worker.
fn per_node_by_size(machine: &Topology, name: &str) {
    let nodes = usable(machine, machine.nodes().iter().map(|node| &node.cpus));
    for workers in [
        1,
        nodes.len(),
        nodes.len() + 1,
        3 * nodes.len(),
        machine.allowed().len(),
    ] {
        let plan = Placement::PerNode
            .plan(machine, workers)
            .expect("any number");
        let count = |set: &CpuSet| plan.seats().iter().filter(|seat| seat.cpus == *set).count();
        let counts: Vec<(usize, usize)> = nodes.iter().map(|set| (count(set), set.len())).collect();
        assert_eq!(
            counts.iter().map(|(count, _)| count).sum::<usize>(),
            workers,
            "{name}"
        );
        for &(count, size) in &counts {
            assert!(count > 0 || workers < nodes.len(), "{name}: {counts:?}");
            let fuller = |&(other, its): &(usize, usize)| (count + 1) * its < (other - 1) * size;
            let unfair = counts.iter().filter(|(other, _)| *other > 1).any(fuller);
            assert!(!unfair, "{name}: {counts:?}");
        }
        matrix_is_that_of_all_pairs(machine, &plan, name);
    }
}

/// The matrix, computed by what contains what, is that of the farthest pairs of CPUs.
fn matrix_is_that_of_all_pairs(machine: &Topology, plan: &Plan, what: &str) {
    let distances = machine.distances();
    let matrix = plan.matrix(&distances);
    // All of a small plan; the first, the last and every seventh of a large one.
    let step = if plan.seats().len() <= 16 { 1 } else { 7 };
    let seats: Vec<(usize, &CpuSet)> = plan
        .seats()
        .iter()
        .map(|seat| &seat.cpus)
        .enumerate()
        .filter(|(index, _)| index % step == 0 || index + 1 == plan.seats().len())
        .collect();
    for &(a, from) in &seats {
        for &(b, to) in &seats {
            let pairs = from.iter().flat_map(|x| to.iter().map(move |y| (x, y)));
            let farthest = pairs.filter_map(|(x, y)| distances.rank(x, y)).max();
            let expected = if a == b { Some(0) } else { farthest };
            assert_eq!(
                Some(matrix.rank(a, b)),
                expected,
                "{what}: workers {a} and {b}"
            );
        }
        let order = matrix.nearest_first(a);
        assert_eq!(order.len() + 1, plan.seats().len(), "{what}");
        assert!(
            order
                .windows(2)
                .all(|pair| (pair[0].1, pair[0].0) < (pair[1].1, pair[1].0)),
            "{what}"
        );
    }
}
