//! What a thread is running, and whether that may block it.
//!
//! A future that yields wakes itself from inside its poll. The thread that polls looks at a flag
//! right after, so no atomic operation is needed: a comparison and a store.
//!
//! The flag is the lowest bit of a word that says what the thread runs:
//! - the address of the running task's header, with the lowest bit set once the task has woken
//!   itself;
//! - for half of a join that runs on another thread than the one that joins, its own address with
//!   the second bit set, since it has no header;
//! - a small even number where other code of the user's runs, a hook or a destructor ([`Code`]);
//! - zero otherwise.
//!
//! Calls may nest: a task that runs others while it waits, a destructor in a poll. Each keeps the
//! word that it found and puts it back.
//!
//! Beside the word lies the thread's [`Duty`], which the executor sets where its threads begin. The
//! two together decide whether a call may block ([`NoBlocking`](crate::user_code::NoBlocking)).
//!
//! # The thread-locals of this crate
//! This file has one. Three others stay apart, because other code sets them for other spans, and
//! none is read where another is: the frames of [`trampoline`](super::trampoline), the stack of
//! pending joins (`fork_join/join_stack/current.rs`), and what a thread waits with (`wait.rs`). The
//! last alone has a destructor. It is not read by tasks, so only a wait pays for the question
//! whether it is gone.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use stealyard_sync::const_thread_local;

use super::StackJob;
use super::header::Header;
use super::id::TaskId;
use crate::panics::Panic;

const AGAIN: usize = 1;
const JOB: usize = 2;
const _: () =
    assert!(align_of::<Header>() > (AGAIN | JOB) && align_of::<StackJob>() > (AGAIN | JOB));

/// What a thread remembers of what it runs.
struct Thread {
    /// The word that the essay describes.
    running: Cell<*mut Header>,
    duty: Cell<Duty>,
    /// The function that is told of a panic that is no task's result.
    report: Cell<Option<fn(Panic)>>,
}

const_thread_local! {
    static THREAD: Thread = Thread {
        running: Cell::new(ptr::null_mut()),
        duty: Cell::new(Duty::None),
        report: Cell::new(None),
    };
}

/// What a thread owes to others: whether the code that it runs may block it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// No executor has this thread. A task that runs here is run by hand and must not block, other
    /// code may.
    None,
    /// The thread is a worker's and must not block, since others rely on it.
    Worker,
    /// The thread is inside a call that may block, on a thread that is there for that.
    Call,
    /// The thread is a worker's and runs a call that should have had a thread of its own.
    CallOnWorker,
}

/// A thread has the duty that it was given while this exists, and then the one it had before; from
/// [`enter_duty`].
#[derive(Debug)]
#[must_use = "the duty ends when this is dropped"]
pub struct DutyGuard {
    outer: Duty,
    /// The guard is its thread's.
    thread: PhantomData<*const ()>,
}

impl Drop for DutyGuard {
    fn drop(&mut self) {
        // A thread whose locals are gone owes nothing that anything would ask about.
        let _ = THREAD.try_with(|thread| thread.duty.set(self.outer));
    }
}

/// Puts a duty on this thread, until the returned value is dropped.
pub fn enter_duty(duty: Duty) -> DutyGuard {
    let outer = THREAD.try_with(|thread| thread.duty.replace(duty));
    DutyGuard {
        outer: outer.unwrap_or(Duty::None),
        thread: PhantomData,
    }
}

/// Returns the duty of this thread.
pub fn duty() -> Duty {
    THREAD
        .try_with(|thread| thread.duty.get())
        .unwrap_or(Duty::None)
}

/// Sets what is called on this thread with a panic of the user's code that can be no task's result,
/// such as one of a value that a join or a scope drops.
///
/// A thread has one such function, the last that was set. It has to find out by itself which
/// executor the thread works for at that moment, if any. A panic of its own is swallowed.
pub fn report_to(report: fn(Panic)) {
    let _ = THREAD.try_with(|thread| thread.report.set(Some(report)));
}

/// Returns what is to be called with a panic that is no task's result.
pub(crate) fn reporter() -> Option<fn(Panic)> {
    THREAD.try_with(|thread| thread.report.get()).ok().flatten()
}

/// Code of the user's that an executor calls and that is no task.
// Even numbers that are no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Code {
    /// The destructor of something that the library drops.
    Destructor = 2,
    /// A steal policy, or its order of waking.
    Policy = 4,
    /// The hook `on_worker_start`.
    OnStart = 6,
    /// The hook `on_worker_stop`.
    OnStop = 8,
    /// The hook `on_park`.
    OnPark = 10,
    /// The hook `on_unpark`.
    OnUnpark = 12,
    /// The hook `on_task_panic`.
    OnPanic = 14,
    /// A subscriber of events.
    Subscriber = 16,
}

