//! Wakers: a task's address and four functions.
//!
//! S1 to S7 are those of `state.rs`.
//!
//! A waker may be cloned, woken and dropped on any thread, during shutdown and after the scheduler
//! is gone. It needs nothing but the task's own memory, and that memory keeps the scheduler's
//! shared part (see [`memory`](super::memory)). A wake after shutdown finds a complete task, or
//! hands the task to a scheduler that is closed, which drops it.
//!
//! The waker that a poll is given is on loan: it counts as no reference. Its clones do.

use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::task::{RawWaker, RawWakerVTable, Waker};

use super::header::Header;
use super::state::{Release, Wake};
use super::{Why, running};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// Makes the waker for one poll. It must not outlive the poll.
///
/// # Safety
/// 1. The caller holds the `Task` as long as the waker exists.
#[inline(always)]
pub(super) unsafe fn lend(task: NonNull<Header>) -> ManuallyDrop<Waker> {
    let raw = RawWaker::new(task.as_ptr().cast::<()>().cast_const(), &VTABLE);
    // SAFETY: 1. the four functions keep the contract for an address that stays valid (1); `drop`,
    // which would give up a reference, is never called on the loan.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw) })
}

/// Releases one reference, and the memory with the last.
///
/// # Safety
/// 1. The caller has a reference to the task, which it does not use again.
#[inline]
pub(super) unsafe fn release(task: NonNull<Header>) {
    // SAFETY: 1. the reference keeps the header valid (1).
    if unsafe { Header::state(task) }.release() == Release::Last {
        // SAFETY: 1. the last reference is still in our hands.
        let vtable = unsafe { Header::vtable(task) };
        // SAFETY: 1. it was the last (S5).
        unsafe { (vtable.vacate)(task) };
    }
}

fn header_of(data: *const ()) -> NonNull<Header> {
    NonNull::new(data.cast_mut().cast()).unwrap_or_else(|| unreachable!("`lend` made it of a task"))
}

unsafe fn clone(data: *const ()) -> RawWaker {
    let task = header_of(data);
    // SAFETY: 1. the waker that is cloned keeps the task.
    unsafe { Header::state(task) }.retain();
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    let task = header_of(data);
    if running::wake_if_running(task) {
        // SAFETY: 1. the waker's reference is given up with it.
        unsafe { release(task) };
        return;
    }
    // SAFETY: 1. the waker keeps the task.
    let vtable = unsafe { Header::vtable(task) };
    // SAFETY: 1. the waker is used up.
    unsafe { (vtable.wake)(task) };
}

unsafe fn wake_by_ref(data: *const ()) {
    let task = header_of(data);
    if running::wake_if_running(task) {
        return;
    }
    // SAFETY: 1. the waker keeps the task.
    if unsafe { Header::state(task) }.wake() == Wake::Schedule {
        // SAFETY: 1. the waker keeps the task.
        let vtable = unsafe { Header::vtable(task) };
        // SAFETY: 1. we made it active (S1).
        unsafe { (vtable.schedule)(task, Why::Woken) };
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: 1. the waker's reference is given up with it.
    unsafe { release(header_of(data)) };
}
