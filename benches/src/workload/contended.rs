//! Threads that wait while other threads want the core: one or several threads that burn CPU time
//! (hogs) run beside each case.
//!
//! Beside the peers stand ours with the spin always on, and always off. They are no peers: the
//! better of the two shows what the learned spin could reach at this load.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Poll, Waker};
use std::thread::{JoinHandle, Thread};

use stealyard_sync::CachePadded;

use crate::harness::{Case, Kind, Subject, timed};
use crate::subject::async_executor::AsyncExecutor;
use crate::subject::ours::{Ours, SpinOff, SpinOn};
use crate::subject::rayon::Rayon;
use crate::subject::tokio::Tokio;
use crate::subject::{ForkJoin, Guest, Runtime, Spawner};
use crate::workload::scheduler;

/// The numbers of threads that burn CPU time beside a case.
const LOADS: [usize; 5] = [0, 1, 2, 3, 4];
/// The number of tasks that each thread of a storm wakes.
const WOKEN: usize = 64;
/// The smallest number of times that they wake each task. Starting and ending the threads may wait
/// for the hogs' time slices, and must not dominate the result.
const STORM_ROUNDS: u64 = 2000;
/// The number of threads of a storm.
const WAKING: usize = 2;

/// A case's name, its operation, and its subjects for a number of workers.
type Entry = (&'static str, &'static str, fn(usize) -> Vec<Subject>);

/// Returns one workload on every scheduler of futures, ours first.
macro_rules! schedulers {
    ($workload:ident $(, $argument:expr)*) => {
        |workers| {
            vec![
                $workload::<Ours>(workers $(, $argument)*),
                $workload::<SpinOn>(workers $(, $argument)*),
                $workload::<SpinOff>(workers $(, $argument)*),
                $workload::<Tokio>(workers $(, $argument)*),
                $workload::<AsyncExecutor>(workers $(, $argument)*),
            ]
        }
    };
}

fn entries() -> [Entry; 7] {
    [
        (
            "block_on a spawned task",
            "task",
            schedulers!(block_on_spawn),
        ),
        (
            "JoinHandle::join from outside",
            "task",
            schedulers!(join_outside),
        ),
        ("install a join", "call", |workers| {
            vec![
                install_join::<Ours>(workers),
                install_join::<SpinOn>(workers),
                install_join::<SpinOff>(workers),
                install_join::<Rayon>(workers),
            ]
        }),
        (
            "ping-pong of a thread outside and a task",
            "round trip",
            schedulers!(outside_ping_pong),
        ),
        (
            "ping-pong of two tasks",
            "round trip",
            schedulers!(inside_ping_pong),
        ),
        ("wake storm from outside", "wake", |workers| {
            schedulers!(storm, Pace::Storm)(workers)
        }),
        ("wakes from outside, all tasks idle", "wake", |workers| {
            schedulers!(storm, Pace::Bursts)(workers)
        }),
    ]
}

/// Returns the cases of this layer.
pub(crate) fn cases(workers: usize) -> Vec<Case> {
    let case = |load: usize, (name, operation, subjects): Entry| Case {
        layer: "contended",
        name: format!("{name}, {load} hogs"),
        operation,
        kind: Kind::Time,
        subjects: Box::new(move || {
            let hogs = Rc::new(Hogs::start(load));
            let beside = |subject: Subject| {
                let (hogs, mut run) = (Rc::clone(&hogs), subject.run);
                let run = move |repetitions| {
                    let _burning = &hogs;
                    run(repetitions)
                };
                Subject {
                    name: subject.name,
                    run: Box::new(run),
                }
            };
            subjects(workers).into_iter().map(beside).collect()
        }),
    };
    let of_load = |load| entries().into_iter().map(move |entry| case(load, entry));
    LOADS.into_iter().flat_map(of_load).collect()
}

/// Threads that burn CPU time until this value is dropped.
struct Hogs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    fn start(count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let burn = |_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut work = 1_u64;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..1000 {
                        work = std::hint::black_box(work.wrapping_mul(3));
                    }
                }
            })
        };
        let threads = (0..count).map(burn).collect();
        Self { stop, threads }
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("it ends");
        }
    }
}

/// A subject whose every run is one call from outside.
fn guest<R: Guest>(workers: usize, call: fn(&R, &R::Spawner, u64)) -> Subject {
    let runtime = R::start(workers);
    let spawner = runtime.spawner();
    let run = move |repetitions| timed(repetitions, || call(&runtime, &spawner, repetitions));
    Subject {
        name: R::NAME,
        run: Box::new(run),
    }
}

/// The root future runs on the thread outside, and the task that it waits for on a worker.
fn block_on_spawn<R: Guest>(workers: usize) -> Subject {
    guest::<R>(workers, |runtime, spawner, repetitions| {
        for number in 0..repetitions {
            let answer = runtime.block_on(async { spawner.spawn(async move { number }).await });
            assert_eq!(answer, number, "a result is wrong");
        }
    })
}

fn join_outside<R: Guest>(workers: usize) -> Subject {
    guest::<R>(workers, |runtime, spawner, repetitions| {
        for number in 0..repetitions {
            let task = spawner.spawn(async move { number });
            assert_eq!(runtime.join(task), number, "a result is wrong");
        }
    })
}

