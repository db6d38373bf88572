//! What has to be there before a guest can boot; installed from Debian if it is not, and said so.

use crate::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every guest boots from.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) image: PathBuf,
    pub(super) busybox: PathBuf,
}

/// Programs and the Debian packages that hold them.
const PROGRAMS: [(&str, &str, &str); 2] = [
    ("qemu-system-x86_64", "--version", "qemu-system-x86"),
    ("busybox", "--help", "busybox-static"),
];

pub(super) fn everything(folder: &Path) -> Result<Kernel, String> {
    let there = |program: &str, question: &str| {
        Command::new(program)
            .arg(question)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let missing = PROGRAMS
        .iter()
        .filter(|(program, question, _)| !there(program, question));
    let mut packages: Vec<&str> = missing.map(|(_, _, package)| *package).collect();
    if !there("pkg-config", "--version") || !there("lstopo-no-graphics", "--version") {
        packages.extend(["pkg-config", "libhwloc-dev", "hwloc-nox"]);
    }
    if !packages.is_empty() {
        install(&packages)?;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    let busybox = busybox.into_iter().find(|path| path.exists());
    let busybox = busybox.ok_or("busybox is installed and not in /bin or /usr/bin")?;
    Ok(Kernel {
        image: kernel(folder)?,
        busybox,
    })
}

fn install(packages: &[&str]) -> Result<(), String> {
    println!("=== numa: installing from Debian: {}", packages.join(" "));
    if !run::has("apt-get") {
        return Err(format!(
            "there is no apt-get here; install by hand: {}",
            packages.join(" ")
        ));
    }
    apt(&["update", "-q"], Path::new("/"))?;
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments, Path::new("/"))
}

fn apt(arguments: &[&str], folder: &Path) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(arguments)
        .current_dir(folder);
    run::long_step("numa", &mut command)
}

/// Debian's kernel for virtual machines, unpacked without installing it; kept between runs.
fn kernel(folder: &Path) -> Result<PathBuf, String> {
    let image = folder.join("vmlinuz");
    if image.exists() {
        return Ok(image);
    }
    let mut package = newest_kernel();
    if package.is_none() {
        apt(&["update", "-q"], Path::new("/"))?;
        package = newest_kernel();
    }
    let package = package.ok_or("Debian's linux-image-cloud-amd64 is not known to apt-cache")?;
    println!("=== numa: fetching from Debian, without installing: {package}");
    let unpacked = folder.join("kernel");
    let _ = std::fs::remove_dir_all(&unpacked);
    std::fs::create_dir_all(&unpacked)
        .map_err(|error| format!("{}: {error}", unpacked.display()))?;
    apt(
        &["-o", "APT::Sandbox::User=root", "download", "-q", &package],
        &unpacked,
    )?;
    let archive = only_file(&unpacked, ".deb")?;
    let mut command = Command::new("dpkg-deb");
    run::long_step("numa", command.arg("-x").arg(&archive).arg(&unpacked))?;
    let found = only_file(&unpacked.join("boot"), "")?;
    std::fs::rename(&found, &image).map_err(|error| format!("{}: {error}", found.display()))?;
    let _ = std::fs::remove_dir_all(&unpacked);
    Ok(image)
}

/// Returns the package that the meta package of the cloud kernel stands for.
fn newest_kernel() -> Option<String> {
    let output = Command::new("apt-cache")
        .args(["depends", "linux-image-cloud-amd64"])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    names
        .find(|name| name.starts_with("linux-image-"))
        .map(String::from)
}

/// Returns the file of a folder whose name ends so, the kernel first.
fn only_file(folder: &Path, end: &str) -> Result<PathBuf, String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.retain(|file| file.is_file() && file.display().to_string().ends_with(end));
    files.sort_by_key(|file| !file.display().to_string().contains("vmlinuz"));
    files
        .into_iter()
        .next()
        .ok_or_else(|| format!("{}: nothing there", folder.display()))
}
