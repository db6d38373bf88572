//! Sentences: the prose of a page or of a source's comments, cut at its full stops, and what to
//! count in each.

use pulldown_cmark::{Event, Tag, TagEnd};

use super::super::{labels, links};
use crate::source::{self, Source};

/// A sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    /// Where it begins, zero-based.
    pub(super) line: usize,
    /// With its code spans and quotations blanked out.
    text: String,
    /// As written.
    written: String,
}

/// What may stand before a "who" that has no noun: before these it begins a noun of its own.
const BEFORE_HEADLESS: [&str; 33] = [
    "and", "are", "as", "ask", "asks", "at", "by", "decide", "decides", "for", "from", "if", "is",
    "know", "knows", "of", "on", "or", "say", "says", "see", "sees", "tell", "tells", "than",
    "that", "to", "told", "was", "were", "when", "whom", "with",
];

/// Words for people where a thread, a worker or a task is meant.
const PEOPLE: [&str; 4] = ["anybody", "everybody", "nobody", "somebody"];

impl Sentence {
    /// Returns true for "Who sleeps is woken.", also behind a label; not for "Who sleeps?".
    pub(super) fn begins_with_who(&self) -> bool {
        let first = words(&self.text).find(|(_, word)| !is_mark(word));
        first.is_some_and(|(_, word)| is_who(word)) && !self.is_question()
    }

    /// Whether a "who" or "whoever" stands for a noun: at the beginning of a sentence or of a
    /// clause, or as what a verb or a preposition is about. A "whoever" always does. "A worker,
    /// who" has its noun.
    pub(super) fn has_headless_who(&self) -> bool {
        let mut before: Option<&str> = None;
        for (at, word) in words(&self.text) {
            let gap = self.text[..at].trim_end().chars().next_back();
            let headless = match gap {
                None | Some(':' | ';' | '(' | '—' | '–') => true,
                _ if word.eq_ignore_ascii_case("whoever") => true,
                _ => before.is_some_and(|word| {
                    is_mark(word) || BEFORE_HEADLESS.contains(&word.to_lowercase().as_str())
                }),
            };
            if is_who(word) && headless {
                return !self.is_question();
            }
            before = Some(word);
        }
        false
    }

    /// Whether it says "nobody", "somebody", "anybody" or "everybody".
    pub(super) fn has_nobody(&self) -> bool {
        words(&self.text).any(|(_, word)| {
            let word = word.to_lowercase();
            PEOPLE.contains(&word.trim_end_matches("'s").trim_end_matches("’s"))
        })
    }

    /// Returns how many semicolons it has; those between numbered obligations are a list's.
    pub(super) fn semicolons(&self) -> usize {
        if self.text.starts_with("SAFETY: 1.") {
            return 0;
        }
        self.text.matches(';').count()
    }

    fn is_question(&self) -> bool {
        self.text.ends_with('?')
    }

    /// Returns the rules that it meets, a letter each, as they are printed.
    pub(super) fn kinds(&self) -> String {
        let kinds = [
            (self.begins_with_who() || self.has_headless_who(), "who"),
            (self.has_nobody(), "nobody"),
            (self.semicolons() > 1, ";"),
        ];
        let met: Vec<&str> = kinds
            .iter()
            .filter(|(met, _)| *met)
            .map(|(_, kind)| *kind)
            .collect();
        met.join(" ")
    }

    pub(super) fn shown(&self) -> String {
        self.written
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Returns the words of `text`, each with where it begins.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '\'' | '’' | '-'))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr().addr() - text.as_ptr().addr(), word))
}

/// Returns true for what stands before a sentence and is no part of it: a label, or what kind of
/// comment it is.
fn is_mark(word: &str) -> bool {
    labels::label(word).is_some() || matches!(word, "Ordering" | "SAFETY")
}

fn is_who(word: &str) -> bool {
    word.eq_ignore_ascii_case("who") || word.eq_ignore_ascii_case("whoever")
}

/// Returns the sentences of a Markdown page.
pub(super) fn of_page(text: &str) -> Vec<Sentence> {
    of_markdown(text, &|line| line)
}

/// Returns the sentences of a source's comments: each run of comment lines is a page of its own.
pub(super) fn of_source(source: &Source) -> Vec<Sentence> {
    let mut found = Vec::new();
    let mut block = String::new();
    let mut lines: Vec<usize> = Vec::new();
    for (number, comment) in source.comments.iter().enumerate() {
        // A comment behind code begins a block, and the line after it another.
        let behind_code = !source.code[number].trim().is_empty();
        if comment.is_empty() || behind_code {
            found.extend(of_markdown(&block, &|line| lines[line]));
            block.clear();
            lines.clear();
        }
        if !comment.is_empty() {
            block.push_str(indented(comment));
            block.push('\n');
            lines.push(number);
        }
        if behind_code {
            found.extend(of_markdown(&block, &|line| lines[line]));
            block.clear();
            lines.clear();
        }
    }
    found.extend(of_markdown(&block, &|line| lines[line]));
    found
}

