//! The scheduler's handles: building it, spawning, waiting, ending it.

#[cfg(any(feature = "futures", feature = "hyper"))]
mod adapters;
pub(crate) mod block_on;
pub(crate) mod builder;
pub mod coop;
mod install;
pub(crate) mod place;

use core::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use stealyard_park::Idle;
use stealyard_sync::Arc;
use stealyard_sync::thread::JoinHandle as ThreadHandle;

use crate::config::Config;
use crate::config::error::{BuildError, NoScheduler};
use crate::handle::place::{NoSuchPlace, Place};
use crate::machine::current::{self, EnterGuard};
use crate::machine::local_tasks;
use crate::metrics::Metrics;
use crate::processor::Processor;
use crate::run::shutdown::{self, Shutdown, ShutdownReport};
use crate::run::{blocking, start};
use crate::search::ready;
use crate::state::SchedulerState;
use crate::task::{self, JoinHandle};
use crate::user_code::refuse;

/// A scheduler and its worker threads. Dropping it is [`Shutdown::Cancel`], which joins all its threads but those that
/// are inside a blocking call, and those of the calling task if it is dropped inside one of its own.
///
/// All that a [`Handle`] can do, it can do as well.
///
/// ```
/// let scheduler = stealyard::Scheduler::new()?;
/// let answer = scheduler.block_on(async { stealyard::spawn(async { 6 * 7 }).await });
/// assert_eq!(answer.unwrap(), 42);
/// # Ok::<(), stealyard::BuildError>(())
/// ```
pub struct Scheduler {
    handle: Handle,
    threads: Vec<ThreadHandle<()>>,
    /// It was shut down in some manner: dropping it has nothing left to do.
    ended: bool,
}

/// Reaches a scheduler from anywhere; cheap to clone. It does not keep the scheduler running: when that
/// has ended, what is spawned is cancelled at once.
///
/// Two handles are equal if they reach the same scheduler, also when it has ended. They can be hashed.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<SchedulerState>,
}

impl Scheduler {
    /// A scheduler with all defaults: as many workers as this process may use CPUs.
    ///
    /// # Errors
    /// As [`Builder::build`](crate::Builder::build).
    pub fn new() -> Result<Self, BuildError> {
        Self::from_config(Config::default())
    }

    pub(crate) fn from_config(config: Config) -> Result<Self, BuildError> {
        let start::Assembled { shared, threads } = start::assemble(config)?;
        Ok(Self {
            handle: Handle { shared },
            threads,
            ended: false,
        })
    }

    /// A handle that can be cloned and sent.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends the scheduler in the given manner, and says what was left. [`Shutdown`] says which threads may be left.
    ///
    /// Called inside one of its own tasks it does not wait, because that task would wait for itself: the
    /// rest happens when the task returns, and a `Drain` is carried on by a thread of its own. So is a `Drain`
    /// inside one of its own blocking calls, which it would have to wait for; a `Cancel` there waits for the
    /// workers and for the threads that are idle, as anywhere, and leaves its own thread. A `Drain` that is carried on
    /// reports nothing. After an end from inside a task, all threads end by themselves: the calling one when its task
    /// has returned, the one that carries on when all others have ended.
    pub fn shutdown(mut self, how: Shutdown) -> ShutdownReport {
        self.end(how)
    }

    fn end(&mut self, how: Shutdown) -> ShutdownReport {
        self.ended = true;
        let threads = core::mem::take(&mut self.threads);
        shutdown::end(Arc::clone(&self.handle.shared), threads, how)
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if !self.ended {
            let _report = self.end(Shutdown::Cancel);
        }
    }
}

impl core::ops::Deref for Scheduler {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Handle {
    /// The scheduler that this thread works for: that of the innermost guard of [`enter`](Self::enter), task, blocking
    /// call, `block_on` or `install`.
    ///
    /// # Errors
    /// [`NoScheduler`] on any other thread.
    pub fn current() -> Result<Self, NoScheduler> {
        match current::shared() {
            Some(shared) => Ok(Self { shared }),
            None => Err(NoScheduler),
        }
    }

    /// The scheduler that this thread works for, as [`current`](Self::current), or `None`.
    pub fn try_current() -> Option<Self> {
        Self::current().ok()
    }

