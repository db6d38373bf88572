//! Goal: no item is lost, doubled or read half-made under real parallelism. Method: threads and
//! counts. These are the tests that run under the sanitizers. `STEALYARD_SOAK` multiplies their
//! length.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use stealyard_injector::{Injector, Locked, Segmented, Sharded};

fn soak() -> u64 {
    std::env::var("STEALYARD_SOAK")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}

/// Sends boxed numbers from two producers to two consumers, and compares the sums.
fn adds_up<Q: Injector<Box<u64>> + 'static>(queue: Q) {
    let per_producer = 60_000 * soak();
    let queue = Arc::new(queue);
    let (producing, sum) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let consumers: Vec<_> = (0..2)
        .map(|_| {
            let (queue, producing, sum) =
                (Arc::clone(&queue), Arc::clone(&producing), Arc::clone(&sum));
            std::thread::spawn(move || {
                loop {
                    let last_look = !producing.load(Ordering::Acquire);
                    let mut own = 0;
                    if queue.pop_batch(32, 2, |item| own += *item) == 0 {
                        if last_look {
                            return;
                        }
                        std::thread::yield_now();
                    }
                    sum.fetch_add(own, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let producers: Vec<_> = (0..2)
        .map(|_| {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                let mut next = 1;
                while next <= per_producer {
                    let end = (next + next % 70).min(per_producer);
                    queue.push_batch((next..=end).map(Box::new));
                    next = end + 1;
                }
            })
        })
        .collect();
    producers
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    producing.store(false, Ordering::Release);
    consumers
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(
        sum.load(Ordering::Relaxed),
        per_producer * (per_producer + 1)
    );
}

#[test]
fn locked_adds_up() {
    adds_up(Locked::new());
}

#[test]
fn segmented_adds_up() {
    adds_up(Segmented::new());
}

#[test]
fn sharded_adds_up() {
    adds_up(Sharded::<Box<u64>, Segmented<Box<u64>>>::new(2).unwrap());
}

/// B1 of `sharded.rs` (no hidden item) under load: a thread that looks only at the bits finds an
/// item in a lane.
#[test]
fn b1_no_lane_is_forgotten() {
    let lanes = Arc::new(Sharded::<u64, Locked<u64>>::new(4).unwrap());
    let rounds = 30_000 * soak();
    let producers: Vec<_> = (0..2_u64)
        .map(|producer| {
            let lanes = Arc::clone(&lanes);
            std::thread::spawn(move || {
                (0..rounds).for_each(|number| lanes.push((number + producer) as usize, 1));
            })
        })
        .collect();
    let mut got = 0;
    let mut lane = 0;
    while got < 2 * rounds {
        lane += 1;
        got += lanes.pop(lane).unwrap_or(0);
    }
    producers
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert!(lanes.is_empty(), "B1: a bit is left set");
    assert_eq!(
        (0..4)
            .map(|lane| lanes.lane(lane).unwrap().len())
            .sum::<usize>(),
        0
    );
}
