//! Picks how this system is read; one file per system.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as imp;

#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
use macos as imp;

#[cfg(target_os = "windows")]
mod windows;
#[cfg(target_os = "windows")]
use windows as imp;

#[cfg(any(test, all(target_os = "windows", target_pointer_width = "64")))]
mod processor_information;
#[cfg(any(test, target_os = "macos"))]
mod sysctl;

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "windows")))]
mod fallback;
#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "windows")))]
use fallback as imp;

use crate::{CpuSet, Error, Limits, Topology};

impl Topology {
    /// Reads this machine.
    ///
    /// - On Linux from `/sys`, with the CPUs of mask and cpuset as the allowed ones.
    /// - On macOS from `sysctl`, with all CPUs allowed.
    /// - On Windows from `GetLogicalProcessorInformationEx`, with all CPUs allowed.
    /// - Elsewhere as one flat node, as [`Topology::notes`] then says.
    ///
    /// # Errors
    /// Any file that is missing, unreadable or contradicts another, by its path; and an affinity
    /// mask that cannot be read. A caller that wants to go on regardless uses
    /// [`Topology::detect_or_flat`].
    pub fn detect() -> Result<Self, Error> {
        imp::detect()
    }

    /// Reads the machine as [`Topology::detect`] does. If it can't be read, returns a flat one with
    /// as many CPUs as this process may use, and the error that says why.
    #[must_use]
    pub fn detect_or_flat() -> (Self, Option<Error>) {
        match Self::detect() {
            Ok(topology) => (topology, None),
            Err(error) => (flat(&error.to_string()), Some(error)),
        }
    }
}

/// Makes a flat machine of the CPUs this process may use, when nothing better can be had.
fn flat(why: &str) -> Topology {
    let limits = Limits::read();
    let cpus = match limits.affinity() {
        Ok(_) => limits.usable_cpus(),
        Err(_) => CpuSet::first_n(limits.available_parallelism().get()),
    };
    Topology::flat(&cpus, why)
}
