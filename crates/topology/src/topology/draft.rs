//! The one way a reader's findings become a [`Topology`]: checked, ordered, completed.
//!
//! A reader fills in a [`Draft`] with sets of CPUs in any order and any wording; `finish`
//! establishes the invariants T1 to T6 of `topology.rs` or says which one the source breaks and
//! where.

mod nodes;

pub(super) use nodes::ASSUMED_DISTANCES;

use super::{
    Cache, CacheKind, Cluster, Core, CoreKind, Cpu, Die, KindSource, Package, Source, Topology,
};
use super::{DraftMemory, memory};
use crate::note::Notes;
use crate::{CpuSet, Error};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A set of CPUs that a level of the machine is made of, and the kernel's number for it.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: Option<u32>,
    pub(crate) cpus: CpuSet,
}

#[derive(Debug)]
pub(crate) struct DraftNode {
    pub(crate) id: u32,
    pub(crate) cpus: CpuSet,
    pub(crate) memory: Option<u64>,
    /// In the order of `Draft::nodes`; empty if the source gives none.
    pub(crate) distances: Vec<u32>,
}

#[derive(Debug)]
pub(crate) struct DraftCache {
    pub(crate) level: u8,
    pub(crate) kind: CacheKind,
    pub(crate) size: Option<u64>,
    pub(crate) cpus: CpuSet,
}

/// What a reader found. Lists may be in any order; equal sets may be named once per CPU.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) online: CpuSet,
    pub(crate) offline: CpuSet,
    pub(crate) packages: Vec<Group>,
    pub(crate) dies: Vec<CpuSet>,
    pub(crate) clusters: Vec<CpuSet>,
    pub(crate) cores: Vec<Group>,
    pub(crate) nodes: Vec<DraftNode>,
    pub(crate) caches: Vec<DraftCache>,
    /// The directory that nodes were read from, if any.
    pub(crate) node_root: Option<PathBuf>,
    /// What is known of the memory of nodes without CPUs, by their ids.
    pub(crate) memories: BTreeMap<u32, DraftMemory>,
    /// Memory of a machine without nodes, where known.
    pub(crate) memory: Option<u64>,
    /// How fast CPUs are relative to each other, by what says so; the first source that tells them
    /// apart counts.
    pub(crate) ranks: BTreeMap<KindSource, BTreeMap<usize, u32>>,
    /// CPUs known to be on efficiency cores; `None`: judge by `ranks`.
    pub(crate) efficiency: Option<CpuSet>,
}

/// Returns a fraction: a core whose rank is below this part of the largest is an efficiency core,
/// where the kernel does not say by itself.
///
/// - Capacity: the middle cores of three-tier phones are above it, the little ones below.
/// - Highest performance: Intel's small cores have 0.6 of the large ones', and the least preferred
///   of AMD's equal cores 0.8 of the most preferred.
/// - Base frequency: Intel's small cores have 0.70 to 0.76 of the large ones'.
fn efficiency_below(source: KindSource) -> (u64, u64) {
    match source {
        KindSource::BaseFrequency => (4, 5),
        _ => (3, 4),
    }
}

