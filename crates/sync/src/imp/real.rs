//! The real machine: `core`'s atomics, `std`'s threads and clock.

pub use std::sync::{Arc, Condvar, Mutex, MutexGuard};
pub use std::thread_local;

/// Declares a thread-local variable whose first value is a constant, so that reading it needs no
/// check whether it was initialised.
#[macro_export]
macro_rules! const_thread_local {
    ($(#[$attribute:meta])* $visible:vis static $name:ident: $type:ty = $value:expr;) => {
        $crate::thread_local! {
            $(#[$attribute])* $visible static $name: $type = const { $value };
        }
    };
}

/// Declares a static value that is made on first use: `static ref NAME: Type = expression;`, as
/// loom spells it.
#[macro_export]
macro_rules! lazy_static {
    ($(#[$attribute:meta])* $visible:vis static ref $name:ident: $type:ty = $value:expr;) => {
        $(#[$attribute])* $visible static $name: ::std::sync::LazyLock<$type> =
            ::std::sync::LazyLock::new(|| $value);
    };
}

/// Creates an `Arc` of a value that will be shared as a trait object. loom's `Arc` does not convert
/// by itself.
#[macro_export]
macro_rules! arc_dyn {
    ($value:expr) => {
        $crate::Arc::new($value)
    };
}

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

/// Interior mutability whose accesses a model checker can see.
pub mod cell {
    pub use super::super::unsafe_cell::UnsafeCell;
}

/// The hint of a loop that waits, for the core.
pub mod hint {
    pub use core::hint::spin_loop;
}

/// Threads, as in `std`.
pub mod thread {
    pub use std::thread::{
        AccessError, Builder, JoinHandle, LocalKey, Thread, ThreadId, available_parallelism,
        current, panicking, park, sleep, spawn, yield_now,
    };
}

/// The clock, as in `std`.
pub mod time {
    pub use std::time::{Duration, Instant};
}
