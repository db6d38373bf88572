//! Ours.

use std::num::NonZeroUsize;

use stealyard_deque::{RingStealer, Steal};

use super::{LocalQueue, Thief};

/// `stealyard_deque::Ring`.
pub(crate) struct Ring(stealyard_deque::Ring<NonZeroUsize>);

impl LocalQueue for Ring {
    const NAME: &'static str = "stealyard Ring";
    type Thief = RingStealer<NonZeroUsize>;

    fn new() -> Self {
        Self(stealyard_deque::Ring::new())
    }

    #[inline]
    fn push(&self, item: usize) {
        let item = NonZeroUsize::new(item).expect("items are numbered from 1");
        self.0.push(item).expect("256 items fit");
    }

    #[inline]
    fn pop(&self) -> Option<usize> {
        self.0.pop().map(NonZeroUsize::get)
    }

    fn thief(&self) -> RingStealer<NonZeroUsize> {
        self.0.stealer()
    }
}

impl Thief<Ring> for RingStealer<NonZeroUsize> {
    #[inline]
    fn steal(&self) -> Option<usize> {
        loop {
            match RingStealer::steal(self) {
                Steal::Success(item) => return Some(item.get()),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    #[inline]
    fn steal_batch(&self, own: &Ring) -> bool {
        loop {
            match RingStealer::steal_batch(self, &own.0, usize::MAX) {
                Steal::Success(_) => return true,
                Steal::Empty => return false,
                Steal::Retry => {}
            }
        }
    }
}
pub(crate) type Ours = super::tokio::Tokio;
impl super::ForkJoin for Ours {
    const NAME: &'static str = "tmp";
    fn start(workers: usize) -> Self {
        <Self as super::Runtime>::start(workers)
    }
    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        work()
    }
    fn join<A: Send, B: Send>(
        a: impl FnOnce() -> A + Send,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        (a(), b())
    }
}
