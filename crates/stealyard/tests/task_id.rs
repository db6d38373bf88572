//! Goal: a task's number is its own for the life of the process, the same wherever it is asked for,
//! and costs nothing until it is. An abort handle aborts, may go anywhere, and keeps neither future
//! nor output.
//!
//! Method: numbers asked for by handles, abort handles, the task itself and its panic, at once and
//! in any order, while memory is used again; abort handles of every kind of task, before, during
//! and after each of its stages.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::collections::HashSet;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use stealyard::{
    AbortHandle, Builder, JoinError, JoinHandle, TaskId, join, spawn_local, task_id, try_task_id,
};
use support::{Census, soak, wait_until, with_workers, workers};

#[test]
fn a_number_is_the_same_wherever_it_is_asked_for() {
    with_workers(&[1, 2], |scheduler| {
        for first in 0..4 {
            let go = Arc::new(AtomicBool::new(false));
            let gone = Arc::clone(&go);
            let task = scheduler.spawn(async move {
                while !gone.load(Ordering::Acquire) {
                    stealyard::yield_now().await;
                }
                let ids = [task_id(), try_task_id().unwrap(), task_id()];
                stealyard::yield_now().await;
                (ids, task_id())
            });
            let abort = task.abort_handle();
            let asked = match first {
                0 => Some(task.id()),
                1 => Some(abort.id()),
                2 => Some(abort.clone().id()),
                _ => None, // the task is the first
            };
            go.store(true, Ordering::Release);
            let (ids, later) = task.join().unwrap();
            assert!(ids.iter().all(|&id| id == later));
            assert!(asked.is_none_or(|id| id == later));
            assert_eq!(abort.id(), later, "also when the task has ended");
            assert_eq!(later.to_string(), later.as_u64().to_string());
        }
    });
}

#[test]
fn numbers_are_never_used_again_although_memory_is() {
    let (one, two) = (workers(2), workers(1));
    let seen = Mutex::new(HashSet::new());
    std::thread::scope(|threads| {
        for scheduler in [&one, &two, &one] {
            let seen = &seen;
            threads.spawn(move || {
                for round in 0..300 * soak() {
                    let tasks: Vec<_> = (0..10)
                        .map(|_| scheduler.spawn(async { try_task_id() }))
                        .collect();
                    let asked: Vec<_> = tasks.iter().map(JoinHandle::id).collect();
                    let inside: Vec<_> = tasks
                        .into_iter()
                        .map(|task| task.join().unwrap().unwrap())
                        .collect();
                    assert_eq!(asked, inside);
                    // Tasks that are asked for nothing use the same memory in between.
                    for _ in 0..round % 7 {
                        scheduler.spawn(async {}).join().unwrap();
                    }
                    let mut seen = seen.lock().unwrap();
                    assert!(
                        asked.into_iter().all(|id| seen.insert(id)),
                        "a number came twice"
                    );
                }
            });
        }
    });
}

#[test]
fn several_threads_ask_at_once_and_get_one_number() {
    let scheduler = workers(2);
    for _ in 0..200 * soak() {
        let task = scheduler.spawn(async {
            stealyard::yield_now().await;
            task_id()
        });
        let meeting = Barrier::new(3);
        let aborts: Vec<AbortHandle> = (0..3).map(|_| task.abort_handle()).collect();
        let ids: Vec<TaskId> = std::thread::scope(|threads| {
            let asking: Vec<_> = aborts
                .into_iter()
                .map(|abort| {
                    let meeting = &meeting;
                    threads.spawn(move || {
                        meeting.wait();
                        abort.id()
                    })
                })
                .collect();
            asking
                .into_iter()
                .map(|asking| asking.join().unwrap())
                .collect()
        });
        let inside = task.join().unwrap();
        assert!(ids.iter().all(|&id| id == inside), "{ids:?} {inside}");
    }
}

#[test]
fn every_kind_of_task_has_one_and_other_code_has_none() {
    assert_eq!(try_task_id(), None);
    assert!(catch_unwind(task_id).is_err());
    let scheduler = workers(2);
    assert_eq!(scheduler.block_on(async { try_task_id() }), None);
    let call = scheduler.spawn_blocking(task_id);
    let id = call.id();
    assert_eq!(call.join().unwrap(), id);
    assert!(scheduler.install(try_task_id).is_some());
    let task = scheduler.spawn(async {
        let own = task_id();
        let local = spawn_local(async { task_id() });
        let id = local.id();
        assert_eq!(local.await.unwrap(), id);
        assert_ne!(id, own);
        // This half is the task's own; the other may have been taken.
        let (first, second) = join(task_id, try_task_id);
        assert_eq!(first, own);
        assert!(second.is_none_or(|second| second == own));
        own
    });
    let id = task.id();
    assert_eq!(task.join().unwrap(), id);
}

#[test]
fn a_half_that_another_worker_takes_has_no_number() {
    let scheduler = workers(2);
    for _ in 0..20 {
        let taken = AtomicBool::new(false);
        let (own, other) = scheduler.install(|| {
            join(
                || {
                    wait_until(|| taken.load(Ordering::Acquire), || "a thief".to_owned());
                    try_task_id()
                },
                || {
                    taken.store(true, Ordering::Release);
                    try_task_id()
                },
            )
        });
        assert!(own.is_some());
        assert_eq!(other, None);
    }
}

