//! The wing and circle rules: in which direction the files of a crate import each other.
//!
//! A file and the folder of its name are one room: `ring.rs` and `ring/`. The rooms of a folder
//! form no circle, at the top of `src` and in each folder below. The file above a folder, and
//! `lib.rs` at the top, are its front door: they know every room behind them, and what is imported
//! through the door counts as imported from the room that it comes from.
//!
//! Where a crate has a row in [`WINGS`], its rooms import downward only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Report;
use crate::source::{Mention, Role, Source};
use crate::workspace::Package;

/// The rooms at the top of a crate, floor by floor from the top. A room imports from the floors
/// below its own, and from its neighbours as long as that is no circle.
const WINGS: [(&str, &[&[&str]]); 2] = [
    (
        "stealyard",
        &[
            &["handle"],
            &["run"],
            &["search"],
            &["machine"],
            &["state"],
            &["machine_remote", "processor"],
            &["config", "metrics", "policy"],
            &["user_code"],
        ],
    ),
    (
        "stealyard-task",
        &[&["fork_join"], &["user_code"], &["task"], &["panics"]],
    ),
];

/// Checks the rooms of one crate.
pub(super) fn check(package: &Package, sources: &[Source], report: &mut Report) {
    let house = House::new(&package.folder.join("src"), sources);
    let doors = house.doors();
    for (folder, imports) in &doors {
        circles(folder, imports, report);
    }
    if let Some((_, floors)) = WINGS.iter().find(|(name, _)| *name == package.name) {
        let none = BTreeMap::new();
        wings(
            &house,
            floors,
            doors.get(&Vec::new()).unwrap_or(&none),
            report,
        );
    }
}

/// A path of modules, from the crate's root.
type Module = Vec<String>;

/// Which room of a folder imports which, and where this was seen first.
type Imports = BTreeMap<(String, String), Place>;

/// A line of a file.
type Place = (PathBuf, usize);

/// The modules of a crate and what each passes on.
struct House<'sources> {
    files: Vec<(Module, &'sources Source)>,
    /// The modules, each with the file that it stands in: its own, or one around it.
    modules: BTreeMap<Module, Module>,
    /// What a module imports, by the name under which it does: others may take it from there.
    exports: BTreeMap<Module, BTreeMap<String, Vec<Module>>>,
}

impl<'sources> House<'sources> {
    fn new(folder: &Path, sources: &'sources [Source]) -> Self {
        let files = sources
            .iter()
            .map(|source| (module(folder, &source.path), source));
        let mut house = Self {
            files: files.collect(),
            modules: BTreeMap::from([(Module::new(), Module::new())]),
            exports: BTreeMap::new(),
        };
        for (file, _) in &house.files {
            for length in 1..=file.len() {
                let above = file[..length].to_vec();
                house.modules.insert(above.clone(), above);
            }
        }
        for (file, source) in &house.files {
            for mention in &source.mentions {
                let inside = [file.as_slice(), &mention.modules].concat();
                let known = house.modules.entry(inside.clone());
                known.or_insert_with(|| file.clone());
                if let Role::Import(name) = &mention.role {
                    let names = house.exports.entry(inside).or_default();
                    names
                        .entry(name.clone())
                        .or_default()
                        .push(mention.segments.clone());
                }
            }
        }
        house
    }

    /// Returns the rooms at the top.
    fn rooms(&self) -> BTreeSet<(&String, &Path)> {
        let rooms = self.files.iter().filter_map(|(file, source)| {
            let first = file.first()?;
            Some((first, source.path.as_path()))
        });
        rooms.collect()
    }

