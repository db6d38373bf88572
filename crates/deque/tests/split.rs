//! Goal: what `Split` does beyond the promises of every queue: how much is shared and when, what a
//! force does, what overflows, and that no item is lost where its packed word wraps around. Method:
//! examples on one thread, where each step is known; then conservation counts on many threads.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use stealyard_deque::{Split, SplitStealer, Steal, Word};
use stealyard_sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stealyard_sync::{Arc, thread};

fn filled(capacity: usize, numbers: core::ops::Range<u32>) -> Split<u32> {
    let split = Split::with_capacity(capacity).expect("a power of two");
    numbers.for_each(|number| split.push(number).expect("there is room"));
    split
}

fn drain<T: Word>(split: &Split<T>) -> Vec<T> {
    core::iter::from_fn(|| split.pop()).collect()
}

#[test]
fn a_capacity_is_a_power_of_two_up_to_two_to_the_fifteenth() {
    for right in [2, 256, 1 << 15] {
        assert_eq!(
            Split::<u32>::with_capacity(right).unwrap().capacity(),
            right
        );
    }
    for wrong in [0, 1, 3, 1 << 16, usize::MAX] {
        let error = Split::<u32>::with_capacity(wrong).unwrap_err().to_string();
        assert!(error.contains(&wrong.to_string()), "{error}");
    }
}

#[test]
fn nothing_is_shared_until_a_thief_asks() {
    let split = filled(16, 0..8);
    let stealer = split.stealer();
    assert!(stealer.is_empty());
    assert_eq!(split.pop(), Some(7));
    assert!(stealer.is_empty(), "nobody asked");
    assert_eq!(stealer.steal(), Steal::Empty);
    assert_eq!(split.pop(), Some(6), "the pop answers");
    assert_eq!(stealer.len(), 3, "half of the six that are left");
    assert_eq!(stealer.steal(), Steal::Success(0));
}

#[test]
fn a_push_answers_a_request_with_half_but_keeps_a_single_item() {
    let split = filled(16, 0..0);
    let stealer = split.stealer();
    assert_eq!(stealer.steal(), Steal::Empty);
    split.push(0).unwrap();
    assert_eq!(stealer.len(), 0, "it would be popped next");
    split.push(1).unwrap();
    assert_eq!(
        stealer.steal(),
        Steal::Success(0),
        "the request still stands"
    );
    split.push(2).unwrap();
    assert_eq!(stealer.len(), 0, "answered once");
}

#[test]
fn at_the_split_the_owner_takes_back_half() {
    let split = filled(16, 0..8);
    let stealer = split.stealer();
    assert_eq!(stealer.force(), Steal::Success(8));
    assert_eq!(split.pop(), Some(7));
    assert_eq!(stealer.len(), 4);
    assert_eq!(drain(&split), [6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(stealer.steal(), Steal::Empty);
}

#[test]
fn a_force_returns_the_number_of_visible_items() {
    let split = filled(16, 0..0);
    let (stealer, own) = (split.stealer(), filled(16, 0..0));
    assert_eq!(stealer.force(), Steal::Empty);
    (0..5).for_each(|number| split.push(number).unwrap());
    assert_eq!(
        stealer.force_steal(&own, 0),
        Steal::Empty,
        "no item was wanted"
    );
    assert_eq!(stealer.len(), 0, "so none was forced");
    assert_eq!(stealer.force_steal(&own, 9), Steal::Success(0));
    assert_eq!(
        drain(&own),
        [2, 1],
        "half of five, rounded up, less the one returned"
    );
    assert_eq!(stealer.force(), Steal::Success(2), "visible already");
    assert_eq!(drain(&split), [4, 3]);
    assert_eq!(stealer.force_steal(&own, 9), Steal::Empty);
}

#[test]
fn stealing_from_the_own_queue_moves_nothing() {
    let split = filled(4, 0..2);
    let stealer = split.stealer();
    assert_eq!(stealer.force(), Steal::Success(2));
    assert_eq!(stealer.steal_batch(&split, 9), Steal::Empty);
    assert_eq!(stealer.steal_batch_and_pop(&split, 9), Steal::Empty);
    assert_eq!(stealer.force_steal(&split, 9), Steal::Empty);
    assert_eq!(drain(&split), [1, 0]);
}

#[test]
fn overflow_takes_the_older_half_and_the_new_item_shared_or_not() {
    for shared in [false, true] {
        let split = filled(8, 0..8);
        if shared {
            assert_eq!(split.stealer().force(), Steal::Success(8));
        }
        assert_eq!(split.push(8), Err(8));
        let mut batch = Vec::new();
        split.push_or_overflow(8, |item| batch.push(item));
        assert_eq!(batch, [0, 1, 2, 3, 8]);
        assert_eq!(drain(&split), [7, 6, 5, 4]);
    }
}

#[test]
fn q7_a_panicking_sink_leaves_the_queue_whole() {
    let split = Split::<Box<u32>>::with_capacity(4).unwrap();
    (0..4).for_each(|number| split.push(Box::new(number)).unwrap());
    let panics = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
        split.push_or_overflow(Box::new(4), |item| {
            assert!(*item != 1, "the second is too much")
        });
    }));
    assert!(panics.is_err());
    assert_eq!(drain(&split), [Box::new(3), Box::new(2)]);
}

