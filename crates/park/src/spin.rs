//! How long to spin before sleeping, and whether to spin at all.
//!
//! A thread that waits can burn its core, or pay for a sleep and a wake, and does not know how long
//! the wait will be. This is the ski-rental problem. Spinning for exactly as long as a sleep and a
//! wake cost, and then sleeping, never costs more than twice what a clairvoyant would have paid. No
//! deterministic rule does better.
//!
//! That cost is 5 to 10 µs on bare metal, and 40 to 50 µs in a virtual machine whose idle cores are
//! halted by the host. So it is learned: an exponentially weighted moving average of measured
//! wakes, each from the moment when the waker began to the moment when the sleeper ran.
//!
//! # Where spinning is wrong
//! The bargain assumes that the core is the waiting thread's to burn. Where other threads want the
//! core, a spin delays them, often the very thread that is waited for. The kernel takes the core
//! away for a whole time slice (3 ms) from a thread that has used up its own, but wakes a thread
//! that slept within microseconds. The measured wakes get *dearer* then, so the average alone would
//! spin longest where spinning is wrong.
//!
//! So each wait also says how it ended ([`Wait`]), and a thread that spins in vain spins ever more
//! rarely:
//! - A wait that ended within the spin has saved the cost of a sleep and a wake. That is put by as
//!   *credit*, up to about a time slice, and it halves the *level*.
//! - A spin that was spent in vain has cost as much. One that lost its core for `t`, as a gap
//!   between two looks at the clock shows, has cost `t`. The credit pays for it. Where the credit
//!   does not cover it, the level rises by one, and in addition by the binary logarithm of what is
//!   left, in units of the cost: for a time slice, by about seven.
//! - After each spin at level `l` the next `2^l - 1` waits sleep at once. The one after them spins
//!   again, to find out whether things have changed.
//!
//! A new spin has a credit of half its maximum, and one that has tried in vain often enough gets it
//! again. The reason is a state that only spins in a row end: the kernel has put both sides of a
//! conversation on one core, though another core is idle, because each wakes the other and then
//! sleeps. The kernel moves one of them if its tick finds it waiting for the core. That is rare
//! while both sleep, and soon the case if they spin.
//!
//! # What follows
//! - Spins go on where they save more than they cost. This holds even if two threads that answer
//!   each other thousands of times in a time slice both lose their cores at its end.
//! - Where they do not, the share of waits that spin falls to 1/256 within eight misses, which
//!   costs less than 1 % of a sleep and a wake. It comes back within four hits.
//! - A slice that was lost for nothing is paid for by waits without a spin: about twice as many as
//!   sleeps and wakes fit into it.
//! - The level falls by halves because both sides of a conversation learn. Where both sleep, a spin
//!   of one is often too short, because it waits for the wake of the other, and two threads that
//!   spin must find back to each other.
//!
//! A third rule needs no learning: at least one core must be left to the thread that ends the wait.
//! So no more threads spin than there are cores without a running thread; `spin_wait.rs` counts
//! them.
//!
//! [`Spin`] is a value, and its methods are pure functions of their arguments, so that a simulator
//! can run the same object with its own clock.
//!
//! # Operations
//! | operation    | caller     | cost                                |
//! |--------------|------------|-------------------------------------|
//! | `budget`     | any thread | a clamp                             |
//! | `after_wake` | any thread | a few shifts; returns the next value |
//! | `after_wait` | any thread | a few shifts; returns the next value |
//!
//! # Invariants
//! - **SP1** *The budget is bounded.* `min <= budget <= max`, whatever was measured: a stalled
//!   machine cannot make a thread spin for ever, and a lucky one cannot make it stop learning.
//! - **SP2** *A stall is forgotten.* One sample moves the average by at most `1/2^weight` of the
//!   way, and a sample counts as `2 * max` at the most. So one stall (a stopped process, a page
//!   fault) is forgotten within a few wakes.
//! - **SP3** *It never stops learning.* Of any `2^LEVEL_MAX` waits in a row at least one may spin
//!   longer than `min`.
//! - **SP4** *Spins in vain become rare.* The credit lasts for at most `CREDIT_MAX` of time spent
//!   in vain. When it is spent, the next `k` misses in a row leave a spin to at most one wait in
//!   `2^k` (in `2^LEVEL_MAX`, if that is less). As many hits in a row as halve `LEVEL_MAX` to zero
//!   give every wait its spin again.
//!
//! # Why not …
//! - *A fixed number of rounds* (32 yields, four passes): it is right on one machine.
//! - *A shorter budget after a miss* instead of rarer spins: a spin that is shorter than the event
//!   takes costs and gains nothing, and finds out nothing either.
//! - *A call of `sched_yield` in the spin*, to let other threads have the core: a thread that
//!   computes keeps it for a slice, where a thread that slept would have had it back at once.
//! - *`getrusage`, for involuntary switches*: a system call that also counts the switches for which
//!   no spin is to blame.
//!
//! # References
//! A. Karlin, M. Manasse, L. McGeoch, S. Owicki, *Competitive randomized algorithms for non-uniform
//! problems*, SODA 1990; A. Karlin, K. Li, M. Manasse, S. Owicki, *Empirical studies of competitive
//! spinning for a shared-memory multiprocessor*, SOSP 1991.

