//! Goal: every job of a scope is run by a worker that is free, also while the thread that opened
//! the scope waits for it. What scopes leave in the queues is bounded by the number of workers,
//! however many scopes there were.
//!
//! Method: bodies that wait for each job before they spawn the next, from every kind of thread and
//! in every nesting; scopes without end beside workers that are kept busy, and the lengths of all
//! queues.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use stealyard::{Builder, LocalQueue, Order, Scheduler, Scope, scope};
use support::{soak, wait_until, workers};

/// Spawns a job, waits until it has run, and again.
fn pipeline<'scope>(s: &Scope<'scope>, ran: &'scope AtomicUsize, jobs: usize) {
    for job in 1..=jobs {
        s.spawn(move |_| ran.store(job, Ordering::Release));
        wait_for(ran, job, "a job that the body waits for");
    }
}

fn wait_for(count: &AtomicUsize, wanted: usize, what: &str) {
    for _ in 0..1000 {
        if count.load(Ordering::Acquire) >= wanted {
            return;
        }
        std::thread::yield_now();
    }
    wait_until(
        || count.load(Ordering::Acquire) >= wanted,
        || format!("{what}: {count:?} of {wanted}"),
    );
}

fn add(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::Release);
}

/// All queues together; the workers' own, the run-next slots, and the global one.
fn queued(scheduler: &Scheduler) -> usize {
    let metrics = scheduler.metrics();
    let local: usize = metrics
        .workers
        .iter()
        .map(|worker| worker.queue_depth)
        .sum();
    local + metrics.injector_depth
}

/// Keeps so many workers busy as long as it lives.
struct Busy {
    open: Arc<AtomicBool>,
    tasks: Vec<stealyard::JoinHandle<()>>,
}

impl Busy {
    fn new(scheduler: &Scheduler, workers: usize) -> Self {
        let open = Arc::new(AtomicBool::new(false));
        let inside = Arc::new(AtomicUsize::new(0));
        let tasks = (0..workers)
            .map(|_| {
                let (open, inside) = (Arc::clone(&open), Arc::clone(&inside));
                scheduler.spawn(async move {
                    inside.fetch_add(1, Ordering::Release);
                    while !open.load(Ordering::Acquire) {
                        std::thread::sleep(std::time::Duration::from_micros(100));
                    }
                })
            })
            .collect();
        wait_for(&inside, workers, "workers that are kept busy");
        Self { open, tasks }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.open.store(true, Ordering::Release);
        for task in self.tasks.drain(..) {
            task.join().unwrap();
        }
    }
}

#[test]
fn a_body_that_waits_for_each_job_goes_on() {
    for count in [2, 3, 8] {
        let scheduler = workers(count);
        let jobs = 3_000 * soak();
        // Within `install`, and within a task.
        let ran = AtomicUsize::new(0);
        scheduler.install(|| scope(|s| pipeline(s, &ran, jobs)));
        let task = scheduler.spawn(async move {
            let ran = AtomicUsize::new(0);
            scope(|s| pipeline(s, &ran, jobs));
        });
        task.join().unwrap();
    }
}

#[test]
fn pipelines_at_once_and_nested_go_on_as_long_as_one_worker_is_free() {
    for count in [2, 3, 8] {
        let scheduler = workers(count);
        let jobs = 500 * soak();
        let tasks: Vec<_> = (1..count)
            .map(|_| {
                scheduler.spawn(async move {
                    let (outer, inner) = (AtomicUsize::new(0), AtomicUsize::new(0));
                    scope(|s| {
                        pipeline(s, &outer, jobs);
                        scope(|s| pipeline(s, &inner, jobs));
                        outer.store(0, Ordering::Release);
                        pipeline(s, &outer, jobs);
                    });
                })
            })
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
    }
}

/// A job waits for the next one, which it spawns itself: a chain of blocked workers, one of which
/// is free.
#[test]
fn jobs_that_wait_for_jobs_go_on_as_long_as_one_worker_is_free() {
    fn chain<'scope>(s: &Scope<'scope>, done: &'scope [AtomicBool]) {
        let Some((last, rest)) = done.split_last() else {
            return;
        };
        s.spawn(move |s| {
            chain(s, rest);
            last.store(true, Ordering::Release);
        });
        wait_until(
            || last.load(Ordering::Acquire),
            || "a job that a job waits for".to_owned(),
        );
    }
    for count in [2, 3, 8] {
        let scheduler = workers(count);
        for _ in 0..50 {
            let done: Vec<_> = (1..count).map(|_| AtomicBool::new(false)).collect();
            scheduler.install(|| scope(|s| chain(s, &done)));
        }
    }
}

