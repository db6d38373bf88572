//! Which scheduler this thread works for, in what role, and whether it holds a P.
//!
//! The thread-local word is the address of a [`Context`] on the thread's own stack. It never holds
//! the P itself: a runtime call from inside a task asks the context for the P each time, uses it
//! for one step and forgets it, so a P can be taken from a thread while user code runs. From a
//! worker's context the thread's [`Machine`] is reached.
//!
//! Contexts form a list, from the innermost outwards, that is changed at its ends as calls nest. A
//! user's guard ([`EnterGuard`]) has its context on the heap, because it can be forgotten, and may
//! be dropped out of order. It says where spawns go and nothing else: what this thread is (a
//! worker's, a blocking one) follows from the first context further out that is no guard's. Within
//! a guard a worker's thread spawns and wakes through the global queue, so that the way without
//! guards pays nothing for them.
//!
//! # Invariants
//! - **CT1** *Every context in the list lives.* One on the stack leaves the list before its frame
//!   ends, with all that is further in. A guard takes its own out of the list, wherever it is,
//!   before it frees it. A guard that is forgotten leaves its context for good.
//! - **CT2** *No reference to a guard's context is kept* across user code, which could drop the
//!   guard.
//!
//! The word needs no destructor, so it can be read from the destructors of other thread-locals:
//! there, the context is gone already, and a spawn goes to the global queue.
//!
//! # Several schedulers on one thread
//! A thread can be inside of several at once: a blocking call of A's that blocks on a future of
//! B's; a destructor that the end of A runs, which wakes a task of B's, whose end runs another
//! destructor. All that a thread remembers is therefore kept for each scheduler, or is the same
//! whichever it is:
//! - *What it works for*: a list of contexts, here. There is an entry for each scheduler. "Inside
//!   of A" looks at all of them, "the current one" at the innermost.
//! - *The machine, and the P that it holds*: in the worker's context. A thread is one worker of one
//!   scheduler. The P is asked for with the scheduler that it is to be of.
//! - *That it must not block, that it runs a blocking call as a worker*: its duty, in
//!   `stealyard_task::running`. It is set and put back with the contexts of workers, of calls and
//!   of `block_on`.
//! - *That it is inside the closure of a blocking call*: in the context of the scheduler whose call
//!   it is.
//! - *The budget of the running task*: in the machine. It is the worker's, whatever was entered
//!   further in.
//! - *The code of the user's that it is inside of, and that a task woke itself*: one word, in
//!   `stealyard_task::running`, put back by each call. Addresses differ between schedulers.
//! - *Cancellations under way*: in `stealyard_task::trampoline`; a few frames inside each other,
//!   whichever scheduler each is of.
//! - *Joins that are under way*: in `fork_join` of `stealyard-task`. Only the worker's loop sets
//!   them, so they are the worker's own, also in a destructor of another scheduler's task: its
//!   thieves are workers, and any worker can run a half.
//! - *The parker that it waits with*: in `stealyard_task::wait_for`. It is taken out for each wait:
//!   a wait further in makes its own, and a token left over costs one poll.
//! - *The spill, random numbers and policy memory of a P*: in the P. They are the scheduler's own,
//!   and are borrowed for a step that calls no code of the user's but the policy, which is given
//!   them.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use std::panic::{RefUnwindSafe, UnwindSafe};

use stealyard_sync::{Arc, const_thread_local, thread};
use stealyard_task::running::{self, Duty, DutyGuard};

use crate::machine::Machine;
use crate::processor::Processor;
use crate::state::SchedulerState;
use crate::user_code::{Panic, dispose};

const_thread_local! {
    static CURRENT: Cell<*const Context> = Cell::new(ptr::null());
}

/// The kind of thread that this is to its scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A worker's thread: it must not block.
    Worker,
    /// A thread for blocking calls, inside a call.
    Blocking,
    /// Any other thread, inside `block_on`.
    Guest,
    /// Inside a user's guard.
    Guard,
}

/// A thread's tie to a scheduler, on the thread's stack.
#[derive(Debug)]
pub(crate) struct Context {
    shared: Arc<SchedulerState>,
    /// The same, unless a guard's.
    keeps: *const SchedulerState,
    role: Role,
    /// The context that was this thread's when it entered this one.
    outer: Cell<*const Context>,
    /// The thread's machine; null unless a worker's.
    machine: Cell<*const Machine>,
    /// The P that the thread holds now; null if it holds none.
    processor: Cell<*const Processor>,
    /// The thread is inside the closure of a blocking call of this scheduler's, and is counted as
    /// such (`run/blocking.rs`, B3).
    inside_call: Cell<bool>,
}

