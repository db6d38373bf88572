//! The floors: the cost without any concurrency.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::{LocalQueue, Thief};

/// `Vec`, last in, first out. No thief can steal from it.
pub(crate) struct Stack(RefCell<Vec<usize>>);

/// `VecDeque`, first in, first out. No thief can steal from it.
pub(crate) struct Queue(RefCell<VecDeque<usize>>);

/// The thief's end of a queue without thieves. It steals nothing.
pub(crate) struct NoThief;

impl<Q> Thief<Q> for NoThief {
    fn steal(&self) -> Option<usize> {
        None
    }

    fn steal_batch(&self, _own: &Q) -> bool {
        false
    }
}

macro_rules! plain {
    ($queue:ident, $name:literal, $of:ident, $push:ident, $pop:ident) => {
        impl LocalQueue for $queue {
            const NAME: &'static str = $name;
            type Thief = NoThief;

            fn new() -> Self {
                Self(RefCell::new($of::with_capacity(256)))
            }

            #[inline]
            fn push(&self, item: usize) {
                self.0.borrow_mut().$push(item);
            }

            #[inline]
            fn pop(&self) -> Option<usize> {
                self.0.borrow_mut().$pop()
            }

            fn thief(&self) -> NoThief {
                NoThief
            }
        }
    };
}

plain!(Stack, "Vec (floor)", Vec, push, pop);
plain!(Queue, "VecDeque (floor)", VecDeque, push_back, pop_front);
