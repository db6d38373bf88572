//! The programs that run inside: built here as anywhere, then packed with their libraries.

use super::image::Program;
use super::machines::Machine;
use crate::run::{self, root};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A program for the guests.
#[derive(Debug)]
pub(super) struct Guest {
    name: String,
    file: PathBuf,
    arguments: Vec<String>,
    /// Gets the machine's expectations as arguments.
    expecting: bool,
    /// What it shows does not depend on the machine: one is enough.
    pub(super) once: bool,
}

impl Guest {
    pub(super) fn program(&self, machine: &Machine) -> Program {
        let mut arguments = self.arguments.clone();
        if self.expecting {
            arguments.extend(machine.expect.iter().map(ToString::to_string));
        }
        Program {
            name: self.name.clone(),
            file: self.file.clone(),
            arguments,
        }
    }
}

/// Tests of the topology crate whose answers depend on the machine they run on.
const EVERYWHERE: [&str; 3] = ["affinity", "limits", "hwloc"];

/// Fuzzing and made-up machines show nothing more inside, twenty times slower.
const NOWHERE: [&str; 2] = ["fuzz", "recordings"];

/// An example of the top crate, if it has one of this name: a scheduler pinned across the nodes,
/// which checks by its own counters that it steals from near victims first. Ends with status 0 if
/// it does.
const SCHEDULER: &str = "numa_steal";

pub(super) fn build() -> Result<Vec<Guest>, String> {
    let mut guests = probe()?;
    guests.extend(tests()?);
    guests.extend(scheduler()?);
    Ok(guests)
}

fn probe() -> Result<Vec<Guest>, String> {
    let words = [
        "build",
        "--example",
        "numa_probe",
        "--package",
        "stealyard-topology",
    ];
    let found = artifacts(&words)?
        .into_iter()
        .filter(|(name, _)| name == "numa_probe");
    let guest = |(name, file)| Guest {
        name,
        file,
        arguments: Vec::new(),
        expecting: true,
        once: false,
    };
    Ok(found.map(guest).collect())
}

fn tests() -> Result<Vec<Guest>, String> {
    let mut words = vec![
        "test",
        "--no-run",
        "--package",
        "stealyard-topology",
        "--test",
        "*",
    ];
    if hwloc() {
        words.extend(["--features", "hwloc"]);
    }
    let mut found = artifacts(&words)?;
    found.retain(|(name, _)| !NOWHERE.contains(&name.as_str()));
    let guest = |(name, file): (String, PathBuf)| {
        let machine_wide = EVERYWHERE.contains(&name.as_str());
        // The others of its tests need the host's files, or no machine at all.
        let arguments = match name.as_str() {
            "hwloc" => vec!["--exact".into(), "the_live_machine".into()],
            // What a test skips is said.
            _ => vec!["--nocapture".into()],
        };
        Guest {
            name,
            file,
            arguments,
            expecting: false,
            once: !machine_wide,
        }
    };
    Ok(found.into_iter().map(guest).collect())
}

fn scheduler() -> Result<Vec<Guest>, String> {
    let example = root().join(format!("crates/stealyard/examples/{SCHEDULER}.rs"));
    if !example.exists() {
        println!(
            "=== numa: SKIPPED: no scheduler inside, for want of {}",
            example.display()
        );
        return Ok(Vec::new());
    }
    let words = [
        "build",
        "--release",
        "--example",
        SCHEDULER,
        "--package",
        "stealyard",
    ];
    let found = artifacts(&words)?
        .into_iter()
        .filter(|(name, _)| name == SCHEDULER);
    let guest = |(name, file)| Guest {
        name,
        file,
        arguments: Vec::new(),
        expecting: false,
        once: false,
    };
    Ok(found.map(guest).collect())
}

/// Whether the sysfs and hwloc readers can be compared inside.
fn hwloc() -> bool {
    let found = Command::new("pkg-config")
        .args(["--exists", "hwloc"])
        .status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        println!(
            "=== numa: SKIPPED: no comparison with hwloc, for want of libhwloc-dev and pkg-config"
        );
    }
    found
}

/// Runs cargo and gives the names and files of the executables it made.
fn artifacts(arguments: &[&str]) -> Result<Vec<(String, PathBuf)>, String> {
    let mut command = run::cargo();
    command
        .args(arguments)
        .args(["--message-format", "json-render-diagnostics"]);
    println!("=== numa: {}", run::shown(&command));
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cargo can't be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("{} failed", run::shown(&command)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let executable = |message: serde_json::Value| {
        let name = message["target"]["name"].as_str()?.to_string();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    };
    Ok(messages.filter_map(executable).collect())
}
