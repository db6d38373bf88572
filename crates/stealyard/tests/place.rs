//! Goal: a task that would rather run somewhere does if it can, and runs anyway if it cannot. A
//! local task is made, polled and dropped on its thread only, whichever thread wakes or aborts it,
//! and none is left behind. Method: futures that note the thread of each of their steps, wakes and
//! aborts from other threads, a busy worker beside an idle one, and every manner of shutdown.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]
#![expect(
    clippy::async_yields_async,
    reason = "the handle of a bound task is what the test asks the outer task for"
)]

#[path = "support/common.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;
use std::time::Duration;

use stealyard::{Builder, Place, Scheduler, Shutdown, spawn_local, yield_now};
use support::wait_until;

fn workers(count: usize) -> Scheduler {
    Builder::new().parallelism(count).build().unwrap()
}

fn here() -> String {
    std::thread::current().name().unwrap_or("?").to_owned()
}

#[test]
fn a_hint_is_followed_where_it_can_be() {
    let scheduler = workers(4);
    // All sleep, and none monitors, so none takes it away.
    let parked = || scheduler.metrics().sleeping == 4 && !scheduler.has_monitor();
    let mut followed = 0;
    for round in 0..100 {
        wait_until(parked, || format!("{:?}", scheduler.metrics()));
        let worker = round % 4;
        let place = scheduler.spawn_on(Place::Worker(worker), async { here() });
        followed += usize::from(place.unwrap().join().unwrap() == format!("stealyard-{worker}"));
    }
    // One in four if the hint meant nothing.
    assert!(followed > 80, "{followed} of 100");
}

#[test]
fn a_hint_does_not_keep_a_task_waiting() {
    let scheduler = workers(2);
    let (busy, is_busy) = mpsc::channel();
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let long_task = scheduler.spawn_on(Place::Worker(0), async move {
        busy.send(here()).unwrap();
        while !stop.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
    });
    let name = is_busy.recv().unwrap();
    let worker = usize::from(name != "stealyard-0");
    let other = scheduler.spawn_on(Place::Worker(worker), async { here() });
    assert_ne!(other.unwrap().join().unwrap(), name, "the free one took it");
    done.store(true, Ordering::Release);
    long_task.unwrap().join().unwrap();
}

#[test]
fn every_hinted_task_runs_once() {
    for count in [1, 2, 8] {
        let scheduler = workers(count);
        let ran = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..10_000)
            .map(|number| {
                let ran = Arc::clone(&ran);
                let place = match number % 3 {
                    0 => Place::Node(0),
                    _ => Place::Worker(number % count),
                };
                let add = async move { ran.fetch_add(1, Ordering::Relaxed) };
                scheduler.spawn_on(place, add).unwrap()
            })
            .collect();
        for handle in handles {
            handle.join().unwrap();
        }
        assert_eq!(ran.load(Ordering::Relaxed), 10_000, "{count} workers");
    }
}

#[test]
fn a_place_that_does_not_exist_is_an_error_that_says_what_does() {
    let scheduler = workers(3);
    let error = |place| scheduler.spawn_on(place, async {}).unwrap_err();
    let worker = error(Place::Worker(3));
    assert_eq!((worker.place, worker.count), (Place::Worker(3), 3));
    assert!(worker.to_string().contains("workers 0 to 2"), "{worker}");
    let node = error(Place::Node(7)).to_string();
    assert!(node.contains("node 7") && node.contains("0 to 0"), "{node}");
}

#[test]
fn hinted_tasks_are_cancelled_with_the_scheduler() {
    let scheduler = workers(1);
    let (busy, is_busy) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let long_task = scheduler.spawn(async move {
        busy.send(()).unwrap();
        may_go.recv().unwrap();
    });
    is_busy.recv().unwrap();
    let queued = scheduler.spawn_on(Place::Worker(0), async {}).unwrap();
    let handle = scheduler.handle().clone();
    let ends = std::thread::spawn(move || drop(scheduler));
    // The only worker is held up: what ends now was cancelled, because the scheduler is closed.
    wait_until(|| handle.spawn(async {}).is_finished(), String::new);
    go.send(()).unwrap();
    ends.join().unwrap();
    long_task.join().unwrap();
    assert!(queued.join().unwrap_err().is_cancelled());
    let late = handle.spawn_on(Place::Worker(0), async {}).unwrap();
    assert!(late.join().unwrap_err().is_cancelled());
}

