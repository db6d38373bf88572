//! Where new pages of a thread come from: a preferred node, and other nodes when that is full.
//!
//! Linux takes a page from the node of the CPU that first writes it. That is enough for a thread
//! bound to one node, unless what it writes was reserved in advance or its node has no memory. A
//! preference holds wherever the thread runs, and for every page that it touches first.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as imp;

#[cfg(not(target_os = "linux"))]
mod fallback;
#[cfg(not(target_os = "linux"))]
use fallback as imp;

use crate::Error;

/// Makes the calling thread's new pages come from a node, by the kernel's number, as long as it has
/// free ones; `None` takes an earlier preference back. What is set is read back.
///
/// # Errors
/// [`Error::System`] where the system refuses: for a node that is not there or that the cpuset
/// forbids (`EINVAL`), or in a sandbox (`EPERM`; Docker's default asks for `CAP_SYS_NICE`).
/// [`Error::Unsupported`] on systems other than Linux.
pub fn prefer_memory_of(node: Option<u32>) -> Result<(), Error> {
    imp::prefer(node)
}
