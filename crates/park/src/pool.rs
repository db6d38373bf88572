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
//!
//! # Invariants
//! - **T1** `threads` counts the threads that will still look at the queue. A thread joins it in the
//!   critical section in which it is started, and leaves it in the one in which it finds the queue
//!   empty and decides to end. So a job is queued only where `threads > 0`, and somebody takes it.
//! - **T2** A seat in `idle` belongs to a thread that waits for a job in that seat. Whoever removes it
//!   from `idle` either gives it a job in the same critical section, or closes the pool, or is the
//!   thread itself, which then ends. So a thread never ends with a job in its seat.
//! - **T3** A job is put into the seat before the thread is started, and taken back if the start fails.
//! - **T4** Idle threads are reused in the reverse order of their falling idle, so that under a light
//!   load the others grow old and retire.
//! - **T5** In a forked child, which has a copy of the pool and none of its threads, nothing takes the lock: a thread of
//!   the parent may have held it in that moment. Jobs are refused, and nothing is waited for.
//!
//! # Why not …
//! A condition variable for the idle threads: it wakes the oldest, against T4. Starting a
//! thread without the lock: a job queued in reliance on a start that then fails would have nobody to
//! run it. A start takes some 13 µs, and is rare.
//!
//! # References
//! The blocking pool of tokio; `startm` and `stopm` in Go's `runtime/proc.go`.

mod config;
mod outcome;
mod thread;

use std::collections::{BTreeMap, VecDeque};

use stealyard_sync::thread::JoinHandle;
use stealyard_sync::time::{Duration, Instant};
use stealyard_sync::{Arc, Condvar, Mutex, MutexGuard, fork};

pub use config::{OsThreads, PoolConfig, PoolConfigError, Start, ThreadHook};
pub use outcome::{Placed, PoolStats, Refused, RefusedReason, ShutdownResult};
use thread::Seat;

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
    /// Notified whenever `threads` falls.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    queue: VecDeque<Job>,
    /// Last fallen idle is last (T4).
    idle: Vec<Arc<Seat>>,
    threads: usize,
    /// The number of the next thread, which is also how many starts were tried.
    next: usize,
    handles: BTreeMap<usize, JoinHandle<()>>,
    /// Of the thread that ended last; the next one to end joins it, so that at most one is unjoined.
    last_ended: Option<JoinHandle<()>>,
    start_failures: u64,
    panics: u64,
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
                ended: Condvar::new(),
            }),
        })
    }

    /// Has `job` run on an idle thread, a new one, or, at the limit, the next that becomes free.
    ///
    /// # Errors
    /// [`Refused`] gives the job back: the pool is closed, or it has no thread at all and none can be
    /// started, or this process was forked from the pool's.
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
    /// `timeout` at the most. Called by a pool's own job, it waits for all the others. A forked child has nothing to
    /// wait for.
    pub fn shutdown(&self, timeout: Duration) -> ShutdownResult {
        self.close();
        self.shared.wait_for_end(timeout)
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
            started: state.next as u64 - state.start_failures,
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
        if may_queue {
            state.queue.push_back(job); // threads > 0, because threads_max is (T1)
            Ok(Placed::Queued { start_failed: None })
        } else {
            Err(Refused::new(job, RefusedReason::Busy))
        }
    }

    /// Starts a thread for `job`, with the lock held (T1).
    fn start(
        shared: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        job: Job,
        may_queue: bool,
    ) -> Result<Placed, Refused> {
        let number = state.next;
        state.next += 1;
        let (seat, parker) = Seat::new();
        seat.give(job); // T3
        let (pool, own) = (Arc::clone(shared), Arc::clone(&seat));
        let body = Box::new(move || thread::work(&pool, &own, &parker, number));
        let name = format!("{}-{number}", shared.config.name);
        let error = match shared.starter.start(name, shared.config.stack_size, body) {
            Ok(handle) => {
                state.threads += 1;
                state.handles.insert(number, handle);
                return Ok(Placed::Started);
            }
            Err(error) => error,
        };
        state.start_failures += 1;
        let job = seat
            .take()
            .expect("T3: the thread that would take it never was");
        if may_queue && state.threads > 0 {
            state.queue.push_back(job);
            return Ok(Placed::Queued {
                start_failed: Some(error),
            });
        }
        Err(Refused::new(job, RefusedReason::NoThread(error)))
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
    }

    fn wait_for_end(&self, timeout: Duration) -> ShutdownResult {
        if self.is_copy() {
            return ShutdownResult::Complete;
        }
        let deadline = Instant::now().checked_add(timeout);
        let me = stealyard_sync::thread::current().id();
        let mut state = self.lock();
        let own = state
            .handles
            .iter()
            .find_map(|(&number, handle)| (handle.thread().id() == me).then_some(number));
        let rest = usize::from(own.is_some());
        while state.threads > rest {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => {
                    return ShutdownResult::TimedOut {
                        running: state.threads - rest,
                        queued: state.queue.len(),
                    };
                }
                Some(left) => match self.ended.wait_timeout(state, left) {
                    Ok((state, _)) => state,
                    Err(poisoned) => poisoned.into_inner().0,
                },
                None => self
                    .ended
                    .wait(state)
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
            };
        }
        let own_handle = own.and_then(|number| state.handles.remove_entry(&number));
        let mut ending: Vec<_> = state.last_ended.take().into_iter().collect();
        ending.extend(core::mem::take(&mut state.handles).into_values());
        state.handles.extend(own_handle);
        drop(state);
        for handle in ending {
            let _a_panic_was_counted = handle.join();
        }
        ShutdownResult::Complete
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
