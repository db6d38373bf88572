//! The typed part of a task: its future or closure, later its output, and the functions behind the
//! vtable that know the types.
//!
//! S1 to S7 are those of `state.rs`, M1 to M4 those of `memory.rs`.
//!
//! # Panics of the user's code
//! A panic is caught where it happens and becomes the task's result:
//! - in a poll or a closure;
//! - in the destructor of a future that is done, which loses the output;
//! - in the destructor of a future that is cancelled.
//!
//! A future that panicked is dropped while the panic unwinds, as the locals of a function are, so
//! its destructors see `std::thread::panicking()` (`docs/decisions/0007-*.md`).
//!
//! Some panics can be no result, and go to the scheduler's counter and hook only:
//! - a second one, while something that panicked is dropped;
//! - one of an output that no handle took, or whose handle was dropped;
//! - one of the joiner's waker.
//!
//! What a payload's destructor throws ends there (`panics.rs`, UC1), so nothing in here unwinds. A
//! panic that leaves a destructor which itself runs because of a panic is an abort, as everywhere
//! in Rust.

use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll};

use stealyard_park::SpinConfig;
use stealyard_sync::Arc;
use stealyard_sync::cell::UnsafeCell;

use super::header::{Header, Joiner, Link, Vtable};
use super::id::TaskId;
use super::join::{JoinError, Payload, take_waker};
use super::memory::{Class, LastReference, LocalMemory};
use super::running::Code;
use super::state::{Begin, Complete, Pause, Release, Wake, WakeAndRelease};
use super::{Ran, Schedule, Task, Why, running, waker};
use crate::panics::{Panic, catch, discard, dispose};

/// What a task runs.
///
/// # Safety
/// An implementer of `advance` never unwinds, leaves the body as it is when it returns `Pending`,
/// and has dropped it or moved out of it when it returns `Ready`.
pub(super) unsafe trait Body {
    type Output;

    /// Runs the body to its end, or until it waits. Tells `second` of a panic that comes after the
    /// one that is the result.
    ///
    /// # Safety
    /// 1. `body` is valid, pinned, and the caller's alone.
    /// 2. It is not used again after `Ready`.
    /// 3. `second` does not unwind.
    unsafe fn advance(
        body: NonNull<Self>,
        context: &mut Context<'_>,
        second: impl Fn(Panic),
    ) -> Poll<Result<Self::Output, Panic>>;
}

/// A future as a task's body.
#[repr(transparent)]
pub(super) struct Async<F>(pub(super) F);

/// A closure as a task's body.
#[repr(transparent)]
pub(super) struct Call<F>(pub(super) F);

/// Drops a future that panicked while the panic unwinds, and keeps the panic of its destructor.
struct DropFuture<'a, F> {
    future: *mut F,
    second: &'a mut Option<Panic>,
}

impl<F> Drop for DropFuture<'_, F> {
    #[cold]
    fn drop(&mut self) {
        // SAFETY: 1. valid, the runner's, and not used again: it has panicked.
        let dropped = catch(|| unsafe { self.future.drop_in_place() });
        *self.second = dropped.err();
    }
}

// SAFETY: all panics are caught, and `second` does not unwind (3). The future stays where it is on
// `Pending`, and is dropped otherwise.
unsafe impl<F: Future> Body for Async<F> {
    type Output = F::Output;

    #[inline(always)]
    unsafe fn advance(
        body: NonNull<Self>,
        context: &mut Context<'_>,
        second: impl Fn(Panic),
    ) -> Poll<Result<F::Output, Panic>> {
        let future = body.as_ptr().cast::<F>();
        let mut of_future = None;
        let polled = catch(|| {
            let unwinding = DropFuture {
                future,
                second: &mut of_future,
            };
            // SAFETY: 1. valid and ours (1).
            let future = unsafe { &mut *future };
            // SAFETY: 1. pinned (1): it lies in its task until it is dropped.
            let polled = unsafe { Pin::new_unchecked(future) }.poll(context);
            core::mem::forget(unwinding);
            polled
        });
        let output = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => output,
            Err(panic) => {
                // The future was dropped on the way.
                of_future.into_iter().for_each(second);
                return Poll::Ready(Err(panic));
            }
        };
        // SAFETY: 1. valid and ours (1), not used again (2).
        match catch(|| unsafe { future.drop_in_place() }) {
            Ok(()) => Poll::Ready(Ok(output)),
            Err(panic) => {
                discard(output).into_iter().for_each(second);
                Poll::Ready(Err(panic))
            }
        }
    }
}

