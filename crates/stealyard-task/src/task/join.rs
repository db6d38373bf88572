//! The handle of a task: await it, block on it, abort it, or drop it and let the task go on.
//!
//! The handle and the task share the output and the joiner's waker by the rules S3 and S4. S1 to S7
//! are those of `state.rs`.

use core::any::Any;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};
use std::panic::{RefUnwindSafe, UnwindSafe, resume_unwind};

use super::abort::{AbortHandle, Reference};
use super::header::{Header, Joiner};
use super::id::TaskId;
use super::no_blocking::NoBlocking;
use super::state::{DropHandle, IsComplete, State};
use super::wait::wait_for;
use super::{abort, trampoline, waker};
use crate::panics::discard;

/// A task that was spawned. Dropping it detaches the task, which runs on.
///
/// It is a future of the task's result, and may be awaited in any executor.
#[must_use = "dropping the handle detaches the task; its result and its panic are then lost"]
pub struct JoinHandle<T> {
    /// `None` once the result was taken.
    task: Option<NonNull<Header>>,
    output: PhantomData<T>,
}

// SAFETY: 1. everything but the output may be reached from any thread; 2. the output is sent from
// the thread that ran the task to the handle's.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: 1. `&JoinHandle` reaches only the state, which is atomic.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}
impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// Makes the handle of a task.
    ///
    /// # Safety
    /// 1. The task was created with a handle, its output is a `T`, and this is its only handle.
    #[inline(always)]
    pub(super) unsafe fn new(task: NonNull<Header>) -> Self {
        Self {
            task: Some(task),
            output: PhantomData,
        }
    }

    #[inline]
    fn state(&self) -> Option<&State> {
        // SAFETY: 1. the handle's reference keeps the task.
        self.task.map(|task| unsafe { Header::state(task) })
    }

    /// Whether the task has ended: its result is there, or was taken.
    ///
    /// Wait-free.
    pub fn is_finished(&self) -> bool {
        self.state().is_none_or(State::is_complete)
    }

    /// Asks that the task be dropped at the next moment it is not running. The future is dropped
    /// without being polled again, on a worker, and the handle returns [`JoinError::Cancelled`]. A
    /// task that completes before that keeps its result. A closure that runs is not stopped.
    ///
    /// Lock-free; may be called more than once.
    pub fn abort(&self) {
        if let Some(task) = self.task {
            // SAFETY: 1. the handle's reference keeps the task.
            unsafe { abort::abort(task) };
        }
    }

    /// Returns the number of the task, which is given when it is asked for the first time, here or
    /// elsewhere.
    ///
    /// Takes a lock; the first time it allocates now and then.
    ///
    /// # Panics
    /// If the handle was polled and has returned its result.
    pub fn id(&self) -> TaskId {
        let Some(task) = self.task else {
            panic!("JoinHandle::id: the handle has given its result; ask for the number before");
        };
        // SAFETY: 1. the handle's reference keeps the task.
        unsafe { Header::id(task) }
    }

    /// Returns a handle that can only abort the task. It may be cloned and sent, whatever the
    /// task's output is, and works also when this handle is gone.
    ///
    /// Lock-free.
    pub fn abort_handle(&self) -> AbortHandle {
        // SAFETY: 1. the handle's reference keeps the task.
        AbortHandle::new(self.task.map(|task| unsafe { Reference::to(task) }))
    }

    /// Blocks this thread until the task has ended.
    ///
    /// # Errors
    /// [`JoinError::Cancelled`] if the task was aborted or its scheduler shut down first,
    /// [`JoinError::Panic`] if it panicked.
    ///
    /// # Panics
    /// - Where it would stop a worker, even if the task has ended: inside a task (`.await` the
    ///   handle there), in a destructor that a worker runs, and in a hook. Within `spawn_blocking`
    ///   it is allowed, unless a worker runs the call because no thread could be started. The
    ///   message says where it was called, and what to do.
    /// - If a poll of the handle has returned the result already.
    #[track_caller]
    pub fn join(mut self) -> Result<T, JoinError> {
        if let Some(here) = NoBlocking::here() {
            panic!(
                "{}",
                here.message("JoinHandle::join", "`.await` the handle")
            );
        }
        if let Some(result) = self.try_take() {
            return result;
        }
        let Some(task) = self.task else {
            panic!("JoinHandle::join was called after a poll of the handle had given its result")
        };
        // SAFETY: 1. the handle's reference keeps the task.
        let vtable = unsafe { Header::vtable(task) };
        // SAFETY: 1. the handle has a reference.
        let spin = unsafe { (vtable.spin)(task) };
        wait_for(&mut self, spin)
    }

    /// Takes the result, if the task has ended and the result was not taken before.
    ///
    /// Inlined into the caller's future, and the result is read where the task left it: a result
    /// that is passed through memory in pieces of different sizes costs as much as the rest of a
    /// join.
    #[inline]
    fn try_take(&mut self) -> Option<Result<T, JoinError>> {
        if !self.state()?.is_complete() {
            return None;
        }
        let task = self.task.take()?;
        // SAFETY: 1. the handle's reference keeps the task until `release`.
        let vtable = unsafe { Header::vtable(task) };
        // SAFETY: 1. complete, and asked for once: `self.task` is empty now.
        let output = unsafe { (vtable.output)(task) };
        // SAFETY: 1. it is there, and ours (S4), and moved out once.
        let result = unsafe { output.cast::<Result<T, JoinError>>().read() };
        // SAFETY: 1. the handle's reference, given up here.
        unsafe { waker::release(task) };
        Some(result)
    }

    /// Leaves the poller's waker, or takes a result that came meanwhile.
    fn wait(&mut self, context: &Context<'_>) -> Poll<Result<T, JoinError>> {
        // The handle may wait for something that this thread has put off (`trampoline.rs`, TR4).
        if trampoline::catch_up()
            && let Some(result) = self.try_take()
        {
            return Poll::Ready(result);
        }
        match self.register(context.waker().clone()) {
            Ok(()) => Poll::Pending,
            Err(IsComplete) => match self.try_take() {
                Some(result) => Poll::Ready(result),
                None => unreachable!("a complete task whose result was not taken has one"),
            },
        }
    }

    /// Leaves a waker for the completer (S3).
    fn register(&self, new: Waker) -> Result<(), IsComplete> {
        let Some(task) = self.task else {
            return Err(IsComplete);
        };
        // SAFETY: 1. the handle's reference keeps the task.
        let state = unsafe { Header::state(task) };
        // SAFETY: 1. as above.
        let vtable = unsafe { Header::vtable(task) };
        // SAFETY: 1. as above.
        let slot = unsafe { (vtable.joiner)(task) };
        // SAFETY: 1. in the task's memory, which is kept.
        let slot: &Joiner = unsafe { slot.as_ref() };
        let old = if state.has_joiner() {
            state.take_back_waker()?;
            // SAFETY: 1. it was there, and is ours again (S3).
            Some(unsafe { take_waker(slot) })
        } else {
            None
        };
        // SAFETY: 1. the slot is ours (S3).
        slot.with_mut(|slot| unsafe { slot.write(MaybeUninit::new(new)) });
        let offered = state.offer_waker();
        if offered.is_err() {
            // SAFETY: 1. written above, and still ours: the completer saw no waker (S3).
            drop(unsafe { take_waker(slot) });
        }
        drop(old);
        offered
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    /// If it is polled after it has returned its result.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(
            self.task.is_some(),
            "JoinHandle polled after it gave its result"
        );
        match self.try_take() {
            Some(result) => Poll::Ready(result),
            None => self.wait(context),
        }
    }
}

