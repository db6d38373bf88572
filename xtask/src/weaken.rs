//! `cargo xtask weaken`: is every memory ordering needed?
//!
//! Each ordering and each fence of a crate is relaxed by one step, one at a time, in a copy of the
//! workspace. The crate's loom models run, and one of them must fail. What survives is either
//! stronger than it has to be, or no model covers it. An ordering that no model can kill says why
//! in its comment, in a sentence that begins with `Unmodelled:`; those are counted apart (and tried
//! as well with `--excused`, which reports excuses that have become stale). An excuse that speaks
//! of `the Acquire half` or `the Release half` of an AcqRel operation covers that half only.
//!
//! | written | tried |
//! |---|---|
//! | `load`, `Acquire` | `Relaxed` |
//! | `store`, `Release` | `Relaxed` |
//! | read-modify-write, `AcqRel` | `Acquire`; `Release` |
//! | read-modify-write, `Acquire` or `Release` | `Relaxed` |
//! | any access, `SeqCst` | the strongest weaker one for that access |
//! | `fence(SeqCst)` | `fence(AcqRel)` |
//! | `fence(AcqRel)` | `fence(Acquire)`; `fence(Release)` |
//! | `fence(Acquire)`, `fence(Release)` | no fence |
//! | `asymmetric::light()`, `asymmetric::heavy()` | nothing |

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::run::{self, Outcome};
use crate::source::{Site, Source};
use crate::tree::Tree;
use crate::workspace::{self, Package};

/// What to weaken.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only this package (may be given more than once)
    #[arg(short, long)]
    package: Vec<String>,
    /// Only files whose path contains this
    #[arg(long)]
    file: Option<String>,
    /// Only the k-th of n parts, as `k/n` (from 1)
    #[arg(long, value_parser = parse_shard)]
    shard: Option<(usize, usize)>,
    /// Try the excused ones too, and report excuses that a model refutes
    #[arg(long)]
    excused: bool,
    /// List what would be tried, and run nothing
    #[arg(long)]
    list: bool,
    /// Seconds after which a mutant counts as killed because its models no longer end
    #[arg(long, default_value_t = 300)]
    timeout: u64,
}

impl Args {
    /// Selects every crate, excuses taken at their word.
    pub(crate) fn everyday() -> Self {
        Self {
            timeout: 300,
            ..Self::default()
        }
    }
}

/// One change to one line.
#[derive(Debug)]
struct Mutant {
    package: String,
    path: PathBuf,
    line: usize,
    text: String,
    label: String,
    excuse: Option<String>,
}

#[derive(Debug)]
enum Fate {
    Killed(String),
    Survived,
    DoesNotBuild,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let mutants = select(args)?;
    if args.list {
        for mutant in &mutants {
            let note = if mutant.excuse.is_some() {
                " (excused)"
            } else {
                ""
            };
            println!("{}{note}", mutant.label);
        }
        println!("{} mutants", mutants.len());
        return Ok(());
    }
    let tree = copy_workspace()?;
    for package in workspace::modelled()? {
        if mutants.iter().any(|mutant| mutant.package == package.name) {
            baseline(&tree, &package.name, args)?;
        }
    }
    let mut tally = Tally::default();
    for (number, mutant) in mutants.iter().enumerate() {
        if mutant.excuse.is_some() && !args.excused {
            tally.excused += 1;
            continue;
        }
        let start = Instant::now();
        let fate = attempt(&tree, mutant, args)?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "[{:>3}/{}] {:>5.1} s  {}  {}",
            number + 1,
            mutants.len(),
            seconds,
            mutant.label,
            tally.count(mutant, fate)
        );
    }
    tally.report()
}

#[derive(Debug, Default)]
struct Tally {
    killed: usize,
    excused: usize,
    survivors: Vec<String>,
    stale: Vec<String>,
    broken: Vec<String>,
}