// SAFETY: the panic is caught; the closure is moved out of the body, and it is never `Pending`.
unsafe impl<T, F: FnOnce() -> T> Body for Call<F> {
    type Output = T;

    #[inline(always)]
    unsafe fn advance(
        body: NonNull<Self>,
        _context: &mut Context<'_>,
        _second: impl Fn(Panic),
    ) -> Poll<Result<T, Panic>> {
        // SAFETY: 1. valid and ours (1), not used again (2).
        let call = unsafe { body.read() }.0;
        Poll::Ready(catch(call))
    }
}

/// First the body, then the output; both begin where the stage begins.
#[repr(C)]
union Stage<B: Body> {
    body: ManuallyDrop<B>,
    _output: ManuallyDrop<Result<B::Output, JoinError>>,
}

/// What lies behind the header.
struct Rest<B: Body> {
    joiner: UnsafeCell<MaybeUninit<core::task::Waker>>,
    stage: UnsafeCell<Stage<B>>,
}

/// A task in its memory.
#[repr(C)]
struct Cell<B: Body, S> {
    header: Header,
    rest: Rest<B>,
    scheduler: PhantomData<S>,
}

/// Puts a body into task memory.
#[inline(always)]
pub(super) fn create<B: Body, S: Schedule>(
    home: &Arc<S>,
    local: Option<&LocalMemory>,
    body: B,
    with_handle: bool,
) -> Task {
    let class = Cell::<B, S>::CLASS;
    let block = match local {
        Some(local) => local.allocate(home, class),
        None => home.memory().allocate(home, class),
    };
    let cell = block.cast::<Cell<B, S>>();
    let rest = Rest {
        joiner: UnsafeCell::new(MaybeUninit::uninit()),
        stage: UnsafeCell::new(Stage {
            body: ManuallyDrop::new(body),
        }),
    };
    // SAFETY: 1. the block is a cell's by its class.
    let place = unsafe { &raw mut (*cell.as_ptr()).rest };
    // SAFETY: 1. in the block, which is ours.
    unsafe { place.write(rest) };
    // SAFETY: 1. every block has a valid header (M4).
    let header = unsafe { block.as_ref() };
    let link = Link {
        task: (&Cell::<B, S>::VTABLE, Arc::as_ptr(home).cast()),
    };
    // SAFETY: 1. the block is ours.
    header.link.with_mut(|place| unsafe { *place = link });
    header.state.occupy(with_handle);
    // SAFETY: 1. active, and this is its only `Task` (S1).
    unsafe { Task::from_header(block) }
}

impl<B: Body, S: Schedule> Cell<B, S> {
    const CLASS: Class = Class::of(Layout::new::<Self>());

    const VTABLE: Vtable = Vtable {
        run: Self::run,
        cancel: Self::cancel,
        schedule: Self::schedule,
        wake: Self::wake,
        output: Self::output,
        drop_output: Self::drop_output,
        joiner: Self::joiner,
        spin: Self::spin,
        vacate: Self::vacate,
        report: Self::report,
        id: Self::id,
    };

    /// Returns what lies behind the header.
    ///
    /// # Safety
    /// 1. The task is of this type, and the caller keeps it for `'a`.
    #[inline(always)]
    unsafe fn rest<'a>(task: NonNull<Header>) -> &'a Rest<B> {
        let cell = task.cast::<Self>();
        // SAFETY: 1. a cell of this type (1).
        unsafe { &(*cell.as_ptr()).rest }
    }

    /// Moves the output out.
    ///
    /// # Safety
    /// 1. The task is of this type, and its stage is the caller's (S2, S4) and an output.
    /// 2. The output is not read again.
    #[inline(always)]
    unsafe fn read_output(task: NonNull<Header>) -> Result<B::Output, JoinError> {
        // SAFETY: 1. as the caller promises (1).
        let stage = &unsafe { Self::rest(task) }.stage;
        // SAFETY: 1. an output (1), moved out once (2).
        stage.with_mut(|stage| unsafe { stage.cast::<Result<B::Output, JoinError>>().read() })
    }

