//! Goal: blocking calls run beside the tasks, give their values, nest, and stop no worker.
//! Method: calls that wait for each other, and for tasks; more calls than threads.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::sync::{Arc, Barrier};

use stealyard::{Builder, Handle};
use support::with_workers;

#[test]
fn a_blocking_call_gives_its_value_or_its_panic() {
    with_workers(&[1, 2], |scheduler| {
        assert_eq!(scheduler.spawn_blocking(|| 7).join().unwrap(), 7);
        let inside = scheduler.spawn(async { stealyard::spawn_blocking(|| 8).await.unwrap() });
        assert_eq!(inside.join().unwrap(), 8);
    });
}

#[test]
fn blocking_calls_run_at_the_same_time_and_beside_the_worker() {
    with_workers(&[1], |scheduler| {
        // They end only if all run at once, while the only worker runs a task.
        let meeting = Arc::new(Barrier::new(10));
        let calls: Vec<_> = (0..10)
            .map(|_| {
                let meeting = Arc::clone(&meeting);
                scheduler.spawn_blocking(move || meeting.wait().is_leader())
            })
            .collect();
        assert_eq!(scheduler.spawn(async { 1 }).join().unwrap(), 1);
        for call in calls {
            call.join().unwrap();
        }
    });
}

#[test]
fn w8_three_deep_nesting_leaves_everything_in_order() {
    with_workers(&[1, 2], |scheduler| {
        let handle = scheduler.handle().clone();
        let deep = scheduler.spawn_blocking(move || {
            handle.block_on(async {
                stealyard::spawn_blocking(|| {
                    Handle::current().unwrap().block_on(async {
                        stealyard::spawn_blocking(|| 1).await.unwrap()
                            + stealyard::spawn(async { 2 }).await.unwrap()
                    })
                })
                .await
                .unwrap()
            })
        });
        assert_eq!(deep.join().unwrap(), 3);
        let tasks: Vec<_> = (0..10_000_u64)
            .map(|n| scheduler.spawn(async move { n }))
            .collect();
        let sum: u64 = tasks.into_iter().map(|task| task.join().unwrap()).sum();
        assert_eq!(sum, 49_995_000);
    });
}

#[test]
fn w7_a_yield_before_a_block_does_not_hold_back_the_others() {
    with_workers(&[2], |scheduler| {
        let (open, opened) = std::sync::mpsc::channel();
        // The task blocks its worker until another task, made ready just before, has run elsewhere.
        let task = scheduler.spawn(async move {
            stealyard::spawn_detached(async {});
            stealyard::spawn_detached(async move { open.send(()).unwrap() });
            stealyard::yield_now().await;
            opened.recv().unwrap();
        });
        task.join().unwrap();
    });
}

#[test]
fn more_calls_than_threads_wait_their_turn() {
    let scheduler = Builder::new()
        .parallelism(1)
        .blocking_threads_max(2)
        .build()
        .unwrap();
    let calls: Vec<_> = (0..200)
        .map(|n| scheduler.spawn_blocking(move || n))
        .collect();
    let sum: i32 = calls.into_iter().map(|call| call.join().unwrap()).sum();
    assert_eq!(sum, 19_900);
    assert!(scheduler.metrics().blocking_threads <= 2);
}

#[test]
fn a_blocking_call_may_wait_for_tasks() {
    with_workers(&[1, 2], |scheduler| {
        let handle = scheduler.handle().clone();
        let call = scheduler.spawn_blocking(move || {
            let tasks: Vec<_> = (0..10).map(|n| handle.spawn(async move { n })).collect();
            tasks
                .into_iter()
                .map(|task| task.join().unwrap())
                .sum::<i32>()
        });
        assert_eq!(call.join().unwrap(), 45);
        let handle = scheduler.handle().clone();
        let call = scheduler.spawn_blocking(move || {
            let inside = handle.install(|| stealyard::join(|| 1, || 2));
            (inside, handle.block_on(handle.spawn(async { 3 })).unwrap())
        });
        assert_eq!(call.join().unwrap(), ((1, 2), 3));
    });
}
