//! Goal: when a scheduler has ended, in whatever way, its threads have: workers, threads for
//! blocking calls, and helpers. Left are only those that the documentation names, and the report
//! counts what they are in. Method: each thread that a test's task or call ran on keeps a
//! thread-local whose destructor counts it as gone. That happens before a join returns, so no count
//! needs a pause; the kernel's own list of threads is looked at as well.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;
#[path = "support/watchdog.rs"]
mod watchdog;

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use stealyard::{Builder, Scheduler, Shutdown, ShutdownReport};
use support::{soak, wait_until};
use watchdog::Watchdog;

thread_local! {
    static MARKS: RefCell<Vec<Mark>> = const { RefCell::new(Vec::new()) };
}

/// Which threads took part, and how many of them are gone.
#[derive(Clone, Default)]
struct Roll(Arc<(AtomicUsize, AtomicUsize)>);

struct Mark(Roll);

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.0.1.fetch_add(1, Ordering::SeqCst);
    }
}

impl Roll {
    /// The calling thread takes part.
    fn sign(&self) {
        MARKS.with_borrow_mut(|marks| {
            if !marks.iter().any(|mark| Arc::ptr_eq(&mark.0.0, &self.0)) {
                self.0.0.fetch_add(1, Ordering::SeqCst);
                marks.push(Mark(self.clone()));
            }
        });
    }

    fn signed(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    fn left(&self) -> usize {
        self.signed() - self.0.1.load(Ordering::SeqCst)
    }
}

/// Threads of this process whose names begin with this; the kernel shows fifteen bytes.
fn listed(name: &str) -> usize {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return 0; // not Linux
    };
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|listed| listed.starts_with(name)).count()
}

/// The kernel takes a thread off its list a moment after the join.
fn wait_until_unlisted(name: &str) {
    wait_until(
        || listed(name) == 0,
        || format!("{} threads of {name}", listed(name)),
    );
}

/// One test at a time has schedulers, so that their threads can be told apart by name.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn builder(workers: usize) -> Builder {
    Builder::new().name("thr").parallelism(workers)
}

/// Short calls on many threads, and tasks on the workers.
fn busy(scheduler: &Scheduler, roll: &Roll, calls: usize) {
    let handles: Vec<_> = (0..calls)
        .map(|_| {
            let roll = roll.clone();
            scheduler.spawn_blocking(move || {
                roll.sign();
                std::thread::sleep(Duration::from_micros(200));
            })
        })
        .collect();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let roll = roll.clone();
            scheduler.spawn(async move { roll.sign() })
        })
        .collect();
    for handle in handles.into_iter().chain(tasks) {
        handle.join().unwrap();
    }
}

const WAYS: [Option<Shutdown>; 5] = [
    None,
    Some(Shutdown::Cancel),
    Some(Shutdown::Drain),
    Some(Shutdown::DrainFor(Duration::from_secs(60))),
    Some(Shutdown::DrainFor(Duration::ZERO)),
];

fn end(scheduler: Scheduler, how: Option<Shutdown>) -> ShutdownReport {
    match how {
        Some(how) => scheduler.shutdown(how),
        None => {
            drop(scheduler);
            ShutdownReport::default()
        }
    }
}

#[test]
fn no_thread_is_left_after_an_end_when_all_calls_have_returned() {
    let _alone = alone();
    for how in WAYS {
        for round in 0..20 * soak() {
            let roll = Roll::default();
            let keep_alive = [Duration::ZERO, Duration::from_secs(10), Duration::MAX][round % 3];
            let scheduler = builder(1 + round % 3).blocking_keep_alive(keep_alive);
            let scheduler = scheduler
                .schedtrace(Duration::from_secs(3600))
                .build()
                .unwrap();
            busy(&scheduler, &roll, 40);
            let report = end(scheduler, how);
            if how != Some(Shutdown::DrainFor(Duration::ZERO)) {
                assert_eq!((report.workers_running, report.blocking_running), (0, 0));
            }
            if report.workers_running + report.blocking_running == 0 {
                assert_eq!(roll.left(), 0, "{how:?}: of {} threads", roll.signed());
            }
            wait_until_unlisted("thr-");
        }
    }
}