fn install_join<P: ForkJoin>(workers: usize) -> Subject {
    let pool = P::start(workers);
    let run = move |repetitions| {
        timed(repetitions, || {
            for number in 0..repetitions {
                let both = pool.install(|| P::join(|| number, || number + 1));
                assert_eq!(both, (number, number + 1), "a result is wrong");
            }
        })
    };
    Subject {
        name: P::NAME,
        run: Box::new(run),
    }
}

fn outside_ping_pong<R: Guest>(workers: usize) -> Subject {
    guest::<R>(workers, |runtime, spawner, repetitions| {
        let (ping, pinged) = async_channel::bounded(1);
        let (pong, ponged) = async_channel::bounded(1);
        let other = spawner.spawn(async move {
            while let Ok(number) = pinged.recv().await {
                pong.send(number + 1_u64).await.expect("the other waits");
            }
        });
        runtime.block_on(async {
            let mut number = 0;
            for _ in 0..repetitions {
                ping.send(number).await.expect("the other lives");
                number = ponged.recv().await.expect("the other answers");
            }
            assert_eq!(number, repetitions, "a message is lost");
        });
        drop(ping);
        runtime.join(other);
    })
}

fn inside_ping_pong<R: Runtime>(workers: usize) -> Subject {
    scheduler::ping_pong::<R>(workers)
}

/// The moment at which a task is woken again.
#[derive(Clone, Copy)]
enum Pace {
    /// At once, whether it has run or not. Most wakes find a task that is queued already.
    Storm,
    /// When all tasks have run. Every wake finds a task that waits.
    Bursts,
}

/// The state that the woken tasks and the waking threads share.
struct Storm {
    wakers: Mutex<Vec<Waker>>,
    /// The number of the last burst. A task that runs notes it.
    number: AtomicU64,
    /// The number of tasks that have not seen it, and the thread that waits for them.
    unseen: CachePadded<AtomicUsize>,
    waiting: Thread,
    over: AtomicBool,
}

impl Storm {
    /// Makes the calling thread the one that waits for the tasks.
    fn new() -> Self {
        Self {
            wakers: Mutex::new(Vec::new()),
            number: AtomicU64::new(0),
            unseen: CachePadded::new(AtomicUsize::new(WOKEN * WAKING)),
            waiting: std::thread::current(),
            over: AtomicBool::new(false),
        }
    }

    /// Runs one of the tasks: it leaves its waker, and notes at each poll which burst it has seen.
    async fn task(self: Arc<Self>) {
        let mut seen = None;
        std::future::poll_fn(|context| {
            if seen.is_none() {
                let waker = context.waker().clone();
                self.wakers.lock().expect("nobody panics").push(waker);
            }
            let number = self.number.load(Ordering::Acquire);
            let is_new = seen.replace(number) != Some(number);
            if is_new && self.unseen.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.waiting.unpark();
            }
            if self.over.load(Ordering::Acquire) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Begins a burst, in which every task is woken at least once.
    fn next(&self) {
        self.unseen.store(WOKEN * WAKING, Ordering::Release);
        self.number.fetch_add(1, Ordering::AcqRel);
    }

    /// Sleeps until every task has seen the last burst, so that only the wakes are measured.
    fn wait(&self) {
        while self.unseen.load(Ordering::Acquire) > 0 {
            std::thread::park();
        }
    }

    /// Wakes the tasks, each thread its own ones in turns.
    fn blow(&self, wakers: &[Waker], rounds: u64) {
        let begin = Barrier::new(WAKING + 1);
        std::thread::scope(|scope| {
            let threads: Vec<_> = wakers
                .chunks(WOKEN)
                .map(|own| {
                    let begin = &begin;
                    scope.spawn(move || {
                        begin.wait();
                        (0..rounds).for_each(|_| own.iter().for_each(Waker::wake_by_ref));
                    })
                })
                .collect();
            begin.wait();
            for thread in threads {
                thread.join().expect("it ends");
            }
        });
    }
}

/// Threads outside wake tasks. In the end each task has seen the last burst.
fn storm<R: Runtime>(workers: usize, pace: Pace) -> Subject {
    let runtime = R::start(workers);
    let spawner = runtime.spawner();
    let storm = Arc::new(Storm::new());
    for _ in 0..WOKEN * WAKING {
        spawner.spawn_detached(Arc::clone(&storm).task());
    }
    let ends = Ends(storm);
    let run = move |repetitions: u64| {
        let _keep = &runtime;
        let storm = &*ends.0;
        storm.wait();
        let wakers = storm.wakers.lock().expect("nobody panics").clone();
        let least = match pace {
            Pace::Storm => STORM_ROUNDS,
            Pace::Bursts => 1,
        };
        let rounds = repetitions.div_ceil(wakers.len() as u64).max(least);
        timed(rounds * wakers.len() as u64, || match pace {
            Pace::Storm => {
                storm.next();
                storm.blow(&wakers, rounds);
                storm.wait();
            }
            Pace::Bursts => {
                for _ in 0..rounds {
                    storm.next();
                    wakers.iter().for_each(Waker::wake_by_ref);
                    storm.wait();
                }
            }
        })
    };
    Subject {
        name: R::NAME,
        run: Box::new(run),
    }
}

/// Ends the tasks of a storm, so that a scheduler whose end waits for them ends.
struct Ends(Arc<Storm>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
        let wakers = std::mem::take(&mut *self.0.wakers.lock().expect("nobody panics"));
        wakers.into_iter().for_each(Waker::wake);
    }
}
