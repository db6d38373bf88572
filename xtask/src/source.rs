//! Reading Rust source: its code and comments told apart, the paths it names, and its atomic
//! operations with the comments above them.
//!
//! The rules of this workspace are about comments, which parsers drop, and hold inside macros,
//! which parsers leave as they are. So this reads tokens, from rustc's own lexer. `tidy`, `weaken`
//! and `orderings` see a file through this module alone, and therefore see the same.

mod cfgs;
mod lexer;
mod paths;
mod sites;

use std::ops::Range;
use std::path::{Path, PathBuf};

pub(crate) use cfgs::{Cfg, Form};
pub(crate) use lexer::Kind;
use lexer::Token;
pub(crate) use paths::{Mention, Names, Role};
pub(crate) use sites::Site;

/// One source file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) lines: Vec<String>,
    /// The lines with comments and the insides of string literals blanked, same columns.
    pub(crate) code: Vec<String>,
    /// The comments of each line, slashes included.
    pub(crate) comments: Vec<String>,
    /// Every path that the file names, in order.
    pub(crate) mentions: Vec<Mention>,
    /// What the names that the file imports stand for.
    pub(crate) names: Names,
    text: String,
    tokens: Vec<Token>,
    /// Where each line begins, in bytes.
    starts: Vec<usize>,
    /// The tokens of test code: items under `#[cfg(test)]`.
    tests: Vec<Range<usize>>,
    /// The lines of each function's body, from its opening brace.
    bodies: Vec<Range<usize>>,
}

