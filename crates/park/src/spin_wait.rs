//! One wait that spins: for how long, on whose core, and how it ended.
//!
//! The loop belongs to the caller, who looks at what it waits for and pauses; a [`SpinWait`] reads the clock
//! now and then, says when the loop is to end, and gives back what was learned. It ends when
//!
//! - its budget is spent: a miss;
//! - two looks at the clock lie further apart than anything but another thread on this core explains: the
//!   core was taken away, and will be again. The thread goes to sleep at once;
//! - it has lasted for longer than [`FREE`], and as many threads of this process spin or run as it has cores: what
//!   they wait for could not run. That is no miss, since nothing was found out about spins.
//!
//! # Operations
//! | operation | caller      | progress  | cost                                                       |
//! |-----------|-------------|-----------|------------------------------------------------------------|
//! | `begin`   | the waiting thread | wait-free | the clock is read, if there is a budget             |
//! | `look`    | the same    | wait-free | the clock is read; once in a wait a read-modify-write      |
//! | `end`     | the same    | wait-free | after a look: the clock is read, perhaps a read-modify-write |
//!
//! # Invariants
//! - **SW1** `spinning` counts the `Seat`s that exist.
//! - **SW2** At most `cores - 1` threads of the process spin for longer than [`FREE`] (and their `min`): the thread that
//!   ends a wait is left a core. Where the process has one core, none does.
//! - **SW3** A wait of a budget of zero reads no clock and writes to nothing that others see.
//!
//! # Why not …
//! Counting the threads that run as well: each start and end of a task would write to one word. Who knows how many
//! run says so (`begin`'s `running`), and the others count the one that they wait for. Counting also the
//! first microsecond: two threads that talk to each other across cores pass each other on in a fraction of it, and
//! would pass a cache line more each time.

use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::time::{Duration, Instant};
use stealyard_sync::{CachePadded, MODELLED, lazy_static, thread};

use crate::spin::{Spin, Wait};

/// So long a spin needs no core of its own.
const FREE: Duration = Duration::from_micros(1);

/// Two looks at the clock that are further apart than this had another thread in between. The looks are a fraction of
/// a microsecond apart; an interrupt, or the barrier of another thread, takes up to 10 µs in a virtual machine.
const GAP: Duration = Duration::from_micros(25);

/// The threads that spin, against the cores that there are.
#[derive(Debug)]
struct Spinners {
    spinning: CachePadded<AtomicUsize>,
    cores: usize,
}

lazy_static! {
    /// The process's. Its cores are counted once: where they become fewer, spins fail, which is noticed as well.
    static ref SPINNERS: Spinners = Spinners::new(cores());
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, core::num::NonZero::get)
}

impl Spinners {
    fn new(cores: usize) -> Self {
        Self {
            spinning: CachePadded::new(AtomicUsize::new(0)),
            cores,
        }
    }

    /// A core to spin on beside the threads that spin and `running` that run, if there is one (SW2).
    fn sit(&self, running: usize) -> Option<Seat<'_>> {
        let most = self.cores.saturating_sub(running.max(1));
        // Ordering: Relaxed on both; a bound, not a promise, and the count is all there is to it.
        let sat = self
            .spinning
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spinning| {
                (spinning < most).then_some(spinning + 1)
            });
        sat.is_ok().then(|| Seat(self))
    }
}

/// A thread that spins is counted as long as it has this (SW1).
#[derive(Debug)]
struct Seat<'a>(&'a Spinners);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        // Ordering: Relaxed; as in `sit`.
        self.0.spinning.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One wait that spins; see the file's essay.
///
/// ```
/// use std::hint::spin_loop;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use stealyard_park::{Spin, SpinConfig, SpinWait};
///
/// let ready = AtomicBool::new(true);
/// let is_ready = || ready.load(Ordering::Acquire);
/// let mut spin = Spin::new(SpinConfig::default());
/// let mut wait = SpinWait::begin(spin, 1);
/// let came = loop {
///     if is_ready() {
///         break true;
///     }
///     (0..8).for_each(|_| spin_loop());
///     if !wait.look() {
///         break false; // sleep
///     }
/// };
/// spin = wait.end(came);
/// assert!(came && !spin.budget().is_zero());
/// ```
#[derive(Debug)]
#[must_use = "a wait that is not ended teaches nothing"]
pub struct SpinWait {
    spin: Spin,
    /// None if there is nothing to spin for.
    clock: Option<Clock>,
    running: usize,
    seat: Option<Seat<'static>>,
}

