//! Models of `Ring` (labels of `ring.rs`): its positions (R1 to R4), its claim, and how a thief
//! revokes the claim (R5, R6).

use stealyard_deque::{Ring, RingStealer, Steal};
use stealyard_sync::{model, thread};

use crate::{Item, assert_each_once, drain, item, number, pop_some, push_all, race, steal_some};

type Queue = Ring<Box<Item>>;
type Thief = RingStealer<Box<Item>>;

#[test]
fn r4_pop_against_steal_of_the_last_item() {
    model::check(3, || {
        let ring = Queue::starting_at(2, u64::MAX);
        push_all(&ring, 0..1);
        let mut seen = race(&ring, drain, [|stealer| steal_some(&stealer, 1)]);
        seen.extend(drain(&ring));
        assert_each_once(seen, 0..1);
    });
}

#[test]
fn ro1_push_against_steal() {
    model::check(3, || {
        let ring = Queue::starting_at(2, 0);
        let owner = |ring: &Queue| {
            push_all(ring, 0..2);
            drain(ring)
        };
        let seen = race(&ring, owner, [|stealer| steal_some(&stealer, 2)]);
        assert_each_once(seen, 0..2);
    });
}

#[test]
fn r2_wrap_around_while_a_thief_reads() {
    model::check(3, || {
        let ring = Queue::starting_at(2, u64::MAX - 1);
        push_all(&ring, 0..2);
        let owner = |ring: &Queue| {
            let mut seen = Vec::new();
            for made in 2..4 {
                seen.extend(pop_some(ring, 1));
                // There is room: one item was popped, or a thief has it.
                push_all(ring, made..made + 1);
            }
            seen.extend(drain(ring));
            seen
        };
        let seen = race(&ring, owner, [|stealer| steal_some(&stealer, 1)]);
        assert_each_once(seen, 0..4);
    });
}

#[test]
fn r4_batch_steal_against_pop_and_push() {
    model::check(3, || {
        let ring = Queue::starting_at(4, 0);
        push_all(&ring, 0..3);
        let owner = |ring: &Queue| {
            let mut seen = pop_some(ring, 1);
            push_all(ring, 3..4);
            seen.extend(drain(ring));
            seen
        };
        let thief = |stealer: Thief| {
            let own = Ring::starting_at(4, u64::MAX);
            let _ = stealer.steal_batch(&own, usize::MAX);
            drain(&own)
        };
        let mut seen = race(&ring, owner, [thief]);
        seen.extend(drain(&ring));
        assert_each_once(seen, 0..4);
    });
}

#[test]
fn r4_pop_against_two_thieves() {
    model::check(2, || {
        let ring = Queue::starting_at(4, 0);
        push_all(&ring, 0..3);
        let thief = |stealer: Thief| {
            let own = Ring::starting_at(2, 0);
            let first = match stealer.steal_batch_and_pop(&own, usize::MAX) {
                Steal::Success(got) => Some(number(&got)),
                Steal::Empty | Steal::Retry => None,
            };
            first.into_iter().chain(drain(&own)).collect()
        };
        let mut seen = race(&ring, |ring| pop_some(ring, 1), [thief; 2]);
        seen.extend(drain(&ring));
        assert_each_once(seen, 0..3);
    });
}

#[test]
fn r1_a_thief_that_sees_the_head_sees_its_tail() {
    model::check(3, || {
        let ring = Queue::starting_at(2, 0);
        let owner = |ring: &Queue| {
            push_all(ring, 0..1);
            drain(ring)
        };
        let observer = |stealer: Thief| {
            // `len` asserts R1 (order of positions) on what it reads.
            assert!(stealer.len() <= 2);
            Vec::new()
        };
        assert_eq!(race(&ring, owner, [observer]), [0]);
    });
}

