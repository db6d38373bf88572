//! The archive a guest boots from: a shell, our programs, their libraries, and the script that runs
//! them.
//!
//! The format is the kernel's "newc" cpio: for each file a header of hexadecimal numbers, its name,
//! its content, each padded to four bytes.

use super::machines::Machine;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program to run inside.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) file: PathBuf,
    pub(super) arguments: Vec<String>,
}

const FILE: u32 = 0o100_755;
const DIRECTORY: u32 = 0o040_755;

/// Writes the archive.
pub(super) fn build(
    machine: &Machine,
    programs: &[Program],
    busybox: &Path,
) -> Result<Vec<u8>, String> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let read =
        |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    files.insert("bin/busybox".into(), read(busybox)?);
    files.insert("init".into(), init(machine, programs).into_bytes());
    for program in programs {
        files.insert(
            format!("w/{}", program.name),
            read(&stripped(&program.file))?,
        );
        for library in libraries(&program.file)? {
            let name = library
                .display()
                .to_string()
                .trim_start_matches('/')
                .to_string();
            files.insert(name, read(&library)?);
        }
    }
    let mut directories: BTreeSet<String> = ["dev", "proc", "sys", "tmp"].map(String::from).into();
    for name in files.keys() {
        let parents = Path::new(name).ancestors().skip(1);
        directories.extend(parents.map(|parent| parent.display().to_string()));
    }
    directories.remove("");
    let mut archive = Vec::new();
    // Parents come before children, because a name sorts after its beginning.
    for name in &directories {
        entry(&mut archive, name, DIRECTORY, &[]);
    }
    for (name, content) in &files {
        entry(&mut archive, name, FILE, content);
    }
    entry(&mut archive, "TRAILER!!!", 0, &[]);
    Ok(archive)
}

/// Strips the program of what only debuggers read, if it can be taken out: ten programs with
/// it fill the memory of a guest's nodes, which then give none to those that are to show where
/// theirs comes from.
fn stripped(program: &Path) -> PathBuf {
    let small = program.with_extension("stripped");
    let mut strip = Command::new("strip");
    strip
        .arg("--strip-debug")
        .arg("-o")
        .arg(&small)
        .arg(program);
    match strip.status().is_ok_and(|status| status.success()) {
        true => small,
        false => program.into(),
    }
}

fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let number = archive.len() as u32;
    let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let name_size = name.len() as u32 + 1;
    // inode, mode, owner, group, links, time, size, 2 × device, 2 × special device, name, checksum
    let fields = [number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// Returns the shared libraries of a program, with the loader; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, String> {
    let output = Command::new("ldd").arg(program).output();
    let output = output.map_err(|error| format!("ldd can't be started: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text
        .split_whitespace()
        .filter(|word| word.starts_with('/') && word.contains(".so"));
    Ok(words.map(PathBuf::from).collect())
}

/// Writes the first process: it prepares the guest, runs the programs one after the other, powers
/// off. Output goes to the second serial port, names and exit codes to the third.
fn init(machine: &Machine, programs: &[Program]) -> String {
    let mut script = String::from(
        "#!/bin/busybox sh\n\
         export PATH=/bin HOME=/w TERM=dumb RUST_BACKTRACE=1\n\
         /bin/busybox --install -s /bin\n\
         mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev; mount -t tmpfs t /tmp\n\
         mount -t cgroup2 c /sys/fs/cgroup\n\
         for s in 1 2; do stty -F /dev/ttyS$s raw -echo -opost; done\n\
         exec >/dev/ttyS1 2>&1 </dev/null\n",
    );
    script += &format!("export STEALYARD_MUST_RUN={}\n", machine.must_run);
    script += machine.setup;
    script += "\ngroup=/sys/fs/cgroup\n";
    for group in machine.groups {
        // The groups above must hand the controllers down.
        script += "echo '+cpu +cpuset' > $group/cgroup.subtree_control\n";
        script += &format!("group=$group/{}; mkdir $group\n", group.name);
        for (file, value) in [("cpuset.cpus", group.cpuset), ("cpu.max", group.cpu_max)] {
            if !value.is_empty() {
                script += &format!("echo '{value}' > $group/{file}\n");
            }
        }
    }
    for Program {
        name, arguments, ..
    } in programs
    {
        let quoted: Vec<String> = arguments.iter().map(|argument| quote(argument)).collect();
        script += &format!(
            "echo '--- {name}'\n\
             (echo 0 > $group/cgroup.procs; cd /w; exec ./{name} {})\n\
             echo \"rc {name} $?\" > /dev/ttyS2\n",
            quoted.join(" ")
        );
    }
    script + "sync; poweroff -f\n"
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