    /// Advances the body. Called on the stage of an active task that its runner has not completed.
    #[inline(always)]
    fn advance(
        task: NonNull<Header>,
        stage: *mut Stage<B>,
        context: &mut Context<'_>,
    ) -> Poll<Result<B::Output, Panic>> {
        // SAFETY: 1. a stage is in a cell, never null.
        let body = unsafe { NonNull::new_unchecked(stage.cast::<B>()) };
        // SAFETY: 1. an active task has a reference of its own.
        let second = |panic| unsafe { Self::report(task, panic) };
        // SAFETY: 1. valid and pinned in its cell, ours by S2; 2. the runner finishes after
        // `Ready`; 3. `report` does not unwind.
        unsafe { B::advance(body, context, second) }
    }

    unsafe fn run(task: NonNull<Header>) -> Ran {
        // SAFETY: 1. the `Task` keeps its memory.
        let state = unsafe { Header::state(task) };
        if state.begin() == Begin::Cancel {
            // SAFETY: 1. we hold the `Task` and use it up.
            unsafe { Self::cancel(task) };
            return Ran::Done;
        }
        // SAFETY: 1. we hold the `Task` during the poll.
        let waker = unsafe { waker::lend(task) };
        let mut context = Context::from_waker(&waker);
        let outer = running::enter(task);
        // SAFETY: 1. of this type, kept by its `Task`.
        let stage = &unsafe { Self::rest(task) }.stage;
        let polled = stage.with_mut(|stage| Self::advance(task, stage, &mut context));
        let result = match polled {
            Poll::Ready(result) => result,
            Poll::Pending => {
                let again = running::leave(outer);
                // SAFETY: 1. we hold the `Task` and use it up.
                return unsafe { Self::paused(task, again) };
            }
        };
        let result = result.map_err(|panic| JoinError::Panic(Payload::new(panic)));
        // Still inside the task: an output without a handle and the joiner's waker are the user's
        // code. None of that runs once the memory is given back and may be another task's.
        // SAFETY: 1. we hold the `Task` and use it up; the body is gone.
        unsafe { Self::finish(task, result) };
        // It is complete: whether it woke itself does not matter.
        let _: bool = running::leave(outer);
        Ran::Done
    }

    /// Decides what becomes of a task whose poll returned `Pending`; `again` says that it woke
    /// itself.
    ///
    /// # Safety
    /// 1. The caller holds the `Task`, which is used up.
    #[inline(always)]
    unsafe fn paused(task: NonNull<Header>, again: bool) -> Ran {
        if again {
            // SAFETY: 1. it is still active, and the one we got was used up.
            return Ran::Again(unsafe { Task::from_header(task) });
        }
        // SAFETY: 1. the `Task` keeps its memory.
        let state = unsafe { Header::state(task) };
        match state.pause() {
            Pause::Idle => Ran::Pending,
            Pause::Again => {
                // SAFETY: 1. it is still active, and the one we got was used up.
                Ran::Again(unsafe { Task::from_header(task) })
            }
            Pause::Cancel => {
                // SAFETY: 1. we hold the `Task` and use it up.
                unsafe { Self::cancel(task) };
                Ran::Done
            }
        }
    }

    #[cold]
    unsafe fn cancel(task: NonNull<Header>) {
        running::within(Code::Destructor, || {
            // SAFETY: 1. of this type, kept by its `Task`.
            let stage = &unsafe { Self::rest(task) }.stage;
            let dropped = catch(|| {
                // SAFETY: 1. active, not complete, and ours (S2): the stage is the body.
                stage.with_mut(|stage| unsafe { stage.cast::<B>().drop_in_place() });
            });
            let error = match dropped {
                Ok(()) => JoinError::Cancelled,
                Err(panic) => JoinError::Panic(Payload::new(panic)),
            };
            // SAFETY: 1. we hold the `Task` and use it up; the body is gone.
            unsafe { Self::finish(task, Err(error)) };
        });
    }

