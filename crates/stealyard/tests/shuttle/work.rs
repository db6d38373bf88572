//! Goal: in every schedule each task runs exactly once and gives its value, wherever it was
//! spawned, stolen or woken; a wake, a blocking call, an abort, a join and a job of a scope are
//! never lost or doubled.
//!
//! Method: small schedulers of all kinds; every task has a place in a ledger that must add up. A
//! lost task or wake leaves a thread waiting, which shuttle reports as a deadlock.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use stealyard::{Handle, JoinError, Place};
use stealyard::{Scope, Shutdown, join, scope};
use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::replay::{check, pick};
use stealyard_sync::{Condvar, Mutex, thread};

use crate::ledger::{Bell, EVERY_DAY, Ledger, any};

/// One task that ends with two of its own: one that it waits for, one that it does not.
async fn parent(ledger: Ledger, first: usize) {
    let entry = ledger.entry(first);
    let (awaited, detached) = (ledger.entry(first + 1), ledger.entry(first + 2));
    stealyard::spawn_detached(async move { detached.ran() });
    let child = stealyard::spawn(async move { awaited.ran() });
    child.await.unwrap();
    entry.ran();
}

#[test]
fn spawn() {
    check("spawn", EVERY_DAY, || {
        let ledger = Ledger::new(9);
        let scheduler = any(1 + pick(3)).build().unwrap();
        let other = {
            let (handle, ledger) = (scheduler.handle().clone(), ledger.clone());
            thread::spawn(move || {
                handle.spawn_detached(parent(ledger.clone(), 0));
                handle.spawn(parent(ledger, 3)).join().unwrap();
            })
        };
        scheduler.block_on(parent(ledger.clone(), 6));
        other.join().unwrap();
        let report = scheduler.shutdown(Shutdown::Drain);
        assert_eq!((report.cancelled, report.workers_running), (0, 0));
        ledger.all_ran();
    });
}

