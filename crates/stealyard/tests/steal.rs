//! Goal: work spreads to all workers, by whatever policy, and near before far where the policy says
//! so. Method: one task that spawns for all; counters of steals by distance on a synthetic machine
//! of 4 nodes.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use stealyard::policy::Turn;
use stealyard::{
    Builder, Longest, Nearest, Placement, Random, Scheduler, StealAmount, StealPolicy, Sticky,
    Weighted,
};
use support::{four_node_machine, wait_until, worker};

/// Spawns tasks on one worker that end only when all workers have taken part.
fn spread(scheduler: &Scheduler) {
    let count = scheduler.parallelism();
    let meeting = Arc::new(Barrier::new(count));
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let all = Arc::clone(&seen);
    scheduler
        .spawn(async move {
            let tasks: Vec<_> = (0..count)
                .map(|_| {
                    let (meeting, seen) = (Arc::clone(&meeting), Arc::clone(&all));
                    stealyard::spawn(async move {
                        meeting.wait();
                        seen.lock().unwrap().insert(std::thread::current().id());
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        })
        .join()
        .unwrap();
    assert_eq!(seen.lock().unwrap().len(), count);
}

#[test]
fn every_policy_spreads_the_work_to_all_workers() {
    for count in [2, 5] {
        let build = |builder: Builder| builder.parallelism(count).build().unwrap();
        spread(&build(Builder::new().steal_policy(Random)));
        spread(&build(Builder::new().steal_policy(Nearest)));
        spread(&build(Builder::new().steal_policy(Sticky)));
        spread(&build(Builder::new().steal_policy(Longest)));
        spread(&build(Builder::new().steal_policy(Weighted)));
    }
}

/// Names no worker, itself, workers that do not exist, and takes more steps than there may be.
#[derive(Debug)]
struct Nonsense(AtomicUsize);

impl StealPolicy for Nonsense {
    fn victim(&self, turn: &mut Turn<'_>) -> Option<usize> {
        match self.0.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => Some(turn.thief),
            1 => Some(usize::MAX),
            _ => Some(turn.others.len() + 7),
        }
    }

    fn amount(&self) -> StealAmount {
        StealAmount::UpTo(0)
    }
}

/// Never names a victim.
#[derive(Debug)]
struct Idle;

impl StealPolicy for Idle {
    fn victim(&self, _turn: &mut Turn<'_>) -> Option<usize> {
        None
    }
}

#[test]
fn no_policy_however_wrong_loses_a_task_or_leaves_a_worker_without_work() {
    for count in [2, 4] {
        spread(
            &Builder::new()
                .parallelism(count)
                .steal_policy(Idle)
                .build()
                .unwrap(),
        );
        let nonsense = Nonsense(AtomicUsize::new(0));
        spread(
            &Builder::new()
                .parallelism(count)
                .steal_policy(nonsense)
                .build()
                .unwrap(),
        );
    }
}

/// Records what the policy is told.
#[derive(Debug, Default)]
struct Witness {
    outcomes: Arc<Mutex<Vec<(usize, usize)>>>,
}

impl StealPolicy for Witness {
    fn victim(&self, turn: &mut Turn<'_>) -> Option<usize> {
        turn.others.get(turn.step).map(|&(worker, _)| worker)
    }

    fn amount(&self) -> StealAmount {
        StealAmount::One
    }

    fn outcome(&self, _memory: &mut [u64; 4], victim: usize, took: usize) {
        if took > 0 {
            self.outcomes.lock().unwrap().push((victim, took));
        }
    }
}

#[test]
fn feedback_tells_the_policy_what_it_took_and_one_is_one() {
    let witness = Witness::default();
    let outcomes = Arc::clone(&witness.outcomes);
    let scheduler = Builder::new()
        .parallelism(3)
        .steal_policy(witness)
        .build()
        .unwrap();
    for _ in 0..20 {
        spread(&scheduler);
    }
    let outcomes = outcomes.lock().unwrap();
    assert!(!outcomes.is_empty());
    assert!(
        outcomes
            .iter()
            .all(|&(victim, took)| victim < 3 && took == 1),
        "{outcomes:?}"
    );
}

/// Names the others in some passes only.
#[derive(Debug)]
struct InPasses(Range<u32>);

impl StealPolicy for InPasses {
    fn victim(&self, turn: &mut Turn<'_>) -> Option<usize> {
        let named = self.0.contains(&turn.pass);
        let next = turn.others.get(turn.step).filter(|_| named);
        next.map(|&(worker, _)| worker)
    }
}

/// What the task in the slot of a stuck worker, and the one beside it in the queue, have come to.
#[derive(Default)]
struct Stuck {
    started: AtomicBool,
    go: AtomicBool,
    queued_ran: AtomicBool,
    slot_ran: AtomicBool,
    release: AtomicBool,
}

fn spin_until(flag: &AtomicBool) {
    while !flag.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
}

/// One of two workers is stuck with a task in its queue, which wakes the other one, and a task in
/// its slot, for which none is woken. No monitor comes to their help. Returns how many slots the
/// other has taken when it sleeps again.
fn slots_taken(policy: impl StealPolicy + 'static) -> u64 {
    let builder = Builder::new().parallelism(2).steal_policy(policy);
    let builder = builder.watch(Duration::MAX, Duration::MAX).steal_passes(4);
    let scheduler = builder.build().unwrap();
    let stuck = Arc::new(Stuck::default());
    let own = Arc::clone(&stuck);
    let root = scheduler.spawn(async move {
        own.started.store(true, Ordering::SeqCst);
        spin_until(&own.go);
        let (queued, slot) = (Arc::clone(&own), Arc::clone(&own));
        stealyard::spawn_detached(async move { queued.queued_ran.store(true, Ordering::SeqCst) });
        // Takes the slot, from where the first one goes to the queue.
        stealyard::spawn_detached(async move { slot.slot_ran.store(true, Ordering::SeqCst) });
        spin_until(&own.release);
    });
    let ran = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
    let other_sleeps = || scheduler.metrics().sleeping == 1;
    let state = || format!("{:?}", scheduler.metrics());
    wait_until(|| ran(&stuck.started) && other_sleeps(), state);
    stuck.go.store(true, Ordering::SeqCst);
    wait_until(|| ran(&stuck.queued_ran) && other_sleeps(), state);
    let taken = scheduler.metrics().total().slots_stolen;
    assert_eq!(ran(&stuck.slot_ran), taken == 1, "{}", state());
    stuck.release.store(true, Ordering::SeqCst);
    root.join().unwrap();
    taken
}

#[test]
fn a_searcher_takes_the_slot_of_a_stuck_worker() {
    for _ in 0..5 {
        assert_eq!(slots_taken(Random), 1);
        assert_eq!(slots_taken(Nearest), 1);
    }
}

#[test]
fn slots_are_taken_in_the_last_pass_and_in_no_earlier_one() {
    for _ in 0..5 {
        assert_eq!(slots_taken(InPasses(3..4)), 1, "in the last of four");
        assert_eq!(slots_taken(InPasses(0..3)), 0, "in the first three");
    }
}

/// Takes so much at once, and notes how much each steal from a queue brought.
#[derive(Debug)]
struct Taking(StealAmount, Arc<Mutex<Vec<usize>>>);

impl StealPolicy for Taking {
    fn victim(&self, turn: &mut Turn<'_>) -> Option<usize> {
        turn.others.get(turn.step).map(|&(worker, _)| worker)
    }

    fn amount(&self) -> StealAmount {
        self.0
    }

    fn outcome(&self, _memory: &mut [u64; 4], _victim: usize, took: usize) {
        if took > 0 {
            self.1.lock().unwrap().push(took);
        }
    }
}

/// How much each steal brings from a queue of 32 tasks, whose owner is stuck until all have run.
fn amounts_of(amount: StealAmount) -> Vec<usize> {
    let taken = Arc::new(Mutex::new(Vec::new()));
    // Without the monitor, which would take the task in the slot behind the policy's back.
    let builder = Builder::new()
        .parallelism(2)
        .watch(Duration::MAX, Duration::MAX);
    let policy = Taking(amount, Arc::clone(&taken));
    let scheduler = builder.steal_policy(policy).build().unwrap();
    // Passed when both workers have their task, when the main thread has looked, and when the queue
    // is full.
    let barrier = |parties| Arc::new(Barrier::new(parties));
    let (both, looked, filled) = (barrier(3), barrier(2), barrier(2));
    let ran = Arc::new(AtomicUsize::new(0));
    let (own_both, own_looked, own_filled) = (both.clone(), looked.clone(), filled.clone());
    let owner = scheduler.spawn(async move {
        own_both.wait();
        own_looked.wait();
        // One more: the last one lies in the run-next slot.
        for _ in 0..33 {
            let ran = Arc::clone(&ran);
            stealyard::spawn_detached(async move {
                ran.fetch_add(1, Ordering::SeqCst);
            });
        }
        own_filled.wait();
        while ran.load(Ordering::SeqCst) < 33 {
            std::thread::yield_now();
        }
    });
    let thief_both = Arc::clone(&both);
    let thief = scheduler.spawn(async move {
        thief_both.wait();
        filled.wait();
    });
    both.wait();
    // One of the two may have been stolen from the other's worker.
    let (first, before) = (taken.lock().unwrap().len(), scheduler.metrics().total());
    looked.wait();
    thief.join().unwrap();
    owner.join().unwrap();
    let total = scheduler.metrics().total();
    let taken = taken.lock().unwrap()[first..].to_vec();
    // The task of the slot was taken by the last pass, which counts as a steal, too, and comes
    // last.
    let steals = total.steals_done - before.steals_done;
    assert_eq!((steals, total.slots_stolen), (taken.len() as u64, 1));
    assert_eq!(total.tasks_stolen - before.tasks_stolen, 33, "{total:?}");
    assert_eq!(taken.last(), Some(&1), "{taken:?}");
    taken[..taken.len() - 1].to_vec()
}

#[test]
fn a_steal_takes_as_much_as_the_policy_says() {
    assert_eq!(amounts_of(StealAmount::One), [1; 32]);
    assert_eq!(amounts_of(StealAmount::Half), [16, 8, 4, 2, 1, 1]);
    assert_eq!(amounts_of(StealAmount::UpTo(100)), [16, 8, 4, 2, 1, 1]);
    let five_at_most = [5, 5, 5, 5, 5, 4, 2, 1];
    assert_eq!(amounts_of(StealAmount::UpTo(5)), five_at_most);
    assert_eq!(amounts_of(StealAmount::UpTo(0)), [1; 32]);
}

fn four_nodes(policy: impl StealPolicy + 'static, seed: u64) -> Scheduler {
    Builder::new()
        .topology(four_node_machine())
        .placement(Placement::Compact)
        .parallelism(8)
        .steal_policy(policy)
        .seed(seed)
        .build()
        .unwrap()
}

/// Every worker fills its queue and then holds still, but for worker 0, which steals it all. In
/// which order of owners it does.
fn order_of_victims(scheduler: &Scheduler) -> Vec<usize> {
    let count = scheduler.parallelism();
    let (arrived, filled) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let order = Arc::new(Mutex::new(Vec::new()));
    let each = 16;
    let reach = |counter: &AtomicUsize, goal| {
        counter.fetch_add(1, Ordering::SeqCst);
        while counter.load(Ordering::SeqCst) < goal {
            std::thread::yield_now();
        }
    };
    let roots: Vec<_> = (0..count)
        .map(|_| {
            let (arrived, filled, order) = (
                Arc::clone(&arrived),
                Arc::clone(&filled),
                Arc::clone(&order),
            );
            scheduler.spawn(async move {
                reach(&arrived, count); // so each worker has one of these tasks
                let owner = worker();
                if owner != 0 {
                    for _ in 0..each {
                        let order = Arc::clone(&order);
                        stealyard::spawn_detached(async move {
                            assert_eq!(worker(), 0);
                            order.lock().unwrap().push(owner);
                        });
                    }
                    // The last one lies in the run-next slot, which comes last of all: this one
                    // does.
                    stealyard::spawn_detached(async {});
                }
                reach(&filled, count);
                while owner != 0 && order.lock().unwrap().len() < each * (count - 1) {
                    std::thread::yield_now();
                }
            })
        })
        .collect();
    for root in roots {
        root.join().unwrap();
    }
    let order = order.lock().unwrap();
    order.clone()
}

#[test]
fn nearest_steals_near_first_on_four_nodes() {
    let machine = four_node_machine();
    let distances = machine.distances();
    let ranks_of = |scheduler: &Scheduler| -> Vec<u8> {
        let owners = order_of_victims(scheduler);
        owners
            .iter()
            .map(|&owner| distances.rank(0, owner).unwrap())
            .collect()
    };
    for seed in 0..5 {
        let scheduler = four_nodes(Nearest, seed);
        let ranks = ranks_of(&scheduler);
        assert!(ranks.is_sorted(), "{ranks:?}");
        let by_distance = scheduler.metrics().workers[0].stolen_by_distance;
        let tiers = by_distance.iter().filter(|&&steals| steals > 0).count();
        assert_eq!(
            tiers, 3,
            "the sibling, the near node, the far ones: {by_distance:?}"
        );
    }
    // A policy that does not care is not sorted, or this test could not fail.
    let careless = (0..5).any(|seed| !ranks_of(&four_nodes(Random, seed)).is_sorted());
    assert!(careless);
}

#[test]
fn lanes_of_four_nodes_lose_nothing() {
    let scheduler = four_nodes(Nearest, 1);
    let handles: Vec<_> = (0..10_000_u64)
        .map(|n| scheduler.spawn(async move { n }))
        .collect();
    let sum: u64 = handles
        .into_iter()
        .map(|handle| handle.join().unwrap())
        .sum();
    assert_eq!(sum, 49_995_000);
}
