//! Handles: what users call. Building a scheduler, spawning, waiting, ending it.

#[cfg(any(feature = "futures", feature = "hyper"))]
mod adapters;
mod block_on;
pub(crate) mod builder;
pub mod coop;
mod install;
pub(crate) mod place;
pub(crate) mod scheduler;
pub(crate) mod spawn;

use core::fmt;
use core::hash::{Hash, Hasher};
use std::panic::{RefUnwindSafe, UnwindSafe};

use stealyard_park::Idle;
use stealyard_sync::Arc;
use stealyard_task::{self as task, JoinHandle};

use crate::config::Config;
use crate::machine::current::{self, EnterGuard};
use crate::metrics::Metrics;
use crate::run::blocking;
use crate::state::SchedulerState;
use place::{NoSuchPlace, Place};
use spawn::{spawn_detached_here, spawn_here, takes_new};

/// There is no scheduler here: the thread is no worker's and no blocking one, and is inside neither
/// a `block_on` nor a guard of [`Handle::enter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoScheduler;

impl fmt::Display for NoScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this thread runs no task of a scheduler: call it from inside a task, `block_on` or `install`, or use \
             the scheduler's own method or a `Handle`",
        )
    }
}

impl core::error::Error for NoScheduler {}

/// Reaches a scheduler from anywhere; cheap to clone.
///
/// It does not keep the scheduler running: when that has ended, a task is cancelled as soon as it
/// is spawned.
///
/// Two handles are equal if they reach the same scheduler, also when it has ended. They can be
/// hashed.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<SchedulerState>,
}

impl Handle {
    fn new(shared: Arc<SchedulerState>) -> Self {
        Self { shared }
    }

    /// Returns the scheduler that this thread works for: that of the innermost guard of
    /// [`enter`](Self::enter), task, blocking call, `block_on` or `install`.
    ///
    /// # Errors
    /// [`NoScheduler`] on any other thread.
    pub fn current() -> Result<Self, NoScheduler> {
        match current::shared() {
            Some(shared) => Ok(Self::new(shared)),
            None => Err(NoScheduler),
        }
    }

    /// Returns the scheduler that this thread works for, as [`current`](Self::current), or `None`.
    pub fn try_current() -> Option<Self> {
        Self::current().ok()
    }

    /// Makes this the current scheduler of the calling thread until the guard is dropped:
    /// [`spawn`](crate::spawn), [`spawn_detached`](crate::spawn_detached),
    /// [`spawn_blocking`](crate::spawn_blocking) and [`Handle::current`] then mean this one. Guards
    /// nest, also those of different schedulers, and a guard within a task, `block_on` or blocking
    /// call comes before that one's scheduler.
    ///
    /// It changes nothing else. The thread may block, or not, as before; [`join`](crate::join),
    /// [`scope`](fn@crate::scope) and [`spawn_local`](crate::spawn_local) are about the worker that
    /// runs them, if one does. A thread with a guard counts as outside when the scheduler is
    /// drained, and the guard does not keep the scheduler running.
    ///
    /// Do not hold a guard across an `.await`: other tasks of the thread would spawn onto its
    /// scheduler meanwhile. The guard is not `Send`, so that a future that does cannot be spawned,
    /// except by `spawn_local`.
    ///
    /// Costs an allocation, and takes no lock.
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