/// One worker's queue is full of tasks, some of which yield; the others steal.
#[test]
fn steal() {
    // Outside the schedules, so not of the scheduler's own kind.
    static STOLEN: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    check("steal", EVERY_DAY, || {
        let ledger = Ledger::new(7);
        let scheduler = any(2 + pick(2)).build().unwrap();
        let own = ledger.clone();
        let sum = scheduler.spawn(async move {
            let entry = own.entry(0);
            let tasks: Vec<_> = (1..7)
                .map(|place| {
                    let entry = own.entry(place);
                    stealyard::spawn(async move {
                        if place % 2 == 0 {
                            stealyard::yield_now().await;
                        }
                        entry.ran();
                        place
                    })
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            entry.ran();
            sum
        });
        assert_eq!(sum.join().unwrap(), 21);
        let total = scheduler.metrics().total();
        assert!(total.tasks_stolen >= total.steals_done.min(1), "{total:?}");
        STOLEN.fetch_add(total.tasks_stolen, Ordering::Relaxed);
        drop(scheduler);
        ledger.all_ran();
    });
    // One schedule that is replayed may have none.
    let stolen = STOLEN.load(Ordering::Relaxed);
    let replayed = std::env::var_os("STEALYARD_REPLAY").is_some();
    assert!(stolen > 0 || replayed, "nothing was stolen in any schedule");
    println!("steal: {stolen} tasks stolen in all schedules");
}

/// Tasks that would rather run on one worker, and tasks that must, woken from elsewhere; then the
/// end, in two manners.
#[test]
fn place() {
    check("place", EVERY_DAY, || {
        let ledger = Ledger::new(4);
        let scheduler = any(1 + pick(3)).build().unwrap();
        let bell = Bell::default();
        let hint = Place::Worker(pick(scheduler.parallelism()));
        let (entry, own, rung) = (ledger.entry(0), ledger.clone(), bell.clone());
        let hinted = scheduler.spawn_on(hint, async move {
            let (bound, late) = (own.entry(1), own.entry(2));
            let here = thread::current().id();
            // Not `Send`, on purpose.
            let local = std::rc::Rc::new(());
            let task = stealyard::spawn_local(async move {
                rung.rung(1).await;
                assert_eq!(thread::current().id(), here, "it is bound");
                drop(local);
                bound.ran();
            });
            stealyard::spawn_detached(async move {
                stealyard::yield_now().await;
                late.ran();
            });
            entry.ran();
            drop(task);
        });
        let other = {
            let (handle, entry) = (scheduler.handle().clone(), ledger.entry(3));
            thread::spawn(move || {
                bell.ring();
                let last = Place::Worker(handle.parallelism() - 1);
                drop(handle.spawn_on(last, async move { entry.ran() }).unwrap());
            })
        };
        hinted.unwrap().join().unwrap();
        other.join().unwrap();
        if pick(2) == 0 {
            let report = scheduler.shutdown(Shutdown::Drain);
            assert_eq!((report.cancelled, report.tasks_left), (0, 0));
            ledger.all_ran();
        } else {
            drop(scheduler);
            assert!(ledger.settle() >= 1, "the first one ran");
        }
    });
}

/// Rings from foreign threads and from tasks, while workers fall asleep and wake.
#[test]
fn wake() {
    check("wake", EVERY_DAY, || {
        let ledger = Ledger::new(3);
        let scheduler = any(1 + pick(3)).build().unwrap();
        let (there, back, foreign) = (Bell::default(), Bell::default(), Bell::default());
        let player = |place: usize, own: &Bell, other: &Bell| {
            let (entry, own, other) = (ledger.entry(place), own.clone(), other.clone());
            scheduler.spawn(async move {
                for round in 1..=2 {
                    if place == 0 {
                        other.ring();
                        own.rung(round).await;
                    } else {
                        own.rung(round).await;
                        other.ring();
                    }
                }
                entry.ran();
            })
        };
        let players = [player(0, &there, &back), player(1, &back, &there)];
        let (entry, bell) = (ledger.entry(2), foreign.clone());
        let waiting = scheduler.spawn(async move {
            bell.rung(4).await;
            entry.ran();
        });
        let ringers: Vec<_> = (0..2)
            .map(|_| {
                let bell = foreign.clone();
                thread::spawn(move || {
                    bell.ring();
                    bell.ring();
                })
            })
            .collect();
        for task in players {
            task.join().unwrap();
        }
        waiting.join().unwrap();
        for ringer in ringers {
            ringer.join().unwrap();
        }
        let report = scheduler.shutdown(Shutdown::Cancel);
        assert_eq!(report.workers_running, 0);
        ledger.all_ran();
    });
}

/// Blocking calls from outside and inside, that wait for tasks and for each other, with one or two
/// threads.
#[test]
fn block() {
    check("block", EVERY_DAY, || {
        let ledger = Ledger::new(6);
        let scheduler = any(1 + pick(2)).build().unwrap();
        let (entry, inner) = (ledger.entry(0), ledger.entry(1));
        let handle = scheduler.handle().clone();
        let outside = scheduler.spawn_blocking(move || {
            // The thread is a guest: it may block on a task, and spawn.
            let task = handle.spawn(async move {
                inner.ran();
                1
            });
            let answer = task.join().unwrap();
            entry.ran();
            answer
        });
        let (entry, inner) = (ledger.entry(2), ledger.entry(3));
        let inside = scheduler.spawn(async move {
            let call = stealyard::spawn_blocking(move || {
                inner.ran();
                2
            });
            let answer = call.await.unwrap();
            entry.ran();
            answer
        });
        let (entry, inner) = (ledger.entry(4), ledger.entry(5));
        let blocked = scheduler.block_on(async move {
            let call = stealyard::spawn_blocking(move || {
                let task = Handle::current().unwrap().block_on(async { 3 });
                inner.ran();
                task
            });
            let answer = call.await.unwrap();
            entry.ran();
            answer
        });
        assert_eq!(
            (outside.join().unwrap(), inside.join().unwrap(), blocked),
            (1, 2, 3)
        );
        let report = scheduler.shutdown(Shutdown::Drain);
        assert_eq!((report.cancelled, report.blocking_running), (0, 0));
        ledger.all_ran();
    });
}

/// Wakes, aborts and dropped handles meet tasks that are queued, running, asleep and ending.
#[test]
fn abort() {
    check("abort", EVERY_DAY, || {
        let ledger = Ledger::new(8);
        let scheduler = any(1 + pick(2)).build().unwrap();
        let bells: Vec<Bell> = (0..4).map(|_| Bell::default()).collect();
        let mut handles: Vec<_> = bells
            .iter()
            .enumerate()
            .map(|(place, bell)| {
                let (entry, output, rung) = (
                    ledger.entry(2 * place),
                    ledger.entry(2 * place + 1),
                    bell.rung(1),
                );
                scheduler.spawn(async move {
                    rung.await;
                    entry.ran();
                    output
                })
            })
            .collect();
        let ringer = thread::spawn(move || bells.iter().for_each(Bell::ring));
        let (dropped, last) = (handles.pop().unwrap(), handles.pop().unwrap());
        let other = thread::spawn(move || {
            dropped.abort();
            drop(dropped);
            // This one is only detached: it ends by its bell.
            drop(last);
        });
        for (at, handle) in handles.into_iter().enumerate() {
            if at == 0 {
                handle.abort();
            }
            match handle.join() {
                Ok(output) => output.ran(),
                Err(JoinError::Cancelled) => assert_eq!(at, 0, "nobody aborted it"),
                Err(error) => panic!("{error}"),
            }
        }
        ringer.join().unwrap();
        other.join().unwrap();
        let report = scheduler.shutdown(Shutdown::Drain);
        assert_eq!(report.cancelled, 0, "rung or aborted, each task has ended");
        let ran = ledger.settle();
        assert!((3..=6).contains(&ran), "{ran}");
    });
}

/// Joins and scopes inside tasks and `install`, with halves that panic.
#[test]
fn join_and_scope() {
    fn sum(ledger: &Ledger, range: core::ops::Range<usize>) -> usize {
        if range.len() == 1 {
            ledger.entry(range.start).ran();
            return range.start;
        }
        let middle = range.start + range.len() / 2;
        let (left, right) = join(
            || sum(ledger, range.start..middle),
            || sum(ledger, middle..range.end),
        );
        left + right
    }
    check("join", EVERY_DAY, || {
        let (ledger, scoped) = (Ledger::new(5), Ledger::new(4));
        let scheduler = any(2 + pick(2)).build().unwrap();
        let other = {
            let (handle, scoped) = (scheduler.handle().clone(), scoped.clone());
            thread::spawn(move || {
                let count = AtomicUsize::new(0);
                handle.install(|| {
                    scope(|scope| {
                        for place in [0, 2] {
                            let (scoped, count) = (&scoped, &count);
                            scope.spawn(move |scope| {
                                scoped.entry(place).ran();
                                scope.spawn(move |_| {
                                    scoped.entry(place + 1).ran();
                                    // Ordering: Relaxed; shuttle is sequentially consistent.
                                    count.fetch_add(1, Ordering::Relaxed);
                                });
                            });
                        }
                    });
                });
                // Ordering: Relaxed; as above.
                assert_eq!(count.load(Ordering::Relaxed), 2, "the scope waited");
            })
        };
        assert_eq!(scheduler.install(|| sum(&ledger, 0..5)), 10);
        // Neither half is left running when the other panics.
        let (half, panics) = (Ledger::new(1), pick(2));
        let result = catch_unwind(AssertUnwindSafe(|| {
            scheduler.install(|| {
                let fails = |wanted| {
                    if panics == wanted {
                        resume_unwind(Box::new("on purpose"));
                    }
                };
                let entry = half.entry(0);
                join(
                    || fails(0),
                    || {
                        fails(1);
                        entry.ran();
                    },
                )
            })
        }));
        assert!(result.is_err());
        half.settle();
        other.join().unwrap();
        drop(scheduler);
        ledger.all_ran();
        scoped.all_ran();
    });
}

/// Scopes whose bodies block until each job has run, one inside another and one in a task at the
/// same time if there is a third worker. A job of which no worker is told is waited for for ever.
#[test]
fn pipeline() {
    fn through(ledger: &Ledger, places: core::ops::Range<usize>) {
        let (gate, opened) = (&Mutex::new(0), &Condvar::new());
        scope(|scope| {
            for (before, place) in places.enumerate() {
                let job = move |_: &Scope<'_>| {
                    ledger.entry(place).ran();
                    *gate.lock().unwrap() += 1;
                    opened.notify_one();
                };
                scope.spawn(job);
                let mut ran = gate.lock().unwrap();
                while *ran <= before {
                    ran = opened.wait(ran).unwrap();
                }
            }
        });
    }
    check("pipeline", EVERY_DAY, || {
        let (ledger, count) = (Ledger::new(9), 2 + pick(2));
        let scheduler = any(count).build().unwrap();
        let beside = (count > 2).then(|| {
            let ledger = ledger.clone();
            scheduler.spawn(async move { through(&ledger, 0..3) })
        });
        if beside.is_none() {
            (0..3).for_each(|place| ledger.entry(place).ran());
        }
        scheduler.install(|| {
            through(&ledger, 3..5);
            // The tickets of a scope that has ended are about.
            scope(|scope| {
                scope.spawn(|_| ledger.entry(5).ran());
                scope.spawn(|_| ledger.entry(6).ran());
                through(&ledger, 7..9);
            });
        });
        if let Some(beside) = beside {
            beside.join().unwrap();
        }
        let report = scheduler.shutdown(Shutdown::Drain);
        assert_eq!(report.cancelled, 0);
        ledger.all_ran();
    });
}
