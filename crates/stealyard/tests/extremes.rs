//! Goal: every number of the configuration works at both ends of its range, alone and together with
//! any others, and a value beyond is refused with the field, the value and the range. Method: each
//! extreme by itself, then combinations drawn at random. Within each all kinds of work run, and
//! then the end comes. Some tasks wait for what a worker finds only when it looks at the global
//! queue, at the end, or into its own inbox. A watchdog tells a hang from a wait.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;
#[path = "support/watchdog.rs"]
mod watchdog;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use stealyard::{
    Builder, Config, GlobalInterval, LocalQueue, Order, Place, Scheduler, Shutdown, SpinConfig,
    StealAmount, StealPolicy, join, scope,
};
use watchdog::Watchdog;

/// A value of a field.
type Set = fn(&mut Config);

/// Takes as much as it may at once.
#[derive(Debug)]
struct Amount(StealAmount);

impl StealPolicy for Amount {
    fn victim(&self, turn: &mut stealyard::policy::Turn<'_>) -> Option<usize> {
        stealyard::Random.victim(turn)
    }

    fn amount(&self) -> StealAmount {
        self.0
    }
}

fn spin(min: Duration, max: Duration, first: Duration, weight: u32) -> Option<SpinConfig> {
    Some(SpinConfig {
        min,
        max,
        first,
        weight,
    })
}

const LONGEST_SPIN: Duration = Duration::from_millis(100);

/// Every field that is a number, and its extremes.
const EXTREMES: &[(&str, &[Set])] = &[
    (
        "parallelism",
        &[|c| c.parallelism = Some(1), |c| c.parallelism = Some(64)],
    ),
    (
        "name",
        &[|c| c.name = String::new(), |c| c.name = "n".repeat(100_000)],
    ),
    (
        "stack_size",
        &[
            |c| c.stack_size = Some(256 * 1024),
            |c| c.stack_size = Some(1 << 30),
        ],
    ),
    (
        "local_queue",
        &[
            |c| c.local_queue = LocalQueue::Ring { capacity: 2 },
            |c| c.local_queue = LocalQueue::Ring { capacity: 1 << 20 },
            |c| c.local_queue = LocalQueue::Split { capacity: 2 },
            |c| c.local_queue = LocalQueue::Split { capacity: 1 << 15 },
            |c| c.local_queue = LocalQueue::ChaseLev { order: Order::Lifo },
            |c| c.local_queue = LocalQueue::ChaseLev { order: Order::Fifo },
        ],
    ),
    (
        "global_interval",
        &[
            |c| c.global_interval = GlobalInterval::Tasks(1),
            |c| c.global_interval = GlobalInterval::Tasks(1 << 16),
            |c| c.global_interval = GlobalInterval::Time(Duration::from_nanos(1)),
            |c| c.global_interval = GlobalInterval::Time(Duration::MAX),
        ],
    ),
    (
        "slot_streak_max",
        &[|c| c.slot_streak_max = 0, |c| c.slot_streak_max = 1 << 16],
    ),
    (
        "slot_grace",
        &[
            |c| c.slot_grace = Duration::ZERO,
            |c| c.slot_grace = Duration::from_millis(1),
        ],
    ),
    (
        "watch_min",
        &[
            |c| c.watch_min = Duration::from_nanos(1),
            |c| c.watch_min = Duration::MAX - Duration::from_nanos(1),
            |c| c.watch_min = Duration::MAX,
        ],
    ),
    (
        "watch_max",
        &[
            |c| c.watch_max = Duration::from_nanos(1),
            |c| c.watch_max = Duration::MAX,
        ],
    ),
    ("budget", &[|c| c.budget = 1, |c| c.budget = 1 << 16]),
    (
        "steal_policy",
        &[
            |c| c.steal_policy = Arc::new(Amount(StealAmount::UpTo(0))),
            |c| c.steal_policy = Arc::new(Amount(StealAmount::UpTo(usize::MAX))),
        ],
    ),
    (
        "steal_passes",
        &[|c| c.steal_passes = 1, |c| c.steal_passes = 64],
    ),
    (
        "spin",
        &[
            |c| c.spin = spin(Duration::ZERO, Duration::ZERO, Duration::ZERO, 0),
            |c| c.spin = spin(Duration::ZERO, LONGEST_SPIN, Duration::MAX, u32::MAX),
            |c| c.spin = spin(LONGEST_SPIN, LONGEST_SPIN, Duration::ZERO, 0),
            |c| c.spin = spin(LONGEST_SPIN, Duration::ZERO, Duration::MAX, 3),
        ],
    ),
    (
        "blocking_threads_max",
        &[
            |c| c.blocking_threads_max = 1,
            |c| c.blocking_threads_max = usize::MAX,
        ],
    ),
    (
        "blocking_keep_alive",
        &[
            |c| c.blocking_keep_alive = Duration::ZERO,
            |c| c.blocking_keep_alive = Duration::MAX,
        ],
    ),
    ("schedtrace", &[|c| c.schedtrace = Some(Duration::MAX)]),
    ("seed", &[|c| c.seed = Some(0), |c| c.seed = Some(u64::MAX)]),
];

