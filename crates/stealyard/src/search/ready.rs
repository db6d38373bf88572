//! Making a task visible, and waking a worker if that is needed.
//!
//! | made ready by                       | goes to                             | told           |
//! |-------------------------------------|-------------------------------------|----------------|
//! | a task on a worker                  | the run-next slot (1)               | (1)            |
//! | several tasks in turn, the same one | the back of the queue (P4)          | a sleeper      |
//! | a task that yields                  | the back of the queue (2)           | none (3)       |
//! | a thread outside                    | the global queue                    | a sleeper      |
//! | a full queue                        | half of it to the global queue      | sleepers       |
//! | `spawn_on` a worker                 | that worker's inbox                 | it, or another |
//! | `spawn_on` a node                   | the node's lane of the global queue | a near sleeper |
//!
//! 1. The task that was there goes to the back of the queue, and a sleeper is told of that one.
//! 2. Or nowhere, if it is next anyway; or the global queue, if the own one is last in, first out
//!    (P3).
//! 3. There is no more work than before.
//!
//! No sleeper is told of a task alone in the slot: its worker will run it next, usually sooner than
//! a sleeper could wake, and a wake costs its sender up to 15 µs. If the worker's present task
//! turns out to be long, a searching worker takes it in its last pass, or the monitor does
//! (`search/monitor.rs`).
//!
//! # Invariants
//! P3 and P4 are those of `processor/order.rs`, SL3 is of `processor/remote.rs`, LC2 of
//! `state/lifecycle.rs`, FT1 of `search/find.rs`; and:
//! - **RD1** *A task put where thieves and other workers look is announced afterwards.*
//! - **RD2** *A task in an inbox is seen.* It is announced as any work (RD1), and the last look
//!   before a sleep covers all inboxes (FT1 of `search/find.rs`). If its worker sleeps, that one is
//!   woken instead: the wake leaves a token, so the worker will look.

use core::any::Any;

use stealyard_deque::Order;
use stealyard_park::SpinConfig;
use stealyard_sync::Arc;
use stealyard_sync::atomic::{Ordering, fence};
use stealyard_task::fork_join::{Boards, JoinHost};
use stealyard_task::{LocalMemory, Schedule, Task, TaskMemory, Why};

use crate::machine::current;
use crate::processor::Processor;
use crate::search::monitor;
use crate::state::SchedulerState;
use crate::state::lifecycle::{FencePassed, FullFence};

/// Queues `task` to run next on this worker.
#[inline(always)]
pub(crate) fn push_next(shared: &SchedulerState, processor: &Processor, task: Task) {
    if !processor.order.has_slot() {
        push_back(shared, processor, task);
        monitor::wanted(shared);
        return;
    }
    match processor.put_next(task) {
        Some(displaced) => push_back(shared, processor, displaced),
        None => monitor::wanted(shared),
    }
}

/// Queues `task`, which was woken, to run next on this worker, or behind what is queued if it is a
/// collector (P4).
#[inline(always)]
pub(crate) fn push_woken(shared: &SchedulerState, processor: &Processor, task: Task) {
    if processor.is_collector(&task) {
        push_back(shared, processor, task);
    } else {
        push_next(shared, processor, task);
    }
}

/// Puts `task` at the back of this worker's queue.
#[inline(always)]
pub(crate) fn push_back(shared: &SchedulerState, processor: &Processor, task: Task) {
    push_quietly(shared, processor, task);
    announce(shared, processor, 1);
}

/// Puts `task` at the back of this worker's queue and wakes no worker: there is no more work than
/// before.
#[inline(always)]
pub(crate) fn push_quietly(shared: &SchedulerState, processor: &Processor, task: Task) {
    let mut spilled = None;
    processor.queue.push_or_overflow(task, |task| {
        spilled
            .get_or_insert_with(|| processor.spill.take())
            .push(task);
    });
    if let Some(spilled) = spilled {
        overflow(shared, processor, spilled);
    }
}

/// Puts `task`, which yields, behind all that is queued here (P3), and wakes no worker: there is no
/// more work than before. In a queue that is last in, first out it would be next again, so there it
/// goes to the global queue.
#[inline(always)]
pub(crate) fn push_behind(shared: &SchedulerState, processor: &Processor, task: Task) {
    match processor.queue.order() {
        Order::Fifo => push_quietly(shared, processor, task),
        Order::Lifo => {
            processor.counters().tasks_overflowed.add(1);
            shared.global.push(processor.remote.lane, task);
        }
    }
}

/// Moves tasks that overflowed to the global queue, in one batch.
#[cold]
fn overflow(shared: &SchedulerState, processor: &Processor, mut spilled: Vec<Task>) {
    let counters = processor.counters();
    let count = spilled.len();
    counters.overflows.add(1);
    counters.tasks_overflowed.add(count as u64);
    shared
        .global
        .push_batch(processor.remote.lane, spilled.drain(..));
    processor.spill.set(spilled);
    announce(shared, processor, count);
}

