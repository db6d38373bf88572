//! The end of a scheduler: its steps, and why they come in that order.
//!
//! 1. *A drain only*: the phase becomes `Draining`; threads outside spawn no more. Work from
//!    outside might never end.
//! 2. *A drain only*: the thread that drains waits until nothing can run any more. The tasks' own
//!    work comes first.
//! 3. The thread that shuts down sets the phase to `Closed`, and wakes every worker. A worker that
//!    sleeps would not see it.
//! 4. Each worker stops at the next task boundary. It cancels what its slot, queue and inbox hold,
//!    and its local tasks. Only the owner knows when it puts no more in.
//! 5. Each worker gives its task memory back, and counts itself out. Its queue is empty for good.
//! 6. The last worker sets the phase to `Gone`. It cancels what the global queue and the inboxes
//!    hold, and every task that sleeps: no thread polls any more, so a task that sleeps now sleeps
//!    for ever.
//! 7. The thread that shuts down joins the threads, so that their thread-locals are destroyed.
//!
//! Destructors of cancelled tasks run on workers, as long as there is one. They may spawn and wake:
//! before step 6 that goes to the global queue, which step 6 empties; afterwards a thread that puts
//! a task into the global queue cancels it. A chain of destructors that do so takes no more stack
//! than one (`stealyard_task::trampoline`), during the end and after it.
//!
//! The hook `on_worker_stop` comes after all that on its thread, between steps 6 and 7: it is the
//! last code of the user's there, apart from destructors of thread-locals. Tasks that it makes are
//! cancelled.
//!
//! A task cannot wait for itself. If shutdown is called inside one of the scheduler's own tasks, a
//! helper thread does the draining (steps 1 and 2), and the threads are not joined (step 7). The
//! helper also drains for a blocking call, because step 2 waits for blocking calls.
//!
//! # Invariants
//! LC1 and LC2 of `state/lifecycle.rs`, SL2 to SL5 of `processor/remote.rs`, and
//! - **SD1** *A task is run or cancelled, never forgotten.* It is in a queue (cancelled in steps 4
//!   and 6, or by LC2), in the hands of a thread (which runs it or puts it into a queue), or asleep
//!   (step 6).
//!
//! # After a fork
//! The child has a copy of all this and none of the workers. Tasks that are given to a copy are
//! cancelled. To end a copy waits for nothing and touches nothing, because the tasks, the threads
//! and the locks are the parent's; the rest of the copy is leaked.
//!
//! # Why not …
//! Running what is queued when the scheduler is dropped, as rayon does: a task may respawn itself
//! for ever; `Shutdown::Drain` is for that. Killing threads whose task does not return: unsound.

use stealyard_sync::thread::JoinHandle as ThreadHandle;
use stealyard_sync::time::{Duration, Instant};
use stealyard_sync::{Arc, asymmetric};
use stealyard_task::running::Code;
use stealyard_task::{Task, trampoline};

use crate::machine::current::{self, Role};
use crate::machine::{Machine, local_tasks};
use crate::processor::Processor;
use crate::run::blocking;
use crate::search::ready;
use crate::state::SchedulerState;
use crate::state::lifecycle::Phase;
use crate::user_code::{catch, dispose, tell};

/// How often a thread that drains looks whether everything is done.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// A worker that has nothing to run leaves within this time, unless a destructor holds it up.
const WAKE_MAX: Duration = Duration::from_secs(1);

/// The manner in which a scheduler ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Lets the tasks finish.
    ///
    /// 1. From now on, new tasks from outside are cancelled.
    /// 2. Everything that can run is run, with all that it spawns and wakes, until nothing can run
    ///    any more and no blocking call is under way.
    /// 3. Tasks that still sleep are cancelled.
    ///
    /// Takes as long as it takes: for ever, if tasks respawn themselves. All threads have ended
    /// when it returns.
    Drain,
    /// Cancels tasks that are queued and tasks that sleep. Dropping the scheduler does this.
    ///
    /// Waits for the tasks that are running at this moment to return, and not for blocking calls.
    /// Destructors of cancelled tasks run on workers. `Cancel` does not return
    /// - if such a destructor spawns a task with the same destructor, and so on,
    /// - or if a task waits, in the same manner, for the end of another scheduler whose task waits
    ///   for this one.
    ///
    /// All threads have ended when it returns, except those that are inside a blocking call: each
    /// of them ends when its call returns.
    Cancel,
    /// As `Drain`, for this long at the most, and then as `Cancel`, but without waiting for tasks
    /// and blocking calls that do not return. This is the way out where the other two might not
    /// return; a limit of zero cancels at once.
    ///
    /// The report says how many tasks and calls are left, and how many tasks wait behind them. All
    /// threads have ended when it returns, except those that the report counts: they end when their
    /// task or call returns. (It may take a second more if a destructor of a cancelled task or call
    /// does not return.)
    DrainFor(Duration),
}