/// Returns what a comment line says, its indentation kept: Markdown needs it.
fn indented(comment: &str) -> &str {
    let text = source::without_slashes(comment);
    let comment = comment.trim_end();
    let Some(at) = comment.rfind(text).filter(|at| *at > 0 && !text.is_empty()) else {
        return text;
    };
    let indent = comment[..at].len() - comment[..at].trim_end().len();
    &comment[at - indent.saturating_sub(1).min(indent)..]
}

/// Returns the sentences of `text`; `line` says where a line of it stands in the file.
fn of_markdown(text: &str, line: &dyn Fn(usize) -> usize) -> Vec<Sentence> {
    let mut found = Vec::new();
    let mut prose = Prose::default();
    // Headings, tables and code are no prose.
    let mut outside = 0_usize;
    for (event, span) in links::events(text) {
        let at = || line(text[..span.start].matches('\n').count());
        match event {
            Event::Start(
                Tag::Heading { .. } | Tag::Table(_) | Tag::CodeBlock(_) | Tag::HtmlBlock,
            ) => {
                prose.end(&mut found);
                outside += 1;
            }
            Event::End(
                TagEnd::Heading(_) | TagEnd::Table | TagEnd::CodeBlock | TagEnd::HtmlBlock,
            ) => outside -= 1,
            Event::Start(Tag::Paragraph | Tag::Item | Tag::List(_) | Tag::BlockQuote(_))
            | Event::End(
                TagEnd::Paragraph | TagEnd::Item | TagEnd::List(_) | TagEnd::BlockQuote(_),
            ) => prose.end(&mut found),
            _ if outside > 0 => {}
            Event::Text(words) => prose.add(&words, false, at()),
            Event::Code(words) => prose.add(&format!("`{words}`"), true, at()),
            Event::SoftBreak | Event::HardBreak => prose.add(" ", false, at()),
            _ => {}
        }
    }
    prose.end(&mut found);
    found
}

/// A paragraph as it grows: its text, and in which line each piece began.
#[derive(Debug, Default)]
struct Prose {
    text: String,
    /// The same, each byte of a code span's inside replaced by an `x`.
    blanked: String,
    pieces: Vec<(usize, usize)>,
}

impl Prose {
    fn add(&mut self, text: &str, is_code: bool, line: usize) {
        self.pieces.push((self.text.len(), line));
        self.text.push_str(text);
        if is_code {
            self.blanked
                .push_str(&format!("`{}`", "x".repeat(text.len() - 2)));
        } else {
            self.blanked.push_str(text);
        }
    }

    /// Cuts the paragraph into sentences, and begins the next.
    fn end(&mut self, found: &mut Vec<Sentence>) {
        let mut start = 0;
        for end in ends(&self.blanked) {
            let text = &self.blanked[start..end];
            let begins = start + text.len() - text.trim_start().len();
            let piece = self.pieces.iter().rev().find(|(at, _)| *at <= begins);
            // One word is a label or a name.
            if let Some((_, line)) = piece.filter(|_| text.split_whitespace().nth(1).is_some()) {
                found.push(Sentence {
                    line: *line,
                    text: without_quotations(text.trim()),
                    written: self.text[start..end].trim().to_owned(),
                });
            }
            start = end;
        }
        *self = Self::default();
    }
}

/// Returns `text` with the insides of its quotations replaced: what it cites is not what it says.
fn without_quotations(text: &str) -> String {
    let parts: Vec<&str> = text.split('"').collect();
    if parts.len().is_multiple_of(2) {
        return text.to_owned();
    }
    let blanked = parts.iter().enumerate().map(|(at, part)| match at % 2 {
        1 => "x".repeat(part.len()),
        _ => (*part).to_owned(),
    });
    blanked.collect::<Vec<_>>().join("\"")
}

/// Returns where the sentences of `text` end: behind a full stop that a capital, a quotation or
/// code follows.
fn ends(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, stop) in text.match_indices(['.', '!', '?']) {
        let closed = text[at + stop.len()..].trim_start_matches([')', '"', '”', '\'']);
        let end = text.len() - closed.len();
        let next = closed.trim_start();
        let spaced = next.len() < closed.len();
        let opens = next
            .chars()
            .next()
            .is_some_and(|c| c.is_uppercase() || matches!(c, '`' | '"' | '“' | '(' | '['));
        if spaced && opens && !is_abbreviated(&text[..=at]) {
            found.push(end);
        }
    }
    found.push(text.len());
    found
}

