//! A clock that stands still: a model has no time.

pub use std::time::Duration;

/// A moment of the model's clock, which stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// Returns the model's only moment.
    pub fn now() -> Self {
        Self(Duration::ZERO)
    }

    /// Returns zero, always.
    pub fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns the time from `earlier` to this moment, or zero.
    pub fn duration_since(&self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the time from `earlier` to this moment, or zero.
    pub fn saturating_duration_since(&self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the moment `duration` later, or `None` if that overflows.
    pub fn checked_add(&self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Self)
    }
}
