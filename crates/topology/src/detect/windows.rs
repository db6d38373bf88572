//! Windows: what the standard library knows, a number of CPUs, as one flat node.

use crate::{Error, Topology};

pub(super) fn detect() -> Result<Topology, Error> {
    Ok(super::flat(
        "On Windows only the number of CPUs is read: one package and one node are assumed.",
    ))
}
