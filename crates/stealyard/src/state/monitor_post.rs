//! The monitor's post: the word that names the worker which monitors.
//!
//! The monitor's work, and the invariants and orderings of the word, are in `search/monitor.rs`:
//! MP1 and MO1 to MO6 are its labels.

use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::time::Duration;

const VACANT: usize = 0;

/// Names the worker that holds the post, if one does.
#[derive(Debug)]
pub(crate) struct MonitorPost {
    /// The monitor's number plus one.
    monitor: AtomicUsize,
    is_on: bool,
}

impl MonitorPost {
    /// Makes a vacant post. It stays so if there is one worker, no time, or no wish for a monitor.
    pub(crate) fn new(workers: usize, first_pause: Duration) -> Self {
        Self {
            monitor: AtomicUsize::new(VACANT),
            is_on: workers > 1 && first_pause != Duration::MAX && stealyard_sync::HAS_TIME,
        }
    }

    /// Whether the scheduler has a monitor at all.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether no worker holds the post.
    #[inline(always)]
    pub(crate) fn is_vacant(&self) -> bool {
        // Ordering: Relaxed (MO1); the caller's fence does what is needed.
        self.monitor.load(Ordering::Relaxed) == VACANT
    }

    /// Whether the worker holds the post.
    #[inline(always)]
    pub(crate) fn names(&self, worker: usize) -> bool {
        // Ordering: Relaxed; the callers' fences do what is needed (MO3, MO6).
        self.monitor.load(Ordering::Relaxed) == worker + 1
    }

    /// Assigns the post to the worker. Returns false if it was taken.
    pub(crate) fn name(&self, worker: usize) -> bool {
        // Ordering: Relaxed on both; the word is its own message.
        self.monitor
            .compare_exchange(VACANT, worker + 1, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Vacates the post, unless the thread that named the worker took it back and named another
    /// since (MP1).
    pub(crate) fn clear(&self, worker: usize) {
        // Ordering: Relaxed on both; the callers fence, or have named the worker themselves.
        let _ =
            self.monitor
                .compare_exchange(worker + 1, VACANT, Ordering::Relaxed, Ordering::Relaxed);
    }
}
