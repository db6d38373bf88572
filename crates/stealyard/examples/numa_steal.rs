//! A scheduler bound across all CPUs of a machine: every worker runs where it was put, and the
//! `Nearest` policy takes work from near victims more often than blind choice would.
//!
//! A tree of tasks is run under `Random` and under `Nearest`; the workers' own counters say how far
//! each successful steal reached. Ends with status 1 if a worker is not where it should be, a task
//! is lost, or steals do not prefer the near. `cargo xtask numa` runs it on emulated machines with
//! several NUMA nodes; on a machine of one node there is no far victim and only the places are
//! checked.

#![expect(clippy::print_stdout, reason = "a command-line program prints")]

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use stealyard::{
    Builder, Nearest, PinFailure, Placement, Random, StealPolicy, Topology, WorkerMetrics,
};
use stealyard_sync::{Arc, Mutex};
use stealyard_topology::{CpuSet, current_cpu, mask};

/// 2^12 leaves a round.
const DEPTH: u32 = 12;
/// Each round begins with one task in one place, and so with steals.
const ROUNDS: u64 = 6;
/// Turns of a loop in every leaf: long beside a steal, also where a machine is emulated.
const TURNS: u64 = 20_000;
/// The rank of two workers on one node; farther ones are on others.
const NODE: usize = 4;
/// Fewer steals say nothing about what is preferred.
const ENOUGH: u64 = 100;

fn main() -> ExitCode {
    let machine = Topology::detect().expect("this machine can be read");
    let workers = machine.allowed().len();
    println!("{machine:?}");
    let mut wrong = Vec::new();
    let random = run(&machine, workers, Random, &mut wrong);
    let nearest = run(&machine, workers, Nearest, &mut wrong);
    let plan = Placement::Compact
        .plan(&machine, workers)
        .expect("a CPU each");
    let matrix = plan.matrix(&machine.distances());
    let pairs = (0..workers).flat_map(|from| matrix.nearest_first(from));
    let (near, all) = pairs.fold((0, 0), |(near, all), (_, rank)| {
        (near + usize::from(usize::from(rank) <= NODE), all + 1)
    });
    let blind = near as f64 / f64::from(all.max(1));
    let [random, nearest] = [("Random", random), ("Nearest", nearest)].map(|(name, metrics)| {
        let near: u64 = metrics.stolen_by_distance[..=NODE].iter().sum();
        let all: u64 = metrics.stolen_by_distance.iter().sum();
        let share = near as f64 / all.max(1) as f64;
        println!(
            "{name:<8} {all:>6} steals, {:.0} % within a node; by rank {:?}",
            share * 100.0,
            metrics.stolen_by_distance
        );
        (all, share)
    });
    println!(
        "blind choice would find {:.0} % of the victims within the node",
        blind * 100.0
    );
    if near < all as usize && nearest.0 >= ENOUGH && random.0 >= ENOUGH {
        if nearest.1 < (blind * 1.25).min(0.9) {
            wrong.push(format!(
                "Nearest stole within a node only {:.2} of the times",
                nearest.1
            ));
        }
        if nearest.1 < random.1 {
            wrong.push("Nearest stole farther than Random".to_owned());
        }
    } else {
        println!("steals are not judged: one node, or too few of them");
        // Set by `cargo xtask numa` for machines on which they must be.
        let must = std::env::var("STEALYARD_MUST_RUN").unwrap_or_default();
        if must.split(',').any(|name| name == "numa_steal") {
            wrong.push("steals could not be judged".to_owned());
        }
    }
    wrong.iter().for_each(|line| println!("WRONG: {line}"));
    if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the tree with one worker bound to each CPU and gives the sum of what the workers counted.
fn run(
    machine: &Topology,
    workers: usize,
    policy: impl StealPolicy + 'static,
    wrong: &mut Vec<String>,
) -> WorkerMetrics {
    let name = format!("{policy:?}");
    // A placement is a function of machine and number: these are the seats the scheduler gives too.
    let plan = Placement::Compact
        .plan(machine, workers)
        .expect("a CPU each");
    let seen: Arc<Mutex<Vec<(usize, CpuSet, usize)>>> = Arc::default();
    let record = Arc::clone(&seen);
    let scheduler = Builder::new()
        .parallelism(workers)
        .placement(Placement::Compact)
        .on_pin_failure(PinFailure::Refuse)
        .steal_policy(policy)
        .on_worker_start(move |worker| {
            let cpu = current_cpu().map_or(usize::MAX, |(cpu, _)| cpu);
            let place = (worker, mask().unwrap_or_default(), cpu);
            record.lock().expect("no hook panics").push(place);
        })
        .build()
        .expect("every CPU is allowed");
    let mut leaves = (0, 0);
    for _ in 0..ROUNDS {
        let round = scheduler.block_on(async { stealyard::spawn(tree(DEPTH)).await });
        let round = round.expect("no task panics");
        leaves = (leaves.0 + round.0, leaves.1 + round.1);
    }
    if leaves.0 != ROUNDS << DEPTH {
        wrong.push(format!(
            "{name}: {} leaves of {}",
            leaves.0,
            ROUNDS << DEPTH
        ));
    }
    if leaves.1 != 0 {
        wrong.push(format!(
            "{name}: {} leaves ran on a CPU that is not their worker's",
            leaves.1
        ));
    }
    let total = scheduler.metrics().total();
    drop(scheduler);
    let seen = seen.lock().expect("no hook panics");
    if seen.len() != workers {
        wrong.push(format!(
            "{name}: {} workers of {workers} started",
            seen.len()
        ));
    }
    for (worker, mask, cpu) in seen.iter() {
        let seat = &plan.seats()[*worker].cpus;
        if mask != seat || !seat.contains(*cpu) {
            wrong.push(format!(
                "{name}: worker {worker} is on CPU {cpu} with mask {mask}, not on {seat}"
            ));
        }
    }
    total
}

type Leaves = (u64, u64);

/// Leaves that ran, and those that ran outside the mask of their thread or on a thread with no CPU
/// of its own.
fn tree(depth: u32) -> Pin<Box<dyn Future<Output = Leaves> + Send>> {
    Box::pin(async move {
        if depth == 0 {
            let work = (0..TURNS).fold(1u64, |x, turn| {
                std::hint::black_box(x.wrapping_mul(31) + turn)
            });
            std::hint::black_box(work);
            let cpu = current_cpu().map_or(usize::MAX, |(cpu, _)| cpu);
            let bound = mask().is_ok_and(|mask| mask.single() == Some(cpu));
            return (1, u64::from(!bound));
        }
        let [left, right] = [0, 1].map(|_| stealyard::spawn(tree(depth - 1)));
        let (left, right) = (left.await, right.await);
        let (left, right) = (
            left.expect("no task panics"),
            right.expect("no task panics"),
        );
        (left.0 + right.0, left.1 + right.1)
    })
}
