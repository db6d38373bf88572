//! Goal: no wake is lost, in any interleaving and with any allowed reordering.
//!
//! Method: small models, each named after the invariant it checks, explored by loom. A lost wake shows
//! as a deadlock, which loom reports; visibility is checked with a value written by a plain store.
#![cfg(stealyard_loom)]

use std::cell::Cell;

use stealyard_park::idle::{Active, Recheck, Woken};
use stealyard_park::{Idle, ParkResult, Parker};
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
        // SAFETY: 1. loom checks that nobody else accesses it meanwhile.
        self.0.with_mut(|at| unsafe { *at = value });
    }

    fn get(&self) -> usize {
        // SAFETY: 1. loom checks that nobody writes meanwhile.
        self.0.with(|at| unsafe { *at })
    }
}

// --- Parker ---------------------------------------------------------------------------------------

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
        // Three takings, two tokens: never all three, and once both are there the value is visible.
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

// --- Idle -----------------------------------------------------------------------------------------

/// A queue as weak as a queue may be: a counter with relaxed accesses, so that only the protocol's own
/// fences make an item visible.
struct Items(AtomicUsize);

impl Items {
    fn push(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads before it takes, as real queues do: the read may be stale, the taking is not.
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

struct World {
    items: Items,
    idle: Idle,
}

impl World {
    fn new(workers: usize) -> (Arc<Self>, Vec<Parker>) {
        let parkers: Vec<Parker> = (0..workers).map(|_| Parker::new()).collect();
        let idle = Idle::new(parkers.iter().map(Parker::unparker));
        let items = Items(AtomicUsize::new(0));
        (Arc::new(Self { items, idle }), parkers)
    }

    fn submit(&self) {
        self.items.push();
        self.idle.announce(1);
    }

    /// Takes one item, sleeping as the protocol says, and returns as an active worker.
    fn take_one(&self, active: Active, parker: &Parker) -> Active {
        let mut state = Woken::Active(active);
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
}

#[test]
fn i5_one_worker_and_an_outside_submitter() {
    check(3, || {
        let (world, mut parkers) = World::new(1);
        let parker = parkers.remove(0);
        let active = world.idle.join(0).unwrap();
        let shared = Arc::clone(&world);
        let worker = thread::spawn(move || drop(shared.take_one(active, &parker)));
        world.submit();
        worker.join().unwrap();
        assert!(!world.items.any());
        assert_eq!((world.idle.searching(), world.idle.sleeping()), (0, 0));
    });
}

#[test]
fn i5_two_workers_and_an_outside_submitter_of_two_items() {
    check(2, || {
        let (world, parkers) = World::new(2);
        let threads: Vec<_> = parkers
            .into_iter()
            .enumerate()
            .map(|(index, parker)| {
                let active = world.idle.join(index).unwrap();
                let shared = Arc::clone(&world);
                thread::spawn(move || drop(shared.take_one(active, &parker)))
            })
            .collect();
        world.submit();
        world.submit();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(!world.items.any());
        assert_eq!((world.idle.searching(), world.idle.sleeping()), (0, 0));
        let _unused = Cell::new(0);
    });
}
