//! From hwloc's XML to a [`Draft`].
//!
//! What it does not know it skips; what it knows and can't understand is an error with the byte
//! where it stands.
//!
//! | element | gives |
//! |---------|-------|
//! | `object type="Machine"` | online CPUs (`cpuset`), offline ones (in `complete_cpuset`) |
//! | `Package`, `Die`, `Core`, `PU`, `L1Cache`…`L5Cache`, `L1iCache`… | the level of that name |
//! | `Group` | a cluster, if it is no node's set and lies within a die |
//! | `NUMANode` | a node with its memory; CPUs of an earlier node in its place stay there |
//! | `distances2 name="NUMALatency"` | SLIT distances |
//! | `cpukind` with `CoreType` or `LinuxCapacity` | kinds and capacities |

use crate::error::quoted;
use crate::topology::{Draft, DraftCache, DraftNode, Group};
use crate::{CacheKind, CpuSet, KindSource};
use roxmltree::{Document, Node, ParsingOptions};

/// An element, with its place in the text.
#[derive(Clone, Copy)]
struct Tag<'a>(Node<'a, 'a>);

impl<'a> Tag<'a> {
    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.0.attribute(name)
    }

    fn error<T>(&self, what: impl core::fmt::Display) -> Result<T, String> {
        Err(format!("XML at byte {}: {what}", self.0.range().start))
    }

    fn set(&self, name: &str) -> Result<CpuSet, String> {
        let Some(text) = self.attribute(name) else {
            return Ok(CpuSet::new());
        };
        if text.contains("0xf...f") {
            return self.error(format!("{name} is endless"));
        }
        CpuSet::from_mask(text).or_else(|e| self.error(format!("{name} is not a set, {e}")))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.attribute(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => self.error(format!("{name}={} is not a number", quoted(text))),
        }
    }

    fn id(&self) -> Result<Option<u32>, String> {
        Ok(self
            .number("os_index")?
            .and_then(|id| u32::try_from(id).ok())
            .filter(|&id| id != u32::MAX))
    }

    fn numbers(&self) -> Result<Vec<u32>, String> {
        let number = |word: &str| {
            word.parse()
                .or_else(|_| self.error(format!("{} is not a number", quoted(word))))
        };
        let text = self.0.text().unwrap_or("");
        text.split_whitespace().map(number).collect()
    }
}

/// The most elements of a saved machine: each is an object, an attribute's carrier or a list.
const MAX_ELEMENTS: u32 = 1 << 22;

