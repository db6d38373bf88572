//! `cargo xtask doctor`: the machine as a tree, the limits and where each comes from, and for a
//! placement and a number of workers who would go where; for this machine or one described.

mod json;
mod outline;
mod report;
mod svg;
mod text;

use crate::run::Outcome;
use std::io::Write;
use std::path::PathBuf;
use stealyard_topology::{Limits, Placement, Plan, Source, Topology};

/// What `doctor` can be asked.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Seat workers: none, compact, spread, balanced, one-per-core, per-node, explicit:0;2-3,
    /// places:cores, performance:compact
    #[arg(long, value_name = "PLACEMENT")]
    placement: Option<Placement>,
    /// How many workers [default: the available parallelism; for a described machine its cores]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Draw the machine, and the workers, to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print the whole value as JSON instead of text
    #[arg(long)]
    json: bool,
    /// A described machine, as in "pack:2 [numa] l3:2 core:4 pu:2"
    #[arg(long, value_name = "STRING", conflicts_with = "sysfs")]
    synthetic: Option<String>,
    /// A captured machine: the directory that holds its `sys`
    #[arg(long, value_name = "DIR")]
    sysfs: Option<PathBuf>,
}

/// What was found out, for the writers of text, JSON and SVG.
struct Findings {
    machine: Topology,
    /// Of this machine only.
    limits: Option<Limits>,
    /// Why the machine is shown flat, if it could not be read.
    failure: Option<String>,
    workers: usize,
    placement: Placement,
    plan: Result<Plan, String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let findings = find_out(args)?;
    let text = match args.json {
        true => format!("{:#}\n", json::value(&findings)),
        false => report::report(&findings),
    };
    // A reader that has seen enough, `head` for instance, is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if let Some(file) = &args.svg {
        std::fs::write(file, svg::draw(&findings))
            .map_err(|error| format!("{}: cannot be written: {error}", file.display()))?;
        if !args.json {
            println!("\nDrawn to {}", file.display());
        }
    }
    match (findings.failure, findings.plan) {
        (Some(failure), _) => Err(format!("this machine could not be read: {failure}")),
        (None, Err(failure)) => Err(failure),
        (None, Ok(_)) => Ok(()),
    }
}

fn find_out(args: &Args) -> Result<Findings, String> {
    let mut failure = None;
    let machine = match (&args.synthetic, &args.sysfs) {
        (Some(text), _) => Topology::synthetic(text).map_err(|error| error.to_string())?,
        (None, Some(root)) => Topology::from_sysfs(root).map_err(|error| error.to_string())?,
        (None, None) => {
            let (machine, error) = Topology::detect_or_flat();
            failure = error.map(|error| error.to_string());
            machine
        }
    };
    let live = args.synthetic.is_none() && args.sysfs.is_none();
    let limits = live.then(Limits::read);
    let workers = args.workers.unwrap_or_else(|| match &limits {
        Some(limits) => limits.available_parallelism().get(),
        None => machine.cores().len(),
    });
    let placement = args.placement.clone().unwrap_or_default();
    let plan = placement
        .plan(&machine, workers)
        .map_err(|error| error.to_string());
    Ok(Findings {
        machine,
        limits,
        failure,
        workers,
        placement,
        plan,
    })
}

/// Where a machine came from, in a few words.
fn source(machine: &Topology) -> String {
    match machine.source() {
        Source::Sysfs(root) if root.as_os_str() == "/" => "this machine, from /sys".into(),
        Source::Sysfs(root) => format!("captured tree {}", root.display()),
        Source::Synthetic(text) => format!("described as \"{text}\""),
        Source::Hwloc(name) => format!("{name}, through hwloc"),
        _ => "nothing but the number of CPUs is known".into(),
    }
}

/// Bytes as people write them.
fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 10.0 && value.fract() > 0.05 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {}", UNITS[unit])
}