impl Draft {
    /// Checks and completes the draft; `place` is the file or directory that errors name.
    pub(crate) fn finish(
        mut self,
        source: Source,
        place: &Path,
        mut notes: Notes,
    ) -> Result<Topology, Error> {
        if self.online.is_empty() {
            return Err(Error::inconsistent(place, "no CPU is online"));
        }
        let online = self.online.clone();
        unify(&mut self.packages, |group| &group.cpus);
        unify(&mut self.cores, |group| &group.cpus);
        let packages = Level::new(
            "package",
            self.packages.iter().map(|g| &g.cpus),
            &online,
            place,
        )?;
        let die_sets = self.die_sets(&packages);
        let dies = Level::new("die", die_sets.iter(), &online, place)?;
        let cores = Level::new("core", self.cores.iter().map(|g| &g.cpus), &online, place)?;
        let caches = self.caches(place)?;
        let clusters = self.clusters(&dies, &cores, &caches);
        let nodes = nodes::finish(&mut self, place, &mut notes)?;
        let node_of = Level::new("node", nodes.iter().map(|n| &n.cpus), &online, place)?;
        let (kinds, kind_source) = self.kinds(&cores);
        let capacities = self.ranks.remove(&KindSource::Capacity).unwrap_or_default();

        let mut topology = Topology {
            source,
            kind_source,
            notes: notes.into_list(),
            offline: &self.offline - &online,
            allowed: online.clone(),
            packages: Vec::new(),
            dies: Vec::new(),
            clusters: Vec::new(),
            cores: Vec::new(),
            cpus: Vec::new(),
            memories: memory::finish(&nodes, &self.memories),
            nodes,
            caches,
            online,
        };
        for cpus in die_sets {
            let package = packages.containing("die", &cpus, place)?;
            topology.dies.push(Die { cpus, package });
        }
        for cpus in clusters {
            let die = dies.containing("cluster", &cpus, place)?;
            topology.clusters.push(Cluster { cpus, die });
        }
        let cluster_of = cluster_of(&topology.clusters);
        for (index, Group { id, cpus }) in self.cores.into_iter().enumerate() {
            let die = dies.containing("core", &cpus, place)?;
            let (first, package) = (cpus.first().unwrap_or(0), topology.dies[die].package);
            let cluster = cluster_of.get(&first).copied();
            let node = node_of.index_of[&first];
            topology.cores.push(Core {
                id,
                cpus,
                package,
                die,
                cluster,
                node,
                kind: kinds[index],
            });
        }
        topology.packages = self
            .packages
            .into_iter()
            .map(|Group { id, cpus }| Package { id, cpus })
            .collect();
        topology.cpus = cpus(&topology, &cores, &node_of, &capacities);
        Ok(topology)
    }

    /// Returns the dies, one for every package that names none (T3).
    fn die_sets(&mut self, packages: &Level) -> Vec<CpuSet> {
        let mut sets = std::mem::take(&mut self.dies);
        unify(&mut sets, |set| set);
        let named = sets.iter().fold(CpuSet::new(), |all, set| &all | set);
        sets.extend(
            packages
                .sets
                .iter()
                .map(|package| package - &named)
                .filter(|rest| !rest.is_empty()),
        );
        sets.sort_by_key(CpuSet::first);
        sets
    }

    /// Returns the caches in order, checked against T4.
    fn caches(&mut self, place: &Path) -> Result<Vec<Cache>, Error> {
        let mut drafts = std::mem::take(&mut self.caches);
        drafts.retain(|cache| !cache.cpus.is_empty());
        drafts.sort_by(|a, b| {
            let key = |c: &DraftCache| (c.level, c.kind, c.cpus.first());
            key(a).cmp(&key(b)).then_with(|| a.cpus.cmp(&b.cpus))
        });
        let mut caches: Vec<Cache> = Vec::new();
        let mut seen: BTreeMap<(u8, CacheKind), CpuSet> = BTreeMap::new();
        for DraftCache {
            level,
            kind,
            size,
            cpus,
        } in drafts
        {
            let same = |c: &Cache| c.level == level && c.kind == kind && c.cpus == cpus;
            if caches.last().is_some_and(same) {
                continue;
            }
            let what = format!("L{level} {kind:?} cache of CPUs {cpus}");
            if !cpus.is_subset(&self.online) {
                let what = format!("the {what} names CPUs that are not online");
                return Err(Error::inconsistent(place, what));
            }
            let taken = seen.entry((level, kind)).or_default();
            if !taken.is_disjoint(&cpus) {
                let what = format!("the {what} overlaps another of its level");
                return Err(Error::inconsistent(place, what));
            }
            *taken = &*taken | &cpus;
            caches.push(Cache {
                level,
                kind,
                size,
                cpus,
            });
        }
        Ok(caches)
    }

    /// Returns the clusters that say something, else the shared L2s that do (T3).
    fn clusters(&mut self, dies: &Level, cores: &Level, caches: &[Cache]) -> Vec<CpuSet> {
        let says_something = |set: &CpuSet| {
            let first = set.first().unwrap_or(0);
            !set.is_subset(&cores.sets[cores.index_of[&first]])
                && *set != dies.sets[dies.index_of[&first]]
        };
        let mut sets = std::mem::take(&mut self.clusters);
        unify(&mut sets, |set| set);
        sets.retain(|set| set.is_subset(&self.online) && says_something(set));
        if sets.is_empty() {
            let shared = |c: &&Cache| c.level == 2 && c.kind != CacheKind::Instruction;
            sets.extend(caches.iter().filter(shared).map(|c| c.cpus.clone()));
            sets.retain(|set| says_something(set) && dies.holds(set));
        }
        sets
    }