fn spawn_all(scheduler: &Scheduler) {
    let tasks: Vec<_> = (0..300_usize)
        .map(|n| {
            scheduler.spawn(async move {
                stealyard::coop::consume_budget().await;
                stealyard::yield_now().await;
                stealyard::spawn(async move { n }).await.unwrap()
            })
        })
        .collect();
    let sum: usize = tasks.into_iter().map(|task| task.join().unwrap()).sum();
    assert_eq!(sum, 300 * 299 / 2);
}

fn fork_and_join(scheduler: &Scheduler) {
    fn sum(range: core::ops::Range<u64>) -> u64 {
        if range.end - range.start < 2 {
            return range.start;
        }
        let middle = range.start.midpoint(range.end);
        let (left, right) = join(|| sum(range.start..middle), || sum(middle..range.end));
        left + right
    }
    assert_eq!(scheduler.install(|| sum(0..200)), 19_900);
    let count = AtomicUsize::new(0);
    scheduler.install(|| {
        scope(|s| {
            for _ in 0..20 {
                s.spawn(|s| {
                    s.spawn(|_| {
                        count.fetch_add(1, Ordering::Relaxed);
                    });
                });
            }
        });
    });
    assert_eq!(count.into_inner(), 20);
}

/// What blocks, and what other threads wake: tasks, local tasks, and tasks that would rather run
/// somewhere.
fn block_and_wake(scheduler: &Scheduler) {
    let calls: Vec<_> = (0..5)
        .map(|n| scheduler.spawn_blocking(move || n))
        .collect();
    let sum: i32 = calls.into_iter().map(|call| call.join().unwrap()).sum();
    assert_eq!(sum, 10);
    let (sender, receiver) = async_channel::bounded(1);
    let mut tasks = Vec::new();
    for worker in 0..scheduler.parallelism().min(3) {
        let (first, second) = (receiver.clone(), receiver.clone());
        let task = scheduler.spawn_on(Place::Worker(worker), async move {
            let local = stealyard::spawn_local(async move { first.recv().await.unwrap() });
            local.await.unwrap() + second.recv().await.unwrap()
        });
        tasks.push(task.unwrap());
    }
    let count = 2 * tasks.len();
    let other = std::thread::spawn(move || {
        for _ in 0..count {
            sender.send_blocking(1_usize).unwrap();
        }
    });
    let sum: usize = tasks.into_iter().map(|task| task.join().unwrap()).sum();
    assert_eq!(sum, count);
    other.join().unwrap();
}

/// Tasks that go on for ever unless one from outside, or one behind them, has its turn.
fn take_turns(scheduler: &Scheduler, with_budget: bool) {
    let stop = Arc::new(AtomicBool::new(false));
    let restless: Vec<_> = (0..scheduler.parallelism().min(4))
        .map(|kind| {
            let stop = Arc::clone(&stop);
            scheduler.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if with_budget && kind % 2 == 1 {
                        stealyard::coop::consume_budget().await;
                    } else {
                        stealyard::yield_now().await;
                    }
                }
            })
        })
        .collect();
    let stopper = Arc::clone(&stop);
    let outside = scheduler.spawn(async move {
        stealyard::spawn_detached(async move { stopper.store(true, Ordering::Relaxed) });
    });
    outside.join().unwrap();
    for task in restless {
        task.join().unwrap();
    }
}

