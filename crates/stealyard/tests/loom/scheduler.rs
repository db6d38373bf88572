//! Goal: a task that is spawned from outside is run or cancelled, whatever moment the scheduler
//! ends at, and a worker that is on its way to sleep is woken for it.
//!
//! Method: a whole scheduler with one worker; another thread spawns while the first one ends the
//! scheduler. A task that is forgotten leaves its joiner waiting, which loom reports as a deadlock,
//! or its value undropped, which loom reports as a leak.

use stealyard::{Builder, Shutdown};
use stealyard_sync::{model, thread};

#[test]
fn sd1_a_task_spawned_before_the_end_is_run_or_cancelled() {
    model::check(1, || {
        let scheduler = Builder::new().parallelism(1).build().unwrap();
        let task = scheduler.spawn(async { 1 });
        drop(scheduler);
        match task.join() {
            Ok(value) => assert_eq!(value, 1),
            Err(error) => assert!(error.is_cancelled()),
        }
    });
}

#[test]
fn lc2_a_task_spawned_during_the_end_is_run_or_cancelled() {
    model::check(1, || {
        let scheduler = Builder::new().parallelism(1).build().unwrap();
        let handle = scheduler.handle().clone();
        let other = thread::spawn(move || {
            let task = handle.spawn(async { 1 });
            drop(handle);
            task
        });
        let _report = scheduler.shutdown(Shutdown::Cancel);
        match other.join().unwrap().join() {
            Ok(value) => assert_eq!(value, 1),
            Err(error) => assert!(error.is_cancelled()),
        }
    });
}

/// A task that falls asleep, if it is run at all, on one of two workers that end.
#[test]
fn sd1_a_task_that_sleeps_on_either_worker_is_cancelled() {
    model::check(0, || {
        let scheduler = Builder::new().parallelism(2).build().unwrap();
        let asleep = scheduler.spawn(core::future::pending::<()>());
        drop(scheduler);
        assert!(asleep.join().unwrap_err().is_cancelled());
    });
}
