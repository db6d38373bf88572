//! Goal: what `Ring` does beyond the promises that all queues share: its constructors, its claim,
//! its overflow, its edges. Method: one thread, cases by hand.
#![cfg(not(stealyard_loom))]

use std::num::{NonZeroU64, NonZeroUsize};
use std::panic::{AssertUnwindSafe, catch_unwind};

use stealyard_deque::{Ring, Steal, Word};
use stealyard_sync::Arc;

fn filled(capacity: usize, numbers: core::ops::Range<u32>) -> Ring<u32> {
    let ring = Ring::with_capacity(capacity).unwrap().claiming(8);
    numbers.for_each(|number| ring.push(number).unwrap());
    ring
}

fn drain<T: Word>(ring: &Ring<T>) -> Vec<T> {
    core::iter::from_fn(|| ring.pop()).collect()
}

#[test]
fn a_capacity_is_a_power_of_two_in_range() {
    for wrong in [0, 1, 3, 255, (1 << 30) + 1, usize::MAX] {
        let message = Ring::<u32>::with_capacity(wrong).unwrap_err().to_string();
        assert!(message.contains(&wrong.to_string()), "{message}");
        let advice: usize = message.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(advice.is_power_of_two(), "{message}");
    }
    assert_eq!(Ring::<u32>::new().capacity(), 256);
    assert_eq!(Ring::<u32>::default().capacity(), 256);
    assert_eq!(Ring::<u32>::with_capacity(2).unwrap().capacity(), 2);
}

#[test]
fn a_claim_hides_at_most_seven_of_the_oldest() {
    let ring = filled(64, 0..40);
    assert_eq!(ring.pop(), Some(0));
    assert_eq!((ring.len(), ring.stealer().len()), (39, 32));
    assert_eq!(ring.stealer().steal(), Steal::Success(8));
    assert_eq!(
        drain(&ring),
        [(1..8).collect::<Vec<_>>(), (9..40).collect()].concat()
    );

    let open = filled(64, 0..40).claiming(1);
    assert_eq!(open.pop(), Some(0));
    assert_eq!(open.stealer().len(), 39);
    // A number out of range counts as the nearest one in range.
    assert_eq!(filled(64, 0..40).claiming(0).pop(), Some(0));
    let greedy = filled(64, 0..40).claiming(usize::MAX);
    assert_eq!((greedy.pop(), greedy.stealer().len()), (Some(0), 32));
}

#[test]
fn force_takes_the_claim_when_nothing_else_remains() {
    let (ring, own) = (filled(16, 0..8), Ring::with_capacity(16).unwrap());
    assert_eq!(ring.pop(), Some(0));
    let thief = ring.stealer();
    // First comes what every thief can see: 4 to 7, in halves.
    assert_eq!(thief.force_steal(&own, usize::MAX), Steal::Success(4));
    assert_eq!(drain(&own), [5]);
    assert_eq!(thief.force_steal(&own, usize::MAX), Steal::Success(6));
    assert_eq!(thief.force_steal(&own, usize::MAX), Steal::Success(7));
    // Then comes the claim, 1 to 3. A limit leaves its older part to the owner.
    assert!(thief.is_empty() && ring.len() == 3);
    assert!(thief.force_steal(&own, 0).is_empty());
    assert_eq!(thief.force_steal(&own, 2), Steal::Success(2));
    assert_eq!(drain(&own), [3]);
    assert_eq!(drain(&ring), [1]);
    assert!(thief.force_steal(&own, 1).is_empty());
}

#[test]
fn force_respects_the_room_at_the_thief() {
    let (ring, own) = (filled(16, 0..8), filled(2, 90..91));
    assert_eq!(ring.pop(), Some(0));
    while ring.stealer().steal().is_success() {}
    assert_eq!(
        ring.stealer().force_steal(&own, usize::MAX),
        Steal::Success(2)
    );
    assert_eq!(drain(&own), [90, 3]);
    assert_eq!(drain(&ring), [1]);
}

#[test]
fn a_claim_does_not_block_the_slots_that_thieves_emptied() {
    // The owner runs a long task. It has claimed 1 to 3, and goes on pushing, while thieves take
    // everything else.
    let ring = filled(8, 0..8);
    assert_eq!(ring.pop(), Some(0));
    for number in 8..100 {
        assert!(ring.stealer().steal().is_success());
        ring.push(number)
            .expect("there are never more than eight items");
    }
    assert_eq!(drain(&ring)[..3], [1, 2, 3]);

    // The same happens after the claim has been revoked.
    let (ring, own) = (filled(8, 0..8), Ring::new());
    assert_eq!(ring.pop(), Some(0));
    while ring.stealer().steal().is_success() {}
    assert!(ring.stealer().force_steal(&own, usize::MAX).is_success());
    for number in 0..8 {
        ring.push(number).expect("it was empty");
    }
    assert_eq!(ring.push(8), Err(8));
}

