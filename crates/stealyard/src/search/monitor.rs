//! The monitor: one idle worker that wakes from time to time to pick up work that was never
//! announced.
//!
//! Three kinds of work are not announced, or not seen any more:
//! - a task alone in a run-next slot (see `search/ready.rs`),
//! - the private halves of joins,
//! - tasks that were announced in a queue and that their owner has claimed since.
//!
//! Usually their worker gets to them within a microsecond. But if its present task is long, they
//! would wait for its end although cores are idle: the best known stall of schedulers with such a
//! slot. So while any worker is awake, one of the sleeping workers wakes now and then, after 200 µs
//! at first and 10 ms at last, and takes what has not moved since its last look. A worker has not
//! moved if it has run no task since: its `ticks` are the heartbeat.
//!
//! # Events
//! - *A worker falls asleep, another is awake, and there is no monitor*: it becomes the monitor.
//! - *A task is put alone into a slot, or a worker finds several tasks, and there is no monitor*: a
//!   sleeper is appointed and woken; it searches, and then monitors.
//! - *The monitor has found a task, in its sleep or in a search*: the same; no worker leaves this
//!   post without a successor while another sleeps.
//! - *The monitor's time is up*: it takes what its owner has not moved, or else waits twice as
//!   long.
//! - *All others have slept for a while*: it resigns and sleeps until it is woken.
//!
//! The monitor is counted as a sleeper all the time, so an announcement may wake it like any other,
//! and its looks cost no fence. It keeps the post while it searches. When everything sleeps,
//! nothing stirs.
//!
//! # Invariants
//! - **MP1** *The post names at most one worker.* A worker takes a vacant post as it falls asleep,
//!   or is appointed to it by another worker while it sleeps. The monitor vacates the post itself.
//!   So does the worker that appointed it, if it then sees that the other was awake already.
//! - **MP2** *A task alone in a slot is seen by a monitor, or by a worker that was appointed.* The
//!   worker that puts it in then looks at the post behind a light fence. A monitor that resigns
//!   looks, behind a heavy fence, whether any worker is awake.
//! - **MP3** *What a worker hides while another sleeps is seen by a monitor, or by a worker that
//!   was appointed.* There is such a worker from the moment when the first task (MP2), or several
//!   at once, come to a worker while others sleep. A monitor that finds a task appoints another
//!   worker before it runs the task, or sees that no worker sleeps. A worker that falls asleep
//!   meanwhile sees that there is no monitor.
//! - **MP4** *A worker that runs a task does not hold the post.* A worker looks at the post after
//!   it has said that it is awake and before it runs what it found. A worker that appoints another
//!   looks whether that one still sleeps after naming it.
//!
//! # Orderings
//! | label | operation                                                       | partner | publishes    |
//! |-------|-----------------------------------------------------------------|---------|--------------|
//! | MO1   | `wanted`: the put; light fence; load of the post                | MO2     | awake (1)    |
//! | MO2   | `resign`: vacates the post; heavy fence; which workers are awake | MO1    | vacant (1)   |
//! | MO3   | `sleep`: says "asleep"; full fence; load of the post            | MO4     | asleep (2)   |
//! | MO4   | `worker_left`: vacates the post; full fence; which workers sleep | MO3    | vacant (2)   |
//! | MO5   | `appoint`: names a sleeper; full fence; whether it sleeps       | MO6     | the name (3) |
//! | MO6   | `sleep`: says "awake"; full fence; before it looks at the post  | MO5     | awake (3)    |
//!
//! 1. The monitor sees the worker awake, or the worker sees a vacant post.
//! 2. The worker that leaves the post sees the sleeper, or the sleeper sees a vacant post.
//! 3. The worker that appoints sees the other awake, or that one sees its name.
//!
//! # Why not …
//! A thread of its own, as Go's `sysmon`: it would wake on an idle machine, and needs a core beside
//! the workers. Announcing every task in a slot, as Go does: each costs its sender a wake, up to 15
//! µs here, and the sleeper comes too late to find it.

use stealyard_deque::Steal;
use stealyard_park::ParkResult;
use stealyard_sync::asymmetric;
use stealyard_sync::atomic::{Ordering, fence};
use stealyard_sync::time::Instant;
use stealyard_task::Task;

use crate::machine::Machine;
use crate::processor::Processor;
use crate::search::{Worker, steal};
use crate::state::SchedulerState;

/// After so many looks that found all others asleep, the monitor resigns.
const QUIET_LOOKS: u32 = 6;

/// Appoints a monitor if there is none: a task was put alone into this worker's slot (MP2), or
/// several came into its queue (MP3).
#[inline(always)]
pub(crate) fn wanted(shared: &SchedulerState) {
    if !shared.monitor.is_on() {
        return;
    }
    // Ordering: MO1, partner MO2; the slot was filled before, and this worker is awake. Unmodelled:
    // the monitor sleeps with time limits, and a model has no time; missing it costs time, not a
    // task.
    asymmetric::light();
    if shared.monitor.is_vacant() {
        appoint(shared);
    }
}

