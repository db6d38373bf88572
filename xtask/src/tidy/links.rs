//! The link rule: what a page points at exists, down to the heading.

use std::ops::Range;
use std::path::{Path, PathBuf};

use pulldown_cmark::{BrokenLink, CowStr, Event, Options, Parser, Tag, TagEnd};

use super::Report;
use crate::source;

/// Follows every relative link of every Markdown page in the workspace.
pub(super) fn check(root: &Path, report: &mut Report) -> Result<(), String> {
    for page in source::files(root, "md") {
        let text = source::text(&page)?;
        for (at, target) in links(&text) {
            if let Some(wrong) = broken(&page, &text, &target)? {
                let line = text[..at].matches('\n').count() + 1;
                report.add("link", &page, line, wrong);
            }
        }
    }
    Ok(())
}

/// Returns what is wrong with `target` as written in `page`, if anything.
fn broken(page: &Path, text: &str, target: &str) -> Result<Option<String>, String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(None);
    }
    let (file, heading) = target
        .split_once('#')
        .map_or((target, None), |(f, h)| (f, Some(h)));
    // In a README that doubles as crate documentation, `Ring` or `self` is a path in the code,
    // which rustdoc checks.
    let code_path = !file.is_empty() && !file.contains(['/', '.']);
    if code_path || file.contains("::") {
        return Ok(None);
    }
    let path = if file.is_empty() {
        page.to_path_buf()
    } else {
        resolve(page, file)
    };
    if !path.exists() {
        return Ok(Some(format!("`{target}` leads nowhere")));
    }
    let Some(heading) = heading.filter(|_| path.extension().is_some_and(|ending| ending == "md"))
    else {
        return Ok(None);
    };
    let there = if file.is_empty() {
        text.to_owned()
    } else {
        source::text(&path)?
    };
    let found = anchors(&there).iter().any(|anchor| anchor == heading);
    Ok((!found).then(|| format!("`{target}`: there is no such heading")))
}

fn resolve(page: &Path, file: &str) -> PathBuf {
    page.parent().unwrap_or(Path::new(".")).join(file)
}

/// Returns the options by which GitHub and docs.rs read pages.
fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH
}

/// Returns the targets of all links and pictures, and of all definitions, whether used or not; each
/// with where it stands, in bytes. `[text][name]` without a definition of `name` is a link to
/// nowhere.
fn links<'text>(text: &'text str) -> Vec<(usize, String)> {
    let mut undefined = Vec::new();
    let note = |link: BrokenLink<'text>| -> Option<(CowStr<'text>, CowStr<'text>)> {
        // A single `[word]` may be a path in the code, or no link at all.
        let whole = &text[link.span.clone()];
        if whole.contains("][") && !whole.ends_with("[]") && !is_code(&link.reference) {
            undefined.push((link.span.start, format!("{}/", link.reference)));
        }
        None
    };
    let parser = Parser::new_with_broken_link_callback(text, options(), Some(note));
    let definitions = parser.reference_definitions().iter();
    let mut found: Vec<(usize, String)> = definitions
        .map(|(_, definition)| (definition.span.start, definition.dest.to_string()))
        .collect();
    for (event, span) in parser.into_offset_iter() {
        if let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event {
            let defined = found.iter().any(|(_, known)| *known == *dest_url);
            if !defined || !text[span.clone()].contains("][") {
                found.push((span.start, dest_url.to_string()));
            }
        }
    }
    found.extend(undefined);
    found.sort();
    found.dedup();
    found
}

/// Returns true for what rustdoc looks up: a path in the code.
fn is_code(reference: &str) -> bool {
    reference.starts_with('`') || reference.contains("::")
}

/// Returns the anchors of a page's headings, as the common renderers make them.
fn anchors(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut heading: Option<String> = None;
    for (event, _span) in events(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let anchor = slug(&heading.take().unwrap_or_default());
                let again = found
                    .iter()
                    .filter(|known| {
                        known.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-') == anchor
                    })
                    .count();
                found.push(match again {
                    0 => anchor,
                    again => format!("{anchor}-{again}"),
                });
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
    }
    found
}

/// Returns what a page is made of, as GitHub and docs.rs see it, each with where it stands in
/// bytes.
pub(super) fn events(text: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    Parser::new_ext(text, options()).into_offset_iter()
}

/// Returns a heading's anchor.
fn slug(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_in_every_form_and_outside_code() {
        let text = "[a](b.md) and `[x](y)` and\n[over\nlines](l.md \"title\") ![p](p.svg)\n\n```\n\
                    [c](d.md)\n```\n\n    [i](j.md)\n\n[named][ref] and [`Ring`] and [x][nowhere] \
                    <https://a.b>\n\n| [t](u.md) |\n|---|\n\n[ref]: e.md#part\n[unused]: f.md\n";
        let targets: Vec<String> = links(text).into_iter().map(|(_, target)| target).collect();
        assert_eq!(
            targets,
            [
                "b.md",
                "l.md",
                "p.svg",
                "nowhere/",
                "https://a.b",
                "u.md",
                "e.md#part",
                "f.md"
            ]
        );
    }

    #[test]
    fn a_heading_becomes_its_anchor() {
        let text = "## When to use which?\n\n# `Ring`: how it works\n\nUnderlined\n==========\n\n\
                    ```\n# no heading\n```\n\n## Again\n\n## Again\n";
        assert_eq!(
            anchors(text),
            [
                "when-to-use-which",
                "ring-how-it-works",
                "underlined",
                "again",
                "again-1"
            ]
        );
    }

    #[test]
    fn a_dead_link_is_seen() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
        assert!(broken(&page, "", "docs/no-such-page.md").unwrap().is_some());
        assert!(broken(&page, "# There", "#here").unwrap().is_some());
        assert!(broken(&page, "# There", "#there").unwrap().is_none());
    }
}
