//! Goal: the sysfs reader reads every machine right; anything broken costs only the part that it is
//! about and leaves a note that names the file, or is an error that does, in strict mode. Method:
//! captured trees against what is known of the machine; each of them with one file changed or
//! missing.
#![cfg(unix)]

#[path = "support/tree.rs"]
mod tree;

use stealyard_topology::{
    CacheKind, CoreKind, CpuSet, Error, Note, Placement, PlacementError, Topology,
};
use tree::{CAPTURED, CPU, NODE, Tree, captured, path_of};

fn set(list: &str) -> CpuSet {
    list.parse().expect("a list of CPUs")
}

fn counts(machine: &Topology) -> [usize; 6] {
    let cpus = machine.cpus().len();
    let (packages, dies) = (machine.packages().len(), machine.dies().len());
    [
        packages,
        dies,
        machine.clusters().len(),
        machine.nodes().len(),
        machine.cores().len(),
        cpus,
    ]
}

#[test]
fn captured_trees_have_the_known_numbers_of_parts() {
    // packages, dies, clusters, nodes, cores, CPUs
    let known = [
        ("cpuless", [1, 1, 0, 2, 4, 4]),
        ("dies", [1, 2, 0, 1, 4, 8]),
        ("hotplug", [1, 1, 0, 2, 4, 4]),
        ("hybrid", [1, 1, 0, 1, 6, 8]),
        ("live", [1, 1, 0, 1, 2, 2]),
        ("memless", [2, 2, 0, 2, 4, 4]),
        ("numa2-smt", [2, 2, 0, 2, 4, 8]),
        ("numa2-uneven", [4, 4, 0, 2, 8, 8]),
        ("numa4", [4, 4, 0, 4, 16, 16]),
        ("offline", [2, 2, 0, 2, 4, 6]),
        ("snc3", [1, 3, 0, 3, 6, 6]),
    ];
    assert_eq!(known.len(), CAPTURED.len());
    for (name, expected) in known {
        let machine = captured(name)
            .read(name)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(counts(&machine), expected, "{name}");
        assert_eq!(
            machine,
            captured(name).read(name).expect(name),
            "{name} read twice"
        );
    }
}

#[test]
fn two_nodes_with_smt() {
    let machine = captured("numa2-smt").read("smt").expect("a sound tree");
    assert_eq!(machine.nodes()[1].cpus, set("4-7"));
    assert_eq!(machine.nodes()[0].distances, [10, 21]);
    assert!(machine.nodes()[0].memory.expect("known") > 400 << 20);
    let cpu = machine.cpu(5).expect("online");
    assert_eq!(machine.cores()[cpu.core].cpus, set("4-5"));
    assert_eq!((cpu.package, cpu.node), (1, 1));
    let last = machine.last_level_cache(cpu).expect("an L3");
    assert_eq!(
        (last.level, last.kind, last.size),
        (3, CacheKind::Unified, Some(16 << 20))
    );
    assert_eq!(last.cpus, set("4-7"));
    let distances = machine.distances();
    let ranks: Vec<Option<u8>> = [5, 4, 6, 0, 8].map(|cpu| distances.rank(5, cpu)).into();
    assert_eq!(ranks, [Some(0), Some(1), Some(3), Some(5), None]);
}

#[test]
fn a_ring_of_nodes_has_two_ranks_beyond_its_own() {
    let machine = captured("numa4").read("ring").expect("a sound tree");
    let distances = machine.distances();
    let row: Vec<u8> = (0..4).map(|node| distances.node_rank(0, node)).collect();
    assert_eq!(row, [4, 5, 6, 5]);
}

