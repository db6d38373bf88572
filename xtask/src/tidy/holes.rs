//! The holes that the rules once had: each line is added to a copy of a source of every crate that
//! stands behind the door, and must be refused.
//!
//! The rules' own tests have more forms of each kind; these show that the rules reach the real
//! files.

use super::*;

/// What must be refused wherever it is added, and by which rule.
const LINES: [(&str, &str); 23] = [
    ("door", "use std::sync::{Mutex, Condvar};"),
    ("door", "use std::{sync::Arc, thread};"),
    ("door", "use std::{thread};"),
    ("door", "use core::{sync::atomic as a};"),
    ("door", "extern crate std as s;"),
    ("door", "use std as s;"),
    ("door", "fn f() { ::std::thread::spawn(g); }"),
    (
        "door",
        "macro_rules! hidden { () => { std::sync::RwLock::new(1) } }",
    ),
    ("door", "mod hidden { pub(super) use std::time::*; }"),
    ("ordering", "use stealyard_sync::atomic::Ordering as O;"),
    ("ordering", "use stealyard_sync::atomic::Ordering::*;"),
    (
        "ordering",
        "use stealyard_sync::atomic::Ordering as O;\nfn f(a: &A) { a.load(O::SeqCst); }",
    ),
    (
        "ordering",
        "use stealyard_sync::atomic::Ordering::SeqCst;\nfn f(a: &A) { a.load(SeqCst); }",
    ),
    (
        "ordering",
        "fn f(a: &A) { use stealyard_sync::atomic::Ordering::{SeqCst as S}; a.load(S); }",
    ),
    (
        "ordering",
        "fn f(a: &A) { let _r = r\"\\\"; a.load(Ordering::SeqCst); }",
    ),
    (
        "ordering",
        "fn f(a: &A) {\n    let _r = r\"\\\";\n    a.load(Ordering::SeqCst);\n}",
    ),
    (
        "ordering",
        "fn f(a: &A) { let _r = br#\"\"\\\"#; a.load(Ordering::SeqCst); }",
    ),
    (
        "ordering",
        "fn f(a: &A) { let _r = '\"'; a.load(Ordering::SeqCst); }",
    ),
    (
        "ordering",
        "fn f(a: &A) { /* /* */ \" */ a.load(Ordering::SeqCst); }",
    ),
    (
        "platform",
        "fn f() { #[cfg(all(target_os = \"linux\"))] g(); }",
    ),
    (
        "platform",
        "fn f() {\n    #[cfg(not(any(windows, all(x))))]\n    g();\n}",
    ),
    (
        "platform",
        "fn f() -> bool { cfg!(all(target_os = \"linux\")) }",
    ),
    (
        "platform",
        "fn f() { #[cfg_attr(any(unix), allow(unused))] let a = 1; }",
    ),
];

/// Returns the crates behind the door.
fn structures() -> Vec<Package> {
    let mut packages = workspace::packages(&run::root()).unwrap();
    packages.retain(Package::is_behind_the_door);
    assert!(packages.len() >= 4, "{packages:?}");
    packages
}

/// Returns how often each rule complains about `source`.
fn count(package: &Package, source: &Source, rule: &str) -> usize {
    let mut report = Report::default();
    shipped(package, source, &mut report);
    report
        .0
        .iter()
        .filter(|complaint| complaint.rule == rule)
        .count()
}

/// Returns a copy of `source` with `line` added at its end.
fn with(source: &Source, line: &str) -> Source {
    let text = std::fs::read_to_string(&source.path).unwrap();
    Source::new(&source.path, &format!("{text}\n{line}\n"))
}

#[test]
fn no_line_of_these_can_be_added_to_a_structure() {
    for package in structures() {
        // The last file is as good as any; `lib.rs` may be special.
        let sources = package.sources().unwrap();
        let source = sources
            .iter()
            .rfind(|source| !source.path.ends_with("lib.rs"))
            .unwrap();
        for (rule, line) in LINES {
            let before = count(&package, source, rule);
            let after = count(&package, &with(source, line), rule);
            assert!(after > before, "{}: {line}", source.path.display());
        }
    }
}

