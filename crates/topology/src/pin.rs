//! Binding a thread to CPUs, and checking that it is bound.
//!
//! # How a thread is pinned
//! 1. One CPU with a number below 1024: `core_affinity`, which is sound there (above, it aborts).
//! 2. A set, or a larger number: the system call, with a buffer as long as the set.
//! 3. The mask is read back. The kernel silently leaves out CPUs that the cpuset forbids or that do
//!    not exist as long as one remains, so "it returned success" is not "it did what was asked".
//! 4. A failure is explained: which CPU is not there, off line, or forbidden, and by what.
//!
//! # Invariants
//! - **A1** [`pin`] returns `Ok` only if the kernel reports exactly the mask that was asked for.
//! - **A2** After an error of [`pin`] the thread has the mask it had before, unless putting that
//!   back failed too, which the error [`PinError::Differs`] then shows by its `got`.
//!
//! # References
//! sched_setaffinity(2); Linux, Documentation/admin-guide/cgroup-v2.rst, "cpuset".

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as imp;

#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
use portable as imp;

use crate::{CpuSet, Error};
use core::fmt;

/// Binds the calling thread to `cpus` and checks that the kernel did so. Call it before the thread
/// touches the memory it will work on: a page goes to the node of the CPU that first writes it.
///
/// # Errors
/// [`PinError`]: the CPU or CPUs in the way, and why. The thread keeps its mask.
pub fn pin(cpus: &CpuSet) -> Result<Pinned, PinError> {
    if cpus.is_empty() {
        return Err(PinError::Empty);
    }
    imp::pin(cpus)
}

/// A thread that has been bound: from and to which CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "`before` is what to pin to again later; say `let _ =` if it never will be"]
#[non_exhaustive]
pub struct Pinned {
    /// The mask before.
    pub before: CpuSet,
    /// The mask now, as the kernel reports it; exactly what was asked for.
    pub now: CpuSet,
}

/// Why a thread could not be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinError {
    /// The set has no CPU in it.
    Empty,
    /// The machine has no such CPU.
    NoSuchCpu {
        /// The lowest such CPU.
        cpu: usize,
        /// The CPUs that are online.
        online: CpuSet,
    },
    /// The CPU is there but switched off.
    Offline {
        /// The lowest such CPU.
        cpu: usize,
        /// The CPUs that are online.
        online: CpuSet,
    },
    /// The cpuset of this process's cgroup leaves the CPU out.
    NotAllowed {
        /// The lowest such CPU.
        cpu: usize,
        /// The CPUs it allows.
        allowed: CpuSet,
        /// The file that says so.
        file: std::path::PathBuf,
    },
    /// The system forbids this process to bind threads (`EPERM`), as some sandboxes do.
    Denied {
        /// The lowest CPU asked for.
        cpu: usize,
    },
    /// The call succeeded and the kernel reports another mask.
    Differs {
        /// What was asked for.
        asked: CpuSet,
        /// What the kernel reported then.
        got: CpuSet,
    },
    /// The call failed for none of the reasons above.
    System {
        /// The lowest CPU asked for.
        cpu: usize,
        /// The failure.
        error: Error,
    },
    /// The thread was bound, and its memory could not be: it has the mask from before again.
    Memory {
        /// The node, by the kernel's number, that memory was to come from.
        node: u32,
        /// The failure.
        error: Error,
    },
    /// This system can't bind a thread to such a set.
    Unsupported {
        /// The lowest CPU asked for.
        cpu: usize,
        /// What it can't do.
        what: &'static str,
    },
}

impl PinError {
    /// Returns the CPU in the way, if it is one; the lowest of several.
    #[must_use]
    pub fn cpu(&self) -> Option<usize> {
        match self {
            Self::Empty | Self::Memory { .. } => None,
            Self::NoSuchCpu { cpu, .. }
            | Self::Offline { cpu, .. }
            | Self::NotAllowed { cpu, .. }
            | Self::Denied { cpu }
            | Self::System { cpu, .. }
            | Self::Unsupported { cpu, .. } => Some(*cpu),
            Self::Differs { asked, got } => (asked - got).first().or_else(|| (got - asked).first()),
        }
    }
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot pin: ")?;
        match self {
            Self::Empty => write!(f, "the set of CPUs is empty"),
            Self::NoSuchCpu { cpu, online } => {
                write!(f, "there is no CPU {cpu}; online are {online}")
            }
            Self::Offline { cpu, online } => write!(f, "CPU {cpu} is offline; online are {online}"),
            Self::NotAllowed { cpu, allowed, file } => {
                write!(
                    f,
                    "CPU {cpu} is outside the cpuset {allowed} of {}",
                    file.display()
                )
            }
            Self::Denied { cpu } => {
                write!(
                    f,
                    "this process may not bind threads (EPERM), asked for CPU {cpu}"
                )
            }
            Self::Differs { asked, got } => {
                let (asked, got) = (asked.in_words(), got.in_words());
                write!(f, "asked for {asked}, the kernel reports {got}")
            }
            Self::Memory { node, error } => {
                write!(f, "memory cannot come from node {node}: {error}")
            }
            Self::System { cpu, error } => write!(f, "CPU {cpu}: {error}"),
            Self::Unsupported { cpu, what } => write!(f, "CPU {cpu}: {what}"),
        }
    }
}

impl core::error::Error for PinError {}
