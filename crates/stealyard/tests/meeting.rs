//! Goal: the work of one scheduler on a thread never keeps another from its own there. Chains of
//! destructors, through one scheduler or many, take no more stack than a few. A graph of tasks that
//! would keep its scheduler from ending is left behind by `Shutdown::DrainFor`. Method:
//! - two schedulers that end at once while the destructors of one wake tasks of the other,
//! - destructors that spawn and wake a hundred thousand times over on a thread with the usual
//!   stack,
//! - tasks that own each other's schedulers.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use stealyard::{Handle, JoinHandle, Place, Scheduler, Shutdown};
use support::{Census, Citizen, FEW_AND_MANY, ends, wait_until, workers};

/// Runs `test` on a thread with the stack that threads have by default.
fn on_a_usual_stack(what: &str, test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(test)
        .unwrap();
    wait_until(|| thread.is_finished(), || what.to_owned());
    thread.join().unwrap();
}

/// Makes the destructor of a link run.
type Way = Arc<dyn Fn(Link) + Send + Sync>;

/// A destructor that makes the next one run, somehow.
struct Link {
    left: u32,
    next: Way,
    _citizen: Citizen,
    census: Census,
}

impl Link {
    fn chain(links: u32, census: &Census, next: impl Fn(Self) + Send + Sync + 'static) -> Self {
        Self {
            left: links,
            next: Arc::new(next),
            _citizen: census.citizen(),
            census: census.clone(),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let Some(left) = self.left.checked_sub(1) else {
            return;
        };
        let next = Arc::clone(&self.next);
        (self.next)(Self {
            left,
            next,
            _citizen: self.census.citizen(),
            census: self.census.clone(),
        });
    }
}

const LINKS: u32 = 100_000;

/// The ways in which a destructor can make another one run in a scheduler.
fn ways(handle: &Handle) -> Vec<(&'static str, Way)> {
    let with = |way: fn(&Handle, Link)| {
        let handle = handle.clone();
        Arc::new(move |link: Link| way(&handle, link)) as Way
    };
    vec![
        (
            "spawn",
            with(|handle, link| drop(handle.spawn(async move { drop(link) }))),
        ),
        (
            "spawn_detached",
            with(|handle, link| handle.spawn_detached(async move { drop(link) })),
        ),
        (
            "spawn_on",
            with(|handle, link| {
                drop(
                    handle
                        .spawn_on(Place::Worker(0), async move { drop(link) })
                        .unwrap(),
                );
            }),
        ),
        (
            "spawn_blocking",
            with(|handle, link| drop(handle.spawn_blocking(move || drop(link)))),
        ),
        (
            "spawn, and abort",
            with(|handle, link| {
                let task = handle.spawn(async move {
                    let _link = link;
                    pending::<()>().await;
                });
                task.abort();
            }),
        ),
    ]
}

#[test]
fn tr3_chains_of_destructors_after_the_end() {
    let scheduler = workers(2);
    let handle = scheduler.handle().clone();
    drop(scheduler);
    for (name, way) in ways(&handle) {
        let census = Census::default();
        let first = Link::chain(LINKS, &census, move |link| way(link));
        on_a_usual_stack(name, move || drop(first));
        assert_eq!(census.born(), LINKS as usize + 1, "{name}");
        census.assert_none_is_left();
    }
}

/// On a thread that blocks on a future, in the scheduler that has ended.
#[test]
fn tr3_chains_of_destructors_after_the_end_in_block_on() {
    let scheduler = workers(2);
    let handle = scheduler.handle().clone();
    drop(scheduler);
    for (name, way) in ways(&handle) {
        let census = Census::default();
        let nested = handle.clone();
        let first = Link::chain(LINKS, &census, move |link| {
            let way = Arc::clone(&way);
            nested.block_on(async move { way(link) });
        });
        on_a_usual_stack(name, move || drop(first));
        census.assert_none_is_left();
    }
}

#[test]
fn tr3_chains_of_destructors_at_the_end() {
    // All ways with one worker; one of them with several, where the last one cancels what is left.
    for (count, ways_tried) in [(1, 5), (3, 1)] {
        for index in 0..ways_tried {
            let scheduler = workers(count);
            let (name, way) = ways(scheduler.handle()).swap_remove(index);
            let census = Census::default();
            let first = Link::chain(LINKS, &census, move |link| way(link));
            let (started, starts) = std::sync::mpsc::channel();
            scheduler.spawn_detached(async move {
                let _first = first;
                started.send(()).unwrap();
                pending::<()>().await;
            });
            starts.recv().unwrap();
            on_a_usual_stack(name, move || drop(scheduler));
            wait_until(|| census.born() == census.died(), || name.to_owned());
        }
    }
}

/// Through many schedulers that have all ended, in turn: the frames are bounded, whatever their
/// number.
#[test]
fn tr3_chains_of_destructors_through_many_schedulers() {
    for schedulers in [2, 100] {
        let handles: Vec<_> = (0..schedulers)
            .map(|_| workers(1).handle().clone())
            .collect();
        let census = Census::default();
        let first = Link::chain(LINKS, &census, move |link| {
            let handle = &handles[link.left as usize % handles.len()];
            handle.spawn_detached(async move { drop(link) });
        });
        on_a_usual_stack("many schedulers", move || drop(first));
        assert_eq!(census.born(), LINKS as usize + 1);
        census.assert_none_is_left();
    }
}

/// A task of each scheduler owns the next one: the end of the first is the end of all, each on a
/// thread of the one before.
#[test]
fn t19_a_chain_of_schedulers_that_tasks_own_ends() {
    for count in [1, 3] {
        ends("chain of schedulers", move || {
            let census = Census::default();
            let mut last = workers(count);
            for _ in 0..60 {
                let scheduler = workers(count);
                let (started, starts) = std::sync::mpsc::channel();
                let citizen = census.citizen();
                scheduler.spawn_detached(async move {
                    let _owns = (last, citizen);
                    started.send(()).unwrap();
                    pending::<()>().await;
                });
                starts.recv().unwrap();
                last = scheduler;
            }
            drop(last);
            census.assert_none_is_left();
        });
    }
}

/// Outputs that own handles of tasks with outputs that own handles.
#[test]
fn tr3_a_chain_of_outputs() {
    struct Output(
        Option<JoinHandle<Self>>,
        #[expect(dead_code, reason = "counted when it goes")] Option<Citizen>,
    );
    let scheduler = workers(2);
    for alive in [true, false] {
        let census = Census::default();
        let mut last = Output(None, None);
        for _ in 0..LINKS {
            let citizen = census.citizen();
            let handle = scheduler.spawn(async move { Output(last.0, Some(citizen)) });
            last = Output(Some(handle), None);
        }
        wait_until(
            || last.0.as_ref().unwrap().is_finished() && scheduler.metrics().sleeping == 2,
            || "not run".to_owned(),
        );
        if alive {
            on_a_usual_stack("outputs", move || drop(last));
        } else {
            scheduler.spawn(async move { drop(last) }).join().unwrap();
        }
        census.assert_none_is_left();
    }
}

/// A destructor that the end of one scheduler runs waits until the other, which has ended, has
/// dropped a task: it is dropped at once, and not when the destructor has returned.
#[test]
fn tr2_inside_the_end_of_one_scheduler_tasks_of_another_are_cancelled_at_once() {
    struct Waits(Handle, Arc<AtomicBool>);
    impl Drop for Waits {
        fn drop(&mut self) {
            let census = Census::default();
            let citizen = census.citizen();
            let handle = self.0.spawn(async move { citizen.finish() });
            let both = census.died() == 1 && handle.is_finished();
            self.1.store(both, Ordering::SeqCst);
        }
    }
    for count in FEW_AND_MANY {
        let other = workers(count).handle().clone();
        let scheduler = workers(count);
        let at_once = Arc::new(AtomicBool::new(false));
        let held = Waits(other.clone(), Arc::clone(&at_once));
        let (started, starts) = std::sync::mpsc::channel();
        scheduler.spawn_detached(async move {
            let _held = held;
            started.send(()).unwrap();
            pending::<()>().await;
        });
        starts.recv().unwrap();
        let handle = scheduler.handle().clone();
        drop(scheduler);
        assert!(at_once.load(Ordering::SeqCst));
        // The same where both have ended, on a thread of the user's.
        at_once.store(false, Ordering::SeqCst);
        let held = Waits(other, Arc::clone(&at_once));
        handle.spawn_detached(async move { drop(held) });
        assert!(at_once.load(Ordering::SeqCst));
    }
}

/// A blocking call of one scheduler, which drains, spawns there from inside of another: it is
/// inside of both.
#[test]
fn a_drain_takes_what_its_own_call_spawns_from_inside_another_scheduler() {
    for count in FEW_AND_MANY {
        ends("drain", move || {
            let other = workers(1);
            let scheduler = workers(count);
            let (handle, waits) = (scheduler.handle().clone(), other.handle().clone());
            let (begun, begins) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
            let (tell, go) = (Arc::clone(&begun), Arc::clone(&begins));
            let call = scheduler.spawn_blocking(move || {
                tell.wait();
                go.wait();
                waits
                    .block_on(async move { (handle.spawn(async { 5 }),) })
                    .0
            });
            begun.wait();
            let outside = scheduler.handle().clone();
            let drains = std::thread::spawn(move || scheduler.shutdown(Shutdown::Drain));
            // From outside it takes no more.
            wait_until(
                || outside.spawn(async {}).join().is_err(),
                || "no drain".to_owned(),
            );
            begins.wait();
            assert_eq!(call.join().unwrap().join().unwrap(), 5);
            assert_eq!(drains.join().unwrap().blocking_running, 0);
        });
    }
}

/// A waker that is used in the destructor of a task of another scheduler, while both end.
struct Wakes(Arc<Mutex<Option<Waker>>>, Arc<Barrier>);

impl Drop for Wakes {
    fn drop(&mut self) {
        self.1.wait();
        let waker = self.0.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The scenario `two_ends` under shuttle covers the schedules; this is the same at full speed.
#[test]
fn t16_two_schedulers_end_at_once() {
    for round in 0..200 {
        ends("two ends", move || {
            let counts = [1 + round % 3, 1 + round / 3 % 3];
            let [one, two] = counts.map(workers);
            let census = Census::default();
            let both = Arc::new(Barrier::new(2));
            let mut handles = Vec::new();
            for _ in 0..8 {
                let slots: [Arc<Mutex<Option<Waker>>>; 2] = Default::default();
                for (here, scheduler) in [&one, &two].into_iter().enumerate() {
                    // One pair meets; the others wake as they are dropped.
                    let meet = match handles.len() {
                        0 | 1 => Arc::clone(&both),
                        _ => Arc::new(Barrier::new(1)),
                    };
                    let (own, wakes) = (
                        Arc::clone(&slots[here]),
                        Wakes(Arc::clone(&slots[1 - here]), meet),
                    );
                    let citizen = census.citizen();
                    handles.push(scheduler.spawn(async move {
                        let _held = (wakes, citizen);
                        poll_fn(|context| {
                            *own.lock().unwrap() = Some(context.waker().clone());
                            Poll::<()>::Pending
                        })
                        .await;
                    }));
                }
                let asleep = || slots.iter().all(|slot| slot.lock().unwrap().is_some());
                wait_until(asleep, || "not polled".to_owned());
            }
            let other = std::thread::spawn(move || drop(two));
            drop(one);
            other.join().unwrap();
            for handle in handles {
                wait_until(|| handle.is_finished(), || "no answer".to_owned());
                assert!(handle.join().unwrap_err().is_cancelled());
            }
            census.assert_none_is_left();
        });
    }
}

/// Ends its scheduler when it is dropped, and waits for no more than a moment.
struct EndsSoon(Arc<Mutex<Option<Scheduler>>>);

impl Drop for EndsSoon {
    fn drop(&mut self) {
        let scheduler = self.0.lock().unwrap().take();
        if let Some(scheduler) = scheduler {
            let _report = scheduler.shutdown(Shutdown::DrainFor(Duration::from_millis(1)));
        }
    }
}

/// Two schedulers whose tasks own each other: with `DrainFor` each lets go of the other, in
/// whatever way it begins.
#[test]
fn t19_schedulers_that_their_tasks_own_are_ended_by_drain_for() {
    for count in FEW_AND_MANY {
        for begins_inside in [true, false] {
            ends("owned by tasks", move || {
                let census = Census::default();
                let (one, two) = (workers(count), workers(count));
                let handles = [one.handle().clone(), two.handle().clone()];
                let owners = [one, two].map(|scheduler| Arc::new(Mutex::new(Some(scheduler))));
                let gate = Arc::new(AtomicBool::new(false));
                let tasks: Vec<_> = (0..2)
                    .map(|here| {
                        let (owns, citizen) =
                            (EndsSoon(Arc::clone(&owners[1 - here])), census.citizen());
                        let gate = Arc::clone(&gate);
                        handles[here].spawn(async move {
                            let _held = (owns, citizen);
                            while !gate.load(Ordering::SeqCst) {
                                stealyard::yield_now().await;
                            }
                        })
                    })
                    .collect();
                if begins_inside {
                    gate.store(true, Ordering::SeqCst);
                } else {
                    drop(EndsSoon(Arc::clone(&owners[0])));
                }
                let done = || tasks.iter().all(JoinHandle::is_finished);
                wait_until(done, || "no answer".to_owned());
                wait_until(|| census.died() == 2, || "not dropped".to_owned());
                for owner in &owners {
                    assert!(owner.lock().unwrap().is_none(), "ended");
                }
            });
        }
    }
}

/// A destructor that spawns what has the same destructor, for ever: the end would not end.
#[test]
fn t19_an_endless_respawn_at_the_end_is_left_behind_by_drain_for() {
    struct Again(Handle, Arc<AtomicBool>, Option<Citizen>);
    impl Drop for Again {
        fn drop(&mut self) {
            if self.1.load(Ordering::SeqCst) {
                return;
            }
            let next = Self(self.0.clone(), Arc::clone(&self.1), self.2.take());
            self.0.spawn_detached(async move {
                let _next = next;
                pending::<()>().await;
            });
        }
    }
    for count in FEW_AND_MANY {
        ends("respawn", move || {
            let census = Census::default();
            let scheduler = workers(count);
            let stop = Arc::new(AtomicBool::new(false));
            let first = Again(
                scheduler.handle().clone(),
                Arc::clone(&stop),
                Some(census.citizen()),
            );
            scheduler.spawn_detached(async move {
                let _first = first;
                pending::<()>().await;
            });
            let report = scheduler.shutdown(Shutdown::DrainFor(Duration::from_millis(20)));
            assert!(report.workers_running >= 1, "{report:?}");
            stop.store(true, Ordering::SeqCst);
            wait_until(|| census.died() == 1, || "not dropped".to_owned());
        });
    }
}

/// A task that respawns itself for ever, each time from a new task: a `Drain` would not end.
#[test]
fn t19_an_endless_respawn_is_ended_by_drain_for() {
    fn again(census: Census) {
        let citizen = census.citizen();
        stealyard::spawn_detached(async move {
            again(census);
            citizen.finish();
        });
    }
    for count in FEW_AND_MANY {
        ends("respawn", move || {
            let census = Census::default();
            let scheduler = workers(count);
            let own = census.clone();
            scheduler.spawn_detached(async move { again(own) });
            wait_until(|| census.finished() > 100, || "not run".to_owned());
            let _report = scheduler.shutdown(Shutdown::DrainFor(Duration::from_millis(20)));
            wait_until(|| census.born() == census.died(), || "left".to_owned());
        });
    }
}