#[derive(Debug)]
struct Clock {
    start: Instant,
    last: Instant,
    limit: Duration,
    /// The whole budget, of which a deadline may cut something off.
    budget: Duration,
    lost: Duration,
    is_over: bool,
    has_looked: bool,
}

impl SpinWait {
    /// A wait begins. `running` threads of this process are known to run and not to spin; the one that is waited
    /// for is counted in any case. In a model, which has no time, it does not spin.
    #[inline]
    pub fn begin(spin: Spin, running: usize) -> Self {
        Self::begin_longer(spin, running, Duration::ZERO)
    }

    /// As [`begin`](Self::begin), and a spin that pays may take longer by `more`: for a thread whose way to sleep
    /// costs that much beside the sleep and the wake.
    pub fn begin_longer(spin: Spin, running: usize, more: Duration) -> Self {
        let budget = spin.budget();
        let clock = (!MODELLED && !budget.is_zero()).then(|| {
            let start = Instant::now();
            let budget = if budget > spin.min() {
                budget.saturating_add(more)
            } else {
                budget
            };
            Clock {
                start,
                last: start,
                limit: budget,
                budget,
                lost: Duration::ZERO,
                is_over: false,
                has_looked: false,
            }
        });
        Self {
            spin,
            clock,
            running,
            seat: None,
        }
    }

    /// The spin ends at `deadline` if not before.
    pub fn until(mut self, deadline: Instant) -> Self {
        if let Some(clock) = &mut self.clock {
            let left = deadline.saturating_duration_since(clock.start);
            clock.limit = clock.limit.min(left);
        }
        self
    }

    /// Whether this wait spins at all.
    #[inline]
    pub fn spins(&self) -> bool {
        self.clock.is_some()
    }

    /// Reads the clock: whether the caller may go on spinning.
    pub fn look(&mut self) -> bool {
        let Some(clock) = &mut self.clock else {
            return false;
        };
        let min = self.spin.min();
        let spent = clock.look();
        clock.is_over |= spent >= clock.limit || spent >= min && !clock.lost.is_zero();
        if !clock.is_over && self.seat.is_none() && spent >= min.max(FREE) {
            self.seat = SPINNERS.sit(self.running);
            clock.is_over = self.seat.is_none();
        }
        !clock.is_over
    }

    /// The wait is over, and what was waited for `came`, or did not: the spin that was learned.
    pub fn end(mut self, came: bool) -> Spin {
        let spin = self.spin;
        let Some(clock) = &mut self.clock else {
            return if came {
                spin
            } else {
                spin.after_wait(Wait::Slept)
            };
        };
        let spent = if clock.has_looked {
            clock.look()
        } else {
            Duration::ZERO
        };
        if !clock.lost.is_zero() {
            spin.after_wait(Wait::Lost(clock.lost))
        } else if came {
            spin.after_wait(Wait::Hit)
        } else if spent >= clock.budget {
            spin.after_wait(Wait::Miss)
        } else {
            // A deadline, or want of a core, cut it short: nothing was found out.
            spin
        }
    }
}

