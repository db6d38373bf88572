//! Local queues: what the owner pays, alone and with a thief about, and what a thief pays.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Case, Run, Subject, timed};
use crate::subject::crossbeam::{Fifo as CrossbeamFifo, Lifo as CrossbeamLifo};
use crate::subject::ours::Ring;
use crate::subject::plain::{Queue as PlainQueue, Stack as PlainStack};
use crate::subject::st3::{Fifo as St3Fifo, Lifo as St3Lifo};
use crate::subject::{LocalQueue, Thief};

/// How full a queue is while the owner pushes and pops.
const DEPTHS: [usize; 3] = [1, 16, 200];

/// The cases of this layer.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for depth in DEPTHS {
        cases.push(case(
            format!("fifo push+pop, {depth} deep"),
            "pair",
            move || {
                vec![
                    pairs::<Ring>(depth),
                    pairs::<CrossbeamFifo>(depth),
                    pairs::<St3Fifo>(depth),
                    pairs::<PlainQueue>(depth),
                ]
            },
        ));
    }
    cases.push(case("fifo bursts of 64".to_owned(), "pair", || {
        vec![
            bursts::<Ring>(),
            bursts::<CrossbeamFifo>(),
            bursts::<St3Fifo>(),
        ]
    }));
    cases.push(case(
        "fifo push+pop, a thief every µs".to_owned(),
        "pair",
        || {
            vec![
                disturbed::<Ring>(),
                disturbed::<CrossbeamFifo>(),
                disturbed::<St3Fifo>(),
            ]
        },
    ));
    cases.push(case("steal one, quiet victim".to_owned(), "item", || {
        vec![
            steals::<Ring>(),
            steals::<CrossbeamFifo>(),
            steals::<St3Fifo>(),
        ]
    }));
    cases.push(case(
        "steal half at a time, quiet victim".to_owned(),
        "item",
        || {
            vec![
                batches::<Ring>(),
                batches::<CrossbeamFifo>(),
                batches::<St3Fifo>(),
            ]
        },
    ));
    cases.push(case("steal one, busy victim".to_owned(), "steal", || {
        vec![
            busy_steals::<Ring>(),
            busy_steals::<CrossbeamFifo>(),
            busy_steals::<St3Fifo>(),
        ]
    }));
    cases.push(case(
        "steal from an empty queue".to_owned(),
        "attempt",
        || {
            vec![
                empty_steals::<Ring>(),
                empty_steals::<CrossbeamFifo>(),
                empty_steals::<St3Fifo>(),
            ]
        },
    ));
    cases.push(case(
        "lifo peers beside the floor, 16 deep".to_owned(),
        "pair",
        || {
            vec![
                pairs::<Ring>(16),
                pairs::<CrossbeamLifo>(16),
                pairs::<St3Lifo>(16),
                pairs::<PlainStack>(16),
            ]
        },
    ));
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
