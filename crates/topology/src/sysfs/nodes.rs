//! NUMA nodes, their CPUs, memory and distances.

use super::files::{Files, Found};
use crate::bounded::{PROC_LIMIT, SYSFS_LIMIT, numbered, optional, read as read_text};
use crate::error::quoted;
use crate::topology::{Draft, DraftNode};
use crate::{CpuSet, Error};
use std::path::Path;

/// Reads the nodes into the draft; none, for a kernel without NUMA.
pub(super) fn read(files: &mut Files<'_>, draft: &mut Draft) -> Result<(), Error> {
    let root = files.node_root();
    let Some(ids) = find(files, &root)? else {
        let path = files.root.join("proc/meminfo");
        let memory = optional(memory(&path, PROC_LIMIT));
        draft.memory = files.notes.accept(memory, UNKNOWN)?.flatten();
        return Ok(());
    };
    draft.node_root = Some(root.clone());
    let gpus = gpu_nodes(files);
    let mut taken = CpuSet::new();
    let mut rows = Vec::new();
    let mut kept = Vec::new();
    for (position, id) in ids.iter().enumerate() {
        let at = root.join(format!("node{id}"));
        let cpus = match files.cpus(&at, &[("cpulist", "cpumap")])? {
            Some(found) => {
                let path = at.join(&*found.file);
                own(files, &path, &found, &mut taken)?
            }
            None => {
                let doubt = Error::read(&at.join("cpulist"), &std::io::ErrorKind::NotFound.into());
                files.notes.doubt(doubt, "the node was left out")?;
                None
            }
        };
        let row = distances(&at.join("distance"), ids.len());
        rows.push(files.notes.accept(row, ASSUMED)?);
        let Some(cpus) = cpus else {
            continue;
        };
        if gpus.contains(id) && cpus.is_empty() {
            let found = "the node is the memory of a GPU (/proc/driver/nvidia)";
            files.notes.unsaid(Some(&at), found, "it was left out");
            continue;
        }
        let memory = memory(&at.join("meminfo"), SYSFS_LIMIT);
        let memory = files.notes.accept(memory, UNKNOWN)?;
        kept.push(position);
        draft.nodes.push(DraftNode {
            id: u32::try_from(id).unwrap_or(u32::MAX),
            cpus,
            memory,
            distances: Vec::new(),
        });
    }
    let Some(rows) = rows.into_iter().collect::<Option<Vec<Vec<u32>>>>() else {
        return Ok(());
    };
    for (node, &position) in draft.nodes.iter_mut().zip(&kept) {
        node.distances = kept.iter().map(|&to| rows[position][to]).collect();
    }
    Ok(())
}

/// Returns the nodes that are memory of a GPU, which the kernel gives out like any other.
fn gpu_nodes(files: &Files<'_>) -> CpuSet {
    let node = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path().join("numa_status");
        let text = read_text(&path, SYSFS_LIMIT).ok()?;
        let (_, after) = text.split_once("Node:")?;
        let node: usize = after.split_whitespace().next()?.parse().ok()?;
        Some(node).filter(|&node| node <= CpuSet::MAX_PARSED)
    };
    let directory = std::fs::read_dir(files.root.join("proc/driver/nvidia/gpus"));
    directory.into_iter().flatten().filter_map(node).collect()
}

const UNKNOWN: &str = "how much memory there is was taken to be unknown";
const ASSUMED: &str = "distances of 10 within a node and 20 between were assumed";

