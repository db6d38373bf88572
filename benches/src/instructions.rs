//! `--instructions`: instruction counts instead of times, for cases of one thread. A count is the
//! same on every run, however busy the machine is. It does not show the cost of an instruction.
//!
//! A subject runs twice in a process of its own under callgrind, with few repetitions and with
//! many. The difference belongs to the workload alone.

use std::process::Command;

use crate::harness::{Case, Kind, Run, Subject};

/// The parts of names by which the cases of one thread are recognised.
const ONE_THREAD: [&str; 7] = [
    " deep",
    "bursts of 64",
    "quiet victim",
    "from an empty queue",
    "one thread",
    "an empty pop",
    "nobody ",
];
/// The repetitions after which every queue has grown and every free list is filled.
const FEW: u64 = 4_000;
const MANY: u64 = FEW + 20_000;

/// Returns the case with counts instead of times, or `None` if several threads take part.
pub(crate) fn counted(case: Case) -> Option<Case> {
    if !ONE_THREAD.iter().any(|part| case.name.contains(part)) {
        return None;
    }
    let (name, build) = (case.name.clone(), case.subjects);
    let subjects = move || {
        let of = |subject: Subject| {
            let (name, case) = (subject.name, name.clone());
            let run = move |_| Run {
                amount: count(&case, name, MANY) - count(&case, name, FEW),
                operations: MANY - FEW,
            };
            Subject {
                name: subject.name,
                run: Box::new(run),
            }
        };
        build().into_iter().map(of).collect()
    };
    Some(Case {
        kind: Kind::Gauge("instructions"),
        subjects: Box::new(subjects),
        ..case
    })
}

/// Returns an error that says what to do if callgrind is not installed.
pub(crate) fn check() -> Result<(), String> {
    let there = Command::new("valgrind").arg("--version").output();
    match there {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err(
            "--instructions needs callgrind: install valgrind (Debian: `apt-get install valgrind`)"
                .to_owned(),
        ),
    }
}

fn count(case: &str, subject: &str, repetitions: u64) -> f64 {
    let program = std::env::current_exe().expect("it runs, so it is somewhere");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--child", &format!("run:{subject}:{repetitions}:{case}")])
        .output()
        .expect("valgrind was there before");
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, count)| count.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("callgrind gave no count for {subject}, {case}:\n{text}"))
}

/// Runs one subject of one case in the child, with the given repetitions.
pub(crate) fn run_once(wish: &str, cases: Vec<Case>) -> Option<()> {
    let (subject, rest) = wish.split_once(':')?;
    let (repetitions, name) = rest.split_once(':')?;
    let repetitions = repetitions.parse().ok()?;
    let case = cases.into_iter().find(|case| case.name == name)?;
    let mut subject = (case.subjects)()
        .into_iter()
        .find(|candidate| candidate.name == subject)?;
    let _ = (subject.run)(repetitions); // callgrind counts, and the time does not matter
    Some(())
}