/// What is left after a shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "tasks may have been cancelled"]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that were cancelled because they were queued or slept. None in a forked child, where
    /// they are the parent's.
    pub cancelled: u64,
    /// Tasks that have not ended, because not all workers have returned. Zero if all have.
    ///
    /// They are queued, asleep, or running (the task that shut down inside itself, too), but are
    /// not blocking calls. The workers cancel the rest when they return. The tasks are counted one
    /// by one while the workers go on: the number is exact if no task ends or is spawned meanwhile.
    pub tasks_left: usize,
    /// Workers whose task, or whose destructor of a cancelled task, has not returned. Their threads
    /// end by themselves when it does.
    pub workers_running: usize,
    /// Blocking calls that have not returned, or have not begun (those are cancelled when their
    /// turn comes). At most as many of the threads for blocking calls are left.
    pub blocking_running: usize,
}

/// Ends a scheduler in the given manner, from whatever thread.
pub(crate) fn end(
    shared: Arc<SchedulerState>,
    threads: Vec<ThreadHandle<()>>,
    how: Shutdown,
) -> ShutdownReport {
    if shared.lifecycle.is_copy() {
        // Handles of threads that are not there: not even to be let go of.
        core::mem::forget((threads, shared));
        return ShutdownReport::default();
    }
    if waits_for_itself(&shared, how) {
        return end_from_inside(shared, threads, how);
    }
    end_and_wait(&shared, threads, how)
}

/// Whether an end in this manner would wait for what this thread is inside of: a task, or a
/// blocking call, for which only a drain waits. A thread inside `block_on` is not waited for.
fn waits_for_itself(shared: &SchedulerState, how: Shutdown) -> bool {
    current::is_inside(shared, Role::Worker)
        || (how != Shutdown::Cancel && current::is_inside(shared, Role::Blocking))
}

fn end_and_wait(
    shared: &Arc<SchedulerState>,
    threads: Vec<ThreadHandle<()>>,
    how: Shutdown,
) -> ShutdownReport {
    let deadline = match how {
        Shutdown::DrainFor(time) => Instant::now().checked_add(time),
        Shutdown::Drain | Shutdown::Cancel => None,
    };
    // Destructors that this thread has put off may be of tasks of this scheduler
    // (`stealyard_task::trampoline`).
    trampoline::catch_up();
    if how != Shutdown::Cancel {
        // The report says what is left.
        let _ = drain(shared, deadline);
    }
    let machines = shared.machines.iter();
    let idle = machines.filter(|machine| machine.is_idle()).count();
    close(shared);
    let workers_running = wait_for_workers(shared, idle, deadline);
    let moment = Instant::now().checked_add(WAKE_MAX);
    let deadline = deadline.and_then(|deadline| moment.map(|moment| moment.max(deadline)));
    blocking::wait_for_idle(shared, deadline);
    if workers_running == 0 {
        join_all(threads);
    }
    report(shared, workers_running)
}

/// Waits until the workers have left, until `deadline` at the latest, but in any case for the
/// `idle` ones that had nothing to run: they need no more than to wake. Returns how many have not
/// left.
fn wait_for_workers(shared: &SchedulerState, idle: usize, deadline: Option<Instant>) -> usize {
    let running = shared.lifecycle.wait(deadline);
    if running == 0 {
        return 0;
    }
    let busy = shared.remotes.len().saturating_sub(idle);
    let moment = Instant::now().checked_add(WAKE_MAX);
    shared.lifecycle.wait_for_all_but(busy.min(running), moment)
}

/// Ends the scheduler from a task or a blocking call of its own, which cannot wait for itself.
fn end_from_inside(
    shared: Arc<SchedulerState>,
    threads: Vec<ThreadHandle<()>>,
    how: Shutdown,
) -> ShutdownReport {
    if how != Shutdown::Cancel {
        let other = Arc::clone(&shared);
        let name = format!("{}-shutdown", shared.config.name);
        let body = Box::new(move || {
            let _report = end_and_wait(&other, threads, how);
        });
        match shared.config.starter.start(name, None, body) {
            Ok(_detached) => return ShutdownReport::default(),
            Err(error) => tell(|| {
                tracing::error!(
                    %error,
                    "the thread to drain the scheduler could not be started: its tasks are cancelled"
                );
            }),
        }
    }
    close(&shared);
    let workers_running = shared.lifecycle.wait(Some(Instant::now()));
    report(&shared, workers_running)
}

/// Does steps 1 and 2. Returns true when nothing can run any more, false if the time was up first.
fn drain(shared: &SchedulerState, deadline: Option<Instant>) -> bool {
    shared.lifecycle.raise(Phase::Draining);
    loop {
        if shared.lifecycle.is_closed() || is_quiescent(shared) {
            return true;
        }
        let now = Instant::now();
        let pause = match deadline {
            Some(deadline) if now >= deadline => return false,
            Some(deadline) => deadline.saturating_duration_since(now).min(LOOK_EVERY),
            None => LOOK_EVERY,
        };
        stealyard_sync::thread::sleep(pause);
    }
}

/// Does step 3.
pub(crate) fn close(shared: &SchedulerState) {
    shared.lifecycle.raise(Phase::Closed);
    shared.wake_all_workers();
    shared.blocking.close();
}

