//! Captured and made-up `/sys` trees as one text each, unpacked into a temporary directory.
//!
//! Format: `[directory]`, then `file = content` lines (`\n` inside content is a line break, `\t` a
//! tab, `\0` a zero byte), `#` comments.

#![expect(unreachable_pub, reason = "every test file uses its part of this")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use stealyard_topology::{Error, Topology};

/// Files by their path below the root.
#[derive(Clone, Debug, Default)]
pub struct Tree(pub BTreeMap<String, String>);

/// A directory that is removed when the test is done with it.
#[derive(Debug)]
pub struct Directory(pub PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Tree {
    pub fn parse(text: &str) -> Self {
        let mut tree = Self::default();
        let mut directory = "";
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            if let Some(name) = line.strip_prefix('[') {
                directory = name.trim_end_matches(']');
            } else {
                let (name, content) = line.split_once(" =").expect("file = content");
                let content = content.strip_prefix(' ').unwrap_or(content);
                let content = content.replace("\\n", "\n").replace("\\t", "\t");
                tree.set(
                    &format!("{directory}/{name}"),
                    &content.replace("\\0", "\0"),
                );
            }
        }
        tree
    }

    pub fn set(&mut self, path: &str, content: &str) -> &mut Self {
        self.0.insert(path.into(), content.into());
        self
    }

    /// Removes a file, or everything below a directory.
    pub fn remove(&mut self, path: &str) -> &mut Self {
        let below = format!("{path}/");
        let before = self.0.len();
        self.0
            .retain(|name, _| name != path && !name.starts_with(&below));
        assert!(self.0.len() < before, "{path} is not in the tree");
        self
    }

    pub fn unpack(&self, name: &str) -> Directory {
        // Thousands of tiny files: memory is ten times faster than a busy disk.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            memory.into()
        } else {
            std::env::temp_dir()
        };
        let root = folder.join(format!("stealyard-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for (path, content) in &self.0 {
            let file = root.join(path);
            fs::create_dir_all(file.parent().expect("below the root"))
                .expect("temporary directory");
            fs::write(&file, format!("{content}\n")).expect("temporary file");
        }
        Directory(root)
    }

    pub fn read(&self, name: &str) -> Result<Topology, Error> {
        let directory = self.unpack(name);
        Topology::from_sysfs(&directory.0)
    }

    /// A machine of `cpus` CPUs, one core each, on one package and `nodes` nodes.
    pub fn made_up(cpus: usize, nodes: usize) -> Self {
        let mut tree = Self::default();
        let range = |from: usize, to: usize| format!("{from}-{}", to - 1);
        tree.set(&format!("{CPU}/online"), &range(0, cpus));
        for cpu in 0..cpus {
            let topology = format!("{CPU}/cpu{cpu}/topology");
            tree.set(&format!("{topology}/physical_package_id"), "0");
            tree.set(&format!("{topology}/core_id"), &cpu.to_string());
            tree.set(&format!("{topology}/core_cpus_list"), &cpu.to_string());
        }
        tree.set(&format!("{NODE}/online"), &range(0, nodes));
        let width = cpus / nodes;
        for node in 0..nodes {
            let at = format!("{NODE}/node{node}");
            let distance = |to| if to == node { "10" } else { "20" };
            let distances: Vec<&str> = (0..nodes).map(distance).collect();
            tree.set(
                &format!("{at}/cpulist"),
                &range(node * width, (node + 1) * width),
            );
            tree.set(&format!("{at}/distance"), &distances.join(" "));
            tree.set(
                &format!("{at}/meminfo"),
                &format!("Node {node} MemTotal: 1024 kB"),
            );
        }
        tree
    }
}

pub const CPU: &str = "sys/devices/system/cpu";
pub const NODE: &str = "sys/devices/system/node";

