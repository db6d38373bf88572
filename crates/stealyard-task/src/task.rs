//! Tasks: what a queue holds (the G of G, M, P).
//!
//! A [`Task`] is one pointer. Behind it lies a block of task memory with a future or a closure in it,
//! or, told apart by the lowest bit, half of a join on the stack of the thread that joins. Holding a
//! `Task` is the right and the duty to run it: there is one for each task that is queued or running,
//! and none for a task that sleeps, which lives on in its wakers. Dropping a `Task` cancels it.
//!
//! | part                          | what it holds                                      |
//! |-------------------------------|----------------------------------------------------|
//! | [`state`](self::state)        | the state machine: one word, its changes, orderings |
//! | [`header`](self::header)      | what every task begins with                        |
//! | [`cell`](self::cell)          | the future or closure, its output, the vtable      |
//! | [`waker`](self::waker)        | wakers                                             |
//! | [`join`](self::join)          | the handle                                         |
//! | [`abort`](self::abort)        | the handle that only aborts                        |
//! | [`id`](self::id)              | numbers, given when they are asked for             |
//! | [`memory`](self::memory)      | blocks, slabs, and the register of all tasks       |
//! | [`running`](self::running)    | the self-wake flag; what a thread is inside of     |
//! | [`trampoline`](self::trampoline) | destructors one after the other, not one in the other |
//! | [`wait`](self::wait)          | blocking a thread on a future                      |
//!
//! # Operations
//! | operation                | caller      | cost                                               |
//! |--------------------------|-------------|----------------------------------------------------|
//! | [`spawn_detached`]       | anyone      | on a worker: no RMW, no lock but once in a batch   |
//! | [`spawn`]                | anyone      | the same                                           |
//! | [`Task::run`], to the end | the holder | no RMW if there is neither handle nor waker, else one |
//! | [`Task::run`], to Pending | the holder | no RMW if there is neither, or if it woke itself, else one |
//! | a wake by reference      | anyone      | one RMW; a store from inside the task's own poll   |
//! | a wake that uses the waker up | anyone | one RMW on a thread of the scheduler, else two     |
//! | taking a result          | the handle  | no RMW if the task ended before and no waker is out |
//!
//! # Invariants
//! The labels S, M are those of [`state`](self::state) and [`memory`](self::memory).
//!
//! # Why not …
//! `async-task`: an allocation from the global allocator, a reference count and several RMWs for each
//! task: 52 ns to spawn and run, against less than 15. A pointer to the scheduler counted for each
//! task: an RMW on a line that all workers share; here the memory pool counts whole batches.

use core::fmt;
use core::mem::ManuallyDrop;
use core::num::NonZero;
use core::ptr::NonNull;

use stealyard_deque::Word;
use stealyard_park::SpinConfig;
use stealyard_sync::Arc;

mod abort;
mod cell;
mod header;
mod id;
mod join;
mod memory;
pub mod running;
mod state;
pub mod trampoline;
mod wait;
mod waker;

pub use abort::AbortHandle;
pub use id::{TaskId, task_id, try_task_id};
pub use join::{JoinError, JoinHandle, Payload};
pub use memory::{Local, Memory};
pub use wait::wait_for;

use cell::{Async, Body, Call};
use header::Header;

/// Why a task that slept is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A waker was woken.
    Woken,
    /// Its handle aborted it: it will be dropped instead of polled.
    Aborted,
}

/// What became of a task that was run.
#[derive(Debug)]
#[must_use = "a task that is to run again must be scheduled, or it is cancelled"]
pub enum Ran {
    /// It has ended.
    Done,
    /// It sleeps until it is woken.
    Pending,
    /// It was woken while it ran: schedule it, behind others.
    Again(Task),
}

