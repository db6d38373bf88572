//! Goal: a panic of the user's code ends the task it happened in and nothing else.
//! Method: panics in polls, destructors, outputs and hooks, among tasks that must all finish.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stealyard::Builder;
use support::{Census, wait_until, with_workers};

/// The messages of the many panics here are silenced.
fn silence() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info
                .payload_as_str()
                .is_none_or(|text| !text.starts_with("on purpose"))
            {
                loud(info);
            }
        }));
    });
}

#[test]
fn a_panic_in_one_task_touches_no_other() {
    silence();
    with_workers(&[1, 2, 8], |scheduler| {
        let census = Census::default();
        let handles: Vec<_> = (0..5_000)
            .map(|n| {
                let citizen = census.citizen();
                scheduler.spawn(async move {
                    stealyard::yield_now().await;
                    assert!(n % 3 != 0, "on purpose");
                    citizen.finish();
                    n
                })
            })
            .collect();
        for (n, handle) in handles.into_iter().enumerate() {
            match handle.join() {
                Ok(value) => assert_eq!(value, n),
                Err(error) => {
                    assert!(error.is_panic() && n % 3 == 0, "{error}");
                    assert!(error.to_string().contains("on purpose"));
                }
            }
        }
        wait_until(|| census.born() == census.died(), || "leak".to_owned());
        assert_eq!(census.finished(), 3_333);
        assert_eq!(scheduler.metrics().panics, 1_667);
    });
}

#[test]
fn the_hook_sees_every_panic_and_may_panic_itself() {
    silence();
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let scheduler = Builder::new()
        .parallelism(2)
        .on_task_panic(move |payload| {
            assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
            counter.fetch_add(1, Ordering::SeqCst);
            panic!("on purpose, in the hook");
        })
        .build()
        .unwrap();
    for _ in 0..10 {
        scheduler.spawn_detached(async { panic!("on purpose") });
        assert!(
            scheduler
                .spawn_blocking(|| panic!("on purpose"))
                .join()
                .unwrap_err()
                .is_panic()
        );
    }
    wait_until(|| seen.load(Ordering::SeqCst) == 20, || format!("{seen:?}"));
    assert_eq!(scheduler.spawn(async { 1 }).join().unwrap(), 1);
}

#[test]
fn t5_panics_in_destructors_and_outputs_end_no_worker() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("on purpose, in a destructor");
            }
        }
    }
    silence();
    with_workers(&[1, 2], |scheduler| {
        for _ in 0..50 {
            let bomb = Bomb;
            let in_future = scheduler.spawn(async move { drop(bomb) });
            assert!(in_future.join().unwrap_err().is_panic());
            scheduler.spawn_detached(async { Bomb });
            let bomb = Bomb;
            let aborted = scheduler.spawn(async move {
                let _held = bomb;
                std::future::pending::<()>().await;
            });
            aborted.abort();
            assert!(aborted.join().is_err());
        }
        // All workers are still there.
        wait_until(
            || scheduler.idle().joined() == scheduler.parallelism(),
            || format!("{:?}", scheduler.idle()),
        );
        assert_eq!(scheduler.spawn(async { 1 }).join().unwrap(), 1);
    });
}

#[test]
fn install_and_block_on_pass_the_panic_on_to_the_caller() {
    silence();
    with_workers(&[1, 2], |scheduler| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            scheduler.install(|| panic!("on purpose"))
        }));
        assert_eq!(
            caught.unwrap_err().downcast_ref::<&str>(),
            Some(&"on purpose")
        );
        let caught = catch_unwind(AssertUnwindSafe(|| {
            scheduler.block_on(async { panic!("on purpose") })
        }));
        assert_eq!(
            caught.unwrap_err().downcast_ref::<&str>(),
            Some(&"on purpose")
        );
        // The thread is not taken for a worker or a guest afterwards.
        assert!(stealyard::Handle::current().is_err());
        assert_eq!(scheduler.install(|| 3), 3);
    });
}

#[test]
fn a_nested_block_on_says_what_to_do() {
    silence();
    with_workers(&[1, 2], |scheduler| {
        let handle = scheduler.handle().clone();
        let nested = scheduler.spawn(async move { handle.block_on(async { 1 }) });
        let message = nested.join().unwrap_err().to_string();
        assert!(
            message.contains("block_on was called inside a task"),
            "{message}"
        );
        assert!(
            message.contains("`.await`") && message.contains("spawn_blocking"),
            "{message}"
        );
    });
}

/// Through the other scheduler and back the only worker would wait for itself.
#[test]
fn install_inside_a_task_of_another_scheduler_says_what_to_do() {
    silence();
    with_workers(&[1, 2], |one| {
        with_workers(&[1, 2], |two| {
            let there_and_back = {
                let (one, two) = (one.handle().clone(), two.handle().clone());
                move || two.install(|| one.install(|| 1))
            };
            let inside = there_and_back.clone();
            let task = one.spawn(async move { inside() });
            wait_until(|| task.is_finished(), || "install".to_owned());
            let message = task.join().unwrap_err().to_string();
            assert!(
                message.contains("install was called inside a task of another scheduler"),
                "{message}"
            );
            assert!(
                message.contains("`.await`") && message.contains("spawn_blocking"),
                "{message}"
            );
            // A thread that may block may wait for another scheduler; that one's worker may not, in
            // turn.
            let two = two.handle().clone();
            let call = one.spawn_blocking(move || two.install(|| 2));
            assert_eq!(call.join().unwrap(), 2);
            let call = one.spawn_blocking(there_and_back);
            assert!(call.join().unwrap_err().is_panic());
        });
    });
}

#[test]
fn spawning_where_there_is_no_scheduler_says_what_to_do() {
    silence();
    let caught = catch_unwind(|| drop(stealyard::spawn(async {})));
    let message = caught
        .unwrap_err()
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_default();
    assert!(message.contains("Handle"), "{message}");
}

/// A policy of the user's that panics costs time, but no worker, no task and no end.
#[test]
fn a_policy_that_panics_costs_no_worker_and_no_task() {
    #[derive(Debug)]
    struct Bad;
    impl stealyard::StealPolicy for Bad {
        fn victim(&self, _turn: &mut stealyard::policy::Turn<'_>) -> Option<usize> {
            panic!("on purpose, in a policy");
        }
    }
    silence();
    let census = Census::default();
    let scheduler = Builder::new()
        .parallelism(2)
        .steal_policy(Bad)
        .build()
        .unwrap();
    for _ in 0..100 {
        let citizen = census.citizen();
        scheduler.spawn_detached(async move { citizen.finish() });
    }
    wait_until(
        || census.finished() == 100,
        || format!("{} ran", census.finished()),
    );
    wait_until(
        || scheduler.idle().joined() == 2 && scheduler.metrics().panics > 0,
        || format!("{:?}", scheduler.metrics()),
    );
    drop(scheduler);
    census.assert_none_is_left();
}
