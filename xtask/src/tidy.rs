//! `cargo xtask tidy`: the house rules that a program can check.
//!
//! | rule | what |
//! |---|---|
//! | opening | every Rust file opens with `//!` (or takes its crate doc from the README) |
//! | no-mod-rs | `park.rs` and `park/`, never `park/mod.rs` |
//! | length | no file over 800 lines |
//! | door | atomics, cells, locks, threads and clocks come from `stealyard-sync`, whatever the import |
//! | ordering | every atomic operation and fence has its `// Ordering:` comment, and names it in full |
//! | platform | `cfg(target_os)` and its like stand at module level, never inside a function |
//! | unfinished | no note to finish something later |
//! | label | a label is defined once in a crate; a citation from another file names the file |
//! | wing | the rooms of the scheduler import downward, by the table in `rooms.rs` |
//! | circle | no rooms of a crate import each other in a circle |
//! | who | no sentence begins with a headless "Who" |
//! | rate | no crate has more of a headless "who" and of "nobody" than the aimed rates |
//! | columns | comments keep within rustfmt's columns |
//! | link | every relative link in a Markdown file leads to a file and a heading that exist |
//! | layer | structure crates know nothing of each other; nothing depends on `benches` or `xtask` |
//! | generated | what `cargo xtask orderings` writes is up to date |
//! | msrv | the MSRV that READMEs name is the one in Cargo.toml |

mod door;
mod explained;
#[cfg(test)]
mod holes;
mod labels;
mod links;
mod manifests;
mod platform;
mod prose;
mod rooms;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::orderings;
use crate::run::{self, Outcome};
use crate::source::{self, Source};
use crate::workspace::{self, Package};

/// Nothing to choose among the rules: every one is checked.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Count the rules of the language by file and crate, and list what counts; check nothing
    #[arg(long)]
    prose: bool,
    /// With `--prose`, only files whose path contains this
    #[arg(requires = "prose")]
    part: Option<String>,
}

/// A rule that does not hold somewhere.
#[derive(Debug)]
struct Complaint {
    rule: &'static str,
    path: PathBuf,
    /// One-based; 0 for the whole file.
    line: usize,
    text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.strip_prefix(run::root()).unwrap_or(&self.path);
        write!(
            f,
            "{}:{}: {}: {}",
            path.display(),
            self.line,
            self.rule,
            self.text
        )
    }
}

/// Where the rules put what they find.
#[derive(Debug, Default)]
struct Report(Vec<Complaint>);

impl Report {
    fn add(&mut self, rule: &'static str, path: &Path, line: usize, text: impl Into<String>) {
        self.0.push(Complaint {
            rule,
            path: path.to_path_buf(),
            line,
            text: text.into(),
        });
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    if args.prose {
        return prose::print(&run::root(), args.part.as_deref());
    }
    let complaints = check(&run::root())?;
    for complaint in &complaints {
        println!("{complaint}");
    }
    match complaints.len() {
        0 => {
            println!("tidy: nothing to complain about");
            Ok(())
        }
        count => Err(format!("tidy: {count} complaints")),
    }
}

/// Applies every rule to the whole workspace at `root`.
fn check(root: &Path) -> Result<Vec<Complaint>, String> {
    let mut report = Report::default();
    for folder in ["crates", "xtask", "benches"] {
        for path in source::files(&root.join(folder), "rs") {
            let source = Source::read(&path)?;
            opening(&source, &mut report);
            size_and_place(&source, &mut report);
            unfinished(&source, &mut report);
        }
    }
    let packages = workspace::packages(root)?;
    for package in packages.iter().filter(|package| package.is_for_users()) {
        let sources = package.sources()?;
        for source in sources {
            shipped(package, source, &mut report);
        }
        rooms::check(package, sources, &mut report);
    }
    labels::check(&packages, &mut report)?;
    links::check(root, &mut report)?;
    prose::check(root, &mut report)?;
    manifests::check(root, &packages, &mut report)?;
    generated(root, &packages, &mut report);
    Ok(report.0)
}

/// The rules for the sources of users' crates.
fn shipped(package: &Package, source: &Source, report: &mut Report) {
    platform::check(source, report);
    if package.name == workspace::THE_DOOR {
        explained::check(source, report);
    } else if package.is_behind_the_door() {
        door::check(source, report);
        explained::check(source, report);
        explained::in_full(source, report);
    } else {
        door::no_atomics(source, report);
    }
}

fn opening(source: &Source, report: &mut Report) {
    let first = source.lines.first().map_or("", String::as_str);
    let documented = first.starts_with("//!") || first.starts_with("#![doc = include_str!");
    if !documented {
        report.add(
            "opening",
            &source.path,
            1,
            "the file does not open with `//!`: say what it is",
        );
    }
}

fn size_and_place(source: &Source, report: &mut Report) {
    if source.path.file_name().is_some_and(|name| name == "mod.rs") {
        report.add(
            "no-mod-rs",
            &source.path,
            0,
            "name it after its folder, beside the folder",
        );
    }
    let lines = source.lines.len();
    if lines > 800 {
        report.add(
            "length",
            &source.path,
            lines,
            format!("{lines} lines; the limit is 800"),
        );
    }
}

fn unfinished(source: &Source, report: &mut Report) {
    // Put together here so that this file does not accuse itself.
    let notes = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["X", "XX"].concat(),
    ];
    for (number, line) in source.lines.iter().enumerate() {
        if notes.iter().any(|note| has_word(line, note)) {
            report.add(
                "unfinished",
                &source.path,
                number + 1,
                "finish it, or file it elsewhere",
            );
        }
    }
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

fn generated(root: &Path, packages: &[Package], report: &mut Report) {
    match orderings::stale(root, packages) {
        Ok(stale) => stale.iter().for_each(|(path, _)| {
            let text = "not up to date: run `cargo xtask orderings`";
            report.add("generated", path, 0, text);
        }),
        Err(error) => report.add("generated", root, 0, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how often `rule` complains about a file of a structure crate that holds `text`.
    pub(super) fn complaints(rule: fn(&Source, &mut Report), text: &str) -> usize {
        let mut report = Report::default();
        let path = Path::new("/w/crates/deque/src/x.rs");
        rule(&Source::new(path, text), &mut report);
        report.0.len()
    }

    #[test]
    fn each_rule_can_fail_and_can_hold() {
        assert_eq!(complaints(opening, "fn f() {}"), 1);
        assert_eq!(complaints(opening, "//! What it is."), 0);
        assert_eq!(
            complaints(unfinished, &format!("// {}{}: later", "TO", "DO")),
            1
        );
        assert_eq!(complaints(size_and_place, &"\n".repeat(801)), 1);
    }
}
