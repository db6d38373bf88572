//! The places where a memory ordering is named, or an asymmetric fence called.

use std::ops::Range;

use super::Source;
use super::lexer::Kind;
use super::paths::{Mention, Role};

/// The five orderings.
pub(crate) const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

/// A use of a memory ordering (or of an asymmetric fence) in code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// Its token.
    pub(crate) at: usize,
    /// Zero-based.
    pub(crate) line: usize,
    /// Byte column of the token.
    pub(crate) column: usize,
    /// `Relaxed`, `Acquire`, …, or `light` and `heavy`.
    pub(crate) token: String,
    /// The function it is an argument of: `load`, `store`, `fence`, `compare_exchange`, …
    pub(crate) operation: String,
    /// The byte columns of the whole call of a fence, if it stands on one line.
    pub(crate) call: Option<Range<usize>>,
}

/// Returns every ordering in shipped code, in order, under whatever name.
pub(super) fn all(source: &Source) -> Vec<Site> {
    let mut sites = Vec::new();
    for mention in &source.mentions {
        if source.is_test(mention.first) || !matches!(mention.role, Role::Used) {
            continue;
        }
        let mut meanings = source.names.meanings(mention, false);
        meanings.extend(source.names.through_globs(mention, false));
        let ends = meanings.iter().find_map(|path| ordering(path));
        let Some((family, token)) = ends else {
            continue;
        };
        let called = matches!(source.kind(mention.last + 1), Some(Kind::Open('(', _)));
        let site = match family {
            "asymmetric" if !called => continue,
            "asymmetric" => fence(source, mention, token.to_owned()),
            _ => access(source, mention, token.to_owned()),
        };
        sites.push(site);
    }
    sites
}

/// Returns the family and the name, if `path` ends in an ordering or in an asymmetric fence.
fn ordering(path: &[String]) -> Option<(&str, &str)> {
    let [.., family, name] = path else {
        return None;
    };
    let fits = match family.as_str() {
        "Ordering" => ORDERINGS.contains(&name.as_str()),
        "asymmetric" => matches!(name.as_str(), "light" | "heavy"),
        _ => false,
    };
    fits.then_some((family, name))
}

/// Makes the site of a call of an asymmetric fence.
fn fence(source: &Source, mention: &Mention, token: String) -> Site {
    let (line, column) = source.position(mention.last);
    Site {
        at: mention.last,
        line,
        column,
        call: source.call(mention, mention.last + 1),
        operation: token.clone(),
        token,
    }
}

/// Makes the site of an ordering, which is the argument of an operation.
fn access(source: &Source, mention: &Mention, token: String) -> Site {
    let (line, column) = source.position(mention.last);
    let mut site = Site {
        at: mention.last,
        line,
        column,
        token,
        operation: String::new(),
        call: None,
    };
    let Some(opener) = source.opener(mention.first).filter(|at| *at > 0) else {
        return site;
    };
    if source
        .kind(opener)
        .is_none_or(|kind| !matches!(kind, Kind::Open('(', _)))
    {
        return site;
    }
    // A function that is named by a path may have been imported under another name.
    let callee = source
        .mentions
        .iter()
        .find(|callee| callee.last == opener - 1);
    let meaning = callee.and_then(|callee| source.names.meanings(callee, false).pop()?.pop());
    let word = source.word(opener - 1).map(str::to_owned);
    site.operation = meaning.or(word).unwrap_or_default();
    if site.operation.ends_with("fence")
        && let Some(callee) = callee
    {
        site.call = source.call(callee, opener);
    }
    site
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn found(text: &str) -> Vec<(String, String)> {
        let source = Source::new(Path::new("test.rs"), text);
        let pair = |site: Site| (site.operation, site.token);
        source.sites().into_iter().map(pair).collect()
    }

    fn pair(operation: &str, token: &str) -> (String, String) {
        (operation.to_owned(), token.to_owned())
    }

    #[test]
    fn an_operation_is_found_across_lines() {
        assert_eq!(
            found(
                "fn f() {\n    let x = self.word.compare_exchange(\n        a.get(1),\n        b,\n   \
                 Ordering::AcqRel,\n        Ordering::Relaxed,\n    );\n    \
                 fence(Ordering::SeqCst);\n    asymmetric::light();\n}\n"
            ),
            [
                pair("compare_exchange", "AcqRel"),
                pair("compare_exchange", "Relaxed"),
                pair("fence", "SeqCst"),
                pair("light", "light"),
            ]
        );
    }

    #[test]
    fn an_ordering_is_seen_under_every_name() {
        for (import, written) in [
            ("use sync::atomic::Ordering as O;", "O::SeqCst"),
            ("use sync::atomic::{AtomicU8, Ordering as O};", "O::SeqCst"),
            ("use sync::atomic::Ordering::SeqCst;", "SeqCst"),
            ("use sync::atomic::Ordering::{self, *};", "SeqCst"),
            ("use sync::atomic::Ordering::SeqCst as Strong;", "Strong"),
            ("use sync::atomic as a;", "a::Ordering::SeqCst"),
            ("use sync::atomic::Ordering as O; use O::SeqCst;", "SeqCst"),
            ("type O = sync::atomic::Ordering;", "O::SeqCst"),
            ("", "stealyard_sync::atomic::Ordering::SeqCst"),
            ("", "<Ordering>::SeqCst"),
        ] {
            let text = format!("{import}\nfn f() {{\n    a.load({written});\n}}\n");
            assert_eq!(found(&text), [pair("load", "SeqCst")], "{text}");
        }
        assert!(found("use std::cmp::Ordering as O;\nfn f() { g(O::Less); }").is_empty());
    }

    #[test]
    fn a_fence_is_seen_under_every_name() {
        for text in [
            "use sync::asymmetric as a; fn f() { a::heavy(); }",
            "use sync::asymmetric::heavy; fn f() { heavy(); }",
            "use sync::asymmetric::*; fn f() { heavy(); }",
            "use sync::asymmetric::heavy as h; fn f() { h(); }",
        ] {
            assert_eq!(found(text), [pair("heavy", "heavy")], "{text}");
        }
        let renamed = "use sync::atomic::fence as f;\nfn g() { f(Ordering::SeqCst); }";
        assert_eq!(found(renamed), [pair("fence", "SeqCst")]);
    }

    #[test]
    fn comments_strings_and_tests_hold_none() {
        let quoted = "let a = \"// Ordering::Acquire\"; // Ordering::Release\nlet c = '\"';\n";
        assert!(found(quoted).is_empty());
        let tests = "a.load(Ordering::Relaxed);\n#[cfg(all(test, not(x)))]\nmod tests {\n    \
                     a.load(Ordering::Relaxed);\n}\nb.load(Ordering::Relaxed);\n";
        assert_eq!(found(tests).len(), 2, "what follows the tests is no test");
    }

    #[test]
    fn a_raw_string_hides_nothing() {
        let text = "let _r = r\"\\\";\na.load(Ordering::SeqCst);\nlet _s = \"x\";\n";
        assert_eq!(found(text), [pair("load", "SeqCst")]);
    }
}
