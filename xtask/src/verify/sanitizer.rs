//! The stress tests, and the scheduler's, under AddressSanitizer (with leak detection) and
//! ThreadSanitizer.
//!
//! AddressSanitizer works with the installed compiler. ThreadSanitizer needs a standard library
//! that is instrumented too, or every `Mutex`, channel and test harness looks like a race; its
//! source is not part of the installed toolchain, but Debian packages a compiler of the same LLVM
//! generation together with it. Those packages are unpacked under `target/`, nothing is installed,
//! and the sanitizer's runtime library is the installed toolchain's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{self, Outcome};

pub(super) const HOST: &str = "x86_64-unknown-linux-gnu";
const STRUCTURES: [&str; 3] = ["stealyard-deque", "stealyard-injector", "stealyard-park"];
/// The scheduler's tests that have threads meet at tasks and their memory.
const SCHEDULER: [&str; 11] = [
    "blocking",
    "fairness",
    "fork_join",
    "join",
    "panic",
    "place",
    "shutdown",
    "spawn",
    "steal",
    "task_stress",
    "wake",
];

pub(super) fn address() -> Outcome {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("=== asan: SKIPPED: set up for {HOST} only");
        return Ok(());
    }
    run::long_step("asan, structures", &mut structures(cargo_for_addresses()))?;
    run::long_step("asan, scheduler", &mut scheduler(cargo_for_addresses()))
}

/// Returns a cargo that builds with AddressSanitizer, in a target folder of its own.
pub(super) fn cargo_for_addresses() -> Command {
    let mut command = run::cargo();
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env("CARGO_TARGET_DIR", run::root().join("target/asan"));
    command
}

pub(super) fn thread() -> Outcome {
    let compiler = match instrumented_compiler() {
        Ok(folder) => folder,
        Err(why) => {
            println!("=== tsan: SKIPPED: {why}");
            return Ok(());
        }
    };
    let binary = compiler.join("usr/bin");
    let cargo = || {
        let mut command = Command::new(binary.join("cargo"));
        command.current_dir(run::root());
        command
            .env("RUSTC", binary.join("rustc"))
            .env("RUSTDOC", binary.join("rustdoc"));
        command.env("LD_LIBRARY_PATH", compiler.join("usr/lib/x86_64-linux-gnu"));
        command.env("RUSTC_BOOTSTRAP", "1");
        command.env("RUSTFLAGS", "-Zsanitizer=thread --cfg stealyard_tsan");
        command.env("CARGO_TARGET_DIR", run::root().join("target/tsan"));
        command.env("TSAN_OPTIONS", "halt_on_error=1 second_deadlock_stack=1");
        // The workspace's toolchain file speaks to rustup, which is not asked here.
        command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
        command
    };
    let std = |mut command: Command| {
        command.arg("-Zbuild-std");
        command
    };
    run::long_step("tsan, structures", &mut std(structures(cargo())))?;
    let mut scheduler = std(scheduler(cargo()));
    // Its own stack of calls, beside the program's, ends at 65,536 of them.
    scheduler.args(["--", "--skip", "t9_depth_does_not_pile_frames"]);
    run::long_step("tsan, scheduler", &mut scheduler)
}

/// Returns the stress tests of the structure crates, for the host named so that build scripts stay
/// plain.
fn structures(mut cargo: Command) -> Command {
    cargo.args(["test", "--release", "--target", HOST, "--test", "stress"]);
    for package in STRUCTURES {
        cargo.args(["--package", package]);
    }
    cargo.args(["--features", "stealyard-deque/conformance"]);
    cargo
}

/// Returns the tests of the scheduler, as above.
fn scheduler(mut cargo: Command) -> Command {
    cargo.args(["test", "--release", "--target", HOST]);
    cargo.args(["--package", "stealyard", "--package", "stealyard-task"]);
    for test in SCHEDULER {
        cargo.args(["--test", test]);
    }
    cargo
}

/// Returns a compiler with the source of its standard library, from Debian, unpacked under
/// `target/`.
fn instrumented_compiler() -> Result<PathBuf, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(format!("set up for {HOST} only"));
    }
    let folder = run::root().join("target/rustc-debian");
    if folder.join("complete").exists() {
        return Ok(folder);
    }
    if !run::has("apt-get") || !run::has("dpkg-deb") {
        return Err(
            "needs Debian's apt-get and dpkg-deb to fetch a compiler with std's source".into(),
        );
    }
    println!("=== tsan: fetching rustc-web and its standard library's source from Debian");
    let _ = std::fs::remove_dir_all(&folder);
    let packages = folder.join("deb");
    std::fs::create_dir_all(&packages).map_err(|error| error.to_string())?;
    fetch(&packages)?;
    for entry in std::fs::read_dir(&packages)
        .map_err(|error| error.to_string())?
        .flatten()
    {
        quiet(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(entry.path())
                .arg(&folder),
        )?;
    }
    let _ = std::fs::remove_dir_all(&packages);
    let sysroot = quiet(Command::new("rustc").args(["--print", "sysroot"]))?;
    let library = format!("lib/rustlib/{HOST}/lib");
    let runtime = Path::new(sysroot.trim())
        .join(&library)
        .join("librustc-stable_rt.tsan.a");
    if !runtime.exists() {
        return Err(format!("this toolchain has no {}", runtime.display()));
    }
    let link = folder
        .join("usr")
        .join(&library)
        .join("librustc-stable_rt.tsan.a");
    std::os::unix::fs::symlink(&runtime, link).map_err(|error| error.to_string())?;
    std::fs::write(folder.join("complete"), "").map_err(|error| error.to_string())?;
    Ok(folder)
}

/// Downloads the compiler, cargo, std with source, LLVM, and cargo's own libraries.
fn fetch(into: &Path) -> Outcome {
    let depends = |package: &str, wanted: fn(&str) -> bool| -> Result<Vec<String>, String> {
        let text = quiet(Command::new("apt-cache").args(["depends", package]))?;
        Ok(text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .filter(|name| wanted(name))
            .map(str::to_owned)
            .collect())
    };
    quiet(Command::new("apt-get").args(["update", "-q"]))?;
    let std = depends("libstd-rust-web-dev", |name| {
        name.starts_with("libstd-rust-web-")
    })?;
    let std = std
        .first()
        .ok_or("Debian has no libstd-rust-web here")?
        .clone();
    let llvm = depends(&std, |name| name.starts_with("libllvm"))?;
    let library = |name: &str| {
        [
            "libgit2",
            "libhttp-parser",
            "libmbed",
            "libz3",
            "libssh2",
            "libedit",
        ]
        .iter()
        .any(|start| name.starts_with(start))
    };
    let mut packages: Vec<String> = [
        "rustc-web",
        "cargo-web",
        "rust-web-src",
        "libstd-rust-web-dev",
    ]
    .map(str::to_owned)
    .into();
    packages.push(std);
    for owner in ["cargo-web", "libgit2-1.5"]
        .into_iter()
        .chain(llvm.iter().map(String::as_str))
    {
        packages.extend(depends(owner, library)?);
    }
    packages.extend(llvm.clone());
    packages.sort();
    packages.dedup();
    let mut download = Command::new("apt-get");
    download
        .current_dir(into)
        .args(["-o", "APT::Sandbox::User=root", "download", "-q"]);
    quiet(download.args(&packages)).map(drop)
}

/// Runs a command for its output.
fn quiet(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("cannot start {}: {error}", run::shown(command)))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().last().unwrap_or("no message");
        Err(format!("{} failed: {last}", run::shown(command)))
    }
}
