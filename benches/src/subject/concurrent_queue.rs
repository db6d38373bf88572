//! concurrent-queue, bounded: a queue for many producers and consumers. async-executor uses it for
//! the local queues of its workers.

use std::sync::Arc;

use super::{LocalQueue, Thief};

/// `ConcurrentQueue::bounded`.
#[derive(Clone)]
pub(crate) struct Bounded(Arc<concurrent_queue::ConcurrentQueue<usize>>);

impl LocalQueue for Bounded {
    const NAME: &'static str = "concurrent-queue";
    type Thief = Self;

    fn new() -> Self {
        Self(Arc::new(concurrent_queue::ConcurrentQueue::bounded(256)))
    }

    #[inline]
    fn push(&self, item: usize) {
        self.0.push(item).expect("256 items fit");
    }

    #[inline]
    fn pop(&self) -> Option<usize> {
        self.0.pop().ok()
    }

    fn thief(&self) -> Self {
        self.clone()
    }
}

impl Thief<Self> for Bounded {
    #[inline]
    fn steal(&self) -> Option<usize> {
        self.pop()
    }

    /// Moves items one by one, as async-executor does. The queue has no batches of its own.
    #[inline]
    fn steal_batch(&self, own: &Self) -> bool {
        let mut got = false;
        for _ in 0..self.0.len().div_ceil(2) {
            let Some(item) = self.pop() else { break };
            own.push(item);
            got = true;
        }
        got
    }
}
