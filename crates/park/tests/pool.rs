//! Goal: a thread pool that loses no job, whatever happens to its threads.
//!
//! Method:
//! - jobs that count;
//! - threads that cannot be started, because a starter fails on purpose or because no machine has
//!   so large a stack;
//! - the end and the reuse of idle threads, raced against each other.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use stealyard_park::pool::{
    OsThreads, Placed, PoolConfigError, RefusedReason, ShutdownResult, Start,
};
use stealyard_park::{PoolConfig, ThreadPool};

/// A starter that fails every start from the `good`-th on.
struct FailAfter {
    good: usize,
    tried: AtomicUsize,
}

impl Start for FailAfter {
    fn start(
        &self,
        name: String,
        stack_size: Option<usize>,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<JoinHandle<()>> {
        if self.tried.fetch_add(1, Ordering::Relaxed) >= self.good {
            return Err(io::Error::from_raw_os_error(11)); // EAGAIN on Linux
        }
        OsThreads.start(name, stack_size, body)
    }
}

fn failing(good: usize, threads_max: usize) -> ThreadPool {
    let config = PoolConfig {
        threads_max,
        ..PoolConfig::default()
    };
    let starter = FailAfter {
        good,
        tried: AtomicUsize::new(0),
    };
    ThreadPool::with_starter(config, starter).unwrap()
}

#[test]
fn a_thousand_jobs_run_once_each_and_shutdown_joins() {
    let pool = ThreadPool::new(PoolConfig {
        threads_max: 4,
        ..PoolConfig::default()
    })
    .unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    for _ in 0..1000 {
        let count = Arc::clone(&count);
        let _ = pool
            .run(move || {
                count.fetch_add(1, Ordering::Relaxed);
            })
            .unwrap();
    }
    assert!(pool.stats().threads <= 4);
    assert_eq!(pool.shutdown(Duration::MAX), ShutdownResult::Complete);
    assert_eq!(count.load(Ordering::Relaxed), 1000);
    assert_eq!(pool.stats().threads, 0);
    let refused = pool.run(|| ()).unwrap_err();
    assert!(matches!(refused.reason(), RefusedReason::Closed));
}

#[test]
fn a_failed_first_start_gives_the_job_back() {
    let pool = failing(0, 4);
    let refused = pool.run(|| ()).unwrap_err();
    assert!(refused.to_string().contains("no thread could be started"));
    let (job, reason) = refused.into_parts();
    let RefusedReason::NoThread(error) = reason else {
        panic!("{reason:?}");
    };
    assert_eq!(error.raw_os_error(), Some(11));
    job(); // the job is intact
    assert_eq!(pool.stats().start_failures, 1);
    assert_eq!(pool.shutdown(Duration::MAX), ShutdownResult::Complete);
}

#[test]
fn a_failed_later_start_leaves_the_job_to_the_existing_threads() {
    let pool = failing(1, 4);
    let gate = Arc::new(Barrier::new(2));
    let (sender, receiver) = mpsc::channel();
    let hold = Arc::clone(&gate);
    let first = pool.run(move || {
        hold.wait();
    });
    assert!(matches!(first, Ok(Placed::Started)));
    let queued = pool.run(move || sender.send(42).unwrap()).unwrap();
    assert!(matches!(
        queued,
        Placed::Queued {
            start_failed: Some(_)
        }
    ));
    let refused = pool.run_now(|| ()).unwrap_err();
    assert!(matches!(refused.reason(), RefusedReason::NoThread(_)));
    gate.wait();
    assert_eq!(receiver.recv(), Ok(42));
    assert_eq!(pool.shutdown(Duration::MAX), ShutdownResult::Complete);
}

#[test]
fn a_stack_that_no_machine_has_is_a_value_and_not_a_panic() {
    if usize::BITS < 64 {
        return;
    }
    let pool = ThreadPool::new(PoolConfig {
        stack_size: Some(1 << 47),
        ..PoolConfig::default()
    })
    .unwrap();
    let refused = pool.run(|| ()).unwrap_err();
    assert!(matches!(refused.reason(), RefusedReason::NoThread(_)));
    refused.into_job()();
}

#[test]
fn at_the_limit_a_job_waits_unless_it_must_not() {
    let pool = failing(1, 1);
    let gate = Arc::new(Barrier::new(2));
    let hold = Arc::clone(&gate);
    let _started = pool.run(move || {
        hold.wait();
    });
    assert!(matches!(
        pool.run_now(|| ()).unwrap_err().reason(),
        RefusedReason::Busy
    ));
    assert!(matches!(
        pool.run(|| ()),
        Ok(Placed::Queued { start_failed: None })
    ));
    let late = pool.shutdown(Duration::from_millis(1));
    assert_eq!(
        late,
        ShutdownResult::TimedOut {
            running: 1,
            queued: 1
        }
    );
    gate.wait();
    assert_eq!(pool.shutdown(Duration::MAX), ShutdownResult::Complete);
}

#[test]
fn idle_threads_end_and_the_last_idle_one_is_reused_first() {
    let pool = ThreadPool::new(PoolConfig {
        keep_alive: Duration::from_millis(20),
        ..PoolConfig::default()
    })
    .unwrap();
    let gate = Arc::new(Barrier::new(4));
    for _ in 0..3 {
        let gate = Arc::clone(&gate);
        let _started = pool.run(move || {
            gate.wait();
        });
    }
    gate.wait();
    while pool.stats().threads > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(pool.stats().started, 3);
    let _started = pool.run(|| ());
    assert_eq!(pool.shutdown(Duration::MAX), ShutdownResult::Complete);
}

/// A thread that ends races against the call that gives it a job. With a keep-alive of zero the two
/// meet all the time.
#[test]
fn ending_and_reuse_race_and_no_job_is_lost() {
    let rounds = 2_000;
    let pool = ThreadPool::new(PoolConfig {
        keep_alive: Duration::from_nanos(1),
        threads_max: 2,
        ..PoolConfig::default()
    })
    .unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..rounds {
                    let count = Arc::clone(&count);
                    let _ = pool
                        .run(move || {
                            count.fetch_add(1, Ordering::Relaxed);
                        })
                        .unwrap();
                    std::thread::yield_now();
                }
            });
        }
    });
    assert_eq!(pool.shutdown(Duration::MAX), ShutdownResult::Complete);
    assert_eq!(count.load(Ordering::Relaxed), 2 * rounds);
}