    /// Which room imports which, by folder.
    fn doors(&self) -> BTreeMap<Module, Imports> {
        let mut doors: BTreeMap<Module, Imports> = BTreeMap::new();
        for (file, source) in &self.files {
            for mention in &source.mentions {
                let line = source.line_of(mention.first);
                if source.is_test(mention.first) {
                    continue;
                }
                for target in self.targets(file, source, mention) {
                    let shared = file.iter().zip(&target).take_while(|(a, b)| a == b).count();
                    // A door and what is behind it know each other.
                    if let (Some(from), Some(to)) = (file.get(shared), target.get(shared)) {
                        let imports = doors.entry(file[..shared].to_vec()).or_default();
                        let place = || (source.path.clone(), line + 1);
                        imports
                            .entry((from.clone(), to.clone()))
                            .or_insert_with(place);
                    }
                }
            }
        }
        doors
    }

    /// Returns the modules of this crate that `mention` reaches into.
    fn targets(&self, file: &Module, source: &Source, mention: &Mention) -> BTreeSet<Module> {
        let inside = [file.as_slice(), &mention.modules].concat();
        let mut found = BTreeSet::new();
        for path in source.names.meanings(mention, false) {
            if let Some(path) = self.absolute(&inside, &path) {
                found.extend(self.target(file, path, 8));
            }
        }
        // A name that nothing in the file explains may come from a door that is imported whole.
        if matches!(mention.role, Role::Used) {
            for path in source.names.through_globs(mention, false) {
                let path = self.absolute(&inside, &path).unwrap_or_default();
                let (module, name) = self.split(&path);
                let exported = self.exports.get(&module).zip(name);
                if exported.is_some_and(|(names, name)| names.contains_key(name)) {
                    found.extend(self.target(file, path.clone(), 8));
                }
            }
        }
        found
    }

    /// `path`, as written in the module `inside`, from the crate's root; none for other crates'
    /// paths.
    fn absolute(&self, inside: &[String], path: &[String]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => self
                .absolute(inside, rest)
                .or(Some([inside, rest].concat())),
            "super" => {
                let (_, above) = inside.split_last()?;
                match rest.first().map(String::as_str) {
                    Some("super") => self.absolute(above, rest),
                    _ => Some([above, rest].concat()),
                }
            }
            _ => {
                let child = [inside, std::slice::from_ref(first)].concat();
                let known = self.modules.contains_key(&child);
                known.then(|| [inside, path].concat())
            }
        }
    }

    /// Returns the deepest module on `path`, and the name that `path` takes from it.
    fn split<'path>(&self, path: &'path [String]) -> (Module, Option<&'path String>) {
        let mut length = path.len();
        while !self.modules.contains_key(&path[..length]) {
            length -= 1;
        }
        (path[..length].to_vec(), path.get(length))
    }

    /// Returns the modules that `path` leads to from `file`: through the doors above it, to the
    /// rooms behind.
    fn target(&self, file: &Module, path: Module, steps: usize) -> BTreeSet<Module> {
        let (module, name) = self.split(&path);
        let stands_in = &self.modules[&module];
        // A module inside a file is no room of its own.
        if !file.starts_with(stands_in) || steps == 0 {
            return BTreeSet::from([stands_in.clone()]);
        }
        let names = self.exports.get(&module);
        let passed = name.and_then(|name| names?.get(name));
        let ways = passed.into_iter().flatten();
        ways.filter_map(|way| self.absolute(&module, way))
            .filter(|way| *way != path)
            .flat_map(|way| self.target(file, way, steps - 1))
            .collect()
    }
}

/// Returns the module of the file at `path` under `src`.
fn module(folder: &Path, path: &Path) -> Module {
    let inside = path.strip_prefix(folder).unwrap_or(path).with_extension("");
    let parts = inside.components();
    let mut module: Module = parts
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if module.len() == 1 && matches!(module[0].as_str(), "lib" | "main") {
        module.clear();
    }
    module
}

