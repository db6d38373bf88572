//! The live machine once more, by walking `hwloc2`'s objects, to check what the XML was read as.
//!
//! Only the sound part of the crate is touched: levels above the hardware threads reached by
//! `parent()`, their types, and the numbers and bitmaps of threads, which are copied out at once.

use crate::{CpuSet, Error, Topology};
use hwloc2::{ObjectType, TopologyFlag, TopologyObject};

/// Compares packages, dies, cores and L2 and L3 caches: each CPU must have the same companions.
pub(super) fn check(topology: &Topology) -> Result<(), Error> {
    let machine = hwloc2::Topology::with_flags(vec![TopologyFlag::IncludeDisallowed]);
    let machine = machine.ok_or_else(|| Error::Hwloc {
        what: "hwloc2 could not read the machine".into(),
    })?;
    let Some(threads) = machine.depth().checked_sub(1) else {
        return Err(Error::Hwloc {
            what: "hwloc2 sees no hardware threads".into(),
        });
    };
    let mut seen = CpuSet::new();
    // Hardware threads are always the deepest of the normal levels.
    for thread in machine.objects_at_depth(threads) {
        let id = thread.os_index() as usize;
        seen.insert(id);
        let disagree = |level: &str, theirs: &CpuSet, ours: &CpuSet| {
            let what = format!("CPU {id}: hwloc2 has {level} {theirs}, the XML {ours}");
            if theirs == ours {
                Ok(())
            } else {
                Err(Error::Hwloc { what })
            }
        };
        let Some(cpu) = topology.cpu(id) else {
            return Err(Error::Hwloc {
                what: format!("CPU {id} is in hwloc2's view and not in the XML"),
            });
        };
        let mut above = thread.parent();
        while let Some(object) = above {
            let cpus = set(object);
            match object.object_type() {
                ObjectType::Core => disagree("core", &cpus, &topology.cores()[cpu.core].cpus)?,
                ObjectType::Die => disagree("die", &cpus, &topology.dies()[cpu.die].cpus)?,
                ObjectType::Package => {
                    disagree("package", &cpus, &topology.packages()[cpu.package].cpus)?;
                }
                ObjectType::L2Cache | ObjectType::L3Cache => {
                    let level = if object.object_type() == ObjectType::L2Cache {
                        2
                    } else {
                        3
                    };
                    let ours = topology
                        .data_cache(cpu, level)
                        .map(|cache| cache.cpus.clone());
                    disagree("cache", &cpus, &ours.unwrap_or_default())?;
                }
                _ => {}
            }
            above = object.parent();
        }
    }
    if &seen == topology.online() {
        return Ok(());
    }
    let what = format!("hwloc2 sees CPUs {seen}, the XML has {}", topology.online());
    Err(Error::Hwloc { what })
}

/// Copies an object's set. The bitmap points into the library's tree and has no lifetime, so it
/// does not outlive this function; an infinite one (weight −1) would never end and counts as empty.
fn set(object: &TopologyObject) -> CpuSet {
    match object.cpuset() {
        Some(bitmap) if bitmap.weight() >= 0 => {
            bitmap.into_iter().map(|cpu| cpu as usize).collect()
        }
        _ => CpuSet::new(),
    }
}
