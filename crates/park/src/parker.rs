//! One thread's token: the smallest thing that a thread can sleep on without losing a wake.
//!
//! An [`Unparker`] leaves the token. The [`Parker`] takes it, sleeping until it is there. Leaving
//! the token twice is the same as leaving it once. The mechanism is that of `std::thread::park`,
//! with three differences:
//! - the token belongs to the pair and not to the thread, so no other library on the thread can use
//!   it up;
//! - deadlines and very long timeouts are safe;
//! - the parker may first spin for as long as a sleep and a wake are measured to cost (see
//!   [`Spin`]).
//!
//! # Operations
//! CAS is a compare-and-swap.
//!
//! | operation                    | caller     | progress  | cost                                 |
//! |------------------------------|------------|-----------|--------------------------------------|
//! | `unpark`, parker awake       | any thread | wait-free | one swap                             |
//! | `unpark`, parker asleep      | any thread | wait-free | one swap, a system call              |
//! | `park`, token there          | the parker | wait-free | one CAS                              |
//! | `park`, token not there      | the parker | blocking  | two CASs, a system call              |
//! | `park_timeout`, `park_until` | the parker | bounded   | as `park`, and reads the clock       |
//! | `park_now`                   | the parker | blocking  | as `park`, without the spin          |
//!
//! # Layout
//! ```text
//!            unpark                     unpark + system call
//!   EMPTY ───────────▶ NOTIFIED ◀─────────────────────────── PARKED
//!     ▲                  │  ▲ └─ unpark (stays)                 ▲
//!     └──────────────────┘  park takes it                       │
//!     └─────────────────────── park, before it sleeps ──────────┘
//! ```
//!
//! # Invariants
//! - **P1** *A token is never lost.* Only the parker writes EMPTY and PARKED. An unparker writes
//!   only NOTIFIED. So a token, once left, stays until the parker takes it.
//! - **P2** *A token is never doubled.* The parker reports the token at most once for each time
//!   that it was taken, and leaves EMPTY behind. Of two `park` after two `unpark`, exactly one
//!   returns at once.
//! - **P3** *The parker sleeps only on a word that holds PARKED.* An unparker that replaces PARKED
//!   makes the system call. One that finds another value need not, because the parker does not
//!   sleep.
//! - **P4** *A return from the sleep proves nothing.* The parker looks at the word, and sleeps
//!   again unless the word holds NOTIFIED or the time is up.
//!
//! # Orderings
//! | label | operation                           | partner | publishes                        |
//! |-------|-------------------------------------|---------|----------------------------------|
//! | PO1   | `unpark`: swap to NOTIFIED, Release | PO2     | all that the unparker did before |
//! | PO2   | parker: takes NOTIFIED, Acquire     | PO1     | –                                |
//!
//! When two unparkers leave the token in a row, the second swap continues the release sequence of
//! the first, so PO2 sees what both did.
//!
//! # Foreign code
//! None runs in this file. A parker that is forgotten leaks its word, and its unparkers leave their
//! token in vain.
//!
//! # Why not …
//! - *`std::thread::park`*: any library on the same thread may take or leave its token, and a
//!   timeout cannot tell a token from the end of time.
//! - *A condition variable*: two words and a lock where one word is enough.
//! - *A load before the swap of `unpark`*, to skip the swap when the token is already there: then
//!   PO1 would not hold for the second unparker.
//!
//! # References
//! U. Drepper, *Futexes are tricky*, `futex(2)`, and the documentation of `std::thread::park`.

use core::cell::Cell;
use core::panic::RefUnwindSafe;

use stealyard_sync::atomic::{AtomicU64, Ordering};
use stealyard_sync::time::{Duration, Instant};
use stealyard_sync::{Arc, CachePadded, MODELLED, hint};

use crate::imp::Futex;
use crate::spin::{Spin, SpinConfig, as_ns};
use crate::spin_wait::SpinWait;

const EMPTY: u32 = 0;
const PARKED: u32 = 1;
const NOTIFIED: u32 = 2;

/// The number of pauses between two looks at the clock while spinning.
const PAUSES_PER_LOOK: u32 = 8;

/// The result of a timed park.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a park that timed out took no token"]
pub enum ParkResult {
    /// The token was there or came in time, and has been taken.
    Notified,
    /// The time was up, and there was no token.
    TimedOut,
}

/// What a parker and its unparkers share.
#[derive(Debug)]
struct ParkerState {
    futex: Futex,
    /// Measures what a wake costs. Present if the parker spins.
    clock: Option<WakeClock>,
}

