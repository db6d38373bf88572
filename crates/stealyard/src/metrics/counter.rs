//! Counters: one with a single writer, which costs a plain addition, and helpers for times.

use stealyard_sync::atomic::{AtomicU64, Ordering};
use stealyard_sync::time::Duration;

/// A counter. At its end it goes on at zero.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds, by the only writer.
    #[inline(always)]
    pub(crate) fn add(&self, count: u64) {
        // Ordering: Relaxed on both; only its owner writes it, and nothing depends on it.
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(count), Ordering::Relaxed);
    }

    /// Returns the count of the moment.
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        // Ordering: Relaxed; a moment's view.
        self.0.load(Ordering::Relaxed)
    }

    /// Adds, where there are several writers.
    pub(crate) fn add_shared(&self, count: u64) {
        // Ordering: Relaxed; only the sum matters.
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

/// Returns a duration in nanoseconds, at most `u64::MAX`.
pub(crate) fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t14_a_counter_at_its_end_goes_on_at_zero() {
        let counter = Counter(AtomicU64::new(u64::MAX - 1));
        counter.add(3);
        assert_eq!(counter.get(), 1);
        counter.add_shared(u64::MAX);
        assert_eq!(counter.get(), 0);
    }
}
