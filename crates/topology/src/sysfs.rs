//! The default reader: Linux's `/sys`, live or a captured copy, in plain Rust.
//!
//! # What is read, under a root directory
//! | file | gives | if missing |
//! |------|-------|------------|
//! | `devices/system/cpu/online` | the CPUs | error |
//! | `devices/system/cpu/present` | with `online`, the CPUs that are switched off | none are |
//! | `cpuN/topology/physical_package_id` | packages | error |
//! | `cpuN/topology/die_id` | dies | one per package |
//! | `cpuN/topology/cluster_id` | clusters | shared L2s count (T3) |
//! | `cpuN/topology/core_id` | the core's number | error |
//! | `cpuN/topology/core_cpus_list`, else `thread_siblings_list` | cores | error |
//! | `cpuN/cache/indexI/{level,type,shared_cpu_list}` | caches | none, with a note |
//! | `cpuN/cache/indexI/size` | their sizes | unknown |
//! | `cpuN/cpu_capacity`, `devices/{cpu_atom,cpu_lowpower}/cpus` | kinds of cores | all performance |
//! | `devices/system/node/online`, `nodeN/{cpulist,distance,meminfo}` | NUMA nodes | one node, with a note |
//!
//! A file that is there and can't be understood is always an error with its path. A file that may be
//! missing may be missing for every CPU, or for some.
//!
//! # Changes while reading
//! CPUs go on and off line. A tree read across such a change can contradict itself; the caller for the
//! live machine (`detect/linux.rs`) then reads again.
//!
//! # References
//! Linux, Documentation/ABI/stable/sysfs-devices-system-cpu, -node; Documentation/admin-guide/cputopology.rst.

use crate::bounded::{SYSFS_LIMIT, numbered, optional, read, under};
use crate::topology::{Draft, DraftCache, DraftNode, Group};
use crate::{CacheKind, CpuSet, Error, Source, Topology};
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

const CPU: &str = "sys/devices/system/cpu";
const NODE: &str = "sys/devices/system/node";

impl Topology {
    /// Reads the `/sys` tree below `root`: `/` for the live machine, or the directory that holds the
    /// `sys` of a captured one. All online CPUs count as allowed.
    ///
    /// # Errors
    /// A file that is missing though it must be there, that can't be read or understood, or that
    /// contradicts another; always with its path.
    pub fn from_sysfs(root: impl AsRef<Path>) -> Result<Self, Error> {
        let root = root.as_ref();
        let mut draft = Draft::default();
        let cpu_root = root.join(CPU);
        read_masks(&cpu_root, &mut draft)?;
        read_cpus(&cpu_root, &mut draft)?;
        read_kinds(root, &mut draft)?;
        read_nodes(&root.join(NODE), &mut draft)?;
        draft.finish(Source::Sysfs(root.into()), &cpu_root)
    }
}

/// A file that holds a list of CPUs or nodes.
fn list(path: &Path) -> Result<CpuSet, Error> {
    let text = read(path, SYSFS_LIMIT)?;
    text.parse()
        .map_err(|e| Error::malformed(path, format!("not a list of CPUs, {e}")))
}

/// A file that holds one number.
fn number<T: FromStr>(path: &Path) -> Result<T, Error> {
    let text = read(path, SYSFS_LIMIT)?;
    text.parse()
        .map_err(|_| Error::malformed(path, format!("{text:?} is not a number in range")))
}

/// An id that the kernel gives as −1, or as 65535, where it does not know it.
fn id(path: &Path) -> Result<Option<u32>, Error> {
    Ok(u32::try_from(number::<i64>(path)?)
        .ok()
        .filter(|&id| id != 65535))
}

