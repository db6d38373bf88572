//! The nodes of a draft made whole: default distances, a node for every CPU, order by id.

use super::super::Node;
use super::{Draft, DraftNode};
use crate::note::Notes;
use crate::{CpuSet, Error};
use std::path::{Path, PathBuf};

/// The SLIT's own unit: a node's distance from itself.
const LOCAL: u32 = 10;
/// What the kernel assumes between two nodes when firmware gives no SLIT.
const REMOTE: u32 = 20;

/// What is assumed of nodes without distances, or with a table that contradicts itself.
pub(in crate::topology) const ASSUMED_DISTANCES: &str =
    "distances of 10 within a node and 20 between were assumed";

/// Builds the nodes in order of their ids.
pub(super) fn finish(
    draft: &mut Draft,
    place: &Path,
    notes: &mut Notes,
) -> Result<Vec<Node>, Error> {
    let mut drafts = std::mem::take(&mut draft.nodes);
    if drafts.is_empty() {
        notes.unsaid(None, "no NUMA nodes are described", "one node was assumed");
        drafts.push(DraftNode {
            id: 0,
            cpus: draft.online.clone(),
            memory: draft.memory,
            distances: vec![LOCAL],
        });
    }
    let root = draft.node_root.take();
    let file = |name: &str| {
        root.as_ref()
            .map_or_else(|| place.into(), |root| root.join(name))
    };
    house_all(draft, &mut drafts, &file("online"), notes)?;
    let count = drafts.len();
    if drafts.iter().all(|node| node.distances.is_empty()) {
        if count > 1 {
            notes.unsaid(None, "no NUMA distances are described", ASSUMED_DISTANCES);
        }
        assume_distances(&mut drafts);
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|&index| drafts[index].id);
    let mut nodes: Vec<Node> = Vec::new();
    for &index in &order {
        let DraftNode {
            id,
            cpus,
            memory,
            distances,
        } = &drafts[index];
        if distances.len() != count {
            let what = format!(
                "node {id} gives {} distances for {count} nodes",
                distances.len()
            );
            return Err(Error::inconsistent(place, what));
        }
        if nodes.last().is_some_and(|node| node.id == *id) {
            return Err(Error::inconsistent(
                place,
                format!("node {id} is there twice"),
            ));
        }
        let distances = order.iter().map(|&to| distances[to]).collect();
        nodes.push(Node {
            id: *id,
            cpus: cpus.clone(),
            memory: *memory,
            distances,
        });
    }
    check_distances(&mut nodes, file, notes)?;
    Ok(nodes)
}

/// Assigns to every CPU without a node that of a CPU in its package, else a node that its package's
/// CPUs have to themselves (T1).
fn house_all(
    draft: &Draft,
    nodes: &mut Vec<DraftNode>,
    place: &Path,
    notes: &mut Notes,
) -> Result<(), Error> {
    let housed = nodes
        .iter()
        .fold(CpuSet::new(), |all, node| &all | &node.cpus);
    let homeless = &draft.online - &housed;
    if homeless.is_empty() {
        return Ok(());
    }
    let what = format!("CPU {} is in no node", homeless.first().unwrap_or(0));
    let doubt = Error::inconsistent(place, what);
    notes.doubt(
        doubt,
        "CPUs without a node were given that of their package, or one of their own",
    )?;
    for package in &draft.packages {
        let cpus = &package.cpus & &homeless;
        let known = &package.cpus - &cpus;
        if cpus.is_empty() {
            continue;
        }
        let near = nodes.iter_mut().find(|node| !node.cpus.is_disjoint(&known));
        if let Some(node) = near {
            node.cpus = &node.cpus | &cpus;
            continue;
        }
        let free = |id: &u32| nodes.iter().all(|node| node.id != *id);
        let id = (0..).find(free).unwrap_or(u32::MAX);
        let described = nodes.iter().any(|node| !node.distances.is_empty());
        let mut distances = Vec::new();
        if described {
            nodes
                .iter_mut()
                .for_each(|node| node.distances.push(REMOTE));
            distances.resize(nodes.len(), REMOTE);
            distances.push(LOCAL);
        }
        nodes.push(DraftNode {
            id,
            cpus,
            memory: Some(0),
            distances,
        });
    }
    Ok(())
}

fn assume_distances(drafts: &mut [DraftNode]) {
    let count = drafts.len();
    for (index, node) in drafts.iter_mut().enumerate() {
        node.distances = (0..count)
            .map(|to| if to == index { LOCAL } else { REMOTE })
            .collect();
    }
}

/// Replaces a table in which a node is nearer to another than to itself.
fn check_distances(
    nodes: &mut [Node],
    file: impl Fn(&str) -> PathBuf,
    notes: &mut Notes,
) -> Result<(), Error> {
    let strange = |(index, node): (usize, &Node)| {
        let own = node.distances[index];
        let other = node.distances.iter().position(|&distance| distance < own)?;
        Some((node.id, other))
    };
    let Some((id, other)) = nodes.iter().enumerate().find_map(strange) else {
        return Ok(());
    };
    let what = format!(
        "node {id} is nearer to node {} than to itself",
        nodes[other].id
    );
    let path = file(&format!("node{id}/distance"));
    notes.doubt(Error::inconsistent(&path, what), ASSUMED_DISTANCES)?;
    for (index, node) in nodes.iter_mut().enumerate() {
        for (to, distance) in node.distances.iter_mut().enumerate() {
            *distance = if to == index { LOCAL } else { REMOTE };
        }
    }
    Ok(())
}
