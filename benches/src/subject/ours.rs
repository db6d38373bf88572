//! Ours.

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use stealyard::{Handle, JoinHandle, Scheduler, SpinConfig};
use stealyard_deque::{Fifo, Lifo, Steal, Worker};

use super::{ForkJoin, Guest, LocalQueue, Runtime, Spawner, Thief};

macro_rules! ours {
    ($queue:ident, $owner:ty, $new:expr, $stealer:ty, $name:literal) => {
        #[doc = concat!("`", $name, "`.")]
        pub(crate) struct $queue($owner);

        impl LocalQueue for $queue {
            const NAME: &'static str = $name;
            type Thief = $stealer;

            fn new() -> Self {
                Self($new)
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

            fn thief(&self) -> $stealer {
                self.0.stealer()
            }
        }

        impl Thief<$queue> for $stealer {
            #[inline]
            fn steal(&self) -> Option<usize> {
                loop {
                    match <$stealer>::steal(self) {
                        Steal::Success(item) => return Some(item.get()),
                        Steal::Empty => return None,
                        Steal::Retry => {}
                    }
                }
            }

            #[inline]
            fn steal_batch(&self, own: &$queue) -> bool {
                loop {
                    match <$stealer>::steal_batch(self, &own.0, usize::MAX) {
                        Steal::Success(_) => return true,
                        Steal::Empty => return false,
                        Steal::Retry => {}
                    }
                }
            }
        }
    };
}

type Item = NonZeroUsize;

ours!(
    Ring,
    stealyard_deque::Ring<Item>,
    stealyard_deque::Ring::new(),
    stealyard_deque::RingStealer<Item>,
    "stealyard Ring"
);
ours!(
    Split,
    stealyard_deque::Split<Item>,
    stealyard_deque::Split::new(),
    stealyard_deque::SplitStealer<Item>,
    "stealyard Split"
);
ours!(
    ChaseLevLifo,
    stealyard_deque::ChaseLev<Item, Lifo>,
    grown(stealyard_deque::ChaseLev::lifo()),
    stealyard_deque::ChaseLevStealer<Item, Lifo>,
    "stealyard ChaseLev lifo"
);
ours!(
    ChaseLevFifo,
    stealyard_deque::ChaseLev<Item, Fifo>,
    grown(stealyard_deque::ChaseLev::fifo()),
    stealyard_deque::ChaseLevStealer<Item, Fifo>,
    "stealyard ChaseLev fifo"
);

/// The queue starts small and grows. The grown queue is measured, as with the peers that grow.
fn grown<Q: Worker<Item = Item>>(queue: Q) -> Q {
    for item in 1..=256 {
        let item = NonZeroUsize::new(item).expect("numbered from 1");
        assert!(queue.push(item).is_ok(), "it grows");
    }
    while queue.pop().is_some() {}
    queue
}

/// `stealyard::Scheduler`.
pub(crate) struct Ours(Scheduler);

impl Ours {
    fn build(workers: usize) -> Self {
        Self::with(workers, stealyard::Config::default().local_queue)
    }

    fn with(workers: usize, queue: stealyard::LocalQueue) -> Self {
        Self(
            stealyard::Builder::new()
                .parallelism(workers)
                .local_queue(queue)
                .build()
                .expect("threads start"),
        )
    }
}

macro_rules! choices {
    ($($(#[$doc:meta])* $choice:ident, $name:literal, $queue:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $choice(Ours);

        impl Runtime for $choice {
            const NAME: &'static str = $name;
            type Spawner = Handle;

            fn start(workers: usize) -> Self {
                Self(Ours::with(workers, $queue))
            }

            fn spawner(&self) -> Handle {
                self.0.spawner()
            }
        }
    )*};
}

choices! {
    /// The default queue.
    WithRing, "Ring, as by default", stealyard::LocalQueue::Ring { capacity: 256 };
    /// The same queue as a user's own, in which each operation is an indirect call.
    WithOwnRing, "Ring, as the user's own (floor)",
        stealyard::LocalQueue::custom(stealyard_deque::Ring::<stealyard::Task>::new);
    /// Last in, first out, bounded.
    WithSplit, "Split (floor)", stealyard::LocalQueue::Split { capacity: 256 };
    /// First in, first out, growing.
    WithChaseLevFifo, "ChaseLev fifo (floor)",
        stealyard::LocalQueue::ChaseLev { order: stealyard::Order::Fifo };
    /// Last in, first out, growing.
    WithChaseLevLifo, "ChaseLev lifo (floor)",
        stealyard::LocalQueue::ChaseLev { order: stealyard::Order::Lifo };
}

/// The longest spin that the default learns, as a fixed one.
const SPIN_ON: SpinConfig = SpinConfig {
    min: Duration::from_micros(50),
    max: Duration::from_micros(50),
    first: Duration::from_micros(50),
    weight: 3,
};

macro_rules! spins {
    ($($(#[$doc:meta])* $choice:ident, $name:literal, $spin:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $choice(Ours);

        impl Runtime for $choice {
            const NAME: &'static str = $name;
            type Spawner = Handle;

            fn start(workers: usize) -> Self {
                let builder = stealyard::Builder::new().parallelism(workers).spin($spin);
                Self(Ours(builder.build().expect("threads start")))
            }

            fn spawner(&self) -> Handle {
                self.0.spawner()
            }
        }

        impl Guest for $choice {
            fn block_on<F: Future>(&self, future: F) -> F::Output {
                self.0.block_on(future)
            }

            fn join<T: Send + 'static>(&self, task: Join<T>) -> T {
                self.0.join(task)
            }
        }

        impl ForkJoin for $choice {
            const NAME: &'static str = $name;

            fn start(workers: usize) -> Self {
                <Self as Runtime>::start(workers)
            }

            fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
                self.0.install(work)
            }

            #[inline]
            fn join<A: Send, B: Send>(
                a: impl FnOnce() -> A + Send,
                b: impl FnOnce() -> B + Send,
            ) -> (A, B) {
                stealyard::join(a, b)
            }
        }
    )*};
}

spins! {
    /// Every wait spins for the longest time that the default ever spins, whatever it could learn.
    SpinOn, "spin on (floor)", SPIN_ON;
    /// No wait spins.
    SpinOff, "spin off (floor)", SpinConfig::OFF;
}

impl Guest for Ours {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }

    fn join<T: Send + 'static>(&self, task: Join<T>) -> T {
        task.0.join().expect("the task ends")
    }
}

impl Runtime for Ours {
    const NAME: &'static str = "stealyard";
    type Spawner = Handle;

    fn start(workers: usize) -> Self {
        Self::build(workers)
    }

    fn spawner(&self) -> Handle {
        self.0.handle().clone()
    }
}

/// A handle whose task does not fail.
pub(crate) struct Join<T>(JoinHandle<T>);

impl<T> Future for Join<T> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|result| result.expect("the task ends"))
    }
}

impl Spawner for Handle {
    type Join<T: Send + 'static> = Join<T>;

    #[inline]
    fn spawn<F>(&self, future: F) -> Join<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        Join(Self::spawn(self, future))
    }

    #[inline]
    fn spawn_detached<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::spawn_detached(self, future);
    }
}

impl ForkJoin for Ours {
    const NAME: &'static str = "stealyard";

    fn start(workers: usize) -> Self {
        Self::build(workers)
    }

    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.install(work)
    }

    #[inline]
    fn join<A: Send, B: Send>(
        a: impl FnOnce() -> A + Send,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        stealyard::join(a, b)
    }
}
