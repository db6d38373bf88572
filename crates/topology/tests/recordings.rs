//! Goal: every placement on every machine that we have a description of keeps its properties:
//! allowed, online, disjoint, fair over nodes, near first, and a matrix that is that of all pairs.
//! Method: the captured trees, the hard ones, made-up machines with levels in either order and any
//! numbering, and the recordings below the directories that `STEALYARD_RECORDINGS` names (`cargo
//! xtask verify --hwloc` sets it to hwloc's).
#![cfg(unix)]

#[path = "support/placed.rs"]
mod placed;
#[path = "support/tree.rs"]
#[expect(dead_code, reason = "only the descriptions are used here")]
mod tree;

use proptest::prelude::*;
use std::path::PathBuf;
use stealyard_topology::{CpuSet, Placement, Topology};
use tree::{CAPTURED, HARD, Tree};

#[test]
fn every_placement_on_every_captured_tree() {
    for (name, text) in CAPTURED.iter().chain(&HARD) {
        let machine = Tree::parse(text).read(&format!("placed-{name}"));
        placed::check(&machine.unwrap_or_else(|e| panic!("{name}: {e}")), name);
    }
}

#[test]
fn every_placement_on_every_recording() {
    let Some(folders) = std::env::var_os("STEALYARD_RECORDINGS") else {
        eprintln!(
            "skipped: STEALYARD_RECORDINGS names no recordings; cargo xtask verify --hwloc has some"
        );
        return;
    };
    let mut roots: Vec<PathBuf> = Vec::new();
    for folder in std::env::split_paths(&folders) {
        let entries = std::fs::read_dir(&folder).expect("a directory of recordings");
        roots.extend(entries.map(|entry| entry.expect("readable").path()));
    }
    roots.retain(|root| root.join("sys").is_dir());
    assert!(!roots.is_empty(), "no recordings below {folders:?}");
    for root in &roots {
        let machine =
            Topology::from_sysfs(root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
        placed::check(&machine, &root.display().to_string());
    }
    eprintln!(
        "every placement on {} recordings keeps its properties",
        roots.len()
    );
}

/// A machine of any nesting and numbering, and the part of it that is allowed.
fn made_up() -> impl Strategy<Value = (String, u64)> {
    let nesting = prop::sample::select(vec![
        "numa:# pack:# core:# pu:@",
        "pack:# numa:# core:# pu:@",
        "pack:# numa:# l3:# core:# pu:@",
        "numa:# pack:# die:# l2:# core:# pu:@",
        "pack:# [numa] die:# l3:# core:# pu:@",
        "l3:# core:# pu:@",
    ]);
    let counts = prop::collection::vec(1usize..4, 6);
    (nesting, counts, 0usize..3, any::<u64>()).prop_map(|(nesting, counts, numbering, mask)| {
        let mut counts = counts.into_iter();
        let mut text = String::new();
        let mut total = 1;
        for part in nesting.split_inclusive(['#', '@']) {
            let count = counts.next().unwrap_or(1);
            if part.contains(['#', '@']) {
                total *= count;
            }
            text += &part.replace(['#', '@'], &count.to_string());
        }
        // Interleaved: the CPUs are dealt to two halves, or to the innermost level last.
        match numbering {
            1 if total % 2 == 0 => text += &format!("(indexes={}*2:1*{})", total / 2, total / 2),
            2 => {
                let turned: Vec<String> = (0..total).rev().map(|cpu| cpu.to_string()).collect();
                text += &format!("(indexes={})", turned.join(","));
            }
            _ => {}
        }
        (text, mask)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn every_placement_on_made_up_machines((text, mask) in made_up()) {
        let machine = Topology::synthetic(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        placed::check(&machine, &text);
        let some: CpuSet = machine.online().iter().filter(|cpu| mask >> (cpu % 64) & 1 == 1).collect();
        if let Ok(part) = machine.restricted_to(&some) {
            placed::check(&part, &format!("{some} of {text}"));
        }
    }
}

fn cpus(placement: &Placement, machine: &Topology, workers: usize) -> Vec<usize> {
    let plan = placement.plan(machine, workers).expect("there is room");
    plan.seats()
        .iter()
        .filter_map(|seat| seat.cpus.first())
        .collect()
}

#[test]
fn a_node_that_holds_several_packages() {
    // Eight sockets of one core in two nodes.
    let machine = Topology::synthetic("numa:2 pack:4 core:1 pu:1").expect("sound");
    assert_eq!(cpus(&Placement::Spread, &machine, 4), [0, 4, 1, 5]);
    // Four packages of two CPUs; node 0 has packages 0 and 2, node 1 has 1 and 3.
    let text = "numa:2 pack:2(indexes=0,2,1,3) core:2 pu:1(indexes=0,1,4,5,2,3,6,7)";
    let machine = Topology::synthetic(text).expect("sound");
    assert_eq!(cpus(&Placement::Compact, &machine, 4), [0, 1, 4, 5]);
    assert_eq!(cpus(&Placement::Spread, &machine, 4), [0, 2, 4, 6]);
}

#[test]
fn near_nodes_follow_each_other() {
    let machine = Topology::synthetic("numa:4 core:1 pu:1").expect("sound");
    // Node 0 is next to node 2, and node 1 to node 3.
    let near = |a: usize, b: usize| {
        if a == b {
            10
        } else if a % 2 == b % 2 {
            12
        } else {
            32
        }
    };
    let rows: Vec<Vec<u32>> = (0..4)
        .map(|a| (0..4).map(|b| near(a, b)).collect())
        .collect();
    let machine = machine.with_node_distances(&rows).expect("four nodes");
    assert_eq!(cpus(&Placement::Compact, &machine, 4), [0, 2, 1, 3]);
}

#[test]
fn spread_is_fair_to_nodes_in_packages_of_different_size() {
    // Package 0 is a node, package 1 three of them: a node each, not two for package 0.
    let mut tree = Tree::made_up(8, 4);
    for cpu in 2..8 {
        tree.set(
            &format!("{}/cpu{cpu}/topology/physical_package_id", tree::CPU),
            "1",
        );
    }
    let machine = tree.read("uneven-packages").expect("sound");
    let mut used = cpus(&Placement::Spread, &machine, 4);
    used.sort_unstable();
    assert_eq!(used, [0, 2, 4, 6]);
}
