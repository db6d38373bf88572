//! What is found out, for the writers of text, JSON and drawings.

use crate::process::Process;
use std::path::PathBuf;
use stealyard_topology::{CpuSet, Limits, Placement, Plan, Source, Topology};

/// Which machine is looked at, and what is asked of it.
#[derive(Debug, Default)]
pub(crate) struct Question {
    pub(crate) synthetic: Option<String>,
    pub(crate) sysfs: Option<PathBuf>,
    pub(crate) strict: bool,
    pub(crate) pid: Option<u32>,
    pub(crate) placement: Option<Placement>,
    pub(crate) explain: Option<Placement>,
    pub(crate) workers: Option<usize>,
    pub(crate) nearness: bool,
    pub(crate) probe: bool,
}

/// What was found out.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) machine: Topology,
    /// Of this machine only: those of this process, or of the one that was asked about.
    pub(crate) limits: Option<Limits>,
    pub(crate) process: Option<Process>,
    /// Why the machine is shown flat, if it could not be read.
    pub(crate) failure: Option<String>,
    pub(crate) workers: usize,
    pub(crate) placement: Placement,
    pub(crate) plan: Result<Plan, String>,
    pub(crate) explain: bool,
    /// Whether to print nearness however many workers there are.
    pub(crate) nearness: bool,
    /// What became of a thread at each seat, if it was tried.
    pub(crate) probe: Option<Vec<Result<CpuSet, String>>>,
}

/// Looks at the machine.
pub(crate) fn find_out(question: &Question) -> Result<Findings, String> {
    let mut failure = None;
    let words = |error: stealyard_topology::Error| error.to_string();
    let live = question.synthetic.is_none() && question.sysfs.is_none();
    let mut machine = match (&question.synthetic, &question.sysfs) {
        (Some(text), _) => Topology::synthetic(text).map_err(words)?,
        (None, Some(root)) if question.strict => Topology::read_strict(root).map_err(words)?,
        (None, Some(root)) => Topology::from_sysfs(root).map_err(words)?,
        (None, None) if question.strict => {
            let machine = Topology::read_strict("/").map_err(words)?;
            machine.with_limits(&Limits::read()).map_err(words)?
        }
        (None, None) => {
            let (machine, error) = Topology::detect_or_flat();
            failure = error.map(words);
            machine
        }
    };
    let mut limits = live.then(Limits::read);
    let mut process = None;
    if let Some(pid) = question.pid {
        if !live {
            return Err("--pid is about this machine, not about another".into());
        }
        process = Some(Process::read(pid)?);
        let theirs = Limits::of_process(pid);
        machine = machine.with_limits(&theirs).map_err(words)?;
        limits = Some(theirs);
    }
    let workers = question.workers.unwrap_or_else(|| match &limits {
        Some(limits) => limits.available_parallelism().get(),
        None => machine.cores().len(),
    });
    let asked = question.explain.as_ref().or(question.placement.as_ref());
    let placement = asked.cloned().unwrap_or_default();
    let plan = placement
        .plan(&machine, workers)
        .map_err(|error| error.to_string());
    let probe = match (&plan, question.probe) {
        (Ok(plan), true) if live => Some(probe(plan)),
        (_, true) if !live => {
            return Err("--probe binds threads of this machine, not of another".into());
        }
        _ => None,
    };
    Ok(Findings {
        machine,
        limits,
        process,
        failure,
        workers,
        placement,
        plan,
        explain: question.explain.is_some(),
        nearness: question.nearness,
        probe,
    })
}

/// Takes every seat with a thread of its own.
fn probe(plan: &Plan) -> Vec<Result<CpuSet, String>> {
    let take = |seat: &stealyard_topology::Seat| {
        let seat = seat.clone();
        let sit = move || {
            let taken = seat.take().map_err(|error| error.to_string())?;
            match taken {
                Some(pinned) => Ok(pinned.now),
                None => stealyard_topology::mask().map_err(|error| error.to_string()),
            }
        };
        let thread = stealyard_sync::thread::Builder::new().spawn(sit);
        let thread = thread.map_err(|error| format!("no thread could be started: {error}"))?;
        thread
            .join()
            .unwrap_or_else(|_| Err("the thread panicked".into()))
    };
    plan.seats().iter().map(take).collect()
}

/// Returns where a machine came from, in a few words.
pub(crate) fn source(machine: &Topology) -> String {
    match machine.source() {
        Source::Sysfs(root) if root.as_os_str() == "/" => "this machine, from /sys".into(),
        Source::Sysfs(root) => format!("captured tree {}", root.display()),
        Source::Synthetic(text) => format!("described as \"{text}\""),
        Source::Hwloc(name) => format!("{name}, through hwloc"),
        Source::System(call) => format!("this machine, from {call}"),
        _ => "nothing but the number of CPUs is known".into(),
    }
}

/// Bytes as people write them.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 10.0 && value.fract() > 0.05 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {}", UNITS[unit])
}
