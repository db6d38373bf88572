//! Goal: in every schedule, however a scheduler ends and however few threads it gets, each task is
//! run or cancelled, nothing leaks, and no thread waits for ever.
//!
//! Method: tasks queued, running and asleep, and others spawned and woken while the scheduler ends,
//! from inside or outside; a ledger of the tasks that ran and that were dropped. A thread that
//! waits for ever is a deadlock to shuttle.

use core::future::pending;

use stealyard::{JoinError, Shutdown};
use stealyard_sync::Mutex;
use stealyard_sync::replay::{check, pick};
use stealyard_sync::thread::{self, JoinHandle as ThreadHandle};
use stealyard_sync::time::Duration;

use crate::ledger::{Bell, EVERY_DAY, Ledger, any};

#[test]
fn shutdown() {
    check("shutdown", EVERY_DAY, || {
        let ledger = Ledger::new(7);
        let scheduler = any(1 + pick(2)).build().unwrap();
        let bell = Bell::default();
        let tasks: Vec<_> = (0..2)
            .map(|place| {
                let entry = ledger.entry(place);
                scheduler.spawn(async move { entry.ran() })
            })
            .collect();
        let (sleeper, woken) = (ledger.entry(2), ledger.entry(3));
        let asleep = scheduler.spawn(async move {
            pending::<()>().await;
            sleeper.ran();
        });
        let rung = bell.rung(1);
        scheduler.spawn_detached(async move {
            rung.await;
            woken.ran();
        });
        let call = ledger.entry(4);
        let call = scheduler.spawn_blocking(move || call.ran());
        let other = {
            let (handle, late, later) =
                (scheduler.handle().clone(), ledger.entry(5), ledger.entry(6));
            thread::spawn(move || {
                let late = handle.spawn(async move { late.ran() });
                bell.ring();
                handle.spawn_detached(async move { later.ran() });
                drop(handle);
                late.join().is_ok()
            })
        };
        let how = [
            Shutdown::Drain,
            Shutdown::Cancel,
            Shutdown::DrainFor(Duration::ZERO),
            Shutdown::DrainFor(Duration::from_millis(1)),
            Shutdown::DrainFor(Duration::MAX),
        ][pick(5)];
        let report = scheduler.shutdown(how);
        assert!(matches!(asleep.join(), Err(JoinError::Cancelled)));
        let ran = tasks
            .into_iter()
            .map(stealyard::JoinHandle::join)
            .filter(Result::is_ok)
            .count();
        let called = call.join().is_ok();
        other.join().unwrap();
        if matches!(how, Shutdown::Drain | Shutdown::DrainFor(Duration::MAX)) {
            assert!(ran == 2 && called, "what could run did: {ran} {called}");
            assert_eq!((report.workers_running, report.blocking_running), (0, 0));
        }
        if how == Shutdown::Cancel {
            assert_eq!(report.workers_running, 0);
        }
        // With a time limit, the workers may still be at it.
        ledger.wait();
        assert!(ledger.settle() >= ran);
    });
}

/// A task that never rests, against a time limit: the drain ends, the task is cancelled.
#[test]
fn time_limit() {
    check("time_limit", EVERY_DAY, || {
        let ledger = Ledger::new(2);
        let scheduler = any(1 + pick(2)).build().unwrap();
        let (restless, quick) = (ledger.entry(0), ledger.entry(1));
        scheduler.spawn_detached(async move {
            loop {
                // The model's threads take turns by their own will where none sleeps.
                thread::yield_now();
                stealyard::yield_now().await;
                if false {
                    break;
                }
            }
            restless.ran();
        });
        let quick = scheduler.spawn(async move { quick.ran() });
        let _report = scheduler.shutdown(Shutdown::DrainFor(Duration::from_millis(2)));
        drop(quick.join());
        // Its worker may still be inside the last poll.
        ledger.wait();
        assert!(ledger.settle() <= 1);
    });
}

/// A scheduler that is ended by one of its own tasks, while others run and wake.
#[test]
fn end_from_inside() {
    check("end_from_inside", EVERY_DAY, || {
        let ledger = Ledger::new(4);
        let scheduler = any(1 + pick(2)).build().unwrap();
        let handle = scheduler.handle().clone();
        let bell = Bell::default();
        let (first, second, third) = (ledger.entry(0), ledger.entry(1), ledger.entry(2));
        let rung = bell.rung(1);
        let woken = handle.spawn(async move {
            rung.await;
            first.ran();
        });
        let how = [Shutdown::Drain, Shutdown::Cancel][pick(2)];
        let ender = handle.spawn(async move {
            let child = stealyard::spawn(async move { second.ran() });
            let _report = scheduler.shutdown(how);
            bell.ring();
            drop(child);
            third.ran();
        });
        ender.join().unwrap();
        let late = ledger.entry(3);
        let late = handle.spawn(async move { late.ran() });
        let (woken, late) = (woken.join().is_ok(), late.join().is_ok());
        drop(handle);
        ledger.wait();
        let ran = ledger.settle();
        assert!(ran > usize::from(woken) + usize::from(late), "{ran}");
    });
}

/// Refuses to start some of the threads.
struct Sparing(Mutex<Vec<bool>>);

impl stealyard_park::pool::Start for Sparing {
    fn start(
        &self,
        name: String,
        stack_size: Option<usize>,
        body: Box<dyn FnOnce() + Send>,
    ) -> std::io::Result<ThreadHandle<()>> {
        if self.0.lock().unwrap().pop().unwrap_or(false) {
            return Err(std::io::Error::other("no more threads"));
        }
        stealyard_park::pool::OsThreads.start(name, stack_size, body)
    }
}

/// Threads that do not start: those that do run everything, blocking calls as well.
#[test]
fn few_threads() {
    check("few_threads", EVERY_DAY, || {
        let ledger = Ledger::new(4);
        // Popped from the end: the first of two workers starts, what comes then may not.
        let plan = vec![pick(2) == 0, pick(2) == 0, pick(2) == 0, false];
        let scheduler = any(2).starter(Sparing(Mutex::new(plan))).build().unwrap();
        let (entry, inner) = (ledger.entry(0), ledger.entry(1));
        let task = scheduler.spawn(async move {
            stealyard::spawn(async move { inner.ran() }).await.unwrap();
            entry.ran();
        });
        let calls: Vec<_> = (2..4)
            .map(|place| {
                let entry = ledger.entry(place);
                scheduler.spawn_blocking(move || entry.ran())
            })
            .collect();
        task.join().unwrap();
        for call in calls {
            call.join().unwrap();
        }
        drop(scheduler);
        ledger.all_ran();
    });
}