/// The moment at which the last unparker that made the system call began, in nanoseconds after
/// `start`; zero if there is nothing to learn.
///
/// Used for measurement only: a lost value costs accuracy and nothing else.
#[derive(Debug)]
struct WakeClock {
    start: Instant,
    began_ns: AtomicU64,
}

impl WakeClock {
    fn now_ns(&self) -> u64 {
        as_ns(self.start.elapsed())
    }

    fn stamp(&self) {
        // Ordering: Relaxed; a measurement that nothing depends on.
        self.began_ns.store(self.now_ns().max(1), Ordering::Relaxed);
    }

    /// Returns the time since the wake began, if one was stamped after the last call.
    fn take(&self) -> Option<Duration> {
        // Ordering: Relaxed; as above.
        let began = self.began_ns.swap(0, Ordering::Relaxed);
        (began != 0).then(|| Duration::from_nanos(self.now_ns().saturating_sub(began)))
    }

    fn forget(&self) {
        // Ordering: Relaxed; as above.
        self.began_ns.store(0, Ordering::Relaxed);
    }
}

/// The end that sleeps. It belongs to one thread at a time: it can be sent, not shared.
///
/// ```
/// use stealyard_park::Parker;
///
/// let parker = Parker::new();
/// let unparker = parker.unparker();
/// let other = std::thread::spawn(move || unparker.unpark());
/// parker.park(); // returns when, and only when, the token was left
/// other.join().unwrap();
/// ```
pub struct Parker {
    shared: Arc<CachePadded<ParkerState>>,
    /// The spin learned so far. It is in a `Cell`, so that the parker is not `Sync`.
    spin: Cell<Option<Spin>>,
}

// The cell holds the learned spin, a value that is consistent at any time.
impl RefUnwindSafe for Parker {}

/// The end that wakes. It is cheap to clone, and any thread may use it.
#[derive(Clone)]
pub struct Unparker {
    shared: Arc<CachePadded<ParkerState>>,
}

impl Parker {
    /// Creates a parker that goes to sleep without spinning. Its token is not there yet.
    pub fn new() -> Self {
        Self::build(None)
    }

    /// Creates a parker that spins before it sleeps, within the bounds of `config`; see [`Spin`].
    ///
    /// Spinning is worth its CPU time where waits are often shorter than a sleep and a wake, and
    /// where the waker runs on another core. While the parker spins, `unpark` makes no system call.
    pub fn with_spin(config: SpinConfig) -> Self {
        Self::build(Some(Spin::new(config)))
    }

    fn build(spin: Option<Spin>) -> Self {
        let clock = spin.is_some().then(|| WakeClock {
            start: Instant::now(),
            began_ns: AtomicU64::new(0),
        });
        Self {
            shared: Arc::new(CachePadded::new(ParkerState {
                futex: Futex::new(EMPTY),
                clock,
            })),
            spin: Cell::new(spin),
        }
    }

