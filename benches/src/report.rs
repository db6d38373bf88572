//! The results for people and programs: a table in the terminal, JSON in a file, a page for the
//! documentation.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{Case, Line};
use crate::stats::{Summary, Verdict};

/// Formats the table of one case. Losses stand in it as plainly as wins.
pub(crate) fn table(case: &Case, lines: &[Line]) -> String {
    let mut text = format!(
        "\n{} / {}   ({} per {})\n",
        case.layer,
        case.name,
        case.kind.unit(),
        case.operation
    );
    let _ = writeln!(
        text,
        "  {:<26} {:>11} {:>21}   {:>7} {:>15}",
        "", "median", "quartiles", "ours/it", "95 % interval"
    );
    for line in lines {
        let each = &line.each;
        let quartiles = format!(
            "{} .. {}",
            short(each.lower_quartile),
            short(each.upper_quartile)
        );
        let _ = write!(
            text,
            "  {:<26} {:>11} {quartiles:>21}",
            line.name,
            short(each.median)
        );
        if let Some(ratio) = &line.ratio {
            let interval = format!("{} .. {}", share(ratio.median_from), share(ratio.median_to));
            let _ = write!(
                text,
                "   {:>7} {interval:>15}  {}",
                share(ratio.median),
                line.verdict().map_or("", Verdict::word)
            );
        }
        text.push('\n');
    }
    text
}

/// Formats an amount with three significant digits.
fn short(amount: f64) -> String {
    match amount {
        amount if amount < 10.0 => format!("{amount:.2}"),
        amount if amount < 100.0 => format!("{amount:.1}"),
        amount if amount < 100_000.0 => format!("{amount:.0}"),
        amount => format!("{:.0} k", amount / 1000.0),
    }
}

/// Formats a ratio with two decimals, or with more if it would be zero.
fn share(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 0.01 => format!("{ratio:.4}"),
        ratio if ratio < 0.1 => format!("{ratio:.3}"),
        ratio => format!("{ratio:.2}"),
    }
}

/// Counts wins, losses and ties, and names the peers that won.
pub(crate) fn verdicts(results: &[(Case, Vec<Line>)]) -> String {
    let (mut wins, mut even) = (0, 0);
    let mut losses = Vec::new();
    for (case, lines) in results {
        for line in lines {
            match line.verdict() {
                Some(Verdict::Win) => wins += 1,
                Some(Verdict::Even) => even += 1,
                Some(Verdict::Loss) => {
                    let ratio = line.ratio.expect("a verdict rests on a ratio").median;
                    losses.push(format!(
                        "  {} / {}: {} is better, ours is {ratio:.2} of it",
                        case.layer, case.name, line.name
                    ));
                }
                None => {}
            }
        }
    }
    let mut text = format!(
        "\n{wins} wins, {} losses, {even} too close to call\n",
        losses.len()
    );
    if !losses.is_empty() {
        text.push_str("where peers win:\n");
        text.push_str(&losses.join("\n"));
        text.push('\n');
    }
    text
}

/// Formats all results as a page for the documentation: losses first, then a table for each layer.
pub(crate) fn page(setting: &[(&str, String)], results: &[(Case, Vec<Line>)]) -> String {
    let mut text = String::from(
        "# Results\n\nOne session, as it came out; written by `cargo xtask bench --page FILE`. How to read it and how it \
         was measured:\n[benchmarks.md](benchmarks.md). `ours/it` below one: we are better. A `(floor)` is no \
         peer: it does less than is asked\nfor, and shows what the rest costs.\n\n| | |\n|---|---|\n",
    );
    for (name, value) in setting {
        let _ = writeln!(text, "| {name} | {} |", value.replace('|', "\\|"));
    }
    let _ = write!(
        text,
        "\n## Wins and losses\n\n```text{}```\n",
        verdicts(results)
    );
    let mut layer = "";
    for (case, lines) in results {
        if case.layer != layer {
            layer = case.layer;
            let _ = write!(
                text,
                "\n## {layer}\n\n| case | subject | median | ours/it | 95 % interval | |\n|---|---|---|---|---|---|\n"
            );
        }
        for (index, line) in lines.iter().enumerate() {
            let name = if index == 0 {
                let unit = case.kind.unit();
                format!("{}, {unit} per {}", case.name, case.operation)
            } else {
                String::new()
            };
            let _ = write!(
                text,
                "| {name} | {} | {} |",
                line.name,
                short(line.each.median)
            );
            let _ = match &line.ratio {
                Some(ratio) => writeln!(
                    text,
                    " {} | {} to {} | {} |",
                    share(ratio.median),
                    share(ratio.median_from),
                    share(ratio.median_to),
                    line.verdict().map_or("", Verdict::word)
                ),
                None => writeln!(text, " | | |"),
            };
        }
    }
    text
}

/// Returns all results as JSON.
pub(crate) fn json(setting: &[(&str, String)], results: &[(Case, Vec<Line>)]) -> Value {
    let cases: Vec<Value> = results
        .iter()
        .map(|(case, lines)| {
            let lines: Vec<Value> = lines
                .iter()
                .map(|line| {
                    json!({
                        "subject": line.name,
                        "each": summary(&line.each),
                        "ours_over_it": line.ratio.as_ref().map(summary),
                        "verdict": line.verdict().map(Verdict::word),
                    })
                })
                .collect();
            json!({
                "layer": case.layer,
                "case": case.name,
                "unit": case.kind.unit(),
                "operation": case.operation,
                "subjects": lines,
            })
        })
        .collect();
    let setting: serde_json::Map<String, Value> = setting
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    json!({ "setting": setting, "cases": cases })
}

fn summary(of: &Summary) -> Value {
    json!({
        "median": of.median,
        "quartiles": [of.lower_quartile, of.upper_quartile],
        "median_95": [of.median_from, of.median_to],
        "count": of.count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Kind;

    fn case() -> Case {
        Case {
            layer: "queue",
            name: "pairs".to_owned(),
            operation: "pair",
            kind: Kind::Time,
            subjects: Box::new(Vec::new),
        }
    }

    #[test]
    fn a_loss_is_reported_in_words() {
        let lines = vec![
            Line {
                name: "ours",
                each: Summary::of(&[20.0]),
                ratio: None,
            },
            Line {
                name: "theirs",
                each: Summary::of(&[10.0]),
                ratio: Some(Summary::of(&[2.0])),
            },
        ];
        let table = table(&case(), &lines);
        assert!(table.contains("LOSS"), "{table}");
        let results = vec![(case(), lines)];
        let text = verdicts(&results);
        assert!(
            text.contains("0 wins, 1 losses") && text.contains("theirs is better"),
            "{text}"
        );
        let page = page(&[("date", "today".to_owned())], &results);
        assert!(
            page.contains("| pairs, ns per pair | ours | 20.0 | | | |"),
            "{page}"
        );
        assert!(
            page.contains("|  | theirs | 10.0 | 2.00 | 2.00 to 2.00 | LOSS |"),
            "{page}"
        );
        let value = json(&[("date", "today".to_owned())], &results);
        assert_eq!(value["cases"][0]["subjects"][1]["verdict"], "LOSS");
    }

    #[test]
    fn amounts_have_three_digits() {
        assert_eq!(short(1.234), "1.23");
        assert_eq!(short(12.34), "12.3");
        assert_eq!(short(1234.5), "1234");
        assert_eq!(short(1_234_567.0), "1235 k");
    }
}
