//! Models of `Split` (SP1 to SP7 in `split.rs`): the owner against thieves at the split, requests
//! and forces against pops, and words that return to an old value except for their tag.

use stealyard_deque::{Split, SplitStealer, Steal};
use stealyard_sync::{model, thread};

use crate::{Item, assert_each_once, drain, item, number, pop_some, push_all, race, steal_some};

type Queue = Split<Box<Item>>;
type Thief = SplitStealer<Box<Item>>;

/// Creates a queue whose tag and top wrap around within a few operations: in a model, the top has
/// three bits.
fn split(capacity: usize) -> Queue {
    Split::starting_at(capacity, u32::MAX, 7)
}

/// Shares all items, while no other thread is at work.
fn share(split: &Queue) {
    assert!(split.stealer().force().is_success(), "no thread interferes");
}

/// Forces, and then steals so many times.
fn force_and_steal(stealer: &Thief, tries: usize) -> Vec<usize> {
    let _ = stealer.force();
    steal_some(stealer, tries)
}

#[test]
fn sp5_pop_against_steal_of_the_last_shared_item() {
    model::check(3, || {
        let split = split(2);
        push_all(&split, 0..1);
        share(&split);
        let seen = race(&split, drain, [|stealer| steal_some(&stealer, 1)]);
        assert_each_once(seen, 0..1);
    });
}

#[test]
fn sp6_pop_against_force() {
    model::check(3, || {
        let split = split(4);
        push_all(&split, 0..3);
        let mut seen = race(&split, drain, [|stealer| force_and_steal(&stealer, 2)]);
        seen.extend(drain(&split));
        assert_each_once(seen, 0..3);
    });
}

/// The items that a force shares are those of pushes and pops that went on meanwhile.
#[test]
fn sp6_pop_and_push_against_force() {
    model::check(2, || {
        let split = split(4);
        push_all(&split, 0..2);
        let owner = |split: &Queue| {
            let mut seen = pop_some(split, 1);
            push_all(split, 2..4);
            seen.extend(drain(split));
            seen
        };
        let mut seen = race(&split, owner, [|stealer| force_and_steal(&stealer, 2)]);
        seen.extend(drain(&split));
        assert_each_once(seen, 0..4);
    });
}

/// A thief that did not force reads what a force shared.
#[test]
fn so3_a_force_passes_items_on_to_another_thief() {
    model::check(2, || {
        let split = split(4);
        let owner = |split: &Queue| {
            push_all(split, 0..2);
            pop_some(split, 1)
        };
        let thieves: [fn(Thief) -> Vec<usize>; 2] = [
            |stealer| force_and_steal(&stealer, 0),
            |stealer| steal_some(&stealer, 1),
        ];
        let mut seen = race(&split, owner, thieves);
        seen.extend(drain(&split));
        assert_each_once(seen, 0..2);
    });
}

/// The force reads the `bottom` of a pop that has not come to its light barrier yet.
#[test]
fn so1_a_force_reads_the_bottom_of_a_pop() {
    model::check(2, || {
        let split = split(4);
        let owner = |split: &Queue| {
            push_all(split, 0..2);
            pop_some(split, 1)
        };
        let mut seen = race(&split, owner, [|stealer| force_and_steal(&stealer, 1)]);
        seen.extend(drain(&split));
        assert_each_once(seen, 0..2);
    });
}

/// The force reads the `bottom` of a pop. Below it, a slot has been filled anew since the force
/// knew of it.
#[test]
fn so1_a_force_reads_the_bottom_of_a_pop_after_a_refill() {
    model::check(3, || {
        let split = split(4);
        push_all(&split, 0..1);
        let owner = |split: &Queue| {
            let mut seen = pop_some(split, 1);
            push_all(split, 1..3);
            seen.extend(pop_some(split, 1));
            seen
        };
        let mut seen = race(&split, owner, [|stealer| force_and_steal(&stealer, 1)]);
        seen.extend(drain(&split));
        assert_each_once(seen, 0..3);
    });
}

