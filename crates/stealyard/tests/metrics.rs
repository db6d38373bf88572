//! Goal: the counters say what happened, hooks are called, and the trace line is printed.
//! Method: known loads; hooks that count; this binary run again with `STEALYARD_SCHEDTRACE`.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stealyard::Builder;
use support::{wait_until, workers};

#[test]
fn counts_add_up() {
    let scheduler = workers(2);
    let tasks: Vec<_> = (0..1_000).map(|_| scheduler.spawn(async {})).collect();
    for task in tasks {
        task.join().unwrap();
    }
    scheduler
        .spawn(async {
            for _ in 0..1_000 {
                stealyard::spawn(async {}).await.unwrap();
            }
        })
        .join()
        .unwrap();
    let metrics = scheduler.metrics();
    let total = metrics.total();
    assert_eq!(metrics.workers.len(), 2);
    assert_eq!(metrics.pushed_from_outside, 1_001);
    assert_eq!((total.spawned, total.tasks_injected), (1_000, 1_001));
    // Each spawn that is awaited is polled once and wakes its joiner, which is polled again, unless it was
    // finished elsewhere before it was awaited.
    assert!((2_001..=3_001).contains(&total.tasks_run), "{total:?}");
    assert!(total.poll_time.count() > 0 && total.poll_time.quantile(0.5).is_some());
    assert_eq!(metrics.injector_depth + total.queue_depth, 0);
}

#[test]
fn a_wake_of_a_sleeper_is_measured() {
    let scheduler = workers(1);
    let mut tries = 0;
    // A worker that says it sleeps may still take its last look, and find the task without a wake.
    while scheduler.metrics().total().woken_to_search < 20 {
        tries += 1;
        assert!(tries < 10_000, "{:?}", scheduler.metrics());
        wait_until(
            || scheduler.metrics().sleeping == 1,
            || format!("{:?}", scheduler.metrics()),
        );
        scheduler.spawn(async {}).join().unwrap();
    }
    let total = scheduler.metrics().total();
    assert_eq!(total.wake_to_run.count(), total.woken_to_search);
    assert!(total.parks >= total.woken_to_search);
}

#[test]
fn hooks_are_called_on_the_workers_and_may_panic() {
    let calls: Arc<[AtomicUsize; 4]> = Arc::default();
    let hook = |which: usize| {
        let calls = Arc::clone(&calls);
        move |worker: usize| {
            assert!(worker < 2);
            let name = std::thread::current().name().map(str::to_owned);
            assert_eq!(name, Some(format!("stealyard-{worker}")));
            calls[which].fetch_add(1, Ordering::SeqCst);
        }
    };
    let scheduler = Builder::new()
        .parallelism(2)
        .on_worker_start(hook(0))
        .on_worker_stop(hook(1))
        .on_park(hook(2))
        .on_unpark(hook(3))
        .build()
        .unwrap();
    wait_until(
        || scheduler.metrics().sleeping == 2,
        || format!("{:?}", scheduler.metrics()),
    );
    drop(scheduler);
    let count = |which: usize| calls[which].load(Ordering::SeqCst);
    assert_eq!((count(0), count(1)), (2, 2));
    assert!(
        count(2) >= 2 && count(2) == count(3),
        "{} parks, {} unparks",
        count(2),
        count(3)
    );
}

/// Run by the test below in a process of its own.
#[test]
#[ignore = "run by another test, with another environment"]
fn traced() {
    let scheduler = Builder::new()
        .name("traced")
        .parallelism(2)
        .build()
        .unwrap();
    scheduler.spawn(async {}).join().unwrap();
    std::thread::sleep(Duration::from_millis(100));
}

#[test]
fn a_line_is_printed_every_so_often() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "traced", "--nocapture"])
        .env("STEALYARD_SCHEDTRACE", "5")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("STEALYARD traced "))
        .collect();
    assert!(lines.len() >= 2, "{text}");
    let last = lines[lines.len() - 1];
    assert!(
        last.contains("parallelism=2 idle=2 ") && last.contains("global=0 [ 0 0 ] run=1 "),
        "{last}"
    );
}
