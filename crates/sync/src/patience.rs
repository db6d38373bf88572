//! Patience: how long a thread waits by spinning before it gives up.
//!
//! An algorithm that waits a moment for another thread (to finish a claim, to get to a task) has a
//! second way for when the moment is over. Under a model the moment is over at once: a model has no
//! time, and the second way is what is to be seen. That is said here, so that no algorithm asks
//! whether it runs in a model.

use core::fmt;

use crate::time::{Duration, Instant};
use crate::{Backoff, MODELLED, hint};

/// A bounded wait by spinning.
///
/// ```
/// use stealyard_sync::Patience;
/// use stealyard_sync::atomic::{AtomicBool, Ordering};
///
/// /// Waits until `flag` is set, a moment at the most.
/// fn is_set_soon(flag: &AtomicBool) -> bool {
///     let mut patience = Patience::backing_off();
///     while patience.pause() {
///         // Ordering: Relaxed; a hint when to stop waiting.
///         if flag.load(Ordering::Relaxed) {
///             return true;
///         }
///     }
///     false
/// }
///
/// assert!(!is_set_soon(&AtomicBool::new(false)));
/// ```
#[must_use = "it waits only when `pause` is called"]
pub struct Patience(Budget);

enum Budget {
    /// A time, from when it began.
    Time { began: Instant, limit: Duration },
    /// Pauses that grow, and then a few turns for other threads.
    Steps(Backoff),
}

impl Patience {
    /// Begins a wait of at most `budget`.
    pub fn new(budget: Duration) -> Self {
        Self(Budget::Time {
            began: Instant::now(),
            limit: budget,
        })
    }

    /// Begins a wait of a few pauses, each twice as long as the one before, after which the thread
    /// yields a few times: some microseconds in all.
    pub fn backing_off() -> Self {
        Self(Budget::Steps(Backoff::new()))
    }

    /// Pauses once, and returns whether to look again. False once the budget is used up, and under
    /// a model from the start.
    #[inline]
    pub fn pause(&mut self) -> bool {
        if MODELLED {
            return false;
        }
        match &self.0 {
            Budget::Time { began, limit } => {
                if began.elapsed() >= *limit {
                    return false;
                }
                hint::spin_loop();
            }
            Budget::Steps(backoff) => {
                if backoff.is_completed() {
                    return false;
                }
                backoff.snooze();
            }
        }
        true
    }

    /// In a model, lets the other threads run and returns true. Elsewhere returns false at once.
    ///
    /// A loop that looks, waits with patience and then sleeps may come round without having slept,
    /// because it was woken for something else. Elsewhere time passes meanwhile. In a model, where
    /// nothing has paused, it must give way, or it looks for ever.
    #[inline]
    pub fn gives_way_in_model() -> bool {
        if MODELLED {
            hint::spin_loop();
        }
        MODELLED
    }

    /// Pauses once after a lost race, a little longer each time, without giving up: for a loop that
    /// ends by itself. Does nothing under a model.
    #[inline]
    pub fn yield_to_winner(&mut self) {
        if MODELLED {
            return;
        }
        match &self.0 {
            Budget::Time { .. } => hint::spin_loop(),
            Budget::Steps(backoff) => backoff.spin(),
        }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Budget::Time { began, limit } => f
                .debug_struct("Patience")
                .field("spent", &began.elapsed())
                .field("limit", limit)
                .finish(),
            Budget::Steps(backoff) => f.debug_tuple("Patience").field(backoff).finish(),
        }
    }
}

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_its_budget_is_used_up() {
        let mut none = Patience::new(Duration::ZERO);
        assert!(!none.pause());
        let mut long = Patience::new(Duration::MAX);
        assert!((0..100).all(|_| long.pause()));
        let mut steps = Patience::backing_off();
        let taken = (0..100).take_while(|_| steps.pause()).count();
        assert!((2..100).contains(&taken), "{taken} pauses");
        steps.yield_to_winner();
        assert!(!steps.pause(), "it stays used up");
    }

    #[test]
    fn no_thread_gives_way_outside_of_a_model() {
        assert!(!Patience::gives_way_in_model());
    }
}
