//! Reads recorded machines with both readers and prints a line for each difference.
//!
//! `cargo run --example hwloc_compare --features hwloc -- DIRECTORY…`, each the root of a recording
//! that holds a `sys`. libhwloc takes the root from its environment, so each is read in a child
//! process. `cargo xtask verify --hwloc` runs this over the recordings of Debian's source package
//! of hwloc.
#![expect(clippy::print_stdout, reason = "a command-line program prints")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use stealyard_topology::Topology;

/// Tells a child which recording is its own.
const ROOT: &str = "HWLOC_FSROOT";

fn main() -> ExitCode {
    let roots: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if let [root] = roots.as_slice()
        && std::env::var_os(ROOT).is_some()
    {
        return compare(root);
    }
    let mut different = 0;
    for root in &roots {
        let program = std::env::current_exe().expect("a running program has a path");
        let mut child = Command::new(program);
        child
            .arg(root)
            .env(ROOT, root)
            .env("HWLOC_COMPONENTS", "linux,stop");
        let equal = child.status().is_ok_and(|status| status.success());
        different += usize::from(!equal);
    }
    println!(
        "{} of {} recordings are read alike",
        roots.len() - different,
        roots.len()
    );
    match different {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn compare(root: &Path) -> ExitCode {
    let name = root
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let theirs = Topology::from_hwloc_unlimited();
    let ours = Topology::from_sysfs(root);
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => {
            let differences = ours.differences(theirs);
            for line in &differences {
                println!("{name}: {line}");
            }
            if differences.is_empty() {
                println!("{name}: equal, {} notes", ours.notes().len());
                return ExitCode::SUCCESS;
            }
        }
        _ => {
            if let Err(error) = &ours {
                println!("{name}: sysfs: {error}");
            }
            if let Err(error) = &theirs {
                println!("{name}: hwloc: {error}");
            }
        }
    }
    ExitCode::FAILURE
}
