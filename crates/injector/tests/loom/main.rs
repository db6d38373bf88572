//! Goal: every pair of operations that can race hands items over whole and once. Method: loom;
//! blocks of four slots, boxed items. Each model is named after the invariant that it checks.
#![cfg(stealyard_loom)]

mod segmented;

use std::ptr::NonNull;

use stealyard_injector::{Linked, Locked, Sharded, Stack};
use stealyard_sync::cell::UnsafeCell;
use stealyard_sync::{Arc, model, thread};

/// An item whose content loom watches.
struct Item(UnsafeCell<usize>);

// SAFETY: 1. the content is written before the item is shared, and read by its one owner
// afterwards.
unsafe impl Sync for Item {}

fn item(number: usize) -> Box<Item> {
    let made = Item(UnsafeCell::new(0));
    // SAFETY: 1. no other thread has the item yet.
    made.0.with_mut(|content| unsafe { *content = number });
    Box::new(made)
}

fn number(item: &Item) -> usize {
    // SAFETY: 1. the item is the caller's.
    item.0.with(|content| unsafe { *content })
}

fn assert_each_once(mut seen: Vec<usize>, count: usize) {
    seen.sort_unstable();
    assert_eq!(seen, (0..count).collect::<Vec<_>>());
}

#[test]
fn k3_locked_pushes_against_pops() {
    model::check(3, || {
        let queue = Arc::new(Locked::new());
        queue.push(Box::new(0));
        let theirs = Arc::clone(&queue);
        let producer = thread::spawn(move || {
            theirs.push_batch([Box::new(1), Box::new(2)]);
            theirs.push(Box::new(3));
        });
        let mut seen = Vec::new();
        queue.pop_batch(8, 2, |item| seen.push(*item));
        seen.extend(queue.pop().map(|item| *item));
        producer.join().unwrap();
        assert_eq!(queue.len(), 4 - seen.len(), "K3");
        queue.pop_batch(8, 1, |item| seen.push(*item));
        assert_eq!(seen, [0, 1, 2, 3], "K1");
    });
}

#[test]
fn b1_a_lane_with_an_item_has_its_bit_set() {
    model::check(3, || {
        let lanes = Arc::new(Sharded::<usize, Locked<usize>>::new(2).unwrap());
        lanes.push(1, 0);
        let theirs = Arc::clone(&lanes);
        let producer = thread::spawn(move || theirs.push(1, 1));
        // The second pop finds the lane empty and clears its bit, if the producer has not come yet.
        let mut seen: Vec<usize> = (0..2).filter_map(|_| lanes.pop(0)).collect();
        producer.join().unwrap();
        seen.extend(lanes.pop(0));
        assert_eq!(seen, [0, 1], "found by the bits alone");
        assert!(lanes.is_empty());
    });
}

/// A pop after a push finds the item, though another thread clears the lane's bit at that moment.
#[test]
fn b1_an_item_is_found_while_a_bit_is_cleared() {
    model::check(3, || {
        let lanes = Arc::new(Sharded::<usize, Locked<usize>>::new(1).unwrap());
        lanes.push(0, 0);
        assert_eq!(lanes.pop(0), Some(0), "the bit stays");
        let theirs = Arc::clone(&lanes);
        let clearer = thread::spawn(move || theirs.pop(0));
        lanes.push(0, 1);
        let mine = lanes.pop(0);
        let seen: Vec<usize> = [mine, clearer.join().unwrap()]
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(seen, [1]);
    });
}

/// A task that carries its own link.
struct Node {
    link: *mut Node,
    content: Box<Item>,
}

struct Owned(Box<Node>);

// SAFETY: 1. a node is owned by its box; its link is only used by the stack that holds it.
unsafe impl Send for Owned {}

// SAFETY:
// 1. The pointer is the box's.
// 2. The link is a field that only the stack touches.
// 3. Nothing panics.
unsafe impl Linked for Owned {
    type Node = Node;

    fn into_node(self) -> NonNull<Node> {
        NonNull::from(Box::leak(self.0))
    }

    unsafe fn from_node(node: NonNull<Node>) -> Self {
        // SAFETY: 1. the pointer came from `into_node`, and comes back once.
        Self(unsafe { Box::from_raw(node.as_ptr()) })
    }

    unsafe fn link(node: NonNull<Node>) -> NonNull<*mut Node> {
        // SAFETY: 1. the node is valid.
        let link = unsafe { &raw mut (*node.as_ptr()).link };
        NonNull::new(link).expect("a field of a node")
    }
}

fn node(number: usize) -> Owned {
    Owned(Box::new(Node {
        link: std::ptr::null_mut(),
        content: item(number),
    }))
}

#[test]
fn t4_stack_pushes_against_take_all() {
    model::check(3, || {
        let stack = Arc::new(Stack::new());
        // Loom tries other orders around a swap, and `take_all` swaps only if there is an item.
        stack.push(node(0));
        let producers: Vec<_> = (1..3)
            .map(|number| {
                let stack = Arc::clone(&stack);
                thread::spawn(move || stack.push(node(number)))
            })
            .collect();
        let take = || -> Vec<usize> {
            stack
                .take_all()
                .map(|owned| number(&owned.0.content))
                .collect()
        };
        let mut seen = take();
        producers
            .into_iter()
            .for_each(|producer| producer.join().unwrap());
        seen.extend(take());
        assert_eq!(seen[0], 0, "T3");
        assert_each_once(seen, 3);
    });
}
