//! Seeded schedules: everything is shuttle's, under the same names.
//!
//! shuttle runs one thread at a time and chooses the next from a seed, so that a failing run repeats.
//! It is sequentially consistent: it finds mistakes of protocol, with any number of threads, and none
//! of memory ordering, which are loom's.

pub use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
pub use shuttle::thread_local;

/// A thread-local variable whose first value is a constant, so that reading it costs no check whether
/// it was made; a model makes it on first use.
#[macro_export]
macro_rules! const_thread_local {
    ($(#[$attribute:meta])* $visible:vis static $name:ident: $type:ty = $value:expr;) => {
        $crate::thread_local! {
            $(#[$attribute])* $visible static $name: $type = $value;
        }
    };
}

/// `Arc::new` for a value that is to be shared as a trait object: a model's `Arc` does not convert by
/// itself.
#[macro_export]
macro_rules! arc_dyn {
    ($value:expr) => {
        $crate::Arc::new($value)
    };
}

/// Atomic integers, pointers and fences.
pub mod atomic {
    pub use core::sync::atomic::compiler_fence;
    pub use shuttle::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
        fence,
    };
}

/// Interior mutability; shuttle runs one thread at a time and checks no races.
pub mod cell {
    pub use super::super::unsafe_cell::UnsafeCell;
}

/// What a loop that waits says to the scheduler: let the others run.
pub mod hint {
    pub use shuttle::hint::spin_loop;
}

/// Scheduled threads. `sleep` only yields: a model has no time.
pub mod thread {
    pub use shuttle::thread::{
        AccessError, Builder, JoinHandle, LocalKey, Thread, ThreadId, current, park, sleep, spawn,
        yield_now,
    };
    pub use std::thread::panicking;
}

pub use super::frozen as time;