    /// Spawns `future` onto the workers. It begins when its turn comes, whether the handle is
    /// awaited or not.
    ///
    /// The task is cancelled at once, and its handle gives
    /// [`JoinError::Cancelled`](crate::JoinError::Cancelled), if the scheduler
    /// - has ended,
    /// - or is being drained, and the caller is outside,
    /// - or is the copy in a forked child.
    ///
    /// Deep inside the destructors of tasks that are cancelled in this manner, "at once" is when
    /// the innermost has returned, or when this thread waits for the handle.
    #[inline]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        spawn_here(&self.shared, future)
    }

    /// Spawns as [`spawn`](Self::spawn) does, near `place`: on one worker, or on the workers of a
    /// NUMA node. A hint: another worker takes the task if it would sleep otherwise.
    ///
    /// # Errors
    /// [`NoSuchPlace`] if the scheduler has no such worker or node. The future is dropped, and a
    /// panic of its destructor caught as that of a task's.
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
        if takes_new(shared) {
            place::submit(shared, place, task);
        } else {
            shared.refuse(task, true);
        }
        Ok(handle)
    }

    /// Spawns as [`spawn`](Self::spawn) does, for a future that will not be waited for: cheaper by
    /// the handle. A panic in it reaches the panic hook only. If the task is cancelled at once,
    /// [`Metrics::refused`] counts it, and in a forked child an event says so.
    #[inline]
    pub fn spawn_detached<F>(&self, future: F)
    where
        F: Future + Send + 'static,
    {
        spawn_detached_here(&self.shared, future);
    }

    /// Runs `call` on a thread where it may block: a system call, a file, a foreign library.
    /// Threads are started on demand, up to `Config::blocking_threads_max`; more calls than that
    /// wait.
    ///
    /// If no thread can be started and there is none, a worker runs the call, as a task: there, to
    /// wait for other tasks of the scheduler panics. If the scheduler ends first, the call is
    /// cancelled.
    pub fn spawn_blocking<T, F>(&self, call: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let shared = &self.shared;
        let (task, handle) = blocking::task(shared, call);
        if takes_new(shared) {
            blocking::run(shared, task);
        } else {
            shared.refuse(task, true);
        }
        handle
    }

    /// Runs `future` on the calling thread until it is ready, and returns its output. Tasks that it
    /// spawns with [`spawn`](crate::spawn) go to this scheduler. The future need not be `Send`.
    ///
    /// # Panics
    /// - Where it would stop a worker: inside a task, also in a blocking call that a worker runs
    ///   because no thread could be started, in a destructor that a worker runs, in a hook.
    /// - If the future panics.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        block_on::block_on(&self.shared, future)
    }

    /// Runs `call` on a worker and waits for it, so that [`join`](crate::join) and
    /// [`scope`](crate::scope) in it use this scheduler's workers. On a worker of this scheduler it
    /// calls it directly.
    ///
    /// # Panics
    /// - If `call` panics, with its payload.
    /// - If the scheduler has ended.
    /// - Where it would stop a worker: inside a task of another scheduler, in a destructor that a
    ///   worker runs at the end, in a hook of another scheduler.
    /// - In a forked child, which has no workers.
    #[track_caller]
    pub fn install<R, F>(&self, call: F) -> R
    where
        F: FnOnce() -> R + Send,
        R: Send,
    {
        install::install(&self.shared, call)
    }

    /// Returns how many workers it has: `Config::parallelism`, even if some of their threads could
    /// not be started.
    pub fn parallelism(&self) -> usize {
        self.shared.remotes.len()
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.shared.config.name
    }

    /// Returns what it was built with. Fields that were left to the environment or the machine are
    /// filled in.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Returns a picture of what it did and does, taken without stopping any thread.
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics()
    }

    #[doc(hidden)]
    pub fn idle(&self) -> &Idle {
        &self.shared.idle
    }

    /// Whether a sleeping worker monitors: for tests that wait until none does.
    #[doc(hidden)]
    pub fn has_monitor(&self) -> bool {
        !self.shared.monitor.is_vacant()
    }
}

// A panic of the user's code is caught before it comes to what a handle reaches, or leaves that
// whole.
impl UnwindSafe for Handle {}
impl RefUnwindSafe for Handle {}

impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for Handle {}

impl Hash for Handle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Each handle keeps the address, so no other scheduler gets it.
        Arc::as_ptr(&self.shared).hash(state);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.shared).finish()
    }
}

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    use stealyard_park::SpinConfig;
    use stealyard_sync::time::Duration;

    use crate::Builder;

    #[test]
    fn joins_spin_as_configured() {
        let short = SpinConfig {
            max: Duration::from_micros(7),
            ..SpinConfig::default()
        };
        for spin in [SpinConfig::OFF, short] {
            let scheduler = Builder::new().parallelism(2).spin(spin).build().unwrap();
            let machines = &scheduler.shared.machines;
            assert!(machines.iter().all(|machine| machine.joins.spin() == spin));
        }
    }
}
