//! What the memory of nodes without CPUs is, and which nodes reach it best.
//!
//! | file | gives |
//! |------|-------|
//! | `bus/dax/devices/*/target_node`, and where that link leads | CXL and persistent memory |
//! | `nodeN/access0/initiators/read_bandwidth` | high-bandwidth memory, beside others |
//! | `nodeN/access0/initiators/nodeM` | the nodes that reach it best |
//!
//! All of it is optional: without it the memory is [`MemoryKind::Other`], and distances tell what
//! is near.

use super::files::Files;
use crate::bounded::numbered;
use crate::topology::{Draft, DraftMemory, MemoryKind};
use crate::{CpuSet, Error};
use std::collections::BTreeMap;

/// Memory counts as of high bandwidth from five quarters of that of the fastest node with CPUs on.
const HIGHER: (u64, u64) = (5, 4);

/// Reads the kinds of memory of the draft's nodes.
pub(super) fn read(files: &mut Files<'_>, draft: &mut Draft) -> Result<(), Error> {
    if draft.nodes.iter().all(|node| !node.cpus.is_empty()) {
        return Ok(());
    }
    let devices = devices(files);
    let root = files.node_root();
    let mut bandwidths: BTreeMap<u32, u64> = BTreeMap::new();
    for node in &draft.nodes {
        let path = root.join(format!("node{}/access0/initiators/read_bandwidth", node.id));
        let bandwidth = files.number::<u64>(&path, "its bandwidth is not known")?;
        bandwidths.extend(bandwidth.map(|bandwidth| (node.id, bandwidth)));
    }
    let with_cpus = draft.nodes.iter().filter(|node| !node.cpus.is_empty());
    let main = with_cpus
        .filter_map(|node| bandwidths.get(&node.id))
        .max()
        .copied();
    for node in draft.nodes.iter().filter(|node| node.cpus.is_empty()) {
        let higher = bandwidths
            .get(&node.id)
            .zip(main)
            .is_some_and(|(&own, main)| {
                own.saturating_mul(HIGHER.1) > main.saturating_mul(HIGHER.0)
            });
        let kind = match devices.get(&node.id) {
            Some(&kind) => kind,
            None if higher => MemoryKind::HighBandwidth,
            None => MemoryKind::Other,
        };
        let initiators = root.join(format!("node{}/access0/initiators", node.id));
        let initiators = files
            .notes
            .accept(numbered(&initiators, "node"), "distances tell what is near")?;
        let initiators: CpuSet = initiators
            .flatten()
            .unwrap_or_default()
            .into_iter()
            .collect();
        draft
            .memories
            .insert(node.id, DraftMemory { kind, initiators });
    }
    Ok(())
}

/// Returns the nodes that are memory of a device, by what the device's path says of it.
fn devices(files: &Files<'_>) -> BTreeMap<u32, MemoryKind> {
    let device = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path().canonicalize().ok()?;
        let node: u32 = super::files::number(&path.join("target_node")).ok()?;
        let path = path.to_string_lossy();
        match () {
            () if path.contains("/cxl") || path.contains("/ACPI0017") => {
                Some((node, MemoryKind::Cxl))
            }
            () if path.contains("/ndbus") => Some((node, MemoryKind::Persistent)),
            () => None,
        }
    };
    let directory = std::fs::read_dir(files.root.join("sys/bus/dax/devices"));
    directory.into_iter().flatten().filter_map(device).collect()
}
