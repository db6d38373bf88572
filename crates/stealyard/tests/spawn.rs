//! Goal: every spawned task runs exactly once and its handle gives the value, from wherever it is
//! spawned. Method: counters that each task adds to once, from inside and outside at the same time,
//! with 1, 2 and 8 workers; the long version runs 10 million tasks.

#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use stealyard::{Builder, Handle, Scheduler};
use support::{soak, with_workers};

#[test]
fn the_example_of_the_design_works() {
    let scheduler = Scheduler::new().unwrap();
    let answer = scheduler.block_on(async { stealyard::spawn(async { 42 }).await });
    assert_eq!(answer.unwrap(), 42);
}

#[test]
fn a_handle_gives_the_value_from_inside_and_outside() {
    with_workers(&[1, 2, 8], |scheduler| {
        assert_eq!(scheduler.spawn(async { 1 }).join().unwrap(), 1);
        let nested = scheduler.spawn(async { stealyard::spawn(async { 2 }).await.unwrap() + 1 });
        assert_eq!(scheduler.block_on(nested).unwrap(), 3);
        let handle = scheduler.handle().clone();
        let other = std::thread::spawn(move || handle.spawn(async { 4 }).join().unwrap());
        assert_eq!(other.join().unwrap(), 4);
    });
}

#[test]
fn install_borrows_and_runs_on_a_worker() {
    with_workers(&[1, 2], |scheduler| {
        let words = vec!["a".to_owned(), "b".to_owned()];
        let mut seen = Vec::new();
        let name = scheduler.install(|| {
            seen.extend(words.iter().cloned());
            // Within a worker it calls directly.
            Handle::current()
                .unwrap()
                .install(|| std::thread::current().name().map(str::to_owned))
        });
        assert_eq!(seen, words);
        assert!(name.unwrap().starts_with("stealyard-"));
    });
}

#[test]
fn worker_names_are_the_configured_ones() {
    let scheduler = Builder::new().name("crew").parallelism(1).build().unwrap();
    let name = scheduler.install(|| std::thread::current().name().map(str::to_owned));
    assert_eq!(name.as_deref(), Some("crew-0"));
    let name = scheduler.spawn_blocking(|| std::thread::current().name().map(str::to_owned));
    assert_eq!(name.join().unwrap().as_deref(), Some("crew-blocking-0"));
}

#[test]
fn several_schedulers_live_side_by_side() {
    let one = Builder::new().name("one").parallelism(2).build().unwrap();
    let two = Builder::new().name("two").parallelism(2).build().unwrap();
    let two_handle = two.handle().clone();
    let name = || std::thread::current().name().unwrap_or("").to_owned();
    let names = one.spawn(async move {
        let there = two_handle.spawn(async move {
            (
                name(),
                stealyard::spawn(async move { name() }).await.unwrap(),
            )
        });
        (name(), there.await.unwrap(), name())
    });
    let (before, there, after) = names.join().unwrap();
    assert!(
        before.starts_with("one-") && after.starts_with("one-"),
        "{before} {after}"
    );
    assert!(
        there.0.starts_with("two-") && there.1.starts_with("two-"),
        "{there:?}"
    );
}

