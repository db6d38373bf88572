//! The last victim that gave something first, then all in a random order.
//!
//! Where few workers produce and many consume, the queue that had work a moment ago is the best
//! guess.
//!
//! # References
//! Taskflow's executor; oneTBB's affinity to the last victim.

use super::{PolicyMemory, Random, StealPolicy, Turn};

/// Where the last good victim is kept, plus one; words 0 and 1 are [`Random`]'s.
const LAST: usize = 2;

/// The last good victim first. See the [module](crate::policy) for the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sticky;

impl StealPolicy for Sticky {
    fn victim(&self, turn: &mut Turn<'_>) -> Option<usize> {
        let last = (turn.memory[LAST] as usize).checked_sub(1);
        let Some(last) = last else {
            return Random.victim(turn);
        };
        if turn.step == 0 {
            return Some(last);
        }
        turn.step -= 1;
        let victim = Random.victim(turn);
        turn.step += 1;
        victim
    }

    fn outcome(&self, memory: &mut PolicyMemory, victim: usize, took: usize) {
        if took > 0 {
            memory[LAST] = victim as u64 + 1;
        } else if memory[LAST] == victim as u64 + 1 && memory[3] > 0 {
            // Twice in vain: forget it.
            (memory[LAST], memory[3]) = (0, 0);
            return;
        }
        memory[3] = u64::from(took == 0 && memory[LAST] == victim as u64 + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::double::{FOUR_NODES, pass_with};
    use super::*;

    #[test]
    fn a_good_victim_comes_first_until_it_was_tried_twice_in_vain() {
        let mut memory = [0; 4];
        Sticky.outcome(&mut memory, 5, 3);
        for seed in 0..20 {
            let victims = pass_with(&Sticky, &FOUR_NODES, seed, &mut memory, &|_| 0);
            assert_eq!((victims[0], victims.len()), (5, 8));
        }
        Sticky.outcome(&mut memory, 5, 0);
        let victims = pass_with(&Sticky, &FOUR_NODES, 1, &mut memory, &|_| 0);
        assert_eq!(victims[0], 5, "once in vain is forgiven");
        Sticky.outcome(&mut memory, 5, 0);
        let victims = pass_with(&Sticky, &FOUR_NODES, 1, &mut memory, &|_| 0);
        assert_eq!(victims.len(), 7, "forgotten: a plain random pass");
    }
}
