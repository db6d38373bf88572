//! Destructors one after the other instead of one inside the other.
//!
//! Cancelling a task runs the destructor of its future, which may spawn or wake another task of a
//! scheduler that has ended, which is cancelled on the spot in its turn. A chain of such
//! destructors would cost a stack frame for each link. So a thread notes which cancellations it is
//! inside of, with a *frame* for each on its stack. A few cancellations may be inside each other.
//! Any further one is deferred to the innermost frame, which does it when the destructor that it
//! runs has returned. The same holds of outputs that own handles of tasks with outputs that own
//! handles.
//!
//! ```text
//!   cancel a1 (of A)            frame 1
//!     destructor of a1
//!       cancel b1 (of B)        frame 2
//!         ...
//!           cancel a9 (of A)    frame DEPTH_MAX: deferred = [b9, a10]: what a9's destructor
//!             destructor of a9                   cancels, of any scheduler
//! ```
//!
//! # Invariants
//! - **TR1** *Nothing is skipped.* A task that is deferred is in the list of a frame on this
//!   thread's own stack, and a frame does not end before its list is empty.
//! - **TR2** *Schedulers do not wait for each other.* Which scheduler a task is of decides nothing.
//!   A deferred task waits for one destructor to return, the one in which it was cancelled, and
//!   not for the end of any scheduler.
//! - **TR3** *The stack is bounded*: there are never more than `DEPTH_MAX` frames, but for those
//!   that a thread makes which waits inside a destructor (TR4).
//! - **TR4** *A thread that waits has nothing deferred.* Before it sleeps for a task or for the end
//!   of a scheduler, and before it is told that a task has not ended, it does what its frames have
//!   deferred ([`catch_up`]). Otherwise it might wait for itself.
//!
//! # Why not …
//! - *One flag for a thread* (a frame further out drains), as this crate had: inside the end of A
//!   it made the thread believe that it was draining B.
//! - *A list for each scheduler, shared by its threads:* a thread would find its task taken by
//!   another, which may be held up.
//! - *No nesting at all:* a destructor that looks whether a task which it spawned after the end is
//!   finished would look for ever.

use core::cell::{Cell, RefCell};
use core::ptr::{self, NonNull};
use std::collections::VecDeque;

use stealyard_sync::const_thread_local;

use super::header::Header;
use super::waker;

/// How many frames a thread's stack may hold: enough for destructors that look at what they made,
/// few enough for destructors that need a lot of stack.
const DEPTH_MAX: usize = 8;

const_thread_local! {
    static INNERMOST: Cell<*const Frame> = Cell::new(ptr::null());
}

/// What is deferred to a frame.
#[derive(Clone, Copy, Debug)]
enum Deferred {
    /// A task to cancel: its only `Task`, as a pointer.
    Cancel(NonNull<Header>),
    /// An output to drop: the handle's reference to a task that is complete.
    Output(NonNull<Header>),
}

/// A cancellation that is under way on this thread, on its stack.
struct Frame {
    outer: *const Frame,
    deferred: RefCell<VecDeque<Deferred>>,
}

impl Deferred {
    /// Runs the user's destructor. Does not unwind.
    fn run(self) {
        match self {
            Self::Cancel(task) => {
                // SAFETY: 1. its `Task` keeps its memory.
                let vtable = unsafe { Header::vtable(task) };
                // SAFETY: 1. it was the only `Task`, used up here.
                unsafe { (vtable.cancel)(task) };
            }
            Self::Output(task) => {
                // SAFETY: 1. the handle's reference keeps its memory.
                let vtable = unsafe { Header::vtable(task) };
                // SAFETY: 1. complete, and the output was not taken.
                unsafe { (vtable.drop_output)(task) };
                // SAFETY: 1. the handle's reference, given up here.
                unsafe { waker::release(task) };
            }
        }
    }
}

/// Returns the frames of this thread, from the innermost.
fn frames<'a>() -> impl Iterator<Item = &'a Frame> {
    let innermost = INNERMOST.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: 1. `run` keeps a frame on this thread's stack as long as it is in the list.
    let innermost = unsafe { innermost.as_ref() };
    // SAFETY: 1. as above; outer frames last longer.
    core::iter::successors(innermost, |frame| unsafe { frame.outer.as_ref() })
}

/// Cancels a task, now or, if that would go too deep, when the destructor that this thread is
/// inside of has returned.
///
/// # Safety
/// 1. The caller holds the task's only `Task`, which is used up.
#[cold]
pub(super) unsafe fn cancel(task: NonNull<Header>) {
    run(Deferred::Cancel(task));
}

/// Drops the output of a task that is complete and gives up the handle's reference, now or, if that
/// would go too deep, when the destructor that this thread is inside of has returned.
///
/// # Safety
/// 1. The caller has the handle's reference, which is used up, and the output was not taken.
pub(super) unsafe fn drop_output(task: NonNull<Header>) {
    run(Deferred::Output(task));
}

/// Does `first` in a frame of its own, and then what that has deferred. If there are too many
/// frames, defers it to the innermost (TR3).
fn run(first: Deferred) {
    struct Leave(*const Frame);
    impl Drop for Leave {
        fn drop(&mut self) {
            // A thread whose locals are gone has no list of frames.
            let _ = INNERMOST.try_with(|innermost| innermost.set(self.0));
        }
    }
    if frames().nth(DEPTH_MAX - 1).is_some()
        && let Some(innermost) = frames().next()
    {
        innermost.deferred.borrow_mut().push_back(first);
        return;
    }
    let frame = Frame {
        outer: INNERMOST.try_with(Cell::get).unwrap_or(ptr::null()),
        deferred: RefCell::new(VecDeque::new()),
    };
    let _ = INNERMOST.try_with(|innermost| innermost.set(&raw const frame));
    let _leave = Leave(frame.outer);
    first.run();
    while frame.run_one() {}
}

impl Frame {
    /// Does the oldest of what is deferred. Returns false if nothing is.
    fn run_one(&self) -> bool {
        let next = self.deferred.borrow_mut().pop_front();
        next.inspect(|deferred| deferred.run()).is_some()
    }
}

/// Runs the destructors that this thread has put off, because it is about to wait for something
/// that they may end: a thread that cancels tasks inside of destructors inside of each other leaves
/// the deepest for later (TR4). Returns whether there was any. Costs a load where nothing is put
/// off.
#[inline(always)]
pub fn catch_up() -> bool {
    frames().next().is_some() && catch_up_now()
}

#[cold]
fn catch_up_now() -> bool {
    let mut any = false;
    while let Some(deferred) = frames().find_map(|frame| frame.deferred.borrow_mut().pop_front()) {
        deferred.run();
        any = true;
    }
    any
}
