//! Goal: in every situation that one thread can set up, the idle protocol wakes the right workers
//! and the right number of them. After every step of random histories no work waits beside a
//! sleeper (I5 of `idle.rs`).
//!
//! Method: one thread drives the tokens of many workers, with wakers that only record that they
//! were called. A property test drives random steps and asserts I5 in between.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use stealyard_park::idle::{Active, Parking, Recheck, Searching, Sleeping, Woken};
use stealyard_park::{Idle, Nearest, Wake};

type Log = Arc<Mutex<Vec<usize>>>;

struct Recorder(usize, Log);

impl Wake for Recorder {
    fn wake(&self) {
        self.1.lock().unwrap().push(self.0);
    }
}

fn recorders(workers: usize) -> (Vec<Recorder>, Log) {
    let log = Log::default();
    let wakers = (0..workers).map(|index| Recorder(index, Arc::clone(&log)));
    (wakers.collect(), log)
}

fn idle(workers: usize) -> (Idle, Log) {
    let (wakers, log) = recorders(workers);
    (Idle::new(wakers), log)
}

fn asleep(idle: &Idle, order: impl IntoIterator<Item = usize>) -> Vec<Sleeping> {
    let fall_asleep = |index| match idle.join(index).unwrap().park().recheck(|| None::<()>) {
        Recheck::Work(..) => unreachable!("there is no work"),
        Recheck::Nothing(sleeping) => sleeping,
    };
    order.into_iter().map(fall_asleep).collect()
}

fn woken(log: &Log) -> Vec<usize> {
    core::mem::take(&mut log.lock().unwrap())
}

#[test]
fn one_item_wakes_the_most_recent_sleeper_and_no_second() {
    let (idle, log) = idle(4);
    let mut sleeping = asleep(&idle, [2, 0, 3, 1]);
    assert_eq!(idle.announce(1).woken(), 1);
    assert_eq!(woken(&log), [1]);
    assert_eq!(idle.announce(1).woken(), 0, "a searcher is on its way");
    let Woken::Searching(searching) = sleeping.pop().unwrap().sleep(|| ()) else {
        panic!("it was claimed");
    };
    let _active = searching.found();
    assert_eq!(
        woken(&log),
        [3],
        "the last searcher to find work wakes the next"
    );
    assert_eq!((idle.searching(), idle.sleeping()), (1, 2));
}

#[test]
fn a_batch_wakes_one_worker_for_each_item_without_a_searcher() {
    let (idle, log) = idle(6);
    let sleeping = asleep(&idle, 0..5);
    let searching = idle.join(5).unwrap().search().unwrap();
    assert_eq!(idle.announce(3).woken(), 2);
    assert_eq!(woken(&log), [4, 3]);
    assert_eq!(idle.announce(100).woken(), 3, "no more than sleep");
    assert_eq!(woken(&log), [2, 1, 0]);
    assert_eq!(idle.announce(0).woken(), 0, "nothing wakes nobody");
    drop((sleeping, searching));
    assert_eq!((idle.searching(), idle.joined()), (0, 0));
}

#[test]
fn the_nearest_sleeper_is_woken_first_from_a_worker_and_the_last_from_outside() {
    let table: Vec<Vec<u32>> = (0..6_u32)
        .map(|a| (0..6_u32).map(|b| (a / 2).abs_diff(b / 2)).collect())
        .collect();
    let (wakers, log) = recorders(6);
    let idle = Idle::with_order(wakers, Nearest::new(&table).unwrap());
    let active = idle.join(0).unwrap();
    let _sleeping = asleep(&idle, [5, 1, 3, 2, 4]);
    assert_eq!(active.announce(5).woken(), 5);
    assert_eq!(woken(&log), [1, 2, 3, 4, 5]);
}

#[test]
fn more_workers_than_fit_in_one_word() {
    let (idle, log) = idle(300);
    let sleeping = asleep(&idle, 0..300);
    assert_eq!(idle.sleeping(), 300);
    assert_eq!(idle.announce(300).woken(), 300);
    let mut all = woken(&log);
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<_>>());
    for token in sleeping {
        assert!(matches!(token.cancel(), Woken::Searching(_)));
    }
    assert_eq!((idle.searching(), idle.joined()), (0, 0));
}

#[test]
fn half_of_the_workers_awake_may_search() {
    let (idle, _log) = idle(5);
    let mut active: Vec<Active> = (0..5).map(|index| idle.join(index).unwrap()).collect();
    let mut searching = Vec::new();
    let mut refused = Vec::new();
    for token in active.drain(..) {
        match token.search() {
            Ok(token) => searching.push(token),
            Err(token) => refused.push(token),
        }
    }
    assert_eq!((searching.len(), refused.len()), (3, 2));
    // Two workers sleep and three are awake: two may search, and three do.
    let _asleep: Vec<Parking> = refused.into_iter().map(Active::park).collect();
    drop(searching.pop());
    assert!(
        idle.join(2)
            .or_else(|| idle.join(4))
            .unwrap()
            .search()
            .is_err()
    );
}

#[test]
fn only_the_last_to_park_looks_again() {
    let (idle, _log) = idle(4);
    let _others = [idle.join(2).unwrap(), idle.join(3).unwrap()];
    let first = idle.join(0).unwrap().search().unwrap();
    let second = idle.join(1).unwrap().search().unwrap();
    let Recheck::Nothing(_first) = first.park().recheck(|| -> Option<()> {
        panic!("another searcher has the duty");
    }) else {
        unreachable!("the worker must not look");
    };
    let mut looked = false;
    let Recheck::Nothing(_second) = second.park().recheck(|| {
        looked = true;
        None::<()>
    }) else {
        unreachable!("there is no work");
    };
    assert!(looked);
}

