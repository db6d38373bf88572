//! Goal: however a scheduler ends, each task is run or cancelled, nothing leaks and nothing hangs.
//! Method: every task holds something whose destructor is counted; schedulers end with tasks
//! queued, running and asleep, at random moments, from inside and outside, while others wake and
//! spawn.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::future::{Future, pending, poll_fn};
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use stealyard::{Builder, Handle, Scheduler, Shutdown};
use support::{Census, soak, wait_until, with_workers, workers};

/// Keeps all workers busy until the gate opens, so that what follows stays queued.
fn all_busy(scheduler: &Scheduler, count: usize, census: &Census) -> Arc<AtomicBool> {
    let (gate, running) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(Barrier::new(count + 1)),
    );
    for _ in 0..count {
        let (citizen, gate, running) = (census.citizen(), Arc::clone(&gate), Arc::clone(&running));
        scheduler.spawn_detached(async move {
            running.wait();
            while !gate.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            citizen.finish();
        });
    }
    running.wait();
    gate
}

#[test]
fn t7_drop_with_tasks_queued_running_and_asleep_leaks_nothing() {
    for count in [1, 2, 8] {
        let census = Census::default();
        let scheduler = workers(count);
        let asleep = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let (citizen, asleep) = (census.citizen(), Arc::clone(&asleep));
            scheduler.spawn_detached(async move {
                asleep.fetch_add(1, Ordering::SeqCst);
                pending::<()>().await;
                citizen.finish();
            });
        }
        wait_until(
            || asleep.load(Ordering::SeqCst) == 100,
            || "asleep".to_owned(),
        );
        let gate = all_busy(&scheduler, count, &census);
        let queued: Vec<_> = (0..1000)
            .map(|_| {
                let citizen = census.citizen();
                scheduler.spawn(async move { citizen.finish() })
            })
            .collect();
        let handle = scheduler.handle().clone();
        let opener = std::thread::spawn(move || {
            // All workers are held up: what ends now was cancelled, because the scheduler is
            // closed.
            wait_until(|| handle.spawn(async {}).is_finished(), String::new);
            gate.store(true, Ordering::SeqCst);
        });
        drop(scheduler);
        opener.join().unwrap();
        census.assert_none_is_left();
        let cancelled = queued
            .into_iter()
            .filter_map(|task| task.join().err())
            .count();
        // The running ones have returned; those that slept cannot have.
        assert_eq!(census.finished(), count + 1000 - cancelled);
        assert!(
            cancelled > 0,
            "the scheduler was closed while the workers were busy"
        );
    }
}