/// Moves the joiner's waker out of its slot.
///
/// # Safety
/// 1. There is a waker in the slot, and it is the caller's (S3).
pub(super) unsafe fn take_waker(slot: &Joiner) -> Waker {
    // SAFETY: 1. no other thread writes to it, it is the caller's (1).
    let waker = slot.with(|slot| unsafe { slot.read() });
    // SAFETY: 1. there is one (1).
    unsafe { waker.assume_init() }
}

impl<T> Drop for JoinHandle<T> {
    /// Detaches the task, or drops its output.
    ///
    /// A panic in the destructor of an output that was not taken, or of a waker that the handle was
    /// polled with, is told to the scheduler's panic hook and counted. It does not come out.
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        // SAFETY: 1. the handle's reference keeps the task.
        let state = unsafe { Header::state(task) };
        // SAFETY: 1. as above.
        let vtable = unsafe { Header::vtable(task) };
        match state.drop_handle() {
            DropHandle::Detached => {}
            DropHandle::DropWaker => {
                // SAFETY: 1. our reference is given up last.
                let slot = unsafe { (vtable.joiner)(task) };
                // SAFETY: 1. in the task's memory.
                let slot: &Joiner = unsafe { slot.as_ref() };
                // SAFETY: 1. it was there, and is ours again (S3).
                let waker = unsafe { take_waker(slot) };
                if let Some(panic) = discard(waker) {
                    // SAFETY: 1. our reference is given up below.
                    unsafe { (vtable.report)(task, panic) };
                }
                // SAFETY: 1. the handle's reference, given up here.
                unsafe { waker::release(task) };
            }
            // SAFETY: 1. the handle's reference; complete, and the output was not taken.
            DropHandle::DropOutput => unsafe { trampoline::drop_output(task) },
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Why a task has no output.
#[derive(Debug)]
pub enum JoinError {
    /// It was aborted, or its scheduler shut down before it ended.
    Cancelled,
    /// It panicked, with this.
    Panic(Payload),
}

impl JoinError {
    /// Returns what the task panicked with.
    ///
    /// # Errors
    /// Returns itself if the task was cancelled.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match self {
            Self::Panic(payload) => Ok(payload.into_inner()),
            Self::Cancelled => Err(self),
        }
    }

