//! Which task this thread is polling, so that a task that wakes itself only sets a flag.
//!
//! A future that yields wakes itself from inside its poll. Whoever polls looks at the flag right
//! after, on the same thread, so no atomic operation is needed: a comparison and a store.
//!
//! The word holds the address of the running task's header, with its lowest bit set once the task has
//! woken itself; zero while no task runs. Polls may nest (a task that runs others while it waits):
//! each keeps the word it found and puts it back. Half of a join that runs on another thread than the
//! one that joins is entered like a task, by its own address.

use core::cell::Cell;
use core::ptr::NonNull;

use stealyard_sync::const_thread_local;

use super::header::Header;

const AGAIN: usize = 1;

const_thread_local! {
    static RUNNING: Cell<usize> = Cell::new(0);
}

/// The poll before this one on this thread; give it back with [`leave`].
#[derive(Debug)]
#[must_use]
pub(super) struct Outer(usize);

/// This thread begins to poll the task.
#[inline(always)]
pub(super) fn enter(task: NonNull<Header>) -> Outer {
    RUNNING.with(|running| Outer(running.replace(task.as_ptr().addr())))
}

/// This thread has polled the task: whether it woke itself.
#[inline(always)]
pub(super) fn leave(outer: Outer) -> bool {
    RUNNING.with(|running| running.replace(outer.0) & AGAIN != 0)
}

/// If this thread is polling the task, notes that it woke itself.
#[inline(always)]
pub(super) fn wake_if_running(task: NonNull<Header>) -> bool {
    // A thread whose locals are gone polls nothing any more.
    RUNNING
        .try_with(|running| {
            let is_it = running.get() & !AGAIN == task.as_ptr().addr();
            if is_it {
                running.set(running.get() | AGAIN);
            }
            is_it
        })
        .unwrap_or(false)
}

/// Whether this thread is inside a task.
pub(super) fn is_any() -> bool {
    RUNNING
        .try_with(|running| running.get() != 0)
        .unwrap_or(false)
}
