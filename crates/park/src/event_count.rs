//! Waiting for any condition, without a lock around it: for waiters that are not workers.
//!
//! A wait has three steps:
//! 1. the waiter *prepares*;
//! 2. it checks its condition once more;
//! 3. it *waits*, or *cancels* if the condition is true.
//!
//! A thread that makes the condition true *notifies* afterwards. A notification after the
//! preparation ends the wait, so the check in step 2 closes the gap that a bare sleep would have.
//! The condition lives in the caller's own words (a queue, a latch, a flag), and this file never
//! sees it.
//!
//! # Operations
//! RMW is a read-modify-write.
//!
//! | operation                   | caller     | progress  | cost                                |
//! |-----------------------------|------------|-----------|-------------------------------------|
//! | `notify`, no waiter         | any thread | wait-free | light fence, a load                 |
//! | `notify`, a waiter          | any thread | wait-free | one RMW, a system call              |
//! | `prepare`                   | any thread | wait-free | one RMW, a load, a heavy fence      |
//! | `Waiting::wait`             | the waiter | blocking  | a load, perhaps a system call       |
//! | `Waiting::cancel`, dropping | the waiter | wait-free | one RMW                             |
//!
//! # Layout
//! ```text
//! waiters   the number of waiters that have prepared and neither been woken nor cancelled
//! epoch     grows with each notification that found a waiter; the word that waiters sleep on
//! ```
//!
//! # Invariants
//! - **E1** A waiter sleeps only while the epoch is the one that it read when it prepared.
//! - **E2** *No waiter sleeps through the last notification.* Let N be a notification after the
//!   condition was made true, and W a preparation. Either N sees W's count and advances the epoch,
//!   or W's check sees that the condition is true.
//! - **E3** *No notification is taken away.* `notify_one` ends the wait of at least one waiter that
//!   had prepared and sleeps, if there is one. It may end the waits of others that had prepared and
//!   do not sleep yet. The end of a wait proves nothing, and each waiter checks its condition
//!   again. So a cancelled or timed-out wait never takes a notification away from another waiter.
//!
//! # Orderings
//! | label | operation                                        | partner | publishes              |
//! |-------|--------------------------------------------------|---------|------------------------|
//! | EO1   | `notify`: light fence before it loads `waiters`  | EO2     | the condition          |
//! | EO2   | `prepare`: heavy fence after counting, reading   | EO1     | the waiter             |
//! | EO3   | `notify`: epoch plus one, Release                | EO4     | the condition          |
//! | EO4   | `wait`: loads the epoch, Acquire                 | EO3     | –                      |
//!
//! # Why E2 holds
//! W counts itself, reads the epoch, passes EO2 and then checks the condition. N makes the
//! condition true, passes EO1 and then loads the count.
//! - If EO1 comes first, the condition is visible to W's check.
//! - If EO2 comes first, the count is visible to N, which advances the epoch. W read the epoch
//!   before EO2, so it read an older one. It either does not sleep, or is asleep and is woken (F1
//!   of `imp.rs`).
//!
//! # Foreign code
//! None runs in this file. The caller checks its condition between `prepare` and `wait`, while the
//! waiter is counted. If that panics, the dropped [`Waiting`] cancels. A `Waiting` that is
//! forgotten stays counted: every later notification makes its system call, though perhaps no
//! thread waits. It ends no other wait and delays none.
//!
//! # Why not …
//! - *Epoch and count in one 64-bit word*, with one read-modify-write to prepare: a futex is 32
//!   bits wide, and half of a wider word is not reachable in a portable way.
//! - *A list of waiters* (`event-listener`): it can notify an exact number of waiters, and costs a
//!   lock and a node for each wait.
//!
//! # Limits
//! A waiter sleeps on if it is held up between reading the epoch and sleeping while exactly 2^32
//! notifications pass, each with a waiter to wake. That many take over an hour.
//!
//! # References
//! D. Vyukov's eventcount (as in Eigen); folly's `EventCount`.

use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::time::{Duration, Instant};
use stealyard_sync::{CachePadded, MODELLED, asymmetric};

use crate::imp::Futex;
use crate::parker::ParkResult;

/// A place to wait for conditions that are kept elsewhere. The essay at the top of the file
/// describes the protocol.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use stealyard_park::EventCount;
///
/// let ready = AtomicBool::new(false);
/// let event = EventCount::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         ready.store(true, Ordering::Release);
///         event.notify_all(); // after the condition, always
///     });
///     while !ready.load(Ordering::Acquire) {
///         let waiting = event.prepare();
///         if ready.load(Ordering::Acquire) {
///             waiting.cancel();
///         } else {
///             waiting.wait();
///         }
///     }
/// });
/// ```
#[derive(Debug)]
pub struct EventCount {
    inner: CachePadded<Inner>,
}

#[derive(Debug)]
struct Inner {
    waiters: AtomicUsize,
    epoch: Futex,
}

/// A waiter that has prepared. It must check its condition, and then [`wait`](Self::wait) or
/// [`cancel`](Self::cancel).
///
/// Dropping it cancels. Forgetting it makes every later notification cost a system call.
#[derive(Debug)]
#[must_use = "look at the condition again, then wait or cancel"]
pub struct Waiting<'a> {
    event: &'a EventCount,
    epoch: u32,
}

impl EventCount {
    /// Creates an event count without waiters.
    pub fn new() -> Self {
        // The kind of fence is chosen here, where there is time, and not at the first notification.
        let _ = asymmetric::mode();
        Self {
            inner: CachePadded::new(Inner {
                waiters: AtomicUsize::new(0),
                epoch: Futex::new(0),
            }),
        }
    }

