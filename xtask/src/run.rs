//! Running other programs: one place that prints what is run, for how long, and how it ended.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

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
pub(crate) const MODELLED: [&str; 5] = [
    "stealyard-deque",
    "stealyard-injector",
    "stealyard-park",
    "stealyard-task",
    "stealyard",
];

/// The folder of a users' crate.
pub(crate) fn crate_folder(package: &str) -> PathBuf {
    let crates = root().join("crates");
    let own_name = crates.join(package);
    if own_name.is_dir() {
        return own_name;
    }
    crates.join(package.strip_prefix("stealyard-").unwrap_or(package))
}

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
    let mut child = command
        .spawn()
        .map_err(|error| format!("{title}: cannot start {}: {error}", shown(command)))?;
    let status = wait(&mut child, limit)
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
            end(&mut child)
        )),
    }
}

/// How the child ended; none if it still runs after `limit`.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    if limit == Duration::MAX {
        return child.wait().map(Some);
    }
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(None)
}

/// Ends a child and all that it started, and says what these were.
fn end(child: &mut Child) -> String {
    let running = descendants(child.id());
    let mut said = String::from("ended what was still running:");
    for (id, name) in &running {
        said.push_str(&format!("\n    {id} {name}"));
        let id = id.to_string();
        if let Err(error) = Command::new("kill").args(["-KILL", &id]).status() {
            said.push_str(&format!(" (cannot be ended: {error})"));
        }
    }
    let ended = child.kill().and_then(|()| child.wait());
    if let Err(error) = ended {
        said.push_str(&format!("\n    {} cannot be ended: {error}", child.id()));
    }
    said
}

/// The processes under `ancestor`, each with its command line; none where there is no `/proc`.
fn descendants(ancestor: u32) -> Vec<(u32, String)> {
    let mut found = vec![(ancestor, String::from("the step's own command"))];
    let mut next = 0;
    let all: Vec<(u32, u32, String)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| process(&entry.path()))
        .collect();
    while let Some((parent, _)) = found.get(next).cloned() {
        let children = all.iter().filter(|(_, of, _)| *of == parent);
        found.extend(children.map(|(id, _, name)| (*id, name.clone())));
        next += 1;
    }
    found.remove(0);
    found
}

/// A process's number, its parent's, and its command line, from its folder in `/proc`.
fn process(folder: &Path) -> Option<(u32, u32, String)> {
    let id = folder.file_name()?.to_str()?.parse().ok()?;
    let status = std::fs::read_to_string(folder.join("status")).ok()?;
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()?;
    let words = std::fs::read_to_string(folder.join("cmdline")).ok()?;
    Some((id, parent, words.replace('\0', " ").trim().to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_hangs_is_ended_with_its_children() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 4321 & wait"]);
        let said = within(Duration::from_millis(300), "hangs", &mut shell).unwrap_err();
        assert!(said.contains("had not ended"), "{said}");
        assert!(said.contains("sleep 4321"), "{said}");
        let id: u32 = said
            .lines()
            .find_map(|line| line.trim().strip_suffix(" sleep 4321")?.parse().ok())
            .expect("the child's number");
        let gone = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let left = process(Path::new(&format!("/proc/{id}")));
            left.is_none_or(|(_, _, name)| name.is_empty())
        });
        assert!(gone, "{id} runs on");
    }

    #[test]
    fn a_step_that_fails_says_how() {
        let said = step("fails", Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert!(said.contains("exit status: 3"), "{said}");
    }
}