/// What tasks need of their scheduler; implemented by its shared part.
///
/// # Safety
/// 1. `memory` always gives the same [`Memory`], which is used for this scheduler's tasks only.
/// 2. `with_local` gives a [`Local`] that is used with this scheduler's memory only.
/// 3. If `is_kept_by_this_thread`, the scheduler exists until the code that asked returns, whatever becomes of
///    its tasks.
/// 4. None of them unwinds.
pub unsafe trait Schedule: Send + Sync + Sized + 'static {
    /// Takes a task that was woken or aborted. Any thread calls it, also inside a worker, also when
    /// the scheduler is closed: it then drops the task.
    fn schedule(&self, task: Task, why: Why);

    /// Whether this thread keeps the scheduler by itself, as its workers do: a wake then gives up the waker's
    /// reference and makes the task active in one step.
    fn is_kept_by_this_thread(&self) -> bool {
        false
    }

    /// The pool that this scheduler's tasks live in.
    fn memory(&self) -> &Memory<Self>;

    /// Calls `f` with the task memory of this thread's worker, if it is a worker of this scheduler
    /// and holds its P.
    fn with_local<R>(&self, f: impl FnOnce(Option<&Local>) -> R) -> R;

    /// How long a thread that waits for one of the tasks spins before it sleeps.
    fn spin(&self) -> SpinConfig {
        SpinConfig::OFF
    }

    /// A task panicked, on this thread, or what was dropped of it. A joiner will get the payload afterwards, if there
    /// is one. Does not unwind.
    fn task_panicked(&self, _payload: &(dyn core::any::Any + Send)) {}
}

/// Half of a join, on the stack of the thread that joins. It is the first field of the whole.
#[derive(Debug)]
#[repr(C, align(8))]
pub struct StackJob {
    /// Runs the job and tells its owner.
    ///
    /// Safety: 1. called once, by the holder of the job's only `Task`.
    pub execute: unsafe fn(NonNull<StackJob>),
}

/// The bit that tells a job on a stack from a block of task memory.
const JOB: usize = 1;
const _: () = assert!(align_of::<Header>() > JOB && align_of::<StackJob>() > JOB);

/// The right and the duty to run a task; one word.
///
/// Dropping it cancels the task: its future is dropped unpolled, and its handle gives
/// [`JoinError::Cancelled`].
#[must_use = "dropping a task cancels it"]
pub struct Task(NonNull<()>);

// SAFETY: 1. what it points to was `Send` when it was spawned, or is bound to a thread by a scheduler
// that promised so (`spawn_unchecked`).
unsafe impl Send for Task {}

enum Kind {
    Block(NonNull<Header>),
    Job(NonNull<StackJob>),
}

impl Task {
    /// # Safety
    /// 1. The block holds an active task of which no `Task` exists.
    #[inline(always)]
    unsafe fn from_header(header: NonNull<Header>) -> Self {
        Self(header.cast())
    }

    /// # Safety
    /// 1. The job stays where it is until it was executed, and no other `Task` of it exists.
    #[inline(always)]
    pub unsafe fn from_job(job: NonNull<StackJob>) -> Self {
        Self(job.cast().map_addr(|address| address | JOB))
    }

    /// Tells tasks apart as long as they live.
    #[inline(always)]
    pub fn address(&self) -> usize {
        self.0.addr().get()
    }

    #[inline(always)]
    fn kind(self) -> Kind {
        let address = ManuallyDrop::new(self).0;
        if address.addr().get() & JOB == 0 {
            Kind::Block(address.cast())
        } else {
            Kind::Job(address.map_addr(clear_job_bit).cast())
        }
    }

    /// Runs the task: to its end, or until it waits.
    ///
    /// The user's code runs in here. Panics do not come out.
    #[inline(always)]
    pub fn run(self) -> Ran {
        match self.kind() {
            Kind::Block(task) => {
                // SAFETY: 1. the `Task` keeps its memory.
                let vtable = unsafe { Header::vtable(task) };
                // SAFETY: 1. it was the only `Task`, used up here.
                unsafe { (vtable.run)(task) }
            }
            Kind::Job(job) => {
                execute(job);
                Ran::Done
            }
        }
    }

    /// Ends the task without running it, on this thread: now, or deep inside other destructors that cancel tasks, when
    /// the innermost has returned. Half of a join cannot be cancelled, since its owner
    /// waits for the result: it is run. Panics do not come out.
    #[cold]
    pub fn cancel(self) {
        match self.kind() {
            // SAFETY: 1. it was the only `Task`, used up here.
            Kind::Block(task) => unsafe { trampoline::cancel(task) },
            Kind::Job(job) => execute(job),
        }
    }
}