/// Whether the full stop at the end of `text` belongs to an abbreviation.
fn is_abbreviated(text: &str) -> bool {
    ["e.g.", "i.e.", "cf.", "vs.", "pp.", "no."]
        .iter()
        .any(|short| {
            let at = text.len().checked_sub(short.len());
            at.is_some_and(|at| {
                text.is_char_boundary(at)
                    && text[at..].eq_ignore_ascii_case(short)
                    && !text[..at].ends_with(char::is_alphanumeric)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(text: &str) -> Vec<Sentence> {
        of_source(&Source::new(std::path::Path::new("x.rs"), text))
    }

    fn sentence(text: &str) -> Sentence {
        Sentence {
            line: 0,
            text: text.to_owned(),
            written: text.to_owned(),
        }
    }

    #[test]
    fn a_headless_who_is_told_from_one_with_its_noun() {
        for headless in [
            "Who sleeps is woken.",
            "Whoever brings it to zero looks.",
            "The seat is left to who comes next.",
            "Written on offer: who is never offered pays nothing.",
            "It wakes whoever sleeps.",
            "It is woken by whoever pushes.",
            "The word tells who sleeps.",
            "If it is full, whoever pushes waits.",
            "(who knows)",
        ] {
            assert!(sentence(headless).has_headless_who(), "{headless}");
        }
        for fine in [
            "The thread who waits is woken.",
            "The caller, who waits, is woken.",
            "Which thread sleeps?",
            "Who sleeps?",
            "The whole is whom it may concern.",
        ] {
            assert!(!sentence(fine).has_headless_who(), "{fine}");
        }
        assert!(sentence("Whoever sleeps is woken.").begins_with_who());
        assert!(sentence("T4 Who runs a task is not named.").begins_with_who());
        assert!(sentence("SAFETY: whoever calls it has it.").begins_with_who());
        assert!(!sentence("Who sleeps?").begins_with_who());
        assert!(!sentence("Whole words count.").begins_with_who());
    }

    #[test]
    fn people_and_semicolons_are_counted() {
        assert!(sentence("Nobody sleeps.").has_nobody());
        assert!(sentence("It is somebody's turn.").has_nobody());
        assert!(!sentence("No worker sleeps.").has_nobody());
        assert_eq!(sentence("a; b; c").semicolons(), 2);
        assert_eq!(
            sentence("SAFETY: 1. it is ours; 2. b; 3. c.").semicolons(),
            0
        );
    }

    #[test]
    fn sentences_go_over_lines_and_end_at_full_stops() {
        let found = of_text(
            "//! A queue. It holds\n//! items, e.g. Tasks (see `Ring`. It is\n//! bounded).\n\nfn f() \
             {} // Ends here. Or not.\n// Another block.\n",
        );
        let texts: Vec<(usize, &str)> =
            found.iter().map(|s| (s.line, s.written.as_str())).collect();
        assert_eq!(
            texts,
            [
                (0, "A queue."),
                (0, "It holds items, e.g. Tasks (see `Ring`."),
                (1, "It is bounded)."),
                (4, "Ends here."),
                (4, "Or not."),
                (5, "Another block."),
            ]
        );
    }

    #[test]
    fn headings_tables_code_and_single_words_are_no_sentences() {
        let found = of_page(
            "# Who wins here\n\n| Who | what |\n|---|---|\n| who sleeps | is woken |\n\n```\nWho is \
             code here\n```\n\n- Item one\n- **Who** runs; who\n  sleeps.\n\nWord\n\n<b>Who is \
             html</b>\n",
        );
        let texts: Vec<(usize, &str)> =
            found.iter().map(|s| (s.line, s.written.as_str())).collect();
        assert_eq!(
            texts[..2],
            [(10, "Item one"), (11, "Who runs; who sleeps.")]
        );
    }

    #[test]
    fn quotations_do_not_count() {
        let found = of_page("It says \"who; nobody; x\" and `who; y`. Who says \"a\"\n");
        assert_eq!(found[0].kinds(), "");
        assert_eq!(found[1].kinds(), "who");
        assert_eq!(found[0].shown(), "It says \"who; nobody; x\" and `who; y`.");
    }

    #[test]
    fn code_in_documentation_is_no_prose() {
        let found = of_text("/// Runs it.\n///\n/// ```\n/// // Who runs\n/// ```\nfn f() {}\n");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
