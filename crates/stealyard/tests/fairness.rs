//! Goal: no task waits for ever, and the bounds that README states hold. Method: floods of tasks
//! that spawn or wake each other on one worker, beside tasks whose wait is counted in tasks run,
//! not in time.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use stealyard::{
    Builder, GlobalInterval, Handle, LocalQueue, Place, Placement, Scheduler, Topology,
};
use support::{wait_until, workers};

/// A task that spawns its successor, for as long as the flag is up; counts the tasks.
fn respawn(handle: Handle, up: Arc<AtomicBool>, count: Arc<AtomicU64>) {
    count.fetch_add(1, Ordering::SeqCst);
    if up.load(Ordering::SeqCst) {
        let own = handle.clone();
        handle.spawn_detached(async move { respawn(own, up, count) });
    }
}

type Yielding = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Flood {
    up: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
}

impl Flood {
    /// So many chains at once.
    fn start(scheduler: &Scheduler, chains: u64) -> Self {
        let flood = Self {
            up: Arc::new(AtomicBool::new(true)),
            count: Arc::default(),
        };
        for _ in 0..chains {
            respawn(
                scheduler.handle().clone(),
                Arc::clone(&flood.up),
                Arc::clone(&flood.count),
            );
        }
        // All chains have left the global queue: each place in it waits for a turn of its own.
        wait_until(
            || flood.count() > 10 * chains && scheduler.metrics().injector_depth == 0,
            || "the flood does not rise".to_owned(),
        );
        flood
    }

    /// One task that yields again and again, and alone: it does not even go through the queue.
    /// Spawned by `spawn`.
    fn yielding(scheduler: &Scheduler, spawn: fn(&Scheduler, Yielding)) -> Self {
        let flood = Self {
            up: Arc::new(AtomicBool::new(true)),
            count: Arc::default(),
        };
        let (up, count) = (Arc::clone(&flood.up), Arc::clone(&flood.count));
        let task = Box::pin(async move {
            while up.load(Ordering::SeqCst) {
                count.fetch_add(1, Ordering::SeqCst);
                stealyard::yield_now().await;
            }
        });
        spawn(scheduler, task);
        wait_until(|| flood.count() > 10, || "the task does not run".to_owned());
        flood
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.up.store(false, Ordering::SeqCst);
    }
}

/// How many tasks of the flood ran between the moment a task was in the global queue for sure and
/// the moment it ran, at most over some rounds.
fn wait_in_the_global_queue(scheduler: &Scheduler, flood: &Flood) -> u64 {
    let mut longest = 0;
    for _ in 0..50 {
        let (count, ran_at) = (Arc::clone(&flood.count), Arc::new(AtomicU64::new(0)));
        let place = Arc::clone(&ran_at);
        let task = scheduler
            .spawn(async move { place.store(count.load(Ordering::SeqCst), Ordering::SeqCst) });
        let queued_at = flood.count();
        task.join().unwrap();
        longest = longest.max(ran_at.load(Ordering::SeqCst).saturating_sub(queued_at));
    }
    longest
}

#[test]
fn w6_a_flood_of_respawning_tasks_does_not_starve_the_global_queue() {
    for (interval, bound) in [
        (GlobalInterval::Tasks(61), 61),
        (GlobalInterval::Tasks(10), 10),
        (GlobalInterval::Time(Duration::from_micros(200)), 127),
    ] {
        let scheduler = Builder::new()
            .parallelism(1)
            .global_interval(interval)
            .build()
            .unwrap();
        for chains in [1, 3, 100] {
            let flood = Flood::start(&scheduler, chains);
            let longest = wait_in_the_global_queue(&scheduler, &flood);
            assert!(
                longest <= bound,
                "{interval:?}: {longest} tasks of {chains} chains ran first"
            );
        }
        let spawns: [fn(&Scheduler, Yielding); 2] = [
            |scheduler, task| scheduler.spawn_detached(task),
            |scheduler, task| drop(scheduler.spawn_on(Place::Worker(0), task)),
        ];
        for spawn in spawns {
            let longest = wait_in_the_global_queue(&scheduler, &Flood::yielding(&scheduler, spawn));
            assert!(
                longest <= bound,
                "{interval:?}: a task that yields ran {longest} times first"
            );
        }
    }
}

