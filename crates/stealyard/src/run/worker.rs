//! The worker's loop: find a task, run it, again.

use stealyard_deque::Order;
use stealyard_park::Parker;
use stealyard_park::idle::Active;
use stealyard_sync::Arc;
use stealyard_sync::time::Instant;
use stealyard_task::running::Code;
use stealyard_task::{Ran, Task};

use crate::machine::{Machine, current, local_tasks};
use crate::processor::{Next, Processor};
use crate::run::shutdown;
use crate::search::find::{Outcome, find_task};
use crate::search::{Worker, monitor, ready, share};
use crate::state::SchedulerState;

/// Runs tasks with the P on the calling thread, until the scheduler is closed.
pub(crate) fn run(shared: Arc<SchedulerState>, processor: Processor, parker: Parker) {
    let machine = Machine::new(shared, processor.index, parker);
    let shared = machine.shared();
    let entered = current::enter_worker(&machine);
    // SAFETY: 1. the machine is this thread's; 2. dropped below, when no task runs any more; 3. it
    // is in `SchedulerState`, which every worker keeps until it has ended.
    let joining = unsafe { machine.remote.joins.enter(&**shared) };
    // Also if a queue of the user's panics: a shutdown must not wait for this worker for ever.
    let leave = Leave {
        machine: &machine,
        processor: &processor,
    };
    let active = shared.idle.join(machine.index);
    debug_assert!(active.is_some(), "one thread holds a P");
    if let Some(active) = active {
        machine.context.holding(&processor, || {
            // With the P, so that what it spawns runs here.
            shared.call_hook(Code::OnStart, machine.index);
            work(&machine, active);
        });
    }
    drop(joining);
    drop(leave);
    drop(entered);
}

/// Finds tasks and runs them. The P is asked for anew after every task: user code ran in between.
fn work(machine: &Machine, mut active: Active) {
    let shared = machine.shared();
    while let Some(processor) = machine.processor() {
        if shared.lifecycle.is_closed() {
            return;
        }
        let (processor, next) = match processor.next() {
            Next::Task(task) => (processor, Some(task)),
            Next::Empty => (processor, None),
            Next::Global => match turn_of_global(machine, processor) {
                Turn::Taken => continue,
                Turn::Empty(processor) => (processor, None),
            },
        };
        let task = match next {
            Some(task) => task,
            None => {
                let worker = Worker {
                    shared,
                    machine,
                    processor,
                };
                match find_task(worker, active) {
                    Outcome::Task(still_active, task) => {
                        active = still_active;
                        task
                    }
                    Outcome::Local(still_active, task) => {
                        active = still_active;
                        run_local(machine, processor, task);
                        continue;
                    }
                    Outcome::Closed => return,
                }
            }
        };
        if shared.lifecycle.is_closed() {
            // It came while this worker searched, and after the end.
            shared.cancel(task);
            return;
        }
        run_one(machine, processor, task);
    }
}

/// How the global queue's turn ended.
enum Turn<'a> {
    /// A task ran, or the P is gone.
    Taken,
    /// There is no task, in the own queue neither. The P, asked for anew.
    Empty(&'a Processor),
}

/// Runs what is meant for this worker, and then a task of the global queue, or else of its own.
fn turn_of_global<'a>(machine: &'a Machine, processor: &Processor) -> Turn<'a> {
    run_own(machine, processor);
    let Some(processor) = machine.processor() else {
        return Turn::Taken;
    };
    let next = share::take_one(machine.shared(), processor).or_else(|| processor.next_local());
    match next {
        Some(task) => {
            run_measured(machine, processor, task);
            Turn::Taken
        }
        None => {
            processor.order.interval_was_cut();
            Turn::Empty(processor)
        }
    }
}

/// Runs a task, and goes on with it as long as it yields and no other waits.
#[inline(always)]
fn run_one(machine: &Machine, processor: &Processor, mut task: Task) {
    let mut processor = processor;
    while let Some(again) = poll(machine, processor, task) {
        let shared = machine.shared();
        // The P is asked for anew: user code ran.
        match machine.processor() {
            Some(now) if is_alone(shared, now) && !shared.lifecycle.is_closed() => {
                processor = now;
                task = again;
            }
            now => return put_back(shared, now, again),
        }
    }
}

/// Whether a task that yields would be the next one again, so that it need not go through a queue
/// (`order.rs`, P3).
#[inline(always)]
fn is_alone(shared: &SchedulerState, processor: &Processor) -> bool {
    // Where the own queue is last in, first out, others that yielded wait in the global queue.
    (processor.queue.order() == Order::Fifo || shared.global.is_empty())
        && processor.would_run_next_anyway()
}

/// Runs a task once. Returns it if it is to run again.
#[inline(always)]
fn poll(machine: &Machine, processor: &Processor, task: Task) -> Option<Task> {
    processor.remote.counts.ticks.tick();
    machine.budget.set(machine.shared().config.budget);
    match task.run() {
        Ran::Done | Ran::Pending => None,
        Ran::Again(task) => Some(task),
    }
}

/// Puts a task that is to run again behind the others.
#[inline(always)]
fn put_back(shared: &SchedulerState, processor: Option<&Processor>, task: Task) {
    match processor {
        Some(processor) => ready::push_behind(shared, processor, task),
        None => ready::submit(shared, task),
    }
}

/// Runs what is meant for this worker: a local task, and a task of its inbox.
#[cold]
fn run_own(machine: &Machine, processor: &Processor) {
    if let Some(task) = local_tasks::take(machine) {
        run_local(machine, processor, task);
    }
    let Some(processor) = machine.processor() else {
        return;
    };
    if let Some(task) = processor.remote.inbox.pop()
        && let Some(again) = poll(machine, processor, task)
    {
        // Not at once, though it may be alone: the global queue's turn comes next.
        put_back(machine.shared(), machine.processor(), again);
    }
}

/// Runs a local task of this thread.
fn run_local(machine: &Machine, processor: &Processor, task: Task) {
    if let Some(task) = poll(machine, processor, task) {
        machine.remote.local_ready.push(task);
    }
}

/// Runs a task once and notes how long it took.
#[cold]
fn run_measured(machine: &Machine, processor: &Processor, task: Task) {
    let began = Instant::now();
    processor.order.interval_begins(began);
    let again = poll(machine, processor, task);
    let processor = machine.processor();
    if let Some(processor) = processor {
        processor.counters().poll_time.record(began.elapsed());
    }
    if let Some(task) = again {
        put_back(machine.shared(), processor, task);
    }
}

/// Leaves in good order when dropped; see `run/shutdown.rs`.
struct Leave<'a> {
    machine: &'a Machine,
    processor: &'a Processor,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let Self { machine, processor } = self;
        monitor::worker_left(machine.shared(), machine.index);
        shutdown::worker_leaves(machine, processor);
    }
}
