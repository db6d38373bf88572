//! The text that `doctor` prints.

use crate::explain;
use crate::findings::{Findings, source};
use crate::process::Process;
use crate::{outline, text};
use std::fmt::Write;
use stealyard_topology::{Plan, Topology};

/// The largest matrices that are printed.
const MATRIX: usize = 16;

pub(crate) fn report(findings: &Findings) -> String {
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
        writeln!(out, "Offline: {}", machine.offline().in_words())?;
    }
    let forbidden = machine.online() - machine.allowed();
    if !forbidden.is_empty() {
        writeln!(out, "This process may not use: {}", forbidden.in_words())?;
    }
    if let Some(source) = machine.kind_source() {
        writeln!(out, "Efficiency cores are told by {source}")?;
    }
    for note in machine.notes() {
        writeln!(out, "Note: {note}")?;
    }
    if let Some(failure) = &findings.failure {
        writeln!(out, "Could not be read: {failure}")?;
    }
    nodes(machine, out)?;
    limits(findings, out)?;
    if let Some(process) = &findings.process {
        threads(process, machine, out)?;
    }
    match &findings.plan {
        Ok(plan) => {
            seats(findings, plan, out)?;
            match findings.explain {
                true => explain::write(findings, plan, out),
                false => Ok(()),
            }
        }
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

fn threads(process: &Process, machine: &Topology, out: &mut String) -> std::fmt::Result {
    let Process { pid, name, threads } = process;
    writeln!(out, "\nProcess {pid} ({name}), {} threads", threads.len())?;
    for thread in threads {
        let last = thread
            .last_cpu
            .map_or("nowhere yet".into(), |cpu| format!("last on CPU {cpu}"));
        let (name, cpus) = (&thread.name, thread.cpus.in_words());
        writeln!(out, "{:>8}  {name:<16} may use {cpus}, {last}", thread.id)?;
        for complaint in thread.complaints(machine) {
            writeln!(out, "          {complaint}")?;
        }
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
        let taken = match findings.probe.as_ref().map(|probe| &probe[worker]) {
            Some(Ok(cpus)) => format!("; a thread there has {}", cpus.in_words()),
            Some(Err(error)) => format!("; A THREAD COULD NOT BE BOUND: {error}"),
            None => String::new(),
        };
        let what = seat.cpus.in_words();
        let memory = seat
            .memory
            .map_or_else(String::new, |node| format!(", memory of node {node}"));
        writeln!(out, "{worker:>6}  {how} {what}, {node}{memory}{taken}")?;
    }
    plan.notes()
        .iter()
        .try_for_each(|note| writeln!(out, "Note: {note}"))?;
    if plan.seats().len() < 2 || (plan.seats().len() > MATRIX && !findings.nearness) {
        return Ok(());
    }
    let matrix = plan.matrix(&machine.distances());
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

    use crate::findings::{Question, find_out};

    fn report(machine: &str, placement: &str, workers: usize) -> String {
        let question = Question {
            synthetic: Some(machine.into()),
            placement: Some(placement.parse().expect("a placement")),
            workers: Some(workers),
            ..Question::default()
        };
        super::report(&find_out(&question).expect("a described machine"))
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
    fn a_placement_without_room_is_reported() {
        let text = report("core:2 pu:2", "one-per-core", 3);
        assert!(text.contains("OnePerCore cannot place 3 workers"), "{text}");
    }

    #[test]
    fn a_seat_is_explained_by_the_workers_seated_before() {
        let question = Question {
            synthetic: Some("numa:2 pack:2 l3:1 core:1 pu:2".into()),
            explain: Some("spread".parse().expect("a placement")),
            workers: Some(3),
            ..Question::default()
        };
        let text = super::report(&find_out(&question).expect("a described machine"));
        for line in [
            "     Levels here, from the outside in: node (4) > package (2) > core (2) > L3 (2)",
            "     0  CPU 0: node 0, the first",
            "     1  CPU 4: node 1, no node with any worker before; nearest is worker 0",
            "     2  CPU 2: node 0, one node and no cache with worker 0",
            "     Node 1: 1 workers on 4 allowed CPUs",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line:?} is not in\n{text}"
            );
        }
    }

    #[test]
    fn a_policy_that_restricts_nothing_says_so() {
        let text = report("core:2 pu:1", "performance:compact", 2);
        assert!(
            text.contains("Note: performance: restricts nothing"),
            "{text}"
        );
    }

    #[test]
    fn a_described_machine_has_no_process_and_no_probe() {
        let described = || Question {
            synthetic: Some("core:2 pu:1".into()),
            ..Question::default()
        };
        for question in [
            Question {
                pid: Some(1),
                ..described()
            },
            Question {
                probe: true,
                ..described()
            },
        ] {
            assert!(find_out(&question).is_err(), "{question:?}");
        }
    }
}
