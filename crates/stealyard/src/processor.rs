//! Processors: the right to run tasks (the P of G, M, P), and what goes with it.
//!
//! There are as many as the scheduler has parallelism. A P is a value that moves: it is tied to no
//! thread and kept in no thread-local, so that it can be handed on. A thread (M, `machine.rs`)
//! holds it while it runs tasks. It owns
//! - the owner's end of its queue, and the order of tasks ([`order`]),
//! - task memory,
//! - random numbers and what the steal policy keeps about it.
//!
//! Its [`Remote`](remote::Remote) is what other threads see of it: the thieves' end, the run-next
//! slot, the inbox, the counters.

pub(crate) mod global_queue;
mod interval;
mod order;
pub(crate) mod queue;
pub(crate) mod remote;

use core::cell::{Cell, RefCell};
use core::fmt;

use stealyard_sync::Arc;
use stealyard_sync::seed::Rng;
use stealyard_task::{LocalMemory, Task};

use crate::config::Config;
use crate::metrics::Counters;
use crate::policy::PolicyMemory;
use order::TaskOrder;
use queue::Queue;
use remote::Remote;

/// A P; see the file's essay. `&self` methods with `Cell`s, because user code in the middle of one
/// call may make another on the same thread.
pub(crate) struct Processor {
    pub(crate) index: usize,
    pub(crate) remote: Arc<Remote>,
    pub(crate) queue: Queue,
    pub(crate) order: TaskOrder,
    pub(crate) memory: LocalMemory,
    /// Tasks that overflow the queue are collected here, so that they go on as one batch.
    pub(crate) spill: Cell<Vec<Task>>,
    pub(crate) rng: RefCell<Rng>,
    pub(crate) policy_memory: Cell<PolicyMemory>,
}

/// Whose turn it is.
#[derive(Debug)]
#[must_use = "a task that was taken must be run"]
pub(crate) enum Next {
    /// This task's.
    Task(Task),
    /// The global queue's; and if that is empty, call [`Processor::next_local`].
    Global,
    /// There is nothing here.
    Empty,
}

impl Processor {
    pub(crate) fn new(
        index: usize,
        config: &Config,
        remote: Arc<Remote>,
        queue: Queue,
        rng: Rng,
    ) -> Self {
        Self {
            index,
            remote,
            queue,
            order: TaskOrder::new(config),
            // SAFETY: 1. it is lent, passed on and flushed with the pool of the scheduler that this
            // P is of.
            memory: unsafe { LocalMemory::new() },
            spill: Cell::new(Vec::new()),
            rng: RefCell::new(rng),
            policy_memory: Cell::new([0; 4]),
        }
    }

    /// Returns what this P counts.
    pub(crate) fn counters(&self) -> &Counters {
        &self.remote.counts.counters
    }

    /// Whether a task waits here that no other worker is told about.
    pub(crate) fn has_tasks(&self) -> bool {
        let remote = &self.remote;
        !remote.slot.is_empty() || !self.queue.is_empty() || !remote.inbox.is_empty()
    }

    /// Takes the task whose turn it is.
    #[inline(always)]
    pub(crate) fn next(&self) -> Next {
        if self.order.is_turn_of_global() {
            return Next::Global;
        }
        match self.next_local() {
            Some(task) => Next::Task(task),
            None => Next::Empty,
        }
    }

    /// Whether a task that yields would be the next one again (`order.rs`, P3). Counts the task if
    /// so.
    #[inline(always)]
    pub(crate) fn would_run_next_anyway(&self) -> bool {
        self.order
            .would_run_next_anyway(&self.remote.slot, &self.queue)
    }

    /// Puts `task` into the run-next slot. Returns the task that was there, which is to go to the
    /// back of the queue.
    #[inline(always)]
    #[must_use = "a displaced task is still to run"]
    pub(crate) fn put_next(&self, task: Task) -> Option<Task> {
        self.order.put_next(&self.remote.slot, task)
    }

    /// Whether a task that was woken is a collector, and others wait before it (`order.rs`, P4).
    #[inline(always)]
    pub(crate) fn is_collector(&self, task: &Task) -> bool {
        self.order.is_collector(task, &self.queue)
    }

    /// Takes the next task of the slot or the queue (`order.rs`, P1).
    #[inline(always)]
    pub(crate) fn next_local(&self) -> Option<Task> {
        if self.order.ends_streak() {
            return self.after_the_streak();
        }
        if let Some(task) = self.order.take_from_slot(&self.remote.slot) {
            self.counters().slot_hits.add(1);
            return Some(task);
        }
        self.queue.pop()
    }

    fn after_the_streak(&self) -> Option<Task> {
        let Some(task) = self.queue.pop() else {
            return self.remote.slot.take();
        };
        if let Some(waiting) = self.remote.slot.take() {
            // There is room: a task has just been taken out, and only this thread puts in.
            self.queue.push_or_overflow(waiting, |spilled| {
                debug_assert!(false, "a queue that was popped has room");
                self.keep_spilled(spilled);
            });
        }
        Some(task)
    }

    fn keep_spilled(&self, task: Task) {
        let mut spill = self.spill.take();
        spill.push(task);
        self.spill.set(spill);
    }
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor")
            .field("index", &self.index)
            .field("queue", &self.queue)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}
