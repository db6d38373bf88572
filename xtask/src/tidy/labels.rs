//! The label rule: a comment that says "by R1" means one R1, and the reader can find it.
//!
//! A label is one to four capitals and one or two digits; one of three or four capitals is a label
//! only where the crate defines it, since the field has many such words. An essay defines it once
//! in a crate: as the bold head of a list item, `- **R1** …`, or as the first cell of a table row,
//! `| R1 | …`. A comment may cite it where the essay is at hand, which is in the same file and in
//! the folder of that name (`ring.rs` defines, `ring/stealer.rs` cites). From anywhere else it
//! names the file: ``(`ring.rs`, R1)``. A file that cites another's labels often says so once, in
//! its opening essay: "R1 to R6 are those of `ring.rs`".

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Report;
use crate::source::{self, Source};
use crate::workspace::Package;

/// The cache levels look like labels; what they name would be read as one.
pub(super) const CACHES: [&str; 4] = ["L1", "L2", "L3", "L4"];

/// Words of the field that look like labels.
const NO_LABELS: [&str; 2] = ["C11", "M1"];

/// A file that defines and cites labels: a source, or a page beside it.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    paragraphs: Vec<Paragraph>,
    /// The labels that it defines, each with the zero-based line.
    pub(super) defined: Vec<(String, usize)>,
    /// Up to here reaches its opening essay.
    essay: usize,
}

/// A run of prose: a paragraph, a list item or a table row.
#[derive(Debug, Default)]
struct Paragraph {
    lines: Vec<(usize, String)>,
}

/// Checks the sources, and the pages beside them, of all crates for users.
pub(super) fn check(packages: &[Package], report: &mut Report) -> Result<(), String> {
    let users = packages.iter().filter(|package| package.is_for_users());
    let crates = users.map(read).collect::<Result<Vec<_>, _>>()?;
    judge(&crates, report);
    Ok(())
}

/// Returns the files of a crate that define or cite labels.
pub(super) fn read(package: &Package) -> Result<Vec<File>, String> {
    let mut files: Vec<File> = package.sources()?.iter().map(File::of_source).collect();
    for page in source::files(&package.folder.join("src"), "md") {
        let text = source::text(&page)?;
        files.push(File::of_page(&page, &text));
    }
    Ok(files)
}

/// Complains about each crate's labels and citations.
pub(super) fn judge(crates: &[Vec<File>], report: &mut Report) {
    for files in crates {
        definitions(files, report);
        for file in files {
            citations(file, files, crates, report);
        }
    }
}

impl File {
    pub(super) fn of_source(source: &Source) -> Self {
        let mut lines = Vec::new();
        for (number, comment) in source.comments.iter().enumerate() {
            let text = source::without_slashes(comment);
            // A comment at the end of a line of code stands alone.
            let alone = !source.code[number].trim().is_empty();
            if comment.is_empty() || source.is_test_line(number) {
                lines.push((number, String::new()));
            } else if alone {
                lines.extend([(number, String::new()), (number, text.to_owned())]);
                lines.push((number, String::new()));
            } else {
                lines.push((number, text.to_owned()));
            }
        }
        let essay = source
            .comments
            .iter()
            .position(|comment| !comment.starts_with("//!"));
        Self {
            essay: essay.unwrap_or(source.comments.len()),
            ..Self::new(&source.path, lines)
        }
    }

    fn of_page(path: &Path, text: &str) -> Self {
        let lines = text.lines().map(|line| line.trim().to_owned());
        Self::new(path, lines.enumerate().collect())
    }

    fn new(path: &Path, lines: Vec<(usize, String)>) -> Self {
        let paragraphs = paragraphs(lines);
        let defined = paragraphs.iter().flat_map(Paragraph::definitions).collect();
        Self {
            path: path.to_path_buf(),
            paragraphs,
            defined,
            essay: 0,
        }
    }

    pub(super) fn defines(&self, label: &str) -> bool {
        self.defined.iter().any(|(defined, _)| defined == label)
    }

