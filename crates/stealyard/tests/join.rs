//! Goal: `join` and `scope` on the workers of a scheduler give the right results, use more than one
//! worker, and let the other tasks live.
//!
//! Method: known sums, and the set of threads that took part.

#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stealyard::policy::Turn;
use stealyard::{Builder, StealPolicy};
use support::{wait_until, with_workers};

fn fib(n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = stealyard::join(|| fib(n - 1), || fib(n - 2));
    a + b
}

#[test]
fn joins_on_workers_add_up() {
    with_workers(&[1, 2, 8], |scheduler| {
        assert_eq!(scheduler.install(|| fib(22)), 17_711);
        let inside = scheduler.spawn(async { fib(20) });
        assert_eq!(inside.join().unwrap(), 6_765);
    });
}

#[test]
fn a_scope_borrows_and_ends_with_all_its_jobs() {
    with_workers(&[1, 2, 8], |scheduler| {
        let numbers: Vec<u64> = (0..10_000).collect();
        let sums = Mutex::new(Vec::new());
        scheduler.install(|| {
            stealyard::scope(|scope| {
                for chunk in numbers.chunks(100) {
                    let sums = &sums;
                    scope.spawn(move |_| sums.lock().unwrap().push(chunk.iter().sum::<u64>()));
                }
            });
        });
        let sums = sums.into_inner().unwrap();
        assert_eq!((sums.len(), sums.iter().sum::<u64>()), (100, 49_995_000));
    });
}

/// Two halves that wait for each other end only if two workers run them.
#[test]
fn both_halves_run_at_the_same_time_when_a_worker_is_free() {
    with_workers(&[2, 4], |scheduler| {
        for _ in 0..20 {
            let meeting = std::sync::Barrier::new(2);
            let threads = Mutex::new(HashSet::new());
            let half = || {
                meeting.wait();
                threads.lock().unwrap().insert(std::thread::current().id());
            };
            scheduler.install(|| stealyard::join(half, half));
            assert_eq!(threads.into_inner().unwrap().len(), 2);
        }
    });
}

/// A steal policy that names no victim.
#[derive(Debug)]
struct NoVictim;

impl StealPolicy for NoVictim {
    fn victim(&self, _turn: &mut Turn<'_>) -> Option<usize> {
        None
    }
}

/// A worker that fell asleep without having asked any other for a join is told of the next one: the
/// policy names no victim, and the halves wait for each other after all workers fell asleep.
#[test]
fn a_worker_that_parked_without_stealing_is_woken_for_a_join() {
    let scheduler = Builder::new().parallelism(2).steal_policy(NoVictim).build();
    let scheduler = scheduler.unwrap();
    for _ in 0..5 {
        // Until no worker monitors either: the monitor would find the join by itself.
        wait_until(
            || scheduler.metrics().sleeping == 2 && !scheduler.has_monitor(),
            || format!("{:?}", scheduler.metrics()),
        );
        let met = AtomicUsize::new(0);
        let half = || {
            met.fetch_add(1, Ordering::SeqCst);
            (0..20_000).any(|_| {
                std::thread::sleep(Duration::from_millis(1));
                met.load(Ordering::SeqCst) == 2
            })
        };
        let (one, other) = scheduler.install(|| stealyard::join(half, half));
        assert!(one && other, "{:?}", scheduler.metrics());
    }
}
