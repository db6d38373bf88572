//! What a user may have called when something happens to a thread or a task.

use core::any::Any;
use core::fmt;

use stealyard_sync::Arc;

use crate::task::running::Code;

/// Called with a worker's number.
pub type WorkerHook = Arc<dyn Fn(usize) + Send + Sync>;
/// Called with what a task or its destructor panicked with, on the thread that caught it.
pub type PanicHook = Arc<dyn Fn(&(dyn Any + Send)) + Send + Sync>;

/// What is called when.
///
/// A hook may spawn, wake, abort, use [`join`](crate::join()) and [`scope`](crate::scope()), read metrics, and end the
/// scheduler, which does not wait for it. It must not block: [`JoinHandle::join`](crate::JoinHandle::join),
/// [`Handle::block_on`](crate::Handle::block_on) and, for another scheduler, [`Handle::install`](crate::Handle::install)
/// panic in it with a message that says so. A hook that panics is as if it had returned; the panic is counted in
/// [`Metrics::panics`](crate::Metrics::panics) and told to `on_panic`, unless it is that hook's own.
///
/// | in the hook                     | `on_start`, `on_park`, `on_unpark`        | `on_stop`            | `on_panic`           |
/// |---------------------------------|-------------------------------------------|----------------------|----------------------|
/// | `spawn`, `spawn_detached`       | the task runs next on this worker         | the task is cancelled | as where the panic was caught |
/// | `spawn_local`                   | the task runs on this worker              | panics: the worker has stopped | in a task: the task runs; elsewhere panics |
/// | `spawn_blocking`                | the call runs                             | the call is cancelled | as where the panic was caught |
/// | a wake                          | the task runs next on this worker         | the task is cancelled | as where the panic was caught |
/// | `JoinHandle::join`, `block_on`  | panics                                    | panics               | panics               |
/// | `install`                       | calls the closure here                    | panics               | in a task: calls the closure here; elsewhere panics |
/// | a panic                         | as if it had returned                     | the same             | the same             |
/// | `shutdown`, dropping the scheduler | it ends; does not wait                 | it is ending already | it ends; does not wait for this thread |
/// | `metrics`                       | counts so far                             | the same             | the same             |
///
/// After the scheduler was closed, what any hook makes is cancelled. To end *another* scheduler in a hook waits for that
/// one's workers, as in a task.
#[derive(Clone, Default)]
pub struct Hooks {
    /// On each worker thread before its first task. What it makes is run by this worker, first thing.
    pub on_start: Option<WorkerHook>,
    /// On each worker thread after its last task and the last destructor of a task that it drops, so that what
    /// `on_start` set up for the thread can be taken down: only destructors of thread-locals come later.
    pub on_stop: Option<WorkerHook>,
    /// On a worker thread that has found nothing to do, before it sleeps. If the hook makes work for it, it does not
    /// sleep; `on_unpark` is called all the same. A hook that always makes work keeps its worker awake for ever, and
    /// a `Drain` waiting.
    pub on_park: Option<WorkerHook>,
    /// On a worker thread after it slept, before it looks for work. Every call of `on_park` has one.
    pub on_unpark: Option<WorkerHook>,
    /// On whichever thread caught a panic: of a task, before its joiner learns of it, or of a destructor, a waker or
    /// another hook. A hook that spawns what panics again does so for ever.
    pub on_panic: Option<PanicHook>,
}

impl Hooks {
    /// The hook of a worker that is called there.
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
