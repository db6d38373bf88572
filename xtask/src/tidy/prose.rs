//! The rules of the language that a program can count: see "Text" in `docs/style.md`.
//!
//! | rule | what |
//! |---|---|
//! | who | no sentence begins with "Who" or "Whoever", unless it asks |
//! | rate | in each crate, of 1,000 sentences at most 2 have a headless "who", 5 a "nobody" or its like |
//! | columns | a comment keeps within the columns of `rustfmt.toml`, unless it is a table row or holds a link |
//!
//! `tidy --prose` also lists every sentence that counts, and those with more than one semicolon.
//! What counts is prose: headings, tables, code and questions do not.

mod sentences;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Report;
use crate::source::{self, Source};
use sentences::Sentence;

/// Of 1,000 sentences of a crate, how many may have a headless "who".
const WHO: usize = 2;

/// Of 1,000 sentences of a crate, how many may have a "nobody" or its like.
const NOBODY: usize = 5;

/// What was counted, in a file or in a crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    sentences: usize,
    who: usize,
    nobody: usize,
    semicolons: usize,
    long_lines: usize,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.sentences += other.sentences;
        self.who += other.who;
        self.nobody += other.nobody;
        self.semicolons += other.semicolons;
        self.long_lines += other.long_lines;
    }

    fn is_clean(self) -> bool {
        self == Self {
            sentences: self.sentences,
            ..Self::default()
        }
    }

    /// Returns how many of 1,000 sentences are of this kind.
    fn rate(self, count: usize) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand sentences")]
        let (count, all) = (count as f64, self.sentences.max(1) as f64);
        1000.0 * count / all
    }
}

/// A file of prose: a source with its comments, or a page.
struct File {
    path: PathBuf,
    sentences: Vec<Sentence>,
    /// The zero-based lines of comments that are too long.
    long: Vec<usize>,
}

impl File {
    fn read(path: &Path, columns: usize) -> Result<Self, String> {
        let (sentences, long) = if path.extension().is_some_and(|ending| ending == "md") {
            let text = source::text(path)?;
            (sentences::of_page(&text), Vec::new())
        } else {
            let source = Source::read(path)?;
            (sentences::of_source(&source), long_lines(&source, columns))
        };
        Ok(Self {
            path: path.to_path_buf(),
            sentences,
            long,
        })
    }

    fn counts(&self) -> Counts {
        let count = |kind: fn(&Sentence) -> bool| {
            self.sentences
                .iter()
                .filter(|sentence| kind(sentence))
                .count()
        };
        Counts {
            sentences: self.sentences.len(),
            who: count(Sentence::has_headless_who),
            nobody: count(Sentence::has_nobody),
            semicolons: count(|sentence| sentence.semicolons() > 1),
            long_lines: self.long.len(),
        }
    }
}

/// Complains about what no file and no crate may have.
pub(super) fn check(root: &Path, report: &mut Report) -> Result<(), String> {
    let files = read(root)?;
    for file in &files {
        for sentence in file
            .sentences
            .iter()
            .filter(|sentence| sentence.begins_with_who())
        {
            let text = format!("the subject is no noun: {}", sentence.shown());
            report.add("who", &file.path, sentence.line + 1, text);
        }
        for line in &file.long {
            report.add(
                "columns",
                &file.path,
                line + 1,
                "a comment longer than rustfmt's lines",
            );
        }
    }
    for (folder, counts) in by_folder(root, &files) {
        rates(&root.join(folder), counts, report);
    }
    Ok(())
}

/// Complains if a crate is above the aimed rates.
fn rates(folder: &Path, counts: Counts, report: &mut Report) {
    for (what, count, rate) in [
        ("a headless \"who\"", counts.who, WHO),
        ("a \"nobody\" or its like", counts.nobody, NOBODY),
    ] {
        // A small crate may have one where the rate allows a part of one.
        if count > (rate * counts.sentences).div_ceil(1000) {
            let text = format!(
                "{count} of {} sentences have {what}: {:.1} of 1,000, the aim is {rate}; \
                 `cargo xtask tidy --prose` lists them",
                counts.sentences,
                counts.rate(count)
            );
            report.add("rate", folder, 0, text);
        }
    }
}

/// Prints what was counted, and every sentence that counts; `part` chooses files.
pub(super) fn print(root: &Path, part: Option<&str>) -> Result<(), String> {
    let files = read(root)?;
    let chosen = |file: &&File| part.is_none_or(|part| file.path.to_string_lossy().contains(part));
    for file in files.iter().filter(chosen) {
        let counts = file.counts();
        let path = file.path.strip_prefix(root).unwrap_or(&file.path);
        if counts.is_clean() {
            continue;
        }
        println!("{}: {}", path.display(), shown(counts));
        for sentence in &file.sentences {
            let kinds = sentence.kinds();
            if !kinds.is_empty() {
                let line = sentence.line + 1;
                println!(
                    "    {}:{line}: [{kinds}] {}",
                    path.display(),
                    sentence.shown()
                );
            }
        }
    }
    println!();
    let mut all = Counts::default();
    for (folder, counts) in by_folder(root, &files) {
        println!("{folder:<20} {}", shown(counts));
        all.add(counts);
    }
    println!("{:<20} {}", "all", shown(all));
    Ok(())
}

