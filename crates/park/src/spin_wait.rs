//! One wait that spins: its length, the core that it uses, and how it ended.
//!
//! The loop belongs to the caller, which checks for the event that it waits for and pauses. A
//! [`SpinWait`] reads the clock now and then, says when the loop should end, and returns what was
//! learned. The spin ends when one of these happens:
//!
//! - Its budget is spent. This is a miss.
//! - Two looks at the clock lie so far apart that only another thread on this core explains it. The
//!   core was taken away, and will be again, so the thread should sleep at once.
//! - It has lasted for longer than [`FREE`], and as many threads of this process spin or run as it
//!   has cores. The threads that they wait for could not run. This is no miss, since nothing was
//!   found out about spins.
//!
//! # Operations
//! The caller is the waiting thread. RMW is a read-modify-write.
//!
//! | operation | progress  | cost                                              |
//! |-----------|-----------|---------------------------------------------------|
//! | `begin`   | wait-free | reads the clock, if there is a budget             |
//! | `look`    | wait-free | reads the clock; once in a wait an RMW            |
//! | `end`     | wait-free | after a look: reads the clock, perhaps an RMW     |
//!
//! # Invariants
//! - **SW1** `spinning` counts the `SpinPermit`s that exist.
//! - **SW2** *A core is left to the thread that ends the wait.* At most `cores - 1` threads of the
//!   process spin for longer than [`FREE`] (and their `min`). Where the process has one core, no
//!   thread does.
//! - **SW3** A wait with a budget of zero reads no clock, and writes to nothing that other threads
//!   see.
//!
//! # Why not …
//! - *Counting the threads that run as well*: each start and end of a task would write to one word.
//!   A caller that knows how many run passes the number (`running` of `begin`). The others count
//!   the one thread that they wait for.
//! - *Counting also the first microsecond*: two threads that talk to each other across cores answer
//!   in a fraction of it, and would move one more cache line each time.

use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::time::{Duration, Instant};
use stealyard_sync::{CachePadded, MODELLED, lazy_static, thread};

use crate::spin::{Spin, Wait};

/// The time for which a spin needs no core of its own.
const FREE: Duration = Duration::from_micros(1);

/// A longer gap than this between two looks at the clock means that another thread ran in between.
///
/// The looks are a fraction of a microsecond apart. An interrupt, or the barrier of another thread,
/// takes up to 10 µs in a virtual machine.
const GAP: Duration = Duration::from_micros(25);

/// Counts the threads that spin, and limits them by the number of cores.
#[derive(Debug)]
struct Spinners {
    spinning: CachePadded<AtomicUsize>,
    cores: usize,
}

lazy_static! {
    /// The count of this process. Its cores are counted once: if they become fewer, spins fail,
    /// which each wait notices as well.
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

    /// Counts one more spinning thread, if a core is free beside the threads that spin and the
    /// `running` threads that run (SW2).
    fn permit(&self, running: usize) -> Option<SpinPermit<'_>> {
        let most = self.cores.saturating_sub(running.max(1));
        // Ordering: Relaxed on both; a bound, not a promise, and nothing but the count depends on
        // it.
        let counted =
            self.spinning
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spinning| {
                    (spinning < most).then_some(spinning + 1)
                });
        counted.is_ok().then(|| SpinPermit(self))
    }
}

/// Permission to spin. The thread is counted as long as it exists (SW1).
#[derive(Debug)]
struct SpinPermit<'a>(&'a Spinners);

impl Drop for SpinPermit<'_> {
    fn drop(&mut self) {
        // Ordering: Relaxed; as in `permit`.
        self.0.spinning.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One wait that spins. The essay at the top of the file explains when the spin ends.
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
    /// `None` if this wait does not spin.
    clock: Option<Clock>,
    running: usize,
    permit: Option<SpinPermit<'static>>,
}

#[derive(Debug)]
struct Clock {
    start: Instant,
    last: Instant,
    limit: Duration,
    /// The whole budget. A deadline may make `limit` shorter.
    budget: Duration,
    /// The time for which the core was taken away.
    lost: Duration,
    is_over: bool,
    has_looked: bool,
}