/// Worker 0 is fed through its inbox by tasks that yield; the global queue has its turn all the
/// same.
#[test]
fn w6_an_inbox_task_that_yields_does_not_starve_the_global_queue() {
    for (interval, bound) in [
        (GlobalInterval::Tasks(61), 61),
        (GlobalInterval::Tasks(10), 10),
    ] {
        let scheduler = Builder::new()
            .parallelism(1)
            .global_interval(interval)
            .build()
            .unwrap();
        let (up, count) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let flood = Flood {
            up: Arc::clone(&up),
            count: Arc::clone(&count),
        };
        // Each letter yields for some 100 turns and sends the next before it ends.
        fn letter(handle: Handle, up: Arc<AtomicBool>, count: Arc<AtomicU64>) {
            let own = handle.clone();
            let sent = handle.spawn_on(Place::Worker(0), async move {
                for _ in 0..100 {
                    count.fetch_add(1, Ordering::SeqCst);
                    stealyard::yield_now().await;
                }
                if up.load(Ordering::SeqCst) {
                    letter(own, up, count);
                }
            });
            drop(sent);
        }
        letter(scheduler.handle().clone(), up, count);
        wait_until(|| flood.count() > 10, || "no letter came".to_owned());
        let longest = wait_in_the_global_queue(&scheduler, &flood);
        // And one hinted task at each turn.
        assert!(longest <= bound + 1, "{interval:?}: {longest} ran first");
    }
}

/// One worker never comes back from its task, the other one is flooded: what comes from outside has
/// its turn as ever.
#[test]
fn w6_beside_a_long_task_and_a_flood_the_global_queue_has_its_turn() {
    let scheduler = workers(2);
    let up = Arc::new(AtomicBool::new(true));
    let (held, holds_up) = (Arc::new(AtomicBool::new(false)), Arc::clone(&up));
    let holding = Arc::clone(&held);
    scheduler.spawn_detached(async move {
        holding.store(true, Ordering::SeqCst);
        while holds_up.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    });
    wait_until(
        || held.load(Ordering::SeqCst),
        || "the long_task does not run".to_owned(),
    );
    let flood = Flood::start(&scheduler, 3);
    let longest = wait_in_the_global_queue(&scheduler, &flood);
    up.store(false, Ordering::SeqCst);
    assert!(longest <= 61, "{longest} tasks ran first");
}

/// The only worker of a node never comes back from its task, and the other node's lane of the
/// global queue is never empty: what waits in the first node's lane has its turn all the same.
#[test]
fn w6_a_far_lane_is_not_starved_by_a_flood_in_the_near_one() {
    fn resubmit(handle: Handle, up: Arc<AtomicBool>, count: Arc<AtomicU64>) {
        let own = handle.clone();
        let next = handle.spawn_on(Place::Node(0), async move {
            count.fetch_add(1, Ordering::SeqCst);
            if up.load(Ordering::SeqCst) {
                resubmit(own, up, count);
            }
        });
        drop(next);
    }
    let machine = Topology::synthetic("pack:2 [numa] l3:1 core:1 pu:1").unwrap();
    let scheduler = Builder::new()
        .parallelism(2)
        .topology(machine)
        .placement(Placement::Compact)
        .build()
        .unwrap();
    let (up, count) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let flood = Flood {
        up: Arc::clone(&up),
        count: Arc::clone(&count),
    };
    let (holds_up, long_tasks) = (Arc::clone(&up), Arc::new(AtomicU64::new(0)));
    // Both workers are held until each has one, then the first is let go.
    for _ in 0..2 {
        let (up, long_tasks) = (Arc::clone(&holds_up), Arc::clone(&long_tasks));
        scheduler.spawn_detached(async move {
            long_tasks.fetch_add(1, Ordering::SeqCst);
            let first = std::thread::current().name() == Some("stealyard-0");
            let holds = || !first || long_tasks.load(Ordering::SeqCst) < 2;
            while holds() && up.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        });
    }
    for _ in 0..100 {
        let (up, count) = (Arc::clone(&up), Arc::clone(&count));
        resubmit(scheduler.handle().clone(), up, count);
    }
    wait_until(
        || flood.count() > 1000,
        || "the flood does not rise".to_owned(),
    );
    let mut longest = 0;
    for _ in 0..20 {
        let counted = Arc::clone(&count);
        let ran_at = async move { counted.load(Ordering::SeqCst) };
        let task = scheduler.spawn_on(Place::Node(1), ran_at).unwrap();
        let queued_at = flood.count();
        wait_until(|| task.is_finished(), || "it never has its turn".to_owned());
        longest = longest.max(task.join().unwrap().saturating_sub(queued_at));
    }
    // Two lanes: at least each fourth turn of 61 tasks begins with the other one.
    assert!(longest <= 4 * 61, "{longest} tasks ran first");
}

