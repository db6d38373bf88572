//! Models of full queues: a push that overflows, against every operation of a thief, on every
//! queue, at the smallest capacities and limits.
//!
//! A push that is refused looks at the thieves' end again before it claims what overflows. A
//! `ChaseLev` at its limit once counted its items at another moment than it read their position.
//! No model saw that, for two reasons: the thief could not empty the queue, and loom never had its
//! claim between two looks of the owner. So here a thief takes everything, and the models are of
//! those that miss no look.

use stealyard_deque::{ChaseLev, Discipline, Fifo, Lifo, Ring, Split, Stealer, Worker};
use stealyard_sync::model;

use crate::{Item, assert_each_once, drain, item, number, race, steal_some};

/// The work of a thief that has a queue of its own. It returns the numbers of the items it got.
type Theft<W> = fn(&<W as Worker>::Stealer, &W) -> Vec<usize>;

/// Returns each operation of a thief, repeated as often as it takes to empty a queue of two.
fn thefts<W: Worker<Item = Box<Item>>>() -> [Theft<W>; 5] {
    fn numbers(got: impl IntoIterator<Item = Box<Item>>) -> Vec<usize> {
        got.into_iter().map(|got| number(&got)).collect()
    }
    [
        |victim, _own| steal_some(victim, 2),
        |victim, own| {
            let _ = victim.steal_batch(own, usize::MAX);
            let _ = victim.steal_batch(own, usize::MAX);
            drain(own)
        },
        |victim, own| {
            let first = victim.steal_batch_and_pop(own, usize::MAX).success();
            let second = victim.steal_batch_and_pop(own, usize::MAX).success();
            let rest = core::iter::from_fn(|| own.pop());
            numbers(first.into_iter().chain(second).chain(rest))
        },
        |victim, own| {
            let first = victim.force_steal(own, usize::MAX).success();
            numbers(first.into_iter().chain(core::iter::from_fn(|| own.pop())))
        },
        |victim, _own| {
            assert!(victim.len() <= 4, "no more than it holds");
            assert!(victim.is_empty() || victim.len() <= 4);
            Vec::new()
        },
    ]
}

/// Fills a queue of `make`, and pushes two more items while a thief is at work.
fn overflow_against_every_theft<W: Worker<Item = Box<Item>> + 'static>(
    bound: usize,
    make: impl Fn() -> W + Send + Sync + Copy + 'static,
) {
    for theft in thefts::<W>() {
        model::check_every_look(bound, move || {
            let queue = make();
            let full = (0..).find(|made| queue.push(item(*made)).is_err());
            let full = full.expect("it has a limit");
            let owner = |queue: &W| {
                let mut overflowed = Vec::new();
                for made in full..full + 2 {
                    queue.push_or_overflow(item(made), |got| overflowed.push(number(&got)));
                }
                overflowed
            };
            let thief = move |victim| theft(&victim, &make());
            let mut seen = race(&queue, owner, [thief]);
            seen.extend(drain(&queue));
            assert_each_once(seen, 0..full + 2);
        });
    }
}

fn limited<D: Discipline>(limit: usize) -> ChaseLev<Box<Item>, D> {
    ChaseLev::starting_at(2, u64::MAX).with_limit(limit)
}

#[test]
fn c3_overflow_of_a_lifo_chase_lev_against_every_theft() {
    overflow_against_every_theft(2, || limited::<Lifo>(1));
    overflow_against_every_theft(1, || limited::<Lifo>(2));
}

#[test]
fn c3_overflow_of_a_fifo_chase_lev_against_every_theft() {
    overflow_against_every_theft(2, || limited::<Fifo>(1));
    overflow_against_every_theft(1, || limited::<Fifo>(2));
}

#[test]
fn sp5_overflow_of_a_split_against_every_theft() {
    overflow_against_every_theft(2, || Split::<Box<Item>>::starting_at(2, u32::MAX, 7));
}

#[test]
fn r4_overflow_of_a_ring_against_every_theft() {
    overflow_against_every_theft(2, || {
        Ring::<Box<Item>>::starting_at(2, u64::MAX).claiming(1)
    });
    overflow_against_every_theft(2, || {
        Ring::<Box<Item>>::starting_at(2, u64::MAX).claiming(8)
    });
}
