//! `cargo xtask ci`: the list of what must hold, in order. `.ci/run` calls this and nothing else.

use std::time::Instant;

use crate::run::{self, Outcome};
use crate::{loom, replay, targets, tidy, workspace};

/// Which steps to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the steps whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// List the steps and run nothing
    #[arg(long)]
    list: bool,
}

/// A step: its name and what it does.
type Step = (&'static str, fn() -> Outcome);

const STEPS: [Step; 14] = [
    ("fmt", || cargo("fmt", &["fmt", "--all", "--check"])),
    ("tidy", || tidy::run(&tidy::Args::default())),
    ("clippy", clippy),
    ("clippy-model", clippy_model),
    ("clippy-door", clippy_door),
    ("test", || test("test", &[])),
    ("test-release", || test("test-release", &["--release"])),
    ("loom", || loom::run(&loom::Args::default())),
    ("replay", replay::everyday),
    ("features", features),
    ("targets", || targets::run(&targets::Args::default())),
    ("doc", doc),
    ("examples", examples),
    ("benches", benches),
];

pub(crate) fn run(args: &Args) -> Outcome {
    let chosen: Vec<&Step> = STEPS
        .iter()
        .filter(|(name, _)| {
            args.only
                .as_ref()
                .is_none_or(|part| name.contains(part.as_str()))
        })
        .collect();
    if args.list {
        for (name, _) in chosen {
            println!("{name}");
        }
        return Ok(());
    }
    if chosen.is_empty() {
        return Err(format!(
            "no step is named like {:?}; --list lists them",
            args.only
        ));
    }
    let start = Instant::now();
    let mut times = Vec::new();
    for (name, step) in chosen {
        let begun = Instant::now();
        step()?;
        times.push((name, begun.elapsed().as_secs_f64()));
    }
    println!("\n=== ci: passed in {:.0} s", start.elapsed().as_secs_f64());
    for (name, seconds) in times {
        println!("    {name:<14} {seconds:>6.1} s");
    }
    Ok(())
}

/// The users' crates and xtask; the benches bring all peers with them and have a step of their own.
const TESTED: [&str; 3] = ["--workspace", "--exclude", "stealyard-benches"];

fn cargo(title: &str, arguments: &[&str]) -> Outcome {
    run::step(title, run::cargo().args(arguments))
}

/// The features that need nothing from the system, and that no model replaces.
const FEATURES: [&str; 4] = [
    "stealyard-deque/conformance",
    "stealyard-injector/conformance",
    "stealyard/futures",
    "stealyard/hyper",
];

fn clippy() -> Outcome {
    let mut command = run::cargo();
    command.args(["clippy", "--workspace", "--all-targets", "--features"]);
    command.arg(FEATURES.join(","));
    run::step("clippy", command.args(["--", "-D", "warnings"]))
}

fn clippy_model() -> Outcome {
    for package in workspace::modelled()? {
        let mut command = run::cargo_loom();
        command.args([
            "clippy",
            "--package",
            &package.name,
            "--features",
            "loom",
            "--all-targets",
        ]);
        command.args(["--", "-D", "warnings"]);
        run::step(&format!("clippy-model {}", package.name), &mut command)?;
    }
    Ok(())
}

/// Whether a library goes past `stealyard-sync`: see `clippy.toml`. Asked of the crates with
/// models, because the types of `stealyard-sync` differ from those of `std` in a model only.
fn clippy_door() -> Outcome {
    let packages = workspace::packages(&run::root())?;
    for package in packages
        .iter()
        .filter(|package| package.is_behind_the_door() && package.modelled)
    {
        let mut command = run::cargo_loom();
        command.args(["clippy", "--package", &package.name, "--features", "loom"]);
        // The door itself is not behind it, and tests are free.
        command.args(["--lib", "--no-deps", "--", "-D", "warnings"]);
        for lint in ["macros", "methods", "types"] {
            command.args(["-D", &format!("clippy::disallowed_{lint}")]);
        }
        run::step(&format!("clippy-door {}", package.name), &mut command)?;
    }
    Ok(())
}

/// Unit, integration and (in debug) documentation tests.
fn test(title: &str, profile: &[&str]) -> Outcome {
    let mut command = run::cargo();
    command.arg("test").args(TESTED).args(profile);
    command.args(["--features", &FEATURES.join(",")]);
    if !profile.is_empty() {
        // Documentation examples are the same code in both profiles.
        command.args(["--lib", "--bins", "--tests"]);
    }
    run::step(title, &mut command)?;
    // The same protocols with fences on both sides, as on a system that forbids membarrier.
    let mut fenced = run::cargo();
    fenced
        .env("STEALYARD_MEMBARRIER", "off")
        .arg("test")
        .args(profile);
    fenced.args([
        "--package",
        "stealyard-park",
        "--package",
        "stealyard-deque",
        "--lib",
        "--tests",
    ]);
    run::step(&format!("{title}, membarrier off"), &mut fenced)
}

/// Each users' crate with no feature; the features that need nothing from the system.
fn features() -> Outcome {
    let packages = workspace::packages(&run::root())?;
    for package in packages.iter().filter(|package| package.is_for_users()) {
        let name = &package.name;
        cargo(
            "features: none",
            &["check", "--package", name, "--no-default-features"],
        )?;
    }
    for feature in FEATURES {
        let package = feature
            .split('/')
            .next()
            .expect("a feature is written package/feature");
        cargo(
            "features: each",
            &["check", "--package", package, "--features", feature],
        )?;
    }
    println!(
        "=== features: skipped stealyard-topology/hwloc (needs libhwloc; `cargo xtask verify`)"
    );
    Ok(())
}

/// The users' crates, as users read them and with private items, which the essays cite.
fn doc() -> Outcome {
    let mut public = run::cargo();
    public
        .env("RUSTDOCFLAGS", "-D warnings")
        .args(["doc", "--no-deps"]);
    run::step("doc", &mut public)?;
    // With private items shown, a link that is needed in the public pages may be redundant.
    let mut private = run::cargo();
    private.env(
        "RUSTDOCFLAGS",
        "-D warnings -A rustdoc::redundant_explicit_links",
    );
    private.args(["doc", "--no-deps", "--document-private-items"]);
    run::step("doc, private items", &mut private)
}

/// The benches' own tests, and one pair of each case: whether they run, not how fast.
fn benches() -> Outcome {
    let package = ["--package", "stealyard-benches"];
    run::step("benches", run::cargo().arg("test").args(package))?;
    let mut smoke = run::cargo();
    smoke.arg("run").args(package);
    smoke.args(["--", "--quick", "--rounds", "1"]);
    smoke.args(["--json", "target/bench/smoke.json"]);
    run::step("benches, one pair each", &mut smoke)
}

/// Every example that ends by itself, run as a user would.
fn examples() -> Outcome {
    for package in workspace::modelled()? {
        let folder = package.folder.join("examples");
        let mut names: Vec<String> = std::fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        for name in names {
            let mut command = run::cargo();
            command.args([
                "run",
                "--release",
                "--package",
                &package.name,
                "--example",
                &name,
            ]);
            match (package.name.as_str(), name.as_str()) {
                ("stealyard-deque" | "stealyard-injector", _) => {
                    command.args(["--features", "conformance"]);
                }
                ("stealyard", "http") => {
                    command.args(["--features", "hyper"]);
                }
                ("stealyard", "wordcount") => {
                    command.args(["--", "--check", "docs"]);
                }
                _ => {}
            }
            run::step("examples", &mut command)?;
        }
    }
    Ok(())
}
