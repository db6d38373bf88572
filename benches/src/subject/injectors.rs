//! Global queues: ours, crossbeam's two, concurrent-queue and flume. A queue without batches moves
//! items one by one, as its users must.

use std::cell::RefCell;
use std::ptr::NonNull;

use concurrent_queue::ConcurrentQueue;
use crossbeam_deque::{Injector as CrossbeamInjector, Steal, Worker};
use crossbeam_queue::SegQueue;
use stealyard_injector::{Linked, Locked, Segmented, Sharded, Stack};

/// A global queue, as a producer or a consumer sees it.
pub(crate) trait GlobalQueue<T>: Send + Sync + 'static {
    /// The name in tables.
    const NAME: &'static str;
    /// The state that a consumer's thread keeps between its pops.
    type Consumer;

    /// Creates an empty queue.
    fn new() -> Self;
    /// Creates a consumer's own state. `number` is the consumer's.
    fn consumer(&self, number: usize) -> Self::Consumer;
    /// Puts one item in. `number` is the producer's.
    fn push(&self, number: usize, item: T);
    /// Puts a batch in.
    fn push_batch(&self, number: usize, items: impl Iterator<Item = T>) {
        items.for_each(|item| self.push(number, item));
    }
    /// Takes up to `max` items, as one of `workers` consumers.
    fn pop_batch(
        &self,
        consumer: &Self::Consumer,
        max: usize,
        workers: usize,
        sink: impl FnMut(T),
    ) -> usize;
}

/// Takes up to `max` items one by one.
fn one_by_one<T>(max: usize, mut sink: impl FnMut(T), mut pop: impl FnMut() -> Option<T>) -> usize {
    let mut count = 0;
    while count < max {
        let Some(item) = pop() else { break };
        sink(item);
        count += 1;
    }
    count
}

macro_rules! ours {
    ($queue:ident, $name:literal) => {
        impl<T: Send + 'static> GlobalQueue<T> for $queue<T> {
            const NAME: &'static str = $name;
            type Consumer = ();

            fn new() -> Self {
                Self::new()
            }

            fn consumer(&self, _number: usize) {}

            #[inline]
            fn push(&self, _number: usize, item: T) {
                self.push(item);
            }

            fn push_batch(&self, _number: usize, items: impl Iterator<Item = T>) {
                self.push_batch(items);
            }

            fn pop_batch(
                &self,
                (): &(),
                max: usize,
                workers: usize,
                mut sink: impl FnMut(T),
            ) -> usize {
                if max == 1 {
                    return self.pop().map(sink).map_or(0, |()| 1);
                }
                self.pop_batch(max, workers, &mut sink)
            }
        }
    };
}

ours!(Locked, "stealyard Locked");
ours!(Segmented, "stealyard Segmented");

/// Two lanes. Each producer and consumer has a near one.
pub(crate) struct TwoLanes<T: Send>(Sharded<T, Segmented<T>>);

impl<T: Send + 'static> GlobalQueue<T> for TwoLanes<T> {
    const NAME: &'static str = "stealyard Sharded, 2 lanes";
    type Consumer = usize;

    fn new() -> Self {
        Self(Sharded::new(2).expect("two lanes are allowed"))
    }

    fn consumer(&self, number: usize) -> usize {
        number % 2
    }

    #[inline]
    fn push(&self, number: usize, item: T) {
        self.0.push(number % 2, item);
    }

    fn push_batch(&self, number: usize, items: impl Iterator<Item = T>) {
        self.0.push_batch(number % 2, items);
    }

    fn pop_batch(
        &self,
        lane: &usize,
        max: usize,
        workers: usize,
        mut sink: impl FnMut(T),
    ) -> usize {
        if max == 1 {
            return self.0.pop(*lane).map(sink).map_or(0, |()| 1);
        }
        self.0.pop_batch(*lane, max, workers, &mut sink)
    }
}

impl<T: Linked + 'static> GlobalQueue<T> for Stack<T> {
    const NAME: &'static str = "stealyard Stack";
    type Consumer = ();

    fn new() -> Self {
        Self::new()
    }

    fn consumer(&self, _number: usize) {}

    #[inline]
    fn push(&self, _number: usize, item: T) {
        self.push(item);
    }

    fn push_batch(&self, _number: usize, items: impl Iterator<Item = T>) {
        self.push_batch(items);
    }

    fn pop_batch(&self, (): &(), _max: usize, _workers: usize, mut sink: impl FnMut(T)) -> usize {
        let mut count = 0;
        for item in self.take_all() {
            sink(item);
            count += 1;
        }
        count
    }
}

