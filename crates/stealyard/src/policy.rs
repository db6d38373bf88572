//! Whom to steal from and how much: the small trait, and the policies that come with the crate.
//!
//! A policy is a pure function of what it is given: the thief, how far the others are, a source of
//! random numbers, four words of memory that the thief keeps for it. It has no state of its own, so
//! one object serves all workers, a simulator can run the same object, and a run can be replayed
//! from its seed. A policy only proposes: the scheduler tries the victim, and before a worker
//! sleeps it looks at every queue whatever the policy says. So no policy, however wrong, can lose a
//! task.
//!
//! | policy       | order of victims                                  | when                               |
//! |--------------|---------------------------------------------------|------------------------------------|
//! | [`Random`]   | all, from a random start with a random stride     | the default; no locality to speak of  |
//! | [`Nearest`]  | tier by tier of distance, random within one       | more than one cache or node         |
//! | [`Sticky`]   | the last victim that gave something, then random  | few producers, many consumers       |
//! | [`Longest`]  | the longer of two drawn queues                    | very uneven queues                  |
//! | [`Weighted`] | the nearest tier, then drawn with weight 1/(n·d²) | deep hierarchies                    |
//!
//! `examples/custom_policy.rs` shows a user's own in 30 lines.

mod longest;
mod nearest;
mod random;
mod sticky;
mod weighted;

use core::fmt;

use stealyard_park::{MostRecent, WakeOrder};
use stealyard_sync::seed::Rng;
use stealyard_topology::Matrix;

pub use longest::Longest;
pub use nearest::Nearest;
pub use random::Random;
pub use sticky::Sticky;
pub use weighted::Weighted;

/// What a policy may keep about one thief between its turns; all zero at first.
pub type PolicyMemory = [u64; 4];

/// The former name of [`PolicyMemory`].
#[doc(hidden)]
pub type Memory = PolicyMemory;

/// How much a thief takes from the victim's queue at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StealAmount {
    /// The oldest item only: for work that splits further by itself.
    One,
    /// Half of the items, rounded up: for tasks that are all alike. The default.
    Half,
    /// Half, but at most this many.
    UpTo(usize),
}

impl StealAmount {
    /// Returns the greatest number of items.
    pub(crate) fn limit(self) -> usize {
        match self {
            Self::One => 1,
            Self::Half => usize::MAX,
            Self::UpTo(items) => items.max(1),
        }
    }
}

/// One question to a policy: everything it may look at.
pub struct Turn<'a> {
    /// The worker that wants to steal.
    pub thief: usize,
    /// The pass, from 0. The run-next slots are looked at in the last one only, by the scheduler.
    pub pass: u32,
    /// How many victims this pass has had already.
    pub step: usize,
    /// All other workers with their distance from the thief, nearest first.
    pub others: &'a [(usize, u8)],
    /// The thief's random numbers.
    pub rng: &'a mut Rng,
    /// What the policy keeps for this thief.
    pub memory: &'a mut PolicyMemory,
    /// How many items a worker's queue seems to hold.
    pub(crate) len_of: &'a dyn Fn(usize) -> usize,
}

impl<'a> Turn<'a> {
    /// Makes a question, for the tests of a policy.
    pub fn new(
        thief: usize,
        others: &'a [(usize, u8)],
        rng: &'a mut Rng,
        memory: &'a mut PolicyMemory,
        len_of: &'a dyn Fn(usize) -> usize,
    ) -> Self {
        Self {
            thief,
            pass: 0,
            step: 0,
            others,
            rng,
            memory,
            len_of,
        }
    }

    /// Returns how many items the queue of `worker` seems to hold: a moment's view that costs a
    /// cache miss.
    pub fn len_of(&self, worker: usize) -> usize {
        (self.len_of)(worker)
    }

    /// Draws a number below `bound`, or zero if `bound` is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        match u32::try_from(bound) {
            Ok(0) => 0,
            Ok(bound) => self.rng.below(bound) as usize,
            Err(_) => (self.rng.next_u64() % bound as u64) as usize,
        }
    }
}

impl fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("thief", &self.thief)
            .field("pass", &self.pass)
            .field("step", &self.step)
            .field("others", &self.others)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

/// Whom to steal from, how much, and whom to wake when there is more work.
pub trait StealPolicy: fmt::Debug + Send + Sync {
    /// Returns the next victim of this pass, or `None` to end the pass. The thief itself, or a
    /// worker that does not exist, is passed over. A pass has at most twice as many steps as there
    /// are workers.
    ///
    /// A panic here ends the pass. A panic in one of the other two methods that a worker calls is
    /// as if the default had been given. Either is counted and told to the panic hook.
    fn victim(&self, turn: &mut Turn<'_>) -> Option<usize>;

    /// Returns how much to take. Default: half.
    fn amount(&self) -> StealAmount {
        StealAmount::Half
    }

    /// Learns how many items an attempt on `victim` took. Default: keeps nothing.
    fn outcome(&self, memory: &mut PolicyMemory, victim: usize, took: usize) {
        let _ = (memory, victim, took);
    }

    /// Returns the order of waking, to go with the order of stealing. Default: the worker that fell
    /// asleep last. Called by `build`. A panic of the order itself is taken for no choice.
    fn wake_order(&self, distances: &Matrix) -> Box<dyn WakeOrder> {
        let _ = distances;
        Box::new(MostRecent)
    }
}

/// Returns the wake order that goes with stealing near first: near workers are woken first.
pub(crate) fn nearest_wakes(distances: &Matrix) -> Box<dyn WakeOrder> {
    let rows: Vec<Vec<u32>> = (0..distances.len())
        .map(|from| {
            distances
                .row(from)
                .iter()
                .map(|&rank| rank.into())
                .collect()
        })
        .collect();
    match stealyard_park::Nearest::new(&rows) {
        Ok(order) => Box::new(order),
        Err(_) => unreachable!("a matrix of distances is square"),
    }
}

#[cfg(test)]
pub(crate) mod double {
    //! A pass of a policy over made-up workers.

