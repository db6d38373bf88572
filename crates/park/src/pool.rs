//! OS threads kept for reuse: started on demand, bounded, retired when idle.
//!
//! For work that blocks (a system call, a file, a foreign library) and for the spare threads of a
//! scheduler. Such work is rare and long compared with a task, so the state is behind one lock; what
//! matters is that a job is never lost: not when a thread cannot be started, not when an idle thread
//! retires in the same moment, not when a job panics, not at shutdown.
//!
//! # Operations
//! | operation     | caller | progress | cost                                                       |
//! |---------------|--------|----------|------------------------------------------------------------|
//! | `run`         | anyone | blocking (a short lock) | a lock, and a wake or the start of a thread |
//! | `run_now`     | anyone | the same | the same; never queues                                      |
//! | `close`       | anyone | the same | a wake for each idle thread                                 |
//! | `shutdown`    | anyone | blocking, bounded | waits for the jobs                                 |
//! | `shutdown_idle` | anyone | blocking | waits for the threads without a job                         |
//!
//! # Invariants
//! - **T1** `threads` counts the threads that will still look at the queue, and those that are being started. A thread
//!   leaves it in the critical section in which it finds the queue empty and decides to end; a start that fails, in
//!   the one in which its job is taken back. So a job is queued only where a thread has begun and has not left, or more
//!   threads are counted than starts are under way: then there is one that will look at the queue.
//! - **T2** A seat in `idle` belongs to a thread that waits for a job in that seat. Whoever removes it
//!   from `idle` either gives it a job in the same critical section, or closes the pool, or is the
//!   thread itself, which then ends. So a thread never ends with a job in its seat.
//! - **T3** A job is put into the seat before the thread is started. Whether the start has failed is told by the seat and
//!   not by the starter: a body that has begun is a thread, which has taken the job or will; one that has not, when
//!   the starter returns an error or has dropped it, never will, and the job is taken back. Both look under the lock.
//! - **T4** Idle threads are reused in the reverse order of their falling idle, so that under a light
//!   load the others grow old and retire.
//! - **T5** In a forked child, which has a copy of the pool and none of its threads, nothing takes the lock: a thread of
//!   the parent may have held it in that moment. Jobs are refused, and nothing is waited for.
//! - **T6** `leaving` counts the threads that have left `threads` and may still be in a hook. A shutdown waits for both
//!   counts, and then joins threads that have nothing more to do; so it ends in its time, whatever a hook does. A thread
//!   that leaves `leaving` puts its handle into `last_ended` in the same critical section, takes the one that was there,
//!   and joins it as the last thing it does: joining `last_ended` joins all that left before. A thread that has left may
//!   call from the destructor of a thread-local; it joins none, since others may wait for it.
//!
//! # Foreign code
//! None of it runs under the lock, so all of it may use the pool.
//!
//! | what runs               | where                          | if it panics                                       |
//! |-------------------------|--------------------------------|----------------------------------------------------|
//! | `Start::start`          | in `run` and `run_now`         | a start that failed: the job goes on as after an error |
//! | jobs, and destructors of what they hold | on a pool thread | counted in `panics`; the thread goes on              |
//! | hooks                   | on a pool thread               | the same                                           |
//! | destructors of payloads | after a panic, where it was caught | the second payload is forgotten                 |
//! | destructors of jobs that were refused | at the caller    | the caller's                                       |
//!
//! While a thread is being started `threads` counts it, and nothing relies on it: a job that could only wait for
//! threads that are being started waits in `run` until it is known whether there will be one. The thread that starts
//! it would wait for itself, so there `run` refuses the job as busy.
//!
//! A pool that is forgotten is never closed: its jobs run, and its threads end when they have been idle for
//! `keep_alive`.
//!
//! # Why not …
//! A condition variable for the idle threads: it wakes the oldest, against T4. Starting a
//! thread under the lock: a starter that uses the pool waits for itself, and every user of it waits for the system to
//! start a thread, some 13 µs.
//!
//! # References
//! The blocking pool of tokio; `startm` and `stopm` in Go's `runtime/proc.go`.

mod config;
mod outcome;
mod thread;

