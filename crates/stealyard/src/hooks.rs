//! What a user may have called when something happens to a thread or a task.

use core::any::Any;
use core::fmt;

use stealyard_sync::Arc;

/// Called with a worker's number.
pub type WorkerHook = Arc<dyn Fn(usize) + Send + Sync>;
/// Called with what a task panicked with, on the thread that caught it.
pub type PanicHook = Arc<dyn Fn(&(dyn Any + Send)) + Send + Sync>;

/// What is called when. A hook must not block; a hook that panics is as if it had returned.
#[derive(Clone, Default)]
pub struct Hooks {
    /// On each worker thread before its first task.
    pub on_start: Option<WorkerHook>,
    /// On each worker thread after its last task.
    pub on_stop: Option<WorkerHook>,
    /// On a worker thread before it sleeps.
    pub on_park: Option<WorkerHook>,
    /// On a worker thread after it slept.
    pub on_unpark: Option<WorkerHook>,
    /// On whichever thread ran the task, before its joiner learns of it.
    pub on_panic: Option<PanicHook>,
}

impl Hooks {
    pub(crate) fn call(hook: Option<&WorkerHook>, worker: usize) {
        if let Some(hook) = hook {
            // A hook is foreign code on a thread that carries others' tasks.
            let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hook(worker)));
            drop(called);
        }
    }

    pub(crate) fn panicked(&self, payload: &(dyn Any + Send)) {
        if let Some(hook) = &self.on_panic {
            let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hook(payload)));
            drop(called);
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