    /// Returns the kind of each core, by index, and what tells them apart.
    fn kinds(&self, cores: &Level) -> (Vec<CoreKind>, Option<KindSource>) {
        let judged = |small: &dyn Fn(usize) -> bool| -> Vec<CoreKind> {
            let kind = |set: &CpuSet| match set.first().is_some_and(small) {
                true => CoreKind::Efficiency,
                false => CoreKind::Performance,
            };
            cores.sets.iter().map(kind).collect()
        };
        if let Some(efficiency) = self
            .efficiency
            .as_ref()
            .filter(|set| !set.is_disjoint(&self.online))
        {
            return (
                judged(&|cpu| efficiency.contains(cpu)),
                Some(KindSource::Pmu),
            );
        }
        for (&source, ranks) in &self.ranks {
            let largest = u64::from(ranks.values().copied().max().unwrap_or(0));
            let (part, of) = efficiency_below(source);
            let small = |cpu: usize| {
                let rank = ranks.get(&cpu).copied().map(u64::from);
                rank.is_some_and(|rank| rank * of < largest * part)
            };
            let kinds = judged(&small);
            if kinds.contains(&CoreKind::Efficiency) {
                return (kinds, Some(source));
            }
        }
        (judged(&|_| false), None)
    }
}

/// A level of the machine as a partition of the online CPUs (T1).
struct Level {
    sets: Vec<CpuSet>,
    /// From a CPU to the index of its set.
    index_of: BTreeMap<usize, usize>,
}

impl Level {
    fn new<'a>(
        name: &str,
        sets: impl Iterator<Item = &'a CpuSet>,
        online: &CpuSet,
        place: &Path,
    ) -> Result<Self, Error> {
        let sets: Vec<CpuSet> = sets.cloned().collect();
        let mut index_of = BTreeMap::new();
        for (index, set) in sets.iter().enumerate() {
            for cpu in set.iter() {
                if !online.contains(cpu) {
                    let what =
                        format!("CPU {cpu} is in a {name} ({set}) but not online ({online})");
                    return Err(Error::inconsistent(place, what));
                }
                if let Some(other) = index_of.insert(cpu, index) {
                    let what = format!("CPU {cpu} is in two {name}s, {} and {set}", sets[other]);
                    return Err(Error::inconsistent(place, what));
                }
            }
        }
        match online.iter().find(|cpu| !index_of.contains_key(cpu)) {
            Some(cpu) => Err(Error::inconsistent(
                place,
                format!("CPU {cpu} is in no {name}"),
            )),
            None => Ok(Self { sets, index_of }),
        }
    }

    fn holds(&self, set: &CpuSet) -> bool {
        set.first()
            .is_some_and(|first| set.is_subset(&self.sets[self.index_of[&first]]))
    }

    /// Returns the index of the set of this level that holds all of `set`, a part named `what`
    /// (T2).
    fn containing(&self, what: &str, set: &CpuSet, place: &Path) -> Result<usize, Error> {
        if self.holds(set) {
            return Ok(self.index_of[&set.first().unwrap_or(0)]);
        }
        let what = format!("the {what} of CPUs {set} crosses the border of the level above it");
        Err(Error::inconsistent(place, what))
    }
}

/// Maps a CPU to the index of its cluster.
fn cluster_of(clusters: &[Cluster]) -> BTreeMap<usize, usize> {
    let mut of = BTreeMap::new();
    for (index, cluster) in clusters.iter().enumerate() {
        of.extend(cluster.cpus.iter().map(|cpu| (cpu, index)));
    }
    of
}

/// Orders a list by lowest CPU and keeps one of equal sets; drops empty ones.
fn unify<T>(list: &mut Vec<T>, set: impl Fn(&T) -> &CpuSet) {
    list.retain(|item| !set(item).is_empty());
    list.sort_by(|a, b| (set(a).first(), set(a)).cmp(&(set(b).first(), set(b))));
    list.dedup_by(|a, b| set(a) == set(b));
}

