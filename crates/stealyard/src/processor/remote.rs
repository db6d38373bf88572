//! What other threads see of a P.
//!
//! Two words of it belong to protocols, and metrics only read them:
//! - `ticks` counts the tasks that were run with this P (Go's `schedtick`). It is the heartbeat by
//!   which a thief and the monitor tell a long task from many short ones.
//! - `sleeps` counts the sleeps of its worker. With `asleep` it decides whether a drain is over.
//!
//! # Invariants
//! - **SL1** *A worker whose word says "asleep" has nothing in its hands*, and takes nothing before
//!   it says "awake".
//!
//! # Orderings
//! | label | operation                                                  | partner | publishes       |
//! |-------|------------------------------------------------------------|---------|-----------------|
//! | SL2   | a drain: looks at queues; heavy fence; which workers sleep | SL3     | (1)             |
//! | SL3   | a worker: says "awake"; light fence; takes from a queue    | SL2     | (2)             |
//! | SL4   | a worker: counts its sleep; says "asleep", Release         | SL5     | the count       |
//! | SL5   | a drain: which workers sleep, Acquire; the counts          | SL4     | –               |
//!
//! 1. An empty queue, or else the worker is seen awake.
//! 2. "Awake", or else the task is seen.

use stealyard_deque::Slot;
use stealyard_injector::Locked;
use stealyard_sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stealyard_sync::{CachePadded, asymmetric};
use stealyard_task::Task;

use crate::metrics::{Counters, WorkerMetrics};
use crate::processor::global_queue::LaneId;
use crate::processor::queue::QueueStealer;

/// What other threads see of a P.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) stealer: QueueStealer,
    /// The run-next slot: set by the owner, taken by any worker.
    pub(crate) slot: Slot<Task>,
    /// Tasks that would rather run here: put by any thread, taken by any worker (`search/ready.rs`,
    /// RD2).
    pub(crate) inbox: Locked<Task>,
    pub(crate) asleep: Asleep,
    /// What the owner counts, on lines of its own.
    pub(crate) counts: CachePadded<OwnerCounts>,
    /// The other workers and how far they are, nearest first.
    pub(crate) others: Box<[(usize, u8)]>,
    pub(crate) lane: LaneId,
}

/// What the owner of a P counts.
#[derive(Debug, Default)]
pub(crate) struct OwnerCounts {
    /// Tasks that were run with this P.
    pub(crate) ticks: Ticks,
    /// Sleeps of its worker.
    pub(crate) sleeps: Sleeps,
    pub(crate) counters: Counters,
}

impl Remote {
    pub(crate) fn new(stealer: QueueStealer, others: Box<[(usize, u8)]>, lane: LaneId) -> Self {
        Self {
            stealer,
            slot: Slot::new(),
            inbox: Locked::new(),
            asleep: Asleep::default(),
            counts: CachePadded::new(OwnerCounts::default()),
            others,
            lane,
        }
    }

    /// Returns how many tasks wait here now.
    pub(crate) fn len(&self) -> usize {
        self.stealer.len() + usize::from(!self.slot.is_empty()) + self.inbox.len()
    }

    /// Reads the metrics of the worker, for which `queued` tasks wait.
    pub(crate) fn metrics(&self, queued: usize) -> WorkerMetrics {
        let OwnerCounts {
            ticks,
            sleeps,
            counters,
        } = &*self.counts;
        counters.read(queued, ticks.now(), sleeps.get())
    }
}

/// Whether a worker sleeps, with nothing in its hands (SL1). Written by the worker, read by threads
/// that look for a worker to wake, and by the thread that drains (`run/shutdown.rs`).
#[derive(Debug, Default)]
pub(crate) struct Asleep(AtomicBool);

impl Asleep {
    /// Declares that the worker has nothing, and takes nothing before it says that it is awake.
    pub(crate) fn asleep(&self) {
        // Ordering: Release (SL4); that this sleep was counted. Unmodelled: see `is_quiescent`.
        self.0.store(true, Ordering::Release);
    }

    /// Declares that the worker may take something from now on.
    pub(crate) fn awake(&self) {
        // Ordering: Relaxed; the fence below orders it (SL3).
        self.0.store(false, Ordering::Relaxed);
        // Ordering: light (SL3), partner SL2. Unmodelled: see `is_quiescent`.
        asymmetric::light();
    }

    /// Whether the worker sleeps.
    pub(crate) fn get(&self) -> bool {
        // Ordering: Acquire (SL5). Unmodelled: see `is_quiescent`.
        self.0.load(Ordering::Acquire)
    }
}

/// The heartbeat of a P: it moves with each task that is run.
#[derive(Debug, Default)]
pub(crate) struct Ticks(AtomicU64);

impl Ticks {
    /// Counts a task, by the owner.
    #[inline(always)]
    pub(crate) fn tick(&self) {
        // Ordering: Relaxed on both; only the owner writes it, and a reader that sees it late takes
        // the P for slower than it is, which costs a moment.
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(1), Ordering::Relaxed);
    }

    /// Returns how many tasks were run so far.
    #[inline(always)]
    pub(crate) fn now(&self) -> u64 {
        // Ordering: Relaxed; as in `tick`.
        self.0.load(Ordering::Relaxed)
    }
}

/// The sleeps of a worker. A worker that slept at two looks, and has the same count at both, slept
/// all the time in between.
#[derive(Debug, Default)]
pub(crate) struct Sleeps(AtomicU64);

impl Sleeps {
    /// Counts a sleep that begins, by the worker, before it says that it is asleep.
    pub(crate) fn begin(&self) {
        // Ordering: Relaxed on both; only the worker writes it, and `Asleep::asleep` publishes it
        // (SL4).
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(1), Ordering::Relaxed);
    }

    /// Returns how many sleeps have begun so far.
    pub(crate) fn get(&self) -> u64 {
        // Ordering: Relaxed; behind the Acquire of `Asleep::get` where it matters (SL5).
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t14_counts_that_protocols_read_go_on_at_zero() {
        let ticks = Ticks(AtomicU64::new(u64::MAX));
        ticks.tick();
        let sleeps = Sleeps(AtomicU64::new(u64::MAX));
        sleeps.begin();
        assert_eq!((ticks.now(), sleeps.get()), (0, 0));
    }
}