const CODES: [Code; 8] = [
    Code::Destructor,
    Code::Policy,
    Code::OnStart,
    Code::OnStop,
    Code::OnPark,
    Code::OnUnpark,
    Code::OnPanic,
    Code::Subscriber,
];

/// What a thread is inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// None of the user's code that the library called.
    Nothing,
    /// A task, or half of a join.
    Task,
    /// Other code.
    Code(Code),
}

/// What this thread was inside of before; give it back with [`leave`].
#[derive(Debug)]
#[must_use]
pub(super) struct Outer(*mut Header);

/// Notes that this thread begins to poll the task.
#[inline(always)]
pub(super) fn enter(task: NonNull<Header>) -> Outer {
    enter_word(task.as_ptr())
}

/// Notes that this thread begins to run half of a join.
#[inline(always)]
pub(super) fn enter_job(job: NonNull<StackJob>) -> Outer {
    let job = job.as_ptr().cast::<Header>();
    enter_word(job.map_addr(|address| address | JOB))
}

#[inline(always)]
fn enter_word(word: *mut Header) -> Outer {
    // A thread whose locals are gone is inside of nothing that anything would ask about.
    let before = THREAD.try_with(|thread| thread.running.replace(word));
    Outer(before.unwrap_or(ptr::null_mut()))
}

fn word() -> *mut Header {
    THREAD
        .try_with(|thread| thread.running.get())
        .unwrap_or(ptr::null_mut())
}

/// Returns the task that this thread is polling, unless it runs half of a join of another thread's,
/// or a hook or a destructor further in.
pub(super) fn current() -> Option<NonNull<Header>> {
    let running = word();
    if !is_task() || running.addr() & JOB != 0 {
        return None;
    }
    NonNull::new(running.map_addr(|address| address & !AGAIN))
}

/// Returns the number of the task that this code runs in.
///
/// ```
/// # use stealyard_task::task_id;
/// async fn log(message: &str) {
///     println!("task {}: {message}", task_id());
/// }
/// ```
///
/// # Panics
/// Where [`try_task_id`] returns `None`.
#[track_caller]
pub fn task_id() -> TaskId {
    match try_task_id() {
        Some(id) => id,
        None => panic!(
            "task_id: this code runs in no task; call it within a spawned future or blocking call, or use \
             `JoinHandle::id`"
        ),
    }
}

/// Returns the number of the task that this code runs in: a future, local or not, a blocking call,
/// or what `install` was given. Returns `None` in `block_on`, on threads of your own, and in a half
/// of a [`join`](crate::join) or a closure of a [`scope`](fn@crate::scope) that another worker has
/// taken.
pub fn try_task_id() -> Option<TaskId> {
    let task = current()?;
    // SAFETY: 1. this thread is running it, and keeps it meanwhile.
    Some(unsafe { Header::id(task) })
}

/// Notes that this thread has polled the task. Returns whether the task woke itself.
#[inline(always)]
pub(super) fn leave(outer: Outer) -> bool {
    let word = THREAD.try_with(|thread| thread.running.replace(outer.0));
    word.unwrap_or(ptr::null_mut()).addr() & AGAIN != 0
}

/// Calls `f`, which is or calls code of the user's of this kind, and returns its result. It may
/// unwind.
pub fn within<R>(code: Code, f: impl FnOnce() -> R) -> R {
    struct Restore(*mut Header);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _: bool = leave(Outer(self.0));
        }
    }
    let word = ptr::without_provenance_mut(code as usize);
    let _restore = Restore(enter_word(word).0);
    f()
}

/// Notes that the task woke itself, if this thread is polling it. Returns whether it is.
#[inline(always)]
pub(super) fn wake_if_running(task: NonNull<Header>) -> bool {
    // A thread whose locals are gone polls nothing any more.
    THREAD
        .try_with(|thread| {
            let running = &thread.running;
            let is_it = running.get().addr() & !AGAIN == task.as_ptr().addr();
            if is_it {
                running.set(running.get().map_addr(|address| address | AGAIN));
            }
            is_it
        })
        .unwrap_or(false)
}

/// Whether this thread is inside a task, and not in a hook or a destructor further in.
#[inline(always)]
pub fn is_task() -> bool {
    word().addr() > Code::Subscriber as usize
}

/// Returns what this thread is inside of, innermost.
pub fn inside() -> Inside {
    match word().addr() {
        0 => Inside::Nothing,
        word => match CODES.into_iter().find(|&code| code as usize == word) {
            Some(code) => Inside::Code(code),
            None => Inside::Task,
        },
    }
}
