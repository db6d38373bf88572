//! Running other programs: one place that prints what is run, for how long, and how it ended.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::tree::Tree;

/// What a command of xtask returns: nothing, or a sentence for the person who ran it.
pub(crate) type Outcome = Result<(), String>;

/// Returns the workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("xtask is a folder of the workspace")
        .to_path_buf()
}

/// Returns the cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Returns a cargo whose build has loom's primitives behind `stealyard-sync`, in a target folder of
/// its own so that switching does not rebuild the world.
pub(crate) fn cargo_loom() -> Command {
    let mut command = cargo();
    command
        .env("RUSTFLAGS", LOOM_FLAGS)
        .env("CARGO_TARGET_DIR", root().join("target/loom"));
    command
}

/// [`cargo_loom`] with the arguments that run the models of `package`.
pub(crate) fn models(package: &str) -> Command {
    let mut command = cargo_loom();
    command.args(["test", "--profile", "loom", "--features", "loom"]);
    command.args(["--test", "loom", "--package", package]);
    command
}

/// The flags of a modelled build: ours, and crossbeam-epoch's.
pub(crate) const LOOM_FLAGS: &str = "--cfg stealyard_loom --cfg crossbeam_loom";

/// A step of `ci` that has not ended by then hangs: the slowest takes a tenth of it on two cores.
const STEP_LIMIT: Duration = Duration::from_secs(20 * 60);

/// Runs `command` to its end, letting its output through, and prints what it was and how long it
/// took. `title` names the step. One that hangs is ended and named, so that CI says what hung.
pub(crate) fn step(title: &str, command: &mut Command) -> Outcome {
    within(STEP_LIMIT, title, command)
}

/// [`step`] for what may take hours: soaks, deep models, measurements.
pub(crate) fn long_step(title: &str, command: &mut Command) -> Outcome {
    within(Duration::MAX, title, command)
}

fn within(limit: Duration, title: &str, command: &mut Command) -> Outcome {
    println!("\n=== {title}: {}", shown(command));
    let start = Instant::now();
    let tree = Tree::start(command)
        .map_err(|error| format!("{title}: cannot start {}: {error}", shown(command)))?;
    let status = tree
        .wait(limit)
        .map_err(|error| format!("{title}: cannot wait for {}: {error}", shown(command)))?;
    let seconds = start.elapsed().as_secs_f64();
    match status {
        Some(status) if status.success() => {
            println!("=== {title}: passed in {seconds:.1} s");
            Ok(())
        }
        Some(status) => Err(format!(
            "{title} failed after {seconds:.1} s ({status}): {}",
            shown(command)
        )),
        None => Err(format!(
            "{title} had not ended after {seconds:.0} s: {}\n{}",
            shown(command),
            end(&tree)
        )),
    }
}

/// Ends a tree that hangs, and says what was still running.
fn end(tree: &Tree) -> String {
    let mut said = String::from("ended what was still running:");
    for process in tree.members() {
        said.push_str(&format!("\n    {process}"));
    }
    if let Err(error) = tree.end() {
        said.push_str(&format!("\n    (cannot be ended: {error})"));
    }
    said
}

/// Whether `program` can be started.
pub(crate) fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Returns a command as a person would type it, with the environment it adds.
pub(crate) fn shown(command: &Command) -> String {
    let mut words: Vec<String> = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={:?}", text(name), text(value?))))
        .collect();
    words.push(text(command.get_program()));
    words.extend(command.get_args().map(text));
    words.join(" ")
}

fn text(word: &OsStr) -> String {
    word.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_hangs_is_ended_and_named() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 4321 & wait"]);
        let said = within(Duration::from_millis(300), "hangs", &mut shell).unwrap_err();
        assert!(said.contains("had not ended"), "{said}");
        assert!(said.contains("sleep 4321"), "{said}");
    }

    #[test]
    fn a_step_that_fails_says_how() {
        let said = step("fails", Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert!(said.contains("exit status: 3"), "{said}");
    }
}
