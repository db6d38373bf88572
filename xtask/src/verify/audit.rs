//! The safe-code programs of the users' crates under AddressSanitizer, with leak detection, soaks
//! included.
//!
//! A crate's audit is its test binaries named `audit…`: `tests/audit.rs`, `tests/audit_word.rs`, or
//! a folder of such a name with a `main.rs`. They are found by looking, so a crate that gets one
//! needs no line here. In release, where no debug assertion stands in front of what the sanitizer
//! is to see. What must not compile (`tests/pins.rs`) is no part of it.

use std::path::{Path, PathBuf};

use super::sanitizer::{self, HOST};
use super::soaks_of;
use crate::run::{self, Outcome};
use crate::source;

/// Test binaries begin with this.
const NAMED: &str = "audit";

/// The audit of one crate.
#[derive(Debug, PartialEq, Eq)]
struct Audit {
    package: String,
    /// The names of its test binaries.
    binaries: Vec<String>,
    /// The tests in them that are marked as soaks.
    soaks: Vec<String>,
}

pub(super) fn run() -> Outcome {
    let audits = find(&run::root().join("crates"))?;
    if audits.is_empty() {
        return Err(format!("no crate has a test named {NAMED}"));
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("=== audit: SKIPPED: set up for {HOST} only");
        return Ok(());
    }
    // One crate's failure does not hide what the others would say.
    let failures: Vec<String> = audits
        .iter()
        .filter_map(|audit| audit.run().err())
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
    }
}

impl Audit {
    fn run(&self) -> Outcome {
        let title = format!("audit, {}", self.package);
        let everyday = run::long_step(&title, &mut self.command());
        if self.soaks.is_empty() {
            return everyday;
        }
        let mut soaks = self.command();
        soaks
            .args(["--", "--ignored", "--nocapture"])
            .args(&self.soaks);
        let soaks = run::long_step(&format!("{title}, soaks"), &mut soaks);
        everyday.and(soaks)
    }

    fn command(&self) -> std::process::Command {
        let mut command = sanitizer::cargo_for_addresses();
        command.env("ASAN_OPTIONS", "detect_leaks=1");
        command.args(["test", "--release", "--no-fail-fast", "--target", HOST]);
        command.args(["--package", &self.package]);
        for binary in &self.binaries {
            command.args(["--test", binary]);
        }
        command
    }
}

/// Returns the audits of the crates in `folder`, in the order of their names.
fn find(folder: &Path) -> Result<Vec<Audit>, String> {
    let mut audits = Vec::new();
    for krate in entries(folder)? {
        let tests = krate.join("tests");
        let binaries: Vec<PathBuf> = if tests.is_dir() {
            let found = entries(&tests)?.into_iter();
            found.filter(|path| is_binary(path)).collect()
        } else {
            Vec::new()
        };
        if !binaries.is_empty() {
            audits.push(read(&krate, &binaries)?);
        }
    }
    Ok(audits)
}

fn read(krate: &Path, binaries: &[PathBuf]) -> Result<Audit, String> {
    let mut soaks = Vec::new();
    for binary in binaries {
        // The modules of `audit.rs` are in `audit/`, and so is `main.rs`.
        let mut files = source::files(&binary.with_extension(""), "rs");
        files.extend(binary.is_file().then(|| binary.clone()));
        for file in files {
            let text = source::text(&file)?;
            soaks.extend(soaks_of(&text));
        }
    }
    Ok(Audit {
        package: package(&krate.join("Cargo.toml"))?,
        binaries: binaries.iter().map(|path| stem(path)).collect(),
        soaks,
    })
}

fn is_binary(path: &Path) -> bool {
    let rust = path.extension().is_some_and(|extension| extension == "rs");
    stem(path).starts_with(NAMED) && (rust || path.join("main.rs").is_file())
}

fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// Returns the first `name = "…"` of a manifest: the package's.
fn package(manifest: &Path) -> Result<String, String> {
    let text = source::text(manifest)?;
    let name = text.lines().find_map(|line| line.strip_prefix("name = "));
    let name = name.ok_or_else(|| format!("{} names no package", manifest.display()))?;
    Ok(name.trim_matches('"').to_owned())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let listed = std::fs::read_dir(folder)
        .map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    //! Goal: audits are found with their soaks, and nothing else is. Method: a folder of crates
    //! made for it.

    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    #[test]
    fn audits_are_found_by_their_names() {
        let crates = std::env::temp_dir().join(format!("stealyard-audits-{}", std::process::id()));
        let soak = |name: &str| format!("#[test]\n#[ignore = \"so{}\"]\nfn {name}() {{}}", "ak: x");
        for name in ["one", "two", "three"] {
            let manifest = format!("[package]\nname = \"{name}\"\n");
            write(&crates.join(name).join("Cargo.toml"), &manifest);
        }
        write(&crates.join("one/tests/audit.rs"), &soak("first"));
        write(&crates.join("one/tests/audit/part.rs"), &soak("second"));
        write(&crates.join("one/tests/audit_word.rs"), "fn main() {}");
        write(&crates.join("one/tests/pins.rs"), &soak("no_audit"));
        write(&crates.join("two/tests/stress.rs"), &soak("nor_this"));
        write(&crates.join("three/tests/audit/main.rs"), &soak("third"));
        let found = find(&crates);
        let gone = std::fs::remove_dir_all(&crates);
        let audit = |package: &str, binaries: &[&str], soaks: &[&str]| Audit {
            package: package.to_owned(),
            binaries: binaries.iter().map(|&name| name.to_owned()).collect(),
            soaks: soaks.iter().map(|&name| name.to_owned()).collect(),
        };
        let mut found = found.expect("folders and files that were just made");
        found.iter_mut().for_each(|audit| audit.soaks.sort());
        let one = audit("one", &["audit", "audit_word"], &["first", "second"]);
        let three = audit("three", &["audit"], &["third"]);
        assert_eq!(found, [one, three]);
        gone.expect("the folder was ours");
    }
}
