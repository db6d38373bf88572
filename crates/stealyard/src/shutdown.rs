//! Life and death of a scheduler: the steps of its end, and why in that order.
//!
//! | step | who              | what                                            | why here                           |
//! |------|------------------|-------------------------------------------------|------------------------------------|
//! | 1    | `drain` only     | state `Draining`: threads outside spawn no more | what comes from outside might never end |
//! | 2    | `drain` only     | waits until nothing can run any more            | the tasks' own work comes first    |
//! | 3    | who shuts down   | state `Closed`, wakes every worker              | a worker that sleeps would not see it |
//! | 4    | each worker      | stops at the next task boundary, cancels what its slot, queue and mail hold and what is bound to it | only the owner knows when it puts no more in |
//! | 5    | each worker      | gives its task memory back, counts itself out   | its queue is empty for good        |
//! | 6    | the last worker  | state `Gone`, then cancels what the global queue and the mail hold and every task that sleeps | nobody polls any more, so a task that sleeps now sleeps for ever |
//! | 7    | who shuts down   | joins the threads                               | their thread-locals are destroyed  |
//!
//! Destructors of cancelled tasks run on workers, as long as there is one. They may spawn and wake:
//! before step 6 that goes to the global queue, which step 6 empties; afterwards whoever puts a task
//! into the global queue cancels it. A chain of destructors that do so takes no more stack than one
//! (`task/trampoline.rs`), during the end and after it.
//!
//! The hook `on_worker_stop` comes after all that on its thread, between steps 6 and 7: it is the last code of the
//! user's there but for destructors of thread-locals, and what it makes is cancelled.
//!
//! Nobody waits for himself: inside a task of the scheduler steps 1 and 2 are another thread's, and so are they
//! inside a blocking call of it, which step 2 waits for; step 7 is nobody's in a task.
//!
//! # Invariants
//! - **L1** The state only grows: `Running`, `Draining`, `Closed`, `Gone`.
//! - **L2** *A task in the global queue or the mail of a scheduler that is `Gone` is cancelled*: whoever pushed it looks
//!   at the state behind a light fence, and the last worker looks at the queue behind a heavy one after it
//!   has written `Gone` (A1 of `stealyard_sync::asymmetric`): one of the two sees the other.
//! - **L3** A task is run or cancelled, never forgotten: it is in a queue (cancelled in steps 4 and 6, or
//!   by L2), in a thread's hands (which run it or put it into a queue), or asleep (step 6).
//!
//! # Orderings
//! | label | operation                            | partner | publishes                                 |
//! |-------|--------------------------------------|---------|-------------------------------------------|
//! | G1    | `submit`: push; light fence; load `state` | G2 | the task, or else `Gone` is seen            |
//! | G2    | last worker: store `Gone`; heavy fence; drain | G1 | `Gone`, or else the task is seen        |
//! | G3    | leaving: `running` minus one, AcqRel | itself  | what a worker did, to the last one        |
//! | G4    | drain: looks at queues; heavy fence; who sleeps | G5 | an empty queue, or else the worker awake |
//! | G5    | worker: says "awake"; light fence; takes from a queue | G4 | "awake", or else the task |
//! | G6    | worker: counts its sleep; says "asleep", Release | G7 | the count                          |
//! | G7    | drain: who sleeps, Acquire; the counts | G6    | –                                         |
//!
//! # After a fork
//! The child has a copy of all this and none of the workers. What a copy is given is cancelled, and ending it
//! waits for nothing and touches nothing: the tasks, the threads and the locks are the parent's. What is left of
//! it is leaked.
//!
//! # Why not …
//! Running what is queued when the scheduler is dropped, as rayon does: a task may respawn itself for
//! ever; `Shutdown::Drain` is for that. Killing threads whose task does not return: unsound.

use core::fmt;

use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::time::{Duration, Instant};
use stealyard_sync::{Condvar, Mutex, MutexGuard, asymmetric, fork};

use crate::global::LaneId;
use crate::metrics::Counter;
use crate::place;
use crate::processor::Processor;
use crate::shared::Shared;
use crate::task::Task;
use crate::task::running::Code;
use crate::user_code::catch;

