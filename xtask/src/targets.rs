//! `cargo xtask targets`: compiles the users' crates for every other system whose standard library
//! is installed (`rustup target add aarch64-apple-darwin x86_64-pc-windows-gnu`). Compiles only;
//! there is nothing here to run them on.

use crate::run::{self, Outcome};
use std::path::Path;
use std::process::Command;

/// `targets` has no choices.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {}

/// The crates with code of their own for other systems, and those built on them.
const PACKAGES: [&str; 5] = [
    "stealyard-topology",
    "stealyard-sync",
    "stealyard-park",
    "stealyard-deque",
    "stealyard-task",
];

/// Bare machines are not systems we know.
const SYSTEMS: [&str; 4] = ["linux", "darwin", "windows", "freebsd"];

pub(crate) fn run(_args: &Args) -> Outcome {
    let (host, installed) = installed()?;
    let others: Vec<&String> = installed
        .iter()
        .filter(|target| **target != host && SYSTEMS.iter().any(|system| target.contains(system)))
        .collect();
    if others.is_empty() {
        println!("=== targets: SKIPPED: no other target is installed (rustup target add …)");
    }
    for target in others {
        let mut command = run::cargo();
        command.args(["clippy", "--target", target.as_str()]);
        PACKAGES
            .iter()
            .for_each(|package| _ = command.args(["--package", package]));
        run::step(
            &format!("targets {target}"),
            command.args(["--", "-D", "warnings"]),
        )?;
    }
    Ok(())
}

/// Returns the host, and the targets with a standard library.
fn installed() -> Result<(String, Vec<String>), String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let ask = |question: &[&str]| {
        let output = Command::new(&rustc)
            .args(question)
            .current_dir(run::root())
            .output();
        let output = output.map_err(|error| format!("rustc can't be started: {error}"))?;
        Ok::<_, String>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let version = ask(&["--version", "--verbose"])?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap_or_default();
    let sysroot = ask(&["--print", "sysroot"])?;
    let folder = Path::new(sysroot.trim()).join("lib/rustlib");
    let mut targets: Vec<String> = std::fs::read_dir(&folder)
        .map_err(|error| format!("{}: {error}", folder.display()))?
        .filter_map(|entry| entry.ok())
        .filter(|entry| entry.path().join("lib").is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    targets.sort();
    Ok((host.to_owned(), targets))
}
