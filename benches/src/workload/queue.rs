//! Local queues: the cost for the owner, alone and beside a thief, and the cost for a thief.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Case, Kind, Run, Subject, timed};
use crate::subject::concurrent_queue::Bounded;
use crate::subject::crossbeam::{Fifo as CrossbeamFifo, Lifo as CrossbeamLifo};
use crate::subject::mutex::{Queue as MutexQueue, Stack as MutexStack};
use crate::subject::ours::{ChaseLevFifo, ChaseLevLifo, Ring, Split};
use crate::subject::plain::{Queue as PlainQueue, Stack as PlainStack};
use crate::subject::st3::{Fifo as St3Fifo, Lifo as St3Lifo};
use crate::subject::{LocalQueue, Thief};

/// The numbers of items in the queue while the owner pushes and pops.
const DEPTHS: [usize; 3] = [1, 16, 200];

/// A case's name, its operation, and its subjects.
type Entry = (&'static str, &'static str, fn() -> Vec<Subject>);

/// Returns one workload on every first-in-first-out queue, ours first.
macro_rules! fifo {
    ($workload:ident $(, $argument:expr)*) => {
        vec![
            $workload::<Ring>($($argument),*),
            $workload::<CrossbeamFifo>($($argument),*),
            $workload::<St3Fifo>($($argument),*),
            $workload::<Bounded>($($argument),*),
            $workload::<MutexQueue>($($argument),*),
        ]
    };
}

/// Returns one workload on every last-in-first-out queue, ours first.
macro_rules! lifo {
    ($workload:ident $(, $argument:expr)*) => {
        vec![
            $workload::<Split>($($argument),*),
            $workload::<CrossbeamLifo>($($argument),*),
            $workload::<St3Lifo>($($argument),*),
            $workload::<MutexStack>($($argument),*),
        ]
    };
}

/// Returns the cases of this layer.
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
    cases.extend(
        ENTRIES.map(|(name, operation, subjects)| case(name.to_owned(), operation, subjects)),
    );
    cases
}

/// Returns the cases of one depth.
const ENTRIES: [Entry; 18] = [
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
        lifo!(disturbed, Tries::EachMicrosecond)
    }),
    ("fifo bursts of 64", "pair", || fifo!(bursts)),
    ("fifo push+pop, a thief every µs", "pair", || {
        fifo!(disturbed, Tries::EachMicrosecond)
    }),
    ("lifo push+pop, three thieves", "pair", || {
        lifo!(disturbed, Tries::AndYields { thieves: 3 })
    }),
    ("fifo push+pop, three thieves", "pair", || {
        fifo!(disturbed, Tries::AndYields { thieves: 3 })
    }),
    ("steal one, quiet victim", "item", || fifo!(steals)),
    ("steal half at a time, quiet victim", "item", || {
        fifo!(batches)
    }),
    ("steal one, busy victim", "item", || fifo!(busy_steals)),
    ("steal half at a time, busy victim", "item", || {
        fifo!(busy_batches)
    }),
    ("lifo steal one, busy victim", "item", || lifo!(busy_steals)),
    ("one item there and back", "round trip", || {
        fifo!(there_and_back)
    }),
    // `Split` is left out: its owner shares items at its next operation, and here it makes none.
    ("ChaseLev, one item there and back", "round trip", || {
        vec![
            there_and_back::<ChaseLevLifo>(),
            there_and_back::<CrossbeamLifo>(),
            there_and_back::<St3Lifo>(),
            there_and_back::<MutexStack>(),
        ]
    }),
    ("steal from an empty queue", "attempt", || {
        fifo!(empty_steals)
    }),
];

fn case(
    name: String,
    operation: &'static str,
    subjects: impl Fn() -> Vec<Subject> + 'static,
) -> Case {
    Case {
        layer: "queue",
        name,
        operation,
        kind: Kind::Time,
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

/// The way in which thieves try.
#[derive(Clone, Copy)]
enum Tries {
    /// One thief, on a core of its own.
    EachMicrosecond,
    /// Several thieves, each of which yields its core after a look. There may be more of them than
    /// cores.
    AndYields { thieves: usize },
}

/// The owner keeps 16 items in the queue, while other threads steal from it.
fn disturbed<Q: LocalQueue + 'static>(tries: Tries) -> Subject {
    let queue = filled::<Q>(16);
    subject::<Q>(move |repetitions| {
        let (stop, stolen) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let thieves = match tries {
            Tries::EachMicrosecond => 1,
            Tries::AndYields { thieves } => thieves,
        };
        let start_thief = |_| {
            let (thief, stop, stolen) = (queue.thief(), Arc::clone(&stop), Arc::clone(&stolen));
            std::thread::spawn(move || {
                let mut next = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    if thief.steal().map(black_box).is_some() {
                        stolen.fetch_add(1, Ordering::Relaxed);
                    }
                    if matches!(tries, Tries::AndYields { .. }) {
                        std::thread::yield_now();
                        continue;
                    }
                    next += Duration::from_micros(1);
                    while Instant::now() < next {
                        std::hint::spin_loop();
                    }
                }
            })
        };
        let thieves: Vec<_> = (0..thieves).map(start_thief).collect();
        let mut missing = 0_u64;
        let run = timed(repetitions, || {
            for item in 1..=repetitions {
                queue.push(black_box(item as usize));
                missing += u64::from(queue.pop().is_none());
                if item % 64 == 0 {
                    // Stolen items are replaced, so that the depth stays.
                    let lost = stolen.swap(0, Ordering::Relaxed);
                    (missing..lost).for_each(|item| queue.push(item as usize + 1));
                    missing = missing.saturating_sub(lost);
                }
            }
        });
        stop.store(true, Ordering::Relaxed);
        for thief in thieves {
            thief.join().expect("the thief ends");
        }
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
            let begun = Instant::now();
            for _ in 0..200 {
                black_box(thief.steal().expect("200 were pushed"));
            }
            time += begun.elapsed();
        }
        assert!(queue.pop().is_none(), "{} has too many", Q::NAME);
        Run::took(time, rounds * 200)
    })
}