/// The force finds more items than it knew of when it asked.
#[test]
fn so3_a_force_passes_on_items_pushed_after_its_request() {
    model::check(2, || {
        let split = split(4);
        let (forcer, stealer) = (split.stealer(), split.stealer());
        push_all(&split, 0..1);
        let force = thread::spawn(move || force_and_steal(&forcer, 0));
        let thief = thread::spawn(move || steal_some(&stealer, 2));
        push_all(&split, 1..2);
        force.join().unwrap();
        let mut seen = thief.join().unwrap();
        seen.extend(drain(&split));
        assert_each_once(seen, 0..2);
    });
}

#[test]
fn sp4_two_forces_against_pop() {
    model::check(2, || {
        let split = split(2);
        push_all(&split, 0..2);
        let thief = |stealer: Thief| force_and_steal(&stealer, 1);
        let mut seen = race(&split, |split| pop_some(split, 2), [thief; 2]);
        seen.extend(drain(&split));
        assert_each_once(seen, 0..2);
    });
}

/// A pop overtakes a force, while another thief's request comes in.
#[test]
fn sp4_force_and_request_against_pop_and_push() {
    model::check(2, || {
        let split = split(4);
        push_all(&split, 0..2);
        let owner = |split: &Queue| {
            let mut seen = pop_some(split, 1);
            push_all(split, 2..3);
            seen.extend(pop_some(split, 2));
            seen
        };
        let thieves: [fn(Thief) -> Vec<usize>; 2] = [
            |stealer| force_and_steal(&stealer, 1),
            |stealer| steal_some(&stealer, 1),
        ];
        let mut seen = race(&split, owner, thieves);
        seen.extend(drain(&split));
        assert_each_once(seen, 0..3);
    });
}

#[test]
fn so2_sharing_on_request_against_steal() {
    model::check_every_look(2, || {
        let split = split(4);
        push_all(&split, 0..1);
        let owner = |split: &Queue| {
            push_all(split, 1..3);
            let mut seen = pop_some(split, 1);
            push_all(split, 3..4);
            seen.extend(drain(split));
            seen
        };
        let mut seen = race(&split, owner, [|stealer| steal_some(&stealer, 3)]);
        seen.extend(drain(&split));
        assert_each_once(seen, 0..4);
    });
}

/// The owner takes back what a thief looks at, and fills the same positions with the same number
/// of items again.
#[test]
fn sp5_the_same_positions_shared_again_against_steal() {
    model::check(3, || {
        let split = split(2);
        push_all(&split, 0..2);
        share(&split);
        let owner = |split: &Queue| {
            let mut seen = pop_some(split, 2);
            push_all(split, 2..4);
            if split.stealer().force().is_success() {
                seen.extend(pop_some(split, 1));
            }
            seen
        };
        let mut seen = race(&split, owner, [|stealer| steal_some(&stealer, 1)]);
        seen.extend(drain(&split));
        assert_each_once(seen, 0..4);
    });
}

#[test]
fn sp2_positions_wrap_while_a_thief_reads() {
    model::check(3, || {
        let split = split(2);
        push_all(&split, 0..2);
        share(&split);
        let owner = |split: &Queue| {
            let mut seen = Vec::new();
            for made in 2..4 {
                if let Err(_full) = split.push(item(made)) {
                    seen.push(made);
                }
            }
            seen.extend(pop_some(split, 1));
            seen
        };
        let mut seen = race(&split, owner, [|stealer| steal_some(&stealer, 2)]);
        seen.extend(drain(&split));
        assert_each_once(seen, 0..4);
    });
}

#[test]
fn sp5_batches_of_two_thieves_against_pop() {
    model::check(2, || {
        let split = split(4);
        push_all(&split, 0..3);
        share(&split);
        let thief = |stealer: Thief| {
            let own = self::split(2);
            let mut seen = Vec::new();
            if let Steal::Success(got) = stealer.steal_batch_and_pop(&own, 2) {
                seen.push(number(&got));
            }
            seen.extend(drain(&own));
            seen
        };
        let mut seen = race(&split, |split| pop_some(split, 2), [thief; 2]);
        seen.extend(drain(&split));
        assert_each_once(seen, 0..3);
    });
}