#[test]
fn o7_offline_cpus_and_an_absent_cpu_0() {
    let machine = captured("offline").read("o7").expect("a sound tree");
    assert_eq!(
        (machine.online().clone(), machine.offline().clone()),
        (set("0,2-5,7"), set("1,6"))
    );
    assert!(machine.cpu(1).is_none());
    assert_eq!(machine.cores()[0].cpus, set("0"), "the sibling is off");

    let mut tree = captured("numa2-smt");
    tree.set(&format!("{CPU}/online"), "1-7")
        .remove(&format!("{CPU}/cpu0"));
    for file in [
        "topology/core_cpus_list",
        "cache/index0/shared_cpu_list",
        "cache/index1/shared_cpu_list",
        "cache/index2/shared_cpu_list",
    ] {
        tree.set(&format!("{CPU}/cpu1/{file}"), "1");
    }
    for cpu in 1..4 {
        tree.set(
            &format!("{CPU}/cpu{cpu}/cache/index3/shared_cpu_list"),
            "1-3",
        );
    }
    tree.set(&format!("{NODE}/node0/cpulist"), "1-3");
    let machine = tree.read("o7-absent").expect("CPU 0 need not be there");
    assert_eq!(machine.cpus()[0].id, 1);
    assert_eq!(machine.offline(), &set("0"));
}

#[test]
fn o13_smt_hybrid_and_memory_only_nodes() {
    let machine = captured("cpuless")
        .read("o13-cpuless")
        .expect("a sound tree");
    assert!(machine.nodes()[1].cpus.is_empty());
    assert!(machine.nodes()[1].memory.expect("known") > 400 << 20);
    assert_eq!(machine.nodes()[0].distances, [10, 40]);
    assert_eq!(machine.nearest_node_with(1, machine.online()), Some(0));

    let machine = captured("memless")
        .read("o13-memless")
        .expect("a sound tree");
    assert_eq!(
        (machine.nodes()[1].cpus.clone(), machine.nodes()[1].memory),
        (set("2-3"), Some(0))
    );

    let mut tree = captured("hybrid");
    assert!(!tree.read("o13-equal").expect("a sound tree").is_hybrid());
    tree.set("sys/devices/cpu_core/cpus", "0-3")
        .set("sys/devices/cpu_atom/cpus", "4,6,8,10");
    let machine = tree.read("o13-intel").expect("a sound tree");
    assert_eq!(machine.performance_cpus(), set("0-3"));
    let fast = Placement::None.on_performance_cores();
    let plan = fast.plan(&machine, 1).expect("there are fast cores");
    assert!(plan.seats()[0].bound && plan.seats()[0].cpus == set("0-3"));
    let small = machine.restricted_to(&set("4,6")).expect("online");
    let allowed = set("4,6");
    assert_eq!(
        fast.plan(&small, 1),
        Err(PlacementError::NoPerformanceCore { allowed })
    );

    let mut tree = captured("numa4");
    for (cpus, capacity) in [(0..8, "1024"), (8..12, "800"), (12..16, "325")] {
        cpus.for_each(|cpu| _ = tree.set(&format!("{CPU}/cpu{cpu}/cpu_capacity"), capacity));
    }
    let machine = tree.read("o13-arm").expect("a sound tree");
    assert_eq!(
        machine.performance_cpus(),
        set("0-11"),
        "the middle cores are not the small ones"
    );
    assert_eq!(machine.cores()[15].kind, CoreKind::Efficiency);
    assert_eq!(machine.cpu(15).and_then(|cpu| cpu.capacity), Some(325));
}

#[test]
fn o6_2048_cpus() {
    let machine = Tree::made_up(2048, 8).read("o6").expect("a sound tree");
    assert_eq!((machine.cpus().len(), machine.nodes().len()), (2048, 8));
    assert_eq!(machine.cpu(2047).map(|cpu| cpu.node), Some(7));
    assert_eq!(machine.distances().rank(0, 2047), Some(5));
}

