//! Programs of the idle protocol in which one thread drives the tokens of many workers.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use stealyard_park::idle::{Active, Parking, RELIANCE_MAX, Recheck, Searching, Sleeping, Woken};
use stealyard_park::{Idle, Nearest, SleeperSet, Wake, WakeOrder};
use stealyard_sync::seed::Rng;

use crate::support::{Entry, Ledger, keep, maybe_panic, quietly};

/// Wakers and a policy that use the protocol and panic, as a seed determines.
struct Foreign {
    idle: OnceLock<Idle>,
    seed: AtomicU64,
    /// For each worker the number of times that it was woken.
    woken: Vec<AtomicUsize>,
    panics: AtomicBool,
}

impl Foreign {
    fn run(&self) {
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        let mut rng = Rng::new(seed);
        if let Some(idle) = self.idle.get() {
            let index = rng.below(9) as usize;
            match rng.below(8) {
                0 => idle.announce(0).woken(),
                1 => idle.announce(1).woken(),
                2 => idle.announce_from(index, 1).woken(),
                3 => idle.joined() + idle.sleeping() + idle.searching() + idle.capacity(),
                4 => usize::from(idle.join(index).is_some()),
                5 => idle.clone().capacity(),
                _ => format!("{idle:?}").len(),
            };
        }
        if self.panics.load(Ordering::Relaxed) {
            maybe_panic(&mut rng, 6);
        }
    }
}

struct Waker(usize, Weak<Foreign>);

impl Wake for Waker {
    fn wake(&self) {
        if let Some(foreign) = self.1.upgrade() {
            foreign.woken[self.0].fetch_add(1, Ordering::Relaxed);
            foreign.run();
        }
    }
}

struct Policy(Weak<Foreign>, Nearest);

impl WakeOrder for Policy {
    fn choose(&self, from: Option<usize>, sleepers: &SleeperSet<'_>) -> Option<usize> {
        if let Some(foreign) = self.0.upgrade() {
            foreign.run();
        }
        self.1.choose(from, sleepers)
    }
}

/// A worker between two steps.
enum Place {
    Out,
    Active(Active),
    Searching(Searching),
    Parking(Parking),
    Sleeping(Sleeping),
    /// The worker's token is forgotten.
    Lost,
}

impl Place {
    fn woken(woken: Woken) -> Self {
        match woken {
            Woken::Searching(searching) => Self::Searching(searching),
            Woken::Active(active) => Self::Active(active),
        }
    }
}

struct Table {
    idle: Idle,
    foreign: Arc<Foreign>,
    places: Vec<Place>,
    items: RefCell<Vec<Entry>>,
    ledger: Arc<Ledger>,
}

impl Table {
    fn new(rng: &mut Rng) -> Self {
        let workers = rng.below(5) as usize + 1;
        let foreign = Arc::new(Foreign {
            idle: OnceLock::new(),
            seed: AtomicU64::new(rng.next_u64()),
            woken: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            panics: AtomicBool::new(rng.below(2) == 0),
        });
        let weak = Arc::downgrade(&foreign);
        let wakers = (0..workers).map(|worker| Waker(worker, weak.clone()));
        let idle = if rng.below(2) == 0 {
            Idle::new(wakers)
        } else {
            let row = |_| (0..workers).map(|_| rng.below(3)).collect();
            let rows: Vec<Vec<u32>> = (0..workers).map(row).collect();
            let nearest = Nearest::new(&rows).expect("a square");
            Idle::with_order(wakers, Policy(weak.clone(), nearest))
        };
        Self {
            idle,
            foreign,
            places: (0..workers).map(|_| Place::Out).collect(),
            items: RefCell::default(),
            ledger: Arc::default(),
        }
    }

