//! Goal: synthetic descriptions mean what hwloc's manual says, and malformed ones are errors with
//! the place. Method: examples with known machines; a table of malformed texts with the byte at
//! fault.

use stealyard_topology::{CacheKind, CpuSet, Error, Topology};

fn machine(text: &str) -> Topology {
    Topology::synthetic(text).unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

fn set(list: &str) -> CpuSet {
    list.parse().expect("a list of CPUs")
}

#[test]
fn the_example_of_the_manual() {
    let m = machine("pack:2 [numa] l3:2 core:4 pu:2");
    assert_eq!(
        (m.packages().len(), m.nodes().len(), m.caches().len()),
        (2, 2, 4)
    );
    assert_eq!((m.cores().len(), m.cpus().len()), (16, 32));
    assert_eq!(m.nodes()[1].cpus, set("16-31"));
    assert_eq!(m.nodes()[0].memory, None);
    assert_eq!(m.caches()[3].cpus, set("24-31"));
    let ranks = [1, 2, 8, 16].map(|cpu| m.distances().rank(0, cpu));
    assert_eq!(ranks, [Some(1), Some(3), Some(4), Some(5)]);
}

#[test]
fn short_forms_sizes_and_numbers() {
    let m = machine(
        "Socket:2(indexes=3,1) [NUMANode(memory=4GiB)] L2Cache:2(size=512KiB) core:2 PU:2(indexes=2*8:1*2)",
    );
    assert_eq!(m.nodes()[0].memory, Some(4 << 30));
    let ids: Vec<Option<u32>> = m.packages().iter().map(|package| package.id).collect();
    assert_eq!(ids, [Some(3), Some(1)]);
    assert_eq!(m.cores()[0].cpus, set("0,8"));
    assert_eq!(m.caches()[0].size, Some(512 << 10));
    assert_eq!(m.clusters().len(), 4, "cores that share an L2");
    let m = machine("pack:2 core:2 pu:2(indexes=package:core)");
    let cores: Vec<(String, usize)> = m
        .cores()
        .iter()
        .map(|core| (core.cpus.to_string(), core.package))
        .collect();
    let expected = [("0,4", 0), ("1,5", 1), ("2,6", 0), ("3,7", 1)];
    assert_eq!(
        cores,
        expected.map(|(cpus, package)| (cpus.to_string(), package))
    );
    let m = machine("pack:1 l1d:2(size=48kB) l1i:1 core:1 pu:1");
    assert_eq!(m.caches()[0].size, Some(48_000));
    assert_eq!(m.caches()[2].kind, CacheKind::Instruction);
}

#[test]
fn counts_alone() {
    for (text, [packages, nodes, cores, cpus]) in [
        ("2", [1, 1, 2, 2]),
        ("3 2", [1, 3, 6, 6]),
        ("2 2 2", [2, 4, 8, 8]),
        ("2 3 4 2", [2, 6, 24, 48]),
        ("2 1 2 2 2", [2, 2, 8, 16]),
        ("2 1 2 2 1 1", [2, 2, 8, 8]),
        ("2 1 2 2 1 1 2", [2, 2, 8, 16]),
    ] {
        let m = machine(text);
        let found = [
            m.packages().len(),
            m.nodes().len(),
            m.cores().len(),
            m.cpus().len(),
        ];
        assert_eq!(found, [packages, nodes, cores, cpus], "{text}");
    }
}

#[test]
fn memory_beside_memory_has_no_cpus() {
    let m = machine("[numa(memory=1TB)] pack:2 [numa] [numa] core:1 pu:1");
    let cpus: Vec<String> = m.nodes().iter().map(|node| node.cpus.to_string()).collect();
    assert_eq!(cpus, ["0", "", "1", "", ""]);
    assert_eq!(m.nodes()[4].memory, Some(1_000_000_000_000));
}

#[test]
fn distances_are_given_apart() {
    let m = machine("numa:2 core:2 pu:1");
    assert_eq!(m.nodes()[0].memory, Some(1 << 30));
    assert_eq!(m.notes().len(), 1);
    let m = m
        .with_node_distances(&[vec![10, 33], vec![33, 10]])
        .expect("two rows of two");
    assert_eq!(
        (m.nodes()[1].distances.clone(), m.notes().len()),
        (vec![33, 10], 0)
    );
    assert!(m.clone().with_node_distances(&[vec![10, 20]]).is_err());
    assert!(m.with_node_distances(&[vec![10, 0], vec![20, 10]]).is_err());
}

#[test]
fn malformed_texts_are_errors_with_the_place() {
    let table = [
        ("", 0),
        ("   ", 3),
        ("pu:0", 3),
        ("pu:", 3),
        ("pu:-1", 3),
        ("pu:+1", 3),
        ("pu:99999999999999999999", 3),
        ("pu:65537", 3),
        ("pack:300 core:300 pu:2", 14),
        ("warp:2 pu:2", 0),
        ("core:2 pack:2 pu:1", 7),
        ("pack:2 pack:2 pu:1", 7),
        ("l2:2 l3:2 pu:1", 5),
        ("pu:2 core:2", 5),
        ("pack:2 core:2", 13),
        ("pack:2 3 pu:2", 7),
        ("2 2 2 2 2 2 2 2", 0),
        ("pack:2 [disk] pu:2", 8),
        ("pack:2 [numa pu:2", 7),
        ("pack:2 numa] pu:2", 11),
        ("pack:2 [numa]x pu:2", 7),
        ("pack:2 [numa(size=1GB)] pu:2", 8),
        ("pack:2 [numa(memory=1XB)] pu:2", 20),
        ("pack:2 [numa(memory=99999999TB)] pu:2", 20),
        ("pack:2(color=red) pu:2", 7),
        ("pack:2(indexes) pu:2", 7),
        ("pack:2 pu:2(indexes=0,1,2)", 20),
        ("pack:2 pu:2(indexes=0,1,1,2)", 20),
        ("pack:2 pu:2(indexes=2*3)", 20),
        ("pack:2 pu:2(indexes=0*4)", 20),
        ("pack:2 pu:2(indexes=core)", 20),
        ("pack:2 pu:2(indexes=0,1,2,9999999)", 20),
        ("core:2(size=5) pu:1", 0),
        ("pu:2)", 4),
        ("pu:2(", 4),
        ("pu:2(indexes=0,1", 4),
        ("пу:2", 0),
    ];
    for (text, at) in table {
        match Topology::synthetic(text) {
            Err(Error::Synthetic { position, what }) => {
                assert_eq!(position, at, "{text:?}: {what}")
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
}
