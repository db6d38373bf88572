//! Whether this process is a copy: the child of a `fork` has its parent's memory and one of its threads.
//!
//! What hands work to threads of its own asks [`watch`] when it starts them and [`generation`] when it is given
//! work: another number means that the threads did not come along, and that what they were to do would wait for
//! ever. A model's process never forks, and neither does one of a system without `fork`.

#[cfg(all(unix, not(any(stealyard_loom, stealyard_shuttle))))]
#[path = "fork/unix.rs"]
mod system;

#[cfg(not(all(unix, not(any(stealyard_loom, stealyard_shuttle)))))]
#[path = "fork/none.rs"]
mod system;

/// Counts forks from now on, and gives the [`generation`] now. Calls after the first only give it.
///
/// Sees what the C library's `fork` makes, not what a bare system call does.
///
/// # Panics
/// If the system has no memory left to note it.
pub fn watch() -> u32 {
    system::watch();
    generation()
}

/// How many forks lie between the process that first called [`watch`] and this one. A plain load.
#[inline]
#[must_use]
pub fn generation() -> u32 {
    system::generation()
}
