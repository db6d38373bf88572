//! Local queues: what the owner pays, alone and with a thief about, and what a thief pays.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Case, Run, Subject, timed};
use crate::subject::crossbeam::{Fifo as CrossbeamFifo, Lifo as CrossbeamLifo};
use crate::subject::ours::{ChaseLevFifo, ChaseLevLifo, Ring, Split};
use crate::subject::plain::{Queue as PlainQueue, Stack as PlainStack};
use crate::subject::st3::{Fifo as St3Fifo, Lifo as St3Lifo};
use crate::subject::{LocalQueue, Thief};

/// How full a queue is while the owner pushes and pops.
const DEPTHS: [usize; 3] = [1, 16, 200];

/// A case's name, its operation, and its subjects.
type Entry = (&'static str, &'static str, fn() -> Vec<Subject>);

/// One workload on every first-in-first-out queue, ours first.
macro_rules! fifo {
    ($workload:ident $(, $argument:expr)*) => {
        vec![
            $workload::<Ring>($($argument),*),
            $workload::<CrossbeamFifo>($($argument),*),
            $workload::<St3Fifo>($($argument),*),
        ]
    };
}

/// One workload on every last-in-first-out queue, ours first.
macro_rules! lifo {
    ($workload:ident $(, $argument:expr)*) => {
        vec![
            $workload::<Split>($($argument),*),
            $workload::<CrossbeamLifo>($($argument),*),
            $workload::<St3Lifo>($($argument),*),
        ]
    };
}

/// The cases of this layer.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for depth in DEPTHS {
        cases.push(case(
            format!("fifo push+pop, {depth} deep"),
            "pair",
            move || {
                let mut subjects = fifo!(pairs, depth);
                subjects.push(pairs::<PlainQueue>(depth));
                subjects
            },
        ));
    }
    for depth in DEPTHS {
        cases.push(case(
            format!("lifo push+pop, {depth} deep"),
            "pair",
            move || {
                let mut subjects = lifo!(pairs, depth);
                subjects.push(pairs::<PlainStack>(depth));
                subjects
            },
        ));
    }
    let rest: [Entry; 12] = [
        ("ChaseLev lifo push+pop, 1 deep", "pair", || {
            vec![pairs::<ChaseLevLifo>(1), pairs::<CrossbeamLifo>(1)]
        }),
        ("ChaseLev lifo push+pop, 16 deep", "pair", || {
            vec![pairs::<ChaseLevLifo>(16), pairs::<CrossbeamLifo>(16)]
        }),
        ("ChaseLev fifo push+pop, 16 deep", "pair", || {
            vec![pairs::<ChaseLevFifo>(16), pairs::<CrossbeamFifo>(16)]
        }),
        ("ChaseLev steal one, quiet victim", "item", || {
            vec![steals::<ChaseLevFifo>(), steals::<CrossbeamFifo>()]
        }),
        ("lifo bursts of 64", "pair", || lifo!(bursts)),
        ("lifo push+pop, a thief every µs", "pair", || {
            lifo!(disturbed)
        }),
        ("fifo bursts of 64", "pair", || fifo!(bursts)),
        ("fifo push+pop, a thief every µs", "pair", || {
            fifo!(disturbed)
        }),
        ("steal one, quiet victim", "item", || fifo!(steals)),
        ("steal half at a time, quiet victim", "item", || {
            fifo!(batches)
        }),
        ("steal one, busy victim", "steal", || fifo!(busy_steals)),
        ("steal from an empty queue", "attempt", || {
            fifo!(empty_steals)
        }),
    ];
    cases
        .extend(rest.map(|(name, operation, subjects)| case(name.to_owned(), operation, subjects)));
    cases
}

fn case(
    name: String,
    operation: &'static str,
    subjects: impl Fn() -> Vec<Subject> + 'static,
) -> Case {
    Case {
        layer: "queue",
        name,
        operation,
        subjects: Box::new(subjects),
    }
}

fn subject<Q: LocalQueue>(run: impl FnMut(u64) -> Run + 'static) -> Subject {
    Subject {
        name: Q::NAME,
        run: Box::new(run),
    }
}

fn filled<Q: LocalQueue>(items: usize) -> Q {
    let queue = Q::new();
    (1..=items).for_each(|item| queue.push(item));
    queue
}

/// The owner alone pushes and pops with `depth` items in the queue.
fn pairs<Q: LocalQueue + 'static>(depth: usize) -> Subject {
    let queue = filled::<Q>(depth - 1);
    subject::<Q>(move |repetitions| {
        let mut sum = 0_u64;
        let run = timed(repetitions, || {
            for item in 1..=repetitions {
                queue.push(black_box(item as usize));
                sum += queue.pop().expect("one was pushed") as u64;
            }
        });
        black_box(sum);
        run
    })
}

