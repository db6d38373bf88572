//! Models of `ChaseLev` (C1 to C4 and CO1 to CO5 in `chase_lev.rs`): the last item, growth and
//! shrinking while a thief reads, batches, and positions that wrap around.
//!
//! Pinning an epoch contains a full fence, which would hide a missing one of ours. So the thieves
//! of most models are pinned from the outset: a second pin in the same thread fences nothing.

use stealyard_deque::{ChaseLev, ChaseLevStealer, Discipline, Fifo, Lifo, Steal};
use stealyard_sync::{model, thread};

use crate::{Item, assert_each_once, drain, number, pop_some, push_all, race, steal_some};

type Queue<D> = ChaseLev<Box<Item>, D>;
type Thief<D> = ChaseLevStealer<Box<Item>, D>;

/// Creates a queue whose positions wrap around after one operation.
fn queue<D: Discipline>(capacity: usize) -> Queue<D> {
    ChaseLev::starting_at(capacity, u64::MAX)
}

/// Returns a thief that is pinned from the outset, and steals so many times.
fn pinned_thief<D: Discipline>(tries: usize) -> impl FnOnce(Thief<D>) -> Vec<usize> + Send {
    move |stealer| {
        let _outer = stealyard_deque::pin();
        steal_some(&stealer, tries)
    }
}

#[test]
fn c4_pop_against_steal_of_the_last_items() {
    model::check(3, || {
        let queue = queue::<Lifo>(2);
        push_all(&queue, 0..2);
        let mut seen = race(&queue, |queue| pop_some(queue, 2), [pinned_thief(2)]);
        seen.extend(drain(&queue));
        assert_each_once(seen, 0..2);
    });
}

#[test]
fn c3_fifo_pop_against_steal() {
    model::check(3, || {
        let queue = queue::<Fifo>(2);
        push_all(&queue, 0..2);
        let mut seen = race(&queue, |queue| pop_some(queue, 2), [pinned_thief(2)]);
        seen.extend(drain(&queue));
        assert_each_once(seen, 0..2);
    });
}

#[test]
fn co1_push_against_steal() {
    model::check(3, || {
        let queue = queue::<Lifo>(2);
        let owner = |queue: &Queue<Lifo>| {
            push_all(queue, 0..2);
            pop_some(queue, 1)
        };
        let mut seen = race(&queue, owner, [pinned_thief(2)]);
        seen.extend(drain(&queue));
        assert_each_once(seen, 0..2);
    });
}

/// A thief sees items only through the `bottom` that a pop left behind.
#[test]
fn co1_items_below_a_pop_are_visible() {
    model::check(3, || {
        let queue = queue::<Lifo>(4);
        let owner = |queue: &Queue<Lifo>| {
            push_all(queue, 0..3);
            pop_some(queue, 2)
        };
        let mut seen = race(&queue, owner, [pinned_thief(1)]);
        seen.extend(drain(&queue));
        assert_each_once(seen, 0..3);
    });
}

/// The owner takes the last item, or finds it gone, and puts `bottom` back to where it was.
#[test]
fn co1_items_pushed_after_an_empty_pop_are_visible() {
    model::check(2, || {
        let queue = queue::<Lifo>(2);
        push_all(&queue, 0..1);
        let owner = |queue: &Queue<Lifo>| {
            let mut seen = pop_some(queue, 1);
            push_all(queue, 1..2);
            seen.extend(pop_some(queue, 1));
            seen
        };
        let mut seen = race(&queue, owner, [pinned_thief(1)]);
        seen.extend(drain(&queue));
        assert_each_once(seen, 0..2);
    });
}

/// The bound is 1, because three threads in the collector make bound 2 last for minutes.
/// `STEALYARD_PREEMPTIONS=2` explores that.
#[test]
fn c4_two_thieves_against_pop() {
    model::check(1, || {
        let queue = queue::<Lifo>(4);
        push_all(&queue, 0..2);
        let thieves = [pinned_thief(1), pinned_thief(1)];
        let mut seen = race(&queue, |queue| pop_some(queue, 1), thieves);
        seen.extend(drain(&queue));
        assert_each_once(seen, 0..2);
    });
}

#[test]
fn c1_growth_while_a_thief_reads() {
    model::check(2, || {
        let queue = queue::<Lifo>(2);
        push_all(&queue, 0..2);
        let owner = |queue: &Queue<Lifo>| {
            push_all(queue, 2..4);
            pop_some(queue, 2)
        };
        let mut seen = race(&queue, owner, [|stealer| steal_some(&stealer, 2)]);
        seen.extend(drain(&queue));
        assert_each_once(seen, 0..4);
    });
}

/// The thief has seen none of the items when it starts: it must find them in the new buffer.
#[test]
fn bo1_a_new_buffer_is_visible_with_its_items() {
    model::check(2, || {
        let queue = queue::<Lifo>(1);
        let owner = |queue: &Queue<Lifo>| {
            push_all(queue, 0..2);
            Vec::new()
        };
        let mut seen = race(&queue, owner, [pinned_thief(2)]);
        seen.extend(drain(&queue));
        assert_each_once(seen, 0..2);
    });
}