#[test]
fn o6_one_cpu_speaks_for_its_set_on_a_large_machine() {
    let mut tree = Tree::made_up(1040, 2);
    for cpu in 0..1040 {
        let directory = format!("{CPU}/cpu{cpu}");
        let set = |width: usize| {
            format!(
                "{}-{}",
                cpu / width * width,
                cpu / width * width + width - 1
            )
        };
        tree.set(&format!("{directory}/topology/core_cpus_list"), &set(2));
        tree.set(
            &format!("{directory}/topology/package_cpus_list"),
            &set(520),
        );
        for (index, level, width) in [(0, "2", 4), (1, "3", 520)] {
            let cache = format!("{directory}/cache/index{index}");
            tree.set(&format!("{cache}/level"), level);
            tree.set(&format!("{cache}/type"), "Unified");
            tree.set(&format!("{cache}/size"), "1024K");
            tree.set(&format!("{cache}/shared_cpu_list"), &set(width));
        }
    }
    let machine = tree.read("o6-large").expect("a sound tree");
    assert_eq!(counts(&machine), [2, 2, 260, 2, 520, 1040]);
    assert_eq!(machine.caches().len(), 260 + 2);
    let last = machine.cpu(1039).expect("online");
    assert_eq!((last.package, last.core, last.caches.len()), (1, 519, 2));
    assert_eq!(machine.cores()[last.core].id, Some(1038));
    assert!(
        machine
            .caches()
            .iter()
            .all(|cache| cache.size == Some(1 << 20))
    );
}

#[test]
fn missing_nodes_and_caches_are_assumed_and_noted() {
    let mut tree = captured("numa2-smt");
    tree.remove(NODE);
    (0..8).for_each(|cpu| _ = tree.remove(&format!("{CPU}/cpu{cpu}/cache")));
    let machine = tree
        .read("partial")
        .expect("nodes and caches may be missing");
    assert_eq!(machine.nodes().len(), 1);
    let notes: Vec<String> = machine.notes().iter().map(ToString::to_string).collect();
    let notes = notes.join(" ");
    assert!(
        notes.contains("one node was assumed") && notes.contains("CPUs 0-7"),
        "{notes}"
    );
}