#[test]
fn drain_runs_all_that_can_run_and_cancels_what_sleeps() {
    with_each(|count| {
        let census = Census::default();
        let scheduler = workers(count);
        fn tree(census: &Census, depth: u32) -> impl Future<Output = ()> + Send + use<> {
            let (census, citizen) = (census.clone(), census.citizen());
            async move {
                for _ in 0..2 {
                    if depth > 0 {
                        stealyard::spawn_detached(Box::pin(tree(&census, depth - 1))
                            as Pin<Box<dyn Future<Output = ()> + Send>>);
                    }
                }
                stealyard::yield_now().await;
                citizen.finish();
            }
        }
        scheduler.spawn_detached(tree(&census, 8));
        let blocking = census.citizen();
        drop(scheduler.spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(10));
            let citizen = blocking;
            stealyard::spawn_detached(async move { citizen.finish() });
        }));
        let sleeper = census.citizen();
        let handle = scheduler.spawn(async move {
            pending::<()>().await;
            sleeper.finish();
        });
        let report = scheduler.shutdown(Shutdown::Drain);
        census.assert_none_is_left();
        assert_eq!(census.finished(), 511 + 1);
        assert_eq!(
            (
                report.cancelled,
                report.workers_running,
                report.blocking_running
            ),
            (1, 0, 0)
        );
        assert!(handle.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_drain_that_runs_out_of_time_says_what_was_left() {
    with_each(|count| {
        let census = Census::default();
        let scheduler = workers(count);
        let gate = Arc::new(AtomicBool::new(false));
        let (citizen, held) = (census.citizen(), Arc::clone(&gate));
        let started = Arc::new(Barrier::new(2));
        let starting = Arc::clone(&started);
        scheduler.spawn_detached(async move {
            starting.wait();
            while !held.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            citizen.finish();
        });
        started.wait();
        let endless = census.citizen();
        scheduler.spawn_detached(async move {
            loop {
                stealyard::yield_now().await;
                let _held = &endless;
            }
        });
        let report = scheduler.shutdown(Shutdown::DrainFor(Duration::from_millis(20)));
        assert!(report.workers_running >= 1, "{report:?}");
        gate.store(true, Ordering::SeqCst);
        wait_until(|| census.died() == 2, || format!("{} died", census.died()));
        assert_eq!(census.finished(), 1);
    });
}

#[test]
fn a_drain_that_runs_out_of_time_counts_the_tasks_that_are_left() {
    with_each(|count| {
        let census = Census::default();
        let scheduler = workers(count);
        for _ in 0..10 {
            let citizen = census.citizen();
            scheduler.spawn_detached(async move {
                pending::<()>().await;
                citizen.finish();
            });
        }
        let bound = census.citizen();
        let binds = scheduler.spawn(async move {
            drop(stealyard::spawn_local(async move {
                pending::<()>().await;
                bound.finish();
            }));
        });
        // Ended, but there is a handle: not left.
        wait_until(|| binds.is_finished(), || "not run".to_owned());
        let gate = all_busy(&scheduler, count, &census);
        for _ in 0..1000 {
            let citizen = census.citizen();
            scheduler.spawn_detached(async move { citizen.finish() });
        }
        let report = scheduler.shutdown(Shutdown::DrainFor(Duration::ZERO));
        assert_eq!(
            (
                report.cancelled,
                report.tasks_left,
                report.workers_running,
                report.blocking_running
            ),
            (0, 10 + 1 + count + 1000, count, 0)
        );
        gate.store(true, Ordering::SeqCst);
        wait_until(
            || census.died() == census.born(),
            || format!("{} died", census.died()),
        );
        assert_eq!(census.finished(), count);
    });
}

#[test]
fn a_drain_that_runs_out_of_time_counts_the_blocking_calls_that_are_left() {
    let builder = Builder::new().parallelism(1).blocking_threads_max(1);
    let scheduler = builder.build().unwrap();
    let (open, opened) = std::sync::mpsc::channel::<()>();
    let started = Arc::new(Barrier::new(2));
    let starting = Arc::clone(&started);
    let running = scheduler.spawn_blocking(move || {
        starting.wait();
        opened.recv().unwrap();
    });
    started.wait();
    let waiting = scheduler.spawn_blocking(|| ());
    let report = scheduler.shutdown(Shutdown::DrainFor(Duration::from_millis(5)));
    assert_eq!((report.blocking_running, report.tasks_left), (2, 0));
    open.send(()).unwrap();
    running.join().unwrap();
    assert!(waiting.join().unwrap_err().is_cancelled());
}

#[test]
fn t8_time_limits_of_zero_and_for_ever_and_endings_from_inside() {
    with_each(|count| {
        for limit in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            let census = Census::default();
            let scheduler = workers(count);
            for _ in 0..100 {
                let citizen = census.citizen();
                scheduler.spawn_detached(async move { citizen.finish() });
            }
            let report = scheduler.shutdown(Shutdown::DrainFor(limit));
            wait_until(|| census.died() == 100, || format!("{report:?}"));
            if limit == Duration::MAX {
                assert_eq!((census.finished(), report.cancelled), (100, 0));
            }
        }
        for how in [
            Shutdown::Cancel,
            Shutdown::Drain,
            Shutdown::DrainFor(Duration::MAX),
        ] {
            let census = Census::default();
            let scheduler = workers(count);
            let handle = scheduler.handle().clone();
            for _ in 0..100 {
                let citizen = census.citizen();
                handle.spawn_detached(async move {
                    pending::<()>().await;
                    citizen.finish();
                });
            }
            let citizen = census.citizen();
            // A scheduler that is dropped, or shut down, by one of its own tasks.
            handle.spawn_detached(async move {
                let _report = scheduler.shutdown(how);
                citizen.finish();
            });
            wait_until(
                || census.died() == 101,
                || format!("{how:?}: {}", census.died()),
            );
            assert_eq!(census.finished(), 1);
        }
    });
}