/// Notes the thread of everything that happens to it; not `Send`.
struct Noted {
    threads: Arc<Mutex<HashSet<ThreadId>>>,
    kept: Rc<Cell<u32>>,
    polls: u32,
    waker: Arc<Mutex<Option<Waker>>>,
}

impl Noted {
    fn note(&self) {
        self.kept.set(self.kept.get() + 1);
        self.threads
            .lock()
            .unwrap()
            .insert(std::thread::current().id());
    }
}

impl Future for Noted {
    type Output = u32;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
        self.note();
        if self.polls == 0 {
            return Poll::Ready(self.kept.get());
        }
        self.polls -= 1;
        *self.waker.lock().unwrap() = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.note();
    }
}

/// A local task that has to be woken `polls` times, the threads it was seen on, and its waker.
struct Probe {
    threads: Arc<Mutex<HashSet<ThreadId>>>,
    waker: Arc<Mutex<Option<Waker>>>,
    handle: stealyard::JoinHandle<u32>,
}

fn probe(scheduler: &Scheduler, polls: u32) -> Probe {
    let threads = Arc::new(Mutex::new(HashSet::new()));
    let waker = Arc::new(Mutex::new(None));
    let (noting, waking) = (Arc::clone(&threads), Arc::clone(&waker));
    let handle = scheduler.spawn(async move {
        noting.lock().unwrap().insert(std::thread::current().id());
        spawn_local(Noted {
            threads: noting,
            kept: Rc::new(Cell::new(0)),
            polls,
            waker: waking,
        })
    });
    Probe {
        threads,
        waker,
        handle: handle.join().unwrap(),
    }
}