    /// Resumes the task's panic in this thread, without calling the panic hook again.
    ///
    /// # Panics
    /// With the task's payload if it panicked, with a message if it was cancelled.
    pub fn resume(self) -> ! {
        match self {
            Self::Panic(payload) => resume_unwind(payload.into_inner()),
            Self::Cancelled => panic!("{}", Self::Cancelled),
        }
    }

    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Returns the number of the task, if it panicked. An error of a task that was cancelled does
    /// not know the task: ask the handle for the number before it is joined.
    pub fn id(&self) -> Option<TaskId> {
        match self {
            Self::Cancelled => None,
            Self::Panic(payload) => payload.id(),
        }
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panic(_))
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the task was cancelled before it ended"),
            Self::Panic(payload) => match payload.message() {
                Some(message) => write!(f, "the task panicked: {message}"),
                None => f.write_str("the task panicked"),
            },
        }
    }
}

impl std::error::Error for JoinError {}

/// What a task panicked with.
// Boxed twice: one word, so that a result of one word is passed on in registers. Panics are rare.
pub struct Payload(Box<Panicked>);

struct Panicked {
    payload: Box<dyn Any + Send>,
    id: Option<TaskId>,
}

const _: () = assert!(
    size_of::<Result<usize, JoinError>>() == 2 * size_of::<usize>(),
    "a result of one word is two"
);

// SAFETY: 1. a shared reference gives out nothing but the message, if the payload is one of the two
// string types, which are `Sync`.
unsafe impl Sync for Payload {}

impl Payload {
    #[cold]
    pub(super) fn new(payload: Box<dyn Any + Send>) -> Self {
        Self(Box::new(Panicked { payload, id: None }))
    }

    pub(super) fn set_id(&mut self, id: TaskId) {
        self.0.id = Some(id);
    }

    /// Returns the number of the task that panicked.
    pub fn id(&self) -> Option<TaskId> {
        self.0.id
    }

    /// Returns the payload itself.
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        self.0.payload
    }

    /// Returns the message, if the panic had one.
    pub fn message(&self) -> Option<&str> {
        match self.0.payload.downcast_ref::<&'static str>() {
            Some(message) => Some(message),
            None => self.0.payload.downcast_ref::<String>().map(String::as_str),
        }
    }

    /// Returns the payload for the scheduler's hook, on the thread that caught the panic.
    pub(super) fn as_any(&self) -> &(dyn Any + Send) {
        &*self.0.payload
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Payload").field(&self.message()).finish()
    }
}
