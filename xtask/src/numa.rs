//! `cargo xtask numa`.
use crate::run::Outcome;
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {}
pub(crate) fn run(_args: &Args) -> Outcome {
    Err("numa is being written".to_owned())
}