#[test]
fn r1_a_thief_behind_another_thief_sees_its_tail() {
    model::check(3, || {
        let ring = Queue::starting_at(2, 0);
        let (first, second) = (ring.stealer(), ring.stealer());
        let observer = thread::spawn(move || assert!(second.len() <= 2));
        let thief = thread::spawn(move || steal_some(&first, 1));
        push_all(&ring, 0..1);
        let mut seen = thief.join().unwrap();
        observer.join().unwrap();
        seen.extend(drain(&ring));
        assert_each_once(seen, 0..1);
    });
}

#[test]
fn r4_overflow_against_steal() {
    model::check(3, || {
        let ring = Queue::starting_at(2, 0);
        push_all(&ring, 0..2);
        let owner = |ring: &Queue| {
            let mut seen = Vec::new();
            ring.push_or_overflow(item(2), |got| seen.push(number(&got)));
            seen.extend(drain(ring));
            seen
        };
        let seen = race(&ring, owner, [|stealer| steal_some(&stealer, 1)]);
        assert_each_once(seen, 0..3);
    });
}

/// Returns a queue whose owner has popped item 0 and claimed the items `1..=hidden`, which are all
/// that remain. `position` is where the queue started.
fn claimed(hidden: usize, capacity: usize, position: u64) -> Queue {
    let ring = Ring::starting_at(capacity, position).claiming(8);
    push_all(&ring, 0..2 * (hidden + 1));
    assert_eq!(pop_some(&ring, 1), [0]);
    for _ in 0..=hidden {
        assert!(ring.stealer().steal().is_success(), "half is visible");
    }
    assert!(ring.stealer().is_empty() && ring.len() == hidden);
    ring
}

/// Makes one forced steal. Returns the numbers of all items that it brings.
fn force(stealer: &Thief, capacity: usize, limit: usize) -> Vec<usize> {
    let own = Ring::starting_at(capacity, u64::MAX);
    let first = stealer.force_steal(&own, limit).success();
    let got: Vec<usize> = first
        .iter()
        .map(|got| number(got))
        .chain(drain(&own))
        .collect();
    assert!(got.is_sorted(), "a batch keeps its order");
    got
}

/// Makes two forced steals.
fn force_twice(stealer: &Thief, capacity: usize) -> Vec<usize> {
    let mut got = force(stealer, capacity, usize::MAX);
    got.extend(force(stealer, capacity, usize::MAX));
    got
}

#[test]
fn r5_revoke_against_pops() {
    model::check(3, || {
        let ring = claimed(2, 8, u64::MAX - 2);
        let seen = race(&ring, drain, [|stealer| force(&stealer, 4, usize::MAX)]);
        assert_each_once(seen, 1..3);
    });
}

#[test]
fn r5_revoke_of_a_part() {
    model::check(3, || {
        let ring = claimed(3, 8, 0);
        let thief = |stealer| force(&stealer, 2, 2);
        let mut seen = race(&ring, |ring| pop_some(ring, 1), [thief]);
        seen.extend(drain(&ring));
        assert_each_once(seen, 1..4);
    });
}

#[test]
fn r5_two_thieves_revoke() {
    model::check(2, || {
        let ring = claimed(2, 8, 0);
        let thieves = [1, usize::MAX].map(|limit| move |stealer| force(&stealer, 2, limit));
        let mut seen = race(&ring, |ring| pop_some(ring, 1), thieves);
        seen.extend(drain(&ring));
        assert_each_once(seen, 1..3);
    });
}

#[test]
fn r6_revoke_against_the_next_claim() {
    model::check(2, || {
        let ring = claimed(1, 4, 0);
        let owner = |ring: &Queue| {
            let mut seen = pop_some(ring, 1);
            push_all(ring, 2..5);
            seen.extend(drain(ring));
            seen
        };
        let seen = race(&ring, owner, [|stealer| force(&stealer, 4, usize::MAX)]);
        assert_each_once(seen, 1..5);
    });
}

