//! The order of tasks: whose turn it is at a P.
//!
//! The run-next slot comes first, then the queue, and every so many tasks the global queue comes
//! before both, as in Go.
//! - **P1** *Streaks end.* At most `slot_streak_max` tasks in a row come from the slot. Then the
//!   queue has its turn, and the task in the slot goes to its back. With an empty queue the slot
//!   goes on, because no task waits. A task from the slot thus inherits the time slice of the task
//!   that woke it, and a pair of tasks that wake each other has one slice together.
//! - **P2** *The global queue has its turn* every `interval` tasks, at most every 127 if the
//!   interval tunes itself.
//! - **P3** *A task that yields goes to the back of the queue*, or to the back of the global queue
//!   if the own one is last in, first out, where "back" would be next. If that would make it the
//!   next one, because no other task waits here and it is not the global queue's turn, it runs on
//!   without going through the queue.
//! - **P4** *A collector goes behind what it collects.* A woken task is a collector if it was also
//!   the last task put into the slot: since its last run this worker has spawned or woken nothing
//!   else, so the task handled one message and went back to sleep. (Children report to their
//!   parent; producers to their consumer.) It goes to the back of the queue, and handles the
//!   messages of all tasks queued before it in one run. Two tasks that wake each other, or one that
//!   spawns or wakes something each time it runs, put others in between and keep the slot.
//!
//! So a task at place `k` of a queue that is first in, first out runs after at most
//! `(k + 1) · (slot_streak_max + 1)` tasks of its worker, and as many more as the global queue
//! takes turns.

use core::cell::Cell;

use stealyard_deque::Slot;
use stealyard_sync::time::Instant;
use stealyard_task::Task;

use crate::config::Config;
use crate::processor::interval::Interval;
use crate::processor::queue::Queue;

/// Whose turn it is at a P; see the file's essay.
#[derive(Debug)]
pub(crate) struct TaskOrder {
    /// The address of the task that was put into the slot last (P4); the task may be gone.
    last_put: Cell<usize>,
    /// Tasks in a row that came from the slot (P1).
    streak: Cell<u32>,
    streak_max: u32,
    /// Tasks until the global queue has its turn (P2).
    until_global: Cell<u32>,
    /// How often the worker looked at the global queue.
    global_polls: Cell<usize>,
    interval: Interval,
}

impl TaskOrder {
    pub(crate) fn new(config: &Config) -> Self {
        let interval = Interval::new(config.global_interval);
        Self {
            last_put: Cell::new(0),
            streak: Cell::new(0),
            streak_max: config.slot_streak_max,
            until_global: Cell::new(interval.tasks_before_global()),
            global_polls: Cell::new(0),
            interval,
        }
    }

    /// Whether the slot is in use.
    #[inline(always)]
    pub(crate) fn has_slot(&self) -> bool {
        self.streak_max > 0
    }

    /// Counts a task. Returns whether the global queue comes before it (P2).
    #[inline(always)]
    pub(crate) fn is_turn_of_global(&self) -> bool {
        let left = self.until_global.get();
        let is_turn = left == 0;
        self.until_global.set(if is_turn {
            self.interval.tasks_before_global()
        } else {
            left - 1
        });
        is_turn
    }

    /// Whether a task that yields would be the next one again: no other waits here, and it is not
    /// the global queue's turn (P3). Counts the task if so.
    #[inline(always)]
    pub(crate) fn would_run_next_anyway(&self, slot: &Slot<Task>, queue: &Queue) -> bool {
        let left = self.until_global.get();
        if left == 0 || !slot.is_empty() || !queue.is_empty() {
            return false;
        }
        self.until_global.set(left - 1);
        self.streak.set(0);
        true
    }

    /// Puts `task` into the slot. Returns the task that was there, which is to go to the back of
    /// the queue.
    #[inline(always)]
    #[must_use = "a displaced task is still to run"]
    pub(crate) fn put_next(&self, slot: &Slot<Task>, task: Task) -> Option<Task> {
        self.last_put.set(task.address());
        slot.put(task)
    }

    /// Whether a task that was woken is a collector, and others wait before it (P4). A new task at
    /// the address of one that is gone may be taken for it: it runs behind those others once.
    #[inline(always)]
    pub(crate) fn is_collector(&self, task: &Task, queue: &Queue) -> bool {
        self.last_put.get() == task.address() && !queue.is_empty()
    }

    /// Takes the next task from the slot, unless its streak is over (P1). `None` means that the
    /// queue has its turn; ask [`ends_streak`](Self::ends_streak) first.
    #[inline(always)]
    pub(crate) fn take_from_slot(&self, slot: &Slot<Task>) -> Option<Task> {
        let task = slot.take();
        let streak = if task.is_some() {
            self.streak.get() + 1
        } else {
            0
        };
        self.streak.set(streak);
        task
    }

    /// Whether the streak of the slot is over (P1); a new one begins then.
    #[inline(always)]
    pub(crate) fn ends_streak(&self) -> bool {
        let is_over = self.streak.get() >= self.streak_max;
        if is_over {
            self.streak.set(0);
        }
        is_over
    }

    /// Begins an interval: the global queue had its turn just before `now`.
    pub(crate) fn interval_begins(&self, now: Instant) {
        self.interval.begins(now);
        self.until_global.set(self.interval.tasks_before_global());
    }

    /// Notes that the worker has nothing to run for now, so that the time which this interval takes
    /// says nothing about the length of tasks.
    pub(crate) fn interval_was_cut(&self) {
        self.interval.restart();
    }

    /// Notes that the worker looked at the global queue out of turn: the next look can wait the
    /// whole interval.
    pub(crate) fn looked_at_global(&self) {
        self.interval.restart();
        self.until_global.set(self.interval.tasks_before_global());
    }

    /// Returns the number of this look at the global queue.
    #[inline(always)]
    pub(crate) fn next_global_poll(&self) -> usize {
        let poll = self.global_polls.get();
        self.global_polls.set(poll.wrapping_add(1));
        poll
    }
}