/// crossbeam's `Injector`. A batch goes into the consumer's own queue, as its interface intends.
impl<T: Send + 'static> GlobalQueue<T> for CrossbeamInjector<T> {
    const NAME: &'static str = "crossbeam Injector";
    type Consumer = Worker<T>;

    fn new() -> Self {
        Self::new()
    }

    fn consumer(&self, _number: usize) -> Worker<T> {
        Worker::new_fifo()
    }

    #[inline]
    fn push(&self, _number: usize, item: T) {
        self.push(item);
    }

    fn pop_batch(
        &self,
        own: &Worker<T>,
        max: usize,
        _workers: usize,
        mut sink: impl FnMut(T),
    ) -> usize {
        loop {
            let first = if max == 1 {
                self.steal()
            } else {
                self.steal_batch_with_limit_and_pop(own, max)
            };
            match first {
                Steal::Success(item) => {
                    sink(item);
                    return 1 + one_by_one(usize::MAX, sink, || own.pop());
                }
                Steal::Empty => return 0,
                Steal::Retry => std::hint::spin_loop(),
            }
        }
    }
}

macro_rules! singles {
    ($queue:ty, $name:literal, $new:expr, $push:expr, $pop:expr) => {
        impl<T: Send + 'static> GlobalQueue<T> for $queue {
            const NAME: &'static str = $name;
            type Consumer = ();

            fn new() -> Self {
                $new
            }

            fn consumer(&self, _number: usize) {}

            #[inline]
            fn push(&self, _number: usize, item: T) {
                $push(self, item);
            }

            fn pop_batch(
                &self,
                (): &(),
                max: usize,
                _workers: usize,
                sink: impl FnMut(T),
            ) -> usize {
                one_by_one(max, sink, || $pop(self))
            }
        }
    };
}

singles!(
    SegQueue<T>,
    "crossbeam SegQueue",
    Self::new(),
    Self::push,
    Self::pop
);
singles!(
    ConcurrentQueue<T>,
    "concurrent-queue",
    Self::unbounded(),
    |queue: &Self, item| {
        let pushed = queue.push(item);
        debug_assert!(pushed.is_ok(), "it is unbounded and open");
    },
    |queue: &Self| queue.pop().ok()
);

/// flume's channel, both ends. Its users batch by draining the channel.
pub(crate) struct Flume<T>(flume::Sender<T>, flume::Receiver<T>);

singles!(
    Flume<T>,
    "flume",
    {
        let (sender, receiver) = flume::unbounded();
        Self(sender, receiver)
    },
    |queue: &Self, item| {
        let sent = queue.0.send(item);
        debug_assert!(sent.is_ok(), "the receiver is here");
    },
    |queue: &Self| queue.1.try_recv().ok()
);

/// An item that goes through a queue.
pub(crate) trait Payload: Send + 'static {
    /// Creates an item with the value `value`.
    fn make(value: usize) -> Self;
    /// Returns the value. Memory that must be freed is kept for later in `kept`.
    fn spend(self, kept: &RefCell<Vec<Self>>) -> usize
    where
        Self: Sized;
}

impl Payload for usize {
    fn make(value: usize) -> Self {
        value
    }

    #[inline]
    fn spend(self, _kept: &RefCell<Vec<Self>>) -> usize {
        self
    }
}

/// A task with a link of its own.
pub(crate) struct Node {
    link: *mut Node,
    value: usize,
}

/// A node, held by its owner.
pub(crate) struct OwnedNode(Box<Node>);

// SAFETY: 1. the link is used only by the queue that owns the node.
unsafe impl Send for OwnedNode {}

// SAFETY: 1. the pointer of the box, both ways. 2. The link is a field that only the owning queue
// touches. 3. No panic.
unsafe impl Linked for OwnedNode {
    type Node = Node;

    fn into_node(self) -> NonNull<Node> {
        NonNull::from(Box::leak(self.0))
    }

    unsafe fn from_node(node: NonNull<Node>) -> Self {
        // SAFETY: 1. from `into_node`, once, as the caller promises.
        Self(unsafe { Box::from_raw(node.as_ptr()) })
    }

    unsafe fn link(node: NonNull<Node>) -> NonNull<*mut Node> {
        // SAFETY: 1. the node is valid, as the caller promises.
        let link = unsafe { &raw mut (*node.as_ptr()).link };
        // SAFETY: 1. a field of a node is not at address zero.
        unsafe { NonNull::new_unchecked(link) }
    }
}

impl Payload for OwnedNode {
    fn make(value: usize) -> Self {
        Self(Box::new(Node {
            link: std::ptr::null_mut(),
            value,
        }))
    }

    #[inline]
    fn spend(self, kept: &RefCell<Vec<Self>>) -> usize {
        let value = self.0.value;
        kept.borrow_mut().push(self);
        value
    }
}
