//! Systems other than Linux: no mask that can be read.

use crate::{CpuSet, Error};

pub(super) fn mask(_thread: u32) -> Result<CpuSet, Error> {
    Err(Error::Unsupported {
        what: "this system has no affinity mask that can be read",
    })
}

pub(super) fn current_cpu() -> Option<(usize, u32)> {
    None
}
