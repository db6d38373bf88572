//! Goal: no item of a `Ring` or `Slot` is lost, doubled or seen half-made, under every interleaving
//! of the operations that can race. Method: loom, capacity 2 to 4, boxed items whose content a model
//! reads, so that a missing hand-over of memory is a race.
#![cfg(stealyard_loom)]

use stealyard_deque::{Ring, Slot, Steal};
use stealyard_sync::cell::UnsafeCell;
use stealyard_sync::{Arc, model, thread};

/// An item whose content loom watches: reading it without having synchronised with its maker fails.
struct Item(UnsafeCell<usize>);

// SAFETY: 1. the content is written before the item is shared, and only read afterwards.
unsafe impl Sync for Item {}

fn item(number: usize) -> Box<Item> {
    let made = Item(UnsafeCell::new(0));
    // SAFETY: 1. nobody else has the item yet.
    made.0.with_mut(|content| unsafe { *content = number });
    Box::new(made)
}

fn number(item: &Item) -> usize {
    // SAFETY: 1. the item is ours and nobody writes it any more.
    item.0.with(|content| unsafe { *content })
}

/// Each of `0..count` exactly once.
fn assert_each_once(mut seen: Vec<usize>, count: usize) {
    seen.sort_unstable();
    assert_eq!(seen, (0..count).collect::<Vec<_>>());
}

fn push_all(ring: &Ring<Box<Item>>, numbers: core::ops::Range<usize>) {
    for made in numbers {
        assert!(ring.push(item(made)).is_ok(), "there is room");
    }
}

fn drain(ring: &Ring<Box<Item>>) -> Vec<usize> {
    core::iter::from_fn(|| ring.pop())
        .map(|got| number(&got))
        .collect()
}

#[test]
fn r4_pop_against_steal_of_the_last_item() {
    model::check(3, || {
        let ring = Ring::<Box<Item>>::starting_at(2, u64::MAX);
        push_all(&ring, 0..1);
        let stealer = ring.stealer();
        let thief = thread::spawn(move || stealer.steal().success().map(|got| number(&got)));
        let mut seen = drain(&ring);
        seen.extend(thief.join().unwrap());
        seen.extend(drain(&ring));
        assert_each_once(seen, 1);
    });
}

#[test]
fn o1_push_against_steal() {
    model::check(3, || {
        let ring = Ring::<Box<Item>>::starting_at(2, 0);
        let stealer = ring.stealer();
        let thief = thread::spawn(move || -> Vec<usize> {
            (0..2)
                .filter_map(|_| stealer.steal().success())
                .map(|got| number(&got))
                .collect()
        });
        push_all(&ring, 0..2);
        let mut seen: Vec<usize> = drain(&ring);
        seen.extend(thief.join().unwrap());
        assert_each_once(seen, 2);
    });
}

#[test]
fn r2_wrap_around_while_a_thief_reads() {
    model::check(3, || {
        let ring = Ring::<Box<Item>>::starting_at(2, u64::MAX - 1);
        push_all(&ring, 0..2);
        let stealer = ring.stealer();
        let thief = thread::spawn(move || stealer.steal().success().map(|got| number(&got)));
        let mut seen = Vec::new();
        for made in 2..4 {
            seen.extend(ring.pop().map(|got| number(&got)));
            assert!(
                ring.push(item(made)).is_ok(),
                "one was popped, or a thief has it"
            );
        }
        seen.extend(drain(&ring));
        seen.extend(thief.join().unwrap());
        assert_each_once(seen, 4);
    });
}

#[test]
fn r4_batch_steal_against_pop_and_push() {
    model::check(3, || {
        let ring = Ring::<Box<Item>>::starting_at(4, 0);
        push_all(&ring, 0..3);
        let stealer = ring.stealer();
        let thief = thread::spawn(move || {
            let own = Ring::starting_at(4, u64::MAX);
            let _ = stealer.steal_batch(&own, usize::MAX);
            drain(&own)
        });
        let mut seen = Vec::new();
        seen.extend(ring.pop().map(|got| number(&got)));
        push_all(&ring, 3..4);
        seen.extend(drain(&ring));
        seen.extend(thief.join().unwrap());
        seen.extend(drain(&ring));
        assert_each_once(seen, 4);
    });
}

#[test]
fn r4_two_thieves_and_the_owner() {
    model::check(2, || {
        let ring = Ring::<Box<Item>>::starting_at(4, 0);
        push_all(&ring, 0..3);
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let stealer = ring.stealer();
                thread::spawn(move || {
                    let own = Ring::starting_at(2, 0);
                    let first = match stealer.steal_batch_and_pop(&own, usize::MAX) {
                        Steal::Success(got) => Some(number(&got)),
                        Steal::Empty | Steal::Retry => None,
                    };
                    first.into_iter().chain(drain(&own)).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut seen: Vec<usize> = ring.pop().map(|got| number(&got)).into_iter().collect();
        for thief in thieves {
            seen.extend(thief.join().unwrap());
        }
        seen.extend(drain(&ring));
        assert_each_once(seen, 3);
    });
}

#[test]
fn r1_a_thief_that_sees_the_head_sees_its_tail() {
    model::check(3, || {
        let ring = Ring::<Box<Item>>::starting_at(2, 0);
        let stealer = ring.stealer();
        // `len` asserts R1 on what it reads.
        let watcher = thread::spawn(move || assert!(stealer.len() <= 2));
        push_all(&ring, 0..1);
        assert_eq!(drain(&ring), [0]);
        watcher.join().unwrap();
    });
}

#[test]
fn r1_a_thief_behind_another_thief_sees_its_tail() {
    model::check(3, || {
        let ring = Ring::<Box<Item>>::starting_at(2, 0);
        let (first, second) = (ring.stealer(), ring.stealer());
        let watcher = thread::spawn(move || assert!(second.len() <= 2));
        let thief = thread::spawn(move || first.steal().success().map(|got| number(&got)));
        push_all(&ring, 0..1);
        let mut seen: Vec<usize> = thief.join().unwrap().into_iter().collect();
        watcher.join().unwrap();
        seen.extend(drain(&ring));
        assert_each_once(seen, 1);
    });
}

#[test]
fn r4_overflow_against_steal() {
    model::check(3, || {
        let ring = Ring::<Box<Item>>::starting_at(2, 0);
        push_all(&ring, 0..2);
        let stealer = ring.stealer();
        let thief = thread::spawn(move || stealer.steal().success().map(|got| number(&got)));
        let mut seen = Vec::new();
        ring.push_or_overflow(item(2), |got| seen.push(number(&got)));
        seen.extend(drain(&ring));
        seen.extend(thief.join().unwrap());
        assert_each_once(seen, 3);
    });
}

#[test]
fn s1_put_and_take_against_steal() {
    model::check(3, || {
        let slot = Arc::new(Slot::new());
        let theirs = Arc::clone(&slot);
        let thief = thread::spawn(move || theirs.steal().map(|got: Box<Item>| number(&got)));
        let mut seen: Vec<usize> = Vec::new();
        seen.extend(slot.put(item(0)).map(|got| number(&got)));
        seen.extend(slot.put(item(1)).map(|got| number(&got)));
        seen.extend(slot.take().map(|got| number(&got)));
        seen.extend(thief.join().unwrap());
        assert_each_once(seen, 2);
    });
}
