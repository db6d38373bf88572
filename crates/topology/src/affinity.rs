//! The CPUs a thread may run on, and the one it runs on, as the system says.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as imp;

#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
use portable as imp;

use crate::{CpuSet, Error};

/// Reads the affinity mask of the calling thread.
///
/// # Errors
/// The system call's error on Linux; elsewhere that the system has no such mask.
pub fn mask() -> Result<CpuSet, Error> {
    imp::mask(0)
}

/// Reads the affinity mask of a thread by the system's number; 0 is the caller.
pub(crate) fn mask_of(thread: u32) -> Result<CpuSet, Error> {
    imp::mask(thread)
}

/// Returns the CPU the calling thread runs on at this moment, and its node by the kernel's number;
/// `None` where the system does not say.
#[must_use]
pub fn current_cpu() -> Option<(usize, u32)> {
    imp::current_cpu()
}

/// Returns how many CPUs there seem to be when no mask can be read, and how that was found.
pub(crate) fn count_cpus() -> (usize, &'static str) {
    match std::thread::available_parallelism() {
        Ok(count) => (count.get(), "CPUs known to the standard library"),
        Err(_) => (1, "assumed, for lack of any source"),
    }
}