fn read_masks(cpu_root: &Path, draft: &mut Draft) -> Result<(), Error> {
    let path = cpu_root.join("online");
    draft.online = list(&path)?;
    if draft.online.is_empty() {
        return Err(Error::malformed(
            &path,
            "the list is empty: no CPU is online",
        ));
    }
    let present = optional(list(&cpu_root.join("present")))?;
    draft.offline = &present.unwrap_or_default() - &draft.online;
    let largest = optional(number::<usize>(&cpu_root.join("kernel_max")))?;
    match (largest, draft.online.last()) {
        (Some(largest), Some(last)) if last > largest => {
            let what = format!("CPU {last} is above the kernel's largest number, {largest}");
            Err(Error::inconsistent(&path, what))
        }
        _ => Ok(()),
    }
}

/// What one CPU says of the levels above it, before they are put together.
#[derive(Default)]
struct Levels {
    packages: BTreeMap<Option<u32>, CpuSet>,
    dies: BTreeMap<(Option<u32>, u32), CpuSet>,
    /// By package, die and cluster: firmware may number clusters anew in every die.
    clusters: BTreeMap<(Option<u32>, Option<u32>, u32), CpuSet>,
}

fn read_cpus(cpu_root: &Path, draft: &mut Draft) -> Result<(), Error> {
    let mut levels = Levels::default();
    let mut without_caches = CpuSet::new();
    for cpu in draft.online.clone().iter() {
        let directory = cpu_root.join(format!("cpu{cpu}"));
        read_topology(&directory.join("topology"), cpu, &mut levels, draft)?;
        if !read_caches(&directory.join("cache"), cpu, draft)? {
            without_caches.insert(cpu);
        }
        if let Some(capacity) = optional(number(&directory.join("cpu_capacity")))? {
            draft.capacities.insert(cpu, capacity);
        }
    }
    if !without_caches.is_empty() {
        draft.notes.push(format!(
            "No caches are described for CPUs {without_caches}."
        ));
    }
    draft.packages = levels
        .packages
        .into_iter()
        .map(|(id, cpus)| Group { id, cpus })
        .collect();
    draft.dies = levels.dies.into_values().collect();
    draft.clusters = levels.clusters.into_values().collect();
    Ok(())
}

fn read_topology(
    directory: &Path,
    cpu: usize,
    levels: &mut Levels,
    draft: &mut Draft,
) -> Result<(), Error> {
    let package = id(&directory.join("physical_package_id"))?;
    levels.packages.entry(package).or_default().insert(cpu);
    let die = optional(id(&directory.join("die_id")))?.flatten();
    if let Some(die) = die {
        levels.dies.entry((package, die)).or_default().insert(cpu);
    }
    if let Some(cluster) = optional(id(&directory.join("cluster_id")))?.flatten() {
        levels
            .clusters
            .entry((package, die, cluster))
            .or_default()
            .insert(cpu);
    }
    let path = directory.join("core_cpus_list");
    let (path, cpus) = match optional(list(&path))? {
        Some(cpus) => (path, cpus),
        None => {
            // The name before Linux 5.3, still there.
            let path = directory.join("thread_siblings_list");
            let cpus = list(&path)?;
            (path, cpus)
        }
    };
    check_members(&path, &cpus, cpu, &draft.online)?;
    draft.cores.push(Group {
        id: id(&directory.join("core_id"))?,
        cpus,
    });
    Ok(())
}

/// A list that `cpu` gives of those it shares something with names itself and only online CPUs.
fn check_members(path: &Path, cpus: &CpuSet, cpu: usize, online: &CpuSet) -> Result<(), Error> {
    if !cpus.contains(cpu) {
        return Err(Error::inconsistent(
            path,
            format!("{cpus} does not name CPU {cpu} itself"),
        ));
    }
    match (cpus - online).first() {
        Some(other) => {
            let what = format!("CPU {other} is named but not online ({online})");
            Err(Error::inconsistent(path, what))
        }
        None => Ok(()),
    }
}