#[test]
fn private_items_can_be_stolen_after_the_owner_is_dropped() {
    let split = filled(8, 0..3);
    let stealer = split.stealer();
    drop(split);
    let got: Vec<_> = core::iter::from_fn(|| stealer.steal().success()).collect();
    assert_eq!(got, [0, 1, 2]);
}

#[test]
fn q8_q9_tag_and_top_wrap_around() {
    let split = Split::<u32>::starting_at(4, u32::MAX - 3, (1 << 16) - 3);
    let stealer = split.stealer();
    for round in 0..200 {
        assert_eq!(stealer.steal(), Steal::Empty);
        (0..4).for_each(|number| split.push(round + number).unwrap());
        assert_eq!(split.push(9), Err(9));
        let stolen = stealer.steal();
        assert_eq!(stolen, Steal::Success(round));
        assert_eq!(drain(&split), [round + 3, round + 2, round + 1]);
    }
}

#[test]
fn q15_every_state_can_be_printed() {
    let split = filled(2, 0..0);
    let stealer = split.stealer();
    for text in [format!("{split:?}"), format!("{stealer:?}")] {
        assert!(text.contains("count: 0"), "{text}");
    }
    split.push(1).unwrap();
    assert_eq!(stealer.force(), Steal::Success(1));
    for text in [format!("{split:?}"), format!("{stealer:?}")] {
        assert!(text.contains("count: 1"), "{text}");
    }
}

fn scaled(count: u64) -> u64 {
    let soak = std::env::var("STEALYARD_SOAK").map_or(1, |text| text.parse().unwrap_or(1));
    count * soak
}

/// Runs a thief that forces now and then, and steals single items or batches. Returns the sum and
/// the number of the items that it got.
fn run_thief(victim: &SplitStealer<Box<u64>>, stop: &AtomicBool) -> (u64, u64) {
    let own = Split::with_capacity(8).unwrap();
    let (mut sum, mut count, mut turn) = (0, 0, 0_u64);
    // Ordering: Relaxed; the threads are joined before the sums are read.
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let stolen = match turn % 64 {
            0 => victim.force_steal(&own, 4),
            turn if turn % 2 == 0 => victim.steal_batch_and_pop(&own, 4),
            _ => victim.steal(),
        };
        let all = stolen.success().into_iter().chain(drain(&own));
        for item in all {
            sum += *item;
            count += 1;
        }
    }
    (sum, count)
}

/// Positions and tags start where they wrap. Three thieves and the owner are more threads than some
/// machines have cores, so that one sleeps in the middle of an operation now and then.
#[test]
fn q1_q8_split_conserves_items_with_more_thieves_than_cores() {
    let items = scaled(200_000);
    let split = Split::<Box<u64>>::starting_at(16, u32::MAX - 100, (1 << 16) - 7);
    let stop = Arc::new(AtomicBool::new(false));
    let thieves: Vec<_> = (0..3)
        .map(|_| (split.stealer(), Arc::clone(&stop)))
        .map(|(stealer, stop)| thread::spawn(move || run_thief(&stealer, &stop)))
        .collect();
    let (mut sum, mut count) = (0, 0);
    let mut take = |item: Box<u64>| {
        sum += *item;
        count += 1;
    };
    for number in 0..items {
        split.push_or_overflow(Box::new(number), &mut take);
        for _ in 0..(number % 5) / 2 {
            split.pop().into_iter().for_each(&mut take);
        }
    }
    drain(&split).into_iter().for_each(&mut take);
    // Ordering: Relaxed; joining orders it.
    stop.store(true, Ordering::Relaxed);
    for thief in thieves {
        let (stolen_sum, stolen_count) = thief.join().unwrap();
        sum += stolen_sum;
        count += stolen_count;
    }
    drain(&split).into_iter().for_each(|item| {
        sum += *item;
        count += 1;
    });
    assert_eq!(count, items);
    assert_eq!(sum, items * (items - 1) / 2);
}

/// A queue of one item, wanted by the owner and by a thief that forces at every turn.
#[test]
fn sp6_pop_against_force_at_full_speed() {
    let rounds = scaled(100_000);
    let split = Split::<Box<u64>>::with_capacity(2).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (stealer, theirs) = (split.stealer(), Arc::new(AtomicU64::new(0)));
    let thief = {
        let (stop, theirs) = (Arc::clone(&stop), Arc::clone(&theirs));
        thread::spawn(move || {
            let own = Split::with_capacity(2).unwrap();
            // Ordering: Relaxed; a flag and a count, read after joining.
            while !stop.load(Ordering::Relaxed) {
                if stealer.force_steal(&own, 1).is_success() {
                    // Ordering: Relaxed; as above.
                    theirs.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    };
    let mut ours = 0;
    for round in 0..rounds {
        while split.push(Box::new(round)).is_err() {
            thread::yield_now();
        }
        ours += u64::from(split.pop().is_some());
    }
    while split.pop().is_some() {
        ours += 1;
    }
    // Ordering: Relaxed; joining orders it.
    stop.store(true, Ordering::Relaxed);
    thief.join().unwrap();
    // Ordering: Relaxed; the thread was joined.
    assert_eq!(ours + theirs.load(Ordering::Relaxed), rounds);
}
