//! Making a task visible, and waking somebody if that is needed.
//!
//! | who makes it ready            | where it goes                         | who is told                    |
//! |-------------------------------|---------------------------------------|--------------------------------|
//! | a task on a worker            | the run-next slot; what was there goes to the back of the queue | a sleeper, if something went to the queue |
//! | several tasks in turn, the same one | the back of the queue (P4)      | a sleeper                      |
//! | a task that yields            | the back of the queue, or nowhere if it is next anyway; the global queue, if the own one is last in, first out | nobody: there is no more than before |
//! | a thread outside              | the global queue                      | a sleeper                      |
//! | a full queue                  | half of it to the global queue        | sleepers                       |
//!
//! A task alone in the slot is announced to nobody: its worker will run it next, usually sooner than a
//! sleeper could wake, and a wake costs its sender up to 15 µs. If the worker's present task turns out to
//! be long, a searching worker takes it in its last pass, or the watcher does (see `watch.rs`).
//!
//! - **V1** Whatever is put where thieves and other workers look is announced afterwards.

use stealyard_deque::Order;

use crate::processor::Processor;
use crate::state::Shared;
use crate::task::Task;

/// Has `task` run next on this worker.
#[inline(always)]
pub(crate) fn push_next(shared: &Shared, processor: &Processor, task: Task) {
    if !processor.has_slot() {
        push_back(shared, processor, task);
        shared.watch.wanted(shared);
        return;
    }
    match processor.put_next(task) {
        Some(displaced) => push_back(shared, processor, displaced),
        None => shared.watch.wanted(shared),
    }
}

/// Has `task`, which was woken, run next on this worker, or behind what is queued if it collects (P4).
#[inline(always)]
pub(crate) fn push_woken(shared: &Shared, processor: &Processor, task: Task) {
    if processor.collects(&task) {
        push_back(shared, processor, task);
    } else {
        push_next(shared, processor, task);
    }
}

/// Puts `task` at the back of this worker's queue.
#[inline(always)]
pub(crate) fn push_back(shared: &Shared, processor: &Processor, task: Task) {
    push_quietly(shared, processor, task);
    announce(shared, processor, 1);
}

/// Puts `task` at the back of this worker's queue and tells nobody: there is no more work than before.
#[inline(always)]
pub(crate) fn push_quietly(shared: &Shared, processor: &Processor, task: Task) {
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

/// Puts `task`, which yields, behind all that is queued here (P3), and tells nobody: there is no more work than before.
/// What is put into a queue that is last in, first out would be next again, so there it goes to the global queue.
#[inline(always)]
pub(crate) fn push_behind(shared: &Shared, processor: &Processor, task: Task) {
    match processor.queue.order() {
        Order::Fifo => push_quietly(shared, processor, task),
        Order::Lifo => {
            processor.counters().tasks_overflowed.add(1);
            shared.global.push(processor.remote.lane, task);
        }
    }
}

/// Gives what overflowed to the global queue, in one batch.
#[cold]
fn overflow(shared: &Shared, processor: &Processor, mut spilled: Vec<Task>) {
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

/// Tells sleepers of `items` tasks (V1).
#[inline(always)]
pub(crate) fn announce(shared: &Shared, processor: &Processor, items: usize) {
    let woken = shared.idle.announce_from(processor.index, items).woken();
    if woken > 0 {
        processor.counters().wakes.add(woken as u64);
    }
}

/// Takes a task from a thread that is no worker of this scheduler.
pub(crate) fn submit(shared: &Shared, task: Task) {
    shared.global.push(shared.global.lane_here(), task);
    // Before the wake, which takes its time; the clock is read only if there is somebody to wake.
    if shared.idle.sleeping() > 0 && shared.idle.searching() == 0 {
        shared.wake_began.stamp(&shared.clock);
    }
    let announced = shared.idle.announce(1);
    if announced.woken() > 0 {
        shared.outside_wakes.add_shared(announced.woken() as u64);
    }
    shared.life.after_submit(shared, announced);
}