impl Tally {
    fn count(&mut self, mutant: &Mutant, fate: Fate) -> String {
        match (fate, &mutant.excuse) {
            (Fate::Killed(by), None) => {
                self.killed += 1;
                format!("killed by {by}")
            }
            (Fate::Killed(by), Some(_)) => {
                self.stale.push(mutant.label.clone());
                format!("STALE EXCUSE: killed by {by}")
            }
            (Fate::Survived, None) => {
                self.survivors.push(mutant.label.clone());
                "SURVIVED".to_owned()
            }
            (Fate::Survived, Some(_)) => {
                self.excused += 1;
                "survived, as its comment says".to_owned()
            }
            (Fate::DoesNotBuild, _) => {
                self.broken.push(mutant.label.clone());
                "DOES NOT BUILD".to_owned()
            }
        }
    }

    fn report(&self) -> Outcome {
        println!(
            "\n{} killed, {} excused, {} survived, {} stale excuses, {} did not build",
            self.killed,
            self.excused,
            self.survivors.len(),
            self.stale.len(),
            self.broken.len()
        );
        for (what, labels) in [
            ("survived", &self.survivors),
            ("excused, but a model kills it", &self.stale),
            ("does not build", &self.broken),
        ] {
            for label in labels {
                println!("{what}: {label}");
            }
        }
        if self.survivors.is_empty() && self.stale.is_empty() && self.broken.is_empty() {
            Ok(())
        } else {
            Err("not every ordering is shown necessary".to_owned())
        }
    }
}

fn select(args: &Args) -> Result<Vec<Mutant>, String> {
    let wanted = |mutant: &Mutant| {
        let package = args.package.is_empty() || args.package.contains(&mutant.package);
        let part = args.file.as_deref().unwrap_or_default();
        package && mutant.path.to_string_lossy().contains(part)
    };
    let mut mutants = mutants(&workspace::modelled()?)?;
    mutants.retain(wanted);
    if let Some((part, parts)) = args.shard {
        mutants = mutants
            .into_iter()
            .enumerate()
            .filter_map(|(at, mutant)| (at % parts == part - 1).then_some(mutant))
            .collect();
    }
    Ok(mutants)
}

/// Collects every mutant of `packages`.
fn mutants(packages: &[Package]) -> Result<Vec<Mutant>, String> {
    let mut mutants = Vec::new();
    for package in packages.iter().filter(|package| package.modelled) {
        for source in package.sources()? {
            // The conformance suites are test code that users may call; no model runs them.
            if !source.path.to_string_lossy().contains("/conformance") {
                mutants.extend(mutants_of(&package.name, source));
            }
        }
    }
    Ok(mutants)
}

/// Returns how many mutants `packages` have, and how many of these are excused.
pub(crate) fn figure(packages: &[Package]) -> Result<(usize, usize), String> {
    let mutants = mutants(packages)?;
    let excused = mutants.iter().filter(|mutant| mutant.excuse.is_some());
    Ok((mutants.len(), excused.count()))
}

fn mutants_of(package: &str, source: &Source) -> Vec<Mutant> {
    let shown = source
        .path
        .strip_prefix(run::root())
        .unwrap_or(&source.path)
        .to_path_buf();
    let mut mutants = Vec::new();
    for site in source.sites() {
        let excuse = source
            .ordering_comment(&site)
            .and_then(|comment| Some(comment[comment.find("Unmodelled:")?..].to_owned()));
        for (becomes, text) in weaker(&site, &source.lines[site.line]) {
            mutants.push(Mutant {
                package: package.to_owned(),
                path: shown.clone(),
                line: site.line,
                text,
                label: format!(
                    "{}:{} {}({}) -> {becomes}",
                    shown.display(),
                    site.line + 1,
                    site.operation,
                    site.token
                ),
                excuse: excuse
                    .clone()
                    .filter(|text| covers(text, site.token.as_str(), becomes)),
            });
        }
    }
    mutants
}

/// Whether an excuse speaks of this relaxation: one that names a half (`the Acquire half`) excuses
/// only the mutant that lacks this half.
fn covers(excuse: &str, written: &str, becomes: &str) -> bool {
    let half = |name: &str| excuse.contains(&format!("the {name} half"));
    match (written, becomes) {
        ("AcqRel", "Release") if half("Release") => half("Acquire"),
        ("AcqRel", "Acquire") if half("Acquire") => half("Release"),
        _ => true,
    }
}