use core::panic::{RefUnwindSafe, UnwindSafe};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use stealyard_sync::thread::{JoinHandle, ThreadId, current};
use stealyard_sync::time::{Duration, Instant};
use stealyard_sync::{Arc, Condvar, Mutex, MutexGuard, fork};

use crate::panics::{discard, said};
pub use config::{OsThreads, PoolConfig, PoolConfigError, Start, ThreadHook};
pub use outcome::{Placed, PoolStats, Refused, RefusedReason, ShutdownResult};
use thread::{Body, Phase, Seat};

/// How often a wait looks at what nobody notifies it of.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// What a pool thread runs.
pub type Job = Box<dyn FnOnce() + Send + 'static>;

/// A pool of OS threads; see [`PoolConfig`] for its bounds and `README.md` for an example.
///
/// Dropping it closes it and does not wait: queued jobs still run. [`shutdown`](Self::shutdown) waits.
#[derive(Debug)]
pub struct ThreadPool {
    shared: Arc<Shared>,
}

struct Shared {
    /// The generation of the process in which its threads are (T5).
    born: u32,
    config: PoolConfig,
    starter: Box<dyn Start>,
    state: Mutex<State>,
    /// Notified whenever `threads` or `leaving` falls, a start is over, or the pool is closed.
    changed: Condvar,
}

// A panic of a user's code leaves nothing half done.
impl UnwindSafe for Shared {}
impl RefUnwindSafe for Shared {}

#[derive(Default)]
struct State {
    closed: bool,
    queue: VecDeque<Job>,
    /// Last fallen idle is last (T4).
    idle: Vec<Arc<Seat>>,
    /// T1.
    threads: usize,
    /// T6.
    leaving: usize,
    /// The threads that are starting another one now; `threads` counts those others.
    starting: Vec<ThreadId>,
    /// The threads whose bodies run, by their numbers.
    bodies: BTreeMap<usize, ThreadId>,
    /// The number of the next thread.
    next: usize,
    handles: BTreeMap<usize, JoinHandle<()>>,
    /// Of the thread that ended last; the next one to end joins it, so that at most one is unjoined (T6).
    last_ended: Option<JoinHandle<()>>,
    started: u64,
    start_failures: u64,
    panics: u64,
}

impl State {
    /// Whether there is a thread that will still look at the queue (T1): one whose body has begun, or whose start is
    /// over.
    fn has_thread(&self) -> bool {
        self.bodies.len() > self.leaving || self.threads > self.starting.len()
    }

    /// A thread that was counted is none (T1, T3).
    fn start_failed(&mut self) {
        self.threads -= 1;
        self.start_failures += 1;
    }
}

impl ThreadPool {
    /// A pool without threads; they start when jobs come.
    ///
    /// # Errors
    /// [`PoolConfigError`] names the field and the value that make no sense.
    pub fn new(config: PoolConfig) -> Result<Self, PoolConfigError> {
        Self::with_starter(config, OsThreads)
    }

    /// As [`new`](Self::new), with another way to start a thread (for tests and simulators).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_starter(
        config: PoolConfig,
        starter: impl Start + 'static,
    ) -> Result<Self, PoolConfigError> {
        config.validate()?;
        Ok(Self {
            shared: Arc::new(Shared {
                born: fork::watch(),
                config,
                starter: Box::new(starter),
                state: Mutex::new(State::default()),
                changed: Condvar::new(),
            }),
        })
    }

    /// Has `job` run on an idle thread, a new one, or, at the limit, the next that becomes free.
    ///
    /// # Errors
    /// [`Refused`] gives the job back: the pool is closed, or it has no thread at all and none can be
    /// started, or this process was forked from the pool's. Called by a [`Start`], also if there may be no
    /// more threads and there is none but those being started.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<Placed, Refused> {
        Shared::place(&self.shared, Box::new(job), true)
    }

    /// Has `job` run at once, on an idle or a new thread; never queues.
    ///
    /// # Errors
    /// [`Refused`] gives the job back: the pool is closed, every thread is busy and there may be no
    /// more, or none can be started, or this process was forked from the pool's.
    pub fn run_now(&self, job: impl FnOnce() + Send + 'static) -> Result<Placed, Refused> {
        Shared::place(&self.shared, Box::new(job), false)
    }

    /// No more jobs; those queued still run, then the threads end. Does not wait.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Closes the pool, waits until every job has run and every thread has ended, and joins them; for
    /// `timeout` at the most. Called by a pool's own job or hook, it waits for all the other threads; two that do so
    /// at once wait for each other until the time of one is up. A forked child has nothing to wait for.
    pub fn shutdown(&self, timeout: Duration) -> ShutdownResult {
        self.close();
        self.shared.wait_for_end(timeout)
    }

    /// Closes the pool, waits until no more threads are left than `kept` says, and joins those that have ended. For a
    /// caller that knows how many threads are inside a job that it does not want to wait for; the number is asked for
    /// again and again. A forked child has nothing to wait for.
    pub fn shutdown_idle(&self, kept: impl Fn() -> usize) {
        self.close();
        self.shared.wait_for_idle(kept);
    }

    /// A snapshot of the counts; nothing but zeroes in a forked child.
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

