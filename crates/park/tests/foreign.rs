//! Goal: foreign code runs in the middle of a call (wakers, policies, looks, starters, hooks, jobs,
//! destructors of panic payloads). There it may use the same structure, and may panic. No call
//! deadlocks, no wake of another worker and no job is lost, and no count stays wrong. A token that
//! is forgotten costs what the documentation says.
//!
//! Method: programs of safe code, with a watchdog for calls that hang.
#![forbid(unsafe_code)]
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use stealyard_park::idle::{RELIANCE_MAX, Recheck, Sleeping, Woken};
use stealyard_park::pool::{OsThreads, Placed, RefusedReason, ShutdownResult, Start};
use stealyard_park::{
    EventCount, Idle, ParkResult, PoolConfig, SleeperSet, ThreadPool, Wake, WakeOrder,
};

/// The time after which a call counts as hung.
const HANG: Duration = Duration::from_secs(60);

/// Runs `body` on a thread of its own. If it hangs, the test fails.
fn ends<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || sender.send(body()));
    match receiver.recv_timeout(HANG) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err())
        }
    }
}

fn until(condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < HANG, "the condition never comes true");
        std::thread::yield_now();
    }
}

/// Keeps a value that is leaked on purpose reachable, so that a leak check reports only other
/// leaks.
fn keep(value: impl std::any::Any + Send) {
    static KEPT: Mutex<Vec<Box<dyn std::any::Any + Send>>> = Mutex::new(Vec::new());
    let mut kept = KEPT.lock().expect("no code panics under this lock");
    kept.push(Box::new(value));
}

fn panics(body: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(body)).is_err()
}

// --- The idle protocol
// ------------------------------------------------------------------------------

type Log = Arc<Mutex<Vec<usize>>>;

/// Records that it was called. Panics if its worker is one of the `bad` ones.
struct Recorder {
    worker: usize,
    log: Log,
    bad: &'static [usize],
}

impl Wake for Recorder {
    fn wake(&self) {
        self.log.lock().unwrap().push(self.worker);
        assert!(!self.bad.contains(&self.worker), "a waker that panics");
    }
}

fn recorders(workers: usize, bad: &'static [usize]) -> (Vec<Recorder>, Log) {
    let log = Log::default();
    let wakers = (0..workers).map(|worker| Recorder {
        worker,
        log: Arc::clone(&log),
        bad,
    });
    (wakers.collect(), log)
}

fn asleep(idle: &Idle, order: impl IntoIterator<Item = usize>) -> Vec<Sleeping> {
    let fall_asleep = |index| match idle.join(index).unwrap().park().recheck(|| None::<()>) {
        Recheck::Work(..) => unreachable!("there is no work"),
        Recheck::Nothing(sleeping) => sleeping,
    };
    order.into_iter().map(fall_asleep).collect()
}

fn woken(log: &Log) -> Vec<usize> {
    std::mem::take(&mut log.lock().unwrap())
}

#[test]
fn w17_a_waker_that_panics_takes_no_wake_from_another() {
    let (wakers, log) = recorders(4, &[3, 1]);
    let idle = Idle::new(wakers);
    let mut sleeping = asleep(&idle, [2, 0, 1, 3]);
    assert!(panics(|| _ = idle.announce(1)), "the announcer is told");
    assert_eq!(woken(&log), [3, 1, 0], "one that can be woken");
    // The two workers that could not be woken find out when they run for another reason.
    for _ in 0..2 {
        assert!(matches!(
            sleeping.pop().unwrap().cancel(),
            Woken::Searching(_)
        ));
    }
    assert!(matches!(
        sleeping.pop().unwrap().cancel(),
        Woken::Searching(_)
    ));
    drop(sleeping);
    assert_eq!(
        (idle.searching(), idle.sleeping(), idle.joined()),
        (0, 0, 0)
    );
}

#[test]
fn w17_a_batch_wakes_enough_although_wakers_panic() {
    let (wakers, log) = recorders(6, &[5, 2]);
    let idle = Idle::new(wakers);
    let sleeping = asleep(&idle, 0..6);
    assert!(panics(|| _ = idle.announce(3)));
    assert_eq!(woken(&log), [5, 4, 3, 2, 1], "three of them run");
    assert!(panics(|| _ = idle.announce(usize::MAX)) || woken(&log) == [0]);
    drop(sleeping);
    assert_eq!((idle.searching(), idle.joined()), (0, 0));
}

#[test]
fn w17_every_worker_is_woken_although_wakers_panic() {
    let (wakers, log) = recorders(4, &[0, 2]);
    let idle = Idle::new(wakers);
    assert!(panics(|| idle.wake_all_workers()));
    assert_eq!(woken(&log), [0, 1, 2, 3]);
    assert!(panics(|| idle.wake_worker(2)));
    idle.wake_worker(1);
}

