//! What this thread is running: which task it polls, so that a task that wakes itself only sets a
//! flag, or which other code of the user's; and whether that code may block the thread.
//!
//! A future that yields wakes itself from inside its poll. The thread that polls looks at the flag right
//! after, so no atomic operation is needed: a comparison and a store.
//!
//! The word holds the address of the running task's header, with its lowest bit set once the task has
//! woken itself; a small even number where other code of the user's runs, a hook or a destructor (see
//! `user_code.rs`); zero otherwise. Calls may nest (a task that runs others while it waits, a destructor in a
//! poll): each keeps the word it found and puts it back. Half of a join that runs on another thread than the
//! one that joins is entered like a task, by its own address, with the second bit set: it has no header.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use stealyard_sync::const_thread_local;

use super::StackJob;
use super::header::Header;
use crate::user_code::Panic;

const AGAIN: usize = 1;
const JOB: usize = 2;
const _: () =
    assert!(align_of::<Header>() > (AGAIN | JOB) && align_of::<StackJob>() > (AGAIN | JOB));

/// What a thread remembers of what it runs.
struct Thread {
    /// The word of the essay.
    running: Cell<*mut Header>,
    duty: Cell<Duty>,
    report: Cell<Option<fn(Panic)>>,
}

const_thread_local! {
    static THREAD: Thread = Thread {
        running: Cell::new(ptr::null_mut()),
        duty: Cell::new(Duty::None),
        report: Cell::new(None),
    };
}

/// What a thread owes to others while it runs code of the user's: whether that code may block it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// No executor runs tasks on this thread. A task that is run here is run by hand.
    None,
    /// The thread is a worker's, and must not block: others rely on it.
    Worker,
    /// The thread is inside a call that may block.
    Call,
    /// The thread is a worker's and runs a call that was meant for a thread of its own.
    CallOnWorker,
}

/// The duty that a thread had before; it has that again when this is dropped.
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

/// Gives this thread a duty, until the returned value is dropped.
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

/// Sets what is called on this thread with a panic that is no task's result.
///
/// There is one such function for each thread, the last that was set: it finds out by itself which
/// executor the thread works for, if any.
pub fn report_to(report: fn(Panic)) {
    let _ = THREAD.try_with(|thread| thread.report.set(Some(report)));
}

/// Returns what is to be called with a panic that is no task's result.
pub fn reporter() -> Option<fn(Panic)> {
    THREAD.try_with(|thread| thread.report.get()).ok().flatten()
}

/// Code of the user's that is not a task's poll. Even numbers that are no addresses.
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
    /// A subscriber of events; the greatest.
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

/// What this thread is inside of.
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

/// This thread begins to poll the task.
#[inline(always)]
pub(super) fn enter(task: NonNull<Header>) -> Outer {
    enter_word(task.as_ptr())
}

/// This thread begins to run half of a join.
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

/// The task that this thread is polling, unless it runs half of a join of another's, or a hook or a destructor further
/// in.
pub(super) fn current() -> Option<NonNull<Header>> {
    let running = word();
    if !is_task() || running.addr() & JOB != 0 {
        return None;
    }
    NonNull::new(running.map_addr(|address| address & !AGAIN))
}

/// This thread has polled the task: whether it woke itself.
#[inline(always)]
pub(super) fn leave(outer: Outer) -> bool {
    let word = THREAD.try_with(|thread| thread.running.replace(outer.0));
    word.unwrap_or(ptr::null_mut()).addr() & AGAIN != 0
}

/// Calls `f`, which is or calls code of the user's of this kind. It may unwind.
pub fn within<R>(code: Code, f: impl FnOnce() -> R) -> R {
    struct Restore(*mut Header);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ended: bool = leave(Outer(self.0));
        }
    }
    let word = ptr::without_provenance_mut(code as usize);
    let _restore = Restore(enter_word(word).0);
    f()
}

/// If this thread is polling the task, notes that it woke itself.
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

/// What this thread is inside of, innermost.
pub fn inside() -> Inside {
    match word().addr() {
        0 => Inside::Nothing,
        word => match CODES.into_iter().find(|&code| code as usize == word) {
            Some(code) => Inside::Code(code),
            None => Inside::Task,
        },
    }
}