    /// Returns an end that wakes this one.
    pub fn unparker(&self) -> Unparker {
        Unparker {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Takes the token, sleeping until it is there. Never returns without it.
    pub fn park(&self) {
        if self.take() || self.spin(None) {
            return;
        }
        let taken = self.sleep(None);
        debug_assert_eq!(taken, ParkResult::Notified, "P4: slept without a deadline");
    }

    /// Takes the token, sleeping for at most `timeout`. With `Duration::MAX` it does what
    /// [`park`](Self::park) does.
    pub fn park_timeout(&self, timeout: Duration) -> ParkResult {
        if self.take() {
            return ParkResult::Notified;
        }
        if timeout.is_zero() {
            return ParkResult::TimedOut;
        }
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.park_until(deadline),
            None => {
                self.park();
                ParkResult::Notified
            }
        }
    }

    /// Takes the token, sleeping until `deadline` at the latest. With a deadline in the past it
    /// takes the token only if it is there.
    pub fn park_until(&self, deadline: Instant) -> ParkResult {
        if self.take() || self.spin(Some(deadline)) {
            return ParkResult::Notified;
        }
        self.sleep(Some(deadline))
    }

    /// Takes the token. If it is not there, sleeps at once, without the spin.
    ///
    /// This is for callers that have spent the [`spin_budget`](Self::spin_budget) on something
    /// better, such as a search for work. The cost of the wake is measured all the same. Without a
    /// deadline the call never times out.
    pub fn park_now(&self, deadline: Option<Instant>) -> ParkResult {
        if self.take() {
            return ParkResult::Notified;
        }
        self.sleep(deadline)
    }

    /// Returns how long this parker spins before its next sleep; zero if it does not spin.
    pub fn spin_budget(&self) -> Duration {
        self.spin.get().map_or(Duration::ZERO, |spin| spin.budget())
    }

    /// Takes the token if it is there (P2).
    #[inline]
    fn take(&self) -> bool {
        let word = self.shared.futex.word();
        // Ordering: Acquire (PO2); what the unparker did before is visible after. On failure
        // Relaxed: no token was taken.
        word.compare_exchange(NOTIFIED, EMPTY, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Begins a wait that spins on something better than the token, before a
    /// [`park_now`](Self::park_now).
    ///
    /// It spins for as long as this parker would, and for `more` in addition where spinning pays.
    /// `running` has the meaning that it has in [`SpinWait::begin`].
    pub fn spin_wait(&self, running: usize, more: Duration) -> SpinWait {
        let spin = self.spin.get().unwrap_or(Spin::new(SpinConfig::OFF));
        SpinWait::begin_longer(spin, running, more)
    }

    /// Ends a wait that [`spin_wait`](Self::spin_wait) began. `came` tells whether the event came
    /// that was waited for.
    pub fn end_spin_wait(&self, wait: SpinWait, came: bool) {
        let learned = wait.end(came);
        self.spin.set(self.spin.get().map(|_| learned));
    }

    /// Waits for the token without sleeping, for as long as the learned spin allows. Returns true
    /// if it took the token.
    fn spin(&self, deadline: Option<Instant>) -> bool {
        if self.spin.get().is_none() {
            return false;
        }
        let mut wait = self.spin_wait(1, Duration::ZERO);
        if let Some(deadline) = deadline {
            wait = wait.until(deadline);
        }
        let taken = wait.spins() && self.spin_on(&mut wait);
        self.end_spin_wait(wait, taken);
        taken
    }

    fn spin_on(&self, wait: &mut SpinWait) -> bool {
        loop {
            for _ in 0..PAUSES_PER_LOOK {
                // Ordering: Relaxed; a look without taking, so that the line stays shared: `take`
                // acquires.
                if self.shared.futex.word().load(Ordering::Relaxed) == NOTIFIED {
                    return self.take();
                }
                hint::spin_loop();
            }
            if !wait.look() {
                return false;
            }
        }
    }

    #[cold]
    fn sleep(&self, deadline: Option<Instant>) -> ParkResult {
        let word = self.shared.futex.word();
        if let Some(clock) = &self.shared.clock {
            clock.forget();
        }
        // Ordering: Relaxed on both ways; EMPTY to PARKED publishes nothing, and a token found here
        // is taken below, with Acquire.
        let announced = word
            .compare_exchange(EMPTY, PARKED, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        let mut slept = false;
        loop {
            if announced {
                let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                if left.is_some_and(|left| left.is_zero()) {
                    break;
                }
                self.shared.futex.wait(PARKED, left);
                slept = true;
            }
            if self.take() {
                if slept {
                    self.learn();
                }
                return ParkResult::Notified;
            }
            if MODELLED && deadline.is_some() {
                break; // the model's clock stands still: this is its end of time
            }
        }
        // Ordering: Acquire (PO2), for a token that came at the last moment: it is taken, not lost
        // (P1).
        match word.swap(EMPTY, Ordering::Acquire) {
            NOTIFIED => ParkResult::Notified,
            _ => ParkResult::TimedOut,
        }
    }

    /// Teaches the spin the measured cost of this wake.
    fn learn(&self) {
        let cost = self.shared.clock.as_ref().and_then(WakeClock::take);
        if let (Some(cost), Some(spin)) = (cost, self.spin.get()) {
            self.spin.set(Some(spin.after_wake(cost)));
        }
    }
}

impl Unparker {
    /// Leaves the token, and wakes the parker if it sleeps. Everything that this thread did before
    /// is visible to the parker once it has taken the token.
    #[inline]
    pub fn unpark(&self) {
        // Ordering: Release (PO1); the parker that takes the token sees what came before. The value
        // that was read decides only about the system call (P3).
        if self.shared.futex.word().swap(NOTIFIED, Ordering::Release) == PARKED {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        if let Some(clock) = &self.shared.clock {
            clock.stamp();
        }
        self.shared.futex.wake_one();
    }
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Parker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Parker")
            .field("token", &Token(&self.shared))
            .field("spin", &self.spin.get())
            .finish()
    }
}

impl core::fmt::Debug for Unparker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Unparker")
            .field("token", &Token(&self.shared))
            .finish()
    }
}

struct Token<'a>(&'a ParkerState);

impl core::fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Ordering: Relaxed; a snapshot for a human.
        f.write_str(match self.0.futex.word().load(Ordering::Relaxed) {
            EMPTY => "EMPTY",
            PARKED => "PARKED",
            _ => "NOTIFIED",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stealyard_sync::thread;

    #[test]
    fn w13_two_unparks_are_one_token() {
        let parker = Parker::new();
        let unparker = parker.unparker();
        unparker.unpark();
        unparker.unpark();
        parker.park();
        assert_eq!(parker.park_timeout(Duration::ZERO), ParkResult::TimedOut);
        assert_eq!(
            parker.park_timeout(Duration::from_millis(1)),
            ParkResult::TimedOut
        );
    }

    #[test]
    fn w12_a_spurious_return_is_not_a_wake() {
        let parker = Parker::new();
        let unparker = parker.unparker();
        let noise = parker.unparker();
        let stop = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&stop);
        let disturber = thread::spawn(move || {
            while seen.load(Ordering::Relaxed) == 0 {
                noise.shared.futex.wake_all(); // wakes the sleeper without leaving the token
                thread::yield_now();
            }
        });
        for _ in 0..200 {
            let left = parker.park_timeout(Duration::from_micros(200));
            assert_eq!(left, ParkResult::TimedOut);
        }
        let late = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            unparker.unpark();
        });
        parker.park();
        assert_eq!(parker.park_timeout(Duration::ZERO), ParkResult::TimedOut);
        stop.store(1, Ordering::Relaxed);
        disturber.join().unwrap();
        late.join().unwrap();
    }

    #[test]
    fn a_very_long_timeout_is_no_timeout() {
        for timeout in [Duration::MAX, Duration::from_secs(u64::MAX >> 8)] {
            let parker = Parker::new();
            let unparker = parker.unparker();
            let other = thread::spawn(move || {
                thread::sleep(Duration::from_millis(5));
                unparker.unpark();
            });
            assert_eq!(parker.park_timeout(timeout), ParkResult::Notified);
            other.join().unwrap();
        }
    }

    #[test]
    fn a_deadline_in_the_past_still_takes_the_token() {
        let parker = Parker::new();
        let now = Instant::now();
        assert_eq!(parker.park_until(now), ParkResult::TimedOut);
        parker.unparker().unpark();
        assert_eq!(parker.park_until(now), ParkResult::Notified);
    }

    #[test]
    fn a_spinning_parker_takes_every_token_and_learns() {
        let parker = Parker::with_spin(SpinConfig::default());
        let back = Parker::new();
        let (there, again) = (parker.unparker(), back.unparker());
        let other = thread::spawn(move || {
            for round in 0..500 {
                if round % 100 == 0 {
                    thread::sleep(Duration::from_millis(2)); // long enough to make it sleep
                }
                there.unpark();
                back.park();
            }
        });
        for _ in 0..500 {
            parker.park();
            again.unpark();
        }
        other.join().unwrap();
        let budget = parker.spin_budget();
        let config = SpinConfig::default();
        assert!((config.min..=config.max).contains(&budget), "{budget:?}");
    }

    #[test]
    fn a_search_may_use_the_spin_instead_of_the_parker() {
        let parker = Parker::with_spin(SpinConfig::default());
        let first = parker.spin_budget();
        assert_eq!(first, SpinConfig::default().first);
        let unparker = parker.unparker();
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            unparker.unpark();
        });
        assert_eq!(parker.park_now(None), ParkResult::Notified);
        other.join().unwrap();
        assert_eq!(parker.park_now(Some(Instant::now())), ParkResult::TimedOut);
        let config = SpinConfig::default();
        assert!((config.min..=config.max).contains(&parker.spin_budget()));
    }

    #[test]
    fn a_parker_that_spins_in_vain_hardly_spins_any_more() {
        if thread::available_parallelism().map_or(1, |cores| cores.get()) == 1 {
            return; // on one core a parker never spins, and learns nothing
        }
        // A large first cost, so that the credit is soon spent.
        let parker = Parker::with_spin(SpinConfig {
            first: Duration::from_micros(50),
            ..SpinConfig::default()
        });
        let mut spins = 0;
        for _ in 0..400 {
            spins += u32::from(!parker.spin_budget().is_zero());
            // Far longer than the budget.
            let left = parker.park_timeout(Duration::from_micros(300));
            assert_eq!(left, ParkResult::TimedOut);
        }
        // 41 misses spend the credit; another parker's spin at the same time may have cost it some.
        assert!(spins < 200, "{spins} of 400 waits spun");
    }

    #[test]
    fn debug_shows_the_token() {
        let parker = Parker::new();
        assert!(format!("{parker:?}").contains("EMPTY"));
        parker.unparker().unpark();
        assert!(format!("{:?}", parker.unparker()).contains("NOTIFIED"));
    }
}