    /// Whether this file's labels are at hand in `other`: it is the same, or that stands in its
    /// folder. A page stands in the folder of the file that it belongs to.
    pub(super) fn is_at_hand_in(&self, other: &Self) -> bool {
        other.path.starts_with(self.path.with_extension(""))
            || self.path == other.path
            || self.path.extension().is_some_and(|ending| ending == "md")
                && self.path.parent() == Some(&other.path.with_extension(""))
    }

    /// Whether the opening essay sends the reader to `other` for its labels.
    pub(super) fn refers_to(&self, other: &Self) -> bool {
        let opening = self.paragraphs.iter();
        opening
            .take_while(|paragraph| paragraph.lines[0].0 < self.essay)
            .any(|paragraph| {
                let labels = paragraph.labels();
                paragraph.names(other) && labels.iter().any(|(_, label)| other.defines(label))
            })
    }

    fn shown(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

impl Paragraph {
    /// Returns the labels that the head of this item or row defines.
    fn definitions(&self) -> Vec<(String, usize)> {
        let Some((line, text)) = self.lines.first() else {
            return Vec::new();
        };
        let head = if let Some(row) = text.strip_prefix('|') {
            row.split('|').next().unwrap_or("")
        } else {
            let bold = without_bullet(text).strip_prefix("**");
            match bold.and_then(|bold| bold.split_once("**")) {
                Some((head, _)) => head,
                None => return Vec::new(),
            }
        };
        let words = words(head.trim_matches(['*', ' ', ':', '.']));
        // A cell or a head that says more than labels speaks about them.
        if words.iter().any(|word| label(word).is_none()) {
            return Vec::new();
        }
        words
            .into_iter()
            .map(|word| (word.to_owned(), *line))
            .collect()
    }

    /// Returns the labels that it names, each with its line; the rows of `tests/risks.md` are no
    /// labels: "risk W11", "risks W1 and W2".
    fn labels(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut of_risk = false;
        for (number, text) in &self.lines {
            let text = without_code(text);
            for word in words(&text) {
                match label(word) {
                    Some(label) if !of_risk => found.push((*number, label.to_owned())),
                    Some(_) => {}
                    None if matches!(word, "and" | "or" | "to") => {}
                    None => of_risk = matches!(word, "risk" | "risks" | "Risk" | "Risks"),
                }
            }
        }
        found
    }

    /// Whether it names `file`, as `ring.rs` or with folders before it.
    fn names(&self, file: &File) -> bool {
        self.lines.iter().any(|(_, text)| {
            text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '/' | '_' | '-'))
                .map(|word| word.trim_end_matches('.'))
                .filter(|word| word.ends_with(".rs") || word.ends_with(".md"))
                .any(|word| file.path.ends_with(word))
        })
    }
}

/// Cuts numbered lines into paragraphs, list items and table rows; fenced code is left out.
fn paragraphs(lines: Vec<(usize, String)>) -> Vec<Paragraph> {
    let mut found = vec![Paragraph::default()];
    let mut fenced = false;
    for (number, text) in lines {
        let fence = text.starts_with("```");
        fenced ^= fence;
        let opens = without_bullet(&text).len() < text.len() || text.starts_with('|');
        if opens || text.is_empty() || fence {
            found.push(Paragraph::default());
        }
        if !text.is_empty() && !fence && !fenced {
            let last = found.last_mut().expect("there is one at all times");
            last.lines.push((number, text));
        }
    }
    found.retain(|paragraph| !paragraph.lines.is_empty());
    found
}

