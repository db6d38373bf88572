//! The text that `doctor` prints.

use super::{Findings, outline, source, text};
use std::fmt::Write;
use stealyard_topology::{Plan, Topology};

/// The largest matrices that are printed.
const MATRIX: usize = 16;

pub(super) fn report(findings: &Findings) -> String {
    let mut out = String::new();
    write(findings, &mut out).expect("writing to a string");
    out
}

fn write(findings: &Findings, out: &mut String) -> std::fmt::Result {
    let machine = &findings.machine;
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    };
    let parts = [
        count(machine.packages().len(), "package"),
        count(machine.nodes().len(), "node"),
        count(machine.cores().len(), "core"),
        count(machine.cpus().len(), "CPU"),
    ];
    writeln!(out, "Machine ({}): {}", source(machine), parts.join(", "))?;
    write!(out, "{}", text::tree(&outline::outline(machine)))?;
    if !machine.offline().is_empty() {
        writeln!(out, "Offline: CPUs {}", machine.offline())?;
    }
    let forbidden = machine.online() - machine.allowed();
    if !forbidden.is_empty() {
        writeln!(out, "Not for this process: CPUs {forbidden}")?;
    }
    for note in machine.notes() {
        writeln!(out, "Note: {note}")?;
    }
    if let Some(failure) = &findings.failure {
        writeln!(out, "Could not be read: {failure}")?;
    }
    nodes(machine, out)?;
    limits(findings, out)?;
    match &findings.plan {
        Ok(plan) => seats(findings, plan, out),
        Err(error) => writeln!(out, "\nPlacement {}: {error}", findings.placement),
    }
}

fn nodes(machine: &Topology, out: &mut String) -> std::fmt::Result {
    let nodes = machine.nodes();
    if nodes.len() < 2 || nodes.len() > MATRIX {
        return Ok(());
    }
    writeln!(out, "\nDistances between nodes (10 is local)")?;
    write!(out, "{:>8}", "")?;
    nodes
        .iter()
        .try_for_each(|node| write!(out, "{:>5}", node.id))?;
    writeln!(out)?;
    for node in nodes {
        write!(out, "{:>8}", node.id)?;
        node.distances
            .iter()
            .try_for_each(|distance| write!(out, "{distance:>5}"))?;
        writeln!(out)?;
    }
    Ok(())
}

fn limits(findings: &Findings, out: &mut String) -> std::fmt::Result {
    let Some(limits) = &findings.limits else {
        return writeln!(
            out,
            "\nNo limits are known: this is not the machine at hand."
        );
    };
    let parallelism = limits.available_parallelism();
    writeln!(out, "\nWorkers that can run at once: {}", parallelism.get())?;
    for reason in parallelism.reasons() {
        let decisive = parallelism.decisive() == Some(reason);
        let mark = if decisive { "  <- decides" } else { "" };
        writeln!(out, "{:>6}  {}{mark}", reason.workers, reason.what)?;
    }
    for problem in limits.problems() {
        writeln!(
            out,
            "        limits nothing, because it can't be understood: {problem}"
        )?;
    }
    Ok(())
}

fn seats(findings: &Findings, plan: &Plan, out: &mut String) -> std::fmt::Result {
    let machine = &findings.machine;
    writeln!(
        out,
        "\nPlacement {} of {} workers",
        findings.placement, findings.workers
    )?;
    for (worker, seat) in plan.seats().iter().enumerate() {
        let node = match seat.node.map(|index| machine.nodes()[index].id) {
            Some(id) => format!("node {id}"),
            None => "several nodes".into(),
        };
        let how = if seat.bound { "bound to" } else { "free on" };
        let what = if seat.cpus.len() == 1 { "CPU" } else { "CPUs" };
        writeln!(out, "{worker:>6}  {how} {what} {}, {node}", seat.cpus)?;
    }
    let matrix = plan.matrix(&machine.distances());
    if plan.seats().len() < 2 || plan.seats().len() > MATRIX {
        return Ok(());
    }
    writeln!(out, "\nNearness between workers")?;
    writeln!(
        out,
        "(1 one core, 2 one L2 or cluster, 3 one L3, 4 one node, 5 and more: farther nodes)"
    )?;
    write!(out, "{:>8}", "")?;
    (0..matrix.len()).try_for_each(|worker| write!(out, "{worker:>3}"))?;
    writeln!(out)?;
    for worker in 0..matrix.len() {
        write!(out, "{worker:>8}")?;
        matrix
            .row(worker)
            .iter()
            .try_for_each(|rank| write!(out, "{rank:>3}"))?;
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! Goal: the text says what it is for, on machines of every shape. Method: described machines,
    //! whole lines of the answer.

    use super::super::{Args, find_out};

    fn report(machine: &str, placement: &str, workers: usize) -> String {
        let args = Args {
            synthetic: Some(machine.into()),
            placement: Some(placement.parse().expect("a placement")),
            workers: Some(workers),
            ..Args::default()
        };
        super::report(&find_out(&args).expect("a described machine"))
    }

    #[test]
    fn nested_parts_and_seats() {
        let text = report("pack:2 [numa(memory=4GiB)] l3:1 core:2 pu:2", "spread", 3);
        for line in [
            "├── Package 0 + Node 0, 4 GiB + L3 16 MiB: CPUs 0-3",
            "│   └── Core 1: CPUs 2-3",
            "     1  bound to CPU 4, node 1",
            "       0  0  5  3",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line:?} is not in\n{text}"
            );
        }
    }

    #[test]
    fn many_equal_parts_are_one_line() {
        let text = report("core:64 pu:2", "none", 1);
        assert!(text.contains("64 alike, CPUs 0-127; the first:"), "{text}");
        assert!(text.lines().count() < 20, "{text}");
    }

    #[test]
    fn what_cannot_be_placed_is_said() {
        let text = report("core:2 pu:2", "one-per-core", 3);
        assert!(text.contains("OnePerCore cannot place 3 workers"), "{text}");
    }
}
