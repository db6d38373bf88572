//! Goal: no wake is lost, in any interleaving and with any allowed reordering.
//!
//! Method: loom explores small models, each named after the invariant that it checks: P of
//! `parker.rs`, I of `idle.rs`, E of `event_count.rs`, T of `pool.rs`. A lost wake shows as a
//! deadlock, which loom reports. Visibility is checked with a value that is written by a plain
//! store.
#![cfg(stealyard_loom)]

use stealyard_park::idle::{Active, Recheck, Searching, Woken};
use stealyard_park::pool::ShutdownResult;
use stealyard_park::{
    EventCount, Idle, ParkResult, Parker, PoolConfig, SleeperSet, ThreadPool, WakeOrder,
};
use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::cell::UnsafeCell;
use stealyard_sync::model::check;
use stealyard_sync::time::Duration;
use stealyard_sync::{Arc, thread};

/// A plain value that loom watches for races.
struct Plain(UnsafeCell<usize>);

// SAFETY: 1. loom reports every access that is not ordered; that is what the models check.
unsafe impl Sync for Plain {}
// SAFETY: 1. a number.
unsafe impl Send for Plain {}

impl Plain {
    fn new() -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(0)))
    }

    fn set(&self, value: usize) {
        // SAFETY: 1. loom checks that no other thread accesses it meanwhile.
        self.0.with_mut(|at| unsafe { *at = value });
    }

    fn get(&self) -> usize {
        // SAFETY: 1. loom checks that no other thread writes meanwhile.
        self.0.with(|at| unsafe { *at })
    }
}

// --- Parker --------------------------------------------------------------------------------------

#[test]
fn p1_a_token_is_never_lost_and_carries_what_came_before() {
    check(3, || {
        let parker = Parker::new();
        let unparker = parker.unparker();
        let value = Plain::new();
        let written = Arc::clone(&value);
        let other = thread::spawn(move || {
            written.set(7);
            unparker.unpark();
        });
        parker.park();
        assert_eq!(value.get(), 7);
        other.join().unwrap();
    });
}

#[test]
fn p2_two_tokens_from_two_threads_end_two_parks_or_merge() {
    check(3, || {
        let parker = Parker::new();
        let value = Plain::new();
        let (first, second) = (parker.unparker(), parker.unparker());
        let written = Arc::clone(&value);
        let one = thread::spawn(move || {
            written.set(7);
            first.unpark();
        });
        let two = thread::spawn(move || second.unpark());
        parker.park();
        let again = parker.park_timeout(Duration::from_secs(1));
        one.join().unwrap();
        two.join().unwrap();
        let last = parker.park_timeout(Duration::ZERO);
        // Three parks, two tokens: never do all three return with a token, and once both tokens are
        // there the value is visible.
        assert!(!(again == ParkResult::Notified && last == ParkResult::Notified));
        assert_eq!(value.get(), 7);
    });
}

#[test]
fn p1_a_timed_out_park_leaves_no_token_behind_unseen() {
    check(3, || {
        let parker = Parker::new();
        let value = Plain::new();
        let unparker = parker.unparker();
        let written = Arc::clone(&value);
        let other = thread::spawn(move || {
            written.set(7);
            unparker.unpark();
        });
        if parker.park_timeout(Duration::from_secs(1)) == ParkResult::TimedOut {
            parker.park();
        }
        assert_eq!(value.get(), 7);
        assert_eq!(parker.park_timeout(Duration::ZERO), ParkResult::TimedOut);
        other.join().unwrap();
    });
}

// --- Idle ----------------------------------------------------------------------------------------

/// A queue as weak as a queue may be: a counter with relaxed accesses, so that only the protocol's
/// own fences make an item visible.
struct Items(AtomicUsize);

