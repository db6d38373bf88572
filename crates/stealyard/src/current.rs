//! Which scheduler this thread works for, and whether it holds a P.
//!
//! The thread-local word is the address of a [`Context`] on the thread's own stack. It never holds the P
//! itself: a runtime call from inside a task asks the context for the P each time, uses it for one step
//! and forgets it, so a P can be taken from a thread while user code runs.
//!
//! The word needs no destructor, so it can be read from the destructors of other thread-locals: there,
//! the context is gone already, and a spawn goes to the global queue.

use core::cell::Cell;
use core::ptr;

use stealyard_sync::{Arc, const_thread_local};

use crate::processor::Processor;
use crate::shared::Shared;

const_thread_local! {
    static CURRENT: Cell<*const Context> = Cell::new(ptr::null());
}
const_thread_local! {
    static DRAINING: Cell<bool> = Cell::new(false);
}

/// What kind of thread this is to its scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A worker's thread: it must not block.
    Worker,
    /// A thread for blocking calls, inside a call.
    Blocking,
    /// Any other thread, inside `block_on`.
    Guest,
}

/// A thread's tie to a scheduler, on the thread's stack.
#[derive(Debug)]
pub(crate) struct Context {
    shared: Arc<Shared>,
    role: Role,
    /// The context that was this thread's when it entered this one.
    outer: Cell<*const Context>,
    /// The P that the thread holds now; null if it holds none.
    processor: Cell<*const Processor>,
}

impl Context {
    pub(crate) fn new(shared: Arc<Shared>, role: Role) -> Self {
        Self {
            shared,
            role,
            outer: Cell::new(ptr::null()),
            processor: Cell::new(ptr::null()),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// Runs `f` with the P lent to this context.
    pub(crate) fn holding<R>(&self, processor: &Processor, f: impl FnOnce() -> R) -> R {
        struct Return<'a>(&'a Context);
        impl Drop for Return<'_> {
            fn drop(&mut self) {
                self.0.processor.set(ptr::null());
            }
        }
        debug_assert!(self.processor.get().is_null(), "a thread holds one P");
        self.processor.set(processor);
        let _return = Return(self);
        f()
    }

    /// The P, if the thread holds one and works for `shared`. For one step: it must not be kept across
    /// user code.
    #[inline(always)]
    pub(crate) fn processor_of(&self, shared: &Shared) -> Option<&Processor> {
        if !ptr::eq(Arc::as_ptr(&self.shared), shared) {
            return None;
        }
        // SAFETY: 1. `holding` put it there and keeps it borrowed until it takes it out; 2. `&self` is
        // reached only on the thread that called `holding`.
        unsafe { self.processor.get().as_ref() }
    }
}

/// Calls `f` with the context of this thread.
#[inline(always)]
pub(crate) fn with<R>(f: impl FnOnce(Option<&Context>) -> R) -> R {
    let context = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: 1. `Entered` keeps the context borrowed, on this thread, until it puts another there.
    f(unsafe { context.as_ref() })
}

/// The scheduler this thread works for.
pub(crate) fn shared() -> Option<Arc<Shared>> {
    with(|context| context.map(|context| Arc::clone(context.shared())))
}

/// Whether this thread is a worker's, of any scheduler.
pub(crate) fn is_worker() -> bool {
    with(|context| context.is_some_and(|context| context.role() == Role::Worker))
}

/// Whether this thread may block although it runs a task: it is a thread for blocking calls.
pub(crate) fn may_block() -> bool {
    with(|context| context.is_some_and(|context| context.role() != Role::Worker))
}

/// Whether this thread has that role for `shared`, in its own context or in one further out.
pub(crate) fn is_inside(shared: &Shared, role: Role) -> bool {
    with(|context| {
        // SAFETY: 1. `Entered` keeps the outer context's frame on this thread, below the inner one's.
        let outer = |context: &&Context| unsafe { context.outer.get().as_ref() };
        core::iter::successors(context, outer)
            .any(|context| context.role() == role && ptr::eq(Arc::as_ptr(context.shared()), shared))
    })
}

/// Makes `context` this thread's, until the returned value is dropped.
pub(crate) fn enter(context: &Context) -> Entered<'_> {
    context
        .outer
        .set(CURRENT.with(|current| current.replace(context)));
    Entered { context }
}

/// The context is this thread's as long as this exists. Contexts nest as calls do: it is never given to
/// users, who could drop it out of order.
#[derive(Debug)]
#[must_use = "the context is left when it is dropped"]
pub(crate) struct Entered<'a> {
    context: &'a Context,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let inner = CURRENT.with(|current| current.replace(self.context.outer.get()));
        debug_assert!(ptr::eq(inner, self.context), "contexts are left in order");
    }
}

/// Calls `drain` unless this thread is inside such a call already: what it would do, the outer call will.
/// So a chain of destructors that wake each other uses one frame, not one for each.
pub(crate) fn draining(drain: impl FnOnce()) {
    let outer = DRAINING
        .try_with(|draining| draining.replace(true))
        .unwrap_or(false);
    if outer {
        return;
    }
    drain();
    // A thread whose locals are gone has nothing to reset.
    let _ = DRAINING.try_with(|draining| draining.set(false));
}