/// As above, but the owner is pinned from the outset too: then growing contains no fence.
#[test]
fn bo1_a_new_buffer_is_visible_to_a_thief_of_a_pinned_owner() {
    model::check(2, || {
        let queue = queue::<Lifo>(1);
        let owner = |queue: &Queue<Lifo>| {
            let _outer = stealyard_deque::pin();
            push_all(queue, 0..2);
            Vec::new()
        };
        let mut seen = race(&queue, owner, [pinned_thief(2)]);
        seen.extend(drain(&queue));
        assert_each_once(seen, 0..2);
    });
}

/// The thief sees `bottom` as it was before the growth, and only then the buffer.
#[test]
fn bo2_a_thief_with_an_old_bottom_and_a_new_buffer() {
    model::check(2, || {
        let queue = queue::<Lifo>(1);
        push_all(&queue, 0..1);
        let owner = |queue: &Queue<Lifo>| {
            push_all(queue, 1..2);
            Vec::new()
        };
        let mut seen = race(&queue, owner, [pinned_thief(1)]);
        seen.extend(drain(&queue));
        assert_each_once(seen, 0..2);
    });
}

#[test]
fn c1_shrinking_while_a_thief_reads() {
    model::check(2, || {
        let queue = queue::<Lifo>(2);
        push_all(&queue, 0..9);
        assert_eq!(queue.buffer_len(), 16);
        let mut seen = pop_some(&queue, 5);
        let owner = |queue: &Queue<Lifo>| {
            let popped = pop_some(queue, 2);
            assert!(queue.buffer_len() < 16);
            popped
        };
        seen.extend(race(&queue, owner, [|stealer| steal_some(&stealer, 1)]));
        seen.extend(drain(&queue));
        assert_each_once(seen, 0..9);
    });
}

/// A steal that finds a queue empty which never was: an old `bottom` beside a new `top`.
#[test]
fn co5_a_fifo_queue_that_is_never_empty_is_not_found_empty() {
    model::check(3, || {
        let queue = queue::<Fifo>(4);
        push_all(&queue, 0..1);
        let stealer = queue.stealer();
        let thief = thread::spawn(move || {
            let _outer = stealyard_deque::pin();
            !matches!(stealer.steal(), Steal::Empty)
        });
        push_all(&queue, 1..3);
        let _oldest = pop_some(&queue, 1);
        assert!(thief.join().unwrap(), "at least one item was there");
    });
}

/// As above, where the new `top` is another thief's. The second thief only looks, since three
/// threads in the collector make the model last for minutes.
#[test]
fn co5_a_thief_sees_the_bottom_of_the_thief_before_it() {
    model::check(2, || {
        let queue = queue::<Fifo>(4);
        push_all(&queue, 0..1);
        let (first, second) = (queue.stealer(), queue.stealer());
        // It takes the first item only if it has seen another behind it.
        let first = thread::spawn(move || {
            let _outer = stealyard_deque::pin();
            if first.len() == 2 {
                drop(first.steal());
            }
        });
        let second = thread::spawn(move || second.is_empty());
        push_all(&queue, 1..2);
        first.join().unwrap();
        assert!(!second.join().unwrap(), "at least one item was there");
    });
}

#[test]
fn c3_a_fifo_batch_against_pop_and_growth() {
    model::check(2, || {
        let queue = queue::<Fifo>(4);
        push_all(&queue, 0..4);
        let owner = |queue: &Queue<Fifo>| {
            let popped = pop_some(queue, 1);
            push_all(queue, 4..6);
            popped
        };
        let thief = |stealer: Thief<Fifo>| {
            let own = self::queue::<Fifo>(1);
            let mut seen = Vec::new();
            if let Steal::Success(got) = stealer.steal_batch_and_pop(&own, 2) {
                seen.push(number(&got));
            }
            seen.extend(drain(&own));
            seen
        };
        let mut seen = race(&queue, owner, [thief]);
        seen.extend(drain(&queue));
        assert_each_once(seen, 0..6);
    });
}

#[test]
fn c4_a_lifo_batch_against_pop() {
    model::check(2, || {
        let queue = queue::<Lifo>(4);
        push_all(&queue, 0..3);
        let thief = |stealer: Thief<Lifo>| {
            let _outer = stealyard_deque::pin();
            let own = self::queue::<Lifo>(1);
            let _ = stealer.steal_batch(&own, 2);
            drain(&own)
        };
        let mut seen = race(&queue, |queue| pop_some(queue, 2), [thief]);
        seen.extend(drain(&queue));
        assert_each_once(seen, 0..3);
    });
}

/// A thief's own queue passes on what a batch brought.
#[test]
fn co1_a_stolen_batch_is_stolen_again() {
    model::check(2, || {
        let (victim, own) = (queue::<Fifo>(4), queue::<Fifo>(2));
        push_all(&victim, 0..3);
        let owner = |own: &Queue<Fifo>| {
            let first = victim.stealer();
            assert_eq!(first.steal_batch(own, 2), Steal::Success(2));
            Vec::new()
        };
        let mut seen = race(&own, owner, [pinned_thief(1)]);
        seen.extend(drain(&own));
        seen.extend(drain(&victim));
        assert_each_once(seen, 0..3);
    });
}
