//! The model: everything is loom's, under the same names.

pub use loom::lazy_static;
pub use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
pub use loom::thread_local;

/// Declares a thread-local variable whose first value is a constant, so that reading it needs no
/// check whether it was initialised. A model initialises it on first use.
#[macro_export]
macro_rules! const_thread_local {
    ($(#[$attribute:meta])* $visible:vis static $name:ident: $type:ty = $value:expr;) => {
        $crate::thread_local! {
            $(#[$attribute])* $visible static $name: $type = $value;
        }
    };
}

/// Creates an `Arc` of a value that will be shared as a trait object. loom's `Arc` does not convert
/// by itself.
#[macro_export]
macro_rules! arc_dyn {
    ($value:expr) => {
        $crate::Arc::from_std(::std::sync::Arc::new($value))
    };
}

/// Atomic integers, pointers and fences.
pub mod atomic {
    pub use super::super::watched::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
    };
    pub use core::sync::atomic::compiler_fence;
    pub use loom::sync::atomic::{Ordering, fence};
}

/// Interior mutability whose accesses loom checks for races.
pub mod cell {
    pub use loom::cell::UnsafeCell;
}

/// The hint of a loop that waits. It lets the other threads of the model run.
pub mod hint {
    pub use loom::hint::spin_loop;
}

/// Modelled threads. `sleep` only yields: a model has no time.
pub mod thread {
    pub use loom::thread::{
        AccessError, Builder, JoinHandle, LocalKey, Thread, ThreadId, current, park, spawn,
        yield_now,
    };
    pub use std::thread::{available_parallelism, panicking};

    /// Lets the other threads run. A model has no time.
    pub fn sleep(_duration: std::time::Duration) {
        yield_now();
    }
}

pub use super::frozen as time;
