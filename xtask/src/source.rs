//! Reading Rust source as text: enough of it to find atomic operations and the comments above them.
//!
//! A full parser would be a heavy dependency for rules about comments, which parsers drop. This one
//! knows lines, comments and string literals; the house style (orderings written in full, one
//! operation per statement, tests at the end of a file) makes that sufficient.

use std::path::{Path, PathBuf};

/// One source file, split into lines, with code and comment told apart.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) lines: Vec<String>,
    /// The lines with comments and the insides of string literals blanked, same columns.
    pub(crate) code: Vec<String>,
    /// The first line of `#[cfg(test)] mod …`, or the number of lines.
    pub(crate) tests_from: usize,
}

/// A use of a memory ordering (or of an asymmetric fence) in code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// Zero-based.
    pub(crate) line: usize,
    /// Byte column of the token.
    pub(crate) column: usize,
    /// `Relaxed`, `Acquire`, …, or `light` and `heavy`.
    pub(crate) token: String,
    /// The function it is an argument of: `load`, `store`, `fence`, `compare_exchange`, …
    pub(crate) operation: String,
}

impl Source {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Ok(Self::new(path, &text))
    }

    pub(crate) fn new(path: &Path, text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let code = blank(text);
        let tests_from = code
            .windows(2)
            .position(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].trim().starts_with("mod "))
            .unwrap_or(lines.len());
        Self {
            path: path.to_path_buf(),
            lines,
            code,
            tests_from,
        }
    }

    /// Every ordering in shipped code, in order.
    pub(crate) fn sites(&self) -> Vec<Site> {
        let mut sites = Vec::new();
        for (line, code) in self.code.iter().enumerate().take(self.tests_from) {
            for (marker, names) in [
                (
                    "Ordering::",
                    ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"].as_slice(),
                ),
                ("asymmetric::", ["light", "heavy"].as_slice()),
            ] {
                for (at, _) in code.match_indices(marker) {
                    let column = at + marker.len();
                    let Some(token) = names.iter().find(|name| is_word(code, column, name)) else {
                        continue;
                    };
                    let operation = match *token {
                        "light" | "heavy" if !code[column..].contains("()") => continue,
                        "light" | "heavy" => (*token).to_owned(),
                        _ => self.operation(line, at).unwrap_or_default(),
                    };
                    sites.push(Site {
                        line,
                        column,
                        token: (*token).to_owned(),
                        operation,
                    });
                }
            }
        }
        sites.sort_by_key(|site| (site.line, site.column));
        sites
    }

    /// The name of the innermost call that the text at `line`, `column` is an argument of.
    fn operation(&self, line: usize, column: usize) -> Option<String> {
        let mut depth = 0;
        for current in (line.saturating_sub(12)..=line).rev() {
            let code = &self.code[current];
            let upto = if current == line { column } else { code.len() };
            for (at, character) in code[..upto].char_indices().rev() {
                match character {
                    ')' | '}' | ']' => depth += 1,
                    '(' | '{' | '[' if depth > 0 => depth -= 1,
                    '(' => {
                        let before = &code[..at];
                        let start = before
                            .rfind(|c: char| !c.is_alphanumeric() && c != '_')
                            .map_or(0, |found| found + 1);
                        return Some(before[start..].to_owned());
                    }
                    '{' | '[' => return None,
                    _ => {}
                }
            }
        }
        None
    }

    /// The comment that explains the ordering at `line`: the nearest comment block that contains
    /// `Ordering:`, above it in the same function, at most a dozen lines up, or at the line's end.
    pub(crate) fn ordering_comment(&self, line: usize) -> Option<String> {
        let lowest = line.saturating_sub(14);
        for current in (lowest..=line).rev() {
            let comment = comment_of(&self.lines[current], &self.code[current]);
            if let Some(at) = comment.find("Ordering:") {
                return Some(self.comment_block(current, comment[at..].trim()));
            }
            let code = self.code[current].trim();
            let starts_function = code.contains("fn ") && code.ends_with('{');
            if current != line && starts_function {
                return None;
            }
        }
        None
    }

    /// `first` and the comment lines under it, as one line of text.
    fn comment_block(&self, start: usize, first: &str) -> String {
        let mut text = first.to_owned();
        for line in start + 1..self.lines.len() {
            let whole = self.lines[line].trim();
            if !whole.starts_with("//") || whole.contains("SAFETY:") {
                break;
            }
            text.push(' ');
            text.push_str(whole.trim_start_matches('/').trim());
        }
        text
    }
}

