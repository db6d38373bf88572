//! Picks what a thread sleeps on; nothing else.

#[cfg(all(target_os = "linux", not(stealyard_loom), not(stealyard_shuttle)))]
#[path = "imp/futex.rs"]
mod platform;

#[cfg(not(all(target_os = "linux", not(stealyard_loom), not(stealyard_shuttle))))]
#[path = "imp/condvar.rs"]
mod platform;

pub(crate) use platform::Futex;