/// Returns the one-step relaxations of `site`: what it becomes, and the whole line with it.
fn weaker(site: &Site, line: &str) -> Vec<(&'static str, String)> {
    // An ordering under another name, which `tidy` refuses, stands there in other letters.
    if !line[site.column..].starts_with(&site.token) {
        return vec![];
    }
    let swap = |token: &'static str| {
        let end = site.column + site.token.len();
        (
            token,
            format!("{}{token}{}", &line[..site.column], &line[end..]),
        )
    };
    let remove = || {
        let call = site.call.clone().unwrap_or(site.column..site.column);
        (
            "nothing",
            format!("{}(){}", &line[..call.start], &line[call.end..]),
        )
    };
    match (site.operation.as_str(), site.token.as_str()) {
        ("compiler_fence", _) | (_, "Relaxed") => vec![],
        ("light" | "heavy", _) => vec![remove()],
        ("fence", "SeqCst") => vec![swap("AcqRel")],
        ("fence", "AcqRel") => vec![swap("Acquire"), swap("Release")],
        ("fence", _) => vec![remove()],
        ("load", "SeqCst") => vec![swap("Acquire")],
        ("store", "SeqCst") => vec![swap("Release")],
        (_, "SeqCst") => vec![swap("AcqRel")],
        (_, "AcqRel") => vec![swap("Acquire"), swap("Release")],
        _ => vec![swap("Relaxed")],
    }
}

/// Copies what a build needs into `target/weaken/tree`, leaving unchanged files alone so that cargo
/// does not rebuild them.
fn copy_workspace() -> Result<PathBuf, String> {
    let root = run::root();
    let tree = root.join("target/weaken/tree");
    // A fresh tree: a file renamed in the project must not linger in the copy. Its times are new as
    // well, so that nothing built from a mutant of the last run passes for built from the original.
    let _ = std::fs::remove_dir_all(&tree);
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(root.join(&folder))
            .map_err(|e| e.to_string())?
            .flatten()
        {
            let name = entry.file_name();
            let relative = folder.join(&name);
            let hidden = name.to_string_lossy().starts_with('.');
            let source = entry.path();
            if source.is_dir() {
                if !hidden && name != "target" && name != "docs" {
                    open.push(relative);
                }
            } else if !hidden {
                let to = tree.join(&relative);
                std::fs::create_dir_all(to.parent().expect("a file is in a folder"))
                    .and_then(|()| std::fs::copy(&source, &to).map(drop))
                    .map_err(|error| format!("cannot copy {}: {error}", source.display()))?;
            }
        }
    }
    Ok(tree)
}

fn models(tree: &Path, package: &str) -> Command {
    let mut command = run::models(package);
    command
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", run::root().join("target/weaken/target"))
        // A mutant is one changed line: most of its time would go into building what is the same.
        .env("CARGO_PROFILE_LOOM_INCREMENTAL", "true")
        .env("CARGO_PROFILE_LOOM_DEBUG", "false");
    command
}

fn baseline(tree: &Path, package: &str, args: &Args) -> Outcome {
    match watch(
        &mut models(tree, package),
        Duration::from_secs(args.timeout),
    )? {
        Fate::Survived => Ok(()),
        Fate::Killed(by) => Err(format!("{package}: {by} fails before anything is weakened")),
        Fate::DoesNotBuild => Err(format!("{package}: the models do not build")),
    }
}

fn attempt(tree: &Path, mutant: &Mutant, args: &Args) -> Result<Fate, String> {
    let target = tree.join(&mutant.path);
    let original = std::fs::read_to_string(&target).map_err(|error| error.to_string())?;
    let mut lines: Vec<&str> = original.lines().collect();
    lines[mutant.line] = &mutant.text;
    let write = |text: &str| {
        std::fs::write(&target, text)
            .map_err(|error| format!("cannot write {}: {error}", target.display()))
    };
    write(&(lines.join("\n") + "\n"))?;
    let fate = watch(
        &mut models(tree, &mutant.package),
        Duration::from_secs(args.timeout),
    );
    write(&original)?;
    fate
}

