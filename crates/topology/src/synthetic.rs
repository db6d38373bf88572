//! A machine from a line of text, in the grammar of hwloc's synthetic topologies.
//!
//! ```text
//! description = item { " " item }
//! item        = level | memory                   from the machine down to its hardware threads
//! level       = [type ":"] count [attributes]    each object of the level above has `count`
//! memory      = "[" "numa" [attributes] "]"      every object of the level above has such a node
//! attributes  = "(" key "=" value { " " key "=" value } ")"
//! type        = "package" "die" "group" "numa" "l1"…"l5", "l1d", "l1i" "core" "pu", or shorter
//! key         = "memory" | "size" | "indexes"
//! ```
//! `pack:2 [numa] l3:2 core:4 pu:2` is a machine of two packages, each with one NUMA node and two
//! L3 caches of four cores with two threads.
//!
//! # What follows from the text
//! - The last level is the CPUs (`pu`); up to seven counts without types stand for CPUs, then
//!   nodes, packages, cores, L2, L1 and L3, put in that order from the outside in as hwloc does.
//! - CPUs, cores, packages and nodes are numbered 0, 1, 2…; `indexes` gives other numbers: a list
//!   (`indexes=0,2,1,3`), loops of step and count (`indexes=2*4:1*2`), or levels to number along
//!   (`indexes=package:core`).
//! - `numa:2` as a level is a node per object of that level, with 1 GiB. Without any `numa`, the
//!   machine is one node of 1 GiB. `[numa]` has as much memory as it says, else it is unknown.
//! - A CPU belongs to the first of the innermost nodes around it; further ones are memory without
//!   CPUs.
//! - Sizes not given are hwloc's: 32 KiB for L1, 4 MiB for L2, 16 MiB for L3.
//! - Decimal units are `kB`, `MB`, `GB`, `TB`; binary ones `KiB`, `MiB`, `GiB`, `TiB`.
//!
//! The parser (`synthetic/parse.rs`) knows the grammar, this file what it means. Distances
//! between nodes can't be written in this grammar: see [`Topology::with_node_distances`].
//!
//! # References
//! hwloc 2 manual, "Synthetic topologies".

mod parse;

use crate::note::Notes;
use crate::topology::{Draft, DraftCache, DraftNode, Group};
use crate::{CacheKind, CpuSet, Error, Source, Topology};
use core::ops::Range;
use parse::{Indexes, Kind, Level};
use std::path::Path;

/// The largest machine that can be described: eight times the largest that Linux runs on.
pub(crate) const MAX_CPUS: usize = 1 << 16;

/// Memory of a node that the text does not describe at all, as in hwloc.
const DEFAULT_MEMORY: u64 = 1 << 30;

impl Topology {
    /// Builds the machine that `description` describes; see the crate's README for the grammar.
    ///
    /// ```
    /// use stealyard_topology::Topology;
    /// let machine = Topology::synthetic("pack:2 [numa] l3:2 core:4 pu:2")?;
    /// assert_eq!((machine.nodes().len(), machine.cpus().len()), (2, 32));
    /// # Ok::<(), stealyard_topology::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Synthetic`] with the place in the text; also for more than 65,536 CPUs.
    pub fn synthetic(description: &str) -> Result<Self, Error> {
        let (levels, memories) = parse::parse(description)?;
        let total = levels.last().map_or(1, |level| level.total);
        let cpu_ids = numbers(&levels, levels.len() - 1)?;
        let mut machine = Machine {
            levels: &levels,
            total,
            cpu_ids,
            draft: Draft::default(),
        };
        machine.draft.online = machine.cpu_ids.iter().copied().collect();
        for depth in 0..levels.len() {
            machine.add_level(depth)?;
        }
        machine.fill_gaps();
        machine.add_nodes(&memories)?;
        let source = Source::Synthetic(description.into());
        machine
            .draft
            .finish(source, Path::new(description), Notes::strict())
    }

    /// Returns the same machine with other distances between its nodes: a row for each node, in
    /// order of their ids, 10 for local. For described machines, whose text can't give them.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] if the rows are not as many and as long as there are nodes, or a
    /// distance is not 1 to 255.
    pub fn with_node_distances(self, rows: &[Vec<u32>]) -> Result<Self, Error> {
        let count = self.nodes().len();
        let right =
            |row: &Vec<u32>| row.len() == count && row.iter().all(|d| (1..=255).contains(d));
        if rows.len() != count || !rows.iter().all(right) {
            let what = format!("{rows:?} is not {count} rows of {count} distances of 1 to 255");
            return Err(Error::inconsistent(Path::new("node distances"), what));
        }
        Ok(self.set_node_distances(rows))
    }
}

