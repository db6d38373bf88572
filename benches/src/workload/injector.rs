//! Global queues: several producers and consumers, items one by one and in batches.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use concurrent_queue::ConcurrentQueue;
use crossbeam_deque::Injector as CrossbeamInjector;
use crossbeam_queue::SegQueue;
use stealyard_injector::{Locked, Segmented, Stack};

use crate::harness::{Case, Kind, Run, Subject, timed};
use crate::subject::injectors::{Flume, GlobalQueue, OwnedNode, Payload, TwoLanes};

/// The numbers of producers and consumers.
const CREWS: [(usize, usize); 4] = [(1, 1), (2, 2), (4, 1), (1, 4)];
const BATCHES: [usize; 3] = [1, 32, 128];

/// Returns one workload on every peer, ours first.
macro_rules! beside_peers {
    ($workload:ident, $ours:ident $(, $argument:expr)*) => {
        vec![
            $workload::<usize, $ours<usize>>($($argument),*),
            $workload::<usize, CrossbeamInjector<usize>>($($argument),*),
            $workload::<usize, SegQueue<usize>>($($argument),*),
            $workload::<usize, ConcurrentQueue<usize>>($($argument),*),
            $workload::<usize, Flume<usize>>($($argument),*),
        ]
    };
}

/// Returns the cases of this layer.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (producers, consumers) in CREWS {
        for batch in BATCHES {
            let crew = Crew {
                producers,
                consumers,
                batch,
            };
            cases.push(case(format!("Segmented, {crew}"), move || {
                beside_peers!(through, Segmented, crew)
            }));
        }
    }
    for batch in BATCHES {
        let crew = Crew {
            producers: 2,
            consumers: 2,
            batch,
        };
        cases.push(case(format!("Sharded, {crew}"), move || {
            beside_peers!(through, TwoLanes, crew)
        }));
        cases.push(case(format!("Locked, {crew}"), move || {
            beside_peers!(through, Locked, crew)
        }));
    }
    for batch in [1, 32] {
        let crew = Crew {
            producers: 4,
            consumers: 1,
            batch,
        };
        cases.push(case(format!("Stack, {crew}, items in boxes"), move || {
            vec![
                through::<OwnedNode, Stack<OwnedNode>>(crew),
                through::<OwnedNode, CrossbeamInjector<OwnedNode>>(crew),
                through::<OwnedNode, SegQueue<OwnedNode>>(crew),
                through::<OwnedNode, ConcurrentQueue<OwnedNode>>(crew),
            ]
        }));
    }
    for batch in BATCHES {
        cases.push(case(
            format!("Locked, one thread, batches of {batch}"),
            move || beside_peers!(alone, Locked, batch),
        ));
        cases.push(case(
            format!("Segmented, one thread, batches of {batch}"),
            move || beside_peers!(alone, Segmented, batch),
        ));
    }
    cases.push(case("an empty pop, Locked".to_owned(), || {
        beside_peers!(empty, Locked)
    }));
    cases.push(case("an empty pop, Segmented".to_owned(), || {
        beside_peers!(empty, Segmented)
    }));
    cases
}

fn case(name: String, subjects: impl Fn() -> Vec<Subject> + 'static) -> Case {
    Case {
        layer: "injector",
        name,
        operation: "item",
        kind: Kind::Time,
        subjects: Box::new(subjects),
    }
}

/// The threads that move items, and the number of items that they move at a time.
#[derive(Clone, Copy)]
struct Crew {
    producers: usize,
    consumers: usize,
    batch: usize,
}

impl std::fmt::Display for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            producers,
            consumers,
            batch,
        } = self;
        write!(f, "{producers}p{consumers}c, batches of {batch}")
    }
}

fn subject<T, Q: GlobalQueue<T>>(run: impl FnMut(u64) -> Run + 'static) -> Subject {
    Subject {
        name: Q::NAME,
        run: Box::new(run),
    }
}

