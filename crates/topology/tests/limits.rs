//! Goal: the limits are those of the files, and every number names its source. Method: made-up
//! `/proc` and `/sys` trees of cgroup v1, v2 and both, through the same reader as the live one.
#![cfg(target_os = "linux")]

#[path = "support/tree.rs"]
#[expect(dead_code, reason = "only the unpacking is used here")]
mod tree;

use stealyard_topology::{CpuSet, Limits, available_parallelism};
use tree::Tree;

const V2: &str = "sys/fs/cgroup";

fn v2(group: &str) -> Tree {
    let mut tree = Tree::default();
    tree.set("proc/self/cgroup", &format!("0::{group}"));
    tree.set(
        "proc/self/mountinfo",
        "22 1 0:20 / /proc rw - proc proc rw\n\
         30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate",
    );
    tree
}

fn workers(limits: &Limits) -> Vec<usize> {
    limits
        .quotas()
        .iter()
        .map(stealyard_topology::Quota::workers)
        .collect()
}

#[test]
fn o8_every_group_above_counts_and_parts_round_up() {
    let mut tree = v2("/outer/inner/leaf");
    tree.set(&format!("{V2}/outer/cpu.max"), "150000 100000");
    tree.set(&format!("{V2}/outer/inner/cpu.max"), "250000 100000");
    tree.set(&format!("{V2}/outer/inner/leaf/cpu.max"), "max 100000");
    let root = tree.unpack("o8-nested");
    let limits = Limits::read_below(&root.0);
    assert_eq!(limits.problems(), []);
    assert_eq!(
        workers(&limits),
        [3, 2],
        "2.5 CPUs are 3 workers, 1.5 are 2; nearest group first"
    );
    let parallelism = limits.available_parallelism();
    let expected = limits
        .affinity()
        .as_ref()
        .map_or(2, |mask| mask.len().min(2));
    assert_eq!(parallelism.get(), expected);
    let texts: Vec<&str> = parallelism
        .reasons()
        .iter()
        .map(|reason| reason.what.as_str())
        .collect();
    assert!(
        texts
            .iter()
            .any(|text| text.contains("outer/cpu.max") && text.contains("1.50")),
        "{texts:?}"
    );
}

#[test]
fn o8_a_quota_below_one_cpu_is_one_worker() {
    let mut tree = v2("/a");
    tree.set(&format!("{V2}/a/cpu.max"), "1000 100000");
    let root = tree.unpack("o8-small");
    let parallelism = Limits::read_below(&root.0).available_parallelism();
    assert_eq!(parallelism.get(), 1);
    assert!(
        parallelism.to_string().contains("quota of 0.01 CPUs"),
        "{parallelism}"
    );
}

#[test]
fn o8_changes_are_seen_on_demand() {
    let mut tree = v2("/a");
    tree.set(&format!("{V2}/a/cpu.max"), "300000 100000");
    let root = tree.unpack("o8-flip");
    let mut limits = Limits::read_below(&root.0);
    assert!(!limits.refresh(), "nothing changed");
    let file = root.0.join(V2).join("a/cpu.max");
    std::fs::write(&file, "50000 100000\n").expect("temporary file");
    assert!(limits.refresh());
    assert_eq!(workers(&limits), [1]);
    // The process moves to another group.
    std::fs::create_dir_all(root.0.join(V2).join("b")).expect("temporary directory");
    std::fs::write(root.0.join(V2).join("b/cpu.max"), "700000 100000\n").expect("temporary file");
    std::fs::write(root.0.join("proc/self/cgroup"), "0::/b\n").expect("temporary file");
    assert!(limits.refresh());
    assert_eq!(workers(&limits), [7]);
}

