//! Goal: trees that are old, partial, contradictory, or rewritten by containers are read as the
//! machine they are of, with a note of what was doubted (D16). Method: a small tree for each kind
//! of trouble, against what is known of the machine; `cargo xtask verify --hwloc` does the same
//! with hwloc's recordings.
#![cfg(unix)]

#[path = "support/tree.rs"]
#[expect(dead_code, reason = "only the hard trees are used here")]
mod tree;

use stealyard_topology::{CacheKind, CpuSet, KindSource, MemoryKind, Topology};
use tree::{CPU, HARD, NODE, captured};

fn set(list: &str) -> CpuSet {
    list.parse().expect("a list of CPUs")
}

fn read(name: &str) -> Topology {
    let machine = captured(name).read(&format!("hard-{name}"));
    machine.unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn notes(machine: &Topology) -> String {
    let notes: Vec<String> = machine.notes().iter().map(ToString::to_string).collect();
    notes.join("\n")
}

/// The tree's name, how many packages, clusters, nodes, cores, CPUs and caches it has, and what a
/// note must say.
const KNOWN: &[(&str, [usize; 6], &str)] = &[
    ("cache_of_0k", [2, 0, 2, 4, 8, 10], "cache/index1/size"),
    (
        "cache_without_sharing",
        [2, 0, 2, 4, 8, 8],
        "cache/index2/shared_cpu_list: there is no such file; the cache was left out (and 7 more",
    ),
    ("compute_units", [2, 4, 2, 8, 8, 14], ""),
    (
        "cpus_without_a_node",
        [2, 0, 2, 4, 8, 10],
        "node/online: CPU 0 is in no node",
    ),
    (
        "distance_zero",
        [2, 0, 2, 4, 8, 10],
        "node0/distance: \"0\" is not a distance of 1 to 255; distances of 10 within",
    ),
    (
        "empty_sharing",
        [2, 0, 2, 4, 8, 12],
        "shared_cpu_map: no CPU shares the cache; the CPUs of the core share it",
    ),
    ("gpu_nodes", [2, 0, 2, 4, 8, 10], "the memory of a GPU"),
    ("hybrid_by_firmware", [1, 0, 1, 5, 5, 11], ""),
    ("hybrid_by_frequency", [1, 0, 1, 8, 8, 17], ""),
    (
        "list_against_mask",
        [2, 0, 2, 4, 8, 10],
        "shared_cpu_list: 0 is not the mask's 0-3; the mask was taken",
    ),
    (
        "lxcfs",
        [2, 0, 2, 2, 2, 6],
        "is named and is not online (0,5); CPUs that are not online were left out",
    ),
    (
        "lying_siblings",
        [2, 0, 2, 4, 8, 10],
        "cpu3/topology/thread_siblings_list: 3-4 is not what the CPUs in it say",
    ),
    (
        "masks_only",
        [2, 0, 2, 4, 8, 10],
        "cpu/online: there is no such file",
    ),
    ("memory_only_node", [2, 0, 3, 4, 8, 10], ""),
    (
        "nearest_is_another",
        [2, 0, 2, 4, 8, 10],
        "node0/distance: node 0 is nearer to node 1 than to itself",
    ),
    (
        "no_online",
        [1, 0, 1, 2, 2, 5],
        "cpu/online: there is no such file",
    ),
    (
        "nodes_claim_all",
        [2, 0, 1, 4, 8, 10],
        "node1/cpulist: CPU 0 is in another node too; the node was left out",
    ),
    (
        "nodes_name_offline_cpus",
        [2, 0, 2, 3, 6, 8],
        "node1/cpulist: CPU 6 is named and is not online (0-5)",
    ),
    ("package_minus_one", [2, 0, 2, 4, 8, 10], ""),
    (
        "package_missing",
        [2, 0, 2, 4, 8, 10],
        "physical_package_id: there is no such file; the set of CPUs in the package decides",
    ),
    (
        "stale_lists",
        [1, 0, 1, 3, 3, 7],
        "cache/index2/shared_cpu_list: CPU 0 is named and is not online (1-3)",
    ),
    ("trailing_zero_bytes", [2, 0, 2, 4, 8, 10], ""),
];

#[test]
fn every_hard_tree_is_read_as_the_machine_it_is_of() {
    assert_eq!(KNOWN.len(), HARD.len());
    for (name, counts, said) in KNOWN {
        let machine = read(name);
        let found = [
            machine.packages().len(),
            machine.clusters().len(),
            machine.nodes().len(),
            machine.cores().len(),
            machine.cpus().len(),
            machine.caches().len(),
        ];
        let notes = notes(&machine);
        assert_eq!(found, *counts, "{name}: {notes}");
        assert!(notes.contains(said), "{name}: {said:?} is not in\n{notes}");
        assert_eq!(said.is_empty(), notes.is_empty(), "{name}: {notes}");
        // What is doubted is an error in strict mode; what is merely said is none.
        let strict = captured(name).unpack(&format!("strict-{name}"));
        let strict = Topology::read_strict(&strict.0);
        let sound = said.is_empty() || *name == "gpu_nodes";
        assert_eq!(strict.is_ok(), sound, "{name}: {:?}", strict.err());
    }
}

#[test]
fn contradictions_between_files_leave_notes_and_the_machine_as_it_is() {
    let whole = read("trailing_zero_bytes");
    for (file, content, said) in [
        (
            "cpu/present",
            "0-6",
            "CPU 7 is not in it (0-6) and is online",
        ),
        (
            "cpu/cpu5/online",
            "0",
            "it says that the CPU is off, and the list says on",
        ),
        (
            "cpu/cpu3/cache/index2/size",
            "16K",
            "the size of the L3 Unified cache of CPU 3 is not",
        ),
        (
            "cpu/cpu3/cache/index2/level",
            "2",
            "a second L2 Unified cache of CPU 3",
        ),
        ("node/node5/cpulist", "", "node 5 is not online (0-1)"),
    ] {
        let mut tree = captured("trailing_zero_bytes");
        tree.set(&format!("sys/devices/system/{file}"), content);
        let root = tree.unpack("hard-contradiction");
        let machine = Topology::from_sysfs(&root.0).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(
            notes(&machine).contains(said),
            "{file}: {}",
            notes(&machine)
        );
        assert!(Topology::read_strict(&root.0).is_err(), "{file}");
        assert_eq!(machine.nodes(), whole.nodes(), "{file}");
        assert_eq!(machine.cores(), whole.cores(), "{file}");
        assert_eq!(machine.caches().len(), whole.caches().len(), "{file}");
    }
}

#[test]
fn a_list_of_cpus_is_enough_for_a_machine() {
    for list in ["online", "present", "possible"] {
        let machine = tree::Tree::default()
            .set(&format!("{CPU}/{list}"), "0-3")
            .read(&format!("hard-only-{list}"));
        let machine = machine.unwrap_or_else(|e| panic!("{list}: {e}"));
        assert_eq!(
            (machine.cpus().len(), machine.packages().len()),
            (4, 1),
            "{list}"
        );
        assert!(notes(&machine).contains("there is no such file"), "{list}");
    }
}

#[test]
fn o7_files_that_name_cpus_which_are_off_say_nothing_about_them() {
    let machine = read("stale_lists");
    assert_eq!(
        (machine.online(), machine.offline()),
        (&set("1-3"), &set("0"))
    );
    let cpu = machine.cpu(2).expect("online");
    assert_eq!(
        machine.last_level_cache(cpu).map(|cache| &cache.cpus),
        Some(&set("1-3"))
    );

    let machine = read("lxcfs");
    assert_eq!(machine.online(), &set("0,5"));
    let nodes: Vec<String> = machine
        .nodes()
        .iter()
        .map(|node| node.cpus.to_string())
        .collect();
    assert_eq!(nodes, ["0", "5"]);

    let machine = read("no_online");
    assert_eq!(
        (machine.online(), machine.offline()),
        (&set("0-1"), &set("2-3"))
    );
}

#[test]
fn firmware_that_knows_no_package_numbers_does_not_merge_packages() {
    for name in ["package_minus_one", "package_missing"] {
        let machine = read(name);
        let packages: Vec<String> = machine
            .packages()
            .iter()
            .map(|p| p.cpus.to_string())
            .collect();
        assert_eq!(packages, ["0-3", "4-7"], "{name}");
        assert_eq!(machine.packages()[0].id, None, "{name}");
    }
}

#[test]
fn cpus_without_a_node_get_one_and_distances_are_whole() {
    let machine = read("cpus_without_a_node");
    let nodes: Vec<(u32, String)> = machine
        .nodes()
        .iter()
        .map(|n| (n.id, n.cpus.to_string()))
        .collect();
    assert_eq!(nodes, [(0, "0-3".into()), (1, "4-7".into())]);
    assert_eq!(machine.nodes()[0].distances, [10, 20]);
    for name in ["distance_zero", "nearest_is_another"] {
        let machine = read(name);
        assert_eq!(machine.nodes()[1].distances, [20, 10], "{name}");
    }
    // Those of the GPUs are gone from the rows too.
    let machine = read("gpu_nodes");
    assert_eq!(machine.nodes()[1].distances, [40, 10]);
}

#[test]
fn a_cpu_that_lies_about_its_siblings_is_outvoted() {
    let machine = read("lying_siblings");
    let l3 = machine.caches().iter().filter(|cache| cache.level == 3);
    let l3: Vec<String> = l3.map(|cache| cache.cpus.to_string()).collect();
    assert_eq!(l3, ["0-3", "4-7"]);
    let machine = read("compute_units");
    assert_eq!(
        machine.clusters()[0].cpus,
        set("0-1"),
        "two cores share an L2"
    );
    let machine = read("empty_sharing");
    let l3 = machine
        .caches()
        .iter()
        .find(|cache| cache.level == 3)
        .expect("there is one");
    assert_eq!((l3.kind, l3.cpus.clone()), (CacheKind::Unified, set("0-1")));
}

#[test]
fn o13_kinds_of_memory_and_the_cpus_near_it() {
    let machine = read("memory_only_node");
    assert_eq!(machine.memory_kind(0), Some(MemoryKind::Main));
    assert_eq!(machine.memory_kind(2), Some(MemoryKind::Other));
    assert_eq!(
        machine.nearest_cpus(2),
        Some(set("4-7")),
        "the least distance"
    );
    assert_eq!(
        (machine.memory_kind(3), machine.nearest_cpus(3)),
        (None, None)
    );

    // Firmware says how fast it is, and which node reaches it best.
    let mut tree = captured("memory_only_node");
    for (node, bandwidth) in [(0, "100000"), (1, "100000"), (2, "400000")] {
        let directory = format!("{NODE}/node{node}/access0/initiators");
        tree.set(&format!("{directory}/read_bandwidth"), bandwidth);
    }
    tree.set(&format!("{NODE}/node2/access0/initiators/node0/uevent"), "");
    let machine = tree.read("hard-hbm").expect("a sound tree");
    assert_eq!(machine.memory_kind(2), Some(MemoryKind::HighBandwidth));
    assert_eq!(machine.nearest_cpus(2), Some(set("0-3")));

    for (device, kind) in [
        (
            "platform/ACPI0017:00/root0/decoder0.0/region0/dax_region0/dax0.0",
            MemoryKind::Cxl,
        ),
        (
            "LNXSYSTM:00/ACPI0012:00/ndbus0/region1/dax1.0",
            MemoryKind::Persistent,
        ),
        ("pci0000:16/0000:17:00.0/cxl0/dax0.0", MemoryKind::Cxl),
    ] {
        let mut tree = captured("memory_only_node");
        tree.set(&format!("sys/devices/{device}/target_node"), "2");
        tree.set("sys/bus/dax/devices/.keep", "");
        let root = tree.unpack("hard-dax");
        let link = root.0.join("sys/bus/dax/devices/dax0.0");
        std::os::unix::fs::symlink(root.0.join("sys/devices").join(device), link).expect("a link");
        let machine = Topology::from_sysfs(&root.0).expect("a sound tree");
        assert_eq!(machine.memory_kind(2), Some(kind), "{device}");
    }
}

#[test]
fn o13_hybrid_machines_without_the_directory_of_the_small_cores() {
    for (name, fast, source) in [
        ("hybrid_by_firmware", "4", KindSource::HighestPerf),
        ("hybrid_by_frequency", "0-3", KindSource::BaseFrequency),
    ] {
        let machine = read(name);
        assert_eq!(machine.performance_cpus(), set(fast), "{name}");
        assert_eq!(machine.kind_source(), Some(source), "{name}");
    }
    assert_eq!(read("masks_only").kind_source(), None);
}