struct Machine<'a> {
    levels: &'a [Level],
    /// CPUs of the machine.
    total: usize,
    /// The kernel's number of each CPU, by position.
    cpu_ids: Vec<usize>,
    draft: Draft,
}

impl Machine<'_> {
    /// Returns the CPUs of the object at `index` of a level that has `objects` in all.
    fn cpus(&self, objects: usize, index: usize) -> CpuSet {
        let width = self.total / objects;
        let range: Range<usize> = index * width..(index + 1) * width;
        self.cpu_ids[range].iter().copied().collect()
    }

    fn add_level(&mut self, depth: usize) -> Result<(), Error> {
        let level = &self.levels[depth];
        let ids = numbers(self.levels, depth)?;
        for (index, id) in ids.into_iter().enumerate() {
            let cpus = self.cpus(level.total, index);
            let id = u32::try_from(id).ok();
            match level.kind {
                Kind::Package => self.draft.packages.push(Group { id, cpus }),
                Kind::Die => self.draft.dies.push(cpus),
                Kind::Group => self.draft.clusters.push(cpus),
                Kind::Core => self.draft.cores.push(Group { id, cpus }),
                Kind::Cache {
                    level: number,
                    kind,
                } => {
                    let size = Some(level.size.unwrap_or_else(|| default_size(number)));
                    self.draft.caches.push(DraftCache {
                        level: number,
                        kind,
                        size,
                        cpus,
                    });
                }
                Kind::Numa | Kind::Pu => {}
            }
        }
        Ok(())
    }

    /// Fills the gaps: a machine without packages is one; CPUs without cores are each one.
    fn fill_gaps(&mut self) {
        if self.draft.packages.is_empty() {
            self.draft.packages.push(Group {
                id: None,
                cpus: self.draft.online.clone(),
            });
        }
        if self.draft.cores.is_empty() {
            let core = |cpu| Group {
                id: None,
                cpus: CpuSet::from([cpu]),
            };
            self.draft
                .cores
                .extend(self.cpu_ids.iter().map(|&cpu| core(cpu)));
        }
    }

    /// Adds the nodes, innermost first: they get the CPUs. The numbers go as hwloc gives them,
    /// through the machine in order, an object's own nodes after those of its parts.
    fn add_nodes(&mut self, memories: &[parse::Memory]) -> Result<(), Error> {
        if memories.is_empty() {
            let cpus = self.draft.online.clone();
            let memory = Some(DEFAULT_MEMORY);
            self.draft.nodes.push(DraftNode {
                id: 0,
                cpus,
                memory,
                distances: Vec::new(),
            });
            return Ok(());
        }
        // (end of the object's CPUs, outwardness, order in the text) sorts into hwloc's order.
        let mut found = Vec::new();
        for (order, memory) in memories.iter().enumerate() {
            let objects = memory
                .depth
                .checked_sub(1)
                .map_or(1, |above| self.levels[above].total);
            let width = self.total / objects;
            let each =
                |index: usize| ((index + 1) * width, usize::MAX - memory.depth, order, index);
            found.extend((0..objects).map(each));
        }
        found.sort_unstable();
        let ids = node_numbers(self.levels, memories, found.len())?;
        let mut free = self.draft.online.clone();
        let mut by_depth: Vec<(usize, usize)> =
            (0..found.len()).map(|at| (found[at].1, at)).collect();
        by_depth.sort_unstable();
        let mut nodes = Vec::new();
        for (_, at) in by_depth {
            let (_, _, order, index) = found[at];
            let depth = memories[order].depth;
            let objects = depth
                .checked_sub(1)
                .map_or(1, |above| self.levels[above].total);
            let cpus = &self.cpus(objects, index) & &free;
            free = &free - &cpus;
            let memory = memories[order].memory;
            let id = u32::try_from(ids[at]).unwrap_or(u32::MAX);
            nodes.push(DraftNode {
                id,
                cpus,
                memory,
                distances: Vec::new(),
            });
        }
        self.draft.nodes = nodes;
        Ok(())
    }
}

fn default_size(level: u8) -> u64 {
    if level == 1 {
        32 << 10
    } else {
        (256 << 10) << (2 * level)
    }
}