    /// Completes the task, and wakes its joiner.
    ///
    /// # Safety
    /// 1. The caller holds the `Task`, which is used up.
    /// 2. The body is gone.
    #[inline(always)]
    unsafe fn finish(task: NonNull<Header>, mut result: Result<B::Output, JoinError>) {
        // SAFETY: 1. the task's own reference is given up below only.
        let state = unsafe { Header::state(task) };
        if let Err(JoinError::Panic(payload)) = &mut result {
            // SAFETY: 1. the task's own reference.
            payload.set_id(unsafe { Self::id(task) });
            // SAFETY: 1. an active task keeps its scheduler.
            let home = unsafe { Self::home(task) };
            // SAFETY: 1. as above.
            unsafe { home.as_ref() }.task_panicked(payload.as_any());
        }
        if state.has_handle() {
            // SAFETY: 1. of this type, kept by its own reference.
            let stage = &unsafe { Self::rest(task) }.stage;
            // SAFETY: 1. until it is complete the stage is ours (S4), and empty (2).
            stage.with_mut(|stage| unsafe {
                stage.cast::<Result<B::Output, JoinError>>().write(result);
            });
            match state.complete() {
                Complete::Joined => return,
                Complete::WakeJoiner => {
                    // SAFETY: 1. of this type.
                    let joiner = unsafe { Self::joiner(task) };
                    // SAFETY: 1. in the cell, which our reference keeps.
                    let joiner = unsafe { joiner.as_ref() };
                    // SAFETY: 1. there is a waker, and it is ours (S3).
                    let joiner = unsafe { take_waker(joiner) };
                    if let Err(panic) = catch(|| joiner.wake()) {
                        // SAFETY: 1. our reference keeps the scheduler.
                        unsafe { Self::report(task, panic) };
                    }
                    // SAFETY: 1. our reference, given up here.
                    unsafe { waker::release(task) };
                    return;
                }
                Complete::Orphaned => {
                    // SAFETY: 1. the handle is gone: the output is ours (S4).
                    let output = unsafe { Self::read_output(task) };
                    // SAFETY: 1. our reference keeps the scheduler.
                    unsafe { Self::drop_unwanted(task, output) };
                }
            }
        } else {
            // SAFETY: 1. our reference keeps the scheduler.
            unsafe { Self::drop_unwanted(task, result) };
        }
        if state.leave() == Release::Last {
            // SAFETY: 1. it was the last (S5).
            unsafe { Self::vacate(task) };
        }
    }

    /// Drops an output that no handle will take.
    ///
    /// # Safety
    /// 1. The caller has a reference.
    #[inline(always)]
    unsafe fn drop_unwanted(task: NonNull<Header>, output: Result<B::Output, JoinError>) {
        if core::mem::needs_drop::<B::Output>() || output.is_err() {
            if let Some(panic) = discard(output) {
                // SAFETY: 1. the caller's reference keeps the scheduler (1).
                unsafe { Self::report(task, panic) };
            }
        } else {
            core::mem::forget(output);
        }
    }

    /// Tells the scheduler of a panic that no joiner will see.
    ///
    /// # Safety
    /// 1. The caller has a reference.
    #[cold]
    unsafe fn report(task: NonNull<Header>, panic: Panic) {
        // SAFETY: 1. the caller has a reference (1).
        let home = unsafe { Self::home(task) };
        // SAFETY: 1. a reference keeps the scheduler (1).
        unsafe { home.as_ref() }.task_panicked(&*panic);
        dispose(panic);
    }

    /// Returns the scheduler.
    ///
    /// # Safety
    /// 1. The caller has a reference, which keeps the scheduler.
    #[inline(always)]
    unsafe fn home(task: NonNull<Header>) -> NonNull<S> {
        // SAFETY: 1. the caller has a reference (1).
        let home = unsafe { Header::home(task) };
        // SAFETY: 1. `create` put an `Arc`'s address there.
        unsafe { NonNull::new_unchecked(home.cast::<S>().cast_mut()) }
    }

    unsafe fn schedule(task: NonNull<Header>, why: Why) {
        // SAFETY: 1. an active task keeps its scheduler, and so does the caller's reference.
        let home = unsafe { Self::home(task) };
        // SAFETY: 1. the caller made it active (S1).
        let task = unsafe { Task::from_header(task) };
        // SAFETY: 1. the caller's reference keeps the scheduler, also when the task is done before
        // `schedule` returns.
        unsafe { home.as_ref() }.schedule(task, why);
    }

    unsafe fn wake(task: NonNull<Header>) {
        // SAFETY: 1. the waker keeps the task until it is given up below.
        let state = unsafe { Header::state(task) };
        // SAFETY: 1. the waker's reference keeps the scheduler.
        let home = unsafe { Self::home(task) };
        // SAFETY: 1. as above.
        if unsafe { home.as_ref() }.is_kept_by_this_thread() {
            match state.wake_and_release() {
                WakeAndRelease::Nothing => {}
                WakeAndRelease::Schedule => {
                    // SAFETY: 1. we made it active (S1).
                    let task = unsafe { Task::from_header(task) };
                    // SAFETY: 1. this thread keeps the scheduler, also when the task is done before
                    // `schedule` returns.
                    unsafe { home.as_ref() }.schedule(task, Why::Woken);
                }
                // SAFETY: 1. it was the last (S5).
                WakeAndRelease::Last => unsafe { Self::vacate(task) },
            }
            return;
        }
        if state.wake() == Wake::Schedule {
            // SAFETY: 1. we made it active (S1).
            unsafe { Self::schedule(task, Why::Woken) };
        }
        // SAFETY: 1. the waker's reference, given up here.
        unsafe { waker::release(task) };
    }

