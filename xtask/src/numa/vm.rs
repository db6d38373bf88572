//! Starts a guest, waits for it, and says what came of each program.

use super::image::{self, Program};
use super::machines::Machine;
use super::needs::Kernel;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A guest that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(300);

/// How a boot ended.
enum Ended {
    /// The guest switched itself off, or had to be ended (then false).
    Off(bool),
    /// Its kernel panicked before a program had ended, with these words.
    PanickedAtBoot(String),
}

/// Boots the machine and judges its programs. A guest whose kernel panics at boot, which QEMU
/// without hardware virtualisation now and then brings about on a loaded host, is booted once more.
pub(super) fn boot(
    machine: &Machine,
    programs: &[Program],
    kernel: &Kernel,
    folder: &Path,
    verbose: bool,
) -> Result<(), String> {
    println!("\n=== {}: {}", machine.name, machine.what);
    let mut panics = Vec::new();
    while panics.len() < 2 {
        match once(machine, programs, kernel, folder, verbose)? {
            (Ended::PanickedAtBoot(words), _) => {
                println!(
                    "=== {}: the guest's kernel panicked at boot: {words}",
                    machine.name
                );
                panics.push(words);
            }
            (Ended::Off(false), _) => {
                return Err(format!("not at its end after {} s", LONGEST.as_secs()));
            }
            (Ended::Off(true), judged) => return judged,
        }
    }
    Err(format!(
        "the guest's kernel panicked at boot twice, so nothing was tested: {}",
        panics[1]
    ))
}

/// Returns what a kernel said as it gave up.
fn panic_of(console: &str) -> Option<String> {
    let line = console.lines().find(|line| line.contains("Kernel panic"))?;
    Some(line.trim().to_owned())
}

/// One boot, and what came of the programs.
fn once(
    machine: &Machine,
    programs: &[Program],
    kernel: &Kernel,
    folder: &Path,
    verbose: bool,
) -> Result<(Ended, Result<(), String>), String> {
    let start = Instant::now();
    let file = |name: &str| folder.join(format!("{}.{name}", machine.name));
    let archive = image::build(machine, programs, &kernel.busybox)?;
    let write = std::fs::write(file("initrd"), archive);
    write.map_err(|error| format!("{}: {error}", file("initrd").display()))?;
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(hardware(machine))
        .arg("-kernel")
        .arg(&kernel.image);
    command
        .arg("-initrd")
        .arg(file("initrd"))
        .arg("-append")
        .arg(format!(
            "console=ttyS0 panic=-1 quiet mitigations=off nokaslr tsc=reliable edd=off {}",
            machine.append
        ));
    // The kernel's console, what the programs print, and how they ended.
    for port in ["console", "output", "status"] {
        let _ = std::fs::remove_file(file(port));
        command
            .arg("-serial")
            .arg(format!("file:{}", file(port).display()));
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let mut child = child.map_err(|error| format!("QEMU can't be started: {error}"))?;
    let ended = wait(&mut child)?;
    // Large, and made anew each time.
    let _ = std::fs::remove_file(file("initrd"));
    let read = |port: &str| {
        String::from_utf8_lossy(&std::fs::read(file(port)).unwrap_or_default()).replace('\r', "")
    };
    let (output, status) = (read("output"), read("status"));
    let console = read("console");
    let panic = panic_of(&console);
    if let Some(words) = panic.clone().filter(|_| !status.contains("rc ")) {
        return Ok((Ended::PanickedAtBoot(words), Ok(())));
    }
    let judged = judge(programs, &status).map_err(|failed| match panic {
        Some(words) => format!("{failed}; the guest's kernel: {words}"),
        None => failed,
    });
    if verbose || judged.is_err() || ended.is_none() {
        println!("{output}");
        println!("--- console\n{console}");
    }
    for line in output.lines().filter(|line| line.contains(" steals")) {
        println!("    {line}");
    }
    let seconds = start.elapsed().as_secs_f64();
    if judged.is_ok() && ended.is_some() {
        println!("=== {}: passed in {seconds:.1} s", machine.name);
    }
    Ok((Ended::Off(ended.is_some()), judged))
}

/// `None` if it had to be ended.
fn wait(child: &mut Child) -> Result<Option<ExitStatus>, String> {
    let start = Instant::now();
    loop {
        if let Some(status) = child
            .try_wait()
            .map_err(|error| format!("waiting for QEMU: {error}"))?
        {
            return Ok(Some(status));
        }
        if start.elapsed() > LONGEST {
            let _ = child.kill();
            let _ = child.wait();
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Checks that every program has ended, with status 0.
fn judge(programs: &[Program], status: &str) -> Result<(), String> {
    let mut failed = Vec::new();
    for Program { name, .. } in programs {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(&format!("rc {name} ")));
        let said = match line {
            Some("0") => "passed".to_owned(),
            Some(code) => format!("FAILED with status {code}"),
            None => "FAILED: it did not end".to_owned(),
        };
        println!("    {name}: {said}");
        if line != Some("0") {
            failed.push(name.as_str());
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join(", "))
    }
}

/// QEMU's arguments for the shape of the machine.
fn hardware(machine: &Machine) -> Vec<String> {
    let threads = if machine.single { "single" } else { "multi" };
    let mut words: Vec<String> = vec![
        format!("-accel tcg,thread={threads}"),
        "-M q35".into(),
        // With AMD as the vendor, its default, the guest sees neither SMT nor dies.
        "-cpu max,l3-cache=on,vendor=GenuineIntel".into(),
        format!("-m {}", machine.memory),
        format!("-smp {}", machine.smp),
        "-nodefaults -no-user-config -display none -no-reboot".into(),
    ];
    for (id, node) in machine.nodes.iter().enumerate() {
        let cpus = if node.cpus.is_empty() {
            String::new()
        } else {
            format!(",cpus={}", node.cpus)
        };
        if node.memory > 0 {
            words.push(format!(
                "-object memory-backend-ram,id=m{id},size={}M",
                node.memory
            ));
            words.push(format!("-numa node,nodeid={id}{cpus},memdev=m{id}"));
        } else {
            words.push(format!("-numa node,nodeid={id}{cpus}"));
        }
    }
    for (from, to, units) in machine.distances {
        words.push(format!("-numa dist,src={from},dst={to},val={units}"));
    }
    words
        .iter()
        .flat_map(|words| words.split(' '))
        .map(String::from)
        .collect()
}

#[cfg(test)]
mod tests {
    //! Goal: a kernel that gave up is told from one that did not. Method: consoles.

    use super::panic_of;

    #[test]
    fn a_panic_is_heard() {
        let console = "[    0.1] Booting\n[    0.9] Kernel panic - not syncing: IO-APIC + timer doesn't work!\n[ 1] ---";
        let words = panic_of(console).expect("there is one");
        assert!(words.ends_with("IO-APIC + timer doesn't work!"), "{words}");
        assert_eq!(panic_of("[    0.1] Booting\n"), None);
    }
}
