#![doc = include_str!("../README.md")]
#![expect(clippy::print_stdout, reason = "a command-line program prints")]

mod explain;
mod findings;
mod json;
mod outline;
mod process;
mod report;
mod svg;
mod text;

use clap::Parser;
use findings::{Question, find_out};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use stealyard_topology::Placement;

/// Shows a machine, the limits of a process, where workers would run, and why
#[derive(Debug, Parser)]
#[command(name = "stealyard-doctor", version)]
struct Args {
    /// Seat workers: none, compact, spread, balanced, one-per-core, per-node, explicit:0;2-3,
    /// places:cores, performance:compact, local-memory:spread
    #[arg(long, value_name = "PLACEMENT")]
    placement: Option<Placement>,
    /// As --placement, and say of each worker why it is there
    #[arg(long, value_name = "PLACEMENT", conflicts_with = "placement")]
    explain: Option<Placement>,
    /// How many workers [default: the available parallelism; for a described machine its cores]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Show the limits and the threads of this process instead of one's own
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Bind a thread to every seat and say what the system did
    #[arg(long)]
    probe: bool,
    /// Draw the machine, and the workers, to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print the whole value as JSON instead of text
    #[arg(long)]
    json: bool,
    /// Print how near the workers are to each other, however many they are
    #[arg(long)]
    nearness: bool,
    /// Take what is missing or contradictory as an error, not as a note
    #[arg(long)]
    strict: bool,
    /// A described machine, as in `pack:2 [numa] l3:2 core:4 pu:2`
    #[arg(long, value_name = "STRING", conflicts_with = "sysfs")]
    synthetic: Option<String>,
    /// A captured machine: the directory that holds its `sys`
    #[arg(long, value_name = "DIR")]
    sysfs: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("stealyard-doctor: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), String> {
    let question = Question {
        synthetic: args.synthetic,
        sysfs: args.sysfs,
        strict: args.strict,
        pid: args.pid,
        placement: args.placement,
        explain: args.explain,
        workers: args.workers,
        nearness: args.nearness,
        probe: args.probe,
    };
    let findings = find_out(&question)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    // A reader that has seen enough, `head` for instance, is no failure.
    let _ = match args.json {
        true => json::write(&findings, &mut out),
        false => out.write_all(report::report(&findings).as_bytes()),
    };
    let _ = out.flush();
    drop(out);
    if let Some(file) = &args.svg {
        std::fs::write(file, svg::draw(&findings))
            .map_err(|error| format!("{}: cannot be written: {error}", file.display()))?;
        if !args.json {
            println!("\nDrawn to {}", file.display());
        }
    }
    let failed = findings
        .probe
        .iter()
        .flatten()
        .filter(|seat| seat.is_err())
        .count();
    match (findings.failure, findings.plan) {
        (Some(failure), _) => Err(format!("this machine could not be read: {failure}")),
        (None, Err(failure)) => Err(failure),
        (None, Ok(_)) if failed > 0 => Err(format!("{failed} seats could not be taken")),
        (None, Ok(_)) => Ok(()),
    }
}