impl SpinWait {
    /// Begins a wait. `running` is the number of threads of this process that are known to run and
    /// not to spin. The thread that is waited for is counted in any case. In a model, which has no
    /// time, the wait does not spin.
    #[inline]
    pub fn begin(spin: Spin, running: usize) -> Self {
        Self::begin_longer(spin, running, Duration::ZERO)
    }

    /// Begins a wait as [`begin`](Self::begin) does, but where spinning pays, the spin may last
    /// longer by `more`. This is for a thread whose way to sleep costs that much beside the sleep
    /// and the wake.
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
            permit: None,
        }
    }

    /// Ends the spin at `deadline` at the latest.
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

    /// Reads the clock. Returns whether the caller may go on spinning.
    pub fn look(&mut self) -> bool {
        let Some(clock) = &mut self.clock else {
            return false;
        };
        let min = self.spin.min();
        let spent = clock.look();
        clock.is_over |= spent >= clock.limit || spent >= min && !clock.lost.is_zero();
        if !clock.is_over && self.permit.is_none() && spent >= min.max(FREE) {
            self.permit = SPINNERS.permit(self.running);
            clock.is_over = self.permit.is_none();
        }
        !clock.is_over
    }

    /// Ends the wait and returns the learned spin. `came` tells whether the event came that was
    /// waited for.
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
            // A deadline or the lack of a core cut the spin short, so nothing was learned.
            spin
        }
    }
}

impl Clock {
    /// Reads the clock, and adds to `lost` if the core was taken away since the last look. Returns
    /// for how long the wait has lasted.
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
    fn sw2_one_core_is_left_to_the_thread_that_is_waited_for() {
        let spinners = Spinners::new(4);
        let permits: Vec<_> = (0..5).map_while(|_| spinners.permit(1)).collect();
        assert_eq!(permits.len(), 3);
        drop(permits);
        assert_eq!(spinners.permit(3).into_iter().count(), 1);
        assert!(spinners.permit(4).is_none(), "four run on four cores");
        let permit = spinners.permit(9);
        assert!(permit.is_none(), "more run than there are cores");
    }

    #[test]
    fn sw2_no_thread_spins_on_the_only_core() {
        assert!(Spinners::new(1).permit(0).is_none());
        assert!(Spinners::new(0).permit(0).is_none());
    }

    #[test]
    fn sw1_permits_are_given_back() {
        let spinners = Spinners::new(2);
        for _ in 0..10 {
            let permit = spinners.permit(0);
            assert!(permit.is_some() && spinners.permit(0).is_none());
        }
        // Ordering: Relaxed; one thread only.
        assert_eq!(spinners.spinning.load(Ordering::Relaxed), 0);
    }

    /// Returns a spin without credit, whose next wait spins.
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
    fn a_wait_without_a_budget_counts_down_and_does_not_spin() {
        let spin = poor().after_wait(Wait::Miss);
        let spin = (0..2).fold(spin, |spin, _| spin.after_wait(Wait::Slept));
        let mut wait = SpinWait::begin(spin, 1);
        assert!(!wait.spins() && !wait.look());
        assert!(!wait.end(false).budget().is_zero());
    }

    /// Runs a wait whose looks at the clock lie `gaps` apart, in microseconds.
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
    fn a_deadline_that_cuts_the_spin_short_teaches_nothing() {
        let spin = Spin::new(SpinConfig::default());
        let mut wait = SpinWait::begin(spin, 1).until(Instant::now());
        assert!(!wait.look());
        // If the machine held this thread up for longer than the budget, it is a miss or a loss.
        if wait
            .clock
            .as_ref()
            .is_some_and(|clock| clock.start.elapsed() < clock.budget / 2)
        {
            assert_eq!(wait.end(false), spin);
        }
    }

    #[test]
    fn the_minimum_is_spun_even_if_no_core_is_free() {
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
    fn without_a_free_core_a_spin_ends_and_teaches_nothing() {
        let spin = Spin::new(SpinConfig::default());
        let mut wait = SpinWait::begin(spin, usize::MAX);
        let clock = wait.clock.as_mut().expect("it spins");
        clock.start -= Duration::from_micros(2);
        clock.last = Instant::now();
        let goes_on = wait.look();
        assert!(!goes_on && wait.permit.is_none());
        let lost = wait
            .clock
            .as_ref()
            .is_some_and(|clock| !clock.lost.is_zero());
        assert!(lost || wait.end(false) == spin);
    }
}
