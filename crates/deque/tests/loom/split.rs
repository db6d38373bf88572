//! Models of `Split`: the owner against thieves at the split, requests and forces against pops, and words
//! that come back to an old value but for their tag (SP1 to SP6).

use stealyard_deque::{Split, SplitStealer, Steal};
use stealyard_sync::{model, thread};

use crate::{Item, assert_each_once, item, number};

/// A queue whose tag and top wrap around within a few operations: in a model, the top has three bits.
fn split(capacity: usize) -> Split<Box<Item>> {
    Split::starting_at(capacity, u32::MAX, 7)
}

fn push_all(split: &Split<Box<Item>>, numbers: core::ops::Range<usize>) {
    for made in numbers {
        assert!(split.push(item(made)).is_ok(), "there is room");
    }
}

fn pop_some(split: &Split<Box<Item>>, most: usize) -> Vec<usize> {
    let pops = (0..most).filter_map(|_| split.pop());
    pops.map(|got| number(&got)).collect()
}

fn drain(split: &Split<Box<Item>>) -> Vec<usize> {
    core::iter::from_fn(|| split.pop())
        .map(|got| number(&got))
        .collect()
}

fn steal_some(stealer: &SplitStealer<Box<Item>>, tries: usize) -> Vec<usize> {
    let got = (0..tries).filter_map(|_| stealer.steal().success());
    got.map(|got| number(&got)).collect()
}

/// Shares what there is, with nobody else at work.
fn share(split: &Split<Box<Item>>) {
    assert!(split.stealer().force().is_success(), "nobody interferes");
}

#[test]
fn sp5_pop_against_steal_of_the_last_shared_item() {
    model::check(3, || {
        let split = split(2);
        push_all(&split, 0..1);
        share(&split);
        let stealer = split.stealer();
        let thief = thread::spawn(move || steal_some(&stealer, 1));
        let mut seen = drain(&split);
        seen.extend(thief.join().unwrap());
        assert_each_once(seen, 0..1);
    });
}

#[test]
fn sp6_pop_against_force() {
    model::check(3, || {
        let split = split(4);
        push_all(&split, 0..3);
        let stealer = split.stealer();
        let thief = thread::spawn(move || {
            let _ = stealer.force();
            steal_some(&stealer, 2)
        });
        let mut seen = drain(&split);
        seen.extend(thief.join().unwrap());
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
        let stealer = split.stealer();
        let thief = thread::spawn(move || {
            let _ = stealer.force();
            steal_some(&stealer, 2)
        });
        let mut seen = pop_some(&split, 1);
        push_all(&split, 2..4);
        seen.extend(drain(&split));
        seen.extend(thief.join().unwrap());
        seen.extend(drain(&split));
        assert_each_once(seen, 0..4);
    });
}

/// A thief that did not force reads what a force shared.
#[test]
fn so3_force_passes_on_what_it_saw() {
    model::check(2, || {
        let split = split(4);
        let (forcer, stealer) = (split.stealer(), split.stealer());
        let force = thread::spawn(move || {
            let _ = forcer.force();
        });
        let thief = thread::spawn(move || steal_some(&stealer, 1));
        push_all(&split, 0..2);
        let mut seen = pop_some(&split, 1);
        force.join().unwrap();
        seen.extend(thief.join().unwrap());
        seen.extend(drain(&split));
        assert_each_once(seen, 0..2);
    });
}

/// The force reads the `bottom` of a pop that has not come to its light barrier yet.
#[test]
fn so1_force_reads_the_bottom_of_a_pop() {
    model::check(2, || {
        let split = split(4);
        let stealer = split.stealer();
        let thief = thread::spawn(move || {
            let _ = stealer.force();
            steal_some(&stealer, 1)
        });
        push_all(&split, 0..2);
        let mut seen = pop_some(&split, 1);
        seen.extend(thief.join().unwrap());
        seen.extend(drain(&split));
        assert_each_once(seen, 0..2);
    });
}

/// The force reads the `bottom` of a pop, below which a slot has been filled anew since the force knew of it.
#[test]
fn so1_force_reads_the_bottom_of_a_pop_after_a_refill() {
    model::check(3, || {
        let split = split(4);
        push_all(&split, 0..1);
        let stealer = split.stealer();
        let thief = thread::spawn(move || {
            let _ = stealer.force();
            steal_some(&stealer, 1)
        });
        let mut seen = pop_some(&split, 1);
        push_all(&split, 1..3);
        seen.extend(pop_some(&split, 1));
        seen.extend(thief.join().unwrap());
        seen.extend(drain(&split));
        assert_each_once(seen, 0..3);
    });
}

/// The force finds more than it knew of when it asked.
#[test]
fn so3_force_passes_on_what_came_late() {
    model::check(2, || {
        let split = split(4);
        let (forcer, stealer) = (split.stealer(), split.stealer());
        push_all(&split, 0..1);
        let force = thread::spawn(move || {
            let _ = forcer.force();
        });
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
        let thieves: Vec<_> = (0..2)
            .map(|_| split.stealer())
            .map(|stealer| {
                thread::spawn(move || {
                    let _ = stealer.force();
                    steal_some(&stealer, 1)
                })
            })
            .collect();
        let mut seen = pop_some(&split, 2);
        for thief in thieves {
            seen.extend(thief.join().unwrap());
        }
        seen.extend(drain(&split));
        assert_each_once(seen, 0..2);
    });
}

