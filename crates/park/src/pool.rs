//! OS threads kept for reuse: started on demand, bounded in number, ended when idle.
//!
//! The pool is for work that blocks (a system call, a file, a foreign library) and for the spare
//! threads of a scheduler. Such work is rare and long compared with a task, so one lock guards the
//! state. What matters is that no job is lost: not when a thread cannot be started, not when an
//! idle thread ends in the same moment, not when a job panics, not at shutdown.
//!
//! # Operations
//! Any thread may call them. They block for a short lock, and for what the table says.
//!
//! | operation       | progress          | cost                                        |
//! |-----------------|-------------------|---------------------------------------------|
//! | `run`           | the lock          | a lock, and a wake or the start of a thread |
//! | `run_now`       | the lock          | the same; never queues                      |
//! | `close`         | the lock          | a wake for each idle thread                 |
//! | `shutdown`      | blocking, bounded | waits for the jobs                          |
//! | `shutdown_idle` | blocking          | waits for the threads without a job         |
//!
//! # Invariants
//! - **T1** *A queued job has a thread.* `threads` counts the threads that will still look at the
//!   queue, and those that are being started. A thread leaves the count in the critical section in
//!   which it finds the queue empty and decides to end. A start that fails leaves it in the
//!   critical section in which its job is taken back. A job is queued only if a thread has begun
//!   and has not left, or if more threads are counted than starts are under way. In both cases
//!   there is a thread that will look at the queue.
//! - **T2** *A thread never ends with a job in its slot.* A slot in `idle` belongs to a thread that
//!   waits for a job in that slot. It is removed from `idle` in one of three ways: by a thread that
//!   gives it a job in the same critical section, by the closing of the pool, or by its own thread,
//!   which then ends.
//! - **T3** *A start has failed if the slot says so.* A job is put into the slot before the thread
//!   is started. The slot, not the starter, tells whether the start has failed:
//!   - a body that has begun is a thread, which has taken the job or will take it;
//!   - a body that has not begun when the starter returns an error or has dropped it never will,
//!     and the job is taken back.
//!
//!   Both sides look under the lock.
//! - **T4** The thread that became idle last is reused first, so that under light load the others
//!   time out and end.
//! - **T5** *A forked child takes no lock.* It has a copy of the pool and none of its threads, and
//!   a thread of the parent may have held the lock at the fork. Jobs are refused, and no call
//!   waits.
//! - **T6** *A shutdown ends in its time, whatever a hook does.* `leaving` counts the threads that
//!   have left `threads` and may still be in a hook. A shutdown waits for both counts, and then
//!   joins only threads that have nothing more to do. The threads join each other in a chain:
//!   1. A thread that leaves `leaving` puts its handle into `last_ended` in the same critical
//!      section, and takes the handle that was there.
//!   2. As the last thing that it does, it joins the thread of that handle. So joining `last_ended`
//!      joins all threads that left before.
//!   3. A thread that has left may call the pool from the destructor of a thread-local. It joins no
//!      thread then, since others may wait for it.
//!
//! # Foreign code
//! None of it runs under the lock, so all of it may use the pool.
//!
//! | what runs                     | where              | if it panics                           |
//! |-------------------------------|--------------------|----------------------------------------|
//! | `Start::start`                | `run`, `run_now`   | the start failed, as after an error    |
//! | jobs, and what they own       | on a pool thread   | counted in `panics`; the thread goes on |
//! | hooks                         | on a pool thread   | the same                               |
//! | destructors of panic payloads | where it is caught | the second payload is forgotten        |
//! | destructors of refused jobs   | at the caller      | the panic is the caller's              |
//!
//! While a thread is being started `threads` counts it, and nothing relies on it. A job that could
//! only wait for threads that are being started waits in `run` until it is known whether there will
//! be one. The thread that starts it would wait for itself, so there `run` refuses the job as busy.
//!
//! A pool that is forgotten is never closed: its jobs run, and its threads end when they have been
//! idle for `keep_alive`.
//!
//! # Why not …
//! - *A condition variable for the idle threads*: it wakes the oldest one, against T4.
//! - *Starting a thread under the lock*: a starter that uses the pool would wait for itself, and
//!   every other user would wait for the system to start a thread, some 13 µs.
//!
//! # References
//! The blocking pool of tokio; `startm` and `stopm` in `runtime/proc.go` of Go.