// SAFETY: 1. the word is the pointer with its kind; 2. `into_word` forgets the `Task` without dropping
// it; 3. a pointer that is copied and forgotten has no effect.
unsafe impl Word for Task {
    #[inline(always)]
    fn into_word(self) -> NonNull<()> {
        ManuallyDrop::new(self).0.cast()
    }

    #[inline(always)]
    unsafe fn from_word(word: NonNull<()>) -> Self {
        Self(word.cast())
    }
}

fn clear_job_bit(address: NonZero<usize>) -> NonZero<usize> {
    NonZero::new(address.get() & !JOB)
        .unwrap_or_else(|| unreachable!("a job is never at address 0"))
}

#[inline(always)]
fn execute(job: NonNull<StackJob>) {
    // SAFETY: 1. the job stays where it is until it was executed.
    let execute = unsafe { job.as_ref() }.execute;
    // No task's address: nobody wakes a job, but what runs in it runs inside a task.
    let outer = running::enter_job(job);
    // SAFETY: 1. called once, since its only `Task` is used up.
    unsafe { execute(job) };
    let _nobody_wakes_a_job = running::leave(outer);
}

impl Drop for Task {
    fn drop(&mut self) {
        Self(self.0).cancel();
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Task").field(&self.0).finish()
    }
}

/// A task for a future, and its handle. The caller schedules the task. `local` is the task memory of
/// this thread's worker, if it is a worker of this scheduler.
#[inline(always)]
pub fn spawn<F, S>(home: &Arc<S>, local: Option<&Local>, future: F) -> (Task, JoinHandle<F::Output>)
where
    F: Future<Output: Send> + Send + 'static,
    S: Schedule,
{
    with_handle(home, local, Async(future))
}

/// A task for a future that nobody joins; its output is dropped. See [`spawn`].
#[inline(always)]
pub fn spawn_detached<F, S>(home: &Arc<S>, local: Option<&Local>, future: F) -> Task
where
    F: Future + Send + 'static,
    S: Schedule,
{
    cell::create(home, local, Async(future), false)
}

/// A task for a closure, and its handle. See [`spawn`].
#[inline(always)]
pub fn spawn_call<T, F, S>(home: &Arc<S>, local: Option<&Local>, call: F) -> (Task, JoinHandle<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
    S: Schedule,
{
    with_handle(home, local, Call(call))
}

/// A task for a closure that nobody joins; its output is dropped. See [`spawn`].
#[inline(always)]
pub fn spawn_call_detached<T, F, S>(home: &Arc<S>, local: Option<&Local>, call: F) -> Task
where
    F: FnOnce() -> T + Send + 'static,
    S: Schedule,
{
    cell::create(home, local, Call(call), false)
}

/// A task for a future that may be bound to a thread or borrow, and its handle. See [`spawn`].
///
/// # Safety
/// 1. If the future is not `Send`, every `Task` made for it, now and by `schedule`, is run or dropped
///    on this thread.
/// 2. If its output is not `Send`, so is the handle used on this thread only.
/// 3. What the future borrows outlives the task; what its output borrows does, too, and the handle is not dropped
///    with an output in it, unless no destructor is running on this thread.
#[inline(always)]
pub unsafe fn spawn_unchecked<F, S>(
    home: &Arc<S>,
    local: Option<&Local>,
    future: F,
) -> (Task, JoinHandle<F::Output>)
where
    F: Future,
    S: Schedule,
{
    with_handle(home, local, Async(future))
}

#[inline(always)]
fn with_handle<B: Body, S: Schedule>(
    home: &Arc<S>,
    local: Option<&Local>,
    body: B,
) -> (Task, JoinHandle<B::Output>) {
    let task = cell::create(home, local, body, true);
    // SAFETY: 1. created with a handle for this output, and this is the only one.
    let handle = unsafe { JoinHandle::new(task.0.cast()) };
    (task, handle)
}