#[test]
fn a_job_that_a_foreign_thread_spawns_runs_while_the_body_waits() {
    for count in [2, 3, 8] {
        let scheduler = workers(count);
        for _ in 0..100 {
            let ran = AtomicUsize::new(0);
            scheduler.install(|| {
                scope(|s| {
                    std::thread::scope(|threads| {
                        threads.spawn(|| s.spawn(|_| add(&ran)));
                        wait_for(&ran, 1, "the foreign thread's job");
                    });
                });
            });
        }
    }
}

#[test]
fn a_body_that_waits_goes_on_with_every_kind_of_queue() {
    let queues = [
        LocalQueue::Ring { capacity: 2 },
        LocalQueue::Split { capacity: 2 },
        LocalQueue::ChaseLev { order: Order::Lifo },
        LocalQueue::ChaseLev { order: Order::Fifo },
    ];
    for queue in queues {
        for streak in [0, 3] {
            let builder = Builder::new().parallelism(2).slot_streak_max(streak);
            let scheduler = builder.local_queue(queue.clone()).build().unwrap();
            let ran = AtomicUsize::new(0);
            scheduler.install(|| scope(|s| pipeline(s, &ran, 300)));
        }
    }
}

/// Scopes in all nestings, one after the other.
fn scopes(rounds: usize) {
    for round in 0..rounds {
        let count = AtomicUsize::new(0);
        scope(|s| {
            for _ in 0..=round % 3 {
                s.spawn(|s| {
                    s.spawn(|_| add(&count));
                    scope(|inner| inner.spawn(|_| add(&count)));
                });
            }
        });
        assert_eq!(count.into_inner(), 2 * (round % 3 + 1));
    }
}

#[test]
fn scopes_beside_busy_workers_leave_nothing_that_grows() {
    for count in [1, 2, 3, 8] {
        let scheduler = workers(count);
        let busy = Busy::new(&scheduler, count - 1);
        let rounds = 3_000 * soak();
        scheduler.install(|| scopes(rounds));
        let left = queued(&scheduler);
        assert!(
            left <= count,
            "{left} tasks are queued, with {count} workers"
        );
        scheduler
            .spawn(async move { scopes(rounds) })
            .join()
            .unwrap();
        let left = queued(&scheduler);
        assert!(
            left <= count,
            "{left} tasks are queued, with {count} workers"
        );
        drop(busy);
        // And the tickets that were queued have gone, or still serve.
        let ran = AtomicUsize::new(0);
        if count > 1 {
            scheduler.install(|| scope(|s| pipeline(s, &ran, 10)));
        }
        wait_until(
            || queued(&scheduler) == 0,
            || format!("{} tickets stay queued", queued(&scheduler)),
        );
    }
}

#[test]
fn many_scopes_at_once_share_the_tickets() {
    for count in [2, 3, 8] {
        let scheduler = workers(count);
        let busy = Busy::new(&scheduler, count - 1);
        // One worker is left for all these tasks.
        let open = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let open = Arc::clone(&open);
                scheduler.spawn(async move {
                    for _ in 0..20 {
                        scopes(3);
                        stealyard::yield_now().await;
                    }
                    open.fetch_add(1, Ordering::Release);
                })
            })
            .collect();
        wait_for(&open, 50, "tasks with scopes");
        let left = queued(&scheduler);
        assert!(
            left <= count,
            "{left} tasks are queued, with {count} workers"
        );
        drop(busy);
        for task in tasks {
            task.join().unwrap();
        }
    }
}

/// The jobs of one scope meet on all workers.
#[test]
fn the_jobs_of_a_scope_run_on_all_workers_at_once() {
    for count in [2, 3, 8] {
        let scheduler = workers(count);
        for _ in 0..20 {
            let meeting = Barrier::new(count);
            scheduler.install(|| {
                scope(|s| {
                    for _ in 1..count {
                        s.spawn(|_| {
                            meeting.wait();
                        });
                    }
                    meeting.wait();
                });
            });
        }
    }
}
