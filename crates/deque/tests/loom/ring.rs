//! Models of `Ring`: its positions (R1 to R4), its claim and how a thief revokes it (R5, R6).

use stealyard_deque::{Ring, RingStealer, Steal};
use stealyard_sync::{model, thread};

use crate::{Item, assert_each_once, item, number};

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
        assert_each_once(seen, 0..1);
    });
}

#[test]
fn ro1_push_against_steal() {
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
        assert_each_once(seen, 0..2);
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
        assert_each_once(seen, 0..4);
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
        assert_each_once(seen, 0..4);
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
        assert_each_once(seen, 0..3);
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
        assert_each_once(seen, 0..1);
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
        assert_each_once(seen, 0..3);
    });
}

/// A queue whose owner has popped item 0 and claimed the items `1..=hidden`, which is all there is left;
/// `position` is where it all began.
fn claimed(hidden: usize, capacity: usize, position: u64) -> Ring<Box<Item>> {
    let ring = Ring::starting_at(capacity, position).claiming(8);
    push_all(&ring, 0..2 * (hidden + 1));
    assert_eq!(ring.pop().map(|got| number(&got)), Some(0));
    for _ in 0..=hidden {
        assert!(ring.stealer().steal().is_success(), "half is visible");
    }
    assert!(ring.stealer().is_empty() && ring.len() == hidden);
    ring
}