impl Source {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = text(path)?;
        Ok(Self::new(path, &text))
    }

    pub(crate) fn new(path: &Path, text: &str) -> Self {
        let lexed = lexer::lex(text);
        let blanked = [lexed.comments.clone(), lexed.quoted].concat();
        let mut source = Self {
            path: path.to_path_buf(),
            lines: text.lines().map(str::to_owned).collect(),
            code: keep(text, &blanked, false),
            comments: keep(text, &lexed.comments, true),
            text: text.to_owned(),
            tokens: lexed.tokens,
            starts: std::iter::once(0)
                .chain(text.match_indices('\n').map(|(at, _)| at + 1))
                .collect(),
            ..Self::default()
        };
        source.tests = source.find_tests();
        source.bodies = source.find_bodies();
        source.mentions = paths::mentions(&source);
        source.names = Names::new(&source);
        source
    }

    /// Returns every ordering in shipped code, in order.
    pub(crate) fn sites(&self) -> Vec<Site> {
        sites::all(self)
    }

    /// Returns every predicate of conditional compilation, in order.
    pub(crate) fn cfgs(&self) -> Vec<Cfg> {
        cfgs::all(self)
    }

    /// Whether the token at `at` is test code.
    pub(crate) fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|tokens| tokens.contains(&at))
    }

    /// Whether the zero-based `line` lies within test code.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        let lies = |tokens: &Range<usize>| {
            let (first, last) = (self.line_of(tokens.start), self.line_of(tokens.end - 1));
            (first..=last).contains(&line)
        };
        self.tests.iter().any(lies)
    }

    /// Returns how many tokens there are.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Returns the token at `at`, if it is a word; `r#type` is the word `type`.
    pub(crate) fn word(&self, at: usize) -> Option<&str> {
        let token = self
            .tokens
            .get(at)
            .filter(|token| token.kind == Kind::Word)?;
        let word = &self.text[token.at.clone()];
        Some(word.strip_prefix("r#").unwrap_or(word))
    }

    pub(crate) fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    pub(crate) fn is_sign(&self, at: usize, sign: char) -> bool {
        self.kind(at) == Some(Kind::Sign(sign))
    }

    /// Whether `::` begins at `at`.
    pub(crate) fn is_colons(&self, at: usize) -> bool {
        self.is_sign(at, ':') && self.is_sign(at + 1, ':')
    }

    /// Returns the token at `at` as written, if it is a literal.
    pub(crate) fn literal(&self, at: usize) -> Option<&str> {
        let token = self.tokens.get(at)?;
        (token.kind == Kind::Literal).then(|| &self.text[token.at.clone()])
    }

    /// Returns the zero-based line of a token.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        self.position(at).0
    }

    /// Returns the zero-based line and byte column of a token.
    fn position(&self, at: usize) -> (usize, usize) {
        let byte = self.tokens.get(at).map_or(0, |token| token.at.start);
        let line = self.starts.partition_point(|start| *start <= byte) - 1;
        (line, byte - self.starts[line])
    }

    /// Returns the nearest bracket that is open at the token `at`.
    pub(crate) fn opener(&self, at: usize) -> Option<usize> {
        let mut before = at;
        while before > 0 {
            before -= 1;
            match self.tokens[before].kind {
                Kind::Open(..) => return Some(before),
                Kind::Close(_, opener) => before = opener,
                _ => {}
            }
        }
        None
    }

    /// Returns the tokens between the brackets at `opener`, split at the commas.
    fn arguments(&self, opener: usize) -> impl Iterator<Item = Range<usize>> {
        let Some(Kind::Open(_, closer)) = self.kind(opener) else {
            return Vec::new().into_iter();
        };
        let mut found = Vec::new();
        let (mut start, mut at) = (opener + 1, opener + 1);
        while at < closer {
            at = match self.tokens[at].kind {
                Kind::Open(_, inner) if inner > at => inner + 1,
                Kind::Sign(',') => {
                    found.push(start..at);
                    start = at + 1;
                    at + 1
                }
                _ => at + 1,
            };
        }
        found.push(start..closer);
        found.retain(|range| !range.is_empty());
        found.into_iter()
    }

    /// Returns the byte columns of the call of `callee` whose arguments open at `opener`, if on one
    /// line.
    fn call(&self, callee: &Mention, opener: usize) -> Option<Range<usize>> {
        let Some(Kind::Open(_, closer)) = self.kind(opener) else {
            return None;
        };
        // `::path()` begins with its colons.
        let rooted = callee.first >= 2 && self.is_colons(callee.first - 2);
        let (line, start) = self.position(callee.first - if rooted { 2 } else { 0 });
        let (last, end) = self.position(closer);
        (line == last).then_some(start..end + 1)
    }

    fn find_tests(&self) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for cfg in self.cfgs() {
            if !cfgs::needs_test(self, cfg.predicate.clone()) {
                continue;
            }
            match cfg.form {
                Form::Inner if self.opener(cfg.first).is_none() => found.push(0..self.tokens.len()),
                Form::Outer if self.word(cfg.predicate.start - 2) == Some("cfg") => {
                    found.push(cfg.first..cfgs::end_of_item(self, cfg.first) + 1);
                }
                _ => {}
            }
        }
        found
    }

    fn find_bodies(&self) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            if self.word(at) != Some("fn") || self.word(at + 1).is_none() {
                continue;
            }
            let mut next = at + 2;
            loop {
                match self.kind(next) {
                    Some(Kind::Open('{', closer)) => {
                        found.push(self.line_of(next)..self.line_of(closer) + 1);
                        break;
                    }
                    Some(Kind::Open(_, closer)) => next = closer + 1,
                    None | Some(Kind::Sign(';') | Kind::Close(..)) => break,
                    Some(_) => next += 1,
                }
            }
        }
        found
    }

    /// Returns the comment that explains `site`: the nearest comment block that contains
    /// `Ordering:`, above the statement in the same function, at most a dozen lines up, or at the
    /// line's end. A comment explains one statement, the next, or the next two if it says "on
    /// both".
    pub(crate) fn ordering_comment(&self, site: &Site) -> Option<String> {
        let line = site.line;
        let around = self.bodies.iter().filter(|body| body.contains(&line));
        let body = around.map(|body| body.start).max().unwrap_or(0);
        let lowest = line.saturating_sub(14).max(body);
        let (current, at) = (lowest..=line).rev().find_map(|current| {
            let at = self.comments[current].find("Ordering:")?;
            Some((current, at))
        })?;
        let between = (0..site.at)
            .rev()
            .take_while(|at| self.line_of(*at) > current);
        let ends = between.filter(|at| self.is_sign(*at, ';') && !self.is_in_array(*at));
        let comment = self.comment_block(current, self.comments[current][at..].trim());
        // The word alone is no reason.
        comment.split_whitespace().nth(2)?;
        let statements = 1 + usize::from(comment.contains("on both"));
        (ends.count() < statements).then_some(comment)
    }

    /// Returns true for the semicolon of `[0; 16]`.
    fn is_in_array(&self, at: usize) -> bool {
        let opener = self.opener(at).and_then(|opener| self.kind(opener));
        matches!(opener, Some(Kind::Open('[', _)))
    }

    /// Returns `first` and the comment lines under it, as one line of text.
    fn comment_block(&self, start: usize, first: &str) -> String {
        let mut text = first.to_owned();
        for line in start + 1..self.lines.len() {
            let whole = self.lines[line].trim();
            if !whole.starts_with("//") || whole.contains("SAFETY:") {
                break;
            }
            text.push(' ');
            text.push_str(without_slashes(whole));
        }
        text
    }
}

