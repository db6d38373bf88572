//! A steal policy of one's own: look at the neighbours left and right before anyone else.
//!
//! `cargo run --release -p stealyard --example custom_policy`
#![expect(clippy::print_stdout, reason = "an example prints")]

use stealyard::policy::Turn;
use stealyard::{Builder, StealAmount, StealPolicy};

/// Workers sit in a ring: first the next one, then the one before, then the next but one, and so
/// on.
#[derive(Debug)]
struct Neighbours;

impl StealPolicy for Neighbours {
    fn victim(&self, turn: &mut Turn<'_>) -> Option<usize> {
        let workers = turn.others.len() + 1;
        if turn.step >= turn.others.len() {
            return None;
        }
        let away = turn.step / 2 + 1;
        let victim = match turn.step % 2 {
            0 => turn.thief + away,
            _ => turn.thief + workers - away,
        };
        Some(victim % workers)
    }

    fn amount(&self) -> StealAmount {
        StealAmount::UpTo(32)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scheduler = Builder::new()
        .parallelism(4)
        .steal_policy(Neighbours)
        .build()?;
    scheduler.block_on(scheduler.spawn(async {
        let work = |n: u64| async move { (0..2_000).fold(n, |sum, k| sum.rotate_left(7) ^ k) };
        let tasks: Vec<_> = (0..20_000).map(|n| stealyard::spawn(work(n))).collect();
        for task in tasks {
            task.await?;
        }
        Ok::<(), stealyard::JoinError>(())
    }))??;
    for (worker, metrics) in scheduler.metrics().workers.iter().enumerate() {
        println!(
            "worker {worker}: {} tasks run, {} stolen in {} of {} attempts",
            metrics.tasks_run, metrics.tasks_stolen, metrics.steals_done, metrics.steals_tried
        );
    }
    Ok(())
}