    /// Does one step of a worker, or announces work. A planned panic drops the worker's token.
    fn step(&mut self, rng: &mut Rng) {
        let workers = self.places.len();
        let worker = rng.below(workers as u32 + 3) as usize;
        if worker >= workers {
            self.announce(rng);
            return;
        }
        let place = std::mem::replace(&mut self.places[worker], Place::Out);
        let (idle, items) = (&self.idle, &self.items);
        let look = |rng: &mut Rng| {
            maybe_panic(rng, 12);
            items.borrow_mut().pop()
        };
        let more = || !items.borrow().is_empty();
        let next = quietly(|| match place {
            Place::Out => idle.join(worker).map_or(Place::Out, Place::Active),
            Place::Lost => {
                assert!(idle.join(worker).is_none(), "its number stays taken");
                Place::Lost
            }
            Place::Active(active) => match rng.below(6) {
                0 => active.search().map_or_else(Place::Active, Place::Searching),
                1..4 => Place::Parking(active.park()),
                4 => {
                    let _ = active.announce(rng.below(3) as usize);
                    assert_eq!(active.index(), worker);
                    Place::Active(active)
                }
                _ => Place::Out,
            },
            Place::Searching(searching) => match (look(rng), rng.below(3)) {
                (Some(_), 0) => Place::Active(searching.found()),
                (Some(_), _) => Place::Active(searching.found_with(|| {
                    maybe_panic(rng, 8);
                    more()
                })),
                (None, 0) => Place::Out,
                (None, _) => Place::Parking(Woken::Searching(searching).park()),
            },
            Place::Parking(parking) => {
                let seed = rng.next_u64();
                let more = || {
                    maybe_panic(&mut Rng::new(seed), 8);
                    more()
                };
                let result = match rng.below(2) {
                    0 => parking.recheck(|| look(rng)),
                    _ => parking.recheck_with(|| look(rng), more),
                };
                match result {
                    Recheck::Work(active, _item) => Place::Active(active),
                    Recheck::Nothing(sleeping) => Place::Sleeping(sleeping),
                }
            }
            Place::Sleeping(sleeping) => match rng.below(4) {
                0 => Place::woken(sleeping.cancel()),
                1 => Place::woken(sleeping.sleep(|| maybe_panic(rng, 2))),
                2 => Place::Out,
                _ => Place::Sleeping(sleeping),
            },
        });
        self.places[worker] = next.unwrap_or(Place::Out);
        if rng.below(150) == 0 {
            keep(self.idle.clone());
            std::mem::forget(std::mem::replace(&mut self.places[worker], Place::Lost));
            if self.idle.join(worker).is_some() {
                self.places[worker] = Place::Out; // the worker had no token to forget
            }
        }
    }

    fn announce(&self, rng: &mut Rng) {
        let (idle, from) = (&self.idle, rng.below(9) as usize);
        let items = rng.below(4) as usize;
        let made = || {
            let entries = (0..items).map(|_| self.ledger.entry());
            self.items.borrow_mut().extend(entries);
            items
        };
        quietly(|| match rng.below(8) {
            0 => idle.wake_worker(from),
            1 => idle.wake_all_workers(),
            2 | 3 => _ = idle.announce_from(from, made()),
            _ => _ = idle.announce(made()),
        });
    }

    fn check(&self) {
        let there = |place: &&Place| !matches!(place, Place::Out);
        let joined = self.places.iter().filter(there).count();
        assert_eq!(self.idle.joined(), joined);
        let lost = self.places.iter().any(|place| matches!(place, Place::Lost));
        let between = |place: &Place| matches!(place, Place::Parking(_));
        if !lost && !self.places.iter().any(between) {
            // A panic of the policy or of a waker may have left only the worker that runs.
            let panics = self.foreign.panics.load(Ordering::Relaxed);
            self.idle
                .debug_assert_at_rest(!panics && !self.items.borrow().is_empty());
        }
    }

    /// Checks that, while work is announced, no worker that can be woken sleeps on, whatever was
    /// forgotten.
    fn end(mut self) {
        self.foreign.panics.store(false, Ordering::Relaxed);
        let idle = self.idle.clone();
        for worker in 0..self.places.len() {
            if matches!(self.places[worker], Place::Lost) {
                continue;
            }
            if let Place::Sleeping(sleeping) =
                std::mem::replace(&mut self.places[worker], Place::Out)
            {
                let seen = || self.foreign.woken[worker].load(Ordering::Relaxed);
                // If the worker was claimed before, it runs and sleeps anew.
                let Place::Active(active) = (match sleeping.cancel() {
                    Woken::Searching(searching) => Place::Active(searching.found()),
                    Woken::Active(active) => Place::Active(active),
                }) else {
                    unreachable!("it was made active");
                };
                let Recheck::Nothing(_sleeping) = active.park().recheck(|| None::<()>) else {
                    unreachable!("nothing was looked for");
                };
                let before = seen();
                let limit = RELIANCE_MAX * self.places.len();
                assert!(
                    (0..=limit).any(|_| {
                        let _ = idle.announce(1);
                        seen() > before
                    }),
                    "worker {worker} is not woken by {limit} announcements: {idle:?}"
                );
            }
        }
        let lost = |place: &&Place| matches!(place, Place::Lost);
        let lost = self.places.iter().filter(lost).count();
        self.places.clear();
        assert_eq!(idle.joined(), lost);
        assert!(idle.searching() + idle.sleeping() <= lost, "{idle:?}");
        self.items.take();
        self.ledger.assert_settled();
    }
}

pub(crate) fn idle_alone(rng: &mut Rng) {
    let mut table = Table::new(rng);
    if rng.below(2) == 0 {
        // The wakers and the policy must not take numbers that a worker holds, nor keep any.
        assert!(table.foreign.idle.set(table.idle.clone()).is_ok());
    }
    for _ in 0..rng.below(300) {
        table.step(rng);
        table.check();
    }
    table.end();
}