#[test]
fn no_worker_is_woken_when_there_is_no_more_work() {
    let (idle, log) = idle(3);
    let _sleeping = asleep(&idle, [1, 2]);
    let searching = idle.join(0).unwrap().search().unwrap();
    let mut looks = 0;
    let active = searching.found_with(|| {
        looks += 1;
        false
    });
    assert_eq!((looks, woken(&log).len()), (1, 0));
    let active = match active
        .search()
        .unwrap()
        .park()
        .recheck_with(|| Some(()), || false)
    {
        Recheck::Work(active, ()) => active,
        Recheck::Nothing(_) => unreachable!("work was found"),
    };
    assert_eq!(woken(&log).len(), 0);
    let _active = active.search().unwrap().found_with(|| true);
    assert_eq!(woken(&log), [2]);
}

#[test]
fn w2_waking_a_worker_without_work_changes_no_count() {
    let (idle, log) = idle(3);
    let sleeping = asleep(&idle, 0..3);
    idle.wake_all_workers();
    idle.wake_worker(1);
    idle.wake_worker(99); // no such worker
    assert_eq!(woken(&log), [0, 1, 2, 1]);
    assert_eq!((idle.searching(), idle.sleeping()), (0, 3));
    for token in sleeping {
        assert!(matches!(token.sleep(|| ()), Woken::Active(_)));
    }
    assert_eq!(
        (idle.searching(), idle.sleeping(), idle.joined()),
        (0, 0, 0)
    );
}

#[test]
fn a_number_is_taken_once_and_free_again_after() {
    let (idle, _log) = idle(2);
    let first = idle.join(0).unwrap();
    assert!(idle.join(0).is_none(), "taken");
    assert!(idle.join(2).is_none(), "no such number");
    assert_eq!(first.index(), 0);
    drop(first);
    assert!(idle.join(0).is_some());
}

#[test]
fn a_panic_in_the_search_takes_the_worker_out_in_good_order() {
    let (idle, log) = idle(3);
    let _sleeping = asleep(&idle, [1, 2]);
    let searching = idle.join(0).unwrap().search().unwrap();
    let other = idle.clone();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _active = searching.found_with(|| panic!("the caller's look fails"));
    }));
    assert!(result.is_err());
    assert_eq!(woken(&log), [2], "its duty was passed on");
    assert_eq!((other.searching(), other.joined()), (1, 2));
}

/// A worker between two steps.
enum Place {
    Out,
    Active(Active),
    Searching(Searching),
    Parking(Parking),
    Sleeping(Sleeping),
}

/// A policy that proposes workers that do not exist.
struct Nonsense;

impl stealyard_park::WakeOrder for Nonsense {
    fn choose(&self, from: Option<usize>, _: &stealyard_park::SleeperSet<'_>) -> Option<usize> {
        from.map(|from| from * 1_000)
    }
}

/// Does one step of worker `index`, chosen by `choice`.
fn step(idle: &Idle, place: Place, index: usize, queue: &mut usize, choice: u8) -> Place {
    let mut take = || {
        let some = *queue > 0;
        *queue -= usize::from(some);
        some.then_some(())
    };
    match place {
        Place::Out => idle.join(index).map_or(Place::Out, Place::Active),
        Place::Active(active) => match choice % 4 {
            0 => {
                take();
                Place::Active(active)
            }
            1 => active.search().map_or_else(Place::Active, Place::Searching),
            2 => Place::Parking(active.park()),
            _ if choice > 240 => Place::Out,
            _ => Place::Active(active),
        },
        Place::Searching(searching) => match (take(), choice % 3) {
            (Some(()), 0) => Place::Active(searching.found_with(|| *queue > 0)),
            (Some(()), _) => Place::Active(searching.found()),
            (None, 0) if choice > 240 => Place::Out, // drops the searcher
            (None, _) => Place::Parking(searching.park()),
        },
        Place::Parking(parking) => match parking.recheck(take) {
            Recheck::Work(active, ()) => Place::Active(active),
            Recheck::Nothing(sleeping) => Place::Sleeping(sleeping),
        },
        Place::Sleeping(sleeping) => match sleeping.sleep(|| ()) {
            Woken::Searching(searching) => Place::Searching(searching),
            Woken::Active(active) => Place::Active(active),
        },
    }
}

proptest! {
    /// Random steps of random workers and submitters, one at a time. No work waits beside a sleeper
    /// (I5) whenever no worker is between parking and looking again, whatever the policy proposes.
    #[test]
    fn i5_holds_after_every_step(
        workers in 1_usize..6,
        nonsense in any::<bool>(),
        steps in prop::collection::vec((0_usize..8, any::<u8>()), 1..200),
    ) {
        let (wakers, _log) = recorders(workers);
        let idle = if nonsense {
            Idle::with_order(wakers, Nonsense)
        } else {
            Idle::new(wakers)
        };
        let mut places: Vec<Place> = (0..workers).map(|_| Place::Out).collect();
        let mut queue = 0;
        for (actor, choice) in steps {
            if actor < workers {
                let place = core::mem::replace(&mut places[actor], Place::Out);
                places[actor] = step(&idle, place, actor, &mut queue, choice);
            } else {
                let items = usize::from(choice % 3) + 1;
                queue += items;
                let _ = idle.announce_from(actor, items);
            }
            let parking = places.iter().any(|place| matches!(place, Place::Parking(_)));
            if !parking {
                idle.debug_assert_at_rest(queue > 0);
            }
        }
        drop(places);
        prop_assert_eq!((idle.searching(), idle.sleeping(), idle.joined()), (0, 0, 0));
    }
}