#[test]
fn overflow_takes_the_older_half_and_the_new_item() {
    let ring = filled(8, 0..8);
    let mut left = Vec::new();
    ring.push_or_overflow(8, |item| left.push(item));
    assert_eq!(left, [0, 1, 2, 3, 8]);
    ring.push_or_overflow(9, |_| unreachable!("there is room"));
    assert_eq!(drain(&ring), [4, 5, 6, 7, 9]);

    // At most 128 items of a large ring leave.
    let ring = filled(1024, 0..1024);
    let mut left = Vec::new();
    ring.push_or_overflow(5000, |item| left.push(item));
    assert_eq!(left, [(0..128).collect::<Vec<_>>(), vec![5000]].concat());
}

#[test]
fn q7_a_panicking_sink_leaves_the_queue_and_the_counts_whole() {
    for failing in 0..=4 {
        let counted = Arc::new(());
        let ring = Ring::with_capacity(8).unwrap();
        for _ in 0..8 {
            ring.push(Arc::clone(&counted)).unwrap();
        }
        let mut calls = 0;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            ring.push_or_overflow(Arc::clone(&counted), |_| {
                assert!(calls != failing, "on purpose");
                calls += 1;
            });
        }));
        assert!(outcome.is_err(), "call {failing} panics");
        assert_eq!(Arc::strong_count(&counted), 1 + 4, "call {failing}");
        assert_eq!(drain(&ring).len(), 4);
        ring.push(Arc::clone(&counted)).unwrap();
        assert_eq!(ring.len(), 1);
    }
}

#[test]
fn q7_the_overflow_may_push_to_the_queue_it_came_from() {
    let ring = filled(4, 0..4);
    let mut left = Vec::new();
    ring.push_or_overflow(4, |item| {
        left.push(item);
        ring.push_or_overflow(100 + item, |inner| left.push(inner));
    });
    left.extend(drain(&ring));
    left.sort_unstable();
    assert_eq!(left, [0, 1, 2, 3, 4, 100, 101, 104]);
}

#[test]
fn stealing_from_the_own_queue_moves_nothing() {
    let ring = filled(8, 0..8);
    assert!(ring.stealer().steal_batch(&ring, usize::MAX).is_empty());
    assert!(
        ring.stealer()
            .steal_batch_and_pop(&ring, usize::MAX)
            .is_empty()
    );
    assert_eq!(ring.pop(), Some(0));
    while ring.stealer().steal().is_success() {}
    assert!(ring.stealer().force_steal(&ring, usize::MAX).is_empty());
    assert_eq!(drain(&ring), [1, 2, 3]);
}

#[test]
fn items_outlive_their_owner_and_are_dropped_once() {
    let counted = Arc::new(());
    let ring = Ring::with_capacity(16).unwrap().claiming(8);
    for _ in 0..8 {
        ring.push(Arc::clone(&counted)).unwrap();
    }
    drop(ring.pop());
    let (thief, own) = (ring.stealer(), Ring::new());
    drop(ring);
    assert_eq!(Arc::strong_count(&counted), 1 + 7);
    while thief.steal().is_success() {}
    assert!(thief.force_steal(&own, 2).is_success());
    assert_eq!(
        Arc::strong_count(&counted),
        1 + 2,
        "one in `own`, one still claimed"
    );
    drop((thief, own));
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[test]
fn q5_items_of_every_kind_pass_through() {
    fn pass<T: Word>(item: T) -> T {
        let ring = Ring::new();
        assert!(ring.push(item).is_ok());
        ring.stealer().steal().success().unwrap()
    }
    static STATIC: u8 = 5;
    assert_eq!(*pass::<&u8>(&STATIC), 5);
    assert_eq!(pass(NonZeroU64::MAX), NonZeroU64::MAX);
    assert_eq!(pass(NonZeroUsize::MIN), NonZeroUsize::MIN);
    pass(());
    pass(Box::new(()));
    assert_eq!(*pass(Box::new([1_u8; 32 << 10])), [1; 32 << 10]);
    let pinned: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async {});
    drop(pass(Box::new(pinned)));
}

#[test]
fn q8_q9_positions_wrap_around() {
    for start in [u64::MAX - 5, (1 << 55) - 5, (1 << 32) - 5] {
        let ring = Ring::starting_at(8, start).claiming(8);
        let mut expected = 0..;
        for number in 0..40_u32 {
            ring.push(number).unwrap();
            if number % 4 == 3 {
                for _ in 0..4 {
                    assert_eq!(ring.pop(), expected.next());
                }
            }
        }
        assert!(ring.is_empty());
    }
}

#[test]
fn q15_every_state_can_be_printed() {
    let ring = filled(8, 0..8);
    assert_eq!(
        format!("{ring:?}"),
        "Ring { len: 8, claimed: 0, capacity: 8 }"
    );
    assert_eq!(ring.pop(), Some(0));
    assert_eq!(
        format!("{ring:?}"),
        "Ring { len: 7, claimed: 3, capacity: 8 }"
    );
    assert_eq!(format!("{:?}", ring.stealer()), "RingStealer { len: 4 }");
}