/// Complains about labels that are defined twice in a crate.
fn definitions(files: &[File], report: &mut Report) {
    let mut known: BTreeMap<&str, (&File, usize)> = BTreeMap::new();
    for file in files {
        for (label, line) in &file.defined {
            if CACHES.contains(&label.as_str()) {
                let text = format!("`{label}` is a cache: give the label another letter");
                report.add("label", &file.path, line + 1, text);
            }
            match known.get(label.as_str()) {
                Some((first, at)) => {
                    let text = format!(
                        "`{label}` is defined twice in this crate: here and in {}:{}",
                        first.shown(),
                        at + 1
                    );
                    report.add("label", &file.path, line + 1, text);
                }
                None => _ = known.insert(label, (file, *line)),
            }
        }
    }
}

/// Complains about citations that the reader cannot follow.
fn citations(file: &File, files: &[File], crates: &[Vec<File>], report: &mut Report) {
    for paragraph in &file.paragraphs {
        let mut told: Vec<String> = Vec::new();
        for (line, label) in paragraph.labels() {
            let label = label.as_str();
            let is_word = NO_LABELS.contains(&label) || CACHES.contains(&label);
            if is_word || told.iter().any(|told| told == label) {
                continue;
            }
            let of_crate: Vec<&File> = files.iter().filter(|other| other.defines(label)).collect();
            let at_hand = of_crate.iter().any(|other| other.is_at_hand_in(file));
            let named = || {
                let all = crates.iter().flatten().filter(|other| other.defines(label));
                all.into_iter()
                    .any(|other| paragraph.names(other) || file.refers_to(other))
            };
            let is_ours = !of_crate.is_empty() || capitals(label) <= 2;
            if at_hand || !is_ours || named() {
                continue;
            }
            told.push(label.to_owned());
            let text = match of_crate.first() {
                Some(other) => format!(
                    "`{label}` is defined in {0}: name it beside the label, as in (`{0}`, {label})",
                    other.shown()
                ),
                None => format!(
                    "no essay of this crate defines `{label}`; if another's does, name its file"
                ),
            };
            report.add("label", &file.path, line + 1, text);
        }
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .collect()
}

/// Returns `text` without its code spans, except those that are one label.
fn without_code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(at, part)| {
            if at % 2 == 1 && label(part).is_none() {
                " "
            } else {
                part
            }
        })
        .collect()
}

/// Returns a list item without what makes it one: `- `, `* `, `1. `.
fn without_bullet(text: &str) -> &str {
    let numbered = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let item = match numbered.strip_prefix(". ") {
        Some(item) if numbered.len() < text.len() => Some(item),
        _ => text.strip_prefix("- ").or_else(|| text.strip_prefix("* ")),
    };
    item.unwrap_or(text).trim_start()
}

fn capitals(label: &str) -> usize {
    label.chars().filter(char::is_ascii_uppercase).count()
}

