//! Near workers before far ones, in a random order within one distance.
//!
//! Data that a near worker has last touched are in a cache that both share, and a task stolen
//! within a node keeps its memory near. A far queue is tried only when all nearer ones were empty.

use stealyard_park::WakeOrder;
use stealyard_topology::Matrix;

use super::{StealPolicy, Turn, nearest_wakes};

/// Tier by tier of distance, random within one. See the [module](crate::policy) for the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nearest;

impl StealPolicy for Nearest {
    fn victim(&self, turn: &mut Turn<'_>) -> Option<usize> {
        let &(_, distance) = turn.others.get(turn.step)?;
        if turn.step == 0 {
            turn.memory[0] = turn.rng.next_u64() >> 32;
        }
        let tier = tier_of(turn.others, distance);
        let within = (turn.step - tier.start + turn.memory[0] as usize) % tier.len();
        Some(turn.others[tier.start + within].0)
    }

    fn wake_order(&self, distances: &Matrix) -> Box<dyn WakeOrder> {
        nearest_wakes(distances)
    }
}

/// Returns where the workers of one distance are in the list, which is sorted by distance.
pub(super) fn tier_of(others: &[(usize, u8)], distance: u8) -> core::ops::Range<usize> {
    let start = others.partition_point(|&(_, other)| other < distance);
    let end = others.partition_point(|&(_, other)| other <= distance);
    start..end
}

#[cfg(test)]
mod tests {
    use super::super::double::{FOUR_NODES, pass};
    use super::*;

    #[test]
    fn each_tier_is_finished_before_the_next_begins() {
        let mut second = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let victims = pass(&Nearest, &FOUR_NODES, seed);
            assert_eq!(victims[0], 1, "the sibling first");
            let mut tiers = [
                victims[1..3].to_vec(),
                victims[3..5].to_vec(),
                victims[5..].to_vec(),
            ];
            second.insert(victims[1]);
            tiers.iter_mut().for_each(|tier| tier.sort_unstable());
            assert_eq!(tiers, [vec![2, 3], vec![4, 5], vec![6, 7]]);
        }
        assert_eq!(second.len(), 2, "random within a tier");
    }
}
