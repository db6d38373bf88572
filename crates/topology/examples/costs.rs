//! What the calls cost on this machine: `cargo run --release -p stealyard-topology --example
//! costs`.
//!
//! Each is repeated and the median is printed, with the fastest beside it.

#![expect(clippy::print_stdout, reason = "a command-line program prints")]

use std::hint::black_box;
use std::time::{Duration, Instant};
use stealyard_topology::{CpuSet, Limits, Placement, Topology, mask, pin};

fn main() {
    let machine = Topology::detect().expect("this machine can be read");
    println!("{machine:?}");
    let mut limits = Limits::read();
    println!("{}\n", limits.available_parallelism());
    measure("Topology::detect", 200, || {
        drop(black_box(Topology::detect()))
    });
    measure("Limits::read", 1000, || drop(black_box(Limits::read())));
    measure("Limits::refresh", 1000, || _ = black_box(limits.refresh()));
    measure("mask", 10_000, || drop(black_box(mask())));
    let before = mask().expect("this thread has a mask");
    let one = CpuSet::from([before.first().expect("a mask is never empty")]);
    measure("pin to one CPU, with its check", 10_000, || {
        drop(black_box(pin(&one)))
    });
    measure("pin to a set, with its check", 10_000, || {
        drop(black_box(pin(&before)))
    });
    let large = Topology::synthetic("pack:2 [numa] l3:8 l2:8 core:1 pu:2").expect("256 CPUs");
    let distances = large.distances();
    measure("Placement::Spread, 256 workers", 100, || {
        drop(black_box(Placement::Spread.plan(&large, 256)));
    });
    let plan = Placement::Spread.plan(&large, 256).expect("256 CPUs");
    measure("matrix of 256 workers", 100, || {
        drop(black_box(plan.matrix(&distances)))
    });
    let mut cpu = 0;
    measure("Distances::rank, 1000 pairs", 1000, || {
        for _ in 0..1000 {
            cpu = (cpu + 97) % 256;
            black_box(distances.rank(black_box(cpu), 255 - cpu));
        }
    });
    huge();
}

/// Three machines of 8,192 CPUs: a common one, one package for all, and one node for every eight
/// CPUs.
fn huge() {
    for text in [
        "pack:16 [numa] die:4 l3:4 l2:8 core:1 pu:4",
        "pack:1 core:8192 pu:1",
        "numa:1024 pack:1 core:4 pu:2",
    ] {
        println!("\n{text}");
        let machine = Topology::synthetic(text).expect("8,192 CPUs");
        assert_eq!(machine.cpus().len(), 8192);
        measure("Topology::synthetic", 5, || {
            drop(black_box(Topology::synthetic(text)))
        });
        let distances = machine.distances();
        for placement in [
            Placement::Compact,
            Placement::Spread,
            Placement::Balanced,
            Placement::PerNode,
            Placement::OnePerCore,
        ] {
            let cores = machine.cores().len();
            let workers = if placement == Placement::OnePerCore {
                cores
            } else {
                8192
            };
            let plan = placement.plan(&machine, workers).expect("room for all");
            measure(&format!("{placement}, {workers} workers"), 5, || {
                drop(black_box(placement.plan(&machine, workers)))
            });
            measure("  their matrix", 5, || {
                drop(black_box(plan.matrix(&distances)))
            });
        }
        if let Some(kib) = peak_kib() {
            println!("at most {} MiB so far", kib / 1024);
        }
    }
}

/// The most memory this process has had, in KiB, where the system says.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn measure(what: &str, times: usize, mut call: impl FnMut()) {
    let mut spans: Vec<Duration> = (0..times)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed()
        })
        .collect();
    spans.sort_unstable();
    let (fastest, median) = (spans[0], spans[times / 2]);
    println!("{what:<32} {median:>12.2?}   (fastest {fastest:.2?})");
}
