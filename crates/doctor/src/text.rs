//! The outline drawn in text.

use crate::outline::{Kind, Part};
use std::fmt::Write;

/// From how many equal neighbours on only the first is shown with its parts: many on a machine that
/// fits a page, few on one that does not.
const MANY: (usize, usize) = (9, 3);

/// A machine of more CPUs does not fit a page.
const PAGE: usize = 64;

/// Returns the lines of the parts of `whole`, each with its branch.
pub(crate) fn tree(whole: &Part) -> String {
    let mut out = String::new();
    let many = if whole.cpus.len() > PAGE {
        MANY.1
    } else {
        MANY.0
    };
    branches(whole, many, "", &mut out);
    out
}

fn branches(part: &Part, many: usize, indent: &str, out: &mut String) {
    let groups: Vec<&[Part]> = part.parts.chunk_by(|a, b| a.shape() == b.shape()).collect();
    let lines: Vec<(String, Option<&Part>)> =
        groups.iter().flat_map(|group| lines(group, many)).collect();
    let last = lines.len();
    for (index, (line, part)) in lines.into_iter().enumerate() {
        let (branch, below) = match index + 1 == last {
            true => ("└── ", "    "),
            false => ("├── ", "│   "),
        };
        let _ = writeln!(out, "{indent}{branch}{line}");
        if let Some(part) = part {
            branches(part, many, &format!("{indent}{below}"), out);
        }
    }
}

/// Returns the lines of neighbours of one shape: each its own, or one for all of many.
fn lines(group: &[Part], many: usize) -> Vec<(String, Option<&Part>)> {
    if group.len() < many {
        return group.iter().map(|part| (line(part), Some(part))).collect();
    }
    let first = &group[0];
    let cpus = group
        .iter()
        .fold(first.cpus.clone(), |all, part| &all | &part.cpus);
    let line = format!("{} alike, CPUs {cpus}; the first:", group.len());
    vec![(line, None), (self::line(first), Some(first))]
}

fn line(part: &Part) -> String {
    let cpus = part.cpus.in_words();
    match part.kind {
        Kind::Core if part.titles.len() > 1 => {
            format!(
                "{} ({}): {cpus}",
                part.titles[0],
                part.titles[1..].join(", ")
            )
        }
        _ => format!("{}: {cpus}", part.titles.join(" + ")),
    }
}
