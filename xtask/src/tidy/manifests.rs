//! The layer and MSRV rules: what the manifests may say.

use std::path::Path;

use super::Report;

/// Which of our crates each of our crates may depend on.
const LAYERS: [(&str, &[&str]); 7] = [
    ("sync", &[]),
    ("deque", &["stealyard-sync"]),
    ("injector", &["stealyard-sync"]),
    ("park", &["stealyard-sync"]),
    ("topology", &[]),
    (
        "stealyard-task",
        &["stealyard-deque", "stealyard-park", "stealyard-sync"],
    ),
    (
        "stealyard",
        &[
            "stealyard-deque",
            "stealyard-injector",
            "stealyard-park",
            "stealyard-sync",
            "stealyard-task",
            "stealyard-topology",
        ],
    ),
];

pub(super) fn check(root: &Path, report: &mut Report) -> Result<(), String> {
    for (folder, allowed) in LAYERS {
        let path = root.join("crates").join(folder).join("Cargo.toml");
        let manifest = read(&path)?;
        for (number, name) in dependencies(&manifest) {
            let ours = name.starts_with("stealyard") || matches!(name, "xtask" | "benches");
            if ours && !allowed.contains(&name) {
                let text = format!("`{folder}` must not depend on `{name}`: layers point down");
                report.add("layer", &path, number + 1, text);
            }
        }
        msrv(root, folder, report)?;
    }
    Ok(())
}

/// The names in `[dependencies]` and the target-specific ones; what only tests use is free.
fn dependencies(manifest: &str) -> Vec<(usize, &str)> {
    let mut section = "";
    let mut found = Vec::new();
    for (number, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            section = line.trim();
        } else if section.ends_with("dependencies]") && !section.contains("dev-dependencies") {
            let name = line.split(['.', ' ', '=']).next().unwrap_or("");
            if !name.is_empty() && !name.starts_with('#') {
                found.push((number, name));
            }
        }
    }
    found
}

/// A README that names a minimum Rust version names the workspace's.
fn msrv(root: &Path, folder: &str, report: &mut Report) -> Result<(), String> {
    let workspace = read(&root.join("Cargo.toml"))?;
    let version = workspace
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \""))
        .and_then(|rest| rest.split('"').next())
        .ok_or("Cargo.toml names no rust-version")?;
    let path = root.join("crates").join(folder).join("README.md");
    for (number, line) in read(&path)?.lines().enumerate() {
        let named = line.split("Rust 1.").nth(1).map(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            format!("1.{digits}")
        });
        if let Some(named) = named.filter(|named| named != version) {
            let text = format!("the MSRV is {version} (Cargo.toml), this says {named}");
            report.add("msrv", &path, number + 1, text);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_every_section_but_the_tests() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\nlibc.workspace = true\n\
                        [target.'cfg(unix)'.dependencies]\nstealyard-park = \"1\"\n\
                        [dev-dependencies]\nproptest = \"1\"\n";
        let names: Vec<&str> = dependencies(manifest)
            .into_iter()
            .map(|(_, name)| name)
            .collect();
        assert_eq!(names, ["libc", "stealyard-park"]);
    }
}