fn shown(counts: Counts) -> String {
    format!(
        "{} sentences, headless who {} ({:.1} of 1,000), nobody {} ({:.1}), semicolons {}, long lines {}",
        counts.sentences,
        counts.who,
        counts.rate(counts.who),
        counts.nobody,
        counts.rate(counts.nobody),
        counts.semicolons,
        counts.long_lines
    )
}

/// Returns the files of the workspace that hold prose.
fn read(root: &Path) -> Result<Vec<File>, String> {
    let columns = columns(root)?;
    let mut paths = source::files(root, "md");
    for folder in ["benches", "crates", "xtask"] {
        paths.extend(source::files(&root.join(folder), "rs"));
    }
    paths.sort();
    paths.iter().map(|path| File::read(path, columns)).collect()
}

/// Returns what was counted in each crate, and in each other folder at the top.
fn by_folder(root: &Path, files: &[File]) -> BTreeMap<String, Counts> {
    let mut found: BTreeMap<String, Counts> = BTreeMap::new();
    for file in files {
        let inside = file.path.strip_prefix(root).unwrap_or(&file.path);
        let mut parts = inside.parent().into_iter().flat_map(Path::components);
        let first = parts
            .next()
            .map(|part| part.as_os_str().to_string_lossy().into_owned());
        let folder = match first.as_deref() {
            Some("crates") => inside
                .components()
                .take(2)
                .collect::<PathBuf>()
                .display()
                .to_string(),
            Some(other) => other.to_owned(),
            None => ".".to_owned(),
        };
        found.entry(folder).or_default().add(file.counts());
    }
    found
}

/// Reads the width that `rustfmt.toml` sets.
fn columns(root: &Path) -> Result<usize, String> {
    let path = root.join("rustfmt.toml");
    let text = source::text(&path)?;
    let width = text.lines().find_map(|line| line.strip_prefix("max_width"));
    width
        .and_then(|rest| rest.trim_start_matches([' ', '=']).trim().parse().ok())
        .ok_or_else(|| format!("{} sets no max_width", path.display()))
}

/// Returns the comment lines that are longer than `columns` and could be broken.
fn long_lines(source: &Source, columns: usize) -> Vec<usize> {
    let long = |number: &usize| {
        let comment = source::without_slashes(&source.comments[*number]);
        let whole = comment.starts_with('|') || comment.contains("](") || comment.contains("://");
        let definition = comment.starts_with('[') && comment.contains("]: ");
        let length = source.lines[*number].chars().count();
        length > columns && !comment.is_empty() && !whole && !definition
    };
    (0..source.lines.len()).filter(long).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_that_could_be_broken_is_not_long() {
        let long = "word ".repeat(20);
        let lines = |text: &str| long_lines(&Source::new(Path::new("x.rs"), text), 100);
        assert_eq!(lines(&format!("// {long}")), [0]);
        assert_eq!(
            lines(&format!("fn f() {{}}\n/// {long}\n/* x\n{long}x */")),
            [1, 3]
        );
        assert_eq!(lines(&format!("f(); // {long}")), [0]);
        for free in [
            format!("/// | {long} |"),
            format!("/// [{long}](x.md)"),
            format!("/// <https://{long}>"),
            format!("/// [name]: {long}"),
            format!("let a = \"{long}{long}\";"),
            format!("// {}", "ä".repeat(97)),
        ] {
            assert!(lines(&free).is_empty(), "{free}");
        }
    }

    #[test]
    fn a_crate_above_the_rates_is_named() {
        let said = |sentences, who, nobody| {
            let mut report = Report::default();
            let counts = Counts {
                sentences,
                who,
                nobody,
                ..Counts::default()
            };
            rates(Path::new("crates/x"), counts, &mut report);
            report.0.len()
        };
        assert_eq!(said(1000, 2, 5), 0);
        assert_eq!(said(1000, 3, 5), 1);
        assert_eq!(said(1000, 3, 6), 2);
        assert_eq!(said(100, 1, 1), 0, "a small crate may have one");
        assert_eq!(said(100, 2, 2), 2);
    }

    #[test]
    fn a_file_that_begins_a_sentence_with_who_is_named() {
        let root = crate::run::root().join("target/xtask-tests/prose");
        let source = root.join("crates/x/src/lib.rs");
        std::fs::create_dir_all(source.parent().unwrap()).unwrap();
        std::fs::write(root.join("rustfmt.toml"), "max_width = 100\n").unwrap();
        std::fs::write(
            &source,
            "//! A queue.\n\n/// Queues it. Who takes it\n/// runs it.\nfn f() {}\n",
        )
        .unwrap();
        let mut report = Report::default();
        check(&root, &mut report).unwrap();
        let said: Vec<String> = report
            .0
            .iter()
            .map(|complaint| complaint.text.clone())
            .collect();
        assert_eq!(said, ["the subject is no noun: Who takes it runs it."]);
        assert_eq!(report.0[0].line, 3);
    }
}
