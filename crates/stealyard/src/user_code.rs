//! Where code of the user's runs, what it may do there, and what becomes of its panics.
//!
//! Everything the library calls that it did not write runs *inside* something (`task/running.rs`), so that calls which
//! would block a worker see where they are and panic with a message that names the place; and in a `catch_unwind`, so
//! that a panic ends there.
//!
//! | code                                          | thread                     | inside    | a panic                         |
//! |-----------------------------------------------|----------------------------|-----------|---------------------------------|
//! | a poll; a closure of `install`                | a worker                   | task      | is the task's result            |
//! | half of a `join`, a job of a `scope`          | a worker, or the caller's  | task      | is the `join`'s or the `scope`'s result |
//! | a closure of `spawn_blocking`                 | a blocking thread; a worker if none could be started | task | is the task's result |
//! | the future's destructor, after its end        | where it was polled        | task      | is the task's result            |
//! | the future's destructor, while its panic unwinds | where it was polled     | task      | is caught                       |
//! | the future's destructor, cancelled            | a worker; after the end, the thread that spawned or woke it | destructor | is the task's result |
//! | the closure's destructor, cancelled           | as above, or a blocking thread | destructor | is the task's result       |
//! | an output's destructor, without a handle      | where the task ended       | task or destructor | is caught              |
//! | an output's destructor, of a handle dropped after the end | the one that drops the handle | whatever that is inside of | is caught |
//! | a panic's payload, not taken                  | as an output               | as an output | is caught                    |
//! | the joiner's waker: `wake`                    | where the task ended       | task or destructor | is caught              |
//! | the joiner's waker: `drop`, with the handle   | the one that drops the handle | whatever that is inside of | is caught   |
//! | the joiner's waker: `clone`, and `drop` of one that is replaced | the one that polls the handle | whatever that is inside of | goes on there: it is the poller's own |
//! | the other half of a `join` whose first half panicked, its result; of the panics of a `scope` all but the first, and its result | the one that joins | whatever that is inside of | is caught |
//! | the hooks of a worker                         | that worker                | that hook | is caught                       |
//! | the hook `on_task_panic`                      | where the panic was caught | that hook | is caught, and not told to itself |
//! | a steal policy: `victim`, `amount`, `outcome` | a worker                   | policy    | is caught; as if it had named no victim |
//! | an order of waking                            | any that makes work        | policy    | is swallowed; as if it had chosen none |
//! | a queue's methods                             | a worker                   | what the caller is inside of | goes on there: in a spawn it is the task's, in the worker's loop it ends the thread, whose tasks the others run |
//! | destructors of hooks, policies, queues        | the last to let go of the scheduler | destructor | is swallowed           |
//! | a subscriber of `tracing` events              | the one that tells         | subscriber | is swallowed                   |
//! | destructors of thread-locals                  | a worker, when it has left | nothing   | ends the process, as in any thread |
//! | a future of `block_on`                        | the caller's               | whatever that is inside of | goes on there  |
//! | a future or closure whose call is refused: its destructor | the caller's   | whatever that is inside of | is caught      |
//!
//! *Caught* means: counted in `Metrics::panics` of the scheduler that it belongs to, or else that the thread works for,
//! if it does; told to `on_task_panic`; and disposed of. *Swallowed* means disposed of, where there is no scheduler left
//! to tell, or telling would call the same code again.
//!
//! **What it may do.** Inside anything on a worker's thread, and inside a hook on any thread, to block panics:
//! `JoinHandle::join`, `block_on`, and `install` for another scheduler. Spawning and waking are always allowed. To end a
//! scheduler never waits for the thread it is called on.
//!
//! # Invariants
//! - **UC1** *Nothing unwinds out of a dropped value.* [`discard`] and [`dispose`] catch, also what the payload of the
//!   panic throws when it is dropped, and what that payload's throws, a few times over; what still throws then is
//!   leaked.
//! - **UC2** *No lock is held* while code of the user's runs, and no reference into what it could change.

use core::any::Any;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use crate::task::running::{self, Code, Duty, Inside};

/// What a panic carries.
pub(crate) type Panic = Box<dyn Any + Send>;

/// How many payloads are dropped that come out of each other's destructors, before the next one is leaked.
const PAYLOADS_MAX: u32 = 16;

/// Calls code of the user's; a panic is the result.
#[inline(always)]
pub(crate) fn catch<R>(call: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(call))
}

/// Drops a panic's payload. Does not unwind (UC1).
#[cold]
pub(crate) fn dispose(payload: Panic) {
    let mut payload = payload;
    for _ in 0..PAYLOADS_MAX {
        match catch(|| drop(payload)) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    core::mem::forget(payload);
}

/// Drops what the user's code left. Gives what its destructor panicked with. Does not unwind (UC1).
pub(crate) fn discard<T>(value: T) -> Option<Panic> {
    catch(|| drop(value)).err()
}

/// Drops what the user's code left. A panic of its destructor is the business of the scheduler that this thread works
/// for, if it does. Does not unwind (UC1).
pub(crate) fn drop_unwanted<T>(value: T) {
    if let Some(panic) = discard(value) {
        match running::reporter() {
            Some(report) => report(panic),
            None => dispose(panic),
        }
    }
}

/// Tells a subscriber of something: code of the user's, on a thread that others rely on.
pub(crate) fn tell(event: impl FnOnce()) {
    if let Err(panic) = running::within(Code::Subscriber, || catch(event)) {
        dispose(panic);
    }
}

/// A value of the user's whose destructor does not unwind, wherever it is dropped (UC1).
#[derive(Debug)]
pub(crate) struct Quiet<T>(ManuallyDrop<T>);

impl<T> Quiet<T> {
    pub(crate) fn new(value: T) -> Self {
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
pub(crate) enum NoBlocking {
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
    /// Where this thread is, if it must not block there.
    pub(crate) fn here() -> Option<Self> {
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

    /// What to say of `call`, which was called here; `wait` says how to wait for the same thing in a task.
    #[cold]
    pub(crate) fn message(self, call: &str, wait: &str) -> String {
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

/// Panics with `message`, after `value`, which a caller passed in vain, was dropped: a panic in its destructor would
/// end the process if it came while this one unwinds.
#[cold]
#[track_caller]
pub(crate) fn refuse<T>(value: T, message: impl Into<Cow<'static, str>>) -> ! {
    drop_unwanted(value);
    match message.into() {
        Cow::Borrowed(message) => panic_any(message),
        Cow::Owned(message) => panic_any(message),
    }
}
