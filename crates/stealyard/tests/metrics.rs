//! Goal: the counters say what happened, hooks are called, and the trace line is printed. Method:
//! known loads, hooks that count, and this binary run again with `STEALYARD_SCHEDTRACE` and with
//! the builder's `schedtrace`.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::io::{BufRead, Read};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
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
    // Each spawn that is awaited is polled once and wakes its joiner, which is polled again, unless
    // it was finished elsewhere before it was awaited.
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

/// A worker that is told to stay until a flag is set, as a task.
async fn stay(gate: Arc<AtomicBool>) {
    while !gate.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
}

#[test]
fn a_wake_by_a_worker_and_the_search_that_follows_are_counted() {
    let parked = Arc::new(AtomicUsize::new(0));
    let (parks, unparks) = (Arc::clone(&parked), Arc::clone(&parked));
    let scheduler = Builder::new()
        .parallelism(2)
        .watch(Duration::MAX, Duration::MAX)
        .on_park(move |_| {
            parks.fetch_add(1, Ordering::SeqCst);
        })
        .on_unpark(move |_| {
            unparks.fetch_sub(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let (filled, stolen) = (Arc::default(), Arc::new(AtomicBool::new(false)));
    let (fill, steal) = (Arc::clone(&filled), Arc::clone(&stolen));
    let owner = scheduler.spawn(async move {
        stay(fill).await;
        let mark = Arc::clone(&steal);
        stealyard::spawn_detached(async move { mark.store(true, Ordering::SeqCst) });
        // Takes the slot, from where the first one goes to the queue, and the sleeper is woken.
        stealyard::spawn_detached(async {});
        stay(steal).await;
    });
    let total = || scheduler.metrics().total();
    // The other worker has had its last look, and is not on its way back.
    wait_until(
        || {
            let one_parked = parked.load(Ordering::SeqCst) == 1;
            total().tasks_run == 1 && one_parked && scheduler.metrics().searching == 0
        },
        || format!("{:?}", scheduler.metrics()),
    );
    let before = total();
    assert_eq!((before.wakes, before.steals_done), (0, 0));
    filled.store(true, Ordering::SeqCst);
    owner.join().unwrap();
    let after = total();
    assert_eq!(after.wakes, 1, "{after:?}");
    assert!(after.steals_done >= 1, "{after:?}");
    assert!(after.steals_tried > before.steals_tried, "{after:?}");
    assert!(after.searches > before.searches, "{after:?}");
    assert!(after.search_ns > before.search_ns, "{after:?}");
}

#[test]
fn takes_from_the_global_queue_and_from_the_slot_are_counted() {
    let scheduler = workers(1);
    for takes in 1..=10 {
        // One at a time, so each is a take of its own.
        scheduler.spawn(async {}).join().unwrap();
        let total = scheduler.metrics().total();
        assert_eq!((total.injector_takes, total.slot_hits), (takes, 0));
    }
    for hits in 1..=10 {
        // There is no other worker to take it from the slot.
        let outer = scheduler.spawn(async { stealyard::spawn_detached(async {}) });
        outer.join().unwrap();
        let tasks = 10 + 2 * hits;
        wait_until(
            || scheduler.metrics().total().tasks_run == tasks,
            || format!("{:?}", scheduler.metrics()),
        );
        let total = scheduler.metrics().total();
        assert_eq!((total.injector_takes, total.slot_hits), (10 + hits, hits));
    }
}

#[test]
fn blocking_threads_calls_that_wait_and_idle_threads_are_counted() {
    let builder = Builder::new().parallelism(1).blocking_threads_max(1);
    let keep = Duration::from_secs(3_600);
    let scheduler = builder.blocking_keep_alive(keep).build().unwrap();
    let blocking = || {
        let metrics = scheduler.metrics();
        let threads = (metrics.blocking_threads, metrics.blocking_idle);
        (threads, metrics.blocking_queued)
    };
    assert_eq!(blocking(), ((0, 0), 0));
    let (begun, has_begun) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let first = scheduler.spawn_blocking(move || {
        begun.send(()).unwrap();
        may_go.recv().unwrap();
    });
    has_begun.recv().unwrap();
    let others: Vec<_> = (0..3).map(|_| scheduler.spawn_blocking(|| ())).collect();
    assert_eq!(blocking(), ((1, 0), 3), "one runs and three wait");
    go.send(()).unwrap();
    for call in others.into_iter().chain([first]) {
        call.join().unwrap();
    }
    wait_until(
        || blocking() == ((1, 1), 0),
        || format!("{:?}", scheduler.metrics()),
    );
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

/// Runs until standard input ends; not for ever, so that the test that started it does not hang.
fn until_told(builder: Builder) {
    let scheduler = builder.name("traced").parallelism(2).build().unwrap();
    scheduler.spawn(async {}).join().unwrap();
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        tell.store(true, Ordering::SeqCst);
    });
    wait_until(|| told.load(Ordering::SeqCst), String::new);
}

/// Run by the tests below in a process of its own.
#[test]
#[ignore = "run by another test, with another environment"]
fn traced() {
    until_told(Builder::new());
}

/// Run by the test below in a process of its own.
#[test]
#[ignore = "run by another test, in a process of its own"]
fn traced_by_builder() {
    until_told(Builder::new().schedtrace(Duration::from_millis(5)));
}

/// The second and later lines of such a process, until one shows all at rest; that one.
fn line_of(child: &str, milliseconds: Option<&str>) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", child, "--nocapture"]);
    command.env_remove("STEALYARD_SCHEDTRACE");
    command.envs(milliseconds.map(|value| ("STEALYARD_SCHEDTRACE", value)));
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufReader::new(process.stderr.take().unwrap()).lines();
    let mut lines = lines
        .map(Result::unwrap)
        .filter(|line| line.starts_with("STEALYARD traced "))
        .skip(1);
    let at_rest = lines.find(|line| line.contains(" idle=2 ") && line.contains(" searching=0 "));
    drop(process.stdin.take());
    lines.for_each(drop);
    assert!(process.wait().unwrap().success());
    at_rest.expect("a line with all workers asleep")
}

/// All that is promised, in the promised order.
fn check_line(line: &str) {
    let (head, fields) = line.split_once(": ").unwrap();
    let age = head.strip_prefix("STEALYARD traced ").unwrap();
    assert!(age.strip_suffix("ms").unwrap().parse::<u64>().is_ok());
    let names: Vec<&str> = fields
        .split(' ')
        .filter_map(|field| Some(field.split_once('=')?.0))
        .collect();
    let promised = "parallelism idle threads searching blocking global run stolen parks";
    assert_eq!(names.join(" "), promised);
    assert!(fields.starts_with("parallelism=2 idle=2 threads=2 searching=0 blocking=0/0 "));
    assert!(fields.contains(" global=0 [ 0 0 ] run=1 stolen="), "{line}");
}

#[test]
fn a_line_is_printed_every_so_often_if_the_environment_says_so() {
    check_line(&line_of("traced", Some("5")));
}

#[test]
fn a_line_is_printed_every_so_often_if_the_builder_says_so() {
    check_line(&line_of("traced_by_builder", None));
}
