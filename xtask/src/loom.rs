//! `cargo xtask loom`: the models of each crate, with the number of interleavings each explored.

use crate::run::{self, Outcome};
use crate::workspace;

/// What to model.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only this package (may be given more than once)
    #[arg(short, long)]
    package: Vec<String>,
    /// Preemptions explored in an execution; each model has its own default, 2 or 3
    #[arg(long)]
    preemptions: Option<usize>,
    /// Only models whose name contains this
    filter: Option<String>,
}

impl Args {
    /// Selects the models of every crate, at the given bound.
    pub(crate) fn all(preemptions: Option<usize>) -> Self {
        Self {
            preemptions,
            ..Self::default()
        }
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    let packages = workspace::modelled()?;
    let chosen = packages
        .iter()
        .map(|package| &package.name)
        .filter(|name| args.package.is_empty() || args.package.contains(name));
    let mut any = false;
    for package in chosen {
        any = true;
        let mut command = run::models(package);
        command.arg("--");
        command.args(&args.filter);
        // The models print their counts on standard error, which libtest holds back otherwise.
        command.arg("--nocapture");
        if let Some(preemptions) = args.preemptions {
            command.env("STEALYARD_PREEMPTIONS", preemptions.to_string());
        }
        // A bound that was asked for is a deep run.
        let step = match args.preemptions {
            Some(_) => run::long_step,
            None => run::step,
        };
        step(&format!("loom {package}"), &mut command)?;
    }
    if any {
        Ok(())
    } else {
        Err(format!(
            "no package of {:?} has models; those that have: {:?}",
            args.package,
            packages
                .iter()
                .map(|package| &package.name)
                .collect::<Vec<_>>()
        ))
    }
}
