//! The real machine: `core`'s atomics, `std`'s threads and clock.

pub use std::sync::{Arc, Condvar, Mutex, MutexGuard};
pub use std::thread_local;

/// Atomic integers, pointers and fences.
pub mod atomic {
    pub use core::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
        compiler_fence,
    };

    #[cfg(stealyard_tsan)]
    pub use crate::tsan::fence;
    #[cfg(not(stealyard_tsan))]
    pub use core::sync::atomic::fence;
}

/// Interior mutability with the access made visible to a model checker.
pub mod cell {
    /// `core`'s `UnsafeCell`, behind the two methods that a model checker can watch.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// Wraps `value`.
        pub const fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }

        /// Calls `f` with a pointer for reading. Dereferencing it is the caller's duty to justify:
        /// nobody may write meanwhile.
        #[inline(always)]
        pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// Calls `f` with a pointer for writing. Dereferencing it is the caller's duty to justify:
        /// nobody may read or write meanwhile.
        #[inline(always)]
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }

        /// The value, for its only owner.
        pub fn into_inner(self) -> T {
            self.0.into_inner()
        }
    }
}

/// What a loop that waits says to the core.
pub mod hint {
    pub use core::hint::spin_loop;
}

/// Threads, as in `std`.
pub mod thread {
    pub use std::thread::{
        AccessError, Builder, JoinHandle, LocalKey, Thread, ThreadId, current, panicking, park,
        sleep, spawn, yield_now,
    };
}

/// The clock, as in `std`.
pub mod time {
    pub use std::time::{Duration, Instant};
}
