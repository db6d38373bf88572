//! Counting forks by the C library's `pthread_atfork`: for Unix.

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Once;

static FORKS: AtomicU32 = AtomicU32::new(0);

pub(super) fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        // SAFETY: 1. the handler may run in a child of a process with many threads: it only adds to
        // an atomic, which is allowed there.
        let error = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        assert_eq!(error, 0, "pthread_atfork: no memory left (error {error})");
    });
}

/// Runs in the child, before `fork` returns there.
extern "C" fn in_child() {
    // Ordering: Relaxed; this is the child's only thread. Unmodelled: a model's process never
    // forks.
    FORKS.fetch_add(1, Ordering::Relaxed);
}

#[inline]
pub(super) fn generation() -> u32 {
    // Ordering: Relaxed; the number changes only before the child's other threads start.
    // Unmodelled: a model's process never forks.
    FORKS.load(Ordering::Relaxed)
}
