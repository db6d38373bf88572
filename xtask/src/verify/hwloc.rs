//! The sysfs reader beside hwloc: on this machine, on our captured trees, and on hwloc's own
//! recordings.
//!
//! The recordings are those of the test suite in Debian's source package of hwloc: 49 machines from
//! 2005 to 2022, x86, Arm, POWER, Itanium and s390. They are fetched from Debian, kept in
//! `target/hwloc`, and never part of this repository. Each is read by both readers in a process of
//! its own, with the environment that hwloc's suite gives it, and every difference is a line. Then
//! every placement is made on every recording.

use crate::run::{self, Outcome, root};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Recordings that are not read as hwloc reads them, and why hwloc is not followed. At most three.
const DOCUMENTED: [(&str, &str); 3] = [
    (
        "40intel64-4n10c+pci-conflicts",
        "two CPUs lie about a package and a cache; hwloc believes them and loses both, here the others \
         outvote them",
    ),
    (
        "64intel64-fakeKNL-A2A-cache",
        "hwloc adds the memory-side cache of Knights Landing from a file that its own tool has dumped as root",
    ),
    (
        "64intel64-fakeKNL-SNC4-hybrid",
        "hwloc drops the distances of Knights Landing, because it pairs nodes of memory by its model's number",
    ),
];

pub(super) fn run() -> Outcome {
    if !run::has("hwloc-info") && !run::has("lstopo-no-graphics") {
        println!("=== hwloc: SKIPPED: no libhwloc here (Debian: libhwloc-dev and hwloc-nox)");
        return Ok(());
    }
    let package = ["--package", "stealyard-topology", "--features", "hwloc"];
    run::step("hwloc", run::cargo().arg("test").args(package))?;
    let Some(recordings) = recordings()? else {
        return Ok(());
    };
    let mut build = run::cargo();
    build.args(["build", "--example", "hwloc_compare"]);
    run::step("hwloc", build.args(package))?;
    compare(&recordings)?;
    let mut placements = run::cargo();
    placements
        .args(["test", "--test", "recordings"])
        .args(package);
    placements.args(["every_placement_on_every_recording", "--", "--nocapture"]);
    placements.env("STEALYARD_RECORDINGS", folder().join("recordings"));
    run::step("hwloc", &mut placements)
}

fn folder() -> PathBuf {
    root().join("target/hwloc")
}

/// Reads every recording with both readers; an error if one differs that is not documented, or one
/// is documented that does not differ.
fn compare(recordings: &[Recording]) -> Outcome {
    let (mut equal, mut documented, mut wrong) = (0, 0, Vec::new());
    for recording in recordings {
        let program = root().join("target/debug/examples/hwloc_compare");
        let mut command = Command::new(program);
        command
            .arg(&recording.root)
            .envs(recording.environment.iter().cloned());
        let output = command
            .output()
            .map_err(|error| format!("hwloc_compare: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().filter(|line| !line.contains("are read alike"));
        let reason = DOCUMENTED.iter().find(|(name, _)| *name == recording.name);
        match (output.status.success(), reason) {
            (true, None) => equal += 1,
            (false, Some((name, reason))) => {
                documented += 1;
                println!(
                    "{name}: {} differences, documented: {reason}",
                    lines.count()
                );
            }
            (true, Some((name, _))) => {
                println!("{name}: is documented as different, and is equal");
                wrong.push(recording.name.clone());
            }
            (false, None) => {
                lines.for_each(|line| println!("{line}"));
                wrong.push(recording.name.clone());
            }
        }
    }
    let all = recordings.len();
    println!(
        "=== hwloc: of {all} recordings {equal} are read alike, {documented} differ as documented"
    );
    match wrong.as_slice() {
        [] => Ok(()),
        names => Err(format!("hwloc: not as documented: {}", names.join(", "))),
    }
}

/// A recorded machine.
#[derive(Debug)]
struct Recording {
    name: String,
    /// The directory that holds its `sys`.
    root: PathBuf,
    /// What hwloc's suite sets for it.
    environment: Vec<(String, String)>,
}

/// Finds the recordings, fetched and unpacked if they are not there; `None`, and said so, if they
/// can't be had.
fn recordings() -> Result<Option<Vec<Recording>>, String> {
    let folder = folder();
    let unpacked = folder.join("recordings");
    if !unpacked.is_dir() {
        if !run::has("apt-get") || !run::has("bzip2") {
            println!("=== hwloc: SKIPPED: its recordings come from Debian with apt-get and bzip2");
            return Ok(None);
        }
        let source = fetch(&folder)?;
        unpack(&source, &unpacked)?;
    }
    let entries = read_folder(&unpacked)?;
    let mut found: Vec<Recording> = Vec::new();
    for path in entries.into_iter().filter(|path| path.join("sys").is_dir()) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(unpacked.join(format!("{name}.env")));
        let environment = environment(&text.unwrap_or_default());
        found.push(Recording {
            name,
            root: path,
            environment,
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(found))
}

/// Reads the lines `NAME=VALUE` of a shell file that only sets variables.
fn environment(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    pairs
        .filter(|(name, _)| plain(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Debian's source package of hwloc, unpacked.
fn fetch(folder: &Path) -> Result<PathBuf, String> {
    let lists = folder.join("lists");
    std::fs::create_dir_all(lists.join("partial"))
        .map_err(|error| format!("{}: {error}", lists.display()))?;
    let sources = folder.join("sources.list");
    std::fs::write(&sources, source_lines()?)
        .map_err(|error| format!("{}: {error}", sources.display()))?;
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.current_dir(folder)
            .args(["-q", "-o", "APT::Sandbox::User=root"]);
        apt.arg("-o")
            .arg(format!("Dir::Etc::sourcelist={}", sources.display()));
        apt.args(["-o", "Dir::Etc::sourceparts=-"]);
        apt.arg("-o")
            .arg(format!("Dir::State::lists={}", lists.display()));
        apt
    };
    run::long_step("hwloc", apt().arg("update"))?;
    run::long_step("hwloc", apt().args(["source", "--download-only", "hwloc"]))?;
    let archive = read_folder(folder)?
        .into_iter()
        .find(|path| path.display().to_string().contains(".orig.tar."))
        .ok_or("Debian's source package of hwloc has no original archive")?;
    let source = folder.join("source");
    extract(&archive, &source)?;
    Ok(source)
}

/// Returns the systems' own sources of packages, turned into sources of source packages.
fn source_lines() -> Result<String, String> {
    let mut lines = String::new();
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(read_folder(Path::new("/etc/apt/sources.list.d")).unwrap_or_default());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|end| end.to_str()) {
            Some("list") => lines += &from_list(&text),
            Some("sources") => lines += &from_stanzas(&text),
            _ => {}
        }
    }
    match lines.is_empty() {
        true => Err("apt has no source of Debian's packages".into()),
        false => Ok(lines),
    }
}

/// `deb [options] address suite component…` lines, of Debian's main part.
fn from_list(text: &str) -> String {
    let lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("deb "));
    let debian = lines.filter(|line| line.contains("/debian") && line.contains(" main"));
    debian.map(|line| format!("deb-src {line}\n")).collect()
}

/// Returns the same from stanzas of `Field: value` lines.
fn from_stanzas(text: &str) -> String {
    let mut lines = String::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            let value = stanza.lines().find_map(|line| line.strip_prefix(name));
            value.map(|value| value.trim_start_matches(':').trim().to_owned())
        };
        let (Some(address), Some(suites)) = (field("URIs"), field("Suites")) else {
            continue;
        };
        if !address.contains("/debian") {
            continue;
        }
        let key = field("Signed-By").map_or_else(String::new, |key| format!("[signed-by={key}] "));
        for suite in suites.split_whitespace() {
            lines += &format!("deb-src {key}{address} {suite} main\n");
        }
    }
    lines
}