    /// Makes this the current scheduler of the calling thread until the guard is dropped: [`spawn`](crate::spawn),
    /// [`spawn_detached`](crate::spawn_detached), [`spawn_blocking`](crate::spawn_blocking) and [`Handle::current`] then
    /// mean this one. Guards nest, also those of different schedulers, and a guard within a task, `block_on` or blocking
    /// call comes before that one's scheduler.
    ///
    /// It changes nothing else: the thread may block, or not, as before; [`join`](crate::join), [`scope`](fn@crate::scope)
    /// and [`spawn_local`](crate::spawn_local) are about the worker that runs them, if one does. A thread with a guard
    /// counts as outside when the scheduler is drained, and the guard does not keep the scheduler running.
    ///
    /// Do not hold a guard across an `.await`: other tasks of the thread would spawn onto its scheduler meanwhile. The
    /// guard is not `Send`, so that a future that does cannot be spawned, except by `spawn_local`.
    ///
    /// An allocation, and no lock.
    ///
    /// # Examples
    /// ```
    /// let scheduler = stealyard::Builder::new().parallelism(1).build()?;
    /// let guard = scheduler.enter();
    /// // Code that knows no handle:
    /// let task = stealyard::spawn(async { 6 * 7 });
    /// drop(guard);
    /// assert_eq!(task.join().unwrap(), 42);
    /// assert!(stealyard::Handle::try_current().is_none());
    /// # Ok::<(), stealyard::BuildError>(())
    /// ```
    pub fn enter(&self) -> EnterGuard {
        EnterGuard::new(Arc::clone(&self.shared))
    }

    /// Has the workers run `future`. It begins when its turn comes, whether the handle is awaited or not.
    ///
    /// If the scheduler has ended, or is being drained and the caller is outside, or is the copy in a forked
    /// child, the task is cancelled at once: its handle gives [`JoinError::Cancelled`](crate::JoinError::Cancelled).
    /// Deep inside the destructors of tasks that are cancelled in this manner, "at once" is when the innermost has
    /// returned, or when this thread waits for the handle.
    #[inline]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        spawn_here(&self.shared, future)
    }

    /// As [`spawn`](Self::spawn), near `place`: on one worker, or on the workers of a NUMA node. A hint: another
    /// worker takes the task if it would sleep otherwise.
    ///
    /// # Errors
    /// [`NoSuchPlace`] if the scheduler has no such worker or node; the future is dropped, and a panic of its destructor
    /// caught as that of a task's.
    pub fn spawn_on<F>(&self, place: Place, future: F) -> Result<JoinHandle<F::Output>, NoSuchPlace>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let shared = &self.shared;
        if let Err(error) = place::check(shared, place) {
            shared.drop_unwanted(future);
            return Err(error);
        }
        let (task, handle) = task::spawn(shared, None, future);
        if self.takes_new() {
            place::submit(shared, place, task);
        } else {
            shared.refuse(task, true);
        }
        Ok(handle)
    }

    /// As [`spawn`](Self::spawn), for a future that nobody will wait for: cheaper by the handle. A panic in
    /// it reaches the panic hook and no one else. If the task is cancelled at once, [`Metrics::refused`] counts it, and in
    /// a forked child an event says so.
    #[inline]
    pub fn spawn_detached<F>(&self, future: F)
    where
        F: Future + Send + 'static,
    {
        let shared = &self.shared;
        current::with_processor(shared, |processor| match processor {
            Some(processor) => {
                let task = task::spawn_detached(shared, Some(&processor.memory), future);
                processor.counters().spawned.add(1);
                ready::push_next(shared, processor, task);
            }
            None => submit_new(shared, task::spawn_detached(shared, None, future), false),
        });
    }

    /// Runs `call` on a thread where it may block: a system call, a file, a foreign library. Threads are
    /// started on demand, up to `Config::blocking_threads_max`; more calls than that wait.
    ///
    /// If no thread can be started and there is none, a worker runs the call, as a task: there, to wait for
    /// other tasks of the scheduler panics. If the scheduler ends first, the call is cancelled.
    pub fn spawn_blocking<T, F>(&self, call: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let shared = &self.shared;
        let (task, handle) = blocking::task(shared, call);
        if self.takes_new() {
            blocking::run(shared, task);
        } else {
            shared.refuse(task, true);
        }
        handle
    }

    /// Whether a new task from this thread is taken: while draining, only those from inside.
    pub(crate) fn takes_new(&self) -> bool {
        takes_new(&self.shared)
    }

    /// Drops what a caller passed in vain.
    #[cfg(feature = "futures")]
    pub(crate) fn drop_unwanted<T>(&self, value: T) {
        self.shared.drop_unwanted(value);
    }

    /// Runs `future` on the calling thread until it is ready, and gives its output. What it spawns with
    /// [`spawn`](crate::spawn) goes to this scheduler. The future need not be `Send`.
    ///
    /// # Panics
    /// Where it would stop a worker: inside a task, also in a blocking call that a worker runs because no
    /// thread could be started, in a destructor that a worker runs, in a hook. And if the future panics.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        block_on::block_on(&self.shared, future)
    }

    /// Runs `call` on a worker and waits for it, so that [`join`](crate::join) and [`scope`](crate::scope)
    /// in it use this scheduler's workers. On a worker of this scheduler it calls it directly.
    ///
    /// # Panics
    /// If `call` panics, with its payload; if the scheduler has ended; where it would stop a worker: inside a task of
    /// another scheduler, in a destructor that a worker runs at the end, in a hook of another scheduler; in a forked
    /// child, which has no workers.
    #[track_caller]
    pub fn install<R, F>(&self, call: F) -> R
    where
        F: FnOnce() -> R + Send,
        R: Send,
    {
        install::install(&self.shared, call)
    }

    /// How many workers it has: `Config::parallelism`, even if some of their threads could not be started.
    pub fn parallelism(&self) -> usize {
        self.shared.remotes.len()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.config.name
    }

    /// What it was built with; what was left to the environment or the machine is filled in.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// A picture of what it did and does, taken without stopping anyone.
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics()
    }

    #[doc(hidden)]
    pub fn idle(&self) -> &Idle {
        &self.shared.idle
    }
}

