//! Systems other than Linux: no such preference.

use crate::Error;

pub(super) fn prefer(_node: Option<u32>) -> Result<(), Error> {
    Err(Error::Unsupported {
        what: "this system has no preference of a thread for the memory of a node",
    })
}
