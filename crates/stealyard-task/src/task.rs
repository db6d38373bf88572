//! Tasks: what a queue holds (the G of G, M, P).
//!
//! A [`Task`] is one pointer. Behind it lies a block of task memory with a future or a closure in
//! it, or, told apart by the lowest bit, half of a join on the stack of the thread that joins.
//! Holding a `Task` is the right and the duty to run it. There is one for each task that is queued
//! or running, and none for a task that sleeps, which lives on in its wakers. Dropping a `Task`
//! cancels it.
//!
//! | part                          | what it holds                                       |
//! |-------------------------------|-----------------------------------------------------|
//! | [`state`](self::state)        | the state machine: one word, its changes, orderings |
//! | [`header`](self::header)      | what every task begins with                         |
//! | [`cell`](self::cell)          | the future or closure, its output, the vtable       |
//! | [`waker`](self::waker)        | wakers                                              |
//! | [`join`](self::join)          | the handle                                          |
//! | [`abort`](self::abort)        | the handle that only aborts                         |
//! | [`id`](self::id)              | numbers, given when they are asked for              |
//! | [`memory`](self::memory)      | blocks, slabs, and the register of all tasks        |
//! | [`running`](self::running)    | what a thread runs, and whether it may block        |
//! | [`no_blocking`](self::no_blocking) | whether a call may block its thread, and what to say |
//! | [`trampoline`](self::trampoline) | destructors one after the other, not one in the other |
//! | [`wait`](self::wait)          | blocking a thread on a future                       |
//!
//! # Operations
//! | operation                   | caller     | cost                                             |
//! |-----------------------------|------------|--------------------------------------------------|
//! | [`spawn_detached`]          | any thread | on a worker: no RMW, no lock but once in a batch |
//! | [`spawn`]                   | any thread | the same                                         |
//! | [`Task::run`], to the end   | the holder | no RMW without handle and waker, else one        |
//! | [`Task::run`], to Pending   | the holder | the same; no RMW either if it woke itself        |
//! | a wake by reference         | any thread | one RMW; a store from inside the task's own poll |
//! | a wake that uses up a waker | any thread | one RMW on a thread of the scheduler, else two   |
//! | taking a result             | the handle | no RMW if the task has ended and no waker is out |
//!
//! # Invariants
//! The labels S are those of [`state`](self::state), M those of [`memory`](self::memory).
//!
//! # Why not …
//! - *`async-task`:* an allocation from the global allocator, a reference count and several RMWs
//!   for each task, 52 ns to spawn and run against less than 15.
//! - *A pointer to the scheduler, counted for each task:* an RMW on a line that all workers share.
//!   Here the memory pool counts whole batches.

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
mod no_blocking;
pub mod running;
mod state;
pub mod trampoline;
mod wait;
mod waker;

pub use abort::AbortHandle;
pub use id::TaskId;
pub use join::{JoinError, JoinHandle, Payload};
pub use memory::{LocalMemory, TaskMemory};
pub use no_blocking::NoBlocking;
pub use running::{task_id, try_task_id};
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

/// What tasks need of their scheduler; implemented by the part that its threads share.
///
/// The example `one_queue.rs` of this crate is a whole scheduler on this trait.
///
/// # Safety
/// 1. `memory` always returns the same [`TaskMemory`], which is used for this scheduler's tasks
///    only.
/// 2. `with_local` lends a [`LocalMemory`] that is used with this scheduler's memory only.
/// 3. If `is_kept_by_this_thread` returns true, the scheduler exists until the code that asked
///    returns, whatever becomes of its tasks.
/// 4. No method unwinds.
pub unsafe trait Schedule: Send + Sync + Sized + 'static {
    /// Takes a task that was woken or aborted, and sees to it that it is run. Any thread calls
    /// this, also inside a task of this scheduler. When the scheduler is closed, this drops the
    /// task.
    fn schedule(&self, task: Task, why: Why);

    /// Whether this thread keeps the scheduler by itself, as its workers do. A wake then gives up
    /// the waker's reference and makes the task active in one step.
    fn is_kept_by_this_thread(&self) -> bool {
        false
    }

    /// Returns the pool that this scheduler's tasks live in.
    fn memory(&self) -> &TaskMemory<Self>;

    /// Calls `f` with the task memory of the calling worker; with `None` on any other thread.
    fn with_local<R>(&self, f: impl FnOnce(Option<&LocalMemory>) -> R) -> R;

    /// Returns how long a thread that waits for one of the tasks spins before it sleeps.
    fn spin(&self) -> SpinConfig {
        SpinConfig::OFF
    }

    /// Takes note of a panic of a task, or of something of the task's that was dropped. It is
    /// called on the thread that caught the panic. A joiner, if there is one, gets the payload
    /// afterwards.
    fn task_panicked(&self, _payload: &(dyn core::any::Any + Send)) {}
}