/// Returns the kernel's numbers of the objects of the level at `depth`.
fn numbers(levels: &[Level], depth: usize) -> Result<Vec<usize>, Error> {
    let level = &levels[depth];
    expand(levels, level.indexes.as_ref(), level.total, level.total)
}

/// Returns the numbers of the nodes; `indexes` may stand with the only kind of node there is.
fn node_numbers(
    levels: &[Level],
    memories: &[parse::Memory],
    count: usize,
) -> Result<Vec<usize>, Error> {
    let mut with_indexes = memories.iter().filter_map(|memory| memory.indexes.as_ref());
    let indexes = with_indexes.next();
    match (indexes, memories.len()) {
        (Some(indexes), 2..) => {
            let what = "indexes of nodes are only understood where there is one kind of node";
            Err(Error::Synthetic {
                position: indexes.position,
                what: what.into(),
            })
        }
        _ => expand(levels, indexes, count, count),
    }
}

/// Turns `indexes` into a number for each of `count` objects: a permutation-like list without
/// repeats.
fn expand(
    levels: &[Level],
    indexes: Option<&Indexes>,
    count: usize,
    width: usize,
) -> Result<Vec<usize>, Error> {
    let Some(indexes) = indexes else {
        return Ok((0..count).collect());
    };
    let error = |what: String| Error::Synthetic {
        position: indexes.position,
        what,
    };
    let list = match &indexes.form {
        parse::Form::List(list) => list.clone(),
        parse::Form::Loops(loops) => run_loops(loops, count).map_err(error)?,
        parse::Form::Along(kinds) => {
            let loops = loops_along(levels, kinds, width).map_err(error)?;
            run_loops(&loops, count).map_err(error)?
        }
    };
    if list.len() != count {
        return Err(error(format!("{} indexes for {count} objects", list.len())));
    }
    if let Some(&large) = list.iter().find(|&&id| id > CpuSet::MAX_PARSED) {
        return Err(error(format!(
            "index {large} is above {}",
            CpuSet::MAX_PARSED
        )));
    }
    let mut sorted = list.clone();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(error(format!("index {} is there twice", pair[0]))),
        None => Ok(list),
    }
}

/// Runs loops, each a digit of the number: `(position / step) % count`, the first the least
/// significant.
fn run_loops(loops: &[(usize, usize)], count: usize) -> Result<Vec<usize>, String> {
    let mut loops = loops.to_vec();
    let product = |loops: &[(usize, usize)]| {
        loops
            .iter()
            .try_fold(1usize, |all, &(_, count)| all.checked_mul(count))
    };
    let covered = product(&loops).filter(|&covered| covered != 0 && covered <= count);
    let Some(covered) = covered else {
        return Err(format!("the loops give other than {count} indexes"));
    };
    let smallest = loops.iter().map(|&(step, _)| step).min().unwrap_or(1);
    // Objects within the smallest step are numbered last, without being named.
    if covered != count && smallest.checked_mul(covered) == Some(count) {
        loops.push((1, smallest));
    } else if covered != count {
        return Err(format!(
            "the loops give {covered} indexes for {count} objects"
        ));
    }
    let mut numbers = vec![0; count];
    let mut weight = 1;
    for (step, times) in loops {
        for (position, number) in numbers.iter_mut().enumerate() {
            *number += (position / step) % times * weight;
        }
        weight *= times;
    }
    Ok(numbers)
}

/// Returns the loops that number objects along levels: the first level varies fastest.
fn loops_along(
    levels: &[Level],
    kinds: &[Kind],
    count: usize,
) -> Result<Vec<(usize, usize)>, String> {
    let totals = kinds.iter().map(|kind| {
        let level = levels.iter().find(|level| level.kind == *kind);
        let total = level
            .map(|level| level.total)
            .filter(|total| count.is_multiple_of(*total));
        total.ok_or_else(|| format!("no level above these objects is a {kind:?}"))
    });
    let totals: Vec<usize> = totals.collect::<Result<_, _>>()?;
    let outer = |total: usize| {
        totals
            .iter()
            .copied()
            .filter(|&other| other < total)
            .max()
            .unwrap_or(1)
    };
    Ok(totals
        .iter()
        .map(|&total| (count / total, total / outer(total)))
        .collect())
}

/// Returns what a level of caches is; used by the parser.
pub(crate) fn cache(level: u8, kind: CacheKind) -> Kind {
    Kind::Cache { level, kind }
}
