//! Fork-join: the cost of a `join` whose halves do next to nothing.

use std::hint::black_box;

use crate::harness::{Case, Kind, Subject, timed};
use crate::subject::ForkJoin;
use crate::subject::foreign::TBB;
use crate::subject::ours::Ours;
use crate::subject::rayon::Rayon;

/// fib(25) makes 242,784 joins.
const FIB: u64 = 25;
const JOINS: u64 = 242_784;

/// Returns the cases of this layer.
pub(crate) fn cases(workers: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut counts = vec![1, workers];
    counts.dedup();
    for count in counts {
        cases.push(Case {
            layer: "fork-join",
            name: format!("fib({FIB}), a join a call, {count} workers"),
            operation: "join",
            kind: Kind::Time,
            subjects: Box::new(move || {
                let mut subjects = vec![fib::<Ours>(count), fib::<Rayon>(count), plain()];
                subjects.extend(TBB.subject("fib", count));
                subjects
            }),
        });
    }
    cases
}

fn fib<P: ForkJoin>(workers: usize) -> Subject {
    let pool = P::start(workers);
    let run = move |repetitions| {
        timed(repetitions * JOINS, || {
            for _ in 0..repetitions {
                assert_eq!(pool.install(|| parallel::<P>(black_box(FIB))), 75_025);
            }
        })
    };
    Subject {
        name: P::NAME,
        run: Box::new(run),
    }
}

fn parallel<P: ForkJoin>(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = P::join(|| parallel::<P>(n - 1), || parallel::<P>(n - 2));
    a + b
}

/// The same calls without any join. The difference is the cost of the joins.
fn plain() -> Subject {
    let run = |repetitions| {
        timed(repetitions * JOINS, || {
            for _ in 0..repetitions {
                assert_eq!(sequential(black_box(FIB)), 75_025);
            }
        })
    };
    Subject {
        name: "sequential (floor)",
        run: Box::new(run),
    }
}

#[inline(never)]
fn sequential(n: u64) -> u64 {
    if n < 2 {
        n
    } else {
        sequential(black_box(n - 1)) + sequential(black_box(n - 2))
    }
}