impl Shared {
    /// No code of a user runs under the lock, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether this is a forked child's copy (T5).
    fn is_copy(&self) -> bool {
        fork::generation() != self.born
    }

    fn place(shared: &Arc<Self>, job: Job, may_queue: bool) -> Result<Placed, Refused> {
        if shared.is_copy() {
            return Err(Refused::new(job, RefusedReason::Forked));
        }
        let mut state = shared.lock();
        loop {
            if state.closed {
                return Err(Refused::new(job, RefusedReason::Closed));
            }
            if let Some(seat) = state.idle.pop() {
                seat.give(job); // under the lock: T2
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
                // We are the starter, and would wait for ourselves.
                return Err(Refused::new(job, RefusedReason::Busy));
            }
            state = shared.wait(state);
        }
    }

    /// Starts a thread for `job` (T1, T3); the lock is free meanwhile.
    fn start(
        shared: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        job: Job,
        may_queue: bool,
    ) -> Result<Placed, Refused> {
        let number = state.next;
        state.next += 1;
        state.threads += 1;
        let me = current().id();
        state.starting.push(me);
        drop(state);
        let (seat, parker) = Seat::new(job);
        let body = Body::new(Arc::clone(shared), Arc::clone(&seat), parker, number);
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
        let error = match (seat.start_is_over(outcome.is_ok()), outcome) {
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
        let Some(job) = seat.take() else {
            unreachable!("T3: the thread that would take it never was");
        };
        if let Some(seat) = state.idle.pop() {
            seat.give(job); // it has become idle meanwhile
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
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn close(&self) {
        if self.is_copy() {
            return;
        }
        let mut state = self.lock();
        state.closed = true;
        for seat in state.idle.drain(..) {
            seat.wake(); // without a job: it ends (T2)
        }
        self.changed.notify_all();
    }

    fn wait_for_idle(&self, kept: impl Fn() -> usize) {
        if self.is_copy() {
            return;
        }
        let mut state = self.lock();
        while state.threads + state.leaving > kept() {
            state = match self.changed.wait_timeout(state, LOOK_EVERY) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
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
        let rest = usize::from(own.is_some());
        while state.threads + state.leaving > rest {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => {
                    return ShutdownResult::TimedOut {
                        running: state.threads + state.leaving - rest,
                        queued: state.queue.len(),
                    };
                }
                Some(left) => match self.changed.wait_timeout(state, left) {
                    Ok((state, _)) => state,
                    Err(poisoned) => poisoned.into_inner().0,
                },
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

/// Waits for a thread that has nothing more to do. A panic of a job or a hook was counted, and is no panic of
/// the thread.
fn join(handle: JoinHandle<()>) {
    if let Err(payload) = handle.join() {
        discard(payload);
    }
}

impl core::fmt::Debug for Shared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let state = self.lock();
        f.debug_struct("Shared")
            .field("name", &self.config.name)
            .field("threads", &state.threads)
            .field("idle", &state.idle.len())
            .field("queued", &state.queue.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}
