//! Goal: with real threads and the real kernel, no wake and no item is lost.
//!
//! Method: random submissions to queues of every kind, random delays in the places where a race
//! could be lost, workers that come and go, wakes without work at any time. All items are counted.
//! A lost wake shows as a test that does not end. Everything runs with membarrier and, in a child
//! process, with fences. `STEALYARD_SOAK` multiplies the rounds.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stealyard_park::idle::{Recheck, Woken};
use stealyard_park::{EventCount, Idle, Parker};
use stealyard_sync::seed::{Rng, fresh};

fn rounds(everyday: u64) -> u64 {
    let factor = std::env::var("STEALYARD_SOAK").ok();
    factor.map_or(everyday, |factor| {
        let factor: f64 = factor.parse().expect("STEALYARD_SOAK is a number");
        (everyday as f64 * factor) as u64
    })
}

/// Delays the thread: usually not at all, sometimes by a few pauses, seldom by the rest of the time
/// slice, very seldom by a sleep.
fn delay(rng: &mut Rng) {
    match rng.below(400) {
        0 => std::thread::sleep(Duration::from_micros(u64::from(rng.below(100)))),
        1..10 => std::thread::yield_now(),
        10..60 => (0..rng.below(300)).for_each(|_| std::hint::spin_loop()),
        _ => {}
    }
}

const LANES: usize = 3;

struct World {
    lanes: [Mutex<VecDeque<u64>>; LANES],
    idle: Idle,
    taken: AtomicU64,
    sum: AtomicU64,
    stop: AtomicBool,
    progress: EventCount,
}

impl World {
    fn new(parkers: &[Parker]) -> Arc<Self> {
        Arc::new(Self {
            lanes: Default::default(),
            idle: Idle::new(parkers.iter().map(Parker::unparker)),
            taken: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            progress: EventCount::new(),
        })
    }

    fn push(&self, rng: &mut Rng, item: u64) {
        let lane = rng.below(LANES as u32) as usize;
        self.lanes[lane].lock().unwrap().push_back(item);
    }

    fn take(&self) -> Option<u64> {
        self.lanes
            .iter()
            .find_map(|lane| lane.lock().unwrap().pop_front())
    }

    fn any(&self) -> bool {
        self.lanes
            .iter()
            .any(|lane| !lane.lock().unwrap().is_empty())
    }

    fn count(&self, item: u64) {
        self.sum.fetch_add(item, Ordering::Relaxed);
        self.taken.fetch_add(1, Ordering::Release);
        self.progress.notify_all();
    }

    /// Sleeps until `total` items have been taken. This is the event count's part in the soak.
    fn wait_until_taken(&self, total: u64) {
        while self.taken.load(Ordering::Acquire) < total {
            let waiting = self.progress.prepare();
            if self.taken.load(Ordering::Acquire) >= total {
                waiting.cancel();
            } else {
                waiting.wait();
            }
        }
    }

    fn work(&self, index: usize, parker: &Parker) {
        let mut rng = Rng::new(fresh());
        let mut state = Woken::Active(self.idle.join(index).unwrap());
        loop {
            delay(&mut rng);
            if let Some(item) = self.take() {
                state = Woken::Active(match state {
                    Woken::Active(active) => active,
                    Woken::Searching(searching) if rng.below(2) == 0 => searching.found(),
                    Woken::Searching(searching) => searching.found_with(|| self.any()),
                });
                self.count(item);
                continue;
            }
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            state = match state {
                Woken::Active(active) if rng.below(64) == 0 => {
                    drop(active); // leaves, and joins again
                    Woken::Active(self.idle.join(index).unwrap())
                }
                Woken::Active(active) if rng.below(2) == 0 => match active.search() {
                    Ok(searching) => Woken::Searching(searching),
                    Err(active) => self.park(Woken::Active(active), parker, &mut rng),
                },
                other => self.park(other, parker, &mut rng),
            };
        }
    }