    unsafe fn output(task: NonNull<Header>) -> NonNull<()> {
        // SAFETY: 1. of this type, by the vtable's contract.
        let stage = &unsafe { Self::rest(task) }.stage;
        // SAFETY: 1. a stage is in a cell, never null.
        stage.with_mut(|stage| unsafe { NonNull::new_unchecked(stage.cast()) })
    }

    unsafe fn drop_output(task: NonNull<Header>) {
        // SAFETY: 1. complete, and the output is the caller's (S4).
        let output = unsafe { Self::read_output(task) };
        // SAFETY: 1. the handle's reference is given up later.
        unsafe { Self::drop_unwanted(task, output) };
    }

    unsafe fn joiner(task: NonNull<Header>) -> NonNull<Joiner> {
        // SAFETY: 1. of this type, by the vtable's contract.
        NonNull::from(&unsafe { Self::rest(task) }.joiner)
    }

    #[cold]
    unsafe fn id(task: NonNull<Header>) -> TaskId {
        // SAFETY: 1. the caller's reference keeps the scheduler.
        let home = unsafe { Self::home(task) };
        // SAFETY: 1. as above.
        let ids = unsafe { home.as_ref() }.memory().ids();
        // SAFETY: 1. the caller's reference, or its `Task`, keeps the task.
        ids.of(task.addr(), unsafe { Header::state(task) })
    }

    /// Releases the number of a task, then its memory.
    #[cold]
    #[inline(never)]
    unsafe fn vacate_named(task: NonNull<Header>) {
        // SAFETY: 1. the last reference is in our hands, which keeps the scheduler.
        let home = unsafe { Self::home(task) };
        // SAFETY: 1. as above.
        unsafe { home.as_ref() }.memory().ids().forget(task.addr());
        // SAFETY: 1. headers stay valid (M4).
        unsafe { Header::state(task) }.unname();
        // SAFETY: 1. the last reference is still in our hands.
        unsafe { Self::vacate(task) };
    }

    unsafe fn spin(task: NonNull<Header>) -> SpinConfig {
        // SAFETY: 1. of this type, and the caller has a reference, by the vtable's contract.
        let home = unsafe { Self::home(task) };
        // SAFETY: 1. the caller's reference keeps the scheduler (M2).
        unsafe { home.as_ref() }.spin()
    }

    #[inline(always)]
    unsafe fn vacate(task: NonNull<Header>) {
        // SAFETY: 1. headers stay valid (M4).
        if unsafe { Header::state(task) }.is_named() {
            // SAFETY: 1. the last reference is in our hands.
            return unsafe { Self::vacate_named(task) };
        }
        // SAFETY: 1. the last reference is in our hands.
        let home = unsafe { Self::home(task) };
        let cell = task.cast::<Self>();
        // SAFETY: 1. a cell of this type.
        let rest = unsafe { &raw mut (*cell.as_ptr()).rest };
        // SAFETY: 1. body, output and joiner are gone; what is left has no destructor that runs the
        // user's code.
        unsafe { rest.drop_in_place() };
        // SAFETY: 1. headers stay valid (M4).
        unsafe { Header::state(task) }.vacate();
        let last: LastReference<S> = {
            // SAFETY: 1. the block is still out, which keeps the scheduler (M2), or the worker that
            // lends its memory does.
            let home = unsafe { home.as_ref() };
            home.with_local(|local| match local {
                // SAFETY: 1. vacant and ours; 2. it came from this memory, by `Schedule`'s
                // contract.
                Some(local) => unsafe { local.free(home.memory(), Self::CLASS, task) },
                // SAFETY: 1. and 2. as above.
                None => unsafe { home.memory().free(Self::CLASS, task) },
            })
        };
        // Possibly the last reference to the scheduler: no reference into it is left here.
        drop(last);
    }
}
