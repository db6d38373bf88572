//! The worker's loop: find a task, run it, again.

use stealyard_deque::Order;
use stealyard_park::idle::Active;
use stealyard_sync::Arc;
use stealyard_sync::time::Instant;

use crate::machine::current::{self, Context, Role};
use crate::machine::local_tasks;
use crate::processor::{Next, Processor};
use crate::search::find::{self, Found};
use crate::search::ready;
use crate::state::Shared;
use crate::task::running::Code;
use crate::task::{Ran, Task};

/// Runs tasks with the P until the scheduler is closed.
pub(crate) fn run(shared: Arc<Shared>, processor: Processor) {
    let index = processor.index;
    let context = Context::new(Arc::clone(&shared), Role::Worker);
    let entered = current::enter(&context);
    // SAFETY: 1. one thread holds the P; 2. dropped below, when no task runs any more; 3. it is in `Shared`,
    // which every worker keeps until it has ended.
    let joining = unsafe { processor.remote.jobs.enter(&*shared) };
    // Also if a queue of the user's panics: a shutdown must not wait for this worker for ever.
    let leave = Leave {
        shared: &shared,
        processor: &processor,
    };
    let active = shared.idle.join(index);
    debug_assert!(active.is_some(), "one thread holds a P");
    if let Some(active) = active {
        context.holding(&processor, || {
            // With the P, so that what it spawns runs here.
            shared.call_hook(Code::OnStart, index);
            work(&shared, &context, active);
        });
    }
    drop(joining);
    drop(leave);
    drop(entered);
}

fn work(shared: &Arc<Shared>, context: &Context, mut active: Active) {
    // The P is asked for anew after every task: user code ran in between.
    while let Some(processor) = context.processor_of(shared) {
        if shared.life.is_closed() {
            return;
        }
        let next = match processor.next() {
            Next::Task(task) => Some(task),
            Next::Global => {
                run_own(shared, context, processor);
                let Some(processor) = context.processor_of(shared) else {
                    continue;
                };
                let next = find::take_one(shared, processor).or_else(|| processor.next_local());
                if let Some(task) = next {
                    run_measured(shared, context, processor, task);
                    continue;
                }
                processor.interval_was_cut();
                None
            }
            Next::Empty => None,
        };
        let task = match next {
            Some(task) => task,
            None => match find::find(shared, processor, active) {
                Found::Task(still_active, task) => {
                    active = still_active;
                    task
                }
                Found::Bound(still_active, task) => {
                    active = still_active;
                    run_bound(shared, context, processor, task);
                    continue;
                }
                Found::Closed => return,
            },
        };
        if shared.life.is_closed() {
            // It came while this worker searched, and after the end.
            shared.life.cancel(task);
            return;
        }
        run_one(shared, context, processor, task);
    }
}

/// Runs a task, and as long as it yields to nobody, on.
#[inline(always)]
fn run_one(shared: &Arc<Shared>, context: &Context, processor: &Processor, mut task: Task) {
    let mut processor = processor;
    while let Some(again) = poll(shared, processor, task) {
        // The P is asked for anew: user code ran.
        match context.processor_of(shared) {
            Some(now) if is_alone(shared, now) && !shared.life.is_closed() => {
                processor = now;
                task = again;
            }
            now => return put_back(shared, now, again),
        }
    }
}

/// Whether a task that yields would be the next one again, so that it need not go through a queue (P3).
#[inline(always)]
fn is_alone(shared: &Shared, processor: &Processor) -> bool {
    // Where the own queue is last in, first out, others that yielded wait in the global queue.
    (processor.queue.order() == Order::Fifo || shared.global.is_empty())
        && processor.has_nothing_else()
}

/// Runs a task once. Gives it back if it is to run again.
#[inline(always)]
fn poll(shared: &Shared, processor: &Processor, task: Task) -> Option<Task> {
    processor.counters().tasks_run.add(1);
    processor.budget.set(shared.config.budget);
    match task.run() {
        Ran::Done | Ran::Pending => None,
        Ran::Again(task) => Some(task),
    }
}

/// Puts a task that is to run again behind the others.
#[inline(always)]
fn put_back(shared: &Shared, processor: Option<&Processor>, task: Task) {
    match processor {
        Some(processor) => ready::push_behind(shared, processor, task),
        None => ready::submit(shared, task),
    }
}

/// Runs what is meant for this worker: a bound task, a piece of mail.
#[cold]
fn run_own(shared: &Arc<Shared>, context: &Context, processor: &Processor) {
    if let Some(task) = local_tasks::take_bound(processor) {
        run_bound(shared, context, processor, task);
    }
    let processor = context.processor_of(shared);
    let mail = processor.and_then(|processor| Some((processor, processor.remote.mail.pop()?)));
    if let Some((processor, task)) = mail
        && let Some(again) = poll(shared, processor, task)
    {
        // Not at once, though it may be alone: the global queue's turn comes next.
        put_back(shared, context.processor_of(shared), again);
    }
}

/// Runs a task that is bound to this thread.
fn run_bound(shared: &Arc<Shared>, context: &Context, processor: &Processor, task: Task) {
    if let Some(task) = poll(shared, processor, task) {
        match context.processor_of(shared) {
            Some(processor) => processor.remote.bound.push(task),
            None => unreachable!("a worker's thread keeps its P"),
        }
    }
}

/// Runs a task once and notes how long it took.
#[cold]
fn run_measured(shared: &Arc<Shared>, context: &Context, processor: &Processor, task: Task) {
    let began = Instant::now();
    processor.interval_begins(began);
    let again = poll(shared, processor, task);
    let processor = context.processor_of(shared);
    if let Some(processor) = processor {
        processor.counters().poll_time.record(began.elapsed());
    }
    if let Some(task) = again {
        put_back(shared, processor, task);
    }
}

/// Leaves in good order; see `shutdown.rs`.
struct Leave<'a> {
    shared: &'a Shared,
    processor: &'a Processor,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.shared.watch.left(self.shared, self.processor.index);
        self.shared.life.worker_leaves(self.shared, self.processor);
    }
}
