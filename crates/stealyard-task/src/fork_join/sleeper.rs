//! Puts a waiting thread to sleep and wakes it, whatever it waits for.
//!
//! The thread that waits says that it is about to sleep, looks once more at what it waits for, and
//! sleeps. The thread that changes that thing looks afterwards whether a thread sleeps. Both have a
//! full fence between their write and their read, so one of the two sees the other.
//!
//! # Orderings
//! | label | operation                                   | partner | publishes             |
//! |-------|---------------------------------------------|---------|-----------------------|
//! | Z1    | `sleep_unless`: flag; fence SeqCst; condition | Z2    | store–load            |
//! | Z2    | `wake`: (condition;) fence SeqCst; flag     | Z1      | store–load            |

use stealyard_park::{Parker, SpinConfig, SpinWait, Unparker};
use stealyard_sync::Patience;
use stealyard_sync::atomic::{AtomicBool, Ordering, fence};
use stealyard_sync::hint::spin_loop;
use stealyard_sync::time::Duration;

/// What wakes one thread that waits. The thread itself has the parker that came with it, and spins
/// by what that has learned before it comes here.
#[derive(Debug)]
pub(super) struct Sleeper {
    asleep: AtomicBool,
    unparker: Unparker,
}

impl Sleeper {
    /// Makes one, with the parker of the thread that waits. The parker spins within the bounds of
    /// `spin`.
    pub(super) fn new(spin: SpinConfig) -> (Self, Parker) {
        let parker = Parker::with_spin(spin);
        let sleeper = Self {
            asleep: AtomicBool::new(false),
            unparker: parker.unparker(),
        };
        (sleeper, parker)
    }

    /// Sleeps until woken, unless `awake` holds. It may return for no reason: a wake that came
    /// while the thread was awake is taken by its next sleep.
    pub(super) fn sleep_unless(&self, parker: &Parker, awake: impl Fn() -> bool) {
        // Ordering: Relaxed; the fence below orders it (Z1).
        self.asleep.store(true, Ordering::Relaxed);
        // Ordering: SeqCst (Z1); partner Z2.
        fence(Ordering::SeqCst);
        if !awake() {
            let _woken = parker.park_now(None);
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

    /// Wakes the thread if it sleeps, for a caller that has issued the fence of
    /// [`wake`](Self::wake).
    pub(super) fn wake_after_fence(&self) {
        // Ordering: Relaxed; the fence before orders it (Z2).
        if self.asleep.load(Ordering::Relaxed) {
            self.unparker.unpark();
        }
    }
}

/// Pauses between two looks.
const PAUSES: u32 = 4;

/// The spin of a thread that looks for something to do while it waits, before it sleeps. It takes
/// as long as a sleep and a wake cost, where that pays (`Spin` of `stealyard-park`), and begins
/// anew after each thing that the thread found.
pub(super) struct Spinning<'a> {
    parker: &'a Parker,
    wait: Option<SpinWait>,
    gave_way: bool,
}

impl<'a> Spinning<'a> {
    pub(super) fn new(parker: &'a Parker) -> Self {
        Self {
            parker,
            wait: None,
            gave_way: false,
        }
    }

    /// Pauses, if the thread is to look again before it sleeps.
    pub(super) fn goes_on(&mut self) -> bool {
        let begin = || self.parker.spin_wait(1, Duration::ZERO);
        if self.wait.get_or_insert_with(begin).look() {
            (0..PAUSES).for_each(|_| spin_loop());
            return true;
        }
        if !self.gave_way && Patience::gives_way_in_model() {
            self.gave_way = true;
            return true;
        }
        self.end(false);
        false
    }

    /// Ends the spin. `found` says whether the thread found something, or what it waits for has
    /// come.
    pub(super) fn end(&mut self, found: bool) {
        self.gave_way = false;
        if let Some(wait) = self.wait.take() {
            self.parker.end_spin_wait(wait, found);
        }
    }
}

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    use super::*;

    /// How often a thread with this spin looks again before it sleeps, up to three times.
    fn looks(spin: SpinConfig) -> usize {
        let (_sleeper, parker) = Sleeper::new(spin);
        let mut spinning = Spinning::new(&parker);
        (0..3).take_while(|_| spinning.goes_on()).count()
    }

    #[test]
    fn a_thread_spins_within_the_bounds_it_was_given() {
        assert_eq!(looks(SpinConfig::OFF), 0);
        // The minimum is spun even if the core is taken away meanwhile.
        let long = SpinConfig {
            min: Duration::from_secs(1000),
            max: Duration::from_secs(1000),
            ..SpinConfig::default()
        };
        assert_eq!(looks(long), 3);
    }
}
