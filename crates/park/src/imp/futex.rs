//! Linux: a word that threads can sleep on, by `futex(2)`.
//!
//! # Invariants
//! - **F1** `wait(expected)` returns at once if the word no longer holds `expected` when the kernel
//!   looks; the look and the falling asleep are one step as seen by `wake_one` and `wake_all`. So a
//!   change of the word followed by a wake is never missed.
//! - **F2** `wait` may return for no reason. Whoever calls it looks at the word again.

use stealyard_sync::atomic::AtomicU32;
use stealyard_sync::time::Duration;

/// The kernel reads the time as a signed number of seconds added to its clock: a year at a time
/// stays far from any overflow, and a wait that ends early is allowed (F2).
const SECONDS_MAX: u64 = 365 * 24 * 60 * 60;

/// A word that threads can sleep on.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU32,
}

impl Futex {
    pub(crate) fn new(value: u32) -> Self {
        Self {
            word: AtomicU32::new(value),
        }
    }

    /// The word itself, for everything but sleeping.
    #[inline(always)]
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Sleeps if the word holds `expected`, until a wake, the timeout, or no reason (F1, F2).
    pub(crate) fn wait(&self, expected: u32, timeout: Option<Duration>) {
        let time = timeout.map(timespec);
        let time_pointer = time.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
        // SAFETY: 1. the word is a valid, aligned `u32` for as long as `self` is borrowed; 2. the time
        // is null or a `timespec` that outlives the call. The result is not needed: a signal, a
        // changed word, a timeout and a wake all mean "look again" (F2).
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.word.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                expected,
                time_pointer,
            );
        }
    }

    /// Wakes one sleeper, if there is one.
    pub(crate) fn wake_one(&self) {
        self.wake(1);
    }

    /// Wakes every sleeper.
    pub(crate) fn wake_all(&self) {
        self.wake(i32::MAX);
    }

    fn wake(&self, count: i32) {
        // SAFETY: 1. the word is a valid, aligned `u32` for as long as `self` is borrowed.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.word.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                count,
            );
        }
    }
}

fn timespec(duration: Duration) -> libc::timespec {
    // Both fields fit their types on every target: seconds are capped, nanoseconds are under 10^9.
    libc::timespec {
        tv_sec: duration.as_secs().min(SECONDS_MAX) as libc::time_t,
        tv_nsec: duration.subsec_nanos() as _,
    }
}