/// Returns the numbers of the nodes that are online; `None` for a kernel without nodes.
fn find(files: &mut Files<'_>, root: &Path) -> Result<Option<CpuSet>, Error> {
    const SCANNED: &str = "the nodes with a directory were taken";
    let there = files
        .notes
        .accept(numbered(root, "node"), "no node was looked at")?;
    let there: CpuSet = there.flatten().unwrap_or_default().into_iter().collect();
    let path = root.join("online");
    match files.list(&path) {
        Ok(online) if online.is_empty() => {
            let doubt = Error::malformed(&path, "the list is empty: no node is online");
            files.notes.doubt(doubt, SCANNED)?;
        }
        Ok(online) => {
            if let Some(id) = (&there - &online).first() {
                let directory = root.join(format!("node{id}"));
                let doubt =
                    Error::inconsistent(&directory, format!("node {id} is not online ({online})"));
                files
                    .notes
                    .doubt(doubt, "nodes that are not online were left out")?;
            }
            let lacking = &online - &there;
            let Some(id) = lacking.first() else {
                return Ok(Some(online));
            };
            let directory = root.join(format!("node{id}"));
            let doubt = Error::read(&directory, &std::io::ErrorKind::NotFound.into());
            files
                .notes
                .doubt(doubt, "nodes without a directory were left out")?;
            return Ok(Some(&online & &there).filter(|set| !set.is_empty()));
        }
        Err(error) if error.is_missing() => {}
        Err(error) => files.notes.doubt(error, SCANNED)?,
    }
    Ok(Some(there).filter(|set| !set.is_empty()))
}

/// Returns, of the CPUs a node claims, those that are online and that no node before it has; `None`
/// for a node whose online CPUs all belong to others.
fn own(
    files: &mut Files<'_>,
    path: &Path,
    claimed: &Found,
    taken: &mut CpuSet,
) -> Result<Option<CpuSet>, Error> {
    if let Some(cpu) = claimed.foreign {
        let what = format!("CPU {cpu} is named and is not online ({})", files.online);
        let doubt = Error::inconsistent(path, what);
        files
            .notes
            .doubt(doubt, "CPUs that are not online were left out")?;
    }
    let mut cpus = CpuSet::clone(&claimed.cpus);
    if let Some(cpu) = (&cpus & &*taken).first() {
        let free = &cpus - &*taken;
        let doubt = Error::inconsistent(path, format!("CPU {cpu} is in another node too"));
        let assumed = match free.is_empty() {
            true => "the node was left out, because others have all its CPUs",
            false => "the CPU belongs to the node with the lower number",
        };
        files.notes.doubt(doubt, assumed)?;
        if free.is_empty() {
            return Ok(None);
        }
        cpus = free;
    }
    *taken = &*taken | &cpus;
    Ok(Some(cpus))
}

/// Reads SLIT distances, in the order of the online nodes; each 1 to 254, as firmware tables hold
/// them in a byte and 255 means unreachable.
fn distances(path: &Path, count: usize) -> Result<Vec<u32>, Error> {
    let text = read_text(path, SYSFS_LIMIT)?;
    let distance = |word: &str| {
        let number = word
            .parse::<u32>()
            .ok()
            .filter(|distance| (1..=255).contains(distance));
        number.ok_or_else(|| {
            let what = format!("{} is not a distance of 1 to 255", quoted(word));
            Error::malformed(path, what)
        })
    };
    let row: Vec<u32> = text
        .split_whitespace()
        .map(distance)
        .collect::<Result<_, _>>()?;
    match row.len() == count {
        true => Ok(row),
        false => {
            let what = format!("{} distances for {count} nodes", row.len());
            Err(Error::inconsistent(path, what))
        }
    }
}

/// Reads the bytes of the line `Node 0 MemTotal:  1234 kB`.
fn memory(path: &Path, limit: usize) -> Result<u64, Error> {
    let text = read_text(path, limit)?;
    let line = text.lines().find_map(|line| line.split_once("MemTotal:"));
    let number = line.and_then(|(_, rest)| rest.trim().strip_suffix("kB"));
    let bytes = number
        .and_then(|n| n.trim().parse::<u64>().ok())
        .and_then(|n| n.checked_mul(1024));
    bytes.ok_or_else(|| Error::malformed(path, "no line \"MemTotal: N kB\""))
}