/// A thief steals a batch into a queue that another thread forces at the same time.
#[test]
fn so1_a_stolen_batch_is_forced_out_again() {
    model::check(2, || {
        let (victim, own) = (split(4), split(4));
        push_all(&victim, 0..3);
        share(&victim);
        let owner = |own: &Queue| {
            assert!(victim.stealer().steal_batch(own, 2).is_success());
            pop_some(own, 1)
        };
        let mut seen = race(&own, owner, [|stealer| force_and_steal(&stealer, 1)]);
        seen.extend(drain(&own));
        seen.extend(drain(&victim));
        assert_each_once(seen, 0..3);
    });
}

#[test]
fn sp5_overflow_against_steal_and_force() {
    model::check(2, || {
        let split = split(2);
        push_all(&split, 0..2);
        let owner = |split: &Queue| {
            let mut seen = Vec::new();
            split.push_or_overflow(item(2), |got| seen.push(number(&got)));
            seen
        };
        let mut seen = race(&split, owner, [|stealer| force_and_steal(&stealer, 1)]);
        seen.extend(drain(&split));
        assert_each_once(seen, 0..3);
    });
}

/// The owner pushes one item after the other. A force shares each of them and a thief takes it. So
/// the owner never moves the split, and after one wrap-around of the top its position and the
/// number of shared items are the same again. A thief that slept between its look and its exchange
/// must not succeed. (It did, as long as only the owner incremented the tag.)
#[test]
fn sp5_a_round_of_forced_items_against_a_thief_that_sleeps() {
    model::check(1, || {
        let split = split(2);
        push_all(&split, 0..1);
        share(&split);
        let (stealer, forcer) = (split.stealer(), split.stealer());
        let owner = thread::spawn(move || {
            let mut seen = Vec::new();
            for made in 1..9 {
                seen.extend(steal_some(&forcer, 1));
                push_all(&split, made..made + 1);
                let _ = forcer.force();
            }
            (seen, split)
        });
        let mut all = steal_some(&stealer, 1);
        let (seen, split) = owner.join().unwrap();
        all.extend(seen);
        all.extend(drain(&split));
        assert_each_once(all, 0..9);
    });
}

/// The work of a queue's owner.
type Work = fn(&Queue);

/// The owner's work before a thief asks, and while it does. Only that thief could take what is
/// shared meanwhile.
const WORK: [(Work, Work); 8] = [
    (|_| (), |split| push_all(split, 2..3)),
    (|_| (), |split| drop(pop_some(split, 1))),
    // The owner has nothing to answer with, and then one item.
    (
        |split| drop(pop_some(split, 1)),
        |split| {
            drop(pop_some(split, 1));
            push_all(split, 2..3);
        },
    ),
    // The owner settles without a request.
    (share, |split| {
        drop(pop_some(split, 2));
        push_all(split, 2..4);
    }),
    // The owner has a request that it has not looked at.
    (
        |split| {
            share(split);
            assert_eq!(steal_some(&split.stealer(), 2).len(), 2);
        },
        |split| push_all(split, 2..4),
    ),
    // The queue overflows.
    (
        |_| (),
        |split| {
            push_all(split, 2..4);
            split.push_or_overflow(item(4), drop);
        },
    ),
    // The owner comes to its ceiling with nothing shared and no request.
    (
        |split| {
            share(split);
            push_all(split, 2..3);
            assert_eq!(steal_some(&split.stealer(), 2).len(), 2);
        },
        |split| push_all(split, 3..5),
    ),
    // The same, and the item that it pushes there is its only one.
    (
        |split| {
            push_all(split, 2..4);
            share(split);
            assert!(split.push(item(4)).is_err(), "full");
            assert_eq!(steal_some(&split.stealer(), 4).len(), 4);
        },
        |split| push_all(split, 4..5),
    ),
];

