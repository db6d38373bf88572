//! Spawning: onto the scheduler that the calling thread works for, and how a new task gets to it.

use stealyard_sync::Arc;
use stealyard_task::{self as task, JoinHandle, Task};

use crate::handle::{Handle, NoScheduler};
use crate::machine::{current, local_tasks};
use crate::processor::Processor;
use crate::search::ready;
use crate::state::SchedulerState;
use crate::user_code::refuse;

/// Spawns `future` onto the current scheduler; see [`Handle::spawn`].
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
            // A guard's context may go while the task is queued (`machine/current.rs`, CT2).
            None => spawn_from_outside(&Arc::clone(shared), future),
        }
    })
}

/// Spawns as [`spawn`] does, for a future that will not be waited for; see
/// [`Handle::spawn_detached`].
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

/// Spawns `future`, which need not be `Send`, onto this worker; no other runs it. It begins when
/// its turn comes.
///
/// A worker runs one local task each time the global queue has its turn (every 61 tasks by
/// default), and more when it is idle. With many local tasks each progresses slowly: use [`spawn`]
/// for any future that is `Send`.
///
/// When the scheduler ends, in whatever manner, the worker cancels its local tasks that have not
/// ended.
///
/// # Panics
/// - If the thread is no worker's: call it inside a task, not in `block_on` or a blocking call.
/// - If the worker has stopped, because the scheduler ends: in the destructor of a task that is
///   cancelled, and in the hook `on_worker_stop`.
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    local_tasks::spawn(future)
}

/// Runs `call` on a thread of the current scheduler where it may block; see
/// [`Handle::spawn_blocking`].
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

/// Spawns `future` onto `shared`, from whatever thread.
#[inline(always)]
pub(super) fn spawn_here<F>(shared: &Arc<SchedulerState>, future: F) -> JoinHandle<F::Output>
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

/// Spawns `future`, which will not be waited for, onto `shared`, from whatever thread.
#[inline(always)]
pub(super) fn spawn_detached_here<F>(shared: &Arc<SchedulerState>, future: F)
where
    F: Future + Send + 'static,
{
    current::with_processor(shared, |processor| match processor {
        Some(processor) => {
            let task = task::spawn_detached(shared, Some(&processor.memory), future);
            processor.counters().spawned.add(1);
            ready::push_next(shared, processor, task);
        }
        None => submit_new(shared, task::spawn_detached(shared, None, future), false),
    });
}

fn submit_new(shared: &Arc<SchedulerState>, task: Task, has_handle: bool) {
    if takes_new(shared) {
        ready::submit(shared, task);
    } else {
        shared.refuse(task, has_handle);
    }
}

/// Whether a new task from this thread is taken. While draining only those from inside are, however
/// far in this thread is inside of another scheduler as well.
pub(super) fn takes_new(shared: &SchedulerState) -> bool {
    shared.lifecycle.is_open() || (!shared.lifecycle.is_copy() && current::works_for(shared))
}