const RUNNING: usize = 0;
const DRAINING: usize = 1;
const CLOSED: usize = 2;
const GONE: usize = 3;

/// How often whoever drains looks whether everything is done.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// In what manner a scheduler ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// First runs everything that can run, and what that spawns and wakes, until nothing can run any more
    /// and no blocking call is under way; then cancels the tasks that still sleep. New tasks from
    /// outside are cancelled from the start. Takes as long as it takes: for ever, if tasks respawn themselves. All threads
    /// have ended when it returns.
    Drain,
    /// Cancels what is queued and what sleeps; waits for the tasks that are running at this moment to
    /// return, and not for blocking calls. What dropping the scheduler does. Destructors of cancelled tasks run on workers;
    /// one that spawns what has the same destructor keeps this from returning, and so does a task that waits, in the same
    /// manner, for the end of another scheduler whose task waits for this one. All threads have ended when it returns, but
    /// those that are inside a blocking call: each of them ends when its call returns.
    Cancel,
    /// As `Drain`, for this long at the most; then as `Cancel`, but without waiting for tasks and blocking
    /// calls that do not return: the report says how many are left, and how many tasks wait behind them. The way
    /// out where the other two might not return; a limit of zero cancels at once. All threads have ended when it returns,
    /// but those that the report counts: they end when their task or call returns.
    /// (It may take a second more if a destructor of a cancelled task or call does not return.)
    DrainFor(Duration),
}

/// What a shutdown left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "tasks may have been cancelled"]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that were cancelled because they were queued or slept; none in a forked child, where they are the
    /// parent's.
    pub cancelled: u64,
    /// Tasks that have not ended, because not all workers have returned: queued, asleep, or running (the task
    /// that shut down inside itself, too), but not blocking calls. The workers cancel the rest when they
    /// return. They are counted one by one while the workers go on: exact if none of them ends or
    /// spawns a task meanwhile. Zero if all workers have returned.
    pub tasks_left: usize,
    /// Workers whose task, or whose destructor of a cancelled task, has not returned. Their threads end by themselves
    /// when it does.
    pub workers_running: usize,
    /// Blocking calls that have not returned, or have not begun (those are cancelled when their turn
    /// comes). So at most as many of the threads for blocking calls are left.
    pub blocking_running: usize,
}

/// Whether a scheduler lives, and who still works for it.
pub(crate) struct Life {
    state: AtomicUsize,
    /// The generation of the process in which its threads are.
    born: u32,
    /// Workers that may still put tasks into queues.
    running: AtomicUsize,
    /// Workers that have not ended their last step.
    left: Mutex<usize>,
    ended: Condvar,
    pub(crate) cancelled: Counter,
}

