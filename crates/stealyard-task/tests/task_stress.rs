//! Goal: under wakes, aborts, joins, detaching and shutdown from many threads at once, every future
//! and every output is dropped exactly once, no wake is lost, and all memory comes back.
//!
//! Method: the task parts under a queue that several threads run. Other threads do to the tasks
//! what can be done, chosen at random. Counts must add up at the end. Worth running under the
//! sanitizers. `STEALYARD_SOAK` multiplies the rounds.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[expect(dead_code, reason = "it serves `task.rs`, too")]
#[path = "support/by_hand.rs"]
mod by_hand;

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use by_hand::{Counted, Counter, Scheduler};
use stealyard_sync::seed::Rng;
use stealyard_task::{JoinError, JoinHandle};

fn rounds(base: usize) -> usize {
    let soak = std::env::var("STEALYARD_SOAK").map_or(1, |text| text.parse().unwrap());
    base * soak
}

/// What a task and the threads that wake it share.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    /// Waits until it is rung. The ring is read relaxed, so only the wake orders it.
    fn wait(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let bell = Arc::clone(self);
        poll_fn(move |context| {
            let mut waker = bell.waker.lock().unwrap();
            // Ordering: Relaxed; under the lock that `ring` takes afterwards.
            if bell.rung.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            *waker = Some(context.waker().clone());
            Poll::Pending
        })
    }

    fn ring(&self, rng: &mut Rng) {
        // Ordering: Relaxed; the lock publishes it.
        self.rung.store(true, Ordering::Relaxed);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            for _ in 0..rng.below(3) {
                drop(waker.clone());
                waker.wake_by_ref();
            }
            waker.wake();
        }
    }
}

