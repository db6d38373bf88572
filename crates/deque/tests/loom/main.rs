//! Goal: no item of any queue is lost, doubled or seen half-made, under every interleaving of the
//! operations that can race.
//!
//! Method: loom, capacities as small as they can be, and boxed items whose content a model reads,
//! so that a missing hand-over of memory is a race. Each model is named after the invariant it
//! checks.
#![cfg(stealyard_loom)]

mod chase_lev;
mod overflow;
mod ring;
mod slot;
mod split;

use core::iter;
use core::ops::Range;

use stealyard_deque::{Stealer, Worker};
use stealyard_sync::cell::UnsafeCell;
use stealyard_sync::thread;

/// An item whose content loom watches: a thread that reads it without having synchronised with its
/// maker fails.
pub(crate) struct Item(UnsafeCell<usize>);

// SAFETY: 1. the content is written before the item is shared, and only read afterwards.
unsafe impl Sync for Item {}

pub(crate) fn item(number: usize) -> Box<Item> {
    let made = Item(UnsafeCell::new(0));
    // SAFETY: 1. no other thread has the item yet.
    made.0.with_mut(|content| unsafe { *content = number });
    Box::new(made)
}

pub(crate) fn number(item: &Item) -> usize {
    // SAFETY: 1. the item is the caller's, and no thread writes it any more.
    item.0.with(|content| unsafe { *content })
}

/// Pushes items with these numbers; there must be room for them.
pub(crate) fn push_all<W: Worker<Item = Box<Item>>>(queue: &W, numbers: Range<usize>) {
    for made in numbers {
        assert!(queue.push(item(made)).is_ok(), "there is room");
    }
}

/// Pops so many times. Returns the numbers of the items.
pub(crate) fn pop_some<W: Worker<Item = Box<Item>>>(queue: &W, tries: usize) -> Vec<usize> {
    let pops = (0..tries).filter_map(|_| queue.pop());
    pops.map(|got| number(&got)).collect()
}

/// Pops until the queue looks empty. Returns the numbers of the items.
pub(crate) fn drain<W: Worker<Item = Box<Item>>>(queue: &W) -> Vec<usize> {
    iter::from_fn(|| queue.pop())
        .map(|got| number(&got))
        .collect()
}

/// Steals so many times. Returns the numbers of the items.
pub(crate) fn steal_some<S: Stealer<Item = Box<Item>>>(stealer: &S, tries: usize) -> Vec<usize> {
    let got = (0..tries).filter_map(|_| stealer.steal().success());
    got.map(|got| number(&got)).collect()
}

/// Runs `owner` on `queue`, and each of `thieves` in a thread of its own. Returns the numbers of
/// the items that they got; what remains in the queue is the caller's to drain.
pub(crate) fn race<W, F, const THIEVES: usize>(
    queue: &W,
    owner: impl FnOnce(&W) -> Vec<usize>,
    thieves: [F; THIEVES],
) -> Vec<usize>
where
    W: Worker<Item = Box<Item>>,
    W::Stealer: 'static,
    F: FnOnce(W::Stealer) -> Vec<usize> + Send + 'static,
{
    let thieves = thieves
        .map(|thief| (thief, queue.stealer()))
        .map(|(thief, stealer)| thread::spawn(move || thief(stealer)));
    let mut seen = owner(queue);
    for thief in thieves {
        seen.extend(thief.join().unwrap());
    }
    seen
}

/// Checks that each number of `expected` was seen exactly once, and no other number.
pub(crate) fn assert_each_once(mut seen: Vec<usize>, expected: Range<usize>) {
    seen.sort_unstable();
    assert_eq!(seen, expected.collect::<Vec<_>>());
}
