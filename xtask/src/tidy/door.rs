//! The door rule: atomics, cells, locks, threads, clocks, spin hints and seeds come from
//! `stealyard-sync`.
//!
//! Of the modules that hold such things nothing may be named but what is listed here, in whatever
//! way: in a tree of imports, under another name, in full where it is used, inside a macro. Clippy
//! checks the same with types resolved (see `clippy.toml`); this rule also reads what the build at
//! hand leaves out.

use std::path::Path;

use super::Report;
use crate::source::{Kind, Mention, Role, Source};

/// The roots under which the standard library is known.
const ROOTS: [&str; 3] = ["alloc", "core", "std"];

/// The modules behind the door, and what may be taken from each all the same.
const BEHIND: [(&str, &[&str]); 3] = [
    (
        "sync",
        &["LockResult", "PoisonError", "TryLockError", "TryLockResult"],
    ),
    ("thread", &["Result"]),
    ("time", &["Duration", "TryFromFloatSecsError"]),
];

/// Single things behind the door, in modules that are free otherwise.
const SINGLE: [(&str, &str); 6] = [
    ("cell", "SyncUnsafeCell"),
    ("cell", "UnsafeCell"),
    ("collections", "hash_map"),
    ("hash", "RandomState"),
    ("hint", "spin_loop"),
    ("intrinsics", "*"),
];

/// What a conformance suite may use besides: it is test code that users call, and no model runs it.
const CONFORMANCE: [(&str, &str); 2] = [("sync", "Barrier"), ("thread", "scope")];

/// `std::task::Wake` is defined on std's own `Arc`, and only that one turns into a shared `dyn`.
const WAKING: [(&str, &str); 2] = [("sync", "Arc"), ("sync", "Weak")];

/// Checks a file of a crate that stands behind the door.
pub(super) fn check(source: &Source, report: &mut Report) {
    inside(source, report);
    let exempt = exemptions(source);
    let mut refused: Vec<&[String]> = Vec::new();
    let mut lines = Vec::new();
    // The imports first: what came in by a refused import is not refused again where it is used.
    let imports = |mention: &&Mention| !matches!(mention.role, Role::Used | Role::Unfinished);
    let (imports, uses): (Vec<_>, Vec<_>) = source.mentions.iter().partition(imports);
    for mention in imports.into_iter().chain(uses) {
        let line = source.line_of(mention.first);
        if source.is_test(mention.first) || lines.contains(&line) {
            continue;
        }
        let meanings = source.names.meanings(mention, false);
        let known = |path: &Vec<String>| refused.iter().any(|import| path.starts_with(import));
        if let Some(path) = meanings
            .iter()
            .find(|path| is_behind(path, &mention.role, &exempt))
        {
            if meanings[1..].iter().any(known) {
                continue;
            }
            let text = format!("`{}`: take it from stealyard_sync", path.join("::"));
            report.add("door", &source.path, line + 1, text);
            lines.push(line);
            refused.push(&mention.segments);
        } else if let Some(text) = macro_behind(source, mention, &meanings) {
            report.add("door", &source.path, line + 1, text);
        }
    }
}

/// Complains about a module whose file lies outside the folder that is checked.
fn inside(source: &Source, report: &mut Report) {
    for at in 0..source.len() {
        let Some(file) = source
            .literal(at + 2)
            .filter(|_| source.word(at) == Some("path"))
        else {
            continue;
        };
        let opener = source.opener(at).and_then(|opener| source.kind(opener));
        let attribute =
            source.is_sign(at + 1, '=') && matches!(opener, Some(Kind::Open('[' | '(', _)));
        if attribute && (file.contains("..") || file.contains("\"/")) {
            let text = format!("{file} lies outside `src`, where no rule reads");
            report.add("door", &source.path, source.line_of(at) + 1, text);
        }
    }
}

