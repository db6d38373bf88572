//! Which join stack is the calling thread's.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use stealyard_sync::const_thread_local;

use super::JoinStack;
use crate::fork_join::JoinHost;

const_thread_local! {
    static CURRENT: Cell<*const JoinStack> = Cell::new(ptr::null());
}

/// Returns the stack of this thread as a pointer, which is null if the thread has entered none.
#[inline(always)]
pub(super) fn address() -> *const JoinStack {
    CURRENT.try_with(Cell::get).unwrap_or(ptr::null())
}

/// Returns the stack of this thread, if it has entered one.
///
/// # Safety
/// 1. The caller does not use it after the thread has left the stack.
#[inline(always)]
pub(in crate::fork_join) unsafe fn current<'a>() -> Option<&'a JoinStack> {
    // SAFETY: 1. `JoinStackGuard` keeps the stack while it is there (1).
    unsafe { address().as_ref() }
}

impl JoinStack {
    /// Makes this the calling thread's stack until the returned guard is dropped. What the thread's
    /// joins and scopes need of their executor they ask of `host`.
    ///
    /// # Safety
    /// 1. No other thread has entered this stack.
    /// 2. The guard is dropped on this thread, when no `join` or `scope` that began after this call
    ///    runs on it, and guards of several stacks in the reverse order of their making.
    /// 3. Of all stacks between which halves are taken, each stays in memory until every thread has
    ///    dropped its guard and every task taken from one of them has been run (F7).
    pub unsafe fn enter<'a>(&'a self, host: &'a dyn JoinHost) -> JoinStackGuard<'a> {
        // The lifetime is kept by the guard.
        let host = ptr::from_ref(host);
        // SAFETY: 1. only the lifetime changes; the pointer is cleared before `'a` ends.
        let host = unsafe {
            core::mem::transmute::<*const (dyn JoinHost + 'a), *mut (dyn JoinHost + 'static)>(host)
        };
        self.host.set(NonNull::new(host));
        let outer = CURRENT.with(|current| current.replace(self));
        JoinStackGuard {
            stack: self,
            outer,
            thread: PhantomData,
        }
    }
}

/// The calling thread has a join stack while this exists; from [`JoinStack::enter`].
#[derive(Debug)]
#[must_use = "the stack is left when the guard is dropped"]
pub struct JoinStackGuard<'a> {
    stack: &'a JoinStack,
    outer: *const JoinStack,
    /// The guard is its thread's.
    thread: PhantomData<*const ()>,
}

impl Drop for JoinStackGuard<'_> {
    fn drop(&mut self) {
        CURRENT.with(|current| current.set(self.outer));
        self.stack.host.set(None);
    }
}
