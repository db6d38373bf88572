//! Conditional compilation: every predicate of a file, wherever it is asked.

use std::ops::Range;

use super::Source;
use super::lexer::Kind;

/// A predicate, as in `#[cfg(predicate)]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cfg {
    pub(crate) form: Form,
    /// The tokens of the predicate.
    pub(crate) predicate: Range<usize>,
    /// The first token of the whole: `#` of an attribute, the name of a macro.
    pub(crate) first: usize,
}

/// Where a predicate is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `#[cfg(…)]` or `#[cfg_attr(…, …)]` before an item, a statement or a field.
    Outer,
    /// `#![cfg(…)]` or `#![cfg_attr(…, …)]`, about what it stands in.
    Inner,
    /// `cfg!(…)`, and the macros that choose between branches.
    Macro,
}

/// Macros that choose by predicates; the whole body counts.
const CHOOSERS: [&str; 4] = ["cfg", "cfg_if", "cfg_match", "cfg_select"];

/// Returns every predicate of the file, in order.
pub(super) fn all(source: &Source) -> Vec<Cfg> {
    let mut found = Vec::new();
    for at in 0..source.tokens.len() {
        let Some(word) = source.word(at) else {
            continue;
        };
        if matches!(word, "cfg" | "cfg_attr")
            && let Some(Kind::Open('(', closer)) = source.kind(at + 1)
        {
            found.extend(attribute(source, at, word, closer));
        }
        if CHOOSERS.contains(&word)
            && source.is_sign(at + 1, '!')
            && let Some(Kind::Open(_, closer)) = source.kind(at + 2)
        {
            found.push(Cfg {
                form: Form::Macro,
                predicate: at + 3..closer,
                first: at,
            });
        }
    }
    found
}

/// Returns the attribute whose name `cfg` or `cfg_attr` stands at `at`, also inside another
/// `cfg_attr`.
fn attribute(source: &Source, at: usize, word: &str, closer: usize) -> Option<Cfg> {
    let mut opener = at.checked_sub(1)?;
    // Out of `cfg_attr(test, cfg(…))`.
    while !matches!(source.kind(opener)?, Kind::Open('[', _)) {
        opener = match source.kind(opener)? {
            Kind::Close(_, partner) => partner.checked_sub(1)?,
            Kind::Open('{', _) | Kind::Sign(';') => return None,
            _ => opener.checked_sub(1)?,
        };
    }
    let before = opener.checked_sub(1)?;
    let (form, first) = if source.is_sign(before, '#') {
        (Form::Outer, before)
    } else if source.is_sign(before, '!') && before > 0 && source.is_sign(before - 1, '#') {
        (Form::Inner, before - 1)
    } else {
        return None;
    };
    // What `cfg_attr` asks ends at its first comma.
    let end = if word == "cfg_attr" {
        source
            .arguments(at + 1)
            .next()
            .map_or(closer, |first| first.end)
    } else {
        closer
    };
    Some(Cfg {
        form,
        predicate: at + 2..end,
        first,
    })
}

/// Whether the predicate can hold in a test build only: `test`, or `all(test, …)`.
pub(super) fn needs_test(source: &Source, predicate: Range<usize>) -> bool {
    match source.word(predicate.start) {
        Some("test") => predicate.len() == 1 || source.is_sign(predicate.start + 1, ','),
        Some("all") => source
            .arguments(predicate.start + 1)
            .any(|argument| needs_test(source, argument)),
        Some("any") => {
            let mut arguments = source.arguments(predicate.start + 1).peekable();
            arguments.peek().is_some() && arguments.all(|argument| needs_test(source, argument))
        }
        _ => false,
    }
}

/// Returns the last token of the item or statement whose attributes begin at `first`.
pub(super) fn end_of_item(source: &Source, first: usize) -> usize {
    let mut at = first;
    while source.is_sign(at, '#') {
        match source.kind(at + 1) {
            Some(Kind::Open('[', closer)) => at = closer + 1,
            _ => break,
        }
    }
    // The braces of these are no bodies: only a semicolon ends them.
    let until_semicolon = (at..at + 8)
        .map_while(|at| source.word(at).or(Some("")))
        .find(|word| !matches!(*word, "" | "pub" | "crate" | "super" | "in" | "unsafe"))
        .is_some_and(|word| matches!(word, "use" | "static" | "type" | "let" | "const"))
        && !(at..at + 8).any(|at| source.word(at) == Some("fn"));
    let mut angles = 0;
    while at < source.tokens.len() {
        match source.kind(at) {
            Some(Kind::Sign(',')) if angles > 0 => at += 1,
            Some(Kind::Sign(';' | ',')) => return at,
            Some(Kind::Open('{', closer)) if !until_semicolon => return closer,
            Some(Kind::Open(_, closer)) => at = closer + 1,
            Some(Kind::Close(..)) => return at.saturating_sub(1),
            Some(Kind::Sign('<')) => (angles, at) = (angles + 1, at + 1),
            Some(Kind::Sign('>')) if !source.is_sign(at - 1, '-') => {
                (angles, at) = (angles - 1, at + 1);
            }
            _ => at += 1,
        }
    }
    at.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn source(text: &str) -> Source {
        Source::new(Path::new("x.rs"), text)
    }

    fn predicates(text: &str) -> Vec<(Form, String)> {
        let source = source(text);
        let words = |cfg: Cfg| {
            let text: Vec<&str> = cfg.predicate.filter_map(|at| source.word(at)).collect();
            (cfg.form, text.join(" "))
        };
        all(&source).into_iter().map(words).collect()
    }

    #[test]
    fn predicates_are_found_in_every_form() {
        let found = predicates(
            "#![cfg(a)]\n#[cfg(all(not(b), c))] fn f() { cfg!(d); }\n#[cfg_attr(e, path = \"x\")] \
             mod m;\n#[cfg_attr(f, cfg(g))] mod n; cfg_if! { if #[cfg(h)] { } }",
        );
        let expected = [
            (Form::Inner, "a"),
            (Form::Outer, "all not b c"),
            (Form::Macro, "d"),
            (Form::Outer, "e"),
            (Form::Outer, "f"),
            (Form::Outer, "g"),
            (Form::Macro, "if cfg h"),
            (Form::Outer, "h"),
        ];
        assert_eq!(
            found,
            expected.map(|(form, words)| (form, words.to_owned()))
        );
    }

    #[test]
    fn items_that_need_a_test_build_are_test_code() {
        let needs = |text: &str| {
            let source = source(text);
            let cfg = all(&source).remove(0);
            needs_test(&source, cfg.predicate)
        };
        assert!(needs("#[cfg(test)] x"));
        assert!(needs("#[cfg(all(unix, any(test, all(test, a))))] x"));
        assert!(!needs("#[cfg(any(test, unix))] x"));
        assert!(!needs("#[cfg(not(test))] x"));
        assert!(!needs("#[cfg(feature = \"test\")] x"));
    }
}