/// Does steps 4 to 6, on the worker's thread, which does not hold the P any more: what destructors
/// wake and spawn goes to the global queue. Then calls the hook.
pub(crate) fn worker_leaves(machine: &Machine, processor: &Processor) {
    let shared: &SchedulerState = machine.shared();
    let closed = shared.lifecycle.is_closed();
    while let Some(task) = take_own(shared, processor) {
        if closed {
            shared.cancel(task);
        } else {
            // The worker's thread ends by a panic in the user's queue: others go on.
            shared.global.push(processor.remote.lane, task);
        }
    }
    local_tasks::cancel_all(machine, |task| shared.cancel(task));
    processor.memory.flush(&shared.memory);
    if shared.lifecycle.worker_stopped() {
        close(shared);
        shared.lifecycle.raise_to_gone();
        sweep(shared);
    } else if !closed {
        let _ = shared.idle.announce(1);
    }
    shared.call_hook(Code::OnStop, processor.index);
    shared.lifecycle.worker_ended();
}

/// Takes a task from the slot, the queue or the inbox of a worker that leaves.
fn take_own(shared: &SchedulerState, processor: &Processor) -> Option<Task> {
    let remote = &processor.remote;
    let queued = remote.slot.take().or_else(|| pop_queue(shared, processor));
    queued.or_else(|| remote.inbox.pop())
}

/// Takes the next task of the queue. A user's own queue may panic, which may be why the worker
/// leaves; the tasks that it keeps are cancelled when it is dropped.
fn pop_queue(shared: &SchedulerState, processor: &Processor) -> Option<Task> {
    match catch(|| processor.queue.pop()) {
        Ok(task) => task,
        Err(panic) => {
            shared.caught(panic);
            None
        }
    }
}

/// Does step 6, until there is nothing left, because each destructor may bring more.
fn sweep(shared: &SchedulerState) {
    loop {
        ready::cancel_queued(shared);
        let mut claimed = 0_usize;
        shared.memory.claim_idle(|task| {
            claimed += 1;
            shared.cancel(task);
        });
        let mut inboxes = shared.remotes.iter().map(|remote| &remote.inbox);
        let inboxes_hold_tasks = inboxes.any(|inbox| !inbox.is_empty());
        if claimed == 0 && shared.global.is_empty() && !inboxes_hold_tasks {
            return;
        }
    }
}

/// Waits for threads that end.
pub(crate) fn join_all(threads: Vec<ThreadHandle<()>>) {
    for thread in threads {
        // A worker that panicked (in a queue of the user's) has left in good order.
        if let Err(panic) = thread.join() {
            dispose(panic);
        }
    }
}

/// Builds the report; `workers_running` workers have not ended yet.
fn report(shared: &SchedulerState, workers_running: usize) -> ShutdownReport {
    let blocking_running = shared.blocking.in_flight();
    let tasks_left = match workers_running {
        // Step 6 is over.
        0 => 0,
        _ => tasks_alive(shared).saturating_sub(blocking_running),
    };
    ShutdownReport {
        cancelled: shared.lifecycle.cancelled.get(),
        tasks_left,
        workers_running,
        blocking_running,
    }
}

/// Returns how many tasks have not ended, those for blocking calls among them: the slabs know all
/// but the local ones.
fn tasks_alive(shared: &SchedulerState) -> usize {
    let local = shared.machines.iter().map(|machine| machine.local_alive());
    shared.memory.alive() + local.sum::<usize>()
}

/// Whether nothing can run: every worker sleeps, every queue is empty, no blocking call is under
/// way.
///
/// 1. Sum the `sleeps` of all workers; look at the queues, and which workers sleep.
/// 2. Pass a fence for all cores.
/// 3. Look again. All must be as before: no worker may have fallen asleep meanwhile.
///
/// A worker says that it is awake before it takes anything (SL3), and one that fell asleep again is
/// told by its count (SL4). So a worker that both looks show asleep slept from before the first to
/// after the second, and all that was seen was true at the moment of the fence. The sleepers that
/// `Idle` counts will not do: a worker in its last look, and the monitor, may have a task in their
/// hands.
fn is_quiescent(shared: &SchedulerState) -> bool {
    let workers = shared.lifecycle.workers_running();
    let seems_quiescent = || {
        shared.blocking.in_flight() == 0
            && shared.global.is_empty()
            && (0..shared.remotes.len()).all(|worker| shared.queued_at(worker) == 0)
            && shared.remotes.iter().filter(|it| it.asleep.get()).count() == workers
    };
    let sleeps = || -> u64 {
        let counts = shared.remotes.iter().map(|it| it.counts.sleeps.get());
        counts.fold(0, u64::wrapping_add)
    };
    let before = sleeps();
    if !seems_quiescent() {
        return false;
    }
    // Ordering: heavy (SL2), partner: the light fences of SL3. Unmodelled: a model of it would need
    // a worker that wakes, runs and sleeps between any two of eight loads; the scenario `spawn`
    // under shuttle finds the order of steps wrong, not the fence.
    asymmetric::heavy();
    seems_quiescent() && sleeps() == before
}
