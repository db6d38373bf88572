//! The platform rule: a platform is chosen at module level, one file per platform, never in a
//! function.

use super::Report;
use crate::source::{Form, Source};

/// Checks a file of a users' crate.
pub(super) fn check(source: &Source, report: &mut Report) {
    let mut lines: Vec<usize> = Vec::new();
    let mut read = Vec::new();
    for cfg in source.cfgs() {
        let asks = cfg
            .predicate
            .clone()
            .filter_map(|at| source.word(at))
            .any(is_platform);
        let at_module_level = cfg.form != Form::Macro && source.opener(cfg.first).is_none();
        let line = source.line_of(cfg.first);
        if asks && !at_module_level && !source.is_test(cfg.first) {
            lines.push(line);
        }
        read.push(cfg.predicate);
    }
    // A predicate may also be handed to a macro that asks it.
    for at in 0..source.len() {
        let asks = source
            .word(at)
            .is_some_and(|word| is_platform(word) && word.contains('_'));
        let is_read = read.iter().any(|predicate| predicate.contains(&at));
        if asks && !is_read && !source.is_test(at) && source.word(at) != Some("target_feature") {
            lines.push(source.line_of(at));
        }
    }
    // The same question at run time.
    for mention in &source.mentions {
        let line = source.line_of(mention.first);
        let meanings = source.names.meanings(mention, false);
        let asks = meanings.iter().any(|path| {
            path.windows(2)
                .any(|pair| pair[0] == "env" && pair[1] == "consts")
        });
        if asks && !source.is_test(mention.first) {
            lines.push(line);
        }
    }
    lines.sort_unstable();
    lines.dedup();
    for line in lines {
        let text = "a platform is chosen at module level, one file per platform";
        report.add("platform", &source.path, line + 1, text);
    }
}

/// Returns true for a word that asks what system or machine this is.
fn is_platform(word: &str) -> bool {
    matches!(word, "unix" | "windows") || word.starts_with("target_")
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use super::*;

    #[test]
    fn no_form_of_the_question_is_asked_in_a_function() {
        for inside in [
            "#[cfg(target_os = \"linux\")]\n    g();",
            "#[cfg(all(target_os = \"linux\"))]\n    g();",
            "#[cfg(any(not(all(x, windows)), y))]\n    g();",
            "#[ cfg ( unix ) ]\n    g();",
            "#[cfg_attr(target_family = \"unix\", allow(x))]\n    let a = 1;",
            "#[cfg_attr(all(), cfg(unix))]\n    g();",
            "#![cfg(target_env = \"gnu\")]",
            "if cfg!(target_os = \"linux\") {}",
            "if cfg!(all(not(windows))) {}",
            "cfg_select! { unix => { g() } _ => {} }",
            "h! { #[cfg(unix)] g() }",
            "h!(target_os = \"linux\", g());",
            "if std::env::consts::OS == \"linux\" {}",
            "let a = if cfg!(\n        target_arch = \"x86_64\"\n    ) { 1 } else { 2 };",
        ] {
            let text = format!("fn f() {{\n    {inside}\n}}");
            assert_eq!(complaints(check, &text), 1, "{text}");
        }
        let hidden = "#[cfg(test)] mod tests {} fn f() { #[cfg(unix)] g(); }";
        assert_eq!(complaints(check, hidden), 1);
        let method = "impl A {\n    #[cfg(all(unix))]\n    fn f() {}\n}";
        assert_eq!(complaints(check, method), 1);
        assert_eq!(complaints(check, "const A: bool = cfg!(unix);"), 1);
    }

    #[test]
    fn a_module_is_chosen_by_it() {
        for text in [
            "#[cfg(target_os = \"linux\")]\nmod linux;",
            "#![cfg(unix)]\nfn f() {}",
            "#[cfg(all(unix, not(stealyard_loom)))]\n#[path = \"unix.rs\"]\nmod imp;",
            "fn f() {\n    #[cfg(stealyard_loom)]\n    g();\n}",
            "fn f() {\n    // #[cfg(unix)]\n    g(\"#[cfg(unix)]\");\n}",
            "#[cfg(test)]\nmod tests {\n    #[cfg(unix)]\n    fn f() {}\n}",
            "#[target_feature(enable = \"sse2\")]\nfn f(windows: u8) { a.windows(2); }",
        ] {
            assert_eq!(complaints(check, text), 0, "{text}");
        }
    }
}
