//! Calls that block, on threads of their own.
//!
//! A worker that blocks is a core that idles, so such calls run on `stealyard_park::ThreadPool`:
//! started on demand, bounded, ended when idle. The call is a task like any other: its handle gives
//! the value or the panic, and it is cancelled if the scheduler ends before its turn.
//!
//! # Invariants
//! - **B1** *A call is never lost because a thread can't be started.* It waits for a thread of the
//!   pool, and if there is none, a worker runs it, which is worse than a thread and better than
//!   nothing. Both are reported once each time they happen, as an event.
//! - **B2** *A worker that runs a call stays a worker, and the call is inside a task.* To block on
//!   the scheduler's own tasks there panics, because it could block the only thread that would run
//!   them, and an end does not wait for that worker.
//! - **B3** *After an end only those threads are left that are inside a call's closure.* The pool's
//!   `running` counts them, from before the closure begins until it has returned, and before a
//!   joiner learns of it. The end waits until the pool has no others, and joins them. So it waits
//!   for everything else of the user's that such a thread runs: the destructor of a call that is
//!   cancelled, of an output or a payload without a handle, a joiner's waker, a hook. If one of
//!   these is what ends the scheduler, the end waits for all threads but its own
//!   (`is_beside_call`).

use stealyard_park::pool::{Placed, RefusedReason};
use stealyard_sync::Arc;
use stealyard_sync::time::Instant;
use stealyard_task::running::{self, Duty};
use stealyard_task::{self as task, JoinHandle, Ran, Task};

use crate::machine::current::{self, Context, Role};
use crate::search::ready;
use crate::state::SchedulerState;
use crate::state::blocking_pool::InsideCall;
use crate::user_code::tell;

/// Queues `task` to run on a thread where it may block.
pub(crate) fn run(shared: &Arc<SchedulerState>, task: Task) {
    shared.blocking.call_begins();
    let call = BlockingCall {
        shared: Arc::clone(shared),
        task: Some(task),
    };
    match shared.blocking.run(move || call.run()) {
        Ok(Placed::Queued {
            start_failed: Some(error),
        }) => tell(|| {
            tracing::warn!(
                %error,
                "a thread for blocking calls could not be started: the call waits for one that exists"
            );
        }),
        Ok(_) => {}
        Err(refused) => match refused.into_parts() {
            (job, RefusedReason::NoThread(error)) => {
                tell(|| {
                    tracing::error!(
                        %error,
                        "no thread for blocking calls could be started: a worker runs the call"
                    );
                });
                ready::submit(shared, task::spawn_call_detached(shared, None, job));
            }
            // The scheduler is closed, or a forked child's copy: dropping the job cancels the task.
            (job, _) => drop(job),
        },
    }
}

/// A call on its way; dropping it cancels the task.
struct BlockingCall {
    shared: Arc<SchedulerState>,
    task: Option<Task>,
}

impl BlockingCall {
    fn run(mut self) {
        let Some(task) = self.task.take() else { return };
        let shared = &self.shared;
        let run = || {
            if shared.lifecycle.is_closed() {
                drop(task);
                return Ran::Done;
            }
            task.run()
        };
        let ran = if current::is_worker() {
            // B2.
            let _duty = running::enter_duty(Duty::CallOnWorker);
            run()
        } else {
            let context = Context::new(Arc::clone(shared), Role::Blocking);
            let _entered = current::enter(&context);
            run()
        };
        match ran {
            Ran::Done | Ran::Pending => {}
            Ran::Again(task) => ready::submit(&self.shared, task),
        }
    }
}

impl Drop for BlockingCall {
    fn drop(&mut self) {
        drop(self.task.take());
        self.shared.blocking.call_ends();
    }
}

/// Makes a task for a blocking call, and its handle.
pub(crate) fn task<T, F>(shared: &Arc<SchedulerState>, call: F) -> (Task, JoinHandle<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let own = Arc::clone(shared);
    task::spawn_call(shared, None, move || {
        // Gone before a joiner learns of the end.
        let _inside = (!current::is_worker()).then(|| InsideClosure::enter(&own));
        call()
    })
}

/// The thread is inside the closure of a call, and counted (B3).
struct InsideClosure<'a> {
    shared: &'a SchedulerState,
    _counted: InsideCall<'a>,
}

impl<'a> InsideClosure<'a> {
    fn enter(shared: &'a SchedulerState) -> Self {
        current::set_inside_call(shared, true);
        Self {
            shared,
            _counted: shared.blocking.enter_call(),
        }
    }
}

impl Drop for InsideClosure<'_> {
    fn drop(&mut self) {
        current::set_inside_call(self.shared, false);
    }
}

/// Waits until all threads have ended but those that are inside a call's closure, and the calling
/// one (B3).
/// Once `deadline` is past, waits no longer for those that have not got rid of their call.
pub(crate) fn wait_for_idle(shared: &SchedulerState, deadline: Option<Instant>) {
    // A thread that is inside a closure is among those that are counted.
    let own = usize::from(current::is_beside_call(shared));
    shared.blocking.wait_for_idle(own, deadline);
}
