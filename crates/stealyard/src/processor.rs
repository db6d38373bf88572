//! The right to run tasks (the P of G, M, P) and all that goes with it.
//!
//! There are as many as the scheduler has parallelism. A P owns the owner's end of its queue, task memory,
//! random numbers and the word it sleeps on. A thread (M) holds it while it runs tasks; it is a value that
//! moves, tied to no thread and kept in no thread-local, so that it can be handed on. What other threads
//! see of it is its [`Remote`]: the thieves' end, the run-next slot, the counters.
//!
//! # The order of tasks
//! [`Processor::next`] looks at the run-next slot, then at the queue, and every so many tasks first at the
//! global queue, as Go does.
//! - **P1** At most `slot_streak_max` tasks in a row come from the slot. Then the queue has its turn, and
//!   what is in the slot goes to its back; with an empty queue the slot goes on, because nobody waits.
//!   A task from the slot thus inherits the time slice of the one that woke it, and a pair of tasks
//!   that wake each other has one slice together.
//! - **P2** Every `interval` tasks, at most 127 if it tunes itself, the global queue comes first.
//! - **P3** A task that yields goes to the back of the queue (to the back of the global queue, if the own one is last
//!   in, first out, where "back" would be next). If that would make it the next one, because nobody
//!   else waits here and the global queue is not at turn, it runs on without going through the queue.
//! - **P4** A task that is woken and was the last one put into the slot, too, *collects*: from tasks that each wake
//!   it and go on (children that report to their parent, producers to their consumer). It goes to the back of
//!   the queue, so that it runs once for all that are queued before it, not once for each. Two tasks that wake
//!   each other, or one that spawns or wakes something each time it runs, put others in between and keep the slot.
//!
//! So a task at place `k` of a queue that is first in, first out runs after at most
//! `(k + 1) · (slot_streak_max + 1)` tasks of its worker, and as many more as the global queue takes turns.

pub(crate) mod global_queue;

use core::cell::{Cell, OnceCell, RefCell};
use core::fmt;

use stealyard_deque::Slot;
use stealyard_injector::Locked;
use stealyard_park::{Parker, Spin, SpinWait};
use stealyard_sync::atomic::{AtomicBool, AtomicUsize};
use stealyard_sync::seed::Rng;
use stealyard_sync::time::{Duration, Instant};
use stealyard_sync::{Arc, CachePadded};

use crate::config::local_queue::{Queue, QueueStealer};
use crate::config::{Config, GlobalInterval};
use crate::fork_join::Jobs;
use crate::machine::local_tasks::Bound;
use crate::metrics::{Counters, PaddedCounters};
use crate::policy::Memory as PolicyMemory;
use crate::processor::global_queue::LaneId;
use crate::search::monitor::Asleep;
use crate::task::{Local, Task};

/// What everyone may see of a P.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) stealer: QueueStealer,
    /// Set by the owner, taken by anyone.
    pub(crate) slot: Slot<Task>,
    /// Tasks that would rather run here; put by anyone, taken by anyone (`place.rs`).
    pub(crate) mail: Locked<Task>,
    /// Tasks that are bound to the worker's thread; put by anyone, taken by that thread (`place.rs`).
    pub(crate) bound: Locked<Task>,
    /// Bound futures that have not been dropped (PL3 of `place.rs`); written by that thread.
    pub(crate) bound_alive: AtomicUsize,
    /// Joins that are under way on whichever thread holds the P.
    pub(crate) jobs: Jobs,
    pub(crate) counters: PaddedCounters,
    pub(crate) asleep: Asleep,
    /// The worker runs nothing: it looks for a task, or sleeps; written by that worker.
    pub(crate) idle: AtomicBool,
    /// The other workers and how far they are, nearest first.
    pub(crate) others: Box<[(usize, u8)]>,
    pub(crate) lane: LaneId,
}

impl Remote {
    /// Tasks that wait here now.
    pub(crate) fn len(&self) -> usize {
        self.stealer.len() + usize::from(!self.slot.is_empty()) + self.mail.len() + self.bound.len()
    }
}