/// A policy that panics, or uses the protocol that asks it.
struct Meddler {
    idle: Arc<OnceLock<Idle>>,
    panics: AtomicBool,
}

struct Meddles(Arc<Meddler>);

impl WakeOrder for Meddles {
    fn choose(&self, from: Option<usize>, sleepers: &SleeperSet<'_>) -> Option<usize> {
        if let Some(idle) = self.0.idle.get() {
            let _counts = (idle.searching(), idle.sleeping(), idle.joined());
            assert_eq!(idle.announce(1).woken(), 0, "one is being woken");
            idle.wake_worker(0);
            drop(idle.join(3));
        }
        assert!(
            !self.0.panics.load(Ordering::Relaxed),
            "a policy that panics"
        );
        sleepers.iter().map(|sleeper| sleeper.worker).min().or(from)
    }
}

#[test]
fn w17_a_policy_may_use_the_protocol_and_may_panic() {
    let meddler = Arc::new(Meddler {
        idle: Arc::default(),
        panics: AtomicBool::new(false),
    });
    let (wakers, log) = recorders(4, &[]);
    let idle = Idle::with_order(wakers, Meddles(Arc::clone(&meddler)));
    let mut sleeping = asleep(&idle, 0..3);
    keep(idle.clone()); // part of a cycle, so it is never freed
    meddler.idle.set(idle.clone()).unwrap();
    assert_eq!(idle.announce(1).woken(), 1);
    assert_eq!(woken(&log), [0, 0], "by the policy, then for the item");
    let Woken::Searching(searching) = sleeping.remove(0).cancel() else {
        panic!("it was claimed");
    };
    meddler.panics.store(true, Ordering::Relaxed);
    // The last searcher passes its duty on: another worker is woken, and then the panic goes on.
    assert!(panics(|| drop(searching.found())));
    assert_eq!(woken(&log), [0, 1]);
    assert_eq!((idle.searching(), idle.sleeping()), (1, 1));
    meddler.panics.store(false, Ordering::Relaxed);
    drop(sleeping);
    assert_eq!((idle.searching(), idle.joined()), (0, 0));
    // The policy keeps the protocol alive, as a clone in it would.
    assert_eq!(Arc::strong_count(&meddler), 2);
}

/// A waker that uses the protocol that calls it.
struct Caller(Arc<OnceLock<Idle>>, Arc<AtomicUsize>);

impl Wake for Caller {
    fn wake(&self) {
        self.1.fetch_add(1, Ordering::Relaxed);
        if let Some(idle) = self.0.get() {
            assert_eq!(idle.announce(1).woken(), 0, "the woken one searches");
            let _counts = (idle.searching(), idle.sleeping(), idle.joined());
            drop(idle.join(2));
        }
    }
}

#[test]
fn w17_a_waker_may_use_the_protocol() {
    let (cell, calls) = (Arc::new(OnceLock::new()), Arc::new(AtomicUsize::new(0)));
    let idle = Idle::new((0..3).map(|_| Caller(Arc::clone(&cell), Arc::clone(&calls))));
    let sleeping = asleep(&idle, 0..2);
    keep(idle.clone()); // part of a cycle, so it is never freed
    assert!(cell.set(idle.clone()).is_ok());
    assert_eq!(idle.announce(1).woken(), 1);
    drop(sleeping);
    assert_eq!((idle.searching(), idle.joined()), (0, 0));
    assert!(calls.load(Ordering::Relaxed) >= 1);
}

#[test]
fn w17_looks_and_sleeps_that_panic_pass_the_duty_on() {
    let looks: [fn(&Idle); 4] = [
        |idle| {
            let parking = idle.join(0).unwrap().search().unwrap().park();
            drop(parking.recheck(|| -> Option<()> { panic!("the look") }));
        },
        |idle| {
            let parking = idle.join(0).unwrap().search().unwrap().park();
            drop(parking.recheck_with(|| Some(()), || panic!("the second look")));
        },
        |idle| {
            let searching = idle.join(0).unwrap().search().unwrap();
            drop(searching.found_with(|| panic!("the look for more")));
        },
        |idle| {
            let sleeping = asleep(idle, [0]).remove(0);
            // This worker fell asleep last, so it is claimed.
            assert_eq!(idle.announce(1).woken(), 1);
            drop(sleeping.sleep(|| panic!("the way to block")));
        },
    ];
    for look in looks {
        let (wakers, log) = recorders(2, &[]);
        let idle = Idle::new(wakers);
        let sleeping = asleep(&idle, [1]);
        assert!(panics(|| look(&idle)));
        assert_eq!(woken(&log).last(), Some(&1), "the duty is passed on");
        assert_eq!((idle.searching(), idle.joined()), (1, 1));
        drop(sleeping);
        assert_eq!((idle.searching(), idle.joined()), (0, 0));
    }
}