#[test]
fn version_1_and_both_at_once() {
    let mut tree = Tree::default();
    tree.set(
        "proc/self/cgroup",
        "4:cpuset:/box\n3:cpu,cpuacct:/box/in ner\n1:name=systemd:/x\n0::/y",
    );
    tree.set(
        "proc/self/mountinfo",
        "30 1 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
         31 1 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
         32 1 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
    );
    let cpu = "sys/fs/cgroup/cpu,cpuacct";
    for (group, quota, period) in [
        ("", "-1", "100000"),
        ("/box", "400000", "100000"),
        ("/box/in ner", "-1", "0"),
    ] {
        tree.set(&format!("{cpu}{group}/cpu.cfs_quota_us"), quota);
        tree.set(&format!("{cpu}{group}/cpu.cfs_period_us"), period);
    }
    tree.set("sys/fs/cgroup/cpuset/cpuset.cpus", "0-7");
    tree.set("sys/fs/cgroup/cpuset/box/cpuset.cpus", "0-1");
    let root = tree.unpack("v1");
    let limits = Limits::read_below(&root.0);
    assert_eq!(limits.problems(), []);
    assert_eq!(workers(&limits), [4]);
    assert_eq!(
        limits.cpuset().map(|limit| limit.cpus.clone()),
        Some(CpuSet::from([0, 1]))
    );
}

#[test]
fn mounts_that_show_a_part_or_have_blanks_in_their_path() {
    let mut tree = Tree::default();
    tree.set("proc/self/cgroup", "0::/docker/abc/app");
    tree.set(
        "proc/self/mountinfo",
        "30 1 0:26 /docker/abc /mnt/my\\040group rw - cgroup2 none rw",
    );
    tree.set("mnt/my group/cpu.max", "200000 100000");
    tree.set("mnt/my group/app/cpu.max", "max 100000");
    let root = tree.unpack("part");
    assert_eq!(workers(&Limits::read_below(&root.0)), [2]);
    // Outside what the mount shows, or climbing out of it: only the mount itself.
    for group in ["/elsewhere", "/docker/abc/../../etc", "/../x"] {
        std::fs::write(root.0.join("proc/self/cgroup"), format!("0::{group}\n"))
            .expect("temporary file");
        assert_eq!(workers(&Limits::read_below(&root.0)), [2], "{group}");
    }
}