impl Life {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicUsize::new(RUNNING),
            born: fork::watch(),
            running: AtomicUsize::new(0),
            left: Mutex::new(0),
            ended: Condvar::new(),
            cancelled: Counter::default(),
        }
    }

    #[inline(always)]
    pub(crate) fn is_closed(&self) -> bool {
        // Ordering: Relaxed; a worker that sleeps is woken with a token, which publishes it, and one that
        // runs sees it at some task boundary soon.
        self.state.load(Ordering::Relaxed) >= CLOSED
    }

    /// Whether new tasks from outside are taken.
    pub(crate) fn is_open(&self) -> bool {
        // Ordering: Relaxed; a task that comes in the same moment may be taken or not.
        self.state.load(Ordering::Relaxed) == RUNNING && !self.is_copy()
    }

    /// Whether this is a forked child's copy: the workers are in the parent, and locks that they held at that
    /// moment are held for ever.
    #[inline]
    pub(crate) fn is_copy(&self) -> bool {
        fork::generation() != self.born
    }

    /// Moves the state on (L1).
    fn raise(&self, to: usize) {
        // Ordering: Relaxed on both; what must see it is told so by other means (`is_closed`, G2).
        let mut now = self.state.load(Ordering::Relaxed);
        while now < to {
            match self
                .state
                .compare_exchange(now, to, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(newer) => now = newer,
            }
        }
    }

    /// A worker is about to be started. Undone by `worker_leaves` or `worker_failed`.
    pub(crate) fn worker_joins(&self) {
        // Ordering: Relaxed; the thread is started afterwards.
        self.running.fetch_add(1, Ordering::Relaxed);
        *self.lock() += 1;
    }

    /// The thread could not be started.
    pub(crate) fn worker_failed(&self) {
        // Ordering: Relaxed; it never did anything.
        self.running.fetch_sub(1, Ordering::Relaxed);
        *self.lock() -= 1;
    }

    /// Step 3.
    pub(crate) fn close(&self, shared: &Shared) {
        self.raise(CLOSED);
        shared.idle.wake_all_workers();
        shared.blocking.close();
    }

    /// Steps 4 to 6, on the worker's thread, which does not hold the P any more: what destructors wake
    /// and spawn goes to the global queue. Then the hook.
    pub(crate) fn worker_leaves(&self, shared: &Shared, processor: &Processor) {
        let closed = self.is_closed();
        let next = || {
            let remote = &processor.remote;
            let own = remote
                .slot
                .take()
                .or_else(|| pop_whatever(shared, processor));
            own.or_else(|| remote.mail.pop())
        };
        while let Some(task) = next() {
            if closed {
                self.cancel(task);
            } else {
                // The worker's thread ends by a panic in the user's queue: others go on.
                shared.global.push(processor.remote.lane, task);
            }
        }
        place::cancel_bound(processor, |task| self.cancel(task));
        processor.memory.flush(&shared.memory);
        // Ordering: AcqRel (G3); the last one sees what the others put into the global queue, and the tasks that
        // fell asleep on them. Unmodelled: the models with two workers pass without it, at 0 preemptions and
        // at 1, since leaving `Idle` before happens to order the same; kept so that the end does not rest on
        // the inside of another crate.
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close(shared);
            self.raise(GONE);
            // Ordering: G2, partner: the light fence of G1.
            asymmetric::heavy();
            self.sweep(shared);
        } else if !closed {
            shared.idle.announce(1);
        }
        shared.call_hook(Code::OnStop, processor.index);
        let mut left = self.lock();
        *left -= 1;
        // Also those who wait for some of them.
        self.ended.notify_all();
    }

    /// Step 6: until there is nothing left, because each destructor may bring more.
    fn sweep(&self, shared: &Shared) {
        loop {
            self.drain_global(shared);
            let mut claimed = 0_usize;
            shared.memory.claim_idle(|task| {
                claimed += 1;
                self.cancel(task);
            });
            let mail = shared.remotes.iter().any(|remote| !remote.mail.is_empty());
            if claimed == 0 && shared.global.is_empty() && !mail {
                return;
            }
        }
    }

    fn drain_global(&self, shared: &Shared) {
        let mail = || shared.remotes.iter().find_map(|remote| remote.mail.pop());
        let next = || shared.global.pop(LaneId(0)).or_else(mail);
        while let Some(task) = next() {
            self.cancel(task);
        }
    }

    /// Ends a task that was not run, or not to its end: at once, or if this thread is deep inside of destructors, when
    /// the innermost has returned (TR1).
    pub(crate) fn cancel(&self, task: Task) {
        self.cancelled.add_shared(1);
        task.cancel();
    }

    /// A task was put into the global queue (L2). The announcement before has passed a light fence. Whatever else this
    /// thread is inside of, it takes out what is there: a destructor that the end of another scheduler runs may have
    /// come here.
    #[inline]
    pub(crate) fn after_submit(&self, shared: &Shared) {
        // Ordering: Relaxed (G1); behind the light fence of `Idle::announce`, partner G2.
        if self.state.load(Ordering::Relaxed) == GONE {
            self.drain_global(shared);
        }
    }

    /// Steps 1 and 2: true when nothing can run any more, false if the time was up first.
    pub(crate) fn drain(&self, shared: &Shared, deadline: Option<Instant>) -> bool {
        self.raise(DRAINING);
        loop {
            if self.is_closed() || is_quiescent(shared) {
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

    /// Waits for step 6, until `deadline` at the latest. How many workers have not left.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> usize {
        self.wait_for_all_but(0, deadline)
    }

    /// Waits until no more workers than `rest` have not left, until `deadline` at the latest. How many have not.
    pub(crate) fn wait_for_all_but(&self, rest: usize, deadline: Option<Instant>) -> usize {
        let mut left = self.lock();
        while *left > rest {
            let Some(deadline) = deadline else {
                left = match self.ended.wait(left) {
                    Ok(guard) => guard,
                    Err(poisoned) => poisoned.into_inner(),
                };
                continue;
            };
            let now = Instant::now();
            if now >= deadline {
                break;
            }
            let pause = deadline.saturating_duration_since(now);
            left = match self.ended.wait_timeout(left, pause) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        *left
    }

    /// What is left when so many workers have not left.
    pub(crate) fn report(&self, shared: &Shared, workers_running: usize) -> ShutdownReport {
        let blocking_running = shared.blocking.in_flight();
        let tasks_left = match workers_running {
            // Step 6 is over.
            0 => 0,
            _ => tasks_alive(shared).saturating_sub(blocking_running),
        };
        ShutdownReport {
            cancelled: self.cancelled.get(),
            tasks_left,
            workers_running,
            blocking_running,
        }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        match self.left.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

/// The next task of the queue. One of the user's own may panic, which may be why the worker leaves; what it keeps is
/// cancelled when it is dropped.
fn pop_whatever(shared: &Shared, processor: &Processor) -> Option<Task> {
    match catch(|| processor.queue.pop()) {
        Ok(task) => task,
        Err(panic) => {
            shared.caught(panic);
            None
        }
    }
}

/// Tasks that have not ended, those for blocking calls among them: the slabs know all but the bound ones.
fn tasks_alive(shared: &Shared) -> usize {
    let bound = shared.remotes.iter().map(|remote| {
        // Ordering: Relaxed; a view of the moment.
        remote.bound_alive.load(Ordering::Relaxed)
    });
    shared.memory.alive() + bound.sum::<usize>()
}

/// Whether nothing can run: every worker sleeps, every queue is empty, no blocking call is under way.
///
/// It is looked at twice, with a fence for all cores in between, and no worker may have fallen asleep
/// meanwhile. A worker says that it is awake before it takes anything (G5), and one that fell asleep again
/// is told by its count (G6). So a worker that both looks show asleep slept from before the first to after
/// the second; and all of it was true at the moment of the fence. What `Idle` counts as sleeping will not
/// do: a worker in its last look, and the watcher, may have a task in their hands.
fn is_quiescent(shared: &Shared) -> bool {
    // Ordering: Relaxed; a worker that is being started in this moment has nothing yet.
    let workers = shared.life.running.load(Ordering::Relaxed);
    let looks_so = || {
        let remotes = shared.remotes.iter();
        shared.blocking.in_flight() == 0
            && shared.global.is_empty()
            && remotes.clone().all(|remote| remote.len() == 0)
            && remotes.filter(|remote| remote.asleep.get()).count() == workers
    };
    let parks = || -> u64 {
        let parks = shared
            .remotes
            .iter()
            .map(|remote| remote.counters.parks.get());
        parks.fold(0, u64::wrapping_add)
    };
    let before = parks();
    if !looks_so() {
        return false;
    }
    // Ordering: heavy (G4), partner: the light fences of G5. Unmodelled: a model of it would need a worker
    // that wakes, runs and sleeps between any two of eight loads; the scenario `spawn` under shuttle finds
    // the order of steps wrong, not the fence.
    asymmetric::heavy();
    looks_so() && parks() == before
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ordering: Relaxed; a moment's view.
        let state = match self.state.load(Ordering::Relaxed) {
            RUNNING => "running",
            DRAINING => "draining",
            CLOSED => "closed",
            _ => "gone",
        };
        f.write_str(state)
    }
}
