//! Random seeds, and the small generator that policies draw from.
//!
//! A scheduler needs numbers that are cheap and different, not secret. [`Rng`] is Marsaglia's
//! xorshift64* (an odd multiplier over a 64-bit xorshift): three shifts and one multiplication for
//! each number, and a period of 2^64 − 1. It is passed as an argument to the code that draws, so
//! that a run can be replayed from its seed.
//!
//! # References
//! S. Vigna, *An experimental exploration of Marsaglia's xorshift generators, scrambled*, 2016.

/// Returns a seed that differs from call to call and from process to process. In a model it is
/// always the same, because a model must repeat.
pub fn fresh() -> u64 {
    if crate::MODELLED {
        return 0x9E37_79B9_7F4A_7C15;
    }
    use std::hash::{BuildHasher, Hasher};
    // Each `RandomState` has keys of its own, taken from the operating system once per thread.
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}

/// A small random number generator; see the [module](self).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Creates a generator that repeats for the same `seed`. Any seed is valid.
    pub fn new(seed: u64) -> Self {
        // Zero is the one state that xorshift never leaves. The odd constant moves it away, and the
        // multiplication spreads seeds that differ in few bits.
        let mixed = (seed ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        Self(if mixed == 0 {
            0x9E37_79B9_7F4A_7C15
        } else {
            mixed
        })
    }

    /// Returns the next 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let mut state = self.0;
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0 = state;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Returns a number in `0..bound`, by Lemire's multiplication: without a division, and with a
    /// bias under `bound / 2^32`.
    ///
    /// # Panics
    /// Panics if `bound` is zero, for which there is no such number.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "the bound is 0: no number is below it");
        let high = self.next_u64() >> 32;
        ((high * u64::from(bound)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_repeats_and_zero_is_a_seed() {
        let mut first = Rng::new(0);
        let mut second = Rng::new(0);
        let drawn: Vec<u64> = (0..100).map(|_| first.next_u64()).collect();
        assert!(drawn.iter().all(|&n| n == second.next_u64()));
        assert!(drawn.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut rng = Rng::new(7);
        let mut seen = [0_u32; 5];
        for _ in 0..50_000 {
            seen[rng.below(5) as usize] += 1;
        }
        // Each count is 10,000 with a standard deviation of about 90, so ten deviations leave no
        // room for chance.
        assert!(
            seen.iter().all(|&count| (9_100..10_900).contains(&count)),
            "{seen:?}"
        );
    }

    /// The panic comes in both profiles.
    #[test]
    #[should_panic(expected = "the bound is 0")]
    fn no_number_is_below_zero() {
        Rng::new(7).below(0);
    }

    #[test]
    fn fresh_seeds_differ() {
        assert_eq!(fresh() == fresh(), crate::MODELLED, "a model repeats");
    }
}