/// Checks a file of a crate that does not use `stealyard-sync`, and therefore has no atomics.
pub(super) fn no_atomics(source: &Source, report: &mut Report) {
    inside(source, report);
    for mention in &source.mentions {
        let line = source.line_of(mention.first);
        let meanings = source.names.meanings(mention, false);
        let atomic = |path: &Vec<String>| {
            let words = [path.first(), path.get(1), path.get(2)];
            let words = words.map(|word| word.map_or("", String::as_str));
            ROOTS.contains(&words[0]) && words[1..] == ["sync", "atomic"]
        };
        if !source.is_test(mention.first) && meanings.iter().any(atomic) {
            report.add("door", &source.path, line + 1, "this crate has no atomics");
        }
    }
}

fn exemptions(source: &Source) -> Vec<(&'static str, &'static str)> {
    let mut exempt = Vec::new();
    let wakes = source.mentions.iter().any(|mention| {
        let meanings = source.names.meanings(mention, false);
        meanings.iter().any(|path| {
            path.ends_with(&["task".into(), "Wake".into()])
                || path.ends_with(&["Arc".into(), "from_std".into()])
        })
    });
    if wakes {
        exempt.extend(WAKING);
    }
    if is_conformance(&source.path) {
        exempt.extend(CONFORMANCE);
    }
    exempt
}

fn is_conformance(path: &Path) -> bool {
    path.components().any(|part| {
        let name = part.as_os_str();
        name == "conformance" || name == "conformance.rs"
    })
}

/// Whether `path`, in this role, reaches behind the door.
fn is_behind(path: &[String], role: &Role, exempt: &[(&str, &str)]) -> bool {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let [root, rest @ ..] = words.as_slice() else {
        return false;
    };
    let whole = matches!(role, Role::Glob | Role::Unfinished);
    match rest {
        _ if !ROOTS.contains(root) => false,
        // `std` under another name, or as a whole, hides what comes through it. A variable may be
        // called `core`.
        [] => *role != Role::Used,
        ["thread_local", ..] => true,
        [module] => {
            let behind = BEHIND.iter().any(|(name, _)| name == module);
            behind || whole && SINGLE.iter().any(|(name, _)| name == module)
        }
        [module, name, tail @ ..] => {
            let free = BEHIND
                .iter()
                .find(|(behind, _)| behind == module)
                .map(|(_, free)| free.contains(name));
            let single = SINGLE
                .iter()
                .any(|(of, single)| of == module && (single == name || *single == "*"));
            // Of `hash_map` only the seeds are behind the door.
            let single = single && (*name != "hash_map" || tail.first() == Some(&"RandomState"));
            (free == Some(false) || single) && !exempt.contains(&(module, name))
        }
    }
}