/// Returns the word if it is a label, one to four capitals and one or two digits: `R1`, `SP12`.
pub(super) fn label(word: &str) -> Option<&str> {
    let digits = word.find(|c: char| c.is_ascii_digit())?;
    let (capitals, number) = word.split_at(digits);
    let fits = (1..=4).contains(&capitals.len())
        && capitals.chars().all(|c| c.is_ascii_uppercase())
        && (1..=2).contains(&number.len())
        && number.chars().all(|c| c.is_ascii_digit());
    fits.then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is said about a crate of these files.
    fn complaints(files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| {
            let path = Path::new("/w/crates/x/src").join(path);
            if path.extension().is_some_and(|ending| ending == "md") {
                File::of_page(&path, text)
            } else {
                File::of_source(&Source::new(&path, text))
            }
        };
        let files: Vec<File> = files.iter().map(file).collect();
        let mut report = Report::default();
        judge(&[files], &mut report);
        report
            .0
            .into_iter()
            .map(|complaint| complaint.text)
            .collect()
    }

    #[test]
    fn a_label_is_defined_once_in_a_crate() {
        let item = "//! - **P1** one thing.\n";
        for again in [
            "//! - **P1** another.",
            "//! * **P1** another.",
            "//! 1. **P1** another.",
            "//! Some text.\n//! 2. **P1** another.",
            "//! | P1 | load | P2 |\n//! | P2 | store | P1 |",
            "//! | **P1** | load |",
            "//! - **P1, P2** another.",
            "/// - **P1** another.\nfn f() {}",
        ] {
            let found = complaints(&[("processor.rs", item), ("scope.rs", again)]);
            let expected = "`P1` is defined twice in this crate: here and in processor.rs:1";
            assert_eq!(found, [expected], "{again}");
        }
        let within = format!("{item}//!\n//! | P1 | load |\n");
        assert_eq!(complaints(&[("scope.rs", &within)]).len(), 1);
        let page = [("idle.rs", item), ("idle/proof.md", "- **P1** a case.\n")];
        assert_eq!(complaints(&page).len(), 1);
        assert_eq!(
            complaints(&[("x.rs", "//! - **L2** a rule.")]).len(),
            1,
            "a cache"
        );
    }

    #[test]
    fn a_citation_from_another_file_names_the_file() {
        let essay = ("processor.rs", "//! - **P1** one thing.\n");
        for citing in [
            "// By P1.\nfn f() {}",
            "//! By P1, as all.",
            "/// Holds (P1).\nfn f() {}",
            "fn f() { g(); // P1\n}",
            "fn f() { /* P1 */ }",
            "fn f() {\n    // Ordering: Acquire (P1).\n    g();\n}",
            "// By `P1`.",
            "// By P1's end.",
            "// By X-P1-x.",
            "// No risk, by P1.",
            "// See `processor.rs`.\n\n// By P1.",
            "// See `other.rs`, P1.",
            "//! As in `processor.rs`.\n\n// By P1.",
            "//! - see `processor.rs`\n//! - by P1",
        ] {
            let found = complaints(&[essay, ("scope.rs", citing)]);
            let expected = "`P1` is defined in processor.rs: name it beside the label, as in \
                            (`processor.rs`, P1)";
            assert_eq!(found, [expected], "{citing}");
        }
        for citing in [
            "// By P1 of `processor.rs`.",
            "// The rule holds (`processor.rs`,\n// P1).",
            "//! - see `src/processor.rs`, P1",
            "//! P1 is that of `processor.rs`.\n\nfn f() {} // P1",
            "// Of risk P1, and of risks P1 and\n// P1.",
            "// On AVX2, RFC12 and C11.",
            "// The bound of `Box<P1>`.",
            "fn f() { g(\"P1\"); }",
            "#[cfg(test)]\nmod tests {\n    // P1\n}",
        ] {
            let found = complaints(&[essay, ("scope.rs", citing)]);
            assert!(found.is_empty(), "{citing}: {found:?}");
        }
    }

    #[test]
    fn the_essay_of_a_file_is_at_hand_in_its_folder() {
        let essay = (
            "ring.rs",
            "//! - **R1** one thing.\n//!\n//! By A1.\nfn f() {} // R1",
        );
        let page = ("ring/proof.md", "- **A1** a case, by R1.\n");
        let found = complaints(&[essay, page, ("ring/stealer.rs", "// By R1.")]);
        assert!(found.is_empty(), "{found:?}");
        let found = complaints(&[
            ("ring/stealer.rs", "//! - **R1** x"),
            ("ring.rs", "// By R1."),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn a_label_without_a_definition_is_seen() {
        for citing in [
            "// SAFETY: by R7.",
            "//! By R7.",
            "//! - R7 is no definition without its stars.",
            "//! | by R7 | no definition either |",
        ] {
            assert_eq!(complaints(&[("x.rs", citing)]).len(), 1, "{citing}");
        }
    }

    #[test]
    fn labels_are_told_from_other_words() {
        assert_eq!(label("R1"), Some("R1"));
        assert_eq!(label("SP12"), Some("SP12"));
        assert_eq!(label("BUFR1"), Some("BUFR1"));
        assert_eq!(label("AcqRel"), None);
        assert_eq!(label("u64"), None);
        assert_eq!(label("P1202"), None);
    }
}
