//! A word that threads can sleep on, made of a mutex and a condition variable: for every platform
//! but Linux, and for models.
//!
//! Why no wake is missed (F1 of `imp.rs`): `wait` and the wakes hold the lock.
//! - A waker that took the lock first has changed the word before, and the waiter sees that.
//! - A waker that takes the lock later finds the waiter asleep.

use stealyard_sync::atomic::{AtomicU32, Ordering};
use stealyard_sync::time::Duration;
use stealyard_sync::{Condvar, MODELLED, Mutex, MutexGuard, thread, unpoisoned};

/// A word that threads can sleep on.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU32,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Futex {
    pub(crate) fn new(value: u32) -> Self {
        Self {
            word: AtomicU32::new(value),
            lock: Mutex::new(()),
            changed: Condvar::new(),
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
        if MODELLED && timeout.is_some() {
            // A model has no time: a timed wait ends at once, which F2 allows.
            thread::yield_now();
            return;
        }
        let guard = self.hold();
        // Ordering: Relaxed; the lock orders this against every waker (F1 of `imp.rs`), and the
        // caller reads the word again with the ordering that it needs.
        if self.word.load(Ordering::Relaxed) != expected {
            return;
        }
        match timeout {
            None => drop(unpoisoned::wait(&self.changed, guard)),
            Some(limit) => drop(unpoisoned::wait_timeout(&self.changed, guard, limit)),
        }
    }

    /// Wakes one sleeper, if there is one.
    pub(crate) fn wake_one(&self) {
        drop(self.hold());
        self.changed.notify_one();
    }

    /// Wakes every sleeper.
    pub(crate) fn wake_all(&self) {
        drop(self.hold());
        self.changed.notify_all();
    }

    /// Takes the lock. It guards nothing that a panic could leave half done.
    fn hold(&self) -> MutexGuard<'_, ()> {
        unpoisoned::lock(&self.lock)
    }
}
