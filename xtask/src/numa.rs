//! `cargo xtask numa`: boots emulated machines with several NUMA nodes and runs our programs
//! inside.
//!
//! QEMU without hardware virtualisation gives nodes, distances, SMT, dies, offline CPUs and cgroups
//! in a few seconds a boot; Debian's cloud kernel has all drivers built in, so the whole guest is
//! one archive of a shell, our programs and the libraries they need. What is emulated is the
//! *shape* of the machine: that workers and memory land where they should. It says nothing about
//! speed.
//!
//! | part | file |
//! |------|------|
//! | the machines, and what must be true in each | `numa/machines.rs` |
//! | the programs that run inside | `numa/guests.rs` |
//! | the archive the guest boots from | `numa/image.rs` |
//! | starting it, waiting, reading what came out | `numa/vm.rs` |
//! | installing QEMU and fetching the kernel | `numa/needs.rs` |

mod guests;
mod image;
mod machines;
mod needs;
mod vm;

use crate::run::{Outcome, root};
use machines::{MACHINES, Machine};

/// Which machines to boot.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only these machines; all if none is named
    #[arg(value_name = "MACHINE")]
    machines: Vec<String>,
    /// Print the machines and end
    #[arg(long)]
    list: bool,
    /// Print what the programs print, also where all is well, and the guest's console
    #[arg(long)]
    verbose: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    if args.list {
        for machine in MACHINES {
            println!("{:<12} {}", machine.name, machine.what);
        }
        return Ok(());
    }
    let chosen = choose(&args.machines)?;
    let folder = root().join("target/numa");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let kernel = needs::everything(&folder)?;
    let guests = guests::build()?;
    let mut failures = Vec::new();
    for (index, machine) in chosen.iter().enumerate() {
        let inside = guests.iter().filter(|guest| index == 0 || !guest.once);
        let programs: Vec<image::Program> = inside.map(|guest| guest.program(machine)).collect();
        match vm::boot(machine, &programs, &kernel, &folder, args.verbose) {
            Ok(()) => {}
            Err(failure) => {
                println!("=== {}: FAILED: {failure}", machine.name);
                failures.push(machine.name);
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(format!("these machines failed: {}", failures.join(", ")))
}

fn choose(names: &[String]) -> Result<Vec<&'static Machine>, String> {
    if names.is_empty() {
        return Ok(MACHINES.iter().collect());
    }
    let find = |name: &String| {
        let found = MACHINES.iter().find(|machine| machine.name == name);
        found.ok_or_else(|| format!("there is no machine {name:?}: see cargo xtask numa --list"))
    };
    names.iter().map(find).collect()
}