/// Complains about every import upward, and every room that has no floor.
fn wings(house: &House, floors: &[&[&str]], imports: &Imports, report: &mut Report) {
    let floor = |room: &str| floors.iter().position(|rooms| rooms.contains(&room));
    let mut unknown = BTreeSet::new();
    for (room, path) in house.rooms() {
        if floor(room).is_none() && unknown.insert(room) {
            let text = format!("`{room}` has no floor in WINGS");
            report.add("wing", path, 0, text);
        }
    }
    for ((from, to), (path, line)) in imports {
        if let (Some(above), Some(below)) = (floor(from), floor(to))
            && below < above
        {
            let text = format!("`{from}` must not import from `{to}`: wings point down");
            report.add("wing", path, *line, text);
        }
    }
}

/// Complains about every group of rooms that import each other in a circle.
fn circles(folder: &Module, imports: &Imports, report: &mut Report) {
    let rooms: BTreeSet<&String> = imports.keys().flat_map(|(from, to)| [from, to]).collect();
    let mut told = BTreeSet::new();
    for room in &rooms {
        if told.contains(room) {
            continue;
        }
        let Some(circle) = shortest_circle(room, imports) else {
            continue;
        };
        let reached = |from: &String| reachable(from, imports);
        let group: BTreeSet<&String> = reached(room)
            .into_iter()
            .filter(|other| reached(other).contains(room))
            .collect();
        let steps: Vec<&Place> = circle
            .windows(2)
            .map(|pair| &imports[&(pair[0].clone(), pair[1].clone())])
            .collect();
        let (path, line) = steps[0];
        let mut text = circle.join(" → ");
        if !folder.is_empty() {
            text.push_str(&format!(" (in {}/)", folder.join("/")));
        }
        if group.len() + 1 > circle.len() {
            text.push_str(&format!(
                "; {} rooms are in circles with it",
                group.len() - 1
            ));
        }
        for (path, line) in &steps[1..] {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            text.push_str(&format!("; back by {name}:{line}"));
        }
        report.add("circle", path, *line, text);
        told.extend(group);
    }
}

/// Returns the rooms that `from` reaches, through others or not; itself only if in a circle.
fn reachable<'imports>(from: &String, imports: &'imports Imports) -> BTreeSet<&'imports String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(room) = open.pop() {
        for (_, to) in imports.keys().filter(|(of, _)| of == room) {
            if found.insert(to) {
                open.push(to);
            }
        }
    }
    found
}