/// Reads the caches of a CPU; false if none are described.
fn read_caches(directory: &Path, cpu: usize, draft: &mut Draft) -> Result<bool, Error> {
    let indexes = numbered(directory, "index")?.unwrap_or_default();
    for index in &indexes {
        let cache = directory.join(format!("index{index}"));
        let level = cache.join("level");
        let path = cache.join("type");
        let kind = match read(&path, SYSFS_LIMIT)?.as_str() {
            "Data" => CacheKind::Data,
            "Instruction" => CacheKind::Instruction,
            "Unified" => CacheKind::Unified,
            other => {
                let what = format!("{other:?} is not Data, Instruction or Unified");
                return Err(Error::malformed(&path, what));
            }
        };
        let path = cache.join("shared_cpu_list");
        let cpus = list(&path)?;
        check_members(&path, &cpus, cpu, &draft.online)?;
        let size = optional(size(&cache.join("size")))?;
        draft.caches.push(DraftCache {
            level: number(&level)?,
            kind,
            size,
            cpus,
        });
    }
    Ok(!indexes.is_empty())
}

/// A size in bytes, as `32K`, `8M` or a plain number.
fn size(path: &Path) -> Result<u64, Error> {
    let text = read(path, SYSFS_LIMIT)?;
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text.as_str(), 1),
    };
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| Error::malformed(path, format!("{text:?} is not a size such as 32K")))
}

/// Intel's hybrid machines name their small cores; others only rank CPUs by capacity.
fn read_kinds(root: &Path, draft: &mut Draft) -> Result<(), Error> {
    let mut small: Option<CpuSet> = None;
    for name in ["cpu_atom", "cpu_lowpower"] {
        let path = under(root, "sys/devices").join(name).join("cpus");
        if let Some(cpus) = optional(list(&path))? {
            small = Some(&small.unwrap_or_default() | &cpus);
        }
    }
    draft.efficiency = small;
    Ok(())
}

fn read_nodes(directory: &Path, draft: &mut Draft) -> Result<(), Error> {
    let path = directory.join("online");
    let Some(online) = optional(list(&path))? else {
        return Ok(()); // a kernel without NUMA; `finish` assumes one node and says so
    };
    if online.is_empty() {
        return Err(Error::malformed(
            &path,
            "the list is empty: no node is online",
        ));
    }
    for id in online.iter() {
        let node = directory.join(format!("node{id}"));
        let path = node.join("cpulist");
        let cpus = list(&path)?;
        if let Some(cpu) = (&cpus - &draft.online).first() {
            let what = format!("CPU {cpu} is named but not online ({})", draft.online);
            return Err(Error::inconsistent(&path, what));
        }
        let path = node.join("distance");
        let distances = distances(&path)?;
        if distances.len() != online.len() {
            let what = format!("{} distances for {} nodes", distances.len(), online.len());
            return Err(Error::inconsistent(&path, what));
        }
        let memory = Some(memory(&node.join("meminfo"))?);
        let id = u32::try_from(id).unwrap_or(u32::MAX);
        draft.nodes.push(DraftNode {
            id,
            cpus,
            memory,
            distances,
        });
    }
    Ok(())
}

/// SLIT distances, in the order of the online nodes; each 1 to 254, as firmware tables hold them in
/// a byte and 255 means unreachable.
fn distances(path: &Path) -> Result<Vec<u32>, Error> {
    let text = read(path, SYSFS_LIMIT)?;
    let distance = |word: &str| {
        let number = word
            .parse::<u32>()
            .ok()
            .filter(|distance| (1..=255).contains(distance));
        number.ok_or_else(|| {
            Error::malformed(path, format!("{word:?} is not a distance of 1 to 255"))
        })
    };
    text.split_whitespace().map(distance).collect()
}

/// The bytes of the line `Node 0 MemTotal:  1234 kB`.
fn memory(path: &Path) -> Result<u64, Error> {
    let text = read(path, SYSFS_LIMIT)?;
    let line = text.lines().find_map(|line| line.split_once("MemTotal:"));
    let number = line.and_then(|(_, rest)| rest.trim().strip_suffix("kB"));
    let bytes = number
        .and_then(|n| n.trim().parse::<u64>().ok())
        .and_then(|n| n.checked_mul(1024));
    bytes.ok_or_else(|| Error::malformed(path, "no line \"MemTotal: N kB\""))
}
