//! Linux: `/sys`, then the affinity mask and the cgroups.

use crate::{Error, Limits, Topology};

/// How often a tree that contradicts itself is read again: CPUs that go on or off line while it is
/// read make it so, and such changes take milliseconds each.
const ATTEMPTS: u32 = 3;

pub(super) fn detect() -> Result<Topology, Error> {
    let mut result = Topology::from_sysfs("/");
    for _ in 1..ATTEMPTS {
        match &result {
            Err(Error::Inconsistent { .. }) => result = Topology::from_sysfs("/"),
            Err(error) if error.is_missing() => result = Topology::from_sysfs("/"),
            _ => break,
        }
    }
    let limits = Limits::read();
    limits.affinity().as_ref().map_err(Clone::clone)?;
    result?.with_limits(&limits)
}
