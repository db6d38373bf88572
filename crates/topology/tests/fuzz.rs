//! Goal: no text and no tree makes a reader panic, loop or ask for much memory; what it accepts
//! keeps the invariants T1 to T6. Method: proptest with arbitrary text, text of the grammar's own
//! words, and captured trees with files overwritten by hostile content.
#![cfg(unix)]

#[path = "support/tree.rs"]
#[expect(dead_code, reason = "only captured trees are used here")]
mod tree;

use proptest::prelude::*;
use std::collections::BTreeSet;
use stealyard_topology::{CpuSet, PlaceList, Placement, Topology};
use tree::captured;

fn check_invariants(machine: &Topology) {
    let all = |sets: Vec<&CpuSet>, what: &str| {
        let count: usize = sets.iter().map(|set| set.len()).sum();
        let union = sets.into_iter().fold(CpuSet::new(), |all, set| &all | set);
        assert_eq!(
            (&union, count),
            (machine.online(), machine.online().len()),
            "T1: {what}"
        );
    };
    assert!(!machine.online().is_empty(), "T5");
    assert!(machine.allowed().is_subset(machine.online()), "T5");
    all(
        machine.packages().iter().map(|p| &p.cpus).collect(),
        "packages",
    );
    all(machine.dies().iter().map(|d| &d.cpus).collect(), "dies");
    all(machine.cores().iter().map(|c| &c.cpus).collect(), "cores");
    all(machine.nodes().iter().map(|n| &n.cpus).collect(), "nodes");
    for cpu in machine.cpus() {
        assert!(machine.packages()[cpu.package].cpus.contains(cpu.id));
        assert!(machine.nodes()[cpu.node].cpus.contains(cpu.id));
        assert!(
            cpu.caches
                .iter()
                .all(|&c| machine.caches()[c].cpus.contains(cpu.id))
        );
    }
    for core in machine.cores() {
        assert!(core.cpus.is_subset(&machine.dies()[core.die].cpus), "T2");
    }
    for node in machine.nodes() {
        assert_eq!(node.distances.len(), machine.nodes().len());
    }
    if machine.cpus().len() <= 64 {
        let plan = Placement::Spread
            .plan(machine, machine.cpus().len())
            .expect("a CPU each");
        let used: BTreeSet<String> = plan
            .seats()
            .iter()
            .map(|seat| seat.cpus.to_string())
            .collect();
        assert_eq!(used.len(), machine.cpus().len(), "P2");
    }
}

/// Words of the grammar, right and wrong, in any order.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "pack:2",
            "[numa]",
            "[numa(memory=1GB)]",
            "l3:2",
            "L2:1",
            "l1i:1",
            "core:3",
            "pu:2",
            "die:2",
            "numa:2",
            "group:2",
            "2",
            "3",
            "pu:2(indexes=2*4:1*2)",
            "pu:4(indexes=3,2,1,0)",
            "pu:2(indexes=pack:core)",
            "core:2(size=1)",
            "[",
            "]",
            "(",
            ")",
            "pu:",
            ":",
            "pu:9999999999",
        ])
        .prop_map(String::from),
        "[a-z]{0,5}:[0-9]{0,6}(\\([a-z]{0,8}=[0-9*:,]{0,9}\\))?",
    ];
    prop::collection::vec(word, 0..7).prop_map(|words| words.join(" "))
}

/// What a hostile file may hold.
fn content() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "",
            "0",
            "-1",
            "0-7",
            "7-0",
            "0-1048575",
            "4294967296",
            "18446744073709551616",
            "0,0,0",
            "1K",
            "Unified",
            "Data",
            "10 20",
            "255 255",
            "Node 0 MemTotal: 1 kB",
            "0-3:1/2",
            "1,",
            ",",
            "\u{0}",
            "0-7\u{0}",
            " 3 ",
            "1048575",
            "0-1048575:1/2",
            "ffffffff,ffffffff",
            "80000000,00000000,00000000",
            "00000000",
            "0 0",
            "20 10",
            "0K",
            "1024",
            "Trace",
        ])
        .prop_map(String::from),
        "[0-9,\\- ]{0,12}",
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn synthetic_takes_any_text(text in any::<String>()) {
        if let Ok(machine) = Topology::synthetic(&text) { check_invariants(&machine); }
    }

    #[test]
    fn synthetic_takes_any_words(text in words()) {
        if let Ok(machine) = Topology::synthetic(&text) { check_invariants(&machine); }
    }

    #[test]
    fn places_take_any_text(text in "[{}0-9:,( )a-z_]{0,24}") {
        let _ = text.parse::<PlaceList>();
    }

    #[test]
    fn cpu_lists_take_any_text(text in "[0-9,:/ \\-]{0,24}") {
        if let Ok(set) = text.parse::<CpuSet>() {
            prop_assert_eq!(set.to_string().parse::<CpuSet>(), Ok(set));
        }
    }

    #[test]
    fn masks_take_any_text(text in "[0-9a-fx,]{0,24}") {
        let _ = CpuSet::from_mask(&text);
    }
}

/// Whole trees, and such as have a trouble of their own already.
const TREES: [&str; 9] = [
    "cpuless",
    "offline",
    "snc3",
    "hotplug",
    "lxcfs",
    "masks_only",
    "lying_siblings",
    "gpu_nodes",
    "memory_only_node",
];

#[test]
fn sysfs_takes_any_tree() {
    let trees = TREES.map(|name| {
        let tree = captured(name);
        let root = tree.unpack(&format!("fuzz-{name}"));
        (tree.0.into_iter().collect::<Vec<(String, String)>>(), root)
    });
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(256)
    };
    let change = (any::<prop::sample::Index>(), prop::option::of(content()));
    let changes = prop::collection::vec(change, 1..4);
    proptest!(config, |(tree in 0..TREES.len(), changes in changes)| {
        let (files, root) = &trees[tree];
        let pick = |index: &prop::sample::Index| &files[index.index(files.len())];
        for (index, content) in &changes {
            let path = root.0.join(&pick(index).0);
            match content {
                Some(content) => std::fs::write(&path, content).expect("temporary file"),
                None => _ = std::fs::remove_file(&path),
            }
        }
        // Every CPU still has a directory, so that there is always a machine.
        let machine = Topology::from_sysfs(&root.0).unwrap_or_else(|e| panic!("{changes:?}: {e}"));
        check_invariants(&machine);
        let strict = Topology::read_strict(&root.0);
        prop_assert!(strict.is_err() || strict.as_ref() == Ok(&machine), "both read it alike, or one refuses");
        for (index, _) in &changes {
            let (path, content) = pick(index);
            std::fs::write(root.0.join(path), content).expect("temporary file");
        }
    });
}
