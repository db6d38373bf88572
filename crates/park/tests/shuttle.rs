//! Goal: the shipping code of the idle protocol, the event count and the thread pool with more
//! threads than loom can hold.
//!
//! Method: shuttle runs one thread at a time and chooses the next from a seed, in thousands of
//! schedules, half of them random and half PCT (`stealyard_sync::replay`). It is sequentially
//! consistent, so memory orderings are left to loom. A lost wake shows as a deadlock, and the
//! schedule that leads to it is printed with the command that replays it.
#![cfg(stealyard_shuttle)]

use std::collections::VecDeque;

use stealyard_park::idle::{Recheck, Woken};
use stealyard_park::pool::ShutdownResult;
use stealyard_park::{EventCount, Idle, Parker, PoolConfig, ThreadPool};
use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::replay::check;
use stealyard_sync::time::Duration;
use stealyard_sync::{Arc, Mutex, thread};

/// The number of schedules of each scenario that run every day.
const EVERY_DAY: usize = 2_000;

struct World {
    queue: Mutex<VecDeque<usize>>,
    idle: Idle,
    taken: AtomicUsize,
    done: EventCount,
}

impl World {
    fn take(&self) -> Option<usize> {
        self.queue.lock().unwrap().pop_front()
    }

    /// Works until it takes a zero, which tells a worker to stop.
    fn work(&self, index: usize, parker: &Parker) {
        let mut state = Woken::Active(self.idle.join(index).unwrap());
        loop {
            let found = self.take();
            let (active, item) = match (state, found) {
                (Woken::Active(active), Some(item)) => (active, item),
                (Woken::Searching(searching), Some(item)) if item.is_multiple_of(2) => {
                    (searching.found(), item)
                }
                (Woken::Searching(searching), Some(item)) => {
                    let more = || !self.queue.lock().unwrap().is_empty();
                    (searching.found_with(more), item)
                }
                (waiting, None) => {
                    let waiting = match waiting {
                        Woken::Active(active) if index.is_multiple_of(2) => {
                            active.search().map_or_else(Woken::Active, Woken::Searching)
                        }
                        other => other,
                    };
                    let Some(next) = self.park(waiting, parker) else {
                        return;
                    };
                    state = next;
                    continue;
                }
            };
            if self.count(item) {
                return;
            }
            state = Woken::Active(active);
        }
    }

    /// Counts the item. Returns true if it is a zero.
    fn count(&self, item: usize) -> bool {
        if item != 0 {
            self.taken.fetch_add(1, Ordering::Relaxed);
            self.done.notify_all();
        }
        item == 0
    }

    fn park(&self, state: Woken, parker: &Parker) -> Option<Woken> {
        match state.park().recheck(|| self.take()) {
            Recheck::Work(active, item) => (!self.count(item)).then_some(Woken::Active(active)),
            Recheck::Nothing(sleeping) => Some(sleeping.sleep(|| parker.park())),
        }
    }

    fn submit(&self, items: &[usize]) {
        self.queue.lock().unwrap().extend(items);
        let _ = self.idle.announce(items.len());
    }
}

/// Eight threads: four workers, two submitters with single items and batches, one that wakes all
/// workers without work, and a waiter on the event count.
#[test]
fn w1_four_workers_lose_nothing_in_any_schedule() {
    check("idle", EVERY_DAY, || {
        let parkers: Vec<Parker> = (0..4).map(|_| Parker::new()).collect();
        let world = Arc::new(World {
            queue: Mutex::new(VecDeque::new()),
            idle: Idle::new(parkers.iter().map(Parker::unparker)),
            taken: AtomicUsize::new(0),
            done: EventCount::new(),
        });
        let mut threads = Vec::new();
        for (index, parker) in parkers.into_iter().enumerate() {
            let world = Arc::clone(&world);
            threads.push(thread::spawn(move || world.work(index, &parker)));
        }
        for items in [&[1, 2][..], &[3, 4, 5]] {
            let world = Arc::clone(&world);
            threads.push(thread::spawn(move || {
                world.submit(&items[..1]);
                world.submit(&items[1..]);
            }));
        }
        let disturber = Arc::clone(&world);
        threads.push(thread::spawn(move || disturber.idle.wake_all_workers()));
        while world.taken.load(Ordering::Relaxed) < 5 {
            let waiting = world.done.prepare();
            if world.taken.load(Ordering::Relaxed) < 5 {
                waiting.wait();
            }
        }
        for _ in 0..4 {
            world.submit(&[0]);
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(world.queue.lock().unwrap().is_empty());
        let idle = &world.idle;
        assert_eq!(
            (idle.searching(), idle.sleeping(), idle.joined()),
            (0, 0, 0)
        );
    });
}

/// Threads that end as soon as they are idle (a model has no time), two callers, and a shutdown.
#[test]
fn t1_a_pool_loses_no_job_in_any_schedule() {
    check("pool", EVERY_DAY, || {
        let config = PoolConfig {
            threads_max: 2,
            ..PoolConfig::default()
        };
        let pool = Arc::new(ThreadPool::new(config).unwrap());
        let ran = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let (pool, ran) = (Arc::clone(&pool), Arc::clone(&ran));
                thread::spawn(move || {
                    for _ in 0..3 {
                        let ran = Arc::clone(&ran);
                        let job = move || {
                            ran.fetch_add(1, Ordering::Relaxed);
                        };
                        let _ = pool.run(job).unwrap();
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        assert_eq!(pool.shutdown(Duration::MAX), ShutdownResult::Complete);
        assert_eq!(ran.load(Ordering::Relaxed), 6);
    });
}
