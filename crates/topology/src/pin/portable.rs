//! Systems other than Linux: what `core_affinity` offers, one CPU and no way to read it back.
//!
//! A1 holds here only as far as the system keeps its word; macOS takes the CPU as a hint.

use super::{PinError, Pinned};
use crate::CpuSet;

/// One past the largest CPU number asked for: Windows binds within a group of 64, and the other
/// systems' fixed sets are larger.
const LIMIT: usize = 64;

pub(super) fn pin(cpus: &CpuSet) -> Result<Pinned, PinError> {
    let cpu = cpus.first().unwrap_or(0);
    let Some(id) = cpus.single() else {
        return Err(PinError::Unsupported {
            cpu,
            what: "only one CPU can be bound to on this system",
        });
    };
    if id >= LIMIT {
        return Err(PinError::Unsupported {
            cpu,
            what: "the CPU number is above what can be bound to",
        });
    }
    if !core_affinity::set_for_current(core_affinity::CoreId { id }) {
        return Err(PinError::Unsupported {
            cpu,
            what: "the system refused and gave no reason",
        });
    }
    let known = core_affinity::get_core_ids().unwrap_or_default();
    let before = known.iter().map(|core| core.id).collect();
    Ok(Pinned {
        before,
        now: cpus.clone(),
    })
}
