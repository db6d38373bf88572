//! Foreign code of the thread pool: starters, jobs and hooks.

use std::io;
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use stealyard_park::pool::{OsThreads, Placed, RefusedReason, ShutdownResult, Start};
use stealyard_park::{PoolConfig, ThreadPool};

use super::{HANG, ends, keep, until};

// --- Starters ------------------------------------------------------------------------------------

type Body = Box<dyn FnOnce() + Send>;

/// A starter that does what its function says.
struct Odd<F>(F);

impl<F: Fn(String, Body) -> io::Result<JoinHandle<()>> + Send + Sync> Start for Odd<F> {
    fn start(
        &self,
        name: String,
        _stack_size: Option<usize>,
        body: Body,
    ) -> io::Result<JoinHandle<()>> {
        (self.0)(name, body)
    }
}

fn pool_of(
    threads_max: usize,
    start: impl Fn(String, Body) -> io::Result<JoinHandle<()>> + Send + Sync + 'static,
) -> Arc<ThreadPool> {
    let config = PoolConfig {
        threads_max,
        ..PoolConfig::default()
    };
    Arc::new(ThreadPool::with_starter(config, Odd(start)).unwrap())
}

fn shut_down(pool: &ThreadPool) {
    assert_eq!(pool.shutdown(HANG), ShutdownResult::Complete);
    let stats = pool.stats();
    assert_eq!((stats.threads, stats.idle, stats.queued), (0, 0, 0));
}

/// Returns a job that counts itself in `ran`.
fn job(ran: &Arc<AtomicUsize>) -> impl FnOnce() + Send + 'static {
    let ran = Arc::clone(ran);
    move || _ = ran.fetch_add(1, Ordering::Relaxed)
}