/// Collects the sets of `text`. `no_memory` is the memory of a node for which the text gives none.
pub(super) fn draft(text: &str, no_memory: Option<u64>) -> Result<Draft, String> {
    let options = ParsingOptions {
        allow_dtd: true, // libhwloc names its own
        nodes_limit: MAX_ELEMENTS,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options).map_err(|e| format!("XML: {e}"))?;
    let mut reader = Reader {
        no_memory,
        ..Reader::default()
    };
    for tag in document.descendants().filter(Node::is_element).map(Tag) {
        let tag = &tag;
        match tag.0.tag_name().name() {
            "object" => reader.object(tag)?,
            "distances2" => reader.latency = tag.attribute("name") == Some("NUMALatency"),
            "indexes" if reader.latency => reader.indexes.extend(tag.numbers()?),
            "u64values" if reader.latency => reader.values.extend(tag.numbers()?),
            "cpukind" => reader.kind = tag.set("cpuset")?,
            "info" => reader.info(tag)?,
            _ => {}
        }
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    draft: Draft,
    no_memory: Option<u64>,
    groups: Vec<CpuSet>,
    /// Within the distances between nodes.
    latency: bool,
    indexes: Vec<u32>,
    values: Vec<u32>,
    /// The CPUs of the kind that `info` elements speak of.
    kind: CpuSet,
}

impl Reader {
    fn object(&mut self, tag: &Tag<'_>) -> Result<(), String> {
        let kind = tag.attribute("type").unwrap_or("");
        let cpus = tag.set("cpuset")?;
        let id = tag.id()?;
        match kind {
            "Machine" => {
                self.draft.offline = &tag.set("complete_cpuset")? - &cpus;
                self.draft.online = cpus;
            }
            "Package" => self.draft.packages.push(Group { id, cpus }),
            "Die" => self.draft.dies.push(cpus),
            "Core" => self.draft.cores.push(Group { id, cpus }),
            "Group" => self.groups.push(cpus),
            "NUMANode" => {
                let Some(id) = id else {
                    return tag.error("a node without a number");
                };
                let memory = tag.number("local_memory")?.or(self.no_memory);
                self.draft.nodes.push(DraftNode {
                    id,
                    cpus,
                    memory,
                    distances: Vec::new(),
                });
            }
            _ => {
                let Some(kind) = cache(kind) else {
                    return Ok(());
                };
                let size = tag.number("cache_size")?.filter(|&size| size > 0);
                let level = tag
                    .number("depth")?
                    .and_then(|level| u8::try_from(level).ok());
                let Some(level) = level else {
                    return tag.error("a cache without a depth");
                };
                let kind = match (kind, tag.number("cache_type")?) {
                    (CacheKind::Unified, Some(1)) => CacheKind::Data,
                    (kind, _) => kind,
                };
                self.draft.caches.push(DraftCache {
                    level,
                    kind,
                    size,
                    cpus,
                });
            }
        }
        Ok(())
    }

    fn info(&mut self, tag: &Tag<'_>) -> Result<(), String> {
        match tag.attribute("name") {
            Some("CoreType") => {
                let known = self.draft.efficiency.take().unwrap_or_default();
                let small = tag
                    .attribute("value")
                    .is_some_and(|value| value.ends_with("Atom"));
                self.draft.efficiency = Some(if small { &known | &self.kind } else { known });
            }
            Some("LinuxCapacity") => self.rank(KindSource::Capacity, tag)?,
            Some("FrequencyBaseMHz") => self.rank(KindSource::BaseFrequency, tag)?,
            _ => {}
        }
        Ok(())
    }

    fn rank(&mut self, source: KindSource, tag: &Tag<'_>) -> Result<(), String> {
        let rank = tag.number("value")?;
        let Some(rank) = rank.and_then(|rank| u32::try_from(rank).ok()) else {
            return tag.error("a capacity or frequency out of range");
        };
        let ranks = self.draft.ranks.entry(source).or_default();
        ranks.extend(self.kind.iter().map(|cpu| (cpu, rank)));
        Ok(())
    }

    fn finish(mut self) -> Result<Draft, String> {
        let draft = &mut self.draft;
        let cpus = draft.online.clone();
        let covered = |sets: &mut dyn Iterator<Item = &CpuSet>| {
            sets.fold(CpuSet::new(), |all, set| &all | set)
        };
        let packages = covered(&mut draft.packages.iter().map(|group| &group.cpus));
        if packages != cpus {
            draft.packages.push(Group {
                id: None,
                cpus: &cpus - &packages,
            });
        }
        let cores = covered(&mut draft.cores.iter().map(|group| &group.cpus));
        let alone = &cpus - &cores;
        let single = |cpu| Group {
            id: None,
            cpus: CpuSet::from([cpu]),
        };
        draft.cores.extend(alone.iter().map(single));

        let node_sets: Vec<CpuSet> = draft.nodes.iter().map(|node| node.cpus.clone()).collect();
        draft.clusters = self
            .groups
            .into_iter()
            .filter(|set| !node_sets.contains(set))
            .collect();
        let dies = &draft.dies;
        let within = |set: &CpuSet| {
            dies.iter()
                .all(|die| set.is_subset(die) || set.is_disjoint(die))
        };
        let package_sets: Vec<CpuSet> = draft
            .packages
            .iter()
            .map(|group| group.cpus.clone())
            .collect();
        let in_package = |set: &CpuSet| package_sets.iter().any(|package| set.is_subset(package));
        draft.clusters.retain(|set| within(set) && in_package(set));

        give_cpus(&mut draft.nodes, &cpus);
        // A machine has memory: hwloc's word for "not known" is 0.
        if draft.nodes.iter().all(|node| node.memory == Some(0)) {
            draft.nodes.iter_mut().for_each(|node| node.memory = None);
        }
        self.draft.nodes = distances(self.draft.nodes, &self.indexes, &self.values)?;
        Ok(self.draft)
    }
}

/// Assigns each CPU to the smallest node around it, the one with the lowest number among equals.
fn give_cpus(nodes: &mut [DraftNode], online: &CpuSet) {
    let mut free = online.clone();
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|&index| (nodes[index].cpus.len(), nodes[index].id));
    for index in order {
        nodes[index].cpus = &nodes[index].cpus & &free;
        free = &free - &nodes[index].cpus;
    }
}

fn distances(
    mut nodes: Vec<DraftNode>,
    indexes: &[u32],
    values: &[u32],
) -> Result<Vec<DraftNode>, String> {
    let count = indexes.len();
    if count == 0 {
        return Ok(nodes);
    }
    let between = |from: u32, to: u32| {
        let place = |id: u32| indexes.iter().position(|&index| index == id);
        values.get(place(from)? * count + place(to)?).copied()
    };
    let ids: Vec<u32> = nodes.iter().map(|node| node.id).collect();
    for node in &mut nodes {
        let row = ids.iter().map(|&to| between(node.id, to));
        let Some(row) = row.collect::<Option<Vec<u32>>>() else {
            return Err(format!("no distances from node {}", node.id));
        };
        node.distances = row;
    }
    Ok(nodes)
}

/// Returns what `L1Cache`, `L3Cache`, `L1iCache`… hold; `None` for what is no cache.
fn cache(kind: &str) -> Option<CacheKind> {
    let rest = kind.strip_prefix('L')?.strip_suffix("Cache")?;
    match rest.strip_suffix('i') {
        Some(_) => Some(CacheKind::Instruction),
        None => Some(CacheKind::Unified),
    }
}