/// Sets its flag when it is dropped, also by a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        // Ordering: Relaxed; a flag of its own.
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs the queue on `count` threads while `f` runs.
fn with_runners<R>(scheduler: &Scheduler, count: usize, f: impl FnOnce() -> R) -> R {
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        let _stop = Stop(&stop);
        for _ in 0..count {
            threads.spawn(|| {
                // Ordering: Relaxed; a flag of its own.
                while !stop.load(Ordering::Relaxed) {
                    if scheduler.run() == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
        f()
    })
}

/// What to do something to.
enum Work {
    Ring(Arc<Bell>),
    Handle(JoinHandle<Counted>),
    /// The handle of a task that is never rung: only an abort ends it.
    Silent(JoinHandle<Counted>),
}

/// Does something to each task that it is given. Returns how many results it saw, and how many
/// cancellations.
fn interfere(work: &Receiver<Work>, seed: u64) -> (usize, usize) {
    let mut rng = Rng::new(seed);
    let (mut results, mut cancelled) = (0, 0);
    while let Ok(work) = work.recv() {
        let handle = match work {
            Work::Ring(bell) => {
                bell.ring(&mut rng);
                continue;
            }
            Work::Silent(handle) => {
                handle.abort();
                assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
                cancelled += 1;
                continue;
            }
            Work::Handle(handle) => handle,
        };
        match rng.below(5) {
            0 => drop(handle),
            1 => {
                handle.abort();
                drop(handle);
            }
            choice => {
                if choice == 2 {
                    handle.abort();
                }
                match handle.join() {
                    Ok(_output) => results += 1,
                    Err(JoinError::Cancelled) => cancelled += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    (results, cancelled)
}

/// T15, T1: everything at once.
#[test]
fn t15_every_future_and_every_output_is_dropped_once() {
    let scheduler = Scheduler::new();
    let (futures, outputs) = (Counter::new(), Counter::new());
    let tasks = rounds(20_000);
    let began = Arc::new(AtomicUsize::new(0));
    with_runners(&scheduler, 2, || {
        let (ringers, handlers): (Sender<Work>, Sender<Work>);
        let (sender, ring) = channel();
        ringers = sender;
        let (sender, handle) = channel();
        handlers = sender;
        let threads = [
            thread::spawn(move || interfere(&ring, 1)),
            thread::spawn(move || interfere(&handle, 2)),
        ];
        for number in 0..tasks {
            let bell = Arc::<Bell>::default();
            let (wait, held) = (bell.wait(), Counted::new(&futures));
            let output = Counted::new(&outputs);
            let began = Arc::clone(&began);
            let handle = scheduler.spawn(async move {
                let _held = held;
                // Ordering: Relaxed; a count.
                began.fetch_add(1, Ordering::Relaxed);
                wait.await;
                output
            });
            if number % 16 == 0 {
                handlers.send(Work::Silent(handle)).unwrap();
            } else {
                ringers.send(Work::Ring(bell)).unwrap();
                handlers.send(Work::Handle(handle)).unwrap();
            }
        }
        drop((ringers, handlers));
        let seen = threads.map(|thread| thread.join().unwrap());
        let (results, cancelled) = seen[1];
        assert!(results > 0 && cancelled > 0, "both ends were met: {seen:?}");
    });
    while scheduler.run() > 0 {}
    assert_eq!(futures.drops(), tasks);
    assert_eq!(outputs.drops(), tasks);
    scheduler.finish();
}

/// No wake is lost: each task is rung once, by a foreign thread, and each ends.
#[test]
fn s7_every_task_that_is_woken_ends() {
    let scheduler = Scheduler::new();
    let tasks = rounds(30_000);
    with_runners(&scheduler, 2, || {
        let (sender, bells) = channel::<Arc<Bell>>();
        let ringer = thread::spawn(move || {
            let mut rng = Rng::new(3);
            for bell in bells {
                bell.ring(&mut rng);
            }
        });
        let handles: Vec<_> = (0..tasks)
            .map(|_| {
                let bell = Arc::<Bell>::default();
                let handle = scheduler.spawn(bell.wait());
                sender.send(bell).unwrap();
                handle
            })
            .collect();
        drop(sender);
        for handle in handles {
            handle.join().unwrap();
        }
        ringer.join().unwrap();
    });
    scheduler.finish();
}

/// Foreign threads wake, clone and drop wakers while the scheduler is closed and dropped (risks T1,
/// T2).
#[test]
fn t1_wakes_meet_the_end_of_the_scheduler() {
    for round in 0..rounds(2_000) {
        let scheduler = Scheduler::new();
        let counter = Counter::new();
        let bells: Vec<Arc<Bell>> = (0..4).map(|_| Arc::default()).collect();
        let handles: Vec<_> = bells
            .iter()
            .map(|bell| {
                let (wait, held) = (bell.wait(), Counted::new(&counter));
                scheduler.spawn(async move {
                    let _held = held;
                    wait.await;
                })
            })
            .collect();
        scheduler.run();
        let alive = scheduler.alive();
        let other = thread::spawn(move || {
            let mut rng = Rng::new(round as u64);
            for bell in &bells {
                bell.ring(&mut rng);
            }
        });
        if round % 2 == 0 {
            thread::yield_now();
        }
        scheduler.close();
        drop(scheduler);
        other.join().unwrap();
        for handle in handles {
            assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
        }
        assert_eq!(counter.drops(), 4);
        assert!(!alive(), "the last reference took the scheduler along");
    }
}

/// Blocks go round between threads that only allocate and threads that only free.
#[test]
fn m1_memory_comes_back_whichever_thread_frees_it() {
    let scheduler = Scheduler::new();
    let (sender, receiver) = channel::<JoinHandle<u64>>();
    let tasks = rounds(50_000) as u64;
    with_runners(&scheduler, 1, || {
        let other =
            thread::spawn(move || receiver.iter().map(|handle| handle.join().unwrap()).sum());
        for number in 0..tasks {
            let pad = [number; 20];
            let handle = if number % 3 == 0 {
                scheduler.spawn(async move { pad[19] })
            } else {
                scheduler.spawn(async move { number })
            };
            sender.send(handle).unwrap();
        }
        drop(sender);
        let sum: u64 = other.join().unwrap();
        assert_eq!(sum, tasks * (tasks - 1) / 2);
    });
    scheduler.finish();
}