/// Returns the number of announcements of one item until `worker` is woken, at most `limit`.
fn announcements_until_woken(idle: &Idle, log: &Log, worker: usize, limit: usize) -> usize {
    (1..=limit)
        .find(|_| {
            let _ = idle.announce(1);
            woken(log).contains(&worker)
        })
        .unwrap_or_else(|| panic!("not woken by {limit} announcements: {idle:?}"))
}

#[test]
fn w18_a_token_that_is_forgotten_keeps_no_worker_asleep_for_good() {
    let forgets: [fn(&Idle); 6] = [
        |idle| std::mem::forget(idle.join(0)),
        |idle| std::mem::forget(idle.join(0).unwrap().search()),
        |idle| std::mem::forget(idle.join(0).unwrap().park()),
        |idle| std::mem::forget(idle.join(0).unwrap().search().unwrap().park()),
        |idle| asleep(idle, [0]).into_iter().for_each(std::mem::forget),
        |idle| std::mem::forget(idle.join(0).unwrap().park().recheck(|| Some(()))),
    ];
    for (case, forget) in forgets.into_iter().enumerate() {
        let (wakers, log) = recorders(4, &[]);
        let idle = Idle::new(wakers);
        let sleeping = asleep(&idle, [1]);
        keep(idle.clone());
        forget(&idle);
        let first = announcements_until_woken(&idle, &log, 1, RELIANCE_MAX + 1);
        assert!(
            matches!(case, 1..=4) || first == 1,
            "{case}: woken by the {first}th"
        );
        // The worker runs, finds work and sleeps again, and is woken again.
        let Woken::Searching(searching) = sleeping.into_iter().next().unwrap().cancel() else {
            panic!("it was claimed");
        };
        let mut active = searching.found();
        for _ in 0..3 {
            let Recheck::Nothing(sleeping) = active.park().recheck(|| None::<()>) else {
                unreachable!("there is no work");
            };
            announcements_until_woken(&idle, &log, 1, RELIANCE_MAX);
            active = match sleeping.cancel() {
                Woken::Searching(searching) => searching.found(),
                Woken::Active(_) => panic!("it was claimed"),
            };
        }
        assert!(idle.join(0).is_none(), "its number stays taken");
        drop(active);
        assert_eq!(idle.joined(), 1);
    }
}

#[test]
fn w18_searchers_that_end_are_relied_on_without_limit() {
    let (wakers, log) = recorders(6, &[]);
    let idle = Idle::new(wakers);
    let sleeping = asleep(&idle, [4, 5]);
    let _others: Vec<_> = (2..4).map(|index| idle.join(index).unwrap()).collect();
    // Each searcher ends in time, with work or without, so no worker is woken.
    let mut active = idle.join(0).unwrap();
    for round in 0..12 {
        let searching = active.search().unwrap();
        for _ in 1..RELIANCE_MAX {
            assert_eq!(idle.announce(1).woken(), 0);
        }
        active = if round % 2 == 0 {
            searching.found_with(|| false)
        } else {
            match searching.park().recheck_with(|| Some(()), || false) {
                Recheck::Work(active, ()) => active,
                Recheck::Nothing(_) => unreachable!("it was the last"),
            }
        };
    }
    // A searcher that does not end is relied on only so often, even beside others that do end.
    let _lost = active.search().unwrap();
    let woken_by = (1..=RELIANCE_MAX).find(|_| {
        let _ended = idle.join(1).unwrap().search().unwrap().found();
        idle.announce(1).woken() > 0
    });
    assert_eq!(woken_by, Some(RELIANCE_MAX));
    assert_eq!(woken(&log), [5]);
    for _ in 0..2 * RELIANCE_MAX {
        assert_eq!(idle.announce(0).woken(), 0, "no item relies on no searcher");
    }
    assert!(woken(&log).is_empty());
    drop(sleeping);
}

// --- The event count
// --------------------------------------------------------------------------------

#[test]
fn w18_a_waiter_that_is_forgotten_costs_others_no_notification() {
    let event = Arc::new(EventCount::new());
    std::mem::forget(event.prepare());
    assert_eq!(event.waiters(), 1);
    let theirs = Arc::clone(&event);
    let waiter = std::thread::spawn(move || theirs.prepare().wait_timeout(HANG));
    until(|| event.waiters() == 2);
    event.notify_one();
    assert_eq!(waiter.join().unwrap(), ParkResult::Notified);
    assert_eq!(event.waiters(), 1, "it stays counted");
}

#[test]
fn w17_a_condition_that_panics_leaves_no_waiter_behind() {
    let event = EventCount::new();
    assert!(panics(|| {
        let _waiting = event.prepare();
        panic!("the condition");
    }));
    assert_eq!(event.waiters(), 0);
}

// --- The pool: starters
// -----------------------------------------------------------------------------

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
fn w19_a_start_that_panics_is_a_start_that_failed() {
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

// --- The pool: jobs and hooks
// -----------------------------------------------------------------------

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