/// Each change to `numa2-smt` and the file that the error must name.
const BROKEN: &[(&str, Option<&str>, &str)] = &[
    ("cpu/online", None, "cpu/online"),
    ("cpu/online", Some(""), "cpu/online"),
    ("cpu/online", Some("7-0"), "cpu/online"),
    ("cpu/online", Some("0-3,,5"), "cpu/online"),
    ("cpu/online", Some("-1"), "cpu/online"),
    ("cpu/online", Some("0-7 x"), "cpu/online"),
    ("cpu/online", Some("0-4294967295"), "cpu/online"),
    ("cpu/online", Some("99999999999999999999"), "cpu/online"),
    ("cpu/online", Some("0-9000"), "cpu/online"), // above kernel_max
    ("cpu/online", Some("0-8"), "cpu/cpu8"),
    ("cpu/online", Some("0-6"), "cpu/cpu4/topology/package_cpus"), // still names CPU 7
    ("cpu/present", Some("x"), "cpu/present"),
    ("cpu/kernel_max", Some("many"), "cpu/kernel_max"),
    (
        "cpu/cpu3/topology/physical_package_id",
        None,
        "cpu/cpu3/topology/physical_package_id",
    ),
    (
        "cpu/cpu3/topology/physical_package_id",
        Some("one"),
        "cpu/cpu3/topology/physical_package_id",
    ),
    (
        "cpu/cpu3/topology/core_id",
        Some("99999999999999999999999"),
        "cpu/cpu3/topology/core_id",
    ),
    (
        "cpu/cpu3/topology/core_id",
        None,
        "cpu/cpu3/topology/core_id",
    ),
    (
        "cpu/cpu3/topology/die_id",
        Some(""),
        "cpu/cpu3/topology/die_id",
    ),
    (
        "cpu/cpu3/topology/core_cpus_list",
        Some("2"),
        "cpu/cpu3/topology/core_cpus_list",
    ),
    (
        "cpu/cpu3/topology/core_cpus_list",
        Some("3,900"),
        "cpu/cpu3/topology/core_cpus_list",
    ),
    (
        "cpu/cpu3/topology/core_cpus_list",
        Some("3-4"),
        "cpu/cpu3/topology/core_cpus_list",
    ), // overlaps two cores
    (
        "cpu/cpu3/topology/physical_package_id",
        Some("1"),
        "cpu/cpu3/topology/physical_package_id",
    ), // a core in two packages
    (
        "cpu/cpu0/cache/index0/level",
        None,
        "cpu/cpu0/cache/index0/level",
    ),
    (
        "cpu/cpu0/cache/index0/level",
        Some("256"),
        "cpu/cpu0/cache/index0/level",
    ),
    (
        "cpu/cpu0/cache/index0/type",
        Some("Trace"),
        "cpu/cpu0/cache/index0/type",
    ),
    (
        "cpu/cpu0/cache/index0/size",
        Some("32X"),
        "cpu/cpu0/cache/index0/size",
    ),
    (
        "cpu/cpu0/cache/index0/size",
        Some("99999999999999999G"),
        "cpu/cpu0/cache/index0/size",
    ),
    (
        "cpu/cpu0/cache/index3/shared_cpu_list",
        Some("4-7"),
        "cpu/cpu0/cache/index3/shared_cpu_list",
    ),
    (
        "cpu/cpu0/cache/index3/shared_cpu_list",
        Some("0-4"),
        "cpu/cpu0/cache/index3/shared_cpu_list",
    ), // overlaps the other L3
    ("node/online", Some(""), "node/online"),
    ("node/online", Some("0-2"), "node/node2"),
    ("node/online", Some("0"), "node/node1"), // two nodes have a directory
    ("node/node1/cpulist", Some("4-7,64"), "node/node1/cpulist"), // a CPU that does not exist
    ("node/node1/cpulist", Some("7-4"), "node/node1/cpulist"),
    ("node/node1/cpulist", Some("4-6"), "node/node1/cpulist"), // CPU 7 is nowhere
    ("node/node1/cpulist", Some("3-7"), "node/node1/cpulist"), // CPU 3 is twice
    ("node/node1/distance", Some("10"), "node/node1/distance"),
    ("node/node1/distance", Some("0 10"), "node/node1/distance"),
    ("node/node1/distance", Some("10 far"), "node/node1/distance"),
    ("node/node1/distance", None, "node/node1/distance"),
    (
        "node/node1/meminfo",
        Some("Node 1 MemFree: 5 kB"),
        "node/node1/meminfo",
    ),
    (
        "node/node1/meminfo",
        Some("Node 1 MemTotal: 99999999999999999 kB"),
        "node/node1/meminfo",
    ),
    ("node/node1/meminfo", None, "node/node1/meminfo"),
];

/// Runs `check` on the tree `numa2-smt` with each of the changes in turn.
fn each_broken(name: &str, check: impl Fn(&std::path::Path, &str, &str)) {
    let root = captured("numa2-smt").unpack(name);
    for (file, content, named) in BROKEN {
        let path = root.0.join("sys/devices/system").join(file);
        let sound = std::fs::read(&path).expect("a file of the tree");
        match content {
            Some(content) => std::fs::write(&path, content).expect("temporary file"),
            None => std::fs::remove_file(&path).expect("temporary file"),
        }
        check(&root.0, &format!("{file} = {content:?}"), named);
        std::fs::write(&path, sound).expect("temporary file");
    }
    Topology::read_strict(&root.0).expect("the tree is whole again");
}

#[test]
fn a_strict_reading_of_a_broken_tree_is_an_error_that_names_the_file() {
    each_broken("strict", |root, change, named| {
        let error = Topology::read_strict(root).expect_err(change);
        let ends = path_of(&error).ends_with(format!("sys/devices/system/{named}"));
        assert!(ends, "{change}: {error}, expected {named}");
    });
}