impl Clock {
    /// Reads the clock, and notices what was lost since the last time. How long it spins.
    fn look(&mut self) -> Duration {
        let now = Instant::now();
        let gap = now.saturating_duration_since(self.last);
        if gap > GAP {
            self.lost = self.lost.saturating_add(gap);
        }
        self.last = now;
        self.has_looked = true;
        now.saturating_duration_since(self.start)
    }
}

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    use super::*;
    use crate::spin::SpinConfig;

    #[test]
    fn sw2_one_core_is_left_to_what_is_waited_for() {
        let spinners = Spinners::new(4);
        let seats: Vec<_> = (0..5).map_while(|_| spinners.sit(1)).collect();
        assert_eq!(seats.len(), 3);
        drop(seats);
        assert_eq!(spinners.sit(3).into_iter().count(), 1);
        assert!(spinners.sit(4).is_none(), "four run on four cores");
        assert!(spinners.sit(9).is_none(), "more run than there are cores");
    }

    #[test]
    fn sw2_nobody_spins_on_the_only_core() {
        assert!(Spinners::new(1).sit(0).is_none());
        assert!(Spinners::new(0).sit(0).is_none());
    }

    #[test]
    fn sw1_seats_are_given_back() {
        let spinners = Spinners::new(2);
        for _ in 0..10 {
            let seat = spinners.sit(0);
            assert!(seat.is_some() && spinners.sit(0).is_none());
        }
        // Ordering: Relaxed; one thread only.
        assert_eq!(spinners.spinning.load(Ordering::Relaxed), 0);
    }

    /// A spin whose next wait spins, and that has no credit.
    fn poor() -> Spin {
        let mut spin = Spin::new(SpinConfig::default());
        for _ in 0..1_000_000 {
            if spin.budget().is_zero() {
                return spin.after_wait(Wait::Slept);
            }
            spin = spin.after_wait(Wait::Miss);
        }
        panic!("misses in vain: {spin:?}")
    }

    #[test]
    fn a_wait_without_a_budget_counts_down_and_is_over() {
        let spin = poor().after_wait(Wait::Miss);
        let spin = (0..2).fold(spin, |spin, _| spin.after_wait(Wait::Slept));
        let mut wait = SpinWait::begin(spin, 1);
        assert!(!wait.spins() && !wait.look());
        assert!(!wait.end(false).budget().is_zero());
    }

    /// A wait of which the clock can be set: `gaps` are what lies between its looks.
    fn waited(spin: Spin, gaps: &[u64]) -> (SpinWait, bool) {
        let mut wait = SpinWait::begin(spin, 1);
        let mut goes_on = wait.spins();
        for &gap in gaps {
            let clock = wait.clock.as_mut().expect("it spins");
            let gap = Duration::from_micros(gap);
            clock.start -= gap;
            clock.last = Instant::now() - gap;
            goes_on = wait.look();
        }
        (wait, goes_on)
    }

    #[test]
    fn a_gap_ends_the_spin_and_counts_as_a_loss_even_if_the_token_came() {
        let spin = poor();
        for came in [false, true] {
            let (wait, goes_on) = waited(spin, &[3000]);
            assert!(!goes_on);
            let learned = wait.end(came);
            assert!(learned.budget().is_zero());
            let next = learned.after_wait(Wait::Slept);
            assert!(next.budget().is_zero(), "it cost more than a miss");
        }
    }

    #[test]
    fn a_spent_budget_is_a_miss() {
        let spin = poor();
        let (wait, goes_on) = waited(spin, &[11]);
        assert!(!goes_on);
        assert!(wait.end(false).budget().is_zero());
    }

    #[test]
    fn a_deadline_that_cuts_it_short_teaches_nothing() {
        let spin = Spin::new(SpinConfig::default());
        let mut wait = SpinWait::begin(spin, 1).until(Instant::now());
        assert!(!wait.look());
        // Held up by the machine for longer than the whole budget it would be a miss, or a loss.
        if wait
            .clock
            .as_ref()
            .is_some_and(|clock| clock.start.elapsed() < clock.budget / 2)
        {
            assert_eq!(wait.end(false), spin);
        }
    }

    #[test]
    fn a_minimum_is_spun_though_the_core_was_taken_and_no_core_is_free() {
        let min = Duration::from_secs(60);
        let config = SpinConfig {
            min,
            max: min,
            ..SpinConfig::default()
        };
        let mut wait = SpinWait::begin(Spin::new(config), usize::MAX);
        for _ in 0..10 {
            let clock = wait.clock.as_mut().expect("it spins");
            clock.start -= Duration::from_micros(3000);
            clock.last -= Duration::from_micros(3000);
            assert!(wait.look());
        }
    }

    #[test]
    fn where_no_core_is_free_a_spin_is_over_and_teaches_nothing() {
        let spin = Spin::new(SpinConfig::default());
        let mut wait = SpinWait::begin(spin, usize::MAX);
        let clock = wait.clock.as_mut().expect("it spins");
        clock.start -= Duration::from_micros(2);
        clock.last = Instant::now();
        let goes_on = wait.look();
        assert!(!goes_on && wait.seat.is_none());
        let lost = wait
            .clock
            .as_ref()
            .is_some_and(|clock| !clock.lost.is_zero());
        assert!(lost || wait.end(false) == spin);
    }
}