/// A pair of tasks that wake each other for as long as a third one waits behind them.
fn pass_a_ball(scheduler: &Scheduler) {
    let task = scheduler.spawn(async {
        let (ping, pinged) = async_channel::bounded(1);
        let (pong, ponged) = async_channel::bounded(1);
        let stop = Arc::new(AtomicBool::new(false));
        let player = stealyard::spawn(async move {
            while pinged.recv().await.is_ok() {
                if pong.send(()).await.is_err() {
                    return;
                }
            }
        });
        let third = Arc::clone(&stop);
        stealyard::spawn_detached(async {});
        stealyard::spawn_detached(async move { third.store(true, Ordering::Relaxed) });
        while !stop.load(Ordering::Relaxed) {
            ping.send(()).await.unwrap();
            ponged.recv().await.unwrap();
        }
        drop(ping);
        player.await.unwrap();
    });
    task.join().unwrap();
}

/// Everything there is to do, and the end.
fn work(config: Config, drain: bool) {
    let _dog = Watchdog::new(Duration::from_secs(120), format!("{config:?}"));
    // A task in the global queue may wait behind an interval of tasks that use up their budgets,
    // each time that one of the chain comes there: the product of the two greatest numbers is
    // minutes, and no hang.
    let interval = match config.global_interval {
        GlobalInterval::Tasks(tasks) => u64::from(tasks),
        GlobalInterval::Time(_) => 127,
    };
    let with_budget = interval * u64::from(config.budget) <= 1 << 24;
    // A last-in-first-out queue alone lets two that wake each other go before all older tasks of
    // its worker, as `slot_streak_max` says; with the slot it does not, nor where another worker
    // takes the oldest.
    let lifo = matches!(
        config.local_queue,
        LocalQueue::Split { .. } | LocalQueue::ChaseLev { order: Order::Lifo }
    );
    let with_ball = !lifo || config.slot_streak_max > 0;
    let scheduler = Builder::from_config(config).build().unwrap();
    spawn_all(&scheduler);
    fork_and_join(&scheduler);
    block_and_wake(&scheduler);
    take_turns(&scheduler, with_budget);
    if with_ball {
        pass_a_ball(&scheduler);
    }
    let asleep = scheduler.spawn(std::future::pending::<()>());
    if drain {
        let report = scheduler.shutdown(Shutdown::Drain);
        assert_eq!((report.workers_running, report.blocking_running), (0, 0));
    } else {
        drop(scheduler);
    }
    assert!(asleep.join().is_err());
}

fn base(workers: usize) -> Config {
    Config {
        parallelism: Some(workers),
        ..Config::default()
    }
}

#[test]
fn each_extreme_works_alone() {
    for (_, extremes) in EXTREMES {
        for (index, set) in extremes.iter().enumerate() {
            for workers in [1, 2] {
                let mut config = base(workers);
                set(&mut config);
                work(config, index % 2 == 0);
            }
        }
    }
}

/// A task that yields goes through the global queue where the own queue is last in, first out. If
/// that has its turn at every task, what waits in the own queue must have one, too. (It had none:
/// hung in most rounds.)
#[test]
fn the_own_queue_has_its_turn_however_often_the_global_one_has() {
    let queues = [
        LocalQueue::Split { capacity: 2 },
        LocalQueue::Split { capacity: 256 },
        LocalQueue::ChaseLev { order: Order::Lifo },
        LocalQueue::ChaseLev { order: Order::Fifo },
        LocalQueue::Ring { capacity: 2 },
    ];
    for queue in queues {
        for interval in [1, 2] {
            for workers in [1, 2, 3] {
                let mut config = base(workers);
                config.local_queue = queue.clone();
                config.global_interval = GlobalInterval::Tasks(interval);
                work(config, workers == 2);
            }
        }
    }
}

/// `STEALYARD_PROCS` has the same range.
#[test]
#[ignore = "soak: 4,096 threads"]
fn the_greatest_number_of_workers_works() {
    work(base(4096), true);
    work(base(4096), false);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn extremes_work_together(
        workers in 1..4_usize,
        drain: bool,
        chosen in proptest::collection::vec((0..EXTREMES.len(), 0..6_usize), 1..10),
    ) {
        let mut config = base(workers);
        for (field, value) in chosen {
            let (_, extremes) = EXTREMES[field];
            extremes[value % extremes.len()](&mut config);
        }
        work(config, drain);
    }
}

