//! Programs of the idle protocol with a thread for each worker.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use stealyard_park::idle::{Active, Recheck, Woken};
use stealyard_park::{Idle, Parker, Unparker, Wake};
use stealyard_sync::seed::Rng;

use crate::support::{Entry, Ledger, maybe_panic, planned_panic, quietly, until};

/// A waker that sometimes panics, with or without unparking before.
struct Shaky(Unparker, AtomicU64);

impl Wake for Shaky {
    fn wake(&self) {
        let mut rng = Rng::new(self.1.fetch_add(1, Ordering::Relaxed));
        let fails = rng.below(10) == 0 && !std::thread::panicking();
        if !fails || rng.below(2) == 0 {
            self.0.unpark();
        }
        if fails {
            planned_panic();
        }
    }
}

struct Crew {
    idle: Idle,
    queue: Mutex<VecDeque<Entry>>,
    stop: AtomicBool,
}

impl Crew {
    fn take(&self) -> Option<Entry> {
        self.queue
            .lock()
            .expect("no code panics under this lock")
            .pop_front()
    }

    fn work(&self, index: usize, parker: &Parker, rng: &mut Rng) {
        while !self.stop.load(Ordering::Relaxed) {
            // A panic takes the worker out of the protocol, and it joins again.
            let joined = self.idle.join(index);
            quietly(|| self.rounds(joined.expect("its own number"), parker, rng));
        }
    }

    fn rounds(&self, active: Active, parker: &Parker, rng: &mut Rng) {
        let mut state = Woken::Active(active);
        while !self.stop.load(Ordering::Relaxed) {
            if let Some(_item) = self.take() {
                maybe_panic(rng, 40);
                state = Woken::Active(match state {
                    Woken::Searching(searching) if rng.below(2) == 0 => searching.found(),
                    Woken::Searching(searching) => searching.found_with(|| {
                        maybe_panic(rng, 40);
                        !self
                            .queue
                            .lock()
                            .expect("no code panics under this lock")
                            .is_empty()
                    }),
                    Woken::Active(active) => active,
                });
                continue;
            }
            let look = || {
                maybe_panic(rng, 40);
                self.take()
            };
            state = match state.park().recheck(look) {
                Recheck::Work(active, _item) => Woken::Active(active),
                Recheck::Nothing(sleeping) => sleeping.sleep(|| parker.park()),
            };
        }
    }
}

pub(crate) fn idle_together(rng: &mut Rng) {
    let parkers: Vec<Parker> = (0..3).map(|_| Parker::new()).collect();
    let mut shaky = |parker: &Parker| Shaky(parker.unparker(), AtomicU64::new(rng.next_u64()));
    let crew = Crew {
        idle: Idle::new(parkers.iter().map(&mut shaky)),
        queue: Mutex::default(),
        stop: AtomicBool::new(false),
    };
    let (crew, ledger) = (&crew, &Arc::<Ledger>::default());
    std::thread::scope(|scope| {
        for (index, parker) in parkers.into_iter().enumerate() {
            let mut rng = Rng::new(rng.next_u64());
            scope.spawn(move || crew.work(index, &parker, &mut rng));
        }
        let submitters: Vec<_> = (0..2)
            .map(|_| {
                let mut rng = Rng::new(rng.next_u64());
                scope.spawn(move || {
                    for _ in 0..100 {
                        let items = rng.below(3) as usize + 1;
                        let entries = (0..items).map(|_| ledger.entry());
                        crew.queue
                            .lock()
                            .expect("no code panics under this lock")
                            .extend(entries);
                        quietly(|| _ = crew.idle.announce(items));
                        if rng.below(8) == 0 {
                            quietly(|| crew.idle.wake_worker(rng.below(4) as usize));
                        }
                    }
                })
            })
            .collect();
        submitters
            .into_iter()
            .for_each(|submitter| submitter.join().expect("no panic"));
        // Wakers that panic may have left all workers asleep. Any worker that runs takes
        // everything.
        until(|| {
            quietly(|| crew.idle.wake_all_workers());
            crew.queue
                .lock()
                .expect("no code panics under this lock")
                .is_empty()
        });
        crew.stop.store(true, Ordering::Relaxed);
        until(|| {
            quietly(|| crew.idle.wake_all_workers());
            crew.idle.joined() == 0
        });
    });
    assert_eq!((crew.idle.searching(), crew.idle.sleeping()), (0, 0));
    ledger.assert_settled();
}
