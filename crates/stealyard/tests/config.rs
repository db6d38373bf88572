//! Goal: bad input gets an error that names the field, the value and what would be right; threads
//! that can't be started cost parallelism and nothing else. Method: each bad value, a starter that
//! fails, and this test's own binary run again with another environment.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stealyard::{
    BuildError, Builder, Config, GlobalInterval, Handle, JoinError, LocalQueue, Placement,
    Scheduler, Shutdown, Topology,
};
use support::{Census, wait_until};

fn refused(builder: Builder, parts: &[&str]) {
    let message = match builder.build() {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{parts:?} was accepted"),
    };
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn values_that_make_no_sense_are_refused_by_name() {
    let new = Builder::new;
    refused(
        new().parallelism(0),
        &["parallelism is 0", "from 1 to 4096"],
    );
    refused(
        new().parallelism(1_000_000),
        &["parallelism is 1000000", "from 1 to 4096"],
    );
    refused(new().name("a\0b"), &["name", "zero"]);
    refused(new().stack_size(100), &["stack_size is 100", "16384"]);
    refused(
        new().local_queue(LocalQueue::Ring { capacity: 100 }),
        &["local_queue", "100", "power of two"],
    );
    refused(
        new().global_interval(GlobalInterval::Tasks(0)),
        &["global_interval", "Tasks(1)"],
    );
    refused(
        new().global_interval(GlobalInterval::Time(Duration::ZERO)),
        &["global_interval"],
    );
    refused(new().budget(0), &["budget is 0"]);
    refused(new().steal_passes(0), &["steal_passes is 0"]);
    refused(
        new().blocking_threads_max(0),
        &["blocking_threads_max is 0"],
    );
    refused(new().watch(Duration::ZERO, Duration::ZERO), &["watch_min"]);
    refused(new().schedtrace(Duration::ZERO), &["schedtrace"]);
}

#[test]
fn a_placement_that_is_impossible_is_refused() {
    let machine = Topology::synthetic("pack:1 core:2 pu:1").unwrap();
    let builder = Builder::new()
        .topology(machine)
        .placement(Placement::OnePerCore)
        .parallelism(3);
    refused(builder, &["placement", "3 workers"]);
}

#[test]
fn validate_builds_nothing() {
    assert!(Config::default().validate().is_ok());
    let config = Config {
        parallelism: Some(0),
        ..Config::default()
    };
    assert!(matches!(
        config.validate(),
        Err(BuildError::Config {
            field: "parallelism",
            ..
        })
    ));
}

/// Fails every start from the `from`-th to before the `until`-th.
#[derive(Debug)]
struct Flaky {
    starts: AtomicUsize,
    failing: std::ops::Range<usize>,
}

impl Flaky {
    fn new(failing: std::ops::Range<usize>) -> Self {
        Self {
            starts: AtomicUsize::new(0),
            failing,
        }
    }
}

impl stealyard_park::pool::Start for Flaky {
    fn start(
        &self,
        name: String,
        stack_size: Option<usize>,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<std::thread::JoinHandle<()>> {
        if self
            .failing
            .contains(&self.starts.fetch_add(1, Ordering::SeqCst))
        {
            return Err(io::Error::from_raw_os_error(11));
        }
        stealyard_park::pool::OsThreads.start(name, stack_size, body)
    }
}

#[test]
fn o1_no_thread_at_all_is_an_error() {
    let builder = Builder::new().parallelism(3).starter(Flaky::new(0..100));
    refused(
        builder,
        &["none of 3 worker threads", "os error 11", "ulimit -u"],
    );
}

#[test]
fn o1_fewer_threads_do_all_the_work() {
    for failing in [1..8, 0..3, 2..3] {
        let failed = failing.len();
        let census = Census::default();
        let scheduler = Builder::new()
            .parallelism(8)
            .starter(Flaky::new(failing))
            .build()
            .unwrap();
        assert_eq!(scheduler.idle().capacity(), 8);
        let handles: Vec<_> = (0..1_000)
            .map(|_| {
                let citizen = census.citizen();
                scheduler.spawn(async move {
                    let inner = stealyard::spawn(async move { citizen.finish() });
                    inner.await.unwrap();
                })
            })
            .collect();
        for handle in handles {
            handle.join().unwrap();
        }
        assert_eq!(census.finished(), 1_000);
        assert_eq!(scheduler.metrics().thread_start_failures, failed as u64);
        assert_eq!(scheduler.install(|| stealyard::join(|| 1, || 2)), (1, 2));
    }
}

#[test]
fn o1_blocking_calls_run_although_no_thread_for_them_can_be_started() {
    // Two workers start, nothing after that.
    let scheduler = Builder::new()
        .parallelism(2)
        .starter(Flaky::new(2..usize::MAX))
        .build()
        .unwrap();
    let handles: Vec<_> = (0..50)
        .map(|n| scheduler.spawn_blocking(move || n))
        .collect();
    let sum: i32 = handles
        .into_iter()
        .map(|handle| handle.join().unwrap())
        .sum();
    assert_eq!(sum, 1_225);
    assert!(scheduler.metrics().thread_start_failures > 0);
}

/// A scheduler whose only thread is one worker's.
fn one_thread() -> Scheduler {
    let builder = Builder::new().parallelism(1);
    builder.starter(Flaky::new(1..usize::MAX)).build().unwrap()
}

#[test]
fn o1_a_blocking_call_on_a_worker_may_not_block_it() {
    let scheduler = one_thread();
    type Block = fn(&Handle);
    let blocking: [(Block, &str); 2] = [
        (
            |handle| handle.spawn(async {}).join().unwrap(),
            "`.await` the handle",
        ),
        (
            |handle| handle.block_on(handle.spawn(async {})).unwrap(),
            "`.await` the future",
        ),
    ];
    for (block, advice) in blocking {
        let handle = scheduler.handle().clone();
        let call = scheduler.spawn_blocking(move || block(&handle));
        wait_until(|| call.is_finished(), || advice.to_owned());
        let Err(JoinError::Panic(payload)) = call.join() else {
            panic!("it must panic");
        };
        assert!(payload.message().unwrap().contains(advice));
    }
    // What does not block the worker works.
    let handle = scheduler.handle().clone();
    let call = scheduler.spawn_blocking(move || {
        handle.spawn_detached(async {});
        handle.install(|| stealyard::join(|| 1, || 2))
    });
    wait_until(|| call.is_finished(), || "install".to_owned());
    assert_eq!(call.join().unwrap(), (1, 2));
}

#[test]
fn o1_a_scheduler_may_be_ended_by_a_blocking_call_on_its_worker() {
    for how in [None, Some(Shutdown::Cancel), Some(Shutdown::Drain)] {
        let scheduler = one_thread();
        let handle = scheduler.handle().clone();
        let census = Census::default();
        let (citizen, sleeping) = (census.citizen(), census.citizen());
        handle.spawn_detached(async move {
            std::future::pending::<()>().await;
            sleeping.finish();
        });
        drop(handle.spawn_blocking(move || {
            match how {
                Some(how) => drop(scheduler.shutdown(how)),
                None => drop(scheduler),
            }
            citizen.finish();
        }));
        wait_until(|| census.died() == 2, || format!("{how:?}"));
        assert_eq!(census.finished(), 1);
    }
}

#[test]
fn o1_blocking_calls_wait_for_the_threads_that_exist() {
    // Two workers and one thread for blocking calls.
    let scheduler = Builder::new()
        .parallelism(2)
        .starter(Flaky::new(3..usize::MAX))
        .build()
        .unwrap();
    let census = Census::default();
    let handles: Vec<_> = (0..50)
        .map(|_| {
            let citizen = census.citizen();
            scheduler.spawn_blocking(move || {
                std::thread::sleep(Duration::from_micros(100));
                citizen.finish();
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    assert_eq!(census.finished(), 50);
}

#[test]
fn o2_stacks_that_cannot_be_mapped_are_an_error() {
    // More than any process may map.
    let builder = Builder::new().parallelism(2).stack_size(1 << 62);
    refused(builder, &["none of 2 worker threads"]);
}

#[test]
fn t14_the_largest_numbers_count_as_any_other() {
    let scheduler = Builder::new()
        .parallelism(2)
        .budget(1 << 16)
        .slot_streak_max(1 << 16)
        .global_interval(GlobalInterval::Tasks(1 << 16))
        .steal_passes(1)
        .seed(u64::MAX)
        .build()
        .unwrap();
    let handles: Vec<_> = (0..1_000)
        .map(|n| {
            scheduler.spawn(async move {
                stealyard::coop::consume_budget().await;
                stealyard::spawn(async move { n }).await.unwrap()
            })
        })
        .collect();
    let sum: u32 = handles
        .into_iter()
        .map(|handle| handle.join().unwrap())
        .sum();
    assert_eq!(sum, 499_500);
}

/// Run by the tests below in a process of its own.
#[test]
#[ignore = "run by other tests, with another environment"]
fn probe() {
    match Scheduler::new() {
        Ok(scheduler) => eprintln!("PROBE workers={}", scheduler.parallelism()),
        Err(error) => eprintln!("PROBE error={error}"),
    }
}

fn probe_with(variable: &str, value: &str) -> String {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "probe", "--nocapture"])
        .env(variable, value)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text
        .lines()
        .find_map(|line| Some(line.split_once("PROBE ")?.1.to_owned()));
    line.unwrap_or_else(|| panic!("no answer: {text}"))
}

#[test]
fn the_environment_sets_the_number_of_workers() {
    assert_eq!(probe_with("STEALYARD_PROCS", "3"), "workers=3");
    assert_eq!(probe_with("STEALYARD_PROCS", " 1 "), "workers=1");
    let default = probe_with("STEALYARD_PROCS", "");
    let expected = stealyard_topology::available_parallelism().get();
    assert_eq!(default, format!("workers={expected}"));
}

#[test]
fn a_malformed_environment_is_an_error_that_says_what_would_be_right() {
    for bad in ["0", "two", "-3", "1e3", "99999999"] {
        let answer = probe_with("STEALYARD_PROCS", bad);
        assert!(
            answer.contains("STEALYARD_PROCS") && answer.contains(bad),
            "{answer}"
        );
        assert!(answer.contains("from 1 to 4096"), "{answer}");
    }
    let answer = probe_with("STEALYARD_SCHEDTRACE", "often");
    assert!(
        answer.contains("STEALYARD_SCHEDTRACE") && answer.contains("milliseconds"),
        "{answer}"
    );
}

#[test]
fn the_ends_of_the_environments_ranges_work_and_what_lies_beyond_is_an_error() {
    assert_eq!(probe_with("STEALYARD_PROCS", "1"), "workers=1");
    let default = probe_with("STEALYARD_PROCS", "");
    for ends in ["1", "86400000"] {
        assert_eq!(probe_with("STEALYARD_SCHEDTRACE", ends), default);
    }
    for beyond in ["0", "86400001", "18446744073709551616"] {
        let answer = probe_with("STEALYARD_SCHEDTRACE", beyond);
        assert!(answer.contains(beyond), "{answer}");
        assert!(answer.contains("from 1 to 86400000"), "{answer}");
    }
    let answer = probe_with("STEALYARD_PROCS", "4097");
    assert!(answer.contains("from 1 to 4096"), "{answer}");
}