/// A thread-local that owns a scheduler: the words that say where this thread is may be gone when
/// its destructor runs. Registered before them and after them, so that it is dropped on either side
/// of theirs.
#[test]
fn t8_ended_by_the_destructor_of_a_thread_local() {
    struct EndAtExit(Option<Scheduler>, Option<Shutdown>);
    impl Drop for EndAtExit {
        fn drop(&mut self) {
            let Some(scheduler) = self.0.take() else {
                return;
            };
            match self.1 {
                Some(how) => drop(scheduler.shutdown(how)),
                None => drop(scheduler),
            }
        }
    }
    thread_local! {
        static AT_EXIT: std::cell::RefCell<EndAtExit> = const { std::cell::RefCell::new(EndAtExit(None, None)) };
    }
    for how in [
        None,
        Some(Shutdown::Drain),
        Some(Shutdown::DrainFor(Duration::MAX)),
    ] {
        for used_first in [false, true] {
            let census = Census::default();
            let scheduler = workers(2);
            for _ in 0..100 {
                let (yielding, sleeping) = (census.citizen(), census.citizen());
                scheduler.spawn_detached(async move {
                    stealyard::yield_now().await;
                    yielding.finish();
                });
                scheduler.spawn_detached(async move {
                    pending::<()>().await;
                    sleeping.finish();
                });
            }
            let thread = std::thread::spawn(move || {
                let handle = scheduler.handle().clone();
                let keep = || AT_EXIT.set(EndAtExit(Some(scheduler), how));
                if used_first {
                    handle.block_on(async {});
                    keep();
                } else {
                    keep();
                    handle.block_on(async {});
                }
            });
            wait_until(|| thread.is_finished(), || format!("{how:?}"));
            thread.join().unwrap();
            // It has waited, as anywhere.
            census.assert_none_is_left();
            if how.is_some() {
                assert_eq!(census.finished(), 100);
            }
        }
    }
}

/// A blocking call that ends its own scheduler, itself or from a `block_on` further in.
#[test]
fn t8_endings_from_inside_a_blocking_call() {
    let manners = [
        None,
        Some(Shutdown::Cancel),
        Some(Shutdown::Drain),
        Some(Shutdown::DrainFor(Duration::ZERO)),
        Some(Shutdown::DrainFor(Duration::MAX)),
    ];
    for how in manners {
        for nested in [false, true] {
            let census = Census::default();
            let scheduler = workers(2);
            let handle = scheduler.handle().clone();
            for _ in 0..100 {
                let (yielding, sleeping) = (census.citizen(), census.citizen());
                handle.spawn_detached(async move {
                    stealyard::yield_now().await;
                    yielding.finish();
                });
                handle.spawn_detached(async move {
                    pending::<()>().await;
                    sleeping.finish();
                });
            }
            let end = move || match how {
                Some(how) => drop(scheduler.shutdown(how)),
                None => drop(scheduler),
            };
            let (citizen, inner) = (census.citizen(), handle.clone());
            let call = handle.spawn_blocking(move || {
                if nested {
                    inner.block_on(async move { end() });
                } else {
                    end();
                }
                citizen.finish();
            });
            let state = || format!("{how:?}, nested: {nested}: {} died", census.died());
            wait_until(|| call.is_finished() && census.died() == 201, state);
            if matches!(
                how,
                Some(Shutdown::Drain | Shutdown::DrainFor(Duration::MAX))
            ) {
                assert_eq!(census.finished(), 101, "all that can run has run");
            }
        }
    }
}