#[test]
fn o8_a_hierarchy_that_is_mounted_twice() {
    let quota = |point: &str| {
        let mut tree = v2("/app");
        tree.set(
            "proc/self/mountinfo",
            "29 23 0:26 / /run/hidden rw - cgroup2 cgroup2 rw\n\
             30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        );
        tree.set(&format!("{point}/app/cpu.max"), "50000 100000");
        let root = tree.unpack("o8-twice");
        workers(&Limits::read_below(&root.0))
    };
    // Nothing is left to see of the first mount, or of the second.
    assert_eq!((quota(V2), quota("run/hidden")), (vec![1], vec![1]));
}

#[test]
fn o8_a_mount_that_shows_another_group() {
    let limits = |group: &str, shown: &str, cpuset: &str| {
        let mut tree = Tree::default();
        tree.set(
            "proc/self/cgroup",
            &format!("5:cpuset:{group}\n3:cpu,cpuacct:{group}"),
        );
        tree.set(
            "proc/self/mountinfo",
            &format!(
                "30 1 0:26 {shown} /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                 31 1 0:27 {shown} /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset"
            ),
        );
        tree.set("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000");
        tree.set("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
        tree.set("sys/fs/cgroup/cpuset/cpuset.cpus", cpuset);
        let root = tree.unpack("o8-foreign");
        Limits::read_below(&root.0)
    };
    // A group below ours says nothing about us.
    let below = limits("/ours", "/ours/theirs", "0");
    assert_eq!((workers(&below), below.cpuset()), (vec![], None));
    assert_eq!(below.problems().len(), 2, "{:?}", below.problems());
    // Of a group elsewhere that is hard to say: its quota counts, and it is told.
    let elsewhere = limits("/ours", "/theirs", "100000");
    assert_eq!(workers(&elsewhere), [1]);
    // A cpuset without any CPU of the mask is not ours, wherever it was found.
    for elsewhere in [elsewhere, limits("/ours", "/", "100000")] {
        assert_eq!(elsewhere.cpuset(), None);
        let mask = elsewhere.affinity().as_ref().expect("Linux has one");
        assert_eq!(&elsewhere.usable_cpus(), mask);
        let texts: Vec<String> = elsewhere
            .problems()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            texts
                .iter()
                .any(|text| text.contains("cpuset.cpus: CPU 100000, of which")),
            "{texts:?}"
        );
    }
}

#[test]
fn o8_a_limit_on_tasks_is_one_on_workers() {
    let limits = |max: &str, current: &str| {
        let mut tree = v2("/outer/leaf");
        tree.set(&format!("{V2}/outer/pids.max"), max);
        tree.set(&format!("{V2}/outer/pids.current"), current);
        tree.set(&format!("{V2}/outer/leaf/pids.max"), "max");
        tree.set("proc/self/status", "Name:\tx\nThreads:\t3\n");
        let root = tree.unpack("o8-pids");
        Limits::read_below(&root.0)
    };
    // Twelve tasks, three of them ours: nine others, and room for one.
    let tight = limits("10", "12");
    let parallelism = tight.available_parallelism();
    assert_eq!(parallelism.get(), 1, "{parallelism}");
    assert!(
        parallelism
            .to_string()
            .contains("limit of 10 tasks, 9 of other processes"),
        "{parallelism}"
    );
    assert_eq!(
        limits("20", "8").pids().map(|pids| pids.workers()),
        Some(15)
    );
    assert_eq!(limits("max", "8").pids(), None);
    let broken = limits("-5", "8");
    assert!(broken.pids().is_none() && broken.problems()[0].to_string().contains("outer/pids.max"));
}

#[test]
fn o14_broken_files_limit_nothing_and_are_listed() {
    for content in [
        "",
        "lots",
        "100000 0",
        "-5 100000",
        "1e9 100000",
        "99999999999999999999 1",
    ] {
        let mut tree = v2("/a");
        tree.set(&format!("{V2}/a/cpu.max"), content);
        tree.set(&format!("{V2}/a/cpuset.cpus.effective"), "3-1");
        let root = tree.unpack("o14-limits");
        let limits = Limits::read_below(&root.0);
        assert_eq!(
            limits.problems().len(),
            2,
            "{content:?}: {:?}",
            limits.problems()
        );
        assert!(limits.quotas().is_empty() && limits.cpuset().is_none());
        let named = limits
            .problems()
            .iter()
            .any(|error| error.to_string().contains("a/cpu.max"));
        assert!(named, "{:?}", limits.problems());
    }
    let mut tree = v2("/a");
    tree.set("proc/self/cgroup", "nonsense");
    let root = tree.unpack("o14-group");
    assert_eq!(Limits::read_below(&root.0).problems().len(), 1);
    std::fs::write(root.0.join("proc/self/cgroup"), vec![b'x'; 50 << 20]).expect("temporary file");
    let limits = Limits::read_below(&root.0);
    assert_eq!(limits.problems().len(), 1, "{:?}", limits.problems());
}

#[test]
fn without_cgroups_the_mask_decides() {
    let root = Tree::default().set("proc/x", "").unpack("none");
    let limits = Limits::read_below(&root.0);
    assert_eq!((limits.problems(), limits.quotas()), (&[][..], &[][..]));
    let mask = limits.affinity().as_ref().expect("Linux has one");
    assert_eq!(limits.available_parallelism().get(), mask.len());
}

#[test]
fn the_live_answer_is_at_least_one_and_has_a_reason() {
    let parallelism = available_parallelism();
    assert!(parallelism.get() >= 1);
    assert!(parallelism.decisive().is_some(), "{parallelism}");
    let mask = Limits::read().usable_cpus();
    assert!(parallelism.get() <= mask.len(), "LM1");
}
