//! Running other programs: one place that prints what is run, for how long, and how it ended.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What a command of xtask returns: nothing, or a sentence for the person who ran it.
pub(crate) type Outcome = Result<(), String>;

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("xtask is a folder of the workspace")
        .to_path_buf()
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// A cargo whose build has loom's primitives behind `stealyard-sync`, in a target folder of its own
/// so that switching does not rebuild the world.
pub(crate) fn cargo_loom() -> Command {
    let mut command = cargo();
    command
        .env("RUSTFLAGS", LOOM_FLAGS)
        .env("CARGO_TARGET_DIR", root().join("target/loom"));
    command
}

/// The flags of a modelled build: ours, and crossbeam-epoch's.
pub(crate) const LOOM_FLAGS: &str = "--cfg stealyard_loom --cfg crossbeam_loom";

/// The crates that have models.
pub(crate) const MODELLED: [&str; 4] = [
    "stealyard-deque",
    "stealyard-injector",
    "stealyard-park",
    "stealyard",
];

/// The folder of a users' crate.
pub(crate) fn crate_folder(package: &str) -> PathBuf {
    root()
        .join("crates")
        .join(package.strip_prefix("stealyard-").unwrap_or(package))
}

/// Runs `command` to its end, letting its output through, and prints what it was and how long it
/// took. `title` names the step.
pub(crate) fn step(title: &str, command: &mut Command) -> Outcome {
    println!("\n=== {title}: {}", shown(command));
    let start = Instant::now();
    let status = command
        .status()
        .map_err(|error| format!("{title}: cannot start {}: {error}", shown(command)))?;
    let seconds = start.elapsed().as_secs_f64();
    if status.success() {
        println!("=== {title}: passed in {seconds:.1} s");
        Ok(())
    } else {
        Err(format!(
            "{title} failed after {seconds:.1} s ({status}): {}",
            shown(command)
        ))
    }
}

/// True if `program` can be started.
pub(crate) fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// A command as a person would type it, with the environment it adds.
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