mod config;
mod outcome;
mod thread;

use core::panic::{RefUnwindSafe, UnwindSafe};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use stealyard_sync::thread::{JoinHandle, ThreadId, current};
use stealyard_sync::time::{Duration, Instant};
use stealyard_sync::{Arc, Condvar, Mutex, MutexGuard, fork, unpoisoned};

use crate::panics::{discard, said};
pub use config::{OsThreads, PoolConfig, PoolConfigError, Start, ThreadHook};
pub use outcome::{Placed, PoolStats, Refused, RefusedReason, ShutdownResult};
use thread::{Body, JobSlot, Phase};

/// The time between two looks at a number that changes without a notification.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// A job: a closure that a pool thread runs.
pub type Job = Box<dyn FnOnce() + Send + 'static>;

/// A pool of OS threads. [`PoolConfig`] has its bounds.
///
/// Dropping the pool closes it and does not wait: queued jobs still run.
/// [`shutdown`](Self::shutdown) waits.
#[derive(Debug)]
pub struct ThreadPool {
    shared: Arc<PoolState>,
}

/// What the pool and its threads share.
struct PoolState {
    /// The generation of the process that has the pool's threads (T5).
    born: u32,
    config: PoolConfig,
    starter: Box<dyn Start>,
    state: Mutex<LockedState>,
    /// Notified when `threads` or `leaving` falls, when a start is over, and when the pool is
    /// closed.
    changed: Condvar,
}

// A panic of a user's code leaves nothing half done.
impl UnwindSafe for PoolState {}
impl RefUnwindSafe for PoolState {}

/// The part of the state that the lock guards.
#[derive(Default)]
struct LockedState {
    closed: bool,
    queue: VecDeque<Job>,
    /// The slots of the idle threads. The thread that became idle last is last (T4).
    idle: Vec<Arc<JobSlot>>,
    /// The number of threads that will still look at the queue or are being started (T1).
    threads: usize,
    /// The number of threads that have left `threads` and may still be in a hook (T6).
    leaving: usize,
    /// The threads that are starting another thread now. `threads` counts those others.
    starting: Vec<ThreadId>,
    /// The threads whose bodies run, by their numbers.
    bodies: BTreeMap<usize, ThreadId>,
    /// The number of the next thread.
    next: usize,
    handles: BTreeMap<usize, JoinHandle<()>>,
    /// The handle of the thread that ended last. The next thread to end joins it, so that at most
    /// one is unjoined (T6).
    last_ended: Option<JoinHandle<()>>,
    started: u64,
    start_failures: u64,
    panics: u64,
}

impl LockedState {
    /// Whether there is a thread that will still look at the queue (T1): one whose body has begun,
    /// or whose start is over.
    fn has_thread(&self) -> bool {
        self.bodies.len() > self.leaving || self.threads > self.starting.len()
    }

    /// Counts one thread less, because its start has failed (T1, T3).
    fn start_failed(&mut self) {
        self.threads -= 1;
        self.start_failures += 1;
    }
}

impl ThreadPool {
    /// Creates a pool without threads. They start when jobs come.
    ///
    /// # Errors
    /// [`PoolConfigError`] names the field and its invalid value.
    pub fn new(config: PoolConfig) -> Result<Self, PoolConfigError> {
        Self::with_starter(config, OsThreads)
    }

