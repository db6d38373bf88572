//! crossbeam-deque: Chase–Lev, growable, last-in-first-out or first-in-first-out for its owner.

use crossbeam_deque::{Steal, Stealer, Worker};

use super::{LocalQueue, Thief};

/// `Worker::new_lifo`.
pub(crate) struct Lifo(Worker<usize>);

/// `Worker::new_fifo`.
pub(crate) struct Fifo(Worker<usize>);

macro_rules! crossbeam {
    ($queue:ident, $name:literal, $new:path) => {
        impl LocalQueue for $queue {
            const NAME: &'static str = $name;
            type Thief = Stealer<usize>;

            fn new() -> Self {
                let queue = $new();
                // The queue starts small and grows. The grown queue is measured.
                (0..256).for_each(|item| queue.push(item));
                while queue.pop().is_some() {}
                Self(queue)
            }

            #[inline]
            fn push(&self, item: usize) {
                self.0.push(item);
            }

            #[inline]
            fn pop(&self) -> Option<usize> {
                self.0.pop()
            }

            fn thief(&self) -> Stealer<usize> {
                self.0.stealer()
            }
        }

        impl Thief<$queue> for Stealer<usize> {
            #[inline]
            fn steal(&self) -> Option<usize> {
                one(self)
            }

            #[inline]
            fn steal_batch(&self, own: &$queue) -> bool {
                loop {
                    match Stealer::steal_batch(self, &own.0) {
                        Steal::Success(()) => return true,
                        Steal::Empty => return false,
                        Steal::Retry => {}
                    }
                }
            }
        }
    };
}

crossbeam!(Lifo, "crossbeam-deque lifo", Worker::new_lifo);
crossbeam!(Fifo, "crossbeam-deque fifo", Worker::new_fifo);

fn one(stealer: &Stealer<usize>) -> Option<usize> {
    loop {
        match stealer.steal() {
            Steal::Success(item) => return Some(item),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}
