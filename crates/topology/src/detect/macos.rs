//! macOS: what the standard library knows, a number of CPUs, as one flat node.

use crate::{Error, Topology};

pub(super) fn detect() -> Result<Topology, Error> {
    Ok(super::flat(
        "On macOS only the number of CPUs is read: one package and one node are assumed.",
    ))
}