/// With a last-in-first-out queue the global queue has its turn as well.
#[test]
fn w6_the_same_with_a_stack_as_the_queue() {
    let queue = LocalQueue::Split { capacity: 256 };
    let scheduler = Builder::new()
        .parallelism(1)
        .local_queue(queue)
        .build()
        .unwrap();
    let flood = Flood::start(&scheduler, 3);
    let longest = wait_in_the_global_queue(&scheduler, &flood);
    assert!(longest <= 61, "{longest}");
}

/// Two tasks that wake each other for ever through the run-next slot, and a third in the queue
/// behind them.
fn ping_pong(turns: &Arc<AtomicU64>, up: &Arc<AtomicBool>) {
    let wakers: Arc<Mutex<[Option<Waker>; 2]>> = Arc::default();
    for side in 0..2 {
        let (wakers, turns, up) = (Arc::clone(&wakers), Arc::clone(turns), Arc::clone(up));
        stealyard::spawn_detached(poll_fn(move |context| {
            turns.fetch_add(1, Ordering::SeqCst);
            let other = {
                let mut wakers = wakers.lock().unwrap();
                wakers[side] = Some(context.waker().clone());
                wakers[1 - side].clone()
            };
            if let Some(other) = other {
                other.wake();
            }
            if up.load(Ordering::SeqCst) {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }));
    }
}

#[test]
fn w5_a_pair_in_the_run_next_slot_does_not_starve_the_queue() {
    for streak in [0, 1, 3, 10] {
        let scheduler = Builder::new()
            .parallelism(1)
            .slot_streak_max(streak)
            .build()
            .unwrap();
        let waits = scheduler.spawn(async move {
            let (turns, up) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
            ping_pong(&turns, &up);
            let mut waits = Vec::new();
            for _ in 0..200 {
                let before = turns.load(Ordering::SeqCst);
                stealyard::yield_now().await;
                waits.push(turns.load(Ordering::SeqCst) - before);
            }
            up.store(false, Ordering::SeqCst);
            waits
        });
        let waits = waits.join().unwrap();
        // One turn of the queue holds at most both of the pair, each with a streak behind it.
        let bound = 2 * u64::from(streak + 1);
        assert!(
            waits.iter().all(|&wait| wait <= bound),
            "{streak}: {waits:?}"
        );
        assert!(
            waits.iter().skip(10).all(|&wait| wait > 0),
            "the pair runs: {waits:?}"
        );
    }
}

/// A parent that is woken by each of its children: it runs once for all that are queued, not once
/// for each.
#[test]
fn p4_a_collector_of_many_messages_runs_once_for_many() {
    const CHILDREN: u64 = 200; // they fit into the queue
    let scheduler = workers(1);
    let polls = scheduler.spawn(async {
        let (reports, waker) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(None)));
        let parent = {
            let (reports, waker, mut polls) = (Arc::clone(&reports), Arc::clone(&waker), 0_u64);
            stealyard::spawn(poll_fn(move |context| {
                polls += 1;
                *waker.lock().unwrap() = Some(context.waker().clone());
                if reports.load(Ordering::SeqCst) == CHILDREN {
                    Poll::Ready(polls)
                } else {
                    Poll::Pending
                }
            }))
        };
        stealyard::yield_now().await; // the parent waits before the first child is there
        for _ in 0..CHILDREN {
            let (reports, waker) = (Arc::clone(&reports), Arc::clone(&waker));
            stealyard::spawn_detached(async move {
                reports.fetch_add(1, Ordering::SeqCst);
                if let Some(parent) = waker.lock().unwrap().take() {
                    parent.wake();
                }
            });
        }
        parent.await.unwrap()
    });
    let polls = polls.join().unwrap();
    assert!(
        polls <= 6,
        "the parent ran {polls} times for {CHILDREN} reports"
    );
}

/// A task that spawns another and waits for it, again and again, keeps the run-next slot though
/// others wait.
#[test]
fn p4_a_task_that_spawns_and_waits_in_turns_is_no_collector() {
    const ROUNDS: u64 = 100;
    let scheduler = workers(1);
    let turns = scheduler.spawn(async {
        let (turns, up) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
        for _ in 0..100 {
            let (turns, up) = (Arc::clone(&turns), Arc::clone(&up));
            stealyard::spawn_detached(async move {
                while up.load(Ordering::SeqCst) {
                    turns.fetch_add(1, Ordering::SeqCst);
                    stealyard::yield_now().await;
                }
            });
        }
        stealyard::yield_now().await;
        let before = turns.load(Ordering::SeqCst);
        for _ in 0..ROUNDS {
            stealyard::spawn(async {}).await.unwrap();
        }
        up.store(false, Ordering::SeqCst);
        turns.load(Ordering::SeqCst) - before
    });
    let turns = turns.join().unwrap();
    // Each end of a streak sends one of the two behind all hundred others: that is some 25 times in
    // the 200 turns of both, where it would be 100 times if each wait did.
    assert!(
        turns <= 100 * ROUNDS * 3 / 4,
        "{turns} others ran in {ROUNDS} rounds"
    );
}

