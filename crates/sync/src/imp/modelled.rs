//! The model: everything is loom's, under the same names.

pub use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
pub use loom::thread_local;

/// Atomic integers, pointers and fences.
pub mod atomic {
    pub use core::sync::atomic::compiler_fence;
    pub use loom::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
        fence,
    };
}

/// Interior mutability whose accesses loom checks for races.
pub mod cell {
    pub use loom::cell::UnsafeCell;
}

/// What a loop that waits says to the model: let the others run.
pub mod hint {
    pub use loom::hint::spin_loop;
}

/// Modelled threads. `sleep` only yields: a model has no time.
pub mod thread {
    pub use loom::thread::{
        AccessError, Builder, JoinHandle, LocalKey, Thread, ThreadId, current, park, spawn,
        yield_now,
    };
    pub use std::thread::panicking;

    /// Lets the other threads run; a model has no time.
    pub fn sleep(_duration: super::time::Duration) {
        yield_now();
    }
}

/// A clock that stands still.
pub mod time {
    pub use std::time::Duration;

    /// A moment of the model's clock, which stands still.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Instant(Duration);

    impl Instant {
        /// The model's only moment.
        pub fn now() -> Self {
            Self(Duration::ZERO)
        }

        /// Zero, always.
        pub fn elapsed(&self) -> Duration {
            Duration::ZERO
        }

        /// The time from `earlier` to this, or zero.
        pub fn duration_since(&self, earlier: Self) -> Duration {
            self.0.saturating_sub(earlier.0)
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
}