/// One thread fills a queue with 200 items. Batches move to the thread's own queue, which it
/// empties, until no item is left.
fn batches<Q: LocalQueue + 'static>() -> Subject {
    let (queue, own) = (Q::new(), Q::new());
    let thief = queue.thief();
    subject::<Q>(move |repetitions| {
        let rounds = repetitions.div_ceil(200);
        let mut time = Duration::ZERO;
        for _ in 0..rounds {
            (1..=200).for_each(|item| queue.push(item));
            let mut got = 0;
            let begun = Instant::now();
            while thief.steal_batch(&own) {
                while let Some(item) = own.pop() {
                    black_box(item);
                    got += 1;
                }
            }
            time += begun.elapsed();
            assert_eq!(got, 200, "{} lost items", Q::NAME);
        }
        Run::took(time, rounds * 200)
    })
}

/// The number of items that a busy victim keeps in its queue.
const BUSY_DEPTH: usize = 128;
/// The victim's task: about 40 ns.
const TASK_PAUSES: usize = 4;
/// The thief's pause between two tries: about 300 ns.
const THIEF_PAUSES: usize = 30;

/// Another thread pushes and pops with a short task in between, and this one steals now and then.
fn busy_steals<Q: LocalQueue + 'static>() -> Subject {
    busy::<Q>(|thief, _| u64::from(thief.steal().map(black_box).is_some()))
}

/// The same as `busy_steals`, but a batch at a time.
fn busy_batches<Q: LocalQueue + 'static>() -> Subject {
    busy::<Q>(|thief, own| {
        thief.steal_batch(own);
        0
    })
}

/// `take` tries once, and returns the number of items that it got, without those that went to the
/// thief's own queue. Only its time counts. The items are read, because the compiler leaves out a
/// load whose value is not needed, where the queue's code allows it. That load is the most
/// expensive part.
fn busy<Q: LocalQueue + 'static>(take: fn(&Q::Thief, &Q) -> u64) -> Subject {
    subject::<Q>(move |repetitions| {
        let stop = Arc::new(AtomicBool::new(false));
        let stolen = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = std::sync::mpsc::channel();
        let owner = {
            let (stop, stolen) = (Arc::clone(&stop), Arc::clone(&stolen));
            std::thread::spawn(move || {
                let queue = filled::<Q>(BUSY_DEPTH);
                sender.send(queue.thief()).expect("somebody waits for it");
                let mut made_good = 0;
                while !stop.load(Ordering::Relaxed) {
                    // Stolen items are replaced, so that there is something to steal. If a pop
                    // failed because a thief was at the item, the queue has one item too many now.
                    let lost = stolen.load(Ordering::Relaxed);
                    if made_good <= lost {
                        (made_good..lost).for_each(|_| queue.push(1));
                        queue.push(1);
                        made_good = lost;
                    } else {
                        made_good -= 1;
                    }
                    made_good += u64::from(queue.pop().is_none());
                    (0..TASK_PAUSES).for_each(|_| std::hint::spin_loop());
                }
            })
        };
        let (thief, own) = (receiver.recv().expect("the owner started"), Q::new());
        let (mut got, mut time) = (0, Duration::ZERO);
        while got < repetitions {
            let begun = Instant::now();
            got += take(&thief, &own);
            time += begun.elapsed();
            while own.pop().is_some() {
                got += 1;
            }
            stolen.store(got, Ordering::Relaxed);
            (0..THIEF_PAUSES).for_each(|_| std::hint::spin_loop());
        }
        stop.store(true, Ordering::Relaxed);
        owner.join().expect("the owner ends");
        Run::took(time, got)
    })
}

/// One item goes to another thread through one queue, and comes back through a second one.
fn there_and_back<Q: LocalQueue + 'static>() -> Subject {
    fn wait<Q, T: Thief<Q>>(thief: &T) -> usize {
        loop {
            if let Some(item) = thief.steal() {
                return item;
            }
            std::hint::spin_loop();
        }
    }
    subject::<Q>(|repetitions| {
        let queue = Q::new();
        let there = queue.thief();
        let (sender, receiver) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            let queue = Q::new();
            sender.send(queue.thief()).expect("somebody waits for it");
            for _ in 0..repetitions {
                queue.push(wait::<Q, _>(&there));
            }
        });
        let back = receiver.recv().expect("the other started");
        let run = timed(repetitions, || {
            for item in 1..=repetitions {
                queue.push(item as usize);
                assert_eq!(wait::<Q, _>(&back), item as usize);
            }
        });
        other.join().expect("the other ends");
        run
    })
}

/// A thief tries an empty queue.
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
