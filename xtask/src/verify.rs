//! `cargo xtask verify`: the long checks. Each skips loudly where the machine lacks what it needs.

mod audit;
mod http;
mod hwloc;
mod sanitizer;

use crate::run::{self, Outcome};
use crate::{loom, replay, source, weaken};

/// Which of the long checks to run; all of them if none is named.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one switch of the command line"
)]
pub(crate) struct Args {
    /// The models with one preemption more than every day
    #[arg(long)]
    deep: bool,
    /// Relax every ordering, one at a time
    #[arg(long)]
    weaken: bool,
    /// Stress tests under ThreadSanitizer, with an instrumented standard library
    #[arg(long)]
    tsan: bool,
    /// Stress tests under AddressSanitizer and LeakSanitizer
    #[arg(long)]
    asan: bool,
    /// The safe-code programs of every crate (its tests named audit) under AddressSanitizer, soaks
    /// included
    #[arg(long)]
    audit: bool,
    /// The tests marked as soaks, in release
    #[arg(long)]
    soak: bool,
    /// Emulated NUMA machines
    #[arg(long)]
    numa: bool,
    /// The hwloc reader beside the sysfs reader, also over the recordings in Debian's hwloc source
    #[arg(long)]
    hwloc: bool,
    /// The HTTP example under the load of wrk, errors counted
    #[arg(long)]
    http: bool,
    /// Seeded schedules of whole schedulers: 10,000 of each scenario (`STEALYARD_SCHEDULES`)
    #[arg(long)]
    schedules: bool,
    /// Run one schedule again, by the name that its failure printed; nothing else is run
    #[arg(long, value_name = "SCENARIO:SCHEDULE")]
    replay: Option<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    if let Some(name) = &args.replay {
        return replay::one(name);
    }
    let all = !(args.deep
        || args.weaken
        || args.tsan
        || args.asan
        || args.audit
        || args.soak
        || args.numa
        || args.hwloc
        || args.http
        || args.schedules);
    let checks: [(bool, fn() -> Outcome); 10] = [
        (args.asan, sanitizer::address),
        (args.audit, audit::run),
        (args.tsan, sanitizer::thread),
        (args.soak, soak),
        (args.hwloc, hwloc::run),
        (args.http, http::load),
        (args.schedules, replay::long),
        (
            args.numa,
            || crate::numa::run(&crate::numa::Args::default()),
        ),
        (args.deep, || loom::run(&loom::Args::all(Some(3)))),
        (args.weaken, || weaken::run(&weaken::Args::everyday())),
    ];
    let mut failures = Vec::new();
    for (_, check) in checks.into_iter().filter(|(wanted, _)| all || *wanted) {
        // One failing check does not hide what the others would say.
        if let Err(message) = check() {
            println!("=== FAILED: {message}");
            failures.push(message);
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
    }
}

/// Every test whose `#[ignore]` says that it is a soak, whatever its name.
fn soak() -> Outcome {
    let mut names = Vec::new();
    for path in source::files(&run::root().join("crates"), "rs") {
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        names.extend(soaks_of(&text));
    }
    if names.is_empty() {
        return Err("no test is marked as a soak".to_owned());
    }
    let mut command = run::cargo();
    command.args([
        "test",
        "--release",
        "--tests",
        "--features",
        "stealyard-deque/conformance",
    ]);
    command.args(["--", "--ignored", "--nocapture"]).args(names);
    run::long_step("soak", &mut command)
}

/// Returns the names of the functions that come after `#[ignore = "soak…"]`.
fn soaks_of(text: &str) -> Vec<String> {
    let marked = text.split("#[ignore = \"soak").skip(1);
    let name = |after: &str| {
        let (_, name) = after.split_once("fn ")?;
        Some(name.split('(').next()?.to_owned())
    };
    marked.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soaks_are_found_by_their_mark() {
        let text = concat!(
            "#[test]\n#[ignore = \"so",
            "ak: long\"]\nfn one() {}\n#[test]\n#[ignore = \"a child\"]\nfn two() {}",
        );
        assert_eq!(soaks_of(text), ["one"]);
    }
}