#[test]
fn a_panic_knows_its_task_and_a_cancel_does_not() {
    let scheduler = workers(1);
    let task = scheduler.spawn(async { std::panic::panic_any("on purpose") });
    let id = task.id();
    let error = task.join().unwrap_err();
    assert_eq!(error.id(), Some(id));
    let JoinError::Panic(payload) = error else {
        panic!("it panicked");
    };
    assert_eq!(payload.id(), Some(id));
    let task = scheduler.spawn(pending::<()>());
    task.abort();
    assert_eq!(task.join().unwrap_err().id(), None);
}

#[test]
fn a_handle_that_gave_its_result_has_no_number_to_give() {
    let scheduler = workers(1);
    scheduler.block_on(async {
        let mut task = stealyard::spawn(async {});
        (&mut task).await.unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| task.id())).is_err());
        let abort = task.abort_handle();
        abort.abort();
        assert!(abort.is_finished());
        assert!(catch_unwind(AssertUnwindSafe(|| abort.id())).is_err());
    });
}

#[test]
fn an_abort_handle_aborts_from_anywhere_also_without_the_join_handle() {
    with_workers(&[1, 2], |scheduler| {
        let census = Census::default();
        let citizen = census.citizen();
        let task = scheduler.spawn(async move {
            pending::<()>().await;
            citizen.finish();
        });
        let abort = task.abort_handle();
        let other = abort.clone();
        assert!(!abort.is_finished());
        drop(task);
        std::thread::spawn(move || other.abort()).join().unwrap();
        wait_until(|| abort.is_finished(), || "the abort".to_owned());
        assert_eq!((census.died(), census.finished()), (1, 0));
        // In vain, and again.
        abort.abort();
        let kept = scheduler.spawn(async { 1 });
        let abort = kept.abort_handle();
        wait_until(|| kept.is_finished(), || "the task".to_owned());
        abort.abort();
        assert_eq!(kept.join().unwrap(), 1, "a result that is there stays");
    });
}

#[test]
fn a_local_task_is_aborted_from_another_thread_and_dropped_on_its_own() {
    struct Local(
        std::thread::ThreadId,
        Arc<AtomicBool>,
        std::marker::PhantomData<*const ()>,
    );
    impl Drop for Local {
        fn drop(&mut self) {
            let own = std::thread::current().id() == self.0;
            self.1.store(own, Ordering::SeqCst);
        }
    }
    let scheduler = workers(2);
    let right = Arc::new(AtomicBool::new(false));
    let dropped = Arc::clone(&right);
    let task = scheduler.spawn(async move {
        let local = Local(
            std::thread::current().id(),
            dropped,
            std::marker::PhantomData,
        );
        let task = spawn_local(async move {
            pending::<()>().await;
            drop(local);
        });
        task.abort_handle()
    });
    let abort = task.join().unwrap();
    let id = abort.id();
    abort.abort();
    wait_until(|| abort.is_finished(), || "the local task".to_owned());
    assert!(
        right.load(Ordering::SeqCst),
        "it was dropped on its own thread"
    );
    assert_eq!(abort.id(), id);
}

/// It outlives the scheduler, and keeps neither what the future held nor the output.
#[test]
fn an_abort_handle_keeps_neither_future_nor_output_nor_the_scheduler_running() {
    let census = Census::default();
    let mut aborts = Vec::new();
    let scheduler = workers(2);
    let (output, held, asleep) = (census.citizen(), census.citizen(), census.citizen());
    let ended = scheduler.spawn(async move {
        drop(held);
        output
    });
    aborts.push(ended.abort_handle());
    drop(ended.join().unwrap());
    let sleeping = scheduler.spawn(async move {
        pending::<()>().await;
        drop(asleep);
    });
    aborts.push(sleeping.abort_handle());
    let unwanted = {
        let output = census.citizen();
        scheduler.spawn(async move { output })
    };
    aborts.push(unwanted.abort_handle());
    wait_until(|| unwanted.is_finished(), || "the output".to_owned());
    drop(unwanted);
    let blocking = scheduler.spawn_blocking(|| 1);
    aborts.push(blocking.abort_handle());
    blocking.join().unwrap();
    drop(sleeping);
    drop(scheduler);
    census.assert_none_is_left();
    let ids: HashSet<_> = aborts.iter().map(AbortHandle::id).collect();
    assert_eq!(ids.len(), aborts.len());
    for abort in &aborts {
        assert!(abort.is_finished());
        abort.abort();
    }
    // The last reference to the scheduler's shared part may go on any thread.
    std::thread::spawn(move || drop(aborts)).join().unwrap();
}

/// Aborts race with wakes, ends and joins.
#[test]
fn t15_abort_handles_race_with_everything() {
    for count in [1, 2, 3] {
        let scheduler = Builder::new().parallelism(count).build().unwrap();
        let census = Census::default();
        for round in 0..300 * soak() {
            let tasks: Vec<_> = (0..8)
                .map(|_| {
                    let citizen = census.citizen();
                    scheduler.spawn(async move {
                        for _ in 0..round % 4 {
                            stealyard::yield_now().await;
                        }
                        citizen.finish();
                        task_id()
                    })
                })
                .collect();
            let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
            let aborting = std::thread::spawn(move || {
                for abort in aborts.iter().rev() {
                    abort.abort();
                    drop(abort.clone());
                }
                aborts.iter().map(AbortHandle::id).collect::<Vec<_>>()
            });
            let ended: Vec<_> = tasks.into_iter().map(JoinHandle::join).collect();
            let ids = aborting.join().unwrap();
            for (ended, id) in ended.into_iter().zip(ids) {
                match ended {
                    Ok(inside) => assert_eq!(inside, id),
                    Err(error) => assert!(error.is_cancelled()),
                }
            }
        }
        drop(scheduler);
        census.assert_none_is_left();
    }
}
