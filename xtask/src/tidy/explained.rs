//! The ordering rule: every memory ordering is written in full, in its operation, below its reason.

use super::Report;
use crate::source::{Role, Source};

/// Checks a file whose orderings are explained, weakened and listed.
pub(super) fn check(source: &Source, report: &mut Report) {
    for site in source.sites() {
        if source.ordering_comment(&site).is_none() {
            let text = format!(
                "`{}({})` has no `// Ordering:` comment above it",
                site.operation, site.token
            );
            report.add("ordering", &source.path, site.line + 1, text);
        }
    }
}

/// Checks that no ordering hides behind another name, nor apart from its operation.
pub(super) fn in_full(source: &Source, report: &mut Report) {
    for mention in &source.mentions {
        let meanings = source.names.meanings(mention, false);
        let atomic = meanings.iter().any(|path| is_ordering(path));
        let inside = meanings.iter().any(|path| {
            path.split_last()
                .is_some_and(|(_, front)| is_ordering(front))
        });
        let hidden = match &mention.role {
            Role::Import(name) => inside || atomic && name != "Ordering",
            Role::Alias(_) | Role::Glob | Role::Unfinished => atomic || inside,
            Role::Used => false,
        };
        if hidden && !source.is_test(mention.first) {
            let text = "an ordering is written in full where it is used: `Ordering::Acquire`";
            let line = source.line_of(mention.first);
            report.add("ordering", &source.path, line + 1, text);
        }
    }
    for site in source
        .sites()
        .iter()
        .filter(|site| site.operation.is_empty())
    {
        let text = format!("`{}` is no argument of an operation", site.token);
        report.add("ordering", &source.path, site.line + 1, text);
    }
}

/// Returns true for the path of the atomic orderings, not of those that compare.
fn is_ordering(path: &[String]) -> bool {
    let compares = path
        .iter()
        .rev()
        .nth(1)
        .is_some_and(|module| module == "cmp");
    matches!(path, [.., name] if name == "Ordering") && !compares
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use super::*;

    #[test]
    fn an_ordering_without_a_reason_is_seen_under_every_name() {
        for text in [
            "fn f() {\n    a.load(Ordering::Acquire);\n}",
            "use x::Ordering as O;\nfn f() {\n    a.load(O::SeqCst);\n}",
            "use x::Ordering::SeqCst;\nfn f() {\n    a.load(SeqCst);\n}",
            "use x::Ordering::*;\nfn f() {\n    a.load(SeqCst);\n}",
            "fn f() {\n    let _r = r\"\\\";\n    a.load(Ordering::SeqCst);\n    \"\";\n}",
            "fn f() {\n    let _r = br#\"\"\\\"#; a.load(Ordering::SeqCst);\n}",
            "fn f() {\n    let c = '\"'; a.load(Ordering::SeqCst); '\"';\n}",
            "fn f<'a>(s: &'a str) {\n    /* /* */ \" */ a.load(Ordering::SeqCst);\n}",
            "macro_rules! m { () => {\n    a.load(Ordering::SeqCst)\n} }",
            "#[cfg(test)]\nmod tests {}\nfn f() {\n    a.load(Ordering::SeqCst);\n}",
            "fn f() {\n    let a = \"// Ordering: no reason\";\n    a.load(Ordering::SeqCst);\n}",
            "fn f() {\n    asymmetric::heavy();\n}",
            "fn f() {\n    // Ordering:\n    a.load(Ordering::SeqCst);\n}",
            "fn f() {\n    // Ordering: SeqCst.\n    a.load(Ordering::SeqCst);\n}",
            "#[cfg(test)] fn t() {} fn f() { a.load(Ordering::SeqCst); }",
        ] {
            assert_eq!(complaints(check, text), 1, "{text}");
        }
        let explained =
            "fn f() {\n    // Ordering: Acquire; why.\n    a.load(Ordering::Acquire);\n}";
        assert_eq!(complaints(check, explained), 0);
    }

    #[test]
    fn no_ordering_hides() {
        for text in [
            "use stealyard_sync::atomic::Ordering as O;",
            "use stealyard_sync::atomic::{AtomicU8, Ordering as O};",
            "use stealyard_sync::atomic::Ordering::SeqCst;",
            "use stealyard_sync::atomic::Ordering::{self, Acquire};",
            "use stealyard_sync::atomic::Ordering::*;",
            "use stealyard_sync::atomic::Ordering; use Ordering::SeqCst as S;",
            "use stealyard_sync::atomic as a; use a::Ordering as O;",
            "type O = stealyard_sync::atomic::Ordering;",
            "const O: Ordering = Ordering::SeqCst;",
            "fn f() {\n    let o = Ordering::SeqCst;\n    a.load(o);\n}",
            "macro_rules! m { ($o:ident) => { a.load(Ordering::$o) } }",
        ] {
            assert_eq!(complaints(in_full, text), 1, "{text}");
        }
        for text in [
            "use stealyard_sync::atomic::{AtomicU8, Ordering};",
            "use stealyard_sync::atomic as a;",
            "use core::cmp::Ordering as O;",
            "use core::cmp::Ordering::*;",
            "fn f(o: Ordering) {\n    a.load(o);\n    b(Ordering::SeqCst);\n}",
            "#[cfg(test)]\nmod tests {\n    use x::Ordering::SeqCst;\n}",
        ] {
            assert_eq!(complaints(in_full, text), 0, "{text}");
        }
    }
}
