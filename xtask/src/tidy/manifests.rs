//! The layer and MSRV rules: what the manifests may say.

use std::path::Path;

use super::Report;
use crate::source;
use crate::workspace::Package;

/// Which of our crates each of our crates may be built on; what only its tests use is free.
const LAYERS: [(&str, &[&str]); 8] = [
    ("stealyard-sync", &[]),
    ("stealyard-deque", &["stealyard-sync"]),
    ("stealyard-injector", &["stealyard-sync"]),
    ("stealyard-park", &["stealyard-sync"]),
    ("stealyard-topology", &[]),
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
    (
        "stealyard-doctor",
        &["stealyard", "stealyard-sync", "stealyard-topology"],
    ),
];

pub(super) fn check(root: &Path, packages: &[Package], report: &mut Report) -> Result<(), String> {
    layers(packages, report);
    for package in packages.iter().filter(|package| package.is_for_users()) {
        msrv(root, package, report)?;
    }
    Ok(())
}

/// The layers point down, every crate for users has one, and nothing is built on benches or xtask.
fn layers(packages: &[Package], report: &mut Report) {
    for package in packages {
        let manifest = package.folder.join("Cargo.toml");
        let layer = LAYERS.iter().find(|(name, _)| *name == package.name);
        if package.is_for_users() && layer.is_none() {
            let text = format!("`{}` has no row in LAYERS", package.name);
            report.add("layer", &manifest, 0, text);
        }
        for name in &package.ours {
            let for_users = packages
                .iter()
                .any(|other| other.name == *name && other.is_for_users());
            let allowed = layer.map_or(!package.is_for_users(), |(_, allowed)| {
                allowed.contains(&name.as_str())
            });
            if !for_users || !allowed {
                let text = format!(
                    "`{}` must not depend on `{name}`: layers point down",
                    package.name
                );
                report.add("layer", &manifest, 0, text);
            }
        }
    }
}

/// Checks that a README that names a minimum Rust version names the workspace's.
fn msrv(root: &Path, package: &Package, report: &mut Report) -> Result<(), String> {
    let version = &package.rust_version;
    if version.is_empty() {
        let name = &package.name;
        return Err(format!("{}: {name} names no rust-version", root.display()));
    }
    let path = package.folder.join("README.md");
    if !path.exists() {
        report.add("msrv", &path, 0, "a crate for users has a README");
        return Ok(());
    }
    let page = source::text(&path)?;
    for (number, line) in page.lines().enumerate() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    /// Returns what the layer rule says about a workspace of these packages, each with its
    /// dependencies as written in its manifest.
    fn complaints(name: &str, manifests: &[(&str, &str)]) -> Vec<String> {
        let root = crate::run::root().join("target/xtask-tests").join(name);
        let _ = std::fs::remove_dir_all(&root);
        let write = |path: &Path, text: &str| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            &root.join("Cargo.toml"),
            "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\", \"xtask\"]\n",
        );
        for (package, dependencies) in manifests.iter().chain(&[("xtask", "")]) {
            let folder = match *package {
                "xtask" => root.join("xtask"),
                users => root.join("crates").join(users),
            };
            let head =
                format!("[package]\nname = \"{package}\"\nversion = \"0.1.0\"\nedition = \"2024\"");
            write(
                &folder.join("Cargo.toml"),
                &format!("{head}\n{dependencies}"),
            );
            write(&folder.join("src/lib.rs"), "");
        }
        let mut report = Report::default();
        layers(&workspace::packages(&root).unwrap(), &mut report);
        report
            .0
            .into_iter()
            .map(|complaint| complaint.text)
            .collect()
    }

    #[test]
    fn layers_point_down_however_a_dependency_is_written() {
        let path = "path = \"../stealyard-park\"";
        for (name, written) in [
            (
                "inline",
                format!("[dependencies]\nstealyard-park = {{ {path} }}"),
            ),
            ("table", format!("[dependencies.stealyard-park]\n{path}")),
            (
                "renamed",
                format!("[dependencies.p]\npackage = \"stealyard-park\"\n{path}"),
            ),
            (
                "target",
                format!("[target.'cfg(unix)'.dependencies.stealyard-park]\n{path}"),
            ),
            (
                "build",
                format!("[build-dependencies]\nstealyard-park = {{ {path} }}"),
            ),
            (
                "optional",
                format!("[dependencies]\nstealyard-park = {{ {path}, optional = true }}"),
            ),
        ] {
            let found = complaints(
                name,
                &[("stealyard-park", ""), ("stealyard-deque", &written)],
            );
            let expected =
                "`stealyard-deque` must not depend on `stealyard-park`: layers point down";
            assert_eq!(found, [expected], "{name}");
        }
        let tests = format!("[dev-dependencies.stealyard-park]\n{path}");
        let found = complaints(
            "tests",
            &[("stealyard-park", ""), ("stealyard-deque", &tests)],
        );
        assert!(found.is_empty(), "{found:?}");
        let down = format!("[dependencies.stealyard-park]\n{path}");
        let found = complaints("down", &[("stealyard-park", ""), ("stealyard-task", &down)]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_crate_needs_a_layer_and_none_is_built_on_our_tools() {
        let found = complaints("unknown", &[("stealyard-new", "")]);
        assert_eq!(found, ["`stealyard-new` has no row in LAYERS"]);
        let tool = "[dependencies]\nxtask = { path = \"../../xtask\" }";
        let found = complaints("tool", &[("stealyard-park", tool)]);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