    fn park(&self, state: Woken, parker: &Parker, rng: &mut Rng) -> Woken {
        let parking = state.park();
        delay(rng);
        match parking.recheck(|| self.take()) {
            Recheck::Work(active, item) => {
                self.count(item);
                Woken::Active(active)
            }
            Recheck::Nothing(sleeping) => {
                delay(rng);
                let short = rng.below(16) == 0;
                sleeping.sleep(|| {
                    if short {
                        let _either = parker.park_timeout(Duration::from_micros(20));
                    } else {
                        parker.park();
                    }
                })
            }
        }
    }
}

/// Runs eight threads: four workers, three submitters, and one that wakes workers without work.
fn submit_and_sleep(rounds: u64) {
    let parkers: Vec<Parker> = (0..4).map(|_| Parker::new()).collect();
    let world = World::new(&parkers);
    let (submitted, expected) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for (index, parker) in parkers.into_iter().enumerate() {
            let world = &world;
            scope.spawn(move || world.work(index, &parker));
        }
        let submitters: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| submitter(&world, rounds / 3, &submitted, &expected)))
            .collect();
        let pest = scope.spawn(|| {
            let mut rng = Rng::new(fresh());
            while !world.stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_micros(200));
                match rng.below(8) {
                    0 => world.idle.wake_all_workers(),
                    other => world.idle.wake_worker(other as usize),
                }
            }
        });
        for submitter in submitters {
            submitter.join().unwrap();
        }
        world.wait_until_taken(submitted.load(Ordering::Relaxed));
        world.stop.store(true, Ordering::Release);
        pest.join().unwrap();
        world.idle.wake_all_workers();
    });
    assert_eq!(
        world.taken.load(Ordering::Relaxed),
        submitted.load(Ordering::Relaxed)
    );
    assert_eq!(
        world.sum.load(Ordering::Relaxed),
        expected.load(Ordering::Relaxed)
    );
    assert!(!world.any());
    let idle = &world.idle;
    assert_eq!(
        (idle.searching(), idle.sleeping(), idle.joined()),
        (0, 0, 0)
    );
}

fn submitter(world: &World, rounds: u64, submitted: &AtomicU64, expected: &AtomicU64) {
    let mut rng = Rng::new(fresh());
    for round in 0..rounds {
        let items = match rng.below(8) {
            0 => u64::from(rng.below(5)) + 2,
            _ => 1,
        };
        let mut sum = 0;
        for item in 0..items {
            world.push(&mut rng, round + item);
            sum += round + item;
        }
        delay(&mut rng);
        let _ = world.idle.announce(items as usize);
        expected.fetch_add(sum, Ordering::Relaxed);
        let total = submitted.fetch_add(items, Ordering::Relaxed) + items;
        if rng.below(32) == 0 {
            // All items that this thread knows of have been announced: let every worker fall
            // asleep.
            world.wait_until_taken(total.saturating_sub(20));
        }
        delay(&mut rng);
    }
}

#[test]
fn w1_random_submissions_and_sleeps_lose_nothing() {
    submit_and_sleep(rounds(60_000));
}

#[test]
#[ignore = "soak: cargo xtask verify"]
fn w1_soak_of_ten_million_rounds() {
    submit_and_sleep(rounds(10_000_000));
}

/// Tests the other way to order submitters against sleepers. The mode is chosen once in a process,
/// so this runs in a child.
#[test]
fn w1_the_same_with_fences_on_both_sides() {
    for test in [
        "w1_random_submissions_and_sleeps_lose_nothing",
        "w1_single_submissions_at_rest_are_all_run",
    ] {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env("STEALYARD_MEMBARRIER", "off")
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{test} with fences");
    }
}