#[test]
fn ro6_a_claim_is_published_with_its_cursor() {
    model::check(3, || {
        let ring = Ring::starting_at(4, 0).claiming(8);
        let owner = |ring: &Queue| {
            push_all(ring, 0..3);
            pop_some(ring, 1)
        };
        let mut seen = race(&ring, owner, [|stealer| force(&stealer, 2, usize::MAX)]);
        seen.extend(drain(&ring));
        assert_each_once(seen, 0..3);
    });
}

#[test]
fn r3_a_claim_moves_up_while_it_is_revoked() {
    model::check(3, || {
        let ring = claimed(1, 4, u64::MAX - 1);
        let owner = |ring: &Queue| {
            // The second push finds the slots below the claim's end free, but only behind it.
            push_all(ring, 2..4);
            drain(ring)
        };
        let seen = race(&ring, owner, [|stealer| force(&stealer, 2, usize::MAX)]);
        assert_each_once(seen, 1..4);
    });
}

#[test]
fn r5_claimed_items_are_dropped_once() {
    model::check(3, || {
        let ring = claimed(2, 8, 0);
        let stealer = ring.stealer();
        let thief = thread::spawn(move || force(&stealer, 2, 1));
        drop(ring); // loom reports the items that leak
        thief.join().unwrap();
    });
}

#[test]
fn r4_a_stolen_batch_is_stolen_again() {
    model::check(3, || {
        let ring = Queue::starting_at(4, 0);
        push_all(&ring, 0..4);
        let own = Queue::starting_at(2, u64::MAX);
        let victim = ring.stealer();
        let owner = |own: &Queue| {
            let _ = victim.steal_batch(own, usize::MAX);
            drain(own)
        };
        let mut seen = race(&own, owner, [|stealer| steal_some(&stealer, 1)]);
        seen.extend(drain(&ring));
        assert_each_once(seen, 0..4);
    });
}

#[test]
fn r5_a_revoked_claim_is_revoked_again() {
    model::check(2, || {
        let ring = claimed(2, 8, 0);
        let own = Ring::starting_at(4, 0).claiming(8);
        let victim = ring.stealer();
        let owner = |own: &Queue| {
            let forced = victim.force_steal(own, usize::MAX).success();
            let mut seen: Vec<usize> = forced.map(|got| number(&got)).into_iter().collect();
            push_all(own, 3..5);
            seen.extend(pop_some(own, 1));
            seen
        };
        let mut seen = race(&own, owner, [|stealer| force(&stealer, 2, usize::MAX)]);
        seen.extend(drain(&own));
        assert_each_once(seen, 1..5);
    });
}

#[test]
fn r5_pop_against_a_steal_and_a_force() {
    model::check(2, || {
        let ring = Ring::starting_at(8, 0).claiming(8);
        push_all(&ring, 0..4);
        assert_eq!(pop_some(&ring, 1), [0]);
        // 1 is claimed, 2 and 3 are visible.
        let thieves: [fn(Thief) -> Vec<usize>; 2] = [
            |stealer| steal_some(&stealer, 1),
            |stealer| force_twice(&stealer, 2),
        ];
        let mut seen = race(&ring, |ring| pop_some(ring, 1), thieves);
        seen.extend(drain(&ring));
        assert_each_once(seen, 1..4);
    });
}

#[test]
fn r5_overflow_with_a_claim_against_revoke() {
    model::check(3, || {
        let ring = Ring::starting_at(4, 0).claiming(8);
        push_all(&ring, 0..4);
        assert_eq!(pop_some(&ring, 1), [0]);
        push_all(&ring, 4..5);
        let owner = |ring: &Queue| {
            let mut seen = Vec::new();
            ring.push_or_overflow(item(5), |got| seen.push(number(&got)));
            seen.extend(pop_some(ring, 1));
            seen
        };
        let mut seen = race(&ring, owner, [|stealer| force_twice(&stealer, 4)]);
        seen.extend(drain(&ring));
        assert_each_once(seen, 1..6);
    });
}
