//! What every global queue must show, for users that write one of their own (feature
//! `conformance`).
//!
//! - [`sequential`] makes random calls and compares them with a `VecDeque`. It shows that one
//!   thread sees a first-in-first-out queue and the rule for shares.
//! - [`linearizable`] records histories of a few operations and checks each exactly. It shows that
//!   several threads see one queue, in an order that respects time.
//! - [`conserves`] counts. It shows that no item is lost or doubled under load, and that each
//!   producer's items keep their order.
//!
//! If a queue fails, each of them panics with what it saw.

mod history;

use std::collections::VecDeque;
use std::sync::Barrier;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use stealyard_sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::injector::{Injector, share};
pub use history::{Operation, Recorded, is_linearizable};

#[derive(Clone, Debug)]
enum Call {
    Push,
    PushBatch(usize),
    Pop,
    PopBatch(usize, usize),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        Just(Call::Push),
        (0..150_usize).prop_map(Call::PushBatch),
        Just(Call::Pop),
        (0..200_usize, 1..5_usize).prop_map(|(max, workers)| Call::PopBatch(max, workers)),
    ];
    prop::collection::vec(call, 1..120)
}

/// Checks, with one thread, that the queue does what a plain queue does, call by call.
///
/// # Panics
/// With the shortest sequence of calls it could find that goes wrong.
pub fn sequential<Q: Injector<u64>>(new: impl Fn() -> Q) {
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&calls(), |calls| {
        let (queue, mut plain, mut next) = (new(), VecDeque::new(), 0_u64);
        let mut fresh = |count: usize| -> Vec<u64> {
            (0..count)
                .map(|_| {
                    next += 1;
                    next
                })
                .collect()
        };
        for call in calls {
            match call {
                Call::Push => {
                    let item = fresh(1)[0];
                    queue.push(item);
                    plain.push_back(item);
                }
                Call::PushBatch(count) => {
                    let items = fresh(count);
                    queue.push_batch(items.iter().copied());
                    plain.extend(items);
                }
                Call::Pop => prop_assert_eq!(queue.pop(), plain.pop_front()),
                Call::PopBatch(max, workers) => {
                    let wanted = share(plain.len(), max, workers);
                    let mut got = Vec::new();
                    let count = queue.pop_batch(max, workers, |item| got.push(item));
                    prop_assert_eq!(count, got.len());
                    prop_assert_eq!(got.len(), wanted, "one worker's share");
                    let expected: Vec<u64> = plain.drain(..wanted).collect();
                    prop_assert_eq!(got, expected);
                }
            }
            prop_assert_eq!(queue.len(), plain.len());
            prop_assert_eq!(queue.is_empty(), plain.is_empty());
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("the queue differs from a plain one: {failure}");
    }
}

/// Records `histories` histories of three threads with a few operations each. Checks that each
/// could have been one queue's, with each operation at some moment between its call and its return.
///
/// # Panics
/// With a history that could not.
pub fn linearizable<Q: Injector<u64>>(new: impl Fn() -> Q, histories: usize) {
    for round in 0..histories {
        let queue = new();
        let clock = AtomicU64::new(0);
        let barrier = Barrier::new(3);
        // Ordering: SeqCst; a clock for a test, all of whose readings must agree.
        let now = || clock.fetch_add(1, Ordering::SeqCst);
        let record = |thread: usize| {
            barrier.wait();
            let mut recorded = Vec::new();
            for step in 0..4 {
                let called = now();
                // The thread that pushes changes from round to round.
                let operation = if (round >> (step % 3) ^ thread ^ step) & 1 == 0 {
                    let item = (thread * 10 + step) as u64 + 1;
                    queue.push(item);
                    Operation::Push(item)
                } else {
                    Operation::Pop(queue.pop())
                };
                recorded.push(Recorded {
                    called,
                    operation,
                    returned: now(),
                });
            }
            recorded
        };
        let history: Vec<Recorded> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|thread| {
                    let record = &record;
                    scope.spawn(move || record(thread))
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        assert!(
            is_linearizable(&history),
            "no queue could have done this: {history:#?}"
        );
    }
}

/// Runs two producers and two consumers, with `items` items from each producer, singly and in
/// batches. Checks that each item leaves once, and that every consumer sees each producer's items
/// in their order.
///
/// # Panics
/// With what is missing, doubled or out of order.
pub fn conserves<Q: Injector<u64>>(new: impl Fn() -> Q, items: u64) {
    let queue = new();
    let producing = AtomicBool::new(true);
    let consume = || {
        let mut got: Vec<u64> = Vec::new();
        loop {
            // Ordering: Acquire; what was pushed before the flag was lowered is seen below.
            let last_look = !producing.load(Ordering::Acquire);
            let batch = got.len() % 40 + 1;
            let mut count = queue.pop_batch(batch, 2, |item| got.push(item));
            if let Some(item) = queue.pop() {
                got.push(item);
                count += 1;
            }
            if count == 0 && last_look {
                return got;
            }
            if count == 0 {
                stealyard_sync::thread::yield_now();
            }
        }
    };
    let produce = |producer: u64| {
        let mut next = 0;
        while next < items {
            let end = (next + next % 50 + 1).min(items);
            if end - next == 1 {
                queue.push(producer << 32 | next);
            } else {
                queue.push_batch((next..end).map(|number| producer << 32 | number));
            }
            next = end;
        }
    };
    let consumed: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let consumers: Vec<_> = (0..2).map(|_| scope.spawn(consume)).collect();
        let producers: Vec<_> = (0..2)
            .map(|number| scope.spawn(move || produce(number)))
            .collect();
        producers
            .into_iter()
            .for_each(|thread| thread.join().expect("no panic"));
        // Ordering: Release; the consumers' last look sees everything.
        producing.store(false, Ordering::Release);
        consumers
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    for got in &consumed {
        for producer in 0..2 {
            let own = got.iter().filter(|&&item| item >> 32 == producer);
            assert!(
                own.is_sorted(),
                "a consumer saw producer {producer}'s items out of order"
            );
        }
    }
    let mut all: Vec<u64> = consumed.into_iter().flatten().collect();
    all.sort_unstable();
    let expected: Vec<u64> = (0..2)
        .flat_map(|producer| (0..items).map(move |number| producer << 32 | number))
        .collect();
    assert_eq!(all.len(), expected.len(), "items were lost or doubled");
    assert_eq!(all, expected);
}
