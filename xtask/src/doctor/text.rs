//! The outline drawn in text.

use super::outline::{Kind, Part};
use std::fmt::Write;

/// From how many equal neighbours on only their number is shown.
const MANY: usize = 9;

/// The lines of the parts of `whole`, each with its branch.
pub(super) fn tree(whole: &Part) -> String {
    let mut out = String::new();
    branches(whole, "", &mut out);
    out
}

fn branches(part: &Part, indent: &str, out: &mut String) {
    let groups: Vec<&[Part]> = part.parts.chunk_by(|a, b| a.shape() == b.shape()).collect();
    let lines: Vec<(String, Option<&Part>)> =
        groups.iter().flat_map(|group| lines(group)).collect();
    let last = lines.len();
    for (index, (line, part)) in lines.into_iter().enumerate() {
        let (branch, below) = match index + 1 == last {
            true => ("└── ", "    "),
            false => ("├── ", "│   "),
        };
        let _ = writeln!(out, "{indent}{branch}{line}");
        if let Some(part) = part {
            branches(part, &format!("{indent}{below}"), out);
        }
    }
}

/// The lines of neighbours of one shape: each its own, or one for all of many.
fn lines(group: &[Part]) -> Vec<(String, Option<&Part>)> {
    if group.len() < MANY {
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
    let cpus = match part.cpus.len() {
        0 => "no CPUs".into(),
        1 => format!("CPU {}", part.cpus),
        _ => format!("CPUs {}", part.cpus),
    };
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