/// Builds the CPUs, from the levels that are already in place.
fn cpus(
    topology: &Topology,
    cores: &Level,
    node_of: &Level,
    capacities: &BTreeMap<usize, u32>,
) -> Vec<Cpu> {
    let mut caches: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, cache) in topology.caches.iter().enumerate() {
        for cpu in cache.cpus.iter() {
            caches.entry(cpu).or_default().push(index);
        }
    }
    let cpu = |id: usize| {
        let core = cores.index_of[&id];
        let Core {
            package,
            die,
            cluster,
            kind,
            ..
        } = topology.cores[core];
        let (node, caches) = (
            node_of.index_of[&id],
            caches.remove(&id).unwrap_or_default(),
        );
        let capacity = capacities.get(&id).copied();
        Cpu {
            id,
            package,
            die,
            cluster,
            core,
            node,
            caches,
            kind,
            capacity,
        }
    };
    topology.online.iter().map(cpu).collect()
}

/// Makes a machine of which only the CPU numbers are known.
pub(super) fn flat(cpus: &CpuSet, why: &str) -> Topology {
    let draft = Draft {
        online: cpus.clone(),
        packages: vec![Group {
            id: None,
            cpus: cpus.clone(),
        }],
        cores: cpus
            .iter()
            .map(|cpu| Group {
                id: None,
                cpus: CpuSet::from([cpu]),
            })
            .collect(),
        ..Draft::default()
    };
    let mut notes = Notes::default();
    notes.unsaid(
        None,
        why,
        "one package and one node were assumed, and a core for each CPU",
    );
    let built = draft.finish(Source::Flat(why.into()), &PathBuf::new(), notes);
    built.expect("one package and one core per CPU of a set that is not empty")
}

#[cfg(test)]
mod tests {
    //! Goal: what no reader of ours lets through is refused here too. Method: a sound draft with
    //! one thing wrong.

    use super::*;

    fn sound() -> Draft {
        let online = CpuSet::first_n(4);
        Draft {
            packages: vec![Group {
                id: Some(0),
                cpus: online.clone(),
            }],
            cores: online
                .iter()
                .map(|cpu| Group {
                    id: None,
                    cpus: CpuSet::from([cpu]),
                })
                .collect(),
            online,
            ..Draft::default()
        }
    }

    fn finish(draft: Draft) -> Result<Topology, String> {
        draft
            .finish(
                Source::Flat(String::new()),
                Path::new("here"),
                Notes::strict(),
            )
            .map_err(|e| e.to_string())
    }

    #[test]
    fn t4_a_cache_keeps_to_the_online_cpus() {
        assert_eq!(finish(sound()).map(|machine| machine.cores().len()), Ok(4));
        let mut draft = sound();
        let cpus = CpuSet::from([3, 4]);
        draft.caches.push(DraftCache {
            level: 2,
            kind: CacheKind::Unified,
            size: None,
            cpus,
        });
        let error = finish(draft).expect_err("CPU 4 is not there");
        assert!(
            error.starts_with("here: the L2 Unified cache of CPUs 3-4"),
            "{error}"
        );
    }

    #[test]
    fn t6_a_node_is_there_once_with_all_its_distances() {
        let node = |id, cpus: &str, distances: &[u32]| DraftNode {
            id,
            cpus: cpus.parse().expect("a list"),
            memory: None,
            distances: distances.to_vec(),
        };
        for (nodes, what) in [
            (
                vec![node(1, "0-1", &[10, 20]), node(1, "2-3", &[20, 10])],
                "node 1 is there twice",
            ),
            (
                vec![node(0, "0-1", &[10, 20]), node(1, "2-3", &[])],
                "node 1 gives 0 distances for 2",
            ),
            (vec![node(0, "0-1", &[10])], "CPU 2 is in no node"),
        ] {
            let error = finish(Draft { nodes, ..sound() }).expect_err(what);
            assert!(error.contains(what), "{error}");
        }
        // In any order, distances go with their nodes.
        let nodes = vec![node(7, "0-1", &[10, 33]), node(2, "2-3", &[31, 12])];
        let machine = finish(Draft { nodes, ..sound() }).expect("sound");
        let rows: Vec<(u32, Vec<u32>)> = machine
            .nodes()
            .iter()
            .map(|node| (node.id, node.distances.clone()))
            .collect();
        assert_eq!(rows, [(2, vec![12, 31]), (7, vec![33, 10])]);
    }
}
