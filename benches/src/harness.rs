//! Runs programs in turns, pair by pair.
//!
//! A case is one workload with several subjects, ours first. In each round ours and one peer run
//! back to back, and the order within the pair changes from round to round, so that a machine that
//! gets slower or faster meanwhile favours neither. The number of repetitions in a run is found
//! once for each subject, so that a run is long against the clock and short against the machine's
//! changes.

use std::time::{Duration, Instant};

use crate::stats::{Summary, Verdict};

/// A subject of a case: its name, and a run of `repetitions` rounds of the workload that gives the
/// time taken and the number of operations in it. A run checks its own result and panics if it is
/// wrong: a queue that loses items is not fast.
pub(crate) struct Subject {
    /// The name in tables. A name that ends in `(floor)` is no peer: it does less than the workload
    /// asks for, and shows what the rest costs.
    pub(crate) name: &'static str,
    /// Does one run.
    pub(crate) run: Box<dyn FnMut(u64) -> Run>,
}

/// The result of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// The amount for all operations together, in the case's unit.
    pub(crate) amount: f64,
    /// The number of operations.
    pub(crate) operations: u64,
}

impl Run {
    /// Creates a run of a [`Kind::Time`].
    pub(crate) fn took(time: Duration, operations: u64) -> Self {
        Self {
            amount: time.as_secs_f64() * 1e9,
            operations,
        }
    }

    /// Returns the amount of one operation.
    fn each(&self) -> f64 {
        self.amount / self.operations as f64
    }
}

/// What is measured, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Nanoseconds; the workload is repeated until a run is long enough.
    Time,
    /// A reading of one run that needs no repetitions, in this unit.
    Gauge(&'static str),
}

impl Kind {
    /// Returns the name of the unit in tables.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Time => "ns",
            Self::Gauge(unit) => unit,
        }
    }
}

/// Times `work` and counts `operations` for it.
pub(crate) fn timed(operations: u64, work: impl FnOnce()) -> Run {
    let start = Instant::now();
    work();
    Run::took(start.elapsed(), operations)
}

/// A workload and its subjects.
pub(crate) struct Case {
    /// `queue`, `scheduler` and so on.
    pub(crate) layer: &'static str,
    /// The name of the workload.
    pub(crate) name: String,
    /// What one operation is.
    pub(crate) operation: &'static str,
    /// What is measured.
    pub(crate) kind: Kind,
    /// Builds the subjects, ours first. It is called when the case's turn comes, so that no idle
    /// scheduler of another case exists.
    pub(crate) subjects: Box<dyn Fn() -> Vec<Subject>>,
}

/// The length of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// The number of pairs for each peer.
    pub(crate) rounds: usize,
    /// The number of pairs for each peer of a gauge.
    pub(crate) gauge_rounds: usize,
    /// The intended length of a run.
    pub(crate) run_time: Duration,
}

impl Effort {
    /// Returns a short one, for a first look: all cases together within two minutes.
    pub(crate) const QUICK: Self = Self {
        rounds: 11,
        gauge_rounds: 1,
        run_time: Duration::from_millis(12),
    };
    /// Returns a long one, for figures that are published.
    pub(crate) const FULL: Self = Self {
        rounds: 41,
        gauge_rounds: 5,
        run_time: Duration::from_millis(30),
    };
}

/// The result of a case for one subject.
#[derive(Debug)]
pub(crate) struct Line {
    /// The subject.
    pub(crate) name: &'static str,
    /// The amount of one operation, in the case's unit.
    pub(crate) each: Summary,
    /// Ours divided by this subject's, pair by pair. `None` for ours.
    pub(crate) ratio: Option<Summary>,
}

impl Line {
    /// The verdict. `None` for ours and for floors.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let floor = self.name.ends_with("(floor)");
        self.ratio.as_ref().filter(|_| !floor).map(Verdict::on)
    }
}

