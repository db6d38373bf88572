//! A pipeline of three threads on the queues alone. One makes numbers, one squares them in batches,
//! one adds them up. Each sleeps with `std`'s park when its queue is empty.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use stealyard_injector::{Injector, Locked, Segmented};

const NUMBERS: u64 = 100_000;

/// A queue that records when no more items will come.
struct Stage<Q> {
    queue: Q,
    closed: AtomicBool,
}

impl<Q: Injector<u64> + Default> Stage<Q> {
    fn new() -> Self {
        Self {
            queue: Q::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Hands batches to `work` until the queue is closed and empty.
    fn drain(&self, mut work: impl FnMut(Vec<u64>)) {
        loop {
            // Ordering: Acquire, partner: the Release of `close`; what was pushed before is seen
            // below.
            let closed = self.closed.load(Ordering::Acquire);
            let mut batch = Vec::new();
            self.queue.pop_batch(64, 1, |number| batch.push(number));
            if !batch.is_empty() {
                work(batch);
            } else if closed {
                return;
            } else {
                // A real program would use an event count; a pipeline that is busy hardly waits.
                thread::yield_now();
            }
        }
    }

    fn close(&self) {
        // Ordering: Release, partner: the Acquire of `drain`.
        self.closed.store(true, Ordering::Release);
    }
}

fn main() {
    let made = Stage::<Locked<u64>>::new();
    let squared = Stage::<Segmented<u64>>::new();
    let sum = thread::scope(|scope| {
        scope.spawn(|| {
            for start in (0..NUMBERS).step_by(100) {
                made.queue.push_batch(start..start + 100);
            }
            made.close();
        });
        scope.spawn(|| {
            made.drain(|batch| squared.queue.push_batch(batch.into_iter().map(|n| n * n)));
            squared.close();
        });
        let adder = scope.spawn(|| {
            let mut sum = 0;
            squared.drain(|batch| sum += batch.iter().sum::<u64>());
            sum
        });
        adder.join().expect("it adds")
    });
    assert_eq!(sum, (0..NUMBERS).map(|number| number * number).sum::<u64>());
    eprintln!("{NUMBERS} numbers, sum of squares {sum}");
}