    /// Creates a pool as [`new`](Self::new) does, with another way to start a thread (for tests and
    /// simulators).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_starter(
        config: PoolConfig,
        starter: impl Start + 'static,
    ) -> Result<Self, PoolConfigError> {
        config.validate()?;
        Ok(Self {
            shared: Arc::new(PoolState {
                born: fork::watch(),
                config,
                starter: Box::new(starter),
                state: Mutex::new(LockedState::default()),
                changed: Condvar::new(),
            }),
        })
    }

    /// Runs `job` on an idle thread, on a new one, or, at the limit, on the next thread that
    /// becomes free.
    ///
    /// # Errors
    /// [`Refused`] gives the job back if
    /// - the pool is closed;
    /// - the pool has no thread, and none can be started;
    /// - this process was forked from the pool's;
    /// - a [`Start`] makes the call, the limit is reached, and all threads are still being started.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<Placed, Refused> {
        PoolState::place(&self.shared, Box::new(job), true)
    }

    /// Runs `job` at once, on an idle or a new thread. It never queues.
    ///
    /// # Errors
    /// [`Refused`] gives the job back if
    /// - the pool is closed;
    /// - every thread is busy, and the limit is reached;
    /// - no thread can be started;
    /// - this process was forked from the pool's.
    pub fn run_now(&self, job: impl FnOnce() + Send + 'static) -> Result<Placed, Refused> {
        PoolState::place(&self.shared, Box::new(job), false)
    }

    /// Closes the pool to new jobs. Queued jobs still run, and then the threads end. Does not wait.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Closes the pool, waits until every job has run and every thread has ended, and joins the
    /// threads. It waits for at most `timeout`.
    ///
    /// Called by the pool's own job or hook, it waits for all the other threads. Two such calls at
    /// the same time wait for each other until the time of one is up. A forked child has nothing to
    /// wait for.
    pub fn shutdown(&self, timeout: Duration) -> ShutdownResult {
        self.close();
        self.shared.wait_for_end(timeout)
    }

    /// Closes the pool, waits until at most `kept` threads are left, and joins those that have
    /// ended.
    ///
    /// This is for a caller that knows how many threads are inside a job that it does not want to
    /// wait for. `kept` is called again and again. A forked child has nothing to wait for.
    pub fn shutdown_idle(&self, kept: impl Fn() -> usize) {
        self.close();
        self.shared.wait_for_idle(kept);
    }

    /// Returns a snapshot of the counts. In a forked child all of them are zero.
    pub fn stats(&self) -> PoolStats {
        if self.shared.is_copy() {
            return PoolStats::default();
        }
        let state = self.shared.lock();
        PoolStats {
            threads: state.threads,
            idle: state.idle.len(),
            queued: state.queue.len(),
            started: state.started,
            start_failures: state.start_failures,
            panics: state.panics,
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.close();
    }
}