#[test]
fn w19_a_start_that_panics_counts_as_failed() {
    ends(|| {
        let ran = Arc::new(AtomicUsize::new(0));
        let pool = pool_of(2, |_, _| panic!("no thread today"));
        for failures in 1..4 {
            let refused = pool.run(job(&ran)).unwrap_err();
            let (job, reason) = refused.into_parts();
            let RefusedReason::NoThread(error) = reason else {
                panic!("{reason:?}");
            };
            assert!(error.to_string().contains("no thread today"), "{error}");
            job();
            let stats = pool.stats();
            assert_eq!((stats.started, stats.start_failures), (0, failures));
            assert_eq!((stats.threads, stats.panics), (0, 0));
        }
        shut_down(&pool);
        assert_eq!(ran.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn w16_a_starter_may_use_the_pool() {
    ends(|| {
        let (cell, ran) = (Arc::new(OnceLock::<Arc<ThreadPool>>::new()), Arc::default());
        let (theirs, count) = (Arc::clone(&cell), Arc::clone(&ran));
        let pool = pool_of(1, move |name, body| {
            let pool = theirs.get().unwrap();
            let _seen = (pool.stats(), format!("{pool:?}"));
            // There is no thread yet that could take the job.
            let refused = pool.run(job(&count)).unwrap_err();
            assert!(matches!(refused.reason(), RefusedReason::Busy));
            let refused = pool.run_now(job(&count)).unwrap_err();
            assert!(matches!(refused.reason(), RefusedReason::Busy));
            OsThreads.start(name, None, body)
        });
        keep(Arc::clone(&pool)); // part of a cycle, so it is never freed
        cell.set(Arc::clone(&pool)).unwrap();
        assert!(matches!(pool.run(job(&ran)), Ok(Placed::Started)));
        shut_down(&pool);
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn w16_a_slow_start_holds_up_no_other_caller() {
    ends(|| {
        let (begun, go) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (tell, wait) = (Arc::clone(&begun), Arc::clone(&go));
        let first = AtomicBool::new(true);
        let pool = pool_of(2, move |name, body| {
            if first.swap(false, Ordering::Relaxed) {
                tell.store(true, Ordering::Relaxed);
                until(|| wait.load(Ordering::Relaxed));
            }
            OsThreads.start(name, None, body)
        });
        let ran = Arc::new(AtomicUsize::new(0));
        let (theirs, count) = (Arc::clone(&pool), Arc::clone(&ran));
        let caller = std::thread::spawn(move || _ = theirs.run(job(&count)).unwrap());
        until(|| begun.load(Ordering::Relaxed));
        assert!(matches!(pool.run(job(&ran)), Ok(Placed::Started)));
        until(|| ran.load(Ordering::Relaxed) == 1);
        assert_eq!(pool.stats().started, 1);
        go.store(true, Ordering::Relaxed);
        caller.join().unwrap();
        shut_down(&pool);
        assert_eq!((ran.load(Ordering::Relaxed), pool.stats().started), (2, 2));
    });
}

/// The limit is reached, and all threads are still being started. A job that must queue waits until
/// it is known whether there will be a thread, and it is not lost if there is none.
#[test]
fn w16_a_job_that_waits_for_a_start_which_fails_goes_on() {
    for good in [true, false] {
        ends(move || {
            let (begun, go) = (
                Arc::new(AtomicUsize::new(0)),
                Arc::new(AtomicBool::new(false)),
            );
            let (count, wait) = (Arc::clone(&begun), Arc::clone(&go));
            let pool = pool_of(1, move |name, body| {
                count.fetch_add(1, Ordering::Relaxed);
                until(|| wait.load(Ordering::Relaxed));
                if good {
                    OsThreads.start(name, None, body)
                } else {
                    Err(io::Error::other("none to be had"))
                }
            });
            let ran = Arc::new(AtomicUsize::new(0));
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let (pool, ran) = (Arc::clone(&pool), Arc::clone(&ran));
                    std::thread::spawn(move || {
                        pool.run(job(&ran)).map_err(|refused| refused.into_job()())
                    })
                })
                .collect();
            until(|| begun.load(Ordering::Relaxed) == 1);
            go.store(true, Ordering::Relaxed);
            let placed = callers.into_iter().map(|caller| caller.join().unwrap());
            assert_eq!(
                placed.filter(Result::is_ok).count(),
                if good { 3 } else { 0 }
            );
            shut_down(&pool);
            assert_eq!(ran.load(Ordering::Relaxed), 3);
        });
    }
}

/// While a start is under way another thread becomes idle, or the pool is closed. Then the start
/// fails.
#[test]
fn w16_a_job_whose_start_fails_goes_to_a_thread_that_became_idle() {
    for closes in [false, true] {
        ends(move || {
            let cell = Arc::new(OnceLock::<Arc<ThreadPool>>::new());
            let (theirs, go) = (Arc::clone(&cell), Arc::new(AtomicBool::new(false)));
            let release = Arc::clone(&go);
            let pool = pool_of(2, move |name, body| {
                let pool = theirs.get().unwrap();
                if pool.stats().started == 0 {
                    return OsThreads.start(name, None, body);
                }
                release.store(true, Ordering::Relaxed);
                until(|| pool.stats().idle == 1);
                if closes {
                    pool.close();
                }
                Err(io::Error::other("no second one"))
            });
            keep(Arc::clone(&pool)); // part of a cycle, so it is never freed
            cell.set(Arc::clone(&pool)).unwrap();
            let ran = Arc::new(AtomicUsize::new(0));
            let _place = pool.run(move || until(|| go.load(Ordering::Relaxed)));
            _ = pool.run(job(&ran)).map_err(|refused| refused.into_job()());
            until(|| ran.load(Ordering::Relaxed) == 1);
            shut_down(&pool);
        });
    }
}

type Starter = fn(String, Body) -> io::Result<JoinHandle<()>>;

static BEGUN: AtomicBool = AtomicBool::new(false);
static LATER: AtomicBool = AtomicBool::new(false);

/// Starters whose result does not agree with what they do, and whether the job is placed.
const LIARS: [(Starter, bool); 5] = [
    // Runs the body, and returns an error or panics.
    (
        |_, body| {
            let thread = std::thread::spawn(body);
            until(|| thread.is_finished() || BEGUN.load(Ordering::Relaxed));
            Err(io::Error::other("no"))
        },
        true,
    ),
    (
        |_, body| {
            let thread = std::thread::spawn(body);
            until(|| thread.is_finished() || BEGUN.load(Ordering::Relaxed));
            panic!("after the start")
        },
        true,
    ),
    // Drops the body, and promises a thread.
    (
        |_, body| {
            drop(body);
            Ok(std::thread::spawn(|| ()))
        },
        false,
    ),
    // Runs the body much later, after it has returned an error.
    (
        |_, body| {
            std::thread::spawn(|| {
                until(|| LATER.load(Ordering::Relaxed));
                body();
            });
            Err(io::Error::other("no"))
        },
        false,
    ),
    // Drops the body much later, after it has promised a thread.
    (
        |_, body| {
            Ok(std::thread::spawn(|| {
                until(|| LATER.load(Ordering::Relaxed));
                drop(body);
            }))
        },
        true,
    ),
];

#[test]
fn w16_the_fate_of_the_body_counts_and_not_the_result_of_the_starter() {
    for (case, (starter, placed)) in LIARS.into_iter().enumerate() {
        BEGUN.store(false, Ordering::Relaxed);
        LATER.store(false, Ordering::Relaxed);
        ends(move || {
            let ran = Arc::new(AtomicUsize::new(0));
            let config = PoolConfig {
                on_start: Some(Box::new(|_| BEGUN.store(true, Ordering::Relaxed))),
                ..PoolConfig::default()
            };
            let pool = ThreadPool::with_starter(config, Odd(starter)).unwrap();
            let outcome = pool.run(job(&ran)).map_err(|refused| refused.into_job()());
            assert_eq!(outcome.is_ok(), placed, "case {case}");
            LATER.store(true, Ordering::Relaxed);
            shut_down(&pool);
            // A job that a starter dropped after its promise is gone; every other job has run once.
            let expected = usize::from(case != 4);
            until(|| ran.load(Ordering::Relaxed) == expected);
            let stats = pool.stats();
            let begun = u64::from(placed && case != 4);
            assert_eq!(
                (stats.started, stats.start_failures),
                (begun, 1 - begun),
                "case {case}"
            );
        });
    }
}

// --- Jobs and hooks ------------------------------------------------------------------------------

/// A payload whose destructor panics with another such payload, without end.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(Self);
    }
}

#[test]
fn w17_payloads_whose_destructors_panic_end_no_thread() {
    ends(|| {
        let config = PoolConfig {
            threads_max: 1,
            on_start: Some(Box::new(|_| panic_any(Bomb))),
            on_stop: Some(Box::new(|_| panic_any(Bomb))),
            ..PoolConfig::default()
        };
        let pool = ThreadPool::new(config).unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            let _place = pool.run(|| panic_any(Bomb)).unwrap();
            let _place = pool.run(job(&ran)).unwrap();
        }
        shut_down(&pool);
        assert_eq!((ran.load(Ordering::Relaxed), pool.stats().panics), (10, 12));
        assert_eq!(pool.stats().started, 1);
    });
}

/// A value that uses its pool when it is dropped.
struct UsesPool(Arc<ThreadPool>, Arc<AtomicUsize>);

impl Drop for UsesPool {
    fn drop(&mut self) {
        let _stats = self.0.stats();
        let _place = self
            .0
            .run(job(&self.1))
            .map_err(|refused| refused.into_job()());
    }
}

#[test]
fn w16_destructors_of_jobs_may_use_the_pool() {
    ends(|| {
        let fails = Arc::new(AtomicBool::new(false));
        let wish = Arc::clone(&fails);
        let pool = pool_of(2, move |name, body| {
            assert!(!wish.load(Ordering::Relaxed), "no thread today");
            OsThreads.start(name, None, body)
        });
        let ran = Arc::new(AtomicUsize::new(0));
        let uses = || UsesPool(Arc::clone(&pool), Arc::clone(&ran));
        for failing in [false, true, true, false] {
            fails.store(failing, Ordering::Relaxed);
            let (guard, panicking) = (uses(), uses());
            let _place = pool.run(move || drop(guard));
            let _place = pool.run_now(move || {
                let _panicking = panicking;
                panic!("a job");
            });
        }
        until(|| ran.load(Ordering::Relaxed) == 8);
        shut_down(&pool);
        // The job is refused, and dropped by the caller.
        let guard = uses();
        drop(pool.run(move || drop(guard)));
        assert_eq!(ran.load(Ordering::Relaxed), 9);
    });
}

#[test]
fn w16_hooks_may_use_the_pool_and_end_it() {
    ends(|| {
        let cell = Arc::new(OnceLock::<Arc<ThreadPool>>::new());
        let (starting, stopping) = (Arc::clone(&cell), Arc::clone(&cell));
        let (tell, told) = mpsc::channel();
        let config = PoolConfig {
            on_start: Some(Box::new(move |_| {
                let pool = starting.get().unwrap();
                assert_eq!(pool.stats().threads, 1);
                let _ = pool.run(|| ()); // placed, or refused because the pool is closed
            })),
            on_stop: Some(Box::new(move |_| {
                let pool = stopping.get().unwrap();
                tell.send((pool.stats().threads, pool.shutdown(HANG)))
                    .unwrap();
            })),
            threads_max: 1,
            ..PoolConfig::default()
        };
        let pool = Arc::new(ThreadPool::new(config).unwrap());
        keep(Arc::clone(&pool)); // part of a cycle, so it is never freed
        cell.set(Arc::clone(&pool)).unwrap();
        let _place = pool.run(|| ()).unwrap();
        shut_down(&pool);
        assert_eq!(told.recv(), Ok((0, ShutdownResult::Complete)));
        assert_eq!((pool.stats().panics, pool.stats().started), (0, 1));
    });
}

/// A shutdown is bounded by its time, whatever hooks do. It is complete when they have ended, and
/// not before.
#[test]
fn w16_a_slow_stop_hook_does_not_stretch_a_shutdown() {
    ends(|| {
        let (go, stopped) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (wait, count) = (Arc::clone(&go), Arc::clone(&stopped));
        let config = PoolConfig {
            on_stop: Some(Box::new(move |_| {
                until(|| wait.load(Ordering::Relaxed));
                count.fetch_add(1, Ordering::Relaxed);
            })),
            ..PoolConfig::default()
        };
        let pool = ThreadPool::new(config).unwrap();
        let _place = pool.run(|| ()).unwrap();
        let late = pool.shutdown(Duration::from_millis(1));
        assert!(
            matches!(late, ShutdownResult::TimedOut { running: 1, .. }),
            "{late:?}"
        );
        go.store(true, Ordering::Relaxed);
        shut_down(&pool);
        assert_eq!(stopped.load(Ordering::Relaxed), 1);
    });
}

/// The first job of a thread may run, and end the pool, before the call that started the thread has
/// returned.
#[test]
fn w16_a_first_job_that_ends_the_pool_does_not_wait_for_itself() {
    ends(|| {
        let ended = Arc::new(AtomicBool::new(false));
        let wait = Arc::clone(&ended);
        let pool = pool_of(1, move |name, body| {
            let handle = OsThreads.start(name, None, body);
            until(|| wait.load(Ordering::Relaxed));
            handle
        });
        let (theirs, ran) = (Arc::clone(&pool), Arc::new(AtomicUsize::new(0)));
        let second = job(&ran);
        let _place = pool.run(move || {
            assert!(matches!(theirs.run(second), Ok(Placed::Queued { .. })));
            assert_eq!(theirs.shutdown(HANG / 2), ShutdownResult::Complete);
            ended.store(true, Ordering::Relaxed);
        });
        shut_down(&pool);
        assert_eq!((ran.load(Ordering::Relaxed), pool.stats().panics), (1, 0));
    });
}