/// One item at a time, each after every worker has had time to fall asleep, with every kind of wake
/// without work in between (risk W2).
#[test]
fn w1_single_submissions_at_rest_are_all_run() {
    let parkers: Vec<Parker> = (0..2).map(|_| Parker::new()).collect();
    let world = World::new(&parkers);
    std::thread::scope(|scope| {
        for (index, parker) in parkers.into_iter().enumerate() {
            let world = &world;
            scope.spawn(move || world.work(index, &parker));
        }
        let mut rng = Rng::new(fresh());
        for round in 1..=rounds(4_000) {
            if rng.below(4) == 0 {
                world.idle.wake_all_workers();
            }
            delay(&mut rng);
            world.push(&mut rng, 1);
            let _ = world.idle.announce(1);
            world.wait_until_taken(round);
        }
        world.stop.store(true, Ordering::Release);
        world.idle.wake_all_workers();
    });
    assert!(!world.any());
}

/// A searcher takes a task that ends only when all the others have run. The test ends only if it
/// has woken a successor (risk W4).
#[test]
fn w4_a_searcher_that_takes_a_long_task_wakes_a_successor() {
    let parkers: Vec<Parker> = (0..2).map(|_| Parker::new()).collect();
    let idle = Idle::new(parkers.iter().map(Parker::unparker));
    let queue = Mutex::new(VecDeque::new());
    let (short, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let all_done = EventCount::new();
    let run = |item: u64| {
        if item == 0 {
            while short.load(Ordering::Acquire) < 100 {
                let waiting = all_done.prepare();
                if short.load(Ordering::Acquire) < 100 {
                    waiting.wait();
                }
            }
        } else if short.fetch_add(1, Ordering::AcqRel) == 99 {
            all_done.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for (index, parker) in parkers.into_iter().enumerate() {
            let (idle, queue, run, stop) = (&idle, &queue, &run, &stop);
            scope.spawn(move || {
                let take = || queue.lock().unwrap().pop_front();
                let mut state = Woken::Active(idle.join(index).unwrap());
                while !stop.load(Ordering::Acquire) {
                    let found = take();
                    state = match (state, found) {
                        (Woken::Searching(searching), Some(item)) => {
                            let active = searching.found_with(|| !queue.lock().unwrap().is_empty());
                            run(item);
                            Woken::Active(active)
                        }
                        (Woken::Active(active), Some(item)) => {
                            run(item);
                            Woken::Active(active)
                        }
                        (waiting, None) => match waiting.park().recheck(take) {
                            Recheck::Nothing(sleeping) => sleeping.sleep(|| parker.park()),
                            Recheck::Work(active, item) => {
                                run(item);
                                Woken::Active(active)
                            }
                        },
                    };
                }
            });
        }
        for item in 0..=100 {
            queue.lock().unwrap().push_back(item);
            let _ = idle.announce(1);
        }
        while short.load(Ordering::Acquire) < 100 || !queue.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Release);
        idle.wake_all_workers();
    });
}

/// A signal that interrupts the sleep, as stopping and continuing a process does, is not a wake
/// (risk W9).
#[cfg(target_os = "linux")]
#[test]
fn w9_an_interrupted_sleep_goes_on() {
    use std::os::unix::thread::JoinHandleExt;

    extern "C" fn nothing(_signal: libc::c_int) {}

    let handler: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: 1. the handler does nothing, so it may run at any point of any thread.
    let before = unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    assert_ne!(before, libc::SIG_ERR);
    let parker = Parker::new();
    let unparker = parker.unparker();
    let returned = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&returned);
    let sleeper = std::thread::spawn(move || {
        parker.park();
        seen.store(true, Ordering::Release);
    });
    for _ in 0..50 {
        std::thread::sleep(Duration::from_micros(500));
        // SAFETY: 1. the thread has not been joined, so its handle is valid.
        let sent = unsafe { libc::pthread_kill(sleeper.as_pthread_t(), libc::SIGUSR1) };
        assert_eq!(sent, 0);
    }
    assert!(!returned.load(Ordering::Acquire), "no token was left");
    unparker.unpark();
    sleeper.join().unwrap();
}
