//! The machine as nested boxes: what contains what, by sets of CPUs.
//!
//! Levels are not nested in the same way everywhere (a node may hold packages or be a part of one),
//! so the nesting is found from the sets: a box lies in the smallest other box that holds all its
//! CPUs, and equal sets are one box with several titles.

use crate::findings::bytes;
use stealyard_topology::{Cache, CacheKind, CoreKind, CpuSet, MemoryKind, Topology};

/// What a box is drawn as; the order is that of titles in one box, and of nesting for equal sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Machine,
    Package,
    Node,
    Die,
    Cache,
    Cluster,
    Core,
}

/// A part of the machine and the parts within it.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) kind: Kind,
    /// One for each object with these CPUs, from the outside in.
    pub(crate) titles: Vec<String>,
    pub(crate) cpus: CpuSet,
    pub(crate) parts: Vec<Part>,
}

impl Part {
    /// Returns a key that is equal for parts that differ in nothing but their numbers.
    pub(crate) fn shape(&self) -> String {
        let titles: Vec<String> = self
            .titles
            .iter()
            .map(|title| without_numbers(title))
            .collect();
        let parts: Vec<String> = self.parts.iter().map(Part::shape).collect();
        format!(
            "{} {} {}",
            titles.join("+"),
            self.cpus.len(),
            parts.join("|")
        )
    }
}

/// Returns a title up to its first number: `Core 3` is a `Core`, but `L2 1 MiB` stays.
fn without_numbers(title: &str) -> String {
    match title.split_once(' ') {
        Some((name @ ("Core" | "Efficiency core" | "Node" | "Package" | "Die" | "Cluster"), _)) => {
            name.into()
        }
        _ => title.into(),
    }
}

/// Builds the outline of the whole machine. Nodes without CPUs are parts of it with an empty set.
pub(crate) fn outline(machine: &Topology) -> Part {
    let mut found: Vec<(Kind, String, CpuSet)> = Vec::new();
    let number = |id: Option<u32>, index: usize| id.map_or(index, |id| id as usize);
    for (index, package) in machine.packages().iter().enumerate() {
        let title = format!("Package {}", number(package.id, index));
        found.push((Kind::Package, title, package.cpus.clone()));
    }
    for (index, node) in machine.nodes().iter().enumerate() {
        let memory = match node.memory {
            Some(0) => "no memory".into(),
            Some(size) => bytes(size),
            None => "memory unknown".into(),
        };
        let mut title = format!("Node {}, {memory}", node.id);
        if let Some(kind) = machine.memory_kind(index)
            && let Some(near) = machine.nearest_cpus(index)
            && kind != MemoryKind::Main
        {
            title += &format!(", {kind} near {}", near.in_words());
        }
        found.push((Kind::Node, title, node.cpus.clone()));
    }
    let several = machine.dies().len() > machine.packages().len();
    for (index, die) in machine.dies().iter().enumerate().filter(|_| several) {
        found.push((Kind::Die, format!("Die {index}"), die.cpus.clone()));
    }
    for (index, cluster) in machine.clusters().iter().enumerate() {
        found.push((
            Kind::Cluster,
            format!("Cluster {index}"),
            cluster.cpus.clone(),
        ));
    }
    caches(machine, &mut found);
    for (index, core) in machine.cores().iter().enumerate() {
        let name = match core.kind {
            CoreKind::Performance => "Core",
            CoreKind::Efficiency => "Efficiency core",
        };
        let title = format!("{name} {}", number(core.id, index));
        found.push((Kind::Core, title, core.cpus.clone()));
    }
    // A cache of a single thread of an SMT core belongs to no box of ours: caches within a core are
    // told by their size on the core's own line.
    let threads = |kind: Kind, cpus: &CpuSet| {
        let core = cpus
            .first()
            .and_then(|cpu| machine.cpu(cpu))
            .map(|cpu| &machine.cores()[cpu.core]);
        kind == Kind::Cache && core.is_some_and(|core| cpus.len() < core.cpus.len())
    };
    found.retain(|(kind, _, cpus)| !threads(*kind, cpus));
    let mut whole = Part {
        kind: Kind::Machine,
        titles: Vec::new(),
        cpus: machine.online().clone(),
        parts: Vec::new(),
    };
    // Large before small, so that a box is there before what lies in it.
    found.sort_by_key(|(kind, _, cpus)| (usize::MAX - cpus.len(), *kind));
    for (kind, title, cpus) in found {
        insert(&mut whole, kind, title, cpus);
    }
    sort(&mut whole);
    whole
}

fn caches(machine: &Topology, found: &mut Vec<(Kind, String, CpuSet)>) {
    let mut caches: Vec<&Cache> = machine.caches().iter().collect();
    caches.sort_by_key(|cache| (u8::MAX - cache.level, cache.kind));
    for cache in caches {
        let kind = match cache.kind {
            CacheKind::Data => "d",
            CacheKind::Instruction => "i",
            CacheKind::Unified => "",
        };
        let size = cache
            .size
            .map_or(String::new(), |size| format!(" {}", bytes(size)));
        found.push((
            Kind::Cache,
            format!("L{}{kind}{size}", cache.level),
            cache.cpus.clone(),
        ));
    }
}

fn insert(into: &mut Part, kind: Kind, title: String, cpus: CpuSet) {
    let first = cpus.first();
    let holds = |part: &Part| {
        first.is_some_and(|first| part.cpus.contains(first)) && cpus.is_subset(&part.cpus)
    };
    match into.parts.iter_mut().find(|part| holds(part)) {
        Some(part) if part.cpus == cpus && kind != Kind::Core && part.kind != Kind::Core => {
            part.titles.push(title);
        }
        // A core's own caches stand on its line.
        Some(part) if part.cpus == cpus => {
            part.kind = part.kind.max(kind);
            match kind {
                Kind::Core => part.titles.insert(0, title),
                _ => part.titles.push(title),
            }
        }
        Some(part) => insert(part, kind, title, cpus),
        None => into.parts.push(Part {
            kind,
            titles: vec![title],
            cpus,
            parts: Vec::new(),
        }),
    }
}

fn sort(part: &mut Part) {
    // Nodes of memory alone come last.
    part.parts
        .sort_by_key(|part| (part.cpus.is_empty(), part.cpus.first()));
    part.parts.iter_mut().for_each(sort);
}