impl Items {
    fn push(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes an item. It reads the number before, as real queues do: the read may be stale, the
    /// compare-and-swap is not.
    fn pop(&self) -> Option<()> {
        let mut seen = self.0.load(Ordering::Relaxed);
        while seen > 0 {
            match self
                .0
                .compare_exchange(seen, seen - 1, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(()),
                Err(now) => seen = now,
            }
        }
        None
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// Leaves the choice to the protocol, which keeps the models small.
struct NoChoice;

impl WakeOrder for NoChoice {
    fn choose(&self, _from: Option<usize>, _sleepers: &SleeperSet<'_>) -> Option<usize> {
        None
    }
}

struct World {
    items: Items,
    idle: Idle,
}

impl World {
    fn new(workers: usize) -> (Arc<Self>, Vec<Parker>) {
        let parkers: Vec<Parker> = (0..workers).map(|_| Parker::new()).collect();
        let idle = Idle::with_order(parkers.iter().map(Parker::unparker), NoChoice);
        let items = Items(AtomicUsize::new(0));
        (Arc::new(Self { items, idle }), parkers)
    }

    fn submit(&self) {
        self.items.push();
        let _ = self.idle.announce(1);
    }

    /// Takes one item, sleeping as the protocol says, and returns as an active worker.
    fn take_one(&self, mut state: Woken, parker: &Parker) -> Active {
        loop {
            if self.items.pop().is_some() {
                return match state {
                    Woken::Active(active) => active,
                    Woken::Searching(searching) => searching.found(),
                };
            }
            state = match state.park().recheck(|| self.items.pop()) {
                Recheck::Work(active, ()) => return active,
                Recheck::Nothing(sleeping) => sleeping.sleep(|| parker.park()),
            };
        }
    }

    fn active(&self, index: usize) -> Woken {
        Woken::Active(self.idle.join(index).unwrap())
    }

    fn searching(&self, index: usize) -> Woken {
        Woken::Searching(self.idle.join(index).unwrap().search().unwrap())
    }

    fn assert_over(&self) {
        assert!(!self.items.any());
        assert_eq!((self.idle.searching(), self.idle.sleeping()), (0, 0));
    }
}

#[test]
fn i5_one_worker_and_an_outside_submitter() {
    check(3, || {
        let (world, mut parkers) = World::new(1);
        let parker = parkers.remove(0);
        let active = world.active(0);
        let shared = Arc::clone(&world);
        let worker = thread::spawn(move || drop(shared.take_one(active, &parker)));
        world.submit();
        worker.join().unwrap();
        world.assert_over();
    });
}

/// Two workers in threads of their own, and two items one after the other.
#[test]
fn i5_two_workers_and_an_outside_submitter_of_two_items() {
    check(1, || {
        let (world, parkers) = World::new(2);
        let threads: Vec<_> = parkers
            .into_iter()
            .enumerate()
            .map(|(index, parker)| {
                let active = world.active(index);
                let shared = Arc::clone(&world);
                thread::spawn(move || drop(shared.take_one(active, &parker)))
            })
            .collect();
        world.submit();
        world.submit();
        for thread in threads {
            thread.join().unwrap();
        }
        world.assert_over();
    });
}

/// A batch wakes as many workers as it has items, whatever the workers do meanwhile.
#[test]
fn i5_a_batch_wakes_enough() {
    check(2, || {
        let (world, parkers) = World::new(2);
        let threads: Vec<_> = parkers
            .into_iter()
            .enumerate()
            .map(|(index, parker)| {
                let active = world.active(index);
                let shared = Arc::clone(&world);
                thread::spawn(move || drop(shared.take_one(active, &parker)))
            })
            .collect();
        world.items.push();
        world.items.push();
        let _ = world.idle.announce(2);
        for thread in threads {
            thread.join().unwrap();
        }
        world.assert_over();
    });
}

/// One worker is a searcher that ends as `first` says, with an item of its own in hand. Another
/// worker parks and leaves the look to it, and the submitter relies on it. The submitted item must
/// be taken all the same.
fn relying_on_a_searcher(first: fn(&World, Searching)) {
    let (world, mut parkers) = World::new(2);
    let Woken::Searching(searching) = world.searching(0) else {
        unreachable!("the first worker may search");
    };
    let (sleeper, parker) = (world.active(1), parkers.remove(1));
    let shared = Arc::clone(&world);
    let searcher = thread::spawn(move || first(&shared, searching));
    let shared = Arc::clone(&world);
    let second = thread::spawn(move || drop(shared.take_one(sleeper, &parker)));
    world.submit();
    searcher.join().unwrap();
    second.join().unwrap();
    world.assert_over();
}

#[test]
fn i3_the_last_searcher_to_find_work_wakes_the_next() {
    check(2, || {
        relying_on_a_searcher(|_, searching| drop(searching.found()))
    });
}

#[test]
fn i3_the_last_searcher_sees_that_there_is_more() {
    check(2, || {
        relying_on_a_searcher(|world, searching| {
            drop(searching.found_with(|| world.items.any()));
        });
    });
}

/// As `relying_on_a_searcher`, but the other worker slept before any worker searched. So it did not
/// set the reliance bit, and the submitter alone relies on the searcher.
#[test]
fn i6_the_last_searcher_sees_that_there_is_more_without_the_reliance_bit() {
    check(3, || {
        let (world, mut parkers) = World::new(2);
        let (sleeper, parker) = (world.active(1), parkers.remove(1));
        let sleeping = match sleeper.park().recheck(|| world.items.pop()) {
            Recheck::Work(..) => unreachable!("there is nothing yet"),
            Recheck::Nothing(sleeping) => sleeping,
        };
        let Woken::Searching(searching) = world.searching(0) else {
            unreachable!("the first worker may search");
        };
        let shared = Arc::clone(&world);
        let searcher = thread::spawn(move || drop(searching.found_with(|| shared.items.any())));
        let shared = Arc::clone(&world);
        let second = thread::spawn(move || {
            let woken = sleeping.sleep(|| parker.park());
            drop(shared.take_one(woken, &parker));
        });
        world.submit();
        searcher.join().unwrap();
        second.join().unwrap();
        world.assert_over();
    });
}

#[test]
fn i3_a_worker_that_finds_work_in_the_last_look_wakes_the_next() {
    check(2, || {
        relying_on_a_searcher(|world, searching| {
            match searching
                .park()
                .recheck_with(|| Some(()), || world.items.any())
            {
                Recheck::Work(active, ()) => drop(active),
                // The other worker had parked already and is no searcher, so another was counted
                // in.
                Recheck::Nothing(sleeping) => match sleeping.cancel() {
                    Woken::Searching(searching) => drop(searching.found()),
                    Woken::Active(active) => drop(active),
                },
            }
        });
    });
}

#[test]
fn i3_a_dropped_searcher_passes_its_duty_on() {
    check(2, || relying_on_a_searcher(|_, searching| drop(searching)));
}

#[test]
fn i3_a_parking_worker_that_is_dropped_before_it_looks_passes_its_duty_on() {
    check(2, || {
        relying_on_a_searcher(|_, searching| drop(searching.park()))
    });
}

/// One announcer counts a searcher in and then finds no worker to claim, because the sleeper that
/// it saw has gone. Meanwhile a submitter has relied on the count, and a worker has left the look
/// to it.
#[test]
fn i3_a_waker_that_claimed_no_worker_looks_again() {
    check(1, || {
        let (world, mut parkers) = World::new(2);
        let sleeping = match world.active(0).park().recheck(|| world.items.pop()) {
            Recheck::Work(..) => unreachable!("there is nothing yet"),
            Recheck::Nothing(sleeping) => sleeping,
        };
        let goes = thread::spawn(move || drop(sleeping));
        let (active, parker) = (world.active(1), parkers.remove(1));
        let shared = Arc::clone(&world);
        let worker = thread::spawn(move || drop(shared.take_one(active, &parker)));
        let shared = Arc::clone(&world);
        let other = thread::spawn(move || shared.submit());
        let _ = world.idle.announce(1); // in vain, which is allowed
        goes.join().unwrap();
        worker.join().unwrap();
        other.join().unwrap();
        world.assert_over();
    });
}

/// A worker that wakes by itself in the moment in which it is claimed is a searcher, and sees the
/// announced item. The claim is its only link to the submitter.
#[test]
fn i2_a_claimed_worker_that_wakes_by_itself_sees_the_item() {
    check(3, || {
        let (world, _parkers) = World::new(1);
        let value = Plain::new();
        let active = world.active(0);
        let (shared, read) = (Arc::clone(&world), Arc::clone(&value));
        let worker = thread::spawn(move || {
            let sleeping = match active.park().recheck(|| shared.items.pop()) {
                Recheck::Work(active, ()) => return drop(active),
                Recheck::Nothing(sleeping) => sleeping,
            };
            match sleeping.sleep(|| ()) {
                Woken::Searching(searching) => {
                    assert_eq!(read.get(), 7);
                    assert!(shared.items.pop().is_some());
                    drop(searching.found());
                }
                Woken::Active(active) => drop(active),
            }
        });
        value.set(7);
        world.submit();
        worker.join().unwrap();
        assert_eq!((world.idle.searching(), world.idle.sleeping()), (0, 0));
    });
}

/// As above, but the worker is claimed by a searcher that has found work and wakes the next one. No
/// fence is in between.
#[test]
fn i2_a_worker_claimed_by_a_searcher_sees_what_that_did_before() {
    check(3, || {
        let (world, _parkers) = World::new(2);
        let value = Plain::new();
        let Woken::Searching(searching) = world.searching(0) else {
            unreachable!("the first worker may search");
        };
        let sleeping = match world.idle.join(1).unwrap().park().recheck(|| None::<()>) {
            Recheck::Work(..) => unreachable!("there is nothing"),
            Recheck::Nothing(sleeping) => sleeping,
        };
        let written = Arc::clone(&value);
        let searcher = thread::spawn(move || {
            written.set(7);
            drop(searching.found());
        });
        match sleeping.sleep(|| ()) {
            Woken::Searching(searching) => {
                assert_eq!(value.get(), 7);
                drop(searching.found());
            }
            Woken::Active(active) => drop(active),
        }
        searcher.join().unwrap();
        world.assert_over();
    });
}

#[test]
fn a_number_has_one_holder_at_a_time_and_the_next_sees_what_the_last_did() {
    check(3, || {
        let (world, _parkers) = World::new(1);
        let value = Plain::new();
        let (shared, written) = (Arc::clone(&world), Arc::clone(&value));
        let first = thread::spawn(move || {
            if let Some(active) = shared.idle.join(0) {
                written.set(written.get() + 1);
                drop(active);
            }
        });
        if let Some(active) = world.idle.join(0) {
            value.set(value.get() + 1);
            drop(active);
        }
        first.join().unwrap();
        assert!((1..=2).contains(&value.get()));
        assert_eq!(world.idle.joined(), 0);
    });
}

// --- Event count ---------------------------------------------------------------------------------

#[test]
fn e2_no_waiter_sleeps_through_the_last_notification() {
    check(3, || {
        let event = Arc::new(EventCount::new());
        let ready = Arc::new(AtomicUsize::new(0));
        let (waited, condition) = (Arc::clone(&event), Arc::clone(&ready));
        let waiter = thread::spawn(move || {
            while condition.load(Ordering::Relaxed) == 0 {
                let waiting = waited.prepare();
                if condition.load(Ordering::Relaxed) == 0 {
                    waiting.wait();
                }
            }
        });
        ready.store(1, Ordering::Relaxed);
        event.notify_one();
        waiter.join().unwrap();
        assert_eq!(event.waiters(), 0);
    });
}

#[test]
fn e3_every_notification_ends_a_wait_even_if_a_waiter_cancels() {
    check(2, || {
        let event = Arc::new(EventCount::new());
        let items = Arc::new(Items(AtomicUsize::new(0)));
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let (event, items) = (Arc::clone(&event), Arc::clone(&items));
                thread::spawn(move || {
                    loop {
                        let waiting = event.prepare();
                        if items.pop().is_some() {
                            return waiting.cancel();
                        }
                        waiting.wait();
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            items.push();
            event.notify_one();
        }
        for taker in takers {
            taker.join().unwrap();
        }
        assert_eq!(event.waiters(), 0);
    });
}

#[test]
fn e1_a_wait_that_ends_shows_what_the_notifier_did() {
    check(3, || {
        let event = Arc::new(EventCount::new());
        let value = Plain::new();
        let waiting = event.prepare();
        let (notified, written) = (Arc::clone(&event), Arc::clone(&value));
        let notifier = thread::spawn(move || {
            written.set(7);
            notified.notify_all();
        });
        waiting.wait();
        assert_eq!(value.get(), 7);
        notifier.join().unwrap();
    });
}

// --- Thread pool ---------------------------------------------------------------------------------

/// The thread's idle time is over as soon as it begins (a model has no time). So it ends in every
/// possible moment, also in the one in which it is given a job.
#[test]
fn t2_a_thread_never_ends_with_a_job() {
    check(2, || {
        let pool = ThreadPool::new(PoolConfig {
            threads_max: 1,
            ..PoolConfig::default()
        })
        .unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..2 {
            let ran = Arc::clone(&ran);
            let _ = pool
                .run(move || {
                    ran.fetch_add(1, Ordering::Relaxed);
                })
                .unwrap();
        }
        assert_eq!(pool.shutdown(Duration::MAX), ShutdownResult::Complete);
        assert_eq!(ran.load(Ordering::Relaxed), 2);
    });
}
