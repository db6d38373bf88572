//! `cargo xtask doctor`: builds and runs `stealyard-doctor`, which knows the rest.

use crate::run::{self, Outcome};

/// What to ask: passed on to the doctor as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Arguments of the doctor; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let mut command = run::cargo();
    command.args(["run", "--quiet", "--package", "stealyard-doctor", "--"]);
    let status = command.args(&args.rest).status();
    let status = status.map_err(|error| format!("cargo can't be started: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err("the doctor has something to complain about: see above".into()),
    }
}
