//! `cargo xtask bench`: builds and runs the benches, which know the rest.

use crate::run::{self, Outcome};

/// What to measure: passed on to the benches as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Arguments of the benches; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let mut command = run::cargo();
    command.args([
        "run",
        "--profile",
        "bench",
        "--package",
        "stealyard-benches",
        "--",
    ]);
    command.args(&args.rest);
    run::long_step("bench", &mut command)
}
