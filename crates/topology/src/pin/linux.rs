//! Linux: `sched_setaffinity` as a raw system call, and why it failed.

use super::{PinError, Pinned};
use crate::affinity::mask;
use crate::limits::Limits;
use crate::{CpuSet, Error};
use std::io;
use std::path::Path;

/// The kernel's masks are arrays of its `unsigned long`.
const BITS: usize = libc::c_ulong::BITS as usize;

pub(super) fn pin(cpus: &CpuSet) -> Result<Pinned, PinError> {
    let cpu = cpus.first().unwrap_or(0);
    let system = |error| PinError::System { cpu, error };
    let before = mask().map_err(system)?;
    if let Err(errno) = set(cpus) {
        return Err(explain(cpus, errno));
    }
    let now = mask().map_err(system)?;
    if now == *cpus {
        return Ok(Pinned { before, now });
    }
    // The kernel took a part: give it back (A2) and say which CPU is missing and why.
    let missing = cpus - &now;
    let cause = explain(&missing, libc::EINVAL);
    match (set(&before), cause) {
        (Ok(()), cause @ (PinError::NoSuchCpu { .. } | PinError::Offline { .. })) => Err(cause),
        (Ok(()), cause @ PinError::NotAllowed { .. }) => Err(cause),
        _ => Err(PinError::Differs {
            asked: cpus.clone(),
            got: now,
        }),
    }
}

/// Sets the mask, by `core_affinity` where it is sound. `Err` is the error number.
fn set(cpus: &CpuSet) -> Result<(), i32> {
    if let Some(id) = cpus.single().filter(|&id| id < 1024)
        && core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        return Ok(());
    }
    // A set, a large number, or a failure whose reason `core_affinity` has lost.
    let words = to_kernel(cpus);
    // SAFETY: 1. the buffer is readable for the number of bytes given; 2. thread id 0 is the
    // caller.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            size_of_val(&*words),
            words.as_ptr(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Finds out which of `cpus` the kernel refused, and why.
fn explain(cpus: &CpuSet, errno: i32) -> PinError {
    let cpu = cpus.first().unwrap_or(0);
    if errno == libc::EPERM {
        return PinError::Denied { cpu };
    }
    let list = |name: &str| {
        let path = Path::new("/sys/devices/system/cpu").join(name);
        crate::bounded::read(&path, crate::bounded::SYSFS_LIMIT)
            .ok()?
            .parse::<CpuSet>()
            .ok()
    };
    if let Some(online) = list("online")
        && let Some(cpu) = (cpus - &online).first()
    {
        return match list("present") {
            Some(present) if present.contains(cpu) => PinError::Offline { cpu, online },
            _ => PinError::NoSuchCpu { cpu, online },
        };
    }
    if let Some(limit) = Limits::read().cpuset()
        && let Some(cpu) = (cpus - &limit.cpus).first()
    {
        return PinError::NotAllowed {
            cpu,
            allowed: limit.cpus.clone(),
            file: limit.file.clone(),
        };
    }
    PinError::System {
        cpu,
        error: Error::System {
            call: "sched_setaffinity",
            errno,
        },
    }
}

fn to_kernel(cpus: &CpuSet) -> Vec<libc::c_ulong> {
    let mut words = vec![0; cpus.last().unwrap_or(0) / BITS + 1];
    for cpu in cpus.iter() {
        words[cpu / BITS] |= 1 << (cpu % BITS);
    }
    words
}

fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