#[test]
fn a_drain_waits_for_calls_and_for_what_they_spawn() {
    let _alone = alone();
    for how in [Shutdown::Drain, Shutdown::DrainFor(Duration::MAX)] {
        for _ in 0..10 * soak() {
            let roll = Roll::default();
            let scheduler = builder(2).build().unwrap();
            for _ in 0..20 {
                let roll = roll.clone();
                drop(scheduler.spawn_blocking(move || {
                    roll.sign();
                    let inner = roll.clone();
                    drop(stealyard::spawn_blocking(move || inner.sign()));
                }));
            }
            let report = scheduler.shutdown(how);
            assert_eq!((report.workers_running, report.blocking_running), (0, 0));
            assert_eq!(roll.left(), 0, "of {} threads", roll.signed());
            wait_until_unlisted("thr-");
        }
    }
}

/// Calls that are under way, or wait for a thread, when the scheduler is cancelled.
#[test]
fn only_threads_inside_a_call_are_left_by_a_cancel_and_the_report_counts_the_calls() {
    let _alone = alone();
    for (max, calls) in [(5, 5), (2, 6), (512, 3)] {
        for how in [
            Some(Shutdown::Cancel),
            None,
            Some(Shutdown::DrainFor(Duration::from_millis(5))),
        ] {
            let _dog = Watchdog::new(Duration::from_secs(120), format!("{how:?} {max} {calls}"));
            let (idle, inside) = (Roll::default(), Roll::default());
            let scheduler = builder(2).blocking_threads_max(max).build().unwrap();
            busy(&scheduler, &idle, 30);
            let begin = calls.min(max);
            let begun = Arc::new(Barrier::new(begin + 1));
            let (open, opened) = mpsc::channel::<()>();
            let opened = Arc::new(Mutex::new(opened));
            let handles: Vec<_> = (0..calls)
                .map(|_| {
                    let (begun, opened, inside) =
                        (Arc::clone(&begun), Arc::clone(&opened), inside.clone());
                    scheduler.spawn_blocking(move || {
                        inside.sign();
                        begun.wait();
                        let _closed = opened.lock().unwrap().recv();
                    })
                })
                .collect();
            begun.wait();
            let report = end(scheduler, how);
            if how.is_some() {
                assert_eq!(
                    (report.workers_running, report.blocking_running),
                    (0, calls)
                );
            }
            assert_eq!(inside.left(), begin, "{how:?}: the threads inside a call");
            // Those that took part in both were idle, and are inside now.
            assert!(
                idle.left() <= begin,
                "{how:?}: {} idle threads",
                idle.left()
            );
            drop(open);
            let ended = handles.into_iter().map(|handle| handle.join().is_ok());
            assert_eq!(
                ended.filter(|&ended| ended).count(),
                begin,
                "the others are cancelled"
            );
            wait_until(
                || inside.left() == 0,
                || format!("{} are left", inside.left()),
            );
            wait_until_unlisted("thr-");
        }
    }
}

/// A task that does not return: its worker is left, and the report says so.
#[test]
fn a_drain_that_runs_out_of_time_leaves_the_worker_of_a_task_that_does_not_return() {
    let _alone = alone();
    let (idle, roll) = (Roll::default(), Roll::default());
    let scheduler = builder(2).build().unwrap();
    let blocking: Vec<_> = (0..30)
        .map(|_| {
            let idle = idle.clone();
            scheduler.spawn_blocking(move || idle.sign())
        })
        .collect();
    for call in blocking {
        call.join().unwrap();
    }
    let (open, opened) = mpsc::channel::<()>();
    let begun = Arc::new(Barrier::new(2));
    let (beginning, signing) = (Arc::clone(&begun), roll.clone());
    let task = scheduler.spawn(async move {
        signing.sign();
        beginning.wait();
        let _closed = opened.recv();
    });
    begun.wait();
    let report = scheduler.shutdown(Shutdown::DrainFor(Duration::from_millis(5)));
    assert_eq!((report.workers_running, report.blocking_running), (1, 0));
    assert_eq!((idle.left(), roll.left()), (0, 1));
    drop(open);
    task.join().unwrap();
    wait_until(|| roll.left() == 0, || "the worker".to_owned());
    wait_until_unlisted("thr-");
}

