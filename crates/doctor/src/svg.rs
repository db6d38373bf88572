//! The machine drawn as nested boxes, with the workers on their CPUs.
//!
//! Each part is a box with its titles on top and its parts inside, in rows chosen so that the box
//! comes out about as wide as a page. CPUs are squares; a worker has a colour of its own, also on
//! all the CPUs of its set.

use crate::findings::{Findings, source};
use crate::outline::{Kind, Part, outline};
use std::fmt::Write;

const GAP: f64 = 10.0;
const LINE: f64 = 17.0;
const CPU: f64 = 46.0;
/// About how wide one letter of the titles is.
const LETTER: f64 = 7.3;
/// Width to height, as of a page laid across.
const SHAPE: f64 = 1.7;

/// Colours of workers, told apart by people who see few colours, used in turn.
const COLOURS: [&str; 8] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#7f7f7f",
];

/// A part with its place.
struct Placed<'a> {
    part: &'a Part,
    width: f64,
    height: f64,
    /// Left and top of each inner box, within this one.
    inner: Vec<(f64, f64, Placed<'a>)>,
}

pub(crate) fn draw(findings: &Findings) -> String {
    let machine = &findings.machine;
    let whole = outline(machine);
    let placed = place(&whole);
    let notes = notes(findings);
    let longest = notes
        .iter()
        .map(|note| note.chars().count())
        .max()
        .unwrap_or(0);
    let text_width = longest as f64 * LETTER;
    let width = placed.width.max(text_width) + 2.0 * GAP;
    let height = placed.height + (notes.len() as f64 + 2.0) * LINE + 4.0 * GAP;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"DejaVu Sans, Verdana, sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    );
    let head = format!("Machine: {}", source(machine));
    text(&mut out, GAP, GAP + LINE - 4.0, &head, "bold", "#222222");
    paint(&placed, GAP, 2.0 * GAP + LINE, findings, &mut out);
    let mut y = placed.height + 3.0 * GAP + 2.0 * LINE;
    for note in &notes {
        text(&mut out, GAP, y, note, "normal", "#222222");
        y += LINE;
    }
    out.push_str("</svg>\n");
    out
}

/// Returns what stands under the drawing.
fn notes(findings: &Findings) -> Vec<String> {
    let machine = &findings.machine;
    let mut notes = Vec::new();
    if machine.nodes().len() > 1 {
        for node in machine.nodes().iter().take(16) {
            let row: Vec<String> = node.distances.iter().map(ToString::to_string).collect();
            notes.push(format!(
                "Distances from node {}: {}",
                node.id,
                row.join("  ")
            ));
        }
    }
    if !machine.offline().is_empty() {
        notes.push(format!("Offline: {}", machine.offline().in_words()));
    }
    if let Some(limits) = &findings.limits {
        notes.push(format!(
            "Workers that can run at once: {}",
            limits.available_parallelism()
        ));
    }
    notes.push(match &findings.plan {
        Ok(_) => format!(
            "Placement {} of {} workers",
            findings.placement, findings.workers
        ),
        Err(error) => format!("Placement {}: {error}", findings.placement),
    });
    notes.extend(machine.notes().iter().map(|note| format!("Note: {note}")));
    notes
}

fn place(part: &Part) -> Placed<'_> {
    let titles = part
        .titles
        .iter()
        .map(|title| title.chars().count())
        .max()
        .unwrap_or(0);
    let head = part.titles.len() as f64 * LINE;
    let least = titles as f64 * LETTER + 2.0 * GAP;
    if part.kind == Kind::Core || part.parts.is_empty() {
        let cpus = part.cpus.len() as f64;
        let squares = cpus * CPU + (cpus - 1.0).max(0.0) * 4.0;
        let squares_height = if cpus > 0.0 { CPU + 6.0 } else { 0.0 };
        let (width, height) = (squares + 2.0 * GAP, head + squares_height + 1.4 * GAP);
        return Placed {
            part,
            width: width.max(least),
            height,
            inner: Vec::new(),
        };
    }
    let boxes: Vec<Placed<'_>> = part.parts.iter().map(place).collect();
    let sizes: Vec<(f64, f64)> = boxes
        .iter()
        .map(|inner| (inner.width, inner.height))
        .collect();
    let best = (1..=sizes.len()).min_by(|&a, &b| {
        let off = |columns: usize| {
            let (width, height, _) = rows(&sizes, columns);
            (width / (height + head) / SHAPE).ln().abs()
        };
        off(a).total_cmp(&off(b))
    });
    let (width, height, corners) = rows(&sizes, best.unwrap_or(1));
    let inner = corners.into_iter().zip(boxes);
    let inner = inner
        .map(|((x, y), inner)| (x + GAP, y + head + GAP, inner))
        .collect();
    Placed {
        part,
        width: (width + 2.0 * GAP).max(least),
        height: height + head + 2.0 * GAP,
        inner,
    }
}

