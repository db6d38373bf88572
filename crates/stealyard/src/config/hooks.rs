//! Hooks: functions of the user's that are called when something happens to a thread or a task.

use core::any::Any;
use core::fmt;

use stealyard_sync::Arc;
use stealyard_task::running::Code;

/// Called with a worker's number.
pub type WorkerHook = Arc<dyn Fn(usize) + Send + Sync>;
/// Called with what a task or its destructor panicked with, on the thread that caught it.
pub type PanicHook = Arc<dyn Fn(&(dyn Any + Send)) + Send + Sync>;

/// Functions that are called when something happens to a thread or a task.
///
/// A hook may spawn, wake, abort, use [`join`](crate::join()) and [`scope`](crate::scope()), read
/// metrics, and end the scheduler, which does not wait for it. It must not block:
/// [`JoinHandle::join`](crate::JoinHandle::join), [`Handle::block_on`](crate::Handle::block_on)
/// and, for another scheduler, [`Handle::install`](crate::Handle::install) panic in it with a
/// message that says so. A hook that panics is as if it had returned; the panic is counted in
/// [`Metrics::panics`](crate::Metrics::panics) and told to `on_panic`, unless it is that hook's
/// own.
///
/// | in the hook                | `on_start`, `on_park`, `on_unpark` | `on_stop`          | `on_panic`    |
/// |----------------------------|------------------------------------|--------------------|---------------|
/// | `spawn`, `spawn_detached`  | the task runs next on this worker  | is cancelled       | (1)           |
/// | `spawn_local`              | the task runs on this worker       | panics (2)         | (3)           |
/// | `spawn_blocking`           | the call runs                      | is cancelled       | (1)           |
/// | a wake                     | the task runs next on this worker  | is cancelled       | (1)           |
/// | `JoinHandle::join`, `block_on` | panics                         | panics             | panics        |
/// | `install`                  | calls the closure here             | panics             | (4)           |
/// | a panic                    | as if it had returned              | the same           | the same      |
/// | an end (5)                 | ends; does not wait                | is ending already  | ends (6)      |
/// | `metrics`                  | counts so far                      | the same           | the same      |
///
/// 1. As where the panic was caught.
/// 2. The worker has stopped.
/// 3. In a task, the task runs; elsewhere it panics.
/// 4. In a task, calls the closure here; elsewhere it panics.
/// 5. `shutdown`, or dropping the scheduler.
/// 6. Does not wait for this thread.
///
/// After the scheduler was closed, tasks that any hook makes are cancelled. To end *another*
/// scheduler in a hook waits for that one's workers, as in a task.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Called on each worker thread before its first task. The worker runs first what the hook
    /// makes.
    pub on_start: Option<WorkerHook>,
    /// Called on each worker thread after its last task and the last destructor of a task that it
    /// drops. It can take down what `on_start` set up for the thread: only destructors of
    /// thread-locals come later.
    pub on_stop: Option<WorkerHook>,
    /// Called on a worker thread that has found nothing to do, before it sleeps. If the hook makes
    /// work for the worker, it does not sleep; `on_unpark` is called all the same. A hook that
    /// always makes work keeps its worker awake for ever, and a `Drain` waiting.
    pub on_park: Option<WorkerHook>,
    /// Called on a worker thread after it slept, before it looks for work: once for each call of
    /// `on_park`.
    pub on_unpark: Option<WorkerHook>,
    /// Called on the thread that caught a panic: of a task, before its joiner learns of it, or of a
    /// destructor, a waker or another hook. A hook that spawns a task which panics again does so
    /// for ever.
    pub on_panic: Option<PanicHook>,
}

impl Hooks {
    /// Returns the hook of a worker that is called there.
    pub(crate) fn of_worker(&self, code: Code) -> Option<&WorkerHook> {
        match code {
            Code::OnStart => self.on_start.as_ref(),
            Code::OnStop => self.on_stop.as_ref(),
            Code::OnPark => self.on_park.as_ref(),
            Code::OnUnpark => self.on_unpark.as_ref(),
            Code::OnPanic | Code::Destructor | Code::Policy | Code::Subscriber => None,
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("on_start", &self.on_start.is_some())
            .field("on_stop", &self.on_stop.is_some())
            .field("on_park", &self.on_park.is_some())
            .field("on_unpark", &self.on_unpark.is_some())
            .field("on_panic", &self.on_panic.is_some())
            .finish()
    }
}
