//! A histogram of durations with one writer: a bucket for each power of two nanoseconds.

use stealyard_sync::time::Duration;

use crate::metrics::counter::{Counter, as_ns};

/// From below 1 ns to 2^38 ns, over four minutes, and more.
pub const BUCKETS: usize = 40;

#[derive(Debug)]
pub(crate) struct Recorder([Counter; BUCKETS]);

impl Default for Recorder {
    fn default() -> Self {
        Self(core::array::from_fn(|_| Counter::default()))
    }
}

impl Recorder {
    /// Counts one duration, by the only writer.
    pub(crate) fn record(&self, duration: Duration) {
        let ns = as_ns(duration);
        let bucket = (u64::BITS - ns.leading_zeros()) as usize;
        self.0[bucket.min(BUCKETS - 1)].add(1);
    }

    pub(crate) fn read(&self) -> Histogram {
        Histogram {
            counts: core::array::from_fn(|bucket| self.0[bucket].get()),
        }
    }
}

/// How many durations fell between two powers of two nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// `counts[k]` counts durations below 2^k ns that are not below 2^(k-1) ns; the last also
    /// longer ones.
    pub counts: [u64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
        }
    }
}

impl Histogram {
    /// Returns how many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns a duration that at least this share of all were below, or `None` if nothing was
    /// counted. Exact to a factor of two.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = (count as f64 * share.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut below = 0;
        let bucket = self.counts.iter().position(|&count| {
            below += count;
            below >= wanted
        });
        Some(Duration::from_nanos(1 << bucket.unwrap_or(BUCKETS - 1)))
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, one) in self.counts.iter_mut().zip(other.counts) {
            *sum += one;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_power_of_two() {
        let recorder = Recorder::default();
        for ns in [0, 1, 2, 3, 4, 1_000, 1_023, 1_024, u64::MAX] {
            recorder.record(Duration::from_nanos(ns));
        }
        let histogram = recorder.read();
        assert_eq!(histogram.counts[..4], [1, 1, 2, 1]);
        assert_eq!((histogram.counts[10], histogram.counts[11]), (2, 1));
        assert_eq!((histogram.counts[BUCKETS - 1], histogram.count()), (1, 9));
    }

    #[test]
    fn quantiles_are_upper_bounds() {
        let recorder = Recorder::default();
        assert_eq!(recorder.read().quantile(0.5), None);
        for _ in 0..99 {
            recorder.record(Duration::from_nanos(700));
        }
        recorder.record(Duration::from_micros(900));
        let histogram = recorder.read();
        assert_eq!(histogram.quantile(0.5), Some(Duration::from_nanos(1_024)));
        assert_eq!(histogram.quantile(0.99), Some(Duration::from_nanos(1_024)));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_nanos(1 << 20)));
    }
}