/// Checks that a thief's request which came while the owner was at work is answered by the owner's
/// next push (which makes at least two private items) or pop.
fn sp7_is_answered(answer: Work) {
    for (before, work) in WORK {
        model::check_every_look(2, move || {
            let split = split(4);
            push_all(&split, 0..2);
            before(&split);
            let stealer = split.stealer();
            let thief = thread::spawn(move || (stealer.steal().is_empty(), stealer));
            work(&split);
            let (asked, stealer) = thief.join().unwrap();
            answer(&split);
            if asked && split.len() > 1 {
                assert!(!stealer.is_empty(), "{split:?} left a request unanswered");
            }
        });
    }
}

#[test]
fn sp7_a_request_is_answered_by_the_next_push() {
    sp7_is_answered(|split| split.push_or_overflow(item(9), drop));
}

#[test]
fn sp7_a_request_is_answered_by_the_next_pop() {
    sp7_is_answered(|split| drop(pop_some(split, 1)));
}

/// A settle that fails, because a force came in between, leaves the request standing.
#[test]
fn sp7_a_request_survives_a_failed_settle() {
    model::check_every_look(2, || {
        let split = split(4);
        push_all(&split, 0..2);
        let stealer = split.stealer();
        assert!(stealer.steal().is_empty(), "it asks");
        let forcer = split.stealer();
        let thief = thread::spawn(move || {
            let forced = forcer.force().is_success();
            forced && steal_some(&forcer, 3).len() == 3
        });
        push_all(&split, 2..3);
        let took_all = thief.join().unwrap();
        // The tag began at its greatest value: the force changed the index, and no settle did.
        let unsettled = format!("{split:?}").contains("tag: 0,");
        if took_all && unsettled {
            push_all(&split, 3..5);
            assert!(!stealer.is_empty(), "{split:?} left a request unanswered");
        }
    });
}

/// A thief takes what is shared and then asks, while a push looks at the request that the force
/// left behind. The thief must not take that request for its own.
#[test]
fn sp7_a_request_after_the_last_shared_item_is_answered() {
    model::check_every_look(2, || {
        let split = split(4);
        push_all(&split, 0..2);
        share(&split);
        let stealer = split.stealer();
        let thief = thread::spawn(move || {
            let asked = steal_some(&stealer, 2).len() == 2 && stealer.steal().is_empty();
            (asked, stealer)
        });
        push_all(&split, 2..3);
        let (asked, stealer) = thief.join().unwrap();
        split.push_or_overflow(item(3), drop);
        if asked && split.len() > 1 {
            assert!(!stealer.is_empty(), "{split:?} left a request unanswered");
        }
    });
}

/// Two thieves ask, and a force shares what a third one takes, while the owner pushes up to its
/// ceiling.
#[test]
fn sp7_no_request_is_lost_beside_a_force_and_a_steal() {
    model::check(1, || {
        let split = split(4);
        push_all(&split, 0..2);
        let stealers = [split.stealer(), split.stealer()];
        let thieves = stealers.map(|stealer| {
            thread::spawn(move || {
                let forced = stealer.force().is_success();
                let got = steal_some(&stealer, 2);
                (forced, stealer.steal().is_empty(), got.len())
            })
        });
        push_all(&split, 2..4);
        let asked = thieves.map(|thief| thief.join().unwrap().1);
        drop(pop_some(&split, 1));
        split.push_or_overflow(item(5), drop);
        if asked.contains(&true) && split.len() > 1 {
            assert!(
                !split.stealer().is_empty(),
                "{split:?} left a request unanswered"
            );
        }
    });
}

/// Private items can be stolen after the owner is dropped.
#[test]
fn sp1_dropping_the_owner_shares_the_rest() {
    model::check(3, || {
        let split = split(2);
        push_all(&split, 0..2);
        let stealer = split.stealer();
        let rest = split.stealer();
        let thief = thread::spawn(move || {
            let _ = stealer.force();
            steal_some(&stealer, 1)
        });
        drop(split);
        let mut seen = steal_some(&rest, 1);
        seen.extend(thief.join().unwrap());
        while !rest.is_empty() {
            seen.extend(steal_some(&rest, 1));
        }
        assert_each_once(seen, 0..2);
    });
}