/// Has the workers of the current scheduler run `future`; see [`Handle::spawn`].
///
/// # Panics
/// If the thread works for no scheduler: call it inside a task, `block_on` or `install`, or use
/// [`Handle::spawn`].
#[inline]
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    current::with(|context| {
        let Some(context) = context else {
            refuse(future, format!("spawn: {NoScheduler}"))
        };
        let shared = context.shared();
        match context.processor() {
            Some(processor) => spawn_on_processor(shared, processor, future),
            // A guard's context may go while the task is queued (CT2 of `current.rs`).
            None => spawn_from_outside(&Arc::clone(shared), future),
        }
    })
}

/// As [`spawn`], for a future that nobody will wait for; see [`Handle::spawn_detached`].
///
/// # Panics
/// As [`spawn`].
#[inline]
#[track_caller]
pub fn spawn_detached<F>(future: F)
where
    F: Future + Send + 'static,
{
    match Handle::current() {
        Ok(handle) => handle.spawn_detached(future),
        Err(error) => refuse(future, format!("spawn_detached: {error}")),
    }
}

/// Has this worker, and no other, run `future`, which need not be `Send`; it begins when its turn comes. Bound
/// tasks have their turn with the global queue, and whenever the worker has nothing else, so many of them
/// are as unfair to themselves as they are slow: what can be sent is better spawned.
///
/// When the scheduler ends, in whatever manner, the worker cancels what is bound to it and has not ended.
///
/// # Panics
/// If the thread is no worker's: call it inside a task, not in `block_on` or a blocking call. If the worker has stopped,
/// because the scheduler ends: in the destructor of a task that is cancelled, and in the hook `on_worker_stop`.
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    local_tasks::spawn_local(future)
}

/// Runs `call` on a thread of the current scheduler where it may block; see [`Handle::spawn_blocking`].
///
/// # Panics
/// As [`spawn`].
#[track_caller]
pub fn spawn_blocking<T, F>(call: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match Handle::current() {
        Ok(handle) => handle.spawn_blocking(call),
        Err(error) => refuse(call, format!("spawn_blocking: {error}")),
    }
}

#[inline(always)]
fn spawn_here<F>(shared: &Arc<SchedulerState>, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    current::with_processor(shared, |processor| match processor {
        Some(processor) => spawn_on_processor(shared, processor, future),
        None => spawn_from_outside(shared, future),
    })
}

#[inline(always)]
fn spawn_on_processor<F>(
    shared: &Arc<SchedulerState>,
    processor: &Processor,
    future: F,
) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let (task, handle) = task::spawn(shared, Some(&processor.memory), future);
    processor.counters().spawned.add(1);
    ready::push_next(shared, processor, task);
    handle
}

#[inline]
fn spawn_from_outside<F>(shared: &Arc<SchedulerState>, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let (task, handle) = task::spawn(shared, None, future);
    submit_new(shared, task, true);
    handle
}

fn submit_new(shared: &Arc<SchedulerState>, task: task::Task, has_handle: bool) {
    if takes_new(shared) {
        ready::submit(shared, task);
    } else {
        shared.refuse(task, has_handle);
    }
}

/// Whether a new task from this thread is taken: while draining, only those from inside, however far in this thread is
/// inside of another scheduler as well.
fn takes_new(shared: &Arc<SchedulerState>) -> bool {
    shared.lifecycle.is_open() || (!shared.lifecycle.is_copy() && current::works_for(shared))
}

// A panic of the user's code is caught before it comes to what a handle reaches, or leaves that whole.
impl UnwindSafe for Handle {}
impl RefUnwindSafe for Handle {}
impl UnwindSafe for Scheduler {}
impl RefUnwindSafe for Scheduler {}

impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for Handle {}

impl core::hash::Hash for Handle {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        // Each of them keeps the place, so no other scheduler gets it.
        Arc::as_ptr(&self.shared).hash(state);
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("shared", &self.handle.shared)
            .field("threads", &self.threads.len())
            .finish()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.shared).finish()
    }
}
