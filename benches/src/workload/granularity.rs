//! Tasks that take time: the share of the ideal that is left when the work is cut into small
//! pieces, or when one piece is much longer than the others.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::scheduler::{Countdown, rooted, timed_async};
use crate::harness::{Case, Kind, Subject, timed};
use crate::subject::async_executor::AsyncExecutor;
use crate::subject::ours::Ours;
use crate::subject::tokio::Tokio;
use crate::subject::{Runtime, Spawner};

/// The number of tasks that are spawned before they are waited for.
const BATCH: u64 = 1000;

/// The time that a task takes, and the subjects for a number of workers.
type Entry = (&'static str, fn(usize) -> Vec<Subject>);

/// Returns the cases of this layer.
pub(crate) fn cases(workers: usize) -> Vec<Case> {
    let case = |name, operation, subjects: fn(usize) -> Vec<Subject>| Case {
        layer: "granularity",
        name,
        operation,
        kind: Kind::Time,
        subjects: Box::new(move || subjects(workers)),
    };
    let even: [Entry; 3] = [
        ("0.2 µs", |workers| {
            grains(workers, Duration::from_nanos(200))
        }),
        ("1 µs", |workers| grains(workers, Duration::from_micros(1))),
        ("10 µs", |workers| {
            grains(workers, Duration::from_micros(10))
        }),
    ];
    let mut cases: Vec<Case> = even
        .map(|(time, subjects)| case(format!("tasks of {time}, from one task"), "task", subjects))
        .into();
    cases.push(case(
        "50 tasks of 10 µs behind one of 1 ms".to_owned(),
        "batch",
        |workers| {
            vec![
                behind::<Ours>(workers),
                behind::<Tokio>(workers),
                behind::<AsyncExecutor>(workers),
                behind_ideal(workers),
            ]
        },
    ));
    cases
}

/// Work of as many steps as were measured for a time, so that the clock is not read while it runs.
#[derive(Clone, Copy)]
struct Work {
    steps: u64,
}

impl Work {
    fn lasting(time: Duration) -> Self {
        const TRIAL: Work = Work { steps: 1_000_000 };
        let fastest = (0..5).map(|_| {
            let begun = Instant::now();
            TRIAL.run();
            begun.elapsed()
        });
        let fastest = fastest.min().expect("five trials").as_secs_f64();
        let steps = time.as_secs_f64() / fastest * TRIAL.steps as f64;
        Self {
            steps: (steps as u64).max(1),
        }
    }

    fn run(self) {
        let mut value = 1_u64;
        for step in 0..self.steps {
            value = black_box(value.wrapping_mul(6_364_136_223_846_793_005) ^ step);
        }
        black_box(value);
    }
}

/// One task spawns many that take `time`, and all workers take part. The ideal is the work alone,
/// divided by the number of workers.
fn grains(workers: usize, time: Duration) -> Vec<Subject> {
    fn on<R: Runtime>(workers: usize, work: Work) -> Subject {
        let countdown = Countdown::leak();
        rooted::<R, _, _>(workers, move |spawner, repetitions| async move {
            let rounds = repetitions.div_ceil(BATCH);
            timed_async(rounds * BATCH, async {
                for _ in 0..rounds {
                    countdown.start(BATCH);
                    for _ in 0..BATCH {
                        spawner.spawn_detached(async move {
                            work.run();
                            countdown.one_less();
                        });
                    }
                    countdown.end().await;
                }
            })
            .await
        })
    }
    let work = Work::lasting(time);
    vec![
        on::<Ours>(workers, work),
        on::<Tokio>(workers, work),
        on::<AsyncExecutor>(workers, work),
        ideal(workers, move || work.run()),
    ]
}

/// One after the other on one thread, counted as if `workers` of them shared it without any cost.
fn ideal(workers: usize, work: impl Fn() + 'static) -> Subject {
    let run = move |repetitions| {
        let mut run = timed(repetitions, || (0..repetitions).for_each(|_| work()));
        run.amount /= workers as f64;
        run
    };
    Subject {
        name: "the work alone (floor)",
        run: Box::new(run),
    }
}

/// A long task, and short ones that were spawned after it by the same task.
const LONG: Duration = Duration::from_millis(1);
const SHORT: Duration = Duration::from_micros(10);
const SHORT_COUNT: u64 = 50;

fn behind<R: Runtime>(workers: usize) -> Subject {
    let (long, short) = (Work::lasting(LONG), Work::lasting(SHORT));
    let countdown = Countdown::leak();
    rooted::<R, _, _>(workers, move |spawner, repetitions| async move {
        timed_async(repetitions, async {
            for _ in 0..repetitions {
                countdown.start(SHORT_COUNT + 1);
                for number in 0..=SHORT_COUNT {
                    let work = if number == 0 { long } else { short };
                    spawner.spawn_detached(async move {
                        work.run();
                        countdown.one_less();
                    });
                }
                countdown.end().await;
            }
        })
        .await
    })
}

/// The ideal: the long task alone, or all work divided, whichever takes longer.
fn behind_ideal(workers: usize) -> Subject {
    let (long, short) = (Work::lasting(LONG), Work::lasting(SHORT));
    if workers > 1 {
        return ideal(1, move || long.run());
    }
    ideal(1, move || {
        long.run();
        (0..SHORT_COUNT).for_each(|_| short.run());
    })
}