/// Tells sleepers of `items` tasks (RD1).
#[inline(always)]
pub(crate) fn announce(shared: &SchedulerState, processor: &Processor, items: usize) {
    let woken = shared.idle.announce_from(processor.index, items).woken();
    if woken > 0 {
        processor.counters().wakes.add(woken as u64);
    }
}

/// Queues a task from a thread that is no worker of this scheduler.
pub(crate) fn submit(shared: &SchedulerState, task: Task) {
    shared.global.push(shared.global.lane_here(), task);
    // Before the wake, which takes its time; the clock is read only if there is a worker to wake.
    if shared.idle.sleeping() > 0 && shared.idle.searching() == 0 {
        shared.wake_timer.began();
    }
    let announced = shared.idle.announce(1);
    if announced.woken() > 0 {
        let outside_wakes = &shared.counts.outside_wakes;
        outside_wakes.add_shared(announced.woken() as u64);
    }
    after_submit(shared, announced);
}

/// Queues a new task that would rather run on `worker`.
pub(crate) fn submit_to_worker(shared: &SchedulerState, worker: usize, task: Task) {
    let remote = &shared.remotes[worker];
    remote.inbox.push(task);
    // Ordering: SeqCst (RD2); partner: the fence behind which a worker that says "awake" takes from
    // its inbox (SL3): it is seen awake, or sees the task. Unmodelled: the inbox's own lock orders
    // it on every machine that the models know.
    fence(Ordering::SeqCst);
    // RD2; a worker that falls asleep in this moment looks at all inboxes before.
    if remote.asleep.get() {
        shared.wake_worker(worker);
        after_submit(shared, FullFence::passed());
    } else {
        after_submit(shared, shared.idle.announce_from(worker, 1));
    }
}

/// Queues a new task that would rather run on a worker of `node`.
pub(crate) fn submit_to_node(shared: &SchedulerState, node: usize, task: Task) {
    let lane = shared.global.lane_of(node).unwrap_or_default();
    shared.global.push(lane, task);
    let near = shared.remotes.iter().position(|remote| remote.lane == lane);
    let announced = match near {
        Some(worker) => shared.idle.announce_from(worker, 1),
        None => shared.idle.announce(1),
    };
    after_submit(shared, announced);
}

/// Cancels what was just put into the global queue or an inbox, if the scheduler is gone (LC2).
///
/// Whatever else this thread is inside of, it takes out what is there: a destructor that the end of
/// another scheduler runs may have come here.
#[inline]
fn after_submit(shared: &SchedulerState, passed: impl FencePassed) {
    if shared.lifecycle.is_gone(passed) {
        cancel_queued(shared);
    }
}

/// Cancels the tasks in the global queue and the inboxes.
pub(crate) fn cancel_queued(shared: &SchedulerState) {
    let from_inboxes = || shared.remotes.iter().find_map(|remote| remote.inbox.pop());
    let next = || shared.global.pop_any().or_else(from_inboxes);
    while let Some(task) = next() {
        shared.cancel(task);
    }
}

// SAFETY: 1. no method calls code of the user's but through what catches its panics; 2. the boards
// are a field, made for as many workers as there are processors.
unsafe impl JoinHost for SchedulerState {
    fn announce_offer(&self) {
        current::with_processor(self, |processor| match processor {
            Some(processor) => announce(self, processor, 1),
            None => _ = self.idle.announce(1),
        });
    }

    fn has_idle_worker(&self) -> bool {
        self.idle.searching() > 0 || self.idle.sleeping() > 0
    }

    fn push(&self, task: Task) {
        current::with_processor(self, |processor| match processor {
            Some(processor) => push_back(self, processor, task),
            None => submit(self, task),
        });
    }

    fn boards(&self) -> &Arc<Boards> {
        &self.boards
    }

    fn index(&self) -> usize {
        current::with_worker(|machine| {
            let processor = machine.and_then(|machine| machine.processor());
            processor.map_or(0, |processor| processor.index)
        })
    }
}

// SAFETY: 1. the pool is a field, made for this scheduler's tasks; 2. the lists belong to a P of
// this scheduler, as `with_processor` checks; 3. a thread's context keeps what it belongs to, and
// is left after all that runs within it; 4. what calls code of the user's catches its panics, and
// the rest has none.
unsafe impl Schedule for SchedulerState {
    #[inline]
    fn schedule(&self, task: Task, _why: Why) {
        current::with_processor(self, |processor| match processor {
            Some(processor) => push_woken(self, processor, task),
            None => submit(self, task),
        });
    }

    #[inline(always)]
    fn is_kept_by_this_thread(&self) -> bool {
        current::with(|context| context.is_some_and(|context| context.keeps(self)))
    }

    #[inline(always)]
    fn memory(&self) -> &TaskMemory<Self> {
        &self.memory
    }

    #[inline(always)]
    fn with_local<R>(&self, f: impl FnOnce(Option<&LocalMemory>) -> R) -> R {
        current::with_processor(self, |processor| f(processor.map(|held| &held.memory)))
    }

    fn spin(&self) -> SpinConfig {
        self.config.spin.unwrap_or(SpinConfig::OFF)
    }

    fn task_panicked(&self, payload: &(dyn Any + Send)) {
        self.count_panic(payload);
    }
}