/// A P; see the file's essay. `&self` methods with `Cell`s, because user code in the middle of one call
/// may make another on the same thread.
pub(crate) struct Processor {
    pub(crate) index: usize,
    pub(crate) remote: Arc<Remote>,
    pub(crate) queue: Queue,
    pub(crate) memory: Local,
    pub(crate) parker: Parker,
    /// What the barrier on the way to sleep costs, as measured: it interrupts every core that runs this process.
    barrier: Cell<Spin>,
    pub(crate) rng: RefCell<Rng>,
    pub(crate) policy_memory: Cell<PolicyMemory>,
    /// What overflows the queue is collected here, so that it goes on as one batch.
    pub(crate) spill: Cell<Vec<Task>>,
    /// Operations left to the running task; see `coop.rs`.
    pub(crate) budget: Cell<u32>,
    /// The home of tasks that are bound to the thread, once there is one.
    pub(crate) bound: OnceCell<Arc<Bound>>,
    /// When it was last woken to search, by the scheduler's clock.
    pub(crate) woken_at: Cell<Option<Duration>>,
    /// The address of the task that was put into the slot last (P4); the task may be gone.
    last_put: Cell<usize>,
    streak: Cell<u32>,
    streak_max: u32,
    until_global: Cell<u32>,
    /// How often it looked at the global queue.
    looks: Cell<usize>,
    interval: Interval,
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
        parker: Parker,
        rng: Rng,
    ) -> Self {
        let interval = Interval::new(config.global_interval);
        Self {
            index,
            remote,
            queue,
            memory: Local::new(),
            parker,
            barrier: Cell::new(Spin::new(config.spin.unwrap_or_default())),
            rng: RefCell::new(rng),
            policy_memory: Cell::new([0; 4]),
            spill: Cell::new(Vec::new()),
            budget: Cell::new(config.budget),
            bound: OnceCell::new(),
            woken_at: Cell::new(None),
            last_put: Cell::new(0),
            streak: Cell::new(0),
            streak_max: config.slot_streak_max,
            until_global: Cell::new(interval.others()),
            looks: Cell::new(0),
            interval,
        }
    }

    /// Looks for work as long as that is cheaper than going to sleep and being woken, beside `running` workers.
    pub(crate) fn wait_for_work(&self, running: usize) -> SpinWait {
        self.parker.spin_wait(running, self.barrier.get().budget())
    }

    /// The barrier on the way to sleep took so long.
    pub(crate) fn barrier_took(&self, time: Duration) {
        self.barrier.set(self.barrier.get().after_wake(time));
    }

    /// Whether anything waits for this worker, its own queues only.
    pub(crate) fn has_own(&self) -> bool {
        let remote = &self.remote;
        let queued = !remote.slot.is_empty() || !self.queue.is_empty();
        queued || !remote.bound.is_empty() || !remote.mail.is_empty()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.remote.counters
    }

    /// Whose turn it is now.
    #[inline(always)]
    pub(crate) fn next(&self) -> Next {
        let left = self.until_global.get();
        if left == 0 {
            self.until_global.set(self.interval.others());
            return Next::Global;
        }
        self.until_global.set(left - 1);
        match self.next_local() {
            Some(task) => Next::Task(task),
            None => Next::Empty,
        }
    }

    /// Whether a task that yields would be the next one again: nobody else waits here, and it is not the global
    /// queue's turn. Counts as that turn if so.
    #[inline(always)]
    pub(crate) fn has_nothing_else(&self) -> bool {
        let left = self.until_global.get();
        if left == 0 || !self.remote.slot.is_empty() || !self.queue.is_empty() {
            return false;
        }
        self.until_global.set(left - 1);
        self.streak.set(0);
        true
    }

    /// Puts `task` into the run-next slot. What was there is to go to the back of the queue.
    #[inline(always)]
    #[must_use = "what was displaced is still to run"]
    pub(crate) fn put_next(&self, task: Task) -> Option<Task> {
        self.last_put.set(task.address());
        self.remote.slot.put(task)
    }

    /// Whether a task that was woken collects, and others wait before whom it need not run (P4). A new task at the
    /// address of one that is gone may be taken for it: it runs behind those others once.
    #[inline(always)]
    pub(crate) fn collects(&self, task: &Task) -> bool {
        self.last_put.get() == task.address() && !self.queue.is_empty()
    }

    /// The global queue had its turn just before `now`: the length of the last interval sets that of this one.
    pub(crate) fn interval_begins(&self, now: Instant) {
        self.interval.begins(now);
        self.until_global.set(self.interval.others());
    }

    /// The number of this look at the global queue.
    #[inline(always)]
    pub(crate) fn next_look(&self) -> usize {
        let look = self.looks.get();
        self.looks.set(look.wrapping_add(1));
        look
    }

    /// The next task of the slot or the queue (P1).
    #[inline(always)]
    pub(crate) fn next_local(&self) -> Option<Task> {
        let streak = self.streak.get();
        if streak < self.streak_max {
            if let Some(task) = self.remote.slot.take() {
                self.streak.set(streak + 1);
                self.counters().slot_hits.add(1);
                return Some(task);
            }
            self.streak.set(0);
            return self.queue.pop();
        }
        self.after_the_streak()
    }

    fn after_the_streak(&self) -> Option<Task> {
        self.streak.set(0);
        let Some(task) = self.queue.pop() else {
            return self.remote.slot.take();
        };
        if let Some(waiting) = self.remote.slot.take() {
            // There is room: one has just been taken out, and only this thread puts in.
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

    /// The slot is in use.
    #[inline(always)]
    pub(crate) fn has_slot(&self) -> bool {
        self.streak_max > 0
    }

    /// The worker has nothing to run for now, so what this interval takes says nothing about the length of tasks.
    pub(crate) fn interval_was_cut(&self) {
        self.interval.restart();
    }

    /// The global queue was looked at out of turn: the next look can wait the whole interval.
    pub(crate) fn looked_at_global(&self) {
        self.interval.restart();
        self.until_global.set(self.interval.others());
    }
}

/// After how many tasks the global queue has its turn.
#[derive(Debug)]
struct Interval {
    kind: GlobalInterval,
    tasks: Cell<u32>,
    began: Cell<Option<Instant>>,
    /// The mean length of a task in nanoseconds, an exponentially weighted average (1/8 a sample).
    mean_ns: Cell<u64>,
}

/// A self-tuned interval stays within these, so that the bound on waiting can be stated in tasks.
const TASKS_MIN: u32 = 2;
const TASKS_MAX: u32 = 127;

impl Interval {
    fn new(kind: GlobalInterval) -> Self {
        let tasks = match kind {
            GlobalInterval::Tasks(tasks) => tasks,
            GlobalInterval::Time(_) => 61,
        };
        Self {
            kind,
            tasks: Cell::new(tasks),
            began: Cell::new(None),
            mean_ns: Cell::new(0),
        }
    }

    /// An interval begins: if it tunes itself, what the last one took sets its length.
    fn begins(&self, now: Instant) {
        if let GlobalInterval::Time(target) = self.kind
            && let Some(began) = self.began.replace(Some(now))
        {
            self.learn(target, now.saturating_duration_since(began));
        }
    }

    /// How many tasks run in an interval besides the one that is run when it is up: at least one. Or the own queue
    /// would never have its turn while tasks that yield go through the global queue, as they do where the own queue
    /// is last in, first out.
    fn others(&self) -> u32 {
        self.tasks.get().saturating_sub(1).max(1)
    }

    fn learn(&self, target: Duration, spent: Duration) {
        let sample = as_ns(spent) / u64::from(self.tasks.get().max(1));
        let mean = match self.mean_ns.get() {
            0 => sample,
            mean => mean - mean / 8 + sample / 8,
        };
        self.mean_ns.set(mean);
        let tasks = as_ns(target) / mean.max(1);
        let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
        self.tasks.set(tasks.clamp(TASKS_MIN, TASKS_MAX));
    }

    /// An interval that was interrupted says nothing about the length of tasks.
    fn restart(&self) {
        self.began.set(None);
    }
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Counters of a P on lines of their own.
pub(crate) fn padded_counters() -> PaddedCounters {
    CachePadded::new(Counters::default())
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor")
            .field("index", &self.index)
            .field("queue", &self.queue)
            .field("streak", &self.streak)
            .field("until_global", &self.until_global)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_follows_the_length_of_tasks_within_its_bounds() {
        let interval = Interval::new(GlobalInterval::Time(Duration::from_micros(200)));
        for (task_ns, expected) in [(100, TASKS_MAX), (10_000, 20), (1_000_000, TASKS_MIN)] {
            for _ in 0..100 {
                let tasks = u64::from(interval.tasks.get());
                interval.learn(
                    Duration::from_micros(200),
                    Duration::from_nanos(task_ns * tasks),
                );
            }
            assert!(
                interval.tasks.get().abs_diff(expected) <= 1,
                "{task_ns} ns: {interval:?}"
            );
        }
    }

    #[test]
    fn a_fixed_interval_stays_as_it_is() {
        let interval = Interval::new(GlobalInterval::Tasks(61));
        for _ in 0..3 {
            interval.begins(Instant::now());
            assert_eq!(interval.others(), 60);
        }
    }
}