/// Every kind of queue, the user's own included.
fn queues() -> [LocalQueue; 6] {
    let by = |order| LocalQueue::ChaseLev { order };
    [
        LocalQueue::Ring { capacity: 64 },
        LocalQueue::Split { capacity: 64 },
        by(stealyard::Order::Fifo),
        by(stealyard::Order::Lifo),
        LocalQueue::custom(stealyard_deque::Ring::new),
        LocalQueue::custom(stealyard_deque::ChaseLev::lifo),
    ]
}

#[test]
fn a_task_that_yields_goes_behind_all_others() {
    for queue in queues() {
        // The global queue's turn would let one yield overtake the rest.
        let scheduler = Builder::new()
            .parallelism(1)
            .local_queue(queue.clone())
            .global_interval(GlobalInterval::Tasks(1000))
            .build()
            .unwrap();
        let order = scheduler.spawn(async {
            let order = Arc::new(Mutex::new(Vec::new()));
            let tasks: Vec<_> = (0..10)
                .map(|task| {
                    let order = Arc::clone(&order);
                    stealyard::spawn(async move {
                        for round in 0..5 {
                            order.lock().unwrap().push((round, task));
                            stealyard::yield_now().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let order = order.lock().unwrap();
            order.clone()
        });
        let order = order.join().unwrap();
        // Whatever the order of the first round was, every task has had a turn before any has the
        // next.
        assert!(
            order.is_sorted_by_key(|&(round, _)| round),
            "{queue:?}: {order:?}"
        );
    }
}

/// How often a task repeats `operation`, which never waits, before a task that yields has its turn,
/// at most.
fn longest_turn<F>(scheduler: &Scheduler, operation: fn() -> F) -> u64
where
    F: Future<Output = ()> + Send + 'static,
{
    let (done, stop) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (counter, flag) = (Arc::clone(&done), Arc::clone(&stop));
    scheduler.spawn_detached(async move {
        while !flag.load(Ordering::SeqCst) {
            operation().await;
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let other = scheduler.spawn(async move {
        let mut longest = 0;
        for _ in 0..100 {
            let before = done.load(Ordering::SeqCst);
            stealyard::yield_now().await;
            longest = longest.max(done.load(Ordering::SeqCst) - before);
        }
        stop.store(true, Ordering::SeqCst);
        longest
    });
    other.join().unwrap()
}

#[test]
fn the_budget_makes_a_future_that_is_always_ready_yield() {
    let budgets = [1, 10, 128].into_iter();
    for (budget, queue) in budgets.flat_map(|budget| queues().map(|queue| (budget, queue))) {
        let scheduler = Builder::new()
            .parallelism(1)
            .local_queue(queue.clone())
            .budget(budget)
            .build()
            .unwrap();
        let longest = longest_turn(&scheduler, stealyard::coop::consume_budget);
        assert!(
            longest > 0 && longest <= u64::from(budget),
            "{queue:?}, {budget}: {longest}"
        );
    }
}

/// A foreign future that is always ready uses up the budget; one that waits does not.
#[test]
fn a_wrapped_future_that_is_always_ready_yields() {
    let scheduler = Builder::new().parallelism(1).budget(10).build().unwrap();
    let ready = || stealyard::coop::cooperative(std::future::ready(()));
    assert_eq!(longest_turn(&scheduler, ready), 10);
    // A hundred polls of what is not ready leave the budget as it is.
    let left = scheduler.spawn(async {
        poll_fn(|context| {
            for _ in 0..100 {
                let waits =
                    std::pin::pin!(stealyard::coop::cooperative(std::future::pending::<()>()));
                assert!(waits.poll(context).is_pending());
            }
            let proceeds =
                (0..100).take_while(|_| stealyard::coop::poll_proceed(context).is_ready());
            Poll::Ready(proceeds.count())
        })
        .await
    });
    assert_eq!(left.join().unwrap(), 10);
}

/// A worker that never comes back from its task: what it had queued, hidden or in the slot, runs
/// elsewhere.
#[test]
fn nothing_stays_behind_a_long_task() {
    for queue in queues() {
        for children in [1_u64, 2, 7, 40, 200] {
            let scheduler = Builder::new()
                .parallelism(2)
                .local_queue(queue.clone())
                .build()
                .unwrap();
            let long_task = scheduler.spawn(async move {
                let ran = Arc::new(AtomicU64::new(0));
                for _ in 0..children {
                    let ran = Arc::clone(&ran);
                    stealyard::spawn_detached(async move {
                        let _ = ran.fetch_add(1, Ordering::SeqCst);
                    });
                }
                while ran.load(Ordering::SeqCst) < children {
                    std::thread::yield_now();
                }
            });
            long_task.join().unwrap();
        }
    }
}

/// Waits until every worker sleeps, and none of them monitors any more.
fn all_parked(scheduler: &Scheduler) {
    let parked =
        || scheduler.metrics().sleeping == scheduler.parallelism() && !scheduler.has_monitor();
    wait_until(parked, || format!("{:?}", scheduler.metrics()));
}

/// Goal: tasks that a long task's worker hides in its queue run elsewhere, although the only worker
/// left fell asleep before and no announcement wakes it. Method: of three workers one holds the
/// task that spawns. One becomes the monitor, and is woken for the task that can be seen. One has
/// slept since before there was any. Three tasks wait for each other.
#[test]
fn tasks_hidden_behind_a_long_task_reach_a_parked_worker() {
    for queue in [
        LocalQueue::Ring { capacity: 64 },
        LocalQueue::Split { capacity: 64 },
    ] {
        let scheduler = Builder::new().parallelism(3).local_queue(queue).build();
        let scheduler = scheduler.unwrap();
        let asleep = |count| {
            wait_until(
                || scheduler.metrics().sleeping == count,
                || format!("{:?}", scheduler.metrics()),
            );
        };
        all_parked(&scheduler);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let met = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let meeting = (Arc::clone(&met), Arc::clone(&stop));
        let long_task = scheduler.spawn(async move {
            wait.recv().unwrap();
            for _ in 0..3 {
                let (met, stop) = (Arc::clone(&meeting.0), Arc::clone(&meeting.1));
                stealyard::spawn_detached(async move {
                    met.fetch_add(1, Ordering::SeqCst);
                    while met.load(Ordering::SeqCst) < 3 && !stop.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
            }
            stealyard::spawn_detached(async {});
        });
        asleep(2);
        scheduler.spawn(async {}).join().unwrap();
        asleep(2);
        go.send(()).unwrap();
        long_task.join().unwrap();
        let all = (0..20_000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            met.load(Ordering::SeqCst) == 3
        });
        stop.store(true, Ordering::SeqCst);
        assert!(all, "one stays hidden: {:?}", scheduler.metrics());
    }
}

/// Goal: a long task's worker is emptied by all who slept for good, one after the other, however
/// they were woken. Method: the long task waits until as many tasks that it spawned as there are
/// other workers run at once.
#[test]
fn every_parked_worker_joins_in_behind_a_long_task() {
    for count in [2, 3, 5] {
        let scheduler = Builder::new()
            .parallelism(count)
            .watch(Duration::from_micros(20), Duration::from_micros(50))
            .build()
            .unwrap();
        for round in 0..150 {
            all_parked(&scheduler);
            let others = count as u64 - 1;
            let late = Arc::new(AtomicBool::new(false));
            let met = Arc::new(AtomicU64::new(0));
            let meeting = (Arc::clone(&met), Arc::clone(&late));
            let wait = |met: &AtomicU64, late: &AtomicBool, all: u64| {
                met.fetch_add(1, Ordering::SeqCst);
                while met.load(Ordering::SeqCst) < all && !late.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            };
            let long_task = scheduler.spawn(async move {
                let (met, late) = &meeting;
                for _ in 0..others {
                    let (met, late) = (Arc::clone(met), Arc::clone(late));
                    stealyard::spawn_detached(async move { wait(&met, &late, others + 1) });
                }
                wait(met, late, others + 1);
            });
            let ended = (0..10_000).any(|_| {
                std::thread::sleep(Duration::from_micros(200));
                long_task.is_finished()
            });
            let (came, sleeping) = (met.load(Ordering::SeqCst), scheduler.metrics().sleeping);
            late.store(true, Ordering::SeqCst);
            long_task.join().unwrap();
            assert!(
                ended,
                "round {round}: {came} of {count} workers came, {sleeping} slept"
            );
        }
    }
}