#[test]
fn a_broken_file_costs_only_its_own_part_and_leaves_a_note() {
    let whole = captured("numa2-smt").read("whole").expect("a sound tree");
    assert_eq!(whole.notes(), []);
    each_broken("lenient", |root, change, named| {
        let machine = Topology::from_sysfs(root).unwrap_or_else(|e| panic!("{change}: {e}"));
        let names = |note: &Note| {
            let file = note.file.as_deref();
            file.is_some_and(|file| file.ends_with(format!("sys/devices/system/{named}")))
        };
        let notes = machine.notes();
        assert!(
            notes.iter().any(names),
            "{change}: {notes:?} do not name {named}"
        );
        // Seven or eight CPUs, and everything but the part that is broken.
        assert!(machine.cpus().len() >= 7, "{change}: {machine:?}");
        let strange = [
            machine.packages().len() == 2,
            machine.cores().len() == 4 || machine.cores().len() == 5,
            machine.nodes().len() == 2,
            machine.caches().len() >= whole.caches().len() - 2,
        ];
        assert!(
            !strange.contains(&false) || change.starts_with("node/online"),
            "{change}: {machine:?}"
        );
    });
}

#[test]
fn o14_huge_and_hostile_files() {
    let root = captured("numa2-smt").unpack("o14");
    let online = root.0.join(CPU).join("online");
    let whole = Topology::from_sysfs(&root.0).expect("a sound tree");
    let check = |what: &str, expected: &dyn Fn(&Error) -> bool| {
        let error = Topology::read_strict(&root.0).expect_err(what);
        assert!(
            expected(&error) && path_of(&error) == online,
            "{what}: {error}"
        );
        let machine = Topology::from_sysfs(&root.0).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(machine, whole, "{what}: the CPUs have directories");
        let note = machine.notes().first().expect("it was doubted");
        assert_eq!(note.file.as_deref(), Some(online.as_path()), "{what}");
        assert!(
            note.to_string().len() < 600,
            "{what}: no room for a whole file"
        );
    };
    std::fs::write(&online, vec![b'0'; 50 << 20]).expect("temporary file");
    check("50 MB of zeros", &|error| {
        matches!(error, Error::TooLarge { .. })
    });

    std::fs::write(&online, vec![b'x'; 200 << 10]).expect("temporary file");
    check("200 kB of letters", &|error| {
        matches!(error, Error::Malformed { .. })
    });

    std::fs::write(&online, [0xff, 0xfe, 0x00]).expect("temporary file");
    check("not text", &|error| {
        matches!(error, Error::Malformed { .. })
    });

    for endless in ["/dev/zero", "/dev/full", "/proc"] {
        std::fs::remove_file(&online).expect("it is there");
        std::os::unix::fs::symlink(endless, &online).expect("temporary link");
        // Not even opened: opening can already wait, for the writer of a fifo.
        check(endless, &|error| matches!(error, Error::Malformed { .. }));
    }
}

#[test]
fn o14_numbers_that_no_cpu_has_take_no_memory() {
    let root = captured("numa2-smt").unpack("o14-numbers");
    let whole = Topology::from_sysfs(&root.0).expect("a sound tree");
    for number in ["1048576", "1000000000000", "18446744073709551615"] {
        for directory in [
            format!("{CPU}/cpu{number}/topology"),
            format!("{NODE}/node{number}"),
        ] {
            std::fs::create_dir_all(root.0.join(directory)).expect("temporary directory");
        }
    }
    // Every set of every CPU names one that is far beyond the machine.
    for cpu in 0..8 {
        for index in 0..4 {
            let file = format!("{CPU}/cpu{cpu}/cache/index{index}/shared_cpu_list");
            let file = root.0.join(file);
            let list = std::fs::read_to_string(&file).expect("a file of the tree");
            let far = (1 << 20) - 1 - cpu * 4 - index;
            std::fs::write(&file, format!("{},{far}", list.trim())).expect("temporary file");
        }
    }
    std::fs::remove_file(root.0.join(CPU).join("online")).expect("it is there");
    std::fs::remove_file(root.0.join(NODE).join("online")).expect("it is there");
    let machine = Topology::from_sysfs(&root.0).expect("eight CPUs are left");
    assert_eq!(machine, whole);
}

#[test]
fn a_missing_root_is_an_error_that_names_it() {
    let error = Topology::from_sysfs("/nonexistent/tree").expect_err("no such directory");
    assert!(path_of(&error).starts_with("/nonexistent/tree"), "{error}");
}
