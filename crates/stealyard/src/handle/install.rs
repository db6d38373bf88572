//! Running a closure that borrows on a worker, while its caller waits.
//!
//! A caller that is a worker of another scheduler would stop that worker, and for ever if the
//! closure waits for that scheduler. So it panics, as `block_on` does. rayon lets such a caller run
//! its own pool's work while it waits, in the frame of a task that does not expect it
//! (`tests/risks.md`).

use stealyard_park::SpinConfig;
use stealyard_sync::Arc;
use stealyard_task::{self as task, JoinError, wait_for};

use crate::machine::current;
use crate::search::ready;
use crate::state::SchedulerState;
use crate::user_code::{NoBlocking, refuse};

/// Ends the process if it is dropped: the caller's frame is borrowed by a worker and must not be
/// left.
struct MustNotUnwind;

impl Drop for MustNotUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Runs `call` on a worker and waits for it; see `Handle::install`.
#[track_caller]
pub(crate) fn install<R, F>(shared: &Arc<SchedulerState>, call: F) -> R
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    let here = current::with_worker(|machine| {
        machine.is_some_and(|machine| {
            Arc::ptr_eq(machine.shared(), shared) && machine.processor().is_some()
        })
    });
    if here {
        return call();
    }
    if let Some(here) = NoBlocking::here() {
        shared.drop_unwanted(call);
        refuse(
            (),
            here.message("install", "`.await` a task of this scheduler"),
        );
    }
    if shared.lifecycle.is_copy() {
        shared.drop_unwanted(call);
        refuse(
            (),
            "install: this process was forked from the one with the scheduler's workers; build a scheduler after \
             the fork",
        );
    }
    // SAFETY: 1. the closure is `Send`; 2. so is its output; 3. what the closure borrows outlives
    // the task: this frame is not left before the handle says that the task has ended, when the
    // future is gone, and anything that would unwind through here first ends the process.
    let (task, handle) = unsafe { task::spawn_unchecked(shared, None, async move { call() }) };
    let guard = MustNotUnwind;
    ready::submit(shared, task);
    let result = wait_for(handle, shared.config.spin.unwrap_or(SpinConfig::OFF));
    core::mem::forget(guard);
    match result {
        Ok(output) => output,
        Err(JoinError::Cancelled) => {
            panic!(
                "install: the scheduler has ended, and the closure was dropped without being called"
            )
        }
        Err(error) => error.resume(),
    }
}