    /// Announces that this thread is about to wait. The caller must check its condition again
    /// afterwards.
    pub fn prepare(&self) -> Waiting<'_> {
        // Ordering: Relaxed; the heavy fence below publishes the count (EO2).
        self.inner.waiters.fetch_add(1, Ordering::Relaxed);
        // Ordering: Relaxed; only compared, and the heavy fence below keeps it before the check
        // (E2).
        let epoch = self.inner.epoch.word().load(Ordering::Relaxed);
        let waiting = Waiting { event: self, epoch };
        // Ordering: EO2, partner: the light fence of `notify` (EO1). If it panics, the waiter is
        // dropped.
        asymmetric::heavy();
        waiting
    }

    /// Ends the wait of one waiter, if any waits (E3). Call it after making the condition true.
    #[inline]
    pub fn notify_one(&self) {
        if self.has_waiters() {
            self.advance();
            self.inner.epoch.wake_one();
        }
    }

    /// Ends the waits of all waiters that have prepared. Call it after making the condition true.
    #[inline]
    pub fn notify_all(&self) {
        if self.has_waiters() {
            self.advance();
            self.inner.epoch.wake_all();
        }
    }

    /// Returns the number of waiters that have prepared and not finished. A snapshot.
    pub fn waiters(&self) -> usize {
        // Ordering: Relaxed; a snapshot.
        self.inner.waiters.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn has_waiters(&self) -> bool {
        // Ordering: EO1, partner: the heavy fence of `prepare` (EO2).
        asymmetric::light();
        self.waiters() != 0
    }

    #[cold]
    fn advance(&self) {
        // Ordering: Release (EO3); a waiter that sees the new epoch sees the condition. Unmodelled:
        // the light fence just before is a full one in a model, and releases as well. With
        // membarrier the light fence is none.
        self.inner.epoch.word().fetch_add(1, Ordering::Release);
    }
}

impl Default for EventCount {
    fn default() -> Self {
        Self::new()
    }
}

impl Waiting<'_> {
    /// Sleeps until a notification that comes after [`EventCount::prepare`]. What the notifier did
    /// before is visible after.
    pub fn wait(self) {
        while !self.notified() {
            self.event.inner.epoch.wait(self.epoch, None);
        }
    }

    /// Sleeps for at most `timeout`. With `Duration::MAX` it does what [`wait`](Self::wait) does.
    pub fn wait_timeout(self, timeout: Duration) -> ParkResult {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.wait_until(deadline),
            None => {
                self.wait();
                ParkResult::Notified
            }
        }
    }

    /// Sleeps until `deadline` at the latest.
    pub fn wait_until(self, deadline: Instant) -> ParkResult {
        loop {
            if self.notified() {
                return ParkResult::Notified;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return ParkResult::TimedOut;
            }
            self.event.inner.epoch.wait(self.epoch, Some(left));
            if MODELLED && !self.notified() {
                return ParkResult::TimedOut; // the model's clock stands still: the end of its time
            }
        }
    }

    /// Cancels the wait, because the condition is true.
    pub fn cancel(self) {}

    fn notified(&self) -> bool {
        // Ordering: Acquire (EO4); what the notifier did before is visible (E1).
        self.event.inner.epoch.word().load(Ordering::Acquire) != self.epoch
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Ordering: Relaxed; one waiter less publishes nothing. A notifier that still counts the
        // waiter makes a wake in vain.
        self.event.inner.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stealyard_sync::atomic::AtomicBool;
    use stealyard_sync::{Arc, thread};

    /// Waits correctly once: being counted does not mean that `prepare` has finished, so the
    /// condition is checked in between.
    fn wait_until_ready((event, ready): &(EventCount, AtomicBool)) -> ParkResult {
        let waiting = event.prepare();
        // Ordering: Acquire; the partner of `make_ready`.
        if ready.load(Ordering::Acquire) {
            return ParkResult::Notified;
        }
        waiting.wait_timeout(Duration::MAX)
    }

    fn make_ready(ready: &AtomicBool) {
        // Ordering: Release; the partner of `wait_until_ready`.
        ready.store(true, Ordering::Release);
    }

    #[test]
    fn a_notification_between_preparing_and_waiting_ends_the_wait() {
        let event = EventCount::new();
        let waiting = event.prepare();
        assert_eq!(event.waiters(), 1);
        event.notify_one();
        waiting.wait();
        assert_eq!(event.waiters(), 0);
    }

    #[test]
    fn a_notification_before_preparing_is_not_remembered() {
        let event = EventCount::new();
        event.notify_all();
        let waiting = event.prepare();
        let result = waiting.wait_timeout(Duration::from_millis(1));
        assert_eq!(result, ParkResult::TimedOut);
        assert_eq!(event.waiters(), 0);
    }

    #[test]
    fn a_cancelled_wait_takes_no_notification_from_another() {
        let shared = Arc::new((EventCount::new(), AtomicBool::new(false)));
        let other = Arc::clone(&shared);
        let sleeper = thread::spawn(move || wait_until_ready(&other));
        let (event, ready) = &*shared;
        while event.waiters() == 0 {
            thread::yield_now();
        }
        let cancelled = event.prepare();
        make_ready(ready);
        event.notify_one();
        cancelled.cancel();
        assert_eq!(sleeper.join().unwrap(), ParkResult::Notified);
    }

    #[test]
    fn notify_all_ends_every_wait_and_a_very_long_timeout_is_none() {
        let shared = Arc::new((EventCount::new(), AtomicBool::new(false)));
        let sleepers: Vec<_> = (0..4)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || wait_until_ready(&shared))
            })
            .collect();
        let (event, ready) = &*shared;
        while event.waiters() < 4 {
            thread::yield_now();
        }
        make_ready(ready);
        event.notify_all();
        for sleeper in sleepers {
            assert_eq!(sleeper.join().unwrap(), ParkResult::Notified);
        }
    }
}