/// The owner alone pushes 64 and pops 64.
fn bursts<Q: LocalQueue + 'static>() -> Subject {
    let queue = Q::new();
    subject::<Q>(move |repetitions| {
        let bursts = repetitions.div_ceil(64);
        let mut popped = 0;
        let run = timed(bursts * 64, || {
            for _ in 0..bursts {
                (1..=64).for_each(|item| queue.push(black_box(item)));
                while queue.pop().is_some() {
                    popped += 1;
                }
            }
        });
        assert_eq!(popped, bursts * 64, "{} lost items", Q::NAME);
        run
    })
}

/// The owner keeps 16 items in the queue, while another thread steals one every microsecond.
fn disturbed<Q: LocalQueue + 'static>() -> Subject {
    let queue = filled::<Q>(16);
    subject::<Q>(move |repetitions| {
        let (stop, stolen) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let thief = {
            let (thief, stop, stolen) = (queue.thief(), Arc::clone(&stop), Arc::clone(&stolen));
            std::thread::spawn(move || {
                let mut next = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    next += Duration::from_micros(1);
                    if thief.steal().is_some() {
                        stolen.fetch_add(1, Ordering::Relaxed);
                    }
                    while Instant::now() < next {
                        std::hint::spin_loop();
                    }
                }
            })
        };
        let mut missing = 0_u64;
        let run = timed(repetitions, || {
            for item in 1..=repetitions {
                queue.push(black_box(item as usize));
                missing += u64::from(queue.pop().is_none());
                if item % 64 == 0 {
                    // What was stolen is made good, so that the depth stays.
                    let lost = stolen.swap(0, Ordering::Relaxed);
                    (missing..lost).for_each(|item| queue.push(item as usize + 1));
                    missing = missing.saturating_sub(lost);
                }
            }
        });
        stop.store(true, Ordering::Relaxed);
        thief.join().expect("the thief ends");
        while queue.pop().is_some() {}
        (1..=16).for_each(|item| queue.push(item));
        run
    })
}

/// One thread fills a queue with 200 items and steals them one by one.
fn steals<Q: LocalQueue + 'static>() -> Subject {
    let queue = Q::new();
    let thief = queue.thief();
    subject::<Q>(move |repetitions| {
        let rounds = repetitions.div_ceil(200);
        let mut time = Duration::ZERO;
        for _ in 0..rounds {
            (1..=200).for_each(|item| queue.push(item));
            time += timed(200, || {
                for _ in 0..200 {
                    black_box(thief.steal().expect("200 were pushed"));
                }
            })
            .time;
        }
        assert!(queue.pop().is_none(), "{} has too many", Q::NAME);
        Run {
            time,
            operations: rounds * 200,
        }
    })
}

/// One thread fills a queue with 200 items; batches move to its own queue, which it empties, until
/// nothing is left.
fn batches<Q: LocalQueue + 'static>() -> Subject {
    let (queue, own) = (Q::new(), Q::new());
    let thief = queue.thief();
    subject::<Q>(move |repetitions| {
        let rounds = repetitions.div_ceil(200);
        let mut time = Duration::ZERO;
        for _ in 0..rounds {
            (1..=200).for_each(|item| queue.push(item));
            let mut got = 0;
            time += timed(200, || {
                while thief.steal_batch(&own) {
                    while let Some(item) = own.pop() {
                        black_box(item);
                        got += 1;
                    }
                }
            })
            .time;
            assert_eq!(got, 200, "{} lost items", Q::NAME);
        }
        Run {
            time,
            operations: rounds * 200,
        }
    })
}

/// Another thread pushes 64 and pops what is left of them, as fast as it can; this one steals.
fn busy_steals<Q: LocalQueue + 'static>() -> Subject {
    subject::<Q>(move |repetitions| {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = std::sync::mpsc::channel();
        let owner = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let queue = Q::new();
                sender.send(queue.thief()).expect("somebody waits for it");
                while !stop.load(Ordering::Relaxed) {
                    (1..=64).for_each(|item| queue.push(item));
                    while queue.pop().is_some() {}
                }
            })
        };
        let thief = receiver.recv().expect("the owner started");
        // The owner may have to wait for a core; that is not a part of a steal.
        while thief.steal().is_none() {}
        let mut got = 0;
        let run = timed(repetitions, || {
            while got < repetitions {
                got += u64::from(thief.steal().is_some());
            }
        });
        stop.store(true, Ordering::Relaxed);
        owner.join().expect("the owner ends");
        run
    })
}

/// Nothing is there to be stolen.
fn empty_steals<Q: LocalQueue + 'static>() -> Subject {
    let queue = Q::new();
    let thief = queue.thief();
    subject::<Q>(move |repetitions| {
        let _keep = &queue;
        timed(repetitions, || {
            for _ in 0..repetitions {
                assert!(black_box(thief.steal()).is_none(), "nothing was pushed");
            }
        })
    })
}
