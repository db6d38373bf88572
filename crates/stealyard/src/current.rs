//! Which scheduler this thread works for, and whether it holds a P.
//!
//! The thread-local word is the address of a [`Context`] on the thread's own stack. It never holds the P
//! itself: a runtime call from inside a task asks the context for the P each time, uses it for one step
//! and forgets it, so a P can be taken from a thread while user code runs.
//!
//! The word needs no destructor, so it can be read from the destructors of other thread-locals: there,
//! the context is gone already, and a spawn goes to the global queue.
//!
//! # Several schedulers on one thread
//! A thread can be inside of several at once: a blocking call of A's that blocks on a future of B's; a destructor that
//! the end of A runs, which wakes a task of B's, whose end runs another destructor. What a thread remembers is
//! therefore kept for each scheduler, or is the same whichever it is:
//!
//! | what a thread remembers          | where                    | with several schedulers                           |
//! |----------------------------------|--------------------------|---------------------------------------------------|
//! | what it works for                | here: a list of contexts | one entry for each; "inside of A" looks at all of them, "the current one" at the innermost |
//! | the P it holds                   | the context              | a thread is one worker of one scheduler; asked for with the scheduler it is to be of |
//! | that it must not block           | the context's role       | if any context on the list is a worker's          |
//! | that it runs a blocking call as a worker | the worker's context | a thread is one worker                         |
//! | the budget of the running task   | the P                    | the worker's, whatever was entered further in     |
//! | what of the user's code it is inside of, that a task woke itself | `task/running.rs` | one word, put back by each call; addresses differ between schedulers |
//! | cancellations under way          | `task/trampoline.rs`     | a few frames inside each other, whichever scheduler each is of (TR2) |
//! | joins that are under way         | `fork_join/jobs.rs`      | set by the worker's loop alone, so they are the worker's own, also in a destructor of another scheduler's task: its thieves are workers, and any worker can run a half |
//! | what it waits with               | `block_on.rs`            | taken out for each wait: a wait further in makes its own, and a token left over costs one poll |
//! | a P's spill, random numbers, policy memory | the P          | the scheduler's own; borrowed for a step that calls no code of the user's but the policy, which is given them |

use core::cell::Cell;
use core::ptr;

use stealyard_sync::{Arc, const_thread_local};

use crate::processor::Processor;
use crate::shared::Shared;

const_thread_local! {
    static CURRENT: Cell<*const Context> = Cell::new(ptr::null());
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
    /// It is a worker's thread and runs a blocking call.
    runs_a_call: Cell<bool>,
}

impl Context {
    pub(crate) fn new(shared: Arc<Shared>, role: Role) -> Self {
        Self {
            shared,
            role,
            outer: Cell::new(ptr::null()),
            processor: Cell::new(ptr::null()),
            runs_a_call: Cell::new(false),
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

/// Calls `f` with the first context that `pick` accepts, from the innermost.
fn with_first<R>(pick: impl Fn(&Context) -> bool, f: impl FnOnce(Option<&Context>) -> R) -> R {
    with(|context| {
        // SAFETY: 1. `Entered` keeps the outer context's frame on this thread, below the inner one's.
        let outer = |context: &&Context| unsafe { context.outer.get().as_ref() };
        f(core::iter::successors(context, outer).find(|context| pick(context)))
    })
}

/// Calls `f` with this thread's context as a worker, if it is one, whatever was entered further in.
pub(crate) fn with_worker<R>(f: impl FnOnce(Option<&Context>) -> R) -> R {
    with_first(|context| context.role() == Role::Worker, f)
}

/// Whether this thread is a worker's, of any scheduler.
pub(crate) fn is_worker() -> bool {
    with_worker(|context| context.is_some())
}

/// What this thread is to the scheduler it works for, innermost.
pub(crate) fn role() -> Option<Role> {
    with(|context| context.map(Context::role))
}

/// Whether this thread works for any scheduler.
pub(crate) fn has_context() -> bool {
    with(|context| context.is_some())
}

/// Whether this thread is a worker's that runs a blocking call, because no thread could be started for it.
pub(crate) fn runs_a_call() -> bool {
    with_worker(|context| context.is_some_and(|context| context.runs_a_call.get()))
}

/// Calls `f`, a blocking call, on a worker's thread.
pub(crate) fn running_a_call<R>(f: impl FnOnce() -> R) -> R {
    let set = |runs| {
        with_worker(|context| context.is_some_and(|context| context.runs_a_call.replace(runs)))
    };
    let before = set(true);
    let result = f();
    set(before);
    result
}

/// Whether this thread works for `shared`, in its own context or in one further out.
pub(crate) fn works_for(shared: &Shared) -> bool {
    let same = |context: &Context| ptr::eq(Arc::as_ptr(context.shared()), shared);
    with_first(same, |context| context.is_some())
}

/// Whether this thread has that role for `shared`, in its own context or in one further out.
pub(crate) fn is_inside(shared: &Shared, role: Role) -> bool {
    let same = |context: &Context| {
        context.role() == role && ptr::eq(Arc::as_ptr(context.shared()), shared)
    };
    with_first(same, |context| context.is_some())
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
