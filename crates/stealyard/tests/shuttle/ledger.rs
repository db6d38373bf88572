//! What the scenarios share: a ledger of the tasks that ran and that were dropped, and schedulers
//! of all kinds.

use core::future::poll_fn;
use core::task::{Poll, Waker};

use stealyard::{Builder, GlobalInterval, LocalQueue, Longest, Nearest, Order, SpinConfig, Sticky};
use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::replay::pick;
use stealyard_sync::time::Duration;
use stealyard_sync::{Arc, Mutex, thread};

/// How many schedules of each scenario run every day.
pub(crate) const EVERY_DAY: usize = 3_000;

/// A place for each task: how often it ran to its end, and how often what it held was dropped.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Vec<Place>>);

#[derive(Default)]
struct Place {
    given: AtomicUsize,
    ran: AtomicUsize,
    dropped: AtomicUsize,
}

impl Ledger {
    pub(crate) fn new(places: usize) -> Self {
        Self(Arc::new((0..places).map(|_| Place::default()).collect()))
    }

    /// What the task of this place holds.
    pub(crate) fn entry(&self, place: usize) -> Entry {
        // Ordering: Relaxed; shuttle is sequentially consistent. The same everywhere in this file.
        let before = self.0[place].given.fetch_add(1, Ordering::Relaxed);
        assert_eq!(before, 0, "one entry for each place");
        Entry(self.clone(), place)
    }

    /// Every task has gone, having run at most once; how many ran.
    pub(crate) fn settle(&self) -> usize {
        let mut sum = 0;
        for (place, entry) in self.0.iter().enumerate() {
            let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
            let (given, ran, dropped) = (of(&entry.given), of(&entry.ran), of(&entry.dropped));
            assert_eq!(given, dropped, "place {place}: given and dropped");
            assert!(ran <= given, "place {place} ran {ran} times");
            sum += ran;
        }
        sum
    }

    /// Until every task has gone; for ever, which shuttle reports, if one was forgotten.
    pub(crate) fn wait(&self) {
        let here = |place: &Place| {
            place.given.load(Ordering::Relaxed) != place.dropped.load(Ordering::Relaxed)
        };
        while self.0.iter().any(here) {
            thread::yield_now();
        }
    }

    /// Every place was given out, and its task ran to its end exactly once.
    pub(crate) fn all_ran(&self) {
        assert_eq!(self.settle(), self.0.len(), "all tasks ran");
    }
}

/// Held by a task.
pub(crate) struct Entry(Ledger, usize);

impl Entry {
    /// The task has run to its end.
    pub(crate) fn ran(self) {
        self.0.0[self.1].ran.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.0[self.1].dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// A builder whose queue, policy and intervals the schedule picks, small enough to overflow.
pub(crate) fn any(workers: usize) -> Builder {
    let queue = match pick(4) {
        0 => LocalQueue::Ring { capacity: 2 },
        1 => LocalQueue::Split { capacity: 2 },
        2 => LocalQueue::ChaseLev { order: Order::Fifo },
        _ => LocalQueue::ChaseLev { order: Order::Lifo },
    };
    let builder = Builder::new()
        .parallelism(workers)
        .spin(SpinConfig::OFF)
        .local_queue(queue)
        .slot_streak_max([0, 1, 3][pick(3)])
        .steal_passes(1)
        .global_interval(GlobalInterval::Tasks(2))
        .blocking_threads_max(1 + pick(2));
    let builder = match pick(4) {
        0 => builder.steal_policy(Nearest),
        1 => builder.steal_policy(Sticky),
        2 => builder.steal_policy(Longest),
        _ => builder,
    };
    if pick(2) == 0 {
        builder.watch(Duration::MAX, Duration::MAX)
    } else {
        builder
    }
}

/// Can be rung so many times, by any thread, and waited for.
#[derive(Clone, Default)]
pub(crate) struct Bell(Arc<Mutex<Rings>>);

#[derive(Default)]
struct Rings {
    count: usize,
    waker: Option<Waker>,
}

impl Bell {
    pub(crate) fn ring(&self) {
        let waker = {
            let mut rings = self.0.lock().unwrap();
            rings.count += 1;
            rings.waker.take()
        };
        if let Some(waker) = waker {
            match pick(3) {
                0 => waker.wake(),
                1 => {
                    drop(waker.clone());
                    waker.wake_by_ref();
                }
                _ => {
                    waker.wake_by_ref();
                    waker.wake();
                }
            }
        }
    }

    /// Ready when it was rung so often.
    pub(crate) fn rung(&self, times: usize) -> impl Future<Output = ()> + Send + use<> {
        let bell = self.clone();
        poll_fn(move |context| {
            let new = context.waker().clone();
            let mut rings = bell.0.lock().unwrap();
            if rings.count >= times {
                return Poll::Ready(());
            }
            let old = rings.waker.replace(new);
            drop(rings);
            drop(old);
            Poll::Pending
        })
    }
}
