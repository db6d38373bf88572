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

use stealyard_park::{Parker, Unparker};
use stealyard_sync::atomic::{AtomicBool, Ordering, fence};

/// What wakes one thread that waits; the thread itself has the parker that came with it.
#[derive(Debug)]
pub(super) struct Sleeper {
    asleep: AtomicBool,
    unparker: Unparker,
}

impl Sleeper {
    pub(super) fn new() -> (Self, Parker) {
        let parker = Parker::new();
        let sleeper = Self {
            asleep: AtomicBool::new(false),
            unparker: parker.unparker(),
        };
        (sleeper, parker)
    }

    /// Sleeps until woken, unless `awake` holds. It may return for no reason: a wake that came when
    /// the thread was awake already is taken by its next sleep.
    pub(super) fn sleep_unless(&self, parker: &Parker, awake: impl Fn() -> bool) {
        // Ordering: Relaxed; the fence below orders it (Z1).
        self.asleep.store(true, Ordering::Relaxed);
        // Ordering: SeqCst (Z1); partner Z2.
        fence(Ordering::SeqCst);
        if !awake() {
            parker.park();
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
            self.unparker.unpark();
        }
    }
}
