//! Every other worker once, from a random start with a random stride.
//!
//! A stride that has no factor in common with the number of workers visits each of them once, and
//! needs two words instead of a shuffled list. Thieves that set out together soon go separate ways,
//! which a random start alone does not give.
//!
//! # References
//! `randomOrder` in Go's `runtime/proc.go`.

use super::{StealPolicy, Turn};

/// All workers in a random order; Go's way. See the [module](crate::policy) for the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl StealPolicy for Random {
    fn victim(&self, turn: &mut Turn<'_>) -> Option<usize> {
        let others = turn.others.len();
        if turn.step >= others {
            return None;
        }
        if turn.step == 0 {
            turn.memory[0] = turn.below(others) as u64;
            turn.memory[1] = stride(turn, others) as u64;
        }
        let at =
            (turn.memory[0] as usize).wrapping_add(turn.step.wrapping_mul(turn.memory[1] as usize));
        Some(turn.others[at % others].0)
    }
}

/// Draws a number below `count` that has no factor in common with it.
fn stride(turn: &mut Turn<'_>, count: usize) -> usize {
    // Among any run of numbers the coprime ones are frequent: four draws miss them once in hundreds
    // of passes, and then 1 will do.
    for _ in 0..4 {
        let drawn = 1 + turn.below(count);
        if gcd(drawn, count) == 1 {
            return drawn;
        }
    }
    1
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::super::double::pass;
    use super::*;

    #[test]
    fn each_other_worker_once_whatever_the_number() {
        for workers in 1..40 {
            let others: Vec<(usize, u8)> = (1..workers).map(|worker| (worker, 4)).collect();
            for seed in 0..20 {
                let mut victims = pass(&Random, &others, seed);
                victims.sort_unstable();
                assert_eq!(victims, (1..workers).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_first_victim_is_spread_evenly() {
        let others: Vec<(usize, u8)> = (1..8).map(|worker| (worker, 4)).collect();
        let mut first = [0_u32; 8];
        for seed in 0..7_000 {
            first[pass(&Random, &others, seed)[0]] += 1;
        }
        assert!(
            first[1..]
                .iter()
                .all(|&count| (800..1_200).contains(&count)),
            "{first:?}"
        );
    }
}