fn taken(waker: &Mutex<Option<Waker>>) -> Waker {
    loop {
        if let Some(waker) = waker.lock().unwrap().take() {
            return waker;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_local_task_stays_on_its_thread_whichever_thread_wakes_it() {
    let scheduler = workers(4);
    for _ in 0..50 {
        let Probe {
            threads,
            waker,
            handle,
        } = probe(&scheduler, 20);
        for _ in 0..20 {
            taken(&waker).wake();
        }
        assert_eq!(handle.join().unwrap(), 21);
        assert_eq!(
            threads.lock().unwrap().len(),
            1,
            "another thread touched it"
        );
    }
}

#[test]
fn an_aborted_local_task_is_dropped_on_its_thread() {
    let scheduler = workers(4);
    for _ in 0..50 {
        let Probe {
            threads,
            waker,
            handle,
        } = probe(&scheduler, 1);
        let kept = taken(&waker);
        handle.abort();
        assert!(handle.join().unwrap_err().is_cancelled());
        kept.wake(); // of a task that is gone
        assert_eq!(
            threads.lock().unwrap().len(),
            1,
            "another thread dropped it"
        );
    }
}

#[test]
fn shutdown_drops_local_tasks_on_their_thread() {
    let manners = [
        Shutdown::Cancel,
        Shutdown::Drain,
        Shutdown::DrainFor(Duration::from_millis(50)),
    ];
    for how in manners {
        let scheduler = workers(3);
        let probes: Vec<Probe> = (0..30).map(|_| probe(&scheduler, 1)).collect();
        let kept: Vec<Waker> = probes.iter().map(|probe| taken(&probe.waker)).collect();
        let report = scheduler.shutdown(how);
        assert_eq!(report.cancelled, 30, "{how:?}");
        kept.into_iter().for_each(Waker::wake);
        for probe in probes {
            assert!(probe.handle.join().unwrap_err().is_cancelled());
            assert_eq!(probe.threads.lock().unwrap().len(), 1, "{how:?}");
        }
    }
}

#[test]
fn local_tasks_spawn_yield_and_share_values_that_are_not_send() {
    let scheduler = workers(2);
    let sum = scheduler.spawn(async {
        let handle = spawn_local(async {
            let shared = Rc::new(RefCell::new(Vec::new()));
            let parts: Vec<_> = (0..10)
                .map(|number| {
                    let shared = Rc::clone(&shared);
                    spawn_local(async move {
                        for _ in 0..5 {
                            yield_now().await;
                        }
                        shared.borrow_mut().push(number);
                    })
                })
                .collect();
            for part in parts {
                part.await.unwrap();
            }
            shared.borrow().iter().sum::<u32>()
        });
        handle.await.unwrap()
    });
    assert_eq!(sum.join().unwrap(), 45);
}

/// A task hinted to a worker that never runs out of others, with no other worker to take it.
#[test]
fn an_inbox_is_not_starved_by_other_tasks() {
    let scheduler = workers(1);
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    for _ in 0..10 {
        let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
        scheduler.spawn_detached(async move {
            while !stop.load(Ordering::Relaxed) {
                count.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
    }
    let (seen, counted) = (Arc::clone(&stop), Arc::clone(&count));
    let hinted = scheduler.spawn(async move {
        let before = counted.load(Ordering::Relaxed);
        let handle = stealyard::Handle::current().unwrap();
        let hinted = handle.spawn_on(Place::Worker(0), async move {
            seen.store(true, Ordering::Relaxed);
            counted.load(Ordering::Relaxed) - before
        });
        hinted.unwrap().await.unwrap()
    });
    let after = hinted.join().unwrap();
    assert!(after <= 2 * 127, "{after} polls");
}

/// The documented bound: a bound task has its turn with the global queue, at most every 127 tasks.
#[test]
fn a_local_task_is_not_starved_by_others() {
    let scheduler = workers(1);
    let waited = scheduler.spawn(async {
        let ran = Rc::new(Cell::new(None));
        let count = Arc::new(AtomicUsize::new(0));
        let (noted, counted) = (Rc::clone(&ran), Arc::clone(&count));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        fn respawn(count: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
            stealyard::spawn_detached(async move {
                count.fetch_add(1, Ordering::Relaxed);
                if !stop.load(Ordering::Relaxed) {
                    respawn(count, stop);
                }
            });
        }
        for _ in 0..10 {
            respawn(Arc::clone(&count), Arc::clone(&stop));
        }
        let local = spawn_local(async move {
            noted.set(Some(counted.load(Ordering::Relaxed)));
            stopped.store(true, Ordering::Relaxed);
            noted.get()
        });
        drop(ran);
        local
    });
    let ran = waited.join().unwrap().join().unwrap();
    assert!(ran.is_some_and(|after| after <= 2 * 127), "{ran:?}");
}

#[test]
fn a_panic_in_a_local_task_is_its_own() {
    let scheduler = workers(1);
    let handle = scheduler.spawn(async { spawn_local(async { panic!("bound to fail") }) });
    let error: stealyard::JoinError = handle.join().unwrap().join().map(|(): ()| ()).unwrap_err();
    assert!(error.is_panic());
    assert_eq!(scheduler.spawn(async { 1 }).join().unwrap(), 1);
}

#[test]
fn outside_a_worker_no_local_task_can_be_spawned() {
    let message = |payload: Box<dyn std::any::Any + Send>| *payload.downcast::<&str>().unwrap();
    let outside = std::panic::catch_unwind(|| spawn_local(async {})).map(drop);
    assert!(message(outside.unwrap_err()).contains("inside a task"));
    let scheduler = workers(1);
    let guest = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        scheduler.block_on(async { drop(spawn_local(async {})) });
    }));
    assert!(message(guest.unwrap_err()).contains("inside a task"));
}