/// Ends its scheduler when it is dropped.
struct Ends {
    scheduler: Arc<Mutex<Option<Scheduler>>>,
    how: Option<Shutdown>,
    ended: Arc<AtomicBool>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        let scheduler = self.scheduler.lock().unwrap().take();
        let Some(scheduler) = scheduler else { return };
        match self.how {
            Some(how) => drop(scheduler.shutdown(how)),
            None => drop(scheduler),
        }
        self.ended.store(true, Ordering::SeqCst);
    }
}

/// A waker that drops what it holds when it wakes.
struct Drops(Mutex<Option<Ends>>);

impl Wake for Drops {
    fn wake(self: Arc<Self>) {
        let held = self.0.lock().unwrap().take();
        drop(held);
    }
}

/// Code of the user's that runs on a thread for blocking calls before or after the call's closure,
/// and ends the scheduler: the end waits for all threads but that one.
#[test]
fn t8_endings_beside_a_blocking_call() {
    support::silence();
    let manners = [
        None,
        Some(Shutdown::Cancel),
        Some(Shutdown::Drain),
        Some(Shutdown::DrainFor(Duration::ZERO)),
        Some(Shutdown::DrainFor(Duration::MAX)),
    ];
    for how in manners {
        for place in ["aborted", "output", "payload", "waker", "hook"] {
            let ended = Arc::new(AtomicBool::new(false));
            let (slot, hook) = (Arc::default(), Arc::new(Mutex::new(None::<Ends>)));
            let ends = Ends {
                scheduler: Arc::clone(&slot),
                how,
                ended: Arc::clone(&ended),
            };
            let told = Arc::clone(&hook);
            let builder = Builder::new().parallelism(2).blocking_threads_max(2);
            let builder = builder.on_task_panic(move |_| {
                let held = told.lock().unwrap().take();
                drop(held);
            });
            let scheduler = builder.build().unwrap();
            let handle = scheduler.handle().clone();
            *slot.lock().unwrap() = Some(scheduler);
            // One thread is busy all the while, the other until the call is prepared.
            let gate = Arc::new(Barrier::new(2));
            let (opens, busy) = (Arc::clone(&gate), Arc::new(AtomicBool::new(true)));
            let is_busy = Arc::clone(&busy);
            let long = handle.spawn_blocking(move || {
                wait_until(|| !is_busy.load(Ordering::SeqCst), || "busy".to_owned());
            });
            drop(handle.spawn_blocking(move || {
                opens.wait();
            }));
            let mut joined = None;
            match place {
                "aborted" => handle.spawn_blocking(move || drop(ends)).abort(),
                "output" => drop(handle.spawn_blocking(move || ends)),
                "payload" => drop(handle.spawn_blocking(move || panic_any(ends))),
                "waker" => {
                    let mut call = handle.spawn_blocking(|| ());
                    let waker = Waker::from(Arc::new(Drops(Mutex::new(Some(ends)))));
                    let polled = Pin::new(&mut call).poll(&mut Context::from_waker(&waker));
                    assert!(polled.is_pending(), "no thread was free");
                    joined = Some(call);
                }
                _ => {
                    *hook.lock().unwrap() = Some(ends);
                    drop(handle.spawn_blocking(|| panic_any("on purpose")));
                }
            }
            gate.wait();
            if matches!(
                how,
                Some(Shutdown::Drain | Shutdown::DrainFor(Duration::MAX))
            ) {
                // It waits for all calls that are under way.
                busy.store(false, Ordering::SeqCst);
            }
            wait_until(
                || ended.load(Ordering::SeqCst),
                || format!("{how:?}, {place}"),
            );
            busy.store(false, Ordering::SeqCst);
            wait_until(|| long.is_finished(), || "the long call".to_owned());
            drop(joined);
        }
    }
}