/// Returns what is wrong with a macro that needs no import, or that brings code which no rule
/// reads.
fn macro_behind(source: &Source, mention: &Mention, meanings: &[Vec<String>]) -> Option<String> {
    let called = source.is_sign(mention.last + 1, '!')
        && matches!(source.kind(mention.last + 2), Some(Kind::Open(..)));
    let [name] = mention.segments.as_slice() else {
        return None;
    };
    match name.as_str() {
        _ if !called => None,
        "thread_local" if meanings.len() == 1 => {
            Some("`thread_local!`: take it from stealyard_sync".to_owned())
        }
        "include" => Some("`include!` brings code that no rule reads".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use super::*;

    #[test]
    fn every_form_of_import_and_of_use_is_refused() {
        for text in [
            "use std::sync::{Mutex, Condvar};",
            "use std::{sync::Arc, thread};",
            "use std::{thread};",
            "use std::thread;",
            "use std::sync::atomic as a;",
            "use core::sync::atomic::AtomicUsize;",
            "use alloc::sync::Arc;",
            "use ::std::sync::Mutex as M;",
            "use std::sync::*;",
            "use std::*;",
            "use std as s;",
            "use std::{self as s};",
            "extern crate std as s;",
            "pub use std::sync::OnceLock;",
            "type M = std::sync::Mutex<u8>;",
            "fn f() { let m = std::sync::Mutex::new(1); }",
            "fn f(m: &std::sync::RwLock<u8>) {}",
            "fn f() { <std::sync::Mutex<u8>>::new(1); }",
            "fn f() { std::thread::sleep(d); std::thread::park(); }",
            "fn f() { std::thread::Builder::new(); }",
            "fn f() { ::std::time::Instant::now(); }",
            "fn f() { std::time::SystemTime::now(); }",
            "use std::hint;\nfn f() { hint::spin_loop(); }",
            "use std::hint::*;",
            "use core::cell::UnsafeCell;",
            "use std::collections::hash_map::RandomState;",
            "thread_local! { static A: u8 = 1; }",
            "std::thread_local! { static A: u8 = 1; }",
            "macro_rules! m { () => { std::sync::Mutex::new(1) } }",
            "macro_rules! m { ($x:ident) => { std::sync::$x } }",
            "macro_rules! m { ($x:ident) => { use std::sync::$x; } }",
            "macro_rules! m { ($($x:tt)*) => { std::$($x)* } }",
            "m! { x(std::sync::Mutex) }",
            "mod inner {\n    use std::sync::LazyLock;\n}",
            "#[cfg(test)]\nmod tests {}\nuse std::sync::Mutex;",
            "use std::\n    sync\n    ::Mutex;",
            "use r#std::sync::Mutex;",
            "let _r = r\"\\\"; use std::sync::Mutex; \"\";",
            "include!(\"../hidden.txt\");",
            "#[path = \"../../hidden.rs\"]\nmod hidden;",
            "#[cfg_attr(all(), path = \"/tmp/hidden.rs\")]\nmod hidden;",
            "#[cfg(test)] mod tests {} use std::sync::Mutex;",
            "#[cfg(test)] fn f<A, B>(a: A) -> B {} use std::sync::Mutex;",
            "use {std::sync::Mutex};",
        ] {
            assert_eq!(complaints(check, text), 1, "{text}");
        }
    }

    #[test]
    fn names_that_are_not_behind_the_door_are_free() {
        for text in [
            "use stealyard_sync::{Arc, Mutex, atomic::AtomicUsize, thread};\nfn f() { thread::park(); }",
            "use stealyard_sync::thread_local;\nthread_local! { static A: u8 = 1; }",
            "stealyard_sync::thread_local! { static A: u8 = 1; }",
            "fn f(r: std::thread::Result<()>) { r.unwrap_or_else(std::sync::PoisonError::into_inner); }",
            "use std::time::Duration;",
            "use core::cell::{Cell, RefCell};",
            "use std::collections::hash_map::Entry;",
            "fn f() { let core = 1; g(core); }",
            "use std::sync::Arc;\nimpl std::task::Wake for W {}",
            "#[cfg(test)]\nmod tests {\n    use std::thread;\n    fn f() { thread::spawn(g); }\n}",
            "#[path = \"imp/futex.rs\"]\nmod imp;\nfn f() { let path = \"../x\"; }",
            "#[cfg(test)]\nfn f<A, B>(a: A) -> B { std::thread::park() }",
            "// use std::sync::Mutex;\nconst A: &str = \"std::sync::Mutex\";",
        ] {
            assert_eq!(complaints(check, text), 0, "{text}");
        }
    }

    #[test]
    fn names_that_clippy_refuses_are_refused_here() {
        let config = crate::run::root().join("clippy.toml");
        let config = std::fs::read_to_string(config).unwrap();
        let paths: Vec<&str> = config
            .lines()
            .filter_map(|line| line.split_once("path = \"")?.1.split('"').next())
            .collect();
        assert!(paths.len() > 40, "{paths:?}");
        for path in paths {
            let text = format!("fn f() {{ {path}; }}");
            assert_eq!(complaints(check, &text), 1, "{path}");
        }
    }

    #[test]
    fn a_refused_import_is_refused_once() {
        let text = "use std::sync::Mutex;\nfn f() { Mutex::new(1); Mutex::new(2); }";
        assert_eq!(complaints(check, text), 1);
    }

    #[test]
    fn a_crate_without_the_door_has_no_atomics() {
        for (text, count) in [
            ("use std::sync::{OnceLock, atomic::AtomicU8};", 1),
            ("use core::sync::atomic as a;", 1),
            ("fn f() { std::sync::atomic::fence(o); }", 1),
            ("use std::sync::OnceLock;", 0),
        ] {
            assert_eq!(complaints(no_atomics, text), count, "{text}");
        }
    }
}
