//! Goal: two schedulers that wake each other's tasks, whose hooks spawn, and whose destructors
//! spawn, wake, abort, join and panic, ended at random moments: every future is dropped exactly
//! once, every handle is answered, nothing hangs. Method: rounds of two schedulers with everything
//! drawn from a seed, which a failure prints; a ledger with a place for each future. A short run
//! every day; the ignored one is long, and longer with `STEALYARD_SOAK`.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use stealyard::{Builder, Handle, JoinHandle, Scheduler, Shutdown, spawn_local};
use stealyard_sync::seed::Rng;
use support::{ends, silence, soak, wait_until};

/// Futures of one round; more than that many are not made.
const PLACES: usize = 2_000;

/// What the two schedulers of a round share.
struct Round {
    seed: AtomicU64,
    /// How often the future of each place was dropped.
    dropped: Vec<AtomicUsize>,
    given: AtomicUsize,
    unanswered: Mutex<Vec<JoinHandle<()>>>,
    wakers: [Mutex<Vec<Waker>>; 2],
    handles: [Handle; 2],
    /// Whether a worker of the first blocks while it ends the second. Then no destructor may wait
    /// for a task: the end of the second waits for the destructors of its blocking calls, and a
    /// task of the first may have no worker left.
    ends_inside: bool,
}

impl Round {
    fn rng(&self) -> Rng {
        Rng::new(self.seed.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst))
    }

    fn entry(self: &Arc<Self>) -> Option<Entry> {
        let place = self.given.fetch_add(1, Ordering::SeqCst);
        (place < PLACES).then(|| Entry(Arc::clone(self), place))
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst).min(PLACES)
    }

    fn dropped(&self) -> usize {
        let counts = self
            .dropped
            .iter()
            .map(|count| count.load(Ordering::SeqCst));
        counts.sum()
    }

    /// Wakes some tasks of one of the schedulers.
    fn wake(&self, whose: usize, rng: &mut Rng) {
        let woken: Vec<_> = {
            let mut wakers = self.wakers[whose].lock().unwrap();
            let keep = rng.below(4) as usize;
            let from = wakers.len().min(keep);
            wakers.drain(from..).collect()
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// Spawns in one of the schedulers, in some way, and does something to the handle.
    fn spawn(self: &Arc<Self>, rng: &mut Rng) {
        let whose = rng.below(2) as usize;
        let Some(entry) = self.entry() else { return };
        let handle = &self.handles[whose];
        let task = match rng.below(8) {
            0 => return handle.spawn_detached(body(whose, entry)),
            1 => handle.spawn_blocking(move || drop(entry)),
            2 => {
                // Where there is no worker, or it has stopped, it panics, and the future is
                // dropped.
                let local = || spawn_local(body(whose, entry));
                match catch_unwind(AssertUnwindSafe(local)) {
                    Ok(task) => task,
                    Err(_) => return,
                }
            }
            3 => {
                let place = stealyard::Place::Worker(rng.below(2) as usize % handle.parallelism());
                handle.spawn_on(place, body(whose, entry)).unwrap()
            }
            _ => handle.spawn(body(whose, entry)),
        };
        match rng.below(4) {
            0 => drop(task),
            1 => {
                task.abort();
                self.unanswered.lock().unwrap().push(task);
            }
            2 if !self.ends_inside => {
                // On a worker it panics; on a thread that may block it waits.
                task.abort();
                let answer = catch_unwind(AssertUnwindSafe(|| task.join()));
                // A payload that was not taken throws, and here it would be thrown at this code.
                std::mem::forget(answer);
            }
            _ => self.unanswered.lock().unwrap().push(task),
        }
    }
}

/// Held by each future: its destructor meddles.
struct Entry(Arc<Round>, usize);

/// Panics when it is dropped.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Self(self.0 - 1));
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let round = &self.0;
        round.dropped[self.1].fetch_add(1, Ordering::SeqCst);
        let mut rng = round.rng();
        match rng.below(8) {
            0 | 1 => round.spawn(&mut rng),
            2 | 3 => {
                let whose = rng.below(2) as usize;
                round.wake(whose, &mut rng);
            }
            4 if !std::thread::panicking() => panic_any(Bomb(rng.below(4))),
            5 => {
                let taken = round.unanswered.lock().unwrap().pop();
                if let Some(task) = taken {
                    task.abort();
                    round.unanswered.lock().unwrap().push(task);
                }
            }
            _ => {}
        }
    }
}

