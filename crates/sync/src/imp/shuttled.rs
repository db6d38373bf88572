//! Seeded schedules: everything is shuttle's, under the same names.
//!
//! shuttle runs one thread at a time and chooses the next from a seed, so that a failing run
//! repeats. It is sequentially consistent: it finds mistakes of protocol, with any number of
//! threads. Mistakes of memory ordering are left to loom.

pub use condvar::Condvar;
pub use shuttle::sync::{Arc, Mutex, MutexGuard};
pub use shuttle::thread_local;

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

/// Declares a static value that is made on first use: `static ref NAME: Type = expression;`, as
/// loom spells it. All schedules share one value, and making it is not a step of theirs.
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
    pub use core::sync::atomic::compiler_fence;
    pub use shuttle::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
        fence,
    };
}

/// Interior mutability. shuttle runs one thread at a time and checks no races.
pub mod cell {
    pub use super::super::unsafe_cell::UnsafeCell;
}

/// The hint of a loop that waits. It lets the other threads of the schedule run.
pub mod hint {
    pub use shuttle::hint::spin_loop;
}

/// Scheduled threads.
pub mod thread {
    pub use shuttle::thread::{
        AccessError, Builder, JoinHandle, LocalKey, Thread, ThreadId, current, park, spawn,
        yield_now,
    };
    pub use std::thread::{available_parallelism, panicking};

    /// Moves the model's clock on by `duration`, and lets the other threads run.
    pub fn sleep(duration: std::time::Duration) {
        super::super::moving::advance(duration);
        yield_now();
    }
}

pub use super::moving as time;

mod condvar {
    use std::sync::{Arc, LockResult};
    use std::time::Duration;

    use shuttle::sync::MutexGuard;

    use super::super::moving::{self, Instant};

    /// shuttle's condition variable, with time limits.
    #[derive(Debug, Default)]
    pub struct Condvar(Arc<shuttle::sync::Condvar>);

    /// The result of a timed wait: whether it ended because its time was up.
    #[expect(
        unnameable_types,
        reason = "`std`'s is not named through this crate either"
    )]
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WaitTimeoutResult(bool);

    impl WaitTimeoutResult {
        /// Whether the time was up.
        pub fn timed_out(&self) -> bool {
            self.0
        }
    }

    impl Condvar {
        /// Creates a condition variable.
        pub fn new() -> Self {
            Self::default()
        }

        /// Waits as `std`'s does.
        ///
        /// # Errors
        /// Returns an error if the lock is poisoned.
        pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
            self.0.wait(guard)
        }

        /// Waits as `std`'s does. The schedule decides the moment at which the time is up: a thread
        /// of the model moves the clock on and wakes all waiters. For the others this is a wake for
        /// no reason.
        ///
        /// # Errors
        /// Returns an error if the lock is poisoned.
        pub fn wait_timeout<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            duration: Duration,
        ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
            let (began, condvar) = (Instant::now(), Arc::clone(&self.0));
            drop(shuttle::thread::spawn(move || {
                super::thread::yield_now();
                moving::advance(duration);
                condvar.notify_all();
            }));
            let result = |guard| (guard, WaitTimeoutResult(began.elapsed() >= duration));
            match self.0.wait(guard) {
                Ok(guard) => Ok(result(guard)),
                Err(poisoned) => Err(std::sync::PoisonError::new(result(poisoned.into_inner()))),
            }
        }

        /// Wakes one waiter, as `std`'s does.
        pub fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Wakes all waiters, as `std`'s does.
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}