/// Returns what a line of a comment says, without what makes it a comment.
pub(crate) fn without_slashes(comment: &str) -> &str {
    let comment = comment.trim();
    let text = match comment.strip_prefix("//") {
        Some(rest) => rest.trim_start_matches('/'),
        None => comment.trim_start_matches("/*").trim_end_matches("*/"),
    };
    text.strip_prefix('!').unwrap_or(text).trim()
}

/// Returns the lines of `text` with the `ranges` blanked out; with `only`, all but the ranges left
/// out.
fn keep(text: &str, ranges: &[Range<usize>], only: bool) -> Vec<String> {
    let mut marked = vec![false; text.len()];
    for range in ranges {
        marked[range.clone()].fill(true);
    }
    let mut lines = vec![String::new()];
    for (at, character) in text.char_indices() {
        let line = lines.last_mut().expect("there is a line at all times");
        match (character, marked[at] == only) {
            ('\n', _) => lines.push(String::new()),
            ('\r', _) => {}
            (_, true) => line.push(character),
            (_, false) if only => {}
            (_, false) => line.push_str(&" ".repeat(character.len_utf8())),
        }
    }
    lines.truncate(text.lines().count());
    lines
}

/// Reads the file at `path`.
pub(crate) fn text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Finds every file with the ending `extension` under `folder`, sorted; `target` and hidden
/// folders left out.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if name != "target" && !name.to_string_lossy().starts_with('.') {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|ending| ending == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new(Path::new("test.rs"), text)
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let read = source("let a = \"// b\"; // c\nlet d = '\"'; /* e\nf */ g();\n");
        assert_eq!(
            read.code,
            ["let a = \"    \";     ", "let d =    ;     ", "     g();"]
        );
        assert_eq!(read.comments, ["// c", "/* e", "f */"]);
    }

    #[test]
    fn the_comment_above_is_found_and_joined() {
        let read = source(
            "fn f() {\n    // Ordering: Release (O1); the slot\n    // is published.\n    \
             a.store(1, Ordering::Release);\n}\nfn g(\n    b: u8,\n) {\n    \
             a.store(1, Ordering::Release);\n}\n",
        );
        assert_eq!(
            read.ordering_comment(&read.sites()[0]).as_deref(),
            Some("Ordering: Release (O1); the slot is published.")
        );
        let other = read.ordering_comment(&read.sites()[1]);
        assert_eq!(other, None, "that is another function's");
    }

    #[test]
    fn a_comment_explains_one_statement() {
        let read = source(
            "fn f() {\n    // Ordering: Acquire, as said.\n    let x = [0; 2].map(|b| a.load(Ordering::Acquire));\n    \
             a.load(Ordering::Acquire);\n    b.load(Ordering::Acquire); // Ordering: why not.\n    \
             // Ordering: the same on both.\n    a.load(Ordering::Acquire);\n    \
             b.load(Ordering::Acquire);\n    c.load(Ordering::Acquire);\n}\n",
        );
        let sites = read.sites();
        let explained = sites
            .iter()
            .map(|site| read.ordering_comment(site).is_some());
        assert_eq!(
            explained.collect::<Vec<_>>(),
            [true, false, true, true, true, false]
        );
    }

    #[test]
    fn test_code_is_told_apart_item_by_item() {
        let read = source(
            "fn a() {}\n#[cfg(test)]\nuse b::{c,\n    d};\nfn e() {}\n#[cfg(all(test, f))]\n\
             #[allow(g)]\nmod h {\n}\nfn i() {}\n#[cfg_attr(test, j)]\nfn k() {}\n",
        );
        let tests: Vec<usize> = (0..read.lines.len())
            .filter(|line| read.is_test_line(*line))
            .collect();
        assert_eq!(tests, [1, 2, 3, 5, 6, 7, 8]);
    }
}