/// Returns the shortest way from `room` back to it.
fn shortest_circle(room: &str, imports: &Imports) -> Option<Vec<String>> {
    let mut ways = vec![vec![room.to_owned()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last()?;
            for (_, to) in imports.keys().filter(|(from, _)| from == last) {
                let further = [way.as_slice(), std::slice::from_ref(to)].concat();
                if to == room {
                    return Some(further);
                }
                if seen.insert(to.clone()) {
                    longer.push(further);
                }
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is said about a crate of these files.
    fn complaints(name: &str, files: &[(&str, &str)]) -> Vec<String> {
        let package = Package::named(name, "/w/crates/x");
        let source =
            |(path, text): &(&str, &str)| Source::new(&package.folder.join("src").join(path), text);
        let sources: Vec<Source> = files.iter().map(source).collect();
        let mut report = Report::default();
        check(&package, &sources, &mut report);
        report
            .0
            .into_iter()
            .map(|complaint| complaint.text)
            .collect()
    }

    #[test]
    fn a_circle_is_seen_however_it_is_written() {
        for back in [
            "use crate::a::A;",
            "use crate::{a::A};",
            "use super::a::A as B;",
            "use super::a;",
            "fn f(a: crate::a::A) {}",
            "fn f() { super::a::f(); }",
            "m! { crate::a::f() }",
            "macro_rules! m { () => { $crate::a::f() } }",
            "use crate::A;",
            "use crate::Renamed;",
            "use crate::{self as top}; fn f() { top::a::f(); }",
            "use crate as top; fn f(a: top::A) {}",
            "use crate::*; fn f(a: A) {}",
            "mod inner { use super::super::a::A; }",
            "mod inner { use crate::a::A; }",
            "fn f() { use crate::a::A; }",
            "pub use crate::a::A;",
        ] {
            let files = [
                (
                    "lib.rs",
                    "mod a; mod b; pub use a::A; pub use a::Other as Renamed;",
                ),
                ("a.rs", "use crate::b::B;"),
                ("b.rs", back),
            ];
            assert_eq!(
                complaints("x", &files),
                ["a → b → a; back by b.rs:1"],
                "{back}"
            );
        }
    }

    #[test]
    fn a_file_and_its_folder_are_one_room() {
        let files = [
            ("lib.rs", "mod ring; mod slot;"),
            (
                "ring.rs",
                "mod stealer; pub use stealer::S; use crate::slot::T;",
            ),
            ("ring/stealer.rs", "use super::Ring;"),
            ("slot.rs", ""),
        ];
        assert!(complaints("x", &files).is_empty());
        let through_the_folder = [
            ("lib.rs", "mod ring; mod slot;"),
            ("ring.rs", "mod stealer;"),
            ("ring/stealer.rs", "use crate::slot::T;"),
            ("slot.rs", "use crate::ring::Ring;"),
        ];
        assert_eq!(
            complaints("x", &through_the_folder),
            ["ring → slot → ring; back by slot.rs:1"]
        );
    }

    #[test]
    fn a_circle_inside_a_folder_is_one_too() {
        let files = [
            ("lib.rs", "mod a;"),
            ("a.rs", "mod b; mod c; pub(crate) use c::C;"),
            ("a/b.rs", "use super::C;"),
            ("a/c.rs", "use crate::a::b::B;"),
        ];
        assert_eq!(
            complaints("x", &files),
            ["b → c → b (in a/); back by c.rs:1"]
        );
    }

    #[test]
    fn tests_and_comments_import_nothing() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B;"),
            (
                "b.rs",
                "//! See [`crate::a::A`].\n#[cfg(test)]\nmod tests { use crate::a::A; }",
            ),
        ];
        assert!(complaints("x", &files).is_empty());
    }

    #[test]
    fn the_wings_of_the_scheduler_point_down() {
        let lib = ("lib.rs", "mod handle; pub use handle::Scheduler;");
        let good = [
            lib,
            (
                "handle.rs",
                "use crate::run::R; use crate::config::C; use crate::user_code::U;",
            ),
            (
                "run/worker.rs",
                "use crate::search::find; use crate::machine::Machine;",
            ),
            (
                "search.rs",
                "use crate::machine::current; use crate::state::Shared;",
            ),
            (
                "machine.rs",
                "use crate::state::S; use crate::machine_remote::R;",
            ),
            (
                "state.rs",
                "use crate::processor::P; use crate::machine_remote::R;",
            ),
            ("machine_remote.rs", "use crate::user_code::U;"),
            (
                "processor.rs",
                "use crate::policy::P; use crate::metrics::M; use crate::user_code::U;",
            ),
            ("policy.rs", ""),
            ("metrics.rs", ""),
            ("config.rs", "use crate::policy::P;"),
            ("user_code.rs", ""),
        ];
        let found = complaints("stealyard", &good);
        assert!(found.is_empty(), "{found:?}");
        for (bad, said) in [
            (
                ("processor.rs", "use crate::state::Shared;"),
                "`processor` must not import from `state`: wings point down",
            ),
            (
                (
                    "user_code/calls.rs",
                    "fn f() { crate::machine::current::may_block(); }",
                ),
                "`user_code` must not import from `machine`: wings point down",
            ),
            (
                ("metrics.rs", "use crate::Scheduler;"),
                "`metrics` must not import from `handle`: wings point down",
            ),
            (("attic.rs", ""), "`attic` has no floor in WINGS"),
        ] {
            let above = [("handle.rs", ""), ("machine.rs", ""), ("state.rs", "")];
            let files = [[lib].as_slice(), &above, &[bad]].concat();
            assert_eq!(complaints("stealyard", &files), [said]);
        }
    }
}
