//! Detects that this process is a copy: the child of a `fork` has its parent's memory, but only one
//! of its threads.
//!
//! A structure that hands work to threads of its own calls [`watch`] when it starts them, and
//! [`generation`] when it is given work. A different number means that the process was copied
//! without the threads, so that the work would wait for ever. A model's process never forks, and
//! neither does a process of a system without `fork`.

#[cfg(all(unix, not(any(stealyard_loom, stealyard_shuttle))))]
#[path = "fork/unix.rs"]
mod system;

#[cfg(not(all(unix, not(any(stealyard_loom, stealyard_shuttle)))))]
#[path = "fork/none.rs"]
mod system;

/// Counts forks from now on, and returns the present [`generation`]. Calls after the first only
/// return the generation.
///
/// It counts the forks of the C library's `fork`, and not those of a bare system call.
///
/// # Panics
/// Panics if the system has no memory left for the handler.
pub fn watch() -> u32 {
    system::watch();
    generation()
}

/// Returns the number of forks between the process that first called [`watch`] and this one. It
/// costs a plain load.
#[inline]
#[must_use]
pub fn generation() -> u32 {
    system::generation()
}
