//! Linux: `/sys`, then the affinity mask and the cgroups.

use crate::{Error, Limits, Topology};

/// How often a tree with doubts is read: CPUs that go on or off line while it is read make it
/// contradict itself, and such changes take milliseconds each.
const ATTEMPTS: u32 = 3;

pub(super) fn detect() -> Result<Topology, Error> {
    let mut result = Topology::from_sysfs("/");
    for _ in 1..ATTEMPTS {
        if result
            .as_ref()
            .is_ok_and(|topology| topology.notes().is_empty())
        {
            break;
        }
        let again = Topology::from_sysfs("/");
        let settled = result == again;
        result = again;
        if settled {
            break;
        }
    }
    let limits = Limits::read();
    limits.affinity().as_ref().map_err(Clone::clone)?;
    result?.with_limits(&limits)
}