    use stealyard_park::idle::Recheck;
    use stealyard_park::{Idle, Parker, SleeperSet};
    use stealyard_sync::{Arc, Mutex};
    use stealyard_topology::{Placement, Topology};

    use super::*;

    /// Returns the victims of one pass, with empty queues.
    pub(crate) fn pass(policy: &dyn StealPolicy, others: &[(usize, u8)], seed: u64) -> Vec<usize> {
        pass_with(policy, others, seed, &mut [0; 4], &|_| 0)
    }

    pub(crate) fn pass_with(
        policy: &dyn StealPolicy,
        others: &[(usize, u8)],
        seed: u64,
        memory: &mut PolicyMemory,
        len_of: &dyn Fn(usize) -> usize,
    ) -> Vec<usize> {
        let mut rng = Rng::new(seed);
        let mut turn = Turn::new(0, others, &mut rng, memory, len_of);
        let mut victims = Vec::new();
        while let Some(victim) = policy.victim(&mut turn) {
            victims.push(victim);
            turn.step += 1;
            assert!(turn.step <= 2 * others.len() + 2, "the pass does not end");
        }
        victims
    }

    /// Four nodes of two workers, seen from worker 0: one near, six far.
    pub(crate) const FOUR_NODES: [(usize, u8); 7] =
        [(1, 2), (2, 5), (3, 5), (4, 6), (5, 6), (6, 7), (7, 7)];

    #[test]
    fn no_others_is_no_victim_for_any_policy() {
        for policy in all() {
            assert_eq!(pass(&*policy, &[], 7), [] as [usize; 0], "{policy:?}");
        }
    }

    #[test]
    fn victims_are_others_and_a_pass_repeats_from_its_seed() {
        for policy in all() {
            for seed in 0..50 {
                let victims = pass(&*policy, &FOUR_NODES, seed);
                assert!(
                    victims.iter().all(|victim| (1..8).contains(victim)),
                    "{policy:?}"
                );
                assert_eq!(victims, pass(&*policy, &FOUR_NODES, seed), "{policy:?}");
            }
        }
    }

    /// Returns the worker that `order` wakes for worker `from`, of those that fell asleep in this
    /// order.
    fn woken(order: Box<dyn WakeOrder>, from: usize, asleep: &[usize]) -> Option<usize> {
        struct Asked(Box<dyn WakeOrder>, Arc<Mutex<Option<usize>>>);
        impl WakeOrder for Asked {
            fn choose(&self, from: Option<usize>, sleepers: &SleeperSet<'_>) -> Option<usize> {
                let chosen = self.0.choose(from, sleepers);
                *self.1.lock().unwrap() = chosen;
                chosen
            }
        }
        let answer = Arc::new(Mutex::new(None));
        let parkers: Vec<Parker> = (0..8).map(|_| Parker::new()).collect();
        let asked = Asked(order, Arc::clone(&answer));
        let idle = Idle::with_order(parkers.iter().map(Parker::unparker), asked);
        let mut sleeping = Vec::new();
        for &worker in asleep {
            let active = idle.join(worker).unwrap();
            match active.park().recheck(|| None::<()>) {
                Recheck::Nothing(asleep) => sleeping.push(asleep),
                Recheck::Work(..) => unreachable!("there is none"),
            }
        }
        let _ = idle.announce_from(from, 1);
        *answer.lock().unwrap()
    }

    #[test]
    fn the_worker_to_wake_follows_the_order_of_stealing() {
        let near_and_far = [
            [10, 15, 30, 30],
            [15, 10, 30, 30],
            [30, 30, 10, 15],
            [30, 30, 15, 10],
        ];
        let rows: Vec<Vec<u32>> = near_and_far.iter().map(|row| row.to_vec()).collect();
        let machine = Topology::synthetic("pack:4 [numa] l3:1 core:2 pu:1").unwrap();
        let machine = machine.with_node_distances(&rows).unwrap();
        let plan = Placement::Compact.plan(&machine, 8).unwrap();
        let matrix = plan.matrix(&machine.distances());
        for policy in all() {
            let wakes = |from, asleep: &[usize]| woken(policy.wake_order(&matrix), from, asleep);
            if !matches!(&*format!("{policy:?}"), "Nearest" | "Weighted") {
                assert_eq!(wakes(0, &[1, 2, 7, 6]), Some(6), "{policy:?}: the last one");
                continue;
            }
            assert_eq!(wakes(0, &[1, 2, 7, 6]), Some(1), "{policy:?}: the sibling");
            assert_eq!(wakes(7, &[1, 4, 6, 0]), Some(6), "{policy:?}: the sibling");
            assert_eq!(
                wakes(0, &[2, 3, 7, 6]),
                Some(3),
                "{policy:?}: the near node's last"
            );
            assert_eq!(
                wakes(5, &[1, 6, 7, 0]),
                Some(7),
                "{policy:?}: the near node's last"
            );
            assert_eq!(
                wakes(3, &[6, 4]),
                Some(4),
                "{policy:?}: the last of the far ones"
            );
        }
    }

    fn all() -> Vec<Box<dyn StealPolicy>> {
        vec![
            Box::new(Random),
            Box::new(Nearest),
            Box::new(Sticky),
            Box::new(Longest),
            Box::new(Weighted),
        ]
    }
}
