//! How long it takes from a submission that wakes a sleeping worker until the worker has a task.
//!
//! 1. The submitter stamps the time: `began`.
//! 2. The worker that wakes takes the time of its wake: `now`.
//! 3. When that worker has a task, it takes the stamp, and records the time since: `ended`.
//!
//! There is one stamp for the scheduler. Where several workers are woken at once, only one of them
//! is recorded. A stamp that is later than the wake belongs to another one, and is not recorded.

use stealyard_sync::CachePadded;
use stealyard_sync::atomic::{AtomicU64, Ordering};
use stealyard_sync::time::{Duration, Instant};

use crate::metrics::counter::as_ns;
use crate::metrics::histogram::Recorder;

/// Measures wakes; see the file's essay. Nothing depends on what it measures.
#[derive(Debug)]
pub(crate) struct WakeTimer {
    /// The moment that times are measured from: the scheduler's beginning.
    start: Instant,
    /// When the last submission that found a sleeper began, in nanoseconds; zero if that was taken.
    began: CachePadded<AtomicU64>,
}

impl WakeTimer {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            began: CachePadded::default(),
        }
    }

    /// Stamps a submission that is about to wake a sleeper.
    pub(crate) fn began(&self) {
        let ns = as_ns(self.start.elapsed()).max(1);
        // Ordering: Relaxed; a measurement that nothing depends on.
        self.began.store(ns, Ordering::Relaxed);
    }

    /// Returns the time of a wake, for `ended`.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Records the time since the submission that woke the calling worker at `woken`: it has a task
    /// now.
    pub(crate) fn ended(&self, woken: Duration, recorder: &Recorder) {
        if let Some(began) = self.take().filter(|&began| began <= woken) {
            recorder.record(self.start.elapsed().saturating_sub(began));
        }
    }

    /// Forgets the stamp: the worker that it was for had not gone to sleep.
    pub(crate) fn cancel(&self) {
        let _ = self.take();
    }

    /// Takes the stamp, if there is one since the last call.
    fn take(&self) -> Option<Duration> {
        // Ordering: Relaxed; as in `began`.
        let ns = self.began.swap(0, Ordering::Relaxed);
        (ns != 0).then(|| Duration::from_nanos(ns))
    }
}

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_wake_is_recorded_once_and_only_behind_its_stamp() {
        let (timer, recorder) = (WakeTimer::start(), Recorder::default());
        let before = timer.now();
        let recorded = || recorder.read().count();
        timer.ended(timer.now(), &recorder);
        assert_eq!(recorded(), 0, "no submission was stamped");
        while timer.now() == before {}
        timer.began();
        timer.ended(before, &recorder);
        assert_eq!(recorded(), 0, "the wake came before the stamp");
        timer.began();
        timer.ended(timer.now(), &recorder);
        timer.ended(timer.now(), &recorder);
        assert_eq!(recorded(), 1, "a stamp is taken once");
        timer.began();
        timer.cancel();
        timer.ended(timer.now(), &recorder);
        assert_eq!(recorded(), 1, "the stamp was taken back");
    }
}
