//! Puts a waiting thread to sleep and wakes it, whatever it waits for.
//!
//! The thread that waits says that it is about to sleep, looks once more at what it waits for, and
//! sleeps. Who changes that thing looks whether somebody sleeps. Both have a full fence between their
//! write and their read, so one of the two sees the other.
//!
//! # Orderings
//! | label | operation                                   | partner | publishes             |
//! |-------|---------------------------------------------|---------|-----------------------|
//! | Z1    | `sleep_unless`: flag; fence SeqCst; condition | Z2    | store–load            |
//! | Z2    | `wake`: (condition;) fence SeqCst; flag     | Z1      | store–load            |

use stealyard_sync::Mutex;
use stealyard_sync::atomic::{AtomicBool, Ordering, fence};
use stealyard_sync::thread::{self, Thread};

/// One thread's bed.
#[derive(Debug)]
pub(super) struct Sleeper {
    asleep: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

impl Sleeper {
    pub(super) fn new() -> Self {
        Self {
            asleep: AtomicBool::new(false),
            thread: Mutex::new(None),
        }
    }

    /// The bed is this thread's from here on.
    pub(super) fn occupy(&self) {
        *self.lock() = Some(thread::current());
    }

    /// The bed is nobody's.
    pub(super) fn leave(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> stealyard_sync::MutexGuard<'_, Option<Thread>> {
        match self.thread.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Sleeps until woken, unless `awake` holds. It may return for no reason.
    pub(super) fn sleep_unless(&self, awake: impl Fn() -> bool) {
        // Ordering: Relaxed; the fence below orders it (Z1).
        self.asleep.store(true, Ordering::Relaxed);
        // Ordering: SeqCst (Z1); partner Z2.
        fence(Ordering::SeqCst);
        if !awake() {
            thread::park();
        }
        // Ordering: Relaxed; a waker that still sees `true` unparks once too often.
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Wakes the thread if it sleeps. The caller has changed what it waits for.
    pub(super) fn wake(&self) {
        // Ordering: SeqCst (Z2); partner Z1.
        fence(Ordering::SeqCst);
        self.wake_after_fence();
    }

    /// [`wake`](Self::wake) for a caller that has issued the fence.
    pub(super) fn wake_after_fence(&self) {
        // Ordering: Relaxed; the fence before orders it (Z2).
        if self.asleep.load(Ordering::Relaxed) {
            let thread = self.lock().clone();
            if let Some(thread) = thread {
                thread.unpark();
            }
        }
    }
}