async fn body(whose: usize, entry: Entry) {
    let round = Arc::clone(&entry.0);
    let mut rng = round.rng();
    for _ in 0..rng.below(4) {
        match rng.below(8) {
            0 => stealyard::yield_now().await,
            1 => round.spawn(&mut rng),
            2 => round.wake(1 - whose, &mut rng),
            3 => panic_any(Bomb(rng.below(4))),
            4 => {
                stealyard::join(
                    || round.wake(whose, &mut round.rng()),
                    || round.spawn(&mut round.rng()),
                );
            }
            _ => {
                let mut polls = 0;
                poll_fn(|context| {
                    polls += 1;
                    if polls > 1 {
                        return Poll::Ready(());
                    }
                    let waker = context.waker().clone();
                    round.wakers[whose].lock().unwrap().push(waker);
                    Poll::Pending
                })
                .await;
            }
        }
    }
    drop(entry);
}

fn manner(rng: &mut Rng) -> Option<Shutdown> {
    match rng.below(4) {
        0 => None,
        1 => Some(Shutdown::Cancel),
        2 => Some(Shutdown::DrainFor(Duration::ZERO)),
        _ => Some(Shutdown::DrainFor(Duration::from_micros(u64::from(
            rng.below(500),
        )))),
    }
}

fn end(scheduler: Scheduler, how: Option<Shutdown>) {
    match how {
        None => drop(scheduler),
        Some(how) => {
            let _report = scheduler.shutdown(how);
        }
    }
}

fn round(seed: u64) {
    let mut rng = Rng::new(seed);
    let slot: Arc<Mutex<Option<Arc<Round>>>> = Arc::default();
    let build = |workers: usize| {
        let spawns = |one_in: u32| {
            let slot = Arc::clone(&slot);
            move || {
                let round = slot.lock().unwrap().clone();
                if let Some(round) = round {
                    let mut rng = round.rng();
                    match rng.below(one_in) {
                        0 => round.spawn(&mut rng),
                        1 => panic_any(Bomb(2)),
                        _ => {}
                    }
                }
            }
        };
        let (start, stop, park, unpark, panic) =
            (spawns(2), spawns(2), spawns(8), spawns(8), spawns(16));
        let builder = Builder::new()
            .parallelism(workers)
            .on_worker_start(move |_| start())
            .on_worker_stop(move |_| stop())
            .on_park(move |_| park())
            .on_unpark(move |_| unpark())
            .on_task_panic(move |_| panic());
        builder.build().unwrap()
    };
    let counts = [1, 2, 3, 8];
    let mut workers = || counts[rng.below(4) as usize];
    let (one, two) = (build(workers()), build(workers()));
    let shared = Arc::new(Round {
        seed: AtomicU64::new(seed),
        dropped: (0..PLACES).map(|_| AtomicUsize::new(0)).collect(),
        given: AtomicUsize::new(0),
        unanswered: Mutex::default(),
        wakers: Default::default(),
        handles: [one.handle().clone(), two.handle().clone()],
        ends_inside: rng.below(4) == 0,
    });
    *slot.lock().unwrap() = Some(Arc::clone(&shared));
    for _ in 0..rng.below(200) {
        shared.spawn(&mut rng);
    }
    let (first, second) = (manner(&mut rng), manner(&mut rng));
    if shared.ends_inside {
        // From inside: a task of the first ends the second.
        let ends_other = one.spawn(async move { end(two, first) });
        shared.spawn(&mut rng);
        end(one, second);
        drop(ends_other);
    } else {
        let other = std::thread::spawn(move || end(two, first));
        for _ in 0..rng.below(100) {
            shared.spawn(&mut rng);
        }
        end(one, second);
        other.join().unwrap();
    }
    // A time limit does not wait for what is running.
    settle(&shared, seed);
    *slot.lock().unwrap() = None;
}

fn settle(shared: &Arc<Round>, seed: u64) {
    let state = || {
        format!(
            "seed {seed}: {} of {} were dropped",
            shared.dropped(),
            shared.given()
        )
    };
    // Only wakers of tasks that are gone are left, and handles.
    wait_until(
        || {
            let handles = std::mem::take(&mut *shared.unanswered.lock().unwrap());
            let done = handles.iter().all(JoinHandle::is_finished);
            shared.unanswered.lock().unwrap().extend(handles);
            done && shared.dropped() == shared.given()
        },
        state,
    );
    for (place, count) in shared.dropped.iter().take(shared.given()).enumerate() {
        assert_eq!(
            count.load(Ordering::SeqCst),
            1,
            "seed {seed}: place {place}"
        );
    }
    let handles = std::mem::take(&mut *shared.unanswered.lock().unwrap());
    for handle in handles {
        std::mem::forget(handle.join());
    }
    for wakers in &shared.wakers {
        wakers.lock().unwrap().clear();
    }
}

fn rounds(count: u64, first: u64) {
    silence();
    for seed in first..first + count {
        ends("a round", move || round(seed));
    }
}

#[test]
fn t16_two_schedulers_meddle_with_each_other() {
    rounds(60 * soak() as u64, 1);
}

#[test]
#[ignore = "soak: some minutes"]
fn t16_two_schedulers_meddle_with_each_other_for_long() {
    rounds(20_000 * soak() as u64, 1_000_000);
}
