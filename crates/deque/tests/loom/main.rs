//! Goal: no item of any queue is lost, doubled or seen half-made, under every interleaving of the
//! operations that can race. Method: loom, capacities as small as they can be, boxed items whose content
//! a model reads, so that a missing hand-over of memory is a race. Each model is named after the
//! invariant it checks.
#![cfg(stealyard_loom)]

mod chase_lev;
mod overflow;
mod ring;
mod slot;
mod split;

use stealyard_sync::cell::UnsafeCell;

/// An item whose content loom watches: reading it without having synchronised with its maker fails.
pub(crate) struct Item(UnsafeCell<usize>);

// SAFETY: 1. the content is written before the item is shared, and only read afterwards.
unsafe impl Sync for Item {}

pub(crate) fn item(number: usize) -> Box<Item> {
    let made = Item(UnsafeCell::new(0));
    // SAFETY: 1. nobody else has the item yet.
    made.0.with_mut(|content| unsafe { *content = number });
    Box::new(made)
}

pub(crate) fn number(item: &Item) -> usize {
    // SAFETY: 1. the item is ours and nobody writes it any more.
    item.0.with(|content| unsafe { *content })
}

/// Each number of `expected` exactly once, and no other.
pub(crate) fn assert_each_once(mut seen: Vec<usize>, expected: core::ops::Range<usize>) {
    seen.sort_unstable();
    assert_eq!(seen, expected.collect::<Vec<_>>());
}
