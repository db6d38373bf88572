//! Stealyard beside its peers: workloads written once, one adapter per subject, a harness that runs
//! them in turns. This is the program behind `cargo xtask bench`. The README explains its tables.
#![expect(clippy::print_stdout, reason = "a command-line program prints")]

mod harness;
mod instructions;
mod report;
mod stats;
mod subject;
mod workload;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::harness::{Case, Effort, measure};
use crate::subject::foreign;

/// Measures Stealyard beside its peers, in turns, and prints wins and losses alike.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Args {
    /// A first look: every case within two minutes
    #[arg(long)]
    quick: bool,
    /// Only this layer: queue, injector, park, scheduler, granularity, fork-join, wake, contended
    /// or gauge
    #[arg(long)]
    layer: Option<String>,
    /// Only cases whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Workers of each scheduler; default: what this process may use
    #[arg(long)]
    workers: Option<usize>,
    /// Pairs measured against each peer
    #[arg(long)]
    rounds: Option<usize>,
    /// Where the JSON goes
    #[arg(long, default_value = "target/bench/results.json")]
    json: PathBuf,
    /// Write a page with all tables for the documentation, too
    #[arg(long)]
    page: Option<PathBuf>,
    /// Count instructions under callgrind instead of measuring times, where one thread does
    /// everything
    #[arg(long)]
    instructions: bool,
    /// The gauges' own: read one in a process of its own
    #[arg(long, hide = true)]
    child: Option<String>,
    /// List the cases and measure nothing
    #[arg(long)]
    list: bool,
}

fn main() {
    let args = Args::parse();
    if let Err(message) = run(&args) {
        eprintln!("bench: {message}");
        std::process::exit(1);
    }
}

fn run(args: &Args) -> Result<(), String> {
    let workers = match args.workers {
        Some(0) => return Err("--workers 0: take at least 1".to_owned()),
        Some(workers) => workers,
        None => stealyard_topology::available_parallelism().get(),
    };
    if let Some(wish) = &args.child {
        return child(wish, workers);
    }
    let mut cases = chosen(args, workers)?;
    if args.instructions {
        instructions::check()?;
        cases = cases
            .into_iter()
            .filter_map(instructions::counted)
            .collect();
    }
    if args.list {
        for case in &cases {
            println!("{:<10} {}", case.layer, case.name);
        }
        return Ok(());
    }
    let mut effort = if args.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    if args.instructions {
        effort.gauge_rounds = 1;
    }
    effort.rounds = args.rounds.unwrap_or(effort.rounds).max(1);
    let setting = setting(workers, effort);
    for (name, value) in &setting {
        println!("{name:<8} {value}");
    }
    let mut results = Vec::new();
    let bar = progress(cases.len() as u64);
    for case in cases {
        bar.set_message(format!("{} / {}", case.layer, case.name));
        let lines = measure(&case, effort, || bar.tick());
        bar.suspend(|| println!("{}", report::table(&case, &lines).trim_end_matches('\n')));
        bar.inc(1);
        results.push((case, lines));
    }
    bar.finish_and_clear();
    println!("{}", report::verdicts(&results));
    if let Some(page) = &args.page {
        write(page, &report::page(&setting, &results))?;
        println!("the page: {}", page.display());
    }
    write(
        &args.json,
        &format!("{:#}\n", report::json(&setting, &results)),
    )?;
    println!("all figures: {}", args.json.display());
    Ok(())
}

/// Does the part of a gauge, or of a count of instructions, that needs a process of its own.
fn child(wish: &str, workers: usize) -> Result<(), String> {
    let own = || format!("--child {wish}: it is for the benches' own use");
    if let Some(run) = wish.strip_prefix("run:") {
        return instructions::run_once(run, workload::all(workers)).ok_or_else(own);
    }
    let reading = workload::gauge::read(wish, workers).ok_or_else(own)?;
    println!("{reading}");
    Ok(())
}

fn chosen(args: &Args, workers: usize) -> Result<Vec<Case>, String> {
    let fits = |wish: &Option<String>, text: &str| {
        wish.as_ref()
            .is_none_or(|part| text.contains(part.as_str()))
    };
    let cases: Vec<Case> = workload::all(workers)
        .into_iter()
        .filter(|case| fits(&args.layer, case.layer) && fits(&args.filter, &case.name))
        .collect();
    if cases.is_empty() {
        Err("no case is named like that; --list lists them".to_owned())
    } else {
        Ok(cases)
    }
}

/// Returns the facts that a later reader of the figures needs.
fn setting(workers: usize, effort: Effort) -> Vec<(&'static str, String)> {
    let output = |program: &str, arguments: &[&str]| {
        Command::new(program)
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map_or_else(
                || "unknown".to_owned(),
                |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            )
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, name)| name);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let Effort {
        rounds, run_time, ..
    } = effort;
    let milliseconds = Duration::as_millis(&run_time);
    vec![
        ("cpu", format!("{model}, {workers} workers")),
        ("kernel", kernel.trim().to_owned()),
        ("rustc", output("rustc", &["--version"])),
        (foreign::GO.name, foreign::GO.version()),
        (foreign::TBB.name, foreign::TBB.version()),
        (
            "commit",
            output("git", &["describe", "--always", "--dirty"]),
        ),
        ("date", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        (
            "method",
            format!("{rounds} pairs a peer, runs of about {milliseconds} ms, in turns"),
        ),
        (
            "command",
            std::env::args()
                .skip(1)
                .fold("cargo xtask bench".to_owned(), |a, b| a + " " + &b),
        ),
    ]
}

fn progress(cases: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}")
        .expect("the template is well formed");
    ProgressBar::new(cases).with_style(style)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let error = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(error)?;
    }
    std::fs::write(path, text).map_err(error)
}