/// `block_on` on a thread of the user's: no thread waits for that one, so the end has all its steps
/// there.
#[test]
fn t8_endings_inside_block_on_wait_as_anywhere() {
    with_each(|count| {
        for how in [Shutdown::Cancel, Shutdown::Drain] {
            let census = Census::default();
            let scheduler = workers(count);
            let handle = scheduler.handle().clone();
            for _ in 0..100 {
                let citizen = census.citizen();
                handle.spawn_detached(async move {
                    stealyard::yield_now().await;
                    citizen.finish();
                });
            }
            let report = handle.block_on(async move { scheduler.shutdown(how) });
            census.assert_none_is_left();
            assert_eq!(census.finished() as u64 + report.cancelled, 100);
            if how == Shutdown::Drain {
                assert_eq!(report.cancelled, 0);
            }
        }
    });
}

#[test]
fn dropped_by_its_own_task() {
    with_each(|count| {
        for _ in 0..20 * soak() {
            let census = Census::default();
            let scheduler = workers(count);
            let handle = scheduler.handle().clone();
            let (first, second) = (census.citizen(), census.citizen());
            drop(handle.spawn(async move {
                drop(scheduler);
                // Spawned after the end: cancelled.
                stealyard::spawn_detached(async move { second.finish() });
                first.finish();
            }));
            wait_until(|| census.died() == 2, || format!("{}", census.died()));
            assert_eq!(census.finished(), 1);
        }
    });
}

#[test]
fn t2_tasks_spawned_and_woken_after_the_end_are_cancelled() {
    with_each(|count| {
        let census = Census::default();
        let scheduler = workers(count);
        let handle = scheduler.handle().clone();
        let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
        let (citizen, place) = (census.citizen(), Arc::clone(&kept));
        let sleeper = scheduler.spawn(async move {
            poll_fn(|context| {
                *place.lock().unwrap() = Some(context.waker().clone());
                Poll::<()>::Pending
            })
            .await;
            citizen.finish();
        });
        wait_until(|| kept.lock().unwrap().is_some(), || "no waker".to_owned());
        drop(scheduler);
        let waker = kept.lock().unwrap().take().unwrap();
        waker.wake_by_ref();
        waker.clone().wake_by_ref();
        drop(waker);
        assert!(sleeper.join().unwrap_err().is_cancelled());
        let late = census.citizen();
        assert!(
            handle
                .spawn(async move { late.finish() })
                .join()
                .unwrap_err()
                .is_cancelled()
        );
        let late = census.citizen();
        assert!(
            handle
                .spawn_blocking(move || late.finish())
                .join()
                .unwrap_err()
                .is_cancelled()
        );
        assert_eq!(handle.block_on(async { 5 }), 5, "it needs no worker");
        census.assert_none_is_left();
        assert_eq!(census.finished(), 0);
    });
}

/// Threads spawn and wake all the time while the scheduler ends at a random moment.
#[test]
fn t1_the_end_at_a_random_moment_with_foreign_wakes_and_spawns() {
    for round in 0..60 * soak() as u64 {
        let census = Census::default();
        let scheduler = workers(1 + round as usize % 3);
        let stop = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (handle, census, stop) = (
                    scheduler.handle().clone(),
                    census.clone(),
                    Arc::clone(&stop),
                );
                std::thread::spawn(move || disturb(&handle, &census, &stop))
            })
            .collect();
        std::thread::sleep(Duration::from_micros(round * 37 % 900));
        if round % 2 == 0 {
            drop(scheduler);
        } else {
            let _report =
                scheduler.shutdown(Shutdown::DrainFor(Duration::from_micros(round * 13 % 500)));
        }
        stop.store(true, Ordering::SeqCst);
        for thread in threads {
            thread.join().unwrap();
        }
        // A drain that ran out of time does not wait for tasks that are running.
        wait_until(
            || census.born() == census.died(),
            || format!("{} of {}", census.died(), census.born()),
        );
    }
}