/// Runs a case and returns a result for each subject, ours first.
pub(crate) fn measure(case: &Case, effort: Effort, mut tick: impl FnMut()) -> Vec<Line> {
    let mut subjects = (case.subjects)();
    let (rounds, calibrated) = match case.kind {
        Kind::Time => (effort.rounds, true),
        Kind::Gauge(_) => (effort.gauge_rounds, false),
    };
    let repetitions: Vec<u64> = subjects
        .iter_mut()
        .map(|subject| {
            if calibrated {
                calibrate(subject, effort.run_time)
            } else {
                1
            }
        })
        .collect();
    let (ours, peers) = subjects.split_first_mut().expect("a case has subjects");
    let mut our_times = Vec::new();
    let mut lines = Vec::new();
    for (peer, &peer_repetitions) in peers.iter_mut().zip(&repetitions[1..]) {
        let mut times = Vec::new();
        let mut ratios = Vec::new();
        for round in 0..rounds {
            let (mine, theirs) = if round % 2 == 0 {
                let mine = (ours.run)(repetitions[0]).each();
                (mine, (peer.run)(peer_repetitions).each())
            } else {
                let theirs = (peer.run)(peer_repetitions).each();
                ((ours.run)(repetitions[0]).each(), theirs)
            };
            our_times.push(mine);
            times.push(theirs);
            ratios.push(mine / theirs);
            tick();
        }
        let ratio = Some(Summary::of(&ratios));
        lines.push(Line {
            name: peer.name,
            each: Summary::of(&times),
            ratio,
        });
    }
    if peers.is_empty() {
        our_times.extend((0..rounds).map(|_| (ours.run)(repetitions[0]).each()));
        tick();
    }
    lines.insert(
        0,
        Line {
            name: ours.name,
            each: Summary::of(&our_times),
            ratio: None,
        },
    );
    lines
}

/// Finds the number of repetitions that take about `target`. The first runs also warm caches and
/// free lists. A run that lost its core takes long with few repetitions, so the shortest of three
/// decides.
fn calibrate(subject: &mut Subject, target: Duration) -> u64 {
    let target = target.as_secs_f64() * 1e9;
    let mut repetitions = 1;
    loop {
        let mut ns = (subject.run)(repetitions).amount;
        for _ in 0..2 {
            if ns * 2.0 >= target {
                ns = ns.min((subject.run)(repetitions).amount);
            }
        }
        if ns * 2.0 >= target || repetitions >= 1 << 40 {
            let scale = target / ns.max(1.0);
            return ((repetitions as f64 * scale) as u64).clamp(1, 1 << 40);
        }
        repetitions *= if ns * 20.0 < target { 8 } else { 2 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &'static str, cost: Duration) -> Subject {
        let run = move |repetitions: u64| {
            Run::took(cost * u32::try_from(repetitions).unwrap(), repetitions)
        };
        Subject {
            name,
            run: Box::new(run),
        }
    }

    #[test]
    fn ratios_are_ours_over_theirs() {
        let case = Case {
            layer: "test",
            name: "made up".to_owned(),
            operation: "step",
            kind: Kind::Time,
            subjects: Box::new(|| {
                vec![
                    subject("ours", Duration::from_micros(10)),
                    subject("peer", Duration::from_micros(40)),
                ]
            }),
        };
        let lines = measure(&case, Effort::QUICK, || ());
        assert_eq!(lines.len(), 2);
        assert!((lines[0].each.median - 10_000.0).abs() < 1.0, "{lines:?}");
        assert!(
            (lines[1].ratio.unwrap().median - 0.25).abs() < 1e-6,
            "{lines:?}"
        );
        assert_eq!(lines[1].verdict(), Some(Verdict::Win));
        assert_eq!(lines[0].verdict(), None);
    }

    #[test]
    fn a_gauge_is_read_and_not_repeated() {
        let reading = |name, amount| Subject {
            name,
            run: Box::new(move |repetitions| {
                assert_eq!(repetitions, 1);
                Run {
                    amount,
                    operations: 1,
                }
            }),
        };
        let case = Case {
            layer: "test",
            name: "made up".to_owned(),
            operation: "task",
            kind: Kind::Gauge("bytes"),
            subjects: Box::new(move || vec![reading("ours", 100.0), reading("peer", 400.0)]),
        };
        let lines = measure(&case, Effort::QUICK, || ());
        assert_eq!((lines[0].each.median, lines[0].each.count), (100.0, 1));
        assert_eq!(lines[1].ratio.unwrap().median, 0.25);
    }

    #[test]
    fn a_floor_is_not_beaten_and_does_not_win() {
        let ratio = Some(Summary::of(&[1.5]));
        let line = Line {
            name: "Vec (floor)",
            each: Summary::of(&[1.0]),
            ratio,
        };
        assert_eq!(line.verdict(), None);
    }

    #[test]
    fn a_run_becomes_about_as_long_as_was_asked_for() {
        let mut one = subject("one", Duration::from_micros(3));
        let repetitions = calibrate(&mut one, Duration::from_millis(12));
        assert!((2_000..=8_000).contains(&repetitions), "{repetitions}");
    }
}