/// Lays boxes out in rows of `columns`; gives the size of all and each one's corner.
fn rows(sizes: &[(f64, f64)], columns: usize) -> (f64, f64, Vec<(f64, f64)>) {
    let (mut width, mut height): (f64, f64) = (0.0, 0.0);
    let mut corners = Vec::new();
    for row in sizes.chunks(columns) {
        let mut x = 0.0;
        let top = if height > 0.0 { height + GAP } else { 0.0 };
        for &(w, h) in row {
            corners.push((x, top));
            x += w + GAP;
            height = height.max(top + h);
        }
        width = width.max(x - GAP);
    }
    (width, height, corners)
}

fn paint(placed: &Placed<'_>, x: f64, y: f64, findings: &Findings, out: &mut String) {
    let part = placed.part;
    let (fill, line) = match part.kind {
        Kind::Machine => ("#ffffff", "#999999"),
        Kind::Package => ("#eeeeee", "#888888"),
        Kind::Node => ("#e3eef8", "#6d93b8"),
        Kind::Die => ("#f3ecf7", "#9a7fb0"),
        Kind::Cache => ("#fdf6e0", "#bfa75a"),
        Kind::Cluster => ("#eaf5ea", "#7ba87b"),
        Kind::Core => ("#ffffff", "#777777"),
    };
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"5\" fill=\"{fill}\" \
         stroke=\"{line}\"/>",
        placed.width, placed.height
    );
    for (index, title) in part.titles.iter().enumerate() {
        let weight = if index == 0 && part.kind != Kind::Core {
            "bold"
        } else {
            "normal"
        };
        text(
            out,
            x + GAP,
            y + (index as f64 + 1.0) * LINE,
            title,
            weight,
            "#222222",
        );
    }
    for (dx, dy, inner) in &placed.inner {
        paint(inner, x + dx, y + dy, findings, out);
    }
    if placed.inner.is_empty() {
        let top = y + part.titles.len() as f64 * LINE + GAP - 2.0;
        for (index, cpu) in part.cpus.iter().enumerate() {
            square(
                x + GAP + index as f64 * (CPU + 4.0),
                top,
                cpu,
                findings,
                out,
            );
        }
    }
}

/// Draws a CPU: its number, and the workers that may run on it if they are bound.
fn square(x: f64, y: f64, cpu: usize, findings: &Findings, out: &mut String) {
    let seats = findings.plan.as_ref().map_or(&[][..], |plan| plan.seats());
    let bound = seats
        .iter()
        .enumerate()
        .filter(|(_, seat)| seat.bound && seat.cpus.contains(cpu));
    let workers: Vec<usize> = bound.map(|(worker, _)| worker).collect();
    let allowed = findings.machine.allowed().contains(cpu);
    let (fill, ink) = match workers.first() {
        Some(worker) => (COLOURS[worker % COLOURS.len()], "#ffffff"),
        None if allowed => ("#f7f7f7", "#222222"),
        None => ("#d0d0d0", "#777777"),
    };
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{CPU}\" height=\"{CPU}\" rx=\"3\" fill=\"{fill}\" \
         stroke=\"#666666\"/>"
    );
    let label = match workers.as_slice() {
        [] if allowed => String::new(),
        [] => "not ours".into(),
        [one] => format!("w{one}"),
        [first, .., last] if workers.len() == last - first + 1 => format!("w{first}-{last}"),
        [first, ..] => format!("w{first}…"),
    };
    centred(out, x + CPU / 2.0, y + 19.0, &cpu.to_string(), 13, ink);
    centred(
        out,
        x + CPU / 2.0,
        y + 36.0,
        &label,
        if label.len() > 6 { 9 } else { 11 },
        ink,
    );
}

fn text(out: &mut String, x: f64, y: f64, content: &str, weight: &str, fill: &str) {
    let content = escape(content);
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"{weight}\" fill=\"{fill}\">{content}</text>"
    );
}

fn centred(out: &mut String, x: f64, y: f64, content: &str, size: u32, fill: &str) {
    if !content.is_empty() {
        let content = escape(content);
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" font-size=\"{size}\" \
             fill=\"{fill}\">{content}</text>"
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