/// Every file with the ending `extension` under `folder`, sorted; `target` and hidden folders left out.
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

fn is_word(code: &str, column: usize, word: &str) -> bool {
    code[column..].starts_with(word)
        && !code[column + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// The text of a line's comment, by comparing the line with its blanked code.
fn comment_of<'line>(line: &'line str, code: &str) -> &'line str {
    let end_of_code = code.trim_end().len();
    line.get(end_of_code..)
        .map_or("", |rest| rest.find("//").map_or("", |at| &rest[at..]))
}

/// `text` with comments and the insides of literals replaced by spaces, line by line.
fn blank(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut state = State::Code;
    for line in text.lines() {
        let mut code = String::with_capacity(line.len());
        let mut rest = line.char_indices().peekable();
        if state == State::LineComment {
            state = State::Code;
        }
        while let Some((at, character)) = rest.next() {
            let following = &line[at..];
            let (kept, next) = advance(state, character, following);
            if next != state && matches!((state, next), (State::Code, State::BlockComment)) {
                rest.next();
                code.push(' ');
            }
            if state == State::Text
                && character == '\\'
                && let Some((_, escaped)) = rest.next()
            {
                code.push_str(&" ".repeat(escaped.len_utf8()));
            }
            if state == State::Code
                && character == '\''
                && let Some(length) = character_literal(following)
            {
                code.push_str(&" ".repeat(length));
                while rest.peek().is_some_and(|(next, _)| *next < at + length) {
                    rest.next();
                }
                continue;
            }
            state = next;
            if kept {
                code.push(character);
            } else {
                code.push_str(&" ".repeat(character.len_utf8()));
            }
        }
        lines.push(code);
    }
    lines
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    LineComment,
    BlockComment,
    Text,
}

/// Whether `character` is code, and the state after it. `following` starts with it.
fn advance(state: State, character: char, following: &str) -> (bool, State) {
    match state {
        State::Code if following.starts_with("//") => (false, State::LineComment),
        State::Code if following.starts_with("/*") => (false, State::BlockComment),
        State::Code if character == '"' => (true, State::Text),
        State::Code => (true, State::Code),
        State::LineComment => (false, State::LineComment),
        State::BlockComment if following.starts_with("*/") => (false, State::Code),
        State::BlockComment => (false, State::BlockComment),
        State::Text if character == '"' => (true, State::Code),
        State::Text => (false, State::Text),
    }
}

/// The length of a character literal at the start of `text`, none for a lifetime.
fn character_literal(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        let close = text[2..]
            .char_indices()
            .skip(1)
            .find(|(_, c)| *c == '\'')?
            .0;
        return Some(2 + close + 1);
    }
    let (at, second) = characters.next()?;
    (second == '\'').then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new(Path::new("test.rs"), text)
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let read =
            source("let a = \"// Ordering::Acquire\"; // Ordering::Release\nlet c = '\"';\n");
        assert!(read.sites().is_empty());
        assert_eq!(read.code[1].trim(), "let c =    ;");
    }

    #[test]
    fn an_operation_is_found_across_lines() {
        let read = source(
            "fn f() {\n    let x = self.word.compare_exchange(\n        a.get(1),\n        b,\n        \
             Ordering::AcqRel,\n        Ordering::Relaxed,\n    );\n    fence(Ordering::SeqCst);\n    \
             asymmetric::light();\n}\n",
        );
        let found: Vec<(String, String)> = read
            .sites()
            .into_iter()
            .map(|site| (site.operation, site.token))
            .collect();
        let expected = [
            ("compare_exchange", "AcqRel"),
            ("compare_exchange", "Relaxed"),
            ("fence", "SeqCst"),
            ("light", "light"),
        ];
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn the_comment_above_is_found_and_joined() {
        let read = source(
            "fn f() {\n    // Ordering: Release (O1); the slot\n    // is published.\n    \
             a.store(1, Ordering::Release);\n}\nfn g() {\n    a.store(1, Ordering::Release);\n}\n",
        );
        assert_eq!(
            read.ordering_comment(3).as_deref(),
            Some("Ordering: Release (O1); the slot is published.")
        );
        assert_eq!(read.ordering_comment(6), None);
    }

    #[test]
    fn tests_at_the_end_do_not_count() {
        let read = source(
            "a.load(Ordering::Relaxed);\n#[cfg(test)]\nmod tests {\n    \
                           a.load(Ordering::Relaxed);\n}\n",
        );
        assert_eq!(read.sites().len(), 1);
    }
}
