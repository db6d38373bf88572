//! A clock that moves when somebody waits for it: under shuttle, time passes in sleeps and timed waits
//! and nowhere else, so that a time limit is met at a moment that the schedule decides.
//!
//! shuttle runs an execution on one thread of the machine, so a plain thread-local is the clock of all
//! its threads.

use core::cell::Cell;

pub use std::time::Duration;

/// Where the clock begins. Not at zero: no clock does, and the longest time limit must overflow it.
const START: Duration = Duration::from_secs(3600);

std::thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(START) };
}

/// A moment of the model's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

/// An execution begins.
pub(crate) fn restart() {
    NOW.set(START);
}

/// Somebody has waited for so long.
pub(super) fn advance(duration: Duration) {
    NOW.set(NOW.get().saturating_add(duration));
}

impl Instant {
    /// The present moment.
    pub fn now() -> Self {
        Self(NOW.get())
    }

    /// The time since this moment.
    pub fn elapsed(&self) -> Duration {
        Self::now().saturating_duration_since(*self)
    }

    /// The time from `earlier` to this, or zero.
    pub fn duration_since(&self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }

    /// The time from `earlier` to this, or zero.
    pub fn saturating_duration_since(&self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment and `duration`, unless that overflows.
    pub fn checked_add(&self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Self)
    }
}
