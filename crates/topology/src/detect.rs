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

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "windows")))]
mod fallback;
#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "windows")))]
use fallback as imp;

use crate::{CpuSet, Error, Limits, Topology};

pub(crate) fn detect() -> Result<Topology, Error> {
    imp::detect()
}

/// A flat machine of the CPUs this process may use, when nothing better can be had.
pub(crate) fn flat(why: &str) -> Topology {
    let limits = Limits::read();
    let cpus = match limits.affinity() {
        Ok(_) => limits.usable_cpus(),
        Err(_) => CpuSet::first_n(limits.available_parallelism().get()),
    };
    Topology::flat(&cpus, why)
}