fn disturb(handle: &Handle, census: &Census, stop: &AtomicBool) {
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    while !stop.load(Ordering::SeqCst) {
        let (citizen, place) = (census.citizen(), Arc::clone(&wakers));
        let mut polls = 0;
        handle.spawn_detached(async move {
            poll_fn(move |context| {
                polls += 1;
                if polls > 2 {
                    return Poll::Ready(());
                }
                place.lock().unwrap().push(context.waker().clone());
                Poll::Pending
            })
            .await;
            citizen.finish();
        });
        let woken = std::mem::take(&mut *wakers.lock().unwrap());
        woken.into_iter().for_each(Waker::wake);
    }
    // Their tasks are gone with the scheduler; the wakers are what is left of them.
    wakers.lock().unwrap().clear();
}

/// A chain of sleeping tasks, each of which wakes and spawns when it is destroyed: the end must
/// neither recurse nor forget.
#[test]
fn destructors_that_spawn_and_wake_at_the_end_do_not_pile_frames() {
    struct SpawnOnDrop(Handle, Option<support::Citizen>, u32);
    impl Drop for SpawnOnDrop {
        fn drop(&mut self) {
            let Some(citizen) = self.1.take() else { return };
            let next = (self.2 > 0).then(|| Self(self.0.clone(), Some(citizen), self.2 - 1));
            self.0.spawn_detached(async move {
                let _held = next;
                pending::<()>().await;
            });
        }
    }
    with_each(|count| {
        let census = Census::default();
        let scheduler = workers(count);
        let bomb = SpawnOnDrop(scheduler.handle().clone(), Some(census.citizen()), 100_000);
        scheduler.spawn_detached(async move {
            let _held = bomb;
            pending::<()>().await;
        });
        drop(scheduler);
        census.assert_none_is_left();
    });
}

#[test]
fn t11_spawns_from_the_destructors_of_thread_locals() {
    struct SpawnAtExit(Handle, Option<support::Citizen>);
    impl Drop for SpawnAtExit {
        fn drop(&mut self) {
            let Some(citizen) = self.1.take() else { return };
            self.0.spawn_detached(async move { citizen.finish() });
        }
    }
    thread_local! {
        static AT_EXIT: std::cell::RefCell<Option<SpawnAtExit>> = const { std::cell::RefCell::new(None) };
    }
    let census = Census::default();
    let scheduler = workers(2);
    // On a thread of the user's: the scheduler lives, the task runs.
    let bomb = SpawnAtExit(scheduler.handle().clone(), Some(census.citizen()));
    std::thread::spawn(move || AT_EXIT.set(Some(bomb)))
        .join()
        .unwrap();
    wait_until(|| census.finished() == 1, || "not run".to_owned());
    // On the workers' own threads: the scheduler has ended, the tasks are cancelled.
    let meeting = Arc::new(Barrier::new(2));
    for _ in 0..2 {
        let bomb = SpawnAtExit(scheduler.handle().clone(), Some(census.citizen()));
        let meeting = Arc::clone(&meeting);
        scheduler.spawn_detached(async move {
            meeting.wait();
            AT_EXIT.set(Some(bomb));
        });
    }
    wait_until(
        || scheduler.metrics().total().tasks_run >= 3,
        || "not run".to_owned(),
    );
    let _report = scheduler.shutdown(Shutdown::Drain);
    census.assert_none_is_left();
    assert_eq!(census.finished(), 1);
}

#[test]
fn idle_schedulers_come_and_go() {
    for round in 0..50 * soak() {
        drop(Builder::new().parallelism(1 + round % 8).build().unwrap());
    }
    with_workers(&[4], |scheduler| assert_eq!(scheduler.parallelism(), 4));
}

fn with_each(test: impl Fn(usize)) {
    for count in [1, 2, 4] {
        test(count);
    }
}