/// Half of the tasks come from two threads outside, half are spawned by tasks, at the same time;
/// each marks its own place.
fn conserve(workers: usize, tasks: usize) {
    let marks: Arc<Vec<AtomicU8>> = Arc::new((0..tasks).map(|_| AtomicU8::new(0)).collect());
    let done = Arc::new(AtomicU64::new(0));
    let scheduler = Builder::new().parallelism(workers).build().unwrap();
    let quarter = tasks / 4;
    let spawn_range = |handle: &Handle, range: std::ops::Range<usize>| {
        for index in range {
            let (marks, done) = (Arc::clone(&marks), Arc::clone(&done));
            handle.spawn_detached(async move {
                marks[index].fetch_add(1, Ordering::Relaxed);
                done.fetch_add(1, Ordering::Release);
            });
        }
    };
    std::thread::scope(|scope| {
        for part in 0..2 {
            let handle = scheduler.handle().clone();
            let spawn_range = &spawn_range;
            scope.spawn(move || spawn_range(&handle, part * quarter..(part + 1) * quarter));
        }
        let inside = 2 * quarter..tasks;
        for chunk in inside.clone().step_by(1000) {
            let (marks, done) = (Arc::clone(&marks), Arc::clone(&done));
            let end = (chunk + 1000).min(inside.end);
            scheduler.spawn_detached(async move {
                for index in chunk..end {
                    let (marks, done) = (Arc::clone(&marks), Arc::clone(&done));
                    stealyard::spawn_detached(async move {
                        marks[index].fetch_add(1, Ordering::Relaxed);
                        done.fetch_add(1, Ordering::Release);
                    });
                }
            });
        }
    });
    support::wait_until(
        || done.load(Ordering::Acquire) == tasks as u64,
        || {
            format!(
                "{} of {tasks}; {scheduler:?} {:?}",
                done.load(Ordering::Acquire),
                scheduler.metrics()
            )
        },
    );
    drop(scheduler);
    for (index, mark) in marks.iter().enumerate() {
        assert_eq!(
            mark.load(Ordering::Relaxed),
            1,
            "task {index} with {workers} workers"
        );
    }
}

#[test]
fn each_task_runs_exactly_once() {
    for workers in [1, 2, 8] {
        conserve(workers, 100_000 * soak());
    }
}

#[test]
#[ignore = "soak: cargo xtask verify"]
fn ten_million_tasks_run_exactly_once() {
    for workers in [1, 2, 8] {
        conserve(workers, 10_000_000);
    }
}

#[test]
fn handles_of_many_tasks_give_their_own_values() {
    with_workers(&[1, 2, 8], |scheduler| {
        let sum = scheduler.block_on(async {
            let handles: Vec<_> = (0..10_000_u64)
                .map(|n| stealyard::spawn(async move { n }))
                .collect();
            let mut sum = 0;
            for handle in handles {
                sum += handle.await.unwrap();
            }
            sum
        });
        assert_eq!(sum, 49_995_000);
    });
}

#[test]
fn a_million_tasks_of_all_sizes_cross_the_overflow_and_come_back() {
    // More tasks at once than the ring holds: they go through the global queue.
    with_workers(&[1, 2], |scheduler| {
        let total = scheduler.spawn(async {
            let handles: Vec<_> = (0..100_000_u64)
                .map(|n| stealyard::spawn(async move { n & 1 }))
                .collect();
            let mut ones = 0;
            for handle in handles {
                ones += handle.await.unwrap();
            }
            ones
        });
        assert_eq!(total.join().unwrap(), 50_000);
        let total = scheduler.metrics().total();
        assert!(
            total.overflows > 0 && total.tasks_overflowed >= 129,
            "{total:?}"
        );
        assert!(total.tasks_injected >= total.tasks_overflowed, "{total:?}");
    });
}

#[test]
fn every_kind_of_queue_runs_each_task_once() {
    use stealyard::LocalQueue;
    let custom = LocalQueue::custom(|| stealyard_deque::Ring::new().claiming(1));
    for queue in [
        LocalQueue::Ring { capacity: 2 },
        LocalQueue::Split { capacity: 64 },
        LocalQueue::ChaseLev {
            order: stealyard::Order::Fifo,
        },
        LocalQueue::ChaseLev {
            order: stealyard::Order::Lifo,
        },
        custom,
    ] {
        for workers in [1, 2, 4] {
            let scheduler = Builder::new()
                .parallelism(workers)
                .local_queue(queue.clone())
                .build()
                .unwrap();
            let sum = scheduler.spawn(async {
                let handles: Vec<_> = (0..20_000_u64)
                    .map(|n| stealyard::spawn(async move { n }))
                    .collect();
                let mut sum = 0;
                for handle in handles {
                    sum += handle.await.unwrap();
                }
                sum
            });
            assert_eq!(sum.join().unwrap(), 199_990_000, "{queue:?}");
        }
    }
}
