//! Goal: `Locked` is a first-in-first-out queue that loses and doubles nothing. Method: random calls
//! against a plain `VecDeque`, and several threads whose items must add up.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;
use stealyard_injector::Locked;

#[derive(Clone, Debug)]
enum Call {
    Push,
    PushBatch(usize),
    PushFront(usize),
    Pop,
    PopBatch(usize, usize),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        Just(Call::Push),
        (0..200_usize).prop_map(Call::PushBatch),
        (0..80_usize).prop_map(Call::PushFront),
        Just(Call::Pop),
        (0..200_usize, 1..5_usize).prop_map(|(max, workers)| Call::PopBatch(max, workers)),
    ]
}

proptest! {
    #[test]
    fn it_does_what_a_plain_queue_does(calls in prop::collection::vec(call(), 1..200)) {
        let queue = Locked::new();
        let mut plain = VecDeque::new();
        let mut next = 0_u32;
        let mut fresh = |count: usize| -> Vec<u32> {
            (0..count).map(|_| { next += 1; next }).collect()
        };
        for call in calls {
            match call {
                Call::Push => {
                    let items = fresh(1);
                    queue.push(items[0]);
                    plain.extend(items);
                }
                Call::PushBatch(count) => {
                    let items = fresh(count);
                    queue.push_batch(items.iter().copied());
                    plain.extend(items);
                }
                Call::PushFront(count) => {
                    let items = fresh(count);
                    queue.push_front(items.iter().copied());
                    items.into_iter().rev().for_each(|item| plain.push_front(item));
                }
                Call::Pop => prop_assert_eq!(queue.pop(), plain.pop_front()),
                Call::PopBatch(max, workers) => {
                    let share = max.min(plain.len() / workers + 1).min(plain.len());
                    let mut got = Vec::new();
                    prop_assert_eq!(queue.pop_batch(max, workers, |item| got.push(item)), share);
                    let expected: Vec<u32> = plain.drain(..share).collect();
                    prop_assert_eq!(got, expected);
                }
            }
            prop_assert_eq!(queue.len(), plain.len());
        }
    }
}

#[test]
fn every_item_leaves_once_and_each_producers_items_in_order() {
    const PER_PRODUCER: u64 = 50_000;
    let queue = Arc::new(Locked::new());
    let producers: Vec<_> = (0..2_u64)
        .map(|producer| {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                let mut number = 0;
                while number < PER_PRODUCER {
                    let batch = (number % 40 + 1).min(PER_PRODUCER - number);
                    queue.push_batch((number..number + batch).map(|n| producer << 32 | n));
                    number += batch;
                }
            })
        })
        .collect();
    let consumers: Vec<_> = (0..2)
        .map(|_| {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                let mut got = Vec::new();
                let mut idle = 0;
                while idle < 10_000 {
                    if queue.pop_batch(16, 2, |item: u64| got.push(item)) == 0 {
                        idle += 1;
                        std::thread::yield_now();
                    } else {
                        idle = 0;
                    }
                }
                got
            })
        })
        .collect();
    producers
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let mut all = Vec::new();
    for consumer in consumers {
        let got = consumer.join().unwrap();
        for producer in 0..2 {
            let own: Vec<u64> = got
                .iter()
                .copied()
                .filter(|item| item >> 32 == producer)
                .collect();
            assert!(
                own.is_sorted(),
                "one consumer sees one producer's items in order"
            );
        }
        all.extend(got);
    }
    queue.pop_batch(usize::MAX, 1, |item| all.push(item));
    all.sort_unstable();
    let expected: Vec<u64> = (0..2)
        .flat_map(|producer| (0..PER_PRODUCER).map(move |n| producer << 32 | n))
        .collect();
    assert_eq!(all, expected);
}
