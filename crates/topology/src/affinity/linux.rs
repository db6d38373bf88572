//! Linux: `sched_getaffinity` as a raw system call, with a buffer that fits.
//!
//! The C library's `cpu_set_t` has 1024 bits; a kernel built for more *possible* CPUs answers
//! `EINVAL` to it, even if the machine has four. The raw call takes any length and says how much it
//! filled.

use crate::{CpuSet, Error};
use std::io;

/// Words of the first try, 1024 CPUs, and of the last, 2^20 CPUs.
const WORDS: core::ops::RangeInclusive<usize> = 1024 / BITS..=(1 << 20) / BITS;
/// The kernel's masks are arrays of its `unsigned long`.
const BITS: usize = libc::c_ulong::BITS as usize;

/// Reads the mask of a thread by its number; 0 is the caller.
pub(super) fn mask(thread: u32) -> Result<CpuSet, Error> {
    let mut words = *WORDS.start();
    loop {
        let mut buffer: Vec<libc::c_ulong> = vec![0; words];
        // SAFETY: 1. the buffer is writable for the number of bytes given, and the kernel writes no
        // more; 2. any thread id may be asked for.
        let filled = unsafe {
            libc::syscall(
                libc::SYS_sched_getaffinity,
                thread,
                size_of_val(&*buffer),
                buffer.as_mut_ptr(),
            )
        };
        if filled >= 0 {
            return Ok(from_kernel(&buffer));
        }
        let errno = last_errno();
        if errno != libc::EINVAL || words >= *WORDS.end() {
            return Err(Error::System {
                call: "sched_getaffinity",
                errno,
            });
        }
        words *= 2;
    }
}

pub(super) fn current_cpu() -> Option<(usize, u32)> {
    let (mut cpu, mut node) = (0u32, 0u32);
    let unused: *mut libc::c_void = core::ptr::null_mut();
    // SAFETY: 1. both pointers are to a u32 that outlives the call; 2. the third is unused since
    // Linux 2.6.24.
    let result = unsafe { libc::syscall(libc::SYS_getcpu, &raw mut cpu, &raw mut node, unused) };
    (result == 0).then_some((cpu as usize, node))
}

fn from_kernel(words: &[libc::c_ulong]) -> CpuSet {
    let bits = |(index, &word): (usize, &libc::c_ulong)| {
        (0..BITS)
            .filter(move |bit| word >> bit & 1 == 1)
            .map(move |bit| index * BITS + bit)
    };
    words.iter().enumerate().flat_map(bits).collect()
}

fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
