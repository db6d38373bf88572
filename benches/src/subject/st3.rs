//! st3: bounded rings, last-in-first-out or first-in-first-out for their owner.

use super::{LocalQueue, Thief};

/// `st3::lifo::Worker`.
pub(crate) struct Lifo(st3::lifo::Worker<usize>);

/// `st3::fifo::Worker`.
pub(crate) struct Fifo(st3::fifo::Worker<usize>);

/// A stealer with a queue to steal single items into, as st3 requires.
pub(crate) struct Via<S, W> {
    stealer: S,
    through: W,
}

macro_rules! st3 {
    ($queue:ident, $module:ident, $name:literal) => {
        impl LocalQueue for $queue {
            const NAME: &'static str = $name;
            type Thief = Via<st3::$module::Stealer<usize>, st3::$module::Worker<usize>>;

            fn new() -> Self {
                Self(st3::$module::Worker::new(256))
            }

            #[inline]
            fn push(&self, item: usize) {
                // The queue is never full by its own items. But slots that a thief is still copying
                // from are not free, and a thief that lost its core in the middle keeps them all.
                let mut item = item;
                while let Err(back) = self.0.push(item) {
                    item = back;
                    std::thread::yield_now();
                }
            }

            #[inline]
            fn pop(&self) -> Option<usize> {
                self.0.pop()
            }

            fn thief(&self) -> Self::Thief {
                Via {
                    stealer: self.0.stealer(),
                    through: st3::$module::Worker::new(2),
                }
            }
        }

        impl Thief<$queue> for Via<st3::$module::Stealer<usize>, st3::$module::Worker<usize>> {
            #[inline]
            fn steal(&self) -> Option<usize> {
                loop {
                    match self.stealer.steal_and_pop(&self.through, |_| 1) {
                        Ok((item, _)) => return Some(item),
                        Err(st3::StealError::Empty) => return None,
                        Err(st3::StealError::Busy) => {}
                    }
                }
            }

            #[inline]
            fn steal_batch(&self, own: &$queue) -> bool {
                loop {
                    match self.stealer.steal(&own.0, |count| count.div_ceil(2)) {
                        Ok(_) => return true,
                        Err(st3::StealError::Empty) => return false,
                        Err(st3::StealError::Busy) => {}
                    }
                }
            }
        }
    };
}

st3!(Lifo, lifo, "st3 lifo");
st3!(Fifo, fifo, "st3 fifo");