use stealyard_sync::time::Duration;

/// The bounds of a [`Spin`], and the speed with which it learns. Plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpinConfig {
    /// The shortest spin, also where spins are in vain or no core is free for them. Default: zero,
    /// so that a thread whose spins are in vain hardly spins.
    pub min: Duration,
    /// The longest spin; zero turns spinning off. Default: 50 µs, the cost of a sleep and a wake on
    /// the slowest machine that was measured (a virtual one).
    pub max: Duration,
    /// The cost that is assumed before anything was measured. Default: 10 µs, the upper end of bare
    /// metal.
    pub first: Duration,
    /// The weight of a sample in the average: it counts for `1/2^weight`. Default: 3, which forgets
    /// half of the past in five wakes.
    pub weight: u32,
}

impl SpinConfig {
    /// A configuration that never spins.
    pub const OFF: Self = Self {
        min: Duration::ZERO,
        max: Duration::ZERO,
        first: Duration::ZERO,
        weight: 3,
    };
}

impl Default for SpinConfig {
    fn default() -> Self {
        Self {
            min: Duration::ZERO,
            max: Duration::from_micros(50),
            first: Duration::from_micros(10),
            weight: 3,
        }
    }
}

/// How a wait ended, as far as its spin is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The event came while the thread spun.
    Hit,
    /// The whole budget was spent, and the thread slept after all.
    Miss,
    /// While the thread spun, another thread had its core for this long.
    Lost(Duration),
    /// The thread slept without a spin (of more than `min`), because the budget allowed none.
    Slept,
}

/// How long to spin, learned from measured wakes and from the ends of earlier spins.
///
/// This is a value; the essay at the top of the file explains it.
///
/// ```
/// use std::time::Duration;
/// use stealyard_park::{Spin, SpinConfig, Wait};
///
/// let mut spin = Spin::new(SpinConfig::default());
/// for _ in 0..100 {
///     spin = spin.after_wake(Duration::from_micros(30)); // measured: waker began → sleeper ran
/// }
/// assert_eq!(spin.budget().as_micros(), 30);
/// for _ in 0..1000 {
///     // What it waits for comes too late.
///     let slept_at_once = spin.budget().is_zero();
///     spin = spin.after_wait(if slept_at_once { Wait::Slept } else { Wait::Miss });
/// }
/// assert!(spin.budget().is_zero(), "it hardly spins any more");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spin {
    config: SpinConfig,
    /// The average cost of a sleep and a wake, in nanoseconds times 2^8, so that small steps are
    /// not rounded away.
    cost_fixed: u64,
    /// The time that spins have saved, in nanoseconds, up to `CREDIT_MAX`.
    credit_ns: u64,
    /// How rarely spins pay: after each spin, `2^level - 1` waits sleep at once.
    level: u32,
    /// The number of those waits that are still to come.
    sleeps_left: u32,
    /// The number of tries that are left at the highest level.
    tries_left: u32,
}

const FRACTION_BITS: u32 = 8;

/// The highest level: at least one wait in 256 tries a spin. A spin in vain costs no more than a
/// sleep and a wake, so all tries together cost 0.4 % of the sleeps and wakes.
const LEVEL_MAX: u32 = 8;

/// The most credit: about a time slice, which is what a spin may lose at once. What spins saved
/// long ago does not count for ever.
const CREDIT_MAX: Duration = Duration::from_millis(4);
/// The credit of a new spin. A few milliseconds go by until it is spent, in which the kernel moves
/// a thread to an idle core.
const CREDIT_FIRST: Duration = Duration::from_millis(2);
/// The number of tries in vain at the highest level after which a spin begins anew. That is once in
/// 16,384 waits, so the spins that the credit buys, some 40 on each side, are less than 5 % of
/// them.
const TRIES: u32 = 64;