/// Producers put items in, and consumers take them out until all have come. The time is from the
/// first start to the last end.
fn through<T: Payload, Q: GlobalQueue<T>>(crew: Crew) -> Subject {
    subject::<T, Q>(move |repetitions| {
        let share = (repetitions as usize).div_ceil(crew.producers * crew.batch) * crew.batch;
        let total = share * crew.producers;
        let queue = Arc::new(Q::new());
        let (taken, sum) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads = crew.producers + crew.consumers;
        let barrier = Arc::new(Barrier::new(threads));
        let mut started = Vec::new();
        for number in 0..crew.producers {
            let (queue, barrier) = (Arc::clone(&queue), Arc::clone(&barrier));
            started.push(std::thread::spawn(move || {
                produce(&*queue, number, share, crew.batch, &barrier)
            }));
        }
        for number in 0..crew.consumers {
            let (queue, barrier) = (Arc::clone(&queue), Arc::clone(&barrier));
            let (taken, sum) = (Arc::clone(&taken), Arc::clone(&sum));
            started.push(std::thread::spawn(move || {
                let consumer = Consumer {
                    number,
                    crew,
                    total,
                    taken: &taken,
                };
                let (got, begun, ended) = consumer.run(&*queue, &barrier);
                sum.fetch_add(got, Ordering::Relaxed);
                (begun, ended)
            }));
        }
        let times: Vec<(Instant, Instant)> = started
            .into_iter()
            .map(|thread| thread.join().expect("it ends"))
            .collect();
        let begun = times.iter().map(|&(begun, _)| begun).min();
        let ended = times.iter().map(|&(_, ended)| ended).max();
        let expected = share * (share + 1) / 2 * crew.producers;
        assert_eq!(
            sum.load(Ordering::Relaxed),
            expected,
            "{} lost or doubled items",
            Q::NAME
        );
        let time = begun.zip(ended).map(|(begun, ended)| ended - begun);
        Run::took(time.unwrap_or(Duration::ZERO), total as u64)
    })
}

fn produce<T: Payload, Q: GlobalQueue<T>>(
    queue: &Q,
    number: usize,
    share: usize,
    batch: usize,
    barrier: &Barrier,
) -> (Instant, Instant) {
    let mut items: Vec<T> = (1..=share).map(T::make).collect();
    barrier.wait();
    let begun = Instant::now();
    if batch == 1 {
        items.drain(..).for_each(|item| queue.push(number, item));
    } else {
        let mut items = items.drain(..);
        for _ in 0..share / batch {
            queue.push_batch(number, items.by_ref().take(batch));
        }
    }
    (begun, Instant::now())
}

struct Consumer<'a> {
    number: usize,
    crew: Crew,
    total: usize,
    taken: &'a AtomicUsize,
}

impl Consumer<'_> {
    fn run<T: Payload, Q: GlobalQueue<T>>(
        &self,
        queue: &Q,
        barrier: &Barrier,
    ) -> (usize, Instant, Instant) {
        let kept = RefCell::new(Vec::with_capacity(self.total));
        let own = queue.consumer(self.number);
        let Crew {
            consumers, batch, ..
        } = self.crew;
        let mut sum = 0_usize;
        barrier.wait();
        let begun = Instant::now();
        let mut mine = 0;
        loop {
            let got = queue.pop_batch(&own, batch, consumers, |item: T| {
                sum += black_box(item.spend(&kept));
            });
            mine += got;
            if got == 0 {
                // The common count is updated only after a pop that found no item.
                let all = self.taken.fetch_add(mine, Ordering::Relaxed) + mine;
                mine = 0;
                if all == self.total {
                    break;
                }
                std::thread::yield_now();
            }
        }
        (sum, begun, Instant::now())
    }
}

/// One thread puts a batch in and takes it out again.
fn alone<T: Payload, Q: GlobalQueue<T>>(batch: usize) -> Subject {
    let queue = Q::new();
    let own = queue.consumer(0);
    let kept = RefCell::new(Vec::new());
    subject::<T, Q>(move |repetitions| {
        let rounds = (repetitions as usize).div_ceil(batch);
        let mut got = 0;
        let run = timed((rounds * batch) as u64, || {
            for round in 0..rounds {
                if batch == 1 {
                    queue.push(0, T::make(black_box(round)));
                } else {
                    queue.push_batch(0, (0..batch).map(|item| T::make(black_box(item))));
                }
                let before = got;
                while got < before + batch {
                    got += queue.pop_batch(&own, batch, 1, |item| {
                        black_box(item.spend(&kept));
                    });
                }
            }
        });
        assert_eq!(got, rounds * batch, "{} lost items", Q::NAME);
        run
    })
}

/// One thread takes from an empty queue.
fn empty<T: Payload, Q: GlobalQueue<T>>() -> Subject {
    let queue = Q::new();
    let own = queue.consumer(0);
    subject::<T, Q>(move |repetitions| {
        timed(repetitions, || {
            for _ in 0..repetitions {
                let got = queue.pop_batch(&own, 1, 1, |_| ());
                assert_eq!(black_box(got), 0, "nothing was pushed");
            }
        })
    })
}