impl Context {
    pub(crate) fn new(shared: Arc<SchedulerState>, role: Role) -> Self {
        let keeps = match role {
            Role::Guard => ptr::null(),
            _ => Arc::as_ptr(&shared),
        };
        Self {
            shared,
            keeps,
            role,
            outer: Cell::new(ptr::null()),
            machine: Cell::new(ptr::null()),
            processor: Cell::new(ptr::null()),
            inside_call: Cell::new(false),
        }
    }

    /// Returns the state of its scheduler.
    pub(crate) fn shared(&self) -> &Arc<SchedulerState> {
        &self.shared
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

    /// Returns the P, if the thread holds one and works for `shared`. For one step: it must not be
    /// kept across user code.
    #[inline(always)]
    fn processor_of(&self, shared: &SchedulerState) -> Option<&Processor> {
        if !self.keeps(shared) {
            return None;
        }
        self.processor()
    }

    /// Returns the P, if the thread holds one in this context. For one step, as `processor_of`.
    #[inline(always)]
    pub(crate) fn processor(&self) -> Option<&Processor> {
        // SAFETY: 1. `holding` put it there and keeps it borrowed until it takes it out; 2. `&self`
        // is reached only on the thread that called `holding`.
        unsafe { self.processor.get().as_ref() }
    }

    /// Returns the thread's machine, if this is a worker's context.
    fn machine(&self) -> Option<&Machine> {
        // SAFETY: 1. `enter_worker` put it there and keeps it borrowed until it takes it out; 2.
        // `&self` is reached only on the thread that called `enter_worker`.
        unsafe { self.machine.get().as_ref() }
    }

    /// Returns the context that this one was entered within.
    fn outer(&self) -> Option<&Self> {
        // SAFETY: 1. every context in the list lives (CT1), and this one is in it.
        unsafe { self.outer.get().as_ref() }
    }

    /// Returns this context, or the first further out that is no guard's.
    #[cold]
    fn base(&self) -> Option<&Self> {
        core::iter::successors(Some(self), |context| context.outer())
            .find(|context| context.role != Role::Guard)
    }

    /// Whether this thread keeps `shared` by itself until what runs now returns: a guard may go
    /// before.
    #[inline(always)]
    pub(crate) fn keeps(&self, shared: &SchedulerState) -> bool {
        ptr::eq(self.keeps, shared)
    }
}

/// Calls `f` with the context of this thread.
#[inline(always)]
pub(crate) fn with<R>(f: impl FnOnce(Option<&Context>) -> R) -> R {
    let context = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: 1. `ContextScope` keeps the context borrowed, on this thread, until it puts another
    // there.
    f(unsafe { context.as_ref() })
}

/// Returns the state of the scheduler that this thread works for.
pub(crate) fn shared() -> Option<Arc<SchedulerState>> {
    with(|context| context.map(|context| Arc::clone(context.shared())))
}

/// Calls `f` with the first context that `pick` accepts, from the innermost.
fn with_first<R>(pick: impl Fn(&Context) -> bool, f: impl FnOnce(Option<&Context>) -> R) -> R {
    with(|context| {
        let mut list = core::iter::successors(context, |context| context.outer());
        f(list.find(|context| pick(context)))
    })
}

/// Calls `f` with the P, if this thread holds one and its innermost context is of `shared`. For one
/// step: it must not be kept across user code.
#[inline(always)]
pub(crate) fn with_processor<R>(
    shared: &SchedulerState,
    f: impl FnOnce(Option<&Processor>) -> R,
) -> R {
    with(|context| f(context.and_then(|context| context.processor_of(shared))))
}

/// Calls `f` with this thread's machine, if it is a worker's of any scheduler, whatever was entered
/// further in.
pub(crate) fn with_worker<R>(f: impl FnOnce(Option<&Machine>) -> R) -> R {
    with_first(
        |context| context.role == Role::Worker,
        |context| f(context.and_then(Context::machine)),
    )
}

/// Whether this thread is a worker's, of any scheduler.
pub(crate) fn is_worker() -> bool {
    with_worker(|machine| machine.is_some())
}

/// Returns what this thread is to the scheduler it works for, whatever guards it is inside of.
pub(crate) fn role() -> Option<Role> {
    with(|context| Some(context?.base()?.role))
}

/// Whether this thread works for `shared`, in its own context or in one further out, in any role
/// but that of a guard.
pub(crate) fn works_for(shared: &SchedulerState) -> bool {
    with_first(|context| context.keeps(shared), |context| context.is_some())
}

/// Whether this thread has that role for `shared`, in its own context or in one further out.
pub(crate) fn is_inside(shared: &SchedulerState, role: Role) -> bool {
    with_role(shared, role, |context| context.is_some())
}

/// Says whether this thread, which has a blocking call of `shared`, is inside its closure.
pub(crate) fn set_inside_call(shared: &SchedulerState, inside: bool) {
    with_role(shared, Role::Blocking, |context| {
        if let Some(context) = context {
            context.inside_call.set(inside);
        }
    });
}

/// Whether this thread has a blocking call of `shared` and is not inside its closure, but before or
/// after it: in a destructor, a waker, a hook.
pub(crate) fn is_beside_call(shared: &SchedulerState) -> bool {
    with_role(shared, Role::Blocking, |context| {
        context.is_some_and(|context| !context.inside_call.get())
    })
}

/// Calls `f` with the context in which this thread has that role for `shared`.
fn with_role<R>(shared: &SchedulerState, role: Role, f: impl FnOnce(Option<&Context>) -> R) -> R {
    with_first(|context| context.role == role && context.keeps(shared), f)
}

/// Makes `machine` this thread's, and its context the thread's, until the returned value is
/// dropped.
pub(crate) fn enter_worker(machine: &Machine) -> ContextScope<'_> {
    machine.context.machine.set(machine);
    enter(&machine.context)
}

