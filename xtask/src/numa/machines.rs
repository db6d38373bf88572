//! The machines that are emulated, and what must be found in each.

/// An emulated machine.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) name: &'static str,
    /// In words.
    pub(super) what: &'static str,
    /// QEMU's `-smp`.
    pub(super) smp: &'static str,
    /// Nodes, in order of their numbers.
    pub(super) nodes: &'static [Node],
    /// QEMU's distances: from, to, SLIT units; both ways.
    pub(super) distances: &'static [(u32, u32, u32)],
    /// MiB of memory in all.
    pub(super) memory: u32,
    /// Added to the kernel's command line.
    pub(super) append: &'static str,
    /// Shell commands run first, as root.
    pub(super) setup: &'static str,
    /// The cgroups our programs run in, outermost first, each within the one before.
    pub(super) groups: &'static [Group],
    /// All virtual CPUs on one thread of the host: faster where there are many.
    pub(super) single: bool,
    /// Tests, separated by commas, that may be skipped elsewhere and not here.
    pub(super) must_run: &'static str,
    /// What `numa_probe` is to find.
    pub(super) expect: &'static [&'static str],
}

/// A NUMA node of an emulated machine.
#[derive(Debug)]
pub(super) struct Node {
    /// As QEMU writes ranges; empty for a node of memory alone.
    pub(super) cpus: &'static str,
    /// MiB; 0 for a node of CPUs alone.
    pub(super) memory: u32,
}

/// A cgroup of version 2; empty strings leave a file as it is.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) cpuset: &'static str,
    pub(super) cpu_max: &'static str,
}

const fn node(cpus: &'static str, memory: u32) -> Node {
    Node { cpus, memory }
}

/// What has to show something where there are several nodes and all CPUs are ours.
const NODES: &str = "o5_a_mask_changed_underneath_is_seen,numa_steal";

/// A machine of which the others differ in a few fields.
const PLAIN: Machine = Machine {
    name: "",
    what: "",
    smp: "4,sockets=1,cores=4,threads=1",
    nodes: &[],
    distances: &[],
    memory: 1024,
    append: "",
    setup: "",
    groups: &[],
    single: false,
    must_run: "",
    expect: &[],
};

pub(super) const MACHINES: &[Machine] = &[
    Machine {
        name: "numa2",
        what: "2 nodes of 4 cores, distance 31",
        smp: "8,sockets=2,cores=4,threads=1",
        nodes: &[node("0-3", 512), node("4-7", 512)],
        distances: &[(0, 1, 31)],
        must_run: NODES,
        expect: &[
            "nodes=2",
            "cpus=8",
            "cores=8",
            "parallelism=8",
            "distances=10,31/31,10",
        ],
        ..PLAIN
    },
    Machine {
        name: "numa4",
        what: "4 nodes of 4 cores in a ring, distances 16 and 32",
        smp: "16,sockets=4,cores=4,threads=1",
        nodes: &[
            node("0-3", 384),
            node("4-7", 384),
            node("8-11", 384),
            node("12-15", 384),
        ],
        distances: &[
            (0, 1, 16),
            (1, 2, 16),
            (2, 3, 16),
            (0, 3, 16),
            (0, 2, 32),
            (1, 3, 32),
        ],
        memory: 1536,
        single: true,
        must_run: NODES,
        expect: &[
            "nodes=4",
            "cpus=16",
            "parallelism=16",
            "distances=10,16,32,16/16,10,16,32/32,16,10,16/16,32,16,10",
        ],
        ..PLAIN
    },
    Machine {
        name: "smt",
        what: "2 nodes of 2 cores with 2 threads; a CPU goes off and on line under a bound worker",
        smp: "8,sockets=2,cores=2,threads=2",
        nodes: &[node("0-3", 512), node("4-7", 512)],
        distances: &[(0, 1, 21)],
        must_run: NODES,
        expect: &[
            "nodes=2",
            "cpus=8",
            "cores=4",
            "parallelism=8",
            "distances=10,21/21,10",
            "flip",
        ],
        ..PLAIN
    },
    Machine {
        name: "offline",
        what: "as smt, with CPUs 1 and 6 switched off",
        smp: "8,sockets=2,cores=2,threads=2",
        nodes: &[node("0-3", 512), node("4-7", 512)],
        distances: &[(0, 1, 21)],
        must_run: "o7_an_offline_cpu_is_said_to_be_so",
        setup: "for c in 1 6; do echo 0 > /sys/devices/system/cpu/cpu$c/online; done",
        expect: &[
            "cpus=6",
            "cores=4",
            "offline=1,6",
            "allowed=0,2-5,7",
            "parallelism=6",
        ],
        ..PLAIN
    },
    Machine {
        name: "cgroup",
        what: "2 nodes; a cpuset of 4 CPUs, quotas of 1.5 CPUs above and 2.5 below, changed underneath",
        smp: "8,sockets=2,cores=4,threads=1",
        nodes: &[node("0-3", 512), node("4-7", 512)],
        distances: &[(0, 1, 31)],
        must_run: "o4_outside_the_cpuset",
        groups: &[
            Group {
                name: "outer",
                cpuset: "",
                cpu_max: "150000 100000",
            },
            Group {
                name: "inner",
                cpuset: "1-2,5-6",
                cpu_max: "250000 100000",
            },
        ],
        expect: &["cpus=8", "allowed=1-2,5-6", "parallelism=2", "flip"],
        ..PLAIN
    },
    Machine {
        name: "cpuless",
        what: "4 cores on node 0; node 1 is memory alone, distance 40",
        nodes: &[node("0-3", 512), node("", 512)],
        distances: &[(0, 1, 40)],
        expect: &["nodes=2", "cpus=4", "distances=10,40/40,10"],
        ..PLAIN
    },
    Machine {
        name: "memless",
        what: "2 nodes of 2 cores; node 1 has no memory",
        smp: "4,sockets=2,cores=2,threads=1",
        nodes: &[node("0-1", 1024), node("2-3", 0)],
        distances: &[(0, 1, 20)],
        expect: &["nodes=2", "cpus=4", "distances=10,20/20,10"],
        ..PLAIN
    },
    Machine {
        name: "large",
        what: "4 CPUs of 1100 possible ones: affinity masks of more than 1024 bits",
        memory: 4096,
        append: "possible_cpus=1100",
        expect: &["cpus=4", "parallelism=4"],
        ..PLAIN
    },
];
