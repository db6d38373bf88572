//! A word that threads can sleep on, by `futex(2)`: for Linux.
//!
//! The kernel gives both guarantees of `imp.rs`: its check of the word and the falling asleep are
//! one step to a wake (F1), and a signal may end a wait (F2).

use stealyard_sync::atomic::AtomicU32;
use stealyard_sync::time::Duration;

/// The longest wait that is asked for at once. The kernel adds a signed number of seconds to its
/// clock. A year stays far from any overflow, and a wait may end early (F2 of `imp.rs`).
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

    /// Returns the word itself, for everything but sleeping.
    #[inline(always)]
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Sleeps if the word holds `expected`, until a wake, the timeout, or for no reason (F1, F2 of
    /// `imp.rs`).
    pub(crate) fn wait(&self, expected: u32, timeout: Option<Duration>) {
        let time = timeout.map(timespec);
        let time_pointer = time.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
        // SAFETY: 1. the word is a valid, aligned `u32` for as long as `self` is borrowed; 2. the
        // time is null or a `timespec` that outlives the call. The result is not needed: a signal,
        // a changed word, a timeout and a wake all mean "look again" (F2 of `imp.rs`).
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
    // Both fields fit their types on every target: seconds are capped, and nanoseconds are below
    // 10^9.
    libc::timespec {
        tv_sec: duration.as_secs().min(SECONDS_MAX) as libc::time_t,
        tv_nsec: duration.subsec_nanos() as _,
    }
}