/// All that one forced steal brings.
fn force(stealer: &RingStealer<Box<Item>>, capacity: usize, limit: usize) -> Vec<usize> {
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

#[test]
fn r5_revoke_against_pops() {
    model::check(3, || {
        let ring = claimed(2, 8, u64::MAX - 2);
        let stealer = ring.stealer();
        let thief = thread::spawn(move || force(&stealer, 4, usize::MAX));
        let mut seen = drain(&ring);
        seen.extend(thief.join().unwrap());
        assert_each_once(seen, 1..3);
    });
}

#[test]
fn r5_revoke_of_a_part() {
    model::check(3, || {
        let ring = claimed(3, 8, 0);
        let stealer = ring.stealer();
        let thief = thread::spawn(move || force(&stealer, 2, 2));
        let mut seen: Vec<usize> = ring.pop().map(|got| number(&got)).into_iter().collect();
        seen.extend(thief.join().unwrap());
        seen.extend(drain(&ring));
        assert_each_once(seen, 1..4);
    });
}

#[test]
fn r5_two_thieves_revoke() {
    model::check(2, || {
        let ring = claimed(2, 8, 0);
        let thieves = [1, usize::MAX].map(|limit| {
            let stealer = ring.stealer();
            thread::spawn(move || force(&stealer, 2, limit))
        });
        let mut seen: Vec<usize> = ring.pop().map(|got| number(&got)).into_iter().collect();
        for thief in thieves {
            seen.extend(thief.join().unwrap());
        }
        seen.extend(drain(&ring));
        assert_each_once(seen, 1..3);
    });
}

#[test]
fn r6_revoke_against_the_next_claim() {
    model::check(2, || {
        let ring = claimed(1, 4, 0);
        let stealer = ring.stealer();
        let thief = thread::spawn(move || force(&stealer, 4, usize::MAX));
        let mut seen: Vec<usize> = ring.pop().map(|got| number(&got)).into_iter().collect();
        push_all(&ring, 2..5);
        seen.extend(drain(&ring));
        seen.extend(thief.join().unwrap());
        assert_each_once(seen, 1..5);
    });
}

#[test]
fn ro6_a_claim_is_published_with_its_cursor() {
    model::check(3, || {
        let ring = Ring::starting_at(4, 0).claiming(8);
        let stealer = ring.stealer();
        let thief = thread::spawn(move || force(&stealer, 2, usize::MAX));
        push_all(&ring, 0..3);
        let mut seen: Vec<usize> = ring.pop().map(|got| number(&got)).into_iter().collect();
        seen.extend(thief.join().unwrap());
        seen.extend(drain(&ring));
        assert_each_once(seen, 0..3);
    });
}

#[test]
fn r3_a_claim_moves_up_while_it_is_revoked() {
    model::check(3, || {
        let ring = claimed(1, 4, u64::MAX - 1);
        let stealer = ring.stealer();
        let thief = thread::spawn(move || force(&stealer, 2, usize::MAX));
        // The second push finds the slots below the claim's end free, but only behind the claim.
        push_all(&ring, 2..4);
        let mut seen = drain(&ring);
        seen.extend(thief.join().unwrap());
        assert_each_once(seen, 1..4);
    });
}

#[test]
fn r5_what_is_claimed_is_dropped_once() {
    model::check(3, || {
        let ring = claimed(2, 8, 0);
        let stealer = ring.stealer();
        let thief = thread::spawn(move || force(&stealer, 2, 1));
        drop(ring); // loom reports the items that leak
        thief.join().unwrap();
    });
}

#[test]
fn r4_a_batch_arrives_where_others_steal() {
    model::check(3, || {
        let ring = Ring::<Box<Item>>::starting_at(4, 0);
        push_all(&ring, 0..4);
        let own = Ring::<Box<Item>>::starting_at(2, u64::MAX);
        let (victim, theirs) = (ring.stealer(), own.stealer());
        let second = thread::spawn(move || theirs.steal().success().map(|got| number(&got)));
        let _ = victim.steal_batch(&own, usize::MAX);
        let mut seen = drain(&own);
        seen.extend(second.join().unwrap());
        seen.extend(drain(&ring));
        assert_each_once(seen, 0..4);
    });
}

#[test]
fn r5_a_revoked_claim_arrives_where_others_revoke() {
    model::check(2, || {
        let ring = claimed(2, 8, 0);
        let own = Ring::<Box<Item>>::starting_at(4, 0).claiming(8);
        let (victim, theirs) = (ring.stealer(), own.stealer());
        let second = thread::spawn(move || force(&theirs, 2, usize::MAX));
        let mut seen: Vec<usize> = Vec::new();
        seen.extend(
            victim
                .force_steal(&own, usize::MAX)
                .success()
                .map(|got| number(&got)),
        );
        push_all(&own, 3..5);
        seen.extend(own.pop().map(|got| number(&got)));
        seen.extend(second.join().unwrap());
        seen.extend(drain(&own));
        assert_each_once(seen, 1..5);
    });
}

#[test]
fn r5_owner_and_a_thief_of_each_kind() {
    model::check(2, || {
        let ring = Ring::<Box<Item>>::starting_at(8, 0).claiming(8);
        push_all(&ring, 0..4);
        assert_eq!(ring.pop().map(|got| number(&got)), Some(0));
        // 1 is claimed, 2 and 3 are visible.
        let (one, all) = (ring.stealer(), ring.stealer());
        let stealing = thread::spawn(move || one.steal().success().map(|got| number(&got)));
        let forcing = thread::spawn(move || {
            let mut got = force(&all, 2, usize::MAX);
            got.extend(force(&all, 2, usize::MAX));
            got
        });
        let mut seen: Vec<usize> = ring.pop().map(|got| number(&got)).into_iter().collect();
        seen.extend(stealing.join().unwrap());
        seen.extend(forcing.join().unwrap());
        seen.extend(drain(&ring));
        assert_each_once(seen, 1..4);
    });
}

#[test]
fn r5_overflow_with_a_claim_against_revoke() {
    model::check(3, || {
        let ring = Ring::<Box<Item>>::starting_at(4, 0).claiming(8);
        push_all(&ring, 0..4);
        assert_eq!(ring.pop().map(|got| number(&got)), Some(0));
        push_all(&ring, 4..5);
        let thief = ring.stealer();
        let forcing = thread::spawn(move || {
            let mut got = force(&thief, 4, usize::MAX);
            got.extend(force(&thief, 4, usize::MAX));
            got
        });
        let mut seen = Vec::new();
        ring.push_or_overflow(item(5), |got| seen.push(number(&got)));
        seen.extend(ring.pop().map(|got| number(&got)));
        seen.extend(forcing.join().unwrap());
        seen.extend(drain(&ring));
        assert_each_once(seen, 1..6);
    });
}
