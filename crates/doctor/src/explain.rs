//! Why each worker is where it is: its distance to those seated before it.

use crate::findings::Findings;
use std::fmt::Write;
use stealyard_topology::{CpuSet, Distances, Placement, Plan, Topology};

/// A machine with more workers is explained by its first ones.
const MOST: usize = 64;

/// Writes what the policy is for, what contains what here, and a line for each worker.
pub(crate) fn write(findings: &Findings, plan: &Plan, out: &mut String) -> std::fmt::Result {
    let machine = &findings.machine;
    writeln!(out, "\nWhy: {}", purpose(&findings.placement))?;
    writeln!(
        out,
        "     Levels here, from the outside in: {}",
        levels(machine)
    )?;
    let distances = machine.distances();
    for (worker, seat) in plan.seats().iter().enumerate().take(MOST) {
        let before: Vec<&CpuSet> = plan.seats()[..worker]
            .iter()
            .map(|seat| &seat.cpus)
            .collect();
        let why = near(machine, &distances, &before, &seat.cpus);
        writeln!(out, "{worker:>6}  {}: {why}", seat.cpus.in_words())?;
    }
    if plan.seats().len() > MOST {
        writeln!(out, "        and {} more", plan.seats().len() - MOST)?;
    }
    for node in machine.nodes() {
        let there = |seat: &&stealyard_topology::Seat| seat.cpus.is_subset(&node.cpus);
        let count = plan.seats().iter().filter(there).count();
        if !node.cpus.is_disjoint(machine.allowed()) {
            let cpus = (&node.cpus & machine.allowed()).len();
            writeln!(
                out,
                "     Node {}: {count} workers on {cpus} allowed CPUs",
                node.id
            )?;
        }
    }
    Ok(())
}

fn purpose(placement: &Placement) -> String {
    match placement {
        Placement::None => "nothing is bound; the system moves threads as it likes".into(),
        Placement::Compact => {
            "one CPU each, close together, for workers that share data: each level is filled before \
             the next of its kind is begun"
                .into()
        }
        Placement::Spread => {
            "one CPU each, far apart, for workers that each want memory bandwidth and cache: the node \
             with the fewest workers gives the next CPU, and no core is used twice while another is free"
                .into()
        }
        Placement::Balanced => "the CPUs of spread, numbered so that neighbours are near".into(),
        Placement::OnePerCore => "a core each, free to move between its hardware threads".into(),
        Placement::PerNode => "a node each, filled in proportion to their CPUs".into(),
        Placement::Explicit(_) => "the sets that were given, in their order".into(),
        Placement::Places(places) => format!("places and binding of OpenMP: {places}"),
        Placement::PerformanceCores(within) => {
            format!("performance cores alone, and on these: {}", purpose(within))
        }
        Placement::LocalMemory(within) => {
            format!("memory of the worker's node, and {}", purpose(within))
        }
        other => other.to_string(),
    }
}

/// Returns the levels that have more than one object, largest first by the CPUs of the largest
/// object.
fn levels(machine: &Topology) -> String {
    let most = |sets: &mut dyn Iterator<Item = &CpuSet>| sets.map(CpuSet::len).max().unwrap_or(0);
    let mut caches: Vec<u8> = machine.caches().iter().map(|cache| cache.level).collect();
    caches.sort_unstable();
    caches.dedup();
    let mut levels = vec![
        (
            most(&mut machine.nodes().iter().map(|n| &n.cpus)),
            "node".to_owned(),
        ),
        (
            most(&mut machine.packages().iter().map(|p| &p.cpus)),
            "package".to_owned(),
        ),
        (
            most(&mut machine.cores().iter().map(|c| &c.cpus)),
            "core".to_owned(),
        ),
    ];
    if machine.dies().len() > machine.packages().len() {
        levels.push((
            most(&mut machine.dies().iter().map(|d| &d.cpus)),
            "die".to_owned(),
        ));
    }
    for level in caches.into_iter().filter(|&level| level > 1) {
        let those = machine.caches().iter().filter(|cache| cache.level == level);
        levels.push((
            most(&mut those.map(|cache| &cache.cpus)),
            format!("L{level}"),
        ));
    }
    levels.sort_by_key(|(cpus, _)| std::cmp::Reverse(*cpus));
    let names: Vec<String> = levels
        .into_iter()
        .map(|(cpus, name)| format!("{name} ({cpus})"))
        .collect();
    names.join(" > ")
}

/// Returns what the nearest of the workers before shares with this one.
fn near(machine: &Topology, distances: &Distances, before: &[&CpuSet], cpus: &CpuSet) -> String {
    let node = cpus
        .first()
        .and_then(|cpu| machine.cpu(cpu))
        .map(|cpu| cpu.node);
    let place = node.map_or_else(String::new, |node| {
        format!("node {}", machine.nodes()[node].id)
    });
    let ranks = before
        .iter()
        .enumerate()
        .filter_map(|(worker, other)| Some((distances.rank_of_sets(other, cpus)?, worker)));
    // The latest of equals: a neighbour in the order, where there is one.
    let Some((rank, worker)) = ranks.min_by_key(|&(rank, worker)| (rank, usize::MAX - worker))
    else {
        return format!("{place}, the first");
    };
    let shared = match rank {
        0 => "the same CPU as",
        1 => "one core with",
        2 => "one L2 or cluster with",
        3 => "one L3 with",
        4 => "one node and no cache with",
        _ => "no node with any worker before; nearest is",
    };
    format!("{place}, {shared} worker {worker}")
}
