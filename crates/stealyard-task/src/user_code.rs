//! Calling code of the user's, and disposing of what it leaves.
//!
//! An executor calls much that it did not write: polls, closures, destructors, hooks. This file has
//! what such calls need: a panic becomes a value or is told to the executor, a value is dropped
//! without its destructor's panic going further, and a call that would block says where it was
//! made.
//!
//! # Invariants
//! - **UC1** *Nothing unwinds out of a dropped value.* [`discard`] and [`dispose`] catch what a
//!   destructor throws, also what the payload of that panic throws when it is dropped, and what the
//!   next payload throws, a few times over. What still throws then is leaked.
//! - **UC2** *No lock is held* while code of the user's runs, and no reference into what it could
//!   change.

use core::any::Any;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use crate::task::running::{self, Code, Duty, Inside};

/// What a panic carries.
pub type Panic = Box<dyn Any + Send>;

/// How many payloads are dropped that come out of each other's destructors. The next one is leaked.
const PAYLOADS_MAX: u32 = 16;

/// Calls code of the user's, and returns its result.
///
/// # Errors
/// The payload of its panic.
#[inline(always)]
pub fn catch<R>(call: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(call))
}

/// Drops a panic's payload. Does not unwind (UC1).
#[cold]
pub fn dispose(payload: Panic) {
    let mut payload = payload;
    for _ in 0..PAYLOADS_MAX {
        match catch(|| drop(payload)) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    core::mem::forget(payload);
}

/// Drops what the user's code left, and returns what its destructor panicked with. Does not unwind
/// (UC1).
pub fn discard<T>(value: T) -> Option<Panic> {
    catch(|| drop(value)).err()
}

/// Drops what the user's code left. A panic of its destructor is told to the executor that this
/// thread works for, if it has one ([`report_to`](running::report_to)). Does not unwind (UC1).
pub fn drop_unwanted<T>(value: T) {
    if let Some(panic) = discard(value) {
        report(panic);
    }
}

#[cold]
fn report(panic: Panic) {
    match running::reporter() {
        Some(report) => {
            if let Err(panic) = catch(|| report(panic)) {
                dispose(panic);
            }
        }
        None => dispose(panic),
    }
}

/// Tells a subscriber of an event: code of the user's, on a thread that others rely on. A panic of
/// it is swallowed.
pub fn tell(event: impl FnOnce()) {
    if let Err(panic) = running::within(Code::Subscriber, || catch(event)) {
        dispose(panic);
    }
}

/// A value of the user's whose destructor does not unwind, wherever it is dropped (UC1).
#[derive(Debug)]
pub struct Quiet<T>(ManuallyDrop<T>);

impl<T> Quiet<T> {
    /// Wraps the value.
    pub fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }
}

impl<T> Deref for Quiet<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Quiet<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Drop for Quiet<T> {
    fn drop(&mut self) {
        // SAFETY: 1. dropped here, and used by nothing afterwards.
        let value = unsafe { ManuallyDrop::take(&mut self.0) };
        if let Some(panic) = running::within(Code::Destructor, || discard(value)) {
            dispose(panic);
        }
    }
}

/// A place where a thread must not block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBlocking {
    /// Inside a task.
    Task,
    /// Inside a blocking call that a worker runs.
    CallOnWorker,
    /// Inside other code of the user's.
    Code(Code),
    /// On a worker's thread, inside of nothing that is known.
    Worker,
}

impl NoBlocking {
    /// Returns where this thread is, if it must not block there.
    pub fn here() -> Option<Self> {
        let duty = running::duty();
        let worker = matches!(duty, Duty::Worker | Duty::CallOnWorker);
        match running::inside() {
            Inside::Nothing => worker.then_some(Self::Worker),
            Inside::Task => match duty {
                Duty::CallOnWorker => Some(Self::CallOnWorker),
                // Without a duty it is a task that is run by hand.
                Duty::Worker | Duty::None => Some(Self::Task),
                Duty::Call => None,
            },
            Inside::Code(code @ (Code::Destructor | Code::Policy | Code::Subscriber)) => {
                worker.then_some(Self::Code(code))
            }
            Inside::Code(hook) => Some(Self::Code(hook)),
        }
    }

    /// Returns what to say of `call`, which was called here. `wait` says how to wait for the same
    /// thing in a task.
    #[cold]
    pub fn message(self, call: &str, wait: &str) -> String {
        let instead = match self {
            Self::Task => format!("{wait}, or call it inside `spawn_blocking`"),
            Self::CallOnWorker => {
                format!(
                    "{wait} in a task, or allow for more threads (`ulimit -u`, pids.max, memory)"
                )
            }
            Self::Code(Code::Destructor) => format!(
                "a destructor cannot wait: {wait} before the end, in the task, or spawn a task that does, or drop what \
                 it would wait for"
            ),
            Self::Code(_) | Self::Worker => {
                format!(
                    "code that the scheduler calls must not wait: spawn a task, and {wait} there"
                )
            }
        };
        let place = self.place(call);
        format!(
            "{call} was called {place}, where it would block a thread that others rely on: {instead}"
        )
    }

    fn place(self, call: &str) -> &'static str {
        match self {
            // In one of its own scheduler it does not block.
            Self::Task if call == "install" => "inside a task of another scheduler",
            Self::Task => "inside a task",
            Self::CallOnWorker => {
                "inside a blocking call that a worker runs, because no thread could be started for it"
            }
            Self::Worker => "on a worker's thread, outside of any task",
            Self::Code(Code::Destructor) => {
                "in a destructor on a worker's thread, which drops a task that was cancelled or what no handle took"
            }
            Self::Code(Code::Policy) => "inside a steal policy",
            Self::Code(Code::OnStart) => "inside the hook on_worker_start",
            Self::Code(Code::OnStop) => "inside the hook on_worker_stop",
            Self::Code(Code::OnPark) => "inside the hook on_park",
            Self::Code(Code::OnUnpark) => "inside the hook on_unpark",
            Self::Code(Code::OnPanic) => "inside the hook on_task_panic",
            Self::Code(Code::Subscriber) => "inside a subscriber of events",
        }
    }
}

/// Panics with `message`, after it has dropped `value`, which a caller passed in vain: a panic in
/// its destructor would end the process if it came while this one unwinds.
///
/// # Panics
/// Always.
#[cold]
#[track_caller]
pub fn refuse<T>(value: T, message: impl Into<Cow<'static, str>>) -> ! {
    drop_unwanted(value);
    match message.into() {
        Cow::Borrowed(message) => panic_any(message),
        Cow::Owned(message) => panic_any(message),
    }
}