/// The first field of a job that is no block of task memory, such as half of a join on the stack of
/// the thread that joins. It is the first field of the whole, which is `repr(C)`.
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
/// Dropping it cancels the task: its future is dropped unpolled, and its handle returns
/// [`JoinError::Cancelled`].
#[must_use = "dropping a task cancels it"]
pub struct Task(NonNull<()>);

// SAFETY: 1. what it points to was `Send` when it was spawned, or is bound to a thread by a
// scheduler that promised so (`spawn_unchecked`).
unsafe impl Send for Task {}

enum Kind {
    Block(NonNull<Header>),
    Job(NonNull<StackJob>),
}

impl Task {
    /// Makes the `Task` of a block of task memory.
    ///
    /// # Safety
    /// 1. The block holds an active task of which no `Task` exists.
    #[inline(always)]
    unsafe fn from_header(header: NonNull<Header>) -> Self {
        Self(header.cast())
    }

    /// Makes a task of a job that lies elsewhere, usually on a stack. Running and cancelling it
    /// both execute the job.
    ///
    /// # Safety
    /// 1. The job stays where it is until it was executed, which any thread may do.
    /// 2. No other `Task` of it exists.
    /// 3. Its `execute` does not unwind.
    #[inline(always)]
    pub unsafe fn from_job(job: NonNull<StackJob>) -> Self {
        Self(job.cast().map_addr(|address| address | JOB))
    }

    /// Returns a number that tells this task from all others that exist at the same time. Once it
    /// has ended, another may have the same.
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

    /// Runs the task to its end, or until it waits.
    ///
    /// The user's code runs in here. Its panics do not come out.
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

    /// Ends the task without running it, on this thread. Deep inside other destructors that cancel
    /// tasks, this is put off until the innermost of them has returned.
    ///
    /// Half of a join cannot be cancelled, since its owner waits for the result: it is run. Panics
    /// do not come out.
    #[cold]
    pub fn cancel(self) {
        match self.kind() {
            // SAFETY: 1. it was the only `Task`, used up here.
            Kind::Block(task) => unsafe { trampoline::cancel(task) },
            Kind::Job(job) => execute(job),
        }
    }
}

// SAFETY: 1. the word is the pointer with its kind; 2. `into_word` forgets the `Task` without
// dropping it; 3. a pointer that is copied and forgotten has no effect.
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
    // Not the address of a task: no waker leads to a job, but what runs in it runs inside a task.
    let outer = running::enter_job(job);
    // SAFETY: 1. called once, since its only `Task` is used up.
    unsafe { execute(job) };
    // A job has no waker, so it has not woken itself.
    let _: bool = running::leave(outer);
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

/// Makes a task of a future, and its handle. The caller schedules the task.
///
/// `local` is the task memory of this thread's worker, if it is a worker of this scheduler.
#[inline(always)]
pub fn spawn<F, S>(
    home: &Arc<S>,
    local: Option<&LocalMemory>,
    future: F,
) -> (Task, JoinHandle<F::Output>)
where
    F: Future<Output: Send> + Send + 'static,
    S: Schedule,
{
    with_handle(home, local, Async(future))
}

/// Makes a task of a future, without a handle: its output is dropped. See [`spawn`].
#[inline(always)]
pub fn spawn_detached<F, S>(home: &Arc<S>, local: Option<&LocalMemory>, future: F) -> Task
where
    F: Future + Send + 'static,
    S: Schedule,
{
    cell::create(home, local, Async(future), false)
}

/// Makes a task of a closure, and its handle. See [`spawn`].
#[inline(always)]
pub fn spawn_call<T, F, S>(
    home: &Arc<S>,
    local: Option<&LocalMemory>,
    call: F,
) -> (Task, JoinHandle<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
    S: Schedule,
{
    with_handle(home, local, Call(call))
}

/// Makes a task of a closure, without a handle: its output is dropped. See [`spawn`].
#[inline(always)]
pub fn spawn_call_detached<T, F, S>(home: &Arc<S>, local: Option<&LocalMemory>, call: F) -> Task
where
    F: FnOnce() -> T + Send + 'static,
    S: Schedule,
{
    cell::create(home, local, Call(call), false)
}

/// Makes a task of a future that may borrow, or be bound to this thread, and its handle. See
/// [`spawn`].
///
/// # Safety
/// 1. If the future is not `Send`, every `Task` made for it, whether now, for `schedule`, or by
///    [`TaskMemory::claim_idle`], is run or dropped on this thread.
/// 2. If its output is not `Send`, the handle is used on this thread only.
/// 3. What the future borrows outlives the task, and so does what its output borrows. The handle is
///    not dropped with such an output in it while a destructor runs on this thread.
#[inline(always)]
pub unsafe fn spawn_unchecked<F, S>(
    home: &Arc<S>,
    local: Option<&LocalMemory>,
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
    local: Option<&LocalMemory>,
    body: B,
) -> (Task, JoinHandle<B::Output>) {
    let task = cell::create(home, local, body, true);
    // SAFETY: 1. created with a handle for this output, and this is the only one.
    let handle = unsafe { JoinHandle::new(task.0.cast()) };
    (task, handle)
}