impl PoolState {
    /// Takes the lock. No code of a user runs under it, so the state is consistent even if the lock
    /// is poisoned.
    fn lock(&self) -> MutexGuard<'_, LockedState> {
        unpoisoned::lock(&self.state)
    }

    /// Whether this is a forked child's copy (T5).
    fn is_copy(&self) -> bool {
        fork::generation() != self.born
    }

    /// Passes `job` to an idle thread, starts a thread for it, or queues it if it may be queued.
    fn place(shared: &Arc<Self>, job: Job, may_queue: bool) -> Result<Placed, Refused> {
        if shared.is_copy() {
            return Err(Refused::new(job, RefusedReason::Forked));
        }
        let mut state = shared.lock();
        loop {
            if state.closed {
                return Err(Refused::new(job, RefusedReason::Closed));
            }
            if let Some(slot) = state.idle.pop() {
                slot.give(job); // under the lock: T2
                return Ok(Placed::Reused);
            }
            if state.threads < shared.config.threads_max {
                return Self::start(shared, state, job, may_queue);
            }
            if !may_queue {
                return Err(Refused::new(job, RefusedReason::Busy));
            }
            if state.has_thread() {
                state.queue.push_back(job); // T1
                return Ok(Placed::Queued { start_failed: None });
            }
            if state.starting.contains(&current().id()) {
                // This thread is the starter, and would wait for itself.
                return Err(Refused::new(job, RefusedReason::Busy));
            }
            state = shared.wait(state);
        }
    }

    /// Starts a thread for `job` (T1, T3). The lock is free meanwhile.
    fn start(
        shared: &Arc<Self>,
        mut state: MutexGuard<'_, LockedState>,
        job: Job,
        may_queue: bool,
    ) -> Result<Placed, Refused> {
        let number = state.next;
        state.next += 1;
        state.threads += 1;
        let me = current().id();
        state.starting.push(me);
        drop(state);
        let (slot, parker) = JobSlot::new(job);
        let body = Body::new(Arc::clone(shared), Arc::clone(&slot), parker, number);
        let start = || {
            let name = format!("{}-{number}", shared.config.name);
            let run = Box::new(move || body.run());
            shared.starter.start(name, shared.config.stack_size, run)
        };
        let outcome = catch_unwind(AssertUnwindSafe(start)).unwrap_or_else(|payload| {
            let panicked = format!("the starter panicked: {}", said(&*payload));
            discard(payload);
            Err(io::Error::other(panicked))
        });
        let mut state = shared.lock();
        if let Some(at) = state.starting.iter().position(|starter| *starter == me) {
            state.starting.swap_remove(at);
        }
        shared.changed.notify_all();
        let error = match (slot.start_is_over(outcome.is_ok()), outcome) {
            (Phase::Ready, Ok(handle)) | (Phase::Running, Ok(handle)) => {
                state.started += 1;
                state.handles.insert(number, handle);
                return Ok(Placed::Started);
            }
            (Phase::Ended, Ok(handle)) => {
                state.started += 1;
                let before = state.last_ended.replace(handle);
                drop(state);
                before.into_iter().for_each(join);
                return Ok(Placed::Started);
            }
            (Phase::Running | Phase::Ended, Err(_)) => {
                state.started += 1;
                return Ok(Placed::Started);
            }
            (Phase::Ready | Phase::Gone, Err(error)) => error,
            (Phase::Gone, Ok(_)) => io::Error::other("the starter dropped what it was to run"),
        };
        state.start_failed();
        let Some(job) = slot.take() else {
            unreachable!("T3: the thread that would take it never was");
        };
        if let Some(slot) = state.idle.pop() {
            slot.give(job); // this thread has become idle meanwhile
            return Ok(Placed::Reused);
        }
        if may_queue && state.has_thread() {
            state.queue.push_back(job); // T1
            return Ok(Placed::Queued {
                start_failed: Some(error),
            });
        }
        Err(Refused::new(job, RefusedReason::NoThread(error)))
    }

    /// Waits for the next change.
    fn wait<'a>(&self, state: MutexGuard<'a, LockedState>) -> MutexGuard<'a, LockedState> {
        unpoisoned::wait(&self.changed, state)
    }

    fn close(&self) {
        if self.is_copy() {
            return;
        }
        let mut state = self.lock();
        state.closed = true;
        for slot in state.idle.drain(..) {
            slot.wake(); // without a job, so the thread ends (T2)
        }
        self.changed.notify_all();
    }

    fn wait_for_idle(&self, kept: impl Fn() -> usize) {
        if self.is_copy() {
            return;
        }
        let mut state = self.lock();
        while state.threads + state.leaving > kept() {
            state = unpoisoned::wait_timeout(&self.changed, state, LOOK_EVERY);
        }
        if thread::has_left(self) {
            return;
        }
        let ended = state.last_ended.take();
        drop(state);
        ended.into_iter().for_each(join);
    }

    fn wait_for_end(&self, timeout: Duration) -> ShutdownResult {
        if self.is_copy() {
            return ShutdownResult::Complete;
        }
        let deadline = Instant::now().checked_add(timeout);
        let me = current().id();
        let mut state = self.lock();
        let own = state
            .bodies
            .iter()
            .find_map(|(&number, &thread)| (thread == me).then_some(number));
        let own_thread = usize::from(own.is_some());
        while state.threads + state.leaving > own_thread {
            let remaining = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            state = match remaining {
                Some(remaining) if remaining.is_zero() => {
                    return ShutdownResult::TimedOut {
                        running: state.threads + state.leaving - own_thread,
                        queued: state.queue.len(),
                    };
                }
                Some(remaining) => unpoisoned::wait_timeout(&self.changed, state, remaining),
                None => self.wait(state),
            };
        }
        if thread::has_left(self) {
            return ShutdownResult::Complete;
        }
        let own_handle = own.and_then(|number| state.handles.remove_entry(&number));
        let mut ending: Vec<_> = state.last_ended.take().into_iter().collect();
        ending.extend(core::mem::take(&mut state.handles).into_values());
        state.handles.extend(own_handle);
        drop(state);
        ending.into_iter().for_each(join); // none of them is in a hook (T6)
        ShutdownResult::Complete
    }
}

/// Joins a thread that has nothing more to do. A panic of a job or a hook was counted, and is not a
/// panic of the thread.
fn join(handle: JoinHandle<()>) {
    if let Err(payload) = handle.join() {
        discard(payload);
    }
}

impl core::fmt::Debug for PoolState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let state = self.lock();
        f.debug_struct("PoolState")
            .field("name", &self.config.name)
            .field("threads", &state.threads)
            .field("idle", &state.idle.len())
            .field("queued", &state.queue.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}
