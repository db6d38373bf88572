//! After how many tasks the global queue has its turn: a fixed number, or one that follows the
//! length of tasks.

use core::cell::Cell;

use stealyard_sync::time::{Duration, Instant};

use crate::config::GlobalInterval;
use crate::metrics::counter::as_ns;

/// After how many tasks the global queue has its turn.
#[derive(Debug)]
pub(crate) struct Interval {
    kind: GlobalInterval,
    tasks: Cell<u32>,
    began: Cell<Option<Instant>>,
    /// The mean length of a task in nanoseconds, an exponentially weighted average (1/8 a sample).
    mean_ns: Cell<u64>,
}

/// A self-tuned interval stays within these two, so that the bound on waiting can be stated in
/// tasks.
const TASKS_MIN: u32 = 2;
const TASKS_MAX: u32 = 127;

impl Interval {
    pub(crate) fn new(kind: GlobalInterval) -> Self {
        let tasks = match kind {
            GlobalInterval::Tasks(tasks) => tasks,
            GlobalInterval::Time(_) => 61,
        };
        Self {
            kind,
            tasks: Cell::new(tasks),
            began: Cell::new(None),
            mean_ns: Cell::new(0),
        }
    }

    /// Begins an interval. If it tunes itself, the time that the last one took sets its length.
    pub(crate) fn begins(&self, now: Instant) {
        if let GlobalInterval::Time(target) = self.kind
            && let Some(began) = self.began.replace(Some(now))
        {
            self.learn(target, now.saturating_duration_since(began));
        }
    }

    /// Returns how many tasks run before the global queue has its turn: at least one. With none,
    /// the own queue would never have its turn while tasks that yield go through the global queue,
    /// as they do where the own queue is last in, first out.
    pub(crate) fn tasks_before_global(&self) -> u32 {
        self.tasks.get().saturating_sub(1).max(1)
    }

    fn learn(&self, target: Duration, spent: Duration) {
        let sample = as_ns(spent) / u64::from(self.tasks.get().max(1));
        let mean = match self.mean_ns.get() {
            0 => sample,
            mean => mean - mean / 8 + sample / 8,
        };
        self.mean_ns.set(mean);
        let tasks = as_ns(target) / mean.max(1);
        let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
        self.tasks.set(tasks.clamp(TASKS_MIN, TASKS_MAX));
    }

    /// Forgets when the interval began: one that was interrupted says nothing about the length of
    /// tasks.
    pub(crate) fn restart(&self) {
        self.began.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_follows_the_length_of_tasks_within_its_bounds() {
        let interval = Interval::new(GlobalInterval::Time(Duration::from_micros(200)));
        for (task_ns, expected) in [(100, TASKS_MAX), (10_000, 20), (1_000_000, TASKS_MIN)] {
            for _ in 0..100 {
                let tasks = u64::from(interval.tasks.get());
                interval.learn(
                    Duration::from_micros(200),
                    Duration::from_nanos(task_ns * tasks),
                );
            }
            assert!(
                interval.tasks.get().abs_diff(expected) <= 1,
                "{task_ns} ns: {interval:?}"
            );
        }
    }

    #[test]
    fn a_fixed_interval_stays_as_it_is() {
        let interval = Interval::new(GlobalInterval::Tasks(61));
        for _ in 0..3 {
            interval.begins(Instant::now());
            assert_eq!(interval.tasks_before_global(), 60);
        }
    }
}
