//! A standard collection behind the standard lock: the obvious first choice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{LocalQueue, Thief};

macro_rules! behind_a_mutex {
    ($queue:ident, $name:literal, $of:ident, $push:ident, $pop:ident, $steal:expr) => {
        #[doc = concat!("`", $name, "`.")]
        #[derive(Clone)]
        pub(crate) struct $queue(Arc<Mutex<$of<usize>>>);

        impl $queue {
            #[inline]
            fn lock(&self) -> MutexGuard<'_, $of<usize>> {
                self.0.lock().expect("nobody panics while it is locked")
            }
        }

        impl LocalQueue for $queue {
            const NAME: &'static str = $name;
            type Thief = Self;

            fn new() -> Self {
                Self(Arc::new(Mutex::new($of::with_capacity(256))))
            }

            #[inline]
            fn push(&self, item: usize) {
                self.lock().$push(item);
            }

            #[inline]
            fn pop(&self) -> Option<usize> {
                self.lock().$pop()
            }

            fn thief(&self) -> Self {
                self.clone()
            }
        }

        impl Thief<Self> for $queue {
            #[inline]
            fn steal(&self) -> Option<usize> {
                let steal: fn(&mut $of<usize>) -> Option<usize> = $steal;
                steal(&mut self.lock())
            }

            #[inline]
            fn steal_batch(&self, own: &Self) -> bool {
                let mut victim = self.lock();
                let half = victim.len().div_ceil(2);
                if half == 0 {
                    return false;
                }
                // Thieves have queues of their own, so the two locks are never taken in the other
                // order.
                own.lock().extend(victim.drain(..half));
                true
            }
        }
    };
}

behind_a_mutex!(
    Queue,
    "Mutex<VecDeque>",
    VecDeque,
    push_back,
    pop_front,
    VecDeque::pop_front
);
// Taking the oldest item of a `Vec` is expensive, so a thief takes the youngest as well.
behind_a_mutex!(Stack, "Mutex<Vec>", Vec, push, pop, Vec::pop);