/// Values that are refused, and what the error says.
const BEYOND: &[(Set, &[&str])] = &[
    (
        |c| c.parallelism = Some(0),
        &["parallelism is 0", "from 1 to 4096"],
    ),
    (
        |c| c.parallelism = Some(4097),
        &["parallelism is 4097", "from 1 to 4096"],
    ),
    (
        |c| c.parallelism = Some(usize::MAX),
        &["parallelism", "from 1 to 4096"],
    ),
    (
        |c| c.stack_size = Some(0),
        &["stack_size is 0", "from 16384 to"],
    ),
    (
        |c| c.stack_size = Some(16_383),
        &["stack_size is 16383", "from 16384 to"],
    ),
    (
        |c| c.stack_size = Some(usize::MAX),
        &["stack_size is 1844", "from 16384 to"],
    ),
    (
        |c| c.local_queue = LocalQueue::Ring { capacity: 0 },
        &["local_queue", "Ring of 0", "2 to 1048576"],
    ),
    (
        |c| c.local_queue = LocalQueue::Ring { capacity: 1 << 21 },
        &["Ring of 2097152", "2 to 1048576"],
    ),
    (
        |c| {
            c.local_queue = LocalQueue::Ring {
                capacity: usize::MAX,
            }
        },
        &["Ring of", "power of two"],
    ),
    (
        |c| c.local_queue = LocalQueue::Split { capacity: 1 << 16 },
        &["Split of 65536", "2 to 32768"],
    ),
    (
        |c| c.global_interval = GlobalInterval::Tasks(0),
        &["Tasks(0)", "from Tasks(1) to Tasks(65536)"],
    ),
    (
        |c| c.global_interval = GlobalInterval::Tasks(u32::MAX),
        &["Tasks(4294967295)", "to Tasks(65536)"],
    ),
    (
        |c| c.global_interval = GlobalInterval::Time(Duration::ZERO),
        &["Time(0ns)", "longer than"],
    ),
    (
        |c| c.slot_streak_max = u32::MAX,
        &["slot_streak_max is 4294967295", "from 0 to 65536"],
    ),
    (
        |c| c.slot_grace = Duration::MAX,
        &["slot_grace is 1844", "from 0ns to 1ms"],
    ),
    (
        |c| c.watch_min = Duration::ZERO,
        &["watch_min is 0ns", "at least 1ns"],
    ),
    (
        |c| c.watch_max = Duration::ZERO,
        &["watch_max is 0ns", "at least 1ns"],
    ),
    (|c| c.budget = 0, &["budget is 0", "from 1 to 65536"]),
    (
        |c| c.budget = u32::MAX,
        &["budget is 4294967295", "from 1 to 65536"],
    ),
    (
        |c| c.steal_passes = 0,
        &["steal_passes is 0", "from 1 to 64"],
    ),
    (
        |c| c.steal_passes = u32::MAX,
        &["steal_passes is 4294967295", "from 1 to 64"],
    ),
    (
        |c| c.spin = spin(Duration::MAX, LONGEST_SPIN, Duration::ZERO, 3),
        &["spin.min", "from 0ns to 100ms"],
    ),
    (
        |c| c.spin = spin(Duration::ZERO, Duration::MAX, Duration::ZERO, 3),
        &["spin.max", "from 0ns to 100ms"],
    ),
    (
        |c| c.blocking_threads_max = 0,
        &["blocking_threads_max is 0", "from 1 to"],
    ),
    (
        |c| c.schedtrace = Some(Duration::ZERO),
        &["schedtrace is 0ns", "at least 1ms"],
    ),
];

#[test]
fn values_beyond_a_range_are_refused_with_field_value_and_range() {
    for (set, parts) in BEYOND {
        let mut config = Config::default();
        set(&mut config);
        let Err(error) = config.validate() else {
            panic!("{parts:?} was accepted");
        };
        for part in *parts {
            assert!(error.to_string().contains(part), "{error} lacks {part:?}");
        }
    }
}