#[test]
fn a_panic_ends_neither_the_thread_nor_the_pool() {
    let pool = ThreadPool::new(PoolConfig {
        threads_max: 1,
        on_start: Some(Box::new(|_| panic!("a hook may panic"))),
        ..PoolConfig::default()
    })
    .unwrap();
    let (sender, receiver) = mpsc::channel();
    let _started = pool.run(|| panic!("a job may panic")).unwrap();
    let _queued = pool.run(move || sender.send(()).unwrap()).unwrap();
    receiver.recv().unwrap();
    assert_eq!(pool.stats().panics, 2);
    assert_eq!(pool.stats().started, 1);
}

#[test]
fn threads_have_names_and_hooks_and_dropping_the_pool_runs_queued_jobs() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let seen = Arc::clone(&seen);
        Box::new(move |number: usize| {
            let name = std::thread::current().name().unwrap_or("").to_owned();
            seen.lock().unwrap().push(format!("{what} {number} {name}"));
        })
    };
    let (sender, receiver) = mpsc::channel();
    let pool = ThreadPool::new(PoolConfig {
        name: "yard".to_owned(),
        threads_max: 1,
        on_start: Some(note("start")),
        on_stop: Some(note("stop")),
        ..PoolConfig::default()
    })
    .unwrap();
    for number in 0..3 {
        let sender = sender.clone();
        let _ = pool.run(move || sender.send(number).unwrap()).unwrap();
    }
    drop((pool, sender));
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [0, 1, 2]);
    while seen.lock().unwrap().len() < 2 {
        std::thread::yield_now();
    }
    assert_eq!(*seen.lock().unwrap(), ["start 0 yard-0", "stop 0 yard-0"]);
}

#[test]
fn a_job_may_shut_its_own_pool_down() {
    let pool = Arc::new(ThreadPool::new(PoolConfig::default()).unwrap());
    let (sender, receiver) = mpsc::channel();
    let own = Arc::clone(&pool);
    let _started = pool.run(move || sender.send(own.shutdown(Duration::MAX)).unwrap());
    assert_eq!(receiver.recv(), Ok(ShutdownResult::Complete));
}

#[test]
fn an_invalid_configuration_is_refused_with_the_field_named() {
    let none = PoolConfig {
        threads_max: 0,
        ..PoolConfig::default()
    };
    let error = ThreadPool::new(none).unwrap_err();
    assert_eq!(error, PoolConfigError::NoThreads);
    assert!(error.to_string().contains("threads_max"));
    let zero = PoolConfig {
        name: "a\0b".to_owned(),
        ..PoolConfig::default()
    };
    assert!(
        ThreadPool::new(zero)
            .unwrap_err()
            .to_string()
            .contains("name")
    );
}

/// Marks its thread, and counts the thread as gone before a join of it returns.
struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local! {
    static GONE: std::cell::RefCell<Option<Gone>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn t6_shutdown_idle_joins_all_threads_without_a_job() {
    for keep_alive in [Duration::ZERO, Duration::MAX] {
        let pool = ThreadPool::new(PoolConfig {
            keep_alive,
            ..PoolConfig::default()
        })
        .unwrap();
        let (gone, meeting) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(21)));
        for _ in 0..20 {
            let (gone, meeting) = (Arc::clone(&gone), Arc::clone(&meeting));
            let job = move || {
                GONE.set(Some(Gone(gone)));
                meeting.wait();
            };
            let _ = pool.run(job).unwrap();
        }
        meeting.wait();
        let (open, opened) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        let held = Arc::new(Mutex::new(0));
        let holding = Arc::clone(&held);
        let _ = pool
            .run(move || {
                // Whether this job runs on one of the twenty threads.
                let is_one = GONE.with_borrow(Option::is_some);
                *holding.lock().unwrap() = usize::from(is_one);
                begin.send(()).unwrap();
                let _closed = opened.recv();
            })
            .unwrap();
        begun.recv().unwrap();
        pool.shutdown_idle(|| 1);
        let held = *held.lock().unwrap();
        assert_eq!(gone.load(Ordering::SeqCst), 20 - held);
        assert_eq!(pool.stats().threads, 1);
        drop(open);
        assert_eq!(pool.shutdown(Duration::MAX), ShutdownResult::Complete);
        assert_eq!(gone.load(Ordering::SeqCst), 20);
    }
}
