//! Seeded schedules: whole schedulers, and the parts below, under shuttle. A step of `ci`, a longer
//! run of `verify`, and `verify --replay SCENARIO:SCHEDULE`, which runs one schedule again.

use std::process::Command;

use crate::run::{self, Outcome};

/// The packages with scenarios in `tests/shuttle.rs`.
const PACKAGES: [&str; 2] = ["stealyard-park", "stealyard"];

/// Schedules of each scenario in `verify`.
const SCHEDULES: u32 = 10_000;

/// Every scenario, with its everyday number of schedules and the same seeds each time.
pub(crate) fn everyday() -> Outcome {
    for package in PACKAGES {
        run::step(&format!("replay {package}"), &mut scenarios(package))?;
    }
    Ok(())
}

/// Every scenario with 10,000 schedules (`STEALYARD_SCHEDULES` overrides it) that were never run
/// before.
pub(crate) fn long() -> Outcome {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let seed = since.map_or(1, |time| time.as_secs());
    for package in PACKAGES {
        let mut command = scenarios(package);
        command.env("STEALYARD_SEED", seed.to_string());
        if std::env::var_os("STEALYARD_SCHEDULES").is_none() {
            command.env("STEALYARD_SCHEDULES", SCHEDULES.to_string());
        }
        run::long_step(&format!("replay {package}, long"), &mut command)?;
    }
    Ok(())
}

/// One schedule of one scenario, by the name that its failure printed.
pub(crate) fn one(name: &str) -> Outcome {
    if !name.contains(':') {
        return Err(format!(
            "{name:?} is not SCENARIO:SCHEDULE, as a failure prints it"
        ));
    }
    for package in PACKAGES {
        let mut command = scenarios(package);
        command.env("STEALYARD_REPLAY", name);
        println!("=== replay {name}: {}", run::shown(&command));
        let output = command.output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        // Scenarios of other names do nothing; this one says how it went.
        if !output.status.success() || said.contains(name) {
            print!("{}{said}", String::from_utf8_lossy(&output.stdout));
            return if output.status.success() {
                Ok(())
            } else {
                Err(format!("{name} fails"))
            };
        }
    }
    Err(format!(
        "no package of {PACKAGES:?} has the scenario of {name:?}"
    ))
}

fn scenarios(package: &str) -> Command {
    let mut command = run::cargo();
    command
        .env("RUSTFLAGS", "--cfg stealyard_shuttle")
        .env("CARGO_TARGET_DIR", run::root().join("target/shuttle"));
    command.args(["test", "--profile", "loom", "--features", "shuttle"]);
    // What a scenario prints is held back by libtest otherwise; and one at a time, or it is mixed.
    command.args(["--test", "shuttle", "--package", package]);
    command.args(["--", "--nocapture", "--test-threads", "1"]);
    command
}
