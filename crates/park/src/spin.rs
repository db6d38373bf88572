//! How long to spin before sleeping.
//!
//! Whoever waits can burn its core or pay for a sleep and a wake, and does not know how long the wait
//! will be: the ski-rental problem. Spinning exactly as long as a sleep and a wake cost, then sleeping,
//! never costs more than twice what a clairvoyant would have paid, and no deterministic rule does
//! better. That cost is 5 to 10 µs on bare metal and 40 to 50 µs in a virtual machine whose idle cores
//! are halted by the host, so it is learned: an exponentially weighted moving average of measured
//! wakes, from the moment the waker began to the moment the sleeper ran.
//!
//! [`Spin`] is a value and its methods are pure functions of what they are given, so that a simulator
//! can run the same object with its own clock.
//!
//! # Operations
//! | operation    | caller | cost                                     |
//! |--------------|--------|------------------------------------------|
//! | `budget`     | anyone | a clamp                                  |
//! | `after_wake` | anyone | a few shifts; gives the next value       |
//!
//! # Invariants
//! - **SP1** `min <= budget <= max`, whatever was measured: a stalled machine cannot make it spin for
//!   ever, and a lucky one cannot make it stop learning.
//! - **SP2** One sample moves the average by at most `1/2^weight` of the way, and a sample counts as
//!   `2 * max` at the most, so that one stall (a stopped process, a page fault) is forgotten within a
//!   few wakes.
//!
//! # Why not …
//! A fixed number of rounds (32 yields, four passes): right on one machine. Adapting to how often the
//! spin succeeded: a workload that never succeeds would save at most half of what it spends, and one
//! that changes would be found out late; the bound by `max` and the bounded number of searchers limit
//! the loss.
//!
//! # References
//! A. Karlin, M. Manasse, L. McGeoch, S. Owicki, *Competitive randomized algorithms for non-uniform
//! problems*, SODA 1990.

use stealyard_sync::time::Duration;

/// The bounds of a [`Spin`] and how fast it learns. Plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpinConfig {
    /// Spin at least this long. Default: 1 µs, a few transfers of a cache line.
    pub min: Duration,
    /// Spin at most this long; zero turns spinning off. Default: 50 µs, what a sleep and a wake cost
    /// on the dearest machine measured (a virtual one). Set it to zero where only one core is to be
    /// had: the waker cannot run while we spin.
    pub max: Duration,
    /// The cost assumed before anything was measured. Default: 10 µs, the upper end of bare metal.
    pub first: Duration,
    /// A sample counts for `1/2^weight` of the average. Default: 3, which forgets half of the past in
    /// five wakes.
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
            min: Duration::from_micros(1),
            max: Duration::from_micros(50),
            first: Duration::from_micros(10),
            weight: 3,
        }
    }
}

/// How long to spin, learned from measured wakes: a value. The file's essay says why.
///
/// ```
/// use std::time::Duration;
/// use stealyard_park::{Spin, SpinConfig};
///
/// let mut spin = Spin::new(SpinConfig::default());
/// for _ in 0..100 {
///     spin = spin.after_wake(Duration::from_micros(30)); // measured: waker began → sleeper ran
/// }
/// assert_eq!(spin.budget().as_micros(), 30);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spin {
    config: SpinConfig,
    /// The average cost of a sleep and a wake, in nanoseconds times 2^8, so that small steps are not
    /// rounded away.
    cost_fixed: u64,
}

const FRACTION_BITS: u32 = 8;

impl Spin {
    /// Nothing measured yet: the cost is taken to be `config.first`.
    pub fn new(config: SpinConfig) -> Self {
        Self {
            config,
            cost_fixed: fixed(config.first),
        }
    }

    /// How long to spin before sleeping (SP1).
    #[inline]
    pub fn budget(&self) -> Duration {
        let cost =
            Duration::from_nanos((self.cost_fixed + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS);
        // Not `clamp`, which panics if somebody sets min above max: max is the promise.
        cost.max(self.config.min).min(self.config.max)
    }

    /// The spin after a wake that cost `cost` (SP2).
    #[must_use = "the spin is a value: keep the new one"]
    pub fn after_wake(self, cost: Duration) -> Self {
        let sample = fixed(cost.min(self.config.max.saturating_mul(2)));
        let weight = self.config.weight.min(32);
        // Towards the sample by 1/2^weight of the distance, from either side.
        let cost_fixed = if sample >= self.cost_fixed {
            self.cost_fixed + ((sample - self.cost_fixed) >> weight)
        } else {
            self.cost_fixed - ((self.cost_fixed - sample) >> weight)
        };
        Self { cost_fixed, ..self }
    }
}

/// Nanoseconds times 2^8; years are cut off, which no budget comes near.
fn fixed(duration: Duration) -> u64 {
    let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    ns.min(u64::MAX >> (FRACTION_BITS + 1)) << FRACTION_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    #[test]
    fn it_learns_what_a_wake_costs_from_either_side() {
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
    fn it_stays_within_its_bounds_whatever_is_measured() {
        let config = SpinConfig::default();
        let mut spin = Spin::new(config);
        for cost in [Duration::ZERO, Duration::MAX, us(1), Duration::from_secs(9)] {
            for _ in 0..200 {
                spin = spin.after_wake(cost);
                assert!(spin.budget() >= config.min && spin.budget() <= config.max);
            }
        }
    }

    #[test]
    fn one_stall_is_forgotten_soon() {
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
    fn off_is_off_and_a_crossed_configuration_keeps_its_upper_bound() {
        assert_eq!(Spin::new(SpinConfig::OFF).budget(), Duration::ZERO);
        let crossed = SpinConfig {
            min: us(9),
            max: us(3),
            ..SpinConfig::default()
        };
        assert_eq!(Spin::new(crossed).budget(), us(3));
    }

    /// The promise of ski rental, checked against a clairvoyant for waits of every length.
    #[test]
    fn never_more_than_twice_the_clairvoyant() {
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
}
