//! The link rule: what a page points at exists, down to the heading.

use std::path::{Path, PathBuf};

use super::Report;
use crate::source;

/// Follows every relative link of every Markdown page in the workspace.
pub(super) fn check(root: &Path, report: &mut Report) -> Result<(), String> {
    for page in source::files(root, "md") {
        let text = read(&page)?;
        for (line, target) in links(&text) {
            if let Some(wrong) = broken(&page, &text, &target)? {
                report.add("link", &page, line + 1, wrong);
            }
        }
    }
    Ok(())
}

/// What is wrong with `target` as written in `page`, if anything.
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
        read(&path)?
    };
    let found = there
        .lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| slug(line) == heading);
    Ok((!found).then(|| format!("`{target}`: there is no such heading")))
}

fn resolve(page: &Path, file: &str) -> PathBuf {
    page.parent().unwrap_or(Path::new(".")).join(file)
}

/// Inline links `[text](target)` and reference definitions `[name]: target`, code blocks left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let prose = without_code(line);
        for (at, _) in prose.match_indices("](") {
            if let Some(end) = prose[at + 2..].find(')') {
                found.push((number, prose[at + 2..at + 2 + end].to_owned()));
            }
        }
        if let Some((_, target)) = prose.split_once("]: ").filter(|_| prose.starts_with('[')) {
            found.push((number, target.trim().to_owned()));
        }
    }
    found
}

/// `line` without its inline code spans.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// A heading's anchor, as the common renderers make it.
fn slug(heading: &str) -> String {
    heading
        .trim_start_matches('#')
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

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_code() {
        let text = "[a](b.md) and `[x](y)`\n```\n[c](d.md)\n```\n[ref]: e.md#part\n";
        let targets: Vec<String> = links(text).into_iter().map(|(_, target)| target).collect();
        assert_eq!(targets, ["b.md", "e.md#part"]);
    }

    #[test]
    fn a_heading_becomes_its_anchor() {
        assert_eq!(slug("## When to use which?"), "when-to-use-which");
        assert_eq!(slug("# `Ring`: how it works"), "ring-how-it-works");
    }

    #[test]
    fn a_dead_link_is_seen() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
        assert!(broken(&page, "", "docs/no-such-page.md").unwrap().is_some());
        assert!(broken(&page, "# There", "#here").unwrap().is_some());
        assert!(broken(&page, "# There", "#there").unwrap().is_none());
    }
}