/// A force that a pop overtook, while another thief's request comes in.
#[test]
fn sp4_force_and_request_against_pop_and_push() {
    model::check(2, || {
        let split = split(4);
        push_all(&split, 0..2);
        let (forcer, stealer) = (split.stealer(), split.stealer());
        let force = thread::spawn(move || {
            let _ = forcer.force();
            steal_some(&forcer, 1)
        });
        let thief = thread::spawn(move || steal_some(&stealer, 1));
        let mut seen = pop_some(&split, 1);
        push_all(&split, 2..3);
        seen.extend(pop_some(&split, 2));
        seen.extend(force.join().unwrap());
        seen.extend(thief.join().unwrap());
        seen.extend(drain(&split));
        assert_each_once(seen, 0..3);
    });
}

#[test]
fn so2_publishing_on_request_against_steal() {
    model::check_every_look(2, || {
        let split = split(4);
        push_all(&split, 0..1);
        let stealer = split.stealer();
        let thief = thread::spawn(move || steal_some(&stealer, 3));
        push_all(&split, 1..3);
        let mut seen = pop_some(&split, 1);
        push_all(&split, 3..4);
        seen.extend(drain(&split));
        seen.extend(thief.join().unwrap());
        seen.extend(drain(&split));
        assert_each_once(seen, 0..4);
    });
}

/// The owner takes back what a thief looks at, and fills the same positions with the same number again.
#[test]
fn sp5_the_same_positions_shared_again_against_steal() {
    model::check(3, || {
        let split = split(2);
        push_all(&split, 0..2);
        share(&split);
        let stealer = split.stealer();
        let thief = thread::spawn(move || steal_some(&stealer, 1));
        let mut seen = pop_some(&split, 2);
        push_all(&split, 2..4);
        if split.stealer().force().is_success() {
            seen.extend(pop_some(&split, 1));
        }
        seen.extend(thief.join().unwrap());
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
        let stealer = split.stealer();
        let thief = thread::spawn(move || steal_some(&stealer, 2));
        let mut seen = Vec::new();
        for made in 2..4 {
            if let Err(_full) = split.push(item(made)) {
                seen.push(made);
            }
        }
        seen.extend(pop_some(&split, 1));
        seen.extend(thief.join().unwrap());
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
        let stealers = [split.stealer(), split.stealer()];
        let thieves = stealers.map(|stealer| {
            thread::spawn(move || {
                let own = self::split(2);
                let mut seen = Vec::new();
                if let Steal::Success(got) = stealer.steal_batch_and_pop(&own, 2) {
                    seen.push(number(&got));
                }
                seen.extend(drain(&own));
                seen
            })
        });
        let mut seen = pop_some(&split, 2);
        for thief in thieves {
            seen.extend(thief.join().unwrap());
        }
        seen.extend(drain(&split));
        assert_each_once(seen, 0..3);
    });
}

/// A thief steals a batch into a queue that another thief forces at the same time.
#[test]
fn so1_a_stolen_batch_is_forced_out_again() {
    model::check(2, || {
        let (victim, own) = (split(4), split(4));
        push_all(&victim, 0..3);
        share(&victim);
        let second = own.stealer();
        let thief = thread::spawn(move || {
            let _ = second.force();
            steal_some(&second, 1)
        });
        assert!(victim.stealer().steal_batch(&own, 2).is_success());
        let mut seen = pop_some(&own, 1);
        seen.extend(thief.join().unwrap());
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
        let stealer = split.stealer();
        let thief = thread::spawn(move || {
            let _ = stealer.force();
            steal_some(&stealer, 1)
        });
        let mut seen = Vec::new();
        split.push_or_overflow(item(2), |got| seen.push(number(&got)));
        seen.extend(thief.join().unwrap());
        seen.extend(drain(&split));
        assert_each_once(seen, 0..3);
    });
}

/// The owner pushes one item after the other, a force shares each and a thief takes it: the owner never moves the
/// split, and after a round of the top its position and the number shared are the same. A thief that slept between
/// its look and its exchange must not succeed. (It did, as long as only the owner counted up the tag.)
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

/// What the owner of a queue does.
type Work = fn(&Split<Box<Item>>);

/// Before a thief asks, and while it does. What is shared meanwhile only that thief could take.
const WORK: [(Work, Work); 8] = [
    (|_| (), |split| push_all(split, 2..3)),
    (|_| (), |split| drop(pop_some(split, 1))),
    // Has nothing to answer with, and then one item.
    (
        |split| drop(pop_some(split, 1)),
        |split| {
            drop(pop_some(split, 1));
            push_all(split, 2..3);
        },
    ),
    // Settles without a request.
    (share, |split| {
        drop(pop_some(split, 2));
        push_all(split, 2..4);
    }),
    // Has a request that it has not looked at.
    (
        |split| {
            share(split);
            assert_eq!(steal_some(&split.stealer(), 2).len(), 2);
        },
        |split| push_all(split, 2..4),
    ),
    // Overflows.
    (
        |_| (),
        |split| {
            push_all(split, 2..4);
            split.push_or_overflow(item(4), drop);
        },
    ),
    // Comes to its ceiling with nothing shared and no request.
    (
        |split| {
            share(split);
            push_all(split, 2..3);
            assert_eq!(steal_some(&split.stealer(), 2).len(), 2);
        },
        |split| push_all(split, 3..5),
    ),
    // The same, and what it pushes there is all that it has.
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

/// A thief's request that came while the owner was at work is answered by its next push (which makes at least two
/// private items) or pop.
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
fn sp7_a_request_stands_where_a_settle_fails() {
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

/// A thief takes what is shared and then asks, while a push looks at the request that the force left behind: the thief
/// must not take that one for its own.
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

/// Two thieves ask, and a force shares what a third one takes, while the owner pushes up to its ceiling.
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

/// What the owner kept private can be stolen when it is gone.
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