/// Runs the models until one fails, all pass, or time is up.
fn watch(command: &mut Command, limit: Duration) -> Result<Fate, String> {
    let tree = Tree::start(command.stdout(Stdio::piped()).stderr(Stdio::null()))
        .map_err(|error| format!("cannot start {}: {error}", run::shown(command)))?;
    let output = tree.stdout().expect("its output is piped");
    let end = || {
        tree.end()
            .map_err(|error| format!("a mutant cannot be ended: {error}"))
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + limit;
    let mut started = false;
    loop {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                started |= line.starts_with("running ");
                if let Some(name) = line.strip_suffix(" ... FAILED") {
                    end()?;
                    return Ok(Fate::Killed(name.trim_start_matches("test ").to_owned()));
                }
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                end()?;
                return Ok(Fate::Killed(format!(
                    "the time limit of {} s",
                    limit.as_secs()
                )));
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = tree
        .wait(Duration::MAX)
        .map_err(|error| error.to_string())?;
    let status = status.ok_or("there is no limit to this wait")?;
    Ok(match (status.success(), started) {
        (true, _) => Fate::Survived,
        // The whole test program ended: a panic while a model unwinds aborts it.
        (false, true) => Fate::Killed(format!("an abort ({status})")),
        (false, false) => Fate::DoesNotBuild,
    })
}

fn parse_shard(text: &str) -> Result<(usize, usize), String> {
    let parsed = text
        .split_once('/')
        .and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)))
        .filter(|&(part, parts)| 1 <= part && part <= parts);
    parsed.ok_or_else(|| format!("{text:?} is not k/n with 1 <= k <= n, as in 1/4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(code: &str) -> Vec<String> {
        let source = Source::new(Path::new("x.rs"), code);
        mutants_of("stealyard-deque", &source)
            .into_iter()
            .map(|mutant| mutant.text)
            .collect()
    }

    #[test]
    fn each_kind_of_ordering_is_relaxed_by_one_step() {
        assert_eq!(
            lines("a.load(Ordering::Acquire);"),
            ["a.load(Ordering::Relaxed);"]
        );
        assert_eq!(
            lines("a.store(1, Ordering::Release);"),
            ["a.store(1, Ordering::Relaxed);"]
        );
        assert_eq!(
            lines("a.swap(1, Ordering::AcqRel);"),
            [
                "a.swap(1, Ordering::Acquire);",
                "a.swap(1, Ordering::Release);"
            ]
        );
        assert_eq!(
            lines("fence(Ordering::SeqCst);"),
            ["fence(Ordering::AcqRel);"]
        );
        assert_eq!(lines("fence(Ordering::Release);"), ["();"]);
        assert_eq!(lines("stealyard_sync::asymmetric::light();"), ["();"]);
        assert_eq!(
            lines("if a { atomic::fence(Ordering::Acquire); b(); }"),
            ["if a { (); b(); }"]
        );
        assert!(lines("a.load(Ordering::Relaxed);").is_empty());
    }

    #[test]
    fn an_ordering_is_relaxed_under_every_name() {
        let code = "use sync::atomic::Ordering as O;\na.load(O::Acquire);";
        assert_eq!(lines(code), ["a.load(O::Relaxed);"]);
        let code = "use sync::asymmetric as a;\na::light();";
        assert_eq!(lines(code), ["();"]);
        let hidden = "let _r = r\"\\\";\na.load(Ordering::Acquire);\nlet _s = \"\";";
        assert_eq!(lines(hidden), ["a.load(Ordering::Relaxed);"]);
    }

    #[test]
    fn an_excuse_for_one_half_does_not_cover_the_other() {
        let excuse = "Unmodelled: the Acquire half; nobody reads it.";
        assert!(
            covers(excuse, "AcqRel", "Release"),
            "without its Acquire half"
        );
        assert!(
            !covers(excuse, "AcqRel", "Acquire"),
            "without its Release half"
        );
        assert!(covers(
            "Unmodelled: neither can be seen.",
            "AcqRel",
            "Acquire"
        ));
        assert!(covers(excuse, "Acquire", "Relaxed"));
    }

    #[test]
    fn an_excuse_is_read_from_the_comment() {
        let text =
            "// Ordering: Acquire (O1). Unmodelled: loom has no X.\na.load(Ordering::Acquire);";
        let source = Source::new(Path::new("x.rs"), text);
        let found = &mutants_of("stealyard-deque", &source)[0];
        assert_eq!(found.excuse.as_deref(), Some("Unmodelled: loom has no X."));
    }
}