/// Every captured tree, by name.
pub const CAPTURED: [(&str, &str); 11] = [
    ("cpuless", include_str!("../sysfs/cpuless.tree")),
    ("dies", include_str!("../sysfs/dies.tree")),
    ("hotplug", include_str!("../sysfs/hotplug.tree")),
    ("hybrid", include_str!("../sysfs/hybrid.tree")),
    ("live", include_str!("../sysfs/live.tree")),
    ("memless", include_str!("../sysfs/memless.tree")),
    ("numa2-smt", include_str!("../sysfs/numa2-smt.tree")),
    ("numa2-uneven", include_str!("../sysfs/numa2-uneven.tree")),
    ("numa4", include_str!("../sysfs/numa4.tree")),
    ("offline", include_str!("../sysfs/offline.tree")),
    ("snc3", include_str!("../sysfs/snc3.tree")),
];

/// Trees of one trouble each, by name: what is old, partial, contradictory, or rewritten by
/// containers.
pub const HARD: [(&str, &str); 22] = [
    (
        "cache_of_0k",
        include_str!("../sysfs/hard/cache_of_0k.tree"),
    ),
    (
        "cache_without_sharing",
        include_str!("../sysfs/hard/cache_without_sharing.tree"),
    ),
    (
        "compute_units",
        include_str!("../sysfs/hard/compute_units.tree"),
    ),
    (
        "cpus_without_a_node",
        include_str!("../sysfs/hard/cpus_without_a_node.tree"),
    ),
    (
        "distance_zero",
        include_str!("../sysfs/hard/distance_zero.tree"),
    ),
    (
        "empty_sharing",
        include_str!("../sysfs/hard/empty_sharing.tree"),
    ),
    ("gpu_nodes", include_str!("../sysfs/hard/gpu_nodes.tree")),
    (
        "hybrid_by_firmware",
        include_str!("../sysfs/hard/hybrid_by_firmware.tree"),
    ),
    (
        "hybrid_by_frequency",
        include_str!("../sysfs/hard/hybrid_by_frequency.tree"),
    ),
    (
        "list_against_mask",
        include_str!("../sysfs/hard/list_against_mask.tree"),
    ),
    ("lxcfs", include_str!("../sysfs/hard/lxcfs.tree")),
    (
        "lying_siblings",
        include_str!("../sysfs/hard/lying_siblings.tree"),
    ),
    ("masks_only", include_str!("../sysfs/hard/masks_only.tree")),
    (
        "memory_only_node",
        include_str!("../sysfs/hard/memory_only_node.tree"),
    ),
    (
        "nearest_is_another",
        include_str!("../sysfs/hard/nearest_is_another.tree"),
    ),
    ("no_online", include_str!("../sysfs/hard/no_online.tree")),
    (
        "nodes_claim_all",
        include_str!("../sysfs/hard/nodes_claim_all.tree"),
    ),
    (
        "nodes_name_offline_cpus",
        include_str!("../sysfs/hard/nodes_name_offline_cpus.tree"),
    ),
    (
        "package_minus_one",
        include_str!("../sysfs/hard/package_minus_one.tree"),
    ),
    (
        "package_missing",
        include_str!("../sysfs/hard/package_missing.tree"),
    ),
    (
        "stale_lists",
        include_str!("../sysfs/hard/stale_lists.tree"),
    ),
    (
        "trailing_zero_bytes",
        include_str!("../sysfs/hard/trailing_zero_bytes.tree"),
    ),
];

pub fn captured(name: &str) -> Tree {
    let (_, text) = CAPTURED
        .iter()
        .chain(&HARD)
        .find(|(known, _)| *known == name)
        .expect("a captured tree");
    Tree::parse(text)
}

/// The path an error is about.
pub fn path_of(error: &Error) -> &Path {
    match error {
        Error::Read { path, .. }
        | Error::TooLarge { path, .. }
        | Error::Malformed { path, .. }
        | Error::Inconsistent { path, .. } => path,
        other => panic!("{other} names no file"),
    }
}
