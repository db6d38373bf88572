//! A clock that moves when a thread waits for it. Under shuttle, time passes only in sleeps and
//! timed waits, so that the schedule decides the moment at which a time limit is met.
//!
//! shuttle runs an execution on one thread of the machine, so a plain thread-local is the clock of
//! all threads of the execution.

use core::cell::Cell;

pub use std::time::Duration;

/// The moment at which the clock begins. It is not zero: no clock begins there, and the longest
/// time limit must overflow the clock.
const START: Duration = Duration::from_secs(3600);

std::thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(START) };
}

/// A moment of the model's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

/// Sets the clock back, because an execution begins.
pub(crate) fn restart() {
    NOW.set(START);
}

/// Moves the clock on, because a thread has waited for `duration`.
pub(super) fn advance(duration: Duration) {
    NOW.set(NOW.get().saturating_add(duration));
}

impl Instant {
    /// Returns the present moment.
    pub fn now() -> Self {
        Self(NOW.get())
    }

    /// Returns the time since this moment.
    pub fn elapsed(&self) -> Duration {
        Self::now().saturating_duration_since(*self)
    }

    /// Returns the time from `earlier` to this moment, or zero.
    pub fn duration_since(&self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
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
