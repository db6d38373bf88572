//! What a `ChaseLev` keeps of a burst that thieves emptied: its buffer shrinks again with the
//! owner's next calls, whichever these are.
//!
//! The bounds are those of a queue that replaces its buffer at most once in a call, by one of half
//! its size. An owner that finds the queue empty shrinks it in as many calls as there are halvings.
//! An owner that pushes, or pushes and pops in turn, shrinks it in as many calls as the buffer had
//! slots.

use stealyard_deque::{ChaseLev, Discipline, Fifo, Lifo, Steal};

const BURST: u32 = 100_000;
/// How often 131,072 can be halved before it is 64, and a few calls more.
const HALVINGS: usize = 16;

/// Returns a queue after a burst that a thief emptied, the size of its buffer then, and the size
/// before.
fn after_a_burst<D: Discipline>() -> (ChaseLev<u32, D>, usize, usize) {
    let queue = ChaseLev::<u32, D>::default();
    let least = queue.buffer_len();
    for number in 0..BURST {
        queue.push(number).expect("no limit");
    }
    let most = queue.buffer_len();
    let stealer = queue.stealer();
    for number in 0..BURST {
        assert_eq!(stealer.steal(), Steal::Success(number));
    }
    (queue, most, least)
}

/// Returns how many of the owner's `calls` it takes until the buffer is as small as at first.
fn calls_until_small<D: Discipline>(
    calls_at_most: impl Fn(usize) -> usize,
    mut call: impl FnMut(&ChaseLev<u32, D>, u32),
) {
    let (queue, most, least) = after_a_burst::<D>();
    let bound = calls_at_most(most);
    let mut calls = 0;
    while queue.buffer_len() > least {
        assert!(
            calls < bound,
            "{:?}: after {calls} calls the buffer still has {} slots, of {most} at most and {least} at first",
            D::ORDER,
            queue.buffer_len()
        );
        call(&queue, calls as u32);
        calls += 1;
    }
}

/// Pops from the empty queue.
fn pops<D: Discipline>() {
    calls_until_small::<D>(|_| HALVINGS, |queue, _| assert_eq!(queue.pop(), None));
}

/// Pushes one item and pops it, over and over.
fn pushes_and_pops<D: Discipline>() {
    calls_until_small::<D>(
        |most| most,
        |queue, number| {
            queue.push(number).expect("no limit");
            assert_eq!(queue.pop(), Some(number));
        },
    );
}

/// Pushes only; a thief takes each item at once.
fn only_pushes<D: Discipline>() {
    calls_until_small::<D>(
        |most| 2 * most,
        |queue, number| {
            queue.push(number).expect("no limit");
            assert_eq!(queue.stealer().steal(), Steal::Success(number));
        },
    );
}

#[test]
fn a_buffer_that_thieves_emptied_shrinks_when_the_owner_finds_nothing() {
    pops::<Lifo>();
    pops::<Fifo>();
}

#[test]
fn a_buffer_that_thieves_emptied_shrinks_while_the_owner_pushes_and_pops() {
    pushes_and_pops::<Lifo>();
    pushes_and_pops::<Fifo>();
}

#[test]
fn a_buffer_that_thieves_emptied_shrinks_while_the_owner_only_pushes() {
    only_pushes::<Lifo>();
    only_pushes::<Fifo>();
}

/// The size of the buffer is in proportion to the number of items.
#[test]
fn the_buffer_is_in_proportion_to_the_items() {
    let (queue, most, least) = after_a_burst::<Lifo>();
    (0..1_000).for_each(|number| queue.push(number).expect("no limit"));
    for number in 0..most as u32 {
        queue.push(number).expect("no limit");
        assert_eq!(queue.pop(), Some(number));
    }
    let kept = queue.buffer_len();
    assert!(kept <= 8 * 1_024, "{kept} slots for 1,000 items");
    assert!(kept >= least.max(1_000), "{kept} slots for 1,000 items");
}
