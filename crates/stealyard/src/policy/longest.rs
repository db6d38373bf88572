//! The longer of two queues drawn at random.
//!
//! With two draws the fullest queues are found far more often than with one, and no more than two
//! are disturbed. Each draw costs the thief a cache miss, so this pays where queues are very
//! uneven.
//!
//! # References
//! M. Mitzenmacher, *The power of two choices in randomized load balancing*, 2001.

use super::{StealPolicy, Turn};

/// The longer of two. See the [module](crate::policy) for the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Longest;

impl StealPolicy for Longest {
    fn victim(&self, turn: &mut Turn<'_>) -> Option<usize> {
        let others = turn.others.len();
        if turn.step >= others {
            return None;
        }
        let one = turn.below(others);
        let (one, two) = (turn.others[one].0, turn.others[turn.below(others)].0);
        Some(if turn.len_of(two) > turn.len_of(one) {
            two
        } else {
            one
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::double::{FOUR_NODES, pass_with};
    use super::*;

    #[test]
    fn the_long_queue_is_chosen_whenever_it_is_drawn() {
        let long = |worker| usize::from(worker == 6) * 9;
        let mut hits = 0;
        for seed in 0..1_000 {
            let victims = pass_with(&Longest, &FOUR_NODES, seed, &mut [0; 4], &long);
            hits += u32::from(victims[0] == 6);
        }
        // 13 of 49 pairs have worker 6 in them: 265 of 1,000, standard deviation 14.
        assert!((195..335).contains(&hits), "{hits}");
    }
}
