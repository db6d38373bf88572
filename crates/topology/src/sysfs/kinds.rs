//! Which cores are the small ones, from the first of four sources that tells CPUs apart
//! (`draft.rs`).

use super::files::Files;
use crate::topology::{Draft, KindSource};
use crate::{CpuSet, Error};

/// Reads what there is about kinds of cores into the draft.
pub(super) fn read(files: &mut Files<'_>, draft: &mut Draft) -> Result<(), Error> {
    let mut small: Option<CpuSet> = None;
    for name in ["cpu_atom", "cpu_lowpower"] {
        let path = files.root.join("sys/devices").join(name).join("cpus");
        let cpus = crate::bounded::optional(files.list(&path));
        if let Some(cpus) = files
            .notes
            .accept(cpus, "the next source was taken")?
            .flatten()
        {
            small = Some(&small.unwrap_or_default() | &cpus);
        }
    }
    draft.efficiency = small;
    let root = files.cpu_root();
    for (source, file) in [
        (KindSource::Capacity, "cpu_capacity"),
        (KindSource::HighestPerf, "acpi_cppc/highest_perf"),
        (KindSource::BaseFrequency, "cpufreq/base_frequency"),
    ] {
        // A source that the first CPU lacks is one that none has.
        let mut ranks = Vec::new();
        for cpu in draft.online.iter() {
            let path = root.join(format!("cpu{cpu}/{file}"));
            let rank = files.number::<u32>(&path, "this CPU is not ranked")?;
            if rank.is_none() && ranks.is_empty() {
                break;
            }
            ranks.extend(rank.filter(|&rank| rank > 0).map(|rank| (cpu, rank)));
        }
        draft.ranks.insert(source, ranks.into_iter().collect());
    }
    Ok(())
}
