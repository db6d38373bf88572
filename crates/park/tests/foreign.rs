//! Goal: foreign code runs in the middle of a call (wakers, policies, looks, starters, hooks, jobs,
//! destructors of panic payloads). There it may use the same structure, and may panic. No call
//! deadlocks, no wake of another worker and no job is lost, and no count stays wrong. A token that
//! is forgotten costs what the documentation says.
//!
//! Method: programs of safe code, with a watchdog for calls that hang.
#![forbid(unsafe_code)]
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "foreign/pool.rs"]
mod pool;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use stealyard_park::idle::{RELIANCE_MAX, Recheck, Sleeping, Woken};
use stealyard_park::{EventCount, Idle, ParkResult, SleeperSet, Wake, WakeOrder};

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

// --- The idle protocol ---------------------------------------------------------------------------

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

// --- The event count -----------------------------------------------------------------------------

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
