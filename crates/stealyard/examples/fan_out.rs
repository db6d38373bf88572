//! Many tasks from one, their values gathered in order; and the same sum by fork and join.
//!
//! `cargo run --release -p stealyard --example fan_out`
#![expect(clippy::print_stdout, reason = "an example prints")]

use stealyard::{Scheduler, join, spawn};

/// How many steps the Collatz sequence of `n` takes to reach 1.
fn steps(mut n: u64) -> u64 {
    let mut steps = 0;
    while n > 1 {
        n = if n.is_multiple_of(2) {
            n / 2
        } else {
            3 * n + 1
        };
        steps += 1;
    }
    steps
}

/// The sum over a range, halved until it is small.
fn sum(range: std::ops::Range<u64>) -> u64 {
    if range.end - range.start <= 1000 {
        return range.map(steps).sum();
    }
    let middle = range.start.midpoint(range.end);
    let (left, right) = join(|| sum(range.start..middle), || sum(middle..range.end));
    left + right
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scheduler = Scheduler::new()?;

    let by_tasks = scheduler.block_on(async {
        let chunks = (1..1_000_000_u64).step_by(1000);
        let tasks: Vec<_> = chunks
            .map(|start| {
                spawn(async move {
                    (start..(start + 1000).min(1_000_000))
                        .map(steps)
                        .sum::<u64>()
                })
            })
            .collect();
        let mut total = 0;
        for task in tasks {
            total += task.await?;
        }
        Ok::<u64, stealyard::JoinError>(total)
    })?;

    let by_joins = scheduler.install(|| sum(1..1_000_000));

    assert_eq!(by_tasks, by_joins);
    let total = scheduler.metrics().total();
    println!(
        "{by_tasks} steps; {} tasks run, {} of them stolen in {} steals",
        total.tasks_run, total.tasks_stolen, total.steals_done
    );
    Ok(())
}
