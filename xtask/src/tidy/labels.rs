//! The label rule: a comment that says "by R1" must mean an R1 that somebody wrote down.

use std::collections::BTreeSet;
use std::path::Path;

use super::Report;
use crate::source::{self, Source};

/// Collects the labels each crate's sources define, then looks up every one that a comment cites.
pub(super) fn check(root: &Path, report: &mut Report) -> Result<(), String> {
    for folder in [
        "sync",
        "deque",
        "injector",
        "park",
        "topology",
        "stealyard-task",
        "stealyard",
    ] {
        let paths = source::files(&root.join("crates").join(folder).join("src"), "rs");
        let sources: Vec<Source> = paths
            .iter()
            .map(|path| Source::read(path))
            .collect::<Result<_, _>>()?;
        let defined: BTreeSet<String> = sources.iter().flat_map(definitions).collect();
        for source in &sources {
            for (line, label) in citations(source) {
                if !defined.contains(&label) {
                    let text = format!("`{label}` is cited, but no essay of this crate defines it");
                    report.add("label", &source.path, line + 1, text);
                }
            }
        }
    }
    Ok(())
}

/// `- **R1** …` and `| R1 | …` in an essay define `R1`; `| **R1** |` does as well.
fn definitions(source: &Source) -> Vec<String> {
    let essays = source.lines.iter().filter(|line| {
        let text = line.trim_start();
        text.starts_with("//!") || text.starts_with("///") || text.starts_with("// ")
    });
    let mut found = Vec::new();
    for line in essays {
        let text = line.trim_start().trim_start_matches(['/', '!']).trim();
        let opener = text.trim_start_matches(['|', '-', '*', ' ']);
        if text.starts_with(['|', '-', '*']) {
            // A row may define several, as in `| S1, S2 |` or `**T3, T4**`.
            let head = opener.split(['|', ':', '.']).next().unwrap_or(opener);
            found.extend(
                head.split([',', ' ', '*', '/'])
                    .filter_map(label)
                    .map(str::to_owned),
            );
        }
    }
    found
}

/// Labels in the comments on orderings and on unsafe blocks.
fn citations(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (number, line) in source.lines.iter().enumerate().take(source.tests_from) {
        let text = line.trim_start();
        let comment =
            text.starts_with("//") && !text.starts_with("//!") && !text.starts_with("///");
        inside = comment && (inside || text.contains("Ordering:") || text.contains("SAFETY:"));
        if inside {
            let words = text.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_');
            found.extend(
                words
                    .filter_map(label)
                    .map(|label| (number, label.to_owned())),
            );
        }
    }
    found
}

/// A label is one or two capitals and one or two digits: `R1`, `SP12`.
fn label(word: &str) -> Option<&str> {
    let digits = word.find(|c: char| c.is_ascii_digit())?;
    let (capitals, number) = word.split_at(digits);
    let fits = (1..=2).contains(&capitals.len())
        && capitals.chars().all(|c| c.is_ascii_uppercase())
        && (1..=2).contains(&number.len())
        && number.chars().all(|c| c.is_ascii_digit());
    // Cache levels and the design's decisions read the same and are not ours.
    (fits && !matches!(word, "L1" | "L2" | "L3" | "L4") && capitals != "D").then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_and_citations_are_told_apart() {
        let text = "//! - **R1** `a <= b`.\n//! | O1 | push | O2 |\nfn f() {\n    // Ordering: Acquire \
                    (O1), by R1 and R2.\n    g();\n}\n";
        let source = Source::new(Path::new("x.rs"), text);
        assert_eq!(definitions(&source), ["R1", "O1"]);
        let cited: Vec<String> = citations(&source)
            .into_iter()
            .map(|(_, label)| label)
            .collect();
        assert_eq!(cited, ["O1", "R1", "R2"]);
    }

    #[test]
    fn what_looks_like_a_label_is_one() {
        assert_eq!(label("R1"), Some("R1"));
        assert_eq!(label("SP12"), Some("SP12"));
        assert_eq!(label("L3"), None);
        assert_eq!(label("AcqRel"), None);
        assert_eq!(label("u64"), None);
        assert_eq!(label("P1202"), None);
    }
}