/// An end from inside cannot wait for the thread that it is on; all threads end soon after it has
/// returned there.
#[test]
fn after_an_end_from_inside_all_threads_end_by_themselves() {
    let _alone = alone();
    for how in WAYS {
        for blocking in [false, true] {
            let what = format!("{how:?}, in a blocking call: {blocking}");
            let _dog = Watchdog::new(Duration::from_secs(120), what.clone());
            let roll = Roll::default();
            let scheduler = builder(2).build().unwrap();
            busy(&scheduler, &roll, 20);
            let (handle, inside) = (scheduler.handle().clone(), roll.clone());
            let body = move || {
                inside.sign();
                let report = end(scheduler, how);
                // Its own thread, at least.
                assert!(inside.left() > 0, "{report:?}");
            };
            let ended = if blocking {
                handle.spawn_blocking(body).join()
            } else {
                handle.spawn(async move { body() }).join()
            };
            ended.unwrap();
            wait_until(
                || roll.left() == 0,
                || format!("{what}: {} are left", roll.left()),
            );
            wait_until_unlisted("thr-");
        }
    }
}

/// A cancel inside a blocking call waits for all threads but those inside calls, of which it is
/// one.
#[test]
fn a_cancel_inside_a_blocking_call_leaves_its_own_thread_alone() {
    let _alone = alone();
    for how in [None, Some(Shutdown::Cancel)] {
        let (roll, own) = (Roll::default(), Roll::default());
        let scheduler = builder(2).build().unwrap();
        busy(&scheduler, &roll, 20);
        let (handle, counted) = (scheduler.handle().clone(), roll.clone());
        let call = handle.spawn_blocking(move || {
            own.sign();
            let report = end(scheduler, how);
            assert_eq!(own.left(), 1);
            assert!(counted.left() <= 1, "{} threads are left", counted.left());
            if how.is_some() {
                assert_eq!((report.workers_running, report.blocking_running), (0, 1));
            }
        });
        call.join().unwrap();
        wait_until_unlisted("thr-");
    }
}

/// The destructor of a call that is cancelled ends another scheduler, or keeps its own from waiting
/// for itself.
#[test]
fn destructors_of_cancelled_calls_may_end_schedulers() {
    struct EndAtDrop(Option<Scheduler>);
    impl Drop for EndAtDrop {
        fn drop(&mut self) {
            drop(self.0.take());
        }
    }
    let _alone = alone();
    let _dog = Watchdog::new(Duration::from_secs(120), "destructors of cancelled calls");
    for _ in 0..20 {
        let outer = builder(1).blocking_threads_max(1).build().unwrap();
        let other = EndAtDrop(Some(builder(1).build().unwrap()));
        let (open, opened) = mpsc::channel::<()>();
        let first = outer.spawn_blocking(move || opened.recv().is_err());
        let queued = outer.spawn_blocking(move || drop(other));
        let opener = std::thread::spawn(move || drop(open));
        drop(outer);
        opener.join().unwrap();
        drop((first.join(), queued.join()));
        wait_until_unlisted("thr-");
    }
}

/// A scheduler that ends in the destructor of a thread-local of one of its own threads.
#[test]
fn ended_by_a_thread_local_of_its_own_blocking_thread() {
    thread_local! {
        static KEPT: RefCell<Option<Scheduler>> = const { RefCell::new(None) };
    }
    let _alone = alone();
    let _dog = Watchdog::new(
        Duration::from_secs(120),
        "a thread-local of a blocking thread",
    );
    for keep_alive in [Duration::ZERO, Duration::from_millis(2)] {
        for _ in 0..20 {
            let roll = Roll::default();
            let scheduler = builder(2).blocking_keep_alive(keep_alive).build().unwrap();
            busy(&scheduler, &roll, 10);
            let handle = scheduler.handle().clone();
            let call = handle.spawn_blocking(move || KEPT.set(Some(scheduler)));
            call.join().unwrap();
            wait_until(|| roll.left() == 0, || format!("{} are left", roll.left()));
            wait_until_unlisted("thr-");
        }
    }
}