/// Appoints a successor if this worker is the monitor: it has found a task, or ends (MP3).
#[inline(always)]
pub(crate) fn worker_left(shared: &SchedulerState, worker: usize) {
    let post = &shared.monitor;
    if post.is_on() && post.names(worker) {
        post.clear(worker);
        // Ordering: SeqCst (MO4), partner MO3. Unmodelled: see `wanted`.
        fence(Ordering::SeqCst);
        appoint(shared);
    }
}

/// Makes a sleeper the monitor and wakes it: it searches before it monitors. Does nothing if no
/// worker sleeps.
#[cold]
fn appoint(shared: &SchedulerState) {
    let post = &shared.monitor;
    for (worker, remote) in shared.remotes.iter().enumerate() {
        if !remote.asleep.get() {
            continue;
        }
        if !post.name(worker) {
            return; // another thread was quicker
        }
        // Ordering: SeqCst (MO5), partner MO6. Unmodelled: see `wanted`.
        fence(Ordering::SeqCst);
        if remote.asleep.get() {
            shared.wake_worker(worker);
            return;
        }
        // It woke meanwhile, and may run something without having seen its name (MP4).
        post.clear(worker);
    }
}

/// Makes this worker the monitor, if there is none and another is awake (MP1). Returns whether it
/// is the monitor now; it may have been appointed.
fn enlist(shared: &SchedulerState, worker: usize) -> bool {
    let post = &shared.monitor;
    post.is_on() && (post.names(worker) || some_worker_is_awake(shared) && post.name(worker))
}

/// Whether another worker is the monitor: the one that appointed this worker may have taken that
/// back (MP1).
fn is_taken(shared: &SchedulerState, worker: usize) -> bool {
    !enlist(shared, worker) && !shared.monitor.is_vacant()
}

/// Vacates the post, unless a worker woke in the same moment (MP2). Returns whether it did.
fn resign(shared: &SchedulerState, worker: usize) -> bool {
    shared.monitor.clear(worker);
    // Ordering: MO2, partner MO1; a worker that saw us as the monitor is seen awake here.
    // Unmodelled: see `wanted`.
    asymmetric::heavy();
    !enlist(shared, worker)
}

fn some_worker_is_awake(shared: &SchedulerState) -> bool {
    shared.idle.sleeping() < shared.idle.joined()
}

/// Sleeps until woken. The monitor may come back with a task instead, while it still counts as
/// asleep.
pub(crate) fn sleep(worker: Worker<'_>) -> Option<Task> {
    let (shared, processor) = (worker.shared, worker.processor);
    let asleep = &processor.remote.asleep;
    asleep.asleep();
    // Ordering: SeqCst (MO3), partner MO4. Unmodelled: see `wanted`.
    fence(Ordering::SeqCst);
    let task = if enlist(shared, processor.index) {
        monitor(worker)
    } else {
        rest(worker.machine);
        None
    };
    asleep.awake();
    // Ordering: SeqCst (MO6), partner MO5. Unmodelled: see `wanted`.
    fence(Ordering::SeqCst);
    task
}

/// Looks after the others now and then, asleep in between, until there is a task or the post is
/// another's.
fn monitor(worker: Worker<'_>) -> Option<Task> {
    let Worker {
        shared,
        machine,
        processor,
    } = worker;
    let mut pause = shared.config.watch_min;
    let mut quiet = 0;
    let mut seen: Vec<u64> = shared.remotes.iter().map(|_| u64::MAX).collect();
    loop {
        // A pause too long for the clock is one without an end.
        let until = Instant::now().checked_add(pause);
        if machine.parker.park_now(until) == ParkResult::Notified {
            return None;
        }
        let asleep = &processor.remote.asleep;
        asleep.awake();
        if let Some(task) = look(shared, processor, &mut seen) {
            return Some(task);
        }
        asleep.asleep();
        // Ordering: SeqCst (MO3), partner MO4. Unmodelled: see `wanted`.
        fence(Ordering::SeqCst);
        quiet = if some_worker_is_awake(shared) {
            0
        } else {
            quiet + 1
        };
        let done = if quiet < QUIET_LOOKS {
            is_taken(shared, processor.index)
        } else {
            quiet = 0;
            resign(shared, processor.index)
        };
        if done {
            rest(machine);
            return None;
        }
        pause = pause.saturating_mul(2).min(shared.config.watch_max);
    }
}

/// Sleeps until woken. At once: the search has spun for as long as it pays.
fn rest(machine: &Machine) {
    let woken = machine.parker.park_now(None);
    debug_assert_eq!(woken, ParkResult::Notified, "there was no time limit");
}

/// Takes what has waited since the last look behind one and the same task.
fn look(shared: &SchedulerState, processor: &Processor, seen: &mut [u64]) -> Option<Task> {
    for &(victim, _) in &processor.remote.others {
        let remote = &shared.remotes[victim];
        let ticks = remote.counts.ticks.now();
        if core::mem::replace(&mut seen[victim], ticks) != ticks {
            continue;
        }
        if let Some(task) = remote.slot.steal() {
            processor.counters().slots_stolen.add(1);
            return Some(task);
        }
        if let Steal::Success(task) = steal::force(shared, processor, victim) {
            return Some(task);
        }
    }
    None
}