impl Spin {
    /// Creates a spin that has measured nothing yet: it assumes that the cost is `config.first`,
    /// and that spins pay.
    pub fn new(config: SpinConfig) -> Self {
        Self {
            config,
            cost_fixed: fixed(config.first),
            credit_ns: as_ns(CREDIT_FIRST),
            level: 0,
            sleeps_left: 0,
            tries_left: TRIES,
        }
    }

    /// Returns how long the next wait should spin before it sleeps (SP1).
    #[inline]
    pub fn budget(&self) -> Duration {
        let cost = if self.sleeps_left > 0 {
            Duration::ZERO
        } else {
            self.cost()
        };
        // `clamp` would panic if `min` were above `max`; here `max` wins.
        cost.max(self.config.min).min(self.config.max)
    }

    /// Returns the shortest spin, which nothing else shortens.
    #[inline]
    pub(crate) fn min(&self) -> Duration {
        self.config.min.min(self.config.max)
    }

    /// Returns the measured cost of a sleep and a wake.
    fn cost(&self) -> Duration {
        Duration::from_nanos((self.cost_fixed + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS)
    }

    /// Returns the spin after a wake that cost `cost` (SP2).
    #[must_use = "the spin is a value: keep the new one"]
    pub fn after_wake(self, cost: Duration) -> Self {
        let sample = fixed(cost.min(self.config.max.saturating_mul(2)));
        let weight = self.config.weight.min(32);
        // Moves towards the sample by 1/2^weight of the distance, from either side.
        let cost_fixed = if sample >= self.cost_fixed {
            self.cost_fixed + ((sample - self.cost_fixed) >> weight)
        } else {
            self.cost_fixed - ((self.cost_fixed - sample) >> weight)
        };
        Self { cost_fixed, ..self }
    }

    /// Returns the spin after a wait that ended as `wait` says (SP3, SP4).
    #[must_use = "the spin is a value: keep the new one"]
    pub fn after_wait(self, wait: Wait) -> Self {
        let cost_ns = as_ns(self.cost().min(self.config.max)).max(1);
        let spent_ns = match wait {
            Wait::Hit => {
                let credit_ns = self.credit_ns.saturating_add(cost_ns);
                return Self {
                    credit_ns: credit_ns.min(as_ns(CREDIT_MAX)),
                    ..self.at_level(self.level / 2)
                };
            }
            Wait::Slept => {
                return Self {
                    sleeps_left: self.sleeps_left.saturating_sub(1),
                    ..self
                };
            }
            Wait::Miss => cost_ns,
            Wait::Lost(time) => as_ns(time).max(cost_ns),
        };
        let owed_ns = spent_ns.saturating_sub(self.credit_ns);
        let paid = Self {
            credit_ns: self.credit_ns.saturating_sub(spent_ns),
            ..self
        };
        if owed_ns == 0 {
            return paid;
        }
        if self.level == LEVEL_MAX {
            return self.after_try_in_vain();
        }
        let costs = owed_ns / cost_ns;
        paid.at_level(self.level + 1 + costs.checked_ilog2().unwrap_or(0))
    }

    /// Returns the spin after a try at the highest level that was in vain.
    fn after_try_in_vain(self) -> Self {
        match self.tries_left {
            0 => Self {
                credit_ns: as_ns(CREDIT_FIRST),
                tries_left: TRIES,
                ..self.at_level(0)
            },
            left => Self {
                tries_left: left - 1,
                ..self.at_level(LEVEL_MAX)
            },
        }
    }

    /// Returns the spin after a spin has ended, with the level `level` from now on.
    fn at_level(self, level: u32) -> Self {
        let level = level.min(LEVEL_MAX);
        Self {
            level,
            sleeps_left: (1 << level) - 1,
            ..self
        }
    }
}

/// Returns a duration in nanoseconds, at most `u64::MAX`.
pub(crate) fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the nanoseconds times 2^8. It cuts off years, which no budget comes near.
fn fixed(duration: Duration) -> u64 {
    as_ns(duration).min(u64::MAX >> (FRACTION_BITS + 1)) << FRACTION_BITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use stealyard_sync::seed::Rng;

    /// Makes a spin that has spent its credit.
    fn poor() -> Spin {
        Spin {
            credit_ns: 0,
            ..Spin::new(SpinConfig::default())
        }
    }

    fn us(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    /// Returns the spin after a wait for an event that comes after `after`.
    fn wait(spin: Spin, after: Duration) -> Spin {
        let budget = spin.budget();
        spin.after_wait(if budget.is_zero() {
            Wait::Slept
        } else if after <= budget {
            Wait::Hit
        } else {
            Wait::Miss
        })
    }

    #[test]
    fn the_budget_approaches_the_cost_of_a_wake_from_either_side() {
        for start in [1, 100] {
            let config = SpinConfig {
                first: us(start),
                ..SpinConfig::default()
            };
            let mut spin = Spin::new(config);
            for _ in 0..100 {
                spin = spin.after_wake(us(20));
            }
            let off = spin.budget().abs_diff(us(20));
            assert!(off < Duration::from_nanos(20), "{:?}", spin.budget());
        }
    }

    #[test]
    fn the_budget_stays_within_its_bounds_whatever_is_measured() {
        let config = SpinConfig {
            min: us(1),
            ..SpinConfig::default()
        };
        let mut rng = Rng::new(13);
        let mut spin = Spin::new(config);
        for cost in [Duration::ZERO, Duration::MAX, us(1), Duration::from_secs(9)] {
            for _ in 0..2000 {
                spin = match rng.below(6) {
                    0 => spin.after_wait(Wait::Hit),
                    1 => spin.after_wait(Wait::Miss),
                    2 => spin.after_wait(Wait::Lost(cost)),
                    3 => spin.after_wait(Wait::Slept),
                    _ => spin.after_wake(cost),
                };
                assert!(spin.budget() >= config.min && spin.budget() <= config.max);
                assert!(spin.level <= LEVEL_MAX && spin.sleeps_left < 1 << LEVEL_MAX);
                assert!(spin.credit_ns <= as_ns(CREDIT_MAX));
            }
        }
    }

    #[test]
    fn one_stalled_wake_is_forgotten_within_twenty() {
        let mut spin = Spin::new(SpinConfig::default());
        for _ in 0..100 {
            spin = spin.after_wake(us(5));
        }
        spin = spin.after_wake(Duration::from_secs(60));
        assert!(spin.budget() < us(18), "{:?}", spin.budget());
        for _ in 0..20 {
            spin = spin.after_wake(us(5));
        }
        assert!(spin.budget() < us(6), "{:?}", spin.budget());
    }

    #[test]
    fn off_never_spins_and_max_wins_over_a_larger_min() {
        assert_eq!(Spin::new(SpinConfig::OFF).budget(), Duration::ZERO);
        let crossed = SpinConfig {
            min: us(9),
            max: us(3),
            ..SpinConfig::default()
        };
        assert_eq!(Spin::new(crossed).budget(), us(3));
    }

    /// The promise of ski rental, checked against a clairvoyant for waits of every length, as long
    /// as spins pay.
    #[test]
    fn a_wait_costs_at_most_twice_what_a_clairvoyant_pays() {
        let cost = us(12);
        let mut spin = Spin::new(SpinConfig::default());
        for _ in 0..100 {
            spin = spin.after_wake(cost);
        }
        for wait in (0..200).map(us) {
            let budget = spin.budget();
            let paid = if wait <= budget { wait } else { budget + cost };
            let best = wait.min(cost);
            assert!(
                paid <= best * 2 + Duration::from_nanos(50),
                "{wait:?}: {paid:?}"
            );
        }
    }

    #[test]
    fn sp4_after_eight_misses_hardly_any_wait_spins() {
        // Wakes grow dearer the busier the machine is, and must not make spins longer or more
        // frequent.
        let mut spin = (0..100).fold(poor(), |spin, _| spin.after_wake(us(500)));
        let mut misses = 0;
        while misses < 8 {
            misses += u32::from(!spin.budget().is_zero());
            spin = wait(spin, Duration::MAX).after_wake(us(500));
        }
        let mut spins = 0;
        for _ in 0..10_000 {
            spins += u32::from(!spin.budget().is_zero());
            spin = wait(spin, Duration::MAX).after_wake(us(500));
        }
        assert!((1..=10_000 / 256 + 1).contains(&spins), "{spins} spins");
        // The same for many waits, which include some new beginnings.
        for _ in 0..1_000_000 {
            spins += u32::from(!spin.budget().is_zero());
            spin = wait(spin, Duration::MAX).after_wake(us(500));
        }
        assert!(spins < 1_000_000 / 100, "{spins} spins");
    }

    #[test]
    fn sp4_after_four_hits_every_wait_spins_again() {
        let worst = poor().after_wait(Wait::Lost(Duration::MAX));
        let (mut spin, mut hits, mut waits) = (worst, 0, 0);
        while hits < 4 {
            hits += u32::from(!spin.budget().is_zero());
            spin = wait(spin, us(1));
            waits += 1;
        }
        assert!(waits <= 300, "{waits} waits until the fourth spin");
        for _ in 0..100 {
            assert!(!spin.budget().is_zero());
            spin = wait(spin, us(1));
        }
    }

    #[test]
    fn sp3_one_wait_in_256_spins_whatever_came_before() {
        let mut rng = Rng::new(3);
        let mut spin = Spin::new(SpinConfig::default());
        for _ in 0..200 {
            for _ in 0..rng.below(20) {
                spin = match rng.below(4) {
                    0 => spin.after_wait(Wait::Hit),
                    1 => spin.after_wait(Wait::Lost(us(u64::from(rng.below(100_000))))),
                    _ => spin.after_wait(Wait::Miss),
                };
            }
            let quiet = (0..256).take_while(|_| {
                let is_quiet = spin.budget().is_zero();
                spin = spin.after_wait(Wait::Slept);
                is_quiet
            });
            assert!(quiet.count() < 256, "{spin:?}");
        }
    }

    #[test]
    fn one_miss_costs_one_spin_and_a_lost_slice_hundreds() {
        let spin = poor();
        let sleeps_after = |wait| spin.after_wait(wait).sleeps_left;
        assert_eq!(sleeps_after(Wait::Miss), 1);
        assert_eq!(sleeps_after(Wait::Lost(us(1))), 1);
        assert_eq!(sleeps_after(Wait::Lost(us(3000))), 255);
        assert_eq!(sleeps_after(Wait::Lost(Duration::MAX)), 255);
    }

    #[test]
    fn credit_from_hits_pays_for_lost_slices() {
        // Two threads that answer each other in no time, and lose their cores after each slice.
        let mut spin = Spin::new(SpinConfig::default());
        for _ in 0..10 {
            for _ in 0..400 {
                assert!(!spin.budget().is_zero(), "{spin:?}");
                spin = spin.after_wait(Wait::Hit);
            }
            spin = spin.after_wait(Wait::Lost(us(3500)));
        }
        // But if they answer each other only now and then, they should rather sleep.
        let (mut spins, mut waits) = (0, 0);
        while waits < 10_000 {
            for number in 0..20 {
                waits += 1;
                let spun = !spin.budget().is_zero();
                spins += u32::from(spun);
                spin = spin.after_wait(match (spun, number) {
                    (false, _) => Wait::Slept,
                    (true, 19) => Wait::Lost(us(3500)),
                    (true, _) => Wait::Hit,
                });
            }
        }
        assert!(spins < waits / 10, "{spins} of {waits}");
    }

    #[test]
    fn a_new_spin_has_credit_and_gets_it_again_after_many_tries() {
        let spun_in_a_row = |spin: &mut Spin| {
            let mut count = 0;
            while !spin.budget().is_zero() {
                *spin = spin.after_wait(Wait::Miss);
                count += 1;
                assert!(count < 1_000_000, "misses in vain: {spin:?}");
            }
            count
        };
        let mut spin = Spin::new(SpinConfig::default());
        assert_eq!(spun_in_a_row(&mut spin), 201);
        let mut waits = 0;
        while spun_in_a_row(&mut spin) < 100 {
            spin = spin.after_wait(Wait::Slept);
            waits += 1;
        }
        assert!((16_000..18_000).contains(&waits), "{waits}");
    }

    #[test]
    fn credit_is_spent_within_a_slice_of_misses() {
        let mut spin = (0..100_000).fold(Spin::new(SpinConfig::default()), |spin, _| {
            spin.after_wait(Wait::Hit)
        });
        let mut misses = 0;
        while !spin.budget().is_zero() {
            spin = spin.after_wait(Wait::Miss);
            misses += 1;
            assert!(misses < 1_000_000, "misses in vain: {spin:?}");
        }
        assert_eq!(
            misses, 401,
            "4 ms at 10 µs each, and the first that is owed"
        );
    }

    #[test]
    fn the_minimum_is_spun_whatever_was_learned() {
        let config = SpinConfig {
            min: us(50),
            ..SpinConfig::default()
        };
        let mut spin = Spin::new(config);
        for _ in 0..1000 {
            assert_eq!(spin.budget(), us(50));
            spin = spin.after_wait(Wait::Miss);
        }
    }
}