/// Makes `context` this thread's, until the returned value is dropped.
pub(crate) fn enter(context: &Context) -> ContextScope<'_> {
    let duty = match context.role {
        Role::Worker => Duty::Worker,
        Role::Blocking | Role::Guest => Duty::Call,
        Role::Guard => running::duty(),
    };
    context
        .outer
        .set(CURRENT.with(|current| current.replace(context)));
    running::report_to(report);
    ContextScope {
        context,
        _duty: running::enter_duty(duty),
    }
}

/// Tells the scheduler that this thread works for of a panic that is no task's result.
fn report(panic: Panic) {
    match shared() {
        Some(shared) => shared.caught(panic),
        None => dispose(panic),
    }
}

/// The context is this thread's as long as this exists. It nests as calls do. It is never given to
/// users, because they could drop it out of order: they get an [`EnterGuard`].
#[derive(Debug)]
#[must_use = "the context is left when it is dropped"]
pub(crate) struct ContextScope<'a> {
    context: &'a Context,
    _duty: DutyGuard,
}

impl Drop for ContextScope<'_> {
    fn drop(&mut self) {
        // Contexts further in are of guards that outlive this call (CT1).
        CURRENT.with(|current| current.set(self.context.outer.get()));
        self.context.machine.set(ptr::null());
    }
}

/// This thread spawns onto a scheduler as long as this exists; see
/// [`Handle::enter`](crate::Handle::enter).
///
/// # Panics
/// Dropping it panics if it is not the innermost guard, or if the task, `block_on` or blocking call
/// in which it was made has ended. It does not panic while the thread unwinds already. The thread
/// then goes on as if it had been dropped in order.
#[must_use = "the scheduler is left when the guard is dropped"]
pub struct EnterGuard {
    /// On the heap, and not moved: the list leads through it. A pointer, since a box must not be
    /// shared.
    context: NonNull<Context>,
    /// The guard is its thread's.
    thread: PhantomData<*const ()>,
}

impl UnwindSafe for EnterGuard {}
impl RefUnwindSafe for EnterGuard {}

impl EnterGuard {
    pub(crate) fn new(shared: Arc<SchedulerState>) -> Self {
        let context = Box::leak(Box::new(Context::new(shared, Role::Guard)));
        // A thread whose locals are gone has no list to be in, and takes it for out of order below.
        let outer = CURRENT.try_with(|current| current.replace(context));
        context.outer.set(outer.unwrap_or(ptr::null()));
        running::report_to(report);
        Self {
            context: NonNull::from(context),
            thread: PhantomData,
        }
    }

    /// Takes the context out of the list (CT1). Whether it was the innermost.
    fn unlink(&self) -> bool {
        // SAFETY: 1. freed by `drop` only, after this.
        let own = unsafe { self.context.as_ref() };
        let Ok(innermost) = CURRENT.try_with(Cell::get) else {
            return true; // no list any more
        };
        if ptr::eq(innermost, own) {
            CURRENT.with(|current| current.set(own.outer.get()));
            return true;
        }
        with(|context| {
            let inner = core::iter::successors(context, |context| context.outer())
                .find(|context| ptr::eq(context.outer.get(), own));
            if let Some(inner) = inner {
                inner.outer.set(own.outer.get());
            }
        });
        false
    }
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        let in_order = self.unlink();
        // SAFETY: 1. leaked in `new`, out of the list (CT1), and no reference to it is in use
        // (CT2).
        let context = unsafe { Box::from_raw(self.context.as_ptr()) };
        // Possibly the last reference to the scheduler's shared part.
        drop(context);
        assert!(
            in_order || thread::panicking(),
            "EnterGuard was dropped out of order: guards must be dropped in the reverse order of their making, and \
             before the task, `block_on` or blocking call ends in which they were made"
        );
    }
}

impl fmt::Debug for EnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: 1. freed by `drop` only.
        let context = unsafe { self.context.as_ref() };
        f.debug_struct("EnterGuard")
            .field("scheduler", &context.shared.config.name)
            .finish_non_exhaustive()
    }
}
