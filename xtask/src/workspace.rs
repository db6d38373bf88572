//! The packages of this workspace, as cargo knows them.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::run;
use crate::source::{self, Source};

/// The crate through which the others reach atomics, threads, locks and clocks.
pub(crate) const THE_DOOR: &str = "stealyard-sync";

/// A package of the workspace.
#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// The packages of the workspace that it is built on, what only its tests use left out.
    pub(crate) ours: Vec<String>,
    /// True if it has loom models: a test target named `loom`.
    pub(crate) modelled: bool,
    /// The oldest compiler that builds it; empty if the manifest names none.
    pub(crate) rust_version: String,
    /// The files of its `src`, once they were asked for.
    sources: OnceCell<Vec<Source>>,
}

impl Package {
    /// Makes a package of nothing but a name and a folder.
    #[cfg(test)]
    pub(crate) fn named(name: &str, folder: &str) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.into(),
            ..Self::default()
        }
    }

    /// Returns true for what users depend on, which lives under `crates/`.
    pub(crate) fn is_for_users(&self) -> bool {
        let parent = self.folder.parent().and_then(Path::file_name);
        parent.is_some_and(|name| name == "crates")
    }

    /// Returns true for a structure or a scheduler: it reaches atomics, threads, locks and clocks
    /// through `stealyard-sync` alone.
    pub(crate) fn is_behind_the_door(&self) -> bool {
        self.is_for_users() && self.ours.iter().any(|name| name == THE_DOOR)
    }

    /// Returns every file of its `src`, read when it is asked for the first time.
    pub(crate) fn sources(&self) -> Result<&[Source], String> {
        if let Some(sources) = self.sources.get() {
            return Ok(sources);
        }
        let paths = source::files(&self.folder.join("src"), "rs");
        let sources: Result<_, _> = paths.iter().map(|path| Source::read(path)).collect();
        let sources = sources?;
        Ok(self.sources.get_or_init(|| sources))
    }
}

/// Reads every package of the workspace at `root`, each after those that it is built on.
pub(crate) fn packages(root: &Path) -> Result<Vec<Package>, String> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .map_err(|error| format!("cannot read the manifests of {}: {error}", root.display()))?;
    Ok(sorted(read(&metadata)))
}

/// Returns the packages of this workspace that have loom models.
pub(crate) fn modelled() -> Result<Vec<Package>, String> {
    let mut packages = packages(&run::root())?;
    packages.retain(|package| package.modelled);
    Ok(packages)
}

fn read(metadata: &Metadata) -> Vec<Package> {
    let members = metadata.workspace_packages();
    let ours = |name: &str| members.iter().any(|member| member.name == name);
    let package = |member: &&cargo_metadata::Package| {
        let needed = member.dependencies.iter().filter(|dependency| {
            dependency.kind != DependencyKind::Development && ours(&dependency.name)
        });
        let folder = member.manifest_path.parent();
        Package {
            name: member.name.to_string(),
            folder: folder.map(PathBuf::from).unwrap_or_default(),
            ours: needed.map(|dependency| dependency.name.clone()).collect(),
            modelled: member
                .targets
                .iter()
                .any(|target| target.is_test() && target.name == "loom"),
            rust_version: member
                .rust_version
                .as_ref()
                .map(|version| format!("{}.{}", version.major, version.minor))
                .unwrap_or_default(),
            sources: OnceCell::new(),
        }
    };
    members.iter().map(package).collect()
}

/// Sorts packages so that those built on nothing come first; cargo refuses circles.
fn sorted(mut packages: Vec<Package>) -> Vec<Package> {
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    let mut sorted: Vec<Package> = Vec::new();
    while !packages.is_empty() {
        let (ready, waiting): (Vec<_>, Vec<_>) = packages.into_iter().partition(|package| {
            let known = |name: &String| sorted.iter().any(|known| known.name == *name);
            package.ours.iter().all(known)
        });
        packages = waiting;
        if ready.is_empty() {
            sorted.append(&mut packages);
        }
        sorted.extend(ready);
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_comes_after_what_it_is_built_on() {
        let packages = packages(&run::root()).unwrap();
        let place = |name: &str| packages.iter().position(|package| package.name == name);
        assert!(place("stealyard-sync") < place("stealyard-park"));
        assert!(place("stealyard-park") < place("stealyard"));
        assert!(place("stealyard") < place("stealyard-benches"));
        let modelled = packages.iter().filter(|package| package.modelled);
        assert!(
            modelled
                .map(|package| &package.name)
                .any(|name| name == "stealyard-deque")
        );
    }
}
