//! A handle that aborts a task and can do nothing else with it.

use core::fmt;
use core::ptr::NonNull;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::header::Header;
use super::id::TaskId;
use super::state::{State, Wake};
use super::{Why, waker};

/// Asks that the task be dropped; see [`JoinHandle::abort`](crate::JoinHandle::abort).
///
/// # Safety
/// 1. The caller has a reference to the task.
pub(super) unsafe fn abort(task: NonNull<Header>) {
    // SAFETY: 1. the caller's reference keeps the task (1).
    let state = unsafe { Header::state(task) };
    if state.abort() == Wake::Schedule {
        // SAFETY: 1. as above.
        let vtable = unsafe { Header::vtable(task) };
        // SAFETY: 1. we made it active (`state.rs`, S1).
        unsafe { (vtable.schedule)(task, Why::Aborted) };
    }
}

/// A counted reference to a task, as a waker is.
#[derive(Debug)]
pub(super) struct Reference(NonNull<Header>);

// SAFETY: 1. it reaches the state, which is atomic, and the functions that any holder of a
// reference may call.
unsafe impl Send for Reference {}
// SAFETY: 1. as above.
unsafe impl Sync for Reference {}

impl Reference {
    /// Takes one more reference.
    ///
    /// # Safety
    /// 1. The caller has a reference to the task.
    pub(super) unsafe fn to(task: NonNull<Header>) -> Self {
        // SAFETY: 1. the caller's reference keeps the task (1).
        unsafe { Header::state(task) }.retain();
        Self(task)
    }

    fn state(&self) -> &State {
        // SAFETY: 1. the reference keeps the task.
        unsafe { Header::state(self.0) }
    }
}

impl Clone for Reference {
    fn clone(&self) -> Self {
        // SAFETY: 1. we have one.
        unsafe { Self::to(self.0) }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY: 1. ours, not used again.
        unsafe { waker::release(self.0) };
    }
}

/// Aborts a task; from [`JoinHandle::abort_handle`](crate::JoinHandle::abort_handle). Cheap to
/// clone, and not tied to the type of the output.
///
/// It keeps the task's block of memory, whose size is that of the future or the output, and the
/// scheduler's shared part, until the last clone is dropped. It keeps neither the future nor the
/// output: those are dropped as if it were not there.
///
/// ```
/// # use stealyard_task::JoinHandle;
/// fn give_up(task: JoinHandle<()>) {
///     let abort = task.abort_handle();
///     std::thread::spawn(move || abort.abort());
///     assert!(task.join().unwrap_err().is_cancelled());
/// }
/// ```
#[derive(Clone)]
pub struct AbortHandle {
    /// None if the result was taken before this was made.
    task: Option<Reference>,
}

impl UnwindSafe for AbortHandle {}
impl RefUnwindSafe for AbortHandle {}

impl AbortHandle {
    pub(super) fn new(task: Option<Reference>) -> Self {
        Self { task }
    }

    /// Asks that the task be dropped at the next moment it is not running, as
    /// [`JoinHandle::abort`](crate::JoinHandle::abort) does. Nothing happens if it has ended.
    ///
    /// Lock-free; may be called more than once.
    pub fn abort(&self) {
        if let Some(task) = &self.task {
            // SAFETY: 1. the reference.
            unsafe { abort(task.0) };
        }
    }

    /// Whether the task has ended: it has returned its output, has panicked, or was cancelled. Its
    /// future is gone then.
    ///
    /// Wait-free.
    pub fn is_finished(&self) -> bool {
        self.task
            .as_ref()
            .is_none_or(|task| task.state().is_complete())
    }

    /// Returns the number of the task; see [`JoinHandle::id`](crate::JoinHandle::id).
    ///
    /// # Panics
    /// If it was made of a handle that had returned its result.
    pub fn id(&self) -> TaskId {
        let Some(task) = &self.task else {
            panic!("AbortHandle::id: it was made of a handle that had given its result");
        };
        // SAFETY: 1. the reference keeps the task.
        unsafe { Header::id(task.0) }
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