fn extract(archive: &Path, into: &Path) -> Outcome {
    std::fs::create_dir_all(into).map_err(|error| format!("{}: {error}", into.display()))?;
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(archive).arg("-C").arg(into);
    let status = tar.status().map_err(|error| format!("tar: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{}: tar: {status}", archive.display())),
    }
}

/// Unpacks each recording into a directory of its own name below `into`, which appears when all are
/// done.
fn unpack(source: &Path, into: &Path) -> Outcome {
    let partial = into.with_extension("partial");
    let _ = std::fs::remove_dir_all(&partial);
    let top = read_folder(source)?
        .into_iter()
        .next()
        .ok_or("the source package is empty")?;
    let mut count = 0;
    for part in ["tests/hwloc/linux", "tests/hwloc/x86+linux"] {
        for file in read_folder(&top.join(part))? {
            let name = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.ends_with(".env") {
                std::fs::create_dir_all(&partial).map_err(|error| error.to_string())?;
                let copied = std::fs::copy(&file, partial.join(&name));
                copied.map_err(|error| format!("{name}: {error}"))?;
            }
            let Some(name) = name.strip_suffix(".tar.bz2") else {
                continue;
            };
            let work = partial.join("work");
            extract(&file, &work)?;
            let found = with_sys(&work).ok_or_else(|| format!("{name} holds no sys"))?;
            std::fs::rename(found, partial.join(name))
                .map_err(|error| format!("{name}: {error}"))?;
            let _ = std::fs::remove_dir_all(&work);
            count += 1;
        }
    }
    println!("=== hwloc: {count} recordings unpacked");
    std::fs::rename(&partial, into).map_err(|error| format!("{}: {error}", into.display()))
}

/// Returns the directory that holds `sys`, at most two levels down.
fn with_sys(folder: &Path) -> Option<PathBuf> {
    let below = |folder: &Path| read_folder(folder).unwrap_or_default();
    let first = below(folder);
    let second = first.iter().flat_map(|folder| below(folder));
    let mut all = first.iter().cloned().chain(second);
    all.find(|folder| folder.join("sys").is_dir())
}

fn read_folder(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    //! Goal: what apt and hwloc's suite write is understood. Method: texts.

    use super::*;

    #[test]
    fn sources_of_packages_become_sources_of_source_packages() {
        let list = "# no\ndeb http://mirror/debian bookworm main contrib\ndeb-src http://mirror/debian x main\n";
        assert_eq!(
            from_list(list),
            "deb-src http://mirror/debian bookworm main contrib\n"
        );
        let stanzas = "Types: deb\nURIs: http://mirror/debian\nSuites: bookworm bookworm-updates\n\
                       Components: main\nSigned-By: /a.gpg\n\nTypes: deb\nURIs: http://else/node\nSuites: x\n";
        assert_eq!(
            from_stanzas(stanzas),
            "deb-src [signed-by=/a.gpg] http://mirror/debian bookworm main\n\
             deb-src [signed-by=/a.gpg] http://mirror/debian bookworm-updates main\n"
        );
    }

    #[test]
    fn the_environment_of_a_recording() {
        let text = "HWLOC_A=1\nexport HWLOC_A\n# x y=z\n";
        assert_eq!(environment(text), [("HWLOC_A".to_owned(), "1".to_owned())]);
    }
}
