//! What a worker takes from the global queue.

use stealyard_task::Task;

use crate::processor::Processor;
use crate::search::ready;
use crate::state::SchedulerState;

/// At most this many tasks are taken from the global queue at once: half a ring of the usual size.
const GLOBAL_BATCH_MAX: usize = 128;

/// Takes a worker's share of the global queue: returns one task to run, and puts the others into
/// its own queue.
pub(crate) fn take_share(shared: &SchedulerState, processor: &Processor) -> Option<Task> {
    let lane = processor.remote.lane;
    let mut first = shared
        .global
        .pop_far(lane, processor.order.next_global_poll());
    if first.is_some() {
        processor.order.looked_at_global();
        count_injected(processor, 1);
        return first;
    }
    let room = processor.queue.room();
    let max = GLOBAL_BATCH_MAX.min(room + 1);
    let count = shared
        .global
        .pop_batch(lane, max, shared.remotes.len(), |task| {
            if first.is_none() {
                first = Some(task);
            } else {
                ready::push_quietly(shared, processor, task);
            }
        });
    if count > 0 {
        processor.order.looked_at_global();
        count_injected(processor, count);
    }
    first
}

/// Takes one task from the global queue, when it is its turn.
#[cold]
pub(crate) fn take_one(shared: &SchedulerState, processor: &Processor) -> Option<Task> {
    let lane = processor.remote.lane;
    let far = shared
        .global
        .pop_far(lane, processor.order.next_global_poll());
    let task = far.or_else(|| shared.global.pop(lane))?;
    count_injected(processor, 1);
    Some(task)
}

/// Counts tasks that came out of the global queue at once.
fn count_injected(processor: &Processor, count: usize) {
    processor.counters().injector_takes.add(1);
    processor.counters().tasks_injected.add(count as u64);
}
