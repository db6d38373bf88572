//! The commands of this workspace: `cargo xtask help`.
//!
//! One file per command; this one only maps names to functions.
#![expect(clippy::print_stdout, reason = "a command-line program prints")]

mod bench;
mod ci;
mod doctor;
mod loom;
mod numa;
mod orderings;
mod replay;
mod run;
mod source;
mod targets;
mod tidy;
mod tree;
mod verify;
mod weaken;
mod workspace;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "The commands of the Stealyard workspace"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure Stealyard beside its peers, in turns, and name the winner (`bench --help` for
    /// choices)
    #[command(disable_help_flag = true)]
    Bench(bench::Args),
    /// Everything that must hold before a change lands: format, rules, lints, tests, models, docs
    Ci(ci::Args),
    /// Show this machine (or a described one), its limits, and which worker would run where
    #[command(disable_help_flag = true)]
    Doctor(doctor::Args),
    /// Run the loom models of each crate and print how many interleavings they explored
    Loom(loom::Args),
    /// Boot emulated NUMA machines and run the topology tests and a pinned scheduler inside
    Numa(numa::Args),
    /// Write docs/orderings.md from the `// Ordering:` comments
    Orderings(orderings::Args),
    /// Compile the users' crates for the other systems whose standard library is installed
    Targets(targets::Args),
    /// Check the house rules that a program can check
    Tidy(tidy::Args),
    /// The long checks: deep models, weakened orderings, sanitizers, soaks, emulated machines
    Verify(verify::Args),
    /// Relax every memory ordering, one at a time; a model must fail for each
    Weaken(weaken::Args),
}

fn main() -> std::process::ExitCode {
    let outcome = match Cli::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::Ci(args) => ci::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Loom(args) => loom::run(&args),
        Command::Numa(args) => numa::run(&args),
        Command::Orderings(args) => orderings::run(&args),
        Command::Targets(args) => targets::run(&args),
        Command::Tidy(args) => tidy::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Weaken(args) => weaken::run(&args),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            std::process::ExitCode::FAILURE
        }
    }
}