#[test]
fn an_ordering_behind_a_raw_string_is_seen_by_all_three() {
    let line = "fn f(a: &A) {\n    let _r = r\"\\\";\n    a.load(Ordering::SeqCst);\n}";
    for package in structures() {
        let source = &package.sources().unwrap()[1];
        // `weaken` tries and `orderings` lists what is a site.
        assert_eq!(with(source, line).sites().len(), source.sites().len() + 1);
    }
}

#[test]
fn no_structure_cites_a_label_of_another_file() {
    let crates = workspace::packages(&run::root()).unwrap();
    let users = crates.iter().filter(|package| package.is_for_users());
    let mut crates: Vec<Vec<labels::File>> = users.map(|p| labels::read(p).unwrap()).collect();
    let complaints = |crates: &[Vec<labels::File>]| {
        let mut report = Report::default();
        labels::judge(crates, &mut report);
        report.0.len()
    };
    let mut tried = 0;
    for at in 0..crates.len() {
        let before = complaints(&crates);
        let Some((citing, label)) = foreign_label(&crates[at]) else {
            continue;
        };
        let cited = with(
            &Source::read(&crates[at][citing].path).unwrap(),
            &format!("// It holds by {label}."),
        );
        let original = std::mem::replace(&mut crates[at][citing], labels::File::of_source(&cited));
        assert!(
            complaints(&crates) > before,
            "{label} in {}",
            cited.path.display()
        );
        crates[at][citing] = original;
        tried += 1;
    }
    assert!(tried >= 4, "only {tried} crates have labels");
}

/// Returns a source of a crate, and a label that another file of it defines and that the source may
/// not cite.
fn foreign_label(files: &[labels::File]) -> Option<(usize, String)> {
    let sources = files.iter().enumerate().filter(|(_, file)| {
        let path = &file.path;
        path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("lib.rs")
    });
    let mut pairs =
        sources.flat_map(|(at, citing)| files.iter().map(move |file| (at, citing, file)));
    pairs.find_map(|(at, citing, file)| {
        let (label, _) = file.defined.first()?;
        let far = !file.is_at_hand_in(citing) && !citing.refers_to(file);
        let twice = files.iter().filter(|other| other.defines(label)).count() > 1;
        let free = labels::CACHES.contains(&label.as_str());
        (far && !twice && !free).then(|| (at, label.clone()))
    })
}

#[test]
fn no_room_of_a_structure_can_import_back() {
    for package in structures() {
        let sources = package.sources().unwrap();
        let complaints = |sources: &[Source]| {
            let mut report = Report::default();
            rooms::check(&package, sources, &mut report);
            let top = report
                .0
                .iter()
                .filter(|complaint| !complaint.text.contains("(in "));
            top.filter(|complaint| complaint.rule == "circle").count()
        };
        let before = complaints(sources);
        let rooms: Vec<(usize, String)> = sources
            .iter()
            .enumerate()
            .filter(|(_, source)| source.path.parent() == Some(&package.folder.join("src")))
            .filter_map(|(at, source)| Some((at, source.path.file_stem()?.to_str()?.to_owned())))
            .filter(|(_, room)| room != "lib")
            .collect();
        // Two rooms that import each other are a circle, whatever they import today.
        let [(one, first), (two, second), ..] = rooms.as_slice() else {
            panic!("{} has no rooms", package.name);
        };
        let mut changed = sources.to_vec();
        changed[*one] = with(&sources[*one], &format!("use crate::{{{second}::X}};"));
        changed[*two] = with(
            &sources[*two],
            &format!("fn f() {{ super::{first}::g(); }}"),
        );
        let grown = complaints(&changed) > before;
        assert!(
            grown || before > 0,
            "{first} and {second} of {}",
            package.name
        );
    }
}
